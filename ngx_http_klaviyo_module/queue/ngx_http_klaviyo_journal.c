
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A file of lines that only grows.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_journal.h"


static ngx_fd_t ngx_http_klaviyo_journal_open(
    ngx_http_klaviyo_journal_t *journal, ngx_file_info_t *fi);
static ngx_uint_t ngx_http_klaviyo_journal_torn(ngx_fd_t fd, off_t size);


ngx_int_t
ngx_http_klaviyo_journal_init(ngx_http_klaviyo_journal_t *journal,
    ngx_pool_t *pool, ngx_str_t *spool, ngx_str_t *name, char *suffix,
    off_t max, ngx_log_t *log)
{
    size_t  len;

    len = spool->len + 1 + name->len + ngx_strlen(suffix);

    journal->path.data = ngx_pnalloc(pool, len + 1);
    if (journal->path.data == NULL) {
        return NGX_ERROR;
    }

    journal->path.len = ngx_sprintf(journal->path.data, "%V/%V%s%Z",
                                    spool, name, suffix)
                        - journal->path.data - 1;
    journal->max = max;
    journal->log = log;

    return NGX_OK;
}


/*
 * One write() per line: two processes may write during a reload.  What a full
 * disk cuts off stays as a line of its own that no checksum fits.
 */

ngx_int_t
ngx_http_klaviyo_journal_append(ngx_http_klaviyo_journal_t *journal,
    u_char *line, size_t len)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         rc;
    ngx_file_info_t   fi;

    fd = ngx_http_klaviyo_journal_open(journal, &fi);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (ngx_file_size(&fi) + (off_t) len > journal->max) {
        rc = NGX_DECLINED;
        goto done;
    }

    if (ngx_http_klaviyo_journal_torn(fd, ngx_file_size(&fi))
        && ngx_write_fd(fd, "\n", 1) != 1)
    {
        ngx_log_error(NGX_LOG_CRIT, journal->log, ngx_errno,
                      ngx_write_fd_n " to \"%V\" failed", &journal->path);
        rc = NGX_ERROR;
        goto done;
    }

    n = ngx_write_fd(fd, line, len);

    if (n == -1) {
        ngx_log_error(NGX_LOG_CRIT, journal->log, ngx_errno,
                      ngx_write_fd_n " to \"%V\" failed", &journal->path);
        rc = NGX_ERROR;

    } else if ((size_t) n != len) {
        ngx_log_error(NGX_LOG_CRIT, journal->log, 0,
                      ngx_write_fd_n " to \"%V\" was incomplete: %z of %uz",
                      &journal->path, n, len);
        rc = NGX_ERROR;
    }

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, journal->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &journal->path);
        rc = NGX_ERROR;
    }

    return rc;
}


/*
 * Neither through a symbolic link nor into a pipe: the file holds personal
 * data.  O_NONBLOCK, so that a pipe without reader doesn't hold the process.
 */

static ngx_fd_t
ngx_http_klaviyo_journal_open(ngx_http_klaviyo_journal_t *journal,
    ngx_file_info_t *fi)
{
    ngx_fd_t  fd;

    fd = open((const char *) journal->path.data,
              O_RDWR|O_APPEND|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_CRIT, journal->log, ngx_errno,
                      ngx_open_file_n " \"%V\" failed", &journal->path);
        return NGX_INVALID_FILE;
    }

    if (ngx_fd_info(fd, fi) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, journal->log, ngx_errno,
                      ngx_fd_info_n " \"%V\" failed", &journal->path);
        goto failed;
    }

    if (!ngx_is_file(fi)) {
        ngx_log_error(NGX_LOG_CRIT, journal->log, 0,
                      "\"%V\" is not a regular file", &journal->path);
        goto failed;
    }

    return fd;

failed:

    (void) ngx_close_file(fd);

    return NGX_INVALID_FILE;
}


/* Whether the file ends within a line: its writer died, or the disk was full */

static ngx_uint_t
ngx_http_klaviyo_journal_torn(ngx_fd_t fd, off_t size)
{
    u_char  ch;

    return size > 0 && pread(fd, &ch, 1, size - 1) == 1 && ch != LF;
}
