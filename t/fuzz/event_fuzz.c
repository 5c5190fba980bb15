
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Events: what is rendered is JSON with exactly the keys that Klaviyo knows,
 * within its limits.  One line each: time, unique_id, value, currency; then
 * members, a line each: "p" or the number of a profile's field, and a value as
 * fuzz_data() reads it.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_event.h"


#define FUZZ_MEMBERS  500


static ngx_http_klaviyo_member_t  fuzz_properties[FUZZ_MEMBERS];
static ngx_http_klaviyo_member_t  fuzz_profile[FUZZ_MEMBERS];
static ngx_str_t                  fuzz_metric;


static void fuzz_members(fuzz_t *f, ngx_http_klaviyo_event_t *event);
static ngx_str_t fuzz_key(fuzz_t *f, ngx_uint_t n);
static void fuzz_rendered(ngx_str_t *text);
static void fuzz_event(json_t *json);
static void fuzz_limits(json_t *json, ngx_uint_t depth);


void
fuzz_init(ngx_pool_t *pool)
{
    assert_int_equal(ngx_http_klaviyo_event_metric(pool, unit_str("Viewed"),
                                                   unit_str("Shop"),
                                                   &fuzz_metric),
                     NGX_OK);
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t                  line, json;
    ngx_uint_t                 aged, limits;
    ngx_http_klaviyo_event_t   event;

    ngx_memzero(&event, sizeof(ngx_http_klaviyo_event_t));

    event.metric = fuzz_metric;
    event.time = fuzz_line(f);
    event.unique_id = fuzz_line(f);

    line = fuzz_line(f);
    fuzz_data(f, &event.value, &line);
    line = fuzz_line(f);
    fuzz_data(f, &event.currency, &line);

    if (event.value.type != NGX_HTTP_KLAVIYO_NUMBER) {
        event.value.type = NGX_HTTP_KLAVIYO_MISSING;
    }

    if (event.currency.type != NGX_HTTP_KLAVIYO_STRING) {
        event.currency.type = NGX_HTTP_KLAVIYO_MISSING;
    }

    event.may_age = event.time.len & 1;
    event.backfill = !event.may_age && event.unique_id.len & 1;

    fuzz_members(f, &event);

    aged = 0;
    limits = 0;

    if (ngx_http_klaviyo_event_render(&f->arena, &event, &json, &aged, &limits)
        != NGX_OK)
    {
        assert_int_not_equal(f->arena.limits, 0);
        return;
    }

    if (event.may_age) {
        assert_in_range(aged, 1, json.len - sizeof("false"));
        assert_memory_equal(json.data + aged, "false", sizeof("false") - 1);

    } else {
        assert_int_equal(aged, 0);
    }

    json = fuzz_copy(f, &json);
    fuzz_rendered(&json);

    if (event.may_age) {
        ngx_memcpy(json.data + aged, "true ", sizeof("true ") - 1);
        fuzz_rendered(&json);
    }
}


static void
fuzz_members(fuzz_t *f, ngx_http_klaviyo_event_t *event)
{
    ngx_str_t                   line;
    ngx_uint_t                  n, what;
    ngx_http_klaviyo_member_t  *member;

    event->properties = fuzz_properties;
    event->profile = fuzz_profile;

    for (n = 0; n < FUZZ_MEMBERS && f->pos < f->last; n++) {
        what = fuzz_byte(f);

        if (what >= '0' && what <= '8') {
            member = &fuzz_profile[event->nprofile++];
            member->field = what - '0';

        } else {
            member = &fuzz_properties[event->nproperties++];
        }

        member->key = fuzz_key(f, n);

        /* a text as long as the rest, if it is the last one */

        line = (what == 'P') ? fuzz_rest(f) : fuzz_line(f);
        fuzz_data(f, &member->data, &line);

        if (what == 'P') {
            break;
        }
    }
}


/* a name is the configuration's: no visitor chooses it */

static ngx_str_t
fuzz_key(fuzz_t *f, ngx_uint_t n)
{
    u_char      buf[NGX_INT_T_LEN + 1];
    ngx_str_t   name, key;

    name.data = buf;
    name.len = ngx_sprintf(buf, "k%ui", n) - buf;

    assert_int_equal(ngx_http_klaviyo_event_key(f->pool, &name, &key), NGX_OK);

    return key;
}


static void
fuzz_rendered(ngx_str_t *text)
{
    json_t  *json, *attributes, *events, *profile;

    json = fuzz_load(text->data, text->len);

    assert_string_equal(json_string_value(json_object_get(json, "type")),
                        "event-bulk-create");

    attributes = json_object_get(json, "attributes");
    assert_int_equal(json_object_size(attributes), 2);

    events = json_object_get(json_object_get(attributes, "events"), "data");
    assert_int_equal(json_array_size(events), 1);

    fuzz_event(json_object_get(json_array_get(events, 0), "attributes"));

    profile = json_object_get(json_object_get(attributes, "profile"), "data");
    assert_string_equal(json_string_value(json_object_get(profile, "type")),
                        "profile");
    fuzz_limits(profile, 0);

    json_decref(json);
}


static void
fuzz_event(json_t *json)
{
    json_t      *value;
    const char  *name;

    assert_true(json_is_object(json));
    assert_true(json_is_object(json_object_get(json, "metric")));

    json_object_foreach(json, name, value) {

        if (strcmp(name, "time") == 0 || strcmp(name, "unique_id") == 0) {
            assert_true(json_is_string(value));

        } else if (strcmp(name, "value") == 0) {
            assert_true(json_is_number(value));

        } else if (strcmp(name, "value_currency") == 0) {
            assert_int_equal(json_string_length(value), 3);

        } else if (strcmp(name, "backfill") == 0) {
            assert_true(json_is_boolean(value));

        } else if (strcmp(name, "properties") == 0) {
            assert_in_range(json_object_size(value), 0,
                            NGX_HTTP_KLAVIYO_MAX_PROPERTIES);
            fuzz_limits(value, 0);

        } else {
            assert_string_equal(name, "metric");
        }
    }
}


static void
fuzz_limits(json_t *json, ngx_uint_t depth)
{
    size_t       i;
    json_t      *value;
    const char  *name;

    switch (json_typeof(json)) {

    case JSON_OBJECT:
        assert_in_range(depth, 0, NGX_HTTP_KLAVIYO_MAX_DEPTH);

        json_object_foreach(json, name, value) {
            assert_int_not_equal(name[0], '\0');
            fuzz_limits(value, depth + 1);
        }

        break;

    case JSON_ARRAY:
        assert_in_range(depth, 0, NGX_HTTP_KLAVIYO_MAX_DEPTH);
        assert_in_range(json_array_size(json), 0, NGX_HTTP_KLAVIYO_MAX_ITEMS);

        json_array_foreach(json, i, value) {
            fuzz_limits(value, depth + 1);
        }

        break;

    case JSON_STRING:
        assert_in_range(json_string_length(json), 1,
                        NGX_HTTP_KLAVIYO_MAX_STRING);
        break;

    default:
        assert_false(json_is_null(json));
    }
}
