
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Files that only grow: dead letters and what "dry_run" would have sent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_klaviyo_deadletter.h"


static ngx_int_t ngx_http_klaviyo_deadletter_append(
    ngx_http_klaviyo_deadletter_t *file, u_char *line, size_t len);
static ngx_fd_t ngx_http_klaviyo_deadletter_open(
    ngx_http_klaviyo_deadletter_t *file, ngx_file_info_t *fi);
static ngx_uint_t ngx_http_klaviyo_deadletter_torn(ngx_fd_t fd, off_t size);
static char *ngx_http_klaviyo_deadletter_error(ngx_uint_t status,
    ngx_http_klaviyo_error_t *error);
static void ngx_http_klaviyo_deadletter_set(json_t *object, const char *name,
    ngx_str_t *text);
static u_char *ngx_http_klaviyo_deadletter_time(u_char *p);


ngx_int_t
ngx_http_klaviyo_deadletter_init(ngx_http_klaviyo_deadletter_t *file,
    ngx_pool_t *pool, ngx_str_t *spool, ngx_str_t *name, char *suffix,
    off_t max, ngx_log_t *log)
{
    size_t  len;

    len = spool->len + 1 + name->len + ngx_strlen(suffix);

    file->path.data = ngx_pnalloc(pool, len + 1);
    if (file->path.data == NULL) {
        return NGX_ERROR;
    }

    file->path.len = ngx_sprintf(file->path.data, "%V/%V%s%Z", spool, name,
                                 suffix)
                     - file->path.data - 1;
    file->max = max;
    file->log = log;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_deadletter_write(ngx_http_klaviyo_deadletter_t *file,
    ngx_uint_t status, ngx_http_klaviyo_error_t *error, ngx_str_t *event)
{
    char       *words;
    size_t      size;
    u_char     *line, *p;
    ngx_int_t   rc;

    words = ngx_http_klaviyo_deadletter_error(status, error);
    if (words == NULL) {
        return NGX_ERROR;
    }

    size = sizeof("{\"crc\":\"\",\"len\":,\"at\":\"\",\"error\":,\"event\":}\n")
           + 8 + NGX_SIZE_T_LEN + sizeof("1970-09-28T12:00:00Z")
           + ngx_strlen(words) + event->len;

    line = ngx_alloc(size, file->log);
    if (line == NULL) {
        free(words);
        return NGX_ERROR;
    }

    p = ngx_sprintf(line, "{\"crc\":\"%08xD\",\"len\":%uz,\"at\":\"",
                    ngx_crc32_long(event->data, event->len), event->len);
    p = ngx_http_klaviyo_deadletter_time(p);
    p = ngx_sprintf(p, "\",\"error\":%s,\"event\":%V}\n", words, event);

    free(words);

    rc = ngx_http_klaviyo_deadletter_append(file, line, p - line);

    ngx_free(line);

    return rc;
}


ngx_int_t
ngx_http_klaviyo_deadletter_body(ngx_http_klaviyo_deadletter_t *file,
    ngx_http_klaviyo_batch_t *batch)
{
    size_t      n;
    u_char     *line;
    ngx_int_t   rc;

    line = ngx_alloc(batch->length + 1, file->log);
    if (line == NULL) {
        return NGX_ERROR;
    }

    n = ngx_http_klaviyo_batch_read(batch, line, batch->length);
    line[n++] = LF;

    rc = ngx_http_klaviyo_deadletter_append(file, line, n);

    ngx_free(line);

    return rc;
}


/*
 * One write() per line: two processes may write during a reload.  What a full
 * disk cuts off stays as a line of its own that no checksum fits.
 */

static ngx_int_t
ngx_http_klaviyo_deadletter_append(ngx_http_klaviyo_deadletter_t *file,
    u_char *line, size_t len)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         rc;
    ngx_file_info_t   fi;

    fd = ngx_http_klaviyo_deadletter_open(file, &fi);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (ngx_file_size(&fi) + (off_t) len > file->max) {
        rc = NGX_DECLINED;
        goto done;
    }

    if (ngx_http_klaviyo_deadletter_torn(fd, ngx_file_size(&fi))
        && ngx_write_fd(fd, "\n", 1) != 1)
    {
        ngx_log_error(NGX_LOG_CRIT, file->log, ngx_errno,
                      ngx_write_fd_n " to \"%V\" failed", &file->path);
        rc = NGX_ERROR;
        goto done;
    }

    n = ngx_write_fd(fd, line, len);

    if (n == -1) {
        ngx_log_error(NGX_LOG_CRIT, file->log, ngx_errno,
                      ngx_write_fd_n " to \"%V\" failed", &file->path);
        rc = NGX_ERROR;

    } else if ((size_t) n != len) {
        ngx_log_error(NGX_LOG_CRIT, file->log, 0,
                      ngx_write_fd_n " to \"%V\" was incomplete: %z of %uz",
                      &file->path, n, len);
        rc = NGX_ERROR;
    }

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, file->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &file->path);
        rc = NGX_ERROR;
    }

    return rc;
}


/*
 * Neither through a symbolic link nor into a pipe: the file holds personal
 * data.  O_NONBLOCK, so that a pipe without reader doesn't hold the process.
 */

static ngx_fd_t
ngx_http_klaviyo_deadletter_open(ngx_http_klaviyo_deadletter_t *file,
    ngx_file_info_t *fi)
{
    ngx_fd_t  fd;

    fd = open((const char *) file->path.data,
              O_RDWR|O_APPEND|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_CRIT, file->log, ngx_errno,
                      ngx_open_file_n " \"%V\" failed", &file->path);
        return NGX_INVALID_FILE;
    }

    if (ngx_fd_info(fd, fi) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, file->log, ngx_errno,
                      ngx_fd_info_n " \"%V\" failed", &file->path);
        goto failed;
    }

    if (!ngx_is_file(fi)) {
        ngx_log_error(NGX_LOG_CRIT, file->log, 0,
                      "\"%V\" is not a regular file", &file->path);
        goto failed;
    }

    return fd;

failed:

    (void) ngx_close_file(fd);

    return NGX_INVALID_FILE;
}


/* Whether the file ends within a line: its writer died, or the disk was full */

static ngx_uint_t
ngx_http_klaviyo_deadletter_torn(ngx_fd_t fd, off_t size)
{
    u_char  ch;

    return size > 0 && pread(fd, &ch, 1, size - 1) == 1 && ch != LF;
}


static char *
ngx_http_klaviyo_deadletter_error(ngx_uint_t status,
    ngx_http_klaviyo_error_t *error)
{
    char    *words;
    json_t  *object;

    object = json_pack("{s:I}", "status", (json_int_t) status);
    if (object == NULL) {
        return NULL;
    }

    if (error) {
        ngx_http_klaviyo_deadletter_set(object, "code", &error->code);
        ngx_http_klaviyo_deadletter_set(object, "title", &error->title);
        ngx_http_klaviyo_deadletter_set(object, "detail", &error->detail);
        ngx_http_klaviyo_deadletter_set(object, "pointer", &error->pointer);
    }

    words = json_dumps(object, JSON_COMPACT);

    json_decref(object);

    return words;
}


/* What isn't UTF-8 is left out: the line must stay JSON */

static void
ngx_http_klaviyo_deadletter_set(json_t *object, const char *name,
    ngx_str_t *text)
{
    json_t  *string;

    if (text->len == 0) {
        return;
    }

    string = json_stringn((char *) text->data, text->len);

    if (string) {
        (void) json_object_set_new(object, name, string);
    }
}


static u_char *
ngx_http_klaviyo_deadletter_time(u_char *p)
{
    ngx_tm_t  tm;

    ngx_gmtime(ngx_time(), &tm);

    return ngx_sprintf(p, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                       tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                       tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
}
