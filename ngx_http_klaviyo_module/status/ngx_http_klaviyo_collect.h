
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What there is to see, collected at one moment from the control zone and the
 * rings: all forms of the status are made of this.  Nothing in it tells who a
 * visitor is or what a key is.
 */


#ifndef _NGX_HTTP_KLAVIYO_COLLECT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_COLLECT_H_INCLUDED_


#include "ngx_http_klaviyo_module.h"
#include "ngx_http_klaviyo_request.h"


/* enough for the sentence below, names of accounts included */
#define NGX_HTTP_KLAVIYO_SENTENCE        512


typedef enum {
    NGX_HTTP_KLAVIYO_HEALTH_OK = 0,
    NGX_HTTP_KLAVIYO_HEALTH_WARNING,     /* it mends itself, or is meant */
    NGX_HTTP_KLAVIYO_HEALTH_ERROR        /* somebody must do something */
} ngx_http_klaviyo_health_e;


typedef struct {
    ngx_http_klaviyo_health_e            level;
    ngx_str_t                            text;
} ngx_http_klaviyo_health_t;


typedef struct {
    ngx_http_klaviyo_rule_t             *rule;
    ngx_uint_t                           own;      /* the rule's, or the default
                                                      account, rather than one
                                                      that a location may use */
    ngx_http_klaviyo_counters_t          events;
} ngx_http_klaviyo_rule_view_t;


typedef struct {
    ngx_http_klaviyo_account_t          *account;
    ngx_http_klaviyo_account_state_t    *state;    /* a copy, its refusals
                                                      sorted; NULL: none */
    ngx_http_klaviyo_ring_stat_t         queue;
    ngx_http_klaviyo_counters_t          events;   /* of all rules */
    ngx_array_t                          rules;    /* _rule_view_t */

    /* the last minute, how many seconds of it are known */
    ngx_http_klaviyo_sample_t            minute;
    ngx_uint_t                           seconds;

    ngx_http_klaviyo_health_t            health;
} ngx_http_klaviyo_account_view_t;


typedef struct {
    time_t                               now;
    ngx_uint_t                           generation;
    ngx_pid_t                            pid;      /* of the dispatcher */
    ngx_uint_t                           alive;
    time_t                               beat;
    ngx_uint_t                           starts;
    ngx_uint_t                           crashes;

    ngx_array_t                          accounts;   /* _account_view_t */
    ngx_http_klaviyo_counters_t          total;
    ngx_http_klaviyo_tail_t             *tail;     /* NULL: off */
    ngx_http_klaviyo_memory_stat_t      *memory;   /* NULL: none is needed */

    ngx_http_klaviyo_health_t            health;
} ngx_http_klaviyo_view_t;


/* "ok", "throttled" ..., by _sender_e */
#define NGX_HTTP_KLAVIYO_NSTATES         4
extern ngx_str_t  ngx_http_klaviyo_states[];

/* "none", "1xx" ...: what answers[] counts */
#define NGX_HTTP_KLAVIYO_NANSWERS        6
extern ngx_str_t  ngx_http_klaviyo_answers[];

/* "ok", "warning", "error", by _health_e */
extern ngx_str_t  ngx_http_klaviyo_levels[];


/*
 * Takes the view from "pool".  Returns NULL without memory.  In a worker.
 */
ngx_http_klaviyo_view_t *ngx_http_klaviyo_collect(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf);

/*
 * Writes the counters of each account to its history; "data" is the main
 * configuration.  Each second, in the background process.
 */
void ngx_http_klaviyo_collect_second(void *data);


/* Sets the health of all accounts and of the whole, in one sentence each. */
ngx_int_t ngx_http_klaviyo_health(ngx_pool_t *pool,
    ngx_http_klaviyo_view_t *view);


#endif /* _NGX_HTTP_KLAVIYO_COLLECT_H_INCLUDED_ */
