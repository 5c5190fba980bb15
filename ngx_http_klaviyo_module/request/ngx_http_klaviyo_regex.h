
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * PCRE2, used directly: just-in-time compiled, with a match limit, so that no
 * visitor can burn a worker.  nginx's own wrapper has no limit and compiles
 * without JIT unless pcre_jit is on.
 */


#ifndef _NGX_HTTP_KLAVIYO_REGEX_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_REGEX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* backtracking steps; without JIT also the depth */
#define NGX_HTTP_KLAVIYO_MATCH_LIMIT     20000

/* groups that a pattern may have */
#define NGX_HTTP_KLAVIYO_MAX_GROUPS      32

/*
 * bytes that a text may have: there are patterns whose cost grows with the
 * square of it and of which the match limit sees nothing
 */
#define NGX_HTTP_KLAVIYO_MAX_SUBJECT     65536


typedef struct ngx_http_klaviyo_regex_s  ngx_http_klaviyo_regex_t;

typedef struct {
    ngx_str_t                            name;
    ngx_uint_t                           group;
} ngx_http_klaviyo_group_t;


#define NGX_HTTP_KLAVIYO_REGEX_CASELESS  0x01
#define NGX_HTTP_KLAVIYO_REGEX_UTF       0x02    /* invalid UTF-8 tolerated */

/* the whole text; "*" and "?" stand for any characters, "/" and "." too */
#define NGX_HTTP_KLAVIYO_REGEX_GLOB      0x04


/*
 * Compiles "pattern"; the compiled pattern is freed with the pool.  Returns
 * NULL with a text in "err" that needs no more than "err->len" bytes at
 * "err->data" (the length is set).  At configuration time.
 */
ngx_http_klaviyo_regex_t *ngx_http_klaviyo_regex_compile(ngx_pool_t *pool,
    ngx_str_t *pattern, ngx_uint_t flags, ngx_str_t *err);

/*
 * Matches anywhere in "text".  "captures" takes pairs of offsets, (size_t) -1
 * for a group that took no part; "n" is how many pairs it has room for (0 is
 * fine).  Returns NGX_OK, NGX_DECLINED, or NGX_ABORT if the limit was met or
 * matching failed.
 */
ngx_int_t ngx_http_klaviyo_regex_exec(ngx_http_klaviyo_regex_t *re,
    ngx_str_t *text, size_t *captures, ngx_uint_t n);

/* How many groups the pattern has, the whole match not counted. */
ngx_uint_t ngx_http_klaviyo_regex_groups(ngx_http_klaviyo_regex_t *re);

/* Whether characters, not bytes, are matched (and folded, if caseless). */
ngx_uint_t ngx_http_klaviyo_regex_utf(ngx_http_klaviyo_regex_t *re);

/* The named groups: array of ngx_http_klaviyo_group_t; NULL on failure. */
ngx_array_t *ngx_http_klaviyo_regex_names(ngx_http_klaviyo_regex_t *re,
    ngx_pool_t *pool);

/*
 * The literal text that every match must begin with at the beginning of the
 * subject: what follows "^" up to the first metacharacter.  Empty if there is
 * none.  For ROUTE's tree; "pattern" is what was compiled.
 */
ngx_int_t ngx_http_klaviyo_regex_prefix(ngx_pool_t *pool, ngx_str_t *pattern,
    ngx_str_t *prefix);


#endif /* _NGX_HTTP_KLAVIYO_REGEX_H_INCLUDED_ */
