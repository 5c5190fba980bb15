
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The filters that choose from arrays and objects.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"
#include "ngx_http_klaviyo_decimal.h"


/* what jansson takes for a member of an object beside its name */
#define NGX_HTTP_KLAVIYO_FILTER_MEMBER  128


static void ngx_http_klaviyo_filter_nth(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_int_t n);
static void ngx_http_klaviyo_filter_members(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_regex_t *glob);
static void ngx_http_klaviyo_filter_member(ngx_http_klaviyo_arena_t *arena,
    void *iter, ngx_http_klaviyo_regex_t *glob,
    ngx_http_klaviyo_data_t *element);
static ngx_int_t ngx_http_klaviyo_filter_entry(ngx_http_klaviyo_arena_t *arena,
    json_t *array, ngx_http_klaviyo_regex_t *regex,
    ngx_http_klaviyo_data_t *name, ngx_http_klaviyo_data_t *value);
static ngx_int_t ngx_http_klaviyo_filter_pair(ngx_http_klaviyo_arena_t *arena,
    json_t *array, ngx_http_klaviyo_data_t *first,
    ngx_http_klaviyo_data_t *second);
static ngx_uint_t ngx_http_klaviyo_filter_equal(ngx_http_klaviyo_data_t *a,
    ngx_http_klaviyo_data_t *b);
static ngx_int_t ngx_http_klaviyo_filter_seen(ngx_http_klaviyo_arena_t *arena,
    json_t *set, ngx_http_klaviyo_data_t *data);


void
ngx_http_klaviyo_filter_first(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_nth(arena, data, 0);
}


void
ngx_http_klaviyo_filter_last(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_nth(arena, data, -1);
}


void
ngx_http_klaviyo_filter_at(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_nth(arena, data, args[0].n);
}


static void
ngx_http_klaviyo_filter_nth(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_int_t n)
{
    size_t                   size;
    ngx_http_klaviyo_data_t  element;

    size = ngx_http_klaviyo_filter_size(data);

    if (n < 0) {
        n += size;
    }

    if (n < 0 || (size_t) n >= size) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_filter_element(arena, data, n, &element);

    *data = element;
}


void
ngx_http_klaviyo_filter_keys(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_members(arena, data, NULL);
}


void
ngx_http_klaviyo_filter_pick(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_members(arena, data, args[0].regex);
}


static void
ngx_http_klaviyo_filter_members(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_regex_t *glob)
{
    void                     *iter;
    json_t                   *object, *array;
    ngx_http_klaviyo_data_t   element;

    object = (data->type == NGX_HTTP_KLAVIYO_TREE) ? data->json : NULL;

    ngx_http_klaviyo_data_missing(data);

    if (!json_is_object(object)) {
        return;
    }

    array = ngx_http_klaviyo_filter_array(arena);

    if (array == NULL) {
        return;
    }

    for (iter = json_object_iter(object);
         iter;
         iter = json_object_iter_next(object, iter))
    {
        ngx_http_klaviyo_filter_member(arena, iter, glob, &element);

        if (ngx_http_klaviyo_data_is_missing(&element)) {
            continue;
        }

        if (ngx_http_klaviyo_filter_push(arena, array, &element) != NGX_OK) {
            return;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


/* the key, or with a glob the value if the key fits */

static void
ngx_http_klaviyo_filter_member(ngx_http_klaviyo_arena_t *arena, void *iter,
    ngx_http_klaviyo_regex_t *glob, ngx_http_klaviyo_data_t *element)
{
    ngx_int_t  rc;
    ngx_str_t  key;

    key.data = (u_char *) json_object_iter_key(iter);
    key.len = ngx_strlen(key.data);

    if (glob == NULL) {
        ngx_http_klaviyo_data_set_string(element, key.data, key.len);
        return;
    }

    rc = ngx_http_klaviyo_regex_exec(glob, &key, NULL, 0);

    if (rc == NGX_OK) {
        ngx_http_klaviyo_data_from_json(arena, element,
                                        json_object_iter_value(iter));
        return;
    }

    if (rc == NGX_ABORT) {
        arena->limits++;
    }

    ngx_http_klaviyo_data_missing(element);
}


/* Names beside their values, or places beside their elements */

void
ngx_http_klaviyo_filter_entries(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    void                      *iter;
    size_t                     i, n;
    u_char                     buf[NGX_SIZE_T_LEN];
    json_t                    *object, *array;
    ngx_http_klaviyo_data_t    name, value;
    ngx_http_klaviyo_regex_t  *regex;

    regex = nargs ? args[0].regex : NULL;
    array = ngx_http_klaviyo_filter_array(arena);

    object = (data->type == NGX_HTTP_KLAVIYO_TREE
              && json_is_object(data->json)) ? data->json : NULL;

    iter = json_object_iter(object);
    n = object ? json_object_size(object) : ngx_http_klaviyo_filter_size(data);

    for (i = 0; array && i < n; i++) {

        if (object) {
            ngx_http_klaviyo_filter_member(arena, iter, NULL, &name);
            ngx_http_klaviyo_data_from_json(arena, &value,
                                            json_object_iter_value(iter));
            iter = json_object_iter_next(object, iter);

        } else {
            name.type = NGX_HTTP_KLAVIYO_NUMBER;
            name.text.data = buf;
            name.text.len = ngx_sprintf(buf, "%uz", i) - buf;
            ngx_http_klaviyo_filter_element(arena, data, i, &value);
        }

        if (ngx_http_klaviyo_filter_entry(arena, array, regex, &name, &value)
            != NGX_OK)
        {
            break;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


static ngx_int_t
ngx_http_klaviyo_filter_entry(ngx_http_klaviyo_arena_t *arena, json_t *array,
    ngx_http_klaviyo_regex_t *regex, ngx_http_klaviyo_data_t *name,
    ngx_http_klaviyo_data_t *value)
{
    ngx_str_t  text;

    if (regex) {
        text = name->text;
        ngx_http_klaviyo_filter_match(arena, name, regex, &text);

        if (ngx_http_klaviyo_data_is_missing(name)) {
            return NGX_OK;
        }
    }

    return ngx_http_klaviyo_filter_pair(arena, array, name, value);
}


void
ngx_http_klaviyo_filter_where(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t                    i, n;
    json_t                   *array;
    ngx_http_klaviyo_data_t   element, value;

    array = ngx_http_klaviyo_filter_array(arena);

    if (array == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    n = ngx_http_klaviyo_filter_size(data);

    if (ngx_http_klaviyo_arena_look(arena, n) != NGX_OK) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_filter_element(arena, data, i, &element);

        ngx_http_klaviyo_path_select(arena, args[0].path, &element, &value);

        if (!ngx_http_klaviyo_filter_equal(&value, &args[1].data)) {
            continue;
        }

        if (ngx_http_klaviyo_filter_push(arena, array, &element) != NGX_OK) {
            ngx_http_klaviyo_data_missing(data);
            return;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


/* as text; a number also by its value: 38 is "38.0", but "038" is not "38" */

static ngx_uint_t
ngx_http_klaviyo_filter_equal(ngx_http_klaviyo_data_t *a,
    ngx_http_klaviyo_data_t *b)
{
    ngx_str_t                   first, second;
    ngx_http_klaviyo_decimal_t  da, db;

    if (ngx_http_klaviyo_data_text(a, &first) != NGX_OK
        || ngx_http_klaviyo_data_text(b, &second) != NGX_OK)
    {
        return 0;
    }

    if (first.len == second.len
        && ngx_memcmp(first.data, second.data, first.len) == 0)
    {
        return 1;
    }

    if (a->type != NGX_HTTP_KLAVIYO_NUMBER
        && b->type != NGX_HTTP_KLAVIYO_NUMBER)
    {
        return 0;
    }

    return ngx_http_klaviyo_decimal_parse(&da, &first) == NGX_OK
           && ngx_http_klaviyo_decimal_parse(&db, &second) == NGX_OK
           && ngx_http_klaviyo_decimal_compare(&da, &db) == 0;
}


void
ngx_http_klaviyo_filter_unique(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t                    i, n;
    json_t                   *array, *set;
    ngx_int_t                 rc;
    ngx_http_klaviyo_data_t   element;

    array = ngx_http_klaviyo_filter_array(arena);
    set = ngx_http_klaviyo_filter_own(arena, json_object());

    n = ngx_http_klaviyo_filter_size(data);

    for (i = 0; array && set && i < n; i++) {
        ngx_http_klaviyo_filter_element(arena, data, i, &element);

        if (ngx_http_klaviyo_data_is_missing(&element)) {
            continue;
        }

        rc = ngx_http_klaviyo_filter_seen(arena, set, &element);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_klaviyo_filter_push(arena, array, &element);
        }

        if (rc != NGX_OK) {
            break;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


/*
 * Equal values have equal texts with sorted keys, and jansson's hash has a
 * random seed: no input makes this grow with the square of its size.  Returns
 * NGX_OK if the set had it, NGX_DECLINED if it has it now, or NGX_ERROR when
 * a limit is met (counted).
 */

static ngx_int_t
ngx_http_klaviyo_filter_seen(ngx_http_klaviyo_arena_t *arena, json_t *set,
    ngx_http_klaviyo_data_t *data)
{
    char       *text;
    json_t     *json;
    ngx_int_t   rc;

    json = ngx_http_klaviyo_data_to_json(arena, data);
    text = json_dumps(json, JSON_COMPACT|JSON_SORT_KEYS|JSON_ENCODE_ANY);

    json_decref(json);

    if (text == NULL) {
        arena->limits++;
        return NGX_ERROR;
    }

    if (json_object_get(set, text)) {
        rc = NGX_OK;

    } else if (ngx_http_klaviyo_arena_charge(arena, ngx_strlen(text)
                                             + NGX_HTTP_KLAVIYO_FILTER_MEMBER)
               != NGX_OK)
    {
        rc = NGX_ERROR;

    } else if (json_object_set_new_nocheck(set, text, json_true()) != 0) {
        arena->limits++;
        rc = NGX_ERROR;

    } else {
        rc = NGX_DECLINED;
    }

    ngx_free(text);

    return rc;
}


void
ngx_http_klaviyo_filter_zip(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t                    i, n;
    json_t                   *array;
    ngx_http_klaviyo_data_t   first, second;

    array = ngx_http_klaviyo_filter_array(arena);

    n = ngx_min(ngx_http_klaviyo_filter_size(data),
                ngx_http_klaviyo_filter_size(&args[0].data));

    for (i = 0; array && i < n; i++) {
        ngx_http_klaviyo_filter_element(arena, data, i, &first);
        ngx_http_klaviyo_filter_element(arena, &args[0].data, i, &second);

        if (ngx_http_klaviyo_filter_pair(arena, array, &first, &second)
            != NGX_OK)
        {
            break;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


/* null keeps its place in a pair */

static ngx_int_t
ngx_http_klaviyo_filter_pair(ngx_http_klaviyo_arena_t *arena, json_t *array,
    ngx_http_klaviyo_data_t *first, ngx_http_klaviyo_data_t *second)
{
    ngx_http_klaviyo_data_t  pair;

    pair.type = NGX_HTTP_KLAVIYO_TREE;
    pair.json = ngx_http_klaviyo_filter_array(arena);

    if (pair.json == NULL
        || ngx_http_klaviyo_filter_push(arena, pair.json, first) != NGX_OK
        || ngx_http_klaviyo_filter_push(arena, pair.json, second) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_filter_push(arena, array, &pair);
}


/* What is missing adds nothing; what a limit stopped leaves nothing. */

void
ngx_http_klaviyo_filter_concat(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t                    i, n, size;
    json_t                   *array;
    ngx_http_klaviyo_data_t   element, *term;

    term = &args[0].data;

    if (ngx_http_klaviyo_data_is_missing(term)) {

        if (term->type == NGX_HTTP_KLAVIYO_UNKNOWN) {
            data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
        }

        return;
    }

    array = ngx_http_klaviyo_filter_array(arena);

    size = ngx_http_klaviyo_data_is_missing(data)
           ? 0 : ngx_http_klaviyo_filter_size(data);
    n = size + ngx_http_klaviyo_filter_size(term);

    for (i = 0; array && i < n; i++) {
        ngx_http_klaviyo_filter_element(arena, (i < size) ? data : term,
                                        (i < size) ? i : i - size, &element);

        if (ngx_http_klaviyo_filter_push(arena, array, &element) != NGX_OK) {
            break;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


void
ngx_http_klaviyo_filter_default(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    /* what would not be sent is as good as missing */

    if (data->type == NGX_HTTP_KLAVIYO_MISSING
        || (data->type == NGX_HTTP_KLAVIYO_STRING && data->text.len == 0)
        || (data->type == NGX_HTTP_KLAVIYO_TREE
            && json_array_size(data->json) == 0
            && json_object_size(data->json) == 0))
    {
        *data = args[0].data;
    }
}


/* The memory is the request's: without one there is nothing in it. */

void
ngx_http_klaviyo_filter_recall(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_data_missing(data);
}
