
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What is picked of a document, the rest, for two paths, the first lines: in
 * all that jansson reads the paths select the same as before.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_pick.h"


static ngx_http_klaviyo_path_t *fuzz_path(fuzz_t *f,
    ngx_http_klaviyo_pick_t *pick);
static json_t *fuzz_json(fuzz_t *f, ngx_str_t *text, ngx_uint_t *reals);
static void fuzz_same(fuzz_t *f, ngx_http_klaviyo_path_t *path, json_t *whole,
    json_t *part);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *whole, *part;
    ngx_str_t                 text, picked;
    ngx_uint_t                i, reals;
    ngx_http_klaviyo_path_t  *paths[2];
    ngx_http_klaviyo_pick_t   pick;

    ngx_memzero(&pick, sizeof(ngx_http_klaviyo_pick_t));

    for (i = 0; i < 2; i++) {
        paths[i] = fuzz_path(f, &pick);
        if (paths[i] == NULL) {
            return;
        }
    }

    text = fuzz_rest(f);
    picked = text;

    ngx_http_klaviyo_pick(&f->arena, &pick, &picked);

    assert_true(picked.len <= text.len);

    whole = fuzz_json(f, &text, &reals);

    /* an integer that is too long for one makes reals of all others */

    if (whole == NULL || reals) {
        return;
    }

    part = fuzz_json(f, &picked, &reals);
    assert_non_null(part);

    for (i = 0; i < 2; i++) {
        fuzz_same(f, paths[i], whole, part);
    }
}


static ngx_http_klaviyo_path_t *
fuzz_path(fuzz_t *f, ngx_http_klaviyo_pick_t *pick)
{
    u_char                   *buf;
    ngx_str_t                 text, err;
    ngx_http_klaviyo_path_t  *path;
    ngx_http_klaviyo_pick_t  *found;

    text = fuzz_line(f);

    buf = ngx_pnalloc(f->pool, 128);
    assert_non_null(buf);

    err.data = buf;
    err.len = 0;

    path = ngx_http_klaviyo_path_parse(f->pool, &text, &err);

    if (path) {
        found = ngx_http_klaviyo_pick_path(f->pool, pick, path);
        assert_non_null(found);

        found->whole = 1;
    }

    return path;
}


static json_t *
fuzz_json(fuzz_t *f, ngx_str_t *text, ngx_uint_t *reals)
{
    json_t  *json;

    json = ngx_http_klaviyo_json_load(text, reals);

    return json ? ngx_http_klaviyo_arena_keep(&f->arena, json) : NULL;
}


static void
fuzz_same(fuzz_t *f, ngx_http_klaviyo_path_t *path, json_t *whole,
    json_t *part)
{
    ngx_uint_t               i;
    ngx_http_klaviyo_data_t  data[2];

    ngx_http_klaviyo_data_from_json(&f->arena, &data[0], whole);
    ngx_http_klaviyo_data_from_json(&f->arena, &data[1], part);

    for (i = 0; i < 2; i++) {
        ngx_http_klaviyo_path_select(&f->arena, path, &data[i], &data[i]);
    }

    if (data[0].type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        return;
    }

    assert_int_equal(data[0].type, data[1].type);

    if (data[0].type == NGX_HTTP_KLAVIYO_TREE) {
        assert_true(json_equal(data[0].json, data[1].json));

    } else if (data[0].type == NGX_HTTP_KLAVIYO_STRING
               || data[0].type == NGX_HTTP_KLAVIYO_NUMBER)
    {
        fuzz_assert_text(&data[0].text, &data[1].text, __FILE__, __LINE__);
    }
}
