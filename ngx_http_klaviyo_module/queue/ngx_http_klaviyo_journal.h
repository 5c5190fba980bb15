
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A file of lines in the spool's directory that only grows, up to a size.  It
 * is opened for each line, so that an operator may move it away at any time.
 */


#ifndef _NGX_HTTP_KLAVIYO_JOURNAL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_JOURNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t                            path;     /* NUL-terminated */
    off_t                                max;
    ngx_log_t                           *log;
} ngx_http_klaviyo_journal_t;


/* The file "name" with "suffix" in "spool".  NGX_OK or NGX_ERROR (no memory) */
ngx_int_t ngx_http_klaviyo_journal_init(ngx_http_klaviyo_journal_t *journal,
    ngx_pool_t *pool, ngx_str_t *spool, ngx_str_t *name, char *suffix,
    off_t max, ngx_log_t *log);

/*
 * Appends a line, which has its LF.  NGX_OK, NGX_DECLINED (no room below "max")
 * or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_klaviyo_journal_append(ngx_http_klaviyo_journal_t *journal,
    u_char *line, size_t len);


#endif /* _NGX_HTTP_KLAVIYO_JOURNAL_H_INCLUDED_ */
