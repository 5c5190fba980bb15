
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Any path against an index of routes: it finds what trying them one by one
 * finds, in no more tries.
 */


#include "fuzz.h"
#include <ngx_http.h>
#include "ngx_http_klaviyo_route.h"


#define FUZZ_ROUTES  (sizeof(fuzz_routes) / sizeof(ngx_http_klaviyo_route_t))

#define FUZZ_ROUTE(t, s)                                                      \
    { .type = NGX_HTTP_KLAVIYO_ROUTE_##t, .path = ngx_string(s),              \
      .methods = NGX_HTTP_GET|NGX_HTTP_POST }


static ngx_int_t fuzz_found(void *data, ngx_http_klaviyo_route_t *route,
    size_t *captures, ngx_uint_t ncaptures);
static ngx_uint_t fuzz_fits(ngx_http_klaviyo_route_t *route, ngx_str_t *path);


static ngx_http_klaviyo_index_t  *fuzz_index;

static ngx_http_klaviyo_route_t  fuzz_routes[] = {
    FUZZ_ROUTE(ANY, ""),
    FUZZ_ROUTE(EXACT, "/"),
    FUZZ_ROUTE(EXACT, "/cart"),
    FUZZ_ROUTE(EXACT, "/cart/add"),
    FUZZ_ROUTE(EXACT, "/cart/add.js"),
    FUZZ_ROUTE(EXACT, "/cart/add"),
    FUZZ_ROUTE(PREFIX, "/"),
    FUZZ_ROUTE(PREFIX, "/c"),
    FUZZ_ROUTE(PREFIX, "/products/"),
    FUZZ_ROUTE(PREFIX, "/products/x"),
    FUZZ_ROUTE(REGEX, "^/products/(?<handle>[\\w-]+)$"),
    FUZZ_ROUTE(REGEX, "^/products/\\d+"),
    FUZZ_ROUTE(REGEX, "^/(?:en|de)/p/(\\d+)$"),
    FUZZ_ROUTE(REGEX, "/collections/[^/]+/products/"),
    FUZZ_ROUTE(REGEX, "^/a+b"),
    FUZZ_ROUTE(REGEX_NOCASE, "^/Search/(.+)"),
    FUZZ_ROUTE(REGEX_NOCASE, "^/cart/"),
    FUZZ_ROUTE(REGEX_NOCASE, "\\.html?$"),
};


void
fuzz_init(ngx_pool_t *pool)
{
    u_char                      buf[128];
    ngx_str_t                   err;
    ngx_uint_t                  i, flags;
    ngx_array_t                *routes;
    ngx_http_klaviyo_route_t  **p;

    routes = ngx_array_create(pool, FUZZ_ROUTES,
                              sizeof(ngx_http_klaviyo_route_t *));
    assert_non_null(routes);

    for (i = 0; i < FUZZ_ROUTES; i++) {
        p = ngx_array_push(routes);
        assert_non_null(p);

        *p = &fuzz_routes[i];
        (*p)->number = i;

        if ((*p)->type < NGX_HTTP_KLAVIYO_ROUTE_REGEX) {
            continue;
        }

        err.data = buf;
        err.len = sizeof(buf);
        flags = ((*p)->type == NGX_HTTP_KLAVIYO_ROUTE_REGEX)
                ? 0 : NGX_HTTP_KLAVIYO_REGEX_CASELESS;

        (*p)->regex = ngx_http_klaviyo_regex_compile(pool, &(*p)->path, flags,
                                                     &err);
        assert_non_null((*p)->regex);
    }

    fuzz_index = ngx_http_klaviyo_index_create(pool, routes);
    assert_non_null(fuzz_index);
}


void
fuzz_one(fuzz_t *f)
{
    u_char      found[FUZZ_ROUTES];
    ngx_str_t   path;
    ngx_uint_t  i;

    path = fuzz_rest(f);
    ngx_memzero(found, sizeof(found));

    assert_int_equal(ngx_http_klaviyo_index_match(fuzz_index, NGX_HTTP_GET,
                                                  &path, fuzz_found, found),
                     NGX_OK);

    for (i = 0; i < FUZZ_ROUTES; i++) {
        assert_int_equal(found[i], fuzz_fits(&fuzz_routes[i], &path));
    }
}


static ngx_int_t
fuzz_found(void *data, ngx_http_klaviyo_route_t *route, size_t *captures,
    ngx_uint_t ncaptures)
{
    u_char *found = data;

    found[route->number]++;

    return NGX_OK;
}


static ngx_uint_t
fuzz_fits(ngx_http_klaviyo_route_t *route, ngx_str_t *path)
{
    switch (route->type) {

    case NGX_HTTP_KLAVIYO_ROUTE_ANY:
        return 1;

    case NGX_HTTP_KLAVIYO_ROUTE_EXACT:
        return (path->len == route->path.len
                && ngx_memcmp(path->data, route->path.data, path->len) == 0);

    case NGX_HTTP_KLAVIYO_ROUTE_PREFIX:
        return (path->len >= route->path.len
                && ngx_memcmp(path->data, route->path.data, route->path.len)
                   == 0);

    default:
        return (ngx_http_klaviyo_regex_exec(route->regex, path, NULL, 0)
                == NGX_OK);
    }
}
