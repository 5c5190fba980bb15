
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The ring of one account's events in shared memory.
 *
 * Any process may be killed between any two stores, also under the lock, which
 * is then freed.  Therefore
 *
 *   - what is copied or filled isn't in use yet; a single store puts it to
 *     use, and what follows that store may be missing;
 *   - tail and cursor carry totals, which have to move with them: there are
 *     two copies of both, and the store says which one is in force;
 *   - head may lag behind: the next one who moves it makes that good.
 *
 * Offsets only grow; a record never wraps.  What is left at the end, if too
 * small for a record, is filled by a PAD, and skipped if too small for that.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring_layout.h"


/* no more in a range, whatever is asked for */
#define NGX_HTTP_KLAVIYO_RING_EVENTS     1000

/* a power of two, well above */
#define NGX_HTTP_KLAVIYO_RING_IDS        4096

/* runs of a rule that are counted as sent under one lock */
#define NGX_HTTP_KLAVIYO_RING_RUNS       32


typedef struct {
    uint64_t                             end;
    ngx_uint_t                           rule;
    ngx_uint_t                           n;
} ngx_http_klaviyo_ring_run_t;


#define ngx_http_klaviyo_ring_pid(owner)                                      \
    ((ngx_pid_t) ((owner) & 0xffffffff))

#define ngx_http_klaviyo_ring_generation(owner)  ((ngx_uint_t) ((owner) >> 32))


static ngx_http_klaviyo_record_t *ngx_http_klaviyo_ring_reserve(
    ngx_http_klaviyo_ring_sh_t *sh, ngx_http_klaviyo_ring_mark_t *mark,
    uint64_t need);
static void ngx_http_klaviyo_ring_fill(ngx_http_klaviyo_record_t *record,
    ngx_http_klaviyo_ring_mark_t *mark, ngx_http_klaviyo_record_t *meta,
    ngx_str_t *json);
static void ngx_http_klaviyo_ring_move(ngx_http_klaviyo_ring_place_t *place,
    ngx_http_klaviyo_ring_mark_t *mark);
static uint64_t ngx_http_klaviyo_ring_self(ngx_http_klaviyo_ring_t *ring);
static void ngx_http_klaviyo_ring_take_over(ngx_http_klaviyo_ring_t *ring);
static void ngx_http_klaviyo_ring_repair(ngx_http_klaviyo_ring_sh_t *sh);
static ngx_uint_t ngx_http_klaviyo_ring_covered(ngx_http_klaviyo_ring_sh_t *sh,
    uint64_t offset);
static void ngx_http_klaviyo_ring_move_head(ngx_http_klaviyo_ring_sh_t *sh);
static ngx_http_klaviyo_ring_slot_t *ngx_http_klaviyo_ring_new_slot(
    ngx_http_klaviyo_ring_t *ring, ngx_uint_t spare);
static ngx_int_t ngx_http_klaviyo_ring_occupy(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_ring_mark_t *from, ngx_http_klaviyo_ring_mark_t *to);
static ngx_uint_t ngx_http_klaviyo_ring_measure(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_mark_t *mark, uint64_t end, ngx_uint_t events,
    size_t bytes);
static ngx_uint_t ngx_http_klaviyo_ring_known(uint32_t *ids, uint32_t id);
static ngx_http_klaviyo_record_t *ngx_http_klaviyo_ring_seek(
    ngx_http_klaviyo_ring_sh_t *sh, uint64_t *offset, uint64_t end);
static ngx_http_klaviyo_record_t *ngx_http_klaviyo_ring_unfinished(
    ngx_http_klaviyo_ring_sh_t *sh, uint64_t *offset, uint64_t end);
static ngx_uint_t ngx_http_klaviyo_ring_left(ngx_http_klaviyo_ring_sh_t *sh,
    uint64_t offset, uint64_t end);
static uint64_t ngx_http_klaviyo_ring_offset(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_slot_t *slot, ngx_http_klaviyo_record_t *record);
static ngx_http_klaviyo_ring_slot_t *ngx_http_klaviyo_ring_waiting(
    ngx_http_klaviyo_ring_t *ring, uint64_t place);
static ngx_http_klaviyo_ring_slot_t *ngx_http_klaviyo_ring_held(
    ngx_http_klaviyo_ring_t *ring, ngx_int_t slot);
static void ngx_http_klaviyo_ring_close(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_ring_slot_t *held);
static ngx_uint_t ngx_http_klaviyo_ring_runs(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_slot_t *slot, ngx_http_klaviyo_ring_run_t *runs);


ngx_int_t
ngx_http_klaviyo_ring_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_klaviyo_ring_t  *oring = data;

    void                        *p;
    size_t                       size;
    ngx_int_t                    rc;
    ngx_http_klaviyo_ring_t     *ring;
    ngx_http_klaviyo_layout_t    layout;
    ngx_http_klaviyo_ring_sh_t  *sh;

    ring = shm_zone->data;

    ring->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    ring->zone = shm_zone;

    ngx_http_klaviyo_ring_layout(&layout);

    p = oring ? oring->sh : NULL;

    rc = ngx_http_klaviyo_zone_attach(shm_zone, &layout, &p);

    if (rc != NGX_DECLINED) {
        ring->sh = p;
        return rc;
    }

    p = ngx_http_klaviyo_zone_alloc(shm_zone, NGX_HTTP_KLAVIYO_RING_HEAD
                                              + ngx_pagesize, &size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(p, NGX_HTTP_KLAVIYO_RING_HEAD);

    sh = p;

    sh->layout = layout;
    sh->size = size - NGX_HTTP_KLAVIYO_RING_HEAD;

    ring->sh = sh;
    ring->shpool->data = sh;

    return NGX_OK;
}


void
ngx_http_klaviyo_ring_layout(ngx_http_klaviyo_layout_t *layout)
{
    ngx_memzero(layout, sizeof(ngx_http_klaviyo_layout_t));

    ngx_memcpy(layout->magic, "klavring", sizeof(layout->magic));
    layout->version = 3;
    layout->sizes[0] = sizeof(ngx_http_klaviyo_ring_sh_t);
    layout->sizes[1] = sizeof(ngx_http_klaviyo_record_t);
}


/* found by the remainder of its number: two rules of one are rare */

void
ngx_http_klaviyo_ring_rule(ngx_http_klaviyo_ring_t *ring, ngx_uint_t slot)
{
    u_char                        *key;
    ngx_http_klaviyo_ring_rule_t  *rule;

    if (slot == NGX_HTTP_KLAVIYO_OTHER) {
        return;
    }

    key = ngx_http_klaviyo_control_key(ring->control, slot);
    rule = ngx_http_klaviyo_ring_nth_rule(ring->sh, slot);

    if (rule->slot == slot
        && ngx_memcmp(rule->key, key, NGX_HTTP_KLAVIYO_KEY_LEN) == 0)
    {
        return;
    }

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    rule->slot = NGX_HTTP_KLAVIYO_OTHER;
    ngx_memory_barrier();

    ngx_memcpy(rule->key, key, NGX_HTTP_KLAVIYO_KEY_LEN);
    ngx_memory_barrier();

    rule->slot = (uint32_t) slot;

    ngx_shmtx_unlock(&ring->shpool->mutex);
}


/* The segment is stored last: a place never stands beside another's number */

void
ngx_http_klaviyo_ring_reads(ngx_http_klaviyo_ring_t *ring, uint64_t id,
    uint64_t place)
{
    ngx_http_klaviyo_ring_sh_t  *sh;

    sh = ring->sh;

    if (sh->reading != id) {
        sh->reading = 0;
        ngx_memory_barrier();
    }

    sh->place = place;
    ngx_memory_barrier();

    sh->reading = id;
}


/*
 * Counted before the event can be seen, so that nobody takes it from a "queued"
 * that doesn't have it yet.  One who is killed just between leaves an event in
 * "seen" and "queued" that isn't there.
 */

ngx_int_t
ngx_http_klaviyo_ring_put(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_record_t *meta, ngx_str_t *json)
{
    uint64_t                       need;
    ngx_uint_t                     held;
    ngx_http_klaviyo_record_t     *record;
    ngx_http_klaviyo_ring_sh_t    *sh;
    ngx_http_klaviyo_counters_t   *counters;
    ngx_http_klaviyo_ring_mark_t   mark;

    sh = ring->sh;
    held = meta->flags & NGX_HTTP_KLAVIYO_RECORD_HELD;
    need = ngx_http_klaviyo_ring_need(json->len);
    counters = ngx_http_klaviyo_control_counters(ring->control, meta->rule);

    if (need > sh->size / 2 || json->len > NGX_MAX_INT32_VALUE) {
        ngx_http_klaviyo_count_seen(counters, held);
        ngx_http_klaviyo_count(counters,
                               dropped[NGX_HTTP_KLAVIYO_DROP_TOO_LARGE]);
        return NGX_ABORT;
    }

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    mark = *ngx_http_klaviyo_ring_mark(&sh->tail);

    record = ngx_http_klaviyo_ring_reserve(sh, &mark, need);

    if (record == NULL) {
        ngx_shmtx_unlock(&ring->shpool->mutex);

        ngx_http_klaviyo_count_seen(counters, held);
        ngx_http_klaviyo_count(counters, dropped[NGX_HTTP_KLAVIYO_DROP_FULL]);
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_ring_fill(record, &mark, meta, json);
    record->flags = 0;

    ngx_http_klaviyo_count_seen(counters, held);
    ngx_http_klaviyo_count(counters, queued);

    ngx_http_klaviyo_ring_move(&sh->tail, &mark);

    ngx_shmtx_unlock(&ring->shpool->mutex);

    return NGX_OK;
}


/* what was counted as spooled by an instance that is no more is restored */

ngx_int_t
ngx_http_klaviyo_ring_restore(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_record_t *meta, ngx_str_t *json, ngx_uint_t counted)
{
    uint64_t                       need;
    ngx_http_klaviyo_record_t     *record;
    ngx_http_klaviyo_ring_sh_t    *sh;
    ngx_http_klaviyo_counters_t   *counters;
    ngx_http_klaviyo_ring_mark_t   mark;

    sh = ring->sh;
    need = ngx_http_klaviyo_ring_need(json->len);
    counters = ngx_http_klaviyo_control_counters(ring->control, meta->rule);

    if (need > sh->size / 2 || json->len > NGX_MAX_INT32_VALUE) {
        return NGX_ABORT;
    }

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    mark = *ngx_http_klaviyo_ring_mark(&sh->tail);

    record = NULL;

    if (mark.offset - sh->head == 0
        || mark.offset - sh->head + need <= sh->size / 2)
    {
        record = ngx_http_klaviyo_ring_reserve(sh, &mark, need);
    }

    if (record == NULL) {
        ngx_shmtx_unlock(&ring->shpool->mutex);
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_ring_fill(record, &mark, meta, json);
    record->flags = meta->flags & NGX_HTTP_KLAVIYO_RECORD_AGED;

    ngx_http_klaviyo_count_restored(counters, counted);
    ngx_http_klaviyo_count(counters, queued);

    ngx_http_klaviyo_ring_move(&sh->tail, &mark);

    ngx_shmtx_unlock(&ring->shpool->mutex);

    return NGX_OK;
}


/* the place of the next record; the mark is moved behind it; under the lock */

static ngx_http_klaviyo_record_t *
ngx_http_klaviyo_ring_reserve(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_mark_t *mark, uint64_t need)
{
    u_char                     *data;
    uint64_t                    place, left, pad;
    ngx_http_klaviyo_record_t  *record;

    data = ngx_http_klaviyo_ring_data(sh);
    place = mark->offset % sh->size;
    left = sh->size - place;
    pad = (left < need) ? left : 0;

    if (mark->offset - sh->head + pad + need > sh->size) {
        return NULL;
    }

    mark->offset += pad + need;

    record = (ngx_http_klaviyo_record_t *) (data + place);

    if (pad == 0) {
        return record;
    }

    if (pad >= sizeof(ngx_http_klaviyo_record_t)) {
        record->flags = NGX_HTTP_KLAVIYO_RECORD_PAD;
    }

    return (ngx_http_klaviyo_record_t *) data;
}


static void
ngx_http_klaviyo_ring_fill(ngx_http_klaviyo_record_t *record,
    ngx_http_klaviyo_ring_mark_t *mark, ngx_http_klaviyo_record_t *meta,
    ngx_str_t *json)
{
    *record = *meta;
    record->len = (uint32_t) json->len;
    record->msec = (uint32_t) ngx_current_msec;

    ngx_memcpy(ngx_http_klaviyo_record_text(record), json->data, json->len);

    mark->events++;
    mark->bytes += json->len;
}


static void
ngx_http_klaviyo_ring_move(ngx_http_klaviyo_ring_place_t *place,
    ngx_http_klaviyo_ring_mark_t *mark)
{
    ngx_uint_t  next;

    next = !place->current;

    place->marks[next] = *mark;

    ngx_memory_barrier();

    place->current = next;
}


void
ngx_http_klaviyo_ring_stat(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_ring_stat_t *stat)
{
    uint32_t                       age;
    uint64_t                       offset;
    ngx_uint_t                     i;
    ngx_http_klaviyo_record_t     *record;
    ngx_http_klaviyo_ring_sh_t    *sh;
    ngx_http_klaviyo_ring_mark_t  *cursor, *tail;

    sh = ring->sh;

    ngx_memzero(stat, sizeof(ngx_http_klaviyo_ring_stat_t));

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    cursor = ngx_http_klaviyo_ring_mark(&sh->cursor);
    tail = ngx_http_klaviyo_ring_mark(&sh->tail);

    stat->size = sh->size;
    stat->used = tail->offset - sh->head;
    stat->unclaimed = tail->events - cursor->events;
    stat->unclaimed_bytes = tail->bytes - cursor->bytes;
    stat->events = stat->unclaimed;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        if (sh->slots[i].state == NGX_HTTP_KLAVIYO_SLOT_USED) {
            stat->events += sh->slots[i].left;
            stat->slots++;
        }
    }

    offset = cursor->offset;
    record = ngx_http_klaviyo_ring_seek(sh, &offset, tail->offset);

    if (record) {
        age = (uint32_t) ngx_current_msec - record->msec;

        /* the cached time of another process may be ahead of ours */

        stat->oldest = (age > 0xffffffff - 60000) ? 0 : age;
    }

    ngx_shmtx_unlock(&ring->shpool->mutex);
}


ngx_uint_t
ngx_http_klaviyo_ring_kept(ngx_http_klaviyo_ring_t *ring)
{
    return ring->sh->file != 0;
}


/*
 * An owner of the same generation is believed to live as long as its pid does;
 * one of an older generation need not be dead.
 */

ngx_int_t
ngx_http_klaviyo_ring_own(ngx_http_klaviyo_ring_t *ring)
{
    uint64_t                     owner;
    ngx_int_t                    rc;
    ngx_http_klaviyo_ring_sh_t  *sh;

    if (ngx_http_klaviyo_ring_owned(ring)) {
        return NGX_OK;
    }

    sh = ring->sh;
    owner = sh->owner;

    if (owner
        && ngx_http_klaviyo_ring_pid(owner) != ngx_pid
        && ngx_http_klaviyo_ring_generation(owner) >= ring->control->generation
        && !ngx_http_klaviyo_dead(ngx_http_klaviyo_ring_pid(owner)))
    {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    if (sh->owner == owner) {
        ngx_http_klaviyo_ring_take_over(ring);
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&ring->shpool->mutex);

    return rc;
}


static void
ngx_http_klaviyo_ring_take_over(ngx_http_klaviyo_ring_t *ring)
{
    uint64_t                     self;
    ngx_uint_t                   i;
    ngx_http_klaviyo_ring_sh_t  *sh;

    sh = ring->sh;
    self = ngx_http_klaviyo_ring_self(ring);

    if (ring->self != self) {

        /* what this pid holds is a dead one's: the pid was used again */

        for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
            if (ngx_http_klaviyo_ring_pid(sh->slots[i].holder) == ngx_pid) {
                sh->slots[i].holder = 0;
            }
        }
    }

    ngx_http_klaviyo_ring_repair(sh);
    ngx_http_klaviyo_ring_move_head(sh);

    sh->owner = self;
    ring->self = self;
}


ngx_uint_t
ngx_http_klaviyo_ring_owned(ngx_http_klaviyo_ring_t *ring)
{
    return ring->self && ring->self == ring->sh->owner
           && ring->self == ngx_http_klaviyo_ring_self(ring);
}


static uint64_t
ngx_http_klaviyo_ring_self(ngx_http_klaviyo_ring_t *ring)
{
    return (uint64_t) ring->control->generation << 32 | (uint32_t) ngx_pid;
}


/*
 * A NEW slot seen under the lock is one whose maker was killed.  If it got as
 * far as to the store that counts, to move the cursor or to shorten the slot
 * that was split, its range is in no other place.
 */

static void
ngx_http_klaviyo_ring_repair(ngx_http_klaviyo_ring_sh_t *sh)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &sh->slots[i];

        if (slot->state == NGX_HTTP_KLAVIYO_SLOT_NEW) {
            slot->state = ngx_http_klaviyo_ring_covered(sh, slot->start)
                          ? NGX_HTTP_KLAVIYO_SLOT_FREE
                          : NGX_HTTP_KLAVIYO_SLOT_USED;
        }
    }
}


static ngx_uint_t
ngx_http_klaviyo_ring_covered(ngx_http_klaviyo_ring_sh_t *sh, uint64_t offset)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot;

    if (offset >= ngx_http_klaviyo_ring_mark(&sh->cursor)->offset) {
        return 1;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &sh->slots[i];

        if (slot->state == NGX_HTTP_KLAVIYO_SLOT_USED
            && offset >= slot->start && offset < slot->end)
        {
            return 1;
        }
    }

    return 0;
}


/* under the lock; a NEW slot may hold the head back, until it is repaired */

static void
ngx_http_klaviyo_ring_move_head(ngx_http_klaviyo_ring_sh_t *sh)
{
    uint64_t                       head;
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot;

    head = ngx_http_klaviyo_ring_mark(&sh->cursor)->offset;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &sh->slots[i];

        if (slot->state != NGX_HTTP_KLAVIYO_SLOT_FREE && slot->start < head) {
            head = slot->start;
        }
    }

    ngx_memory_barrier();

    sh->head = head;
}


/* under the lock; NULL if no more than "spare" are free */

static ngx_http_klaviyo_ring_slot_t *
ngx_http_klaviyo_ring_new_slot(ngx_http_klaviyo_ring_t *ring, ngx_uint_t spare)
{
    ngx_uint_t                     i, n;
    ngx_http_klaviyo_ring_slot_t  *slot;

    n = 0;
    slot = NULL;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        if (ring->sh->slots[i].state == NGX_HTTP_KLAVIYO_SLOT_FREE) {
            slot = &ring->sh->slots[i];

            if (n++ == spare) {
                return slot;
            }
        }
    }

    return NULL;
}


/*
 * Walks outside the lock: only the owner moves the cursor, and nothing between
 * cursor and tail changes.  A newer owner is noticed when the slot is made.
 */

ngx_int_t
ngx_http_klaviyo_ring_claim(ngx_http_klaviyo_ring_t *ring, ngx_uint_t events,
    size_t bytes, ngx_uint_t *full)
{
    ngx_int_t                      slot;
    ngx_uint_t                     limited;
    ngx_http_klaviyo_ring_sh_t    *sh;
    ngx_http_klaviyo_ring_mark_t   from, to, tail;

    sh = ring->sh;
    slot = NGX_DECLINED;

    if (full) {
        *full = 0;
    }

    if (!ngx_http_klaviyo_ring_owned(ring)) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    from = *ngx_http_klaviyo_ring_mark(&sh->cursor);
    tail = *ngx_http_klaviyo_ring_mark(&sh->tail);

    ngx_shmtx_unlock(&ring->shpool->mutex);

    to = from;
    limited = ngx_http_klaviyo_ring_measure(sh, &to, tail.offset, events,
                                            bytes);

    if (to.offset == from.offset) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    if (ngx_http_klaviyo_ring_owned(ring)) {
        slot = ngx_http_klaviyo_ring_occupy(ring, &from, &to);
    }

    ngx_shmtx_unlock(&ring->shpool->mutex);

    if (full && slot != NGX_DECLINED) {
        *full = limited;
    }

    return slot;
}


/* under the lock */

static ngx_int_t
ngx_http_klaviyo_ring_occupy(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_ring_mark_t *from, ngx_http_klaviyo_ring_mark_t *to)
{
    ngx_http_klaviyo_ring_slot_t  *slot;

    slot = ngx_http_klaviyo_ring_new_slot(ring, NGX_HTTP_KLAVIYO_RING_SPARE);
    if (slot == NULL) {
        return NGX_DECLINED;
    }

    slot->holder = ring->self;
    slot->start = from->offset;
    slot->end = to->offset;
    slot->left = to->events - from->events;
    slot->spooled = 0;

    ngx_memory_barrier();

    slot->state = NGX_HTTP_KLAVIYO_SLOT_NEW;

    ngx_http_klaviyo_ring_move(&ring->sh->cursor, to);

    ngx_memory_barrier();

    slot->state = NGX_HTTP_KLAVIYO_SLOT_USED;

    return slot - ring->sh->slots;
}


/* moves "mark" to the end of the range; tells whether a limit closed it */

static ngx_uint_t
ngx_http_klaviyo_ring_measure(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_mark_t *mark, uint64_t end, ngx_uint_t events,
    size_t bytes)
{
    size_t                      size;
    uint64_t                    offset;
    uint32_t                    ids[NGX_HTTP_KLAVIYO_RING_IDS];
    ngx_uint_t                  n;
    ngx_http_klaviyo_record_t  *record;

    ngx_memzero(ids, sizeof(ids));

    events = ngx_min(events, NGX_HTTP_KLAVIYO_RING_EVENTS);
    offset = mark->offset;
    size = 0;

    for (n = 0; /* void */ ; n++) {

        if (n && n >= events) {
            return 1;
        }

        record = ngx_http_klaviyo_ring_seek(sh, &offset, end);
        if (record == NULL) {
            return 0;
        }

        size += record->len + (n ? 1 : 0);

        if ((n && size > bytes)
            || ngx_http_klaviyo_ring_known(ids, record->id))
        {
            return 1;
        }

        offset += ngx_http_klaviyo_ring_need(record->len);

        mark->offset = offset;
        mark->events++;
        mark->bytes += record->len;
    }
}


/* whether "ids" has it already; if not, it has it now */

static ngx_uint_t
ngx_http_klaviyo_ring_known(uint32_t *ids, uint32_t id)
{
    ngx_uint_t  i;

    /* 0 is an empty place; to take two ids for one closes a range, no more */

    if (id == 0) {
        id = 1;
    }

    for (i = id % NGX_HTTP_KLAVIYO_RING_IDS;
         ids[i];
         i = (i + 1) % NGX_HTTP_KLAVIYO_RING_IDS)
    {
        if (ids[i] == id) {
            return 1;
        }
    }

    ids[i] = id;

    return 0;
}


/* the first record at "*offset" or behind it; "*offset" is moved to it */

static ngx_http_klaviyo_record_t *
ngx_http_klaviyo_ring_seek(ngx_http_klaviyo_ring_sh_t *sh, uint64_t *offset,
    uint64_t end)
{
    uint64_t                    place, left;
    ngx_http_klaviyo_record_t  *record;

    while (*offset < end) {
        place = *offset % sh->size;
        left = sh->size - place;

        if (left >= sizeof(ngx_http_klaviyo_record_t)) {
            record = (ngx_http_klaviyo_record_t *)
                        (ngx_http_klaviyo_ring_data(sh) + place);

            if (!(record->flags & NGX_HTTP_KLAVIYO_RECORD_PAD)) {
                return record;
            }
        }

        *offset += left;
    }

    return NULL;
}


static ngx_http_klaviyo_record_t *
ngx_http_klaviyo_ring_unfinished(ngx_http_klaviyo_ring_sh_t *sh,
    uint64_t *offset, uint64_t end)
{
    ngx_http_klaviyo_record_t  *record;

    for ( ;; ) {
        record = ngx_http_klaviyo_ring_seek(sh, offset, end);

        if (record == NULL
            || !(record->flags & NGX_HTTP_KLAVIYO_RECORD_GONE))
        {
            return record;
        }

        *offset += ngx_http_klaviyo_ring_need(record->len);
    }
}


static ngx_uint_t
ngx_http_klaviyo_ring_left(ngx_http_klaviyo_ring_sh_t *sh, uint64_t offset,
    uint64_t end)
{
    ngx_uint_t                  n;
    ngx_http_klaviyo_record_t  *record;

    for (n = 0; /* void */ ; n++) {
        record = ngx_http_klaviyo_ring_unfinished(sh, &offset, end);
        if (record == NULL) {
            return n;
        }

        offset += ngx_http_klaviyo_ring_need(record->len);
    }
}


/* where "record" would be in the slot: beyond its end if it isn't there */

static uint64_t
ngx_http_klaviyo_ring_offset(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_slot_t *slot, ngx_http_klaviyo_record_t *record)
{
    uint64_t  place, start;

    place = (u_char *) record - ngx_http_klaviyo_ring_data(sh);
    start = slot->start % sh->size;

    return slot->start + (place - start) + ((place < start) ? sh->size : 0);
}


static ngx_http_klaviyo_ring_slot_t *
ngx_http_klaviyo_ring_held(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot)
{
    ngx_http_klaviyo_ring_slot_t  *held;

    held = &ring->sh->slots[slot];

    if (held->state == NGX_HTTP_KLAVIYO_SLOT_USED
        && held->holder == ngx_http_klaviyo_ring_self(ring))
    {
        return held;
    }

    return NULL;
}


ngx_int_t
ngx_http_klaviyo_ring_adopt(ngx_http_klaviyo_ring_t *ring)
{
    uint64_t  place;

    place = 0;

    return ngx_http_klaviyo_ring_adopt_next(ring, &place);
}


/* what a dead one had finished to the last record, or spooled, is only freed */

ngx_int_t
ngx_http_klaviyo_ring_adopt_next(ngx_http_klaviyo_ring_t *ring,
    uint64_t *place)
{
    ngx_int_t                      n;
    ngx_http_klaviyo_ring_slot_t  *slot;

    for ( ;; ) {
        slot = ngx_http_klaviyo_ring_waiting(ring, *place);
        if (slot == NULL) {
            return NGX_DECLINED;
        }

        ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

        if (!ngx_http_klaviyo_ring_owned(ring)) {
            ngx_shmtx_unlock(&ring->shpool->mutex);
            return NGX_DECLINED;
        }

        slot->holder = ring->self;

        ngx_shmtx_unlock(&ring->shpool->mutex);

        /* a dead one may have finished a record without counting it off */

        n = slot - ring->sh->slots;
        slot->left = ngx_http_klaviyo_ring_left(ring->sh, slot->start,
                                                slot->end);

        if (slot->left && slot->spooled == 0) {
            *place = slot->start + 1;
            return n;
        }

        if (slot->spooled > ring->sh->segment_size) {
            ring->sh->segment_size = slot->spooled;
        }

        ngx_http_klaviyo_ring_close(ring, slot);
    }
}


/*
 * The oldest slot that may be adopted, those before "place" last.  Looks
 * outside the lock, for the sake of kill(): others only let go of slots, the
 * owner alone takes them.
 */

static ngx_http_klaviyo_ring_slot_t *
ngx_http_klaviyo_ring_waiting(ngx_http_klaviyo_ring_t *ring, uint64_t place)
{
    uint64_t                       holder;
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot, *oldest;

    if (!ngx_http_klaviyo_ring_owned(ring)) {
        return NULL;
    }

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);
    ngx_http_klaviyo_ring_repair(ring->sh);
    ngx_shmtx_unlock(&ring->shpool->mutex);

    oldest = NULL;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &ring->sh->slots[i];
        holder = slot->holder;

        if (slot->state != NGX_HTTP_KLAVIYO_SLOT_USED
            || holder == ring->self
            || (oldest && oldest->start - place < slot->start - place))
        {
            continue;
        }

        if (holder == 0
            || ngx_http_klaviyo_dead(ngx_http_klaviyo_ring_pid(holder)))
        {
            oldest = slot;
        }
    }

    return oldest;
}


ngx_uint_t
ngx_http_klaviyo_ring_busy(ngx_http_klaviyo_ring_t *ring)
{
    ngx_int_t  i;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        if (ngx_http_klaviyo_ring_held(ring, i)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_klaviyo_ring_obsolete(ngx_http_klaviyo_ring_t *ring)
{
    ngx_uint_t  generation;

    generation = ring->control->generation;

    return ring->sh->generation == generation
           && ngx_http_klaviyo_control_newest(ring->control) > generation
           && ngx_http_klaviyo_control_workers(ring->control, generation) == 0;
}


ngx_http_klaviyo_record_t *
ngx_http_klaviyo_ring_first(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot)
{
    uint64_t                       offset;
    ngx_http_klaviyo_ring_slot_t  *held;

    held = &ring->sh->slots[slot];
    offset = held->start;

    return ngx_http_klaviyo_ring_unfinished(ring->sh, &offset, held->end);
}


ngx_http_klaviyo_record_t *
ngx_http_klaviyo_ring_next(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot,
    ngx_http_klaviyo_record_t *record)
{
    uint64_t                       offset;
    ngx_http_klaviyo_ring_slot_t  *held;

    held = &ring->sh->slots[slot];
    offset = ngx_http_klaviyo_ring_offset(ring->sh, held, record)
             + ngx_http_klaviyo_ring_need(record->len);

    return ngx_http_klaviyo_ring_unfinished(ring->sh, &offset, held->end);
}


/*
 * GONE first, as it must not be sent again: one who is killed before it has
 * counted leaves the event in "queued" for good, but in the sum of all.
 */

void
ngx_http_klaviyo_ring_take(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_record_t *record, ngx_uint_t as)
{
    ngx_int_t                      i;
    ngx_http_klaviyo_counters_t   *counters;
    ngx_http_klaviyo_ring_slot_t  *slot;

    if (record->flags & NGX_HTTP_KLAVIYO_RECORD_GONE) {
        return;
    }

    for (i = 0; /* void */ ; i++) {
        if (i == NGX_HTTP_KLAVIYO_RING_SLOTS) {
            return;
        }

        slot = ngx_http_klaviyo_ring_held(ring, i);

        if (slot
            && ngx_http_klaviyo_ring_offset(ring->sh, slot, record)
               < slot->end)
        {
            break;
        }
    }

    counters = ngx_http_klaviyo_control_counters(ring->control, record->rule);

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    record->flags |= NGX_HTTP_KLAVIYO_RECORD_GONE;

    ngx_memory_barrier();

    slot->left--;

    switch (as) {

    case NGX_HTTP_KLAVIYO_TAKEN_DEAD:
        ngx_http_klaviyo_count(counters, dead);
        break;

    case NGX_HTTP_KLAVIYO_TAKEN_DROPPED:
        ngx_http_klaviyo_count(counters, dropped[NGX_HTTP_KLAVIYO_DROP_FULL]);
        break;

    default: /* NGX_HTTP_KLAVIYO_TAKEN_SENT */
        ngx_http_klaviyo_count(counters, sent);
    }

    ngx_http_klaviyo_count_n(counters, queued, -1);

    ngx_shmtx_unlock(&ring->shpool->mutex);
}


ngx_uint_t
ngx_http_klaviyo_ring_gaps(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot)
{
    uint64_t                       offset;
    ngx_http_klaviyo_record_t     *record;
    ngx_http_klaviyo_ring_slot_t  *held;

    held = &ring->sh->slots[slot];
    offset = held->start;

    for ( ;; ) {
        record = ngx_http_klaviyo_ring_seek(ring->sh, &offset, held->end);

        if (record == NULL) {
            return 0;
        }

        if (record->flags & NGX_HTTP_KLAVIYO_RECORD_GONE) {
            return 1;
        }

        offset += ngx_http_klaviyo_ring_need(record->len);
    }
}


ngx_int_t
ngx_http_klaviyo_ring_split(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot,
    ngx_http_klaviyo_record_t *record)
{
    uint64_t                       offset;
    ngx_uint_t                     left;
    ngx_http_klaviyo_ring_slot_t  *held, *rest;

    held = ngx_http_klaviyo_ring_held(ring, slot);
    if (held == NULL) {
        return NGX_DECLINED;
    }

    offset = ngx_http_klaviyo_ring_offset(ring->sh, held, record);

    if (offset <= held->start || offset >= held->end) {
        return NGX_DECLINED;
    }

    left = ngx_http_klaviyo_ring_left(ring->sh, offset, held->end);

    ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

    rest = ngx_http_klaviyo_ring_new_slot(ring, 0);
    if (rest == NULL) {
        ngx_shmtx_unlock(&ring->shpool->mutex);
        return NGX_DECLINED;
    }

    rest->holder = 0;
    rest->start = offset;
    rest->end = held->end;
    rest->left = left;
    rest->spooled = 0;

    ngx_memory_barrier();

    rest->state = NGX_HTTP_KLAVIYO_SLOT_NEW;

    ngx_memory_barrier();

    held->end = offset;

    ngx_memory_barrier();

    rest->state = NGX_HTTP_KLAVIYO_SLOT_USED;
    held->left -= left;

    ngx_shmtx_unlock(&ring->shpool->mutex);

    return NGX_OK;
}


void
ngx_http_klaviyo_ring_finish(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot)
{
    ngx_http_klaviyo_ring_slot_t  *held;

    held = ngx_http_klaviyo_ring_held(ring, slot);

    if (held) {
        ngx_http_klaviyo_ring_close(ring, held);
    }
}


/*
 * Run by run the slot gets shorter, and the run is counted: as with single
 * records, what is finished is never sent again, though its last run may stay
 * in "queued" if we are killed just there.
 */

static void
ngx_http_klaviyo_ring_close(ngx_http_klaviyo_ring_t *ring,
    ngx_http_klaviyo_ring_slot_t *held)
{
    ngx_uint_t                    i, n;
    ngx_http_klaviyo_counters_t  *counters;
    ngx_http_klaviyo_ring_run_t   runs[NGX_HTTP_KLAVIYO_RING_RUNS];

    do {
        n = ngx_http_klaviyo_ring_runs(ring->sh, held, runs);

        ngx_http_klaviyo_zone_lock(&ring->shpool->mutex);

        for (i = 0; i < n; i++) {
            counters = ngx_http_klaviyo_control_counters(ring->control,
                                                         runs[i].rule);
            held->start = runs[i].end;

            ngx_memory_barrier();

            if (held->spooled) {
                ngx_http_klaviyo_count_n(counters, spooled, runs[i].n);

            } else {
                ngx_http_klaviyo_count_n(counters, sent, runs[i].n);
            }

            ngx_http_klaviyo_count_n(counters, queued,
                                     -(ngx_atomic_int_t) runs[i].n);
            held->left -= runs[i].n;
        }

        if (n < NGX_HTTP_KLAVIYO_RING_RUNS) {
            held->state = NGX_HTTP_KLAVIYO_SLOT_FREE;
            ngx_http_klaviyo_ring_move_head(ring->sh);
        }

        ngx_shmtx_unlock(&ring->shpool->mutex);

    } while (n == NGX_HTTP_KLAVIYO_RING_RUNS);
}


/*
 * The slot knows it first, then all: one who is killed between has left a slot
 * that says how much of the segment is in force.
 */

uint64_t
ngx_http_klaviyo_ring_segment(ngx_http_klaviyo_ring_t *ring, uint64_t *size)
{
    uint64_t                       spooled;
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_sh_t    *sh;
    ngx_http_klaviyo_ring_slot_t  *slot;

    sh = ring->sh;

    *size = sh->segment_size;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &sh->slots[i];

        if (slot->state == NGX_HTTP_KLAVIYO_SLOT_USED) {
            spooled = slot->spooled;
            *size = ngx_max(*size, spooled);
        }
    }

    return sh->segment;
}


/* The number is stored last: a size never stands beside another's number */

void
ngx_http_klaviyo_ring_set_segment(ngx_http_klaviyo_ring_t *ring, uint64_t seq)
{
    ngx_http_klaviyo_ring_sh_t  *sh;

    sh = ring->sh;

    sh->segment = 0;
    ngx_memory_barrier();

    sh->segment_size = 0;
    ngx_memory_barrier();

    sh->segment = seq;
}


void
ngx_http_klaviyo_ring_spooled(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot,
    uint64_t size)
{
    ngx_http_klaviyo_ring_slot_t  *held;

    held = ngx_http_klaviyo_ring_held(ring, slot);
    if (held == NULL) {
        return;
    }

    held->spooled = size;
    ngx_memory_barrier();

    ring->sh->segment_size = size;

    ngx_http_klaviyo_ring_close(ring, held);
}


/* the first runs of records of equal rule that are left in the slot */

static ngx_uint_t
ngx_http_klaviyo_ring_runs(ngx_http_klaviyo_ring_sh_t *sh,
    ngx_http_klaviyo_ring_slot_t *slot, ngx_http_klaviyo_ring_run_t *runs)
{
    uint64_t                      offset;
    ngx_uint_t                    n;
    ngx_http_klaviyo_record_t    *record;
    ngx_http_klaviyo_ring_run_t  *run;

    run = runs;
    offset = slot->start;

    for (n = 0; /* void */ ; run->end = offset) {
        record = ngx_http_klaviyo_ring_unfinished(sh, &offset, slot->end);
        if (record == NULL) {
            return n;
        }

        if (n == 0 || run->rule != record->rule) {
            if (n == NGX_HTTP_KLAVIYO_RING_RUNS) {
                return n;
            }

            run = &runs[n++];
            run->rule = record->rule;
            run->n = 0;
        }

        run->n++;
        offset += ngx_http_klaviyo_ring_need(record->len);
    }
}


void
ngx_http_klaviyo_ring_release(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot)
{
    ngx_http_klaviyo_ring_slot_t  *held;

    held = ngx_http_klaviyo_ring_held(ring, slot);

    if (held) {
        held->holder = 0;
    }
}


/* patched before AGED: one that is killed between has not sent it yet */

void
ngx_http_klaviyo_ring_backfill(ngx_http_klaviyo_ring_t *ring, ngx_int_t slot,
    time_t before)
{
    u_char                     *p;
    ngx_http_klaviyo_record_t  *record;

    if (ngx_http_klaviyo_ring_held(ring, slot) == NULL) {
        return;
    }

    for (record = ngx_http_klaviyo_ring_first(ring, slot);
         record;
         record = ngx_http_klaviyo_ring_next(ring, slot, record))
    {
        if (record->flags & NGX_HTTP_KLAVIYO_RECORD_AGED) {
            continue;
        }

        p = ngx_http_klaviyo_record_text(record) + record->backfill;

        if ((time_t) record->time < before
            && record->backfill
            && record->backfill + sizeof("false") - 1 <= record->len
            && ngx_memcmp(p, "false", sizeof("false") - 1) == 0)
        {
            ngx_memcpy(p, "true ", sizeof("true ") - 1);
            ngx_memory_barrier();
        }

        record->flags |= NGX_HTTP_KLAVIYO_RECORD_AGED;
    }
}
