
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What a VALUE can be, told from the configuration alone: constants are
 * evaluated by the real filters, of all else the possible types are followed
 * from the term through path and filters.  Whatever is not known for sure may
 * be anything.
 */


#ifndef _NGX_HTTP_KLAVIYO_OUTLOOK_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_OUTLOOK_H_INCLUDED_


#include "ngx_http_klaviyo_rule.h"


#define NGX_HTTP_KLAVIYO_MAY_STRING      0x01
#define NGX_HTTP_KLAVIYO_MAY_NUMBER      0x02
#define NGX_HTTP_KLAVIYO_MAY_BOOLEAN     0x04
#define NGX_HTTP_KLAVIYO_MAY_ARRAY       0x08
#define NGX_HTTP_KLAVIYO_MAY_OBJECT      0x10

#define NGX_HTTP_KLAVIYO_MAY_SCALAR                                           \
    (NGX_HTTP_KLAVIYO_MAY_STRING|NGX_HTTP_KLAVIYO_MAY_NUMBER                  \
     |NGX_HTTP_KLAVIYO_MAY_BOOLEAN)

#define NGX_HTTP_KLAVIYO_MAY_TREE                                             \
    (NGX_HTTP_KLAVIYO_MAY_ARRAY|NGX_HTTP_KLAVIYO_MAY_OBJECT)

#define NGX_HTTP_KLAVIYO_MAY_ANY                                              \
    (NGX_HTTP_KLAVIYO_MAY_SCALAR|NGX_HTTP_KLAVIYO_MAY_TREE)


typedef struct {
    ngx_uint_t                           types;    /* 0: never present */
    ngx_uint_t                           below;    /* of what is in a tree */
    ngx_http_klaviyo_data_t              data;     /* if it is constant */
    ngx_array_t                         *nodes;    /* _node_t: all that the
                                                      object, or each element
                                                      of the array, has */
    unsigned                             constant:1;
} ngx_http_klaviyo_outlook_t;


/* of the values of one rule, in the order of its names */
typedef struct {
    ngx_pool_t                          *pool;     /* of messages */
    ngx_http_klaviyo_arena_t            *arena;
    ngx_http_klaviyo_name_t             *names;
    ngx_http_klaviyo_outlook_t          *known;    /* of names, "nknown" */
    ngx_uint_t                           nknown;
    ngx_str_t                            reason;   /* why it is never present,
                                                      empty: a part is not */
} ngx_http_klaviyo_prospect_t;


/*
 * Sets "outlook" to what the value can be; if it is never present,
 * prospect->reason says why.  At configuration time.
 */
void ngx_http_klaviyo_outlook(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_outlook_t *outlook);

/* The same for @NAME number prospect->nknown, which is known then. */
void ngx_http_klaviyo_outlook_name(ngx_http_klaviyo_prospect_t *prospect);


#endif /* _NGX_HTTP_KLAVIYO_OUTLOOK_H_INCLUDED_ */
