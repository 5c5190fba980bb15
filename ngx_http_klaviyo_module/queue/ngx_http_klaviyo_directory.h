
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The directory of the spool: who may use which of the segments in it.  Each
 * instance of nginx, a master with all that it started, holds a lock on a file
 * INSTANCE.lock as long as any of its processes lives.
 */


#ifndef _NGX_HTTP_KLAVIYO_DIRECTORY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DIRECTORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_segment.h"


typedef struct {
    ngx_str_t                            path;     /* NUL-terminated */
    ngx_str_t                            rings;    /* of the rings' files, same;
                                                      empty: no such files */
    uint64_t                             instance;   /* ours */

    /* of what root creates; NGX_CONF_UNSET_UINT: nobody else's */
    ngx_uid_t                            user;
    ngx_gid_t                            group;

    ngx_log_t                           *log;
} ngx_http_klaviyo_directory_t;


/* a segment that nobody else may be using */
typedef struct {
    ngx_http_klaviyo_segment_name_t      name;
    u_char                              *file;     /* NUL-terminated */
    uint64_t                             id;       /* of name and file */
    off_t                                size;
    time_t                               mtime;
} ngx_http_klaviyo_found_t;


typedef void (*ngx_http_klaviyo_found_pt)(void *data,
    ngx_http_klaviyo_found_t *found);

typedef void (*ngx_http_klaviyo_name_pt)(void *data,
    ngx_http_klaviyo_segment_name_t *name);


/*
 * Creates it, 0700 and owned by "user", if it isn't there.  In the master,
 * which goes on without it: what fails is a warning.
 */
void ngx_http_klaviyo_directory_make(ngx_http_klaviyo_directory_t *directory);

/*
 * Takes this instance's lock, for this process and all that it starts later,
 * unless it has it there already.  NGX_AGAIN: a process of ours has it that
 * has opened it itself; NGX_ERROR: it can't be had.
 */
ngx_int_t ngx_http_klaviyo_directory_lock(
    ngx_http_klaviyo_directory_t *directory);

/* Lets go of it, wherever it is: the processes started before have it still. */
void ngx_http_klaviyo_directory_release(void);

/* The path of its file, with a NUL; NULL: too long. */
u_char *ngx_http_klaviyo_directory_lock_file(
    ngx_http_klaviyo_directory_t *directory, u_char *buf);

/* Removes the lock's file.  In a master that exits. */
void ngx_http_klaviyo_directory_unlock(
    ngx_http_klaviyo_directory_t *directory);

/* Whether a process of that instance, not ours, lives. */
ngx_uint_t ngx_http_klaviyo_directory_lives(
    ngx_http_klaviyo_directory_t *directory, uint64_t instance);

/*
 * Calls "handler" for each segment of the account, or of all with NULL, that is
 * ours, or a dead instance's, or an operator's.  NGX_ERROR: the directory can't
 * be read; it sets ngx_errno.
 */
ngx_int_t ngx_http_klaviyo_directory_walk(
    ngx_http_klaviyo_directory_t *directory, ngx_str_t *account,
    ngx_http_klaviyo_found_pt handler, void *data);

/*
 * Calls "handler" for each file of the directory that has a segment's name,
 * whoever it is of, and does nothing else; no directory, no call.  "path" is
 * NUL-terminated.  At configuration time.
 */
void ngx_http_klaviyo_directory_names(ngx_str_t *path,
    ngx_http_klaviyo_name_pt handler, void *data);

/* The path of a file in it, with a NUL; NULL: too long. */
u_char *ngx_http_klaviyo_directory_file(
    ngx_http_klaviyo_directory_t *directory, u_char *file, u_char *buf);

/* Whether the path leads to what is open. */
ngx_uint_t ngx_http_klaviyo_directory_same(ngx_fd_t fd, u_char *path);

/* By what a segment is known, as long as it has the name. */
uint64_t ngx_http_klaviyo_directory_id(u_char *file, ngx_file_uniq_t uniq);

/* room for a path of ngx_http_klaviyo_directory_file() */
#define NGX_HTTP_KLAVIYO_PATH            4096


#endif /* _NGX_HTTP_KLAVIYO_DIRECTORY_H_INCLUDED_ */
