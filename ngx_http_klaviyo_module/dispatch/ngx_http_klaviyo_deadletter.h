
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Files in the spool's directory that only grow: the dead letters of an
 * account, and what it would have sent under "dry_run".  A file is opened for
 * each line, so that an operator may move it away at any time.
 */


#ifndef _NGX_HTTP_KLAVIYO_DEADLETTER_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DEADLETTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_api.h"
#include "ngx_http_klaviyo_batch.h"


#define NGX_HTTP_KLAVIYO_DRY_RUN_MAX     (64 * 1024 * 1024)


typedef struct {
    ngx_str_t                            path;     /* NUL-terminated */
    off_t                                max;
    ngx_log_t                           *log;
} ngx_http_klaviyo_deadletter_t;


/* "suffix": ".dead" or ".dry-run".  NGX_OK or NGX_ERROR (no memory). */
ngx_int_t ngx_http_klaviyo_deadletter_init(
    ngx_http_klaviyo_deadletter_t *file, ngx_pool_t *pool, ngx_str_t *spool,
    ngx_str_t *name, char *suffix, off_t max, ngx_log_t *log);

/*
 * Appends one event as one line, {"crc":,"len":,"at":,"error":,"event":}; crc
 * and len are of the event's bytes, which stand there as they were sent.
 * Returns NGX_OK, NGX_DECLINED (no room below "max") or NGX_ERROR (logged):
 * then the caller must keep the event.
 */
ngx_int_t ngx_http_klaviyo_deadletter_write(
    ngx_http_klaviyo_deadletter_t *file, ngx_uint_t status,
    ngx_http_klaviyo_error_t *error, ngx_str_t *event);

/* Appends the body of a batch as one line; returns the same. */
ngx_int_t ngx_http_klaviyo_deadletter_body(
    ngx_http_klaviyo_deadletter_t *file, ngx_http_klaviyo_batch_t *batch);


#endif /* _NGX_HTTP_KLAVIYO_DEADLETTER_H_INCLUDED_ */
