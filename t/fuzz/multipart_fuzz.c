
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * multipart/form-data, the type in the first line.  What is found lies in the
 * body, in order.  If that line is "=" a line is a part, its name, a blank and
 * its text, and what is written as browsers do is found as it was.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_multipart.h"


#define FUZZ_PARTS  300


static void fuzz_read(fuzz_t *f, ngx_str_t *type, ngx_str_t *body);
static void fuzz_same(fuzz_t *f);
static void fuzz_append(ngx_str_t *body, ngx_str_t *text);
static void fuzz_escape(ngx_str_t *body, ngx_str_t *name);
static ngx_uint_t fuzz_plain(ngx_str_t *name);


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
    ngx_str_t  type, body;

    type = fuzz_line(f);

    if (type.len == 1 && type.data[0] == '=') {
        fuzz_same(f);
        return;
    }

    body = fuzz_rest(f);
    fuzz_read(f, &type, &body);
}


static void
fuzz_read(fuzz_t *f, ngx_str_t *type, ngx_str_t *body)
{
    u_char                        *last;
    ngx_int_t                      rc;
    ngx_str_t                      name, value;
    ngx_uint_t                     n, limits;
    ngx_http_klaviyo_multipart_t   mp;

    rc = ngx_http_klaviyo_multipart_init(&mp, &f->arena, type, body);

    if (rc != NGX_OK) {
        assert_int_equal(rc, NGX_DECLINED);
        return;
    }

    limits = f->arena.limits;
    last = body->data;

    for (n = 0; /* void */ ; n++) {
        assert_in_range(n, 0, 4000);

        rc = ngx_http_klaviyo_multipart_next(&mp, &name, &value);

        if (rc != NGX_OK) {
            break;
        }

        assert_int_not_equal(name.len, 0);
        assert_true(value.data >= last);

        last = value.data + value.len;
        assert_true(last <= body->data + body->len);
    }

    assert_true(rc == NGX_DONE || rc == NGX_DECLINED || rc == NGX_ERROR);
    assert_int_equal(rc == NGX_ERROR, f->arena.limits != limits);
}


static void
fuzz_same(fuzz_t *f)
{
    u_char                        *p, *last;
    ngx_str_t                      body, line, name, value;
    ngx_str_t                      names[FUZZ_PARTS], values[FUZZ_PARTS];
    ngx_uint_t                     i, n;
    ngx_http_klaviyo_multipart_t   mp;

    body.len = 0;
    body.data = ngx_pnalloc(f->pool, 3 * (f->last - f->pos)
                                     + FUZZ_PARTS * 64);
    assert_non_null(body.data);

    for (n = 0; n < FUZZ_PARTS && f->pos < f->last; /* void */ ) {
        line = fuzz_line(f);
        last = line.data + line.len;

        p = ngx_strlchr(line.data, last, ' ');
        p = p ? p : last;

        names[n].data = line.data;
        names[n].len = p - line.data;
        values[n].data = (p < last) ? p + 1 : last;
        values[n].len = last - values[n].data;

        if (!fuzz_plain(&names[n])) {
            continue;
        }

        fuzz_append(&body, &fuzz_name);
        fuzz_escape(&body, &names[n]);
        fuzz_append(&body, &fuzz_value);
        fuzz_append(&body, &values[n]);
        fuzz_append(&body, &fuzz_crlf);
        n++;
    }

    fuzz_append(&body, &fuzz_end);
    body = fuzz_copy(f, &body);

    assert_int_equal(ngx_http_klaviyo_multipart_init(&mp, &f->arena,
                                                     &fuzz_type, &body),
                     NGX_OK);

    for (i = 0; i < n; i++) {
        assert_int_equal(ngx_http_klaviyo_multipart_next(&mp, &name, &value),
                         NGX_OK);
        fuzz_assert_same(&name, &names[i]);
        fuzz_assert_same(&value, &values[i]);
    }

    assert_int_equal(ngx_http_klaviyo_multipart_next(&mp, &name, &value),
                     NGX_DONE);
}


static void
fuzz_append(ngx_str_t *body, ngx_str_t *text)
{
    ngx_memcpy(body->data + body->len, text->data, text->len);
    body->len += text->len;
}


static void
fuzz_escape(ngx_str_t *body, ngx_str_t *name)
{
    size_t     i;
    ngx_str_t  ch;

    for (i = 0; i < name->len; i++) {
        ch.data = name->data + i;
        ch.len = 1;

        fuzz_append(body, (*ch.data == '"') ? unit_str("%22")
                          : (*ch.data == CR) ? unit_str("%0D") : &ch);
    }
}


/* what comes back as it is, as browsers write it */

static ngx_uint_t
fuzz_plain(ngx_str_t *name)
{
    u_char  *last;

    last = name->data + name->len;

    return name->len != 0
           && ngx_strlchr(name->data, last, '%') == NULL
           && ngx_strlchr(name->data, last, '\\') == NULL
           && (name->len != sizeof("_charset_") - 1
               || ngx_strncmp(name->data, "_charset_", name->len) != 0);
}
