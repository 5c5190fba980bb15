
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * When events of an account move between its ring and the spool.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_overflow.h"
#include "ngx_http_klaviyo_outcome.h"
#include "ngx_http_klaviyo_report.h"
#include "ngx_http_klaviyo_trouble.h"


/* slots that move in one turn */
#define NGX_HTTP_KLAVIYO_OVERFLOW_SLOTS  4


static ngx_uint_t ngx_http_klaviyo_overflow_due(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_ring_stat_t *stat);
static ngx_uint_t ngx_http_klaviyo_overflow_slots(
    ngx_http_klaviyo_sender_t *s, ngx_http_klaviyo_ring_stat_t *stat);
static void ngx_http_klaviyo_overflow_cancel(ngx_http_klaviyo_sender_t *s,
    ngx_msec_t patience);
static ngx_uint_t ngx_http_klaviyo_overflow_due_out(
    ngx_http_klaviyo_sender_t *s);
static ngx_int_t ngx_http_klaviyo_overflow_slot(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_ring_stat_t *stat);


ngx_int_t
ngx_http_klaviyo_overflow_init(ngx_http_klaviyo_account_t *account,
    ngx_http_klaviyo_account_state_t *state,
    ngx_http_klaviyo_directory_t *directory, ngx_pool_t *pool, ngx_log_t *log,
    ngx_http_klaviyo_spool_t *spool)
{
    if (state == NULL) {
        state = ngx_http_klaviyo_control_account(account->ring->control,
                                                 account->key);
    }

    if (state == NULL) {
        state = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_account_state_t));
        if (state == NULL) {
            return NGX_ERROR;
        }
    }

    spool->directory = directory;
    spool->ring = account->ring;
    spool->state = state;
    spool->name = account->name;
    spool->max = account->spool_max;
    spool->drop_new = (account->spool_full == NGX_HTTP_KLAVIYO_FULL_DROP_NEW);
    spool->log = log;

    return ngx_http_klaviyo_spool_init(spool, pool);
}


ngx_msec_t
ngx_http_klaviyo_overflow_in(ngx_http_klaviyo_sender_t *s)
{
    ngx_int_t                      rc, slot;
    ngx_uint_t                     n;
    ngx_http_klaviyo_ring_stat_t   stat;

    for (n = 0; ngx_http_klaviyo_overflow_due(s, &stat); n++) {

        if (n == NGX_HTTP_KLAVIYO_OVERFLOW_SLOTS) {
            return NGX_HTTP_KLAVIYO_TICK_OVERFLOW;
        }

        rc = ngx_http_klaviyo_spool_ready(&s->spool);

        if (rc == NGX_AGAIN
            && ngx_http_klaviyo_spool_drop(&s->spool) == NGX_OK)
        {
            return NGX_HTTP_KLAVIYO_TICK_OVERFLOW;
        }

        if (rc != NGX_OK) {
            break;
        }

        slot = ngx_http_klaviyo_overflow_slot(s, &stat);

        if (slot == NGX_DECLINED) {
            break;
        }

        rc = ngx_http_klaviyo_spool_write(&s->spool, slot);

        if (rc == NGX_AGAIN
            && ngx_http_klaviyo_spool_drop(&s->spool) == NGX_OK)
        {
            return NGX_HTTP_KLAVIYO_TICK_OVERFLOW;
        }

        if (rc != NGX_OK) {
            break;
        }
    }

    return (stat.used > stat.size / 4) ? NGX_HTTP_KLAVIYO_TICK_FILLS
                                       : NGX_TIMER_INFINITE;
}


static ngx_uint_t
ngx_http_klaviyo_overflow_due(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_ring_stat_t *stat)
{
    ngx_http_klaviyo_ring_stat(s->account->ring, stat);

    if (stat->used > stat->size / 8 * 7) {
        ngx_http_klaviyo_overflow_cancel(s, NGX_HTTP_KLAVIYO_IMPATIENCE);

    } else if (stat->used > stat->size / 4 * 3) {
        ngx_http_klaviyo_overflow_cancel(s, NGX_HTTP_KLAVIYO_PATIENCE);
    }

    if (stat->used > stat->size / 2
        || ngx_http_klaviyo_overflow_slots(s, stat))
    {
        return 1;
    }

    /*
     * In a fault new events are what may prove that it is over.  Whatever is in
     * a slot stays for the next try, if it isn't aside because it fails.
     */

    return ngx_http_klaviyo_overflow_away(s) && !s->fault && !s->hurry
           && stat->unclaimed
           && stat->events > stat->unclaimed
                             + ngx_http_klaviyo_trouble_events(s);
}


/* Each probe of a fault leaves a slot of one event: new events need one, too */

static ngx_uint_t
ngx_http_klaviyo_overflow_slots(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_ring_stat_t *stat)
{
    return s->fault && stat->unclaimed
           && stat->slots >= NGX_HTTP_KLAVIYO_RING_SLOTS
                             - NGX_HTTP_KLAVIYO_RING_SPARE;
}


ngx_uint_t
ngx_http_klaviyo_overflow_away(ngx_http_klaviyo_sender_t *s)
{
    return (s->mode == NGX_HTTP_KLAVIYO_SENDER_BACKOFF
            || s->mode == NGX_HTTP_KLAVIYO_SENDER_STOPPED)
           && ngx_current_msec - s->since >= NGX_HTTP_KLAVIYO_AWAY;
}


/* The ring is emptied from its end: what is out holds back all behind it */

static void
ngx_http_klaviyo_overflow_cancel(ngx_http_klaviyo_sender_t *s,
    ngx_msec_t patience)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_answer_t   answer;
    ngx_http_klaviyo_flight_t  *flight;

    for (i = 0; i < NGX_HTTP_KLAVIYO_IN_FLIGHT; i++) {
        flight = &s->flights[i];

        if (flight->call == NULL
            || ngx_current_msec - flight->since < patience)
        {
            continue;
        }

        ngx_http_klaviyo_transport_cancel(flight->call);
        flight->call = NULL;

        s->in_flight--;
        ngx_http_klaviyo_report_in_flight(s);

        ngx_http_klaviyo_api_init(&answer);
        ngx_str_set(&answer.failure, "no answer, and the queue gets full");

        ngx_http_klaviyo_outcome_failed(flight, &answer);
    }
}


/* The oldest first, what was sent before too */

static ngx_int_t
ngx_http_klaviyo_overflow_slot(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_ring_stat_t *stat)
{
    ngx_int_t                 slot;
    ngx_http_klaviyo_ring_t  *ring;

    ring = s->account->ring;

    if (stat->used > stat->size / 2
        || ngx_http_klaviyo_overflow_slots(s, stat))
    {
        slot = s->held;
        s->held = NGX_DECLINED;

        if (slot == NGX_DECLINED) {
            slot = ngx_http_klaviyo_trouble_take(s);
        }

        if (slot == NGX_DECLINED) {
            slot = ngx_http_klaviyo_ring_adopt(ring);
        }

        if (slot != NGX_DECLINED) {

            /* its record may be in it, and another one in its place soon */

            s->suspect = NULL;
            s->waiting = 1;

            return slot;
        }
    }

    return ngx_http_klaviyo_ring_claim(ring, NGX_HTTP_KLAVIYO_SPOOL_EVENTS,
                                       NGX_HTTP_KLAVIYO_SPOOL_WRITE, NULL);
}


ngx_uint_t
ngx_http_klaviyo_overflow_rescue(ngx_http_klaviyo_sender_t *s)
{
    if (s->rescue.addr == NULL) {
        return 0;
    }

    if (ngx_http_klaviyo_overflow_due_out(s)) {
        (void) ngx_http_klaviyo_rescue_read(&s->rescue,
                                            NGX_HTTP_KLAVIYO_SPOOL_EVENTS);
    }

    /* there may be more than one */

    return ngx_http_klaviyo_rescue_scan(&s->rescue);
}


void
ngx_http_klaviyo_overflow_out(ngx_http_klaviyo_sender_t *s)
{
    ngx_uint_t                    n, aside;
    ngx_http_klaviyo_ring_stat_t  stat;

    if (ngx_http_klaviyo_overflow_rescue(s)
        || s->spool.segments == 0
        || !ngx_http_klaviyo_overflow_due_out(s))
    {
        return;
    }

    /* the ring of a dead instance knows how far its segment was read */

    if (s->spool.in == NGX_INVALID_FILE
        && ngx_http_klaviyo_rescue_scan(&s->rescue))
    {
        return;
    }

    ngx_http_klaviyo_ring_stat(s->account->ring, &stat);

    n = NGX_HTTP_KLAVIYO_SPOOL_EVENTS;

    if (s->mode != NGX_HTTP_KLAVIYO_SENDER_OK || s->probe) {
        aside = ngx_http_klaviyo_trouble_events(s);

        if (stat.events > aside) {
            return;
        }

        /* one is enough to learn whether it is the others' fault */

        if (aside) {
            n = 1;
        }
    }

    (void) ngx_http_klaviyo_spool_read(&s->spool, n);
}


ngx_uint_t
ngx_http_klaviyo_overflow_followed(ngx_http_klaviyo_sender_t *s)
{
    ngx_http_klaviyo_control_t  *control;

    control = s->account->ring->control;

    return ngx_http_klaviyo_control_newest(control) > control->generation;
}


/* whether the ring has room for old events, and less than a batch waits */

static ngx_uint_t
ngx_http_klaviyo_overflow_due_out(ngx_http_klaviyo_sender_t *s)
{
    ngx_http_klaviyo_account_t    *account;
    ngx_http_klaviyo_ring_stat_t   stat;

    account = s->account;

    if (s->hurry || ngx_http_klaviyo_overflow_followed(s)) {
        return 0;
    }

    ngx_http_klaviyo_ring_stat(account->ring, &stat);

    return stat.unclaimed < account->batch_events
           && stat.used < stat.size / 4;
}
