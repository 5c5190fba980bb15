
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What became of one event, as a line of the tail.
 */


#include "ngx_http_klaviyo_watch.h"
#include "ngx_http_klaviyo_json.h"


/* bytes that a text may take in the line, and a path before it is masked */
#define NGX_HTTP_KLAVIYO_WATCH_TEXT      150
#define NGX_HTTP_KLAVIYO_WATCH_PATH      200

/* ...,"more":400}}} */
#define NGX_HTTP_KLAVIYO_WATCH_END       24

#define NGX_HTTP_KLAVIYO_WATCH_DIGITS    7
#define NGX_HTTP_KLAVIYO_WATCH_WORD      20
#define NGX_HTTP_KLAVIYO_WATCH_PART      64


static u_char *ngx_http_klaviyo_watch_head(u_char *p, u_char *last,
    ngx_http_klaviyo_watch_t *w, uint64_t msec);
static u_char *ngx_http_klaviyo_watch_string(u_char *p, u_char *last,
    char *name, ngx_str_t *text);
static u_char *ngx_http_klaviyo_watch_members(u_char *p, u_char *last,
    char *name, ngx_http_klaviyo_member_t *member, ngx_uint_t n,
    ngx_uint_t *more);
static u_char *ngx_http_klaviyo_watch_kind(u_char *p, u_char *last,
    ngx_http_klaviyo_data_t *data);
static ngx_uint_t ngx_http_klaviyo_watch_masked(ngx_str_t *part);


void
ngx_http_klaviyo_watch(ngx_http_klaviyo_tail_t *tail,
    ngx_http_klaviyo_watch_t *w)
{
    u_char      *p, *last, buf[NGX_HTTP_KLAVIYO_TAIL_LEN];
    uint64_t     msec;
    ngx_str_t    line;
    ngx_time_t  *tp;
    ngx_uint_t   more;

    tp = ngx_timeofday();
    msec = (uint64_t) tp->sec * 1000 + tp->msec;

    last = buf + sizeof(buf) - NGX_HTTP_KLAVIYO_WATCH_END;

    p = ngx_http_klaviyo_watch_head(buf, last, w, msec);

    if (w->event) {
        more = 0;

        p = ngx_http_klaviyo_watch_members(p, last, "profile",
                                           w->event->profile,
                                           w->event->nprofile, &more);
        p = ngx_http_klaviyo_watch_members(p, last, "properties",
                                           w->event->properties,
                                           w->event->nproperties, &more);

        if (more) {
            p = ngx_slprintf(p, buf + sizeof(buf), ",\"more\":%ui", more);
        }
    }

    *p++ = '}';

    line.data = buf;
    line.len = p - buf;

    ngx_http_klaviyo_tail_add(tail, w->slot, w->event == NULL, msec, &line);
}


static u_char *
ngx_http_klaviyo_watch_head(u_char *p, u_char *last,
    ngx_http_klaviyo_watch_t *w, uint64_t msec)
{
    u_char               path[NGX_HTTP_KLAVIYO_WATCH_PATH];
    ngx_str_t            text;
    ngx_uint_t           status;
    ngx_http_request_t  *r;

    r = w->ctx->request;
    status = r->err_status ? r->err_status : r->headers_out.status;

    p = ngx_cpymem(p, "{\"time\":\"", sizeof("{\"time\":\"") - 1);
    p += ngx_http_klaviyo_date_format(p, msec / 1000, msec % 1000);
    *p++ = '"';

    p = ngx_http_klaviyo_watch_string(p, last, "account", &w->account->name);
    p = ngx_http_klaviyo_watch_string(p, last, "metric", &w->rule->metric);
    p = ngx_http_klaviyo_watch_string(p, last, "file", &w->rule->file);
    p = ngx_slprintf(p, last, ",\"line\":%ui,\"outcome\":\"%s\"",
                     w->rule->line, w->outcome);

    if (w->reason) {
        p = ngx_slprintf(p, last, ",\"reason\":\"%V\"", w->reason);
    }

    p = ngx_http_klaviyo_watch_string(p, last, "method",
                                      &w->ctx->method_name);

    text = w->ctx->uri;
    text.len = ngx_min(text.len, NGX_HTTP_KLAVIYO_WATCH_PATH);

    text.len = ngx_http_klaviyo_watch_path(path, &text);
    text.data = path;

    p = ngx_http_klaviyo_watch_string(p, last, "path", &text);

    return ngx_slprintf(p, last, ",\"status\":%ui", status);
}


/* ,"name":"text", the text cut if it is long */

static u_char *
ngx_http_klaviyo_watch_string(u_char *p, u_char *last, char *name,
    ngx_str_t *text)
{
    size_t  len;

    len = text->len;

    while (ngx_http_klaviyo_json_escape(NULL, text->data, len)
           > NGX_HTTP_KLAVIYO_WATCH_TEXT)
    {
        len -= len / 4 + 1;
    }

    if ((size_t) (last - p) < ngx_strlen(name) + NGX_HTTP_KLAVIYO_WATCH_TEXT
                              + sizeof(",\"\":\"\""))
    {
        return p;
    }

    p = ngx_sprintf(p, ",\"%s\":\"", name);
    p += ngx_http_klaviyo_json_escape(p, text->data, len);
    *p++ = '"';

    return p;
}


static u_char *
ngx_http_klaviyo_watch_members(u_char *p, u_char *last, char *name,
    ngx_http_klaviyo_member_t *member, ngx_uint_t n, ngx_uint_t *more)
{
    u_char      *kind, *end, buf[NGX_INT_T_LEN + sizeof("object()")];
    ngx_uint_t   i, comma;

    if ((size_t) (last - p) < ngx_strlen(name) + sizeof(",\"\":{}")) {
        *more += n;
        return p;
    }

    p = ngx_sprintf(p, ",\"%s\":{", name);
    comma = 0;
    kind = buf;

    for (i = 0; i < n; i++) {
        end = ngx_http_klaviyo_watch_kind(buf, buf + sizeof(buf),
                                          &member[i].data);

        if ((size_t) (last - p) < member[i].key.len + (end - kind)
                                  + sizeof(",\"\"}"))
        {
            (*more)++;
            continue;
        }

        if (comma) {
            *p++ = ',';
        }

        comma = 1;

        p = ngx_cpymem(p, member[i].key.data, member[i].key.len);
        *p++ = '"';
        p = ngx_cpymem(p, kind, end - kind);
        *p++ = '"';
    }

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_klaviyo_watch_kind(u_char *p, u_char *last,
    ngx_http_klaviyo_data_t *data)
{
    switch (data->type) {

    case NGX_HTTP_KLAVIYO_STRING:
        return ngx_slprintf(p, last, "text(%uz)", data->text.len);

    case NGX_HTTP_KLAVIYO_NUMBER:
        return ngx_slprintf(p, last, "number");

    case NGX_HTTP_KLAVIYO_FALSE:
    case NGX_HTTP_KLAVIYO_TRUE:
        return ngx_slprintf(p, last, "boolean");

    case NGX_HTTP_KLAVIYO_TREE:
        if (json_is_array(data->json)) {
            return ngx_slprintf(p, last, "array(%uz)",
                                json_array_size(data->json));
        }

        return ngx_slprintf(p, last, "object(%uz)",
                            json_object_size(data->json));

    default: /* MISSING, UNKNOWN */
        return ngx_slprintf(p, last, "missing");
    }
}


size_t
ngx_http_klaviyo_watch_path(u_char *dst, ngx_str_t *path)
{
    u_char     *p, *s, *last;
    ngx_str_t   part;

    p = dst;
    s = path->data;
    last = s + path->len;

    while (s < last) {

        if (*s == '/') {
            *p++ = *s++;
            continue;
        }

        part.data = s;

        while (s < last && *s != '/') {
            s++;
        }

        part.len = s - part.data;

        /* the mask is never longer than what it stands for */

        if (ngx_http_klaviyo_watch_masked(&part)) {
            p = ngx_cpymem(p, "***", ngx_min(part.len, 3));

        } else {
            p = ngx_cpymem(p, part.data, part.len);
        }
    }

    return p - dst;
}


static ngx_uint_t
ngx_http_klaviyo_watch_masked(ngx_str_t *part)
{
    size_t      i;
    ngx_uint_t  digits, joined;

    digits = 0;
    joined = 0;

    for (i = 0; i < part->len; i++) {

        switch (part->data[i]) {

        case '@':
            return 1;

        case '-':
        case '_':
        case '.':
            joined = 1;
            break;

        default:
            if (part->data[i] >= '0' && part->data[i] <= '9') {
                digits++;
            }
        }
    }

    return digits >= NGX_HTTP_KLAVIYO_WATCH_DIGITS
           || (part->len >= NGX_HTTP_KLAVIYO_WATCH_WORD && !joined)
           || part->len > NGX_HTTP_KLAVIYO_WATCH_PART;
}
