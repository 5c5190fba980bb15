
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The dispatcher: drains the rings of all accounts into requests and acts on
 * the answers.  A client of the event loop with start, drain and idle; does
 * not know which process hosts it.
 */


#ifndef _NGX_HTTP_KLAVIYO_DISPATCHER_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DISPATCHER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_directory.h"


typedef struct ngx_http_klaviyo_dispatcher_s  ngx_http_klaviyo_dispatcher_t;

typedef void (*ngx_http_klaviyo_second_pt)(void *data);


typedef struct {
    ngx_http_klaviyo_control_t          *control;
    ngx_array_t                         *accounts;  /* _account_t *: all
                                                       lanes */
    ngx_http_klaviyo_directory_t         spool;
    ngx_log_t                           *log;

    /* each second, as long as no newer generation is there; may be NULL */
    ngx_http_klaviyo_second_pt           second;
    void                                *data;     /* its argument */
} ngx_http_klaviyo_dispatcher_conf_t;


/* Starts to work: own timers and the eventfd.  Returns NULL on failure. */
ngx_http_klaviyo_dispatcher_t *ngx_http_klaviyo_dispatcher_start(
    ngx_http_klaviyo_dispatcher_conf_t *conf);

/*
 * From now on batches close at once, linger or not, and retries and pauses no
 * longer than the host waits anyway; with "claim" 0 nothing more is claimed.
 */
void ngx_http_klaviyo_dispatcher_drain(ngx_http_klaviyo_dispatcher_t *d,
    ngx_uint_t claim);

/* Requests that wait for their answer. */
ngx_uint_t ngx_http_klaviyo_dispatcher_in_flight(
    ngx_http_klaviyo_dispatcher_t *d);

/* Events in the rings that this process owns, those in flight too. */
ngx_uint_t ngx_http_klaviyo_dispatcher_left(
    ngx_http_klaviyo_dispatcher_t *d);

/* Whether this process still owns a ring. */
ngx_uint_t ngx_http_klaviyo_dispatcher_owner(
    ngx_http_klaviyo_dispatcher_t *d);

/* Whether what is left can't be delivered: Klaviyo is away for all of it. */
ngx_uint_t ngx_http_klaviyo_dispatcher_stuck(
    ngx_http_klaviyo_dispatcher_t *d);

/*
 * Moves what is left in the rings that this process owns to the spool and frees
 * everything.  Returns how many events could not be moved.
 */
ngx_uint_t ngx_http_klaviyo_dispatcher_stop(ngx_http_klaviyo_dispatcher_t *d);

/*
 * In a master that exits, when all other processes are gone: what is in the
 * rings goes to the spool; tells how many events are lost.
 */
void ngx_http_klaviyo_dispatcher_save(
    ngx_http_klaviyo_dispatcher_conf_t *conf);


#endif /* _NGX_HTTP_KLAVIYO_DISPATCHER_H_INCLUDED_ */
