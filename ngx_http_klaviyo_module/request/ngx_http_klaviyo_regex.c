
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * PCRE2, used directly: compiling, matching within limits, and the literal
 * beginning of a pattern.
 */


#include "ngx_http_klaviyo_regex.h"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH  8
#endif

#include <pcre2.h>


/* kilobytes that matching may take where there is no JIT */
#define NGX_HTTP_KLAVIYO_HEAP_LIMIT  4096


struct ngx_http_klaviyo_regex_s {
    pcre2_code                          *code;
    ngx_uint_t                           groups;
    ngx_uint_t                           direct;   /* needs no check of the
                                                      text before the JIT */
};


static ngx_int_t ngx_http_klaviyo_regex_init(void);
static ngx_int_t ngx_http_klaviyo_regex_check(ngx_http_klaviyo_regex_t *re,
    ngx_str_t *err);
static pcre2_code *ngx_http_klaviyo_regex_code(ngx_str_t *pattern,
    ngx_uint_t flags, ngx_str_t *err);
static pcre2_code *ngx_http_klaviyo_regex_glob(ngx_pool_t *pool,
    ngx_str_t *glob, ngx_uint_t flags, ngx_str_t *err);
static ngx_int_t ngx_http_klaviyo_regex_escape(ngx_pool_t *pool,
    ngx_str_t *glob, ngx_str_t *escaped);
static void ngx_http_klaviyo_regex_error(ngx_str_t *err, int code,
    ngx_str_t *rest);
static void ngx_http_klaviyo_regex_cleanup(void *data);
static ngx_uint_t ngx_http_klaviyo_regex_literal(u_char **pos, u_char *last);
static ngx_uint_t ngx_http_klaviyo_regex_loosens(u_char *p, u_char *last);
static u_char *ngx_http_klaviyo_regex_shorten(u_char *start, u_char *end);
static ngx_uint_t ngx_http_klaviyo_regex_alternates(ngx_str_t *pattern);
static u_char *ngx_http_klaviyo_regex_class(u_char *p, u_char *last);
static ngx_uint_t ngx_http_klaviyo_regex_plain_group(u_char *p, u_char *last);


/*
 * One of each per process: made by the master, which compiles, before it
 * forks; matching never nests.
 */

static pcre2_match_data     *ngx_http_klaviyo_match_data;
static pcre2_match_context  *ngx_http_klaviyo_match_context;


ngx_http_klaviyo_regex_t *
ngx_http_klaviyo_regex_compile(ngx_pool_t *pool, ngx_str_t *pattern,
    ngx_uint_t flags, ngx_str_t *err)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_klaviyo_regex_t  *re;

    re = ngx_palloc(pool, sizeof(ngx_http_klaviyo_regex_t));
    cln = ngx_pool_cleanup_add(pool, 0);

    if (re == NULL || cln == NULL || ngx_http_klaviyo_regex_init() != NGX_OK) {
        ngx_http_klaviyo_regex_error(err, PCRE2_ERROR_NOMEMORY, NULL);
        return NULL;
    }

    if (flags & NGX_HTTP_KLAVIYO_REGEX_GLOB) {
        re->code = ngx_http_klaviyo_regex_glob(pool, pattern, flags, err);

    } else {
        re->code = ngx_http_klaviyo_regex_code(pattern, flags, err);
    }

    if (re->code == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_klaviyo_regex_cleanup;
    cln->data = re->code;

    if (ngx_http_klaviyo_regex_check(re, err) != NGX_OK) {
        return NULL;
    }

    /* where there is no JIT, matching is slower, the result is the same */

    re->direct = (pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == 0
                  && !ngx_http_klaviyo_regex_utf(re));

    return re;
}


static ngx_int_t
ngx_http_klaviyo_regex_init(void)
{
    if (ngx_http_klaviyo_match_context) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_match_data == NULL) {
        ngx_http_klaviyo_match_data =
                pcre2_match_data_create(NGX_HTTP_KLAVIYO_MAX_GROUPS + 1, NULL);
    }

    if (ngx_http_klaviyo_match_data == NULL) {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_match_context = pcre2_match_context_create(NULL);

    if (ngx_http_klaviyo_match_context == NULL) {
        return NGX_ERROR;
    }

    (void) pcre2_set_match_limit(ngx_http_klaviyo_match_context,
                                 NGX_HTTP_KLAVIYO_MATCH_LIMIT);
    (void) pcre2_set_depth_limit(ngx_http_klaviyo_match_context,
                                 NGX_HTTP_KLAVIYO_MATCH_LIMIT);
    (void) pcre2_set_heap_limit(ngx_http_klaviyo_match_context,
                                NGX_HTTP_KLAVIYO_HEAP_LIMIT);

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_regex_check(ngx_http_klaviyo_regex_t *re, ngx_str_t *err)
{
    uint32_t  groups;

    (void) pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &groups);

    re->groups = groups;

    if (re->groups > NGX_HTTP_KLAVIYO_MAX_GROUPS) {
        err->len = ngx_snprintf(err->data, err->len, "more than %d groups",
                                NGX_HTTP_KLAVIYO_MAX_GROUPS)
                   - err->data;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static pcre2_code *
ngx_http_klaviyo_regex_code(ngx_str_t *pattern, ngx_uint_t flags,
    ngx_str_t *err)
{
    int          code;
    size_t       offset;
    uint32_t     options;
    ngx_str_t    rest;
    pcre2_code  *re;

    options = 0;

    if (flags & NGX_HTTP_KLAVIYO_REGEX_CASELESS) {
        options |= PCRE2_CASELESS;
    }

    if (flags & NGX_HTTP_KLAVIYO_REGEX_UTF) {
        options |= PCRE2_UTF|PCRE2_MATCH_INVALID_UTF;
    }

    re = pcre2_compile(pattern->data, pattern->len, options, &code, &offset,
                       NULL);

    if (re == NULL) {
        offset = ngx_min(offset, pattern->len);

        rest.data = pattern->data + offset;
        rest.len = pattern->len - offset;

        ngx_http_klaviyo_regex_error(err, code, &rest);
    }

    return re;
}


/*
 * PCRE2_CONVERT_GLOB_NO_WILD_SEPARATOR lets "*" and "?" match "/" as well,
 * PCRE2_CONVERT_GLOB_NO_STARSTAR takes the meaning from "**".
 */

static pcre2_code *
ngx_http_klaviyo_regex_glob(ngx_pool_t *pool, ngx_str_t *glob,
    ngx_uint_t flags, ngx_str_t *err)
{
    int          rc;
    uint32_t     options;
    ngx_str_t    escaped, pattern;
    pcre2_code  *re;

    if (ngx_http_klaviyo_regex_escape(pool, glob, &escaped) != NGX_OK) {
        ngx_http_klaviyo_regex_error(err, PCRE2_ERROR_NOMEMORY, NULL);
        return NULL;
    }

    options = PCRE2_CONVERT_GLOB_NO_WILD_SEPARATOR
              |PCRE2_CONVERT_GLOB_NO_STARSTAR;

    if (flags & NGX_HTTP_KLAVIYO_REGEX_UTF) {
        options |= PCRE2_CONVERT_UTF;
    }

    ngx_str_null(&pattern);

    rc = pcre2_pattern_convert(escaped.data, escaped.len, options,
                               &pattern.data, &pattern.len, NULL);
    if (rc != 0) {
        ngx_http_klaviyo_regex_error(err, rc, NULL);
        return NULL;
    }

    re = ngx_http_klaviyo_regex_code(&pattern, flags, err);

    pcre2_converted_pattern_free(pattern.data);

    return re;
}


/* leaves "*" and "?" as the only special bytes of the glob */

static ngx_int_t
ngx_http_klaviyo_regex_escape(ngx_pool_t *pool, ngx_str_t *glob,
    ngx_str_t *escaped)
{
    u_char  *p;
    size_t   i;

    p = ngx_pnalloc(pool, glob->len * 2 + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    escaped->data = p;

    for (i = 0; i < glob->len; i++) {

        if (glob->data[i] == '[' || glob->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = glob->data[i];
    }

    escaped->len = p - escaped->data;

    return NGX_OK;
}


static void
ngx_http_klaviyo_regex_error(ngx_str_t *err, int code, ngx_str_t *rest)
{
    u_char  *p, text[128];

    if (pcre2_get_error_message(code, text, sizeof(text)) < 0) {
        *text = '\0';
    }

    p = ngx_snprintf(err->data, err->len, "%s", text);

    if (rest && rest->len) {
        p = ngx_snprintf(p, err->data + err->len - p, " at \"%V\"", rest);
    }

    err->len = p - err->data;
}


static void
ngx_http_klaviyo_regex_cleanup(void *data)
{
    pcre2_code_free(data);
}


ngx_int_t
ngx_http_klaviyo_regex_exec(ngx_http_klaviyo_regex_t *re, ngx_str_t *text,
    size_t *captures, ngx_uint_t n)
{
    int         rc;
    size_t     *pairs;
    u_char     *data;
    ngx_uint_t  i;

    if (text->len > NGX_HTTP_KLAVIYO_MAX_SUBJECT) {
        return NGX_ABORT;
    }

    data = text->len ? text->data : (u_char *) "";

    if (re->direct) {
        rc = pcre2_jit_match(re->code, data, text->len, 0, 0,
                             ngx_http_klaviyo_match_data,
                             ngx_http_klaviyo_match_context);
    } else {
        rc = pcre2_match(re->code, data, text->len, 0, 0,
                         ngx_http_klaviyo_match_data,
                         ngx_http_klaviyo_match_context);
    }

    if (rc < 0) {
        return (rc == PCRE2_ERROR_NOMATCH) ? NGX_DECLINED : NGX_ABORT;
    }

    pairs = pcre2_get_ovector_pointer(ngx_http_klaviyo_match_data);

    /* \K in an assertion may move the start behind the end */

    if (pairs[0] > pairs[1]) {
        return NGX_ABORT;
    }

    for (i = 0; i < n; i++) {

        if (i < (ngx_uint_t) rc) {
            captures[2 * i] = pairs[2 * i];
            captures[2 * i + 1] = pairs[2 * i + 1];

        } else {
            captures[2 * i] = (size_t) -1;
            captures[2 * i + 1] = (size_t) -1;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_klaviyo_regex_groups(ngx_http_klaviyo_regex_t *re)
{
    return re->groups;
}


ngx_uint_t
ngx_http_klaviyo_regex_utf(ngx_http_klaviyo_regex_t *re)
{
    uint32_t  options;

    /* (*UTF) in front of the pattern counts too */

    (void) pcre2_pattern_info(re->code, PCRE2_INFO_ALLOPTIONS, &options);

    return (options & PCRE2_UTF) ? 1 : 0;
}


ngx_array_t *
ngx_http_klaviyo_regex_names(ngx_http_klaviyo_regex_t *re, ngx_pool_t *pool)
{
    u_char                    *p;
    uint32_t                   i, n, size;
    ngx_str_t                  name;
    ngx_array_t               *names;
    ngx_http_klaviyo_group_t  *group;

    (void) pcre2_pattern_info(re->code, PCRE2_INFO_NAMECOUNT, &n);
    (void) pcre2_pattern_info(re->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    (void) pcre2_pattern_info(re->code, PCRE2_INFO_NAMETABLE, &p);

    names = ngx_array_create(pool, ngx_max(n, 1),
                             sizeof(ngx_http_klaviyo_group_t));
    if (names == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++, p += size) {

        group = ngx_array_push(names);
        if (group == NULL) {
            return NULL;
        }

        name.data = p + 2;
        name.len = ngx_strlen(name.data);

        group->group = (p[0] << 8) + p[1];
        group->name.len = name.len;
        group->name.data = ngx_pstrdup(pool, &name);

        if (group->name.data == NULL) {
            return NULL;
        }
    }

    return names;
}


/*
 * Too short a prefix costs a try, too long a one loses events: all that is
 * not understood ends the prefix.
 */

ngx_int_t
ngx_http_klaviyo_regex_prefix(ngx_pool_t *pool, ngx_str_t *pattern,
    ngx_str_t *prefix)
{
    u_char  *p, *last, *dst;

    ngx_str_set(prefix, "");

    if (pattern->len == 0
        || pattern->data[0] != '^'
        || ngx_http_klaviyo_regex_alternates(pattern))
    {
        return NGX_OK;
    }

    dst = ngx_pnalloc(pool, pattern->len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    prefix->data = dst;

    p = pattern->data + 1;
    last = pattern->data + pattern->len;

    while (ngx_http_klaviyo_regex_literal(&p, last)) {
        *dst++ = *p++;
    }

    if (ngx_http_klaviyo_regex_loosens(p, last)) {
        dst = ngx_http_klaviyo_regex_shorten(prefix->data, dst);
    }

    prefix->len = dst - prefix->data;

    return NGX_OK;
}


/* whether a byte that stands for itself is next, "*pos" moves to it then */

static ngx_uint_t
ngx_http_klaviyo_regex_literal(u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos;

    if (p == last || *p == '\0' || ngx_strchr("?*+{.[|()$^", *p) != NULL) {
        return 0;
    }

    if (*p != '\\') {
        return 1;
    }

    /* a backslash makes punctuation literal, and all else special */

    if (last - p < 2
        || p[1] <= ' ' || p[1] >= 0x7f
        || (p[1] >= '0' && p[1] <= '9')
        || (p[1] >= 'A' && p[1] <= 'Z')
        || (p[1] >= 'a' && p[1] <= 'z'))
    {
        return 0;
    }

    *pos = p + 1;

    return 1;
}


/*
 * Whether the character before "p" need not be there: what follows is a
 * quantifier, or it is a comment, \Q or \E, which a quantifier may follow.
 */

static ngx_uint_t
ngx_http_klaviyo_regex_loosens(u_char *p, u_char *last)
{
    if (p == last) {
        return 0;
    }

    switch (*p) {

    case '?':
    case '*':
    case '{':
        return 1;

    case '(':
        return last - p > 2 && p[1] == '?' && p[2] == '#';

    case '\\':
        return last - p > 1 && (p[1] == 'Q' || p[1] == 'E');

    default:
        return 0;
    }
}


/* takes a whole character away, in UTF-8 too */

static u_char *
ngx_http_klaviyo_regex_shorten(u_char *start, u_char *end)
{
    if (end == start) {
        return end;
    }

    end--;

    while (end > start && *end >= 0x80 && end[-1] >= 0x80) {
        end--;
    }

    return end;
}


/*
 * Whether "|" may stand at the top of the pattern.  Where \Q, comments or
 * options (extended syntax has comments too) make parentheses hard to count,
 * any "|" is taken for one.
 */

static ngx_uint_t
ngx_http_klaviyo_regex_alternates(ngx_str_t *pattern)
{
    u_char      *p, *last;
    ngx_int_t    depth;
    ngx_uint_t   sure;

    depth = 0;
    sure = 1;

    last = pattern->data + pattern->len;

    for (p = pattern->data; p < last && sure; p++) {

        switch (*p) {

        case '\\':
            p++;
            sure = (p < last && *p != 'Q' && *p != 'E' && *p != 'c');
            break;

        case '[':
            p = ngx_http_klaviyo_regex_class(p, last);
            sure = (p < last);
            break;

        case '(':
            depth++;
            sure = ngx_http_klaviyo_regex_plain_group(p, last);
            break;

        case ')':
            depth--;
            break;

        case '|':

            if (depth <= 0) {
                return 1;
            }

            break;
        }
    }

    if (sure && depth == 0) {
        return 0;
    }

    return ngx_strlchr(pattern->data, last, '|') != NULL;
}


/*
 * Returns where the class ends, or "last" if it has something that makes this
 * less than certain.
 */

static u_char *
ngx_http_klaviyo_regex_class(u_char *p, u_char *last)
{
    p++;

    if (p < last && *p == '^') {
        p++;
    }

    /* the first "]" is itself */

    if (p < last && *p == ']') {
        p++;
    }

    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case ']':
            return p;

        case '[':
            return last;

        case '\\':
            p++;

            if (p == last || *p == 'Q' || *p == 'E' || *p == 'c') {
                return last;
            }

            break;
        }
    }

    return last;
}


/* ( (?: (?= (?! (?<name> (?<= (?<! (?P<name> (?| (?> but no options */

static ngx_uint_t
ngx_http_klaviyo_regex_plain_group(u_char *p, u_char *last)
{
    if (last - p < 3 || p[1] == '*') {
        return 0;
    }

    if (p[1] != '?') {
        return 1;
    }

    return p[2] != '\0' && ngx_strchr(":=!<P|>", p[2]) != NULL;
}
