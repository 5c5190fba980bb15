
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The process that hosts the dispatcher: nginx's cache manager, which stock
 * nginx starts and supervises for any path with a "manager" callback; with
 * master_process off the one process that there is.  All that is special about
 * it lives here.
 */


#ifndef _NGX_HTTP_KLAVIYO_HOST_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_HOST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_dispatcher.h"


typedef struct {
    ngx_http_klaviyo_dispatcher_conf_t   dispatcher;
    ngx_msec_t                           drain_timeout;
} ngx_http_klaviyo_host_conf_t;


/*
 * The "manager" callback of ngx_path_t; "data" is a
 * ngx_http_klaviyo_host_conf_t.  Starts the dispatcher at its first call;
 * returns an hour: own timers do the work.  In the cache manager.
 */
ngx_msec_t ngx_http_klaviyo_host_manager(void *data);

/* In init_process: starts the dispatcher if this is the single process. */
ngx_int_t ngx_http_klaviyo_host_init_process(
    ngx_http_klaviyo_host_conf_t *conf);

/* In exit_process: the single process drains before it ends, if it did not. */
void ngx_http_klaviyo_host_exit_process(void);

/* In exit_master: nobody else is left. */
void ngx_http_klaviyo_host_exit_master(ngx_http_klaviyo_host_conf_t *conf);


#endif /* _NGX_HTTP_KLAVIYO_HOST_H_INCLUDED_ */
