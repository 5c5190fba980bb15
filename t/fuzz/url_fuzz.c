
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * URLs: as a visitor sees them (v), and values of any type without what
 * identifies the visitor (s).
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_url.h"


static void fuzz_visible(fuzz_t *f, ngx_str_t *uri);
static void fuzz_scrub(fuzz_t *f, ngx_str_t *text);
static void fuzz_query(ngx_str_t *url);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t   text;
    ngx_uint_t  what;

    what = fuzz_byte(f);
    text = fuzz_rest(f);

    if (what == 'v') {
        fuzz_visible(f, &text);

    } else {
        fuzz_scrub(f, &text);
    }
}


static void
fuzz_visible(fuzz_t *f, ngx_str_t *uri)
{
    ngx_str_t  visible;

    if (ngx_http_klaviyo_url_visible(&f->arena, uri, &visible) != NGX_OK) {
        return;
    }

    assert_in_range(visible.len, 0, uri->len + 1);
    fuzz_query(&visible);
}


static void
fuzz_scrub(fuzz_t *f, ngx_str_t *text)
{
    ngx_http_klaviyo_data_t  data, again;

    fuzz_data(f, &data, text);

    if (ngx_http_klaviyo_url_scrub(&f->arena, &data) != NGX_OK) {
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
        return;
    }

    fuzz_check_data(f, &data);

    if (data.type == NGX_HTTP_KLAVIYO_STRING && data.text.len
        && data.text.data[0] == '/')
    {
        fuzz_query(&data.text);
    }

    /* there is nothing left to take out */

    again = data;

    if (ngx_http_klaviyo_url_scrub(&f->arena, &again) != NGX_OK) {
        return;
    }

    assert_int_equal(again.type, data.type);

    if (data.type == NGX_HTTP_KLAVIYO_STRING) {
        fuzz_assert_same(&again.text, &data.text);

    } else if (data.type == NGX_HTTP_KLAVIYO_TREE) {
        assert_ptr_equal(again.json, data.json);
    }
}


/* no argument of the query names the visitor */

static void
fuzz_query(ngx_str_t *url)
{
    u_char      *p, *last;
    ngx_str_t    arg;
    ngx_uint_t   i;

    static ngx_str_t  names[] = {
        ngx_string("_kx"),
        ngx_string("_ke"),
        ngx_string("utm_email")
    };

    last = url->data + url->len;

    p = ngx_strlchr(url->data, last, '#');
    if (p) {
        last = p;
    }

    p = ngx_strlchr(url->data, last, '?');

    while (p) {
        arg.data = p + 1;
        p = ngx_strlchr(arg.data, last, '&');
        arg.len = (p ? p : last) - arg.data;

        for (i = 0; i < sizeof(names) / sizeof(ngx_str_t); i++) {
            assert_false(ngx_http_klaviyo_url_named(&arg, &names[i]));
        }
    }
}
