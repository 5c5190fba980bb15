
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Rules that can never match: paths that nginx never has, locations that such
 * a path never reaches, levels that are off, conditions that never hold.
 */


#include "ngx_http_klaviyo_lint.h"
#include "ngx_http_klaviyo_decimal.h"


/* conditions of a rule that are compared with each other */
#define NGX_HTTP_KLAVIYO_LINT_PAIRS      64

/* statuses are 100 to 599, 009 is HTTP/0.9's, 000 no answer */
#define NGX_HTTP_KLAVIYO_LINT_STATUSES   600


static void ngx_http_klaviyo_lint_route(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_route_t *route);
static char *ngx_http_klaviyo_lint_path(ngx_http_klaviyo_lint_t *lint,
    ngx_str_t *path, ngx_uint_t exact);
static ngx_uint_t ngx_http_klaviyo_lint_reaches(ngx_str_t *path,
    ngx_uint_t exact, ngx_http_core_loc_conf_t *location);
static ngx_uint_t ngx_http_klaviyo_lint_moves(ngx_http_klaviyo_lint_t *lint);
static void *ngx_http_klaviyo_lint_rewrite(ngx_http_klaviyo_lint_t *lint,
    void **conf);
static ngx_uint_t ngx_http_klaviyo_lint_never(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_condition_t *c);
static ngx_http_klaviyo_place_t *ngx_http_klaviyo_lint_where(
    ngx_http_klaviyo_condition_t *c);
static ngx_uint_t ngx_http_klaviyo_lint_statuses(ngx_array_t *conditions);
static ngx_int_t ngx_http_klaviyo_lint_status(ngx_http_klaviyo_condition_t *c,
    ngx_http_klaviyo_data_t *status);
static void ngx_http_klaviyo_lint_pairs(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *conditions);
static ngx_uint_t ngx_http_klaviyo_lint_contradict(
    ngx_http_klaviyo_condition_t *a, ngx_http_klaviyo_condition_t *b);


void
ngx_http_klaviyo_lint_routes(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_rule_t      *rule;
    ngx_http_klaviyo_route_t     *route;
    ngx_http_klaviyo_loc_conf_t  *level;

    rule = lint->rule;
    level = rule->level;
    route = rule->routes.elts;

    if (lint->conf->inner.nelts && !level->tracked) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE,
                                   route[0].place,
                                   "rule \"%V\" never matches, \"klaviyo\" is "
                                   "off at its level", &rule->metric);
        return;
    }

    if (rule->location->named) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE,
                                   route[0].place,
                                   "rule \"%V\" never matches, no request "
                                   "begins in the location \"%V\"",
                                   &rule->metric, &rule->location->name);
        return;
    }

    for (i = 0; i < rule->routes.nelts; i++) {
        ngx_http_klaviyo_lint_route(lint, &route[i]);
    }
}


static void
ngx_http_klaviyo_lint_route(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_route_t *route)
{
    char                      *reason;
    ngx_str_t                  path;
    ngx_uint_t                 exact;
    ngx_http_klaviyo_place_t  *place;

    place = route->place;
    path = route->path;
    exact = (route->type == NGX_HTTP_KLAVIYO_ROUTE_EXACT);

    /* of a regex what its matches begin with */

    if (route->regex
        && ngx_http_klaviyo_regex_prefix(lint->prospect.pool, &route->path,
                                         &path)
           != NGX_OK)
    {
        return;
    }

    if (path.len == 0) {
        return;
    }

    reason = ngx_http_klaviyo_lint_path(lint, &path, exact);

    if (reason) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE, place,
                                   "pattern \"%V\" never matches, %s",
                                   &place->text, reason);
        return;
    }

    if (route->type == NGX_HTTP_KLAVIYO_ROUTE_REGEX_NOCASE
        || ngx_http_klaviyo_lint_reaches(&path, exact, lint->rule->location)
        || ngx_http_klaviyo_lint_moves(lint))
    {
        return;
    }

    ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE, place,
                               "pattern \"%V\" never matches, no such path is "
                               "in the location \"%V\"", &place->text,
                               &lint->rule->location->name);
}


/* Rules meet the path decoded, normalized and without the query. */

static char *
ngx_http_klaviyo_lint_path(ngx_http_klaviyo_lint_t *lint, ngx_str_t *path,
    ngx_uint_t exact)
{
    u_char  *p, *last;

    if (path->data[0] != '/') {
        return "a path begins with \"/\"";
    }

    p = path->data;
    last = p + path->len;

    for ( /* void */ ; p < last; p++) {

        if (*p == '?') {
            return "the query is no part of a path";
        }

        if (*p == '%' && last - p > 2 && ngx_hextoi(p + 1, 2) != NGX_ERROR) {
            return "paths are decoded before";
        }

        if (*p != '/') {
            continue;
        }

        if (last - p > 1 && p[1] == '/' && !lint->slashes) {
            return "nginx merges slashes before";
        }

        if ((last - p > 2 && ngx_strncmp(p, "/./", 3) == 0)
            || (last - p > 3 && ngx_strncmp(p, "/../", 4) == 0)
            || (exact && last - p == 2 && p[1] == '.')
            || (exact && last - p == 3 && p[1] == '.' && p[2] == '.'))
        {
            return "nginx resolves \".\" and \"..\" before";
        }
    }

    return NULL;
}


/* Whether a path that begins so, or is that, can be in the location. */

static ngx_uint_t
ngx_http_klaviyo_lint_reaches(ngx_str_t *path, ngx_uint_t exact,
    ngx_http_core_loc_conf_t *location)
{
    size_t      len;
    ngx_str_t  *name;

    name = &location->name;

#if (NGX_PCRE)

    if (location->regex) {
        return 1;
    }

#endif

    if (name->len == 0) {
        return 1;
    }

    len = ngx_min(name->len, path->len);

    if (ngx_strncmp(name->data, path->data, len) != 0) {
        return 0;
    }

    if (location->exact_match && name->len < path->len) {
        return 0;
    }

    return !(exact && path->len < name->len);
}


/*
 * Whether what stands in the server{} may have given the request another path
 * before its location was chosen.
 */

static ngx_uint_t
ngx_http_klaviyo_lint_moves(ngx_http_klaviyo_lint_t *lint)
{
    ngx_uint_t                     i;
    ngx_array_t                  **codes;
    ngx_http_core_srv_conf_t     **cscf;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_klaviyo_loc_conf_t   *level;

    cmcf = ngx_http_conf_get_module_main_conf(lint->cf, ngx_http_core_module);

    /* more than the rewrite module: who knows what it does */

    if (cmcf->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers.nelts > 1) {
        return 1;
    }

    level = lint->rule->level;
    cscf = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        if (cscf[i]->ctx->loc_conf[ngx_http_klaviyo_module.ctx_index]
            != level->server)
        {
            continue;
        }

        codes = ngx_http_klaviyo_lint_rewrite(lint, cscf[i]->ctx->loc_conf);

        return codes && *codes;
    }

    return 1;
}


/*
 * The rewrite module's configuration, whose type is its own; what it begins
 * with is the array of its directives at that level, or NULL.
 */

static void *
ngx_http_klaviyo_lint_rewrite(ngx_http_klaviyo_lint_t *lint, void **conf)
{
    ngx_uint_t      i;
    ngx_module_t  **modules;

    modules = lint->cf->cycle->modules;

    for (i = 0; modules[i]; i++) {
        if (ngx_strcmp(modules[i]->name, "ngx_http_rewrite_module") == 0) {
            return conf[modules[i]->ctx_index];
        }
    }

    return NULL;
}


void
ngx_http_klaviyo_lint_conditions(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *conditions, const char *directive)
{
    ngx_uint_t                     i, never;
    ngx_http_klaviyo_place_t      *place;
    ngx_http_klaviyo_condition_t  *c;

    c = conditions->elts;
    never = 0;

    for (i = 0; i < conditions->nelts; i++) {

        if (!ngx_http_klaviyo_lint_never(lint, &c[i])) {
            continue;
        }

        never = 1;
        place = ngx_http_klaviyo_lint_where(&c[i]);

        if (c[i].any) {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE, place,
                                       "none of the conditions in \"any\" "
                                       "ever holds");

        } else {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE, place,
                                       "the condition on \"%V\" in \"%s\" "
                                       "never holds", &place->text, directive);
        }
    }

    if (never || conditions->nelts == 0) {
        return;
    }

    i = ngx_http_klaviyo_lint_statuses(conditions);

    if (i < conditions->nelts) {
        ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE,
                                   ngx_http_klaviyo_lint_where(&c[i]),
                                   "no status fulfills the conditions on "
                                   "\"$status\"");
    }

    ngx_http_klaviyo_lint_pairs(lint, conditions);
}


static ngx_uint_t
ngx_http_klaviyo_lint_never(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_condition_t *c)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_outlook_t     outlook;
    ngx_http_klaviyo_condition_t  *any;

    if (c->any) {
        any = c->any->elts;

        for (i = 0; i < c->any->nelts; i++) {
            if (!ngx_http_klaviyo_lint_never(lint, &any[i])) {
                return 0;
            }
        }

        return 1;
    }

    ngx_http_klaviyo_outlook(&lint->prospect, &c->value, &outlook);

    if (outlook.constant || outlook.types == 0) {
        return ngx_http_klaviyo_condition_judge(c, &outlook.data)
               == NGX_DECLINED;
    }

    /* a tree is compared with nothing */

    return c->op != NGX_HTTP_KLAVIYO_OP_TRUE
           && !(outlook.types & NGX_HTTP_KLAVIYO_MAY_SCALAR);
}


static ngx_http_klaviyo_place_t *
ngx_http_klaviyo_lint_where(ngx_http_klaviyo_condition_t *c)
{
    while (c->any) {
        c = c->any->elts;
    }

    return c->value.place;
}


/*
 * All conditions on $status together: is there one that fulfills them?
 * Returns the last of these conditions if not, else their number.
 */

static ngx_uint_t
ngx_http_klaviyo_lint_statuses(ngx_array_t *conditions)
{
    u_char                         buf[3];
    ngx_int_t                      rc;
    ngx_uint_t                     i, status, last;
    ngx_http_klaviyo_data_t        data;
    ngx_http_klaviyo_condition_t  *c;

    c = conditions->elts;
    last = conditions->nelts;

    for (status = 0; status < NGX_HTTP_KLAVIYO_LINT_STATUSES; status++) {

        if (status > 9 && status < 100) {
            continue;
        }

        ngx_sprintf(buf, "%03ui", status);
        ngx_http_klaviyo_data_set_string(&data, buf, 3);

        last = conditions->nelts;

        for (i = 0; i < conditions->nelts; i++) {

            rc = ngx_http_klaviyo_lint_status(&c[i], &data);

            if (rc == NGX_DECLINED) {
                last = i;
            }
        }

        if (last == conditions->nelts) {
            return last;
        }
    }

    return last;
}


/* NGX_DECLINED if it does not hold; NGX_ABORT if it is not of $status alone */

static ngx_int_t
ngx_http_klaviyo_lint_status(ngx_http_klaviyo_condition_t *c,
    ngx_http_klaviyo_data_t *status)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_klaviyo_term_t       *term;
    ngx_http_klaviyo_condition_t  *any;

    if (c->any == NULL) {
        term = &c->value.term;

        if (!c->value.status || c->value.steps
            || term->type != NGX_HTTP_KLAVIYO_TERM_STRING
            || term->parts == NULL || term->parts->nelts != 1)
        {
            return NGX_ABORT;
        }

        return ngx_http_klaviyo_condition_judge(c, status);
    }

    any = c->any->elts;

    for (i = 0; i < c->any->nelts; i++) {

        rc = ngx_http_klaviyo_lint_status(&any[i], status);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


/* Two conditions on the same value that exclude each other. */

static void
ngx_http_klaviyo_lint_pairs(ngx_http_klaviyo_lint_t *lint,
    ngx_array_t *conditions)
{
    ngx_uint_t                     i, k, n;
    ngx_http_klaviyo_condition_t  *c;

    c = conditions->elts;
    n = ngx_min(conditions->nelts, NGX_HTTP_KLAVIYO_LINT_PAIRS);

    for (i = 1; i < n; i++) {

        if (c[i].any || c[i].value.status) {
            continue;
        }

        for (k = 0; k < i; k++) {

            if (c[k].any
                || (!ngx_http_klaviyo_lint_contradict(&c[i], &c[k])
                    && !ngx_http_klaviyo_lint_contradict(&c[k], &c[i])))
            {
                continue;
            }

            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE,
                                       c[i].value.place,
                                       "two conditions on \"%V\" exclude each "
                                       "other", &c[i].value.place->text);
            break;
        }
    }
}


/* Whether what "a" asks for is never what "b" asks for. */

static ngx_uint_t
ngx_http_klaviyo_lint_contradict(ngx_http_klaviyo_condition_t *a,
    ngx_http_klaviyo_condition_t *b)
{
    ngx_http_klaviyo_data_t      data;
    ngx_http_klaviyo_place_t    *one, *two;
    ngx_http_klaviyo_decimal_t   d;

    one = a->value.place;
    two = b->value.place;

    if (one->words != two->words || one->text.len != two->text.len
        || ngx_memcmp(one->text.data, two->text.data, one->text.len) != 0)
    {
        return 0;
    }

    if (a->op == NGX_HTTP_KLAVIYO_OP_TRUE
        && b->op == NGX_HTTP_KLAVIYO_OP_TRUE)
    {
        return a->negate != b->negate;
    }

    if (a->op != NGX_HTTP_KLAVIYO_OP_EQ || a->negate) {
        return 0;
    }

    /* the text, or a number that is written otherwise */

    ngx_http_klaviyo_data_set_string(&data, a->text.data, a->text.len);

    if (ngx_http_klaviyo_condition_judge(b, &data) != NGX_DECLINED) {
        return 0;
    }

    data.type = NGX_HTTP_KLAVIYO_NUMBER;

    return ngx_http_klaviyo_decimal_parse(&d, &a->text) != NGX_OK
           || ngx_http_klaviyo_condition_judge(b, &data) == NGX_DECLINED;
}


void
ngx_http_klaviyo_lint_excepts(ngx_http_klaviyo_lint_t *lint,
    ngx_http_klaviyo_loc_conf_t *conf)
{
    ngx_uint_t                     i, k;
    ngx_http_klaviyo_rule_t      **rule;
    ngx_http_klaviyo_except_t     *except;
    ngx_http_klaviyo_loc_conf_t   *level;

    except = conf->excepts->elts;
    rule = lint->conf->rules.elts;

    for (i = 0; i < conf->excepts->nelts; i++) {

        for (k = 0; k < lint->conf->rules.nelts; k++) {

            level = rule[k]->level;

            if (level->enter < except[i].level
                && except[i].level <= level->leave
                && rule[k]->metric.len == except[i].metric.len
                && ngx_strncmp(rule[k]->metric.data, except[i].metric.data,
                               except[i].metric.len)
                   == 0)
            {
                break;
            }
        }

        if (k == lint->conf->rules.nelts) {
            ngx_http_klaviyo_lint_warn(lint, NGX_HTTP_KLAVIYO_LINT_RULE,
                                       except[i].place,
                                       "\"klaviyo_except\" finds no rule "
                                       "\"%V\" at the levels around",
                                       &except[i].metric);
        }
    }
}
