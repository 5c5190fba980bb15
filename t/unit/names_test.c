
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Names that Klaviyo documents: what is near to one, and what is not.
 */


#include "unit.h"
#include "ngx_http_klaviyo_names.h"


#define assert_distance(documented, name, expected)                           \
    assert_int_equal(unit_distance(state, unit_str(documented),               \
                                   unit_str(name)),                           \
                     expected)

#define assert_near(list, name, expected)                                     \
    assert_true(unit_near(list, unit_str(name), unit_str(expected)))

#define assert_not_near(list, name)                                           \
    assert_null(ngx_http_klaviyo_names_near(list, unit_str(name)))


/* exact sizes, so that a sanitizer sees the ends */

static ngx_int_t
unit_distance(void **state, ngx_str_t *documented, ngx_str_t *name)
{
    ngx_str_t  *a, *b;

    a = unit_fill(*state, 0, documented->len);
    ngx_memcpy(a->data, documented->data, documented->len);

    b = unit_fill(*state, 0, name->len);
    ngx_memcpy(b->data, name->data, name->len);

    return ngx_http_klaviyo_names_distance(a, b);
}


static ngx_uint_t
unit_near(ngx_http_klaviyo_documented_t *list, ngx_str_t *name,
    ngx_str_t *expected)
{
    ngx_http_klaviyo_documented_t  *near;

    near = ngx_http_klaviyo_names_near(list, name);

    return near != NULL
           && near->name.len == expected->len
           && ngx_memcmp(near->name.data, expected->data, expected->len) == 0;
}


static void
test_case_and_separators_are_no_distance(void **state)
{
    assert_distance("ProductID", "ProductID", 0);
    assert_distance("ProductID", "productid", 0);
    assert_distance("ProductID", "Product ID", 0);
    assert_distance("ProductID", "product_id", 0);
    assert_distance("ProductID", "-product--id ", 0);
    assert_distance("Search Term", "SearchTerm", 0);
    assert_distance("SKU", "sku", 0);
    assert_distance("Address1", "address_1", 0);
}


static void
test_letters_are(void **state)
{
    assert_distance("Price", "Prise", 1);
    assert_distance("Price", "Prices", 1);
    assert_distance("Price", "Pric", 1);
    assert_distance("Price", "Prises", NGX_DECLINED);
    assert_distance("ItemNames", "ItemName", 1);
    assert_distance("ProductName", "ProdcutName", 2);
    assert_distance("CompareAtPrice", "CompareToPrice", 2);
    assert_distance("CompareAtPrice", "ComparePrices", NGX_DECLINED);
    assert_distance("AddedItemURL", "AddedItemSKU", NGX_DECLINED);
    assert_distance("Placed Order", "Placed Orders", 1);
}


static void
test_short_names_are_near_by_case_only(void **state)
{
    assert_distance("SKU", "SKUs", NGX_DECLINED);
    assert_distance("URL", "URI", NGX_DECLINED);
    assert_distance("Zip", "Tip", NGX_DECLINED);
    assert_distance("City", "Cit", NGX_DECLINED);
    assert_distance("City", "Cite", 1);
}


static void
test_other_digits_are_another_name(void **state)
{
    assert_distance("Address1", "Address2", NGX_DECLINED);
    assert_distance("Address1", "Address", NGX_DECLINED);
    assert_distance("Address1", "Address11", NGX_DECLINED);
    assert_distance("Placed Order", "Placed Order 2", NGX_DECLINED);
    assert_distance("Address1", "Adress1", 1);
}


static void
test_any_bytes_are_compared(void **state)
{
    u_char      byte;
    ngx_str_t   name, *documented;
    ngx_uint_t  i;

    assert_distance("ProductID", "", NGX_DECLINED);
    assert_distance("ProductID", " -_", NGX_DECLINED);
    assert_distance("ProductID", "Product\xff" "D", 1);

    documented = unit_str("ProductID");

    for (i = 0; i < 256; i++) {
        byte = (u_char) i;

        name.data = &byte;
        name.len = 1;

        assert_int_equal(ngx_http_klaviyo_names_distance(documented, &name),
                         NGX_DECLINED);
    }
}


static void
test_long_names_are_none_of_ours(void **state)
{
    size_t  len;

    for (len = 30; len < 100; len++) {
        assert_int_equal(unit_distance(state, unit_str("CompareAtPrice"),
                                       unit_fill(*state, 'a', len)),
                         NGX_DECLINED);
    }
}


static void
test_the_nearest_one_is_found(void **state)
{
    assert_near(ngx_http_klaviyo_item_names, "ProductId", "ProductID");
    assert_near(ngx_http_klaviyo_item_names, "ProductUrl", "ProductURL");
    assert_near(ngx_http_klaviyo_address_names, "Adress2", "Address2");
    assert_not_near(ngx_http_klaviyo_item_names, "ProductID");
    assert_not_near(ngx_http_klaviyo_item_names, "Color");
    assert_not_near(ngx_http_klaviyo_item_names, "Price");
}


static void
test_metrics(void **state)
{
    assert_non_null(ngx_http_klaviyo_metric_find(unit_str("Placed Order")));
    assert_null(ngx_http_klaviyo_metric_find(unit_str("Placed order")));
    assert_non_null(ngx_http_klaviyo_metric_near(unit_str("Placed order")));
    assert_null(ngx_http_klaviyo_metric_near(unit_str("Placed Order")));
    assert_null(ngx_http_klaviyo_metric_near(unit_str("Canceled Order")));
    assert_null(ngx_http_klaviyo_metric_near(unit_str("Cancelled Order")));
    assert_null(ngx_http_klaviyo_metric_near(unit_str("Joined Club")));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(test_case_and_separators_are_no_distance),
        unit_test(test_letters_are),
        unit_test(test_short_names_are_near_by_case_only),
        unit_test(test_other_digits_are_another_name),
        unit_test(test_any_bytes_are_compared),
        unit_test(test_long_names_are_none_of_ours),
        unit_test(test_the_nearest_one_is_found),
        unit_test(test_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
