
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The text of a GraphQL query, with variables as JSON in the first line; "?"
 * there: the arguments of a GET that asks one.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_document.h"


static void fuzz_args(fuzz_t *f);
static json_t *fuzz_query(ngx_str_t *query, json_t *variables);
static void fuzz_tree(fuzz_t *f, json_t *json);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *body;
    ngx_str_t                 line, text, query;
    ngx_http_klaviyo_data_t   variables;

    line = fuzz_line(f);

    if (line.len == 1 && line.data[0] == '?') {
        fuzz_args(f);
        return;
    }

    fuzz_data(f, &variables, &line);

    text = fuzz_rest(f);

    if (ngx_http_klaviyo_utf8(&f->arena, &text, &query) != NGX_OK) {
        return;
    }

    body = fuzz_query(&query, (variables.type == NGX_HTTP_KLAVIYO_TREE)
                              ? variables.json : NULL);

    fuzz_tree(f, ngx_http_klaviyo_document_graphql(&f->arena, body, NULL));

    json_decref(body);
}


static void
fuzz_args(fuzz_t *f)
{
    json_t     *args;
    ngx_str_t   text;

    text = fuzz_rest(f);
    args = ngx_http_klaviyo_decode_form(&f->arena, &text, 1);

    if (args) {
        fuzz_tree(f, ngx_http_klaviyo_document_graphql(&f->arena, NULL, args));
    }
}


static json_t *
fuzz_query(ngx_str_t *query, json_t *variables)
{
    json_t  *body;

    body = json_object();
    assert_non_null(body);

    assert_int_equal(json_object_set_new(body, "query",
                                         json_stringn((char *) query->data,
                                                      query->len)),
                     0);

    if (variables) {
        assert_int_equal(json_object_set(body, "variables", variables), 0);
    }

    return body;
}


static void
fuzz_tree(fuzz_t *f, json_t *json)
{
    ngx_http_klaviyo_data_t  data;

    if (json) {
        ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
        fuzz_check_data(f, &data);
    }
}
