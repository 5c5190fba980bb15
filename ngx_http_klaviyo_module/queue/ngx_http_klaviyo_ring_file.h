
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of the rings as files of a tmpfs, which outlive nginx: a directory
 * klaviyo-DEVICE-INODE for each directory of a spool (the numbers are of that),
 * in it NAME.INSTANCE-GENERATION.ring for each ring.  An instance that lives is
 * known by its lock in the spool's directory.
 */


#ifndef _NGX_HTTP_KLAVIYO_RING_FILE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_RING_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_directory.h"
#include "ngx_http_klaviyo_ring.h"


#define NGX_HTTP_KLAVIYO_RING_FILE_PATH     "/dev/shm"


/*
 * Creates the directory in "base", 0700 and owned by the spool's user, and sets
 * directory->rings.  NGX_OK; NGX_DECLINED, after a [notice]: there is none,
 * all memory stays nameless; NGX_ERROR: no memory.  In the master, when the
 * spool's directory is there and locked.
 */
ngx_int_t ngx_http_klaviyo_ring_file_make(
    ngx_http_klaviyo_directory_t *directory, ngx_str_t *base,
    ngx_pool_t *pool);

/*
 * Puts a file in the place of the ring's memory; one that has a file already,
 * in "old", keeps it, in directory->rings from now on.  If that can't be done
 * the memory stays as it is, after a [notice].  In the master, for each ring of
 * an accepted configuration, before a process is started that uses it.  NGX_OK
 * or, after an [emerg], NGX_ERROR: the memory is gone.
 */
ngx_int_t ngx_http_klaviyo_ring_file_keep(
    ngx_http_klaviyo_directory_t *directory, ngx_str_t *old,
    ngx_http_klaviyo_ring_t *ring, ngx_str_t *account);

/* Removes the ring's file, if it has one: nothing in it will be missed. */
void ngx_http_klaviyo_ring_file_forget(ngx_http_klaviyo_directory_t *directory,
    ngx_http_klaviyo_ring_t *ring, ngx_str_t *account);

/*
 * Calls "handler" for each file of a dead instance and, if "own", of ours;
 * "seq" of its name is the generation.
 */
void ngx_http_klaviyo_ring_file_walk(ngx_http_klaviyo_directory_t *directory,
    ngx_uint_t own, ngx_http_klaviyo_found_pt handler, void *data);

/* The path of a file there, with a NUL; NULL: too long, or there is none. */
u_char *ngx_http_klaviyo_ring_file_path(ngx_http_klaviyo_directory_t *directory,
    u_char *file, u_char *buf);


#endif /* _NGX_HTTP_KLAVIYO_RING_FILE_H_INCLUDED_ */
