
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * URLs: what identifies the visitor goes, all else stays as it was.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_url.h"


#define assert_visible(uri, expected)                                         \
    unit_assert_text(unit_visible(state, unit_str(uri)), unit_str(expected),  \
                     __FILE__, __LINE__)

#define assert_scrubbed(url, expected)                                        \
    unit_assert_text(unit_scrub(state, unit_str(url)), unit_str(expected),    \
                     __FILE__, __LINE__)


/* the input is copied, so that no byte behind it can be read */

static ngx_str_t *
unit_copy(void **state, ngx_str_t *src)
{
    ngx_str_t                 *str;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, src->len);
    ngx_memcpy(str->data, src->data, src->len);

    return str;
}


static ngx_str_t *
unit_visible(void **state, ngx_str_t *uri)
{
    ngx_str_t                 *visible;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    visible = ngx_palloc(arena->pool, sizeof(ngx_str_t));
    assert_non_null(visible);

    assert_int_equal(ngx_http_klaviyo_url_visible(arena,
                                                  unit_copy(state, uri),
                                                  visible),
                     NGX_OK);
    return visible;
}


static ngx_str_t *
unit_scrub(void **state, ngx_str_t *url)
{
    ngx_str_t                *str;
    ngx_http_klaviyo_data_t   data;

    str = unit_copy(state, url);

    ngx_http_klaviyo_data_set_string(&data, str->data, str->len);

    assert_int_equal(ngx_http_klaviyo_url_scrub(*state, &data), NGX_OK);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_STRING);

    *str = data.text;

    return str;
}


static json_t *
unit_scrub_tree(void **state, json_t *json)
{
    ngx_http_klaviyo_data_t  data;

    data.type = NGX_HTTP_KLAVIYO_TREE;
    data.json = json;

    assert_int_equal(ngx_http_klaviyo_url_scrub(*state, &data), NGX_OK);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_TREE);

    return data.json;
}


static void
test_a_path_loses_its_twin(void **state)
{
    assert_visible("/p.data", "/p");
    assert_visible("/p.data?v=1", "/p?v=1");
    assert_visible("/p/_.data", "/p/");
    assert_visible("/_root.data", "/");
    assert_visible("/_root.data?index", "/?index");
    assert_visible("/en-us/p/_.data?Color=Sand", "/en-us/p/?Color=Sand");
    assert_visible("/shop/_root.data", "/shop/");
    assert_visible("/_.data", "/");
    assert_visible("/p.data#f", "/p#f");
}


static void
test_a_path_that_is_no_twin_stays(void **state)
{
    assert_visible("/p", "/p");
    assert_visible("/", "/");
    assert_visible("/.data", "/.data");
    assert_visible("/p/.data", "/p/.data");
    assert_visible("/p.data/", "/p.data/");
    assert_visible("/p.DATA", "/p.DATA");
    assert_visible("/pdata", "/pdata");
    assert_visible("/p?q=a.data", "/p?q=a.data");
    assert_visible("/p#a.data", "/p#a.data");
}


static void
test_arguments_of_frameworks_and_visitors_go(void **state)
{
    assert_visible("/p?_rsc=1c5yl", "/p");
    assert_visible("/p?color=black&_rsc=1c5yl", "/p?color=black");
    assert_visible("/p?_rsc=1&color=black", "/p?color=black");
    assert_visible("/p.data?_routes=routes%2Fp&v=1", "/p?v=1");
    assert_visible("/p?a=1&_kx=x.y&b=2&_ke=z&c=3&utm_email=a%40b.co&d",
                   "/p?a=1&b=2&c=3&d");
    assert_visible("/p?_kx", "/p");
    assert_visible("/p?_kx=a.b#f", "/p#f");
}


static void
test_names_are_compared_decoded_and_in_any_case(void **state)
{
    assert_visible("/p?%5fkx=a&v=1", "/p?v=1");
    assert_visible("/p?%5F%6B%78=a&v=1", "/p?v=1");
    assert_visible("/p?_KX=a&_Ke=b&UTM_Email=c&_RSC=d", "/p");
    assert_visible("/p?_%4Bx=a", "/p");

    /* these are other names */

    assert_visible("/p?_k=1&_kxx=1&a_kx=1&_kx%00=1&%255fkx=1&utm_mail=1",
                   "/p?_k=1&_kxx=1&a_kx=1&_kx%00=1&%255fkx=1&utm_mail=1");
    assert_visible("/p?%=1&%5=1&_k%=1&_k%7=1&_k%7", "/p?%=1&%5=1&_k%=1&_k%7=1&"
                                                    "_k%7");
    assert_visible("/p?_kx%3Da=1", "/p?_kx%3Da=1");
}


static void
test_other_arguments_keep_their_order_and_bytes(void **state)
{
    assert_visible("/p?b=%e2%82%AC+1&a=x=y&&_kx=1&b=2&", "/p?b=%e2%82%AC+1&"
                                                         "a=x=y&b=2");
    assert_visible("/p?b=%e2%82%AC+1&a=x=y&&b=2&", "/p?b=%e2%82%AC+1&a=x=y&&"
                                                   "b=2&");
    assert_visible("/p?", "/p?");
    assert_visible("/p?a=1?_kx=2", "/p?a=1?_kx=2");
    assert_visible("/p?a=1;_kx=2", "/p?a=1;_kx=2");
}


static void
test_odd_uris_are_no_trouble(void **state)
{
    assert_visible("", "");
    assert_visible("*", "*");
    assert_visible("?", "?");
    assert_visible("#", "#");
    assert_visible("?#", "?#");
    assert_visible("#?_kx=1", "#?_kx=1");
    assert_visible("?_kx=1", "");
    assert_visible("?_kx=1#", "#");
    assert_visible("&_kx=1", "&_kx=1");
    assert_visible(".data", ".data");
    assert_visible("s.data:443", "s.data:443");
    assert_visible("http://s.data", "http://s.data");
    assert_visible("http://s.dev/p?_kx=1&a", "http://s.dev/p?a");
    assert_visible("/\0.data?\0=1&_kx=\0", "/\0?\0=1");
}


static void
test_bytes_are_shared_when_nothing_goes(void **state)
{
    ngx_str_t                  uri, visible;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = 0;

    ngx_str_set(&uri, "/p?a=1&b=2#c");

    assert_int_equal(ngx_http_klaviyo_url_visible(arena, &uri, &visible),
                     NGX_OK);
    assert_ptr_equal(visible.data, uri.data);
    assert_int_equal(visible.len, uri.len);
}


static void
test_no_room_is_declined(void **state)
{
    ngx_str_t                  uri, visible;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = 4;

    ngx_str_set(&uri, "/p?_kx=1");

    assert_int_equal(ngx_http_klaviyo_url_visible(arena, &uri, &visible),
                     NGX_DECLINED);

    ngx_http_klaviyo_data_set_string(&data, "http://s.dev/?_kx=1", 19);

    assert_int_equal(ngx_http_klaviyo_url_scrub(arena, &data), NGX_DECLINED);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    assert_int_equal(arena->limits, 2);
}


static void
test_urls_lose_what_names_the_visitor(void **state)
{
    assert_scrubbed("https://s.dev/p?_kx=a.b", "https://s.dev/p");
    assert_scrubbed("https://s.dev/p?v=1&_KX=a.b&w=2#f",
                    "https://s.dev/p?v=1&w=2#f");
    assert_scrubbed("HTTP://s.dev?_ke=a", "HTTP://s.dev");
    assert_scrubbed("HTTPS://s.dev?_ke=a", "HTTPS://s.dev");
    assert_scrubbed("https://s.dev/?utm_email=a%40b.co&utm_source=x",
                    "https://s.dev/?utm_source=x");
    assert_scrubbed(" \thttps://s.dev/?_kx=1", " \thttps://s.dev/");
    assert_scrubbed("/p?_kx=1&a=2", "/p?a=2");
    assert_scrubbed("//s.dev/p?_kx=1", "//s.dev/p");
}


static void
test_nothing_else_of_an_url_goes(void **state)
{
    assert_scrubbed("https://s.dev/p.data?_rsc=1&_routes=2",
                    "https://s.dev/p.data?_rsc=1&_routes=2");
    assert_scrubbed("https://s.dev/p#?_kx=1", "https://s.dev/p#?_kx=1");
    assert_scrubbed("https://s.dev/p?a&&b", "https://s.dev/p?a&&b");
}


static void
test_texts_that_are_no_urls_stay(void **state)
{
    assert_scrubbed("", "");
    assert_scrubbed(" ", " ");
    assert_scrubbed("h", "h");
    assert_scrubbed("http", "http");
    assert_scrubbed("https:/", "https:/");
    assert_scrubbed("see https://s.dev/?_kx=1", "see https://s.dev/?_kx=1");
    assert_scrubbed("?_kx=1", "?_kx=1");
    assert_scrubbed("https:?_kx=1", "https:?_kx=1");
    assert_scrubbed("ftp://s.dev/?_kx=1", "ftp://s.dev/?_kx=1");
}


static void
test_scalars_are_left_alone(void **state)
{
    ngx_uint_t               type;
    ngx_http_klaviyo_data_t  data;

    for (type = 0; type <= NGX_HTTP_KLAVIYO_TRUE; type++) {

        if (type == NGX_HTTP_KLAVIYO_STRING) {
            continue;
        }

        data.type = type;

        assert_int_equal(ngx_http_klaviyo_url_scrub(*state, &data), NGX_OK);
        assert_int_equal(data.type, type);
    }
}


static void
test_trees_are_cleaned_at_every_depth(void **state)
{
    json_t     *json, *clean;
    ngx_str_t   text;

    ngx_str_set(&text, "{\"z\":[1,\"https://s.dev/?_kx=1\",{\"u\":"
                       "\"https://s.dev/?a=1&_ke=2\",\"n\":null}],"
                       "\"t\":\"_kx\",\"a\":\"http://s.dev/?utm_email=x\","
                       "\"o\":{\"x\":[\"y\"]},\"last\":true}");

    json = ngx_http_klaviyo_json_parse(*state, &text);
    clean = unit_scrub_tree(state, json);

    assert_ptr_not_equal(clean, json);
    assert_json(clean, "{\"z\":[1,\"https://s.dev/\",{\"u\":"
                       "\"https://s.dev/?a=1\",\"n\":null}],"
                       "\"t\":\"_kx\",\"a\":\"http://s.dev/\","
                       "\"o\":{\"x\":[\"y\"]},\"last\":true}");

    /* the original is somebody's */

    unit_assert_json(json, &text, __FILE__, __LINE__);
}


static void
test_a_clean_tree_is_not_copied(void **state)
{
    json_t                    *json;
    ngx_str_t                  text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    ngx_str_set(&text, "{\"a\":[\"https://s.dev/?b=1\",{\"c\":\"/d\"}]}");

    json = ngx_http_klaviyo_json_parse(arena, &text);
    arena->left = 0;

    assert_ptr_equal(unit_scrub_tree(state, json), json);
}


static void
test_a_tree_without_room_is_unknown(void **state)
{
    size_t                     left;
    json_t                    *json;
    ngx_str_t                  text;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    ngx_str_set(&text, "[{\"a\":[\"https://s.dev/?_kx=1\"]},"
                       "\"https://s.dev/?_kx=2\"]");

    json = ngx_http_klaviyo_json_parse(arena, &text);

    /* every place where the room may end */

    for (left = 0; left < 2000; left++) {

        data.type = NGX_HTTP_KLAVIYO_TREE;
        data.json = json;
        arena->left = left;

        if (ngx_http_klaviyo_url_scrub(arena, &data) == NGX_OK) {
            break;
        }

        assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
    }

    assert_true(left > 0 && left < 2000);
    assert_json(data.json, "[{\"a\":[\"https://s.dev/\"]},\"https://s.dev/\"]");
}


static void
test_any_bytes_give_a_text_that_is_not_longer(void **state)
{
    size_t                     n;
    ngx_str_t                 *str, cut;
    ngx_uint_t                 i, seed;
    ngx_http_klaviyo_arena_t  *arena;

    static u_char  bytes[] = "/?&#=%5fkxKX_e.dat";

    arena = *state;
    seed = 1;

    for (i = 0; i < 20000; i++) {

        if (i % 1000 == 0) {
            arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;
        }

        str = unit_fill(arena->pool, 0, i % 24);

        for (n = 0; n < str->len; n++) {
            seed = seed * 1103515245 + 12345;
            str->data[n] = bytes[(seed >> 16) % (sizeof(bytes) - 1)];
        }

        assert_int_equal(ngx_http_klaviyo_url_visible(arena, str, &cut),
                         NGX_OK);
        assert_true(cut.len <= str->len);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_a_path_loses_its_twin),
        unit_arena_test(test_a_path_that_is_no_twin_stays),
        unit_arena_test(test_arguments_of_frameworks_and_visitors_go),
        unit_arena_test(test_names_are_compared_decoded_and_in_any_case),
        unit_arena_test(test_other_arguments_keep_their_order_and_bytes),
        unit_arena_test(test_odd_uris_are_no_trouble),
        unit_arena_test(test_bytes_are_shared_when_nothing_goes),
        unit_arena_test(test_no_room_is_declined),
        unit_arena_test(test_urls_lose_what_names_the_visitor),
        unit_arena_test(test_nothing_else_of_an_url_goes),
        unit_arena_test(test_texts_that_are_no_urls_stay),
        unit_arena_test(test_scalars_are_left_alone),
        unit_arena_test(test_trees_are_cleaned_at_every_depth),
        unit_arena_test(test_a_clean_tree_is_not_copied),
        unit_arena_test(test_a_tree_without_room_is_unknown),
        unit_arena_test(test_any_bytes_give_a_text_that_is_not_longer)
    };

    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
