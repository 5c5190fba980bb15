
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Content-Encoding undone: the first byte says which, in upper case to encode
 * the rest by zlib first; the second one the length of the pieces.  In pieces
 * it gives what it gives at once, and no more than is asked for.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_inflate.h"

#include <zlib.h>


#define FUZZ_LIMIT  (256 * 1024)


typedef struct {
    u_char     *start;
    size_t      len;
    ngx_int_t   rc;
    ngx_uint_t  ended;
} fuzz_out_t;


static ngx_http_klaviyo_encoding_e fuzz_encoding(ngx_uint_t what);
static ngx_str_t fuzz_deflate(fuzz_t *f, ngx_str_t *text, ngx_uint_t what);
static void fuzz_feed(fuzz_t *f, ngx_http_klaviyo_encoding_e encoding,
    ngx_str_t *text, size_t piece, fuzz_out_t *out);
static ngx_int_t fuzz_take(void *data, u_char *p, u_char *last);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    size_t                        piece;
    ngx_str_t                     text, plain;
    ngx_uint_t                    what;
    fuzz_out_t                    once, pieces;
    ngx_http_klaviyo_encoding_e   encoding;

    what = fuzz_byte(f);
    piece = 1 + fuzz_byte(f) % 61;
    text = fuzz_rest(f);
    plain = text;

    if (what == 'G' || what == 'D' || what == 'R') {
        text = fuzz_deflate(f, &plain, what);
    }

    encoding = fuzz_encoding(what);

    fuzz_feed(f, encoding, &text, text.len + 1, &once);
    fuzz_feed(f, encoding, &text, piece, &pieces);

    /* of a text that is cut brotli may keep something back */

    assert_memory_equal(pieces.start, once.start,
                        ngx_min(pieces.len, once.len));

    if (once.rc == NGX_OK) {
        assert_int_equal(pieces.rc, NGX_OK);
        assert_int_equal(pieces.ended, once.ended);

        if (once.ended) {
            assert_int_equal(pieces.len, once.len);
        }
    }

    if (what == 'G' || what == 'D' || what == 'R') {
        assert_int_equal(once.rc, NGX_OK);
        assert_true(once.ended);
        assert_int_equal(once.len, plain.len);
        assert_memory_equal(once.start, plain.data, plain.len);
    }
}


static ngx_http_klaviyo_encoding_e
fuzz_encoding(ngx_uint_t what)
{
    switch (what) {

    case 'g':
    case 'G':
        return NGX_HTTP_KLAVIYO_GZIP;

    case 'b':
        return NGX_HTTP_KLAVIYO_BROTLI_ENCODING;

    case 'i':
        return NGX_HTTP_KLAVIYO_IDENTITY;

    default:
        return NGX_HTTP_KLAVIYO_DEFLATE;
    }
}


static ngx_str_t
fuzz_deflate(fuzz_t *f, ngx_str_t *text, ngx_uint_t what)
{
    int        bits;
    z_stream   stream;
    ngx_str_t  out;

    bits = (what == 'G') ? MAX_WBITS + 16
                         : (what == 'R') ? -MAX_WBITS : MAX_WBITS;

    ngx_memzero(&stream, sizeof(z_stream));

    assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, bits, 8,
                                  Z_DEFAULT_STRATEGY),
                     Z_OK);

    out.len = deflateBound(&stream, text->len);
    out.data = ngx_pnalloc(f->pool, out.len);
    assert_non_null(out.data);

    stream.next_in = text->data;
    stream.avail_in = text->len;
    stream.next_out = out.data;
    stream.avail_out = out.len;

    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);

    out.len = stream.total_out;
    (void) deflateEnd(&stream);

    return fuzz_copy(f, &out);
}


static void
fuzz_feed(fuzz_t *f, ngx_http_klaviyo_encoding_e encoding, ngx_str_t *text,
    size_t piece, fuzz_out_t *out)
{
    size_t                       n, len;
    u_char                      *p;
    ngx_http_klaviyo_inflate_t  *decoder;

    out->start = ngx_pnalloc(f->pool, FUZZ_LIMIT);
    out->len = 0;
    out->rc = NGX_OK;
    out->ended = 0;

    p = ngx_pnalloc(f->pool, ngx_min(piece, text->len));
    assert_non_null(p);
    assert_non_null(out->start);

    decoder = ngx_http_klaviyo_inflate_create(f->pool, encoding);

    if (decoder == NULL) {
        out->rc = NGX_ERROR;
        return;
    }

    for (n = 0; n < text->len && out->rc == NGX_OK; n += len) {
        len = ngx_min(piece, text->len - n);
        ngx_memcpy(p, text->data + n, len);

        out->rc = ngx_http_klaviyo_inflate_feed(decoder, p, p + len, fuzz_take,
                                                out);
    }

    if (out->rc == NGX_OK) {
        out->ended = ngx_http_klaviyo_inflate_ended(decoder);
    }

    ngx_http_klaviyo_inflate_free(decoder);
}


static ngx_int_t
fuzz_take(void *data, u_char *p, u_char *last)
{
    fuzz_out_t *out = data;

    assert_true(p <= last);

    if ((size_t) (last - p) > FUZZ_LIMIT - out->len) {
        return NGX_DECLINED;
    }

    ngx_memcpy(out->start + out->len, p, last - p);
    out->len += last - p;

    return NGX_OK;
}
