
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the bodies of a request and its response say: each decoded once per
 * request, when a value first asks for it.
 */


#include "ngx_http_klaviyo_request.h"
#include "ngx_http_klaviyo_decode.h"


static void ngx_http_klaviyo_content_decode(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_said_e which, ngx_http_klaviyo_slot_t *slot);
static ngx_uint_t ngx_http_klaviyo_content_final(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_said_e which);
static void ngx_http_klaviyo_content_text(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_copy_t *copy, ngx_uint_t body,
    ngx_http_klaviyo_slot_t *slot);
static void ngx_http_klaviyo_content_tree(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_copy_t *copy, ngx_uint_t action,
    ngx_http_klaviyo_slot_t *slot);
static void ngx_http_klaviyo_content_graphql(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_slot_t *slot);
static void ngx_http_klaviyo_content_jsonld(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_slot_t *slot);
static void ngx_http_klaviyo_content_set(ngx_http_klaviyo_slot_t *slot,
    json_t *json, ngx_uint_t limited);
static ngx_uint_t ngx_http_klaviyo_content_action(
    ngx_http_klaviyo_ctx_t *ctx);


ngx_http_klaviyo_content_t *
ngx_http_klaviyo_content(ngx_http_klaviyo_ctx_t *ctx)
{
    if (ctx->content == NULL) {
        ctx->content = ngx_pcalloc(ctx->request->pool,
                                   sizeof(ngx_http_klaviyo_content_t));
    }

    return ctx->content;
}


void
ngx_http_klaviyo_content_said(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_said_e which, ngx_http_klaviyo_data_t *data)
{
    ngx_http_klaviyo_slot_t     *slot;
    ngx_http_klaviyo_content_t  *content;

    data->type = NGX_HTTP_KLAVIYO_UNKNOWN;

    content = ngx_http_klaviyo_content(ctx);

    if (content == NULL || !ngx_http_klaviyo_content_final(ctx, which)) {
        return;
    }

    slot = &content->said[which];

    if (!slot->known) {
        slot->known = 1;
        ngx_http_klaviyo_content_decode(ctx, which, slot);

    } else if (slot->partial) {

        /* another field that is left out */

        ctx->arena.limits++;
    }

    *data = slot->data;
}


/* A body that still passes by may be asked for too early. */

static ngx_uint_t
ngx_http_klaviyo_content_final(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_said_e which)
{
    if (ctx->logged) {
        return 1;
    }

    return which < NGX_HTTP_KLAVIYO_SAID_RESPONSE
           && ngx_http_klaviyo_body_known(ctx);
}


static void
ngx_http_klaviyo_content_decode(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_said_e which, ngx_http_klaviyo_slot_t *slot)
{
    ngx_http_klaviyo_content_t  *content;

    content = ctx->content;

    switch (which) {

    case NGX_HTTP_KLAVIYO_SAID_REQUEST:
        ngx_http_klaviyo_content_tree(ctx, &content->request,
                                      ngx_http_klaviyo_content_action(ctx),
                                      slot);
        break;

    case NGX_HTTP_KLAVIYO_SAID_REQUEST_TEXT:
        ngx_http_klaviyo_content_text(ctx, &content->request, ctx->body, slot);
        break;

    case NGX_HTTP_KLAVIYO_SAID_GRAPHQL:
        ngx_http_klaviyo_content_graphql(ctx, slot);
        break;

    case NGX_HTTP_KLAVIYO_SAID_RESPONSE:
        ngx_http_klaviyo_content_tree(ctx, &content->response, 0, slot);
        break;

    case NGX_HTTP_KLAVIYO_SAID_RESPONSE_TEXT:
        ngx_http_klaviyo_content_text(ctx, &content->response, 0, slot);
        break;

    default: /* NGX_HTTP_KLAVIYO_SAID_JSONLD */
        ngx_http_klaviyo_content_jsonld(ctx, slot);
    }
}


/*
 * Sets "slot" to the whole text, missing if there is none.  A "body" of which
 * there is no copy went unseen.
 */

static void
ngx_http_klaviyo_content_text(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_copy_t *copy, ngx_uint_t body,
    ngx_http_klaviyo_slot_t *slot)
{
    ngx_http_klaviyo_data_missing(&slot->data);

    if (!copy->open && !copy->over && !copy->lost && !body) {
        return;
    }

    slot->data.type = NGX_HTTP_KLAVIYO_UNKNOWN;

    if (copy->open && copy->last
        && ngx_http_klaviyo_copy_decode(copy) == NGX_OK)
    {
        if (copy->text.len == 0) {
            ngx_http_klaviyo_data_missing(&slot->data);
            return;
        }

        ngx_http_klaviyo_data_set_string(&slot->data, copy->text.data,
                                         copy->text.len);
        return;
    }

    if (copy->over) {
        ctx->arena.limits++;
        slot->partial = 1;
    }
}


static void
ngx_http_klaviyo_content_tree(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_copy_t *copy, ngx_uint_t action,
    ngx_http_klaviyo_slot_t *slot)
{
    json_t                        *json;
    ngx_uint_t                     limits, request;
    ngx_http_klaviyo_pick_t       *pick;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(ctx->request, ngx_http_klaviyo_module);
    request = (copy == &ctx->content->request);

    ngx_http_klaviyo_content_text(ctx, copy, request && ctx->body, slot);

    if (ngx_http_klaviyo_data_is_missing(&slot->data)) {
        return;
    }

    pick = request ? &kmcf->request_pick : &kmcf->response_pick;

    if (ctx->explain) {

        /* it shows the values of names, too, of which others take parts */

        pick = NULL;
    }

    limits = ctx->arena.limits;

    json = ngx_http_klaviyo_document_body(&ctx->arena, &copy->type,
                                          &slot->data.text, pick, action);

    ngx_http_klaviyo_content_set(slot, json, ctx->arena.limits != limits);
}


static void
ngx_http_klaviyo_content_graphql(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_slot_t *slot)
{
    json_t                   *args, *body, *json;
    ngx_uint_t                limits;
    ngx_http_klaviyo_data_t   request;

    ngx_http_klaviyo_content_said(ctx, NGX_HTTP_KLAVIYO_SAID_REQUEST,
                                  &request);

    if (request.type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        slot->data = request;
        slot->partial = ctx->content->said[NGX_HTTP_KLAVIYO_SAID_REQUEST]
                        .partial;
        return;
    }

    limits = ctx->arena.limits;

    body = (request.type == NGX_HTTP_KLAVIYO_TREE) ? request.json : NULL;
    args = ngx_http_klaviyo_decode_form(&ctx->arena, &ctx->query, 1);

    json = ngx_http_klaviyo_document_graphql(&ctx->arena, body, args);

    ngx_http_klaviyo_content_set(slot, json, ctx->arena.limits != limits);
}


static void
ngx_http_klaviyo_content_jsonld(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_slot_t *slot)
{
    json_t                      *json;
    ngx_uint_t                   limits, limited;
    ngx_http_klaviyo_content_t  *content;

    content = ctx->content;

    if (content->jsonld == NULL && !content->response.lost) {
        ngx_http_klaviyo_data_missing(&slot->data);
        return;
    }

    if (content->response.lost || content->broken || !content->response.last
        || (content->decoder
            && !content->cut
            && !ngx_http_klaviyo_inflate_ended(content->decoder)))
    {
        slot->data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
        return;
    }

    limits = ctx->arena.limits;
    limited = 0;

    json = ngx_http_klaviyo_jsonld_tree(content->jsonld, &ctx->arena,
                                        &limited);

    if (limited || content->cut) {
        ctx->arena.limits = limits + 1;
    }

    ngx_http_klaviyo_content_set(slot, json, ctx->arena.limits != limits);
}


static void
ngx_http_klaviyo_content_set(ngx_http_klaviyo_slot_t *slot, json_t *json,
    ngx_uint_t limited)
{
    if (limited) {
        slot->data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
        slot->partial = 1;
        return;
    }

    if (json == NULL) {
        ngx_http_klaviyo_data_missing(&slot->data);
        return;
    }

    slot->data.type = NGX_HTTP_KLAVIYO_TREE;
    slot->data.json = json;
}


/* React: a call of a function on the server */

static ngx_uint_t
ngx_http_klaviyo_content_action(ngx_http_klaviyo_ctx_t *ctx)
{
    static ngx_str_t  name = ngx_string("next-action");

    return ngx_http_klaviyo_content_header(&ctx->request->headers_in.headers,
                                           &name)
           != NULL;
}


ngx_table_elt_t *
ngx_http_klaviyo_content_header(ngx_list_t *headers, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &headers->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].hash && h[i].key.len == name->len
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}
