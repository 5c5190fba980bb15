
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * GraphQL requests as trees: what the server would run is told, what is no
 * request gives nothing.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_document.h"


/* the body as JSON in which "'" is a quote and "`" a quote inside of a text */
#define assert_graphql(body, expected)                                        \
    assert_json(unit_graphql(state, unit_str(body), NULL),                    \
                expected)

#define assert_nothing(body)                                                  \
    assert_null(unit_graphql(state, unit_str(body), NULL))

#define assert_args(args, expected)                                           \
    assert_json(unit_graphql(state, NULL, unit_str(args)), expected)

/* the same for a query alone, any bytes */
#define assert_query(query, expected)                                         \
    assert_json(unit_query(state, unit_str(query)), expected)

#define assert_no_query(query)                                                \
    assert_null(unit_query(state, unit_str(query)))


static json_t *
unit_parse(void **state, ngx_str_t *text)
{
    json_t                    *json;
    size_t                     i;
    u_char                    *p;
    ngx_str_t                 *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    if (text == NULL) {
        return NULL;
    }

    str = unit_fill(arena->pool, 0, text->len * 2);
    p = str->data;

    for (i = 0; i < text->len; i++) {

        if (text->data[i] == '\'') {
            *p++ = '"';

        } else if (text->data[i] == '`') {
            *p++ = '\\';
            *p++ = '"';

        } else {
            *p++ = text->data[i];
        }
    }

    str->len = p - str->data;

    json = ngx_http_klaviyo_json_parse(arena, str);
    assert_non_null(json);

    return json;
}


static json_t *
unit_graphql(void **state, ngx_str_t *body, ngx_str_t *args)
{
    return ngx_http_klaviyo_document_graphql(*state, unit_parse(state, body),
                                             unit_parse(state, args));
}


static json_t *
unit_query(void **state, ngx_str_t *query)
{
    json_t                    *json;
    ngx_str_t                  type;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    ngx_str_set(&type, "application/graphql");

    json = ngx_http_klaviyo_document_body(arena, &type, query, NULL,
                                          0);

    return ngx_http_klaviyo_document_graphql(arena, json, NULL);
}


static void
test_a_request_is_told(void **state)
{
    assert_graphql("{'operationName':'AddProductToCart','variables':{'cartId':"
                   "'Hx0vX','product':{'sku':'VT11','quantity':1}},'query':"
                   "'mutation AddProductToCart($cartId: String!, "
                   "$product: CartItemInput!) { addProductsToCart("
                   "cartId: $cartId, cartItems: [$product]) { cart { id "
                   "items { uid } } } }'}",
                   "{\"operation\":\"AddProductToCart\","
                   "\"type\":\"mutation\","
                   "\"fields\":[\"addProductsToCart\"],"
                   "\"arguments\":{\"addProductsToCart\":{"
                   "\"cartId\":\"Hx0vX\",\"cartItems\":[{\"sku\":\"VT11\","
                   "\"quantity\":1}]}},"
                   "\"variables\":{\"cartId\":\"Hx0vX\",\"product\":{"
                   "\"sku\":\"VT11\",\"quantity\":1}}}");
}


static void
test_a_name_is_found_in_the_text(void **state)
{
    assert_graphql("{'query':'mutation checkoutLinesAdd($id: ID!) "
                   "{ checkoutLinesAdd(id: $id) { errors { field } } }',"
                   "'variables':{'id':'Q2hl'}}",
                   "{\"operation\":\"checkoutLinesAdd\","
                   "\"type\":\"mutation\","
                   "\"fields\":[\"checkoutLinesAdd\"],"
                   "\"arguments\":{\"checkoutLinesAdd\":{\"id\":\"Q2hl\"}},"
                   "\"variables\":{\"id\":\"Q2hl\"}}");
    assert_query("{ a }", "{\"type\":\"query\",\"fields\":[\"a\"]}");
    assert_query("query { a }", "{\"type\":\"query\",\"fields\":[\"a\"]}");
    assert_query("subscription S { a }",
                 "{\"operation\":\"S\",\"type\":\"subscription\","
                 "\"fields\":[\"a\"]}");
    assert_query("query query @a(b: {c: \"}\"}) @d { a }",
                 "{\"operation\":\"query\",\"type\":\"query\","
                 "\"fields\":[\"a\"]}");
    assert_query("\xEF\xBB\xBF# mutation M {\r\n,query\tQ,{a}#",
                 "{\"operation\":\"Q\",\"type\":\"query\","
                 "\"fields\":[\"a\"]}");
}


static void
test_of_several_operations_the_named_one_counts(void **state)
{
    assert_graphql("{'query':'query A { a } mutation B { b } query C { c }',"
                   "'operationName':'B'}",
                   "{\"operation\":\"B\",\"type\":\"mutation\","
                   "\"fields\":[\"b\"]}");
    assert_graphql("{'query':'query A { a } mutation B { b }',"
                   "'operationName':'C'}",
                   "{\"operation\":\"C\"}");
    assert_graphql("{'query':'query A { a } mutation B { b }',"
                   "'operationName':'C','variables':{}}",
                   "{\"operation\":\"C\",\"variables\":{}}");
    assert_nothing("{'query':'query A { a } mutation B { b }',"
                   "'operationName':null}");
    assert_graphql("{'query':'{ a }','operationName':'A'}",
                   "{\"operation\":\"A\"}");
    assert_graphql("{'query':'query A { a }','operationName':''}",
                   "{\"operation\":\"A\",\"type\":\"query\","
                   "\"fields\":[\"a\"]}");
}


static void
test_fields_are_found_behind_aliases_and_fragments(void **state)
{
    assert_query("{ first: product(id: 1) { id } second : product(id: 2) "
                 "{ id } x:cart { id } }",
                 "{\"type\":\"query\",\"fields\":[\"product\",\"cart\"],"
                 "\"arguments\":{\"product\":{\"id\":1}}}");
    assert_query("fragment F on Query @x { b ...G ... { c } } "
                 "query Q { a ...F ... on Query @y { d { e } } } "
                 "fragment G on Query { g(n: 1) { h } ...F ...G }",
                 "{\"operation\":\"Q\",\"type\":\"query\","
                 "\"fields\":[\"a\",\"b\",\"g\",\"c\",\"d\"],"
                 "\"arguments\":{\"g\":{\"n\":1}}}");
    assert_query("{ query: fragment mutation on { x } null }",
                 "{\"type\":\"query\","
                 "\"fields\":[\"fragment\",\"mutation\",\"on\",\"null\"]}");
}


static void
test_directives_leave_fields_out(void **state)
{
    assert_graphql("{'query':'query($a: Boolean!, $b: Boolean = true) "
                   "{ a @include(if: $a) b @skip(if: $b) c @skip(if: false) "
                   "@include(if: true) ... @include(if: $a) { d } "
                   "...F @skip(if: true) e @client @x(if: false) } "
                   "fragment F on Query { f }',"
                   "'variables':{'a':false}}",
                   "{\"type\":\"query\",\"fields\":[\"c\",\"e\"],"
                   "\"variables\":{\"a\":false}}");
}


static void
test_literals_keep_their_types(void **state)
{
    assert_query("mutation { add(a: 1, b: -2.50, c: 1e3, d: true e: false, "
                 "f: null, g: EUR, h: [1, \"x\", [], {}], "
                 "i: {j: {k: \"v\"}, l: LIST}) { id } }",
                 "{\"type\":\"mutation\",\"fields\":[\"add\"],"
                 "\"arguments\":{\"add\":{\"a\":1,\"b\":-2.5,\"c\":1000.0,"
                 "\"d\":true,\"e\":false,\"f\":null,\"g\":\"EUR\","
                 "\"h\":[1,\"x\",[],{}],"
                 "\"i\":{\"j\":{\"k\":\"v\"},\"l\":\"LIST\"}}}}");
    assert_query("{ a(n: 9223372036854775807, m: 9223372036854775808, "
                 "o: 1e999) }",
                 "{\"type\":\"query\",\"fields\":[\"a\"],\"arguments\":"
                 "{\"a\":{\"n\":9223372036854775807,\"m\":null,"
                 "\"o\":null}}}");
    assert_query("{ a(n: 1, n: 2) }",
                 "{\"type\":\"query\",\"fields\":[\"a\"],"
                 "\"arguments\":{\"a\":{\"n\":2}}}");
}


static void
test_strings_are_unescaped(void **state)
{
    assert_query("{ a(s: \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\u{1F600}"
                 "\\uD83D\\uDE00#{}\tx\") }",
                 "{\"type\":\"query\",\"fields\":[\"a\"],\"arguments\":"
                 "{\"a\":{\"s\":\"\\\"\\\\/\\b\\f\\n\\r\\t\xC3\xA4"
                 "\xF0\x9F\x98\x80\xF0\x9F\x98\x80#{}\\tx\"}}}");
    assert_query("{ a(s: \"\\uD83D\", t: \"\\uDE00x\", u: \"\\uD83D\\u0041\","
                 " v: \"\\u{41}\", w: \"\") }",
                 "{\"type\":\"query\",\"fields\":[\"a\"],\"arguments\":"
                 "{\"a\":{\"s\":\"\xEF\xBF\xBD\",\"t\":\"\xEF\xBF\xBDx\","
                 "\"u\":\"\xEF\xBF\xBD" "A\",\"v\":\"A\",\"w\":\"\"}}}");
    assert_no_query("{ a(s: \"\\x\") }");
    assert_no_query("{ a(s: \"\\u12\") }");
    assert_no_query("{ a(s: \"\\u{}\") }");
    assert_no_query("{ a(s: \"\\u{110000}\") }");
    assert_no_query("{ a(s: \"\\u{1\") }");
    assert_no_query("{ a(s: \"x\n\") }");
    assert_no_query("{ a(s: \"x) }");
    assert_no_query("{ a(s: \"x\\");
}


static void
test_blocks_lose_their_indentation(void **state)
{
    assert_query("{ a(s: \"\"\"\n    Hello,\n      World!\r\n\n"
                 "    \\\"\"\" \\n\n  \"\"\") }",
                 "{\"type\":\"query\",\"fields\":[\"a\"],\"arguments\":"
                 "{\"a\":{\"s\":\"Hello,\\n  World!\\n\\n\\\"\\\"\\\" "
                 "\\\\n\"}}}");
    assert_query("{ a(s: \"\"\"\"\"\", t: \"\"\" x\n  y\"\"\", "
                 "u: \"\"\"\n \n\"\"\", v: \"\"\"\\\"\"\") }\"\"\") }",
                 "{\"type\":\"query\",\"fields\":[\"a\"],\"arguments\":"
                 "{\"a\":{\"s\":\"\",\"t\":\" x\\ny\",\"u\":\"\","
                 "\"v\":\"\\\"\\\"\\\") }\"}}}");
    assert_no_query("{ a(s: \"\"\"x\"\") }");
    assert_no_query("{ a(s: \"\"\"\\\"\"\"");
}


static void
test_variables_are_resolved(void **state)
{
    assert_graphql("{'query':'query($a: Int = 1 @x, $b: [In!]! = [{c: `d`}], "
                   "$e: Int, $f: Int = 2, $g: Int = 3) { p(a: $a, b: $b, "
                   "e: $e, f: $f, g: $g, l: [$e, $f], o: {e: $e, f: $f}) }',"
                   "'variables':{'f':[4],'g':null}}",
                   "{\"type\":\"query\",\"fields\":[\"p\"],\"arguments\":"
                   "{\"p\":{\"a\":1,\"b\":[{\"c\":\"d\"}],\"f\":[4],"
                   "\"g\":null,\"l\":[null,[4]],\"o\":{\"f\":[4]}}},"
                   "\"variables\":{\"f\":[4],\"g\":null}}");
}


static void
test_arguments_of_a_get_are_texts(void **state)
{
    assert_args("{'query':'query getProductDetail { products(filter: {url_key:"
                " {eq: $urlKey}}) { id } }','operationName':"
                "'getProductDetail','variables':'{`urlKey`:`valeria`}'}",
                "{\"operation\":\"getProductDetail\",\"type\":\"query\","
                "\"fields\":[\"products\"],\"arguments\":{\"products\":"
                "{\"filter\":{\"url_key\":{\"eq\":\"valeria\"}}}},"
                "\"variables\":{\"urlKey\":\"valeria\"}}");
    assert_args("{'operationName':'Q','variables':'{','extensions':"
                "'{`persistedQuery`:{`version`:1,`sha256Hash`:`ab12`}}'}",
                "{\"operation\":\"Q\",\"hash\":\"ab12\"}");
    assert_null(unit_graphql(state, NULL, unit_str("{'query':'linen'}")));
    assert_null(unit_graphql(state, NULL, unit_str("{'query':['{a}']}")));
    assert_null(unit_graphql(state, NULL, NULL));
}


static void
test_a_body_comes_before_arguments(void **state)
{
    assert_json(unit_graphql(state, unit_str("{'query':'{ a }'}"),
                             unit_str("{'query':'{ b }'}")),
                "{\"type\":\"query\",\"fields\":[\"a\"]}");
    assert_null(unit_graphql(state, unit_str("{}"),
                             unit_str("{'query':'{ b }'}")));
}


static void
test_hashes_are_told(void **state)
{
    assert_graphql("{'extensions':{'persistedQuery':{'version':1,"
                   "'sha256Hash':'ab12'}},'variables':{'a':1}}",
                   "{\"variables\":{\"a\":1},\"hash\":\"ab12\"}");
    assert_graphql("{'query':'linen','extensions':{'persistedQuery':"
                   "{'sha256Hash':'ab12'}}}", "{\"hash\":\"ab12\"}");
    assert_nothing("{'extensions':{'persistedQuery':{'sha256Hash':1}}}");
    assert_nothing("{'extensions':{'persistedQuery':'ab12'}}");
    assert_nothing("{'extensions':'ab12'}");
}


static void
test_a_batch_keeps_its_places(void **state)
{
    assert_graphql("[{'query':'{ a }'},{'x':1},{'operationName':'B'}]",
                   "[{\"type\":\"query\",\"fields\":[\"a\"]},null,"
                   "{\"operation\":\"B\"}]");
    assert_graphql("[{'query':'{ a }'}]",
                   "[{\"type\":\"query\",\"fields\":[\"a\"]}]");
    assert_nothing("[]");
    assert_nothing("[1,null,{},[{'query':'{ a }'}]]");
}


static void
test_uploads_carry_a_request(void **state)
{
    assert_graphql("{'operations':'{`query`:`mutation { up(f: $f) }`,"
                   "`variables`:{`f`:null}}','map':'{}'}",
                   "{\"type\":\"mutation\",\"fields\":[\"up\"],"
                   "\"arguments\":{\"up\":{\"f\":null}},"
                   "\"variables\":{\"f\":null}}");
    assert_graphql("{'operations':'[{`query`:`{ a }`}]'}",
                   "[{\"type\":\"query\",\"fields\":[\"a\"]}]");
    assert_nothing("{'operations':'x'}");
    assert_nothing("{'operations':'1'}");
}


static void
test_what_is_no_query_is_nothing(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_nothing("{}");
    assert_nothing("{'query':1,'operationName':2,'variables':{'a':1}}");
    assert_nothing("{'query':'shirt'}");
    assert_nothing("{'query':'query'}");
    assert_nothing("{'query':'{ a'}");
    assert_nothing("{'query':'}'}");
    assert_nothing("{'query':'{ a } }'}");
    assert_nothing("{'query':'{ a } shirt'}");
    assert_nothing("{'query':'schema { query: Q }'}");
    assert_nothing("{'query':'{ a(b) }'}");
    assert_nothing("{'query':'{ a(b: ) }'}");
    assert_nothing("{'query':'{ a(b: 1 }'}");
    assert_nothing("{'query':'{ a(b: [1 }'}");
    assert_nothing("{'query':'{ a(b: {c 1}) }'}");
    assert_nothing("{'query':'{ a(b: $) }'}");
    assert_nothing("{'query':'{ a(b: 1x) }'}");
    assert_nothing("{'query':'{ a(b: 01) }'}");
    assert_nothing("{'query':'{ a: }'}");
    assert_nothing("{'query':'{ a @ }'}");
    assert_nothing("{'query':'{ ... on }'}");
    assert_nothing("{'query':'{ ... }'}");
    assert_nothing("{'query':'{ ...F }'}");
    assert_nothing("{'query':'{ .. }'}");
    assert_nothing("{'query':'{ a ? }'}");
    assert_nothing("{'query':'query ( { a }'}");
    assert_nothing("{'query':'query ($a) { a }'}");
    assert_nothing("{'query':'query ($a: Int = $b) { a }'}");
    assert_nothing("{'query':'query (a: Int) { a }'}");
    assert_no_query("{ a \0 }");
    assert_no_query("{ \xC3\xA4 }");
    assert_int_equal(arena->limits, 0);

    /* a fragment alone runs nothing */

    assert_no_query("fragment F on Q { a }");

    text = unit_fill(arena->pool, '{', 50000);
    assert_null(unit_query(state, text));
}


/* a field inside of "n" fragments */

static json_t *
unit_nested(void **state, ngx_uint_t n)
{
    u_char                    *p;
    ngx_str_t                 *str;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, '}', 3 + n * 5 + 2);
    p = ngx_cpymem(str->data, "{a ", 3);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, "...{", 4);
    }

    *p = 'b';

    return unit_query(state, str);
}


static void
test_depth_is_bounded(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_non_null(unit_nested(state, 15));
    assert_null(unit_nested(state, 16));
    assert_int_equal(arena->limits, 1);

    assert_non_null(unit_query(state, unit_str("{ a(b: [[[[[[[[[[[[[[[["
                                               "[[[[[[[[[[[[[[[[1]]]]]]]]"
                                               "]]]]]]]]]]]]]]]]]]]]]]]]"
                                               ") }")));
    assert_null(unit_query(state, unit_str("{ a(b: [[[[[[[[[[[[[[[[["
                                           "[[[[[[[[[[[[[[[[1]]]]]]]]]"
                                           "]]]]]]]]]]]]]]]]]]]]]]]]"
                                           ") }")));
    assert_int_equal(arena->limits, 2);
}


static void
test_a_variable_can_not_be_multiplied(void **state)
{
    size_t                     i;
    u_char                    *p;
    json_t                    *body;
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, ' ', 10000);
    p = ngx_sprintf(text->data, "{ a(b: [");

    for (i = 0; i < 1000; i++) {
        p = ngx_sprintf(p, "$v ");
    }

    (void) ngx_sprintf(p, "]) }");

    body = json_pack("{s:s%, s:{s:[s]}}", "query", text->data, text->len,
                     "variables", "v", "a text of thirty bytes, or so");
    body = ngx_http_klaviyo_arena_keep(arena, body);

    assert_non_null(ngx_http_klaviyo_document_graphql(arena, body, NULL));
    assert_int_equal(arena->limits, 0);

    text = unit_fill(arena->pool, 'x', 2000);
    (void) json_object_set_new(json_object_get(body, "variables"), "v",
                               json_stringn((char *) text->data, text->len));

    assert_null(ngx_http_klaviyo_document_graphql(arena, body, NULL));
    assert_int_equal(arena->limits, 1);
}


static void
test_limits_give_nothing(void **state)
{
    size_t                     i, left;
    u_char                    *p;
    json_t                    *json;
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, ' ', 129 * 4);

    for (i = 0, p = text->data; i < 129; i++, p += 4) {
        ngx_memcpy(p, "{a} ", 4);
    }

    assert_null(unit_query(state, text));
    assert_int_equal(arena->limits, 1);

    /* of so many operations none would be run, but that is no limit */

    text->len -= 4;
    assert_null(unit_query(state, text));
    assert_int_equal(arena->limits, 1);

    /* all or nothing, however much is left */

    for (left = 0; left < 20000; left += 16) {
        arena->left = left;
        arena->limits = 0;

        json = unit_query(state, unit_str("query Q($a: Int = 1) { f(a: $a, "
                                          "b: [1, {c: \"x\"}]) @x(y: 1) }"));

        assert_true((json == NULL) == (arena->limits > 0));
    }

    assert_non_null(json);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_a_request_is_told),
        unit_arena_test(test_a_name_is_found_in_the_text),
        unit_arena_test(test_of_several_operations_the_named_one_counts),
        unit_arena_test(test_fields_are_found_behind_aliases_and_fragments),
        unit_arena_test(test_directives_leave_fields_out),
        unit_arena_test(test_literals_keep_their_types),
        unit_arena_test(test_strings_are_unescaped),
        unit_arena_test(test_blocks_lose_their_indentation),
        unit_arena_test(test_variables_are_resolved),
        unit_arena_test(test_arguments_of_a_get_are_texts),
        unit_arena_test(test_a_body_comes_before_arguments),
        unit_arena_test(test_hashes_are_told),
        unit_arena_test(test_a_batch_keeps_its_places),
        unit_arena_test(test_uploads_carry_a_request),
        unit_arena_test(test_what_is_no_query_is_nothing),
        unit_arena_test(test_depth_is_bounded),
        unit_arena_test(test_a_variable_can_not_be_multiplied),
        unit_arena_test(test_limits_give_nothing)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
