
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A request that met a rule: found on arrival, judged and queued after the
 * response.
 */


#ifndef _NGX_HTTP_KLAVIYO_REQUEST_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_REQUEST_H_INCLUDED_


#include "ngx_http_klaviyo_module.h"
#include "ngx_http_klaviyo_content.h"


/* a rule that matched method and path */
typedef struct ngx_http_klaviyo_candidate_s  ngx_http_klaviyo_candidate_t;

struct ngx_http_klaviyo_candidate_s {
    ngx_http_klaviyo_rule_t             *rule;
    ngx_http_klaviyo_route_t            *route;
    size_t                              *captures;   /* pairs of offsets */
    ngx_uint_t                           ncaptures;
    ngx_str_t                            event_id;   /* of element 0, if it
                                                        was asked for */
    ngx_str_t                            result;
    ngx_http_klaviyo_slot_t             *slots;    /* names known so far */
    ngx_http_klaviyo_stage_e             stage;    /* the first that was not
                                                      judged yet */
    ngx_uint_t                           reason;   /* if it failed */
    ngx_http_klaviyo_candidate_t        *next;     /* by rule->number */

    unsigned                             failed:1;
};


typedef struct ngx_http_klaviyo_visit_s  ngx_http_klaviyo_visit_t;
typedef struct ngx_http_klaviyo_recall_s  ngx_http_klaviyo_recall_t;


/* hangs on the request's pool, which internal redirects leave alone */
struct ngx_http_klaviyo_ctx_s {
    ngx_http_request_t                  *request;
    ngx_http_klaviyo_loc_conf_t         *conf;     /* the server's, then of
                                                      the first location */
    ngx_http_klaviyo_candidate_t        *candidates;
    ngx_http_klaviyo_arena_t             arena;
    ngx_http_klaviyo_slot_t              args;
    ngx_http_klaviyo_slot_t              cookies;
    ngx_http_klaviyo_content_t          *content;  /* if a rule wants it */
    ngx_http_klaviyo_visit_t            *visits;   /* one per account */
    ngx_http_klaviyo_recall_t           *recalls;  /* facts, so far */
    ngx_http_klaviyo_explain_t          *explain;  /* if the visitor may ask */

    /* as they came */
    ngx_str_t                            uri;
    ngx_str_t                            query;
    ngx_str_t                            method_name;
    ngx_uint_t                           method;

    ngx_uint_t                           sequence;   /* in default ids */
    ngx_str_t                            visitor_id;   /* of the cookie that
                                                          the response sets */

    unsigned                             body:1;   /* the request has one */
    unsigned                             asked:1;  /* who wants it */
    unsigned                             landing:1;  /* may have a _kx that is
                                                        remembered, or confirm
                                                        one */
    unsigned                             located:1;
    unsigned                             logged:1;
};


/* In the server rewrite phase, first: which rules the path meets. */
ngx_int_t ngx_http_klaviyo_match_handler(ngx_http_request_t *r);

/* In the rewrite phase, first: the location that was chosen first. */
ngx_int_t ngx_http_klaviyo_locate_handler(ngx_http_request_t *r);

/* In the log phase, before access_log: judges, builds and queues events. */
ngx_int_t ngx_http_klaviyo_log_handler(ngx_http_request_t *r);

/* $klaviyo_url and the others; in preconfiguration. */
ngx_int_t ngx_http_klaviyo_variables(ngx_conf_t *cf);

/* Whether the rule counts in the context's location. */
ngx_uint_t ngx_http_klaviyo_rule_counts(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_rule_t *rule);

/* What the rule and the levels around the location need of the bodies. */
#define ngx_http_klaviyo_needs(ctx, rule)                                     \
    ((rule)->needs | (ctx)->conf->needs)

/* Takes the location that nginx has chosen, unless one was taken before. */
ngx_uint_t ngx_http_klaviyo_locate(ngx_http_klaviyo_ctx_t *ctx);

/* The context of the request, wherever it was redirected to; or NULL. */
ngx_http_klaviyo_ctx_t *ngx_http_klaviyo_get_ctx(ngx_http_request_t *r);

/*
 * The slot of the rule's counters under that account: found once per process.
 */
ngx_uint_t ngx_http_klaviyo_rule_slot(ngx_http_klaviyo_control_t *control,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_account_t *account);

/* In init_process of a worker: the serial that default ids carry. */
void ngx_http_klaviyo_track_init(ngx_uint_t serial);


/* Judges a candidate, whose captures are set, and queues its events. */
void ngx_http_klaviyo_track(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_candidate_t *candidate);

/*
 * Whether a candidate, whose captures are set, may still match: judges those
 * of its conditions that need no more than "stage", each once.
 */
ngx_uint_t ngx_http_klaviyo_track_judge(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_candidate_t *candidate, ngx_http_klaviyo_stage_e stage);

/* Whether the response's status is one that the rule is for. */
ngx_uint_t ngx_http_klaviyo_track_status(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_rule_t *rule);

/*
 * The id of the candidate's first event before it is tracked; empty if its
 * inputs do not exist yet.  From then on the event has that id.
 */
ngx_int_t ngx_http_klaviyo_track_id(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_candidate_t *candidate, ngx_str_t *id);


/*
 * While rules are evaluated, method, URI and arguments are as they came and the
 * rule's captures are set; then all is put back, the variables' cache too.
 */
typedef struct {
    ngx_str_t                            uri;
    ngx_str_t                            args;
    ngx_str_t                            method_name;
    ngx_uint_t                           method;
    void                               **loc_conf;
    ngx_http_variable_value_t           *variables;
    ngx_http_klaviyo_rule_t             *rule;     /* whose captures are set */

    /* $1 and so on, of the last regex of nginx's own */
    int                                 *captures;
    u_char                              *captures_data;
    ngx_uint_t                           ncaptures;

    unsigned                             realloc_captures:1;
    unsigned                             own:1;    /* values may be ours only */
} ngx_http_klaviyo_scope_t;

ngx_int_t ngx_http_klaviyo_scope_enter(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope);
void ngx_http_klaviyo_scope_captures(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope, ngx_http_klaviyo_candidate_t *candidate);
void ngx_http_klaviyo_scope_leave(ngx_http_klaviyo_ctx_t *ctx,
    ngx_http_klaviyo_scope_t *scope);


#endif /* _NGX_HTTP_KLAVIYO_REQUEST_H_INCLUDED_ */
