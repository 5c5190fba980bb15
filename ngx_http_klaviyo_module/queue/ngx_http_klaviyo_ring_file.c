
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of the rings as files of a tmpfs.
 *
 * Shared memory without a name is a file of a tmpfs, too, but one that nobody
 * can open: page faults and stores cost the same there.  A file of a disk is
 * another matter: a store waits while the kernel writes its page.  So that is
 * refused.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring_file.h"
#include "ngx_http_klaviyo_ring_layout.h"

#if (NGX_LINUX)
#include <sys/statfs.h>
#include <linux/magic.h>
#endif


#define NGX_HTTP_KLAVIYO_RING_FILE_SUFFIX  ".ring"

/* no more files are looked at */
#define NGX_HTTP_KLAVIYO_RING_FILE_MAX     4096


static ngx_uint_t ngx_http_klaviyo_ring_file_tmpfs(u_char *path);
static u_char *ngx_http_klaviyo_ring_file_name(ngx_str_t *directory,
    uint64_t instance, ngx_http_klaviyo_ring_t *ring, ngx_str_t *account,
    u_char *buf);
static ngx_int_t ngx_http_klaviyo_ring_file_map(
    ngx_http_klaviyo_directory_t *directory, ngx_http_klaviyo_ring_t *ring,
    u_char *path);
static ngx_int_t ngx_http_klaviyo_ring_file_move(
    ngx_http_klaviyo_directory_t *directory, ngx_str_t *old,
    ngx_http_klaviyo_ring_t *ring, ngx_str_t *account);
static ngx_fd_t ngx_http_klaviyo_ring_file_create(
    ngx_http_klaviyo_directory_t *directory, u_char *path, size_t size);
static ngx_int_t ngx_http_klaviyo_ring_file_copy(ngx_fd_t fd, u_char *p,
    size_t len);
static ngx_int_t ngx_http_klaviyo_ring_file_parse(
    ngx_http_klaviyo_segment_name_t *name, u_char *p, size_t len);


/*
 * The name is of the spool's directory: two nginx may have accounts alike.  Its
 * path is part of it, since a file system that is made anew has the numbers of
 * the one before.
 */

ngx_int_t
ngx_http_klaviyo_ring_file_make(ngx_http_klaviyo_directory_t *directory,
    ngx_str_t *base, ngx_pool_t *pool)
{
    u_char           *path;
    char             *fault;
    ngx_uid_t         user;
    ngx_file_info_t   spool, fi;

    ngx_str_null(&directory->rings);

    path = ngx_pnalloc(pool, base->len + sizeof("/klaviyo---")
                             + NGX_INT64_LEN * 3);
    if (path == NULL) {
        return NGX_ERROR;
    }

    fault = "no access to the directory of \"klaviyo_spool\"";

    if (ngx_file_info(directory->path.data, &spool) == NGX_FILE_ERROR) {
        goto failed;
    }

    directory->rings.data = path;
    directory->rings.len = ngx_sprintf(path, "%V/klaviyo-%xL-%uL-%08xD%Z",
                                       base, (uint64_t) spool.st_dev,
                                       (uint64_t) ngx_file_uniq(&spool),
                                       ngx_crc32_long(directory->path.data,
                                                      directory->path.len))
                           - path - 1;

    user = (directory->user == (ngx_uid_t) NGX_CONF_UNSET_UINT)
           ? geteuid() : directory->user;

    fault = "it can't be created";

    if (ngx_create_dir(path, 0700) == NGX_FILE_ERROR) {
        if (ngx_errno != NGX_EEXIST) {
            goto failed;
        }

    } else if (geteuid() == 0
               && chown((const char *) path, user, directory->group) == -1)
    {
        goto failed;
    }

    if (ngx_link_info(path, &fi) == NGX_FILE_ERROR) {
        goto failed;
    }

    ngx_set_errno(0);

    fault = "it is no directory of nginx's user alone";

    if (!ngx_is_dir(&fi) || fi.st_uid != user || (fi.st_mode & 077)) {
        goto failed;
    }

    fault = "it is not on a tmpfs";

    if (!ngx_http_klaviyo_ring_file_tmpfs(path)) {
        (void) ngx_delete_dir(path);
        ngx_set_errno(0);
        goto failed;
    }

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_NOTICE, directory->log, ngx_errno,
                  "what is queued will not outlive a kill of all processes, "
                  "\"%V\" can't be used: %s",
                  directory->rings.len ? &directory->rings : base, fault);

    ngx_str_null(&directory->rings);

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_klaviyo_ring_file_tmpfs(u_char *path)
{
#if (NGX_LINUX)

    struct statfs  fs;

    return statfs((const char *) path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;

#else

    return 0;

#endif
}


u_char *
ngx_http_klaviyo_ring_file_path(ngx_http_klaviyo_directory_t *directory,
    u_char *file, u_char *buf)
{
    ngx_str_t  *rings;

    rings = &directory->rings;

    if (rings->len == 0
        || rings->len + 1 + ngx_strlen(file) >= NGX_HTTP_KLAVIYO_PATH)
    {
        return NULL;
    }

    ngx_sprintf(buf, "%V/%s%Z", rings, file);

    return buf;
}


static u_char *
ngx_http_klaviyo_ring_file_name(ngx_str_t *directory, uint64_t instance,
    ngx_http_klaviyo_ring_t *ring, ngx_str_t *account, u_char *buf)
{
    u_char  *p, *last;

    last = buf + NGX_HTTP_KLAVIYO_PATH;

    p = ngx_slprintf(buf, last, "%V/%V.%016xL-%08uL"
                     NGX_HTTP_KLAVIYO_RING_FILE_SUFFIX "%Z",
                     directory, account, instance, ring->sh->file);

    return (directory->len && p < last) ? buf : NULL;
}


ngx_int_t
ngx_http_klaviyo_ring_file_keep(ngx_http_klaviyo_directory_t *directory,
    ngx_str_t *old, ngx_http_klaviyo_ring_t *ring, ngx_str_t *account)
{
    ngx_int_t                    rc;
    ngx_uint_t                   fresh;
    ngx_http_klaviyo_ring_sh_t  *sh;
    u_char                       path[NGX_HTTP_KLAVIYO_PATH];

    sh = ring->sh;

    fresh = (sh->generation == 0);
    sh->generation = ring->control->generation;

    if (sh->file) {
        return ngx_http_klaviyo_ring_file_move(directory, old, ring, account);
    }

    /* what other processes have already stays where it is */

    if (!fresh) {
        return NGX_OK;
    }

    sh->file = sh->generation;

    rc = NGX_DECLINED;

    if (ngx_http_klaviyo_ring_file_name(&directory->rings,
                                        directory->instance, ring, account,
                                        path))
    {
        rc = ngx_http_klaviyo_ring_file_map(directory, ring, path);
    }

    if (rc == NGX_DECLINED) {
        sh->file = 0;
        rc = NGX_OK;
    }

    return rc;
}


/* A ring that nobody has used yet ends with its header */

static ngx_int_t
ngx_http_klaviyo_ring_file_map(ngx_http_klaviyo_directory_t *directory,
    ngx_http_klaviyo_ring_t *ring, u_char *path)
{
    u_char     *addr;
    size_t      size;
    ngx_fd_t    fd;
    ngx_int_t   rc;

    addr = ring->zone->shm.addr;
    size = ngx_align(ring->zone->shm.size, ngx_pagesize);

    fd = ngx_http_klaviyo_ring_file_create(directory, path, size);

    if (fd == NGX_INVALID_FILE) {
        return NGX_DECLINED;
    }

    rc = NGX_OK;

    if (ngx_http_klaviyo_ring_file_copy(fd, addr,
                                        ngx_http_klaviyo_ring_data(ring->sh)
                                        - addr)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_NOTICE, directory->log, ngx_errno,
                      ngx_write_fd_n " to \"%s\" failed", path);
        rc = NGX_DECLINED;

    } else if (mmap(addr, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_FIXED,
                    fd, 0)
               == MAP_FAILED)
    {
        ngx_log_error(NGX_LOG_EMERG, directory->log, ngx_errno,
                      "mmap(\"%s\") failed", path);
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        (void) ngx_delete_file(path);
    }

    (void) ngx_close_file(fd);

    return rc;
}


/* A reload may have changed the directory; without a name it is memory still */

static ngx_int_t
ngx_http_klaviyo_ring_file_move(ngx_http_klaviyo_directory_t *directory,
    ngx_str_t *old, ngx_http_klaviyo_ring_t *ring, ngx_str_t *account)
{
    u_char  from[NGX_HTTP_KLAVIYO_PATH], to[NGX_HTTP_KLAVIYO_PATH];

    if (old->len == directory->rings.len
        && ngx_memcmp(old->data, directory->rings.data, old->len) == 0)
    {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_ring_file_name(old, directory->instance, ring,
                                        account, from)
        == NULL)
    {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_ring_file_name(&directory->rings,
                                        directory->instance, ring, account,
                                        to)
        && ngx_rename_file(from, to) != NGX_FILE_ERROR)
    {
        return NGX_OK;
    }

    if (directory->rings.len) {
        ngx_log_error(NGX_LOG_NOTICE, directory->log, ngx_errno,
                      "the queue of klaviyo account \"%V\" can't be moved to "
                      "\"%V\", it will not outlive a kill of all processes",
                      account, &directory->rings);
    }

    (void) ngx_delete_file(from);

    ring->sh->file = 0;

    return NGX_OK;
}


/* All of it is taken now: a store where no page can be had is a SIGBUS */

static ngx_fd_t
ngx_http_klaviyo_ring_file_create(ngx_http_klaviyo_directory_t *directory,
    u_char *path, size_t size)
{
    ngx_fd_t   fd;
    ngx_err_t  err;

    fd = open((const char *) path, O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC,
              0600);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;

    } else {

        do {
            err = posix_fallocate(fd, 0, size);
        } while (err == NGX_EINTR);

        if (err == 0 && geteuid() == 0
            && directory->user != (ngx_uid_t) NGX_CONF_UNSET_UINT
            && fchown(fd, directory->user, directory->group) == -1)
        {
            err = ngx_errno;
        }

        if (err == 0) {
            return fd;
        }

        (void) ngx_delete_file(path);
        (void) ngx_close_file(fd);
    }

    ngx_log_error(NGX_LOG_NOTICE, directory->log, err,
                  "a queue will not outlive a kill of all processes, "
                  "%uz bytes in \"%s\" can't be had", size, path);

    return NGX_INVALID_FILE;
}


static ngx_int_t
ngx_http_klaviyo_ring_file_copy(ngx_fd_t fd, u_char *p, size_t len)
{
    off_t    offset;
    ssize_t  n;

    for (offset = 0; len; offset += n, p += n, len -= n) {

        n = pwrite(fd, p, len, offset);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
        }

        if (n == -1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_klaviyo_ring_file_forget(ngx_http_klaviyo_directory_t *directory,
    ngx_http_klaviyo_ring_t *ring, ngx_str_t *account)
{
    u_char  path[NGX_HTTP_KLAVIYO_PATH];

    if (ring->sh->file == 0
        || ngx_http_klaviyo_ring_file_name(&directory->rings,
                                           directory->instance, ring,
                                           account, path)
           == NULL)
    {
        return;
    }

    ring->sh->file = 0;

    if (ngx_delete_file(path) == NGX_FILE_ERROR && ngx_errno != NGX_ENOENT) {
        ngx_log_error(NGX_LOG_CRIT, directory->log, ngx_errno,
                      ngx_delete_file_n " \"%s\" failed", path);
    }
}


void
ngx_http_klaviyo_ring_file_walk(ngx_http_klaviyo_directory_t *directory,
    ngx_uint_t own, ngx_http_klaviyo_found_pt handler, void *data)
{
    DIR                       *dir;
    size_t                     len;
    ngx_uint_t                 n;
    struct stat                st;
    struct dirent             *de;
    ngx_http_klaviyo_found_t   found;

    if (directory->rings.len == 0) {
        return;
    }

    dir = opendir((const char *) directory->rings.data);
    if (dir == NULL) {
        return;
    }

    for (n = 0; n < NGX_HTTP_KLAVIYO_RING_FILE_MAX; n++) {
        de = readdir(dir);
        if (de == NULL) {
            break;
        }

        found.file = (u_char *) de->d_name;
        len = ngx_strlen(found.file);

        if (ngx_http_klaviyo_ring_file_parse(&found.name, found.file, len)
            != NGX_OK
            || fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1
            || !S_ISREG(st.st_mode)
            || (found.name.instance == directory->instance
                ? !own
                : ngx_http_klaviyo_directory_lives(directory,
                                                   found.name.instance)))
        {
            continue;
        }

        found.id = st.st_ino;
        found.size = st.st_size;
        found.mtime = st.st_mtime;

        handler(data, &found);
    }

    (void) closedir(dir);
}


/* made as a segment's name is */

static ngx_int_t
ngx_http_klaviyo_ring_file_parse(ngx_http_klaviyo_segment_name_t *name,
    u_char *p, size_t len)
{
    u_char  buf[NAME_MAX + sizeof(NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX)];
    size_t  suffix;

    suffix = sizeof(NGX_HTTP_KLAVIYO_RING_FILE_SUFFIX) - 1;

    if (len <= suffix || len > NAME_MAX
        || ngx_strcmp(p + len - suffix, NGX_HTTP_KLAVIYO_RING_FILE_SUFFIX) != 0)
    {
        return NGX_DECLINED;
    }

    (void) ngx_sprintf(buf, "%*s" NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX "%Z",
                       len - suffix, p);

    if (ngx_http_klaviyo_segment_parse(name, buf, ngx_strlen(buf)) != NGX_OK
        || name->instance == 0 || name->len + suffix != len)
    {
        return NGX_DECLINED;
    }

    name->account.data = p;

    return NGX_OK;
}
