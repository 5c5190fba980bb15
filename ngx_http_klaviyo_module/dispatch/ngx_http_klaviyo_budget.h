
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * How many requests an account may still make.  Klaviyo counts in two fixed
 * windows, a second and a minute, whose beginnings we don't know: here any
 * second and any minute hold no more than the limit, wherever they begin.
 * Plain numbers only, so that it may lie in shared memory.
 */


#ifndef _NGX_HTTP_KLAVIYO_BUDGET_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_BUDGET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_KLAVIYO_BUDGET_TICKS    24


/* a window in slices: as many as fill it, and one that leaves it */
typedef struct {
    uint64_t                             tick;     /* of the newest slice */
    uint32_t                             counts[NGX_HTTP_KLAVIYO_BUDGET_TICKS];
} ngx_http_klaviyo_window_t;


/* must fit into ngx_http_klaviyo_account_state_t.budget */
typedef struct {
    ngx_http_klaviyo_window_t            burst;
    ngx_http_klaviyo_window_t            steady;
    uint64_t                             paused;   /* until, ms */
    uint64_t                             reset;    /* when "left" ends, ms */
    uint32_t                             left;     /* as the headers said, less
                                                      what was taken since */
    uint32_t                             limit;    /* as the headers said */
} ngx_http_klaviyo_budget_t;


/*
 * May a request be sent at "now" (milliseconds of a clock that all processes
 * share and that never goes back)?  "burst" and "steady" are the account's
 * limits, "share" the percentage of them that is ours (at least 1 request).
 * Returns 0 and takes it, or the milliseconds after which to ask again.
 */
ngx_msec_t ngx_http_klaviyo_budget_take(ngx_http_klaviyo_budget_t *budget,
    uint64_t now, ngx_uint_t burst, ngx_uint_t steady, ngx_uint_t share);

/*
 * An answer said: of "limit" requests a minute "remaining" are left, to all
 * programs of the account, for "reset" more milliseconds.  What is beyond our
 * share stays untouched.
 */
void ngx_http_klaviyo_budget_observe(ngx_http_klaviyo_budget_t *budget,
    uint64_t now, ngx_uint_t limit, ngx_uint_t remaining, ngx_msec_t reset);

/* Nothing more until "now" plus "msec" (Retry-After); never shortens. */
void ngx_http_klaviyo_budget_pause(ngx_http_klaviyo_budget_t *budget,
    uint64_t now, ngx_msec_t msec);

/*
 * Adds to "budget" what "other", of another process, knows of the same account;
 * "other" is checked, so it may be anything.
 */
void ngx_http_klaviyo_budget_merge(ngx_http_klaviyo_budget_t *budget,
    ngx_http_klaviyo_budget_t *other, uint64_t now);

/* Zeroes what can't be true at "now", as after a reboot of the clock. */
void ngx_http_klaviyo_budget_check(ngx_http_klaviyo_budget_t *budget,
    uint64_t now);


/*
 * Exponential backoff with full jitter: a random time between 0 and min * 2^n,
 * at most max, at least 1 (n: failures so far, from 0), milliseconds.
 */
ngx_msec_t ngx_http_klaviyo_backoff(ngx_uint_t n, ngx_msec_t min,
    ngx_msec_t max);


#endif /* _NGX_HTTP_KLAVIYO_BUDGET_H_INCLUDED_ */
