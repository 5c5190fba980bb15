
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The first-party visitor cookie: set by a header filter with a page that a
 * visitor sees, who has none and may be tracked.  Not with what a cache on the
 * way may give to others.
 */


#include "ngx_http_klaviyo_cookie.h"
#include "ngx_http_klaviyo_noise.h"
#include "ngx_http_klaviyo_visit.h"
#include <openssl/rand.h>


/* what headers say to caches */
#define NGX_HTTP_KLAVIYO_COOKIE_SHARED   0x01
#define NGX_HTTP_KLAVIYO_COOKIE_PRIVATE  0x02
#define NGX_HTTP_KLAVIYO_COOKIE_FRESH    0x04


static ngx_int_t ngx_http_klaviyo_cookie_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_http_klaviyo_cookie_page(ngx_http_request_t *r);
static ngx_uint_t ngx_http_klaviyo_cookie_shared(ngx_http_request_t *r);
static ngx_uint_t ngx_http_klaviyo_cookie_says(ngx_table_elt_t *h);
static ngx_uint_t ngx_http_klaviyo_cookie_named(ngx_table_elt_t *h,
    char *name);
static ngx_uint_t ngx_http_klaviyo_cookie_has(ngx_str_t *value, char *word);
static ngx_uint_t ngx_http_klaviyo_cookie_allowed(ngx_http_request_t *r,
    ngx_http_klaviyo_loc_conf_t *klcf);
static ngx_uint_t ngx_http_klaviyo_cookie_consent(ngx_http_request_t *r,
    ngx_http_klaviyo_loc_conf_t *klcf);
static ngx_int_t ngx_http_klaviyo_cookie_set(ngx_http_request_t *r,
    ngx_http_klaviyo_cookie_t *cookie, ngx_http_klaviyo_ctx_t *ctx);
static ngx_uint_t ngx_http_klaviyo_cookie_get(ngx_http_request_t *r,
    ngx_http_klaviyo_cookie_t *cookie, ngx_str_t *id);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


void
ngx_http_klaviyo_cookie_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_klaviyo_cookie_filter;
}


static ngx_int_t
ngx_http_klaviyo_cookie_filter(ngx_http_request_t *r)
{
    ngx_str_t                     id;
    ngx_http_klaviyo_ctx_t       *ctx;
    ngx_http_klaviyo_loc_conf_t  *klcf;

    if (r != r->main || !ngx_http_klaviyo_cookie_page(r)) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_klaviyo_get_ctx(r);

    if (ctx) {
        (void) ngx_http_klaviyo_locate(ctx);
        klcf = ctx->conf;

    } else {
        klcf = ngx_http_get_module_loc_conf(r, ngx_http_klaviyo_module);
    }

    if (klcf->cookie && klcf->enable
        && (ctx == NULL || ctx->visitor_id.len == 0)
        && !ngx_http_klaviyo_cookie_get(r, klcf->cookie, &id)
        && ngx_http_klaviyo_cookie_allowed(r, klcf)
        && ngx_http_klaviyo_cookie_set(r, klcf->cookie, ctx) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "klaviyo: no visitor cookie was set");
    }

    return ngx_http_next_header_filter(r);
}


static ngx_uint_t
ngx_http_klaviyo_cookie_page(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    type = &r->headers_out.content_type;

    return r->headers_out.status == NGX_HTTP_OK
           && r->method == NGX_HTTP_GET
           && type->len >= 9
           && ngx_strncasecmp(type->data, (u_char *) "text/html", 9) == 0;
}


/* Whether the upstream lets caches on the way keep the page for all. */

static ngx_uint_t
ngx_http_klaviyo_cookie_shared(ngx_http_request_t *r)
{
    ngx_uint_t        i, says;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    says = 0;
    part = &r->headers_out.headers.part;

    for ( /* void */ ; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash) {
                says |= ngx_http_klaviyo_cookie_says(&h[i]);
            }
        }
    }

    if (says & NGX_HTTP_KLAVIYO_COOKIE_SHARED) {
        return 1;
    }

    return (says & NGX_HTTP_KLAVIYO_COOKIE_FRESH)
           && !(says & NGX_HTTP_KLAVIYO_COOKIE_PRIVATE);
}


/* What a header says to caches: 0, nothing. */

static ngx_uint_t
ngx_http_klaviyo_cookie_says(ngx_table_elt_t *h)
{
    ngx_uint_t  says;

    if (ngx_http_klaviyo_cookie_named(h, "Expires")) {
        return (ngx_parse_http_time(h->value.data, h->value.len) > ngx_time())
               ? NGX_HTTP_KLAVIYO_COOKIE_FRESH : 0;
    }

    if (ngx_http_klaviyo_cookie_named(h, "Surrogate-Control")
        || ngx_http_klaviyo_cookie_named(h, "CDN-Cache-Control"))
    {
        return (ngx_http_klaviyo_cookie_has(&h->value, "no-store")
                || ngx_http_klaviyo_cookie_has(&h->value, "private"))
               ? 0 : NGX_HTTP_KLAVIYO_COOKIE_SHARED;
    }

    if (!ngx_http_klaviyo_cookie_named(h, "Cache-Control")) {
        return 0;
    }

    says = 0;

    if (ngx_http_klaviyo_cookie_has(&h->value, "public")
        || ngx_http_klaviyo_cookie_has(&h->value, "s-maxage"))
    {
        says |= NGX_HTTP_KLAVIYO_COOKIE_SHARED;
    }

    if (ngx_http_klaviyo_cookie_has(&h->value, "private")
        || ngx_http_klaviyo_cookie_has(&h->value, "no-store")
        || ngx_http_klaviyo_cookie_has(&h->value, "no-cache")
        || ngx_http_klaviyo_cookie_has(&h->value, "max-age=0"))
    {
        says |= NGX_HTTP_KLAVIYO_COOKIE_PRIVATE;
    }

    if (ngx_http_klaviyo_cookie_has(&h->value, "max-age")) {
        says |= NGX_HTTP_KLAVIYO_COOKIE_FRESH;
    }

    return says;
}


static ngx_uint_t
ngx_http_klaviyo_cookie_named(ngx_table_elt_t *h, char *name)
{
    return h->key.len == ngx_strlen(name)
           && ngx_strncasecmp(h->key.data, (u_char *) name, h->key.len) == 0;
}


static ngx_uint_t
ngx_http_klaviyo_cookie_has(ngx_str_t *value, char *word)
{
    return ngx_strlcasestrn(value->data, value->data + value->len,
                            (u_char *) word, ngx_strlen(word) - 1)
           != NULL;
}


static ngx_uint_t
ngx_http_klaviyo_cookie_allowed(ngx_http_request_t *r,
    ngx_http_klaviyo_loc_conf_t *klcf)
{
    ngx_str_t                      optout;
    ngx_http_klaviyo_data_t        data;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (ngx_http_klaviyo_cookie_shared(r)) {
        return 0;
    }

    kmcf = ngx_http_get_module_main_conf(r, ngx_http_klaviyo_module);

    ngx_str_null(&optout);
    ngx_http_klaviyo_value_variable(r, kmcf->kla_off, &data);

    if (!ngx_http_klaviyo_data_is_missing(&data)) {
        optout = data.text;
    }

    return ngx_http_klaviyo_noise(r, klcf->ignore, &optout) == NGX_DECLINED
           && (klcf->consent == NULL
               || ngx_http_klaviyo_cookie_consent(r, klcf));
}


/* What needs more than the request's head isn't known yet: no consent. */

static ngx_uint_t
ngx_http_klaviyo_cookie_consent(ngx_http_request_t *r,
    ngx_http_klaviyo_loc_conf_t *klcf)
{
    ngx_uint_t                     i, holds;
    ngx_http_klaviyo_ctx_t         ctx;
    ngx_http_klaviyo_eval_t        eval;
    ngx_http_klaviyo_condition_t  *c;

    ngx_memzero(&ctx, sizeof(ngx_http_klaviyo_ctx_t));

    ctx.request = r;

    ngx_http_klaviyo_arena_init(&ctx.arena, r->pool,
                                NGX_HTTP_KLAVIYO_ARENA_SIZE);

    ngx_http_klaviyo_visit_eval(&ctx, klcf->account, &eval);

    c = klcf->consent->elts;
    holds = 1;

    for (i = 0; i < klcf->consent->nelts && holds; i++) {
        holds = (c[i].stage == NGX_HTTP_KLAVIYO_STAGE_HEAD
                 && ngx_http_klaviyo_condition_eval(&eval, &c[i]) == NGX_OK);
    }

    ngx_http_klaviyo_arena_done(&ctx.arena);

    return holds;
}


static ngx_int_t
ngx_http_klaviyo_cookie_set(ngx_http_request_t *r,
    ngx_http_klaviyo_cookie_t *cookie, ngx_http_klaviyo_ctx_t *ctx)
{
    u_char            *p, random[NGX_HTTP_KLAVIYO_COOKIE_ID / 2];
    ngx_str_t          id;
    ngx_table_elt_t   *header;

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, cookie->name.len + 1 + NGX_HTTP_KLAVIYO_COOKIE_ID
                             + cookie->attributes.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(header, sizeof(ngx_table_elt_t));

    header->hash = 1;
    ngx_str_set(&header->key, "Set-Cookie");
    header->value.data = p;

    p = ngx_cpymem(p, cookie->name.data, cookie->name.len);
    *p++ = '=';

    id.data = p;
    id.len = NGX_HTTP_KLAVIYO_COOKIE_ID;

    p = ngx_hex_dump(p, random, sizeof(random));
    p = ngx_cpymem(p, cookie->attributes.data, cookie->attributes.len);

    header->value.len = p - header->value.data;

    if (ctx) {
        ctx->visitor_id = id;
    }

    return NGX_OK;
}


/* Whoever sends something else gets an id of ours. */

static ngx_uint_t
ngx_http_klaviyo_cookie_get(ngx_http_request_t *r,
    ngx_http_klaviyo_cookie_t *cookie, ngx_str_t *id)
{
    size_t                   i;
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_value_variable(r, cookie->index, &data);

    if (ngx_http_klaviyo_data_is_missing(&data)
        || data.text.len != NGX_HTTP_KLAVIYO_COOKIE_ID)
    {
        return 0;
    }

    for (i = 0; i < data.text.len; i++) {

        if (!((data.text.data[i] >= '0' && data.text.data[i] <= '9')
              || (data.text.data[i] >= 'a' && data.text.data[i] <= 'f')))
        {
            return 0;
        }
    }

    *id = data.text;

    return 1;
}


ngx_uint_t
ngx_http_klaviyo_cookie_sent(ngx_http_klaviyo_ctx_t *ctx, ngx_str_t *id)
{
    ngx_str_t  sent;

    return ctx->conf->cookie
           && ngx_http_klaviyo_cookie_get(ctx->request, ctx->conf->cookie,
                                          &sent)
           && sent.len == id->len
           && ngx_memcmp(sent.data, id->data, id->len) == 0;
}


ngx_int_t
ngx_http_klaviyo_cookie_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                     id;
    ngx_http_klaviyo_ctx_t       *ctx;
    ngx_http_klaviyo_loc_conf_t  *klcf;

    v->not_found = 1;

    ctx = ngx_http_klaviyo_get_ctx(r->main);

    klcf = ctx ? ctx->conf
               : ngx_http_get_module_loc_conf(r, ngx_http_klaviyo_module);

    if (ctx && ctx->visitor_id.len) {
        id = ctx->visitor_id;

    } else if (klcf->cookie == NULL
               || !ngx_http_klaviyo_cookie_get(r->main, klcf->cookie, &id))
    {
        return NGX_OK;
    }

    v->data = id.data;
    v->len = id.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
