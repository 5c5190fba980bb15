
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Copies of bodies, and their encodings undone: in pieces of any size, broken
 * anywhere, and never more than the limit.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_copy.h"
#include <zlib.h>

#if (NGX_HTTP_KLAVIYO_BROTLI)
#include <brotli/encode.h>
#endif


#define UNIT_PLAIN  (1024 * 1024)


static ngx_pool_t *
unit_pool(void **state)
{
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    return arena->pool;
}


/* "bits" as of deflateInit2(): 31 gzip, 15 zlib, -15 raw */

static ngx_str_t *
unit_deflate(void **state, int bits, ngx_str_t *plain)
{
    z_stream    z;
    ngx_str_t  *encoded;

    encoded = unit_fill(unit_pool(state), 0, plain->len + 1024);

    ngx_memzero(&z, sizeof(z_stream));

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 9, 0), Z_OK);

    z.next_in = plain->data;
    z.avail_in = plain->len;
    z.next_out = encoded->data;
    z.avail_out = encoded->len;

    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);

    encoded->len -= z.avail_out;

    deflateEnd(&z);

    return encoded;
}


static void
unit_open(void **state, ngx_http_klaviyo_copy_t *copy, size_t limit,
    ngx_http_klaviyo_encoding_e encoding)
{
    ngx_memzero(copy, sizeof(ngx_http_klaviyo_copy_t));

    copy->encoding = encoding;

    ngx_http_klaviyo_copy_open(copy, unit_pool(state), limit, -1);
}


static void
unit_add(ngx_http_klaviyo_copy_t *copy, ngx_str_t *text, size_t piece)
{
    size_t  n, at;

    for (at = 0; at < text->len && copy->open; at += n) {
        n = ngx_min(piece, text->len - at);
        ngx_http_klaviyo_copy_add(copy, text->data + at, text->data + at + n);
    }
}


static void
unit_decodes(void **state, ngx_http_klaviyo_encoding_e encoding,
    ngx_str_t *encoded, ngx_str_t *plain)
{
    ngx_http_klaviyo_copy_t  copy;

    unit_open(state, &copy, UNIT_PLAIN, encoding);
    unit_add(&copy, encoded, 1000);

    assert_int_equal(ngx_http_klaviyo_copy_decode(&copy), NGX_OK);
    assert_true(copy.open);
    assert_int_equal(copy.text.len, plain->len);
    assert_memory_equal(copy.text.data, plain->data, plain->len);

    /* once */

    assert_int_equal(ngx_http_klaviyo_copy_decode(&copy), NGX_OK);
    assert_int_equal(copy.text.len, plain->len);
}


static void
unit_refuses(void **state, ngx_http_klaviyo_encoding_e encoding,
    ngx_str_t *encoded, ngx_uint_t over)
{
    ngx_http_klaviyo_copy_t  copy;

    unit_open(state, &copy, UNIT_PLAIN, encoding);
    unit_add(&copy, encoded, encoded->len);

    assert_int_equal(ngx_http_klaviyo_copy_decode(&copy), NGX_DECLINED);
    assert_int_equal(copy.over, over);
    assert_true(copy.over || copy.lost);
    assert_null(copy.text.data);
}


static void
test_a_copy_holds_what_fits(void **state)
{
    size_t                    piece;
    ngx_str_t                *text;
    ngx_http_klaviyo_copy_t   copy;

    text = unit_fill(unit_pool(state), 'x', 10000);

    for (piece = 1; piece <= 16384; piece *= 4) {
        unit_open(state, &copy, 10000, NGX_HTTP_KLAVIYO_IDENTITY);
        unit_add(&copy, text, piece);

        assert_true(copy.open);
        assert_int_equal(copy.text.len, 10000);
        assert_true(copy.size <= 10000);
        assert_memory_equal(copy.text.data, text->data, 10000);

        unit_open(state, &copy, 9999, NGX_HTTP_KLAVIYO_IDENTITY);
        unit_add(&copy, text, piece);

        assert_true(copy.over);
        assert_false(copy.open);
        assert_null(copy.text.data);
    }
}


static void
test_a_length_is_believed_when_it_is_there(void **state)
{
    ngx_http_klaviyo_copy_t  copy;

    /* too much, and nothing at all */

    ngx_memzero(&copy, sizeof(ngx_http_klaviyo_copy_t));
    ngx_http_klaviyo_copy_open(&copy, unit_pool(state), 100, 101);
    assert_true(copy.over);
    assert_false(copy.open);

    ngx_memzero(&copy, sizeof(ngx_http_klaviyo_copy_t));
    ngx_http_klaviyo_copy_open(&copy, unit_pool(state), 0, -1);
    assert_true(copy.over);

    /* one that is said to be long takes nothing before it comes */

    ngx_memzero(&copy, sizeof(ngx_http_klaviyo_copy_t));
    ngx_http_klaviyo_copy_open(&copy, unit_pool(state), 1 << 30, 1 << 29);
    assert_true(copy.open);
    assert_int_equal(copy.size, 0);

    ngx_memzero(&copy, sizeof(ngx_http_klaviyo_copy_t));
    ngx_http_klaviyo_copy_open(&copy, unit_pool(state), 100, 10);
    assert_int_equal(copy.size, 10);
    ngx_http_klaviyo_copy_add(&copy, (u_char *) "", (u_char *) "");
    assert_int_equal(copy.text.len, 0);
    assert_int_equal(ngx_http_klaviyo_copy_decode(&copy), NGX_OK);
}


static void
test_encodings_have_names(void **state)
{
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("")),
                     NGX_HTTP_KLAVIYO_IDENTITY);
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("Identity")),
                     NGX_HTTP_KLAVIYO_IDENTITY);
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("gzip")),
                     NGX_HTTP_KLAVIYO_GZIP);
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("X-GZIP")),
                     NGX_HTTP_KLAVIYO_GZIP);
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("deflate")),
                     NGX_HTTP_KLAVIYO_DEFLATE);
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("gzip, br")),
                     NGX_HTTP_KLAVIYO_ENCODED);
    assert_int_equal(ngx_http_klaviyo_encoding(unit_str("zstd")),
                     NGX_HTTP_KLAVIYO_ENCODED);
}


static void
test_zlib_is_undone(void **state)
{
    size_t      len;
    ngx_str_t  *plain, *encoded;

    for (len = 0; len <= UNIT_PLAIN; len = len * 7 + 1) {

        plain = unit_fill(unit_pool(state), 'x', len);

        if (len > 3) {
            plain->data[len / 2] = 'y';
        }

        encoded = unit_deflate(state, 31, plain);
        unit_decodes(state, NGX_HTTP_KLAVIYO_GZIP, encoded, plain);

        encoded = unit_deflate(state, 15, plain);
        unit_decodes(state, NGX_HTTP_KLAVIYO_DEFLATE, encoded, plain);

        encoded = unit_deflate(state, -15, plain);
        unit_decodes(state, NGX_HTTP_KLAVIYO_DEFLATE, encoded, plain);
    }
}


static void
test_gzip_may_have_members(void **state)
{
    ngx_str_t  *plain, *one, *both, *twice;

    plain = unit_fill(unit_pool(state), 'a', 100);
    twice = unit_fill(unit_pool(state), 'a', 200);
    one = unit_deflate(state, 31, plain);
    both = unit_fill(unit_pool(state), 0, one->len * 2);

    ngx_memcpy(both->data, one->data, one->len);
    ngx_memcpy(both->data + one->len, one->data, one->len);

    unit_decodes(state, NGX_HTTP_KLAVIYO_GZIP, both, twice);

    /* a second one that is cut, or none at all */

    both->len -= 9;
    unit_refuses(state, NGX_HTTP_KLAVIYO_GZIP, both, 0);

    both->len += 9;
    both->data[one->len] = 'x';
    unit_refuses(state, NGX_HTTP_KLAVIYO_GZIP, both, 0);
}


static void
test_bombs_end_at_the_limit(void **state)
{
    ngx_str_t                *plain, *encoded;
    ngx_http_klaviyo_copy_t   copy;

    plain = unit_fill(unit_pool(state), 'x', UNIT_PLAIN + 1);

    encoded = unit_deflate(state, 31, plain);
    assert_true(encoded->len < 2000);
    unit_refuses(state, NGX_HTTP_KLAVIYO_GZIP, encoded, 1);

    encoded = unit_deflate(state, -15, plain);
    unit_refuses(state, NGX_HTTP_KLAVIYO_DEFLATE, encoded, 1);

    /* what is encoded counts as well */

    unit_open(state, &copy, 10, NGX_HTTP_KLAVIYO_GZIP);
    unit_add(&copy, encoded, 1);
    assert_true(copy.over);
}


static void
test_broken_texts_give_nothing(void **state)
{
    size_t      n, len;
    u_char      was;
    ngx_str_t  *plain, *encoded;

    plain = unit_fill(unit_pool(state), 'x', 300);

    for (n = 0; n < plain->len; n++) {
        plain->data[n] = (u_char) (n * n);
    }

    encoded = unit_deflate(state, 31, plain);
    len = encoded->len;

    /* cut anywhere */

    for (encoded->len = 1; encoded->len < len; encoded->len++) {
        unit_refuses(state, NGX_HTTP_KLAVIYO_GZIP, encoded, 0);
    }

    /* each byte another one: the checksum sees it, where nothing else does */

    for (n = 0; n < len; n++) {

        if (n >= 4 && n < 10) {
            continue;
        }

        was = encoded->data[n];
        encoded->data[n] ^= 0x55;
        unit_refuses(state, NGX_HTTP_KLAVIYO_GZIP, encoded, 0);
        encoded->data[n] = was;
    }

    unit_refuses(state, NGX_HTTP_KLAVIYO_GZIP, plain, 0);
    unit_refuses(state, NGX_HTTP_KLAVIYO_DEFLATE, plain, 0);
    unit_refuses(state, NGX_HTTP_KLAVIYO_ENCODED, plain, 0);
}


#if (NGX_HTTP_KLAVIYO_BROTLI)

static ngx_str_t *
unit_brotli(void **state, int window, ngx_str_t *plain)
{
    ngx_str_t  *encoded;

    encoded = unit_fill(unit_pool(state), 0, plain->len + 1024);

    assert_true(BrotliEncoderCompress(5, window, BROTLI_MODE_TEXT, plain->len,
                                      plain->data, &encoded->len,
                                      encoded->data));
    return encoded;
}


static void
test_brotli_is_undone_within_the_limit(void **state)
{
    size_t      len;
    ngx_str_t  *plain, *encoded;

    for (len = 0; len <= UNIT_PLAIN; len = len * 7 + 1) {
        plain = unit_fill(unit_pool(state), 'x', len);

        encoded = unit_brotli(state, 24, plain);
        unit_decodes(state, NGX_HTTP_KLAVIYO_BROTLI_ENCODING, encoded, plain);

        if (encoded->len > 1) {
            encoded->len--;
            unit_refuses(state, NGX_HTTP_KLAVIYO_BROTLI_ENCODING, encoded, 0);
        }
    }

    plain = unit_fill(unit_pool(state), 'x', UNIT_PLAIN + 1);
    encoded = unit_brotli(state, 24, plain);
    unit_refuses(state, NGX_HTTP_KLAVIYO_BROTLI_ENCODING, encoded, 1);

    plain = unit_fill(unit_pool(state), 'x', 100);
    encoded = unit_brotli(state, 18, plain);
    encoded->data[encoded->len++] = 'x';
    unit_refuses(state, NGX_HTTP_KLAVIYO_BROTLI_ENCODING, encoded, 0);
    unit_refuses(state, NGX_HTTP_KLAVIYO_BROTLI_ENCODING, plain, 0);
}

#endif


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#if (NGX_HTTP_KLAVIYO_BROTLI)
        unit_arena_test(test_brotli_is_undone_within_the_limit),
#endif
        unit_arena_test(test_a_copy_holds_what_fits),
        unit_arena_test(test_a_length_is_believed_when_it_is_there),
        unit_arena_test(test_encodings_have_names),
        unit_arena_test(test_zlib_is_undone),
        unit_arena_test(test_gzip_may_have_members),
        unit_arena_test(test_bombs_end_at_the_limit),
        unit_arena_test(test_broken_texts_give_nothing)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
