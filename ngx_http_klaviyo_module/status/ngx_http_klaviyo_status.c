
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_status: which form is asked for, by ?format= or by Accept, and its
 * headers.
 */


#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_page.h"


typedef ngx_int_t (*ngx_http_klaviyo_status_pt)(
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_output_t *out);


typedef struct {
    ngx_str_t                            name;
    ngx_str_t                            type;
    ngx_http_klaviyo_status_pt           handler;
} ngx_http_klaviyo_format_t;


typedef struct {
    ngx_str_t                            name;
    ngx_str_t                            value;
} ngx_http_klaviyo_header_t;


static ngx_int_t ngx_http_klaviyo_status_handler(ngx_http_request_t *r);
static ngx_http_klaviyo_format_t *ngx_http_klaviyo_status_format(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_klaviyo_status_headers(ngx_http_request_t *r,
    ngx_http_klaviyo_header_t *header);
static ngx_int_t ngx_http_klaviyo_status_send(ngx_http_request_t *r,
    ngx_http_klaviyo_format_t *format, ngx_http_klaviyo_output_t *out);


static ngx_http_klaviyo_format_t  ngx_http_klaviyo_formats[] = {

    { ngx_string("json"),
      ngx_string("application/json"),
      ngx_http_klaviyo_status_json },

    { ngx_string("html"),
      ngx_string("text/html; charset=utf-8"),
      ngx_http_klaviyo_status_page },

    { ngx_string("prometheus"),
      ngx_string("text/plain; version=0.0.4; charset=utf-8"),
      ngx_http_klaviyo_status_prometheus },

    { ngx_string("ndjson"),
      ngx_string("application/x-ndjson"),
      ngx_http_klaviyo_status_tail },

    { ngx_null_string, ngx_null_string, NULL }
};


/* of Accept; each with its format below */

static ngx_str_t  ngx_http_klaviyo_status_types[] = {
    ngx_string("application/json"),
    ngx_string("text/html"),
    ngx_string("text/plain"),
    ngx_string("application/x-ndjson"),
    ngx_string("application/openmetrics-text"),
    ngx_string("application/xhtml+xml"),
    ngx_null_string
};

static ngx_uint_t  ngx_http_klaviyo_status_of_type[] = { 0, 1, 2, 3, 2, 1 };


static ngx_http_klaviyo_header_t  ngx_http_klaviyo_status_all[] = {
    { ngx_string("Cache-Control"), ngx_string("no-store") },
    { ngx_string("Vary"), ngx_string("Accept") },
    { ngx_string("X-Content-Type-Options"), ngx_string("nosniff") },
    { ngx_null_string, ngx_null_string }
};


static ngx_http_klaviyo_header_t  ngx_http_klaviyo_status_html[] = {
    { ngx_string("Content-Security-Policy"),
      ngx_string("default-src 'none'; "
                 "style-src 'sha256-" NGX_HTTP_KLAVIYO_PAGE_STYLE "'; "
                 "script-src 'sha256-" NGX_HTTP_KLAVIYO_PAGE_SCRIPT "'; "
                 "connect-src 'self'; img-src data:; base-uri 'none'; "
                 "form-action 'none'; frame-ancestors 'none'") },
    { ngx_string("Referrer-Policy"), ngx_string("no-referrer") },
    { ngx_string("X-Frame-Options"), ngx_string("DENY") },
    { ngx_null_string, ngx_null_string }
};


char *
ngx_http_klaviyo_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_klaviyo_status_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_str_t                      id;
    ngx_http_klaviyo_view_t       *view;
    ngx_http_klaviyo_format_t     *format;
    ngx_http_klaviyo_output_t      out;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    static u_char  explain[] = "explain";

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_arg(r, explain, sizeof(explain) - 1, &id) == NGX_OK) {
        return ngx_http_klaviyo_status_explain(r, &id);
    }

    format = ngx_http_klaviyo_status_format(r);
    if (format == NULL) {
        return NGX_HTTP_BAD_REQUEST;
    }

    kmcf = ngx_http_get_module_main_conf(r, ngx_http_klaviyo_module);

    view = ngx_http_klaviyo_collect(r->pool, kmcf);
    if (view == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&out, sizeof(ngx_http_klaviyo_output_t));
    out.pool = r->pool;

    if (format->handler(view, &out) != NGX_OK || out.failed
        || ngx_http_klaviyo_status_headers(r, ngx_http_klaviyo_status_all)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (format->handler == ngx_http_klaviyo_status_page
        && ngx_http_klaviyo_status_headers(r, ngx_http_klaviyo_status_html)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_klaviyo_status_send(r, format, &out);
}


/* NULL: a format that there isn't */

static ngx_http_klaviyo_format_t *
ngx_http_klaviyo_status_format(ngx_http_request_t *r)
{
    ngx_str_t                   value;
    ngx_uint_t                  i, best, weight;
    ngx_list_part_t            *part;
    ngx_table_elt_t            *header;
    ngx_http_klaviyo_format_t  *format;

    format = ngx_http_klaviyo_formats;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) == NGX_OK) {

        for (i = 0; format[i].name.len; i++) {
            if (value.len == format[i].name.len
                && ngx_strncmp(value.data, format[i].name.data, value.len) == 0)
            {
                return &format[i];
            }
        }

        return NULL;
    }

    best = 0;
    weight = 0;

    /* nginx keeps a pointer to Accept in some builds only */

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].key.len == 6
            && ngx_strncasecmp(header[i].key.data, (u_char *) "accept", 6) == 0)
        {
            ngx_http_klaviyo_status_accept(&header[i].value,
                                           ngx_http_klaviyo_status_types,
                                           &best, &weight);
        }
    }

    return &format[ngx_http_klaviyo_status_of_type[best]];
}


static ngx_int_t
ngx_http_klaviyo_status_headers(ngx_http_request_t *r,
    ngx_http_klaviyo_header_t *header)
{
    ngx_table_elt_t  *h;

    for ( /* void */ ; header->name.len; header++) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        h->key = header->name;
        h->value = header->value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_status_send(ngx_http_request_t *r,
    ngx_http_klaviyo_format_t *format, ngx_http_klaviyo_output_t *out)
{
    ngx_int_t  rc;

    r->headers_out.content_type = format->type;
    r->headers_out.content_type_len = format->type.len;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = out->length;

    if (out->first == NULL) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out->last->buf->last_buf = (r == r->main);
    out->last->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, out->first);
}
