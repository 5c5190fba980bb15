
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Klaviyo's answers, or of whoever stands between: the status and the number
 * of events in the first line, the body in the rest.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_api.h"


static void fuzz_profile(fuzz_t *f, ngx_http_klaviyo_answer_t *answer);
static void fuzz_entries(ngx_http_klaviyo_verdict_t *verdict,
    ngx_uint_t events);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    u_char                      *p;
    ngx_int_t                    status, events;
    ngx_str_t                    line;
    ngx_http_klaviyo_answer_t    answer;
    ngx_http_klaviyo_verdict_t   verdict;

    line = fuzz_line(f);

    p = ngx_strlchr(line.data, line.data + line.len, ' ');
    if (p == NULL) {
        return;
    }

    status = ngx_atoi(line.data, p - line.data);
    events = ngx_atoi(p + 1, line.data + line.len - p - 1);

    if (status < 0 || status > 999 || events < 1 || events > 1000) {
        return;
    }

    ngx_http_klaviyo_api_init(&answer);
    ngx_memset(&verdict, 0xa5, sizeof(ngx_http_klaviyo_verdict_t));

    answer.status = status;
    answer.body = fuzz_rest(f);

    ngx_http_klaviyo_api_judge(&answer, NGX_HTTP_KLAVIYO_EVENTS, events,
                               f->pool, &verdict);

    switch (verdict.verdict) {

    case NGX_HTTP_KLAVIYO_VERDICT_DONE:
        assert_true(status / 100 == 2 || status == 409 || status == 400);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_WAIT:
        assert_true(status == 429 || status == 503);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_STOP:
        assert_true(status / 100 == 3 || status / 100 == 4);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_HALVE:
        assert_true(status == 400 || status == 413);
        assert_false(verdict.single && verdict.repeated);
        break;

    case NGX_HTTP_KLAVIYO_VERDICT_ENTRIES:
        assert_int_equal(status, 400);
        fuzz_entries(&verdict, events);
        break;

    default:
        assert_int_equal(verdict.verdict, NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
    }

    if (verdict.verdict != NGX_HTTP_KLAVIYO_VERDICT_ENTRIES) {
        assert_null(verdict.entries);
    }

    fuzz_profile(f, &answer);
}


/* of one profile: whatever is said, it is that one, and not delivered */

static void
fuzz_profile(fuzz_t *f, ngx_http_klaviyo_answer_t *answer)
{
    ngx_uint_t                   lane;
    ngx_http_klaviyo_verdict_t   verdict;

    for (lane = NGX_HTTP_KLAVIYO_PROFILES;
         lane < NGX_HTTP_KLAVIYO_LANES;
         lane++)
    {
        ngx_memset(&verdict, 0xa5, sizeof(ngx_http_klaviyo_verdict_t));

        ngx_http_klaviyo_api_judge(answer, lane, 1, f->pool, &verdict);

        assert_null(verdict.entries);
        assert_int_equal(verdict.repeated, 0);

        if (verdict.verdict == NGX_HTTP_KLAVIYO_VERDICT_DONE) {
            assert_int_equal(answer->status / 100, 2);
        }

        if (verdict.verdict == NGX_HTTP_KLAVIYO_VERDICT_HALVE) {
            assert_int_equal(verdict.single, 1);
        }
    }
}


/* entries of this batch, each once, by index */

static void
fuzz_entries(ngx_http_klaviyo_verdict_t *verdict, ngx_uint_t events)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_entry_t  *entry;

    assert_non_null(verdict->entries);
    assert_non_null(verdict->errors);
    assert_in_range(verdict->entries->nelts, 1, events);

    entry = verdict->entries->elts;

    for (i = 0; i < verdict->entries->nelts; i++) {
        assert_in_range(entry[i].index, i ? entry[i - 1].index + 1 : 0,
                        events - 1);
        assert_in_range(entry[i].error, 0, verdict->errors->nelts - 1);
    }
}
