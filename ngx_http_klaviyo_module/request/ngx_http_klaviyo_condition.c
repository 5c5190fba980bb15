
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * [not] VALUE [OP TEXT]: the conditions of "when" and klaviyo_consent.
 */


#include "ngx_http_klaviyo_rule.h"
#include "ngx_http_klaviyo_decimal.h"
#include "ngx_http_klaviyo_explain.h"


static ngx_int_t ngx_http_klaviyo_condition_text(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_condition_t *c,
    ngx_uint_t flags);
static ngx_http_klaviyo_stage_e ngx_http_klaviyo_condition_stage(
    ngx_http_klaviyo_value_t *value);
static ngx_int_t ngx_http_klaviyo_condition_any(ngx_http_klaviyo_eval_t *eval,
    ngx_array_t *any);
static ngx_int_t ngx_http_klaviyo_condition_compare(
    ngx_http_klaviyo_condition_t *c, ngx_http_klaviyo_data_t *data,
    ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_condition_number(
    ngx_http_klaviyo_condition_t *c, ngx_str_t *text, ngx_int_t *order);


typedef struct {
    ngx_str_t                            name;
    ngx_http_klaviyo_op_e                op;
    ngx_uint_t                           flags;
} ngx_http_klaviyo_operator_t;


static ngx_http_klaviyo_operator_t  ngx_http_klaviyo_operators[] = {

    { ngx_string("="), NGX_HTTP_KLAVIYO_OP_EQ, 0 },
    { ngx_string("!="), NGX_HTTP_KLAVIYO_OP_NE, 0 },
    { ngx_string("<"), NGX_HTTP_KLAVIYO_OP_LT, 0 },
    { ngx_string("<="), NGX_HTTP_KLAVIYO_OP_LE, 0 },
    { ngx_string(">"), NGX_HTTP_KLAVIYO_OP_GT, 0 },
    { ngx_string(">="), NGX_HTTP_KLAVIYO_OP_GE, 0 },
    { ngx_string("~"), NGX_HTTP_KLAVIYO_OP_MATCH, 0 },
    { ngx_string("!~"), NGX_HTTP_KLAVIYO_OP_NOT_MATCH, 0 },
    { ngx_string("~*"), NGX_HTTP_KLAVIYO_OP_MATCH,
      NGX_HTTP_KLAVIYO_REGEX_CASELESS },
    { ngx_string("!~*"), NGX_HTTP_KLAVIYO_OP_NOT_MATCH,
      NGX_HTTP_KLAVIYO_REGEX_CASELESS },

    { ngx_null_string, NGX_HTTP_KLAVIYO_OP_TRUE, 0 }
};


ngx_int_t
ngx_http_klaviyo_condition_compile(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_condition_t *c)
{
    ngx_str_t                    *token;
    ngx_http_klaviyo_operator_t  *op;

    ngx_memzero(c, sizeof(ngx_http_klaviyo_condition_t));

    token = compile->token;

    if (token < compile->last
        && token->len == 3 && ngx_strncmp(token->data, "not", 3) == 0)
    {
        c->negate = 1;
        compile->token++;
    }

    compile->operators = 1;

    if (ngx_http_klaviyo_value_compile(compile, &c->value) != NGX_OK) {
        return NGX_ERROR;
    }

    c->stage = ngx_http_klaviyo_condition_stage(&c->value);

    if (compile->token == compile->last) {
        return NGX_OK;
    }

    token = compile->token++;

    for (op = ngx_http_klaviyo_operators; op->name.len; op++) {

        if (op->name.len == token->len
            && ngx_strncmp(op->name.data, token->data, token->len) == 0)
        {
            break;
        }
    }

    c->op = op->op;

    if (compile->token == compile->last) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "operator \"%V\" needs a text", token);
        return NGX_ERROR;
    }

    c->text = *compile->token++;

    if (compile->token < compile->last) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "unexpected \"%V\" after \"%V %V\", a text with "
                           "blanks must be quoted", compile->token, token,
                           &c->text);
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_condition_text(compile, c, op->flags);
}


static ngx_int_t
ngx_http_klaviyo_condition_text(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_condition_t *c, ngx_uint_t flags)
{
    u_char                      buf[256];
    ngx_str_t                   err;
    ngx_http_klaviyo_decimal_t  d;

    switch (c->op) {

    case NGX_HTTP_KLAVIYO_OP_EQ:
    case NGX_HTTP_KLAVIYO_OP_NE:

        if (ngx_http_klaviyo_unescape_hex(&c->text) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "\"\\x\" needs two hexadecimal digits in "
                               "\"%V\"", &c->text);
            return NGX_ERROR;
        }

        return NGX_OK;

    case NGX_HTTP_KLAVIYO_OP_MATCH:
    case NGX_HTTP_KLAVIYO_OP_NOT_MATCH:

        err.data = buf;
        err.len = sizeof(buf);

        c->regex = ngx_http_klaviyo_regex_compile(compile->cf->pool, &c->text,
                                    flags | NGX_HTTP_KLAVIYO_REGEX_UTF, &err);
        if (c->regex == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "invalid pattern \"%V\": %V", &c->text, &err);
            return NGX_ERROR;
        }

        return NGX_OK;

    default: /* an order */

        if (ngx_http_klaviyo_decimal_parse(&d, &c->text) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "\"%V\" is not a number", &c->text);
            return NGX_ERROR;
        }

        return NGX_OK;
    }
}


static ngx_http_klaviyo_stage_e
ngx_http_klaviyo_condition_stage(ngx_http_klaviyo_value_t *value)
{
    if (value->frames || value->each) {
        return NGX_HTTP_KLAVIYO_STAGE_ELEMENT;
    }

    if (value->answer || value->late) {
        return NGX_HTTP_KLAVIYO_STAGE_ANSWER;
    }

    return value->body ? NGX_HTTP_KLAVIYO_STAGE_BODY
                       : NGX_HTTP_KLAVIYO_STAGE_HEAD;
}


ngx_int_t
ngx_http_klaviyo_conditions_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_array_t *conditions, ngx_http_klaviyo_stage_e first,
    ngx_http_klaviyo_stage_e last)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_klaviyo_condition_t  *c;

    c = conditions->elts;

    for (i = 0; i < conditions->nelts; i++) {

        if (c[i].stage < first || c[i].stage > last) {
            continue;
        }

        rc = ngx_http_klaviyo_condition_eval(eval, &c[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_condition_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_condition_t *c)
{
    ngx_int_t                rc;
    ngx_http_klaviyo_data_t  data;

    if (c->any) {
        rc = ngx_http_klaviyo_condition_any(eval, c->any);

    } else {
        ngx_http_klaviyo_value_eval(eval, &c->value, &data);

        rc = ngx_http_klaviyo_condition_judge(c, &data);
    }

    if (eval->explain) {
        ngx_http_klaviyo_explain_condition(eval->explain, c, rc);
    }

    return rc;
}


ngx_int_t
ngx_http_klaviyo_condition_judge(ngx_http_klaviyo_condition_t *c,
    ngx_http_klaviyo_data_t *data)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  negate;

    if (data->type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        return NGX_ABORT;
    }

    if (c->present && data->type == NGX_HTTP_KLAVIYO_MISSING) {
        return NGX_DECLINED;
    }

    negate = c->negate;

    if (c->op == NGX_HTTP_KLAVIYO_OP_TRUE) {
        return (ngx_http_klaviyo_data_truth(data) != negate) ? NGX_OK
                                                              : NGX_DECLINED;
    }

    if (ngx_http_klaviyo_data_text(data, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_http_klaviyo_condition_compare(c, data, &text);

    if (rc == NGX_ERROR) {

        /* not a number: false as missing is, with "not" too */

        return NGX_DECLINED;
    }

    if (rc == NGX_ABORT || !negate) {
        return rc;
    }

    return (rc == NGX_OK) ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_condition_any(ngx_http_klaviyo_eval_t *eval, ngx_array_t *any)
{
    ngx_int_t                      rc, result;
    ngx_uint_t                     i;
    ngx_http_klaviyo_condition_t  *c;

    c = any->elts;
    result = NGX_DECLINED;

    for (i = 0; i < any->nelts; i++) {

        rc = ngx_http_klaviyo_condition_eval(eval, &c[i]);

        if (rc == NGX_OK) {
            return NGX_OK;
        }

        if (rc == NGX_ABORT) {
            result = NGX_ABORT;
        }
    }

    return result;
}


/* NGX_ABORT: a limit was met; NGX_ERROR: the two can't be compared */

static ngx_int_t
ngx_http_klaviyo_condition_compare(ngx_http_klaviyo_condition_t *c,
    ngx_http_klaviyo_data_t *data, ngx_str_t *text)
{
    ngx_int_t  rc, order;

    if (c->regex) {
        rc = ngx_http_klaviyo_regex_exec(c->regex, text, NULL, 0);

        if (rc == NGX_ABORT || c->op == NGX_HTTP_KLAVIYO_OP_MATCH) {
            return rc;
        }

        return (rc == NGX_OK) ? NGX_DECLINED : NGX_OK;
    }

    if (c->op == NGX_HTTP_KLAVIYO_OP_EQ || c->op == NGX_HTTP_KLAVIYO_OP_NE) {

        if (data->type != NGX_HTTP_KLAVIYO_NUMBER
            || ngx_http_klaviyo_condition_number(c, text, &order) != NGX_OK)
        {
            order = (text->len != c->text.len
                     || ngx_memcmp(text->data, c->text.data, text->len) != 0);
        }

        return ((order == 0) == (c->op == NGX_HTTP_KLAVIYO_OP_EQ))
               ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_http_klaviyo_condition_number(c, text, &order) != NGX_OK) {
        return NGX_ERROR;
    }

    switch (c->op) {

    case NGX_HTTP_KLAVIYO_OP_LT:
        return (order < 0) ? NGX_OK : NGX_DECLINED;

    case NGX_HTTP_KLAVIYO_OP_LE:
        return (order <= 0) ? NGX_OK : NGX_DECLINED;

    case NGX_HTTP_KLAVIYO_OP_GT:
        return (order > 0) ? NGX_OK : NGX_DECLINED;

    default: /* NGX_HTTP_KLAVIYO_OP_GE */
        return (order >= 0) ? NGX_OK : NGX_DECLINED;
    }
}


static ngx_int_t
ngx_http_klaviyo_condition_number(ngx_http_klaviyo_condition_t *c,
    ngx_str_t *text, ngx_int_t *order)
{
    ngx_http_klaviyo_decimal_t  a, b;

    if (ngx_http_klaviyo_decimal_parse(&a, text) != NGX_OK
        || ngx_http_klaviyo_decimal_parse(&b, &c->text) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *order = ngx_http_klaviyo_decimal_compare(&a, &b);

    return NGX_OK;
}
