
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Reads klaviyo_memory, klaviyo_visitor and what goes with them when the
 * configuration is read.
 */


#include "ngx_http_klaviyo_visitor_conf.h"
#include "ngx_http_klaviyo_cookie.h"


#define NGX_HTTP_KLAVIYO_VISITOR_TTL     (30 * 24 * 3600)
#define NGX_HTTP_KLAVIYO_COOKIE_TTL      (365 * 24 * 3600)


/* what klaviyo_visitor_cookie says behind the name */
typedef struct {
    ngx_str_t                            domain;
    time_t                               ttl;      /* s; 0: not said */
    ngx_uint_t                           insecure;
} ngx_http_klaviyo_cookie_args_t;


static ngx_int_t ngx_http_klaviyo_visitor_cookie(ngx_conf_t *cf,
    ngx_http_klaviyo_cookie_t *cookie, ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_visitor_cookie_args(ngx_conf_t *cf,
    ngx_http_klaviyo_cookie_args_t *args);
static ngx_uint_t ngx_http_klaviyo_visitor_token(ngx_str_t *text,
    char *more);
static ngx_int_t ngx_http_klaviyo_visitor_time(ngx_conf_t *cf,
    ngx_str_t *directive, ngx_str_t *parameter, time_t *sec);


char *
ngx_http_klaviyo_memory_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_main_conf_t *kmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (kmcf->memory_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR || size < NGX_HTTP_KLAVIYO_MEMORY_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"%V\", it must be at "
                           "least %dk", &value[1], &cmd->name,
                           NGX_HTTP_KLAVIYO_MEMORY_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    kmcf->memory_size = size;

    return NGX_CONF_OK;
}


char *
ngx_http_klaviyo_visitor_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_str_t                     *last, *value;
    ngx_http_klaviyo_compile_t     compile;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (klcf->visitor_own != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    last = &value[cf->args->nelts - 1];

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        klcf->visitor_own = NULL;
        return NGX_CONF_OK;
    }

    klcf->visitor_own = ngx_palloc(cf->pool, sizeof(ngx_http_klaviyo_value_t));
    if (klcf->visitor_own == NULL) {
        return NGX_CONF_ERROR;
    }

    klcf->visitor_ttl = NGX_HTTP_KLAVIYO_VISITOR_TTL;

    ngx_http_klaviyo_level_compile(cf, klcf, &compile);

    if (cf->args->nelts > 2 && ngx_strncmp(last->data, "ttl=", 4) == 0) {
        compile.last--;

        if (ngx_http_klaviyo_visitor_time(cf, &cmd->name, last,
                                          &klcf->visitor_ttl)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_klaviyo_value_compile(&compile, klcf->visitor_own) != NGX_OK
        || ngx_http_klaviyo_level_element(&compile, klcf->visitor_own)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);
    kmcf->remembers = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_klaviyo_backlog_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (klcf->backlog != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        klcf->backlog = 0;
        return NGX_CONF_OK;
    }

    n = ngx_atoi(value[1].data, value[1].len);

    if (cf->args->nelts != 3
        || n <= 0 || n > NGX_HTTP_KLAVIYO_MEMORY_PIECES)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", it must be "
                           "\"off\" or 1 to %d and a time", &value[1],
                           &cmd->name,
                           NGX_HTTP_KLAVIYO_MEMORY_PIECES);
        return NGX_CONF_ERROR;
    }

    klcf->backlog = n;

    return ngx_http_klaviyo_visitor_time(cf, &cmd->name, &value[2],
                                         &klcf->backlog_ttl)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* NAME [domain=NAME] [ttl=TIME] [secure=off] | off */

char *
ngx_http_klaviyo_cookie_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    u_char                          *p;
    ngx_str_t                       *value;
    ngx_http_klaviyo_cookie_t       *cookie;
    ngx_http_klaviyo_main_conf_t    *kmcf;
    ngx_http_klaviyo_cookie_args_t   args;

    if (klcf->cookie != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        klcf->cookie = NULL;
        return NGX_CONF_OK;
    }

    ngx_memzero(&args, sizeof(ngx_http_klaviyo_cookie_args_t));

    cookie = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_cookie_t));

    if (cookie == NULL
        || ngx_http_klaviyo_visitor_cookie_args(cf, &args) != NGX_OK
        || ngx_http_klaviyo_visitor_cookie(cf, cookie, &value[1]) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    cookie->ttl = args.ttl ? args.ttl : NGX_HTTP_KLAVIYO_COOKIE_TTL;

    p = ngx_pnalloc(cf->pool, args.domain.len + 256);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    cookie->attributes.data = p;

    p = ngx_sprintf(p, "; Max-Age=%T; Path=/", cookie->ttl);

    if (args.domain.len) {
        p = ngx_sprintf(p, "; Domain=%V", &args.domain);
    }

    p = ngx_sprintf(p, "; HttpOnly%s; SameSite=Lax",
                    args.insecure ? "" : "; Secure");

    cookie->attributes.len = p - cookie->attributes.data;

    klcf->cookie = cookie;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);
    kmcf->remembers = 1;
    kmcf->cookies = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_visitor_cookie(ngx_conf_t *cf,
    ngx_http_klaviyo_cookie_t *cookie, ngx_str_t *name)
{
    ngx_str_t                   variable, token[2];
    ngx_http_klaviyo_compile_t  compile;

    if (!ngx_http_klaviyo_visitor_token(name, "_")) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" of a cookie, it must be "
                           "letters, digits and \"_\"", name);
        return NGX_ERROR;
    }

    cookie->name = *name;

    variable.len = sizeof("cookie_") - 1 + name->len;
    variable.data = ngx_pnalloc(cf->pool, variable.len);
    if (variable.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(variable.data, "cookie_%V", name);

    cookie->index = ngx_http_get_variable_index(cf, &variable);
    if (cookie->index == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* what stands for klaviyo_visitor */

    ngx_str_set(&token[0], "$klaviyo_visitor_id");

    ngx_http_klaviyo_level_compile(cf, NULL, &compile);

    compile.token = token;
    compile.last = token + 1;

    return ngx_http_klaviyo_value_compile(&compile, &cookie->value);
}


static ngx_int_t
ngx_http_klaviyo_visitor_cookie_args(ngx_conf_t *cf,
    ngx_http_klaviyo_cookie_args_t *args)
{
    ngx_str_t   *value, domain;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "ttl=", 4) == 0 && args->ttl == 0) {

            if (ngx_http_klaviyo_visitor_time(cf, &value[0], &value[i],
                                              &args->ttl)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_strcmp(value[i].data, "secure=off") == 0 && !args->insecure) {
            args->insecure = 1;
            continue;
        }

        if (ngx_strncmp(value[i].data, "domain=", 7) == 0
            && args->domain.len == 0)
        {
            domain.data = value[i].data + 7;
            domain.len = value[i].len - 7;

            if (ngx_http_klaviyo_visitor_token(&domain, ".-")) {
                args->domain = domain;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"%V\", it may have "
                           "\"domain=\", \"ttl=\" and \"secure=off\"",
                           &value[i], &value[0]);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Letters, digits and those of "more". */

static ngx_uint_t
ngx_http_klaviyo_visitor_token(ngx_str_t *text, char *more)
{
    u_char  c;
    size_t  i;

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
              || ngx_strchr(more, c)))
        {
            return 0;
        }
    }

    return text->len != 0;
}


/* "ttl=TIME", or TIME by itself */

static ngx_int_t
ngx_http_klaviyo_visitor_time(ngx_conf_t *cf, ngx_str_t *directive,
    ngx_str_t *parameter, time_t *sec)
{
    u_char     *p;
    ngx_str_t   time;

    time = *parameter;
    p = ngx_strlchr(time.data, time.data + time.len, '=');

    if (p) {
        time.len -= p + 1 - time.data;
        time.data = p + 1;
    }

    *sec = ngx_parse_time(&time, 1);

    if (*sec == (time_t) NGX_ERROR || *sec == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"%V\", it must be 1s or "
                           "more", parameter, directive);
        return NGX_ERROR;
    }

    return NGX_OK;
}
