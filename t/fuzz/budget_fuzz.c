
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A budget of any bytes, as shared memory may hold them after a crash or a
 * clock that was set, and any clock.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_budget.h"


#define FUZZ_WAIT  (3600000 + 1000)


typedef struct {
    ngx_http_klaviyo_budget_t  budget;
    uint64_t                   now;
    uint32_t                   burst;
    uint32_t                   steady;
    uint8_t                    share;
} fuzz_budget_t;


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t      bytes;
    ngx_uint_t     i;
    ngx_msec_t     wait;
    fuzz_budget_t  b;

    bytes = fuzz_rest(f);

    ngx_memzero(&b, sizeof(fuzz_budget_t));
    ngx_memcpy(&b, bytes.data, ngx_min(bytes.len, sizeof(fuzz_budget_t)));

    /* a clock that never is beyond the year 5000, limits and share as the
     * configuration takes them */

    b.now %= 100000000000000ULL;
    b.burst = 1 + b.burst % 100000;
    b.steady = 1 + b.steady % 1000000;
    b.share = 1 + b.share % 100;

    ngx_http_klaviyo_budget_check(&b.budget, b.now);

    for (i = 0; i < 3; i++) {
        wait = ngx_http_klaviyo_budget_take(&b.budget, b.now, b.burst,
                                            b.steady, b.share);
        assert_in_range(wait, 0, FUZZ_WAIT);

        b.now += wait;
    }

    wait = ngx_http_klaviyo_backoff(b.burst % 100, b.steady, b.now);
    assert_in_range(wait, 1, ngx_max(b.now, 1));
}
