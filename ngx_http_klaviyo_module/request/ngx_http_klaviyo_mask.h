
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of a value may tell who somebody is, when it is shown to people: pure.
 */


#ifndef _NGX_HTTP_KLAVIYO_MASK_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_MASK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Whether a name (of a member, a variable, a VALUE as it was written) has a
 * word for what is personal: "mail", "phone", "address", "token" ..., in any
 * case.
 */
ngx_uint_t ngx_http_klaviyo_mask_name(ngx_str_t *name);

/*
 * Whether a text looks like it: has an "@" or "%40", is a phone number or a
 * long number, or has a part like a token (24 bytes or more, letters and
 * digits, none of blank - _ / . : ? & = ; , ").  Dates are none of these.
 */
ngx_uint_t ngx_http_klaviyo_mask_text(ngx_str_t *text);


#endif /* _NGX_HTTP_KLAVIYO_MASK_H_INCLUDED_ */
