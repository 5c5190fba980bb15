
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The JSON value that flows through the filters of a VALUE, and the arena
 * that owns its memory.  Scalars are texts in the pool, only arrays and
 * objects are jansson's.
 */


#ifndef _NGX_HTTP_KLAVIYO_DATA_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_DATA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>


/* bytes that the values of one request may take, all together */
#define NGX_HTTP_KLAVIYO_ARENA_SIZE      (4 * 1024 * 1024)

/* so many take some ten milliseconds */
#define NGX_HTTP_KLAVIYO_ARENA_LOOKS     250000

/* Klaviyo's own limits */
#define NGX_HTTP_KLAVIYO_MAX_STRING      (100 * 1000)
#define NGX_HTTP_KLAVIYO_MAX_ITEMS       4000
#define NGX_HTTP_KLAVIYO_MAX_DEPTH       10

/*
 * About what jansson takes from malloc() for a scalar, a member of an object,
 * an element of an array, an array and an object; the bytes of texts and names
 * come on top.
 */
#define NGX_HTTP_KLAVIYO_VALUE_COST      96
#define NGX_HTTP_KLAVIYO_MEMBER_COST     112
#define NGX_HTTP_KLAVIYO_ELEMENT_COST    16
#define NGX_HTTP_KLAVIYO_ARRAY_COST      128
#define NGX_HTTP_KLAVIYO_OBJECT_COST     240


typedef enum {
    NGX_HTTP_KLAVIYO_MISSING = 0,
    NGX_HTTP_KLAVIYO_UNKNOWN,            /* missing because of a limit */
    NGX_HTTP_KLAVIYO_STRING,
    NGX_HTTP_KLAVIYO_NUMBER,
    NGX_HTTP_KLAVIYO_FALSE,
    NGX_HTTP_KLAVIYO_TRUE,
    NGX_HTTP_KLAVIYO_TREE                /* an array or an object */
} ngx_http_klaviyo_type_e;


typedef struct {
    ngx_http_klaviyo_type_e              type;

    /* STRING: any bytes; NUMBER: a valid JSON number, shortest decimal form */
    ngx_str_t                            text;

    /* TREE: borrowed, the arena keeps it alive */
    json_t                              *json;
} ngx_http_klaviyo_data_t;


typedef struct ngx_http_klaviyo_tree_s  ngx_http_klaviyo_tree_t;

typedef struct {
    ngx_pool_t                          *pool;
    ngx_http_klaviyo_tree_t             *trees;
    size_t                               left;
    ngx_uint_t                           looks;    /* at elements, left */
    ngx_uint_t                           limits;   /* times a limit was met */
} ngx_http_klaviyo_arena_t;


#define ngx_http_klaviyo_data_missing(d)                                      \
    (d)->type = NGX_HTTP_KLAVIYO_MISSING

#define ngx_http_klaviyo_data_is_missing(d)                                   \
    ((d)->type <= NGX_HTTP_KLAVIYO_UNKNOWN)

#define ngx_http_klaviyo_data_set_string(d, p, n)                             \
    (d)->type = NGX_HTTP_KLAVIYO_STRING;                                      \
    (d)->text.data = (u_char *) (p);                                          \
    (d)->text.len = (n)


/*
 * Prepares an arena that takes its memory from "pool", at most "size" bytes
 * of it; jansson's trees are charged too.  In a worker, once per request.
 */
void ngx_http_klaviyo_arena_init(ngx_http_klaviyo_arena_t *arena,
    ngx_pool_t *pool, size_t size);

/* Releases the trees; the pool's memory goes with the pool. */
void ngx_http_klaviyo_arena_done(ngx_http_klaviyo_arena_t *arena);

/* Returns "size" bytes from the pool, or NULL (counted in "limits"). */
void *ngx_http_klaviyo_arena_alloc(ngx_http_klaviyo_arena_t *arena,
    size_t size);

/*
 * Charges "size" bytes that are taken elsewhere (jansson's malloc()).
 * Returns NGX_OK, or NGX_DECLINED when nothing is left (counted).
 */
ngx_int_t ngx_http_klaviyo_arena_charge(ngx_http_klaviyo_arena_t *arena,
    size_t size);

/*
 * The same for a look at each of "n" elements, which takes time, no memory: for
 * each line all products may be looked at, and a visitor may send both.
 */
ngx_int_t ngx_http_klaviyo_arena_look(ngx_http_klaviyo_arena_t *arena,
    ngx_uint_t n);

/*
 * Takes over a new reference and keeps it until ngx_http_klaviyo_arena_done().
 * Returns "json"; on failure releases it and returns NULL.  NULL gives NULL.
 */
json_t *ngx_http_klaviyo_arena_keep(ngx_http_klaviyo_arena_t *arena,
    json_t *json);

/*
 * Takes from "*left" what somebody meets who goes through all of "json": the
 * bytes of texts, and 16 for each value.  Who lets several places share a node
 * asks this for each, since the arena pays for it only once.  Returns NGX_OK,
 * or NGX_DECLINED when there is not as much (counted).
 */
ngx_int_t ngx_http_klaviyo_arena_weigh(ngx_http_klaviyo_arena_t *arena,
    json_t *json, size_t *left);


/*
 * Sets "data" from a jansson value that the arena (or somebody who lives
 * longer) keeps alive: null is missing, scalars become texts (strings are not
 * copied), arrays and objects are borrowed.
 */
void ngx_http_klaviyo_data_from_json(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, json_t *json);

/*
 * Returns a new reference, or NULL for missing and on failure.  Invalid UTF-8
 * in a string becomes U+FFFD.
 */
json_t *ngx_http_klaviyo_data_to_json(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data);

/*
 * The text of a scalar: a string itself, a number's shortest decimal form,
 * "true" or "false".  Returns NGX_OK, or NGX_DECLINED for missing and trees.
 */
ngx_int_t ngx_http_klaviyo_data_text(ngx_http_klaviyo_data_t *data,
    ngx_str_t *text);

/*
 * What "when VALUE" asks: 1 if present, not empty, not "0" and not "false"
 * (as text or as type; the number 0 in any form; empty arrays and objects).
 */
ngx_uint_t ngx_http_klaviyo_data_truth(ngx_http_klaviyo_data_t *data);


#endif /* _NGX_HTTP_KLAVIYO_DATA_H_INCLUDED_ */
