
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The tail.
 *
 * A line is written between two changes of its sequence, which is odd in
 * between: one that is odd, or changes while it is read, is left out.  A writer
 * so slow that others come around writes into their line: the sum tells.
 */


#include "ngx_http_klaviyo_tail.h"
#include "ngx_http_klaviyo_zone.h"


typedef struct {
    ngx_atomic_t                         seq;      /* 0: empty */
    uint32_t                             sum;      /* of the text and what
                                                      follows here */
    uint32_t                             len;
    uint64_t                             time;
    u_char                               text[NGX_HTTP_KLAVIYO_TAIL_LEN];
} ngx_http_klaviyo_tail_slot_t;


/* the lines of a rule and a kind, or of several */
typedef struct {
    ngx_atomic_t                         next;
    ngx_http_klaviyo_tail_slot_t         slots[NGX_HTTP_KLAVIYO_TAIL_LINES];
} ngx_http_klaviyo_tail_lane_t;


struct ngx_http_klaviyo_tail_sh_s {
    ngx_http_klaviyo_layout_t            layout;
    ngx_uint_t                           nlanes;
    ngx_http_klaviyo_tail_lane_t         lanes[1];
};


static void ngx_http_klaviyo_tail_layout(ngx_http_klaviyo_layout_t *layout);
static uint32_t ngx_http_klaviyo_tail_sum(uint64_t time, u_char *text,
    size_t len);


ngx_int_t
ngx_http_klaviyo_tail_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_klaviyo_tail_t  *otail = data;

    void                        *p;
    size_t                       size, head;
    ngx_int_t                    rc;
    ngx_http_klaviyo_tail_t     *tail;
    ngx_http_klaviyo_layout_t    layout;
    ngx_http_klaviyo_tail_sh_t  *sh;

    tail = shm_zone->data;

    p = otail ? otail->sh : NULL;

    ngx_http_klaviyo_tail_layout(&layout);

    rc = ngx_http_klaviyo_zone_attach(shm_zone, &layout, &p);

    if (rc != NGX_DECLINED) {
        tail->sh = p;
        return rc;
    }

    head = offsetof(ngx_http_klaviyo_tail_sh_t, lanes);

    p = ngx_http_klaviyo_zone_alloc(shm_zone,
                       head + 2 * sizeof(ngx_http_klaviyo_tail_lane_t), &size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(p, size);

    sh = p;

    sh->layout = layout;
    sh->nlanes = (size - head) / sizeof(ngx_http_klaviyo_tail_lane_t);

    tail->sh = sh;
    ((ngx_slab_pool_t *) shm_zone->shm.addr)->data = sh;

    return NGX_OK;
}


static void
ngx_http_klaviyo_tail_layout(ngx_http_klaviyo_layout_t *layout)
{
    ngx_memzero(layout, sizeof(ngx_http_klaviyo_layout_t));

    ngx_memcpy(layout->magic, "klavtail", sizeof(layout->magic));
    layout->version = 1;

    layout->sizes[0] = sizeof(ngx_http_klaviyo_tail_sh_t);
    layout->sizes[1] = sizeof(ngx_http_klaviyo_tail_lane_t);
}


void
ngx_http_klaviyo_tail_add(ngx_http_klaviyo_tail_t *tail, ngx_uint_t slot,
    ngx_uint_t kind, uint64_t time, ngx_str_t *line)
{
    size_t                         len;
    ngx_atomic_uint_t              n;
    ngx_http_klaviyo_tail_lane_t  *lane;
    ngx_http_klaviyo_tail_slot_t  *s;

    lane = &tail->sh->lanes[(2 * slot + kind) % tail->sh->nlanes];

    n = ngx_atomic_fetch_add(&lane->next, 1);
    s = &lane->slots[n % NGX_HTTP_KLAVIYO_TAIL_LINES];

    len = ngx_min(line->len, NGX_HTTP_KLAVIYO_TAIL_LEN);

    s->seq = 2 * n + 1;
    __sync_synchronize();

    s->sum = ngx_http_klaviyo_tail_sum(time, line->data, len);
    s->len = len;
    s->time = time;
    ngx_memcpy(s->text, line->data, len);

    __sync_synchronize();
    s->seq = 2 * n + 2;
}


ngx_uint_t
ngx_http_klaviyo_tail_size(ngx_http_klaviyo_tail_t *tail)
{
    return tail->sh->nlanes * NGX_HTTP_KLAVIYO_TAIL_LINES;
}


ngx_int_t
ngx_http_klaviyo_tail_read(ngx_http_klaviyo_tail_t *tail, ngx_uint_t n,
    ngx_http_klaviyo_tail_line_t *line)
{
    uint32_t                       sum;
    ngx_atomic_uint_t              seq;
    ngx_http_klaviyo_tail_lane_t  *lane;
    ngx_http_klaviyo_tail_slot_t  *s;

    lane = &tail->sh->lanes[n / NGX_HTTP_KLAVIYO_TAIL_LINES];
    s = &lane->slots[n % NGX_HTTP_KLAVIYO_TAIL_LINES];

    seq = s->seq;

    if (seq == 0 || (seq & 1)) {
        return NGX_DECLINED;
    }

    __sync_synchronize();

    sum = s->sum;
    line->time = s->time;
    line->len = ngx_min(s->len, NGX_HTTP_KLAVIYO_TAIL_LEN);
    ngx_memcpy(line->text, s->text, line->len);

    __sync_synchronize();

    return (s->seq == seq
            && sum == ngx_http_klaviyo_tail_sum(line->time, line->text,
                                                line->len))
           ? NGX_OK : NGX_DECLINED;
}


static uint32_t
ngx_http_klaviyo_tail_sum(uint64_t time, u_char *text, size_t len)
{
    uint32_t  crc;

    ngx_crc32_init(crc);
    ngx_crc32_update(&crc, (u_char *) &time, sizeof(uint64_t));
    ngx_crc32_update(&crc, text, len);
    ngx_crc32_final(crc);

    return crc;
}
