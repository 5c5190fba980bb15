
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * turbo-stream: what React Router answers to a ".data" request.  Pure: knows
 * no request.
 */


#ifndef _NGX_HTTP_KLAVIYO_TURBO_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_TURBO_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


/*
 * The value that a stream stands for: an object or an array.  Promises are
 * what later lines say; dates are RFC 3339, sets are arrays, maps are objects;
 * undefined, errors, numbers that JSON has no form for and what is around the
 * place that refers to it are missing (null in an array).  Returns a tree that
 * the arena keeps, or NULL: something else, or a limit met (counted).
 */
json_t *ngx_http_klaviyo_turbo_parse(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text);


#endif /* _NGX_HTTP_KLAVIYO_TURBO_H_INCLUDED_ */
