
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The filters that make texts from texts.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"

#include <openssl/evp.h>


static ngx_uint_t ngx_http_klaviyo_filter_blank(u_char ch);
static void ngx_http_klaviyo_filter_part(ngx_http_klaviyo_data_t *data,
    ngx_str_t *text, ngx_str_t *sep, ngx_int_t n);
static ngx_uint_t ngx_http_klaviyo_filter_next(ngx_str_t *rest,
    ngx_str_t *sep, ngx_str_t *part);
static void ngx_http_klaviyo_filter_glue(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_str_t *first, ngx_str_t *second);


void
ngx_http_klaviyo_filter_trim(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    while (text.len && ngx_http_klaviyo_filter_blank(text.data[0])) {
        text.data++;
        text.len--;
    }

    while (text.len
           && ngx_http_klaviyo_filter_blank(text.data[text.len - 1]))
    {
        text.len--;
    }

    ngx_http_klaviyo_data_set_string(data, text.data, text.len);
}


static ngx_uint_t
ngx_http_klaviyo_filter_blank(u_char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}


/* ASCII letters only: all others have rules of their language */

void
ngx_http_klaviyo_filter_lower(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    u_char     *p;
    ngx_str_t   text;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, text.len);

    if (p == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_strlow(p, text.data, text.len);

    ngx_http_klaviyo_data_set_string(data, p, text.len);
}


void
ngx_http_klaviyo_filter_upper(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    size_t      i;
    u_char     *p;
    ngx_str_t   text;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, text.len);

    if (p == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    for (i = 0; i < text.len; i++) {
        p[i] = ngx_toupper(text.data[i]);
    }

    ngx_http_klaviyo_data_set_string(data, p, text.len);
}


void
ngx_http_klaviyo_filter_regex(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text;

    if (ngx_http_klaviyo_filter_take(data, &text) == NGX_OK) {
        ngx_http_klaviyo_filter_match(arena, data, args[0].regex, &text);
    }
}


void
ngx_http_klaviyo_filter_match(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_regex_t *regex,
    ngx_str_t *text)
{
    size_t     *pair, captures[4];
    ngx_int_t   rc;

    rc = ngx_http_klaviyo_regex_exec(regex, text, captures, 2);

    if (rc == NGX_ABORT) {
        arena->limits++;
    }

    pair = ngx_http_klaviyo_regex_groups(regex) ? &captures[2] : captures;

    if (rc != NGX_OK || pair[0] == (size_t) -1) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_data_set_string(data, text->data + pair[0],
                                     pair[1] - pair[0]);
}


void
ngx_http_klaviyo_filter_split(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    json_t                   *array;
    ngx_str_t                 text, part;
    ngx_http_klaviyo_data_t   element;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    if (nargs == 2) {
        ngx_http_klaviyo_filter_part(data, &text, &args[0].text, args[1].n);
        return;
    }

    ngx_http_klaviyo_data_missing(data);

    array = ngx_http_klaviyo_filter_array(arena);

    if (array == NULL) {
        return;
    }

    while (ngx_http_klaviyo_filter_next(&text, &args[0].text, &part)) {
        ngx_http_klaviyo_data_set_string(&element, part.data, part.len);

        if (ngx_http_klaviyo_filter_push(arena, array, &element) != NGX_OK) {
            return;
        }
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = array;
}


static void
ngx_http_klaviyo_filter_part(ngx_http_klaviyo_data_t *data, ngx_str_t *text,
    ngx_str_t *sep, ngx_int_t n)
{
    ngx_str_t  rest, part;

    if (n < 0) {
        rest = *text;

        while (ngx_http_klaviyo_filter_next(&rest, sep, &part)) {
            n++;
        }
    }

    ngx_http_klaviyo_data_missing(data);

    if (n < 0) {
        return;
    }

    rest = *text;

    do {
        if (!ngx_http_klaviyo_filter_next(&rest, sep, &part)) {
            return;
        }

    } while (n--);

    ngx_http_klaviyo_data_set_string(data, part.data, part.len);
}


/* cuts the next part off "rest", whose data is NULL after the last one */

static ngx_uint_t
ngx_http_klaviyo_filter_next(ngx_str_t *rest, ngx_str_t *sep, ngx_str_t *part)
{
    u_char  *p;

    if (rest->data == NULL) {
        return 0;
    }

    *part = *rest;

    p = memmem(rest->data, rest->len, sep->data, sep->len);

    if (p == NULL) {
        ngx_str_null(rest);
        return 1;
    }

    part->len = p - rest->data;

    rest->len -= part->len + sep->len;
    rest->data = p + sep->len;

    return 1;
}


void
ngx_http_klaviyo_filter_join(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    u_char                   *p;
    size_t                    i, n, size, len;
    ngx_str_t                *parts;
    ngx_http_klaviyo_data_t   element;

    n = 0;
    len = 0;
    size = ngx_http_klaviyo_filter_size(data);

    parts = ngx_http_klaviyo_arena_alloc(arena, size * sizeof(ngx_str_t));

    for (i = 0; parts && i < size; i++) {
        ngx_http_klaviyo_filter_element(arena, data, i, &element);

        if (ngx_http_klaviyo_data_text(&element, &parts[n]) == NGX_OK) {
            len += parts[n].len + args[0].text.len;
            n++;
        }
    }

    ngx_http_klaviyo_data_missing(data);

    p = n ? ngx_http_klaviyo_arena_alloc(arena, len) : NULL;

    if (p == NULL) {
        return;
    }

    ngx_http_klaviyo_data_set_string(data, p, len - args[0].text.len);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
        p = ngx_cpymem(p, args[0].text.data, args[0].text.len);
    }
}


void
ngx_http_klaviyo_filter_prefix(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text, prefix;

    if (ngx_http_klaviyo_filter_take(data, &text) == NGX_OK
        && ngx_http_klaviyo_filter_take(&args[0].data, &prefix) == NGX_OK)
    {
        ngx_http_klaviyo_filter_glue(arena, data, &prefix, &text);
        return;
    }

    ngx_http_klaviyo_data_missing(data);
}


void
ngx_http_klaviyo_filter_suffix(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text, suffix;

    if (ngx_http_klaviyo_filter_take(data, &text) == NGX_OK
        && ngx_http_klaviyo_filter_take(&args[0].data, &suffix) == NGX_OK)
    {
        ngx_http_klaviyo_filter_glue(arena, data, &text, &suffix);
        return;
    }

    ngx_http_klaviyo_data_missing(data);
}


static void
ngx_http_klaviyo_filter_glue(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_str_t *first, ngx_str_t *second)
{
    u_char  *p;
    size_t   len;

    len = first->len + second->len;

    p = ngx_http_klaviyo_arena_alloc(arena, len);

    if (p == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_memcpy(ngx_cpymem(p, first->data, first->len), second->data,
               second->len);

    ngx_http_klaviyo_data_set_string(data, p, len);
}


/* the query first: it may have slashes too */

void
ngx_http_klaviyo_filter_gid(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    u_char     *p, *last;
    ngx_str_t   text;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    last = text.data + text.len;
    p = ngx_strlchr(text.data, last, '?');

    if (p) {
        last = p;
    }

    for (p = last; p > text.data; p--) {
        if (p[-1] == '/') {
            break;
        }
    }

    if (p == last) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_data_set_string(data, p, last - p);
}


void
ngx_http_klaviyo_filter_sha256(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    u_char        *p, digest[EVP_MAX_MD_SIZE];
    ngx_str_t      text;
    unsigned int   len;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    ngx_http_klaviyo_data_missing(data);

    if (EVP_Digest(text.data, text.len, digest, &len, EVP_sha256(), NULL)
        != 1)
    {
        return;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, 2 * len);

    if (p == NULL) {
        return;
    }

    ngx_hex_dump(p, digest, len);

    ngx_http_klaviyo_data_set_string(data, p, 2 * len);
}


void
ngx_http_klaviyo_filter_e164(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    void       *country;
    u_char     *p, buf[NGX_HTTP_KLAVIYO_PHONE_LEN];
    size_t      len;
    ngx_str_t   text, name;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    ngx_http_klaviyo_data_missing(data);

    country = args[0].country;

    if (country == NULL
        && ngx_http_klaviyo_filter_take(&args[0].data, &name) == NGX_OK)
    {
        country = ngx_http_klaviyo_phone_country(&name);
    }

    len = ngx_http_klaviyo_phone_format(buf, country, &text);

    if (len == 0) {

        if (args[0].country == NULL
            && args[0].data.type == NGX_HTTP_KLAVIYO_UNKNOWN)
        {
            data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
        }

        return;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, len);

    if (p == NULL) {
        return;
    }

    ngx_memcpy(p, buf, len);

    ngx_http_klaviyo_data_set_string(data, p, len);
}
