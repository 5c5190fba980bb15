
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Telephone numbers: how people write them, and what is not dialed.
 */


#include "unit.h"
#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"


#define assert_phone(country, text, expected)                                 \
    unit_assert_text(unit_phone(state, unit_str(country), unit_str(text)),    \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_no_phone(country, text)                                        \
    assert_phone(country, text, "")


static ngx_str_t *
unit_phone(void **state, ngx_str_t *country, ngx_str_t *text)
{
    void       *c;
    ngx_str_t  *copy, *result;

    c = ngx_http_klaviyo_phone_country(country);
    assert_non_null(c);

    /* exact sizes, so that a sanitizer sees the ends */

    copy = unit_fill(*state, 0, text->len);
    ngx_memcpy(copy->data, text->data, text->len);

    result = unit_fill(*state, 0, NGX_HTTP_KLAVIYO_PHONE_LEN);
    result->len = ngx_http_klaviyo_phone_format(result->data, c, copy);

    return result;
}


static void
test_national_numbers_get_the_code_of_the_country(void **state)
{
    assert_phone("RO", "0712345678", "+40712345678");
    assert_phone("RO", "712345678", "+40712345678");
    assert_phone("GB", "020 7946 0958", "+442079460958");
    assert_phone("US", "(415) 555-2671", "+14155552671");
    assert_phone("CA", "1-204-234-5678", "+12042345678");
    assert_phone("FR", "06.12.34.56.78", "+33612345678");
    assert_phone("DE", "0151/23456789", "+4915123456789");
    assert_phone("IN", "9123456789", "+919123456789");
    assert_phone("BR", "(11) 96123-4567", "+5511961234567");
    assert_phone("BR", "011 96123-4567", "+5511961234567");
    assert_phone("HU", "06 20 123 4567", "+36201234567");
    assert_phone("RU", "8 (912) 345-67-89", "+79123456789");
    assert_phone("RU", "812 345-67-89", "+78123456789");
    assert_phone("BY", "8 029 491-19-11", "+375294911911");
    assert_phone("JP", "090-1234-5678", "+819012345678");
    assert_phone("KR", "010-1234-5678", "+821012345678");
    assert_phone("CN", "138 1234 5678", "+8613812345678");
    assert_phone("CN", "010 1234 5678", "+861012345678");
    assert_phone("DO", "809 234 5678", "+18092345678");
}


static void
test_a_zero_that_belongs_to_the_number_stays(void **state)
{
    assert_phone("IT", "06 12345678", "+390612345678");
    assert_phone("IT", "393 123 4567", "+393931234567");
    assert_phone("CI", "01 23 45 67 89", "+2250123456789");
    assert_phone("ES", "612 345 678", "+34612345678");
}


static void
test_a_number_with_plus_needs_no_country(void **state)
{
    assert_phone("US", "+40 712 345 678", "+40712345678");
    assert_phone("RO", "+1 (415) 555-2671", "+14155552671");
    assert_phone("RO", " +40\t712345678 ", "+40712345678");
    assert_phone("RO", "+123456789012345", "+123456789012345");
    assert_phone("RO", "+1234567", "+1234567");
}


static void
test_the_prefix_for_abroad_is_the_country_s(void **state)
{
    assert_phone("RO", "0044 20 7946 0958", "+442079460958");
    assert_phone("RO", "0040 712345678", "+40712345678");
    assert_phone("US", "011 40 712 345 678", "+40712345678");
    assert_phone("AU", "0011 40 712 345 678", "+40712345678");
    assert_phone("JP", "010 40 712 345 678", "+40712345678");
    assert_phone("RU", "8 10 40 712 345 678", "+40712345678");
    assert_phone("IT", "0040 712345678", "+40712345678");

    /* of several carriers, the one that was meant is not known */

    assert_no_phone("SG", "001 40 712 345 678");
    assert_no_phone("KR", "00700 40 712 345 678");
    assert_no_phone("BR", "0014 40 712 345 678");
    assert_no_phone("US", "0040 712 345 678");
    assert_no_phone("RO", "00 0712345678");
}


static void
test_a_zero_in_parentheses_is_not_dialed_from_abroad(void **state)
{
    assert_phone("RO", "+44 (0)20 7946 0958", "+442079460958");
    assert_phone("RO", "+49(0)151 23456789", "+4915123456789");
    assert_phone("RO", "+39 (0)6 12345678", "+390612345678");
    assert_phone("GB", "(0)20 7946 0958", "+442079460958");
}


static void
test_a_missing_plus_is_not_guessed(void **state)
{
    assert_no_phone("RO", "40712345678");
    assert_no_phone("DE", "4930123456");
    assert_no_phone("AT", "436641234567");
    assert_no_phone("GB", "442079460958");
    assert_no_phone("IT", "393931234567");
    assert_no_phone("ES", "34612345678");
    assert_no_phone("US", "40712345678");
}


static void
test_numbers_too_short_or_too_long_are_refused(void **state)
{
    assert_no_phone("RO", "071234567");
    assert_no_phone("RO", "07123456789");
    assert_no_phone("US", "555-2671");
    assert_no_phone("RO", "+123456");
    assert_no_phone("RO", "+1234567890123456");
    assert_no_phone("RO", "+12345678901234567890123456789012345678901234567");
    assert_no_phone("SH", "123");
    assert_phone("SH", "1234", "+2901234");
    assert_no_phone("RO", "112");
    assert_phone("FO", "211234", "+298211234");
}


static void
test_numbers_that_cannot_begin_so_are_refused(void **state)
{
    assert_no_phone("RO", "+0712345678");
    assert_no_phone("US", "015-555-2671");
    assert_no_phone("US", "115-555-2671");
    assert_no_phone("US", "1 115 555 2671");
    assert_no_phone("RO", "00712345678");
}


static void
test_all_else_is_no_number(void **state)
{
    assert_no_phone("RO", "");
    assert_no_phone("RO", "+");
    assert_no_phone("RO", "++40712345678");
    assert_no_phone("RO", "4+0712345678");
    assert_no_phone("RO", "0712345678 x12");
    assert_no_phone("US", "1-800-FLOWERS");
    assert_no_phone("RO", "07123456\078");
    assert_no_phone("RO", "0712345678,0712345679");
    assert_no_phone("RO", "ana@example.com");
    assert_no_phone("RO", "\xe2\x80");
    assert_no_phone("RO", "0712345678\xc2");
    assert_no_phone("RO", "\xff");
}


static void
test_typographic_blanks_and_hyphens_are_skipped(void **state)
{
    assert_phone("RO", "0712\xc2\xa0" "345\xe2\x80\x91" "678",
                 "+40712345678");
    assert_phone("RO", "\xe2\x80\xaa+40 712 345 678\xe2\x80\xac",
                 "+40712345678");
}


static void
test_countries_are_found_in_either_case(void **state)
{
    assert_ptr_equal(ngx_http_klaviyo_phone_country(unit_str("ro")),
                     ngx_http_klaviyo_phone_country(unit_str("RO")));

    assert_null(ngx_http_klaviyo_phone_country(unit_str("")));
    assert_null(ngx_http_klaviyo_phone_country(unit_str("R")));
    assert_null(ngx_http_klaviyo_phone_country(unit_str("ROU")));
    assert_null(ngx_http_klaviyo_phone_country(unit_str("XX")));
    assert_null(ngx_http_klaviyo_phone_country(unit_str("UK")));
    assert_null(ngx_http_klaviyo_phone_country(unit_str("1\0")));
}


static void
test_every_country_gives_an_international_number(void **state)
{
    u_char      name[2];
    size_t      len;
    ngx_str_t   country, *text, *result;
    ngx_uint_t  i, countries, fits;

    country.data = name;
    country.len = 2;

    countries = 0;

    for (i = 0; i < 26 * 26; i++) {
        name[0] = (u_char) ('A' + i / 26);
        name[1] = (u_char) ('A' + i % 26);

        if (ngx_http_klaviyo_phone_country(&country) == NULL) {
            continue;
        }

        countries++;
        fits = 0;

        for (len = 1; len < 16; len++) {
            text = unit_fill(*state, '5', len);
            result = unit_phone(state, &country, text);

            if (result->len == 0) {
                continue;
            }

            fits++;

            assert_true(result->len >= 8 && result->len <= 16);
            assert_int_equal(result->data[0], '+');
            assert_true(result->data[1] >= '1' && result->data[1] <= '9');
            assert_memory_equal(result->data + result->len - len, text->data,
                                len);
        }

        if (fits == 0) {
            fail_msg("no number fits %.2s", name);
        }
    }

    assert_true(countries >= 240);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(test_national_numbers_get_the_code_of_the_country),
        unit_test(test_a_zero_that_belongs_to_the_number_stays),
        unit_test(test_a_number_with_plus_needs_no_country),
        unit_test(test_the_prefix_for_abroad_is_the_country_s),
        unit_test(test_a_zero_in_parentheses_is_not_dialed_from_abroad),
        unit_test(test_a_missing_plus_is_not_guessed),
        unit_test(test_numbers_too_short_or_too_long_are_refused),
        unit_test(test_numbers_that_cannot_begin_so_are_refused),
        unit_test(test_all_else_is_no_number),
        unit_test(test_typographic_blanks_and_hyphens_are_skipped),
        unit_test(test_countries_are_found_in_either_case),
        unit_test(test_every_country_gives_an_international_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
