
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The last ten minutes of an account, in the control zone: what its counters
 * were at the end of each step of five seconds.  The background process writes,
 * whoever asks for the status reads.
 */


#ifndef _NGX_HTTP_KLAVIYO_HISTORY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_HISTORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_counters.h"


#define NGX_HTTP_KLAVIYO_HISTORY_STEP    5       /* seconds */
#define NGX_HTTP_KLAVIYO_HISTORY_STEPS   120

/* one more to tell what the first step began with, one that isn't over */
#define NGX_HTTP_KLAVIYO_HISTORY_N       (NGX_HTTP_KLAVIYO_HISTORY_STEPS + 2)


/* counters modulo 2^32: only differences are of use; the last two are gauges */
typedef struct {
    uint32_t                             step;     /* epoch seconds / STEP */
    uint32_t                             seen;
    uint32_t                             sent;
    uint32_t                             skipped;
    uint32_t                             dropped;
    uint32_t                             dead;
    uint32_t                             queued;
    uint32_t                             spooled;
} ngx_http_klaviyo_sample_t;


typedef struct {
    ngx_atomic_t                         begun;
    ngx_http_klaviyo_sample_t            samples[NGX_HTTP_KLAVIYO_HISTORY_N];
} ngx_http_klaviyo_history_t;


/*
 * Keeps what the counters are at "now" (epoch seconds): the last call within a
 * step wins.  Each second, in the background process of the newest generation.
 */
void ngx_http_klaviyo_history_add(ngx_http_klaviyo_history_t *history,
    time_t now, ngx_http_klaviyo_counters_t *counters);

/*
 * Step "n" of NGX_HTTP_KLAVIYO_HISTORY_STEPS before the one that "now" is in,
 * 0 is the oldest: "sample" is what happened in it, and the gauges at its end.
 * NGX_DECLINED: nobody wrote then.  After a time without a writer the first
 * step has all of it; counters that went back (a rule was removed) give 0.
 */
ngx_int_t ngx_http_klaviyo_history_step(ngx_http_klaviyo_history_t *history,
    time_t now, ngx_uint_t n, ngx_http_klaviyo_sample_t *sample);

/*
 * What happened in the last "seconds" up to the newest sample, likewise;
 * returns how many seconds these are really, 0 if that isn't known yet.
 */
ngx_uint_t ngx_http_klaviyo_history_last(ngx_http_klaviyo_history_t *history,
    time_t now, ngx_uint_t seconds, ngx_http_klaviyo_sample_t *sample);


#endif /* _NGX_HTTP_KLAVIYO_HISTORY_H_INCLUDED_ */
