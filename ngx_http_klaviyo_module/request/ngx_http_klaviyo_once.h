
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * once [KEY ...] TIME: an event at most once per visitor and key.
 */


#ifndef _NGX_HTTP_KLAVIYO_ONCE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_ONCE_H_INCLUDED_


#include "ngx_http_klaviyo_visit.h"


/* a mark that was set */
typedef struct {
    ngx_http_klaviyo_memory_key_t        key;
    uint64_t                             version;  /* 0: none */
} ngx_http_klaviyo_once_t;


/*
 * Marks the rule's event of this visitor, or where "visit" is NULL of this
 * identifier.  NGX_OK, or NGX_DECLINED: it was marked already.  A rule without
 * "once" is never marked, nor is one whose key can't be made.
 */
ngx_int_t ngx_http_klaviyo_once_mark(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *who, ngx_http_klaviyo_once_t *once);

/* Takes the mark back: the event was not queued. */
void ngx_http_klaviyo_once_unmark(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_once_t *once);


#endif /* _NGX_HTTP_KLAVIYO_ONCE_H_INCLUDED_ */
