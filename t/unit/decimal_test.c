
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Decimal arithmetic: nothing is rounded that need not be, nothing overflows.
 */


#include "unit.h"
#include "ngx_http_klaviyo_decimal.h"


#define assert_decimal(text, expected)                                        \
    unit_assert_text(unit_decimal(state, unit_str(text)),                     \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_refused(text)                                                  \
    assert_decimal(text, "refused")

#define assert_result(op, a, b, expected)                                     \
    unit_assert_text(unit_op(state, ngx_http_klaviyo_decimal_##op,            \
                             unit_str(a), unit_str(b)),                       \
                     unit_str(expected), __FILE__, __LINE__)


typedef ngx_int_t (*unit_op_pt)(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);


static ngx_str_t  unit_refused = ngx_string("refused");


static ngx_str_t *
unit_format(void **state, ngx_int_t rc, ngx_http_klaviyo_decimal_t *d)
{
    ngx_str_t  *str;

    if (rc != NGX_OK) {
        assert_int_equal(rc, NGX_DECLINED);
        return &unit_refused;
    }

    /* a buffer of just that size, so that a sanitizer sees the end of it */

    str = unit_fill(*state, 0, NGX_HTTP_KLAVIYO_DECIMAL_LEN);
    str->len = ngx_http_klaviyo_decimal_format(str->data, d);

    return str;
}


static ngx_str_t *
unit_decimal(void **state, ngx_str_t *text)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_decimal_t  d;

    rc = ngx_http_klaviyo_decimal_parse(&d, text);

    return unit_format(state, rc, &d);
}


static ngx_str_t *
unit_op(void **state, unit_op_pt op, ngx_str_t *a, ngx_str_t *b)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_decimal_t  r, x, y;

    assert_int_equal(ngx_http_klaviyo_decimal_parse(&x, a), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_decimal_parse(&y, b), NGX_OK);

    rc = op(&r, &x, &y);

    return unit_format(state, rc, &r);
}


static ngx_str_t *
unit_scale(void **state, ngx_str_t *text, ngx_int_t n)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_decimal_t  r, d;

    assert_int_equal(ngx_http_klaviyo_decimal_parse(&d, text), NGX_OK);

    rc = ngx_http_klaviyo_decimal_scale(&r, &d, n);

    return unit_format(state, rc, &r);
}


static ngx_int_t
unit_compare(ngx_str_t *a, ngx_str_t *b)
{
    ngx_http_klaviyo_decimal_t  x, y;

    assert_int_equal(ngx_http_klaviyo_decimal_parse(&x, a), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_decimal_parse(&y, b), NGX_OK);

    return ngx_http_klaviyo_decimal_compare(&x, &y);
}


static void
test_numbers_are_written_in_shortest_form(void **state)
{
    assert_decimal("0", "0");
    assert_decimal("-0.000", "0");
    assert_decimal("+5", "5");
    assert_decimal("007", "7");
    assert_decimal("19.90", "19.9");
    assert_decimal("19.99", "19.99");
    assert_decimal("-0.05", "-0.05");
    assert_decimal("1200", "1200");
    assert_decimal("1.2e3", "1200");
    assert_decimal("1200E-3", "1.2");
    assert_decimal("-1e+2", "-100");
    assert_decimal("10.0", "10");
}


static void
test_what_is_no_number_is_refused(void **state)
{
    assert_refused("");
    assert_refused("-");
    assert_refused("+");
    assert_refused("--1");
    assert_refused(".5");
    assert_refused("5.");
    assert_refused("-.5");
    assert_refused("1..2");
    assert_refused("1.2.3");
    assert_refused("1e");
    assert_refused("1e+");
    assert_refused("e5");
    assert_refused("1e5x");
    assert_refused("1,200");
    assert_refused(" 1");
    assert_refused("1 ");
    assert_refused("1\0");
    assert_refused("0x10");
    assert_refused("inf");
    assert_refused("nan");
    assert_refused("\xD9\xA3");
}


static void
test_long_numbers_get_an_exponent(void **state)
{
    assert_decimal("1e40", "1e40");
    assert_decimal("-125e50", "-1.25e52");
    assert_decimal("1e-39", "0.000000000000000000000000000000000000001");
    assert_decimal("1e-40", "1e-40");
    assert_decimal("1.5e-39", "1.5e-39");
    assert_decimal("12345678901234567890123456789012345678e-37",
                   "1.2345678901234567890123456789012345678");
    assert_decimal("-12345678901234567890123456789012345678e-300",
                   "-1.2345678901234567890123456789012345678e-263");
}


static void
test_integers_beyond_64_bits_get_an_exponent(void **state)
{
    assert_decimal("1e18", "1000000000000000000");
    assert_decimal("9223372036854775807", "9223372036854775807");
    assert_decimal("-9223372036854775807", "-9223372036854775807");
    assert_decimal("9223372036854775808", "9.223372036854775808e18");
    assert_decimal("1e19", "1e19");
    assert_decimal("12345678901234567890", "1.234567890123456789e19");
    assert_decimal("12345678901234567890.5", "12345678901234567890.5");
}


static void
test_what_does_not_fit_is_refused(void **state)
{
    assert_decimal("99999999999999999999999999999999999999",
                   "9.9999999999999999999999999999999999999e37");
    assert_refused("100000000000000000000000000000000000001");
    assert_refused("340282366920938463463374607431768211456");
    assert_decimal("1e308", "1e308");
    assert_decimal("1.7976931348623157e308", "1.7976931348623157e308");
    assert_refused("1.7976931348623158e308");
    assert_refused("-0.17976931348623158e309");
    assert_refused("2e308");
    assert_refused("1e309");
    assert_refused("1e999999999999999999999999999999");
    assert_refused("1e-999999999999999999999999999999");
    assert_refused("1e-401");
    assert_decimal("0e999999999999999999999999999999", "0");
}


static void
test_zeros_at_the_ends_take_no_room(void **state)
{
    ngx_str_t  *str;

    str = unit_fill(*state, '0', 100000);

    str->data[str->len - 1] = '7';
    assert_text(unit_decimal(state, str), "7");

    str->data[0] = '1';
    str->data[1] = '.';
    str->data[str->len - 1] = '0';
    assert_text(unit_decimal(state, str), "1");

    str->data[1] = '0';
    assert_text(unit_decimal(state, str), "refused");

    str->len = 300;
    assert_text(unit_decimal(state, str), "1e299");
}


static void
test_sums_are_exact(void **state)
{
    assert_result(add, "0.1", "0.2", "0.3");
    assert_result(add, "19.99", "0.01", "20");
    assert_result(add, "5", "-7.5", "-2.5");
    assert_result(add, "-5", "7.5", "2.5");
    assert_result(add, "-5", "-7.5", "-12.5");
    assert_result(add, "7.5", "-7.5", "0");
    assert_result(add, "0", "1e300", "1e300");
    assert_result(add, "1e300", "0", "1e300");
}


static void
test_a_sum_that_does_not_fit_is_refused(void **state)
{
    assert_result(add, "1e300", "1", "refused");
    assert_result(add, "1", "-1e-300", "refused");
    assert_result(add, "99999999999999999999999999999999999999", "1", "1e38");
    assert_result(add, "99999999999999999999999999999999999999",
                  "99999999999999999999999999999999999999", "refused");
    assert_result(add, "-99999999999999999999999999999999999999",
                  "99999999999999999999999999999999999999", "0");
}


static void
test_products_are_exact(void **state)
{
    assert_result(multiply, "19.99", "3", "59.97");
    assert_result(multiply, "-0.5", "0.5", "-0.25");
    assert_result(multiply, "-2", "-2", "4");
    assert_result(multiply, "0", "-5", "0");
    assert_result(multiply, "9999999999999999999", "9999999999999999999",
                  "9.9999999999999999980000000000000000001e37");
    assert_result(multiply, "99999999999999999999", "9999999999999999999",
                  "refused");
    assert_result(multiply, "1e200", "1e200", "refused");
}


static void
test_quotients_that_end_are_exact(void **state)
{
    assert_result(divide, "1", "8", "0.125");
    assert_result(divide, "-1999", "100", "-19.99");
    assert_result(divide, "0", "3", "0");
    assert_result(divide, "1", "1073741824",
                  "0.000000000931322574615478515625");
    assert_result(divide, "12345678901234567890123456789012345678", "1e38",
                  "0.12345678901234567890123456789012345678");
}


static void
test_quotients_that_do_not_end_are_rounded(void **state)
{
    assert_result(divide, "1", "3", "0.3333333333333333333333333333");
    assert_result(divide, "2", "3", "0.6666666666666666666666666667");
    assert_result(divide, "-20", "3", "-6.666666666666666666666666667");
    assert_result(divide, "100", "7", "14.28571428571428571428571429");
    assert_result(divide, "3e37", "2999999999999999999999999999999999999",
                  "10");
}


static void
test_impossible_quotients_are_refused(void **state)
{
    assert_result(divide, "1", "0", "refused");
    assert_result(divide, "0", "0", "refused");
    assert_result(divide, "1", "99999999999999999999999999999999999999",
                  "refused");
    assert_result(divide, "1e300", "1e-300", "refused");
}


static void
test_scale_moves_the_point(void **state)
{
    assert_text(unit_scale(state, unit_str("1800"), 2), "18");
    assert_text(unit_scale(state, unit_str("1999"), 2), "19.99");
    assert_text(unit_scale(state, unit_str("-5"), 2), "-0.05");
    assert_text(unit_scale(state, unit_str("1.5"), -3), "1500");
    assert_text(unit_scale(state, unit_str("7"), 0), "7");
    assert_text(unit_scale(state, unit_str("0"), 900), "0");
    assert_text(unit_scale(state, unit_str("1"), 900), "refused");
    assert_text(unit_scale(state, unit_str("1"), NGX_MAX_INT_T_VALUE),
                "refused");
    assert_text(unit_scale(state, unit_str("1"), -NGX_MAX_INT_T_VALUE - 1),
                "refused");
}


static void
test_comparison_goes_by_value(void **state)
{
    assert_int_equal(unit_compare(unit_str("1.0"), unit_str("1")), 0);
    assert_int_equal(unit_compare(unit_str("0"), unit_str("-0")), 0);
    assert_true(unit_compare(unit_str("2"), unit_str("10")) < 0);
    assert_true(unit_compare(unit_str("10"), unit_str("9.99")) > 0);
    assert_true(unit_compare(unit_str("-10"), unit_str("-9.99")) < 0);
    assert_true(unit_compare(unit_str("-1"), unit_str("0")) < 0);
    assert_true(unit_compare(unit_str("0"), unit_str("-1")) > 0);
    assert_true(unit_compare(unit_str("-5"), unit_str("1e-300")) < 0);
    assert_true(unit_compare(unit_str("1e300"), unit_str("1e-300")) > 0);
    assert_true(unit_compare(unit_str("12"), unit_str("12.5")) < 0);
    assert_true(
        unit_compare(unit_str("1"),
                     unit_str("1.0000000000000000000000000000000000001"))
        < 0);
}


static void
test_a_coefficient_from_elsewhere_needs_no_order(void **state)
{
    ngx_http_klaviyo_decimal_t  r, d;

    d.coefficient = 1200;
    d.exponent = -2;
    assert_text(unit_format(state, NGX_OK, &d), "12");

    d.coefficient = (__int128) 1 << 126;
    d.coefficient = -d.coefficient - d.coefficient;
    d.exponent = 0;

    assert_int_equal(ngx_http_klaviyo_decimal_scale(&r, &d, 0), NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_decimal_multiply(&r, &d, &d),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_decimal_add(&r, &d, &d), NGX_DECLINED);
    assert_text(unit_format(state, NGX_OK, &d),
                "-1.70141183460469231731687303715884105728e38");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(test_numbers_are_written_in_shortest_form),
        unit_test(test_what_is_no_number_is_refused),
        unit_test(test_long_numbers_get_an_exponent),
        unit_test(test_integers_beyond_64_bits_get_an_exponent),
        unit_test(test_what_does_not_fit_is_refused),
        unit_test(test_zeros_at_the_ends_take_no_room),
        unit_test(test_sums_are_exact),
        unit_test(test_a_sum_that_does_not_fit_is_refused),
        unit_test(test_products_are_exact),
        unit_test(test_quotients_that_end_are_exact),
        unit_test(test_quotients_that_do_not_end_are_rounded),
        unit_test(test_impossible_quotients_are_refused),
        unit_test(test_scale_moves_the_point),
        unit_test(test_comparison_goes_by_value),
        unit_test(test_a_coefficient_from_elsewhere_needs_no_order)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
