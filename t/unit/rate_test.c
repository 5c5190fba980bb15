
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The rate that several masters share, and what may stand in its file.
 */


#include "unit_folder.h"
#include "ngx_http_klaviyo_rate.h"

#include <sys/file.h>


#define NOW    86400000


typedef struct {
    ngx_pool_t                      *pool;
    char                             folder[64];
    char                             path[128];
    ngx_http_klaviyo_directory_t     spool;
    ngx_http_klaviyo_account_t       account;
    ngx_http_klaviyo_budget_t        budgets[2];
    ngx_http_klaviyo_rate_t          rates[2];
} fixture_t;


static int
setup(void **state)
{
    void        *pool;
    fixture_t   *f;
    ngx_uint_t   i;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    ngx_time_init();

    f = ngx_pcalloc(pool, sizeof(fixture_t));
    f->pool = pool;

    strcpy(f->folder, P_tmpdir "/klaviyo-unit-XXXXXX");

    if (mkdtemp(f->folder) == NULL) {
        return -1;
    }

    sprintf(f->path, "%s/shop.rate", f->folder);

    f->spool.path.data = (u_char *) f->folder;
    f->spool.path.len = strlen(f->folder);
    f->spool.user = (ngx_uid_t) NGX_CONF_UNSET_UINT;
    f->spool.log = f->pool->log;

    ngx_str_set(&f->account.name, "shop");
    f->account.burst = 10;
    f->account.steady = 100;
    f->account.share = 100;

    for (i = 0; i < 2; i++) {
        f->rates[i].account = &f->account;
        f->rates[i].budget = &f->budgets[i];
        f->rates[i].log = f->pool->log;
        ngx_http_klaviyo_rate_boot(&f->rates[i].boot);

        if (ngx_http_klaviyo_rate_init(&f->rates[i], pool, &f->spool)
            != NGX_OK)
        {
            return -1;
        }
    }

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

    unit_folder_remove(f->folder);

    return unit_teardown(&pool);
}


static ngx_msec_t
take(fixture_t *f, ngx_uint_t n, uint64_t now)
{
    return ngx_http_klaviyo_rate_take(&f->rates[n], now);
}


/* how many it is granted at once */

static ngx_uint_t
taken(fixture_t *f, ngx_uint_t n, uint64_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < 1000; i++) {
        if (take(f, n, now)) {
            break;
        }
    }

    return i;
}


static void
put_file(fixture_t *f, void *data, size_t len)
{
    int  fd;

    fd = open(f->path, O_WRONLY|O_CREAT|O_TRUNC, 0600);
    assert_true(fd != -1);
    assert_int_equal(write(fd, data, len), len);
    (void) close(fd);
}


static void
two_masters_share_one_rate(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i, n[2];
    uint64_t    now;

    n[0] = 0;
    n[1] = 0;

    for (i = 0; i < 30; i++) {
        n[i % 2] += (take(f, i % 2, NOW) == 0);
    }

    assert_int_equal(n[0], 5);
    assert_int_equal(n[1], 5);

    /* and the minute, whoever asks when */

    for (now = NOW; now < NOW + 50000; now += 100) {
        n[(now / 100) % 2] += (take(f, (now / 100) % 2, now) == 0);
    }

    assert_int_equal(n[0] + n[1], 100);
    assert_in_range(n[0], 30, 70);
}


static void
who_comes_later_goes_on_counting(void **state)
{
    fixture_t *f = *state;

    assert_int_equal(taken(f, 0, NOW), 10);
    assert_int_equal(taken(f, 1, NOW + 10), 0);
    assert_int_equal(taken(f, 1, NOW + 2000), 10);
}


static void
a_pause_of_one_is_the_others_pause(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_budget_pause(&f->budgets[0], NOW, 5000);

    assert_int_equal(take(f, 0, NOW), 5000);
    assert_int_equal(take(f, 1, NOW + 1000), 4000);
    assert_int_equal(take(f, 1, NOW + 5000), 0);
}


static void
what_headers_said_to_one_holds_for_the_other(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_budget_observe(&f->budgets[0], NOW, 100, 3, 30000);

    assert_int_equal(take(f, 0, NOW), 0);
    assert_int_equal(take(f, 1, NOW), 0);
    assert_int_equal(take(f, 0, NOW), 0);
    assert_in_range(take(f, 1, NOW), 30000, 31000);
    assert_in_range(take(f, 0, NOW), 30000, 31000);
}


static void
the_file_is_of_one_user_and_one_size(void **state)
{
    fixture_t *f = *state;

    struct stat  st;

    (void) taken(f, 0, NOW);
    (void) taken(f, 1, NOW + 5000);

    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, sizeof(ngx_http_klaviyo_rate_file_t));
}


static void
a_file_that_is_cut_or_changed_is_none(void **state)
{
    u_char                       *p;
    size_t                        len;
    ngx_uint_t                    i, bit;
    ngx_http_klaviyo_boot_t       boot;
    ngx_http_klaviyo_budget_t     in, out;
    ngx_http_klaviyo_rate_file_t  file;

    ngx_http_klaviyo_rate_boot(&boot);

    ngx_memset(&in, 1, sizeof(ngx_http_klaviyo_budget_t));
    ngx_http_klaviyo_rate_encode(&file, &boot, &in);

    len = sizeof(ngx_http_klaviyo_rate_file_t);
    p = (u_char *) &file;

    assert_int_equal(ngx_http_klaviyo_rate_decode(&file, len, &boot, &out),
                     NGX_OK);
    assert_memory_equal(&in, &out, sizeof(ngx_http_klaviyo_budget_t));

    for (i = 0; i < len; i++) {
        assert_int_equal(ngx_http_klaviyo_rate_decode(&file, i, &boot, &out),
                         NGX_DECLINED);
    }

    for (i = 0; i < len; i++) {
        for (bit = 1; bit < 256; bit <<= 1) {
            p[i] ^= bit;
            assert_int_equal(ngx_http_klaviyo_rate_decode(&file, len, &boot,
                                                          &out),
                             NGX_DECLINED);
            p[i] ^= bit;
        }
    }
}


/* an hour's pause of one, and what the other makes of it so much later */

static ngx_msec_t
pause_seen(fixture_t *f, int64_t later)
{
    ngx_memzero(f->budgets, sizeof(f->budgets));
    (void) unlink(f->path);

    ngx_http_klaviyo_budget_pause(&f->budgets[0], NOW, 3600000);
    assert_int_equal(take(f, 0, NOW), 3600000);

    return take(f, 1, NOW + later);
}


static void
a_pause_of_another_boot_is_over(void **state)
{
    fixture_t *f = *state;

    /* that of this one isn't, whatever the clock on the wall says */

    assert_true(f->rates[1].boot.id[0] != 0);
    assert_int_equal(pause_seen(f, 60000), 3540000);
    assert_int_equal(pause_seen(f, -500), 3600500);

    f->rates[1].boot.id[0] ^= 1;
    assert_int_equal(pause_seen(f, 60000), 0);
    assert_int_equal(pause_seen(f, -60000), 0);

    /* nothing is wrong with the file; it is the other's now */

    assert_int_equal(f->rates[1].damaged, 0);
    f->budgets[0].paused = 0;
    assert_int_equal(taken(f, 0, NOW), 10);
    assert_int_equal(f->rates[0].damaged, 0);
}


static void
without_an_id_the_boot_is_told_by_its_begin(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        ngx_memzero(f->rates[i].boot.id, sizeof(f->rates[i].boot.id));

        assert_int_equal(pause_seen(f, 1000), 3599000);
        assert_int_equal(pause_seen(f, -1000), 3601000);
        assert_int_equal(pause_seen(f, 10000), 0);
        assert_int_equal(pause_seen(f, -10000), 0);
    }
}


/* each container has an id, all have the host's clock */

static void
with_ids_of_their_own_two_share_the_host_s_clock(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i, n[2];

    f->rates[1].boot.id[0] ^= 1;
    n[0] = 0;
    n[1] = 0;

    for (i = 0; i < 30; i++) {
        n[i % 2] += (take(f, i % 2, NOW) == 0);
    }

    assert_int_equal(n[0], 5);
    assert_int_equal(n[1], 5);
}


static void
a_file_of_the_first_version_counts_as_empty(void **state)
{
    fixture_t *f = *state;

    struct {
        u_char                     magic[8];
        ngx_http_klaviyo_budget_t  budget;
        uint32_t                   size;
        uint32_t                   crc;
    } file;

    ngx_memzero(&file, sizeof(file));
    ngx_memcpy(file.magic, "klavrate", 8);
    ngx_http_klaviyo_budget_pause(&file.budget, NOW, 3600000);
    file.size = sizeof(file);
    file.crc = ngx_crc32_long((u_char *) &file, sizeof(file) - 4);
    put_file(f, &file, sizeof(file));

    assert_int_equal(taken(f, 0, NOW), 10);
    assert_int_equal(f->rates[0].damaged, 0);
    assert_int_equal(taken(f, 1, NOW), 0);
}


/* neither stops anyone nor gives more than the rate */

static void
whatever_stands_there_the_rate_is_kept(void **state)
{
    fixture_t *f = *state;

    u_char                        garbage[400];
    ngx_uint_t                    i, j, n;
    ngx_http_klaviyo_rate_file_t  file;

    for (i = 0; i < 300; i++) {

        for (j = 0; j < sizeof(garbage); j++) {
            garbage[j] = ngx_random();
        }

        n = taken(f, 0, NOW + i * 10000);

        if (i % 2) {
            put_file(f, garbage, ngx_random() % sizeof(garbage));

        } else {
            ngx_memcpy(&file, garbage, sizeof(ngx_http_klaviyo_rate_file_t));
            file.budget.burst.tick = (uint64_t) -1;
            file.budget.steady.tick = NOW;
            file.budget.paused = (uint64_t) -1;
            file.budget.reset = NOW + (uint64_t) 1000000000;
            ngx_http_klaviyo_rate_encode(&file, &f->rates[0].boot,
                                         &file.budget);
            put_file(f, &file, sizeof(ngx_http_klaviyo_rate_file_t));
        }

        n += taken(f, 0, NOW + i * 10000);

        assert_int_equal(n, 10);
    }
}


/* a valid one full of counts: nobody waits longer than they could be true */

static void
a_lie_stops_nobody_for_longer_than_a_minute(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_budget_t     budget;
    ngx_http_klaviyo_rate_file_t  file;

    ngx_memset(&budget, 0xff, sizeof(ngx_http_klaviyo_budget_t));
    budget.burst.tick = NOW / 50;
    budget.steady.tick = NOW / 3000;
    budget.paused = 0;
    budget.reset = 0;
    ngx_http_klaviyo_rate_encode(&file, &f->rates[0].boot, &budget);
    put_file(f, &file, sizeof(ngx_http_klaviyo_rate_file_t));

    assert_in_range(take(f, 0, NOW), 1, 63000);
    assert_int_equal(take(f, 0, NOW + 64000), 0);
}


static void
a_lock_that_another_holds_delays_and_no_more(void **state)
{
    fixture_t *f = *state;

    int         fd;
    ngx_uint_t  i;
    ngx_msec_t  wait;

    put_file(f, "", 0);

    fd = open(f->path, O_RDWR);
    assert_true(fd != -1);
    assert_int_equal(flock(fd, LOCK_EX|LOCK_NB), 0);

    for (i = 0; i < 1000; i++) {
        wait = take(f, 0, NOW);

        if (wait == 0) {
            break;
        }

        assert_int_equal(wait, 10);
    }

    assert_in_range(i, 1, 100);
    assert_int_equal(taken(f, 0, NOW), 9);

    /* what was taken meanwhile is known to the others when it is free */

    (void) close(fd);
    assert_int_equal(taken(f, 0, NOW + 500), 0);
    assert_int_equal(take(f, 0, NOW + 2000), 0);
    f->account.steady = 10;
    assert_int_equal(taken(f, 1, NOW + 2000), 0);
}


static void
without_a_file_each_counts_for_itself(void **state)
{
    fixture_t *f = *state;

    char  other[128];

    /* a directory */
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(taken(f, 0, NOW), 10);
    assert_int_equal(rmdir(f->path), 0);

    /* a pipe without a reader */
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(taken(f, 0, NOW + 10000), 10);
    assert_int_equal(unlink(f->path), 0);

    /* a link to somebody's file */
    sprintf(other, "%s/other", f->folder);
    assert_int_equal(symlink(other, f->path), 0);
    assert_int_equal(taken(f, 0, NOW + 20000), 10);
    assert_int_equal(access(other, F_OK), -1);
    assert_int_equal(unlink(f->path), 0);

    /* no folder */
    unit_folder_remove(f->folder);
    assert_int_equal(taken(f, 0, NOW + 30000), 10);
    assert_int_equal(taken(f, 0, NOW + 30000), 0);
    assert_int_equal(taken(f, 1, NOW + 30000), 10);
}


static void
a_dry_run_touches_no_file(void **state)
{
    fixture_t *f = *state;

    f->account.dry_run = 1;

    assert_int_equal(taken(f, 0, NOW), 10);
    assert_int_equal(access(f->path, F_OK), -1);
}


int
main(void)
{
#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

    const struct CMUnitTest  tests[] = {
        test(two_masters_share_one_rate),
        test(who_comes_later_goes_on_counting),
        test(a_pause_of_one_is_the_others_pause),
        test(what_headers_said_to_one_holds_for_the_other),
        test(the_file_is_of_one_user_and_one_size),
        test(a_file_that_is_cut_or_changed_is_none),
        test(a_pause_of_another_boot_is_over),
        test(without_an_id_the_boot_is_told_by_its_begin),
        test(with_ids_of_their_own_two_share_the_host_s_clock),
        test(a_file_of_the_first_version_counts_as_empty),
        test(whatever_stands_there_the_rate_is_kept),
        test(a_lie_stops_nobody_for_longer_than_a_minute),
        test(a_lock_that_another_holds_delays_and_no_more),
        test(without_a_file_each_counts_for_itself),
        test(a_dry_run_touches_no_file)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
