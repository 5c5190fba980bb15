
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What is left of a JSON text for the paths that the configuration has.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_pick.h"


/* up to three paths, separated by blanks */
#define assert_pick(paths, text, expected)                                    \
    unit_assert_text(unit_pick(state, paths, unit_str(text)),                 \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_as_it_is(paths, text)  assert_pick(paths, text, text)


static void
unit_add(void **state, ngx_http_klaviyo_pick_t *pick, char *name, size_t len)
{
    u_char                     buf[128];
    ngx_str_t                  err, *text;
    ngx_http_klaviyo_path_t   *path;
    ngx_http_klaviyo_pick_t   *found;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, 0, len);
    ngx_memcpy(text->data, name, len);

    err.data = buf;
    err.len = 0;

    path = ngx_http_klaviyo_path_parse(arena->pool, text, &err);

    if (path == NULL) {
        fail_msg("%.*s", (int) err.len, err.data);
    }

    found = ngx_http_klaviyo_pick_path(arena->pool, pick, path);
    assert_non_null(found);

    found->whole = 1;
}


static ngx_str_t *
unit_pick(void **state, char *paths, ngx_str_t *text)
{
    size_t                     len;
    ngx_str_t                 *copy;
    ngx_http_klaviyo_pick_t    pick;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    ngx_memzero(&pick, sizeof(ngx_http_klaviyo_pick_t));

    while (*paths) {
        len = strcspn(paths, " ");
        unit_add(state, &pick, paths, len);
        paths += len + (paths[len] == ' ');
    }

    copy = unit_exact(arena->pool, text);

    ngx_http_klaviyo_pick(arena, &pick, copy);

    return copy;
}


static void
test_members_that_nobody_asks_for_go(void **state)
{
    assert_pick("a", "{\"a\":1,\"b\":2}", "{\"a\":1}");
    assert_pick("b", "{\"a\":1,\"b\":2}", "{\"b\":2}");
    assert_pick("c", "{\"a\":1,\"b\":2}", "{}");
    assert_pick("a b", "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2}");
    assert_pick("a.b", "{\"a\":{\"b\":[1],\"c\":2}}", "{\"a\":{\"b\":[1]}}");
    assert_pick("a.b a.c", "{\"a\":{\"b\":1,\"c\":2,\"d\":3},\"e\":4}",
                "{\"a\":{\"b\":1,\"c\":2}}");
    assert_pick("a", "{\"ab\":1,\"\":2,\"A\":3}", "{}");
    assert_pick("", "", "");
}


static void
test_all_below_stays(void **state)
{
    assert_pick("a", "{\"a\":{\"b\":[1,{\"c\":\"}\"}]},\"d\":0}",
                "{\"a\":{\"b\":[1,{\"c\":\"}\"}]}}");
    assert_pick("a a.b", "{\"a\":{\"b\":1,\"c\":2}}",
                "{\"a\":{\"b\":1,\"c\":2}}");
}


static void
test_elements_keep_their_places(void **state)
{
    assert_pick("[1]", "[1,2,3]", "[1,2]");
    assert_pick("[1].a", "[{\"a\":1,\"b\":2},{\"a\":3},{\"a\":4}]",
                "[{\"a\":1},{\"a\":3}]");
    assert_pick("[0].a [2].b", "[{\"a\":1,\"b\":2},{\"c\":3},{\"b\":4},5]",
                "[{\"a\":1,\"b\":2},{},{\"b\":4}]");
    assert_pick("[-1].a", "[{\"a\":1,\"b\":2},{\"b\":3}]", "[{\"a\":1},{}]");
    assert_pick("[*].a", "[{\"a\":1,\"b\":2},[3],{\"b\":4}]",
                "[{\"a\":1},[],{}]");
    assert_pick("a", "[1,2,3]", "[]");
}


static void
test_filters_see_all_of_an_element(void **state)
{
    assert_pick("a[?@.x==\"y\"].z", "{\"a\":[{\"x\":\"y\",\"z\":1,\"w\":2}],"
                "\"b\":3}", "{\"a\":[{\"x\":\"y\",\"z\":1,\"w\":2}]}");
}


static void
test_a_wildcard_takes_all_members(void **state)
{
    assert_pick("a.*.b", "{\"a\":{\"x\":{\"b\":1,\"c\":2}},\"d\":3}",
                "{\"a\":{\"x\":{\"b\":1,\"c\":2}}}");
}


static void
test_blanks_and_strings_are_passed_over(void **state)
{
    assert_pick("a", " { \"b\" : \"\\\"}\\\\\" , \"a\"\t:\r\n1 } ",
                "{\"a\":1}");
    assert_pick("a", "{\"b\":\"\\\\\\\\\",\"c\":\"\\\\\\\"\",\"a\":\"\\\"\"}",
                "{\"a\":\"\\\"\"}");
    assert_pick("b", "{\"a\":{\"]\":[\"[\"]},\"b\":-1.5e3}", "{\"b\":-1.5e3}");
}


static void
test_the_last_of_equal_names_is_still_the_last(void **state)
{
    assert_pick("a.b", "{\"a\":{\"b\":1},\"c\":0,\"a\":{\"b\":2}}",
                "{\"a\":{\"b\":1},\"a\":{\"b\":2}}");
}


/* jansson says what is wrong with it, or finds the name */

static void
test_what_it_cannot_tell_stays(void **state)
{
    assert_as_it_is("a", "{\"\\u0061\":1,\"b\":2}");
    assert_as_it_is("a", "{\"b\":[1,2}]");
    assert_as_it_is("a", "{\"b\":[1,2}}");
    assert_as_it_is("a", "{\"b\":1");
    assert_as_it_is("a", "{\"b\":\"1}");
    assert_as_it_is("a", "{\"b\" 1}");
    assert_as_it_is("a", "{\"b\":}");
    assert_as_it_is("a", "{\"b\":1,}");
    assert_as_it_is("a", "{b:1}");
    assert_as_it_is("a", "{\"b\":1}{\"a\":1}");
    assert_as_it_is("[0]", "[1,]");
    assert_as_it_is("[0]", "[1");
    assert_as_it_is("a", "\"text\"");
    assert_as_it_is("a", "12");
    assert_as_it_is("a", "a=1&b=2");
}


/* what is asked for is as it was, for jansson to refuse */

static void
test_what_is_left_is_not_mended(void **state)
{
    assert_pick("a", "{\"a\":nonsense,\"b\":1}", "{\"a\":nonsense}");
    assert_pick("a", "{\"a\":[1 2],\"b\":1}", "{\"a\":[1 2]}");
}


static void
test_depth_is_bounded(void **state)
{
    ngx_str_t                 *text, *same;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, '[', 5 + 2 * 64 + 7);
    ngx_memcpy(text->data, "{\"b\":", 5);
    ngx_memset(text->data + 5 + 64, ']', 64);
    ngx_memcpy(text->data + 5 + 2 * 64, ",\"a\":1}", 7);

    unit_assert_text(unit_pick(state, "a", text), unit_str("{\"a\":1}"),
                     __FILE__, __LINE__);

    text = unit_fill(arena->pool, '[', 5 + 2 * 65 + 1);
    ngx_memcpy(text->data, "{\"b\":", 5);
    ngx_memset(text->data + 5 + 65, ']', 65);
    text->data[text->len - 1] = '}';

    same = unit_pick(state, "a", text);
    unit_assert_text(same, text, __FILE__, __LINE__);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_members_that_nobody_asks_for_go),
        unit_arena_test(test_all_below_stays),
        unit_arena_test(test_elements_keep_their_places),
        unit_arena_test(test_filters_see_all_of_an_element),
        unit_arena_test(test_a_wildcard_takes_all_members),
        unit_arena_test(test_blanks_and_strings_are_passed_over),
        unit_arena_test(test_the_last_of_equal_names_is_still_the_last),
        unit_arena_test(test_what_it_cannot_tell_stays),
        unit_arena_test(test_what_is_left_is_not_mended),
        unit_arena_test(test_depth_is_bounded)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
