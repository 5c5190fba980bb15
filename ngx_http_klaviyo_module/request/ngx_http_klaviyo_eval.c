
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Evaluates VALUEs, and the objects and items that are made of them, in a
 * worker after the response has been sent.
 */


#include "ngx_http_klaviyo_remember.h"
#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_explain.h"


static ngx_http_klaviyo_said_e ngx_http_klaviyo_eval_said(
    ngx_http_klaviyo_term_e type);
static void ngx_http_klaviyo_eval_term(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_term_t *term, ngx_http_klaviyo_data_t *data);
static ngx_inline void ngx_http_klaviyo_eval_string(
    ngx_http_klaviyo_eval_t *eval, ngx_http_klaviyo_term_t *term,
    ngx_http_klaviyo_data_t *data);
static void ngx_http_klaviyo_eval_parts(ngx_http_klaviyo_eval_t *eval,
    ngx_array_t *parts, ngx_http_klaviyo_data_t *data);
static ngx_inline ngx_int_t ngx_http_klaviyo_eval_part(
    ngx_http_klaviyo_eval_t *eval, ngx_http_klaviyo_part_t *part,
    ngx_http_klaviyo_data_t *data);
static ngx_http_klaviyo_data_t *ngx_http_klaviyo_eval_args(
    ngx_http_klaviyo_eval_t *eval);
static ngx_http_klaviyo_data_t *ngx_http_klaviyo_eval_cookies(
    ngx_http_klaviyo_eval_t *eval);
static void ngx_http_klaviyo_eval_tree(ngx_http_klaviyo_slot_t *slot,
    json_t *json);
static json_t *ngx_http_klaviyo_eval_object(ngx_http_klaviyo_eval_t *eval,
    ngx_array_t *nodes);
static json_t *ngx_http_klaviyo_eval_items(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_node_t *node);
static ngx_int_t ngx_http_klaviyo_eval_item(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_data_t *element,
    json_t *array);


void
ngx_http_klaviyo_value_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_data_t *data)
{
    json_t                   *steps;
    ngx_uint_t                i, n;
    ngx_http_klaviyo_arg_t    args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_step_t  *step;

    ngx_http_klaviyo_value_input(eval, value, data);

    steps = eval->explain
            ? ngx_http_klaviyo_explain_value(eval->explain, value, data)
            : NULL;

    if (value->steps == NULL) {
        return;
    }

    step = value->steps->elts;

    for (i = 0; i < value->steps->nelts; i++) {

        for (n = 0; n < step[i].nargs; n++) {
            args[n] = step[i].args[n];

            if (step[i].terms[n]) {
                ngx_http_klaviyo_eval_term(eval, step[i].terms[n],
                                           &args[n].data);
            }
        }

        if (step[i].filter->args[0] == NGX_HTTP_KLAVIYO_ARG_NAME) {
            ngx_http_klaviyo_recall(eval, data, args, step[i].nargs);
            continue;
        }

        ngx_http_klaviyo_filter_run(eval->arena, step[i].filter, data, args,
                                    step[i].nargs);

        if (steps) {
            ngx_http_klaviyo_explain_step(eval->explain, steps,
                                          step[i].filter, data);
        }
    }
}


void
ngx_http_klaviyo_value_input(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_data_t *data)
{
    if (value->term.type == NGX_HTTP_KLAVIYO_TERM_STRING) {
        ngx_http_klaviyo_eval_string(eval, &value->term, data);
        return;
    }

    ngx_http_klaviyo_eval_term(eval, &value->term, data);
}


static void
ngx_http_klaviyo_eval_term(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_term_t *term, ngx_http_klaviyo_data_t *data)
{
    ngx_uint_t                 n;
    ngx_http_klaviyo_data_t    said, *document;
    ngx_http_klaviyo_frame_t  *frame;

    switch (term->type) {

    case NGX_HTTP_KLAVIYO_TERM_ARGS:
        document = ngx_http_klaviyo_eval_args(eval);
        break;

    case NGX_HTTP_KLAVIYO_TERM_COOKIES:
        document = ngx_http_klaviyo_eval_cookies(eval);
        break;

    case NGX_HTTP_KLAVIYO_TERM_REQUEST:
    case NGX_HTTP_KLAVIYO_TERM_RESPONSE:
    case NGX_HTTP_KLAVIYO_TERM_GRAPHQL:
    case NGX_HTTP_KLAVIYO_TERM_JSONLD:
        ngx_http_klaviyo_content_said(eval->ctx,
                                      ngx_http_klaviyo_eval_said(term->type),
                                      &said);
        document = &said;
        break;

    case NGX_HTTP_KLAVIYO_TERM_NAME:
        ngx_http_klaviyo_value_name(eval, term->n, &said);

        if (eval->slots[term->n].partial) {
            said.type = NGX_HTTP_KLAVIYO_UNKNOWN;
        }

        document = &said;
        break;

    case NGX_HTTP_KLAVIYO_TERM_ELEMENT:
        frame = eval->frame;

        for (n = term->n; n && frame; n--) {
            frame = frame->outer;
        }

        if (frame == NULL) {
            ngx_http_klaviyo_data_missing(data);
            return;
        }

        document = &frame->data;
        break;

    default: /* NGX_HTTP_KLAVIYO_TERM_STRING */
        ngx_http_klaviyo_eval_string(eval, term, data);
        return;
    }

    ngx_http_klaviyo_path_select(eval->arena, term->path, document, data);
}


static ngx_http_klaviyo_said_e
ngx_http_klaviyo_eval_said(ngx_http_klaviyo_term_e type)
{
    switch (type) {

    case NGX_HTTP_KLAVIYO_TERM_REQUEST:
        return NGX_HTTP_KLAVIYO_SAID_REQUEST;

    case NGX_HTTP_KLAVIYO_TERM_RESPONSE:
        return NGX_HTTP_KLAVIYO_SAID_RESPONSE;

    case NGX_HTTP_KLAVIYO_TERM_GRAPHQL:
        return NGX_HTTP_KLAVIYO_SAID_GRAPHQL;

    default: /* NGX_HTTP_KLAVIYO_TERM_JSONLD */
        return NGX_HTTP_KLAVIYO_SAID_JSONLD;
    }
}


static ngx_inline void
ngx_http_klaviyo_eval_string(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_term_t *term, ngx_http_klaviyo_data_t *data)
{
    if (term->parts == NULL) {

        if (term->text.len == 0) {
            ngx_http_klaviyo_data_missing(data);
            return;
        }

        ngx_http_klaviyo_data_set_string(data, term->text.data,
                                         term->text.len);
        return;
    }

    if (term->parts->nelts == 1) {
        (void) ngx_http_klaviyo_eval_part(eval, term->parts->elts, data);
        return;
    }

    ngx_http_klaviyo_eval_parts(eval, term->parts, data);
}


static void
ngx_http_klaviyo_eval_parts(ngx_http_klaviyo_eval_t *eval, ngx_array_t *parts,
    ngx_http_klaviyo_data_t *data)
{
    u_char                   *p;
    size_t                    len;
    ngx_uint_t                i, n;
    ngx_http_klaviyo_data_t  *pieces;
    ngx_http_klaviyo_part_t  *part;

    part = parts->elts;
    n = parts->nelts;

    data->type = NGX_HTTP_KLAVIYO_UNKNOWN;

    pieces = ngx_http_klaviyo_arena_alloc(eval->arena,
                                          n * sizeof(ngx_http_klaviyo_data_t));
    if (pieces == NULL) {
        return;
    }

    len = 0;

    for (i = 0; i < n; i++) {
        if (ngx_http_klaviyo_eval_part(eval, &part[i], &pieces[i]) != NGX_OK) {
            *data = pieces[i];
            return;
        }

        len += pieces[i].text.len;
    }

    p = ngx_http_klaviyo_arena_alloc(eval->arena, len);
    if (p == NULL) {
        return;
    }

    ngx_http_klaviyo_data_set_string(data, p, len);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, pieces[i].text.data, pieces[i].text.len);
    }
}


static ngx_inline ngx_int_t
ngx_http_klaviyo_eval_part(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_part_t *part, ngx_http_klaviyo_data_t *data)
{
    if (part->index == NGX_ERROR) {
        ngx_http_klaviyo_data_set_string(data, part->text.data,
                                         part->text.len);
        return NGX_OK;
    }

    if (part->body) {
        ngx_http_klaviyo_content_said(eval->ctx,
                                 (part->body == NGX_HTTP_KLAVIYO_NEED_TEXT)
                                 ? NGX_HTTP_KLAVIYO_SAID_RESPONSE_TEXT
                                 : NGX_HTTP_KLAVIYO_SAID_REQUEST_TEXT,
                                 data);
    } else {
        ngx_http_klaviyo_value_variable(eval->request, part->index, data);
    }

    if (ngx_http_klaviyo_data_is_missing(data)) {
        return NGX_DECLINED;
    }

    if (part->decode
        && ngx_http_klaviyo_decode_url(eval->arena, &data->text, &data->text,
                                       NGX_HTTP_KLAVIYO_DECODE_FORM)
           != NGX_OK)
    {
        data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


void
ngx_http_klaviyo_value_variable(ngx_http_request_t *r, ngx_int_t index,
    ngx_http_klaviyo_data_t *data)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_flushed_variable(r, index);

    if (vv == NULL || vv->not_found || vv->len == 0) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_data_set_string(data, vv->data, vv->len);
}


void
ngx_http_klaviyo_value_name(ngx_http_klaviyo_eval_t *eval, ngx_uint_t n,
    ngx_http_klaviyo_data_t *data)
{
    ngx_uint_t                 unknown;
    ngx_http_klaviyo_name_t   *name;
    ngx_http_klaviyo_slot_t   *slot;
    ngx_http_klaviyo_frame_t  *frame;

    slot = &eval->slots[n];

    if (!slot->known) {
        name = &eval->names[n];

        /* it stands in the rule itself, wherever it is asked for */

        frame = eval->frame;
        eval->frame = eval->each;
        unknown = eval->unknown;

        if (name->value) {
            ngx_http_klaviyo_value_eval(eval, name->value, &slot->data);

        } else {
            ngx_http_klaviyo_node_eval(eval, name->node, &slot->data);
        }

        eval->frame = frame;
        slot->known = 1;
        slot->partial = (name->node && eval->unknown != unknown);
    }

    *data = slot->data;
}


static ngx_http_klaviyo_data_t *
ngx_http_klaviyo_eval_args(ngx_http_klaviyo_eval_t *eval)
{
    if (!eval->args->known) {
        ngx_http_klaviyo_eval_tree(eval->args,
                     ngx_http_klaviyo_decode_form(eval->arena,
                                                  &eval->request->args, 1));
    }

    return &eval->args->data;
}


static ngx_http_klaviyo_data_t *
ngx_http_klaviyo_eval_cookies(ngx_http_klaviyo_eval_t *eval)
{
    ngx_http_klaviyo_data_t  header;

    static ngx_str_t  pairsep = ngx_string(";");
    static ngx_str_t  kvsep = ngx_string("=");

    if (eval->cookies->known) {
        return &eval->cookies->data;
    }

    ngx_http_klaviyo_value_variable(eval->request, eval->http_cookie, &header);

    if (ngx_http_klaviyo_data_is_missing(&header)) {
        ngx_str_null(&header.text);
    }

    ngx_http_klaviyo_eval_tree(eval->cookies,
                               ngx_http_klaviyo_decode_kv(eval->arena,
                                                          &header.text,
                                                          &pairsep, &kvsep));

    return &eval->cookies->data;
}


static void
ngx_http_klaviyo_eval_tree(ngx_http_klaviyo_slot_t *slot, json_t *json)
{
    slot->known = 1;

    if (json == NULL) {
        slot->data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
        return;
    }

    slot->data.type = NGX_HTTP_KLAVIYO_TREE;
    slot->data.json = json;
}


void
ngx_http_klaviyo_node_eval(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_data_t *data)
{
    json_t  *json;

    if (node->type == NGX_HTTP_KLAVIYO_NODE_PROPERTY) {
        ngx_http_klaviyo_value_eval(eval, &node->value, data);
        return;
    }

    if (node->type == NGX_HTTP_KLAVIYO_NODE_OBJECT) {
        json = ngx_http_klaviyo_eval_object(eval, node->nodes);

    } else {
        json = ngx_http_klaviyo_eval_items(eval, node);
    }

    if (ngx_http_klaviyo_arena_keep(eval->arena, json) == NULL) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    data->type = NGX_HTTP_KLAVIYO_TREE;
    data->json = json;
}


/* Returns a new object, or NULL if it would be empty. */

static json_t *
ngx_http_klaviyo_eval_object(ngx_http_klaviyo_eval_t *eval, ngx_array_t *nodes)
{
    json_t                   *object, *json;
    ngx_uint_t                i;
    ngx_http_klaviyo_data_t   data;
    ngx_http_klaviyo_node_t  *node;

    object = json_object();
    if (object == NULL) {
        return NULL;
    }

    node = nodes->elts;

    for (i = 0; i < nodes->nelts; i++) {

        if (ngx_http_klaviyo_arena_charge(eval->arena, node[i].name.len + 64)
            != NGX_OK)
        {
            eval->unknown++;
            break;
        }

        ngx_http_klaviyo_node_eval(eval, &node[i], &data);

        json = ngx_http_klaviyo_data_to_json(eval->arena, &data);

        if (json) {
            (void) json_object_set_new(object, (char *) node[i].name.data,
                                       json);

        } else if (data.type != NGX_HTTP_KLAVIYO_MISSING) {
            eval->unknown++;
        }
    }

    if (json_object_size(object) == 0) {
        json_decref(object);
        return NULL;
    }

    return object;
}


/* Returns a new array, one object per element, or NULL if it would be empty. */

static json_t *
ngx_http_klaviyo_eval_items(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_node_t *node)
{
    json_t                   *array;
    ngx_uint_t                i, n;
    ngx_http_klaviyo_data_t   data, element;

    ngx_http_klaviyo_value_eval(eval, &node->value, &data);

    if (ngx_http_klaviyo_data_is_missing(&data)) {
        eval->unknown += (data.type == NGX_HTTP_KLAVIYO_UNKNOWN);
        return NULL;
    }

    array = json_array();
    if (array == NULL) {
        return NULL;
    }

    if (data.type != NGX_HTTP_KLAVIYO_TREE || !json_is_array(data.json)) {
        (void) ngx_http_klaviyo_eval_item(eval, node, &data, array);

    } else {
        n = json_array_size(data.json);

        if (n > NGX_HTTP_KLAVIYO_MAX_ITEMS) {
            n = NGX_HTTP_KLAVIYO_MAX_ITEMS;
            eval->arena->limits++;
            eval->unknown++;
        }

        for (i = 0; i < n; i++) {
            ngx_http_klaviyo_data_from_json(eval->arena, &element,
                                            json_array_get(data.json, i));

            if (ngx_http_klaviyo_eval_item(eval, node, &element, array)
                != NGX_OK)
            {
                break;
            }
        }
    }

    if (json_array_size(array) == 0) {
        json_decref(array);
        return NULL;
    }

    return array;
}


static ngx_int_t
ngx_http_klaviyo_eval_item(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_data_t *element,
    json_t *array)
{
    json_t                    *object;
    ngx_http_klaviyo_frame_t   frame;

    if (ngx_http_klaviyo_arena_charge(eval->arena, 256) != NGX_OK) {
        eval->unknown++;
        return NGX_DECLINED;
    }

    frame.data = *element;
    frame.outer = eval->frame;
    eval->frame = &frame;

    object = ngx_http_klaviyo_eval_object(eval, node->nodes);

    eval->frame = frame.outer;

    if (object) {
        (void) json_array_append_new(array, object);
    }

    return NGX_OK;
}
