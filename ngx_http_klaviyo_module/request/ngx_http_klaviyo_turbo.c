
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * turbo-stream: what React Router answers to a ".data" request.  A line is a
 * JSON array whose elements refer to each other by their numbers; later lines,
 * "P" and the number of a promise in front, go on counting.
 *
 * Each element becomes one node, which all that refer to it share.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_turbo.h"


#define NGX_HTTP_KLAVIYO_TURBO_LINES   256
#define NGX_HTTP_KLAVIYO_TURBO_DEPTH   64

/* of what is shared */
#define NGX_HTTP_KLAVIYO_TURBO_WEIGHT  (4 * 1024 * 1024)

/* what has no number of its own; others, as infinity, are as good as missing */
#define NGX_HTTP_KLAVIYO_TURBO_ZERO       -4
#define NGX_HTTP_KLAVIYO_TURBO_NULL       -5
#define NGX_HTTP_KLAVIYO_TURBO_UNDEFINED  -7


typedef struct {
    json_t                    *json;
    json_t                    *node;       /* a reference of our own */
    ngx_int_t                  promise;    /* the number of what it became */
    unsigned                   open:1;
    unsigned                   done:1;
} ngx_http_klaviyo_turbo_value_t;


typedef struct {
    ngx_http_klaviyo_arena_t        *arena;
    size_t                           weight;
    ngx_uint_t                       depth;

    ngx_uint_t                       nlines;
    ngx_uint_t                       nvalues;
    ngx_http_klaviyo_turbo_value_t  *values;

    /* arrays, numbers; the promises that the lines after the first are for */
    json_t                          *lines[NGX_HTTP_KLAVIYO_TURBO_LINES];
    ngx_int_t                        ids[NGX_HTTP_KLAVIYO_TURBO_LINES];
} ngx_http_klaviyo_turbo_t;


static void ngx_http_klaviyo_turbo_lines(ngx_http_klaviyo_turbo_t *turbo,
    ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_turbo_line(ngx_http_klaviyo_turbo_t *turbo,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_klaviyo_turbo_values(
    ngx_http_klaviyo_turbo_t *turbo);
static void ngx_http_klaviyo_turbo_promise(ngx_http_klaviyo_turbo_t *turbo,
    ngx_int_t id, ngx_int_t index);
static json_t *ngx_http_klaviyo_turbo_get(ngx_http_klaviyo_turbo_t *turbo,
    json_t *number);
static json_t *ngx_http_klaviyo_turbo_at(ngx_http_klaviyo_turbo_t *turbo,
    ngx_int_t i);
static json_t *ngx_http_klaviyo_turbo_node(ngx_http_klaviyo_turbo_t *turbo,
    ngx_http_klaviyo_turbo_value_t *value);
static json_t *ngx_http_klaviyo_turbo_array(ngx_http_klaviyo_turbo_t *turbo,
    json_t *json, size_t first);
static json_t *ngx_http_klaviyo_turbo_object(ngx_http_klaviyo_turbo_t *turbo,
    json_t *json);
static json_t *ngx_http_klaviyo_turbo_map(ngx_http_klaviyo_turbo_t *turbo,
    json_t *json);
static void ngx_http_klaviyo_turbo_member(ngx_http_klaviyo_turbo_t *turbo,
    json_t *object, json_t *name, json_t *json);
static json_t *ngx_http_klaviyo_turbo_typed(ngx_http_klaviyo_turbo_t *turbo,
    ngx_http_klaviyo_turbo_value_t *value);
static json_t *ngx_http_klaviyo_turbo_date(ngx_http_klaviyo_turbo_t *turbo,
    json_t *msec);
static json_t *ngx_http_klaviyo_turbo_bigint(ngx_http_klaviyo_turbo_t *turbo,
    json_t *digits);


json_t *
ngx_http_klaviyo_turbo_parse(ngx_http_klaviyo_arena_t *arena, ngx_str_t *text)
{
    json_t                    *json;
    ngx_uint_t                 i, limits;
    ngx_http_klaviyo_turbo_t  *turbo;

    limits = arena->limits;

    turbo = ngx_http_klaviyo_arena_alloc(arena,
                                         sizeof(ngx_http_klaviyo_turbo_t));
    if (turbo == NULL) {
        return NULL;
    }

    ngx_memzero(turbo, sizeof(ngx_http_klaviyo_turbo_t));

    turbo->arena = arena;
    turbo->weight = NGX_HTTP_KLAVIYO_TURBO_WEIGHT;

    ngx_http_klaviyo_turbo_lines(turbo, text);

    if (ngx_http_klaviyo_turbo_values(turbo) != NGX_OK) {
        return NULL;
    }

    json = ngx_http_klaviyo_turbo_at(turbo, 0);
    json = ngx_http_klaviyo_arena_keep(arena, json);

    for (i = 0; i < turbo->nvalues; i++) {
        json_decref(turbo->values[i].node);
    }

    if (arena->limits != limits
        || (!json_is_array(json) && !json_is_object(json)))
    {
        return NULL;
    }

    return json;
}


/* up to one that is wrong or cut: the answer may have been aborted */

static void
ngx_http_klaviyo_turbo_lines(ngx_http_klaviyo_turbo_t *turbo, ngx_str_t *text)
{
    u_char  *p, *end, *last;

    last = text->data + text->len;

    for (p = text->data; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, LF);
        end = end ? end : last;

        if (end == p) {
            continue;
        }

        if (ngx_http_klaviyo_turbo_line(turbo, p, end) != NGX_OK) {
            return;
        }
    }
}


static ngx_int_t
ngx_http_klaviyo_turbo_line(ngx_http_klaviyo_turbo_t *turbo, u_char *p,
    u_char *last)
{
    u_char     *colon;
    json_t     *json;
    ngx_int_t   id;
    ngx_str_t   text;

    id = NGX_ERROR;

    if (turbo->nlines) {
        colon = ngx_strlchr(p, last, ':');

        if (colon == NULL || (*p != 'P' && *p != 'E')) {
            return NGX_DECLINED;
        }

        /* what a promise failed with is nobody's value */

        id = (*p == 'P') ? ngx_atoi(p + 1, colon - p - 1) : NGX_ERROR;
        p = colon + 1;
    }

    if (turbo->nlines == NGX_HTTP_KLAVIYO_TURBO_LINES) {
        turbo->arena->limits++;
        return NGX_DECLINED;
    }

    text.data = p;
    text.len = last - p;

    json = ngx_http_klaviyo_json_parse(turbo->arena, &text);

    if (!json_is_array(json) && !json_is_integer(json)) {
        return NGX_DECLINED;
    }

    turbo->lines[turbo->nlines] = json;
    turbo->ids[turbo->nlines] = id;
    turbo->nlines++;

    return NGX_OK;
}


/* gives all of them their numbers, and the promises theirs */

static ngx_int_t
ngx_http_klaviyo_turbo_values(ngx_http_klaviyo_turbo_t *turbo)
{
    size_t                           n, size;
    json_t                          *json;
    ngx_uint_t                       i;
    ngx_http_klaviyo_turbo_value_t  *value;

    for (i = 0; i < turbo->nlines; i++) {
        turbo->nvalues += json_array_size(turbo->lines[i]);
    }

    size = turbo->nvalues * sizeof(ngx_http_klaviyo_turbo_value_t);

    turbo->values = ngx_http_klaviyo_arena_alloc(turbo->arena, size);
    if (turbo->values == NULL) {
        return NGX_ERROR;
    }

    value = turbo->values;

    for (i = 0; i < turbo->nlines; i++) {

        json_array_foreach(turbo->lines[i], n, json) {
            ngx_memzero(value, sizeof(ngx_http_klaviyo_turbo_value_t));

            value->json = json;
            value->promise = NGX_HTTP_KLAVIYO_TURBO_UNDEFINED;
            value++;
        }
    }

    n = 0;

    for (i = 0; i < turbo->nlines; i++) {
        json = turbo->lines[i];

        ngx_http_klaviyo_turbo_promise(turbo, turbo->ids[i],
                                       json_is_array(json)
                                       ? (ngx_int_t) n
                                       : json_integer_value(json));
        n += json_array_size(json);
    }

    return NGX_OK;
}


static void
ngx_http_klaviyo_turbo_promise(ngx_http_klaviyo_turbo_t *turbo, ngx_int_t id,
    ngx_int_t index)
{
    if (id >= 0 && (ngx_uint_t) id < turbo->nvalues) {
        turbo->values[id].promise = index;
    }
}


/* these return a new reference, or NULL for what is missing */

static json_t *
ngx_http_klaviyo_turbo_get(ngx_http_klaviyo_turbo_t *turbo, json_t *number)
{
    if (!json_is_integer(number)) {
        return NULL;
    }

    return ngx_http_klaviyo_turbo_at(turbo, json_integer_value(number));
}


static json_t *
ngx_http_klaviyo_turbo_at(ngx_http_klaviyo_turbo_t *turbo, ngx_int_t i)
{
    ngx_http_klaviyo_turbo_value_t  *value;

    if (i == NGX_HTTP_KLAVIYO_TURBO_NULL) {
        return json_null();
    }

    if (i == NGX_HTTP_KLAVIYO_TURBO_ZERO) {
        return json_integer(0);
    }

    if (i < 0 || (ngx_uint_t) i >= turbo->nvalues) {
        return NULL;
    }

    value = &turbo->values[i];

    if (value->done) {

        if (value->node
            && ngx_http_klaviyo_arena_weigh(turbo->arena, value->node,
                                            &turbo->weight)
               != NGX_OK)
        {
            return NULL;
        }

        return json_incref(value->node);
    }

    if (value->open) {
        return NULL;
    }

    if (turbo->depth == NGX_HTTP_KLAVIYO_TURBO_DEPTH) {
        turbo->arena->limits++;
        return NULL;
    }

    value->open = 1;
    turbo->depth++;

    value->node = ngx_http_klaviyo_turbo_node(turbo, value);

    turbo->depth--;
    value->open = 0;
    value->done = 1;

    return json_incref(value->node);
}


static json_t *
ngx_http_klaviyo_turbo_node(ngx_http_klaviyo_turbo_t *turbo,
    ngx_http_klaviyo_turbo_value_t *value)
{
    json_t  *json;

    json = value->json;

    if (json_is_object(json)) {
        return ngx_http_klaviyo_turbo_object(turbo, json);
    }

    if (json_is_string(json_array_get(json, 0))) {
        return ngx_http_klaviyo_turbo_typed(turbo, value);
    }

    if (json_is_array(json)) {
        return ngx_http_klaviyo_turbo_array(turbo, json, 0);
    }

    return json_incref(json);
}


/* what is missing keeps its place */

static json_t *
ngx_http_klaviyo_turbo_array(ngx_http_klaviyo_turbo_t *turbo, json_t *json,
    size_t first)
{
    size_t   i;
    json_t  *array, *child;

    if (ngx_http_klaviyo_arena_charge(turbo->arena,
                                      NGX_HTTP_KLAVIYO_ARRAY_COST
                                      + json_array_size(json)
                                        * NGX_HTTP_KLAVIYO_ELEMENT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    array = json_array();

    for (i = first; i < json_array_size(json); i++) {
        child = ngx_http_klaviyo_turbo_get(turbo, json_array_get(json, i));
        child = child ? child : json_null();

        if (json_array_append_new(array, child) != 0) {
            turbo->arena->limits++;
            break;
        }
    }

    return array;
}


/* {"_1":2}: the numbers of a name and of its value */

static json_t *
ngx_http_klaviyo_turbo_object(ngx_http_klaviyo_turbo_t *turbo, json_t *json)
{
    void        *iter;
    json_t      *object, *name;
    ngx_int_t    i;
    const char  *key;

    if (ngx_http_klaviyo_arena_charge(turbo->arena,
                                      NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    object = json_object();

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        key = json_object_iter_key(iter);

        if (*key++ != '_') {
            continue;
        }

        i = ngx_atoi((u_char *) key, ngx_strlen(key));

        if (i == NGX_ERROR || (ngx_uint_t) i >= turbo->nvalues) {
            continue;
        }

        name = turbo->values[i].json;
        json_incref(name);

        ngx_http_klaviyo_turbo_member(turbo, object, name,
                    ngx_http_klaviyo_turbo_get(turbo,
                                               json_object_iter_value(iter)));
    }

    return object;
}


/* ["M", name, value, ...] */

static json_t *
ngx_http_klaviyo_turbo_map(ngx_http_klaviyo_turbo_t *turbo, json_t *json)
{
    size_t   i;
    json_t  *map, *name, *value;

    if (ngx_http_klaviyo_arena_charge(turbo->arena,
                                      NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    map = json_object();

    for (i = 1; i + 1 < json_array_size(json); i += 2) {
        name = ngx_http_klaviyo_turbo_get(turbo, json_array_get(json, i));
        value = ngx_http_klaviyo_turbo_get(turbo, json_array_get(json, i + 1));

        ngx_http_klaviyo_turbo_member(turbo, map, name, value);
    }

    return map;
}


/* takes over both references; a name is a text or an integer */

static void
ngx_http_klaviyo_turbo_member(ngx_http_klaviyo_turbo_t *turbo, json_t *object,
    json_t *name, json_t *json)
{
    u_char       buf[NGX_HTTP_KLAVIYO_REAL_LEN + 1];
    const char  *key;

    key = json_string_value(name);

    if (json_is_integer(name)) {
        buf[ngx_http_klaviyo_json_number(buf, name)] = '\0';
        key = (char *) buf;
    }

    if (key == NULL || json == NULL
        || ngx_http_klaviyo_arena_charge(turbo->arena,
                                         NGX_HTTP_KLAVIYO_MEMBER_COST
                                         + ngx_strlen(key))
           != NGX_OK)
    {
        json_decref(json);

    } else if (json_object_set_new_nocheck(object, key, json) != 0) {
        turbo->arena->limits++;
    }

    json_decref(name);
}


/*
 * ["D", 1784801730000] and others.  A name of several letters is React
 * Router's: a redirect, or a class's instance as an object.
 */

static json_t *
ngx_http_klaviyo_turbo_typed(ngx_http_klaviyo_turbo_t *turbo,
    ngx_http_klaviyo_turbo_value_t *value)
{
    json_t      *json, *first;
    const char  *type;

    json = value->json;
    type = json_string_value(json_array_get(json, 0));
    first = json_array_get(json, 1);

    if (ngx_strcmp(type, "SingleFetchRedirect") == 0
        || ngx_strcmp(type, "SingleFetchClassInstance") == 0)
    {
        return ngx_http_klaviyo_turbo_get(turbo, first);
    }

    if (type[0] == '\0' || type[1] != '\0') {
        return NULL;
    }

    switch (type[0]) {

    case 'B':
        return ngx_http_klaviyo_turbo_bigint(turbo, first);

    case 'D':
        return ngx_http_klaviyo_turbo_date(turbo, first);

    case 'M':
        return ngx_http_klaviyo_turbo_map(turbo, json);

    case 'N':
        return json_is_object(first)
               ? ngx_http_klaviyo_turbo_object(turbo, first) : NULL;

    case 'P':

        if (!json_is_integer(first) || json_integer_value(first) < 0
            || (ngx_uint_t) json_integer_value(first) >= turbo->nvalues)
        {
            return NULL;
        }

        value = &turbo->values[json_integer_value(first)];

        return ngx_http_klaviyo_turbo_at(turbo, value->promise);

    case 'S':
        return ngx_http_klaviyo_turbo_array(turbo, json, 1);

    case 'U':
        return json_is_string(first) ? json_incref(first) : NULL;

    case 'Z':
        return ngx_http_klaviyo_turbo_get(turbo, first);
    }

    return NULL;
}


static json_t *
ngx_http_klaviyo_turbo_date(ngx_http_klaviyo_turbo_t *turbo, json_t *msec)
{
    size_t   len;
    u_char   buf[NGX_HTTP_KLAVIYO_DATE_LEN];
    int64_t  sec, rest;

    if (!json_is_integer(msec)
        || ngx_http_klaviyo_arena_charge(turbo->arena,
                                         NGX_HTTP_KLAVIYO_VALUE_COST
                                         + NGX_HTTP_KLAVIYO_DATE_LEN)
           != NGX_OK)
    {
        return NULL;
    }

    sec = json_integer_value(msec) / 1000;
    rest = json_integer_value(msec) % 1000;

    if (rest < 0) {
        rest += 1000;
        sec--;
    }

    len = ngx_http_klaviyo_date_format(buf, sec, rest);

    return len ? json_stringn_nocheck((char *) buf, len) : NULL;
}


/* one beyond 64 bits is missing, as it is in JSON */

static json_t *
ngx_http_klaviyo_turbo_bigint(ngx_http_klaviyo_turbo_t *turbo, json_t *digits)
{
    json_t      *json;
    ngx_str_t    text;
    ngx_uint_t   reals;

    text.data = (u_char *) json_string_value(digits);
    text.len = json_string_length(digits);

    if (text.len == 0 || text.len > NGX_INT64_LEN
        || ngx_http_klaviyo_arena_charge(turbo->arena,
                                         NGX_HTTP_KLAVIYO_VALUE_COST)
           != NGX_OK)
    {
        return NULL;
    }

    json = ngx_http_klaviyo_json_load(&text, &reals);

    if (!json_is_integer(json)) {
        json_decref(json);
        return NULL;
    }

    return json;
}
