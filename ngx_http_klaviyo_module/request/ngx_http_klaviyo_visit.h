
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The visitor whom one request is of: found in the memory by klaviyo_visitor's
 * value once per account, judged, and written back when the request ends.
 */


#ifndef _NGX_HTTP_KLAVIYO_VISIT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_VISIT_H_INCLUDED_


#include "ngx_http_klaviyo_request.h"
#include "ngx_http_klaviyo_identity.h"
#include "ngx_http_klaviyo_memory.h"
#include "ngx_http_klaviyo_visitor.h"


struct ngx_http_klaviyo_visit_s {
    ngx_http_klaviyo_account_t          *account;
    ngx_str_t                            value;    /* klaviyo_visitor's; "":
                                                      nobody's, or no memory */
    ngx_http_klaviyo_memory_key_t        key;
    uint64_t                             version;
    ngx_http_klaviyo_visitor_t           visitor;  /* as of before */
    ngx_http_klaviyo_change_t            change;
    ngx_http_klaviyo_visit_t            *next;

    unsigned                             unknown:1;  /* a limit stopped the
                                                        value */
    unsigned                             there:1;  /* was remembered */
    unsigned                             sent:1;   /* by the visitor: the value
                                                      was known from the request
                                                      alone */
    unsigned                             allowed:1;  /* noise and consent let
                                                        events pass */
};


/* A context to evaluate values in that no rule has, of this account. */
void ngx_http_klaviyo_visit_eval(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_eval_t *eval);

/*
 * The visitor under that account, or NULL: without klaviyo_visitor, and where
 * its value is missing.  In the log phase, in the rules' scope.
 */
ngx_http_klaviyo_visit_t *ngx_http_klaviyo_visit(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_account_t *account);

/*
 * Noise of "ignore", what the visitor's browser said before, and consent: the
 * reason why there is no event, a ngx_http_klaviyo_skip_e, or NGX_DECLINED.
 * Notes what this request says.  "visit" may be NULL; where a limit is the
 * reason for that, somebody may have refused, and it is the reason here.
 */
ngx_int_t ngx_http_klaviyo_visit_judge(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_visit_t *visit, ngx_uint_t ignore);

/*
 * Notes an identifier of this source that an event was sent under, or that
 * stood in a link.  NULL and others than e-mail, phone_number, id and _kx are
 * ignored.
 */
void ngx_http_klaviyo_visit_learn(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *member, ngx_http_klaviyo_source_e source);

/*
 * The same for a _kx that stands in the query.  NGX_OK if it counts; else it is
 * noted as one that may be a robot's: klaviyo_kx confirm.
 */
ngx_int_t ngx_http_klaviyo_visit_link(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_visit_t *visit, ngx_http_klaviyo_member_t *member);

/* The remembered identifier as a member of a profile; 0: there is none. */
ngx_uint_t ngx_http_klaviyo_visit_recall(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *member);

/*
 * When all rules are done: looks for a _kx that no event has taken notice of,
 * and writes back what has changed.
 */
void ngx_http_klaviyo_visit_finish(ngx_http_klaviyo_ctx_t *ctx);


#endif /* _NGX_HTTP_KLAVIYO_VISIT_H_INCLUDED_ */
