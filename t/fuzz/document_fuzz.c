
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Bodies by their type, the first line; "!" before it asks for a call of a
 * React server action.  What comes of a body is asked for GraphQL, too.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_document.h"


static void fuzz_tree(fuzz_t *f, json_t *json);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t      *body;
    ngx_str_t    type, text;
    ngx_uint_t   action;

    type = fuzz_line(f);
    action = (type.len && type.data[0] == '!');

    if (action) {
        type.data++;
        type.len--;
    }

    text = fuzz_rest(f);

    body = ngx_http_klaviyo_document_body(&f->arena, &type, &text, NULL,
                                          action);
    fuzz_tree(f, body);

    if (body) {
        fuzz_tree(f, ngx_http_klaviyo_document_graphql(&f->arena, body, NULL));
        fuzz_tree(f, ngx_http_klaviyo_document_graphql(&f->arena, NULL, body));
    }
}


static void
fuzz_tree(fuzz_t *f, json_t *json)
{
    ngx_http_klaviyo_data_t  data;

    if (json) {
        ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_TREE);
        fuzz_check_data(f, &data);
    }
}
