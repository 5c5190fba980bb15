
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_status?explain=ID: a story of klaviyo_explain.
 */


#include "ngx_http_klaviyo_status.h"


static ngx_int_t ngx_http_klaviyo_status_explain_id(ngx_str_t *text,
    uint64_t *id);


ngx_int_t
ngx_http_klaviyo_status_explain(ngx_http_request_t *r, ngx_str_t *id)
{
    uint64_t                       number;
    ngx_str_t                      type;
    ngx_table_elt_t               *h;
    ngx_http_klaviyo_ctx_t        *ctx;
    ngx_http_complex_value_t       cv;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(r, ngx_http_klaviyo_module);

    /* the secret was seen on arrival; this request itself has no story */

    ctx = ngx_http_klaviyo_get_ctx(r);

    if (ctx == NULL || ctx->explain == NULL) {
        return NGX_HTTP_FORBIDDEN;
    }

    ctx->explain = NULL;

    if (ngx_http_klaviyo_status_explain_id(id, &number) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    cv.value.data = ngx_palloc(r->pool, NGX_HTTP_KLAVIYO_STORY_LEN);
    h = ngx_list_push(&r->headers_out.headers);

    if (cv.value.data == NULL || h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "no-store");

    cv.value.len = ngx_http_klaviyo_stories_find(kmcf->stories, number,
                                                 cv.value.data);
    if (cv.value.len == 0) {
        return NGX_HTTP_NOT_FOUND;
    }

    ngx_str_set(&type, "application/json");

    return ngx_http_send_response(r, NGX_HTTP_OK, &type, &cv);
}


static ngx_int_t
ngx_http_klaviyo_status_explain_id(ngx_str_t *text, uint64_t *id)
{
    ngx_int_t  high, low;

    if (text->len != 16) {
        return NGX_ERROR;
    }

    high = ngx_hextoi(text->data, 8);
    low = ngx_hextoi(text->data + 8, 8);

    if (high == NGX_ERROR || low == NGX_ERROR) {
        return NGX_ERROR;
    }

    *id = (uint64_t) high << 32 | (uint64_t) low;

    return NGX_OK;
}
