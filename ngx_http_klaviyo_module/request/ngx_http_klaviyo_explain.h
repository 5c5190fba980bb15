
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The story of one request that asked for it (klaviyo_explain), as JSON: which
 * rules were tried, what each condition and value came to, and what became of
 * the event.  Who evaluates calls these if eval->explain or ctx->explain is not
 * NULL; nothing of a request changes by it.  A story is bounded: what has no
 * room is left out and the story says so.  All in a worker.
 */


#ifndef _NGX_HTTP_KLAVIYO_EXPLAIN_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_EXPLAIN_H_INCLUDED_


#include "ngx_http_klaviyo_request.h"
#include "ngx_http_klaviyo_identity.h"
#include "ngx_http_klaviyo_watch.h"


/*
 * On arrival: begins the story of ctx->request and adds the response's header
 * X-Klaviyo-Explain-Id.  ctx->explain stays NULL without memory.
 */
void ngx_http_klaviyo_explain_begin(ngx_http_klaviyo_ctx_t *ctx,
    ngx_uint_t full);

/* What follows is about this rule. */
void ngx_http_klaviyo_explain_rule(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_candidate_t *candidate,
    ngx_http_klaviyo_account_t *account);

/*
 * What the term of a value gave.  Returns where to put what its filters make of
 * that ("entry"), borrowed; NULL: it has none, or there is no room.
 */
json_t *ngx_http_klaviyo_explain_value(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_data_t *data);
void ngx_http_klaviyo_explain_step(ngx_http_klaviyo_explain_t *explain,
    json_t *entry, ngx_http_klaviyo_filter_t *filter,
    ngx_http_klaviyo_data_t *data);

/* "rc" is what ngx_http_klaviyo_condition_eval() returns. */
void ngx_http_klaviyo_explain_condition(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_condition_t *c, ngx_int_t rc);

/* Status, noise and consent: a ngx_http_klaviyo_skip_e or NGX_DECLINED. */
void ngx_http_klaviyo_explain_verdict(ngx_http_klaviyo_explain_t *explain,
    ngx_int_t verdict);

/* The "n" identifiers of the event, and where they were looked for. */
void ngx_http_klaviyo_explain_identity(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *member,
    ngx_uint_t n);

/* The event as it would be sent, ahead of its outcome. */
void ngx_http_klaviyo_explain_event(ngx_http_klaviyo_explain_t *explain,
    ngx_str_t *json);

void ngx_http_klaviyo_explain_outcome(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_watch_t *watch);

/* How often a limit left something out. */
void ngx_http_klaviyo_explain_limits(ngx_http_klaviyo_explain_t *explain,
    ngx_uint_t limits);

/* In the log phase, when all rules are judged: keeps the story. */
void ngx_http_klaviyo_explain_end(ngx_http_klaviyo_explain_t *explain);


#endif /* _NGX_HTTP_KLAVIYO_EXPLAIN_H_INCLUDED_ */
