
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Who the visitor is: only what certainly is an identifier is one, and of
 * several the right one is taken.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_identity.h"


#define assert_identifier(field, text, expected)                              \
    assert_checked(field, unit_str(""), text, expected)

#define assert_checked(field, company, text, expected)                        \
    unit_assert_text(unit_check(state, field, company, unit_str(text)),       \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_cookie(json, field, expected)                                  \
    unit_assert_cookie(state, unit_encode(state, json), unit_str(""), field,  \
                       expected)

#define assert_no_cookie(json)                                                \
    unit_assert_cookie(state, unit_encode(state, json), unit_str(""), 0, NULL)

#define X10  "xxxxxxxxxx"
#define X60  X10 X10 X10 X10 X10 X10


typedef struct {
    ngx_http_klaviyo_identity_t   identity;
    ngx_http_klaviyo_member_t     configured[16];
    ngx_http_klaviyo_member_t     found[NGX_HTTP_KLAVIYO_IDENTIFIERS];
} unit_identity_t;


static ngx_str_t *
unit_copy(void **state, ngx_str_t *src)
{
    ngx_str_t                 *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, src->len);
    ngx_memcpy(str->data, src->data, src->len);

    return str;
}


/* the value, or "" if it is missing */

static ngx_str_t *
unit_check(void **state, ngx_http_klaviyo_field_e field, ngx_str_t *company,
    ngx_str_t *text)
{
    ngx_str_t                *str;
    ngx_http_klaviyo_data_t   data;

    str = unit_copy(state, text);

    ngx_http_klaviyo_data_set_string(&data, str->data, str->len);
    ngx_http_klaviyo_identity_check(&data, field, company);

    if (ngx_http_klaviyo_data_is_missing(&data)) {
        str->len = 0;

    } else {
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_STRING);
        *str = data.text;
    }

    return str;
}


static ngx_str_t *
unit_encode(void **state, char *json)
{
    ngx_str_t                 *str, plain;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    plain.data = (u_char *) json;
    plain.len = ngx_strlen(json);

    str = unit_fill(arena->pool, 0, ngx_base64_encoded_length(plain.len));
    ngx_encode_base64(str, &plain);

    return str;
}


static void
unit_assert_cookie(void **state, ngx_str_t *cookie, ngx_str_t *company,
    ngx_http_klaviyo_field_e expected, char *text)
{
    ngx_http_klaviyo_data_t   data;
    ngx_http_klaviyo_field_e  field;

    field = NGX_HTTP_KLAVIYO_PROFILE_PROPERTY;

    ngx_http_klaviyo_identity_cookie(*state, unit_copy(state, cookie), company,
                                     &field, &data);

    if (text == NULL) {
        assert_true(ngx_http_klaviyo_data_is_missing(&data));
        return;
    }

    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_STRING);
    assert_int_equal(field, expected);
    assert_int_equal(data.text.len, ngx_strlen(text));
    assert_memory_equal(data.text.data, text, data.text.len);
}


static unit_identity_t *
unit_identity(void **state)
{
    unit_identity_t           *u;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    u = ngx_pcalloc(arena->pool, sizeof(unit_identity_t));
    assert_non_null(u);

    u->identity.configured = u->configured;
    u->identity.rungs = NGX_HTTP_KLAVIYO_IDENTITY_ALL;

    return u;
}


/* of the rule, as long as none is of klaviyo_profile */

static void
unit_profile(unit_identity_t *u, ngx_http_klaviyo_field_e field, char *text)
{
    ngx_http_klaviyo_member_t  *member;

    member = &u->configured[u->identity.nconfigured++];

    member->field = field;
    ngx_str_set(&member->key, "\"configured\":");
    ngx_http_klaviyo_data_set_string(&member->data, text,
                                     ngx_strlen((u_char *) text));
}


static void
unit_rule(unit_identity_t *u, ngx_http_klaviyo_field_e field, char *text)
{
    unit_profile(u, field, text);
    u->identity.nrule = u->identity.nconfigured;
}


static ngx_uint_t
unit_find(void **state, unit_identity_t *u)
{
    ngx_uint_t  n;

    n = ngx_http_klaviyo_identity_stated(*state, &u->identity, u->found);

    return n ? n : ngx_http_klaviyo_identity_implied(*state, &u->identity,
                                                     u->found);
}


static void
unit_assert_one(void **state, unit_identity_t *u,
    ngx_http_klaviyo_field_e field, char *text)
{
    assert_int_equal(unit_find(state, u), 1);
    assert_int_equal(u->found[0].field, field);
    assert_int_equal(u->found[0].data.text.len, ngx_strlen((u_char *) text));
    assert_memory_equal(u->found[0].data.text.data, text,
                        u->found[0].data.text.len);
}


static void
test_emails_are_taken(void **state)
{
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "ana@shop.dev", "ana@shop.dev");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "Ana.Pop+x@Shop.CO.uk",
                      "Ana.Pop+x@Shop.CO.uk");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, " \tana@shop.dev\r\n ",
                      "ana@shop.dev");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "a@b.co", "a@b.co");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "o'neil_1-2@x-y.shop.dev",
                      "o'neil_1-2@x-y.shop.dev");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "a@xn--bcher-kva.xn--p1ai",
                      "a@xn--bcher-kva.xn--p1ai");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL,
                      X60 "@" X10 X10 X10 ".shop.de",
                      X60 "@" X10 X10 X10 ".shop.de");
}


static void
test_what_is_no_email_is_missing(void **state)
{
    ngx_str_t   text;
    ngx_uint_t  i;

    static char  *texts[] = {
        "", " ", "@", "a@", "@b.co", "a@b", "a@b.", "a@.co", "a@b..co",
        "a@b.co.", "a@@b.co", "a@b@c.co", "a b@c.co", "a@b c.co", "a@b.c",
        ".a@b.co", "a.@b.co", "a..b@c.co", "a@-b.co", "a@b-.co", "a@b.-co",
        "a@b.co-", "a@localhost", "a@1.2.3.4", "a@[1.2.3.4]", "\"a\"@b.co",
        "a\\@b.co",
        "a,c@b.co", "a@b.co,d@e.co", "<a@b.co>", "Ana <a@b.co>", "a;b@c.co",
        "a@b_c.co", "a\x01@b.co", "a@b.co\x7f", "\xC3\xA1@b.co",
        "a@\xC3\xA1.co", "a\xff@b.co", "a%40b.co", "null", "undefined",
        "a\nb@c.co", "a@b.co\r\nX: y", "a@b.c1.2x",
        X60 "xxxxx@b.co",
        "a@" X60 "xxxx.co",
        X60 "@" X10 X10 X10 "x.shop.dev"
    };

    for (i = 0; i < sizeof(texts) / sizeof(char *); i++) {

        text.data = (u_char *) texts[i];
        text.len = ngx_strlen(texts[i]);

        assert_int_equal(unit_check(state, NGX_HTTP_KLAVIYO_EMAIL,
                                    unit_str(""), &text)->len,
                         0);
    }

    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "a\0@b.co", "");
    assert_identifier(NGX_HTTP_KLAVIYO_EMAIL, "a@b.co\0", "");
}


static void
test_phones_are_e164(void **state)
{
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678",
                      "+40712345678");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, " +6834567 ", "+6834567");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+123456789012345",
                      "+123456789012345");

    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+123456", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+1234567890123456", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+0712345678", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "40712345678", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "0040712345678", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40 712 345 678", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+4071234567x", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "++4071234567", "");
    assert_identifier(NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345\0" "78", "");
}


static void
test_an_exchange_id_names_its_company(void **state)
{
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "aZ09_-=.AbC123",
                      "aZ09_-=.AbC123");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, " a.b ", "a.b");

    assert_identifier(NGX_HTTP_KLAVIYO_KX, "", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, ".", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a.", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, ".b", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a.b.c", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a..b", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a.b-c", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a.b=", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a+b.c", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a b.c", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a/b.c", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a%2Eb", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a\"b.c", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "a.b\0", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX, "\xC3\xA1.b", "");
    assert_identifier(NGX_HTTP_KLAVIYO_KX,
                      X60 X60 X60 X60 "xxxxxxxxxxxxx.b",
                      X60 X60 X60 X60 "xxxxxxxxxxxxx.b");
    assert_identifier(NGX_HTTP_KLAVIYO_KX,
                      X60 X60 X60 X60 "xxxxxxxxxxxxxx.b", "");
}


static void
test_an_exchange_id_of_another_company_is_missing(void **state)
{
    assert_checked(NGX_HTTP_KLAVIYO_KX, unit_str("AbC123"), "k.AbC123",
                   "k.AbC123");
    assert_checked(NGX_HTTP_KLAVIYO_KX, unit_str("AbC123"), "k.AbC124", "");
    assert_checked(NGX_HTTP_KLAVIYO_KX, unit_str("AbC123"), "k.abc123", "");
    assert_checked(NGX_HTTP_KLAVIYO_KX, unit_str("AbC123"), "k.AbC12", "");
    assert_checked(NGX_HTTP_KLAVIYO_KX, unit_str("AbC123"), "k.AbC1234", "");
    assert_checked(NGX_HTTP_KLAVIYO_KX, unit_str("AbC123"), "k.xAbC123", "");
}


static void
test_other_identifiers_are_any_text(void **state)
{
    ngx_uint_t  i;

    static ngx_http_klaviyo_field_e  fields[] = {
        NGX_HTTP_KLAVIYO_PROFILE_ID,
        NGX_HTTP_KLAVIYO_EXTERNAL_ID,
        NGX_HTTP_KLAVIYO_ANONYMOUS_ID
    };

    for (i = 0; i < 3; i++) {
        assert_identifier(fields[i], "cus_01 JAB/\"x\"", "cus_01 JAB/\"x\"");
        assert_identifier(fields[i], " 77\n", "77");
        assert_identifier(fields[i], "\xC3\xA1\xF0\x9F\x98\x80",
                          "\xC3\xA1\xF0\x9F\x98\x80");
        assert_identifier(fields[i], "nulls", "nulls");
        assert_identifier(fields[i], X60 X60 X60 X60 "xxxxxxxxxxxxxxx",
                          X60 X60 X60 X60 "xxxxxxxxxxxxxxx");

        assert_identifier(fields[i], "", "");
        assert_identifier(fields[i], " \t ", "");
        assert_identifier(fields[i], "null", "");
        assert_identifier(fields[i], " undefined ", "");
        assert_identifier(fields[i], "a\x1f" "b", "");
        assert_identifier(fields[i], "a\0b", "");
        assert_identifier(fields[i], "a\x7f", "");
        assert_identifier(fields[i], "a\xff", "");
        assert_identifier(fields[i], "\xc6\xc6", "");
        assert_identifier(fields[i], "a\xC3", "");
        assert_identifier(fields[i], "a\xC0\x80", "");
        assert_identifier(fields[i], "a\xED\xA0\x80", "");
        assert_identifier(fields[i], X60 X60 X60 X60 "xxxxxxxxxxxxxxxx", "");
    }
}


static void
test_numbers_may_be_ids_but_nothing_else(void **state)
{
    ngx_uint_t               field;
    ngx_http_klaviyo_data_t  data;

    for (field = 0; field < NGX_HTTP_KLAVIYO_IDENTIFIERS; field++) {

        data.type = NGX_HTTP_KLAVIYO_NUMBER;
        ngx_str_set(&data.text, "40712345678");

        ngx_http_klaviyo_identity_check(&data, field, unit_str(""));

        switch (field) {

        case NGX_HTTP_KLAVIYO_EMAIL:
        case NGX_HTTP_KLAVIYO_PHONE_NUMBER:
        case NGX_HTTP_KLAVIYO_KX:
            assert_int_equal(data.type, NGX_HTTP_KLAVIYO_MISSING);
            break;

        default:
            assert_int_equal(data.type, NGX_HTTP_KLAVIYO_NUMBER);
        }
    }
}


static void
test_other_types_are_no_identifiers(void **state)
{
    ngx_uint_t               i;
    ngx_http_klaviyo_data_t  data;

    static ngx_http_klaviyo_type_e  types[] = {
        NGX_HTTP_KLAVIYO_MISSING, NGX_HTTP_KLAVIYO_UNKNOWN,
        NGX_HTTP_KLAVIYO_FALSE, NGX_HTTP_KLAVIYO_TRUE, NGX_HTTP_KLAVIYO_TREE
    };

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        data.type = types[i];

        ngx_http_klaviyo_identity_check(&data, NGX_HTTP_KLAVIYO_EXTERNAL_ID,
                                        unit_str(""));

        assert_true(ngx_http_klaviyo_data_is_missing(&data));
    }
}


static void
test_the_cookie_names_the_visitor(void **state)
{
    assert_cookie("{\"cid\":\"x\",\"$exchange_id\":\"k.C1\"}",
                  NGX_HTTP_KLAVIYO_KX, "k.C1");
    assert_cookie("{\"$email\":\"a@b.co\"}", NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
    assert_cookie("{\"email\":\"a@b.co\"}", NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
    assert_cookie("{\"$phone_number\":\"+40712345678\"}",
                  NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
    assert_cookie("{\"phone_number\":\"+40712345678\"}",
                  NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
}


static void
test_the_names_in_the_cookie_may_be_escaped(void **state)
{
    assert_cookie("{\"\\u0024\\u0065mail\":\"a@b.co\"}",
                  NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
    assert_cookie("{\"phone\\u005fnumber\":\"+40712345678\"}",
                  NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
    assert_cookie("{\"$exchange\\u005Fid\":\"k.C1\"}",
                  NGX_HTTP_KLAVIYO_KX, "k.C1");
}


static void
test_the_cookie_is_asked_in_order(void **state)
{
    assert_cookie("{\"phone_number\":\"+40712345678\",\"email\":\"c@d.co\","
                  "\"$email\":\"a@b.co\",\"$exchange_id\":\"k.C1\"}",
                  NGX_HTTP_KLAVIYO_KX, "k.C1");
    assert_cookie("{\"phone_number\":\"+40712345678\",\"email\":\"c@d.co\","
                  "\"$email\":\"a@b.co\"}",
                  NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
    assert_cookie("{\"phone_number\":\"+40712345678\",\"email\":\"c@d.co\"}",
                  NGX_HTTP_KLAVIYO_EMAIL, "c@d.co");
    assert_cookie("{\"phone_number\":\"+40712345679\","
                  "\"$phone_number\":\"+40712345678\"}",
                  NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
}


static void
test_an_invalid_identifier_in_the_cookie_is_passed_over(void **state)
{
    assert_cookie("{\"$exchange_id\":\"null\",\"$email\":\"undefined\","
                  "\"email\":\"a@b.co\"}",
                  NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
    assert_cookie("{\"$exchange_id\":{\"a\":1},\"$email\":[\"a@b.co\"],"
                  "\"email\":7,\"$phone_number\":40712345678,"
                  "\"phone_number\":\"+40712345678\"}",
                  NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
    assert_cookie("{\"$exchange_id\":\"\",\"$email\":null,\"email\":true,"
                  "\"$phone_number\":\"+40712345678\"}",
                  NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");

    unit_assert_cookie(state, unit_encode(state,
                                          "{\"$exchange_id\":\"k.C1\","
                                          "\"email\":\"a@b.co\"}"),
                       unit_str("C2"), NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
}


static void
test_a_cookie_of_nobody_is_missing(void **state)
{
    assert_no_cookie("{}");
    assert_no_cookie("{\"cid\":\"ZGVhZA==\",\"$referrer\":{\"ts\":1}}");
    assert_no_cookie("{\"$exchange_id\":\"undefined\",\"email\":\"null\"}");
    assert_no_cookie("{\"$EMAIL\":\"a@b.co\"}");
    assert_no_cookie("{\"a\":{\"$email\":\"a@b.co\"}}");
}


static void
test_the_cookie_may_be_written_in_many_ways(void **state)
{
    ngx_str_t                 *plain, *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    /* eyIkZXhjaGFuZ2VfaWQiOiJrLkMxIn0= */

    plain = unit_encode(state, "{\"$exchange_id\":\"k.C1\"}");

    assert_int_equal(plain->data[plain->len - 1], '=');

    unit_assert_cookie(state, plain, unit_str("C1"), NGX_HTTP_KLAVIYO_KX,
                       "k.C1");

    str = unit_fill(arena->pool, 0, plain->len + 10);

    str->len = ngx_sprintf(str->data, "\"%V\"", plain) - str->data;
    unit_assert_cookie(state, str, unit_str(""), NGX_HTTP_KLAVIYO_KX, "k.C1");

    plain->len--;
    unit_assert_cookie(state, plain, unit_str(""), NGX_HTTP_KLAVIYO_KX,
                       "k.C1");

    str->len = ngx_sprintf(str->data, "%V%%3D", plain) - str->data;
    unit_assert_cookie(state, str, unit_str(""), NGX_HTTP_KLAVIYO_KX, "k.C1");

    str->len = ngx_sprintf(str->data, "%%22%V%%22", plain) - str->data;
    unit_assert_cookie(state, str, unit_str(""), NGX_HTTP_KLAVIYO_KX, "k.C1");
}


static void
test_hostile_cookies_are_missing(void **state)
{
    size_t                     n;
    ngx_str_t                 *str;
    ngx_uint_t                 i, seed;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    unit_assert_cookie(state, unit_str(""), unit_str(""), 0, NULL);
    unit_assert_cookie(state, unit_str("="), unit_str(""), 0, NULL);
    unit_assert_cookie(state, unit_str("%"), unit_str(""), 0, NULL);
    unit_assert_cookie(state, unit_str("%00"), unit_str(""), 0, NULL);
    unit_assert_cookie(state, unit_str("****"), unit_str(""), 0, NULL);
    unit_assert_cookie(state, unit_str("\xff\xff"), unit_str(""), 0, NULL);

    assert_no_cookie("");
    assert_no_cookie("null");
    assert_no_cookie("\"$email\"");
    assert_no_cookie("7");
    assert_no_cookie("[{\"$email\":\"a@b.co\"}]");
    assert_no_cookie("{\"$email\":\"a@b.co\"");
    assert_no_cookie("{\"$email\":\"a@b.co\"}x");
    assert_no_cookie("{\"$email\":\"a\\u0000@b.co\"}");
    assert_no_cookie("{\"$email\":\"a@b.co\\u0000\"}");
    assert_no_cookie("{\"$exchange_id\":\"k\\u0000.C1\"}");
    assert_no_cookie("{\"$email\":\"a@b.co\\r\\nX: y\"}");

    /* depth */

    str = unit_fill(arena->pool, '[', 2001);
    str->data[2000] = '\0';

    assert_no_cookie((char *) str->data);

    /* any bytes */

    seed = 1;

    for (i = 0; i < 2000; i++) {
        str = unit_fill(arena->pool, 0, i % 61);

        for (n = 0; n < str->len; n++) {
            seed = seed * 1103515245 + 12345;
            str->data[n] = seed >> 16;
        }

        unit_assert_cookie(state, str, unit_str(""), 0, NULL);
    }
}


static void
test_a_cookie_that_is_too_long_is_not_read(void **state)
{
    char                       text[4097];
    size_t                     left;
    u_char                    *p;
    ngx_str_t                  cookie;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_field_e   field;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    p = ngx_cpymem((u_char *) text, "{\"$email\":\"a@b.co\",\"x\":\"", 24);
    ngx_memset(p, 'x', 3072 - 24 - 2);
    p += 3072 - 24 - 2;
    p = ngx_cpymem(p, "\"}", 3);

    cookie = *unit_encode(state, text);

    assert_int_equal(cookie.len, 4096);

    unit_assert_cookie(state, &cookie, unit_str(""), NGX_HTTP_KLAVIYO_EMAIL,
                       "a@b.co");

    cookie = *unit_fill(arena->pool, 'e', 4097);
    left = arena->left;

    ngx_http_klaviyo_identity_cookie(arena, &cookie, unit_str(""), &field,
                                     &data);

    assert_true(ngx_http_klaviyo_data_is_missing(&data));
    assert_int_equal(arena->left, left);
}


static void
test_no_room_for_the_cookie_is_nobody(void **state)
{
    size_t                     left;
    ngx_str_t                 *cookie;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_field_e   field;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    cookie = unit_encode(state, "{\"$exchange_id\":\"k.C1\"}");

    for (left = 0; left < 4000; left++) {
        arena->left = left;

        ngx_http_klaviyo_identity_cookie(arena, cookie, unit_str(""), &field,
                                         &data);

        if (!ngx_http_klaviyo_data_is_missing(&data)) {
            break;
        }
    }

    assert_true(left > 0 && left < 4000);
}


static void
test_the_order_is_that_of_trust(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);

    unit_rule(u, NGX_HTTP_KLAVIYO_ANONYMOUS_ID, "anon");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_ANONYMOUS_ID, "anon");

    unit_rule(u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "77");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "77");

    u->identity.cookie = *unit_encode(state, "{\"email\":\"cookie@b.co\"}");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EMAIL, "cookie@b.co");
    assert_text(&u->found[0].key, "\"email\":");

    ngx_str_set(&u->identity.args, "v=1&_kx=arg.C1");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "arg.C1");
    assert_text(&u->found[0].key, "\"_kx\":");

    unit_rule(u, NGX_HTTP_KLAVIYO_KX, "rule.C1");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "rule.C1");
    assert_text(&u->found[0].key, "\"configured\":");

    unit_rule(u, NGX_HTTP_KLAVIYO_PROFILE_ID, "01J0");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_PROFILE_ID, "01J0");

    unit_rule(u, NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");

    unit_rule(u, NGX_HTTP_KLAVIYO_EMAIL, "rule@b.co");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EMAIL, "rule@b.co");
}


static void
test_an_invalid_identifier_gives_way_to_the_next(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);

    unit_rule(u, NGX_HTTP_KLAVIYO_EMAIL, "a@b");
    unit_rule(u, NGX_HTTP_KLAVIYO_PHONE_NUMBER, "0712345678");
    unit_rule(u, NGX_HTTP_KLAVIYO_KX, "other.C2");
    unit_rule(u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "undefined");
    unit_rule(u, NGX_HTTP_KLAVIYO_ANONYMOUS_ID, "anon");

    ngx_str_set(&u->identity.company, "C1");
    ngx_str_set(&u->identity.args, "_kx=a.C2");
    u->identity.cookie = *unit_encode(state, "{\"$exchange_id\":\"b.C2\"}");

    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_ANONYMOUS_ID, "anon");

    u->identity.cookie = *unit_encode(state, "{\"$exchange_id\":\"b.C1\"}");

    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "b.C1");

    /* the configured values are somebody's */

    assert_int_equal(u->configured[0].data.type, NGX_HTTP_KLAVIYO_STRING);
}


static void
test_the_rule_comes_before_klaviyo_profile(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);

    unit_rule(u, NGX_HTTP_KLAVIYO_KX, "rule.C1");
    unit_profile(u, NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");

    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "rule.C1");

    u = unit_identity(state);

    unit_rule(u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "77");
    unit_rule(u, NGX_HTTP_KLAVIYO_EMAIL, "nobody");
    unit_profile(u, NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
    unit_profile(u, NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");

    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EMAIL, "a@b.co");
}


static void
test_attributes_are_no_identifiers(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);

    unit_rule(u, NGX_HTTP_KLAVIYO_ATTRIBUTE, "Ana");
    unit_rule(u, NGX_HTTP_KLAVIYO_LOCATION, "Brasov");
    unit_profile(u, NGX_HTTP_KLAVIYO_PROFILE_PROPERTY, "gold");

    assert_int_equal(unit_find(state, u), 0);

    u->identity.all = 1;

    assert_int_equal(unit_find(state, u), 0);
}


static void
test_nobody_is_found_where_there_is_nothing(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);

    assert_int_equal(unit_find(state, u), 0);

    ngx_str_set(&u->identity.args, "");
    ngx_str_set(&u->identity.cookie, "");

    assert_int_equal(unit_find(state, u), 0);
}


static void
test_rungs_may_be_switched_off(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);

    ngx_str_set(&u->identity.args, "_kx=arg.C1");
    u->identity.cookie = *unit_encode(state, "{\"email\":\"cookie@b.co\"}");
    unit_rule(u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "77");

    u->identity.rungs = NGX_HTTP_KLAVIYO_IDENTITY_KX;
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "arg.C1");

    u->identity.rungs = NGX_HTTP_KLAVIYO_IDENTITY_COOKIE;
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EMAIL, "cookie@b.co");

    u->identity.rungs = NGX_HTTP_KLAVIYO_IDENTITY_VISITOR;
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "77");
}


static void
test_all_configured_identifiers_may_be_asked_for(void **state)
{
    ngx_uint_t        n;
    unit_identity_t  *u;

    u = unit_identity(state);
    u->identity.all = 1;

    unit_rule(u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "77");
    unit_rule(u, NGX_HTTP_KLAVIYO_EMAIL, "rule@b.co");
    unit_rule(u, NGX_HTTP_KLAVIYO_PHONE_NUMBER, "nothing");
    unit_profile(u, NGX_HTTP_KLAVIYO_EMAIL, "profile@b.co");
    unit_profile(u, NGX_HTTP_KLAVIYO_PHONE_NUMBER, "+40712345678");
    unit_profile(u, NGX_HTTP_KLAVIYO_EXTERNAL_ID, "78");
    unit_profile(u, NGX_HTTP_KLAVIYO_ANONYMOUS_ID, "anon");

    ngx_str_set(&u->identity.args, "_kx=arg.C1");

    n = unit_find(state, u);

    assert_int_equal(n, 4);

    assert_int_equal(u->found[0].field, NGX_HTTP_KLAVIYO_EMAIL);
    assert_text(&u->found[0].data.text, "rule@b.co");
    assert_int_equal(u->found[1].field, NGX_HTTP_KLAVIYO_EXTERNAL_ID);
    assert_text(&u->found[1].data.text, "77");
    assert_int_equal(u->found[2].field, NGX_HTTP_KLAVIYO_PHONE_NUMBER);
    assert_text(&u->found[2].data.text, "+40712345678");
    assert_int_equal(u->found[3].field, NGX_HTTP_KLAVIYO_ANONYMOUS_ID);
    assert_text(&u->found[3].data.text, "anon");
}


static void
test_all_has_room_for_one_of_each(void **state)
{
    ngx_uint_t        i, n;
    unit_identity_t  *u;

    static char  *texts[] = {
        "a@b.co", "+40712345678", "01J0", "k.C1", "77", "anon"
    };

    u = unit_identity(state);
    u->identity.all = 1;

    for (i = 0; i < 6; i++) {
        unit_rule(u, i, texts[i]);
    }

    for (i = 0; i < 6; i++) {
        unit_profile(u, i, texts[i]);
    }

    n = unit_find(state, u);

    assert_int_equal(n, NGX_HTTP_KLAVIYO_IDENTIFIERS);
}


static void
test_all_without_configured_ones_is_the_first_of_the_others(void **state)
{
    unit_identity_t  *u;

    u = unit_identity(state);
    u->identity.all = 1;

    unit_rule(u, NGX_HTTP_KLAVIYO_EMAIL, "nobody");
    u->identity.cookie = *unit_encode(state, "{\"email\":\"cookie@b.co\"}");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_EMAIL, "cookie@b.co");

    ngx_str_set(&u->identity.args, "_kx=arg.C1");
    unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "arg.C1");
}


static void
test_the_argument_is_found_in_any_case_and_decoded(void **state)
{
    ngx_uint_t        i;
    unit_identity_t  *u;

    static char  *args[] = {
        "_kx=a-_%3D.C1", "_KX=a-_%3d.C1", "%5Fkx=a-_=.C1",
        "a=1&_kx=%61-_=%2EC1&b=2", "_kx=&_kx&_kx=bad&_kx=a-_=.C1",
        "&&=&_kx=a-_=.C1&", "x_kx=b.C1&_kxx=b.C1&_kx=a-_=.C1",
        "_kx=%20a-_=.C1%0A"
    };

    static char  *none[] = {
        "_kx", "_kx=", "_kx=&", "=_kx", "kx=a.C1", "_kx%3Da.C1", "_kx=a.C2",
        "_kx=a%00.C1", "_kx=a+b.C1", "a?_kx=a.C1", "_kx=%", "_kx=%2", "%", "&",
        "_kx[]=a.C1"
    };

    for (i = 0; i < sizeof(args) / sizeof(char *); i++) {
        u = unit_identity(state);

        ngx_str_set(&u->identity.company, "C1");
        u->identity.args.data = (u_char *) args[i];
        u->identity.args.len = ngx_strlen(args[i]);
        u->identity.args = *unit_copy(state, &u->identity.args);

        unit_assert_one(state, u, NGX_HTTP_KLAVIYO_KX, "a-_=.C1");
    }

    for (i = 0; i < sizeof(none) / sizeof(char *); i++) {
        u = unit_identity(state);

        ngx_str_set(&u->identity.company, "C1");
        u->identity.args.data = (u_char *) none[i];
        u->identity.args.len = ngx_strlen(none[i]);
        u->identity.args = *unit_copy(state, &u->identity.args);

        assert_int_equal(unit_find(state, u), 0);
    }
}


static void
test_a_long_argument_is_not_decoded(void **state)
{
    size_t                     left;
    unit_identity_t           *u;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    u = unit_identity(state);
    u->identity.args = *unit_fill(arena->pool, '%', 8000);
    ngx_memcpy(u->identity.args.data, "_kx=", 4);

    left = arena->left;

    assert_int_equal(unit_find(state, u), 0);
    assert_int_equal(arena->left, left);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_emails_are_taken),
        unit_arena_test(test_what_is_no_email_is_missing),
        unit_arena_test(test_phones_are_e164),
        unit_arena_test(test_an_exchange_id_names_its_company),
        unit_arena_test(test_an_exchange_id_of_another_company_is_missing),
        unit_arena_test(test_other_identifiers_are_any_text),
        unit_arena_test(test_numbers_may_be_ids_but_nothing_else),
        unit_arena_test(test_other_types_are_no_identifiers),
        unit_arena_test(test_the_cookie_names_the_visitor),
        unit_arena_test(test_the_names_in_the_cookie_may_be_escaped),
        unit_arena_test(test_the_cookie_is_asked_in_order),
        unit_arena_test(
                      test_an_invalid_identifier_in_the_cookie_is_passed_over),
        unit_arena_test(test_a_cookie_of_nobody_is_missing),
        unit_arena_test(test_the_cookie_may_be_written_in_many_ways),
        unit_arena_test(test_hostile_cookies_are_missing),
        unit_arena_test(test_a_cookie_that_is_too_long_is_not_read),
        unit_arena_test(test_no_room_for_the_cookie_is_nobody),
        unit_arena_test(test_the_order_is_that_of_trust),
        unit_arena_test(test_an_invalid_identifier_gives_way_to_the_next),
        unit_arena_test(test_the_rule_comes_before_klaviyo_profile),
        unit_arena_test(test_attributes_are_no_identifiers),
        unit_arena_test(test_nobody_is_found_where_there_is_nothing),
        unit_arena_test(test_rungs_may_be_switched_off),
        unit_arena_test(test_all_configured_identifiers_may_be_asked_for),
        unit_arena_test(test_all_has_room_for_one_of_each),
        unit_arena_test(
                  test_all_without_configured_ones_is_the_first_of_the_others),
        unit_arena_test(test_the_argument_is_found_in_any_case_and_decoded),
        unit_arena_test(test_a_long_argument_is_not_decoded)
    };

    return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
