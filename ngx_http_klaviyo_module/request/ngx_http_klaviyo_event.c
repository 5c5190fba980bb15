
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * An event as one entry of Klaviyo's bulk request.  It is rendered in two
 * passes: the first decides what is sent and how much room that may take, the
 * second writes it.  The events stand before the profile, so that
 * "backfill":false, which the background process may overwrite, is always at
 * the same offset.
 */


#include "ngx_http_klaviyo_event.h"
#include "ngx_http_klaviyo_profile.h"
#include "ngx_http_klaviyo_url.h"


/* what a byte of a text may take: \u001f */
#define NGX_HTTP_KLAVIYO_EVENT_WORST   6

/* where nearly every event is rendered */
#define NGX_HTTP_KLAVIYO_EVENT_BUFFER  16384

/* up to this many digits every integer has 64 bits */
#define NGX_HTTP_KLAVIYO_EVENT_DIGITS  18


#define NGX_HTTP_KLAVIYO_EVENT_HEAD                                           \
    "{\"type\":\"event-bulk-create\",\"attributes\":{\"events\":{\"data\":["  \
    "{\"type\":\"event\",\"attributes\":{"

#define NGX_HTTP_KLAVIYO_EVENT_BACKFILL    "\"backfill\":true,"
#define NGX_HTTP_KLAVIYO_EVENT_MAY_AGE     "\"backfill\":false,"
#define NGX_HTTP_KLAVIYO_EVENT_TIME        "\"time\":\""
#define NGX_HTTP_KLAVIYO_EVENT_ID          "\",\"unique_id\":\""
#define NGX_HTTP_KLAVIYO_EVENT_METRIC      "\",\"metric\":"
#define NGX_HTTP_KLAVIYO_EVENT_VALUE       ",\"value\":"
#define NGX_HTTP_KLAVIYO_EVENT_CURRENCY    ",\"value_currency\":\""
#define NGX_HTTP_KLAVIYO_EVENT_PROPERTIES  ",\"properties\":{"
#define NGX_HTTP_KLAVIYO_EVENT_PROFILE     "}}}]},\"profile\":{\"data\":"
#define NGX_HTTP_KLAVIYO_EVENT_TAIL        "}}}"

#define NGX_HTTP_KLAVIYO_METRIC_HEAD                                          \
    "{\"data\":{\"type\":\"metric\",\"attributes\":{\"name\":\""
#define NGX_HTTP_KLAVIYO_METRIC_SERVICE    "\",\"service\":\""
#define NGX_HTTP_KLAVIYO_METRIC_TAIL       "\"}}}"

/* the whole entry without what differs */
#define NGX_HTTP_KLAVIYO_EVENT_FRAME                                          \
    (sizeof(NGX_HTTP_KLAVIYO_EVENT_HEAD NGX_HTTP_KLAVIYO_EVENT_MAY_AGE        \
            NGX_HTTP_KLAVIYO_EVENT_TIME NGX_HTTP_KLAVIYO_EVENT_ID             \
            NGX_HTTP_KLAVIYO_EVENT_METRIC NGX_HTTP_KLAVIYO_EVENT_VALUE        \
            NGX_HTTP_KLAVIYO_EVENT_CURRENCY "USD\""                           \
            NGX_HTTP_KLAVIYO_EVENT_PROPERTIES NGX_HTTP_KLAVIYO_EVENT_PROFILE  \
            NGX_HTTP_KLAVIYO_EVENT_TAIL) - 1)


typedef struct {
    ngx_str_t                  name;
    ngx_http_klaviyo_field_e   field;
} ngx_http_klaviyo_event_field_t;


static size_t ngx_http_klaviyo_event_settle_value(
    ngx_http_klaviyo_event_t *event, ngx_uint_t *limits);
static ngx_uint_t ngx_http_klaviyo_event_fits(ngx_str_t *number);
static void ngx_http_klaviyo_event_settle_currency(
    ngx_http_klaviyo_data_t *data, ngx_uint_t *limits);
static size_t ngx_http_klaviyo_event_settle_properties(
    ngx_http_klaviyo_arena_t *arena, ngx_http_klaviyo_event_t *event,
    ngx_uint_t *limits);
static size_t ngx_http_klaviyo_event_room(ngx_http_klaviyo_data_t *data,
    ngx_uint_t *limits);
static u_char *ngx_http_klaviyo_event_write_event(u_char *p,
    ngx_http_klaviyo_event_t *event, ngx_uint_t *aged);
static u_char *ngx_http_klaviyo_event_write_value(u_char *p,
    ngx_http_klaviyo_event_t *event);


static ngx_http_klaviyo_event_field_t  ngx_http_klaviyo_event_fields[] = {
    { ngx_string("email"), NGX_HTTP_KLAVIYO_EMAIL },
    { ngx_string("phone_number"), NGX_HTTP_KLAVIYO_PHONE_NUMBER },
    { ngx_string("id"), NGX_HTTP_KLAVIYO_PROFILE_ID },
    { ngx_string("_kx"), NGX_HTTP_KLAVIYO_KX },
    { ngx_string("external_id"), NGX_HTTP_KLAVIYO_EXTERNAL_ID },
    { ngx_string("anonymous_id"), NGX_HTTP_KLAVIYO_ANONYMOUS_ID },
    { ngx_string("first_name"), NGX_HTTP_KLAVIYO_ATTRIBUTE },
    { ngx_string("last_name"), NGX_HTTP_KLAVIYO_ATTRIBUTE },
    { ngx_string("organization"), NGX_HTTP_KLAVIYO_ATTRIBUTE },
    { ngx_string("locale"), NGX_HTTP_KLAVIYO_ATTRIBUTE },
    { ngx_string("title"), NGX_HTTP_KLAVIYO_ATTRIBUTE },
    { ngx_string("image"), NGX_HTTP_KLAVIYO_ATTRIBUTE },
    { ngx_string("location.address1"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.address2"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.city"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.country"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.latitude"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.longitude"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.region"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.zip"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.timezone"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_string("location.ip"), NGX_HTTP_KLAVIYO_LOCATION },
    { ngx_null_string, 0 }
};


ngx_int_t
ngx_http_klaviyo_event_render(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_event_t *event, ngx_str_t *json, ngx_uint_t *aged,
    ngx_uint_t *limits)
{
    u_char  *p;
    size_t   len;

    static u_char  buffer[NGX_HTTP_KLAVIYO_EVENT_BUFFER];

    ngx_http_klaviyo_event_settle_currency(&event->currency, limits);

    len = NGX_HTTP_KLAVIYO_EVENT_FRAME
          + NGX_HTTP_KLAVIYO_EVENT_WORST * event->time.len
          + NGX_HTTP_KLAVIYO_EVENT_WORST * event->unique_id.len
          + event->metric.len
          + ngx_http_klaviyo_event_settle_value(event, limits)
          + ngx_http_klaviyo_event_settle_properties(arena, event, limits)
          + ngx_http_klaviyo_profile_settle(arena, event->profile,
                                            event->nprofile, limits);

    p = buffer;

    if (len > NGX_HTTP_KLAVIYO_EVENT_BUFFER) {
        p = ngx_http_klaviyo_arena_alloc(arena, len);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    json->data = p;

    p = ngx_http_klaviyo_event_write_event(p, event, aged);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_PROFILE);

    event->profile_at = p - json->data;

    p = ngx_http_klaviyo_profile_write(p, event->profile, event->nprofile);
    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_TAIL);

    json->len = p - json->data;

    return NGX_OK;
}


static size_t
ngx_http_klaviyo_event_settle_value(ngx_http_klaviyo_event_t *event,
    ngx_uint_t *limits)
{
    ngx_http_klaviyo_data_t  *data;

    data = &event->value;

    if (ngx_http_klaviyo_data_is_missing(data)) {
        return 0;
    }

    if (data->type != NGX_HTTP_KLAVIYO_NUMBER
        || !ngx_http_klaviyo_event_fits(&data->text))
    {
        ngx_http_klaviyo_data_missing(data);
        (*limits)++;
        return 0;
    }

    return data->text.len;
}


/* Klaviyo takes integers of 64 bits, and what is finite as a double. */

static ngx_uint_t
ngx_http_klaviyo_event_fits(ngx_str_t *number)
{
    size_t         i;
    json_t        *json;
    json_error_t   error;

    if (number->len <= NGX_HTTP_KLAVIYO_EVENT_DIGITS) {

        for (i = 0; i < number->len; i++) {
            if ((number->data[i] | 0x20) == 'e') {
                break;
            }
        }

        if (i == number->len) {
            return 1;
        }
    }

    /* jansson refuses what overflows either */

    json = json_loadb((char *) number->data, number->len, JSON_DECODE_ANY,
                      &error);
    if (json == NULL) {
        return 0;
    }

    json_decref(json);

    return 1;
}


static void
ngx_http_klaviyo_event_settle_currency(ngx_http_klaviyo_data_t *data,
    ngx_uint_t *limits)
{
    size_t  i;

    if (ngx_http_klaviyo_data_is_missing(data)) {
        return;
    }

    if (data->type == NGX_HTTP_KLAVIYO_STRING && data->text.len == 3) {

        for (i = 0; i < 3; i++) {
            if (data->text.data[i] < 'A' || data->text.data[i] > 'Z') {
                break;
            }
        }

        if (i == 3) {
            return;
        }
    }

    ngx_http_klaviyo_data_missing(data);
    (*limits)++;
}


static size_t
ngx_http_klaviyo_event_settle_properties(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_event_t *event, ngx_uint_t *limits)
{
    size_t                      len, size;
    ngx_uint_t                  i, n;
    ngx_http_klaviyo_member_t  *member;

    n = 0;
    size = 0;
    member = event->properties;

    for (i = 0; i < event->nproperties; i++) {

        /* a URL that there is no room to clean is unknown, hence left out */

        (void) ngx_http_klaviyo_url_scrub(arena, &member[i].data);

        len = ngx_http_klaviyo_event_room(&member[i].data, limits);

        if (len && n == NGX_HTTP_KLAVIYO_MAX_PROPERTIES) {
            (*limits)++;
            len = 0;
        }

        if (len == 0) {
            ngx_http_klaviyo_data_missing(&member[i].data);
            continue;
        }

        size += member[i].key.len + len + 1;
        n++;
    }

    return size;
}


/* How much the value may take; 0: there is nothing to send. */

static size_t
ngx_http_klaviyo_event_room(ngx_http_klaviyo_data_t *data, ngx_uint_t *limits)
{
    if (ngx_http_klaviyo_profile_short(data)) {
        return NGX_HTTP_KLAVIYO_EVENT_WORST * data->text.len + 2;
    }

    return ngx_http_klaviyo_json_write(NULL, data,
                                       NGX_HTTP_KLAVIYO_PROFILE_DEPTH, limits);
}


static u_char *
ngx_http_klaviyo_event_write_event(u_char *p, ngx_http_klaviyo_event_t *event,
    ngx_uint_t *aged)
{
    ngx_uint_t  i;

    *aged = 0;

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_HEAD);

    if (event->backfill) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_BACKFILL);

    } else if (event->may_age) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_MAY_AGE);
        *aged = sizeof(NGX_HTTP_KLAVIYO_EVENT_HEAD "\"backfill\":") - 1;
    }

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_TIME);
    p += ngx_http_klaviyo_json_escape(p, event->time.data, event->time.len);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_ID);
    p += ngx_http_klaviyo_json_escape(p, event->unique_id.data,
                                      event->unique_id.len);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_METRIC);
    p = ngx_cpymem(p, event->metric.data, event->metric.len);

    p = ngx_http_klaviyo_event_write_value(p, event);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_PROPERTIES);

    for (i = 0; i < event->nproperties; i++) {
        p = ngx_http_klaviyo_profile_member(p, &event->properties[i]);
    }

    ngx_http_klaviyo_profile_uncomma(p);

    return p;
}


static u_char *
ngx_http_klaviyo_event_write_value(u_char *p, ngx_http_klaviyo_event_t *event)
{
    if (!ngx_http_klaviyo_data_is_missing(&event->value)) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_VALUE);
        p = ngx_cpymem(p, event->value.text.data, event->value.text.len);
    }

    if (!ngx_http_klaviyo_data_is_missing(&event->currency)) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_EVENT_CURRENCY);
        p = ngx_cpymem(p, event->currency.text.data, 3);
        *p++ = '"';
    }

    return p;
}


ngx_int_t
ngx_http_klaviyo_event_identify(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *json, size_t profile_at, ngx_http_klaviyo_member_t *who,
    ngx_str_t *out)
{
    u_char     *p;
    size_t      head;
    ngx_str_t   text;

    head = profile_at + sizeof(NGX_HTTP_KLAVIYO_PROFILE_HEAD) - 1;

    if (who->field != NGX_HTTP_KLAVIYO_PROFILE_ID) {
        head += sizeof(NGX_HTTP_KLAVIYO_PROFILE_BODY) - 1;
    }

    if (head >= json->len
        || ngx_http_klaviyo_data_text(&who->data, &text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, json->len + who->key.len
                          + NGX_HTTP_KLAVIYO_EVENT_WORST * text.len + 3);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;

    p = ngx_cpymem(p, json->data, head);
    p = ngx_cpymem(p, who->key.data, who->key.len);
    *p++ = '"';
    p += ngx_http_klaviyo_json_escape(p, text.data, text.len);
    *p++ = '"';

    if (json->data[head] != '}') {
        *p++ = ',';
    }

    p = ngx_cpymem(p, json->data + head, json->len - head);

    out->len = p - out->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_event_key(ngx_pool_t *pool, ngx_str_t *name, ngx_str_t *key)
{
    u_char  *p;
    size_t   len;

    len = ngx_http_klaviyo_json_escape(NULL, name->data, name->len)
          + sizeof("\"\":") - 1;

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->len = len;
    key->data = p;

    *p++ = '"';
    p += ngx_http_klaviyo_json_escape(p, name->data, name->len);
    *p++ = '"';
    *p = ':';

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_event_metric(ngx_pool_t *pool, ngx_str_t *name,
    ngx_str_t *service, ngx_str_t *metric)
{
    u_char  *p;
    size_t   len;

    len = sizeof(NGX_HTTP_KLAVIYO_METRIC_HEAD NGX_HTTP_KLAVIYO_METRIC_SERVICE
                 NGX_HTTP_KLAVIYO_METRIC_TAIL) - 1
          + ngx_http_klaviyo_json_escape(NULL, name->data, name->len)
          + ngx_http_klaviyo_json_escape(NULL, service->data, service->len);

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    metric->data = p;

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_METRIC_HEAD);
    p += ngx_http_klaviyo_json_escape(p, name->data, name->len);

    if (service->len) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_METRIC_SERVICE);
        p += ngx_http_klaviyo_json_escape(p, service->data, service->len);
    }

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_METRIC_TAIL);

    metric->len = p - metric->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_event_field(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_klaviyo_field_e *field, ngx_str_t *key)
{
    size_t                           prefix;
    ngx_str_t                        last;
    ngx_http_klaviyo_event_field_t  *f;

    prefix = sizeof("properties.") - 1;

    if (name->len > prefix
        && ngx_strncmp(name->data, "properties.", prefix) == 0)
    {
        *field = NGX_HTTP_KLAVIYO_PROFILE_PROPERTY;

    } else {

        for (f = ngx_http_klaviyo_event_fields; f->name.len; f++) {
            if (f->name.len == name->len
                && ngx_strncmp(f->name.data, name->data, name->len) == 0)
            {
                break;
            }
        }

        if (f->name.len == 0) {
            return NGX_DECLINED;
        }

        *field = f->field;

        prefix = (f->field == NGX_HTTP_KLAVIYO_LOCATION)
                 ? sizeof("location.") - 1 : 0;
    }

    last.data = name->data + prefix;
    last.len = name->len - prefix;

    return ngx_http_klaviyo_event_key(pool, &last, key);
}
