
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * endpoint URL, proxy URL: where an account's requests go.  The key must not
 * leave this host in clear text.
 */


#ifndef _NGX_HTTP_KLAVIYO_ENDPOINT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_ENDPOINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_account.h"


/*
 * The directives; "conf" is the ngx_http_klaviyo_account_t.  A password in a
 * URL gets into no message.  At configuration time.
 */
char *ngx_http_klaviyo_endpoint_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_klaviyo_proxy_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_KLAVIYO_ENDPOINT_H_INCLUDED_ */
