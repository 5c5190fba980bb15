
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Members of a JSON object whose text is so plain that nothing needs a tree.
 */


#ifndef _NGX_HTTP_KLAVIYO_PLAIN_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_PLAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Sets each of "values" to the string that the member of that name among "n"
 * "names" has, in "text" itself, or to an empty text: there is none, or it is
 * no string.  Of equal names the last one counts.  Returns NGX_OK, or
 * NGX_DECLINED when it takes a parser to tell: the text has anything else than
 * objects, strings of ASCII without an escape, and natural numbers, or it is
 * not valid.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_plain_members(ngx_str_t *text, ngx_str_t *names,
    ngx_str_t *values, ngx_uint_t n);


#endif /* _NGX_HTTP_KLAVIYO_PLAIN_H_INCLUDED_ */
