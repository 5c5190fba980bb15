
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * turbo-stream.  Behind "=" stands JSON, which is written as a stream first:
 * then it is read as what it was.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_turbo.h"


#define FUZZ_NULL  -5


static void fuzz_same(fuzz_t *f, ngx_str_t *text);
static json_int_t fuzz_flatten(json_t *values, json_t *json);
static json_t *fuzz_object(json_t *values, json_t *json);
static json_t *fuzz_array(json_t *values, json_t *json);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    json_t                   *json;
    ngx_str_t                 text;
    ngx_uint_t                same;
    ngx_http_klaviyo_data_t   data;

    same = (f->pos < f->last && *f->pos == '=');
    f->pos += same;

    text = fuzz_rest(f);

    if (same) {
        fuzz_same(f, &text);
        return;
    }

    json = ngx_http_klaviyo_turbo_parse(&f->arena, &text);

    if (json) {
        ngx_http_klaviyo_data_from_json(&f->arena, &data, json);
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_TREE);
        fuzz_check_data(f, &data);
    }
}


static void
fuzz_same(fuzz_t *f, ngx_str_t *text)
{
    char        *stream;
    json_t      *json, *values;
    ngx_str_t    line;
    ngx_uint_t   limits;

    json = ngx_http_klaviyo_json_parse(&f->arena, text);

    if (!json_is_array(json) && !json_is_object(json)) {
        return;
    }

    values = json_array();
    (void) fuzz_flatten(values, json);

    stream = json_dumps(values, JSON_COMPACT);
    assert_non_null(stream);

    line.data = (u_char *) stream;
    line.len = strlen(stream);
    line = fuzz_copy(f, &line);

    free(stream);
    json_decref(values);

    limits = f->arena.limits;
    values = ngx_http_klaviyo_turbo_parse(&f->arena, &line);

    if (f->arena.limits == limits) {
        assert_non_null(values);
        assert_true(json_equal(values, json));
    }
}


/* as the library does, but that equal texts are not shared */

static json_int_t
fuzz_flatten(json_t *values, json_t *json)
{
    size_t  i;

    if (json_is_null(json)) {
        return FUZZ_NULL;
    }

    i = json_array_size(values);
    json_array_append_new(values, json_null());

    json_array_set_new(values, i,
                       json_is_object(json) ? fuzz_object(values, json)
                       : json_is_array(json) ? fuzz_array(values, json)
                                             : json_incref(json));

    return i;
}


static json_t *
fuzz_object(json_t *values, json_t *json)
{
    char         key[NGX_INT_T_LEN + 2];
    json_t      *object, *value;
    const char  *name;

    object = json_object();

    json_object_foreach(json, name, value) {
        snprintf(key, sizeof(key), "_%zu", json_array_size(values));

        json_array_append_new(values, json_string(name));
        json_object_set_new(object, key,
                            json_integer(fuzz_flatten(values, value)));
    }

    return object;
}


static json_t *
fuzz_array(json_t *values, json_t *json)
{
    size_t   i;
    json_t  *array, *value;

    array = json_array();

    json_array_foreach(json, i, value) {
        json_array_append_new(array,
                              json_integer(fuzz_flatten(values, value)));
    }

    return array;
}
