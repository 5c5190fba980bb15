
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Events of a visitor of whom it is not known yet who it is: held in the
 * memory, bounded in number and time, and queued once it is known.
 */


#ifndef _NGX_HTTP_KLAVIYO_BACKLOG_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_BACKLOG_H_INCLUDED_


#include "ngx_http_klaviyo_visit.h"


/* what is held for a _kx that is not confirmed yet without klaviyo_backlog */
#define NGX_HTTP_KLAVIYO_BACKLOG_EVENTS  8
#define NGX_HTTP_KLAVIYO_BACKLOG_TIME    (30 * 60)


/*
 * Holds an event that was rendered without an identifier: "record" as for the
 * ring, with the slot of its counters, "at" is event->profile_at.  NGX_OK, or
 * NGX_DECLINED: too large, or nothing is to be held.
 */
ngx_int_t ngx_http_klaviyo_backlog_hold(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_record_t *record,
    ngx_str_t *json, size_t at);

/*
 * Takes what is held of the visitor, one taker gets it, and queues it under
 * this identifier, as it was when it was held.
 */
void ngx_http_klaviyo_backlog_release(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_member_t *who);

/* Forgets what is held. */
void ngx_http_klaviyo_backlog_forget(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit);


#endif /* _NGX_HTTP_KLAVIYO_BACKLOG_H_INCLUDED_ */
