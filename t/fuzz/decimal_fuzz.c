
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Decimals: two of them, a line and the rest.  What is written is read as the
 * same number, and what is reckoned is exact.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decimal.h"


static void fuzz_round(fuzz_t *f, ngx_http_klaviyo_decimal_t *d);
static void fuzz_reckon(fuzz_t *f, ngx_http_klaviyo_decimal_t *a,
    ngx_http_klaviyo_decimal_t *b);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_int_t                   less;
    ngx_str_t                   first, second;
    ngx_http_klaviyo_decimal_t  a, b;

    first = fuzz_line(f);
    second = fuzz_rest(f);

    if (ngx_http_klaviyo_decimal_parse(&a, &first) != NGX_OK) {
        return;
    }

    fuzz_round(f, &a);
    assert_int_equal(ngx_http_klaviyo_decimal_compare(&a, &a), 0);

    if (ngx_http_klaviyo_decimal_parse(&b, &second) != NGX_OK) {
        return;
    }

    less = ngx_http_klaviyo_decimal_compare(&a, &b);

    if (less == 0) {
        assert_int_equal(ngx_http_klaviyo_decimal_compare(&b, &a), 0);

    } else {
        assert_true((less < 0)
                    == (ngx_http_klaviyo_decimal_compare(&b, &a) > 0));
    }

    fuzz_reckon(f, &a, &b);
}


static void
fuzz_round(fuzz_t *f, ngx_http_klaviyo_decimal_t *d)
{
    u_char                       buf[NGX_HTTP_KLAVIYO_DECIMAL_LEN];
    ngx_str_t                    text;
    ngx_http_klaviyo_decimal_t   again;

    text.data = buf;
    text.len = ngx_http_klaviyo_decimal_format(buf, d);

    assert_in_range(text.len, 1, NGX_HTTP_KLAVIYO_DECIMAL_LEN);

    text = fuzz_copy(f, &text);

    assert_int_equal(ngx_http_klaviyo_decimal_parse(&again, &text), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_decimal_compare(&again, d), 0);

    json_decref(fuzz_load(text.data, text.len));
}


static void
fuzz_reckon(fuzz_t *f, ngx_http_klaviyo_decimal_t *a,
    ngx_http_klaviyo_decimal_t *b)
{
    ngx_http_klaviyo_decimal_t  r, s;

    if (ngx_http_klaviyo_decimal_add(&r, a, b) == NGX_OK) {
        fuzz_round(f, &r);

        assert_int_equal(ngx_http_klaviyo_decimal_add(&s, b, a), NGX_OK);
        assert_int_equal(ngx_http_klaviyo_decimal_compare(&r, &s), 0);
    }

    if (ngx_http_klaviyo_decimal_multiply(&r, a, b) == NGX_OK) {
        fuzz_round(f, &r);

        /* what was multiplied exactly is divided exactly */

        if (b->coefficient != 0
            && ngx_http_klaviyo_decimal_divide(&s, &r, b) == NGX_OK)
        {
            assert_int_equal(ngx_http_klaviyo_decimal_compare(&s, a), 0);
        }
    }

    if (ngx_http_klaviyo_decimal_divide(&r, a, b) == NGX_OK) {
        assert_true(b->coefficient != 0);
        fuzz_round(f, &r);
    }

    if (b->exponent == 0 && b->coefficient > -400 && b->coefficient < 400
        && ngx_http_klaviyo_decimal_scale(&r, a, (ngx_int_t) b->coefficient)
           == NGX_OK)
    {
        fuzz_round(f, &r);

        if (ngx_http_klaviyo_decimal_scale(&s, &r,
                                           -(ngx_int_t) b->coefficient)
            == NGX_OK)
        {
            assert_int_equal(ngx_http_klaviyo_decimal_compare(&s, a), 0);
        }
    }
}
