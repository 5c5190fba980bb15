
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The directives about what is remembered of visitors.
 */


#ifndef _NGX_HTTP_KLAVIYO_VISITOR_CONF_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_VISITOR_CONF_H_INCLUDED_


#include "ngx_http_klaviyo_level.h"


/* klaviyo_memory SIZE; "conf" is the main one */
char *ngx_http_klaviyo_memory_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* klaviyo_visitor VALUE [ttl=TIME] | off; "conf" is that of the level */
char *ngx_http_klaviyo_visitor_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* klaviyo_backlog N TIME | off; likewise */
char *ngx_http_klaviyo_backlog_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* klaviyo_visitor_cookie NAME ... | off; likewise */
char *ngx_http_klaviyo_cookie_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_KLAVIYO_VISITOR_CONF_H_INCLUDED_ */
