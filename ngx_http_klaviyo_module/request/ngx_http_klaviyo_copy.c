
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A copy of a body that passes by, up to a limit.
 */


#include "ngx_http_klaviyo_copy.h"


static ngx_int_t ngx_http_klaviyo_copy_grow(ngx_http_klaviyo_copy_t *copy,
    size_t size);
static ngx_int_t ngx_http_klaviyo_copy_handler(void *data, u_char *p,
    u_char *last);


void
ngx_http_klaviyo_copy_open(ngx_http_klaviyo_copy_t *copy, ngx_pool_t *pool,
    size_t limit, off_t length)
{
    copy->pool = pool;
    copy->limit = limit;
    copy->size = 0;
    copy->text.len = 0;
    copy->text.data = NULL;

    if (limit == 0 || length > (off_t) limit) {
        copy->over = 1;
        return;
    }

    copy->open = 1;

    /* one that lies about its length takes no memory before it is there */

    if (length > 0 && length <= (off_t) ngx_pagesize) {
        (void) ngx_http_klaviyo_copy_grow(copy, (size_t) length);
    }
}


void
ngx_http_klaviyo_copy_add(ngx_http_klaviyo_copy_t *copy, u_char *p,
    u_char *last)
{
    size_t  len;

    len = last - p;

    if (len > copy->limit - copy->text.len) {
        copy->over = 1;
        ngx_http_klaviyo_copy_drop(copy);
        return;
    }

    if (len > copy->size - copy->text.len
        && ngx_http_klaviyo_copy_grow(copy, copy->text.len + len) != NGX_OK)
    {
        copy->lost = 1;
        ngx_http_klaviyo_copy_drop(copy);
        return;
    }

    if (len) {
        ngx_memcpy(copy->text.data + copy->text.len, p, len);
        copy->text.len += len;
    }
}


/* What is larger than a page is malloc()ed, and given back when it moves. */

static ngx_int_t
ngx_http_klaviyo_copy_grow(ngx_http_klaviyo_copy_t *copy, size_t size)
{
    u_char  *p;

    if (copy->size) {
        size = ngx_max(size, 2 * copy->size);
        size = ngx_max(size, ngx_pagesize);
    }

    size = ngx_min(size, copy->limit);

    p = ngx_palloc(copy->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (copy->text.data) {
        ngx_memcpy(p, copy->text.data, copy->text.len);
        (void) ngx_pfree(copy->pool, copy->text.data);
    }

    copy->text.data = p;
    copy->size = size;

    return NGX_OK;
}


void
ngx_http_klaviyo_copy_drop(ngx_http_klaviyo_copy_t *copy)
{
    if (copy->text.data) {
        (void) ngx_pfree(copy->pool, copy->text.data);
    }

    ngx_str_null(&copy->text);
    copy->size = 0;
    copy->open = 0;
}


ngx_int_t
ngx_http_klaviyo_copy_decode(ngx_http_klaviyo_copy_t *copy)
{
    ngx_int_t                    rc;
    ngx_http_klaviyo_copy_t      plain;
    ngx_http_klaviyo_inflate_t  *decoder;

    if (copy->encoding == NGX_HTTP_KLAVIYO_IDENTITY || copy->decoded
        || copy->text.len == 0)
    {
        return NGX_OK;
    }

    decoder = ngx_http_klaviyo_inflate_create(copy->pool, copy->encoding);

    if (decoder == NULL) {
        copy->lost = 1;
        ngx_http_klaviyo_copy_drop(copy);
        return NGX_DECLINED;
    }

    ngx_memzero(&plain, sizeof(ngx_http_klaviyo_copy_t));
    ngx_http_klaviyo_copy_open(&plain, copy->pool, copy->limit, -1);

    rc = ngx_http_klaviyo_inflate_feed(decoder, copy->text.data,
                                       copy->text.data + copy->text.len,
                                       ngx_http_klaviyo_copy_handler, &plain);

    copy->over |= plain.over;
    copy->lost |= (rc != NGX_OK
                   || !ngx_http_klaviyo_inflate_ended(decoder));
    copy->decoded = 1;

    ngx_http_klaviyo_inflate_free(decoder);
    ngx_http_klaviyo_copy_drop(copy);

    if (copy->over || copy->lost) {
        ngx_http_klaviyo_copy_drop(&plain);
        return NGX_DECLINED;
    }

    copy->text = plain.text;
    copy->size = plain.size;
    copy->open = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_copy_handler(void *data, u_char *p, u_char *last)
{
    ngx_http_klaviyo_copy_t *plain = data;

    ngx_http_klaviyo_copy_add(plain, p, last);

    return plain->open ? NGX_OK : NGX_DECLINED;
}
