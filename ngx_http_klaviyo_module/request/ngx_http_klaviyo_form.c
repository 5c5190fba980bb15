
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Pairs of a name and a text as a tree: what forms of any encoding share.
 */


#include "ngx_http_klaviyo_form.h"
#include "ngx_http_klaviyo_json.h"


/* pairs of a form, and brackets of a name in it */
#define NGX_HTTP_KLAVIYO_FORM_PAIRS     4000
#define NGX_HTTP_KLAVIYO_FORM_BRACKETS  8


static ngx_int_t ngx_http_klaviyo_form_key(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *name, char **key);
static ngx_uint_t ngx_http_klaviyo_form_brackets(char *key);
static ngx_int_t ngx_http_klaviyo_form_nest(ngx_http_klaviyo_arena_t *arena,
    json_t **node, char **key);
static ngx_int_t ngx_http_klaviyo_form_object(ngx_http_klaviyo_arena_t *arena,
    json_t **node, char *key);
static char *ngx_http_klaviyo_form_append(json_t *node, char *key, char *buf);
static ngx_int_t ngx_http_klaviyo_form_leaf(ngx_http_klaviyo_form_t *form,
    json_t *node, char *key, ngx_str_t *value);
static int ngx_http_klaviyo_form_repeat(json_t *node, char *key, json_t *old,
    json_t *json);
static void ngx_http_klaviyo_form_lists(json_t *object);
static json_t *ngx_http_klaviyo_form_list(json_t *object);


ngx_int_t
ngx_http_klaviyo_form_init(ngx_http_klaviyo_form_t *form,
    ngx_http_klaviyo_arena_t *arena, ngx_uint_t flags)
{
    form->arena = arena;
    form->flags = flags;
    form->pairs = 0;

    if (ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    form->object = ngx_http_klaviyo_arena_keep(arena, json_object());

    return form->object ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_klaviyo_form_add(ngx_http_klaviyo_form_t *form, ngx_str_t *name,
    ngx_str_t *value)
{
    char       *key;
    json_t     *node;
    ngx_int_t   rc;
    ngx_str_t   text;

    if (form->pairs++ == NGX_HTTP_KLAVIYO_FORM_PAIRS) {
        form->arena->limits++;
        return NGX_ERROR;
    }

    if (ngx_http_klaviyo_utf8(form->arena, name, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_klaviyo_form_key(form->arena, &text, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    node = form->object;

    if (!(form->flags & NGX_HTTP_KLAVIYO_FORM_FLAT)) {

        rc = ngx_http_klaviyo_form_nest(form->arena, &node, &key);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_http_klaviyo_utf8(form->arena, value, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_form_leaf(form, node, key, &text);
}


json_t *
ngx_http_klaviyo_form_done(ngx_http_klaviyo_form_t *form)
{
    if (!(form->flags & NGX_HTTP_KLAVIYO_FORM_FLAT)) {
        ngx_http_klaviyo_form_lists(form->object);
    }

    return form->object;
}


/* a copy that is ours to cut, as jansson wants it: no NUL but at the end */

static ngx_int_t
ngx_http_klaviyo_form_key(ngx_http_klaviyo_arena_t *arena, ngx_str_t *name,
    char **key)
{
    u_char  *p;

    if (name->len == 0 || ngx_strlchr(name->data, name->data + name->len, '\0'))
    {
        return NGX_DECLINED;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, name->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *key = (char *) p;

    p = ngx_cpymem(p, name->data, name->len);
    *p = '\0';

    return NGX_OK;
}


/* how many follow the name; 0 too if they are not well-formed */

static ngx_uint_t
ngx_http_klaviyo_form_brackets(char *key)
{
    ngx_uint_t  n;

    key = strchr(key, '[');

    for (n = 0; key && *key == '['; n++) {
        key = strchr(key, ']');

        if (key) {
            key++;
        }
    }

    return (key && *key == '\0') ? n : 0;
}


/* goes down to the object that gets the value; "key" is its name there */

static ngx_int_t
ngx_http_klaviyo_form_nest(ngx_http_klaviyo_arena_t *arena, json_t **node,
    char **key)
{
    char        *p;
    ngx_int_t    rc;
    ngx_uint_t   n;

    n = ngx_http_klaviyo_form_brackets(*key);

    if (n == 0) {
        return NGX_OK;
    }

    if (n > NGX_HTTP_KLAVIYO_FORM_BRACKETS) {
        arena->limits++;
        return NGX_ERROR;
    }

    p = strchr(*key, '[');

    if (p == *key) {
        return NGX_DECLINED;
    }

    for ( /* void */ ; n > 0; n--) {
        *p++ = '\0';

        rc = ngx_http_klaviyo_form_object(arena, node, *key);
        if (rc != NGX_OK) {
            return rc;
        }

        *key = p;

        p = strchr(p, ']');
        *p++ = '\0';
    }

    return NGX_OK;
}


/* the object of that name in "node", a new one if there is nothing yet */

static ngx_int_t
ngx_http_klaviyo_form_object(ngx_http_klaviyo_arena_t *arena, json_t **node,
    char *key)
{
    char     buf[NGX_INT_T_LEN + 1];
    json_t  *json;

    key = ngx_http_klaviyo_form_append(*node, key, buf);
    json = json_object_get(*node, key);

    if (json) {
        *node = json;
        return json_is_object(json) ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_http_klaviyo_arena_charge(arena,
                                      NGX_HTTP_KLAVIYO_MEMBER_COST
                                      + NGX_HTTP_KLAVIYO_OBJECT_COST
                                      + ngx_strlen(key))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    json = json_object();

    if (json_object_set_new_nocheck(*node, key, json) != 0) {
        arena->limits++;
        return NGX_ERROR;
    }

    *node = json;

    return NGX_OK;
}


/* [] is the next number */

static char *
ngx_http_klaviyo_form_append(json_t *node, char *key, char *buf)
{
    if (*key != '\0') {
        return key;
    }

    (void) ngx_sprintf((u_char *) buf, "%uz%Z", json_object_size(node));

    return buf;
}


static ngx_int_t
ngx_http_klaviyo_form_leaf(ngx_http_klaviyo_form_t *form, json_t *node,
    char *key, ngx_str_t *value)
{
    int          rc;
    char         buf[NGX_INT_T_LEN + 1];
    json_t      *old, *json;
    ngx_uint_t   repeat;

    repeat = form->flags & NGX_HTTP_KLAVIYO_FORM_REPEAT;
    key = ngx_http_klaviyo_form_append(node, key, buf);
    old = json_object_get(node, key);

    if (old && (!repeat || json_is_object(old))) {
        return NGX_DECLINED;
    }

    if (ngx_http_klaviyo_arena_charge(form->arena,
                                      NGX_HTTP_KLAVIYO_MEMBER_COST
                                      + NGX_HTTP_KLAVIYO_VALUE_COST
                                      + ngx_strlen(key) + value->len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    json = json_stringn_nocheck((char *) value->data, value->len);

    if (old) {
        rc = ngx_http_klaviyo_form_repeat(node, key, old, json);

    } else {
        rc = json_object_set_new_nocheck(node, key, json);
    }

    if (rc != 0) {
        form->arena->limits++;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the second of equal names makes an array; returns what jansson returns */

static int
ngx_http_klaviyo_form_repeat(json_t *node, char *key, json_t *old,
    json_t *json)
{
    if (json_is_array(old)) {
        return json_array_append_new(old, json);
    }

    return json_object_set_new_nocheck(node, key, json_pack("[Oo]", old, json));
}


/* below "object", objects whose names are 0, 1, 2 and so on become arrays */

static void
ngx_http_klaviyo_form_lists(json_t *object)
{
    void    *iter;
    json_t  *json, *list;

    for (iter = json_object_iter(object);
         iter;
         iter = json_object_iter_next(object, iter))
    {
        json = json_object_iter_value(iter);

        if (!json_is_object(json)) {
            continue;
        }

        ngx_http_klaviyo_form_lists(json);

        list = ngx_http_klaviyo_form_list(json);

        if (list) {
            (void) json_object_iter_set_new(object, iter, list);
        }
    }
}


static json_t *
ngx_http_klaviyo_form_list(json_t *object)
{
    char     buf[NGX_INT_T_LEN + 1];
    void    *iter;
    json_t  *list;

    list = json_array();

    for (iter = json_object_iter(object);
         iter;
         iter = json_object_iter_next(object, iter))
    {
        (void) ngx_sprintf((u_char *) buf, "%uz%Z", json_array_size(list));

        if (ngx_strcmp(json_object_iter_key(iter), buf) != 0
            || json_array_append(list, json_object_iter_value(iter)) != 0)
        {
            json_decref(list);
            return NULL;
        }
    }

    return list;
}
