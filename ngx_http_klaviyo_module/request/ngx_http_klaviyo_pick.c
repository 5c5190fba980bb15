
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A JSON text without what nobody asks for.  Its grammar is jansson's concern:
 * here strings end, brackets match, and that is all.
 */


#include "ngx_http_klaviyo_pick.h"


/* brackets that may be open in what is passed over: the bits of a number */
#define NGX_HTTP_KLAVIYO_PICK_DEPTH  64


typedef struct {
    u_char                              *pos;
    u_char                              *last;
    u_char                              *out;
} ngx_http_klaviyo_picker_t;


static ngx_http_klaviyo_pick_t *ngx_http_klaviyo_pick_member(ngx_pool_t *pool,
    ngx_http_klaviyo_pick_t *pick, ngx_str_t *name);
static ngx_http_klaviyo_pick_t *ngx_http_klaviyo_pick_find(
    ngx_http_klaviyo_pick_t *pick, u_char *name, size_t len);
static ngx_int_t ngx_http_klaviyo_pick_value(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick);
static ngx_int_t ngx_http_klaviyo_pick_object(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick);
static ngx_int_t ngx_http_klaviyo_pick_pair(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick, ngx_uint_t *n);
static ngx_int_t ngx_http_klaviyo_pick_array(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick);
static ngx_int_t ngx_http_klaviyo_pick_more(ngx_http_klaviyo_picker_t *pk,
    u_char end);
static ngx_int_t ngx_http_klaviyo_pick_skip(ngx_http_klaviyo_picker_t *pk);
static ngx_int_t ngx_http_klaviyo_pick_skip_tree(
    ngx_http_klaviyo_picker_t *pk);
static ngx_int_t ngx_http_klaviyo_pick_skip_string(
    ngx_http_klaviyo_picker_t *pk);
static void ngx_http_klaviyo_pick_blanks(ngx_http_klaviyo_picker_t *pk);
static ngx_uint_t ngx_http_klaviyo_pick_is(ngx_http_klaviyo_picker_t *pk,
    u_char ch);
static void ngx_http_klaviyo_pick_copy(ngx_http_klaviyo_picker_t *pk,
    u_char *start);


ngx_http_klaviyo_pick_t *
ngx_http_klaviyo_pick_path(ngx_pool_t *pool, ngx_http_klaviyo_pick_t *pick,
    ngx_http_klaviyo_path_t *path)
{
    ngx_int_t   index;
    ngx_str_t   name;
    ngx_uint_t  n;

    for (n = 0; pick; n++) {

        switch (ngx_http_klaviyo_path_part(path, n, &name, &index)) {

        case NGX_HTTP_KLAVIYO_PATH_NAME:
            pick = ngx_http_klaviyo_pick_member(pool, pick, &name);
            break;

        case NGX_HTTP_KLAVIYO_PATH_INDEX:
            pick = ngx_http_klaviyo_pick_elements(pool, pick, index);
            break;

        case NGX_HTTP_KLAVIYO_PATH_WILDCARD:
            pick = ngx_http_klaviyo_pick_elements(pool, pick, -1);
            break;

        case NGX_HTTP_KLAVIYO_PATH_FILTER:

            /* it looks at more than the path goes on with */

            pick = ngx_http_klaviyo_pick_elements(pool, pick, -1);

            if (pick) {
                pick->whole = 1;
            }

            return pick;

        default: /* NGX_HTTP_KLAVIYO_PATH_END */
            return pick;
        }
    }

    return NULL;
}


static ngx_http_klaviyo_pick_t *
ngx_http_klaviyo_pick_member(ngx_pool_t *pool, ngx_http_klaviyo_pick_t *pick,
    ngx_str_t *name)
{
    ngx_http_klaviyo_pick_t  *member;

    member = ngx_http_klaviyo_pick_find(pick->members, name->data, name->len);

    if (member) {
        return member;
    }

    member = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_pick_t));
    if (member == NULL) {
        return NULL;
    }

    member->name = *name;
    member->next = pick->members;
    pick->members = member;

    return member;
}


/* a negative index counts from the end: all that are before matter, too */

ngx_http_klaviyo_pick_t *
ngx_http_klaviyo_pick_elements(ngx_pool_t *pool, ngx_http_klaviyo_pick_t *pick,
    ngx_int_t index)
{
    ngx_uint_t  n;

    if (pick->elements == NULL) {
        pick->elements = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_pick_t));
        if (pick->elements == NULL) {
            return NULL;
        }
    }

    n = (index < 0) ? NGX_MAX_INT_T_VALUE : (ngx_uint_t) index + 1;

    pick->nelements = ngx_max(pick->nelements, n);

    return pick->elements;
}


static ngx_http_klaviyo_pick_t *
ngx_http_klaviyo_pick_find(ngx_http_klaviyo_pick_t *pick, u_char *name,
    size_t len)
{
    while (pick
           && (pick->name.len != len
               || ngx_memcmp(pick->name.data, name, len) != 0))
    {
        pick = pick->next;
    }

    return pick;
}


void
ngx_http_klaviyo_pick(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_pick_t *pick, ngx_str_t *text)
{
    u_char                     *buf;
    ngx_http_klaviyo_picker_t   pk;

    pk.pos = text->data;
    pk.last = text->data + text->len;

    ngx_http_klaviyo_pick_blanks(&pk);

    if (pick->whole
        || (!ngx_http_klaviyo_pick_is(&pk, '{')
            && !ngx_http_klaviyo_pick_is(&pk, '[')))
    {
        return;
    }

    buf = ngx_http_klaviyo_arena_alloc(arena, text->len);
    if (buf == NULL) {
        return;
    }

    pk.out = buf;

    if (ngx_http_klaviyo_pick_value(&pk, pick) != NGX_OK) {
        return;
    }

    ngx_http_klaviyo_pick_blanks(&pk);

    if (pk.pos < pk.last) {
        return;
    }

    text->data = buf;
    text->len = pk.out - buf;
}


/* goes as deep as a path does: NGX_HTTP_KLAVIYO_MAX_SEGMENTS */

static ngx_int_t
ngx_http_klaviyo_pick_value(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick)
{
    u_char  *start;

    if (!pick->whole) {

        /* a wildcard takes the members of an object */

        if (ngx_http_klaviyo_pick_is(pk, '{') && pick->elements == NULL) {
            return ngx_http_klaviyo_pick_object(pk, pick);
        }

        if (ngx_http_klaviyo_pick_is(pk, '[')) {
            return ngx_http_klaviyo_pick_array(pk, pick);
        }
    }

    start = pk->pos;

    if (ngx_http_klaviyo_pick_skip(pk) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_pick_copy(pk, start);

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_pick_object(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    n = 0;
    pk->pos++;
    *pk->out++ = '{';

    ngx_http_klaviyo_pick_blanks(pk);

    if (ngx_http_klaviyo_pick_is(pk, '}')) {
        pk->pos++;

    } else {
        do {
            if (ngx_http_klaviyo_pick_pair(pk, pick, &n) != NGX_OK) {
                return NGX_DECLINED;
            }

            rc = ngx_http_klaviyo_pick_more(pk, '}');

        } while (rc == NGX_AGAIN);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    *pk->out++ = '}';

    return NGX_OK;
}


/* "n" members are written already */

static ngx_int_t
ngx_http_klaviyo_pick_pair(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick, ngx_uint_t *n)
{
    size_t                    len;
    u_char                   *name;
    ngx_http_klaviyo_pick_t  *member;

    name = pk->pos;

    if (!ngx_http_klaviyo_pick_is(pk, '"')
        || ngx_http_klaviyo_pick_skip_string(pk) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    len = pk->pos - name;

    if (memchr(name, '\\', len) != NULL) {
        return NGX_DECLINED;
    }

    ngx_http_klaviyo_pick_blanks(pk);

    if (!ngx_http_klaviyo_pick_is(pk, ':')) {
        return NGX_DECLINED;
    }

    pk->pos++;

    ngx_http_klaviyo_pick_blanks(pk);

    member = ngx_http_klaviyo_pick_find(pick->members, name + 1, len - 2);

    if (member == NULL) {
        return ngx_http_klaviyo_pick_skip(pk);
    }

    if ((*n)++) {
        *pk->out++ = ',';
    }

    pk->out = ngx_cpymem(pk->out, name, len);
    *pk->out++ = ':';

    return ngx_http_klaviyo_pick_value(pk, member);
}


/* elements behind those that are asked for can't be told from none */

static ngx_int_t
ngx_http_klaviyo_pick_array(ngx_http_klaviyo_picker_t *pk,
    ngx_http_klaviyo_pick_t *pick)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    pk->pos++;
    *pk->out++ = '[';

    ngx_http_klaviyo_pick_blanks(pk);

    if (ngx_http_klaviyo_pick_is(pk, ']')) {
        pk->pos++;

    } else {
        n = 0;

        do {
            if (n < pick->nelements) {

                if (n++) {
                    *pk->out++ = ',';
                }

                rc = ngx_http_klaviyo_pick_value(pk, pick->elements);

            } else {
                rc = ngx_http_klaviyo_pick_skip(pk);
            }

            if (rc == NGX_OK) {
                rc = ngx_http_klaviyo_pick_more(pk, ']');
            }

        } while (rc == NGX_AGAIN);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    *pk->out++ = ']';

    return NGX_OK;
}


/* behind a value: NGX_AGAIN at the next one, NGX_OK behind "end" */

static ngx_int_t
ngx_http_klaviyo_pick_more(ngx_http_klaviyo_picker_t *pk, u_char end)
{
    ngx_http_klaviyo_pick_blanks(pk);

    if (ngx_http_klaviyo_pick_is(pk, end)) {
        pk->pos++;
        return NGX_OK;
    }

    if (!ngx_http_klaviyo_pick_is(pk, ',')) {
        return NGX_DECLINED;
    }

    pk->pos++;

    ngx_http_klaviyo_pick_blanks(pk);

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_klaviyo_pick_skip(ngx_http_klaviyo_picker_t *pk)
{
    u_char  *start;

    if (ngx_http_klaviyo_pick_is(pk, '"')) {
        return ngx_http_klaviyo_pick_skip_string(pk);
    }

    if (ngx_http_klaviyo_pick_is(pk, '{')
        || ngx_http_klaviyo_pick_is(pk, '['))
    {
        return ngx_http_klaviyo_pick_skip_tree(pk);
    }

    for (start = pk->pos; pk->pos < pk->last; pk->pos++) {

        switch (*pk->pos) {

        case ',':
        case ':':
        case '"':
        case '{':
        case '}':
        case '[':
        case ']':
        case ' ':
        case '\t':
        case CR:
        case LF:
            goto done;
        }
    }

done:

    return (pk->pos > start) ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_pick_skip_tree(ngx_http_klaviyo_picker_t *pk)
{
    u_char      ch;
    uint64_t    objects;
    ngx_uint_t  depth;

    /* of what is open a bit each: is it an object? */

    depth = 0;
    objects = 0;

    while (pk->pos < pk->last) {
        ch = *pk->pos;

        switch (ch) {

        case '"':
            if (ngx_http_klaviyo_pick_skip_string(pk) != NGX_OK) {
                return NGX_DECLINED;
            }

            continue;

        case '{':
        case '[':
            if (depth++ == NGX_HTTP_KLAVIYO_PICK_DEPTH) {
                return NGX_DECLINED;
            }

            objects = (objects << 1) | (ch == '{');
            break;

        case '}':
        case ']':
            if ((objects & 1) != (ch == '}')) {
                return NGX_DECLINED;
            }

            objects >>= 1;

            if (--depth == 0) {
                pk->pos++;
                return NGX_OK;
            }
        }

        pk->pos++;
    }

    return NGX_DECLINED;
}


/* a quote ends it unless an odd number of backslashes stands before */

static ngx_int_t
ngx_http_klaviyo_pick_skip_string(ngx_http_klaviyo_picker_t *pk)
{
    u_char  *p, *start;

    start = pk->pos + 1;

    for ( ;; ) {
        p = memchr(pk->pos + 1, '"', pk->last - pk->pos - 1);
        if (p == NULL) {
            return NGX_DECLINED;
        }

        pk->pos = p;

        while (p > start && p[-1] == '\\') {
            p--;
        }

        if ((pk->pos - p) % 2 == 0) {
            pk->pos++;
            return NGX_OK;
        }
    }
}


static void
ngx_http_klaviyo_pick_blanks(ngx_http_klaviyo_picker_t *pk)
{
    while (pk->pos < pk->last
           && (*pk->pos == ' ' || *pk->pos == '\t'
               || *pk->pos == CR || *pk->pos == LF))
    {
        pk->pos++;
    }
}


static ngx_uint_t
ngx_http_klaviyo_pick_is(ngx_http_klaviyo_picker_t *pk, u_char ch)
{
    return pk->pos < pk->last && *pk->pos == ch;
}


static void
ngx_http_klaviyo_pick_copy(ngx_http_klaviyo_picker_t *pk, u_char *start)
{
    pk->out = ngx_cpymem(pk->out, start, pk->pos - start);
}
