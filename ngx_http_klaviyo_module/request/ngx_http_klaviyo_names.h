
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The names that Klaviyo documents for a shop: metrics, properties by metric
 * and place, fields of a profile; and which of them a mistyped one is near to.
 * Pure: knows no request and no configuration.
 */


#ifndef _NGX_HTTP_KLAVIYO_NAMES_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_NAMES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* a name, and whether Klaviyo takes a number there */
typedef struct {
    ngx_str_t                            name;
    ngx_uint_t                           number;
} ngx_http_klaviyo_documented_t;


/* a metric and the properties of its events; lists end with an empty name */
typedef struct {
    ngx_str_t                            name;
    ngx_http_klaviyo_documented_t       *properties;
} ngx_http_klaviyo_metric_t;


/* of any metric: an element of Items, an address, a profile's own fields */
extern ngx_http_klaviyo_documented_t  ngx_http_klaviyo_item_names[];
extern ngx_http_klaviyo_documented_t  ngx_http_klaviyo_address_names[];
extern ngx_http_klaviyo_documented_t  ngx_http_klaviyo_field_names[];


/* Returns the metric of exactly this name, or NULL. */
ngx_http_klaviyo_metric_t *ngx_http_klaviyo_metric_find(ngx_str_t *name);

/* Returns the metric that an undocumented name is near to, or NULL. */
ngx_http_klaviyo_metric_t *ngx_http_klaviyo_metric_near(ngx_str_t *name);

/* Returns the name of the list that is exactly this one, or NULL. */
ngx_http_klaviyo_documented_t *ngx_http_klaviyo_names_find(
    ngx_http_klaviyo_documented_t *list, ngx_str_t *name);

/*
 * Returns a name of the list that "name" is near to (see names_distance), the
 * nearest one; NULL if the list has "name" itself or nothing is near.
 */
ngx_http_klaviyo_documented_t *ngx_http_klaviyo_names_near(
    ngx_http_klaviyo_documented_t *list, ngx_str_t *name);

/*
 * How far "name" is from the documented name: 0 if only case, blanks, "_" and
 * "-" differ, else the letters that are added, dropped or other ones.  Up to 1
 * is near, 2 where the documented name has ten letters or more; a name of
 * three letters or less is near by 0 only.  Other digits make another name.
 * Returns NGX_DECLINED if not near.
 */
ngx_int_t ngx_http_klaviyo_names_distance(ngx_str_t *documented,
    ngx_str_t *name);


#endif /* _NGX_HTTP_KLAVIYO_NAMES_H_INCLUDED_ */
