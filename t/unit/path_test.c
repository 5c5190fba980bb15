
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Paths: what they select, and what the configuration's reader is told.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_path.h"


#define assert_select(path, doc, expected)                                    \
    unit_assert_text(unit_select(state, unit_str(path), unit_str(doc)),       \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_refused(path, expected)                                        \
    unit_assert_text(unit_refuse(state, unit_str(path)), unit_str(expected),  \
                     __FILE__, __LINE__)

#define assert_begins(str, s)                                                 \
    assert_int_equal(ngx_strncmp((str)->data, s, sizeof(s) - 1), 0)

/* the elements of "doc" for which a filter holds */
#define assert_filter(filter, doc, expected)                                  \
    assert_select("[?" filter "]", doc, expected)


static ngx_str_t  unit_missing = ngx_string("missing");
static ngx_str_t  unit_unknown = ngx_string("unknown");


static ngx_http_klaviyo_path_t *
unit_path(void **state, ngx_str_t *text)
{
    u_char                     buf[128];
    ngx_str_t                  err, *copy;
    ngx_http_klaviyo_path_t   *path;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    copy = unit_fill(arena->pool, 0, text->len);
    ngx_memcpy(copy->data, text->data, text->len);

    err.data = buf;
    err.len = 0;

    path = ngx_http_klaviyo_path_parse(arena->pool, copy, &err);

    if (path == NULL) {
        fail_msg("%.*s", (int) err.len, err.data);
    }

    return path;
}


static ngx_str_t *
unit_refuse(void **state, ngx_str_t *text)
{
    ngx_str_t                 *err;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    err = unit_fill(arena->pool, '?', 128);
    err->len = 0;

    assert_null(ngx_http_klaviyo_path_parse(arena->pool, text, err));

    return err;
}


/* what the path selects, as jansson writes it; "missing", "unknown" */

static ngx_str_t *
unit_select(void **state, ngx_str_t *path, ngx_str_t *doc)
{
    char                      *dump;
    json_t                    *json;
    ngx_str_t                 *str;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    json = ngx_http_klaviyo_json_parse(arena, doc);
    assert_non_null(json);

    ngx_http_klaviyo_data_from_json(arena, &data, json);

    ngx_http_klaviyo_path_select(arena, unit_path(state, path), &data, &data);

    if (data.type == NGX_HTTP_KLAVIYO_MISSING) {
        return &unit_missing;
    }

    if (data.type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        return &unit_unknown;
    }

    json = ngx_http_klaviyo_data_to_json(arena, &data);
    dump = json_dumps(json, JSON_COMPACT|JSON_ENCODE_ANY);
    assert_non_null(dump);

    str = unit_fill(arena->pool, 0, ngx_strlen(dump));
    ngx_memcpy(str->data, dump, str->len);

    free(dump);
    json_decref(json);

    return str;
}


static void
test_an_empty_path_is_the_document(void **state)
{
    assert_select("", "{\"a\":1}", "{\"a\":1}");
    assert_select("", "\"text\"", "\"text\"");
    assert_select("", "12", "12");
}


static void
test_names_go_down(void **state)
{
    assert_select("a", "{\"a\":1}", "1");
    assert_select("a.b.c", "{\"a\":{\"b\":{\"c\":\"x\"}}}", "\"x\"");
    assert_select("a.b", "{\"a\":{\"b\":[1]}}", "[1]");
    assert_select("a.b", "{\"a\":{\"c\":1}}", "missing");
    assert_select("a.b.c", "{\"a\":1}", "missing");
    assert_select("a", "[1]", "missing");
    assert_select("0", "[1]", "missing");
    assert_select("a", "{\"a\":null}", "missing");
    assert_select("a", "\"text\"", "missing");
}


static void
test_names_need_few_quotes(void **state)
{
    assert_select("$exchange_id", "{\"$exchange_id\":1}", "1");
    assert_select("data-id", "{\"data-id\":1}", "1");
    assert_select("a:b/c@d=e*", "{\"a:b/c@d=e*\":1}", "1");
    assert_select("gr\xC3\xB6\xC3\x9F" "e", "{\"gr\xC3\xB6\xC3\x9F" "e\":1}",
                  "1");
}


static void
test_quoted_names_take_anything(void **state)
{
    assert_select("[\"a.b\"]", "{\"a.b\":1}", "1");
    assert_select("['a b']", "{\"a b\":1}", "1");
    assert_select("a[\"b\"].c", "{\"a\":{\"b\":{\"c\":1}}}", "1");
    assert_select("[ \"a\" ]", "{\"a\":1}", "1");
    assert_select("['']", "{\"\":1}", "1");
    assert_select("['*']", "{\"*\":1}", "1");
    assert_select("[']']", "{\"]\":1}", "1");
    assert_select("['\"']", "{\"\\\"\":1}", "1");
    assert_select("[\"'\"]", "{\"'\":1}", "1");
}


static void
test_quoted_names_have_escapes(void **state)
{
    assert_select("['\\'\\\"\\\\\\/']", "{\"'\\\"\\\\/\":1}", "1");
    assert_select("[\"\\'\\\"\\\\\\/\"]", "{\"'\\\"\\\\/\":1}", "1");
    assert_select("['\\b\\f\\n\\r\\t']", "{\"\\b\\f\\n\\r\\t\":1}", "1");
    assert_select("['\\u00e4\\u20AC']", "{\"\xC3\xA4\xE2\x82\xAC\":1}", "1");
    assert_select("['\\ud83d\\ude00']", "{\"\xF0\x9F\x98\x80\":1}", "1");
}


static void
test_indexes_count_from_both_ends(void **state)
{
    assert_select("[0]", "[1,2,3]", "1");
    assert_select("[2]", "[1,2,3]", "3");
    assert_select("[3]", "[1,2,3]", "missing");
    assert_select("[-1]", "[1,2,3]", "3");
    assert_select("[-3]", "[1,2,3]", "1");
    assert_select("[-4]", "[1,2,3]", "missing");
    assert_select("[-1]", "[]", "missing");
    assert_select("a[ 1 ].b", "{\"a\":[0,{\"b\":2}]}", "2");
    assert_select("[0][1]", "[[1,2]]", "2");
    assert_select("[0]", "{\"0\":1}", "missing");
    assert_select("[9223372036854775807]", "[1]", "missing");
    assert_select("[-9223372036854775807]", "[1]", "missing");
}


static void
test_wildcards_give_arrays(void **state)
{
    assert_select("[*]", "[1,2]", "[1,2]");
    assert_select("[*]", "{\"a\":1,\"b\":[2]}", "[1,[2]]");
    assert_select("*", "{\"a\":1,\"b\":2}", "[1,2]");
    assert_select("a.*", "{\"a\":{\"x\":1,\"y\":2}}", "[1,2]");
    assert_select("a[*].b", "{\"a\":[{\"b\":1},{\"c\":2},{\"b\":3}]}",
                  "[1,3]");
    assert_select("[*][*]", "[[1],[2,3],4]", "[1,2,3]");
    assert_select("*.*", "{\"a\":{\"b\":1},\"c\":[2]}", "[1,2]");
    assert_select("[ * ]", "[1]", "[1]");
    assert_select("[*][0]", "[[1,2],[3]]", "[1,3]");
}


static void
test_nulls_are_left_out_of_arrays(void **state)
{
    assert_select("[*]", "[null,1,null]", "[1]");
    assert_select("[*].a", "[{\"a\":null},{\"a\":false}]", "[false]");
}


static void
test_a_plural_path_that_finds_nothing_gives_an_empty_array(void **state)
{
    assert_select("[*]", "[]", "[]");
    assert_select("a[*]", "{\"b\":1}", "[]");
    assert_select("[*]", "\"text\"", "[]");
    assert_select("a[?@.b]", "{\"a\":1}", "[]");
}


static void
test_missing_stays_missing(void **state)
{
    ngx_http_klaviyo_data_t  data;

    data.type = NGX_HTTP_KLAVIYO_MISSING;
    ngx_http_klaviyo_path_select(*state, unit_path(state, unit_str("[*]")),
                                 &data, &data);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_MISSING);

    data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
    ngx_http_klaviyo_path_select(*state, unit_path(state, unit_str("a.b")),
                                 &data, &data);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
}


static void
test_filters_test_for_existence(void **state)
{
    assert_filter("@.a", "[{\"a\":1},{\"b\":1},{\"a\":null},5]",
                  "[{\"a\":1},{\"a\":null}]");
    assert_filter("!@.a", "[{\"a\":1},{\"b\":1}]", "[{\"b\":1}]");
    assert_filter("@[0]", "[[],[0]]", "[[0]]");
    assert_filter("@", "[1,null,2]", "[1,2]");
    assert_filter(" @.a.b ", "[{\"a\":{\"b\":1}},{\"a\":1}]",
                  "[{\"a\":{\"b\":1}}]");
    assert_select("x[?@.a].a", "{\"x\":[{\"a\":1},{\"b\":2}]}", "[1]");
}


static void
test_filters_apply_to_members_of_objects(void **state)
{
    assert_filter("@.a==1", "{\"x\":{\"a\":1},\"y\":{\"a\":2}}",
                  "[{\"a\":1}]");
}


static void
test_filters_compare_texts(void **state)
{
    assert_filter("@.x==\"y\"", "[{\"x\":\"y\"},{\"x\":\"z\"},{\"x\":1}]",
                  "[{\"x\":\"y\"}]");
    assert_filter("@.x == 'y'", "[{\"x\":\"y\"}]", "[{\"x\":\"y\"}]");
    assert_filter("'y'==@.x", "[{\"x\":\"y\"},{\"x\":\"z\"}]",
                  "[{\"x\":\"y\"}]");
    assert_filter("@!='a'", "[\"a\",\"b\",1]", "[\"b\",1]");
    assert_filter("@<'b'", "[\"a\",\"ab\",\"b\",\"ba\",\"\"]",
                  "[\"a\",\"ab\",\"\"]");
    assert_filter("@<='b'", "[\"b\",\"ba\"]", "[\"b\"]");
    assert_filter("@>'b'", "[\"b\",\"ba\",\"\xC3\xA4\"]",
                  "[\"ba\",\"\xC3\xA4\"]");
    assert_filter("@>='b'", "[\"a\",\"b\"]", "[\"b\"]");
    assert_filter("'b'>@", "[\"a\",\"b\"]", "[\"a\"]");
    assert_filter("@.path=='/wc/store/v1/cart/add-item'",
                  "[{\"path\":\"/wc/store/v1/cart/add-item\",\"body\":1},"
                  "{\"path\":\"/wc/store/v1/cart\"}]",
                  "[{\"path\":\"/wc/store/v1/cart/add-item\",\"body\":1}]");
    assert_filter("@=='a]\\'b'", "[\"a]'b\"]", "[\"a]'b\"]");
}


static void
test_filters_compare_numbers(void **state)
{
    assert_filter("@==1", "[1,1.0,\"1\",2,true]", "[1,1.0]");
    assert_filter("@==1.5", "[1.5,1]", "[1.5]");
    assert_filter("@==-0.15e+1", "[-1.5]", "[-1.5]");
    assert_filter("@!=1", "[1,1.0,\"1\"]", "[\"1\"]");
    assert_filter("@<10", "[9,10,9.5,\"1\",null]", "[9,9.5]");
    assert_filter("@<=10", "[9,10,10.5]", "[9,10]");
    assert_filter("@>10", "[10,11,10.5]", "[11,10.5]");
    assert_filter("@>=10", "[9.5,10]", "[10]");
    assert_filter("10<=@", "[9.5,10]", "[10]");
    assert_filter("@==9223372036854775807",
                  "[9223372036854775807,9223372036854775806]",
                  "[9223372036854775807]");
    assert_filter("@<9223372036854775807",
                  "[9223372036854775807,9223372036854775806]",
                  "[9223372036854775806]");
}


static void
test_filters_compare_constants(void **state)
{
    assert_filter("@.a==true", "[{\"a\":true},{\"a\":1},{\"a\":\"true\"}]",
                  "[{\"a\":true}]");
    assert_filter("@.a==false", "[{\"a\":false},{\"a\":null}]",
                  "[{\"a\":false}]");
    assert_filter("@.a==null", "[{\"a\":null},{\"b\":1}]", "[{\"a\":null}]");
    assert_filter("@.a<=true", "[{\"a\":true},{\"a\":false}]",
                  "[{\"a\":true}]");
    assert_filter("@.a<true", "[{\"a\":true},{\"a\":false}]", "[]");
}


static void
test_nothing_equals_only_nothing(void **state)
{
    assert_filter("@.a==1", "[{}]", "[]");
    assert_filter("@.a!=1", "[{}]", "[{}]");
    assert_filter("@.a<1", "[{}]", "[]");
    assert_filter("@.a>=1", "[{}]", "[]");
    assert_filter("@.a==@.b", "[{},{\"a\":1},{\"a\":1,\"b\":1.0}]",
                  "[{},{\"a\":1,\"b\":1.0}]");
    assert_filter("@.a!=null", "[{\"a\":null},{}]", "[{}]");
}


static void
test_filters_join_terms(void **state)
{
    assert_filter("@.a && @.b", "[{\"a\":1},{\"a\":1,\"b\":2}]",
                  "[{\"a\":1,\"b\":2}]");
    assert_filter("@==1||@==2", "[1,2,3]", "[1,2]");

    /* "&&" binds tighter */

    assert_filter("@.a || @.b && @.c", "[{\"a\":1},{\"b\":1},{\"c\":1}]",
                  "[{\"a\":1}]");
    assert_filter("(@.a || @.b) && @.c",
                  "[{\"a\":1},{\"b\":1,\"c\":1},{\"a\":1,\"c\":1}]",
                  "[{\"b\":1,\"c\":1},{\"a\":1,\"c\":1}]");
    assert_filter("!(@ == 1 || @ == 2)", "[1,2,3]", "[3]");
    assert_filter("! ( ! (@ > 1) )", "[1,2]", "[2]");
    assert_filter("@>1&&@<4&&@!=3", "[1,2,3,4]", "[2]");
}


static void
test_find_needs_no_arena(void **state)
{
    json_t                    *json;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    json = ngx_http_klaviyo_json_parse(arena, unit_str("{\"a\":[1,null]}"));

    arena->left = 0;

    assert_json(ngx_http_klaviyo_path_find(unit_path(state, unit_str("a[0]")),
                                           json),
                "1");
    assert_ptr_equal(ngx_http_klaviyo_path_find(unit_path(state, unit_str("")),
                                                json),
                     json);
    assert_null(ngx_http_klaviyo_path_find(unit_path(state, unit_str("b")),
                                           json));
    assert_null(ngx_http_klaviyo_path_find(unit_path(state, unit_str("a[*]")),
                                           json));
    assert_null(ngx_http_klaviyo_path_find(unit_path(state, unit_str("a")),
                                           NULL));
}


static void
test_wildcards_and_filters_make_a_path_plural(void **state)
{
    assert_false(ngx_http_klaviyo_path_plural(unit_path(state, unit_str(""))));
    assert_false(ngx_http_klaviyo_path_plural(unit_path(state,
                                                    unit_str("a[0]['*']"))));
    assert_true(ngx_http_klaviyo_path_plural(unit_path(state,
                                                       unit_str("a[*].b"))));
    assert_true(ngx_http_klaviyo_path_plural(unit_path(state,
                                                       unit_str("*.b"))));
    assert_true(ngx_http_klaviyo_path_plural(unit_path(state,
                                                       unit_str("[?@.a]"))));
}


static void
test_errors_name_what_is_wrong(void **state)
{
    assert_refused("a[0", "unclosed bracket in \"a[0\"");
    assert_refused("a[", "unclosed bracket in \"a[\"");
    assert_refused("[?@.a", "unclosed bracket in \"[?@.a\"");
    assert_refused(".a", "leading dot in \".a\"");
    assert_refused("a..b", "empty name in \"a..b\" at \".b\"");
    assert_refused("a.", "empty name in \"a.\"");
    assert_refused("a.[0]", "empty name in \"a.[0]\" at \"[0]\"");
    assert_refused("a b", "unexpected character in \"a b\" at \" b\"");
    assert_refused("a]", "unexpected character in \"a]\" at \"]\"");
    assert_refused("a[0]b", "unexpected character in \"a[0]b\" at \"b\"");
    assert_refused("a(b)", "unexpected character in \"a(b)\" at \"(b)\"");
    assert_refused("a\"", "unexpected character in \"a\"\" at \"\"\"");
    assert_refused("(a)", "empty name in \"(a)\"");
    assert_refused("\x01", "empty name in \"\x01\"");
    assert_refused("a\x7f" "b",
                   "unexpected character in \"a\x7f" "b\" at \"\x7f" "b\"");
}


static void
test_wrong_indexes_are_refused(void **state)
{
    assert_refused("a[]", "invalid index in \"a[]\" at \"]\"");
    assert_refused("a[x]", "invalid index in \"a[x]\" at \"x]\"");
    assert_refused("a[01]", "invalid index in \"a[01]\" at \"01]\"");
    assert_refused("a[-0]", "invalid index in \"a[-0]\" at \"-0]\"");
    assert_refused("a[-]", "invalid index in \"a[-]\" at \"-]\"");
    assert_refused("a[--1]", "invalid index in \"a[--1]\" at \"--1]\"");
    assert_refused("a[1x]", "unexpected character in \"a[1x]\" at \"x]\"");
    assert_refused("[9223372036854775808]",
                   "invalid index in \"[9223372036854775808]\" "
                   "at \"9223372036854775808]\"");
    assert_refused("a[0:2]", "slices are not supported in \"a[0:2]\" "
                             "at \":2]\"");
    assert_refused("a[:2]", "slices are not supported in \"a[:2]\" "
                            "at \":2]\"");
    assert_refused("a[0,2]", "lists are not supported in \"a[0,2]\" "
                             "at \",2]\"");
}


static void
test_wrong_quotes_are_refused(void **state)
{
    assert_refused("['a", "unclosed quote in \"['a\" at \"'a\"");
    assert_refused("['a\"]", "unclosed quote in \"['a\"]\" at \"'a\"]\"");
    assert_refused("['a\\']", "unclosed quote in \"['a\\']\" at \"'a\\']\"");
    assert_refused("['a\\", "unclosed quote in \"['a\\\" at \"'a\\\"");
    assert_refused("['a'", "unclosed bracket in \"['a'\"");
    assert_refused("['\\x']", "invalid string in \"['\\x']\" at \"'\\x']\"");
    assert_refused("['\\u12']",
                   "invalid string in \"['\\u12']\" at \"'\\u12']\"");
    assert_refused("['\\ud800']",
                   "invalid string in \"['\\ud800']\" at \"'\\ud800']\"");
    assert_refused("['a\\u0000']",
                   "invalid string in \"['a\\u0000']\" at \"'a\\u0000']\"");
    assert_refused("['\xFF']",
                   "invalid string in \"['\xFF']\" at \"'\xFF']\"");
    assert_refused("['\n']", "invalid string in \"['\n']\" at \"'\n']\"");
}


static void
test_wrong_filters_are_refused(void **state)
{
    assert_refused("[?]", "invalid literal in \"[?]\" at \"]\"");
    assert_refused("[?1]", "no comparison in \"[?1]\" at \"]\"");
    assert_refused("[?@.a=1]",
                   "unexpected character in \"[?@.a=1]\" at \"=1]\"");
    assert_refused("[?@.a==]", "invalid literal in \"[?@.a==]\" at \"]\"");
    assert_refused("[?@.a==x]", "invalid literal in \"[?@.a==x]\" "
                                "at \"x]\"");
    assert_refused("[?@.a==01]", "invalid literal in \"[?@.a==01]\" "
                                 "at \"01]\"");
    assert_refused("[?@.a==$.b]", "invalid literal in \"[?@.a==$.b]\" "
                                  "at \"$.b]\"");
    assert_refused("[?length(@.a)>1]",
                   "invalid literal in \"[?length(@.a)>1]\" "
                   "at \"length(@.a)>1]\"");
    assert_refused("[?@.a &&]", "invalid literal in \"[?@.a &&]\" at \"]\"");
    assert_refused("[?@.a & @.b]",
                   "unexpected character in \"[?@.a & @.b]\" at \"& @.b]\"");
    assert_refused("[?(@.a]", "unclosed parenthesis in \"[?(@.a]\" "
                              "at \"]\"");
    assert_refused("[?!@.a==1]",
                   "\"!\" needs parentheses around a comparison in "
                   "\"[?!@.a==1]\" at \"]\"");
    assert_refused("[?!!@.a]", "invalid literal in \"[?!!@.a]\" "
                               "at \"!@.a]\"");
    assert_refused("[?@.a[*]==1]",
                   "wildcard inside a filter in \"[?@.a[*]==1]\" "
                   "at \"@.a[*]==1]\"");
    assert_refused("[?@[?@.a]]",
                   "filter inside a filter in \"[?@[?@.a]]\" at \"?@.a]]\"");
    assert_refused("[?@.]", "empty name in \"[?@.]\" at \"]\"");
}


static void
test_filters_end_where_they_end(void **state)
{
    /* what a name may hold outside of a filter it may hold behind it too */

    assert_select("[?@.a].b=c", "[{\"a\":1,\"b=c\":2}]", "[2]");
    assert_select("[?@.a][?@.b]", "[{\"a\":{\"b\":1}}]",
                  "[{\"b\":1}]");
    assert_select("[?@[0]][?@>1]", "[[1,2],[3]]", "[2,3]");
}


static void
test_paths_are_bounded(void **state)
{
    u_char                    *p;
    ngx_str_t                 *text;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, '.', NGX_HTTP_KLAVIYO_MAX_SEGMENTS * 2 + 1);

    for (i = 0; i < text->len; i += 2) {
        text->data[i] = 'a';
    }

    text->len -= 2;
    assert_non_null(unit_path(state, text));

    text->len += 2;
    assert_begins(unit_refuse(state, text),
                  "too many names and indexes in \"a.a.a");

    /* "(((((...", "!(!(!(..." */

    text = unit_fill(arena->pool, '(', 200000);
    text->data[0] = '[';
    text->data[1] = '?';
    assert_begins(unit_refuse(state, text), "too many terms in \"[?(((");

    for (i = 2; i < text->len; i += 2) {
        text->data[i] = '!';
    }

    assert_begins(unit_refuse(state, text), "too many terms in \"[?!(!(");

    /* @&&@&&... */

    p = text->data + 2;

    for (i = 0; i < 64; i++) {
        p = ngx_cpymem(p, "@&&", 3);
    }

    p[-2] = ']';

    text->len = p - text->data - 1;
    assert_non_null(unit_path(state, text));

    p = ngx_cpymem(p - 2, "&&@]", 4);

    text->len = p - text->data;
    assert_begins(unit_refuse(state, text), "too many terms in");
}


static void
test_a_long_path_cuts_the_message(void **state)
{
    ngx_str_t                 *text, *err;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, 'a', 1000);
    text->data[999] = '.';

    err = unit_refuse(state, text);

    assert_int_equal(err->len, 128);
    assert_begins(err, "empty name in \"aaaa");
}


static void
test_results_are_bounded(void **state)
{
    json_t                    *json;
    ngx_uint_t                 i;
    ngx_http_klaviyo_data_t    data, result;
    ngx_http_klaviyo_path_t   *path;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    path = unit_path(state, unit_str("[*]"));

    json = ngx_http_klaviyo_arena_keep(arena, json_array());

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ITEMS; i++) {
        json_array_append_new(json, json_true());
    }

    ngx_http_klaviyo_data_from_json(arena, &data, json);

    ngx_http_klaviyo_path_select(arena, path, &data, &result);
    assert_int_equal(result.type, NGX_HTTP_KLAVIYO_TREE);
    assert_int_equal(json_array_size(result.json), NGX_HTTP_KLAVIYO_MAX_ITEMS);

    json_array_append_new(json, json_true());

    ngx_http_klaviyo_path_select(arena, path, &data, &result);
    assert_int_equal(result.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    assert_int_equal(arena->limits, 1);

    /* a filter may still take fewer */

    path = unit_path(state, unit_str("[?@==false]"));

    ngx_http_klaviyo_path_select(arena, path, &data, &result);
    assert_int_equal(result.type, NGX_HTTP_KLAVIYO_TREE);
    assert_int_equal(arena->limits, 1);
}


static void
test_results_are_charged(void **state)
{
    ngx_uint_t                 limits;
    ngx_http_klaviyo_data_t    data, result;
    ngx_http_klaviyo_path_t   *path;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    path = unit_path(state, unit_str("[*]"));

    data.type = NGX_HTTP_KLAVIYO_TREE;
    data.json = ngx_http_klaviyo_json_parse(arena, unit_str("[1,2,3]"));

    for (limits = 1; limits < 4; limits++) {
        arena->left = limits * 60;

        ngx_http_klaviyo_path_select(arena, path, &data, &result);
        assert_int_equal(result.type, NGX_HTTP_KLAVIYO_UNKNOWN);
        assert_int_equal(arena->limits, limits);
    }

    arena->left = 240;

    ngx_http_klaviyo_path_select(arena, path, &data, &result);
    assert_int_equal(result.type, NGX_HTTP_KLAVIYO_TREE);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_an_empty_path_is_the_document),
        unit_arena_test(test_names_go_down),
        unit_arena_test(test_names_need_few_quotes),
        unit_arena_test(test_quoted_names_take_anything),
        unit_arena_test(test_quoted_names_have_escapes),
        unit_arena_test(test_indexes_count_from_both_ends),
        unit_arena_test(test_wildcards_give_arrays),
        unit_arena_test(test_nulls_are_left_out_of_arrays),
        unit_arena_test(
                  test_a_plural_path_that_finds_nothing_gives_an_empty_array),
        unit_arena_test(test_missing_stays_missing),
        unit_arena_test(test_filters_test_for_existence),
        unit_arena_test(test_filters_apply_to_members_of_objects),
        unit_arena_test(test_filters_compare_texts),
        unit_arena_test(test_filters_compare_numbers),
        unit_arena_test(test_filters_compare_constants),
        unit_arena_test(test_nothing_equals_only_nothing),
        unit_arena_test(test_filters_join_terms),
        unit_arena_test(test_find_needs_no_arena),
        unit_arena_test(test_wildcards_and_filters_make_a_path_plural),
        unit_arena_test(test_errors_name_what_is_wrong),
        unit_arena_test(test_wrong_indexes_are_refused),
        unit_arena_test(test_wrong_quotes_are_refused),
        unit_arena_test(test_wrong_filters_are_refused),
        unit_arena_test(test_filters_end_where_they_end),
        unit_arena_test(test_paths_are_bounded),
        unit_arena_test(test_a_long_path_cuts_the_message),
        unit_arena_test(test_results_are_bounded),
        unit_arena_test(test_results_are_charged)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
