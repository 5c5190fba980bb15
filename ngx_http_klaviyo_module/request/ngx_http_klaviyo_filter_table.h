
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the files of the filters share: the functions of the table and the
 * few steps that most of them take.
 */


#ifndef _NGX_HTTP_KLAVIYO_FILTER_TABLE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_FILTER_TABLE_H_INCLUDED_


#include "ngx_http_klaviyo_filter.h"


/* a function of the table, see ngx_http_klaviyo_filter_pt */
#define ngx_http_klaviyo_filter_define(name)                                  \
    void ngx_http_klaviyo_filter_##name(ngx_http_klaviyo_arena_t *arena,      \
        ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,          \
        ngx_uint_t nargs)


/* decode: ngx_http_klaviyo_filter_decode.c */
ngx_http_klaviyo_filter_define(urldecode);
ngx_http_klaviyo_filter_define(formdecode);
ngx_http_klaviyo_filter_define(base64);
ngx_http_klaviyo_filter_define(json);
ngx_http_klaviyo_filter_define(jwt);
ngx_http_klaviyo_filter_define(form);
ngx_http_klaviyo_filter_define(kv);
ngx_http_klaviyo_filter_define(unescape);

/* choose: ngx_http_klaviyo_filter_tree.c */
ngx_http_klaviyo_filter_define(first);
ngx_http_klaviyo_filter_define(last);
ngx_http_klaviyo_filter_define(at);
ngx_http_klaviyo_filter_define(keys);
ngx_http_klaviyo_filter_define(pick);
ngx_http_klaviyo_filter_define(entries);
ngx_http_klaviyo_filter_define(where);
ngx_http_klaviyo_filter_define(unique);
ngx_http_klaviyo_filter_define(zip);
ngx_http_klaviyo_filter_define(concat);
ngx_http_klaviyo_filter_define(default);
ngx_http_klaviyo_filter_define(recall);

/* text: ngx_http_klaviyo_filter_text.c */
ngx_http_klaviyo_filter_define(trim);
ngx_http_klaviyo_filter_define(lower);
ngx_http_klaviyo_filter_define(upper);
ngx_http_klaviyo_filter_define(regex);
ngx_http_klaviyo_filter_define(split);
ngx_http_klaviyo_filter_define(join);
ngx_http_klaviyo_filter_define(prefix);
ngx_http_klaviyo_filter_define(suffix);
ngx_http_klaviyo_filter_define(gid);
ngx_http_klaviyo_filter_define(sha256);
ngx_http_klaviyo_filter_define(e164);

/* type, reckon: ngx_http_klaviyo_filter_number.c */
ngx_http_klaviyo_filter_define(number);
ngx_http_klaviyo_filter_define(integer);
ngx_http_klaviyo_filter_define(boolean);
ngx_http_klaviyo_filter_define(string);
ngx_http_klaviyo_filter_define(date);
ngx_http_klaviyo_filter_define(count);
ngx_http_klaviyo_filter_define(sum);
ngx_http_klaviyo_filter_define(min);
ngx_http_klaviyo_filter_define(max);
ngx_http_klaviyo_filter_define(multiply);
ngx_http_klaviyo_filter_define(divide);
ngx_http_klaviyo_filter_define(scale);
ngx_http_klaviyo_filter_define(round);


/*
 * The first group of the match, or all of it, as a string; missing if there is
 * none (what a limit stops is counted).
 */
void ngx_http_klaviyo_filter_match(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_regex_t *regex,
    ngx_str_t *text);

/* The text of a scalar; of all else NGX_DECLINED, and "data" is missing. */
ngx_int_t ngx_http_klaviyo_filter_take(ngx_http_klaviyo_data_t *data,
    ngx_str_t *text);

/* Elements of an array; what is no array is one of one. */
size_t ngx_http_klaviyo_filter_size(ngx_http_klaviyo_data_t *data);
void ngx_http_klaviyo_filter_element(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, size_t i, ngx_http_klaviyo_data_t *element);

/*
 * Give a new and empty tree to the arena, which is charged.  Return it, or
 * NULL (counted in "limits").
 */
json_t *ngx_http_klaviyo_filter_array(ngx_http_klaviyo_arena_t *arena);
json_t *ngx_http_klaviyo_filter_own(ngx_http_klaviyo_arena_t *arena,
    json_t *json);

/*
 * Appends a copy of "data", null if it is missing.  Returns NGX_OK, or
 * NGX_DECLINED when the arena is exhausted (counted).
 */
ngx_int_t ngx_http_klaviyo_filter_push(ngx_http_klaviyo_arena_t *arena,
    json_t *array, ngx_http_klaviyo_data_t *data);


/*
 * Returns the country of two letters, or NULL.  What "e164 COUNTRY" is
 * compiled to.
 */
void *ngx_http_klaviyo_phone_country(ngx_str_t *name);

/*
 * Writes the number as +40712345678 and returns the length, at most
 * NGX_HTTP_KLAVIYO_PHONE_LEN, or 0: not a number that can be dialed as it
 * stands from "country", or from anywhere if that is NULL.
 */
#define NGX_HTTP_KLAVIYO_PHONE_LEN  16

size_t ngx_http_klaviyo_phone_format(u_char *buf, void *country,
    ngx_str_t *text);

/* Whether "+" and digits are a number of a country, as far as lengths tell. */
ngx_uint_t ngx_http_klaviyo_phone_valid(ngx_str_t *number);


#endif /* _NGX_HTTP_KLAVIYO_FILTER_TABLE_H_INCLUDED_ */
