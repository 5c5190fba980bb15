
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The text of a GraphQL query, with variables as JSON in the first line.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_document.h"


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *body, *json;
    ngx_str_t                 line, text, query;
    ngx_http_klaviyo_data_t   variables, data;

    line = fuzz_line(f);
    fuzz_data(f, &variables, &line);

    text = fuzz_rest(f);

    if (ngx_http_klaviyo_utf8(&f->arena, &text, &query) != NGX_OK) {
        return;
    }

    body = json_object();
    assert_non_null(body);

    assert_int_equal(json_object_set_new(body, "query",
                                         json_stringn((char *) query.data,
                                                      query.len)),
                     0);

    if (variables.type == NGX_HTTP_KLAVIYO_TREE) {
        assert_int_equal(json_object_set(body, "variables", variables.json),
                         0);
    }

    json = ngx_http_klaviyo_document_graphql(&f->arena, body, NULL);

    if (json) {
        ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
        fuzz_check_data(f, &data);
    }

    json_decref(body);
}
