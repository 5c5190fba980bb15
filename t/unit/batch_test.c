
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A claimed range of the ring, read as the body of a request.
 */


#include "unit_queue.h"
#include "ngx_http_klaviyo_batch.h"


#define EVENTS  7

#define HEAD                                                                  \
    "{\"data\":{\"type\":\"event-bulk-create-job\",\"attributes\":"           \
    "{\"events-bulk-create\":{\"data\":["

#define ENVELOPE  (sizeof(HEAD "]}}}}") - 1)


static ngx_uint_t
open_events(ngx_http_klaviyo_batch_t *batch, ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot)
{
    return ngx_http_klaviyo_batch_open(batch, NGX_HTTP_KLAVIYO_EVENTS, ring,
                                       slot);
}


static ngx_str_t *
read_in_pieces(ngx_pool_t *pool, ngx_http_klaviyo_batch_t *batch, size_t size)
{
    size_t      n;
    ngx_str_t  *body;

    body = ngx_palloc(pool, sizeof(ngx_str_t));
    assert_non_null(body);

    body->data = ngx_pnalloc(pool, batch->length + size);
    assert_non_null(body->data);

    body->len = 0;

    for ( ;; ) {
        n = ngx_http_klaviyo_batch_read(batch, body->data + body->len, size);

        assert_in_range(n, 0, size);

        if (n == 0) {
            return body;
        }

        body->len += n;
        assert_in_range(body->len, 1, batch->length);
    }
}


static ngx_http_klaviyo_ring_t *
ring_of(ngx_pool_t *pool, ngx_uint_t n)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_ring_t  *ring;

    ring = unit_ring(pool);

    for (i = 0; i < n; i++) {
        unit_put(ring, i);
    }

    assert_int_equal(ngx_http_klaviyo_ring_own(ring), NGX_OK);

    return ring;
}


static void
one_event_stands_between_head_and_tail(void **state)
{
    ngx_int_t                  slot;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    ring = ring_of(*state, 1);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 100000, NULL);

    assert_int_equal(open_events(&batch, ring, slot), 1);

    assert_text(read_in_pieces(*state, &batch, 1000),
                "{\"data\":{\"type\":\"event-bulk-create-job\","
                "\"attributes\":{\"events-bulk-create\":{\"data\":["
                "{\"n\":0,\"backfill\":false}"
                "]}}}}");
}


static void
length_is_what_is_read_in_pieces_of_any_size(void **state)
{
    size_t                     size;
    ngx_int_t                  slot;
    ngx_str_t                 *whole, *body;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    ring = ring_of(*state, EVENTS);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 100000, NULL);

    assert_int_equal(open_events(&batch, ring, slot), EVENTS);

    whole = read_in_pieces(*state, &batch, 100000);
    assert_int_equal(whole->len, batch.length);

    for (size = 1; size <= whole->len; size++) {
        ngx_http_klaviyo_batch_rewind(&batch);

        body = read_in_pieces(*state, &batch, size);
        assert_int_equal(body->len, whole->len);
        assert_memory_equal(body->data, whole->data, whole->len);
    }
}


static void
rewind_in_the_middle_begins_anew(void **state)
{
    u_char                     buf[150];
    ngx_int_t                  slot;
    ngx_str_t                 *whole, *body;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    ring = ring_of(*state, EVENTS);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 100000, NULL);

    (void) open_events(&batch, ring, slot);

    whole = read_in_pieces(*state, &batch, 100000);

    ngx_http_klaviyo_batch_rewind(&batch);
    assert_int_equal(ngx_http_klaviyo_batch_read(&batch, buf, sizeof(buf)),
                     sizeof(buf));
    ngx_http_klaviyo_batch_rewind(&batch);

    body = read_in_pieces(*state, &batch, 13);
    assert_int_equal(body->len, whole->len);
    assert_memory_equal(body->data, whole->data, whole->len);
}


static void
what_was_taken_out_is_not_in_the_body(void **state)
{
    ngx_int_t                   slot;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_batch_t    batch;
    ngx_http_klaviyo_record_t  *record;

    ring = ring_of(*state, 3);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 100000, NULL);

    record = ngx_http_klaviyo_ring_first(ring, slot);
    ngx_http_klaviyo_ring_take(ring, record, 0);

    assert_int_equal(open_events(&batch, ring, slot), 2);

    assert_text(read_in_pieces(*state, &batch, 1000),
                "{\"data\":{\"type\":\"event-bulk-create-job\","
                "\"attributes\":{\"events-bulk-create\":{\"data\":["
                "{\"n\":1,\"backfill\":false},{\"n\":2,\"backfill\":false}"
                "]}}}}");
}


static void
a_body_of_what_was_claimed_is_no_longer_than_asked_for(void **state)
{
    size_t                     bytes;
    ngx_int_t                  slot;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    ring = ring_of(*state, EVENTS);

    bytes = 3 * (sizeof("{\"n\":0,\"backfill\":false}") - 1) + 2;
    slot = ngx_http_klaviyo_ring_claim(ring, 10, bytes, NULL);

    assert_int_equal(open_events(&batch, ring, slot), 3);
    assert_int_equal(batch.length, bytes + ENVELOPE);
}


/* whatever the lane, one entry stands where Klaviyo wants it */

static void
each_lane_has_an_envelope_of_its_own(void **state)
{
    ngx_int_t                  slot;
    ngx_str_t                 *body;
    ngx_uint_t                 lane;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    static char  *bodies[] = {
        HEAD "{\"n\":0,\"backfill\":false}]}}}}",
        "{\"data\":{\"n\":0,\"backfill\":false}}",
        "{\"data\":{\"n\":0,\"backfill\":false}}"
    };

    static char  *paths[] = {
        "/api/event-bulk-create-jobs",
        "/api/profile-import",
        "/api/profile-subscription-bulk-create-jobs"
    };

    ring = ring_of(*state, 1);
    slot = ngx_http_klaviyo_ring_claim(ring, 1, 100000, NULL);

    for (lane = 0; lane < NGX_HTTP_KLAVIYO_LANES; lane++) {
        assert_int_equal(ngx_http_klaviyo_batch_open(&batch, lane, ring, slot),
                         1);
        assert_string_equal(batch.api->path, paths[lane]);

        body = read_in_pieces(*state, &batch, 7);
        assert_int_equal(body->len, strlen(bodies[lane]));
        assert_memory_equal(body->data, bodies[lane], body->len);

        assert_in_range(batch.api->head.len + batch.api->tail.len, 1,
                        NGX_HTTP_KLAVIYO_API_ENVELOPE);
    }
}


static void
the_middle_halves_down_to_single_events(void **state)
{
    ngx_int_t                   slot;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_batch_t    batch;
    ngx_http_klaviyo_record_t  *middle;

    ring = ring_of(*state, EVENTS);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 100000, NULL);

    (void) open_events(&batch, ring, slot);

    middle = ngx_http_klaviyo_batch_middle(&batch);
    assert_non_null(middle);

    assert_int_equal(ngx_http_klaviyo_ring_split(ring, slot, middle), NGX_OK);
    assert_int_equal(open_events(&batch, ring, slot), 3);

    slot = ngx_http_klaviyo_ring_adopt(ring);
    assert_int_equal(open_events(&batch, ring, slot), 4);
}


static void
a_single_event_has_no_middle(void **state)
{
    ngx_int_t                  slot;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    ring = ring_of(*state, 1);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 100000, NULL);

    (void) open_events(&batch, ring, slot);

    assert_null(ngx_http_klaviyo_batch_middle(&batch));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(one_event_stands_between_head_and_tail),
        unit_test(length_is_what_is_read_in_pieces_of_any_size),
        unit_test(rewind_in_the_middle_begins_anew),
        unit_test(what_was_taken_out_is_not_in_the_body),
        unit_test(a_body_of_what_was_claimed_is_no_longer_than_asked_for),
        unit_test(each_lane_has_an_envelope_of_its_own),
        unit_test(the_middle_halves_down_to_single_events),
        unit_test(a_single_event_has_no_middle),
    };

    ngx_time_init();

    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
