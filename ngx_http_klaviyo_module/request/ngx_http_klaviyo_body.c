
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The request's body: copied by a filter that every reader of it passes, and
 * read by ourselves only where nobody else does.
 */


#include "ngx_http_klaviyo_request.h"


static ngx_int_t ngx_http_klaviyo_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static void ngx_http_klaviyo_body_ask(ngx_http_klaviyo_ctx_t *ctx);
static ngx_uint_t ngx_http_klaviyo_body_wanted(ngx_http_klaviyo_ctx_t *ctx);
static void ngx_http_klaviyo_body_open(ngx_http_klaviyo_ctx_t *ctx);
static void ngx_http_klaviyo_body_copy(ngx_http_klaviyo_copy_t *copy,
    ngx_chain_t *in);
static void ngx_http_klaviyo_body_handler(ngx_http_request_t *r);


static ngx_http_request_body_filter_pt  ngx_http_klaviyo_next_body_filter;


ngx_int_t
ngx_http_klaviyo_body_init(ngx_conf_t *cf)
{
    ngx_http_klaviyo_next_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_klaviyo_body_filter;

    return NGX_OK;
}


/* Each piece comes once, in memory, before it may go to a temporary file. */

static ngx_int_t
ngx_http_klaviyo_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_klaviyo_ctx_t  *ctx;

    ctx = ngx_http_klaviyo_get_ctx(r);

    if (ctx) {
        ngx_http_klaviyo_body_ask(ctx);

        if (ctx->content) {
            ngx_http_klaviyo_body_copy(&ctx->content->request, in);
        }
    }

    return ngx_http_klaviyo_next_body_filter(r, in);
}


/* When the first piece is there, or would be. */

static void
ngx_http_klaviyo_body_ask(ngx_http_klaviyo_ctx_t *ctx)
{
    if (ctx->asked) {
        return;
    }

    ctx->asked = 1;

    if (ctx->body && ngx_http_klaviyo_body_wanted(ctx)) {
        ngx_http_klaviyo_body_open(ctx);
    }
}


static ngx_uint_t
ngx_http_klaviyo_body_wanted(ngx_http_klaviyo_ctx_t *ctx)
{
    ngx_uint_t                     entered, wanted;
    ngx_http_klaviyo_scope_t       scope;
    ngx_http_klaviyo_candidate_t  *candidate;

    entered = 0;
    wanted = 0;

    for (candidate = ctx->candidates; candidate && !wanted;
         candidate = candidate->next)
    {
        if (!(ngx_http_klaviyo_needs(ctx, candidate->rule)
              & NGX_HTTP_KLAVIYO_NEED_REQUEST)
            || !ngx_http_klaviyo_rule_counts(ctx, candidate->rule))
        {
            continue;
        }

        if (!entered && ngx_http_klaviyo_scope_enter(ctx, &scope) != NGX_OK) {
            return 0;
        }

        entered = 1;

        ngx_http_klaviyo_scope_captures(ctx, &scope, candidate);

        wanted = ngx_http_klaviyo_track_judge(ctx, candidate,
                                              NGX_HTTP_KLAVIYO_STAGE_HEAD);
    }

    if (entered) {
        ngx_http_klaviyo_scope_leave(ctx, &scope);
    }

    return wanted;
}


static void
ngx_http_klaviyo_body_open(ngx_http_klaviyo_ctx_t *ctx)
{
    off_t                        length;
    ngx_table_elt_t             *h;
    ngx_http_request_t          *r;
    ngx_http_klaviyo_copy_t     *copy;
    ngx_http_klaviyo_content_t  *content;

    static ngx_str_t  name = ngx_string("content-encoding");

    content = ngx_http_klaviyo_content(ctx);
    if (content == NULL) {
        return;
    }

    r = ctx->request;
    copy = &content->request;
    length = r->headers_in.chunked ? -1 : r->headers_in.content_length_n;

    ngx_http_klaviyo_copy_open(copy, r->pool, ctx->conf->request_body_limit,
                               length);

    if (r->headers_in.content_type) {
        copy->type = r->headers_in.content_type->value;
    }

    h = ngx_http_klaviyo_content_header(&r->headers_in.headers, &name);

    if (h) {
        copy->encoding = ngx_http_klaviyo_encoding(&h->value);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "klaviyo request body: length %O, over %d", length,
                   copy->over);
}


static void
ngx_http_klaviyo_body_copy(ngx_http_klaviyo_copy_t *copy, ngx_chain_t *in)
{
    ngx_buf_t  *b;

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;

        if (copy->open) {

            if (ngx_buf_in_memory(b)) {
                ngx_http_klaviyo_copy_add(copy, b->pos, b->last);

            } else if (b->in_file) {

                /* nginx itself has none here, another module may */

                copy->lost = 1;
                ngx_http_klaviyo_copy_drop(copy);
            }
        }

        copy->last |= b->last_buf;
    }
}


ngx_uint_t
ngx_http_klaviyo_body_known(ngx_http_klaviyo_ctx_t *ctx)
{
    return !ctx->body
           || (ctx->content && (ctx->content->request.last
                                || ctx->content->request.over));
}


/*
 * A location with a handler of its own (proxy_pass) reads the body or has
 * reasons not to.  PUT is left to those who want it in a file; and no files are
 * made that are meant to stay.
 */

ngx_int_t
ngx_http_klaviyo_body_read(ngx_http_klaviyo_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;

    if (!ctx->body || r->headers_in.chunked || r->request_body
        || r->discard_body || r->method == NGX_HTTP_PUT)
    {
        return NGX_DECLINED;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->handler || clcf->client_body_in_file_only) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_body_ask(ctx);

    if (ctx->content == NULL || !ctx->content->request.open) {
        return NGX_DECLINED;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "klaviyo reads the request body");

    rc = ngx_http_read_client_request_body(r, ngx_http_klaviyo_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_klaviyo_body_handler(ngx_http_request_t *r)
{
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}
