
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_explain: who may have a request explained.
 */


#ifndef _NGX_HTTP_KLAVIYO_SECRET_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_SECRET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_KLAVIYO_SECRET_MIN      16
#define NGX_HTTP_KLAVIYO_SECRET_MAX      256


typedef struct {
    ngx_str_t                            text;
    ngx_uint_t                           full;     /* nothing is masked */
} ngx_http_klaviyo_secret_t;


/*
 * Reads file:PATH | data:TEXT [full] | off, of which no byte gets into a
 * message.  "secret" is set to NULL for "off".  Returns NGX_CONF_OK or an
 * error as nginx's handlers do.  At configuration time.
 */
char *ngx_http_klaviyo_secret_parse(ngx_conf_t *cf,
    ngx_http_klaviyo_secret_t **secret);

/*
 * Whether the request has the header X-Klaviyo-Explain with the secret, in a
 * time that does not depend on where they differ.  The header's value is
 * replaced by "on": neither logs nor upstreams get to know it.  In a worker.
 */
ngx_uint_t ngx_http_klaviyo_secret_check(ngx_http_request_t *r,
    ngx_http_klaviyo_secret_t *secret);


#endif /* _NGX_HTTP_KLAVIYO_SECRET_H_INCLUDED_ */
