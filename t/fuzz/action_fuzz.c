
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Calls of React server actions.  A line is a part of the body: its name, a
 * blank, its text.  If the input begins with "=" all that follows is the part
 * "0", and says the same as if it were a body of its own.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_action.h"


#define FUZZ_PARTS  300


static void fuzz_parts(ngx_str_t *text, ngx_str_t *body);
static void fuzz_part(ngx_str_t *body, ngx_str_t *name, ngx_str_t *value);
static void fuzz_append(ngx_str_t *body, ngx_str_t *text);
static void fuzz_alone(fuzz_t *f, ngx_str_t *text, json_t *json);
static void fuzz_tree(fuzz_t *f, json_t *json);


static ngx_str_t  fuzz_type = ngx_string("multipart/form-data; boundary=x");
static ngx_str_t  fuzz_name =
    ngx_string("--x\r\nContent-Disposition: form-data; name=\"");
static ngx_str_t  fuzz_value = ngx_string("\"\r\n\r\n");
static ngx_str_t  fuzz_crlf = ngx_string("\r\n");
static ngx_str_t  fuzz_end = ngx_string("--x--\r\n");


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t      *json;
    ngx_int_t    rc;
    ngx_str_t    text, body;
    ngx_uint_t   alone;

    alone = (f->pos < f->last && *f->pos == '=');
    f->pos += alone;

    text = fuzz_rest(f);

    body.len = 0;
    body.data = ngx_pnalloc(f->pool, text.len + FUZZ_PARTS * 64);
    assert_non_null(body.data);

    if (alone) {
        fuzz_part(&body, unit_str("0"), &text);

    } else {
        fuzz_parts(&text, &body);
    }

    fuzz_append(&body, &fuzz_end);
    body = fuzz_copy(f, &body);

    json = NULL;
    rc = ngx_http_klaviyo_action_multipart(&f->arena, &fuzz_type, &body,
                                           &json);
    if (rc != NGX_OK) {
        return;
    }

    assert_non_null(json);
    fuzz_tree(f, json);

    if (alone) {
        fuzz_alone(f, &text, json);
    }
}


static void
fuzz_parts(ngx_str_t *text, ngx_str_t *body)
{
    u_char      *p, *end, *last;
    ngx_str_t    name, value;
    ngx_uint_t   n;

    last = text->data + text->len;

    for (p = text->data, n = 1; p < last && n < FUZZ_PARTS; p = end + 1, n++) {
        end = ngx_strlchr(p, last, LF);
        end = end ? end : last;

        name.data = p;
        p = ngx_strlchr(p, end, ' ');
        p = p ? p : end;
        name.len = p - name.data;

        value.data = (p < end) ? p + 1 : end;
        value.len = end - value.data;

        fuzz_part(body, &name, &value);
    }
}


static void
fuzz_part(ngx_str_t *body, ngx_str_t *name, ngx_str_t *value)
{
    fuzz_append(body, &fuzz_name);
    fuzz_append(body, name);
    fuzz_append(body, &fuzz_value);
    fuzz_append(body, value);
    fuzz_append(body, &fuzz_crlf);
}


static void
fuzz_append(ngx_str_t *body, ngx_str_t *text)
{
    ngx_memcpy(body->data + body->len, text->data, text->len);
    body->len += text->len;
}


static void
fuzz_alone(fuzz_t *f, ngx_str_t *text, json_t *json)
{
    json_t                    *other;
    ngx_http_klaviyo_arena_t   arena;

    ngx_http_klaviyo_arena_init(&arena, f->pool, NGX_HTTP_KLAVIYO_ARENA_SIZE);

    other = ngx_http_klaviyo_json_parse(&arena, text);

    if (other) {
        other = ngx_http_klaviyo_action_json(&arena, other);
        assert_non_null(other);
        assert_true(json_equal(json, other));
    }

    ngx_http_klaviyo_arena_done(&arena);
}


static void
fuzz_tree(fuzz_t *f, json_t *json)
{
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
    fuzz_check_data(f, &data);
}
