
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the zones in shared memory have in common: how they are created,
 * recognized again and locked.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_zone.h"


/* milliseconds: then it is asked whether who has the lock lives */
#define NGX_HTTP_KLAVIYO_ZONE_PATIENCE   50


static ngx_uint_t ngx_http_klaviyo_zone_spin(ngx_shmtx_t *mutex);
static void ngx_http_klaviyo_zone_wait(ngx_shmtx_t *mutex);


ngx_int_t
ngx_http_klaviyo_zone_attach(ngx_shm_zone_t *shm_zone,
    ngx_http_klaviyo_layout_t *layout, void **sh)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (*sh == NULL) {
        *sh = shpool->data;
    }

    if (*sh == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(*sh, layout, sizeof(ngx_http_klaviyo_layout_t)) != 0) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "shared memory zone \"%V\" has another layout, "
                      "restart nginx", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void *
ngx_http_klaviyo_zone_alloc(ngx_shm_zone_t *shm_zone, size_t min, size_t *size)
{
    void             *p;
    size_t            len;
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    shpool->log_nomem = 0;

    len = sizeof(" in klaviyo zone \"\"") + shm_zone->shm.name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, len);
    if (shpool->log_ctx == NULL) {
        shpool->log_ctx = &shpool->zero;
        goto small;
    }

    ngx_sprintf(shpool->log_ctx, " in klaviyo zone \"%V\"%Z",
                &shm_zone->shm.name);

    *size = shpool->pfree * ngx_pagesize;

    if (*size < min) {
        goto small;
    }

    p = ngx_slab_alloc(shpool, *size);
    if (p) {
        return p;
    }

small:

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "shared memory zone \"%V\" is too small",
                  &shm_zone->shm.name);

    return NULL;
}


/*
 * The master frees the locks that a dead process had in the zones of the last
 * configuration only.  The workers before a reload, and who delivers for them,
 * may be in others, and would wait for ever.
 */

void
ngx_http_klaviyo_zone_lock(ngx_shmtx_t *mutex)
{
    ngx_pid_t  pid;

    while (!ngx_shmtx_trylock(mutex) && !ngx_http_klaviyo_zone_spin(mutex)) {

        ngx_http_klaviyo_zone_wait(mutex);

        pid = (ngx_pid_t) *mutex->lock;

        /* with our pid it is a dead one's, too: we don't have it */

        if (pid && (pid == ngx_pid || ngx_http_klaviyo_dead(pid))) {
            (void) ngx_shmtx_force_unlock(mutex, pid);
        }
    }
}


/* as ngx_shmtx_lock() does */

static ngx_uint_t
ngx_http_klaviyo_zone_spin(ngx_shmtx_t *mutex)
{
    ngx_uint_t  i, n;

    if (ngx_ncpu < 2) {
        return 0;
    }

    for (n = 1; n < mutex->spin; n <<= 1) {

        for (i = 0; i < n; i++) {
            ngx_cpu_pause();
        }

        if (ngx_shmtx_trylock(mutex)) {
            return 1;
        }
    }

    return 0;
}


/*
 * Who unlocks takes one off "wait" and posts.  If that and our own taking off
 * cross, there is one post too many for one too few in "wait": as in nginx, the
 * next one who waits is woken for nothing, and all is even again.
 */

static void
ngx_http_klaviyo_zone_wait(ngx_shmtx_t *mutex)
{
#if (NGX_HAVE_POSIX_SEM)

    struct timespec  until;

    if (mutex->semaphore) {
        (void) clock_gettime(CLOCK_REALTIME, &until);

        until.tv_nsec += NGX_HTTP_KLAVIYO_ZONE_PATIENCE * 1000000;

        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }

        (void) ngx_atomic_fetch_add(mutex->wait, 1);

        while (*mutex->lock) {

            if (sem_timedwait(&mutex->sem, &until) == 0) {
                return;
            }

            if (ngx_errno != NGX_EINTR) {
                break;
            }
        }

        (void) ngx_atomic_fetch_add(mutex->wait, -1);

        return;
    }

#endif

    ngx_sched_yield();
}
