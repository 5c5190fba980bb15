
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * An event as one entry of Klaviyo's bulk request.  What is constant was
 * rendered when the configuration was read; here the values are spliced in.
 */


#ifndef _NGX_HTTP_KLAVIYO_EVENT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_EVENT_H_INCLUDED_


#include "ngx_http_klaviyo_json.h"


/* Klaviyo's limits */
#define NGX_HTTP_KLAVIYO_MAX_METRIC      127     /* characters */
#define NGX_HTTP_KLAVIYO_MAX_UNIQUE_ID   255
#define NGX_HTTP_KLAVIYO_MAX_PROPERTIES  400
#define NGX_HTTP_KLAVIYO_MAX_PROFILE     (95 * 1000)
#define NGX_HTTP_KLAVIYO_MAX_EMAIL       99
#define NGX_HTTP_KLAVIYO_MAX_IDENTIFIER  255


/* the fields of a profile, in the order in which identifiers are tried */
typedef enum {
    NGX_HTTP_KLAVIYO_EMAIL = 0,
    NGX_HTTP_KLAVIYO_PHONE_NUMBER,
    NGX_HTTP_KLAVIYO_PROFILE_ID,         /* "id", beside the attributes */
    NGX_HTTP_KLAVIYO_KX,
    NGX_HTTP_KLAVIYO_EXTERNAL_ID,
    NGX_HTTP_KLAVIYO_ANONYMOUS_ID,
    NGX_HTTP_KLAVIYO_ATTRIBUTE,          /* first_name ... image */
    NGX_HTTP_KLAVIYO_LOCATION,           /* location.city ... */
    NGX_HTTP_KLAVIYO_PROFILE_PROPERTY    /* properties.tier ... */
} ngx_http_klaviyo_field_e;

#define NGX_HTTP_KLAVIYO_IDENTIFIERS     NGX_HTTP_KLAVIYO_ATTRIBUTE


/* one member of an object: a rendered name ("Price":) and a value */
typedef struct {
    ngx_str_t                            key;
    ngx_http_klaviyo_field_e             field;    /* of profile fields */
    ngx_http_klaviyo_data_t              data;
} ngx_http_klaviyo_member_t;


typedef struct {
    /* rendered: {"data":{"type":"metric","attributes":{"name":"...",...}}} */
    ngx_str_t                            metric;

    ngx_str_t                            time;       /* RFC 3339 */
    ngx_str_t                            unique_id;
    ngx_http_klaviyo_data_t              value;      /* NUMBER or missing */
    ngx_http_klaviyo_data_t              currency;   /* STRING or missing */

    ngx_http_klaviyo_member_t           *properties;
    ngx_uint_t                           nproperties;

    /* identifiers (valid ones only) and attributes, in any order */
    ngx_http_klaviyo_member_t           *profile;
    ngx_uint_t                           nprofile;

    /* set when it is rendered: the offset of the profile in the text */
    size_t                               profile_at;

    unsigned                             backfill:1;   /* "backfill":true */
    unsigned                             may_age:1;    /* "backfill":false,
                                                          which may become
                                                          true later */
} ngx_http_klaviyo_event_t;


/*
 * Renders {"type":"event-bulk-create","attributes":{"events":...,
 * "profile":...}} into "json", which the next call may overwrite.  Members
 * without a value are left out; properties beyond
 * NGX_HTTP_KLAVIYO_MAX_PROPERTIES and what makes the profile larger than
 * NGX_HTTP_KLAVIYO_MAX_PROFILE too: custom properties first, identifiers
 * never.  Identifiers and attributes are sent as strings whatever their type
 * (latitude and longitude may be numbers).  "aged" is set to the offset of
 * "false" (0 if not may_age), "limits" grows by what a limit left out, a value
 * or a currency that Klaviyo would refuse included.  URLs in properties lose
 * _kx, _ke and utm_email.  Event and members are changed by this: what is left
 * out is missing afterwards.  Returns NGX_OK, or NGX_ERROR when the arena has
 * no room.
 */
ngx_int_t ngx_http_klaviyo_event_render(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_event_t *event, ngx_str_t *json, ngx_uint_t *aged,
    ngx_uint_t *limits);

/*
 * Puts an identifier (valid) into "json", which was rendered without one.
 * NGX_OK, or NGX_ERROR when the arena has no room.
 */
ngx_int_t ngx_http_klaviyo_event_identify(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *json, size_t profile_at, ngx_http_klaviyo_member_t *who,
    ngx_str_t *out);

/*
 * Renders a member's name, escaped: "name": with quotes and colon.  At
 * configuration time.
 */
ngx_int_t ngx_http_klaviyo_event_key(ngx_pool_t *pool, ngx_str_t *name,
    ngx_str_t *key);

/*
 * Renders the metric's object.  "service" may be empty.  At configuration
 * time.
 */
ngx_int_t ngx_http_klaviyo_event_metric(ngx_pool_t *pool, ngx_str_t *name,
    ngx_str_t *service, ngx_str_t *metric);

/*
 * Which field "name" is: "email", "first_name", "location.city",
 * "properties.tier" ...; "key" is set to the rendered name of its last part
 * ("city":).  NGX_DECLINED if Klaviyo has no such field.  At configuration
 * time.
 */
ngx_int_t ngx_http_klaviyo_event_field(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_klaviyo_field_e *field, ngx_str_t *key);


#endif /* _NGX_HTTP_KLAVIYO_EVENT_H_INCLUDED_ */
