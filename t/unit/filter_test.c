
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The filters: each with what it is for, with what it is not for, over arrays,
 * and with what a stranger may send.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_filter.h"


/*
 * Runs "name" on a JSON text; "" is missing.  The words after it are the
 * arguments, a TERM as JSON text too.  What comes out is JSON text, "missing"
 * or "unknown".
 */

#define unit_run(json, ...)                                                   \
    unit_run_filter(state, (char *[]) { json, __VA_ARGS__, NULL })

#define assert_filter(expected, json, ...)                                    \
    unit_assert_text(unit_run(json, __VA_ARGS__), unit_str(expected),         \
                     __FILE__, __LINE__)

#define assert_missing(json, ...)                                             \
    assert_filter("missing", json, __VA_ARGS__)

#define assert_arg(kind, text)                                                \
    assert_int_equal(unit_arg(state, NGX_HTTP_KLAVIYO_ARG_##kind, text,       \
                              &arg, err),                                     \
                     NGX_OK)

#define assert_arg_error(kind, text, expected)                                \
    assert_int_equal(unit_arg(state, NGX_HTTP_KLAVIYO_ARG_##kind, text,       \
                              &arg, err),                                     \
                     NGX_DECLINED);                                           \
    assert_text(err, expected)


static void
unit_data(void **state, ngx_http_klaviyo_data_t *data, char *json)
{
    json_t     *tree;
    ngx_str_t   text;

    ngx_memzero(data, sizeof(ngx_http_klaviyo_data_t));

    text.data = (u_char *) json;
    text.len = ngx_strlen(json);

    if (text.len == 0) {
        return;
    }

    tree = ngx_http_klaviyo_json_parse(*state, &text);
    assert_non_null(tree);

    ngx_http_klaviyo_data_from_json(*state, data, tree);
}


static ngx_int_t
unit_arg(void **state, ngx_http_klaviyo_arg_e kind, char *text,
    ngx_http_klaviyo_arg_t *arg, ngx_str_t *err)
{
    ngx_str_t                  value;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    /* a buffer of just that size, so that a sanitizer sees the end of it */

    *err = *unit_fill(arena->pool, 0, 128);

    value.len = ngx_strlen(text);
    value.data = ngx_pnalloc(arena->pool, value.len + 1);
    assert_non_null(value.data);

    ngx_memcpy(value.data, text, value.len);

    return ngx_http_klaviyo_filter_arg(arena->pool, kind, &value, arg, err);
}


static ngx_str_t *
unit_result(void **state, ngx_http_klaviyo_data_t *data)
{
    char                      *dump;
    json_t                    *json;
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    static ngx_str_t  missing = ngx_string("missing");
    static ngx_str_t  unknown = ngx_string("unknown");

    if (data->type == NGX_HTTP_KLAVIYO_MISSING) {
        return &missing;
    }

    if (data->type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        return &unknown;
    }

    arena = *state;

    /* a number as it stands: jansson would make a double of it */

    if (data->type == NGX_HTTP_KLAVIYO_NUMBER) {
        text = unit_fill(arena->pool, 0, data->text.len);
        ngx_memcpy(text->data, data->text.data, text->len);
        return text;
    }

    json = ngx_http_klaviyo_data_to_json(arena, data);
    assert_non_null(json);

    dump = json_dumps(json, JSON_COMPACT|JSON_ENCODE_ANY
                            |JSON_REAL_PRECISION(15));
    assert_non_null(dump);

    text = unit_fill(arena->pool, 0, ngx_strlen(dump));
    ngx_memcpy(text->data, dump, text->len);

    free(dump);
    json_decref(json);

    return text;
}


static ngx_http_klaviyo_filter_t *
unit_find(char *name)
{
    ngx_str_t                   text;
    ngx_http_klaviyo_filter_t  *filter;

    text.data = (u_char *) name;
    text.len = ngx_strlen(name);

    filter = ngx_http_klaviyo_filter_find(&text);

    if (filter == NULL) {
        fail_msg("no filter \"%s\"", name);
    }

    return filter;
}


/* the arguments from words up to NULL; returns how many there are */

static ngx_uint_t
unit_compile(void **state, ngx_http_klaviyo_filter_t *filter, char **words,
    ngx_http_klaviyo_arg_t *args)
{
    ngx_str_t   err;
    ngx_uint_t  n;

    ngx_memzero(args, NGX_HTTP_KLAVIYO_FILTER_ARGS
                      * sizeof(ngx_http_klaviyo_arg_t));

    for (n = 0; words[n]; n++) {
        assert_true(n < NGX_HTTP_KLAVIYO_FILTER_ARGS);
        assert_int_not_equal(filter->args[n], NGX_HTTP_KLAVIYO_ARG_NONE);

        if (filter->args[n] == NGX_HTTP_KLAVIYO_ARG_TERM) {
            unit_data(state, &args[n].data, words[n]);
            continue;
        }

        if (unit_arg(state, filter->args[n], words[n], &args[n], &err)
            != NGX_OK)
        {
            fail_msg("%.*s", (int) err.len, err.data);
        }
    }

    assert_true(n >= filter->mandatory);

    return n;
}


static void
unit_apply(void **state, ngx_http_klaviyo_data_t *data, char **words)
{
    ngx_uint_t                  n;
    ngx_http_klaviyo_arg_t      args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_filter_t  *filter;

    filter = unit_find(words[0]);
    n = unit_compile(state, filter, words + 1, args);

    ngx_http_klaviyo_filter_run(*state, filter, data, args, n);
}


static ngx_str_t *
unit_run_filter(void **state, char **words)
{
    ngx_http_klaviyo_data_t  data;

    unit_data(state, &data, words[0]);
    unit_apply(state, &data, words + 1);

    return unit_result(state, &data);
}


/* "before", then "text" n times with "," between, then "after" */

static char *
unit_repeat(void **state, char *before, char *text, char *after, ngx_uint_t n)
{
    u_char                    *p, *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = ngx_palloc(arena->pool, ngx_strlen(before)
                                  + n * (ngx_strlen(text) + 1)
                                  + ngx_strlen(after) + 1);
    assert_non_null(str);

    p = ngx_sprintf(str, "%s", before);

    while (n--) {
        p = ngx_sprintf(p, "%s%s", text, n ? "," : "");
    }

    ngx_sprintf(p, "%s%Z", after);

    return (char *) str;
}


static void
test_missing_stays_missing_but_for_default_and_count(void **state)
{
    ngx_uint_t                  i;
    ngx_http_klaviyo_data_t     data;
    ngx_http_klaviyo_arg_t      args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_filter_t  *filter;

    static char  *names[] = {
        "urldecode", "formdecode", "base64", "base64url", "json", "jwt",
        "form", "kv", "unescape", "first", "last", "at", "keys", "pick",
        "entries", "where", "unique", "zip", "trim", "lower", "upper",
        "regex", "split",
        "join", "prefix", "suffix", "gid", "sha256", "e164", "number",
        "integer", "boolean", "string", "date", "sum", "min", "max",
        "multiply", "divide", "scale", "round"
    };

    ngx_memzero(args, sizeof(args));

    for (i = 0; i < sizeof(names) / sizeof(char *); i++) {
        filter = unit_find(names[i]);

        data.type = NGX_HTTP_KLAVIYO_MISSING;
        ngx_http_klaviyo_filter_run(*state, filter, &data, args,
                                    filter->mandatory);
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_MISSING);

        data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
        ngx_http_klaviyo_filter_run(*state, filter, &data, args,
                                    filter->mandatory);
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    }

    assert_filter("0", "", "count");
    assert_filter("\"x\"", "", "default", "\"x\"");

    data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
    unit_apply(state, &data, (char *[]) { "default", "1", NULL });
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);

    data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
    unit_apply(state, &data, (char *[]) { "count", NULL });
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
}


static void
test_a_term_that_is_missing_or_unknown_decides(void **state)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_arg_t    args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_data_t   data;

    static char  *names[] = {
        "zip", "prefix", "suffix", "multiply", "divide", "scale", "round"
    };

    ngx_memzero(args, sizeof(args));

    for (i = 0; i < sizeof(names) / sizeof(char *); i++) {

        args[0].data.type = NGX_HTTP_KLAVIYO_MISSING;
        unit_data(state, &data, "1");
        ngx_http_klaviyo_filter_run(*state, unit_find(names[i]), &data, args,
                                    1);
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_MISSING);

        args[0].data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
        unit_data(state, &data, "1");
        ngx_http_klaviyo_filter_run(*state, unit_find(names[i]), &data, args,
                                    1);
        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    }

    assert_missing("[{\"id\":1}]", "where", "id", "");
    assert_filter("\"a\"", "\"a\"", "default", "");
    assert_missing("", "default", "");
}


static void
test_scalar_filters_map_over_arrays(void **state)
{
    assert_filter("[\"a\",\"b\"]", "[\"A\",\"B\"]", "lower");
    assert_filter("[1,2]", "[\"1\",\"x\",null,\"2\",{},\"\"]", "number");
    assert_filter("[[1],[],[2,3]]", "[[\"1\"],[\"x\"],[2,\"3\"]]", "integer");
    assert_filter("[]", "[]", "trim");
    assert_filter("[]", "[null,{\"a\":1}]", "upper");
    assert_filter("[\"p1\",\"ptrue\"]", "[1,true]", "prefix", "\"p\"");
    assert_filter("[[\"a\",\"b\"],[\"c\"]]", "[\"a,b\",\"c\"]", "split", ",");
    assert_filter("[{\"a\":\"1\"}]", "[\"a=1\"]", "form");
    assert_filter("[0.1,0.2]", "[10,20]", "scale", "2");
}


static void
test_scalar_filters_of_an_object_give_missing(void **state)
{
    assert_missing("{\"a\":1}", "lower");
    assert_missing("{\"a\":1}", "number");
    assert_missing("{\"a\":1}", "string");
    assert_missing("{\"a\":1}", "sha256");
    assert_missing("{\"a\":1}", "urldecode");
    assert_missing("{\"a\":1}", "kv");
    assert_missing("{\"a\":1}", "jwt");
    assert_missing("{\"a\":1}", "date");
    assert_missing("{\"a\":1}", "multiply", "2");
}


static void
test_arrays_in_arrays_are_mapped_down_to_a_limit(void **state)
{
    assert_filter("[[[[[[[[[[\"a\"]]]]]]]]]]", "[[[[[[[[[[\"A\"]]]]]]]]]]",
                  "lower");
    assert_filter("unknown", "[[[[[[[[[[[\"A\"]]]]]]]]]]]", "lower");
}


static void
test_a_source_is_not_changed(void **state)
{
    ngx_http_klaviyo_data_t  data, copy;

    unit_data(state, &data, "[\"A\",[\"B\"]]");

    copy = data;
    unit_apply(state, &copy, (char *[]) { "lower", NULL });

    assert_text(unit_result(state, &copy), "[\"a\",[\"b\"]]");
    assert_text(unit_result(state, &data), "[\"A\",[\"B\"]]");
}


static void
test_urldecode_and_formdecode(void **state)
{
    assert_filter("\"a b+c\"", "\"a%20b+c\"", "urldecode");
    assert_filter("\"a b c\"", "\"a%20b+c\"", "formdecode");
    assert_filter("\"100%\"", "\"100%\"", "urldecode");
    assert_filter("\"12\"", "12", "urldecode");
}


static void
test_base64_of_either_alphabet(void **state)
{
    assert_filter("\"gid://shopify/Product/1\"",
                  "\"Z2lkOi8vc2hvcGlmeS9Qcm9kdWN0LzE=\"", "base64");
    assert_filter("\"gid://shopify/Product/1\"",
                  "\"Z2lkOi8vc2hvcGlmeS9Qcm9kdWN0LzE\"", "base64url");
    assert_filter("\"a?>?\"", "\"YT8-Pw\"", "base64");
    assert_missing("\"%%%\"", "base64");
}


static void
test_json_parses_texts_and_lets_trees_pass(void **state)
{
    assert_filter("{\"a\":[1]}", "\"{\\\"a\\\":[1]}\"", "json");
    assert_filter("1", "\"{\\\"a\\\":[1]}\"", "json", "a[0]");
    assert_filter("[1]", "{\"a\":[1]}", "json", "a");
    assert_filter("{\"a\":[1]}", "{\"a\":[1]}", "json");
    assert_filter("[1]", "[\"1\"]", "json");
    assert_filter("[1,2]", "[\"{\\\"a\\\":1}\",{\"a\":2},\"{\"]", "json",
                  "a");
    assert_filter("38", "38", "json");
    assert_filter("38", "\"38\"", "json");
    assert_missing("\"null\"", "json");
    assert_missing("\"{a\"", "json");
    assert_missing("\"\"", "json");
    assert_missing("\"{}\"", "json", "a");
    assert_filter("[1,2]", "\"[{\\\"a\\\":1},{\\\"a\\\":2}]\"", "json",
                  "[*].a");
}


static void
test_jwt_gives_the_payload(void **state)
{
    assert_filter("{\"sub\":\"1\"}", "\"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."
                  "x\"", "jwt");
    assert_filter("\"1\"", "\"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.x\"", "jwt",
                  "sub");
    assert_missing("\"eyJzdWIiOiIxIn0\"", "jwt");
    assert_missing("\"a.b.c\"", "jwt");
}


static void
test_form_and_kv_give_objects(void **state)
{
    assert_filter("{\"a\":\"1\",\"b\":{\"c\":\"x y\"}}",
                  "\"a=1&b[c]=x+y&a=2\"", "form");
    assert_filter("{\"a\":\"1\",\"b\":\"2\"}", "\"a:1,b:2,a:3\"", "kv");
    assert_filter("{\"a\":\"1\",\"b\":\"2\"}", "\"a=1|b=2\"", "kv", "\\x7c",
                  "=");
    assert_filter("{\"a\":\"1:2\"}", "\"a::1:2\"", "kv", ",", "::");
}


static void
test_unescape_decodes_entities(void **state)
{
    assert_filter("\"a & b <c>\"", "\"a &amp; b &lt;c&#62;\"", "unescape");
    assert_filter("\"&nothing;\"", "\"&nothing;\"", "unescape");
}


static void
test_first_last_and_at(void **state)
{
    assert_filter("1", "[1,2,3]", "first");
    assert_filter("3", "[1,2,3]", "last");
    assert_filter("2", "[1,2,3]", "at", "1");
    assert_filter("3", "[1,2,3]", "at", "-1");
    assert_filter("1", "[1,2,3]", "at", "-3");
    assert_missing("[1,2,3]", "at", "3");
    assert_missing("[1,2,3]", "at", "-4");
    assert_missing("[1,2,3]", "at", "-9223372036854775807");
    assert_missing("[1,2,3]", "at", "9223372036854775807");
    assert_missing("[]", "first");
    assert_missing("[]", "last");
    assert_missing("[null]", "first");
    assert_filter("{\"a\":1}", "[{\"a\":1}]", "first");

    /* what is no array is one of one */

    assert_filter("\"x\"", "\"x\"", "first");
    assert_filter("{\"a\":1}", "{\"a\":1}", "last");
    assert_filter("5", "5", "at", "-1");
    assert_missing("5", "at", "1");
}


static void
test_keys_and_pick_look_into_objects(void **state)
{
    assert_filter("[\"b\",\"a\"]", "{\"b\":1,\"a\":null}", "keys");
    assert_filter("[]", "{}", "keys");
    assert_missing("[1]", "keys");
    assert_missing("\"a\"", "keys");

    assert_filter("[1,[3]]", "{\"id-b\":1,\"x\":2,\"id-a\":[3],\"id-n\":null}",
                  "pick", "id-*");
    assert_filter("[1]", "{\"a/b.c\":1}", "pick", "a*c");
    assert_filter("[1,2]", "{\"a|b\":1,\"a|c\":2,\"ab\":3}", "pick",
                  "a\\x7c\\x2a");
    assert_filter("[]", "{\"a\":1}", "pick", "b");
    assert_missing("[1]", "pick", "*");
    assert_missing("\"a\"", "pick", "*");
}


static void
test_where_keeps_the_elements_that_fit(void **state)
{
    assert_filter("[{\"id\":38,\"q\":1},{\"id\":\"38\"}]",
                  "[{\"id\":38,\"q\":1},{\"id\":39},{\"id\":\"38\"},{}]",
                  "where", "id", "\"38\"");
    assert_filter("[{\"id\":38},{\"id\":\"38\"}]",
                  "[{\"id\":38},{\"id\":\"38\"}]", "where", "id", "38");
    assert_filter("[{\"id\":38}]", "[{\"id\":38},{\"id\":\"038\"}]", "where",
                  "id", "\"38.0\"");
    assert_filter("[{\"id\":\"38.0\"}]", "[{\"id\":\"38.0\"}]", "where", "id",
                  "38");
    assert_filter("[]", "[{\"id\":\"038\"}]", "where", "id", "\"38\"");
    assert_filter("[{\"a\":{\"b\":true}}]", "[{\"a\":{\"b\":true}}]", "where",
                  "a.b", "\"true\"");
    assert_filter("[\"x\",\"x\"]", "[\"x\",\"y\",null,\"x\"]", "where", "",
                  "\"x\"");
    assert_filter("[]", "[]", "where", "id", "1");
    assert_filter("[]", "[{\"id\":{}}]", "where", "id", "1");
    assert_filter("[]", "[{\"id\":1}]", "where", "id", "{}");

    assert_filter("[{\"id\":1}]", "{\"id\":1}", "where", "id", "1");
    assert_filter("[]", "{\"id\":1}", "where", "id", "2");
}


static void
test_unique_keeps_the_first_of_equal_elements(void **state)
{
    assert_filter("[1,\"1\",2]", "[1,\"1\",1,2,null,2]", "unique");
    assert_filter("[{\"a\":1,\"b\":[2]}]",
                  "[{\"a\":1,\"b\":[2]},{\"b\":[2],\"a\":1}]", "unique");
    assert_filter("[true,\"true\",[]]", "[true,\"true\",[],true,[]]",
                  "unique");
    assert_filter("[\"\",\"a\"]", "[\"\",\"a\",\"\"]", "unique");
    assert_filter("[\"x\"]", "\"x\"", "unique");
    assert_filter("[]", "[]", "unique");
}


static void
test_entries_are_names_beside_values(void **state)
{
    assert_filter("[[\"b\",1],[\"a\",null]]", "{\"b\":1,\"a\":null}",
                  "entries");
    assert_filter("[[0,\"x\"],[1,null],[2,[3]]]", "[\"x\",null,[3]]",
                  "entries");
    assert_filter("[[0,\"x\"]]", "\"x\"", "entries");
    assert_filter("[]", "{}", "entries");
    assert_filter("[]", "[]", "entries");

    assert_filter("[[\"17\",\"2\"],[\"18\",\"3\"]]",
                  "{\"q_17\":\"2\",\"q_new\":\"9\",\"q_18\":\"3\"}", "entries",
                  "^q_(\\d+)$");
    assert_filter("[[\"1\",\"y\"]]", "[\"x\",\"y\"]", "entries", "1");
}


static void
test_concat_takes_what_there_is(void **state)
{
    assert_filter("[1,2,\"a\"]", "[1,2]", "concat", "\"a\"");
    assert_filter("[\"a\",[1]]", "\"a\"", "concat", "[[1]]");
    assert_filter("[1]", "", "concat", "[1]");
    assert_filter("[1]", "[1]", "concat", "");
    assert_filter("7", "7", "concat", "");
    assert_filter("[null,null]", "[null]", "concat", "[null]");
}


static void
test_numbers_are_rounded(void **state)
{
    assert_filter("23.79", "23.7881", "round", "2");
    assert_filter("3.33", "3.3333333333333335", "round", "2");
    assert_filter("1.01", "\"1.005\"", "round", "2");
    assert_filter("-1.01", "-1.005", "round", "2");
    assert_filter("1", "0.5", "round", "0");
    assert_filter("0", "0.49999999999999", "round", "0");
    assert_filter("0", "-0.4", "round", "0");
    assert_filter("100", "99.995", "round", "2");
    assert_filter("12", "12", "round", "2");
    assert_filter("0", "1e-40", "round", "2");
    assert_filter("1.2e21", "1.2e21", "round", "2");
    assert_filter("[1.2,3.5]", "[1.2345,\"3.45\"]", "round", "1");
    assert_missing("1", "round", "-1");
    assert_missing("\"x\"", "round", "1");
    assert_missing("1", "round", "\"x\"");
}


static void
test_zip_makes_pairs(void **state)
{
    assert_filter("[[1,\"a\"],[2,\"b\"]]", "[1,2,3]", "zip",
                  "[\"a\",\"b\"]");
    assert_filter("[[null,1],[2,null]]", "[null,2]", "zip", "[1,null]");
    assert_filter("[[\"x\",\"y\"]]", "\"x\"", "zip", "\"y\"");
    assert_filter("[]", "[]", "zip", "[1]");
    assert_filter("[[[1],{\"a\":1}]]", "[[1]]", "zip", "[{\"a\":1}]");
}


static void
test_default_replaces_what_would_not_be_sent(void **state)
{
    assert_filter("0", "0", "default", "1");
    assert_filter("false", "false", "default", "1");
    assert_filter("[0]", "[0]", "default", "1");
    assert_filter("1", "\"\"", "default", "1");
    assert_filter("1", "[]", "default", "1");
    assert_filter("1", "{}", "default", "1");
    assert_filter("[1]", "", "default", "[1]");
}


static void
test_trim_lower_and_upper(void **state)
{
    assert_filter("\"a b\"", "\" \\t\\r\\na b \\n\"", "trim");
    assert_filter("\"\"", "\"  \"", "trim");
    assert_filter("\"aB\xc3\x89z\"", "\"aB\xc3\x89z\"", "trim");
    assert_filter("\"ab\xc3\x89z\"", "\"aB\xc3\x89Z\"", "lower");
    assert_filter("\"AB\xc3\xa9Z\"", "\"aB\xc3\xa9z\"", "upper");
    assert_filter("\"true\"", "true", "lower");
    assert_filter("\"1.5\"", "1.5", "upper");
    assert_filter("\"\"", "\"\"", "lower");
}


static void
test_regex_gives_the_first_group_or_the_match(void **state)
{
    assert_filter("\"12\"", "\"id=12;\"", "regex", "id=(\\d+)");
    assert_filter("\"id=12\"", "\"id=12;\"", "regex", "id=\\d+");
    assert_filter("\"12\"", "\"id=12;\"", "regex", "(?:id=)(\\d+)(;)");
    assert_missing("\"x\"", "regex", "id=(\\d+)");
    assert_missing("\"b\"", "regex", "(a)|b");
    assert_filter("\"\"", "\"b\"", "regex", "(a*)b");
    assert_filter("\"\xc3\xa9\"", "\"a\xc3\xa9\"", "regex", "a(.)");
    assert_filter("\"8\"", "38", "regex", ".$");
    assert_filter("[\"1\"]", "[\"a1\",\"b\"]", "regex", "\\d");
    assert_filter("unknown", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"",
                  "regex", "^(a+)+$");
    assert_filter("unknown",
                  "[\"a\",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"]",
                  "regex", "^(a+)+$");
}


static void
test_split_cuts_at_the_separator(void **state)
{
    assert_filter("[\"a\",\"b\",\"\",\"c\"]", "\"a,b,,c\"", "split", ",");
    assert_filter("[\"a\"]", "\"a\"", "split", ",");
    assert_filter("[\"\",\"\"]", "\",\"", "split", ",");
    assert_filter("[\"a\",\"b\"]", "\"a--b\"", "split", "--");
    assert_filter("[\"a\",\"b\"]", "\"a|b\"", "split", "\\x7c");
    assert_filter("[\"3\",\"8\"]", "3.8", "split", ".");

    assert_filter("\"a\"", "\"a,b,c\"", "split", ",", "0");
    assert_filter("\"c\"", "\"a,b,c\"", "split", ",", "2");
    assert_missing("\"a,b,c\"", "split", ",", "3");
    assert_filter("\"c\"", "\"a,b,c\"", "split", ",", "-1");
    assert_filter("\"a\"", "\"a,b,c\"", "split", ",", "-3");
    assert_missing("\"a,b,c\"", "split", ",", "-4");
    assert_missing("\"a,b,c\"", "split", ",", "-5");
    assert_missing("\"a,b,c\"", "split", ",", "9223372036854775807");
    assert_filter("[\"a\",\"c\"]", "[\"a,b\",\"c\"]", "split", ",", "0");
}


static void
test_join_skips_trees_and_null(void **state)
{
    assert_filter("\"a, 1, true\"", "[\"a\",null,1,[2],{\"a\":3},true]",
                  "join", ", ");
    assert_filter("\"a\"", "[\"a\"]", "join", ",");
    assert_filter("\"a,\"", "[\"a\",\"\"]", "join", ",");
    assert_filter("\"a\"", "\"a\"", "join", ",");
    assert_filter("\"1299.50\"", "[\"1\",\"299.50\"]", "join", "");
    assert_filter("\"\"", "[\"\",\"\"]", "join", "");
    assert_missing("[]", "join", ",");
    assert_missing("[[1],null]", "join", ",");
    assert_missing("{\"a\":1}", "join", ",");
}


static void
test_prefix_and_suffix(void **state)
{
    assert_filter("\"order-7\"", "7", "prefix", "\"order-\"");
    assert_filter("\"7-a\"", "\"7\"", "suffix", "\"-a\"");
    assert_filter("\"7\"", "\"7\"", "suffix", "\"\"");
    assert_missing("\"7\"", "prefix", "[1]");
    assert_missing("\"7\"", "suffix", "{}");
    assert_filter("[\"x1\",\"x2\"]", "[1,2]", "prefix", "\"x\"");
}


static void
test_gid_is_what_follows_the_last_slash(void **state)
{
    assert_filter("\"42\"", "\"gid://shopify/ProductVariant/42\"", "gid");
    assert_filter("\"abc\"", "\"gid://shopify/Cart/abc?key=d/e\"", "gid");
    assert_filter("\"42\"", "\"42\"", "gid");
    assert_filter("\"42\"", "\"42?x\"", "gid");
    assert_filter("\"42\"", "42", "gid");
    assert_missing("\"gid://shopify/Cart/\"", "gid");
    assert_missing("\"?a\"", "gid");
    assert_missing("\"\"", "gid");
}


static void
test_sha256_is_lower_case_hex(void **state)
{
    assert_filter("\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
                  "f20015ad\"", "\"abc\"", "sha256");
    assert_filter("\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b"
                  "7852b855\"", "\"\"", "sha256");
}


static void
test_e164_needs_a_country(void **state)
{
    assert_filter("\"+40712345678\"", "\"0712 345 678\"", "e164", "RO");
    assert_filter("\"+40712345678\"", "712345678", "e164", "ro");
    assert_missing("\"12\"", "e164", "RO");
    assert_missing("true", "e164", "RO");
    assert_filter("[\"+40712345678\"]", "[\"0712345678\",\"x\"]", "e164",
                  "RO");
}


static void
test_number_takes_the_whole_text(void **state)
{
    assert_filter("19.9", "\"19.90\"", "number");
    assert_filter("-5", "\"-5\"", "number");
    assert_filter("1200", "\"1.2e3\"", "number");
    assert_filter("38", "38", "number");
    assert_filter("9007199254740993", "\"9007199254740993\"", "number");
    assert_missing("\"1,200.50\"", "number");
    assert_missing("\" 1\"", "number");
    assert_missing("\"1 \"", "number");
    assert_missing("\"19.90 EUR\"", "number");
    assert_missing("\"\"", "number");
    assert_missing("\"0x10\"", "number");
    assert_missing("\"NaN\"", "number");
    assert_missing("\"Infinity\"", "number");
    assert_missing("\"1e999\"", "number");
    assert_missing("\"2e308\"", "number");
    assert_missing("\"1e99999999999999999999\"", "number");
    assert_missing("true", "number");
}


static void
test_integer_takes_only_whole_values(void **state)
{
    assert_filter("2", "\"2.0\"", "integer");
    assert_filter("2", "2.0", "integer");
    assert_filter("1000", "\"1e3\"", "integer");
    assert_filter("0", "\"-0\"", "integer");
    assert_filter("0", "\"0.000\"", "integer");
    assert_filter("9223372036854775807", "\"9223372036854775807\"",
                  "integer");
    assert_filter("-9223372036854775808", "\"-9223372036854775808\"",
                  "integer");
    assert_missing("\"9223372036854775808\"", "integer");
    assert_missing("\"-9223372036854775809\"", "integer");
    assert_missing("\"1e19\"", "integer");
    assert_missing("\"99999999999999999999999999999999999999\"", "integer");
    assert_missing("2.5", "integer");
    assert_missing("\"2x\"", "integer");
    assert_missing("\"\"", "integer");
    assert_missing("false", "integer");
}


static void
test_boolean_knows_four_pairs(void **state)
{
    assert_filter("true", "\"true\"", "boolean");
    assert_filter("true", "\"1\"", "boolean");
    assert_filter("true", "\"YES\"", "boolean");
    assert_filter("true", "\"On\"", "boolean");
    assert_filter("true", "1", "boolean");
    assert_filter("true", "true", "boolean");
    assert_filter("false", "\"FALSE\"", "boolean");
    assert_filter("false", "\"0\"", "boolean");
    assert_filter("false", "\"no\"", "boolean");
    assert_filter("false", "\"off\"", "boolean");
    assert_filter("false", "0", "boolean");
    assert_filter("false", "false", "boolean");
    assert_missing("\"\"", "boolean");
    assert_missing("\"t\"", "boolean");
    assert_missing("2", "boolean");
    assert_missing("\"yes \"", "boolean");
    assert_filter("[true,false]", "[\"on\",\"x\",\"off\"]", "boolean");
}


static void
test_string_is_the_shortest_text(void **state)
{
    assert_filter("\"38\"", "38", "string");
    assert_filter("\"19.9\"", "19.90", "string");
    assert_filter("\"0.1\"", "0.1", "string");
    assert_filter("\"true\"", "true", "string");
    assert_filter("\"a\"", "\"a\"", "string");
    assert_filter("[\"1\",\"a\"]", "[1,\"a\"]", "string");
}


static void
test_date_becomes_rfc_3339(void **state)
{
    assert_filter("\"2026-07-23T10:15:30Z\"", "1784801730", "date");
    assert_filter("\"2026-07-23T10:15:30.123Z\"", "\"1784801730123\"", "date");
    assert_filter("\"2026-07-23T08:15:30Z\"", "\"2026-07-23T10:15:30+02:00\"",
                  "date");
    assert_filter("\"2026-07-23T10:15:30Z\"",
                  "\"Thu, 23 Jul 2026 10:15:30 GMT\"", "date");
    assert_missing("\"today\"", "date");
    assert_missing("true", "date");
    assert_filter("[\"2026-07-23T00:00:00Z\"]", "[\"2026-07-23\",\"x\"]",
                  "date");
}


static void
test_count(void **state)
{
    assert_filter("3", "[1,null,3]", "count");
    assert_filter("0", "[]", "count");
    assert_filter("2", "{\"a\":1,\"b\":2}", "count");
    assert_filter("0", "{}", "count");
    assert_filter("1", "\"a\"", "count");
    assert_filter("1", "false", "count");
}


static void
test_sum_is_exact_or_missing(void **state)
{
    assert_filter("0.3", "[0.1,0.2]", "sum");
    assert_filter("60.3", "[\"19.90\",20.2,\"20.2\"]", "sum");
    assert_filter("3", "[1,null,2]", "sum");
    assert_filter("5", "5", "sum");
    assert_filter("5.5", "\"5.50\"", "sum");
    assert_filter("0", "[1,-1]", "sum");
    assert_missing("[]", "sum");
    assert_missing("[null]", "sum");
    assert_missing("[1,\"x\",2]", "sum");
    assert_missing("[1,true]", "sum");
    assert_missing("[1,[2]]", "sum");
    assert_missing("{\"a\":1}", "sum");
    assert_missing("[1,\"\"]", "sum");
    assert_missing("[\"1e300\",1]", "sum");
}


static void
test_min_and_max(void **state)
{
    assert_filter("-2", "[3,-2,\"10\"]", "min");
    assert_filter("10", "[3,-2,\"10\"]", "max");
    assert_filter("9.5", "[\"9.50\",10]", "min");
    assert_filter("7", "7", "max");
    assert_filter("1", "[null,1]", "min");
    assert_missing("[]", "min");
    assert_missing("[null]", "max");
    assert_missing("[1,\"x\"]", "max");
    assert_missing("[\"x\",1]", "min");
}


static void
test_multiply_divide_and_scale(void **state)
{
    assert_filter("59.7", "19.9", "multiply", "3");
    assert_filter("59.7", "\"19.90\"", "multiply", "\"3\"");
    assert_filter("[2,4]", "[1,2]", "multiply", "2");
    assert_missing("\"x\"", "multiply", "2");
    assert_missing("2", "multiply", "\"x\"");
    assert_missing("2", "multiply", "[2]");
    assert_missing("true", "multiply", "2");
    assert_missing("\"1e200\"", "multiply", "\"1e200\"");

    assert_filter("2.5", "5", "divide", "2");
    assert_filter("0.3333333333333333333333333333", "1", "divide", "3");
    assert_missing("5", "divide", "0");
    assert_missing("5", "divide", "\"0.00\"");

    assert_filter("19.9", "1990", "scale", "2");
    assert_filter("199000", "1990", "scale", "-2");
    assert_filter("19.9", "\"1990\"", "scale", "\"2.0\"");
    assert_filter("1990", "1990", "scale", "0");
    assert_missing("1990", "scale", "1.5");
    assert_missing("1990", "scale", "31");
    assert_missing("1990", "scale", "-31");
    assert_missing("1990", "scale", "\"x\"");
    assert_filter("1", "\"1000000000000000000000000000000\"", "scale", "30");
}


/* with any number of bytes left: unknown, or the right result */

static void
test_an_exhausted_arena_makes_a_result_unknown(void **state)
{
    ngx_str_t                  *expected;
    ngx_uint_t                  i, n, left;
    ngx_http_klaviyo_arg_t      args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_data_t     data;
    ngx_http_klaviyo_arena_t   *arena;
    ngx_http_klaviyo_filter_t  *filter;

    static char  *words[][5] = {
        { "[\"A\",\"B\"]", "lower" },
        { "\"A\"", "upper" },
        { "\"a,b\"", "split", "," },
        { "[\"a\",\"b\"]", "join", "," },
        { "\"a\"", "prefix", "\"b\"" },
        { "\"a\"", "sha256" },
        { "\"0712345678\"", "e164", "RO" },
        { "\"1\"", "number" },
        { "\"1\"", "integer" },
        { "\"2026-07-23\"", "date" },
        { "[1]", "count" },
        { "[1,2]", "sum" },
        { "1", "multiply", "2" },
        { "{\"a\":1}", "keys" },
        { "{\"a\":1}", "pick", "*" },
        { "[1,2]", "unique" },
        { "[1,2]", "zip", "[3,4]" },
        { "[1,2]", "concat", "[3,4]" },
        { "{\"a\":1}", "entries" },
        { "[1,2]", "entries", "1" },
        { "1.25", "round", "1" },
        { "[{\"a\":1}]", "where", "a", "1" },
        { "[1,2]", "last" },
        { "\"a%20b\"", "urldecode" },
        { "\"YQ==\"", "base64" },
        { "\"a=1\"", "form" },
        { "\"a:1\"", "kv" },
        { "\"[1]\"", "json" }
    };

    arena = *state;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        expected = unit_run_filter(state, words[i]);

        filter = unit_find(words[i][1]);
        n = unit_compile(state, filter, &words[i][2], args);

        for (left = 0; left < 3000; left += 7) {
            unit_data(state, &data, words[i][0]);

            arena->left = left;
            ngx_http_klaviyo_filter_run(arena, filter, &data, args, n);
            arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;

            if (left == 0) {
                assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
            }

            if (data.type != NGX_HTTP_KLAVIYO_UNKNOWN) {
                unit_assert_text(unit_result(state, &data), expected,
                                 words[i][1], left);
            }
        }

        assert_int_not_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    }
}


static void
test_a_huge_array_is_bounded(void **state)
{
    char                      *numbers, *texts;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    numbers = unit_repeat(state, "[", "7", "]", 20000);
    texts = unit_repeat(state, "\"", "a", "\"", 100000);

    assert_filter("20000", numbers, "count");

    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
    assert_filter("[7]", numbers, "unique");

    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
    assert_filter("140000", numbers, "sum");

    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
    assert_filter("unknown", texts, "split", ",");

    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
    assert_filter("\"a\"", texts, "split", ",", "-1");
}


static void
test_unique_does_not_grow_with_the_square(void **state)
{
    u_char                    *p, *json;
    ngx_uint_t                 i, n;
    ngx_http_klaviyo_arg_t     args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    n = 12000;

    json = ngx_palloc(arena->pool, n * 8 + 2);
    assert_non_null(json);

    p = json;

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, "%c%ui", i ? ',' : '[', i % (n / 2));
    }

    ngx_sprintf(p, "]%Z");

    unit_data(state, &data, (char *) json);

    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
    ngx_http_klaviyo_filter_run(arena, unit_find("unique"), &data, args, 0);

    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_TREE);
    assert_int_equal(json_array_size(data.json), n / 2);
}


static void
test_invalid_utf_8_and_nul_are_survived(void **state)
{
    ngx_uint_t               i;
    ngx_http_klaviyo_data_t  data;

    static char  *names[] = {
        "urldecode", "formdecode", "base64", "json", "jwt", "form", "kv",
        "unescape", "first", "unique", "trim", "lower", "upper", "gid",
        "sha256", "number", "integer", "boolean", "string", "date", "count",
        "sum"
    };

    for (i = 0; i < sizeof(names) / sizeof(char *); i++) {
        ngx_http_klaviyo_data_set_string(&data, "\xff\0\xc3=\xed\xa0\x80",
                                         7);
        unit_apply(state, &data, (char *[]) { names[i], NULL });
        (void) unit_result(state, &data);

        ngx_http_klaviyo_data_set_string(&data, NULL, 0);
        unit_apply(state, &data, (char *[]) { names[i], NULL });
    }

    ngx_http_klaviyo_data_set_string(&data, "\xff,\xc3", 3);
    unit_apply(state, &data, (char *[]) { "split", ",", NULL });
    assert_text(unit_result(state, &data),
                "[\"\xef\xbf\xbd\",\"\xef\xbf\xbd\"]");

    ngx_http_klaviyo_data_set_string(&data, "a\0b", 3);
    unit_apply(state, &data, (char *[]) { "split", "b", "0", NULL });
    assert_int_equal(data.text.len, 2);

    ngx_http_klaviyo_data_set_string(&data, "\xffid=1", 5);
    unit_apply(state, &data, (char *[]) { "regex", "id=(.)", NULL });
    assert_text(unit_result(state, &data), "\"1\"");
}


static void
test_constant_arguments_are_compiled(void **state)
{
    ngx_str_t                  buf, *err, *word;
    ngx_http_klaviyo_arg_t     arg;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    err = &buf;

    assert_arg(INDEX, "0");
    assert_int_equal(arg.n, 0);
    assert_arg(INDEX, "-12");
    assert_int_equal(arg.n, -12);

    assert_arg(SEP, "\\x7c\\x7C");
    assert_text(&arg.text, "||");
    assert_arg(SEP, "\\t\\\\");
    assert_text(&arg.text, "\\t\\\\");
    assert_arg(GLUE, "");
    assert_text(&arg.text, "");

    assert_arg(PATH, "");
    assert_non_null(arg.path);
    assert_arg(PATTERN, "(a)(b)");
    assert_non_null(arg.regex);
    assert_arg(GLOB, "*");

    /* the word itself stays as it was written */

    word = unit_fill(arena->pool, 0, 4);
    ngx_memcpy(word->data, "\\x7c", 4);

    assert_int_equal(ngx_http_klaviyo_filter_arg(arena->pool,
                                                 NGX_HTTP_KLAVIYO_ARG_SEP,
                                                 word, &arg, err),
                     NGX_OK);
    assert_text(word, "\\x7c");
    assert_arg(COUNTRY, "de");
    assert_non_null(arg.country);
}


static void
test_wrong_arguments_are_named(void **state)
{
    ngx_str_t               buf, *err;
    ngx_http_klaviyo_arg_t  arg;

    err = &buf;

    assert_arg_error(INDEX, "x", "invalid index \"x\"");
    assert_arg_error(INDEX, "", "invalid index \"\"");
    assert_arg_error(INDEX, "-", "invalid index \"-\"");
    assert_arg_error(INDEX, "+1", "invalid index \"+1\"");
    assert_arg_error(INDEX, "1.5", "invalid index \"1.5\"");
    assert_arg_error(INDEX, "--1", "invalid index \"--1\"");
    assert_arg_error(INDEX, "9223372036854775808",
                     "invalid index \"9223372036854775808\"");
    assert_arg_error(COUNTRY, "XX", "unknown country \"XX\"");
    assert_arg_error(COUNTRY, "ROU", "unknown country \"ROU\"");
    assert_arg_error(SEP, "", "empty argument \"\"");
    assert_arg_error(SEP, "\\x7", "invalid \\x escape in \"\\x7\"");
    assert_arg_error(SEP, "\\xg0", "invalid \\x escape in \"\\xg0\"");
    assert_arg_error(GLOB, "a\\x", "invalid \\x escape in \"a\\x\"");
    assert_arg_error(PATTERN, "(a", "missing closing parenthesis in \"(a\"");
    assert_arg_error(PATTERN, "a**b", "quantifier does not follow a repeatable"
                                      " item at \"*b\" in \"a**b\"");
    assert_arg_error(TERM, "a", "unexpected argument \"a\"");
    assert_arg_error(NONE, "a", "unexpected argument \"a\"");

    assert_int_equal(unit_arg(state, NGX_HTTP_KLAVIYO_ARG_PATH, "a[", &arg,
                              err),
                     NGX_DECLINED);
    assert_true(err->len > 0 && err->len <= 128);

    /* a word that is longer than the message may be */

    assert_int_equal(unit_arg(state, NGX_HTTP_KLAVIYO_ARG_INDEX,
                              unit_repeat(state, "", "x", "", 200), &arg, err),
                     NGX_DECLINED);
    assert_int_equal(err->len, 128);
}


static void
test_hex_escapes_are_decoded_in_place(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_fill(arena->pool, 0, 14);
    ngx_memcpy(text->data, "a\\x00\\\\x41\\.b", 13);
    text->len = 13;

    assert_int_equal(ngx_http_klaviyo_unescape_hex(text), NGX_OK);
    assert_text(text, "a\0\\A\\.b");

    ngx_memcpy(text->data, "ab\\", 3);
    text->len = 3;

    assert_int_equal(ngx_http_klaviyo_unescape_hex(text), NGX_OK);
    assert_text(text, "ab\\");

    ngx_memcpy(text->data, "ab\\x", 4);
    text->len = 4;

    assert_int_equal(ngx_http_klaviyo_unescape_hex(text), NGX_DECLINED);

    text->len = 0;

    assert_int_equal(ngx_http_klaviyo_unescape_hex(text), NGX_OK);
}


static void
unit_assert_near(char *name, char *expected)
{
    ngx_str_t                   text;
    ngx_http_klaviyo_filter_t  *filter;

    text.data = (u_char *) name;
    text.len = ngx_strlen(name);

    filter = ngx_http_klaviyo_filter_near(&text);

    if (expected == NULL) {
        assert_null(filter);
        return;
    }

    assert_non_null(filter);
    assert_int_equal(filter->name.len, ngx_strlen(expected));
    assert_memory_equal(filter->name.data, expected, filter->name.len);
}


static void
test_the_nearest_filter_is_found(void **state)
{
    unit_assert_near("nubmer", "number");
    unit_assert_near("intger", "integer");
    unit_assert_near("Lower", "lower");
    unit_assert_near("sha-256", "sha256");
    unit_assert_near("url_decode", "urldecode");
    unit_assert_near("number", "number");
    unit_assert_near("recal", "recall");
    unit_assert_near("", NULL);
    unit_assert_near("x", NULL);
    unit_assert_near("qqqqqqqqqqqqqqqq", NULL);
    unit_assert_near("numbernumbernumbernumbernumbernumber", NULL);
}


static void
test_a_filter_is_found_by_its_whole_name(void **state)
{
    assert_null(ngx_http_klaviyo_filter_find(unit_str("numbe")));
    assert_null(ngx_http_klaviyo_filter_find(unit_str("numbers")));
    assert_null(ngx_http_klaviyo_filter_find(unit_str("Number")));
    assert_null(ngx_http_klaviyo_filter_find(unit_str("")));

    assert_int_equal(unit_find("split")->mandatory, 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_missing_stays_missing_but_for_default_and_count),
        unit_arena_test(test_a_term_that_is_missing_or_unknown_decides),
        unit_arena_test(test_scalar_filters_map_over_arrays),
        unit_arena_test(test_scalar_filters_of_an_object_give_missing),
        unit_arena_test(test_arrays_in_arrays_are_mapped_down_to_a_limit),
        unit_arena_test(test_a_source_is_not_changed),
        unit_arena_test(test_urldecode_and_formdecode),
        unit_arena_test(test_base64_of_either_alphabet),
        unit_arena_test(test_json_parses_texts_and_lets_trees_pass),
        unit_arena_test(test_jwt_gives_the_payload),
        unit_arena_test(test_form_and_kv_give_objects),
        unit_arena_test(test_unescape_decodes_entities),
        unit_arena_test(test_first_last_and_at),
        unit_arena_test(test_keys_and_pick_look_into_objects),
        unit_arena_test(test_where_keeps_the_elements_that_fit),
        unit_arena_test(test_unique_keeps_the_first_of_equal_elements),
        unit_arena_test(test_entries_are_names_beside_values),
        unit_arena_test(test_concat_takes_what_there_is),
        unit_arena_test(test_numbers_are_rounded),
        unit_arena_test(test_zip_makes_pairs),
        unit_arena_test(test_default_replaces_what_would_not_be_sent),
        unit_arena_test(test_trim_lower_and_upper),
        unit_arena_test(test_regex_gives_the_first_group_or_the_match),
        unit_arena_test(test_split_cuts_at_the_separator),
        unit_arena_test(test_join_skips_trees_and_null),
        unit_arena_test(test_prefix_and_suffix),
        unit_arena_test(test_gid_is_what_follows_the_last_slash),
        unit_arena_test(test_sha256_is_lower_case_hex),
        unit_arena_test(test_e164_needs_a_country),
        unit_arena_test(test_number_takes_the_whole_text),
        unit_arena_test(test_integer_takes_only_whole_values),
        unit_arena_test(test_boolean_knows_four_pairs),
        unit_arena_test(test_string_is_the_shortest_text),
        unit_arena_test(test_date_becomes_rfc_3339),
        unit_arena_test(test_count),
        unit_arena_test(test_sum_is_exact_or_missing),
        unit_arena_test(test_min_and_max),
        unit_arena_test(test_multiply_divide_and_scale),
        unit_arena_test(test_an_exhausted_arena_makes_a_result_unknown),
        unit_arena_test(test_a_huge_array_is_bounded),
        unit_arena_test(test_unique_does_not_grow_with_the_square),
        unit_arena_test(test_invalid_utf_8_and_nul_are_survived),
        unit_arena_test(test_constant_arguments_are_compiled),
        unit_arena_test(test_wrong_arguments_are_named),
        unit_arena_test(test_hex_escapes_are_decoded_in_place),
        unit_arena_test(test_the_nearest_filter_is_found),
        unit_arena_test(test_a_filter_is_found_by_its_whole_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
