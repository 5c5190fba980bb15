
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The spool of one account: what its ring can't keep or nobody can deliver now,
 * in segments on disk.  Used by the owner of the ring alone.
 *
 * The way in is a slot of the ring: it is written to a segment, then it is
 * finished as spooled.  The way back is the ring, too: a segment is read from
 * its beginning, and is gone when it was read to its end.  Who dies in between
 * may leave an event in both, never in none.
 */


#ifndef _NGX_HTTP_KLAVIYO_SPOOL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_SPOOL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_directory.h"
#include "ngx_http_klaviyo_journal.h"
#include "ngx_http_klaviyo_ring.h"
#include "ngx_http_klaviyo_segment.h"


/* what goes in by one write(), and comes back in one turn */
#define NGX_HTTP_KLAVIYO_SPOOL_EVENTS    1000
#define NGX_HTTP_KLAVIYO_SPOOL_WRITE     (256 * 1024)
#define NGX_HTTP_KLAVIYO_SPOOL_READ      (1024 * 1024)

/* a segment that is so large is followed by another one; a quarter of "max" if
 * that is less */
#define NGX_HTTP_KLAVIYO_SPOOL_SEGMENT   (4 * 1024 * 1024)

/* of NAME.damaged */
#define NGX_HTTP_KLAVIYO_DAMAGED_MAX     (16 * 1024 * 1024)

/* of each list of segments to avoid */
#define NGX_HTTP_KLAVIYO_SPOOL_AVOID     16


typedef struct {
    uint64_t                             ids[NGX_HTTP_KLAVIYO_SPOOL_AVOID];
    ngx_uint_t                           n;
} ngx_http_klaviyo_avoid_t;


typedef struct {
    ngx_http_klaviyo_directory_t        *directory;
    ngx_http_klaviyo_ring_t             *ring;
    ngx_http_klaviyo_account_state_t    *state;
    ngx_str_t                            name;     /* the account's */
    off_t                                max;
    ngx_uint_t                           drop_new;
    ngx_log_t                           *log;

    ngx_http_klaviyo_journal_t           damaged;

    /* what is there; as of the last scan and what was written since */
    off_t                                bytes;
    ngx_uint_t                           segments;

    /* the segment that is written */
    ngx_fd_t                             out;
    uint64_t                             seq;
    off_t                                size;
    ngx_msec_t                           written;  /* when */

    /* the segment that is read */
    ngx_fd_t                             in;
    uint64_t                             id;
    u_char                               file[NAME_MAX + 1];
    u_char                              *buf;
    size_t                               buf_size;
    ngx_uint_t                           ndamaged;   /* in it, untold */

    /* those that another one uses, until the next scan; those that can't be
     * read, for a minute that began */
    ngx_http_klaviyo_avoid_t             busy;
    ngx_http_klaviyo_avoid_t             bad;
    ngx_msec_t                           minute;

    /* nothing can be written before this */
    ngx_msec_t                           retry;

    unsigned                             counted:1;  /* by this instance */
    unsigned                             failed:1;
    unsigned                             told:1;   /* that it is full */
} ngx_http_klaviyo_spool_t;


/* what the ring of a dead instance knew of its segments; 0: none */
typedef struct {
    uint64_t                             instance;
    uint64_t                             segment;  /* was written */
    uint64_t                             segment_size;   /* in force */
    uint64_t                             reading;  /* its id */
    uint64_t                             place;
} ngx_http_klaviyo_legacy_t;


/*
 * "directory", "ring", "state", "name", "max", "drop_new" and "log" are set.
 * Touches no file.  NGX_OK or NGX_ERROR (no memory).
 */
ngx_int_t ngx_http_klaviyo_spool_init(ngx_http_klaviyo_spool_t *spool,
    ngx_pool_t *pool);

/*
 * This process owns the ring since now: what a dead one wrote without having
 * finished it is cut off.  Before any slot is adopted.
 */
void ngx_http_klaviyo_spool_own(ngx_http_klaviyo_spool_t *spool);

/*
 * The same for a ring that an instance has left in a file: the segment that was
 * read is read on from where it was.  Before anything else is read.
 */
void ngx_http_klaviyo_spool_inherit(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_legacy_t *legacy);

/* Looks what is there; each second. */
void ngx_http_klaviyo_spool_scan(ngx_http_klaviyo_spool_t *spool);

/*
 * Whether a slot could be written: NGX_OK, NGX_DECLINED (full, and the newest
 * is to be dropped), NGX_AGAIN (full: ngx_http_klaviyo_spool_drop() first) or
 * NGX_ERROR (it was told).
 */
ngx_int_t ngx_http_klaviyo_spool_ready(ngx_http_klaviyo_spool_t *spool);

/*
 * Moves all that is left of the slot to the spool.  If that isn't possible the
 * slot is given back; returns the same.
 */
ngx_int_t ngx_http_klaviyo_spool_write(ngx_http_klaviyo_spool_t *spool,
    ngx_int_t slot);

/*
 * Puts at most "n" of the oldest events back into the ring.  Returns how many
 * lines it has dealt with.
 */
ngx_uint_t ngx_http_klaviyo_spool_read(ngx_http_klaviyo_spool_t *spool,
    ngx_uint_t n);

/* Drops the oldest events, one turn's worth.  NGX_OK or NGX_DECLINED: none. */
ngx_int_t ngx_http_klaviyo_spool_drop(ngx_http_klaviyo_spool_t *spool);

/* Keeps as a line of NAME.damaged, if there is room, what can't be read. */
void ngx_http_klaviyo_spool_aside(ngx_http_klaviyo_spool_t *spool, u_char *p,
    u_char *last);

/* Moves all that the ring has; returns how many events could not be moved. */
ngx_uint_t ngx_http_klaviyo_spool_all(ngx_http_klaviyo_spool_t *spool);

/*
 * Ceases to write and to read; a segment that is read in part gets a name that
 * says how far.  With "dead" also one that a dead process has read.
 */
void ngx_http_klaviyo_spool_close(ngx_http_klaviyo_spool_t *spool,
    ngx_uint_t dead);

/* Ceases to read alone: what is written goes on. */
void ngx_http_klaviyo_spool_leave(ngx_http_klaviyo_spool_t *spool,
    ngx_uint_t dead);


#endif /* _NGX_HTTP_KLAVIYO_SPOOL_H_INCLUDED_ */
