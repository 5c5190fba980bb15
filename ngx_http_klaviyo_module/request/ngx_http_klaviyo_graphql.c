
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A GraphQL request: where its parts are in a body or in the arguments, and
 * what is told of them.
 */


#include "ngx_http_klaviyo_document.h"
#include "ngx_http_klaviyo_graphql.h"
#include "ngx_http_klaviyo_json.h"


static json_t *ngx_http_klaviyo_graphql_batch(ngx_http_klaviyo_arena_t *arena,
    json_t *body);
static json_t *ngx_http_klaviyo_graphql_one(ngx_http_klaviyo_arena_t *arena,
    json_t *body);
static ngx_int_t ngx_http_klaviyo_graphql_text(json_t *object,
    const char *name, ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_graphql_part(ngx_http_klaviyo_arena_t *arena,
    json_t *object, const char *name, json_t **json);
static json_t *ngx_http_klaviyo_graphql_result(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_graphql_t *graphql, json_t *hash);
static ngx_int_t ngx_http_klaviyo_graphql_names(
    ngx_http_klaviyo_arena_t *arena, json_t *result, json_t *fields);
static ngx_int_t ngx_http_klaviyo_graphql_put(ngx_http_klaviyo_arena_t *arena,
    json_t *object, const char *name, json_t *json, size_t cost);
static ngx_int_t ngx_http_klaviyo_graphql_put_text(
    ngx_http_klaviyo_arena_t *arena, json_t *object, const char *name,
    ngx_str_t *text);


json_t *
ngx_http_klaviyo_document_graphql(ngx_http_klaviyo_arena_t *arena,
    json_t *body, json_t *args)
{
    ngx_str_t  text;

    if (body == NULL) {
        return ngx_http_klaviyo_graphql_one(arena, args);
    }

    /* what goes with uploads: the request is one of several parts */

    if (ngx_http_klaviyo_graphql_text(body, "operations", &text) == NGX_OK) {
        body = ngx_http_klaviyo_json_parse(arena, &text);
    }

    if (json_is_array(body)) {
        return ngx_http_klaviyo_graphql_batch(arena, body);
    }

    return ngx_http_klaviyo_graphql_one(arena, body);
}


/* what is no request is null, so that the others keep their places */

static json_t *
ngx_http_klaviyo_graphql_batch(ngx_http_klaviyo_arena_t *arena, json_t *body)
{
    json_t      *batch, *json;
    size_t       i;
    ngx_uint_t   found, limits;

    if (ngx_http_klaviyo_arena_charge(arena,
                                      NGX_HTTP_KLAVIYO_ARRAY_COST
                                      + json_array_size(body)
                                        * NGX_HTTP_KLAVIYO_ELEMENT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    batch = ngx_http_klaviyo_arena_keep(arena, json_array());
    if (batch == NULL) {
        return NULL;
    }

    found = 0;
    limits = arena->limits;

    for (i = 0; i < json_array_size(body); i++) {
        json = ngx_http_klaviyo_graphql_one(arena, json_array_get(body, i));

        if (arena->limits != limits) {
            return NULL;
        }

        found += (json != NULL);
        json = json ? json_incref(json) : json_null();

        if (json_array_append_new(batch, json) != 0) {
            arena->limits++;
            return NULL;
        }
    }

    return found ? batch : NULL;
}


/* an array or a scalar, or nothing, has no members */

static json_t *
ngx_http_klaviyo_graphql_one(ngx_http_klaviyo_arena_t *arena, json_t *body)
{
    json_t                      *extensions, *hash;
    ngx_int_t                    rc;
    ngx_str_t                    query;
    ngx_http_klaviyo_graphql_t   graphql;

    ngx_memzero(&graphql, sizeof(ngx_http_klaviyo_graphql_t));

    (void) ngx_http_klaviyo_graphql_text(body, "operationName",
                                         &graphql.operation);

    if (ngx_http_klaviyo_graphql_part(arena, body, "variables",
                                      &graphql.variables)
        != NGX_OK
        || ngx_http_klaviyo_graphql_part(arena, body, "extensions",
                                         &extensions)
           != NGX_OK)
    {
        return NULL;
    }

    hash = json_object_get(json_object_get(extensions, "persistedQuery"),
                           "sha256Hash");
    if (!json_is_string(hash)) {
        hash = NULL;
    }

    rc = ngx_http_klaviyo_graphql_text(body, "query", &query);

    if (rc == NGX_OK) {
        rc = ngx_http_klaviyo_graphql_query(arena, &graphql, &query);
    }

    if (rc == NGX_ERROR
        || (rc != NGX_OK && hash == NULL && graphql.operation.len == 0))
    {
        return NULL;
    }

    return ngx_http_klaviyo_graphql_result(arena, &graphql, hash);
}


static ngx_int_t
ngx_http_klaviyo_graphql_text(json_t *object, const char *name,
    ngx_str_t *text)
{
    json_t  *json;

    json = json_object_get(object, name);

    if (!json_is_string(json) || json_string_length(json) == 0) {
        return NGX_DECLINED;
    }

    text->data = (u_char *) json_string_value(json);
    text->len = json_string_length(json);

    return NGX_OK;
}


/*
 * An object or, in arguments and forms, the text of one; "*json" is NULL if
 * there is none.  NGX_ERROR if a limit was met.
 */

static ngx_int_t
ngx_http_klaviyo_graphql_part(ngx_http_klaviyo_arena_t *arena, json_t *object,
    const char *name, json_t **json)
{
    ngx_str_t   text;
    ngx_uint_t  limits;

    limits = arena->limits;
    *json = json_object_get(object, name);

    if (ngx_http_klaviyo_graphql_text(object, name, &text) == NGX_OK) {
        *json = ngx_http_klaviyo_json_parse(arena, &text);
    }

    if (!json_is_object(*json)) {
        *json = NULL;
    }

    return (arena->limits == limits) ? NGX_OK : NGX_ERROR;
}


static json_t *
ngx_http_klaviyo_graphql_result(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_graphql_t *graphql, json_t *hash)
{
    json_t  *result;

    if (ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    result = ngx_http_klaviyo_arena_keep(arena, json_object());
    if (result == NULL) {
        return NULL;
    }

    if (ngx_http_klaviyo_graphql_put_text(arena, result, "operation",
                                          &graphql->operation)
        != NGX_OK
        || ngx_http_klaviyo_graphql_put_text(arena, result, "type",
                                             &graphql->type)
           != NGX_OK
        || ngx_http_klaviyo_graphql_names(arena, result, graphql->fields)
           != NGX_OK
        || ngx_http_klaviyo_graphql_put(arena, result, "variables",
                                        json_incref(graphql->variables), 0)
           != NGX_OK
        || ngx_http_klaviyo_graphql_put(arena, result, "hash",
                                        json_incref(hash), 0)
           != NGX_OK)
    {
        return NULL;
    }

    return json_object_size(result) ? result : NULL;
}


/* "fields", and "arguments" of those that have some */

static ngx_int_t
ngx_http_klaviyo_graphql_names(ngx_http_klaviyo_arena_t *arena, json_t *result,
    json_t *fields)
{
    void        *tmp;
    size_t       cost;
    json_t      *names, *arguments;
    const char  *name;

    if (fields == NULL) {
        return NGX_OK;
    }

    cost = json_object_size(fields) * (NGX_HTTP_KLAVIYO_VALUE_COST
                                       + NGX_HTTP_KLAVIYO_ELEMENT_COST);

    names = json_array();

    if (ngx_http_klaviyo_graphql_put(arena, result, "fields", names, cost)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    json_object_foreach_safe(fields, tmp, name, arguments) {

        if (json_array_append_new(names, json_string_nocheck(name)) != 0) {
            arena->limits++;
            return NGX_ERROR;
        }

        if (json_object_size(arguments) == 0) {
            (void) json_object_del(fields, name);
        }
    }

    if (json_object_size(fields) == 0) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_graphql_put(arena, result, "arguments",
                                        json_incref(fields), 0);
}


/* takes over the reference; nothing is put for NULL */

static ngx_int_t
ngx_http_klaviyo_graphql_put(ngx_http_klaviyo_arena_t *arena, json_t *object,
    const char *name, json_t *json, size_t cost)
{
    if (json == NULL) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_arena_charge(arena,
                                      cost + NGX_HTTP_KLAVIYO_MEMBER_COST)
        != NGX_OK)
    {
        json_decref(json);
        return NGX_ERROR;
    }

    if (json_object_set_new_nocheck(object, name, json) != 0) {
        arena->limits++;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_graphql_put_text(ngx_http_klaviyo_arena_t *arena,
    json_t *object, const char *name, ngx_str_t *text)
{
    json_t  *json;

    if (text->len == 0) {
        return NGX_OK;
    }

    json = json_stringn_nocheck((char *) text->data, text->len);

    return ngx_http_klaviyo_graphql_put(arena, object, name, json,
                                        text->len
                                        + NGX_HTTP_KLAVIYO_VALUE_COST);
}
