
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Which rules a request meets: decided on arrival by method and path, narrowed
 * to the location that nginx chose first, judged in the log phase.
 */


#include "ngx_http_klaviyo_request.h"
#include "ngx_http_klaviyo_explain.h"
#include "ngx_http_klaviyo_secret.h"
#include "ngx_http_klaviyo_visit.h"


static ngx_int_t ngx_http_klaviyo_match_route(void *data,
    ngx_http_klaviyo_route_t *route, size_t *captures, ngx_uint_t ncaptures);
static ngx_int_t ngx_http_klaviyo_match_add(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_route_t *route, size_t *captures, ngx_uint_t ncaptures);
static ngx_uint_t ngx_http_klaviyo_match_landing(ngx_http_request_t *r);
static ngx_http_klaviyo_ctx_t *ngx_http_klaviyo_create_ctx(
    ngx_http_request_t *r);
static void ngx_http_klaviyo_cleanup_ctx(void *data);


typedef struct {
    ngx_http_request_t                  *request;
    ngx_http_klaviyo_ctx_t              *ctx;
} ngx_http_klaviyo_match_t;


ngx_int_t
ngx_http_klaviyo_match_handler(ngx_http_request_t *r)
{
    ngx_http_klaviyo_match_t      match;
    ngx_http_klaviyo_loc_conf_t  *klcf;

    /* a subrequest, or a redirect: what it comes to does not matter */

    if (r->internal) {
        return NGX_DECLINED;
    }

    klcf = ngx_http_get_module_loc_conf(r, ngx_http_klaviyo_module);

    if (klcf->index == NULL && !klcf->visited && klcf->explain == NULL) {
        return NGX_DECLINED;
    }

    match.request = r;
    match.ctx = NULL;

    if (klcf->explain && ngx_http_klaviyo_secret_check(r, klcf->explain)) {
        match.ctx = ngx_http_klaviyo_create_ctx(r);

        if (match.ctx) {
            ngx_http_klaviyo_explain_begin(match.ctx, klcf->explain->full);
        }
    }

    if (klcf->index
        && ngx_http_klaviyo_index_match(klcf->index, r->method, &r->uri,
                                        ngx_http_klaviyo_match_route, &match)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "klaviyo: no memory to track the request");
        return NGX_DECLINED;
    }

    if (klcf->visited
        && (klcf->confirms || ngx_http_klaviyo_match_landing(r)))
    {

        if (match.ctx == NULL) {
            match.ctx = ngx_http_klaviyo_create_ctx(r);
        }

        if (match.ctx) {
            match.ctx->landing = 1;
        }
    }

    return NGX_DECLINED;
}


/* Whether the query may have a _kx, which is remembered without a rule. */

static ngx_uint_t
ngx_http_klaviyo_match_landing(ngx_http_request_t *r)
{
    return r->args.len > 4
           && ngx_strlcasestrn(r->args.data, r->args.data + r->args.len,
                               (u_char *) "_kx=", 4 - 1)
              != NULL;
}


static ngx_int_t
ngx_http_klaviyo_match_route(void *data, ngx_http_klaviyo_route_t *route,
    size_t *captures, ngx_uint_t ncaptures)
{
    ngx_http_klaviyo_match_t *match = data;

    if (match->ctx == NULL) {
        match->ctx = ngx_http_klaviyo_create_ctx(match->request);

        if (match->ctx == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_klaviyo_match_add(match->ctx, route, captures, ncaptures);
}


/* By rule in their order; of the routes of a rule the first one counts. */

static ngx_int_t
ngx_http_klaviyo_match_add(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_route_t *route, size_t *captures, ngx_uint_t ncaptures)
{
    size_t                         *copy;
    ngx_http_klaviyo_rule_t        *rule;
    ngx_http_klaviyo_candidate_t   *candidate, **next;

    rule = route->rule;
    next = &ctx->candidates;

    while (*next && (*next)->rule->number < rule->number) {
        next = &(*next)->next;
    }

    candidate = *next;

    if (candidate == NULL || candidate->rule != rule) {

        candidate = ngx_pcalloc(ctx->request->pool,
                                sizeof(ngx_http_klaviyo_candidate_t));
        if (candidate == NULL) {
            return NGX_ERROR;
        }

        candidate->rule = rule;
        candidate->next = *next;
        *next = candidate;

    } else if (candidate->route->number < route->number) {
        return NGX_OK;
    }

    candidate->route = route;
    candidate->ncaptures = 0;

    if (ncaptures == 0 || rule->captures.nelts == 0) {
        return NGX_OK;
    }

    copy = ngx_palloc(ctx->request->pool, ncaptures * 2 * sizeof(size_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy, captures, ncaptures * 2 * sizeof(size_t));

    candidate->captures = copy;
    candidate->ncaptures = ncaptures;

    return NGX_OK;
}


static ngx_http_klaviyo_ctx_t *
ngx_http_klaviyo_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_klaviyo_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_klaviyo_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;

    ngx_memzero(ctx, sizeof(ngx_http_klaviyo_ctx_t));

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_klaviyo_module);
    ctx->uri = r->uri;
    ctx->query = r->args;
    ctx->method_name = r->method_name;
    ctx->method = r->method;
    ctx->body = (r->headers_in.content_length_n > 0 || r->headers_in.chunked);

    ngx_http_klaviyo_arena_init(&ctx->arena, r->pool,
                                NGX_HTTP_KLAVIYO_ARENA_SIZE);

    cln->handler = ngx_http_klaviyo_cleanup_ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_klaviyo_module);

    return ctx;
}


static void
ngx_http_klaviyo_cleanup_ctx(void *data)
{
    ngx_http_klaviyo_ctx_t *ctx = data;

    ngx_http_klaviyo_arena_done(&ctx->arena);
}


ngx_http_klaviyo_ctx_t *
ngx_http_klaviyo_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_klaviyo_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_klaviyo_module);

    if (ctx || (!r->internal && !r->filter_finalize)) {
        return ctx;
    }

    /* the contexts were cleared by an internal redirect */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_klaviyo_cleanup_ctx) {
            ctx = cln->data;
            break;
        }
    }

    if (ctx) {

        /* where the redirect came to is not where the request went to */

        ctx->located = 1;
        ngx_http_set_ctx(r, ctx, ngx_http_klaviyo_module);
    }

    return ctx;
}


ngx_int_t
ngx_http_klaviyo_locate_handler(ngx_http_request_t *r)
{
    ngx_http_klaviyo_ctx_t  *ctx;

    /* after a redirect nothing is found here, or what has a location */

    ctx = ngx_http_get_module_ctx(r, ngx_http_klaviyo_module);

    if (ctx == NULL || !ngx_http_klaviyo_locate(ctx)) {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_body_read(ctx);
}


ngx_uint_t
ngx_http_klaviyo_locate(ngx_http_klaviyo_ctx_t *ctx)
{
    if (ctx->located) {
        return 0;
    }

    ctx->located = 1;
    ctx->conf = ngx_http_get_module_loc_conf(ctx->request,
                                             ngx_http_klaviyo_module);

    return 1;
}


ngx_uint_t
ngx_http_klaviyo_rule_counts(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_rule_t *rule)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_except_t    *except;
    ngx_http_klaviyo_loc_conf_t  *conf, *level;

    conf = ctx->conf;
    level = rule->level;

    if (!conf->enable
        || conf->enter < level->enter || conf->enter > level->leave)
    {
        return 0;
    }

    if (conf->excepts == NULL) {
        return 1;
    }

    except = conf->excepts->elts;

    for (i = 0; i < conf->excepts->nelts; i++) {

        if (except[i].level > level->enter
            && !rule->remember
            && except[i].metric.len == rule->metric.len
            && ngx_strncmp(except[i].metric.data, rule->metric.data,
                           rule->metric.len)
               == 0)
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_klaviyo_log_handler(ngx_http_request_t *r)
{
    ngx_http_klaviyo_ctx_t        *ctx;
    ngx_http_klaviyo_scope_t       scope;
    ngx_http_klaviyo_candidate_t  *candidate;

    if (r != r->main) {
        return NGX_OK;
    }

    ctx = ngx_http_klaviyo_get_ctx(r);

    if (ctx == NULL || ctx->logged) {
        return NGX_OK;
    }

    ctx->logged = 1;

    /* nginx may answer as soon as it has found the location */

    (void) ngx_http_klaviyo_locate(ctx);

    if (ngx_http_klaviyo_scope_enter(ctx, &scope) != NGX_OK) {
        return NGX_OK;
    }

    for (candidate = ctx->candidates; candidate; candidate = candidate->next) {

        if (ngx_http_klaviyo_rule_counts(ctx, candidate->rule)) {
            ngx_http_klaviyo_scope_captures(ctx, &scope, candidate);
            ngx_http_klaviyo_track(ctx, candidate);
        }
    }

    ngx_http_klaviyo_visit_finish(ctx);

    if (ctx->explain) {
        ngx_http_klaviyo_explain_end(ctx->explain);
    }

    ngx_http_klaviyo_scope_leave(ctx, &scope);

    return NGX_OK;
}
