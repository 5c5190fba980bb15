
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of visitors, with keys and texts of theirs.  A line is a call: a
 * letter, a digit that stands for a key, and a number.  "s": store so many
 * bytes, "f": find, "x": forget, "p": push, "t": take, "o": once, for so many
 * seconds; "+": so many go by.  What follows the first line's number is a part
 * of all keys.
 *
 * What is found is what was stored there last and has not expired; what is
 * missing may have gone out.
 */


#include "fuzz.h"
#include "unit_shm.h"
#include "ngx_http_klaviyo_memory.h"


#define FUZZ_ZONE    (64 * 1024)
#define FUZZ_KEYS    10
#define FUZZ_LINES   400
#define FUZZ_NOW     1800000000
#define FUZZ_TTL     60
#define FUZZ_PIECES  5

#define FUZZ_TEXT    NGX_HTTP_KLAVIYO_MEMORY_TEXT


typedef struct {
    size_t                         len;
    ngx_uint_t                     id;       /* of the text; 0: none */
    time_t                         expires;
    time_t                         marked;   /* until when */
    ngx_uint_t                     pushed;   /* pieces, ever */
} fuzz_key_t;

typedef struct {
    ngx_str_t                      tail;     /* of each key */
    ngx_uint_t                     texts;
    fuzz_key_t                     keys[FUZZ_KEYS];
} fuzz_memory_t;


int RAND_bytes(unsigned char *buf, int n);

static void fuzz_call(fuzz_memory_t *m, ngx_uint_t what, ngx_uint_t n,
    size_t number);
static ngx_http_klaviyo_memory_key_t *fuzz_key(fuzz_memory_t *m, ngx_uint_t n,
    ngx_http_klaviyo_memory_kind_e kind);
static void fuzz_store(fuzz_memory_t *m, ngx_uint_t n, size_t len);
static void fuzz_find(fuzz_memory_t *m, ngx_uint_t n);
static void fuzz_push(fuzz_memory_t *m, ngx_uint_t n);
static void fuzz_take(fuzz_memory_t *m, ngx_uint_t n);
static void fuzz_once(fuzz_memory_t *m, ngx_uint_t n, time_t ttl);
static ngx_str_t *fuzz_text(ngx_uint_t id, size_t len);


static ngx_time_t                  fuzz_now;
static ngx_http_klaviyo_memory_t  *fuzz_memory;


/* the secret of the zone: the same input does the same each time */

int
RAND_bytes(unsigned char *buf, int n)
{
    ngx_memset(buf, 0x5a, n);

    return 1;
}


void
fuzz_init(ngx_pool_t *pool)
{
    fuzz_memory = ngx_http_klaviyo_memory_create(pool);
    assert_non_null(fuzz_memory);
}


void
fuzz_one(fuzz_t *f)
{
    u_char          *p, *last;
    size_t           number;
    ngx_str_t        line;
    ngx_uint_t       i, what, n;
    fuzz_memory_t    m;
    ngx_shm_zone_t  *zone;

    ngx_memzero(&m, sizeof(fuzz_memory_t));

    zone = unit_shm_zone(f->pool, "klaviyo_memory", FUZZ_ZONE);
    zone->data = fuzz_memory;

    fuzz_now.sec = FUZZ_NOW;
    ngx_cached_time = &fuzz_now;

    assert_int_equal(ngx_http_klaviyo_memory_init_zone(zone, NULL), NGX_OK);

    for (i = 0; i < FUZZ_LINES && f->pos < f->last; i++) {
        what = fuzz_byte(f);
        n = fuzz_byte(f) % FUZZ_KEYS;
        line = fuzz_line(f);

        last = line.data + line.len;
        number = 0;

        for (p = line.data; p < last && *p >= '0' && *p <= '9'; p++) {
            number = (number * 10 + (*p - '0')) % 1000000;
        }

        if (i == 0) {
            m.tail.data = p;
            m.tail.len = last - p;
        }

        fuzz_call(&m, what, n, number);
    }

    unit_shm_free(zone);
}


static void
fuzz_call(fuzz_memory_t *m, ngx_uint_t what, ngx_uint_t n, size_t number)
{
    switch (what) {

    case 's':
        fuzz_store(m, n, number);
        break;

    case 'f':
        fuzz_find(m, n);
        break;

    case 'x':
        ngx_http_klaviyo_memory_forget(fuzz_memory,
                      fuzz_key(m, n, NGX_HTTP_KLAVIYO_MEMORY_FACTS));
        m->keys[n].id = 0;
        fuzz_find(m, n);
        break;

    case 'p':
        fuzz_push(m, n);
        break;

    case 't':
        fuzz_take(m, n);
        break;

    case 'o':
        fuzz_once(m, n, number);
        break;

    case '+':
        fuzz_now.sec += number;
        break;
    }
}


static ngx_http_klaviyo_memory_key_t *
fuzz_key(fuzz_memory_t *m, ngx_uint_t n, ngx_http_klaviyo_memory_kind_e kind)
{
    u_char                                digit;
    ngx_str_t                             parts[2];
    static ngx_http_klaviyo_memory_key_t  key;

    digit = (u_char) ('0' + n);

    parts[0].data = &digit;
    parts[0].len = 1;
    parts[1] = m->tail;

    assert_int_equal(ngx_http_klaviyo_memory_key(fuzz_memory, kind, parts, 2,
                                                 &key),
                     NGX_OK);
    return &key;
}


static void
fuzz_store(fuzz_memory_t *m, ngx_uint_t n, size_t len)
{
    ngx_int_t   rc;
    ngx_uint_t  id;

    len = ngx_min(len, FUZZ_TEXT + 1);
    id = ++m->texts;

    rc = ngx_http_klaviyo_memory_store(fuzz_memory,
                          fuzz_key(m, n, NGX_HTTP_KLAVIYO_MEMORY_FACTS),
                          fuzz_text(id, len), FUZZ_TTL, NULL);

    if (rc != NGX_OK) {
        assert_int_equal(rc, NGX_ABORT);
        assert_in_range(len, FUZZ_ZONE / 8, FUZZ_TEXT + 1);
        return;
    }

    m->keys[n].id = id;
    m->keys[n].len = len;
    m->keys[n].expires = fuzz_now.sec + FUZZ_TTL;

    fuzz_find(m, n);
}


static void
fuzz_find(fuzz_memory_t *m, ngx_uint_t n)
{
    u_char       buf[FUZZ_TEXT];
    ngx_str_t    text;
    fuzz_key_t  *key;

    key = &m->keys[n];

    text.data = buf;
    text.len = FUZZ_TEXT;

    if (ngx_http_klaviyo_memory_find(fuzz_memory,
                          fuzz_key(m, n, NGX_HTTP_KLAVIYO_MEMORY_FACTS),
                          &text, NULL)
        == NGX_OK)
    {
        assert_int_not_equal(key->id, 0);
        assert_true(key->expires > fuzz_now.sec);
        assert_int_equal(text.len, key->len);
        assert_memory_equal(text.data, fuzz_text(key->id, key->len)->data,
                            key->len);
    }
}


/* pieces are as long as their number, so that each is told from others */

static void
fuzz_push(fuzz_memory_t *m, ngx_uint_t n)
{
    ngx_uint_t  id;

    id = ++m->keys[n].pushed;

    assert_int_equal(ngx_http_klaviyo_memory_push(fuzz_memory,
                          fuzz_key(m, n, NGX_HTTP_KLAVIYO_MEMORY_BACKLOG),
                          fuzz_text(id, id), FUZZ_PIECES, FUZZ_TTL),
                     NGX_OK);
}


static void
fuzz_take(fuzz_memory_t *m, ngx_uint_t n)
{
    u_char                         buf[FUZZ_TEXT];
    ngx_str_t                      pieces[NGX_HTTP_KLAVIYO_MEMORY_PIECES];
    ngx_uint_t                     i, got, id;
    ngx_http_klaviyo_memory_key_t  *key;

    key = fuzz_key(m, n, NGX_HTTP_KLAVIYO_MEMORY_BACKLOG);

    got = ngx_http_klaviyo_memory_take(fuzz_memory, key, buf, FUZZ_TEXT,
                                       pieces);
    assert_in_range(got, 0, FUZZ_PIECES);

    /* the last ones, in order */

    for (i = 0; i < got; i++) {
        id = m->keys[n].pushed - got + 1 + i;

        assert_int_equal(pieces[i].len, id);
        assert_memory_equal(pieces[i].data, fuzz_text(id, id)->data, id);
    }

    assert_int_equal(ngx_http_klaviyo_memory_take(fuzz_memory, key, buf,
                                                  FUZZ_TEXT, pieces),
                     0);
}


static void
fuzz_once(fuzz_memory_t *m, ngx_uint_t n, time_t ttl)
{
    ngx_int_t   rc;
    uint64_t    version;

    rc = ngx_http_klaviyo_memory_mark(fuzz_memory,
                          fuzz_key(m, n, NGX_HTTP_KLAVIYO_MEMORY_ONCE), ttl,
                          &version);

    if (rc == NGX_OK) {
        m->keys[n].marked = fuzz_now.sec + ttl;
        return;
    }

    if (rc == NGX_DECLINED) {
        assert_true(m->keys[n].marked > fuzz_now.sec);
        return;
    }

    assert_int_equal(rc, NGX_ABORT);
    assert_int_equal(ttl, 0);
}


static ngx_str_t *
fuzz_text(ngx_uint_t id, size_t len)
{
    size_t            i;
    static u_char     buf[FUZZ_TEXT + 1];
    static ngx_str_t  text;

    for (i = 0; i < len; i++) {
        buf[i] = (u_char) (id * 7 + i);
    }

    text.data = buf;
    text.len = len;

    return &text;
}
