
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What klaviyo_account { ... } leaves in the account, and that reading a block
 * leaves nothing else.  nginx's own parser reads a file.
 */


#include "unit.h"
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_block.h"


#define PRIVATE  "pk_0123456789abcdef"


extern ngx_module_t  ngx_conf_module;


/* the parser needs all of the core, which has the globals of unit.c too */

const char *
__asan_default_options(void)
{
    return "detect_odr_violation=0";
}


/* a main context that has only our directives */

static char *account_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *args_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_command_t  test_commands[] = {

    { ngx_string("klaviyo_account"),
      NGX_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      account_block,
      0,
      0,
      NULL },

    { ngx_string("args"),
      NGX_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_ANY,
      args_block,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_module_t  test_module = {
    NGX_MODULE_V1,
    NULL,                                  /* module context */
    test_commands,                         /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_array_t                 *accounts;
static ngx_array_t                 *kept;
static ngx_http_klaviyo_account_t   seen;


/* in the place of the rules' */

char *
ngx_http_klaviyo_rule_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    assert_ptr_equal(ngx_http_klaviyo_block_data(cf), &seen);
    assert_int_equal(cf->module_type, NGX_HTTP_KLAVIYO_MODULE);

    seen.index++;

    if (cmd->type & NGX_CONF_BLOCK) {
        return ngx_http_klaviyo_block(cf, NGX_HTTP_KLAVIYO_OBJECT_CONF, &seen);
    }

    return NGX_CONF_OK;
}


static char *
account_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char        *rv;
    ngx_conf_t   before;
    ngx_str_t   *value;

    before = *cf;
    rv = ngx_http_klaviyo_account_block(cf, accounts);
    assert_memory_equal(&before, cf, sizeof(ngx_conf_t));

    value = cf->args->elts;
    assert_int_equal(cf->args->nelts, 2);
    assert_text(&value[0], "klaviyo_account");

    return rv;
}


static char *
args_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    kept = ngx_http_klaviyo_block_args(cf);
    assert_non_null(kept);

    return ngx_http_klaviyo_block(cf, NGX_HTTP_KLAVIYO_RULE_CONF, &seen);
}


static char *
read_text(ngx_pool_t *pool, char *text)
{
    int            fd;
    char          *rv, path[] = "/tmp/klaviyo-unit-XXXXXX";
    void          *ctx[4];
    ngx_str_t      name;
    ngx_conf_t     cf;
    ngx_cycle_t    cycle;
    ngx_module_t  *modules[] = { &ngx_conf_module, &test_module,
                                 &ngx_http_klaviyo_block_module, NULL };

    fd = mkstemp(path);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);

    ngx_conf_module.index = 0;
    test_module.index = 1;

    ngx_memzero(&cycle, sizeof(ngx_cycle_t));
    cycle.pool = pool;
    cycle.log = pool->log;
    cycle.modules = modules;
    ngx_array_init(&cycle.config_dump, pool, 1, sizeof(ngx_conf_dump_t));
    ngx_rbtree_init(&cycle.config_dump_rbtree, &cycle.config_dump_sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    cf.args = ngx_array_create(pool, 10, sizeof(ngx_str_t));
    cf.cycle = &cycle;
    cf.pool = pool;
    cf.temp_pool = pool;
    cf.log = pool->log;
    cf.ctx = ctx;
    cf.module_type = NGX_CORE_MODULE;
    cf.cmd_type = NGX_MAIN_CONF;

    accounts = ngx_array_create(pool, 1, sizeof(void *));
    ngx_memzero(&seen, sizeof(seen));

    name.len = strlen(path);
    name.data = (u_char *) path;

    rv = ngx_conf_parse(&cf, &name);
    unlink(path);

    return rv;
}


static ngx_http_klaviyo_account_t *
read_account(ngx_pool_t *pool, char *inside)
{
    char  text[1024];

    (void) snprintf(text, sizeof(text), "klaviyo_account shop {"
                    " api_key data:" PRIVATE "; %s }", inside);

    assert_ptr_equal(read_text(pool, text), NGX_CONF_OK);
    assert_int_equal(accounts->nelts, 1);

    return *(ngx_http_klaviyo_account_t **) accounts->elts;
}


static void
defaults(void **state)
{
    ngx_http_klaviyo_account_t  *a;

    a = read_account(*state, "");

    assert_text(&a->name, "shop");
    assert_text(&a->api_key, PRIVATE);
    assert_int_equal(a->env.len, 0);
    assert_int_equal(a->company_id.len, 0);
    assert_text(&a->revision, "2026-07-15");
    assert_int_equal(a->service.len, 0);
    assert_text(&a->endpoint, "https://a.klaviyo.com");
    assert_int_equal(a->unix_socket.len, 0);
    assert_int_equal(a->queue, 32 * 1024 * 1024);
    assert_int_equal(a->batch_events, 1000);
    assert_int_equal(a->batch_bytes, 4700 * 1024);
    assert_int_equal(a->linger, 1000);
    assert_int_equal(a->burst, 10);
    assert_int_equal(a->steady, 150);
    assert_int_equal(a->share, 80);
    assert_int_equal(a->retry_min, 1000);
    assert_int_equal(a->retry_max, 300000);
    assert_int_equal(a->spool_max, 1024 * 1024 * 1024);
    assert_int_equal(a->spool_full, NGX_HTTP_KLAVIYO_FULL_DROP_OLDEST);
    assert_int_equal(a->backfill, NGX_HTTP_KLAVIYO_BACKFILL_OFF);
    assert_int_equal(a->timeout, 30000);
    assert_int_equal(a->connect_timeout, 5000);
    assert_int_equal(a->trusted_certificate.len, 0);
    assert_int_equal(a->proxy.len, 0);
    assert_int_equal(a->verify, 1);
    assert_int_equal(a->http2, 0);
    assert_int_equal(a->dry_run, 0);
    assert_null(a->ring);
}


static void
all_that_is_written(void **state)
{
    ngx_http_klaviyo_account_t  *a;

    a = read_account(*state,
                     "company_id AbCd12; endpoint https://b.klaviyo.com:444/;"
                     "revision 2024-10-15; queue 1g;"
                     "batch events=7 bytes=100k linger=20ms;"
                     "rate burst=3/s steady=60/m share=50%;"
                     "retry min=2s max=1m; spool max=2g full=drop_new;"
                     "backfill after=2h; service \"My shop\"; timeout 7s;"
                     "connect_timeout 300ms;"
                     "trusted_certificate /proc/self/status; verify off;"
                     "proxy socks5h://u:p@proxy:1080/; http2 on; dry_run on;");

    assert_text(&a->company_id, "AbCd12");
    assert_text(&a->endpoint, "https://b.klaviyo.com:444");
    assert_text(&a->revision, "2024-10-15");
    assert_int_equal(a->queue, 1024 * 1024 * 1024);
    assert_int_equal(a->batch_events, 7);
    assert_int_equal(a->batch_bytes, 100 * 1024);
    assert_int_equal(a->linger, 20);
    assert_int_equal(a->burst, 3);
    assert_int_equal(a->steady, 60);
    assert_int_equal(a->share, 50);
    assert_int_equal(a->retry_min, 2000);
    assert_int_equal(a->retry_max, 60000);
    assert_int_equal(a->spool_max, 2LL * 1024 * 1024 * 1024);
    assert_int_equal(a->spool_full, NGX_HTTP_KLAVIYO_FULL_DROP_NEW);
    assert_int_equal(a->backfill, NGX_HTTP_KLAVIYO_BACKFILL_AFTER);
    assert_int_equal(a->backfill_after, 7200);
    assert_text(&a->service, "My shop");
    assert_int_equal(a->timeout, 7000);
    assert_int_equal(a->connect_timeout, 300);
    assert_text(&a->trusted_certificate, "/proc/self/status");
    assert_text(&a->proxy, "socks5h://u:p@proxy:1080");
    assert_int_equal(a->verify, 0);
    assert_int_equal(a->http2, 1);
    assert_int_equal(a->dry_run, 1);

    a = read_account(*state, "backfill on; spool full=drop_oldest;");

    assert_int_equal(a->backfill, NGX_HTTP_KLAVIYO_BACKFILL_ON);
    assert_int_equal(a->spool_full, NGX_HTTP_KLAVIYO_FULL_DROP_OLDEST);
}


static void
a_lane_is_an_account_with_limits_of_its_own(void **state)
{
    ngx_http_klaviyo_account_t  *a, *lane, *other;

    a = read_account(*state, "rate burst=3/s steady=60/m share=50%;"
                             "backfill on; spool max=2g; queue 64m;"
                             "retry min=2s max=1m; dry_run on;");

    assert_int_equal(a->lane, NGX_HTTP_KLAVIYO_EVENTS);
    assert_ptr_equal(ngx_http_klaviyo_account_lane(*state, a,
                                                   NGX_HTTP_KLAVIYO_EVENTS),
                     a);
    assert_null(a->lanes[NGX_HTTP_KLAVIYO_PROFILES]);

    lane = ngx_http_klaviyo_account_lane(*state, a, NGX_HTTP_KLAVIYO_PROFILES);
    assert_non_null(lane);
    assert_ptr_equal(a->lanes[NGX_HTTP_KLAVIYO_PROFILES], lane);
    assert_ptr_equal(ngx_http_klaviyo_account_lane(*state, a,
                                                   NGX_HTTP_KLAVIYO_PROFILES),
                     lane);

    assert_text(&lane->name, "shop+profiles");
    assert_text(&a->name, "shop");
    assert_memory_not_equal(lane->key, a->key, NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_int_equal(lane->index, a->index);
    assert_int_equal(lane->lane, NGX_HTTP_KLAVIYO_PROFILES);
    assert_text(&lane->api_key, PRIVATE);

    assert_int_equal(lane->queue, 8 * 1024 * 1024);
    assert_int_equal(lane->spool_max, 256 * 1024 * 1024);
    assert_int_equal(lane->batch_events, 1);
    assert_int_equal(lane->batch_bytes, 100000);
    assert_int_equal(lane->burst, 75);
    assert_int_equal(lane->steady, 700);
    assert_int_equal(lane->share, 50);
    assert_int_equal(lane->backfill, NGX_HTTP_KLAVIYO_BACKFILL_OFF);
    assert_int_equal(lane->retry_max, 60000);
    assert_int_equal(lane->dry_run, 1);

    /* two of its batches fit into the smallest queue */

    a = read_account(*state, "queue 256k; spool max=1m;");
    other = ngx_http_klaviyo_account_lane(*state, a,
                                          NGX_HTTP_KLAVIYO_SUBSCRIPTIONS);

    assert_text(&other->name, "shop+subscriptions");
    assert_int_equal(other->name.len - a->name.len,
                     NGX_HTTP_KLAVIYO_LANE_SUFFIX);
    assert_int_equal(other->queue, 256 * 1024);
    assert_in_range(other->batch_bytes, 1, other->queue / 2);
    assert_int_equal(other->spool_max, 1024 * 1024);
    assert_null(a->lanes[NGX_HTTP_KLAVIYO_PROFILES]);
}


static void
strings_end_with_nul(void **state)
{
    ngx_http_klaviyo_account_t  *a;

    a = read_account(*state, "endpoint http://127.0.0.1:80/;");

    assert_string_equal(a->api_key.data, PRIVATE);
    assert_string_equal(a->endpoint.data, "http://127.0.0.1:80");
    assert_string_equal(a->revision.data, "2026-07-15");

    a = read_account(*state, "endpoint http://unix:/run/x.sock:/;");

    assert_text(&a->endpoint, "http://localhost");
    assert_text(&a->unix_socket, "/run/x.sock");
    assert_string_equal(a->unix_socket.data, "/run/x.sock");

    a = read_account(*state, "proxy http://proxy/;"
                             "trusted_certificate /proc/self/status;");

    assert_string_equal(a->endpoint.data, "https://a.klaviyo.com");
    assert_string_equal(a->proxy.data, "http://proxy");
    assert_string_equal(a->trusted_certificate.data, "/proc/self/status");
}


static void
batch_fits_twice_into_a_small_queue(void **state)
{
    ngx_http_klaviyo_account_t  *a;

    a = read_account(*state, "queue 256k;");

    assert_int_equal(a->batch_bytes, 128 * 1024);
}


static void
key_is_the_hash_of_the_name(void **state)
{
    ngx_http_klaviyo_account_t  *a;

    static u_char  shop[] = { 0xfb, 0x54, 0xf3, 0xc5, 0x99, 0x2b, 0x96, 0xd0,
                              0x01, 0xbb, 0x16, 0xe8, 0xe9, 0x2d, 0x96, 0x8d };

    a = read_account(*state, "");

    assert_int_equal(NGX_HTTP_KLAVIYO_KEY_LEN, sizeof(shop));
    assert_memory_equal(a->key, shop, sizeof(shop));
}


static void
key_may_come_from_the_environment(void **state)
{
    ngx_http_klaviyo_account_t  *a;

    setenv("KLAVIYO_UNIT_KEY", PRIVATE, 1);

    assert_ptr_equal(read_text(*state, "klaviyo_account shop {"
                                       " api_key env:KLAVIYO_UNIT_KEY; }"),
                     NGX_CONF_OK);

    unsetenv("KLAVIYO_UNIT_KEY");

    a = *(ngx_http_klaviyo_account_t **) accounts->elts;

    assert_text(&a->api_key, PRIVATE);
    assert_string_equal(a->api_key.data, PRIVATE);
    assert_text(&a->env, "KLAVIYO_UNIT_KEY");
}


static void
accounts_are_found_by_name(void **state)
{
    ngx_http_klaviyo_account_t  **a;

    assert_ptr_equal(read_text(*state,
                               "klaviyo_account shop { api_key data:" PRIVATE
                               "1; }\n"
                               "klaviyo_account sho { api_key data:" PRIVATE
                               "2; }"),
                     NGX_CONF_OK);

    a = accounts->elts;

    assert_int_equal(accounts->nelts, 2);
    assert_int_equal(a[0]->index, 0);
    assert_int_equal(a[1]->index, 1);
    assert_memory_not_equal(a[0]->key, a[1]->key, NGX_HTTP_KLAVIYO_KEY_LEN);

    assert_ptr_equal(ngx_http_klaviyo_account_find(accounts,
                                                   unit_str("shop")), a[0]);
    assert_ptr_equal(ngx_http_klaviyo_account_find(accounts, unit_str("sho")),
                     a[1]);
    assert_null(ngx_http_klaviyo_account_find(accounts, unit_str("shops")));
    assert_null(ngx_http_klaviyo_account_find(accounts, unit_str("")));
}


static void
refused_account_is_not_added(void **state)
{
    assert_ptr_equal(read_text(*state, "klaviyo_account shop { timeout 1s; }"),
                     NGX_CONF_ERROR);
    assert_int_equal(accounts->nelts, 0);

    assert_ptr_equal(read_text(*state, "klaviyo_account shop { timeout x; }"),
                     NGX_CONF_ERROR);
    assert_int_equal(accounts->nelts, 0);
}


static void
arguments_survive_a_block(void **state)
{
    ngx_str_t  *value;

    assert_ptr_equal(read_text(*state,
                               "args 1 2 3 4 5 6 7 8 9 10 11 {\n"
                               " property a b; object c {\n"
                               "  object d { property e f; } }\n"
                               " value g; }\n"
                               "args x { }\n"
                               "args 1 2 3 4 5 6 7 8 9 10 last {"
                               " when a b c d e f g h i j k l m n; }"),
                     NGX_CONF_OK);

    assert_int_equal(seen.index, 6);

    value = kept->elts;

    assert_int_equal(kept->nelts, 12);
    assert_text(&value[0], "args");
    assert_text(&value[1], "1");
    assert_text(&value[11], "last");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(defaults),
        unit_test(all_that_is_written),
        unit_test(a_lane_is_an_account_with_limits_of_its_own),
        unit_test(strings_end_with_nul),
        unit_test(batch_fits_twice_into_a_small_queue),
        unit_test(key_is_the_hash_of_the_name),
        unit_test(key_may_come_from_the_environment),
        unit_test(accounts_are_found_by_name),
        unit_test(refused_account_is_not_added),
        unit_test(arguments_survive_a_block),
    };

    return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
