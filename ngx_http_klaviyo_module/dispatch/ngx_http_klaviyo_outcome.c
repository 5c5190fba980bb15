
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What becomes of a range that was sent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_outcome.h"
#include "ngx_http_klaviyo_report.h"
#include "ngx_http_klaviyo_trouble.h"


static void ngx_http_klaviyo_outcome_learn(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_unlearn(
    ngx_http_klaviyo_flight_t *flight, ngx_http_klaviyo_answer_t *answer,
    ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_done(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer);
static void ngx_http_klaviyo_outcome_wait(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_again(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict,
    ngx_msec_t wait);
static void ngx_http_klaviyo_outcome_unanswered(
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_error_t *error);
static ngx_msec_t ngx_http_klaviyo_outcome_backoff(
    ngx_http_klaviyo_sender_t *s);
static void ngx_http_klaviyo_outcome_halve(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_single(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_pointed(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_isolate(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_outcome_entries(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static ngx_int_t ngx_http_klaviyo_outcome_bury(
    ngx_http_klaviyo_flight_t *flight, ngx_http_klaviyo_record_t *record,
    ngx_uint_t status, ngx_http_klaviyo_error_t *error);
static ngx_uint_t ngx_http_klaviyo_outcome_may_die(
    ngx_http_klaviyo_sender_t *s);
static void ngx_http_klaviyo_outcome_unburied(
    ngx_http_klaviyo_flight_t *flight, ngx_http_klaviyo_answer_t *answer,
    ngx_int_t rc);
static void ngx_http_klaviyo_outcome_stop(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, char *reason);
static ngx_uint_t ngx_http_klaviyo_outcome_keep(
    ngx_http_klaviyo_flight_t *flight, ngx_http_klaviyo_sender_e mode,
    ngx_msec_t wait);
static ngx_uint_t ngx_http_klaviyo_outcome_away(
    ngx_http_klaviyo_flight_t *flight, ngx_http_klaviyo_sender_e mode,
    ngx_msec_t wait);
static void ngx_http_klaviyo_outcome_reached(
    ngx_http_klaviyo_flight_t *flight);


void
ngx_http_klaviyo_outcome(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_http_klaviyo_outcome_learn(flight, answer, verdict);

    switch (verdict->verdict) {

    case NGX_HTTP_KLAVIYO_VERDICT_DONE:
        ngx_http_klaviyo_outcome_done(flight, answer);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_WAIT:
        ngx_http_klaviyo_outcome_wait(flight, answer, verdict);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_BACKOFF:
        ngx_http_klaviyo_outcome_again(flight, answer, verdict,
                             ngx_http_klaviyo_outcome_backoff(flight->sender));
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_STOP:
        ngx_http_klaviyo_outcome_stop(flight, answer,
                                      "Klaviyo refused the request");
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_HALVE:
        ngx_http_klaviyo_outcome_halve(flight, answer, verdict);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_ENTRIES:
        ngx_http_klaviyo_outcome_pointed(flight, answer, verdict);
        break;
    }
}


/*
 * Refused alone by an answer that points at it, the suspect was pointed at with
 * reason.  Refused by one that points elsewhere, it may be by chance: pointers
 * that count from 1 name the second of two bad ones.
 */

static void
ngx_http_klaviyo_outcome_learn(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (s->suspect == NULL
        || flight->batch.events != 1
        || s->suspect != ngx_http_klaviyo_ring_first(s->account->ring,
                                                     flight->batch.slot))
    {
        ngx_http_klaviyo_outcome_unlearn(flight, answer, verdict);
        return;
    }

    if (verdict->verdict == NGX_HTTP_KLAVIYO_VERDICT_ENTRIES) {
        s->pointers = NGX_HTTP_KLAVIYO_POINTERS_RIGHT;
        s->suspect = NULL;

    } else if (verdict->verdict == NGX_HTTP_KLAVIYO_VERDICT_DONE
               || (verdict->verdict == NGX_HTTP_KLAVIYO_VERDICT_HALVE
                   && answer->status == 400))
    {
        s->pointers = NGX_HTTP_KLAVIYO_POINTERS_WRONG;
        s->suspect = NULL;
    }
}


/*
 * What is left without those that were pointed at is refused again: there are
 * more bad ones, or the wrong ones were taken out.  The next pointer tells.
 */

static void
ngx_http_klaviyo_outcome_unlearn(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (s->pointers == NGX_HTTP_KLAVIYO_POINTERS_RIGHT
        && answer->status == 400
        && (verdict->verdict == NGX_HTTP_KLAVIYO_VERDICT_ENTRIES
            || verdict->verdict == NGX_HTTP_KLAVIYO_VERDICT_HALVE)
        && ngx_http_klaviyo_ring_gaps(s->account->ring, flight->batch.slot))
    {
        s->pointers = NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN;
    }
}


static void
ngx_http_klaviyo_outcome_done(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    ngx_http_klaviyo_trouble_over(flight);
    ngx_http_klaviyo_ring_finish(s->account->ring, flight->batch.slot);
    ngx_http_klaviyo_report_sent(flight, answer);

    s->row = 0;

    if (flight->round == s->round) {
        s->fault = 0;
    }

    ngx_http_klaviyo_outcome_reached(flight);
}


static void
ngx_http_klaviyo_outcome_wait(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    uint64_t                    now;
    ngx_msec_t                  wait;
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (verdict->wait == 0) {
        wait = ngx_http_klaviyo_outcome_backoff(s);

    } else {
        wait = ngx_min(verdict->wait, NGX_HTTP_KLAVIYO_MAX_PAUSE);

        /* whoever else sends, or comes next, must wait as well */

        if (s->owner) {
            now = ngx_http_klaviyo_sender_clock();

            ngx_http_klaviyo_budget_pause(s->budget, now, wait);
            ngx_http_klaviyo_rate_tell(&s->rate, now);
        }
    }

    if (answer->status != 429) {
        ngx_http_klaviyo_outcome_again(flight, answer, verdict, wait);
        return;
    }

    if (ngx_http_klaviyo_outcome_keep(flight,
                                      NGX_HTTP_KLAVIYO_SENDER_THROTTLED, wait))
    {
        ngx_http_klaviyo_report_failed(s, answer);
    }
}


/* It says nothing about the events: what else was accepted may */

static void
ngx_http_klaviyo_outcome_again(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict,
    ngx_msec_t wait)
{
    ngx_uint_t                   alone;
    ngx_array_t                  errors;
    ngx_http_klaviyo_error_t     error;
    ngx_http_klaviyo_sender_t   *s;
    ngx_http_klaviyo_trouble_e   trouble;

    s = flight->sender;

    trouble = ngx_http_klaviyo_trouble_failed(flight, wait, &alone);

    if (trouble == NGX_HTTP_KLAVIYO_TROUBLE_DEAD) {

        if (verdict->errors == NULL) {
            ngx_http_klaviyo_outcome_unanswered(answer, &error);

            ngx_memzero(&errors, sizeof(ngx_array_t));
            errors.elts = &error;
            errors.nelts = 1;

            verdict->errors = &errors;
        }

        ngx_http_klaviyo_outcome_single(flight, answer, verdict);
        return;
    }

    if (trouble == NGX_HTTP_KLAVIYO_TROUBLE_WAITS) {
        ngx_http_klaviyo_ring_release(s->account->ring, flight->batch.slot);
        s->waiting = 1;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_CORE, s->log, 0,
                   "klaviyo account \"%V\": slot %i failed, alone:%ui, %ui",
                   &s->account->name, flight->batch.slot, alone,
                   (ngx_uint_t) trouble);

    /* others are accepted: they go on, unless it is not known any more */

    if (alone && !s->probe) {
        return;
    }

    if (ngx_http_klaviyo_outcome_away(flight, NGX_HTTP_KLAVIYO_SENDER_BACKOFF,
                                      wait))
    {
        ngx_http_klaviyo_report_failed(s, answer);
    }
}


/* There are no words of Klaviyo's */

static void
ngx_http_klaviyo_outcome_unanswered(ngx_http_klaviyo_answer_t *answer,
    ngx_http_klaviyo_error_t *error)
{
    ngx_memzero(error, sizeof(ngx_http_klaviyo_error_t));

    if (answer->status == 0) {
        ngx_str_set(&error->code, "no_answer");
        error->detail = answer->failure;

    } else {
        ngx_str_set(&error->code, "failed");
        ngx_str_set(&error->detail, "It failed alone while others were "
                                    "accepted.");
    }
}


void
ngx_http_klaviyo_outcome_failed(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (ngx_http_klaviyo_outcome_keep(flight, NGX_HTTP_KLAVIYO_SENDER_BACKOFF,
                                      ngx_http_klaviyo_outcome_backoff(s)))
    {
        ngx_http_klaviyo_report_failed(s, answer);
    }
}


static ngx_msec_t
ngx_http_klaviyo_outcome_backoff(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_t  wait;

    wait = ngx_http_klaviyo_backoff(s->failures, s->account->retry_min,
                                    s->account->retry_max);

    return s->hurry ? ngx_min(wait, NGX_HTTP_KLAVIYO_HURRY) : wait;
}


/* Both halves wait: the run that follows sends them, as the budget allows */

static void
ngx_http_klaviyo_outcome_halve(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_http_klaviyo_sender_t  *s;
    ngx_http_klaviyo_record_t  *middle;

    s = flight->sender;

    middle = ngx_http_klaviyo_batch_middle(&flight->batch);

    if (middle == NULL) {
        ngx_http_klaviyo_outcome_single(flight, answer, verdict);
        return;
    }

    if (s->fault) {
        ngx_http_klaviyo_outcome_unburied(flight, answer, NGX_ABORT);
        return;
    }

    if (ngx_http_klaviyo_ring_split(s->account->ring, flight->batch.slot,
                                    middle)
        != NGX_OK)
    {
        /* no slot is free before others are finished */
        ngx_http_klaviyo_outcome_failed(flight, answer);
        return;
    }

    ngx_http_klaviyo_ring_release(s->account->ring, flight->batch.slot);

    s->waiting = 1;

    ngx_http_klaviyo_outcome_reached(flight);
}


static void
ngx_http_klaviyo_outcome_single(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_error_t   *error;
    ngx_http_klaviyo_record_t  *record;

    ring = flight->sender->account->ring;

    if (verdict->repeated) {
        ngx_http_klaviyo_outcome_done(flight, answer);
        return;
    }

    error = NULL;

    if (verdict->errors && verdict->errors->nelts) {
        error = verdict->errors->elts;
    }

    record = ngx_http_klaviyo_ring_first(ring, flight->batch.slot);

    rc = ngx_http_klaviyo_outcome_bury(flight, record, answer->status, error);

    if (rc != NGX_OK) {
        ngx_http_klaviyo_outcome_unburied(flight, answer, rc);
        return;
    }

    ngx_http_klaviyo_ring_finish(ring, flight->batch.slot);
    ngx_http_klaviyo_outcome_reached(flight);
}


/*
 * What Klaviyo's pointers count is not documented: until one has proved right,
 * no event dies of it, nor counts as one that Klaviyo knows.  If all are
 * pointed at, there is no doubt.
 */

static void
ngx_http_klaviyo_outcome_pointed(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (verdict->entries->nelts == flight->batch.events
        || s->pointers == NGX_HTTP_KLAVIYO_POINTERS_RIGHT)
    {
        ngx_http_klaviyo_outcome_entries(flight, answer, verdict);

    } else if (s->pointers == NGX_HTTP_KLAVIYO_POINTERS_WRONG || s->fault) {
        ngx_http_klaviyo_outcome_halve(flight, answer, verdict);

    } else {
        ngx_http_klaviyo_outcome_isolate(flight, answer, verdict);
    }
}


/* The first entry that is pointed at goes alone, as do those around it */

static void
ngx_http_klaviyo_outcome_isolate(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_int_t                   slot;
    ngx_uint_t                  i;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_entry_t   *entries;
    ngx_http_klaviyo_sender_t  *s;
    ngx_http_klaviyo_record_t  *first, *record, *next;

    s = flight->sender;
    ring = s->account->ring;
    slot = flight->batch.slot;

    entries = verdict->entries->elts;

    first = ngx_http_klaviyo_ring_first(ring, slot);
    record = first;

    for (i = 0; i < entries[0].index; i++) {
        record = ngx_http_klaviyo_ring_next(ring, slot, record);
    }

    next = ngx_http_klaviyo_ring_next(ring, slot, record);

    if ((next
         && ngx_http_klaviyo_ring_split(ring, slot, next) != NGX_OK)
        || (record != first
            && ngx_http_klaviyo_ring_split(ring, slot, record) != NGX_OK))
    {
        /* no slot is free before others are finished */
        ngx_http_klaviyo_outcome_failed(flight, answer);
        return;
    }

    ngx_http_klaviyo_ring_release(ring, slot);

    s->waiting = 1;
    s->suspect = record;

    ngx_http_klaviyo_outcome_reached(flight);
}


/* Each record's successor is asked for before it is taken out of the slot */

static void
ngx_http_klaviyo_outcome_entries(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_int_t                   rc, slot;
    ngx_uint_t                  i, n;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_entry_t   *entries;
    ngx_http_klaviyo_error_t   *errors;
    ngx_http_klaviyo_record_t  *record, *next;

    ring = flight->sender->account->ring;
    slot = flight->batch.slot;

    entries = verdict->entries->elts;
    errors = verdict->errors->elts;

    record = ngx_http_klaviyo_ring_first(ring, slot);

    for (i = 0, n = 0; record && n < verdict->entries->nelts; i++) {

        next = ngx_http_klaviyo_ring_next(ring, slot, record);

        if (entries[n].index != i) {
            record = next;
            continue;
        }

        if (entries[n].repeated) {
            ngx_http_klaviyo_ring_take(ring, record,
                                       NGX_HTTP_KLAVIYO_TAKEN_SENT);

        } else {
            rc = ngx_http_klaviyo_outcome_bury(flight, record, answer->status,
                                               &errors[entries[n].error]);

            if (rc != NGX_OK) {
                ngx_http_klaviyo_outcome_unburied(flight, answer, rc);
                return;
            }
        }

        record = next;
        n++;
    }

    if (ngx_http_klaviyo_ring_first(ring, slot)) {
        ngx_http_klaviyo_ring_release(ring, slot);
        flight->sender->waiting = 1;

    } else {
        ngx_http_klaviyo_ring_finish(ring, slot);
    }

    ngx_http_klaviyo_outcome_reached(flight);
}


/*
 * An event dies only after it is written down; where nobody has looked at the
 * letters until they are full it is dropped, or it would hold up all others.
 * NGX_ABORT: too many died, it must not.
 */

static ngx_int_t
ngx_http_klaviyo_outcome_bury(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_record_t *record, ngx_uint_t status,
    ngx_http_klaviyo_error_t *error)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_line_t     letter;
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (!ngx_http_klaviyo_outcome_may_die(s)) {
        return NGX_ABORT;
    }

    ngx_http_klaviyo_line_of(&letter, s->account->ring, record);

    rc = ngx_http_klaviyo_deadletter_write(&s->dead, status, error, &letter);

    s->state->spool_failed = (rc == NGX_ERROR);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_ring_take(s->account->ring, record,
                               (rc == NGX_OK)
                               ? NGX_HTTP_KLAVIYO_TAKEN_DEAD
                               : NGX_HTTP_KLAVIYO_TAKEN_DROPPED);

    s->row++;
    s->deaths++;

    ngx_http_klaviyo_report_died(s, status, rc == NGX_OK);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_outcome_may_die(ngx_http_klaviyo_sender_t *s)
{
    if (s->fault) {
        return 0;
    }

    if (ngx_current_msec - s->minute >= 60000) {
        s->minute = ngx_current_msec;
        s->deaths = 0;
    }

    return s->row < NGX_HTTP_KLAVIYO_DEATHS_ROW
           && s->deaths < NGX_HTTP_KLAVIYO_DEATHS_MINUTE;
}


static void
ngx_http_klaviyo_outcome_unburied(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_int_t rc)
{
    char  *reason;

    reason = "Klaviyo refused an event and no dead letter can be written";

    if (rc == NGX_ABORT) {
        flight->sender->fault = 1;
        reason = "Klaviyo refuses too many events";
    }

    ngx_http_klaviyo_outcome_stop(flight, answer, reason);
}


static void
ngx_http_klaviyo_outcome_stop(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, char *reason)
{
    if (ngx_http_klaviyo_outcome_keep(flight, NGX_HTTP_KLAVIYO_SENDER_STOPPED,
                                      NGX_HTTP_KLAVIYO_STOPPED))
    {
        ngx_http_klaviyo_report_stopped(flight->sender, answer, reason);
    }
}


/*
 * The range waits where it is.  Returns 1 if the account begins to wait now;
 * the requests that were out when an earlier one failed only tell the same.
 */

static ngx_uint_t
ngx_http_klaviyo_outcome_keep(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_sender_e mode, ngx_msec_t wait)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    ngx_http_klaviyo_ring_release(s->account->ring, flight->batch.slot);

    s->waiting = 1;

    return ngx_http_klaviyo_outcome_away(flight, mode, wait);
}


static ngx_uint_t
ngx_http_klaviyo_outcome_away(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_sender_e mode, ngx_msec_t wait)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    s->failed++;

    if (flight->round != s->round) {
        return 0;
    }

    if (s->mode != NGX_HTTP_KLAVIYO_SENDER_BACKOFF
        && s->mode != NGX_HTTP_KLAVIYO_SENDER_STOPPED)
    {
        s->since = ngx_current_msec;
    }

    s->round++;
    s->failures++;
    s->probe = 1;
    s->blocked = 1;
    s->next = ngx_current_msec + wait;
    s->mode = mode;

    return 1;
}


/* Klaviyo took the request for what it is, whatever it said of the events */

static void
ngx_http_klaviyo_outcome_reached(ngx_http_klaviyo_flight_t *flight)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    if (flight->round != s->round || s->fault) {
        return;
    }

    if (s->mode != NGX_HTTP_KLAVIYO_SENDER_OK) {
        ngx_http_klaviyo_trouble_back(s);
    }

    s->mode = NGX_HTTP_KLAVIYO_SENDER_OK;
    s->failures = 0;
    s->probe = 0;
    s->blocked = 0;

    ngx_http_klaviyo_report_back(s);
}


/* A full file loses nothing but the look at what would have been sent */

void
ngx_http_klaviyo_outcome_dry_run(ngx_http_klaviyo_flight_t *flight)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_answer_t   answer;
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    ngx_http_klaviyo_api_init(&answer);

    rc = ngx_http_klaviyo_deadletter_body(&s->dry_run, &flight->batch);

    if (rc == NGX_ERROR) {
        ngx_str_set(&answer.failure, "the dry run could not be written");
        ngx_http_klaviyo_outcome_failed(flight, &answer);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_klaviyo_report_unwritten(s);
    }

    ngx_http_klaviyo_outcome_done(flight, &answer);
}
