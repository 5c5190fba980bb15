
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Calls of React server actions: what React's server would hand to the
 * function, as far as JSON can say it.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_document.h"


#define TYPE         "multipart/form-data; boundary=B"
#define PART(name, value)                                                     \
    "--B\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"        \
    value "\r\n"
#define FILE_PART(name)                                                       \
    "--B\r\nContent-Disposition: form-data; name=\"" name "\"; "              \
    "filename=\"blob\"\r\n\r\nx\r\n"
#define LAST         "--B--\r\n"

/* 30 levels */
#define DEEP(text)                                                            \
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[" text "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"

#define assert_call(text, expected)                                           \
    assert_json(unit_call(state, unit_str("text/plain;charset=UTF-8"),        \
                          unit_str(text)), expected)

#define assert_parts(text, expected)                                          \
    assert_json(unit_call(state, unit_str(TYPE), unit_str(text LAST)),        \
                expected)

#define assert_no_call(text)                                                  \
    assert_null(unit_call(state, unit_str(TYPE), unit_str(text LAST)))


static json_t *
unit_call(void **state, ngx_str_t *type, ngx_str_t *text)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    return ngx_http_klaviyo_document_body(arena,
                                          unit_exact(arena->pool, type),
                                          unit_exact(arena->pool, text), NULL,
                                          1);
}


static void
test_arguments_are_read(void **state)
{
    assert_call("[\"$undefined\",\"gid://shopify/ProductVariant/43210\"]",
                "[null,\"gid://shopify/ProductVariant/43210\"]");
    assert_call("[{\"variantId\":\"variant_01HX\",\"quantity\":1,"
                "\"countryCode\":\"dk\"}]",
                "[{\"variantId\":\"variant_01HX\",\"quantity\":1,"
                "\"countryCode\":\"dk\"}]");
    assert_call("[]", "[]");
    assert_call("[null,true,1.5,\"\"]", "[null,true,1.5,\"\"]");
    assert_call("{\"a\":\"$$1\"}", "{\"a\":\"$1\"}");
}


static void
test_escapes_are_resolved(void **state)
{
    assert_call("[\"$$\",\"$$$D1\",\"a$\",\"$D2026-07-23T10:00:00.000Z\","
                "\"$n123\",\"$n-9223372036854775808\",\"$-0\"]",
                "[\"$\",\"$$D1\",\"a$\",\"2026-07-23T10:00:00.000Z\","
                "123,-9223372036854775808,0]");
    assert_call("{\"a\":\"$undefined\",\"b\":\"$NaN\",\"c\":\"$Infinity\","
                "\"d\":\"$-Infinity\",\"e\":\"$T\",\"f\":\"$F1\","
                "\"g\":\"$h1\",\"h\":\"$B1\",\"i\":\"$A1\",\"j\":\"$R1\","
                "\"k\":\"$\",\"l\":\"$!\",\"m\":\"$n\",\"n\":\"$n1.5\","
                "\"o\":\"$n9223372036854775808\",\"p\":\"$K1\","
                "\"q\":\"$nabc\",\"r\":\"$n999999999999999999999999\","
                "\"s\":1}",
                "{\"s\":1}");
    assert_call("[\"$$\\u0000\\u00e4\"]", "[\"$\\u0000\xC3\xA4\"]");
}


static void
test_references_are_resolved(void **state)
{
    assert_call("[{\"a\":{\"b\":[1,2]}},\"$0:0:a\",\"$0:0:a:b:1\"]",
                "[{\"a\":{\"b\":[1,2]}},{\"b\":[1,2]},2]");
    assert_call("[{\"x\":1},{\"y\":\"$0:0\",\"z\":\"$0:1:y\"}]",
                "[{\"x\":1},{\"y\":{\"x\":1},\"z\":{\"x\":1}}]");
    assert_parts(PART("1", "[1,\"$$a\"]") PART("a", "3")
                 PART("2", "[[\"k\",\"v\"],[7,[8]],[[],1],\"x\",[\"l\"]]")
                 PART("3", "\"$D2026\"")
                 PART("0", "[\"$1\",\"$W1\",\"$Q2\",\"$@3\",\"$i1\",\"$Q3\"]"),
                 "[[1,\"$a\"],[1,\"$a\"],{\"k\":\"v\",\"7\":[8]},"
                 "\"2026\",[1,\"$a\"],null]");
    assert_parts(PART("26", "{\"a\":5}") PART("0", "[\"$1a\",\"$1a:a\"]"),
                 "[{\"a\":5},5]");
}


static void
test_what_can_not_be_referred_to_is_missing(void **state)
{
    assert_call("[\"$0\",\"$0:5\",\"$0:x\",\"$0:\",\"$1\",\"$123456789\","
                "\"$0:1:x\"]", "[null,null,null,null,null,null,null]");
    assert_call("[{\"a\":{\"b\":\"$0:0\",\"c\":\"$0:0:a\",\"d\":\"$0\"}}]",
                "[{\"a\":{}}]");
    assert_call("[{\"a\":\"$0:1\"},{\"b\":\"$0:0\"}]",
                "[{},{\"b\":{}}]");
    assert_parts(PART("1", "{\"a\":\"$2\"}") PART("2", "{\"b\":\"$1\"}")
                 PART("3", "\"$3\"") PART("4", "x")
                 PART("0", "[\"$1\",\"$2\",\"$3\",\"$4\"]"),
                 "[{\"a\":{}},{},null,null]");
}


static void
test_forms_are_arguments(void **state)
{
    assert_parts(PART("1_$ACTION_ID_40c1", "") PART("1_email", "ana@x.com")
                 PART("1_items[0][sku]", "LS-M") PART("1_tag", "a")
                 PART("1_tag", "b") FILE_PART("1_photo")
                 PART("0", "[\"$undefined\",\"$K1\"]"),
                 "[null,{\"$ACTION_ID_40c1\":\"\",\"email\":\"ana@x.com\","
                 "\"items\":[{\"sku\":\"LS-M\"}],\"tag\":[\"a\",\"b\"]}]");
    assert_parts(PART("1_a", "1") PART("2_a", "2") PART("10_a", "3")
                 PART("0", "[\"$K1\",\"$K2\",\"$Ka\",\"$K1\",\"$K3\"]"),
                 "[{\"a\":\"1\"},{\"a\":\"2\"},{\"a\":\"3\"},{\"a\":\"1\"},"
                 "null]");
    assert_parts(PART("1_", "1") PART("_a", "2") PART("x1_a", "3")
                 PART("0", "[\"$K1\"]"), "[null]");
}


static void
test_forms_without_scripts_keep_their_names(void **state)
{
    assert_parts(PART("$ACTION_ID_40c1", "") PART("email", "ana@x.com"),
                 "{\"$ACTION_ID_40c1\":\"\",\"email\":\"ana@x.com\"}");
    assert_parts(PART("$ACTION_REF_1", "")
                 PART("$ACTION_1:0", "{\"id\":\"7f\",\"bound\":\"$@1\"}")
                 PART("$ACTION_1:1", "[\"x\"]") PART("1_qty", "2"),
                 "{\"$ACTION_REF_1\":\"\","
                 "\"$ACTION_1:0\":\"{\\\"id\\\":\\\"7f\\\","
                 "\\\"bound\\\":\\\"$@1\\\"}\","
                 "\"$ACTION_1:1\":\"[\\\"x\\\"]\",\"1_qty\":\"2\"}");
}


static void
test_wrong_calls_are_nothing(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_no_call(PART("0", "x"));
    assert_no_call(PART("0", ""));
    assert_no_call(PART("0", "[") PART("0", "[1]"));
    assert_null(unit_call(state, unit_str(TYPE),
                          unit_str(PART("0", "[1]"))));
    assert_null(unit_call(state, unit_str("text/plain"), unit_str("[1")));
    assert_int_equal(arena->limits, 0);
}


/* "n" times "part" between "head" and "tail", each "%" the number */

static ngx_str_t *
unit_many(void **state, char *head, char *part, ngx_uint_t n, char *tail)
{
    char                      *s;
    u_char                    *p;
    ngx_str_t                 *str;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, ngx_strlen(head) + ngx_strlen(tail)
                                    + n * (ngx_strlen(part) + 16));
    p = ngx_sprintf(str->data, "%s", head);

    for (i = 0; i < n; i++) {
        for (s = part; *s; s++) {

            if (*s == '%') {
                p = ngx_sprintf(p, "%ui", i);

            } else {
                *p++ = *s;
            }
        }
    }

    p = ngx_sprintf(p, "%s", tail);
    str->len = p - str->data;

    return str;
}


static void
test_references_can_not_be_multiplied(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    /* each twice the one before */

    assert_non_null(unit_call(state, unit_str("text/plain"),
                              unit_many(state, "[[1]",
                                        ",[\"$0:%\",\"$0:%\"]", 13, "]")));
    assert_int_equal(arena->limits, 0);

    assert_null(unit_call(state, unit_str("text/plain"),
                          unit_many(state, "[[1]",
                                    ",[\"$0:%\",\"$0:%\"]", 40, "]")));
    assert_true(arena->limits > 0);

    /* each inside of the next one */

    arena->limits = 0;

    assert_null(unit_call(state, unit_str("text/plain"),
                          unit_many(state, "[[1]", ",[\"$0:%\"]", 4000,
                                    "]")));
    assert_true(arena->limits > 0);
}


static void
test_calls_are_bounded(void **state)
{
    size_t                     left;
    json_t                    *json;
    ngx_str_t                 *type;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    type = unit_str(TYPE);

    assert_null(unit_call(state, type,
                          unit_many(state, PART("0", "[]"),
                                    PART("1%", "1"), 128, LAST)));
    assert_int_equal(arena->limits, 1);

    assert_null(unit_call(state, type,
                          unit_many(state, PART("0", "[]"),
                                    PART("%_a", "1"), 17, LAST)));
    assert_int_equal(arena->limits, 2);

    /* a part is as deep as JSON may be, in another one it is too deep */

    assert_non_null(unit_call(state, type,
                              unit_str(PART("1", DEEP("1"))
                                       PART("0", DEEP("\"$1\"")) LAST)));
    assert_int_equal(arena->limits, 2);

    assert_null(unit_call(state, type,
                          unit_str(PART("1", DEEP("1"))
                                   PART("2", DEEP("\"$1\""))
                                   PART("0", DEEP("\"$2\"")) LAST)));
    assert_int_equal(arena->limits, 3);

    /* all or nothing, however much is left */

    for (left = 0; left < 40000; left += 24) {
        arena->left = left;
        arena->limits = 0;

        json = unit_call(state, type,
                         unit_str(PART("1_a", "1") PART("2", "[[1,[2]]]")
                                  PART("0", "[\"$K1\",{\"a\":\"$Q2\"},"
                                       "\"$n5\",\"$$x\"]") LAST));

        assert_true((json == NULL) == (arena->limits > 0));
    }

    assert_non_null(json);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_arguments_are_read),
        unit_arena_test(test_escapes_are_resolved),
        unit_arena_test(test_references_are_resolved),
        unit_arena_test(test_what_can_not_be_referred_to_is_missing),
        unit_arena_test(test_forms_are_arguments),
        unit_arena_test(test_forms_without_scripts_keep_their_names),
        unit_arena_test(test_wrong_calls_are_nothing),
        unit_arena_test(test_references_can_not_be_multiplied),
        unit_arena_test(test_calls_are_bounded)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
