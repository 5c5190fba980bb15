
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_status: JSON, for programs and for people who read JSON.  Nothing in
 * it tells who a visitor is or what the key is.
 *
 *     version, nginx, module, time, generation
 *     dispatcher   pid, alive, heartbeat, starts, crashes
 *     accounts     by name: state, what was sent and answered, the queue,
 *                  "events" of all rules, and each rule with its "events";
 *                  "profiles" and "subscriptions", if there are such lanes,
 *                  with the same in them
 *     total        "events" of all rules, those that a reload removed too
 */


#include "ngx_http_klaviyo_module.h"
#include "ngx_http_klaviyo_request.h"
#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_version.h"


/* a heartbeat is due each second */
#define NGX_HTTP_KLAVIYO_ALIVE           5


static ngx_int_t ngx_http_klaviyo_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_klaviyo_status_send(ngx_http_request_t *r,
    json_t *status);
static json_t *ngx_http_klaviyo_status_json(
    ngx_http_klaviyo_main_conf_t *kmcf);
static json_t *ngx_http_klaviyo_status_dispatcher(
    ngx_http_klaviyo_control_t *control);
static json_t *ngx_http_klaviyo_status_account(
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_account_t *account);
static void ngx_http_klaviyo_status_lanes(ngx_http_klaviyo_main_conf_t *kmcf,
    ngx_http_klaviyo_account_t *account, json_t *json);
static void ngx_http_klaviyo_status_sender(json_t *json,
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_queue(ngx_http_klaviyo_ring_t *ring);
static json_t *ngx_http_klaviyo_status_spool(
    ngx_http_klaviyo_account_state_t *state);
static json_t *ngx_http_klaviyo_status_rules(
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_account_t *account,
    ngx_http_klaviyo_counters_t *sum);
static json_t *ngx_http_klaviyo_status_rule(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_counters_t *counters);
static json_t *ngx_http_klaviyo_status_events(
    ngx_http_klaviyo_counters_t *counters);
static json_t *ngx_http_klaviyo_status_reasons(ngx_str_t *names,
    ngx_atomic_t *counts, ngx_uint_t n);
static void ngx_http_klaviyo_status_add(ngx_http_klaviyo_counters_t *sum,
    ngx_http_klaviyo_counters_t *counters);
static json_t *ngx_http_klaviyo_status_time(time_t sec);
static json_t *ngx_http_klaviyo_status_string(ngx_str_t *s);


static char  *ngx_http_klaviyo_states[] = {
    "ok", "throttled", "backoff", "stopped"
};

static char  *ngx_http_klaviyo_answers[] = {
    "none", "1xx", "2xx", "3xx", "4xx", "5xx"
};


#define ngx_http_klaviyo_status_set(json, name, n)                            \
    (void) json_object_set_new(json, name, json_integer((json_int_t) (n)))


char *
ngx_http_klaviyo_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_klaviyo_status_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_status_handler(ngx_http_request_t *r)
{
    json_t                        *status;
    ngx_int_t                      rc;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    kmcf = ngx_http_get_module_main_conf(r, ngx_http_klaviyo_module);

    status = ngx_http_klaviyo_status_json(kmcf);
    if (status == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_klaviyo_status_send(r, status);

    json_decref(status);

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_status_send(ngx_http_request_t *r, json_t *status)
{
    size_t        size;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    size = json_dumpb(status, NULL, 0, JSON_INDENT(2));

    b = ngx_create_temp_buf(r->pool, size + 1);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last += json_dumpb(status, (char *) b->pos, size, JSON_INDENT(2));
    *b->last++ = LF;

    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static json_t *
ngx_http_klaviyo_status_json(ngx_http_klaviyo_main_conf_t *kmcf)
{
    json_t                        *json, *accounts;
    ngx_uint_t                     i;
    ngx_http_klaviyo_account_t   **account;
    ngx_http_klaviyo_counters_t    total;

    json = json_object();
    accounts = json_object();

    if (json == NULL || accounts == NULL) {
        json_decref(json);
        json_decref(accounts);
        return NULL;
    }

    ngx_http_klaviyo_status_set(json, "version", 1);
    (void) json_object_set_new(json, "nginx", json_string(NGINX_VERSION));
    (void) json_object_set_new(json, "module",
                               json_string(NGX_HTTP_KLAVIYO_VERSION));
    (void) json_object_set_new(json, "time",
                               ngx_http_klaviyo_status_time(ngx_time()));
    (void) json_object_set_new(json, "accounts", accounts);

    if (kmcf->control == NULL) {
        return json;
    }

    ngx_http_klaviyo_status_set(json, "generation", kmcf->control->generation);
    (void) json_object_set_new(json, "dispatcher",
                         ngx_http_klaviyo_status_dispatcher(kmcf->control));

    account = kmcf->accounts.elts;

    for (i = 0; i < kmcf->accounts.nelts; i++) {
        (void) json_object_setn_new_nocheck(accounts,
                          (char *) account[i]->name.data, account[i]->name.len,
                          ngx_http_klaviyo_status_account(kmcf, account[i]));
    }

    ngx_http_klaviyo_control_total(kmcf->control, &total);

    (void) json_object_set_new(json, "total",
                               ngx_http_klaviyo_status_events(&total));

    return json;
}


static json_t *
ngx_http_klaviyo_status_dispatcher(ngx_http_klaviyo_control_t *control)
{
    json_t      *json;
    time_t       beat;
    ngx_pid_t    pid;
    ngx_uint_t   starts, crashes;

    json = json_object();

    ngx_http_klaviyo_control_health(control, &pid, &beat, &starts, &crashes);

    ngx_http_klaviyo_status_set(json, "pid", pid);
    (void) json_object_set_new(json, "alive",
                     json_boolean(pid && ngx_time() - beat
                                         <= NGX_HTTP_KLAVIYO_ALIVE));
    (void) json_object_set_new(json, "heartbeat",
                               ngx_http_klaviyo_status_time(beat));
    ngx_http_klaviyo_status_set(json, "starts", starts);
    ngx_http_klaviyo_status_set(json, "crashes", crashes);

    return json;
}


static json_t *
ngx_http_klaviyo_status_account(ngx_http_klaviyo_main_conf_t *kmcf,
    ngx_http_klaviyo_account_t *account)
{
    json_t                            *json, *rules;
    ngx_http_klaviyo_counters_t        sum;
    ngx_http_klaviyo_account_state_t  *state;

    json = json_object();

    state = ngx_http_klaviyo_control_account(kmcf->control, account->key);

    if (state) {
        ngx_http_klaviyo_status_sender(json, state);
    }

    ngx_memzero(&sum, sizeof(ngx_http_klaviyo_counters_t));

    rules = ngx_http_klaviyo_status_rules(kmcf, account, &sum);

    (void) json_object_set_new(json, "dry_run",
                               json_boolean(account->dry_run));
    (void) json_object_set_new(json, "queue",
                               ngx_http_klaviyo_status_queue(account->ring));
    (void) json_object_set_new(json, "spool",
                               state ? ngx_http_klaviyo_status_spool(state)
                                     : json_null());
    (void) json_object_set_new(json, "events",
                               ngx_http_klaviyo_status_events(&sum));
    (void) json_object_set_new(json, "rules", rules);

    if (account->lane == NGX_HTTP_KLAVIYO_EVENTS) {
        ngx_http_klaviyo_status_lanes(kmcf, account, json);
    }

    return json;
}


static void
ngx_http_klaviyo_status_lanes(ngx_http_klaviyo_main_conf_t *kmcf,
    ngx_http_klaviyo_account_t *account, json_t *json)
{
    ngx_uint_t  lane;

    for (lane = NGX_HTTP_KLAVIYO_PROFILES;
         lane < NGX_HTTP_KLAVIYO_LANES;
         lane++)
    {
        if (account->lanes[lane]) {
            (void) json_object_set_new(json,
                       (char *) ngx_http_klaviyo_lane_names[lane].data,
                       ngx_http_klaviyo_status_account(kmcf,
                                                       account->lanes[lane]));
        }
    }
}


static void
ngx_http_klaviyo_status_sender(json_t *json,
    ngx_http_klaviyo_account_state_t *state)
{
    json_t      *answers;
    ngx_uint_t   i;

    (void) json_object_set_new(json, "state",
                        json_string(ngx_http_klaviyo_states[state->state]));
    ngx_http_klaviyo_status_set(json, "in_flight", state->in_flight);
    ngx_http_klaviyo_status_set(json, "requests", state->requests);
    ngx_http_klaviyo_status_set(json, "retries", state->retries);
    ngx_http_klaviyo_status_set(json, "bytes", state->bytes);

    answers = json_object();

    for (i = 0; i < 6; i++) {
        ngx_http_klaviyo_status_set(answers, ngx_http_klaviyo_answers[i],
                                    state->answers[i]);
    }

    (void) json_object_set_new(json, "answers", answers);

    ngx_http_klaviyo_status_set(json, "duration_ms", state->duration);
    ngx_http_klaviyo_status_set(json, "last_status", state->last_status);
    (void) json_object_set_new(json, "last_code",
                               json_string((char *) state->last_code));
    (void) json_object_set_new(json, "last_sent",
                           ngx_http_klaviyo_status_time(state->last_sent));
    (void) json_object_set_new(json, "last_failed",
                           ngx_http_klaviyo_status_time(state->last_failed));
    (void) json_object_set_new(json, "retry_at",
                           ngx_http_klaviyo_status_time(state->retry_at));
    (void) json_object_set_new(json, "quota_left",
                   state->quota_left ? json_integer(state->quota_left - 1)
                                     : json_null());
}


static json_t *
ngx_http_klaviyo_status_queue(ngx_http_klaviyo_ring_t *ring)
{
    json_t                        *json;
    ngx_http_klaviyo_ring_stat_t   stat;

    json = json_object();

    ngx_http_klaviyo_ring_stat(ring, &stat);

    ngx_http_klaviyo_status_set(json, "size", stat.size);
    ngx_http_klaviyo_status_set(json, "used", stat.used);
    ngx_http_klaviyo_status_set(json, "events", stat.events);
    ngx_http_klaviyo_status_set(json, "unclaimed", stat.unclaimed);
    ngx_http_klaviyo_status_set(json, "oldest_ms", stat.oldest);

    return json;
}


static json_t *
ngx_http_klaviyo_status_spool(ngx_http_klaviyo_account_state_t *state)
{
    json_t  *json;

    json = json_object();

    ngx_http_klaviyo_status_set(json, "bytes", state->spool_bytes);
    ngx_http_klaviyo_status_set(json, "segments", state->spool_segments);
    (void) json_object_set_new(json, "oldest",
                          ngx_http_klaviyo_status_time(state->spool_oldest));

    return json;
}


static json_t *
ngx_http_klaviyo_status_rules(ngx_http_klaviyo_main_conf_t *kmcf,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_counters_t *sum)
{
    json_t                        *rules;
    ngx_uint_t                     i, slot;
    ngx_http_klaviyo_rule_t      **rule;
    ngx_http_klaviyo_counters_t   *counters;

    rules = json_array();
    rule = kmcf->rules.elts;

    for (i = 0; i < kmcf->rules.nelts; i++) {

        if (rule[i]->lane != account->lane
            || (rule[i]->account
                && rule[i]->account->lanes[account->lane] != account))
        {
            continue;
        }

        slot = ngx_http_klaviyo_rule_slot(kmcf->control, rule[i], account);
        counters = ngx_http_klaviyo_control_counters(kmcf->control, slot);

        ngx_http_klaviyo_status_add(sum, counters);

        (void) json_array_append_new(rules,
                           ngx_http_klaviyo_status_rule(rule[i], counters));
    }

    return rules;
}


static json_t *
ngx_http_klaviyo_status_rule(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_counters_t *counters)
{
    json_t  *json;

    json = json_object();

    (void) json_object_set_new(json, "metric",
                               ngx_http_klaviyo_status_string(&rule->metric));
    (void) json_object_set_new(json, "routes",
                               ngx_http_klaviyo_status_string(&rule->text));
    (void) json_object_set_new(json, "file",
                               ngx_http_klaviyo_status_string(&rule->file));
    ngx_http_klaviyo_status_set(json, "line", rule->line);
    (void) json_object_set_new(json, "events",
                               ngx_http_klaviyo_status_events(counters));

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
    (void) json_object_set_new(json, "skipped",
                   ngx_http_klaviyo_status_reasons(ngx_http_klaviyo_skip_names,
                                                   counters->skipped,
                                                   NGX_HTTP_KLAVIYO_SKIP_N));
    (void) json_object_set_new(json, "dropped",
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


static void
ngx_http_klaviyo_status_add(ngx_http_klaviyo_counters_t *sum,
    ngx_http_klaviyo_counters_t *counters)
{
    ngx_uint_t     i;
    ngx_atomic_t  *to, *from;

    /* nothing but counters is in it */

    to = (ngx_atomic_t *) sum;
    from = (ngx_atomic_t *) counters;

    for (i = 0; i < sizeof(*sum) / sizeof(ngx_atomic_t); i++) {
        to[i] += from[i];
    }
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
