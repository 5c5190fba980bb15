
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What a VALUE can be, told when the configuration is read.
 */


#include "ngx_http_klaviyo_outlook.h"


/* bytes of a message, and of a constant that it shows */
#define NGX_HTTP_KLAVIYO_OUTLOOK_REASON  256
#define NGX_HTTP_KLAVIYO_OUTLOOK_SHOWN   64


/* what a filter makes of what */
typedef struct {
    ngx_str_t                            name;
    ngx_uint_t                           takes;
    ngx_uint_t                           gives;
    ngx_uint_t                           below;    /* of trees that it gives */
} ngx_http_klaviyo_transfer_t;


static void ngx_http_klaviyo_outlook_set(ngx_http_klaviyo_outlook_t *outlook,
    ngx_uint_t types, ngx_uint_t below);
static void ngx_http_klaviyo_outlook_constant(
    ngx_http_klaviyo_outlook_t *outlook, ngx_http_klaviyo_data_t *data);
static void ngx_http_klaviyo_outlook_never(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_outlook_t *outlook,
    const char *fmt, ...);
static void ngx_http_klaviyo_outlook_term(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_term_t *term,
    ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_outlook_named(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_term_t *term,
    ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_outlook_path(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_path_t *path,
    ngx_str_t *root, ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_outlook_part(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_path_part_e part,
    ngx_str_t *name, ngx_str_t *root, ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_outlook_member(
    ngx_http_klaviyo_prospect_t *prospect, ngx_str_t *name, ngx_str_t *root,
    ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_outlook_node(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_node_t *node,
    ngx_http_klaviyo_outlook_t *outlook);
static void ngx_http_klaviyo_outlook_step(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_step_t *step,
    ngx_http_klaviyo_outlook_t *outlook);
static ngx_uint_t ngx_http_klaviyo_outlook_args(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_step_t *step,
    ngx_http_klaviyo_arg_t *args, ngx_http_klaviyo_outlook_t *arg);
static void ngx_http_klaviyo_outlook_run(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_step_t *step,
    ngx_http_klaviyo_arg_t *args, ngx_http_klaviyo_outlook_t *outlook);
static ngx_uint_t ngx_http_klaviyo_outlook_refuses(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_step_t *step,
    ngx_http_klaviyo_arg_t *args);
static void ngx_http_klaviyo_outlook_transfer(
    ngx_http_klaviyo_prospect_t *prospect, ngx_http_klaviyo_step_t *step,
    ngx_http_klaviyo_outlook_t *outlook);
static ngx_uint_t ngx_http_klaviyo_outlook_chosen(
    ngx_http_klaviyo_step_t *step, ngx_http_klaviyo_outlook_t *outlook);
static char *ngx_http_klaviyo_outlook_what(ngx_uint_t types);
static ngx_uint_t ngx_http_klaviyo_outlook_is(ngx_http_klaviyo_step_t *step,
    const char *name);


#define NGX_HTTP_KLAVIYO_TRANSFER(name, takes, gives, below)                  \
    { ngx_string(name), NGX_HTTP_KLAVIYO_MAY_##takes,                         \
      NGX_HTTP_KLAVIYO_MAY_##gives, NGX_HTTP_KLAVIYO_MAY_##below }

#define NGX_HTTP_KLAVIYO_MAY_FIGURE                                           \
    (NGX_HTTP_KLAVIYO_MAY_STRING|NGX_HTTP_KLAVIYO_MAY_NUMBER)

#define NGX_HTTP_KLAVIYO_MAY_FIGURES                                          \
    (NGX_HTTP_KLAVIYO_MAY_FIGURE|NGX_HTTP_KLAVIYO_MAY_ARRAY)

/* what a form has: texts, in any depth */
#define NGX_HTTP_KLAVIYO_MAY_FORM                                             \
    (NGX_HTTP_KLAVIYO_MAY_STRING|NGX_HTTP_KLAVIYO_MAY_TREE)


/*
 * "takes" and "gives" are of a scalar where the filter is applied to each
 * element of an array.  One that is not here may give anything.
 */

static ngx_http_klaviyo_transfer_t  ngx_http_klaviyo_transfers[] = {

    NGX_HTTP_KLAVIYO_TRANSFER("urldecode", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("formdecode", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("base64", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("base64url", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("form", SCALAR, OBJECT, FORM),
    NGX_HTTP_KLAVIYO_TRANSFER("kv", SCALAR, OBJECT, STRING),
    NGX_HTTP_KLAVIYO_TRANSFER("unescape", SCALAR, STRING, ANY),

    NGX_HTTP_KLAVIYO_TRANSFER("keys", OBJECT, ARRAY, STRING),
    NGX_HTTP_KLAVIYO_TRANSFER("pick", OBJECT, ARRAY, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("entries", ANY, ARRAY, ARRAY),
    NGX_HTTP_KLAVIYO_TRANSFER("where", ANY, ARRAY, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("unique", ANY, ARRAY, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("zip", ANY, ARRAY, ARRAY),
    NGX_HTTP_KLAVIYO_TRANSFER("concat", ANY, ARRAY, ANY),

    NGX_HTTP_KLAVIYO_TRANSFER("trim", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("lower", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("upper", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("regex", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("join", ANY, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("prefix", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("suffix", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("gid", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("sha256", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("e164", SCALAR, STRING, ANY),

    NGX_HTTP_KLAVIYO_TRANSFER("number", FIGURE, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("integer", FIGURE, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("boolean", SCALAR, BOOLEAN, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("string", SCALAR, STRING, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("date", FIGURE, STRING, ANY),

    NGX_HTTP_KLAVIYO_TRANSFER("count", ANY, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("sum", FIGURES, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("min", FIGURES, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("max", FIGURES, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("multiply", FIGURE, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("divide", FIGURE, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("scale", FIGURE, NUMBER, ANY),
    NGX_HTTP_KLAVIYO_TRANSFER("round", FIGURE, NUMBER, ANY),

    { ngx_null_string, 0, 0, 0 }
};


void
ngx_http_klaviyo_outlook(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_step_t  *step;

    ngx_str_null(&prospect->reason);

    ngx_http_klaviyo_outlook_term(prospect, &value->term, outlook);

    if (value->steps) {
        step = value->steps->elts;

        for (i = 0; i < value->steps->nelts; i++) {
            ngx_http_klaviyo_outlook_step(prospect, &step[i], outlook);
        }
    }

    /* an empty tree is not sent */

    if (outlook->constant && outlook->data.type == NGX_HTTP_KLAVIYO_TREE
        && json_array_size(outlook->data.json) == 0
        && json_object_size(outlook->data.json) == 0)
    {
        ngx_http_klaviyo_outlook_never(prospect, outlook,
                                       "it is always empty");
    }
}


void
ngx_http_klaviyo_outlook_name(ngx_http_klaviyo_prospect_t *prospect)
{
    ngx_http_klaviyo_name_t     *name;
    ngx_http_klaviyo_outlook_t  *outlook;

    name = &prospect->names[prospect->nknown];
    outlook = &prospect->known[prospect->nknown];

    if (name->value) {
        ngx_http_klaviyo_outlook(prospect, name->value, outlook);

    } else {
        ngx_http_klaviyo_outlook_node(prospect, name->node, outlook);
    }

    prospect->nknown++;
}


static void
ngx_http_klaviyo_outlook_set(ngx_http_klaviyo_outlook_t *outlook,
    ngx_uint_t types, ngx_uint_t below)
{
    ngx_memzero(outlook, sizeof(ngx_http_klaviyo_outlook_t));

    outlook->types = types;
    outlook->below = below;
}


static void
ngx_http_klaviyo_outlook_constant(ngx_http_klaviyo_outlook_t *outlook,
    ngx_http_klaviyo_data_t *data)
{
    ngx_uint_t  types;

    switch (data->type) {

    case NGX_HTTP_KLAVIYO_MISSING:
        types = 0;
        break;

    case NGX_HTTP_KLAVIYO_STRING:
        types = NGX_HTTP_KLAVIYO_MAY_STRING;
        break;

    case NGX_HTTP_KLAVIYO_NUMBER:
        types = NGX_HTTP_KLAVIYO_MAY_NUMBER;
        break;

    case NGX_HTTP_KLAVIYO_FALSE:
    case NGX_HTTP_KLAVIYO_TRUE:
        types = NGX_HTTP_KLAVIYO_MAY_BOOLEAN;
        break;

    case NGX_HTTP_KLAVIYO_TREE:
        types = json_is_array(data->json) ? NGX_HTTP_KLAVIYO_MAY_ARRAY
                                          : NGX_HTTP_KLAVIYO_MAY_OBJECT;
        break;

    default: /* NGX_HTTP_KLAVIYO_UNKNOWN: a limit */
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_ANY,
                                     NGX_HTTP_KLAVIYO_MAY_ANY);
        return;
    }

    ngx_http_klaviyo_outlook_set(outlook, types, NGX_HTTP_KLAVIYO_MAY_ANY);

    outlook->constant = 1;
    outlook->data = *data;
}


/* The first reason is the one; all that follows from it is not worth a word. */

static void
ngx_http_klaviyo_outlook_never(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_outlook_t *outlook, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    ngx_http_klaviyo_outlook_set(outlook, 0, 0);

    p = ngx_pnalloc(prospect->pool, NGX_HTTP_KLAVIYO_OUTLOOK_REASON);
    if (p == NULL) {
        return;
    }

    prospect->reason.data = p;

    va_start(args, fmt);
    p = ngx_vslprintf(p, p + NGX_HTTP_KLAVIYO_OUTLOOK_REASON, fmt, args);
    va_end(args);

    prospect->reason.len = p - prospect->reason.data;
}


static void
ngx_http_klaviyo_outlook_term(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_term_t *term, ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_http_klaviyo_data_t  data;

    static ngx_str_t  args = ngx_string("args");
    static ngx_str_t  cookies = ngx_string("cookies");

    switch (term->type) {

    case NGX_HTTP_KLAVIYO_TERM_ARGS:
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_OBJECT,
                                     NGX_HTTP_KLAVIYO_MAY_FORM);
        ngx_http_klaviyo_outlook_path(prospect, term->path, &args, outlook);
        return;

    case NGX_HTTP_KLAVIYO_TERM_COOKIES:
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_OBJECT,
                                     NGX_HTTP_KLAVIYO_MAY_STRING);
        ngx_http_klaviyo_outlook_path(prospect, term->path, &cookies, outlook);
        return;

    case NGX_HTTP_KLAVIYO_TERM_NAME:
        ngx_http_klaviyo_outlook_named(prospect, term, outlook);
        return;

    case NGX_HTTP_KLAVIYO_TERM_STRING:

        if (term->parts) {
            ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_STRING,
                                         0);
            return;
        }

        if (term->text.len == 0) {
            ngx_http_klaviyo_outlook_never(prospect, outlook,
                                           "an empty text is missing");
            outlook->constant = 1;
            return;
        }

        ngx_http_klaviyo_data_set_string(&data, term->text.data,
                                         term->text.len);
        ngx_http_klaviyo_outlook_constant(outlook, &data);
        return;

    default: /* documents, elements */
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_ANY,
                                     NGX_HTTP_KLAVIYO_MAY_ANY);
        return;
    }
}


static void
ngx_http_klaviyo_outlook_named(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_term_t *term, ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_str_t                name;
    ngx_http_klaviyo_data_t  data;

    if (term->n >= prospect->nknown) {
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_ANY,
                                     NGX_HTTP_KLAVIYO_MAY_ANY);
        return;
    }

    *outlook = prospect->known[term->n];

    /* it has its own warning */

    if (outlook->types == 0) {
        return;
    }

    if (outlook->constant && outlook->data.type == NGX_HTTP_KLAVIYO_TREE) {
        ngx_http_klaviyo_path_select(prospect->arena, term->path,
                                     &outlook->data, &data);
        ngx_http_klaviyo_outlook_constant(outlook, &data);

        if (outlook->types == 0) {
            ngx_http_klaviyo_outlook_never(prospect, outlook,
                                           "\"@%V\" has no such part",
                                           &prospect->names[term->n].name);
        }

        return;
    }

    name = prospect->names[term->n].name;

    ngx_http_klaviyo_outlook_path(prospect, term->path, &name, outlook);
}


static void
ngx_http_klaviyo_outlook_path(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_path_t *path, ngx_str_t *root,
    ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_int_t                      index;
    ngx_str_t                      name;
    ngx_uint_t                     n;
    ngx_http_klaviyo_path_part_e   part;

    ngx_str_null(&name);

    for (n = 0; outlook->types; n++) {

        part = ngx_http_klaviyo_path_part(path, n, &name, &index);

        if (part == NGX_HTTP_KLAVIYO_PATH_END) {
            break;
        }

        ngx_http_klaviyo_outlook_part(prospect, part, &name, root, outlook);
    }

    if (outlook->types && ngx_http_klaviyo_path_plural(path)) {

        /* of what was selected, in an array */

        outlook->below = outlook->types | outlook->below;
        outlook->types = NGX_HTTP_KLAVIYO_MAY_ARRAY;
        outlook->nodes = NULL;
        outlook->constant = 0;
    }
}


static void
ngx_http_klaviyo_outlook_part(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_path_part_e part, ngx_str_t *name, ngx_str_t *root,
    ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_uint_t  needs;

    switch (part) {

    case NGX_HTTP_KLAVIYO_PATH_NAME:
        needs = NGX_HTTP_KLAVIYO_MAY_OBJECT;
        break;

    case NGX_HTTP_KLAVIYO_PATH_INDEX:
        needs = NGX_HTTP_KLAVIYO_MAY_ARRAY;
        break;

    default: /* a wildcard or a filter */
        needs = NGX_HTTP_KLAVIYO_MAY_TREE;
        break;
    }

    if (!(outlook->types & needs)) {

        if (part == NGX_HTTP_KLAVIYO_PATH_NAME) {
            ngx_http_klaviyo_outlook_never(prospect, outlook,
                              "there is no \"%V\" below \"@%V\", which is %s",
                              name, root,
                              ngx_http_klaviyo_outlook_what(outlook->types));
            return;
        }

        ngx_http_klaviyo_outlook_never(prospect, outlook,
                              "there are no elements below \"@%V\", which is "
                              "%s", root,
                              ngx_http_klaviyo_outlook_what(outlook->types));
        return;
    }

    if (outlook->nodes == NULL) {
        ngx_http_klaviyo_outlook_set(outlook, outlook->below, outlook->below);
        return;
    }

    if (part == NGX_HTTP_KLAVIYO_PATH_NAME) {
        ngx_http_klaviyo_outlook_member(prospect, name, root, outlook);

    } else if (outlook->types == NGX_HTTP_KLAVIYO_MAY_ARRAY) {

        /* an element of "items" */

        outlook->types = NGX_HTTP_KLAVIYO_MAY_OBJECT;

    } else {
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_ANY,
                                     NGX_HTTP_KLAVIYO_MAY_ANY);
    }
}


static void
ngx_http_klaviyo_outlook_member(ngx_http_klaviyo_prospect_t *prospect,
    ngx_str_t *name, ngx_str_t *root, ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_node_t  *node;

    node = outlook->nodes->elts;

    for (i = 0; i < outlook->nodes->nelts; i++) {

        if (node[i].name.len == name->len
            && ngx_strncmp(node[i].name.data, name->data, name->len) == 0)
        {
            ngx_http_klaviyo_outlook_node(prospect, &node[i], outlook);

            /* it has its own warning */

            ngx_str_null(&prospect->reason);

            return;
        }
    }

    ngx_http_klaviyo_outlook_never(prospect, outlook,
                                   "\"@%V\" has no property \"%V\"", root,
                                   name);
}


static void
ngx_http_klaviyo_outlook_node(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_node_t *node, ngx_http_klaviyo_outlook_t *outlook)
{
    if (node->type == NGX_HTTP_KLAVIYO_NODE_PROPERTY) {
        ngx_http_klaviyo_outlook(prospect, &node->value, outlook);
        return;
    }

    ngx_http_klaviyo_outlook_set(outlook,
                                 node->type == NGX_HTTP_KLAVIYO_NODE_OBJECT
                                 ? NGX_HTTP_KLAVIYO_MAY_OBJECT
                                 : NGX_HTTP_KLAVIYO_MAY_ARRAY,
                                 NGX_HTTP_KLAVIYO_MAY_ANY);

    outlook->nodes = node->nodes;
}


static void
ngx_http_klaviyo_outlook_step(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_step_t *step, ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_uint_t                  constant;
    ngx_http_klaviyo_arg_t      args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_outlook_t  arg;

    if (step->filter->args[0] == NGX_HTTP_KLAVIYO_ARG_NAME) {

        if (outlook->types) {
            ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_ANY,
                                         NGX_HTTP_KLAVIYO_MAY_ANY);
        }

        return;
    }

    constant = ngx_http_klaviyo_outlook_args(prospect, step, args, &arg);

    if (outlook->constant && constant) {
        ngx_http_klaviyo_outlook_run(prospect, step, args, outlook);
        return;
    }

    if (ngx_http_klaviyo_outlook_is(step, "default")) {

        if (outlook->types == 0) {
            *outlook = arg;
            return;
        }

        ngx_http_klaviyo_outlook_set(outlook, outlook->types | arg.types,
                                     outlook->below | arg.below);
        ngx_str_null(&prospect->reason);
        return;
    }

    if (ngx_http_klaviyo_outlook_is(step, "count")) {
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_NUMBER, 0);
        ngx_str_null(&prospect->reason);
        return;
    }

    if (outlook->types == 0) {
        return;
    }

    if (constant && ngx_http_klaviyo_outlook_refuses(prospect, step, args)) {
        ngx_http_klaviyo_outlook_never(prospect, outlook,
                                       "\"%V\" gives nothing with this "
                                       "argument", &step->filter->name);
        return;
    }

    ngx_http_klaviyo_outlook_transfer(prospect, step, outlook);
}


/* Whether all arguments are constants; "arg" is the outlook of the TERM. */

static ngx_uint_t
ngx_http_klaviyo_outlook_args(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_step_t *step, ngx_http_klaviyo_arg_t *args,
    ngx_http_klaviyo_outlook_t *arg)
{
    ngx_str_t   reason;
    ngx_uint_t  i, constant;

    constant = 1;
    reason = prospect->reason;

    ngx_http_klaviyo_outlook_set(arg, NGX_HTTP_KLAVIYO_MAY_ANY,
                                 NGX_HTTP_KLAVIYO_MAY_ANY);

    for (i = 0; i < step->nargs; i++) {
        args[i] = step->args[i];

        if (step->terms[i] == NULL) {
            continue;
        }

        ngx_http_klaviyo_outlook_term(prospect, step->terms[i], arg);

        args[i].data = arg->data;
        constant &= arg->constant;
    }

    /* an argument may be missing, where that is no mistake by itself */

    prospect->reason = reason;

    return constant;
}


static void
ngx_http_klaviyo_outlook_run(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_step_t *step, ngx_http_klaviyo_arg_t *args,
    ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_str_t                text;
    ngx_uint_t               present;
    ngx_http_klaviyo_data_t  data;

    data = outlook->data;
    present = (data.type != NGX_HTTP_KLAVIYO_MISSING);

    ngx_http_klaviyo_filter_run(prospect->arena, step->filter, &data, args,
                                step->nargs);

    if (data.type != NGX_HTTP_KLAVIYO_MISSING) {
        ngx_str_null(&prospect->reason);

    } else if (present) {

        if (ngx_http_klaviyo_data_text(&outlook->data, &text) != NGX_OK) {
            ngx_str_set(&text, "...");
        }

        text.len = ngx_min(text.len, NGX_HTTP_KLAVIYO_OUTLOOK_SHOWN);

        ngx_http_klaviyo_outlook_never(prospect, outlook,
                                       "\"%V\" gives nothing for \"%V\"",
                                       &step->filter->name, &text);
    }

    ngx_http_klaviyo_outlook_constant(outlook, &data);
}


/* "multiply abc", "divide 0": whatever comes in, nothing comes out. */

static ngx_uint_t
ngx_http_klaviyo_outlook_refuses(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_step_t *step, ngx_http_klaviyo_arg_t *args)
{
    ngx_http_klaviyo_data_t  data;

    if (!ngx_http_klaviyo_outlook_is(step, "multiply")
        && !ngx_http_klaviyo_outlook_is(step, "divide")
        && !ngx_http_klaviyo_outlook_is(step, "scale")
        && !ngx_http_klaviyo_outlook_is(step, "prefix")
        && !ngx_http_klaviyo_outlook_is(step, "suffix"))
    {
        return 0;
    }

    ngx_http_klaviyo_data_set_string(&data, "1", 1);

    ngx_http_klaviyo_filter_run(prospect->arena, step->filter, &data, args,
                                step->nargs);

    return data.type == NGX_HTTP_KLAVIYO_MISSING;
}


static void
ngx_http_klaviyo_outlook_transfer(ngx_http_klaviyo_prospect_t *prospect,
    ngx_http_klaviyo_step_t *step, ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_uint_t                    types, below, array;
    ngx_http_klaviyo_transfer_t  *t;

    if (ngx_http_klaviyo_outlook_chosen(step, outlook)) {
        if (outlook->types == 0) {
            ngx_http_klaviyo_outlook_never(prospect, outlook,
                                           "there is one element only for "
                                           "\"%V\"", &step->filter->name);
        }

        return;
    }

    for (t = ngx_http_klaviyo_transfers; t->name.len; t++) {
        if (ngx_http_klaviyo_outlook_is(step, (char *) t->name.data)) {
            break;
        }
    }

    if (t->name.len == 0) {
        ngx_http_klaviyo_outlook_set(outlook, NGX_HTTP_KLAVIYO_MAY_ANY,
                                     NGX_HTTP_KLAVIYO_MAY_ANY);
        return;
    }

    array = step->filter->maps
            ? outlook->types & NGX_HTTP_KLAVIYO_MAY_ARRAY : 0;

    if (!(outlook->types & t->takes) && !array) {
        ngx_http_klaviyo_outlook_never(prospect, outlook,
                              "\"%V\" gives nothing for %s",
                              &step->filter->name,
                              ngx_http_klaviyo_outlook_what(outlook->types));
        return;
    }

    types = array | ((outlook->types & t->takes) ? t->gives : 0);
    below = array ? (t->gives | t->below | array) : t->below;

    ngx_http_klaviyo_outlook_set(outlook, types, below);
}


/* The filters that choose, which depends on what is there: 1 if it is one. */

static ngx_uint_t
ngx_http_klaviyo_outlook_chosen(ngx_http_klaviyo_step_t *step,
    ngx_http_klaviyo_outlook_t *outlook)
{
    ngx_int_t   n;
    ngx_uint_t  types, below;

    if (ngx_http_klaviyo_outlook_is(step, "split")) {
        types = outlook->types & NGX_HTTP_KLAVIYO_MAY_ARRAY;
        types |= (step->nargs == 2) ? NGX_HTTP_KLAVIYO_MAY_STRING
                                    : NGX_HTTP_KLAVIYO_MAY_ARRAY;

        ngx_http_klaviyo_outlook_set(outlook, types,
                                     NGX_HTTP_KLAVIYO_MAY_STRING
                                     |NGX_HTTP_KLAVIYO_MAY_ARRAY);
        return 1;
    }

    if (ngx_http_klaviyo_outlook_is(step, "at")) {
        n = step->args[0].n;

    } else if (ngx_http_klaviyo_outlook_is(step, "first")
               || ngx_http_klaviyo_outlook_is(step, "last"))
    {
        n = 0;

    } else {
        return 0;
    }

    below = outlook->below;
    types = 0;

    if (outlook->types & NGX_HTTP_KLAVIYO_MAY_ARRAY) {
        types = outlook->nodes ? NGX_HTTP_KLAVIYO_MAY_ANY : below;
    }

    /* what is no array is one of one */

    if (n == 0 || n == -1) {
        types |= outlook->types & ~NGX_HTTP_KLAVIYO_MAY_ARRAY;
    }

    ngx_http_klaviyo_outlook_set(outlook, types, below);

    return 1;
}


static char *
ngx_http_klaviyo_outlook_what(ngx_uint_t types)
{
    if (types == NGX_HTTP_KLAVIYO_MAY_NUMBER) {
        return "a number";
    }

    if (types == NGX_HTTP_KLAVIYO_MAY_BOOLEAN) {
        return "true or false";
    }

    if (types == NGX_HTTP_KLAVIYO_MAY_ARRAY) {
        return "an array";
    }

    if (types == NGX_HTTP_KLAVIYO_MAY_OBJECT) {
        return "an object";
    }

    if (types & NGX_HTTP_KLAVIYO_MAY_TREE) {
        return (types & NGX_HTTP_KLAVIYO_MAY_ARRAY) ? "an array or a text"
                                                    : "an object or a text";
    }

    return "a text";
}


static ngx_uint_t
ngx_http_klaviyo_outlook_is(ngx_http_klaviyo_step_t *step, const char *name)
{
    return step->filter->name.len == ngx_strlen(name)
           && ngx_strncmp(step->filter->name.data, name,
                          step->filter->name.len)
              == 0;
}
