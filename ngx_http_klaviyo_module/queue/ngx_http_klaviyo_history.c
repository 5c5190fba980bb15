
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The last ten minutes of an account.
 *
 * A sample that is read while it is written may be of two seconds: the step is
 * stored last, and the next look is right.
 */


#include "ngx_http_klaviyo_history.h"


static ngx_http_klaviyo_sample_t *ngx_http_klaviyo_history_find(
    ngx_http_klaviyo_history_t *history, uint32_t step);
static ngx_http_klaviyo_sample_t *ngx_http_klaviyo_history_before(
    ngx_http_klaviyo_history_t *history, uint32_t step, uint32_t first);
static void ngx_http_klaviyo_history_diff(ngx_http_klaviyo_sample_t *from,
    ngx_http_klaviyo_sample_t *to, ngx_http_klaviyo_sample_t *sample);
static uint32_t ngx_http_klaviyo_history_grown(uint32_t from, uint32_t to);


void
ngx_http_klaviyo_history_add(ngx_http_klaviyo_history_t *history, time_t now,
    ngx_http_klaviyo_counters_t *counters)
{
    uint32_t                    step;
    ngx_uint_t                  i;
    ngx_http_klaviyo_sample_t   s, *sample;

    step = (uint32_t) (now / NGX_HTTP_KLAVIYO_HISTORY_STEP);

    ngx_memzero(&s, sizeof(ngx_http_klaviyo_sample_t));

    s.seen = (uint32_t) counters->seen;
    s.sent = (uint32_t) counters->sent;
    s.dead = (uint32_t) counters->dead;
    s.queued = (uint32_t) ngx_max((ngx_atomic_int_t) counters->queued, 0);
    s.spooled = (uint32_t) ngx_max((ngx_atomic_int_t) counters->spooled, 0);

    for (i = 0; i < NGX_HTTP_KLAVIYO_SKIP_N; i++) {
        s.skipped += (uint32_t) counters->skipped[i];
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_DROP_N; i++) {
        s.dropped += (uint32_t) counters->dropped[i];
    }

    if (!history->begun) {

        /* all counters were 0 when the zone was made */

        history->samples[(step - 1) % NGX_HTTP_KLAVIYO_HISTORY_N].step =
                                                                  step - 1;
        history->begun = 1;
    }

    sample = &history->samples[step % NGX_HTTP_KLAVIYO_HISTORY_N];

    *sample = s;

    ngx_memory_barrier();

    *(volatile uint32_t *) &sample->step = step;
}


ngx_int_t
ngx_http_klaviyo_history_step(ngx_http_klaviyo_history_t *history, time_t now,
    ngx_uint_t n, ngx_http_klaviyo_sample_t *sample)
{
    uint32_t                    step, first;
    ngx_http_klaviyo_sample_t  *to;

    first = (uint32_t) (now / NGX_HTTP_KLAVIYO_HISTORY_STEP)
            - NGX_HTTP_KLAVIYO_HISTORY_STEPS;
    step = first + n;

    to = ngx_http_klaviyo_history_find(history, step);

    if (to == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_history_diff(ngx_http_klaviyo_history_before(history,
                                                           step, first - 1),
                                  to, sample);

    return NGX_OK;
}


ngx_uint_t
ngx_http_klaviyo_history_last(ngx_http_klaviyo_history_t *history, time_t now,
    ngx_uint_t seconds, ngx_http_klaviyo_sample_t *sample)
{
    uint32_t                    step, first;
    ngx_http_klaviyo_sample_t  *from, *to;

    ngx_memzero(sample, sizeof(ngx_http_klaviyo_sample_t));

    step = (uint32_t) (now / NGX_HTTP_KLAVIYO_HISTORY_STEP);
    first = step - seconds / NGX_HTTP_KLAVIYO_HISTORY_STEP;

    to = ngx_http_klaviyo_history_before(history, step + 1, first);

    if (to == NULL) {
        return 0;
    }

    for (from = NULL, step = first; step < to->step && from == NULL; step++) {
        from = ngx_http_klaviyo_history_find(history, step);
    }

    ngx_http_klaviyo_history_diff(from, to, sample);

    return from ? (to->step - from->step) * NGX_HTTP_KLAVIYO_HISTORY_STEP : 0;
}


static ngx_http_klaviyo_sample_t *
ngx_http_klaviyo_history_find(ngx_http_klaviyo_history_t *history,
    uint32_t step)
{
    ngx_http_klaviyo_sample_t  *sample;

    sample = &history->samples[step % NGX_HTTP_KLAVIYO_HISTORY_N];

    return (sample->step == step) ? sample : NULL;
}


/* the newest one before "step", not before "first" */

static ngx_http_klaviyo_sample_t *
ngx_http_klaviyo_history_before(ngx_http_klaviyo_history_t *history,
    uint32_t step, uint32_t first)
{
    ngx_http_klaviyo_sample_t  *sample;

    while (step-- > first) {
        sample = ngx_http_klaviyo_history_find(history, step);

        if (sample) {
            return sample;
        }
    }

    return NULL;
}


static void
ngx_http_klaviyo_history_diff(ngx_http_klaviyo_sample_t *from,
    ngx_http_klaviyo_sample_t *to, ngx_http_klaviyo_sample_t *sample)
{
    *sample = *to;

    if (from == NULL) {
        from = to;
    }

    sample->seen = ngx_http_klaviyo_history_grown(from->seen, to->seen);
    sample->sent = ngx_http_klaviyo_history_grown(from->sent, to->sent);
    sample->skipped = ngx_http_klaviyo_history_grown(from->skipped,
                                                     to->skipped);
    sample->dropped = ngx_http_klaviyo_history_grown(from->dropped,
                                                     to->dropped);
    sample->dead = ngx_http_klaviyo_history_grown(from->dead, to->dead);
}


static uint32_t
ngx_http_klaviyo_history_grown(uint32_t from, uint32_t to)
{
    return ((int32_t) (to - from) > 0) ? to - from : 0;
}
