
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The module's version: in the User-Agent that Klaviyo sees, and in the status.
 */


#ifndef _NGX_HTTP_KLAVIYO_VERSION_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_VERSION_H_INCLUDED_


#define NGX_HTTP_KLAVIYO_VERSION         "0.1.0"


#endif /* _NGX_HTTP_KLAVIYO_VERSION_H_INCLUDED_ */
