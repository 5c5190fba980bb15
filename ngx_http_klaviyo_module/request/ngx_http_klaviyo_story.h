
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A JSON tree that grows up to a bound, in which what may tell who somebody is
 * is masked: "***(14)" stands for a text of 14 bytes.
 */


#ifndef _NGX_HTTP_KLAVIYO_STORY_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_STORY_H_INCLUDED_


#include "ngx_http_klaviyo_json.h"


typedef struct {
    ngx_http_klaviyo_arena_t            *arena;
    size_t                               left;     /* bytes of its text */
    size_t                               floor;    /* what is kept for later */
    unsigned                             full:1;   /* nothing is masked */
    unsigned                             cut:1;    /* something had no room */
} ngx_http_klaviyo_writer_t;


/*
 * New members of "object", or elements with "name" NULL.  The latter two return
 * what is to be filled, borrowed, or NULL without room; NULL for "object" is
 * allowed and does nothing.  Texts are cut at 1000 bytes.
 */
void ngx_http_klaviyo_story_text(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_str_t *text);
void ngx_http_klaviyo_story_word(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, const char *word);
void ngx_http_klaviyo_story_number(ngx_http_klaviyo_writer_t *w,
    json_t *object, const char *name, ngx_int_t n);
void ngx_http_klaviyo_story_flag(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_uint_t flag);
json_t *ngx_http_klaviyo_story_object(ngx_http_klaviyo_writer_t *w,
    json_t *object, const char *name);
json_t *ngx_http_klaviyo_story_array(ngx_http_klaviyo_writer_t *w,
    json_t *object, const char *name);

/* The same for a value; with "personal" all of it is masked. */
void ngx_http_klaviyo_story_data(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_http_klaviyo_data_t *data, ngx_uint_t personal);
void ngx_http_klaviyo_story_json(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, json_t *json, ngx_uint_t personal);


#endif /* _NGX_HTTP_KLAVIYO_STORY_H_INCLUDED_ */
