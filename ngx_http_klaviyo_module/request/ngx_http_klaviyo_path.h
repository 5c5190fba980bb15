
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * PATH: RFC 9535's shorthand without the leading "$.": names, ["quoted"],
 * indexes, [*] and [?@.x=="y"].
 */


#ifndef _NGX_HTTP_KLAVIYO_PATH_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_PATH_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


#define NGX_HTTP_KLAVIYO_MAX_SEGMENTS    32


typedef struct ngx_http_klaviyo_path_s  ngx_http_klaviyo_path_t;


/*
 * Parses "text" ("" is the document itself; a leading "." is not part of it).
 * Shorthand names take any byte but . [ ] ( ) quotes, blanks and controls, so
 * "$exchange_id" and "data-id" need no quotes.  Returns NULL with a message
 * in "err" ("err->data" has room for 128 bytes, the length is set) that names
 * the offending part.  At configuration time.
 */
ngx_http_klaviyo_path_t *ngx_http_klaviyo_path_parse(ngx_pool_t *pool,
    ngx_str_t *text, ngx_str_t *err);

/* Whether the path has a wildcard or a filter, and so gives an array. */
ngx_uint_t ngx_http_klaviyo_path_plural(ngx_http_klaviyo_path_t *path);

/* what the path takes at its n-th step; sets "name" for a name (which lives as
 * long as the path does), "index" for an index */
typedef enum {
    NGX_HTTP_KLAVIYO_PATH_END = 0,
    NGX_HTTP_KLAVIYO_PATH_NAME,
    NGX_HTTP_KLAVIYO_PATH_INDEX,
    NGX_HTTP_KLAVIYO_PATH_WILDCARD,
    NGX_HTTP_KLAVIYO_PATH_FILTER
} ngx_http_klaviyo_path_part_e;

ngx_http_klaviyo_path_part_e ngx_http_klaviyo_path_part(
    ngx_http_klaviyo_path_t *path, ngx_uint_t n, ngx_str_t *name,
    ngx_int_t *index);

/*
 * Sets "result" to what the path selects in "data" (any type; of a scalar
 * only the empty path selects something).  A plural path gives a new array,
 * empty if nothing was selected; nulls are left out of it.  Else missing if
 * there is nothing.
 */
void ngx_http_klaviyo_path_select(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_path_t *path, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_data_t *result);

/* The same for one jansson value and a path that is not plural; or NULL. */
json_t *ngx_http_klaviyo_path_find(ngx_http_klaviyo_path_t *path,
    json_t *json);


#endif /* _NGX_HTTP_KLAVIYO_PATH_H_INCLUDED_ */
