
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The index of routes: two compressed radix trees, built once from sorted
 * keys, never changed, walked without a copy of the path.
 */


#include "ngx_http_klaviyo_route.h"


typedef struct ngx_http_klaviyo_node_s  ngx_http_klaviyo_node_t;

struct ngx_http_klaviyo_node_s {
    ngx_str_t                            label;    /* after the parent's */

    /* the first bytes of the children's labels, ascending */
    ngx_str_t                            bytes;
    ngx_http_klaviyo_node_t             *children;

    /* met only by a path that ends here, and by all that come through */
    ngx_http_klaviyo_route_t           **exact;
    ngx_uint_t                           nexact;
    ngx_http_klaviyo_route_t           **open;
    ngx_uint_t                           nopen;
};


/* a route and what it stands under in a tree */
typedef struct {
    ngx_str_t                            key;
    ngx_http_klaviyo_route_t            *route;
} ngx_http_klaviyo_entry_t;


struct ngx_http_klaviyo_index_s {
    ngx_http_klaviyo_node_t             *tree;
    ngx_http_klaviyo_node_t             *nocase;   /* lower case, or NULL */
    ngx_uint_t                           unanchored;
};


typedef struct {
    ngx_str_t                           *path;
    ngx_uint_t                           method;
    ngx_http_klaviyo_route_pt            handler;
    void                                *data;
} ngx_http_klaviyo_match_t;


static ngx_int_t ngx_http_klaviyo_index_entry(ngx_pool_t *pool,
    ngx_http_klaviyo_index_t *index, ngx_http_klaviyo_route_t *route,
    ngx_http_klaviyo_entry_t *entry);
static void ngx_http_klaviyo_index_fold(ngx_http_klaviyo_route_t *route,
    ngx_str_t *key);
static ngx_http_klaviyo_node_t *ngx_http_klaviyo_index_tree(ngx_pool_t *pool,
    ngx_array_t *entries);
static int ngx_libc_cdecl ngx_http_klaviyo_index_cmp(const void *one,
    const void *two);
static ngx_int_t ngx_http_klaviyo_index_node(ngx_pool_t *pool,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_entry_t *entries,
    ngx_uint_t n, size_t depth);
static size_t ngx_http_klaviyo_index_common(ngx_str_t *first,
    ngx_str_t *last);
static ngx_int_t ngx_http_klaviyo_index_routes(ngx_pool_t *pool,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_entry_t *entries,
    ngx_uint_t n);
static ngx_int_t ngx_http_klaviyo_index_children(ngx_pool_t *pool,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_entry_t *entries,
    ngx_uint_t n, size_t depth);
static ngx_int_t ngx_http_klaviyo_index_walk(ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_match_t *match, ngx_uint_t nocase);
static u_char *ngx_http_klaviyo_index_label(ngx_str_t *label, u_char *p,
    u_char *last, ngx_uint_t nocase);
static ngx_int_t ngx_http_klaviyo_index_visit(ngx_http_klaviyo_match_t *match,
    ngx_http_klaviyo_route_t **routes, ngx_uint_t n);
static ngx_int_t ngx_http_klaviyo_index_regex(ngx_http_klaviyo_match_t *match,
    ngx_http_klaviyo_route_t *route);


ngx_http_klaviyo_index_t *
ngx_http_klaviyo_index_create(ngx_pool_t *pool, ngx_array_t *routes)
{
    ngx_uint_t                  i;
    ngx_array_t                 exact, folded;
    ngx_http_klaviyo_entry_t   *entry;
    ngx_http_klaviyo_index_t   *index;
    ngx_http_klaviyo_route_t  **route;

    index = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_index_t));
    if (index == NULL) {
        return NULL;
    }

    if (ngx_array_init(&exact, pool, 8, sizeof(ngx_http_klaviyo_entry_t))
        != NGX_OK
        || ngx_array_init(&folded, pool, 8, sizeof(ngx_http_klaviyo_entry_t))
        != NGX_OK)
    {
        return NULL;
    }

    route = routes->elts;

    for (i = 0; i < routes->nelts; i++) {

        entry = ngx_array_push(route[i]->type
                               == NGX_HTTP_KLAVIYO_ROUTE_REGEX_NOCASE
                               ? &folded : &exact);
        if (entry == NULL) {
            return NULL;
        }

        if (ngx_http_klaviyo_index_entry(pool, index, route[i], entry)
            != NGX_OK)
        {
            return NULL;
        }
    }

    index->tree = ngx_http_klaviyo_index_tree(pool, &exact);

    if (index->tree == NULL) {
        return NULL;
    }

    if (folded.nelts) {
        index->nocase = ngx_http_klaviyo_index_tree(pool, &folded);

        if (index->nocase == NULL) {
            return NULL;
        }
    }

    return index;
}


static ngx_int_t
ngx_http_klaviyo_index_entry(ngx_pool_t *pool, ngx_http_klaviyo_index_t *index,
    ngx_http_klaviyo_route_t *route, ngx_http_klaviyo_entry_t *entry)
{
    entry->route = route;

    switch (route->type) {

    case NGX_HTTP_KLAVIYO_ROUTE_EXACT:
    case NGX_HTTP_KLAVIYO_ROUTE_PREFIX:
        entry->key = route->path;
        return NGX_OK;

    case NGX_HTTP_KLAVIYO_ROUTE_REGEX:
    case NGX_HTTP_KLAVIYO_ROUTE_REGEX_NOCASE:

        if (ngx_http_klaviyo_regex_prefix(pool, &route->path, &entry->key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (route->type == NGX_HTTP_KLAVIYO_ROUTE_REGEX_NOCASE) {
            ngx_http_klaviyo_index_fold(route, &entry->key);
        }

        /* every path begins with a slash */

        if (entry->key.len == 0
            || (entry->key.len == 1 && entry->key.data[0] == '/'))
        {
            index->unanchored++;
        }

        return NGX_OK;

    default: /* NGX_HTTP_KLAVIYO_ROUTE_ANY */
        ngx_str_set(&entry->key, "");
        return NGX_OK;
    }
}


/*
 * PCRE2 folds ASCII letters and, what its tables or Unicode say, others: those
 * end the prefix.  In Unicode, "k" and "s" have relatives beyond ASCII.
 */

static void
ngx_http_klaviyo_index_fold(ngx_http_klaviyo_route_t *route, ngx_str_t *key)
{
    size_t      i;
    u_char      ch;
    ngx_uint_t  utf;

    utf = ngx_http_klaviyo_regex_utf(route->regex);

    for (i = 0; i < key->len; i++) {
        ch = ngx_tolower(key->data[i]);

        if (ch >= 0x80 || (utf && (ch == 'k' || ch == 's'))) {
            break;
        }

        key->data[i] = ch;
    }

    key->len = i;
}


static ngx_http_klaviyo_node_t *
ngx_http_klaviyo_index_tree(ngx_pool_t *pool, ngx_array_t *entries)
{
    ngx_http_klaviyo_node_t  *root;

    root = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_node_t));
    if (root == NULL) {
        return NULL;
    }

    if (entries->nelts == 0) {
        return root;
    }

    ngx_qsort(entries->elts, entries->nelts, sizeof(ngx_http_klaviyo_entry_t),
              ngx_http_klaviyo_index_cmp);

    if (ngx_http_klaviyo_index_node(pool, root, entries->elts, entries->nelts,
                                    0)
        != NGX_OK)
    {
        return NULL;
    }

    return root;
}


/* a key stands before all that begin with it */

static int ngx_libc_cdecl
ngx_http_klaviyo_index_cmp(const void *one, const void *two)
{
    ngx_http_klaviyo_entry_t  *first, *second;

    first = (ngx_http_klaviyo_entry_t *) one;
    second = (ngx_http_klaviyo_entry_t *) two;

    return (int) ngx_memn2cmp(first->key.data, second->key.data,
                              first->key.len, second->key.len);
}


/*
 * Builds "node" from sorted entries, at least one, whose keys are equal in the
 * first "depth" bytes.
 */

static ngx_int_t
ngx_http_klaviyo_index_node(ngx_pool_t *pool, ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_entry_t *entries, ngx_uint_t n, size_t depth)
{
    size_t      common;
    ngx_uint_t  here;

    common = ngx_http_klaviyo_index_common(&entries[0].key,
                                           &entries[n - 1].key);

    node->label.data = entries[0].key.data + depth;
    node->label.len = common - depth;

    for (here = 0; here < n; here++) {
        if (entries[here].key.len > common) {
            break;
        }
    }

    if (here && ngx_http_klaviyo_index_routes(pool, node, entries, here)
                != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (here == n) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_index_children(pool, node, &entries[here],
                                           n - here, common);
}


/* sorted keys have in common what the first and the last have */

static size_t
ngx_http_klaviyo_index_common(ngx_str_t *first, ngx_str_t *last)
{
    size_t  i, n;

    n = ngx_min(first->len, last->len);

    for (i = 0; i < n; i++) {
        if (first->data[i] != last->data[i]) {
            break;
        }
    }

    return i;
}


static ngx_int_t
ngx_http_klaviyo_index_routes(ngx_pool_t *pool, ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_entry_t *entries, ngx_uint_t n)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_route_t  **routes;

    routes = ngx_palloc(pool, n * sizeof(ngx_http_klaviyo_route_t *));
    if (routes == NULL) {
        return NGX_ERROR;
    }

    /* the exact ones from the end */

    node->open = routes;
    node->exact = routes + n;

    for (i = 0; i < n; i++) {

        if (entries[i].route->type == NGX_HTTP_KLAVIYO_ROUTE_EXACT) {
            *--node->exact = entries[i].route;
            node->nexact++;

        } else {
            node->open[node->nopen++] = entries[i].route;
        }
    }

    return NGX_OK;
}


/* a child of each run of entries whose keys have the same byte at "depth" */

static ngx_int_t
ngx_http_klaviyo_index_children(ngx_pool_t *pool,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_entry_t *entries,
    ngx_uint_t n, size_t depth)
{
    u_char      *p;
    ngx_uint_t   i, first, runs;

    runs = 1;

    for (i = 1; i < n; i++) {
        if (entries[i].key.data[depth] != entries[i - 1].key.data[depth]) {
            runs++;
        }
    }

    p = ngx_pnalloc(pool, runs);
    node->children = ngx_pcalloc(pool, runs * sizeof(ngx_http_klaviyo_node_t));

    if (p == NULL || node->children == NULL) {
        return NGX_ERROR;
    }

    node->bytes.data = p;
    first = 0;

    for (i = 1; i <= n; i++) {

        if (i < n && entries[i].key.data[depth]
                     == entries[first].key.data[depth])
        {
            continue;
        }

        if (ngx_http_klaviyo_index_node(pool,
                                        &node->children[node->bytes.len],
                                        &entries[first], i - first, depth)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        p[node->bytes.len++] = entries[first].key.data[depth];
        first = i;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_klaviyo_index_unanchored(ngx_http_klaviyo_index_t *index)
{
    return index->unanchored;
}


ngx_int_t
ngx_http_klaviyo_index_match(ngx_http_klaviyo_index_t *index,
    ngx_uint_t method, ngx_str_t *path, ngx_http_klaviyo_route_pt handler,
    void *data)
{
    ngx_int_t                 rc;
    ngx_http_klaviyo_match_t  match;

    match.path = path;
    match.method = method;
    match.handler = handler;
    match.data = data;

    rc = ngx_http_klaviyo_index_walk(index->tree, &match, 0);

    if (rc != NGX_OK || index->nocase == NULL) {
        return rc;
    }

    return ngx_http_klaviyo_index_walk(index->nocase, &match, 1);
}


static ngx_int_t
ngx_http_klaviyo_index_walk(ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_match_t *match, ngx_uint_t nocase)
{
    u_char     *p, *last, *child;
    ngx_int_t   rc;

    p = match->path->data;
    last = p + match->path->len;

    for ( ;; ) {

        p = ngx_http_klaviyo_index_label(&node->label, p, last, nocase);

        if (p == NULL) {
            return NGX_OK;
        }

        rc = ngx_http_klaviyo_index_visit(match, node->open, node->nopen);

        if (rc != NGX_OK) {
            return rc;
        }

        if (p == last) {
            return ngx_http_klaviyo_index_visit(match, node->exact,
                                                node->nexact);
        }

        if (node->bytes.len == 0) {
            return NGX_OK;
        }

        child = memchr(node->bytes.data, nocase ? ngx_tolower(*p) : *p,
                       node->bytes.len);

        if (child == NULL) {
            return NGX_OK;
        }

        node = &node->children[child - node->bytes.data];
    }
}


/* returns where the path goes on after the label, or NULL if it differs */

static u_char *
ngx_http_klaviyo_index_label(ngx_str_t *label, u_char *p, u_char *last,
    ngx_uint_t nocase)
{
    size_t  i;

    if ((size_t) (last - p) < label->len) {
        return NULL;
    }

    /* an empty label, as the root of no rules has, may be no address */

    if (!nocase && label->len) {
        return (ngx_memcmp(label->data, p, label->len) == 0) ? p + label->len
                                                             : NULL;
    }

    for (i = 0; i < label->len; i++, p++) {
        if (label->data[i] != ngx_tolower(*p)) {
            return NULL;
        }
    }

    return p;
}


static ngx_int_t
ngx_http_klaviyo_index_visit(ngx_http_klaviyo_match_t *match,
    ngx_http_klaviyo_route_t **routes, ngx_uint_t n)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_klaviyo_route_t  *route;

    for (i = 0; i < n; i++) {
        route = routes[i];

        if (!(route->methods & match->method)) {
            continue;
        }

        if (route->regex) {
            rc = ngx_http_klaviyo_index_regex(match, route);

        } else {
            rc = match->handler(match->data, route, NULL, 0);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* a path on which the regex meets its limit does not match */

static ngx_int_t
ngx_http_klaviyo_index_regex(ngx_http_klaviyo_match_t *match,
    ngx_http_klaviyo_route_t *route)
{
    size_t      captures[2 * (1 + NGX_HTTP_KLAVIYO_MAX_GROUPS)];
    ngx_uint_t  n;

    n = 1 + ngx_http_klaviyo_regex_groups(route->regex);

    if (ngx_http_klaviyo_regex_exec(route->regex, match->path, captures, n)
        != NGX_OK)
    {
        return NGX_OK;
    }

    return match->handler(match->data, route, captures, n);
}
