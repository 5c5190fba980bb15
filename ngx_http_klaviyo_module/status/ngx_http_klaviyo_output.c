
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A text that grows.
 */


#include "ngx_http_klaviyo_output.h"


#define NGX_HTTP_KLAVIYO_OUTPUT_BUFFER   16384


static ngx_buf_t *ngx_http_klaviyo_output_room(
    ngx_http_klaviyo_output_t *out);
static void ngx_http_klaviyo_output_link(ngx_http_klaviyo_output_t *out,
    ngx_buf_t *b);


void
ngx_http_klaviyo_output(ngx_http_klaviyo_output_t *out, u_char *text,
    size_t len)
{
    size_t      n;
    ngx_buf_t  *b;

    while (len) {
        b = ngx_http_klaviyo_output_room(out);
        if (b == NULL) {
            return;
        }

        n = ngx_min(len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, text, n);
        out->length += n;

        text += n;
        len -= n;
    }
}


void
ngx_http_klaviyo_output_text(ngx_http_klaviyo_output_t *out, char *text)
{
    ngx_http_klaviyo_output(out, (u_char *) text, ngx_strlen(text));
}


void
ngx_http_klaviyo_output_printf(ngx_http_klaviyo_output_t *out,
    const char *fmt, ...)
{
    u_char   *p, buf[NGX_HTTP_KLAVIYO_OUTPUT_LINE];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    ngx_http_klaviyo_output(out, buf, p - buf);
}


void
ngx_http_klaviyo_output_static(ngx_http_klaviyo_output_t *out, u_char *text,
    size_t len)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(out->pool);
    if (b == NULL) {
        out->failed = 1;
        return;
    }

    b->memory = 1;
    b->pos = text;
    b->last = text + len;

    /* nothing may be added to it */

    b->start = text;
    b->end = b->last;

    out->length += len;

    ngx_http_klaviyo_output_link(out, b);
}


static ngx_buf_t *
ngx_http_klaviyo_output_room(ngx_http_klaviyo_output_t *out)
{
    ngx_buf_t  *b;

    if (out->failed) {
        return NULL;
    }

    if (out->last && out->last->buf->last < out->last->buf->end) {
        return out->last->buf;
    }

    b = ngx_create_temp_buf(out->pool, NGX_HTTP_KLAVIYO_OUTPUT_BUFFER);
    if (b == NULL) {
        out->failed = 1;
        return NULL;
    }

    ngx_http_klaviyo_output_link(out, b);

    return out->failed ? NULL : b;
}


static void
ngx_http_klaviyo_output_link(ngx_http_klaviyo_output_t *out, ngx_buf_t *b)
{
    ngx_chain_t  *cl;

    cl = ngx_alloc_chain_link(out->pool);
    if (cl == NULL) {
        out->failed = 1;
        return;
    }

    cl->buf = b;
    cl->next = NULL;

    if (out->last) {
        out->last->next = cl;

    } else {
        out->first = cl;
    }

    out->last = cl;
}
