
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A multi handle of libcurl on nginx's event loop: its sockets and its timer.
 * Knows nothing of requests.
 */


#ifndef _NGX_HTTP_KLAVIYO_LOOP_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_LOOP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <curl/curl.h>


/* Transfers may have ended.  Runs from the event loop, not within libcurl. */
typedef void (*ngx_http_klaviyo_loop_pt)(void *data);


typedef struct {
    CURLM                               *multi;
    void                                *data;     /* of "handler" */
    ngx_log_t                           *log;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                            ident;

    ngx_http_klaviyo_loop_pt             handler;
    ngx_event_t                          timer;
    ngx_event_t                          posted;
} ngx_http_klaviyo_loop_t;


/* "handler", "data" and "log" are set by the caller.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_klaviyo_loop_init(ngx_http_klaviyo_loop_t *loop);

/* When no easy handle is left in it: closes all connections. */
void ngx_http_klaviyo_loop_destroy(ngx_http_klaviyo_loop_t *loop);


#endif /* _NGX_HTTP_KLAVIYO_LOOP_H_INCLUDED_ */
