
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Dates: what is understood is written, and what is written is understood as
 * the same moment.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_filter.h"


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    size_t      len;
    u_char      buf[NGX_HTTP_KLAVIYO_DATE_LEN];
    int64_t     sec, again;
    ngx_str_t   text;
    ngx_uint_t  msec, same;

    text = fuzz_rest(f);

    if (ngx_http_klaviyo_date_parse(&text, &sec, &msec) != NGX_OK) {
        return;
    }

    assert_in_range(msec, 0, 999);

    len = ngx_http_klaviyo_date_format(buf, sec, msec);

    if (len == 0) {
        return;
    }

    assert_in_range(len, 20, NGX_HTTP_KLAVIYO_DATE_LEN);

    text.data = buf;
    text.len = len;
    text = fuzz_copy(f, &text);

    assert_int_equal(ngx_http_klaviyo_date_parse(&text, &again, &same),
                     NGX_OK);
    assert_true(again == sec);
    assert_int_equal(same, msec);
}
