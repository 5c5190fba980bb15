
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Values are read as of the request that the visitor made: its URI and
 * arguments, whatever rewrites and redirects came after, and the captures of
 * the rule's own pattern.  What follows us, access_log first, must find all as
 * it would have been without us.
 */


#include "ngx_http_klaviyo_request.h"


ngx_int_t
ngx_http_klaviyo_scope_enter(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope)
{
    size_t                      size;
    ngx_http_request_t         *r;
    ngx_http_core_main_conf_t  *cmcf;

    r = ctx->request;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    size = cmcf->variables.nelts * sizeof(ngx_http_variable_value_t);

    scope->variables = ngx_palloc(r->pool, size);
    if (scope->variables == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(scope->variables, r->variables, size);

    scope->rule = NULL;
    scope->uri = r->uri;
    scope->args = r->args;

    r->uri = ctx->uri;
    r->args = ctx->query;

    return NGX_OK;
}


void
ngx_http_klaviyo_scope_captures(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope, ngx_http_klaviyo_candidate_t *candidate)
{
    size_t                      *offset;
    ngx_uint_t                   i;
    ngx_http_klaviyo_rule_t     *rule;
    ngx_http_variable_value_t   *v, *variables;
    ngx_http_klaviyo_capture_t  *capture;

    variables = ctx->request->variables;

    if (scope->rule) {
        capture = scope->rule->captures.elts;

        for (i = 0; i < scope->rule->captures.nelts; i++) {
            variables[capture[i].index] = scope->variables[capture[i].index];
        }
    }

    if (candidate == NULL) {
        return;
    }

    rule = candidate->rule;
    scope->rule = rule;

    capture = rule->captures.elts;

    /* a name may stand in several routes: those that did not match first */

    for (i = 0; i < rule->captures.nelts; i++) {
        v = &variables[capture[i].index];

        ngx_memzero(v, sizeof(ngx_http_variable_value_t));
        v->not_found = 1;
    }

    for (i = 0; i < rule->captures.nelts; i++) {

        if (capture[i].route != candidate->route->number
            || capture[i].group >= candidate->ncaptures)
        {
            continue;
        }

        offset = &candidate->captures[capture[i].group * 2];

        if (offset[0] == (size_t) -1) {
            continue;
        }

        v = &variables[capture[i].index];

        v->data = ctx->uri.data + offset[0];
        v->len = offset[1] - offset[0];
        v->valid = 1;
        v->not_found = 0;
    }
}


/*
 * A value that was cached before is cached again as it was.  One that we were
 * the first to ask for stays, unless it may stem from another URI than the
 * request has now; $request_id is random and must not be made twice.
 */

void
ngx_http_klaviyo_scope_leave(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope)
{
    ngx_uint_t                     i, moved;
    ngx_http_request_t            *r;
    ngx_http_variable_value_t     *v;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    r = ctx->request;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    kmcf = ngx_http_get_module_main_conf(r, ngx_http_klaviyo_module);

    ngx_http_klaviyo_scope_captures(ctx, scope, NULL);

    moved = (scope->uri.data != r->uri.data || scope->uri.len != r->uri.len
             || scope->args.data != r->args.data
             || scope->args.len != r->args.len);

    r->uri = scope->uri;
    r->args = scope->args;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        v = &scope->variables[i];

        if (v->valid || v->not_found
            || (moved && (ngx_int_t) i != kmcf->request_id))
        {
            r->variables[i] = *v;
        }
    }
}
