
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_visitor_cookie: a random id for shops that have no key of their own
 * for a visitor.
 */


#ifndef _NGX_HTTP_KLAVIYO_COOKIE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_COOKIE_H_INCLUDED_


#include "ngx_http_klaviyo_request.h"


/* 128 bits in hexadecimal */
#define NGX_HTTP_KLAVIYO_COOKIE_ID       32


struct ngx_http_klaviyo_cookie_s {
    ngx_str_t                            name;
    ngx_int_t                            index;    /* $cookie_NAME */
    ngx_str_t                            attributes;   /* "; Path=/; ..." */
    time_t                               ttl;      /* s */
    ngx_http_klaviyo_value_t             value;    /* $klaviyo_visitor_id */
};


/* Puts the header filter that sets it in its place; in postconfiguration. */
void ngx_http_klaviyo_cookie_init(ngx_conf_t *cf);

/* $klaviyo_visitor_id: the cookie's, or the one that this response sets. */
ngx_int_t ngx_http_klaviyo_cookie_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

/* Whether the visitor has sent that id. */
ngx_uint_t ngx_http_klaviyo_cookie_sent(ngx_http_klaviyo_ctx_t *ctx,
    ngx_str_t *id);


#endif /* _NGX_HTTP_KLAVIYO_COOKIE_H_INCLUDED_ */
