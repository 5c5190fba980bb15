
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Shared memory zones and processes for unit tests: a zone is set up as
 * ngx_init_zone_pool() does, and fork() also sets ngx_pid.
 */


#ifndef _UNIT_SHM_H_INCLUDED_
#define _UNIT_SHM_H_INCLUDED_


#include "unit.h"


/* what a small zone needs of nginx, where the rest of it isn't linked */

ngx_pid_t  ngx_pid __attribute__((weak));
ngx_int_t  ngx_ncpu __attribute__((weak));


void __attribute__((weak))
ngx_debug_point(void)
{
}


/* an empty zone, as nginx hands it to the zone's init */

static ngx_inline ngx_shm_zone_t *
unit_shm_zone(ngx_pool_t *pool, char *name, size_t size)
{
    ngx_shm_zone_t      *zone;
    ngx_slab_pool_t     *sp;
    static ngx_log_t     log;
    static ngx_uint_t    once;
    static ngx_cycle_t   cycle;

    if (!once) {
        once = 1;

        ngx_ncpu = 2;
        ngx_pid = ngx_getpid();
        ngx_pagesize = 4096;
        ngx_pagesize_shift = 12;

        cycle.log = &log;
        ngx_cycle = &cycle;

        ngx_slab_sizes_init();
        ngx_time_init();
    }

    zone = ngx_pcalloc(pool, sizeof(ngx_shm_zone_t));
    assert_non_null(zone);

    zone->shm.size = size;
    zone->shm.name.data = (u_char *) name;
    zone->shm.name.len = ngx_strlen(name);
    zone->shm.log = &log;

    zone->shm.addr = mmap(NULL, size, PROT_READ|PROT_WRITE,
                          MAP_ANON|MAP_SHARED, -1, 0);
    assert_true(zone->shm.addr != MAP_FAILED);

    sp = (ngx_slab_pool_t *) zone->shm.addr;

    sp->end = zone->shm.addr + size;
    sp->min_shift = 3;
    sp->addr = zone->shm.addr;

    assert_int_equal(ngx_shmtx_create(&sp->mutex, &sp->lock, NULL), NGX_OK);

    ngx_slab_init(sp);

    return zone;
}


static ngx_inline void
unit_shm_free(ngx_shm_zone_t *zone)
{
    ngx_slab_pool_t  *sp;

    sp = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_destroy(&sp->mutex);
    munmap(zone->shm.addr, zone->shm.size);
}


/* as the master does when a process died */

static ngx_inline void
unit_shm_unlock(ngx_shm_zone_t *zone, ngx_pid_t pid)
{
    ngx_slab_pool_t  *sp;

    sp = (ngx_slab_pool_t *) zone->shm.addr;

    (void) ngx_shmtx_force_unlock(&sp->mutex, pid);
}


/* a child ends with _exit() and asserts nothing; it doesn't outlive us */

static ngx_inline ngx_pid_t
unit_fork(void)
{
    ngx_pid_t  pid;

    pid = fork();
    assert_true(pid != -1);

    if (pid == 0) {
        ngx_pid = ngx_getpid();

#if (NGX_HAVE_PR_SET_DUMPABLE)
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
#endif
    }

    return pid;
}


/* its exit code; -1 if a signal ended it */

static ngx_inline int
unit_wait(ngx_pid_t pid)
{
    int  status;

    assert_int_equal(waitpid(pid, &status, 0), pid);

    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}


/* the pid of a process that is no more */

static ngx_inline ngx_pid_t
unit_dead_pid(void)
{
    ngx_pid_t  pid;

    pid = unit_fork();

    if (pid == 0) {
        _exit(0);
    }

    (void) unit_wait(pid);

    return pid;
}


#endif /* _UNIT_SHM_H_INCLUDED_ */
