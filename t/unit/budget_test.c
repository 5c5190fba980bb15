
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Rate windows, what the RateLimit headers say, pauses and backoff.
 */


#include "unit.h"
#include "ngx_http_klaviyo_budget.h"


#define SEED     20260715
#define ROUNDS   60
#define TAKES    3000
#define START    86400000


static ngx_uint_t
percent(ngx_uint_t n, ngx_uint_t share)
{
    return ngx_max(n * share / 100, 1);
}


static void
assert_at_most(uint64_t *times, ngx_uint_t n, uint64_t window,
    ngx_uint_t limit)
{
    ngx_uint_t  i, first;

    first = 0;

    for (i = 0; i < n; i++) {

        while (times[i] - times[first] >= window) {
            first++;
        }

        assert_in_range(i - first + 1, 1, limit);
    }
}


/* asks again and again, in a rhythm that changes, and notes what it got */

static void
one_random_run(void)
{
    uint64_t                    now, times[TAKES];
    ngx_uint_t                  burst, steady, share, pace, n, i;
    ngx_msec_t                  wait;
    ngx_http_klaviyo_budget_t   budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    burst = 1 + ngx_random() % 40;
    steady = 1 + ngx_random() % 400;
    share = 1 + ngx_random() % 100;
    pace = 1;
    now = START + ngx_random() % 100000;
    n = 0;

    for (i = 0; i < TAKES; i++) {

        if (i % 100 == 0) {
            pace = 1 + ngx_random() % 1500;
        }

        wait = ngx_http_klaviyo_budget_take(&budget, now, burst, steady,
                                            share);
        if (wait == 0) {
            times[n++] = now;
        }

        assert_in_range(wait, 0, 61000);

        switch (ngx_random() % 3) {

        case 0:
            now += wait;
            break;

        case 1:
            now += ngx_random() % pace;
            break;
        }
    }

    assert_in_range(n, 1, TAKES);
    assert_at_most(times, n, 1000, percent(burst, share));
    assert_at_most(times, n, 60000, percent(steady, share));
}


static void
no_second_and_no_minute_holds_more_than_our_share(void **state)
{
    ngx_uint_t  i;

    srandom(SEED);

    print_message("seed: %d\n", SEED);

    for (i = 0; i < ROUNDS; i++) {
        one_random_run();
    }
}


static ngx_uint_t
taken_in(ngx_uint_t msec, ngx_uint_t burst, ngx_uint_t steady,
    ngx_uint_t share)
{
    uint64_t                    now;
    ngx_uint_t                  n;
    ngx_msec_t                  wait;
    ngx_http_klaviyo_budget_t   budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    n = 0;

    for (now = START; now < START + msec; /* void */ ) {
        wait = ngx_http_klaviyo_budget_take(&budget, now, burst, steady,
                                            share);
        n += (wait == 0);
        now += wait;
    }

    return n;
}


static void
asked_all_the_time_it_grants_nearly_all_of_our_share(void **state)
{
    assert_in_range(taken_in(600000, 10, 1000000, 80), 600 * 8 * 85 / 100,
                    600 * 8 + 8);
    assert_in_range(taken_in(600000, 1, 1000000, 1), 600 * 85 / 100, 601);
    assert_in_range(taken_in(7200000, 10, 150, 80), 120 * 120 * 85 / 100,
                    120 * 120 + 120);
    assert_in_range(taken_in(7200000, 350, 3500, 100),
                    120 * 3500 * 85 / 100, 120 * 3500 + 3500);
}


static void
a_small_share_is_one_request_at_least(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 1, 1, 1), 0);
    assert_in_range(ngx_http_klaviyo_budget_take(&budget, START, 1, 1, 1),
                    57000, 61000);
}


static void
a_full_second_says_when_there_is_room_again(void **state)
{
    ngx_uint_t                 i;
    ngx_msec_t                 wait;
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    for (i = 0; i < 8; i++) {
        assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150,
                                                      80), 0);
    }

    wait = ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80);

    assert_in_range(wait, 1000, 1050);
    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START + wait, 10,
                                                  150, 80), 0);
}


static void
others_keep_their_part_of_what_headers_say_is_left(void **state)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, 150, 34, 20000);

    for (i = 0; i < 4; i++) {
        assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150,
                                                      80), 0);
    }

    assert_in_range(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                    20000, 21000);
    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START + 21000, 10,
                                                  150, 80), 0);
}


static void
the_observed_limit_is_what_the_others_part_is_of(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, 1000, 200, 20000);

    assert_in_range(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                    20000, 21000);

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, (ngx_uint_t) -1, 200,
                                    20000);

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                     0);
}


/* two requests on their way when the answer to the first one comes */

static void
an_answer_does_not_give_back_what_is_on_its_way(void **state)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, 150, 33, 20000);

    for (i = 0; i < 3; i++) {
        assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150,
                                                      80), 0);
    }

    ngx_http_klaviyo_budget_observe(&budget, START + 500, 150, 32, 19000);

    assert_in_range(ngx_http_klaviyo_budget_take(&budget, START + 500, 10, 150,
                                                 80), 1, 21000);
}


static void
the_headers_of_a_new_minute_replace_those_of_the_last(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, 150, 0, 1000);
    ngx_http_klaviyo_budget_observe(&budget, START + 1500, 150, 149, 59000);

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START + 1500, 10,
                                                  150, 80), 0);
}


static void
a_late_answer_of_the_last_minute_changes_nothing(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, 150, 149, 59000);
    ngx_http_klaviyo_budget_observe(&budget, START, 150, 0, 1000);

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                     0);
}


static void
headers_that_are_not_there_change_nothing(void **state)
{
    ngx_http_klaviyo_budget_t  budget, zero;

    ngx_memzero(&zero, sizeof(ngx_http_klaviyo_budget_t));
    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_observe(&budget, START, 150, (ngx_uint_t) -1,
                                    1000);

    assert_memory_equal(&budget, &zero, sizeof(ngx_http_klaviyo_budget_t));
}


static void
a_reset_that_is_missing_or_absurd_is_a_minute(void **state)
{
    ngx_msec_t                 resets[] = { (ngx_msec_t) -1,
                                            (ngx_msec_t) -2, 86400000 };
    ngx_uint_t                 i;
    ngx_http_klaviyo_budget_t  budget;

    for (i = 0; i < sizeof(resets) / sizeof(resets[0]); i++) {
        ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

        ngx_http_klaviyo_budget_observe(&budget, START, 150, 0, resets[i]);

        assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150,
                                                      80), 60000);
    }
}


static void
a_pause_is_never_shortened(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_pause(&budget, START, 90000);
    ngx_http_klaviyo_budget_pause(&budget, START, 10);

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                     90000);
    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START + 90000, 10,
                                                  150, 80), 0);
}


static void
a_pause_is_an_hour_at_most(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_pause(&budget, START, (ngx_msec_t) -1);

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                     3600000);
}


static void
a_pause_survives_what_garbage_left_there(void **state)
{
    ngx_http_klaviyo_budget_t  budget;

    ngx_memset(&budget, 0xff, sizeof(ngx_http_klaviyo_budget_t));

    ngx_http_klaviyo_budget_pause(&budget, START, 5000);

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                     5000);
}


static void
garbage_never_makes_anyone_wait_longer_than_a_minute(void **state)
{
    u_char                     *p;
    uint64_t                    now, waited;
    ngx_uint_t                  i, n;
    ngx_msec_t                  wait;
    ngx_http_klaviyo_budget_t   budget;

    srandom(SEED);

    for (n = 0; n < 20000; n++) {
        p = (u_char *) &budget;

        for (i = 0; i < sizeof(ngx_http_klaviyo_budget_t); i++) {
            p[i] = (n % 3) ? ngx_random() : (ngx_random() % 4 == 0);
        }

        if (n % 5 == 0) {
            budget.burst.tick = START / 50 + ngx_random() % 100;
            budget.steady.tick = START / 3000 + ngx_random() % 40;
        }

        budget.paused = (n % 2) ? budget.paused >> 40 : (uint64_t) -1;

        waited = 0;

        for (now = START; /* void */ ; now += wait) {
            wait = ngx_http_klaviyo_budget_take(&budget, now, 10, 150, 80);

            if (wait == 0) {
                break;
            }

            waited += wait;

            assert_in_range(wait, 1, 61000);
            assert_in_range(waited, 1, 66000);
        }
    }
}


static void
a_clock_that_goes_back_does_not_stop_anyone(void **state)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    for (i = 0; i < 120; i++) {
        (void) ngx_http_klaviyo_budget_take(&budget, START, 1000, 150, 80);
    }

    ngx_http_klaviyo_budget_observe(&budget, START, 150, 0, 59000);

    assert_int_not_equal(ngx_http_klaviyo_budget_take(&budget, START, 1000,
                                                      150, 80), 0);
    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, 5000, 1000, 150,
                                                  80), 0);
}


/* another process looked at the clock a little later */

static void
a_clock_that_lags_makes_no_room(void **state)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_budget_t  budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    for (i = 0; i < 8; i++) {
        assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150,
                                                      80), 0);
    }

    assert_in_range(ngx_http_klaviyo_budget_take(&budget, START - 200, 10, 150,
                                                 80), 1200, 1250);
}


static void
check_keeps_what_can_be_true(void **state)
{
    ngx_http_klaviyo_budget_t  budget, copy;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START, 10, 150, 80),
                     0);
    ngx_http_klaviyo_budget_observe(&budget, START, 150, 100, 59000);
    ngx_http_klaviyo_budget_pause(&budget, START, 3600000);

    copy = budget;
    ngx_http_klaviyo_budget_check(&budget, START - 200);

    assert_memory_equal(&budget, &copy, sizeof(ngx_http_klaviyo_budget_t));
}


static void
check_zeroes_what_is_of_another_boot(void **state)
{
    ngx_http_klaviyo_budget_t  budget, zero;

    ngx_memzero(&zero, sizeof(ngx_http_klaviyo_budget_t));
    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));

    assert_int_equal(ngx_http_klaviyo_budget_take(&budget, START * 10, 10, 150,
                                                  80), 0);
    ngx_http_klaviyo_budget_observe(&budget, START * 10, 150, 100, 59000);
    ngx_http_klaviyo_budget_pause(&budget, START * 10, 3600000);

    ngx_http_klaviyo_budget_check(&budget, START);

    assert_memory_equal(&budget, &zero, sizeof(ngx_http_klaviyo_budget_t));
}


static void
backoff_doubles_up_to_its_maximum(void **state)
{
    ngx_uint_t  n, i;
    ngx_msec_t  msec, ceiling, largest, sum;

    srandom(SEED);

    for (n = 0; n < 100; n++) {
        ceiling = (n < 9) ? (ngx_msec_t) 1000 << n : 300000;
        largest = 0;
        sum = 0;

        for (i = 0; i < 2000; i++) {
            msec = ngx_http_klaviyo_backoff(n, 1000, 300000);

            assert_in_range(msec, 1, ceiling);

            largest = ngx_max(largest, msec);
            sum += msec;
        }

        /* full jitter: all of the range, half of it on average */

        assert_in_range(largest, ceiling * 95 / 100, ceiling);
        assert_in_range(sum / 2000, ceiling * 45 / 100, ceiling * 55 / 100);
    }
}


static void
backoff_bears_any_number(void **state)
{
    ngx_msec_t  times[] = { 0, 1, 1000, NGX_MAX_INT32_VALUE,
                            NGX_MAX_INT_T_VALUE,
                            (ngx_msec_t) -1 };
    ngx_uint_t  n, i, j;

    for (n = 0; n < 200; n++) {
        for (i = 0; i < 6; i++) {
            for (j = 0; j < 6; j++) {
                assert_in_range(ngx_http_klaviyo_backoff(n, times[i],
                                                         times[j]),
                                1, ngx_max(times[j], 1));
            }
        }
    }
}


static void
the_budget_fits_into_its_place_in_shared_memory(void **state)
{
    assert_in_range(sizeof(ngx_http_klaviyo_budget_t), 1,
                    96 * sizeof(uint64_t));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(no_second_and_no_minute_holds_more_than_our_share),
        cmocka_unit_test(asked_all_the_time_it_grants_nearly_all_of_our_share),
        cmocka_unit_test(a_small_share_is_one_request_at_least),
        cmocka_unit_test(a_full_second_says_when_there_is_room_again),
        cmocka_unit_test(others_keep_their_part_of_what_headers_say_is_left),
        cmocka_unit_test(the_observed_limit_is_what_the_others_part_is_of),
        cmocka_unit_test(an_answer_does_not_give_back_what_is_on_its_way),
        cmocka_unit_test(the_headers_of_a_new_minute_replace_those_of_the_last),
        cmocka_unit_test(a_late_answer_of_the_last_minute_changes_nothing),
        cmocka_unit_test(headers_that_are_not_there_change_nothing),
        cmocka_unit_test(a_reset_that_is_missing_or_absurd_is_a_minute),
        cmocka_unit_test(a_pause_is_never_shortened),
        cmocka_unit_test(a_pause_is_an_hour_at_most),
        cmocka_unit_test(a_pause_survives_what_garbage_left_there),
        cmocka_unit_test(garbage_never_makes_anyone_wait_longer_than_a_minute),
        cmocka_unit_test(a_clock_that_goes_back_does_not_stop_anyone),
        cmocka_unit_test(a_clock_that_lags_makes_no_room),
        cmocka_unit_test(check_keeps_what_can_be_true),
        cmocka_unit_test(check_zeroes_what_is_of_another_boot),
        cmocka_unit_test(backoff_doubles_up_to_its_maximum),
        cmocka_unit_test(backoff_bears_any_number),
        cmocka_unit_test(the_budget_fits_into_its_place_in_shared_memory)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
