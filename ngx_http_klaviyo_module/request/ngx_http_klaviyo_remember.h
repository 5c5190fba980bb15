
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_remember and the filter "recall": facts that one request has and a
 * later one needs.
 */


#ifndef _NGX_HTTP_KLAVIYO_REMEMBER_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_REMEMBER_H_INCLUDED_


#include "ngx_http_klaviyo_request.h"


/*
 * Keeps what the rule's properties give under its name and key, in the place of
 * what was there; nothing, if they give nothing or a part is unknown.  In the
 * log phase.
 */
void ngx_http_klaviyo_remember(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_rule_t *rule);

/* recall NAME [PATH]: "data" is the key, and becomes what was kept. */
void ngx_http_klaviyo_recall(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs);

/*
 * [emerg] for each NAME of "recall" in "references" that no rule remembers.  In
 * postconfiguration.
 */
ngx_int_t ngx_http_klaviyo_recall_check(ngx_conf_t *cf,
    ngx_array_t *references, ngx_array_t *rules);


#endif /* _NGX_HTTP_KLAVIYO_REMEMBER_H_INCLUDED_ */
