
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What is remembered of one visitor under one account: the record as a text
 * for the memory, and what a request may change in it.  Pure.
 */


#ifndef _NGX_HTTP_KLAVIYO_VISITOR_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_VISITOR_H_INCLUDED_


#include "ngx_http_klaviyo_event.h"


/* bytes of a record, and of its head */
#define NGX_HTTP_KLAVIYO_VISITOR_HEAD    4
#define NGX_HTTP_KLAVIYO_VISITOR_LEN                                          \
    (NGX_HTTP_KLAVIYO_VISITOR_HEAD + NGX_HTTP_KLAVIYO_MAX_IDENTIFIER)


typedef enum {
    NGX_HTTP_KLAVIYO_CONSENT_UNKNOWN = 0,
    NGX_HTTP_KLAVIYO_CONSENT_NO,
    NGX_HTTP_KLAVIYO_CONSENT_YES
} ngx_http_klaviyo_consent_e;


typedef struct {
    /* one identifier: e-mail, phone_number, id or _kx; "": nobody yet */
    ngx_str_t                            id;
    ngx_http_klaviyo_field_e             field;

    ngx_http_klaviyo_consent_e           consent;
    ngx_uint_t                           optout;   /* _IGNORE_*: what the
                                                      browser said */

    unsigned                             stated:1;   /* by the shop, not by a
                                                        link or a cookie */
    unsigned                             unconfirmed:1;   /* a _kx that may be
                                                             a robot's */
    unsigned                             held:1;   /* there may be a backlog */
} ngx_http_klaviyo_visitor_t;


/* what a request has found out; zeros change nothing */
typedef struct {
    ngx_str_t                            id;
    ngx_http_klaviyo_field_e             field;
    unsigned                             stated:1;
    unsigned                             unconfirmed:1;

    unsigned                             confirm:1;   /* came back */
    unsigned                             hold:1;
    unsigned                             silent:1;    /* a browser that has not
                                                         said "optout" */
    ngx_http_klaviyo_consent_e           consent;
    ngx_uint_t                           optout;
} ngx_http_klaviyo_change_t;


/*
 * Applies "change".  The latest identifier wins among equals; what the shop
 * states goes before what a link or a cookie says, what is confirmed before
 * what is not.  Consent that is refused forgets the identifier, and with it
 * none is learned.  Returns whether anything is different.  "visitor" borrows
 * the text of the identifier.
 */
ngx_uint_t ngx_http_klaviyo_visitor_apply(ngx_http_klaviyo_visitor_t *visitor,
    ngx_http_klaviyo_change_t *change);

/* Writes the record; returns its length, NGX_HTTP_KLAVIYO_VISITOR_LEN at
 * most. */
size_t ngx_http_klaviyo_visitor_format(u_char *buf,
    ngx_http_klaviyo_visitor_t *visitor);

/*
 * Reads a record; the identifier is left where it lies.  NGX_OK, or
 * NGX_DECLINED: not a record, "visitor" is all zeros.
 */
ngx_int_t ngx_http_klaviyo_visitor_parse(ngx_str_t *text,
    ngx_http_klaviyo_visitor_t *visitor);


#endif /* _NGX_HTTP_KLAVIYO_VISITOR_H_INCLUDED_ */
