
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A rule as it was read: klaviyo_track METRIC [METHOD...] [PATTERN] { ... },
 * klaviyo_identify and klaviyo_subscribe likewise, without METRIC.
 */


#ifndef _NGX_HTTP_KLAVIYO_RULE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_RULE_H_INCLUDED_


#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_profile.h"
#include "ngx_http_klaviyo_route.h"
#include "ngx_http_klaviyo_value.h"


/* how many "each" a rule may have */
#define NGX_HTTP_KLAVIYO_MAX_EACH        4

/* keys of a "once" */
#define NGX_HTTP_KLAVIYO_MAX_ONCE        8


/* property, object and items */
typedef enum {
    NGX_HTTP_KLAVIYO_NODE_PROPERTY = 0,
    NGX_HTTP_KLAVIYO_NODE_OBJECT,
    NGX_HTTP_KLAVIYO_NODE_ITEMS
} ngx_http_klaviyo_node_e;


typedef struct ngx_http_klaviyo_node_s  ngx_http_klaviyo_node_t;

struct ngx_http_klaviyo_node_s {
    ngx_str_t                            name;     /* first: levels are merged
                                                      by it */
    ngx_http_klaviyo_node_e              type;
    ngx_str_t                            key;      /* rendered */
    ngx_http_klaviyo_value_t             value;    /* PROPERTY, ITEMS */
    ngx_array_t                         *nodes;    /* _node_t: OBJECT, ITEMS */
    ngx_uint_t                           slot;     /* of its @NAME, or UNSET */
    ngx_http_klaviyo_place_t            *place;
};


/* profile FIELD VALUE */
typedef struct {
    ngx_str_t                            name;     /* first, as above */
    ngx_str_t                            key;      /* rendered */
    ngx_http_klaviyo_field_e             field;
    ngx_http_klaviyo_value_t             value;
} ngx_http_klaviyo_profile_t;


typedef enum {
    NGX_HTTP_KLAVIYO_OP_TRUE = 0,        /* no operator */
    NGX_HTTP_KLAVIYO_OP_EQ,
    NGX_HTTP_KLAVIYO_OP_NE,
    NGX_HTTP_KLAVIYO_OP_LT,
    NGX_HTTP_KLAVIYO_OP_LE,
    NGX_HTTP_KLAVIYO_OP_GT,
    NGX_HTTP_KLAVIYO_OP_GE,
    NGX_HTTP_KLAVIYO_OP_MATCH,
    NGX_HTTP_KLAVIYO_OP_NOT_MATCH
} ngx_http_klaviyo_op_e;


/* when, klaviyo_consent; with "any" set, one of those must hold instead */
typedef struct {
    ngx_http_klaviyo_value_t             value;
    ngx_http_klaviyo_op_e                op;
    ngx_str_t                            text;
    ngx_http_klaviyo_regex_t            *regex;
    ngx_array_t                         *any;      /* _condition_t */
    ngx_http_klaviyo_stage_e             stage;    /* when it is judged */
    unsigned                             negate:1;
    unsigned                             present:1;  /* missing is false, with
                                                        "not" too */
} ngx_http_klaviyo_condition_t;


/* a group of the routes' patterns, as a variable */
typedef struct {
    ngx_http_variable_t                 *variable;
    ngx_int_t                            index;
    ngx_uint_t                           group;
    ngx_uint_t                           route;
} ngx_http_klaviyo_capture_t;


/* what klaviyo_subscribe has of its own */
typedef struct {
    ngx_http_klaviyo_subscription_t      subscription;   /* all that is
                                                            constant */
    ngx_array_t                          consent;  /* _condition_t */
    ngx_http_klaviyo_value_t            *consented_at;
} ngx_http_klaviyo_subscribe_t;


typedef struct {
    ngx_str_t                            metric;   /* or the directive */
    ngx_str_t                            service;
    ngx_http_klaviyo_lane_e              lane;     /* what the rule makes */
    ngx_http_klaviyo_subscribe_t        *subscribe;
    ngx_http_klaviyo_account_t          *account;  /* NULL: the location's */
    ngx_str_t                            account_name;   /* until all are
                                                            read */
    ngx_str_t                            account_file;
    ngx_uint_t                           account_line;

    ngx_array_t                          routes;   /* _route_t */
    ngx_array_t                          captures;   /* _capture_t */
    ngx_array_t                          conditions;   /* _condition_t */
    ngx_array_t                          names;    /* _name_t */
    ngx_array_t                          nodes;    /* _node_t */
    ngx_array_t                          profile;  /* _profile_t */
    ngx_array_t                          each;     /* _value_t */
    ngx_array_t                         *once;     /* _value_t: its keys */
    time_t                               once_ttl;   /* s */

    /* of klaviyo_remember, whose name is "metric" */
    ngx_http_klaviyo_value_t            *key;
    time_t                               ttl;      /* s */

    ngx_http_klaviyo_value_t            *value;
    ngx_http_klaviyo_value_t            *currency;
    ngx_http_klaviyo_value_t            *time;
    ngx_http_klaviyo_value_t            *unique_id;

    ngx_uint_t                           needs;    /* of bodies */
    ngx_uint_t                           backfill;   /* UNSET: the account's */
    ngx_uint_t                           ignore;   /* UNSET: the location's */

    /* the level that it stands at, nginx's own settings there, and its place
     * among all rules */
    void                                *level;
    ngx_http_core_loc_conf_t            *location;
    ngx_uint_t                           number;

    /* the routes as they were written, for people and for the counters' key;
     * how many rules of the same metric and routes stand before */
    ngx_str_t                            text;
    ngx_uint_t                           twin;
    ngx_str_t                            file;
    ngx_uint_t                           line;

    /* per account, by its index: rendered metric; slot of counters */
    ngx_str_t                           *metrics;
    ngx_uint_t                          *slots;

    unsigned                             remember:1;   /* klaviyo_remember */
    unsigned                             status:1;   /* "when" on $status */
    unsigned                             answer:1;   /* unique_id needs the
                                                        response, or an
                                                        element */
} ngx_http_klaviyo_rule_t;


/*
 * Reads klaviyo_track ... { ... } that "cf" stands at, or what makes entries of
 * another lane, or klaviyo_remember, which makes none (NGX_HTTP_KLAVIYO_LANES);
 * the variables that its values name go to "references".  Returns NULL after an
 * [emerg].  At configuration time.
 */
ngx_http_klaviyo_rule_t *ngx_http_klaviyo_rule_block(ngx_conf_t *cf,
    ngx_http_klaviyo_lane_e lane, ngx_array_t *references);

/* Adds the ways into the rules (array of _rule_t *) to "routes" (_route_t *).
 */
ngx_int_t ngx_http_klaviyo_rule_routes(ngx_array_t *rules,
    ngx_array_t *routes);

/* The directives inside of a rule, an object and an any. */
char *ngx_http_klaviyo_rule_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* [not] VALUE [OP TEXT] from compile->token to the end. */
ngx_int_t ngx_http_klaviyo_condition_compile(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_condition_t *c);

/*
 * NGX_OK: it holds; NGX_DECLINED: it does not; NGX_ABORT: unknown, since a
 * limit was met.  In a worker.
 */
ngx_int_t ngx_http_klaviyo_condition_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_condition_t *c);

/*
 * The same for a value that is known.  At configuration time too.
 */
ngx_int_t ngx_http_klaviyo_condition_judge(ngx_http_klaviyo_condition_t *c,
    ngx_http_klaviyo_data_t *data);

/*
 * The same for all of them that are judged at the stages "first" to "last":
 * the first that does not hold decides.
 */
ngx_int_t ngx_http_klaviyo_conditions_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_array_t *conditions, ngx_http_klaviyo_stage_e first,
    ngx_http_klaviyo_stage_e last);

/* What property, object or items gives. */
void ngx_http_klaviyo_node_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_data_t *data);

/*
 * Adds NAME to "nodes", and FIELD VALUE to "profiles", from compile->token on;
 * of klaviyo_property and klaviyo_profile too.  NULL after an [emerg].
 */
ngx_http_klaviyo_node_t *ngx_http_klaviyo_node_add(
    ngx_http_klaviyo_compile_t *compile, ngx_array_t *nodes);
ngx_http_klaviyo_profile_t *ngx_http_klaviyo_profile_add(
    ngx_http_klaviyo_compile_t *compile, ngx_array_t *profiles);

/*
 * Captures that nothing else in the configuration sets are not found outside
 * of the rule.  In postconfiguration: before, nginx's "set" would take them for
 * another module's.
 */
void ngx_http_klaviyo_rule_captures(ngx_http_klaviyo_rule_t *rule);

/* [prefetch] [bots] [optout] [gpc] [dnt] | off, of klaviyo_ignore too. */
char *ngx_http_klaviyo_ignore_parse(ngx_conf_t *cf, ngx_uint_t *ignore);


#endif /* _NGX_HTTP_KLAVIYO_RULE_H_INCLUDED_ */
