
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Paths, the first line, and what they select in a document, the rest.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_path.h"


static void fuzz_selected(ngx_http_klaviyo_path_t *path, json_t *json,
    ngx_http_klaviyo_data_t *result);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    u_char                   *buf;
    ngx_str_t                 text, src, err;
    ngx_http_klaviyo_data_t   data, result;
    ngx_http_klaviyo_path_t  *path;

    text = fuzz_line(f);
    src = fuzz_rest(f);

    buf = ngx_pnalloc(f->pool, 128);
    assert_non_null(buf);

    err.data = buf;
    err.len = 0;

    path = ngx_http_klaviyo_path_parse(f->pool, &text, &err);

    if (path == NULL) {
        assert_ptr_equal(err.data, buf);
        assert_in_range(err.len, 1, 128);
        return;
    }

    fuzz_data(f, &data, &src);

    ngx_memset(&result, 0xa5, sizeof(ngx_http_klaviyo_data_t));
    ngx_http_klaviyo_path_select(&f->arena, path, &data, &result);

    fuzz_check_data(f, &result);

    if (ngx_http_klaviyo_path_plural(path)) {
        if (!ngx_http_klaviyo_data_is_missing(&result)) {
            assert_int_equal(result.type, NGX_HTTP_KLAVIYO_TREE);
            assert_true(json_is_array(result.json));
        }

    } else if (data.type == NGX_HTTP_KLAVIYO_TREE) {
        fuzz_selected(path, data.json, &result);
    }
}


/* of a path that is not plural both ways find the same */

static void
fuzz_selected(ngx_http_klaviyo_path_t *path, json_t *json,
    ngx_http_klaviyo_data_t *result)
{
    json_t  *found;

    found = ngx_http_klaviyo_path_find(path, json);

    if (result->type == NGX_HTTP_KLAVIYO_TREE) {
        assert_ptr_equal(found, result->json);

    } else if (result->type == NGX_HTTP_KLAVIYO_MISSING) {
        assert_true(found == NULL || json_is_null(found)
                    || json_is_real(found));
    }
}
