
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A claimed range of the ring as the body of a request: read piece by piece
 * straight from shared memory, so that a body of megabytes costs no copy, and
 * the same bytes as often as it is read.
 */


#ifndef _NGX_HTTP_KLAVIYO_BATCH_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_BATCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring.h"
#include "ngx_http_klaviyo_api.h"


typedef enum {
    NGX_HTTP_KLAVIYO_PART_HEAD = 0,
    NGX_HTTP_KLAVIYO_PART_TEXT,
    NGX_HTTP_KLAVIYO_PART_COMMA,
    NGX_HTTP_KLAVIYO_PART_TAIL
} ngx_http_klaviyo_part_e;


typedef struct {
    ngx_http_klaviyo_api_t              *api;
    ngx_http_klaviyo_ring_t             *ring;
    ngx_int_t                            slot;

    size_t                               length;   /* of the whole body */
    ngx_uint_t                           events;

    /* what is read at the moment, and what is left of it */
    ngx_http_klaviyo_part_e              part;
    ngx_http_klaviyo_record_t           *record;
    ngx_str_t                            rest;
} ngx_http_klaviyo_batch_t;


/*
 * Makes a body of the slot's unfinished records, as the lane sends them;
 * returns how many there are.  The set must stay the same until the body is no
 * longer read.
 */
ngx_uint_t ngx_http_klaviyo_batch_open(ngx_http_klaviyo_batch_t *batch,
    ngx_http_klaviyo_lane_e lane, ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot);

/* ngx_http_klaviyo_read_pt and ngx_http_klaviyo_rewind_pt of a batch */
size_t ngx_http_klaviyo_batch_read(void *data, u_char *buf, size_t size);
void ngx_http_klaviyo_batch_rewind(void *data);

/*
 * The first record of the second half, where a refused batch is cut in two;
 * NULL with less than two records.
 */
ngx_http_klaviyo_record_t *ngx_http_klaviyo_batch_middle(
    ngx_http_klaviyo_batch_t *batch);


#endif /* _NGX_HTTP_KLAVIYO_BATCH_H_INCLUDED_ */
