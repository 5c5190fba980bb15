
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Dates: read in the forms that shops write them in, written as RFC 3339 in
 * UTC.  What could mean two moments is refused.
 */


#include "ngx_http_klaviyo_filter.h"


/* as seconds, 1973-03-03 to 2286-11-20; as milliseconds likewise */
#define NGX_HTTP_KLAVIYO_DATE_MIN_SEC   100000000
#define NGX_HTTP_KLAVIYO_DATE_MAX_SEC   9999999999
#define NGX_HTTP_KLAVIYO_DATE_MIN_MSEC  100000000000
#define NGX_HTTP_KLAVIYO_DATE_MAX_MSEC  9999999999999

/* the years 1 and 9999 */
#define NGX_HTTP_KLAVIYO_DATE_FIRST     -62135596800
#define NGX_HTTP_KLAVIYO_DATE_LAST      253402300799


static ngx_int_t ngx_http_klaviyo_date_epoch(u_char *p, u_char *last,
    int64_t *sec, ngx_uint_t *msec);
static ngx_int_t ngx_http_klaviyo_date_http(ngx_str_t *text, int64_t *sec);
static ngx_int_t ngx_http_klaviyo_date_rfc3339(u_char *p, u_char *last,
    int64_t *sec, ngx_uint_t *msec);
static ngx_int_t ngx_http_klaviyo_date_day(u_char *p, u_char *last,
    struct tm *tm);
static ngx_int_t ngx_http_klaviyo_date_clock(u_char *p, u_char *last,
    struct tm *tm);
static u_char *ngx_http_klaviyo_date_fraction(u_char *p, u_char *last,
    ngx_uint_t *msec);
static ngx_int_t ngx_http_klaviyo_date_offset(u_char *p, u_char *last,
    ngx_int_t *offset);
static ngx_uint_t ngx_http_klaviyo_date_shape(u_char *p, u_char *last,
    const char *shape);


ngx_int_t
ngx_http_klaviyo_date_parse(ngx_str_t *text, int64_t *sec, ngx_uint_t *msec)
{
    u_char     *p, *last;
    ngx_int_t   rc;

    p = text->data;
    last = p + text->len;

    *msec = 0;

    if (text->len >= 10 && p[4] == '-') {
        rc = ngx_http_klaviyo_date_rfc3339(p, last, sec, msec);

    } else if (text->len && *p >= '1' && *p <= '9') {
        rc = ngx_http_klaviyo_date_epoch(p, last, sec, msec);

    } else {
        rc = ngx_http_klaviyo_date_http(text, sec);
    }

    if (rc != NGX_OK
        || *sec < NGX_HTTP_KLAVIYO_DATE_FIRST
        || *sec > NGX_HTTP_KLAVIYO_DATE_LAST)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_date_epoch(u_char *p, u_char *last, int64_t *sec,
    ngx_uint_t *msec)
{
    int64_t  n;
    u_char  *end;

    for (end = p; end < last && *end >= '0' && *end <= '9'; end++) {
        /* void */
    }

    n = ngx_atoof(p, end - p);

    if (end < last
        && ngx_http_klaviyo_date_fraction(end, last, msec) != last)
    {
        return NGX_DECLINED;
    }

    if (n >= NGX_HTTP_KLAVIYO_DATE_MIN_SEC
        && n <= NGX_HTTP_KLAVIYO_DATE_MAX_SEC)
    {
        *sec = n;
        return NGX_OK;
    }

    if (n >= NGX_HTTP_KLAVIYO_DATE_MIN_MSEC
        && n <= NGX_HTTP_KLAVIYO_DATE_MAX_MSEC)
    {
        *sec = n / 1000;
        *msec = n % 1000;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


/*
 * nginx's parser looks neither at the zone nor at what follows, and a zone
 * other than GMT makes another moment.
 */

static ngx_int_t
ngx_http_klaviyo_date_http(ngx_str_t *text, int64_t *sec)
{
    time_t  t;

    if (text->len < 24) {
        return NGX_DECLINED;
    }

    if (ngx_strlchr(text->data, text->data + text->len, ',')) {

        if (ngx_strncmp(text->data + text->len - 4, " GMT", 4) != 0) {
            return NGX_DECLINED;
        }

    } else if (text->len != sizeof("Sun Nov  6 08:49:37 1994") - 1) {
        return NGX_DECLINED;
    }

    t = ngx_parse_http_time(text->data, text->len);

    if (t == NGX_ERROR) {
        return NGX_DECLINED;
    }

    *sec = t;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_date_rfc3339(u_char *p, u_char *last, int64_t *sec,
    ngx_uint_t *msec)
{
    struct tm  tm;
    ngx_int_t  offset;

    ngx_memzero(&tm, sizeof(struct tm));

    if (ngx_http_klaviyo_date_day(p, last, &tm) != NGX_OK) {
        return NGX_DECLINED;
    }

    p += sizeof("2026-07-23") - 1;

    if (p == last) {
        *sec = timegm(&tm);
        return NGX_OK;
    }

    if (*p != 'T' && *p != 't' && *p != ' ') {
        return NGX_DECLINED;
    }

    p++;

    if (ngx_http_klaviyo_date_clock(p, last, &tm) != NGX_OK) {
        return NGX_DECLINED;
    }

    p += sizeof("10:15:30") - 1;

    if (p < last && *p == '.') {
        p = ngx_http_klaviyo_date_fraction(p, last, msec);
    }

    if (ngx_http_klaviyo_date_offset(p, last, &offset) != NGX_OK) {
        return NGX_DECLINED;
    }

    *sec = timegm(&tm) - offset;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_date_day(u_char *p, u_char *last, struct tm *tm)
{
    ngx_int_t  year, mon, day, days;

    static u_char  lengths[] = { 31, 28, 31, 30, 31, 30,
                                 31, 31, 30, 31, 30, 31 };

    if (!ngx_http_klaviyo_date_shape(p, last, "####-##-##")) {
        return NGX_DECLINED;
    }

    year = ngx_atoi(p, 4);
    mon = ngx_atoi(p + 5, 2);
    day = ngx_atoi(p + 8, 2);

    if (mon < 1 || mon > 12) {
        return NGX_DECLINED;
    }

    days = lengths[mon - 1];

    if (mon == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) {
        days++;
    }

    if (day < 1 || day > days) {
        return NGX_DECLINED;
    }

    tm->tm_year = year - 1900;
    tm->tm_mon = mon - 1;
    tm->tm_mday = day;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_date_clock(u_char *p, u_char *last, struct tm *tm)
{
    ngx_int_t  hour, min, sec;

    if (!ngx_http_klaviyo_date_shape(p, last, "##:##:##")) {
        return NGX_DECLINED;
    }

    hour = ngx_atoi(p, 2);
    min = ngx_atoi(p + 3, 2);
    sec = ngx_atoi(p + 6, 2);

    /* a leap second is the first one of the next minute */

    if (hour > 23 || min > 59 || sec > (min == 59 ? 60 : 59)) {
        return NGX_DECLINED;
    }

    tm->tm_hour = hour;
    tm->tm_min = min;
    tm->tm_sec = sec;

    return NGX_OK;
}


/* returns where the digits after the point end, or NULL without any */

static u_char *
ngx_http_klaviyo_date_fraction(u_char *p, u_char *last, ngx_uint_t *msec)
{
    u_char      *start;
    ngx_uint_t   unit;

    if (*p++ != '.') {
        return NULL;
    }

    unit = 100;

    for (start = p; p < last && *p >= '0' && *p <= '9'; p++) {
        *msec += (*p - '0') * unit;
        unit /= 10;
    }

    return (p == start) ? NULL : p;
}


static ngx_int_t
ngx_http_klaviyo_date_offset(u_char *p, u_char *last, ngx_int_t *offset)
{
    ngx_int_t  hour, min, sign;

    if (p == NULL || p == last) {
        return NGX_DECLINED;
    }

    *offset = 0;

    if (*p == 'Z' || *p == 'z') {
        return (p + 1 == last) ? NGX_OK : NGX_DECLINED;
    }

    if (*p != '+' && *p != '-') {
        return NGX_DECLINED;
    }

    sign = (*p++ == '-') ? -1 : 1;

    if (last - p == 5 && ngx_http_klaviyo_date_shape(p, last, "##:##")) {
        min = ngx_atoi(p + 3, 2);

    } else if (last - p == 4 && ngx_http_klaviyo_date_shape(p, last, "####")) {
        min = ngx_atoi(p + 2, 2);

    } else {
        return NGX_DECLINED;
    }

    hour = ngx_atoi(p, 2);

    if (hour > 23 || min > 59) {
        return NGX_DECLINED;
    }

    *offset = sign * (hour * 3600 + min * 60);

    return NGX_OK;
}


/* whether the text begins like "shape", in which "#" stands for a digit */

static ngx_uint_t
ngx_http_klaviyo_date_shape(u_char *p, u_char *last, const char *shape)
{
    for ( /* void */ ; *shape; shape++, p++) {

        if (p >= last) {
            return 0;
        }

        if (*shape == '#' ? (*p < '0' || *p > '9') : (*p != *shape)) {
            return 0;
        }
    }

    return 1;
}


size_t
ngx_http_klaviyo_date_format(u_char *buf, int64_t sec, ngx_uint_t msec)
{
    u_char     *p;
    time_t      t;
    struct tm   tm;

    t = (time_t) sec;

    if (sec < NGX_HTTP_KLAVIYO_DATE_FIRST
        || sec > NGX_HTTP_KLAVIYO_DATE_LAST
        || gmtime_r(&t, &tm) == NULL)
    {
        return 0;
    }

    p = ngx_sprintf(buf, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
                    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                    tm.tm_sec);

    if (msec) {
        p = ngx_sprintf(p, ".%03ui", msec % 1000);
    }

    *p++ = 'Z';

    return p - buf;
}
