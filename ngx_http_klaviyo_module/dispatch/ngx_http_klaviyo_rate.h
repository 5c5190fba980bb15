
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The rate of an account, shared by all masters that use the same directory of
 * the spool: two of a binary upgrade, or two nginx on one host.  The truth is a
 * small file NAME.rate in it, which is locked for as long as it is read and
 * written.
 */


#ifndef _NGX_HTTP_KLAVIYO_RATE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_RATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_budget.h"
#include "ngx_http_klaviyo_directory.h"


/*
 * Which run of which host a time belongs to.  A container may have an id of its
 * own and the host's clock: where two agree on when that began, they mean the
 * same by a time.
 */
typedef struct {
    u_char                               id[40];   /* the kernel's; zeros:
                                                      unknown */
    uint64_t                             since;    /* epoch, ms, by the clock
                                                      on the wall */
} ngx_http_klaviyo_boot_t;


/* the content of the file */
typedef struct {
    u_char                               magic[8];
    ngx_http_klaviyo_boot_t              boot;
    ngx_http_klaviyo_budget_t            budget;
    uint32_t                             size;     /* of all */
    uint32_t                             crc;      /* of what is before it */
} ngx_http_klaviyo_rate_file_t;


typedef struct {
    u_char                              *path;     /* NUL-terminated */
    ngx_http_klaviyo_account_t          *account;
    ngx_http_klaviyo_budget_t           *budget;   /* this instance's copy */
    ngx_uid_t                            user;
    ngx_gid_t                            group;
    ngx_log_t                           *log;
    ngx_http_klaviyo_boot_t              boot;

    ngx_uint_t                           held;     /* times in a row */
    unsigned                             told:1;
    unsigned                             damaged:1;  /* that was told */
} ngx_http_klaviyo_rate_t;


/* The id of this boot, zeros if it can't be had; "since" is the rate's own. */
void ngx_http_klaviyo_rate_boot(ngx_http_klaviyo_boot_t *boot);

/*
 * "budget", "account", "log" and "boot" are set.  NGX_OK or NGX_ERROR (no
 * memory).
 */
ngx_int_t ngx_http_klaviyo_rate_init(ngx_http_klaviyo_rate_t *rate,
    ngx_pool_t *pool, ngx_http_klaviyo_directory_t *directory);

/*
 * ngx_http_klaviyo_budget_take() with what is in the file.  If that can't be
 * had this instance's copy alone counts; it never waits for the lock.  In the
 * background process that owns the account's ring.
 */
ngx_msec_t ngx_http_klaviyo_rate_take(ngx_http_klaviyo_rate_t *rate,
    uint64_t now);

/*
 * This instance's copy knows of a pause: so do the others from now on, if the
 * file can be had.  In the same process.
 */
void ngx_http_klaviyo_rate_tell(ngx_http_klaviyo_rate_t *rate, uint64_t now);


/*
 * Pure: the content of a file, and back.  NGX_DONE: its time is over, since it
 * is of another boot or an earlier version; NGX_DECLINED: it is none of ours.
 */
void ngx_http_klaviyo_rate_encode(ngx_http_klaviyo_rate_file_t *file,
    ngx_http_klaviyo_boot_t *boot, ngx_http_klaviyo_budget_t *budget);
ngx_int_t ngx_http_klaviyo_rate_decode(ngx_http_klaviyo_rate_file_t *file,
    size_t size, ngx_http_klaviyo_boot_t *boot,
    ngx_http_klaviyo_budget_t *budget);


#endif /* _NGX_HTTP_KLAVIYO_RATE_H_INCLUDED_ */
