
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The directory of the spool.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <sys/file.h>
#include "ngx_http_klaviyo_directory.h"


#define NGX_HTTP_KLAVIYO_LOCK_SUFFIX     ".lock"

/* 16 digits, suffix and NUL */
#define NGX_HTTP_KLAVIYO_LOCK_NAME       32

#define NGX_HTTP_KLAVIYO_LOCK_TRIES      8

/* no more files are looked at: what is beyond is found when these are gone */
#define NGX_HTTP_KLAVIYO_DIRECTORY_MAX   65536


/* the instances that were asked for on one walk; more are asked twice */
#define NGX_HTTP_KLAVIYO_KNOWN           16

typedef struct {
    uint64_t                             instances[NGX_HTTP_KLAVIYO_KNOWN];
    ngx_uint_t                           alive[NGX_HTTP_KLAVIYO_KNOWN];
    ngx_uint_t                           n;
} ngx_http_klaviyo_known_t;


static u_char *ngx_http_klaviyo_directory_lock_of(
    ngx_http_klaviyo_directory_t *directory, uint64_t instance, u_char *path);
static ngx_fd_t ngx_http_klaviyo_directory_try(
    ngx_http_klaviyo_directory_t *directory, u_char *path);
static ngx_int_t ngx_http_klaviyo_directory_entry(
    ngx_http_klaviyo_directory_t *directory, ngx_str_t *account,
    ngx_http_klaviyo_known_t *known, int fd, ngx_http_klaviyo_found_t *found);
static ngx_uint_t ngx_http_klaviyo_directory_is_lock(u_char *p, size_t len,
    uint64_t *instance);
static ngx_uint_t ngx_http_klaviyo_directory_alive(
    ngx_http_klaviyo_directory_t *directory, ngx_http_klaviyo_known_t *known,
    uint64_t instance);


/*
 * The lock, as this process has it: fork() copies the number with what is open
 * under it.  In shared memory it would be a number of whoever wrote it last.
 */
static ngx_fd_t  ngx_http_klaviyo_directory_fd = NGX_INVALID_FILE;


void
ngx_http_klaviyo_directory_make(ngx_http_klaviyo_directory_t *directory)
{
    u_char           *path;
    ngx_uid_t         user;
    ngx_file_info_t   fi;

    path = directory->path.data;
    user = directory->user;

    if (ngx_create_dir(path, 0700) == NGX_FILE_ERROR
        && ngx_errno != NGX_EEXIST)
    {
        goto failed;
    }

    if (ngx_file_info(path, &fi) == NGX_FILE_ERROR) {
        goto failed;
    }

    if (!ngx_is_dir(&fi)) {
        ngx_set_errno(NGX_ENOTDIR);
        goto failed;
    }

    if (user != (ngx_uid_t) NGX_CONF_UNSET_UINT && fi.st_uid != user
        && chown((const char *) path, user, -1) == -1)
    {
        goto failed;
    }

    return;

failed:

    ngx_log_error(NGX_LOG_WARN, directory->log, ngx_errno,
                  "the directory of \"klaviyo_spool\" can't be used, "
                  "what can't be delivered is kept in memory only: \"%V\"",
                  &directory->path);
}


u_char *
ngx_http_klaviyo_directory_file(ngx_http_klaviyo_directory_t *directory,
    u_char *file, u_char *buf)
{
    if (directory->path.len + 1 + ngx_strlen(file) >= NGX_HTTP_KLAVIYO_PATH) {
        return NULL;
    }

    ngx_sprintf(buf, "%V/%s%Z", &directory->path, file);

    return buf;
}


u_char *
ngx_http_klaviyo_directory_lock_file(ngx_http_klaviyo_directory_t *directory,
    u_char *buf)
{
    return ngx_http_klaviyo_directory_lock_of(directory, directory->instance,
                                              buf);
}


static u_char *
ngx_http_klaviyo_directory_lock_of(ngx_http_klaviyo_directory_t *directory,
    uint64_t instance, u_char *path)
{
    u_char  name[NGX_HTTP_KLAVIYO_LOCK_NAME];

    ngx_sprintf(name, "%016xL" NGX_HTTP_KLAVIYO_LOCK_SUFFIX "%Z", instance);

    return ngx_http_klaviyo_directory_file(directory, name, path);
}


/*
 * The lock belongs to what open() made, and all processes that are started
 * later have that.  Without it others read our segments as a dead one's.
 */

ngx_int_t
ngx_http_klaviyo_directory_lock(ngx_http_klaviyo_directory_t *directory)
{
    u_char      path[NGX_HTTP_KLAVIYO_PATH];
    ngx_fd_t    fd;
    ngx_int_t   rc;
    ngx_uint_t  tries;

    if (ngx_http_klaviyo_directory_lock_file(directory, path) == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_klaviyo_directory_fd != NGX_INVALID_FILE
        && ngx_http_klaviyo_directory_same(ngx_http_klaviyo_directory_fd, path))
    {
        return NGX_OK;
    }

    rc = NGX_ERROR;

    /* one who finds the file before it is locked takes it for a dead one's */

    for (tries = 0; tries < NGX_HTTP_KLAVIYO_LOCK_TRIES; tries++) {

        fd = ngx_http_klaviyo_directory_try(directory, path);
        if (fd == NGX_INVALID_FILE) {
            rc = (ngx_errno == NGX_EAGAIN) ? NGX_AGAIN : NGX_ERROR;
            continue;
        }

        /* of another directory; processes that use it have it still */

        ngx_http_klaviyo_directory_release();

        ngx_http_klaviyo_directory_fd = fd;

        return NGX_OK;
    }

    return rc;
}


void
ngx_http_klaviyo_directory_release(void)
{
    if (ngx_http_klaviyo_directory_fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(ngx_http_klaviyo_directory_fd);
        ngx_http_klaviyo_directory_fd = NGX_INVALID_FILE;
    }
}


static ngx_fd_t
ngx_http_klaviyo_directory_try(ngx_http_klaviyo_directory_t *directory,
    u_char *path)
{
    ngx_fd_t  fd;

    fd = open((const char *) path,
              O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (fd == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    /* so that a process of another instance may ask */

    if (directory->user != (ngx_uid_t) NGX_CONF_UNSET_UINT
        && fchown(fd, directory->user, directory->group) == -1)
    {
        ngx_log_error(NGX_LOG_WARN, directory->log, ngx_errno,
                      "fchown(\"%s\") failed", path);
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == 0
        && ngx_http_klaviyo_directory_same(fd, path))
    {
        return fd;
    }

    (void) ngx_close_file(fd);

    return NGX_INVALID_FILE;
}


ngx_uint_t
ngx_http_klaviyo_directory_same(ngx_fd_t fd, u_char *path)
{
    ngx_file_info_t  open, named;

    return ngx_fd_info(fd, &open) != NGX_FILE_ERROR
           && ngx_link_info(path, &named) != NGX_FILE_ERROR
           && ngx_is_file(&open)
           && open.st_dev == named.st_dev
           && ngx_file_uniq(&open) == ngx_file_uniq(&named);
}


uint64_t
ngx_http_klaviyo_directory_id(u_char *file, ngx_file_uniq_t uniq)
{
    return (uint64_t) ngx_crc32_long(file, ngx_strlen(file)) << 32
           | (uint32_t) uniq;
}


void
ngx_http_klaviyo_directory_unlock(ngx_http_klaviyo_directory_t *directory)
{
    u_char  path[NGX_HTTP_KLAVIYO_PATH];

    if (ngx_http_klaviyo_directory_lock_file(directory, path)) {
        (void) ngx_delete_file(path);
    }
}


ngx_int_t
ngx_http_klaviyo_directory_walk(ngx_http_klaviyo_directory_t *directory,
    ngx_str_t *account, ngx_http_klaviyo_found_pt handler, void *data)
{
    DIR                       *dir;
    ngx_uint_t                 n;
    struct dirent             *de;
    ngx_http_klaviyo_found_t   found;
    ngx_http_klaviyo_known_t   known;

    known.n = 0;

    dir = opendir((const char *) directory->path.data);
    if (dir == NULL) {
        return NGX_ERROR;
    }

    for (n = 0; n < NGX_HTTP_KLAVIYO_DIRECTORY_MAX; n++) {
        de = readdir(dir);
        if (de == NULL) {
            break;
        }

        found.file = (u_char *) de->d_name;

        if (ngx_http_klaviyo_directory_entry(directory, account, &known,
                                             dirfd(dir), &found)
            == NGX_OK)
        {
            handler(data, &found);
        }
    }

    (void) closedir(dir);

    return NGX_OK;
}


void
ngx_http_klaviyo_directory_names(ngx_str_t *path,
    ngx_http_klaviyo_name_pt handler, void *data)
{
    DIR                              *dir;
    u_char                           *file;
    ngx_uint_t                        n;
    struct dirent                    *de;
    ngx_http_klaviyo_segment_name_t   name;

    dir = opendir((const char *) path->data);
    if (dir == NULL) {
        return;
    }

    for (n = 0; n < NGX_HTTP_KLAVIYO_DIRECTORY_MAX; n++) {
        de = readdir(dir);
        if (de == NULL) {
            break;
        }

        file = (u_char *) de->d_name;

        if (ngx_http_klaviyo_segment_parse(&name, file, ngx_strlen(file))
            == NGX_OK)
        {
            handler(data, &name);
        }
    }

    (void) closedir(dir);
}


/* By its name first: there may be thousands of others' */

static ngx_int_t
ngx_http_klaviyo_directory_entry(ngx_http_klaviyo_directory_t *directory,
    ngx_str_t *account, ngx_http_klaviyo_known_t *known, int fd,
    ngx_http_klaviyo_found_t *found)
{
    size_t       len;
    uint64_t     instance;
    struct stat  st;

    len = ngx_strlen(found->file);

    if (ngx_http_klaviyo_directory_is_lock(found->file, len, &instance)) {
        (void) ngx_http_klaviyo_directory_alive(directory, known, instance);
        return NGX_DECLINED;
    }

    if (ngx_http_klaviyo_segment_parse(&found->name, found->file, len)
        != NGX_OK
        || (account
            && (found->name.account.len != account->len
                || ngx_memcmp(found->name.account.data, account->data,
                              account->len)
                   != 0))
        || fstatat(fd, (char *) found->file, &st, AT_SYMLINK_NOFOLLOW) == -1
        || !S_ISREG(st.st_mode)
        || ngx_http_klaviyo_directory_alive(directory, known,
                                            found->name.instance))
    {
        return NGX_DECLINED;
    }

    found->id = ngx_http_klaviyo_directory_id(found->file, st.st_ino);
    found->size = st.st_size;
    found->mtime = st.st_mtime;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_directory_is_lock(u_char *p, size_t len, uint64_t *instance)
{
    ngx_http_klaviyo_segment_name_t  name;
    u_char                           buf[NGX_HTTP_KLAVIYO_LOCK_NAME];

    if (len != 16 + sizeof(NGX_HTTP_KLAVIYO_LOCK_SUFFIX) - 1
        || ngx_strcmp(p + 16, NGX_HTTP_KLAVIYO_LOCK_SUFFIX) != 0)
    {
        return 0;
    }

    /* the same digits as in a segment's name */

    (void) ngx_sprintf(buf, "x.%*s-0" NGX_HTTP_KLAVIYO_SEGMENT_SUFFIX "%Z",
                       (size_t) 16, p);

    if (ngx_http_klaviyo_segment_parse(&name, buf, ngx_strlen(buf)) != NGX_OK) {
        return 0;
    }

    *instance = name.instance;

    return name.instance != 0;
}


/* another one than ours lives */

static ngx_uint_t
ngx_http_klaviyo_directory_alive(ngx_http_klaviyo_directory_t *directory,
    ngx_http_klaviyo_known_t *known, uint64_t instance)
{
    ngx_uint_t  i, alive;

    if (instance == 0 || instance == directory->instance) {
        return 0;
    }

    for (i = 0; i < known->n; i++) {
        if (known->instances[i] == instance) {
            return known->alive[i];
        }
    }

    alive = ngx_http_klaviyo_directory_lives(directory, instance);

    if (i < NGX_HTTP_KLAVIYO_KNOWN) {
        known->instances[i] = instance;
        known->alive[i] = alive;
        known->n++;
    }

    return alive;
}


/* The file of a dead one goes: without it the instance counts as dead, too */

ngx_uint_t
ngx_http_klaviyo_directory_lives(ngx_http_klaviyo_directory_t *directory,
    uint64_t instance)
{
    u_char      path[NGX_HTTP_KLAVIYO_PATH];
    ngx_fd_t    fd;
    ngx_uint_t  alive;

    if (ngx_http_klaviyo_directory_lock_of(directory, instance, path)
        == NULL)
    {
        return 1;
    }

    fd = open((const char *) path, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return ngx_errno != NGX_ENOENT;
    }

    alive = 1;

    if (flock(fd, LOCK_SH|LOCK_NB) == 0) {
        alive = 0;

        if (ngx_http_klaviyo_directory_same(fd, path)) {
            (void) ngx_delete_file(path);
        }
    }

    (void) ngx_close_file(fd);

    return alive;
}
