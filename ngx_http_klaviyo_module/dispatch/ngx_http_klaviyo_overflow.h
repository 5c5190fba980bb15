
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * When events of an account move between its ring and the spool.
 *
 * In: when the ring is more than half full, whatever the reason; or when
 * Klaviyo is away for some seconds: then all but what is to be tried next.
 *
 * Out: when Klaviyo answers, no more at a time than is sent next, so that a new
 * event never waits behind more than one turn's worth of old ones; or when the
 * ring is empty and there is nothing else to try with.
 */


#ifndef _NGX_HTTP_KLAVIYO_OVERFLOW_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_OVERFLOW_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_sender.h"


/* Klaviyo is away for so long, milliseconds */
#define NGX_HTTP_KLAVIYO_AWAY            5000

/* a request that is out for longer isn't waited for when three quarters of the
 * ring are full, and when seven eighths are */
#define NGX_HTTP_KLAVIYO_PATIENCE        2000
#define NGX_HTTP_KLAVIYO_IMPATIENCE      500


/*
 * Makes ready the spool of the account, with "state" or, if that is NULL, what
 * the control zone has; touches no file.  NGX_OK or NGX_ERROR (no memory).  In
 * the owner of the account's ring.
 */
ngx_int_t ngx_http_klaviyo_overflow_init(ngx_http_klaviyo_account_t *account,
    ngx_http_klaviyo_account_state_t *state,
    ngx_http_klaviyo_directory_t *directory, ngx_pool_t *pool, ngx_log_t *log,
    ngx_http_klaviyo_spool_t *spool);

/*
 * One turn of the way in.  Returns the milliseconds after which the next one is
 * due, or NGX_TIMER_INFINITE.
 */
ngx_msec_t ngx_http_klaviyo_overflow_in(ngx_http_klaviyo_sender_t *s);

/*
 * One turn of what an instance that was killed has left in memory: it goes to
 * disk as well, if Klaviyo is away, so it comes into the ring whether or not
 * Klaviyo answers.  Whether there is more of it.
 */
ngx_uint_t ngx_http_klaviyo_overflow_rescue(ngx_http_klaviyo_sender_t *s);

/* One turn of the way out. */
void ngx_http_klaviyo_overflow_out(ngx_http_klaviyo_sender_t *s);

/* Whether Klaviyo is away for long enough to wait for it on disk. */
ngx_uint_t ngx_http_klaviyo_overflow_away(ngx_http_klaviyo_sender_t *s);

/* Whether a newer generation reads the spool, and sends what is in it. */
ngx_uint_t ngx_http_klaviyo_overflow_followed(ngx_http_klaviyo_sender_t *s);


#endif /* _NGX_HTTP_KLAVIYO_OVERFLOW_H_INCLUDED_ */
