
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The file of an account's rate, with any content: after a byte, "s" to have
 * its magic, boot, size and sum made right, which leaves a budget of any
 * numbers.  It never grants more than the rate, and nobody waits for good; what
 * one has taken the next one knows.
 */


#include "fuzz.h"
#include "unit_folder.h"
#include "ngx_http_klaviyo_rate.h"


#define FUZZ_NOW    86400000
#define FUZZ_BURST  10

/* a pause, the windows, and what clocks may differ by */
#define FUZZ_WAIT   (3600000 + 60000 + 4000)


static void fuzz_cleanup(void);
static void fuzz_file(ngx_str_t *text, ngx_uint_t seal);
static void fuzz_rate(fuzz_t *f, ngx_http_klaviyo_rate_t *rate);
static ngx_uint_t fuzz_take(ngx_http_klaviyo_rate_t *rate, uint64_t now);
static void fuzz_wait(ngx_http_klaviyo_rate_t *rate, uint64_t now);


static char                          fuzz_folder[64];
static ngx_http_klaviyo_boot_t       fuzz_boot;
static ngx_http_klaviyo_account_t    fuzz_account;
static ngx_http_klaviyo_directory_t  fuzz_directory;


static void
fuzz_cleanup(void)
{
    unit_folder_remove(fuzz_folder);
}


void
fuzz_init(ngx_pool_t *pool)
{
    strcpy(fuzz_folder, access("/dev/shm", W_OK) == 0
                        ? "/dev/shm/klaviyo-fuzz-XXXXXX"
                        : P_tmpdir "/klaviyo-fuzz-XXXXXX");

    assert_non_null(mkdtemp(fuzz_folder));
    (void) atexit(fuzz_cleanup);

    fuzz_directory.path.data = (u_char *) fuzz_folder;
    fuzz_directory.path.len = strlen(fuzz_folder);
    fuzz_directory.user = (ngx_uid_t) NGX_CONF_UNSET_UINT;
    fuzz_directory.group = (ngx_gid_t) NGX_CONF_UNSET_UINT;

    ngx_http_klaviyo_rate_boot(&fuzz_boot);

    ngx_str_set(&fuzz_account.name, "shop");
    fuzz_account.burst = FUZZ_BURST;
    fuzz_account.steady = 150;
    fuzz_account.share = 100;
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t                text;
    ngx_uint_t               n, seal;
    ngx_http_klaviyo_rate_t  one, two;

    seal = (fuzz_byte(f) == 's');
    text = fuzz_rest(f);

    fuzz_file(&text, seal);
    fuzz_rate(f, &one);
    fuzz_rate(f, &two);

    n = fuzz_take(&one, FUZZ_NOW);
    assert_in_range(n, 0, FUZZ_BURST);

    /* another one finds what the first has written */

    assert_int_equal(fuzz_take(&two, FUZZ_NOW), 0);

    fuzz_wait(&two, FUZZ_NOW);
}


static void
fuzz_file(ngx_str_t *text, ngx_uint_t seal)
{
    ngx_http_klaviyo_budget_t     budget;
    ngx_http_klaviyo_rate_file_t  file;

    if (!seal) {
        unit_folder_write(fuzz_folder, "shop.rate", text->data, text->len);
        return;
    }

    ngx_memzero(&budget, sizeof(ngx_http_klaviyo_budget_t));
    ngx_memcpy(&budget, text->data,
               ngx_min(text->len, sizeof(ngx_http_klaviyo_budget_t)));

    ngx_http_klaviyo_rate_encode(&file, &fuzz_boot, &budget);

    unit_folder_write(fuzz_folder, "shop.rate", (u_char *) &file,
                      sizeof(ngx_http_klaviyo_rate_file_t));
}


static void
fuzz_rate(fuzz_t *f, ngx_http_klaviyo_rate_t *rate)
{
    ngx_memzero(rate, sizeof(ngx_http_klaviyo_rate_t));

    rate->account = &fuzz_account;
    rate->log = f->pool->log;
    rate->boot = fuzz_boot;
    rate->budget = ngx_pcalloc(f->pool, sizeof(ngx_http_klaviyo_budget_t));
    assert_non_null(rate->budget);

    assert_int_equal(ngx_http_klaviyo_rate_init(rate, f->pool,
                                                &fuzz_directory),
                     NGX_OK);
}


/* how many are granted at once */

static ngx_uint_t
fuzz_take(ngx_http_klaviyo_rate_t *rate, uint64_t now)
{
    ngx_uint_t  n;
    ngx_msec_t  wait;

    for (n = 0; /* void */ ; n++) {
        assert_in_range(n, 0, FUZZ_BURST);

        do {
            wait = ngx_http_klaviyo_rate_take(rate, now);

            /* a process that a sanitizer has forked may have it, too */

        } while (rate->held);

        if (wait) {
            break;
        }
    }

    /* the file could be had */

    assert_int_equal(rate->told, 0);

    return n;
}


/* who asks when it is told to is granted one */

static void
fuzz_wait(ngx_http_klaviyo_rate_t *rate, uint64_t now)
{
    uint64_t    until;
    ngx_msec_t  wait;

    until = now + FUZZ_WAIT;

    for ( ;; ) {
        wait = ngx_http_klaviyo_rate_take(rate, now);

        if (wait == 0) {
            return;
        }

        now += wait;
        assert_true(now <= until);
    }
}
