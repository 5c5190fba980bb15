
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Klaviyo's words on their way to a log: a byte for the room, then the text,
 * read as a sentence and as a pointer.  Whatever it is, what comes out is
 * printable, ends in its room, and has no number that could be a telephone's.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_words.h"


#define FUZZ_ROOM  256


static void fuzz_printable(u_char *buf, size_t size);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    size_t      size;
    u_char     *buf;
    ngx_str_t   text;

    size = 1 + fuzz_byte(f) % FUZZ_ROOM;
    text = fuzz_rest(f);

    buf = ngx_pnalloc(f->pool, size);
    assert_non_null(buf);

    ngx_memset(buf, 0xa5, size);
    ngx_http_klaviyo_words(buf, size, &text);
    fuzz_printable(buf, size);

    ngx_memset(buf, 0xa5, size);
    ngx_http_klaviyo_words_pointer(buf, size, &text);
    fuzz_printable(buf, size);
}


/* and of digits there are never more than an index has */

static void
fuzz_printable(u_char *buf, size_t size)
{
    size_t      i;
    ngx_uint_t  digits;

    assert_non_null(memchr(buf, '\0', size));

    for (i = 0, digits = 0; buf[i] != '\0'; i++) {
        assert_in_range(buf[i], ' ', '~');

        digits = (buf[i] >= '0' && buf[i] <= '9') ? digits + 1 : 0;
        assert_in_range(digits, 0, 5);
    }
}
