
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

/* Prepares to compile the VALUE of a directive of a level, from its first
 * argument on; NULL for one that needs no body. */
void ngx_http_klaviyo_level_compile(ngx_conf_t *cf,
    ngx_http_klaviyo_loc_conf_t *klcf, ngx_http_klaviyo_compile_t *compile);

/* [emerg] and NGX_ERROR for a VALUE that is of an element of a rule. */
ngx_int_t ngx_http_klaviyo_level_element(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value);


#endif /* _NGX_HTTP_KLAVIYO_LEVEL_H_INCLUDED_ */
