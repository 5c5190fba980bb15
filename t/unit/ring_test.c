
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The ring: order, room, ranges, ownership, counters; and that it bears the
 * death of any process at any instruction.
 */


#include "unit_shm.h"
#include "ngx_http_klaviyo_image.h"
#include "ngx_http_klaviyo_ring.h"

#if (__linux__ && (__x86_64__ || __i386__))
#include <sys/ptrace.h>
#define HAVE_STEPS  1
#endif


#define SEED      20260715

/* of the zones */
#define CONTROL   (768 * 1024)
#define RING      (64 * 1024)

#define RULES     4

#define ALL       1000
#define ANY       ((size_t) 1 << 30)


typedef struct {
    ngx_pool_t                  *pool;
    ngx_shm_zone_t              *czone;
    ngx_shm_zone_t              *rzone;
    ngx_http_klaviyo_control_t  *control;
    ngx_http_klaviyo_ring_t     *ring;
    ngx_uint_t                   rules[RULES];
} fixture_t;


static void
attach(fixture_t *f)
{
    ngx_http_klaviyo_ring_t     *ring;
    ngx_http_klaviyo_control_t  *control;

    control = ngx_pcalloc(f->pool, sizeof(ngx_http_klaviyo_control_t));
    ring = ngx_pcalloc(f->pool, sizeof(ngx_http_klaviyo_ring_t));

    assert_non_null(control);
    assert_non_null(ring);

    ring->control = control;

    f->czone->data = control;
    f->rzone->data = ring;

    assert_int_equal(ngx_http_klaviyo_control_init_zone(f->czone, f->control),
                     NGX_OK);
    assert_int_equal(ngx_http_klaviyo_ring_init_zone(f->rzone, f->ring),
                     NGX_OK);

    f->control = control;
    f->ring = ring;
}


/* the next generation */

static void
reload(fixture_t *f)
{
    u_char      key[NGX_HTTP_KLAVIYO_KEY_LEN];
    ngx_uint_t  i;

    attach(f);

    assert_int_equal(ngx_http_klaviyo_control_commit(f->control), NGX_OK);

    ngx_memzero(key, sizeof(key));

    for (i = 0; i < RULES; i++) {
        key[0] = i;
        f->rules[i] = ngx_http_klaviyo_control_slot(f->control, key);
    }
}


static int
setup_with(void **state, size_t size)
{
    void       *pool;
    fixture_t  *f;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    f = ngx_pcalloc(pool, sizeof(fixture_t));
    if (f == NULL) {
        return -1;
    }

    f->pool = pool;
    f->czone = unit_shm_zone(pool, "klaviyo_control", CONTROL);
    f->rzone = unit_shm_zone(pool, "klaviyo_shop", size);

    reload(f);

    *state = f;

    return 0;
}


static int
setup(void **state)
{
    return setup_with(state, RING);
}


static int
setup_large(void **state)
{
    return setup_with(state, 16 * RING);
}


static int
teardown(void **state)
{
    void       *pool;
    fixture_t  *f;

    f = *state;
    pool = f->pool;

    (void) close(ngx_http_klaviyo_control_fd(f->control));

    unit_shm_free(f->czone);
    unit_shm_free(f->rzone);

    return unit_teardown(&pool);
}


/* a text that tells of which event it is */

static void
text(ngx_uint_t id, u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        p[i] = (u_char) (id * 7 + i);
    }
}


static ngx_int_t
put_rule(fixture_t *f, ngx_uint_t rule, ngx_uint_t id, size_t len)
{
    ngx_str_t                   json;
    static u_char               buf[RING];
    ngx_http_klaviyo_record_t   meta;

    text(id, buf, ngx_min(len, RING));

    json.data = buf;
    json.len = len;

    ngx_memset(&meta, 0xff, sizeof(meta));

    meta.rule = f->rules[rule];
    meta.id = id;
    meta.time = 1000 + id;
    meta.backfill = 0;

    return ngx_http_klaviyo_ring_put(f->ring, &meta, &json);
}


static ngx_int_t
put(fixture_t *f, ngx_uint_t id, size_t len)
{
    return put_rule(f, 0, id, len);
}


static ngx_uint_t
intact(ngx_http_klaviyo_record_t *record)
{
    size_t   i;
    u_char  *p;

    p = ngx_http_klaviyo_record_text(record);

    for (i = 0; i < record->len; i++) {
        if (p[i] != (u_char) (record->id * 7 + i)) {
            return 0;
        }
    }

    return record->time == 1000 + record->id;
}


static void
own(fixture_t *f)
{
    assert_int_equal(ngx_http_klaviyo_ring_own(f->ring), NGX_OK);
}


static ngx_int_t
claim(fixture_t *f, ngx_uint_t events)
{
    ngx_int_t  slot;

    slot = ngx_http_klaviyo_ring_claim(f->ring, events, ANY, NULL);
    assert_true(slot >= 0);

    return slot;
}


/* the slot has just these events */

static void
assert_slot(fixture_t *f, ngx_int_t slot, ngx_uint_t first, ngx_uint_t last)
{
    ngx_uint_t                  id;
    ngx_http_klaviyo_record_t  *record;

    record = ngx_http_klaviyo_ring_first(f->ring, slot);

    for (id = first; id <= last; id++) {
        assert_non_null(record);
        assert_int_equal(record->id, id);
        assert_true(intact(record));

        record = ngx_http_klaviyo_ring_next(f->ring, slot, record);
    }

    assert_null(record);
}


static ngx_http_klaviyo_record_t *
nth(fixture_t *f, ngx_int_t slot, ngx_uint_t n)
{
    ngx_http_klaviyo_record_t  *record;

    record = ngx_http_klaviyo_ring_first(f->ring, slot);

    while (n--) {
        record = ngx_http_klaviyo_ring_next(f->ring, slot, record);
    }

    return record;
}


static void
assert_stat(fixture_t *f, ngx_uint_t events, ngx_uint_t unclaimed)
{
    ngx_http_klaviyo_ring_stat_t  stat;

    ngx_http_klaviyo_ring_stat(f->ring, &stat);

    assert_int_equal(stat.events, events);
    assert_int_equal(stat.unclaimed, unclaimed);
    assert_true(events || stat.used == 0);
}


static ngx_http_klaviyo_counters_t *
counters(fixture_t *f, ngx_uint_t rule)
{
    return ngx_http_klaviyo_control_counters(f->control, f->rules[rule]);
}


static void
assert_conserved(ngx_http_klaviyo_counters_t *c)
{
    assert_int_equal(c->seen, c->sent + c->queued + c->dead
                              + c->dropped[NGX_HTTP_KLAVIYO_DROP_FULL]
                              + c->dropped[NGX_HTTP_KLAVIYO_DROP_TOO_LARGE]);
}


static size_t
free_bytes(fixture_t *f)
{
    ngx_http_klaviyo_ring_stat_t  stat;

    ngx_http_klaviyo_ring_stat(f->ring, &stat);

    return stat.size - stat.used;
}


static void
an_event_comes_out_as_it_was_put(void **state)
{
    fixture_t                  *f = *state;
    ngx_str_t                   json = ngx_string("{\"a\":false}");
    ngx_int_t                   slot;
    ngx_http_klaviyo_record_t   meta, *record;

    ngx_memset(&meta, 0xff, sizeof(meta));

    meta.rule = f->rules[1];
    meta.id = 77;
    meta.time = 88;
    meta.backfill = 5;
    ngx_current_msec = 99;

    assert_int_equal(ngx_http_klaviyo_ring_put(f->ring, &meta, &json), NGX_OK);

    own(f);
    slot = claim(f, ALL);
    record = ngx_http_klaviyo_ring_first(f->ring, slot);

    assert_non_null(record);
    assert_int_equal(record->len, json.len);
    assert_int_equal(record->rule, f->rules[1]);
    assert_int_equal(record->id, 77);
    assert_int_equal(record->time, 88);
    assert_int_equal(record->msec, 99);
    assert_int_equal(record->flags, 0);
    assert_int_equal(record->backfill, 5);
    assert_memory_equal(ngx_http_klaviyo_record_text(record), json.data,
                        json.len);
    assert_int_equal((uintptr_t) record % 8, 0);
    assert_int_equal(sizeof(ngx_http_klaviyo_record_t), 24);

    assert_null(ngx_http_klaviyo_ring_next(f->ring, slot, record));
}


static void
an_event_takes_no_more_than_32_bytes_beside_its_text(void **state)
{
    size_t      before, len;
    fixture_t  *f = *state;

    for (len = 0; len < 64; len++) {
        before = free_bytes(f);
        assert_int_equal(put(f, len + 1, len), NGX_OK);
        assert_in_range(before - free_bytes(f), len + 24, len + 31);
    }
}


static void
events_come_out_in_order_and_once(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_uint_t   id;

    own(f);

    for (id = 1; id <= 100; id++) {
        assert_int_equal(put(f, id, id), NGX_OK);
    }

    assert_stat(f, 100, 100);

    slot = claim(f, 60);
    assert_slot(f, slot, 1, 60);
    assert_stat(f, 100, 40);

    ngx_http_klaviyo_ring_finish(f->ring, slot);
    assert_stat(f, 40, 40);

    slot = claim(f, 60);
    assert_slot(f, slot, 61, 100);
    assert_stat(f, 40, 0);

    ngx_http_klaviyo_ring_finish(f->ring, slot);
    assert_stat(f, 0, 0);

    assert_int_equal(ngx_http_klaviyo_ring_claim(f->ring, ALL, ANY, NULL),
                     NGX_DECLINED);
    assert_int_equal(counters(f, 0)->sent, 100);
    assert_int_equal(counters(f, 0)->queued, 0);
    assert_conserved(counters(f, 0));
}


static void
the_bytes_and_the_age_of_what_is_unclaimed_are_known(void **state)
{
    fixture_t                     *f = *state;
    ngx_http_klaviyo_ring_stat_t   stat;

    own(f);

    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_int_equal(stat.oldest, 0);
    assert_int_equal(stat.used, 0);

    ngx_current_msec = (ngx_msec_t) 0xffffffff - 10;
    assert_int_equal(put(f, 1, 100), NGX_OK);

    ngx_current_msec += 500;
    assert_int_equal(put(f, 2, 200), NGX_OK);

    ngx_current_msec += 500;
    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_int_equal(stat.oldest, 1000);
    assert_int_equal(stat.unclaimed_bytes, 300);

    (void) claim(f, 1);

    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_int_equal(stat.oldest, 500);
    assert_int_equal(stat.unclaimed_bytes, 200);

    /* our time lags behind that of who put it */

    ngx_current_msec -= 600;
    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_int_equal(stat.oldest, 0);
}


static void
a_full_ring_drops_the_new_event(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_uint_t   n, dropped;

    own(f);

    for (n = 0; put(f, n + 1, 1000) == NGX_OK; n++) {
        assert_in_range(n, 0, RING / 1000);
    }

    assert_true(free_bytes(f) < 1024);

    for (dropped = 1; dropped < 5; dropped++) {
        assert_int_equal(put(f, 999, 1000), NGX_DECLINED);
    }

    assert_int_equal(counters(f, 0)->seen, n + dropped);
    assert_int_equal(counters(f, 0)->queued, n);
    assert_int_equal(counters(f, 0)->dropped[NGX_HTTP_KLAVIYO_DROP_FULL],
                     dropped);

    slot = claim(f, 2);
    assert_int_equal(put(f, n + 1, 1000), NGX_DECLINED);

    ngx_http_klaviyo_ring_finish(f->ring, slot);
    assert_int_equal(put(f, n + 1, 1000), NGX_OK);

    slot = claim(f, ALL);
    assert_slot(f, slot, 3, n + 1);
    assert_conserved(counters(f, 0));
}


static void
a_ring_is_filled_to_its_last_byte(void **state)
{
    size_t       len;
    fixture_t   *f = *state;
    ngx_uint_t   i;

    own(f);

    for (i = 1; free_bytes(f) > 8192; i++) {
        assert_int_equal(put(f, i, 1000), NGX_OK);
    }

    len = free_bytes(f) - 24;

    assert_int_equal(put(f, i, len + 1), NGX_DECLINED);
    assert_int_equal(put(f, i, len), NGX_OK);
    assert_int_equal(free_bytes(f), 0);
    assert_int_equal(put(f, i + 1, 0), NGX_DECLINED);

    assert_slot(f, claim(f, ALL), 1, i);
}


static void
an_event_larger_than_half_of_the_ring_is_refused(void **state)
{
    size_t                         half;
    fixture_t                     *f = *state;
    ngx_http_klaviyo_ring_stat_t   stat;

    own(f);

    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    half = stat.size / 2 / 8 * 8;

    assert_int_equal(put(f, 1, half - 24 + 1), NGX_ABORT);
    assert_int_equal(put(f, 1, (size_t) 1 << 32), NGX_ABORT);
    assert_int_equal(put(f, 1, (size_t) -1), NGX_ABORT);
    assert_int_equal(put(f, 1, (size_t) -25), NGX_ABORT);

    assert_int_equal(counters(f, 0)->dropped[NGX_HTTP_KLAVIYO_DROP_TOO_LARGE],
                     4);

    /* such a one has room in an empty ring, wherever that begins */

    assert_int_equal(put(f, 1, half - 24), NGX_OK);
    ngx_http_klaviyo_ring_finish(f->ring, claim(f, 1));

    assert_int_equal(put(f, 2, 8), NGX_OK);
    ngx_http_klaviyo_ring_finish(f->ring, claim(f, 1));

    assert_int_equal(put(f, 3, half - 24), NGX_OK);
    assert_slot(f, claim(f, 1), 3, 3);
    assert_conserved(counters(f, 0));
}


static void
a_range_is_closed_by_its_limits(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_uint_t   id, full;

    own(f);

    for (id = 1; id <= 20; id++) {
        assert_int_equal(put(f, id, 100), NGX_OK);
    }

    /* three texts and two commas */

    slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, 302, &full);
    assert_slot(f, slot, 1, 3);
    assert_int_equal(full, 1);

    slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, 301, &full);
    assert_slot(f, slot, 4, 5);
    assert_int_equal(full, 1);

    /* one at least */

    slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, 10, &full);
    assert_slot(f, slot, 6, 6);
    assert_int_equal(full, 1);

    slot = ngx_http_klaviyo_ring_claim(f->ring, 0, ANY, &full);
    assert_slot(f, slot, 7, 7);
    assert_int_equal(full, 1);

    slot = ngx_http_klaviyo_ring_claim(f->ring, 4, ANY, &full);
    assert_slot(f, slot, 8, 11);
    assert_int_equal(full, 1);

    slot = ngx_http_klaviyo_ring_claim(f->ring, 10, ANY, &full);
    assert_slot(f, slot, 12, 20);
    assert_int_equal(full, 0);

    assert_int_equal(ngx_http_klaviyo_ring_claim(f->ring, 10, ANY, &full),
                     NGX_DECLINED);
    assert_int_equal(full, 0);
}


static void
a_range_has_no_id_twice(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_uint_t   full;

    own(f);

    /* two that fall into one place of a hash, and the id that is zero */

    assert_int_equal(put(f, 5, 10), NGX_OK);
    assert_int_equal(put(f, 5 + 0x10000, 10), NGX_OK);
    assert_int_equal(put(f, 0, 10), NGX_OK);
    assert_int_equal(put(f, 5 + 0x10000, 10), NGX_OK);
    assert_int_equal(put(f, 0, 10), NGX_OK);
    assert_int_equal(put(f, 0, 10), NGX_OK);

    slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, ANY, &full);
    assert_int_equal(full, 1);
    assert_int_equal(nth(f, slot, 0)->id, 5);
    assert_int_equal(nth(f, slot, 1)->id, 5 + 0x10000);
    assert_int_equal(nth(f, slot, 2)->id, 0);
    assert_null(nth(f, slot, 3));

    slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, ANY, &full);
    assert_int_equal(full, 1);
    assert_int_equal(nth(f, slot, 0)->id, 5 + 0x10000);
    assert_int_equal(nth(f, slot, 1)->id, 0);
    assert_null(nth(f, slot, 2));

    slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, ANY, &full);
    assert_int_equal(full, 0);
    assert_int_equal(nth(f, slot, 0)->id, 0);
    assert_null(nth(f, slot, 1));
}


static void
a_range_has_no_more_than_a_thousand(void **state)
{
    fixture_t   *f = *state;
    ngx_uint_t   id, full;

    own(f);

    for (id = 1; id <= 1500; id++) {
        assert_int_equal(put(f, id * 4096, 1), NGX_OK);
    }

    (void) ngx_http_klaviyo_ring_claim(f->ring, 100000, ANY, &full);
    assert_int_equal(full, 1);
    assert_stat(f, 1500, 500);
}


static void
the_spare_slots_are_not_claimed(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_uint_t   i, n;

    own(f);

    n = NGX_HTTP_KLAVIYO_RING_SLOTS - NGX_HTTP_KLAVIYO_RING_SPARE;

    for (i = 1; i <= n + 2; i++) {
        assert_int_equal(put(f, i, 10), NGX_OK);
    }

    for (i = 1; i < n; i++) {
        (void) claim(f, 1);
    }

    slot = claim(f, 2);

    assert_int_equal(ngx_http_klaviyo_ring_claim(f->ring, 1, ANY, NULL),
                     NGX_DECLINED);

    assert_int_equal(ngx_http_klaviyo_ring_split(f->ring, slot,
                                                 nth(f, slot, 1)),
                     NGX_OK);

    ngx_http_klaviyo_ring_finish(f->ring, slot);
    assert_int_equal(ngx_http_klaviyo_ring_claim(f->ring, 1, ANY, NULL),
                     NGX_DECLINED);

    ngx_http_klaviyo_ring_finish(f->ring, ngx_http_klaviyo_ring_adopt(f->ring));
    assert_slot(f, claim(f, 1), n + 2, n + 2);
}


static void
a_slot_is_split_as_long_as_one_is_free(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_uint_t   i;

    own(f);

    for (i = 1; i <= NGX_HTTP_KLAVIYO_RING_SLOTS + 5; i++) {
        assert_int_equal(put(f, i, 10), NGX_OK);
    }

    slot = claim(f, ALL);

    for (i = NGX_HTTP_KLAVIYO_RING_SLOTS + 4; i > 5; i--) {
        assert_int_equal(ngx_http_klaviyo_ring_split(f->ring, slot,
                                                     nth(f, slot, i)),
                         NGX_OK);
    }

    assert_int_equal(ngx_http_klaviyo_ring_split(f->ring, slot,
                                                 nth(f, slot, i)),
                     NGX_DECLINED);

    assert_slot(f, slot, 1, 6);
    assert_stat(f, NGX_HTTP_KLAVIYO_RING_SLOTS + 5, 0);
}


static void
a_slot_splits_into_singles_that_finish_in_any_order(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot, rest, slots[5];
    ngx_uint_t   i;

    own(f);

    for (i = 1; i <= 5; i++) {
        assert_int_equal(put_rule(f, i % RULES, i, 1000), NGX_OK);
    }

    slot = claim(f, ALL);

    assert_int_equal(ngx_http_klaviyo_ring_split(f->ring, slot,
                                                 nth(f, slot, 0)),
                     NGX_DECLINED);

    for (i = 0; i < 4; i++) {
        assert_int_equal(ngx_http_klaviyo_ring_split(f->ring, slot,
                                                     nth(f, slot, 1)),
                         NGX_OK);
        assert_slot(f, slot, i + 1, i + 1);

        rest = ngx_http_klaviyo_ring_adopt(f->ring);
        assert_slot(f, rest, i + 2, 5);

        slots[i] = slot;
        slot = rest;
    }

    slots[4] = slot;

    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), NGX_DECLINED);
    assert_stat(f, 5, 0);

    for (i = 0; i < 5; i++) {
        ngx_http_klaviyo_ring_finish(f->ring, slots[i * 2 % 5]);
        assert_stat(f, 4 - i, 0);
    }

    for (i = 0; i < RULES; i++) {
        assert_int_equal(counters(f, i)->queued, 0);
        assert_conserved(counters(f, i));
    }
}


static void
room_is_there_when_the_oldest_slot_is_finished(void **state)
{
    size_t       before;
    fixture_t   *f = *state;
    ngx_int_t    slots[3];
    ngx_uint_t   i;

    own(f);

    for (i = 0; i < 3; i++) {
        assert_int_equal(put(f, i + 1, 1000), NGX_OK);
        slots[i] = claim(f, 1);
    }

    before = free_bytes(f);

    ngx_http_klaviyo_ring_finish(f->ring, slots[1]);
    assert_int_equal(free_bytes(f), before);

    ngx_http_klaviyo_ring_finish(f->ring, slots[0]);
    assert_int_equal(free_bytes(f), before + 2 * 1024);

    ngx_http_klaviyo_ring_finish(f->ring, slots[2]);
    assert_stat(f, 0, 0);
}


static void
a_record_that_is_taken_is_not_seen_again(void **state)
{
    fixture_t                  *f = *state;
    ngx_int_t                   slot;
    ngx_uint_t                  i;
    ngx_http_klaviyo_record_t  *record;

    own(f);

    for (i = 1; i <= 5; i++) {
        assert_int_equal(put_rule(f, i % 2, i, 100), NGX_OK);
    }

    slot = claim(f, ALL);

    assert_false(ngx_http_klaviyo_ring_gaps(f->ring, slot));

    record = nth(f, slot, 4);
    ngx_http_klaviyo_ring_take(f->ring, record, 1);
    ngx_http_klaviyo_ring_take(f->ring, record, 1);
    assert_true(ngx_http_klaviyo_ring_gaps(f->ring, slot));
    assert_slot(f, slot, 1, 4);
    assert_stat(f, 4, 0);

    assert_int_equal(counters(f, 1)->dead, 1);
    assert_int_equal(counters(f, 1)->queued, 2);

    ngx_http_klaviyo_ring_take(f->ring, nth(f, slot, 0), 0);
    assert_slot(f, slot, 2, 4);

    assert_int_equal(counters(f, 1)->sent, 1);
    assert_int_equal(counters(f, 1)->queued, 1);

    /* from one to the next over one that is taken meanwhile */

    record = nth(f, slot, 0);
    ngx_http_klaviyo_ring_take(f->ring, nth(f, slot, 1), 1);
    record = ngx_http_klaviyo_ring_next(f->ring, slot, record);
    assert_int_equal(record->id, 4);

    ngx_http_klaviyo_ring_finish(f->ring, slot);
    assert_stat(f, 0, 0);

    assert_int_equal(counters(f, 0)->sent, 2);
    assert_int_equal(counters(f, 0)->dead, 0);
    assert_int_equal(counters(f, 1)->sent, 1);
    assert_int_equal(counters(f, 1)->dead, 2);
    assert_conserved(counters(f, 0));
    assert_conserved(counters(f, 1));
}


static void
many_runs_of_rules_are_counted(void **state)
{
    fixture_t   *f = *state;
    ngx_uint_t   i;

    own(f);

    for (i = 1; i <= 32 * RULES; i++) {
        assert_int_equal(put_rule(f, i % RULES, i, 10), NGX_OK);
        assert_int_equal(put_rule(f, i % RULES, i + 4096, 10), NGX_OK);
    }

    ngx_http_klaviyo_ring_finish(f->ring, claim(f, ALL));
    assert_stat(f, 0, 0);

    for (i = 0; i < RULES; i++) {
        assert_int_equal(counters(f, i)->sent, 64);
        assert_int_equal(counters(f, i)->queued, 0);
    }
}


static void
a_rule_that_is_unknown_is_counted_as_other(void **state)
{
    fixture_t                    *f = *state;
    ngx_http_klaviyo_counters_t  *other;

    own(f);

    f->rules[0] = 123456;
    other = ngx_http_klaviyo_control_counters(f->control,
                                              NGX_HTTP_KLAVIYO_OTHER);

    assert_int_equal(put(f, 1, 10), NGX_OK);
    assert_int_equal(other->queued, 1);

    ngx_http_klaviyo_ring_finish(f->ring, claim(f, 1));
    assert_int_equal(other->queued, 0);
    assert_int_equal(other->sent, 1);
}


static void
a_slot_given_back_waits_for_adoption(void **state)
{
    fixture_t  *f = *state;
    ngx_int_t   first, second;

    own(f);

    assert_int_equal(put(f, 1, 10), NGX_OK);
    assert_int_equal(put(f, 2, 10), NGX_OK);

    assert_false(ngx_http_klaviyo_ring_busy(f->ring));

    first = claim(f, 1);
    second = claim(f, 1);

    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), NGX_DECLINED);

    ngx_http_klaviyo_ring_release(f->ring, second);
    assert_true(ngx_http_klaviyo_ring_busy(f->ring));

    ngx_http_klaviyo_ring_release(f->ring, first);
    assert_false(ngx_http_klaviyo_ring_busy(f->ring));
    assert_stat(f, 2, 0);

    /* not ours any more */

    ngx_http_klaviyo_ring_finish(f->ring, first);
    assert_stat(f, 2, 0);

    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), first);
    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), second);
    assert_slot(f, first, 1, 1);
    assert_slot(f, second, 2, 2);
}


static void
what_a_dead_owner_claimed_is_adopted_oldest_first(void **state)
{
    fixture_t   *f = *state;
    ngx_int_t    slot;
    ngx_pid_t    pid;
    ngx_uint_t   i;

    for (i = 1; i <= 10; i++) {
        assert_int_equal(put(f, i, 100), NGX_OK);
    }

    pid = unit_fork();

    if (pid == 0) {
        (void) ngx_http_klaviyo_ring_own(f->ring);

        slot = ngx_http_klaviyo_ring_claim(f->ring, 2, ANY, NULL);
        (void) ngx_http_klaviyo_ring_claim(f->ring, 3, ANY, NULL);
        ngx_http_klaviyo_ring_take(f->ring,
                                   nth(f, slot, 1), 0);
        slot = ngx_http_klaviyo_ring_claim(f->ring, 1, ANY, NULL);
        ngx_http_klaviyo_ring_take(f->ring, nth(f, slot, 0), 1);

        _exit(0);
    }

    assert_int_equal(unit_wait(pid), 0);

    assert_int_equal(ngx_http_klaviyo_ring_claim(f->ring, ALL, ANY, NULL),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), NGX_DECLINED);

    own(f);

    slot = ngx_http_klaviyo_ring_adopt(f->ring);
    assert_slot(f, slot, 1, 1);

    slot = ngx_http_klaviyo_ring_adopt(f->ring);
    assert_slot(f, slot, 3, 5);

    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), NGX_DECLINED);

    slot = claim(f, ALL);
    assert_slot(f, slot, 7, 10);

    assert_stat(f, 8, 0);
}


static void
an_owner_that_lives_is_respected_in_its_generation(void **state)
{
    int         status;
    fixture_t  *f = *state;
    ngx_pid_t   pid;

    assert_int_equal(put(f, 1, 100), NGX_OK);
    assert_int_equal(put(f, 2, 100), NGX_OK);

    pid = unit_fork();

    if (pid == 0) {
        (void) ngx_http_klaviyo_ring_own(f->ring);
        (void) ngx_http_klaviyo_ring_claim(f->ring, 1, ANY, NULL);
        raise(SIGSTOP);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);

    assert_int_equal(ngx_http_klaviyo_ring_own(f->ring), NGX_DECLINED);
    assert_false(ngx_http_klaviyo_ring_owned(f->ring));

    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), -1);

    own(f);
    assert_true(ngx_http_klaviyo_ring_owned(f->ring));
    assert_slot(f, ngx_http_klaviyo_ring_adopt(f->ring), 1, 1);
    assert_slot(f, claim(f, ALL), 2, 2);
}


static void
a_newer_generation_owns_at_once_and_the_old_one_ends_what_it_has(void **state)
{
    int         rc, status;
    fixture_t  *f = *state, old;
    ngx_int_t   first, second;
    ngx_pid_t   pid;

    assert_int_equal(put(f, 1, 100), NGX_OK);
    assert_int_equal(put(f, 2, 100), NGX_OK);
    assert_int_equal(put(f, 3, 100), NGX_OK);
    assert_int_equal(put(f, 4, 100), NGX_OK);

    old = *f;

    pid = unit_fork();

    if (pid == 0) {
        (void) ngx_http_klaviyo_ring_own(old.ring);
        first = ngx_http_klaviyo_ring_claim(old.ring, 2, ANY, NULL);
        second = ngx_http_klaviyo_ring_claim(old.ring, 1, ANY, NULL);

        raise(SIGSTOP);

        rc = 0;

        if (ngx_http_klaviyo_ring_owned(old.ring)
            || ngx_http_klaviyo_ring_own(old.ring) != NGX_DECLINED
            || ngx_http_klaviyo_ring_claim(old.ring, 1, ANY, NULL)
               != NGX_DECLINED
            || ngx_http_klaviyo_ring_adopt(old.ring) != NGX_DECLINED
            || !ngx_http_klaviyo_ring_busy(old.ring))
        {
            rc = 1;
        }

        if (ngx_http_klaviyo_ring_split(old.ring, first, nth(&old, first, 1))
            != NGX_OK)
        {
            rc = 2;
        }

        ngx_http_klaviyo_ring_finish(old.ring, first);
        ngx_http_klaviyo_ring_release(old.ring, second);

        if (ngx_http_klaviyo_ring_busy(old.ring)) {
            rc = 3;
        }

        _exit(rc);
    }

    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);

    reload(f);
    own(f);

    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), NGX_DECLINED);
    assert_false(ngx_http_klaviyo_ring_busy(f->ring));

    first = claim(f, 1);
    assert_slot(f, first, 4, 4);

    kill(pid, SIGCONT);
    assert_int_equal(unit_wait(pid), 0);

    assert_int_equal(counters(f, 0)->sent, 1);

    assert_slot(f, ngx_http_klaviyo_ring_adopt(f->ring), 2, 2);
    assert_slot(f, ngx_http_klaviyo_ring_adopt(f->ring), 3, 3);
    assert_int_equal(ngx_http_klaviyo_ring_adopt(f->ring), NGX_DECLINED);
}


static void
a_pid_that_is_used_again_adopts_what_the_dead_one_held(void **state)
{
    fixture_t                *f = *state;
    ngx_http_klaviyo_ring_t   again;

    assert_int_equal(put(f, 1, 100), NGX_OK);

    /* as another process sees it that was started with our pid */

    again = *f->ring;

    own(f);
    (void) claim(f, 1);

    assert_false(ngx_http_klaviyo_ring_owned(&again));
    assert_int_equal(ngx_http_klaviyo_ring_own(&again), NGX_OK);

    f->ring = &again;
    assert_slot(f, ngx_http_klaviyo_ring_adopt(f->ring), 1, 1);
}


static void
a_child_does_not_own_what_its_parent_owns(void **state)
{
    fixture_t  *f = *state;
    ngx_pid_t   pid;

    own(f);

    pid = unit_fork();

    if (pid == 0) {
        _exit(ngx_http_klaviyo_ring_owned(f->ring)
              || ngx_http_klaviyo_ring_own(f->ring) != NGX_DECLINED);
    }

    assert_int_equal(unit_wait(pid), 0);
}


static void
a_reload_keeps_the_events(void **state)
{
    fixture_t                *f = *state;
    ngx_http_klaviyo_ring_t   found;

    assert_int_equal(put(f, 1, 100), NGX_OK);

    reload(f);
    own(f);
    assert_slot(f, claim(f, ALL), 1, 1);

    /* without the old cycle's handle */

    ngx_memzero(&found, sizeof(found));
    found.control = f->control;
    f->rzone->data = &found;

    assert_int_equal(ngx_http_klaviyo_ring_init_zone(f->rzone, NULL), NGX_OK);
    assert_ptr_equal(found.sh, f->ring->sh);
}


static void
another_layout_is_refused(void **state)
{
    fixture_t                *f = *state;
    ngx_http_klaviyo_ring_t   ring;

    ngx_memzero(&ring, sizeof(ring));
    f->rzone->data = &ring;

    ((u_char *) f->ring->sh)[8] ^= 1;

    assert_int_equal(ngx_http_klaviyo_ring_init_zone(f->rzone, f->ring),
                     NGX_ERROR);
    assert_int_equal(ngx_http_klaviyo_ring_init_zone(f->rzone, NULL),
                     NGX_ERROR);
}


static void
a_zone_that_is_too_small_is_refused(void **state)
{
    fixture_t                *f = *state;
    ngx_shm_zone_t           *zone;
    ngx_http_klaviyo_ring_t   ring;

    zone = unit_shm_zone(f->pool, "small", 4 * ngx_pagesize);
    zone->data = &ring;

    assert_int_equal(ngx_http_klaviyo_ring_init_zone(zone, NULL), NGX_ERROR);

    unit_shm_free(zone);
}


static void
put_text(fixture_t *f, ngx_str_t *json, uint32_t time, uint16_t backfill)
{
    static uint32_t             id;
    ngx_http_klaviyo_record_t   meta;

    ngx_memzero(&meta, sizeof(meta));

    meta.rule = f->rules[0];
    meta.id = ++id;
    meta.time = time;
    meta.backfill = backfill;

    assert_int_equal(ngx_http_klaviyo_ring_put(f->ring, &meta, json), NGX_OK);
}


static void
assert_record(fixture_t *f, ngx_int_t slot, ngx_uint_t n, char *expected)
{
    ngx_str_t                   json;
    ngx_http_klaviyo_record_t  *record;

    record = nth(f, slot, n);

    json.data = ngx_http_klaviyo_record_text(record);
    json.len = record->len;

    assert_int_equal(json.len, ngx_strlen(expected));
    assert_memory_equal(json.data, expected, json.len);
}


static void
old_events_become_backfill(void **state)
{
    fixture_t  *f = *state;
    ngx_int_t   slot;

    own(f);

    put_text(f, unit_str("{\"b\":false}"), 999, 5);
    put_text(f, unit_str("{\"b\":false}"), 1000, 5);
    put_text(f, unit_str("{\"b\":false}"), 10, 0);

    slot = claim(f, ALL);
    ngx_http_klaviyo_ring_backfill(f->ring, slot, 1000);

    assert_record(f, slot, 0, "{\"b\":true }");
    assert_record(f, slot, 1, "{\"b\":false}");
    assert_record(f, slot, 2, "{\"b\":false}");
}


static void
backfill_is_decided_once(void **state)
{
    fixture_t  *f = *state;
    ngx_int_t   slot;

    own(f);

    put_text(f, unit_str("{\"b\":false}"), 999, 5);
    put_text(f, unit_str("{\"b\":false}"), 1000, 5);

    slot = claim(f, ALL);
    ngx_http_klaviyo_ring_backfill(f->ring, slot, 1000);
    ngx_http_klaviyo_ring_backfill(f->ring, slot, 5000);

    assert_record(f, slot, 0, "{\"b\":true }");
    assert_record(f, slot, 1, "{\"b\":false}");

    ngx_http_klaviyo_ring_release(f->ring, slot);
    slot = ngx_http_klaviyo_ring_adopt(f->ring);
    ngx_http_klaviyo_ring_backfill(f->ring, slot, 5000);

    assert_record(f, slot, 1, "{\"b\":false}");
}


static void
backfill_never_writes_beyond_the_text(void **state)
{
    fixture_t  *f = *state;
    ngx_int_t   slot;

    own(f);

    put_text(f, unit_str("false"), 1, 1);
    put_text(f, unit_str("xfals"), 1, 1);
    put_text(f, unit_str("xfalse"), 1, 1);
    put_text(f, unit_str("xfalse"), 1, 0xffff);
    put_text(f, unit_str("xtruee"), 1, 1);
    put_text(f, unit_str(""), 1, 5);

    slot = claim(f, ALL);

    /* what follows the text would make it a "false" */

    ngx_http_klaviyo_record_text(nth(f, slot, 1))[5] = 'e';

    ngx_http_klaviyo_ring_backfill(f->ring, slot, 1000);

    assert_record(f, slot, 0, "false");
    assert_record(f, slot, 1, "xfals");
    assert_int_equal(ngx_http_klaviyo_record_text(nth(f, slot, 1))[5], 'e');
    assert_record(f, slot, 2, "xtrue ");
    assert_record(f, slot, 3, "xfalse");
    assert_record(f, slot, 4, "xtruee");
    assert_record(f, slot, 5, "");
}


/* The model of the random run: a row of events, and which are still there. */

#define EVENTS  60000

typedef struct {
    ngx_uint_t  used;
    ngx_uint_t  waits;
    ngx_uint_t  from;     /* events */
    ngx_uint_t  to;
} model_slot_t;


typedef struct {
    fixture_t     *f;

    u_char         gone[EVENTS];
    uint16_t       lens[EVENTS];
    u_char         rules[EVENTS];

    ngx_uint_t     put;
    ngx_uint_t     claimed;
    ngx_uint_t     left;
    ngx_uint_t     sent[RULES];
    ngx_uint_t     dead[RULES];
    ngx_uint_t     dropped[RULES];
    ngx_uint_t     queued[RULES];

    ngx_uint_t     nslots;
    ngx_uint_t     wraps;

    model_slot_t   slots[NGX_HTTP_KLAVIYO_RING_SLOTS];
} model_t;


static void
model_put(model_t *m)
{
    size_t                         len;
    fixture_t                     *f;
    ngx_uint_t                     rule;
    ngx_http_klaviyo_ring_stat_t   stat;

    f = m->f;
    len = (ngx_random() % 16) ? ngx_random() % 400 : ngx_random() % 9000;
    rule = ngx_random() % RULES;

    ngx_http_klaviyo_ring_stat(f->ring, &stat);

    if (put_rule(f, rule, m->put, len) != NGX_OK) {

        /* there was no room, also if the end of the ring must be skipped */

        assert_true(stat.size - stat.used < 2 * (len + 31));
        m->dropped[rule]++;
        return;
    }

    assert_true(stat.size - stat.used >= len + 24);

    m->lens[m->put] = len;
    m->rules[m->put] = rule;
    m->put++;
    m->left++;
    m->queued[rule]++;
}


static void
model_claim(model_t *m)
{
    size_t         limit, bytes;
    ngx_int_t      slot;
    ngx_uint_t     events, n, full, limited;
    model_slot_t  *ms;

    events = 1 + ngx_random() % 50;
    limit = 1 + ngx_random() % 5000;

    slot = ngx_http_klaviyo_ring_claim(m->f->ring, events, limit, &full);

    if (m->claimed == m->put
        || m->nslots >= NGX_HTTP_KLAVIYO_RING_SLOTS
                        - NGX_HTTP_KLAVIYO_RING_SPARE)
    {
        assert_int_equal(slot, NGX_DECLINED);
        return;
    }

    bytes = 0;
    limited = 0;

    for (n = 0; m->claimed + n < m->put; n++) {
        bytes += m->lens[m->claimed + n] + (n ? 1 : 0);

        if (n == events || (n && bytes > limit)) {
            limited = 1;
            break;
        }
    }

    assert_in_range(slot, 0, NGX_HTTP_KLAVIYO_RING_SLOTS - 1);
    assert_int_equal(full, limited || n == events);

    ms = &m->slots[slot];

    assert_false(ms->used);

    ms->used = 1;
    ms->waits = 0;
    ms->from = m->claimed;
    ms->to = m->claimed + n;

    m->claimed += n;
    m->nslots++;
}


/* a slot that we hold, by chance */

static ngx_int_t
model_pick(model_t *m)
{
    ngx_int_t  slot;

    slot = ngx_random() % NGX_HTTP_KLAVIYO_RING_SLOTS;

    return (m->slots[slot].used && !m->slots[slot].waits) ? slot : -1;
}


static void
model_gone(model_t *m, ngx_uint_t id, ngx_uint_t dead)
{
    assert_false(m->gone[id]);

    m->gone[id] = 1;
    m->left--;
    m->queued[m->rules[id]]--;

    if (dead) {
        m->dead[m->rules[id]]++;

    } else {
        m->sent[m->rules[id]]++;
    }
}


static void
model_check_slot(model_t *m, ngx_int_t slot)
{
    ngx_uint_t                  id;
    ngx_http_klaviyo_record_t  *record, *last;

    last = NULL;
    record = ngx_http_klaviyo_ring_first(m->f->ring, slot);

    for (id = m->slots[slot].from; id < m->slots[slot].to; id++) {
        if (m->gone[id]) {
            continue;
        }

        assert_non_null(record);
        assert_int_equal(record->id, id);
        assert_int_equal(record->len, m->lens[id]);
        assert_int_equal(record->rule, m->f->rules[m->rules[id]]);
        assert_true(intact(record));

        if (last && record < last) {
            m->wraps++;
        }

        last = record;
        record = ngx_http_klaviyo_ring_next(m->f->ring, slot, record);
    }

    assert_null(record);
}


static void
model_finish(model_t *m, ngx_int_t slot)
{
    ngx_uint_t  id;

    ngx_http_klaviyo_ring_finish(m->f->ring, slot);

    for (id = m->slots[slot].from; id < m->slots[slot].to; id++) {
        if (!m->gone[id]) {
            model_gone(m, id, 0);
        }
    }

    m->slots[slot].used = 0;
    m->nslots--;
}


static void
model_take(model_t *m, ngx_int_t slot)
{
    ngx_uint_t                  dead;
    ngx_http_klaviyo_record_t  *record;

    record = ngx_http_klaviyo_ring_first(m->f->ring, slot);

    while (record && ngx_random() % 4) {
        record = ngx_http_klaviyo_ring_next(m->f->ring, slot, record);
    }

    if (record) {
        dead = ngx_random() % 2;
        ngx_http_klaviyo_ring_take(m->f->ring, record, dead);
        model_gone(m, record->id, dead);
    }
}


/* the other half is adopted at once, so that the model learns its number */

static void
model_split(model_t *m, ngx_int_t slot)
{
    ngx_int_t                   rest;
    ngx_http_klaviyo_record_t  *record;

    record = ngx_http_klaviyo_ring_first(m->f->ring, slot);

    if (record) {
        record = ngx_http_klaviyo_ring_next(m->f->ring, slot, record);
    }

    if (record == NULL) {
        return;
    }

    assert_int_equal(ngx_http_klaviyo_ring_split(m->f->ring, slot, record),
                     NGX_OK);

    rest = ngx_http_klaviyo_ring_adopt(m->f->ring);

    while (rest >= 0 && m->slots[rest].used) {

        /* older ones that were given back come first */

        assert_true(m->slots[rest].waits);
        m->slots[rest].waits = 0;
        rest = ngx_http_klaviyo_ring_adopt(m->f->ring);
    }

    assert_true(rest >= 0);

    m->slots[rest].used = 1;
    m->slots[rest].waits = 0;
    m->slots[rest].from = record->id;
    m->slots[rest].to = m->slots[slot].to;
    m->slots[slot].to = record->id;
    m->nslots++;
}


/* adopts all that were given back; those that are empty are only freed */

static void
model_adopt(model_t *m)
{
    ngx_int_t   slot;
    ngx_uint_t  i, last;

    last = 0;

    for ( ;; ) {
        slot = ngx_http_klaviyo_ring_adopt(m->f->ring);
        if (slot == NGX_DECLINED) {
            break;
        }

        assert_true(m->slots[slot].used && m->slots[slot].waits);
        assert_true(m->slots[slot].from >= last);

        m->slots[slot].waits = 0;
        last = m->slots[slot].from;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        if (m->slots[i].used && m->slots[i].waits) {

            for (last = m->slots[i].from; last < m->slots[i].to; last++) {
                assert_true(m->gone[last]);
            }

            m->slots[i].used = 0;
            m->nslots--;
        }
    }
}


static void
model_check(model_t *m)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_counters_t   *c;
    ngx_http_klaviyo_ring_stat_t   stat;

    ngx_http_klaviyo_ring_stat(m->f->ring, &stat);

    assert_int_equal(stat.events, m->left);
    assert_int_equal(stat.unclaimed, m->put - m->claimed);

    if (m->nslots == 0 && m->left == 0) {
        assert_int_equal(stat.used, 0);
    }

    for (i = 0; i < RULES; i++) {
        c = counters(m->f, i);

        assert_int_equal(c->sent, m->sent[i]);
        assert_int_equal(c->dead, m->dead[i]);
        assert_int_equal(c->queued, m->queued[i]);
        assert_int_equal(c->dropped[NGX_HTTP_KLAVIYO_DROP_FULL],
                         m->dropped[i]);
        assert_conserved(c);
    }
}


static void
model_step(model_t *m)
{
    ngx_int_t   slot;
    ngx_uint_t  what;

    what = ngx_random() % 100;

    if (what < 60) {
        model_put(m);
        return;
    }

    if (what < 70) {
        model_claim(m);
        return;
    }

    slot = model_pick(m);

    if (slot == -1) {
        return;
    }

    if (what < 75) {
        model_take(m, slot);

    } else if (what < 77) {
        model_adopt(m);

    } else if (what < 79) {
        if (m->nslots < NGX_HTTP_KLAVIYO_RING_SLOTS) {
            model_adopt(m);
            model_split(m, slot);
        }

    } else if (what < 81) {
        ngx_http_klaviyo_ring_release(m->f->ring, slot);
        m->slots[slot].waits = 1;

    } else {
        model_check_slot(m, slot);
        model_finish(m, slot);
    }
}


static void
any_row_of_operations_does_what_a_simple_model_does(void **state)
{
    fixture_t   *f = *state;
    model_t     *m;
    ngx_int_t    slot;
    ngx_uint_t   i;

    print_message("seed %d\n", SEED);
    srandom(SEED);

    m = ngx_pcalloc(f->pool, sizeof(model_t));
    assert_non_null(m);

    m->f = f;
    m->put = 1;
    m->claimed = 1;

    own(f);

    for (i = 0; m->put < EVENTS; i++) {
        model_step(m);

        if (i % 16 == 0) {
            model_check(m);
        }

        /* now and then all is delivered */

        if (ngx_random() % 2000 == 0) {
            model_adopt(m);

            do {
                for (slot = 0; slot < NGX_HTTP_KLAVIYO_RING_SLOTS; slot++) {
                    if (m->slots[slot].used) {
                        model_check_slot(m, slot);
                        model_finish(m, slot);
                    }
                }

                model_claim(m);

            } while (m->left);

            model_check(m);
        }
    }

    assert_true(m->wraps > 10);
    assert_true(m->dropped[0] > 10);
}


/* in another process: events "1" to "n" of a rule, until all have found room */

static void
publish(fixture_t *f, ngx_uint_t rule, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 1; i <= n; i++) {
        while (put_rule(f, rule, rule << 24 | i, i % 300) != NGX_OK) {
            ngx_sched_yield();
        }
    }
}


/* nobody waits, and nobody is woken who doesn't */

static void
assert_even(ngx_shmtx_t *mutex)
{
#if (NGX_HAVE_POSIX_SEM)

    int  posts;

    assert_int_equal(sem_getvalue(&mutex->sem, &posts), 0);
    assert_int_equal((ngx_atomic_int_t) *mutex->wait + posts, 0);

#endif

    assert_int_equal(*mutex->lock, 0);
}


static void
two_publish_at_once_while_one_drains(void **state)
{
    fixture_t                  *f = *state;
    ngx_int_t                   slot;
    ngx_pid_t                   pids[2];
    ngx_uint_t                  i, n, got, last[2];
    ngx_http_klaviyo_record_t  *record;

    n = 30000;
    got = 0;
    own(f);

    for (i = 0; i < 2; i++) {
        last[i] = 0;
        pids[i] = unit_fork();

        if (pids[i] == 0) {
            alarm(60);
            publish(f, i, n);
            _exit(0);
        }
    }

    while (got < 2 * n) {
        slot = ngx_http_klaviyo_ring_claim(f->ring, 1 + got % 100, ANY, NULL);

        if (slot == NGX_DECLINED) {
            ngx_sched_yield();
            continue;
        }

        for (record = ngx_http_klaviyo_ring_first(f->ring, slot);
             record;
             record = ngx_http_klaviyo_ring_next(f->ring, slot, record))
        {
            i = record->id >> 24;

            assert_true(i < 2);
            assert_int_equal(record->id & 0xffffff, ++last[i]);
            assert_int_equal(record->len, last[i] % 300);
            assert_true(intact(record));

            got++;
        }

        ngx_http_klaviyo_ring_finish(f->ring, slot);
    }

    for (i = 0; i < 2; i++) {
        assert_int_equal(unit_wait(pids[i]), 0);
        assert_int_equal(counters(f, i)->sent, n);
        assert_int_equal(counters(f, i)->queued, 0);
        assert_conserved(counters(f, i));
    }

    assert_stat(f, 0, 0);
    assert_even(&f->ring->shpool->mutex);
}


/* the master doesn't know the zone any more: a reload has replaced it */

static void
a_lock_of_a_dead_one_is_freed_by_those_who_wait(void **state)
{
    fixture_t *f = *state;

    ngx_pid_t     pid[3];
    ngx_uint_t    i;
    ngx_shmtx_t  *mutex;

    mutex = &f->ring->shpool->mutex;

    pid[0] = unit_fork();

    if (pid[0] == 0) {
        ngx_shmtx_lock(mutex);
        _exit(0);
    }

    (void) unit_wait(pid[0]);

    for (i = 0; i < 3; i++) {
        pid[i] = unit_fork();

        if (pid[i] == 0) {
            alarm(20);
            _exit(put(f, i, 10) != NGX_OK);
        }
    }

    for (i = 0; i < 3; i++) {
        assert_int_equal(unit_wait(pid[i]), 0);
    }

    assert_int_equal(counters(f, 0)->queued, 3);
    assert_even(mutex);
}


static void
a_lock_of_a_dead_one_is_freed_who_had_the_same_pid(void **state)
{
    fixture_t *f = *state;

    ngx_pid_t  pid;

    pid = unit_fork();

    if (pid == 0) {
        alarm(20);
        ngx_shmtx_lock(&f->ring->shpool->mutex);
        _exit(put(f, 1, 10) != NGX_OK);
    }

    assert_int_equal(unit_wait(pid), 0);
    assert_even(&f->ring->shpool->mutex);
}


/* stopped, say; longer than it takes to ask for it several times */

static void
a_lock_of_one_that_lives_is_waited_for(void **state)
{
    fixture_t *f = *state;

    ngx_pid_t      pid[2];
    ngx_shmtx_t   *mutex;
    ngx_atomic_t  *had;

    mutex = &f->ring->shpool->mutex;

    had = mmap(NULL, ngx_pagesize, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED,
               -1, 0);
    assert_true((void *) had != MAP_FAILED);

    pid[0] = unit_fork();

    if (pid[0] == 0) {
        ngx_shmtx_lock(mutex);
        *had = 1;
        usleep(300000);
        *had = 2;
        ngx_shmtx_unlock(mutex);
        _exit(0);
    }

    while (*had == 0) {
        ngx_sched_yield();
    }

    pid[1] = unit_fork();

    if (pid[1] == 0) {
        alarm(20);
        _exit(put(f, 1, 10) != NGX_OK || *had != 2);
    }

    assert_int_equal(unit_wait(pid[1]), 0);
    assert_int_equal(unit_wait(pid[0]), 0);
    assert_even(mutex);

    munmap((void *) had, ngx_pagesize);
}


static void
what_was_published_survives_the_kill_of_its_publisher(void **state)
{
    fixture_t                  *f = *state;
    ngx_int_t                   slot;
    ngx_pid_t                   pid;
    ngx_uint_t                  round, next;
    ngx_atomic_t               *published;
    ngx_http_klaviyo_record_t  *record;

    published = mmap(NULL, ngx_pagesize, PROT_READ|PROT_WRITE,
                     MAP_ANON|MAP_SHARED, -1, 0);
    assert_true((void *) published != MAP_FAILED);

    srandom(SEED);
    own(f);

    for (round = 0; round < 100; round++) {
        next = 1;
        *published = 0;

        pid = unit_fork();

        if (pid == 0) {
            alarm(60);

            for ( ;; ) {
                if (put(f, *published + 1, ngx_random() % 100) == NGX_OK) {
                    (*published)++;
                }
            }
        }

        while (*published == 0) {
            ngx_sched_yield();
        }

        usleep(ngx_random() % 500);
        kill(pid, SIGKILL);
        assert_int_equal(unit_wait(pid), -1);
        unit_shm_unlock(f->rzone, pid);

        for ( ;; ) {
            slot = ngx_http_klaviyo_ring_claim(f->ring, ALL, ANY, NULL);

            if (slot == NGX_DECLINED) {
                break;
            }

            for (record = ngx_http_klaviyo_ring_first(f->ring, slot);
                 record;
                 record = ngx_http_klaviyo_ring_next(f->ring, slot, record))
            {
                assert_int_equal(record->id, next++);
                assert_true(intact(record));
            }

            ngx_http_klaviyo_ring_finish(f->ring, slot);
        }

        /* the last one may have been published, but not noted */

        assert_in_range(next - 1, *published, *published + 1);
        assert_stat(f, 0, 0);
    }

    munmap((void *) published, ngx_pagesize);
}


#if (HAVE_STEPS)

/*
 * A process is run instruction by instruction, and after each one that changed
 * the shared memory it is as if it had been killed there: its lock is freed,
 * and another process takes over.  Then all is put back for the next one.  It
 * has the pid of one that is dead.
 */

typedef void (*step_pt)(fixture_t *f, ngx_int_t slot);

typedef struct {
    fixture_t   *f;
    step_pt      run;        /* there, step by step */
    step_pt      check;      /* here, after each change */
    ngx_uint_t   changes;

    u_char      *ring[2];    /* as it was before the last step, and now */
    u_char      *control[2];
} steps_t;


/* what was delivered by the one who takes over */

static struct {
    ngx_uint_t   n;
    ngx_uint_t   times[64];
    ngx_uint_t   queued;
    ngx_uint_t   sent;
    ngx_uint_t   dead;
    ngx_uint_t   seen;
} got;


static void
drain_slot(fixture_t *f, ngx_int_t slot)
{
    ngx_http_klaviyo_record_t  *record;

    assert_in_range(slot, 0, NGX_HTTP_KLAVIYO_RING_SLOTS - 1);

    for (record = ngx_http_klaviyo_ring_first(f->ring, slot);
         record;
         record = ngx_http_klaviyo_ring_next(f->ring, slot, record))
    {
        assert_in_range(record->id, 0, 63);
        assert_true(intact(record));

        got.times[record->id]++;
        got.n++;
    }
}


static void
finish_all(fixture_t *f)
{
    ngx_int_t  slot;

    for (slot = 0; slot < NGX_HTTP_KLAVIYO_RING_SLOTS; slot++) {
        ngx_http_klaviyo_ring_finish(f->ring, slot);
    }

    assert_stat(f, 0, 0);
}


/* what one finds who has nothing but the memory, when all were killed */

static void
read_image(fixture_t *f, ngx_uint_t *times)
{
    ngx_int_t                        rc;
    ngx_http_klaviyo_image_t         image;
    ngx_http_klaviyo_image_event_t   event;

    assert_int_equal(ngx_http_klaviyo_image_open(&image, f->rzone->shm.addr,
                                                 f->rzone->shm.size),
                     NGX_OK);

    for ( ;; ) {
        rc = ngx_http_klaviyo_image_next(&image, &event);
        if (rc == NGX_DONE) {
            return;
        }

        /* these texts are none of events */

        assert_int_equal(rc, NGX_ABORT);
        assert_in_range(event.meta.id, 0, 63);
        assert_true(intact(event.record));

        times[event.meta.id]++;
    }
}


static void
drain(fixture_t *f)
{
    ngx_int_t                      slot;
    ngx_uint_t                     i, times[64];
    ngx_http_klaviyo_ring_stat_t   stat;

    ngx_memzero(&got, sizeof(got));
    ngx_memzero(times, sizeof(times));

    read_image(f, times);

    own(f);

    for ( ;; ) {
        slot = ngx_http_klaviyo_ring_adopt(f->ring);
        if (slot == NGX_DECLINED) {
            break;
        }

        drain_slot(f, slot);
    }

    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_int_equal(stat.events, got.n + stat.unclaimed);

    for ( ;; ) {
        slot = ngx_http_klaviyo_ring_claim(f->ring, 3, ANY, NULL);
        if (slot == NGX_DECLINED) {
            break;
        }

        drain_slot(f, slot);
    }

    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_int_equal(stat.events, got.n);

    finish_all(f);
    assert_false(ngx_http_klaviyo_ring_busy(f->ring));

    assert_memory_equal(times, got.times, sizeof(times));

    /* the ring goes on to work */

    for (i = 0; i < 3; i++) {
        assert_int_equal(put_rule(f, RULES - 1, 60 + i, stat.size / 3),
                         NGX_OK);
        assert_slot(f, claim(f, ALL), 60 + i, 60 + i);
        finish_all(f);
    }

    for (i = 0; i < RULES - 1; i++) {
        got.seen += counters(f, i)->seen;
        got.queued += counters(f, i)->queued;
        got.sent += counters(f, i)->sent;
        got.dead += counters(f, i)->dead;
    }
}


static void
steps_check(steps_t *s, ngx_pid_t pid)
{
    fixture_t                *f;
    ngx_http_klaviyo_ring_t   ring;

    f = s->f;
    s->changes++;

    /* of what we do now there shall be nothing left */

    ring = *f->ring;
    ngx_memcpy(s->ring[0], f->rzone->shm.addr, RING);
    ngx_memcpy(s->control[0], f->czone->shm.addr, CONTROL);

    unit_shm_unlock(f->rzone, pid);
    unit_shm_unlock(f->czone, pid);

    s->check(f, 0);

    ngx_memcpy(f->rzone->shm.addr, s->ring[0], RING);
    ngx_memcpy(f->czone->shm.addr, s->control[0], CONTROL);
    *f->ring = ring;
}


static ngx_uint_t
steps_changed(steps_t *s)
{
    return ngx_memcmp(s->ring[0], s->f->rzone->shm.addr, RING) != 0
           || ngx_memcmp(s->control[0], s->f->czone->shm.addr, CONTROL) != 0;
}


/* "before" runs at once, "run" step by step; returns 0 if that can't be */

static ngx_uint_t
steps_run(steps_t *s, step_pt before)
{
    int         status;
    ngx_pid_t   pid, dead;
    ngx_uint_t  i;

    s->ring[0] = ngx_palloc(s->f->pool, RING);
    s->control[0] = ngx_palloc(s->f->pool, CONTROL);
    assert_non_null(s->ring[0]);
    assert_non_null(s->control[0]);

    dead = unit_dead_pid();
    pid = unit_fork();

    if (pid == 0) {
        ngx_pid = dead;

        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1) {
            _exit(1);
        }

        before(s->f, 0);
        raise(SIGSTOP);
        s->run(s->f, 0);
        raise(SIGSTOP);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);

    if (!WIFSTOPPED(status)) {
        return 0;
    }

    ngx_memcpy(s->ring[0], s->f->rzone->shm.addr, RING);
    ngx_memcpy(s->control[0], s->f->czone->shm.addr, CONTROL);

    for (i = 0; /* void */ ; i++) {
        assert_in_range(i, 0, 10000000);
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSTOPPED(status));

        if (WSTOPSIG(status) == SIGSTOP) {
            break;
        }

        if (steps_changed(s)) {
            steps_check(s, dead);
        }
    }

    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), -1);

    /* it got to its end */

    s->check(s->f, 1);

    return 1;
}


static void
steps(fixture_t *f, step_pt before, step_pt run, step_pt check)
{
    steps_t  s;

    ngx_memzero(&s, sizeof(s));

    s.f = f;
    s.run = run;
    s.check = check;

    if (!steps_run(&s, before)) {
        print_message("ptrace() is not allowed here\n");
        skip();
    }

    assert_true(s.changes > 2);
}


static ngx_int_t  step_slot;


static void
fill_before(fixture_t *f, ngx_int_t unused)
{
    ngx_uint_t  i;

    /* three rules in runs of different length */

    for (i = 1; i <= 12; i++) {
        (void) put_rule(f, i / 3 % 3, i, 3000 + i);
    }
}


static void
own_before(fixture_t *f, ngx_int_t unused)
{
    fill_before(f, 0);
    (void) ngx_http_klaviyo_ring_own(f->ring);
}


static void
claim_before(fixture_t *f, ngx_int_t unused)
{
    own_before(f, 0);
    (void) ngx_http_klaviyo_ring_claim(f->ring, 2, ANY, NULL);
    step_slot = ngx_http_klaviyo_ring_claim(f->ring, 8, ANY, NULL);
    (void) ngx_http_klaviyo_ring_claim(f->ring, 1, ANY, NULL);
}


static void
check_all(fixture_t *f, ngx_int_t end)
{
    ngx_uint_t  i;

    drain(f);

    for (i = 1; i <= 12; i++) {
        assert_int_equal(got.times[i], 1);
    }

    assert_int_equal(got.n, 12);
    assert_int_equal(got.seen, 12);
    assert_int_equal(got.sent, 12);
    assert_int_equal(got.queued, 0);
}


static void
put_run(fixture_t *f, ngx_int_t unused)
{
    (void) put_rule(f, 0, 13, 333);
}


static void
put_check(fixture_t *f, ngx_int_t end)
{
    ngx_uint_t  i;

    drain(f);

    for (i = 1; i <= 12; i++) {
        assert_int_equal(got.times[i], 1);
    }

    assert_in_range(got.times[13], end ? 1 : 0, 1);
    assert_int_equal(got.n, 12 + got.times[13]);

    /* it is counted first, then put */

    assert_in_range(got.seen, got.n, 13);
    assert_in_range(got.queued + got.sent, got.seen - 1, got.seen);
    assert_int_equal(got.sent, got.n);
    assert_true(!end || got.queued == 0);
}


static void
a_kill_in_put_leaves_all_or_nothing(void **state)
{
    steps(*state, fill_before, put_run, put_check);
}


static void
nothing(fixture_t *f, ngx_int_t unused)
{
}


static void
own_run(fixture_t *f, ngx_int_t unused)
{
    (void) ngx_http_klaviyo_ring_own(f->ring);
}


static void
a_kill_in_own_loses_nothing(void **state)
{
    fixture_t  *f = *state;
    ngx_pid_t   pid;

    /* there is something to be taken over */

    pid = unit_fork();

    if (pid == 0) {
        claim_before(f, 0);
        _exit(0);
    }

    assert_int_equal(unit_wait(pid), 0);

    steps(f, nothing, own_run, check_all);
}


static void
claim_run(fixture_t *f, ngx_int_t unused)
{
    (void) ngx_http_klaviyo_ring_claim(f->ring, 5, ANY, NULL);
}


static void
a_kill_in_claim_loses_and_doubles_nothing(void **state)
{
    steps(*state, own_before, claim_run, check_all);
}


/*
 * The old owner has looked at what there is to claim, and freed the lock, when
 * a newer generation takes the ring over and claims it.
 */

static void
a_claim_that_is_overtaken_gets_nothing(void **state)
{
    int           status;
    fixture_t    *f = *state, old;
    ngx_int_t     slot;
    ngx_pid_t     pid;
    ngx_uint_t    locked;

    fill_before(f, 0);
    old = *f;

    pid = unit_fork();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1) {
            _exit(1);
        }

        (void) ngx_http_klaviyo_ring_own(old.ring);
        raise(SIGSTOP);

        slot = ngx_http_klaviyo_ring_claim(old.ring, 5, ANY, NULL);
        _exit(slot == NGX_DECLINED ? 2 : 3);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);

    if (!WIFSTOPPED(status)) {
        skip();
    }

    locked = 0;

    while (!locked || *f->ring->shpool->mutex.lock) {
        locked = locked || *f->ring->shpool->mutex.lock;

        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSTOPPED(status));
    }

    reload(f);
    own(f);
    slot = claim(f, 7);

    assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    assert_int_equal(unit_wait(pid), 2);

    assert_slot(f, slot, 1, 7);
    assert_slot(f, claim(f, ALL), 8, 12);
}


static void
split_run(fixture_t *f, ngx_int_t unused)
{
    (void) ngx_http_klaviyo_ring_split(f->ring, step_slot,
                                       nth(f, step_slot, 3));
}


static void
a_kill_in_split_loses_and_doubles_nothing(void **state)
{
    steps(*state, claim_before, split_run, check_all);
}


static void
adopt_before(fixture_t *f, ngx_int_t unused)
{
    claim_before(f, 0);
    ngx_http_klaviyo_ring_release(f->ring, step_slot);
}


static void
adopt_run(fixture_t *f, ngx_int_t unused)
{
    ngx_int_t  slot;

    slot = ngx_http_klaviyo_ring_adopt(f->ring);
    ngx_http_klaviyo_ring_release(f->ring, slot);
    (void) ngx_http_klaviyo_ring_adopt(f->ring);
}


static void
a_kill_in_adopt_and_release_loses_and_doubles_nothing(void **state)
{
    steps(*state, adopt_before, adopt_run, check_all);
}


static void
finish_run(fixture_t *f, ngx_int_t unused)
{
    ngx_http_klaviyo_ring_finish(f->ring, step_slot);
}


/*
 * Of the eight events in the slot, those that are not delivered again were
 * sent; no more than the last run of them, of three, isn't counted yet.
 */

static void
finish_check(fixture_t *f, ngx_int_t end)
{
    ngx_uint_t  i, gone;

    drain(f);

    gone = 12 - got.n;
    assert_in_range(gone, end ? 8 : 0, 8);

    for (i = 1; i <= 12; i++) {
        assert_int_equal(got.times[i], (i >= 3 && i < 3 + gone) ? 0 : 1);
    }

    assert_int_equal(got.seen, 12);
    assert_in_range(got.sent, 12 - 3, 12);
    assert_in_range(got.queued, 12 - got.sent, 3);
    assert_true(!end || (got.sent == 12 && got.queued == 0));
}


static void
a_kill_in_finish_sends_nothing_again_that_was_counted(void **state)
{
    steps(*state, claim_before, finish_run, finish_check);
}


static void
take_run(fixture_t *f, ngx_int_t unused)
{
    ngx_http_klaviyo_ring_take(f->ring, nth(f, step_slot, 1), 1);
}


static void
take_check(fixture_t *f, ngx_int_t end)
{
    drain(f);

    assert_in_range(got.n, 11, end ? 11 : 12);
    assert_int_equal(got.times[4], got.n - 11);
    assert_int_equal(got.sent, got.n);
    assert_in_range(got.dead, end ? 1 : 0, 12 - got.n);
    assert_in_range(got.queued, 12 - got.n - got.dead, 12 - got.n);
    assert_true(!end || got.queued == 0);
}


static void
a_kill_in_take_sends_nothing_again_that_was_counted(void **state)
{
    steps(*state, claim_before, take_run, take_check);
}


static void
spooled_before(fixture_t *f, ngx_int_t unused)
{
    claim_before(f, 0);
    ngx_http_klaviyo_ring_set_segment(f->ring, 1);
}


static void
spooled_run(fixture_t *f, ngx_int_t unused)
{
    ngx_http_klaviyo_ring_spooled(f->ring, step_slot, 4000);
}


/* what the segment has in force is never sent again, all else is */

static void
spooled_check(fixture_t *f, ngx_int_t end)
{
    uint64_t    size, seq;
    ngx_uint_t  i, spooled;

    own(f);

    seq = ngx_http_klaviyo_ring_segment(f->ring, &size);
    assert_int_equal(seq, 1);
    assert_true(size == 4000 || (size == 0 && !end));

    drain(f);

    for (i = 1; i <= 12; i++) {
        assert_int_equal(got.times[i], (size && i >= 3 && i < 11) ? 0 : 1);
    }

    spooled = 0;

    for (i = 0; i < RULES - 1; i++) {
        spooled += counters(f, i)->spooled;
    }

    assert_int_equal(got.sent, got.n);
    assert_in_range(spooled, size ? 5 : 0, size ? 8 : 0);
    assert_in_range(got.queued, 12 - got.sent - spooled, 3);
    assert_true(!end || (spooled == 8 && got.queued == 0));

    /* it stays in force when all slots are free */

    (void) ngx_http_klaviyo_ring_segment(f->ring, &seq);
    assert_int_equal(seq, size);
}


static void
a_kill_in_spooled_sends_nothing_that_is_in_the_segment(void **state)
{
    steps(*state, spooled_before, spooled_run, spooled_check);
}


static void
segment_run(fixture_t *f, ngx_int_t unused)
{
    ngx_http_klaviyo_ring_set_segment(f->ring, 2);
}


static void
segment_before(fixture_t *f, ngx_int_t unused)
{
    spooled_before(f, 0);
    spooled_run(f, 0);
}


static void
segment_check(fixture_t *f, ngx_int_t end)
{
    uint64_t  size, seq;

    seq = ngx_http_klaviyo_ring_segment(f->ring, &size);

    /* what is cut is never more than the segment has too much */

    assert_true((seq == 1 && size == 4000) || seq == 0
                || (seq == 2 && size == 0));
    assert_true(!end || seq == 2);
}


static void
a_kill_in_set_segment_mixes_no_two(void **state)
{
    steps(*state, segment_before, segment_run, segment_check);
}


static void
restore_before(fixture_t *f, ngx_int_t unused)
{
    ngx_uint_t  i;

    /* less than half of the ring */

    for (i = 1; i <= 12; i++) {
        (void) put_rule(f, 0, i, 300 + i);
    }
}


static void
restore_run(fixture_t *f, ngx_int_t unused)
{
    u_char                     buf[333];
    ngx_str_t                  json;
    ngx_http_klaviyo_record_t  meta;

    ngx_memzero(&meta, sizeof(ngx_http_klaviyo_record_t));

    text(13, buf, sizeof(buf));

    json.data = buf;
    json.len = sizeof(buf);

    meta.rule = f->rules[0];
    meta.id = 13;
    meta.time = 1000 + 13;

    (void) ngx_http_klaviyo_ring_restore(f->ring, &meta, &json, 1);
}


static void
restore_check(fixture_t *f, ngx_int_t end)
{
    ngx_uint_t  i;

    drain(f);

    for (i = 1; i <= 12; i++) {
        assert_int_equal(got.times[i], 1);
    }

    assert_in_range(got.times[13], end ? 1 : 0, 1);
    assert_int_equal(got.seen, 12);
    assert_int_equal(got.sent, got.n);
    assert_in_range(counters(f, 0)->restored, got.n - 12, 1);
    assert_true(!end || got.queued == 0);
}


static void
a_kill_in_restore_leaves_all_or_nothing(void **state)
{
    steps(*state, restore_before, restore_run, restore_check);
}

#endif


#define ring_test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

#define ring_test_large(f)                                                    \
    cmocka_unit_test_setup_teardown(f, setup_large, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        ring_test(an_event_comes_out_as_it_was_put),
        ring_test(an_event_takes_no_more_than_32_bytes_beside_its_text),
        ring_test(events_come_out_in_order_and_once),
        ring_test(the_bytes_and_the_age_of_what_is_unclaimed_are_known),
        ring_test(a_full_ring_drops_the_new_event),
        ring_test(a_ring_is_filled_to_its_last_byte),
        ring_test(an_event_larger_than_half_of_the_ring_is_refused),
        ring_test(a_range_is_closed_by_its_limits),
        ring_test(a_range_has_no_id_twice),
        ring_test_large(a_range_has_no_more_than_a_thousand),
        ring_test(the_spare_slots_are_not_claimed),
        ring_test(a_slot_is_split_as_long_as_one_is_free),
        ring_test(a_slot_splits_into_singles_that_finish_in_any_order),
        ring_test(room_is_there_when_the_oldest_slot_is_finished),
        ring_test(a_record_that_is_taken_is_not_seen_again),
        ring_test(many_runs_of_rules_are_counted),
        ring_test(a_rule_that_is_unknown_is_counted_as_other),
        ring_test(a_slot_given_back_waits_for_adoption),
        ring_test(what_a_dead_owner_claimed_is_adopted_oldest_first),
        ring_test(an_owner_that_lives_is_respected_in_its_generation),
        ring_test(
            a_newer_generation_owns_at_once_and_the_old_one_ends_what_it_has),
        ring_test(a_pid_that_is_used_again_adopts_what_the_dead_one_held),
        ring_test(a_child_does_not_own_what_its_parent_owns),
        ring_test(a_reload_keeps_the_events),
        ring_test(another_layout_is_refused),
        ring_test(a_zone_that_is_too_small_is_refused),
        ring_test(old_events_become_backfill),
        ring_test(backfill_is_decided_once),
        ring_test(backfill_never_writes_beyond_the_text),
        ring_test(any_row_of_operations_does_what_a_simple_model_does),
        ring_test(two_publish_at_once_while_one_drains),
        ring_test(a_lock_of_a_dead_one_is_freed_by_those_who_wait),
        ring_test(a_lock_of_a_dead_one_is_freed_who_had_the_same_pid),
        ring_test(a_lock_of_one_that_lives_is_waited_for),
        ring_test(what_was_published_survives_the_kill_of_its_publisher),
#if (HAVE_STEPS)
        ring_test(a_kill_in_put_leaves_all_or_nothing),
        ring_test(a_kill_in_own_loses_nothing),
        ring_test(a_kill_in_claim_loses_and_doubles_nothing),
        ring_test(a_claim_that_is_overtaken_gets_nothing),
        ring_test(a_kill_in_split_loses_and_doubles_nothing),
        ring_test(a_kill_in_adopt_and_release_loses_and_doubles_nothing),
        ring_test(a_kill_in_finish_sends_nothing_again_that_was_counted),
        ring_test(a_kill_in_take_sends_nothing_again_that_was_counted),
        ring_test(a_kill_in_spooled_sends_nothing_that_is_in_the_segment),
        ring_test(a_kill_in_set_segment_mixes_no_two),
        ring_test(a_kill_in_restore_leaves_all_or_nothing),
#endif
    };

    /* an event or a wake-up that is lost must not be waited for */

    alarm(300);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
