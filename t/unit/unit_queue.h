
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The fixture of tests that need a queue: a control zone and one ring.
 */


#ifndef _UNIT_QUEUE_H_INCLUDED_
#define _UNIT_QUEUE_H_INCLUDED_


#include "unit_shm.h"
#include "ngx_http_klaviyo_ring.h"


#define UNIT_CONTROL_SIZE  (1024 * 1024)
#define UNIT_RING_SIZE     (256 * 1024)

/* the slot whose counters the events of a test use */
#define UNIT_RULE          1


static ngx_inline ngx_http_klaviyo_control_t *
unit_control(ngx_pool_t *pool)
{
    ngx_shm_zone_t              *zone;
    ngx_http_klaviyo_control_t  *control;

    control = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_control_t));
    assert_non_null(control);

    zone = unit_shm_zone(pool, "control", UNIT_CONTROL_SIZE);
    zone->data = control;

    assert_int_equal(ngx_http_klaviyo_control_init_zone(zone, NULL), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_control_commit(control), NGX_OK);

    return control;
}


static ngx_inline ngx_http_klaviyo_ring_t *
unit_ring(ngx_pool_t *pool)
{
    ngx_shm_zone_t           *zone;
    ngx_http_klaviyo_ring_t  *ring;

    ring = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_ring_t));
    assert_non_null(ring);

    ring->control = unit_control(pool);

    zone = unit_shm_zone(pool, "ring", UNIT_RING_SIZE);
    zone->data = ring;

    assert_int_equal(ngx_http_klaviyo_ring_init_zone(zone, NULL), NGX_OK);

    return ring;
}


/* as another process of the same instance has it */
static ngx_inline ngx_http_klaviyo_ring_t *
unit_ring_again(ngx_pool_t *pool, ngx_http_klaviyo_ring_t *ring,
    ngx_uint_t generation)
{
    ngx_http_klaviyo_ring_t  *other;

    other = ngx_palloc(pool, sizeof(ngx_http_klaviyo_ring_t));
    assert_non_null(other);

    *other = *ring;
    other->self = 0;
    other->control = ngx_palloc(pool, sizeof(ngx_http_klaviyo_control_t));
    assert_non_null(other->control);

    *other->control = *ring->control;
    other->control->generation = generation;

    return other;
}


/* an event that is told from others by its number */
static ngx_inline void
unit_put(ngx_http_klaviyo_ring_t *ring, ngx_uint_t n)
{
    u_char                     buf[64];
    ngx_str_t                  json;
    ngx_http_klaviyo_record_t  meta;

    ngx_memzero(&meta, sizeof(ngx_http_klaviyo_record_t));

    json.data = buf;
    json.len = ngx_sprintf(buf, "{\"n\":%ui,\"backfill\":false}", n) - buf;

    meta.rule = UNIT_RULE;
    meta.id = n + 1;
    meta.time = ngx_time();
    meta.backfill = json.len - sizeof("false}") + 1;

    assert_int_equal(ngx_http_klaviyo_ring_put(ring, &meta, &json), NGX_OK);
}


static ngx_inline ngx_http_klaviyo_counters_t *
unit_counters(ngx_http_klaviyo_ring_t *ring)
{
    return ngx_http_klaviyo_control_counters(ring->control, UNIT_RULE);
}


#endif /* _UNIT_QUEUE_H_INCLUDED_ */
