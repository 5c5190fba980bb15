
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A claimed range of the ring as the body of a request.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_batch.h"


static ngx_uint_t ngx_http_klaviyo_batch_next(ngx_http_klaviyo_batch_t *batch);


static ngx_str_t  ngx_http_klaviyo_batch_comma = ngx_string(",");


ngx_uint_t
ngx_http_klaviyo_batch_open(ngx_http_klaviyo_batch_t *batch,
    ngx_http_klaviyo_lane_e lane, ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot)
{
    ngx_http_klaviyo_record_t  *record;

    batch->api = &ngx_http_klaviyo_apis[lane];
    batch->ring = ring;
    batch->slot = slot;
    batch->events = 0;
    batch->length = batch->api->head.len + batch->api->tail.len;

    for (record = ngx_http_klaviyo_ring_first(ring, slot);
         record;
         record = ngx_http_klaviyo_ring_next(ring, slot, record))
    {
        if (batch->events++) {
            batch->length += ngx_http_klaviyo_batch_comma.len;
        }

        batch->length += record->len;
    }

    ngx_http_klaviyo_batch_rewind(batch);

    return batch->events;
}


void
ngx_http_klaviyo_batch_rewind(void *data)
{
    ngx_http_klaviyo_batch_t *batch = data;

    batch->part = NGX_HTTP_KLAVIYO_PART_HEAD;
    batch->record = NULL;
    batch->rest = batch->api->head;
}


size_t
ngx_http_klaviyo_batch_read(void *data, u_char *buf, size_t size)
{
    ngx_http_klaviyo_batch_t *batch = data;

    size_t   n;
    u_char  *p, *last;

    p = buf;
    last = buf + size;

    while (p < last) {

        if (batch->rest.len == 0 && !ngx_http_klaviyo_batch_next(batch)) {
            break;
        }

        n = ngx_min(batch->rest.len, (size_t) (last - p));

        p = ngx_cpymem(p, batch->rest.data, n);

        batch->rest.data += n;
        batch->rest.len -= n;
    }

    return p - buf;
}


static ngx_uint_t
ngx_http_klaviyo_batch_next(ngx_http_klaviyo_batch_t *batch)
{
    switch (batch->part) {

    case NGX_HTTP_KLAVIYO_PART_HEAD:
        batch->record = ngx_http_klaviyo_ring_first(batch->ring, batch->slot);
        break;

    case NGX_HTTP_KLAVIYO_PART_TEXT:
        batch->record = ngx_http_klaviyo_ring_next(batch->ring, batch->slot,
                                                   batch->record);

        if (batch->record) {
            batch->part = NGX_HTTP_KLAVIYO_PART_COMMA;
            batch->rest = ngx_http_klaviyo_batch_comma;
            return 1;
        }

        break;

    case NGX_HTTP_KLAVIYO_PART_COMMA:
        break;

    case NGX_HTTP_KLAVIYO_PART_TAIL:
        return 0;
    }

    if (batch->record) {
        batch->part = NGX_HTTP_KLAVIYO_PART_TEXT;
        batch->rest.data = ngx_http_klaviyo_record_text(batch->record);
        batch->rest.len = batch->record->len;

    } else {
        batch->part = NGX_HTTP_KLAVIYO_PART_TAIL;
        batch->rest = batch->api->tail;
    }

    return 1;
}


ngx_http_klaviyo_record_t *
ngx_http_klaviyo_batch_middle(ngx_http_klaviyo_batch_t *batch)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_record_t  *record;

    if (batch->events < 2) {
        return NULL;
    }

    record = ngx_http_klaviyo_ring_first(batch->ring, batch->slot);

    for (i = 0; i < batch->events / 2 && record; i++) {
        record = ngx_http_klaviyo_ring_next(batch->ring, batch->slot, record);
    }

    return record;
}
