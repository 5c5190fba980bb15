
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * One event on disk as a line, and the names of segments.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_segment.h"


#define NGX_HTTP_KLAVIYO_LINE_EVENT     "\"event\":"

/* of an offset: no file is larger */
#define NGX_HTTP_KLAVIYO_OFFSET_DIGITS  18


typedef struct {
    u_char                              *pos;
    u_char                              *last;
} ngx_http_klaviyo_scan_t;


static ngx_uint_t ngx_http_klaviyo_scan_text(ngx_http_klaviyo_scan_t *scan,
    const char *text);
static ngx_uint_t ngx_http_klaviyo_scan_hex(ngx_http_klaviyo_scan_t *scan,
    ngx_uint_t digits, uint64_t *value);
static ngx_uint_t ngx_http_klaviyo_scan_number(ngx_http_klaviyo_scan_t *scan,
    uint64_t max, uint64_t *value);
static ngx_uint_t ngx_http_klaviyo_scan_key(ngx_http_klaviyo_scan_t *scan,
    u_char *key);
static ngx_uint_t ngx_http_klaviyo_line_head(ngx_http_klaviyo_scan_t *scan,
    ngx_http_klaviyo_line_t *line, uint64_t *crc, uint64_t *len);


void
ngx_http_klaviyo_line_of(ngx_http_klaviyo_line_t *line,
    ngx_http_klaviyo_ring_t *ring, ngx_http_klaviyo_record_t *record)
{
    ngx_memcpy(line->key,
               ngx_http_klaviyo_control_key(ring->control, record->rule),
               NGX_HTTP_KLAVIYO_KEY_LEN);

    line->id = record->id;
    line->time = record->time;
    line->backfill = record->backfill;
    line->aged = (record->flags & NGX_HTTP_KLAVIYO_RECORD_AGED) ? 1 : 0;

    line->event.data = ngx_http_klaviyo_record_text(record);
    line->event.len = record->len;
}


u_char *
ngx_http_klaviyo_line_write(u_char *p, ngx_http_klaviyo_line_t *line,
    ngx_str_t *more)
{
    p = ngx_sprintf(p, "{\"crc\":\"%08xD\",\"len\":%uz,\"key\":\"",
                    ngx_crc32_long(line->event.data, line->event.len),
                    line->event.len);

    p = ngx_hex_dump(p, line->key, NGX_HTTP_KLAVIYO_KEY_LEN);

    p = ngx_sprintf(p, "\",\"id\":\"%08xD\",\"time\":%uD,\"backfill\":%ui,"
                    "\"decided\":%s,",
                    line->id, line->time, (ngx_uint_t) line->backfill,
                    line->aged ? "true" : "false");

    if (more) {
        p = ngx_cpymem(p, more->data, more->len);
    }

    p = ngx_cpymem(p, NGX_HTTP_KLAVIYO_LINE_EVENT,
                   sizeof(NGX_HTTP_KLAVIYO_LINE_EVENT) - 1);
    p = ngx_cpymem(p, line->event.data, line->event.len);

    *p++ = '}';
    *p++ = LF;

    return p;
}


/*
 * The event is found from the end, by its length: whatever stands between the
 * head and the event needs no parser.
 */

ngx_int_t
ngx_http_klaviyo_line_parse(ngx_http_klaviyo_line_t *line, u_char *p,
    size_t len)
{
    size_t                    name;
    u_char                   *event;
    uint64_t                  crc, n;
    ngx_http_klaviyo_scan_t   scan;

    scan.pos = p;
    scan.last = p + len;

    if (!ngx_http_klaviyo_line_head(&scan, line, &crc, &n)) {
        return NGX_ERROR;
    }

    name = sizeof(NGX_HTTP_KLAVIYO_LINE_EVENT) - 1;

    if (n < 2 || (uint64_t) (scan.last - scan.pos) < name + n + 1) {
        return NGX_DECLINED;
    }

    event = scan.last - 1 - n;

    if (scan.last[-1] != '}' || event[0] != '{' || event[n - 1] != '}'
        || ngx_memcmp(event - name, NGX_HTTP_KLAVIYO_LINE_EVENT, name) != 0
        || ngx_crc32_long(event, n) != crc)
    {
        return NGX_DECLINED;
    }

    line->event.data = event;
    line->event.len = n;

    if (line->backfill + sizeof("false") - 1 > n) {
        line->backfill = 0;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_line_head(ngx_http_klaviyo_scan_t *scan,
    ngx_http_klaviyo_line_t *line, uint64_t *crc, uint64_t *len)
{
    uint64_t  id, time, backfill;

    if (!ngx_http_klaviyo_scan_text(scan, "{\"crc\":\"")
        || !ngx_http_klaviyo_scan_hex(scan, 8, crc)
        || !ngx_http_klaviyo_scan_text(scan, "\",\"len\":")
        || !ngx_http_klaviyo_scan_number(scan, NGX_HTTP_KLAVIYO_LINE_MAX, len)
        || !ngx_http_klaviyo_scan_text(scan, ",\"key\":\"")
        || !ngx_http_klaviyo_scan_key(scan, line->key)
        || !ngx_http_klaviyo_scan_text(scan, "\",\"id\":\"")
        || !ngx_http_klaviyo_scan_hex(scan, 8, &id)
        || !ngx_http_klaviyo_scan_text(scan, "\",\"time\":")
        || !ngx_http_klaviyo_scan_number(scan, 0xffffffff, &time)
        || !ngx_http_klaviyo_scan_text(scan, ",\"backfill\":")
        || !ngx_http_klaviyo_scan_number(scan, 0xffff, &backfill))
    {
        return 0;
    }

    line->id = (uint32_t) id;
    line->time = (uint32_t) time;
    line->backfill = (uint16_t) backfill;
    line->aged = 1;

    if (ngx_http_klaviyo_scan_text(scan, ",\"decided\":true,")) {
        return 1;
    }

    line->aged = 0;

    return ngx_http_klaviyo_scan_text(scan, ",\"decided\":false,");
}


static ngx_uint_t
ngx_http_klaviyo_scan_text(ngx_http_klaviyo_scan_t *scan, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    if ((size_t) (scan->last - scan->pos) < len
        || ngx_memcmp(scan->pos, text, len) != 0)
    {
        return 0;
    }

    scan->pos += len;

    return 1;
}


/* lower case, as we write it */

static ngx_uint_t
ngx_http_klaviyo_scan_hex(ngx_http_klaviyo_scan_t *scan, ngx_uint_t digits,
    uint64_t *value)
{
    u_char      ch;
    ngx_uint_t  i;

    if ((size_t) (scan->last - scan->pos) < digits) {
        return 0;
    }

    *value = 0;

    for (i = 0; i < digits; i++) {
        ch = scan->pos[i];

        if (ch >= '0' && ch <= '9') {
            *value = *value * 16 + (ch - '0');

        } else if (ch >= 'a' && ch <= 'f') {
            *value = *value * 16 + (ch - 'a' + 10);

        } else {
            return 0;
        }
    }

    scan->pos += digits;

    return 1;
}


static ngx_uint_t
ngx_http_klaviyo_scan_number(ngx_http_klaviyo_scan_t *scan, uint64_t max,
    uint64_t *value)
{
    u_char  *start;

    start = scan->pos;
    *value = 0;

    while (scan->pos < scan->last && *scan->pos >= '0' && *scan->pos <= '9') {
        *value = *value * 10 + (*scan->pos++ - '0');

        if (*value > max) {
            return 0;
        }
    }

    return scan->pos > start;
}


static ngx_uint_t
ngx_http_klaviyo_scan_key(ngx_http_klaviyo_scan_t *scan, u_char *key)
{
    uint64_t    byte;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_KLAVIYO_KEY_LEN; i++) {
        if (!ngx_http_klaviyo_scan_hex(scan, 2, &byte)) {
            return 0;
        }

        key[i] = (u_char) byte;
    }

    return 1;
}


size_t
ngx_http_klaviyo_segment_format(u_char *buf, ngx_str_t *account,
    uint64_t instance, uint64_t seq)
{
    u_char  *p;

    p = ngx_sprintf(buf, "%V.%016xL-%08uL" NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX "%Z",
                    account, instance, seq);

    return p - buf - 1;
}


size_t
ngx_http_klaviyo_segment_format_taken(u_char *buf, ngx_str_t *account,
    uint64_t instance, uint64_t seq, off_t offset)
{
    u_char  *p;

    p = ngx_sprintf(buf, "%V.%016xL-%08uL+@%O"
                    NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX "%Z",
                    account, instance, seq, offset);

    return p - buf - 1;
}


/* The account's name may have dots: what follows it is found from the end */

ngx_int_t
ngx_http_klaviyo_segment_parse(ngx_http_klaviyo_segment_name_t *name,
    u_char *p, size_t len)
{
    u_char                   *last, *at;
    size_t                    suffix;
    uint64_t                  instance, seq, offset;
    ngx_uint_t                taken;
    ngx_http_klaviyo_scan_t   scan;

    suffix = sizeof(NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX) - 1;

    if (len <= suffix
        || ngx_memcmp(p + len - suffix, NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX,
                      suffix)
           != 0)
    {
        return NGX_DECLINED;
    }

    last = p + len - suffix;
    at = NULL;

    for (scan.pos = last; scan.pos > p && scan.pos[-1] != '.'; scan.pos--) {
        if (scan.pos[-1] == '@') {
            at = scan.pos - 1;
        }
    }

    if (scan.pos <= p + 1 || scan.pos == last) {
        return NGX_DECLINED;
    }

    name->account.data = p;
    name->account.len = scan.pos - 1 - p;
    name->instance = 0;
    name->seq = 0;
    name->taken = 0;
    name->offset = 0;
    name->len = (at ? at : last) - p;

    scan.last = p + name->len;

    if (ngx_http_klaviyo_scan_hex(&scan, 16, &instance)
        && ngx_http_klaviyo_scan_text(&scan, "-")
        && ngx_http_klaviyo_scan_number(&scan, NGX_MAX_INT32_VALUE, &seq))
    {
        taken = ngx_http_klaviyo_scan_text(&scan, "+");

        if (scan.pos == scan.last) {
            name->instance = instance;
            name->seq = seq;
            name->taken = taken;
        }
    }

    if (at && last - at - 1 <= NGX_HTTP_KLAVIYO_OFFSET_DIGITS) {
        scan.pos = at + 1;
        scan.last = last;

        if (ngx_http_klaviyo_scan_number(&scan, NGX_MAX_OFF_T_VALUE, &offset)
            && scan.pos == scan.last)
        {
            name->offset = (off_t) offset;
        }
    }

    return NGX_OK;
}
