
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Who the visitor is: what makes a valid identifier, what Klaviyo's cookie
 * says, and which one identifier an event carries.
 */


#ifndef _NGX_HTTP_KLAVIYO_IDENTITY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_IDENTITY_H_INCLUDED_


#include "ngx_http_klaviyo_event.h"


/* rungs that may be switched off: klaviyo_identity */
#define NGX_HTTP_KLAVIYO_IDENTITY_KX       0x01
#define NGX_HTTP_KLAVIYO_IDENTITY_COOKIE   0x02
#define NGX_HTTP_KLAVIYO_IDENTITY_VISITOR  0x04
#define NGX_HTTP_KLAVIYO_IDENTITY_ALL      0x07


/* who says so */
typedef enum {
    NGX_HTTP_KLAVIYO_SOURCE_NONE = 0,
    NGX_HTTP_KLAVIYO_SOURCE_STATED,      /* the shop: configured */
    NGX_HTTP_KLAVIYO_SOURCE_LINK,        /* _kx in the query */
    NGX_HTTP_KLAVIYO_SOURCE_COOKIE,      /* __kla_id */
    NGX_HTTP_KLAVIYO_SOURCE_VISITOR,     /* remembered */
    NGX_HTTP_KLAVIYO_SOURCE_OTHER        /* external_id, anonymous_id */
} ngx_http_klaviyo_source_e;


/* where an identity comes from; texts are the request's own, undecoded */
typedef struct {
    /* configured fields: "nrule" of the rule, then those of
     * klaviyo_profile */
    ngx_http_klaviyo_member_t           *configured;
    ngx_uint_t                           nconfigured;
    ngx_uint_t                           nrule;

    ngx_uint_t                           rungs;    /* _IDENTITY_* */
    ngx_str_t                            args;     /* the request's query */
    ngx_str_t                            cookie;   /* __kla_id, for the second
                                                      step */
    ngx_str_t                            company;  /* company_id, or "" */
    ngx_http_klaviyo_member_t           *remembered;   /* under the visitor's
                                                      key, or NULL */

    ngx_http_klaviyo_source_e            source;   /* of what was found */

    unsigned                             all:1;    /* klaviyo_identifiers all */
    unsigned                             update:1;   /* of a profile, without
                                                        an event: a configured
                                                        external_id is as good
                                                        as an e-mail, and a
                                                        phone is one of a
                                                        country */
} ngx_http_klaviyo_identity_t;


/*
 * The value if it can be that identifier, trimmed (an e-mail has one "@" and a
 * dotted domain, at most 99 bytes; a phone is E.164; a _kx is
 * "[A-Za-z0-9_=-]+.company", of this company if "company" is not empty; the
 * others are valid UTF-8 without control characters, at most 255 bytes, and
 * not _nobody()'s), a string or a number in "data"; else missing.
 */
void ngx_http_klaviyo_identity_check(ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_field_e field, ngx_str_t *company);

/*
 * Klaviyo's cookie __kla_id: base64 JSON, at most 4096 bytes; tolerant of
 * percent escapes, quotes and missing padding.  Sets the first there is of
 * $exchange_id, e-mail ($email, email) and phone ($phone_number,
 * phone_number) that is valid; missing if none.
 */
void ngx_http_klaviyo_identity_cookie(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *cookie, ngx_str_t *company, ngx_http_klaviyo_field_e *field,
    ngx_http_klaviyo_data_t *data);

/*
 * The identifiers that an event carries: one, the first there is (all valid
 * configured ones with "all", and if there is none, the first of the others).
 * "found" has room for NGX_HTTP_KLAVIYO_IDENTIFIERS members, keys included.
 * Returns how many; with "all" the same field never twice.  In two steps, for
 * looking for the cookie costs more than all the rest.
 */

/*
 * Configured e-mail, phone_number, id, _kx (the rule's four, then those of
 * klaviyo_profile); _kx in the query (its name in any case).
 */
ngx_uint_t ngx_http_klaviyo_identity_stated(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *found);

/*
 * If there are none: the cookie; what is remembered; configured external_id,
 * anonymous_id.  0: nobody.
 */
ngx_uint_t ngx_http_klaviyo_identity_implied(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *found);

/*
 * Whether it is what programs write for nobody: "null" and "undefined" of
 * scripts, "deleted" of PHP, which deletes a cookie with that value.  All of
 * nobody would become one profile.
 */
ngx_uint_t ngx_http_klaviyo_identity_nobody(ngx_str_t *text);

/* The rendered name of e-mail, phone_number, id or _kx. */
ngx_str_t *ngx_http_klaviyo_identity_key(ngx_http_klaviyo_field_e field);


#endif /* _NGX_HTTP_KLAVIYO_IDENTITY_H_INCLUDED_ */
