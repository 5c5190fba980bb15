
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Forms: of bodies and queries.  The first byte says what repeated names give.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decode.h"


static size_t fuzz_depth(json_t *json);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *json;
    ngx_str_t                 src;
    ngx_uint_t                repeat;
    ngx_http_klaviyo_data_t   data;

    repeat = (fuzz_byte(f) == 'r');
    src = fuzz_rest(f);

    json = ngx_http_klaviyo_decode_form(&f->arena, &src, repeat);

    if (json == NULL) {
        return;
    }

    assert_true(json_is_object(json));

    /* and one for what a repeated name gives */
    assert_in_range(fuzz_depth(json), 1, NGX_HTTP_KLAVIYO_MAX_DEPTH + 1);

    ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
    fuzz_check_data(f, &data);
}


static size_t
fuzz_depth(json_t *json)
{
    size_t       i, depth, deepest;
    json_t      *value;
    const char  *name;

    deepest = 0;

    if (json_is_array(json)) {
        json_array_foreach(json, i, value) {
            depth = fuzz_depth(value);
            deepest = ngx_max(deepest, depth);
        }

    } else if (json_is_object(json)) {
        json_object_foreach(json, name, value) {
            depth = fuzz_depth(value);
            deepest = ngx_max(deepest, depth);
        }

    } else {
        return 0;
    }

    return deepest + 1;
}
