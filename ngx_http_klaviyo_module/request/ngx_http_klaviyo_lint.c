
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Goes through all rules and levels once the configuration is read, and logs
 * what was found: names, types and values here, routes and conditions in
 * ngx_http_klaviyo_lint_rule.c.
 */


#include "ngx_http_klaviyo_lint.h"
#include "ngx_http_klaviyo_names.h"


/* lines of one kind; the others are counted */
#define NGX_HTTP_KLAVIYO_LINT_LINES      20

/* bytes of a line, without the place */
#define NGX_HTTP_KLAVIYO_LINT_TEXT       1024


static ngx_int_t ngx_http_klaviyo_lint_rule(ngx_http_klaviyo_lint_t *lint);
static ngx_int_t ngx_http_klaviyo_lint_names(ngx_http_klaviyo_lint_t *lint);
static void ngx_http_klaviyo_lint_body(ngx_http_klaviyo_lint_t *lint);
static void ngx_http_klaviyo_lint_level(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_loc_conf_t *conf);
static void ngx_http_klaviyo_lint_nodes(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *nodes, ngx_http_klaviyo_documented_t *list);
static void ngx_http_klaviyo_lint_property(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *nodes, ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_documented_t *list);
static ngx_uint_t ngx_http_klaviyo_lint_has(ngx_array_t *nodes,
    ngx_str_t *name);
static ngx_http_klaviyo_documented_t *ngx_http_klaviyo_lint_inner(
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_documented_t *list);
static void ngx_http_klaviyo_lint_profiles(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *profiles);
static void ngx_http_klaviyo_lint_attributes(ngx_http_klaviyo_lint_t *lint);
static void ngx_http_klaviyo_lint_subscribe(ngx_http_klaviyo_lint_t *lint);
static void ngx_http_klaviyo_lint_value(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, const char *directive, ngx_str_t *name,
    ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_lint_present(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, const char *directive, ngx_str_t *name,
    ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_lint_term(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term);
static void ngx_http_klaviyo_lint_parts(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, ngx_array_t *parts);
static void ngx_http_klaviyo_lint_watch(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *conditions);
static void ngx_http_klaviyo_lint_unused(ngx_http_klaviyo_lint_t *lint);
static ngx_uint_t ngx_http_klaviyo_lint_rank(ngx_http_klaviyo_lint_t *lint,
    ngx_str_t *file);
static void ngx_http_klaviyo_lint_print(ngx_http_klaviyo_lint_t *lint);
static ngx_uint_t ngx_http_klaviyo_lint_repeats(
    ngx_http_klaviyo_warning_t *first, ngx_http_klaviyo_warning_t *warning);
static int ngx_libc_cdecl ngx_http_klaviyo_lint_compare(const void *one,
    const void *two);


static char  *ngx_http_klaviyo_lint_kinds[] = {
    "names that Klaviyo writes otherwise",
    "numbers that are sent as strings",
    "rules that never match",
    "values that can't be meant"
};


ngx_int_t
ngx_http_klaviyo_lint(ngx_conf_t *cf)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_klaviyo_lint_t         lint;
    ngx_http_klaviyo_rule_t       **rule;
    ngx_http_core_srv_conf_t      **cscf;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_klaviyo_loc_conf_t   **level;

    ngx_memzero(&lint, sizeof(ngx_http_klaviyo_lint_t));

    lint.cf = cf;
    lint.conf = ngx_http_conf_get_module_main_conf(cf,
                                                   ngx_http_klaviyo_module);

    if (ngx_array_init(&lint.warnings, cf->temp_pool, 8,
                       sizeof(ngx_http_klaviyo_warning_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscf = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        lint.slashes |= !cscf[i]->merge_slashes;
    }

    rc = NGX_OK;
    rule = lint.conf->rules.elts;

    for (i = 0; i < lint.conf->rules.nelts && rc == NGX_OK; i++) {
        lint.rule = rule[i];
        rc = ngx_http_klaviyo_lint_rule(&lint);
    }

    lint.rule = NULL;

    if (rc == NGX_OK && lint.conf->http) {
        ngx_http_klaviyo_lint_level(&lint, lint.conf->http);
    }

    level = lint.conf->inner.elts;

    for (i = 0; i < lint.conf->inner.nelts && rc == NGX_OK; i++) {
        ngx_http_klaviyo_lint_level(&lint, level[i]);
    }

    ngx_http_klaviyo_lint_print(&lint);

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_lint_rule(ngx_http_klaviyo_lint_t *lint)
{
    ngx_int_t                  rc;
    ngx_pool_t                *pool;
    ngx_http_klaviyo_arena_t   arena;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, lint->cf->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_arena_init(&arena, pool, NGX_HTTP_KLAVIYO_ARENA_SIZE);

    ngx_memzero(&lint->prospect, sizeof(ngx_http_klaviyo_prospect_t));

    lint->prospect.pool = pool;
    lint->prospect.arena = &arena;

    rc = ngx_http_klaviyo_lint_names(lint);

    if (rc == NGX_OK) {
        ngx_http_klaviyo_lint_body(lint);
    }

    ngx_http_klaviyo_arena_done(&arena);
    ngx_destroy_pool(pool);

    return rc;
}


/* Those of let, object and items: what follows refers to them. */

static ngx_int_t
ngx_http_klaviyo_lint_names(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                    i, n;
    ngx_http_klaviyo_name_t      *name;
    ngx_http_klaviyo_outlook_t   *known;
    ngx_http_klaviyo_prospect_t  *prospect;

    prospect = &lint->prospect;
    name = lint->rule->names.elts;
    n = lint->rule->names.nelts;

    prospect->names = name;
    prospect->known = ngx_pcalloc(prospect->pool,
                                (n + 1) * sizeof(ngx_http_klaviyo_outlook_t));
    lint->used = ngx_pcalloc(prospect->pool, n + 1);

    if (prospect->known == NULL || lint->used == NULL) {
        return NGX_ERROR;
    }

    known = prospect->known;

    for (i = 0; i < n; i++) {
        ngx_http_klaviyo_outlook_name(prospect);

        /* those of object and items are looked at as properties */

        if (name[i].value) {
            ngx_http_klaviyo_lint_present(lint, name[i].value, "let",
                                          &name[i].name, &known[i]);
        }
    }

    return NGX_OK;
}


static void
ngx_http_klaviyo_lint_body(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_rule_t     *rule;
    ngx_http_klaviyo_route_t    *route;
    ngx_http_klaviyo_value_t    *each, *key;
    ngx_http_klaviyo_metric_t   *metric, *near;
    ngx_http_klaviyo_outlook_t   outlook;

    rule = lint->rule;
    route = rule->routes.elts;

    metric = NULL;
    near = NULL;

    if (!rule->remember) {
        metric = ngx_http_klaviyo_metric_find(&rule->metric);
        near = ngx_http_klaviyo_metric_near(&rule->metric);
    }

    if (near) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_NAME,
                                   route[0].place,
                                   "metric \"%V\" resembles Klaviyo's \"%V\"",
                                   &rule->metric, &near->name);
        metric = near;
    }

    ngx_http_klaviyo_lint_routes(lint);
    ngx_http_klaviyo_lint_conditions(lint, &rule->conditions, "when");
    ngx_http_klaviyo_lint_watch(lint, &rule->conditions);

    each = rule->each.elts;

    for (i = 0; i < rule->each.nelts; i++) {
        ngx_http_klaviyo_lint_value(lint, &each[i], "each", NULL, &outlook);
    }

    key = rule->once ? rule->once->elts : NULL;

    for (i = 0; key && i < rule->once->nelts; i++) {
        ngx_http_klaviyo_lint_value(lint, &key[i], "once", NULL, &outlook);
    }

    if (rule->key) {
        ngx_http_klaviyo_lint_value(lint, rule->key, "key", NULL, &outlook);
    }

    ngx_http_klaviyo_lint_nodes(lint, &rule->nodes,
                                metric ? metric->properties : NULL);
    ngx_http_klaviyo_lint_profiles(lint, &rule->profile);
    ngx_http_klaviyo_lint_attributes(lint);
    ngx_http_klaviyo_lint_subscribe(lint);
    ngx_http_klaviyo_lint_unused(lint);
}


/* What stands at a level outside of rules; most have what an outer one has. */

static void
ngx_http_klaviyo_lint_level(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_loc_conf_t *conf)
{
    ngx_pool_t                   *pool;
    ngx_http_klaviyo_arena_t      arena;
    ngx_http_klaviyo_loc_conf_t  *outer, none;

    ngx_memzero(&none, sizeof(ngx_http_klaviyo_loc_conf_t));

    outer = conf->parent ? conf->parent : &none;

    if (conf->excepts == outer->excepts
        && conf->properties == outer->properties
        && conf->profiles == outer->profiles
        && conf->consent == outer->consent)
    {
        return;
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, lint->cf->log);
    if (pool == NULL) {
        return;
    }

    ngx_http_klaviyo_arena_init(&arena, pool, NGX_HTTP_KLAVIYO_ARENA_SIZE);

    ngx_memzero(&lint->prospect, sizeof(ngx_http_klaviyo_prospect_t));

    lint->prospect.pool = pool;
    lint->prospect.arena = &arena;

    if (conf->excepts && conf->excepts != outer->excepts) {
        ngx_http_klaviyo_lint_excepts(lint, conf);
    }

    if (conf->properties && conf->properties != outer->properties) {
        ngx_http_klaviyo_lint_nodes(lint, conf->properties, NULL);
    }

    if (conf->profiles && conf->profiles != outer->profiles) {
        ngx_http_klaviyo_lint_profiles(lint, conf->profiles);
    }

    if (conf->consent && conf->consent != outer->consent) {
        ngx_http_klaviyo_lint_conditions(lint, conf->consent,
                                         "klaviyo_consent");
        ngx_http_klaviyo_lint_watch(lint, conf->consent);
    }

    ngx_http_klaviyo_arena_done(&arena);
    ngx_destroy_pool(pool);
}


/* "list": what is documented there, NULL if nothing is. */

static void
ngx_http_klaviyo_lint_nodes(ngx_http_klaviyo_lint_t *lint, ngx_array_t *nodes,
    ngx_http_klaviyo_documented_t *list)
{
    ngx_uint_t                      i;
    ngx_http_klaviyo_node_t        *node;
    ngx_http_klaviyo_outlook_t      outlook;
    ngx_http_klaviyo_documented_t  *documented;

    node = nodes->elts;

    for (i = 0; i < nodes->nelts; i++) {

        ngx_http_klaviyo_lint_property(lint, nodes, &node[i], list);

        if (node[i].type != NGX_HTTP_KLAVIYO_NODE_OBJECT) {
            ngx_http_klaviyo_lint_value(lint, &node[i].value,
                                        node[i].nodes ? "items" : "property",
                                        &node[i].name, &outlook);
        }

        if (node[i].nodes) {
            ngx_http_klaviyo_lint_nodes(lint, node[i].nodes,
                                ngx_http_klaviyo_lint_inner(&node[i], list));
            continue;
        }

        documented = list ? ngx_http_klaviyo_names_find(list, &node[i].name)
                          : NULL;

        if (documented && documented->number
            && outlook.types
            && !(outlook.types & NGX_HTTP_KLAVIYO_MAY_NUMBER))
        {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_TYPE,
                                       node[i].place,
                                       "\"%V\" is not sent as a number, add "
                                       "\"| number\"", &node[i].name);
        }
    }
}


static void
ngx_http_klaviyo_lint_property(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *nodes, ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_documented_t *list)
{
    char                           *instead;
    ngx_http_klaviyo_documented_t  *near;

    instead = NULL;

    if (node->name.len == 6
        && ngx_strncmp(node->name.data, "$value", 6) == 0)
    {
        instead = "value";

    } else if (node->name.len == 9
               && ngx_strncmp(node->name.data, "$event_id", 9) == 0)
    {
        instead = "unique_id";
    }

    if (instead) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_NAME,
                                   node->place,
                                   "property \"%V\" is of Klaviyo's browser "
                                   "script, write \"%s\" instead", &node->name,
                                   instead);
        return;
    }

    near = list ? ngx_http_klaviyo_names_near(list, &node->name) : NULL;

    if (near && !ngx_http_klaviyo_lint_has(nodes, &near->name)) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_NAME,
                                   node->place,
                                   "property \"%V\" resembles Klaviyo's "
                                   "\"%V\"", &node->name, &near->name);
    }
}


static ngx_uint_t
ngx_http_klaviyo_lint_has(ngx_array_t *nodes, ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_node_t  *node;

    node = nodes->elts;

    for (i = 0; i < nodes->nelts; i++) {

        if (node[i].name.len == name->len
            && ngx_strncmp(node[i].name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* What is documented inside of a documented object, or an array of them. */

static ngx_http_klaviyo_documented_t *
ngx_http_klaviyo_lint_inner(ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_documented_t *list)
{
    ngx_http_klaviyo_documented_t  *documented;

    if (list == NULL) {
        return NULL;
    }

    documented = ngx_http_klaviyo_names_find(list, &node->name);

    if (documented == NULL) {
        documented = ngx_http_klaviyo_names_near(list, &node->name);
    }

    if (documented == NULL) {
        return NULL;
    }

    if (ngx_strcmp(documented->name.data, "Items") == 0) {
        return ngx_http_klaviyo_item_names;
    }

    if (ngx_strcmp(documented->name.data, "BillingAddress") == 0
        || ngx_strcmp(documented->name.data, "ShippingAddress") == 0)
    {
        return ngx_http_klaviyo_address_names;
    }

    return NULL;
}


static void
ngx_http_klaviyo_lint_profiles(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *profiles)
{
    ngx_str_t                       name;
    ngx_uint_t                      i;
    ngx_http_klaviyo_profile_t     *profile;
    ngx_http_klaviyo_outlook_t      outlook;
    ngx_http_klaviyo_documented_t  *field;

    profile = profiles->elts;

    for (i = 0; i < profiles->nelts; i++) {

        ngx_http_klaviyo_lint_value(lint, &profile[i].value, "profile",
                                    &profile[i].name, &outlook);

        name = profile[i].name;

        if (name.len <= sizeof("properties.") - 1
            || ngx_strncmp(name.data, "properties.", 11) != 0)
        {
            continue;
        }

        name.data += 11;
        name.len -= 11;

        for (field = ngx_http_klaviyo_field_names; field->name.len; field++) {

            if (ngx_http_klaviyo_names_distance(&field->name, &name) == 0) {
                ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_NAME,
                                           profile[i].value.place,
                                           "\"%V\" is a property of your own, "
                                           "Klaviyo's field is \"%V\"",
                                           &profile[i].name, &field->name);
                break;
            }
        }
    }
}


static void
ngx_http_klaviyo_lint_attributes(ngx_http_klaviyo_lint_t *lint)
{
    ngx_http_klaviyo_rule_t     *rule;
    ngx_http_klaviyo_outlook_t   outlook;

    rule = lint->rule;

    if (rule->value) {
        ngx_http_klaviyo_lint_value(lint, rule->value, "value", NULL,
                                    &outlook);

        if (outlook.types
            && !(outlook.types & (NGX_HTTP_KLAVIYO_MAY_STRING
                                  |NGX_HTTP_KLAVIYO_MAY_NUMBER)))
        {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       rule->value->place,
                                       "\"value\" is never a number");
        }
    }

    if (rule->currency) {
        ngx_http_klaviyo_lint_value(lint, rule->currency, "currency", NULL,
                                    &outlook);
    }

    if (rule->time) {
        ngx_http_klaviyo_lint_value(lint, rule->time, "time", NULL, &outlook);
    }

    if (rule->unique_id == NULL) {
        return;
    }

    ngx_http_klaviyo_lint_value(lint, rule->unique_id, "unique_id", NULL,
                                &outlook);

    if (outlook.constant && outlook.types) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                   rule->unique_id->place,
                                   "\"unique_id\" is the same for all events, "
                                   "Klaviyo keeps the first of each profile");

    } else if (rule->each.nelts && outlook.types
               && !rule->unique_id->frames && !rule->unique_id->each)
    {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                   rule->unique_id->place,
                                   "\"unique_id\" is the same for all elements "
                                   "of \"each\", Klaviyo keeps the first");
    }
}


/* What no visitor can say no to is no consent. */

static void
ngx_http_klaviyo_lint_subscribe(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_outlook_t     outlook;
    ngx_http_klaviyo_condition_t  *c;
    ngx_http_klaviyo_subscribe_t  *subscribe;

    subscribe = lint->rule->subscribe;

    if (subscribe == NULL) {
        return;
    }

    ngx_http_klaviyo_lint_conditions(lint, &subscribe->consent, "consent");
    ngx_http_klaviyo_lint_watch(lint, &subscribe->consent);

    c = subscribe->consent.elts;

    for (i = 0; i < subscribe->consent.nelts; i++) {

        ngx_http_klaviyo_outlook(&lint->prospect, &c[i].value, &outlook);

        if (outlook.constant && outlook.types
            && ngx_http_klaviyo_condition_judge(&c[i], &outlook.data)
               == NGX_OK)
        {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       c[i].value.place,
                                       "the condition on \"%V\" in "
                                       "\"consent\" always holds, nobody is "
                                       "asked", &c[i].value.place->text);
        }
    }

    if (subscribe->consented_at) {
        ngx_http_klaviyo_lint_value(lint, subscribe->consented_at,
                                    "consented_at", NULL, &outlook);
    }
}


/* "name" is what stands behind the directive, or NULL. */

static void
ngx_http_klaviyo_lint_value(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, const char *directive, ngx_str_t *name,
    ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_http_klaviyo_outlook(&lint->prospect, value, outlook);
    ngx_http_klaviyo_lint_present(lint, value, directive, name, outlook);
}


static void
ngx_http_klaviyo_lint_present(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, const char *directive, ngx_str_t *name,
    ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_uint_t                i, n;
    ngx_http_klaviyo_step_t  *step;

    if (outlook->types == 0 && lint->prospect.reason.len) {

        if (name) {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       value->place,
                                       "%s \"%V\" is never present, %V",
                                       directive, name,
                                       &lint->prospect.reason);

        } else {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       value->place,
                                       "\"%s\" is never present, %V",
                                       directive, &lint->prospect.reason);
        }
    }

    ngx_http_klaviyo_lint_term(lint, value, &value->term);

    if (value->steps == NULL) {
        return;
    }

    step = value->steps->elts;

    for (i = 0; i < value->steps->nelts; i++) {
        for (n = 0; n < step[i].nargs; n++) {
            if (step[i].terms[n]) {
                ngx_http_klaviyo_lint_term(lint, value, step[i].terms[n]);
            }
        }
    }
}


static void
ngx_http_klaviyo_lint_term(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term)
{
    if (term->type == NGX_HTTP_KLAVIYO_TERM_NAME) {
        lint->used[term->n] = 1;

    } else if (term->parts) {
        ngx_http_klaviyo_lint_parts(lint, value, term->parts);
    }
}


/* "$arg_a[0]", "$http_x-shop": the variable's name ends before. */

static void
ngx_http_klaviyo_lint_parts(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_value_t *value, ngx_array_t *parts)
{
    u_char                    c;
    ngx_str_t                *name, *rest;
    ngx_uint_t                i;
    ngx_http_klaviyo_part_t  *part;

    part = parts->elts;

    for (i = 0; i + 1 < parts->nelts; i++) {

        if (part[i].index == NGX_ERROR || part[i + 1].index != NGX_ERROR) {
            continue;
        }

        name = &part[i].text;
        rest = &part[i + 1].text;
        c = (rest->len > 1) ? rest->data[1] | 0x20 : '\0';

        if (part[i].decode && rest->len && rest->data[0] == '[') {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       value->place,
                                       "\"$%V\" ends before \"%V\", write "
                                       "\"@args\" and a path", name, rest);

        } else if (rest->len && rest->data[0] == '-' && c >= 'a' && c <= 'z'
                   && ((name->len > 5
                        && ngx_strncasecmp(name->data, (u_char *) "http_", 5)
                           == 0)
                       || (name->len > 10
                           && ngx_strncasecmp(name->data,
                                              (u_char *) "sent_http_", 10)
                              == 0)))
        {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       value->place,
                                       "\"$%V\" ends before \"%V\", a \"-\" of "
                                       "a header's name is written \"_\"",
                                       name, rest);
        }
    }
}


/* The terms of conditions, whose values are looked at elsewhere. */

static void
ngx_http_klaviyo_lint_watch(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *conditions)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_outlook_t     outlook;
    ngx_http_klaviyo_condition_t  *c;

    c = conditions->elts;

    ngx_memzero(&outlook, sizeof(ngx_http_klaviyo_outlook_t));

    outlook.types = NGX_HTTP_KLAVIYO_MAY_ANY;

    for (i = 0; i < conditions->nelts; i++) {

        if (c[i].any) {
            ngx_http_klaviyo_lint_watch(lint, c[i].any);
            continue;
        }

        ngx_http_klaviyo_lint_present(lint, &c[i].value, "when", NULL,
                                      &outlook);
    }
}


static void
ngx_http_klaviyo_lint_unused(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_name_t  *name;

    name = lint->rule->names.elts;

    for (i = 0; i < lint->rule->names.nelts; i++) {

        if (name[i].value && !lint->used[i]) {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_VALUE,
                                       name[i].value->place,
                                       "let \"%V\" is never used",
                                       &name[i].name);
        }
    }
}


void
ngx_http_klaviyo_lint_warn(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_lint_e kind, ngx_http_klaviyo_place_t *place,
    const char *fmt, ...)
{
    u_char                      *p, buf[NGX_HTTP_KLAVIYO_LINT_TEXT];
    va_list                      args;
    ngx_uint_t                   rank;
    ngx_http_klaviyo_warning_t  *warning;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + NGX_HTTP_KLAVIYO_LINT_TEXT, fmt, args);
    va_end(args);

    rank = ngx_http_klaviyo_lint_rank(lint, &place->file);

    warning = ngx_array_push(&lint->warnings);
    if (warning == NULL) {
        return;
    }

    warning->kind = kind;
    warning->file = place->file;
    warning->line = place->line;
    warning->rank = rank;
    warning->number = lint->warnings.nelts;
    warning->text.len = p - buf;
    warning->text.data = ngx_pnalloc(lint->cf->temp_pool, warning->text.len);

    if (warning->text.data == NULL) {
        lint->warnings.nelts--;
        return;
    }

    ngx_memcpy(warning->text.data, buf, warning->text.len);
}


/* Files come in the order of their first warning. */

static ngx_uint_t
ngx_http_klaviyo_lint_rank(ngx_http_klaviyo_lint_t *lint, ngx_str_t *file)
{
    ngx_uint_t                   i, rank;
    ngx_http_klaviyo_warning_t  *warning;

    warning = lint->warnings.elts;
    rank = 0;

    /* most often that of the last one */

    for (i = lint->warnings.nelts; i > 0; i--) {

        if (warning[i - 1].file.len == file->len
            && ngx_strncmp(warning[i - 1].file.data, file->data, file->len)
               == 0)
        {
            return warning[i - 1].rank;
        }

        rank = ngx_max(rank, warning[i - 1].rank + 1);
    }

    return rank;
}


static void
ngx_http_klaviyo_lint_print(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                   i, n[NGX_HTTP_KLAVIYO_LINT_KINDS];
    ngx_http_klaviyo_warning_t  *warning;

    ngx_memzero(n, sizeof(n));

    warning = lint->warnings.elts;

    ngx_qsort(warning, lint->warnings.nelts,
              sizeof(ngx_http_klaviyo_warning_t),
              ngx_http_klaviyo_lint_compare);

    for (i = 0; i < lint->warnings.nelts; i++) {

        if (ngx_http_klaviyo_lint_repeats(warning, &warning[i])
            || n[warning[i].kind]++ >= NGX_HTTP_KLAVIYO_LINT_LINES)
        {
            continue;
        }

        ngx_log_error(NGX_LOG_WARN, lint->cf->log, 0, "%V in %V:%ui",
                      &warning[i].text, &warning[i].file, warning[i].line);
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_LINT_KINDS; i++) {

        if (n[i] > NGX_HTTP_KLAVIYO_LINT_LINES) {
            ngx_log_error(NGX_LOG_WARN, lint->cf->log, 0,
                          "%ui more warnings about %s",
                          n[i] - NGX_HTTP_KLAVIYO_LINT_LINES,
                          ngx_http_klaviyo_lint_kinds[i]);
        }
    }
}


/* A file that is included twice, or a level that inherits: told once. */

static ngx_uint_t
ngx_http_klaviyo_lint_repeats(ngx_http_klaviyo_warning_t *first,
    ngx_http_klaviyo_warning_t *warning)
{
    return warning > first
           && warning[-1].rank == warning->rank
           && warning[-1].line == warning->line
           && warning[-1].text.len == warning->text.len
           && ngx_memcmp(warning[-1].text.data, warning->text.data,
                         warning->text.len)
              == 0;
}


/* by place; the same words together, since they are told once */

static int ngx_libc_cdecl
ngx_http_klaviyo_lint_compare(const void *one, const void *two)
{
    ngx_int_t                          rc;
    const ngx_http_klaviyo_warning_t  *first, *second;

    first = one;
    second = two;

    if (first->rank != second->rank) {
        return (first->rank < second->rank) ? -1 : 1;
    }

    if (first->line != second->line) {
        return (first->line < second->line) ? -1 : 1;
    }

    rc = ngx_memn2cmp(first->text.data, second->text.data, first->text.len,
                      second->text.len);

    if (rc == 0) {
        rc = (first->number < second->number) ? -1 : 1;
    }

    return (int) rc;
}
