
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Profiles as Klaviyo takes them: in an event, as an update, as somebody who
 * subscribes.  An update sets what it has and leaves all else as it was.
 */


#ifndef _NGX_HTTP_KLAVIYO_PROFILE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_PROFILE_H_INCLUDED_


#include "ngx_http_klaviyo_event.h"


/* "properties" itself is the first of NGX_HTTP_KLAVIYO_MAX_DEPTH objects */
#define NGX_HTTP_KLAVIYO_PROFILE_DEPTH   1

/* what is longer is looked at twice rather than given its worst case */
#define NGX_HTTP_KLAVIYO_PROFILE_SHORT   256

/* what a profile begins with; its id, if there is one, stands between them */
#define NGX_HTTP_KLAVIYO_PROFILE_HEAD      "{\"type\":\"profile\","
#define NGX_HTTP_KLAVIYO_PROFILE_BODY      "\"attributes\":{"


#define ngx_http_klaviyo_profile_lit(p, s)                                    \
    ngx_cpymem(p, s, sizeof(s) - 1)

/* surely sent: a text of nothing but NUL would be empty */
#define ngx_http_klaviyo_profile_short(data)                                  \
    ((data)->type == NGX_HTTP_KLAVIYO_STRING                                  \
     && (data)->text.len                                                      \
     && (data)->text.len <= NGX_HTTP_KLAVIYO_PROFILE_SHORT                    \
     && (data)->text.data[0] != '\0')

/* a comma is written after each member, the last one is taken back */
#define ngx_http_klaviyo_profile_uncomma(p)                                   \
    if ((p)[-1] == ',') {                                                     \
        (p)--;                                                                \
    }


/* Klaviyo's list and channels; the identifiers are members of a profile */
typedef struct {
    ngx_str_t                            list;     /* its id; "": none */
    ngx_str_t                            source;   /* custom_source; "": none */

    /*
     * RFC 3339, in the past: consent that was given then.  It makes the
     * subscription a historical import, without double opt-in.  "": now.
     */
    ngx_str_t                            consented_at;

    unsigned                             email:1;  /* marketing by e-mail */
    unsigned                             sms:1;    /* marketing by SMS */
} ngx_http_klaviyo_subscription_t;


/*
 * Renders {"type":"profile","attributes":{...}}, the "data" of a request to
 * profile-import, into "json".  Members are those of an event's profile, and
 * what a limit leaves out of them too; an anonymous_id is not sent, since
 * profile-import has none.  NGX_OK, NGX_DECLINED (no identifier is left) or
 * NGX_ERROR (the arena has no room).  In a worker.
 */
ngx_int_t ngx_http_klaviyo_profile_render(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_str_t *json,
    ngx_uint_t *limits);

/*
 * Renders {"type":"profile-subscription-bulk-create-job",...} of one profile,
 * the "data" of a request to profile-subscription-bulk-create-jobs, likewise.
 * Of "members" the e-mail address, the phone number and the id are used, the
 * first two only for their own channel; a channel without its address is left
 * out.  NGX_DECLINED: no channel is left.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_profile_subscribe(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_subscription_t *subscription,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_str_t *json,
    ngx_uint_t *limits);


/* For what has a profile in it */

/*
 * Decides what is sent of the members: what is left out is missing afterwards.
 * Returns the room that ngx_http_klaviyo_profile_write() may need.
 */
size_t ngx_http_klaviyo_profile_settle(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n, ngx_uint_t *limits);

/* Writes {"type":"profile",...}; returns the end. */
u_char *ngx_http_klaviyo_profile_write(u_char *p,
    ngx_http_klaviyo_member_t *members, ngx_uint_t n);

/* Writes "name":value, with a comma, or nothing; returns the end. */
u_char *ngx_http_klaviyo_profile_member(u_char *p,
    ngx_http_klaviyo_member_t *member);


#endif /* _NGX_HTTP_KLAVIYO_PROFILE_H_INCLUDED_ */
