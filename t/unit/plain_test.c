
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Members of plain JSON: what is found, and what is left to a parser.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_plain.h"


static ngx_str_t  names[] = { ngx_string("a"), ngx_string("$b") };


/* a copy of the very size, so that a byte too far is seen */

static ngx_int_t
unit_members(void **state, ngx_str_t *text, ngx_str_t *values)
{
    ngx_str_t                  copy;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    copy.len = text->len;
    copy.data = ngx_pnalloc(arena->pool, text->len);

    assert_non_null(copy.data);
    ngx_memcpy(copy.data, text->data, text->len);

    return ngx_http_klaviyo_plain_members(&copy, names, values, 2);
}


#define assert_plain(text, a, b)                                              \
    assert_int_equal(unit_members(state, unit_str(text), values), NGX_OK);    \
    assert_text(&values[0], a);                                               \
    assert_text(&values[1], b)

#define assert_not_plain(text)                                                \
    assert_int_equal(unit_members(state, unit_str(text), values),             \
                     NGX_DECLINED)


static void
test_members_are_found(void **state)
{
    ngx_str_t  values[2];

    assert_plain("{}", "", "");
    assert_plain("{\"a\":\"x\"}", "x", "");
    assert_plain("{\"a\":\"x\",\"$b\":\"~ y\"}", "x", "~ y");
    assert_plain("{\"$b\":\"\",\"c\":\"z\",\"a\":\"x\"}", "x", "");
    assert_plain("{\"c\":{\"d\":1,\"e\":{}},\"a\":\"x\"}", "x", "");
    assert_plain("{\"c\":0,\"d\":999999999999999999,\"a\":\"x\"}", "x", "");
}


static void
test_only_outermost_strings_count(void **state)
{
    ngx_str_t  values[2];

    assert_plain("{\"c\":{\"a\":\"x\",\"$b\":\"y\"}}", "", "");
    assert_plain("{\"a\":1,\"$b\":{\"a\":\"x\"}}", "", "");
    assert_plain("{\"A\":\"x\",\"b\":\"y\",\"aa\":\"z\",\"\":\"w\"}", "", "");
}


static void
test_the_last_of_equal_names_counts(void **state)
{
    ngx_str_t  values[2];

    assert_plain("{\"a\":\"x\",\"a\":\"y\"}", "y", "");
    assert_plain("{\"a\":\"x\",\"a\":1}", "", "");
}


static void
test_the_rest_is_left_to_a_parser(void **state)
{
    ngx_str_t  values[2];

    assert_not_plain("{ \"a\":\"x\"}");
    assert_not_plain("{\"a\":\"x\"} ");
    assert_not_plain("{\"a\":\"\\u0078\"}");
    assert_not_plain("{\"\\u0061\":\"x\"}");
    assert_not_plain("{\"a\":\"\xC3\xA4\"}");
    assert_not_plain("{\"a\":\"\x7F\"}");
    assert_not_plain("{\"a\":\"x\",\"c\":-1}");
    assert_not_plain("{\"a\":\"x\",\"c\":1.5}");
    assert_not_plain("{\"a\":\"x\",\"c\":1e5}");
    assert_not_plain("{\"a\":\"x\",\"c\":1000000000000000000}");
    assert_not_plain("{\"a\":\"x\",\"c\":true}");
    assert_not_plain("{\"a\":\"x\",\"c\":null}");
    assert_not_plain("{\"a\":\"x\",\"c\":[]}");
    assert_not_plain("[\"a\"]");
    assert_not_plain("\"a\"");
    assert_not_plain("{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}");
}


static void
test_what_is_invalid_is_not_plain(void **state)
{
    size_t      i;
    ngx_str_t   cut, values[2];
    ngx_str_t  *whole;

    whole = unit_str("{\"a\":\"x\",\"c\":{\"d\":12,\"e\":\"y\"},\"f\":{}}");

    for (i = 0; i < whole->len; i++) {
        cut.data = whole->data;
        cut.len = i;

        assert_int_equal(unit_members(state, &cut, values), NGX_DECLINED);
    }

    assert_int_equal(unit_members(state, whole, values), NGX_OK);

    assert_not_plain("{\"a\":\"x\",}");
    assert_not_plain("{,\"a\":\"x\"}");
    assert_not_plain("{\"a\":\"x\"\"c\":\"y\"}");
    assert_not_plain("{\"a\"\"x\"}");
    assert_not_plain("{\"a\":}");
    assert_not_plain("{a:\"x\"}");
    assert_not_plain("{\"a\":\"x\"}}");
    assert_not_plain("{\"a\":01}");
    assert_not_plain("{\"a\":1 }");
    assert_not_plain("{\"a\":\"\n\"}");
    assert_not_plain("{\"a\":\"x\0\"}");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_members_are_found),
        unit_arena_test(test_only_outermost_strings_count),
        unit_arena_test(test_the_last_of_equal_names_counts),
        unit_arena_test(test_the_rest_is_left_to_a_parser),
        unit_arena_test(test_what_is_invalid_is_not_plain)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
