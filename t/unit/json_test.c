
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * JSON text, written and read: what comes out is always JSON and UTF-8,
 * whatever goes in.
 */


#include "unit_arena.h"

#include <math.h>


#define FFFD  "\xEF\xBF\xBD"

#define assert_escaped(text, expected)                                        \
    unit_assert_text(unit_escape(state, unit_str(text)), unit_str(expected),  \
                     __FILE__, __LINE__)

#define assert_utf8(text, expected)                                           \
    unit_assert_text(unit_utf8(state, unit_str(text)), unit_str(expected),    \
                     __FILE__, __LINE__)

#define assert_written(text, expected)                                        \
    unit_assert_text(unit_write_json(state, text), unit_str(expected),        \
                     __FILE__, __LINE__)

#define assert_real(value, expected)                                          \
    unit_assert_text(unit_real(state, value), unit_str(expected),             \
                     __FILE__, __LINE__)


/* memory that jansson holds, in chunks of glibc's malloc() */
static size_t  unit_held;


static void *
unit_malloc(size_t size)
{
    size_t  *p;

    p = malloc(size + 16);
    if (p == NULL) {
        return NULL;
    }

    *p = ngx_max(ngx_align(size + sizeof(size_t), 16), 32);
    unit_held += *p;

    return p + 2;
}


static void
unit_free(void *p)
{
    size_t  *chunk;

    if (p) {
        chunk = (size_t *) p - 2;
        unit_held -= *chunk;
        free(chunk);
    }
}


/* buffers have just the size that was asked for */

static ngx_str_t *
unit_escape(void **state, ngx_str_t *src)
{
    size_t                     size;
    ngx_str_t                 *str, *copy;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    copy = unit_fill(arena->pool, 0, src->len);
    ngx_memcpy(copy->data, src->data, src->len);

    size = ngx_http_klaviyo_json_escape(NULL, copy->data, copy->len);

    str = unit_fill(arena->pool, '?', size);

    assert_int_equal(ngx_http_klaviyo_json_escape(str->data, copy->data,
                                                  copy->len),
                     size);
    return str;
}


static ngx_str_t *
unit_utf8(void **state, ngx_str_t *src)
{
    ngx_str_t                 *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, 0);

    assert_int_equal(ngx_http_klaviyo_utf8(arena, src, str), NGX_OK);

    return str;
}


static ngx_str_t *
unit_write(void **state, ngx_http_klaviyo_data_t *data, ngx_uint_t depth,
    ngx_uint_t *limits)
{
    size_t                     size;
    ngx_str_t                 *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    size = ngx_http_klaviyo_json_write(NULL, data, depth, limits);

    str = unit_fill(arena->pool, '?', size);

    assert_int_equal(ngx_http_klaviyo_json_write(str->data, data, depth, NULL),
                     size);
    return str;
}


static ngx_str_t *
unit_write_json(void **state, char *text)
{
    json_t                   *json;
    ngx_str_t                *str;
    json_error_t              error;
    ngx_http_klaviyo_data_t   data;

    json = json_loads(text, JSON_DECODE_ANY|JSON_ALLOW_NUL, &error);
    assert_non_null(json);

    ngx_http_klaviyo_arena_keep(*state, json);
    ngx_http_klaviyo_data_from_json(*state, &data, json);

    str = unit_write(state, &data, 0, NULL);

    return str;
}


static ngx_str_t *
unit_write_string(void **state, ngx_str_t *text, ngx_uint_t *limits)
{
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_data_set_string(&data, text->data, text->len);

    return unit_write(state, &data, 0, limits);
}


static ngx_str_t *
unit_real(void **state, double value)
{
    ngx_str_t                 *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, NGX_HTTP_KLAVIYO_REAL_LEN);
    str->len = ngx_http_klaviyo_json_real(str->data, value);

    return str;
}


/* "n" times "open", then "middle", then "n" times "close" */

static ngx_str_t *
unit_nest(void **state, char *open, char *middle, char *close, ngx_uint_t n)
{
    u_char                    *p;
    ngx_str_t                 *str;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0,
                    n * (ngx_strlen(open) + ngx_strlen(close))
                    + ngx_strlen(middle));

    p = str->data;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, open, ngx_strlen(open));
    }

    p = ngx_cpymem(p, middle, ngx_strlen(middle));

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, close, ngx_strlen(close));
    }

    return str;
}


/* of a text with nothing behind it */

static json_t *
unit_parse(void **state, char *text)
{
    ngx_str_t                  str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    str.data = (u_char *) text;
    str.len = ngx_strlen(text);

    return ngx_http_klaviyo_json_parse(arena, unit_exact(arena->pool, &str));
}


static void
test_plain_text_is_copied(void **state)
{
    assert_escaped("", "");
    assert_escaped("a", "a");
    assert_escaped("1234567", "1234567");
    assert_escaped("12345678", "12345678");
    assert_escaped("Linen shirt / L", "Linen shirt / L");
    assert_escaped("~!#[]^_`{|}\x7f" "abcdefghijklmnop",
                   "~!#[]^_`{|}\x7f" "abcdefghijklmnop");
}


static void
test_an_empty_text_needs_no_address(void **state)
{
    u_char  dst[1];

    assert_int_equal(ngx_http_klaviyo_json_escape(NULL, NULL, 0), 0);
    assert_int_equal(ngx_http_klaviyo_json_escape(dst, NULL, 0), 0);
}


static void
test_quotes_and_controls_are_escaped(void **state)
{
    assert_escaped("\"\\/", "\\\"\\\\/");
    assert_escaped("\b\t\n\f\r", "\\b\\t\\n\\f\\r");
    assert_escaped("\x01\x0b\x0e\x1f", "\\u0001\\u000b\\u000e\\u001f");
}


static size_t
unit_escaped_len(u_char ch)
{
    if (ch == 0) {
        return 0;
    }

    if (ch >= 0x80) {
        return 3;
    }

    if (ch == '"' || ch == '\\') {
        return 2;
    }

    if (ch >= 0x20) {
        return 1;
    }

    return ngx_strchr("\b\t\n\f\r", ch) ? 2 : 6;
}


/* texts of each length, with each byte at each place among plain ones */

static void
test_every_byte_is_seen_at_every_place(void **state)
{
    size_t       i, len, size;
    u_char       text[19], dst[64];
    ngx_uint_t   ch;

    for (ch = 0; ch < 256; ch++) {
        for (len = 1; len <= sizeof(text); len++) {
            for (i = 0; i < len; i++) {

                ngx_memset(text, '!', sizeof(text));
                text[i] = (u_char) ch;

                size = len - 1 + unit_escaped_len((u_char) ch);

                assert_int_equal(ngx_http_klaviyo_json_escape(NULL, text, len),
                                 size);
                assert_int_equal(ngx_http_klaviyo_json_escape(dst, text, len),
                                 size);
            }
        }
    }
}


static void
test_nul_is_left_out(void **state)
{
    assert_escaped("\0", "");
    assert_escaped("a\0b", "ab");
    assert_escaped("1234567\0" "12345678\0", "123456712345678");
}


static void
test_valid_utf8_is_kept(void **state)
{
    assert_escaped("\xC3\xA4", "\xC3\xA4");
    assert_escaped("K\xC3\xA4se f\xC3\xBCr 5 \xE2\x82\xAC",
                   "K\xC3\xA4se f\xC3\xBCr 5 \xE2\x82\xAC");
    assert_escaped("1234567\xF0\x9F\x98\x80" "12345678",
                   "1234567\xF0\x9F\x98\x80" "12345678");
    assert_escaped("\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF",
                   "\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF");
    assert_escaped("\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
                   "\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
}


static void
test_invalid_utf8_is_replaced(void **state)
{
    /* not the beginning of anything */
    assert_escaped("\xFF", FFFD);
    assert_escaped("a\x80z", "a" FFFD "z");
    assert_escaped("\xF5\x80", FFFD FFFD);

    /* overlong */
    assert_escaped("\xC0\xAF", FFFD FFFD);
    assert_escaped("\xC1\xBF", FFFD FFFD);
    assert_escaped("\xE0\x9F\xBF", FFFD FFFD FFFD);
    assert_escaped("\xF0\x8F\xBF\xBF", FFFD FFFD FFFD FFFD);

    /* surrogates, beyond U+10FFFF */
    assert_escaped("\xED\xA0\x80", FFFD FFFD FFFD);
    assert_escaped("\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD);

    /* cut: one for what could have become a character */
    assert_escaped("\xC3", FFFD);
    assert_escaped("\xE2\x82", FFFD);
    assert_escaped("\xF0\x9F\x98", FFFD);
    assert_escaped("\xE2\x82" "a", FFFD "a");
    assert_escaped("\xE2\x82\"", FFFD "\\\"");
    assert_escaped("1234567\xE2\x82", "1234567" FFFD);
}


static void
test_only_what_is_invalid_is_copied(void **state)
{
    ngx_str_t                  src, dst;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = 4;

    ngx_str_set(&src, "K\xC3\xA4se\0 and much more");

    assert_int_equal(ngx_http_klaviyo_utf8(arena, &src, &dst), NGX_OK);
    assert_ptr_equal(dst.data, src.data);
    assert_int_equal(dst.len, src.len);

    ngx_str_set(&src, "\xFF ");

    assert_int_equal(ngx_http_klaviyo_utf8(arena, &src, &dst), NGX_OK);
    assert_text(&dst, FFFD " ");

    assert_int_equal(ngx_http_klaviyo_utf8(arena, &src, &dst), NGX_DECLINED);
    assert_int_equal(arena->limits, 1);
}


static void
test_a_text_becomes_valid_utf8(void **state)
{
    assert_utf8("", "");
    assert_utf8("12345678\xC3\xA4" "12345678", "12345678\xC3\xA4" "12345678");
    assert_utf8("1234567\xC3(12345678\xE2\x82",
                "1234567" FFFD "(12345678" FFFD);
    assert_utf8("\xED\xA0\x80", FFFD FFFD FFFD);
}


static void
test_scalars_are_written(void **state)
{
    assert_written("\"shirt\"", "\"shirt\"");
    assert_written("-12", "-12");
    assert_written("9223372036854775807", "9223372036854775807");
    assert_written("19.99", "19.99");
    assert_written("true", "true");
    assert_written("false", "false");
    assert_written("null", "");
    assert_written("\"\"", "");
    assert_written("\"\\u0000\"", "");
}


static void
test_missing_and_unknown_are_not_written(void **state)
{
    ngx_http_klaviyo_data_t  data;

    data.type = NGX_HTTP_KLAVIYO_MISSING;
    assert_text(unit_write(state, &data, 0, NULL), "");

    data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
    assert_text(unit_write(state, &data, 0, NULL), "");
}


static void
test_a_number_keeps_its_digits(void **state)
{
    ngx_http_klaviyo_data_t  data;

    data.type = NGX_HTTP_KLAVIYO_NUMBER;
    ngx_str_set(&data.text, "0.1000000000000000000000000001");

    assert_text(unit_write(state, &data, 0, NULL),
                "0.1000000000000000000000000001");
}


static void
test_trees_are_written_in_order(void **state)
{
    assert_written("[1, \"a\", [true]]", "[1,\"a\",[true]]");
    assert_written("{\"b\": 1, \"a\": {\"c\": [2.50]}}",
                   "{\"b\":1,\"a\":{\"c\":[2.5]}}");
    assert_written("{\"a\\\"\\n\xC3\xA4\": 1}", "{\"a\\\"\\n\xC3\xA4\":1}");
}


/* the buffer ends where the text ends: nothing is written ahead of time */

static void
test_what_is_empty_is_left_out(void **state)
{
    assert_written("[]", "");
    assert_written("{}", "");
    assert_written("[[], {}, null, \"\", [[null]]]", "");
    assert_written("[null, 1, \"\", 2, null]", "[1,2]");
    assert_written("{\"a\": 1, \"much longer than that\": null}", "{\"a\":1}");
    assert_written("{\"a\": null, \"b\": 1}", "{\"b\":1}");
    assert_written("{\"a\": 1, \"b\": {\"c\": {\"d\": \"\"}}}", "{\"a\":1}");
    assert_written("{\"a\": 1, \"b\": [[[]], {\"c\": [\"\\u0000\"]}]}",
                   "{\"a\":1}");
}


static void
test_too_long_strings_are_left_out(void **state)
{
    ngx_str_t                 *str;
    ngx_uint_t                 limits;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    limits = 0;

    str = unit_fill(arena->pool, 'a', NGX_HTTP_KLAVIYO_MAX_STRING + 1);

    assert_text(unit_write_string(state, str, &limits), "");
    assert_int_equal(limits, 1);

    str->len--;
    assert_int_equal(unit_write_string(state, str, &limits)->len,
                     NGX_HTTP_KLAVIYO_MAX_STRING + 2);
    assert_int_equal(limits, 1);

    /* escapes don't count, U+FFFD does */

    str = unit_fill(arena->pool, '\n', NGX_HTTP_KLAVIYO_MAX_STRING);
    assert_int_equal(unit_write_string(state, str, &limits)->len,
                     2 * NGX_HTTP_KLAVIYO_MAX_STRING + 2);

    str = unit_fill(arena->pool, 0xff, NGX_HTTP_KLAVIYO_MAX_STRING / 3 + 1);
    assert_text(unit_write_string(state, str, &limits), "");
    assert_int_equal(limits, 2);

    str->len--;
    assert_int_equal(unit_write_string(state, str, &limits)->len,
                     3 * str->len + 2);
    assert_int_equal(limits, 2);
}


static void
test_arrays_end_after_as_many_items_as_are_allowed(void **state)
{
    json_t                   *json;
    ngx_str_t                *str;
    ngx_uint_t                i, limits;
    ngx_http_klaviyo_data_t   data;

    json = ngx_http_klaviyo_arena_keep(*state, json_array());

    json_array_append_new(json, json_null());

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ITEMS; i++) {
        json_array_append_new(json, json_true());
    }

    limits = 0;
    data.type = NGX_HTTP_KLAVIYO_TREE;
    data.json = json;

    str = unit_write(state, &data, 0, &limits);

    assert_int_equal(str->len, NGX_HTTP_KLAVIYO_MAX_ITEMS * 5 + 1);
    assert_int_equal(limits, 0);

    json_array_append_new(json, json_false());
    json_array_append_new(json, json_false());

    str = unit_write(state, &data, 0, &limits);

    assert_int_equal(str->len, NGX_HTTP_KLAVIYO_MAX_ITEMS * 5 + 1);
    assert_int_equal(limits, 2);
}


static void
test_what_is_too_deep_is_left_out(void **state)
{
    ngx_str_t                *text;
    ngx_uint_t                limits;
    ngx_http_klaviyo_data_t   data;

    limits = 0;
    data.type = NGX_HTTP_KLAVIYO_TREE;

    text = unit_nest(state, "{\"a\":", "1", "}", NGX_HTTP_KLAVIYO_MAX_DEPTH);
    data.json = ngx_http_klaviyo_json_parse(*state, text);

    assert_int_equal(unit_write(state, &data, 0, &limits)->len, text->len);
    assert_int_equal(limits, 0);

    assert_text(unit_write(state, &data, 1, &limits), "");
    assert_int_equal(limits, 1);

    assert_text(unit_write(state, &data, NGX_HTTP_KLAVIYO_MAX_DEPTH, NULL),
                "");

    text = unit_nest(state, "[", "1", "]", NGX_HTTP_KLAVIYO_MAX_DEPTH);
    data.json = ngx_http_klaviyo_json_parse(*state, text);

    assert_int_equal(unit_write(state, &data, 0, &limits)->len, text->len);
    assert_int_equal(limits, 1);

    assert_text(unit_write(state, &data, 1, &limits), "");
    assert_int_equal(limits, 2);
}


static void
test_a_member_without_a_name_is_left_out(void **state)
{
    ngx_uint_t                limits;
    ngx_http_klaviyo_data_t   data;

    limits = 0;
    data.type = NGX_HTTP_KLAVIYO_TREE;
    data.json = ngx_http_klaviyo_json_parse(*state,
                                       unit_str("{\"\":1,\"a\":{\"\":2}}"));

    assert_text(unit_write(state, &data, 0, &limits), "");
    assert_int_equal(limits, 2);
}


static void
test_every_type_of_text_is_parsed(void **state)
{
    assert_json(ngx_http_klaviyo_json_parse(*state, unit_str("{\"a\":[1]}")),
                "{\"a\":[1]}");
    assert_json(ngx_http_klaviyo_json_parse(*state, unit_str(" \"a\" ")),
                "\"a\"");
    assert_json(ngx_http_klaviyo_json_parse(*state, unit_str("12")), "12");
    assert_json(ngx_http_klaviyo_json_parse(*state, unit_str("null")), "null");
    assert_json(ngx_http_klaviyo_json_parse(*state, unit_str("\"a\\u0000\"")),
                "\"a\\u0000\"");
    assert_json(ngx_http_klaviyo_json_parse(*state, unit_str("\"a\xFF\"")),
                "\"a" FFFD "\"");
}


static void
test_what_browsers_do_not_mind_is_mended(void **state)
{
    assert_json(unit_parse(state, "\"Hat \\ud83d\""), "\"Hat " FFFD "\"");
    assert_json(unit_parse(state,
                           "\"\\uDE00\\ud83D\\uDE00\\ud83d\\u0041\""),
                "\"" FFFD "\xF0\x9F\x98\x80" FFFD "A\"");
    assert_json(unit_parse(state, "[\"a\nb\tc\\\\\",\n\"\\\"\x01\"]"),
                "[\"a b c\\\\\",\"\\\" \"]");

    /* at the end of what there is, and what stays wrong */
    assert_null(unit_parse(state, "\"\\ud83d"));
    assert_null(unit_parse(state, "\"\\ud83"));
    assert_null(unit_parse(state, "\"a\n\\"));
    assert_null(unit_parse(state, "\"a\nb\" c"));
    assert_null(unit_parse(state, "\"\\ug83d\n\""));
}


static void
test_what_is_not_json_gives_nothing(void **state)
{
    ngx_str_t                 *text;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    static ngx_str_t  bad[] = {
        ngx_string(""),
        ngx_string(" "),
        ngx_string("{"),
        ngx_string("[1"),
        ngx_string("[1]]"),
        ngx_string("]]]]["),
        ngx_string("{\"a\"}"),
        ngx_string("\""),
        ngx_string("\"\\"),
        ngx_string("\"\\\""),
        ngx_string("[\"\\"),
        ngx_string("{\"a\\u0000b\":1}"),
        ngx_string("[1]\0"),
        ngx_string("\0"),
        ngx_string("nul"),
        ngx_string("NaN"),
        ngx_string("1e999"),
        ngx_string("01")
    };

    arena = *state;

    for (i = 0; i < sizeof(bad) / sizeof(ngx_str_t); i++) {

        text = unit_fill(arena->pool, 0, bad[i].len);
        ngx_memcpy(text->data, bad[i].data, bad[i].len);

        assert_null(ngx_http_klaviyo_json_parse(arena, text));
    }

    assert_int_equal(arena->limits, 0);
    assert_null(arena->trees);
}


static void
test_integers_are_exact_or_missing(void **state)
{
    assert_json(ngx_http_klaviyo_json_parse(*state,
                                         unit_str("[9223372036854775807]")),
                "[9223372036854775807]");
    assert_null(ngx_http_klaviyo_json_parse(*state,
                                            unit_str("9223372036854775808")));
    assert_json(ngx_http_klaviyo_json_parse(*state,
                    unit_str("{\"a\":[-99999999999999999999,0.5,7],"
                             "\"b\":9007199254740993,\"c\":\"x\"}")),
                "{\"a\":[null,0.5,7.0],\"b\":null,\"c\":\"x\"}");
}


static void
test_deep_texts_are_refused_before_they_cost_anything(void **state)
{
    size_t                     left;
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_nest(state, "[", "1", "]", 64);
    assert_non_null(ngx_http_klaviyo_json_parse(arena, text));

    left = arena->left;

    text = unit_nest(state, "[", "1", "]", 65);
    assert_null(ngx_http_klaviyo_json_parse(arena, text));
    assert_int_equal(arena->limits, 1);

    text = unit_nest(state, "{\"a\":[", "1", "]}", 100000);
    assert_null(ngx_http_klaviyo_json_parse(arena, text));
    assert_int_equal(arena->limits, 2);

    text = unit_nest(state, "[", "", "", 100000);
    assert_null(ngx_http_klaviyo_json_parse(arena, text));
    assert_int_equal(arena->limits, 3);

    assert_int_equal(arena->left, left);
}


static void
test_brackets_in_strings_are_not_depth(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_nest(state, "[\"", "\\\"", "\"]", 1);
    assert_non_null(ngx_http_klaviyo_json_parse(arena, text));

    text = unit_nest(state, "[{:,", "", "", 500);
    text->data[0] = '"';
    text->data[text->len - 1] = '"';
    assert_non_null(ngx_http_klaviyo_json_parse(arena, text));

    text = unit_nest(state, "[\"[\\\"[[\\\\\",", "1", "]", 60);
    assert_non_null(ngx_http_klaviyo_json_parse(arena, text));

    assert_int_equal(arena->limits, 0);
}


static void
test_a_text_is_charged_what_its_tree_takes(void **state)
{
    size_t                     before, held, i;
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    static char  *parts[] = {
        "[],", "{},", "1,", "\"a\",", "{\"a\":1},", "{\"a\":[{\"b\":\"c\"}]},",
        "\"a text of middle length, as titles are\",", "1.5,",
        "{\"a\":\"b\",\"c\":\"d\",\"e\":\"f\",\"g\":\"h\",\"i\":1,\"j\":2},"
    };

    arena = *state;

    json_set_alloc_funcs(unit_malloc, unit_free);

    for (i = 0; i < sizeof(parts) / sizeof(char *); i++) {

        text = unit_nest(state, parts[i], " 1]", "", 2000);
        ngx_memmove(text->data + 1, text->data, text->len - 3);
        text->data[0] = '[';

        arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
        before = arena->left;
        held = unit_held;

        assert_non_null(ngx_http_klaviyo_json_parse(arena, text));

        held = unit_held - held;
        before -= arena->left;

        assert_true(before >= held);
        assert_true(before <= 3 * held);
    }

    ngx_http_klaviyo_arena_done(arena);

    json_set_alloc_funcs(malloc, free);
}


static void
test_a_text_that_would_grow_too_large_is_refused(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_nest(state, "[],", "", "", 30000);
    text->data[1] = ' ';
    text->data[2] = ' ';
    text->data[text->len - 1] = ']';

    assert_null(ngx_http_klaviyo_json_parse(arena, text));
    assert_int_equal(arena->limits, 1);
}


static void
test_reals_are_written_in_shortest_form(void **state)
{
    assert_real(0.0, "0");
    assert_real(-0.0, "0");
    assert_real(1.0, "1");
    assert_real(19.99, "19.99");
    assert_real(-0.05, "-0.05");
    assert_real(0.1 + 0.2, "0.30000000000000004");
    assert_real(1.0 / 3, "0.3333333333333333");
    assert_real(100.0, "100");
    assert_real(9007199254740993.0, "9007199254740992");
    assert_real(1e18, "1000000000000000000");
    assert_real(9223372036854775808.0, "9.223372036854776e18");
    assert_real(1e21, "1e21");
    assert_real(1e-7, "0.0000001");
    assert_real(123456789.125, "123456789.125");
    assert_real(1e300, "1e300");
    assert_real(-1.5e-300, "-1.5e-300");
    assert_real(1.7976931348623157e308, "1.7976931348623157e308");
    assert_real(2.2250738585072014e-308, "2.2250738585072014e-308");
}


static void
test_reals_read_back_the_same(void **state)
{
    char        buf[NGX_HTTP_KLAVIYO_REAL_LEN + 1];
    double      value;
    size_t      len;
    uint64_t    bits;
    ngx_uint_t  i;

    bits = 88172645463325252ULL;

    for (i = 0; i < 20000; i++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;

        ngx_memcpy(&value, &bits, sizeof(double));

        len = ngx_http_klaviyo_json_real((u_char *) buf, value);
        buf[len] = '\0';

        if (value != value || value - value != 0) {
            assert_int_equal(len, 0);
            continue;
        }

        assert_true(len > 0 && len <= NGX_HTTP_KLAVIYO_REAL_LEN);
        assert_true(strtod(buf, NULL) == value);
    }
}


static void
test_what_is_not_finite_has_no_form(void **state)
{
    assert_real(HUGE_VAL, "");
    assert_real(-HUGE_VAL, "");
    assert_real(NAN, "");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_plain_text_is_copied),
        unit_arena_test(test_an_empty_text_needs_no_address),
        unit_arena_test(test_quotes_and_controls_are_escaped),
        unit_arena_test(test_every_byte_is_seen_at_every_place),
        unit_arena_test(test_nul_is_left_out),
        unit_arena_test(test_valid_utf8_is_kept),
        unit_arena_test(test_invalid_utf8_is_replaced),
        unit_arena_test(test_only_what_is_invalid_is_copied),
        unit_arena_test(test_a_text_becomes_valid_utf8),
        unit_arena_test(test_scalars_are_written),
        unit_arena_test(test_what_browsers_do_not_mind_is_mended),
        unit_arena_test(test_missing_and_unknown_are_not_written),
        unit_arena_test(test_a_number_keeps_its_digits),
        unit_arena_test(test_trees_are_written_in_order),
        unit_arena_test(test_what_is_empty_is_left_out),
        unit_arena_test(test_too_long_strings_are_left_out),
        unit_arena_test(test_arrays_end_after_as_many_items_as_are_allowed),
        unit_arena_test(test_what_is_too_deep_is_left_out),
        unit_arena_test(test_a_member_without_a_name_is_left_out),
        unit_arena_test(test_every_type_of_text_is_parsed),
        unit_arena_test(test_what_is_not_json_gives_nothing),
        unit_arena_test(test_integers_are_exact_or_missing),
        unit_arena_test(test_deep_texts_are_refused_before_they_cost_anything),
        unit_arena_test(test_brackets_in_strings_are_not_depth),
        unit_arena_test(test_a_text_is_charged_what_its_tree_takes),
        unit_arena_test(test_a_text_that_would_grow_too_large_is_refused),
        unit_arena_test(test_reals_are_written_in_shortest_form),
        unit_arena_test(test_reals_read_back_the_same),
        unit_arena_test(test_what_is_not_finite_has_no_form)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
