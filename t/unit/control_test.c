
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The control zone: generations, workers, slots of counters, wake-up, throttle.
 */


#include "unit_shm.h"
#include "unit_steps.h"
#include "ngx_http_klaviyo_control.h"

#include <poll.h>


#define SMALL  (1024 * 1024)


typedef struct {
    ngx_pool_t                  *pool;
    ngx_shm_zone_t              *zone;
    ngx_http_klaviyo_control_t  *control;
} fixture_t;


static ngx_http_klaviyo_control_t *
attach(fixture_t *f, void *old)
{
    ngx_http_klaviyo_control_t  *control;

    control = ngx_pcalloc(f->pool, sizeof(ngx_http_klaviyo_control_t));
    assert_non_null(control);

    f->zone->data = control;

    assert_int_equal(ngx_http_klaviyo_control_init_zone(f->zone, old), NGX_OK);

    return control;
}


/* the next generation */

static ngx_http_klaviyo_control_t *
reload(fixture_t *f)
{
    f->control = attach(f, f->control);

    assert_int_equal(ngx_http_klaviyo_control_commit(f->control), NGX_OK);

    return f->control;
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
    f->zone = unit_shm_zone(pool, "klaviyo_control", SMALL);

    (void) reload(f);

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

    (void) close(ngx_http_klaviyo_control_fd(f->control));

    unit_shm_free(f->zone);

    return unit_teardown(&pool);
}


static u_char *
key(ngx_uint_t n)
{
    ngx_uint_t     hash;
    static u_char  text[NGX_HTTP_KLAVIYO_KEY_LEN];

    /* the first thousand keys share a few buckets */

    hash = (n < 1000) ? n % 7 : n;

    ngx_memcpy(text, &hash, sizeof(ngx_uint_t));
    ngx_memcpy(&text[8], &n, sizeof(ngx_uint_t));

    return text;
}


/* takes slots, "from" on, until there are no more; how many there were */

static ngx_uint_t
fill(ngx_http_klaviyo_control_t *control, ngx_uint_t from)
{
    ngx_uint_t  n;

    for (n = 0;
         ngx_http_klaviyo_control_slot(control, key(from + n))
             != NGX_HTTP_KLAVIYO_OTHER;
         n++)
    {
        assert_in_range(n, 0, 100000);
    }

    return n;
}


static void
a_generation_is_made_by_each_commit(void **state)
{
    fixture_t                   *f = *state;
    ngx_http_klaviyo_control_t  *old;

    old = f->control;

    assert_int_equal(old->generation, 1);
    assert_int_equal(ngx_http_klaviyo_control_newest(old), 1);

    (void) reload(f);

    assert_int_equal(f->control->generation, 2);
    assert_int_equal(old->generation, 1);
    assert_int_equal(ngx_http_klaviyo_control_newest(old), 2);
}


static void
the_nonce_and_the_eventfd_are_made_once(void **state)
{
    fixture_t  *f = *state;
    uint64_t    nonce;
    ngx_fd_t    fd;

    nonce = ngx_http_klaviyo_control_nonce(f->control);
    fd = ngx_http_klaviyo_control_fd(f->control);

    assert_true(nonce != 0);
    assert_true(fd != -1);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

    (void) reload(f);

    assert_true(ngx_http_klaviyo_control_nonce(f->control) == nonce);
    assert_int_equal(ngx_http_klaviyo_control_fd(f->control), fd);
}


static void
attaching_makes_neither_generation_nor_eventfd(void **state)
{
    fixture_t                   *f = *state;
    ngx_fd_t                     fd;
    ngx_http_klaviyo_control_t  *control;

    fd = ngx_http_klaviyo_control_fd(f->control);

    control = attach(f, f->control);
    assert_ptr_equal(control->sh, f->control->sh);
    assert_ptr_equal(control->shpool, f->control->shpool);

    /* without the old cycle's handle */

    control = attach(f, NULL);
    assert_ptr_equal(control->sh, f->control->sh);

    assert_int_equal(ngx_http_klaviyo_control_newest(control), 1);
    assert_int_equal(ngx_http_klaviyo_control_fd(control), fd);
}


static void
another_layout_is_refused(void **state)
{
    fixture_t                   *f = *state;
    ngx_http_klaviyo_control_t   control;

    ngx_memzero(&control, sizeof(control));
    f->zone->data = &control;

    ((u_char *) f->control->sh)[8] ^= 1;

    assert_int_equal(ngx_http_klaviyo_control_init_zone(f->zone, f->control),
                     NGX_ERROR);
    assert_int_equal(ngx_http_klaviyo_control_init_zone(f->zone, NULL),
                     NGX_ERROR);

    ((u_char *) f->control->sh)[8] ^= 1;
}


static void
a_zone_that_is_too_small_is_refused(void **state)
{
    fixture_t                   *f = *state;
    ngx_shm_zone_t              *zone;
    ngx_http_klaviyo_control_t   control;

    zone = unit_shm_zone(f->pool, "small", 64 * 1024);
    zone->data = &control;

    assert_int_equal(ngx_http_klaviyo_control_init_zone(zone, NULL),
                     NGX_ERROR);

    unit_shm_free(zone);
}


static void
the_real_zone_has_tens_of_thousands_of_slots(void **state)
{
    fixture_t                   *f = *state;
    ngx_shm_zone_t              *zone;
    ngx_http_klaviyo_control_t   control;

    zone = unit_shm_zone(f->pool, NGX_HTTP_KLAVIYO_CONTROL_NAME,
                         NGX_HTTP_KLAVIYO_CONTROL_SIZE);
    zone->data = &control;

    assert_int_equal(ngx_http_klaviyo_control_init_zone(zone, NULL), NGX_OK);
    assert_true(fill(&control, 1000) > 50000);

    unit_shm_free(zone);
}


static void
a_key_has_one_slot_over_reloads(void **state)
{
    fixture_t   *f = *state;
    ngx_uint_t   i, slots[100];

    for (i = 0; i < 100; i++) {
        slots[i] = ngx_http_klaviyo_control_slot(f->control, key(i));

        assert_int_not_equal(slots[i], NGX_HTTP_KLAVIYO_OTHER);
        assert_true(i == 0 || slots[i] != slots[i - 1]);
    }

    (void) reload(f);

    for (i = 100; i > 0; i--) {
        assert_int_equal(ngx_http_klaviyo_control_slot(f->control, key(i - 1)),
                         slots[i - 1]);
    }
}


static void
a_new_slot_counts_from_zero(void **state)
{
    fixture_t                    *f = *state;
    ngx_uint_t                    i;
    ngx_http_klaviyo_counters_t  *counters, zero;

    ngx_memzero(&zero, sizeof(zero));

    counters = ngx_http_klaviyo_control_counters(f->control,
                   ngx_http_klaviyo_control_slot(f->control, key(0)));

    assert_memory_equal(counters, &zero, sizeof(zero));

    for (i = 0; i < 10; i++) {
        ngx_http_klaviyo_count(counters, seen);
    }

    assert_int_equal(counters->seen, 10);
}


static void
counters_of_any_number_are_valid(void **state)
{
    fixture_t                    *f = *state;
    ngx_http_klaviyo_counters_t  *other;

    other = ngx_http_klaviyo_control_counters(f->control,
                                              NGX_HTTP_KLAVIYO_OTHER);

    assert_ptr_equal(ngx_http_klaviyo_control_counters(f->control, 1), other);
    assert_ptr_equal(ngx_http_klaviyo_control_counters(f->control,
                                                       (ngx_uint_t) -1),
                     other);
}


static void
a_full_table_counts_under_other(void **state)
{
    fixture_t   *f = *state;
    ngx_uint_t   n;

    n = fill(f->control, 0);

    assert_true(n > 1000);

    assert_int_equal(ngx_http_klaviyo_control_slot(f->control, key(n + 1)),
                     NGX_HTTP_KLAVIYO_OTHER);
    assert_int_not_equal(ngx_http_klaviyo_control_slot(f->control, key(n / 2)),
                         NGX_HTTP_KLAVIYO_OTHER);
}


static void
slots_of_generations_that_are_gone_are_given_away(void **state)
{
    fixture_t   *f = *state;
    ngx_uint_t   n, kept;

    n = fill(f->control, 0);

    (void) reload(f);

    kept = ngx_http_klaviyo_control_slot(f->control, key(3));

    assert_int_equal(fill(f->control, 100000), n - 1);

    assert_int_equal(ngx_http_klaviyo_control_slot(f->control, key(3)), kept);
    assert_int_equal(ngx_http_klaviyo_control_slot(f->control, key(4)),
                     NGX_HTTP_KLAVIYO_OTHER);
}


static void
what_a_slot_counted_stays_in_the_total(void **state)
{
    fixture_t                    *f = *state;
    ngx_uint_t                    n, i;
    ngx_http_klaviyo_counters_t  *counters, sum;

    n = fill(f->control, 0);

    for (i = 0; i < n; i++) {
        counters = ngx_http_klaviyo_control_counters(f->control,
                       ngx_http_klaviyo_control_slot(f->control, key(i)));

        ngx_http_klaviyo_count_n(counters, seen, 3);
        ngx_http_klaviyo_count(counters, sent);
        ngx_http_klaviyo_count_n(counters,
                                 dropped[NGX_HTTP_KLAVIYO_DROP_FULL], 2);
    }

    (void) reload(f);
    assert_int_equal(fill(f->control, 100000), n);

    ngx_http_klaviyo_control_total(f->control, &sum);

    assert_int_equal(sum.seen, 3 * n);
    assert_int_equal(sum.sent, n);
    assert_int_equal(sum.dropped[NGX_HTTP_KLAVIYO_DROP_FULL], 2 * n);
    assert_int_equal(sum.queued, 0);

    counters = ngx_http_klaviyo_control_counters(f->control,
                                                 NGX_HTTP_KLAVIYO_OTHER);
    assert_int_equal(counters->seen, 3 * n);
}


static void
a_slot_with_events_left_is_not_given_away(void **state)
{
    fixture_t                    *f = *state;
    ngx_uint_t                    n;
    ngx_http_klaviyo_counters_t  *queued, *spooled;

    n = fill(f->control, 0);

    queued = ngx_http_klaviyo_control_counters(f->control, 5);
    spooled = ngx_http_klaviyo_control_counters(f->control, n);

    ngx_http_klaviyo_count(queued, queued);
    ngx_http_klaviyo_count(spooled, spooled);

    (void) reload(f);

    assert_int_equal(fill(f->control, 100000), n - 2);
    assert_int_equal(queued->queued, 1);

    ngx_http_klaviyo_count_n(queued, queued, -1);

    assert_int_equal(fill(f->control, 200000), 1);
}


static void
a_slot_that_an_old_worker_counts_in_is_not_given_away(void **state)
{
    int                          status;
    fixture_t                   *f = *state;
    ngx_pid_t                    pid;
    ngx_uint_t                   n;
    ngx_http_klaviyo_control_t  *first;

    /* rules of the first and second generation; a worker of the first lives */

    first = f->control;
    (void) reload(f);
    n = fill(f->control, 0);

    pid = unit_fork();

    if (pid == 0) {
        (void) ngx_http_klaviyo_control_enter(first);
        raise(SIGSTOP);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);

    (void) reload(f);

    assert_int_equal(fill(f->control, 100000), 0);

    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), -1);

    assert_int_equal(fill(f->control, 100000), n);
}


static void
no_two_processes_get_the_same_number(void **state)
{
    fixture_t   *f = *state;
    ngx_pid_t    pid;
    ngx_uint_t   i, n, last;

    last = ngx_http_klaviyo_control_enter(f->control);

    for (i = 0; i < 20; i++) {
        pid = unit_fork();

        if (pid == 0) {
            n = ngx_http_klaviyo_control_enter(f->control);
            ngx_http_klaviyo_control_leave(f->control);
            _exit((int) n);
        }

        n = unit_wait(pid);

        assert_true(n > last);
        last = n;
    }

    (void) reload(f);

    assert_true(ngx_http_klaviyo_control_enter(f->control) > last);
}


static void
workers_are_counted_up_to_a_generation(void **state)
{
    fixture_t                   *f = *state;
    ngx_http_klaviyo_control_t  *old;

    old = f->control;

    assert_int_equal(ngx_http_klaviyo_control_workers(old, 1), 0);

    (void) ngx_http_klaviyo_control_enter(old);
    (void) reload(f);

    assert_int_equal(ngx_http_klaviyo_control_workers(old, 0), 0);
    assert_int_equal(ngx_http_klaviyo_control_workers(old, 1), 1);
    assert_int_equal(ngx_http_klaviyo_control_workers(old, 2), 1);

    ngx_http_klaviyo_control_leave(old);

    assert_int_equal(ngx_http_klaviyo_control_workers(old, 2), 0);
}


static void
a_worker_that_died_is_forgotten(void **state)
{
    fixture_t  *f = *state;
    ngx_pid_t   pid;

    pid = unit_fork();

    if (pid == 0) {
        (void) ngx_http_klaviyo_control_enter(f->control);
        _exit(0);
    }

    (void) ngx_http_klaviyo_control_enter(f->control);
    (void) unit_wait(pid);

    assert_int_equal(ngx_http_klaviyo_control_workers(f->control, 1), 1);
}


static void
a_pid_that_is_used_again_counts_once(void **state)
{
    fixture_t  *f = *state;

    (void) ngx_http_klaviyo_control_enter(f->control);
    (void) reload(f);
    (void) ngx_http_klaviyo_control_enter(f->control);

    assert_int_equal(ngx_http_klaviyo_control_workers(f->control, 1), 0);
    assert_int_equal(ngx_http_klaviyo_control_workers(f->control, 2), 1);
}


static void
a_full_table_of_the_dead_has_room(void **state)
{
    fixture_t   *f = *state;
    ngx_pid_t    self, dead;
    ngx_uint_t   i;

    self = ngx_pid;
    dead = unit_dead_pid();

    /* pids beyond the largest that there can be */

    for (i = 1; i < NGX_HTTP_KLAVIYO_MAX_PROCESSES; i++) {
        ngx_pid = 0x40000000 + i;
        (void) ngx_http_klaviyo_control_enter(f->control);
    }

    ngx_pid = dead;
    (void) ngx_http_klaviyo_control_enter(f->control);

    ngx_pid = self;
    (void) ngx_http_klaviyo_control_enter(f->control);

    assert_int_equal(ngx_http_klaviyo_control_workers(f->control, 1), 1);
}


static void
an_account_has_one_state(void **state)
{
    fixture_t                         *f = *state;
    ngx_uint_t                         i;
    ngx_http_klaviyo_account_state_t  *first, *account;

    first = ngx_http_klaviyo_control_account(f->control, key(0));

    assert_non_null(first);
    assert_memory_equal(first->key, key(0), NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_int_equal(first->state, NGX_HTTP_KLAVIYO_SENDER_OK);

    for (i = 1; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        account = ngx_http_klaviyo_control_account(f->control, key(i));

        assert_non_null(account);
        assert_ptr_not_equal(account, first);
    }

    assert_null(ngx_http_klaviyo_control_account(f->control, key(i)));

    (void) reload(f);

    assert_ptr_equal(ngx_http_klaviyo_control_account(f->control, key(0)),
                     first);
}


/* makes states, "from" on, until there are no more; how many there were */

static ngx_uint_t
fill_states(ngx_http_klaviyo_control_t *control, ngx_uint_t from)
{
    ngx_uint_t  n;

    for (n = 0;
         ngx_http_klaviyo_control_account(control, key(from + n)) != NULL;
         n++)
    {
        assert_in_range(n, 0, NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);
    }

    return n;
}


static void
states_of_accounts_that_are_gone_are_given_away(void **state)
{
    fixture_t                         *f = *state;
    ngx_http_klaviyo_account_state_t  *kept, *account;

    assert_int_equal(fill_states(f->control, 0),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);

    account = ngx_http_klaviyo_control_account(f->control, key(7));
    account->requests = 5;
    account->spool_seq = 40;
    account->budget[0] = 1;

    (void) reload(f);
    kept = ngx_http_klaviyo_control_account(f->control, key(3));

    ngx_http_klaviyo_control_mark(f->control, key(9));
    ngx_http_klaviyo_control_mark(f->control, key(90));

    assert_int_equal(fill_states(f->control, 100),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS - 2);

    assert_memory_equal(kept->key, key(3), NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_ptr_equal(ngx_http_klaviyo_control_account(f->control, key(3)),
                     kept);
    assert_non_null(ngx_http_klaviyo_control_account(f->control, key(9)));
    assert_null(ngx_http_klaviyo_control_account(f->control, key(7)));

    /* it counts from zero, and makes no number of a segment again */

    assert_int_equal(account->requests, 0);
    assert_int_equal(account->budget[0], 0);
    assert_true(account->spool_seq >= 40);
}


static void
the_state_that_nobody_has_for_longest_goes_first(void **state)
{
    fixture_t                         *f = *state;
    ngx_uint_t                         i;
    ngx_http_klaviyo_account_state_t  *account;

    assert_int_equal(fill_states(f->control, 0),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);
    (void) reload(f);

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        if (i != 20) {
            ngx_http_klaviyo_control_mark(f->control, key(i));
        }
    }

    account = &ngx_http_klaviyo_control_account(f->control, key(19))[1];
    assert_memory_equal(account->key, key(20), NGX_HTTP_KLAVIYO_KEY_LEN);

    (void) reload(f);

    assert_ptr_equal(ngx_http_klaviyo_control_account(f->control, key(100)),
                     account);
}


static void
a_state_with_a_segment_in_the_middle_is_not_given_away(void **state)
{
    fixture_t                         *f = *state;
    ngx_http_klaviyo_account_state_t  *account;

    assert_int_equal(fill_states(f->control, 0),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);

    account = ngx_http_klaviyo_control_account(f->control, key(7));
    account->spool_reading = 1;

    (void) reload(f);

    assert_int_equal(fill_states(f->control, 100),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS - 1);
    assert_ptr_equal(ngx_http_klaviyo_control_account(f->control, key(7)),
                     account);
}


/* "enters" says as what */

static void
one_of_old_keeps_the_states(fixture_t *f,
    void (*enters)(ngx_http_klaviyo_control_t *control))
{
    int         status;
    ngx_pid_t   pid;

    assert_int_equal(fill_states(f->control, 0),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);

    pid = unit_fork();

    if (pid == 0) {
        enters(f->control);
        raise(SIGSTOP);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);

    (void) reload(f);

    assert_int_equal(fill_states(f->control, 100), 0);

    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), -1);

    assert_int_equal(fill_states(f->control, 100),
                     NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);
}


static void
enter(ngx_http_klaviyo_control_t *control)
{
    (void) ngx_http_klaviyo_control_enter(control);
}


static void
a_state_of_an_old_worker_is_not_given_away(void **state)
{
    one_of_old_keeps_the_states(*state, enter);
}


static void
a_state_that_an_old_process_writes_is_not_given_away(void **state)
{
    one_of_old_keeps_the_states(*state, ngx_http_klaviyo_control_attend);
}


static void
the_background_process_is_no_worker(void **state)
{
    fixture_t  *f = *state;

    ngx_http_klaviyo_control_attend(f->control);
    assert_int_equal(ngx_http_klaviyo_control_workers(f->control, 1), 0);

    (void) ngx_http_klaviyo_control_enter(f->control);
    assert_int_equal(ngx_http_klaviyo_control_workers(f->control, 1), 1);
}


static void
a_state_moves_into_the_table(void **state)
{
    fixture_t                         *f = *state;
    ngx_http_klaviyo_account_state_t   own, *account;

    ngx_memset(&own, 1, sizeof(own));
    account = ngx_http_klaviyo_control_account(f->control, key(0));

    ngx_http_klaviyo_control_move(account, &own);

    assert_memory_equal(account->key, key(0), NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_int_equal(account->used, 1);
    assert_int_equal(account->generation, 1);
    assert_int_equal(account->state, own.state);
    assert_int_equal(account->spool_oldest, own.spool_oldest);
    assert_int_equal(account->spool_seq, own.spool_seq);
    assert_true(account->spool_reading == own.spool_reading);
    assert_true(account->spool_offset == own.spool_offset);
    assert_memory_equal(account->refusals, own.refusals,
                        sizeof(own.refusals));
    assert_memory_equal(account->budget, own.budget, sizeof(own.budget));
}


#if (UNIT_HAVE_STEPS)

static void
exchange(void *data)
{
    fixture_t  *f = data;

    (void) ngx_http_klaviyo_control_account(f->control, key(100));
}


/* whoever comes next finds each account once, and a state for the new one */

static void
all_have_a_state(void *data, ngx_uint_t end)
{
    fixture_t                         *f = data;
    ngx_uint_t                         i, k;
    ngx_http_klaviyo_account_state_t  *states[NGX_HTTP_KLAVIYO_MAX_ACCOUNTS];

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        states[i] = ngx_http_klaviyo_control_account(f->control,
                                                     key(i ? i : 100));
        assert_non_null(states[i]);
        assert_int_equal(states[i]->requests, i);
        assert_int_equal(states[i]->used, 1);

        for (k = 0; k < i; k++) {
            assert_ptr_not_equal(states[k], states[i]);
        }
    }

    assert_null(ngx_http_klaviyo_control_account(f->control, key(0)));
}


static void
a_process_may_die_while_it_gives_a_state_away(void **state)
{
    fixture_t     *f = *state;
    ngx_uint_t     i;
    unit_steps_t   s;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        ngx_http_klaviyo_control_account(f->control, key(i))->requests = i;
    }

    (void) reload(f);

    for (i = 1; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        ngx_http_klaviyo_control_mark(f->control, key(i));
    }

    ngx_memzero(&s, sizeof(unit_steps_t));

    s.zone = f->zone;
    s.data = f;
    s.run = exchange;
    s.check = all_have_a_state;

    unit_steps(&s);
}

#endif


static ngx_uint_t
readable(fixture_t *f)
{
    struct pollfd  pfd;

    pfd.fd = ngx_http_klaviyo_control_fd(f->control);
    pfd.events = POLLIN;

    return poll(&pfd, 1, 0) == 1;
}


static void
one_who_sleeps_is_woken_once(void **state)
{
    fixture_t  *f = *state;

    ngx_http_klaviyo_control_wake(f->control);
    assert_false(readable(f));

    ngx_http_klaviyo_control_sleep(f->control);
    assert_false(readable(f));

    ngx_http_klaviyo_control_wake(f->control);
    assert_true(readable(f));

    ngx_http_klaviyo_control_awake(f->control);
    assert_false(readable(f));

    ngx_http_klaviyo_control_wake(f->control);
    assert_false(readable(f));

    ngx_http_klaviyo_control_sleep(f->control);
    ngx_http_klaviyo_control_awake(f->control);
    ngx_http_klaviyo_control_wake(f->control);
    assert_false(readable(f));
}


/*
 * The other side publishes by counting up; this side sleeps only if it has
 * seen all: a wake-up that was lost would let poll() wait in vain.
 */

static void
no_wake_up_is_lost_between_two_processes(void **state)
{
    int               n;
    fixture_t        *f = *state;
    ngx_pid_t         pid;
    ngx_uint_t        i, seen, total;
    ngx_atomic_t     *published;
    struct pollfd     pfd;

    total = 20000;
    seen = 0;

    published = mmap(NULL, ngx_pagesize, PROT_READ|PROT_WRITE,
                     MAP_ANON|MAP_SHARED, -1, 0);
    assert_true((void *) published != MAP_FAILED);

    pid = unit_fork();

    if (pid == 0) {
        for (i = 1; i <= total; i++) {
            published[0] = i;
            ngx_http_klaviyo_control_wake(f->control);

            /* the next one only when this one was seen */

            while (published[8] < i) {
                ngx_sched_yield();
            }
        }

        _exit(0);
    }

    pfd.fd = ngx_http_klaviyo_control_fd(f->control);
    pfd.events = POLLIN;

    while (seen < total) {
        ngx_http_klaviyo_control_sleep(f->control);

        if (published[0] == seen) {
            n = poll(&pfd, 1, 5000);

            if (n != 1) {
                kill(pid, SIGKILL);
                (void) unit_wait(pid);
                fail_msg("asleep after %d of %d", (int) seen, (int) total);
            }
        }

        ngx_http_klaviyo_control_awake(f->control);

        seen = published[0];
        published[8] = seen;
    }

    assert_int_equal(unit_wait(pid), 0);

    munmap((void *) published, ngx_pagesize);
}


/* the start of a process that then dies without a word */

static ngx_msec_t
crash(fixture_t *f)
{
    ngx_pid_t    pid;
    ngx_msec_t  *delay, msec;

    delay = mmap(NULL, ngx_pagesize, PROT_READ|PROT_WRITE,
                 MAP_ANON|MAP_SHARED, -1, 0);
    assert_true(delay != MAP_FAILED);

    pid = unit_fork();

    if (pid == 0) {
        *delay = ngx_http_klaviyo_control_start(f->control);
        _exit(0);
    }

    (void) unit_wait(pid);

    msec = *delay;
    munmap(delay, ngx_pagesize);

    return msec;
}


static void
quick_deaths_are_throttled(void **state)
{
    time_t       beat;
    fixture_t   *f = *state;
    ngx_pid_t    pid;
    ngx_uint_t   i, starts, crashes;
    ngx_msec_t   delay;

    assert_int_equal(crash(f), 0);

    for (i = 0, delay = 100; i < 15; i++, delay = ngx_min(delay * 2, 60000)) {

        assert_int_equal(crash(f), delay);

        /* it waits as it was told, and dies as soon as it may work */

        ngx_current_msec += delay + 1000;
    }

    assert_int_equal(delay, 60000);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(starts, 16);
    assert_int_equal(crashes, 15);
}


static void
a_late_death_is_a_crash_without_a_throttle(void **state)
{
    time_t       beat;
    fixture_t   *f = *state;
    ngx_pid_t    pid;
    ngx_uint_t   starts, crashes;

    (void) crash(f);
    assert_int_equal(crash(f), 100);

    ngx_current_msec += 100 + 10000;

    assert_int_equal(crash(f), 0);
    assert_int_equal(crash(f), 100);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(crashes, 3);
}


static void
one_that_settled_resets_the_throttle(void **state)
{
    time_t       beat;
    fixture_t   *f = *state;
    ngx_pid_t    pid, child;
    ngx_uint_t   starts, crashes;

    (void) crash(f);
    assert_int_equal(crash(f), 100);

    child = unit_fork();

    if (child == 0) {
        (void) ngx_http_klaviyo_control_start(f->control);
        ngx_http_klaviyo_control_settle(f->control);
        _exit(0);
    }

    (void) unit_wait(child);

    /* it ended in good order */

    assert_int_equal(crash(f), 0);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(starts, 4);
    assert_int_equal(crashes, 2);
}


static void
one_that_settled_and_went_on_can_still_crash(void **state)
{
    time_t       beat;
    fixture_t   *f = *state;
    ngx_pid_t    pid, child;
    ngx_uint_t   starts, crashes;

    child = unit_fork();

    if (child == 0) {
        (void) ngx_http_klaviyo_control_start(f->control);
        ngx_http_klaviyo_control_settle(f->control);
        ngx_http_klaviyo_control_beat(f->control);
        _exit(0);
    }

    (void) unit_wait(child);

    assert_int_equal(ngx_http_klaviyo_control_start(f->control), 0);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(pid, ngx_pid);
    assert_int_equal(starts, 2);
    assert_int_equal(crashes, 1);
}


static void
one_that_is_still_there_has_not_crashed(void **state)
{
    int          status;
    time_t       beat;
    fixture_t   *f = *state;
    ngx_pid_t    pid, child;
    ngx_uint_t   starts, crashes;

    child = unit_fork();

    if (child == 0) {
        (void) ngx_http_klaviyo_control_start(f->control);
        raise(SIGSTOP);

        /* the end of the old one isn't the new one's */

        ngx_http_klaviyo_control_settle(f->control);
        ngx_http_klaviyo_control_beat(f->control);
        _exit(0);
    }

    assert_int_equal(waitpid(child, &status, WUNTRACED), child);

    (void) reload(f);

    assert_int_equal(crash(f), 0);

    kill(child, SIGCONT);
    assert_int_equal(unit_wait(child), 0);

    assert_int_equal(crash(f), 100);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(starts, 3);
    assert_int_equal(crashes, 1);
}


static void
the_heart_beats(void **state)
{
    time_t       beat;
    fixture_t   *f = *state;
    ngx_pid_t    pid;
    ngx_uint_t   starts, crashes;

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(pid, 0);
    assert_int_equal(beat, 0);

    (void) ngx_http_klaviyo_control_start(f->control);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(pid, ngx_pid);
    assert_int_equal(beat, ngx_time());

    ngx_cached_time->sec += 5;
    ngx_http_klaviyo_control_beat(f->control);

    ngx_http_klaviyo_control_health(f->control, &pid, &beat, &starts,
                                    &crashes);
    assert_int_equal(beat, ngx_time());
}


#define control_test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        control_test(a_generation_is_made_by_each_commit),
        control_test(the_nonce_and_the_eventfd_are_made_once),
        control_test(attaching_makes_neither_generation_nor_eventfd),
        control_test(another_layout_is_refused),
        control_test(a_zone_that_is_too_small_is_refused),
        control_test(the_real_zone_has_tens_of_thousands_of_slots),
        control_test(a_key_has_one_slot_over_reloads),
        control_test(a_new_slot_counts_from_zero),
        control_test(counters_of_any_number_are_valid),
        control_test(a_full_table_counts_under_other),
        control_test(slots_of_generations_that_are_gone_are_given_away),
        control_test(what_a_slot_counted_stays_in_the_total),
        control_test(a_slot_with_events_left_is_not_given_away),
        control_test(a_slot_that_an_old_worker_counts_in_is_not_given_away),
        control_test(no_two_processes_get_the_same_number),
        control_test(workers_are_counted_up_to_a_generation),
        control_test(a_worker_that_died_is_forgotten),
        control_test(a_pid_that_is_used_again_counts_once),
        control_test(a_full_table_of_the_dead_has_room),
        control_test(an_account_has_one_state),
        control_test(states_of_accounts_that_are_gone_are_given_away),
        control_test(the_state_that_nobody_has_for_longest_goes_first),
        control_test(a_state_with_a_segment_in_the_middle_is_not_given_away),
        control_test(a_state_of_an_old_worker_is_not_given_away),
        control_test(a_state_that_an_old_process_writes_is_not_given_away),
        control_test(the_background_process_is_no_worker),
        control_test(a_state_moves_into_the_table),
#if (UNIT_HAVE_STEPS)
        control_test(a_process_may_die_while_it_gives_a_state_away),
#endif
        control_test(one_who_sleeps_is_woken_once),
        control_test(no_wake_up_is_lost_between_two_processes),
        control_test(quick_deaths_are_throttled),
        control_test(a_late_death_is_a_crash_without_a_throttle),
        control_test(one_that_settled_resets_the_throttle),
        control_test(one_that_settled_and_went_on_can_still_crash),
        control_test(one_that_is_still_there_has_not_crashed),
        control_test(the_heart_beats)
    };

    /* an event or a wake-up that is lost must not be waited for */

    alarm(300);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
