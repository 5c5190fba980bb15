
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Content-Encoding undone, piece by piece, for our own eyes only.  Pure: knows
 * no request.
 */


#ifndef _NGX_HTTP_KLAVIYO_INFLATE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_INFLATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_HTTP_KLAVIYO_IDENTITY = 0,
    NGX_HTTP_KLAVIYO_GZIP,
    NGX_HTTP_KLAVIYO_DEFLATE,            /* with zlib's header, or raw */
    NGX_HTTP_KLAVIYO_BROTLI_ENCODING,
    NGX_HTTP_KLAVIYO_ENCODED             /* something else */
} ngx_http_klaviyo_encoding_e;


typedef struct ngx_http_klaviyo_inflate_s  ngx_http_klaviyo_inflate_t;

/* takes what was decoded; NGX_OK, or anything else if it wants no more */
typedef ngx_int_t (*ngx_http_klaviyo_inflate_pt)(void *data, u_char *p,
    u_char *last);


/* What the header says; more than one encoding is ENCODED. */
ngx_http_klaviyo_encoding_e ngx_http_klaviyo_encoding(ngx_str_t *value);

/*
 * Returns a decoder, or NULL: no memory, or an encoding that is not known.
 * Its memory (about 50 KB; brotli: as much as the text asks for, at most 4 MB)
 * is of the pool and given back by ngx_http_klaviyo_inflate_free().
 */
ngx_http_klaviyo_inflate_t *ngx_http_klaviyo_inflate_create(ngx_pool_t *pool,
    ngx_http_klaviyo_encoding_e encoding);

/*
 * Decodes a piece, cut anywhere, and hands on what comes of it.  Returns
 * NGX_OK; NGX_DECLINED when the handler wants no more; NGX_ERROR if this is no
 * such encoding, or a bound was met.  After these two it must not be called
 * again.
 */
ngx_int_t ngx_http_klaviyo_inflate_feed(ngx_http_klaviyo_inflate_t *decoder,
    u_char *p, u_char *last, ngx_http_klaviyo_inflate_pt handler, void *data);

/* Whether the encoded text has come to its end. */
ngx_uint_t ngx_http_klaviyo_inflate_ended(ngx_http_klaviyo_inflate_t *decoder);

void ngx_http_klaviyo_inflate_free(ngx_http_klaviyo_inflate_t *decoder);


#endif /* _NGX_HTTP_KLAVIYO_INFLATE_H_INCLUDED_ */
