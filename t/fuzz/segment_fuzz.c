
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Lines of the spool (l) and names of its files (n), as anybody may have left
 * them; a line that is made of any event is read as the same (w).
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_segment.h"


static void fuzz_read(fuzz_t *f, ngx_str_t *text);
static void fuzz_write(fuzz_t *f, ngx_str_t *text);
static void fuzz_name(fuzz_t *f, ngx_str_t *text);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t   text;
    ngx_uint_t  what;

    what = fuzz_byte(f);
    text = fuzz_rest(f);

    switch (what) {

    case 'l':
        fuzz_read(f, &text);
        break;

    case 'w':
        fuzz_write(f, &text);
        break;

    default:
        fuzz_name(f, &text);
    }
}


static void
fuzz_read(fuzz_t *f, ngx_str_t *text)
{
    ngx_http_klaviyo_line_t  line;

    ngx_memset(&line, 0xa5, sizeof(ngx_http_klaviyo_line_t));

    if (ngx_http_klaviyo_line_parse(&line, text->data, text->len) != NGX_OK) {
        return;
    }

    assert_true(line.event.data > text->data);
    assert_true(line.event.data + line.event.len < text->data + text->len);
    assert_true(line.backfill == 0
                || line.backfill + sizeof("false") - 1 <= line.event.len);
}


static void
fuzz_write(fuzz_t *f, ngx_str_t *text)
{
    size_t                    len;
    u_char                   *p;
    ngx_str_t                 event;
    ngx_uint_t                i;
    ngx_http_klaviyo_line_t   line, read;

    event.len = text->len + 2;
    event.data = ngx_pnalloc(f->pool, event.len);
    assert_non_null(event.data);

    event.data[0] = '{';
    ngx_memcpy(event.data + 1, text->data, text->len);
    event.data[event.len - 1] = '}';

    ngx_memzero(&line, sizeof(ngx_http_klaviyo_line_t));

    for (i = 0; i < NGX_HTTP_KLAVIYO_KEY_LEN; i++) {
        line.key[i] = text->len * (i + 1);
    }

    line.id = ngx_crc32_long(text->data, text->len);
    line.time = line.id >> 3;
    line.aged = line.id & 1;
    line.event = event;

    p = ngx_pnalloc(f->pool, NGX_HTTP_KLAVIYO_LINE_HEAD + event.len);
    assert_non_null(p);

    len = ngx_http_klaviyo_line_write(p, &line, NULL) - p;

    assert_in_range(len, 1, NGX_HTTP_KLAVIYO_LINE_HEAD + event.len);
    assert_int_equal(p[len - 1], LF);

    ngx_memset(&read, 0xa5, sizeof(ngx_http_klaviyo_line_t));

    assert_int_equal(ngx_http_klaviyo_line_parse(&read, p, len - 1), NGX_OK);

    assert_memory_equal(read.key, line.key, NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_int_equal(read.id, line.id);
    assert_int_equal(read.time, line.time);
    assert_int_equal(read.aged, line.aged);
    fuzz_assert_same(&read.event, &event);
}


static void
fuzz_name(fuzz_t *f, ngx_str_t *text)
{
    u_char                           buf[NGX_HTTP_KLAVIYO_SEGMENT_NAME];
    ngx_str_t                        again;
    ngx_http_klaviyo_segment_name_t  name, same;

    if (ngx_http_klaviyo_segment_parse(&name, text->data, text->len)
        != NGX_OK)
    {
        return;
    }

    assert_ptr_equal(name.account.data, text->data);
    assert_in_range(name.account.len, 1, text->len);
    assert_in_range(name.len, name.account.len, text->len);
    assert_true(name.offset >= 0);

    if (name.instance == 0 || name.account.len > 64) {
        return;
    }

    /* one of ours: it is written as such a name again */

    again.data = buf;
    again.len = ngx_http_klaviyo_segment_format(buf, &name.account,
                                                name.instance, name.seq);

    if (name.taken) {
        again.len = ngx_http_klaviyo_segment_format_taken(buf, &name.account,
                                                          name.instance,
                                                          name.seq,
                                                          name.offset);
    }

    again = fuzz_copy(f, &again);

    assert_int_equal(ngx_http_klaviyo_segment_parse(&same, again.data,
                                                    again.len),
                     NGX_OK);
    fuzz_assert_same(&same.account, &name.account);
    assert_true(same.instance == name.instance);
    assert_true(same.seq == name.seq);
    assert_true(same.taken == name.taken);
    assert_true(same.offset == (name.taken ? name.offset : 0));
}
