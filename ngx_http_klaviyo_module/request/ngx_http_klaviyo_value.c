
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Compiles a VALUE.  nginx's parser drops quotes, so tokens are told apart by
 * their place only: a filter first takes its mandatory arguments.
 */


#include "ngx_http_klaviyo_module.h"


static ngx_int_t ngx_http_klaviyo_term_compile(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_term_t *term, ngx_str_t *token);
static ngx_int_t ngx_http_klaviyo_term_document(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_term_t *term, ngx_str_t *token);
static ngx_int_t ngx_http_klaviyo_term_name(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_term_t *term, ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_term_element(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_term_t *term, ngx_str_t *token);
static ngx_int_t ngx_http_klaviyo_term_path(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_term_t *term,
    ngx_str_t *token, ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_term_pick(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_term_t *term);
static ngx_http_klaviyo_pick_t *ngx_http_klaviyo_term_root(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_term_t *term);
static ngx_int_t ngx_http_klaviyo_term_string(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_term_t *term, ngx_str_t *token);
static ngx_int_t ngx_http_klaviyo_term_variable(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_part_t *part, ngx_str_t *token, u_char **pp);
static ngx_int_t ngx_http_klaviyo_value_refer(
    ngx_http_klaviyo_compile_t *compile, ngx_str_t *name, ngx_uint_t recall);
static ngx_int_t ngx_http_klaviyo_term_refuse(
    ngx_http_klaviyo_compile_t *compile, ngx_str_t *token, ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_term_literal(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_part_t *part,
    ngx_str_t *token, u_char **pp);
static ngx_int_t ngx_http_klaviyo_term_pipe(
    ngx_http_klaviyo_compile_t *compile, ngx_str_t *token);
static void ngx_http_klaviyo_value_mark(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_part_t *part);
static ngx_uint_t ngx_http_klaviyo_value_early(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_part_t *part);
static void ngx_http_klaviyo_value_needs(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_uint_t needs);
static ngx_int_t ngx_http_klaviyo_step_compile(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value);
static ngx_int_t ngx_http_klaviyo_step_args(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_step_t *step);
static ngx_int_t ngx_http_klaviyo_step_pair(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_step_t *step);
static ngx_int_t ngx_http_klaviyo_step_arg(
    ngx_http_klaviyo_compile_t *compile, ngx_http_klaviyo_value_t *value,
    ngx_http_klaviyo_step_t *step);
static ngx_uint_t ngx_http_klaviyo_value_known(
    ngx_http_core_main_conf_t *cmcf, ngx_str_t *name);


#define ngx_http_klaviyo_is(s, text)                                          \
    ((s)->len == sizeof(text) - 1                                             \
     && ngx_strncmp((s)->data, text, sizeof(text) - 1) == 0)

/* nginx's names of variables have no case */
#define ngx_http_klaviyo_is_variable(s, text)                                 \
    ((s)->len == sizeof(text) - 1                                             \
     && ngx_strncasecmp((s)->data, (u_char *) text, sizeof(text) - 1) == 0)


static char  *ngx_http_klaviyo_args[] = {
    "no argument", "a path", "a pattern", "a glob", "a separator",
    "a separator", "an index", "a country", "a name", "a value"
};

static ngx_str_t  ngx_http_klaviyo_operators[] = {
    ngx_string("="), ngx_string("!="), ngx_string("~"), ngx_string("!~"),
    ngx_string("~*"), ngx_string("!~*"), ngx_string("<"), ngx_string("<="),
    ngx_string(">"), ngx_string(">="), ngx_null_string
};

typedef struct {
    ngx_str_t                            name;
    ngx_http_klaviyo_term_e              type;
    ngx_uint_t                           needs;
} ngx_http_klaviyo_document_t;


static ngx_http_klaviyo_document_t  ngx_http_klaviyo_documents[] = {

    { ngx_string("args"), NGX_HTTP_KLAVIYO_TERM_ARGS, 0 },
    { ngx_string("cookies"), NGX_HTTP_KLAVIYO_TERM_COOKIES, 0 },
    { ngx_string("request"), NGX_HTTP_KLAVIYO_TERM_REQUEST,
      NGX_HTTP_KLAVIYO_NEED_REQUEST },
    { ngx_string("graphql"), NGX_HTTP_KLAVIYO_TERM_GRAPHQL,
      NGX_HTTP_KLAVIYO_NEED_REQUEST },
    { ngx_string("response"), NGX_HTTP_KLAVIYO_TERM_RESPONSE,
      NGX_HTTP_KLAVIYO_NEED_RESPONSE },
    { ngx_string("jsonld"), NGX_HTTP_KLAVIYO_TERM_JSONLD,
      NGX_HTTP_KLAVIYO_NEED_JSONLD },

    { ngx_null_string, NGX_HTTP_KLAVIYO_TERM_NAME, 0 }
};

/* variables that have no value before the response's headers are sent */
static ngx_str_t  ngx_http_klaviyo_late[] = {
    ngx_string("status"), ngx_string("sent_"), ngx_string("upstream_"),
    ngx_string("bytes_sent"), ngx_string("body_bytes_sent"),
    ngx_string("request_time"), ngx_string("request_completion"),
    ngx_string("request_length"), ngx_string("klaviyo_result"),
    ngx_null_string
};

/*
 * variables that are the same from the request's arrival on; one of a map or of
 * another module may depend on the response.  With "_" at its end, all that
 * begin so.
 */
static ngx_str_t  ngx_http_klaviyo_early[] = {
    ngx_string("arg_"), ngx_string("http_"), ngx_string("cookie_"),
    ngx_string("args"), ngx_string("query_string"), ngx_string("is_args"),
    ngx_string("uri"), ngx_string("document_uri"), ngx_string("request_uri"),
    ngx_string("request_method"), ngx_string("host"), ngx_string("scheme"),
    ngx_string("https"), ngx_string("server_name"), ngx_string("server_port"),
    ngx_string("content_type"), ngx_string("content_length"),
    ngx_string("hostname"), ngx_string("klaviyo_url"), ngx_null_string
};


ngx_int_t
ngx_http_klaviyo_value_compile(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value)
{
    ngx_str_t  *first, *token;

    ngx_memzero(value, sizeof(ngx_http_klaviyo_value_t));

    if (compile->token == compile->last) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "no value after \"%V\"", compile->token - 1);
        return NGX_ERROR;
    }

    first = compile->token;
    token = compile->token++;

    if (ngx_http_klaviyo_term_compile(compile, value, &value->term, token)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (compile->token < compile->last) {

        token = compile->token;

        if (ngx_http_klaviyo_is(token, "|")) {
            compile->token++;

            if (ngx_http_klaviyo_step_compile(compile, value) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (compile->operators && ngx_http_klaviyo_value_operator(token)) {
            break;
        }

        if (compile->several) {
            break;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "unexpected \"%V\", a value goes on with "
                           "\"| filter\"%s", token,
                           compile->operators
                           ? ", = != < <= > >= ~ !~ ~* or !~*" : " only");
        return NGX_ERROR;
    }

    if (value->term.pick && (!compile->parts || value->steps)) {
        value->term.pick->whole = 1;
    }

    value->place = ngx_http_klaviyo_place(compile->cf, first, compile->token);

    return value->place ? NGX_OK : NGX_ERROR;
}


ngx_http_klaviyo_place_t *
ngx_http_klaviyo_place(ngx_conf_t *cf, ngx_str_t *token, ngx_str_t *last)
{
    u_char                    *p;
    size_t                     len;
    ngx_str_t                 *t;
    ngx_http_klaviyo_place_t  *place;

    len = 0;

    for (t = token; t < last; t++) {
        len += t->len + 1;
    }

    place = ngx_palloc(cf->pool, sizeof(ngx_http_klaviyo_place_t));
    p = ngx_pnalloc(cf->pool, len);

    if (place == NULL || p == NULL) {
        return NULL;
    }

    place->file = cf->conf_file->file.name;
    place->line = cf->conf_file->line;
    place->words = last - token;
    place->text.data = p;

    for (t = token; t < last; t++) {

        if (t > token) {
            *p++ = ' ';
        }

        p = ngx_cpymem(p, t->data, t->len);
    }

    place->text.len = p - place->text.data;

    return place;
}


ngx_uint_t
ngx_http_klaviyo_value_operator(ngx_str_t *token)
{
    ngx_str_t  *op;

    for (op = ngx_http_klaviyo_operators; op->len; op++) {

        if (op->len == token->len
            && ngx_strncmp(op->data, token->data, op->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_klaviyo_term_compile(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term,
    ngx_str_t *token)
{
    if (ngx_http_klaviyo_term_pipe(compile, token) != NGX_OK) {
        return NGX_ERROR;
    }

    if (token->len && token->data[0] == '@') {
        return ngx_http_klaviyo_term_document(compile, value, term, token);
    }

    if (token->len && token->data[0] == '.') {
        return ngx_http_klaviyo_term_element(compile, value, term, token);
    }

    return ngx_http_klaviyo_term_string(compile, value, term, token);
}


static ngx_int_t
ngx_http_klaviyo_term_document(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term,
    ngx_str_t *token)
{
    u_char                       *p, *last;
    ngx_str_t                     name, path;
    ngx_http_klaviyo_document_t  *document;

    p = token->data + 1;
    last = token->data + token->len;

    name.data = p;

    while (p < last && *p != '.' && *p != '[') {
        p++;
    }

    name.len = p - name.data;

    if (p < last && *p == '.') {
        p++;
    }

    path.data = p;
    path.len = last - p;

    for (document = ngx_http_klaviyo_documents; document->name.len;
         document++)
    {
        if (document->name.len == name.len
            && ngx_strncmp(document->name.data, name.data, name.len) == 0)
        {
            break;
        }
    }

    if (document->name.len) {
        term->type = document->type;
        ngx_http_klaviyo_value_needs(compile, value, document->needs);

    } else if (ngx_http_klaviyo_term_name(compile, value, term, &name)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (path.len == 0 && last[-1] == '.') {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "empty name in \"%V\"", token);
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_term_path(compile, term, token, &path);
}


static ngx_int_t
ngx_http_klaviyo_term_name(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term,
    ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_name_t  *names;

    if (compile->names) {
        names = compile->names->elts;

        for (i = 0; i < compile->names->nelts; i++) {

            if (names[i].name.len == name->len
                && ngx_strncmp(names[i].name.data, name->data, name->len) == 0)
            {
                term->type = NGX_HTTP_KLAVIYO_TERM_NAME;
                term->n = i;

                value->each |= names[i].each;
                value->status |= names[i].status;
                value->body |= names[i].body;
                value->answer |= names[i].answer;
                value->late |= names[i].late;

                return NGX_OK;
            }
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                       "unknown name \"@%V\", it must be @args, @cookies, "
                       "@request, @response, @graphql, @jsonld or the name "
                       "of a let, object or items above; a text begins with "
                       "\"\\@\"", name);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_klaviyo_term_element(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term,
    ngx_str_t *token)
{
    ngx_str_t  path;

    path.data = token->data + 1;
    path.len = token->len - 1;

    term->type = NGX_HTTP_KLAVIYO_TERM_ELEMENT;

    if (path.len && path.data[0] == '.') {
        term->n = 1;
        path.data++;
        path.len--;
    }

    if (value->frames < term->n + 1) {
        value->frames = term->n + 1;
        compile->element = *token;
    }

    return ngx_http_klaviyo_term_path(compile, term, token, &path);
}


static ngx_int_t
ngx_http_klaviyo_term_path(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_term_t *term, ngx_str_t *token, ngx_str_t *text)
{
    u_char     buf[128];
    ngx_str_t  err;

    err.data = buf;
    err.len = sizeof(buf);

    term->path = ngx_http_klaviyo_path_parse(compile->cf->pool, text, &err);

    if (term->path == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid \"%V\": %V", token, &err);
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_term_pick(compile, term);
}


/* What the term asks for of a body, be it by a name or in an element. */

static ngx_int_t
ngx_http_klaviyo_term_pick(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_term_t *term)
{
    ngx_http_klaviyo_pick_t  *pick;

    pick = ngx_http_klaviyo_term_root(compile, term);

    if (pick == NULL) {
        return NGX_OK;
    }

    term->pick = ngx_http_klaviyo_pick_path(compile->cf->pool, pick,
                                            term->path);

    return term->pick ? NGX_OK : NGX_ERROR;
}


static ngx_http_klaviyo_pick_t *
ngx_http_klaviyo_term_root(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_term_t *term)
{
    ngx_http_klaviyo_name_t       *name;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_conf_get_module_main_conf(compile->cf,
                                              ngx_http_klaviyo_module);

    switch (term->type) {

    case NGX_HTTP_KLAVIYO_TERM_REQUEST:
        return &kmcf->request_pick;

    case NGX_HTTP_KLAVIYO_TERM_RESPONSE:
        return &kmcf->response_pick;

    case NGX_HTTP_KLAVIYO_TERM_GRAPHQL:

        /* what it is made of it doesn't tell */

        kmcf->request_pick.whole = 1;
        return NULL;

    case NGX_HTTP_KLAVIYO_TERM_NAME:
        name = compile->names->elts;
        name += term->n;

        return name->value ? name->value->term.pick : NULL;

    case NGX_HTTP_KLAVIYO_TERM_ELEMENT:
        return compile->elements[term->n];

    default:
        return NULL;
    }
}


/*
 * A string: literal pieces, in which \. \@ \$ and \xNN are escapes, and
 * variables.
 */

static ngx_int_t
ngx_http_klaviyo_term_string(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_term_t *term,
    ngx_str_t *token)
{
    u_char                   *p, *last;
    ngx_int_t                 rc;
    ngx_http_klaviyo_part_t  *part;

    term->type = NGX_HTTP_KLAVIYO_TERM_STRING;

    term->parts = ngx_array_create(compile->cf->pool, 2,
                                   sizeof(ngx_http_klaviyo_part_t));
    if (term->parts == NULL) {
        return NGX_ERROR;
    }

    p = token->data;
    last = token->data + token->len;

    while (p < last) {

        part = ngx_array_push(term->parts);
        if (part == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(part, sizeof(ngx_http_klaviyo_part_t));

        if (*p == '$') {
            rc = ngx_http_klaviyo_term_variable(compile, value, part, token,
                                                &p);
        } else {
            rc = ngx_http_klaviyo_term_literal(compile, part, token, &p);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    part = term->parts->elts;

    if (term->parts->nelts == 0
        || (term->parts->nelts == 1 && part[0].index == NGX_ERROR))
    {
        if (term->parts->nelts) {
            term->text = part[0].text;
        }

        term->parts = NULL;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_term_variable(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_part_t *part,
    ngx_str_t *token, u_char **pp)
{
    u_char      *p, *last;
    ngx_str_t    name;
    ngx_uint_t   brace;

    p = *pp + 1;
    last = token->data + token->len;
    brace = (p < last && *p == '{');

    if (brace) {
        p++;
    }

    name.data = p;

    while (p < last
           && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
               || (*p >= '0' && *p <= '9') || *p == '_'))
    {
        p++;
    }

    name.len = p - name.data;

    if (name.len == 0 || (brace && (p == last || *p != '}'))) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid variable name in \"%V\", a \"$\" itself "
                           "is written \"\\$\"", token);
        return NGX_ERROR;
    }

    if (ngx_http_klaviyo_term_refuse(compile, token, &name) != NGX_OK) {
        return NGX_ERROR;
    }

    part->index = ngx_http_get_variable_index(compile->cf, &name);
    if (part->index == NGX_ERROR) {
        return NGX_ERROR;
    }

    part->text = name;
    part->decode = (name.len > 4
                    && ngx_strncasecmp(name.data, (u_char *) "arg_", 4) == 0);

    if (ngx_http_klaviyo_value_refer(compile, &name, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_value_mark(compile, value, part);

    *pp = p + brace;

    return NGX_OK;
}


/* Notes what can be looked up only when all is read. */

static ngx_int_t
ngx_http_klaviyo_value_refer(ngx_http_klaviyo_compile_t *compile,
    ngx_str_t *name, ngx_uint_t recall)
{
    ngx_http_klaviyo_reference_t  *reference;

    reference = ngx_array_push(compile->references);
    if (reference == NULL) {
        return NGX_ERROR;
    }

    reference->name = *name;
    reference->file = compile->cf->conf_file->file.name;
    reference->line = compile->cf->conf_file->line;
    reference->recall = recall;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_term_refuse(ngx_http_klaviyo_compile_t *compile,
    ngx_str_t *token, ngx_str_t *name)
{
    if (name->data[0] >= '1' && name->data[0] <= '9') {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid variable \"$%V\" in \"%V\", name the "
                           "capture: (?<name>...)", name, token);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_term_literal(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_part_t *part, ngx_str_t *token, u_char **pp)
{
    u_char     *p, *dst, *last;
    ngx_int_t   c;

    part->index = NGX_ERROR;

    part->text.data = ngx_pnalloc(compile->cf->pool, token->len + 1);
    if (part->text.data == NULL) {
        return NGX_ERROR;
    }

    p = *pp;
    dst = part->text.data;
    last = token->data + token->len;

    while (p < last && *p != '$') {

        if (*p == '\\' && p + 1 < last) {

            if (p[1] == '.' || p[1] == '@' || p[1] == '$') {
                *dst++ = p[1];
                p += 2;
                continue;
            }

            if (p[1] == 'x') {
                c = (last - p >= 4) ? ngx_hextoi(p + 2, 2) : NGX_ERROR;

                if (c == NGX_ERROR) {
                    ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                                       "\"\\x\" needs two hexadecimal digits "
                                       "in \"%V\"", token);
                    return NGX_ERROR;
                }

                *dst++ = (u_char) c;
                p += 4;
                continue;
            }
        }

        *dst++ = *p++;
    }

    *dst = '\0';

    part->text.len = dst - part->text.data;
    *pp = p;

    return NGX_OK;
}


/*
 * "$arg_a|number": meant as a filter, but nginx splits at blanks only, and not
 * in quotes.  Brackets of a path may have a text with anything.
 */

static ngx_int_t
ngx_http_klaviyo_term_pipe(ngx_http_klaviyo_compile_t *compile,
    ngx_str_t *token)
{
    u_char      *p, *last;
    ngx_str_t    name;
    ngx_uint_t   path;

    p = token->data;
    last = p + token->len;
    path = (p < last && (*p == '@' || *p == '.'));

    while (p < last && !(path && *p == '[')) {

        if (*p++ != '|') {
            continue;
        }

        while (p < last && *p == ' ') {
            p++;
        }

        name.data = p;

        while (p < last
               && ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')))
        {
            p++;
        }

        name.len = p - name.data;

        if (ngx_http_klaviyo_filter_find(&name)) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "\"|\" inside of \"%V\" is no filter, write "
                               "\"| %V\" behind it, with blanks and without "
                               "quotes, or \"\\x7c\" for the character",
                               token, &name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_klaviyo_value_mark(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_part_t *part)
{
    ngx_str_t  *late, *name;

    name = &part->text;

    if (ngx_http_klaviyo_is_variable(name, "klaviyo_request_body")) {
        part->body = NGX_HTTP_KLAVIYO_NEED_REQUEST;
        ngx_http_klaviyo_value_needs(compile, value, part->body);
        return;
    }

    if (ngx_http_klaviyo_is_variable(name, "klaviyo_response_body")) {
        part->body = NGX_HTTP_KLAVIYO_NEED_TEXT;
        ngx_http_klaviyo_value_needs(compile, value, part->body);
        return;
    }

    if (ngx_http_klaviyo_is_variable(name, "status")) {
        value->status = 1;
    }

    for (late = ngx_http_klaviyo_late; late->len; late++) {

        if (name->len >= late->len
            && ngx_strncasecmp(name->data, late->data, late->len) == 0)
        {
            value->answer = 1;
            return;
        }
    }

    value->late |= !ngx_http_klaviyo_value_early(compile, part);
}


static ngx_uint_t
ngx_http_klaviyo_value_early(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_part_t *part)
{
    ngx_str_t                   *early, *name;
    ngx_uint_t                   i;
    ngx_http_klaviyo_capture_t  *capture;

    name = &part->text;

    for (early = ngx_http_klaviyo_early; early->len; early++) {

        if (name->len >= early->len
            && (name->len == early->len || early->data[early->len - 1] == '_')
            && ngx_strncasecmp(name->data, early->data, early->len) == 0)
        {
            return 1;
        }
    }

    if (compile->captures == NULL) {
        return 0;
    }

    capture = compile->captures->elts;

    for (i = 0; i < compile->captures->nelts; i++) {
        if (capture[i].index == part->index) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_klaviyo_value_needs(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_uint_t needs)
{
    *compile->needs |= needs;

    value->body |= ((needs & NGX_HTTP_KLAVIYO_NEED_REQUEST) != 0);
    value->answer |= ((needs & NGX_HTTP_KLAVIYO_NEED_ANSWER) != 0);
}


static ngx_int_t
ngx_http_klaviyo_step_compile(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value)
{
    ngx_str_t                  *name;
    ngx_http_klaviyo_step_t    *step;
    ngx_http_klaviyo_filter_t  *filter;

    if (compile->token == compile->last) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "no filter after \"|\"");
        return NGX_ERROR;
    }

    name = compile->token++;

    filter = ngx_http_klaviyo_filter_find(name);

    if (filter == NULL) {
        filter = ngx_http_klaviyo_filter_near(name);

        if (filter) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "unknown filter \"%V\", did you mean \"%V\"?",
                               name, &filter->name);
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "unknown filter \"%V\"", name);
        }

        return NGX_ERROR;
    }

    if (value->steps == NULL) {
        value->steps = ngx_array_create(compile->cf->pool, 2,
                                        sizeof(ngx_http_klaviyo_step_t));
        if (value->steps == NULL) {
            return NGX_ERROR;
        }
    }

    step = ngx_array_push(value->steps);
    if (step == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(step, sizeof(ngx_http_klaviyo_step_t));

    step->filter = filter;

    return ngx_http_klaviyo_step_args(compile, value, step);
}


static ngx_int_t
ngx_http_klaviyo_step_args(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_step_t *step)
{
    ngx_http_klaviyo_filter_t  *filter;

    filter = step->filter;

    while (step->nargs < NGX_HTTP_KLAVIYO_FILTER_ARGS
           && filter->args[step->nargs] != NGX_HTTP_KLAVIYO_ARG_NONE)
    {
        if (step->nargs >= filter->mandatory) {

            if (compile->token == compile->last
                || ngx_http_klaviyo_is(compile->token, "|")
                || ngx_http_klaviyo_value_operator(compile->token))
            {
                break;
            }

        } else if (compile->token == compile->last) {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "filter \"%V\" needs %s", &filter->name,
                               ngx_http_klaviyo_args[
                                                   filter->args[step->nargs]]);
            return NGX_ERROR;
        }

        if (ngx_http_klaviyo_step_arg(compile, value, step) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_klaviyo_step_pair(compile, step);
}


/* Optional arguments come together: kv [PAIRSEP KVSEP]. */

static ngx_int_t
ngx_http_klaviyo_step_pair(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_step_t *step)
{
    ngx_str_t                  *token;
    ngx_http_klaviyo_filter_t  *filter;

    token = compile->token;
    filter = step->filter;

    if (filter->mandatory || step->nargs != 1
        || filter->args[1] == NGX_HTTP_KLAVIYO_ARG_NONE)
    {
        return NGX_OK;
    }

    if (token < compile->last && token->len == 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "filter \"%V\" needs %s after \"%V\", where \"%V\" "
                           "is written \"\\x%02xd\"", &filter->name,
                           ngx_http_klaviyo_args[filter->args[1]], token - 1,
                           token, (int) token->data[0]);
        return NGX_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                       "filter \"%V\" needs %s after \"%V\"", &filter->name,
                       ngx_http_klaviyo_args[filter->args[1]], token - 1);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_klaviyo_step_arg(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_step_t *step)
{
    u_char                    buf[128];
    ngx_str_t                 err, *token;
    ngx_uint_t                n;
    ngx_http_klaviyo_arg_e    kind;
    ngx_http_klaviyo_term_t  *term;

    n = step->nargs++;
    kind = step->filter->args[n];
    token = compile->token++;

    if (kind == NGX_HTTP_KLAVIYO_ARG_TERM
        || (kind == NGX_HTTP_KLAVIYO_ARG_COUNTRY
            && token->len && ngx_strchr("@.$", token->data[0]) != NULL))
    {
        term = ngx_pcalloc(compile->cf->pool, sizeof(ngx_http_klaviyo_term_t));
        if (term == NULL) {
            return NGX_ERROR;
        }

        step->terms[n] = term;

        if (ngx_http_klaviyo_term_compile(compile, value, term, token)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (term->pick) {
            term->pick->whole = 1;
        }

        return NGX_OK;
    }

    if (kind == NGX_HTTP_KLAVIYO_ARG_PATH
        && ngx_http_klaviyo_term_pipe(compile, token) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (kind == NGX_HTTP_KLAVIYO_ARG_NAME
        && ngx_http_klaviyo_value_refer(compile, token, 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    err.data = buf;
    err.len = sizeof(buf);

    if (ngx_http_klaviyo_filter_arg(compile->cf->pool, kind, token,
                                    &step->args[n], &err)
        == NGX_OK)
    {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                       "%V in filter \"%V\"", &err, &step->filter->name);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_klaviyo_value_check(ngx_conf_t *cf, ngx_array_t *references)
{
    ngx_uint_t                     i;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_klaviyo_reference_t  *reference;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    reference = references->elts;

    for (i = 0; i < references->nelts; i++) {

        if (reference[i].recall
            || ngx_http_klaviyo_value_known(cmcf, &reference[i].name))
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown variable \"$%V\" in %V:%ui",
                      &reference[i].name, &reference[i].file,
                      reference[i].line);

        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_klaviyo_value_known(ngx_http_core_main_conf_t *cmcf, ngx_str_t *name)
{
    ngx_uint_t            i;
    ngx_hash_key_t       *key;
    ngx_http_variable_t  *v;

    v = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {

        if (name->len >= v[i].name.len
            && ngx_strncasecmp(name->data, v[i].name.data, v[i].name.len) == 0)
        {
            return 1;
        }
    }

    key = cmcf->variables_keys->keys.elts;

    for (i = 0; i < cmcf->variables_keys->keys.nelts; i++) {

        if (name->len == key[i].key.len
            && ngx_strncasecmp(name->data, key[i].key.data, name->len) == 0)
        {
            return 1;
        }
    }

    /* some modules set the handlers of an indexed variable by themselves */

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].get_handler && name->len == v[i].name.len
            && ngx_strncasecmp(name->data, v[i].name.data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
