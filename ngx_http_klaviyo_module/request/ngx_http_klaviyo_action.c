
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Calls of React server actions.  The arguments are the JSON text of part "0"
 * (or of the whole body), in which texts that begin with "$" stand for what
 * JSON can't say, for other parts, or for places in them: "$1:cart:lines".
 *
 * A new tree is made, in which each array and object is put into its parent
 * before it is filled.  So what can be found in it is complete or around the
 * place where it is referred to; the latter is cut, and nothing ever contains
 * itself.
 */


#include "ngx_http_klaviyo_action.h"
#include "ngx_http_klaviyo_form.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_multipart.h"


/* parts that are JSON texts, and forms among the arguments */
#define NGX_HTTP_KLAVIYO_ACTION_CHUNKS  128
#define NGX_HTTP_KLAVIYO_ACTION_FORMS   16

/* levels, through references too */
#define NGX_HTTP_KLAVIYO_ACTION_DEPTH   64

/* of what references share */
#define NGX_HTTP_KLAVIYO_ACTION_WEIGHT  (1024 * 1024)

/* of a name in a reference */
#define NGX_HTTP_KLAVIYO_ACTION_NAME    128


typedef struct {
    ngx_uint_t                 id;
    ngx_str_t                  text;
    json_t                    *json;
    unsigned                   opened:1;
} ngx_http_klaviyo_action_chunk_t;


typedef struct {
    ngx_str_t                  prefix;
    ngx_http_klaviyo_form_t    form;
    unsigned                   done:1;
} ngx_http_klaviyo_action_form_t;


typedef struct {
    ngx_http_klaviyo_arena_t  *arena;
    size_t                     weight;

    /* what is around the place that is being filled */
    json_t                    *around[NGX_HTTP_KLAVIYO_ACTION_DEPTH];
    ngx_uint_t                 depth;

    ngx_uint_t                 nchunks;
    ngx_uint_t                 nforms;
    ngx_http_klaviyo_action_chunk_t  chunks[NGX_HTTP_KLAVIYO_ACTION_CHUNKS];
    ngx_http_klaviyo_action_form_t   forms[NGX_HTTP_KLAVIYO_ACTION_FORMS];
} ngx_http_klaviyo_action_t;


static ngx_http_klaviyo_action_t *ngx_http_klaviyo_action_create(
    ngx_http_klaviyo_arena_t *arena);
static ngx_int_t ngx_http_klaviyo_action_part(
    ngx_http_klaviyo_action_t *action, ngx_str_t *name, ngx_str_t *value);
static ngx_int_t ngx_http_klaviyo_action_field(
    ngx_http_klaviyo_action_t *action, ngx_str_t *prefix, ngx_str_t *name,
    ngx_str_t *value);
static json_t *ngx_http_klaviyo_action_chunk(
    ngx_http_klaviyo_action_t *action, ngx_uint_t id);
static void ngx_http_klaviyo_action_open(ngx_http_klaviyo_action_t *action,
    ngx_http_klaviyo_action_chunk_t *chunk, json_t *json);
static json_t *ngx_http_klaviyo_action_container(
    ngx_http_klaviyo_action_t *action, json_t *json);
static void ngx_http_klaviyo_action_fill(ngx_http_klaviyo_action_t *action,
    json_t *node, json_t *json);
static void ngx_http_klaviyo_action_put(ngx_http_klaviyo_action_t *action,
    json_t *node, const char *name, json_t *json);
static void ngx_http_klaviyo_action_attach(ngx_http_klaviyo_action_t *action,
    json_t *node, const char *name, json_t *json);
static json_t *ngx_http_klaviyo_action_text(ngx_http_klaviyo_action_t *action,
    json_t *json);
static json_t *ngx_http_klaviyo_action_string(
    ngx_http_klaviyo_action_t *action, u_char *p, size_t len);
static json_t *ngx_http_klaviyo_action_integer(
    ngx_http_klaviyo_action_t *action, u_char *p, size_t len);
static json_t *ngx_http_klaviyo_action_refer(ngx_http_klaviyo_action_t *action,
    u_char *p, u_char *last);
static json_t *ngx_http_klaviyo_action_step(json_t *json, u_char *p,
    size_t len);
static json_t *ngx_http_klaviyo_action_map(ngx_http_klaviyo_action_t *action,
    json_t *pairs);
static json_t *ngx_http_klaviyo_action_form(ngx_http_klaviyo_action_t *action,
    u_char *p, size_t len);


json_t *
ngx_http_klaviyo_action_json(ngx_http_klaviyo_arena_t *arena,
    json_t *arguments)
{
    ngx_uint_t                  limits;
    ngx_http_klaviyo_action_t  *action;

    limits = arena->limits;
    action = ngx_http_klaviyo_action_create(arena);

    if (action == NULL) {
        return NULL;
    }

    action->nchunks = 1;
    action->chunks[0].opened = 1;

    ngx_http_klaviyo_action_open(action, &action->chunks[0], arguments);

    return (arena->limits == limits) ? action->chunks[0].json : NULL;
}


ngx_int_t
ngx_http_klaviyo_action_multipart(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *type, ngx_str_t *text, json_t **json)
{
    ngx_int_t                      rc;
    ngx_str_t                      name, value;
    ngx_uint_t                     i, limits;
    ngx_http_klaviyo_action_t     *action;
    ngx_http_klaviyo_multipart_t   mp;

    limits = arena->limits;
    action = ngx_http_klaviyo_action_create(arena);

    if (action == NULL
        || ngx_http_klaviyo_multipart_init(&mp, arena, type, text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for ( ;; ) {
        rc = ngx_http_klaviyo_multipart_next(&mp, &name, &value);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK
            || ngx_http_klaviyo_action_part(action, &name, &value)
               == NGX_ERROR)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < action->nchunks; i++) {

        if (action->chunks[i].id == 0) {
            *json = ngx_http_klaviyo_action_chunk(action, 0);

            return (*json && arena->limits == limits) ? NGX_OK : NGX_ERROR;
        }
    }

    return NGX_DECLINED;
}


static ngx_http_klaviyo_action_t *
ngx_http_klaviyo_action_create(ngx_http_klaviyo_arena_t *arena)
{
    ngx_http_klaviyo_action_t  *action;

    action = ngx_http_klaviyo_arena_alloc(arena,
                                          sizeof(ngx_http_klaviyo_action_t));
    if (action == NULL) {
        return NULL;
    }

    ngx_memzero(action, sizeof(ngx_http_klaviyo_action_t));

    action->arena = arena;
    action->weight = NGX_HTTP_KLAVIYO_ACTION_WEIGHT;

    return action;
}


/* "1" is a JSON text, "1_email" a field of a form; others are of no call */

static ngx_int_t
ngx_http_klaviyo_action_part(ngx_http_klaviyo_action_t *action,
    ngx_str_t *name, ngx_str_t *value)
{
    size_t                            n;
    ngx_int_t                         id;
    ngx_str_t                         prefix, field;
    ngx_http_klaviyo_action_chunk_t  *chunk;

    for (n = 0; n < name->len && n < 8; n++) {

        if (ngx_hextoi(name->data + n, 1) == NGX_ERROR) {
            break;
        }
    }

    if (n > 0 && n + 1 < name->len && name->data[n] == '_') {
        prefix.data = name->data;
        prefix.len = n;

        field.data = name->data + n + 1;
        field.len = name->len - n - 1;

        return ngx_http_klaviyo_action_field(action, &prefix, &field, value);
    }

    id = (n == name->len) ? ngx_atoi(name->data, n) : NGX_ERROR;

    if (id == NGX_ERROR) {
        return NGX_DECLINED;
    }

    if (action->nchunks == NGX_HTTP_KLAVIYO_ACTION_CHUNKS) {
        action->arena->limits++;
        return NGX_ERROR;
    }

    chunk = &action->chunks[action->nchunks++];
    chunk->id = id;
    chunk->text = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_action_field(ngx_http_klaviyo_action_t *action,
    ngx_str_t *prefix, ngx_str_t *name, ngx_str_t *value)
{
    ngx_uint_t                       i;
    ngx_http_klaviyo_action_form_t  *form;

    for (i = 0; i < action->nforms; i++) {
        form = &action->forms[i];

        if (form->prefix.len == prefix->len
            && ngx_memcmp(form->prefix.data, prefix->data, prefix->len) == 0)
        {
            return ngx_http_klaviyo_form_add(&form->form, name, value);
        }
    }

    if (i == NGX_HTTP_KLAVIYO_ACTION_FORMS) {
        action->arena->limits++;
        return NGX_ERROR;
    }

    form = &action->forms[action->nforms++];
    form->prefix = *prefix;

    if (ngx_http_klaviyo_form_init(&form->form, action->arena,
                                   NGX_HTTP_KLAVIYO_FORM_REPEAT)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_form_add(&form->form, name, value);
}


/* what a part says: as far as it is known, if it is just being read */

static json_t *
ngx_http_klaviyo_action_chunk(ngx_http_klaviyo_action_t *action,
    ngx_uint_t id)
{
    ngx_uint_t                        i;
    ngx_http_klaviyo_action_chunk_t  *chunk;

    for (i = 0; i < action->nchunks; i++) {

        if (action->chunks[i].id == id) {
            break;
        }
    }

    if (i == action->nchunks) {
        return NULL;
    }

    chunk = &action->chunks[i];

    if (!chunk->opened) {
        chunk->opened = 1;
        ngx_http_klaviyo_action_open(action, chunk,
                     ngx_http_klaviyo_json_parse(action->arena, &chunk->text));
    }

    return chunk->json;
}


static void
ngx_http_klaviyo_action_open(ngx_http_klaviyo_action_t *action,
    ngx_http_klaviyo_action_chunk_t *chunk, json_t *json)
{
    if (json_is_array(json) || json_is_object(json)) {
        chunk->json = ngx_http_klaviyo_action_container(action, json);
        chunk->json = ngx_http_klaviyo_arena_keep(action->arena, chunk->json);

        if (chunk->json) {
            ngx_http_klaviyo_action_fill(action, chunk->json, json);
        }

        return;
    }

    json = ngx_http_klaviyo_action_text(action, json);
    chunk->json = ngx_http_klaviyo_arena_keep(action->arena, json);
}


/* a new one of that type, or NULL when a limit was met */

static json_t *
ngx_http_klaviyo_action_container(ngx_http_klaviyo_action_t *action,
    json_t *json)
{
    if (action->depth == NGX_HTTP_KLAVIYO_ACTION_DEPTH) {
        action->arena->limits++;
        return NULL;
    }

    if (ngx_http_klaviyo_arena_charge(action->arena,
                                      NGX_HTTP_KLAVIYO_OBJECT_COST)
        != NGX_OK)
    {
        return NULL;
    }

    return json_is_array(json) ? json_array() : json_object();
}


static void
ngx_http_klaviyo_action_fill(ngx_http_klaviyo_action_t *action, json_t *node,
    json_t *json)
{
    void    *iter;
    size_t   i;
    json_t  *value;

    action->around[action->depth++] = node;

    json_array_foreach(json, i, value) {
        ngx_http_klaviyo_action_put(action, node, NULL, value);
    }

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        ngx_http_klaviyo_action_put(action, node, json_object_iter_key(iter),
                                    json_object_iter_value(iter));
    }

    action->depth--;
}


/* "name" is NULL in an array */

static void
ngx_http_klaviyo_action_put(ngx_http_klaviyo_action_t *action, json_t *node,
    const char *name, json_t *json)
{
    json_t  *child;

    if (!json_is_array(json) && !json_is_object(json)) {
        child = ngx_http_klaviyo_action_text(action, json);
        ngx_http_klaviyo_action_attach(action, node, name, child);
        return;
    }

    child = ngx_http_klaviyo_action_container(action, json);
    ngx_http_klaviyo_action_attach(action, node, name, json_incref(child));

    if (child) {
        ngx_http_klaviyo_action_fill(action, child, json);
        json_decref(child);
    }
}


/* takes over the reference; what is missing keeps its place in an array */

static void
ngx_http_klaviyo_action_attach(ngx_http_klaviyo_action_t *action, json_t *node,
    const char *name, json_t *json)
{
    int     rc;
    size_t  cost;

    if (json == NULL) {

        if (name) {
            return;
        }

        json = json_null();
    }

    cost = name ? NGX_HTTP_KLAVIYO_MEMBER_COST + ngx_strlen(name)
                : NGX_HTTP_KLAVIYO_ELEMENT_COST;

    if (ngx_http_klaviyo_arena_charge(action->arena, cost) != NGX_OK) {
        json_decref(json);
        return;
    }

    rc = name ? json_object_set_new_nocheck(node, name, json)
              : json_array_append_new(node, json);

    if (rc != 0) {
        action->arena->limits++;
    }
}


/*
 * A new reference to what a scalar stands for, or NULL: undefined, a file, a
 * function and whatever else no JSON can say.
 */

static json_t *
ngx_http_klaviyo_action_text(ngx_http_klaviyo_action_t *action, json_t *json)
{
    size_t   len;
    u_char  *p, *last;

    p = (u_char *) json_string_value(json);
    len = json_string_length(json);

    if (len == 0 || *p != '$') {
        return json_incref(json);
    }

    if (len == 1) {
        return NULL;
    }

    last = p + len;

    switch (p[1]) {

    case '$':
        return ngx_http_klaviyo_action_string(action, p + 1, len - 1);

    case 'D':
        return ngx_http_klaviyo_action_string(action, p + 2, len - 2);

    case 'n':
        return ngx_http_klaviyo_action_integer(action, p + 2, len - 2);

    case '-':
        return (len == 3 && p[2] == '0') ? json_integer(0) : NULL;

    case 'K':
        return ngx_http_klaviyo_action_form(action, p + 2, len - 2);

    case 'Q':
        return ngx_http_klaviyo_action_map(action,
                              ngx_http_klaviyo_action_refer(action, p + 2,
                                                            last));

    /* a promise, a set, an iterator */

    case '@':
    case 'W':
    case 'i':
        return json_incref(ngx_http_klaviyo_action_refer(action, p + 2, last));
    }

    if ((p[1] >= '0' && p[1] <= '9') || (p[1] >= 'a' && p[1] <= 'f')) {
        return json_incref(ngx_http_klaviyo_action_refer(action, p + 1, last));
    }

    return NULL;
}


static json_t *
ngx_http_klaviyo_action_string(ngx_http_klaviyo_action_t *action, u_char *p,
    size_t len)
{
    if (ngx_http_klaviyo_arena_charge(action->arena,
                                      NGX_HTTP_KLAVIYO_VALUE_COST + len)
        != NGX_OK)
    {
        return NULL;
    }

    return json_stringn_nocheck((char *) p, len);
}


/* one beyond 64 bits is missing, as it is in JSON */

static json_t *
ngx_http_klaviyo_action_integer(ngx_http_klaviyo_action_t *action, u_char *p,
    size_t len)
{
    json_t      *json;
    ngx_str_t    text;
    ngx_uint_t   reals;

    text.data = p;
    text.len = len;

    if (len > NGX_INT64_LEN
        || ngx_http_klaviyo_arena_charge(action->arena,
                                         NGX_HTTP_KLAVIYO_VALUE_COST)
           != NGX_OK)
    {
        return NULL;
    }

    json = ngx_http_klaviyo_json_load(&text, &reals);

    if (!json_is_integer(json)) {
        json_decref(json);
        return NULL;
    }

    return json;
}


/*
 * "1" or "1:cart:0": a part, then names and numbers of elements; borrowed.
 * NULL if that is not there or around the place that asks.
 */

static json_t *
ngx_http_klaviyo_action_refer(ngx_http_klaviyo_action_t *action, u_char *p,
    u_char *last)
{
    u_char      *end;
    json_t      *json;
    ngx_int_t    id;
    ngx_uint_t   i;

    end = ngx_strlchr(p, last, ':');
    end = end ? end : last;

    id = (end - p > 8) ? NGX_ERROR : ngx_hextoi(p, end - p);

    if (id == NGX_ERROR) {
        return NULL;
    }

    json = ngx_http_klaviyo_action_chunk(action, id);

    while (json && end < last) {
        p = end + 1;
        end = ngx_strlchr(p, last, ':');
        end = end ? end : last;

        json = ngx_http_klaviyo_action_step(json, p, end - p);
    }

    for (i = 0; i < action->depth; i++) {

        if (action->around[i] == json) {
            return NULL;
        }
    }

    if (json
        && ngx_http_klaviyo_arena_weigh(action->arena, json, &action->weight)
           != NGX_OK)
    {
        return NULL;
    }

    return json;
}


static json_t *
ngx_http_klaviyo_action_step(json_t *json, u_char *p, size_t len)
{
    char       name[NGX_HTTP_KLAVIYO_ACTION_NAME + 1];
    ngx_int_t  i;

    if (json_is_array(json)) {
        i = ngx_atoi(p, len);

        return (i == NGX_ERROR) ? NULL : json_array_get(json, i);
    }

    if (len > NGX_HTTP_KLAVIYO_ACTION_NAME) {
        return NULL;
    }

    (void) ngx_cpystrn((u_char *) name, p, len + 1);

    return json_object_get(json, name);
}


/* pairs as an object, of those whose key is a text or an integer */

static json_t *
ngx_http_klaviyo_action_map(ngx_http_klaviyo_action_t *action, json_t *pairs)
{
    size_t       i;
    u_char       buf[NGX_HTTP_KLAVIYO_REAL_LEN + 1];
    json_t      *map, *pair, *key;
    const char  *name;

    if (!json_is_array(pairs)
        || ngx_http_klaviyo_arena_charge(action->arena,
                                         NGX_HTTP_KLAVIYO_OBJECT_COST)
           != NGX_OK)
    {
        return NULL;
    }

    map = json_object();

    json_array_foreach(pairs, i, pair) {
        key = json_array_get(pair, 0);
        name = json_string_value(key);

        if (json_is_integer(key)) {
            buf[ngx_http_klaviyo_json_number(buf, key)] = '\0';
            name = (char *) buf;
        }

        if (name) {
            ngx_http_klaviyo_action_attach(action, map, name,
                                         json_incref(json_array_get(pair, 1)));
        }
    }

    return map;
}


/* some versions name the fields with the number in decimal */

static json_t *
ngx_http_klaviyo_action_form(ngx_http_klaviyo_action_t *action, u_char *p,
    size_t len)
{
    u_char                           buf[NGX_INT64_LEN];
    ngx_int_t                        id;
    ngx_str_t                        number;
    ngx_uint_t                       i, n;
    ngx_http_klaviyo_action_form_t  *form;

    id = (len > 8) ? NGX_ERROR : ngx_hextoi(p, len);

    if (id == NGX_ERROR) {
        return NULL;
    }

    for (n = 0; n < 2; n++) {
        number.data = n ? buf : p;
        number.len = n ? (size_t) (ngx_sprintf(buf, "%i", id) - buf) : len;

        for (i = 0; i < action->nforms; i++) {
            form = &action->forms[i];

            if (form->prefix.len != number.len
                || ngx_memcmp(form->prefix.data, number.data, number.len) != 0)
            {
                continue;
            }

            if (!form->done) {
                form->done = 1;
                (void) ngx_http_klaviyo_form_done(&form->form);
            }

            if (ngx_http_klaviyo_arena_weigh(action->arena, form->form.object,
                                             &action->weight)
                != NGX_OK)
            {
                return NULL;
            }

            return json_incref(form->form.object);
        }
    }

    return NULL;
}
