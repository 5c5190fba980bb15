
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * PATH: RFC 9535's shorthand without the leading "$.": parsed when the
 * configuration is read, followed in documents that visitors have sent.
 */


#include "ngx_http_klaviyo_path.h"
#include "ngx_http_klaviyo_json.h"


/* terms and negations of a filter: bounds the recursion over it too */
#define NGX_HTTP_KLAVIYO_MAX_TERMS  64

/* what the caller has for a message */
#define NGX_HTTP_KLAVIYO_ERROR_LEN  128


typedef enum {
    NGX_HTTP_KLAVIYO_SEGMENT_NAME = 0,
    NGX_HTTP_KLAVIYO_SEGMENT_INDEX,
    NGX_HTTP_KLAVIYO_SEGMENT_WILDCARD,
    NGX_HTTP_KLAVIYO_SEGMENT_FILTER
} ngx_http_klaviyo_segment_e;


typedef enum {
    NGX_HTTP_KLAVIYO_OP_EXISTS = 0,
    NGX_HTTP_KLAVIYO_OP_EQ,
    NGX_HTTP_KLAVIYO_OP_NE,
    NGX_HTTP_KLAVIYO_OP_LT,
    NGX_HTTP_KLAVIYO_OP_LE,
    NGX_HTTP_KLAVIYO_OP_GT,
    NGX_HTTP_KLAVIYO_OP_GE,
    NGX_HTTP_KLAVIYO_OP_NOT,
    NGX_HTTP_KLAVIYO_OP_AND,
    NGX_HTTP_KLAVIYO_OP_OR
} ngx_http_klaviyo_op_e;


typedef struct ngx_http_klaviyo_term_s  ngx_http_klaviyo_term_t;

typedef struct {
    ngx_http_klaviyo_segment_e           type;
    const char                          *name;
    ngx_int_t                            index;
    ngx_http_klaviyo_term_t             *filter;
} ngx_http_klaviyo_segment_t;


struct ngx_http_klaviyo_path_s {
    ngx_array_t                          segments;
    ngx_uint_t                           plural;
};


/* one side of a comparison: a path below the element, or a literal */

typedef struct {
    ngx_http_klaviyo_path_t             *path;
    json_t                              *literal;
} ngx_http_klaviyo_operand_t;


struct ngx_http_klaviyo_term_s {
    ngx_http_klaviyo_op_e                op;
    ngx_http_klaviyo_operand_t           operands[2];
    ngx_http_klaviyo_term_t             *terms[2];
};


typedef struct {
    ngx_pool_t                          *pool;
    ngx_str_t                           *text;
    ngx_str_t                           *err;
    u_char                              *pos;
    u_char                              *last;
    ngx_uint_t                           terms;
    ngx_uint_t                           filter;
} ngx_http_klaviyo_path_parser_t;


typedef struct {
    ngx_http_klaviyo_arena_t            *arena;
    ngx_http_klaviyo_path_t             *path;
    json_t                              *result;
} ngx_http_klaviyo_path_walk_t;


static void *ngx_http_klaviyo_path_error(ngx_http_klaviyo_path_parser_t *pp,
    char *reason);
static void ngx_http_klaviyo_path_blanks(ngx_http_klaviyo_path_parser_t *pp);
static ngx_uint_t ngx_http_klaviyo_path_skip(
    ngx_http_klaviyo_path_parser_t *pp, char *token);
static ngx_http_klaviyo_path_t *ngx_http_klaviyo_path_segments(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_segment_t *ngx_http_klaviyo_path_segment(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_path_t *path);
static ngx_http_klaviyo_segment_t *ngx_http_klaviyo_path_shorthand(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_segment_t *segment);
static ngx_uint_t ngx_http_klaviyo_path_is_name(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_segment_t *ngx_http_klaviyo_path_bracket(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_segment_t *segment);
static ngx_http_klaviyo_segment_t *ngx_http_klaviyo_path_selector(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_segment_t *segment);
static ngx_http_klaviyo_segment_t *ngx_http_klaviyo_path_filter(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_segment_t *segment);
static ngx_http_klaviyo_segment_t *ngx_http_klaviyo_path_index(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_segment_t *segment);
static json_t *ngx_http_klaviyo_path_quoted(
    ngx_http_klaviyo_path_parser_t *pp);
static u_char *ngx_http_klaviyo_path_requote(u_char *dst, u_char *src,
    u_char *last);
static json_t *ngx_http_klaviyo_path_keep(ngx_pool_t *pool, json_t *json);
static void ngx_http_klaviyo_path_cleanup(void *data);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_or(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_and(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_join(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_op_e op,
    ngx_http_klaviyo_term_t *left, ngx_http_klaviyo_term_t *right);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_basic(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_not(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_paren(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_term_t *ngx_http_klaviyo_path_comparison(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_op_e ngx_http_klaviyo_path_op(
    ngx_http_klaviyo_path_parser_t *pp);
static ngx_http_klaviyo_operand_t *ngx_http_klaviyo_path_operand(
    ngx_http_klaviyo_path_parser_t *pp, ngx_http_klaviyo_operand_t *operand);
static json_t *ngx_http_klaviyo_path_literal(
    ngx_http_klaviyo_path_parser_t *pp);
static json_t *ngx_http_klaviyo_path_child(ngx_http_klaviyo_segment_t *segment,
    json_t *json);
static ngx_int_t ngx_http_klaviyo_path_walk(ngx_http_klaviyo_path_walk_t *walk,
    ngx_uint_t i, json_t *json);
static ngx_int_t ngx_http_klaviyo_path_each(ngx_http_klaviyo_path_walk_t *walk,
    ngx_uint_t i, json_t *json);
static ngx_int_t ngx_http_klaviyo_path_visit(
    ngx_http_klaviyo_path_walk_t *walk, ngx_uint_t i, json_t *json);
static ngx_int_t ngx_http_klaviyo_path_push(ngx_http_klaviyo_path_walk_t *walk,
    json_t *json);
static ngx_uint_t ngx_http_klaviyo_path_holds(ngx_http_klaviyo_term_t *term,
    json_t *json);
static json_t *ngx_http_klaviyo_path_value(ngx_http_klaviyo_operand_t *operand,
    json_t *json);
static ngx_uint_t ngx_http_klaviyo_path_equal(json_t *a, json_t *b);
static ngx_uint_t ngx_http_klaviyo_path_less(json_t *a, json_t *b);


ngx_http_klaviyo_path_t *
ngx_http_klaviyo_path_parse(ngx_pool_t *pool, ngx_str_t *text, ngx_str_t *err)
{
    ngx_http_klaviyo_path_t         *path;
    ngx_http_klaviyo_path_parser_t   pp;

    pp.pool = pool;
    pp.text = text;
    pp.err = err;
    pp.pos = text->data;
    pp.last = text->data + text->len;
    pp.terms = 0;
    pp.filter = 0;

    path = ngx_http_klaviyo_path_segments(&pp);

    if (path && pp.pos < pp.last) {
        return ngx_http_klaviyo_path_error(&pp, "unexpected character");
    }

    return path;
}


static void *
ngx_http_klaviyo_path_error(ngx_http_klaviyo_path_parser_t *pp, char *reason)
{
    u_char     *p;
    ngx_str_t   rest;

    rest.data = pp->pos;
    rest.len = pp->last - pp->pos;

    if (rest.len > 0 && rest.len < pp->text->len) {
        p = ngx_snprintf(pp->err->data, NGX_HTTP_KLAVIYO_ERROR_LEN,
                         "%s in \"%V\" at \"%V\"", reason, pp->text, &rest);

    } else {
        p = ngx_snprintf(pp->err->data, NGX_HTTP_KLAVIYO_ERROR_LEN,
                         "%s in \"%V\"", reason, pp->text);
    }

    pp->err->len = p - pp->err->data;

    return NULL;
}


static void
ngx_http_klaviyo_path_blanks(ngx_http_klaviyo_path_parser_t *pp)
{
    while (pp->pos < pp->last
           && (*pp->pos == ' ' || *pp->pos == '\t'
               || *pp->pos == CR || *pp->pos == LF))
    {
        pp->pos++;
    }
}


static ngx_uint_t
ngx_http_klaviyo_path_skip(ngx_http_klaviyo_path_parser_t *pp, char *token)
{
    size_t  len;

    len = ngx_strlen(token);

    if ((size_t) (pp->last - pp->pos) < len
        || ngx_strncmp(pp->pos, token, len) != 0)
    {
        return 0;
    }

    pp->pos += len;

    return 1;
}


static ngx_http_klaviyo_path_t *
ngx_http_klaviyo_path_segments(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_path_t     *path;
    ngx_http_klaviyo_segment_t  *segment;

    path = ngx_pcalloc(pp->pool, sizeof(ngx_http_klaviyo_path_t));

    if (path == NULL
        || ngx_array_init(&path->segments, pp->pool, 4,
                          sizeof(ngx_http_klaviyo_segment_t))
           != NGX_OK)
    {
        return ngx_http_klaviyo_path_error(pp, "no memory");
    }

    /* only at the very beginning a name stands without a dot */

    while (pp->pos < pp->last
           && (*pp->pos == '.' || *pp->pos == '['
               || pp->pos == pp->text->data))
    {
        segment = ngx_http_klaviyo_path_segment(pp, path);

        if (segment == NULL) {
            return NULL;
        }

        if (segment->type >= NGX_HTTP_KLAVIYO_SEGMENT_WILDCARD) {
            path->plural = 1;
        }
    }

    return path;
}


static ngx_http_klaviyo_segment_t *
ngx_http_klaviyo_path_segment(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_path_t *path)
{
    ngx_http_klaviyo_segment_t  *segment;

    if (path->segments.nelts == NGX_HTTP_KLAVIYO_MAX_SEGMENTS) {
        return ngx_http_klaviyo_path_error(pp, "too many names and indexes");
    }

    segment = ngx_array_push(&path->segments);

    if (segment == NULL) {
        return ngx_http_klaviyo_path_error(pp, "no memory");
    }

    ngx_memzero(segment, sizeof(ngx_http_klaviyo_segment_t));

    if (*pp->pos == '[') {
        return ngx_http_klaviyo_path_bracket(pp, segment);
    }

    if (*pp->pos == '.') {

        if (pp->pos == pp->text->data) {
            return ngx_http_klaviyo_path_error(pp, "leading dot");
        }

        pp->pos++;
    }

    return ngx_http_klaviyo_path_shorthand(pp, segment);
}


static ngx_http_klaviyo_segment_t *
ngx_http_klaviyo_path_shorthand(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_segment_t *segment)
{
    size_t   len;
    u_char  *name, *start;

    start = pp->pos;

    while (ngx_http_klaviyo_path_is_name(pp)) {
        pp->pos++;
    }

    len = pp->pos - start;

    if (len == 0) {
        return ngx_http_klaviyo_path_error(pp, "empty name");
    }

    if (len == 1 && *start == '*') {
        segment->type = NGX_HTTP_KLAVIYO_SEGMENT_WILDCARD;
        return segment;
    }

    name = ngx_pnalloc(pp->pool, len + 1);

    if (name == NULL) {
        return ngx_http_klaviyo_path_error(pp, "no memory");
    }

    (void) ngx_cpystrn(name, start, len + 1);

    segment->name = (char *) name;

    return segment;
}


static ngx_uint_t
ngx_http_klaviyo_path_is_name(ngx_http_klaviyo_path_parser_t *pp)
{
    if (pp->pos == pp->last || *pp->pos <= ' ' || *pp->pos == 0x7f) {
        return 0;
    }

    if (ngx_strchr(".[]()\"'", *pp->pos)) {
        return 0;
    }

    return !pp->filter || ngx_strchr("=!<>&|,", *pp->pos) == NULL;
}


static ngx_http_klaviyo_segment_t *
ngx_http_klaviyo_path_bracket(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_segment_t *segment)
{
    pp->pos++;

    ngx_http_klaviyo_path_blanks(pp);

    if (ngx_http_klaviyo_path_selector(pp, segment) == NULL) {
        return NULL;
    }

    ngx_http_klaviyo_path_blanks(pp);

    if (ngx_http_klaviyo_path_skip(pp, "]")) {
        return segment;
    }

    if (pp->pos == pp->last) {
        return ngx_http_klaviyo_path_error(pp, "unclosed bracket");
    }

    switch (*pp->pos) {

    case ':':
        return ngx_http_klaviyo_path_error(pp, "slices are not supported");

    case ',':
        return ngx_http_klaviyo_path_error(pp, "lists are not supported");

    default:
        return ngx_http_klaviyo_path_error(pp, "unexpected character");
    }
}


static ngx_http_klaviyo_segment_t *
ngx_http_klaviyo_path_selector(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_segment_t *segment)
{
    json_t  *name;

    if (pp->pos == pp->last) {
        return ngx_http_klaviyo_path_error(pp, "unclosed bracket");
    }

    switch (*pp->pos) {

    case '"':
    case '\'':
        name = ngx_http_klaviyo_path_quoted(pp);
        if (name == NULL) {
            return NULL;
        }

        segment->name = json_string_value(name);

        return segment;

    case '*':
        pp->pos++;
        segment->type = NGX_HTTP_KLAVIYO_SEGMENT_WILDCARD;

        return segment;

    case '?':
        return ngx_http_klaviyo_path_filter(pp, segment);

    case ':':
        return ngx_http_klaviyo_path_error(pp, "slices are not supported");

    default:
        return ngx_http_klaviyo_path_index(pp, segment);
    }
}


static ngx_http_klaviyo_segment_t *
ngx_http_klaviyo_path_filter(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_segment_t *segment)
{
    if (pp->filter) {
        return ngx_http_klaviyo_path_error(pp, "filter inside a filter");
    }

    pp->pos++;
    pp->filter = 1;

    segment->type = NGX_HTTP_KLAVIYO_SEGMENT_FILTER;
    segment->filter = ngx_http_klaviyo_path_or(pp);

    pp->filter = 0;

    return segment->filter ? segment : NULL;
}


static ngx_http_klaviyo_segment_t *
ngx_http_klaviyo_path_index(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_segment_t *segment)
{
    u_char      *start, *digits;
    ngx_int_t    n;
    ngx_uint_t   negative;

    start = pp->pos;
    negative = ngx_http_klaviyo_path_skip(pp, "-");
    digits = pp->pos;

    while (pp->pos < pp->last && *pp->pos >= '0' && *pp->pos <= '9') {
        pp->pos++;
    }

    n = ngx_atoi(digits, pp->pos - digits);

    /* neither 01 nor -0 */

    if (n == NGX_ERROR || (*digits == '0' && pp->pos - start > 1)) {
        pp->pos = start;
        return ngx_http_klaviyo_path_error(pp, "invalid index");
    }

    segment->type = NGX_HTTP_KLAVIYO_SEGMENT_INDEX;
    segment->index = negative ? -n : n;

    return segment;
}


/* jansson knows the escapes: the text becomes a JSON string, if it was none */

static json_t *
ngx_http_klaviyo_path_quoted(ngx_http_klaviyo_path_parser_t *pp)
{
    json_t      *json;
    u_char      *p, *start;
    ngx_str_t    text;
    ngx_uint_t   reals;

    start = pp->pos + 1;

    for (p = start; p < pp->last && *p != *pp->pos; p++) {

        if (*p == '\\' && pp->last - p > 1) {
            p++;
        }
    }

    if (p == pp->last) {
        return ngx_http_klaviyo_path_error(pp, "unclosed quote");
    }

    text.data = ngx_pnalloc(pp->pool, 2 * (p - start) + 2);

    if (text.data == NULL) {
        return ngx_http_klaviyo_path_error(pp, "no memory");
    }

    text.len = ngx_http_klaviyo_path_requote(text.data, start, p) - text.data;

    json = ngx_http_klaviyo_json_load(&text, &reals);
    json = ngx_http_klaviyo_path_keep(pp->pool, json);

    /* a NUL would end the name too early */

    if (json == NULL
        || json_string_length(json) != ngx_strlen(json_string_value(json)))
    {
        return ngx_http_klaviyo_path_error(pp, "invalid string");
    }

    pp->pos = p + 1;

    return json;
}


static u_char *
ngx_http_klaviyo_path_requote(u_char *dst, u_char *src, u_char *last)
{
    *dst++ = '"';

    while (src < last) {

        if (*src == '"') {
            *dst++ = '\\';

        } else if (*src == '\\') {

            if (*++src != '\'') {
                *dst++ = '\\';
            }
        }

        *dst++ = *src++;
    }

    *dst++ = '"';

    return dst;
}


static json_t *
ngx_http_klaviyo_path_keep(ngx_pool_t *pool, json_t *json)
{
    ngx_pool_cleanup_t  *cln;

    if (json == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);

    if (cln == NULL) {
        json_decref(json);
        return NULL;
    }

    cln->handler = ngx_http_klaviyo_path_cleanup;
    cln->data = json;

    return json;
}


static void
ngx_http_klaviyo_path_cleanup(void *data)
{
    json_decref(data);
}


static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_or(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_term_t  *left, *right;

    left = ngx_http_klaviyo_path_and(pp);

    while (left && ngx_http_klaviyo_path_skip(pp, "||")) {
        right = ngx_http_klaviyo_path_and(pp);
        left = ngx_http_klaviyo_path_join(pp, NGX_HTTP_KLAVIYO_OP_OR, left,
                                          right);
    }

    return left;
}


static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_and(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_term_t  *left, *right;

    left = ngx_http_klaviyo_path_basic(pp);

    while (left && ngx_http_klaviyo_path_skip(pp, "&&")) {
        right = ngx_http_klaviyo_path_basic(pp);
        left = ngx_http_klaviyo_path_join(pp, NGX_HTTP_KLAVIYO_OP_AND, left,
                                          right);
    }

    return left;
}


static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_join(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_op_e op, ngx_http_klaviyo_term_t *left,
    ngx_http_klaviyo_term_t *right)
{
    ngx_http_klaviyo_term_t  *term;

    if (right == NULL) {
        return NULL;
    }

    term = ngx_pcalloc(pp->pool, sizeof(ngx_http_klaviyo_term_t));

    if (term == NULL) {
        return ngx_http_klaviyo_path_error(pp, "no memory");
    }

    term->op = op;
    term->terms[0] = left;
    term->terms[1] = right;

    return term;
}


/* blanks around it are taken as well */

static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_basic(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_term_t  *term;

    if (++pp->terms > NGX_HTTP_KLAVIYO_MAX_TERMS) {
        return ngx_http_klaviyo_path_error(pp, "too many terms");
    }

    ngx_http_klaviyo_path_blanks(pp);

    if (ngx_http_klaviyo_path_skip(pp, "!")) {
        term = ngx_http_klaviyo_path_not(pp);

    } else if (ngx_http_klaviyo_path_skip(pp, "(")) {
        term = ngx_http_klaviyo_path_paren(pp);

    } else {
        term = ngx_http_klaviyo_path_comparison(pp);
    }

    ngx_http_klaviyo_path_blanks(pp);

    return term;
}


static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_not(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_term_t  *term;

    ngx_http_klaviyo_path_blanks(pp);

    if (ngx_http_klaviyo_path_skip(pp, "(")) {
        term = ngx_http_klaviyo_path_paren(pp);

    } else {
        term = ngx_http_klaviyo_path_comparison(pp);

        if (term && term->op != NGX_HTTP_KLAVIYO_OP_EXISTS) {
            return ngx_http_klaviyo_path_error(pp,
                                            "\"!\" needs parentheses around "
                                            "a comparison");
        }
    }

    return ngx_http_klaviyo_path_join(pp, NGX_HTTP_KLAVIYO_OP_NOT, NULL, term);
}


static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_paren(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_term_t  *term;

    term = ngx_http_klaviyo_path_or(pp);

    if (term && !ngx_http_klaviyo_path_skip(pp, ")")) {
        return ngx_http_klaviyo_path_error(pp, "unclosed parenthesis");
    }

    return term;
}


static ngx_http_klaviyo_term_t *
ngx_http_klaviyo_path_comparison(ngx_http_klaviyo_path_parser_t *pp)
{
    ngx_http_klaviyo_term_t  *term;

    term = ngx_pcalloc(pp->pool, sizeof(ngx_http_klaviyo_term_t));

    if (term == NULL) {
        return ngx_http_klaviyo_path_error(pp, "no memory");
    }

    if (ngx_http_klaviyo_path_operand(pp, &term->operands[0]) == NULL) {
        return NULL;
    }

    ngx_http_klaviyo_path_blanks(pp);

    term->op = ngx_http_klaviyo_path_op(pp);

    if (term->op == NGX_HTTP_KLAVIYO_OP_EXISTS) {

        if (term->operands[0].literal) {
            return ngx_http_klaviyo_path_error(pp, "no comparison");
        }

        return term;
    }

    ngx_http_klaviyo_path_blanks(pp);

    if (ngx_http_klaviyo_path_operand(pp, &term->operands[1]) == NULL) {
        return NULL;
    }

    return term;
}


static ngx_http_klaviyo_op_e
ngx_http_klaviyo_path_op(ngx_http_klaviyo_path_parser_t *pp)
{
    if (ngx_http_klaviyo_path_skip(pp, "==")) {
        return NGX_HTTP_KLAVIYO_OP_EQ;
    }

    if (ngx_http_klaviyo_path_skip(pp, "!=")) {
        return NGX_HTTP_KLAVIYO_OP_NE;
    }

    if (ngx_http_klaviyo_path_skip(pp, "<=")) {
        return NGX_HTTP_KLAVIYO_OP_LE;
    }

    if (ngx_http_klaviyo_path_skip(pp, "<")) {
        return NGX_HTTP_KLAVIYO_OP_LT;
    }

    if (ngx_http_klaviyo_path_skip(pp, ">=")) {
        return NGX_HTTP_KLAVIYO_OP_GE;
    }

    if (ngx_http_klaviyo_path_skip(pp, ">")) {
        return NGX_HTTP_KLAVIYO_OP_GT;
    }

    return NGX_HTTP_KLAVIYO_OP_EXISTS;
}


static ngx_http_klaviyo_operand_t *
ngx_http_klaviyo_path_operand(ngx_http_klaviyo_path_parser_t *pp,
    ngx_http_klaviyo_operand_t *operand)
{
    u_char  *start;

    start = pp->pos;

    if (ngx_http_klaviyo_path_skip(pp, "@")) {
        operand->path = ngx_http_klaviyo_path_segments(pp);

        if (operand->path && operand->path->plural) {
            pp->pos = start;
            return ngx_http_klaviyo_path_error(pp, "wildcard inside a filter");
        }

        return operand->path ? operand : NULL;
    }

    if (pp->pos < pp->last && (*pp->pos == '"' || *pp->pos == '\'')) {
        operand->literal = ngx_http_klaviyo_path_quoted(pp);

    } else {
        operand->literal = ngx_http_klaviyo_path_literal(pp);
    }

    return operand->literal ? operand : NULL;
}


/* a number, true, false or null: as jansson reads it */

static json_t *
ngx_http_klaviyo_path_literal(ngx_http_klaviyo_path_parser_t *pp)
{
    json_t      *json;
    ngx_str_t    text;
    ngx_uint_t   reals;

    text.data = pp->pos;

    while (ngx_http_klaviyo_path_is_name(pp)
           || (pp->pos < pp->last && *pp->pos == '.'))
    {
        pp->pos++;
    }

    text.len = pp->pos - text.data;

    json = ngx_http_klaviyo_json_load(&text, &reals);
    json = ngx_http_klaviyo_path_keep(pp->pool, json);

    if (json == NULL) {
        pp->pos = text.data;
        return ngx_http_klaviyo_path_error(pp, "invalid literal");
    }

    return json;
}


ngx_uint_t
ngx_http_klaviyo_path_plural(ngx_http_klaviyo_path_t *path)
{
    return path->plural;
}


ngx_http_klaviyo_path_part_e
ngx_http_klaviyo_path_part(ngx_http_klaviyo_path_t *path, ngx_uint_t n,
    ngx_str_t *name, ngx_int_t *index)
{
    ngx_http_klaviyo_segment_t  *segment;

    if (n >= path->segments.nelts) {
        return NGX_HTTP_KLAVIYO_PATH_END;
    }

    segment = path->segments.elts;
    segment += n;

    switch (segment->type) {

    case NGX_HTTP_KLAVIYO_SEGMENT_NAME:
        name->data = (u_char *) segment->name;
        name->len = ngx_strlen(segment->name);
        return NGX_HTTP_KLAVIYO_PATH_NAME;

    case NGX_HTTP_KLAVIYO_SEGMENT_INDEX:
        *index = segment->index;
        return NGX_HTTP_KLAVIYO_PATH_INDEX;

    case NGX_HTTP_KLAVIYO_SEGMENT_WILDCARD:
        return NGX_HTTP_KLAVIYO_PATH_WILDCARD;

    default: /* NGX_HTTP_KLAVIYO_SEGMENT_FILTER */
        return NGX_HTTP_KLAVIYO_PATH_FILTER;
    }
}


void
ngx_http_klaviyo_path_select(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_path_t *path, ngx_http_klaviyo_data_t *data,
    ngx_http_klaviyo_data_t *result)
{
    json_t                        *json;
    ngx_http_klaviyo_path_walk_t   walk;

    if (ngx_http_klaviyo_data_is_missing(data) || path->segments.nelts == 0) {
        *result = *data;
        return;
    }

    json = (data->type == NGX_HTTP_KLAVIYO_TREE) ? data->json : NULL;

    if (!path->plural) {
        ngx_http_klaviyo_data_from_json(arena, result,
                                     ngx_http_klaviyo_path_find(path, json));
        return;
    }

    result->type = NGX_HTTP_KLAVIYO_UNKNOWN;

    if (ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_ARRAY_COST)
        != NGX_OK)
    {
        return;
    }

    walk.arena = arena;
    walk.path = path;
    walk.result = ngx_http_klaviyo_arena_keep(arena, json_array());

    if (walk.result == NULL
        || ngx_http_klaviyo_path_walk(&walk, 0, json) != NGX_OK)
    {
        return;
    }

    result->type = NGX_HTTP_KLAVIYO_TREE;
    result->json = walk.result;
}


json_t *
ngx_http_klaviyo_path_find(ngx_http_klaviyo_path_t *path, json_t *json)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_segment_t  *segment;

    segment = path->segments.elts;

    for (i = 0; json && i < path->segments.nelts; i++) {
        json = ngx_http_klaviyo_path_child(&segment[i], json);
    }

    return json;
}


static json_t *
ngx_http_klaviyo_path_child(ngx_http_klaviyo_segment_t *segment, json_t *json)
{
    ngx_int_t  i;

    switch (segment->type) {

    case NGX_HTTP_KLAVIYO_SEGMENT_NAME:
        return json_object_get(json, segment->name);

    case NGX_HTTP_KLAVIYO_SEGMENT_INDEX:
        i = segment->index;

        if (i < 0) {
            i += json_array_size(json);
        }

        return (i < 0) ? NULL : json_array_get(json, i);

    default:
        return NULL;
    }
}


/*
 * Follows the path from its segment "i" on.  Returns NGX_OK, or NGX_DECLINED
 * when a limit was met: what was found until then is no answer.
 */

static ngx_int_t
ngx_http_klaviyo_path_walk(ngx_http_klaviyo_path_walk_t *walk, ngx_uint_t i,
    json_t *json)
{
    ngx_http_klaviyo_segment_t  *segment;

    segment = walk->path->segments.elts;

    for ( /* void */ ; json && i < walk->path->segments.nelts; i++) {

        if (segment[i].type >= NGX_HTTP_KLAVIYO_SEGMENT_WILDCARD) {
            return ngx_http_klaviyo_path_each(walk, i, json);
        }

        json = ngx_http_klaviyo_path_child(&segment[i], json);
    }

    return ngx_http_klaviyo_path_push(walk, json);
}


static ngx_int_t
ngx_http_klaviyo_path_each(ngx_http_klaviyo_path_walk_t *walk, ngx_uint_t i,
    json_t *json)
{
    void    *iter;
    size_t   n;

    for (n = 0; n < json_array_size(json); n++) {

        if (ngx_http_klaviyo_path_visit(walk, i, json_array_get(json, n))
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        if (ngx_http_klaviyo_path_visit(walk, i, json_object_iter_value(iter))
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_path_visit(ngx_http_klaviyo_path_walk_t *walk, ngx_uint_t i,
    json_t *json)
{
    ngx_http_klaviyo_segment_t  *segment;

    segment = walk->path->segments.elts;

    if (segment[i].filter
        && !ngx_http_klaviyo_path_holds(segment[i].filter, json))
    {
        return NGX_OK;
    }

    return ngx_http_klaviyo_path_walk(walk, i + 1, json);
}


static ngx_int_t
ngx_http_klaviyo_path_push(ngx_http_klaviyo_path_walk_t *walk, json_t *json)
{
    if (json == NULL || json_is_null(json)) {
        return NGX_OK;
    }

    if (json_array_size(walk->result) == NGX_HTTP_KLAVIYO_MAX_ITEMS) {
        walk->arena->limits++;
        return NGX_DECLINED;
    }

    if (ngx_http_klaviyo_arena_charge(walk->arena,
                                      NGX_HTTP_KLAVIYO_ELEMENT_COST)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (json_array_append(walk->result, json) != 0) {
        walk->arena->limits++;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_path_holds(ngx_http_klaviyo_term_t *term, json_t *json)
{
    json_t  *a, *b;

    switch (term->op) {

    case NGX_HTTP_KLAVIYO_OP_OR:
        return ngx_http_klaviyo_path_holds(term->terms[0], json)
               || ngx_http_klaviyo_path_holds(term->terms[1], json);

    case NGX_HTTP_KLAVIYO_OP_AND:
        return ngx_http_klaviyo_path_holds(term->terms[0], json)
               && ngx_http_klaviyo_path_holds(term->terms[1], json);

    case NGX_HTTP_KLAVIYO_OP_NOT:
        return !ngx_http_klaviyo_path_holds(term->terms[1], json);

    default:
        break;
    }

    a = ngx_http_klaviyo_path_value(&term->operands[0], json);
    b = ngx_http_klaviyo_path_value(&term->operands[1], json);

    switch (term->op) {

    case NGX_HTTP_KLAVIYO_OP_EQ:
        return ngx_http_klaviyo_path_equal(a, b);

    case NGX_HTTP_KLAVIYO_OP_NE:
        return !ngx_http_klaviyo_path_equal(a, b);

    case NGX_HTTP_KLAVIYO_OP_LT:
        return ngx_http_klaviyo_path_less(a, b);

    case NGX_HTTP_KLAVIYO_OP_LE:
        return ngx_http_klaviyo_path_less(a, b)
               || ngx_http_klaviyo_path_equal(a, b);

    case NGX_HTTP_KLAVIYO_OP_GT:
        return ngx_http_klaviyo_path_less(b, a);

    case NGX_HTTP_KLAVIYO_OP_GE:
        return ngx_http_klaviyo_path_less(b, a)
               || ngx_http_klaviyo_path_equal(a, b);

    default: /* NGX_HTTP_KLAVIYO_OP_EXISTS */
        return a != NULL;
    }
}


static json_t *
ngx_http_klaviyo_path_value(ngx_http_klaviyo_operand_t *operand, json_t *json)
{
    if (operand->path) {
        return ngx_http_klaviyo_path_find(operand->path, json);
    }

    return operand->literal;
}


/* nothing equals nothing; a number never equals a text */

static ngx_uint_t
ngx_http_klaviyo_path_equal(json_t *a, json_t *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }

    if (json_is_real(a) || json_is_real(b)) {
        return json_is_number(a) && json_is_number(b)
               && json_number_value(a) == json_number_value(b);
    }

    return json_equal(a, b);
}


/* numbers and texts have an order, nothing else has */

static ngx_uint_t
ngx_http_klaviyo_path_less(json_t *a, json_t *b)
{
    size_t     n, m;
    ngx_int_t  rc;

    if (json_is_integer(a) && json_is_integer(b)) {
        return json_integer_value(a) < json_integer_value(b);
    }

    if (json_is_number(a) && json_is_number(b)) {
        return json_number_value(a) < json_number_value(b);
    }

    if (!json_is_string(a) || !json_is_string(b)) {
        return 0;
    }

    n = json_string_length(a);
    m = json_string_length(b);

    rc = ngx_memcmp(json_string_value(a), json_string_value(b),
                    ngx_min(n, m));

    return rc ? rc < 0 : n < m;
}
