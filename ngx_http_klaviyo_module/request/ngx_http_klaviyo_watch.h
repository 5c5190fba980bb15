
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What became of one event, as a line of the tail (klaviyo_tail): what a shop's
 * owner needs to see that a rule works, without what it says about a visitor.
 */


#ifndef _NGX_HTTP_KLAVIYO_WATCH_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_WATCH_H_INCLUDED_


#include "ngx_http_klaviyo_request.h"
#include "ngx_http_klaviyo_tail.h"


typedef struct {
    ngx_http_klaviyo_ctx_t              *ctx;
    ngx_http_klaviyo_rule_t             *rule;
    ngx_http_klaviyo_account_t          *account;
    ngx_uint_t                           slot;     /* of the counters */
    char                                *outcome;  /* "skipped" */
    ngx_str_t                           *reason;   /* or NULL */
    ngx_http_klaviyo_event_t            *event;    /* or NULL */
} ngx_http_klaviyo_watch_t;


/*
 * Adds a JSON object in one line to the tail: time, account, metric, where the
 * rule stands, outcome, method, path, status, and of an event the names of its
 * fields, each with the type and length of its value; what has no room is
 * counted.  In a worker, with the request's method and path as they came.
 */
void ngx_http_klaviyo_watch(ngx_http_klaviyo_tail_t *tail,
    ngx_http_klaviyo_watch_t *watch);

/*
 * Copies a path to "dst", which has room for it: parts that may tell who
 * somebody is are "***", those with an "@", with seven digits or more, of 20
 * bytes or more without a "-", "_" or ".", and of more than 64 bytes.  Returns
 * the length.
 */
size_t ngx_http_klaviyo_watch_path(u_char *dst, ngx_str_t *path);


#endif /* _NGX_HTTP_KLAVIYO_WATCH_H_INCLUDED_ */
