
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The decoders that documents and filters share: texts into texts or trees.
 * All are total: wrong input gives NGX_DECLINED or NULL, nothing else.
 */


#ifndef _NGX_HTTP_KLAVIYO_DECODE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DECODE_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


#define NGX_HTTP_KLAVIYO_DECODE_FORM     1       /* "+" is a blank */


/*
 * Percent-decodes; a broken escape stays as it is.  "dst" may share the bytes
 * of "src" if nothing is encoded.
 */
ngx_int_t ngx_http_klaviyo_decode_url(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst, ngx_uint_t flags);

/*
 * Base64, either alphabet; blanks, quotes and missing padding are tolerated.
 * "url" asks for the URL alphabet only in that "-" and "_" are expected; the
 * other one is understood all the same.
 */
ngx_int_t ngx_http_klaviyo_decode_base64(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst);

/* HTML entities: the named ones of HTML 4, decimal and hexadecimal ones. */
ngx_int_t ngx_http_klaviyo_decode_entities(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst);

/*
 * Writes a character, which is no surrogate, in at most four bytes.  Returns
 * what is behind it.
 */
u_char *ngx_http_klaviyo_decode_utf8(u_char *p, uint32_t code);

/*
 * A JWT's payload, unverified: the second of three (or two) parts, base64url,
 * JSON.  An "authorization" scheme ("Bearer ") in front is skipped.
 */
json_t *ngx_http_klaviyo_decode_jwt(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src);

/*
 * a=1&b[x]=2&c[]=3 as an object: form-decoded, brackets nest ([] appends, [0]
 * is an index in an array when all keys of it are 0..n-1).  Repeated names:
 * with "repeat" an array of all (@args), else the first (the filter "form").
 */
json_t *ngx_http_klaviyo_decode_form(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_uint_t repeat);

/*
 * "a:1,b:2" with separators of one or more bytes, as an object of trimmed
 * strings; the first of equal keys; a pair without separator is left out.
 */
json_t *ngx_http_klaviyo_decode_kv(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *pairsep, ngx_str_t *kvsep);


#endif /* _NGX_HTTP_KLAVIYO_DECODE_H_INCLUDED_ */
