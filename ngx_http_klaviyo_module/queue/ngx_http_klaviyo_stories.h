
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The stories of klaviyo_explain: the last ones, as texts in a zone of their
 * own, until somebody asks for them.  What a story says is not known here.
 */


#ifndef _NGX_HTTP_KLAVIYO_STORIES_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_STORIES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_KLAVIYO_STORIES_NAME    "klaviyo_explain"

/* how many are kept, and the longest one */
#define NGX_HTTP_KLAVIYO_STORIES         16
#define NGX_HTTP_KLAVIYO_STORY_LEN       (64 * 1024)

#define NGX_HTTP_KLAVIYO_STORIES_SIZE                                         \
    (NGX_HTTP_KLAVIYO_STORIES * (NGX_HTTP_KLAVIYO_STORY_LEN + 1024)           \
     + 16 * ngx_pagesize)


typedef struct ngx_http_klaviyo_stories_sh_s  ngx_http_klaviyo_stories_sh_t;

/* one per cycle, in the cycle's pool */
typedef struct {
    ngx_http_klaviyo_stories_sh_t       *sh;
} ngx_http_klaviyo_stories_t;


/*
 * The zone's init: attaches or creates, nothing else.  shm_zone->data is a
 * ngx_http_klaviyo_stories_t.  A zone of another layout is an [emerg].
 */
ngx_int_t ngx_http_klaviyo_stories_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);

/*
 * Keeps a story of at most NGX_HTTP_KLAVIYO_STORY_LEN bytes under "id", over
 * the oldest one.  In a worker, which may be killed meanwhile: that story is
 * then not to be found.
 */
void ngx_http_klaviyo_stories_add(ngx_http_klaviyo_stories_t *stories,
    uint64_t id, ngx_str_t *story);

/*
 * Copies the story to "buf" of NGX_HTTP_KLAVIYO_STORY_LEN bytes and returns its
 * length; 0: there is none with this id, or somebody is writing it.
 */
size_t ngx_http_klaviyo_stories_find(ngx_http_klaviyo_stories_t *stories,
    uint64_t id, u_char *buf);


#endif /* _NGX_HTTP_KLAVIYO_STORIES_H_INCLUDED_ */
