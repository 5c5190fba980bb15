
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of visitors: a circular log of records in shared memory, and an
 * index that says where in it the record of a key is.
 *
 *          log:    free or gone out | oldest ...  newest | free
 *                                   |                    |
 *                              head - size              head
 *
 * Offsets only grow; a record is where its offset modulo the size says, and is
 * there as long as head has not come round to it again.  Nobody walks through
 * the log: what the index doesn't lead to doesn't exist, and an offset that
 * head has left behind by more than the size leads nowhere.  So nothing has to
 * be taken out of the index when the log goes over it.
 *
 * A record is never changed, only followed by another.  Any process may be
 * killed between any two stores, also under the lock, which is then freed.
 * Therefore head moves first, whereupon nothing leads to what lies there; then
 * the record is written; then a single store into the index puts it to use.
 *
 * The index has buckets of 16 slots, two cache lines each, chosen by the key's
 * hash.  The hash is keyed with a secret of the zone, so that visitors can't
 * aim at a bucket, and it is all that is kept of a key.  Where a bucket is full
 * its oldest goes out: with records of 96 bytes that happens in four buckets of
 * 1,000, with larger ones hardly ever.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include "ngx_http_klaviyo_memory.h"
#include "ngx_http_klaviyo_zone.h"


#define NGX_HTTP_KLAVIYO_MEMORY_SECRET   16

#define NGX_HTTP_KLAVIYO_MEMORY_SLOTS    16

/* bytes of the log for a bucket: 48 for each slot, a record has 40 at least */
#define NGX_HTTP_KLAVIYO_MEMORY_SHARE                                         \
    (48 * NGX_HTTP_KLAVIYO_MEMORY_SLOTS)

/* as many buckets as statistics look at */
#define NGX_HTTP_KLAVIYO_MEMORY_SAMPLE   8192

/* a slot: 16 bits of the hash, 48 of the offset divided by 8; 0: empty */
#define NGX_HTTP_KLAVIYO_MEMORY_UNITS    (((uint64_t) 1 << 48) - 1)


struct ngx_http_klaviyo_memory_sh_s {
    ngx_http_klaviyo_layout_t            layout;
    uint64_t                             size;     /* of the log */
    uint64_t                             nbuckets;
    u_char                               secret[NGX_HTTP_KLAVIYO_MEMORY_SECRET];

    /* from "size" on, so that no record's offset is 0 */
    volatile uint64_t                    head;

    uint64_t                             stored;
    uint64_t                             evicted;
    uint64_t                             hits;
    uint64_t                             misses;
};


/* in the log, before the text; 40 bytes, aligned to 8 */
typedef struct {
    uint64_t                             hash[2];
    uint64_t                             prev;     /* piece before it, or 0 */
    uint32_t                             len;      /* of the text */
    uint32_t                             expires;  /* epoch s */
    uint32_t                             ttl;      /* s */
    uint32_t                             links;    /* pieces, this included */
} ngx_http_klaviyo_memory_record_t;


typedef struct {
    volatile uint64_t                   *slot;     /* its own, or for it */
    uint64_t                             offset;
    ngx_http_klaviyo_memory_record_t    *record;   /* NULL: not there */
} ngx_http_klaviyo_memory_place_t;


#define NGX_HTTP_KLAVIYO_MEMORY_HEAD                                          \
    ngx_align(sizeof(ngx_http_klaviyo_memory_sh_t), 64)

#define NGX_HTTP_KLAVIYO_MEMORY_BUCKET                                        \
    (NGX_HTTP_KLAVIYO_MEMORY_SLOTS * sizeof(uint64_t))

#define ngx_http_klaviyo_memory_index(sh)                                     \
    ((volatile uint64_t *) ((u_char *) (sh) + NGX_HTTP_KLAVIYO_MEMORY_HEAD))

#define ngx_http_klaviyo_memory_log(sh)                                       \
    ((u_char *) (sh) + NGX_HTTP_KLAVIYO_MEMORY_HEAD                           \
     + (sh)->nbuckets * NGX_HTTP_KLAVIYO_MEMORY_BUCKET)

#define ngx_http_klaviyo_memory_text(record)                                  \
    ((u_char *) (record) + sizeof(ngx_http_klaviyo_memory_record_t))

/* what a record of a text of "len" bytes takes */
#define ngx_http_klaviyo_memory_need(len)                                     \
    ngx_align(sizeof(ngx_http_klaviyo_memory_record_t) + (uint64_t) (len), 8)

/* how far head is beyond what a slot leads to, in units */
#define ngx_http_klaviyo_memory_age(head, slot)                               \
    ((((head) >> 3) - (slot)) & NGX_HTTP_KLAVIYO_MEMORY_UNITS)


static void ngx_http_klaviyo_memory_cleanup(void *data);
static void ngx_http_klaviyo_memory_lookup(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_key_t *key,
    ngx_http_klaviyo_memory_place_t *place);
static ngx_http_klaviyo_memory_record_t *ngx_http_klaviyo_memory_at(
    ngx_http_klaviyo_memory_sh_t *sh, ngx_http_klaviyo_memory_key_t *key,
    uint64_t offset);
static ngx_int_t ngx_http_klaviyo_memory_prepare(
    ngx_http_klaviyo_memory_sh_t *sh, ngx_http_klaviyo_memory_key_t *key,
    ngx_http_klaviyo_memory_record_t *record, size_t len, time_t ttl);
static void ngx_http_klaviyo_memory_append(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_place_t *place,
    ngx_http_klaviyo_memory_record_t *record, u_char *text);
static void ngx_http_klaviyo_memory_renew(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_key_t *key,
    ngx_http_klaviyo_memory_place_t *place, u_char *text);


ngx_http_klaviyo_memory_t *
ngx_http_klaviyo_memory_create(ngx_pool_t *pool)
{
    EVP_MAC                    *mac;
    ngx_pool_cleanup_t         *cln;
    ngx_http_klaviyo_memory_t  *memory;

    memory = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_memory_t));
    cln = ngx_pool_cleanup_add(pool, 0);

    if (memory == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_klaviyo_memory_cleanup;
    cln->data = memory;

    mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);

    if (mac) {
        memory->mac = EVP_MAC_CTX_new(mac);
        EVP_MAC_free(mac);
    }

    if (memory->mac == NULL) {
        ngx_log_error(NGX_LOG_EMERG, pool->log, 0,
                      "\"klaviyo_memory\" needs SipHash, "
                      "which this OpenSSL doesn't have");
        return NULL;
    }

    return memory;
}


static void
ngx_http_klaviyo_memory_cleanup(void *data)
{
    ngx_http_klaviyo_memory_t  *memory = data;

    EVP_MAC_CTX_free(memory->mac);
}


ngx_int_t
ngx_http_klaviyo_memory_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_klaviyo_memory_t  *omemory = data;

    void                          *p;
    size_t                         size;
    ngx_int_t                      rc;
    ngx_http_klaviyo_layout_t      layout;
    ngx_http_klaviyo_memory_t     *memory;
    ngx_http_klaviyo_memory_sh_t  *sh;

    memory = shm_zone->data;

    memory->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    ngx_memzero(&layout, sizeof(ngx_http_klaviyo_layout_t));

    ngx_memcpy(layout.magic, "klavmemo", sizeof(layout.magic));
    layout.version = 1;
    layout.sizes[0] = sizeof(ngx_http_klaviyo_memory_sh_t);
    layout.sizes[1] = sizeof(ngx_http_klaviyo_memory_record_t);
    layout.sizes[2] = NGX_HTTP_KLAVIYO_MEMORY_BUCKET;
    layout.sizes[3] = NGX_HTTP_KLAVIYO_MEMORY_SHARE;

    p = omemory ? omemory->sh : NULL;

    rc = ngx_http_klaviyo_zone_attach(shm_zone, &layout, &p);

    if (rc != NGX_DECLINED) {
        memory->sh = p;
        return rc;
    }

    p = ngx_http_klaviyo_zone_alloc(shm_zone, 4 * ngx_pagesize, &size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sh = p;
    size -= NGX_HTTP_KLAVIYO_MEMORY_HEAD;

    ngx_memzero(sh, NGX_HTTP_KLAVIYO_MEMORY_HEAD);

    sh->nbuckets = size / (NGX_HTTP_KLAVIYO_MEMORY_SHARE
                           + NGX_HTTP_KLAVIYO_MEMORY_BUCKET);
    size -= sh->nbuckets * NGX_HTTP_KLAVIYO_MEMORY_BUCKET;

    ngx_memzero((u_char *) sh + NGX_HTTP_KLAVIYO_MEMORY_HEAD,
                sh->nbuckets * NGX_HTTP_KLAVIYO_MEMORY_BUCKET);

    sh->layout = layout;
    sh->size = size - size % 8;
    sh->head = sh->size;

    if (RAND_bytes(sh->secret, NGX_HTTP_KLAVIYO_MEMORY_SECRET) != 1) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "RAND_bytes() failed");
        return NGX_ERROR;
    }

    memory->sh = sh;
    memory->shpool->data = sh;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_memory_key(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_kind_e kind, ngx_str_t *parts, ngx_uint_t n,
    ngx_http_klaviyo_memory_key_t *key)
{
    u_char      type;
    size_t      len;
    uint64_t    prefix;
    ngx_uint_t  i;

    type = (u_char) kind;

    if (!EVP_MAC_init(memory->mac, memory->sh->secret,
                      NGX_HTTP_KLAVIYO_MEMORY_SECRET, NULL)
        || !EVP_MAC_update(memory->mac, &type, 1))
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        prefix = parts[i].len;

        if (!EVP_MAC_update(memory->mac, (u_char *) &prefix, sizeof(uint64_t))
            || !EVP_MAC_update(memory->mac, parts[i].data, parts[i].len))
        {
            return NGX_ERROR;
        }
    }

    if (!EVP_MAC_final(memory->mac, (u_char *) key->hash, &len,
                       sizeof(key->hash))
        || len != sizeof(key->hash))
    {
        return NGX_ERROR;
    }

    key->kind = kind;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_memory_find(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, ngx_str_t *text, uint64_t *version)
{
    ngx_int_t                         rc;
    ngx_http_klaviyo_memory_sh_t     *sh;
    ngx_http_klaviyo_memory_place_t   place;

    sh = memory->sh;

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    ngx_http_klaviyo_memory_lookup(sh, key, &place);

    if (place.record && place.record->len <= text->len) {
        text->len = place.record->len;
        ngx_memcpy(text->data, ngx_http_klaviyo_memory_text(place.record),
                   text->len);

        ngx_http_klaviyo_memory_renew(sh, key, &place, text->data);

        sh->hits++;
        rc = NGX_OK;

    } else {
        sh->misses++;
        rc = NGX_DECLINED;
    }

    ngx_shmtx_unlock(&memory->shpool->mutex);

    if (version) {
        *version = place.offset;
    }

    return rc;
}


ngx_int_t
ngx_http_klaviyo_memory_store(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, ngx_str_t *text, time_t ttl,
    uint64_t *version)
{
    ngx_http_klaviyo_memory_sh_t      *sh;
    ngx_http_klaviyo_memory_place_t    place;
    ngx_http_klaviyo_memory_record_t   record;

    sh = memory->sh;

    if (ngx_http_klaviyo_memory_prepare(sh, key, &record, text->len, ttl)
        != NGX_OK)
    {
        return NGX_ABORT;
    }

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    ngx_http_klaviyo_memory_lookup(sh, key, &place);

    if (version && *version != place.offset) {
        ngx_shmtx_unlock(&memory->shpool->mutex);
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_memory_append(sh, &place, &record, text->data);
    sh->stored++;

    ngx_shmtx_unlock(&memory->shpool->mutex);

    if (version) {
        *version = place.offset;
    }

    return NGX_OK;
}


void
ngx_http_klaviyo_memory_forget(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key)
{
    ngx_http_klaviyo_memory_place_t  place;

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    ngx_http_klaviyo_memory_lookup(memory->sh, key, &place);

    if (place.record) {
        *place.slot = 0;
    }

    ngx_shmtx_unlock(&memory->shpool->mutex);
}


ngx_int_t
ngx_http_klaviyo_memory_mark(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, time_t ttl, uint64_t *version)
{
    ngx_str_t  text = ngx_null_string;

    *version = 0;

    return ngx_http_klaviyo_memory_store(memory, key, &text, ttl, version);
}


void
ngx_http_klaviyo_memory_unmark(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, uint64_t version)
{
    ngx_http_klaviyo_memory_place_t  place;

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    ngx_http_klaviyo_memory_lookup(memory->sh, key, &place);

    if (place.record && place.offset == version) {
        *place.slot = 0;
    }

    ngx_shmtx_unlock(&memory->shpool->mutex);
}


/*
 * The index leads to the last piece, each piece to the one before it: a push
 * writes its own piece only.  What no link leads to any more goes out with the
 * log.
 */

ngx_int_t
ngx_http_klaviyo_memory_push(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, ngx_str_t *piece, ngx_uint_t n,
    time_t ttl)
{
    ngx_http_klaviyo_memory_sh_t      *sh;
    ngx_http_klaviyo_memory_place_t    place;
    ngx_http_klaviyo_memory_record_t   record;

    sh = memory->sh;
    n = ngx_min(n, NGX_HTTP_KLAVIYO_MEMORY_PIECES);

    if (n == 0
        || ngx_http_klaviyo_memory_prepare(sh, key, &record, piece->len, ttl)
           != NGX_OK)
    {
        return NGX_ABORT;
    }

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    ngx_http_klaviyo_memory_lookup(sh, key, &place);

    if (place.record) {
        record.prev = place.offset;
        record.links = (uint32_t) ngx_min(n, place.record->links + 1);
    }

    ngx_http_klaviyo_memory_append(sh, &place, &record, piece->data);
    sh->stored++;

    ngx_shmtx_unlock(&memory->shpool->mutex);

    return NGX_OK;
}


ngx_uint_t
ngx_http_klaviyo_memory_take(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, u_char *buf, size_t size,
    ngx_str_t *pieces)
{
    uint32_t                           links, now;
    ngx_str_t                          piece;
    ngx_uint_t                         i, n;
    ngx_http_klaviyo_memory_sh_t      *sh;
    ngx_http_klaviyo_memory_place_t    place;
    ngx_http_klaviyo_memory_record_t  *record;

    n = 0;
    sh = memory->sh;
    now = (uint32_t) ngx_time();

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    ngx_http_klaviyo_memory_lookup(sh, key, &place);

    record = place.record;
    links = record ? ngx_min(record->links, NGX_HTTP_KLAVIYO_MEMORY_PIECES) : 0;

    /* from the last on; the buffer is filled from its end */

    while (record && links-- && record->len <= size) {

        if (record->expires > now) {
            size -= record->len;

            pieces[n].data = buf + size;
            pieces[n].len = record->len;

            ngx_memcpy(pieces[n].data, ngx_http_klaviyo_memory_text(record),
                       record->len);
            n++;
        }

        record = ngx_http_klaviyo_memory_at(sh, key, record->prev);
    }

    if (place.record) {
        *place.slot = 0;
    }

    ngx_shmtx_unlock(&memory->shpool->mutex);

    for (i = 0; i < n / 2; i++) {
        piece = pieces[i];
        pieces[i] = pieces[n - 1 - i];
        pieces[n - 1 - i] = piece;
    }

    return n;
}


/*
 * The key's record, or else the slot that a record of it would take: an empty
 * one, one that leads nowhere any more, or that of the oldest record.  Under
 * the lock.
 */

static void
ngx_http_klaviyo_memory_lookup(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_key_t *key, ngx_http_klaviyo_memory_place_t *place)
{
    uint64_t                           slot, age, oldest, offset;
    ngx_uint_t                         i;
    volatile uint64_t                 *slots;
    ngx_http_klaviyo_memory_record_t  *record;

    slots = ngx_http_klaviyo_memory_index(sh)
            + ((key->hash[0] >> 32) * sh->nbuckets >> 32)
              * NGX_HTTP_KLAVIYO_MEMORY_SLOTS;

    place->offset = 0;
    place->record = NULL;
    oldest = 0;

    for (i = 0; i < NGX_HTTP_KLAVIYO_MEMORY_SLOTS; i++) {
        slot = slots[i];
        age = ngx_http_klaviyo_memory_age(sh->head, slot);

        if (slot && ((slot >> 48) ^ key->hash[0]) % 0x10000 == 0) {
            offset = sh->head - (age << 3);
            record = ngx_http_klaviyo_memory_at(sh, key, offset);

            if (record && record->expires > (uint32_t) ngx_time()) {
                place->slot = &slots[i];
                place->offset = offset;
                place->record = record;
                return;
            }

            if (record) {
                slots[i] = 0;
                slot = 0;
            }
        }

        if (slot == 0) {
            age = NGX_HTTP_KLAVIYO_MEMORY_UNITS + 1;
        }

        if (age >= oldest) {
            oldest = age;
            place->slot = &slots[i];
        }
    }
}


/* NULL if another has been written there since, or if it isn't the key's */

static ngx_http_klaviyo_memory_record_t *
ngx_http_klaviyo_memory_at(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_key_t *key, uint64_t offset)
{
    uint64_t                           place;
    ngx_http_klaviyo_memory_record_t  *record;

    if (sh->head - offset > sh->size) {
        return NULL;
    }

    place = offset % sh->size;
    record = (ngx_http_klaviyo_memory_record_t *)
                 (ngx_http_klaviyo_memory_log(sh) + place);

    if (record->hash[0] != key->hash[0]
        || record->hash[1] != key->hash[1]
        || ngx_http_klaviyo_memory_need(record->len) > sh->size - place)
    {
        return NULL;
    }

    return record;
}


static ngx_int_t
ngx_http_klaviyo_memory_prepare(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_key_t *key,
    ngx_http_klaviyo_memory_record_t *record, size_t len, time_t ttl)
{
    if (len > NGX_HTTP_KLAVIYO_MEMORY_TEXT
        || ngx_http_klaviyo_memory_need(len) > sh->size / 4
        || ttl <= 0)
    {
        return NGX_DECLINED;
    }

    ttl = ngx_min(ttl, NGX_HTTP_KLAVIYO_MEMORY_TTL);

    record->hash[0] = key->hash[0];
    record->hash[1] = key->hash[1];
    record->prev = 0;
    record->len = (uint32_t) len;
    record->expires = (uint32_t) (ngx_time() + ttl);
    record->ttl = (uint32_t) ttl;
    record->links = 1;

    return NGX_OK;
}


/*
 * Writes a record at the head, and leads the slot to it.  Under the lock; may
 * go over what "place" had found.
 */

static void
ngx_http_klaviyo_memory_append(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_place_t *place,
    ngx_http_klaviyo_memory_record_t *record, u_char *text)
{
    u_char    *p;
    uint64_t   offset, need, at;

    need = ngx_http_klaviyo_memory_need(record->len);
    offset = sh->head;
    at = offset % sh->size;

    if (sh->size - at < need) {
        offset += sh->size - at;
        at = 0;
    }

    if (place->record == NULL && *place->slot) {
        sh->evicted++;
    }

    sh->head = offset + need;

    ngx_memory_barrier();

    p = ngx_cpymem(ngx_http_klaviyo_memory_log(sh) + at, record,
                   sizeof(ngx_http_klaviyo_memory_record_t));

    if (record->len) {
        ngx_memcpy(p, text, record->len);
    }

    ngx_memory_barrier();

    *place->slot = (record->hash[0] << 48)
                   | ((offset >> 3) & NGX_HTTP_KLAVIYO_MEMORY_UNITS);

    place->offset = offset;
}


/*
 * What was read just now shall not be among the oldest: in the older half of
 * the log it is written again.  So is a visitor whose ttl has begun to run off,
 * but not for each request.
 */

static void
ngx_http_klaviyo_memory_renew(ngx_http_klaviyo_memory_sh_t *sh,
    ngx_http_klaviyo_memory_key_t *key,
    ngx_http_klaviyo_memory_place_t *place, u_char *text)
{
    uint32_t                          expires;
    ngx_uint_t                        old;
    ngx_http_klaviyo_memory_record_t  record;

    record = *place->record;
    old = (sh->head - place->offset > sh->size / 2);

    if (key->kind == NGX_HTTP_KLAVIYO_MEMORY_VISITOR) {
        expires = (uint32_t) ngx_time() + record.ttl;

        if (expires - record.expires > record.ttl / 16) {
            old = 1;
        }

        record.expires = expires;
    }

    if (old) {
        ngx_http_klaviyo_memory_append(sh, place, &record, text);
    }
}


/* The slots are read without the lock, each by a single load. */

void
ngx_http_klaviyo_memory_stat(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_stat_t *stat)
{
    uint64_t                           i, n, head, slot, age, oldest;
    volatile uint64_t                 *slots;
    ngx_http_klaviyo_memory_sh_t      *sh;
    ngx_http_klaviyo_memory_record_t  *record;

    sh = memory->sh;
    slots = ngx_http_klaviyo_memory_index(sh);

    ngx_memzero(stat, sizeof(ngx_http_klaviyo_memory_stat_t));

    n = ngx_min(sh->nbuckets, NGX_HTTP_KLAVIYO_MEMORY_SAMPLE);
    oldest = 0;

    for (i = 0; i < n * NGX_HTTP_KLAVIYO_MEMORY_SLOTS; i++) {
        slot = slots[i];
        head = sh->head;
        age = ngx_http_klaviyo_memory_age(head, slot) << 3;

        if (slot && age <= sh->size) {
            stat->entries++;

            oldest = oldest ? ngx_min(oldest, head - age) : head - age;
        }
    }

    stat->size = sh->size;
    stat->slots = sh->nbuckets * NGX_HTTP_KLAVIYO_MEMORY_SLOTS;
    stat->entries = stat->entries * sh->nbuckets / n;

    ngx_http_klaviyo_zone_lock(&memory->shpool->mutex);

    stat->used = ngx_min(sh->head - sh->size, sh->size);
    stat->stored = sh->stored;
    stat->evicted = sh->evicted;
    stat->hits = sh->hits;
    stat->misses = sh->misses;

    if (oldest && sh->head - oldest <= sh->size) {
        record = (ngx_http_klaviyo_memory_record_t *)
                     (ngx_http_klaviyo_memory_log(sh) + oldest % sh->size);

        stat->oldest = ngx_time() - (time_t) (record->expires - record->ttl);
    }

    ngx_shmtx_unlock(&memory->shpool->mutex);
}
