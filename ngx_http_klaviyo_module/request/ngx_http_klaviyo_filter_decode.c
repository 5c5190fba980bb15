
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The filters that decode: texts into other texts or into trees.
 */


#include "ngx_http_klaviyo_filter.h"
#include "ngx_http_klaviyo_filter_table.h"
#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_json.h"


static void ngx_http_klaviyo_filter_url(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_uint_t flags);
static void ngx_http_klaviyo_filter_decoded(ngx_http_klaviyo_data_t *data,
    ngx_int_t rc, ngx_str_t *text);
static void ngx_http_klaviyo_filter_path(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs);


void
ngx_http_klaviyo_filter_urldecode(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_url(arena, data, 0);
}


void
ngx_http_klaviyo_filter_formdecode(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_filter_url(arena, data, NGX_HTTP_KLAVIYO_DECODE_FORM);
}


static void
ngx_http_klaviyo_filter_url(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_uint_t flags)
{
    ngx_int_t  rc;
    ngx_str_t  text, result;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    rc = ngx_http_klaviyo_decode_url(arena, &text, &result, flags);

    ngx_http_klaviyo_filter_decoded(data, rc, &result);
}


void
ngx_http_klaviyo_filter_base64(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_int_t  rc;
    ngx_str_t  text, result;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    rc = ngx_http_klaviyo_decode_base64(arena, &text, &result);

    ngx_http_klaviyo_filter_decoded(data, rc, &result);
}


void
ngx_http_klaviyo_filter_unescape(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_int_t  rc;
    ngx_str_t  text, result;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    rc = ngx_http_klaviyo_decode_entities(arena, &text, &result);

    ngx_http_klaviyo_filter_decoded(data, rc, &result);
}


static void
ngx_http_klaviyo_filter_decoded(ngx_http_klaviyo_data_t *data, ngx_int_t rc,
    ngx_str_t *text)
{
    if (rc != NGX_OK) {
        ngx_http_klaviyo_data_missing(data);
        return;
    }

    ngx_http_klaviyo_data_set_string(data, text->data, text->len);
}


/* what is no text was decoded already */

void
ngx_http_klaviyo_filter_json(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    if (data->type == NGX_HTTP_KLAVIYO_STRING) {

        if (nargs) {
            ngx_http_klaviyo_pick(arena, &args[0].pick, &data->text);
        }

        ngx_http_klaviyo_data_from_json(arena, data,
                               ngx_http_klaviyo_json_parse(arena,
                                                           &data->text));
    }

    ngx_http_klaviyo_filter_path(arena, data, args, nargs);
}


void
ngx_http_klaviyo_filter_jwt(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    ngx_http_klaviyo_data_from_json(arena, data,
                                    ngx_http_klaviyo_decode_jwt(arena, &text));

    ngx_http_klaviyo_filter_path(arena, data, args, nargs);
}


static void
ngx_http_klaviyo_filter_path(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_http_klaviyo_data_t  result;

    if (nargs == 0 || ngx_http_klaviyo_data_is_missing(data)) {
        return;
    }

    ngx_http_klaviyo_path_select(arena, args[0].path, data, &result);

    *data = result;
}


void
ngx_http_klaviyo_filter_form(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    ngx_str_t  text;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    ngx_http_klaviyo_data_from_json(arena, data,
                               ngx_http_klaviyo_decode_form(arena, &text, 0));
}


void
ngx_http_klaviyo_filter_kv(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data, ngx_http_klaviyo_arg_t *args,
    ngx_uint_t nargs)
{
    json_t     *json;
    ngx_str_t   text, pairsep, kvsep;

    if (ngx_http_klaviyo_filter_take(data, &text) != NGX_OK) {
        return;
    }

    if (nargs == 2) {
        pairsep = args[0].text;
        kvsep = args[1].text;

    } else {
        ngx_str_set(&pairsep, ",");
        ngx_str_set(&kvsep, ":");
    }

    json = ngx_http_klaviyo_decode_kv(arena, &text, &pairsep, &kvsep);

    ngx_http_klaviyo_data_from_json(arena, data, json);
}
