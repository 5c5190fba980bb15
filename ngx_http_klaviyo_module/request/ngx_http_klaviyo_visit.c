
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Who a request's visitor is to the memory.  One lookup per request and
 * account; what the request has found out is gathered and written back once,
 * and only if it is new: else a read is all that a visitor costs.
 */


#include "ngx_http_klaviyo_backlog.h"
#include "ngx_http_klaviyo_cookie.h"
#include "ngx_http_klaviyo_noise.h"


/* a longer one is no key of a visitor */
#define NGX_HTTP_KLAVIYO_VISIT_VALUE     4096

/* other workers that may change the same visitor meanwhile */
#define NGX_HTTP_KLAVIYO_VISIT_TRIES     4


#define NGX_HTTP_KLAVIYO_VISIT_SIGNALS                                        \
    (NGX_HTTP_KLAVIYO_IGNORE_OPTOUT|NGX_HTTP_KLAVIYO_IGNORE_GPC               \
     |NGX_HTTP_KLAVIYO_IGNORE_DNT)


static ngx_uint_t ngx_http_klaviyo_visit_unknown(
    ngx_http_klaviyo_eval_t *eval);
static void ngx_http_klaviyo_visit_value(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit);
static void ngx_http_klaviyo_visit_find(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit);
static ngx_int_t ngx_http_klaviyo_visit_noise(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_visit_t *visit, ngx_uint_t ignore);
static ngx_uint_t ngx_http_klaviyo_visit_browser(ngx_http_request_t *r,
    ngx_uint_t ignore);
static ngx_uint_t ngx_http_klaviyo_visit_consent(
    ngx_http_klaviyo_eval_t *eval, ngx_http_klaviyo_visit_t *visit);
static ngx_http_klaviyo_consent_e ngx_http_klaviyo_visit_conditions(
    ngx_http_klaviyo_eval_t *eval, ngx_array_t *conditions,
    ngx_uint_t *holds);
static ngx_uint_t ngx_http_klaviyo_visit_person(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit);
static void ngx_http_klaviyo_visit_landing(ngx_http_klaviyo_ctx_t *ctx);
static ngx_uint_t ngx_http_klaviyo_visit_knows(
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_visitor_t *visitor,
    ngx_http_klaviyo_member_t *who);
static void ngx_http_klaviyo_visit_store(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_visitor_t *visitor);
static void ngx_http_klaviyo_visit_save(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit);


void
ngx_http_klaviyo_visit_eval(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_eval_t *eval)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    ngx_memzero(eval, sizeof(ngx_http_klaviyo_eval_t));

    eval->request = ctx->request;
    eval->ctx = ctx;
    eval->arena = &ctx->arena;
    eval->args = &ctx->args;
    eval->cookies = &ctx->cookies;
    eval->http_cookie = kmcf->http_cookie;
    eval->account = account;
}


ngx_http_klaviyo_visit_t *
ngx_http_klaviyo_visit(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_account_t *account)
{
    ngx_http_klaviyo_visit_t  *visit;

    if (ctx->conf->visitor == NULL) {
        return NULL;
    }

    for (visit = ctx->visits; visit; visit = visit->next) {

        if (visit->account == account) {
            return visit->value.len ? visit : NULL;
        }
    }

    visit = ngx_http_klaviyo_arena_alloc(&ctx->arena,
                                         sizeof(ngx_http_klaviyo_visit_t));
    if (visit == NULL) {
        return NULL;
    }

    ngx_memzero(visit, sizeof(ngx_http_klaviyo_visit_t));

    visit->account = account;
    visit->next = ctx->visits;
    ctx->visits = visit;

    ngx_http_klaviyo_visit_value(ctx, visit);

    if (visit->value.len) {
        ngx_http_klaviyo_visit_find(ctx, visit);
    }

    return visit->value.len ? visit : NULL;
}


/* Who it is might be known, and with it that no event is wanted. */

static ngx_uint_t
ngx_http_klaviyo_visit_unknown(ngx_http_klaviyo_eval_t *eval)
{
    ngx_http_klaviyo_visit_t  *visit;

    if (eval->ctx->conf->visitor == NULL) {
        return 0;
    }

    for (visit = eval->ctx->visits; visit; visit = visit->next) {

        if (visit->account == eval->account) {
            return visit->unknown;
        }
    }

    return 1;
}


static void
ngx_http_klaviyo_visit_value(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit)
{
    ngx_str_t                  text;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_eval_t    eval;
    ngx_http_klaviyo_value_t  *value;

    value = ctx->conf->visitor;

    ngx_http_klaviyo_visit_eval(ctx, visit->account, &eval);
    ngx_http_klaviyo_value_eval(&eval, value, &data);

    visit->unknown = (data.type == NGX_HTTP_KLAVIYO_UNKNOWN);

    if (ngx_http_klaviyo_data_text(&data, &text) != NGX_OK
        || text.len > NGX_HTTP_KLAVIYO_VISIT_VALUE
        || ngx_http_klaviyo_identity_nobody(&text))
    {
        return;
    }

    visit->value = text;
    visit->sent = (!value->answer && !value->late)
                  || ngx_http_klaviyo_cookie_sent(ctx, &text);
}


static void
ngx_http_klaviyo_visit_find(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit)
{
    ngx_str_t                      text, parts[2];
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    parts[0] = visit->account->name;
    parts[1] = visit->value;

    text.len = NGX_HTTP_KLAVIYO_VISITOR_LEN;
    text.data = ngx_http_klaviyo_arena_alloc(&ctx->arena, text.len);

    if (text.data == NULL) {
        visit->unknown = 1;
        visit->value.len = 0;
        return;
    }

    if (ngx_http_klaviyo_memory_key(kmcf->memory,
                                    NGX_HTTP_KLAVIYO_MEMORY_VISITOR, parts, 2,
                                    &visit->key)
        != NGX_OK)
    {
        visit->value.len = 0;
        return;
    }

    if (ngx_http_klaviyo_memory_find(kmcf->memory, &visit->key, &text,
                                     &visit->version)
        == NGX_OK)
    {
        visit->there = (ngx_http_klaviyo_visitor_parse(&text, &visit->visitor)
                        == NGX_OK);
    }
}


ngx_int_t
ngx_http_klaviyo_visit_judge(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_visit_t *visit, ngx_uint_t ignore)
{
    ngx_int_t  reason;

    reason = ngx_http_klaviyo_visit_noise(eval, visit, ignore);

    if (reason != NGX_DECLINED) {
        return reason;
    }

    if (!ngx_http_klaviyo_visit_consent(eval, visit)) {
        return NGX_HTTP_KLAVIYO_SKIP_CONSENT;
    }

    if (visit == NULL && ngx_http_klaviyo_visit_unknown(eval)) {
        return NGX_HTTP_KLAVIYO_SKIP_LIMIT;
    }

    if (visit) {
        visit->allowed = 1;

        /* it has come back, or it would not be remembered */

        visit->change.confirm = visit->visitor.unconfirmed;
    }

    return NGX_DECLINED;
}


/*
 * What the visitor's browser has said binds the calls of the shop's back end,
 * which can't say it.  Only a browser can take it back.
 */

static ngx_int_t
ngx_http_klaviyo_visit_noise(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_visit_t *visit, ngx_uint_t ignore)
{
    ngx_int_t                      reason;
    ngx_str_t                      optout;
    ngx_uint_t                     said;
    ngx_http_klaviyo_data_t        data;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    ngx_str_null(&optout);

    if (ignore & NGX_HTTP_KLAVIYO_IGNORE_OPTOUT) {
        kmcf = ngx_http_get_module_main_conf(eval->request,
                                             ngx_http_klaviyo_module);

        ngx_http_klaviyo_value_variable(eval->request, kmcf->kla_off, &data);

        if (!ngx_http_klaviyo_data_is_missing(&data)) {
            optout = data.text;
        }
    }

    reason = ngx_http_klaviyo_noise(eval->request, ignore, &optout);

    if (visit == NULL || reason == NGX_HTTP_KLAVIYO_SKIP_PREFETCH
        || reason == NGX_HTTP_KLAVIYO_SKIP_BOTS)
    {
        return reason;
    }

    if (reason != NGX_DECLINED) {
        visit->change.optout |= ngx_http_klaviyo_noise_signal(reason);
        return reason;
    }

    if (ngx_http_klaviyo_visit_browser(eval->request, ignore)) {
        visit->change.silent = 1;
        return NGX_DECLINED;
    }

    said = visit->visitor.optout & ignore;

    return said ? ngx_http_klaviyo_noise_reason(said) : NGX_DECLINED;
}


/*
 * Where robots count, it may be the shop's back end; else a program that calls
 * itself otherwise.
 */

static ngx_uint_t
ngx_http_klaviyo_visit_browser(ngx_http_request_t *r, ngx_uint_t ignore)
{
    ngx_table_elt_t  *h;

    h = r->headers_in.user_agent;

    return (ignore & NGX_HTTP_KLAVIYO_IGNORE_BOTS)
           && (ignore & NGX_HTTP_KLAVIYO_VISIT_SIGNALS)
              == NGX_HTTP_KLAVIYO_VISIT_SIGNALS
           && h && h->value.len > 8
           && ngx_strncmp(h->value.data, "Mozilla/", 8) == 0;
}


/*
 * Where the request has what klaviyo_consent asks for, it decides and is
 * remembered; else what was remembered does, and where that is nothing, what
 * the configuration makes of a missing value.
 */

static ngx_uint_t
ngx_http_klaviyo_visit_consent(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_visit_t *visit)
{
    ngx_uint_t                   holds;
    ngx_array_t                 *conditions;
    ngx_http_klaviyo_consent_e   said;

    conditions = eval->ctx->conf->consent;

    if (conditions == NULL) {
        return visit == NULL
               || visit->visitor.consent != NGX_HTTP_KLAVIYO_CONSENT_NO;
    }

    /* off */

    if (conditions->nelts == 0) {
        return 1;
    }

    said = ngx_http_klaviyo_visit_conditions(eval, conditions, &holds);

    if (visit == NULL) {
        return holds;
    }

    if (said == NGX_HTTP_KLAVIYO_CONSENT_UNKNOWN) {
        said = visit->visitor.consent;

    } else {
        visit->change.consent = said;
    }

    if (said == NGX_HTTP_KLAVIYO_CONSENT_UNKNOWN) {
        return holds;
    }

    return said == NGX_HTTP_KLAVIYO_CONSENT_YES;
}


/*
 * What the visitor has said, and whether the conditions hold by themselves.  A
 * limit that was met is no consent, but nothing that anybody has said.
 */

static ngx_http_klaviyo_consent_e
ngx_http_klaviyo_visit_conditions(ngx_http_klaviyo_eval_t *eval,
    ngx_array_t *conditions, ngx_uint_t *holds)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i, silent;
    ngx_http_klaviyo_data_t        data;
    ngx_http_klaviyo_condition_t  *c;

    silent = 0;
    *holds = 1;

    c = conditions->elts;

    for (i = 0; i < conditions->nelts; i++) {

        rc = ngx_http_klaviyo_condition_eval(eval, &c[i]);

        ngx_http_klaviyo_value_input(eval, &c[i].value, &data);

        if (rc == NGX_DECLINED && !ngx_http_klaviyo_data_is_missing(&data)) {
            *holds = 0;
            return NGX_HTTP_KLAVIYO_CONSENT_NO;
        }

        silent |= ngx_http_klaviyo_data_is_missing(&data) || rc != NGX_OK;

        if (rc != NGX_OK) {
            *holds = 0;
        }
    }

    return silent ? NGX_HTTP_KLAVIYO_CONSENT_UNKNOWN
                  : NGX_HTTP_KLAVIYO_CONSENT_YES;
}


void
ngx_http_klaviyo_visit_learn(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *member, ngx_http_klaviyo_source_e source)
{
    ngx_str_t                   text;
    ngx_http_klaviyo_change_t  *change;

    if (visit == NULL
        || member->field > NGX_HTTP_KLAVIYO_KX
        || source == NGX_HTTP_KLAVIYO_SOURCE_VISITOR
        || ngx_http_klaviyo_data_text(&member->data, &text) != NGX_OK)
    {
        return;
    }

    change = &visit->change;

    /* another rule of this request may have known better */

    if (change->id.len && change->stated
        && source != NGX_HTTP_KLAVIYO_SOURCE_STATED)
    {
        return;
    }

    change->id = text;
    change->field = member->field;
    change->stated = (source == NGX_HTTP_KLAVIYO_SOURCE_STATED);
    change->unconfirmed = 0;
}


ngx_int_t
ngx_http_klaviyo_visit_link(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_member_t *member)
{
    if (!ctx->conf->kx || ngx_http_klaviyo_visit_person(ctx, visit)) {
        return NGX_OK;
    }

    if (visit && visit->change.id.len == 0) {
        ngx_http_klaviyo_visit_learn(visit, member,
                                     NGX_HTTP_KLAVIYO_SOURCE_LINK);
        visit->change.unconfirmed = 1;
    }

    return NGX_DECLINED;
}


/* Signs of a person: what comes back from an earlier request. */

static ngx_uint_t
ngx_http_klaviyo_visit_person(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit)
{
    ngx_http_klaviyo_data_t        data;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (visit && (visit->there || visit->sent)) {
        return 1;
    }

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    ngx_http_klaviyo_value_variable(ctx->request, kmcf->kla_id, &data);

    return !ngx_http_klaviyo_data_is_missing(&data);
}


ngx_uint_t
ngx_http_klaviyo_visit_recall(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *member)
{
    return visit
           && ngx_http_klaviyo_visit_knows(visit, &visit->visitor, member);
}


static ngx_uint_t
ngx_http_klaviyo_visit_knows(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_visitor_t *visitor, ngx_http_klaviyo_member_t *who)
{
    if (visitor->id.len == 0) {
        return 0;
    }

    who->field = visitor->field;
    who->key = *ngx_http_klaviyo_identity_key(visitor->field);

    ngx_http_klaviyo_data_set_string(&who->data, visitor->id.data,
                                     visitor->id.len);

    /* another company's _kx: the configuration may have changed */

    ngx_http_klaviyo_identity_check(&who->data, who->field,
                                    &visit->account->company_id);

    return !ngx_http_klaviyo_data_is_missing(&who->data);
}


void
ngx_http_klaviyo_visit_finish(ngx_http_klaviyo_ctx_t *ctx)
{
    ngx_http_klaviyo_visit_t  *visit;

    if (ctx->conf->visitor == NULL) {
        return;
    }

    ngx_http_klaviyo_visit_landing(ctx);

    for (visit = ctx->visits; visit; visit = visit->next) {
        if (visit->value.len) {
            ngx_http_klaviyo_visit_save(ctx, visit);
        }
    }
}


/*
 * A _kx stands in the landing page's URL only: it must not be lost where no
 * rule was met, or none that has made an event, as with a redirect.  And who
 * asks for anything else after that is not a robot that opens a link once.
 */

static void
ngx_http_klaviyo_visit_landing(ngx_http_klaviyo_ctx_t *ctx)
{
    ngx_uint_t                   found;
    ngx_http_klaviyo_eval_t      eval;
    ngx_http_klaviyo_visit_t    *visit;
    ngx_http_klaviyo_member_t    member;
    ngx_http_klaviyo_identity_t  identity;

    if (!ctx->landing || !ctx->conf->enable) {
        return;
    }

    ngx_memzero(&identity, sizeof(ngx_http_klaviyo_identity_t));

    identity.rungs = ctx->conf->identity & NGX_HTTP_KLAVIYO_IDENTITY_KX;
    identity.args = ctx->query;
    identity.company = ctx->conf->account->company_id;

    found = ngx_http_klaviyo_identity_stated(&ctx->arena, &identity, &member);

    if (!found && !ctx->conf->kx) {
        return;
    }

    visit = ngx_http_klaviyo_visit(ctx, ctx->conf->account);

    if (visit == NULL || visit->allowed || visit->change.id.len
        || (!found && !visit->visitor.unconfirmed))
    {
        return;
    }

    ngx_http_klaviyo_visit_eval(ctx, visit->account, &eval);

    switch (ngx_http_klaviyo_visit_judge(&eval, visit, ctx->conf->ignore)) {

    case NGX_DECLINED:
    case NGX_HTTP_KLAVIYO_SKIP_CONSENT:

        /* who has not been asked yet may still say yes */

        if (found
            && ngx_http_klaviyo_visit_link(ctx, visit, &member) == NGX_OK)
        {
            ngx_http_klaviyo_visit_learn(visit, &member,
                                         NGX_HTTP_KLAVIYO_SOURCE_LINK);
        }
    }
}


/*
 * Who refuses has no backlog: whatever another worker has put there meanwhile,
 * or has outlived the visitor's record.
 */

static void
ngx_http_klaviyo_visit_save(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit)
{
    ngx_http_klaviyo_visitor_t  visitor;

    visitor = visit->visitor;

    ngx_http_klaviyo_visit_store(ctx, visit, &visitor);

    if (visitor.consent == NGX_HTTP_KLAVIYO_CONSENT_NO
        && (visit->change.consent == NGX_HTTP_KLAVIYO_CONSENT_NO
            || visit->change.hold))
    {
        ngx_http_klaviyo_backlog_forget(ctx, visit);
    }
}


/*
 * "visitor" is what was found, and becomes what is there.  A backlog is taken
 * by the request that makes the identity known.
 */

static void
ngx_http_klaviyo_visit_store(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_visitor_t *visitor)
{
    u_char                         buf[NGX_HTTP_KLAVIYO_VISITOR_LEN];
    u_char                         now[NGX_HTTP_KLAVIYO_VISITOR_LEN];
    ngx_str_t                      text;
    ngx_uint_t                     i, changed, known;
    ngx_http_klaviyo_member_t      who;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    for (i = 0; i < NGX_HTTP_KLAVIYO_VISIT_TRIES; i++) {

        changed = ngx_http_klaviyo_visitor_apply(visitor, &visit->change);

        known = visitor->held && !visitor->unconfirmed && visit->allowed
                && ngx_http_klaviyo_visit_knows(visit, visitor, &who);

        if (!changed && !known) {
            return;
        }

        visitor->held &= !known;

        text.data = buf;
        text.len = ngx_http_klaviyo_visitor_format(buf, visitor);

        if (ngx_http_klaviyo_memory_store(kmcf->memory, &visit->key, &text,
                                          ctx->conf->visitor_ttl,
                                          &visit->version)
            != NGX_DECLINED)
        {
            if (known) {
                ngx_http_klaviyo_backlog_release(ctx, visit, &who);
            }

            return;
        }

        text.data = now;
        text.len = NGX_HTTP_KLAVIYO_VISITOR_LEN;

        if (ngx_http_klaviyo_memory_find(kmcf->memory, &visit->key, &text,
                                         &visit->version)
            != NGX_OK)
        {
            text.len = 0;
        }

        (void) ngx_http_klaviyo_visitor_parse(&text, visitor);
    }
}
