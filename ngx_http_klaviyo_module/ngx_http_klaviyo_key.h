
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * api_key file:PATH | env:NAME | data:TEXT: where the private key is read
 * from, and what it must look like.
 */


#ifndef _NGX_HTTP_KLAVIYO_KEY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_KEY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_account.h"


/* no key may be longer, nor the file that it is in */
#define NGX_HTTP_KLAVIYO_API_KEY_MAX     512
#define NGX_HTTP_KLAVIYO_API_KEY_FILE    4096


/*
 * The directive; "conf" is the ngx_http_klaviyo_account_t.  Nothing that is
 * or may be a key gets into a message.  At configuration time.
 */
char *ngx_http_klaviyo_key_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_KLAVIYO_KEY_H_INCLUDED_ */
