
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Dates: each form that is read, and all that must not be taken for one.
 */


#include "unit.h"
#include "ngx_http_klaviyo_filter.h"


#define assert_date(text, expected)                                           \
    unit_assert_text(unit_date(state, unit_str(text)), unit_str(expected),    \
                     __FILE__, __LINE__)

#define assert_no_date(text)                                                  \
    assert_date(text, "none")


/* read and written again; the text ends where the sanitizer sees its end */

static ngx_str_t *
unit_date(void **state, ngx_str_t *text)
{
    int64_t      sec;
    ngx_str_t   *copy, *result;
    ngx_uint_t   msec;

    static ngx_str_t  none = ngx_string("none");

    copy = unit_fill(*state, 0, text->len);
    ngx_memcpy(copy->data, text->data, text->len);

    if (ngx_http_klaviyo_date_parse(copy, &sec, &msec) != NGX_OK) {
        return &none;
    }

    result = unit_fill(*state, 0, NGX_HTTP_KLAVIYO_DATE_LEN);
    result->len = ngx_http_klaviyo_date_format(result->data, sec, msec);

    return result;
}


static void
test_rfc_3339_becomes_utc(void **state)
{
    assert_date("2026-07-23T10:15:30Z", "2026-07-23T10:15:30Z");
    assert_date("2026-07-23t10:15:30z", "2026-07-23T10:15:30Z");
    assert_date("2026-07-23 10:15:30Z", "2026-07-23T10:15:30Z");
    assert_date("2026-07-23T10:15:30+03:00", "2026-07-23T07:15:30Z");
    assert_date("2026-07-23T10:15:30-0530", "2026-07-23T15:45:30Z");
    assert_date("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z");
    assert_date("2024-02-28T23:30:00-01:00", "2024-02-29T00:30:00Z");
}


static void
test_fractions_become_milliseconds(void **state)
{
    assert_date("2026-07-23T10:15:30.5Z", "2026-07-23T10:15:30.500Z");
    assert_date("2026-07-23T10:15:30.007Z", "2026-07-23T10:15:30.007Z");
    assert_date("2026-07-23T10:15:30.123456789+02:00",
                "2026-07-23T08:15:30.123Z");
    assert_date("2026-07-23T10:15:30.000Z", "2026-07-23T10:15:30Z");
    assert_date("2026-07-23T10:15:30.99999999999999999999999999999Z",
                "2026-07-23T10:15:30.999Z");
    assert_no_date("2026-07-23T10:15:30.Z");
}


static void
test_a_date_alone_is_midnight(void **state)
{
    assert_date("2026-07-23", "2026-07-23T00:00:00Z");
    assert_date("1969-07-20", "1969-07-20T00:00:00Z");
    assert_date("0001-01-01", "0001-01-01T00:00:00Z");
    assert_date("9999-12-31", "9999-12-31T00:00:00Z");
}


static void
test_a_time_without_offset_is_no_moment(void **state)
{
    assert_no_date("2026-07-23T10:15:30");
    assert_no_date("2026-07-23T10:15:30.5");
    assert_no_date("2026-07-23T10:15Z");
    assert_no_date("2026-07-23T");
    assert_no_date("10:15:30Z");
}


static void
test_fields_out_of_range_are_refused(void **state)
{
    assert_no_date("2026-00-23");
    assert_no_date("2026-13-23");
    assert_no_date("2026-07-00");
    assert_no_date("2026-04-31");
    assert_no_date("2026-02-29");
    assert_no_date("2100-02-29");
    assert_no_date("0000-01-01");
    assert_no_date("2026-07-23T24:00:00Z");
    assert_no_date("2026-07-23T10:60:00Z");
    assert_no_date("2026-07-23T10:15:60Z");
    assert_no_date("2026-07-23T10:15:30+24:00");
    assert_no_date("2026-07-23T10:15:30+01:60");

    assert_date("2000-02-29", "2000-02-29T00:00:00Z");
    assert_date("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z");
}


static void
test_an_offset_cannot_leave_the_years(void **state)
{
    assert_no_date("9999-12-31T23:30:00-01:00");
    assert_no_date("0001-01-01T00:30:00+01:00");
}


static void
test_what_follows_a_date_is_refused(void **state)
{
    assert_no_date("2026-07-23T10:15:30Zx");
    assert_no_date("2026-07-23T10:15:30+03:00x");
    assert_no_date("2026-07-23T10:15:30+03");
    assert_no_date("2026-07-23T10:15:30+3:00");
    assert_no_date("2026-07-23x");
    assert_no_date("2026-07-23\0");
    assert_no_date("2026-07-23T10:15:30Z ");
}


static void
test_epochs_are_told_by_their_magnitude(void **state)
{
    assert_date("1784801730", "2026-07-23T10:15:30Z");
    assert_date("1784801730123", "2026-07-23T10:15:30.123Z");
    assert_date("1784801730.5", "2026-07-23T10:15:30.500Z");
    assert_date("1784801730123.75", "2026-07-23T10:15:30.123Z");
    assert_date("100000000", "1973-03-03T09:46:40Z");
    assert_date("9999999999", "2286-11-20T17:46:39Z");
    assert_date("100000000000", "1973-03-03T09:46:40Z");
    assert_date("9999999999999", "2286-11-20T17:46:39.999Z");
}


static void
test_digits_that_may_be_something_else_are_refused(void **state)
{
    assert_no_date("0");
    assert_no_date("2026");
    assert_no_date("20260723");
    assert_no_date("20260723101530");
    assert_no_date("10000000000");
    assert_no_date("1784801730123456");
    assert_no_date("99999999999999999999999999");
    assert_no_date("0712345678");
    assert_no_date("-1784801730");
    assert_no_date("+1784801730");
    assert_no_date("1784801730x");
    assert_no_date("1784801730.");
    assert_no_date("1784801730.5.5");
    assert_no_date("1.78e9");
    assert_no_date(" 1784801730");
}


static void
test_http_dates_are_read(void **state)
{
    assert_date("Thu, 23 Jul 2026 10:15:30 GMT", "2026-07-23T10:15:30Z");
    assert_date("Thursday, 23-Jul-26 10:15:30 GMT", "2026-07-23T10:15:30Z");
    assert_date("Thu Jul 23 10:15:30 2026", "2026-07-23T10:15:30Z");
    assert_date("Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z");
}


static void
test_other_zones_of_http_dates_are_refused(void **state)
{
    assert_no_date("Thu, 23 Jul 2026 10:15:30 +0200");
    assert_no_date("Thu, 23 Jul 2026 10:15:30 EST");
    assert_no_date("Thu, 23 Jul 2026 10:15:30");
    assert_no_date("Thu Jul 23 2026 10:15:30 GMT+0200");
    assert_no_date("Thu Jul 23 10:15:30 2026 CEST");
}


static void
test_what_is_no_date_is_refused(void **state)
{
    assert_no_date("");
    assert_no_date("yesterday");
    assert_no_date("23.07.2026");
    assert_no_date("07/23/2026");
    assert_no_date("2026-7-23");
    assert_no_date("20a6-07-23");
    assert_no_date(", ,,,,,,,,,,,,,,,,,,,,,,, GMT");
    assert_no_date("\xff\xff\xff\xff-\xff\xff\xff\xff\xff\xff");
}


static void
test_no_prefix_of_a_date_is_read_beyond_its_end(void **state)
{
    size_t      i, n;
    ngx_str_t  *text;

    static char  *dates[] = {
        "2026-07-23T10:15:30.123+03:00",
        "Thu, 23 Jul 2026 10:15:30 GMT",
        "Thursday, 23-Jul-26 10:15:30 GMT",
        "Thu Jul 23 10:15:30 2026",
        "1784801730123.75"
    };

    for (i = 0; i < sizeof(dates) / sizeof(char *); i++) {
        for (n = 0; n < ngx_strlen(dates[i]); n++) {
            text = unit_fill(*state, 0, n);
            ngx_memcpy(text->data, dates[i], n);

            (void) unit_date(state, text);
        }
    }
}


static void
test_only_years_of_four_digits_are_written(void **state)
{
    u_char  buf[NGX_HTTP_KLAVIYO_DATE_LEN];

    assert_int_equal(ngx_http_klaviyo_date_format(buf, 253402300800, 0), 0);
    assert_int_equal(ngx_http_klaviyo_date_format(buf, -62135596801, 0), 0);
    assert_int_equal(ngx_http_klaviyo_date_format(buf, INT64_MIN, 0), 0);
    assert_int_equal(ngx_http_klaviyo_date_format(buf, 0, 0), 20);
    assert_int_equal(ngx_http_klaviyo_date_format(buf, -1, 1), 24);
    assert_memory_equal(buf, "1969-12-31T23:59:59.001Z", 24);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(test_rfc_3339_becomes_utc),
        unit_test(test_fractions_become_milliseconds),
        unit_test(test_a_date_alone_is_midnight),
        unit_test(test_a_time_without_offset_is_no_moment),
        unit_test(test_fields_out_of_range_are_refused),
        unit_test(test_an_offset_cannot_leave_the_years),
        unit_test(test_what_follows_a_date_is_refused),
        unit_test(test_epochs_are_told_by_their_magnitude),
        unit_test(test_digits_that_may_be_something_else_are_refused),
        unit_test(test_http_dates_are_read),
        unit_test(test_other_zones_of_http_dates_are_refused),
        unit_test(test_what_is_no_date_is_refused),
        unit_test(test_no_prefix_of_a_date_is_read_beyond_its_end),
        unit_test(test_only_years_of_four_digits_are_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
