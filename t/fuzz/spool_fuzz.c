
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A segment in the spool's directory as a stranger, a crash or a bad disk may
 * leave it: its name in the first line, the file in the rest.  All of it is
 * read, set aside or left alone, and what comes back is published once.
 */


#include "fuzz.h"
#include "unit_folder.h"
#include "unit_queue.h"
#include "ngx_http_klaviyo_spool.h"


/* each line is dealt with once, a thousand in a turn */
#define FUZZ_TURNS  (FUZZ_LONG / 1000 + 2)


static void fuzz_cleanup(void);
static void fuzz_file(ngx_str_t *name, ngx_str_t *text);
static void fuzz_sum(void);


static char                               fuzz_folder[64];
static ngx_http_klaviyo_ring_t           *fuzz_ring;
static ngx_http_klaviyo_directory_t       fuzz_directory;
static ngx_http_klaviyo_account_state_t  *fuzz_state;


static void
fuzz_cleanup(void)
{
    unit_folder_remove(fuzz_folder);
}


void
fuzz_init(ngx_pool_t *pool)
{
    u_char  key[NGX_HTTP_KLAVIYO_KEY_LEN];

    strcpy(fuzz_folder, access("/dev/shm", W_OK) == 0
                        ? "/dev/shm/klaviyo-fuzz-XXXXXX"
                        : P_tmpdir "/klaviyo-fuzz-XXXXXX");

    assert_non_null(mkdtemp(fuzz_folder));
    (void) atexit(fuzz_cleanup);

    fuzz_directory.path.data = (u_char *) fuzz_folder;
    fuzz_directory.path.len = strlen(fuzz_folder);
    fuzz_directory.instance = 0x1122334455667788ULL;
    fuzz_directory.user = (ngx_uid_t) NGX_CONF_UNSET_UINT;
    fuzz_directory.group = (ngx_gid_t) NGX_CONF_UNSET_UINT;
    fuzz_directory.log = pool->log;

    fuzz_ring = unit_ring(pool);

    ngx_memset(key, 7, NGX_HTTP_KLAVIYO_KEY_LEN);

    fuzz_state = ngx_http_klaviyo_control_account(fuzz_ring->control, key);
    assert_non_null(fuzz_state);

    assert_int_equal(ngx_http_klaviyo_control_slot(fuzz_ring->control, key),
                     UNIT_RULE);
    assert_int_equal(ngx_http_klaviyo_ring_own(fuzz_ring), NGX_OK);
}


void
fuzz_one(fuzz_t *f)
{
    ngx_int_t                  slot;
    ngx_str_t                  name, text;
    ngx_uint_t                 i;
    ngx_http_klaviyo_spool_t   spool;

    name = fuzz_line(f);
    text = fuzz_rest(f);

    fuzz_file(&name, &text);

    ngx_memzero(&spool, sizeof(ngx_http_klaviyo_spool_t));

    spool.directory = &fuzz_directory;
    spool.ring = fuzz_ring;
    spool.state = fuzz_state;
    ngx_str_set(&spool.name, "shop");
    spool.max = 1000000;
    spool.log = f->pool->log;

    assert_int_equal(ngx_http_klaviyo_spool_init(&spool, f->pool), NGX_OK);

    ngx_http_klaviyo_spool_own(&spool);
    ngx_http_klaviyo_spool_scan(&spool);

    for (i = 0; ngx_http_klaviyo_spool_read(&spool, 1000); i++) {
        assert_in_range(i, 0, FUZZ_TURNS);

        for ( ;; ) {
            slot = ngx_http_klaviyo_ring_claim(fuzz_ring, 1000, 1 << 30, NULL);

            if (slot == NGX_DECLINED) {
                break;
            }

            ngx_http_klaviyo_ring_finish(fuzz_ring, slot);
        }
    }

    ngx_http_klaviyo_spool_close(&spool, 0);

    fuzz_sum();

    unit_folder_remove(fuzz_folder);
}


/* a name of ours, unless the input has one that a file may have */

static void
fuzz_file(ngx_str_t *name, ngx_str_t *text)
{
    char    path[NAME_MAX + 1];
    size_t  len;

    (void) mkdir(fuzz_folder, 0700);

    len = ngx_min(name->len, 200);
    ngx_memcpy(path, name->data, len);
    path[len] = '\0';

    if (len == 0 || memchr(path, '/', len) || memchr(path, '\0', len)
        || path[0] == '.')
    {
        strcpy(path, "shop.1122334455667788-00000001.spool");
    }

    unit_folder_write(fuzz_folder, path, text->data, text->len);
}


/* seen + restored = sent + queued + spooled + damaged, over all inputs */

static void
fuzz_sum(void)
{
    ngx_http_klaviyo_counters_t  sum;

    ngx_http_klaviyo_control_total(fuzz_ring->control, &sum);

    assert_true(sum.seen + sum.restored
                == sum.sent + sum.queued + sum.spooled + sum.damaged
                   + sum.dead + sum.dropped[NGX_HTTP_KLAVIYO_DROP_FULL]
                   + sum.dropped[NGX_HTTP_KLAVIYO_DROP_TOO_LARGE]
                   + sum.dropped[NGX_HTTP_KLAVIYO_DROP_ERROR]);
    assert_int_equal(sum.queued, 0);
}
