
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The mark that an event leaves under its account, its rule, its visitor and
 * the rule's keys.  It is set right before the event is queued, so that of two
 * requests at the same time one has it.
 */


#include "ngx_http_klaviyo_once.h"


/* account, metric, routes, which of the same, and who: three at most */
#define NGX_HTTP_KLAVIYO_ONCE_PARTS  7


static void ngx_http_klaviyo_once_who(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *who, ngx_str_t *parts);
static ngx_int_t ngx_http_klaviyo_once_text(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_str_t *text);


ngx_int_t
ngx_http_klaviyo_once_mark(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *who, ngx_http_klaviyo_once_t *once)
{
    ngx_str_t                      parts[NGX_HTTP_KLAVIYO_ONCE_PARTS
                                         + NGX_HTTP_KLAVIYO_MAX_ONCE];
    ngx_uint_t                     i;
    ngx_http_klaviyo_value_t      *value;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    once->version = 0;

    if (rule->once == NULL) {
        return NGX_OK;
    }

    kmcf = ngx_http_get_module_main_conf(eval->request,
                                         ngx_http_klaviyo_module);

    parts[0] = eval->account->name;
    parts[1] = rule->metric;
    parts[2] = rule->text;
    parts[3].data = (u_char *) &rule->twin;
    parts[3].len = sizeof(ngx_uint_t);

    ngx_http_klaviyo_once_who(visit, who, &parts[4]);

    value = rule->once->elts;

    for (i = 0; i < rule->once->nelts; i++) {

        if (ngx_http_klaviyo_once_text(eval, &value[i],
                                    &parts[NGX_HTTP_KLAVIYO_ONCE_PARTS + i])
            != NGX_OK)
        {
            return NGX_OK;
        }
    }

    if (ngx_http_klaviyo_memory_key(kmcf->memory,
                                    NGX_HTTP_KLAVIYO_MEMORY_ONCE, parts,
                                    NGX_HTTP_KLAVIYO_ONCE_PARTS + i,
                                    &once->key)
        != NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_memory_mark(kmcf->memory, &once->key,
                                     rule->once_ttl, &once->version)
        != NGX_DECLINED)
    {
        return NGX_OK;
    }

    once->version = 0;

    return NGX_DECLINED;
}


/* Whoever has a key is who it is of; else it is whom the event tells of. */

static void
ngx_http_klaviyo_once_who(ngx_http_klaviyo_visit_t *visit,
    ngx_http_klaviyo_member_t *who, ngx_str_t *parts)
{
    ngx_str_null(&parts[0]);
    ngx_str_null(&parts[1]);
    ngx_str_null(&parts[2]);

    if (visit) {
        parts[0] = visit->value;
        return;
    }

    if (who) {
        parts[1] = who->key;
        (void) ngx_http_klaviyo_data_text(&who->data, &parts[2]);
    }
}


/* A missing one is a value of its own; of a tree it is the JSON text. */

static ngx_int_t
ngx_http_klaviyo_once_text(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_str_t *text)
{
    ngx_http_klaviyo_data_t  data;

    ngx_str_null(text);

    ngx_http_klaviyo_value_eval(eval, value, &data);

    if (data.type != NGX_HTTP_KLAVIYO_TREE) {
        (void) ngx_http_klaviyo_data_text(&data, text);
        return NGX_OK;
    }

    text->len = json_dumpb(data.json, NULL, 0, JSON_COMPACT|JSON_SORT_KEYS);

    text->data = ngx_http_klaviyo_arena_alloc(eval->arena, text->len + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    (void) json_dumpb(data.json, (char *) text->data, text->len,
                      JSON_COMPACT|JSON_SORT_KEYS);

    return NGX_OK;
}


void
ngx_http_klaviyo_once_unmark(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_once_t *once)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    if (once->version == 0) {
        return;
    }

    kmcf = ngx_http_get_module_main_conf(eval->request,
                                         ngx_http_klaviyo_module);

    ngx_http_klaviyo_memory_unmark(kmcf->memory, &once->key, once->version);
}
