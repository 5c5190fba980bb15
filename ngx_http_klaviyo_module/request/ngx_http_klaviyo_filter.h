
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The filters of a VALUE: a table of names, arguments and functions.  Each is
 * total and bounded: wrong input gives missing, never an error, never a guess.
 */


#ifndef _NGX_HTTP_KLAVIYO_FILTER_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_FILTER_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"
#include "ngx_http_klaviyo_pick.h"
#include "ngx_http_klaviyo_regex.h"


#define NGX_HTTP_KLAVIYO_FILTER_ARGS     2


typedef enum {
    NGX_HTTP_KLAVIYO_ARG_NONE = 0,
    NGX_HTTP_KLAVIYO_ARG_PATH,           /* constant: path */
    NGX_HTTP_KLAVIYO_ARG_PATTERN,        /* constant: regex */
    NGX_HTTP_KLAVIYO_ARG_GLOB,           /* constant: regex */
    NGX_HTTP_KLAVIYO_ARG_SEP,            /* constant: text, not empty, \xNN */
    NGX_HTTP_KLAVIYO_ARG_GLUE,           /* the same, may be empty */
    NGX_HTTP_KLAVIYO_ARG_INDEX,          /* constant: n, may be negative */
    NGX_HTTP_KLAVIYO_ARG_COUNTRY,        /* constant: country; or as a TERM */
    NGX_HTTP_KLAVIYO_ARG_NAME,           /* constant: text; of "recall", which
                                            is not a function of its input */
    NGX_HTTP_KLAVIYO_ARG_TERM            /* evaluated before the filter runs */
} ngx_http_klaviyo_arg_e;


/* one argument as it was compiled; for a TERM "data" is set at run time */
typedef struct {
    ngx_str_t                            text;
    ngx_int_t                            n;
    ngx_http_klaviyo_path_t             *path;
    ngx_http_klaviyo_pick_t              pick;     /* the path's */
    ngx_http_klaviyo_regex_t            *regex;
    void                                *country;
    ngx_http_klaviyo_data_t              data;
} ngx_http_klaviyo_arg_t;


/*
 * Changes "data" in place.  "args" are NGX_HTTP_KLAVIYO_FILTER_ARGS long,
 * "nargs" of them were given.
 */
typedef void (*ngx_http_klaviyo_filter_pt)(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs);


typedef struct {
    ngx_str_t                            name;
    ngx_http_klaviyo_filter_pt           run;

    /* the mandatory ones first */
    ngx_http_klaviyo_arg_e               args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_uint_t                           mandatory;

    /* 1: works on scalars and is applied to each element of an array;
     * 2: the same, and takes objects too */
    ngx_uint_t                           maps;

    /* 1: runs on a missing value too */
    ngx_uint_t                           total;
} ngx_http_klaviyo_filter_t;


/* Returns the filter of that name, or NULL. */
ngx_http_klaviyo_filter_t *ngx_http_klaviyo_filter_find(ngx_str_t *name);

/* Returns the filter whose name is nearest by spelling, or NULL. */
ngx_http_klaviyo_filter_t *ngx_http_klaviyo_filter_near(ngx_str_t *name);

/*
 * Compiles one constant argument (all kinds but TERM).  Returns NGX_OK, or
 * NGX_DECLINED with a message in "err" (128 bytes at "err->data", the length
 * is set) that says what is wrong with it.  At configuration time.
 */
ngx_int_t ngx_http_klaviyo_filter_arg(ngx_pool_t *pool,
    ngx_http_klaviyo_arg_e kind, ngx_str_t *text, ngx_http_klaviyo_arg_t *arg,
    ngx_str_t *err);

/*
 * Runs the filter on "data": maps over arrays if the filter does (an array
 * keeps what is not missing), keeps missing missing (but for "default" and
 * "count").  A limit that is met gives NGX_HTTP_KLAVIYO_UNKNOWN.
 */
void ngx_http_klaviyo_filter_run(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_filter_t *filter, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs);

/*
 * \xNN in SEP, GLOB and TEXT of "when": decoded in place.  NGX_OK, or
 * NGX_DECLINED if the two digits are missing.
 */
ngx_int_t ngx_http_klaviyo_unescape_hex(ngx_str_t *text);

/*
 * Parses RFC 3339 (offset or "Z" needed unless only a date is given), an HTTP
 * date, or epoch seconds or milliseconds: from 1973 to 2286, so that neither
 * 20260723 nor 20260723101530 is taken for one.  Returns seconds since the
 * epoch and the milliseconds, or NGX_DECLINED.  What "date" and "time" use.
 */
ngx_int_t ngx_http_klaviyo_date_parse(ngx_str_t *text, int64_t *sec,
    ngx_uint_t *msec);

/*
 * Writes "2026-07-23T10:15:30Z"; returns the length, at most 24 (20, or 24
 * with milliseconds if "msec" is not 0), 0 if not in the years 1 to 9999.
 */
#define NGX_HTTP_KLAVIYO_DATE_LEN        24

size_t ngx_http_klaviyo_date_format(u_char *buf, int64_t sec,
    ngx_uint_t msec);


#endif /* _NGX_HTTP_KLAVIYO_FILTER_H_INCLUDED_ */
