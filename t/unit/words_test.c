
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of Klaviyo's words may be shown.
 */


#include "unit.h"
#include "ngx_http_klaviyo_words.h"


#define SIZE  128

#define check(text, expected)  check_words(text, sizeof(text) - 1, expected)
#define pointer(text, expected)                                               \
    check_pointer(text, sizeof(text) - 1, expected)


static void
check_words(char *text, size_t len, char *expected)
{
    u_char     *copy, buf[SIZE];
    ngx_str_t   str;

    /* so that a sanitizer sees a byte read too much */
    copy = malloc(len + 1);
    assert_non_null(copy);
    ngx_memcpy(copy, text, len);

    str.data = realloc(copy, len ? len : 1);
    str.len = len;

    ngx_http_klaviyo_words(buf, SIZE, &str);
    assert_string_equal(buf, expected);

    free(str.data);
}


static void
check_pointer(char *text, size_t len, char *expected)
{
    u_char     buf[SIZE];
    ngx_str_t  str;

    str.data = (u_char *) text;
    str.len = len;

    ngx_http_klaviyo_words_pointer(buf, SIZE, &str);
    assert_string_equal(buf, expected);
}


static void
known_words_stay(void **state)
{
    check("", "");
    check("Invalid input.", "Invalid input.");
    check("Incorrect authentication credentials.",
          "Incorrect authentication credentials.");
    check("Request was throttled. Expected available in 12 seconds.",
          "Request was throttled. Expected available in 12 seconds.");
    check("'email' is a required field for the resource 'profile'.",
          "'email' is a required field for the resource 'profile'.");
    check("The phone_number doesn't exist (or isn't valid).",
          "The phone_number doesn't exist (or isn't valid).");
}


static void
all_else_is_masked(void **state)
{
    check("jane@shop.de", "***");
    check("name@email.email", "***");
    check("The email jane@shop.de is invalid.", "The email *** is invalid.");
    check("'Jane Doe' is not valid", "*** is not valid");
    check("phone number +49 151 23456789 is invalid",
          "phone number *** is invalid");
    check("phone 0151 234 567 in 12 34 seconds", "phone *** in *** seconds");
    check("Jane 12 is unknown", "*** is unknown");
    check("12 Jane", "***");
    check("id 4711 is unknown", "id *** is unknown");
    check("{\"email\":\"jane@shop.de\"}", "***");
    check("email=jane", "***");
    check("pk_5ecr3t is not a key", "*** is not a key");
    check("M\xc3\xbcller is invalid", "*** is invalid");
    check("the \x1b[31m\x7f email", "the *** email");
    check("is\nnot\tvalid\0x", "is not valid ***");
    check("  a   b  c  is  ", "a *** is");
    check("donotknowaword_that_is_longer_than_all_of_them", "***");
}


static void
what_has_no_room_is_left_out(void **state)
{
    u_char     buf[13];
    ngx_str_t  text = ngx_string("the email is invalid");

    ngx_http_klaviyo_words(buf, 12, &text);
    assert_string_equal(buf, "the email");

    ngx_http_klaviyo_words(buf, 13, &text);
    assert_string_equal(buf, "the email is");

    ngx_http_klaviyo_words(buf, 1, &text);
    assert_string_equal(buf, "");
}


static void
pointers_part_by_part(void **state)
{
    u_char     buf[8];
    ngx_str_t  text = ngx_string("/data/attributes");

    pointer("", "");
    pointer("/data/attributes/events-bulk-create/data/76/attributes",
            "/data/attributes/events-bulk-create/data/76/attributes");
    pointer("/data/properties/jane@shop.de/email",
            "/data/properties/***/email");
    pointer("/data/99999", "/data/99999");
    pointer("/data/4915123456789", "/data/***");
    pointer("/", "/");
    pointer("//data", "//data");
    pointer("Jane", "***");

    ngx_http_klaviyo_words_pointer(buf, sizeof(buf), &text);
    assert_string_equal(buf, "/data/a");
}


/* each word of it is found, whatever its neighbours are */

static void
the_vocabulary_is_in_order(void **state)
{
    check("a _kx z", "a _kx ***");
    check("about your zip years yet", "about your zip years ***");
    check("ACCOUNT Klaviyo JSON uTf", "ACCOUNT Klaviyo JSON uTf");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(known_words_stay),
        cmocka_unit_test(all_else_is_masked),
        cmocka_unit_test(what_has_no_room_is_left_out),
        cmocka_unit_test(pointers_part_by_part),
        cmocka_unit_test(the_vocabulary_is_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
