
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The levels of the configuration: what one inherits, what is in what, and
 * which rules a server{} has.
 */


#include "ngx_http_klaviyo_level.h"
#include "ngx_http_klaviyo_cookie.h"
#include "ngx_http_klaviyo_identity.h"
#include "ngx_http_klaviyo_noise.h"


static ngx_int_t ngx_http_klaviyo_merge_level(
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_loc_conf_t *prev,
    ngx_http_klaviyo_loc_conf_t *conf);
static ngx_int_t ngx_http_klaviyo_merge_account(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_loc_conf_t *prev,
    ngx_http_klaviyo_loc_conf_t *conf);
static void ngx_http_klaviyo_merge_visitor(ngx_http_klaviyo_loc_conf_t *prev,
    ngx_http_klaviyo_loc_conf_t *conf);
static ngx_int_t ngx_http_klaviyo_merge_routes(ngx_conf_t *cf,
    ngx_http_klaviyo_loc_conf_t *conf);


void *
ngx_http_klaviyo_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_klaviyo_loc_conf_t  *klcf;

    klcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_loc_conf_t));
    if (klcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     klcf->account_name = { 0, NULL };
     *     klcf->account = NULL;
     *     klcf->needs = 0;
     *     klcf->rules, excepts, properties, profiles, consent = NULL;
     *     klcf->parent, server, routes, index = NULL;
     *     klcf->enter, leave, tracked, visited, confirms = 0;
     *     klcf->visitor = NULL;
     *     klcf->visitor_ttl, backlog_ttl = 0;
     */

    klcf->enable = NGX_CONF_UNSET;
    klcf->visitor_own = NGX_CONF_UNSET_PTR;
    klcf->cookie = NGX_CONF_UNSET_PTR;
    klcf->kx = NGX_CONF_UNSET_UINT;
    klcf->backlog = NGX_CONF_UNSET_UINT;
    klcf->explain = NGX_CONF_UNSET_PTR;
    klcf->identifiers = NGX_CONF_UNSET;
    klcf->identity = NGX_CONF_UNSET_UINT;
    klcf->ignore = NGX_CONF_UNSET_UINT;
    klcf->request_body_limit = NGX_CONF_UNSET_SIZE;
    klcf->response_body_limit = NGX_CONF_UNSET_SIZE;

    return klcf;
}


char *
ngx_http_klaviyo_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_klaviyo_loc_conf_t *prev = parent;
    ngx_http_klaviyo_loc_conf_t *conf = child;

    ngx_uint_t                     i;
    ngx_http_klaviyo_except_t     *except;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    if (ngx_http_klaviyo_merge_level(kmcf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_klaviyo_merge_account(cf, kmcf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_http_klaviyo_merge_visitor(prev, conf);

    ngx_conf_merge_ptr_value(conf->explain, prev->explain, NULL);
    ngx_conf_merge_value(conf->identifiers, prev->identifiers, 0);
    ngx_conf_merge_uint_value(conf->identity, prev->identity,
                              NGX_HTTP_KLAVIYO_IDENTITY_ALL);
    ngx_conf_merge_uint_value(conf->ignore, prev->ignore,
                              NGX_HTTP_KLAVIYO_IGNORE_ALL);
    ngx_conf_merge_size_value(conf->request_body_limit,
                              prev->request_body_limit, 64 * 1024);
    ngx_conf_merge_size_value(conf->response_body_limit,
                              prev->response_body_limit, 256 * 1024);

    conf->needs |= prev->needs;
    kmcf->needs |= conf->needs;

    if (conf->consent == NULL) {
        conf->consent = prev->consent;
    }

    if (conf->excepts) {
        except = conf->excepts->elts;

        for (i = 0; i < conf->excepts->nelts; i++) {
            except[i].level = conf->enter;
        }
    }

    conf->excepts = ngx_http_klaviyo_merge_array(cf, conf->excepts,
                                                 prev->excepts, 1);
    conf->properties = ngx_http_klaviyo_merge_array(cf, conf->properties,
                                                    prev->properties, 0);
    conf->profiles = ngx_http_klaviyo_merge_array(cf, conf->profiles,
                                                  prev->profiles, 0);

    if ((prev->excepts && conf->excepts == NULL)
        || (prev->properties && conf->properties == NULL)
        || (prev->profiles && conf->profiles == NULL)
        || ngx_http_klaviyo_merge_routes(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * Levels are merged from the outer to the inner, each with all that is in it
 * before the next: so numbers tell what is in what.
 */

static ngx_int_t
ngx_http_klaviyo_merge_level(ngx_http_klaviyo_main_conf_t *kmcf,
    ngx_http_klaviyo_loc_conf_t *prev, ngx_http_klaviyo_loc_conf_t *conf)
{
    ngx_http_klaviyo_loc_conf_t  *level, **inner;

    if (prev->server == NULL) {
        kmcf->http = prev;
    }

    conf->parent = prev;
    conf->server = prev->server ? prev->server : conf;
    conf->enter = ++kmcf->levels;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);

    for (level = conf; level; level = level->parent) {
        level->leave = conf->enter;
        level->tracked |= conf->enable;
    }

    inner = ngx_array_push(&kmcf->inner);
    if (inner == NULL) {
        return NGX_ERROR;
    }

    *inner = conf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_merge_account(ngx_conf_t *cf,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_loc_conf_t *prev,
    ngx_http_klaviyo_loc_conf_t *conf)
{
    ngx_http_klaviyo_account_t  **account;

    if (prev->server == NULL && kmcf->accounts.nelts) {
        account = kmcf->accounts.elts;
        prev->account = account[0];
    }

    conf->account = prev->account;

    if (conf->account_name.data == NULL) {
        return NGX_OK;
    }

    conf->account = ngx_http_klaviyo_account_find(&kmcf->accounts,
                                                  &conf->account_name);
    if (conf->account) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "unknown account \"%V\" in \"klaviyo_use_account\" "
                  "in %V:%ui", &conf->account_name, &conf->account_file,
                  conf->account_line);

    return NGX_ERROR;
}


static void
ngx_http_klaviyo_merge_visitor(ngx_http_klaviyo_loc_conf_t *prev,
    ngx_http_klaviyo_loc_conf_t *conf)
{
    ngx_conf_merge_ptr_value(conf->cookie, prev->cookie, NULL);

    if (conf->visitor_own == NGX_CONF_UNSET_PTR) {
        conf->visitor_own = prev->visitor_own;
        conf->visitor_ttl = prev->visitor_ttl;
    }

    if (conf->visitor_own != NGX_CONF_UNSET_PTR) {
        conf->visitor = conf->visitor_own;

    } else if (conf->cookie) {
        conf->visitor = &conf->cookie->value;
        conf->visitor_ttl = conf->cookie->ttl;
    }

    ngx_conf_merge_uint_value(conf->kx, prev->kx, 0);

    if (conf->backlog == NGX_CONF_UNSET_UINT) {
        conf->backlog_ttl = prev->backlog_ttl;
    }

    ngx_conf_merge_uint_value(conf->backlog, prev->backlog, 0);

    if (conf->visitor) {
        conf->server->visited = 1;
        conf->server->confirms |= conf->kx;
    }
}


/* The server{} gathers the routes of all its levels. */

static ngx_int_t
ngx_http_klaviyo_merge_routes(ngx_conf_t *cf,
    ngx_http_klaviyo_loc_conf_t *conf)
{
    ngx_http_klaviyo_loc_conf_t   *server, **servers;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    server = conf->server;

    if (server == conf) {
        kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

        servers = ngx_array_push(&kmcf->servers);
        if (servers == NULL) {
            return NGX_ERROR;
        }

        *servers = conf;
    }

    if (conf->rules == NULL) {
        return NGX_OK;
    }

    if (server->routes == NULL) {
        server->routes = ngx_array_create(cf->pool, 4,
                                          sizeof(ngx_http_klaviyo_route_t *));
        if (server->routes == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_klaviyo_rule_routes(conf->rules, server->routes);
}


ngx_array_t *
ngx_http_klaviyo_merge_array(ngx_conf_t *cf, ngx_array_t *own,
    ngx_array_t *inherited, ngx_uint_t all)
{
    void        *elt;
    u_char      *p;
    ngx_str_t   *name, *other;
    ngx_uint_t   i, k;

    if (own == NULL || inherited == NULL) {
        return own ? own : inherited;
    }

    k = own->nelts;
    p = inherited->elts;

    for (i = 0; i < inherited->nelts; i++, p += inherited->size) {

        name = (ngx_str_t *) p;

        for (k = 0; !all && k < own->nelts; k++) {
            other = (ngx_str_t *) ((u_char *) own->elts + k * own->size);

            if (other->len == name->len
                && ngx_strncmp(other->data, name->data, name->len) == 0)
            {
                break;
            }
        }

        if (!all && k < own->nelts) {
            continue;
        }

        elt = ngx_array_push(own);
        if (elt == NULL) {
            return NULL;
        }

        ngx_memcpy(elt, p, own->size);
    }

    return own;
}


void
ngx_http_klaviyo_level_compile(ngx_conf_t *cf,
    ngx_http_klaviyo_loc_conf_t *klcf, ngx_http_klaviyo_compile_t *compile)
{
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_klaviyo_module);

    ngx_memzero(compile, sizeof(ngx_http_klaviyo_compile_t));

    compile->cf = cf;
    compile->token = (ngx_str_t *) cf->args->elts + 1;
    compile->last = (ngx_str_t *) cf->args->elts + cf->args->nelts;
    compile->references = &kmcf->references;
    compile->needs = klcf ? &klcf->needs : &kmcf->needs;
}


ngx_int_t
ngx_http_klaviyo_level_element(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value)
{
    if (value->frames == 0) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                       "no element for \"%V\", it is of an element of \"each\" "
                       "or \"items\" in a rule; a text begins with \"\\.\"",
                       &compile->element);

    return NGX_ERROR;
}
