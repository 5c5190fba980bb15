
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_identify and klaviyo_subscribe: what they have beside a rule for
 * events, and what they send instead of one.
 */


#ifndef _NGX_HTTP_KLAVIYO_IDENTIFY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_IDENTIFY_H_INCLUDED_


#include "ngx_http_klaviyo_rule.h"
#include "ngx_http_klaviyo_identity.h"


/* At configuration time */

/* Returns NULL without memory. */
ngx_http_klaviyo_subscribe_t *ngx_http_klaviyo_subscribe_create(
    ngx_pool_t *pool);

/* list ID; channels email|sms ...; source TEXT.  As handlers of nginx. */
char *ngx_http_klaviyo_subscribe_list(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_subscribe_t *subscribe);
char *ngx_http_klaviyo_subscribe_channels(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_subscribe_t *subscribe);
char *ngx_http_klaviyo_subscribe_source(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_subscribe_t *subscribe);

/*
 * Whether the rule may have this field of a profile; any rule.  NGX_OK, or
 * NGX_ERROR after an [emerg].
 */
ngx_int_t ngx_http_klaviyo_identify_field(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_profile_t *profile);

/*
 * Whether the rule, which may be any, has all that it needs.  Likewise, with
 * the rule's place.
 */
ngx_int_t ngx_http_klaviyo_identify_finish(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule);


/* In a worker */

/*
 * Who a rule that makes no events may write to: whom its configuration names.
 * For the others nothing is changed.
 */
void ngx_http_klaviyo_identify_limit(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_identity_t *identity);

/*
 * Renders the entry of a rule that makes no events.  NGX_OK, NGX_DECLINED
 * (there is nobody to write to) or NGX_ERROR (the arena has no room).
 */
ngx_int_t ngx_http_klaviyo_identify_render(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_member_t *members,
    ngx_uint_t n, ngx_str_t *json, ngx_uint_t *limits);


#endif /* _NGX_HTTP_KLAVIYO_IDENTIFY_H_INCLUDED_ */
