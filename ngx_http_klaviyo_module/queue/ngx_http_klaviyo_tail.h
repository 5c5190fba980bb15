
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The tail: the last events and the last skips of each rule, as lines of text
 * in a zone of its own.  Workers write, without a lock; whoever asks for the
 * status reads.  What a line says is not known here.
 */


#ifndef _NGX_HTTP_KLAVIYO_TAIL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_TAIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_KLAVIYO_TAIL_NAME       "klaviyo_tail"

#define NGX_HTTP_KLAVIYO_TAIL_MIN        (128 * 1024)
#define NGX_HTTP_KLAVIYO_TAIL_MAX        (64 * 1024 * 1024)

/* lines that are kept of one rule and kind */
#define NGX_HTTP_KLAVIYO_TAIL_LINES      16

/* the longest line */
#define NGX_HTTP_KLAVIYO_TAIL_LEN        992


typedef struct ngx_http_klaviyo_tail_sh_s  ngx_http_klaviyo_tail_sh_t;

/* one per cycle, in the cycle's pool */
typedef struct {
    ngx_http_klaviyo_tail_sh_t          *sh;
} ngx_http_klaviyo_tail_t;


typedef struct {
    uint64_t                             time;     /* epoch, milliseconds */
    size_t                               len;
    u_char                               text[NGX_HTTP_KLAVIYO_TAIL_LEN];
} ngx_http_klaviyo_tail_line_t;


/*
 * The zone's init: attaches or creates, nothing else.  shm_zone->data is a
 * ngx_http_klaviyo_tail_t.  A zone of another layout is an [emerg].
 */
ngx_int_t ngx_http_klaviyo_tail_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);

/*
 * Adds a line of at most NGX_HTTP_KLAVIYO_TAIL_LEN bytes of kind 0 or 1 of the
 * rule with these counters ("slot"), over the oldest one of both; "time" is of
 * the epoch in milliseconds.  More rules than the zone has room for share.  In
 * a worker, which may be killed meanwhile: that line is then not to be read.
 */
void ngx_http_klaviyo_tail_add(ngx_http_klaviyo_tail_t *tail, ngx_uint_t slot,
    ngx_uint_t kind, uint64_t time, ngx_str_t *line);

/* How many lines there is room for: n below is less than that. */
ngx_uint_t ngx_http_klaviyo_tail_size(ngx_http_klaviyo_tail_t *tail);

/*
 * Copies the n-th line, in no order.  NGX_DECLINED: there is none, or somebody
 * is writing it.
 */
ngx_int_t ngx_http_klaviyo_tail_read(ngx_http_klaviyo_tail_t *tail,
    ngx_uint_t n, ngx_http_klaviyo_tail_line_t *line);


#endif /* _NGX_HTTP_KLAVIYO_TAIL_H_INCLUDED_ */
