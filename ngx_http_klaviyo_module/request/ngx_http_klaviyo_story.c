
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A bounded, masked JSON tree.
 */


#include "ngx_http_klaviyo_story.h"
#include "ngx_http_klaviyo_mask.h"


#define NGX_HTTP_KLAVIYO_STORY_TEXT      1000
#define NGX_HTTP_KLAVIYO_STORY_ELEMENTS  100
#define NGX_HTTP_KLAVIYO_STORY_DEPTH     12


static ngx_int_t ngx_http_klaviyo_story_charge(ngx_http_klaviyo_writer_t *w,
    const char *name, size_t size);
static json_t *ngx_http_klaviyo_story_add(ngx_http_klaviyo_writer_t *w,
    json_t *object, const char *name, size_t size, json_t *json);
static void ngx_http_klaviyo_story_masked(ngx_http_klaviyo_writer_t *w,
    json_t *object, const char *name, size_t len);
static void ngx_http_klaviyo_story_copy(ngx_http_klaviyo_writer_t *w,
    json_t *object, const char *name, json_t *json, ngx_uint_t personal,
    ngx_uint_t depth);
static void ngx_http_klaviyo_story_members(ngx_http_klaviyo_writer_t *w,
    json_t *copy, json_t *json, ngx_uint_t personal, ngx_uint_t depth);
static ngx_uint_t ngx_http_klaviyo_story_personal(ngx_str_t *key,
    ngx_uint_t personal);


static ngx_int_t
ngx_http_klaviyo_story_charge(ngx_http_klaviyo_writer_t *w, const char *name,
    size_t size)
{
    if (name) {
        size += ngx_http_klaviyo_json_escape(NULL, (u_char *) name,
                                             ngx_strlen(name))
                + sizeof("\"\":") - 1;
    }

    size++;

    if (w->left < w->floor || w->left - w->floor < size) {
        w->cut = 1;
        return NGX_DECLINED;
    }

    w->left -= size;

    return NGX_OK;
}


/* takes over the reference; returns it, borrowed, or NULL */

static json_t *
ngx_http_klaviyo_story_add(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, size_t size, json_t *json)
{
    int  rc;

    if (object == NULL || json == NULL
        || ngx_http_klaviyo_story_charge(w, name, size) != NGX_OK)
    {
        json_decref(json);
        return NULL;
    }

    rc = name ? json_object_set_new(object, name, json)
              : json_array_append_new(object, json);

    return (rc == 0) ? json : NULL;
}


void
ngx_http_klaviyo_story_text(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_str_t *text)
{
    size_t     size;
    json_t    *json;
    ngx_str_t  cut, valid;

    cut = *text;
    cut.len = ngx_min(cut.len, NGX_HTTP_KLAVIYO_STORY_TEXT);

    if (ngx_http_klaviyo_utf8(w->arena, &cut, &valid) != NGX_OK) {
        w->cut = 1;
        return;
    }

    w->cut |= (cut.len < text->len);

    json = json_stringn((char *) valid.data, valid.len);

    /* what jansson writes of a NUL, which the other leaves out */

    size = ngx_http_klaviyo_json_escape(NULL, valid.data, valid.len) + 2;
    size += valid.len && ngx_strlchr(valid.data, valid.data + valid.len, '\0')
            ? 6 * valid.len : 0;

    (void) ngx_http_klaviyo_story_add(w, object, name, size, json);
}


void
ngx_http_klaviyo_story_word(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, const char *word)
{
    (void) ngx_http_klaviyo_story_add(w, object, name, ngx_strlen(word) + 2,
                                      json_string(word));
}


void
ngx_http_klaviyo_story_number(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_int_t n)
{
    (void) ngx_http_klaviyo_story_add(w, object, name, NGX_INT64_LEN,
                                      json_integer(n));
}


void
ngx_http_klaviyo_story_flag(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_uint_t flag)
{
    (void) ngx_http_klaviyo_story_add(w, object, name, sizeof("false") - 1,
                                      json_boolean(flag));
}


json_t *
ngx_http_klaviyo_story_object(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name)
{
    return ngx_http_klaviyo_story_add(w, object, name, 2, json_object());
}


json_t *
ngx_http_klaviyo_story_array(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name)
{
    return ngx_http_klaviyo_story_add(w, object, name, 2, json_array());
}


static void
ngx_http_klaviyo_story_masked(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, size_t len)
{
    u_char     buf[sizeof("***()") + NGX_SIZE_T_LEN];
    ngx_str_t  text;

    text.data = buf;
    text.len = ngx_sprintf(buf, "***(%uz)", len) - buf;

    ngx_http_klaviyo_story_text(w, object, name, &text);
}


void
ngx_http_klaviyo_story_data(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, ngx_http_klaviyo_data_t *data, ngx_uint_t personal)
{
    json_t  *json;

    switch (data->type) {

    case NGX_HTTP_KLAVIYO_STRING:
        if (!w->full
            && (personal || ngx_http_klaviyo_mask_text(&data->text)))
        {
            ngx_http_klaviyo_story_masked(w, object, name, data->text.len);
            return;
        }

        ngx_http_klaviyo_story_text(w, object, name, &data->text);
        return;

    case NGX_HTTP_KLAVIYO_NUMBER:
        json = json_loadb((char *) data->text.data, data->text.len,
                          JSON_DECODE_ANY, NULL);

        ngx_http_klaviyo_story_json(w, object, name, json, personal);
        json_decref(json);
        return;

    case NGX_HTTP_KLAVIYO_FALSE:
    case NGX_HTTP_KLAVIYO_TRUE:
        ngx_http_klaviyo_story_flag(w, object, name,
                                    data->type == NGX_HTTP_KLAVIYO_TRUE);
        return;

    case NGX_HTTP_KLAVIYO_TREE:
        ngx_http_klaviyo_story_json(w, object, name, data->json, personal);
        return;

    default: /* MISSING, UNKNOWN */
        (void) ngx_http_klaviyo_story_add(w, object, name, 4, json_null());
        return;
    }
}


void
ngx_http_klaviyo_story_json(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, json_t *json, ngx_uint_t personal)
{
    ngx_http_klaviyo_story_copy(w, object, name, json, personal && !w->full,
                                0);
}


static void
ngx_http_klaviyo_story_copy(ngx_http_klaviyo_writer_t *w, json_t *object,
    const char *name, json_t *json, ngx_uint_t personal, ngx_uint_t depth)
{
    u_char     buf[NGX_HTTP_KLAVIYO_REAL_LEN];
    json_t    *copy;
    ngx_str_t  text;

    if (json_is_array(json) || json_is_object(json)) {

        if (depth == NGX_HTTP_KLAVIYO_STORY_DEPTH) {
            w->cut = 1;
            return;
        }

        copy = json_is_array(json)
               ? ngx_http_klaviyo_story_array(w, object, name)
               : ngx_http_klaviyo_story_object(w, object, name);

        if (copy) {
            ngx_http_klaviyo_story_members(w, copy, json, personal, depth + 1);
        }

        return;
    }

    if (json_is_string(json)) {
        text.data = (u_char *) json_string_value(json);
        text.len = json_string_length(json);

    } else if (json_is_number(json)) {
        text.data = buf;
        text.len = ngx_http_klaviyo_json_number(buf, json);

    } else {
        (void) ngx_http_klaviyo_story_add(w, object, name, 5,
                                          json_incref(json));
        return;
    }

    if (!w->full && (personal || ngx_http_klaviyo_mask_text(&text))) {
        ngx_http_klaviyo_story_masked(w, object, name, text.len);

    } else if (json_is_string(json)) {
        ngx_http_klaviyo_story_text(w, object, name, &text);

    } else {
        (void) ngx_http_klaviyo_story_add(w, object, name, 32,
                                          json_incref(json));
    }
}


static void
ngx_http_klaviyo_story_members(ngx_http_klaviyo_writer_t *w, json_t *copy,
    json_t *json, ngx_uint_t personal, ngx_uint_t depth)
{
    void        *iter;
    size_t       i;
    json_t      *value;
    ngx_str_t    key;
    ngx_uint_t   n;

    json_array_foreach(json, i, value) {

        if (i == NGX_HTTP_KLAVIYO_STORY_ELEMENTS) {
            w->cut = 1;
            return;
        }

        ngx_http_klaviyo_story_copy(w, copy, NULL, value, personal, depth);
    }

    n = 0;

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        if (n++ == NGX_HTTP_KLAVIYO_STORY_ELEMENTS) {
            w->cut = 1;
            return;
        }

        key.data = (u_char *) json_object_iter_key(iter);
        key.len = ngx_strlen(key.data);

        ngx_http_klaviyo_story_copy(w, copy, (char *) key.data,
                                    json_object_iter_value(iter),
                                    ngx_http_klaviyo_story_personal(&key,
                                                                    personal),
                                    depth);
    }
}


/* "type" is a word of Klaviyo's, in an event's profile too */

static ngx_uint_t
ngx_http_klaviyo_story_personal(ngx_str_t *key, ngx_uint_t personal)
{
    if (ngx_strcmp(key->data, "type") == 0) {
        return 0;
    }

    return personal || ngx_strcmp(key->data, "profile") == 0
           || ngx_http_klaviyo_mask_name(key);
}
