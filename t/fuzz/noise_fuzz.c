
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Requests that no shopper made: any User-Agent, any of the headers that tell,
 * one "Name: value" a line before it.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_noise.h"


#define FUZZ_HEADERS  4


static void fuzz_header(ngx_list_t *headers, ngx_str_t *line);


void
fuzz_init(ngx_pool_t *pool)
{
    assert_int_equal(ngx_http_klaviyo_noise_init(pool), NGX_OK);
}


void
fuzz_one(fuzz_t *f)
{
    ngx_int_t            rc;
    ngx_str_t            line, optout;
    ngx_uint_t           i, robot;
    ngx_table_elt_t      agent;
    ngx_http_request_t   r;

    ngx_memzero(&r, sizeof(ngx_http_request_t));
    ngx_memzero(&agent, sizeof(ngx_table_elt_t));

    assert_int_equal(ngx_list_init(&r.headers_in.headers, f->pool, 2,
                                   sizeof(ngx_table_elt_t)),
                     NGX_OK);

    optout = fuzz_line(f);

    for (i = 0; i < FUZZ_HEADERS; i++) {
        line = fuzz_line(f);
        fuzz_header(&r.headers_in.headers, &line);
    }

    agent.value = fuzz_rest(f);
    r.headers_in.user_agent = &agent;

    rc = ngx_http_klaviyo_noise(&r, NGX_HTTP_KLAVIYO_IGNORE_ALL, &optout);

    if (rc != NGX_DECLINED) {
        assert_in_range(rc, NGX_HTTP_KLAVIYO_SKIP_PREFETCH,
                        NGX_HTTP_KLAVIYO_SKIP_DNT);
    }

    /* each alone says the same as all together */

    robot = ngx_http_klaviyo_noise_robot(&agent.value);

    rc = ngx_http_klaviyo_noise(&r, NGX_HTTP_KLAVIYO_IGNORE_BOTS, &optout);
    assert_int_equal(rc, robot ? NGX_HTTP_KLAVIYO_SKIP_BOTS : NGX_DECLINED);
}


/* as nginx has it: the name in lower case too, and NULs at the ends */

static void
fuzz_header(ngx_list_t *headers, ngx_str_t *line)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    h = ngx_list_push(headers);
    assert_non_null(h);

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    p = ngx_pnalloc(headers->pool, 2 * line->len + 2);
    assert_non_null(p);

    h->lowcase_key = p + line->len + 2;
    h->key.data = p;

    ngx_memcpy(p, line->data, line->len);
    p[line->len] = '\0';

    p = ngx_strlchr(p, p + line->len, ':');

    if (p) {
        *p++ = '\0';
        h->key.len = p - 1 - h->key.data;

        while (*p == ' ') {
            p++;
        }

        h->value.data = p;
        h->value.len = h->key.data + line->len - p;

    } else {
        h->key.len = line->len;
        h->value.data = h->key.data + line->len;
    }

    ngx_strlow(h->lowcase_key, h->key.data, h->key.len);
    h->hash = 1;
}
