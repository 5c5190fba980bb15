
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What is remembered about visitors between their requests: one bounded zone
 * in shared memory for all workers, keyed by hashes that nobody outside can
 * reckon.  The oldest goes out first.  Nothing here lists what it holds.
 */


#ifndef _NGX_HTTP_KLAVIYO_MEMORY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_MEMORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


#define NGX_HTTP_KLAVIYO_MEMORY_NAME     "klaviyo_memory"

/* the smallest zone that is worth its name */
#define NGX_HTTP_KLAVIYO_MEMORY_MIN      (256 * 1024)

/* one text; in a small zone also a quarter of what it holds */
#define NGX_HTTP_KLAVIYO_MEMORY_TEXT     (16 * 1024)

/* a backlog */
#define NGX_HTTP_KLAVIYO_MEMORY_PIECES   64

/* seconds; a longer ttl is this one */
#define NGX_HTTP_KLAVIYO_MEMORY_TTL      (10 * 365 * 24 * 3600)


/*
 * Namespaces: the kind is a part of the key.  What is read is kept from going
 * out, if of the first two; a visitor's ttl begins again, too.
 */
typedef enum {
    NGX_HTTP_KLAVIYO_MEMORY_VISITOR = 0,
    NGX_HTTP_KLAVIYO_MEMORY_FACTS,
    NGX_HTTP_KLAVIYO_MEMORY_ONCE,
    NGX_HTTP_KLAVIYO_MEMORY_BACKLOG
} ngx_http_klaviyo_memory_kind_e;


typedef struct {
    uint64_t                             hash[2];
    ngx_http_klaviyo_memory_kind_e       kind;
} ngx_http_klaviyo_memory_key_t;


typedef struct ngx_http_klaviyo_memory_sh_s  ngx_http_klaviyo_memory_sh_t;

/* one per cycle, in the cycle's pool */
typedef struct {
    ngx_slab_pool_t                     *shpool;
    ngx_http_klaviyo_memory_sh_t        *sh;
    EVP_MAC_CTX                         *mac;
} ngx_http_klaviyo_memory_t;


/* what ngx_http_klaviyo_memory_stat() tells */
typedef struct {
    size_t                               size;     /* bytes for records */
    size_t                               used;     /* of these, ever written */
    ngx_uint_t                           slots;    /* records at most */
    ngx_uint_t                           entries;  /* records; of a large zone
                                                      an estimate */
    time_t                               oldest;   /* age of the oldest, s */

    /* since the zone was made; a record that went out is counted when its
     * place in the index is used again, whether it had expired or not */
    uint64_t                             stored;
    uint64_t                             evicted;
    uint64_t                             hits;     /* of ..._find() */
    uint64_t                             misses;
} ngx_http_klaviyo_memory_stat_t;


/*
 * A handle in "pool", at configuration time; NULL after an [emerg] if OpenSSL
 * has no SipHash.
 */
ngx_http_klaviyo_memory_t *ngx_http_klaviyo_memory_create(ngx_pool_t *pool);

/*
 * The zone's init: attaches or creates, nothing else.  shm_zone->data is a
 * ngx_http_klaviyo_memory_t.  nginx makes a new zone for another size and for
 * another build of this module, so that what is found has our layout; if not,
 * it is an [emerg].
 */
ngx_int_t ngx_http_klaviyo_memory_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);


/*
 * All that follows is for workers.  The lock is held for one lookup and one
 * bounded copy, texts of visitors may be of any length and have any bytes.
 */

/*
 * The key of these parts under that kind: ("a", "bc") is not ("ab", "c").
 * NGX_OK, or NGX_ERROR: there is no key, and nothing is remembered.
 */
ngx_int_t ngx_http_klaviyo_memory_key(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_kind_e kind, ngx_str_t *parts, ngx_uint_t n,
    ngx_http_klaviyo_memory_key_t *key);


/* Visitors and facts */

/*
 * Copies out what was stored: "text" has a buffer and its size, and is set to
 * the text in it.  "version", if not NULL, is set for ..._store(), to 0 where
 * there is nothing.  NGX_OK, or NGX_DECLINED: never stored, expired, gone out,
 * or larger than the buffer.
 */
ngx_int_t ngx_http_klaviyo_memory_find(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, ngx_str_t *text, uint64_t *version);

/*
 * Stores a copy of "text" for "ttl" seconds in the place of what was there;
 * with "version" (else NULL) only if that is what ..._find() has seen, and it
 * is set to the new one.  NGX_OK, NGX_DECLINED (another was faster: find it
 * again) or NGX_ABORT (too large, or no ttl).
 */
ngx_int_t ngx_http_klaviyo_memory_store(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, ngx_str_t *text, time_t ttl,
    uint64_t *version);

/* Forgets what is there, of whatever kind. */
void ngx_http_klaviyo_memory_forget(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key);


/* Once */

/*
 * NGX_OK if there was no mark; now there is one, for "ttl" seconds, and of all
 * who ask at the same time one got this answer.  "version" is set for
 * ..._unmark().  Else NGX_DECLINED.  Without a ttl NGX_ABORT.
 */
ngx_int_t ngx_http_klaviyo_memory_mark(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, time_t ttl, uint64_t *version);

/* Takes our mark back, but not one that another has set since. */
void ngx_http_klaviyo_memory_unmark(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, uint64_t version);


/* Backlogs */

/*
 * Adds a copy of "piece", for "ttl" seconds, to the last "n" (at most
 * NGX_HTTP_KLAVIYO_MEMORY_PIECES) under that key; one more, and the oldest is
 * dropped.  NGX_OK, or NGX_ABORT (too large, no ttl, or "n" is 0).
 */
ngx_int_t ngx_http_klaviyo_memory_push(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, ngx_str_t *piece, ngx_uint_t n,
    time_t ttl);

/*
 * Takes all pieces away from there: one taker gets them.  They are copied into
 * "buf", and "pieces" (room for NGX_HTTP_KLAVIYO_MEMORY_PIECES) is set, the
 * oldest first.  If "size" bytes don't hold all, the oldest are lost.  Returns
 * how many.
 */
ngx_uint_t ngx_http_klaviyo_memory_take(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_key_t *key, u_char *buf, size_t size,
    ngx_str_t *pieces);


/* In any process; reads at most a megabyte of the index. */
void ngx_http_klaviyo_memory_stat(ngx_http_klaviyo_memory_t *memory,
    ngx_http_klaviyo_memory_stat_t *stat);


#endif /* _NGX_HTTP_KLAVIYO_MEMORY_H_INCLUDED_ */
