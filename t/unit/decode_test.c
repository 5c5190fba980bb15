
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The decoders: right input is decoded, wrong input does no harm.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_entities.h"


#define assert_url(text, expected)                                            \
    unit_assert_text(unit_url(state, unit_str(text), 0), unit_str(expected),  \
                     __FILE__, __LINE__)

#define assert_formdecode(text, expected)                                     \
    unit_assert_text(unit_url(state, unit_str(text),                          \
                              NGX_HTTP_KLAVIYO_DECODE_FORM),                  \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_base64(text, expected)                                         \
    unit_assert_text(unit_decode(state, ngx_http_klaviyo_decode_base64,       \
                                 unit_str(text)),                             \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_entities(text, expected)                                       \
    unit_assert_text(unit_decode(state, ngx_http_klaviyo_decode_entities,     \
                                 unit_str(text)),                             \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_form(text, expected)                                           \
    assert_json(ngx_http_klaviyo_decode_form(*state,                          \
                                    unit_copy(state, unit_str(text)), 0),     \
                expected)

#define assert_args(text, expected)                                           \
    assert_json(ngx_http_klaviyo_decode_form(*state,                          \
                                    unit_copy(state, unit_str(text)), 1),     \
                expected)

#define assert_kv(text, pairsep, kvsep, expected)                             \
    assert_json(ngx_http_klaviyo_decode_kv(*state,                            \
                                    unit_copy(state, unit_str(text)),         \
                                    unit_str(pairsep), unit_str(kvsep)),      \
                expected)

#define assert_jwt(text, expected)                                            \
    assert_json(ngx_http_klaviyo_decode_jwt(*state,                           \
                                    unit_copy(state, unit_str(text))),        \
                expected)

/* {"email":"ana@example.com"} */
#define PAYLOAD  "eyJlbWFpbCI6ImFuYUBleGFtcGxlLmNvbSJ9"


typedef ngx_int_t (*unit_decode_pt)(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst);


static ngx_str_t  unit_refused = ngx_string("refused");


/* a text with nothing behind it, so that a sanitizer sees its end */

static ngx_str_t *
unit_copy(void **state, ngx_str_t *text)
{
    ngx_str_t                 *copy;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    copy = unit_fill(arena->pool, 0, text->len);
    ngx_memcpy(copy->data, text->data, text->len);

    return copy;
}


static ngx_str_t *
unit_url(void **state, ngx_str_t *text, ngx_uint_t flags)
{
    ngx_str_t  *dst;

    dst = unit_copy(state, text);

    assert_int_equal(ngx_http_klaviyo_decode_url(*state, dst, dst, flags),
                     NGX_OK);
    return dst;
}


static ngx_str_t *
unit_decode(void **state, unit_decode_pt decode, ngx_str_t *text)
{
    ngx_int_t   rc;
    ngx_str_t  *dst;

    dst = unit_copy(state, text);

    rc = decode(*state, dst, dst);

    if (rc != NGX_OK) {
        assert_int_equal(rc, NGX_DECLINED);
        return &unit_refused;
    }

    return dst;
}


/* "n" times "part", of which each "%" becomes the number */

static ngx_str_t *
unit_repeat(void **state, char *part, ngx_uint_t n)
{
    char                      *s;
    u_char                    *p;
    ngx_str_t                 *str;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, n * (ngx_strlen(part) + NGX_INT_T_LEN));
    p = str->data;

    for (i = 0; i < n; i++) {
        for (s = part; *s; s++) {

            if (*s == '%') {
                p = ngx_sprintf(p, "%ui", i);

            } else {
                *p++ = *s;
            }
        }
    }

    str->len = p - str->data;

    return unit_copy(state, str);
}


static void
test_url_escapes_are_decoded(void **state)
{
    assert_url("", "");
    assert_url("plain+text", "plain+text");
    assert_url("a%20b%2Bc%2fd", "a b+c/d");
    assert_url("%C3%A4%00%ff", "\xC3\xA4\0\xFF");
    assert_url("a+%41", "a+A");
    assert_formdecode("a+b%2B", "a b+");
    assert_formdecode("a+b", "a b");
    assert_formdecode("a%2520b", "a%20b");
}


static void
test_broken_url_escapes_stay(void **state)
{
    assert_url("%", "%");
    assert_url("%4", "%4");
    assert_url("100%", "100%");
    assert_url("%zz%41", "%zzA");
    assert_url("%4z", "%4z");
    assert_url("%%41", "%A");
    assert_url("%-1%+1", "%-1%+1");
    assert_formdecode("%+1", "% 1");
}


static void
test_what_is_not_encoded_is_not_copied(void **state)
{
    ngx_str_t                  src, dst;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = 0;

    ngx_str_set(&src, "a+b");
    assert_int_equal(ngx_http_klaviyo_decode_url(arena, &src, &dst, 0),
                     NGX_OK);
    assert_ptr_equal(dst.data, src.data);

    ngx_str_set(&src, "a;b");
    assert_int_equal(ngx_http_klaviyo_decode_entities(arena, &src, &dst),
                     NGX_OK);
    assert_ptr_equal(dst.data, src.data);
    assert_int_equal(arena->limits, 0);
}


static void
test_nothing_is_decoded_without_memory(void **state)
{
    ngx_str_t                  dst;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = 3;

    assert_int_equal(ngx_http_klaviyo_decode_url(arena, unit_str("%41%42"),
                                                 &dst, 0),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_decode_url(arena, unit_str("a+b+c"),
                                                 &dst,
                                                 NGX_HTTP_KLAVIYO_DECODE_FORM),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_decode_base64(arena, unit_str("YWJj"),
                                                    &dst),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_decode_entities(arena,
                                                      unit_str("&amp;"),
                                                      &dst),
                     NGX_DECLINED);
    assert_null(ngx_http_klaviyo_decode_form(arena, unit_str("a=1"), 0));
    assert_null(ngx_http_klaviyo_decode_kv(arena, unit_str("a=1"),
                                           unit_str(";"), unit_str("=")));
    assert_null(ngx_http_klaviyo_decode_jwt(arena, unit_str("." PAYLOAD)));
    assert_true(arena->limits >= 7);
}


static void
test_base64_is_decoded(void **state)
{
    assert_base64("", "");
    assert_base64("YQ==", "a");
    assert_base64("YWI=", "ab");
    assert_base64("YWJj", "abc");
    assert_base64("+/+/", "\xFB\xFF\xBF");
    assert_base64("AAA=", "\0\0");
}


static void
test_base64_is_tolerant(void **state)
{
    assert_base64("YQ", "a");
    assert_base64("YWI", "ab");
    assert_base64("YQ=", "a");
    assert_base64("YWJj==", "abc");
    assert_base64("-_-_", "\xFB\xFF\xBF");
    assert_base64("\"YW Jj\"", "abc");
    assert_base64(" 'YWJj'\r\n\t", "abc");
    assert_base64("YQ= =\n", "a");
}


static void
test_wrong_base64_is_refused(void **state)
{
    assert_base64("Y", "refused");
    assert_base64("YWJjY", "refused");
    assert_base64("YQ==YQ==", "refused");
    assert_base64("=YQ", "refused");
    assert_base64("YW*j", "refused");
    assert_base64("YW%3D", "refused");
    assert_base64("YWJ\0", "refused");
    assert_base64("YW\xC3\xA4", "refused");
}


static void
test_entities_are_decoded(void **state)
{
    assert_entities("Fish &amp; Chips", "Fish & Chips");
    assert_entities("&lt;&gt;&quot;&apos;", "<>\"'");
    assert_entities("&auml;&Auml;&euro;&nbsp;",
                    "\xC3\xA4\xC3\x84\xE2\x82\xAC\xC2\xA0");
    assert_entities("&thetasym;&AElig;&zwnj;&yuml;",
                    "\xCF\x91\xC3\x86\xE2\x80\x8C\xC3\xBF");
    assert_entities("&#39;&#x27;&#X2f;&#8364;", "''/\xE2\x82\xAC");
    assert_entities("&#x1F600;&#1114111;",
                    "\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF");
    assert_entities("&amp;lt;", "&lt;");
}


static void
test_what_is_no_entity_stays(void **state)
{
    assert_entities("&", "&");
    assert_entities("&;", "&;");
    assert_entities("a & b; c", "a & b; c");
    assert_entities("&amp", "&amp");
    assert_entities("&AMP;", "&AMP;");
    assert_entities("&nosuch;", "&nosuch;");
    assert_entities("&am\0p;", "&am\0p;");
    assert_entities("&ninebytes;&tentenbyte;", "&ninebytes;&tentenbyte;");
    assert_entities("&averyverylongname;", "&averyverylongname;");
    assert_entities("&#;&#x;&#-1;&#xg;&#1 ;", "&#;&#x;&#-1;&#xg;&#1 ;");
    assert_entities("&&amp;", "&&");
    assert_entities("&#99999999999;", "&#99999999999;");
}


static void
test_impossible_characters_are_replaced(void **state)
{
    assert_entities("&#0;", "\xEF\xBF\xBD");
    assert_entities("&#xD800;&#xdfff;", "\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_entities("&#x110000;", "\xEF\xBF\xBD");
    assert_entities("&#999999999;", "\xEF\xBF\xBD");
    assert_entities("&#xffffffff;", "\xEF\xBF\xBD");
}


static void
test_every_name_is_found(void **state)
{
    size_t      i, n;
    u_char      buf[16], *p;
    uint32_t    code;
    ngx_str_t   src, *dst;

    n = sizeof(ngx_http_klaviyo_entities) / sizeof(ngx_http_klaviyo_entity_t);
    assert_int_equal(n, 253);

    for (i = 0; i < n; i++) {
        src.data = buf;
        src.len = ngx_sprintf(buf, "&%s;", ngx_http_klaviyo_entities[i].name)
                  - buf;

        dst = unit_decode(state, ngx_http_klaviyo_decode_entities, &src);

        p = dst->data;
        code = (*p < 0x80) ? *p++ : ngx_utf8_decode(&p, dst->len);

        assert_int_equal(code, ngx_http_klaviyo_entities[i].code);
        assert_ptr_equal(p, dst->data + dst->len);
    }
}


static void
test_a_token_shows_its_payload(void **state)
{
    assert_jwt("eyJ9." PAYLOAD ".c2ln", "{\"email\":\"ana@example.com\"}");
    assert_jwt("eyJ9." PAYLOAD, "{\"email\":\"ana@example.com\"}");
    assert_jwt("eyJ9." PAYLOAD ".", "{\"email\":\"ana@example.com\"}");
    assert_jwt("Bearer eyJ9." PAYLOAD ".c2ln",
               "{\"email\":\"ana@example.com\"}");
    assert_jwt(" bearer  eyJ9." PAYLOAD ".c2ln ",
               "{\"email\":\"ana@example.com\"}");
}


static void
test_what_is_no_token_shows_nothing(void **state)
{
    assert_jwt("", "(null)");
    assert_jwt(".", "(null)");
    assert_jwt("..", "(null)");
    assert_jwt(PAYLOAD, "(null)");
    assert_jwt("a.b.c.d." PAYLOAD, "(null)");
    assert_jwt("." PAYLOAD "..", "(null)");
    assert_jwt("eyJ9.*.c2ln", "(null)");
    assert_jwt("eyJ9.YQ.c2ln", "(null)");

    /* [1], "a" */

    assert_jwt("eyJ9.WzFd.c2ln", "(null)");
    assert_jwt("eyJ9.ImEi.c2ln", "(null)");
    assert_jwt("Bearer", "(null)");
    assert_jwt(" ", "(null)");
}


static void
test_a_form_is_an_object_of_texts(void **state)
{
    assert_form("", "{}");
    assert_form("a=1&b=two", "{\"a\":\"1\",\"b\":\"two\"}");
    assert_form("b=1&a=2", "{\"b\":\"1\",\"a\":\"2\"}");
    assert_form("email=Ana%40Example.com+&consent=on",
                "{\"email\":\"Ana@Example.com \",\"consent\":\"on\"}");
    assert_form("a+b%5F=1", "{\"a b_\":\"1\"}");
    assert_form("a=b=c", "{\"a\":\"b=c\"}");
    assert_form("a&b=", "{\"a\":\"\",\"b\":\"\"}");
    assert_form("&&a=1&", "{\"a\":\"1\"}");
    assert_form("0=a&1=b", "{\"0\":\"a\",\"1\":\"b\"}");
}


static void
test_pairs_without_a_name_are_skipped(void **state)
{
    assert_form("=1&a=2", "{\"a\":\"2\"}");
    assert_form("=&=&", "{}");
    assert_form("[b]=1&[]=2", "{}");
    assert_form("a%00b=1&%00=2&c=%00", "{\"c\":\"\\u0000\"}");
}


static void
test_repeated_names_give_the_first_or_an_array(void **state)
{
    assert_form("a=1&a=2&a=3", "{\"a\":\"1\"}");
    assert_args("a=1&a=2", "{\"a\":[\"1\",\"2\"]}");
    assert_args("a=1&b=0&a=2&a=3", "{\"a\":[\"1\",\"2\",\"3\"],\"b\":\"0\"}");
    assert_args("a[x]=1&a[x]=2", "{\"a\":{\"x\":[\"1\",\"2\"]}}");
    assert_args("a=&a=", "{\"a\":[\"\",\"\"]}");
}


static void
test_brackets_nest(void **state)
{
    assert_form("a[b]=1&a[c]=2", "{\"a\":{\"b\":\"1\",\"c\":\"2\"}}");
    assert_form("a[b][c][d]=1", "{\"a\":{\"b\":{\"c\":{\"d\":\"1\"}}}}");
    assert_form("a%5Bb%5D=1", "{\"a\":{\"b\":\"1\"}}");
    assert_form("a[b%20c]=1", "{\"a\":{\"b c\":\"1\"}}");
    assert_form("a[b[c]=1", "{\"a\":{\"b[c\":\"1\"}}");
}


static void
test_numbers_in_order_make_an_array(void **state)
{
    assert_form("a[]=1&a[]=2", "{\"a\":[\"1\",\"2\"]}");
    assert_form("a[0]=1&a[1]=2", "{\"a\":[\"1\",\"2\"]}");
    assert_form("a[0][k]=v&a[0][l]=w&a[1][k]=x",
                "{\"a\":[{\"k\":\"v\",\"l\":\"w\"},{\"k\":\"x\"}]}");
    assert_form("a[][k]=v&a[][k]=w", "{\"a\":[{\"k\":\"v\"},{\"k\":\"w\"}]}");
    assert_form("a[0][]=1&a[0][]=2&a[1][]=3",
                "{\"a\":[[\"1\",\"2\"],[\"3\"]]}");
    assert_form("a[b][]=1", "{\"a\":{\"b\":[\"1\"]}}");
}


static void
test_other_names_make_an_object(void **state)
{
    assert_form("a[1]=1&a[0]=2", "{\"a\":{\"1\":\"1\",\"0\":\"2\"}}");
    assert_form("a[1]=1", "{\"a\":{\"1\":\"1\"}}");
    assert_form("a[0]=1&a[x]=2", "{\"a\":{\"0\":\"1\",\"x\":\"2\"}}");
    assert_form("a[00]=1", "{\"a\":{\"00\":\"1\"}}");
    assert_form("a[x]=1&a[]=2", "{\"a\":{\"x\":\"1\",\"1\":\"2\"}}");
}


static void
test_brackets_that_are_no_brackets_belong_to_the_name(void **state)
{
    assert_form("a[=1", "{\"a[\":\"1\"}");
    assert_form("a[b=1", "{\"a[b\":\"1\"}");
    assert_form("a[b]c=1", "{\"a[b]c\":\"1\"}");
    assert_form("a[b][=1", "{\"a[b][\":\"1\"}");
    assert_form("a]=1", "{\"a]\":\"1\"}");
    assert_form("a][b]=1", "{\"a]\":{\"b\":\"1\"}}");
}


static void
test_of_a_text_and_an_object_the_first_wins(void **state)
{
    assert_form("a=1&a[b]=2", "{\"a\":\"1\"}");
    assert_args("a=1&a[b]=2", "{\"a\":\"1\"}");
    assert_form("a[b]=2&a=1", "{\"a\":{\"b\":\"2\"}}");
    assert_args("a[b]=2&a=1", "{\"a\":{\"b\":\"2\"}}");
    assert_args("a=1&a=2&a[b]=3&a[]=4", "{\"a\":[\"1\",\"2\"]}");
    assert_args("a[b]=1&a[b][c]=2&a[b][c][d]=3", "{\"a\":{\"b\":\"1\"}}");
    assert_args("a[1]=x&a[]=y", "{\"a\":{\"1\":[\"x\",\"y\"]}}");
}


static void
test_forms_become_valid_utf8(void **state)
{
    assert_form("a=%FF&%C3=\xE2\x82",
                "{\"a\":\"\xEF\xBF\xBD\",\"\xEF\xBF\xBD\":\"\xEF\xBF\xBD\"}");
}


static void
test_forms_are_bounded(void **state)
{
    json_t                    *json;
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    json = ngx_http_klaviyo_decode_form(arena, unit_repeat(state, "a%=1&",
                                                           4000), 0);
    assert_int_equal(json_object_size(json), 4000);
    assert_int_equal(arena->limits, 0);

    assert_null(ngx_http_klaviyo_decode_form(arena,
                                             unit_repeat(state, "a%=1&", 4001),
                                             0));
    assert_int_equal(arena->limits, 1);

    assert_null(ngx_http_klaviyo_decode_form(arena,
                                             unit_repeat(state, "&", 4001),
                                             0));
    assert_int_equal(arena->limits, 2);

    assert_form("a[1][2][3][4][5][6][7][8]=x",
                "{\"a\":{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":"
                "{\"8\":\"x\"}}}}}}}}}");
    assert_null(ngx_http_klaviyo_decode_form(arena,
                              unit_str("a[1][2][3][4][5][6][7][8][9]=x"), 0));
    assert_int_equal(arena->limits, 3);

    text = unit_repeat(state, "[]", 20000);
    ngx_memcpy(text->data, "a[", 2);
    assert_null(ngx_http_klaviyo_decode_form(arena, text, 0));
    assert_int_equal(arena->limits, 4);

    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
    assert_null(ngx_http_klaviyo_decode_form(arena,
                      unit_repeat(state, "a%[][][][][][][][]=1&", 4000), 0));
    assert_int_equal(arena->limits, 5);
}


static void
test_kv_gives_trimmed_pairs(void **state)
{
    assert_kv("a:1,b:2", ",", ":", "{\"a\":\"1\",\"b\":\"2\"}");
    assert_kv(" a : 1 ;\tb:\n2 ", ";", ":", "{\"a\":\"1\",\"b\":\"2\"}");
    assert_kv("a=>1||b=>2", "||", "=>", "{\"a\":\"1\",\"b\":\"2\"}");
    assert_kv("a:b:c", ",", ":", "{\"a\":\"b:c\"}");
    assert_kv("a:,b:", ",", ":", "{\"a\":\"\",\"b\":\"\"}");
    assert_kv("i.t:176,c.necessary:1", ",", ":",
              "{\"i.t\":\"176\",\"c.necessary\":\"1\"}");
    assert_kv("", ",", ":", "{}");
}


static void
test_kv_leaves_out_what_is_no_pair(void **state)
{
    assert_kv("a,b:1,,:2, :3,c", ",", ":", "{\"b\":\"1\"}");
    assert_kv("a:1,a:2", ",", ":", "{\"a\":\"1\"}");
    assert_kv("a\0b:1,c:\0", ",", ":", "{\"c\":\"\\u0000\"}");
    assert_kv("a:1", "longer than the text", ":", "{\"a\":\"1\"}");
    assert_kv("a:1", ",", "longer than the text", "{}");
    assert_kv("a:\xFF", ",", ":", "{\"a\":\"\xEF\xBF\xBD\"}");
}


static void
test_kv_is_bounded(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_null(ngx_http_klaviyo_decode_kv(arena, unit_str("a:1"),
                                           unit_str(""), unit_str(":")));
    assert_null(ngx_http_klaviyo_decode_kv(arena, unit_str("a:1"),
                                           unit_str(","), unit_str("")));
    assert_int_equal(arena->limits, 0);

    assert_non_null(ngx_http_klaviyo_decode_kv(arena,
                                         unit_repeat(state, "a%:1,", 4000),
                                         unit_str(","), unit_str(":")));
    assert_null(ngx_http_klaviyo_decode_kv(arena,
                                         unit_repeat(state, "a%:1,", 4001),
                                         unit_str(","), unit_str(":")));
    assert_int_equal(arena->limits, 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_url_escapes_are_decoded),
        unit_arena_test(test_broken_url_escapes_stay),
        unit_arena_test(test_what_is_not_encoded_is_not_copied),
        unit_arena_test(test_nothing_is_decoded_without_memory),
        unit_arena_test(test_base64_is_decoded),
        unit_arena_test(test_base64_is_tolerant),
        unit_arena_test(test_wrong_base64_is_refused),
        unit_arena_test(test_entities_are_decoded),
        unit_arena_test(test_what_is_no_entity_stays),
        unit_arena_test(test_impossible_characters_are_replaced),
        unit_arena_test(test_every_name_is_found),
        unit_arena_test(test_a_token_shows_its_payload),
        unit_arena_test(test_what_is_no_token_shows_nothing),
        unit_arena_test(test_a_form_is_an_object_of_texts),
        unit_arena_test(test_pairs_without_a_name_are_skipped),
        unit_arena_test(test_repeated_names_give_the_first_or_an_array),
        unit_arena_test(test_brackets_nest),
        unit_arena_test(test_numbers_in_order_make_an_array),
        unit_arena_test(test_other_names_make_an_object),
        unit_arena_test(test_brackets_that_are_no_brackets_belong_to_the_name),
        unit_arena_test(test_of_a_text_and_an_object_the_first_wins),
        unit_arena_test(test_forms_become_valid_utf8),
        unit_arena_test(test_forms_are_bounded),
        unit_arena_test(test_kv_gives_trimmed_pairs),
        unit_arena_test(test_kv_leaves_out_what_is_no_pair),
        unit_arena_test(test_kv_is_bounded)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
