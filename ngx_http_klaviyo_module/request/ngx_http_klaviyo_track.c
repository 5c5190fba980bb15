
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * One rule in one request: conditions, status, noise, consent and identity in
 * this order, then the values, the event (or the entry of another lane) and a
 * copy into the ring.
 */


#include "ngx_http_klaviyo_backlog.h"
#include "ngx_http_klaviyo_explain.h"
#include "ngx_http_klaviyo_identify.h"
#include "ngx_http_klaviyo_once.h"
#include "ngx_http_klaviyo_remember.h"
#include "ngx_http_klaviyo_watch.h"
#include <ngx_md5.h>


/* events that one rule makes of one request, at most */
#define NGX_HTTP_KLAVIYO_MAX_EVENTS      1000

/* what an event may not take of a request's body */
#define NGX_HTTP_KLAVIYO_ENVELOPE        256

/* Klaviyo takes times after 1990, and up to a year ahead */
#define NGX_HTTP_KLAVIYO_MIN_TIME        662688000
#define NGX_HTTP_KLAVIYO_MAX_AHEAD       (365 * 24 * 3600)

/* 2026-07-23T10:15:30.123Z, and what of it is the same for a second */
#define NGX_HTTP_KLAVIYO_TIME_LEN        24
#define NGX_HTTP_KLAVIYO_SECOND_LEN      19

/* nonce, serial, sequence, rule and element, in hexadecimal */
#define NGX_HTTP_KLAVIYO_ID_LEN          (16 + 4 * (1 + NGX_INT_T_LEN))


typedef struct {
    ngx_http_klaviyo_ctx_t              *ctx;
    ngx_http_klaviyo_candidate_t        *candidate;
    ngx_http_klaviyo_rule_t             *rule;
    ngx_http_klaviyo_account_t          *owner;    /* whose visitor it is */
    ngx_http_klaviyo_account_t          *account;  /* its lane */
    ngx_http_klaviyo_main_conf_t        *conf;
    ngx_http_klaviyo_counters_t         *counters;
    ngx_uint_t                           slot;
    ngx_http_klaviyo_eval_t              eval;
    ngx_http_klaviyo_visit_t            *visit;    /* once judged */
    ngx_http_klaviyo_source_e            source;   /* of the identity */
    ngx_uint_t                           doubtful;   /* there is a _kx, but no
                                                        sign of a person */

    ngx_uint_t                           elements;
    ngx_int_t                            verdict;  /* why all are skipped, or
                                                      NGX_DECLINED */
    ngx_uint_t                           judged;
    ngx_uint_t                           unknown;  /* an "each" is */
} ngx_http_klaviyo_track_t;


static ngx_int_t ngx_http_klaviyo_track_start(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_ctx_t *ctx, ngx_http_klaviyo_candidate_t *candidate,
    ngx_http_klaviyo_slot_t *slots);
static void ngx_http_klaviyo_track_each(ngx_http_klaviyo_track_t *t,
    ngx_uint_t n);
static void ngx_http_klaviyo_track_frame(ngx_http_klaviyo_track_t *t,
    ngx_uint_t n, ngx_http_klaviyo_data_t *element);
static ngx_uint_t ngx_http_klaviyo_track_waits(ngx_http_klaviyo_track_t *t);
static void ngx_http_klaviyo_track_element(ngx_http_klaviyo_track_t *t);
static void ngx_http_klaviyo_track_update(ngx_http_klaviyo_track_t *t);
static void ngx_http_klaviyo_track_limits(ngx_http_klaviyo_track_t *t,
    ngx_uint_t limits);
static ngx_int_t ngx_http_klaviyo_track_conditions(
    ngx_http_klaviyo_track_t *t, ngx_http_klaviyo_stage_e first,
    ngx_http_klaviyo_stage_e last);
static ngx_int_t ngx_http_klaviyo_track_verdict(ngx_http_klaviyo_track_t *t);
static ngx_uint_t ngx_http_klaviyo_track_twin(ngx_http_klaviyo_ctx_t *ctx,
    ngx_uint_t status);
static void ngx_http_klaviyo_track_skip(ngx_http_klaviyo_track_t *t,
    ngx_uint_t reason);
static void ngx_http_klaviyo_track_drop(ngx_http_klaviyo_track_t *t,
    ngx_uint_t reason);
static void ngx_http_klaviyo_track_dropped(ngx_http_klaviyo_track_t *t,
    ngx_uint_t reason);
static void ngx_http_klaviyo_track_watch(ngx_http_klaviyo_track_t *t,
    char *outcome, ngx_str_t *reason, ngx_http_klaviyo_event_t *event);
static void ngx_http_klaviyo_track_result(ngx_http_klaviyo_track_t *t,
    char *outcome, ngx_str_t *reason);
static ngx_int_t ngx_http_klaviyo_track_profile(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event);
static void ngx_http_klaviyo_track_cookie(ngx_http_klaviyo_track_t *t,
    ngx_int_t variable, ngx_str_t *cookie);
static ngx_uint_t ngx_http_klaviyo_track_fields(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_member_t *member);
static void ngx_http_klaviyo_track_field(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_profile_t *profile, ngx_http_klaviyo_member_t *member);
static ngx_int_t ngx_http_klaviyo_track_properties(
    ngx_http_klaviyo_track_t *t, ngx_http_klaviyo_event_t *event);
static void ngx_http_klaviyo_track_attributes(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event);
static void ngx_http_klaviyo_track_time(ngx_http_klaviyo_track_t *t,
    ngx_str_t *time, int64_t *sec);
static size_t ngx_http_klaviyo_track_date(u_char *buf, int64_t sec,
    ngx_uint_t msec);
static ngx_int_t ngx_http_klaviyo_track_unique_id(
    ngx_http_klaviyo_track_t *t, ngx_str_t *id);
static ngx_int_t ngx_http_klaviyo_track_default_id(
    ngx_http_klaviyo_track_t *t, ngx_str_t *id);
static u_char *ngx_http_klaviyo_track_hex(u_char *p, ngx_uint_t n);
static void ngx_http_klaviyo_track_queue(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event, int64_t sec);
static void ngx_http_klaviyo_track_put(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event, ngx_http_klaviyo_record_t *record,
    ngx_str_t *json);
static void ngx_http_klaviyo_track_hold(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event, ngx_http_klaviyo_record_t *record,
    ngx_str_t *json, ngx_http_klaviyo_once_t *once);


/* of this process; a request has its own sequence as soon as it has an id */
static ngx_uint_t  ngx_http_klaviyo_serial;
static ngx_uint_t  ngx_http_klaviyo_sequence;

/* what all default ids of this process begin with */
static size_t      ngx_http_klaviyo_id_len;
static u_char      ngx_http_klaviyo_id[NGX_HTTP_KLAVIYO_ID_LEN];


void
ngx_http_klaviyo_track_init(ngx_uint_t serial)
{
    ngx_http_klaviyo_serial = serial;
    ngx_http_klaviyo_sequence = 0;
    ngx_http_klaviyo_id_len = 0;
}


void
ngx_http_klaviyo_track(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_candidate_t *candidate)
{
    ngx_int_t                 reason;
    ngx_uint_t                limits;
    ngx_http_klaviyo_track_t  t;

    if (ngx_http_klaviyo_track_start(&t, ctx, candidate, candidate->slots)
        != NGX_OK)
    {
        if (t.rule->remember) {
            return;
        }

        ngx_http_klaviyo_track_drop(&t, NGX_HTTP_KLAVIYO_DROP_ERROR);
        return;
    }

    limits = ctx->arena.limits;

    reason = candidate->failed ? (ngx_int_t) candidate->reason
             : ngx_http_klaviyo_track_conditions(&t, candidate->stage,
                                               NGX_HTTP_KLAVIYO_STAGE_ANSWER);

    if (t.rule->remember) {

        if (reason == NGX_DECLINED
            && ngx_http_klaviyo_track_status(ctx, t.rule))
        {
            ngx_http_klaviyo_remember(&t.eval, t.rule);
        }

    } else if (reason != NGX_DECLINED) {
        ngx_http_klaviyo_track_skip(&t, reason);

    } else {
        ngx_http_klaviyo_track_each(&t, 0);

        if (t.elements == 0) {
            ngx_http_klaviyo_track_skip(&t, t.unknown
                                            ? NGX_HTTP_KLAVIYO_SKIP_LIMIT
                                            : NGX_HTTP_KLAVIYO_SKIP_EMPTY);
        }
    }

    ngx_http_klaviyo_track_limits(&t, limits);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "klaviyo track \"%V\": %V, %ui events",
                   &t.rule->metric, &candidate->result, t.elements);
}


/* What fails before the response is known keeps the response uncopied. */

ngx_uint_t
ngx_http_klaviyo_track_judge(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_candidate_t *candidate, ngx_http_klaviyo_stage_e stage)
{
    ngx_int_t                 reason;
    ngx_uint_t                limits;
    ngx_http_klaviyo_track_t  t;

    if (candidate->failed || candidate->stage > stage
        || candidate->rule->conditions.nelts == 0)
    {
        return !candidate->failed;
    }

    if (ngx_http_klaviyo_track_start(&t, ctx, candidate, candidate->slots)
        != NGX_OK)
    {
        return 0;
    }

    limits = ctx->arena.limits;

    reason = ngx_http_klaviyo_track_conditions(&t, candidate->stage, stage);

    candidate->slots = t.eval.slots;
    candidate->stage = stage + 1;

    if (reason != NGX_DECLINED) {
        candidate->failed = 1;
        candidate->reason = reason;
    }

    ngx_http_klaviyo_track_limits(&t, limits);

    return !candidate->failed;
}


static void
ngx_http_klaviyo_track_limits(ngx_http_klaviyo_track_t *t, ngx_uint_t limits)
{
    limits = t->ctx->arena.limits - limits;

    if (limits) {
        ngx_http_klaviyo_count_n(t->counters, limited, limits);

        if (t->ctx->explain) {
            ngx_http_klaviyo_explain_limits(t->ctx->explain, limits);
        }
    }
}


/* "slots" has the names that are known already, or is NULL. */

static ngx_int_t
ngx_http_klaviyo_track_start(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_ctx_t *ctx, ngx_http_klaviyo_candidate_t *candidate,
    ngx_http_klaviyo_slot_t *slots)
{
    size_t                    size;
    ngx_http_klaviyo_rule_t  *rule;

    ngx_memzero(t, sizeof(ngx_http_klaviyo_track_t));

    rule = candidate->rule;

    t->ctx = ctx;
    t->candidate = candidate;
    t->rule = rule;
    t->owner = rule->account ? rule->account : ctx->conf->account;
    t->account = t->owner->lanes[rule->lane];
    t->conf = ngx_http_get_module_main_conf(ctx->request,
                                            ngx_http_klaviyo_module);

    t->slot = ngx_http_klaviyo_rule_slot(t->conf->control, rule, t->account);
    t->counters = ngx_http_klaviyo_control_counters(t->conf->control, t->slot);

    ngx_http_klaviyo_visit_eval(ctx, t->owner, &t->eval);

    t->eval.names = rule->names.elts;
    t->eval.nslots = rule->names.nelts;
    t->eval.slots = slots;
    t->eval.explain = ctx->explain;

    if (ctx->explain) {
        ngx_http_klaviyo_explain_rule(ctx->explain, candidate, t->account);
    }

    if (slots || t->eval.nslots == 0) {
        return NGX_OK;
    }

    size = t->eval.nslots * sizeof(ngx_http_klaviyo_slot_t);

    t->eval.slots = ngx_http_klaviyo_arena_alloc(&ctx->arena, size);

    if (t->eval.slots == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(t->eval.slots, size);

    return NGX_OK;
}


/* The n-th "each" of the rule; behind the last one stands the event. */

static void
ngx_http_klaviyo_track_each(ngx_http_klaviyo_track_t *t, ngx_uint_t n)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_data_t    data, element;
    ngx_http_klaviyo_value_t  *each;

    if (n == t->rule->each.nelts) {
        t->elements++;
        ngx_http_klaviyo_track_element(t);
        return;
    }

    each = t->rule->each.elts;

    ngx_http_klaviyo_value_eval(&t->eval, &each[n], &data);

    if (ngx_http_klaviyo_data_is_missing(&data)) {
        t->unknown |= (data.type == NGX_HTTP_KLAVIYO_UNKNOWN);
        return;
    }

    if (data.type != NGX_HTTP_KLAVIYO_TREE || !json_is_array(data.json)) {
        ngx_http_klaviyo_track_frame(t, n, &data);
        return;
    }

    for (i = 0; i < json_array_size(data.json); i++) {

        if (t->elements == NGX_HTTP_KLAVIYO_MAX_EVENTS) {
            t->ctx->arena.limits++;
            return;
        }

        ngx_http_klaviyo_data_from_json(t->eval.arena, &element,
                                        json_array_get(data.json, i));

        ngx_http_klaviyo_track_frame(t, n, &element);
    }
}


static void
ngx_http_klaviyo_track_frame(ngx_http_klaviyo_track_t *t, ngx_uint_t n,
    ngx_http_klaviyo_data_t *element)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_frame_t  frame;

    frame.data = *element;
    frame.outer = t->eval.frame;

    t->eval.frame = &frame;
    t->eval.each = &frame;

    for (i = 0; i < t->eval.nslots; i++) {
        if (t->eval.names[i].each) {
            t->eval.slots[i].known = 0;
        }
    }

    ngx_http_klaviyo_track_each(t, n + 1);

    t->eval.frame = frame.outer;
    t->eval.each = frame.outer;
}


/*
 * Whether it may turn out who it is: a link that is not confirmed yet, or a
 * backlog, where what is remembered of the visitor counts.
 */

static ngx_uint_t
ngx_http_klaviyo_track_waits(ngx_http_klaviyo_track_t *t)
{
    return t->visit
           && (t->doubtful
               || (t->ctx->conf->backlog
                   && (t->ctx->conf->identity
                       & NGX_HTTP_KLAVIYO_IDENTITY_VISITOR)));
}


static void
ngx_http_klaviyo_track_element(ngx_http_klaviyo_track_t *t)
{
    u_char                    time[NGX_HTTP_KLAVIYO_TIME_LEN];
    int64_t                   sec;
    ngx_int_t                 reason;
    ngx_http_klaviyo_event_t  event;

    reason = ngx_http_klaviyo_track_conditions(t,
                                              NGX_HTTP_KLAVIYO_STAGE_ELEMENT,
                                              NGX_HTTP_KLAVIYO_STAGE_ELEMENT);

    if (reason == NGX_DECLINED) {
        reason = ngx_http_klaviyo_track_verdict(t);

        if (t->ctx->explain) {
            ngx_http_klaviyo_explain_verdict(t->ctx->explain, reason);
        }
    }

    if (reason != NGX_DECLINED) {
        ngx_http_klaviyo_track_skip(t, reason);
        return;
    }

    if (t->rule->lane != NGX_HTTP_KLAVIYO_EVENTS) {
        ngx_http_klaviyo_track_update(t);
        return;
    }

    ngx_memzero(&event, sizeof(ngx_http_klaviyo_event_t));

    if (ngx_http_klaviyo_track_profile(t, &event) != NGX_OK) {
        ngx_http_klaviyo_track_drop(t, NGX_HTTP_KLAVIYO_DROP_ERROR);
        return;
    }

    if (t->source == NGX_HTTP_KLAVIYO_SOURCE_NONE
        && !ngx_http_klaviyo_track_waits(t))
    {
        ngx_http_klaviyo_track_skip(t, t->doubtful
                                       ? NGX_HTTP_KLAVIYO_SKIP_UNCONFIRMED
                                       : NGX_HTTP_KLAVIYO_SKIP_UNIDENTIFIED);
        return;
    }

    ngx_http_klaviyo_track_attributes(t, &event);

    event.time.data = time;
    ngx_http_klaviyo_track_time(t, &event.time, &sec);

    if (ngx_http_klaviyo_track_properties(t, &event) != NGX_OK
        || ngx_http_klaviyo_track_unique_id(t, &event.unique_id) != NGX_OK)
    {
        ngx_http_klaviyo_track_drop(t, NGX_HTTP_KLAVIYO_DROP_ERROR);
        return;
    }

    ngx_http_klaviyo_track_queue(t, &event, sec);
}


/* The entry of another lane, which has a profile and nothing else. */

static void
ngx_http_klaviyo_track_update(ngx_http_klaviyo_track_t *t)
{
    ngx_int_t                  rc;
    ngx_str_t                  json;
    ngx_uint_t                 limits;
    ngx_http_klaviyo_event_t   event;
    ngx_http_klaviyo_record_t  record;

    if (t->rule->subscribe
        && (ngx_http_klaviyo_conditions_eval(&t->eval,
                                             &t->rule->subscribe->consent,
                                             NGX_HTTP_KLAVIYO_STAGE_HEAD,
                                             NGX_HTTP_KLAVIYO_STAGE_ANSWER)
            != NGX_OK))
    {
        ngx_http_klaviyo_track_skip(t, NGX_HTTP_KLAVIYO_SKIP_CONSENT);
        return;
    }

    ngx_memzero(&event, sizeof(ngx_http_klaviyo_event_t));
    limits = 0;

    rc = ngx_http_klaviyo_track_profile(t, &event);

    if (rc == NGX_OK) {
        rc = ngx_http_klaviyo_identify_render(&t->eval, t->rule, event.profile,
                                              event.nprofile, &json, &limits);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_klaviyo_track_skip(t, NGX_HTTP_KLAVIYO_SKIP_UNIDENTIFIED);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_klaviyo_track_drop(t, NGX_HTTP_KLAVIYO_DROP_ERROR);
        return;
    }

    if (limits) {
        ngx_http_klaviyo_count_n(t->counters, limited, limits);
    }

    ngx_memzero(&record, sizeof(ngx_http_klaviyo_record_t));

    record.time = (uint32_t) t->ctx->request->start_sec;

    ngx_http_klaviyo_track_put(t, &event, &record, &json);
}


/* Returns why the event is skipped, or NGX_DECLINED. */

static ngx_int_t
ngx_http_klaviyo_track_conditions(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_stage_e first, ngx_http_klaviyo_stage_e last)
{
    switch (ngx_http_klaviyo_conditions_eval(&t->eval, &t->rule->conditions,
                                             first, last))
    {
    case NGX_OK:
        return NGX_DECLINED;

    case NGX_ABORT:
        return NGX_HTTP_KLAVIYO_SKIP_LIMIT;

    default:
        return NGX_HTTP_KLAVIYO_SKIP_CONDITION;
    }
}


/* The same for what no element changes. */

static ngx_int_t
ngx_http_klaviyo_track_verdict(ngx_http_klaviyo_track_t *t)
{
    ngx_uint_t  ignore;

    if (t->judged) {
        return t->verdict;
    }

    t->judged = 1;

    if (!ngx_http_klaviyo_track_status(t->ctx, t->rule)) {
        t->verdict = NGX_HTTP_KLAVIYO_SKIP_STATUS;
        return t->verdict;
    }

    ignore = (t->rule->ignore != NGX_CONF_UNSET_UINT) ? t->rule->ignore
                                                      : t->ctx->conf->ignore;

    t->visit = ngx_http_klaviyo_visit(t->ctx, t->owner);
    t->verdict = ngx_http_klaviyo_visit_judge(&t->eval, t->visit, ignore);

    return t->verdict;
}


ngx_uint_t
ngx_http_klaviyo_track_status(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_rule_t *rule)
{
    ngx_uint_t           status;
    ngx_http_request_t  *r;

    if (rule->status) {
        return 1;
    }

    r = ctx->request;
    status = r->err_status ? r->err_status : r->headers_out.status;

    if ((status >= 200 && status < 300) || status == NGX_HTTP_NOT_MODIFIED) {
        return !ngx_http_klaviyo_track_twin(ctx, status);
    }

    return ctx->method == NGX_HTTP_POST
           && (status == NGX_HTTP_MOVED_TEMPORARILY
               || status == NGX_HTTP_SEE_OTHER);
}


/*
 * React Router fetches the data of a page from "/page.data", and is told with
 * a status of 2xx that it has moved: then no page was shown.
 */

static ngx_uint_t
ngx_http_klaviyo_track_twin(ngx_http_klaviyo_ctx_t *ctx, ngx_uint_t status)
{
    ngx_str_t   *uri;
    ngx_list_t  *headers;

    static ngx_str_t  redirect = ngx_string("x-remix-redirect");
    static ngx_str_t  remix = ngx_string("x-remix-status");

    uri = &ctx->uri;

    if (ctx->method != NGX_HTTP_GET || uri->len < sizeof(".data")
        || ngx_strncmp(uri->data + uri->len - 5, ".data", 5) != 0)
    {
        return 0;
    }

    headers = &ctx->request->headers_out.headers;

    return status == NGX_HTTP_ACCEPTED
           || ngx_http_klaviyo_content_header(headers, &redirect)
           || ngx_http_klaviyo_content_header(headers, &remix);
}


static void
ngx_http_klaviyo_track_skip(ngx_http_klaviyo_track_t *t, ngx_uint_t reason)
{
    ngx_http_klaviyo_count(t->counters, seen);
    ngx_http_klaviyo_count(t->counters, skipped[reason]);

    ngx_http_klaviyo_track_result(t, "skipped:",
                                  &ngx_http_klaviyo_skip_names[reason]);

    if (t->conf->tail || t->ctx->explain) {
        ngx_http_klaviyo_track_watch(t, "skipped",
                                     &ngx_http_klaviyo_skip_names[reason],
                                     NULL);
    }
}


static void
ngx_http_klaviyo_track_drop(ngx_http_klaviyo_track_t *t, ngx_uint_t reason)
{
    ngx_http_klaviyo_count(t->counters, seen);
    ngx_http_klaviyo_count(t->counters, dropped[reason]);

    ngx_http_klaviyo_track_dropped(t, reason);
}


/* The ring has counted it already */

static void
ngx_http_klaviyo_track_dropped(ngx_http_klaviyo_track_t *t, ngx_uint_t reason)
{
    static char  *why[] = {
        "the queue is full", "it is larger than a batch may be", "no memory"
    };

    ngx_http_klaviyo_track_result(t, "dropped:",
                                  &ngx_http_klaviyo_drop_names[reason]);

    if (t->conf->tail || t->ctx->explain) {
        ngx_http_klaviyo_track_watch(t, "dropped",
                                     &ngx_http_klaviyo_drop_names[reason],
                                     NULL);
    }

    if (ngx_http_klaviyo_control_tell(t->conf->control)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "klaviyo account \"%V\": %s, "
                      "%uA events of \"%V\" dropped so far",
                      &t->account->name, why[reason],
                      t->counters->dropped[reason], &t->rule->metric);
    }
}


static void
ngx_http_klaviyo_track_watch(ngx_http_klaviyo_track_t *t, char *outcome,
    ngx_str_t *reason, ngx_http_klaviyo_event_t *event)
{
    ngx_http_klaviyo_watch_t  watch;

    watch.ctx = t->ctx;
    watch.rule = t->rule;
    watch.account = t->account;
    watch.slot = t->slot;
    watch.outcome = outcome;
    watch.reason = reason;
    watch.event = event;

    if (t->conf->tail) {
        ngx_http_klaviyo_watch(t->conf->tail, &watch);
    }

    if (t->ctx->explain) {
        ngx_http_klaviyo_explain_outcome(t->ctx->explain, &watch);
    }
}


/* Of several elements the first one speaks, but one that was queued wins. */

static void
ngx_http_klaviyo_track_result(ngx_http_klaviyo_track_t *t, char *outcome,
    ngx_str_t *reason)
{
    u_char     *p;
    size_t      len;
    ngx_str_t  *result;

    result = &t->candidate->result;

    if (result->len) {
        return;
    }

    len = ngx_strlen(outcome);

    p = ngx_pnalloc(t->ctx->request->pool, len + reason->len);
    if (p == NULL) {
        return;
    }

    result->data = p;
    result->len = len + reason->len;

    p = ngx_cpymem(p, outcome, len);
    ngx_memcpy(p, reason->data, reason->len);
}


static ngx_int_t
ngx_http_klaviyo_track_profile(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event)
{
    ngx_uint_t                    i, n, configured;
    ngx_http_klaviyo_member_t    *member, remembered;
    ngx_http_klaviyo_identity_t   identity;
    ngx_http_klaviyo_loc_conf_t  *klcf;

    klcf = t->ctx->conf;
    n = t->rule->profile.nelts + (klcf->profiles ? klcf->profiles->nelts : 0);

    member = ngx_http_klaviyo_arena_alloc(&t->ctx->arena,
                                   (NGX_HTTP_KLAVIYO_IDENTIFIERS + 2 * n)
                                   * sizeof(ngx_http_klaviyo_member_t));
    if (member == NULL) {
        return NGX_ERROR;
    }

    event->profile = member;

    ngx_memzero(&identity, sizeof(ngx_http_klaviyo_identity_t));

    identity.configured = member + NGX_HTTP_KLAVIYO_IDENTIFIERS + n;
    identity.nconfigured = ngx_http_klaviyo_track_fields(t,
                                                         identity.configured);
    identity.nrule = t->rule->profile.nelts;
    identity.rungs = klcf->identity;
    identity.all = (klcf->identifiers == 1);
    identity.args = t->ctx->query;
    identity.company = t->account->company_id;

    ngx_http_klaviyo_identify_limit(t->rule, &identity);

    n = ngx_http_klaviyo_identity_stated(&t->ctx->arena, &identity, member);

    t->doubtful = (n && identity.source == NGX_HTTP_KLAVIYO_SOURCE_LINK
                   && ngx_http_klaviyo_visit_link(t->ctx, t->visit, member)
                      != NGX_OK);

    if (t->doubtful) {
        n = 0;
    }

    if (n == 0 && !identity.update) {
        ngx_http_klaviyo_track_cookie(t, t->conf->kla_id, &identity.cookie);

        if ((klcf->identity & NGX_HTTP_KLAVIYO_IDENTITY_VISITOR)
            && ngx_http_klaviyo_visit_recall(t->visit, &remembered))
        {
            identity.remembered = &remembered;
        }

        n = ngx_http_klaviyo_identity_implied(&t->ctx->arena, &identity,
                                              member);
    }

    t->source = n ? identity.source : NGX_HTTP_KLAVIYO_SOURCE_NONE;

    if (t->ctx->explain) {
        ngx_http_klaviyo_explain_identity(t->ctx->explain, &identity, member,
                                          n);
    }

    configured = identity.nconfigured;

    for (i = 0; i < configured; i++) {

        if (identity.configured[i].field >= NGX_HTTP_KLAVIYO_ATTRIBUTE) {
            member[n++] = identity.configured[i];
        }
    }

    event->nprofile = n;

    return NGX_OK;
}


/* Nothing else near a request costs as much as to look for a cookie. */

static void
ngx_http_klaviyo_track_cookie(ngx_http_klaviyo_track_t *t, ngx_int_t variable,
    ngx_str_t *cookie)
{
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_value_variable(t->ctx->request, variable, &data);

    if (ngx_http_klaviyo_data_is_missing(&data)) {
        ngx_str_null(cookie);
        return;
    }

    *cookie = data.text;
}


/* The rule's own fields, then those of the levels around. */

static ngx_uint_t
ngx_http_klaviyo_track_fields(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_member_t *member)
{
    ngx_uint_t                   i, k, n;
    ngx_array_t                 *levels;
    ngx_http_klaviyo_profile_t  *own, *profile;

    own = t->rule->profile.elts;
    n = t->rule->profile.nelts;

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_track_field(t, &own[i], &member[i]);
    }

    levels = t->ctx->conf->profiles;

    if (levels == NULL) {
        return n;
    }

    profile = levels->elts;

    for (i = 0; i < levels->nelts; i++) {

        for (k = 0; k < t->rule->profile.nelts; k++) {

            if (own[k].name.len == profile[i].name.len
                && ngx_strncmp(own[k].name.data, profile[i].name.data,
                               own[k].name.len)
                   == 0)
            {
                break;
            }
        }

        if (k == t->rule->profile.nelts) {
            ngx_http_klaviyo_track_field(t, &profile[i], &member[n++]);
        }
    }

    return n;
}


static void
ngx_http_klaviyo_track_field(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_profile_t *profile, ngx_http_klaviyo_member_t *member)
{
    member->key = profile->key;
    member->field = profile->field;

    ngx_http_klaviyo_value_eval(&t->eval, &profile->value, &member->data);
}


static ngx_int_t
ngx_http_klaviyo_track_properties(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event)
{
    ngx_uint_t                  i, k, n;
    ngx_array_t                *levels;
    ngx_http_klaviyo_node_t    *own, *node;
    ngx_http_klaviyo_member_t  *member;

    levels = t->ctx->conf->properties;
    own = t->rule->nodes.elts;
    n = t->rule->nodes.nelts;

    event->nproperties = n;

    member = ngx_http_klaviyo_arena_alloc(&t->ctx->arena,
                                      (n + (levels ? levels->nelts : 0) + 1)
                                      * sizeof(ngx_http_klaviyo_member_t));
    if (member == NULL) {
        return NGX_ERROR;
    }

    event->properties = member;

    for (i = 0; i < n; i++) {
        member[i].key = own[i].key;

        if (own[i].slot == NGX_CONF_UNSET_UINT) {
            ngx_http_klaviyo_node_eval(&t->eval, &own[i], &member[i].data);

        } else {
            ngx_http_klaviyo_value_name(&t->eval, own[i].slot,
                                        &member[i].data);
        }
    }

    if (levels == NULL) {
        return NGX_OK;
    }

    node = levels->elts;

    for (i = 0; i < levels->nelts; i++) {

        for (k = 0; k < t->rule->nodes.nelts; k++) {

            if (own[k].name.len == node[i].name.len
                && ngx_strncmp(own[k].name.data, node[i].name.data,
                               own[k].name.len)
                   == 0)
            {
                break;
            }
        }

        if (k == t->rule->nodes.nelts) {
            member[n].key = node[i].key;
            ngx_http_klaviyo_node_eval(&t->eval, &node[i], &member[n].data);
            n++;
        }
    }

    event->nproperties = n;

    return NGX_OK;
}


static void
ngx_http_klaviyo_track_attributes(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event)
{
    ngx_uint_t                  backfill;
    ngx_http_klaviyo_filter_t  *number;

    static ngx_str_t  name = ngx_string("number");

    event->metric = t->rule->metrics[t->account->index];

    if (t->rule->value) {
        ngx_http_klaviyo_value_eval(&t->eval, t->rule->value, &event->value);

        /* Klaviyo takes a number only, variables are texts */

        number = ngx_http_klaviyo_filter_find(&name);
        ngx_http_klaviyo_filter_run(t->eval.arena, number, &event->value, NULL,
                                    0);
    }

    if (t->rule->currency) {
        ngx_http_klaviyo_value_eval(&t->eval, t->rule->currency,
                                    &event->currency);
    }

    backfill = (t->rule->backfill != NGX_CONF_UNSET_UINT)
               ? t->rule->backfill : t->account->backfill;

    event->backfill = (backfill == NGX_HTTP_KLAVIYO_BACKFILL_ON);
    event->may_age = (backfill == NGX_HTTP_KLAVIYO_BACKFILL_AFTER);
}


/* A configured time that Klaviyo would refuse gives way to the request's. */

static void
ngx_http_klaviyo_track_time(ngx_http_klaviyo_track_t *t, ngx_str_t *time,
    int64_t *sec)
{
    ngx_str_t                text;
    ngx_uint_t               msec;
    ngx_http_klaviyo_data_t  data;

    *sec = t->ctx->request->start_sec;
    msec = t->ctx->request->start_msec;

    if (t->rule->time) {
        ngx_http_klaviyo_value_eval(&t->eval, t->rule->time, &data);

        if (ngx_http_klaviyo_data_text(&data, &text) != NGX_OK
            || ngx_http_klaviyo_date_parse(&text, sec, &msec) != NGX_OK
            || *sec < NGX_HTTP_KLAVIYO_MIN_TIME
            || *sec > ngx_time() + NGX_HTTP_KLAVIYO_MAX_AHEAD)
        {
            *sec = t->ctx->request->start_sec;
            msec = t->ctx->request->start_msec;
        }
    }

    time->len = ngx_http_klaviyo_track_date(time->data, *sec, msec);
}


/* nearly always of the same second as the event before */

static size_t
ngx_http_klaviyo_track_date(u_char *buf, int64_t sec, ngx_uint_t msec)
{
    u_char  *p;

    static u_char   text[NGX_HTTP_KLAVIYO_TIME_LEN];
    static int64_t  second = -1;

    if (sec != second) {

        if (ngx_http_klaviyo_date_format(text, sec, 0)
            != NGX_HTTP_KLAVIYO_SECOND_LEN + 1)
        {
            return 0;
        }

        second = sec;
    }

    p = ngx_cpymem(buf, text, NGX_HTTP_KLAVIYO_SECOND_LEN);

    if (msec) {
        *p++ = '.';
        *p++ = (u_char) ('0' + msec / 100 % 10);
        *p++ = (u_char) ('0' + msec / 10 % 10);
        *p++ = (u_char) ('0' + msec % 10);
    }

    *p++ = 'Z';

    return p - buf;
}


static ngx_int_t
ngx_http_klaviyo_track_unique_id(ngx_http_klaviyo_track_t *t, ngx_str_t *id)
{
    ngx_http_klaviyo_data_t  data;

    if (t->elements == 1 && t->candidate->event_id.len) {
        *id = t->candidate->event_id;
        return NGX_OK;
    }

    if (t->rule->unique_id) {
        ngx_http_klaviyo_value_eval(&t->eval, t->rule->unique_id, &data);

        /* as for a profile's id, "null" would be one for all */

        ngx_http_klaviyo_identity_check(&data, NGX_HTTP_KLAVIYO_EXTERNAL_ID,
                                        &t->account->company_id);

        if (!ngx_http_klaviyo_data_is_missing(&data)) {
            *id = data.text;
            return NGX_OK;
        }

        ngx_http_klaviyo_count(t->counters, bad_ids);
    }

    return ngx_http_klaviyo_track_default_id(t, id);
}


/* nonce-serial-sequence-rule-element */

static ngx_int_t
ngx_http_klaviyo_track_default_id(ngx_http_klaviyo_track_t *t, ngx_str_t *id)
{
    u_char  *p;

    if (ngx_http_klaviyo_id_len == 0) {
        ngx_http_klaviyo_id_len =
            ngx_sprintf(ngx_http_klaviyo_id, "%016xL-%xi-",
                        ngx_http_klaviyo_control_nonce(t->conf->control),
                        ngx_http_klaviyo_serial)
            - ngx_http_klaviyo_id;
    }

    if (t->ctx->sequence == 0) {
        t->ctx->sequence = ++ngx_http_klaviyo_sequence;
    }

    p = ngx_http_klaviyo_arena_alloc(&t->ctx->arena, NGX_HTTP_KLAVIYO_ID_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;

    p = ngx_cpymem(p, ngx_http_klaviyo_id, ngx_http_klaviyo_id_len);
    p = ngx_http_klaviyo_track_hex(p, t->ctx->sequence);
    *p++ = '-';
    p = ngx_http_klaviyo_track_hex(p, t->rule->number);
    *p++ = '-';
    p = ngx_http_klaviyo_track_hex(p, t->elements - 1);

    id->len = p - id->data;

    return NGX_OK;
}


static u_char *
ngx_http_klaviyo_track_hex(u_char *p, ngx_uint_t n)
{
    ngx_uint_t  shift;

    static const u_char  hex[] = "0123456789abcdef";

    for (shift = 0; n >> shift > 0xf; shift += 4) { /* void */ }

    for ( ;; ) {
        *p++ = hex[n >> shift & 0xf];

        if (shift == 0) {
            return p;
        }

        shift -= 4;
    }
}


ngx_int_t
ngx_http_klaviyo_track_id(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_candidate_t *candidate, ngx_str_t *id)
{
    ngx_http_klaviyo_track_t  t;

    if (candidate->event_id.len == 0) {

        if (candidate->rule->answer
            || (candidate->rule->unique_id && candidate->rule->unique_id->body
                && !ngx_http_klaviyo_body_known(ctx))
            || ngx_http_klaviyo_track_start(&t, ctx, candidate, NULL)
               != NGX_OK)
        {
            return NGX_DECLINED;
        }

        t.elements = 1;

        if (ngx_http_klaviyo_track_unique_id(&t, &candidate->event_id)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    *id = candidate->event_id;

    return NGX_OK;
}


static void
ngx_http_klaviyo_track_queue(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event, int64_t sec)
{
    ngx_str_t                  json;
    ngx_uint_t                 aged, limits;
    ngx_http_klaviyo_record_t  record;

    limits = 0;

    if (ngx_http_klaviyo_event_render(&t->ctx->arena, event, &json, &aged,
                                      &limits)
        != NGX_OK)
    {
        ngx_http_klaviyo_track_drop(t, NGX_HTTP_KLAVIYO_DROP_ERROR);
        return;
    }

    if (limits) {
        ngx_http_klaviyo_count_n(t->counters, limited, limits);
    }

    if (t->ctx->explain) {
        ngx_http_klaviyo_explain_limits(t->ctx->explain, limits);
    }

    ngx_memzero(&record, sizeof(ngx_http_klaviyo_record_t));

    record.id = ngx_murmur_hash2(event->unique_id.data, event->unique_id.len);
    record.time = (uint32_t) ngx_max(sec, 0);
    record.backfill = (uint16_t) aged;

    ngx_http_klaviyo_track_put(t, event, &record, &json);
}


static void
ngx_http_klaviyo_track_put(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event, ngx_http_klaviyo_record_t *record,
    ngx_str_t *json)
{
    ngx_http_klaviyo_once_t  once;

    if (t->ctx->explain) {
        ngx_http_klaviyo_explain_event(t->ctx->explain, json);
    }

    if (json->len + NGX_HTTP_KLAVIYO_ENVELOPE > t->account->batch_bytes) {
        ngx_http_klaviyo_track_drop(t, NGX_HTTP_KLAVIYO_DROP_TOO_LARGE);
        return;
    }

    if (ngx_http_klaviyo_once_mark(&t->eval, t->rule, t->visit,
                                   event->profile, &once)
        != NGX_OK)
    {
        ngx_http_klaviyo_track_skip(t, NGX_HTTP_KLAVIYO_SKIP_REPEATED);
        return;
    }

    record->rule = t->slot;

    if (t->source == NGX_HTTP_KLAVIYO_SOURCE_NONE) {
        ngx_http_klaviyo_track_hold(t, event, record, json, &once);
        return;
    }

    switch (ngx_http_klaviyo_ring_put(t->account->ring, record, json)) {

    case NGX_OK:
        ngx_str_set(&t->candidate->result, "queued");

        ngx_http_klaviyo_visit_learn(t->visit, event->profile, t->source);

        if (t->elements == 1) {
            t->candidate->event_id = event->unique_id;
        }

        ngx_http_klaviyo_control_wake(t->conf->control);

        if (t->conf->tail || t->ctx->explain) {
            ngx_http_klaviyo_track_watch(t, "queued", NULL, event);
        }

        return;

    case NGX_DECLINED:
        ngx_http_klaviyo_once_unmark(&t->eval, &once);
        ngx_http_klaviyo_track_dropped(t, NGX_HTTP_KLAVIYO_DROP_FULL);
        return;

    default: /* NGX_ABORT */
        ngx_http_klaviyo_once_unmark(&t->eval, &once);
        ngx_http_klaviyo_track_dropped(t, NGX_HTTP_KLAVIYO_DROP_TOO_LARGE);
        return;
    }
}


static void
ngx_http_klaviyo_track_hold(ngx_http_klaviyo_track_t *t,
    ngx_http_klaviyo_event_t *event, ngx_http_klaviyo_record_t *record,
    ngx_str_t *json, ngx_http_klaviyo_once_t *once)
{
    if (ngx_http_klaviyo_backlog_hold(t->ctx, t->visit, record, json,
                                      event->profile_at)
        != NGX_OK)
    {
        ngx_http_klaviyo_once_unmark(&t->eval, once);
        ngx_http_klaviyo_track_skip(t, NGX_HTTP_KLAVIYO_SKIP_UNIDENTIFIED);
        return;
    }

    if (t->elements == 1) {
        t->candidate->event_id = event->unique_id;
    }

    ngx_http_klaviyo_track_skip(t, NGX_HTTP_KLAVIYO_SKIP_HELD);
}


ngx_uint_t
ngx_http_klaviyo_rule_slot(ngx_http_klaviyo_control_t *control,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_account_t *account)
{
    u_char       key[NGX_HTTP_KLAVIYO_KEY_LEN];
    ngx_md5_t    md5;
    ngx_uint_t  *slot;

    /* facts are no events */

    if (rule->remember) {
        return NGX_HTTP_KLAVIYO_OTHER;
    }

    slot = &rule->slots[account->index];

    if (*slot != NGX_CONF_UNSET_UINT) {
        return *slot;
    }

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, account->name.data, account->name.len);
    ngx_md5_update(&md5, "", 1);
    ngx_md5_update(&md5, rule->metric.data, rule->metric.len);
    ngx_md5_update(&md5, "", 1);
    ngx_md5_update(&md5, rule->text.data, rule->text.len);
    ngx_md5_update(&md5, "", 1);
    ngx_md5_update(&md5, &rule->twin, sizeof(ngx_uint_t));
    ngx_md5_final(key, &md5);

    *slot = ngx_http_klaviyo_control_slot(control, key);

    ngx_http_klaviyo_ring_rule(account->ring, *slot);

    return *slot;
}
