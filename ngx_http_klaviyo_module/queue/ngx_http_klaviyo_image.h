
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Reads the memory of a ring that a dead instance has left, and believes none
 * of it: no number is used before it is checked, and nothing is followed out of
 * the memory.  Touches no file; pure but for ngx_http_klaviyo_image_take().
 */


#ifndef _NGX_HTTP_KLAVIYO_IMAGE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_IMAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring_layout.h"


typedef struct {
    ngx_http_klaviyo_ring_sh_t          *sh;
    u_char                              *data;     /* of the records */
    uint64_t                             size;     /* bytes of it */

    uint64_t                             offset;   /* where we are */
    uint64_t                             cursor;
    uint64_t                             tail;

    /* as they were when it was opened */
    ngx_http_klaviyo_ring_slot_t         slots[NGX_HTTP_KLAVIYO_RING_SLOTS];

    uint64_t                             segment;  /* see ..._ring_segment() */
    uint64_t                             segment_size;
} ngx_http_klaviyo_image_t;


typedef struct {
    ngx_http_klaviyo_record_t            meta;     /* a copy; "rule" isn't
                                                      ours */
    u_char                              *key;      /* of the rule, or NULL */
    ngx_str_t                            json;     /* or what can't be read */
    ngx_http_klaviyo_record_t           *record;
} ngx_http_klaviyo_image_event_t;


/*
 * Makes ready to read the "size" bytes of a zone at "p", aligned to 8.  NGX_OK;
 * NGX_DONE: nobody has begun to use it; NGX_DECLINED: it is of another layout;
 * NGX_ERROR: it is damaged.
 */
ngx_int_t ngx_http_klaviyo_image_open(ngx_http_klaviyo_image_t *image,
    u_char *p, size_t size);

/*
 * The next event that was published, and is neither finished nor in a segment
 * nor taken.  NGX_OK; NGX_DONE: there is none; NGX_ABORT: its text in "json" is
 * none of an event; NGX_ERROR: from here on, as far as the bytes in "json" go
 * at least, no event can be told from another.  The next call goes on behind
 * that.
 */
ngx_int_t ngx_http_klaviyo_image_next(ngx_http_klaviyo_image_t *image,
    ngx_http_klaviyo_image_event_t *event);

/* Whoever reads it again doesn't find this event: a single store. */
void ngx_http_klaviyo_image_take(ngx_http_klaviyo_image_event_t *event);


#endif /* _NGX_HTTP_KLAVIYO_IMAGE_H_INCLUDED_ */
