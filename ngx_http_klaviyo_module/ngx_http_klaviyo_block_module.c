
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The directives inside of our blocks, and the module that nginx's parser
 * finds them in.
 */


#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_block.h"
#include "ngx_http_klaviyo_rule.h"


static char *ngx_http_klaviyo_block_account(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_block_rule(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_block_result(ngx_conf_t *cf, char *rv);


/* what makes something for Klaviyo, and all that requests are matched with */
#define NGX_HTTP_KLAVIYO_SENT                                                 \
    NGX_HTTP_KLAVIYO_RULE_CONF|NGX_HTTP_KLAVIYO_IDENTIFY_CONF                 \
    |NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF
#define NGX_HTTP_KLAVIYO_RULES                                                \
    NGX_HTTP_KLAVIYO_SENT|NGX_HTTP_KLAVIYO_REMEMBER_CONF

/* what has properties */
#define NGX_HTTP_KLAVIYO_NODES                                                \
    NGX_HTTP_KLAVIYO_RULE_CONF|NGX_HTTP_KLAVIYO_REMEMBER_CONF                 \
    |NGX_HTTP_KLAVIYO_OBJECT_CONF


static ngx_command_t  ngx_http_klaviyo_block_commands[] = {

    { ngx_string("api_key"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("company_id"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("endpoint"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("revision"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("queue"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("batch"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE123,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("rate"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE123,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("retry"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE12,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("spool"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE12,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("backfill"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("service"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("timeout"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("connect_timeout"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("trusted_certificate"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("verify"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_FLAG,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("proxy"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("http2"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_FLAG,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("dry_run"),
      NGX_HTTP_KLAVIYO_ACCOUNT_CONF|NGX_CONF_FLAG,
      ngx_http_klaviyo_block_account,
      0,
      0,
      NULL },

    { ngx_string("route"),
      NGX_HTTP_KLAVIYO_RULES|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("when"),
      NGX_HTTP_KLAVIYO_RULES|NGX_HTTP_KLAVIYO_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("any"),
      NGX_HTTP_KLAVIYO_RULES|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("let"),
      NGX_HTTP_KLAVIYO_RULES|NGX_CONF_2MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("profile"),
      NGX_HTTP_KLAVIYO_SENT|NGX_CONF_2MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("property"),
      NGX_HTTP_KLAVIYO_NODES|NGX_CONF_2MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("object"),
      NGX_HTTP_KLAVIYO_NODES|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("items"),
      NGX_HTTP_KLAVIYO_NODES|NGX_CONF_BLOCK|NGX_CONF_2MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("each"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_HTTP_KLAVIYO_IDENTIFY_CONF
                                |NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("value"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("currency"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("time"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("unique_id"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("service"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("backfill"),
      NGX_HTTP_KLAVIYO_RULE_CONF|NGX_CONF_FLAG,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("account"),
      NGX_HTTP_KLAVIYO_RULES|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("ignore"),
      NGX_HTTP_KLAVIYO_SENT|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("list"),
      NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("channels"),
      NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("consent"),
      NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("source"),
      NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("consented_at"),
      NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("once"),
      NGX_HTTP_KLAVIYO_SENT|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("key"),
      NGX_HTTP_KLAVIYO_REMEMBER_CONF|NGX_CONF_1MORE,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

    { ngx_string("ttl"),
      NGX_HTTP_KLAVIYO_REMEMBER_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_block_rule,
      0,
      0,
      NULL },

      ngx_null_command
};


ngx_module_t  ngx_http_klaviyo_block_module = {
    NGX_MODULE_V1,
    NULL,                                  /* module context */
    ngx_http_klaviyo_block_commands,       /* module directives */
    NGX_HTTP_KLAVIYO_MODULE,               /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_klaviyo_block_account(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *rv;

    rv = ngx_http_klaviyo_account_directive(cf, cmd, conf);

    return ngx_http_klaviyo_block_result(cf, rv);
}


static char *
ngx_http_klaviyo_block_rule(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *rv;

    rv = ngx_http_klaviyo_rule_directive(cf, cmd, conf);

    return ngx_http_klaviyo_block_result(cf, rv);
}


/* tells errors of our directives, which explain themselves, from nginx's */

static char *
ngx_http_klaviyo_block_result(ngx_conf_t *cf, char *rv)
{
    ngx_http_klaviyo_block_t  *block;

    if (rv != NGX_CONF_OK) {
        block = cf->ctx;
        block->failed = 1;
    }

    return rv;
}
