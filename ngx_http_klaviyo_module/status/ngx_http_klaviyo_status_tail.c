
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The tail as lines of JSON, of all rules, by their time.
 */


#include "ngx_http_klaviyo_status.h"


typedef struct {
    uint64_t                             time;
    ngx_uint_t                           n;
} ngx_http_klaviyo_tail_key_t;


static int ngx_libc_cdecl ngx_http_klaviyo_status_newer(const void *one,
    const void *two);


/* Lines may be replaced between the two rounds: they are then of another time,
 * and a line that is being written is left out */

ngx_int_t
ngx_http_klaviyo_status_tail(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_uint_t                    i, n, size;
    ngx_http_klaviyo_tail_key_t  *keys;
    ngx_http_klaviyo_tail_line_t  line;

    if (view->tail == NULL) {
        return NGX_OK;
    }

    size = ngx_http_klaviyo_tail_size(view->tail);

    keys = ngx_palloc(out->pool, size * sizeof(ngx_http_klaviyo_tail_key_t));
    if (keys == NULL) {
        return NGX_ERROR;
    }

    n = 0;

    for (i = 0; i < size; i++) {
        if (ngx_http_klaviyo_tail_read(view->tail, i, &line) == NGX_OK) {
            keys[n].time = line.time;
            keys[n++].n = i;
        }
    }

    ngx_qsort(keys, n, sizeof(ngx_http_klaviyo_tail_key_t),
              ngx_http_klaviyo_status_newer);

    for (i = 0; i < n; i++) {
        if (ngx_http_klaviyo_tail_read(view->tail, keys[i].n, &line)
            == NGX_OK)
        {
            ngx_http_klaviyo_output(out, line.text, line.len);
            ngx_http_klaviyo_output_text(out, "\n");
        }
    }

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_klaviyo_status_newer(const void *one, const void *two)
{
    const ngx_http_klaviyo_tail_key_t  *first, *second;

    first = one;
    second = two;

    if (first->time == second->time) {
        return 0;
    }

    return (first->time < second->time) ? 1 : -1;
}
