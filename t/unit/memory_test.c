
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of visitors: what is found, and for how long; what goes out; and
 * that it bears the death of any process at any instruction.
 */


#include "unit_steps.h"
#include "ngx_http_klaviyo_memory.h"
#include "ngx_http_klaviyo_zone.h"


#define SEED    20260715

#define ZONE    (64 * 1024)

#define VISITOR  NGX_HTTP_KLAVIYO_MEMORY_VISITOR
#define FACTS    NGX_HTTP_KLAVIYO_MEMORY_FACTS
#define ONCE     NGX_HTTP_KLAVIYO_MEMORY_ONCE
#define BACKLOG  NGX_HTTP_KLAVIYO_MEMORY_BACKLOG

#define PIECES   NGX_HTTP_KLAVIYO_MEMORY_PIECES
#define TEXT     NGX_HTTP_KLAVIYO_MEMORY_TEXT

/* what a record takes */
#define need(len)  ngx_align(40 + (uint64_t) (len), 8)


typedef struct {
    ngx_pool_t                 *pool;
    ngx_shm_zone_t             *zone;
    ngx_http_klaviyo_memory_t  *memory;
    size_t                      size;     /* of the log */
} fixture_t;

typedef ngx_http_klaviyo_memory_key_t  memory_key_t;


static ngx_time_t  now;

static u_char      buffer[TEXT];


/* the secret of the zone: the same tests each time */

int
RAND_bytes(unsigned char *buf, int n)
{
    int  i;

    for (i = 0; i < n; i++) {
        buf[i] = (u_char) ngx_random();
    }

    return 1;
}


/* what another process does just before we get the lock */

static void  (*meanwhile)(void);


void
ngx_http_klaviyo_zone_lock(ngx_shmtx_t *mtx)
{
    void  (*before)(void);

    if (meanwhile) {
        before = meanwhile;
        meanwhile = NULL;
        before();
    }

    while (!ngx_shmtx_trylock(mtx)) {
        ngx_sched_yield();
    }
}


/* from the end to the beginning is as good as the other way round */

static ngx_uint_t  backward;


void *
memcpy(void *dst, const void *src, size_t n)
{
    volatile u_char  *p;

    if (!backward) {
        return memmove(dst, src, n);
    }

    for (p = dst; n; n--) {
        p[n - 1] = ((u_char *) src)[n - 1];
    }

    return dst;
}


/* as a reload does */

static void
attach(fixture_t *f, ngx_int_t rc)
{
    ngx_http_klaviyo_memory_t       *memory;
    ngx_http_klaviyo_memory_stat_t   stat;

    memory = ngx_http_klaviyo_memory_create(f->pool);
    assert_non_null(memory);

    f->zone->data = memory;

    assert_int_equal(ngx_http_klaviyo_memory_init_zone(f->zone, f->memory),
                     rc);

    if (rc == NGX_OK) {
        f->memory = memory;

        ngx_http_klaviyo_memory_stat(memory, &stat);
        f->size = stat.size;
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

    srandom(SEED);

    f->pool = pool;
    f->zone = unit_shm_zone(pool, "klaviyo_memory", size);

    now.sec = 1800000000;
    ngx_cached_time = &now;

    attach(f, NGX_OK);

    *state = f;

    return 0;
}


static int
setup(void **state)
{
    return setup_with(state, ZONE);
}


static int
setup_large(void **state)
{
    return setup_with(state, 16 * ZONE);
}


static int
teardown(void **state)
{
    void       *pool;
    fixture_t  *f;

    f = *state;
    pool = f->pool;

    unit_shm_free(f->zone);

    return unit_teardown(&pool);
}


static memory_key_t *
key_of(fixture_t *f, ngx_http_klaviyo_memory_kind_e kind, ngx_uint_t n)
{
    u_char                buf[NGX_INT_T_LEN];
    ngx_str_t             part;
    static ngx_uint_t     i;
    static memory_key_t   keys[4];

    part.data = buf;
    part.len = ngx_sprintf(buf, "%ui", n) - buf;

    i = (i + 1) % 4;

    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, kind, &part, 1,
                                                 &keys[i]),
                     NGX_OK);
    return &keys[i];
}


/* a key that nobody outside could make */

static memory_key_t *
forged(uint32_t bucket, uint16_t tag, uint64_t rest)
{
    static ngx_uint_t    i;
    static memory_key_t  keys[4];

    i = (i + 1) % 4;

    keys[i].hash[0] = ((uint64_t) bucket << 32) | tag;
    keys[i].hash[1] = rest;
    keys[i].kind = ONCE;

    return &keys[i];
}


/* a text that tells which one it is */

static ngx_str_t *
text(ngx_uint_t id, size_t len)
{
    size_t            i;
    static u_char     buf[TEXT + 1];
    static ngx_str_t  str;

    for (i = 0; i < len; i++) {
        buf[i] = (u_char) (id * 7 + i);
    }

    str.data = buf;
    str.len = len;

    return &str;
}


static ngx_uint_t
same(ngx_str_t *str, ngx_uint_t id, size_t len)
{
    return str->len == len
           && ngx_memcmp(str->data, text(id, len)->data, len) == 0;
}


static ngx_int_t
find(fixture_t *f, memory_key_t *key, ngx_str_t *str)
{
    str->data = buffer;
    str->len = TEXT;

    return ngx_http_klaviyo_memory_find(f->memory, key, str, NULL);
}


static ngx_int_t
store(fixture_t *f, memory_key_t *key, ngx_uint_t id, size_t len, time_t ttl)
{
    return ngx_http_klaviyo_memory_store(f->memory, key, text(id, len), ttl,
                                         NULL);
}


static ngx_int_t
mark(fixture_t *f, memory_key_t *key, time_t ttl)
{
    uint64_t  version;

    return ngx_http_klaviyo_memory_mark(f->memory, key, ttl, &version);
}


static ngx_int_t
push(fixture_t *f, memory_key_t *key, ngx_uint_t id, size_t len, ngx_uint_t n,
    time_t ttl)
{
    return ngx_http_klaviyo_memory_push(f->memory, key, text(id, len), n, ttl);
}


static ngx_uint_t
take(fixture_t *f, memory_key_t *key, ngx_str_t *pieces)
{
    return ngx_http_klaviyo_memory_take(f->memory, key, buffer, TEXT, pieces);
}


static void
assert_found(fixture_t *f, memory_key_t *key, ngx_uint_t id, size_t len)
{
    ngx_str_t  str;

    assert_int_equal(find(f, key, &str), NGX_OK);
    assert_true(same(&str, id, len));
}


static void
assert_gone(fixture_t *f, memory_key_t *key)
{
    ngx_str_t  str;

    assert_int_equal(find(f, key, &str), NGX_DECLINED);
}


/* pieces "first" to "last", each as long as its number, in order */

static void
assert_taken(fixture_t *f, memory_key_t *key, ngx_uint_t first, ngx_uint_t last)
{
    ngx_str_t   pieces[PIECES];
    ngx_uint_t  i, n;

    n = take(f, key, pieces);

    assert_int_equal(n, last + 1 - first);

    for (i = 0; i < n; i++) {
        assert_true(same(&pieces[i], first + i, first + i));
    }
}


static void
what_is_stored_is_found(void **state)
{
    fixture_t  *f = *state;

    assert_gone(f, key_of(f, FACTS, 1));

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 200, 60), NGX_OK);
    assert_int_equal(store(f, key_of(f, FACTS, 2), 2, 0, 60), NGX_OK);

    assert_found(f, key_of(f, FACTS, 1), 1, 200);
    assert_found(f, key_of(f, FACTS, 2), 2, 0);
    assert_gone(f, key_of(f, FACTS, 3));

    assert_int_equal(store(f, key_of(f, FACTS, 1), 3, 10, 60), NGX_OK);
    assert_found(f, key_of(f, FACTS, 1), 3, 10);

    ngx_http_klaviyo_memory_forget(f->memory, key_of(f, FACTS, 1));
    assert_gone(f, key_of(f, FACTS, 1));
    assert_found(f, key_of(f, FACTS, 2), 2, 0);

    ngx_http_klaviyo_memory_forget(f->memory, key_of(f, FACTS, 9));
}


static void
a_text_is_bounded(void **state)
{
    fixture_t  *f = *state;

    ngx_str_t  str;

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, TEXT, 60), NGX_ABORT);

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, f->size / 4 - 48, 60),
                     NGX_OK);
    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, f->size / 4, 60),
                     NGX_ABORT);
    assert_int_equal(push(f, key_of(f, BACKLOG, 1), 1, f->size / 4, 1, 60),
                     NGX_ABORT);

    /* what was there stays */

    assert_found(f, key_of(f, FACTS, 1), 1, f->size / 4 - 48);

    assert_int_equal(store(f, key_of(f, FACTS, 2), 1, 10, 0), NGX_ABORT);
    assert_int_equal(store(f, key_of(f, FACTS, 2), 1, 10, -1), NGX_ABORT);
    assert_int_equal(mark(f, key_of(f, ONCE, 2), 0), NGX_ABORT);
    assert_int_equal(push(f, key_of(f, BACKLOG, 2), 1, 10, 0, 60), NGX_ABORT);
    assert_int_equal(push(f, key_of(f, BACKLOG, 2), 1, 10, 1, 0), NGX_ABORT);

    assert_int_equal(store(f, key_of(f, FACTS, 3), 3, 11, 60), NGX_OK);

    str.data = buffer;
    str.len = 10;
    assert_int_equal(ngx_http_klaviyo_memory_find(f->memory,
                                                  key_of(f, FACTS, 3), &str,
                                                  NULL),
                     NGX_DECLINED);
}


static void
a_large_zone_has_texts_up_to_the_limit(void **state)
{
    fixture_t  *f = *state;

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, TEXT, 60), NGX_OK);
    assert_found(f, key_of(f, FACTS, 1), 1, TEXT);
    assert_int_equal(store(f, key_of(f, FACTS, 1), 2, TEXT + 1, 60),
                     NGX_ABORT);
    assert_found(f, key_of(f, FACTS, 1), 1, TEXT);
}


static void
keys_are_told_apart(void **state)
{
    fixture_t *f = *state;

    ngx_str_t      none[2] = { ngx_null_string, ngx_null_string };
    ngx_str_t      ab[2] = { ngx_string("a"), ngx_string("bc") };
    ngx_str_t      abc[2] = { ngx_string("ab"), ngx_string("c") };
    ngx_uint_t     i, j;
    memory_key_t   keys[6];

    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, ab, 2,
                                                 &keys[0]), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, abc, 2,
                                                 &keys[1]), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, ONCE, ab, 2,
                                                 &keys[2]), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, ab, 1,
                                                 &keys[3]), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, none, 0,
                                                 &keys[4]), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, none, 2,
                                                 &keys[5]), NGX_OK);

    for (i = 0; i < 6; i++) {
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i].hash, keys[j].hash,
                                    sizeof(keys[i].hash));
        }
    }

    /* and do not depend on what was asked before */

    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, ab, 2,
                                                 &keys[1]), NGX_OK);
    assert_memory_equal(keys[0].hash, keys[1].hash, sizeof(keys[0].hash));
}


static void
each_zone_has_a_secret_of_its_own_and_no_key(void **state)
{
    fixture_t *f = *state;

    ngx_str_t       part = ngx_string("jane@example.com");
    fixture_t       other;
    memory_key_t    a, b;

    other = *f;
    other.memory = NULL;
    other.zone = unit_shm_zone(f->pool, "klaviyo_memory", ZONE);
    attach(&other, NGX_OK);

    assert_int_equal(ngx_http_klaviyo_memory_key(f->memory, FACTS, &part, 1,
                                                 &a), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_key(other.memory, FACTS, &part,
                                                 1, &b), NGX_OK);
    assert_memory_not_equal(a.hash, b.hash, sizeof(a.hash));

    assert_int_equal(store(f, &a, 1, 10, 60), NGX_OK);
    assert_null(memmem(f->zone->shm.addr, ZONE, part.data, part.len));

    unit_shm_free(other.zone);
}


static void
a_reload_keeps_all_of_it(void **state)
{
    fixture_t *f = *state;

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 200, 60), NGX_OK);

    attach(f, NGX_OK);
    assert_found(f, key_of(f, FACTS, 1), 1, 200);

    /* where nginx doesn't know the old cycle's */

    f->memory = NULL;
    attach(f, NGX_OK);
    assert_found(f, key_of(f, FACTS, 1), 1, 200);
}


static void
another_layout_is_refused(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_layout_t  *layout;

    layout = (ngx_http_klaviyo_layout_t *) f->memory->sh;
    layout->version++;

    attach(f, NGX_ERROR);
}


static void
a_zone_that_is_too_small_is_refused(void **state)
{
    fixture_t *f = *state;

    fixture_t  other;

    other = *f;
    other.memory = NULL;
    other.zone = unit_shm_zone(f->pool, "klaviyo_memory", 5 * 4096);
    attach(&other, NGX_ERROR);

    unit_shm_free(other.zone);
}


static void
what_has_expired_is_not_found(void **state)
{
    fixture_t *f = *state;

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 10, 60), NGX_OK);
    assert_int_equal(store(f, key_of(f, VISITOR, 1), 1, 10, 60), NGX_OK);

    now.sec += 59;
    assert_found(f, key_of(f, FACTS, 1), 1, 10);
    assert_found(f, key_of(f, VISITOR, 1), 1, 10);

    /* a visitor's ttl began again when it was read */

    now.sec += 1;
    assert_gone(f, key_of(f, FACTS, 1));
    assert_found(f, key_of(f, VISITOR, 1), 1, 10);

    now.sec += 58;
    assert_found(f, key_of(f, VISITOR, 1), 1, 10);

    now.sec += 60;
    assert_gone(f, key_of(f, VISITOR, 1));

    /* what is longer than can be counted is ten years */

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 10,
                           NGX_MAX_INT_T_VALUE),
                     NGX_OK);
    now.sec += NGX_HTTP_KLAVIYO_MEMORY_TTL - 1;
    assert_found(f, key_of(f, FACTS, 1), 1, 10);
    now.sec++;
    assert_gone(f, key_of(f, FACTS, 1));
}


/* a visitor's request is no reason to write each time */

static void
a_ttl_begins_again_when_a_part_of_it_is_over(void **state)
{
    fixture_t *f = *state;

    uint64_t    before, after;
    ngx_str_t   str;

    before = 0;
    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory,
                                                   key_of(f, VISITOR, 1),
                                                   text(1, 10), 1600, &before),
                     NGX_OK);

    now.sec += 100;
    str.data = buffer;
    str.len = TEXT;
    assert_int_equal(ngx_http_klaviyo_memory_find(f->memory,
                                                  key_of(f, VISITOR, 1), &str,
                                                  &after),
                     NGX_OK);
    assert_true(before == after);

    now.sec += 1;
    str.len = TEXT;
    assert_int_equal(ngx_http_klaviyo_memory_find(f->memory,
                                                  key_of(f, VISITOR, 1), &str,
                                                  &after),
                     NGX_OK);
    assert_true(before < after);
}


static void
a_store_does_not_overwrite_what_it_has_not_seen(void **state)
{
    fixture_t *f = *state;

    uint64_t       mine, other;
    ngx_str_t      str;
    memory_key_t  *key;

    key = key_of(f, VISITOR, 1);

    str.data = buffer;
    str.len = TEXT;
    assert_int_equal(ngx_http_klaviyo_memory_find(f->memory, key, &str, &mine),
                     NGX_DECLINED);
    assert_true(mine == 0);
    other = mine;

    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory, key, text(1, 10),
                                                   60, &mine),
                     NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory, key, text(2, 10),
                                                   60, &other),
                     NGX_DECLINED);
    assert_found(f, key, 1, 10);

    /* who stored it knows it */

    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory, key, text(3, 10),
                                                   60, &mine),
                     NGX_OK);

    str.len = TEXT;
    assert_int_equal(ngx_http_klaviyo_memory_find(f->memory, key, &str, &other),
                     NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory, key, text(4, 10),
                                                   60, &other),
                     NGX_OK);
    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory, key, text(5, 10),
                                                   60, &mine),
                     NGX_DECLINED);
    assert_found(f, key, 4, 10);
}


static void
a_mark_is_new_once(void **state)
{
    fixture_t *f = *state;

    uint64_t       first, second;
    memory_key_t  *key;

    key = key_of(f, ONCE, 1);

    assert_int_equal(ngx_http_klaviyo_memory_mark(f->memory, key, 60, &first),
                     NGX_OK);
    assert_int_equal(mark(f, key, 60), NGX_DECLINED);
    assert_int_equal(mark(f, key_of(f, ONCE, 2), 60), NGX_OK);

    now.sec += 59;
    assert_int_equal(mark(f, key, 60), NGX_DECLINED);

    now.sec++;
    assert_int_equal(ngx_http_klaviyo_memory_mark(f->memory, key, 60, &second),
                     NGX_OK);

    /* the first one is no more */

    ngx_http_klaviyo_memory_unmark(f->memory, key, first);
    assert_int_equal(mark(f, key, 60), NGX_DECLINED);

    ngx_http_klaviyo_memory_unmark(f->memory, key, second);
    assert_int_equal(mark(f, key, 60), NGX_OK);
}


static void
a_backlog_is_taken_in_order_and_once(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t     i;
    memory_key_t  *key;

    key = key_of(f, BACKLOG, 1);

    assert_taken(f, key, 1, 0);

    for (i = 1; i <= 10; i++) {
        assert_int_equal(push(f, key, i, i, 20, 60), NGX_OK);
    }

    assert_int_equal(push(f, key_of(f, BACKLOG, 2), 7, 7, 20, 60), NGX_OK);

    assert_taken(f, key, 1, 10);
    assert_taken(f, key, 1, 0);
    assert_taken(f, key_of(f, BACKLOG, 2), 7, 7);

    /* one that begins anew has nothing of the old one */

    assert_int_equal(push(f, key, 11, 11, 20, 60), NGX_OK);
    assert_taken(f, key, 11, 11);
}


static void
a_backlog_is_bounded(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t     i;
    ngx_str_t      pieces[PIECES];
    memory_key_t  *key;

    key = key_of(f, BACKLOG, 1);

    for (i = 1; i <= 9; i++) {
        assert_int_equal(push(f, key, i, i, 3, 60), NGX_OK);
    }

    assert_taken(f, key, 7, 9);

    for (i = 1; i <= 100; i++) {
        assert_int_equal(push(f, key, i, i, 1000, 60), NGX_OK);
    }

    assert_taken(f, key, 101 - PIECES, 100);

    /* each piece expires by itself */

    for (i = 1; i <= 9; i++) {
        assert_int_equal(push(f, key, i, i, 20, 10), NGX_OK);
        now.sec += 2;
    }

    assert_taken(f, key, 6, 9);

    /* the last ones that fit */

    for (i = 1; i <= 9; i++) {
        assert_int_equal(push(f, key, i, 10, 20, 10), NGX_OK);
    }

    assert_int_equal(ngx_http_klaviyo_memory_take(f->memory, key, buffer, 39,
                                                  pieces), 3);
    assert_true(same(&pieces[0], 7, 10));
    assert_true(same(&pieces[2], 9, 10));
    assert_taken(f, key, 1, 0);
}


static void
a_backlog_ends_where_the_log_has_gone_over_it(void **state)
{
    fixture_t *f = *state;

    size_t          used;
    ngx_uint_t      i, n, first;
    ngx_str_t       pieces[PIECES];
    memory_key_t    own, *key;

    own = *key_of(f, BACKLOG, 1);
    key = &own;

    for (first = 1; first < 200; first++) {
        assert_int_equal(push(f, key, first, 2000, PIECES, 60), NGX_OK);

        used = first * need(2000);

        if (used < f->size) {
            continue;
        }

        n = ngx_http_klaviyo_memory_take(f->memory, key, buffer, TEXT, pieces);
        assert_int_equal(n, TEXT / 2000);

        for (i = 0; i < n; i++) {
            assert_true(same(&pieces[i], first + 1 - n + i, 2000));
        }

        break;
    }

    for (i = 1; i < 20; i++) {
        assert_int_equal(push(f, key, i, 1, PIECES, 60), NGX_OK);

        n = f->size / need(2000) - 2;

        while (n--) {
            assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 2000, 60),
                             NGX_OK);
        }
    }

    /* nearly once around between two of them */

    n = take(f, key, pieces);
    assert_in_range(n, 1, 2);
    assert_true(same(&pieces[n - 1], 19, 1));
}


static void
the_oldest_goes_out_first(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i, n, found;
    ngx_str_t   str;

    /* many rounds; some bytes at the end stay empty each time */

    n = 40 * f->size / need(300);

    for (i = 0; i < n; i++) {
        assert_int_equal(store(f, key_of(f, ONCE, i), i, 300, 60), NGX_OK);
    }

    found = 0;

    for (i = 0; i < n; i++) {
        if (find(f, key_of(f, ONCE, i), &str) == NGX_OK) {
            assert_true(same(&str, i, 300));
            found++;

        } else {
            assert_int_equal(found, 0);
        }
    }

    assert_in_range(found, f->size / need(300) - 1, f->size / need(300));
}


static void
what_is_read_stays(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    assert_int_equal(store(f, key_of(f, VISITOR, 1), 1, 100, 60), NGX_OK);
    assert_int_equal(store(f, key_of(f, FACTS, 2), 2, 100, 60), NGX_OK);
    assert_int_equal(store(f, key_of(f, FACTS, 3), 3, 100, 60), NGX_OK);
    assert_int_equal(mark(f, key_of(f, ONCE, 4), 60), NGX_OK);

    for (i = 0; i < 10 * f->size / need(1000); i++) {
        assert_int_equal(store(f, key_of(f, FACTS, 1000 + i), i, 1000, 60),
                         NGX_OK);

        assert_found(f, key_of(f, VISITOR, 1), 1, 100);
        assert_found(f, key_of(f, FACTS, 2), 2, 100);

        if (i < f->size / need(1000) / 2) {
            assert_int_equal(mark(f, key_of(f, ONCE, 4), 60), NGX_DECLINED);
        }
    }

    assert_gone(f, key_of(f, FACTS, 3));
    assert_int_equal(mark(f, key_of(f, ONCE, 4), 60), NGX_OK);
}


static void
a_full_bucket_gives_up_its_oldest(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    /* of these, ten have the same tag */

    for (i = 0; i < 20; i++) {
        assert_int_equal(store(f, forged(5, 1 + i / 10, i), i, 10, 60), NGX_OK);
    }

    for (i = 0; i < 20; i++) {
        if (i < 4) {
            assert_gone(f, forged(5, 1 + i / 10, i));
        } else {
            assert_found(f, forged(5, 1 + i / 10, i), i, 10);
        }
    }

    /* an empty place first */

    ngx_http_klaviyo_memory_forget(f->memory, forged(5, 2, 15));
    assert_int_equal(store(f, forged(5, 3, 40), 40, 10, 60), NGX_OK);
    assert_found(f, forged(5, 1, 4), 4, 10);

    /* one that is replaced costs no other its place */

    assert_int_equal(store(f, forged(5, 2, 14), 50, 10, 60), NGX_OK);
    assert_found(f, forged(5, 2, 14), 50, 10);
    assert_found(f, forged(5, 1, 4), 4, 10);
    assert_gone(f, forged(5, 2, 15));

    /* one that has expired comes back to its own place */

    assert_int_equal(store(f, forged(5, 2, 14), 50, 10, 5), NGX_OK);
    now.sec += 5;
    assert_int_equal(store(f, forged(5, 2, 14), 60, 10, 60), NGX_OK);
    assert_found(f, forged(5, 2, 14), 60, 10);
    assert_found(f, forged(5, 1, 4), 4, 10);

    /* the last bucket of all */

    assert_int_equal(store(f, forged(0xffffffff, 0xffff, 0), 1, 10, 60),
                     NGX_OK);
    assert_found(f, forged(0xffffffff, 0xffff, 0), 1, 10);
}


static void
statistics_tell_how_full_it_is(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                       i;
    ngx_http_klaviyo_memory_stat_t   stat;

    ngx_http_klaviyo_memory_stat(f->memory, &stat);
    assert_int_equal(stat.used, 0);
    assert_int_equal(stat.entries, 0);
    assert_int_equal(stat.oldest, 0);
    assert_true(stat.size + 8 * stat.slots > ZONE * 3 / 4);

    assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 100, 60), NGX_OK);
    now.sec += 7;
    assert_int_equal(mark(f, key_of(f, ONCE, 1), 60), NGX_OK);
    assert_found(f, key_of(f, FACTS, 1), 1, 100);
    assert_gone(f, key_of(f, FACTS, 2));

    ngx_http_klaviyo_memory_stat(f->memory, &stat);
    assert_int_equal(stat.used, need(100) + need(0));
    assert_int_equal(stat.entries, 2);
    assert_int_equal(stat.oldest, 7);
    assert_int_equal(stat.stored, 2);
    assert_int_equal(stat.hits, 1);
    assert_int_equal(stat.misses, 1);
    assert_int_equal(stat.evicted, 0);

    for (i = 0; i < 10000; i++) {
        assert_int_equal(store(f, key_of(f, FACTS, i), 1, 100, 60), NGX_OK);
    }

    ngx_http_klaviyo_memory_stat(f->memory, &stat);
    assert_int_equal(stat.used, stat.size);
    assert_in_range(stat.entries, stat.size / need(100) * 9 / 10,
                    stat.size / need(100));
    assert_in_range(stat.evicted, 10000 - stat.slots, 10000);
    assert_int_equal(stat.oldest, 0);
}


/* What the memory is said to do, done in the simplest way. */

#define MODEL_KEYS  64

typedef struct {
    uint64_t    start;
    ngx_uint_t  id;
    size_t      len;
    time_t      expires;
} model_record_t;

typedef struct {
    ngx_uint_t      n;
    time_t          ttl;
    model_record_t  records[PIECES];    /* the last is the newest */
} model_entry_t;

typedef struct {
    fixture_t      *f;
    uint64_t        head;
    model_entry_t   entries[MODEL_KEYS];
    memory_key_t    keys[MODEL_KEYS];
    ngx_uint_t      found;
    ngx_uint_t      gone;
} model_t;


static void
model_append(model_t *m, model_record_t *record)
{
    uint64_t  left;

    left = m->f->size - m->head % m->f->size;

    if (left < need(record->len)) {
        m->head += left;
    }

    record->start = m->head;
    m->head += need(record->len);
}


static ngx_uint_t
model_there(model_t *m, model_record_t *record)
{
    return m->head - record->start <= m->f->size && record->expires > now.sec;
}


static model_record_t *
model_last(model_t *m, ngx_uint_t k)
{
    model_entry_t  *entry;

    entry = &m->entries[k];

    if (entry->n && model_there(m, &entry->records[entry->n - 1])) {
        return &entry->records[entry->n - 1];
    }

    entry->n = 0;

    return NULL;
}


static void
model_find(model_t *m, ngx_uint_t k)
{
    uint64_t         version;
    ngx_str_t        str;
    ngx_int_t        rc;
    ngx_uint_t       old;
    model_record_t  *last;

    str.data = buffer;
    str.len = TEXT;

    rc = ngx_http_klaviyo_memory_find(m->f->memory, &m->keys[k], &str,
                                      &version);
    last = model_last(m, k);

    if (last == NULL) {
        assert_int_equal(rc, NGX_DECLINED);
        m->gone++;
        return;
    }

    assert_int_equal(rc, NGX_OK);
    assert_true(same(&str, last->id, last->len));
    m->found++;

    old = m->head - last->start > m->f->size / 2;

    if (m->keys[k].kind == VISITOR) {
        old |= now.sec + m->entries[k].ttl - last->expires
               > m->entries[k].ttl / 16;
        if (old) {
            last->expires = now.sec + m->entries[k].ttl;
        }
    }

    if (old) {
        model_append(m, last);
    }

    assert_true(version == last->start + m->f->size);
}


static void
model_store(model_t *m, ngx_uint_t k, model_record_t *record, time_t ttl)
{
    assert_int_equal(store(m->f, &m->keys[k], record->id, record->len, ttl),
                     NGX_OK);

    model_append(m, record);

    m->entries[k].n = 1;
    m->entries[k].ttl = ttl;
    m->entries[k].records[0] = *record;
}


static void
model_mark(model_t *m, ngx_uint_t k, model_record_t *record, time_t ttl)
{
    ngx_int_t  rc;

    record->len = 0;

    rc = mark(m->f, &m->keys[k], ttl);

    if (model_last(m, k)) {
        assert_int_equal(rc, NGX_DECLINED);
        m->found++;
        return;
    }

    assert_int_equal(rc, NGX_OK);
    m->gone++;

    model_append(m, record);

    m->entries[k].n = 1;
    m->entries[k].records[0] = *record;
}


static void
model_push(model_t *m, ngx_uint_t k, model_record_t *record, time_t ttl)
{
    model_entry_t  *entry;

    entry = &m->entries[k];

    assert_int_equal(push(m->f, &m->keys[k], record->id, record->len, 10, ttl),
                     NGX_OK);

    (void) model_last(m, k);
    model_append(m, record);

    if (entry->n == 10) {
        ngx_memmove(&entry->records[0], &entry->records[1],
                    9 * sizeof(model_record_t));
        entry->n--;
    }

    entry->records[entry->n++] = *record;
}


static void
model_take(model_t *m, ngx_uint_t k)
{
    size_t           left;
    ngx_str_t        pieces[PIECES];
    ngx_uint_t       n, i;
    model_entry_t   *entry;
    model_record_t  *record;

    entry = &m->entries[k];

    n = take(m->f, &m->keys[k], pieces);

    (void) model_last(m, k);
    left = TEXT;

    for (i = entry->n; i; i--) {
        record = &entry->records[i - 1];

        if (m->head - record->start > m->f->size || record->len > left) {
            break;
        }

        if (record->expires > now.sec) {
            assert_true(n > 0);
            n--;
            assert_true(same(&pieces[n], record->id, record->len));
            left -= record->len;
            m->found++;
        }
    }

    assert_int_equal(n, 0);
    entry->n = 0;
}


static void
model_step(model_t *m, ngx_uint_t id)
{
    time_t           ttl;
    ngx_uint_t       k, what;
    model_record_t   record;

    k = ngx_random() % MODEL_KEYS;
    what = ngx_random() % 16;

    if (ngx_random() % 20 == 0) {
        now.sec += ngx_random() % 10;
    }

    ttl = 1 + ngx_random() % 200;

    record.id = id;
    record.len = ngx_random() % ((ngx_random() % 10) ? 200 : 5000);
    record.expires = now.sec + ttl;

    if (what == 0) {
        ngx_http_klaviyo_memory_forget(m->f->memory, &m->keys[k]);
        m->entries[k].n = 0;
        return;
    }

    switch (m->keys[k].kind) {

    case ONCE:
        model_mark(m, k, &record, ttl);
        break;

    case BACKLOG:
        if (what < 3) {
            model_take(m, k);

        } else {
            model_push(m, k, &record, ttl);
        }

        break;

    default:
        if (what < 6) {
            model_store(m, k, &record, ttl);

        } else {
            model_find(m, k);
        }
    }
}


static void
any_row_of_operations_does_what_a_simple_model_does(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t   i;
    model_t     *m;

    m = ngx_pcalloc(f->pool, sizeof(model_t));
    assert_non_null(m);

    m->f = f;

    for (i = 0; i < MODEL_KEYS; i++) {
        m->keys[i] = *key_of(f, i % 4, i);
    }

    for (i = 0; i < 1000000; i++) {
        model_step(m, i);
    }

    assert_true(m->found > 100000);
    assert_true(m->gone > 10000);
    assert_true(m->head > 1000 * f->size);
}


/* Several processes at once */

#define CHILDREN  4
#define MARKS     5000
#define PUSHES    50000

/* the sum of what they return */

static ngx_uint_t
children(fixture_t *f, ngx_uint_t (*run)(fixture_t *f, ngx_uint_t n))
{
    int                     code;
    ngx_pid_t               pids[CHILDREN];
    ngx_uint_t              i;
    volatile ngx_uint_t    *sum;

    sum = mmap(NULL, ngx_pagesize, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED,
               -1, 0);
    assert_true((void *) sum != MAP_FAILED);

    for (i = 0; i < CHILDREN; i++) {
        pids[i] = unit_fork();

        if (pids[i] == 0) {
            alarm(60);
            sum[i] = run(f, i);
            _exit(0);
        }
    }

    for (i = 0; i < CHILDREN; i++) {
        code = unit_wait(pids[i]);
        assert_int_equal(code, 0);
    }

    for (i = 1; i < CHILDREN; i++) {
        sum[0] += sum[i];
    }

    i = sum[0];
    munmap((void *) sum, ngx_pagesize);

    return i;
}


static ngx_uint_t
mark_all(fixture_t *f, ngx_uint_t n)
{
    ngx_uint_t  i, won;

    won = 0;

    for (i = 0; i < MARKS; i++) {

        /* each mark is asked for at about the same time by all */

        if (mark(f, key_of(f, ONCE, i), 60) == NGX_OK) {
            won++;
        }

        if (i % 50 == 0) {
            ngx_sched_yield();
        }
    }

    return won;
}


static void
of_all_who_mark_at_once_one_wins(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_memory_stat_t  stat;

    assert_int_equal(children(f, mark_all), MARKS);

    ngx_http_klaviyo_memory_stat(f->memory, &stat);
    assert_int_equal(stat.evicted, 0);
}


static ngx_uint_t
add_all(fixture_t *f, ngx_uint_t n)
{
    uint64_t        version;
    ngx_str_t       str;
    ngx_uint_t      i, count;
    memory_key_t    key;

    key = *key_of(f, VISITOR, 1);

    for (i = 0; i < 10000; /* void */ ) {
        str.data = (u_char *) &count;
        str.len = sizeof(ngx_uint_t);

        if (ngx_http_klaviyo_memory_find(f->memory, &key, &str, &version)
            != NGX_OK)
        {
            count = 0;
        }

        count++;
        str.len = sizeof(ngx_uint_t);

        if (ngx_http_klaviyo_memory_store(f->memory, &key, &str, 60, &version)
            == NGX_OK)
        {
            i++;
        }
    }

    return 0;
}


static void
of_what_all_store_at_once_nothing_is_lost(void **state)
{
    fixture_t *f = *state;

    ngx_str_t   str;
    ngx_uint_t  count;

    (void) children(f, add_all);

    assert_int_equal(find(f, key_of(f, VISITOR, 1), &str), NGX_OK);
    assert_int_equal(str.len, sizeof(ngx_uint_t));

    ngx_memcpy(&count, str.data, sizeof(ngx_uint_t));
    assert_int_equal(count, CHILDREN * 10000);
}


/* how often each piece was taken */

static u_char  *taken;


static ngx_uint_t
push_and_take(fixture_t *f, ngx_uint_t n)
{
    ngx_str_t     pieces[PIECES], piece;
    ngx_uint_t    i, j, k;
    memory_key_t  key;

    key = *key_of(f, BACKLOG, 1);

    piece.data = (u_char *) &j;
    piece.len = sizeof(ngx_uint_t);

    for (i = 0; i < PUSHES; i++) {
        j = n * PUSHES + i;

        if (ngx_http_klaviyo_memory_push(f->memory, &key, &piece, PIECES, 60)
            != NGX_OK)
        {
            return 1;
        }

        k = take(f, &key, pieces);

        while (k--) {
            ngx_memcpy(&j, pieces[k].data, sizeof(ngx_uint_t));
            (void) __sync_fetch_and_add(&taken[j], 1);
        }
    }

    return 0;
}


static void
what_all_push_and_take_is_taken_once(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    taken = mmap(NULL, CHILDREN * PUSHES, PROT_READ|PROT_WRITE,
                 MAP_ANON|MAP_SHARED, -1, 0);
    assert_true(taken != MAP_FAILED);

    assert_int_equal(children(f, push_and_take), 0);
    assert_taken(f, key_of(f, BACKLOG, 1), 1, 0);

    for (i = 0; i < CHILDREN * PUSHES; i++) {
        assert_int_equal(taken[i], 1);
    }

    munmap(taken, CHILDREN * PUSHES);
}


/* What one has seen before it had the lock doesn't count */

static fixture_t     *rival;
static memory_key_t   rival_key;


static void
rival_mark(void)
{
    (void) mark(rival, &rival_key, 60);
}


static void
rival_store(void)
{
    (void) store(rival, &rival_key, 2, 10, 60);
}


static void
rival_around(void)
{
    ngx_uint_t  i;

    for (i = 0; i < 2 * rival->size / need(1000); i++) {
        (void) store(rival, key_of(rival, FACTS, i), i, 1000, 60);
    }
}


static void
rival_take(void)
{
    ngx_str_t  pieces[PIECES];

    (void) take(rival, &rival_key, pieces);
}


static void
who_is_overtaken_sees_what_is_there(void **state)
{
    fixture_t *f = *state;

    uint64_t    version;
    ngx_str_t   str;

    rival = f;

    rival_key = *key_of(f, ONCE, 1);
    meanwhile = rival_mark;
    assert_int_equal(mark(f, &rival_key, 60), NGX_DECLINED);

    rival_key = *key_of(f, VISITOR, 1);
    version = 0;
    meanwhile = rival_store;
    assert_int_equal(ngx_http_klaviyo_memory_store(f->memory, &rival_key,
                                                   text(1, 10), 60, &version),
                     NGX_DECLINED);
    assert_found(f, &rival_key, 2, 10);

    meanwhile = rival_around;
    assert_int_equal(find(f, &rival_key, &str), NGX_DECLINED);

    rival_key = *key_of(f, BACKLOG, 1);
    assert_int_equal(push(f, &rival_key, 1, 1, 10, 60), NGX_OK);
    meanwhile = rival_take;
    assert_taken(f, &rival_key, 1, 0);

    assert_int_equal(push(f, &rival_key, 1, 1, 10, 60), NGX_OK);
    meanwhile = rival_take;
    assert_int_equal(push(f, &rival_key, 2, 2, 10, 60), NGX_OK);
    assert_taken(f, &rival_key, 2, 2);
}


/* each text says of which key and which length it is */

static void
write_all(fixture_t *f)
{
    ngx_str_t   pieces[PIECES];
    ngx_uint_t  i, k;

    for (i = 0; /* void */ ; i++) {
        k = ngx_random() % 100;

        switch (ngx_random() % 4) {

        case 0:
            (void) store(f, key_of(f, FACTS, k), k, ngx_random() % 500, 60);
            break;

        case 1:
            (void) push(f, key_of(f, BACKLOG, k), k, ngx_random() % 500, 5, 60);
            break;

        case 2:
            (void) take(f, key_of(f, BACKLOG, k), pieces);
            break;

        default:
            (void) find(f, key_of(f, FACTS, k), pieces);
        }
    }
}


static void
assert_sound(fixture_t *f)
{
    ngx_uint_t  k, i, n;
    ngx_str_t   str, pieces[PIECES];

    for (k = 0; k < 100; k++) {
        if (find(f, key_of(f, FACTS, k), &str) == NGX_OK) {
            assert_true(same(&str, k, str.len));
        }

        n = take(f, key_of(f, BACKLOG, k), pieces);
        assert_in_range(n, 0, 5);

        for (i = 0; i < n; i++) {
            assert_true(same(&pieces[i], k, pieces[i].len));
        }
    }
}


static void
the_kill_of_any_process_leaves_it_sound(void **state)
{
    fixture_t *f = *state;

    ngx_pid_t   pids[2];
    ngx_uint_t  i, round;

    for (round = 0; round < 200; round++) {

        for (i = 0; i < 2; i++) {
            pids[i] = unit_fork();

            if (pids[i] == 0) {
                alarm(60);
                srandom(SEED + round * 2 + i);
                write_all(f);
            }
        }

        usleep(1000 + ngx_random() % 3000);

        for (i = 0; i < 2; i++) {
            kill(pids[i], SIGKILL);
            assert_int_equal(unit_wait(pids[i]), -1);
            unit_shm_unlock(f->zone, pids[i]);
        }

        assert_sound(f);

        assert_int_equal(store(f, key_of(f, FACTS, 1), 1, 3000, 60), NGX_OK);
        assert_found(f, key_of(f, FACTS, 1), 1, 3000);
    }
}


#if (UNIT_HAVE_STEPS)

/*
 * 1 to 11 are stored, and 1 is the oldest but one of those that are left when
 * the next comes.  What they do is to 2; the others must not notice.
 */

#define STEP_KEYS  11
#define STEP_LEN   120

static memory_key_t  step_keys[64];
static memory_key_t  step_backlog;
static memory_key_t  step_mark;
static uint64_t      step_version;


static void
step_before(fixture_t *f)
{
    ngx_uint_t  i, n;

    for (i = 0; i < 64; i++) {
        step_keys[i] = *key_of(f, FACTS, i);
    }

    step_backlog = *key_of(f, BACKLOG, 1);
    step_mark = *key_of(f, ONCE, 1);

    assert_int_equal(store(f, &step_keys[2], 2, STEP_LEN, 600), NGX_OK);

    /* nearly around, so that 2 is in the older half and not the oldest */

    n = f->size / need(1000) * 3 / 4;

    for (i = 0; i < n; i++) {
        assert_int_equal(store(f, &step_keys[0], 0, 1000, 60), NGX_OK);
    }

    for (i = 3; i <= STEP_KEYS; i++) {
        assert_int_equal(store(f, &step_keys[i], i, STEP_LEN, 600), NGX_OK);
    }

    for (i = 1; i <= 4; i++) {
        assert_int_equal(push(f, &step_backlog, i, i, 4, 600), NGX_OK);
    }

    step_version = 0;
    assert_int_equal(ngx_http_klaviyo_memory_mark(f->memory, &step_mark, 600,
                                                  &step_version),
                     NGX_OK);
}


static void
step_others(fixture_t *f)
{
    ngx_uint_t  i;

    for (i = 3; i <= STEP_KEYS; i++) {
        assert_found(f, &step_keys[i], i, STEP_LEN);
    }
}


/* and it goes on to work, all around */

static void
step_works(fixture_t *f)
{
    ngx_uint_t  i, n;

    n = 2 * f->size / need(STEP_LEN);

    for (i = 0; i < n; i++) {
        assert_int_equal(store(f, &step_keys[20 + i % 20], i, STEP_LEN, 600),
                         NGX_OK);
        assert_found(f, &step_keys[20 + i % 20], i, STEP_LEN);
    }

    assert_int_equal(mark(f, &step_keys[63], 60), NGX_OK);
    assert_int_equal(mark(f, &step_keys[63], 60), NGX_DECLINED);
}


static void
steps(fixture_t *f, void (*run)(void *data),
    void (*check)(void *data, ngx_uint_t end))
{
    unit_steps_t   s;
    static u_char  before[ZONE];

    ngx_memzero(&s, sizeof(unit_steps_t));

    s.zone = f->zone;
    s.data = f;
    s.run = run;
    s.check = check;

    ngx_memcpy(before, f->zone->shm.addr, ZONE);

    backward = 1;
    unit_steps(&s);
    backward = 0;

    ngx_memcpy(f->zone->shm.addr, before, ZONE);

    unit_steps(&s);
}


static void
store_run(void *data)
{
    (void) store(data, &step_keys[2], 50, STEP_LEN, 600);
}


static void
store_check(void *data, ngx_uint_t end)
{
    fixture_t *f = data;

    ngx_str_t  str;

    step_others(f);
    assert_taken(f, &step_backlog, 1, 4);
    assert_int_equal(mark(f, &step_mark, 60), NGX_DECLINED);

    /* the old one or the new one */

    assert_int_equal(find(f, &step_keys[2], &str), NGX_OK);
    assert_true(same(&str, 50, STEP_LEN)
                || (!end && same(&str, 2, STEP_LEN)));

    step_works(f);
}


static void
a_kill_in_store_leaves_the_old_or_the_new(void **state)
{
    step_before(*state);
    steps(*state, store_run, store_check);
}


static void
around_run(void *data)
{
    (void) store(data, &step_keys[50], 51, 2000, 600);
}


/* 2000 bytes don't fit any more before the end: it goes over 2 */

static void
around_check(void *data, ngx_uint_t end)
{
    fixture_t *f = data;

    ngx_str_t  str;

    step_others(f);

    if (find(f, &step_keys[2], &str) == NGX_OK) {
        assert_true(!end && same(&str, 2, STEP_LEN));
    }

    if (find(f, &step_keys[50], &str) == NGX_OK) {
        assert_true(same(&str, 51, 2000));

    } else {
        assert_false(end);
    }

    step_works(f);
}


static void
a_kill_in_a_store_that_goes_over_others_mixes_nothing(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_memory_stat_t  stat;

    step_before(f);

    for ( ;; ) {
        ngx_http_klaviyo_memory_stat(f->memory, &stat);

        if (stat.size - stat.used < need(2000)) {
            break;
        }

        assert_int_equal(store(f, &step_keys[0], 0, 1000, 60), NGX_OK);
    }

    assert_true(stat.used < stat.size);

    steps(f, around_run, around_check);
}


static void
find_run(void *data)
{
    ngx_str_t  str;

    (void) find(data, &step_keys[2], &str);
}


static void
find_check(void *data, ngx_uint_t end)
{
    fixture_t *f = data;

    step_others(f);
    assert_found(f, &step_keys[2], 2, STEP_LEN);
    step_works(f);
}


static void
a_kill_in_a_find_that_renews_loses_nothing(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_memory_stat_t  before, after;

    step_before(f);
    ngx_http_klaviyo_memory_stat(f->memory, &before);

    steps(f, find_run, find_check);

    ngx_http_klaviyo_memory_stat(f->memory, &after);
    assert_int_equal(after.used, before.used + need(STEP_LEN));
}


static void
push_run(void *data)
{
    (void) push(data, &step_backlog, 5, 5, 4, 600);
}


static void
push_check(void *data, ngx_uint_t end)
{
    fixture_t *f = data;

    ngx_uint_t  i, n, first;
    ngx_str_t   pieces[PIECES];

    step_others(f);

    n = take(f, &step_backlog, pieces);
    assert_int_equal(n, 4);

    first = pieces[0].len;
    assert_in_range(first, end ? 2 : 1, 2);

    for (i = 0; i < n; i++) {
        assert_true(same(&pieces[i], first + i, first + i));
    }

    step_works(f);
}


static void
a_kill_in_push_leaves_all_or_nothing(void **state)
{
    step_before(*state);
    steps(*state, push_run, push_check);
}


static void
take_run(void *data)
{
    ngx_str_t  pieces[PIECES];

    (void) take(data, &step_backlog, pieces);
}


static void
take_check(void *data, ngx_uint_t end)
{
    fixture_t *f = data;

    ngx_uint_t  i, n;
    ngx_str_t   pieces[PIECES];

    step_others(f);

    n = take(f, &step_backlog, pieces);
    assert_true(n == 0 || (!end && n == 4));

    for (i = 0; i < n; i++) {
        assert_true(same(&pieces[i], 1 + i, 1 + i));
    }

    step_works(f);
}


static void
a_kill_in_take_leaves_all_or_nothing(void **state)
{
    step_before(*state);
    steps(*state, take_run, take_check);
}


static void
unmark_run(void *data)
{
    fixture_t *f = data;

    ngx_http_klaviyo_memory_unmark(f->memory, &step_mark, step_version);
    (void) mark(f, &step_mark, 60);
}


static void
unmark_check(void *data, ngx_uint_t end)
{
    fixture_t *f = data;

    ngx_int_t  rc;

    step_others(f);

    rc = mark(f, &step_mark, 60);
    assert_true(rc == NGX_DECLINED || (!end && rc == NGX_OK));
    assert_int_equal(mark(f, &step_mark, 60), NGX_DECLINED);

    step_works(f);
}


static void
a_kill_in_mark_and_unmark_leaves_a_mark_or_none(void **state)
{
    step_before(*state);
    steps(*state, unmark_run, unmark_check);
}

#endif


#define memory_test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

#define memory_test_large(f)                                                  \
    cmocka_unit_test_setup_teardown(f, setup_large, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        memory_test(what_is_stored_is_found),
        memory_test(a_text_is_bounded),
        memory_test_large(a_large_zone_has_texts_up_to_the_limit),
        memory_test(keys_are_told_apart),
        memory_test(each_zone_has_a_secret_of_its_own_and_no_key),
        memory_test(a_reload_keeps_all_of_it),
        memory_test(another_layout_is_refused),
        memory_test(a_zone_that_is_too_small_is_refused),
        memory_test(what_has_expired_is_not_found),
        memory_test(a_ttl_begins_again_when_a_part_of_it_is_over),
        memory_test(a_store_does_not_overwrite_what_it_has_not_seen),
        memory_test(a_mark_is_new_once),
        memory_test(a_backlog_is_taken_in_order_and_once),
        memory_test(a_backlog_is_bounded),
        memory_test(a_backlog_ends_where_the_log_has_gone_over_it),
        memory_test(the_oldest_goes_out_first),
        memory_test(what_is_read_stays),
        memory_test(a_full_bucket_gives_up_its_oldest),
        memory_test(statistics_tell_how_full_it_is),
        memory_test(any_row_of_operations_does_what_a_simple_model_does),
        memory_test_large(of_all_who_mark_at_once_one_wins),
        memory_test(of_what_all_store_at_once_nothing_is_lost),
        memory_test_large(what_all_push_and_take_is_taken_once),
        memory_test(who_is_overtaken_sees_what_is_there),
        memory_test(the_kill_of_any_process_leaves_it_sound),
#if (UNIT_HAVE_STEPS)
        memory_test(a_kill_in_store_leaves_the_old_or_the_new),
        memory_test(a_kill_in_a_store_that_goes_over_others_mixes_nothing),
        memory_test(a_kill_in_a_find_that_renews_loses_nothing),
        memory_test(a_kill_in_push_leaves_all_or_nothing),
        memory_test(a_kill_in_take_leaves_all_or_nothing),
        memory_test(a_kill_in_mark_and_unmark_leaves_a_mark_or_none),
#endif
    };

    /* a lock that is lost must not be waited for */

    alarm(300);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
