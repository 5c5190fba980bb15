
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Which decoder reads a body: its type says so, or its first byte.
 */


#include "ngx_http_klaviyo_action.h"
#include "ngx_http_klaviyo_document.h"
#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_form.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_multipart.h"
#include "ngx_http_klaviyo_turbo.h"


static ngx_uint_t ngx_http_klaviyo_document_is(ngx_str_t *type,
    const char *name);
static u_char ngx_http_klaviyo_document_first(ngx_str_t *text);
static json_t *ngx_http_klaviyo_document_multipart(
    ngx_http_klaviyo_arena_t *arena, ngx_str_t *type, ngx_str_t *text);
static json_t *ngx_http_klaviyo_document_query(
    ngx_http_klaviyo_arena_t *arena, ngx_str_t *text);


json_t *
ngx_http_klaviyo_document_body(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *type, ngx_str_t *text, ngx_http_klaviyo_pick_t *pick,
    ngx_uint_t action)
{
    u_char       ch;
    json_t      *json;
    ngx_int_t    rc;
    ngx_str_t    body, part;
    ngx_uint_t   limits;

    body = *text;

    if (body.len >= 3 && ngx_memcmp(body.data, "\xEF\xBB\xBF", 3) == 0) {
        body.data += 3;
        body.len -= 3;
    }

    if (ngx_http_klaviyo_document_is(type, "text/x-script")) {
        return ngx_http_klaviyo_turbo_parse(arena, &body);
    }

    ch = ngx_http_klaviyo_document_first(&body);

    if (ch == '{' || ch == '[') {
        limits = arena->limits;
        part = body;

        if (pick && !action) {
            ngx_http_klaviyo_pick(arena, pick, &part);
        }

        json = ngx_http_klaviyo_json_parse(arena, &part);

        if (json && action) {
            return ngx_http_klaviyo_action_json(arena, json);
        }

        if (json || arena->limits != limits) {
            return json;
        }
    }

    if (ngx_http_klaviyo_document_is(type, "multipart/form-data")) {

        if (action) {
            rc = ngx_http_klaviyo_action_multipart(arena, type, &body, &json);

            if (rc != NGX_DECLINED) {
                return (rc == NGX_OK) ? json : NULL;
            }
        }

        return ngx_http_klaviyo_document_multipart(arena, type, &body);
    }

    if (ngx_http_klaviyo_document_is(type,
                                     "application/x-www-form-urlencoded"))
    {
        return ngx_http_klaviyo_decode_form(arena, &body, 1);
    }

    if (ngx_http_klaviyo_document_is(type, "application/graphql")) {
        return ngx_http_klaviyo_document_query(arena, &body);
    }

    return NULL;
}


/* "type" may have parameters */

static ngx_uint_t
ngx_http_klaviyo_document_is(ngx_str_t *type, const char *name)
{
    size_t   len;
    u_char  *p, *last;

    p = type->data;
    last = p + type->len;
    len = ngx_strlen(name);

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if ((size_t) (last - p) < len
        || ngx_strncasecmp(p, (u_char *) name, len) != 0)
    {
        return 0;
    }

    p += len;

    return p == last || *p == ';' || *p == ' ' || *p == '\t';
}


/* the first byte that JSON doesn't take for a blank, 0 if there is none */

static u_char
ngx_http_klaviyo_document_first(ngx_str_t *text)
{
    size_t  i;
    u_char  ch;

    for (i = 0; i < text->len; i++) {
        ch = text->data[i];

        if (ch != ' ' && ch != '\t' && ch != CR && ch != LF) {
            return ch;
        }
    }

    return 0;
}


static json_t *
ngx_http_klaviyo_document_multipart(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *type, ngx_str_t *text)
{
    ngx_int_t                      rc;
    ngx_str_t                      name, value;
    ngx_http_klaviyo_form_t        form;
    ngx_http_klaviyo_multipart_t   mp;

    if (ngx_http_klaviyo_multipart_init(&mp, arena, type, text) != NGX_OK
        || ngx_http_klaviyo_form_init(&form, arena,
                                      NGX_HTTP_KLAVIYO_FORM_REPEAT)
           != NGX_OK)
    {
        return NULL;
    }

    for ( ;; ) {
        rc = ngx_http_klaviyo_multipart_next(&mp, &name, &value);

        if (rc == NGX_DONE) {
            return ngx_http_klaviyo_form_done(&form);
        }

        if (rc != NGX_OK
            || ngx_http_klaviyo_form_add(&form, &name, &value) == NGX_ERROR)
        {
            return NULL;
        }
    }
}


static json_t *
ngx_http_klaviyo_document_query(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text)
{
    ngx_str_t                name;
    ngx_http_klaviyo_form_t  form;

    ngx_str_set(&name, "query");

    if (text->len == 0
        || ngx_http_klaviyo_form_init(&form, arena, 0) != NGX_OK
        || ngx_http_klaviyo_form_add(&form, &name, text) != NGX_OK)
    {
        return NULL;
    }

    return ngx_http_klaviyo_form_done(&form);
}
