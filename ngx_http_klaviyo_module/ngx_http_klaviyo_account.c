
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Reading klaviyo_account NAME { ... }: the directives inside, their limits
 * and defaults, and what they must be together.
 */


#include <ngx_md5.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_block.h"
#include "ngx_http_klaviyo_endpoint.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_key.h"


#define NGX_HTTP_KLAVIYO_SERVICE_MAX     64
#define NGX_HTTP_KLAVIYO_COMPANY_MAX     64

#define NGX_HTTP_KLAVIYO_QUEUE_MIN       (256 * 1024)

/* what Klaviyo takes in one request */
#define NGX_HTTP_KLAVIYO_EVENTS_MAX      1000
#define NGX_HTTP_KLAVIYO_BYTES_MAX       5000000

/* room for the envelope and an event of usual size */
#define NGX_HTTP_KLAVIYO_BYTES_MIN       (16 * 1024)

#define NGX_HTTP_KLAVIYO_SPOOL_MIN       (1024 * 1024)

#define NGX_HTTP_KLAVIYO_RATE_MAX        1000000

/* of memory and disk the other lanes have this part, beside that of events */
#define NGX_HTTP_KLAVIYO_LANE_PART       8

/*
 * Klaviyo's limits for one profile, and of its endpoints; older revisions have
 * 700 a minute, and the last 50 aren't worth a second number
 */
#define NGX_HTTP_KLAVIYO_LANE_BYTES      100000
#define NGX_HTTP_KLAVIYO_LANE_BURST      75
#define NGX_HTTP_KLAVIYO_LANE_STEADY     700

/* a day: a longer wait is a slip of the pen */
#define NGX_HTTP_KLAVIYO_TIME_MAX        86400000


static ngx_http_klaviyo_account_t *ngx_http_klaviyo_account_create(
    ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_account_name(ngx_conf_t *cf,
    ngx_array_t *accounts, ngx_str_t *name);
static void ngx_http_klaviyo_account_hash(ngx_http_klaviyo_account_t *account);
static ngx_int_t ngx_http_klaviyo_account_init(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account);
static ngx_int_t ngx_http_klaviyo_account_check(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account);
static ngx_int_t ngx_http_klaviyo_account_check_key(ngx_conf_t *cf,
    ngx_array_t *accounts, ngx_http_klaviyo_account_t *account);
static ngx_uint_t ngx_http_klaviyo_account_env_kept(ngx_array_t *env,
    ngx_str_t *name);

static char *ngx_http_klaviyo_account_company_id(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_revision(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_queue(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_batch(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_rate(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_retry(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_spool(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_klaviyo_account_full(ngx_str_t *text,
    ngx_uint_t *full);
static char *ngx_http_klaviyo_account_backfill(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_service(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_timeout(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_klaviyo_account_certificate(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

static ngx_uint_t ngx_http_klaviyo_account_alnum(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_account_param(ngx_str_t *word, char *name,
    ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_account_number(ngx_str_t *text, char *unit,
    ngx_uint_t max, ngx_uint_t *number);
static ngx_int_t ngx_http_klaviyo_account_size(ngx_str_t *text, off_t min,
    off_t max, off_t *size);
static ngx_int_t ngx_http_klaviyo_account_time(ngx_str_t *text,
    ngx_msec_t *msec);
static char *ngx_http_klaviyo_account_invalid(ngx_conf_t *cf,
    ngx_command_t *cmd);
static char *ngx_http_klaviyo_account_invalid_param(ngx_conf_t *cf,
    ngx_str_t *word);


ngx_str_t  ngx_http_klaviyo_lane_names[] = {
    ngx_string("events"),
    ngx_string("profiles"),
    ngx_string("subscriptions"),
    ngx_null_string
};


/* what the block module's table leaves to us; "type" is there */

static ngx_command_t  ngx_http_klaviyo_account_commands[] = {

    { ngx_string("api_key"),
      0,
      ngx_http_klaviyo_key_directive,
      0,
      0,
      NULL },

    { ngx_string("company_id"),
      0,
      ngx_http_klaviyo_account_company_id,
      0,
      0,
      NULL },

    { ngx_string("endpoint"),
      0,
      ngx_http_klaviyo_endpoint_directive,
      0,
      0,
      NULL },

    { ngx_string("revision"),
      0,
      ngx_http_klaviyo_account_revision,
      0,
      0,
      NULL },

    { ngx_string("queue"),
      0,
      ngx_http_klaviyo_account_queue,
      0,
      0,
      NULL },

    { ngx_string("batch"),
      0,
      ngx_http_klaviyo_account_batch,
      0,
      0,
      NULL },

    { ngx_string("rate"),
      0,
      ngx_http_klaviyo_account_rate,
      0,
      0,
      NULL },

    { ngx_string("retry"),
      0,
      ngx_http_klaviyo_account_retry,
      0,
      0,
      NULL },

    { ngx_string("spool"),
      0,
      ngx_http_klaviyo_account_spool,
      0,
      0,
      NULL },

    { ngx_string("backfill"),
      0,
      ngx_http_klaviyo_account_backfill,
      0,
      0,
      NULL },

    { ngx_string("service"),
      0,
      ngx_http_klaviyo_account_service,
      0,
      0,
      NULL },

    { ngx_string("timeout"),
      0,
      ngx_http_klaviyo_account_timeout,
      0,
      offsetof(ngx_http_klaviyo_account_t, timeout),
      NULL },

    { ngx_string("connect_timeout"),
      0,
      ngx_http_klaviyo_account_timeout,
      0,
      offsetof(ngx_http_klaviyo_account_t, connect_timeout),
      NULL },

    { ngx_string("trusted_certificate"),
      0,
      ngx_http_klaviyo_account_certificate,
      0,
      0,
      NULL },

    { ngx_string("verify"),
      0,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_klaviyo_account_t, verify),
      NULL },

    { ngx_string("proxy"),
      0,
      ngx_http_klaviyo_proxy_directive,
      0,
      0,
      NULL },

    { ngx_string("http2"),
      0,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_klaviyo_account_t, http2),
      NULL },

    { ngx_string("dry_run"),
      0,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_http_klaviyo_account_t, dry_run),
      NULL },

      ngx_null_command
};


char *
ngx_http_klaviyo_account_block(ngx_conf_t *cf, ngx_array_t *accounts)
{
    char                         *rv;
    ngx_str_t                    *value;
    ngx_http_klaviyo_account_t   *account, **slot;

    value = cf->args->elts;

    if (ngx_http_klaviyo_account_name(cf, accounts, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    account = ngx_http_klaviyo_account_create(cf, &value[1]);
    if (account == NULL) {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_klaviyo_block(cf, NGX_HTTP_KLAVIYO_ACCOUNT_CONF, account);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_klaviyo_account_init(cf, account) != NGX_OK
        || ngx_http_klaviyo_account_check(cf, account) != NGX_OK
        || ngx_http_klaviyo_account_check_key(cf, accounts, account) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(accounts);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    account->index = accounts->nelts - 1;
    *slot = account;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_account_name(ngx_conf_t *cf, ngx_array_t *accounts,
    ngx_str_t *name)
{
    u_char      c;
    ngx_uint_t  i, valid;

    valid = (name->len > 0 && name->len <= NGX_HTTP_KLAVIYO_NAME_MAX);

    for (i = 0; valid && i < name->len; i++) {
        c = name->data[i];

        if (((c | 0x20) < 'a' || (c | 0x20) > 'z') && (c < '0' || c > '9')
            && c != '_' && c != '.' && c != '-')
        {
            valid = 0;
        }
    }

    if (!valid) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" of klaviyo_account, it must "
                           "be 1 to 64 letters, digits, \"_\", \".\" or \"-\"",
                           name);
        return NGX_ERROR;
    }

    if (ngx_http_klaviyo_account_find(accounts, name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate klaviyo_account \"%V\"", name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_http_klaviyo_account_t *
ngx_http_klaviyo_account_create(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_klaviyo_account_t  *account;

    account = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_account_t));
    if (account == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     all strings = { 0, NULL }
     *     account->index = 0;
     *     account->lane = NGX_HTTP_KLAVIYO_EVENTS;
     *     account->backfill_after = 0;
     *     account->ring = NULL;
     */

    account->name = *name;
    account->lanes[NGX_HTTP_KLAVIYO_EVENTS] = account;

    ngx_http_klaviyo_account_hash(account);

    account->queue = NGX_CONF_UNSET_SIZE;
    account->batch_events = NGX_CONF_UNSET_UINT;
    account->batch_bytes = NGX_CONF_UNSET_SIZE;
    account->linger = NGX_CONF_UNSET_MSEC;
    account->burst = NGX_CONF_UNSET_UINT;
    account->steady = NGX_CONF_UNSET_UINT;
    account->share = NGX_CONF_UNSET_UINT;
    account->retry_min = NGX_CONF_UNSET_MSEC;
    account->retry_max = NGX_CONF_UNSET_MSEC;
    account->spool_max = NGX_CONF_UNSET;
    account->spool_full = NGX_CONF_UNSET_UINT;
    account->backfill = NGX_CONF_UNSET_UINT;
    account->timeout = NGX_CONF_UNSET_MSEC;
    account->connect_timeout = NGX_CONF_UNSET_MSEC;
    account->verify = NGX_CONF_UNSET;
    account->http2 = NGX_CONF_UNSET;
    account->dry_run = NGX_CONF_UNSET;

    return account;
}


static void
ngx_http_klaviyo_account_hash(ngx_http_klaviyo_account_t *account)
{
    ngx_md5_t  md5;

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, account->name.data, account->name.len);
    ngx_md5_final(account->key, &md5);
}


static ngx_int_t
ngx_http_klaviyo_account_init(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account)
{
    if (account->api_key.data == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"api_key\" in klaviyo_account \"%V\"",
                           &account->name);
        return NGX_ERROR;
    }

    if (account->endpoint.data == NULL) {
        ngx_str_set(&account->endpoint, "https://a.klaviyo.com");
    }

    if (account->revision.data == NULL) {
        ngx_str_set(&account->revision, "2026-07-15");
    }

    ngx_conf_init_size_value(account->queue, 32 * 1024 * 1024);

    /* half of the queue fills while the other half is on its way */

    ngx_conf_init_size_value(account->batch_bytes,
                             ngx_min(4700 * 1024, account->queue / 2));

    ngx_conf_init_uint_value(account->batch_events,
                             NGX_HTTP_KLAVIYO_EVENTS_MAX);
    ngx_conf_init_msec_value(account->linger, 1000);
    ngx_conf_init_uint_value(account->burst, 10);
    ngx_conf_init_uint_value(account->steady, 150);
    ngx_conf_init_uint_value(account->share, 80);
    ngx_conf_init_msec_value(account->retry_min, 1000);
    ngx_conf_init_msec_value(account->retry_max, 300000);
    ngx_conf_init_value(account->spool_max, 1024 * 1024 * 1024);
    ngx_conf_init_uint_value(account->spool_full,
                             NGX_HTTP_KLAVIYO_FULL_DROP_OLDEST);
    ngx_conf_init_uint_value(account->backfill, NGX_HTTP_KLAVIYO_BACKFILL_OFF);
    ngx_conf_init_msec_value(account->timeout, 30000);
    ngx_conf_init_msec_value(account->connect_timeout, 5000);
    ngx_conf_init_value(account->verify, 1);
    ngx_conf_init_value(account->http2, 0);
    ngx_conf_init_value(account->dry_run, 0);

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_account_check(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account)
{
    char  *fault;

    fault = NULL;

    if (account->batch_bytes > account->queue / 2) {
        fault = "\"batch\" bytes must be at most half of \"queue\"";

    } else if (account->retry_min > account->retry_max) {
        fault = "\"retry\" min must not be more than max";

    } else if (account->proxy.len
               && ngx_strncasecmp(account->endpoint.data, (u_char *) "http:", 5)
                  == 0)
    {
        fault = "\"proxy\" needs an \"https://\" endpoint, else it sees "
                "the key";
    }

    if (fault) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in klaviyo_account \"%V\"",
                           fault, &account->name);
        return NGX_ERROR;
    }

    if (!account->verify) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"verify off\" in klaviyo_account \"%V\" lets "
                           "others read the key", &account->name);
    }

    return NGX_OK;
}


/* two accounts of one key would each take the share of the same quota */

static ngx_int_t
ngx_http_klaviyo_account_check_key(ngx_conf_t *cf, ngx_array_t *accounts,
    ngx_http_klaviyo_account_t *account)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_account_t  **other;

    other = accounts->elts;

    for (i = 0; i < accounts->nelts; i++) {
        if (other[i]->api_key.len == account->api_key.len
            && ngx_memcmp(other[i]->api_key.data, account->api_key.data,
                          account->api_key.len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "klaviyo_account \"%V\" has the \"api_key\" of "
                               "klaviyo_account \"%V\"",
                               &account->name, &other[i]->name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_http_klaviyo_account_t *
ngx_http_klaviyo_account_find(ngx_array_t *accounts, ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_account_t  **account;

    account = accounts->elts;

    for (i = 0; i < accounts->nelts; i++) {
        if (account[i]->name.len == name->len
            && ngx_memcmp(account[i]->name.data, name->data, name->len) == 0)
        {
            return account[i];
        }
    }

    return NULL;
}


/*
 * A request has one profile, so that what Klaviyo says of it names that one.
 * There is no linger then, nor backfill: only events have a time.
 */

ngx_http_klaviyo_account_t *
ngx_http_klaviyo_account_lane(ngx_pool_t *pool,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_lane_e lane)
{
    ngx_http_klaviyo_account_t  *a;

    if (account->lanes[lane]) {
        return account->lanes[lane];
    }

    a = ngx_palloc(pool, sizeof(ngx_http_klaviyo_account_t));
    if (a == NULL) {
        return NULL;
    }

    *a = *account;

    if (ngx_http_klaviyo_account_lane_name(pool, account, lane, &a->name)
        != NGX_OK)
    {
        return NULL;
    }

    ngx_http_klaviyo_account_hash(a);

    ngx_memzero(a->lanes, sizeof(a->lanes));

    a->lane = lane;
    a->lanes[lane] = a;
    a->ring = NULL;

    a->queue = ngx_max(account->queue / NGX_HTTP_KLAVIYO_LANE_PART,
                       NGX_HTTP_KLAVIYO_QUEUE_MIN);
    a->spool_max = ngx_max(account->spool_max / NGX_HTTP_KLAVIYO_LANE_PART,
                           NGX_HTTP_KLAVIYO_SPOOL_MIN);

    a->batch_events = 1;
    a->batch_bytes = NGX_HTTP_KLAVIYO_LANE_BYTES;
    a->burst = NGX_HTTP_KLAVIYO_LANE_BURST;
    a->steady = NGX_HTTP_KLAVIYO_LANE_STEADY;
    a->backfill = NGX_HTTP_KLAVIYO_BACKFILL_OFF;

    account->lanes[lane] = a;

    return a;
}


ngx_int_t
ngx_http_klaviyo_account_lane_name(ngx_pool_t *pool,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_lane_e lane,
    ngx_str_t *name)
{
    ngx_str_t  *suffix;

    suffix = &ngx_http_klaviyo_lane_names[lane];

    name->len = account->name.len + 1 + suffix->len;

    name->data = ngx_pnalloc(pool, name->len);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name->data, "%V+%V", &account->name, suffix);

    return NGX_OK;
}


void
ngx_http_klaviyo_account_check_env(ngx_cycle_t *cycle, ngx_array_t *accounts)
{
    ngx_uint_t                    i;
    ngx_core_conf_t              *ccf;
    ngx_http_klaviyo_account_t  **account;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    account = accounts->elts;

    for (i = 0; i < accounts->nelts; i++) {

        if (account[i]->env.len == 0
            || ngx_http_klaviyo_account_env_kept(&ccf->env, &account[i]->env))
        {
            continue;
        }

        /*
         * ngx_cycle is still the old one, whose log is that of configuration
         * messages; a new error_log usually has no [warn]
         */

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "no \"env %V;\": a binary upgrade would lose the key of "
                      "klaviyo_account \"%V\"",
                      &account[i]->env, &account[i]->name);
    }
}


static ngx_uint_t
ngx_http_klaviyo_account_env_kept(ngx_array_t *env, ngx_str_t *name)
{
    ngx_str_t   *var;
    ngx_uint_t   i;

    var = env->elts;

    for (i = 0; i < env->nelts; i++) {
        if (var[i].len == name->len
            && ngx_memcmp(var[i].data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


char *
ngx_http_klaviyo_account_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_str_t      *value;
    ngx_uint_t      i;
    ngx_command_t  *command;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '$')) {
            return "can't have variables";
        }
    }

    for (command = ngx_http_klaviyo_account_commands;
         command->name.len;
         command++)
    {
        if (command->name.len == cmd->name.len
            && ngx_strcmp(command->name.data, cmd->name.data) == 0)
        {
            return command->set(cf, command, ngx_http_klaviyo_block_data(cf));
        }
    }

    return NGX_CONF_ERROR;
}


static char *
ngx_http_klaviyo_account_company_id(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    ngx_str_t  *value;

    if (account->company_id.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "pk_", 3) == 0) {
        return "takes the public id, not a private key";
    }

    if (value[1].len == 0 || value[1].len > NGX_HTTP_KLAVIYO_COMPANY_MAX
        || !ngx_http_klaviyo_account_alnum(&value[1]))
    {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    if (value[1].len != 6) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"%V\" in \"company_id\" has not the usual 6 "
                           "characters", &value[1]);
    }

    account->company_id = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_revision(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    u_char     *p;
    ngx_int_t   year, month, day;
    ngx_str_t  *value;

    if (account->revision.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    p = value[1].data;

    if (value[1].len != sizeof("2026-07-15") - 1 || p[4] != '-' || p[7] != '-')
    {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    year = ngx_atoi(p, 4);
    month = ngx_atoi(p + 5, 2);
    day = ngx_atoi(p + 8, 2);

    if (year < 2000 || month < 1 || month > 12 || day < 1 || day > 31) {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    account->revision = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_queue(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    off_t       size;
    ngx_str_t  *value;

    if (account->queue != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = NGX_CONF_UNSET;

    if (ngx_http_klaviyo_account_size(&value[1], 0, NGX_MAX_INT_T_VALUE, &size)
        != NGX_OK)
    {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    if (size < NGX_HTTP_KLAVIYO_QUEUE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"queue\" \"%V\" is too small, it must be at "
                           "least 256k", &value[1]);
        return NGX_CONF_ERROR;
    }

    account->queue = (size_t) size;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_batch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    off_t        bytes;
    ngx_int_t    rc;
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    if (account->batch_events != NGX_CONF_UNSET_UINT
        || account->batch_bytes != NGX_CONF_UNSET_SIZE
        || account->linger != NGX_CONF_UNSET_MSEC)
    {
        return "is duplicate";
    }

    value = cf->args->elts;
    bytes = NGX_CONF_UNSET;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_klaviyo_account_param(&value[i], "events=", &text)) {
            rc = ngx_http_klaviyo_account_number(&text, "",
                                                 NGX_HTTP_KLAVIYO_EVENTS_MAX,
                                                 &account->batch_events);

        } else if (ngx_http_klaviyo_account_param(&value[i], "bytes=", &text)) {
            rc = ngx_http_klaviyo_account_size(&text,
                                               NGX_HTTP_KLAVIYO_BYTES_MIN,
                                               NGX_HTTP_KLAVIYO_BYTES_MAX,
                                               &bytes);
            account->batch_bytes = (size_t) bytes;

        } else if (ngx_http_klaviyo_account_param(&value[i], "linger=", &text))
        {
            rc = ngx_http_klaviyo_account_time(&text, &account->linger);

        } else {
            rc = NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return ngx_http_klaviyo_account_invalid_param(cf, &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    ngx_int_t    rc;
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    if (account->burst != NGX_CONF_UNSET_UINT
        || account->steady != NGX_CONF_UNSET_UINT
        || account->share != NGX_CONF_UNSET_UINT)
    {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_klaviyo_account_param(&value[i], "burst=", &text)) {
            rc = ngx_http_klaviyo_account_number(&text, "/s",
                                                 NGX_HTTP_KLAVIYO_RATE_MAX,
                                                 &account->burst);

        } else if (ngx_http_klaviyo_account_param(&value[i], "steady=", &text))
        {
            rc = ngx_http_klaviyo_account_number(&text, "/m",
                                                 NGX_HTTP_KLAVIYO_RATE_MAX,
                                                 &account->steady);

        } else if (ngx_http_klaviyo_account_param(&value[i], "share=", &text)) {
            rc = ngx_http_klaviyo_account_number(&text, "%", 100,
                                                 &account->share);

        } else {
            rc = NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return ngx_http_klaviyo_account_invalid_param(cf, &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    ngx_int_t    rc;
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    if (account->retry_min != NGX_CONF_UNSET_MSEC
        || account->retry_max != NGX_CONF_UNSET_MSEC)
    {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_klaviyo_account_param(&value[i], "min=", &text)) {
            rc = ngx_http_klaviyo_account_time(&text, &account->retry_min);

        } else if (ngx_http_klaviyo_account_param(&value[i], "max=", &text)) {
            rc = ngx_http_klaviyo_account_time(&text, &account->retry_max);

        } else {
            rc = NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return ngx_http_klaviyo_account_invalid_param(cf, &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    ngx_int_t    rc;
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    if (account->spool_max != NGX_CONF_UNSET
        || account->spool_full != NGX_CONF_UNSET_UINT)
    {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_klaviyo_account_param(&value[i], "max=", &text)) {
            rc = ngx_http_klaviyo_account_size(&text,
                                               NGX_HTTP_KLAVIYO_SPOOL_MIN,
                                               NGX_MAX_OFF_T_VALUE,
                                               &account->spool_max);

        } else if (ngx_http_klaviyo_account_param(&value[i], "full=", &text)) {
            rc = ngx_http_klaviyo_account_full(&text, &account->spool_full);

        } else {
            rc = NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return ngx_http_klaviyo_account_invalid_param(cf, &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_account_full(ngx_str_t *text, ngx_uint_t *full)
{
    if (*full != NGX_CONF_UNSET_UINT) {
        return NGX_ERROR;
    }

    if (ngx_strcmp(text->data, "drop_new") == 0) {
        *full = NGX_HTTP_KLAVIYO_FULL_DROP_NEW;
        return NGX_OK;
    }

    if (ngx_strcmp(text->data, "drop_oldest") == 0) {
        *full = NGX_HTTP_KLAVIYO_FULL_DROP_OLDEST;
        return NGX_OK;
    }

    return NGX_ERROR;
}


static char *
ngx_http_klaviyo_account_backfill(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    time_t      after;
    ngx_str_t  *value, text;

    if (account->backfill != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        account->backfill = NGX_HTTP_KLAVIYO_BACKFILL_OFF;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "on") == 0) {
        account->backfill = NGX_HTTP_KLAVIYO_BACKFILL_ON;
        return NGX_CONF_OK;
    }

    if (!ngx_http_klaviyo_account_param(&value[1], "after=", &text)) {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    after = ngx_parse_time(&text, 1);

    if (after < 1) {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    account->backfill = NGX_HTTP_KLAVIYO_BACKFILL_AFTER;
    account->backfill_after = after;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    size_t      n;
    ngx_str_t  *value;

    if (account->service.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_http_klaviyo_utf8_length(&value[1]);

    if (n == 0 || n > NGX_HTTP_KLAVIYO_SERVICE_MAX) {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    account->service = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_timeout(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t   *value;
    ngx_msec_t  *msec;

    msec = (ngx_msec_t *) (p + cmd->offset);

    if (*msec != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_klaviyo_account_time(&value[1], msec) != NGX_OK) {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_account_certificate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    ngx_fd_t          fd;
    ngx_str_t        *value, *path;
    ngx_uint_t        regular;
    ngx_file_info_t   fi;

    path = &account->trusted_certificate;

    if (path->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return ngx_http_klaviyo_account_invalid(cf, cmd);
    }

    if (ngx_strcmp(value[1].data, "system") == 0) {
        ngx_str_set(path, "");
        return NGX_CONF_OK;
    }

    *path = value[1];

    if (ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%s\" failed", path->data);
        return NGX_CONF_ERROR;
    }

    regular = (ngx_fd_info(fd, &fi) != NGX_FILE_ERROR && ngx_is_file(&fi));

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%s\" failed", path->data);
    }

    if (!regular) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" is not a regular file", path->data);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_klaviyo_account_alnum(ngx_str_t *text)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (((c | 0x20) < 'a' || (c | 0x20) > 'z') && (c < '0' || c > '9')) {
            return 0;
        }
    }

    return 1;
}


/* whether the word is "name=..."; "text" is what follows */

static ngx_uint_t
ngx_http_klaviyo_account_param(ngx_str_t *word, char *name, ngx_str_t *text)
{
    size_t  len;

    len = ngx_strlen(name);

    if (ngx_strncmp(word->data, name, len) != 0) {
        return 0;
    }

    text->data = word->data + len;
    text->len = word->len - len;

    return 1;
}


/*
 * These three refuse what is set already, so that a parameter can't repeat.
 */

static ngx_int_t
ngx_http_klaviyo_account_number(ngx_str_t *text, char *unit, ngx_uint_t max,
    ngx_uint_t *number)
{
    size_t     len;
    ngx_int_t  n;

    len = ngx_strlen(unit);

    if (*number != NGX_CONF_UNSET_UINT || text->len <= len
        || ngx_strcmp(text->data + text->len - len, unit) != 0)
    {
        return NGX_ERROR;
    }

    n = ngx_atoi(text->data, text->len - len);

    if (n < 1 || (ngx_uint_t) n > max) {
        return NGX_ERROR;
    }

    *number = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_account_size(ngx_str_t *text, off_t min, off_t max,
    off_t *size)
{
    off_t  n;

    if (*size != NGX_CONF_UNSET) {
        return NGX_ERROR;
    }

    n = ngx_parse_offset(text);

    if (n == NGX_ERROR || n < min || n > max) {
        return NGX_ERROR;
    }

    *size = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_account_time(ngx_str_t *text, ngx_msec_t *msec)
{
    ngx_int_t  n;

    if (*msec != NGX_CONF_UNSET_MSEC) {
        return NGX_ERROR;
    }

    n = ngx_parse_time(text, 0);

    if (n < 1 || n > NGX_HTTP_KLAVIYO_TIME_MAX) {
        return NGX_ERROR;
    }

    *msec = n;

    return NGX_OK;
}


static char *
ngx_http_klaviyo_account_invalid(ngx_conf_t *cf, ngx_command_t *cmd)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid value \"%V\" in \"%V\"",
                       &value[1], &cmd->name);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_klaviyo_account_invalid_param(ngx_conf_t *cf, ngx_str_t *word)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"", word);

    return NGX_CONF_ERROR;
}
