
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Profiles as Klaviyo takes them.  In two passes, as events are: the first
 * decides what is sent and how much room that may take, the second writes it.
 */


#include "ngx_http_klaviyo_profile.h"
#include "ngx_http_klaviyo_decimal.h"
#include "ngx_http_klaviyo_url.h"


#define NGX_HTTP_KLAVIYO_PROFILE_LOCATION  "\"location\":{"
#define NGX_HTTP_KLAVIYO_PROFILE_CUSTOM    "\"properties\":{"
#define NGX_HTTP_KLAVIYO_PROFILE_TAIL      "}}"

/* the profile without any member; 4 are the ends of location and properties */
#define NGX_HTTP_KLAVIYO_PROFILE_FRAME                                        \
    (sizeof(NGX_HTTP_KLAVIYO_PROFILE_HEAD NGX_HTTP_KLAVIYO_PROFILE_BODY       \
            NGX_HTTP_KLAVIYO_PROFILE_LOCATION NGX_HTTP_KLAVIYO_PROFILE_CUSTOM \
            NGX_HTTP_KLAVIYO_PROFILE_TAIL) - 1 + 4)

#define NGX_HTTP_KLAVIYO_SUBSCRIBE_HEAD                                       \
    "{\"type\":\"profile-subscription-bulk-create-job\",\"attributes\":{"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_SOURCE      "\"custom_source\":\""
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_HISTORICAL  "\"historical_import\":true,"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_PROFILES                                   \
    "\"profiles\":{\"data\":[{\"type\":\"profile\","
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_CHANNELS    "\"subscriptions\":{"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_EMAIL       "\"email\":"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_SMS         "\"sms\":"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_CONSENT                                    \
    "{\"marketing\":{\"consent\":\"SUBSCRIBED\""
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_WHEN        ",\"consented_at\":\""
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_AGREED      "}},"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_END         "}}}]}}"
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_LIST                                       \
    ",\"relationships\":{\"list\":{\"data\":{\"type\":\"list\",\"id\":\""
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_TAIL        "\"}}}"

/* the whole without what differs; 16 are quotes, commas and braces */
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_FRAME                                      \
    (sizeof(NGX_HTTP_KLAVIYO_SUBSCRIBE_HEAD NGX_HTTP_KLAVIYO_SUBSCRIBE_SOURCE \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_HISTORICAL                             \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_PROFILES                               \
            NGX_HTTP_KLAVIYO_PROFILE_BODY                                     \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_CHANNELS                               \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_EMAIL NGX_HTTP_KLAVIYO_SUBSCRIBE_SMS   \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_CONSENT                                \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_CONSENT                                \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_WHEN NGX_HTTP_KLAVIYO_SUBSCRIBE_WHEN   \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_AGREED                                 \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_AGREED                                 \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_END NGX_HTTP_KLAVIYO_SUBSCRIBE_LIST    \
            NGX_HTTP_KLAVIYO_SUBSCRIBE_TAIL) - 1 + 16)

#define ngx_http_klaviyo_profile_is(str, s)                                   \
    ((str)->len == sizeof(s) - 1                                              \
     && ngx_memcmp((str)->data, s, sizeof(s) - 1) == 0)

/* sets of fields */
#define ngx_http_klaviyo_profile_bit(field)  ((ngx_uint_t) 1 << (field))

#define NGX_HTTP_KLAVIYO_PROFILE_SET_IDENTIFIERS                              \
    (ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_IDENTIFIERS) - 1)
#define NGX_HTTP_KLAVIYO_PROFILE_SET_ID                                       \
    ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_PROFILE_ID)
#define NGX_HTTP_KLAVIYO_PROFILE_SET_ATTRIBUTES                               \
    ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_ATTRIBUTE)
#define NGX_HTTP_KLAVIYO_PROFILE_SET_SCALARS                                  \
    ((NGX_HTTP_KLAVIYO_PROFILE_SET_IDENTIFIERS                                \
      |NGX_HTTP_KLAVIYO_PROFILE_SET_ATTRIBUTES)                               \
     & ~NGX_HTTP_KLAVIYO_PROFILE_SET_ID)
#define NGX_HTTP_KLAVIYO_PROFILE_SET_LOCATION                                 \
    ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_LOCATION)
#define NGX_HTTP_KLAVIYO_PROFILE_SET_CUSTOM                                   \
    ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_PROFILE_PROPERTY)


static void ngx_http_klaviyo_profile_keep(ngx_http_klaviyo_member_t *members,
    ngx_uint_t n, ngx_uint_t fields);
static ngx_uint_t ngx_http_klaviyo_profile_has(
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_uint_t fields);
static u_char *ngx_http_klaviyo_profile_write_job(u_char *p,
    ngx_http_klaviyo_subscription_t *subscription,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_uint_t channels);
static u_char *ngx_http_klaviyo_profile_write_channel(u_char *p,
    ngx_http_klaviyo_subscription_t *subscription);
static u_char *ngx_http_klaviyo_profile_text(u_char *p, ngx_str_t *text);
static void ngx_http_klaviyo_profile_string(ngx_http_klaviyo_member_t *member,
    ngx_uint_t *limits);
static ngx_uint_t ngx_http_klaviyo_profile_coordinate(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_profile_address(ngx_str_t *text);
static u_char *ngx_http_klaviyo_profile_close(u_char *start, u_char *p);
static u_char *ngx_http_klaviyo_profile_fields(u_char *p,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_uint_t fields);


/* in the order in which room is given to them; identifiers always fit */

static ngx_uint_t  ngx_http_klaviyo_profile_ranks[] = {
    NGX_HTTP_KLAVIYO_PROFILE_SET_IDENTIFIERS,
    NGX_HTTP_KLAVIYO_PROFILE_SET_ATTRIBUTES,
    NGX_HTTP_KLAVIYO_PROFILE_SET_LOCATION,
    NGX_HTTP_KLAVIYO_PROFILE_SET_CUSTOM,
    0
};


ngx_int_t
ngx_http_klaviyo_profile_render(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_str_t *json,
    ngx_uint_t *limits)
{
    size_t   len;
    u_char  *p;

    ngx_http_klaviyo_profile_keep(members, n,
                ~ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_ANONYMOUS_ID));

    len = ngx_http_klaviyo_profile_settle(arena, members, n, limits);

    if (!ngx_http_klaviyo_profile_has(members, n,
                                    NGX_HTTP_KLAVIYO_PROFILE_SET_IDENTIFIERS))
    {
        return NGX_DECLINED;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    json->data = p;
    json->len = ngx_http_klaviyo_profile_write(p, members, n) - p;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_profile_subscribe(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_subscription_t *subscription,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_str_t *json,
    ngx_uint_t *limits)
{
    size_t       len;
    u_char      *p;
    ngx_str_t   *when;
    ngx_uint_t   channels;

    channels = 0;

    if (subscription->email) {
        channels |= ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_EMAIL);
    }

    if (subscription->sms) {
        channels |= ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_PHONE_NUMBER);
    }

    ngx_http_klaviyo_profile_keep(members, n,
                                  channels|NGX_HTTP_KLAVIYO_PROFILE_SET_ID);

    len = ngx_http_klaviyo_profile_settle(arena, members, n, limits);

    channels &= ngx_http_klaviyo_profile_has(members, n, channels);

    if (channels == 0) {
        return NGX_DECLINED;
    }

    when = &subscription->consented_at;

    len += NGX_HTTP_KLAVIYO_SUBSCRIBE_FRAME
           + ngx_http_klaviyo_json_escape(NULL, subscription->list.data,
                                          subscription->list.len)
           + ngx_http_klaviyo_json_escape(NULL, subscription->source.data,
                                          subscription->source.len)
           + 2 * ngx_http_klaviyo_json_escape(NULL, when->data, when->len);

    p = ngx_http_klaviyo_arena_alloc(arena, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    json->data = p;
    json->len = ngx_http_klaviyo_profile_write_job(p, subscription, members, n,
                                                   channels)
                - p;

    return NGX_OK;
}


/* What this endpoint doesn't take is missing from now on */

static void
ngx_http_klaviyo_profile_keep(ngx_http_klaviyo_member_t *members, ngx_uint_t n,
    ngx_uint_t fields)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (!(fields & ngx_http_klaviyo_profile_bit(members[i].field))) {
            ngx_http_klaviyo_data_missing(&members[i].data);
        }
    }
}


/* Those of the fields that there is something of */

static ngx_uint_t
ngx_http_klaviyo_profile_has(ngx_http_klaviyo_member_t *members, ngx_uint_t n,
    ngx_uint_t fields)
{
    ngx_uint_t  i, has;

    has = 0;

    for (i = 0; i < n; i++) {
        if (!ngx_http_klaviyo_data_is_missing(&members[i].data)) {
            has |= ngx_http_klaviyo_profile_bit(members[i].field);
        }
    }

    return has & fields;
}


static u_char *
ngx_http_klaviyo_profile_write_job(u_char *p,
    ngx_http_klaviyo_subscription_t *subscription,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_uint_t channels)
{
    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_HEAD);

    if (subscription->source.len) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_SOURCE);
        p = ngx_http_klaviyo_profile_text(p, &subscription->source);
        p = ngx_http_klaviyo_profile_lit(p, "\",");
    }

    if (subscription->consented_at.len) {
        p = ngx_http_klaviyo_profile_lit(p,
                                        NGX_HTTP_KLAVIYO_SUBSCRIBE_HISTORICAL);
    }

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_PROFILES);
    p = ngx_http_klaviyo_profile_fields(p, members, n,
                                        NGX_HTTP_KLAVIYO_PROFILE_SET_ID);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_PROFILE_BODY);
    p = ngx_http_klaviyo_profile_fields(p, members, n, channels);
    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_CHANNELS);

    if (channels & ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_EMAIL)) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_EMAIL);
        p = ngx_http_klaviyo_profile_write_channel(p, subscription);
    }

    if (channels & ngx_http_klaviyo_profile_bit(NGX_HTTP_KLAVIYO_PHONE_NUMBER))
    {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_SMS);
        p = ngx_http_klaviyo_profile_write_channel(p, subscription);
    }

    ngx_http_klaviyo_profile_uncomma(p);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_END);

    if (subscription->list.len) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_LIST);
        p = ngx_http_klaviyo_profile_text(p, &subscription->list);
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_TAIL);
    }

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_klaviyo_profile_write_channel(u_char *p,
    ngx_http_klaviyo_subscription_t *subscription)
{
    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_CONSENT);

    if (subscription->consented_at.len) {
        p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_WHEN);
        p = ngx_http_klaviyo_profile_text(p, &subscription->consented_at);
        *p++ = '"';
    }

    return ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_SUBSCRIBE_AGREED);
}


static u_char *
ngx_http_klaviyo_profile_text(u_char *p, ngx_str_t *text)
{
    return p + ngx_http_klaviyo_json_escape(p, text->data, text->len);
}


size_t
ngx_http_klaviyo_profile_settle(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_uint_t *limits)
{
    size_t                      len, size;
    ngx_uint_t                  i, *rank;
    ngx_http_klaviyo_member_t  *member;

    size = NGX_HTTP_KLAVIYO_PROFILE_FRAME;

    for (rank = ngx_http_klaviyo_profile_ranks; *rank; rank++) {

        for (i = 0; i < n; i++) {

            member = &members[i];

            if (!(*rank & ngx_http_klaviyo_profile_bit(member->field))) {
                continue;
            }

            if (rank != ngx_http_klaviyo_profile_ranks) {
                (void) ngx_http_klaviyo_url_scrub(arena, &member->data);
            }

            ngx_http_klaviyo_profile_string(member, limits);

            len = ngx_http_klaviyo_json_write(NULL, &member->data,
                                              NGX_HTTP_KLAVIYO_PROFILE_DEPTH,
                                              limits);
            if (len) {
                len += member->key.len + 1;
            }

            if (size + len > NGX_HTTP_KLAVIYO_MAX_PROFILE) {
                (*limits)++;
                len = 0;
            }

            if (len == 0) {
                ngx_http_klaviyo_data_missing(&member->data);
            }

            size += len;
        }
    }

    return size;
}


/* All that Klaviyo has a field of its own for is a string to it. */

static void
ngx_http_klaviyo_profile_string(ngx_http_klaviyo_member_t *member,
    ngx_uint_t *limits)
{
    ngx_str_t                 text;
    ngx_uint_t                coordinate;
    ngx_http_klaviyo_data_t  *data;

    data = &member->data;

    if (member->field == NGX_HTTP_KLAVIYO_PROFILE_PROPERTY
        || ngx_http_klaviyo_data_is_missing(data))
    {
        return;
    }

    coordinate = ngx_http_klaviyo_profile_is(&member->key, "\"latitude\":")
                 || ngx_http_klaviyo_profile_is(&member->key, "\"longitude\":");

    if (coordinate && data->type == NGX_HTTP_KLAVIYO_NUMBER) {
        return;
    }

    if (ngx_http_klaviyo_data_text(data, &text) != NGX_OK
        || (coordinate && !ngx_http_klaviyo_profile_coordinate(&text))
        || (ngx_http_klaviyo_profile_is(&member->key, "\"ip\":")
            && !ngx_http_klaviyo_profile_address(&text)))
    {
        ngx_http_klaviyo_data_missing(data);
        (*limits)++;
        return;
    }

    ngx_http_klaviyo_data_set_string(data, text.data, text.len);
}


/* a decimal, as everybody reads it: no sign but minus, no exponent */

static ngx_uint_t
ngx_http_klaviyo_profile_coordinate(ngx_str_t *text)
{
    size_t                      i;
    ngx_http_klaviyo_decimal_t  d;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] == '+' || (text->data[i] | 0x20) == 'e') {
            return 0;
        }
    }

    return ngx_http_klaviyo_decimal_parse(&d, text) == NGX_OK;
}


/* $remote_addr may be "unix:", X-Forwarded-For a list */

static ngx_uint_t
ngx_http_klaviyo_profile_address(ngx_str_t *text)
{
    u_char  addr[16];

    return ngx_inet_addr(text->data, text->len) != INADDR_NONE
           || ngx_inet6_addr(text->data, text->len, addr) == NGX_OK;
}


u_char *
ngx_http_klaviyo_profile_write(u_char *p, ngx_http_klaviyo_member_t *members,
    ngx_uint_t n)
{
    u_char  *start;

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_PROFILE_HEAD);

    p = ngx_http_klaviyo_profile_fields(p, members, n,
                                        NGX_HTTP_KLAVIYO_PROFILE_SET_ID);

    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_PROFILE_BODY);

    p = ngx_http_klaviyo_profile_fields(p, members, n,
                                        NGX_HTTP_KLAVIYO_PROFILE_SET_SCALARS);

    start = p;
    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_PROFILE_LOCATION);
    p = ngx_http_klaviyo_profile_fields(p, members, n,
                                        NGX_HTTP_KLAVIYO_PROFILE_SET_LOCATION);
    p = ngx_http_klaviyo_profile_close(start, p);

    start = p;
    p = ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_PROFILE_CUSTOM);
    p = ngx_http_klaviyo_profile_fields(p, members, n,
                                        NGX_HTTP_KLAVIYO_PROFILE_SET_CUSTOM);
    p = ngx_http_klaviyo_profile_close(start, p);

    ngx_http_klaviyo_profile_uncomma(p);

    return ngx_http_klaviyo_profile_lit(p, NGX_HTTP_KLAVIYO_PROFILE_TAIL);
}


/* Ends an object inside of the attributes; an empty one is taken back. */

static u_char *
ngx_http_klaviyo_profile_close(u_char *start, u_char *p)
{
    if (p[-1] == '{') {
        return start;
    }

    p[-1] = '}';
    *p++ = ',';

    return p;
}


static u_char *
ngx_http_klaviyo_profile_fields(u_char *p, ngx_http_klaviyo_member_t *members,
    ngx_uint_t n, ngx_uint_t fields)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_member_t  *member;

    for (i = 0; i < n; i++) {

        member = &members[i];

        if (fields & ngx_http_klaviyo_profile_bit(member->field)) {
            p = ngx_http_klaviyo_profile_member(p, member);
        }
    }

    return p;
}


u_char *
ngx_http_klaviyo_profile_member(u_char *p, ngx_http_klaviyo_member_t *member)
{
    ngx_http_klaviyo_data_t  *data;

    data = &member->data;

    if (ngx_http_klaviyo_data_is_missing(data)) {
        return p;
    }

    p = ngx_cpymem(p, member->key.data, member->key.len);

    if (ngx_http_klaviyo_profile_short(data)) {
        *p++ = '"';
        p += ngx_http_klaviyo_json_escape(p, data->text.data, data->text.len);
        *p++ = '"';

    } else {
        p += ngx_http_klaviyo_json_write(p, data,
                                         NGX_HTTP_KLAVIYO_PROFILE_DEPTH, NULL);
    }

    *p++ = ',';

    return p;
}
