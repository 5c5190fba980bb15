
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Members of plain JSON: what is found without a parser, jansson finds, too.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_plain.h"


static ngx_str_t  names[] = {
    ngx_string("a"),
    ngx_string("$email"),
    ngx_string("")
};


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t      *json, *member;
    ngx_str_t    text, values[3];
    ngx_uint_t   i;

    text = fuzz_rest(f);

    if (ngx_http_klaviyo_plain_members(&text, names, values, 3) != NGX_OK) {
        return;
    }

    json = ngx_http_klaviyo_json_parse(&f->arena, &text);

    assert_true(json_is_object(json));

    for (i = 0; i < 3; i++) {
        member = json_object_get(json, (char *) names[i].data);

        assert_int_equal(json_string_length(member), values[i].len);

        if (values[i].len) {
            assert_memory_equal(json_string_value(member), values[i].data,
                                values[i].len);
        }
    }
}
