
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Pages that stream by: fed in pieces of the length that the first byte says
 * they give what they give at once.  "j" as the second byte makes a script of
 * the rest.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_document.h"


#define FUZZ_LIMIT  (128 * 1024)


static ngx_str_t fuzz_script(fuzz_t *f, ngx_str_t *text);
static json_t *fuzz_feed(fuzz_t *f, ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *page, size_t piece, ngx_uint_t *limited);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    size_t                     piece;
    json_t                    *once, *pieces;
    ngx_str_t                  page;
    ngx_uint_t                 script, limited, again;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_arena_t   arena;

    piece = 1 + fuzz_byte(f) % 61;
    script = (fuzz_byte(f) == 'j');
    page = fuzz_rest(f);

    if (script) {
        page = fuzz_script(f, &page);
    }

    ngx_http_klaviyo_arena_init(&arena, f->pool, NGX_HTTP_KLAVIYO_ARENA_SIZE);

    once = fuzz_feed(f, &f->arena, &page, page.len + 1, &limited);
    pieces = fuzz_feed(f, &arena, &page, piece, &again);

    assert_int_equal(once != NULL, pieces != NULL);
    assert_int_equal(limited, again);

    if (once) {
        assert_true(json_is_object(once));
        assert_true(json_equal(once, pieces));

        ngx_http_klaviyo_data_from_json(&f->arena, &data, once);
        fuzz_check_data(f, &data);
    }

    ngx_http_klaviyo_arena_done(&arena);
}


static ngx_str_t
fuzz_script(fuzz_t *f, ngx_str_t *text)
{
    u_char     *p;
    ngx_str_t   page;

    static ngx_str_t  head =
        ngx_string("<script type=\"application/ld+json\">");
    static ngx_str_t  tail = ngx_string("</script>");

    page.len = head.len + text->len + tail.len;
    page.data = ngx_pnalloc(f->pool, page.len);
    assert_non_null(page.data);

    p = ngx_cpymem(page.data, head.data, head.len);
    p = ngx_cpymem(p, text->data, text->len);
    ngx_memcpy(p, tail.data, tail.len);

    return page;
}


static json_t *
fuzz_feed(fuzz_t *f, ngx_http_klaviyo_arena_t *arena, ngx_str_t *page,
    size_t piece, ngx_uint_t *limited)
{
    size_t                      n, len;
    u_char                     *p;
    ngx_http_klaviyo_jsonld_t  *jsonld;

    jsonld = ngx_http_klaviyo_jsonld_create(f->pool, FUZZ_LIMIT);
    assert_non_null(jsonld);

    p = ngx_pnalloc(f->pool, ngx_min(piece, page->len));
    assert_non_null(p);

    for (n = 0; n < page->len; n += len) {
        len = ngx_min(piece, page->len - n);
        ngx_memcpy(p, page->data + n, len);

        if (ngx_http_klaviyo_jsonld_feed(jsonld, p, p + len) != NGX_OK) {
            break;
        }

        /* nothing may be kept of a piece */
        ngx_memset(p, 0xa5, len);
    }

    *limited = 0;

    return ngx_http_klaviyo_jsonld_tree(jsonld, arena, limited);
}
