
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * How a ring lies in its memory: for those who work on it, and for those who
 * read what a dead one has left.
 */


#ifndef _NGX_HTTP_KLAVIYO_RING_LAYOUT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_RING_LAYOUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring.h"
#include "ngx_http_klaviyo_zone.h"


/* a power of two */
#define NGX_HTTP_KLAVIYO_RING_RULES      512


/* a slot's state; NEW: another store decides whether it is FREE or USED */
#define NGX_HTTP_KLAVIYO_SLOT_FREE       0
#define NGX_HTTP_KLAVIYO_SLOT_NEW        1
#define NGX_HTTP_KLAVIYO_SLOT_USED       2


typedef struct {
    uint64_t                             offset;

    /* of all records before it, ever */
    uint64_t                             events;
    uint64_t                             bytes;
} ngx_http_klaviyo_ring_mark_t;


typedef struct {
    ngx_atomic_t                         current;
    ngx_http_klaviyo_ring_mark_t         marks[2];
} ngx_http_klaviyo_ring_place_t;


typedef struct {
    ngx_atomic_t                         state;
    volatile uint64_t                    holder;   /* 0: it waits */
    uint64_t                             start;
    uint64_t                             end;
    uint64_t                             left;     /* unfinished records */

    /* 0, or all of it is in the segment, which ends there */
    volatile uint64_t                    spooled;
} ngx_http_klaviyo_ring_slot_t;


/* what a number of counters stands for: without the control zone it has no
 * meaning */
typedef struct {
    volatile uint32_t                    slot;     /* 0: none */
    u_char                               key[NGX_HTTP_KLAVIYO_KEY_LEN];
} ngx_http_klaviyo_ring_rule_t;


struct ngx_http_klaviyo_ring_sh_s {
    ngx_http_klaviyo_layout_t            layout;
    uint64_t                             size;

    /* generation and pid: one store changes both */
    volatile uint64_t                    owner;

    uint64_t                             head;

    /* the segment of the spool that is written, its bytes in force */
    volatile uint64_t                    segment;
    volatile uint64_t                    segment_size;

    /* the one that is read and how far, as in the control zone; 0: none */
    volatile uint64_t                    reading;
    volatile uint64_t                    place;

    /* the last one whose configuration has this ring; when its memory became a
     * file, 0: it is none */
    volatile uint64_t                    generation;
    volatile uint64_t                    file;

    ngx_http_klaviyo_ring_place_t        cursor;
    ngx_http_klaviyo_ring_slot_t         slots[NGX_HTTP_KLAVIYO_RING_SLOTS];

    /* those whose events may be here */
    ngx_http_klaviyo_ring_rule_t         rules[NGX_HTTP_KLAVIYO_RING_RULES];

    ngx_http_klaviyo_ring_place_t        tail;
};


#define NGX_HTTP_KLAVIYO_RING_HEAD                                            \
    ngx_align(sizeof(ngx_http_klaviyo_ring_sh_t), 64)

#define ngx_http_klaviyo_ring_data(sh)                                        \
    ((u_char *) (sh) + NGX_HTTP_KLAVIYO_RING_HEAD)

/* what a record of a text of "len" bytes takes */
#define ngx_http_klaviyo_ring_need(len)                                       \
    ngx_align(sizeof(ngx_http_klaviyo_record_t) + (uint64_t) (len), 8)

#define ngx_http_klaviyo_ring_mark(place)  (&(place)->marks[(place)->current])

#define ngx_http_klaviyo_ring_nth_rule(sh, n)                                 \
    (&(sh)->rules[(n) % NGX_HTTP_KLAVIYO_RING_RULES])


/* By what a ring of this version is known; pure. */
void ngx_http_klaviyo_ring_layout(ngx_http_klaviyo_layout_t *layout);


#endif /* _NGX_HTTP_KLAVIYO_RING_LAYOUT_H_INCLUDED_ */
