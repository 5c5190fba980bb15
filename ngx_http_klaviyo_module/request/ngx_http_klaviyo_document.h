
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What bodies say, as trees: by their type, as GraphQL, as React's calls, and
 * the schema.org objects of a page.  Pure: knows no request.  All is total and
 * bounded: wrong input gives NULL or less, never an error, never a guess.
 */


#ifndef _NGX_HTTP_KLAVIYO_DOCUMENT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DOCUMENT_H_INCLUDED_


#include "ngx_http_klaviyo_pick.h"


/*
 * A body by its Content-Type (the header's whole value, may be empty): JSON
 * whatever the type says, if it begins as an object or an array; urlencoded
 * form; multipart/form-data (text parts only; names nest as those of forms
 * do, repeated ones are an array in both); text/x-script (what React Router
 * answers to a ".data" request); application/graphql (as {"query": text}).
 * With "action" the body is a call of a React server action: its references
 * and escapes are resolved, and its arguments are an array; a form that was
 * posted without scripts is read as any other.  Of JSON the tree has at least
 * what "pick" asks for (NULL: all), else it has everything.  Returns a tree
 * that the arena keeps, or NULL: none of these, or a limit met (counted in the
 * arena).
 */
json_t *ngx_http_klaviyo_document_body(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *type, ngx_str_t *text, ngx_http_klaviyo_pick_t *pick,
    ngx_uint_t action);

/*
 * {operation, type, fields, arguments, variables, hash} of a GraphQL request,
 * an array of them for a batch (null for what is no request); from the body's
 * tree, whose part "operations" it may be, or, where that is NULL, from @args.
 * "operation" is operationName, else the name in the query's text (of the only
 * operation, or none); "type" is "query", "mutation" or "subscription";
 * "fields" the names of the root fields, each once, not their aliases, through
 * fragments, without those that @skip or @include leave out; "arguments" the
 * root fields' arguments by field (of equal fields the first), literals,
 * variables and their defaults resolved; "hash" the persisted query's.  What
 * is not there is left out.  Returns a tree that the arena keeps, or NULL:
 * neither a query nor a name nor a hash, or a limit met (counted).
 */
json_t *ngx_http_klaviyo_document_graphql(ngx_http_klaviyo_arena_t *arena,
    json_t *body, json_t *args);


/* <script type="application/ld+json"> in a page that streams by */
typedef struct ngx_http_klaviyo_jsonld_s  ngx_http_klaviyo_jsonld_t;

/*
 * Returns a scanner that keeps at most "limit" bytes of scripts (all of them
 * together, with their end tags) and a window of bounded size, or NULL.
 */
ngx_http_klaviyo_jsonld_t *ngx_http_klaviyo_jsonld_create(ngx_pool_t *pool,
    size_t limit);

/*
 * Reads a piece of the page, cut anywhere; linear in its length.  Returns
 * NGX_OK; NGX_DECLINED when no more is wanted (the limit was met, which
 * ngx_http_klaviyo_jsonld_tree() will say).
 */
ngx_int_t ngx_http_klaviyo_jsonld_feed(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char *p, u_char *last);

/*
 * The page's objects by type, the first of each type: {"Product": {...},
 * "BreadcrumbList": {...}}.  They are those that stand alone, in an array or
 * in @graph, and what these have as mainEntity, mainEntityOfPage, breadcrumb
 * and itemReviewed.  Names and enumerations are schema.org's short ones, an
 * @id stands for its object where that is on the page.
 *
 * A product in a list, a trail or another product's relations is not the
 * page's.  If several are left and one is somebody's mainEntity or has a
 * mainEntityOfPage, the others are not either.  If those then left have
 * neither @id, url, sku, productID, name nor group in common, there is no
 * Product; else the first counts.
 *
 * A ProductGroup gives a Product, too: with what its only variant says, or
 * with "hasVariant", an array, and the offers of all.  A Product's "offers"
 * is one object with price, priceCurrency and availability as far as they are
 * known: of several offers in the same currency the lowest price, and InStock
 * if any is; the array is its "offers".
 *
 * Once per scanner.  Returns a tree that the arena keeps, or NULL; "*limited"
 * is set when a limit was met, also with a tree of what there is.
 */
json_t *ngx_http_klaviyo_jsonld_tree(ngx_http_klaviyo_jsonld_t *jsonld,
    ngx_http_klaviyo_arena_t *arena, ngx_uint_t *limited);


#endif /* _NGX_HTTP_KLAVIYO_DOCUMENT_H_INCLUDED_ */
