
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A copy of a body that passes by, up to a limit.  Pure: knows no request.
 */


#ifndef _NGX_HTTP_KLAVIYO_COPY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_COPY_H_INCLUDED_


#include "ngx_http_klaviyo_inflate.h"


typedef struct {
    ngx_pool_t                          *pool;
    ngx_str_t                            text;     /* as it came, encoded */
    size_t                               size;     /* it has room for */
    size_t                               limit;
    ngx_str_t                            type;     /* Content-Type */
    ngx_http_klaviyo_encoding_e          encoding;

    unsigned                             open:1;   /* being copied */
    unsigned                             last:1;   /* seen to its end */
    unsigned                             over:1;   /* longer than the limit */
    unsigned                             lost:1;   /* not seen, or not
                                                      wholly */
    unsigned                             decoded:1;
} ngx_http_klaviyo_copy_t;


/*
 * Begins a copy of at most "limit" bytes; "length" is what the body is said to
 * have, -1 if unknown.  It is "over" at once if that is too much.
 */
void ngx_http_klaviyo_copy_open(ngx_http_klaviyo_copy_t *copy,
    ngx_pool_t *pool, size_t limit, off_t length);

/*
 * Adds a piece; over the limit, or without memory, what was copied is given
 * back and the copy is closed.
 */
void ngx_http_klaviyo_copy_add(ngx_http_klaviyo_copy_t *copy, u_char *p,
    u_char *last);

/* Gives back what was copied; what is to come is not copied. */
void ngx_http_klaviyo_copy_drop(ngx_http_klaviyo_copy_t *copy);

/*
 * Undoes the encoding of a whole text, within the same limit.  Returns NGX_OK,
 * or NGX_DECLINED: then the copy is "over", or "lost" if it was broken.
 */
ngx_int_t ngx_http_klaviyo_copy_decode(ngx_http_klaviyo_copy_t *copy);


#endif /* _NGX_HTTP_KLAVIYO_COPY_H_INCLUDED_ */
