
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What is counted, per rule and account, in shared memory.  In events:
 *
 *     seen + restored =
 *         sent + skipped + dropped + damaged + queued + spooled + dead
 */


#ifndef _NGX_HTTP_KLAVIYO_COUNTERS_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_COUNTERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* in the order in which they are judged */
typedef enum {
    NGX_HTTP_KLAVIYO_SKIP_CONDITION = 0,
    NGX_HTTP_KLAVIYO_SKIP_LIMIT,         /* a condition met a limit */
    NGX_HTTP_KLAVIYO_SKIP_EMPTY,         /* "each" had no elements */
    NGX_HTTP_KLAVIYO_SKIP_STATUS,
    NGX_HTTP_KLAVIYO_SKIP_PREFETCH,
    NGX_HTTP_KLAVIYO_SKIP_BOTS,
    NGX_HTTP_KLAVIYO_SKIP_OPTOUT,
    NGX_HTTP_KLAVIYO_SKIP_GPC,
    NGX_HTTP_KLAVIYO_SKIP_DNT,
    NGX_HTTP_KLAVIYO_SKIP_CONSENT,
    NGX_HTTP_KLAVIYO_SKIP_UNIDENTIFIED,
    NGX_HTTP_KLAVIYO_SKIP_UNCONFIRMED,   /* a _kx that may be a robot's */
    NGX_HTTP_KLAVIYO_SKIP_REPEATED,      /* once */
    NGX_HTTP_KLAVIYO_SKIP_HELD,          /* until it is known whose it is */
    NGX_HTTP_KLAVIYO_SKIP_N
} ngx_http_klaviyo_skip_e;


typedef enum {
    NGX_HTTP_KLAVIYO_DROP_FULL = 0,      /* no room in the ring, the spool or
                                            the file of dead letters */
    NGX_HTTP_KLAVIYO_DROP_TOO_LARGE,     /* more than a batch may hold */
    NGX_HTTP_KLAVIYO_DROP_ERROR,         /* no memory */
    NGX_HTTP_KLAVIYO_DROP_N
} ngx_http_klaviyo_drop_e;


typedef struct {
    ngx_atomic_t                         seen;
    ngx_atomic_t                         restored;

    ngx_atomic_t                         sent;
    ngx_atomic_t                         queued;    /* a gauge, in flight too */
    ngx_atomic_t                         spooled;   /* a gauge */
    ngx_atomic_t                         dead;
    ngx_atomic_t                         damaged;
    ngx_atomic_t                         skipped[NGX_HTTP_KLAVIYO_SKIP_N];
    ngx_atomic_t                         dropped[NGX_HTTP_KLAVIYO_DROP_N];

    /* not events: fields left out by a limit, ids that gave way */
    ngx_atomic_t                         limited;
    ngx_atomic_t                         bad_ids;
} ngx_http_klaviyo_counters_t;


#define ngx_http_klaviyo_count(c, what)                                       \
    (void) ngx_atomic_fetch_add(&(c)->what, 1)

#define ngx_http_klaviyo_count_n(c, what, n)                                  \
    (void) ngx_atomic_fetch_add(&(c)->what, (ngx_atomic_int_t) (n))


/* the names that users see: "unidentified", "full" */
extern ngx_str_t  ngx_http_klaviyo_skip_names[];
extern ngx_str_t  ngx_http_klaviyo_drop_names[];


/*
 * An event that is counted from here on.  One that was "held" was seen before,
 * and is not skipped any more.
 */
void ngx_http_klaviyo_count_seen(ngx_http_klaviyo_counters_t *counters,
    ngx_uint_t held);

/*
 * An event leaves the spool: it was "spooled" if "counted" says that this
 * instance counted it, else it is "restored".  Where a process was killed one
 * may be missing in "spooled": then it is restored, too, and the sum holds.
 */
void ngx_http_klaviyo_count_restored(ngx_http_klaviyo_counters_t *counters,
    ngx_uint_t counted);


#endif /* _NGX_HTTP_KLAVIYO_COUNTERS_H_INCLUDED_ */
