
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What an instance that was killed has left in the memory of a ring: brings it
 * back, event by event, into the ring of the account.  Used by the owner of
 * that ring alone.  A file is locked while it is read, and gone when nothing is
 * left in it.
 */


#ifndef _NGX_HTTP_KLAVIYO_RESCUE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_RESCUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_image.h"
#include "ngx_http_klaviyo_ring_file.h"
#include "ngx_http_klaviyo_spool.h"


typedef struct {
    ngx_http_klaviyo_spool_t            *spool;

    /* all other processes are gone: files of ours are nobody's, too */
    ngx_uint_t                           last;

    u_char                               file[NAME_MAX + 1];
    uint64_t                             id;
    ngx_fd_t                             fd;
    u_char                              *addr;     /* NULL: none is read */
    size_t                               size;

    ngx_http_klaviyo_image_t             image;
    ngx_http_klaviyo_image_event_t       event;    /* if it waits */

    ngx_uint_t                           restored;
    ngx_uint_t                           damaged;
    uint64_t                             lost;     /* bytes */

    /* can't be read or removed, and that was told */
    ngx_http_klaviyo_avoid_t             bad;

    unsigned                             waits:1;
} ngx_http_klaviyo_rescue_t;


/* "rescue" is zeroed.  Touches no file. */
void ngx_http_klaviyo_rescue_init(ngx_http_klaviyo_rescue_t *rescue,
    ngx_http_klaviyo_spool_t *spool);

/*
 * Looks for a file, if none is read; each second, before the spool is read.
 * Whether one is read.
 */
ngx_uint_t ngx_http_klaviyo_rescue_scan(ngx_http_klaviyo_rescue_t *rescue);

/*
 * Puts at most "n" events into the ring.  Returns how many it has dealt with:
 * 0, nothing is there or the ring has no room.
 */
ngx_uint_t ngx_http_klaviyo_rescue_read(ngx_http_klaviyo_rescue_t *rescue,
    ngx_uint_t n);

/* Ceases to read: somebody else may. */
void ngx_http_klaviyo_rescue_close(ngx_http_klaviyo_rescue_t *rescue);


#endif /* _NGX_HTTP_KLAVIYO_RESCUE_H_INCLUDED_ */
