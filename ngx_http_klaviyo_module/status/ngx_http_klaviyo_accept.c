
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The header Accept.
 */


#include "ngx_http_klaviyo_status.h"


static u_char *ngx_http_klaviyo_accept_part(u_char *p, u_char *last,
    u_char end, ngx_str_t *part);
static ngx_uint_t ngx_http_klaviyo_accept_quality(ngx_str_t *param,
    ngx_uint_t quality);
static ngx_int_t ngx_http_klaviyo_accept_find(ngx_str_t *type,
    ngx_str_t *types);


void
ngx_http_klaviyo_status_accept(ngx_str_t *accept, ngx_str_t *types,
    ngx_uint_t *best, ngx_uint_t *weight)
{
    u_char      *p, *q, *last;
    ngx_int_t    n;
    ngx_str_t    range, type, param;
    ngx_uint_t   w;

    p = accept->data;
    last = p + accept->len;

    while (p < last) {

        p = ngx_http_klaviyo_accept_part(p, last, ',', &range);
        q = ngx_http_klaviyo_accept_part(range.data, range.data + range.len,
                                         ';', &type);
        w = 1000;

        while (q < range.data + range.len) {
            q = ngx_http_klaviyo_accept_part(q, range.data + range.len, ';',
                                             &param);
            w = ngx_http_klaviyo_accept_quality(&param, w);
        }

        if (type.len == 3 && ngx_strncmp(type.data, "*/*", 3) == 0) {
            n = 0;
            w *= 2;

        } else {
            n = ngx_http_klaviyo_accept_find(&type, types);
            w = w ? w * 2 + 1 : 0;
        }

        if (n != NGX_DECLINED && w > *weight) {
            *best = n;
            *weight = w;
        }
    }
}


/* up to "end", without the blanks around it; returns what is behind it */

static u_char *
ngx_http_klaviyo_accept_part(u_char *p, u_char *last, u_char end,
    ngx_str_t *part)
{
    u_char  *next;

    next = ngx_strlchr(p, last, end);

    if (next == NULL) {
        next = last;
    }

    last = (next < last) ? next + 1 : last;

    while (p < next && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (next > p && (next[-1] == ' ' || next[-1] == '\t')) {
        next--;
    }

    part->data = p;
    part->len = next - p;

    return last;
}


/* q=0.75: 750 */

static ngx_uint_t
ngx_http_klaviyo_accept_quality(ngx_str_t *param, ngx_uint_t quality)
{
    ngx_int_t  n;

    if (param->len < 3 || ngx_strncasecmp(param->data, (u_char *) "q=", 2) != 0)
    {
        return quality;
    }

    n = ngx_atofp(param->data + 2, param->len - 2, 3);

    return (n == NGX_ERROR || n > 1000) ? quality : (ngx_uint_t) n;
}


static ngx_int_t
ngx_http_klaviyo_accept_find(ngx_str_t *type, ngx_str_t *types)
{
    ngx_int_t  i;

    for (i = 0; types[i].len; i++) {
        if (type->len == types[i].len
            && ngx_strncasecmp(type->data, types[i].data, type->len) == 0)
        {
            return i;
        }
    }

    return NGX_DECLINED;
}
