
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the parts of the GraphQL reader share: tokens, and what the text of a
 * query asks for.  Pure: knows no request.
 */


#ifndef _NGX_HTTP_KLAVIYO_GRAPHQL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_GRAPHQL_H_INCLUDED_


#include "ngx_http_klaviyo_data.h"


/* a punctuator's type is its character, that of "..." is '.' */
typedef enum {
    NGX_HTTP_KLAVIYO_GRAPHQL_END = 0,
    NGX_HTTP_KLAVIYO_GRAPHQL_WRONG = 256,
    NGX_HTTP_KLAVIYO_GRAPHQL_NAME,
    NGX_HTTP_KLAVIYO_GRAPHQL_NUMBER,
    NGX_HTTP_KLAVIYO_GRAPHQL_STRING,
    NGX_HTTP_KLAVIYO_GRAPHQL_BLOCK
} ngx_http_klaviyo_graphql_token_e;


typedef struct {
    u_char                    *pos;      /* behind the token */
    u_char                    *last;

    /* the token; the text of a string is what stands between its quotes */
    ngx_uint_t                 type;
    ngx_str_t                  text;
} ngx_http_klaviyo_graphql_lexer_t;


typedef struct {
    /* the client's, or NULL */
    ngx_str_t                  operation;
    json_t                    *variables;

    /* "query", "mutation" or "subscription"; empty if it is not known which */
    ngx_str_t                  type;

    /* root field names, each with an object of its arguments */
    json_t                    *fields;
} ngx_http_klaviyo_graphql_t;


/* Goes on to the next token; END and WRONG stay. */
void ngx_http_klaviyo_graphql_next(ngx_http_klaviyo_graphql_lexer_t *lexer);

/*
 * What the STRING or BLOCK at the lexer means.  NGX_OK; NGX_DECLINED if it has
 * a wrong escape; NGX_ERROR when the arena is exhausted.
 */
ngx_int_t ngx_http_klaviyo_graphql_string(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_graphql_lexer_t *lexer, ngx_str_t *dst);

/*
 * Reads the text of a query: sets "type", "fields" (the arena keeps them) and,
 * where it is empty, "operation" of the operation that would be run.  NGX_OK;
 * NGX_DECLINED if the text is no query; NGX_ERROR if a limit was met, which is
 * counted.
 */
ngx_int_t ngx_http_klaviyo_graphql_query(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_graphql_t *graphql, ngx_str_t *text);


#endif /* _NGX_HTTP_KLAVIYO_GRAPHQL_H_INCLUDED_ */
