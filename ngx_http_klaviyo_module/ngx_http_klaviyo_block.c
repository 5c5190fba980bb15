
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Reading a block by nginx's own parser, in a context of ours.
 */


#include "ngx_http_klaviyo_block.h"


static void ngx_http_klaviyo_block_hint(ngx_conf_t *cf, ngx_uint_t line);


char *
ngx_http_klaviyo_block(ngx_conf_t *cf, ngx_uint_t type, void *data)
{
    char                      *rv;
    ngx_conf_t                 save;
    ngx_uint_t                 line;
    ngx_array_t               *args;
    ngx_http_klaviyo_block_t   block;

    args = ngx_array_create(cf->temp_pool, 10, sizeof(ngx_str_t));
    if (args == NULL) {
        return NGX_CONF_ERROR;
    }

    block.none = NULL;
    block.data = data;
    block.failed = 0;

    save = *cf;
    line = cf->conf_file->line;

    cf->args = args;
    cf->ctx = &block;
    cf->module_type = NGX_HTTP_KLAVIYO_MODULE;
    cf->cmd_type = type;
    cf->handler = NULL;
    cf->handler_conf = NULL;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK && !block.failed) {
        ngx_http_klaviyo_block_hint(cf, line);
    }

    return rv;
}


/*
 * After an error of the parser itself: it stumbles over what a "{" or ";" in
 * a pattern has left, maybe lines below, and can't know.
 */

static void
ngx_http_klaviyo_block_hint(ngx_conf_t *cf, ngx_uint_t line)
{
    ngx_str_t   *value;
    ngx_uint_t   current;

    value = cf->args->elts;
    current = cf->conf_file->line;

    cf->conf_file->line = line;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "a pattern with \"{\", \"}\", \";\" or blanks must be "
                       "quoted, in the block of \"%V\"", &value[0]);

    cf->conf_file->line = current;
}


ngx_array_t *
ngx_http_klaviyo_block_args(ngx_conf_t *cf)
{
    ngx_str_t    *value;
    ngx_array_t  *args;

    args = ngx_array_create(cf->pool, cf->args->nelts, sizeof(ngx_str_t));
    if (args == NULL) {
        return NULL;
    }

    value = ngx_array_push_n(args, cf->args->nelts);
    if (value == NULL) {
        return NULL;
    }

    ngx_memcpy(value, cf->args->elts, cf->args->nelts * sizeof(ngx_str_t));

    return args;
}
