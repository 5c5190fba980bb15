
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Reads klaviyo_track METRIC [METHOD...] [PATTERN] { ... } when the
 * configuration is read, and the rules that make no events.
 */


#include "ngx_http_klaviyo_rule.h"
#include "ngx_http_klaviyo_block.h"
#include "ngx_http_klaviyo_identify.h"
#include "ngx_http_klaviyo_noise.h"


/* seconds that klaviyo_remember does */
#define NGX_HTTP_KLAVIYO_RULE_TTL        (24 * 3600)

/* characters, as in klaviyo_account */
#define NGX_HTTP_KLAVIYO_MAX_SERVICE     64


/* what is known while a rule is read; nested blocks have a copy */
typedef struct {
    ngx_conf_t                          *cf;       /* of this directive */
    ngx_conf_t                          *http;     /* of klaviyo_track */
    ngx_http_klaviyo_rule_t             *rule;
    ngx_array_t                         *references;
    ngx_array_t                         *frames;   /* _check_t */
    ngx_array_t                         *nodes;    /* where property adds */
    ngx_array_t                         *any;      /* where when adds */
    ngx_uint_t                           nest;     /* items around */
    ngx_http_klaviyo_pick_t             *elements[2];  /* of the inner two */
} ngx_http_klaviyo_reader_t;


/* a value that stands in elements: are there as many, once all is read? */
typedef struct {
    ngx_uint_t                           frames;
    ngx_str_t                            element;
    ngx_str_t                            file;
    ngx_uint_t                           line;
} ngx_http_klaviyo_check_t;


typedef char *(*ngx_http_klaviyo_directive_pt)(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);

typedef struct {
    ngx_str_t                            name;
    ngx_http_klaviyo_directive_pt        handler;
    ngx_uint_t                           offset;   /* in the rule */
} ngx_http_klaviyo_directive_t;


static ngx_http_klaviyo_rule_t *ngx_http_klaviyo_rule_create(ngx_conf_t *cf,
    ngx_http_klaviyo_lane_e lane);
static ngx_int_t ngx_http_klaviyo_rule_metric(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_str_t *metric);
static ngx_int_t ngx_http_klaviyo_rule_finish(
    ngx_http_klaviyo_reader_t *reader);
static ngx_int_t ngx_http_klaviyo_rule_text(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_str_t *token, ngx_str_t *last);
static void ngx_http_klaviyo_rule_compile(ngx_conf_t *cf,
    ngx_http_klaviyo_reader_t *reader, ngx_http_klaviyo_compile_t *compile,
    ngx_conf_t *http);
static ngx_int_t ngx_http_klaviyo_rule_frames(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_http_klaviyo_value_t *value);
static ngx_int_t ngx_http_klaviyo_route_add(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_uint_t methods, ngx_str_t *token,
    ngx_str_t *last);
static ngx_int_t ngx_http_klaviyo_route_methods(ngx_conf_t *cf,
    ngx_str_t **token, ngx_str_t *last, ngx_uint_t *methods);
static ngx_int_t ngx_http_klaviyo_route_pattern(ngx_conf_t *cf,
    ngx_http_klaviyo_route_t *route, ngx_str_t *token, ngx_str_t *last);
static ngx_int_t ngx_http_klaviyo_route_captures(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_route_t *route);
static ngx_int_t ngx_http_klaviyo_route_capture(ngx_conf_t *cf,
    ngx_http_klaviyo_capture_t *capture, ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_capture_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_klaviyo_rule_name(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_str_t *name, ngx_http_klaviyo_name_t **found);
static ngx_uint_t ngx_http_klaviyo_rule_is_name(ngx_str_t *name);

static char *ngx_http_klaviyo_rule_route(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_when(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_any(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_let(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_profile(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_property(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_object(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_items(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_nodes(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_http_klaviyo_node_t *node);
static ngx_int_t ngx_http_klaviyo_rule_nest(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_http_klaviyo_value_t *value);
static ngx_uint_t ngx_http_klaviyo_nodes_status(ngx_array_t *nodes);
static char *ngx_http_klaviyo_rule_each(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_once(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_ttl(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_attribute(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_service(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_backfill(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_account(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_ignore(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_list(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_channels(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_source(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_consent(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);
static char *ngx_http_klaviyo_rule_consented_at(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_reader_t *reader,
    ngx_uint_t offset);


static ngx_http_klaviyo_directive_t  ngx_http_klaviyo_directives[] = {

    { ngx_string("route"), ngx_http_klaviyo_rule_route, 0 },
    { ngx_string("when"), ngx_http_klaviyo_rule_when, 0 },
    { ngx_string("any"), ngx_http_klaviyo_rule_any, 0 },
    { ngx_string("let"), ngx_http_klaviyo_rule_let, 0 },
    { ngx_string("profile"), ngx_http_klaviyo_rule_profile, 0 },
    { ngx_string("property"), ngx_http_klaviyo_rule_property, 0 },
    { ngx_string("object"), ngx_http_klaviyo_rule_object, 0 },
    { ngx_string("items"), ngx_http_klaviyo_rule_items, 0 },
    { ngx_string("each"), ngx_http_klaviyo_rule_each, 0 },
    { ngx_string("once"), ngx_http_klaviyo_rule_once, 0 },
    { ngx_string("value"), ngx_http_klaviyo_rule_attribute,
      offsetof(ngx_http_klaviyo_rule_t, value) },
    { ngx_string("currency"), ngx_http_klaviyo_rule_attribute,
      offsetof(ngx_http_klaviyo_rule_t, currency) },
    { ngx_string("time"), ngx_http_klaviyo_rule_attribute,
      offsetof(ngx_http_klaviyo_rule_t, time) },
    { ngx_string("unique_id"), ngx_http_klaviyo_rule_attribute,
      offsetof(ngx_http_klaviyo_rule_t, unique_id) },
    { ngx_string("service"), ngx_http_klaviyo_rule_service, 0 },
    { ngx_string("backfill"), ngx_http_klaviyo_rule_backfill, 0 },
    { ngx_string("account"), ngx_http_klaviyo_rule_account, 0 },
    { ngx_string("ignore"), ngx_http_klaviyo_rule_ignore, 0 },
    { ngx_string("list"), ngx_http_klaviyo_rule_list, 0 },
    { ngx_string("channels"), ngx_http_klaviyo_rule_channels, 0 },
    { ngx_string("source"), ngx_http_klaviyo_rule_source, 0 },
    { ngx_string("consent"), ngx_http_klaviyo_rule_consent, 0 },
    { ngx_string("consented_at"), ngx_http_klaviyo_rule_consented_at, 0 },

    { ngx_string("key"), ngx_http_klaviyo_rule_attribute,
      offsetof(ngx_http_klaviyo_rule_t, key) },
    { ngx_string("ttl"), ngx_http_klaviyo_rule_ttl, 0 },

    { ngx_null_string, NULL, 0 }
};


static ngx_conf_bitmask_t  ngx_http_klaviyo_methods[] = {
    { ngx_string("GET"), NGX_HTTP_GET },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_string("PUT"), NGX_HTTP_PUT },
    { ngx_string("PATCH"), NGX_HTTP_PATCH },
    { ngx_string("DELETE"), NGX_HTTP_DELETE },
    { ngx_null_string, 0 }
};


static ngx_conf_bitmask_t  ngx_http_klaviyo_ignores[] = {
    { ngx_string("off"), 0 },
    { ngx_string("prefetch"), NGX_HTTP_KLAVIYO_IGNORE_PREFETCH },
    { ngx_string("bots"), NGX_HTTP_KLAVIYO_IGNORE_BOTS },
    { ngx_string("optout"), NGX_HTTP_KLAVIYO_IGNORE_OPTOUT },
    { ngx_string("gpc"), NGX_HTTP_KLAVIYO_IGNORE_GPC },
    { ngx_string("dnt"), NGX_HTTP_KLAVIYO_IGNORE_DNT },
    { ngx_null_string, 0 }
};


/* the context of a rule's block, by lane; behind them klaviyo_remember */
static ngx_uint_t  ngx_http_klaviyo_rule_blocks[] = {
    NGX_HTTP_KLAVIYO_RULE_CONF,
    NGX_HTTP_KLAVIYO_IDENTIFY_CONF,
    NGX_HTTP_KLAVIYO_SUBSCRIBE_CONF,
    NGX_HTTP_KLAVIYO_REMEMBER_CONF
};


/* not names of a let: documents, of this version or of later ones */
static ngx_str_t  ngx_http_klaviyo_reserved[] = {
    ngx_string("args"), ngx_string("cookies"), ngx_string("request"),
    ngx_string("response"), ngx_string("graphql"), ngx_string("jsonld"),
    ngx_null_string
};


ngx_http_klaviyo_rule_t *
ngx_http_klaviyo_rule_block(ngx_conf_t *cf, ngx_http_klaviyo_lane_e lane,
    ngx_array_t *references)
{
    ngx_str_t                  *token, *last;
    ngx_uint_t                  methods;
    ngx_array_t                *args, frames;
    ngx_conf_t                  http;
    ngx_http_klaviyo_rule_t    *rule;
    ngx_http_klaviyo_reader_t   reader;

    args = ngx_http_klaviyo_block_args(cf);
    rule = ngx_http_klaviyo_rule_create(cf, lane);

    if (args == NULL || rule == NULL
        || ngx_array_init(&frames, cf->pool, 4,
                          sizeof(ngx_http_klaviyo_check_t))
           != NGX_OK)
    {
        return NULL;
    }

    token = args->elts;
    last = token + args->nelts;

    rule->metric = *token++;

    if ((lane == NGX_HTTP_KLAVIYO_EVENTS || rule->remember)
        && ngx_http_klaviyo_rule_metric(cf, rule, token++) != NGX_OK)
    {
        return NULL;
    }

    if (ngx_http_klaviyo_rule_text(cf, rule, token, last) != NGX_OK
        || ngx_http_klaviyo_route_methods(cf, &token, last, &methods)
           != NGX_OK
        || ngx_http_klaviyo_route_add(cf, rule, methods, token, last)
           != NGX_OK)
    {
        return NULL;
    }

    http = *cf;

    ngx_memzero(&reader, sizeof(ngx_http_klaviyo_reader_t));

    reader.http = &http;
    reader.rule = rule;
    reader.references = references;
    reader.frames = &frames;
    reader.nodes = &rule->nodes;
    reader.any = &rule->conditions;

    if (ngx_http_klaviyo_block(cf, ngx_http_klaviyo_rule_blocks[lane],
                               &reader)
        != NGX_CONF_OK)
    {
        return NULL;
    }

    if (ngx_http_klaviyo_rule_finish(&reader) != NGX_OK
        || ngx_http_klaviyo_identify_finish(cf, rule) != NGX_OK)
    {
        return NULL;
    }

    return rule;
}


static ngx_http_klaviyo_rule_t *
ngx_http_klaviyo_rule_create(ngx_conf_t *cf, ngx_http_klaviyo_lane_e lane)
{
    ngx_http_klaviyo_rule_t  *rule;

    rule = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_rule_t));
    if (rule == NULL) {
        return NULL;
    }

    if (ngx_array_init(&rule->routes, cf->pool, 1,
                       sizeof(ngx_http_klaviyo_route_t)) != NGX_OK
        || ngx_array_init(&rule->captures, cf->pool, 1,
                          sizeof(ngx_http_klaviyo_capture_t)) != NGX_OK
        || ngx_array_init(&rule->conditions, cf->pool, 1,
                          sizeof(ngx_http_klaviyo_condition_t)) != NGX_OK
        || ngx_array_init(&rule->names, cf->pool, 1,
                          sizeof(ngx_http_klaviyo_name_t)) != NGX_OK
        || ngx_array_init(&rule->nodes, cf->pool, 4,
                          sizeof(ngx_http_klaviyo_node_t)) != NGX_OK
        || ngx_array_init(&rule->profile, cf->pool, 1,
                          sizeof(ngx_http_klaviyo_profile_t)) != NGX_OK
        || ngx_array_init(&rule->each, cf->pool, 1,
                          sizeof(ngx_http_klaviyo_value_t)) != NGX_OK)
    {
        return NULL;
    }

    if (lane == NGX_HTTP_KLAVIYO_LANES) {
        rule->remember = 1;

    } else {
        rule->lane = lane;
    }

    if (lane == NGX_HTTP_KLAVIYO_SUBSCRIPTIONS) {
        rule->subscribe = ngx_http_klaviyo_subscribe_create(cf->pool);
        if (rule->subscribe == NULL) {
            return NULL;
        }
    }

    rule->backfill = NGX_CONF_UNSET_UINT;
    rule->ignore = NGX_CONF_UNSET_UINT;
    rule->file = cf->conf_file->file.name;
    rule->line = cf->conf_file->line;

    return rule;
}


static ngx_int_t
ngx_http_klaviyo_rule_metric(ngx_conf_t *cf, ngx_http_klaviyo_rule_t *rule,
    ngx_str_t *metric)
{
    size_t  n;

    n = ngx_http_klaviyo_utf8_length(metric);

    if (n == 0 || n > NGX_HTTP_KLAVIYO_MAX_METRIC) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid metric \"%V\", it must have 1 to %d "
                           "characters of UTF-8 and no control characters",
                           metric, NGX_HTTP_KLAVIYO_MAX_METRIC);
        return NGX_ERROR;
    }

    if (ngx_strlchr(metric->data, metric->data + metric->len, '$')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid metric \"%V\", it must be a constant: "
                           "visitors could create metrics else", metric);
        return NGX_ERROR;
    }

    if (rule->remember && !ngx_http_klaviyo_rule_is_name(metric)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\", it must be letters, digits "
                           "and \"_\", and not the name of a document",
                           metric);
        return NGX_ERROR;
    }

    rule->metric = *metric;

    return NGX_OK;
}


/* When all of the rule is known. */

static ngx_int_t
ngx_http_klaviyo_rule_finish(ngx_http_klaviyo_reader_t *reader)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_rule_t   *rule;
    ngx_http_klaviyo_check_t  *check;
    ngx_http_klaviyo_route_t  *route;

    rule = reader->rule;

    if (rule->remember && (rule->key == NULL || rule->nodes.nelts == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, reader->http, 0,
                           "no \"%s\" in \"klaviyo_remember %V\"",
                           rule->key ? "property" : "key", &rule->metric);
        return NGX_ERROR;
    }

    if (rule->ttl == 0) {
        rule->ttl = NGX_HTTP_KLAVIYO_RULE_TTL;
    }

    check = reader->frames->elts;

    for (i = 0; i < reader->frames->nelts; i++) {

        if (check[i].frames <= rule->each.nelts) {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, reader->http->log, 0,
                      "no element for \"%V\" in %V:%ui, it is of an "
                      "element of \"each\" or \"items\" around; a text "
                      "begins with \"\\.\"", &check[i].element,
                      &check[i].file, check[i].line);
        return NGX_ERROR;
    }

    route = rule->routes.elts;

    if (rule->routes.nelts > 1 && route[0].type == NGX_HTTP_KLAVIYO_ROUTE_ANY)
    {
        /* without a pattern of its own, the routes are the only ways in */

        route[0].methods = 0;
    }

    for (i = 0; i < rule->routes.nelts; i++) {
        route[i].rule = rule;
        route[i].number = i;
    }

    rule->answer = (rule->unique_id
                    && (rule->unique_id->answer || rule->unique_id->each
                        || rule->unique_id->frames));

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_rule_routes(ngx_array_t *rules, ngx_array_t *routes)
{
    ngx_uint_t                  i, n;
    ngx_http_klaviyo_rule_t   **rule;
    ngx_http_klaviyo_route_t   *own, **route;

    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {
        own = rule[i]->routes.elts;

        for (n = 0; n < rule[i]->routes.nelts; n++) {

            if (own[n].methods == 0) {
                continue;
            }

            route = ngx_array_push(routes);
            if (route == NULL) {
                return NGX_ERROR;
            }

            *route = &own[n];
        }
    }

    return NGX_OK;
}


/* The routes for people: "GET ~^/p/(?<id>\d+)$ | POST =/cart". */

static ngx_int_t
ngx_http_klaviyo_rule_text(ngx_conf_t *cf, ngx_http_klaviyo_rule_t *rule,
    ngx_str_t *token, ngx_str_t *last)
{
    u_char     *p;
    size_t      len;
    ngx_str_t  *t, text;

    text = rule->text;
    len = text.len + 3;

    for (t = token; t < last; t++) {
        len += t->len + 1;
    }

    rule->text.data = ngx_pnalloc(cf->pool, len);
    if (rule->text.data == NULL) {
        return NGX_ERROR;
    }

    p = rule->text.data;

    if (text.len) {
        p = ngx_cpymem(p, text.data, text.len);
        p = ngx_cpymem(p, " | ", 3);
    }

    for (t = token; t < last; t++) {

        if (t > token) {
            *p++ = ' ';
        }

        p = ngx_cpymem(p, t->data, t->len);
    }

    rule->text.len = p - rule->text.data;

    return NGX_OK;
}


char *
ngx_http_klaviyo_rule_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_conf_t                     http;
    ngx_http_klaviyo_reader_t     *reader;
    ngx_http_klaviyo_compile_t     compile;
    ngx_http_klaviyo_directive_t  *directive;

    reader = ngx_http_klaviyo_block_data(cf);
    reader->cf = cf;

    ngx_http_klaviyo_rule_compile(cf, reader, &compile, &http);

    for (directive = ngx_http_klaviyo_directives;
         directive->name.len;
         directive++)
    {
        if (directive->name.len == cmd->name.len
            && ngx_strncmp(directive->name.data, cmd->name.data,
                           cmd->name.len)
               == 0)
        {
            return directive->handler(&compile, reader, directive->offset);
        }
    }

    return NGX_CONF_ERROR;
}


/*
 * nginx's functions that find variables look for http's configuration in
 * cf->ctx, where a block of ours has its own.
 */

static void
ngx_http_klaviyo_rule_compile(ngx_conf_t *cf,
    ngx_http_klaviyo_reader_t *reader, ngx_http_klaviyo_compile_t *compile,
    ngx_conf_t *http)
{
    *http = *cf;
    http->ctx = reader->http->ctx;
    http->module_type = reader->http->module_type;
    http->cmd_type = reader->http->cmd_type;

    ngx_memzero(compile, sizeof(ngx_http_klaviyo_compile_t));

    compile->cf = http;
    compile->token = (ngx_str_t *) cf->args->elts + 1;
    compile->last = (ngx_str_t *) cf->args->elts + cf->args->nelts;
    compile->names = &reader->rule->names;
    compile->references = reader->references;
    compile->captures = &reader->rule->captures;
    compile->needs = &reader->rule->needs;
    compile->elements[0] = reader->elements[0];
    compile->elements[1] = reader->elements[1];
}


/* Notes how many elements of each the value needs around it. */

static ngx_int_t
ngx_http_klaviyo_rule_frames(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_http_klaviyo_value_t *value)
{
    ngx_http_klaviyo_check_t  *check;

    if (value->frames <= reader->nest) {
        return NGX_OK;
    }

    check = ngx_array_push(reader->frames);
    if (check == NULL) {
        return NGX_ERROR;
    }

    check->frames = value->frames - reader->nest;
    check->element = compile->element;
    check->file = compile->cf->conf_file->file.name;
    check->line = compile->cf->conf_file->line;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_route_add(ngx_conf_t *cf, ngx_http_klaviyo_rule_t *rule,
    ngx_uint_t methods, ngx_str_t *token, ngx_str_t *last)
{
    ngx_http_klaviyo_route_t  *route;

    route = ngx_array_push(&rule->routes);
    if (route == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(route, sizeof(ngx_http_klaviyo_route_t));

    route->methods = methods;
    route->number = rule->routes.nelts - 1;
    route->place = ngx_http_klaviyo_place(cf, token, last);

    if (route->place == NULL) {
        return NGX_ERROR;
    }

    if (token == last) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_route_pattern(cf, route, token, last) == NGX_OK
           ? ngx_http_klaviyo_route_captures(cf, rule, route) : NGX_ERROR;
}


static ngx_int_t
ngx_http_klaviyo_route_methods(ngx_conf_t *cf, ngx_str_t **token,
    ngx_str_t *last, ngx_uint_t *methods)
{
    u_char               c;
    ngx_str_t           *t;
    ngx_conf_bitmask_t  *m;

    *methods = 0;

    for (t = *token; t < last; t++) {

        c = t->len ? t->data[0] : '\0';

        if (c == '/' || c == '=' || c == '~') {
            break;
        }

        for (m = ngx_http_klaviyo_methods; m->name.len; m++) {

            if (m->name.len == t->len
                && ngx_strncmp(m->name.data, t->data, t->len) == 0)
            {
                break;
            }
        }

        if (m->name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid method or pattern \"%V\", methods are "
                               "GET, POST, PUT, PATCH and DELETE, patterns "
                               "begin with \"/\", \"=\", \"~\" or \"~*\"", t);
            return NGX_ERROR;
        }

        *methods |= m->mask;
    }

    if (*methods == 0) {
        *methods = NGX_HTTP_GET|NGX_HTTP_POST;
    }

    *token = t;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_route_pattern(ngx_conf_t *cf, ngx_http_klaviyo_route_t *route,
    ngx_str_t *token, ngx_str_t *last)
{
    u_char      buf[256];
    ngx_str_t   err, path, written;
    ngx_uint_t  flags, n;

    written = *token;
    path = *token;
    flags = 0;
    n = 0;

    if (path.data[0] == '=') {
        route->type = NGX_HTTP_KLAVIYO_ROUTE_EXACT;
        n = 1;

    } else if (path.data[0] == '~') {
        route->type = NGX_HTTP_KLAVIYO_ROUTE_REGEX;
        n = 1;

        if (path.len > 1 && path.data[1] == '*') {
            route->type = NGX_HTTP_KLAVIYO_ROUTE_REGEX_NOCASE;
            flags = NGX_HTTP_KLAVIYO_REGEX_CASELESS;
            n = 2;
        }

    } else {
        route->type = NGX_HTTP_KLAVIYO_ROUTE_PREFIX;
    }

    path.data += n;
    path.len -= n;

    if (n && path.len == 0 && token + 1 < last) {
        path = *++token;
        written = path;
    }

    if (path.len == 0 || token + 1 != last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid pattern \"%V\", one path or regex must "
                           "end the line, quoted if it has blanks", &written);
        return NGX_ERROR;
    }

    route->path = path;

    if (route->type == NGX_HTTP_KLAVIYO_ROUTE_EXACT
        || route->type == NGX_HTTP_KLAVIYO_ROUTE_PREFIX)
    {
        if (path.data[0] != '/') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid pattern \"%V\", a path begins with "
                               "\"/\"", &written);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    err.data = buf;
    err.len = sizeof(buf);

    route->regex = ngx_http_klaviyo_regex_compile(cf->pool, &path, flags,
                                                  &err);
    if (route->regex == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid pattern \"%V\": %V",
                           &written, &err);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Each named group is a variable. */

static ngx_int_t
ngx_http_klaviyo_route_captures(ngx_conf_t *cf, ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_route_t *route)
{
    ngx_uint_t                   i;
    ngx_array_t                 *names;
    ngx_http_klaviyo_group_t    *group;
    ngx_http_klaviyo_capture_t  *capture;

    if (route->regex == NULL) {
        return NGX_OK;
    }

    names = ngx_http_klaviyo_regex_names(route->regex, cf->pool);
    if (names == NULL) {
        return NGX_ERROR;
    }

    group = names->elts;

    for (i = 0; i < names->nelts; i++) {

        capture = ngx_array_push(&rule->captures);
        if (capture == NULL) {
            return NGX_ERROR;
        }

        capture->group = group[i].group;
        capture->route = route->number;

        if (ngx_http_klaviyo_route_capture(cf, capture, &group[i].name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* A group "arg_id" would hide the visitor's argument, in access_log too. */

static ngx_int_t
ngx_http_klaviyo_route_capture(ngx_conf_t *cf,
    ngx_http_klaviyo_capture_t *capture, ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {

        if (name->len >= v[i].name.len
            && ngx_strncasecmp(name->data, v[i].name.data, v[i].name.len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid name \"%V\" of a group, variables "
                               "\"$%V...\" are nginx's", name, &v[i].name);
            return NGX_ERROR;
        }
    }

    capture->variable = ngx_http_add_variable(cf, name,
                                              NGX_HTTP_VAR_CHANGEABLE);
    if (capture->variable == NULL) {
        return NGX_ERROR;
    }

    capture->index = ngx_http_get_variable_index(cf, name);

    return (capture->index == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


void
ngx_http_klaviyo_rule_captures(ngx_http_klaviyo_rule_t *rule)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_capture_t  *capture;

    capture = rule->captures.elts;

    for (i = 0; i < rule->captures.nelts; i++) {
        if (capture[i].variable->get_handler == NULL) {
            capture[i].variable->get_handler
                                        = ngx_http_klaviyo_capture_variable;
        }
    }
}


static ngx_int_t
ngx_http_klaviyo_capture_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    v->not_found = 1;

    return NGX_OK;
}


static char *
ngx_http_klaviyo_rule_route(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_str_t                 *token;
    ngx_uint_t                 methods;
    ngx_http_klaviyo_rule_t   *rule;
    ngx_http_klaviyo_route_t  *route;

    rule = reader->rule;
    token = compile->token;

    if (ngx_http_klaviyo_route_methods(compile->cf, &token, compile->last,
                                       &methods)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (token == compile->last) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "no pattern in \"route\"");
        return NGX_CONF_ERROR;
    }

    if (token == compile->token) {
        route = rule->routes.elts;
        methods = route[0].methods;
    }

    if (ngx_http_klaviyo_route_add(compile->cf, rule, methods, token,
                                   compile->last)
        != NGX_OK
        || ngx_http_klaviyo_rule_text(compile->cf, rule, compile->token,
                                      compile->last)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_when(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_condition_t  *c;

    c = ngx_array_push(reader->any);
    if (c == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_klaviyo_condition_compile(compile, c) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, &c->value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    reader->rule->status |= c->value.status;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_any(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_uint_t                     i;
    ngx_array_t                   *any;
    ngx_http_klaviyo_reader_t      nested;
    ngx_http_klaviyo_condition_t  *c, *conditions;

    any = ngx_array_create(compile->cf->pool, 2,
                           sizeof(ngx_http_klaviyo_condition_t));
    if (any == NULL) {
        return NGX_CONF_ERROR;
    }

    nested = *reader;
    nested.any = any;

    if (ngx_http_klaviyo_block(reader->cf, NGX_HTTP_KLAVIYO_ANY_CONF, &nested)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (any->nelts == 0) {
        return "is empty";
    }

    c = ngx_array_push(reader->any);
    if (c == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(c, sizeof(ngx_http_klaviyo_condition_t));

    c->any = any;
    conditions = any->elts;

    for (i = 0; i < any->nelts; i++) {
        c->stage = ngx_max(c->stage, conditions[i].stage);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_let(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_name_t   *name;
    ngx_http_klaviyo_value_t  *value;

    text = compile->token++;

    if (!ngx_http_klaviyo_rule_is_name(text)) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid name \"%V\", it must be letters, digits "
                           "and \"_\", and not the name of a document", text);
        return NGX_CONF_ERROR;
    }

    value = ngx_palloc(compile->cf->pool, sizeof(ngx_http_klaviyo_value_t));
    if (value == NULL) {
        return NGX_CONF_ERROR;
    }

    compile->parts = 1;

    if (ngx_http_klaviyo_value_compile(compile, value) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, value) != NGX_OK
        || ngx_http_klaviyo_rule_name(compile, reader, text, &name) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    name->value = value;
    name->each = (value->frames || value->each);
    name->status = value->status;
    name->body = value->body;
    name->answer = value->answer;
    name->late = value->late;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_rule_name(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_str_t *name,
    ngx_http_klaviyo_name_t **found)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_name_t  *names;

    names = reader->rule->names.elts;

    for (i = 0; i < reader->rule->names.nelts; i++) {

        if (names[i].name.len == name->len
            && ngx_strncmp(names[i].name.data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "duplicate name \"%V\"", name);
            return NGX_ERROR;
        }
    }

    names = ngx_array_push(&reader->rule->names);
    if (names == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(names, sizeof(ngx_http_klaviyo_name_t));

    names->name = *name;
    *found = names;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_rule_is_name(ngx_str_t *name)
{
    u_char      c;
    ngx_str_t  *reserved;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
              || (c >= '0' && c <= '9')))
        {
            return 0;
        }
    }

    for (reserved = ngx_http_klaviyo_reserved; reserved->len; reserved++) {

        if (name->len == reserved->len
            && ngx_strncmp(name->data, reserved->data, name->len) == 0)
        {
            return 0;
        }
    }

    return name->len != 0;
}


static char *
ngx_http_klaviyo_rule_profile(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_profile_t  *profile;

    profile = ngx_http_klaviyo_profile_add(compile, &reader->rule->profile);

    if (profile == NULL
        || ngx_http_klaviyo_identify_field(compile->cf, reader->rule, profile)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_klaviyo_rule_frames(compile, reader, &profile->value)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


ngx_http_klaviyo_profile_t *
ngx_http_klaviyo_profile_add(ngx_http_klaviyo_compile_t *compile,
    ngx_array_t *profiles)
{
    ngx_str_t                   *name;
    ngx_uint_t                   i;
    ngx_http_klaviyo_profile_t  *profile;

    name = compile->token++;
    profile = profiles->elts;

    for (i = 0; i < profiles->nelts; i++) {

        if (profile[i].name.len == name->len
            && ngx_strncmp(profile[i].name.data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "duplicate field \"%V\"", name);
            return NULL;
        }
    }

    profile = ngx_array_push(profiles);
    if (profile == NULL) {
        return NULL;
    }

    profile->name = *name;

    if (ngx_http_klaviyo_event_field(compile->cf->pool, name, &profile->field,
                                     &profile->key)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid field \"%V\", Klaviyo's profile has "
                           "email, phone_number, id, _kx, external_id, "
                           "anonymous_id, first_name, last_name, "
                           "organization, locale, title, image, location.* "
                           "and properties.*", name);
        return NULL;
    }

    if (ngx_http_klaviyo_value_compile(compile, &profile->value) != NGX_OK) {
        return NULL;
    }

    return profile;
}


ngx_http_klaviyo_node_t *
ngx_http_klaviyo_node_add(ngx_http_klaviyo_compile_t *compile,
    ngx_array_t *nodes)
{
    ngx_str_t                *name;
    ngx_uint_t                i;
    ngx_http_klaviyo_node_t  *node;

    name = compile->token++;
    node = nodes->elts;

    if (ngx_http_klaviyo_utf8_length(name) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid property name \"%V\", it must be UTF-8 "
                           "without control characters", name);
        return NULL;
    }

    if (nodes->nelts == NGX_HTTP_KLAVIYO_MAX_PROPERTIES) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "more than %d properties",
                           NGX_HTTP_KLAVIYO_MAX_PROPERTIES);
        return NULL;
    }

    for (i = 0; i < nodes->nelts; i++) {

        if (node[i].name.len == name->len
            && ngx_strncmp(node[i].name.data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "duplicate property \"%V\"", name);
            return NULL;
        }
    }

    node = ngx_array_push(nodes);
    if (node == NULL) {
        return NULL;
    }

    ngx_memzero(node, sizeof(ngx_http_klaviyo_node_t));

    node->name = *name;
    node->slot = NGX_CONF_UNSET_UINT;
    node->place = ngx_http_klaviyo_place(compile->cf, name, name + 1);

    if (node->place == NULL) {
        return NULL;
    }

    if (ngx_http_klaviyo_event_key(compile->cf->pool, name, &node->key)
        != NGX_OK)
    {
        return NULL;
    }

    return node;
}


static char *
ngx_http_klaviyo_rule_property(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_node_t  *node;

    node = ngx_http_klaviyo_node_add(compile, reader->nodes);

    if (node == NULL
        || ngx_http_klaviyo_value_compile(compile, &node->value) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, &node->value)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_object(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_node_t  *node;

    node = ngx_http_klaviyo_node_add(compile, reader->nodes);
    if (node == NULL) {
        return NGX_CONF_ERROR;
    }

    node->type = NGX_HTTP_KLAVIYO_NODE_OBJECT;

    return ngx_http_klaviyo_rule_nodes(compile, reader, node);
}


static char *
ngx_http_klaviyo_rule_items(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_node_t  *node;

    node = ngx_http_klaviyo_node_add(compile, reader->nodes);

    compile->parts = 1;

    if (node == NULL
        || ngx_http_klaviyo_value_compile(compile, &node->value) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, &node->value)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    node->type = NGX_HTTP_KLAVIYO_NODE_ITEMS;

    return ngx_http_klaviyo_rule_nodes(compile, reader, node);
}


/*
 * Reads the block of object or items; of the rule's own ones the result
 * becomes a name.  That has a copy of the node, since the array that the node
 * stands in may move while it grows.
 */

static char *
ngx_http_klaviyo_rule_nodes(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_http_klaviyo_node_t *node)
{
    ngx_http_klaviyo_name_t    *name;
    ngx_http_klaviyo_reader_t   nested;

    node->nodes = ngx_array_create(compile->cf->pool, 4,
                                   sizeof(ngx_http_klaviyo_node_t));
    if (node->nodes == NULL) {
        return NGX_CONF_ERROR;
    }

    nested = *reader;
    nested.nodes = node->nodes;

    if (node->type == NGX_HTTP_KLAVIYO_NODE_ITEMS
        && ngx_http_klaviyo_rule_nest(compile, &nested, &node->value)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_klaviyo_block(reader->cf, NGX_HTTP_KLAVIYO_OBJECT_CONF,
                               &nested)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (node->nodes->nelts == 0) {
        return "is empty";
    }

    if (reader->nodes != &reader->rule->nodes
        || !ngx_http_klaviyo_rule_is_name(&node->name))
    {
        return NGX_CONF_OK;
    }

    if (ngx_http_klaviyo_rule_name(compile, reader, &node->name, &name)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* what it is made of may differ per element and need the response */

    name->node = ngx_palloc(compile->cf->pool,
                            sizeof(ngx_http_klaviyo_node_t));
    if (name->node == NULL) {
        return NGX_CONF_ERROR;
    }

    name->each = 1;
    name->answer = 1;
    name->status = (node->value.status
                    || ngx_http_klaviyo_nodes_status(node->nodes));

    node->slot = reader->rule->names.nelts - 1;
    *name->node = *node;

    return NGX_CONF_OK;
}


/* of a path with a wildcard, what it selects are the elements already */

static ngx_int_t
ngx_http_klaviyo_rule_nest(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_http_klaviyo_value_t *value)
{
    ngx_http_klaviyo_pick_t  *pick;

    pick = value->term.pick;

    if (pick && !ngx_http_klaviyo_path_plural(value->term.path)) {
        pick = ngx_http_klaviyo_pick_elements(compile->cf->pool, pick, -1);
        if (pick == NULL) {
            return NGX_ERROR;
        }
    }

    reader->nest++;
    reader->elements[1] = reader->elements[0];
    reader->elements[0] = pick;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_nodes_status(ngx_array_t *nodes)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_node_t  *node;

    node = nodes->elts;

    for (i = 0; i < nodes->nelts; i++) {

        if (node[i].value.status
            || (node[i].nodes && ngx_http_klaviyo_nodes_status(node[i].nodes)))
        {
            return 1;
        }
    }

    return 0;
}


static char *
ngx_http_klaviyo_rule_each(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_uint_t                 n;
    ngx_http_klaviyo_value_t  *value;

    n = reader->rule->each.nelts;

    if (n == NGX_HTTP_KLAVIYO_MAX_EACH) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "more than %d \"each\"", NGX_HTTP_KLAVIYO_MAX_EACH);
        return NGX_CONF_ERROR;
    }

    value = ngx_array_push(&reader->rule->each);

    if (value == NULL
        || ngx_http_klaviyo_value_compile(compile, value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (value->frames > n) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "no element for \"%V\", it is of an element of "
                           "\"each\" above; a text begins with \"\\.\"",
                           &compile->element);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* [KEY ...] TIME */

static char *
ngx_http_klaviyo_rule_once(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_str_t                 *time;
    ngx_array_t               *keys;
    ngx_http_klaviyo_value_t  *value;

    if (reader->rule->once) {
        return "is duplicate";
    }

    time = --compile->last;

    reader->rule->once_ttl = ngx_parse_time(time, 1);

    if (reader->rule->once_ttl == (time_t) NGX_ERROR
        || reader->rule->once_ttl == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid time \"%V\" in \"once\", it must stand "
                           "last and be 1s or more", time);
        return NGX_CONF_ERROR;
    }

    keys = ngx_array_create(compile->cf->pool, 1,
                            sizeof(ngx_http_klaviyo_value_t));
    if (keys == NULL) {
        return NGX_CONF_ERROR;
    }

    reader->rule->once = keys;
    compile->several = 1;

    while (compile->token < compile->last) {

        if (keys->nelts == NGX_HTTP_KLAVIYO_MAX_ONCE) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "more than %d keys in \"once\"",
                               NGX_HTTP_KLAVIYO_MAX_ONCE);
            return NGX_CONF_ERROR;
        }

        value = ngx_array_push(keys);

        if (value == NULL
            || ngx_http_klaviyo_value_compile(compile, value) != NGX_OK
            || ngx_http_klaviyo_rule_frames(compile, reader, value) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_ttl(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    if (reader->rule->ttl) {
        return "is duplicate";
    }

    reader->rule->ttl = ngx_parse_time(compile->token, 1);

    if (reader->rule->ttl == (time_t) NGX_ERROR || reader->rule->ttl == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid time \"%V\" in \"ttl\", it must be 1s or "
                           "more", compile->token);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_attribute(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_value_t  **value;

    value = (ngx_http_klaviyo_value_t **) ((char *) reader->rule + offset);

    if (*value) {
        return "is duplicate";
    }

    *value = ngx_palloc(compile->cf->pool, sizeof(ngx_http_klaviyo_value_t));

    if (*value == NULL
        || ngx_http_klaviyo_value_compile(compile, *value) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, *value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_service(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    size_t      len;
    ngx_str_t  *service;

    service = compile->token;

    if (reader->rule->service.len) {
        return "is duplicate";
    }

    len = ngx_http_klaviyo_utf8_length(service);

    if (len == 0 || len > NGX_HTTP_KLAVIYO_MAX_SERVICE
        || ngx_strlchr(service->data, service->data + service->len, '$'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid service \"%V\", it must be a text of 1 to "
                           "%d characters without variables", service,
                           NGX_HTTP_KLAVIYO_MAX_SERVICE);
        return NGX_CONF_ERROR;
    }

    reader->rule->service = *service;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_backfill(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_str_t  *text;

    text = compile->token;

    if (reader->rule->backfill != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    if (ngx_strcasecmp(text->data, (u_char *) "on") == 0) {
        reader->rule->backfill = NGX_HTTP_KLAVIYO_BACKFILL_ON;

    } else if (ngx_strcasecmp(text->data, (u_char *) "off") == 0) {
        reader->rule->backfill = NGX_HTTP_KLAVIYO_BACKFILL_OFF;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid value \"%V\" in \"backfill\", it must be "
                           "\"on\" or \"off\"", text);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* The account may be defined further down: it is looked up at the end. */

static char *
ngx_http_klaviyo_rule_account(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    if (reader->rule->account_name.data) {
        return "is duplicate";
    }

    reader->rule->account_name = *compile->token;
    reader->rule->account_file = compile->cf->conf_file->file.name;
    reader->rule->account_line = compile->cf->conf_file->line;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_ignore(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    return ngx_http_klaviyo_ignore_parse(reader->cf, &reader->rule->ignore);
}


static char *
ngx_http_klaviyo_rule_list(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    return ngx_http_klaviyo_subscribe_list(compile, reader->rule->subscribe);
}


static char *
ngx_http_klaviyo_rule_channels(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    return ngx_http_klaviyo_subscribe_channels(compile,
                                               reader->rule->subscribe);
}


static char *
ngx_http_klaviyo_rule_source(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    return ngx_http_klaviyo_subscribe_source(compile, reader->rule->subscribe);
}


static char *
ngx_http_klaviyo_rule_consent(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_condition_t  *c;

    c = ngx_array_push(&reader->rule->subscribe->consent);

    if (c == NULL
        || ngx_http_klaviyo_condition_compile(compile, c) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, &c->value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* nobody has said yes or no */

    c->present = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_rule_consented_at(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_reader_t *reader, ngx_uint_t offset)
{
    ngx_http_klaviyo_value_t  **value;

    value = &reader->rule->subscribe->consented_at;

    if (*value) {
        return "is duplicate";
    }

    *value = ngx_palloc(compile->cf->pool, sizeof(ngx_http_klaviyo_value_t));

    if (*value == NULL
        || ngx_http_klaviyo_value_compile(compile, *value) != NGX_OK
        || ngx_http_klaviyo_rule_frames(compile, reader, *value) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_klaviyo_ignore_parse(ngx_conf_t *cf, ngx_uint_t *ignore)
{
    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_conf_bitmask_t  *m;

    if (*ignore != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    *ignore = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        for (m = ngx_http_klaviyo_ignores; m->name.len; m++) {

            if (m->name.len == value[i].len
                && ngx_strncmp(m->name.data, value[i].data, value[i].len) == 0)
            {
                break;
            }
        }

        if (m->name.len == 0 || (m->mask == 0 && cf->args->nelts != 2)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\", it must be "
                               "\"off\", or some of prefetch, bots, optout, "
                               "gpc, dnt", &value[i], &value[0]);
            return NGX_CONF_ERROR;
        }

        *ignore |= m->mask;
    }

    return NGX_CONF_OK;
}
