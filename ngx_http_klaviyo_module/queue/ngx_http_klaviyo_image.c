
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The memory of a ring that a dead instance has left.
 *
 * A process that is killed leaves what its stores have made of the memory, so
 * the rules of ring.c for the next owner hold: what is before the tail was
 * published; what is before the cursor is in a slot, or finished; a slot that
 * says "spooled" is in the segment.  That a file was damaged since is another
 * matter: then the walk goes on where the next slot, or the rest, begins.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_image.h"


#define NGX_HTTP_KLAVIYO_RECORD_FLAGS                                         \
    (NGX_HTTP_KLAVIYO_RECORD_GONE|NGX_HTTP_KLAVIYO_RECORD_AGED)

/* no offset comes so far: sums of two don't overflow */
#define NGX_HTTP_KLAVIYO_IMAGE_FAR       ((uint64_t) 1 << 62)


static ngx_http_klaviyo_ring_sh_t *ngx_http_klaviyo_image_find(u_char *p,
    size_t size);
static ngx_int_t ngx_http_klaviyo_image_mark(
    ngx_http_klaviyo_ring_place_t *place, uint64_t *offset);
static ngx_int_t ngx_http_klaviyo_image_slots(
    ngx_http_klaviyo_image_t *image);
static ngx_uint_t ngx_http_klaviyo_image_left(
    ngx_http_klaviyo_image_t *image, uint64_t offset);
static uint64_t ngx_http_klaviyo_image_boundary(
    ngx_http_klaviyo_image_t *image, uint64_t offset);
static ngx_int_t ngx_http_klaviyo_image_record(
    ngx_http_klaviyo_image_t *image, ngx_http_klaviyo_image_event_t *event);
static ngx_int_t ngx_http_klaviyo_image_skip(ngx_http_klaviyo_image_t *image,
    ngx_http_klaviyo_image_event_t *event);
static ngx_uint_t ngx_http_klaviyo_image_text(ngx_str_t *json);


ngx_int_t
ngx_http_klaviyo_image_open(ngx_http_klaviyo_image_t *image, u_char *p,
    size_t size)
{
    uint64_t                     head;
    ngx_http_klaviyo_layout_t    layout, none;
    ngx_http_klaviyo_ring_sh_t  *sh;

    ngx_memzero(image, sizeof(ngx_http_klaviyo_image_t));
    ngx_memzero(&none, sizeof(ngx_http_klaviyo_layout_t));

    sh = ngx_http_klaviyo_image_find(p, size);

    if (sh == NULL) {
        return (size >= sizeof(ngx_slab_pool_t)
                && ((ngx_slab_pool_t *) p)->data == NULL
                && ((ngx_slab_pool_t *) p)->addr == NULL)
               ? NGX_DONE : NGX_ERROR;
    }

    ngx_http_klaviyo_ring_layout(&layout);

    if (ngx_memcmp(&sh->layout, &layout, sizeof(ngx_http_klaviyo_layout_t))
        != 0)
    {
        return (ngx_memcmp(sh->layout.magic, layout.magic,
                           sizeof(layout.magic))
                == 0)
               ? NGX_DECLINED : NGX_ERROR;
    }

    image->sh = sh;
    image->data = ngx_http_klaviyo_ring_data(sh);
    image->size = sh->size;

    head = sh->head;

    if (image->size == 0 || image->size % 8
        || image->size > (uint64_t) (p + size - image->data)
        || ngx_http_klaviyo_image_mark(&sh->cursor, &image->cursor) != NGX_OK
        || ngx_http_klaviyo_image_mark(&sh->tail, &image->tail) != NGX_OK
        || head % 8 || head > image->cursor || image->cursor > image->tail
        || image->tail - head > image->size)
    {
        return NGX_ERROR;
    }

    image->offset = head;
    image->segment = sh->segment;
    image->segment_size = sh->segment_size;

    return ngx_http_klaviyo_image_slots(image);
}


/* where nginx's slab header says; an address there is of a dead process */

static ngx_http_klaviyo_ring_sh_t *
ngx_http_klaviyo_image_find(u_char *p, size_t size)
{
    uint64_t          addr, data;
    ngx_slab_pool_t  *shpool;

    if (size < sizeof(ngx_slab_pool_t) + NGX_HTTP_KLAVIYO_RING_HEAD) {
        return NULL;
    }

    shpool = (ngx_slab_pool_t *) p;

    addr = (uintptr_t) shpool->addr;
    data = (uintptr_t) shpool->data;

    if (data <= addr || (data - addr) % 8
        || data - addr < sizeof(ngx_slab_pool_t)
        || data - addr > size - NGX_HTTP_KLAVIYO_RING_HEAD)
    {
        return NULL;
    }

    return (ngx_http_klaviyo_ring_sh_t *) (p + (data - addr));
}


static ngx_int_t
ngx_http_klaviyo_image_mark(ngx_http_klaviyo_ring_place_t *place,
    uint64_t *offset)
{
    ngx_atomic_uint_t  current;

    current = place->current;

    if (current > 1) {
        return NGX_ERROR;
    }

    *offset = place->marks[current].offset;

    return (*offset % 8 || *offset > NGX_HTTP_KLAVIYO_IMAGE_FAR) ? NGX_ERROR
                                                                 : NGX_OK;
}


/*
 * A NEW slot may or may not have come into its own; what it has is in no place
 * but there, or in one more, and is found once by its offset either way.
 */

static ngx_int_t
ngx_http_klaviyo_image_slots(ngx_http_klaviyo_image_t *image)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &image->slots[i];
        *slot = image->sh->slots[i];

        if (slot->state == NGX_HTTP_KLAVIYO_SLOT_FREE) {
            continue;
        }

        if (slot->state > NGX_HTTP_KLAVIYO_SLOT_USED
            || slot->start % 8 || slot->end % 8
            || slot->start > slot->end || slot->end > image->tail)
        {
            return NGX_ERROR;
        }

        if (slot->state == NGX_HTTP_KLAVIYO_SLOT_USED
            && slot->spooled > image->segment_size)
        {
            image->segment_size = slot->spooled;
        }
    }

    return NGX_OK;
}


/* whether what is there is neither finished nor in the segment */

static ngx_uint_t
ngx_http_klaviyo_image_left(ngx_http_klaviyo_image_t *image, uint64_t offset)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot;

    if (offset >= image->cursor) {
        return 1;
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &image->slots[i];

        if (slot->state != NGX_HTTP_KLAVIYO_SLOT_FREE && slot->spooled == 0
            && offset >= slot->start && offset < slot->end)
        {
            return 1;
        }
    }

    return 0;
}


/* the first place beyond "offset" where a record must begin */

static uint64_t
ngx_http_klaviyo_image_boundary(ngx_http_klaviyo_image_t *image,
    uint64_t offset)
{
    uint64_t                       next;
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_slot_t  *slot;

    next = (image->cursor > offset) ? image->cursor : image->tail;

    for (i = 0; i < NGX_HTTP_KLAVIYO_RING_SLOTS; i++) {
        slot = &image->slots[i];

        if (slot->state == NGX_HTTP_KLAVIYO_SLOT_FREE) {
            continue;
        }

        if (slot->start > offset && slot->start < next) {
            next = slot->start;
        }

        if (slot->end > offset && slot->end < next) {
            next = slot->end;
        }
    }

    return next;
}


ngx_int_t
ngx_http_klaviyo_image_next(ngx_http_klaviyo_image_t *image,
    ngx_http_klaviyo_image_event_t *event)
{
    uint64_t   place, left;
    ngx_int_t  rc;

    while (image->offset < image->tail) {

        if (!ngx_http_klaviyo_image_left(image, image->offset)) {

            /* what is finished may have been written over in part */

            image->offset = ngx_http_klaviyo_image_boundary(image,
                                                            image->offset);
            continue;
        }

        place = image->offset % image->size;
        left = image->size - place;

        if (left < sizeof(ngx_http_klaviyo_record_t)) {
            image->offset += left;
            continue;
        }

        event->record = (ngx_http_klaviyo_record_t *) (image->data + place);
        event->meta = *event->record;

        if (event->meta.flags == NGX_HTTP_KLAVIYO_RECORD_PAD
            && left <= image->tail - image->offset)
        {
            image->offset += left;
            continue;
        }

        rc = ngx_http_klaviyo_image_record(image, event);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DONE;
}


/* NGX_DECLINED: it was taken */

static ngx_int_t
ngx_http_klaviyo_image_record(ngx_http_klaviyo_image_t *image,
    ngx_http_klaviyo_image_event_t *event)
{
    uint64_t                       need, left;
    ngx_http_klaviyo_record_t     *meta;
    ngx_http_klaviyo_ring_rule_t  *rule;

    meta = &event->meta;
    need = ngx_http_klaviyo_ring_need(meta->len);
    left = image->size - image->offset % image->size;

    if ((meta->flags & ~NGX_HTTP_KLAVIYO_RECORD_FLAGS)
        || need > left
        || need > ngx_http_klaviyo_image_boundary(image, image->offset)
                  - image->offset)
    {
        return ngx_http_klaviyo_image_skip(image, event);
    }

    image->offset += need;

    if (meta->flags & NGX_HTTP_KLAVIYO_RECORD_GONE) {
        return NGX_DECLINED;
    }

    event->json.data = ngx_http_klaviyo_record_text(event->record);
    event->json.len = meta->len;

    if (meta->backfill
        && (uint32_t) meta->backfill + sizeof("false") - 1 > meta->len)
    {
        meta->backfill = 0;
    }

    rule = ngx_http_klaviyo_ring_nth_rule(image->sh, meta->rule);

    event->key = (meta->rule != NGX_HTTP_KLAVIYO_OTHER
                  && rule->slot == meta->rule)
                 ? rule->key : NULL;

    return ngx_http_klaviyo_image_text(&event->json) ? NGX_OK : NGX_ABORT;
}


/* to where the next record must begin, but not beyond the end of the memory */

static ngx_int_t
ngx_http_klaviyo_image_skip(ngx_http_klaviyo_image_t *image,
    ngx_http_klaviyo_image_event_t *event)
{
    uint64_t  next, place;

    next = ngx_http_klaviyo_image_boundary(image, image->offset);
    place = image->offset % image->size;

    event->key = NULL;
    event->json.data = image->data + place;
    event->json.len = ngx_min(next - image->offset, image->size - place);

    image->offset = next;

    return NGX_ERROR;
}


/* As an event is written: one line, and an object */

static ngx_uint_t
ngx_http_klaviyo_image_text(ngx_str_t *json)
{
    size_t  i;

    if (json->len < 2 || json->data[0] != '{'
        || json->data[json->len - 1] != '}')
    {
        return 0;
    }

    for (i = 0; i < json->len; i++) {
        if (json->data[i] < ' ') {
            return 0;
        }
    }

    return 1;
}


void
ngx_http_klaviyo_image_take(ngx_http_klaviyo_image_event_t *event)
{
    event->record->flags |= NGX_HTTP_KLAVIYO_RECORD_GONE;
}
