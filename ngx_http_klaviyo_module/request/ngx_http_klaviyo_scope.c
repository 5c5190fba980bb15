
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Values are read as of the request that the visitor made: its method, URI and
 * arguments, whatever rewrites and redirects came after, and the captures of
 * the rule's own pattern.  What follows us, access_log first, must find all as
 * it would have been without us.
 */


#include "ngx_http_klaviyo_request.h"


static ngx_uint_t ngx_http_klaviyo_scope_equal(ngx_str_t *one,
    ngx_str_t *two);
static void ngx_http_klaviyo_scope_save(ngx_http_request_t *r,
    ngx_http_klaviyo_scope_t *scope);
static void ngx_http_klaviyo_scope_restore(ngx_http_request_t *r,
    ngx_http_klaviyo_scope_t *scope);


ngx_int_t
ngx_http_klaviyo_scope_enter(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope)
{
    size_t                      size;
    ngx_http_request_t         *r;
    ngx_http_core_srv_conf_t   *cscf;
    ngx_http_core_main_conf_t  *cmcf;

    r = ctx->request;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    size = cmcf->variables.nelts * sizeof(ngx_http_variable_value_t);

    scope->variables = ngx_palloc(r->pool, size);
    if (scope->variables == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(scope->variables, r->variables, size);

    ngx_http_klaviyo_scope_save(r, scope);

    /* before the log phase, what is known may still change */

    scope->own = (!ctx->logged
                  || !ngx_http_klaviyo_scope_equal(&r->args, &ctx->query)
                  || r->method != ctx->method);

    if (!ngx_http_klaviyo_scope_equal(&r->uri, &ctx->uri)) {
        scope->own = 1;

        /*
         * For $request_filename an alias takes as many bytes off the URI as
         * its location has; this URI may have less.
         */

        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
        r->loc_conf = cscf->ctx->loc_conf;
    }

    r->uri = ctx->uri;
    r->args = ctx->query;
    r->method_name = ctx->method_name;
    r->method = ctx->method;

    return NGX_OK;
}


static void
ngx_http_klaviyo_scope_save(ngx_http_request_t *r,
    ngx_http_klaviyo_scope_t *scope)
{
    scope->rule = NULL;
    scope->uri = r->uri;
    scope->args = r->args;
    scope->method_name = r->method_name;
    scope->method = r->method;
    scope->loc_conf = r->loc_conf;

#if (NGX_PCRE)

    scope->captures = r->captures;
    scope->captures_data = r->captures_data;
    scope->ncaptures = r->ncaptures;
    scope->realloc_captures = r->realloc_captures;

    /* so that the regexes of a map leave the array alone */

    r->realloc_captures = 1;

#endif
}


static void
ngx_http_klaviyo_scope_restore(ngx_http_request_t *r,
    ngx_http_klaviyo_scope_t *scope)
{
    r->uri = scope->uri;
    r->args = scope->args;
    r->method_name = scope->method_name;
    r->method = scope->method;
    r->loc_conf = scope->loc_conf;

#if (NGX_PCRE)

    /* a regex of a map sets its named captures too */

    if (r->captures != scope->captures) {
        scope->own = 1;
    }

    r->captures = scope->captures;
    r->captures_data = scope->captures_data;
    r->ncaptures = scope->ncaptures;
    r->realloc_captures = scope->realloc_captures;

#endif
}


static ngx_uint_t
ngx_http_klaviyo_scope_equal(ngx_str_t *one, ngx_str_t *two)
{
    return one->len == two->len
           && (one->data == two->data
               || ngx_memcmp(one->data, two->data, one->len) == 0);
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

    rule = candidate->rule;
    scope->rule = rule;

    capture = rule->captures.elts;
    scope->own |= (rule->captures.nelts != 0);

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
 * the first to ask for stays, unless it may stem from a capture of ours or of a
 * map, or from another URI than the request has now; $request_id is random and
 * must not be made twice.
 */

void
ngx_http_klaviyo_scope_leave(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope)
{
    ngx_uint_t                     i;
    ngx_http_request_t            *r;
    ngx_http_variable_value_t     *v;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    r = ctx->request;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    kmcf = ngx_http_get_module_main_conf(r, ngx_http_klaviyo_module);

    ngx_http_klaviyo_scope_restore(r, scope);

    if (scope->own) {
        v = &scope->variables[kmcf->request_id];

        if (!v->valid && !v->not_found) {
            *v = r->variables[kmcf->request_id];
        }

        ngx_memcpy(r->variables, scope->variables,
                   cmcf->variables.nelts * sizeof(ngx_http_variable_value_t));
        return;
    }

    for (i = 0; i < cmcf->variables.nelts; i++) {
        v = &scope->variables[i];

        if (v->valid || v->not_found) {
            r->variables[i] = *v;
        }
    }
}
