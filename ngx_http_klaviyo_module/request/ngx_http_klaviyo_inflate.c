
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Content-Encoding undone, piece by piece: gzip and deflate by zlib, brotli
 * where its library was there at build time.
 */


#include "ngx_http_klaviyo_inflate.h"
#include <zlib.h>

#if (NGX_HTTP_KLAVIYO_BROTLI)
#include <brotli/decode.h>
#endif


/* what is decoded at once, on the stack */
#define NGX_HTTP_KLAVIYO_INFLATE_BUF     8192

/* a text may ask for a window of 16 MB */
#define NGX_HTTP_KLAVIYO_BROTLI_MEMORY   (4 * 1024 * 1024)


struct ngx_http_klaviyo_inflate_s {
    ngx_pool_t                          *pool;
    ngx_http_klaviyo_encoding_e          encoding;
    z_stream                             zlib;

#if (NGX_HTTP_KLAVIYO_BROTLI)
    BrotliDecoderState                  *brotli;
    size_t                               memory;
#endif

    unsigned                             started:1;
    unsigned                             ended:1;
};


static ngx_int_t ngx_http_klaviyo_zlib_start(
    ngx_http_klaviyo_inflate_t *decoder, u_char first);
static ngx_int_t ngx_http_klaviyo_zlib_feed(
    ngx_http_klaviyo_inflate_t *decoder, u_char *p, u_char *last,
    ngx_http_klaviyo_inflate_pt handler, void *data);
static void *ngx_http_klaviyo_zlib_alloc(void *opaque, u_int items,
    u_int size);
static void ngx_http_klaviyo_zlib_free(void *opaque, void *address);

#if (NGX_HTTP_KLAVIYO_BROTLI)
static ngx_int_t ngx_http_klaviyo_brotli_feed(
    ngx_http_klaviyo_inflate_t *decoder, u_char *p, u_char *last,
    ngx_http_klaviyo_inflate_pt handler, void *data);
static void *ngx_http_klaviyo_brotli_alloc(void *opaque, size_t size);
static void ngx_http_klaviyo_brotli_free(void *opaque, void *address);
#endif


typedef struct {
    ngx_str_t                            name;
    ngx_http_klaviyo_encoding_e          encoding;
} ngx_http_klaviyo_encoding_t;


static ngx_http_klaviyo_encoding_t  ngx_http_klaviyo_encodings[] = {
    { ngx_string("identity"), NGX_HTTP_KLAVIYO_IDENTITY },
    { ngx_string("gzip"), NGX_HTTP_KLAVIYO_GZIP },
    { ngx_string("x-gzip"), NGX_HTTP_KLAVIYO_GZIP },
    { ngx_string("deflate"), NGX_HTTP_KLAVIYO_DEFLATE },
#if (NGX_HTTP_KLAVIYO_BROTLI)
    { ngx_string("br"), NGX_HTTP_KLAVIYO_BROTLI_ENCODING },
#endif
    { ngx_null_string, NGX_HTTP_KLAVIYO_ENCODED }
};


ngx_http_klaviyo_encoding_e
ngx_http_klaviyo_encoding(ngx_str_t *value)
{
    ngx_http_klaviyo_encoding_t  *e;

    if (value->len == 0) {
        return NGX_HTTP_KLAVIYO_IDENTITY;
    }

    for (e = ngx_http_klaviyo_encodings; e->name.len; e++) {

        if (e->name.len == value->len
            && ngx_strncasecmp(e->name.data, value->data, value->len) == 0)
        {
            break;
        }
    }

    return e->encoding;
}


ngx_http_klaviyo_inflate_t *
ngx_http_klaviyo_inflate_create(ngx_pool_t *pool,
    ngx_http_klaviyo_encoding_e encoding)
{
    ngx_http_klaviyo_inflate_t  *decoder;

    decoder = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_inflate_t));
    if (decoder == NULL) {
        return NULL;
    }

    decoder->pool = pool;
    decoder->encoding = encoding;

    switch (encoding) {

    case NGX_HTTP_KLAVIYO_GZIP:
    case NGX_HTTP_KLAVIYO_DEFLATE:
        return decoder;

#if (NGX_HTTP_KLAVIYO_BROTLI)
    case NGX_HTTP_KLAVIYO_BROTLI_ENCODING:
        decoder->brotli = BrotliDecoderCreateInstance(
                                            ngx_http_klaviyo_brotli_alloc,
                                            ngx_http_klaviyo_brotli_free,
                                            decoder);

        return decoder->brotli ? decoder : NULL;
#endif

    default:
        return NULL;
    }
}


ngx_int_t
ngx_http_klaviyo_inflate_feed(ngx_http_klaviyo_inflate_t *decoder, u_char *p,
    u_char *last, ngx_http_klaviyo_inflate_pt handler, void *data)
{
    if (p == last) {
        return NGX_OK;
    }

#if (NGX_HTTP_KLAVIYO_BROTLI)
    if (decoder->brotli) {
        return ngx_http_klaviyo_brotli_feed(decoder, p, last, handler, data);
    }
#endif

    if (!decoder->started
        && ngx_http_klaviyo_zlib_start(decoder, *p) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_zlib_feed(decoder, p, last, handler, data);
}


ngx_uint_t
ngx_http_klaviyo_inflate_ended(ngx_http_klaviyo_inflate_t *decoder)
{
    return decoder->ended;
}


void
ngx_http_klaviyo_inflate_free(ngx_http_klaviyo_inflate_t *decoder)
{
#if (NGX_HTTP_KLAVIYO_BROTLI)
    if (decoder->brotli) {
        BrotliDecoderDestroyInstance(decoder->brotli);
        decoder->brotli = NULL;
    }
#endif

    if (decoder->started) {
        (void) inflateEnd(&decoder->zlib);
        decoder->started = 0;
    }
}


/*
 * "deflate" should have zlib's header, and often has none.  Its low four bits
 * are 8; a raw text would begin so only if its padding was not zero.
 */

static ngx_int_t
ngx_http_klaviyo_zlib_start(ngx_http_klaviyo_inflate_t *decoder, u_char first)
{
    int  bits;

    bits = MAX_WBITS + 16;

    if (decoder->encoding == NGX_HTTP_KLAVIYO_DEFLATE) {
        bits = ((first & 0x0f) == 8) ? MAX_WBITS : -MAX_WBITS;
    }

    decoder->zlib.zalloc = ngx_http_klaviyo_zlib_alloc;
    decoder->zlib.zfree = ngx_http_klaviyo_zlib_free;
    decoder->zlib.opaque = decoder->pool;

    if (inflateInit2(&decoder->zlib, bits) != Z_OK) {
        return NGX_ERROR;
    }

    decoder->started = 1;

    return NGX_OK;
}


/* A text of gzip may be several, one after the other. */

static ngx_int_t
ngx_http_klaviyo_zlib_feed(ngx_http_klaviyo_inflate_t *decoder, u_char *p,
    u_char *last, ngx_http_klaviyo_inflate_pt handler, void *data)
{
    int        rc;
    u_char     buf[NGX_HTTP_KLAVIYO_INFLATE_BUF];
    size_t     n;
    z_stream  *zlib;

    zlib = &decoder->zlib;
    zlib->next_in = p;
    zlib->avail_in = last - p;

    do {

        if (decoder->ended) {

            if (decoder->encoding != NGX_HTTP_KLAVIYO_GZIP
                || inflateReset(zlib) != Z_OK)
            {
                return NGX_ERROR;
            }

            decoder->ended = 0;
        }

        zlib->next_out = buf;
        zlib->avail_out = sizeof(buf);

        rc = inflate(zlib, Z_NO_FLUSH);

        n = sizeof(buf) - zlib->avail_out;

        if (n && handler(data, buf, buf + n) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (rc == Z_STREAM_END) {
            decoder->ended = 1;
            continue;
        }

        if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return NGX_ERROR;
        }

    } while (zlib->avail_in || (zlib->avail_out == 0 && !decoder->ended));

    return NGX_OK;
}


static void *
ngx_http_klaviyo_zlib_alloc(void *opaque, u_int items, u_int size)
{
    return ngx_palloc(opaque, items * size);
}


static void
ngx_http_klaviyo_zlib_free(void *opaque, void *address)
{
    (void) ngx_pfree(opaque, address);
}


#if (NGX_HTTP_KLAVIYO_BROTLI)

static ngx_int_t
ngx_http_klaviyo_brotli_feed(ngx_http_klaviyo_inflate_t *decoder, u_char *p,
    u_char *last, ngx_http_klaviyo_inflate_pt handler, void *data)
{
    u_char               *out, buf[NGX_HTTP_KLAVIYO_INFLATE_BUF];
    size_t                left, room;
    const u_char         *in;
    BrotliDecoderResult   rc;

    if (decoder->ended) {
        return NGX_ERROR;
    }

    in = p;
    left = last - p;

    for ( ;; ) {
        out = buf;
        room = sizeof(buf);

        rc = BrotliDecoderDecompressStream(decoder->brotli, &left, &in, &room,
                                           &out, NULL);

        if (out != buf && handler(data, buf, out) != NGX_OK) {
            return NGX_DECLINED;
        }

        switch (rc) {

        case BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT:
            continue;

        case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT:
            return NGX_OK;

        case BROTLI_DECODER_RESULT_SUCCESS:
            decoder->ended = 1;
            return left ? NGX_ERROR : NGX_OK;

        default: /* BROTLI_DECODER_RESULT_ERROR */
            return NGX_ERROR;
        }
    }
}


static void *
ngx_http_klaviyo_brotli_alloc(void *opaque, size_t size)
{
    ngx_http_klaviyo_inflate_t *decoder = opaque;

    if (size > NGX_HTTP_KLAVIYO_BROTLI_MEMORY - decoder->memory) {
        return NULL;
    }

    decoder->memory += size;

    return ngx_palloc(decoder->pool, size);
}


static void
ngx_http_klaviyo_brotli_free(void *opaque, void *address)
{
    ngx_http_klaviyo_inflate_t *decoder = opaque;

    if (address) {
        (void) ngx_pfree(decoder->pool, address);
    }
}

#endif
