
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Which lanes the accounts have: the one of events, those that rules need,
 * those that are running, and those that something in the spool is of.
 */


#ifndef _NGX_HTTP_KLAVIYO_LANES_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_LANES_H_INCLUDED_


#include "ngx_http_klaviyo_module.h"


/*
 * Fills "lanes" with the lanes of all accounts.  At configuration time, when
 * the accounts of rules and the directory of the spool are known.  NGX_OK or
 * NGX_ERROR (no memory).
 */
ngx_int_t ngx_http_klaviyo_lanes_init(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);


#endif /* _NGX_HTTP_KLAVIYO_LANES_H_INCLUDED_ */
