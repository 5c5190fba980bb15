
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Requests that no shopper made, or that a shopper does not want counted:
 * prefetches, robots, opt-outs.  Asked only after a rule has matched.
 */


#ifndef _NGX_HTTP_KLAVIYO_NOISE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_NOISE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_klaviyo_counters.h"


/* klaviyo_ignore */
#define NGX_HTTP_KLAVIYO_IGNORE_PREFETCH  0x01
#define NGX_HTTP_KLAVIYO_IGNORE_BOTS      0x02
#define NGX_HTTP_KLAVIYO_IGNORE_OPTOUT    0x04
#define NGX_HTTP_KLAVIYO_IGNORE_GPC       0x08
#define NGX_HTTP_KLAVIYO_IGNORE_DNT       0x10
#define NGX_HTTP_KLAVIYO_IGNORE_ALL       0x1f


/* Compiles the pattern of robots' names.  At configuration time, once. */
ngx_int_t ngx_http_klaviyo_noise_init(ngx_pool_t *pool);

/*
 * The first reason of "ignore" that holds, in the order prefetch, robots,
 * opt-out, gpc, dnt: a ngx_http_klaviyo_skip_e; or NGX_DECLINED.  "optout" is
 * the value of the cookie __kla_off, or empty.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_noise(ngx_http_request_t *r, ngx_uint_t ignore,
    ngx_str_t *optout);

/* The bit of "ignore" that gives this reason: opt-out, gpc or dnt. */
ngx_uint_t ngx_http_klaviyo_noise_signal(ngx_uint_t reason);

/* The first reason of these bits, of which there is at least one. */
ngx_int_t ngx_http_klaviyo_noise_reason(ngx_uint_t signals);

/* Whether the text is a robot's User-Agent (empty is one). */
ngx_uint_t ngx_http_klaviyo_noise_robot(ngx_str_t *user_agent);


#endif /* _NGX_HTTP_KLAVIYO_NOISE_H_INCLUDED_ */
