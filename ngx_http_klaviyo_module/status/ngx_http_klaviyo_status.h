
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_status: the counters of all accounts and rules.
 */


#ifndef _NGX_HTTP_KLAVIYO_STATUS_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* The directive: makes the location answer with the status. */
char *ngx_http_klaviyo_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_KLAVIYO_STATUS_H_INCLUDED_ */
