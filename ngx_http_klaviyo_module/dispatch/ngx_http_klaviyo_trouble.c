
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Ranges that fail while others of the account are accepted.
 *
 * A table in the sender remembers them by their first record.  It may forget:
 * a range that isn't in it is one that never failed, and is tried longer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_trouble.h"


static ngx_http_klaviyo_trouble_e ngx_http_klaviyo_trouble_alone(
    ngx_http_klaviyo_flight_t *flight, ngx_http_klaviyo_trouble_t *trouble);
static void ngx_http_klaviyo_trouble_aside(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_trouble_t *trouble, ngx_msec_t wait);
static ngx_http_klaviyo_trouble_t *ngx_http_klaviyo_trouble_find(
    ngx_http_klaviyo_sender_t *s, ngx_int_t slot);
static ngx_http_klaviyo_trouble_t *ngx_http_klaviyo_trouble_new(
    ngx_http_klaviyo_sender_t *s, ngx_http_klaviyo_record_t *record);
static void ngx_http_klaviyo_trouble_count(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_trouble_t *trouble, ngx_uint_t single);
static ngx_int_t ngx_http_klaviyo_trouble_halve(
    ngx_http_klaviyo_flight_t *flight);
static ngx_uint_t ngx_http_klaviyo_trouble_count_aside(
    ngx_http_klaviyo_sender_t *s);
static ngx_uint_t ngx_http_klaviyo_trouble_out(ngx_http_klaviyo_sender_t *s);


ngx_http_klaviyo_trouble_e
ngx_http_klaviyo_trouble_failed(ngx_http_klaviyo_flight_t *flight,
    ngx_msec_t wait, ngx_uint_t *alone)
{
    ngx_http_klaviyo_sender_t   *s;
    ngx_http_klaviyo_record_t   *record;
    ngx_http_klaviyo_trouble_t  *trouble;

    s = flight->sender;

    trouble = ngx_http_klaviyo_trouble_find(s, flight->batch.slot);

    if (trouble == NULL) {
        *alone = 0;
        s->others++;

        record = ngx_http_klaviyo_ring_first(s->account->ring,
                                             flight->batch.slot);

        (void) ngx_http_klaviyo_trouble_new(s, record);

        return NGX_HTTP_KLAVIYO_TROUBLE_WAITS;
    }

    *alone = (s->accepted != trouble->accepted);
    trouble->tries++;

    if (*alone) {
        return ngx_http_klaviyo_trouble_alone(flight, trouble);
    }

    if (trouble->tries < NGX_HTTP_KLAVIYO_TROUBLE_ASIDE
        || ngx_http_klaviyo_trouble_count_aside(s)
           >= NGX_HTTP_KLAVIYO_TROUBLE_MAX)
    {
        return NGX_HTTP_KLAVIYO_TROUBLE_WAITS;
    }

    ngx_http_klaviyo_trouble_aside(flight, trouble, wait);

    return NGX_HTTP_KLAVIYO_TROUBLE_KEPT;
}


static ngx_http_klaviyo_trouble_e
ngx_http_klaviyo_trouble_alone(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_trouble_t *trouble)
{
    ngx_msec_t                  wait;
    ngx_uint_t                  single;
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;
    single = (flight->batch.events == 1);

    ngx_http_klaviyo_trouble_count(s, trouble, single);

    /* in a fault of the account's nothing dies, nor is it looked for */

    if (!s->fault) {

        if (single && trouble->failures >= NGX_HTTP_KLAVIYO_TROUBLE_DIES) {
            trouble->record = NULL;
            return NGX_HTTP_KLAVIYO_TROUBLE_DEAD;
        }

        if (!single && trouble->failures >= NGX_HTTP_KLAVIYO_TROUBLE_HALVE
            && ngx_http_klaviyo_trouble_halve(flight) == NGX_OK)
        {
            return NGX_HTTP_KLAVIYO_TROUBLE_HALVED;
        }
    }

    wait = ngx_min(s->account->retry_max, NGX_HTTP_KLAVIYO_TROUBLE_PAUSE);
    wait = ngx_http_klaviyo_backoff(trouble->failures, s->account->retry_min,
                                    wait);

    ngx_http_klaviyo_trouble_aside(flight, trouble, wait);

    return NGX_HTTP_KLAVIYO_TROUBLE_KEPT;
}


static void
ngx_http_klaviyo_trouble_aside(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_trouble_t *trouble, ngx_msec_t wait)
{
    if (flight->sender->hurry) {
        wait = ngx_min(wait, NGX_HTTP_KLAVIYO_HURRY);
    }

    trouble->slot = flight->batch.slot;
    trouble->events = flight->batch.events;
    trouble->next = ngx_current_msec + wait;
}


static ngx_http_klaviyo_trouble_t *
ngx_http_klaviyo_trouble_find(ngx_http_klaviyo_sender_t *s, ngx_int_t slot)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_record_t   *record;
    ngx_http_klaviyo_trouble_t  *trouble;

    record = ngx_http_klaviyo_ring_first(s->account->ring, slot);

    if (record == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        trouble = &s->troubles[i];

        if (trouble->record == record
            && trouble->id == record->id && trouble->msec == record->msec)
        {
            return trouble;
        }
    }

    return NULL;
}


/* A free one, else one that isn't aside; NULL: all are */

static ngx_http_klaviyo_trouble_t *
ngx_http_klaviyo_trouble_new(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_record_t *record)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_trouble_t  *trouble, *found;

    found = NULL;

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        trouble = &s->troubles[i];

        if (trouble->record == NULL) {
            found = trouble;
            break;
        }

        if (trouble->slot == NGX_DECLINED
            && (found == NULL || trouble->failures < found->failures))
        {
            found = trouble;
        }
    }

    if (found == NULL || record == NULL) {
        return NULL;
    }

    found->record = record;
    found->id = record->id;
    found->msec = record->msec;
    found->tries = 1;
    found->failures = 1;
    found->accepted = s->accepted;
    found->others = s->others;
    found->slot = NGX_DECLINED;

    return found;
}


/* An event that others fail with, too, isn't the one to blame */

static void
ngx_http_klaviyo_trouble_count(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_trouble_t *trouble, ngx_uint_t single)
{
    if (single && trouble->others != s->others) {
        trouble->failures = 0;
    }

    trouble->failures++;
    trouble->accepted = s->accepted;
    trouble->others = s->others;
}


/* What is known of the whole holds for both halves, but for a single event */

static ngx_int_t
ngx_http_klaviyo_trouble_halve(ngx_http_klaviyo_flight_t *flight)
{
    ngx_int_t                    slot;
    ngx_uint_t                   i;
    ngx_http_klaviyo_ring_t     *ring;
    ngx_http_klaviyo_sender_t   *s;
    ngx_http_klaviyo_record_t   *halves[2];
    ngx_http_klaviyo_trouble_t  *trouble;

    s = flight->sender;
    ring = s->account->ring;
    slot = flight->batch.slot;

    halves[0] = ngx_http_klaviyo_ring_first(ring, slot);
    halves[1] = ngx_http_klaviyo_batch_middle(&flight->batch);

    if (ngx_http_klaviyo_ring_split(ring, slot, halves[1]) != NGX_OK) {
        return NGX_DECLINED;
    }

    trouble = ngx_http_klaviyo_trouble_find(s, slot);
    trouble->record = NULL;

    for (i = 0; i < 2; i++) {
        trouble = ngx_http_klaviyo_trouble_new(s, halves[i]);

        if (trouble && flight->batch.events > 2) {
            trouble->failures = NGX_HTTP_KLAVIYO_TROUBLE_HALVE - 1;
        }
    }

    ngx_http_klaviyo_ring_release(ring, slot);

    s->waiting = 1;

    return NGX_OK;
}


void
ngx_http_klaviyo_trouble_over(ngx_http_klaviyo_flight_t *flight)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    s->accepted++;

    ngx_http_klaviyo_trouble_forget(s, flight->batch.slot);
}


void
ngx_http_klaviyo_trouble_forget(ngx_http_klaviyo_sender_t *s, ngx_int_t slot)
{
    ngx_http_klaviyo_trouble_t  *trouble;

    trouble = ngx_http_klaviyo_trouble_find(s, slot);

    if (trouble) {
        trouble->record = NULL;
    }
}


void
ngx_http_klaviyo_trouble_back(ngx_http_klaviyo_sender_t *s)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        if (s->troubles[i].failures < NGX_HTTP_KLAVIYO_TROUBLE_HALVE) {
            s->troubles[i].next = ngx_current_msec;
        }
    }
}


ngx_int_t
ngx_http_klaviyo_trouble_due(ngx_http_klaviyo_sender_t *s, ngx_msec_t *wait)
{
    ngx_int_t                    slot;
    ngx_uint_t                   i;
    ngx_msec_int_t               left;
    ngx_http_klaviyo_trouble_t  *trouble, *first;

    first = NULL;
    *wait = NGX_TIMER_INFINITE;

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        trouble = &s->troubles[i];

        if (trouble->record == NULL || trouble->slot == NGX_DECLINED) {
            continue;
        }

        if (first == NULL
            || (ngx_msec_int_t) (trouble->next - first->next) < 0)
        {
            first = trouble;
        }
    }

    if (first == NULL || ngx_http_klaviyo_trouble_out(s)) {
        return NGX_DECLINED;
    }

    left = (ngx_msec_int_t) (first->next - ngx_current_msec);

    if (left > 0) {
        *wait = left;
        return NGX_DECLINED;
    }

    slot = first->slot;
    first->slot = NGX_DECLINED;

    return slot;
}


/* Whether one of them is on its way: its end calls the sender */

static ngx_uint_t
ngx_http_klaviyo_trouble_out(ngx_http_klaviyo_sender_t *s)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_trouble_t  *trouble;

    for (i = 0; i < NGX_HTTP_KLAVIYO_IN_FLIGHT; i++) {

        if (s->flights[i].call == NULL) {
            continue;
        }

        trouble = ngx_http_klaviyo_trouble_find(s, s->flights[i].batch.slot);

        if (trouble && trouble->failures > 1) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_klaviyo_trouble_count_aside(ngx_http_klaviyo_sender_t *s)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        n += (s->troubles[i].record && s->troubles[i].slot != NGX_DECLINED);
    }

    return n;
}


ngx_uint_t
ngx_http_klaviyo_trouble_events(ngx_http_klaviyo_sender_t *s)
{
    ngx_uint_t                   i, events;
    ngx_http_klaviyo_trouble_t  *trouble;

    events = 0;

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        trouble = &s->troubles[i];

        if (trouble->record && trouble->slot != NGX_DECLINED) {
            events += trouble->events;
        }
    }

    return events;
}


ngx_int_t
ngx_http_klaviyo_trouble_take(ngx_http_klaviyo_sender_t *s)
{
    ngx_int_t                    slot;
    ngx_uint_t                   i;
    ngx_http_klaviyo_trouble_t  *trouble;

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        trouble = &s->troubles[i];

        if (trouble->record && trouble->slot != NGX_DECLINED) {
            slot = trouble->slot;
            trouble->record = NULL;

            return slot;
        }
    }

    return NGX_DECLINED;
}


void
ngx_http_klaviyo_trouble_release(ngx_http_klaviyo_sender_t *s)
{
    ngx_int_t  slot;

    for ( ;; ) {
        slot = ngx_http_klaviyo_trouble_take(s);

        if (slot == NGX_DECLINED) {
            break;
        }

        ngx_http_klaviyo_ring_release(s->account->ring, slot);
        s->waiting = 1;
    }
}
