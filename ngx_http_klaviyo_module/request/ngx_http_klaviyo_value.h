
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * VALUE = TERM { "|" FILTER ARGUMENT... }: compiled when the configuration is
 * read, evaluated in a worker.
 */


#ifndef _NGX_HTTP_KLAVIYO_VALUE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_VALUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_filter.h"


/* what of the bodies a value, or one of a rule's or a level's, names */
#define NGX_HTTP_KLAVIYO_NEED_REQUEST    0x01
#define NGX_HTTP_KLAVIYO_NEED_RESPONSE   0x02    /* @response */
#define NGX_HTTP_KLAVIYO_NEED_JSONLD     0x04
#define NGX_HTTP_KLAVIYO_NEED_TEXT       0x08    /* $klaviyo_response_body */

#define NGX_HTTP_KLAVIYO_NEED_ANSWER                                          \
    (NGX_HTTP_KLAVIYO_NEED_RESPONSE|NGX_HTTP_KLAVIYO_NEED_JSONLD              \
     |NGX_HTTP_KLAVIYO_NEED_TEXT)


typedef struct ngx_http_klaviyo_ctx_s  ngx_http_klaviyo_ctx_t;
typedef struct ngx_http_klaviyo_eval_s  ngx_http_klaviyo_eval_t;
typedef struct ngx_http_klaviyo_explain_s  ngx_http_klaviyo_explain_t;


/* where something stands in the configuration, and its words there */
typedef struct {
    ngx_str_t                            file;
    ngx_uint_t                           line;
    ngx_str_t                            text;     /* joined by blanks */
    ngx_uint_t                           words;
} ngx_http_klaviyo_place_t;


typedef enum {
    NGX_HTTP_KLAVIYO_TERM_STRING = 0,    /* constant, or with variables */
    NGX_HTTP_KLAVIYO_TERM_ARGS,          /* @args */
    NGX_HTTP_KLAVIYO_TERM_COOKIES,       /* @cookies */
    NGX_HTTP_KLAVIYO_TERM_REQUEST,       /* @request */
    NGX_HTTP_KLAVIYO_TERM_RESPONSE,      /* @response */
    NGX_HTTP_KLAVIYO_TERM_GRAPHQL,       /* @graphql */
    NGX_HTTP_KLAVIYO_TERM_JSONLD,        /* @jsonld */
    NGX_HTTP_KLAVIYO_TERM_NAME,          /* @NAME: a let, object or items */
    NGX_HTTP_KLAVIYO_TERM_ELEMENT        /* .path and ..path */
} ngx_http_klaviyo_term_e;


/* when a value is known, and a condition judged */
typedef enum {
    NGX_HTTP_KLAVIYO_STAGE_HEAD = 0,     /* the request's line and headers */
    NGX_HTTP_KLAVIYO_STAGE_BODY,         /* the request's body */
    NGX_HTTP_KLAVIYO_STAGE_ANSWER,       /* the response, or we can't tell */
    NGX_HTTP_KLAVIYO_STAGE_ELEMENT       /* the element of each */
} ngx_http_klaviyo_stage_e;


/* a piece of a string: a literal text, or a variable */
typedef struct {
    ngx_str_t                            text;
    ngx_int_t                            index;    /* NGX_ERROR: literal */
    ngx_uint_t                           decode;   /* $arg_x */
    ngx_uint_t                           body;     /* the one that is a raw
                                                      body: NEED_REQUEST or
                                                      NEED_TEXT */
} ngx_http_klaviyo_part_t;


typedef struct {
    ngx_http_klaviyo_term_e              type;
    ngx_str_t                            text;     /* STRING without parts */
    ngx_array_t                         *parts;    /* _part_t */
    ngx_http_klaviyo_path_t             *path;
    ngx_http_klaviyo_pick_t             *pick;     /* of a body: the path's, or
                                                      NULL */
    ngx_uint_t                           n;        /* NAME: which; ELEMENT:
                                                      how far out */
} ngx_http_klaviyo_term_t;


typedef struct {
    ngx_http_klaviyo_filter_t           *filter;
    ngx_http_klaviyo_arg_t               args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_term_t             *terms[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_uint_t                           nargs;
} ngx_http_klaviyo_step_t;


typedef struct {
    ngx_http_klaviyo_term_t              term;
    ngx_array_t                         *steps;    /* _step_t, or NULL */
    ngx_http_klaviyo_place_t            *place;

    /* how many elements of each and items it must stand in */
    ngx_uint_t                           frames;

    unsigned                             each:1;   /* differs per element of
                                                      each, by a @NAME */
    unsigned                             status:1;   /* reads $status */
    unsigned                             body:1;   /* reads the request's */
    unsigned                             answer:1;   /* not known before the
                                                        response's headers */
    unsigned                             late:1;   /* has a variable that may
                                                      depend on them */
} ngx_http_klaviyo_value_t;


/* what @NAME may stand for, in the order of the rule */
typedef struct {
    ngx_str_t                            name;
    struct ngx_http_klaviyo_node_s      *node;     /* object, items */
    ngx_http_klaviyo_value_t            *value;    /* let */

    unsigned                             each:1;
    unsigned                             status:1;
    unsigned                             body:1;
    unsigned                             answer:1;
    unsigned                             late:1;
} ngx_http_klaviyo_name_t;


/* a variable that a VALUE names, to be checked when all are known */
typedef struct {
    ngx_str_t                            name;
    ngx_str_t                            file;
    ngx_uint_t                           line;
    ngx_uint_t                           recall;   /* no variable, but what
                                                      "recall" names */
} ngx_http_klaviyo_reference_t;


/* where a VALUE is compiled; "cf" is one whose ctx is http's */
typedef struct {
    ngx_conf_t                          *cf;
    ngx_str_t                           *token;    /* the next one */
    ngx_str_t                           *last;     /* after the last one */
    ngx_array_t                         *names;    /* _name_t, or NULL */
    ngx_array_t                         *references;   /* _reference_t */
    ngx_array_t                         *captures;   /* _capture_t, or NULL */
    ngx_uint_t                          *needs;    /* grows by what the value
                                                      needs of bodies */
    ngx_http_klaviyo_pick_t             *elements[2];  /* "." and "..": of the
                                                          items around */
    ngx_str_t                            element;  /* the term that needs most
                                                      of value->frames */
    unsigned                             operators:1;  /* stop before one */
    unsigned                             several:1;  /* stop before the next
                                                        VALUE */
    unsigned                             parts:1;  /* a document's part that
                                                      others take parts of */
} ngx_http_klaviyo_compile_t;


/* the element of an each or items, and the ones around it */
typedef struct ngx_http_klaviyo_frame_s  ngx_http_klaviyo_frame_t;

struct ngx_http_klaviyo_frame_s {
    ngx_http_klaviyo_data_t              data;
    ngx_http_klaviyo_frame_t            *outer;
};


typedef struct {
    ngx_http_klaviyo_data_t              data;
    unsigned                             known:1;
    unsigned                             partial:1;  /* of object and items:
                                                        a part is unknown */
} ngx_http_klaviyo_slot_t;


/* one rule in one request */
struct ngx_http_klaviyo_eval_s {
    ngx_http_request_t                  *request;
    ngx_http_klaviyo_ctx_t              *ctx;      /* has the bodies */
    ngx_http_klaviyo_arena_t            *arena;
    ngx_http_klaviyo_slot_t             *args;     /* @args, once decoded */
    ngx_http_klaviyo_slot_t             *cookies;
    ngx_int_t                            http_cookie;  /* the variable */
    ngx_http_klaviyo_account_t          *account;  /* whose memory it is */

    ngx_http_klaviyo_name_t             *names;
    ngx_http_klaviyo_slot_t             *slots;    /* one per name */
    ngx_uint_t                           nslots;
    ngx_uint_t                           unknown;  /* parts of objects and
                                                      items, so far */

    ngx_http_klaviyo_frame_t            *frame;    /* innermost */
    ngx_http_klaviyo_frame_t            *each;     /* innermost of each */

    ngx_http_klaviyo_explain_t          *explain;  /* NULL: nobody asks */
};


/*
 * Compiles a VALUE from compile->token on, up to the end or, if asked, an
 * operator; moves compile->token behind it.  Returns NGX_OK; on NGX_ERROR an
 * [emerg] with the word and what to write instead was logged.
 */
ngx_int_t ngx_http_klaviyo_value_compile(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value);

/*
 * Where "cf" stands, with the words from "token" up to "last".  Returns NULL
 * without memory.  At configuration time.
 */
ngx_http_klaviyo_place_t *ngx_http_klaviyo_place(ngx_conf_t *cf,
    ngx_str_t *token, ngx_str_t *last);

/* Whether the token is an operator of "when". */
ngx_uint_t ngx_http_klaviyo_value_operator(ngx_str_t *token);

/*
 * [emerg] for each variable that a VALUE names and nobody defines.  In
 * postconfiguration; nginx's own check knows neither file nor line.
 */
ngx_int_t ngx_http_klaviyo_value_check(ngx_conf_t *cf,
    ngx_array_t *references);

/* Evaluates; total.  In a worker. */
void ngx_http_klaviyo_value_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_data_t *data);

/* The value before its filters: whether there is anything to go by. */
void ngx_http_klaviyo_value_input(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_data_t *data);

/* The same for @NAME number "n"; once per request, or element of each. */
void ngx_http_klaviyo_value_name(ngx_http_klaviyo_eval_t *eval, ngx_uint_t n,
    ngx_http_klaviyo_data_t *data);

/* The value of a variable; missing if not found or empty. */
void ngx_http_klaviyo_value_variable(ngx_http_request_t *r, ngx_int_t index,
    ngx_http_klaviyo_data_t *data);


#endif /* _NGX_HTTP_KLAVIYO_VALUE_H_INCLUDED_ */
