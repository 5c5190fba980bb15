
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * JSON text: written by ourselves, straight into the event, because jansson
 * costs eleven times as much; read by jansson, within bounds.
 */


#ifndef _NGX_HTTP_KLAVIYO_JSON_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_JSON_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


/*
 * Writes the text as the inside of a JSON string: escaped, invalid UTF-8
 * replaced by U+FFFD, NUL left out.  Returns the number of bytes that it
 * takes; with "dst" NULL nothing is written.  The caller provides the space.
 */
size_t ngx_http_klaviyo_json_escape(u_char *dst, u_char *src, size_t len);

/*
 * Writes "data" as JSON text; returns the number of bytes, 0 if there is
 * nothing to send: missing, an empty string, a string over
 * NGX_HTTP_KLAVIYO_MAX_STRING bytes, an empty array or object.  Inside arrays
 * and objects null, "" and too long strings are left out, elements after
 * NGX_HTTP_KLAVIYO_MAX_ITEMS, arrays and objects deeper than
 * NGX_HTTP_KLAVIYO_MAX_DEPTH and members without a name too.  "depth" is how
 * many of them are open already.  With "dst" NULL nothing is written, the size
 * is the same.  If "limits" is not NULL, it grows by one for each thing left
 * out by a limit.
 */
size_t ngx_http_klaviyo_json_write(u_char *dst, ngx_http_klaviyo_data_t *data,
    ngx_uint_t depth, ngx_uint_t *limits);

/*
 * Returns valid UTF-8 in "dst" (from the arena only if something had to be
 * replaced).  NGX_OK, or NGX_DECLINED when the arena is exhausted.
 */
ngx_int_t ngx_http_klaviyo_utf8(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst);

/*
 * Characters of a text; 0 if it is empty, not UTF-8, or has control characters.
 * nginx's ngx_utf8_decode() takes any byte above 0x7f for a continuation.
 */
size_t ngx_http_klaviyo_utf8_length(ngx_str_t *text);

/*
 * Parses a JSON text of any type (a scalar too).  Returns a tree that the
 * arena keeps, or NULL: not JSON, or a limit met (counted in the arena).
 * Integers beyond 64 bits are null, and so are, in such a text, numbers that a
 * double may not hold exactly.
 */
json_t *ngx_http_klaviyo_json_parse(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text);

/*
 * The same for a text that is short and ours: valid UTF-8, not bounded, not
 * charged.  "reals" tells whether all integers had to become reals, since one
 * was beyond 64 bits.  Returns a new reference or NULL.
 */
json_t *ngx_http_klaviyo_json_load(ngx_str_t *text, ngx_uint_t *reals);

/*
 * The shortest decimal form that reads back as the same double, as a JSON
 * number as ngx_http_klaviyo_decimal_format() writes it.  "buf" has at least
 * NGX_HTTP_KLAVIYO_REAL_LEN bytes.  Returns the length; 0 if not finite.
 */
#define NGX_HTTP_KLAVIYO_REAL_LEN  64

size_t ngx_http_klaviyo_json_real(u_char *buf, double value);

/* The same for a jansson number of either type. */
size_t ngx_http_klaviyo_json_number(u_char *buf, json_t *json);

/* An integer; at most NGX_INT64_LEN bytes. */
size_t ngx_http_klaviyo_json_integer(u_char *buf, int64_t value);


#endif /* _NGX_HTTP_KLAVIYO_JSON_H_INCLUDED_ */
