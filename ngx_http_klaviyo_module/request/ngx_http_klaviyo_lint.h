
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Warnings about a configuration that is valid and can't be meant: names that
 * Klaviyo writes otherwise, rules that never match, values that are never
 * present.  All of it when the configuration is read, once all is known.
 */


#ifndef _NGX_HTTP_KLAVIYO_LINT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_LINT_H_INCLUDED_


#include "ngx_http_klaviyo_module.h"
#include "ngx_http_klaviyo_outlook.h"


/* each kind has its own limit of lines */
typedef enum {
    NGX_HTTP_KLAVIYO_LINT_NAME = 0,
    NGX_HTTP_KLAVIYO_LINT_TYPE,
    NGX_HTTP_KLAVIYO_LINT_RULE,
    NGX_HTTP_KLAVIYO_LINT_VALUE,
    NGX_HTTP_KLAVIYO_LINT_KINDS
} ngx_http_klaviyo_lint_e;


typedef struct {
    ngx_http_klaviyo_lint_e              kind;
    ngx_str_t                            text;
    ngx_str_t                            file;
    ngx_uint_t                           line;
    ngx_uint_t                           rank;     /* of the file */
    ngx_uint_t                           number;   /* as it was found */
} ngx_http_klaviyo_warning_t;


typedef struct {
    ngx_conf_t                          *cf;
    ngx_http_klaviyo_main_conf_t        *conf;
    ngx_array_t                          warnings;   /* _warning_t */
    ngx_http_klaviyo_prospect_t          prospect;   /* of the rule */
    ngx_http_klaviyo_rule_t             *rule;
    u_char                              *used;     /* per name of the rule */
    ngx_uint_t                           slashes;  /* some server keeps "//" */
} ngx_http_klaviyo_lint_t;


/*
 * Logs the warnings, in the order of file and line.  In postconfiguration,
 * before the phases are ours.  Returns NGX_OK, or NGX_ERROR without memory.
 */
ngx_int_t ngx_http_klaviyo_lint(ngx_conf_t *cf);


/* Adds a warning; " in FILE:LINE" follows. */
void ngx_http_klaviyo_lint_warn(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_lint_e kind, ngx_http_klaviyo_place_t *place,
    const char *fmt, ...);

/*
 * What keeps the rule from ever being met: routes, the level, conditions.
 * prospect.names are known.
 */
void ngx_http_klaviyo_lint_routes(ngx_http_klaviyo_lint_t *lint);
void ngx_http_klaviyo_lint_conditions(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *conditions, const char *directive);

/* The klaviyo_except of a level. */
void ngx_http_klaviyo_lint_excepts(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_loc_conf_t *conf);


#endif /* _NGX_HTTP_KLAVIYO_LINT_H_INCLUDED_ */
