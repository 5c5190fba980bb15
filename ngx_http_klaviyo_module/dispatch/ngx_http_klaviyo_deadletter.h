
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The dead letters of an account, and what it would have sent under "dry_run".
 */


#ifndef _NGX_HTTP_KLAVIYO_DEADLETTER_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DEADLETTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_api.h"
#include "ngx_http_klaviyo_batch.h"
#include "ngx_http_klaviyo_journal.h"
#include "ngx_http_klaviyo_segment.h"


#define NGX_HTTP_KLAVIYO_DRY_RUN_MAX     (64 * 1024 * 1024)


/*
 * Appends one event as one line of the spool's format, with "at" and "error".
 * Returns NGX_OK, NGX_DECLINED (no room below "max") or NGX_ERROR (logged):
 * then the caller must keep the event.
 */
ngx_int_t ngx_http_klaviyo_deadletter_write(ngx_http_klaviyo_journal_t *file,
    ngx_uint_t status, ngx_http_klaviyo_error_t *error,
    ngx_http_klaviyo_line_t *letter);

/* Appends the body of a batch as one line; returns the same. */
ngx_int_t ngx_http_klaviyo_deadletter_body(ngx_http_klaviyo_journal_t *file,
    ngx_http_klaviyo_batch_t *batch);


#endif /* _NGX_HTTP_KLAVIYO_DEADLETTER_H_INCLUDED_ */
