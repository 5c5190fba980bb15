
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of a ring that a killed instance has left, with damage.  A ring
 * of FUZZ_EVENTS events is changed line by line: a letter for what, a place,
 * and a number to put there.  "h": words of nginx's header; "r": of the ring's;
 * "t": of the last record's end of it, where the tail is; "e": of the records,
 * "b": bytes of these; "c": only so many bytes are left.  Behind "=" stands
 * what takes the place of the records.
 *
 * Whatever it is, it is read to an end, nothing is read beyond it, what is an
 * event looks like one, and nothing that was taken is found again.
 */


#include "fuzz.h"
#include "unit_queue.h"
#include "ngx_http_klaviyo_image.h"


#define FUZZ_EVENTS  300
#define FUZZ_LINES   64

/* of a line's number, NUL included */
#define FUZZ_NUMBER  24


typedef struct {
    u_char                     *memory;
    size_t                      size;
    u_char                     *records;
    ngx_uint_t                  events;
    ngx_uint_t                  other;    /* texts and holes */
    size_t                      bytes;    /* of events */
} fuzz_image_t;


static void fuzz_change(fuzz_t *f, fuzz_image_t *image, ngx_str_t *line);
static uint64_t fuzz_number(u_char **pos, u_char *last);
static void fuzz_put(fuzz_image_t *image, u_char *p, size_t place,
    uint64_t value, size_t len);
static ngx_int_t fuzz_read(fuzz_image_t *image, ngx_uint_t take);
static void fuzz_event(fuzz_image_t *image,
    ngx_http_klaviyo_image_event_t *event);
static void fuzz_inside(fuzz_image_t *image, u_char *p, size_t len);


static ngx_http_klaviyo_ring_t  *fuzz_ring;


/* some wait, some are on their way, some behind these are done */

void
fuzz_init(ngx_pool_t *pool)
{
    u_char      key[NGX_HTTP_KLAVIYO_KEY_LEN];
    ngx_int_t   slot;
    ngx_uint_t  i;

    fuzz_ring = unit_ring(pool);

    ngx_memset(key, 7, NGX_HTTP_KLAVIYO_KEY_LEN);
    assert_int_equal(ngx_http_klaviyo_control_slot(fuzz_ring->control, key),
                     UNIT_RULE);

    ngx_http_klaviyo_ring_rule(fuzz_ring, UNIT_RULE);
    assert_int_equal(ngx_http_klaviyo_ring_own(fuzz_ring), NGX_OK);

    for (i = 0; i < FUZZ_EVENTS; i++) {
        unit_put(fuzz_ring, i);
    }

    (void) ngx_http_klaviyo_ring_claim(fuzz_ring, 50, 1 << 30, NULL);
    slot = ngx_http_klaviyo_ring_claim(fuzz_ring, 50, 1 << 30, NULL);
    (void) ngx_http_klaviyo_ring_claim(fuzz_ring, 50, 1 << 30, NULL);
    ngx_http_klaviyo_ring_finish(fuzz_ring, slot);
}


void
fuzz_one(fuzz_t *f)
{
    size_t         len;
    ngx_int_t      rc;
    ngx_str_t      line, rest;
    ngx_uint_t     i, other;
    fuzz_image_t   image;

    image.size = fuzz_ring->zone->shm.size;
    image.memory = ngx_palloc(f->pool, image.size);
    assert_non_null(image.memory);

    ngx_memcpy(image.memory, fuzz_ring->zone->shm.addr, image.size);
    image.records = image.memory + (ngx_http_klaviyo_ring_data(fuzz_ring->sh)
                                    - fuzz_ring->zone->shm.addr);

    for (i = 0; i < FUZZ_LINES && f->pos < f->last && *f->pos != '='; i++) {
        line = fuzz_line(f);
        fuzz_change(f, &image, &line);
    }

    if (f->pos < f->last && *f->pos == '=') {
        f->pos++;
        rest = fuzz_rest(f);

        if (image.records < image.memory + image.size) {
            len = image.memory + image.size - image.records;
            ngx_memcpy(image.records, rest.data, ngx_min(len, rest.len));
        }
    }

    rc = fuzz_read(&image, 0);
    other = image.other;
    i = image.events;

    assert_int_equal(fuzz_read(&image, 1), rc);
    assert_int_equal(image.events, i);
    assert_int_equal(image.other, other);

    assert_int_equal(fuzz_read(&image, 0), rc);
    assert_int_equal(image.events, 0);
}


static void
fuzz_change(fuzz_t *f, fuzz_image_t *image, ngx_str_t *line)
{
    size_t    place;
    u_char   *p, *last, *memory;
    uint64_t  value;

    if (line->len == 0) {
        return;
    }

    p = line->data + 1;
    last = line->data + line->len;

    place = (size_t) fuzz_number(&p, last);
    value = fuzz_number(&p, last);

    switch (line->data[0]) {

    case 'h':
        fuzz_put(image, image->memory, place * 8, value, 8);
        break;

    case 'r':
        fuzz_put(image, image->records - NGX_HTTP_KLAVIYO_RING_HEAD, place * 8,
                 value, 8);
        break;

    case 't':
        fuzz_put(image, image->records - 64, (place % 8) * 8, value, 8);
        break;

    case 'e':
        fuzz_put(image, image->records, place * 4, value, 4);
        break;

    case 'b':
        fuzz_put(image, image->records, place, value, 1);
        break;

    case 'c':

        if (place >= image->size) {
            break;
        }

        /* in memory of its own, so that ASan sees the end */

        memory = ngx_palloc(f->pool, place);
        assert_non_null(memory);

        ngx_memcpy(memory, image->memory, place);

        image->records = memory + (image->records - image->memory);
        image->memory = memory;
        image->size = place;
        break;
    }
}


static uint64_t
fuzz_number(u_char **pos, u_char *last)
{
    char    buf[FUZZ_NUMBER], *end;
    size_t  len;

    len = ngx_min((size_t) (last - *pos), FUZZ_NUMBER - 1);
    ngx_memcpy(buf, *pos, len);
    buf[len] = '\0';

    len = strtoull(buf, &end, 0);
    *pos += end - buf;

    return len;
}


static void
fuzz_put(fuzz_image_t *image, u_char *p, size_t place, uint64_t value,
    size_t len)
{
    size_t  from;

    from = p - image->memory;

    if (place < image->size && from + place + len <= image->size) {
        ngx_memcpy(p + place, &value, len);
    }
}


static ngx_int_t
fuzz_read(fuzz_image_t *image, ngx_uint_t take)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_klaviyo_image_t        reader;
    ngx_http_klaviyo_image_event_t  event;

    image->events = 0;
    image->other = 0;
    image->bytes = 0;

    rc = ngx_http_klaviyo_image_open(&reader, image->memory, image->size);

    if (rc != NGX_OK) {
        assert_true(rc == NGX_DONE || rc == NGX_DECLINED || rc == NGX_ERROR);
        return rc;
    }

    for (i = 0; /* void */ ; i++) {
        assert_in_range(i, 0, UNIT_RING_SIZE / 8);

        rc = ngx_http_klaviyo_image_next(&reader, &event);

        if (rc == NGX_DONE) {
            break;
        }

        fuzz_inside(image, event.json.data, event.json.len);

        if (rc != NGX_OK) {
            assert_true(rc == NGX_ERROR || rc == NGX_ABORT);
            image->other++;
            continue;
        }

        fuzz_event(image, &event);

        if (take) {
            ngx_http_klaviyo_image_take(&event);
        }
    }

    /* no byte is of two events */
    assert_in_range(image->bytes, 0, image->size);

    return NGX_OK;
}


static void
fuzz_event(fuzz_image_t *image, ngx_http_klaviyo_image_event_t *event)
{
    image->events++;
    image->bytes += ngx_http_klaviyo_ring_need(event->json.len);

    assert_int_equal(event->json.len, event->meta.len);
    assert_int_equal(event->json.data[0], '{');
    assert_int_equal(event->json.data[event->json.len - 1], '}');
    assert_null(memchr(event->json.data, LF, event->json.len));

    assert_true(event->meta.backfill == 0
                || (size_t) event->meta.backfill + sizeof("false") - 1
                   <= event->json.len);

    fuzz_inside(image, (u_char *) event->record,
                sizeof(ngx_http_klaviyo_record_t));

    if (event->key) {
        fuzz_inside(image, event->key, NGX_HTTP_KLAVIYO_KEY_LEN);
    }
}


static void
fuzz_inside(fuzz_image_t *image, u_char *p, size_t len)
{
    assert_true(p >= image->memory);
    assert_in_range(p - image->memory, 0, image->size);
    assert_in_range(len, 0, image->size - (p - image->memory));
}
