
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The index of all routes that a server{} has: one pass over the path, and its
 * cost does not grow with the number of routes.  Exact paths, prefixes and the
 * literal beginnings of regexes stand in one radix tree (a second one, lower
 * case, for ~*); only those regexes are tried whose beginning fits.
 */


#ifndef _NGX_HTTP_KLAVIYO_ROUTE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_ROUTE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_regex.h"


typedef enum {
    NGX_HTTP_KLAVIYO_ROUTE_ANY = 0,      /* no pattern */
    NGX_HTTP_KLAVIYO_ROUTE_EXACT,        /* =/path */
    NGX_HTTP_KLAVIYO_ROUTE_PREFIX,       /* /path */
    NGX_HTTP_KLAVIYO_ROUTE_REGEX,        /* ~regex */
    NGX_HTTP_KLAVIYO_ROUTE_REGEX_NOCASE  /* ~*regex */
} ngx_http_klaviyo_route_e;


typedef struct {
    ngx_http_klaviyo_route_e             type;
    ngx_str_t                            path;     /* without modifier */
    ngx_uint_t                           methods;  /* NGX_HTTP_GET|... */
    ngx_http_klaviyo_regex_t            *regex;    /* of "path", or NULL */
    void                                *rule;     /* the owner's */
    void                                *place;    /* likewise */
    ngx_uint_t                           number;   /* in the rule */
} ngx_http_klaviyo_route_t;


typedef struct ngx_http_klaviyo_index_s  ngx_http_klaviyo_index_t;


/*
 * A route that matches; "captures" are the regex's offsets into the path
 * ("ncaptures" pairs, 0 if no regex), valid during the call only.  Anything
 * but NGX_OK ends the search and is what ngx_http_klaviyo_index_match()
 * returns.
 */
typedef ngx_int_t (*ngx_http_klaviyo_route_pt)(void *data,
    ngx_http_klaviyo_route_t *route, size_t *captures, ngx_uint_t ncaptures);


/*
 * Builds an index from an array of ngx_http_klaviyo_route_t *, which must
 * live as long as the index.  Returns NULL on failure.  At configuration time.
 */
ngx_http_klaviyo_index_t *ngx_http_klaviyo_index_create(ngx_pool_t *pool,
    ngx_array_t *routes);

/*
 * How many regexes have no literal beginning beside the slash that all paths
 * begin with: each request tries them.
 */
ngx_uint_t ngx_http_klaviyo_index_unanchored(ngx_http_klaviyo_index_t *index);

/*
 * Calls "handler" for each route that fits method (one bit) and path, in no
 * particular order; allocates nothing.  Returns NGX_OK.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_index_match(ngx_http_klaviyo_index_t *index,
    ngx_uint_t method, ngx_str_t *path, ngx_http_klaviyo_route_pt handler,
    void *data);


#endif /* _NGX_HTTP_KLAVIYO_ROUTE_H_INCLUDED_ */
