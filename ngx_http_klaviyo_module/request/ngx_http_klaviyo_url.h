
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * URLs as a visitor sees them, without what identifies the visitor.
 */


#ifndef _NGX_HTTP_KLAVIYO_URL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_URL_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


/*
 * The URI as the client sent it (path and query), without framework twins: a
 * path's ".data" ("/p.data" is "/p", "/p/_.data" is "/p/", "/_root.data" is
 * "/"), the arguments "_rsc", "_routes", "_kx", "_ke" and "utm_email".  May
 * return the bytes of "uri".  Returns NGX_OK, or NGX_DECLINED when the arena
 * is exhausted.
 */
ngx_int_t ngx_http_klaviyo_url_visible(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *uri, ngx_str_t *visible);

/*
 * Takes _kx, _ke and utm_email out of the query of every http(s) URL in
 * "data": the string itself, or any string inside of a tree (which is copied
 * if it has one).  A string that begins with "/" is taken for a URL too.
 * Returns NGX_OK, or NGX_DECLINED when the arena is exhausted: then "data" is
 * unknown, for better no URL than one that names the visitor.
 */
ngx_int_t ngx_http_klaviyo_url_scrub(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data);

/*
 * Whether the argument "arg" ("name=value", undecoded) has this name, which
 * is in lower case; the argument's is decoded and may be in any case.
 */
ngx_uint_t ngx_http_klaviyo_url_named(ngx_str_t *arg, ngx_str_t *name);

/* Whether an argument of such a name may be between "p" and "last". */
ngx_uint_t ngx_http_klaviyo_url_suspect(u_char *p, u_char *last);


#endif /* _NGX_HTTP_KLAVIYO_URL_H_INCLUDED_ */
