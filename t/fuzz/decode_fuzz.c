
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The decoders of texts: percent escapes, base64 and entities.  The first byte
 * says which.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decode.h"


static void fuzz_url(fuzz_t *f, ngx_str_t *src, ngx_uint_t flags);
static void fuzz_base64(fuzz_t *f, ngx_str_t *src);
static void fuzz_base64_back(fuzz_t *f, ngx_str_t *src);
static void fuzz_entities(fuzz_t *f, ngx_str_t *src);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t   src;
    ngx_uint_t  what;

    what = fuzz_byte(f);
    src = fuzz_rest(f);

    switch (what) {

    case 'u':
        fuzz_url(f, &src, 0);
        break;

    case 'f':
        fuzz_url(f, &src, NGX_HTTP_KLAVIYO_DECODE_FORM);
        break;

    case 'b':
        fuzz_base64(f, &src);
        break;

    case 'B':
        fuzz_base64_back(f, &src);
        break;

    case 'e':
        fuzz_entities(f, &src);
        break;
    }
}


/* a text without escapes stays as it is, and no text grows */

static void
fuzz_url(fuzz_t *f, ngx_str_t *src, ngx_uint_t flags)
{
    u_char     *p;
    ngx_str_t   dst;

    if (ngx_http_klaviyo_decode_url(&f->arena, src, &dst, flags) != NGX_OK) {
        return;
    }

    assert_in_range(dst.len, 0, src->len);

    for (p = src->data; p < src->data + src->len; p++) {
        if (*p == '%' || *p == '+') {
            return;
        }
    }

    fuzz_assert_same(&dst, src);
}


static void
fuzz_base64(fuzz_t *f, ngx_str_t *src)
{
    ngx_str_t  dst;

    if (ngx_http_klaviyo_decode_base64(&f->arena, src, &dst) != NGX_OK) {
        return;
    }

    assert_in_range(dst.len, 0, ngx_base64_decoded_length(src->len));
}


/* what nginx encodes comes back, with either alphabet and without padding */

static void
fuzz_base64_back(fuzz_t *f, ngx_str_t *src)
{
    ngx_str_t  text, dst;

    text.data = ngx_pnalloc(f->pool, ngx_base64_encoded_length(src->len));
    assert_non_null(text.data);

    ngx_encode_base64(&text, src);
    text = fuzz_copy(f, &text);

    if (src->len) {
        assert_int_equal(ngx_http_klaviyo_decode_base64(&f->arena, &text,
                                                        &dst),
                         NGX_OK);
        fuzz_assert_same(&dst, src);

        ngx_encode_base64url(&text, src);
        text = fuzz_copy(f, &text);

        assert_int_equal(ngx_http_klaviyo_decode_base64(&f->arena, &text,
                                                        &dst),
                         NGX_OK);
        fuzz_assert_same(&dst, src);
    }
}


/* a reference is never shorter than its character */

static void
fuzz_entities(fuzz_t *f, ngx_str_t *src)
{
    ngx_str_t  dst;

    if (ngx_http_klaviyo_decode_entities(&f->arena, src, &dst) != NGX_OK) {
        return;
    }

    assert_in_range(dst.len, 0, src->len);

    if (memchr(src->data, '&', src->len) == NULL) {
        fuzz_assert_same(&dst, src);
    }
}
