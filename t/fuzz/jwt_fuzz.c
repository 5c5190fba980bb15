
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A JWT's payload.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decode.h"


void
fuzz_init(ngx_pool_t *pool)
{
}


/*
 * A text without a dot stands for the payload: so the search isn't stopped by
 * base64.
 */

void
fuzz_one(fuzz_t *f)
{
    u_char                   *p;
    json_t                   *json;
    ngx_str_t                 text, part;
    ngx_http_klaviyo_data_t   data;

    text = fuzz_rest(f);

    if (memchr(text.data, '.', text.len) == NULL) {
        part.data = ngx_pnalloc(f->pool, ngx_base64_encoded_length(text.len));
        assert_non_null(part.data);

        ngx_encode_base64url(&part, &text);

        p = ngx_pnalloc(f->pool, part.len + sizeof("Bearer e30..") - 1);
        assert_non_null(p);

        text.data = p;
        text.len = ngx_sprintf(p, "Bearer e30.%V.", &part) - p;
    }

    json = ngx_http_klaviyo_decode_jwt(&f->arena, &text);

    ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
    fuzz_check_data(f, &data);
}
