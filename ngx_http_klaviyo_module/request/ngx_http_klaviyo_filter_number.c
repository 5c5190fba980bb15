
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The filters that give a value its type, and those that reckon.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"
#include "ngx_http_klaviyo_decimal.h"
#include "ngx_http_klaviyo_json.h"


/* the most that "scale" may move the point */
#define NGX_HTTP_KLAVIYO_FILTER_SCALE  30


typedef ngx_int_t (*ngx_http_klaviyo_reckon_pt)(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);


static ngx_int_t ngx_http_klaviyo_filter_decimal(ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_decimal_t *d);
static void ngx_http_klaviyo_filter_set(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_decimal_t *d);
static void ngx_http_klaviyo_filter_set_text(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_type_e type, u_char *text,
    size_t len);
static ngx_int_t ngx_http_klaviyo_filter_integral(
    ngx_http_klaviyo_decimal_t *d, int64_t *n);
static void ngx_http_klaviyo_filter_reduce(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_reckon_pt reckon);
static ngx_int_t ngx_http_klaviyo_filter_lesser(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);
static ngx_int_t ngx_http_klaviyo_filter_greater(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);
static ngx_int_t ngx_http_klaviyo_filter_scaled(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);
static ngx_int_t ngx_http_klaviyo_filter_rounded(
    ngx_http_klaviyo_decimal_t *r, ngx_http_klaviyo_decimal_t *a,
    ngx_http_klaviyo_decimal_t *b);
static void ngx_http_klaviyo_filter_reckon(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_data_t *term,
    ngx_http_klaviyo_reckon_pt reckon);


void
ngx_http_klaviyo_filter_number(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_decimal_t  d;

    if (data->type == NGX_HTTP_KLAVIYO_NUMBER) {
        return;
    }

    if (ngx_http_klaviyo_filter_decimal(data, &d) != NGX_OK) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_filter_set(arena, data, &d);
}


static ngx_int_t
ngx_http_klaviyo_filter_decimal(ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_decimal_t *d)
{
    if (data->type != NGX_HTTP_KLAVIYO_STRING
        && data->type != NGX_HTTP_KLAVIYO_NUMBER)
    {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_decimal_parse(d, &data->text);
}


static void
ngx_http_klaviyo_filter_set(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_decimal_t *d)
{
    size_t  len;
    u_char  buf[NGX_HTTP_KLAVIYO_DECIMAL_LEN];

    len = ngx_http_klaviyo_decimal_format(buf, d);

    ngx_http_klaviyo_filter_set_text(arena, data, NGX_HTTP_KLAVIYO_NUMBER, buf,
                                     len);
}


static void
ngx_http_klaviyo_filter_set_text(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_type_e type, u_char *text,
    size_t len)
{
    u_char  *p;

    p = ngx_http_klaviyo_arena_alloc(arena, len);

    if (p == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_memcpy(p, text, len);

    data->type = type;
    data->text.data = p;
    data->text.len = len;
}


void
ngx_http_klaviyo_filter_integer(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    u_char                      buf[NGX_INT64_LEN];
    int64_t                     n;
    ngx_http_klaviyo_decimal_t  d;

    if (ngx_http_klaviyo_filter_decimal(data, &d) != NGX_OK
        || ngx_http_klaviyo_filter_integral(&d, &n) != NGX_OK)
    {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_filter_set_text(arena, data, NGX_HTTP_KLAVIYO_NUMBER, buf,
                                     ngx_http_klaviyo_json_integer(buf, n));
}


static ngx_int_t
ngx_http_klaviyo_filter_integral(ngx_http_klaviyo_decimal_t *d, int64_t *n)
{
    __int128   value;
    ngx_int_t  exponent;

    value = d->coefficient;
    exponent = d->exponent;

    if (value == 0) {
        *n = 0;
        return NGX_OK;
    }

    for ( /* void */ ; exponent < 0; exponent++) {

        if (value % 10 != 0) {
            return NGX_DECLINED;
        }

        value /= 10;
    }

    for ( /* void */ ; exponent > 0; exponent--) {

        if (value > INT64_MAX || value < INT64_MIN) {
            return NGX_DECLINED;
        }

        value *= 10;
    }

    if (value > INT64_MAX || value < INT64_MIN) {
        return NGX_DECLINED;
    }

    *n = (int64_t) value;

    return NGX_OK;
}


void
ngx_http_klaviyo_filter_boolean(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t   text, *word;
    ngx_uint_t  i;

    static ngx_str_t  words[] = {
        ngx_string("false"), ngx_string("true"),
        ngx_string("0"), ngx_string("1"),
        ngx_string("no"), ngx_string("yes"),
        ngx_string("off"), ngx_string("on")
    };

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    ngx_http_klaviyo_data_missing(data);

    for (i = 0; i < sizeof(words) / sizeof(ngx_str_t); i++) {
        word = &words[i];

        if (text.len == word->len
            && ngx_strncasecmp(text.data, word->data, word->len) == 0)
        {
            data->type = (i & 1) ? NGX_HTTP_KLAVIYO_TRUE
                                 : NGX_HTTP_KLAVIYO_FALSE;
            return;
        }
    }
}


void
ngx_http_klaviyo_filter_string(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text;

    if (ngx_http_klaviyo_filter_take(data, &text) == NGX_OK) {
        ngx_http_klaviyo_data_set_string(data, text.data, text.len);
    }
}


void
ngx_http_klaviyo_filter_date(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t      len;
    u_char      buf[NGX_HTTP_KLAVIYO_DATE_LEN];
    int64_t     sec;
    ngx_uint_t  msec;

    if ((data->type != NGX_HTTP_KLAVIYO_STRING
         && data->type != NGX_HTTP_KLAVIYO_NUMBER)
        || ngx_http_klaviyo_date_parse(&data->text, &sec, &msec) != NGX_OK)
    {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    len = ngx_http_klaviyo_date_format(buf, sec, msec);

    ngx_http_klaviyo_filter_set_text(arena, data, NGX_HTTP_KLAVIYO_STRING, buf,
                                     len);
}


void
ngx_http_klaviyo_filter_count(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t  n;
    u_char  buf[NGX_SIZE_T_LEN];

    if (data->type == NGX_HTTP_KLAVIYO_MISSING) {
        n = 0;

    } else if (data->type == NGX_HTTP_KLAVIYO_TREE
               && json_is_object(data->json))
    {
        n = json_object_size(data->json);

    } else {
        n = ngx_http_klaviyo_filter_size(data);
    }

    ngx_http_klaviyo_filter_set_text(arena, data, NGX_HTTP_KLAVIYO_NUMBER, buf,
                                     ngx_sprintf(buf, "%uz", n) - buf);
}


void
ngx_http_klaviyo_filter_sum(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reduce(arena, data, ngx_http_klaviyo_decimal_add);
}


void
ngx_http_klaviyo_filter_min(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reduce(arena, data,
                                   ngx_http_klaviyo_filter_lesser);
}


void
ngx_http_klaviyo_filter_max(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reduce(arena, data,
                                   ngx_http_klaviyo_filter_greater);
}


/* an element that is no number leaves nothing: half a sum is a wrong sum */

static void
ngx_http_klaviyo_filter_reduce(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_reckon_pt reckon)
{
    size_t                      i, n;
    ngx_uint_t                  found;
    ngx_http_klaviyo_data_t     element;
    ngx_http_klaviyo_decimal_t  d, result;

    found = 0;
    n = ngx_http_klaviyo_filter_size(data);

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_filter_element(arena, data, i, &element);

        if (ngx_http_klaviyo_data_is_missing(&element)) {
            continue;
        }

        if (ngx_http_klaviyo_filter_decimal(&element, &d) != NGX_OK) {
            found = 0;
            break;
        }

        if (!found) {
            result = d;
            found = 1;
            continue;
        }

        if (reckon(&result, &result, &d) != NGX_OK) {
            found = 0;
            break;
        }
    }

    if (!found) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_filter_set(arena, data, &result);
}


static ngx_int_t
ngx_http_klaviyo_filter_lesser(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    *r = (ngx_http_klaviyo_decimal_compare(a, b) <= 0) ? *a : *b;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_filter_greater(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    *r = (ngx_http_klaviyo_decimal_compare(a, b) >= 0) ? *a : *b;

    return NGX_OK;
}


void
ngx_http_klaviyo_filter_multiply(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reckon(arena, data, &args[0].data,
                                   ngx_http_klaviyo_decimal_multiply);
}


void
ngx_http_klaviyo_filter_divide(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reckon(arena, data, &args[0].data,
                                   ngx_http_klaviyo_decimal_divide);
}


void
ngx_http_klaviyo_filter_scale(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reckon(arena, data, &args[0].data,
                                   ngx_http_klaviyo_filter_scaled);
}


static ngx_int_t
ngx_http_klaviyo_filter_scaled(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    int64_t  n;

    if (ngx_http_klaviyo_filter_integral(b, &n) != NGX_OK
        || n < -NGX_HTTP_KLAVIYO_FILTER_SCALE
        || n > NGX_HTTP_KLAVIYO_FILTER_SCALE)
    {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_decimal_scale(r, a, n);
}


void
ngx_http_klaviyo_filter_round(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_reckon(arena, data, &args[0].data,
                                   ngx_http_klaviyo_filter_rounded);
}


static ngx_int_t
ngx_http_klaviyo_filter_rounded(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    int64_t  n;

    if (ngx_http_klaviyo_filter_integral(b, &n) != NGX_OK
        || n < 0
        || n > NGX_HTTP_KLAVIYO_FILTER_SCALE)
    {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_decimal_places(r, a, n);

    return NGX_OK;
}


static void
ngx_http_klaviyo_filter_reckon(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_data_t *term,
    ngx_http_klaviyo_reckon_pt reckon)
{
    ngx_http_klaviyo_decimal_t  a, b, result;

    if (ngx_http_klaviyo_filter_decimal(data, &a) != NGX_OK
        || ngx_http_klaviyo_filter_decimal(term, &b) != NGX_OK
        || reckon(&result, &a, &b) != NGX_OK)
    {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_filter_set(arena, data, &result);
}
