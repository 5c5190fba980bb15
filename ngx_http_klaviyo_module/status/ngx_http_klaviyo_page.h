
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The status page: the sums of its style and script.  Made by util/page from
 * ngx_http_klaviyo_page.html: change that one.
 */


#ifndef _NGX_HTTP_KLAVIYO_PAGE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_PAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_KLAVIYO_PAGE_STYLE                                    \
    "xxagAtBHlppkDl3ap9XV1ulknvGsLwpn1ZUfRB2u0K0="

#define NGX_HTTP_KLAVIYO_PAGE_SCRIPT                                   \
    "25fsidCAwbgiy4E9DiZOARvkh5WGdJWlfNDGyyd/nf8="


/* the document, in three parts: tables come after the first, JSON after the
 * second */
extern ngx_str_t  ngx_http_klaviyo_page_parts[];


#endif /* _NGX_HTTP_KLAVIYO_PAGE_H_INCLUDED_ */
