
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A body that passes by, and is decoded: numbers in the first line, the length
 * it is said to have, the limit, and the length of the pieces; in the second
 * one its Content-Encoding.  In pieces it gives what it gives at once, and
 * never more than the limit, however little it was that came in.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_copy.h"


#define FUZZ_LIMIT  (256 * 1024)


static uint64_t fuzz_number(u_char **pos, u_char *last);
static void fuzz_feed(fuzz_t *f, ngx_http_klaviyo_copy_t *copy, size_t limit,
    off_t length, ngx_str_t *text, size_t piece);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    off_t                          length;
    size_t                         limit, piece;
    u_char                        *p;
    ngx_str_t                      line, text;
    ngx_http_klaviyo_copy_t        once, pieces;
    ngx_http_klaviyo_encoding_e    encoding;

    line = fuzz_line(f);
    p = line.data;

    length = (off_t) (fuzz_number(&p, line.data + line.len) % (4 * FUZZ_LIMIT))
             - 1;
    limit = fuzz_number(&p, line.data + line.len) % FUZZ_LIMIT;
    piece = 1 + fuzz_number(&p, line.data + line.len) % FUZZ_LONG;

    line = fuzz_line(f);
    encoding = ngx_http_klaviyo_encoding(&line);

    text = fuzz_rest(f);

    ngx_memzero(&once, sizeof(ngx_http_klaviyo_copy_t));
    ngx_memzero(&pieces, sizeof(ngx_http_klaviyo_copy_t));

    once.encoding = encoding;
    pieces.encoding = encoding;

    fuzz_feed(f, &once, limit, -1, &text, text.len);
    fuzz_feed(f, &pieces, limit, length, &text, piece);

    /* one that says it is longer is over at once */

    if (length > (off_t) limit) {
        assert_true(pieces.over);
        return;
    }

    assert_int_equal(pieces.over, once.over);
    assert_int_equal(pieces.lost, once.lost);
    fuzz_assert_same(&pieces.text, &once.text);

    if (encoding == NGX_HTTP_KLAVIYO_IDENTITY && !once.over) {
        fuzz_assert_same(&once.text, &text);
    }
}


static uint64_t
fuzz_number(u_char **pos, u_char *last)
{
    u_char    *p;
    uint64_t   n;

    n = 0;

    for (p = *pos; p < last && *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');
    }

    *pos = (p < last) ? p + 1 : p;

    return n;
}


static void
fuzz_feed(fuzz_t *f, ngx_http_klaviyo_copy_t *copy, size_t limit, off_t length,
    ngx_str_t *text, size_t piece)
{
    size_t     n, len;
    ngx_int_t  rc;

    ngx_http_klaviyo_copy_open(copy, f->pool, limit, length);

    for (n = 0; n < text->len && copy->open; n += len) {
        len = ngx_min(piece, text->len - n);
        ngx_http_klaviyo_copy_add(copy, text->data + n, text->data + n + len);
    }

    if (copy->open) {
        rc = ngx_http_klaviyo_copy_decode(copy);
        assert_int_equal(rc == NGX_OK, copy->open && !copy->over
                                       && !copy->lost);

        /* a second time nothing changes */

        if (rc == NGX_OK) {
            assert_int_equal(ngx_http_klaviyo_copy_decode(copy), NGX_OK);
        }
    }

    assert_in_range(copy->text.len, 0, limit);
    assert_in_range(copy->text.len, 0, copy->size);
    assert_in_range(copy->size, 0, limit);
}
