
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The lines of the spool, whole, cut and damaged in any byte, and the names of
 * its segments.
 */


#include "unit_shm.h"
#include "ngx_http_klaviyo_segment.h"

#include <jansson.h>


#define EVENT                                                                 \
    "{\"type\":\"event-bulk-create\",\"backfill\":false,\"n\":\"\\u00e9\"}"

#define LINE                                                                  \
    "{\"crc\":\"d9200e24\",\"len\":58,"                                       \
    "\"key\":\"000102030405060708090a0b0c0d0e0f\",\"id\":\"0000002a\","       \
    "\"time\":1784073600,\"backfill\":39,\"decided\":true,"                   \
    "\"event\":" EVENT "}"


static void
fill(ngx_http_klaviyo_line_t *line)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_KLAVIYO_KEY_LEN; i++) {
        line->key[i] = i;
    }

    line->id = 42;
    line->time = 1784073600;
    line->backfill = 39;
    line->aged = 1;
    line->event = *unit_str(EVENT);
}


/* in memory of its own, so that not a byte is read beyond it */

static ngx_int_t
parse(ngx_pool_t *pool, ngx_http_klaviyo_line_t *line, ngx_str_t *text)
{
    u_char  *p;

    p = ngx_pnalloc(pool, text->len + 1);
    assert_non_null(p);

    ngx_memcpy(p + 1, text->data, text->len);

    return ngx_http_klaviyo_line_parse(line, p + 1, text->len);
}


static void
a_line_is_json_that_tells_all(void **state)
{
    u_char                    buf[NGX_HTTP_KLAVIYO_LINE_HEAD + 200];
    json_t                   *json;
    ngx_str_t                 text;
    json_error_t              error;
    ngx_http_klaviyo_line_t   line;

    fill(&line);

    text.data = buf;
    text.len = ngx_http_klaviyo_line_write(buf, &line, NULL) - buf;

    assert_text(&text, LINE "\n");

    json = json_loadb((char *) buf, text.len, 0, &error);
    assert_non_null(json);
    assert_true(json_is_object(json_object_get(json, "event")));
    json_decref(json);
}


static void
what_is_written_is_read(void **state)
{
    ngx_pool_t *pool = *state;

    ngx_http_klaviyo_line_t  line, read;

    fill(&line);
    ngx_memset(&read, 0xff, sizeof(read));

    assert_int_equal(parse(pool, &read, unit_str(LINE)), NGX_OK);

    assert_memory_equal(read.key, line.key, NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_int_equal(read.id, 42);
    assert_int_equal(read.time, 1784073600);
    assert_int_equal(read.backfill, 39);
    assert_int_equal(read.aged, 1);
    assert_text(&read.event, EVENT);
}


static void
what_stands_before_the_event_is_passed_over(void **state)
{
    ngx_pool_t *pool = *state;

    u_char                    buf[NGX_HTTP_KLAVIYO_LINE_HEAD + 400];
    ngx_str_t                 text;
    ngx_http_klaviyo_line_t   line, read;

    fill(&line);
    line.aged = 0;

    text.data = buf;
    text.len = ngx_http_klaviyo_line_write(buf, &line,
                   unit_str("\"at\":\"x\",\"error\":{\"detail\":"
                            "\"\\\"event\\\":{}\"},"))
               - buf - 1;

    assert_int_equal(parse(pool, &read, &text), NGX_OK);
    assert_int_equal(read.aged, 0);
    assert_text(&read.event, EVENT);
}


static void
the_largest_numbers_fit_into_the_head(void **state)
{
    ngx_pool_t *pool = *state;

    u_char                   *p;
    ngx_str_t                *event;
    ngx_http_klaviyo_line_t   line;

    event = unit_fill(pool, 'x', 5000000);

    fill(&line);
    line.id = 0xffffffff;
    line.time = 0xffffffff;
    line.backfill = 0xffff;
    line.aged = 0;
    line.event = *event;

    p = ngx_pnalloc(pool, NGX_HTTP_KLAVIYO_LINE_HEAD + event->len);
    assert_non_null(p);

    assert_in_range(ngx_http_klaviyo_line_write(p, &line, NULL) - p,
                    event->len, event->len + NGX_HTTP_KLAVIYO_LINE_HEAD);
}


static void
a_line_that_is_cut_anywhere_is_damaged(void **state)
{
    ngx_pool_t *pool = *state;

    size_t                   len;
    ngx_int_t                rc;
    ngx_str_t                text;
    ngx_http_klaviyo_line_t  line;

    text = *unit_str(LINE);

    for (len = 0; len < sizeof(LINE) - 1; len++) {
        text.len = len;
        rc = parse(pool, &line, &text);

        assert_int_not_equal(rc, NGX_OK);

        /* as long as its head is there we know whose it was */

        if (rc == NGX_DECLINED) {
            assert_int_equal(line.key[15], 15);
            assert_in_range(len, sizeof(LINE) - sizeof(EVENT) - 12,
                            sizeof(LINE));
        }
    }
}


/* but for the members that no sum guards, and of these none makes a crash */

static void
a_byte_that_is_changed_does_not_pass_for_another_event(void **state)
{
    ngx_pool_t *pool = *state;

    u_char                   *p;
    ngx_int_t                 rc;
    ngx_str_t                 text;
    ngx_uint_t                i, bit;
    ngx_http_klaviyo_line_t   line;

    text.len = sizeof(LINE) - 1;
    text.data = ngx_pnalloc(pool, text.len);

    for (i = 0; i < text.len; i++) {
        for (bit = 0; bit < 8; bit++) {
            ngx_memcpy(text.data, LINE, text.len);
            text.data[i] ^= 1 << bit;

            rc = parse(pool, &line, &text);

            if (rc == NGX_OK) {
                assert_text(&line.event, EVENT);
                assert_true(line.backfill == 0
                            || line.backfill + 5U <= line.event.len);
            }
        }
    }

    /* in the event, the sum and the length: never */

    ngx_memcpy(text.data, LINE, text.len);

    for (p = text.data + text.len - sizeof(EVENT); p < text.data + text.len;
         p++)
    {
        *p ^= 0x20;
        assert_int_not_equal(parse(pool, &line, &text), NGX_OK);
        *p ^= 0x20;
    }

    assert_int_equal(parse(pool, &line, &text), NGX_OK);
}


static void
bytes_at_random_are_damaged(void **state)
{
    ngx_pool_t *pool = *state;

    u_char                    buf[400];
    ngx_str_t                 text;
    ngx_uint_t                i, n;
    ngx_http_klaviyo_line_t   line;

    srandom(20260715);
    text.data = buf;

    for (n = 0; n < 5000; n++) {
        text.len = random() % sizeof(buf);

        ngx_memcpy(buf, LINE, sizeof(LINE));

        for (i = random() % 300; i < sizeof(buf); i++) {
            buf[i] = random();
        }

        if (text.len > sizeof(LINE) - 1 || buf[sizeof(LINE) - 2] != '}') {
            assert_int_not_equal(parse(pool, &line, &text), NGX_OK);
        }
    }
}


static void
lengths_that_lie_are_damaged(void **state)
{
    ngx_pool_t *pool = *state;

    ngx_uint_t                i;
    ngx_http_klaviyo_line_t   line;

    static ngx_str_t  lines[] = {
        ngx_string("{\"crc\":\"00000000\",\"len\":0,"
                   "\"key\":\"00000000000000000000000000000000\","
                   "\"id\":\"00000000\",\"time\":0,\"backfill\":0,"
                   "\"decided\":true,\"event\":}"),
        ngx_string("{\"crc\":\"00000000\",\"len\":8388608,"
                   "\"key\":\"00000000000000000000000000000000\","
                   "\"id\":\"00000000\",\"time\":0,\"backfill\":0,"
                   "\"decided\":true,\"event\":{}}"),
        ngx_string("{\"crc\":\"00000000\",\"len\":18446744073709551615,"
                   "\"key\":\"00000000000000000000000000000000\","
                   "\"id\":\"00000000\",\"time\":0,\"backfill\":0,"
                   "\"decided\":true,\"event\":{}}"),
        ngx_string("{\"crc\":\"00000000\",\"len\":99999999999999999999999,"
                   "\"key\":\"00000000000000000000000000000000\","
                   "\"id\":\"00000000\",\"time\":0,\"backfill\":0,"
                   "\"decided\":true,\"event\":{}}"),
        ngx_string("{\"crc\":\"00000000\",\"len\":2,"
                   "\"key\":\"00000000000000000000000000000000\","
                   "\"id\":\"00000000\",\"time\":4294967296,\"backfill\":0,"
                   "\"decided\":true,\"event\":{}}")
    };

    for (i = 0; i < sizeof(lines) / sizeof(ngx_str_t); i++) {
        assert_int_not_equal(parse(pool, &line, &lines[i]), NGX_OK);
    }
}


static void
a_name_tells_account_instance_number_and_offset(void **state)
{
    u_char                           buf[NGX_HTTP_KLAVIYO_SEGMENT_NAME];
    size_t                           len;
    ngx_http_klaviyo_segment_name_t  name;

    len = ngx_http_klaviyo_segment_format(buf, unit_str("shop.eu"),
                                          0xfedcba9876543210ULL, 42);

    assert_string_equal(buf, "shop.eu.fedcba9876543210-00000042.spool");
    assert_int_equal(len, ngx_strlen(buf));

    assert_int_equal(ngx_http_klaviyo_segment_parse(&name, buf, len), NGX_OK);
    assert_text(&name.account, "shop.eu");
    assert_true(name.instance == 0xfedcba9876543210ULL);
    assert_int_equal(name.seq, 42);
    assert_int_equal(name.offset, 0);
    assert_int_equal(name.len, len - 6);

    assert_int_equal(ngx_http_klaviyo_segment_parse(&name,
            (u_char *) "shop.fedcba9876543210-00000042@1234.spool", 41),
                     NGX_OK);
    assert_text(&name.account, "shop");
    assert_int_equal(name.seq, 42);
    assert_int_equal(name.taken, 0);
    assert_int_equal(name.offset, 1234);
    assert_int_equal(name.len, 30);
}


static void
a_name_tells_that_it_was_taken(void **state)
{
    u_char                           buf[NGX_HTTP_KLAVIYO_SEGMENT_NAME];
    size_t                           len;
    ngx_http_klaviyo_segment_name_t  name;

    len = ngx_http_klaviyo_segment_format_taken(buf, unit_str("shop.eu"),
                                                0xfedcba9876543210ULL, 42, 7);

    assert_string_equal(buf, "shop.eu.fedcba9876543210-00000042+@7.spool");
    assert_int_equal(len, ngx_strlen(buf));

    assert_int_equal(ngx_http_klaviyo_segment_parse(&name, buf, len), NGX_OK);
    assert_text(&name.account, "shop.eu");
    assert_true(name.instance == 0xfedcba9876543210ULL);
    assert_int_equal(name.seq, 42);
    assert_int_equal(name.taken, 1);
    assert_int_equal(name.offset, 7);
    assert_int_equal(name.len, len - 8);
}


static void
an_operators_name_has_no_instance(void **state)
{
    ngx_uint_t                        i;
    ngx_http_klaviyo_segment_name_t   name;

    static ngx_str_t  names[] = {
        ngx_string("shop.again.spool"),
        ngx_string("shop.2026-07-15.spool"),
        ngx_string("shop.FEDCBA9876543210-1.spool"),
        ngx_string("shop.fedcba9876543210-99999999999999999999.spool"),
        ngx_string("shop.fedcba9876543210-.spool"),
        ngx_string("shop.fedcba9876543210-1++.spool"),
        ngx_string("shop.fedcba9876543210+.spool"),
        ngx_string("shop.x@99999999999999999999999999.spool"),
        ngx_string("shop.x@-1.spool"),
        ngx_string("shop.@.spool"),
        ngx_string("shop.x@1x.spool")
    };

    for (i = 0; i < sizeof(names) / sizeof(ngx_str_t); i++) {
        assert_int_equal(ngx_http_klaviyo_segment_parse(&name, names[i].data,
                                                        names[i].len),
                         NGX_OK);
        assert_text(&name.account, "shop");
        assert_int_equal(name.instance, 0);
        assert_int_equal(name.offset, 0);
    }
}


static void
other_files_are_no_segments(void **state)
{
    ngx_uint_t                        i;
    ngx_http_klaviyo_segment_name_t   name;

    static ngx_str_t  names[] = {
        ngx_string(""),
        ngx_string("."),
        ngx_string(".."),
        ngx_string(".spool"),
        ngx_string("..spool"),
        ngx_string("...spool"),
        ngx_string("shop.spool"),
        ngx_string("shop..spool"),
        ngx_string(".x.spool"),
        ngx_string("shop.dead"),
        ngx_string("shop.x.spool~")
    };

    for (i = 0; i < sizeof(names) / sizeof(ngx_str_t); i++) {
        assert_int_equal(ngx_http_klaviyo_segment_parse(&name, names[i].data,
                                                        names[i].len),
                         NGX_DECLINED);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(a_line_is_json_that_tells_all),
        unit_test(what_is_written_is_read),
        unit_test(what_stands_before_the_event_is_passed_over),
        unit_test(the_largest_numbers_fit_into_the_head),
        unit_test(a_line_that_is_cut_anywhere_is_damaged),
        unit_test(a_byte_that_is_changed_does_not_pass_for_another_event),
        unit_test(bytes_at_random_are_damaged),
        unit_test(lengths_that_lie_are_damaged),
        unit_test(a_name_tells_account_instance_number_and_offset),
        unit_test(a_name_tells_that_it_was_taken),
        unit_test(an_operators_name_has_no_instance),
        unit_test(other_files_are_no_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
