
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Requests by libcurl's multi interface on nginx's own event loop: level-
 * triggered, never blocking.  Knows nothing of rings and events.
 */


#ifndef _NGX_HTTP_KLAVIYO_TRANSPORT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_TRANSPORT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_api.h"


typedef struct ngx_http_klaviyo_transport_s  ngx_http_klaviyo_transport_t;
typedef struct ngx_http_klaviyo_call_s       ngx_http_klaviyo_call_t;


/* Copies the next at most "size" bytes of the body to "buf"; 0 at the end. */
typedef size_t (*ngx_http_klaviyo_read_pt)(void *data, u_char *buf,
    size_t size);

/* The body is read from its beginning once more (a resend by libcurl). */
typedef void (*ngx_http_klaviyo_rewind_pt)(void *data);

/*
 * The call has ended; "answer" is valid during the call of this function only,
 * its texts in "pool" too.  Runs from the event loop, never from within
 * ngx_http_klaviyo_transport_post().
 */
typedef void (*ngx_http_klaviyo_done_pt)(void *data,
    ngx_http_klaviyo_answer_t *answer, ngx_pool_t *pool);


typedef struct {
    ngx_http_klaviyo_account_t          *account;
    char                                *path;     /* of the URL */
    size_t                               length;   /* of the body */
    ngx_http_klaviyo_read_pt             read;
    ngx_http_klaviyo_rewind_pt           rewind;
    ngx_http_klaviyo_done_pt             done;
    void                                *data;
} ngx_http_klaviyo_post_t;


/*
 * curl_global_init() and a multi handle.  Only in the process that hosts the
 * dispatcher, after fork().  Returns NULL on failure.
 */
ngx_http_klaviyo_transport_t *ngx_http_klaviyo_transport_create(
    ngx_log_t *log);

/* Starts a POST; "post" is copied.  Returns NULL on failure (logged). */
ngx_http_klaviyo_call_t *ngx_http_klaviyo_transport_post(
    ngx_http_klaviyo_transport_t *transport, ngx_http_klaviyo_post_t *post);

/*
 * Ends a call without its done(); within that does nothing.  This and the next
 * may be called from any done(), never from a read() or rewind().
 */
void ngx_http_klaviyo_transport_cancel(ngx_http_klaviyo_call_t *call);

/* Cancels all calls, closes all connections, frees the handle. */
void ngx_http_klaviyo_transport_destroy(
    ngx_http_klaviyo_transport_t *transport);


#endif /* _NGX_HTTP_KLAVIYO_TRANSPORT_H_INCLUDED_ */
