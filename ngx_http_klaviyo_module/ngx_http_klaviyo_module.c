
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The module: its directives, its phases and its processes; nothing else.
 */


#include "ngx_http_klaviyo_module.h"
#include "ngx_http_klaviyo_block.h"
#include "ngx_http_klaviyo_host.h"
#include "ngx_http_klaviyo_identity.h"
#include "ngx_http_klaviyo_lanes.h"
#include "ngx_http_klaviyo_level.h"
#include "ngx_http_klaviyo_lint.h"
#include "ngx_http_klaviyo_noise.h"
#include "ngx_http_klaviyo_remember.h"
#include "ngx_http_klaviyo_ring_file.h"
#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_visitor_conf.h"


/* regexes without a literal beginning that one server{} may have unwarned */
#define NGX_HTTP_KLAVIYO_UNANCHORED      16


static char *ngx_http_klaviyo_account(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_spool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_spool_queue(ngx_conf_t *cf, ngx_str_t *value);
static char *ngx_http_klaviyo_use_account(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_rule(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_except(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_property(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_profile(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_consent(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_identifiers(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_identity(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_ignore(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_tail(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_klaviyo_explain(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

static void *ngx_http_klaviyo_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_klaviyo_init_main_conf(ngx_conf_t *cf, void *conf);

static ngx_int_t ngx_http_klaviyo_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_klaviyo_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_klaviyo_init_zones(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_tail(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_stories(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_memory(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_spool(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_rules(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_twins(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static int ngx_libc_cdecl ngx_http_klaviyo_compare_rules(const void *one,
    const void *two);
static ngx_int_t ngx_http_klaviyo_init_rule(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_rule_t *rule);
static ngx_int_t ngx_http_klaviyo_init_indexes(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_http_klaviyo_index_t *ngx_http_klaviyo_init_index(ngx_conf_t *cf,
    ngx_array_t *outer, ngx_array_t *own);
static ngx_int_t ngx_http_klaviyo_init_variables(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_phases(ngx_conf_t *cf);

static ngx_int_t ngx_http_klaviyo_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_klaviyo_init_path(ngx_cycle_t *cycle,
    ngx_http_klaviyo_main_conf_t *kmcf);
static ngx_int_t ngx_http_klaviyo_init_rings(ngx_cycle_t *cycle,
    ngx_http_klaviyo_main_conf_t *kmcf);
static void ngx_http_klaviyo_cleanup(void *data);
static ngx_int_t ngx_http_klaviyo_init_none(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_klaviyo_init_process(ngx_cycle_t *cycle);
static void ngx_http_klaviyo_exit_process(ngx_cycle_t *cycle);
static void ngx_http_klaviyo_exit_master(ngx_cycle_t *cycle);
static ngx_http_klaviyo_main_conf_t *ngx_http_klaviyo_cycle_conf(
    ngx_cycle_t *cycle);


#define NGX_HTTP_KLAVIYO_LEVELS                                               \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF


static ngx_conf_enum_t  ngx_http_klaviyo_kx[] = {
    { ngx_string("trust"), 0 },
    { ngx_string("confirm"), 1 },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_klaviyo_commands[] = {

    { ngx_string("klaviyo_account"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_klaviyo_account,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_spool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_klaviyo_spool,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_drain_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_klaviyo_main_conf_t, drain_timeout),
      NULL },

    { ngx_string("klaviyo_tail"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_tail,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_explain"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE12,
      ngx_http_klaviyo_explain,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_use_account"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_use_account,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_track"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_BLOCK|NGX_CONF_1MORE,
      ngx_http_klaviyo_rule,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_KLAVIYO_EVENTS,
      NULL },

    { ngx_string("klaviyo_identify"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_BLOCK|NGX_CONF_ANY,
      ngx_http_klaviyo_rule,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_KLAVIYO_PROFILES,
      NULL },

    { ngx_string("klaviyo_subscribe"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_BLOCK|NGX_CONF_ANY,
      ngx_http_klaviyo_rule,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_KLAVIYO_SUBSCRIPTIONS,
      NULL },

    { ngx_string("klaviyo_remember"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_BLOCK|NGX_CONF_1MORE,
      ngx_http_klaviyo_rule,
      NGX_HTTP_LOC_CONF_OFFSET,
      NGX_HTTP_KLAVIYO_LANES,
      NULL },

    { ngx_string("klaviyo"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_klaviyo_loc_conf_t, enable),
      NULL },

    { ngx_string("klaviyo_except"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_1MORE,
      ngx_http_klaviyo_except,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_property"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_2MORE,
      ngx_http_klaviyo_property,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_profile"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_2MORE,
      ngx_http_klaviyo_profile,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_consent"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_1MORE,
      ngx_http_klaviyo_consent,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_identifiers"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_TAKE1,
      ngx_http_klaviyo_identifiers,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_identity"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_1MORE,
      ngx_http_klaviyo_identity,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_memory"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_klaviyo_memory_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_visitor"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_1MORE,
      ngx_http_klaviyo_visitor_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_visitor_cookie"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_1MORE,
      ngx_http_klaviyo_cookie_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_kx"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_klaviyo_loc_conf_t, kx),
      &ngx_http_klaviyo_kx },

    { ngx_string("klaviyo_backlog"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_TAKE12,
      ngx_http_klaviyo_backlog_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_ignore"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_1MORE,
      ngx_http_klaviyo_ignore,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("klaviyo_request_body_limit"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_klaviyo_loc_conf_t, request_body_limit),
      NULL },

    { ngx_string("klaviyo_response_body_limit"),
      NGX_HTTP_KLAVIYO_LEVELS|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_klaviyo_loc_conf_t, response_body_limit),
      NULL },

    { ngx_string("klaviyo_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_klaviyo_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_klaviyo_module_ctx = {
    ngx_http_klaviyo_preconfiguration,     /* preconfiguration */
    ngx_http_klaviyo_postconfiguration,    /* postconfiguration */

    ngx_http_klaviyo_create_main_conf,     /* create main configuration */
    ngx_http_klaviyo_init_main_conf,       /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_klaviyo_create_loc_conf,      /* create location configuration */
    ngx_http_klaviyo_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_klaviyo_module = {
    NGX_MODULE_V1,
    &ngx_http_klaviyo_module_ctx,          /* module context */
    ngx_http_klaviyo_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_klaviyo_init_module,          /* init module */
    ngx_http_klaviyo_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_klaviyo_exit_process,         /* exit process */
    ngx_http_klaviyo_exit_master,          /* exit master */
    NGX_MODULE_V1_PADDING
};


/* of the last configuration: the process that hosts the dispatcher has it
 * from the master */
static ngx_http_klaviyo_host_conf_t  ngx_http_klaviyo_host;


static char *
ngx_http_klaviyo_account(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_main_conf_t *kmcf = conf;

    return ngx_http_klaviyo_account_block(cf, &kmcf->accounts);
}


/* Not one of nginx's paths yet: without them it would not start. */

static char *
ngx_http_klaviyo_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_main_conf_t *kmcf = conf;

    ngx_str_t   *value;
    ngx_path_t  *path;

    if (kmcf->spool) {
        return "is duplicate";
    }

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    path->name = value[1];
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    if (path->name.len > 1 && path->name.data[path->name.len - 1] == '/') {
        path->name.data[--path->name.len] = '\0';
    }

    if (ngx_conf_full_name(cf->cycle, &path->name, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    kmcf->spool = path;

    return (cf->args->nelts > 2) ? ngx_http_klaviyo_spool_queue(cf, &value[2])
                                 : NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_spool_queue(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_str_t                      path;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    path.data = value->data + sizeof("queue=") - 1;
    path.len = value->len - (sizeof("queue=") - 1);

    if (ngx_strncmp(value->data, "queue=", sizeof("queue=") - 1) == 0) {

        if (ngx_strcmp(path.data, "off") == 0) {
            path.len = 0;
        }

        if (path.len == 0 || path.data[0] == '/') {
            kmcf->rings = path;
        }
    }

    if (kmcf->rings.data != path.data || path.data[0] == '\0') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"klaviyo_spool\", "
                           "it must be \"queue=\" and an absolute path or "
                           "\"off\"", value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_tail(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_main_conf_t *kmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (kmcf->tail_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        kmcf->tail_size = 0;
        return NGX_CONF_OK;
    }

    size = ngx_parse_size(&value[1]);

    if (size < NGX_HTTP_KLAVIYO_TAIL_MIN || size > NGX_HTTP_KLAVIYO_TAIL_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\", it must be from 128k to 64m, "
                           "or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    kmcf->tail_size = size;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_explain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    char                          *rv;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (klcf->explain != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    rv = ngx_http_klaviyo_secret_parse(cf, &klcf->explain);

    if (rv != NGX_CONF_OK || klcf->explain == NULL) {
        return rv;
    }

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    if (kmcf->stories == NULL) {
        kmcf->stories = ngx_pcalloc(cf->pool,
                                    sizeof(ngx_http_klaviyo_stories_t));
        if (kmcf->stories == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* The account may be defined further down: it is looked up at the end. */

static char *
ngx_http_klaviyo_use_account(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_str_t  *value;

    if (klcf->account_name.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    klcf->account_name = value[1];
    klcf->account_file = cf->conf_file->file.name;
    klcf->account_line = cf->conf_file->line;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_http_klaviyo_rule_t       *rule, **own, **all;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    rule = ngx_http_klaviyo_rule_block(cf, cmd->offset, &kmcf->references);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    if (klcf->rules == NULL) {
        klcf->rules = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_http_klaviyo_rule_t *));
        if (klcf->rules == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    own = ngx_array_push(klcf->rules);
    all = ngx_array_push(&kmcf->rules);

    if (own == NULL || all == NULL) {
        return NGX_CONF_ERROR;
    }

    kmcf->remembers |= (rule->once || rule->remember);

    rule->level = klcf;
    rule->location = ngx_http_conf_get_module_loc_conf(cf,
                                                       ngx_http_core_module);

    *own = rule;
    *all = rule;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_except(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_str_t                  *value;
    ngx_uint_t                  i;
    ngx_http_klaviyo_except_t  *except;

    if (klcf->excepts == NULL) {
        klcf->excepts = ngx_array_create(cf->pool, 2,
                                         sizeof(ngx_http_klaviyo_except_t));
        if (klcf->excepts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        except = ngx_array_push(klcf->excepts);
        if (except == NULL) {
            return NGX_CONF_ERROR;
        }

        except->metric = value[i];
        except->level = 0;
        except->place = ngx_http_klaviyo_place(cf, &value[i], &value[i + 1]);

        if (except->place == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_property(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_http_klaviyo_node_t     *node;
    ngx_http_klaviyo_compile_t   compile;

    if (klcf->properties == NULL) {
        klcf->properties = ngx_array_create(cf->pool, 4,
                                            sizeof(ngx_http_klaviyo_node_t));
        if (klcf->properties == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    ngx_http_klaviyo_level_compile(cf, klcf, &compile);

    node = ngx_http_klaviyo_node_add(&compile, klcf->properties);

    if (node == NULL
        || ngx_http_klaviyo_value_compile(&compile, &node->value) != NGX_OK
        || ngx_http_klaviyo_level_element(&compile, &node->value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_profile(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_http_klaviyo_compile_t   compile;
    ngx_http_klaviyo_profile_t  *profile;

    if (klcf->profiles == NULL) {
        klcf->profiles = ngx_array_create(cf->pool, 4,
                                          sizeof(ngx_http_klaviyo_profile_t));
        if (klcf->profiles == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    ngx_http_klaviyo_level_compile(cf, klcf, &compile);

    profile = ngx_http_klaviyo_profile_add(&compile, klcf->profiles);

    if (profile == NULL
        || ngx_http_klaviyo_level_element(&compile, &profile->value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Several at one level must all hold; "off" undoes those of outer levels. */

static char *
ngx_http_klaviyo_consent(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_str_t                     *value;
    ngx_http_klaviyo_compile_t     compile;
    ngx_http_klaviyo_condition_t  *c;

    if (klcf->consent == NULL) {
        klcf->consent = ngx_array_create(cf->pool, 1,
                                         sizeof(ngx_http_klaviyo_condition_t));
        if (klcf->consent == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    c = ngx_array_push(klcf->consent);
    if (c == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_klaviyo_level_compile(cf, klcf, &compile);

    if (ngx_http_klaviyo_condition_compile(&compile, c) != NGX_OK
        || ngx_http_klaviyo_level_element(&compile, &c->value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* nobody has said yes or no */

    c->present = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_identifiers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_str_t  *value;

    if (klcf->identifiers != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "all") == 0) {
        klcf->identifiers = 1;

    } else if (ngx_strcmp(value[1].data, "first") == 0) {
        klcf->identifiers = 0;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", it must be "
                           "\"first\" or \"all\"", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_identity(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (klcf->identity != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    klcf->identity = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "kx") == 0) {
            klcf->identity |= NGX_HTTP_KLAVIYO_IDENTITY_KX;

        } else if (ngx_strcmp(value[i].data, "cookie") == 0) {
            klcf->identity |= NGX_HTTP_KLAVIYO_IDENTITY_COOKIE;

        } else if (ngx_strcmp(value[i].data, "visitor") == 0) {
            klcf->identity |= NGX_HTTP_KLAVIYO_IDENTITY_VISITOR;

        } else if (ngx_strcmp(value[i].data, "off") != 0
                   || cf->args->nelts != 2)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\", it must be "
                               "\"off\", or some of kx, cookie, visitor",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_ignore(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_loc_conf_t *klcf = conf;

    return ngx_http_klaviyo_ignore_parse(cf, &klcf->ignore);
}


static void *
ngx_http_klaviyo_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_main_conf_t));
    if (kmcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     kmcf->control = NULL;
     *     kmcf->needs = 0;
     *     kmcf->tail, stories = NULL;
     *     kmcf->memory = NULL;
     *     kmcf->remembers = 0;
     *     kmcf->spool = NULL;
     *     kmcf->levels = 0;
     *     kmcf->http = NULL;
     */

    if (ngx_array_init(&kmcf->accounts, cf->pool, 1,
                       sizeof(ngx_http_klaviyo_account_t *)) != NGX_OK
        || ngx_array_init(&kmcf->lanes, cf->pool, 1,
                          sizeof(ngx_http_klaviyo_account_t *)) != NGX_OK
        || ngx_array_init(&kmcf->rules, cf->pool, 4,
                          sizeof(ngx_http_klaviyo_rule_t *)) != NGX_OK
        || ngx_array_init(&kmcf->references, cf->pool, 4,
                          sizeof(ngx_http_klaviyo_reference_t)) != NGX_OK
        || ngx_array_init(&kmcf->servers, cf->pool, 4,
                          sizeof(ngx_http_klaviyo_loc_conf_t *)) != NGX_OK
        || ngx_array_init(&kmcf->inner, cf->pool, 8,
                          sizeof(ngx_http_klaviyo_loc_conf_t *)) != NGX_OK)
    {
        return NULL;
    }

    kmcf->drain_timeout = NGX_CONF_UNSET_MSEC;
    kmcf->tail_size = NGX_CONF_UNSET_SIZE;
    kmcf->memory_size = NGX_CONF_UNSET_SIZE;

    ngx_str_set(&kmcf->rings, NGX_HTTP_KLAVIYO_RING_FILE_PATH);

    return kmcf;
}


static char *
ngx_http_klaviyo_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_klaviyo_main_conf_t *kmcf = conf;

    ngx_conf_init_size_value(kmcf->tail_size, 0);
    ngx_conf_init_msec_value(kmcf->drain_timeout, 3000);
    ngx_conf_init_size_value(kmcf->memory_size, 32 * 1024 * 1024);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_klaviyo_variables(cf);
}


static ngx_int_t
ngx_http_klaviyo_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_klaviyo_rule_t       **rule;
    ngx_http_klaviyo_main_conf_t   *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    if (ngx_http_klaviyo_value_check(cf, &kmcf->references) != NGX_OK
        || ngx_http_klaviyo_recall_check(cf, &kmcf->references, &kmcf->rules)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (kmcf->accounts.nelts == 0) {

        if (kmcf->rules.nelts) {
            rule = kmcf->rules.elts;
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no \"klaviyo_account\" for \"klaviyo_track\" "
                          "in %V:%ui", &rule[0]->file, rule[0]->line);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (ngx_http_klaviyo_init_spool(cf, kmcf) != NGX_OK
        || ngx_http_klaviyo_init_memory(cf, kmcf) != NGX_OK
        || ngx_http_klaviyo_init_rules(cf, kmcf) != NGX_OK
        || ngx_http_klaviyo_lanes_init(cf, kmcf) != NGX_OK
        || ngx_http_klaviyo_init_zones(cf, kmcf) != NGX_OK
        || ngx_http_klaviyo_lint(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (kmcf->rules.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_noise_init(cf->pool) != NGX_OK
        || ngx_http_klaviyo_init_indexes(cf, kmcf) != NGX_OK
        || ngx_http_klaviyo_init_variables(cf, kmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_init_phases(cf);
}


static ngx_int_t
ngx_http_klaviyo_init_zones(ngx_conf_t *cf, ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_str_t                     name;
    ngx_uint_t                    i;
    ngx_shm_zone_t               *zone;
    ngx_http_klaviyo_account_t  **account;

    kmcf->control = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_control_t));
    if (kmcf->control == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&name, NGX_HTTP_KLAVIYO_CONTROL_NAME);

    zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_KLAVIYO_CONTROL_SIZE,
                                 &ngx_http_klaviyo_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_klaviyo_control_init_zone;
    zone->data = kmcf->control;

    account = kmcf->lanes.elts;

    for (i = 0; i < kmcf->lanes.nelts; i++) {

        account[i]->ring = ngx_pcalloc(cf->pool,
                                       sizeof(ngx_http_klaviyo_ring_t));

        name.len = sizeof(NGX_HTTP_KLAVIYO_RING_NAME) - 1
                   + account[i]->name.len;
        name.data = ngx_pnalloc(cf->pool, name.len);

        if (account[i]->ring == NULL || name.data == NULL) {
            return NGX_ERROR;
        }

        ngx_sprintf(name.data, NGX_HTTP_KLAVIYO_RING_NAME "%V",
                    &account[i]->name);

        zone = ngx_shared_memory_add(cf, &name,
                             NGX_HTTP_KLAVIYO_RING_ZONE(account[i]->queue),
                             &ngx_http_klaviyo_module);
        if (zone == NULL) {
            return NGX_ERROR;
        }

        zone->init = ngx_http_klaviyo_ring_init_zone;
        zone->data = account[i]->ring;

        account[i]->ring->zone = zone;
        account[i]->ring->control = kmcf->control;
    }

    if (kmcf->tail_size
        && ngx_http_klaviyo_init_tail(cf, kmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return kmcf->stories ? ngx_http_klaviyo_init_stories(cf, kmcf) : NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_init_tail(ngx_conf_t *cf, ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    kmcf->tail = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_tail_t));
    if (kmcf->tail == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&name, NGX_HTTP_KLAVIYO_TAIL_NAME);

    zone = ngx_shared_memory_add(cf, &name, kmcf->tail_size,
                                 &ngx_http_klaviyo_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_klaviyo_tail_init_zone;
    zone->data = kmcf->tail;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_init_stories(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    ngx_str_set(&name, NGX_HTTP_KLAVIYO_STORIES_NAME);

    zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_KLAVIYO_STORIES_SIZE,
                                 &ngx_http_klaviyo_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_klaviyo_stories_init_zone;
    zone->data = kmcf->stories;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_init_memory(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    if (!kmcf->remembers || kmcf->rules.nelts == 0) {
        return NGX_OK;
    }

    kmcf->memory = ngx_http_klaviyo_memory_create(cf->pool);
    if (kmcf->memory == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&name, NGX_HTTP_KLAVIYO_MEMORY_NAME);

    zone = ngx_shared_memory_add(cf, &name, kmcf->memory_size,
                                 &ngx_http_klaviyo_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_klaviyo_memory_init_zone;
    zone->data = kmcf->memory;

    return NGX_OK;
}


/* By default it is "klaviyo" beside nginx's own directories. */

static ngx_int_t
ngx_http_klaviyo_init_spool(ngx_conf_t *cf, ngx_http_klaviyo_main_conf_t *kmcf)
{
    u_char     *p;
    ngx_str_t   name;

    if (kmcf->spool) {
        return NGX_OK;
    }

    ngx_str_set(&name, NGX_HTTP_CLIENT_TEMP_PATH);

    while (name.len && name.data[name.len - 1] != '/') {
        name.len--;
    }

    p = ngx_pnalloc(cf->pool, name.len + sizeof("klaviyo"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    kmcf->spool = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (kmcf->spool == NULL) {
        return NGX_ERROR;
    }

    kmcf->spool->name.data = p;
    kmcf->spool->name.len = name.len + sizeof("klaviyo") - 1;

    p = ngx_cpymem(p, name.data, name.len);
    ngx_memcpy(p, "klaviyo", sizeof("klaviyo"));

    return ngx_conf_full_name(cf->cycle, &kmcf->spool->name, 0);
}


static ngx_int_t
ngx_http_klaviyo_init_rules(ngx_conf_t *cf, ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_rule_t  **rule;

    rule = kmcf->rules.elts;

    for (i = 0; i < kmcf->rules.nelts; i++) {
        rule[i]->number = i;

        if (ngx_http_klaviyo_init_rule(cf, kmcf, rule[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_klaviyo_init_twins(cf, kmcf);
}


/* Rules of the same metric and routes count apart: they get numbers. */

static ngx_int_t
ngx_http_klaviyo_init_twins(ngx_conf_t *cf, ngx_http_klaviyo_main_conf_t *kmcf)
{
    size_t                     size;
    ngx_uint_t                 i;
    ngx_http_klaviyo_rule_t  **rule;

    if (kmcf->rules.nelts < 2) {
        return NGX_OK;
    }

    size = kmcf->rules.nelts * sizeof(ngx_http_klaviyo_rule_t *);

    rule = ngx_palloc(cf->temp_pool, size);
    if (rule == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(rule, kmcf->rules.elts, size);

    ngx_qsort(rule, kmcf->rules.nelts, sizeof(ngx_http_klaviyo_rule_t *),
              ngx_http_klaviyo_compare_rules);

    for (i = 1; i < kmcf->rules.nelts; i++) {

        if (ngx_memn2cmp(rule[i - 1]->metric.data, rule[i]->metric.data,
                         rule[i - 1]->metric.len, rule[i]->metric.len) == 0
            && ngx_memn2cmp(rule[i - 1]->text.data, rule[i]->text.data,
                            rule[i - 1]->text.len, rule[i]->text.len) == 0)
        {
            rule[i]->twin = rule[i - 1]->twin + 1;
        }
    }

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_klaviyo_compare_rules(const void *one, const void *two)
{
    ngx_int_t                 rc;
    ngx_http_klaviyo_rule_t  *first, *second;

    first = *(ngx_http_klaviyo_rule_t **) one;
    second = *(ngx_http_klaviyo_rule_t **) two;

    rc = ngx_memn2cmp(first->metric.data, second->metric.data,
                      first->metric.len, second->metric.len);

    if (rc == 0) {
        rc = ngx_memn2cmp(first->text.data, second->text.data,
                          first->text.len, second->text.len);
    }

    if (rc == 0) {
        rc = (first->number < second->number) ? -1 : 1;
    }

    return (int) rc;
}


static ngx_int_t
ngx_http_klaviyo_init_rule(ngx_conf_t *cf, ngx_http_klaviyo_main_conf_t *kmcf,
    ngx_http_klaviyo_rule_t *rule)
{
    ngx_str_t                   *service;
    ngx_uint_t                   i, n;
    ngx_http_klaviyo_account_t  **account;

    ngx_http_klaviyo_rule_captures(rule);

    if (rule->account_name.data) {
        rule->account = ngx_http_klaviyo_account_find(&kmcf->accounts,
                                                      &rule->account_name);
        if (rule->account == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown account \"%V\" in \"account\" in %V:%ui",
                          &rule->account_name, &rule->account_file,
                          rule->account_line);
            return NGX_ERROR;
        }
    }

    account = kmcf->accounts.elts;
    n = kmcf->accounts.nelts;

    rule->metrics = ngx_palloc(cf->pool, n * sizeof(ngx_str_t));
    rule->slots = ngx_palloc(cf->pool, n * sizeof(ngx_uint_t));

    if (rule->metrics == NULL || rule->slots == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        rule->slots[i] = NGX_CONF_UNSET_UINT;

        service = rule->service.len ? &rule->service : &account[i]->service;

        if (ngx_http_klaviyo_event_metric(cf->pool, &rule->metric, service,
                                          &rule->metrics[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_init_indexes(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_uint_t                     i;
    ngx_array_t                   *outer;
    ngx_http_klaviyo_index_t      *index;
    ngx_http_klaviyo_loc_conf_t  **server;

    outer = NULL;
    index = NULL;

    if (kmcf->http && kmcf->http->rules) {

        outer = ngx_array_create(cf->pool, 4,
                                 sizeof(ngx_http_klaviyo_route_t *));

        if (outer == NULL
            || ngx_http_klaviyo_rule_routes(kmcf->http->rules, outer)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        index = ngx_http_klaviyo_init_index(cf, outer, NULL);
        if (index == NULL) {
            return NGX_ERROR;
        }
    }

    server = kmcf->servers.elts;

    for (i = 0; i < kmcf->servers.nelts; i++) {

        server[i]->index = index;

        if (server[i]->routes) {
            server[i]->index = ngx_http_klaviyo_init_index(cf, outer,
                                                           server[i]->routes);
            if (server[i]->index == NULL) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_http_klaviyo_index_t *
ngx_http_klaviyo_init_index(ngx_conf_t *cf, ngx_array_t *outer,
    ngx_array_t *own)
{
    ngx_array_t               *routes;
    ngx_http_klaviyo_index_t  *index;

    routes = ngx_http_klaviyo_merge_array(cf, own, outer, 1);

    index = ngx_http_klaviyo_index_create(cf->pool, routes);

    if (index
        && ngx_http_klaviyo_index_unanchored(index)
           > NGX_HTTP_KLAVIYO_UNANCHORED)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "%ui patterns of \"klaviyo_track\" in a server do not "
                      "begin with \"^\" and a literal text: each request "
                      "must try them all",
                      ngx_http_klaviyo_index_unanchored(index));
    }

    return index;
}


static ngx_int_t
ngx_http_klaviyo_init_variables(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    static ngx_str_t  http_cookie = ngx_string("http_cookie");
    static ngx_str_t  kla_id = ngx_string("cookie___kla_id");
    static ngx_str_t  kla_off = ngx_string("cookie___kla_off");
    static ngx_str_t  request_id = ngx_string("request_id");

    kmcf->http_cookie = ngx_http_get_variable_index(cf, &http_cookie);
    kmcf->kla_id = ngx_http_get_variable_index(cf, &kla_id);
    kmcf->kla_off = ngx_http_get_variable_index(cf, &kla_off);
    kmcf->request_id = ngx_http_get_variable_index(cf, &request_id);

    if (kmcf->http_cookie == NGX_ERROR || kmcf->kla_id == NGX_ERROR
        || kmcf->kla_off == NGX_ERROR || kmcf->request_id == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Handlers of a phase run last registered first, so we are ahead of rewrite.
 * In the log phase they run in order: access_log must find $klaviyo_result.
 */

static ngx_int_t
ngx_http_klaviyo_init_phases(ngx_conf_t *cf)
{
    ngx_array_t                *log;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_klaviyo_match_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_klaviyo_locate_handler;

    log = &cmcf->phases[NGX_HTTP_LOG_PHASE].handlers;

    if (ngx_array_push(log) == NULL) {
        return NGX_ERROR;
    }

    h = log->elts;

    ngx_memmove(&h[1], &h[0], (log->nelts - 1) * sizeof(ngx_http_handler_pt));

    h[0] = ngx_http_klaviyo_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ngx_pool_cleanup_t             *cln;
    ngx_http_klaviyo_rule_t       **rule;
    ngx_http_klaviyo_account_t     *account, **lane;
    ngx_http_klaviyo_loc_conf_t    *klcf;
    ngx_http_klaviyo_main_conf_t   *kmcf;

    kmcf = ngx_http_klaviyo_cycle_conf(cycle);

    if (kmcf == NULL) {
        return ngx_http_klaviyo_init_none(cycle);
    }

    ngx_http_klaviyo_account_check_env(cycle, &kmcf->accounts);

    if (ngx_test_config) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_klaviyo_cleanup;
    cln->data = kmcf;

    if (ngx_http_klaviyo_control_commit(kmcf->control) != NGX_OK) {
        return NGX_ERROR;
    }

    lane = kmcf->lanes.elts;

    for (i = 0; i < kmcf->lanes.nelts; i++) {
        ngx_http_klaviyo_control_mark(kmcf->control, lane[i]->key);
    }

    /* jansson would read its random seed in each worker, while it serves */

    json_object_seed(0);

    rule = kmcf->rules.elts;

    for (i = 0; i < kmcf->rules.nelts; i++) {
        klcf = rule[i]->level;
        account = rule[i]->account ? rule[i]->account : klcf->account;

        /* of http{} without a server{} */

        if (account == NULL) {
            continue;
        }

        (void) ngx_http_klaviyo_rule_slot(kmcf->control, rule[i],
                                          account->lanes[rule[i]->lane]);
    }

    ngx_http_klaviyo_host.dispatcher.control = kmcf->control;
    ngx_http_klaviyo_host.dispatcher.second = ngx_http_klaviyo_collect_second;
    ngx_http_klaviyo_host.dispatcher.data = kmcf;
    ngx_http_klaviyo_host.dispatcher.accounts = &kmcf->lanes;
    ngx_http_klaviyo_host.dispatcher.log = cycle->log;
    ngx_http_klaviyo_host.drain_timeout = kmcf->drain_timeout;

    return ngx_http_klaviyo_init_path(cycle, kmcf);
}


/*
 * The "manager" of a path makes nginx start the background process.  nginx has
 * created its paths by now, and would have given up on one that it can't; ours
 * isn't worth that.
 */

static ngx_int_t
ngx_http_klaviyo_init_path(ngx_cycle_t *cycle,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_path_t                    **path;
    ngx_core_conf_t                *ccf;
    ngx_http_klaviyo_directory_t   *directory;

    path = ngx_array_push(&cycle->paths);
    if (path == NULL) {
        return NGX_ERROR;
    }

    *path = kmcf->spool;

    kmcf->spool->manager = ngx_http_klaviyo_host_manager;
    kmcf->spool->data = &ngx_http_klaviyo_host;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    directory = &ngx_http_klaviyo_host.dispatcher.spool;

    directory->path = kmcf->spool->name;
    directory->instance = ngx_http_klaviyo_control_nonce(kmcf->control);
    directory->user = ccf->user;
    directory->group = ccf->group;
    directory->log = cycle->log;

    ngx_http_klaviyo_directory_make(directory);

    kmcf->wake = ngx_http_klaviyo_control_fd(kmcf->control);

    return ngx_http_klaviyo_init_rings(cycle, kmcf);
}


/*
 * Of a configuration that the master does not have any more.  If none of ours
 * has followed it, be it that the module is not loaded any more, the instance
 * ends with the last of its processes, and what it has left is found: so the
 * master and its next processes must not have the lock.  The zones are gone.
 */

static void
ngx_http_klaviyo_cleanup(void *data)
{
    ngx_http_klaviyo_main_conf_t *kmcf = data;

    if (ngx_process != NGX_PROCESS_MASTER
        || ngx_http_klaviyo_host.dispatcher.control != kmcf->control)
    {
        return;
    }

    ngx_http_klaviyo_directory_release();

    if (kmcf->wake != NGX_INVALID_FILE) {
        (void) ngx_close_file(kmcf->wake);
    }
}


/*
 * Who has no lock can't be told from a dead one: his rings would be read.  What
 * older processes of ours still have, the dispatcher takes when they leave.
 */

static ngx_int_t
ngx_http_klaviyo_init_rings(ngx_cycle_t *cycle,
    ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_int_t                      rc;
    ngx_str_t                      old;
    ngx_uint_t                     i;
    ngx_http_klaviyo_account_t   **account;
    ngx_http_klaviyo_directory_t  *directory;

    directory = &ngx_http_klaviyo_host.dispatcher.spool;

    old = directory->rings;
    ngx_str_null(&directory->rings);

    rc = ngx_http_klaviyo_directory_lock(directory);

    if (kmcf->rings.len
        && rc != NGX_ERROR
        && ngx_http_klaviyo_ring_file_make(directory, &kmcf->rings, cycle->pool)
           == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    account = kmcf->lanes.elts;

    for (i = 0; i < kmcf->lanes.nelts; i++) {

        if (ngx_http_klaviyo_ring_file_keep(directory, &old, account[i]->ring,
                                            &account[i]->name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* one that a reload has left is empty now */

    if (old.len) {
        (void) ngx_delete_dir(old.data);
    }

    return NGX_OK;
}


/*
 * A reload that removes all accounts: the process that serves them must learn
 * that it is followed, though by nobody, and not that nginx ends.
 */

static ngx_int_t
ngx_http_klaviyo_init_none(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_cycle_t                   *old;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    old = cycle->old_cycle;

    /* its text is the old configuration's */

    ngx_str_null(&ngx_http_klaviyo_host.dispatcher.spool.rings);

    if (ngx_test_config || old == NULL || ngx_is_init_cycle(old)) {
        return NGX_OK;
    }

    for (i = 0; i < old->modules_n; i++) {
        if (old->modules[i] == &ngx_http_klaviyo_module) {
            break;
        }
    }

    if (i == old->modules_n) {
        return NGX_OK;
    }

    kmcf = ngx_http_klaviyo_cycle_conf(old);

    return kmcf ? ngx_http_klaviyo_control_commit(kmcf->control) : NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_init_process(ngx_cycle_t *cycle)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_klaviyo_cycle_conf(cycle);

    if (kmcf == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    ngx_http_klaviyo_track_init(
                               ngx_http_klaviyo_control_enter(kmcf->control));

    return ngx_http_klaviyo_host_init_process(&ngx_http_klaviyo_host);
}


static void
ngx_http_klaviyo_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_klaviyo_cycle_conf(cycle);

    if (kmcf == NULL) {
        return;
    }

    ngx_http_klaviyo_control_leave(kmcf->control);
    ngx_http_klaviyo_host_exit_process();
}


/* Not under -t and -s: these end otherwise */

static void
ngx_http_klaviyo_exit_master(ngx_cycle_t *cycle)
{
    if (ngx_http_klaviyo_cycle_conf(cycle)) {
        ngx_http_klaviyo_host_exit_master(&ngx_http_klaviyo_host);
    }
}


/* NULL without http{} and without an account: then there is nothing to do */

static ngx_http_klaviyo_main_conf_t *
ngx_http_klaviyo_cycle_conf(ngx_cycle_t *cycle)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_klaviyo_module);

    return (kmcf && kmcf->accounts.nelts) ? kmcf : NULL;
}
