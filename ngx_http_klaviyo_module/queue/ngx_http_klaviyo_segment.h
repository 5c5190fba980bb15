
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * One event on disk: a line that is a JSON object and whose event is checked by
 * a sum.  Segments of the spool and dead letters are files of such lines.  Also
 * the names of segments.  Touches no file.
 *
 *     {"crc":"f0ce2e40","len":44,"key":"...","id":"0000002a","time":1784073600,
 *      "backfill":12,"decided":true,"event":{...}}
 *
 * "crc" and "len" are of the event's bytes, which stand there as they are sent.
 * Dead letters have "at" and "error" before "event".
 */


#ifndef _NGX_HTTP_KLAVIYO_SEGMENT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_SEGMENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring.h"


/* more than a line takes besides the event and what else it says */
#define NGX_HTTP_KLAVIYO_LINE_HEAD       256

/* no line is longer: Klaviyo takes no more than 5 MB */
#define NGX_HTTP_KLAVIYO_LINE_MAX        (8 * 1024 * 1024)

#define NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX  ".spool"

/* the longest name that ngx_http_klaviyo_segment_format() makes, with NUL */
#define NGX_HTTP_KLAVIYO_SEGMENT_NAME    160


typedef struct {
    u_char                               key[NGX_HTTP_KLAVIYO_KEY_LEN];
    uint32_t                             id;
    uint32_t                             time;
    uint16_t                             backfill;   /* as in the ring */
    unsigned                             aged:1;   /* it was decided */
    ngx_str_t                            event;
} ngx_http_klaviyo_line_t;


typedef struct {
    ngx_str_t                            account;

    /* 0: not one of ours, an operator put it there */
    uint64_t                             instance;
    uint64_t                             seq;
    unsigned                             taken:1;  /* it was another one's */

    /* what comes before it has left the spool */
    off_t                                offset;

    /* length of the name without the offset and what follows */
    size_t                               len;
} ngx_http_klaviyo_segment_name_t;


/* What the ring knows of an event, as a line has it. */
void ngx_http_klaviyo_line_of(ngx_http_klaviyo_line_t *line,
    ngx_http_klaviyo_ring_t *ring, ngx_http_klaviyo_record_t *record);

/*
 * Writes the line with its LF.  There is room for NGX_HTTP_KLAVIYO_LINE_HEAD
 * bytes, "more" and the event; "more" is NULL or members with a comma behind
 * each.
 */
u_char *ngx_http_klaviyo_line_write(u_char *p, ngx_http_klaviyo_line_t *line,
    ngx_str_t *more);

/*
 * Reads a line without its LF.  NGX_DECLINED: it is damaged, but what it begins
 * with seems right, "line" has all but the event; NGX_ERROR: nothing is.
 */
ngx_int_t ngx_http_klaviyo_line_parse(ngx_http_klaviyo_line_t *line,
    u_char *p, size_t len);


/* NAME.INSTANCE-SEQ.spool, with a NUL; returns the length without it. */
size_t ngx_http_klaviyo_segment_format(u_char *buf, ngx_str_t *account,
    uint64_t instance, uint64_t seq);

/*
 * The name of one that was another's and is this instance's now, which has left
 * the spool up to the offset: NAME.INSTANCE-SEQ+@OFFSET.spool.  Returns the
 * same.
 */
size_t ngx_http_klaviyo_segment_format_taken(u_char *buf, ngx_str_t *account,
    uint64_t instance, uint64_t seq, off_t offset);

/*
 * Reads the name of a file: NAME.ANYTHING.spool or NAME.ANYTHING@OFFSET.spool,
 * where ANYTHING has no dot.  NGX_OK, or NGX_DECLINED: no name of a segment.
 */
ngx_int_t ngx_http_klaviyo_segment_parse(ngx_http_klaviyo_segment_name_t *name,
    u_char *p, size_t len);


#endif /* _NGX_HTTP_KLAVIYO_SEGMENT_H_INCLUDED_ */
