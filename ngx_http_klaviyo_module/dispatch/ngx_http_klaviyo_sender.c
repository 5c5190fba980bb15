
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The sender of one account: which range of its ring goes out, and when.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_sender.h"
#include "ngx_http_klaviyo_outcome.h"
#include "ngx_http_klaviyo_overflow.h"
#include "ngx_http_klaviyo_report.h"
#include "ngx_http_klaviyo_trouble.h"


/* the control zone keeps the budget without knowing what it is */
typedef char  ngx_http_klaviyo_budget_fits[
    sizeof(ngx_http_klaviyo_budget_t)
    <= sizeof(((ngx_http_klaviyo_account_state_t *) 0)->budget) ? 1 : -1];


static void ngx_http_klaviyo_sender_settle(ngx_http_klaviyo_sender_t *s);
static ngx_msec_t ngx_http_klaviyo_sender_work(ngx_http_klaviyo_sender_t *s);
static ngx_msec_t ngx_http_klaviyo_sender_blocked(
    ngx_http_klaviyo_sender_t *s);
static ngx_msec_t ngx_http_klaviyo_sender_due(ngx_http_klaviyo_sender_t *s);
static ngx_msec_t ngx_http_klaviyo_sender_budget(
    ngx_http_klaviyo_sender_t *s);
static size_t ngx_http_klaviyo_sender_bytes(ngx_http_klaviyo_sender_t *s);
static ngx_int_t ngx_http_klaviyo_sender_send(ngx_http_klaviyo_sender_t *s);
static ngx_int_t ngx_http_klaviyo_sender_slot(ngx_http_klaviyo_sender_t *s);
static void ngx_http_klaviyo_sender_narrow(ngx_http_klaviyo_sender_t *s,
    ngx_int_t slot);
static void ngx_http_klaviyo_sender_post(ngx_http_klaviyo_flight_t *flight);
static void ngx_http_klaviyo_sender_done(void *data,
    ngx_http_klaviyo_answer_t *answer, ngx_pool_t *pool);
static void ngx_http_klaviyo_sender_drop_held(ngx_http_klaviyo_sender_t *s);


ngx_int_t
ngx_http_klaviyo_sender_init(ngx_http_klaviyo_sender_t *s, ngx_pool_t *pool,
    ngx_http_klaviyo_directory_t *directory)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_account_t  *account;

    account = s->account;

    s->state = ngx_http_klaviyo_control_account(account->ring->control,
                                                account->key);
    if (s->state == NULL) {

        /* the status page can't tell of this account; it is served */

        s->state = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_account_state_t));
        if (s->state == NULL) {
            return NGX_ERROR;
        }

        s->homeless = 1;
    }

    s->budget = (ngx_http_klaviyo_budget_t *) s->state->budget;

    s->rate.budget = s->budget;
    s->rate.account = account;
    s->rate.log = s->log;

    for (i = 0; i < NGX_HTTP_KLAVIYO_IN_FLIGHT; i++) {
        s->flights[i].sender = s;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_TROUBLES; i++) {
        s->troubles[i].slot = NGX_DECLINED;
    }

    s->held = NGX_DECLINED;
    s->claim = 1;
    s->minute = ngx_current_msec;

    if (ngx_http_klaviyo_journal_init(&s->dead, pool, &directory->path,
                                      &account->name, ".dead",
                                      account->spool_max, s->log)
        != NGX_OK
        || ngx_http_klaviyo_journal_init(&s->dry_run, pool, &directory->path,
                                         &account->name, ".dry-run",
                                         NGX_HTTP_KLAVIYO_DRY_RUN_MAX, s->log)
           != NGX_OK
        || ngx_http_klaviyo_rate_init(&s->rate, pool, directory) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_rescue_init(&s->rescue, &s->spool);

    return ngx_http_klaviyo_overflow_init(account, s->state, directory, pool,
                                          s->log, &s->spool);
}


void
ngx_http_klaviyo_sender_second(ngx_http_klaviyo_sender_t *s)
{
    unsigned                  owner;
    ngx_http_klaviyo_ring_t  *ring;

    ring = s->account->ring;

    if (s->homeless) {
        ngx_http_klaviyo_sender_settle(s);
    }

    if (s->claim) {
        owner = (ngx_http_klaviyo_ring_own(ring) == NGX_OK);

    } else {
        owner = (ngx_http_klaviyo_ring_owned(ring) != 0);
    }

    if (owner && !s->owner) {
        s->owner = 1;
        ngx_http_klaviyo_spool_own(&s->spool);
        ngx_http_klaviyo_budget_check(s->budget,
                                      ngx_http_klaviyo_sender_clock());
        ngx_http_klaviyo_report_mode(s);
    }

    if (owner) {
        (void) ngx_http_klaviyo_rescue_scan(&s->rescue);

        if (ngx_http_klaviyo_overflow_followed(s)) {
            ngx_http_klaviyo_spool_leave(&s->spool, 0);
        }

        ngx_http_klaviyo_spool_scan(&s->spool);

    } else {
        s->owner = 0;
        ngx_http_klaviyo_sender_drop_held(s);
        ngx_http_klaviyo_rescue_close(&s->rescue);
        ngx_http_klaviyo_spool_close(&s->spool, 0);
    }

    /* the owner of a slot may have died meanwhile */
    s->waiting = 1;

    ngx_http_klaviyo_report_deaths(s);
}


/*
 * Accounts that a reload has removed keep their states as long as their last
 * processes live.  A newer process than this one may have begun to write.
 */

static void
ngx_http_klaviyo_sender_settle(ngx_http_klaviyo_sender_t *s)
{
    ngx_http_klaviyo_control_t        *control;
    ngx_http_klaviyo_account_state_t  *state;

    control = s->account->ring->control;

    if (ngx_http_klaviyo_control_newest(control) > control->generation) {
        return;
    }

    state = ngx_http_klaviyo_control_account(control, s->account->key);
    if (state == NULL) {
        return;
    }

    ngx_http_klaviyo_control_move(state, s->state);

    s->state = state;
    s->spool.state = state;
    s->budget = (ngx_http_klaviyo_budget_t *) state->budget;
    s->rate.budget = s->budget;
    s->homeless = 0;
}


ngx_msec_t
ngx_http_klaviyo_sender_run(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_t  next, wait;

    /*
     * A newer one may have taken the ring within this second: a request that
     * is counted and not made would be missing from the rate.
     */

    if (!s->owner || !s->claim
        || !ngx_http_klaviyo_ring_owned(s->account->ring))
    {
        return NGX_TIMER_INFINITE;
    }

    (void) ngx_http_klaviyo_overflow_rescue(s);

    next = ngx_http_klaviyo_overflow_in(s);
    wait = ngx_http_klaviyo_sender_work(s);

    return ngx_min(next, wait);
}


static ngx_msec_t
ngx_http_klaviyo_sender_work(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_t  wait;

    for ( ;; ) {
        wait = ngx_http_klaviyo_sender_blocked(s);
        if (wait) {
            return wait;
        }

        ngx_http_klaviyo_overflow_out(s);

        wait = ngx_http_klaviyo_sender_due(s);
        if (wait) {
            return wait;
        }

        wait = ngx_http_klaviyo_sender_budget(s);
        if (wait) {
            return wait;
        }

        if (ngx_http_klaviyo_sender_send(s) != NGX_OK) {
            return NGX_HTTP_KLAVIYO_TICK;
        }
    }
}


static ngx_msec_t
ngx_http_klaviyo_sender_blocked(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_int_t  left;

    if (s->in_flight >= (s->probe ? 1 : NGX_HTTP_KLAVIYO_IN_FLIGHT)) {
        return NGX_HTTP_KLAVIYO_TICK_BLOCKED;
    }

    if (!s->blocked) {
        return 0;
    }

    left = (ngx_msec_int_t) (s->next - ngx_current_msec);

    if (left > 0) {
        return left;
    }

    s->blocked = 0;

    return 0;
}


/*
 * What waits goes first, since it is older.  In a fault every other probe takes
 * new events, and what waits is tried in turn: it may be what is wrong.
 */

static ngx_msec_t
ngx_http_klaviyo_sender_due(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_t                     wait;
    ngx_http_klaviyo_account_t    *account;
    ngx_http_klaviyo_ring_stat_t   stat;

    account = s->account;

    ngx_http_klaviyo_ring_stat(account->ring, &stat);

    wait = NGX_TIMER_INFINITE;

    if (s->held == NGX_DECLINED && !s->probe) {
        s->held = ngx_http_klaviyo_trouble_due(s, &wait);
    }

    if (s->held == NGX_DECLINED && s->waiting
        && !(s->fault && s->fresh && stat.unclaimed))
    {
        if (!s->fault) {
            s->place = 0;
        }

        s->held = ngx_http_klaviyo_ring_adopt_next(account->ring, &s->place);

        if (s->held == NGX_DECLINED) {
            s->waiting = 0;
        }
    }

    if (s->held != NGX_DECLINED) {
        return 0;
    }

    if (stat.unclaimed == 0) {

        /* nothing else to try with */

        if (s->probe) {
            s->held = ngx_http_klaviyo_trouble_due(s, &wait);
        }

        return (s->held == NGX_DECLINED) ? wait : 0;
    }

    if (s->hurry
        || stat.unclaimed >= account->batch_events
        || stat.unclaimed_bytes >= ngx_http_klaviyo_sender_bytes(s)
        || stat.oldest >= account->linger)
    {
        return 0;
    }

    wait = ngx_min(wait, account->linger - stat.oldest);

    return ngx_min(wait, NGX_HTTP_KLAVIYO_TICK);
}


static ngx_msec_t
ngx_http_klaviyo_sender_budget(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_t  wait;

    wait = ngx_http_klaviyo_rate_take(&s->rate,
                                      ngx_http_klaviyo_sender_clock());
    if (wait) {
        ngx_http_klaviyo_report_throttled(s, wait);

    } else {
        ngx_http_klaviyo_report_mode(s);
    }

    return wait;
}


static size_t
ngx_http_klaviyo_sender_bytes(ngx_http_klaviyo_sender_t *s)
{
    size_t  bytes;

    bytes = s->account->batch_bytes;

    return (bytes > NGX_HTTP_KLAVIYO_API_ENVELOPE)
           ? bytes - NGX_HTTP_KLAVIYO_API_ENVELOPE : 1;
}


static ngx_int_t
ngx_http_klaviyo_sender_send(ngx_http_klaviyo_sender_t *s)
{
    time_t                      before;
    ngx_int_t                   slot;
    ngx_uint_t                  i;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_flight_t  *flight;

    ring = s->account->ring;

    slot = ngx_http_klaviyo_sender_slot(s);
    if (slot == NGX_DECLINED) {
        return NGX_DECLINED;
    }

    /*
     * Whether it is backfill is decided now for good, "no" too: what was sent
     * once must stay the same even if the configuration changes.
     */

    before = (s->account->backfill == NGX_HTTP_KLAVIYO_BACKFILL_AFTER)
             ? ngx_time() - s->account->backfill_after : 0;

    ngx_http_klaviyo_ring_backfill(ring, slot, before);

    for (i = 0; i < NGX_HTTP_KLAVIYO_IN_FLIGHT - 1; i++) {
        if (s->flights[i].call == NULL) {
            break;
        }
    }

    flight = &s->flights[i];
    flight->round = s->round;
    flight->since = ngx_current_msec;

    if (ngx_http_klaviyo_batch_open(&flight->batch, s->account->lane, ring,
                                    slot)
        == 0)
    {
        ngx_http_klaviyo_ring_finish(ring, slot);
        return NGX_OK;
    }

    flight->queued = ngx_http_klaviyo_ring_first(ring, slot)->msec;

    ngx_http_klaviyo_count(s->state, requests);

    if (s->account->dry_run) {
        ngx_http_klaviyo_outcome_dry_run(flight);

    } else {
        ngx_http_klaviyo_sender_post(flight);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_sender_slot(ngx_http_klaviyo_sender_t *s)
{
    ngx_int_t  slot;

    slot = s->held;

    if (slot == NGX_DECLINED) {
        s->fresh = 0;

        slot = ngx_http_klaviyo_ring_claim(s->account->ring,
                                           s->account->batch_events,
                                           ngx_http_klaviyo_sender_bytes(s),
                                           NULL);
    } else {
        s->held = NGX_DECLINED;
        s->fresh = 1;

        ngx_http_klaviyo_count(s->state, retries);
    }

    if (s->fault && slot != NGX_DECLINED) {
        ngx_http_klaviyo_sender_narrow(s, slot);
    }

    return slot;
}


/*
 * One bad event has a batch refused, and in a fault it isn't looked for: only
 * one that goes alone can prove that Klaviyo accepts others.
 */

static void
ngx_http_klaviyo_sender_narrow(ngx_http_klaviyo_sender_t *s, ngx_int_t slot)
{
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_record_t  *record;

    ring = s->account->ring;

    record = ngx_http_klaviyo_ring_first(ring, slot);

    if (record) {
        record = ngx_http_klaviyo_ring_next(ring, slot, record);
    }

    /* if no slot is free, all of it is the probe */

    if (record && ngx_http_klaviyo_ring_split(ring, slot, record) == NGX_OK) {
        ngx_http_klaviyo_trouble_forget(s, slot);
        s->waiting = 1;
    }
}


static void
ngx_http_klaviyo_sender_post(ngx_http_klaviyo_flight_t *flight)
{
    ngx_http_klaviyo_post_t     post;
    ngx_http_klaviyo_answer_t   answer;
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    ngx_memzero(&post, sizeof(ngx_http_klaviyo_post_t));

    post.account = s->account;
    post.path = flight->batch.api->path;
    post.length = flight->batch.length;
    post.read = ngx_http_klaviyo_batch_read;
    post.rewind = ngx_http_klaviyo_batch_rewind;
    post.done = ngx_http_klaviyo_sender_done;
    post.data = flight;

    flight->call = ngx_http_klaviyo_transport_post(s->transport, &post);

    if (flight->call == NULL) {
        ngx_http_klaviyo_api_init(&answer);
        ngx_str_set(&answer.failure, "the request could not be started");
        ngx_http_klaviyo_outcome_failed(flight, &answer);
        return;
    }

    s->in_flight++;
    ngx_http_klaviyo_report_in_flight(s);

    ngx_log_debug4(NGX_LOG_DEBUG_CORE, s->log, 0,
                   "klaviyo account \"%V\": slot %i, %ui events, %uz bytes",
                   &s->account->name, flight->batch.slot,
                   flight->batch.events, flight->batch.length);
}


static void
ngx_http_klaviyo_sender_done(void *data, ngx_http_klaviyo_answer_t *answer,
    ngx_pool_t *pool)
{
    ngx_http_klaviyo_flight_t *flight = data;

    ngx_http_klaviyo_sender_t   *s;
    ngx_http_klaviyo_verdict_t   verdict;

    s = flight->sender;

    flight->call = NULL;

    s->in_flight--;

    ngx_http_klaviyo_report_in_flight(s);

    if (s->owner && answer->remaining != (ngx_uint_t) -1) {
        ngx_http_klaviyo_budget_observe(s->budget,
                                        ngx_http_klaviyo_sender_clock(),
                                        answer->limit, answer->remaining,
                                        answer->reset);
    }

    ngx_http_klaviyo_api_judge(answer, s->account->lane, flight->batch.events,
                               pool, &verdict);

    ngx_http_klaviyo_report_answer(s, answer, &verdict);
    ngx_http_klaviyo_outcome(flight, answer, &verdict);

    s->ended(s->data);
}


void
ngx_http_klaviyo_sender_drain(ngx_http_klaviyo_sender_t *s, ngx_uint_t claim)
{
    s->hurry = 1;
    s->claim = (claim != 0);

    if (s->mode == NGX_HTTP_KLAVIYO_SENDER_BACKOFF) {
        s->blocked = 0;
        ngx_http_klaviyo_trouble_back(s);
    }

    if (!s->claim) {
        ngx_http_klaviyo_sender_drop_held(s);
    }
}


ngx_uint_t
ngx_http_klaviyo_sender_stop(ngx_http_klaviyo_sender_t *s)
{
    ngx_uint_t                  i, left;
    ngx_http_klaviyo_flight_t  *flight;

    for (i = 0; i < NGX_HTTP_KLAVIYO_IN_FLIGHT; i++) {
        flight = &s->flights[i];

        if (flight->call == NULL) {
            continue;
        }

        ngx_http_klaviyo_transport_cancel(flight->call);
        flight->call = NULL;

        ngx_http_klaviyo_ring_release(s->account->ring, flight->batch.slot);
    }

    s->in_flight = 0;

    ngx_http_klaviyo_sender_drop_held(s);
    ngx_http_klaviyo_report_in_flight(s);

    left = 0;

    if (ngx_http_klaviyo_ring_owned(s->account->ring)) {
        left = ngx_http_klaviyo_spool_all(&s->spool);

        if (left == 0 && ngx_http_klaviyo_ring_obsolete(s->account->ring)) {
            ngx_http_klaviyo_ring_file_forget(s->spool.directory,
                                              s->account->ring,
                                              &s->account->name);
        }
    }

    ngx_http_klaviyo_rescue_close(&s->rescue);
    ngx_http_klaviyo_spool_close(&s->spool, 0);

    ngx_http_klaviyo_report_stop(s);

    return left;
}


static void
ngx_http_klaviyo_sender_drop_held(ngx_http_klaviyo_sender_t *s)
{
    ngx_http_klaviyo_trouble_release(s);

    if (s->held == NGX_DECLINED) {
        return;
    }

    ngx_http_klaviyo_ring_release(s->account->ring, s->held);

    s->held = NGX_DECLINED;
    s->waiting = 1;
}


uint64_t
ngx_http_klaviyo_sender_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
