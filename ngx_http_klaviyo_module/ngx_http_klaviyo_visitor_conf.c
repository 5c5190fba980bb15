
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Reads klaviyo_memory, klaviyo_visitor and what goes with them when the
 * configuration is read.
 */


#include "ngx_http_klaviyo_visitor_conf.h"


#define NGX_HTTP_KLAVIYO_VISITOR_TTL     (30 * 24 * 3600)


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

    if (klcf->visitor != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    last = &value[cf->args->nelts - 1];

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        klcf->visitor = NULL;
        return NGX_CONF_OK;
    }

    klcf->visitor = ngx_palloc(cf->pool, sizeof(ngx_http_klaviyo_value_t));
    if (klcf->visitor == NULL) {
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

    if (ngx_http_klaviyo_value_compile(&compile, klcf->visitor) != NGX_OK
        || ngx_http_klaviyo_level_element(&compile, klcf->visitor) != NGX_OK)
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
                           "invalid value \"%V\" in \"%V\", it must be \"off\" "
                           "or 1 to %d and a time", &value[1], &cmd->name,
                           NGX_HTTP_KLAVIYO_MEMORY_PIECES);
        return NGX_CONF_ERROR;
    }

    klcf->backlog = n;

    return ngx_http_klaviyo_visitor_time(cf, &cmd->name, &value[2],
                                         &klcf->backlog_ttl)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
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
