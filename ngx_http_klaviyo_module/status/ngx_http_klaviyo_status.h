
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_status: the counters of all accounts and rules.
 */


#ifndef _NGX_HTTP_KLAVIYO_STATUS_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_collect.h"
#include "ngx_http_klaviyo_output.h"


/* The directive klaviyo_status; sets the location's content handler. */
char *ngx_http_klaviyo_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/*
 * The forms of it, each in a file of its own: they write the view to "out" and
 * return NGX_OK, or NGX_ERROR without memory.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_status_json(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
ngx_int_t ngx_http_klaviyo_status_prometheus(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
ngx_int_t ngx_http_klaviyo_status_page(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);

/* The tail, the newest line first: a JSON object each; empty if it is off. */
ngx_int_t ngx_http_klaviyo_status_tail(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);


/*
 * ?explain=ID: sends the story that klaviyo_explain has kept under this id, to
 * who sends the secret.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_status_explain(ngx_http_request_t *r,
    ngx_str_t *id);


/*
 * Which of "forms" the header Accept asks for: "types" are their media types,
 * lowercase, the first one for "any" and for what isn't understood.  "best" and
 * "weight" are kept between the lines of a request that has several; set them
 * to 0 before.  A type that is named outweighs any that isn't with the same
 * weight; of two that are the same, the one that comes first wins.
 */
void ngx_http_klaviyo_status_accept(ngx_str_t *accept, ngx_str_t *types,
    ngx_uint_t *best, ngx_uint_t *weight);


#endif /* _NGX_HTTP_KLAVIYO_STATUS_H_INCLUDED_ */
