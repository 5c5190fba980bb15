
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * multipart/form-data: what browsers and libraries send is read as they mean
 * it, anything else gives less or nothing.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_multipart.h"


#define TYPE  "multipart/form-data; boundary=AaB"
#define PART  "--AaB\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
#define HEAD  "--AaB\r\nContent-Disposition: form-data; "
#define LAST  "--AaB--\r\n"

#define assert_parts(type, body, expected)                                    \
    unit_assert_text(unit_parts(state, unit_str(type), unit_str(body)),       \
                     unit_str(expected), __FILE__, __LINE__)

/* a part with that line, as the text "1" */
#define assert_name(line, expected)                                           \
    assert_parts(TYPE, "--AaB\r\n" line "\r\n\r\n1\r\n" LAST, expected)


/* "name=value|" for each part, then what ended it */

static ngx_str_t *
unit_parts(void **state, ngx_str_t *type, ngx_str_t *body)
{
    u_char                        *p;
    ngx_int_t                      rc;
    ngx_str_t                     *str, name, value;
    ngx_http_klaviyo_arena_t      *arena;
    ngx_http_klaviyo_multipart_t   mp;

    arena = *state;
    type = unit_exact(arena->pool, type);
    body = unit_exact(arena->pool, body);

    str = unit_fill(arena->pool, 0, body->len + 16);
    p = str->data;

    rc = ngx_http_klaviyo_multipart_init(&mp, arena, type, body);

    while (rc == NGX_OK) {
        rc = ngx_http_klaviyo_multipart_next(&mp, &name, &value);

        if (rc == NGX_OK) {
            p = ngx_sprintf(p, "%V=%V|", &name, &value);
        }
    }

    p = ngx_sprintf(p, "%s", (rc == NGX_DONE) ? "done"
                             : (rc == NGX_DECLINED) ? "declined" : "error");
    str->len = p - str->data;

    return str;
}


static void
test_parts_are_read(void **state)
{
    assert_parts(TYPE, PART LAST, "a=1|done");
    assert_parts(TYPE, PART PART LAST, "a=1|a=1|done");
    assert_parts(TYPE, PART "--AaB--", "a=1|done");
    assert_parts(TYPE, LAST, "done");
    assert_parts(TYPE, HEAD "name=\"a\"\r\n\r\n\r\n" LAST, "a=|done");
    assert_parts(TYPE, HEAD "name=\"a\"\r\n\r\nx\r\ny\r\n\r\n" LAST,
                 "a=x\r\ny\r\n|done");
    assert_parts(TYPE, HEAD "name=\"a\"\r\nContent-Type: text/plain;"
                 "charset=UTF-8\r\n\r\n\0\xFF\r\n" LAST,
                 "a=\0\xFF|done");
    assert_parts(TYPE, HEAD "name=\"a\"\r\n\r\n--AaBc\r\n--AaB x\r\n-\r\n"
                 LAST, "a=--AaBc\r\n--AaB x\r\n-|done");
    assert_parts(TYPE, "preamble\r\n\r\n" PART "--AaB-- \r\nepilogue",
                 "a=1|done");
    assert_parts(TYPE, "--AaB \t\r\nContent-Disposition:form-data;name=a\r\n"
                 "\r\n1\r\n" LAST, "a=1|done");
}


static void
test_the_boundary_is_found_in_the_type(void **state)
{
    assert_parts("multipart/form-data; boundary=\"AaB\"", PART LAST,
                 "a=1|done");
    assert_parts("multipart/form-data;charset=utf-8; BOUNDARY = AaB ;x=y",
                 PART LAST, "a=1|done");
    assert_parts("multipart/form-data; x=\"; boundary=C\"; boundary=AaB",
                 PART LAST, "a=1|done");
    assert_parts("multipart/form-data", PART LAST, "declined");
    assert_parts("multipart/form-data;", PART LAST, "declined");
    assert_parts("multipart/form-data; boundary", PART LAST, "declined");
    assert_parts("multipart/form-data; boundary=", PART LAST, "declined");
    assert_parts("multipart/form-data; boundary=\"", PART LAST, "declined");
    assert_parts("multipart/form-data; boundary=\"AaB\\", PART LAST,
                 "declined");
    assert_parts("multipart/form-data; boundary=aab", PART LAST, "declined");
    assert_parts("multipart/form-data; =AaB; boundary=AaB", PART LAST,
                 "declined");
}


static void
test_names_are_unescaped(void **state)
{
    assert_name("content-disposition: FORM-DATA; Name=\"a b\"", "a b=1|done");
    assert_name("Content-Disposition: form-data; name=\"a%22b%0D%0ac\"",
                "a\"b\r\nc=1|done");
    assert_name("Content-Disposition: form-data; name=\"a\\\"b\\\\c\\d\"",
                "a\"b\\c\\d=1|done");
    assert_name("Content-Disposition: form-data; name=\"100%;%2\"",
                "100%;%2=1|done");
    assert_name("Content-Disposition: form-data; name=\"a%20b%2\"",
                "a%20b%2=1|done");
    assert_name("Content-Disposition: form-data; name=\"a[b][0]\"",
                "a[b][0]=1|done");
    assert_name("X: y\r\nContent-Disposition: form-data; name=a\r\nZ: q",
                "a=1|done");
    assert_name("Content-Disposition: form-data; name=\"a\"; name=\"b\"",
                "a=1|done");
    assert_name("Content-Disposition: form-data; name=\"\xFF\"",
                "\xFF=1|done");
}


static void
test_what_is_no_text_with_a_name_is_passed_over(void **state)
{
    assert_name("Content-Disposition: form-data; name=\"a\"; filename=\"x\"",
                "done");
    assert_name("Content-Disposition: form-data; filename=\"\"; name=\"a\"",
                "done");
    assert_name("Content-Disposition: form-data; name=\"a\"; "
                "FileName*=utf-8''x", "done");
    assert_name("Content-Disposition: form-data; name=\"_charset_\"", "done");
    assert_name("Content-Disposition: form-data; name=\"\"", "done");
    assert_name("Content-Disposition: form-data", "done");
    assert_name("Content-Disposition:", "done");
    assert_name("Content-Type: text/plain", "done");
    assert_name("", "done");
    assert_parts(TYPE, "--AaB\r\n\r\n" LAST PART LAST, "done");
    assert_parts(TYPE, HEAD "name=\"a\"\r\n" LAST PART LAST, "done");
    assert_parts(TYPE, HEAD "name=\"a\"; filename=\"x\"\r\n\r\n-" PART "-"
                 "\r\n" HEAD "name=\"b\"\r\n\r\n2\r\n" LAST, "b=2|done");
}


static void
test_a_cut_body_is_told(void **state)
{
    size_t                     i;
    ngx_str_t                 *str, body;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    body = *unit_str(PART PART "--AaB--");

    while (body.len > 0) {
        body.len--;
        str = unit_parts(state, unit_str(TYPE), &body);
        i = str->len - (sizeof("declined") - 1);

        assert_memory_equal(str->data + i, "declined", sizeof("declined") - 1);
    }

    assert_int_equal(arena->limits, 0);
}


static void
test_parts_are_bounded(void **state)
{
    size_t                         i;
    u_char                        *p;
    ngx_str_t                     *body, *type, name, value;
    ngx_http_klaviyo_arena_t      *arena;
    ngx_http_klaviyo_multipart_t   mp;

    arena = *state;

    body = unit_fill(arena->pool, 0, 4001 * (sizeof(PART) - 1) + sizeof(LAST));
    p = body->data;

    for (i = 0; i < 4001; i++) {
        p = ngx_cpymem(p, PART, sizeof(PART) - 1);
    }

    ngx_memcpy(p, LAST, sizeof(LAST));

    assert_int_equal(ngx_http_klaviyo_multipart_init(&mp, arena,
                                                     unit_str(TYPE), body),
                     NGX_OK);

    for (i = 0; i < 4000; i++) {
        assert_int_equal(ngx_http_klaviyo_multipart_next(&mp, &name, &value),
                         NGX_OK);
    }

    assert_int_equal(ngx_http_klaviyo_multipart_next(&mp, &name, &value),
                     NGX_ERROR);
    assert_int_equal(arena->limits, 1);

    type = unit_fill(arena->pool, 'b', 30 + 129);
    ngx_memcpy(type->data, "multipart/form-data; boundary=", 30);

    assert_int_equal(ngx_http_klaviyo_multipart_init(&mp, arena, type, body),
                     NGX_DECLINED);

    arena->left = 2;
    assert_parts(TYPE, HEAD "name=\"%22%\"\r\n\r\n1\r\n" LAST, "error");
    assert_int_equal(arena->limits, 2);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_parts_are_read),
        unit_arena_test(test_the_boundary_is_found_in_the_type),
        unit_arena_test(test_names_are_unescaped),
        unit_arena_test(test_what_is_no_text_with_a_name_is_passed_over),
        unit_arena_test(test_a_cut_body_is_told),
        unit_arena_test(test_parts_are_bounded)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
