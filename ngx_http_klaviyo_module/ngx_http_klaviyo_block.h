
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The blocks of our directives are read by nginx's own parser in contexts of
 * ours, so that they nest and "include" works inside.
 */


#ifndef _NGX_HTTP_KLAVIYO_BLOCK_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_BLOCK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* "KLVY"; no other module has this type, so the context bits are all ours */
#define NGX_HTTP_KLAVIYO_MODULE          0x59564C4B

/* within the bits that NGX_ANY_CONF covers, else "include" is refused */
#define NGX_HTTP_KLAVIYO_ACCOUNT_CONF    0x02000000
#define NGX_HTTP_KLAVIYO_RULE_CONF       0x04000000
#define NGX_HTTP_KLAVIYO_ANY_CONF        0x08000000
#define NGX_HTTP_KLAVIYO_OBJECT_CONF     0x10000000
#define NGX_HTTP_KLAVIYO_REMEMBER_CONF   0x20000000
#define NGX_HTTP_KLAVIYO_IDENTIFY_CONF   0x40000000
#define NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF  0x80000000


/* cf->ctx inside of a block: nginx takes the first pointer for an array of
 * configurations and leaves it alone when it is NULL */
typedef struct {
    void                                *none;
    void                                *data;
    ngx_uint_t                           failed;   /* a directive of ours */
} ngx_http_klaviyo_block_t;


#define ngx_http_klaviyo_block_data(cf)                                       \
    ((ngx_http_klaviyo_block_t *) (cf)->ctx)->data


/*
 * Reads the block that "cf" stands before, in the context "type"; "data" is
 * what ngx_http_klaviyo_block_data() gives to the directives in it.  All of
 * "cf" is as before when it returns, its arguments too: those inside of the
 * block are read into an array of their own.
 */
char *ngx_http_klaviyo_block(ngx_conf_t *cf, ngx_uint_t type, void *data);

/* Returns a copy of cf->args that survives the directive; NULL on failure. */
ngx_array_t *ngx_http_klaviyo_block_args(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_klaviyo_block_module;


#endif /* _NGX_HTTP_KLAVIYO_BLOCK_H_INCLUDED_ */
