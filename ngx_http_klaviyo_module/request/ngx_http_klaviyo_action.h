
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Calls of React server actions: what their arguments are.  Pure: knows no
 * request.
 */


#ifndef _NGX_HTTP_KLAVIYO_ACTION_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_ACTION_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


/*
 * The arguments of a call whose body was the JSON text of "arguments".
 * Returns a tree that the arena keeps, or NULL when a limit was met.
 */
json_t *ngx_http_klaviyo_action_json(ngx_http_klaviyo_arena_t *arena,
    json_t *arguments);

/*
 * The same for a multipart body.  NGX_OK; NGX_DECLINED if the body is no call:
 * it has no part "0", as that of a form that was posted without scripts;
 * NGX_ERROR if it is cut or wrong, or a limit was met.
 */
ngx_int_t ngx_http_klaviyo_action_multipart(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *type, ngx_str_t *text, json_t **json);


#endif /* _NGX_HTTP_KLAVIYO_ACTION_H_INCLUDED_ */
