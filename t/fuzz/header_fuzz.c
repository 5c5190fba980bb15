
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Headers of answers, a line each, and what the budget makes of them: however
 * they lie, an account waits no longer than the budget says, and takes no more
 * than its limits.  A line that begins with "+" moves the clock by so many
 * milliseconds, one with "-" back.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_api.h"
#include "ngx_http_klaviyo_budget.h"


#define FUZZ_NOW     1784073600
#define FUZZ_LINES   200

#define FUZZ_BURST   10
#define FUZZ_STEADY  150

/* NGX_HTTP_KLAVIYO_MAX_PAUSE, and what clocks may differ by */
#define FUZZ_WAIT    (3600000 + 1000)


static void fuzz_ask(ngx_http_klaviyo_budget_t *budget, uint64_t now);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    uint64_t                    now;
    ngx_int_t                   step;
    ngx_str_t                   line;
    ngx_uint_t                  i;
    ngx_http_klaviyo_answer_t   answer;
    ngx_http_klaviyo_budget_t   budget;

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));
    ngx_http_klaviyo_api_init(&answer);

    now = (uint64_t) FUZZ_NOW * 1000;

    for (i = 0; i < FUZZ_LINES && f->pos < f->last; i++) {
        line = fuzz_line(f);

        if (line.len && (line.data[0] == '+' || line.data[0] == '-')) {
            step = ngx_atoi(line.data + 1, line.len - 1);

            if (step != NGX_ERROR && step < 1000000000) {
                now = (line.data[0] == '+') ? now + step : now - step;
            }

        } else {
            ngx_http_klaviyo_api_header(&answer, &line, now / 1000);
        }

        ngx_http_klaviyo_budget_observe(&budget, now, answer.limit,
                                        answer.remaining, answer.reset);

        if (answer.retry_after != (ngx_msec_t) -1) {
            ngx_http_klaviyo_budget_pause(&budget, now, answer.retry_after);
            answer.retry_after = (ngx_msec_t) -1;
        }

        fuzz_ask(&budget, now);
    }
}


static void
fuzz_ask(ngx_http_klaviyo_budget_t *budget, uint64_t now)
{
    ngx_uint_t  n;
    ngx_msec_t  wait;

    for (n = 0; /* void */ ; n++) {
        assert_in_range(n, 0, FUZZ_BURST);

        wait = ngx_http_klaviyo_budget_take(budget, now, FUZZ_BURST,
                                            FUZZ_STEADY, 80);
        if (wait) {
            break;
        }
    }

    assert_in_range(wait, 1, FUZZ_WAIT);
}
