
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Facts between requests: JSON texts in the memory, per account, name and key.
 * They are of a cart or a product rather than of a person, and leave nginx only
 * with an event that is allowed to; so consent and robots don't matter here.
 */


#include "ngx_http_klaviyo_remember.h"


/* once per request, name and key */
struct ngx_http_klaviyo_recall_s {
    ngx_str_t                            name;
    ngx_str_t                            key;
    ngx_http_klaviyo_account_t          *account;
    ngx_http_klaviyo_data_t              data;
    ngx_http_klaviyo_recall_t           *next;
};


static ngx_int_t ngx_http_klaviyo_remember_key(ngx_http_klaviyo_eval_t *eval,
    ngx_str_t *name, ngx_http_klaviyo_data_t *data, ngx_str_t *text,
    ngx_http_klaviyo_memory_key_t *key);
static void ngx_http_klaviyo_recall_find(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_memory_key_t *key, ngx_http_klaviyo_data_t *data);


static u_char  ngx_http_klaviyo_facts[NGX_HTTP_KLAVIYO_MEMORY_TEXT];


void
ngx_http_klaviyo_remember(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_rule_t *rule)
{
    ngx_str_t                       text;
    ngx_http_klaviyo_data_t         data;
    ngx_http_klaviyo_node_t         object;
    ngx_http_klaviyo_main_conf_t   *kmcf;
    ngx_http_klaviyo_memory_key_t   key;

    ngx_http_klaviyo_value_eval(eval, rule->key, &data);

    if (ngx_http_klaviyo_remember_key(eval, &rule->metric, &data, &text, &key)
        != NGX_OK)
    {
        return;
    }

    ngx_memzero(&object, sizeof(ngx_http_klaviyo_node_t));

    object.type = NGX_HTTP_KLAVIYO_NODE_OBJECT;
    object.nodes = &rule->nodes;

    ngx_http_klaviyo_node_eval(eval, &object, &data);

    if (eval->unknown) {
        return;
    }

    kmcf = ngx_http_get_module_main_conf(eval->request,
                                         ngx_http_klaviyo_module);

    /* what was recalled above is not what is there below */

    eval->ctx->recalls = NULL;

    /* a cart that is empty now */

    if (ngx_http_klaviyo_data_is_missing(&data)) {
        ngx_http_klaviyo_memory_forget(kmcf->memory, &key);
        return;
    }

    text.data = ngx_http_klaviyo_facts;
    text.len = json_dumpb(data.json, (char *) text.data,
                          NGX_HTTP_KLAVIYO_MEMORY_TEXT, JSON_COMPACT);

    if (text.len <= NGX_HTTP_KLAVIYO_MEMORY_TEXT
        && ngx_http_klaviyo_memory_store(kmcf->memory, &key, &text,
                                         rule->ttl, NULL)
           == NGX_OK)
    {
        return;
    }

    /* what is there is not true any more */

    ngx_http_klaviyo_memory_forget(kmcf->memory, &key);

    eval->arena->limits++;
}


static ngx_int_t
ngx_http_klaviyo_remember_key(ngx_http_klaviyo_eval_t *eval, ngx_str_t *name,
    ngx_http_klaviyo_data_t *data, ngx_str_t *text,
    ngx_http_klaviyo_memory_key_t *key)
{
    ngx_str_t                      parts[3];
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(eval->request,
                                         ngx_http_klaviyo_module);

    if (kmcf->memory == NULL
        || ngx_http_klaviyo_data_text(data, text) != NGX_OK
        || text->len == 0)
    {
        return NGX_DECLINED;
    }

    parts[0] = eval->account->name;
    parts[1] = *name;
    parts[2] = *text;

    return ngx_http_klaviyo_memory_key(kmcf->memory,
                                       NGX_HTTP_KLAVIYO_MEMORY_FACTS, parts,
                                       3, key);
}


void
ngx_http_klaviyo_recall(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t                       text;
    ngx_http_klaviyo_data_t         document;
    ngx_http_klaviyo_recall_t      *recall;
    ngx_http_klaviyo_memory_key_t   key;

    if (ngx_http_klaviyo_data_text(data, &text) != NGX_OK) {
        return;
    }

    for (recall = eval->ctx->recalls; recall; recall = recall->next) {

        if (recall->account == eval->account
            && recall->name.data == args[0].text.data
            && recall->key.len == text.len
            && ngx_memcmp(recall->key.data, text.data, text.len) == 0)
        {
            break;
        }
    }

    if (recall == NULL) {
        recall = ngx_http_klaviyo_arena_alloc(eval->arena,
                                           sizeof(ngx_http_klaviyo_recall_t));

        if (recall == NULL
            || ngx_http_klaviyo_remember_key(eval, &args[0].text, data, &text,
                                             &key)
               != NGX_OK)
        {
            ngx_http_klaviyo_data_missing(data);
            return;
        }

        recall->account = eval->account;
        recall->name = args[0].text;
        recall->key = text;
        recall->next = eval->ctx->recalls;

        ngx_http_klaviyo_recall_find(eval, &key, &recall->data);

        eval->ctx->recalls = recall;
    }

    if (nargs < 2) {
        *data = recall->data;
        return;
    }

    document = recall->data;

    ngx_http_klaviyo_path_select(eval->arena, args[1].path, &document, data);
}


static void
ngx_http_klaviyo_recall_find(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_memory_key_t *key, ngx_http_klaviyo_data_t *data)
{
    ngx_str_t                      text;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(eval->request,
                                         ngx_http_klaviyo_module);

    ngx_http_klaviyo_data_missing(data);

    text.data = ngx_http_klaviyo_facts;
    text.len = NGX_HTTP_KLAVIYO_MEMORY_TEXT;

    if (ngx_http_klaviyo_memory_find(kmcf->memory, key, &text, NULL)
        != NGX_OK)
    {
        return;
    }

    data->json = ngx_http_klaviyo_json_parse(eval->arena, &text);

    if (data->json) {
        data->type = NGX_HTTP_KLAVIYO_TREE;
    }
}


ngx_int_t
ngx_http_klaviyo_recall_check(ngx_conf_t *cf, ngx_array_t *references,
    ngx_array_t *rules)
{
    ngx_uint_t                      i, n;
    ngx_http_klaviyo_rule_t       **rule;
    ngx_http_klaviyo_reference_t   *reference;

    rule = rules->elts;
    reference = references->elts;

    for (i = 0; i < references->nelts; i++) {

        if (!reference[i].recall) {
            continue;
        }

        for (n = 0; n < rules->nelts; n++) {

            if (rule[n]->remember
                && rule[n]->metric.len == reference[i].name.len
                && ngx_strncmp(rule[n]->metric.data, reference[i].name.data,
                               reference[i].name.len)
                   == 0)
            {
                break;
            }
        }

        if (n == rules->nelts) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no \"klaviyo_remember %V\" for \"recall\" in %V:%ui",
                          &reference[i].name, &reference[i].file,
                          reference[i].line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
