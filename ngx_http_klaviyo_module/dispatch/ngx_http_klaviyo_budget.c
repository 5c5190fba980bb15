
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * How many requests an account may still make, and how long to wait after a
 * failure.
 */


#include "ngx_http_klaviyo_budget.h"


/* a window is full after so many slices; one more is leaving it */
#define NGX_HTTP_KLAVIYO_BUDGET_SLICES   20

#define NGX_HTTP_KLAVIYO_BUDGET_BURST    (1000 / NGX_HTTP_KLAVIYO_BUDGET_SLICES)
#define NGX_HTTP_KLAVIYO_BUDGET_STEADY                                        \
    (60000 / NGX_HTTP_KLAVIYO_BUDGET_SLICES)

/* processes look at their clock once per turn of the event loop */
#define NGX_HTTP_KLAVIYO_BUDGET_SKEW     1000

/* nobody waits longer without asking again, but for Retry-After */
#define NGX_HTTP_KLAVIYO_BUDGET_WAIT     61000
#define NGX_HTTP_KLAVIYO_BUDGET_PAUSE    3600000

#define NGX_HTTP_KLAVIYO_BUDGET_MINUTE   60000


#if (NGX_HTTP_KLAVIYO_BUDGET_SLICES >= NGX_HTTP_KLAVIYO_BUDGET_TICKS)
#error "a window needs one slice more than what fills it"
#endif


static void ngx_http_klaviyo_budget_check_window(
    ngx_http_klaviyo_window_t *window, uint64_t now, uint64_t slice);
static void ngx_http_klaviyo_budget_merge_window(
    ngx_http_klaviyo_window_t *window, ngx_http_klaviyo_window_t *other);
static void ngx_http_klaviyo_budget_merge_left(
    ngx_http_klaviyo_budget_t *budget, ngx_http_klaviyo_budget_t *other);
static uint64_t ngx_http_klaviyo_budget_wait(ngx_http_klaviyo_window_t *window,
    uint64_t now, uint64_t slice, ngx_uint_t limit);
static void ngx_http_klaviyo_budget_advance(ngx_http_klaviyo_window_t *window,
    uint64_t tick);
static uint64_t ngx_http_klaviyo_budget_oldest(
    ngx_http_klaviyo_window_t *window);
static void ngx_http_klaviyo_budget_count(ngx_http_klaviyo_window_t *window);
static uint64_t ngx_http_klaviyo_budget_observed(
    ngx_http_klaviyo_budget_t *budget, uint64_t now, ngx_uint_t steady,
    ngx_uint_t share);
static ngx_uint_t ngx_http_klaviyo_budget_percent(ngx_uint_t n,
    ngx_uint_t percent);


ngx_msec_t
ngx_http_klaviyo_budget_take(ngx_http_klaviyo_budget_t *budget, uint64_t now,
    ngx_uint_t burst, ngx_uint_t steady, ngx_uint_t share)
{
    uint64_t    observed, second, minute, wait;
    ngx_uint_t  limit;

    ngx_http_klaviyo_budget_check(budget, now);

    if (budget->paused > now) {
        return budget->paused - now;
    }

    observed = ngx_http_klaviyo_budget_observed(budget, now, steady, share);

    limit = ngx_http_klaviyo_budget_percent(burst, share);
    second = ngx_http_klaviyo_budget_wait(&budget->burst, now,
                                          NGX_HTTP_KLAVIYO_BUDGET_BURST,
                                          ngx_max(limit, 1));

    limit = ngx_http_klaviyo_budget_percent(steady, share);
    minute = ngx_http_klaviyo_budget_wait(&budget->steady, now,
                                          NGX_HTTP_KLAVIYO_BUDGET_STEADY,
                                          ngx_max(limit, 1));

    wait = ngx_max(second, minute);
    wait = ngx_max(wait, observed);

    if (wait) {
        return ngx_min(wait, NGX_HTTP_KLAVIYO_BUDGET_WAIT);
    }

    ngx_http_klaviyo_budget_count(&budget->burst);
    ngx_http_klaviyo_budget_count(&budget->steady);

    if (budget->left) {
        budget->left--;
    }

    return 0;
}


/*
 * Moves the window to "now".  A process whose clock lags behind another's
 * counts in the other's newest slice: too early would make room too early.
 */

static uint64_t
ngx_http_klaviyo_budget_wait(ngx_http_klaviyo_window_t *window, uint64_t now,
    uint64_t slice, ngx_uint_t limit)
{
    uint64_t    sum, tick;
    ngx_uint_t  i;

    ngx_http_klaviyo_budget_advance(window, now / slice);

    sum = 0;

    for (i = 0; i <= NGX_HTTP_KLAVIYO_BUDGET_SLICES; i++) {
        sum += window->counts[i];
    }

    if (sum < limit) {
        return 0;
    }

    tick = ngx_http_klaviyo_budget_oldest(window)
           + NGX_HTTP_KLAVIYO_BUDGET_SLICES + 1;

    return tick * slice - now;
}


static void
ngx_http_klaviyo_budget_advance(ngx_http_klaviyo_window_t *window,
    uint64_t tick)
{
    if (tick > window->tick
        && tick - window->tick > NGX_HTTP_KLAVIYO_BUDGET_SLICES)
    {
        ngx_memzero(window->counts, sizeof(window->counts));
        window->tick = tick;
    }

    while (window->tick < tick) {
        window->tick++;
        window->counts[window->tick % (NGX_HTTP_KLAVIYO_BUDGET_SLICES + 1)] = 0;
    }
}


/* The first slice that counts something: when it leaves there is room. */

static uint64_t
ngx_http_klaviyo_budget_oldest(ngx_http_klaviyo_window_t *window)
{
    uint64_t    tick;
    ngx_uint_t  i;

    for (i = NGX_HTTP_KLAVIYO_BUDGET_SLICES; i; i--) {

        if (window->tick < i) {
            continue;
        }

        tick = window->tick - i;

        if (window->counts[tick % (NGX_HTTP_KLAVIYO_BUDGET_SLICES + 1)]) {
            return tick;
        }
    }

    return window->tick;
}


static void
ngx_http_klaviyo_budget_count(ngx_http_klaviyo_window_t *window)
{
    window->counts[window->tick % (NGX_HTTP_KLAVIYO_BUDGET_SLICES + 1)]++;
}


/*
 * What the headers said holds until the minute of theirs ends; "steady" stands
 * in for a limit that they did not tell.
 */

static uint64_t
ngx_http_klaviyo_budget_observed(ngx_http_klaviyo_budget_t *budget,
    uint64_t now, ngx_uint_t steady, ngx_uint_t share)
{
    ngx_uint_t  limit, others;

    if (budget->reset <= now) {
        return 0;
    }

    limit = budget->limit ? budget->limit : steady;
    others = ngx_http_klaviyo_budget_percent(limit, 100 - ngx_min(share, 100));

    return (budget->left <= others) ? budget->reset - now : 0;
}


static ngx_uint_t
ngx_http_klaviyo_budget_percent(ngx_uint_t n, ngx_uint_t percent)
{
    return n / 100 * percent + n % 100 * percent / 100;
}


/*
 * Within a minute of Klaviyo's "left" never grows: answers overtake each other,
 * and requests that are on their way are in our number, not yet in theirs.
 */

void
ngx_http_klaviyo_budget_observe(ngx_http_klaviyo_budget_t *budget,
    uint64_t now, ngx_uint_t limit, ngx_uint_t remaining, ngx_msec_t reset)
{
    uint64_t  end;

    if (remaining == (ngx_uint_t) -1) {
        return;
    }

    ngx_http_klaviyo_budget_check(budget, now);

    if (reset == (ngx_msec_t) -1) {
        end = (budget->reset > now) ? budget->reset
                                    : now + NGX_HTTP_KLAVIYO_BUDGET_MINUTE;

    } else {
        /* the header counts in whole seconds */
        end = now + ngx_min(reset, NGX_HTTP_KLAVIYO_BUDGET_MINUTE - 1000)
              + 1000;
    }

    remaining = ngx_min(remaining, NGX_MAX_INT32_VALUE);

    if (budget->reset > now) {

        if (end + NGX_HTTP_KLAVIYO_BUDGET_MINUTE / 2 < budget->reset) {
            /* of the minute before */
            return;
        }

        if (end < budget->reset + NGX_HTTP_KLAVIYO_BUDGET_MINUTE / 2) {
            remaining = ngx_min(remaining, budget->left);
            end = budget->reset;
        }
    }

    budget->left = remaining;
    budget->reset = end;
    budget->limit = (limit == (ngx_uint_t) -1)
                    ? 0 : ngx_min(limit, NGX_MAX_INT32_VALUE);
}


void
ngx_http_klaviyo_budget_pause(ngx_http_klaviyo_budget_t *budget, uint64_t now,
    ngx_msec_t msec)
{
    uint64_t  until;

    ngx_http_klaviyo_budget_check(budget, now);

    until = now + ngx_min(msec, NGX_HTTP_KLAVIYO_BUDGET_PAUSE);

    budget->paused = ngx_max(budget->paused, until);
}


/*
 * The larger of two counts is right for both: whoever takes has merged before,
 * so one of the two has seen what the other one has.
 */

void
ngx_http_klaviyo_budget_merge(ngx_http_klaviyo_budget_t *budget,
    ngx_http_klaviyo_budget_t *other, uint64_t now)
{
    ngx_http_klaviyo_budget_check(budget, now);
    ngx_http_klaviyo_budget_check(other, now);

    ngx_http_klaviyo_budget_merge_window(&budget->burst, &other->burst);
    ngx_http_klaviyo_budget_merge_window(&budget->steady, &other->steady);

    budget->paused = ngx_max(budget->paused, other->paused);

    ngx_http_klaviyo_budget_merge_left(budget, other);
}


static void
ngx_http_klaviyo_budget_merge_window(ngx_http_klaviyo_window_t *window,
    ngx_http_klaviyo_window_t *other)
{
    ngx_uint_t  i;

    ngx_http_klaviyo_budget_advance(window, other->tick);
    ngx_http_klaviyo_budget_advance(other, window->tick);

    for (i = 0; i <= NGX_HTTP_KLAVIYO_BUDGET_SLICES; i++) {
        window->counts[i] = ngx_max(window->counts[i], other->counts[i]);
    }
}


/* Of the same minute of Klaviyo's the smaller "left" holds, else the later */

static void
ngx_http_klaviyo_budget_merge_left(ngx_http_klaviyo_budget_t *budget,
    ngx_http_klaviyo_budget_t *other)
{
    if (other->reset + NGX_HTTP_KLAVIYO_BUDGET_MINUTE / 2 <= budget->reset) {
        return;
    }

    if (other->reset >= budget->reset + NGX_HTTP_KLAVIYO_BUDGET_MINUTE / 2) {
        budget->reset = other->reset;
        budget->left = other->left;
        budget->limit = other->limit;
        return;
    }

    budget->reset = ngx_max(budget->reset, other->reset);
    budget->left = ngx_min(budget->left, other->left);

    if (budget->limit == 0) {
        budget->limit = other->limit;
    }
}


void
ngx_http_klaviyo_budget_check(ngx_http_klaviyo_budget_t *budget, uint64_t now)
{
    ngx_http_klaviyo_budget_check_window(&budget->burst, now,
                                         NGX_HTTP_KLAVIYO_BUDGET_BURST);

    ngx_http_klaviyo_budget_check_window(&budget->steady, now,
                                         NGX_HTTP_KLAVIYO_BUDGET_STEADY);

    if (budget->paused > now + NGX_HTTP_KLAVIYO_BUDGET_PAUSE
                         + NGX_HTTP_KLAVIYO_BUDGET_SKEW)
    {
        budget->paused = 0;
    }

    if (budget->reset > now + NGX_HTTP_KLAVIYO_BUDGET_MINUTE
                        + NGX_HTTP_KLAVIYO_BUDGET_SKEW)
    {
        budget->reset = 0;
        budget->left = 0;
        budget->limit = 0;
    }
}


static void
ngx_http_klaviyo_budget_check_window(ngx_http_klaviyo_window_t *window,
    uint64_t now, uint64_t slice)
{
    if (window->tick > (now + NGX_HTTP_KLAVIYO_BUDGET_SKEW) / slice) {
        ngx_memzero(window, sizeof(ngx_http_klaviyo_window_t));
    }
}


ngx_msec_t
ngx_http_klaviyo_backoff(ngx_uint_t n, ngx_msec_t min, ngx_msec_t max)
{
    ngx_msec_t  ceiling, msec;

    if (n >= 32 || min > (max >> n)) {
        ceiling = max;

    } else {
        ceiling = min << n;
    }

    ceiling = ngx_min(ceiling, NGX_MAX_INT32_VALUE - 1);

    msec = (ngx_msec_t) ngx_random() % (ceiling + 1);

    return ngx_max(msec, 1);
}
