
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The bodies of a request and its response, copied as they pass by, and what
 * they say: each decoded once per request, when a value first asks for it.
 */


#ifndef _NGX_HTTP_KLAVIYO_CONTENT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_CONTENT_H_INCLUDED_


#include "ngx_http_klaviyo_copy.h"
#include "ngx_http_klaviyo_document.h"
#include "ngx_http_klaviyo_value.h"


/*
 * A page is scanned, not kept: so many times the response's limit of it, once
 * its encoding is undone.
 */
#define NGX_HTTP_KLAVIYO_PAGE            16


typedef enum {
    NGX_HTTP_KLAVIYO_SAID_REQUEST = 0,
    NGX_HTTP_KLAVIYO_SAID_REQUEST_TEXT,
    NGX_HTTP_KLAVIYO_SAID_GRAPHQL,
    NGX_HTTP_KLAVIYO_SAID_RESPONSE,
    NGX_HTTP_KLAVIYO_SAID_RESPONSE_TEXT,
    NGX_HTTP_KLAVIYO_SAID_JSONLD,
    NGX_HTTP_KLAVIYO_SAID
} ngx_http_klaviyo_said_e;


typedef struct {
    ngx_http_klaviyo_copy_t              request;
    ngx_http_klaviyo_copy_t              response;

    ngx_http_klaviyo_jsonld_t           *jsonld;   /* of a page */
    ngx_http_klaviyo_inflate_t          *decoder;  /* of the page's encoding */
    size_t                               left;     /* of the page */
    off_t                                awaited;  /* of the response, -1 if
                                                      nobody knows */

    ngx_http_klaviyo_slot_t              said[NGX_HTTP_KLAVIYO_SAID];

    unsigned                             watch:1;  /* the response */
    unsigned                             sniff:1;  /* is it JSON at all? */
    unsigned                             page:1;   /* being scanned */
    unsigned                             cut:1;    /* it is too long */
    unsigned                             broken:1;   /* its encoding is */
} ngx_http_klaviyo_content_t;


/* The request's, made when it is first asked for; NULL without memory. */
ngx_http_klaviyo_content_t *ngx_http_klaviyo_content(
    ngx_http_klaviyo_ctx_t *ctx);

/*
 * What a body says: missing if there is nothing, unknown if a limit was met or
 * the body was not wholly seen.  The same for all rules of the request.  In a
 * worker, while the request's own URI and arguments are set.
 */
void ngx_http_klaviyo_content_said(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_said_e which, ngx_http_klaviyo_data_t *data);

/* The first of the headers with that name; NULL if there is none. */
ngx_table_elt_t *ngx_http_klaviyo_content_header(ngx_list_t *headers,
    ngx_str_t *name);


/* The request's body passes by: a filter of nginx's, for all requests. */
ngx_int_t ngx_http_klaviyo_body_init(ngx_conf_t *cf);

/*
 * Reads the request's body if a rule wants it and nobody else may: in the
 * rewrite phase, once.  NGX_DECLINED: the phase goes on; else what the phase's
 * handler returns.
 */
ngx_int_t ngx_http_klaviyo_body_read(ngx_http_klaviyo_ctx_t *ctx);

/* Whether all is known that the request's body may say. */
ngx_uint_t ngx_http_klaviyo_body_known(ngx_http_klaviyo_ctx_t *ctx);


#endif /* _NGX_HTTP_KLAVIYO_CONTENT_H_INCLUDED_ */
