
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The control zone: what must outlive a ring that a reload resizes or removes.
 *
 * Any process may be killed between any two stores, also under the lock, which
 * is then freed.  So an entry of a table is filled first, and what makes others
 * find it is stored last.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/rand.h>
#include "ngx_http_klaviyo_control.h"
#include "ngx_http_klaviyo_zone.h"


#define NGX_HTTP_KLAVIYO_CONTROL_BUCKETS  16384

/* fewer slots are no use */
#define NGX_HTTP_KLAVIYO_CONTROL_MIN      64

/* milliseconds: those that die sooner are throttled, up to */
#define NGX_HTTP_KLAVIYO_CONTROL_SOON     10000
#define NGX_HTTP_KLAVIYO_CONTROL_UP_TO    60000


typedef struct {
    ngx_http_klaviyo_counters_t          counters;
    ngx_atomic_t                         generation;
    u_char                               key[NGX_HTTP_KLAVIYO_KEY_LEN];
    uint32_t                             next;     /* 0: the last one */
} ngx_http_klaviyo_control_slot_t;


typedef struct {
    ngx_atomic_t                         pid;      /* 0: free */
    ngx_atomic_t                         generation;
    ngx_atomic_t                         background;
} ngx_http_klaviyo_control_process_t;


struct ngx_http_klaviyo_control_sh_s {
    ngx_http_klaviyo_layout_t            layout;

    uint64_t                             nonce;
    ngx_atomic_t                         generation;
    ngx_atomic_t                         serial;

    ngx_fd_t                             fd;
    ngx_atomic_t                         sleeping;
    ngx_atomic_t                         told;     /* epoch seconds */

    /* the background process that started last */
    ngx_atomic_t                         pid;
    ngx_atomic_t                         beat;
    ngx_atomic_t                         started;  /* ngx_current_msec */
    ngx_atomic_t                         delay;
    ngx_atomic_t                         settled;
    ngx_atomic_t                         ended;    /* settled, no beat since */
    ngx_atomic_t                         starts;
    ngx_atomic_t                         crashes;

    ngx_atomic_t                         nslots;
    ngx_atomic_t                         used;     /* slots below this */
    ngx_atomic_t                         hand;     /* looks at this one next
                                                      when all are used */

    ngx_http_klaviyo_control_process_t
                                 processes[NGX_HTTP_KLAVIYO_MAX_PROCESSES];
    ngx_http_klaviyo_account_state_t
                                   accounts[NGX_HTTP_KLAVIYO_MAX_ACCOUNTS];
    uint32_t                         buckets[NGX_HTTP_KLAVIYO_CONTROL_BUCKETS];
};


/* no two slots in a cache line: workers count in different ones */
#define NGX_HTTP_KLAVIYO_CONTROL_LINE    64

#define NGX_HTTP_KLAVIYO_CONTROL_HEAD                                         \
    ngx_align(sizeof(ngx_http_klaviyo_control_sh_t),                          \
              NGX_HTTP_KLAVIYO_CONTROL_LINE)

#define NGX_HTTP_KLAVIYO_CONTROL_STRIDE                                       \
    ngx_align(sizeof(ngx_http_klaviyo_control_slot_t),                        \
              NGX_HTTP_KLAVIYO_CONTROL_LINE)

#define ngx_http_klaviyo_control_nth(sh, n)                                   \
    ((ngx_http_klaviyo_control_slot_t *)                                      \
     ((u_char *) (sh) + NGX_HTTP_KLAVIYO_CONTROL_HEAD                         \
      + (n) * NGX_HTTP_KLAVIYO_CONTROL_STRIDE))


static void ngx_http_klaviyo_control_layout(ngx_http_klaviyo_layout_t *layout);
static ngx_fd_t ngx_http_klaviyo_control_open(ngx_log_t *log);
static void ngx_http_klaviyo_control_register(
    ngx_http_klaviyo_control_t *control, ngx_uint_t background);
static ngx_http_klaviyo_control_process_t *ngx_http_klaviyo_control_place(
    ngx_http_klaviyo_control_sh_t *sh);
static ngx_uint_t ngx_http_klaviyo_control_oldest(
    ngx_http_klaviyo_control_t *control, ngx_uint_t background);
static ngx_uint_t ngx_http_klaviyo_control_make(
    ngx_http_klaviyo_control_t *control, u_char *key);
static uint32_t *ngx_http_klaviyo_control_bucket(
    ngx_http_klaviyo_control_sh_t *sh, u_char *key);
static ngx_uint_t ngx_http_klaviyo_control_recycle(
    ngx_http_klaviyo_control_t *control);
static void ngx_http_klaviyo_control_unlink(ngx_http_klaviyo_control_sh_t *sh,
    ngx_uint_t n);
static void ngx_http_klaviyo_control_fold(ngx_http_klaviyo_control_sh_t *sh,
    ngx_uint_t n);
static ngx_http_klaviyo_account_state_t *ngx_http_klaviyo_control_find(
    ngx_http_klaviyo_control_t *control, u_char *key);
static ngx_http_klaviyo_account_state_t *ngx_http_klaviyo_control_free(
    ngx_http_klaviyo_control_t *control);
static void ngx_http_klaviyo_control_give(ngx_http_klaviyo_control_t *control,
    ngx_http_klaviyo_account_state_t *state, u_char *key);


ngx_int_t
ngx_http_klaviyo_control_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_klaviyo_control_t  *octl = data;

    void                           *p;
    size_t                          size;
    ngx_int_t                       rc;
    ngx_http_klaviyo_layout_t       layout;
    ngx_http_klaviyo_control_t     *control;
    ngx_http_klaviyo_control_sh_t  *sh;

    control = shm_zone->data;

    control->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    control->log = shm_zone->shm.log;

    p = octl ? octl->sh : NULL;

    ngx_http_klaviyo_control_layout(&layout);

    rc = ngx_http_klaviyo_zone_attach(shm_zone, &layout, &p);

    if (rc != NGX_DECLINED) {
        control->sh = p;
        return rc;
    }

    p = ngx_http_klaviyo_zone_alloc(shm_zone,
                                    NGX_HTTP_KLAVIYO_CONTROL_HEAD
                                    + NGX_HTTP_KLAVIYO_CONTROL_MIN
                                      * NGX_HTTP_KLAVIYO_CONTROL_STRIDE,
                                    &size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    /* the slots are zeroed when they are used, not to touch all pages */

    ngx_memzero(p, NGX_HTTP_KLAVIYO_CONTROL_HEAD
                   + NGX_HTTP_KLAVIYO_CONTROL_STRIDE);

    sh = p;

    sh->layout = layout;
    sh->fd = -1;
    sh->nslots = (size - NGX_HTTP_KLAVIYO_CONTROL_HEAD)
                 / NGX_HTTP_KLAVIYO_CONTROL_STRIDE;
    sh->used = NGX_HTTP_KLAVIYO_OTHER + 1;
    sh->hand = NGX_HTTP_KLAVIYO_OTHER + 1;

    control->sh = sh;
    control->shpool->data = sh;

    return NGX_OK;
}


static void
ngx_http_klaviyo_control_layout(ngx_http_klaviyo_layout_t *layout)
{
    ngx_memzero(layout, sizeof(ngx_http_klaviyo_layout_t));

    ngx_memcpy(layout->magic, "klavctrl", sizeof(layout->magic));
    layout->version = 3;

    layout->sizes[0] = sizeof(ngx_http_klaviyo_control_sh_t);
    layout->sizes[1] = sizeof(ngx_http_klaviyo_control_slot_t);
    layout->sizes[2] = sizeof(ngx_http_klaviyo_counters_t);
    layout->sizes[3] = sizeof(ngx_http_klaviyo_account_state_t);
    layout->sizes[4] = NGX_HTTP_KLAVIYO_MAX_PROCESSES;
}


ngx_int_t
ngx_http_klaviyo_control_commit(ngx_http_klaviyo_control_t *control)
{
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    if (sh->generation == 0) {
        if (RAND_bytes((u_char *) &sh->nonce, sizeof(uint64_t)) != 1) {
            ngx_log_error(NGX_LOG_EMERG, control->log, 0,
                          "RAND_bytes() failed");
            return NGX_ERROR;
        }

        sh->fd = ngx_http_klaviyo_control_open(control->log);
    }

    control->generation = ngx_atomic_fetch_add(&sh->generation, 1) + 1;

    return NGX_OK;
}


/* without it events wait for the background process' own timer */

static ngx_fd_t
ngx_http_klaviyo_control_open(ngx_log_t *log)
{
#if (NGX_HAVE_SYS_EVENTFD_H)

    ngx_fd_t  fd;

    fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno, "eventfd() failed");
    }

    return fd;

#else

    return -1;

#endif
}


ngx_uint_t
ngx_http_klaviyo_control_newest(ngx_http_klaviyo_control_t *control)
{
    return control->sh->generation;
}


uint64_t
ngx_http_klaviyo_control_nonce(ngx_http_klaviyo_control_t *control)
{
    return control->sh->nonce;
}


ngx_uint_t
ngx_http_klaviyo_control_enter(ngx_http_klaviyo_control_t *control)
{
    ngx_http_klaviyo_control_register(control, 0);

    return ngx_atomic_fetch_add(&control->sh->serial, 1) + 1;
}


void
ngx_http_klaviyo_control_attend(ngx_http_klaviyo_control_t *control)
{
    ngx_http_klaviyo_control_register(control, 1);
}


static void
ngx_http_klaviyo_control_register(ngx_http_klaviyo_control_t *control,
    ngx_uint_t background)
{
    ngx_http_klaviyo_control_process_t  *process;

    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    process = ngx_http_klaviyo_control_place(control->sh);

    if (process) {
        process->pid = 0;
        ngx_memory_barrier();

        process->generation = control->generation;
        process->background = background;
        ngx_memory_barrier();

        process->pid = ngx_pid;
    }

    ngx_shmtx_unlock(&control->shpool->mutex);
}


/* ours first: somebody with our pid died without leaving */

static ngx_http_klaviyo_control_process_t *
ngx_http_klaviyo_control_place(ngx_http_klaviyo_control_sh_t *sh)
{
    ngx_uint_t                           i;
    ngx_http_klaviyo_control_process_t  *process, *empty;

    empty = NULL;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_PROCESSES; i++) {
        process = &sh->processes[i];

        if (process->pid == (ngx_atomic_uint_t) ngx_pid) {
            return process;
        }

        if (empty == NULL && process->pid == 0) {
            empty = process;
        }
    }

    if (empty) {
        return empty;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_PROCESSES; i++) {
        process = &sh->processes[i];

        if (ngx_http_klaviyo_dead((ngx_pid_t) process->pid)) {
            return process;
        }
    }

    return NULL;
}


void
ngx_http_klaviyo_control_leave(ngx_http_klaviyo_control_t *control)
{
    ngx_uint_t                           i;
    ngx_http_klaviyo_control_process_t  *process;

    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    process = control->sh->processes;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_PROCESSES; i++) {
        if (process[i].pid == (ngx_atomic_uint_t) ngx_pid) {
            process[i].pid = 0;
        }
    }

    ngx_shmtx_unlock(&control->shpool->mutex);
}


ngx_uint_t
ngx_http_klaviyo_control_workers(ngx_http_klaviyo_control_t *control,
    ngx_uint_t generation)
{
    ngx_uint_t                           i, n;
    ngx_http_klaviyo_control_process_t  *process;

    n = 0;
    process = control->sh->processes;

    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_PROCESSES; i++) {
        if (process[i].pid == 0 || process[i].background
            || process[i].generation > generation)
        {
            continue;
        }

        if (ngx_http_klaviyo_dead((ngx_pid_t) process[i].pid)) {
            process[i].pid = 0;
            continue;
        }

        n++;
    }

    ngx_shmtx_unlock(&control->shpool->mutex);

    return n;
}


/* the oldest generation that lives, or is about to: ours; under the lock */

static ngx_uint_t
ngx_http_klaviyo_control_oldest(ngx_http_klaviyo_control_t *control,
    ngx_uint_t background)
{
    ngx_uint_t                           i, oldest;
    ngx_http_klaviyo_control_process_t  *process;

    oldest = control->generation;
    process = control->sh->processes;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_PROCESSES; i++) {
        if (process[i].pid == 0 || process[i].generation >= oldest
            || (process[i].background && !background))
        {
            continue;
        }

        if (ngx_http_klaviyo_dead((ngx_pid_t) process[i].pid)) {
            process[i].pid = 0;
            continue;
        }

        oldest = process[i].generation;
    }

    return oldest;
}


ngx_uint_t
ngx_http_klaviyo_control_slot(ngx_http_klaviyo_control_t *control, u_char *key)
{
    ngx_uint_t                        n;
    ngx_http_klaviyo_control_sh_t    *sh;
    ngx_http_klaviyo_control_slot_t  *slot;

    sh = control->sh;

    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    for (n = *ngx_http_klaviyo_control_bucket(sh, key); n; n = slot->next) {
        slot = ngx_http_klaviyo_control_nth(sh, n);

        if (ngx_memcmp(slot->key, key, NGX_HTTP_KLAVIYO_KEY_LEN) == 0) {
            break;
        }
    }

    if (n == NGX_HTTP_KLAVIYO_OTHER) {
        n = ngx_http_klaviyo_control_make(control, key);

    } else if (slot->generation < control->generation) {
        slot->generation = control->generation;
    }

    ngx_shmtx_unlock(&control->shpool->mutex);

    return n;
}


static ngx_uint_t
ngx_http_klaviyo_control_make(ngx_http_klaviyo_control_t *control, u_char *key)
{
    uint32_t                         *bucket;
    ngx_uint_t                        n;
    ngx_http_klaviyo_control_sh_t    *sh;
    ngx_http_klaviyo_control_slot_t  *slot;

    sh = control->sh;

    n = (sh->used < sh->nslots) ? sh->used
                                : ngx_http_klaviyo_control_recycle(control);

    if (n == NGX_HTTP_KLAVIYO_OTHER) {
        return n;
    }

    bucket = ngx_http_klaviyo_control_bucket(sh, key);
    slot = ngx_http_klaviyo_control_nth(sh, n);

    ngx_memzero(slot, sizeof(ngx_http_klaviyo_control_slot_t));
    ngx_memcpy(slot->key, key, NGX_HTTP_KLAVIYO_KEY_LEN);
    slot->generation = control->generation;
    slot->next = *bucket;

    ngx_memory_barrier();

    if (n == sh->used) {
        sh->used = n + 1;
        ngx_memory_barrier();
    }

    *bucket = n;

    return n;
}


static uint32_t *
ngx_http_klaviyo_control_bucket(ngx_http_klaviyo_control_sh_t *sh, u_char *key)
{
    uint32_t  hash;

    /* a key is a hash itself */

    ngx_memcpy(&hash, key, sizeof(uint32_t));

    return &sh->buckets[hash % NGX_HTTP_KLAVIYO_CONTROL_BUCKETS];
}


/*
 * A slot that nobody counts in any more: its rules were in generations up to
 * slot->generation, and no worker of any of these lives.
 */

static ngx_uint_t
ngx_http_klaviyo_control_recycle(ngx_http_klaviyo_control_t *control)
{
    ngx_uint_t                        i, n, oldest;
    ngx_http_klaviyo_control_sh_t    *sh;
    ngx_http_klaviyo_control_slot_t  *slot;

    sh = control->sh;
    oldest = ngx_http_klaviyo_control_oldest(control, 0);

    for (i = NGX_HTTP_KLAVIYO_OTHER + 1; i < sh->nslots; i++) {

        n = sh->hand;
        sh->hand = (n + 1 < sh->nslots) ? n + 1 : NGX_HTTP_KLAVIYO_OTHER + 1;

        slot = ngx_http_klaviyo_control_nth(sh, n);

        if (slot->generation < oldest
            && slot->counters.queued == 0
            && slot->counters.spooled == 0)
        {
            ngx_http_klaviyo_control_unlink(sh, n);
            ngx_http_klaviyo_control_fold(sh, n);

            return n;
        }
    }

    return NGX_HTTP_KLAVIYO_OTHER;
}


/* one that was lost between its making and its linking isn't found: fine */

static void
ngx_http_klaviyo_control_unlink(ngx_http_klaviyo_control_sh_t *sh,
    ngx_uint_t n)
{
    uint32_t                         *p;
    ngx_http_klaviyo_control_slot_t  *slot;

    slot = ngx_http_klaviyo_control_nth(sh, n);

    for (p = ngx_http_klaviyo_control_bucket(sh, slot->key);
         *p;
         p = &ngx_http_klaviyo_control_nth(sh, *p)->next)
    {
        if (*p == n) {
            *p = slot->next;
            break;
        }
    }

    ngx_memory_barrier();
}


/* all of a slot's counters go to "other", so that totals stay */

static void
ngx_http_klaviyo_control_fold(ngx_http_klaviyo_control_sh_t *sh, ngx_uint_t n)
{
    ngx_uint_t          i;
    ngx_atomic_t       *from, *to;
    ngx_atomic_uint_t   value;

    from = (ngx_atomic_t *) &ngx_http_klaviyo_control_nth(sh, n)->counters;
    to = (ngx_atomic_t *)
            &ngx_http_klaviyo_control_nth(sh, NGX_HTTP_KLAVIYO_OTHER)->counters;

    for (i = 0;
         i < sizeof(ngx_http_klaviyo_counters_t) / sizeof(ngx_atomic_t);
         i++)
    {
        value = from[i];

        if (value) {
            from[i] = 0;
            (void) ngx_atomic_fetch_add(&to[i], (ngx_atomic_int_t) value);
        }
    }
}


u_char *
ngx_http_klaviyo_control_key(ngx_http_klaviyo_control_t *control,
    ngx_uint_t slot)
{
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    if (slot >= sh->used) {
        slot = NGX_HTTP_KLAVIYO_OTHER;
    }

    return ngx_http_klaviyo_control_nth(sh, slot)->key;
}


ngx_http_klaviyo_counters_t *
ngx_http_klaviyo_control_counters(ngx_http_klaviyo_control_t *control,
    ngx_uint_t slot)
{
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    if (slot >= sh->used) {
        slot = NGX_HTTP_KLAVIYO_OTHER;
    }

    return &ngx_http_klaviyo_control_nth(sh, slot)->counters;
}


/* under the lock, so that a slot that is given away counts once */

void
ngx_http_klaviyo_control_total(ngx_http_klaviyo_control_t *control,
    ngx_http_klaviyo_counters_t *sum)
{
    ngx_uint_t                      i, n;
    ngx_atomic_t                   *from, *to;
    ngx_http_klaviyo_control_sh_t  *sh;

    ngx_memzero(sum, sizeof(ngx_http_klaviyo_counters_t));

    sh = control->sh;
    to = (ngx_atomic_t *) sum;

    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    for (n = 0; n < sh->used; n++) {
        from = (ngx_atomic_t *) &ngx_http_klaviyo_control_nth(sh, n)->counters;

        for (i = 0;
             i < sizeof(ngx_http_klaviyo_counters_t) / sizeof(ngx_atomic_t);
             i++)
        {
            to[i] += from[i];
        }
    }

    ngx_shmtx_unlock(&control->shpool->mutex);
}


ngx_http_klaviyo_account_state_t *
ngx_http_klaviyo_control_account(ngx_http_klaviyo_control_t *control,
    u_char *key)
{
    ngx_http_klaviyo_account_state_t  *state;

    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    state = ngx_http_klaviyo_control_find(control, key);

    if (state == NULL) {
        state = ngx_http_klaviyo_control_free(control);

        if (state) {
            ngx_http_klaviyo_control_give(control, state, key);
        }
    }

    ngx_shmtx_unlock(&control->shpool->mutex);

    return state;
}


void
ngx_http_klaviyo_control_mark(ngx_http_klaviyo_control_t *control, u_char *key)
{
    ngx_http_klaviyo_zone_lock(&control->shpool->mutex);

    (void) ngx_http_klaviyo_control_find(control, key);

    ngx_shmtx_unlock(&control->shpool->mutex);
}


static ngx_http_klaviyo_account_state_t *
ngx_http_klaviyo_control_find(ngx_http_klaviyo_control_t *control, u_char *key)
{
    ngx_uint_t                         i;
    ngx_http_klaviyo_account_state_t  *state;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        state = &control->sh->accounts[i];

        if (state->used
            && ngx_memcmp(state->key, key, NGX_HTTP_KLAVIYO_KEY_LEN) == 0)
        {
            if (state->generation < control->generation) {
                state->generation = control->generation;
            }

            return state;
        }
    }

    return NULL;
}


/*
 * One that was never used, else of those that nobody has any more the one that
 * is so for longest.  Where a segment was left in the middle, by a process that
 * was killed, its place is needed if the account comes back.
 */

static ngx_http_klaviyo_account_state_t *
ngx_http_klaviyo_control_free(ngx_http_klaviyo_control_t *control)
{
    ngx_uint_t                         i, oldest;
    ngx_http_klaviyo_account_state_t  *state, *found;

    found = NULL;
    oldest = ngx_http_klaviyo_control_oldest(control, 1);

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        state = &control->sh->accounts[i];

        if (!state->used) {
            return state;
        }

        if (state->generation < oldest && state->spool_reading == 0
            && (found == NULL || state->generation < found->generation))
        {
            found = state;
        }
    }

    return found;
}


/* No segment gets a number that one has which its account has left */

static void
ngx_http_klaviyo_control_give(ngx_http_klaviyo_control_t *control,
    ngx_http_klaviyo_account_state_t *state, u_char *key)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  seq;

    seq = 0;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MAX_ACCOUNTS; i++) {
        seq = ngx_max(seq, control->sh->accounts[i].spool_seq);
    }

    state->used = 0;
    ngx_memory_barrier();

    ngx_memzero(state, sizeof(ngx_http_klaviyo_account_state_t));
    ngx_memcpy(state->key, key, NGX_HTTP_KLAVIYO_KEY_LEN);
    state->generation = control->generation;
    state->spool_seq = seq;
    ngx_memory_barrier();

    state->used = 1;
}


/* The history has been kept in the table already */

void
ngx_http_klaviyo_control_move(ngx_http_klaviyo_account_state_t *to,
    ngx_http_klaviyo_account_state_t *from)
{
    size_t  start, end;

    start = offsetof(ngx_http_klaviyo_account_state_t, state);
    end = offsetof(ngx_http_klaviyo_account_state_t, history);

    ngx_memcpy((u_char *) to + start, (u_char *) from + start, end - start);
    ngx_memcpy(to->budget, from->budget, sizeof(to->budget));

    to->spool_bytes = from->spool_bytes;
    to->spool_segments = from->spool_segments;
    to->spool_oldest = from->spool_oldest;
    to->spool_seq = ngx_max(to->spool_seq, from->spool_seq);

    to->spool_offset = from->spool_offset;
    ngx_memory_barrier();

    to->spool_reading = from->spool_reading;
}


ngx_fd_t
ngx_http_klaviyo_control_fd(ngx_http_klaviyo_control_t *control)
{
    return control->sh->fd;
}


/*
 * The event was stored before "sleeping" is loaded here, and "sleeping" was
 * stored before the event is looked for there: one of the two sees the other.
 * Both need a real barrier, which ngx_memory_barrier() is not on all builds.
 */

ngx_uint_t
ngx_http_klaviyo_control_tell(ngx_http_klaviyo_control_t *control)
{
    ngx_atomic_uint_t  now, told;

    now = (ngx_atomic_uint_t) ngx_time();
    told = control->sh->told;

    return told != now
           && ngx_atomic_cmp_set(&control->sh->told, told, now);
}


void
ngx_http_klaviyo_control_wake(ngx_http_klaviyo_control_t *control)
{
    uint64_t                        one;
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    __sync_synchronize();

    if (!sh->sleeping || !ngx_atomic_cmp_set(&sh->sleeping, 1, 0)
        || sh->fd == -1)
    {
        return;
    }

    one = 1;

    if (write(sh->fd, &one, sizeof(uint64_t)) == -1) {
        ngx_log_error(NGX_LOG_ALERT, control->log, ngx_errno,
                      "write() to eventfd failed");
    }
}


void
ngx_http_klaviyo_control_sleep(ngx_http_klaviyo_control_t *control)
{
    control->sh->sleeping = 1;

    __sync_synchronize();
}


void
ngx_http_klaviyo_control_awake(ngx_http_klaviyo_control_t *control)
{
    uint64_t                        n;
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    sh->sleeping = 0;

    if (sh->fd == -1) {
        return;
    }

    if (read(sh->fd, &n, sizeof(uint64_t)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, control->log, ngx_errno,
                      "read() from eventfd failed");
    }
}


/*
 * The one before may still live: it then belongs to an older generation, and
 * its end, which comes later, is not told here.
 */

ngx_msec_t
ngx_http_klaviyo_control_start(ngx_http_klaviyo_control_t *control)
{
    ngx_pid_t                       pid;
    ngx_msec_t                      age, delay;
    ngx_uint_t                      crash;
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;
    pid = sh->pid;

    crash = pid && !sh->ended && (pid == ngx_pid || ngx_http_klaviyo_dead(pid));

    age = ngx_current_msec - sh->started;
    delay = 0;

    if (crash && !sh->settled
        && age < sh->delay + NGX_HTTP_KLAVIYO_CONTROL_SOON)
    {
        delay = sh->delay ? ngx_min(sh->delay * 2,
                                    NGX_HTTP_KLAVIYO_CONTROL_UP_TO)
                          : NGX_HTTP_KLAVIYO_CONTROL_FROM;
    }

    sh->delay = delay;
    sh->started = ngx_current_msec;
    sh->settled = 0;
    sh->ended = 0;
    sh->beat = ngx_time();
    sh->pid = ngx_pid;

    ngx_http_klaviyo_count(sh, starts);

    if (crash) {
        ngx_http_klaviyo_count(sh, crashes);
    }

    return delay;
}


/* the end of an old one says nothing about the one that came after it */

void
ngx_http_klaviyo_control_settle(ngx_http_klaviyo_control_t *control)
{
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    if (sh->pid == (ngx_atomic_uint_t) ngx_pid) {
        sh->settled = 1;
        sh->ended = 1;
    }
}


void
ngx_http_klaviyo_control_beat(ngx_http_klaviyo_control_t *control)
{
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    if (sh->pid == (ngx_atomic_uint_t) ngx_pid) {
        sh->ended = 0;
        sh->beat = ngx_time();
    }
}


void
ngx_http_klaviyo_control_health(ngx_http_klaviyo_control_t *control,
    ngx_pid_t *pid, time_t *beat, ngx_uint_t *starts, ngx_uint_t *crashes)
{
    ngx_http_klaviyo_control_sh_t  *sh;

    sh = control->sh;

    *pid = sh->pid;
    *beat = sh->beat;
    *starts = sh->starts;
    *crashes = sh->crashes;
}
