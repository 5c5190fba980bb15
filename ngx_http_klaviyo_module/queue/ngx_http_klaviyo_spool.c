
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The spool of one account.
 *
 * A segment is locked by flock() as long as it is written or read: a process of
 * an older generation may still write when the next one begins to read.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <sys/file.h>
#include "ngx_http_klaviyo_spool.h"


/* names of segments that exist already are passed over */
#define NGX_HTTP_KLAVIYO_SPOOL_TRIES     64

/* milliseconds: between two attempts to write; how long one that isn't written
 * stays open; until one that can't be read is tried again */
#define NGX_HTTP_KLAVIYO_SPOOL_RETRY     1000
#define NGX_HTTP_KLAVIYO_SPOOL_IDLE      1000
#define NGX_HTTP_KLAVIYO_SPOOL_MINUTE    60000


/* what a scan is to find */
typedef struct {
    ngx_http_klaviyo_spool_t            *spool;
    uint64_t                             wanted;   /* 0: the oldest */
    ngx_uint_t                           segments;
    off_t                                bytes;
    time_t                               oldest;

    /* the one to read: the wanted one, if it is there, else the oldest */
    u_char                               file[NAME_MAX + 1];
    uint64_t                             id;       /* 0: none */
    uint64_t                             seq;      /* if it is ours */
    time_t                               mtime;
    off_t                                offset;
    size_t                               len;      /* of the name's beginning */
    unsigned                             ours:1;
    unsigned                             taken:1;  /* if it is ours */
    unsigned                             read:1;
} ngx_http_klaviyo_pick_t;


static void ngx_http_klaviyo_spool_cut(ngx_http_klaviyo_spool_t *spool,
    uint64_t instance, uint64_t seq, off_t size);
static ngx_int_t ngx_http_klaviyo_spool_pick(ngx_http_klaviyo_spool_t *spool,
    uint64_t wanted, ngx_http_klaviyo_pick_t *pick);
static void ngx_http_klaviyo_spool_found(void *data,
    ngx_http_klaviyo_found_t *found);
static ngx_uint_t ngx_http_klaviyo_spool_avoided(
    ngx_http_klaviyo_avoid_t *avoid, uint64_t id);
static void ngx_http_klaviyo_spool_avoid(ngx_http_klaviyo_avoid_t *avoid,
    uint64_t id);
static void ngx_http_klaviyo_spool_publish(ngx_http_klaviyo_spool_t *spool,
    time_t oldest);

static void ngx_http_klaviyo_spool_shorten(ngx_http_klaviyo_spool_t *spool,
    ngx_int_t slot);
static u_char *ngx_http_klaviyo_spool_lines(ngx_http_klaviyo_spool_t *spool,
    ngx_int_t slot, size_t *len);
static ngx_int_t ngx_http_klaviyo_spool_room(ngx_http_klaviyo_spool_t *spool,
    off_t len);
static ngx_int_t ngx_http_klaviyo_spool_open_out(
    ngx_http_klaviyo_spool_t *spool);
static ngx_int_t ngx_http_klaviyo_spool_append(
    ngx_http_klaviyo_spool_t *spool, u_char *p, size_t len);
static ngx_fd_t ngx_http_klaviyo_spool_create(u_char *path);
static void ngx_http_klaviyo_spool_failed(ngx_http_klaviyo_spool_t *spool,
    ngx_err_t err, char *action);
static void ngx_http_klaviyo_spool_close_out(ngx_http_klaviyo_spool_t *spool);

static ngx_uint_t ngx_http_klaviyo_spool_consume(
    ngx_http_klaviyo_spool_t *spool, ngx_uint_t n, ngx_uint_t drop);
static ngx_int_t ngx_http_klaviyo_spool_open_in(
    ngx_http_klaviyo_spool_t *spool);
static ngx_int_t ngx_http_klaviyo_spool_open_picked(
    ngx_http_klaviyo_spool_t *spool, ngx_http_klaviyo_pick_t *pick);
static ngx_int_t ngx_http_klaviyo_spool_claim(
    ngx_http_klaviyo_spool_t *spool, ngx_http_klaviyo_pick_t *pick,
    ngx_fd_t fd);
static void ngx_http_klaviyo_spool_place(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_pick_t *pick, off_t size);
static void ngx_http_klaviyo_spool_reads(ngx_http_klaviyo_spool_t *spool,
    uint64_t id, off_t offset);
static ssize_t ngx_http_klaviyo_spool_fill(ngx_http_klaviyo_spool_t *spool);
static ngx_int_t ngx_http_klaviyo_spool_line(ngx_http_klaviyo_spool_t *spool,
    u_char *p, u_char *last, ngx_uint_t drop);
static void ngx_http_klaviyo_spool_damaged(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_counters_t *counters, u_char *p, u_char *last);
static void ngx_http_klaviyo_spool_end(ngx_http_klaviyo_spool_t *spool);
static void ngx_http_klaviyo_spool_close_in(ngx_http_klaviyo_spool_t *spool);
static ngx_int_t ngx_http_klaviyo_spool_keep(ngx_http_klaviyo_spool_t *spool,
    uint64_t id, off_t offset);


ngx_int_t
ngx_http_klaviyo_spool_init(ngx_http_klaviyo_spool_t *spool, ngx_pool_t *pool)
{
    spool->out = NGX_INVALID_FILE;
    spool->in = NGX_INVALID_FILE;
    spool->minute = ngx_current_msec;

    return ngx_http_klaviyo_journal_init(&spool->damaged, pool,
                                         &spool->directory->path, &spool->name,
                                         ".damaged",
                                         NGX_HTTP_KLAVIYO_DAMAGED_MAX,
                                         spool->log);
}


void
ngx_http_klaviyo_spool_own(ngx_http_klaviyo_spool_t *spool)
{
    uint64_t  seq, size;

    seq = ngx_http_klaviyo_ring_segment(spool->ring, &size);

    if (seq == 0 || spool->out != NGX_INVALID_FILE) {
        return;
    }

    ngx_http_klaviyo_spool_cut(spool, spool->directory->instance, seq, size);

    ngx_http_klaviyo_ring_set_segment(spool->ring, 0);
}


/*
 * One that is locked is written by a process that lives, which an owner leaves
 * behind within its turn: nothing of it is to be cut.
 */

static void
ngx_http_klaviyo_spool_cut(ngx_http_klaviyo_spool_t *spool, uint64_t instance,
    uint64_t seq, off_t size)
{
    u_char    path[NGX_HTTP_KLAVIYO_PATH];
    u_char    file[NGX_HTTP_KLAVIYO_SEGMENT_NAME];
    ngx_fd_t  fd;

    (void) ngx_http_klaviyo_segment_format(file, &spool->name, instance, seq);

    if (ngx_http_klaviyo_directory_file(spool->directory, file, path)
        == NULL)
    {
        return;
    }

    fd = open((const char *) path, O_WRONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return;
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == 0
        && lseek(fd, 0, SEEK_END) > size
        && ftruncate(fd, size) == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                      "ftruncate(\"%s\") failed", path);
    }

    (void) ngx_close_file(fd);
}


/* What was read already is in the ring, or was delivered from there */

void
ngx_http_klaviyo_spool_inherit(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_legacy_t *legacy)
{
    if (legacy->segment) {
        ngx_http_klaviyo_spool_cut(spool, legacy->instance, legacy->segment,
                                   legacy->segment_size);
    }

    if (legacy->reading && legacy->reading != spool->state->spool_reading) {
        (void) ngx_http_klaviyo_spool_keep(spool, legacy->reading,
                                           legacy->place);
    }
}


void
ngx_http_klaviyo_spool_scan(ngx_http_klaviyo_spool_t *spool)
{
    ngx_http_klaviyo_pick_t  pick;

    if (spool->out != NGX_INVALID_FILE
        && ngx_current_msec - spool->written >= NGX_HTTP_KLAVIYO_SPOOL_IDLE)
    {
        ngx_http_klaviyo_spool_close_out(spool);
    }

    spool->busy.n = 0;

    if (ngx_current_msec - spool->minute >= NGX_HTTP_KLAVIYO_SPOOL_MINUTE) {
        spool->minute = ngx_current_msec;
        spool->bad.n = 0;
    }

    (void) ngx_http_klaviyo_spool_pick(spool, spool->state->spool_reading,
                                       &pick);
}


/* NGX_OK: "pick" tells which one is to be read next; else NGX_DECLINED */

static ngx_int_t
ngx_http_klaviyo_spool_pick(ngx_http_klaviyo_spool_t *spool, uint64_t wanted,
    ngx_http_klaviyo_pick_t *pick)
{
    ngx_memzero(pick, sizeof(ngx_http_klaviyo_pick_t));

    pick->spool = spool;
    pick->wanted = wanted;

    if (ngx_http_klaviyo_directory_walk(spool->directory, &spool->name,
                                        ngx_http_klaviyo_spool_found, pick)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    spool->bytes = pick->bytes;
    spool->segments = pick->segments;

    ngx_http_klaviyo_spool_publish(spool, pick->oldest);

    return pick->id ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_klaviyo_spool_found(void *data, ngx_http_klaviyo_found_t *found)
{
    ngx_http_klaviyo_pick_t *pick = data;

    size_t                            len;
    ngx_int_t                         rc;
    ngx_http_klaviyo_spool_t         *spool;
    ngx_http_klaviyo_segment_name_t  *name;

    spool = pick->spool;
    name = &found->name;

    pick->segments++;
    pick->bytes += found->size;

    if (pick->oldest == 0 || found->mtime < pick->oldest) {
        pick->oldest = found->mtime;
    }

    if (pick->read
        || ngx_http_klaviyo_spool_avoided(&spool->busy, found->id)
        || ngx_http_klaviyo_spool_avoided(&spool->bad, found->id))
    {
        return;
    }

    if (found->id == pick->wanted) {
        pick->read = 1;

    } else if (pick->id) {
        rc = ngx_strcmp(found->file, pick->file);

        if (found->mtime > pick->mtime
            || (found->mtime == pick->mtime && rc > 0))
        {
            return;
        }
    }

    len = ngx_strlen(found->file);

    ngx_memcpy(pick->file, found->file, len + 1);

    pick->id = found->id;
    pick->mtime = found->mtime;
    pick->offset = name->offset;
    pick->len = name->len;
    pick->seq = name->seq;
    pick->ours = (name->instance
                  && name->instance == spool->directory->instance);
    pick->taken = name->taken;
}


static ngx_uint_t
ngx_http_klaviyo_spool_avoided(ngx_http_klaviyo_avoid_t *avoid, uint64_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < avoid->n; i++) {
        if (avoid->ids[i] == id) {
            return 1;
        }
    }

    return 0;
}


/* when there are too many the first one has its turn again */

static void
ngx_http_klaviyo_spool_avoid(ngx_http_klaviyo_avoid_t *avoid, uint64_t id)
{
    if (avoid->n == NGX_HTTP_KLAVIYO_SPOOL_AVOID) {
        avoid->n--;
        ngx_memmove(&avoid->ids[0], &avoid->ids[1],
                    avoid->n * sizeof(uint64_t));
    }

    avoid->ids[avoid->n++] = id;
}


static void
ngx_http_klaviyo_spool_publish(ngx_http_klaviyo_spool_t *spool, time_t oldest)
{
    spool->state->spool_bytes = spool->bytes;
    spool->state->spool_segments = spool->segments;
    spool->state->spool_oldest = oldest;
}


ngx_int_t
ngx_http_klaviyo_spool_ready(ngx_http_klaviyo_spool_t *spool)
{
    if (spool->failed
        && (ngx_msec_int_t) (spool->retry - ngx_current_msec) > 0)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_spool_room(spool, NGX_HTTP_KLAVIYO_SPOOL_WRITE);
}


static ngx_int_t
ngx_http_klaviyo_spool_room(ngx_http_klaviyo_spool_t *spool, off_t len)
{
    if (spool->bytes < spool->max / 2) {
        spool->told = 0;
    }

    if (spool->bytes + len <= spool->max) {
        return NGX_OK;
    }

    if (!spool->told) {
        spool->told = 1;

        ngx_log_error(NGX_LOG_WARN, spool->log, 0,
                      "klaviyo account \"%V\": the spool is full, %s",
                      &spool->name,
                      spool->drop_new ? "nothing more is moved to it"
                                      : "its oldest events are dropped");
    }

    return spool->drop_new ? NGX_DECLINED : NGX_AGAIN;
}


ngx_int_t
ngx_http_klaviyo_spool_write(ngx_http_klaviyo_spool_t *spool, ngx_int_t slot)
{
    u_char     *p;
    size_t      len;
    ngx_int_t   rc;

    ngx_http_klaviyo_spool_shorten(spool, slot);

    p = ngx_http_klaviyo_spool_lines(spool, slot, &len);

    if (p == NULL) {
        rc = NGX_ERROR;
        goto failed;
    }

    rc = ngx_http_klaviyo_spool_room(spool, len);

    if (rc == NGX_OK) {
        rc = ngx_http_klaviyo_spool_append(spool, p, len);
    }

    ngx_free(p);

    if (rc != NGX_OK) {
        goto failed;
    }

    spool->size += len;
    spool->bytes += len;
    spool->written = ngx_current_msec;

    ngx_http_klaviyo_ring_spooled(spool->ring, slot, spool->size);

    ngx_http_klaviyo_spool_publish(spool, spool->state->spool_oldest
                                          ? (time_t) spool->state->spool_oldest
                                          : ngx_time());
    return NGX_OK;

failed:

    ngx_http_klaviyo_ring_release(spool->ring, slot);

    return rc;
}


/*
 * A batch that comes back may be larger than the room that is made for it at
 * once, or than the whole spool: the rest waits as a slot of its own.
 */

static void
ngx_http_klaviyo_spool_shorten(ngx_http_klaviyo_spool_t *spool, ngx_int_t slot)
{
    size_t                      size;
    ngx_http_klaviyo_record_t  *record;

    size = 0;

    for (record = ngx_http_klaviyo_ring_first(spool->ring, slot);
         record;
         record = ngx_http_klaviyo_ring_next(spool->ring, slot, record))
    {
        size += NGX_HTTP_KLAVIYO_LINE_HEAD + record->len;

        if (size > NGX_HTTP_KLAVIYO_SPOOL_WRITE) {
            (void) ngx_http_klaviyo_ring_split(spool->ring, slot, record);
            return;
        }
    }
}


static u_char *
ngx_http_klaviyo_spool_lines(ngx_http_klaviyo_spool_t *spool, ngx_int_t slot,
    size_t *len)
{
    size_t                      size;
    u_char                     *p, *start;
    ngx_http_klaviyo_line_t     line;
    ngx_http_klaviyo_ring_t    *ring;
    ngx_http_klaviyo_record_t  *record;

    ring = spool->ring;
    size = 1;

    for (record = ngx_http_klaviyo_ring_first(ring, slot);
         record;
         record = ngx_http_klaviyo_ring_next(ring, slot, record))
    {
        size += NGX_HTTP_KLAVIYO_LINE_HEAD + record->len;
    }

    start = ngx_alloc(size, spool->log);
    if (start == NULL) {
        return NULL;
    }

    p = start;

    for (record = ngx_http_klaviyo_ring_first(ring, slot);
         record;
         record = ngx_http_klaviyo_ring_next(ring, slot, record))
    {
        ngx_http_klaviyo_line_of(&line, ring, record);
        p = ngx_http_klaviyo_line_write(p, &line, NULL);
    }

    *len = p - start;

    return start;
}


/* What is written in part is cut off, or the next process does that */

static ngx_int_t
ngx_http_klaviyo_spool_append(ngx_http_klaviyo_spool_t *spool, u_char *p,
    size_t len)
{
    off_t      max;
    ssize_t    n;
    ngx_err_t  err;

    max = ngx_min(NGX_HTTP_KLAVIYO_SPOOL_SEGMENT, spool->max / 4);

    if (spool->out != NGX_INVALID_FILE && spool->size
        && spool->size + (off_t) len > max)
    {
        ngx_http_klaviyo_spool_close_out(spool);
    }

    if (spool->out == NGX_INVALID_FILE
        && ngx_http_klaviyo_spool_open_out(spool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (len) {
        n = write(spool->out, p, len);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n <= 0) {
            err = ngx_errno;

            if (ftruncate(spool->out, spool->size) == -1) {
                ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                              "ftruncate() of a segment failed");
            }

            ngx_http_klaviyo_spool_close_out(spool);
            ngx_http_klaviyo_spool_failed(spool, err, ngx_write_fd_n);

            return NGX_ERROR;
        }

        p += n;
        len -= n;
    }

    spool->state->spool_failed = 0;

    if (spool->failed) {
        spool->failed = 0;

        ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                      "klaviyo account \"%V\": the spool can be written again",
                      &spool->name);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_spool_open_out(ngx_http_klaviyo_spool_t *spool)
{
    u_char                         path[NGX_HTTP_KLAVIYO_PATH];
    u_char                         file[NGX_HTTP_KLAVIYO_SEGMENT_NAME];
    ngx_fd_t                       fd;
    ngx_uint_t                     tries;
    ngx_http_klaviyo_directory_t  *directory;

    directory = spool->directory;

    for (tries = 0; /* void */ ; tries++) {
        spool->seq = ngx_atomic_fetch_add(&spool->state->spool_seq, 1) + 1;

        (void) ngx_http_klaviyo_segment_format(file, &spool->name,
                                               directory->instance,
                                               spool->seq);

        if (ngx_http_klaviyo_directory_file(directory, file, path) == NULL) {
            ngx_http_klaviyo_spool_failed(spool, NGX_ENAMETOOLONG,
                                          ngx_open_file_n);
            return NGX_ERROR;
        }

        fd = ngx_http_klaviyo_spool_create(path);

        if (fd != NGX_INVALID_FILE) {
            break;
        }

        if (ngx_errno != NGX_EEXIST || tries == NGX_HTTP_KLAVIYO_SPOOL_TRIES) {
            ngx_http_klaviyo_spool_failed(spool, ngx_errno, ngx_open_file_n);
            return NGX_ERROR;
        }
    }

    /* the master may be root, the one who reads isn't */

    if (geteuid() == 0 && directory->user != (ngx_uid_t) NGX_CONF_UNSET_UINT
        && fchown(fd, directory->user, directory->group) == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                      "fchown(\"%s\") failed", path);
    }

    ngx_http_klaviyo_ring_set_segment(spool->ring, spool->seq);

    spool->out = fd;
    spool->size = 0;
    spool->segments++;

    return NGX_OK;
}


/*
 * Before it is locked, the reader of another generation may find it empty and
 * remove it: then it is as if the name had been taken.
 */

static ngx_fd_t
ngx_http_klaviyo_spool_create(u_char *path)
{
    ngx_fd_t  fd;

    fd = open((const char *) path,
              O_WRONLY|O_CREAT|O_EXCL|O_APPEND|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    /* where nothing can be locked, nobody reads what he can't lock */

    if ((flock(fd, LOCK_EX|LOCK_NB) == 0 || ngx_errno != NGX_EAGAIN)
        && ngx_http_klaviyo_directory_same(fd, path))
    {
        return fd;
    }

    (void) ngx_close_file(fd);

    ngx_set_errno(NGX_EEXIST);

    return NGX_INVALID_FILE;
}


static void
ngx_http_klaviyo_spool_failed(ngx_http_klaviyo_spool_t *spool, ngx_err_t err,
    char *action)
{
    if (!spool->failed) {
        ngx_log_error(NGX_LOG_CRIT, spool->log, err,
                      "klaviyo account \"%V\": the spool \"%V\" can't be "
                      "written, events stay in memory: %s failed",
                      &spool->name, &spool->directory->path, action);
    }

    spool->failed = 1;
    spool->state->spool_failed = 1;
    spool->retry = ngx_current_msec + NGX_HTTP_KLAVIYO_SPOOL_RETRY;
}


/* One of which nothing is in force is no use */

static void
ngx_http_klaviyo_spool_close_out(ngx_http_klaviyo_spool_t *spool)
{
    u_char  path[NGX_HTTP_KLAVIYO_PATH];
    u_char  file[NGX_HTTP_KLAVIYO_SEGMENT_NAME];

    if (spool->out == NGX_INVALID_FILE) {
        return;
    }

    if (ngx_http_klaviyo_ring_owned(spool->ring)) {
        ngx_http_klaviyo_ring_set_segment(spool->ring, 0);
    }

    if (spool->size == 0) {
        (void) ngx_http_klaviyo_segment_format(file, &spool->name,
                                               spool->directory->instance,
                                               spool->seq);

        if (ngx_http_klaviyo_directory_file(spool->directory, file, path)) {
            (void) ngx_delete_file(path);
        }

        spool->segments--;
    }

    (void) ngx_close_file(spool->out);

    spool->out = NGX_INVALID_FILE;
    spool->seq = 0;
}


ngx_uint_t
ngx_http_klaviyo_spool_read(ngx_http_klaviyo_spool_t *spool, ngx_uint_t n)
{
    return ngx_http_klaviyo_spool_consume(spool, n, 0);
}


ngx_int_t
ngx_http_klaviyo_spool_drop(ngx_http_klaviyo_spool_t *spool)
{
    return ngx_http_klaviyo_spool_consume(spool,
                                          NGX_HTTP_KLAVIYO_SPOOL_READ, 1)
           ? NGX_OK : NGX_DECLINED;
}


/*
 * The place in the segment moves with each line, right after the line's event
 * is in the ring or counted.
 */

static ngx_uint_t
ngx_http_klaviyo_spool_consume(ngx_http_klaviyo_spool_t *spool, ngx_uint_t n,
    ngx_uint_t drop)
{
    u_char      *p, *last, *end, *next;
    ssize_t      len;
    ngx_uint_t   lines;

    if (spool->in == NGX_INVALID_FILE
        && ngx_http_klaviyo_spool_open_in(spool) != NGX_OK)
    {
        return 0;
    }

    len = ngx_http_klaviyo_spool_fill(spool);
    if (len == NGX_ERROR) {
        return 0;
    }

    p = spool->buf;
    last = p + len;

    for (lines = 0; p < last; lines++, p = next) {

        if (lines == n) {
            return lines;
        }

        end = ngx_strlchr(p, last, LF);
        next = end ? end + 1 : last;

        if (end == NULL && (size_t) len == spool->buf_size && p > spool->buf) {
            return lines;
        }

        if (ngx_http_klaviyo_spool_line(spool, p, end ? end : last, drop)
            != NGX_OK)
        {
            return lines;
        }

        ngx_http_klaviyo_spool_reads(spool, spool->id,
                                     spool->state->spool_offset + (next - p));
    }

    if ((size_t) len < spool->buf_size) {
        ngx_http_klaviyo_spool_end(spool);
        lines++;
    }

    return lines;
}


/* Fills the buffer from the place where we are, with a whole line at least */

static ssize_t
ngx_http_klaviyo_spool_fill(ngx_http_klaviyo_spool_t *spool)
{
    size_t   size;
    ssize_t  n;

    size = spool->buf_size ? spool->buf_size : NGX_HTTP_KLAVIYO_SPOOL_READ;

    for ( ;; ) {

        if (spool->buf_size != size) {
            ngx_free(spool->buf);
            spool->buf_size = 0;

            spool->buf = ngx_alloc(size, spool->log);
            if (spool->buf == NULL) {
                return NGX_ERROR;
            }

            spool->buf_size = size;
        }

        n = pread(spool->in, spool->buf, size, spool->state->spool_offset);

        if (n == -1) {
            ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                          "pread() of segment \"%s\" failed", spool->file);

            ngx_http_klaviyo_spool_avoid(&spool->bad, spool->id);
            ngx_http_klaviyo_spool_close_in(spool);

            return NGX_ERROR;
        }

        if ((size_t) n < size || size == NGX_HTTP_KLAVIYO_LINE_MAX
            || ngx_strlchr(spool->buf, spool->buf + n, LF))
        {
            return n;
        }

        size = NGX_HTTP_KLAVIYO_LINE_MAX;
    }
}


/* NGX_DECLINED: the ring has no room */

static ngx_int_t
ngx_http_klaviyo_spool_line(ngx_http_klaviyo_spool_t *spool, u_char *p,
    u_char *last, ngx_uint_t drop)
{
    ngx_int_t                     rc;
    ngx_http_klaviyo_line_t       line;
    ngx_http_klaviyo_record_t     meta;
    ngx_http_klaviyo_control_t   *control;
    ngx_http_klaviyo_counters_t  *counters;

    if (p == last) {
        return NGX_OK;
    }

    control = spool->ring->control;

    rc = ngx_http_klaviyo_line_parse(&line, p, last - p);

    ngx_memzero(&meta, sizeof(ngx_http_klaviyo_record_t));

    if (rc == NGX_ERROR
        || ngx_memcmp(line.key,
                      ngx_http_klaviyo_control_key(control,
                                                   NGX_HTTP_KLAVIYO_OTHER),
                      NGX_HTTP_KLAVIYO_KEY_LEN)
           == 0)
    {
        meta.rule = NGX_HTTP_KLAVIYO_OTHER;

    } else {
        meta.rule = ngx_http_klaviyo_control_slot(control, line.key);
        ngx_http_klaviyo_ring_rule(spool->ring, meta.rule);
    }

    counters = ngx_http_klaviyo_control_counters(control, meta.rule);

    if (rc == NGX_OK && drop) {
        ngx_http_klaviyo_count_restored(counters, spool->counted);
        ngx_http_klaviyo_count(counters, dropped[NGX_HTTP_KLAVIYO_DROP_FULL]);
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        meta.id = line.id;
        meta.time = line.time;
        meta.backfill = line.backfill;
        meta.flags = line.aged ? NGX_HTTP_KLAVIYO_RECORD_AGED : 0;

        rc = ngx_http_klaviyo_ring_restore(spool->ring, &meta, &line.event,
                                           spool->counted);

        if (rc == NGX_OK || rc == NGX_DECLINED) {
            return rc;
        }
    }

    ngx_http_klaviyo_spool_damaged(spool, counters, p, last);

    return NGX_OK;
}


/* Set aside if there is room for it, counted anyway */

static void
ngx_http_klaviyo_spool_damaged(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_counters_t *counters, u_char *p, u_char *last)
{
    ngx_http_klaviyo_count_restored(counters, spool->counted);
    ngx_http_klaviyo_count(counters, damaged);

    spool->ndamaged++;

    ngx_http_klaviyo_spool_aside(spool, p, last);
}


void
ngx_http_klaviyo_spool_aside(ngx_http_klaviyo_spool_t *spool, u_char *p,
    u_char *last)
{
    u_char  *line;

    line = ngx_alloc(last - p + 1, spool->log);
    if (line == NULL) {
        return;
    }

    *ngx_cpymem(line, p, last - p) = LF;

    (void) ngx_http_klaviyo_journal_append(&spool->damaged, line,
                                           last - p + 1);
    ngx_free(line);
}


static ngx_int_t
ngx_http_klaviyo_spool_open_in(ngx_http_klaviyo_spool_t *spool)
{
    ngx_int_t                rc;
    ngx_uint_t               tries;
    ngx_http_klaviyo_pick_t  pick;

    /* what could not be removed at its end would be read for ever */

    if (access((const char *) spool->directory->path.data, W_OK|X_OK) == -1) {
        return NGX_DECLINED;
    }

    for (tries = 0; tries < NGX_HTTP_KLAVIYO_SPOOL_AVOID; tries++) {

        if (ngx_http_klaviyo_spool_pick(spool, spool->state->spool_reading,
                                        &pick)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }

        rc = ngx_http_klaviyo_spool_open_picked(spool, &pick);

        if (rc == NGX_OK || (rc == NGX_DECLINED && pick.read)) {
            return rc;
        }

        ngx_http_klaviyo_spool_avoid((rc == NGX_DECLINED) ? &spool->busy
                                                          : &spool->bad,
                                     pick.id);
    }

    return NGX_DECLINED;
}


/* NGX_DECLINED: somebody else uses it */

static ngx_int_t
ngx_http_klaviyo_spool_open_picked(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_pick_t *pick)
{
    u_char           path[NGX_HTTP_KLAVIYO_PATH];
    ngx_fd_t         fd;
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    if (pick->ours && spool->out != NGX_INVALID_FILE
        && pick->seq == spool->seq)
    {
        ngx_http_klaviyo_spool_close_out(spool);
    }

    if (ngx_http_klaviyo_directory_file(spool->directory, pick->file, path)
        == NULL)
    {
        return NGX_ERROR;
    }

    fd = open((const char *) path, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                          ngx_open_file_n " \"%s\" failed", path);
        }

        return NGX_ERROR;
    }

    rc = NGX_DECLINED;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        rc = NGX_ERROR;

    } else if (flock(fd, LOCK_EX|LOCK_NB) == 0
               && ngx_fd_info(fd, &fi) != NGX_FILE_ERROR && fi.st_nlink)
    {
        rc = pick->ours ? NGX_OK
                        : ngx_http_klaviyo_spool_claim(spool, pick, fd);
    }

    if (rc != NGX_OK) {
        (void) ngx_close_file(fd);
        return rc;
    }

    spool->in = fd;
    spool->counted = !pick->taken;

    ngx_http_klaviyo_spool_place(spool, pick, ngx_file_size(&fi));

    return NGX_OK;
}


/*
 * Only we know how far one is read, by its name: whoever finds it, when this
 * process is dead and the instance is not, must leave it to the next process.
 */

static ngx_int_t
ngx_http_klaviyo_spool_claim(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_pick_t *pick, ngx_fd_t fd)
{
    u_char            from[NGX_HTTP_KLAVIYO_PATH];
    u_char            to[NGX_HTTP_KLAVIYO_PATH];
    u_char            file[NGX_HTTP_KLAVIYO_SEGMENT_NAME];
    ngx_uint_t        tries;
    ngx_file_info_t   fi;

    if (ngx_http_klaviyo_directory_file(spool->directory, pick->file, from)
        == NULL)
    {
        return NGX_ERROR;
    }

    for (tries = 0; tries < NGX_HTTP_KLAVIYO_SPOOL_TRIES; tries++) {
        pick->seq = ngx_atomic_fetch_add(&spool->state->spool_seq, 1) + 1;

        (void) ngx_http_klaviyo_segment_format_taken(file, &spool->name,
                                                   spool->directory->instance,
                                                   pick->seq, pick->offset);

        if (ngx_http_klaviyo_directory_file(spool->directory, file, to)
            == NULL)
        {
            return NGX_ERROR;
        }

        if (ngx_link_info(to, &fi) == NGX_FILE_ERROR) {
            break;
        }
    }

    if (ngx_rename_file(from, to) == NGX_FILE_ERROR) {

        /* somebody was faster */

        if (ngx_errno == NGX_ENOENT) {
            return NGX_DECLINED;
        }

        ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                      ngx_rename_file_n " of segment \"%s\" failed, it is "
                      "not read", pick->file);
        return NGX_ERROR;
    }

    if (ngx_link_info(to, &fi) == NGX_FILE_ERROR
        || !ngx_http_klaviyo_directory_same(fd, to))
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(pick->file, file, ngx_strlen(file) + 1);

    pick->id = ngx_http_klaviyo_directory_id(file, ngx_file_uniq(&fi));
    pick->ours = 1;
    pick->taken = 1;

    return NGX_OK;
}


/* A name is no proof: an offset counts if a line begins there */

static void
ngx_http_klaviyo_spool_place(ngx_http_klaviyo_spool_t *spool,
    ngx_http_klaviyo_pick_t *pick, off_t size)
{
    u_char                             ch;
    off_t                              offset;
    ngx_http_klaviyo_account_state_t  *state;

    state = spool->state;

    spool->id = pick->id;
    ngx_memcpy(spool->file, pick->file, sizeof(spool->file));

    offset = pick->read ? (off_t) state->spool_offset : pick->offset;

    if (offset < 0 || offset > size
        || (offset
            && (pread(spool->in, &ch, 1, offset - 1) != 1
                || (ch != LF && offset != size))))
    {
        offset = 0;
    }

    ngx_http_klaviyo_spool_reads(spool, spool->id, offset);
}


/*
 * For all in the control zone; for those who find nothing but the ring, in the
 * ring.
 */

static void
ngx_http_klaviyo_spool_reads(ngx_http_klaviyo_spool_t *spool, uint64_t id,
    off_t offset)
{
    ngx_http_klaviyo_account_state_t  *state;

    state = spool->state;

    if (state->spool_reading != id) {
        state->spool_reading = 0;
        ngx_memory_barrier();
    }

    state->spool_offset = offset;
    ngx_memory_barrier();

    state->spool_reading = id;

    ngx_http_klaviyo_ring_reads(spool->ring, id, offset);
}


static void
ngx_http_klaviyo_spool_end(ngx_http_klaviyo_spool_t *spool)
{
    u_char           path[NGX_HTTP_KLAVIYO_PATH];
    ngx_file_info_t  fi;

    /* an operator may still be writing it */

    if (ngx_fd_info(spool->in, &fi) != NGX_FILE_ERROR
        && ngx_file_size(&fi) > (off_t) spool->state->spool_offset)
    {
        return;
    }

    if (ngx_http_klaviyo_directory_file(spool->directory, spool->file, path)
        == NULL
        || ngx_delete_file(path) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                      ngx_delete_file_n " \"%s\" failed", spool->file);

        ngx_http_klaviyo_spool_avoid(&spool->bad, spool->id);

    } else {
        spool->bytes -= ngx_min(spool->bytes,
                                (off_t) spool->state->spool_offset);
        ngx_http_klaviyo_spool_reads(spool, 0, 0);

        spool->segments -= spool->segments ? 1 : 0;

        ngx_http_klaviyo_spool_publish(spool, spool->segments
                                         ? (time_t) spool->state->spool_oldest
                                         : 0);
    }

    ngx_http_klaviyo_spool_close_in(spool);
}


static void
ngx_http_klaviyo_spool_close_in(ngx_http_klaviyo_spool_t *spool)
{
    if (spool->in == NGX_INVALID_FILE) {
        return;
    }

    if (spool->ndamaged) {
        ngx_log_error(NGX_LOG_WARN, spool->log, 0,
                      "klaviyo account \"%V\": %ui lines of segment \"%s\" "
                      "were damaged, they are in \"%V\"", &spool->name,
                      spool->ndamaged, spool->file, &spool->damaged.path);

        spool->ndamaged = 0;
    }

    (void) ngx_close_file(spool->in);
    spool->in = NGX_INVALID_FILE;

    ngx_free(spool->buf);
    spool->buf = NULL;
    spool->buf_size = 0;
}


ngx_uint_t
ngx_http_klaviyo_spool_all(ngx_http_klaviyo_spool_t *spool)
{
    ngx_int_t                      rc, slot;
    ngx_uint_t                     events;
    ngx_http_klaviyo_ring_stat_t   stat;

    ngx_http_klaviyo_ring_stat(spool->ring, &stat);

    if (stat.events == 0) {
        return 0;
    }

    events = stat.events;

    ngx_http_klaviyo_spool_scan(spool);

    /* this is the last attempt */
    spool->retry = ngx_current_msec;

    for ( ;; ) {
        slot = ngx_http_klaviyo_ring_adopt(spool->ring);

        if (slot == NGX_DECLINED) {
            slot = ngx_http_klaviyo_ring_claim(spool->ring,
                                               NGX_HTTP_KLAVIYO_SPOOL_EVENTS,
                                               NGX_HTTP_KLAVIYO_SPOOL_WRITE,
                                               NULL);
        }

        if (slot == NGX_DECLINED) {
            break;
        }

        rc = ngx_http_klaviyo_spool_write(spool, slot);

        if (rc == NGX_AGAIN) {
            rc = ngx_http_klaviyo_spool_drop(spool);
        }

        if (rc != NGX_OK) {
            break;
        }
    }

    ngx_http_klaviyo_ring_stat(spool->ring, &stat);

    ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                  "klaviyo account \"%V\": %ui events are moved to the spool",
                  &spool->name, events - ngx_min(events, stat.events));

    return stat.events;
}


void
ngx_http_klaviyo_spool_close(ngx_http_klaviyo_spool_t *spool, ngx_uint_t dead)
{
    ngx_http_klaviyo_spool_close_out(spool);
    ngx_http_klaviyo_spool_leave(spool, dead);
}


void
ngx_http_klaviyo_spool_leave(ngx_http_klaviyo_spool_t *spool, ngx_uint_t dead)
{
    uint64_t  id;

    id = spool->state->spool_reading;

    if (id
        && (dead || (spool->in != NGX_INVALID_FILE && id == spool->id))
        && ngx_http_klaviyo_spool_keep(spool, id, spool->state->spool_offset)
           == NGX_OK)
    {
        ngx_http_klaviyo_spool_reads(spool, 0, 0);
    }

    ngx_http_klaviyo_spool_close_in(spool);
}


/* The place in the segment, into its name: what follows has another memory */

static ngx_int_t
ngx_http_klaviyo_spool_keep(ngx_http_klaviyo_spool_t *spool, uint64_t id,
    off_t offset)
{
    u_char                   from[NGX_HTTP_KLAVIYO_PATH];
    u_char                   to[NGX_HTTP_KLAVIYO_PATH];
    u_char                   file[2 * NAME_MAX];
    ngx_http_klaviyo_pick_t  pick;

    spool->busy.n = 0;
    spool->bad.n = 0;

    if (ngx_http_klaviyo_spool_pick(spool, id, &pick) != NGX_OK || !pick.read) {
        return NGX_DECLINED;
    }

    ngx_sprintf(file, "%*s@%O" NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX "%Z",
                pick.len, pick.file, offset);

    if (ngx_http_klaviyo_directory_file(spool->directory, pick.file, from)
        == NULL
        || ngx_http_klaviyo_directory_file(spool->directory, file, to) == NULL
        || ngx_rename_file(from, to) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_WARN, spool->log, ngx_errno,
                      ngx_rename_file_n " of segment \"%s\" failed, it will "
                      "be read from its beginning", pick.file);
        return NGX_ERROR;
    }

    return NGX_OK;
}
