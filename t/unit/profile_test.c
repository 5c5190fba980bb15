
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Updates of profiles, and subscriptions, as Klaviyo takes them: exactly the
 * keys that these endpoints know, whatever goes in.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_profile.h"


#define MEMBERS  8

#define SUBSCRIBE                                                             \
    "{\"type\":\"profile-subscription-bulk-create-job\",\"attributes\":{"
#define PROFILES  "\"profiles\":{\"data\":[{\"type\":\"profile\","
#define LIST(id)                                                              \
    ",\"relationships\":{\"list\":{\"data\":{\"type\":\"list\","              \
    "\"id\":\"" id "\"}}}"
#define AGREED  "{\"marketing\":{\"consent\":\"SUBSCRIBED\"}}"
#define AGREED_AT                                                             \
    "{\"marketing\":{\"consent\":\"SUBSCRIBED\","                             \
    "\"consented_at\":\"2026-07-01T09:00:00Z\"}}"


typedef struct {
    ngx_http_klaviyo_arena_t         *arena;
    ngx_http_klaviyo_subscription_t   subscription;
    ngx_http_klaviyo_member_t         members[MEMBERS];
    ngx_uint_t                        n;
    ngx_str_t                         json;
    ngx_uint_t                        limits;
} unit_profile_t;


static unit_profile_t *
unit_profile(void **state)
{
    unit_profile_t            *u;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    u = ngx_pcalloc(arena->pool, sizeof(unit_profile_t));
    assert_non_null(u);

    u->arena = arena;

    return u;
}


static ngx_str_t *
text_of(ngx_pool_t *pool, char *s)
{
    ngx_str_t  *text;

    text = ngx_palloc(pool, sizeof(ngx_str_t));
    assert_non_null(text);

    text->data = (u_char *) s;
    text->len = ngx_strlen(s);

    return text;
}


static void
add(unit_profile_t *u, char *name, char *text)
{
    ngx_http_klaviyo_member_t  *member;

    assert_in_range(u->n, 0, MEMBERS - 1);

    member = &u->members[u->n++];

    ngx_http_klaviyo_data_set_string(&member->data, (u_char *) text,
                                     ngx_strlen(text));

    assert_int_equal(ngx_http_klaviyo_event_field(u->arena->pool,
                                                  text_of(u->arena->pool, name),
                                                  &member->field,
                                                  &member->key),
                     NGX_OK);
}


static ngx_int_t
render(unit_profile_t *u)
{
    return ngx_http_klaviyo_profile_render(u->arena, u->members, u->n,
                                           &u->json, &u->limits);
}


static ngx_int_t
subscribe(unit_profile_t *u)
{
    return ngx_http_klaviyo_profile_subscribe(u->arena, &u->subscription,
                                              u->members, u->n, &u->json,
                                              &u->limits);
}


static void
an_update_has_exactly_the_keys_of_its_values(void **state)
{
    unit_profile_t  *u;

    u = unit_profile(state);

    add(u, "properties.tier", "go\"ld");
    add(u, "location.city", "Brasov");
    add(u, "first_name", "Ana");
    add(u, "last_name", "");
    add(u, "email", "ana@shop.dev");
    add(u, "id", "01J0");
    add(u, "external_id", "7");

    assert_int_equal(render(u), NGX_OK);

    assert_text(&u->json,
        "{\"type\":\"profile\",\"id\":\"01J0\",\"attributes\":{"
        "\"first_name\":\"Ana\",\"email\":\"ana@shop.dev\","
        "\"external_id\":\"7\",\"location\":{\"city\":\"Brasov\"},"
        "\"properties\":{\"tier\":\"go\\\"ld\"}}}");

    assert_int_equal(u->limits, 0);
}


static void
an_update_of_nobody_is_none(void **state)
{
    unit_profile_t  *u;

    u = unit_profile(state);

    assert_int_equal(render(u), NGX_DECLINED);

    add(u, "first_name", "Ana");
    add(u, "email", "");

    assert_int_equal(render(u), NGX_DECLINED);

    /* events have this one, updates don't */

    add(u, "anonymous_id", "a-1");

    assert_int_equal(render(u), NGX_DECLINED);

    add(u, "_kx", "k.C1");

    assert_int_equal(render(u), NGX_OK);
    assert_text(&u->json, "{\"type\":\"profile\",\"attributes\":{"
                          "\"first_name\":\"Ana\",\"_kx\":\"k.C1\"}}");
}


static void
what_is_too_large_is_left_out_but_the_identifier(void **state)
{
    char            *text;
    unit_profile_t  *u;

    u = unit_profile(state);

    text = ngx_palloc(u->arena->pool, 96001);
    ngx_memset(text, 'x', 96000);
    text[96000] = '\0';

    add(u, "properties.a", text);
    add(u, "email", "ana@shop.dev");
    add(u, "location.ip", "unix:");

    assert_int_equal(render(u), NGX_OK);
    assert_text(&u->json, "{\"type\":\"profile\",\"attributes\":{"
                          "\"email\":\"ana@shop.dev\"}}");
    assert_int_equal(u->limits, 2);
}


static void
a_subscription_has_the_channels_that_have_an_address(void **state)
{
    ngx_uint_t       i;
    unit_profile_t  *u;

    static struct {
        ngx_uint_t   email;
        ngx_uint_t   sms;
        char        *attributes;   /* NULL: none */
        char        *address;
        char        *phone;
    } cases[] = {
        { 1, 0, "\"email\":\"ana@shop.dev\","
                "\"subscriptions\":{\"email\":" AGREED "}",
          "ana@shop.dev", "+40712345678" },
        { 0, 1, "\"phone_number\":\"+40712345678\","
                "\"subscriptions\":{\"sms\":" AGREED "}",
          "ana@shop.dev", "+40712345678" },
        { 1, 1, "\"email\":\"ana@shop.dev\","
                "\"phone_number\":\"+40712345678\","
                "\"subscriptions\":{\"email\":" AGREED ",\"sms\":" AGREED "}",
          "ana@shop.dev", "+40712345678" },
        { 1, 1, "\"phone_number\":\"+40712345678\","
                "\"subscriptions\":{\"sms\":" AGREED "}",
          "", "+40712345678" },
        { 1, 0, NULL, "", "+40712345678" },
        { 0, 1, NULL, "ana@shop.dev", "" },
        { 0, 0, NULL, "ana@shop.dev", "+40712345678" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        u = unit_profile(state);

        u->subscription.email = cases[i].email;
        u->subscription.sms = cases[i].sms;

        add(u, "email", cases[i].address);
        add(u, "phone_number", cases[i].phone);
        add(u, "_kx", "k.C1");
        add(u, "first_name", "Ana");

        if (cases[i].attributes == NULL) {
            assert_int_equal(subscribe(u), NGX_DECLINED);
            continue;
        }

        assert_int_equal(subscribe(u), NGX_OK);

        u->json.data[u->json.len - (sizeof("}}]}}}") - 1)] = '\0';
        assert_string_equal(u->json.data
                            + sizeof(SUBSCRIBE PROFILES "\"attributes\":{") - 1,
                            cases[i].attributes);
    }
}


static void
a_subscription_says_list_source_and_when(void **state)
{
    unit_profile_t  *u;

    u = unit_profile(state);
    u->subscription.email = 1;

    add(u, "email", "ana@shop.dev");

    assert_int_equal(subscribe(u), NGX_OK);
    assert_text(&u->json, SUBSCRIBE PROFILES
                "\"attributes\":{\"email\":\"ana@shop.dev\","
                "\"subscriptions\":{\"email\":" AGREED "}}}]}}}");

    add(u, "id", "01J0");
    add(u, "phone_number", "+40712345678");
    u->subscription.sms = 1;

    ngx_str_set(&u->subscription.list, "AbC\"123");
    ngx_str_set(&u->subscription.source, "footer\nform");
    ngx_str_set(&u->subscription.consented_at, "2026-07-01T09:00:00Z");

    assert_int_equal(subscribe(u), NGX_OK);
    assert_text(&u->json,
                SUBSCRIBE "\"custom_source\":\"footer\\nform\","
                "\"historical_import\":true," PROFILES
                "\"id\":\"01J0\",\"attributes\":{\"email\":\"ana@shop.dev\","
                "\"phone_number\":\"+40712345678\","
                "\"subscriptions\":{\"email\":" AGREED_AT
                ",\"sms\":" AGREED_AT "}}}]}}" LIST("AbC\\\"123") "}");
    assert_int_equal(u->limits, 0);
}


/* the room that is reckoned is at least what is written, or ASan tells */

static void
texts_of_any_bytes_have_room(void **state)
{
    char             text[64];
    ngx_uint_t       i, k;
    unit_profile_t  *u;

    srandom(20260715);

    for (i = 0; i < 500; i++) {
        u = unit_profile(state);

        for (k = 0; k < sizeof(text) - 1; k++) {
            text[k] = (char) (1 + random() % ((i & 1) ? 31 : 255));
        }

        text[random() % sizeof(text)] = '\0';
        text[sizeof(text) - 1] = '\0';

        u->subscription.email = 1;
        u->subscription.sms = i % 3 == 0;
        u->subscription.list = *text_of(u->arena->pool, text);
        u->subscription.source = *text_of(u->arena->pool, text);
        u->subscription.consented_at = *text_of(u->arena->pool, text);

        add(u, "email", "ana@shop.dev");
        add(u, "phone_number", text);
        add(u, "id", text);

        assert_int_equal(subscribe(u), NGX_OK);

        add(u, "properties.p", text);
        assert_int_equal(render(u), NGX_OK);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(an_update_has_exactly_the_keys_of_its_values),
        unit_arena_test(an_update_of_nobody_is_none),
        unit_arena_test(what_is_too_large_is_left_out_but_the_identifier),
        unit_arena_test(a_subscription_has_the_channels_that_have_an_address),
        unit_arena_test(a_subscription_says_list_source_and_when),
        unit_arena_test(texts_of_any_bytes_have_room),
    };

    return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
