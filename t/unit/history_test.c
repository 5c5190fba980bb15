
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The last ten minutes.
 */


#include "unit.h"
#include "ngx_http_klaviyo_history.h"


#define STEP   NGX_HTTP_KLAVIYO_HISTORY_STEP
#define STEPS  NGX_HTTP_KLAVIYO_HISTORY_STEPS

/* the beginning of a step */
#define T0     1800000000


static ngx_http_klaviyo_history_t  history;
static ngx_http_klaviyo_counters_t  counters;


static int
setup(void **state)
{
    ngx_memzero(&history, sizeof(history));
    ngx_memzero(&counters, sizeof(counters));

    return 0;
}


static void
add(time_t now, ngx_uint_t seen, ngx_uint_t sent)
{
    counters.seen = seen;
    counters.sent = sent;
    counters.queued = seen - sent;

    ngx_http_klaviyo_history_add(&history, now, &counters);
}


static void
steps_are_differences(void **state)
{
    ngx_http_klaviyo_sample_t  s;

    add(T0, 100, 100);
    add(T0 + 4, 110, 104);
    add(T0 + 5, 111, 104);
    add(T0 + 9, 131, 125);
    add(T0 + 10, 140, 130);

    /* the step of "now" isn't over */

    assert_int_equal(ngx_http_klaviyo_history_step(&history, T0 + 12,
                                                   STEPS - 1, &s),
                     NGX_OK);
    assert_int_equal(s.seen, 21);
    assert_int_equal(s.sent, 21);
    assert_int_equal(s.queued, 6);

    /* the first one began with nothing */

    assert_int_equal(ngx_http_klaviyo_history_step(&history, T0 + 12,
                                                   STEPS - 2, &s),
                     NGX_OK);
    assert_int_equal(s.seen, 110);
    assert_int_equal(s.queued, 6);

    assert_int_equal(ngx_http_klaviyo_history_step(&history, T0 + 12,
                                                   STEPS - 4, &s),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_history_step(&history, T0 + 12, 0, &s),
                     NGX_DECLINED);
}


static void
all_steps_are_kept(void **state)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_sample_t  s;

    for (i = 0; i < 5 * STEPS; i++) {
        add(T0 + i * STEP, i * i, 0);
    }

    i = 5 * STEPS - 1 - STEPS;

    assert_int_equal(ngx_http_klaviyo_history_step(&history,
                                        T0 + (5 * STEPS - 1) * STEP, 0, &s),
                     NGX_OK);
    assert_int_equal(s.seen, i * i - (i - 1) * (i - 1));
}


static void
a_gap_belongs_to_what_follows(void **state)
{
    ngx_http_klaviyo_sample_t  s;

    add(T0, 10, 10);
    add(T0 + 3 * STEP, 50, 50);

    assert_int_equal(ngx_http_klaviyo_history_step(&history, T0 + 4 * STEP,
                                                   STEPS - 2, &s),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_history_step(&history, T0 + 4 * STEP,
                                                   STEPS - 1, &s),
                     NGX_OK);
    assert_int_equal(s.seen, 40);
}


static void
back_and_around(void **state)
{
    ngx_http_klaviyo_sample_t  s;

    add(T0, 10, 0xfffffff0);
    add(T0 + STEP, 4, 0x100000010);

    (void) ngx_http_klaviyo_history_step(&history, T0 + 2 * STEP, STEPS - 1,
                                         &s);
    assert_int_equal(s.seen, 0);
    assert_int_equal(s.sent, 0x20);

    counters.queued = (ngx_atomic_uint_t) -3;
    counters.spooled = 7;
    ngx_http_klaviyo_history_add(&history, T0 + STEP, &counters);

    (void) ngx_http_klaviyo_history_step(&history, T0 + 2 * STEP, STEPS - 1,
                                         &s);
    assert_int_equal(s.queued, 0);
    assert_int_equal(s.spooled, 7);
}


static void
the_last_minute(void **state)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_sample_t  s;

    assert_int_equal(ngx_http_klaviyo_history_last(&history, T0, 60, &s), 0);
    assert_int_equal(s.seen, 0);

    add(T0, 5, 5);
    assert_int_equal(ngx_http_klaviyo_history_last(&history, T0, 60, &s),
                     STEP);
    assert_int_equal(s.seen, 5);

    add(T0 + STEP, 15, 15);
    assert_int_equal(ngx_http_klaviyo_history_last(&history, T0 + STEP, 60,
                                                   &s), 2 * STEP);
    assert_int_equal(s.sent, 15);

    for (i = 2; i < 50; i++) {
        add(T0 + i * STEP, 5 + 10 * i, 5 + 10 * i);
    }

    assert_int_equal(ngx_http_klaviyo_history_last(&history, T0 + 49 * STEP,
                                                   60, &s), 60);
    assert_int_equal(s.sent, 120);

    /* nobody has written for long */

    assert_int_equal(ngx_http_klaviyo_history_last(&history, T0 + 49 * STEP
                                                   + 100, 60, &s), 0);
    assert_int_equal(s.sent, 0);
}


static void
reasons_are_added_up(void **state)
{
    ngx_http_klaviyo_sample_t  s;

    add(T0, 0, 0);
    counters.skipped[0] = 1;
    counters.skipped[NGX_HTTP_KLAVIYO_SKIP_N - 1] = 2;
    counters.dropped[0] = 3;
    counters.dropped[NGX_HTTP_KLAVIYO_DROP_N - 1] = 4;
    counters.dead = 5;
    add(T0 + STEP, 0, 0);

    (void) ngx_http_klaviyo_history_step(&history, T0 + 2 * STEP, STEPS - 1,
                                         &s);
    assert_int_equal(s.skipped, 3);
    assert_int_equal(s.dropped, 7);
    assert_int_equal(s.dead, 5);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup(steps_are_differences, setup),
        cmocka_unit_test_setup(all_steps_are_kept, setup),
        cmocka_unit_test_setup(a_gap_belongs_to_what_follows, setup),
        cmocka_unit_test_setup(back_and_around, setup),
        cmocka_unit_test_setup(the_last_minute, setup),
        cmocka_unit_test_setup(reasons_are_added_up, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
