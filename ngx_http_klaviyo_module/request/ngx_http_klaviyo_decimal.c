
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Exact decimal arithmetic for money: a 128-bit coefficient and a power of
 * ten.
 */


#include "ngx_http_klaviyo_decimal.h"


/* what 127 bits always hold */
#define NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS    38

/* about the range of a double: what others can read; of the numbers with the
 * greatest exponent only those up to these first digits */
#define NGX_HTTP_KLAVIYO_DECIMAL_MAX_EXPONENT  309
#define NGX_HTTP_KLAVIYO_DECIMAL_MIN_EXPONENT  -400
#define NGX_HTTP_KLAVIYO_DECIMAL_MAX_FIRST     17976931348623157
#define NGX_HTTP_KLAVIYO_DECIMAL_MAX_FIRST_N   17

/* beyond both, and far from an overflow of sums */
#define NGX_HTTP_KLAVIYO_DECIMAL_FAR           1000

/* digits that a fraction without exponent may have */
#define NGX_HTTP_KLAVIYO_DECIMAL_WIDTH         40

/* digits of the greatest 64-bit integer */
#define NGX_HTTP_KLAVIYO_DECIMAL_INT64         19


typedef unsigned __int128  ngx_http_klaviyo_uint128_t;


static u_char *ngx_http_klaviyo_decimal_digits(u_char *p, u_char *last,
    ngx_http_klaviyo_uint128_t *value, ngx_int_t *exponent);
static u_char *ngx_http_klaviyo_decimal_exponent(u_char *p, u_char *last,
    ngx_int_t *exponent);
static ngx_http_klaviyo_uint128_t ngx_http_klaviyo_decimal_power(ngx_int_t n);
static ngx_http_klaviyo_uint128_t ngx_http_klaviyo_decimal_abs(
    ngx_http_klaviyo_decimal_t *d);
static ngx_int_t ngx_http_klaviyo_decimal_count(
    ngx_http_klaviyo_uint128_t value);
static ngx_int_t ngx_http_klaviyo_decimal_set(ngx_http_klaviyo_decimal_t *r,
    ngx_uint_t negative, ngx_http_klaviyo_uint128_t value, ngx_int_t exponent);
static ngx_uint_t ngx_http_klaviyo_decimal_finite(
    ngx_http_klaviyo_uint128_t value, ngx_int_t n, ngx_int_t exponent);
static ngx_int_t ngx_http_klaviyo_decimal_align(ngx_http_klaviyo_decimal_t *d,
    ngx_int_t exponent, ngx_http_klaviyo_uint128_t *value);
static ngx_http_klaviyo_uint128_t ngx_http_klaviyo_decimal_round(
    ngx_http_klaviyo_uint128_t value, ngx_int_t *exponent);
static ngx_uint_t ngx_http_klaviyo_decimal_is_plain(
    ngx_http_klaviyo_uint128_t value, ngx_int_t n, ngx_int_t exponent);
static u_char *ngx_http_klaviyo_decimal_plain(u_char *p, u_char *digits,
    ngx_int_t n, ngx_int_t exponent);
static u_char *ngx_http_klaviyo_decimal_scientific(u_char *p, u_char *digits,
    ngx_int_t n, ngx_int_t exponent);


ngx_int_t
ngx_http_klaviyo_decimal_parse(ngx_http_klaviyo_decimal_t *d, ngx_str_t *text)
{
    u_char                      *p, *last;
    ngx_int_t                    exponent;
    ngx_uint_t                   negative;
    ngx_http_klaviyo_uint128_t   value;

    p = text->data;
    last = p + text->len;
    negative = 0;

    if (p < last && (*p == '-' || *p == '+')) {
        negative = (*p++ == '-');
    }

    p = ngx_http_klaviyo_decimal_digits(p, last, &value, &exponent);

    if (p && p < last && (*p == 'e' || *p == 'E')) {
        p = ngx_http_klaviyo_decimal_exponent(p + 1, last, &exponent);
    }

    if (p == NULL || p < last) {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_decimal_set(d, negative, value, exponent);
}


/*
 * Takes digits with a point between them and returns where they end, or NULL.
 * Zeros wait until another digit comes, so that neither "1000...0" nor
 * "0.5000...0" is too long.
 */

static u_char *
ngx_http_klaviyo_decimal_digits(u_char *p, u_char *last,
    ngx_http_klaviyo_uint128_t *value, ngx_int_t *exponent)
{
    u_char     *start, *point;
    ngx_int_t   n, zeros;

    n = 0;
    zeros = 0;
    start = p;
    point = NULL;
    *value = 0;

    for ( /* void */ ; p < last; p++) {

        if (*p == '.' && p > start && point == NULL) {
            point = p;
            continue;
        }

        if (*p < '0' || *p > '9') {
            break;
        }

        if (*p == '0') {
            zeros += (n > 0);
            continue;
        }

        n += zeros + 1;

        if (n > NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS) {
            return NULL;
        }

        *value *= ngx_http_klaviyo_decimal_power(zeros + 1);
        *value += *p - '0';
        zeros = 0;
    }

    if (p == start || p - 1 == point) {
        return NULL;
    }

    *exponent = zeros - (point ? p - point - 1 : 0);

    return p;
}


static u_char *
ngx_http_klaviyo_decimal_exponent(u_char *p, u_char *last, ngx_int_t *exponent)
{
    u_char      *start;
    ngx_int_t    n;
    ngx_uint_t   negative;

    n = 0;
    negative = 0;

    if (p < last && (*p == '-' || *p == '+')) {
        negative = (*p++ == '-');
    }

    for (start = p; p < last && *p >= '0' && *p <= '9'; p++) {

        if (n < NGX_HTTP_KLAVIYO_DECIMAL_FAR) {
            n = n * 10 + (*p - '0');
        }
    }

    *exponent += negative ? -n : n;

    return (p == start) ? NULL : p;
}


static ngx_http_klaviyo_uint128_t
ngx_http_klaviyo_decimal_power(ngx_int_t n)
{
    ngx_http_klaviyo_uint128_t  power;

    for (power = 1; n > 0; n--) {
        power *= 10;
    }

    return power;
}


static ngx_http_klaviyo_uint128_t
ngx_http_klaviyo_decimal_abs(ngx_http_klaviyo_decimal_t *d)
{
    ngx_http_klaviyo_uint128_t  value;

    value = d->coefficient;

    return (d->coefficient < 0) ? -value : value;
}


static ngx_int_t
ngx_http_klaviyo_decimal_count(ngx_http_klaviyo_uint128_t value)
{
    ngx_int_t                   n;
    ngx_http_klaviyo_uint128_t  power;

    power = 10;

    for (n = 1; n <= NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS; n++) {

        if (value < power) {
            break;
        }

        power *= 10;
    }

    return n;
}


/* the only way into a result: no zeros at the end, all limits checked */

static ngx_int_t
ngx_http_klaviyo_decimal_set(ngx_http_klaviyo_decimal_t *r,
    ngx_uint_t negative, ngx_http_klaviyo_uint128_t value, ngx_int_t exponent)
{
    ngx_int_t  n;

    if (value == 0) {
        r->coefficient = 0;
        r->exponent = 0;
        return NGX_OK;
    }

    while (value % 10 == 0) {
        value /= 10;
        exponent++;
    }

    n = ngx_http_klaviyo_decimal_count(value);

    if (n > NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS
        || !ngx_http_klaviyo_decimal_finite(value, n, exponent)
        || exponent < NGX_HTTP_KLAVIYO_DECIMAL_MIN_EXPONENT)
    {
        return NGX_DECLINED;
    }

    r->coefficient = negative ? -(__int128) value : (__int128) value;
    r->exponent = exponent;

    return NGX_OK;
}


/* Whether a double holds it: others read "2e308" as infinity, or not at all. */

static ngx_uint_t
ngx_http_klaviyo_decimal_finite(ngx_http_klaviyo_uint128_t value, ngx_int_t n,
    ngx_int_t exponent)
{
    if (n + exponent != NGX_HTTP_KLAVIYO_DECIMAL_MAX_EXPONENT) {
        return (n + exponent < NGX_HTTP_KLAVIYO_DECIMAL_MAX_EXPONENT);
    }

    for ( /* void */ ; n > NGX_HTTP_KLAVIYO_DECIMAL_MAX_FIRST_N; n--) {
        value /= 10;
    }

    for ( /* void */ ; n < NGX_HTTP_KLAVIYO_DECIMAL_MAX_FIRST_N; n++) {
        value *= 10;
    }

    return (value <= NGX_HTTP_KLAVIYO_DECIMAL_MAX_FIRST);
}


ngx_int_t
ngx_http_klaviyo_decimal_add(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    ngx_int_t                   exponent;
    ngx_uint_t                  minus;
    ngx_http_klaviyo_uint128_t  x, y;

    if (a->coefficient == 0 || b->coefficient == 0) {
        *r = (a->coefficient == 0) ? *b : *a;
        return NGX_OK;
    }

    exponent = ngx_min(a->exponent, b->exponent);

    if (ngx_http_klaviyo_decimal_align(a, exponent, &x) != NGX_OK
        || ngx_http_klaviyo_decimal_align(b, exponent, &y) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    minus = (a->coefficient < 0);

    if (minus == (b->coefficient < 0)) {
        return ngx_http_klaviyo_decimal_set(r, minus, x + y, exponent);
    }

    if (x >= y) {
        return ngx_http_klaviyo_decimal_set(r, minus, x - y, exponent);
    }

    return ngx_http_klaviyo_decimal_set(r, !minus, y - x, exponent);
}


/* the coefficient that "d" would have with a lesser exponent, without sign */

static ngx_int_t
ngx_http_klaviyo_decimal_align(ngx_http_klaviyo_decimal_t *d,
    ngx_int_t exponent, ngx_http_klaviyo_uint128_t *value)
{
    ngx_int_t  n;

    n = d->exponent - exponent;
    *value = ngx_http_klaviyo_decimal_abs(d);

    if (ngx_http_klaviyo_decimal_count(*value) + n
        > NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS)
    {
        return NGX_DECLINED;
    }

    *value *= ngx_http_klaviyo_decimal_power(n);

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_decimal_multiply(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    ngx_http_klaviyo_uint128_t  x, y, max;

    x = ngx_http_klaviyo_decimal_abs(a);
    y = ngx_http_klaviyo_decimal_abs(b);
    max = ngx_http_klaviyo_decimal_power(NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS);

    if (y != 0 && x > max / y) {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_decimal_set(r,
                                 (a->coefficient < 0) != (b->coefficient < 0),
                                 x * y, a->exponent + b->exponent);
}


ngx_int_t
ngx_http_klaviyo_decimal_divide(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_http_klaviyo_decimal_t *b)
{
    ngx_int_t                   exponent;
    ngx_http_klaviyo_uint128_t  x, y, max, quotient;

    x = ngx_http_klaviyo_decimal_abs(a);
    y = ngx_http_klaviyo_decimal_abs(b);
    max = ngx_http_klaviyo_decimal_power(
                                      NGX_HTTP_KLAVIYO_DECIMAL_MAX_DIGITS - 1);

    /* a remainder is less than "y", and ten times it must fit */

    if (y == 0 || y > max) {
        return NGX_DECLINED;
    }

    exponent = a->exponent - b->exponent;
    quotient = x / y;
    x %= y;

    while (x != 0 && quotient < max) {
        x *= 10;
        quotient = quotient * 10 + x / y;
        x %= y;
        exponent--;
    }

    if (x != 0) {
        quotient = ngx_http_klaviyo_decimal_round(quotient, &exponent);
    }

    return ngx_http_klaviyo_decimal_set(r,
                                 (a->coefficient < 0) != (b->coefficient < 0),
                                 quotient, exponent);
}


/*
 * More digits follow "value", which is longer than what it is rounded to:
 * never exactly a half, so that there is no even to look for.
 */

static ngx_http_klaviyo_uint128_t
ngx_http_klaviyo_decimal_round(ngx_http_klaviyo_uint128_t value,
    ngx_int_t *exponent)
{
    ngx_int_t                   n;
    ngx_http_klaviyo_uint128_t  power;

    n = ngx_http_klaviyo_decimal_count(value)
        - NGX_HTTP_KLAVIYO_DECIMAL_DIGITS;

    power = ngx_http_klaviyo_decimal_power(n);
    *exponent += n;

    return value / power + (value % power >= power / 2);
}


ngx_int_t
ngx_http_klaviyo_decimal_scale(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_int_t n)
{
    if (n < -NGX_HTTP_KLAVIYO_DECIMAL_FAR || n > NGX_HTTP_KLAVIYO_DECIMAL_FAR)
    {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_decimal_set(r, a->coefficient < 0,
                                        ngx_http_klaviyo_decimal_abs(a),
                                        a->exponent - n);
}


void
ngx_http_klaviyo_decimal_places(ngx_http_klaviyo_decimal_t *r,
    ngx_http_klaviyo_decimal_t *a, ngx_int_t n)
{
    ngx_int_t                   drop;
    ngx_http_klaviyo_uint128_t  power, value;

    drop = -n - a->exponent;

    if (drop <= 0) {
        *r = *a;
        return;
    }

    value = 0;

    if (drop <= NGX_HTTP_KLAVIYO_DECIMAL_DIGITS) {
        power = ngx_http_klaviyo_decimal_power(drop);
        value = ngx_http_klaviyo_decimal_abs(a);
        value = value / power + (value % power >= power / 2);
    }

    (void) ngx_http_klaviyo_decimal_set(r, a->coefficient < 0, value, -n);
}


ngx_int_t
ngx_http_klaviyo_decimal_compare(ngx_http_klaviyo_decimal_t *a,
    ngx_http_klaviyo_decimal_t *b)
{
    ngx_int_t                   rc, n;
    ngx_http_klaviyo_uint128_t  x, y;

    if (a->coefficient == 0 || b->coefficient == 0
        || (a->coefficient < 0) != (b->coefficient < 0))
    {
        return (a->coefficient > b->coefficient)
               - (a->coefficient < b->coefficient);
    }

    x = ngx_http_klaviyo_decimal_abs(a);
    y = ngx_http_klaviyo_decimal_abs(b);
    n = a->exponent - b->exponent;

    /* where the first digits stand; if at the same place, n is a few digits */

    rc = ngx_http_klaviyo_decimal_count(x) + n
         - ngx_http_klaviyo_decimal_count(y);

    if (rc == 0) {
        x *= ngx_http_klaviyo_decimal_power(n);
        y *= ngx_http_klaviyo_decimal_power(-n);

        rc = (x > y) - (x < y);
    }

    return (a->coefficient < 0) ? -rc : rc;
}


size_t
ngx_http_klaviyo_decimal_format(u_char *buf, ngx_http_klaviyo_decimal_t *d)
{
    u_char                      *p, *last;
    u_char                       digits[NGX_HTTP_KLAVIYO_DECIMAL_WIDTH];
    ngx_int_t                    n, exponent;
    ngx_http_klaviyo_uint128_t   value, rest;

    if (d->coefficient == 0) {
        buf[0] = '0';
        return 1;
    }

    value = ngx_http_klaviyo_decimal_abs(d);
    exponent = d->exponent;

    while (value % 10 == 0) {
        value /= 10;
        exponent++;
    }

    last = digits + NGX_HTTP_KLAVIYO_DECIMAL_WIDTH;

    for (p = last, rest = value; rest != 0; rest /= 10) {
        *--p = (u_char) ('0' + rest % 10);
    }

    n = last - p;
    last = buf;

    if (d->coefficient < 0) {
        *last++ = '-';
    }

    if (ngx_http_klaviyo_decimal_is_plain(value, n, exponent)) {
        last = ngx_http_klaviyo_decimal_plain(last, p, n, exponent);

    } else {
        last = ngx_http_klaviyo_decimal_scientific(last, p, n, exponent);
    }

    return last - buf;
}


/* "n" is how many digits "value" has */

static ngx_uint_t
ngx_http_klaviyo_decimal_is_plain(ngx_http_klaviyo_uint128_t value,
    ngx_int_t n, ngx_int_t exponent)
{
    if (exponent < 0) {
        return 1 - exponent <= NGX_HTTP_KLAVIYO_DECIMAL_WIDTH;
    }

    if (n + exponent > NGX_HTTP_KLAVIYO_DECIMAL_INT64) {
        return 0;
    }

    return value * ngx_http_klaviyo_decimal_power(exponent) <= INT64_MAX;
}


static u_char *
ngx_http_klaviyo_decimal_plain(u_char *p, u_char *digits, ngx_int_t n,
    ngx_int_t exponent)
{
    ngx_int_t  point;

    if (exponent >= 0) {
        p = ngx_cpymem(p, digits, n);
        ngx_memset(p, '0', exponent);

        return p + exponent;
    }

    point = n + exponent;

    if (point > 0) {
        p = ngx_cpymem(p, digits, point);
        *p++ = '.';

        return ngx_cpymem(p, digits + point, n - point);
    }

    *p++ = '0';
    *p++ = '.';
    ngx_memset(p, '0', -point);

    return ngx_cpymem(p - point, digits, n);
}


static u_char *
ngx_http_klaviyo_decimal_scientific(u_char *p, u_char *digits, ngx_int_t n,
    ngx_int_t exponent)
{
    *p++ = digits[0];

    if (n > 1) {
        *p++ = '.';
        p = ngx_cpymem(p, digits + 1, n - 1);
    }

    return ngx_sprintf(p, "e%i", exponent + n - 1);
}
