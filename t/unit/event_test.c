
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * An event as one entry of a bulk request: what is sent is valid JSON with
 * exactly the keys that Klaviyo knows, within its limits, whatever goes in.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_event.h"


#define HEAD                                                                  \
    "{\"type\":\"event-bulk-create\",\"attributes\":{\"events\":{\"data\":["  \
    "{\"type\":\"event\",\"attributes\":{"
#define METRIC                                                                \
    "\"time\":\"2026-07-23T10:15:30Z\",\"unique_id\":\"a-1\",\"metric\":"     \
    "{\"data\":{\"type\":\"metric\",\"attributes\":{\"name\":\"Viewed\"}}}"
#define PROFILE  "}}]},\"profile\":{\"data\":{\"type\":\"profile\","
#define TAIL     "}}}}"

#define UNIT_MEMBERS  420


typedef struct {
    ngx_http_klaviyo_event_t    event;
    ngx_http_klaviyo_arena_t   *arena;
    ngx_str_t                   json;
    ngx_uint_t                  aged;
    ngx_uint_t                  limits;
    ngx_http_klaviyo_member_t   properties[UNIT_MEMBERS];
    ngx_http_klaviyo_member_t   profile[UNIT_MEMBERS];
} unit_event_t;


static unit_event_t *
unit_event(void **state)
{
    unit_event_t              *u;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    u = ngx_pcalloc(arena->pool, sizeof(unit_event_t));
    assert_non_null(u);

    u->arena = arena;
    u->event.properties = u->properties;
    u->event.profile = u->profile;

    ngx_str_set(&u->event.time, "2026-07-23T10:15:30Z");
    ngx_str_set(&u->event.unique_id, "a-1");

    assert_int_equal(ngx_http_klaviyo_event_metric(arena->pool,
                                                   unit_str("Viewed"),
                                                   unit_str(""),
                                                   &u->event.metric),
                     NGX_OK);
    return u;
}


static ngx_http_klaviyo_data_t
unit_data(ngx_http_klaviyo_type_e type, char *text)
{
    ngx_http_klaviyo_data_t  data;

    data.type = type;
    data.text.data = (u_char *) text;
    data.text.len = text ? ngx_strlen(text) : 0;
    data.json = NULL;

    return data;
}


static ngx_http_klaviyo_data_t
unit_string(char *text)
{
    return unit_data(NGX_HTTP_KLAVIYO_STRING, text);
}


static ngx_http_klaviyo_data_t
unit_number(char *text)
{
    return unit_data(NGX_HTTP_KLAVIYO_NUMBER, text);
}


static ngx_http_klaviyo_data_t
unit_tree(void **state, char *text)
{
    json_error_t             error;
    ngx_http_klaviyo_data_t  data;

    data.type = NGX_HTTP_KLAVIYO_TREE;
    data.json = ngx_http_klaviyo_arena_keep(*state,
                                            json_loads(text, 0, &error));
    assert_non_null(data.json);

    return data;
}


static void
unit_property(unit_event_t *u, char *name, ngx_http_klaviyo_data_t data)
{
    ngx_str_t                   str;
    ngx_http_klaviyo_member_t  *member;

    member = &u->properties[u->event.nproperties++];

    /* of no meaning for properties */
    member->field = 77;
    member->data = data;

    str.data = (u_char *) name;
    str.len = ngx_strlen(name);

    assert_int_equal(ngx_http_klaviyo_event_key(u->arena->pool, &str,
                                                &member->key),
                     NGX_OK);
}


static void
unit_profile(unit_event_t *u, char *name, ngx_http_klaviyo_data_t data)
{
    ngx_str_t                   str;
    ngx_http_klaviyo_member_t  *member;

    member = &u->profile[u->event.nprofile++];
    member->data = data;

    str.data = (u_char *) name;
    str.len = ngx_strlen(name);

    assert_int_equal(ngx_http_klaviyo_event_field(u->arena->pool, &str,
                                                  &member->field,
                                                  &member->key),
                     NGX_OK);
}


/* renders and parses; duplicate keys and invalid UTF-8 are errors */

static json_t *
unit_render(unit_event_t *u)
{
    json_t        *json;
    json_error_t   error;

    assert_int_equal(ngx_http_klaviyo_event_render(u->arena, &u->event,
                                                   &u->json, &u->aged,
                                                   &u->limits),
                     NGX_OK);

    json = json_loadb((char *) u->json.data, u->json.len,
                      JSON_REJECT_DUPLICATES|JSON_ALLOW_NUL, &error);

    if (json == NULL) {
        print_error("%s: %.*s\n", error.text, (int) u->json.len, u->json.data);
    }

    json = ngx_http_klaviyo_arena_keep(u->arena, json);
    assert_non_null(json);

    return json;
}


static json_t *
unit_attributes(json_t *json)
{
    json = json_object_get(json_object_get(json, "attributes"), "events");
    json = json_array_get(json_object_get(json, "data"), 0);

    return json_object_get(json, "attributes");
}


static json_t *
unit_profile_of(json_t *json)
{
    json = json_object_get(json_object_get(json, "attributes"), "profile");

    return json_object_get(json, "data");
}


static void
test_an_event_has_exactly_the_keys_of_its_values(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    assert_int_equal(ngx_http_klaviyo_event_metric(u->arena->pool,
                                                   unit_str("Added to Cart"),
                                                   unit_str("shop"),
                                                   &u->event.metric),
                     NGX_OK);

    u->event.value = unit_number("39.5");
    u->event.currency = unit_string("EUR");

    unit_property(u, "ProductID", unit_string("1881"));
    unit_property(u, "Price", unit_number("39.50"));
    unit_property(u, "InStock", unit_data(NGX_HTTP_KLAVIYO_TRUE, NULL));
    unit_property(u, "Gift", unit_data(NGX_HTTP_KLAVIYO_FALSE, NULL));
    unit_property(u, "Categories", unit_tree(state, "[\"Wool\",\"Scarves\"]"));

    unit_profile(u, "properties.tier", unit_string("gold"));
    unit_profile(u, "location.city", unit_string("Brasov"));
    unit_profile(u, "first_name", unit_string("Ana"));
    unit_profile(u, "email", unit_string("ana@shop.dev"));
    unit_profile(u, "id", unit_string("01J0"));
    unit_profile(u, "location.ip", unit_string("203.0.113.9"));
    unit_profile(u, "_kx", unit_string("k.C1"));

    (void) unit_render(u);

    assert_text(&u->json,
        HEAD "\"time\":\"2026-07-23T10:15:30Z\",\"unique_id\":\"a-1\","
        "\"metric\":{\"data\":{\"type\":\"metric\",\"attributes\":"
        "{\"name\":\"Added to Cart\",\"service\":\"shop\"}}},"
        "\"value\":39.5,\"value_currency\":\"EUR\",\"properties\":"
        "{\"ProductID\":\"1881\",\"Price\":39.50,\"InStock\":true,"
        "\"Gift\":false,\"Categories\":[\"Wool\",\"Scarves\"]}"
        PROFILE "\"id\":\"01J0\",\"attributes\":{\"first_name\":\"Ana\","
        "\"email\":\"ana@shop.dev\",\"_kx\":\"k.C1\","
        "\"location\":{\"city\":\"Brasov\",\"ip\":\"203.0.113.9\"},"
        "\"properties\":{\"tier\":\"gold\"}}" TAIL);

    assert_int_equal(u->aged, 0);
    assert_int_equal(u->limits, 0);
}


static void
test_an_event_of_nothing_has_empty_properties_and_attributes(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    (void) unit_render(u);

    assert_text(&u->json,
                HEAD METRIC ",\"properties\":{}"
                PROFILE "\"attributes\":{}" TAIL);

    unit_profile(u, "id", unit_string("01J0"));

    (void) unit_render(u);

    assert_text(&u->json,
                HEAD METRIC ",\"properties\":{}"
                PROFILE "\"id\":\"01J0\",\"attributes\":{}" TAIL);
}


static void
test_members_without_a_value_are_left_out_with_their_commas(void **state)
{
    char           name[] = "a";
    ngx_uint_t     i, present;
    unit_event_t  *u;

    /* each of four members is there or not, in properties and in profile */

    for (present = 0; present < 16; present++) {

        u = unit_event(state);

        for (i = 0; i < 4; i++) {
            name[0] = 'a' + i;
            unit_property(u, name, (present & (1 << i)) ? unit_number("1")
                                                        : unit_string(""));
        }

        unit_profile(u, "email", (present & 1) ? unit_string("a@b.co")
                                     : unit_data(NGX_HTTP_KLAVIYO_MISSING,
                                                 NULL));
        unit_profile(u, "title", unit_string((present & 2) ? "x" : ""));
        unit_profile(u, "location.zip", (present & 4) ? unit_string("1")
                                     : unit_data(NGX_HTTP_KLAVIYO_UNKNOWN,
                                                 NULL));
        unit_profile(u, "properties.p", (present & 8) ? unit_number("1")
                                     : unit_tree(state, "[{\"x\":\"\"}]"));

        assert_int_equal(json_object_size(json_object_get(
                                 unit_attributes(unit_render(u)),
                                 "properties")),
                         (present & 1) + !!(present & 2) + !!(present & 4)
                         + !!(present & 8));

        assert_int_equal(json_object_size(json_object_get(
                                 unit_profile_of(unit_render(u)),
                                 "attributes")),
                         (present & 1) + !!(present & 2) + !!(present & 4)
                         + !!(present & 8));

        assert_int_equal(u->limits, 0);
    }
}


static void
test_backfill_is_said_when_it_is_decided(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);
    u->event.backfill = 1;

    (void) unit_render(u);

    assert_text(&u->json,
                HEAD "\"backfill\":true," METRIC ",\"properties\":{}"
                PROFILE "\"attributes\":{}" TAIL);
    assert_int_equal(u->aged, 0);

    /* nothing is left to decide */

    u->event.may_age = 1;

    assert_true(json_is_true(json_object_get(unit_attributes(unit_render(u)),
                                             "backfill")));
    assert_int_equal(u->aged, 0);
}


static void
test_false_may_become_true_in_place(void **state)
{
    json_t        *json;
    unit_event_t  *u;
    ngx_uint_t     aged;
    json_error_t   error;

    u = unit_event(state);
    u->event.may_age = 1;

    json = unit_render(u);
    aged = u->aged;

    assert_true(json_is_false(json_object_get(unit_attributes(json),
                                              "backfill")));
    assert_memory_equal(u->json.data + aged, "false,", 6);

    /* at the same offset, however long the event is */

    unit_property(u, "Name", unit_string("Scarf"));
    unit_profile(u, "id", unit_string("01J0"));
    ngx_str_set(&u->event.unique_id, "a-2222222222222222");

    (void) unit_render(u);

    assert_int_equal(u->aged, aged);

    ngx_memcpy(u->json.data + aged, "true ", 5);

    json = ngx_http_klaviyo_arena_keep(u->arena,
                        json_loadb((char *) u->json.data, u->json.len, 0,
                                   &error));

    assert_true(json_is_true(json_object_get(unit_attributes(json),
                                             "backfill")));
}


static void
test_no_byte_of_a_visitor_breaks_out_of_its_string(void **state)
{
    char           text[3];
    json_t        *json;
    ngx_uint_t     i;
    unit_event_t  *u;

    for (i = 1; i < 256; i++) {

        u = unit_event(state);

        text[0] = '\\';
        text[1] = (char) i;
        text[2] = '\0';

        unit_property(u, text, unit_string(text));
        unit_profile(u, "external_id", unit_string(text));
        unit_profile(u, "properties.p", unit_string(text));

        u->event.unique_id.data = (u_char *) text;
        u->event.unique_id.len = 2;
        u->event.time = u->event.unique_id;

        json = unit_render(u);

        assert_int_equal(json_object_size(unit_attributes(json)), 4);
        assert_int_equal(json_object_size(json_object_get(
                                              unit_attributes(json),
                                              "properties")),
                         1);

        if (i < 0x80) {
            json = json_object_get(unit_profile_of(json), "attributes");
            json = json_object_get(json, "external_id");
            assert_string_equal(json_string_value(json), text);
        }
    }
}


static void
test_value_is_a_number_that_fits_or_left_out(void **state)
{
    char           digits[401];
    ngx_uint_t     i;
    unit_event_t  *u;

    static char  *valid[] = {
        "0", "-1", "19.99", "1e5", "1E-400", "9223372036854775807",
        "-9223372036854775808", "12345678901234567890.5", "1e300"
    };

    static char  *invalid[] = {
        "1e999", "-1e400", "1E309", "9223372036854775808",
        "-9223372036854775809"
    };

    for (i = 0; i < sizeof(valid) / sizeof(char *); i++) {
        u = unit_event(state);
        u->event.value = unit_number(valid[i]);

        assert_true(json_is_number(json_object_get(
                                       unit_attributes(unit_render(u)),
                                       "value")));
        assert_int_equal(u->limits, 0);
    }

    for (i = 0; i < sizeof(invalid) / sizeof(char *); i++) {
        u = unit_event(state);
        u->event.value = unit_number(invalid[i]);

        assert_null(json_object_get(unit_attributes(unit_render(u)), "value"));
        assert_int_equal(u->limits, 1);
    }

    ngx_memset(digits, '9', 400);
    digits[400] = '\0';

    u = unit_event(state);
    u->event.value = unit_number(digits);

    assert_null(json_object_get(unit_attributes(unit_render(u)), "value"));
    assert_int_equal(u->limits, 1);
}


static void
test_value_of_another_type_is_left_out_and_counted(void **state)
{
    ngx_uint_t     i;
    unit_event_t  *u;

    ngx_http_klaviyo_data_t  data[] = {
        unit_string("39.5"),
        unit_string(""),
        unit_data(NGX_HTTP_KLAVIYO_TRUE, NULL),
        unit_tree(state, "[1]")
    };

    for (i = 0; i < sizeof(data) / sizeof(ngx_http_klaviyo_data_t); i++) {
        u = unit_event(state);
        u->event.value = data[i];

        assert_null(json_object_get(unit_attributes(unit_render(u)), "value"));
        assert_int_equal(u->limits, 1);
    }

    /* what a limit took was counted where that was */

    u = unit_event(state);
    u->event.value = unit_data(NGX_HTTP_KLAVIYO_UNKNOWN, NULL);
    u->event.currency = u->event.value;

    assert_null(json_object_get(unit_attributes(unit_render(u)), "value"));
    assert_int_equal(u->limits, 0);
}


static void
test_currency_is_three_capitals_or_left_out(void **state)
{
    ngx_uint_t     i;
    unit_event_t  *u;

    ngx_http_klaviyo_data_t  data[] = {
        unit_string("usd"),
        unit_string("US"),
        unit_string("USDX"),
        unit_string("US\""),
        unit_string("U\nD"),
        unit_string("\xE2\x82\xAC"),
        unit_string(""),
        unit_number("978"),
        unit_tree(state, "[\"USD\"]")
    };

    u = unit_event(state);
    u->event.currency = unit_string("RON");

    assert_string_equal(json_string_value(json_object_get(
                                              unit_attributes(unit_render(u)),
                                              "value_currency")),
                        "RON");

    for (i = 0; i < sizeof(data) / sizeof(ngx_http_klaviyo_data_t); i++) {
        u = unit_event(state);
        u->event.currency = data[i];

        assert_null(json_object_get(unit_attributes(unit_render(u)),
                                    "value_currency"));
        assert_int_equal(u->limits, 1);
    }

    /* what stands behind the text is not part of it */

    u = unit_event(state);
    u->event.currency = unit_string("USD");
    u->event.currency.text.len = 2;

    assert_null(json_object_get(unit_attributes(unit_render(u)),
                                "value_currency"));
}


static void
test_properties_end_after_as_many_as_are_allowed(void **state)
{
    char           name[16];
    json_t        *json;
    ngx_uint_t     i;
    unit_event_t  *u;

    u = unit_event(state);

    for (i = 0; i < 405; i++) {
        (void) snprintf(name, sizeof(name), "p%d", (int) i);

        /* what is empty takes no place */

        unit_property(u, name, unit_string((i % 100 == 7) ? "" : "x"));
    }

    json = json_object_get(unit_attributes(unit_render(u)), "properties");

    assert_int_equal(json_object_size(json), 400);
    assert_non_null(json_object_get(json, "p403"));
    assert_null(json_object_get(json, "p404"));
    assert_int_equal(u->limits, 1);
}


static void
test_properties_nest_as_deep_as_is_allowed(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    /* "properties" is the first level, "d2" is the second one */

    unit_property(u, "d2", unit_tree(state,
        "{\"d3\":{\"d4\":{\"d5\":{\"d6\":{\"d7\":{\"d8\":{\"d9\":{\"d10\":"
        "{\"x\":1,\"d11\":{\"y\":1}}}}}}}}}}"));

    unit_profile(u, "properties.d2", unit_tree(state,
        "{\"d3\":{\"d4\":{\"d5\":{\"d6\":{\"d7\":{\"d8\":{\"d9\":{\"d10\":"
        "{\"x\":1,\"d11\":{\"y\":1}}}}}}}}}}"));

    (void) unit_render(u);

    assert_text(&u->json,
        HEAD METRIC ",\"properties\":{\"d2\":{\"d3\":{\"d4\":{\"d5\":{\"d6\":"
        "{\"d7\":{\"d8\":{\"d9\":{\"d10\":{\"x\":1}}}}}}}}}}"
        PROFILE "\"attributes\":{\"properties\":{\"d2\":{\"d3\":{\"d4\":"
        "{\"d5\":{\"d6\":{\"d7\":{\"d8\":{\"d9\":{\"d10\":{\"x\":1}}}}}}}}}}}"
        TAIL);

    assert_int_equal(u->limits, 2);
}


static void
test_too_large_a_profile_loses_custom_properties_first(void **state)
{
    json_t        *json, *attributes;
    unit_event_t  *u;
    ngx_str_t     *text;

    u = unit_event(state);

    text = unit_fill(u->arena->pool, 'x', 60001);
    text->data[60000] = '\0';

    unit_profile(u, "properties.large", unit_string((char *) text->data));
    unit_profile(u, "properties.small", unit_string("p"));
    unit_profile(u, "location.city", unit_string("Brasov"));
    unit_profile(u, "title", unit_string((char *) text->data));
    unit_profile(u, "email", unit_string("a@b.co"));

    json = unit_profile_of(unit_render(u));
    attributes = json_object_get(json, "attributes");

    assert_non_null(json_object_get(attributes, "email"));
    assert_non_null(json_object_get(attributes, "title"));
    assert_non_null(json_object_get(attributes, "location"));

    json = json_object_get(attributes, "properties");

    assert_int_equal(json_object_size(json), 1);
    assert_non_null(json_object_get(json, "small"));
    assert_int_equal(u->limits, 1);
}


static void
test_too_large_a_profile_keeps_its_identifiers(void **state)
{
    json_t        *json;
    ngx_str_t     *text;
    ngx_uint_t     i;
    unit_event_t  *u;

    static char  *names[] = {
        "image", "email", "phone_number", "_kx", "external_id", "anonymous_id"
    };

    u = unit_event(state);

    text = unit_fill(u->arena->pool, '\1', 256);
    text->data[255] = '\0';

    /* 94 KB of a title leave no room for what is escaped to 1.5 KB each */

    for (i = 0; i < 6; i++) {
        unit_profile(u, names[i], unit_string((char *) text->data));
    }

    text = unit_fill(u->arena->pool, 'x', 94001);
    text->data[94000] = '\0';

    unit_profile(u, "title", unit_string((char *) text->data));
    unit_profile(u, "locale", unit_string("ro"));

    json = json_object_get(unit_profile_of(unit_render(u)), "attributes");

    assert_int_equal(json_object_size(json), 7);
    assert_null(json_object_get(json, "title"));
    assert_int_equal(u->limits, 1);
}


static void
test_a_profile_fills_its_limit_to_the_last_byte(void **state)
{
    size_t         room;
    u_char        *p;
    ngx_str_t     *text;
    ngx_uint_t     i;
    unit_event_t  *u;

    /* the largest text that fits, from above */

    text = unit_fill(((ngx_http_klaviyo_arena_t *) *state)->pool, 'x', 95001);
    room = 0;

    for (i = 95000; i > 94800; i--) {
        text->data[i] = '\0';

        u = unit_event(state);
        unit_profile(u, "location.city", unit_string("Brasov"));
        unit_profile(u, "properties.p", unit_string("p"));
        unit_profile(u, "title", unit_string((char *) text->data));
        unit_profile(u, "_kx", unit_string("k.C1"));

        (void) unit_render(u);

        p = ngx_strnstr(u->json.data, "\"profile\":{\"data\":", u->json.len)
            + sizeof("\"profile\":{\"data\":") - 1;

        room = u->json.data + u->json.len - 3 - p;

        assert_true(room <= NGX_HTTP_KLAVIYO_MAX_PROFILE);

        if (u->limits == 0) {
            break;
        }
    }

    assert_true(room > NGX_HTTP_KLAVIYO_MAX_PROFILE - 10);
}


static void
test_identifiers_and_attributes_are_strings(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    unit_profile(u, "external_id", unit_number("77"));
    unit_profile(u, "anonymous_id", unit_number("1.5"));
    unit_profile(u, "id", unit_number("5"));
    unit_profile(u, "first_name", unit_number("7"));
    unit_profile(u, "title", unit_data(NGX_HTTP_KLAVIYO_TRUE, NULL));
    unit_profile(u, "location.zip", unit_number("500001"));
    unit_profile(u, "location.latitude", unit_number("45.6427"));
    unit_profile(u, "location.longitude", unit_string("25.5887"));

    (void) unit_render(u);

    assert_text(&u->json,
        HEAD METRIC ",\"properties\":{}" PROFILE
        "\"id\":\"5\",\"attributes\":{\"external_id\":\"77\","
        "\"anonymous_id\":\"1.5\",\"first_name\":\"7\",\"title\":\"true\","
        "\"location\":{\"zip\":\"500001\",\"latitude\":45.6427,"
        "\"longitude\":\"25.5887\"}}" TAIL);

    u = unit_event(state);

    unit_profile(u, "location.longitude", unit_number("-0.1"));
    unit_profile(u, "location.latitude",
                 unit_data(NGX_HTTP_KLAVIYO_FALSE, NULL));

    (void) unit_render(u);

    assert_text(&u->json,
        HEAD METRIC ",\"properties\":{}" PROFILE "\"attributes\":{"
        "\"location\":{\"longitude\":-0.1}}" TAIL);
}


static void
test_places_that_are_none_are_left_out(void **state)
{
    ngx_uint_t     i;
    unit_event_t  *u;

    static char  *places[] = {
        "", "north", "+45.6", "4e1", "45,6", "45.", ".5", "0x1f"
    };

    static char  *addresses[] = {
        "unix:", "203.0.113.9, 10.0.0.1", "203.0.113", "203.0.113.256", "::g"
    };

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        u = unit_event(state);
        unit_profile(u, "location.latitude", unit_string(places[i]));
        (void) unit_render(u);

        assert_text(&u->json, HEAD METRIC ",\"properties\":{}" PROFILE
                    "\"attributes\":{}" TAIL);
    }

    for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        u = unit_event(state);
        unit_profile(u, "location.ip", unit_string(addresses[i]));
        (void) unit_render(u);

        assert_text(&u->json, HEAD METRIC ",\"properties\":{}" PROFILE
                    "\"attributes\":{}" TAIL);
    }

    u = unit_event(state);
    unit_profile(u, "location.longitude", unit_string("-25.5887"));
    unit_profile(u, "location.ip", unit_string("2001:db8::1"));
    (void) unit_render(u);

    assert_text(&u->json, HEAD METRIC ",\"properties\":{}" PROFILE
                "\"attributes\":{\"location\":{\"longitude\":\"-25.5887\","
                "\"ip\":\"2001:db8::1\"}}" TAIL);
}


static void
test_custom_properties_keep_their_types(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    unit_profile(u, "properties.n", unit_number("7"));
    unit_profile(u, "properties.latitude", unit_number("8"));
    unit_profile(u, "properties.t", unit_data(NGX_HTTP_KLAVIYO_TRUE, NULL));
    unit_profile(u, "properties.o", unit_tree(state, "{\"a\":[1,null]}"));

    (void) unit_render(u);

    assert_text(&u->json,
        HEAD METRIC ",\"properties\":{}" PROFILE
        "\"attributes\":{\"properties\":{\"n\":7,\"latitude\":8,\"t\":true,"
        "\"o\":{\"a\":[1]}}}" TAIL);
}


static void
test_what_can_be_no_string_is_left_out_and_counted(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    unit_profile(u, "first_name", unit_tree(state, "[\"Ana\"]"));
    unit_profile(u, "location.city", unit_tree(state, "{\"a\":1}"));
    unit_profile(u, "email", unit_tree(state, "[\"a@b.co\"]"));

    (void) unit_render(u);

    assert_text(&u->json,
                HEAD METRIC ",\"properties\":{}"
                PROFILE "\"attributes\":{}" TAIL);
    assert_int_equal(u->limits, 3);
}


static void
test_urls_lose_what_names_the_visitor(void **state)
{
    unit_event_t  *u;

    u = unit_event(state);

    unit_property(u, "URL", unit_string("https://s.dev/p?_kx=a.b&v=1"));
    unit_property(u, "Items",
                  unit_tree(state, "[{\"u\":\"https://s.dev/?utm_email=x\"}]"));
    unit_property(u, "Text", unit_string("see ?_kx=a.b"));

    unit_profile(u, "image", unit_string("https://s.dev/i?_ke=a"));
    unit_profile(u, "properties.from", unit_string("http://s.dev/?_KX=a#f"));

    (void) unit_render(u);

    assert_text(&u->json,
        HEAD METRIC ",\"properties\":{\"URL\":\"https://s.dev/p?v=1\","
        "\"Items\":[{\"u\":\"https://s.dev/\"}],\"Text\":\"see ?_kx=a.b\"}"
        PROFILE "\"attributes\":{\"image\":\"https://s.dev/i\","
        "\"properties\":{\"from\":\"http://s.dev/#f\"}}" TAIL);
}


static void
test_an_url_that_can_not_be_cleaned_is_not_sent(void **state)
{
    json_t        *json;
    ngx_str_t     *url;
    unit_event_t  *u;

    u = unit_event(state);

    url = unit_fill(u->arena->pool, 'x', 20001);
    ngx_memcpy(url->data, "https://s.dev/?_kx=a.b&", 23);
    url->data[20000] = '\0';

    unit_property(u, "URL", unit_string((char *) url->data));
    unit_property(u, "Name", unit_string("Scarf"));

    u->arena->left = 10000;

    assert_int_equal(ngx_http_klaviyo_event_render(u->arena, &u->event,
                                                   &u->json, &u->aged,
                                                   &u->limits),
                     NGX_OK);

    u->arena->left = 10000;

    json = json_object_get(unit_attributes(unit_render(u)), "properties");

    assert_int_equal(json_object_size(json), 1);
    assert_non_null(json_object_get(json, "Name"));
}


static void
test_no_room_in_the_arena_is_an_error(void **state)
{
    ngx_str_t     *text;
    unit_event_t  *u;

    u = unit_event(state);

    text = unit_fill(u->arena->pool, 'x', 20001);
    text->data[20000] = '\0';

    unit_property(u, "Text", unit_string((char *) text->data));

    u->arena->left = 20000;

    assert_int_equal(ngx_http_klaviyo_event_render(u->arena, &u->event,
                                                   &u->json, &u->aged,
                                                   &u->limits),
                     NGX_ERROR);

    assert_int_equal(u->arena->limits, 1);
}


static void
test_worst_cases_fit(void **state)
{
    ngx_uint_t     i, n;
    ngx_str_t     *text;
    unit_event_t  *u;

    /* around what is written without a look before, and where that is */

    for (n = 250; n < 260; n++) {

        for (i = 1; i < 14; i++) {
            u = unit_event(state);
            text = unit_fill(u->arena->pool, '\1', n);
            text->data[n - 1] = '\0';

            while (u->event.nproperties < i) {
                unit_property(u, "Text", unit_string((char *) text->data));
            }

            u->event.unique_id.data = text->data;
            u->event.unique_id.len = n - 1;

            assert_int_equal(ngx_http_klaviyo_event_render(u->arena, &u->event,
                                                           &u->json, &u->aged,
                                                           &u->limits),
                             NGX_OK);

            assert_true(u->json.len > (i + 1) * 6 * (n - 1));
        }
    }
}


static void
test_one_buffer_is_all_that_plain_values_take(void **state)
{
    size_t         left;
    unit_event_t  *u;

    u = unit_event(state);

    unit_property(u, "URL", unit_string("https://s.dev/p?v=1"));
    unit_property(u, "Price", unit_number("39.5"));
    unit_profile(u, "external_id", unit_number("77"));
    u->event.value = unit_number("39.5");

    left = u->arena->left;

    assert_int_equal(ngx_http_klaviyo_event_render(u->arena, &u->event,
                                                   &u->json, &u->aged,
                                                   &u->limits),
                     NGX_OK);

    assert_true(left - u->arena->left < u->json.len + 128);
}


static void
test_names_are_escaped(void **state)
{
    ngx_str_t                  key, metric;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_int_equal(ngx_http_klaviyo_event_key(arena->pool,
                                                unit_str("a\"\\\n\xff" "b.c"),
                                                &key),
                     NGX_OK);
    assert_text(&key, "\"a\\\"\\\\\\n\xEF\xBF\xBD" "b.c\":");

    assert_int_equal(ngx_http_klaviyo_event_metric(arena->pool,
                                                   unit_str("a\"b"),
                                                   unit_str("c\\d"), &metric),
                     NGX_OK);
    assert_text(&metric, "{\"data\":{\"type\":\"metric\",\"attributes\":"
                         "{\"name\":\"a\\\"b\",\"service\":\"c\\\\d\"}}}");
}


static void
test_fields_are_those_that_klaviyo_has(void **state)
{
    ngx_str_t                  name, key;
    ngx_uint_t                 i;
    ngx_http_klaviyo_field_e   field;
    ngx_http_klaviyo_arena_t  *arena;

    static struct {
        char                      *name;
        ngx_http_klaviyo_field_e   field;
        char                      *key;
    } fields[] = {
        { "email", NGX_HTTP_KLAVIYO_EMAIL, "\"email\":" },
        { "phone_number", NGX_HTTP_KLAVIYO_PHONE_NUMBER, "\"phone_number\":" },
        { "id", NGX_HTTP_KLAVIYO_PROFILE_ID, "\"id\":" },
        { "_kx", NGX_HTTP_KLAVIYO_KX, "\"_kx\":" },
        { "external_id", NGX_HTTP_KLAVIYO_EXTERNAL_ID, "\"external_id\":" },
        { "anonymous_id", NGX_HTTP_KLAVIYO_ANONYMOUS_ID, "\"anonymous_id\":" },
        { "first_name", NGX_HTTP_KLAVIYO_ATTRIBUTE, "\"first_name\":" },
        { "last_name", NGX_HTTP_KLAVIYO_ATTRIBUTE, "\"last_name\":" },
        { "organization", NGX_HTTP_KLAVIYO_ATTRIBUTE, "\"organization\":" },
        { "locale", NGX_HTTP_KLAVIYO_ATTRIBUTE, "\"locale\":" },
        { "title", NGX_HTTP_KLAVIYO_ATTRIBUTE, "\"title\":" },
        { "image", NGX_HTTP_KLAVIYO_ATTRIBUTE, "\"image\":" },
        { "location.address1", NGX_HTTP_KLAVIYO_LOCATION, "\"address1\":" },
        { "location.address2", NGX_HTTP_KLAVIYO_LOCATION, "\"address2\":" },
        { "location.city", NGX_HTTP_KLAVIYO_LOCATION, "\"city\":" },
        { "location.country", NGX_HTTP_KLAVIYO_LOCATION, "\"country\":" },
        { "location.latitude", NGX_HTTP_KLAVIYO_LOCATION, "\"latitude\":" },
        { "location.longitude", NGX_HTTP_KLAVIYO_LOCATION, "\"longitude\":" },
        { "location.region", NGX_HTTP_KLAVIYO_LOCATION, "\"region\":" },
        { "location.zip", NGX_HTTP_KLAVIYO_LOCATION, "\"zip\":" },
        { "location.timezone", NGX_HTTP_KLAVIYO_LOCATION, "\"timezone\":" },
        { "location.ip", NGX_HTTP_KLAVIYO_LOCATION, "\"ip\":" },
        { "properties.tier", NGX_HTTP_KLAVIYO_PROFILE_PROPERTY, "\"tier\":" },
        { "properties.a.b", NGX_HTTP_KLAVIYO_PROFILE_PROPERTY, "\"a.b\":" },
        { "properties.$x", NGX_HTTP_KLAVIYO_PROFILE_PROPERTY, "\"$x\":" }
    };

    static char  *none[] = {
        "", "e", "Email", "emails", "kx", "$exchange_id", "phone", "name",
        "location", "location.", "location.street", "city", "properties",
        "properties.", "meta", "subscriptions", "properties_x"
    };

    arena = *state;

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        name.data = (u_char *) fields[i].name;
        name.len = ngx_strlen(name.data);

        assert_int_equal(ngx_http_klaviyo_event_field(arena->pool, &name,
                                                      &field, &key),
                         NGX_OK);
        assert_int_equal(field, fields[i].field);
        assert_int_equal(key.len, ngx_strlen(fields[i].key));
        assert_memory_equal(key.data, fields[i].key, key.len);
    }

    for (i = 0; i < sizeof(none) / sizeof(char *); i++) {
        name.data = (u_char *) none[i];
        name.len = ngx_strlen(name.data);

        assert_int_equal(ngx_http_klaviyo_event_field(arena->pool, &name,
                                                      &field, &key),
                         NGX_DECLINED);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_an_event_has_exactly_the_keys_of_its_values),
        unit_arena_test(
                 test_an_event_of_nothing_has_empty_properties_and_attributes),
        unit_arena_test(
                  test_members_without_a_value_are_left_out_with_their_commas),
        unit_arena_test(test_backfill_is_said_when_it_is_decided),
        unit_arena_test(test_false_may_become_true_in_place),
        unit_arena_test(test_no_byte_of_a_visitor_breaks_out_of_its_string),
        unit_arena_test(test_value_is_a_number_that_fits_or_left_out),
        unit_arena_test(test_value_of_another_type_is_left_out_and_counted),
        unit_arena_test(test_currency_is_three_capitals_or_left_out),
        unit_arena_test(test_properties_end_after_as_many_as_are_allowed),
        unit_arena_test(test_properties_nest_as_deep_as_is_allowed),
        unit_arena_test(test_too_large_a_profile_loses_custom_properties_first),
        unit_arena_test(test_too_large_a_profile_keeps_its_identifiers),
        unit_arena_test(test_a_profile_fills_its_limit_to_the_last_byte),
        unit_arena_test(test_identifiers_and_attributes_are_strings),
        unit_arena_test(test_places_that_are_none_are_left_out),
        unit_arena_test(test_custom_properties_keep_their_types),
        unit_arena_test(test_what_can_be_no_string_is_left_out_and_counted),
        unit_arena_test(test_urls_lose_what_names_the_visitor),
        unit_arena_test(test_an_url_that_can_not_be_cleaned_is_not_sent),
        unit_arena_test(test_no_room_in_the_arena_is_an_error),
        unit_arena_test(test_worst_cases_fit),
        unit_arena_test(test_one_buffer_is_all_that_plain_values_take),
        unit_arena_test(test_names_are_escaped),
        unit_arena_test(test_fields_are_those_that_klaviyo_has)
    };

    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
