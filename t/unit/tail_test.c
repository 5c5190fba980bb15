
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The tail: what is kept, and a writer that dies.
 */


#include "unit_steps.h"
#include "ngx_http_klaviyo_tail.h"


#define LINES  NGX_HTTP_KLAVIYO_TAIL_LINES


typedef struct {
    ngx_pool_t               *pool;
    ngx_shm_zone_t           *zone;
    ngx_http_klaviyo_tail_t  *tail;
} fixture_t;


static ngx_http_klaviyo_tail_t *
attach(fixture_t *f, void *old)
{
    ngx_http_klaviyo_tail_t  *tail;

    tail = ngx_pcalloc(f->pool, sizeof(ngx_http_klaviyo_tail_t));
    assert_non_null(tail);

    f->zone->data = tail;

    assert_int_equal(ngx_http_klaviyo_tail_init_zone(f->zone, old), NGX_OK);

    return tail;
}


static int
setup(void **state)
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
    f->zone = unit_shm_zone(pool, "klaviyo_tail", NGX_HTTP_KLAVIYO_TAIL_MIN);
    f->tail = attach(f, NULL);

    ngx_cacheline_size = NGX_CPU_CACHE_LINE;

    assert_int_equal(ngx_crc32_table_init(), NGX_OK);

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

    unit_shm_free(f->zone);

    return unit_teardown(&pool);
}


static void
add(fixture_t *f, ngx_uint_t slot, ngx_uint_t kind, ngx_uint_t n)
{
    u_char     buf[32];
    ngx_str_t  line;

    line.data = buf;
    line.len = ngx_sprintf(buf, "%ui %ui %ui", slot, kind, n) - buf;

    ngx_http_klaviyo_tail_add(f->tail, slot, kind, n, &line);
}


/* how many lines there are; "text" is one of them */

static ngx_uint_t
count(fixture_t *f, char *text, ngx_uint_t *found)
{
    u_char                        *p;
    ngx_uint_t                     i, n;
    ngx_http_klaviyo_tail_line_t   line;

    n = 0;
    *found = 0;

    for (i = 0; i < ngx_http_klaviyo_tail_size(f->tail); i++) {

        ngx_memset(&line, 0xa5, sizeof(line));

        if (ngx_http_klaviyo_tail_read(f->tail, i, &line) == NGX_OK) {
            n++;

            /* all of it is of one event */

            for (p = line.text + line.len; p[-1] != ' '; p--) { /* void */ }

            assert_int_equal(ngx_atoi(p, line.text + line.len - p), line.time);

            if (line.len == ngx_strlen(text)
                && ngx_memcmp(line.text, text, line.len) == 0)
            {
                (*found)++;
            }
        }
    }

    return n;
}


static void
lines_come_back(void **state)
{
    fixture_t   *f = *state;

    ngx_uint_t  found;

    assert_int_equal(count(f, "", &found), 0);

    add(f, 1, 0, 7);
    assert_int_equal(count(f, "1 0 7", &found), 1);
    assert_int_equal(found, 1);
}


static void
the_last_ones_of_each_are_kept(void **state)
{
    fixture_t   *f = *state;

    ngx_uint_t  i, found;

    add(f, 1, 0, 1);

    for (i = 0; i < 1000; i++) {
        add(f, 1, 1, i);
    }

    assert_int_equal(count(f, "1 0 1", &found), 1 + LINES);
    assert_int_equal(found, 1);

    (void) count(f, "1 1 999", &found);
    assert_int_equal(found, 1);
    (void) count(f, "1 1 984", &found);
    assert_int_equal(found, 1);
    (void) count(f, "1 1 983", &found);
    assert_int_equal(found, 0);
}


static void
more_rules_than_room(void **state)
{
    fixture_t   *f = *state;

    ngx_uint_t  i, found;

    for (i = 0; i < 10000; i++) {
        add(f, i, i & 1, i);
    }

    assert_true(count(f, "9999 1 9999", &found)
                <= ngx_http_klaviyo_tail_size(f->tail));
    assert_int_equal(found, 1);
}


static void
a_long_line_is_cut(void **state)
{
    fixture_t   *f = *state;

    ngx_uint_t                     i;
    ngx_http_klaviyo_tail_line_t   line;

    ngx_http_klaviyo_tail_add(f->tail, 0, 0, 1,
                              unit_fill(f->pool, 'x', 5000));

    for (i = 0; ngx_http_klaviyo_tail_read(f->tail, i, &line) != NGX_OK; i++) {
        assert_true(i < ngx_http_klaviyo_tail_size(f->tail));
    }

    assert_int_equal(line.len, NGX_HTTP_KLAVIYO_TAIL_LEN);
}


static void
a_reload_keeps_it(void **state)
{
    fixture_t   *f = *state;

    ngx_uint_t  found;

    add(f, 3, 0, 7);

    f->tail = attach(f, f->tail);
    assert_int_equal(count(f, "3 0 7", &found), 1);

    f->tail = attach(f, NULL);
    assert_int_equal(count(f, "3 0 7", &found), 1);
    assert_int_equal(found, 1);
}


#if (UNIT_HAVE_STEPS)

static void
add_run(void *data)
{
    add(data, 1, 0, LINES);
}


/* all but the oldest are there, and the new one is whole or not there */

static void
add_check(void *data, ngx_uint_t end)
{
    fixture_t  *f = data;

    ngx_uint_t  n, found;

    n = count(f, "1 0 16", &found);

    assert_true(n == LINES || (n == LINES - 1 && !found));
    assert_true(found || !end);

    /* the next writer doesn't mind */

    add(f, 1, 0, 99);

    n = count(f, "1 0 99", &found);
    assert_int_equal(found, 1);
    assert_true(n >= LINES - 1);
}


static void
a_writer_dies(void **state)
{
    fixture_t   *f = *state;

    ngx_uint_t    i;
    unit_steps_t  s;

    for (i = 0; i < LINES; i++) {
        add(f, 1, 0, i);
    }

    ngx_memzero(&s, sizeof(unit_steps_t));

    s.zone = f->zone;
    s.data = f;
    s.run = add_run;
    s.check = add_check;

    unit_steps(&s);
}

#endif


#define tail_test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        tail_test(lines_come_back),
        tail_test(the_last_ones_of_each_are_kept),
        tail_test(more_rules_than_room),
        tail_test(a_long_line_is_cut),
        tail_test(a_reload_keeps_it),
#if (UNIT_HAVE_STEPS)
        tail_test(a_writer_dies),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
