
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Bodies as trees: the type says which decoder reads one, unless it begins as
 * JSON does.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_document.h"


#define BOM     "\xEF\xBB\xBF"

#define FORM    "application/x-www-form-urlencoded"
#define MULTI   "multipart/form-data; boundary=AaB"
#define HEAD    "--AaB\r\nContent-Disposition: form-data; name="

#define assert_body(type, text, expected)                                     \
    assert_json(unit_body(state, unit_str(type), unit_str(text)), expected)

#define assert_nothing(type, text)                                            \
    assert_null(unit_body(state, unit_str(type), unit_str(text)))


static json_t *
unit_body(void **state, ngx_str_t *type, ngx_str_t *text)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    return ngx_http_klaviyo_document_body(arena,
                                          unit_exact(arena->pool, type),
                                          unit_exact(arena->pool, text), NULL,
                                          0);
}


static void
test_json_is_read_whatever_the_type_says(void **state)
{
    assert_body("application/json", "{\"id\":38}", "{\"id\":38}");
    assert_body("", "{\"id\":38}", "{\"id\":38}");
    assert_body("text/plain;charset=UTF-8", "[1,\"a\"]", "[1,\"a\"]");
    assert_body(FORM, " \r\n\t{\"id\":38}\n", "{\"id\":38}");
    assert_body(MULTI, "{}", "{}");
    assert_body("application/vnd.api+json", BOM "{\"a\":1}", "{\"a\":1}");
    assert_body("application/json", "{\"a\":1,\"a\":2}", "{\"a\":2}");
    assert_body("application/json", "{\"a\":\"\xFF\"}",
                "{\"a\":\"\xEF\xBF\xBD\"}");
}


static void
test_what_is_no_json_is_nothing(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_nothing("", "");
    assert_nothing("application/json", "");
    assert_nothing("application/json", " \n");
    assert_nothing("application/json", BOM);
    assert_nothing("application/json", "38");
    assert_nothing("application/json", "\"a\"");
    assert_nothing("application/json", "{\"a\":1");
    assert_nothing("application/json", "{\"a\":1}{");
    assert_nothing("application/json", "{\"a\0b\":1}");
    assert_nothing("application/json", "\0{}");
    assert_nothing("text/html", "<p>a=1</p>");
    assert_nothing("text/plain", "a=1");
    assert_int_equal(arena->limits, 0);
}


static void
test_forms_are_read(void **state)
{
    assert_body(FORM, "email=Ana%40Example.com+&consent=on",
                "{\"email\":\"Ana@Example.com \",\"consent\":\"on\"}");
    assert_body(FORM ";charset=UTF-8", "a[0][k]=1&a[1][k]=2",
                "{\"a\":[{\"k\":\"1\"},{\"k\":\"2\"}]}");
    assert_body(" Application/X-WWW-Form-urlencoded ", "a=1&a=2",
                "{\"a\":[\"1\",\"2\"]}");
    assert_body(FORM, BOM "a=1", "{\"a\":\"1\"}");
    assert_body(FORM, "[a=1", "{\"[a\":\"1\"}");
    assert_body(FORM, "", "{}");
    assert_nothing(FORM "x", "a=1");
    assert_nothing("application/x-www-form", "a=1");
}


static void
test_multipart_texts_nest_as_forms_do(void **state)
{
    assert_body(MULTI,
                HEAD "\"email\"\r\n\r\nana@example.com\r\n"
                HEAD "\"items[0][sku]\"\r\n\r\nLS-M\r\n"
                HEAD "\"items[0][qty]\"\r\n\r\n2\r\n"
                HEAD "\"tag\"\r\n\r\nx\r\n"
                HEAD "\"tag\"\r\n\r\ny\r\n"
                HEAD "\"photo\"; filename=\"a.png\"\r\n"
                "Content-Type: image/png\r\n\r\n\x89PNG\r\n"
                "--AaB--\r\n",
                "{\"email\":\"ana@example.com\","
                "\"items\":[{\"sku\":\"LS-M\",\"qty\":\"2\"}],"
                "\"tag\":[\"x\",\"y\"]}");
    assert_body(MULTI, HEAD "\"a\"\r\n\r\n\xFF\r\n--AaB--",
                "{\"a\":\"\xEF\xBF\xBD\"}");
    assert_body(MULTI, HEAD "\"a\0b\"\r\n\r\n1\r\n--AaB--", "{}");
    assert_body(MULTI, "--AaB--", "{}");
    assert_nothing(MULTI, HEAD "\"a\"\r\n\r\n1\r\n");
    assert_nothing("multipart/form-data", HEAD "\"a\"\r\n\r\n1\r\n--AaB--");
    assert_nothing("multipart/mixed; boundary=AaB",
                   HEAD "\"a\"\r\n\r\n1\r\n--AaB--");
}


static void
test_a_query_is_an_object(void **state)
{
    assert_body("application/graphql", "query Q @a { b }",
                "{\"query\":\"query Q @a { b }\"}");
    assert_body("application/graphql;charset=utf-8", BOM "{ b }",
                "{\"query\":\"{ b }\"}");
    assert_body("application/graphql+json", "{\"query\":\"{ b }\"}",
                "{\"query\":\"{ b }\"}");
    assert_nothing("application/graphql", "");
}


static void
test_limits_are_counted(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, '[', 100000);
    assert_null(unit_body(state, unit_str(FORM), text));
    assert_int_equal(arena->limits, 1);

    text = unit_fill(arena->pool, '&', 4001);
    assert_null(unit_body(state, unit_str(FORM), text));
    assert_int_equal(arena->limits, 2);

    arena->left = 400;
    assert_nothing(MULTI, HEAD "\"abcd\"\r\n\r\n1\r\n--AaB--");
    assert_int_equal(arena->limits, 3);

    arena->left = 300;
    assert_nothing("application/graphql", "a text of more than thirty bytes");
    assert_int_equal(arena->limits, 4);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_json_is_read_whatever_the_type_says),
        unit_arena_test(test_what_is_no_json_is_nothing),
        unit_arena_test(test_forms_are_read),
        unit_arena_test(test_multipart_texts_nest_as_forms_do),
        unit_arena_test(test_a_query_is_an_object),
        unit_arena_test(test_limits_are_counted)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
