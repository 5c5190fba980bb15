
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What a sender lets people know.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_report.h"
#include "ngx_http_klaviyo_words.h"


/* of libcurl's words, or of a status with Klaviyo's code */
#define NGX_HTTP_KLAVIYO_REPORT_LEN  256


static void ngx_http_klaviyo_report_state(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_sender_e mode, ngx_msec_int_t left);
static void ngx_http_klaviyo_report_took(
    ngx_http_klaviyo_account_state_t *state, ngx_msec_t duration);
static void ngx_http_klaviyo_report_code(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_report_refusals(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);
static ngx_uint_t ngx_http_klaviyo_report_repeated(
    ngx_http_klaviyo_verdict_t *verdict, ngx_uint_t error);
static void ngx_http_klaviyo_report_refusal(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_refusal_t *refusal);
static void ngx_http_klaviyo_report_words(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, ngx_str_t *words);
static ngx_uint_t ngx_http_klaviyo_report_seconds(ngx_msec_t msec);


void
ngx_http_klaviyo_report_mode(ngx_http_klaviyo_sender_t *s)
{
    ngx_msec_int_t  left;

    if (!s->owner) {
        return;
    }

    left = s->blocked ? (ngx_msec_int_t) (s->next - ngx_current_msec) : 0;

    ngx_http_klaviyo_report_state(s, s->mode, left);
    ngx_http_klaviyo_report_in_flight(s);
}


static void
ngx_http_klaviyo_report_state(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_sender_e mode, ngx_msec_int_t left)
{
    ngx_http_klaviyo_account_state_t  *state;

    state = s->state;

    if (state->state != mode || state->since == 0) {
        state->state = mode;
        state->since = ngx_time();
    }

    state->retry_at = (left > 0) ? ngx_time()
                                   + ngx_http_klaviyo_report_seconds(left)
                                 : 0;
}


/* Set, not counted: a process that is killed can't count down */

void
ngx_http_klaviyo_report_in_flight(ngx_http_klaviyo_sender_t *s)
{
    if (s->owner) {
        s->state->in_flight = s->in_flight;
    }
}


void
ngx_http_klaviyo_report_throttled(ngx_http_klaviyo_sender_t *s,
    ngx_msec_t wait)
{
    if (s->mode != NGX_HTTP_KLAVIYO_SENDER_OK) {
        return;
    }

    ngx_http_klaviyo_report_state(s, NGX_HTTP_KLAVIYO_SENDER_THROTTLED, wait);
}


void
ngx_http_klaviyo_report_answer(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_uint_t                         n;
    ngx_http_klaviyo_account_state_t  *state;

    state = s->state;

    n = answer->status / 100;

    ngx_http_klaviyo_count(state, answers[n < 6 ? n : 5]);

    state->last_status = answer->status;

    if (answer->status) {
        ngx_http_klaviyo_count_n(state, duration, answer->duration);
        ngx_http_klaviyo_count(state, durations);
        ngx_http_klaviyo_report_took(state, answer->duration);
    }

    if (verdict->verdict != NGX_HTTP_KLAVIYO_VERDICT_DONE) {
        state->last_failed = ngx_time();
        ngx_http_klaviyo_report_code(s, verdict);
        ngx_http_klaviyo_report_refusals(s, answer, verdict);
    }

    if (answer->remaining != (ngx_uint_t) -1) {
        state->quota_left = answer->remaining + 1;
    }
}


static void
ngx_http_klaviyo_report_took(ngx_http_klaviyo_account_state_t *state,
    ngx_msec_t duration)
{
    ngx_uint_t  i;

    static ngx_msec_t  most[] = NGX_HTTP_KLAVIYO_DURATIONS;

    for (i = 0; i < NGX_HTTP_KLAVIYO_NDURATIONS - 1; i++) {
        if (duration <= most[i]) {
            break;
        }
    }

    ngx_http_klaviyo_count(state, took[i]);
}


/* What Klaviyo sends is not trusted to be a code */

static void
ngx_http_klaviyo_report_code(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_verdict_t *verdict)
{
    u_char                     ch, *p, *last;
    ngx_uint_t                 i;
    ngx_http_klaviyo_error_t  *error;

    p = s->state->last_code;
    last = p + sizeof(s->state->last_code) - 1;

    if (verdict->errors && verdict->errors->nelts) {
        error = verdict->errors->elts;

        for (i = 0; i < error->code.len && p < last; i++) {
            ch = ngx_tolower(error->code.data[i]);

            if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
                || ch == '_' || ch == '.' || ch == '-')
            {
                *p++ = ch;
            }
        }
    }

    *p = '\0';
}


/*
 * A repeated unique_id is none.  What libcurl says is of the connection,
 * Klaviyo's words may quote an event.
 */

static void
ngx_http_klaviyo_report_refusals(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_error_t   *error;
    ngx_http_klaviyo_refusal_t  t;

    ngx_memzero(&t, sizeof(ngx_http_klaviyo_refusal_t));

    t.status = answer->status;

    if (verdict->errors == NULL || verdict->errors->nelts == 0) {
        ngx_cpystrn(t.detail, answer->failure.data,
                    ngx_min(answer->failure.len + 1, sizeof(t.detail)));
        ngx_http_klaviyo_report_refusal(s, &t);
        return;
    }

    error = verdict->errors->elts;

    ngx_memcpy(t.code, s->state->last_code, sizeof(t.code));

    for (i = 0; i < ngx_min(verdict->errors->nelts,
                            NGX_HTTP_KLAVIYO_REFUSALS); i++)
    {
        if (ngx_http_klaviyo_report_repeated(verdict, i)) {
            continue;
        }

        ngx_http_klaviyo_words(t.title, sizeof(t.title), &error[i].title);
        ngx_http_klaviyo_words(t.detail, sizeof(t.detail), &error[i].detail);
        ngx_http_klaviyo_words_pointer(t.pointer, sizeof(t.pointer),
                                       &error[i].pointer);

        ngx_http_klaviyo_report_refusal(s, &t);
    }
}


static ngx_uint_t
ngx_http_klaviyo_report_repeated(ngx_http_klaviyo_verdict_t *verdict,
    ngx_uint_t error)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_entry_t  *entries;

    if (verdict->entries == NULL) {
        return verdict->repeated;
    }

    entries = verdict->entries->elts;

    for (i = 0; i < verdict->entries->nelts; i++) {
        if (entries[i].error == error) {
            return entries[i].repeated;
        }
    }

    return 0;
}


/* The same once more, or in the place of what is the longest ago */

static void
ngx_http_klaviyo_report_refusal(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_refusal_t *refusal)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_refusal_t  *t, *oldest;

    oldest = NULL;

    for (i = 0; i < NGX_HTTP_KLAVIYO_REFUSALS; i++) {
        t = &s->state->refusals[i];

        if (t->count && !t->writing && t->status == refusal->status
            && ngx_strcmp(t->code, refusal->code) == 0
            && ngx_strcmp(t->title, refusal->title) == 0
            && ngx_strcmp(t->detail, refusal->detail) == 0
            && ngx_strcmp(t->pointer, refusal->pointer) == 0)
        {
            t->count++;
            t->last = ngx_time();
            t->order = ++s->state->order;
            return;
        }

        if (oldest == NULL || t->order < oldest->order) {
            oldest = t;
        }
    }

    /* a process that is killed here leaves what nobody reads */

    oldest->writing = 1;
    ngx_memory_barrier();

    oldest->count = 1;
    oldest->order = ++s->state->order;
    oldest->first = ngx_time();
    oldest->last = ngx_time();
    oldest->status = refusal->status;
    ngx_memcpy(oldest->code, refusal->code, sizeof(refusal->code));
    ngx_memcpy(oldest->title, refusal->title, sizeof(refusal->title));
    ngx_memcpy(oldest->detail, refusal->detail, sizeof(refusal->detail));
    ngx_memcpy(oldest->pointer, refusal->pointer, sizeof(refusal->pointer));

    ngx_memory_barrier();
    oldest->writing = 0;
}


void
ngx_http_klaviyo_report_sent(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer)
{
    ngx_http_klaviyo_sender_t  *s;

    s = flight->sender;

    s->state->last_sent = ngx_time();
    s->state->delay = (uint32_t) ngx_current_msec - flight->queued;

    if (answer->status >= 200 && answer->status < 300) {
        ngx_http_klaviyo_count_n(s->state, bytes, flight->batch.length);
    }

    ngx_log_error(NGX_LOG_INFO, s->log, 0,
                  "klaviyo account \"%V\": %ui events sent, "
                  "%uz bytes, status %ui, %Mms",
                  &s->account->name, flight->batch.events,
                  flight->batch.length, answer->status,
                  answer->status ? answer->duration : 0);
}


/*
 * An account that ceases to work is worth a warning; that it still doesn't, a
 * line at most once a second.
 */

void
ngx_http_klaviyo_report_failed(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer)
{
    u_char      buf[NGX_HTTP_KLAVIYO_REPORT_LEN];
    ngx_str_t   words;
    ngx_uint_t  level;

    s->state->last_failed = ngx_time();

    ngx_http_klaviyo_report_mode(s);

    if (s->told != s->mode) {
        s->told = s->mode;
        level = NGX_LOG_WARN;

    } else if (s->told_failed != ngx_time()) {
        level = NGX_LOG_INFO;

    } else {
        return;
    }

    s->told_failed = ngx_time();

    words.data = buf;
    ngx_http_klaviyo_report_words(s, answer, &words);

    ngx_log_error(level, s->log, 0,
                  "klaviyo account \"%V\": %s: %V, failed requests: %ui, "
                  "next try in %Mms",
                  &s->account->name,
                  (s->mode == NGX_HTTP_KLAVIYO_SENDER_THROTTLED)
                  ? "Klaviyo asks to wait" : "Klaviyo is not available",
                  &words, s->failed, s->next - ngx_current_msec);
}


void
ngx_http_klaviyo_report_stopped(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, char *reason)
{
    u_char      buf[NGX_HTTP_KLAVIYO_REPORT_LEN];
    ngx_str_t   words;
    ngx_uint_t  level;

    ngx_http_klaviyo_report_mode(s);
    ngx_http_klaviyo_report_deaths(s);

    if (s->told != s->mode || s->told_reason != reason) {
        s->told = s->mode;
        s->told_reason = reason;
        level = NGX_LOG_ALERT;

    } else {
        level = NGX_LOG_INFO;
    }

    words.data = buf;
    ngx_http_klaviyo_report_words(s, answer, &words);

    ngx_log_error(level, s->log, 0,
                  "klaviyo account \"%V\": %s with %V, sending is stopped, "
                  "nothing is lost; next try in %uis",
                  &s->account->name, reason, &words,
                  NGX_HTTP_KLAVIYO_STOPPED / 1000);
}


/* "words->data" has room for NGX_HTTP_KLAVIYO_REPORT_LEN bytes */

static void
ngx_http_klaviyo_report_words(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, ngx_str_t *words)
{
    u_char  *p, *last;

    p = words->data;
    last = p + NGX_HTTP_KLAVIYO_REPORT_LEN;

    if (answer->status == 0) {
        p = ngx_slprintf(p, last, "%V", &answer->failure);

    } else {
        p = ngx_slprintf(p, last, "status %ui", answer->status);

        if (s->state->last_code[0]) {
            p = ngx_slprintf(p, last, " (code \"%s\")", s->state->last_code);
        }
    }

    words->len = p - words->data;
}


void
ngx_http_klaviyo_report_back(ngx_http_klaviyo_sender_t *s)
{
    if (s->told != NGX_HTTP_KLAVIYO_SENDER_OK) {
        ngx_log_error(NGX_LOG_NOTICE, s->log, 0,
                      "klaviyo account \"%V\": Klaviyo takes events again, "
                      "failed requests: %ui",
                      &s->account->name, s->failed);
    }

    s->told = NGX_HTTP_KLAVIYO_SENDER_OK;
    s->told_reason = NULL;
    s->failed = 0;

    ngx_http_klaviyo_report_mode(s);
}


void
ngx_http_klaviyo_report_died(ngx_http_klaviyo_sender_t *s, ngx_uint_t status,
    ngx_uint_t kept)
{
    s->died_status = status;

    if (kept) {
        s->died++;
        s->unkept = 0;
        return;
    }

    if (s->unkept++ == 0) {
        ngx_log_error(NGX_LOG_ALERT, s->log, 0,
                      "klaviyo account \"%V\": the dead letters in \"%V\" "
                      "are full, what Klaviyo refuses is dropped until they "
                      "are moved away",
                      &s->account->name, &s->dead.path);
    }
}


void
ngx_http_klaviyo_report_unwritten(ngx_http_klaviyo_sender_t *s)
{
    if (s->unwritten++ == 0) {
        ngx_log_error(NGX_LOG_WARN, s->log, 0,
                      "klaviyo account \"%V\": \"%V\" is full, what would "
                      "be sent is no longer written to it",
                      &s->account->name, &s->dry_run.path);
    }
}


void
ngx_http_klaviyo_report_stop(ngx_http_klaviyo_sender_t *s)
{
    ngx_http_klaviyo_report_deaths(s);

    if (s->unwritten) {
        ngx_log_error(NGX_LOG_WARN, s->log, 0,
                      "klaviyo account \"%V\": %ui requests were not written "
                      "to \"%V\"",
                      &s->account->name, s->unwritten, &s->dry_run.path);
    }
}


void
ngx_http_klaviyo_report_deaths(ngx_http_klaviyo_sender_t *s)
{
    if (s->died == 0) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, s->log, 0,
                  "klaviyo account \"%V\": Klaviyo refused with status %ui, "
                  "events: %ui, they are kept in \"%V\"",
                  &s->account->name, s->died_status, s->died, &s->dead.path);

    s->died = 0;
}


static ngx_uint_t
ngx_http_klaviyo_report_seconds(ngx_msec_t msec)
{
    return (msec + 999) / 1000;
}
