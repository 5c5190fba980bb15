
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Exact decimal arithmetic for money: a 128-bit coefficient and a power of
 * ten.  What does not fit is refused, never rounded, and so is what would be
 * infinite as a double; a quotient that does not end is rounded half to even
 * at NGX_HTTP_KLAVIYO_DECIMAL_DIGITS.
 */


#ifndef _NGX_HTTP_KLAVIYO_DECIMAL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DECIMAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_KLAVIYO_DECIMAL_DIGITS  28

/* what ngx_http_klaviyo_decimal_format() needs */
#define NGX_HTTP_KLAVIYO_DECIMAL_LEN     80


typedef struct {
    __int128                             coefficient;
    ngx_int_t                            exponent;
} ngx_http_klaviyo_decimal_t;


/*
 * The whole text: an optional sign, digits, an optional fraction, an optional
 * exponent; no blanks, no thousands.  Returns NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_http_klaviyo_decimal_parse(ngx_http_klaviyo_decimal_t *d,
    ngx_str_t *text);

/*
 * Writes a JSON number in shortest form without exponent ("19.9", "-0.05",
 * "1200"), or with one if more than 40 digits would be needed or an integer
 * has more than 64 bits, which Klaviyo refuses.  Returns the length.
 */
size_t ngx_http_klaviyo_decimal_format(u_char *buf,
    ngx_http_klaviyo_decimal_t *d);

/* Each returns NGX_OK, or NGX_DECLINED if the result does not fit. */
ngx_int_t ngx_http_klaviyo_decimal_add(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);
ngx_int_t ngx_http_klaviyo_decimal_multiply(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);
ngx_int_t ngx_http_klaviyo_decimal_divide(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b);

/* Divides by ten to the power of "n" (may be negative). */
ngx_int_t ngx_http_klaviyo_decimal_scale(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_int_t n);

/* Rounds to "n" digits after the point, a half away from zero. */
void ngx_http_klaviyo_decimal_places(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_int_t n);

/* Returns less than, equal to or greater than 0. */
ngx_int_t ngx_http_klaviyo_decimal_compare(ngx_http_klaviyo_decimal_t *a,
    ngx_http_klaviyo_decimal_t *b);


#endif /* _NGX_HTTP_KLAVIYO_DECIMAL_H_INCLUDED_ */
