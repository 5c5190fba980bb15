
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the text of a GraphQL query asks for: its operation's root fields and
 * their arguments.  What is below the root is passed over, so that the cost is
 * linear: definitions are found in a first pass, the chosen operation and the
 * fragments that it spreads, each once, are read in a second one.
 */


#include "ngx_http_klaviyo_graphql.h"
#include "ngx_http_klaviyo_json.h"


/* definitions of a text; fragments in each other; lists and objects too */
#define NGX_HTTP_KLAVIYO_GRAPHQL_DEFINITIONS  128
#define NGX_HTTP_KLAVIYO_GRAPHQL_FRAGMENTS    16
#define NGX_HTTP_KLAVIYO_GRAPHQL_VALUES       32

#define NGX_HTTP_KLAVIYO_GRAPHQL_NAME_LEN     128

/* of variables that arguments refer to */
#define NGX_HTTP_KLAVIYO_GRAPHQL_WEIGHT       (1024 * 1024)


typedef struct {
    ngx_str_t                          type;         /* or "fragment" */
    ngx_str_t                          name;
    u_char                            *variables;    /* at "(", or NULL */
    u_char                            *fields;       /* at "{" */
    ngx_uint_t                         spread;
} ngx_http_klaviyo_graphql_definition_t;


typedef struct {
    ngx_http_klaviyo_arena_t               *arena;
    ngx_http_klaviyo_graphql_lexer_t        lexer;

    ngx_http_klaviyo_graphql_definition_t  *definitions;
    ngx_uint_t                              ndefinitions;

    json_t                                 *variables;
    json_t                                 *defaults;
    json_t                                 *fields;
    size_t                                  weight;
} ngx_http_klaviyo_graphql_reader_t;


static ngx_int_t ngx_http_klaviyo_graphql_scan(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_graphql_definition(
    ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_http_klaviyo_graphql_definition_t *def);
static ngx_int_t ngx_http_klaviyo_graphql_skip(
    ngx_http_klaviyo_graphql_lexer_t *lexer, ngx_uint_t open,
    ngx_uint_t close);
static ngx_http_klaviyo_graphql_definition_t *ngx_http_klaviyo_graphql_choose(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_str_t *operation);
static ngx_int_t ngx_http_klaviyo_graphql_defaults(
    ngx_http_klaviyo_graphql_reader_t *reader, u_char *p);
static ngx_int_t ngx_http_klaviyo_graphql_default(
    ngx_http_klaviyo_graphql_reader_t *reader);
static ngx_int_t ngx_http_klaviyo_graphql_fields(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_graphql_field(
    ngx_http_klaviyo_graphql_reader_t *reader);
static ngx_int_t ngx_http_klaviyo_graphql_add(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_str_t *name,
    json_t *arguments);
static ngx_int_t ngx_http_klaviyo_graphql_spread(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_graphql_fragment(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_str_t *name,
    ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_graphql_directives(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_uint_t *skip);
static json_t *ngx_http_klaviyo_graphql_object(
    ngx_http_klaviyo_graphql_reader_t *reader);
static ngx_int_t ngx_http_klaviyo_graphql_members(
    ngx_http_klaviyo_graphql_reader_t *reader, json_t *object,
    ngx_uint_t close, ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_graphql_set(
    ngx_http_klaviyo_graphql_reader_t *reader, json_t *object,
    ngx_str_t *name, json_t *json);
static ngx_int_t ngx_http_klaviyo_graphql_value(
    ngx_http_klaviyo_graphql_reader_t *reader, json_t **json,
    ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_graphql_scalar(
    ngx_http_klaviyo_graphql_reader_t *reader, json_t **json);
static ngx_int_t ngx_http_klaviyo_graphql_literal(
    ngx_http_klaviyo_graphql_reader_t *reader, ngx_str_t *text,
    json_t **json);
static ngx_int_t ngx_http_klaviyo_graphql_list(
    ngx_http_klaviyo_graphql_reader_t *reader, json_t *list,
    ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_graphql_variable(
    ngx_http_klaviyo_graphql_reader_t *reader, json_t **json);
static json_t *ngx_http_klaviyo_graphql_get(json_t *object, ngx_str_t *name);


#define ngx_http_klaviyo_graphql_is(token, word)                              \
    ((token)->text.len == sizeof(word) - 1                                    \
     && ngx_memcmp((token)->text.data, word, sizeof(word) - 1) == 0)


/*
 * All that returns an ngx_int_t here returns NGX_OK, NGX_DECLINED for what is
 * no GraphQL and NGX_ERROR for a limit, which is counted.  The lexer's token
 * is the one that is looked at next.
 */

ngx_int_t
ngx_http_klaviyo_graphql_query(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_graphql_t *graphql, ngx_str_t *text)
{
    ngx_int_t                               rc;
    ngx_http_klaviyo_graphql_reader_t       reader;
    ngx_http_klaviyo_graphql_definition_t  *def;

    ngx_memzero(&reader, sizeof(ngx_http_klaviyo_graphql_reader_t));

    reader.arena = arena;
    reader.variables = graphql->variables;
    reader.weight = NGX_HTTP_KLAVIYO_GRAPHQL_WEIGHT;

    rc = ngx_http_klaviyo_graphql_scan(&reader, text);
    if (rc != NGX_OK) {
        return rc;
    }

    def = ngx_http_klaviyo_graphql_choose(&reader, &graphql->operation);

    if (def == NULL) {
        return NGX_OK;
    }

    reader.fields = ngx_http_klaviyo_graphql_object(&reader);
    reader.defaults = ngx_http_klaviyo_graphql_object(&reader);

    if (reader.fields == NULL || reader.defaults == NULL) {
        return NGX_ERROR;
    }

    if (def->variables) {
        rc = ngx_http_klaviyo_graphql_defaults(&reader, def->variables);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    reader.lexer.pos = def->fields;
    ngx_http_klaviyo_graphql_next(&reader.lexer);

    rc = ngx_http_klaviyo_graphql_fields(&reader, 0);
    if (rc != NGX_OK) {
        return rc;
    }

    graphql->operation = def->name;
    graphql->type = def->type;
    graphql->fields = reader.fields;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_graphql_scan(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_str_t *text)
{
    ngx_int_t                          rc;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    reader->definitions = ngx_http_klaviyo_arena_alloc(reader->arena,
                              NGX_HTTP_KLAVIYO_GRAPHQL_DEFINITIONS
                              * sizeof(ngx_http_klaviyo_graphql_definition_t));
    if (reader->definitions == NULL) {
        return NGX_ERROR;
    }

    lexer = &reader->lexer;
    lexer->pos = text->data;
    lexer->last = text->data + text->len;

    ngx_http_klaviyo_graphql_next(lexer);

    while (lexer->type != NGX_HTTP_KLAVIYO_GRAPHQL_END) {

        if (reader->ndefinitions == NGX_HTTP_KLAVIYO_GRAPHQL_DEFINITIONS) {
            reader->arena->limits++;
            return NGX_ERROR;
        }

        rc = ngx_http_klaviyo_graphql_definition(reader,
                                 &reader->definitions[reader->ndefinitions++]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return reader->ndefinitions ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_graphql_definition(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_http_klaviyo_graphql_definition_t *def)
{
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    ngx_memzero(def, sizeof(ngx_http_klaviyo_graphql_definition_t));

    lexer = &reader->lexer;

    if (lexer->type == '{') {
        ngx_str_set(&def->type, "query");
        def->fields = lexer->text.data;

        return ngx_http_klaviyo_graphql_skip(lexer, '{', '}');
    }

    if (!ngx_http_klaviyo_graphql_is(lexer, "query")
        && !ngx_http_klaviyo_graphql_is(lexer, "mutation")
        && !ngx_http_klaviyo_graphql_is(lexer, "subscription")
        && !ngx_http_klaviyo_graphql_is(lexer, "fragment"))
    {
        return NGX_DECLINED;
    }

    def->type = lexer->text;
    ngx_http_klaviyo_graphql_next(lexer);

    if (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
        def->name = lexer->text;
        ngx_http_klaviyo_graphql_next(lexer);
    }

    if (lexer->type == '(') {
        def->variables = lexer->text.data;
    }

    /* a fragment's type and directives; those may have objects in brackets */

    for ( ;; ) {

        switch (lexer->type) {

        case '{':
            def->fields = lexer->text.data;
            return ngx_http_klaviyo_graphql_skip(lexer, '{', '}');

        case '(':
            if (ngx_http_klaviyo_graphql_skip(lexer, '(', ')') != NGX_OK) {
                return NGX_DECLINED;
            }

            break;

        case '@':
        case NGX_HTTP_KLAVIYO_GRAPHQL_NAME:
            ngx_http_klaviyo_graphql_next(lexer);
            break;

        default:
            return NGX_DECLINED;
        }
    }
}


/* from an opening bracket behind the one that closes it */

static ngx_int_t
ngx_http_klaviyo_graphql_skip(ngx_http_klaviyo_graphql_lexer_t *lexer,
    ngx_uint_t open, ngx_uint_t close)
{
    ngx_uint_t  depth;

    depth = 0;

    do {

        if (lexer->type == open) {
            depth++;

        } else if (lexer->type == close) {
            depth--;

        } else if (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_END
                   || lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_WRONG)
        {
            return NGX_DECLINED;
        }

        ngx_http_klaviyo_graphql_next(lexer);

    } while (depth);

    return NGX_OK;
}


/* the operation of that name or, without one, the only operation */

static ngx_http_klaviyo_graphql_definition_t *
ngx_http_klaviyo_graphql_choose(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_str_t *operation)
{
    ngx_uint_t                              i;
    ngx_http_klaviyo_graphql_definition_t  *def, *chosen;

    chosen = NULL;

    for (i = 0; i < reader->ndefinitions; i++) {
        def = &reader->definitions[i];

        if (def->type.data[0] == 'f') {
            continue;
        }

        if (operation->len == 0) {

            if (chosen) {
                return NULL;
            }

            chosen = def;

        } else if (def->name.len == operation->len
                   && ngx_memcmp(def->name.data, operation->data,
                                 operation->len)
                      == 0)
        {
            return def;
        }
    }

    return chosen;
}


/* ($id: ID! = "x" @directive, ...) */

static ngx_int_t
ngx_http_klaviyo_graphql_defaults(ngx_http_klaviyo_graphql_reader_t *reader,
    u_char *p)
{
    ngx_int_t                          rc;
    ngx_uint_t                         skip;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;
    lexer->pos = p;

    ngx_http_klaviyo_graphql_next(lexer);
    ngx_http_klaviyo_graphql_next(lexer);

    while (lexer->type == '$') {

        rc = ngx_http_klaviyo_graphql_default(reader);
        if (rc != NGX_OK) {
            return rc;
        }

        rc = ngx_http_klaviyo_graphql_directives(reader, &skip);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return (lexer->type == ')') ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_graphql_default(ngx_http_klaviyo_graphql_reader_t *reader)
{
    json_t                            *json;
    ngx_int_t                          rc;
    ngx_str_t                          name;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;

    ngx_http_klaviyo_graphql_next(lexer);
    name = lexer->text;

    if (lexer->type != NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_graphql_next(lexer);

    if (lexer->type != ':') {
        return NGX_DECLINED;
    }

    do {
        ngx_http_klaviyo_graphql_next(lexer);
    } while (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_NAME
             || lexer->type == '[' || lexer->type == ']'
             || lexer->type == '!');

    if (lexer->type != '=') {
        return NGX_OK;
    }

    ngx_http_klaviyo_graphql_next(lexer);

    rc = ngx_http_klaviyo_graphql_value(reader, &json, 0);

    if (rc != NGX_OK || json == NULL) {
        return (rc == NGX_OK) ? NGX_DECLINED : rc;
    }

    return ngx_http_klaviyo_graphql_set(reader, reader->defaults, &name, json);
}


/* from "{" on, behind "}" at the end */

static ngx_int_t
ngx_http_klaviyo_graphql_fields(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_uint_t depth)
{
    ngx_int_t                          rc;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;

    if (depth == NGX_HTTP_KLAVIYO_GRAPHQL_FRAGMENTS) {
        reader->arena->limits++;
        return NGX_ERROR;
    }

    ngx_http_klaviyo_graphql_next(lexer);

    for ( ;; ) {

        switch (lexer->type) {

        case '}':
            ngx_http_klaviyo_graphql_next(lexer);
            return NGX_OK;

        case '.':
            rc = ngx_http_klaviyo_graphql_spread(reader, depth);
            break;

        case NGX_HTTP_KLAVIYO_GRAPHQL_NAME:
            rc = ngx_http_klaviyo_graphql_field(reader);
            break;

        default:
            return NGX_DECLINED;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }
}


/* [alias:] name [(arguments)] [directives] [{ fields }] */

static ngx_int_t
ngx_http_klaviyo_graphql_field(ngx_http_klaviyo_graphql_reader_t *reader)
{
    json_t                            *arguments;
    ngx_int_t                          rc;
    ngx_str_t                          name;
    ngx_uint_t                         skip;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;
    name = lexer->text;

    ngx_http_klaviyo_graphql_next(lexer);

    if (lexer->type == ':') {
        ngx_http_klaviyo_graphql_next(lexer);
        name = lexer->text;

        if (lexer->type != NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
            return NGX_DECLINED;
        }

        ngx_http_klaviyo_graphql_next(lexer);
    }

    arguments = ngx_http_klaviyo_graphql_object(reader);
    if (arguments == NULL) {
        return NGX_ERROR;
    }

    if (lexer->type == '(') {
        rc = ngx_http_klaviyo_graphql_members(reader, arguments, ')', 0);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_klaviyo_graphql_directives(reader, &skip);
    if (rc != NGX_OK) {
        return rc;
    }

    if (lexer->type == '{'
        && ngx_http_klaviyo_graphql_skip(lexer, '{', '}') != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (skip) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_graphql_add(reader, &name, arguments);
}


/* of equal names the first */

static ngx_int_t
ngx_http_klaviyo_graphql_add(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_str_t *name, json_t *arguments)
{
    if (ngx_http_klaviyo_graphql_get(reader->fields, name)) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_graphql_set(reader, reader->fields, name,
                                        json_incref(arguments));
}


/* ... [on Type] [directives] { fields }, or ... Name [directives] */

static ngx_int_t
ngx_http_klaviyo_graphql_spread(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_uint_t depth)
{
    ngx_int_t                          rc;
    ngx_str_t                          name;
    ngx_uint_t                         skip;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;
    ngx_str_null(&name);

    ngx_http_klaviyo_graphql_next(lexer);

    if (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {

        if (ngx_http_klaviyo_graphql_is(lexer, "on")) {
            ngx_http_klaviyo_graphql_next(lexer);

            if (lexer->type != NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
                return NGX_DECLINED;
            }

        } else {
            name = lexer->text;
        }

        ngx_http_klaviyo_graphql_next(lexer);
    }

    rc = ngx_http_klaviyo_graphql_directives(reader, &skip);
    if (rc != NGX_OK) {
        return rc;
    }

    if (name.len) {
        return skip ? NGX_OK
                    : ngx_http_klaviyo_graphql_fragment(reader, &name, depth);
    }

    if (lexer->type != '{') {
        return NGX_DECLINED;
    }

    return skip ? ngx_http_klaviyo_graphql_skip(lexer, '{', '}')
                : ngx_http_klaviyo_graphql_fields(reader, depth + 1);
}


/* a second time nothing new would come, and a cycle ends here */

static ngx_int_t
ngx_http_klaviyo_graphql_fragment(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_str_t *name, ngx_uint_t depth)
{
    ngx_int_t                               rc;
    ngx_uint_t                              i;
    ngx_http_klaviyo_graphql_lexer_t        lexer;
    ngx_http_klaviyo_graphql_definition_t  *def;

    for (i = 0; i < reader->ndefinitions; i++) {
        def = &reader->definitions[i];

        if (def->type.data[0] == 'f' && def->name.len == name->len
            && ngx_memcmp(def->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (i == reader->ndefinitions) {
        return NGX_DECLINED;
    }

    if (def->spread) {
        return NGX_OK;
    }

    def->spread = 1;

    lexer = reader->lexer;
    reader->lexer.pos = def->fields;
    ngx_http_klaviyo_graphql_next(&reader->lexer);

    rc = ngx_http_klaviyo_graphql_fields(reader, depth + 1);

    reader->lexer = lexer;

    return rc;
}


/* "*skip" is set by @skip and @include, as the server will judge them */

static ngx_int_t
ngx_http_klaviyo_graphql_directives(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_uint_t *skip)
{
    json_t                            *arguments, *condition;
    ngx_int_t                          rc;
    ngx_uint_t                         skips, includes;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    *skip = 0;
    lexer = &reader->lexer;

    while (lexer->type == '@') {
        ngx_http_klaviyo_graphql_next(lexer);

        if (lexer->type != NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
            return NGX_DECLINED;
        }

        skips = ngx_http_klaviyo_graphql_is(lexer, "skip");
        includes = ngx_http_klaviyo_graphql_is(lexer, "include");

        ngx_http_klaviyo_graphql_next(lexer);

        if (lexer->type != '(') {
            continue;
        }

        arguments = ngx_http_klaviyo_graphql_object(reader);
        if (arguments == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_http_klaviyo_graphql_members(reader, arguments, ')', 0);
        if (rc != NGX_OK) {
            return rc;
        }

        condition = json_object_get(arguments, "if");

        if ((skips && json_is_true(condition))
            || (includes && json_is_false(condition)))
        {
            *skip = 1;
        }
    }

    return NGX_OK;
}


/* an empty one that the arena keeps */

static json_t *
ngx_http_klaviyo_graphql_object(ngx_http_klaviyo_graphql_reader_t *reader)
{
    if (ngx_http_klaviyo_arena_charge(reader->arena,
                                      NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    return ngx_http_klaviyo_arena_keep(reader->arena, json_object());
}


/* from the opening bracket on, behind the closing one at the end */

static ngx_int_t
ngx_http_klaviyo_graphql_members(ngx_http_klaviyo_graphql_reader_t *reader,
    json_t *object, ngx_uint_t close, ngx_uint_t depth)
{
    json_t                            *json;
    ngx_int_t                          rc;
    ngx_str_t                          name;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;
    ngx_http_klaviyo_graphql_next(lexer);

    while (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
        name = lexer->text;
        ngx_http_klaviyo_graphql_next(lexer);

        if (lexer->type != ':') {
            return NGX_DECLINED;
        }

        ngx_http_klaviyo_graphql_next(lexer);

        rc = ngx_http_klaviyo_graphql_value(reader, &json, depth);
        if (rc != NGX_OK) {
            return rc;
        }

        /* a variable without a value: as if it was not written */

        if (json == NULL) {
            continue;
        }

        rc = ngx_http_klaviyo_graphql_set(reader, object, &name, json);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (lexer->type != close) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_graphql_next(lexer);

    return NGX_OK;
}


/* takes over the reference */

static ngx_int_t
ngx_http_klaviyo_graphql_set(ngx_http_klaviyo_graphql_reader_t *reader,
    json_t *object, ngx_str_t *name, json_t *json)
{
    u_char  *key;

    key = ngx_http_klaviyo_arena_alloc(reader->arena, name->len + 1);

    if (key == NULL
        || ngx_http_klaviyo_arena_charge(reader->arena,
                                         NGX_HTTP_KLAVIYO_MEMBER_COST
                                         + name->len)
           != NGX_OK)
    {
        json_decref(json);
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(key, name->data, name->len + 1);

    if (json_object_set_new_nocheck(object, (char *) key, json) != 0) {
        reader->arena->limits++;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* sets "*json" to a new reference; NULL for a variable without a value */

static ngx_int_t
ngx_http_klaviyo_graphql_value(ngx_http_klaviyo_graphql_reader_t *reader,
    json_t **json, ngx_uint_t depth)
{
    ngx_int_t   rc;
    ngx_uint_t  type;

    *json = NULL;
    type = reader->lexer.type;

    if (type == '$') {
        return ngx_http_klaviyo_graphql_variable(reader, json);
    }

    if (type != '[' && type != '{') {
        return ngx_http_klaviyo_graphql_scalar(reader, json);
    }

    if (depth == NGX_HTTP_KLAVIYO_GRAPHQL_VALUES) {
        reader->arena->limits++;
        return NGX_ERROR;
    }

    if (ngx_http_klaviyo_arena_charge(reader->arena,
                                      NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (type == '[') {
        *json = json_array();
        rc = ngx_http_klaviyo_graphql_list(reader, *json, depth + 1);

    } else {
        *json = json_object();
        rc = ngx_http_klaviyo_graphql_members(reader, *json, '}', depth + 1);
    }

    if (rc != NGX_OK) {
        json_decref(*json);
        *json = NULL;
    }

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_graphql_scalar(ngx_http_klaviyo_graphql_reader_t *reader,
    json_t **json)
{
    ngx_int_t                          rc;
    ngx_http_klaviyo_data_t            data;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;

    data.type = NGX_HTTP_KLAVIYO_STRING;
    data.text = lexer->text;

    switch (lexer->type) {

    case NGX_HTTP_KLAVIYO_GRAPHQL_NAME:

        if (ngx_http_klaviyo_graphql_is(lexer, "true")) {
            data.type = NGX_HTTP_KLAVIYO_TRUE;

        } else if (ngx_http_klaviyo_graphql_is(lexer, "false")) {
            data.type = NGX_HTTP_KLAVIYO_FALSE;

        } else if (ngx_http_klaviyo_graphql_is(lexer, "null")) {
            ngx_http_klaviyo_graphql_next(lexer);
            *json = json_null();

            return NGX_OK;
        }

        break;

    case NGX_HTTP_KLAVIYO_GRAPHQL_NUMBER:
        ngx_http_klaviyo_graphql_next(lexer);
        return ngx_http_klaviyo_graphql_literal(reader, &data.text, json);

    case NGX_HTTP_KLAVIYO_GRAPHQL_STRING:
    case NGX_HTTP_KLAVIYO_GRAPHQL_BLOCK:

        rc = ngx_http_klaviyo_graphql_string(reader->arena, lexer,
                                             &data.text);
        if (rc != NGX_OK) {
            return rc;
        }

        break;

    default:
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_graphql_next(lexer);

    *json = ngx_http_klaviyo_data_to_json(reader->arena, &data);

    return *json ? NGX_OK : NGX_ERROR;
}


/* an integer beyond 64 bits is null, as it is in JSON */

static ngx_int_t
ngx_http_klaviyo_graphql_literal(ngx_http_klaviyo_graphql_reader_t *reader,
    ngx_str_t *text, json_t **json)
{
    ngx_uint_t  reals;

    if (ngx_http_klaviyo_arena_charge(reader->arena,
                                      NGX_HTTP_KLAVIYO_VALUE_COST)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *json = ngx_http_klaviyo_json_load(text, &reals);

    if (reals) {
        json_decref(*json);
        *json = json_null();
    }

    return *json ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_graphql_list(ngx_http_klaviyo_graphql_reader_t *reader,
    json_t *list, ngx_uint_t depth)
{
    json_t                            *json;
    ngx_int_t                          rc;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;
    ngx_http_klaviyo_graphql_next(lexer);

    while (lexer->type != ']') {

        rc = ngx_http_klaviyo_graphql_value(reader, &json, depth);
        if (rc != NGX_OK) {
            return rc;
        }

        /* the others keep their places */

        if (json_array_append_new(list, json ? json : json_null()) != 0) {
            reader->arena->limits++;
            return NGX_ERROR;
        }

        if (ngx_http_klaviyo_arena_charge(reader->arena,
                                          NGX_HTTP_KLAVIYO_ELEMENT_COST)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_http_klaviyo_graphql_next(lexer);

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_graphql_variable(ngx_http_klaviyo_graphql_reader_t *reader,
    json_t **json)
{
    json_t                            *value;
    ngx_http_klaviyo_graphql_lexer_t  *lexer;

    lexer = &reader->lexer;
    ngx_http_klaviyo_graphql_next(lexer);

    if (lexer->type != NGX_HTTP_KLAVIYO_GRAPHQL_NAME) {
        return NGX_DECLINED;
    }

    value = ngx_http_klaviyo_graphql_get(reader->variables, &lexer->text);

    if (value == NULL) {
        value = ngx_http_klaviyo_graphql_get(reader->defaults, &lexer->text);
    }

    ngx_http_klaviyo_graphql_next(lexer);

    if (value == NULL) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_arena_weigh(reader->arena, value, &reader->weight)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *json = json_incref(value);

    return NGX_OK;
}


/* names of GraphQL are short, longer ones are nobody's */

static json_t *
ngx_http_klaviyo_graphql_get(json_t *object, ngx_str_t *name)
{
    u_char  key[NGX_HTTP_KLAVIYO_GRAPHQL_NAME_LEN + 1];

    if (name->len > NGX_HTTP_KLAVIYO_GRAPHQL_NAME_LEN) {
        return NULL;
    }

    (void) ngx_cpystrn(key, name->data, name->len + 1);

    return json_object_get(object, (char *) key);
}
