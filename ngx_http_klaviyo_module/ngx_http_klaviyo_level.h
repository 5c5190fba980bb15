
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The levels of the configuration: http{}, server{} and location{}.
 */


#ifndef _NGX_HTTP_KLAVIYO_LEVEL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_LEVEL_H_INCLUDED_


#include "ngx_http_klaviyo_module.h"


/* nginx's callbacks, at configuration time */
void *ngx_http_klaviyo_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_klaviyo_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

/*
 * Own elements, then those of the outer levels: all of them, or those whose
 * name, which stands first in each, is not among the own ones.  Returns one of
 * both arrays, NULL if there is neither and on failure.  At configuration time.
 */
ngx_array_t *ngx_http_klaviyo_merge_array(ngx_conf_t *cf, ngx_array_t *own,
    ngx_array_t *inherited, ngx_uint_t all);


#endif /* _NGX_HTTP_KLAVIYO_LEVEL_H_INCLUDED_ */
