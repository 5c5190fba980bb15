
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A text that grows, as a chain of buffers in a pool.
 */


#ifndef _NGX_HTTP_KLAVIYO_OUTPUT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_OUTPUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* what ngx_http_klaviyo_output_printf() may print at once */
#define NGX_HTTP_KLAVIYO_OUTPUT_LINE     256


typedef struct {
    ngx_pool_t                          *pool;
    ngx_chain_t                         *first;    /* NULL: empty */
    ngx_chain_t                         *last;
    off_t                                length;
    ngx_uint_t                           failed;   /* there was no memory */
} ngx_http_klaviyo_output_t;


/* An empty one is all zeros but for its pool. */

void ngx_http_klaviyo_output(ngx_http_klaviyo_output_t *out, u_char *text,
    size_t len);
void ngx_http_klaviyo_output_text(ngx_http_klaviyo_output_t *out, char *text);

/* As ngx_slprintf(): what is longer is cut, so numbers and short names only. */
void ngx_http_klaviyo_output_printf(ngx_http_klaviyo_output_t *out,
    const char *fmt, ...);

/* A text that stays where it is: it is not copied. */
void ngx_http_klaviyo_output_static(ngx_http_klaviyo_output_t *out,
    u_char *text, size_t len);


#endif /* _NGX_HTTP_KLAVIYO_OUTPUT_H_INCLUDED_ */
