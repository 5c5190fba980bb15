
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The response: copied by a filter where a rule wants it, passed on unchanged
 * and at once.  The filter stands where nginx puts those of other modules:
 * behind ranges and the copy filter, which reads files, and ahead of SSI,
 * sub_filter, gunzip and gzip.  So rules see what the location's handler or the
 * upstream answered.
 */


#include "ngx_http_klaviyo_cookie.h"


static ngx_int_t ngx_http_klaviyo_answer_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_klaviyo_answer_header_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_http_klaviyo_answer_named(ngx_http_klaviyo_ctx_t *ctx);
static ngx_uint_t ngx_http_klaviyo_answer_wanted(ngx_http_klaviyo_ctx_t *ctx);
static void ngx_http_klaviyo_answer_open(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_copy_t *head, off_t length);
static void ngx_http_klaviyo_answer_page(ngx_http_klaviyo_ctx_t *ctx);
static ngx_uint_t ngx_http_klaviyo_answer_textual(ngx_str_t *type);
static ngx_uint_t ngx_http_klaviyo_answer_html(ngx_str_t *type);
static ngx_int_t ngx_http_klaviyo_answer_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static void ngx_http_klaviyo_answer_copy(ngx_http_klaviyo_content_t *content,
    ngx_chain_t *in);
static void ngx_http_klaviyo_answer_sniff(
    ngx_http_klaviyo_content_t *content, u_char *p, u_char *last);
static void ngx_http_klaviyo_answer_scan(ngx_http_klaviyo_content_t *content,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_klaviyo_answer_feed(void *data, u_char *p,
    u_char *last);
static void ngx_http_klaviyo_answer_reset(
    ngx_http_klaviyo_content_t *content);
static void ngx_http_klaviyo_answer_close(
    ngx_http_klaviyo_content_t *content);


static ngx_http_module_t  ngx_http_klaviyo_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_klaviyo_answer_init,          /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


/* of its own for its place among the filters only */

ngx_module_t  ngx_http_klaviyo_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_klaviyo_filter_module_ctx,   /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


/* Without a rule that names a body there is no filter. */

static ngx_int_t
ngx_http_klaviyo_answer_init(ngx_conf_t *cf)
{
    ngx_uint_t                      i, needs;
    ngx_http_klaviyo_rule_t       **rule;
    ngx_http_klaviyo_main_conf_t   *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    if (kmcf->rules.nelts == 0) {
        return NGX_OK;
    }

    rule = kmcf->rules.elts;
    needs = kmcf->needs;

    for (i = 0; i < kmcf->rules.nelts; i++) {
        needs |= rule[i]->needs;
    }

    if (needs & NGX_HTTP_KLAVIYO_NEED_REQUEST) {
        ngx_http_klaviyo_body_init(cf);
    }

    if (kmcf->cookies) {
        ngx_http_klaviyo_cookie_init(cf);
    }

    if (needs & NGX_HTTP_KLAVIYO_NEED_ANSWER) {
        ngx_http_next_header_filter = ngx_http_top_header_filter;
        ngx_http_top_header_filter = ngx_http_klaviyo_answer_header_filter;

        ngx_http_next_body_filter = ngx_http_top_body_filter;
        ngx_http_top_body_filter = ngx_http_klaviyo_answer_body_filter;
    }

    return NGX_OK;
}


/*
 * What follows us may change status, length and encoding: a range makes 206 of
 * 200, gzip adds an encoding.  The status counts that the visitor gets, the
 * others count as they are for the body that we see.
 */

static ngx_int_t
ngx_http_klaviyo_answer_header_filter(ngx_http_request_t *r)
{
    off_t                     length;
    ngx_int_t                 rc;
    ngx_http_klaviyo_ctx_t   *ctx;
    ngx_http_klaviyo_copy_t   head;

    ctx = (r == r->main) ? ngx_http_klaviyo_get_ctx(r) : NULL;

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    (void) ngx_http_klaviyo_locate(ctx);

    /* a filter may have made another response of the one before */

    if (ctx->content) {
        ngx_http_klaviyo_answer_reset(ctx->content);
    }

    if (!ngx_http_klaviyo_answer_named(ctx)) {
        return ngx_http_next_header_filter(r);
    }

    ngx_memzero(&head, sizeof(ngx_http_klaviyo_copy_t));

    length = r->headers_out.content_length_n;
    head.type = r->headers_out.content_type;

    if (r->headers_out.content_encoding
        && r->headers_out.content_encoding->hash)
    {
        head.encoding = ngx_http_klaviyo_encoding(
                                   &r->headers_out.content_encoding->value);
    }

    rc = ngx_http_next_header_filter(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    ngx_http_klaviyo_answer_open(ctx, &head, length);

    return rc;
}


static ngx_uint_t
ngx_http_klaviyo_answer_named(ngx_http_klaviyo_ctx_t *ctx)
{
    ngx_http_klaviyo_candidate_t  *candidate;

    for (candidate = ctx->candidates; candidate; candidate = candidate->next) {

        if (ngx_http_klaviyo_needs(ctx, candidate->rule)
            & NGX_HTTP_KLAVIYO_NEED_ANSWER)
        {
            return 1;
        }
    }

    return 0;
}


/* What the rules need that may still match, now that the status is known. */

static ngx_uint_t
ngx_http_klaviyo_answer_wanted(ngx_http_klaviyo_ctx_t *ctx)
{
    ngx_uint_t                     needs, wanted;
    ngx_http_klaviyo_scope_t       scope;
    ngx_http_klaviyo_stage_e       stage;
    ngx_http_klaviyo_candidate_t  *candidate;

    if (ngx_http_klaviyo_scope_enter(ctx, &scope) != NGX_OK) {
        return 0;
    }

    stage = ngx_http_klaviyo_body_known(ctx) ? NGX_HTTP_KLAVIYO_STAGE_BODY
                                             : NGX_HTTP_KLAVIYO_STAGE_HEAD;
    wanted = 0;

    for (candidate = ctx->candidates; candidate; candidate = candidate->next) {

        needs = ngx_http_klaviyo_needs(ctx, candidate->rule)
                & NGX_HTTP_KLAVIYO_NEED_ANSWER;

        if (needs == 0 || !ngx_http_klaviyo_rule_counts(ctx, candidate->rule)
            || !ngx_http_klaviyo_track_status(ctx, candidate->rule))
        {
            continue;
        }

        ngx_http_klaviyo_scope_captures(ctx, &scope, candidate);

        if (ngx_http_klaviyo_track_judge(ctx, candidate, stage)) {
            wanted |= needs;
        }
    }

    ngx_http_klaviyo_scope_leave(ctx, &scope);

    return wanted;
}


/* Decides what of this response is copied, and what is scanned. */

static void
ngx_http_klaviyo_answer_open(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_copy_t *head, off_t length)
{
    ngx_uint_t                   text, wanted;
    ngx_http_request_t          *r;
    ngx_http_klaviyo_content_t  *content;

    wanted = ngx_http_klaviyo_answer_wanted(ctx);

    text = (wanted & (NGX_HTTP_KLAVIYO_NEED_RESPONSE
                      |NGX_HTTP_KLAVIYO_NEED_TEXT))
           && ngx_http_klaviyo_answer_textual(&head->type);

    if (!(wanted & NGX_HTTP_KLAVIYO_NEED_JSONLD)
        || !ngx_http_klaviyo_answer_html(&head->type))
    {
        wanted &= ~NGX_HTTP_KLAVIYO_NEED_JSONLD;
    }

    if (!text && !(wanted & NGX_HTTP_KLAVIYO_NEED_JSONLD)) {
        return;
    }

    content = ngx_http_klaviyo_content(ctx);
    if (content == NULL) {
        return;
    }

    r = ctx->request;
    content->response = *head;

    if (r->headers_out.status == NGX_HTTP_PARTIAL_CONTENT
        || head->encoding == NGX_HTTP_KLAVIYO_ENCODED)
    {
        content->response.lost = 1;
        return;
    }

    if (text) {
        ngx_http_klaviyo_copy_open(&content->response, r->pool,
                                   ctx->conf->response_body_limit, length);

        content->sniff = (!(wanted & NGX_HTTP_KLAVIYO_NEED_TEXT)
                          && head->encoding == NGX_HTTP_KLAVIYO_IDENTITY);
    }

    if (wanted & NGX_HTTP_KLAVIYO_NEED_JSONLD) {
        ngx_http_klaviyo_answer_page(ctx);
    }

    content->awaited = length;
    content->watch = (content->response.open || content->page);

    /* what is in files is read for us by the copy filter */

    r->filter_need_in_memory |= content->watch;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "klaviyo response: \"%V\", length %O, copy %d, scan %d",
                   &head->type, length, content->response.open,
                   content->page);
}


static void
ngx_http_klaviyo_answer_page(ngx_http_klaviyo_ctx_t *ctx)
{
    size_t                       limit;
    ngx_http_request_t          *r;
    ngx_http_klaviyo_content_t  *content;

    r = ctx->request;
    content = ctx->content;
    limit = ctx->conf->response_body_limit;

    content->jsonld = ngx_http_klaviyo_jsonld_create(r->pool, limit);

    if (content->jsonld == NULL) {
        content->response.lost = 1;
        return;
    }

    content->page = 1;
    content->left = NGX_HTTP_KLAVIYO_PAGE * limit;

    if (content->response.encoding == NGX_HTTP_KLAVIYO_IDENTITY) {
        return;
    }

    content->decoder = ngx_http_klaviyo_inflate_create(r->pool,
                                                   content->response.encoding);
    if (content->decoder == NULL) {
        content->broken = 1;
        content->page = 0;
    }
}


/* Types whose bodies are texts: whether it is JSON is seen at its beginning. */

static ngx_uint_t
ngx_http_klaviyo_answer_textual(ngx_str_t *type)
{
    size_t  len;

    if (type->len == 0) {
        return 1;
    }

    if (type->len >= 5
        && ngx_strncasecmp(type->data, (u_char *) "text/", 5) == 0)
    {
        return 1;
    }

    for (len = 0; len < type->len && type->data[len] != ';'; len++) {
        /* void */
    }

    return ngx_strlcasestrn(type->data, type->data + len,
                            (u_char *) "json", 4 - 1)
           || ngx_strlcasestrn(type->data, type->data + len,
                               (u_char *) "xml", 3 - 1)
           || ngx_strlcasestrn(type->data, type->data + len,
                               (u_char *) "javascript", 10 - 1)
           || ngx_strlcasestrn(type->data, type->data + len,
                               (u_char *) "urlencoded", 10 - 1);
}


static ngx_uint_t
ngx_http_klaviyo_answer_html(ngx_str_t *type)
{
    return (type->len >= 9
            && ngx_strncasecmp(type->data, (u_char *) "text/html", 9) == 0)
           || (type->len >= 21
               && ngx_strncasecmp(type->data,
                                  (u_char *) "application/xhtml+xml", 21)
                  == 0);
}


static ngx_int_t
ngx_http_klaviyo_answer_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_klaviyo_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_klaviyo_module);

    if (ctx && ctx->content && ctx->content->watch) {
        ngx_http_klaviyo_answer_copy(ctx->content, in);
    }

    return ngx_http_next_body_filter(r, in);
}


static void
ngx_http_klaviyo_answer_copy(ngx_http_klaviyo_content_t *content,
    ngx_chain_t *in)
{
    ngx_buf_t  *b;

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;

        if (ngx_buf_in_memory(b)) {

            if (content->awaited > 0) {
                content->awaited -= ngx_min(content->awaited, b->last - b->pos);
            }

            if (content->sniff) {
                ngx_http_klaviyo_answer_sniff(content, b->pos, b->last);
            }

            if (content->response.open) {
                ngx_http_klaviyo_copy_add(&content->response, b->pos, b->last);
            }

            if (content->page) {
                ngx_http_klaviyo_answer_scan(content, b->pos, b->last);
            }

        } else if (b->in_file) {

            /* the copy filter was told too late: sent before the headers */

            content->response.lost = 1;
            ngx_http_klaviyo_copy_drop(&content->response);
        }

        if (b->last_buf) {

            /* the slice module's subrequests bring all but the first slice */

            if (content->awaited > 0) {
                content->response.lost = 1;
                ngx_http_klaviyo_copy_drop(&content->response);

            } else {
                content->response.last = 1;
            }

            ngx_http_klaviyo_answer_close(content);
            return;
        }
    }
}


/* Documents are objects and arrays: what begins otherwise is not kept. */

static void
ngx_http_klaviyo_answer_sniff(ngx_http_klaviyo_content_t *content, u_char *p,
    u_char *last)
{
    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case ' ':
        case '\t':
        case CR:
        case LF:
            continue;

        /* the byte order mark */

        case 0xef:
        case 0xbb:
        case 0xbf:
            continue;

        case '{':
        case '[':
            content->sniff = 0;
            return;

        default:
            content->sniff = 0;
            ngx_http_klaviyo_copy_drop(&content->response);
            return;
        }
    }
}


static void
ngx_http_klaviyo_answer_scan(ngx_http_klaviyo_content_t *content, u_char *p,
    u_char *last)
{
    ngx_int_t  rc;

    if (content->decoder == NULL) {
        rc = ngx_http_klaviyo_answer_feed(content, p, last);

    } else {
        rc = ngx_http_klaviyo_inflate_feed(content->decoder, p, last,
                                           ngx_http_klaviyo_answer_feed,
                                           content);
        content->broken |= (rc == NGX_ERROR);
    }

    if (rc != NGX_OK) {
        content->page = 0;
    }
}


static ngx_int_t
ngx_http_klaviyo_answer_feed(void *data, u_char *p, u_char *last)
{
    ngx_http_klaviyo_content_t *content = data;

    if (content->left < (size_t) (last - p)) {
        content->cut = 1;
        return NGX_DECLINED;
    }

    content->left -= last - p;

    if (ngx_http_klaviyo_jsonld_feed(content->jsonld, p, last) != NGX_OK) {
        content->cut = 1;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_klaviyo_answer_reset(ngx_http_klaviyo_content_t *content)
{
    ngx_http_klaviyo_answer_close(content);
    ngx_http_klaviyo_copy_drop(&content->response);

    ngx_memzero(&content->response, sizeof(ngx_http_klaviyo_copy_t));

    content->jsonld = NULL;
    content->decoder = NULL;
    content->cut = 0;
    content->broken = 0;
}


static void
ngx_http_klaviyo_answer_close(ngx_http_klaviyo_content_t *content)
{
    content->watch = 0;
    content->page = 0;
    content->sniff = 0;

    if (content->decoder) {
        ngx_http_klaviyo_inflate_free(content->decoder);
    }
}
