
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What an instance that was killed has left in the memory of a ring.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <sys/file.h>
#include "ngx_http_klaviyo_rescue.h"


#define NGX_HTTP_KLAVIYO_RESCUE_SUFFIX   ".damaged"


static void ngx_http_klaviyo_rescue_found(void *data,
    ngx_http_klaviyo_found_t *found);
static ngx_int_t ngx_http_klaviyo_rescue_open(
    ngx_http_klaviyo_rescue_t *rescue, ngx_http_klaviyo_found_t *found);
static ngx_int_t ngx_http_klaviyo_rescue_begin(
    ngx_http_klaviyo_rescue_t *rescue, uint64_t instance);
static ngx_int_t ngx_http_klaviyo_rescue_event(
    ngx_http_klaviyo_rescue_t *rescue, ngx_int_t rc);
static void ngx_http_klaviyo_rescue_damaged(ngx_http_klaviyo_rescue_t *rescue,
    ngx_int_t rc);
static void ngx_http_klaviyo_rescue_end(ngx_http_klaviyo_rescue_t *rescue);
static void ngx_http_klaviyo_rescue_set_aside(
    ngx_http_klaviyo_rescue_t *rescue, char *fault);


void
ngx_http_klaviyo_rescue_init(ngx_http_klaviyo_rescue_t *rescue,
    ngx_http_klaviyo_spool_t *spool)
{
    rescue->spool = spool;
    rescue->fd = NGX_INVALID_FILE;
}


ngx_uint_t
ngx_http_klaviyo_rescue_scan(ngx_http_klaviyo_rescue_t *rescue)
{
    if (rescue->addr == NULL) {
        ngx_http_klaviyo_ring_file_walk(rescue->spool->directory, rescue->last,
                                        ngx_http_klaviyo_rescue_found, rescue);
    }

    return rescue->addr != NULL;
}


static void
ngx_http_klaviyo_rescue_found(void *data, ngx_http_klaviyo_found_t *found)
{
    ngx_http_klaviyo_rescue_t *rescue = data;

    ngx_uint_t                 i;
    ngx_http_klaviyo_avoid_t  *bad;
    ngx_http_klaviyo_spool_t  *spool;

    spool = rescue->spool;
    bad = &rescue->bad;

    if (rescue->addr
        || found->name.account.len != spool->name.len
        || ngx_memcmp(found->name.account.data, spool->name.data,
                      spool->name.len)
           != 0
        || bad->n == NGX_HTTP_KLAVIYO_SPOOL_AVOID)
    {
        return;
    }

    /* the ring itself, which could not be emptied */

    if (found->name.instance == spool->directory->instance
        && found->name.seq == spool->ring->sh->file)
    {
        return;
    }

    for (i = 0; i < bad->n; i++) {
        if (bad->ids[i] == found->id) {
            return;
        }
    }

    if (ngx_http_klaviyo_rescue_open(rescue, found) == NGX_DECLINED) {
        bad->ids[bad->n++] = found->id;
    }
}


/* NGX_DECLINED: it won't be readable; NGX_AGAIN: somebody else reads it */

static ngx_int_t
ngx_http_klaviyo_rescue_open(ngx_http_klaviyo_rescue_t *rescue,
    ngx_http_klaviyo_found_t *found)
{
    u_char           *addr, path[NGX_HTTP_KLAVIYO_PATH];
    ngx_fd_t          fd;
    ngx_int_t         rc;
    ngx_file_info_t   fi;

    if (ngx_http_klaviyo_ring_file_path(rescue->spool->directory, found->file,
                                        path)
        == NULL)
    {
        return NGX_DECLINED;
    }

    fd = open((const char *) path, O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_CRIT, rescue->spool->log, ngx_errno,
                      ngx_open_file_n " \"%s\" failed", path);
        return NGX_DECLINED;
    }

    rc = NGX_AGAIN;
    addr = MAP_FAILED;

    if (flock(fd, LOCK_EX|LOCK_NB) == 0
        && ngx_fd_info(fd, &fi) != NGX_FILE_ERROR && fi.st_nlink)
    {
        rc = NGX_DECLINED;

        if (ngx_file_size(&fi) == 0) {
            (void) ngx_delete_file(path);

        } else if (ngx_is_file(&fi)) {
            addr = mmap(NULL, ngx_file_size(&fi), PROT_READ|PROT_WRITE,
                        MAP_SHARED, fd, 0);
        }
    }

    if (addr == MAP_FAILED) {
        (void) ngx_close_file(fd);
        return rc;
    }

    rescue->id = found->id;
    rescue->fd = fd;
    rescue->addr = addr;
    rescue->size = ngx_file_size(&fi);
    ngx_memcpy(rescue->file, found->file, ngx_strlen(found->file) + 1);

    return ngx_http_klaviyo_rescue_begin(rescue, found->name.instance);
}


static ngx_int_t
ngx_http_klaviyo_rescue_begin(ngx_http_klaviyo_rescue_t *rescue,
    uint64_t instance)
{
    ngx_int_t                   rc;
    ngx_http_klaviyo_legacy_t   legacy;

    rescue->restored = 0;
    rescue->damaged = 0;
    rescue->lost = 0;
    rescue->waits = 0;

    rc = ngx_http_klaviyo_image_open(&rescue->image, rescue->addr,
                                     rescue->size);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DONE:
        ngx_http_klaviyo_rescue_end(rescue);
        return NGX_OK;

    case NGX_DECLINED:
        ngx_log_error(NGX_LOG_WARN, rescue->spool->log, 0,
                      "klaviyo account \"%V\": \"%V/%s\" is of another version "
                      "of the module, its events are kept there",
                      &rescue->spool->name,
                      &rescue->spool->directory->rings, rescue->file);

        ngx_http_klaviyo_rescue_close(rescue);
        return NGX_DECLINED;

    default: /* NGX_ERROR */
        ngx_http_klaviyo_rescue_set_aside(rescue, "can't be read");
        ngx_http_klaviyo_rescue_close(rescue);
        return NGX_DECLINED;
    }

    legacy.instance = instance;
    legacy.segment = rescue->image.segment;
    legacy.segment_size = rescue->image.segment_size;
    legacy.reading = rescue->image.sh->reading;
    legacy.place = rescue->image.sh->place;

    ngx_http_klaviyo_spool_inherit(rescue->spool, &legacy);

    return NGX_OK;
}


ngx_uint_t
ngx_http_klaviyo_rescue_read(ngx_http_klaviyo_rescue_t *rescue, ngx_uint_t n)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < n && rescue->addr; i++) {

        rc = NGX_OK;

        if (!rescue->waits) {
            rc = ngx_http_klaviyo_image_next(&rescue->image, &rescue->event);
        }

        if (rc == NGX_DONE) {
            ngx_http_klaviyo_rescue_end(rescue);
            return i + 1;
        }

        rc = ngx_http_klaviyo_rescue_event(rescue, rc);

        rescue->waits = (rc == NGX_DECLINED);

        if (rescue->waits) {
            return i;
        }
    }

    return i;
}


/*
 * Taken right after it is in the ring, or counted: one who is killed between
 * has it in both.  NGX_DECLINED: the ring has no room.
 */

static ngx_int_t
ngx_http_klaviyo_rescue_event(ngx_http_klaviyo_rescue_t *rescue, ngx_int_t rc)
{
    ngx_http_klaviyo_ring_t         *ring;
    ngx_http_klaviyo_image_event_t  *event;

    ring = rescue->spool->ring;
    event = &rescue->event;

    event->meta.rule = NGX_HTTP_KLAVIYO_OTHER;

    if (event->key) {
        event->meta.rule = ngx_http_klaviyo_control_slot(ring->control,
                                                         event->key);
        ngx_http_klaviyo_ring_rule(ring, event->meta.rule);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_klaviyo_ring_restore(ring, &event->meta, &event->json,
                                           0);
        if (rc == NGX_DECLINED) {
            return NGX_DECLINED;
        }
    }

    if (rc == NGX_OK) {
        rescue->restored++;

    } else {
        ngx_http_klaviyo_rescue_damaged(rescue, rc);
    }

    if (rc != NGX_ERROR) {
        ngx_http_klaviyo_image_take(event);
    }

    return NGX_OK;
}


/* NGX_ERROR: more than one event, maybe, which stay where they are */

static void
ngx_http_klaviyo_rescue_damaged(ngx_http_klaviyo_rescue_t *rescue,
    ngx_int_t rc)
{
    ngx_str_t                    *json;
    ngx_http_klaviyo_counters_t  *counters;

    json = &rescue->event.json;

    counters = ngx_http_klaviyo_control_counters(rescue->spool->ring->control,
                                                 rescue->event.meta.rule);

    ngx_http_klaviyo_count(counters, restored);
    ngx_http_klaviyo_count(counters, damaged);

    rescue->damaged++;

    if (rc == NGX_ERROR) {
        rescue->lost += json->len;

    } else {
        ngx_http_klaviyo_spool_aside(rescue->spool, json->data,
                                     json->data + json->len);
    }
}


static void
ngx_http_klaviyo_rescue_end(ngx_http_klaviyo_rescue_t *rescue)
{
    u_char                     path[NGX_HTTP_KLAVIYO_PATH];
    ngx_http_klaviyo_spool_t  *spool;

    spool = rescue->spool;

    if (rescue->restored) {
        ngx_log_error(NGX_LOG_NOTICE, spool->log, 0,
                      "klaviyo account \"%V\": %ui events of a run that was "
                      "killed are restored", &spool->name, rescue->restored);
    }

    if (rescue->damaged) {
        ngx_log_error(NGX_LOG_WARN, spool->log, 0,
                      "klaviyo account \"%V\": %ui events of a run that was "
                      "killed were damaged, they are in \"%V\"",
                      &spool->name, rescue->damaged, &spool->damaged.path);
    }

    if (rescue->lost) {
        ngx_http_klaviyo_rescue_set_aside(rescue, "can't be read in part");

    } else if (ngx_http_klaviyo_ring_file_path(spool->directory, rescue->file,
                                               path)
               && ngx_delete_file(path) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_CRIT, spool->log, ngx_errno,
                      ngx_delete_file_n " \"%s\" failed", path);

        if (rescue->bad.n < NGX_HTTP_KLAVIYO_SPOOL_AVOID) {
            rescue->bad.ids[rescue->bad.n++] = rescue->id;
        }
    }

    ngx_http_klaviyo_rescue_close(rescue);
}


/* under a name that nobody looks for */

static void
ngx_http_klaviyo_rescue_set_aside(ngx_http_klaviyo_rescue_t *rescue,
    char *fault)
{
    u_char                        from[NGX_HTTP_KLAVIYO_PATH];
    u_char                        to[NGX_HTTP_KLAVIYO_PATH];
    u_char                        file[2 * NAME_MAX];
    ngx_http_klaviyo_directory_t  *directory;

    directory = rescue->spool->directory;

    ngx_sprintf(file, "%s" NGX_HTTP_KLAVIYO_RESCUE_SUFFIX "%Z", rescue->file);

    if (ngx_http_klaviyo_ring_file_path(directory, rescue->file, from) == NULL
        || ngx_http_klaviyo_ring_file_path(directory, file, to) == NULL
        || ngx_rename_file(from, to) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_CRIT, rescue->spool->log, ngx_errno,
                      ngx_rename_file_n " \"%s\" failed", from);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, rescue->spool->log, 0,
                  "klaviyo account \"%V\": the queue of a run that was killed "
                  "%s, it is kept as \"%s\"", &rescue->spool->name, fault, to);
}


void
ngx_http_klaviyo_rescue_close(ngx_http_klaviyo_rescue_t *rescue)
{
    if (rescue->addr == NULL) {
        return;
    }

    (void) munmap(rescue->addr, rescue->size);
    (void) ngx_close_file(rescue->fd);

    rescue->addr = NULL;
    rescue->fd = NGX_INVALID_FILE;
    rescue->waits = 0;
}
