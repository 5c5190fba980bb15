
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Pairs of a name and a text as a tree: what forms of any encoding share.
 * Brackets in names nest: [] appends, and an object whose names are 0, 1, 2
 * and so on becomes an array.
 */


#ifndef _NGX_HTTP_KLAVIYO_FORM_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_FORM_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


#define NGX_HTTP_KLAVIYO_FORM_REPEAT  1     /* equal names make an array */
#define NGX_HTTP_KLAVIYO_FORM_FLAT    2     /* brackets belong to the name */


typedef struct {
    ngx_http_klaviyo_arena_t  *arena;
    json_t                    *object;
    ngx_uint_t                 flags;
    ngx_uint_t                 pairs;
} ngx_http_klaviyo_form_t;


/*
 * Begins an empty form.  Without NGX_HTTP_KLAVIYO_FORM_REPEAT the first of
 * equal names counts.  NGX_OK, or NGX_ERROR when the arena is exhausted.
 */
ngx_int_t ngx_http_klaviyo_form_init(ngx_http_klaviyo_form_t *form,
    ngx_http_klaviyo_arena_t *arena, ngx_uint_t flags);

/*
 * Adds a pair, any bytes.  Returns NGX_OK; NGX_DECLINED if the pair is not
 * taken (no name, a NUL in it, a text where an object is); NGX_ERROR if a
 * limit was met, which is counted: then there is no form at all, since nobody
 * could tell what is missing in it.
 */
ngx_int_t ngx_http_klaviyo_form_add(ngx_http_klaviyo_form_t *form,
    ngx_str_t *name, ngx_str_t *value);

/* Returns the form's object, which the arena keeps; nothing is added later. */
json_t *ngx_http_klaviyo_form_done(ngx_http_klaviyo_form_t *form);


#endif /* _NGX_HTTP_KLAVIYO_FORM_H_INCLUDED_ */
