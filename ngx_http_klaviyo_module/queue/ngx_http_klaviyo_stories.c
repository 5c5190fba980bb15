
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The stories of klaviyo_explain.  As with the tail's lines, one is written
 * between two changes of its sequence, and a sum tells of a writer so slow that
 * another one came around.
 */


#include "ngx_http_klaviyo_stories.h"
#include "ngx_http_klaviyo_zone.h"


typedef struct {
    ngx_atomic_t                         seq;      /* 0: empty */
    uint64_t                             id;
    uint32_t                             sum;      /* of the id and the text */
    uint32_t                             len;
    u_char                               text[NGX_HTTP_KLAVIYO_STORY_LEN];
} ngx_http_klaviyo_story_t;


struct ngx_http_klaviyo_stories_sh_s {
    ngx_http_klaviyo_layout_t            layout;
    ngx_atomic_t                         next;
    ngx_http_klaviyo_story_t             stories[NGX_HTTP_KLAVIYO_STORIES];
};


static size_t ngx_http_klaviyo_stories_read(ngx_http_klaviyo_story_t *story,
    uint64_t id, u_char *buf);
static uint32_t ngx_http_klaviyo_stories_sum(uint64_t id, u_char *text,
    size_t len);


ngx_int_t
ngx_http_klaviyo_stories_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_klaviyo_stories_t  *ostories = data;

    void                        *p;
    size_t                       size;
    ngx_int_t                    rc;
    ngx_http_klaviyo_layout_t    layout;
    ngx_http_klaviyo_stories_t  *stories;

    stories = shm_zone->data;

    p = ostories ? ostories->sh : NULL;

    ngx_memzero(&layout, sizeof(ngx_http_klaviyo_layout_t));

    ngx_memcpy(layout.magic, "klavexpl", sizeof(layout.magic));
    layout.version = 1;
    layout.sizes[0] = sizeof(ngx_http_klaviyo_stories_sh_t);

    rc = ngx_http_klaviyo_zone_attach(shm_zone, &layout, &p);

    if (rc == NGX_DECLINED) {
        p = ngx_http_klaviyo_zone_alloc(shm_zone,
                                        sizeof(ngx_http_klaviyo_stories_sh_t),
                                        &size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(p, size);
        ngx_memcpy(p, &layout, sizeof(ngx_http_klaviyo_layout_t));

        ((ngx_slab_pool_t *) shm_zone->shm.addr)->data = p;

        rc = NGX_OK;
    }

    stories->sh = p;

    return rc;
}


void
ngx_http_klaviyo_stories_add(ngx_http_klaviyo_stories_t *stories, uint64_t id,
    ngx_str_t *text)
{
    ngx_atomic_uint_t          n;
    ngx_http_klaviyo_story_t  *story;

    n = ngx_atomic_fetch_add(&stories->sh->next, 1);
    story = &stories->sh->stories[n % NGX_HTTP_KLAVIYO_STORIES];

    story->seq = 2 * n + 1;
    __sync_synchronize();

    story->id = id;
    story->len = ngx_min(text->len, NGX_HTTP_KLAVIYO_STORY_LEN);
    story->sum = ngx_http_klaviyo_stories_sum(id, text->data, story->len);
    ngx_memcpy(story->text, text->data, story->len);

    __sync_synchronize();
    story->seq = 2 * n + 2;
}


size_t
ngx_http_klaviyo_stories_find(ngx_http_klaviyo_stories_t *stories, uint64_t id,
    u_char *buf)
{
    size_t      len;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_KLAVIYO_STORIES; i++) {
        len = ngx_http_klaviyo_stories_read(&stories->sh->stories[i], id, buf);

        if (len) {
            return len;
        }
    }

    return 0;
}


static size_t
ngx_http_klaviyo_stories_read(ngx_http_klaviyo_story_t *story, uint64_t id,
    u_char *buf)
{
    size_t             len;
    uint32_t           sum;
    ngx_atomic_uint_t  seq;

    seq = story->seq;

    if (seq == 0 || (seq & 1) || story->id != id) {
        return 0;
    }

    __sync_synchronize();

    sum = story->sum;
    len = ngx_min(story->len, NGX_HTTP_KLAVIYO_STORY_LEN);
    ngx_memcpy(buf, story->text, len);

    __sync_synchronize();

    return (story->seq == seq
            && sum == ngx_http_klaviyo_stories_sum(id, buf, len))
           ? len : 0;
}


static uint32_t
ngx_http_klaviyo_stories_sum(uint64_t id, u_char *text, size_t len)
{
    uint32_t  crc;

    ngx_crc32_init(crc);
    ngx_crc32_update(&crc, (u_char *) &id, sizeof(uint64_t));
    ngx_crc32_update(&crc, text, len);
    ngx_crc32_final(crc);

    return crc;
}
