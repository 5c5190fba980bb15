
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the parts of the JSON-LD reader share: the scripts of a page, and its
 * nodes.  Pure: knows no request.
 */


#ifndef _NGX_HTTP_KLAVIYO_JSONLD_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_JSONLD_H_INCLUDED_


#include "ngx_http_klaviyo_document.h"


/* names of elements and attributes, values of "type", with entities */
#define NGX_HTTP_KLAVIYO_JSONLD_NAME   16
#define NGX_HTTP_KLAVIYO_JSONLD_VALUE  64


struct ngx_http_klaviyo_jsonld_s {
    ngx_pool_t                *pool;
    ngx_http_klaviyo_arena_t   arena;      /* for entities in attributes */

    /* texts of complete scripts, one after the other, then of the open one */
    u_char                    *buf;
    size_t                     size;
    size_t                     len;
    size_t                     limit;
    size_t                     start;      /* of the open one */
    ngx_array_t                scripts;    /* ends of the complete ones */

    ngx_uint_t                 state;
    ngx_uint_t                 dashes;     /* in a comment */
    ngx_str_t                  raw;        /* whose end is looked for */
    size_t                     matched;    /* of its name */
    size_t                     nname;
    size_t                     nvalue;
    u_char                     name[NGX_HTTP_KLAVIYO_JSONLD_NAME];
    u_char                     value[NGX_HTTP_KLAVIYO_JSONLD_VALUE];

    unsigned                   end:1;      /* an end tag */
    unsigned                   slash:1;    /* "/" was the last in the tag */
    unsigned                   script:1;   /* the tag is a script */
    unsigned                   typed:1;    /* with a type */
    unsigned                   jsonld:1;   /* of ours */
    unsigned                   open:1;     /* it is being kept */
    unsigned                   limited:1;
};


/* an object that no other one contains: what an @id may stand for */
typedef struct {
    json_t                          *json;
    size_t                           weight;    /* with what it refers to */
    unsigned                         open:1;    /* is being resolved */
    unsigned                         done:1;
    unsigned                         listed:1;  /* in a list or relation */
} ngx_http_klaviyo_jsonld_node_t;


typedef struct {
    ngx_http_klaviyo_arena_t        *arena;
    ngx_http_klaviyo_jsonld_node_t  *nodes;
    ngx_uint_t                       nnodes;
    json_t                          *ids;       /* numbers of nodes, from 1 */
    size_t                           weight;
    ngx_uint_t                       jumps;

    json_t                          *types;     /* what is returned */

    /* what the page's product may be; what it is said to be about */
    json_t                          *found;
    json_t                          *first;
} ngx_http_klaviyo_jsonld_page_t;


/* Whether an object has that type, alone or among others. */
ngx_uint_t ngx_http_klaviyo_jsonld_is(json_t *json, const char *type);

/* Returns the node that an object with this @id refers to, or NULL. */
ngx_http_klaviyo_jsonld_node_t *ngx_http_klaviyo_jsonld_find(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *json);

/*
 * Sets a member, takes over the reference (NULL is nothing), charges "cost"
 * and what the member takes.  NGX_OK, or NGX_ERROR when the arena is
 * exhausted.
 */
ngx_int_t ngx_http_klaviyo_jsonld_set(ngx_http_klaviyo_arena_t *arena,
    json_t *object, const char *name, json_t *json, size_t cost);

/*
 * The page's product out of "found", or of "first" if there is something.
 * Returns a tree that the arena keeps, or NULL.
 */
json_t *ngx_http_klaviyo_jsonld_product(ngx_http_klaviyo_jsonld_page_t *page);

/*
 * Makes one object of what a product has as "offers", in place.  NGX_OK, or
 * NGX_ERROR when the arena is exhausted.
 */
ngx_int_t ngx_http_klaviyo_jsonld_offers(ngx_http_klaviyo_arena_t *arena,
    json_t *product);


#endif /* _NGX_HTTP_KLAVIYO_JSONLD_H_INCLUDED_ */
