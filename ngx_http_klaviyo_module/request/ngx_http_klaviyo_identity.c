
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Who the visitor is.  What is not certainly valid is refused here: Klaviyo
 * answers an invalid identifier with an error for the event, and a visitor
 * could stop the account with a handful of those.
 */


#include "ngx_http_klaviyo_identity.h"
#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"
#include "ngx_http_klaviyo_plain.h"
#include "ngx_http_klaviyo_url.h"


#define NGX_HTTP_KLAVIYO_MAX_COOKIE      4096

#define NGX_HTTP_KLAVIYO_MAX_LOCAL_PART  64
#define NGX_HTTP_KLAVIYO_MAX_LABEL       63

#define NGX_HTTP_KLAVIYO_MIN_DIGITS      7
#define NGX_HTTP_KLAVIYO_MAX_DIGITS      15


#define ngx_http_klaviyo_is_digit(ch)                                         \
    ((ch) >= '0' && (ch) <= '9')

#define ngx_http_klaviyo_is_letter(ch)                                        \
    (((ch) | 0x20) >= 'a' && ((ch) | 0x20) <= 'z')

#define ngx_http_klaviyo_is_alnum(ch)                                         \
    (ngx_http_klaviyo_is_digit(ch) || ngx_http_klaviyo_is_letter(ch))

#define ngx_http_klaviyo_is_atom(ch)                                          \
    (ngx_http_klaviyo_identity_atoms[(ch) >> 5] & (1U << ((ch) & 0x1f)))

#define ngx_http_klaviyo_is_blank(ch)                                         \
    ((ch) == ' ' || (ch) == '\t' || (ch) == CR || (ch) == LF)


#define ngx_http_klaviyo_identity_has(text, s)                                \
    (memmem((text)->data, (text)->len, s, sizeof(s) - 1) != NULL)


/* members of the cookie that may name the visitor */
#define NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS  5


static void ngx_http_klaviyo_identity_trim(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_identity_email(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_identity_domain(u_char *p, u_char *last);
static ngx_uint_t ngx_http_klaviyo_identity_phone(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_identity_kx(ngx_str_t *text,
    ngx_str_t *company);
static ngx_uint_t ngx_http_klaviyo_identity_id(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_identity_worth(ngx_str_t *text);
static void ngx_http_klaviyo_identity_parse(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text, ngx_str_t *values);
static ngx_uint_t ngx_http_klaviyo_identity_configured(
    ngx_http_klaviyo_identity_t *identity, ngx_uint_t first, ngx_uint_t last,
    ngx_http_klaviyo_member_t *found);
static ngx_uint_t ngx_http_klaviyo_identity_first(
    ngx_http_klaviyo_identity_t *identity, ngx_uint_t members,
    ngx_uint_t field, ngx_http_klaviyo_member_t *found);
static ngx_uint_t ngx_http_klaviyo_identity_args(
    ngx_http_klaviyo_arena_t *arena, ngx_http_klaviyo_identity_t *identity,
    ngx_http_klaviyo_member_t *found);


/* letters, digits and the rest of what RFC 5322 has in atoms, and the dot */

static uint32_t  ngx_http_klaviyo_identity_atoms[] = {
    0x00000000,
    0xa3ffecfa, /* 1010 0011 1111 1111  1110 1100 1111 1010 */

                /* ?>=< ;:98 7654 3210  /.-, +*)( '&%$ #"!  */

    0xc7fffffe, /* 1100 0111 1111 1111  1111 1111 1111 1110 */

                /* _^]\ [ZYX WVUT SRQP  ONML KJIH GFED CBA@ */

    0x7fffffff, /* 0111 1111 1111 1111  1111 1111 1111 1111 */

                /*  ~}| {zyx wvut srqp  onml kjih gfed cba` */

    0x00000000,
    0x00000000,
    0x00000000,
    0x00000000
};


static ngx_str_t  ngx_http_klaviyo_identity_kx_name = ngx_string("_kx");


/* by field */

static ngx_str_t  ngx_http_klaviyo_identity_keys[] = {
    ngx_string("\"email\":"),
    ngx_string("\"phone_number\":"),
    ngx_string("\"id\":"),
    ngx_string("\"_kx\":")
};


/* what the cookie may say, in the order in which it is tried */

static ngx_str_t
    ngx_http_klaviyo_identity_members[NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS] =
{
    ngx_string("$exchange_id"),
    ngx_string("$email"),
    ngx_string("email"),
    ngx_string("$phone_number"),
    ngx_string("phone_number")
};

static ngx_http_klaviyo_field_e
    ngx_http_klaviyo_identity_fields[NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS] =
{
    NGX_HTTP_KLAVIYO_KX,
    NGX_HTTP_KLAVIYO_EMAIL,
    NGX_HTTP_KLAVIYO_EMAIL,
    NGX_HTTP_KLAVIYO_PHONE_NUMBER,
    NGX_HTTP_KLAVIYO_PHONE_NUMBER
};


void
ngx_http_klaviyo_identity_check(ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_field_e field, ngx_str_t *company)
{
    ngx_uint_t  valid;

    if (data->type != NGX_HTTP_KLAVIYO_STRING
        && data->type != NGX_HTTP_KLAVIYO_NUMBER)
    {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_identity_trim(&data->text);

    switch (field) {

    case NGX_HTTP_KLAVIYO_EMAIL:
        valid = ngx_http_klaviyo_identity_email(&data->text);
        break;

    case NGX_HTTP_KLAVIYO_PHONE_NUMBER:
        valid = ngx_http_klaviyo_identity_phone(&data->text);
        break;

    case NGX_HTTP_KLAVIYO_KX:
        valid = ngx_http_klaviyo_identity_kx(&data->text, company);
        break;

    default:
        valid = ngx_http_klaviyo_identity_id(&data->text);
    }

    if (!valid) {
        ngx_http_klaviyo_data_missing(data);
    }
}


static void
ngx_http_klaviyo_identity_trim(ngx_str_t *text)
{
    while (text->len && ngx_http_klaviyo_is_blank(text->data[0])) {
        text->data++;
        text->len--;
    }

    while (text->len && ngx_http_klaviyo_is_blank(text->data[text->len - 1])) {
        text->len--;
    }
}


/* A dot-atom of RFC 5322 before the "@", a host name with a dot behind it. */

static ngx_uint_t
ngx_http_klaviyo_identity_email(ngx_str_t *text)
{
    u_char  *p, *last, *at;

    if (text->len > NGX_HTTP_KLAVIYO_MAX_EMAIL) {
        return 0;
    }

    last = text->data + text->len;
    at = ngx_strlchr(text->data, last, '@');

    if (at == NULL
        || at == text->data
        || at - text->data > NGX_HTTP_KLAVIYO_MAX_LOCAL_PART
        || text->data[0] == '.'
        || at[-1] == '.')
    {
        return 0;
    }

    for (p = text->data; p < at; p++) {

        if (!ngx_http_klaviyo_is_atom(*p) || (*p == '.' && p[1] == '.')) {
            return 0;
        }
    }

    return ngx_http_klaviyo_identity_domain(at + 1, last);
}


static ngx_uint_t
ngx_http_klaviyo_identity_domain(u_char *p, u_char *last)
{
    u_char      *label;
    ngx_uint_t   dots;

    dots = 0;
    label = p;

    for ( /* void */ ; p < last; p++) {

        if (*p == '.') {

            if (p == label
                || p[-1] == '-'
                || p - label > NGX_HTTP_KLAVIYO_MAX_LABEL)
            {
                return 0;
            }

            dots++;
            label = p + 1;
            continue;
        }

        if (!ngx_http_klaviyo_is_alnum(*p) && (*p != '-' || p == label)) {
            return 0;
        }
    }

    /* a top-level domain has two letters or more, an address has none */

    return dots
           && last - label >= 2
           && last - label <= NGX_HTTP_KLAVIYO_MAX_LABEL
           && ngx_http_klaviyo_is_letter(*label)
           && last[-1] != '-';
}


static ngx_uint_t
ngx_http_klaviyo_identity_phone(ngx_str_t *text)
{
    size_t  i;

    if (text->len < NGX_HTTP_KLAVIYO_MIN_DIGITS + 1
        || text->len > NGX_HTTP_KLAVIYO_MAX_DIGITS + 1
        || text->data[0] != '+'
        || text->data[1] == '0')
    {
        return 0;
    }

    for (i = 1; i < text->len; i++) {
        if (!ngx_http_klaviyo_is_digit(text->data[i])) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_klaviyo_identity_kx(ngx_str_t *text, ngx_str_t *company)
{
    u_char  *p, *last, *dot;

    if (text->len > NGX_HTTP_KLAVIYO_MAX_IDENTIFIER) {
        return 0;
    }

    last = text->data + text->len;
    dot = ngx_strlchr(text->data, last, '.');

    if (dot == NULL || dot == text->data || dot + 1 == last) {
        return 0;
    }

    for (p = text->data; p < last; p++) {

        if (p == dot || ngx_http_klaviyo_is_alnum(*p) || *p == '_') {
            continue;
        }

        if (p > dot || (*p != '-' && *p != '=')) {
            return 0;
        }
    }

    dot++;

    return company->len == 0
           || (company->len == (size_t) (last - dot)
               && ngx_strncmp(company->data, dot, company->len) == 0);
}


/* Any text in UTF-8 without control characters. */

static ngx_uint_t
ngx_http_klaviyo_identity_id(ngx_str_t *text)
{
    return text->len <= NGX_HTTP_KLAVIYO_MAX_IDENTIFIER
           && !ngx_http_klaviyo_identity_nobody(text)
           && ngx_http_klaviyo_utf8_length(text) > 0;
}


ngx_uint_t
ngx_http_klaviyo_identity_nobody(ngx_str_t *text)
{
    ngx_uint_t  i;

    static ngx_str_t  words[] = {
        ngx_string("null"),
        ngx_string("undefined"),
        ngx_string("deleted")
    };

    for (i = 0; i < sizeof(words) / sizeof(ngx_str_t); i++) {

        if (text->len == words[i].len
            && ngx_strncmp(text->data, words[i].data, text->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_klaviyo_identity_cookie(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *cookie, ngx_str_t *company, ngx_http_klaviyo_field_e *field,
    ngx_http_klaviyo_data_t *data)
{
    ngx_str_t   text, plain, values[NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS];
    ngx_uint_t  i;

    ngx_http_klaviyo_data_missing(data);

    if (cookie->len == 0 || cookie->len > NGX_HTTP_KLAVIYO_MAX_COOKIE) {
        return;
    }

    if (ngx_http_klaviyo_decode_url(arena, cookie, &text, 0) != NGX_OK
        || ngx_http_klaviyo_decode_base64(arena, &text, &plain) != NGX_OK
        || !ngx_http_klaviyo_identity_worth(&plain))
    {
        return;
    }

    if (ngx_http_klaviyo_plain_members(&plain,
                                       ngx_http_klaviyo_identity_members,
                                       values,
                                       NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS)
        != NGX_OK)
    {
        ngx_http_klaviyo_identity_parse(arena, &plain, values);
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS; i++) {

        ngx_http_klaviyo_data_set_string(data, values[i].data, values[i].len);

        ngx_http_klaviyo_identity_check(data,
                                        ngx_http_klaviyo_identity_fields[i],
                                        company);

        if (!ngx_http_klaviyo_data_is_missing(data)) {
            *field = ngx_http_klaviyo_identity_fields[i];
            return;
        }
    }
}


/* what is no object has no members, what is no string is empty */

static void
ngx_http_klaviyo_identity_parse(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text, ngx_str_t *values)
{
    json_t      *json, *member;
    ngx_uint_t   i;

    json = ngx_http_klaviyo_json_parse(arena, text);

    for (i = 0; i < NGX_HTTP_KLAVIYO_IDENTITY_MEMBERS; i++) {

        member = json_object_get(json,
                         (char *) ngx_http_klaviyo_identity_members[i].data);

        values[i].data = (u_char *) json_string_value(member);
        values[i].len = json_string_length(member);
    }
}


/*
 * Whether the text may have a member that names somebody: most visitors are
 * nobody, and to parse what their cookies say otherwise costs more than a
 * whole event.  With a backslash a name may be written in other ways.
 */

static ngx_uint_t
ngx_http_klaviyo_identity_worth(ngx_str_t *text)
{
    if (text->len == 0) {
        return 0;
    }

    return ngx_http_klaviyo_identity_has(text, "exchange_id")
           || ngx_http_klaviyo_identity_has(text, "email")
           || ngx_http_klaviyo_identity_has(text, "phone_number")
           || ngx_http_klaviyo_identity_has(text, "\\");
}


ngx_uint_t
ngx_http_klaviyo_identity_stated(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *found)
{
    ngx_uint_t  n, last;

    last = identity->all ? NGX_HTTP_KLAVIYO_ANONYMOUS_ID : NGX_HTTP_KLAVIYO_KX;

    if (identity->update) {
        last = NGX_HTTP_KLAVIYO_EXTERNAL_ID;
    }

    n = ngx_http_klaviyo_identity_configured(identity, NGX_HTTP_KLAVIYO_EMAIL,
                                             last, found);

    identity->source = NGX_HTTP_KLAVIYO_SOURCE_STATED;

    if (n == 0 && (identity->rungs & NGX_HTTP_KLAVIYO_IDENTITY_KX)) {
        n = ngx_http_klaviyo_identity_args(arena, identity, found);

        identity->source = NGX_HTTP_KLAVIYO_SOURCE_LINK;
    }

    return n;
}


ngx_uint_t
ngx_http_klaviyo_identity_implied(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *found)
{
    if (identity->rungs & NGX_HTTP_KLAVIYO_IDENTITY_COOKIE) {
        ngx_http_klaviyo_identity_cookie(arena, &identity->cookie,
                                         &identity->company, &found->field,
                                         &found->data);

        if (!ngx_http_klaviyo_data_is_missing(&found->data)) {
            found->key = ngx_http_klaviyo_identity_keys[found->field];
            identity->source = NGX_HTTP_KLAVIYO_SOURCE_COOKIE;
            return 1;
        }
    }

    if (identity->remembered) {
        *found = *identity->remembered;
        identity->source = NGX_HTTP_KLAVIYO_SOURCE_VISITOR;
        return 1;
    }

    identity->source = NGX_HTTP_KLAVIYO_SOURCE_OTHER;

    return ngx_http_klaviyo_identity_configured(identity,
                                              NGX_HTTP_KLAVIYO_EXTERNAL_ID,
                                              NGX_HTTP_KLAVIYO_ANONYMOUS_ID,
                                              found);
}


/* The rule's fields from "first" to "last", then those of klaviyo_profile. */

static ngx_uint_t
ngx_http_klaviyo_identity_configured(ngx_http_klaviyo_identity_t *identity,
    ngx_uint_t first, ngx_uint_t last, ngx_http_klaviyo_member_t *found)
{
    ngx_uint_t  n, field, got, level, members;

    n = 0;
    got = 0;
    members = identity->nrule;

    for (level = 0; level < 2; level++) {

        for (field = first; field <= last; field++) {

            if ((got & ((ngx_uint_t) 1 << field))
                || !ngx_http_klaviyo_identity_first(identity, members, field,
                                                    &found[n]))
            {
                continue;
            }

            got |= (ngx_uint_t) 1 << field;
            n++;

            if (!identity->all) {
                return n;
            }
        }

        members = identity->nconfigured;
    }

    return n;
}


static ngx_uint_t
ngx_http_klaviyo_identity_first(ngx_http_klaviyo_identity_t *identity,
    ngx_uint_t members, ngx_uint_t field, ngx_http_klaviyo_member_t *found)
{
    ngx_uint_t  i;

    for (i = 0; i < members; i++) {

        if (identity->configured[i].field != field) {
            continue;
        }

        *found = identity->configured[i];

        ngx_http_klaviyo_identity_check(&found->data, field,
                                        &identity->company);

        if (ngx_http_klaviyo_data_is_missing(&found->data)) {
            continue;
        }

        /* Klaviyo refuses others, an event then goes without a phone */

        if (identity->update && field == NGX_HTTP_KLAVIYO_PHONE_NUMBER
            && !ngx_http_klaviyo_phone_valid(&found->data.text))
        {
            continue;
        }

        return 1;
    }

    return 0;
}


/* The first _kx in the query that is valid. */

static ngx_uint_t
ngx_http_klaviyo_identity_args(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *found)
{
    u_char     *p, *last, *end;
    ngx_str_t   arg, value, kx;

    p = identity->args.data;
    last = p + identity->args.len;

    if (!ngx_http_klaviyo_url_suspect(p, last)) {
        return 0;
    }

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');

        if (end == NULL) {
            end = last;
        }

        arg.data = p;
        arg.len = end - p;

        if (!ngx_http_klaviyo_url_named(&arg,
                                        &ngx_http_klaviyo_identity_kx_name))
        {
            continue;
        }

        value.data = ngx_strlchr(p, end, '=');

        if (value.data == NULL) {
            continue;
        }

        value.data++;
        value.len = end - value.data;

        /* three bytes may stand for one */

        if (value.len > 3 * NGX_HTTP_KLAVIYO_MAX_IDENTIFIER
            || ngx_http_klaviyo_decode_url(arena, &value, &kx, 0) != NGX_OK)
        {
            continue;
        }

        ngx_http_klaviyo_data_set_string(&found->data, kx.data, kx.len);

        ngx_http_klaviyo_identity_check(&found->data, NGX_HTTP_KLAVIYO_KX,
                                        &identity->company);

        if (!ngx_http_klaviyo_data_is_missing(&found->data)) {
            found->field = NGX_HTTP_KLAVIYO_KX;
            found->key = ngx_http_klaviyo_identity_keys[found->field];
            return 1;
        }
    }

    return 0;
}


ngx_str_t *
ngx_http_klaviyo_identity_key(ngx_http_klaviyo_field_e field)
{
    return &ngx_http_klaviyo_identity_keys[field];
}
