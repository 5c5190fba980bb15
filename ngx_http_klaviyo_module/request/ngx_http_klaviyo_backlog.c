
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A held event is a piece in the memory: what the ring must know of it, and its
 * text without an identifier.  It is counted as skipped when it is held; when
 * it is queued, the ring counts it as that instead.  What goes out of the
 * memory, or is taken by a process that dies, stays skipped.
 */


#include "ngx_http_klaviyo_backlog.h"


typedef struct {
    u_char                               rule[NGX_HTTP_KLAVIYO_KEY_LEN];
    uint32_t                             id;
    uint32_t                             time;
    uint32_t                             at;
    uint16_t                             backfill;
} ngx_http_klaviyo_piece_t;


static ngx_int_t ngx_http_klaviyo_backlog_key(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_memory_key_t *key);
static void ngx_http_klaviyo_backlog_queue(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_member_t *who,
    ngx_str_t *text);


/* all that may be held of one visitor; nothing but what is gets touched */
static u_char  ngx_http_klaviyo_backlog[NGX_HTTP_KLAVIYO_MEMORY_PIECES
                                        * NGX_HTTP_KLAVIYO_MEMORY_TEXT];


ngx_int_t
ngx_http_klaviyo_backlog_hold(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_record_t *record,
    ngx_str_t *json, size_t at)
{
    time_t                          ttl;
    ngx_str_t                       text;
    ngx_uint_t                      n;
    ngx_http_klaviyo_piece_t        piece;
    ngx_http_klaviyo_main_conf_t   *kmcf;
    ngx_http_klaviyo_memory_key_t   key;

    text.len = sizeof(ngx_http_klaviyo_piece_t) + json->len;

    if (text.len > NGX_HTTP_KLAVIYO_MEMORY_TEXT
        || ngx_http_klaviyo_backlog_key(ctx, visit, &key) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    ngx_memzero(&piece, sizeof(ngx_http_klaviyo_piece_t));

    ngx_memcpy(piece.rule,
               ngx_http_klaviyo_control_key(kmcf->control, record->rule),
               NGX_HTTP_KLAVIYO_KEY_LEN);

    piece.id = record->id;
    piece.time = record->time;
    piece.backfill = record->backfill;
    piece.at = (uint32_t) at;

    text.data = ngx_http_klaviyo_backlog;

    ngx_memcpy(ngx_cpymem(text.data, &piece, sizeof(piece)), json->data,
               json->len);

    n = ctx->conf->backlog;
    ttl = ctx->conf->backlog_ttl;

    if (n == 0) {
        n = NGX_HTTP_KLAVIYO_BACKLOG_EVENTS;
        ttl = NGX_HTTP_KLAVIYO_BACKLOG_TIME;
    }

    if (ngx_http_klaviyo_memory_push(kmcf->memory, &key, &text, n, ttl)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    visit->change.hold = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_backlog_key(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_memory_key_t *key)
{
    ngx_str_t                      parts[2];
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    parts[0] = visit->account->name;
    parts[1] = visit->value;

    return ngx_http_klaviyo_memory_key(kmcf->memory,
                                       NGX_HTTP_KLAVIYO_MEMORY_BACKLOG, parts,
                                       2, key);
}


void
ngx_http_klaviyo_backlog_release(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_member_t *who)
{
    ngx_str_t                       pieces[NGX_HTTP_KLAVIYO_MEMORY_PIECES];
    ngx_uint_t                      i, n;
    ngx_http_klaviyo_main_conf_t   *kmcf;
    ngx_http_klaviyo_memory_key_t   key;

    if (ngx_http_klaviyo_backlog_key(ctx, visit, &key) != NGX_OK) {
        return;
    }

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    n = ngx_http_klaviyo_memory_take(kmcf->memory, &key,
                                     ngx_http_klaviyo_backlog,
                                     sizeof(ngx_http_klaviyo_backlog), pieces);

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_backlog_queue(ctx, visit, who, &pieces[i]);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "klaviyo backlog: %ui events", n);
}


static void
ngx_http_klaviyo_backlog_queue(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_member_t *who,
    ngx_str_t *text)
{
    ngx_str_t                      json, held;
    ngx_http_klaviyo_piece_t       piece;
    ngx_http_klaviyo_record_t      record;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (text->len < sizeof(ngx_http_klaviyo_piece_t)) {
        return;
    }

    ngx_memcpy(&piece, text->data, sizeof(ngx_http_klaviyo_piece_t));

    held.data = text->data + sizeof(ngx_http_klaviyo_piece_t);
    held.len = text->len - sizeof(ngx_http_klaviyo_piece_t);

    if (ngx_http_klaviyo_event_identify(&ctx->arena, &held, piece.at, who,
                                        &json)
        != NGX_OK)
    {
        return;
    }

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);

    ngx_memzero(&record, sizeof(ngx_http_klaviyo_record_t));

    /* a reload may have given the rule's counters another slot */

    record.rule = ngx_http_klaviyo_control_slot(kmcf->control, piece.rule);
    record.id = piece.id;
    record.time = piece.time;
    record.backfill = piece.backfill;
    record.flags = NGX_HTTP_KLAVIYO_RECORD_HELD;

    ngx_http_klaviyo_ring_rule(visit->account->ring, record.rule);

    if (ngx_http_klaviyo_ring_put(visit->account->ring, &record, &json)
        == NGX_OK)
    {
        ngx_http_klaviyo_control_wake(kmcf->control);
    }
}


void
ngx_http_klaviyo_backlog_forget(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit)
{
    ngx_http_klaviyo_main_conf_t   *kmcf;
    ngx_http_klaviyo_memory_key_t   key;

    if (ngx_http_klaviyo_backlog_key(ctx, visit, &key) == NGX_OK) {
        kmcf = ngx_http_get_module_main_conf(ctx->request,
                                             ngx_http_klaviyo_module);

        ngx_http_klaviyo_memory_forget(kmcf->memory, &key);
    }
}
