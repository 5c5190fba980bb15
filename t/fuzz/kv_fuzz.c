
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Pairs with any separators, in two lines; without them those of cookies.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decode.h"


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *json, *value;
    ngx_str_t                 pairsep, kvsep, src;
    const char               *name;
    ngx_http_klaviyo_data_t   data;

    pairsep = fuzz_line(f);
    kvsep = fuzz_line(f);
    src = fuzz_rest(f);

    if (pairsep.len == 0) {
        ngx_str_set(&pairsep, ";");
    }

    if (kvsep.len == 0) {
        ngx_str_set(&kvsep, "=");
    }

    json = ngx_http_klaviyo_decode_kv(&f->arena, &src, &pairsep, &kvsep);

    if (json == NULL) {
        return;
    }

    assert_true(json_is_object(json));

    json_object_foreach(json, name, value) {
        assert_true(json_is_string(value));
        assert_in_range(json_string_length(value), 0, 3 * src.len);
    }

    ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
    fuzz_check_data(f, &data);
}
