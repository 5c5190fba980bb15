
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The status as JSON, for programs and for people who read JSON: see
 * docs/status.md.  The version grows when a member goes or means something
 * else, not when one comes.
 */


#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_version.h"


#define NGX_HTTP_KLAVIYO_STATUS_VERSION  1


static json_t *ngx_http_klaviyo_status_root(ngx_http_klaviyo_view_t *view);
static json_t *ngx_http_klaviyo_status_health(
    ngx_http_klaviyo_health_t *health);
static json_t *ngx_http_klaviyo_status_memory(
    ngx_http_klaviyo_memory_stat_t *memory);
static json_t *ngx_http_klaviyo_status_dispatcher(
    ngx_http_klaviyo_view_t *view);
static json_t *ngx_http_klaviyo_status_account(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_account_view_t *av);
static void ngx_http_klaviyo_status_sender(json_t *json,
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_durations(
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_queue(
    ngx_http_klaviyo_ring_stat_t *stat);
static json_t *ngx_http_klaviyo_status_spool(
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_minute(
    ngx_http_klaviyo_account_view_t *av);
static json_t *ngx_http_klaviyo_status_history(time_t now,
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_errors(
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_error(ngx_http_klaviyo_refusal_t *t);
static json_t *ngx_http_klaviyo_status_rules(ngx_array_t *rules);
static json_t *ngx_http_klaviyo_status_events(
    ngx_http_klaviyo_counters_t *counters);
static json_t *ngx_http_klaviyo_status_reasons(ngx_str_t *names,
    ngx_atomic_t *counts, ngx_uint_t n);
static json_t *ngx_http_klaviyo_status_time(time_t sec);
static json_t *ngx_http_klaviyo_status_string(ngx_str_t *s);
static int ngx_http_klaviyo_status_dump(const char *text, size_t len,
    void *data);


#define ngx_http_klaviyo_status_set(json, name, n)                            \
    (void) json_object_set_new(json, name, json_integer((json_int_t) (n)))

#define ngx_http_klaviyo_status_put(json, name, value)                        \
    (void) json_object_set_new(json, name, value)


ngx_int_t
ngx_http_klaviyo_status_json(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    int      rc;
    json_t  *json;

    json = ngx_http_klaviyo_status_root(view);

    if (json == NULL) {
        return NGX_ERROR;
    }

    rc = json_dump_callback(json, ngx_http_klaviyo_status_dump, out,
                            JSON_INDENT(2));
    json_decref(json);

    ngx_http_klaviyo_output(out, (u_char *) "\n", 1);

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


/*
 * "<" is in texts only.  Escaped, the same JSON may stand in an HTML document,
 * where "</script>" or "<!--" would end it.
 */

static int
ngx_http_klaviyo_status_dump(const char *text, size_t len, void *data)
{
    ngx_http_klaviyo_output_t *out = data;

    u_char  *p, *s, *last;

    p = (u_char *) text;
    last = p + len;

    for (s = p; s < last; s++) {
        if (*s == '<') {
            ngx_http_klaviyo_output(out, p, s - p);
            ngx_http_klaviyo_output_text(out, "\\u003c");
            p = s + 1;
        }
    }

    ngx_http_klaviyo_output(out, p, last - p);

    return out->failed ? -1 : 0;
}


static json_t *
ngx_http_klaviyo_status_root(ngx_http_klaviyo_view_t *view)
{
    json_t                           *json, *accounts;
    ngx_uint_t                        i;
    ngx_http_klaviyo_account_view_t  *av;

    json = json_object();
    accounts = json_object();

    if (json == NULL || accounts == NULL) {
        json_decref(json);
        json_decref(accounts);
        return NULL;
    }

    ngx_http_klaviyo_status_set(json, "version",
                                NGX_HTTP_KLAVIYO_STATUS_VERSION);
    ngx_http_klaviyo_status_put(json, "nginx", json_string(NGINX_VERSION));
    ngx_http_klaviyo_status_put(json, "module",
                                json_string(NGX_HTTP_KLAVIYO_VERSION));
    ngx_http_klaviyo_status_put(json, "time",
                                ngx_http_klaviyo_status_time(view->now));
    ngx_http_klaviyo_status_put(json, "health",
                              ngx_http_klaviyo_status_health(&view->health));
    ngx_http_klaviyo_status_put(json, "tail", json_boolean(view->tail));
    ngx_http_klaviyo_status_put(json, "accounts", accounts);

    if (view->accounts.nelts == 0) {
        return json;
    }

    ngx_http_klaviyo_status_set(json, "generation", view->generation);
    ngx_http_klaviyo_status_put(json, "dispatcher",
                                ngx_http_klaviyo_status_dispatcher(view));

    if (view->memory) {
        ngx_http_klaviyo_status_put(json, "memory",
                                 ngx_http_klaviyo_status_memory(view->memory));
    }

    av = view->accounts.elts;

    for (i = 0; i < view->accounts.nelts; i++) {
        (void) json_object_setn_new_nocheck(accounts,
                                  (char *) av[i].account->name.data,
                                  av[i].account->name.len,
                                  ngx_http_klaviyo_status_account(view,
                                                                  &av[i]));
    }

    ngx_http_klaviyo_status_put(json, "total",
                               ngx_http_klaviyo_status_events(&view->total));

    return json;
}


static json_t *
ngx_http_klaviyo_status_health(ngx_http_klaviyo_health_t *health)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_put(json, "level",
      ngx_http_klaviyo_status_string(&ngx_http_klaviyo_levels[health->level]));
    ngx_http_klaviyo_status_put(json, "text",
                              ngx_http_klaviyo_status_string(&health->text));

    return json;
}


static json_t *
ngx_http_klaviyo_status_memory(ngx_http_klaviyo_memory_stat_t *memory)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "size", memory->size);
    ngx_http_klaviyo_status_set(json, "used", memory->used);
    ngx_http_klaviyo_status_set(json, "slots", memory->slots);
    ngx_http_klaviyo_status_set(json, "entries", memory->entries);
    ngx_http_klaviyo_status_set(json, "oldest", memory->oldest);
    ngx_http_klaviyo_status_set(json, "stored", memory->stored);
    ngx_http_klaviyo_status_set(json, "evicted", memory->evicted);
    ngx_http_klaviyo_status_set(json, "hits", memory->hits);
    ngx_http_klaviyo_status_set(json, "misses", memory->misses);

    return json;
}


static json_t *
ngx_http_klaviyo_status_dispatcher(ngx_http_klaviyo_view_t *view)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "pid", view->pid);
    ngx_http_klaviyo_status_put(json, "alive", json_boolean(view->alive));
    ngx_http_klaviyo_status_put(json, "heartbeat",
                                ngx_http_klaviyo_status_time(view->beat));
    ngx_http_klaviyo_status_set(json, "starts", view->starts);
    ngx_http_klaviyo_status_set(json, "crashes", view->crashes);

    return json;
}


static json_t *
ngx_http_klaviyo_status_account(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_account_view_t *av)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_put(json, "health",
                                ngx_http_klaviyo_status_health(&av->health));

    if (av->state) {
        ngx_http_klaviyo_status_sender(json, av->state);
    }

    ngx_http_klaviyo_status_put(json, "dry_run",
                                json_boolean(av->account->dry_run));
    ngx_http_klaviyo_status_put(json, "queue",
                                ngx_http_klaviyo_status_queue(&av->queue));
    ngx_http_klaviyo_status_put(json, "spool",
                                av->state
                                ? ngx_http_klaviyo_status_spool(av->state)
                                : json_null());
    ngx_http_klaviyo_status_put(json, "last_minute",
                                ngx_http_klaviyo_status_minute(av));

    if (av->state) {
        ngx_http_klaviyo_status_put(json, "history",
                                ngx_http_klaviyo_status_history(view->now,
                                                                av->state));
        ngx_http_klaviyo_status_put(json, "errors",
                                  ngx_http_klaviyo_status_errors(av->state));
    }

    ngx_http_klaviyo_status_put(json, "events",
                                ngx_http_klaviyo_status_events(&av->events));
    ngx_http_klaviyo_status_put(json, "rules",
                                ngx_http_klaviyo_status_rules(&av->rules));

    return json;
}


static void
ngx_http_klaviyo_status_sender(json_t *json,
    ngx_http_klaviyo_account_state_t *state)
{
    json_t      *answers;
    ngx_uint_t   i;

    ngx_http_klaviyo_status_put(json, "state",
       ngx_http_klaviyo_status_string(&ngx_http_klaviyo_states[state->state]));
    ngx_http_klaviyo_status_put(json, "since",
                                ngx_http_klaviyo_status_time(state->since));
    ngx_http_klaviyo_status_set(json, "in_flight", state->in_flight);
    ngx_http_klaviyo_status_set(json, "requests", state->requests);
    ngx_http_klaviyo_status_set(json, "retries", state->retries);
    ngx_http_klaviyo_status_set(json, "bytes", state->bytes);

    answers = json_object();

    for (i = 0; i < NGX_HTTP_KLAVIYO_NANSWERS; i++) {
        ngx_http_klaviyo_status_set(answers,
                                 (char *) ngx_http_klaviyo_answers[i].data,
                                 state->answers[i]);
    }

    ngx_http_klaviyo_status_put(json, "answers", answers);

    ngx_http_klaviyo_status_set(json, "duration_ms", state->duration);
    ngx_http_klaviyo_status_put(json, "durations",
                                ngx_http_klaviyo_status_durations(state));
    ngx_http_klaviyo_status_set(json, "delay_ms", state->delay);
    ngx_http_klaviyo_status_set(json, "last_status", state->last_status);
    ngx_http_klaviyo_status_put(json, "last_code",
                                json_string((char *) state->last_code));
    ngx_http_klaviyo_status_put(json, "last_sent",
                              ngx_http_klaviyo_status_time(state->last_sent));
    ngx_http_klaviyo_status_put(json, "last_failed",
                            ngx_http_klaviyo_status_time(state->last_failed));
    ngx_http_klaviyo_status_put(json, "retry_at",
                               ngx_http_klaviyo_status_time(state->retry_at));
    ngx_http_klaviyo_status_put(json, "quota_left",
                   state->quota_left ? json_integer(state->quota_left - 1)
                                     : json_null());
}


/* [ 25, 3 ]: three took more than the one before and at most 25 ms */

static json_t *
ngx_http_klaviyo_status_durations(ngx_http_klaviyo_account_state_t *state)
{
    json_t      *json, *pair;
    ngx_uint_t   i;

    static ngx_msec_t  most[] = NGX_HTTP_KLAVIYO_DURATIONS;

    json = json_array();

    for (i = 0; i < NGX_HTTP_KLAVIYO_NDURATIONS; i++) {
        pair = json_array();

        (void) json_array_append_new(pair, i < NGX_HTTP_KLAVIYO_NDURATIONS - 1
                                           ? json_integer(most[i])
                                           : json_null());
        (void) json_array_append_new(pair, json_integer(state->took[i]));
        (void) json_array_append_new(json, pair);
    }

    return json;
}


static json_t *
ngx_http_klaviyo_status_queue(ngx_http_klaviyo_ring_stat_t *stat)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "size", stat->size);
    ngx_http_klaviyo_status_set(json, "used", stat->used);
    ngx_http_klaviyo_status_set(json, "events", stat->events);
    ngx_http_klaviyo_status_set(json, "unclaimed", stat->unclaimed);
    ngx_http_klaviyo_status_set(json, "oldest_ms", stat->oldest);

    return json;
}


static json_t *
ngx_http_klaviyo_status_spool(ngx_http_klaviyo_account_state_t *state)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "bytes", state->spool_bytes);
    ngx_http_klaviyo_status_set(json, "segments", state->spool_segments);
    ngx_http_klaviyo_status_put(json, "oldest",
                          ngx_http_klaviyo_status_time(state->spool_oldest));
    ngx_http_klaviyo_status_put(json, "failed",
                                json_boolean(state->spool_failed));

    return json;
}


static json_t *
ngx_http_klaviyo_status_minute(ngx_http_klaviyo_account_view_t *av)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "seconds", av->seconds);
    ngx_http_klaviyo_status_set(json, "seen", av->minute.seen);
    ngx_http_klaviyo_status_set(json, "sent", av->minute.sent);
    ngx_http_klaviyo_status_set(json, "skipped", av->minute.skipped);
    ngx_http_klaviyo_status_set(json, "dropped", av->minute.dropped);
    ngx_http_klaviyo_status_set(json, "dead", av->minute.dead);

    return json;
}


static json_t *
ngx_http_klaviyo_status_history(time_t now,
    ngx_http_klaviyo_account_state_t *state)
{
    json_t                     *json, *seen, *sent, *dropped, *waiting;
    ngx_uint_t                  i, known;
    ngx_http_klaviyo_sample_t   sample;

    json = json_object();
    seen = json_array();
    sent = json_array();
    dropped = json_array();
    waiting = json_array();

    for (i = 0; i < NGX_HTTP_KLAVIYO_HISTORY_STEPS; i++) {
        known = (ngx_http_klaviyo_history_step(&state->history, now, i,
                                               &sample)
                 == NGX_OK);

        (void) json_array_append_new(seen, known ? json_integer(sample.seen)
                                                 : json_null());
        (void) json_array_append_new(sent, known ? json_integer(sample.sent)
                                                 : json_null());
        (void) json_array_append_new(dropped,
                                     known ? json_integer(sample.dropped)
                                           : json_null());
        (void) json_array_append_new(waiting,
                                     known ? json_integer(
                                        (json_int_t) sample.queued
                                        + sample.spooled)
                                           : json_null());
    }

    ngx_http_klaviyo_status_set(json, "step", NGX_HTTP_KLAVIYO_HISTORY_STEP);
    ngx_http_klaviyo_status_put(json, "end",
        ngx_http_klaviyo_status_time(now - now
                                           % NGX_HTTP_KLAVIYO_HISTORY_STEP));
    ngx_http_klaviyo_status_put(json, "seen", seen);
    ngx_http_klaviyo_status_put(json, "sent", sent);
    ngx_http_klaviyo_status_put(json, "dropped", dropped);
    ngx_http_klaviyo_status_put(json, "waiting", waiting);

    return json;
}


static json_t *
ngx_http_klaviyo_status_errors(ngx_http_klaviyo_account_state_t *state)
{
    json_t                      *json;
    ngx_uint_t                   i;
    ngx_http_klaviyo_refusal_t  *t;

    json = json_array();
    t = state->refusals;

    for (i = 0; i < NGX_HTTP_KLAVIYO_REFUSALS && t[i].count; i++) {
        (void) json_array_append_new(json,
                                     ngx_http_klaviyo_status_error(&t[i]));
    }

    return json;
}


static json_t *
ngx_http_klaviyo_status_error(ngx_http_klaviyo_refusal_t *t)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "count", t->count);
    ngx_http_klaviyo_status_put(json, "first",
                                ngx_http_klaviyo_status_time(t->first));
    ngx_http_klaviyo_status_put(json, "last",
                                ngx_http_klaviyo_status_time(t->last));
    ngx_http_klaviyo_status_set(json, "status", t->status);
    ngx_http_klaviyo_status_put(json, "code", json_string((char *) t->code));
    ngx_http_klaviyo_status_put(json, "title", json_string((char *) t->title));
    ngx_http_klaviyo_status_put(json, "detail",
                                json_string((char *) t->detail));
    ngx_http_klaviyo_status_put(json, "pointer",
                                json_string((char *) t->pointer));

    return json;
}


static json_t *
ngx_http_klaviyo_status_rules(ngx_array_t *rules)
{
    json_t                        *json, *one;
    ngx_uint_t                     i;
    ngx_http_klaviyo_rule_view_t  *rv;

    json = json_array();
    rv = rules->elts;

    for (i = 0; i < rules->nelts; i++) {
        one = json_object();

        ngx_http_klaviyo_status_put(one, "metric",
                          ngx_http_klaviyo_status_string(&rv[i].rule->metric));
        ngx_http_klaviyo_status_put(one, "routes",
                            ngx_http_klaviyo_status_string(&rv[i].rule->text));
        ngx_http_klaviyo_status_set(one, "twin", rv[i].rule->twin);
        ngx_http_klaviyo_status_put(one, "file",
                            ngx_http_klaviyo_status_string(&rv[i].rule->file));
        ngx_http_klaviyo_status_set(one, "line", rv[i].rule->line);
        ngx_http_klaviyo_status_put(one, "own", json_boolean(rv[i].own));
        ngx_http_klaviyo_status_put(one, "events",
                               ngx_http_klaviyo_status_events(&rv[i].events));

        (void) json_array_append_new(json, one);
    }

    return json;
}


static json_t *
ngx_http_klaviyo_status_events(ngx_http_klaviyo_counters_t *counters)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "seen", counters->seen);
    ngx_http_klaviyo_status_set(json, "restored", counters->restored);
    ngx_http_klaviyo_status_set(json, "sent", counters->sent);
    ngx_http_klaviyo_status_put(json, "skipped",
                   ngx_http_klaviyo_status_reasons(ngx_http_klaviyo_skip_names,
                                                   counters->skipped,
                                                   NGX_HTTP_KLAVIYO_SKIP_N));
    ngx_http_klaviyo_status_put(json, "dropped",
                   ngx_http_klaviyo_status_reasons(ngx_http_klaviyo_drop_names,
                                                   counters->dropped,
                                                   NGX_HTTP_KLAVIYO_DROP_N));
    ngx_http_klaviyo_status_set(json, "damaged", counters->damaged);
    ngx_http_klaviyo_status_set(json, "queued", counters->queued);
    ngx_http_klaviyo_status_set(json, "spooled", counters->spooled);
    ngx_http_klaviyo_status_set(json, "dead", counters->dead);
    ngx_http_klaviyo_status_set(json, "limited", counters->limited);
    ngx_http_klaviyo_status_set(json, "bad_ids", counters->bad_ids);

    return json;
}


static json_t *
ngx_http_klaviyo_status_reasons(ngx_str_t *names, ngx_atomic_t *counts,
    ngx_uint_t n)
{
    json_t      *json;
    ngx_uint_t   i;

    json = json_object();

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_status_set(json, (char *) names[i].data, counts[i]);
    }

    return json;
}


static json_t *
ngx_http_klaviyo_status_time(time_t sec)
{
    size_t  len;
    u_char  buf[32];

    if (sec == 0) {
        return json_null();
    }

    len = ngx_http_klaviyo_date_format(buf, sec, 0);

    return json_stringn((char *) buf, len);
}


/* Names and patterns are what the user wrote, in whatever encoding. */

static json_t *
ngx_http_klaviyo_status_string(ngx_str_t *s)
{
    json_t  *json;

    json = json_stringn((char *) s->data, s->len);

    return json ? json : json_string("(not UTF-8)");
}
