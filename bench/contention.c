
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What it costs that several workers write to one ring: the ring itself, in
 * shared memory, without nginx around it.
 *
 *     contention WORKERS EVENTS BYTES
 *
 * EVENTS of so many BYTES are written by all together, as fast as it goes, into
 * a ring that has room for all.  Prints, in nanoseconds per event: the time
 * from begin to end, the processor's time, and how long the lock is held.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring.h"


#define CONTROL  (16 * 1024 * 1024)

/* what a record takes beside its text, and some air */
#define RECORD   64


typedef struct {
    ngx_atomic_t                 ready;
    ngx_atomic_t                 go;
    ngx_atomic_t                 cpu;        /* nanoseconds, of all */
    ngx_atomic_t                 held;
} result_t;


/* what the ring needs of nginx, where nginx isn't linked */

volatile ngx_msec_t  ngx_current_msec;
static ngx_time_t    contention_time;
volatile ngx_time_t *ngx_cached_time = &contention_time;
static ngx_log_t     contention_log;
static ngx_cycle_t   contention_cycle;
volatile ngx_cycle_t *ngx_cycle = &contention_cycle;
ngx_pid_t            ngx_pid;
ngx_int_t            ngx_ncpu;


static uint64_t  held, since, clock_cost;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    fprintf(stderr, "%s\n", fmt);
}


void
ngx_debug_point(void)
{
}


static uint64_t
now(clockid_t id)
{
    struct timespec  ts;

    (void) clock_gettime(id, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


/* ngx_http_klaviyo_ring.c is compiled with these in the place of nginx's */

void
contention_lock(ngx_shmtx_t *mtx)
{
    ngx_shmtx_lock(mtx);

    if (clock_cost) {
        since = now(CLOCK_MONOTONIC);
    }
}


void
contention_unlock(ngx_shmtx_t *mtx)
{
    if (clock_cost) {
        held += now(CLOCK_MONOTONIC) - since;
    }

    ngx_shmtx_unlock(mtx);
}


static void *
shared(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE,
             MAP_ANON|MAP_SHARED|MAP_POPULATE, -1, 0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }

    return p;
}


/* as nginx does it */

static ngx_shm_zone_t *
zone(size_t size, void *data)
{
    ngx_shm_zone_t   *z;
    ngx_slab_pool_t  *sp;

    z = calloc(1, sizeof(ngx_shm_zone_t));

    z->shm.addr = shared(size);
    z->shm.size = size;
    z->shm.log = &contention_log;
    z->data = data;
    ngx_str_set(&z->shm.name, "bench");

    sp = (ngx_slab_pool_t *) z->shm.addr;

    sp->end = z->shm.addr + size;
    sp->min_shift = 3;
    sp->addr = z->shm.addr;

    if (ngx_shmtx_create(&sp->mutex, &sp->lock, NULL) != NGX_OK) {
        exit(1);
    }

    ngx_slab_init(sp);

    return z;
}


static ngx_http_klaviyo_ring_t *
create_ring(size_t size, ngx_uint_t *rule)
{
    u_char                       key[NGX_HTTP_KLAVIYO_KEY_LEN];
    ngx_http_klaviyo_ring_t     *ring;
    ngx_http_klaviyo_control_t  *control;

    control = calloc(1, sizeof(ngx_http_klaviyo_control_t));
    ring = calloc(1, sizeof(ngx_http_klaviyo_ring_t));
    ring->control = control;

    if (ngx_http_klaviyo_control_init_zone(zone(CONTROL, control), NULL)
        != NGX_OK
        || ngx_http_klaviyo_ring_init_zone(zone(size, ring), NULL) != NGX_OK
        || ngx_http_klaviyo_control_commit(control) != NGX_OK)
    {
        exit(1);
    }

    ngx_memzero(key, sizeof(key));
    *rule = ngx_http_klaviyo_control_slot(control, key);

    return ring;
}


static void
put(ngx_http_klaviyo_ring_t *ring, ngx_uint_t rule, long events, long bytes)
{
    ngx_str_t                  json;
    ngx_http_klaviyo_record_t  record;

    json.len = bytes;
    json.data = malloc(bytes);
    ngx_memset(json.data, 'x', bytes);

    ngx_memzero(&record, sizeof(record));
    record.rule = rule;

    while (events--) {
        record.id++;

        if (ngx_http_klaviyo_ring_put(ring, &record, &json) != NGX_OK) {
            fprintf(stderr, "the ring is full\n");
            exit(1);
        }
    }

    free(json.data);
}


static void
work(ngx_http_klaviyo_ring_t *ring, ngx_uint_t rule, long events, long bytes,
    result_t *result)
{
    uint64_t  cpu;

    ngx_pid = ngx_getpid();
    held = 0;

    (void) ngx_atomic_fetch_add(&result->ready, 1);

    while (!result->go) {
        ngx_sched_yield();
    }

    cpu = now(CLOCK_PROCESS_CPUTIME_ID);

    put(ring, rule, events, bytes);

    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    (void) ngx_atomic_fetch_add(&result->cpu, cpu);
    (void) ngx_atomic_fetch_add(&result->held, held);
}


/* nanoseconds from begin to end */

static uint64_t
run(ngx_http_klaviyo_ring_t *ring, ngx_uint_t rule, long workers, long events,
    long bytes, result_t *result)
{
    int       status;
    long      i;
    uint64_t  begin;

    ngx_memzero(result, sizeof(result_t));

    for (i = 0; i < workers; i++) {
        if (fork() == 0) {
            work(ring, rule, events / workers, bytes, result);
            _exit(0);
        }
    }

    while (result->ready < (ngx_atomic_uint_t) workers) {
        ngx_sched_yield();
    }

    begin = now(CLOCK_MONOTONIC);
    result->go = 1;

    for (i = 0; i < workers; i++) {
        if (wait(&status) == -1 || status != 0) {
            exit(1);
        }
    }

    return now(CLOCK_MONOTONIC) - begin;
}


/* what now() itself takes of the time between two of them */

static uint64_t
calibrate(void)
{
    int       i;
    uint64_t  begin;

    begin = now(CLOCK_MONOTONIC);

    for (i = 0; i < 100000; i++) {
        (void) now(CLOCK_MONOTONIC);
    }

    return (now(CLOCK_MONOTONIC) - begin) / 100000;
}


int
main(int argc, char *argv[])
{
    long                      workers, events, bytes;
    double                    time, cpu, lock;
    result_t                 *result;
    ngx_uint_t                rule;
    ngx_http_klaviyo_ring_t  *ring;

    if (argc != 4) {
        fprintf(stderr, "usage: contention WORKERS EVENTS BYTES\n");
        return 2;
    }

    workers = atol(argv[1]);
    events = atol(argv[2]);
    bytes = atol(argv[3]);

    ngx_ncpu = sysconf(_SC_NPROCESSORS_ONLN);
    ngx_pid = ngx_getpid();
    contention_cycle.log = &contention_log;
    ngx_pagesize = 4096;
    ngx_pagesize_shift = 12;
    ngx_slab_sizes_init();

    result = shared(sizeof(result_t));

    /* one ring for both, whose pages are there when it counts */

    ring = create_ring(3 * events * (bytes + RECORD), &rule);

    (void) run(ring, rule, 1, events, bytes, result);

    time = (double) run(ring, rule, workers, events, bytes, result);
    cpu = (double) result->cpu;

    clock_cost = calibrate();

    (void) run(ring, rule, workers, events, bytes, result);
    lock = (double) result->held / events - clock_cost;

    printf("%.1f %.1f %.1f\n", time / events, cpu / events, lock);

    return 0;
}
