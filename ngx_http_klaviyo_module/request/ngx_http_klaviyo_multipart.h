
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * multipart/form-data (RFC 7578), part by part.  Pure: knows no request.
 */


#ifndef _NGX_HTTP_KLAVIYO_MULTIPART_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_MULTIPART_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


typedef struct {
    ngx_http_klaviyo_arena_t  *arena;
    ngx_str_t                  boundary;
    u_char                    *pos;
    u_char                    *last;
    ngx_uint_t                 parts;
} ngx_http_klaviyo_multipart_t;


/*
 * Begins with the first part of a body with that Content-Type.  Returns
 * NGX_OK, or NGX_DECLINED if there is no usable boundary or none in the body.
 */
ngx_int_t ngx_http_klaviyo_multipart_init(ngx_http_klaviyo_multipart_t *mp,
    ngx_http_klaviyo_arena_t *arena, ngx_str_t *type, ngx_str_t *body);

/*
 * Gives the next part that is a text with a name; files and "_charset_" are
 * passed over.  "value" points into the body.  Returns NGX_OK; NGX_DONE after
 * the last part; NGX_DECLINED if the body is cut; NGX_ERROR if a limit was
 * met, which is counted.
 */
ngx_int_t ngx_http_klaviyo_multipart_next(ngx_http_klaviyo_multipart_t *mp,
    ngx_str_t *name, ngx_str_t *value);


#endif /* _NGX_HTTP_KLAVIYO_MULTIPART_H_INCLUDED_ */
