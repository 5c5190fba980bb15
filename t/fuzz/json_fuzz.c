
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * JSON texts: what is read and written is read again as the same, and written
 * as the same bytes.
 */


#include "fuzz.h"


static ngx_str_t fuzz_write(fuzz_t *f, ngx_http_klaviyo_data_t *data,
    ngx_uint_t depth);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *json;
    ngx_str_t                 text, once, twice;
    ngx_http_klaviyo_data_t   data, again;

    text = fuzz_rest(f);

    json = ngx_http_klaviyo_json_parse(&f->arena, &text);

    ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
    fuzz_check_data(f, &data);

    once = fuzz_write(f, &data, 0);

    if (once.len == 0) {
        return;
    }

    json = ngx_http_klaviyo_json_parse(&f->arena, &once);

    if (json == NULL) {
        /* more escapes than what was read: the arena may be exhausted */
        assert_int_not_equal(f->arena.limits, 0);
        return;
    }

    ngx_http_klaviyo_data_from_json(&f->arena, &again, json);

    twice = fuzz_write(f, &again, 0);
    fuzz_assert_same(&twice, &once);

    /* as in an event, where others are open already */
    (void) fuzz_write(f, &data, 7);
}


static ngx_str_t
fuzz_write(fuzz_t *f, ngx_http_klaviyo_data_t *data, ngx_uint_t depth)
{
    ngx_str_t   text;
    ngx_uint_t  limits;

    limits = 0;

    text.len = ngx_http_klaviyo_json_write(NULL, data, depth, &limits);
    text.data = ngx_pnalloc(f->pool, text.len);
    assert_non_null(text.data);

    assert_int_equal(ngx_http_klaviyo_json_write(text.data, data, depth, NULL),
                     text.len);

    if (text.len) {
        json_decref(fuzz_load(text.data, text.len));
    }

    return text;
}
