
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The table of the filters, their arguments, and how they are run: over
 * arrays, past what is missing, within the arena.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"


/* arrays in arrays that a filter is applied to */
#define NGX_HTTP_KLAVIYO_FILTER_DEPTH    NGX_HTTP_KLAVIYO_MAX_DEPTH

/* what jansson takes for an empty tree, and for an element of an array */
#define NGX_HTTP_KLAVIYO_FILTER_TREE     256
#define NGX_HTTP_KLAVIYO_FILTER_ELEMENT  (2 * sizeof(json_t *))

/* what an "err" has room for */
#define NGX_HTTP_KLAVIYO_FILTER_ERROR    128

/* a name longer than that resembles none of ours */
#define NGX_HTTP_KLAVIYO_FILTER_NAME     16

/* changes of a letter that a name may be away from ours */
#define NGX_HTTP_KLAVIYO_FILTER_NEAR     2


static void ngx_http_klaviyo_filter_apply(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_filter_t *filter, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs, ngx_uint_t depth);
static void ngx_http_klaviyo_filter_map(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_filter_t *filter, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs, ngx_uint_t depth);
static ngx_uint_t ngx_http_klaviyo_filter_distance(ngx_str_t *a, ngx_str_t *b);
static ngx_int_t ngx_http_klaviyo_filter_arg_path(ngx_pool_t *pool,
    ngx_http_klaviyo_arg_t *arg, ngx_str_t *err);
static ngx_int_t ngx_http_klaviyo_filter_arg_regex(ngx_pool_t *pool,
    ngx_http_klaviyo_arg_t *arg, ngx_uint_t flags, ngx_str_t *err);
static ngx_int_t ngx_http_klaviyo_filter_arg_text(ngx_pool_t *pool,
    ngx_str_t *text, ngx_http_klaviyo_arg_t *arg, ngx_str_t *err);
static ngx_int_t ngx_http_klaviyo_filter_arg_index(
    ngx_http_klaviyo_arg_t *arg, ngx_str_t *err);
static ngx_int_t ngx_http_klaviyo_filter_arg_country(
    ngx_http_klaviyo_arg_t *arg, ngx_str_t *err);
static ngx_int_t ngx_http_klaviyo_filter_error(ngx_str_t *err,
    const char *what, ngx_str_t *text);


#define NGX_HTTP_KLAVIYO_FILTER(name, run, arg1, arg2, mandatory, maps,       \
    total)                                                                    \
    { ngx_string(name), ngx_http_klaviyo_filter_##run,                        \
      { NGX_HTTP_KLAVIYO_ARG_##arg1, NGX_HTTP_KLAVIYO_ARG_##arg2 },           \
      mandatory, maps, total }


static ngx_http_klaviyo_filter_t  ngx_http_klaviyo_filters[] = {

    NGX_HTTP_KLAVIYO_FILTER("urldecode", urldecode, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("formdecode", formdecode, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("base64", base64, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("base64url", base64, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("json", json, PATH, NONE, 0, 2, 0),
    NGX_HTTP_KLAVIYO_FILTER("jwt", jwt, PATH, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("form", form, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("kv", kv, SEP, SEP, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("unescape", unescape, NONE, NONE, 0, 1, 0),

    NGX_HTTP_KLAVIYO_FILTER("first", first, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("last", last, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("at", at, INDEX, NONE, 1, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("keys", keys, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("pick", pick, GLOB, NONE, 1, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("entries", entries, PATTERN, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("where", where, PATH, TERM, 2, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("unique", unique, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("zip", zip, TERM, NONE, 1, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("concat", concat, TERM, NONE, 1, 0, 1),
    NGX_HTTP_KLAVIYO_FILTER("default", default, TERM, NONE, 1, 0, 1),
    NGX_HTTP_KLAVIYO_FILTER("recall", recall, NAME, PATH, 1, 0, 0),

    NGX_HTTP_KLAVIYO_FILTER("trim", trim, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("lower", lower, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("upper", upper, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("regex", regex, PATTERN, NONE, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("split", split, SEP, INDEX, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("join", join, GLUE, NONE, 1, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("prefix", prefix, TERM, NONE, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("suffix", suffix, TERM, NONE, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("gid", gid, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("sha256", sha256, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("e164", e164, COUNTRY, NONE, 1, 1, 0),

    NGX_HTTP_KLAVIYO_FILTER("number", number, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("integer", integer, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("boolean", boolean, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("string", string, NONE, NONE, 0, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("date", date, NONE, NONE, 0, 1, 0),

    NGX_HTTP_KLAVIYO_FILTER("count", count, NONE, NONE, 0, 0, 1),
    NGX_HTTP_KLAVIYO_FILTER("sum", sum, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("min", min, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("max", max, NONE, NONE, 0, 0, 0),
    NGX_HTTP_KLAVIYO_FILTER("multiply", multiply, TERM, NONE, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("divide", divide, TERM, NONE, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("scale", scale, TERM, NONE, 1, 1, 0),
    NGX_HTTP_KLAVIYO_FILTER("round", round, TERM, NONE, 1, 1, 0),
};


#define NGX_HTTP_KLAVIYO_FILTERS                                              \
    (sizeof(ngx_http_klaviyo_filters) / sizeof(ngx_http_klaviyo_filter_t))


ngx_http_klaviyo_filter_t *
ngx_http_klaviyo_filter_find(ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_filter_t  *filter;

    for (i = 0; i < NGX_HTTP_KLAVIYO_FILTERS; i++) {
        filter = &ngx_http_klaviyo_filters[i];

        if (filter->name.len == name->len
            && ngx_strncmp(filter->name.data, name->data, name->len) == 0)
        {
            return filter;
        }
    }

    return NULL;
}


ngx_http_klaviyo_filter_t *
ngx_http_klaviyo_filter_near(ngx_str_t *name)
{
    ngx_uint_t                  i, distance, least;
    ngx_http_klaviyo_filter_t  *filter, *near;

    if (name->len == 0 || name->len > NGX_HTTP_KLAVIYO_FILTER_NAME) {
        return NULL;
    }

    /* more than half of a short name is another name */

    least = ngx_min(NGX_HTTP_KLAVIYO_FILTER_NEAR, name->len / 2) + 1;
    near = NULL;

    for (i = 0; i < NGX_HTTP_KLAVIYO_FILTERS; i++) {
        filter = &ngx_http_klaviyo_filters[i];

        distance = ngx_http_klaviyo_filter_distance(&filter->name, name);

        if (distance < least) {
            least = distance;
            near = filter;
        }
    }

    return near;
}


/* Levenshtein's, without regard to case */

static ngx_uint_t
ngx_http_klaviyo_filter_distance(ngx_str_t *a, ngx_str_t *b)
{
    ngx_uint_t  i, j, cost, diagonal, above;
    ngx_uint_t  row[NGX_HTTP_KLAVIYO_FILTER_NAME + 1];

    for (j = 0; j <= b->len; j++) {
        row[j] = j;
    }

    for (i = 1; i <= a->len; i++) {
        diagonal = row[0];
        row[0] = i;

        for (j = 1; j <= b->len; j++) {
            above = row[j];

            cost = ngx_tolower(a->data[i - 1]) != ngx_tolower(b->data[j - 1]);

            row[j] = ngx_min(diagonal + cost,
                             ngx_min(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }

    return row[b->len];
}


ngx_int_t
ngx_http_klaviyo_filter_arg(ngx_pool_t *pool, ngx_http_klaviyo_arg_e kind,
    ngx_str_t *text, ngx_http_klaviyo_arg_t *arg, ngx_str_t *err)
{
    ngx_memzero(arg, sizeof(ngx_http_klaviyo_arg_t));

    arg->text = *text;

    switch (kind) {

    case NGX_HTTP_KLAVIYO_ARG_PATH:
        return ngx_http_klaviyo_filter_arg_path(pool, arg, err);

    case NGX_HTTP_KLAVIYO_ARG_PATTERN:
        return ngx_http_klaviyo_filter_arg_regex(pool, arg,
                                                 NGX_HTTP_KLAVIYO_REGEX_UTF,
                                                 err);

    case NGX_HTTP_KLAVIYO_ARG_GLOB:

        if (ngx_http_klaviyo_filter_arg_text(pool, text, arg, err) != NGX_OK) {
            return NGX_DECLINED;
        }

        return ngx_http_klaviyo_filter_arg_regex(pool, arg,
                                                NGX_HTTP_KLAVIYO_REGEX_UTF
                                                |NGX_HTTP_KLAVIYO_REGEX_GLOB,
                                                err);

    case NGX_HTTP_KLAVIYO_ARG_SEP:
    case NGX_HTTP_KLAVIYO_ARG_GLUE:

        if (text->len == 0 && kind == NGX_HTTP_KLAVIYO_ARG_GLUE) {
            return NGX_OK;
        }

        return ngx_http_klaviyo_filter_arg_text(pool, text, arg, err);

    case NGX_HTTP_KLAVIYO_ARG_INDEX:
        return ngx_http_klaviyo_filter_arg_index(arg, err);

    case NGX_HTTP_KLAVIYO_ARG_NAME:

        if (text->len == 0) {
            return ngx_http_klaviyo_filter_error(err, "empty argument", text);
        }

        return NGX_OK;

    case NGX_HTTP_KLAVIYO_ARG_COUNTRY:
        return ngx_http_klaviyo_filter_arg_country(arg, err);

    default: /* NGX_HTTP_KLAVIYO_ARG_NONE, NGX_HTTP_KLAVIYO_ARG_TERM */
        return ngx_http_klaviyo_filter_error(err, "unexpected argument", text);
    }
}


static ngx_int_t
ngx_http_klaviyo_filter_arg_path(ngx_pool_t *pool, ngx_http_klaviyo_arg_t *arg,
    ngx_str_t *err)
{
    ngx_http_klaviyo_pick_t  *pick;

    arg->path = ngx_http_klaviyo_path_parse(pool, &arg->text, err);

    if (arg->path == NULL) {
        return NGX_DECLINED;
    }

    pick = ngx_http_klaviyo_pick_path(pool, &arg->pick, arg->path);
    if (pick == NULL) {
        ngx_str_set(err, "no memory");
        return NGX_DECLINED;
    }

    pick->whole = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_filter_arg_regex(ngx_pool_t *pool,
    ngx_http_klaviyo_arg_t *arg, ngx_uint_t flags, ngx_str_t *err)
{
    u_char  *p;

    err->len = NGX_HTTP_KLAVIYO_FILTER_ERROR;

    arg->regex = ngx_http_klaviyo_regex_compile(pool, &arg->text, flags, err);

    if (arg->regex) {
        return NGX_OK;
    }

    p = err->data + err->len;
    p = ngx_snprintf(p, NGX_HTTP_KLAVIYO_FILTER_ERROR - err->len, " in \"%V\"",
                     &arg->text);

    err->len = p - err->data;

    return NGX_DECLINED;
}


/* a copy, since the words of the configuration are named in messages */

static ngx_int_t
ngx_http_klaviyo_filter_arg_text(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_klaviyo_arg_t *arg, ngx_str_t *err)
{
    if (text->len == 0) {
        return ngx_http_klaviyo_filter_error(err, "empty argument", text);
    }

    arg->text.data = ngx_pstrdup(pool, text);

    if (arg->text.data == NULL) {
        return ngx_http_klaviyo_filter_error(err, "no memory for", text);
    }

    if (ngx_http_klaviyo_unescape_hex(&arg->text) != NGX_OK) {
        return ngx_http_klaviyo_filter_error(err, "invalid \\x escape in",
                                             text);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_filter_arg_index(ngx_http_klaviyo_arg_t *arg, ngx_str_t *err)
{
    u_char     *p;
    size_t      len;
    ngx_uint_t  negative;

    p = arg->text.data;
    len = arg->text.len;
    negative = (len && *p == '-');

    arg->n = ngx_atoi(p + negative, len - negative);

    if (arg->n == NGX_ERROR) {
        return ngx_http_klaviyo_filter_error(err, "invalid index", &arg->text);
    }

    if (negative) {
        arg->n = -arg->n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_filter_arg_country(ngx_http_klaviyo_arg_t *arg,
    ngx_str_t *err)
{
    arg->country = ngx_http_klaviyo_phone_country(&arg->text);

    if (arg->country == NULL) {
        return ngx_http_klaviyo_filter_error(err, "unknown country",
                                             &arg->text);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_filter_error(ngx_str_t *err, const char *what,
    ngx_str_t *text)
{
    err->len = ngx_snprintf(err->data, NGX_HTTP_KLAVIYO_FILTER_ERROR,
                            "%s \"%V\"", what, text)
               - err->data;

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_klaviyo_unescape_hex(ngx_str_t *text)
{
    u_char     *src, *dst, *last;
    ngx_int_t   n;

    src = text->data;
    dst = src;
    last = src + text->len;

    while (src < last) {

        if (last - src < 2 || src[0] != '\\' || src[1] != 'x') {
            *dst++ = *src++;
            continue;
        }

        if (last - src < 4) {
            return NGX_DECLINED;
        }

        n = ngx_hextoi(src + 2, 2);

        if (n == NGX_ERROR) {
            return NGX_DECLINED;
        }

        *dst++ = (u_char) n;
        src += 4;
    }

    text->len = dst - text->data;

    return NGX_OK;
}


void
ngx_http_klaviyo_filter_run(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_filter_t *filter, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs)
{
    ngx_uint_t  i, limits;

    if (data->type == NGX_HTTP_KLAVIYO_UNKNOWN
        || (data->type == NGX_HTTP_KLAVIYO_MISSING && !filter->total))
    {
        return;
    }

    for (i = 0; i < nargs && !filter->total; i++) {

        if (filter->args[i] == NGX_HTTP_KLAVIYO_ARG_TERM
            && ngx_http_klaviyo_data_is_missing(&args[i].data))
        {
            data->type = args[i].data.type;
            return;
        }
    }

    limits = arena->limits;

    ngx_http_klaviyo_filter_apply(arena, filter, data, args, nargs, 0);

    if (arena->limits != limits) {
        data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
    }
}


static void
ngx_http_klaviyo_filter_apply(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_filter_t *filter, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs, ngx_uint_t depth)
{
    if (!filter->maps || data->type != NGX_HTTP_KLAVIYO_TREE) {
        filter->run(arena, data, args, nargs);
        return;
    }

    if (!json_is_array(data->json)) {

        if (filter->maps == 2) {
            filter->run(arena, data, args, nargs);
            return;
        }

        ngx_http_klaviyo_data_missing(data);
        return;
    }

    if (depth == NGX_HTTP_KLAVIYO_FILTER_DEPTH) {
        arena->limits++;
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_filter_map(arena, filter, data, args, nargs, depth);
}


static void
ngx_http_klaviyo_filter_map(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_filter_t *filter, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs, ngx_uint_t depth)
{
    size_t                    i, n;
    json_t                   *array;
    ngx_uint_t                limits;
    ngx_http_klaviyo_data_t   element;

    array = ngx_http_klaviyo_filter_array(arena);

    if (array == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    limits = arena->limits;
    n = json_array_size(data->json);

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_filter_element(arena, data, i, &element);

        if (!ngx_http_klaviyo_data_is_missing(&element)) {
            ngx_http_klaviyo_filter_apply(arena, filter, &element, args, nargs,
                                          depth + 1);
        }

        if (arena->limits != limits) {
            ngx_http_klaviyo_data_missing(data);
            return;
        }

        if (ngx_http_klaviyo_data_is_missing(&element)) {
            continue;
        }

        if (ngx_http_klaviyo_filter_push(arena, array, &element) != NGX_OK) {
            ngx_http_klaviyo_data_missing(data);
            return;
        }
    }

    data->json = array;
}


ngx_int_t
ngx_http_klaviyo_filter_take(ngx_http_klaviyo_data_t *data, ngx_str_t *text)
{
    if (ngx_http_klaviyo_data_text(data, text) == NGX_OK) {
        return NGX_OK;
    }

    ngx_http_klaviyo_data_missing(data);

    return NGX_DECLINED;
}


size_t
ngx_http_klaviyo_filter_size(ngx_http_klaviyo_data_t *data)
{
    if (data->type == NGX_HTTP_KLAVIYO_TREE && json_is_array(data->json)) {
        return json_array_size(data->json);
    }

    return 1;
}


void
ngx_http_klaviyo_filter_element(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, size_t i, ngx_http_klaviyo_data_t *element)
{
    if (data->type == NGX_HTTP_KLAVIYO_TREE && json_is_array(data->json)) {
        ngx_http_klaviyo_data_from_json(arena, element,
                                        json_array_get(data->json, i));
        return;
    }

    *element = *data;
}


json_t *
ngx_http_klaviyo_filter_array(ngx_http_klaviyo_arena_t *arena)
{
    return ngx_http_klaviyo_filter_own(arena, json_array());
}


json_t *
ngx_http_klaviyo_filter_own(ngx_http_klaviyo_arena_t *arena, json_t *json)
{
    if (json == NULL) {
        arena->limits++;
        return NULL;
    }

    if (ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_FILTER_TREE)
        != NGX_OK)
    {
        json_decref(json);
        return NULL;
    }

    return ngx_http_klaviyo_arena_keep(arena, json);
}


ngx_int_t
ngx_http_klaviyo_filter_push(ngx_http_klaviyo_arena_t *arena, json_t *array,
    ngx_http_klaviyo_data_t *data)
{
    json_t  *json;

    if (ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_FILTER_ELEMENT)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_klaviyo_data_is_missing(data)) {
        json = json_null();

    } else {
        json = ngx_http_klaviyo_data_to_json(arena, data);
    }

    if (json_array_append_new(array, json) != 0) {
        arena->limits++;
        return NGX_DECLINED;
    }

    return NGX_OK;
}
