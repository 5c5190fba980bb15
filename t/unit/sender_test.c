
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The sender of an account and what becomes of what it sent, with a transport
 * that answers as the test says.
 */


#include "unit_folder.h"
#include "unit_queue.h"
#include "ngx_http_klaviyo_sender.h"

#include <sys/stat.h>


#define CALLS    256

#define INVALID                                                               \
    "{\"errors\":[{\"status\":400,\"code\":\"invalid\","                      \
    "\"title\":\"Invalid input.\",\"detail\":\"bad\","                        \
    "\"source\":{\"pointer\":\"/data/\"}}]}"

#define REPEATED                                                              \
    "{\"errors\":[{\"status\":400,\"code\":\"duplicate\","                    \
    "\"title\":\"Duplicate\",\"detail\":\"unique_id already exists\","        \
    "\"source\":{\"pointer\":\"/data/attributes/events-bulk-create/data/0/"   \
    "attributes/events/data/0/attributes/unique_id\"}}]}"

#define DENIED                                                                \
    "{\"errors\":[{\"status\":401,\"code\":\"Not authenticated!\"}]}"


struct ngx_http_klaviyo_call_s {
    ngx_http_klaviyo_post_t          post;
    ngx_str_t                        body;
    ngx_uint_t                       open;
};


typedef struct {
    ngx_pool_t                      *pool;
    char                             folder[64];
    ngx_http_klaviyo_directory_t     spool;
    ngx_http_klaviyo_account_t       account;
    ngx_http_klaviyo_sender_t        sender;
    ngx_http_klaviyo_counters_t     *counters;
    ngx_uint_t                       ended;
    ngx_uint_t                       next;     /* event's number */
} fixture_t;


static ngx_http_klaviyo_call_t  calls[CALLS];
static ngx_uint_t               ncalls;
static ngx_uint_t               broken;
static ngx_pool_t              *bodies;


ngx_http_klaviyo_call_t *
ngx_http_klaviyo_transport_post(ngx_http_klaviyo_transport_t *transport,
    ngx_http_klaviyo_post_t *post)
{
    ngx_http_klaviyo_call_t  *call;

    if (broken) {
        return NULL;
    }

    assert_in_range(ncalls, 0, CALLS - 1);

    call = &calls[ncalls++];

    call->post = *post;
    call->open = 1;
    call->body.data = ngx_palloc(bodies, post->length + 1);
    assert_non_null(call->body.data);

    call->body.len = post->read(post->data, call->body.data,
                                post->length + 1);
    assert_int_equal(call->body.len, post->length);

    call->body.data[call->body.len] = '\0';

    return call;
}


void
ngx_http_klaviyo_transport_cancel(ngx_http_klaviyo_call_t *call)
{
    call->open = 0;
}


static void
ended(void *data)
{
    fixture_t *f = data;

    f->ended++;
}


static void
start(fixture_t *f, ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_account_t *account)
{
    ngx_memzero(s, sizeof(ngx_http_klaviyo_sender_t));

    s->account = account;
    s->log = f->pool->log;
    s->ended = ended;
    s->data = f;

    assert_int_equal(ngx_http_klaviyo_sender_init(s, f->pool, &f->spool),
                     NGX_OK);

    /* most tests need not prove it first */
    s->pointers = NGX_HTTP_KLAVIYO_POINTERS_RIGHT;

    ngx_http_klaviyo_sender_second(s);
}


static int
setup(void **state)
{
    void                        *pool;
    fixture_t                   *f;
    ngx_http_klaviyo_account_t  *account;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    f = ngx_pcalloc(pool, sizeof(fixture_t));
    f->pool = pool;

    strcpy(f->folder, P_tmpdir "/klaviyo-unit-XXXXXX");

    if (mkdtemp(f->folder) == NULL) {
        return -1;
    }

    f->spool.path.data = (u_char *) f->folder;
    f->spool.path.len = strlen(f->folder);
    f->spool.instance = 1;
    f->spool.user = (ngx_uid_t) NGX_CONF_UNSET_UINT;
    f->spool.log = f->pool->log;

    account = &f->account;

    account->ring = unit_ring(pool);
    ngx_str_set(&account->name, "shop");
    account->batch_events = 10;
    account->batch_bytes = 100000;
    account->linger = 1000;
    account->burst = 100000;
    account->steady = 1000000;
    account->share = 100;
    account->retry_min = 1000;
    account->retry_max = 300000;
    account->spool_max = 1000000;

    f->counters = unit_counters(account->ring);

    bodies = pool;
    ncalls = 0;
    broken = 0;

    start(f, &f->sender, account);

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


static void
put(fixture_t *f, ngx_uint_t n)
{
    while (n--) {
        unit_put(f->account.ring, f->next++);
    }
}


static ngx_msec_t
run(fixture_t *f)
{
    return ngx_http_klaviyo_sender_run(&f->sender);
}


static void
pass(ngx_msec_t msec)
{
    ngx_current_msec += msec;
}


static void
answer_waiting(fixture_t *f, ngx_uint_t n, ngx_uint_t status, char *body,
    ngx_msec_t retry_after)
{
    ngx_http_klaviyo_answer_t   answer;
    ngx_http_klaviyo_call_t    *call;

    call = &calls[n];

    assert_in_range(n, 0, ncalls - 1);
    assert_int_equal(call->open, 1);

    call->open = 0;

    ngx_http_klaviyo_api_init(&answer);

    answer.status = status;
    answer.body.data = (u_char *) body;
    answer.body.len = strlen(body);
    answer.retry_after = retry_after;
    answer.duration = 10;

    call->post.done(call->post.data, &answer, f->pool);
}


static void
answer(fixture_t *f, ngx_uint_t n, ngx_uint_t status, char *body)
{
    answer_waiting(f, n, status, body, (ngx_msec_t) -1);
}


/* 400 that names the entries from "first" to "last" */

static void
answer_pointed(fixture_t *f, ngx_uint_t n, ngx_uint_t first, ngx_uint_t last)
{
    u_char      *p;
    ngx_uint_t   i;
    ngx_str_t   *body;

    body = unit_fill(f->pool, '\0', 400 * (last - first + 2));

    p = ngx_sprintf(body->data, "{\"errors\":[");

    for (i = first; i <= last; i++) {
        p = ngx_sprintf(p, "%s{\"status\":400,\"code\":\"invalid\","
                        "\"title\":\"t\",\"detail\":\"d%ui\",\"source\":"
                        "{\"pointer\":\"/data/attributes/events-bulk-create/"
                        "data/%ui/attributes/x\"}}",
                        (i > first) ? "," : "", i, i);
    }

    (void) ngx_sprintf(p, "]}");

    answer(f, n, 400, (char *) body->data);
}


/* answers whatever was sent with 202 until nothing more is sent */

static void
accept_all(fixture_t *f)
{
    ngx_uint_t  n;

    for (n = 0; n < ncalls; n++) {
        if (calls[n].open) {
            answer(f, n, 202, "");
            (void) run(f);
        }
    }
}


static ngx_uint_t
has(ngx_uint_t call, ngx_uint_t n)
{
    char  event[32];

    sprintf(event, "{\"n\":%u,", (unsigned) n);

    return strstr((char *) calls[call].body.data, event) != NULL;
}


/* the number of the first event in it */

static ngx_uint_t
first(ngx_uint_t call)
{
    return atoi(strstr((char *) calls[call].body.data, "{\"n\":") + 5);
}


static ngx_uint_t
letters(fixture_t *f)
{
    int         fd;
    char        path[128], ch;
    ngx_uint_t  n;

    sprintf(path, "%s/shop.dead", f->folder);

    fd = open(path, O_RDONLY);
    if (fd == -1) {
        return 0;
    }

    n = 0;

    while (read(fd, &ch, 1) == 1) {
        n += (ch == LF);
    }

    (void) close(fd);

    return n;
}


static void
assert_conserved(fixture_t *f)
{
    assert_int_equal(f->counters->seen, f->counters->sent
                                        + f->counters->dead
                                        + f->counters->queued);
    assert_int_equal(f->counters->dead, letters(f));
}


static ngx_msec_t
left(fixture_t *f)
{
    return f->sender.next - ngx_current_msec;
}


/* due */

static void
an_empty_ring_needs_no_look(void **state)
{
    fixture_t *f = *state;

    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(ncalls, 0);
}


static void
a_full_batch_goes_at_once(void **state)
{
    fixture_t *f = *state;

    put(f, 9);
    assert_in_range(run(f), 1, NGX_HTTP_KLAVIYO_TICK);
    assert_int_equal(ncalls, 0);

    put(f, 1);
    (void) run(f);
    assert_int_equal(ncalls, 1);
    assert_int_equal(f->sender.state->in_flight, 1);
}


static void
a_batch_that_is_full_by_bytes_goes_at_once(void **state)
{
    fixture_t *f = *state;

    f->account.batch_bytes = NGX_HTTP_KLAVIYO_API_ENVELOPE
                             + 2 * (sizeof("{\"n\":0,\"backfill\":false}") - 1)
                             + 1;

    put(f, 1);
    (void) run(f);
    assert_int_equal(ncalls, 0);

    put(f, 2);
    (void) run(f);
    assert_int_equal(ncalls, 1);
    assert_in_range(calls[0].body.len, 1, f->account.batch_bytes);
    assert_true(has(0, 1));
    assert_false(has(0, 2));
}


static void
a_single_event_goes_when_linger_ends(void **state)
{
    fixture_t *f = *state;

    put(f, 1);

    pass(990);
    assert_int_equal(run(f), 10);
    assert_int_equal(ncalls, 0);

    pass(10);
    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(ncalls, 1);

    /* also if nobody looked in time */

    put(f, 1);
    pass(5000);
    (void) run(f);
    assert_int_equal(ncalls, 2);
}


static void
no_more_than_four_requests_are_in_flight(void **state)
{
    fixture_t *f = *state;

    put(f, 100);
    (void) run(f);
    assert_int_equal(ncalls, 4);

    answer(f, 1, 202, "");
    assert_int_equal(f->ended, 1);

    (void) run(f);
    assert_int_equal(ncalls, 5);
    assert_true(has(4, 40));
}


static void
what_is_accepted_leaves_the_ring(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_ring_stat_t  stat;

    put(f, 20);
    (void) run(f);
    accept_all(f);

    ngx_http_klaviyo_ring_stat(f->account.ring, &stat);

    assert_int_equal(stat.used, 0);
    assert_int_equal(f->counters->sent, 20);
    assert_int_equal(f->sender.state->requests, 2);
    assert_int_equal(f->sender.state->retries, 0);
    assert_int_equal(f->sender.state->answers[2], 2);
    assert_int_equal(f->sender.state->bytes,
                     calls[0].body.len + calls[1].body.len);
    assert_int_equal(f->sender.state->in_flight, 0);
    assert_int_equal(f->sender.state->last_status, 202);
    assert_int_equal(f->sender.state->last_sent, ngx_time());
    assert_int_equal(f->sender.state->duration, 20);
    assert_int_equal(f->sender.state->durations, 2);
    assert_conserved(f);
}


static void
the_budget_is_not_exceeded(void **state)
{
    fixture_t *f = *state;

    f->account.burst = 2;

    put(f, 40);
    assert_in_range(run(f), 1, 1100);
    assert_int_equal(ncalls, 2);
    assert_int_equal(f->sender.state->state,
                     NGX_HTTP_KLAVIYO_SENDER_THROTTLED);

    f->account.burst = 100;
    (void) run(f);
    assert_int_equal(ncalls, 4);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_OK);
    assert_int_equal(f->sender.state->retry_at, 0);
}


/* lanes */

/*
 * One update a request, at once, to the endpoint of the lane; what Klaviyo
 * refuses dies, and the next ones go on.
 */

static void
a_lane_of_profiles_sends_one_a_request(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                  lane;
    ngx_http_klaviyo_account_t  account;

    static char  *paths[] = {
        "/api/event-bulk-create-jobs",
        "/api/profile-import",
        "/api/profile-subscription-bulk-create-jobs"
    };

    for (lane = NGX_HTTP_KLAVIYO_PROFILES;
         lane < NGX_HTTP_KLAVIYO_LANES;
         lane++)
    {
        ncalls = 0;
        f->next = 0;

        account = f->account;
        account.lane = lane;
        account.batch_events = 1;

        start(f, &f->sender, &account);

        put(f, 3);
        (void) run(f);
        assert_int_equal(ncalls, 3);
        assert_string_equal(calls[0].post.path, paths[lane]);
        assert_text(&calls[0].body,
                    "{\"data\":{\"n\":0,\"backfill\":false}}");

        answer(f, 0, 201, "{\"data\":{\"type\":\"profile\"}}");
        answer(f, 1, 400, INVALID);
        answer(f, 2, 409, INVALID);

        assert_int_equal(f->counters->sent, 2 * lane - 1);
        assert_int_equal(f->counters->dead, 2 * lane);
        assert_int_equal(f->sender.mode, NGX_HTTP_KLAVIYO_SENDER_OK);

        put(f, 1);
        (void) run(f);
        assert_int_equal(ncalls, 4);
        answer(f, 3, 500, "");
        assert_int_equal(f->sender.mode, NGX_HTTP_KLAVIYO_SENDER_BACKOFF);

        pass(300000);
        (void) run(f);
        assert_int_equal(ncalls, 5);
        assert_memory_equal(calls[4].body.data, calls[3].body.data,
                            calls[3].body.len);
        answer(f, 4, 404, DENIED);
        assert_int_equal(f->sender.mode, NGX_HTTP_KLAVIYO_SENDER_STOPPED);

        /* the next lane has nothing of it */

        pass(300000);
        (void) run(f);
        answer(f, 5, 202, "");
        assert_conserved(f);
    }
}


/* failures */

static void
after_a_failure_one_probe_resends_the_same_bytes(void **state)
{
    fixture_t *f = *state;

    put(f, 40);
    (void) run(f);
    assert_int_equal(ncalls, 4);

    answer(f, 0, 503, "");
    answer(f, 1, 0, "");
    answer(f, 2, 500, "");
    answer(f, 3, 500, "");

    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_BACKOFF);
    assert_int_equal(f->sender.failures, 1);
    assert_in_range(left(f), 1, 1000);
    assert_int_equal(f->sender.state->answers[0], 1);
    assert_int_equal(f->sender.state->answers[5], 3);
    assert_in_range(f->sender.state->retry_at, ngx_time(), ngx_time() + 1);

    if (left(f) > 1) {
        (void) run(f);
        assert_int_equal(ncalls, 4);
    }

    pass(1000);
    (void) run(f);
    assert_int_equal(ncalls, 5);
    assert_string_equal(calls[4].body.data, calls[0].body.data);
    assert_int_equal(f->sender.state->retries, 1);

    answer(f, 4, 202, "");
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_OK);

    (void) run(f);
    assert_int_equal(ncalls, 8);
    accept_all(f);
    assert_int_equal(f->counters->sent, 40);
    assert_conserved(f);
}


static void
backoff_grows_with_each_failed_probe_only(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    put(f, 10);

    for (i = 0; i < 12; i++) {
        (void) run(f);
        assert_int_equal(ncalls, i + 1);

        answer(f, i, 502, "<html>");
        assert_int_equal(f->sender.failures, i + 1);
        assert_in_range(left(f), 1, ngx_min(1000UL << i, 300000));

        pass(300000);
    }
}


static void
a_late_success_does_not_end_what_a_failure_began(void **state)
{
    fixture_t *f = *state;

    put(f, 20);
    (void) run(f);

    answer(f, 0, 500, "");
    answer(f, 1, 202, "");

    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_BACKOFF);
    assert_int_equal(f->sender.probe, 1);
    assert_int_equal(f->counters->sent, 10);
}


static void
retry_after_is_kept_for_the_next_process_too(void **state)
{
    fixture_t *f = *state;

    uint64_t  now;

    put(f, 10);
    (void) run(f);

    now = ngx_http_klaviyo_sender_clock();
    answer_waiting(f, 0, 429, "", 7000);

    assert_int_equal(f->sender.state->state,
                     NGX_HTTP_KLAVIYO_SENDER_THROTTLED);
    assert_int_equal(left(f), 7000);
    assert_in_range(f->sender.budget->paused, now + 7000, now + 8000);

    /* another process has another clock of its own, and the same budget */

    f->sender.blocked = 0;
    assert_in_range(run(f), 6000, 7000);
    assert_int_equal(ncalls, 1);
}


static void
an_answer_cannot_stop_an_account_for_a_day(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);

    answer_waiting(f, 0, 503, "", 86400000);

    assert_in_range(left(f), 1, 3600000);
}


static void
throttled_without_retry_after_backs_off(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);

    answer(f, 0, 429, "");

    assert_in_range(left(f), 1, 1000);
    assert_int_equal(f->sender.state->state,
                     NGX_HTTP_KLAVIYO_SENDER_THROTTLED);
    assert_int_equal(f->sender.budget->paused, 0);
}


static void
a_request_that_cannot_start_is_a_failure(void **state)
{
    fixture_t *f = *state;

    broken = 1;
    put(f, 10);
    (void) run(f);

    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_BACKOFF);
    assert_int_equal(f->sender.in_flight, 0);

    broken = 0;
    pass(1000);
    (void) run(f);
    assert_int_equal(ncalls, 1);
    assert_true(has(0, 0));
}


static void
a_status_that_does_not_exist_is_a_failure(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer(f, 0, 999, "");

    assert_int_equal(f->sender.state->answers[5], 1);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_BACKOFF);
}


static void
a_refused_key_stops_and_is_tried_each_minute(void **state)
{
    fixture_t *f = *state;

    put(f, 40);
    (void) run(f);

    answer(f, 0, 401, DENIED);
    answer(f, 1, 401, DENIED);
    answer(f, 2, 401, DENIED);
    answer(f, 3, 401, DENIED);

    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_STOPPED);
    assert_string_equal(f->sender.state->last_code, "notauthenticated");
    assert_int_equal(f->sender.state->retry_at, ngx_time() + 60);

    pass(59999);
    (void) run(f);
    assert_int_equal(ncalls, 4);

    pass(1);
    (void) run(f);
    assert_int_equal(ncalls, 5);

    answer(f, 4, 401, DENIED);
    assert_int_equal(left(f), 60000);
    assert_int_equal(f->counters->queued, 40);

    pass(60000);
    (void) run(f);
    answer(f, 5, 202, "");
    (void) run(f);
    accept_all(f);
    assert_int_equal(f->counters->sent, 40);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_OK);
}


/* bad events */

static void
a_pointed_event_dies_and_the_others_go_on(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);

    answer_pointed(f, 0, 3, 4);
    assert_int_equal(letters(f), 2);

    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(ncalls, 2);
    assert_true(has(1, 2));
    assert_false(has(1, 3));
    assert_false(has(1, 4));
    assert_true(has(1, 5));

    accept_all(f);
    assert_int_equal(f->counters->sent, 8);
    assert_int_equal(f->counters->dead, 2);
    assert_conserved(f);
}


static void
an_event_that_klaviyo_knows_is_sent(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);

    answer(f, 0, 400, REPEATED);
    assert_int_equal(f->counters->sent, 1);

    (void) run(f);
    assert_false(has(1, 0));
    accept_all(f);

    assert_int_equal(f->counters->sent, 10);
    assert_int_equal(letters(f), 0);
}


static void
the_first_event_pointed_at_is_sent_alone(void **state)
{
    fixture_t *f = *state;

    f->sender.pointers = NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN;

    put(f, 10);
    (void) run(f);

    answer_pointed(f, 0, 3, 4);
    assert_int_equal(letters(f), 0);

    (void) run(f);
    assert_int_equal(ncalls, 4);
    assert_true(has(1, 0) && has(1, 2) && !has(1, 3));
    assert_true(first(2) == 3 && !has(2, 4));
    assert_true(first(3) == 4 && has(3, 9));

    answer(f, 1, 202, "");
    answer_pointed(f, 2, 0, 0);
    assert_int_equal(f->counters->dead, 1);
    assert_int_equal(f->sender.pointers, NGX_HTTP_KLAVIYO_POINTERS_RIGHT);

    answer_pointed(f, 3, 0, 0);
    assert_int_equal(f->counters->dead, 2);

    (void) run(f);
    accept_all(f);
    assert_int_equal(f->counters->sent, 8);
    assert_conserved(f);
}


static void
an_innocent_that_was_pointed_at_lives_and_halving_begins(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    f->sender.pointers = NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN;

    put(f, 10);
    (void) run(f);

    /* each pointer is to the entry before */

    for (i = 0; i < ncalls; i++) {
        if (!has(i, 6)) {
            answer(f, i, 202, "");

        } else if (first(i) == 6) {
            answer_pointed(f, i, 0, 0);

        } else {
            answer_pointed(f, i, 5 - first(i), 5 - first(i));
        }

        (void) run(f);
    }

    assert_int_equal(f->sender.pointers, NGX_HTTP_KLAVIYO_POINTERS_WRONG);
    assert_int_equal(f->counters->sent, 9);
    assert_int_equal(f->counters->dead, 1);
    assert_conserved(f);
}


/*
 * Answers all from "n" on; the pointer to the first of the two bad events that
 * are there is off by "shift", but never below the first entry.
 */

static void
refuse_two(fixture_t *f, ngx_uint_t n, ngx_uint_t bad, ngx_int_t shift)
{
    ngx_int_t   index;
    ngx_uint_t  i, event;

    for (i = n; i < ncalls; i++) {

        for (event = bad; event < bad + 2 && !has(i, event); event++) {
            /* void */
        }

        if (event == bad + 2) {
            answer(f, i, 202, "");

        } else {
            for (index = shift; event > first(i); event--) {
                index += has(i, event - 1);
            }

            index = ngx_max(index, 0);
            answer_pointed(f, i, index, index);
        }

        (void) run(f);
    }
}


static void
pointers_that_count_from_one_kill_no_innocent(void **state)
{
    fixture_t *f = *state;

    f->sender.pointers = NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN;

    put(f, 10);
    (void) run(f);
    refuse_two(f, 0, 5, 1);

    /* the one behind the first bad one was bad as well */

    assert_int_equal(f->sender.pointers, NGX_HTTP_KLAVIYO_POINTERS_WRONG);
    assert_int_equal(f->counters->sent, 8);
    assert_int_equal(f->counters->dead, 2);
    assert_null(strstr((char *) unit_folder_read(f->pool, f->folder,
                                                 "shop.dead")->data,
                       "\"event\":{\"n\":7,"));
    assert_conserved(f);
}


static void
a_proof_ends_when_what_is_left_is_refused_again(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    put(f, 10);
    (void) run(f);
    refuse_two(f, 0, 5, -1);

    assert_int_equal(f->sender.pointers, NGX_HTTP_KLAVIYO_POINTERS_WRONG);
    assert_int_equal(f->counters->sent, 7);
    assert_int_equal(f->counters->dead, 3);
    assert_conserved(f);

    /* if there were just more bad ones, it is proved again */

    f->sender.pointers = NGX_HTTP_KLAVIYO_POINTERS_RIGHT;

    i = ncalls;
    put(f, 10);
    (void) run(f);
    refuse_two(f, i, 15, 0);

    assert_int_equal(f->sender.pointers, NGX_HTTP_KLAVIYO_POINTERS_RIGHT);
    assert_int_equal(f->counters->sent, 15);
    assert_int_equal(f->counters->dead, 5);
    assert_conserved(f);
}


static void
the_first_and_the_last_event_can_be_sent_alone(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        f->sender.pointers = NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN;

        put(f, 10);
        (void) run(f);

        answer_pointed(f, ncalls - 1, i * 9, i * 9);
        (void) run(f);

        assert_int_equal(ncalls, 3 * (i + 1));
        assert_true(first(ncalls - 2) == i * 10);
        assert_true(first(ncalls - 1) == i * 10 + (i ? 9 : 1));

        accept_all(f);
    }

    assert_int_equal(f->counters->sent, 20);
    assert_conserved(f);
}


static void
all_events_pointed_at_finish_the_batch(void **state)
{
    fixture_t *f = *state;

    f->sender.pointers = NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN;

    put(f, 10);
    (void) run(f);

    answer_pointed(f, 0, 0, 9);

    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(ncalls, 1);
    assert_int_equal(f->counters->dead, 10);
    assert_conserved(f);
}


static void
without_a_pointer_halving_finds_the_bad_event(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    put(f, 10);
    (void) run(f);

    for (i = 0; i < ncalls; i++) {
        if (has(i, 6)) {
            answer(f, i, 400, INVALID);

        } else {
            answer(f, i, 202, "");
        }

        (void) run(f);
    }

    assert_int_equal(f->counters->sent, 9);
    assert_int_equal(f->counters->dead, 1);
    assert_conserved(f);
}


static void
a_single_event_that_klaviyo_knows_is_sent_without_a_pointer_too(void **state)
{
    fixture_t *f = *state;

    f->account.batch_events = 1;

    put(f, 1);
    (void) run(f);

    answer(f, 0, 400, "{\"errors\":[{\"code\":\"duplicate\",\"detail\":"
                      "\"unique_id already exists\"}]}");

    assert_int_equal(f->counters->sent, 1);
    assert_int_equal(letters(f), 0);
    assert_true(run(f) == NGX_TIMER_INFINITE);
}


static void
a_single_event_that_is_too_large_dies(void **state)
{
    fixture_t *f = *state;

    f->account.batch_events = 1;

    put(f, 1);
    (void) run(f);

    answer(f, 0, 413, "<html>");

    assert_int_equal(f->counters->dead, 1);
    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_OK);
    assert_conserved(f);
}


static void
after_twenty_deaths_in_a_row_nothing_more_dies(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    f->account.batch_events = 5;

    put(f, 30);
    (void) run(f);

    for (i = 0; i < 5; i++) {
        answer_pointed(f, i, 0, 4);
        (void) run(f);
    }

    assert_int_equal(f->counters->dead, 20);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_STOPPED);
    assert_int_equal(left(f), 60000);
    assert_conserved(f);

    /* nor by what was in flight already, nor by the probes */

    for ( /* void */ ; i < ncalls; i++) {
        answer_pointed(f, i, 0, 4);
    }

    pass(60000);
    (void) run(f);
    answer_pointed(f, ncalls - 1, 0, 4);
    assert_int_equal(left(f), 60000);
    assert_int_equal(f->counters->dead, 20);

    /* until one batch is accepted */

    pass(60000);
    (void) run(f);
    answer(f, ncalls - 1, 202, "");
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_OK);

    (void) run(f);
    answer_pointed(f, ncalls - 1, 0, 0);
    assert_int_equal(f->counters->dead, 21);
    assert_conserved(f);
}


static void
in_a_fault_a_repeated_event_is_no_reason_to_go_on(void **state)
{
    fixture_t *f = *state;

    put(f, 30);
    (void) run(f);

    answer_pointed(f, 0, 0, 9);
    answer_pointed(f, 1, 0, 9);
    answer_pointed(f, 2, 0, 9);
    assert_int_equal(f->sender.fault, 1);

    pass(60000);
    (void) run(f);
    answer(f, ncalls - 1, 400, REPEATED);

    assert_int_equal(f->counters->sent, 1);
    assert_int_equal(f->sender.fault, 1);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_STOPPED);
    assert_conserved(f);
}


static void
in_a_fault_new_events_are_tried_in_turn(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i, fresh;

    f->account.batch_events = 5;

    put(f, 25);
    (void) run(f);

    for (i = 0; i < 5; i++) {
        answer_pointed(f, i, 0, 4);
        (void) run(f);
    }

    assert_int_equal(f->sender.fault, 1);

    put(f, 5);
    fresh = 0;

    for (i = 0; i < 2; i++) {
        pass(60000);
        (void) run(f);
        fresh += has(ncalls - 1, 25);

        if (has(ncalls - 1, 25)) {
            answer(f, ncalls - 1, 202, "");
            break;
        }

        answer_pointed(f, ncalls - 1, 0, 4);
    }

    assert_int_equal(fresh, 1);
    assert_int_equal(f->sender.fault, 0);
    assert_int_equal(f->counters->sent, 1);
    assert_conserved(f);
}


/*
 * Answers all that is out: 400 without a pointer to what holds one of "from" to
 * "to" that leaves "rest" when divided by "by".  Returns how many requests.
 */

static ngx_uint_t
refuse(fixture_t *f, ngx_uint_t from, ngx_uint_t to, ngx_uint_t by,
    ngx_uint_t rest)
{
    char        *p;
    ngx_uint_t   i, n, bad, number;

    n = ncalls;

    for (i = 0; i < n; i++) {
        bad = 0;
        p = (char *) calls[i].body.data;

        while ((p = strstr(p, "{\"n\":")) != NULL) {
            p += sizeof("{\"n\":") - 1;
            number = atoi(p);

            bad |= (number >= from && number <= to && number % by == rest);
        }

        answer(f, i, bad ? 400 : 202, bad ? INVALID : "");
    }

    ncalls = 0;

    return n;
}


static void
in_a_fault_good_events_prove_that_others_are_accepted(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  turns, faults;

    /* each batch has a bad one, and none was halved before */

    put(f, 900);
    f->sender.fault = 1;
    faults = 0;

    for (turns = 0; f->counters->queued + f->counters->spooled; turns++) {
        assert_in_range(turns, 0, 36000);

        (void) run(f);
        (void) refuse(f, 0, 900, 10, 3);

        faults += f->sender.fault;
        pass(100);
    }

    assert_in_range(faults, 1, 36000);
    assert_int_equal(f->counters->dead, 90);
    assert_int_equal(f->counters->sent, 810);
    assert_conserved(f);
}


static void
in_a_fault_each_probe_takes_another_event(void **state)
{
    fixture_t *f = *state;

    u_char      seen[1000];
    ngx_uint_t  i, n, dead;

    put(f, 100);

    while (!f->sender.fault) {
        (void) run(f);
        (void) refuse(f, 0, 1000, 1, 0);
        pass(100);
    }

    dead = f->counters->dead;
    assert_in_range(dead, 1, 20);

    ngx_memzero(seen, sizeof(seen));

    for (i = 0, n = 0; i < 350; i++) {
        put(f, i >= 50);
        pass(60000);
        (void) run(f);

        assert_int_equal(ncalls, 1);
        assert_false(strchr(strstr((char *) calls[0].body.data, "{\"n\":") + 5,
                            '{'));
        n += !seen[first(0)]++;

        /* old ones take turns with new ones, which are old ones later */

        assert_in_range(n, (i + 1) / 2, i + 1);

        (void) refuse(f, 0, 1000, 1, 0);
        (void) run(f);
        assert_int_equal(ncalls, 0);
    }

    assert_int_equal(f->counters->dead, dead);
    assert_int_equal(f->counters->queued + f->counters->spooled, 400 - dead);

    /* new events are good: whatever is left of the old ones, it ends */

    put(f, 300);

    for (i = 0; f->sender.fault; i++) {
        assert_in_range(i, 0, 250);
        pass(60000);
        (void) run(f);
        (void) refuse(f, 0, 399, 1, 0);
    }

    assert_int_equal(f->counters->dead, dead);
}


static void
not_more_than_sixty_die_in_a_minute(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    put(f, 400);
    (void) run(f);

    /* two of each ten; what is left of them is accepted in between */

    for (i = 0; i < ncalls && !f->sender.fault; i++) {
        if (first(i) % 10 == 0) {
            answer_pointed(f, i, 0, 1);

        } else {
            answer(f, i, 202, "");
        }

        (void) run(f);
    }

    assert_int_equal(f->counters->dead, 60);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_STOPPED);
    assert_conserved(f);

    for (i = 0; i < ncalls; i++) {
        if (calls[i].open) {
            answer(f, i, 202, "");
        }
    }

    assert_int_equal(f->sender.fault, 1);

    /* in the next minute none, before one is accepted */

    pass(60000);
    (void) run(f);
    answer_pointed(f, ncalls - 1, 0, 1);
    assert_int_equal(f->counters->dead, 60);

    pass(60000);
    (void) run(f);
    answer(f, ncalls - 1, 202, "");
    (void) run(f);
    answer_pointed(f, ncalls - 1, 0, 1);

    assert_int_equal(f->counters->dead, 62);
    assert_conserved(f);
}


static void
an_event_stays_while_its_letter_cannot_be_written(void **state)
{
    fixture_t *f = *state;

    char  path[128];

    sprintf(path, "%s/shop.dead", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);

    put(f, 10);
    (void) run(f);
    answer_pointed(f, 0, 3, 3);

    assert_int_equal(f->counters->dead, 0);
    assert_int_equal(f->counters->queued, 10);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_STOPPED);

    assert_int_equal(rmdir(path), 0);

    pass(60000);
    (void) run(f);
    answer_pointed(f, 1, 3, 3);
    (void) run(f);
    accept_all(f);

    assert_int_equal(f->counters->sent, 9);
    assert_int_equal(f->counters->dead, 1);
    assert_conserved(f);
}


static void
full_dead_letters_hold_up_no_other_event(void **state)
{
    fixture_t *f = *state;

    f->sender.dead.max = 10;

    put(f, 10);
    (void) run(f);
    answer_pointed(f, 0, 3, 3);

    assert_int_equal(f->counters->queued, 9);
    assert_int_equal(f->counters->dead, 0);
    assert_int_equal(f->counters->dropped[NGX_HTTP_KLAVIYO_DROP_FULL], 1);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_OK);
}


/* the rest */

static void
backfill_is_decided_when_first_sent(void **state)
{
    fixture_t *f = *state;

    f->account.backfill = NGX_HTTP_KLAVIYO_BACKFILL_AFTER;
    f->account.backfill_after = 100;

    put(f, 10);
    (void) run(f);
    assert_non_null(strstr((char *) calls[0].body.data, "false"));

    answer(f, 0, 500, "");

    f->account.backfill_after = -100;
    pass(1000);
    (void) run(f);
    assert_string_equal(calls[1].body.data, calls[0].body.data);

    put(f, 10);
    answer(f, 1, 202, "");
    (void) run(f);
    assert_null(strstr((char *) calls[2].body.data, "false"));
    assert_non_null(strstr((char *) calls[2].body.data, "true "));
}


static void
no_backfill_is_decided_as_well(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer(f, 0, 500, "");

    f->account.backfill = NGX_HTTP_KLAVIYO_BACKFILL_AFTER;
    f->account.backfill_after = -100;

    pass(1000);
    (void) run(f);
    assert_string_equal(calls[1].body.data, calls[0].body.data);
}


static void
the_dry_run_sends_nothing(void **state)
{
    fixture_t *f = *state;

    char         path[128];
    struct stat  st;

    f->account.dry_run = 1;

    put(f, 20);
    (void) run(f);

    assert_int_equal(ncalls, 0);
    assert_int_equal(f->counters->sent, 20);

    sprintf(path, "%s/shop.dry-run", f->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* full: still sent, and the file stays */

    f->sender.dry_run.max = st.st_size;
    put(f, 10);
    (void) run(f);

    assert_int_equal(f->counters->sent, 30);
    assert_int_equal(f->sender.unwritten, 1);
    assert_int_equal(f->sender.state->bytes, 0);
}


static void
a_dry_run_that_cannot_be_written_keeps_the_events(void **state)
{
    fixture_t *f = *state;

    f->account.dry_run = 1;
    ngx_str_set(&f->sender.dry_run.path, "/nonexistent/shop.dry-run");

    put(f, 10);
    (void) run(f);

    assert_int_equal(f->counters->sent, 0);
    assert_int_equal(f->counters->queued, 10);
    assert_int_equal(f->sender.state->state, NGX_HTTP_KLAVIYO_SENDER_BACKOFF);
}


static void
draining_waits_for_no_linger_and_no_long_backoff(void **state)
{
    fixture_t *f = *state;

    put(f, 1);
    ngx_http_klaviyo_sender_drain(&f->sender, 1);
    (void) run(f);
    assert_int_equal(ncalls, 1);

    f->sender.failures = 20;
    answer(f, 0, 500, "");
    assert_in_range(left(f), 1, NGX_HTTP_KLAVIYO_HURRY);

    ngx_http_klaviyo_sender_drain(&f->sender, 1);
    (void) run(f);
    assert_int_equal(ncalls, 2);
}


static void
draining_does_not_ignore_retry_after(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer_waiting(f, 0, 429, "", 60000);

    ngx_http_klaviyo_sender_drain(&f->sender, 1);
    (void) run(f);
    assert_int_equal(ncalls, 1);
}


static void
draining_does_not_try_a_refused_account(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer(f, 0, 401, DENIED);

    ngx_http_klaviyo_sender_drain(&f->sender, 1);
    (void) run(f);
    assert_int_equal(ncalls, 1);
}


static void
draining_without_claim_sends_nothing_more(void **state)
{
    fixture_t *f = *state;

    put(f, 20);
    (void) run(f);
    put(f, 20);

    ngx_http_klaviyo_sender_drain(&f->sender, 0);

    answer(f, 0, 500, "");
    answer(f, 1, 202, "");
    pass(1000);

    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(ncalls, 2);
    assert_int_equal(f->counters->sent, 10);
    assert_int_equal(f->counters->queued, 30);
}


static void
stopping_gives_the_slots_back(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_sender_t  next;

    put(f, 20);
    (void) run(f);

    ngx_http_klaviyo_sender_stop(&f->sender);

    assert_int_equal(calls[0].open, 0);
    assert_int_equal(calls[1].open, 0);
    assert_int_equal(f->sender.state->in_flight, 0);
    assert_int_equal(ngx_http_klaviyo_ring_busy(f->account.ring), 0);

    start(f, &next, &f->account);
    (void) ngx_http_klaviyo_sender_run(&next);

    assert_int_equal(ncalls, 4);
    assert_string_equal(calls[2].body.data, calls[0].body.data);
    assert_string_equal(calls[3].body.data, calls[1].body.data);
}


static void
who_lost_the_ring_finishes_and_claims_no_more(void **state)
{
    fixture_t *f = *state;

    ngx_pid_t                   self;
    ngx_http_klaviyo_budget_t   budget;
    ngx_http_klaviyo_sender_t   next;
    ngx_http_klaviyo_account_t  account;

    put(f, 20);
    (void) run(f);
    put(f, 10);

    /* the other process has a newer generation; init is sure to live */

    account = f->account;
    account.ring = unit_ring_again(f->pool, f->account.ring,
                                   f->account.ring->control->generation + 1);
    self = ngx_pid;
    ngx_pid = 1;

    start(f, &next, &account);
    (void) ngx_http_klaviyo_sender_run(&next);

    /* what is in flight elsewhere is left alone */

    assert_int_equal(ncalls, 3);
    assert_true(has(2, 20));

    ngx_pid = self;

    /* until it notices, no request is counted that it can't make */

    put(f, 10);
    budget = *f->sender.budget;
    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_memory_equal(f->sender.budget, &budget, sizeof(budget));

    ngx_http_klaviyo_sender_second(&f->sender);
    assert_int_equal(f->sender.owner, 0);

    answer(f, 0, 202, "");
    answer(f, 1, 500, "");
    pass(2000);

    assert_true(run(f) == NGX_TIMER_INFINITE);
    assert_int_equal(ncalls, 3);

    /* what it gave up goes on there */

    ngx_pid = 1;
    ngx_http_klaviyo_sender_second(&next);
    (void) ngx_http_klaviyo_sender_run(&next);
    ngx_pid = self;

    assert_int_equal(ncalls, 5);
    assert_string_equal(calls[3].body.data, calls[1].body.data);
    assert_true(has(4, 30));
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


/* a slot is kept to try with, the rest is safe on disk */

static void
away_for_seconds_it_spools_all_but_what_is_tried_next(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer(f, 0, 500, "");
    put(f, 20);

    pass(4000);
    (void) run(f);
    assert_int_equal(f->counters->spooled, 0);

    pass(2000);
    (void) run(f);
    assert_int_equal(f->counters->spooled, 20);
    assert_int_equal(f->counters->queued, 10);

    /* nor does anything come back before it is tried */

    pass(1000);
    ngx_http_klaviyo_sender_second(&f->sender);
    (void) run(f);
    assert_int_equal(f->counters->spooled, 20);
    assert_int_equal(ncalls, 2);
    assert_true(has(1, 0));

    answer(f, 1, 202, "");
    (void) run(f);
    accept_all(f);

    /* a part of a batch waits for its time */

    pass(1000);
    (void) run(f);
    accept_all(f);

    assert_int_equal(f->counters->spooled, 0);
    assert_int_equal(f->counters->queued, 0);
    assert_int_equal(f->counters->sent, 30);
}


static void
what_klaviyo_asks_to_wait_for_stays_in_the_ring(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer_waiting(f, 0, 429, "", 60000);
    put(f, 20);

    pass(30000);
    (void) run(f);

    assert_int_equal(f->counters->spooled, 0);
    assert_int_equal(f->counters->queued, 30);
}


static void
a_ring_that_is_half_full_is_spooled_whatever_the_reason(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                    i;
    ngx_http_klaviyo_ring_stat_t  stat;

    f->sender.spool.max = 10000000;

    put(f, 10);
    (void) run(f);
    answer_waiting(f, 0, 429, "", 60000);

    for (i = 0; i < 50; i++) {
        put(f, 200);
        (void) run(f);
    }

    ngx_http_klaviyo_ring_stat(f->account.ring, &stat);

    assert_in_range(stat.used, 0, stat.size / 2 + 200 * 64);
    assert_int_equal(f->counters->dropped[NGX_HTTP_KLAVIYO_DROP_FULL], 0);
    assert_int_equal(f->counters->spooled + f->counters->queued, 10010);

    /* what was sent before went first: the ring is emptied from its end */

    assert_false(f->sender.in_flight);
    assert_true(f->counters->spooled > 5000);
}


static void
an_empty_ring_gets_something_to_try_with_from_the_spool(void **state)
{
    fixture_t *f = *state;

    put(f, 5);
    (void) ngx_http_klaviyo_spool_all(&f->sender.spool);
    assert_int_equal(f->counters->spooled, 5);

    /* refused, and a new process of the same account */

    f->sender.mode = NGX_HTTP_KLAVIYO_SENDER_STOPPED;
    f->sender.probe = 1;
    f->sender.since = ngx_current_msec - 60000;

    ngx_http_klaviyo_sender_second(&f->sender);
    (void) run(f);
    assert_int_equal(f->counters->queued, 5);

    /* a part of a batch, which stays until its time has come */

    pass(1000);
    (void) run(f);
    assert_int_equal(ncalls, 1);

    /* but not while it is to wait */

    answer(f, 0, 401, DENIED);
    ncalls = 0;
    (void) run(f);
    assert_int_equal(ncalls, 0);
}


static void
a_new_event_waits_for_few_old_ones(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                    i;
    ngx_http_klaviyo_ring_stat_t  stat;

    f->account.burst = 1;

    for (i = 0; i < 5; i++) {
        put(f, 1000);
        assert_int_equal(ngx_http_klaviyo_spool_all(&f->sender.spool), 0);
    }

    ngx_http_klaviyo_sender_second(&f->sender);

    for (i = 0; i < 100; i++) {
        (void) run(f);
        pass(100);

        ngx_http_klaviyo_ring_stat(f->account.ring, &stat);
        assert_in_range(stat.unclaimed, 0, 1000 + f->account.batch_events);
    }

    assert_true(f->counters->spooled >= 3000);
}


static void
in_a_fault_new_events_stay_to_prove_that_it_is_over(void **state)
{
    fixture_t *f = *state;

    put(f, 10);
    (void) run(f);
    answer(f, 0, 500, "");

    f->sender.fault = 1;
    put(f, 10);
    pass(60000);
    f->sender.blocked = 1;
    f->sender.next = ngx_current_msec + 1000;
    (void) run(f);

    assert_int_equal(f->counters->spooled, 0);
}


static void
a_request_without_answer_does_not_hold_back_a_ring_that_gets_full(
    void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    put(f, 10);
    (void) run(f);
    assert_int_equal(f->sender.in_flight, 1);

    for (i = 0; i < 40; i++) {
        put(f, 100);
        pass(100);
        (void) run(f);
    }

    assert_int_equal(calls[0].open, 0);
    assert_int_equal(f->counters->dropped[NGX_HTTP_KLAVIYO_DROP_FULL], 0);
    assert_int_equal(f->counters->spooled + f->counters->queued, 4010);
}


static void
while_draining_nothing_comes_back(void **state)
{
    fixture_t *f = *state;

    put(f, 20);
    (void) ngx_http_klaviyo_spool_all(&f->sender.spool);

    ngx_http_klaviyo_sender_second(&f->sender);
    ngx_http_klaviyo_sender_drain(&f->sender, 1);
    (void) run(f);

    assert_int_equal(ncalls, 0);
    assert_int_equal(f->counters->spooled, 20);
}


static void
stopping_moves_what_is_left_to_the_spool(void **state)
{
    fixture_t *f = *state;

    put(f, 25);
    (void) run(f);
    assert_true(f->sender.in_flight > 0);

    assert_int_equal(ngx_http_klaviyo_sender_stop(&f->sender), 0);

    assert_int_equal(f->counters->spooled, 25);
    assert_int_equal(unit_folder_find(f->folder, ".spool", NULL), 1);

    start(f, &f->sender, &f->account);
    (void) run(f);
    pass(1000);
    (void) run(f);
    accept_all(f);
    assert_int_equal(f->counters->sent, 25);
}


/* what fails while others are accepted */

/*
 * Answers all that is out, in one turn: "status" to what holds the event
 * "bad", 202 to the others.  Returns how many of these there were.
 */

static ngx_uint_t
serve(fixture_t *f, ngx_uint_t bad, ngx_uint_t status)
{
    ngx_uint_t  i, n, good;

    good = 0;
    n = ncalls;

    for (i = 0; i < n; i++) {

        if (!calls[i].open) {
            continue;
        }

        if (has(i, bad)) {
            answer(f, i, status, "");

        } else {
            answer(f, i, 202, "");
            good++;
        }
    }

    for (i = 0; i < ncalls; i++) {
        if (calls[i].open) {
            return good;
        }
    }

    ncalls = 0;

    return good;
}


static void
a_bad_batch_is_halved_while_others_are_accepted(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  turns;

    f->account.batch_events = 100;
    put(f, 100);

    for (turns = 0; f->counters->dead == 0; turns++) {
        assert_in_range(turns, 0, 20000);

        /* a few new ones at times */

        if (turns % 50 == 0) {
            put(f, 1);
        }

        (void) run(f);
        (void) serve(f, 77, 500);
        pass(100);
    }

    assert_int_equal(letters(f), 1);
    assert_int_equal(f->counters->sent + f->counters->queued,
                     f->counters->seen - 1);
    assert_non_null(strstr((char *) unit_folder_read(f->pool, f->folder,
                                                     "shop.dead")->data,
                           "\"event\":{\"n\":77,"));

    pass(70000);
    (void) run(f);
    accept_all(f);
    assert_conserved(f);
    assert_int_equal(f->counters->queued, 0);
}


static void
what_fails_for_good_does_not_hold_up_others(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  turns, n, good;

    put(f, 10);

    /* it is the only one, for long */

    for (turns = 0; turns < 1000; turns++) {
        (void) run(f);
        (void) serve(f, 3, 500);
        pass(1000);
    }

    assert_int_equal(f->counters->sent, 0);

    /* others come, and wait for one pause at most */

    for (n = 0; n < 30; n++) {
        put(f, 10);
        good = 0;

        for (turns = 0; good == 0; turns++) {
            assert_in_range(turns, 0, 3200);
            (void) run(f);
            good = serve(f, 3, 500);
            pass(n ? 10 : 100);
        }
    }

    assert_in_range(f->counters->sent, 290, 310);
}


static void
in_an_outage_nothing_dies(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i, turns;

    f->account.retry_max = 2000;
    put(f, 205);

    for (turns = 0; turns < 5000; turns++) {
        (void) run(f);

        for (i = 0; i < ncalls; i++) {
            if (calls[i].open) {
                answer(f, i, (turns % 2) ? 500 : 0, "");
            }
        }

        ncalls = 0;
        pass(500);
    }

    assert_int_equal(f->counters->dead, 0);

    for (turns = 0; f->counters->queued; turns++) {
        assert_in_range(turns, 0, 100);
        (void) run(f);

        (void) serve(f, 1000, 500);
        pass(500);
    }

    assert_int_equal(f->counters->sent, 205);
    assert_conserved(f);
}


/* of all requests nine of ten fail, by chance */

static void
in_a_bad_hour_nothing_dies(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i, turns;

    f->account.retry_max = 1000;
    srandom(20260715);

    for (turns = 0; turns < 20000; turns++) {

        if (turns % 20 == 0 && f->counters->queued < 500) {
            put(f, 3);
        }

        (void) run(f);

        for (i = 0; i < ncalls; i++) {
            if (calls[i].open) {
                answer(f, i, (random() % 10) ? 500 : 202, "");
            }
        }

        ncalls = 0;
        pass(100);
    }

    assert_int_equal(f->counters->dead, 0);
    assert_in_range(f->counters->sent, 100, 100000);
    assert_int_equal(f->counters->seen, f->counters->sent
                                        + f->counters->queued
                                        + f->counters->spooled);
}


static void
one_that_never_gets_an_answer_dies_with_that(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  turns;

    put(f, 1);

    for (turns = 0; f->counters->dead == 0; turns++) {
        assert_in_range(turns, 0, 20000);

        if (turns % 20 == 0) {
            put(f, 10);
        }

        (void) run(f);
        (void) serve(f, 0, 0);
        pass(100);
    }

    assert_non_null(strstr((char *) unit_folder_read(f->pool, f->folder,
                                                     "shop.dead")->data,
                           "\"status\":0,\"code\":\"no_answer\""));
    assert_int_equal(letters(f), 1);
}


static void
what_is_aside_goes_to_whoever_comes_next(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                 turns;
    ngx_http_klaviyo_sender_t  next;

    put(f, 20);

    for (turns = 0; turns < 200; turns++) {
        (void) run(f);
        (void) serve(f, 3, 500);
        pass(100);
    }

    assert_in_range(f->counters->queued, 1, 10);

    /* as when the process has ended */
    (void) ngx_http_klaviyo_sender_stop(&f->sender);
    assert_int_equal(f->counters->queued, 0);
    assert_in_range(f->counters->spooled, 1, 10);

    start(f, &next, &f->account);
    (void) ngx_http_klaviyo_sender_run(&next);
    pass(2000);
    (void) ngx_http_klaviyo_sender_run(&next);
    assert_int_equal(f->counters->queued + f->counters->spooled
                     + f->counters->sent, 20);
    assert_int_equal(f->counters->spooled, 0);
    assert_in_range(ncalls, 1, 4);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(an_empty_ring_needs_no_look),
        test(a_full_batch_goes_at_once),
        test(a_batch_that_is_full_by_bytes_goes_at_once),
        test(a_single_event_goes_when_linger_ends),
        test(no_more_than_four_requests_are_in_flight),
        test(what_is_accepted_leaves_the_ring),
        test(the_budget_is_not_exceeded),
        test(a_lane_of_profiles_sends_one_a_request),

        test(after_a_failure_one_probe_resends_the_same_bytes),
        test(backoff_grows_with_each_failed_probe_only),
        test(a_late_success_does_not_end_what_a_failure_began),
        test(retry_after_is_kept_for_the_next_process_too),
        test(an_answer_cannot_stop_an_account_for_a_day),
        test(throttled_without_retry_after_backs_off),
        test(a_request_that_cannot_start_is_a_failure),
        test(a_status_that_does_not_exist_is_a_failure),
        test(a_refused_key_stops_and_is_tried_each_minute),

        test(a_pointed_event_dies_and_the_others_go_on),
        test(the_first_event_pointed_at_is_sent_alone),
        test(an_innocent_that_was_pointed_at_lives_and_halving_begins),
        test(pointers_that_count_from_one_kill_no_innocent),
        test(a_proof_ends_when_what_is_left_is_refused_again),
        test(the_first_and_the_last_event_can_be_sent_alone),
        test(an_event_that_klaviyo_knows_is_sent),
        test(all_events_pointed_at_finish_the_batch),
        test(without_a_pointer_halving_finds_the_bad_event),
        test(a_single_event_that_klaviyo_knows_is_sent_without_a_pointer_too),
        test(a_single_event_that_is_too_large_dies),
        test(after_twenty_deaths_in_a_row_nothing_more_dies),
        test(in_a_fault_a_repeated_event_is_no_reason_to_go_on),
        test(in_a_fault_new_events_are_tried_in_turn),
        test(in_a_fault_good_events_prove_that_others_are_accepted),
        test(in_a_fault_each_probe_takes_another_event),
        test(not_more_than_sixty_die_in_a_minute),
        test(an_event_stays_while_its_letter_cannot_be_written),
        test(full_dead_letters_hold_up_no_other_event),

        test(backfill_is_decided_when_first_sent),
        test(no_backfill_is_decided_as_well),
        test(the_dry_run_sends_nothing),
        test(a_dry_run_that_cannot_be_written_keeps_the_events),
        test(draining_waits_for_no_linger_and_no_long_backoff),
        test(draining_does_not_ignore_retry_after),
        test(draining_does_not_try_a_refused_account),
        test(draining_without_claim_sends_nothing_more),
        test(away_for_seconds_it_spools_all_but_what_is_tried_next),
        test(what_klaviyo_asks_to_wait_for_stays_in_the_ring),
        test(a_ring_that_is_half_full_is_spooled_whatever_the_reason),
        test(an_empty_ring_gets_something_to_try_with_from_the_spool),
        test(a_new_event_waits_for_few_old_ones),
        test(in_a_fault_new_events_stay_to_prove_that_it_is_over),
        test(a_request_without_answer_does_not_hold_back_a_ring_that_gets_full),
        test(while_draining_nothing_comes_back),
        test(stopping_moves_what_is_left_to_the_spool),
        test(stopping_gives_the_slots_back),
        test(who_lost_the_ring_finishes_and_claims_no_more),
        test(a_bad_batch_is_halved_while_others_are_accepted),
        test(what_fails_for_good_does_not_hold_up_others),
        test(in_an_outage_nothing_dies),
        test(in_a_bad_hour_nothing_dies),
        test(one_that_never_gets_an_answer_dies_with_that),
        test(what_is_aside_goes_to_whoever_comes_next),
    };

    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
