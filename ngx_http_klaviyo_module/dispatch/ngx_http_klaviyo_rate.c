
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The rate of an account, shared by all masters that use the same directory.
 *
 * The file is opened for each request that is to be sent: five system calls, of
 * which the disk sees none.  Who opens it anew each time can't hold a lock by
 * accident, and finds the file that an operator has put in its place.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <sys/file.h>
#include "ngx_http_klaviyo_rate.h"


/* the first version had no boot */
#define NGX_HTTP_KLAVIYO_RATE_MAGIC      "klavrat2"
#define NGX_HTTP_KLAVIYO_RATE_FIRST      "klavrate"

#define NGX_HTTP_KLAVIYO_RATE_SUFFIX     ".rate"

#define NGX_HTTP_KLAVIYO_RATE_BOOT_ID    "/proc/sys/kernel/random/boot_id"

/* milliseconds: what two may differ by about the begin of one boot; from the
 * begin of one to that of the next it takes longer */
#define NGX_HTTP_KLAVIYO_RATE_BOOT_SKEW  3000

/* milliseconds until a file that another one has locked is tried again, and how
 * often: nobody of ours holds it for longer than two system calls */
#define NGX_HTTP_KLAVIYO_RATE_HELD       10
#define NGX_HTTP_KLAVIYO_RATE_TRIES      50


static void ngx_http_klaviyo_rate_since(ngx_http_klaviyo_rate_t *rate,
    uint64_t now);
static ngx_msec_t ngx_http_klaviyo_rate_ask(ngx_http_klaviyo_rate_t *rate,
    uint64_t now);
static ngx_fd_t ngx_http_klaviyo_rate_open(ngx_http_klaviyo_rate_t *rate);
static void ngx_http_klaviyo_rate_read(ngx_http_klaviyo_rate_t *rate,
    ngx_fd_t fd, ngx_http_klaviyo_budget_t *budget);
static ngx_int_t ngx_http_klaviyo_rate_write(ngx_http_klaviyo_rate_t *rate,
    ngx_fd_t fd);
static ngx_uint_t ngx_http_klaviyo_rate_news(ngx_http_klaviyo_budget_t *budget,
    ngx_http_klaviyo_budget_t *before);
static void ngx_http_klaviyo_rate_failed(ngx_http_klaviyo_rate_t *rate,
    ngx_err_t err, char *action);
static ngx_uint_t ngx_http_klaviyo_rate_same_boot(ngx_http_klaviyo_boot_t *one,
    ngx_http_klaviyo_boot_t *two);


void
ngx_http_klaviyo_rate_boot(ngx_http_klaviyo_boot_t *boot)
{
    ssize_t   n;
    ngx_fd_t  fd;

    ngx_memzero(boot, sizeof(ngx_http_klaviyo_boot_t));

    fd = open(NGX_HTTP_KLAVIYO_RATE_BOOT_ID, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return;
    }

    n = read(fd, boot->id, sizeof(boot->id));

    if (n < (ssize_t) sizeof("00000000-0000-0000-0000-000000000000") - 1) {
        ngx_memzero(boot->id, sizeof(boot->id));
    }

    (void) ngx_close_file(fd);
}


ngx_int_t
ngx_http_klaviyo_rate_init(ngx_http_klaviyo_rate_t *rate, ngx_pool_t *pool,
    ngx_http_klaviyo_directory_t *directory)
{
    size_t  len;

    len = directory->path.len + 1 + rate->account->name.len
          + sizeof(NGX_HTTP_KLAVIYO_RATE_SUFFIX);

    rate->path = ngx_pnalloc(pool, len);
    if (rate->path == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(rate->path, "%V/%V" NGX_HTTP_KLAVIYO_RATE_SUFFIX "%Z",
                &directory->path, &rate->account->name);

    rate->user = directory->user;
    rate->group = directory->group;

    return NGX_OK;
}


ngx_msec_t
ngx_http_klaviyo_rate_take(ngx_http_klaviyo_rate_t *rate, uint64_t now)
{
    ngx_fd_t                   fd;
    ngx_err_t                  err;
    ngx_msec_t                 wait;
    ngx_http_klaviyo_budget_t  before;

    /* a dry run asks nothing of Klaviyo */

    fd = rate->account->dry_run ? NGX_INVALID_FILE
                                : ngx_http_klaviyo_rate_open(rate);

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_klaviyo_rate_ask(rate, now);
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
        err = ngx_errno;

        (void) ngx_close_file(fd);

        if (rate->held++ < NGX_HTTP_KLAVIYO_RATE_TRIES) {
            return NGX_HTTP_KLAVIYO_RATE_HELD;
        }

        ngx_http_klaviyo_rate_failed(rate, err, "flock()");

        return ngx_http_klaviyo_rate_ask(rate, now);
    }

    rate->held = 0;

    ngx_http_klaviyo_rate_since(rate, now);
    ngx_http_klaviyo_rate_read(rate, fd, &before);
    ngx_http_klaviyo_budget_merge(rate->budget, &before, now);

    wait = ngx_http_klaviyo_rate_ask(rate, now);

    if (wait == 0 || ngx_http_klaviyo_rate_news(rate->budget, &before)) {

        if (ngx_http_klaviyo_rate_write(rate, fd) == NGX_OK) {
            rate->told = 0;
        }
    }

    (void) ngx_close_file(fd);

    return wait;
}


void
ngx_http_klaviyo_rate_tell(ngx_http_klaviyo_rate_t *rate, uint64_t now)
{
    ngx_fd_t                   fd;
    ngx_http_klaviyo_budget_t  before;

    fd = ngx_http_klaviyo_rate_open(rate);

    if (fd == NGX_INVALID_FILE) {
        return;
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == 0) {
        ngx_http_klaviyo_rate_since(rate, now);
        ngx_http_klaviyo_rate_read(rate, fd, &before);
        ngx_http_klaviyo_budget_merge(rate->budget, &before, now);

        (void) ngx_http_klaviyo_rate_write(rate, fd);
    }

    (void) ngx_close_file(fd);
}


/*
 * Each time anew: if somebody sets the clock on the wall, processes that have
 * started before and after that still agree.
 */

static void
ngx_http_klaviyo_rate_since(ngx_http_klaviyo_rate_t *rate, uint64_t now)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    rate->boot.since = (uint64_t) tp->sec * 1000 + tp->msec - now;
}


static ngx_msec_t
ngx_http_klaviyo_rate_ask(ngx_http_klaviyo_rate_t *rate, uint64_t now)
{
    ngx_http_klaviyo_account_t  *account;

    account = rate->account;

    return ngx_http_klaviyo_budget_take(rate->budget, now, account->burst,
                                        account->steady, account->share);
}


static ngx_fd_t
ngx_http_klaviyo_rate_open(ngx_http_klaviyo_rate_t *rate)
{
    char             *path;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    path = (char *) rate->path;

    fd = open(path, O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_klaviyo_rate_failed(rate, ngx_errno, ngx_open_file_n);
        return NGX_INVALID_FILE;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        ngx_http_klaviyo_rate_failed(rate, 0, "a regular file is wanted, it");
        goto failed;
    }

    /* without a master this is root, and the next one may have one */

    if (ngx_file_size(&fi) == 0 && geteuid() == 0
        && rate->user != (ngx_uid_t) NGX_CONF_UNSET_UINT
        && fchown(fd, rate->user, rate->group) == -1)
    {
        ngx_http_klaviyo_rate_failed(rate, ngx_errno, "fchown()");
        goto failed;
    }

    return fd;

failed:

    (void) ngx_close_file(fd);

    return NGX_INVALID_FILE;
}


/* What can't be read has nothing to say: the copy still counts */

static void
ngx_http_klaviyo_rate_read(ngx_http_klaviyo_rate_t *rate, ngx_fd_t fd,
    ngx_http_klaviyo_budget_t *budget)
{
    ssize_t                       n;
    ngx_int_t                     rc;
    ngx_http_klaviyo_rate_file_t  file;

    n = pread(fd, &file, sizeof(ngx_http_klaviyo_rate_file_t), 0);

    if (n == -1) {
        n = 0;
    }

    rc = ngx_http_klaviyo_rate_decode(&file, n, &rate->boot, budget);

    if (rc == NGX_OK) {
        return;
    }

    ngx_memzero(budget, sizeof(ngx_http_klaviyo_budget_t));

    if (rc == NGX_DECLINED && n && !rate->damaged) {
        rate->damaged = 1;

        ngx_log_error(NGX_LOG_WARN, rate->log, 0,
                      "klaviyo account \"%V\": \"%s\" was damaged, it is "
                      "written anew", &rate->account->name, rate->path);
    }
}


static ngx_int_t
ngx_http_klaviyo_rate_write(ngx_http_klaviyo_rate_t *rate, ngx_fd_t fd)
{
    ssize_t                       n;
    ngx_http_klaviyo_rate_file_t  file;

    ngx_http_klaviyo_rate_encode(&file, &rate->boot, rate->budget);

    n = pwrite(fd, &file, sizeof(ngx_http_klaviyo_rate_file_t), 0);

    if (n != sizeof(ngx_http_klaviyo_rate_file_t)) {
        ngx_http_klaviyo_rate_failed(rate, (n == -1) ? ngx_errno : 0,
                                     "pwrite()");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* A pause, or what the headers said, of which the file knows nothing yet */

static ngx_uint_t
ngx_http_klaviyo_rate_news(ngx_http_klaviyo_budget_t *budget,
    ngx_http_klaviyo_budget_t *before)
{
    return budget->paused != before->paused
           || budget->reset != before->reset
           || budget->left != before->left;
}


/* Once until it can be written again: this is asked for each request */

static void
ngx_http_klaviyo_rate_failed(ngx_http_klaviyo_rate_t *rate, ngx_err_t err,
    char *action)
{
    if (rate->told) {
        return;
    }

    rate->told = 1;

    ngx_log_error(NGX_LOG_WARN, rate->log, err,
                  "klaviyo account \"%V\": the rate can't be shared with "
                  "another nginx, \"%s\": %s failed",
                  &rate->account->name, rate->path, action);
}


void
ngx_http_klaviyo_rate_encode(ngx_http_klaviyo_rate_file_t *file,
    ngx_http_klaviyo_boot_t *boot, ngx_http_klaviyo_budget_t *budget)
{
    ngx_memzero(file, sizeof(ngx_http_klaviyo_rate_file_t));

    ngx_memcpy(file->magic, NGX_HTTP_KLAVIYO_RATE_MAGIC, sizeof(file->magic));

    file->boot = *boot;
    file->budget = *budget;
    file->size = sizeof(ngx_http_klaviyo_rate_file_t);
    file->crc = ngx_crc32_long((u_char *) file,
                               offsetof(ngx_http_klaviyo_rate_file_t, crc));
}


ngx_int_t
ngx_http_klaviyo_rate_decode(ngx_http_klaviyo_rate_file_t *file, size_t size,
    ngx_http_klaviyo_boot_t *boot, ngx_http_klaviyo_budget_t *budget)
{
    if (size > sizeof(file->magic)
        && ngx_memcmp(file->magic, NGX_HTTP_KLAVIYO_RATE_FIRST,
                      sizeof(file->magic))
           == 0)
    {
        return NGX_DONE;
    }

    if (size != sizeof(ngx_http_klaviyo_rate_file_t)
        || ngx_memcmp(file->magic, NGX_HTTP_KLAVIYO_RATE_MAGIC,
                      sizeof(file->magic))
           != 0
        || file->size != sizeof(ngx_http_klaviyo_rate_file_t)
        || file->crc != ngx_crc32_long((u_char *) file,
                                   offsetof(ngx_http_klaviyo_rate_file_t, crc)))
    {
        return NGX_DECLINED;
    }

    if (!ngx_http_klaviyo_rate_same_boot(&file->boot, boot)) {
        return NGX_DONE;
    }

    *budget = file->budget;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_rate_same_boot(ngx_http_klaviyo_boot_t *one,
    ngx_http_klaviyo_boot_t *two)
{
    int64_t  apart;

    if (one->id[0] && ngx_memcmp(one->id, two->id, sizeof(one->id)) == 0) {
        return 1;
    }

    apart = (int64_t) (one->since - two->since);

    return apart > -NGX_HTTP_KLAVIYO_RATE_BOOT_SKEW
           && apart < NGX_HTTP_KLAVIYO_RATE_BOOT_SKEW;
}
