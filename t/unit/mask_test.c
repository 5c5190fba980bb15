
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of a value may tell who somebody is.
 */


#include "unit_shm.h"
#include "ngx_http_klaviyo_mask.h"


static ngx_uint_t
masks(char *s)
{
    ngx_str_t  str;

    str.data = (u_char *) s;
    str.len = strlen(s);

    return ngx_http_klaviyo_mask_text(&str);
}


static ngx_uint_t
names(char *s)
{
    ngx_str_t  str;

    str.data = (u_char *) s;
    str.len = strlen(s);

    return ngx_http_klaviyo_mask_name(&str);
}


static void
texts_are_masked(void **state)
{
    assert_true(masks("jane@shop.de"));
    assert_true(masks("/u?e=jane%40shop.de"));
    assert_true(masks("+49 151 5555555"));
    assert_true(masks("(555) 555-0100"));
    assert_true(masks("4915155555555"));
    assert_true(masks("/cart/c1aB2c3dE4f5a6b7c8d9e0f1"));
    assert_true(masks("eyJhbGciOiJIUzI1NiJ9aaaaaa"));

    assert_false(masks(""));
    assert_false(masks("Wool hat"));
    assert_false(masks("24.00"));
    assert_false(masks("1234567.00"));
    assert_false(masks("2026-07-23"));
    assert_false(masks("2026-07-23T10:15:30Z"));
    assert_false(masks("gid://shopify/Product/1234567890123"));
    assert_false(masks("https://shop.example/products/wool-hat?v=1"));
    assert_false(masks("%4"));
}


static void
names_are_known(void **state)
{
    assert_true(names("$arg_email"));
    assert_true(names("@request.customer.shippingAddress"));
    assert_true(names("firstName"));
    assert_true(names("accessToken"));

    assert_false(names(""));
    assert_false(names("ProductName"));
    assert_false(names("$cookie_consent"));
    assert_false(names("author"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(texts_are_masked),
        cmocka_unit_test(names_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
