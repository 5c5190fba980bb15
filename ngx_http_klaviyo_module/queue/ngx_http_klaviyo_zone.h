
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the zones in shared memory have in common: how they are created,
 * recognized again and locked, and how the death of a process is told.
 */


#ifndef _NGX_HTTP_KLAVIYO_ZONE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* EPERM: another user's, but alive */
#define ngx_http_klaviyo_dead(pid)                                            \
    (kill(pid, 0) == -1 && ngx_errno == NGX_ESRCH)


/* the first in what a zone holds */
typedef struct {
    u_char                               magic[8];
    uint32_t                             version;
    uint32_t                             sizes[5];
} ngx_http_klaviyo_layout_t;


/*
 * What the zone holds already: "sh", which the old cycle knew, or what was
 * found there.  NGX_DECLINED: nothing, the zone is new.  NGX_ERROR, after an
 * [emerg]: something of another layout.  Changes nothing in the zone.
 */
ngx_int_t ngx_http_klaviyo_zone_attach(ngx_shm_zone_t *shm_zone,
    ngx_http_klaviyo_layout_t *layout, void **sh);

/*
 * All that is left in a new zone, "size" bytes in one piece; NULL, after an
 * [emerg], if these are less than "min".  The caller sets shpool->data when
 * all is in its place.
 */
void *ngx_http_klaviyo_zone_alloc(ngx_shm_zone_t *shm_zone, size_t min,
    size_t *size);

/*
 * ngx_shmtx_lock(), but a lock whose holder is dead is freed, whoever the
 * master is and whether it knows the zone.  Not to be called by who has it.
 */
void ngx_http_klaviyo_zone_lock(ngx_shmtx_t *mutex);


#endif /* _NGX_HTTP_KLAVIYO_ZONE_H_INCLUDED_ */
