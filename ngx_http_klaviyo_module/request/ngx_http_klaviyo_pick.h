
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of a JSON text is asked for, by all paths that the configuration has,
 * and the text without the rest.  A tree of it costs some hundred instructions
 * per byte; to pass over what nobody asks for, a few.
 */


#ifndef _NGX_HTTP_KLAVIYO_PICK_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_PICK_H_INCLUDED_


#include "ngx_http_klaviyo_path.h"


typedef struct ngx_http_klaviyo_pick_s  ngx_http_klaviyo_pick_t;

/* a value of the document; all zeroes: nobody asks for anything of it */
struct ngx_http_klaviyo_pick_s {
    ngx_str_t                            name;
    ngx_http_klaviyo_pick_t             *next;     /* of the same object */
    ngx_http_klaviyo_pick_t             *members;
    ngx_http_klaviyo_pick_t             *elements;   /* one for all */
    ngx_uint_t                           nelements;  /* the first so many */
    ngx_uint_t                           whole;
};


/*
 * Where in "pick" is what "path" selects: who asks for all of it sets "whole",
 * who asks for something below goes on from there.  Of a filter that is all of
 * each element.  "path" must live as long as "pick".  Returns NULL without
 * memory.  At configuration time.
 */
ngx_http_klaviyo_pick_t *ngx_http_klaviyo_pick_path(ngx_pool_t *pool,
    ngx_http_klaviyo_pick_t *pick, ngx_http_klaviyo_path_t *path);

/*
 * The same for the elements of an array: all of them for a negative "index",
 * else those up to it; the members of an object, too, all of each.
 */
ngx_http_klaviyo_pick_t *ngx_http_klaviyo_pick_elements(ngx_pool_t *pool,
    ngx_http_klaviyo_pick_t *pick, ngx_int_t index);

/*
 * Sets "text" to a text that is not longer, in which the paths of "pick" select
 * the same.  A "text" that is not a JSON object or array, or that has escapes
 * in a name or brackets that don't match, stays as it is; what is left out is
 * not checked any further.  Linear in the length of "text", in which members
 * are looked up in turn.  In a worker.
 */
void ngx_http_klaviyo_pick(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_pick_t *pick, ngx_str_t *text);


#endif /* _NGX_HTTP_KLAVIYO_PICK_H_INCLUDED_ */
