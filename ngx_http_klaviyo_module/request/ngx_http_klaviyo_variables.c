
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * $klaviyo_url, $klaviyo_result, $klaviyo_event_id, and the bodies as texts.
 */


#include "ngx_http_klaviyo_cookie.h"
#include "ngx_http_klaviyo_url.h"


static ngx_int_t ngx_http_klaviyo_url_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_klaviyo_result_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_klaviyo_event_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_klaviyo_body_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_klaviyo_url_host(ngx_http_request_t *r, ngx_str_t *host,
    ngx_str_t *port);
static void ngx_http_klaviyo_set_variable(ngx_http_variable_value_t *v,
    u_char *data, size_t len);


static ngx_http_variable_t  ngx_http_klaviyo_vars[] = {

    { ngx_string("klaviyo_url"), NULL, ngx_http_klaviyo_url_variable, 0, 0,
      0 },

    { ngx_string("klaviyo_result"), NULL, ngx_http_klaviyo_result_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("klaviyo_event_id"), NULL,
      ngx_http_klaviyo_event_id_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("klaviyo_visitor_id"), NULL,
      ngx_http_klaviyo_cookie_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("klaviyo_request_body"), NULL,
      ngx_http_klaviyo_body_variable, NGX_HTTP_KLAVIYO_SAID_REQUEST_TEXT,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("klaviyo_response_body"), NULL,
      ngx_http_klaviyo_body_variable, NGX_HTTP_KLAVIYO_SAID_RESPONSE_TEXT,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_klaviyo_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_klaviyo_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_url_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p, *url;
    ngx_str_t                  host, port, uri;
    ngx_http_klaviyo_arena_t   arena;

    v->not_found = 1;

    ngx_http_klaviyo_url_host(r, &host, &port);

    if (host.len == 0 || r->unparsed_uri.len == 0) {
        return NGX_OK;
    }

    ngx_http_klaviyo_arena_init(&arena, r->pool, NGX_HTTP_KLAVIYO_ARENA_SIZE);

    if (ngx_http_klaviyo_url_visible(&arena, &r->unparsed_uri, &uri)
        != NGX_OK)
    {
        return NGX_OK;
    }

    url = ngx_pnalloc(r->pool, sizeof("https://") - 1 + host.len + port.len
                               + uri.len);
    if (url == NULL) {
        return NGX_ERROR;
    }

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        p = ngx_cpymem(url, "https://", sizeof("https://") - 1);

    } else
#endif
    {
        p = ngx_cpymem(url, "http://", sizeof("http://") - 1);
    }

    p = ngx_cpymem(p, host.data, host.len);
    p = ngx_cpymem(p, port.data, port.len);
    p = ngx_cpymem(p, uri.data, uri.len);

    ngx_http_klaviyo_set_variable(v, url, p - url);

    return NGX_OK;
}


/*
 * The host that nginx decided on, with the port that the visitor wrote: the
 * Host header is believed only where it is that host.
 */

static void
ngx_http_klaviyo_url_host(ngx_http_request_t *r, ngx_str_t *host,
    ngx_str_t *port)
{
    ngx_str_t                 *value;
    ngx_http_core_srv_conf_t  *cscf;

    ngx_str_set(port, "");

    *host = r->headers_in.server;

    if (host->len == 0) {
        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
        *host = cscf->server_name;
        return;
    }

    if (r->headers_in.host == NULL) {
        return;
    }

    value = &r->headers_in.host->value;

    if (value->len > host->len && value->data[host->len] == ':'
        && ngx_strncasecmp(value->data, host->data, host->len) == 0)
    {
        port->data = value->data + host->len;
        port->len = value->len - host->len;
    }
}


static ngx_int_t
ngx_http_klaviyo_result_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                        *p, *result;
    size_t                         len;
    ngx_http_klaviyo_ctx_t        *ctx;
    ngx_http_klaviyo_candidate_t  *candidate;

    v->not_found = 1;

    ctx = ngx_http_klaviyo_get_ctx(r->main);

    if (ctx == NULL) {
        return NGX_OK;
    }

    len = 0;

    for (candidate = ctx->candidates; candidate; candidate = candidate->next) {
        if (candidate->result.len) {
            len += candidate->result.len + 1;
        }
    }

    if (len == 0) {
        return NGX_OK;
    }

    result = ngx_pnalloc(r->pool, len);
    if (result == NULL) {
        return NGX_ERROR;
    }

    p = result;

    for (candidate = ctx->candidates; candidate; candidate = candidate->next) {

        if (candidate->result.len) {
            p = ngx_cpymem(p, candidate->result.data, candidate->result.len);
            *p++ = ',';
        }
    }

    ngx_http_klaviyo_set_variable(v, result, len - 1);

    return NGX_OK;
}


/* Of the first rule for events that counts; maybe before the log phase. */

static ngx_int_t
ngx_http_klaviyo_event_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                      rc;
    ngx_str_t                      id;
    ngx_http_klaviyo_ctx_t        *ctx;
    ngx_http_klaviyo_scope_t       scope;
    ngx_http_klaviyo_candidate_t  *candidate;

    v->not_found = 1;

    ctx = ngx_http_klaviyo_get_ctx(r->main);

    if (ctx == NULL) {
        return NGX_OK;
    }

    for (candidate = ctx->candidates; candidate; candidate = candidate->next) {
        if (candidate->rule->lane == NGX_HTTP_KLAVIYO_EVENTS
            && !candidate->rule->remember
            && ngx_http_klaviyo_rule_counts(ctx, candidate->rule))
        {
            break;
        }
    }

    if (candidate == NULL) {
        return NGX_OK;
    }

    if (ctx->logged || candidate->event_id.len) {
        id = candidate->event_id;
        rc = id.len ? NGX_OK : NGX_DECLINED;

    } else {

        if (ngx_http_klaviyo_scope_enter(ctx, &scope) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_klaviyo_scope_captures(ctx, &scope, candidate);

        rc = ngx_http_klaviyo_track_id(ctx, candidate, &id);

        ngx_http_klaviyo_scope_leave(ctx, &scope);
    }

    if (rc == NGX_OK) {
        ngx_http_klaviyo_set_variable(v, id.data, id.len);
    }

    return NGX_OK;
}


/* What a rule had copied; nothing is copied for the variable's sake. */

static ngx_int_t
ngx_http_klaviyo_body_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_klaviyo_ctx_t   *ctx;
    ngx_http_klaviyo_data_t   text;

    v->not_found = 1;

    ctx = ngx_http_klaviyo_get_ctx(r->main);

    if (ctx == NULL || ctx->content == NULL) {
        return NGX_OK;
    }

    ngx_http_klaviyo_content_said(ctx, data, &text);

    if (!ngx_http_klaviyo_data_is_missing(&text)) {
        ngx_http_klaviyo_set_variable(v, text.text.data, text.text.len);
    }

    return NGX_OK;
}


static void
ngx_http_klaviyo_set_variable(ngx_http_variable_value_t *v, u_char *data,
    size_t len)
{
    v->data = data;
    v->len = len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}
