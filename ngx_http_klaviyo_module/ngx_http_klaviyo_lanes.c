
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Which lanes the accounts have.
 *
 * What was accepted is delivered even if the rule that made it is gone, so a
 * lane that is running stays, and files in the spool make one: the account has
 * all that is needed to send what is left.
 */


#include "ngx_http_klaviyo_lanes.h"
#include "ngx_http_klaviyo_directory.h"


typedef struct {
    ngx_conf_t                          *cf;
    ngx_array_t                         *accounts;
    ngx_uint_t                           failed;
} ngx_http_klaviyo_lanes_t;


static ngx_int_t ngx_http_klaviyo_lanes_rule(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_rule_t *rule);
static void ngx_http_klaviyo_lanes_running(ngx_http_klaviyo_lanes_t *ctx);
static void ngx_http_klaviyo_lanes_found(void *data,
    ngx_http_klaviyo_segment_name_t *name);
static void ngx_http_klaviyo_lanes_name(ngx_http_klaviyo_lanes_t *ctx,
    ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_lanes_named(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account, ngx_str_t *name);


ngx_int_t
ngx_http_klaviyo_lanes_init(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_uint_t                    i, lane;
    ngx_http_klaviyo_rule_t     **rule;
    ngx_http_klaviyo_lanes_t      ctx;
    ngx_http_klaviyo_account_t  **account, **slot;

    rule = kmcf->rules.elts;

    for (i = 0; i < kmcf->rules.nelts; i++) {
        if (ngx_http_klaviyo_lanes_rule(cf->pool, kmcf, rule[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ctx.cf = cf;
    ctx.accounts = &kmcf->accounts;
    ctx.failed = 0;

    ngx_http_klaviyo_lanes_running(&ctx);
    ngx_http_klaviyo_directory_names(&kmcf->spool->name,
                                     ngx_http_klaviyo_lanes_found, &ctx);
    if (ctx.failed) {
        return NGX_ERROR;
    }

    account = kmcf->accounts.elts;

    for (i = 0; i < kmcf->accounts.nelts; i++) {
        for (lane = 0; lane < NGX_HTTP_KLAVIYO_LANES; lane++) {

            if (account[i]->lanes[lane] == NULL) {
                continue;
            }

            slot = ngx_array_push(&kmcf->lanes);
            if (slot == NULL) {
                return NGX_ERROR;
            }

            *slot = account[i]->lanes[lane];
        }
    }

    if (kmcf->lanes.nelts > NGX_HTTP_KLAVIYO_MAX_ACCOUNTS) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "%ui klaviyo accounts with %ui queues, lanes included: "
                      "all are served, but the status can tell of %d only",
                      kmcf->accounts.nelts, kmcf->lanes.nelts,
                      NGX_HTTP_KLAVIYO_MAX_ACCOUNTS);
    }

    return NGX_OK;
}


/* Without an account of its own a rule may meet any of them, by location */

static ngx_int_t
ngx_http_klaviyo_lanes_rule(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_rule_t *rule)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_account_t  **account;

    account = kmcf->accounts.elts;

    for (i = 0; i < kmcf->accounts.nelts; i++) {

        if (rule->account && rule->account != account[i]) {
            continue;
        }

        if (ngx_http_klaviyo_account_lane(pool, account[i], rule->lane)
            == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_klaviyo_lanes_running(ngx_http_klaviyo_lanes_t *ctx)
{
    ngx_str_t         name;
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone;
    ngx_list_part_t  *part;

    part = &ctx->cf->cycle->old_cycle->shared_memory.part;
    zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            zone = part->elts;
            i = 0;
        }

        name = zone[i].shm.name;

        if (name.len > sizeof(NGX_HTTP_KLAVIYO_RING_NAME) - 1
            && ngx_strncmp(name.data, NGX_HTTP_KLAVIYO_RING_NAME,
                           sizeof(NGX_HTTP_KLAVIYO_RING_NAME) - 1)
               == 0)
        {
            name.data += sizeof(NGX_HTTP_KLAVIYO_RING_NAME) - 1;
            name.len -= sizeof(NGX_HTTP_KLAVIYO_RING_NAME) - 1;

            ngx_http_klaviyo_lanes_name(ctx, &name);
        }
    }
}


static void
ngx_http_klaviyo_lanes_found(void *data, ngx_http_klaviyo_segment_name_t *name)
{
    ngx_http_klaviyo_lanes_name(data, &name->account);
}


static void
ngx_http_klaviyo_lanes_name(ngx_http_klaviyo_lanes_t *ctx, ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_account_t  **account;

    account = ctx->accounts->elts;

    for (i = 0; i < ctx->accounts->nelts; i++) {
        if (ngx_http_klaviyo_lanes_named(ctx->cf, account[i], name) != NGX_OK)
        {
            ctx->failed = 1;
        }
    }
}


static ngx_int_t
ngx_http_klaviyo_lanes_named(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account, ngx_str_t *name)
{
    ngx_str_t   own;
    ngx_uint_t  lane;

    /* a directory may have many files */

    if (name->len <= account->name.len
        || name->data[account->name.len] != '+')
    {
        return NGX_OK;
    }

    for (lane = NGX_HTTP_KLAVIYO_PROFILES;
         lane < NGX_HTTP_KLAVIYO_LANES;
         lane++)
    {
        if (account->lanes[lane]) {
            continue;
        }

        if (ngx_http_klaviyo_account_lane_name(cf->temp_pool, account, lane,
                                               &own)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (own.len == name->len
            && ngx_memcmp(own.data, name->data, own.len) == 0
            && ngx_http_klaviyo_account_lane(cf->pool, account, lane) == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
