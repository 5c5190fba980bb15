
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The JSON value that flows through the filters of a VALUE, and the arena
 * that owns its memory.
 */


#include "ngx_http_klaviyo_data.h"
#include "ngx_http_klaviyo_json.h"


struct ngx_http_klaviyo_tree_s {
    json_t                   *json;
    ngx_http_klaviyo_tree_t  *next;
};


static void ngx_http_klaviyo_data_number(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, json_t *json);
static json_t *ngx_http_klaviyo_data_to_string(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_data_nonzero(ngx_str_t *text);


void
ngx_http_klaviyo_arena_init(ngx_http_klaviyo_arena_t *arena, ngx_pool_t *pool,
    size_t size)
{
    arena->pool = pool;
    arena->trees = NULL;
    arena->left = size;
    arena->looks = NGX_HTTP_KLAVIYO_ARENA_LOOKS;
    arena->limits = 0;
}


void
ngx_http_klaviyo_arena_done(ngx_http_klaviyo_arena_t *arena)
{
    ngx_http_klaviyo_tree_t  *tree;

    for (tree = arena->trees; tree; tree = tree->next) {
        json_decref(tree->json);
    }

    arena->trees = NULL;
}


void *
ngx_http_klaviyo_arena_alloc(ngx_http_klaviyo_arena_t *arena, size_t size)
{
    void  *p;

    if (ngx_http_klaviyo_arena_charge(arena, size) != NGX_OK) {
        return NULL;
    }

    p = ngx_palloc(arena->pool, size);

    if (p == NULL) {
        arena->limits++;
    }

    return p;
}


ngx_int_t
ngx_http_klaviyo_arena_charge(ngx_http_klaviyo_arena_t *arena, size_t size)
{
    if (size > arena->left) {
        arena->limits++;
        return NGX_DECLINED;
    }

    arena->left -= size;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_arena_look(ngx_http_klaviyo_arena_t *arena, ngx_uint_t n)
{
    if (n > arena->looks) {
        arena->limits++;
        return NGX_DECLINED;
    }

    arena->looks -= n;

    return NGX_OK;
}


json_t *
ngx_http_klaviyo_arena_keep(ngx_http_klaviyo_arena_t *arena, json_t *json)
{
    ngx_http_klaviyo_tree_t  *tree;

    if (json == NULL) {
        return NULL;
    }

    tree = ngx_http_klaviyo_arena_alloc(arena,
                                        sizeof(ngx_http_klaviyo_tree_t));
    if (tree == NULL) {
        json_decref(json);
        return NULL;
    }

    tree->json = json;
    tree->next = arena->trees;
    arena->trees = tree;

    return json;
}


ngx_int_t
ngx_http_klaviyo_arena_weigh(ngx_http_klaviyo_arena_t *arena, json_t *json,
    size_t *left)
{
    void    *iter;
    size_t   i, weight;
    json_t  *value;

    weight = 16 + json_string_length(json);

    if (weight > *left) {
        arena->limits++;
        return NGX_DECLINED;
    }

    *left -= weight;

    json_array_foreach(json, i, value) {

        if (ngx_http_klaviyo_arena_weigh(arena, value, left) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        value = json_object_iter_value(iter);

        if (ngx_http_klaviyo_arena_weigh(arena, value, left) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


void
ngx_http_klaviyo_data_from_json(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, json_t *json)
{
    if (json == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    switch (json_typeof(json)) {

    case JSON_OBJECT:
    case JSON_ARRAY:
        data->type = NGX_HTTP_KLAVIYO_TREE;
        data->json = json;
        break;

    case JSON_STRING:
        ngx_http_klaviyo_data_set_string(data, json_string_value(json),
                                         json_string_length(json));
        break;

    case JSON_INTEGER:
    case JSON_REAL:
        ngx_http_klaviyo_data_number(arena, data, json);
        break;

    case JSON_TRUE:
        data->type = NGX_HTTP_KLAVIYO_TRUE;
        break;

    case JSON_FALSE:
        data->type = NGX_HTTP_KLAVIYO_FALSE;
        break;

    default: /* JSON_NULL */
        ngx_http_klaviyo_data_missing(data);
    }
}


static void
ngx_http_klaviyo_data_number(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, json_t *json)
{
    size_t   len;
    u_char  *p, buf[NGX_HTTP_KLAVIYO_REAL_LEN];

    len = ngx_http_klaviyo_json_number(buf, json);

    if (len == 0) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, len);

    if (p == NULL) {
        data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
        return;
    }

    ngx_memcpy(p, buf, len);

    data->type = NGX_HTTP_KLAVIYO_NUMBER;
    data->text.data = p;
    data->text.len = len;
}


json_t *
ngx_http_klaviyo_data_to_json(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data)
{
    ngx_uint_t  reals;

    switch (data->type) {

    case NGX_HTTP_KLAVIYO_STRING:
        return ngx_http_klaviyo_data_to_string(arena, &data->text);

    case NGX_HTTP_KLAVIYO_NUMBER:

        if (ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_VALUE_COST)
            != NGX_OK)
        {
            return NULL;
        }

        return ngx_http_klaviyo_json_load(&data->text, &reals);

    case NGX_HTTP_KLAVIYO_FALSE:
        return json_false();

    case NGX_HTTP_KLAVIYO_TRUE:
        return json_true();

    case NGX_HTTP_KLAVIYO_TREE:
        return json_incref(data->json);

    default: /* NGX_HTTP_KLAVIYO_MISSING, NGX_HTTP_KLAVIYO_UNKNOWN */
        return NULL;
    }
}


static json_t *
ngx_http_klaviyo_data_to_string(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text)
{
    ngx_str_t  utf8;

    if (ngx_http_klaviyo_utf8(arena, text, &utf8) != NGX_OK) {
        return NULL;
    }

    if (ngx_http_klaviyo_arena_charge(arena,
                                      utf8.len + NGX_HTTP_KLAVIYO_VALUE_COST)
        != NGX_OK)
    {
        return NULL;
    }

    return json_stringn_nocheck((char *) utf8.data, utf8.len);
}


ngx_int_t
ngx_http_klaviyo_data_text(ngx_http_klaviyo_data_t *data, ngx_str_t *text)
{
    switch (data->type) {

    case NGX_HTTP_KLAVIYO_STRING:
    case NGX_HTTP_KLAVIYO_NUMBER:
        *text = data->text;
        return NGX_OK;

    case NGX_HTTP_KLAVIYO_FALSE:
        ngx_str_set(text, "false");
        return NGX_OK;

    case NGX_HTTP_KLAVIYO_TRUE:
        ngx_str_set(text, "true");
        return NGX_OK;

    default:
        return NGX_DECLINED;
    }
}


ngx_uint_t
ngx_http_klaviyo_data_truth(ngx_http_klaviyo_data_t *data)
{
    switch (data->type) {

    case NGX_HTTP_KLAVIYO_STRING:

        switch (data->text.len) {

        case 0:
            return 0;

        case 1:
            return data->text.data[0] != '0';

        case 5:
            return ngx_memcmp(data->text.data, "false", 5) != 0;

        default:
            return 1;
        }

    case NGX_HTTP_KLAVIYO_NUMBER:
        return ngx_http_klaviyo_data_nonzero(&data->text);

    case NGX_HTTP_KLAVIYO_TRUE:
        return 1;

    case NGX_HTTP_KLAVIYO_TREE:
        return json_array_size(data->json) || json_object_size(data->json);

    default:
        return 0;
    }
}


static ngx_uint_t
ngx_http_klaviyo_data_nonzero(ngx_str_t *text)
{
    size_t  i;
    u_char  ch;

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ch == 'e' || ch == 'E') {
            break;
        }

        if (ch >= '1' && ch <= '9') {
            return 1;
        }
    }

    return 0;
}
