
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The arena's bounds, and values between texts and trees.
 */


#include "unit_arena.h"


static ngx_http_klaviyo_data_t *
unit_data(void **state, ngx_http_klaviyo_type_e type, ngx_str_t *text)
{
    ngx_http_klaviyo_data_t   *data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    data = ngx_pcalloc(arena->pool, sizeof(ngx_http_klaviyo_data_t));
    assert_non_null(data);

    data->type = type;

    if (text) {
        data->text = *text;
    }

    return data;
}


static ngx_http_klaviyo_data_t *
unit_from_json(void **state, char *text)
{
    json_t                   *json;
    json_error_t              error;
    ngx_http_klaviyo_data_t  *data;

    json = json_loads(text, JSON_DECODE_ANY|JSON_ALLOW_NUL, &error);
    assert_non_null(json);

    data = unit_data(state, NGX_HTTP_KLAVIYO_TREE, NULL);

    ngx_http_klaviyo_arena_keep(*state, json);
    ngx_http_klaviyo_data_from_json(*state, data, json);

    return data;
}


static json_t *
unit_to_json(void **state, ngx_http_klaviyo_type_e type, ngx_str_t *text)
{
    json_t  *json;

    json = ngx_http_klaviyo_data_to_json(*state,
                                         unit_data(state, type, text));

    return ngx_http_klaviyo_arena_keep(*state, json);
}


static ngx_uint_t
unit_truth(void **state, ngx_http_klaviyo_type_e type, ngx_str_t *text)
{
    return ngx_http_klaviyo_data_truth(unit_data(state, type, text));
}


static void
test_an_arena_gives_what_it_has_and_no_more(void **state)
{
    u_char                    *p;
    ngx_http_klaviyo_arena_t   arena, *a;

    a = *state;

    ngx_http_klaviyo_arena_init(&arena, a->pool, 100);

    p = ngx_http_klaviyo_arena_alloc(&arena, 60);
    assert_non_null(p);
    ngx_memset(p, 'a', 60);

    assert_null(ngx_http_klaviyo_arena_alloc(&arena, 41));
    assert_int_equal(arena.limits, 1);

    assert_int_equal(ngx_http_klaviyo_arena_charge(&arena, 41), NGX_DECLINED);
    assert_int_equal(arena.limits, 2);

    assert_int_equal(ngx_http_klaviyo_arena_charge(&arena, 40), NGX_OK);
    assert_int_equal(arena.left, 0);
    assert_null(ngx_http_klaviyo_arena_alloc(&arena, 1));
    assert_null(ngx_http_klaviyo_arena_alloc(&arena, (size_t) -1));
    assert_int_equal(arena.limits, 4);
}


static void
test_trees_live_until_the_arena_is_done(void **state)
{
    json_t                    *json;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    json = json_integer(1);

    assert_ptr_equal(ngx_http_klaviyo_arena_keep(arena, json_incref(json)),
                     json);
    assert_ptr_equal(ngx_http_klaviyo_arena_keep(arena, json_incref(json)),
                     json);
    assert_int_equal(json->refcount, 3);

    ngx_http_klaviyo_arena_done(arena);
    assert_int_equal(json->refcount, 1);

    ngx_http_klaviyo_arena_done(arena);
    assert_int_equal(json->refcount, 1);

    json_decref(json);
}


static void
test_a_tree_that_can_not_be_kept_is_released(void **state)
{
    json_t                    *json;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = 1;
    json = json_integer(1);

    assert_null(ngx_http_klaviyo_arena_keep(arena, json_incref(json)));
    assert_int_equal(json->refcount, 1);
    assert_int_equal(arena->limits, 1);

    assert_null(ngx_http_klaviyo_arena_keep(arena, NULL));
    assert_int_equal(arena->limits, 1);

    json_decref(json);
}


static void
test_json_keeps_its_type(void **state)
{
    ngx_http_klaviyo_data_t  *data;

    data = unit_from_json(state, "\"a\\u0000b\"");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_STRING);
    assert_text(&data->text, "a\0b");

    data = unit_from_json(state, "\"\"");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_STRING);
    assert_text(&data->text, "");

    data = unit_from_json(state, "-9223372036854775808");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_NUMBER);
    assert_text(&data->text, "-9223372036854775808");

    data = unit_from_json(state, "19.990");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_NUMBER);
    assert_text(&data->text, "19.99");

    data = unit_from_json(state, "true");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_TRUE);

    data = unit_from_json(state, "false");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_FALSE);

    data = unit_from_json(state, "[]");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_TREE);
    assert_json(data->json, "[]");

    data = unit_from_json(state, "{\"a\":1}");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_TREE);
    assert_json(data->json, "{\"a\":1}");
}


static void
test_null_and_nothing_are_missing(void **state)
{
    ngx_http_klaviyo_data_t  *data;

    data = unit_from_json(state, "null");
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_MISSING);

    data->type = NGX_HTTP_KLAVIYO_TREE;
    ngx_http_klaviyo_data_from_json(*state, data, NULL);
    assert_int_equal(data->type, NGX_HTTP_KLAVIYO_MISSING);
}


static void
test_a_number_that_finds_no_memory_is_unknown(void **state)
{
    json_t                    *integer, *real;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    integer = ngx_http_klaviyo_arena_keep(arena, json_integer(12));
    real = ngx_http_klaviyo_arena_keep(arena, json_real(1.25));

    arena->left = 1;

    ngx_http_klaviyo_data_from_json(arena, &data, integer);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);

    ngx_http_klaviyo_data_from_json(arena, &data, real);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    assert_int_equal(arena->limits, 2);
}


static void
test_values_become_json(void **state)
{
    json_t                   *json;
    ngx_http_klaviyo_data_t  *data;

    assert_json(unit_to_json(state, NGX_HTTP_KLAVIYO_STRING, unit_str("a")),
                "\"a\"");
    assert_json(unit_to_json(state, NGX_HTTP_KLAVIYO_STRING,
                             unit_str("\xE2\x82")),
                "\"\xEF\xBF\xBD\"");
    assert_json(unit_to_json(state, NGX_HTTP_KLAVIYO_NUMBER, unit_str("12")),
                "12");
    assert_json(unit_to_json(state, NGX_HTTP_KLAVIYO_NUMBER, unit_str("2.5")),
                "2.5");
    assert_json(unit_to_json(state, NGX_HTTP_KLAVIYO_TRUE, NULL), "true");
    assert_json(unit_to_json(state, NGX_HTTP_KLAVIYO_FALSE, NULL), "false");

    json = unit_to_json(state, NGX_HTTP_KLAVIYO_NUMBER,
                        unit_str("92233720368547758070"));
    assert_true(json_is_real(json));

    data = unit_from_json(state, "[1]");
    json = ngx_http_klaviyo_data_to_json(*state, data);
    assert_ptr_equal(json, data->json);
    assert_int_equal(json->refcount, 2);
    json_decref(json);
}


static void
test_missing_becomes_nothing(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_null(unit_to_json(state, NGX_HTTP_KLAVIYO_MISSING, NULL));
    assert_null(unit_to_json(state, NGX_HTTP_KLAVIYO_UNKNOWN, NULL));
    assert_int_equal(arena->limits, 0);
}


static void
test_json_is_charged(void **state)
{
    ngx_http_klaviyo_data_t   *data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    data = unit_data(state, NGX_HTTP_KLAVIYO_STRING,
                     unit_fill(arena->pool, 'a', 1000));

    arena->left = 1000;
    assert_null(ngx_http_klaviyo_data_to_json(arena, data));

    data->type = NGX_HTTP_KLAVIYO_NUMBER;
    ngx_str_set(&data->text, "1");

    arena->left = 10;
    assert_null(ngx_http_klaviyo_data_to_json(arena, data));
    assert_int_equal(arena->limits, 2);
}


static void
test_scalars_have_a_text(void **state)
{
    ngx_str_t                  text;
    ngx_uint_t                 i;
    ngx_http_klaviyo_data_t   *data;

    static ngx_http_klaviyo_type_e  none[] = {
        NGX_HTTP_KLAVIYO_MISSING,
        NGX_HTTP_KLAVIYO_UNKNOWN,
        NGX_HTTP_KLAVIYO_TREE
    };

    data = unit_data(state, NGX_HTTP_KLAVIYO_STRING, unit_str("a\0"));
    assert_int_equal(ngx_http_klaviyo_data_text(data, &text), NGX_OK);
    assert_text(&text, "a\0");

    data = unit_data(state, NGX_HTTP_KLAVIYO_NUMBER, unit_str("1.5"));
    assert_int_equal(ngx_http_klaviyo_data_text(data, &text), NGX_OK);
    assert_text(&text, "1.5");

    data->type = NGX_HTTP_KLAVIYO_TRUE;
    assert_int_equal(ngx_http_klaviyo_data_text(data, &text), NGX_OK);
    assert_text(&text, "true");

    data->type = NGX_HTTP_KLAVIYO_FALSE;
    assert_int_equal(ngx_http_klaviyo_data_text(data, &text), NGX_OK);
    assert_text(&text, "false");

    for (i = 0; i < 3; i++) {
        data->type = none[i];
        assert_int_equal(ngx_http_klaviyo_data_text(data, &text),
                         NGX_DECLINED);
    }
}


static void
test_empty_zero_and_false_are_not_true(void **state)
{
    ngx_uint_t  i;

    static ngx_str_t  strings[] = {
        ngx_string(""),
        ngx_string("0"),
        ngx_string("false")
    };

    static ngx_str_t  numbers[] = {
        ngx_string("0"),
        ngx_string("-0"),
        ngx_string("0.00"),
        ngx_string("0e9"),
        ngx_string("0.0E-1")
    };

    for (i = 0; i < sizeof(strings) / sizeof(ngx_str_t); i++) {
        assert_false(unit_truth(state, NGX_HTTP_KLAVIYO_STRING, &strings[i]));
    }

    for (i = 0; i < sizeof(numbers) / sizeof(ngx_str_t); i++) {
        assert_false(unit_truth(state, NGX_HTTP_KLAVIYO_NUMBER, &numbers[i]));
    }

    assert_false(unit_truth(state, NGX_HTTP_KLAVIYO_FALSE, NULL));
    assert_false(unit_truth(state, NGX_HTTP_KLAVIYO_MISSING, NULL));
    assert_false(unit_truth(state, NGX_HTTP_KLAVIYO_UNKNOWN, NULL));

    assert_false(ngx_http_klaviyo_data_truth(unit_from_json(state, "[]")));
    assert_false(ngx_http_klaviyo_data_truth(unit_from_json(state, "{}")));
}


static void
test_everything_else_is_true(void **state)
{
    ngx_uint_t  i;

    static ngx_str_t  strings[] = {
        ngx_string("1"),
        ngx_string("00"),
        ngx_string("0.0"),
        ngx_string(" "),
        ngx_string("False"),
        ngx_string("fals"),
        ngx_string("false "),
        ngx_string("no")
    };

    static ngx_str_t  numbers[] = {
        ngx_string("1"),
        ngx_string("-0.01"),
        ngx_string("10"),
        ngx_string("1e-9")
    };

    for (i = 0; i < sizeof(strings) / sizeof(ngx_str_t); i++) {
        assert_true(unit_truth(state, NGX_HTTP_KLAVIYO_STRING, &strings[i]));
    }

    for (i = 0; i < sizeof(numbers) / sizeof(ngx_str_t); i++) {
        assert_true(unit_truth(state, NGX_HTTP_KLAVIYO_NUMBER, &numbers[i]));
    }

    assert_true(unit_truth(state, NGX_HTTP_KLAVIYO_TRUE, NULL));

    assert_true(ngx_http_klaviyo_data_truth(unit_from_json(state, "[null]")));
    assert_true(ngx_http_klaviyo_data_truth(unit_from_json(state,
                                                           "{\"a\":0}")));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_an_arena_gives_what_it_has_and_no_more),
        unit_arena_test(test_trees_live_until_the_arena_is_done),
        unit_arena_test(test_a_tree_that_can_not_be_kept_is_released),
        unit_arena_test(test_json_keeps_its_type),
        unit_arena_test(test_null_and_nothing_are_missing),
        unit_arena_test(test_a_number_that_finds_no_memory_is_unknown),
        unit_arena_test(test_values_become_json),
        unit_arena_test(test_missing_becomes_nothing),
        unit_arena_test(test_json_is_charged),
        unit_arena_test(test_scalars_have_a_text),
        unit_arena_test(test_empty_zero_and_false_are_not_true),
        unit_arena_test(test_everything_else_is_true)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
