
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of a value may tell who somebody is.
 */


#include "ngx_http_klaviyo_mask.h"


/* digits of a phone number; without a "+" or anything between them */
#define NGX_HTTP_KLAVIYO_MASK_PHONE      7
#define NGX_HTTP_KLAVIYO_MASK_DIGITS     10

#define NGX_HTTP_KLAVIYO_MASK_TOKEN      24


static ngx_uint_t ngx_http_klaviyo_mask_phone(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_mask_token(u_char *p, u_char *last);


static ngx_str_t  ngx_http_klaviyo_mask_names[] = {
    ngx_string("mail"),
    ngx_string("phone"),
    ngx_string("first_name"),
    ngx_string("firstname"),
    ngx_string("last_name"),
    ngx_string("lastname"),
    ngx_string("full_name"),
    ngx_string("fullname"),
    ngx_string("surname"),
    ngx_string("username"),
    ngx_string("user_id"),
    ngx_string("userid"),
    ngx_string("remote_user"),
    ngx_string("remote_addr"),
    ngx_string("forwarded_for"),
    ngx_string("customer_id"),
    ngx_string("customerid"),
    ngx_string("external_id"),
    ngx_string("anonymous_id"),
    ngx_string("address"),
    ngx_string("street"),
    ngx_string("postal"),
    ngx_string("postcode"),
    ngx_string("zip"),
    ngx_string("birth"),
    ngx_string("token"),
    ngx_string("secret"),
    ngx_string("passw"),
    ngx_string("session"),
    ngx_string("oauth"),
    ngx_string("authorization"),
    ngx_string("http_cookie"),
    ngx_string("kla_id"),
    ngx_string("_kx"),
    ngx_string("iban"),
    ngx_string("card"),
    ngx_null_string
};


ngx_uint_t
ngx_http_klaviyo_mask_name(ngx_str_t *name)
{
    ngx_str_t  *word;

    for (word = ngx_http_klaviyo_mask_names; word->len; word++) {

        if (word->len <= name->len
            && ngx_strlcasestrn(name->data, name->data + name->len,
                                word->data, word->len - 1))
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_klaviyo_mask_text(ngx_str_t *text)
{
    u_char  *p, *part, *last;

    if (ngx_http_klaviyo_mask_phone(text)) {
        return 1;
    }

    last = text->data + text->len;
    part = text->data;

    for (p = part; p < last; p++) {

        switch (*p) {

        case '@':
            return 1;

        case '%':
            if (last - p >= 3 && p[1] == '4' && p[2] == '0') {
                return 1;
            }

            break;

        case ' ':
        case '-':
        case '_':
        case '/':
        case '.':
        case ':':
        case '?':
        case '&':
        case '=':
        case ';':
        case ',':
        case '"':
            if (ngx_http_klaviyo_mask_token(part, p)) {
                return 1;
            }

            part = p + 1;
            break;
        }
    }

    return ngx_http_klaviyo_mask_token(part, last);
}


static ngx_uint_t
ngx_http_klaviyo_mask_phone(ngx_str_t *text)
{
    u_char      *p;
    size_t       i;
    ngx_uint_t   digits, plain;

    p = text->data;
    digits = 0;
    plain = 1;

    for (i = 0; i < text->len; i++) {

        if (p[i] >= '0' && p[i] <= '9') {
            digits++;
            continue;
        }

        if (ngx_strchr(" +()./-", p[i]) == NULL || p[i] == '\0') {
            return 0;
        }

        plain = 0;
    }

    /* 2026-07-23, and a price */

    if (text->len == 10 && p[4] == '-' && p[7] == '-') {
        return 0;
    }

    if (text->len > 3 && p[text->len - 3] == '.' && p[0] != '+') {
        return 0;
    }

    return digits >= (plain ? NGX_HTTP_KLAVIYO_MASK_DIGITS
                            : NGX_HTTP_KLAVIYO_MASK_PHONE);
}


static ngx_uint_t
ngx_http_klaviyo_mask_token(u_char *p, u_char *last)
{
    ngx_uint_t  digits, letters;

    if (last - p < NGX_HTTP_KLAVIYO_MASK_TOKEN) {
        return 0;
    }

    digits = 0;
    letters = 0;

    for ( /* void */ ; p < last; p++) {

        if (*p >= '0' && *p <= '9') {
            digits = 1;

        } else if ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') {
            letters = 1;
        }
    }

    return digits && letters;
}
