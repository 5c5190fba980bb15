
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of a ring that a dead instance has left: what is read from it, and
 * that nothing in it is believed.  That it is right after a kill at any
 * instruction is a matter of ring_test.c.
 */


#include "unit_queue.h"
#include "ngx_http_klaviyo_image.h"


#define SEED    20260721
#define EVENTS  1000
#define MANY    4096


typedef struct {
    ngx_pool_t                *pool;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_uint_t                 next;      /* event's number */

    u_char                    *memory;    /* a copy, in room of its own */
    size_t                     size;
    ngx_http_klaviyo_image_t   image;

    ngx_uint_t                 n;         /* what was found in it */
    ngx_uint_t                 numbers[MANY];
    ngx_uint_t                 bad;       /* texts */
    ngx_uint_t                 holes;
} fixture_t;


static int
setup(void **state)
{
    u_char      key[NGX_HTTP_KLAVIYO_KEY_LEN];
    void       *pool;
    fixture_t  *f;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    f = ngx_pcalloc(pool, sizeof(fixture_t));
    f->pool = pool;
    f->ring = unit_ring(pool);

    ngx_memset(key, 7, NGX_HTTP_KLAVIYO_KEY_LEN);

    if (ngx_http_klaviyo_control_slot(f->ring->control, key) != UNIT_RULE) {
        return -1;
    }

    ngx_http_klaviyo_ring_rule(f->ring, UNIT_RULE);

    assert_int_equal(ngx_http_klaviyo_ring_own(f->ring), NGX_OK);

    *state = f;

    return 0;
}


static int
teardown(void **state)
{
    void       *pool;
    fixture_t  *f;

    f = *state;
    pool = f->pool;

    free(f->memory);
    unit_shm_free(f->ring->zone);

    return unit_teardown(&pool);
}


static void
put(fixture_t *f, ngx_uint_t n)
{
    while (n--) {
        unit_put(f->ring, f->next++);
    }
}


static ngx_int_t
claim(fixture_t *f, ngx_uint_t n)
{
    return ngx_http_klaviyo_ring_claim(f->ring, n, 1 << 30, NULL);
}


/* "size" bytes of the memory, 0: all */

static void
copy(fixture_t *f, size_t size)
{
    f->size = size ? size : f->ring->zone->shm.size;

    free(f->memory);
    f->memory = malloc(f->size);
    assert_non_null(f->memory);

    ngx_memcpy(f->memory, f->ring->zone->shm.addr, f->size);
}


static ngx_http_klaviyo_ring_sh_t *
ring_of(fixture_t *f)
{
    return (ngx_http_klaviyo_ring_sh_t *)
               (f->memory + ((u_char *) f->ring->sh
                             - f->ring->zone->shm.addr));
}


/* NGX_OK: all of it was read; each byte that is named is touched */

static ngx_int_t
read_all(fixture_t *f)
{
    size_t                           i;
    ngx_int_t                        rc;
    ngx_uint_t                       calls, sum;
    ngx_http_klaviyo_image_event_t   event;

    f->n = 0;
    f->bad = 0;
    f->holes = 0;

    rc = ngx_http_klaviyo_image_open(&f->image, f->memory, f->size);

    if (rc != NGX_OK) {
        return rc;
    }

    for (calls = 0; /* void */ ; calls++) {

        /* it comes to an end */
        assert_in_range(calls, 0, UNIT_RING_SIZE);

        rc = ngx_http_klaviyo_image_next(&f->image, &event);

        if (rc == NGX_DONE) {
            return NGX_OK;
        }

        for (i = 0, sum = 0; i < event.json.len; i++) {
            sum += event.json.data[i];
        }

        for (i = 0; event.key && i < NGX_HTTP_KLAVIYO_KEY_LEN; i++) {
            sum += event.key[i];
        }

        assert_in_range(sum, 0, (ngx_uint_t) 256 * UNIT_RING_SIZE);

        if (rc == NGX_ERROR) {
            f->holes++;
            continue;
        }

        if (rc == NGX_ABORT) {
            f->bad++;
            continue;
        }

        assert_int_equal(rc, NGX_OK);
        assert_int_equal(event.json.data[0], '{');
        assert_null(memchr(event.json.data, LF, event.json.len));
        assert_true(event.meta.backfill == 0
                    || (uint32_t) event.meta.backfill + 5 <= event.meta.len);

        if (f->n < MANY) {
            f->numbers[f->n++] = atoi((char *) event.json.data + 5);
        }
    }
}


static void
found(fixture_t *f, ngx_uint_t from, ngx_uint_t to)
{
    ngx_uint_t  i;

    copy(f, 0);

    assert_int_equal(read_all(f), NGX_OK);
    assert_int_equal(f->n, to - from + 1);
    assert_int_equal(f->bad + f->holes, 0);

    for (i = 0; i < f->n; i++) {
        assert_int_equal(f->numbers[i], from + i);
    }
}


static void
what_is_queued_is_found_in_order(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                       i;
    ngx_http_klaviyo_image_event_t   event;

    put(f, 100);
    found(f, 0, 99);

    assert_int_equal(ngx_http_klaviyo_image_open(&f->image, f->memory,
                                                 f->size),
                     NGX_OK);
    assert_int_equal(ngx_http_klaviyo_image_next(&f->image, &event), NGX_OK);

    assert_int_equal(event.meta.id, 1);
    assert_int_equal(event.meta.time, ngx_time());
    assert_int_equal(event.json.data[event.meta.backfill], 'f');

    for (i = 0; i < NGX_HTTP_KLAVIYO_KEY_LEN; i++) {
        assert_int_equal(event.key[i], 7);
    }
}


static void
what_is_on_its_way_is_found_and_what_is_done_is_not(void **state)
{
    fixture_t *f = *state;

    ngx_int_t  one, two;

    put(f, 30);
    found(f, 0, 29);

    one = claim(f, 10);
    two = claim(f, 10);
    found(f, 0, 29);

    ngx_http_klaviyo_ring_take(f->ring,
                               ngx_http_klaviyo_ring_first(f->ring, one), 0);
    found(f, 1, 29);

    ngx_http_klaviyo_ring_finish(f->ring, one);
    found(f, 10, 29);

    ngx_http_klaviyo_ring_finish(f->ring, two);
    found(f, 20, 29);
}


static void
what_is_done_behind_what_is_on_its_way_is_not_found(void **state)
{
    fixture_t *f = *state;

    put(f, 30);

    (void) claim(f, 10);
    ngx_http_klaviyo_ring_finish(f->ring, claim(f, 10));

    copy(f, 0);
    assert_int_equal(read_all(f), NGX_OK);
    assert_int_equal(f->n, 20);
    assert_int_equal(f->numbers[9], 9);
    assert_int_equal(f->numbers[10], 20);
}


static void
what_a_slot_says_is_in_the_segment_is_not_found(void **state)
{
    fixture_t *f = *state;

    put(f, 30);
    ngx_http_klaviyo_ring_set_segment(f->ring, 5);
    f->ring->sh->slots[claim(f, 10)].spooled = 777;

    found(f, 10, 29);

    assert_int_equal(f->image.segment, 5);
    assert_int_equal(f->image.segment_size, 777);
}


static void
what_was_not_published_is_not_found(void **state)
{
    fixture_t *f = *state;

    put(f, 11);
    f->ring->sh->tail.current = !f->ring->sh->tail.current;

    found(f, 0, 9);
}


static void
what_is_taken_is_not_found_again(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                       i;
    ngx_http_klaviyo_image_event_t   event;

    put(f, 10);
    copy(f, 0);

    assert_int_equal(ngx_http_klaviyo_image_open(&f->image, f->memory,
                                                 f->size),
                     NGX_OK);

    for (i = 0; i < 4; i++) {
        assert_int_equal(ngx_http_klaviyo_image_next(&f->image, &event),
                         NGX_OK);
        ngx_http_klaviyo_image_take(&event);
    }

    assert_int_equal(read_all(f), NGX_OK);
    assert_int_equal(f->n, 6);
    assert_int_equal(f->numbers[0], 4);
}


static void
a_ring_that_has_gone_round_often_is_read_right(void **state)
{
    fixture_t *f = *state;

    ngx_int_t   slot;
    ngx_uint_t  i, done;

    srandom(SEED);

    for (i = 0, done = 0; i < 300; i++) {
        put(f, random() % 500);
        found(f, done, f->next - 1);

        while (f->next - done > 1500 || random() % 4) {
            slot = claim(f, 1 + random() % 300);

            if (slot == NGX_DECLINED) {
                break;
            }

            done += f->ring->sh->slots[slot].left;
            ngx_http_klaviyo_ring_finish(f->ring, slot);
        }
    }

    /* the last store was often the one that goes round */
    assert_true(f->ring->sh->tail.marks[f->ring->sh->tail.current].offset
                > 10 * f->ring->sh->size);
}


static void
an_unknown_rule_has_no_key(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_image_event_t  event;

    put(f, 1);
    copy(f, 0);
    ring_of(f)->rules[UNIT_RULE].slot = UNIT_RULE + NGX_HTTP_KLAVIYO_RING_RULES;

    assert_int_equal(ngx_http_klaviyo_image_open(&f->image, f->memory,
                                                 f->size),
                     NGX_OK);
    assert_int_equal(ngx_http_klaviyo_image_next(&f->image, &event), NGX_OK);
    assert_null(event.key);
}


static void
another_version_and_an_unused_file_are_told(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    copy(f, 0);
    ring_of(f)->layout.version++;
    assert_int_equal(read_all(f), NGX_DECLINED);

    copy(f, 0);
    ring_of(f)->layout.magic[0]++;
    assert_int_equal(read_all(f), NGX_ERROR);

    ngx_memzero(f->memory, f->size);
    assert_int_equal(read_all(f), NGX_DONE);

    ngx_memset(f->memory, 0xff, f->size);
    assert_int_equal(read_all(f), NGX_ERROR);
}


static void
a_file_that_is_cut_is_damaged(void **state)
{
    fixture_t *f = *state;

    size_t  size;

    put(f, 1000);

    for (size = 1; size < f->ring->zone->shm.size; size += 61) {
        copy(f, size);
        assert_int_equal(read_all(f), NGX_ERROR);
    }
}


static void
behind_a_damaged_length_it_goes_on_at_the_next_range(void **state)
{
    fixture_t *f = *state;

    ngx_int_t                   slot;
    ngx_http_klaviyo_record_t  *record;

    put(f, 30);
    slot = claim(f, 10);

    record = ngx_http_klaviyo_ring_first(f->ring, slot);
    record = ngx_http_klaviyo_ring_next(f->ring, slot, record);
    record->len += 8000;

    copy(f, 0);
    assert_int_equal(read_all(f), NGX_OK);
    assert_int_equal(f->holes, 1);
    assert_int_equal(f->n, 21);
    assert_int_equal(f->numbers[0], 0);
    assert_int_equal(f->numbers[1], 10);
}


/* the last one before the memory begins anew */

static void
a_record_does_not_go_beyond_the_end_of_the_memory(void **state)
{
    fixture_t *f = *state;

    u_char                          *first;
    ngx_http_klaviyo_record_t       *last;
    ngx_http_klaviyo_image_event_t   event;

    first = ngx_http_klaviyo_ring_data(f->ring->sh);
    last = NULL;

    put(f, 2000);
    ngx_http_klaviyo_ring_finish(f->ring, claim(f, EVENTS));
    ngx_http_klaviyo_ring_finish(f->ring, claim(f, EVENTS));
    put(f, 2500);

    assert_int_equal(ngx_http_klaviyo_image_open(&f->image,
                                                 f->ring->zone->shm.addr,
                                                 f->ring->zone->shm.size),
                     NGX_OK);

    while (ngx_http_klaviyo_image_next(&f->image, &event) == NGX_OK
           && event.record > last)
    {
        last = event.record;
    }

    /* it has gone round */
    assert_ptr_equal(event.record, first);

    last->len += 5000;

    copy(f, 0);
    assert_int_equal(read_all(f), NGX_OK);
    assert_int_equal(f->holes, 1);
}


static void
a_text_of_two_lines_is_damaged(void **state)
{
    fixture_t *f = *state;

    u_char     *p;
    ngx_int_t   slot;

    put(f, 10);
    slot = claim(f, 10);
    p = ngx_http_klaviyo_record_text(ngx_http_klaviyo_ring_first(f->ring,
                                                                 slot));
    p[3] = LF;

    copy(f, 0);
    assert_int_equal(read_all(f), NGX_OK);
    assert_int_equal(f->bad, 1);
    assert_int_equal(f->n, 9);
}


/* in the header most of them, where all numbers are */

static void
whatever_is_flipped_nothing_is_read_beyond(void **state)
{
    fixture_t *f = *state;

    size_t      head, place;
    ngx_uint_t  i, n, opened;

    srandom(SEED);

    put(f, 300);
    (void) claim(f, 50);
    ngx_http_klaviyo_ring_finish(f->ring, claim(f, 50));
    (void) claim(f, 50);

    head = ngx_http_klaviyo_ring_data(f->ring->sh) - f->ring->zone->shm.addr;

    for (i = 0, opened = 0; i < 4000; i++) {
        copy(f, 0);

        for (n = random() % 8 + 1; n; n--) {
            place = (random() % 4) ? random() % head
                                   : head + random() % 40000;

            f->memory[place] ^= 1 << random() % 8;

            if (random() % 4 == 0) {
                f->memory[place] = (u_char) random();
            }
        }

        opened += (read_all(f) == NGX_OK);
    }

    /* both happen */
    assert_in_range(opened, 200, 3800);
}


/* each number of the header, and of a record, in turn: the worst values */

static void
numbers_without_sense_are_not_followed(void **state)
{
    fixture_t *f = *state;

    size_t            from, to, place;
    uint64_t          value;
    ngx_uint_t        i;
    static uint64_t   values[] = { 0, 1, 7, 8, 0x7fffffff, 0xfffffff8,
                                   0xffffffff, (uint64_t) 1 << 32,
                                   (uint64_t) 1 << 62, (uint64_t) 1 << 63,
                                   (uint64_t) -8, (uint64_t) -1 };

    put(f, 30);
    (void) claim(f, 10);

    from = (u_char *) f->ring->sh - f->ring->zone->shm.addr;
    to = from + NGX_HTTP_KLAVIYO_RING_HEAD + 4096;

    copy(f, 0);

    for (place = 0; place < to; place += 4) {

        if (place == sizeof(ngx_slab_pool_t)) {
            place = from;
        }

        for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            value = values[i];
            ngx_memcpy(f->memory + place, &value, (i % 2) ? 8 : 4);
            (void) read_all(f);
            ngx_memcpy(f->memory + place, f->ring->zone->shm.addr + place, 8);
        }
    }
}


#define image_test(name)                                                      \
    cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        image_test(what_is_queued_is_found_in_order),
        image_test(what_is_on_its_way_is_found_and_what_is_done_is_not),
        image_test(what_is_done_behind_what_is_on_its_way_is_not_found),
        image_test(what_a_slot_says_is_in_the_segment_is_not_found),
        image_test(what_was_not_published_is_not_found),
        image_test(what_is_taken_is_not_found_again),
        image_test(a_ring_that_has_gone_round_often_is_read_right),
        image_test(an_unknown_rule_has_no_key),
        image_test(another_version_and_an_unused_file_are_told),
        image_test(a_file_that_is_cut_is_damaged),
        image_test(behind_a_damaged_length_it_goes_on_at_the_next_range),
        image_test(a_record_does_not_go_beyond_the_end_of_the_memory),
        image_test(a_text_of_two_lines_is_damaged),
        image_test(whatever_is_flipped_nothing_is_read_beyond),
        image_test(numbers_without_sense_are_not_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
