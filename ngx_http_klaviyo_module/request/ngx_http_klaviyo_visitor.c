
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The record of a visitor: "1", flags, what the browser said, the field of the
 * identifier, and the identifier up to the end.
 */


#include "ngx_http_klaviyo_visitor.h"


#define NGX_HTTP_KLAVIYO_VISITOR_VERSION      '1'

/* flags: consent takes the lowest two bits */
#define NGX_HTTP_KLAVIYO_VISITOR_CONSENT      0x03
#define NGX_HTTP_KLAVIYO_VISITOR_STATED       0x04
#define NGX_HTTP_KLAVIYO_VISITOR_UNCONFIRMED  0x08
#define NGX_HTTP_KLAVIYO_VISITOR_HELD         0x10


static void ngx_http_klaviyo_visitor_identify(
    ngx_http_klaviyo_visitor_t *visitor, ngx_http_klaviyo_change_t *change);
static ngx_uint_t ngx_http_klaviyo_visitor_equal(
    ngx_http_klaviyo_visitor_t *one, ngx_http_klaviyo_visitor_t *two);


ngx_uint_t
ngx_http_klaviyo_visitor_apply(ngx_http_klaviyo_visitor_t *visitor,
    ngx_http_klaviyo_change_t *change)
{
    ngx_http_klaviyo_visitor_t  before;

    before = *visitor;

    if (change->consent != NGX_HTTP_KLAVIYO_CONSENT_UNKNOWN) {
        visitor->consent = change->consent;
    }

    if (change->silent) {
        visitor->optout = 0;
    }

    visitor->optout |= change->optout;

    if (change->confirm) {
        visitor->unconfirmed = 0;
    }

    if (change->id.len) {
        ngx_http_klaviyo_visitor_identify(visitor, change);
    }

    visitor->held |= change->hold;

    if (visitor->consent == NGX_HTTP_KLAVIYO_CONSENT_NO) {
        ngx_str_null(&visitor->id);
        visitor->field = 0;
        visitor->stated = 0;
        visitor->unconfirmed = 0;
        visitor->held = 0;
    }

    return !ngx_http_klaviyo_visitor_equal(visitor, &before);
}


static void
ngx_http_klaviyo_visitor_identify(ngx_http_klaviyo_visitor_t *visitor,
    ngx_http_klaviyo_change_t *change)
{
    if (visitor->id.len && visitor->field == change->field
        && visitor->id.len == change->id.len
        && ngx_memcmp(visitor->id.data, change->id.data, change->id.len) == 0)
    {
        visitor->stated |= change->stated;
        visitor->unconfirmed &= change->unconfirmed;
        return;
    }

    if (visitor->id.len
        && ((visitor->stated && !change->stated)
            || (!visitor->unconfirmed && change->unconfirmed)))
    {
        return;
    }

    visitor->id = change->id;
    visitor->field = change->field;
    visitor->stated = change->stated;
    visitor->unconfirmed = change->unconfirmed;
}


static ngx_uint_t
ngx_http_klaviyo_visitor_equal(ngx_http_klaviyo_visitor_t *one,
    ngx_http_klaviyo_visitor_t *two)
{
    return one->field == two->field
           && one->consent == two->consent
           && one->optout == two->optout
           && one->stated == two->stated
           && one->unconfirmed == two->unconfirmed
           && one->held == two->held
           && one->id.len == two->id.len
           && (one->id.len == 0
               || ngx_memcmp(one->id.data, two->id.data, one->id.len) == 0);
}


size_t
ngx_http_klaviyo_visitor_format(u_char *buf,
    ngx_http_klaviyo_visitor_t *visitor)
{
    u_char  *p;

    p = buf;

    *p++ = NGX_HTTP_KLAVIYO_VISITOR_VERSION;

    *p++ = (u_char) (visitor->consent
                     | (visitor->stated ? NGX_HTTP_KLAVIYO_VISITOR_STATED : 0)
                     | (visitor->unconfirmed
                        ? NGX_HTTP_KLAVIYO_VISITOR_UNCONFIRMED : 0)
                     | (visitor->held ? NGX_HTTP_KLAVIYO_VISITOR_HELD : 0));

    *p++ = (u_char) visitor->optout;
    *p++ = (u_char) visitor->field;

    if (visitor->id.len
        && visitor->id.len <= NGX_HTTP_KLAVIYO_MAX_IDENTIFIER)
    {
        p = ngx_cpymem(p, visitor->id.data, visitor->id.len);
    }

    return p - buf;
}


ngx_int_t
ngx_http_klaviyo_visitor_parse(ngx_str_t *text,
    ngx_http_klaviyo_visitor_t *visitor)
{
    u_char  flags;

    ngx_memzero(visitor, sizeof(ngx_http_klaviyo_visitor_t));

    if (text->len < NGX_HTTP_KLAVIYO_VISITOR_HEAD
        || text->len > NGX_HTTP_KLAVIYO_VISITOR_LEN
        || text->data[0] != NGX_HTTP_KLAVIYO_VISITOR_VERSION
        || text->data[3] > NGX_HTTP_KLAVIYO_KX)
    {
        return NGX_DECLINED;
    }

    flags = text->data[1];

    visitor->consent = flags & NGX_HTTP_KLAVIYO_VISITOR_CONSENT;
    visitor->stated = ((flags & NGX_HTTP_KLAVIYO_VISITOR_STATED) != 0);
    visitor->unconfirmed =
                       ((flags & NGX_HTTP_KLAVIYO_VISITOR_UNCONFIRMED) != 0);
    visitor->held = ((flags & NGX_HTTP_KLAVIYO_VISITOR_HELD) != 0);
    visitor->optout = text->data[2];
    visitor->field = text->data[3];
    visitor->id.data = text->data + NGX_HTTP_KLAVIYO_VISITOR_HEAD;
    visitor->id.len = text->len - NGX_HTTP_KLAVIYO_VISITOR_HEAD;

    return NGX_OK;
}
