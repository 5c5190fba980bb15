
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The header Accept; paths in the tail.
 */


#include "unit_shm.h"
#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_watch.h"


static ngx_str_t  types[] = {
    ngx_string("application/json"),
    ngx_string("text/html"),
    ngx_string("text/plain"),
    ngx_null_string
};


static ngx_uint_t
best(char *accept)
{
    ngx_str_t   text;
    ngx_uint_t  n, weight;

    n = 0;
    weight = 0;

    text.len = ngx_strlen(accept);
    text.data = (u_char *) strdup(accept);

    ngx_http_klaviyo_status_accept(&text, types, &n, &weight);

    free(text.data);

    return n;
}


static void
what_is_asked_for(void **state)
{
    assert_int_equal(best(""), 0);
    assert_int_equal(best("*/*"), 0);
    assert_int_equal(best("text/html"), 1);
    assert_int_equal(best("TEXT/HTML;charset=utf-8"), 1);
    assert_int_equal(best("image/png, text/*, application/xml"), 0);
    assert_int_equal(best(",;,=;q=,text/plain , "), 2);

    /* browsers; Prometheus */

    assert_int_equal(best("text/html,application/xhtml+xml,application/xml;"
                          "q=0.9,*/*;q=0.8"), 1);
    assert_int_equal(best("application/openmetrics-text;version=1.0.0,"
                          "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), 2);
}


static void
the_heaviest_wins(void **state)
{
    assert_int_equal(best("text/plain;q=0.5, text/html;q=0.7"), 1);
    assert_int_equal(best("text/plain; q=0.9 , text/html;q=0.7"), 2);
    assert_int_equal(best("text/plain, text/html"), 2);
    assert_int_equal(best("text/html, text/plain"), 1);
    assert_int_equal(best("*/*, text/html"), 1);
    assert_int_equal(best("text/html;q=0.1, */*"), 0);
    assert_int_equal(best("text/html;q=0"), 0);
    assert_int_equal(best("text/html;q=0.001"), 1);
    assert_int_equal(best("text/html;q=9999999999999999999"), 1);
    assert_int_equal(best("text/html;Q=0.1;x=1, text/plain;q=0.2"), 2);
}


static void
path(char *text, char *expected)
{
    u_char     buf[128];
    size_t     len;
    ngx_str_t  str;

    str.data = (u_char *) text;
    str.len = ngx_strlen(text);

    len = ngx_http_klaviyo_watch_path(buf, &str);

    assert_true(len <= str.len);
    buf[len] = '\0';

    assert_string_equal(buf, expected);
}


static void
paths_are_masked(void **state)
{
    path("", "");
    path("/", "/");
    path("/products/blue-wool-hat-2024", "/products/blue-wool-hat-2024");
    path("/p//x/", "/p//x/");
    path("/unsubscribe/jane@shop.de/now", "/unsubscribe/***/now");
    path("/@", "/*");
    path("/call/0151-234 567", "/call/***");
    path("/orders/123456", "/orders/123456");
    path("/orders/1234567", "/orders/***");
    path("/reset/abcdefghijklmnopqrst", "/reset/***");
    path("/reset/abcdefghijklmnopqrs", "/reset/abcdefghijklmnopqrs");
    path("/x/a-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
         "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "/x/***");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_asked_for),
        cmocka_unit_test(the_heaviest_wins),
        cmocka_unit_test(paths_are_masked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
