
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Telephone numbers, from any country: the first line.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_filter_table.h"


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    size_t      i, len;
    void       *country;
    u_char      buf[NGX_HTTP_KLAVIYO_PHONE_LEN];
    u_char      again[NGX_HTTP_KLAVIYO_PHONE_LEN];
    ngx_str_t   name, text;

    name = fuzz_line(f);
    text = fuzz_rest(f);

    country = ngx_http_klaviyo_phone_country(&name);
    if (country == NULL) {
        return;
    }

    len = ngx_http_klaviyo_phone_format(buf, country, &text);

    if (len == 0) {
        return;
    }

    assert_in_range(len, 2, NGX_HTTP_KLAVIYO_PHONE_LEN);
    assert_int_equal(buf[0], '+');
    assert_in_range(buf[1], '1', '9');

    for (i = 2; i < len; i++) {
        assert_in_range(buf[i], '0', '9');
    }

    /* E.164 is the same from everywhere */

    text.data = buf;
    text.len = len;
    text = fuzz_copy(f, &text);

    assert_int_equal(ngx_http_klaviyo_phone_format(again, country, &text),
                     len);
    assert_memory_equal(again, buf, len);
}
