
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The ring of one account's events in shared memory.  Workers publish at its
 * tail; the one background process that owns it claims ranges ("slots"), and
 * an event leaves only when its range is finished.  Whoever finds a slot whose
 * owner is dead sends the same range again.
 *
 *     head             cursor            tail
 *      |  slot  slot    |   unclaimed     |   free
 */


#ifndef _NGX_HTTP_KLAVIYO_RING_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_RING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_control.h"


/* the zone of a ring that holds "size" bytes: the slab pool has a descriptor
 * for each page, the ring a header */
#define NGX_HTTP_KLAVIYO_RING_ZONE(size)                                      \
    ((size) + ((size) / ngx_pagesize + 16) * sizeof(ngx_slab_page_t)          \
     + 16 * ngx_pagesize)

/* the zone's name begins with this, the lane's follows */
#define NGX_HTTP_KLAVIYO_RING_NAME       "klaviyo:"

#define NGX_HTTP_KLAVIYO_RING_SLOTS      128

/* a batch may be halved until one event is left: these are kept for that */
#define NGX_HTTP_KLAVIYO_RING_SPARE      64


#define NGX_HTTP_KLAVIYO_RECORD_PAD      0x01    /* fills the end */
#define NGX_HTTP_KLAVIYO_RECORD_GONE     0x02    /* sent or dead */
#define NGX_HTTP_KLAVIYO_RECORD_AGED     0x04    /* backfill was decided */
#define NGX_HTTP_KLAVIYO_RECORD_HELD     0x08    /* for ..._put() only: it was
                                                    counted as held */


/* in the ring, before the event's JSON text; 24 bytes, aligned to 8 */
typedef struct {
    uint32_t                             len;      /* of the text */
    uint32_t                             rule;     /* slot of its counters */
    uint32_t                             id;       /* hash of unique_id */
    uint32_t                             time;     /* of the event, epoch s */
    uint32_t                             msec;     /* when published, low bits
                                                      of ngx_current_msec */
    uint16_t                             flags;

    /* offset of "false" in the text, which may become "true "; 0: never */
    uint16_t                             backfill;
} ngx_http_klaviyo_record_t;


typedef struct ngx_http_klaviyo_ring_sh_s  ngx_http_klaviyo_ring_sh_t;

/* one per cycle and account, in the cycle's pool */
typedef struct {
    ngx_slab_pool_t                     *shpool;
    ngx_http_klaviyo_ring_sh_t          *sh;
    ngx_http_klaviyo_control_t          *control;
    ngx_shm_zone_t                      *zone;

    /* 0, or as whom this process owned it last; set by ..._own() */
    uint64_t                             self;
} ngx_http_klaviyo_ring_t;


/* what ngx_http_klaviyo_ring_stat() tells */
typedef struct {
    size_t                               size;     /* bytes for records */
    size_t                               used;     /* head to tail */
    ngx_uint_t                           events;   /* not finished */
    ngx_uint_t                           unclaimed;  /* of these */
    ngx_uint_t                           slots;    /* that are used */
    size_t                               unclaimed_bytes;
    ngx_msec_t                           oldest;   /* age of the first that is
                                                      unclaimed, ms */
} ngx_http_klaviyo_ring_stat_t;


/*
 * The zone's init: attaches or creates, nothing else.  shm_zone->data is a
 * ngx_http_klaviyo_ring_t.  A ring of another layout is an [emerg].
 */
ngx_int_t ngx_http_klaviyo_ring_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);


/* In a worker */

/*
 * Publishes an event: "json" is copied; of "meta" rule, id, time and backfill
 * are used.  Counts "seen" (for one that was held, not as held any more) and
 * "queued", or "dropped".  Returns
 * NGX_OK, NGX_DECLINED (no room) or NGX_ABORT (larger than half of the ring).
 * The lock is held for the copy only.
 */
ngx_int_t ngx_http_klaviyo_ring_put(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_record_t *meta, ngx_str_t *json);

/* In any process */

/*
 * Notes what the number of counters stands for, so that an event of it is known
 * by whoever finds the ring without its control zone.  Cheap if it is noted.
 */
void ngx_http_klaviyo_ring_rule(ngx_http_klaviyo_ring_t *ring,
    ngx_uint_t slot);

void ngx_http_klaviyo_ring_stat(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_ring_stat_t *stat);


/* Whether the ring outlives all processes: its memory is a file. */
ngx_uint_t ngx_http_klaviyo_ring_kept(ngx_http_klaviyo_ring_t *ring);


/* In the background process */

/*
 * Takes the ring over if its owner is dead, or of an older generation, or
 * nobody.  Returns NGX_OK if this process owns it now, else NGX_DECLINED.
 */
ngx_int_t ngx_http_klaviyo_ring_own(ngx_http_klaviyo_ring_t *ring);

/* Whether this process owns the ring; without the lock. */
ngx_uint_t ngx_http_klaviyo_ring_owned(ngx_http_klaviyo_ring_t *ring);

/*
 * Claims the next range: at most "events" records, whose texts with one comma
 * between them take at most "bytes" (but always one record), never the same
 * id twice.  Returns the slot's number, or NGX_DECLINED: nothing there, not
 * the owner, or only the spare slots are left.  "full", if not NULL, tells
 * whether the range was closed by a limit rather than by the end.
 */
ngx_int_t ngx_http_klaviyo_ring_claim(ngx_http_klaviyo_ring_t *ring,
    ngx_uint_t events, size_t bytes, ngx_uint_t *full);

/*
 * Takes over the oldest slot that waits or whose owner is dead; only the
 * ring's owner may.  Returns its number or NGX_DECLINED.  A slot without an
 * unfinished record is freed on the way.
 */
ngx_int_t ngx_http_klaviyo_ring_adopt(ngx_http_klaviyo_ring_t *ring);

/*
 * The same, but the oldest one from "place" on, where there is one; "place" is
 * moved behind its beginning, so that what is split off it is the next.
 */
ngx_int_t ngx_http_klaviyo_ring_adopt_next(ngx_http_klaviyo_ring_t *ring,
    uint64_t *place);

/* Whether any slot of this ring is held by this process. */
ngx_uint_t ngx_http_klaviyo_ring_busy(ngx_http_klaviyo_ring_t *ring);

/*
 * Whether nobody will use this ring any more: a reload has done without it, and
 * the last worker that had it is gone.
 */
ngx_uint_t ngx_http_klaviyo_ring_obsolete(ngx_http_klaviyo_ring_t *ring);

/* The first, and the next, unfinished record of the slot, or NULL. */
ngx_http_klaviyo_record_t *ngx_http_klaviyo_ring_first(
    ngx_http_klaviyo_ring_t *ring, ngx_int_t slot);
ngx_http_klaviyo_record_t *ngx_http_klaviyo_ring_next(
    ngx_http_klaviyo_ring_t *ring, ngx_int_t slot,
    ngx_http_klaviyo_record_t *record);

/* The record's text, ->len bytes. */
#define ngx_http_klaviyo_record_text(record)                                  \
    ((u_char *) (record) + sizeof(ngx_http_klaviyo_record_t))

/* what became of a record that is taken out */
#define NGX_HTTP_KLAVIYO_TAKEN_SENT      0
#define NGX_HTTP_KLAVIYO_TAKEN_DEAD      1       /* kept as a dead letter */
#define NGX_HTTP_KLAVIYO_TAKEN_DROPPED   2       /* no room for its letter */

/* Takes one record out of the slot, and counts as what. */
void ngx_http_klaviyo_ring_take(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_record_t *record, ngx_uint_t as);

/* Whether any record was taken out of what the slot holds. */
ngx_uint_t ngx_http_klaviyo_ring_gaps(ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot);

/*
 * Halves the slot before "record": from there on is a slot of its own that
 * waits.  NGX_OK, or NGX_DECLINED if no slot is free.
 */
ngx_int_t ngx_http_klaviyo_ring_split(ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot, ngx_http_klaviyo_record_t *record);

/* All that is left of the slot is sent; the slot is free, head moves. */
void ngx_http_klaviyo_ring_finish(ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot);

/* Gives the slot back: it waits for ngx_http_klaviyo_ring_adopt(). */
void ngx_http_klaviyo_ring_release(ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot);

/*
 * The spool.  A segment that takes over what is in the ring is known to the
 * ring by its number and by how much of it is in force: a process may be killed
 * at any time, and what it wrote beyond that is still in the ring.
 */

/* The segment that was written last, 0: none, and its bytes in force. */
uint64_t ngx_http_klaviyo_ring_segment(ngx_http_klaviyo_ring_t *ring,
    uint64_t *size);

/* From now on it is this one (or, with 0, none), without a byte. */
void ngx_http_klaviyo_ring_set_segment(ngx_http_klaviyo_ring_t *ring,
    uint64_t seq);

/*
 * All that is left of the slot is in the segment, of which "size" bytes are in
 * force now; the slot is free, head moves.
 */
void ngx_http_klaviyo_ring_spooled(ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot, uint64_t size);

/* Notes which segment is read (its id, 0: none) and how far. */
void ngx_http_klaviyo_ring_reads(ngx_http_klaviyo_ring_t *ring, uint64_t id,
    uint64_t place);

/*
 * Publishes an event that comes back from the spool, of "meta" rule, id, time,
 * backfill and whether that was decided.  Counts it from "spooled" to "queued"
 * if "counted" and there is one, else as "restored" and "queued".  NGX_OK,
 * NGX_DECLINED (half of the ring is for new events) or NGX_ABORT (it will never
 * fit).
 */
ngx_int_t ngx_http_klaviyo_ring_restore(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_record_t *meta, ngx_str_t *json, ngx_uint_t counted);


/*
 * Decides, once for each record of the slot, whether it is older than
 * "before" (epoch seconds), and marks those as backfill.
 */
void ngx_http_klaviyo_ring_backfill(ngx_http_klaviyo_ring_t *ring,
    ngx_int_t slot, time_t before);


#endif /* _NGX_HTTP_KLAVIYO_RING_H_INCLUDED_ */
