
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Any bytes as the inside of a JSON string, and as UTF-8.
 */


#include "fuzz.h"


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    size_t       size;
    u_char      *p;
    json_t      *json;
    ngx_str_t    src, utf8, again, text;
    ngx_uint_t   i, n;

    src = fuzz_rest(f);

    if (ngx_http_klaviyo_utf8(&f->arena, &src, &utf8) != NGX_OK) {
        return;
    }

    fuzz_check_utf8(&utf8);
    assert_in_range(utf8.len, src.len ? 1 : 0, 3 * src.len);

    assert_int_equal(ngx_http_klaviyo_utf8(&f->arena, &utf8, &again), NGX_OK);
    assert_ptr_equal(again.data, utf8.data);
    fuzz_assert_same(&again, &utf8);

    size = ngx_http_klaviyo_json_escape(NULL, src.data, src.len);

    p = ngx_pnalloc(f->pool, size + 2);
    assert_non_null(p);

    *p = '"';
    assert_int_equal(ngx_http_klaviyo_json_escape(p + 1, src.data, src.len),
                     size);
    p[size + 1] = '"';

    /* what JSON reads is the same as UTF-8, without its NULs */

    json = fuzz_load(p, size + 2);

    for (n = 0, i = 0; i < utf8.len; i++) {
        if (utf8.data[i] != '\0') {
            utf8.data[n++] = utf8.data[i];
        }
    }

    utf8.len = n;

    text.data = (u_char *) json_string_value(json);
    text.len = json_string_length(json);

    fuzz_assert_same(&text, &utf8);

    json_decref(json);
}
