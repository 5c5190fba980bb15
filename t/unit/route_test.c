
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The index of routes: it finds what trying all of them one by one finds, and
 * looks at few of them.
 */


#include "unit.h"
#include <ngx_http.h>
#include "ngx_http_klaviyo_route.h"


/*
 * A second copy of the index, whose steps through the trees and tries of a
 * regex are counted; the tests below run on this one.
 */

#define ngx_http_klaviyo_index_create      unit_index_create
#define ngx_http_klaviyo_index_unanchored  unit_index_unanchored
#define ngx_http_klaviyo_index_match       unit_index_match
#define ngx_http_klaviyo_regex_exec        unit_regex_exec
#define memchr                             unit_memchr

static void *unit_memchr(void *s, int c, size_t n);
ngx_http_klaviyo_index_t *unit_index_create(ngx_pool_t *pool,
    ngx_array_t *routes);
ngx_uint_t unit_index_unanchored(ngx_http_klaviyo_index_t *index);
ngx_int_t unit_index_match(ngx_http_klaviyo_index_t *index, ngx_uint_t method,
    ngx_str_t *path, ngx_http_klaviyo_route_pt handler, void *data);
static ngx_int_t unit_regex_exec(ngx_http_klaviyo_regex_t *re,
    ngx_str_t *text, size_t *captures, ngx_uint_t n);

#include "../../ngx_http_klaviyo_module/request/ngx_http_klaviyo_route.c"

#undef ngx_http_klaviyo_regex_exec
#undef memchr


#define unit_add(type, path)                                                  \
    unit_add_route(state, NGX_HTTP_KLAVIYO_ROUTE_##type, (path),              \
                   NGX_HTTP_GET|NGX_HTTP_POST)

/* the numbers of the routes that fit, in order */
#define assert_found(path, expected)                                          \
    unit_assert_found(NGX_HTTP_GET, unit_str(path), unit_str(expected),       \
                      __FILE__, __LINE__)


typedef struct {
    u_char       found[65536];
    ngx_uint_t   n;
    ngx_int_t    rc;
} unit_found_t;


static ngx_array_t               *unit_routes;
static ngx_http_klaviyo_index_t  *unit_index;
static unit_found_t               unit_found;
static ngx_uint_t                 unit_steps;
static ngx_uint_t                 unit_tries;


static void *
unit_memchr(void *s, int c, size_t n)
{
    unit_steps++;

    return memchr(s, c, n);
}


static ngx_int_t
unit_regex_exec(ngx_http_klaviyo_regex_t *re, ngx_str_t *text,
    size_t *captures, ngx_uint_t n)
{
    unit_tries++;

    return ngx_http_klaviyo_regex_exec(re, text, captures, n);
}


static int
unit_route_setup(void **state)
{
    if (unit_setup(state) != 0) {
        return -1;
    }

    unit_index = NULL;
    unit_routes = ngx_array_create(*state, 4,
                                   sizeof(ngx_http_klaviyo_route_t *));

    return (unit_routes == NULL) ? -1 : 0;
}


static ngx_http_klaviyo_route_t *
unit_add_route(void **state, ngx_http_klaviyo_route_e type, char *path,
    ngx_uint_t methods)
{
    u_char                      buf[128];
    ngx_str_t                   err;
    ngx_uint_t                  flags;
    ngx_http_klaviyo_route_t   *route, **p;

    route = ngx_pcalloc(*state, sizeof(ngx_http_klaviyo_route_t));
    assert_non_null(route);

    route->type = type;
    route->methods = methods;
    route->number = unit_routes->nelts;
    route->path.len = ngx_strlen(path);
    route->path.data = ngx_pnalloc(*state, route->path.len);
    assert_non_null(route->path.data);

    ngx_memcpy(route->path.data, path, route->path.len);

    if (type >= NGX_HTTP_KLAVIYO_ROUTE_REGEX) {
        err.data = buf;
        err.len = sizeof(buf);
        flags = (type == NGX_HTTP_KLAVIYO_ROUTE_REGEX)
                ? 0 : NGX_HTTP_KLAVIYO_REGEX_CASELESS;

        route->regex = ngx_http_klaviyo_regex_compile(*state, &route->path,
                                                      flags, &err);
        assert_non_null(route->regex);
    }

    p = ngx_array_push(unit_routes);
    assert_non_null(p);

    *p = route;

    return route;
}


static void
unit_build(void **state)
{
    unit_index = unit_index_create(*state, unit_routes);
    assert_non_null(unit_index);
}


static ngx_int_t
unit_handler(void *data, ngx_http_klaviyo_route_t *route, size_t *captures,
    ngx_uint_t ncaptures)
{
    unit_found_t  *found;

    found = data;

    assert_true(route->number < sizeof(found->found));

    /* each route once */

    assert_int_equal(found->found[route->number], 0);

    found->found[route->number] = 1;
    found->n++;

    if (route->regex) {
        assert_int_equal(ncaptures,
                         1 + ngx_http_klaviyo_regex_groups(route->regex));
        assert_non_null(captures);

    } else {
        assert_int_equal(ncaptures, 0);
    }

    return found->rc;
}


static ngx_int_t
unit_match(ngx_uint_t method, ngx_str_t *path)
{
    ngx_memzero(&unit_found, sizeof(unit_found_t));

    unit_steps = 0;
    unit_tries = 0;

    return unit_index_match(unit_index, method, path, unit_handler,
                            &unit_found);
}


static void
unit_assert_found(ngx_uint_t method, ngx_str_t *path, ngx_str_t *expected,
    const char *file, int line)
{
    u_char     *p, buf[1024];
    ngx_str_t   text;
    ngx_uint_t  i;

    assert_int_equal(unit_match(method, path), NGX_OK);

    p = buf;

    for (i = 0; i < unit_routes->nelts; i++) {
        if (unit_found.found[i]) {
            p = ngx_snprintf(p, buf + sizeof(buf) - p, "%s%ui",
                             p == buf ? "" : " ", i);
        }
    }

    text.data = buf;
    text.len = p - buf;

    unit_assert_text(&text, expected, file, line);
}


static void
test_an_index_without_routes_finds_nothing(void **state)
{
    unit_build(state);

    assert_found("/", "");
    assert_found("", "");
    assert_int_equal(unit_index_unanchored(unit_index), 0);
}


static void
test_a_route_without_pattern_fits_every_path(void **state)
{
    unit_add(ANY, "");
    unit_add(EXACT, "/a");
    unit_build(state);

    assert_found("/", "0");
    assert_found("/a", "0 1");
    assert_found("", "0");
}


static void
test_an_exact_path_fits_alone(void **state)
{
    unit_add(EXACT, "/cart");
    unit_add(EXACT, "/cart/add");
    unit_add(EXACT, "/");
    unit_add(EXACT, "/cart");
    unit_build(state);

    assert_found("/cart", "0 3");
    assert_found("/cart/add", "1");
    assert_found("/", "2");
    assert_found("/car", "");
    assert_found("/cart/", "");
    assert_found("/cart/added", "");
    assert_found("/Cart", "");
    assert_found("", "");
}


static void
test_a_prefix_fits_what_begins_with_it(void **state)
{
    unit_add(PREFIX, "/");
    unit_add(PREFIX, "/p");
    unit_add(PREFIX, "/products");
    unit_add(PREFIX, "/products/");
    unit_add(PREFIX, "/pages");
    unit_build(state);

    assert_found("/products/a", "0 1 2 3");
    assert_found("/products", "0 1 2");
    assert_found("/pages", "0 1 4");
    assert_found("/pag", "0 1");
    assert_found("/x", "0");
    assert_found("x", "");
}


static void
test_regexes_are_tried_where_their_beginning_fits(void **state)
{
    unit_add(REGEX, "^/products/(?<h>[\\w-]+)$");
    unit_add(REGEX, "^/products/a");
    unit_add(REGEX, "\\.html$");
    unit_add(REGEX, "^/pages/.");
    unit_add(REGEX, "^/pa?ges/.");
    unit_add(REGEX, "^/a|^/b");
    unit_build(state);

    assert_found("/products/abc", "0 1");
    assert_int_equal(unit_tries, 5);

    assert_found("/products/abc.html", "1 2");
    assert_found("/pages/x", "3 4");
    assert_found("/pges/x", "4");
    assert_found("/b", "5");
    assert_found("/products", "");
    assert_int_equal(unit_tries, 3);
    assert_int_equal(unit_index_unanchored(unit_index), 2);
}


static void
test_case_matters_but_for_caseless_regexes(void **state)
{
    unit_add(REGEX_NOCASE, "^/Products/(.)");
    unit_add(REGEX_NOCASE, "^/caf\xc3\xa9/");
    unit_add(REGEX, "^/products/");
    unit_add(PREFIX, "/products");
    unit_build(state);

    assert_found("/products/x", "0 2 3");
    assert_found("/PRODUCTS/X", "0");
    assert_found("/pRoDuCtS/", "");
    assert_found("/CAF\xc3\xa9/", "1");
    assert_found("/CAF\xc3\x89/", "");
}


static void
test_unicode_relatives_of_ascii_letters_are_found(void **state)
{
    u_char                     buf[128];
    ngx_str_t                  err;
    ngx_http_klaviyo_route_t  *route;

    route = unit_add(REGEX_NOCASE, "^/skis");

    err.data = buf;
    err.len = sizeof(buf);

    route->regex = ngx_http_klaviyo_regex_compile(*state, &route->path,
                                             NGX_HTTP_KLAVIYO_REGEX_CASELESS
                                             |NGX_HTTP_KLAVIYO_REGEX_UTF,
                                             &err);
    assert_non_null(route->regex);

    unit_build(state);

    /* the long s and the sign for kelvin */

    assert_found("/\xc5\xbf\xe2\x84\xaai\xc5\xbf", "0");
    assert_found("/SKIS", "0");
}


static void
test_the_method_must_fit(void **state)
{
    unit_add_route(state, NGX_HTTP_KLAVIYO_ROUTE_EXACT, "/a", NGX_HTTP_POST);
    unit_add_route(state, NGX_HTTP_KLAVIYO_ROUTE_REGEX, "^/a", NGX_HTTP_GET);
    unit_add_route(state, NGX_HTTP_KLAVIYO_ROUTE_ANY, "",
                   NGX_HTTP_GET|NGX_HTTP_POST);
    unit_build(state);

    unit_assert_found(NGX_HTTP_GET, unit_str("/a"), unit_str("1 2"), __FILE__,
                      __LINE__);
    unit_assert_found(NGX_HTTP_POST, unit_str("/a"), unit_str("0 2"),
                      __FILE__, __LINE__);
    assert_int_equal(unit_tries, 0);

    unit_assert_found(NGX_HTTP_PUT, unit_str("/a"), unit_str(""), __FILE__,
                      __LINE__);
}


static void
test_what_the_handler_returns_ends_the_search(void **state)
{
    unit_add(PREFIX, "/");
    unit_add(PREFIX, "/a");
    unit_add(EXACT, "/a");
    unit_add(REGEX_NOCASE, "^/a");
    unit_build(state);

    ngx_memzero(&unit_found, sizeof(unit_found_t));
    unit_found.rc = NGX_DONE;

    assert_int_equal(unit_index_match(unit_index, NGX_HTTP_GET, unit_str("/a"),
                                      unit_handler, &unit_found),
                     NGX_DONE);
    assert_int_equal(unit_found.n, 1);
}


static ngx_int_t
unit_captures(void *data, ngx_http_klaviyo_route_t *route, size_t *captures,
    ngx_uint_t ncaptures)
{
    ngx_str_t  *path, text;

    path = data;

    assert_int_equal(ncaptures, 3);

    text.data = path->data + captures[2];
    text.len = captures[3] - captures[2];
    assert_text(&text, "shoes");

    text.data = path->data + captures[4];
    text.len = captures[5] - captures[4];
    assert_text(&text, "7");

    return NGX_OK;
}


static void
test_captures_are_offsets_into_the_path(void **state)
{
    ngx_str_t  *path;

    unit_add(REGEX, "^/(?<kind>\\w+)/(?<id>\\d+)$");
    unit_build(state);

    path = unit_str("/shoes/7");

    assert_int_equal(unit_index_match(unit_index, NGX_HTTP_GET, path,
                                      unit_captures, path),
                     NGX_OK);
}


static void
test_a_regex_at_its_limit_does_not_match(void **state)
{
    ngx_str_t  *path;

    unit_add(REGEX, "^/(a+)+$");
    unit_add(PREFIX, "/a");
    unit_build(state);

    path = unit_fill(*state, 'a', 40);
    path->data[0] = '/';
    path->data[39] = 'b';

    unit_assert_found(NGX_HTTP_GET, path, unit_str("1"), __FILE__, __LINE__);
}


static void
test_a_slash_alone_is_no_literal_beginning(void **state)
{
    unit_add(REGEX, "^/[a-z]+$");
    unit_add(REGEX, "x");
    unit_add(REGEX, "^/a");
    unit_add(REGEX_NOCASE, "^/\xc3\xa9");
    unit_add(REGEX_NOCASE, "^/a");
    unit_build(state);

    assert_int_equal(unit_index_unanchored(unit_index), 3);
}


static void
test_any_bytes_may_stand_in_a_path(void **state)
{
    u_char      path[3];
    ngx_str_t   text;
    ngx_uint_t  i;

    for (i = 1; i < 256; i++) {
        path[0] = '/';
        path[1] = (u_char) i;
        path[2] = '\0';

        unit_add(EXACT, (char *) path);
    }

    unit_build(state);

    for (i = 1; i < 256; i++) {
        path[0] = '/';
        path[1] = (u_char) i;
        text.data = path;
        text.len = 2;

        assert_int_equal(unit_match(NGX_HTTP_GET, &text), NGX_OK);
        assert_int_equal(unit_found.n, 1);
        assert_int_equal(unit_found.found[i - 1], 1);
    }

    assert_found("/\0", "");
}


/* what one by one finds */

static ngx_uint_t
unit_fits(ngx_http_klaviyo_route_t *route, ngx_str_t *path)
{
    switch (route->type) {

    case NGX_HTTP_KLAVIYO_ROUTE_ANY:
        return 1;

    case NGX_HTTP_KLAVIYO_ROUTE_EXACT:
        return route->path.len == path->len
               && ngx_memcmp(route->path.data, path->data, path->len) == 0;

    case NGX_HTTP_KLAVIYO_ROUTE_PREFIX:
        return route->path.len <= path->len
               && ngx_memcmp(route->path.data, path->data, route->path.len)
                  == 0;

    default:
        return ngx_http_klaviyo_regex_exec(route->regex, path, NULL, 0)
               == NGX_OK;
    }
}


static u_char *
unit_random_path(u_char *buf, ngx_uint_t regex)
{
    u_char  *p;
    int      n;

    static char  *words[] = {
        "/a", "/b", "/ab", "/A", "/abc", "/", "a", "b", "AB", "\xc3\xa9"
    };

    static char  *patterns[] = {
        "/a", "/b?", "a+", "(b|a)", "[ab]", ".", "/", "/ab{1}", "\\w", "$"
    };

    p = buf;

    if (regex && random() % 4) {
        *p++ = '^';
    }

    for (n = random() % 5 + 1; n; n--) {
        p = ngx_sprintf(p, "%s", regex ? patterns[random() % 10]
                                       : words[random() % 10]);
    }

    *p = '\0';

    return p;
}


static void
test_the_index_finds_what_one_by_one_finds(void **state)
{
    u_char                      buf[128];
    ngx_str_t                   path;
    ngx_uint_t                  i, j, hits;
    ngx_http_klaviyo_route_e    type;
    ngx_http_klaviyo_route_t  **route;

    srandom(7);

    for (i = 0; i < 2000; i++) {
        type = random() % 5;

        unit_random_path(buf, type >= NGX_HTTP_KLAVIYO_ROUTE_REGEX);
        unit_add_route(state, type, (char *) buf, NGX_HTTP_GET);
    }

    unit_build(state);

    route = unit_routes->elts;
    hits = 0;

    for (i = 0; i < 300; i++) {
        path.data = buf;
        path.len = unit_random_path(buf, 0) - buf;

        assert_int_equal(unit_match(NGX_HTTP_GET, &path), NGX_OK);

        for (j = 0; j < unit_routes->nelts; j++) {

            if (unit_fits(route[j], &path) != unit_found.found[j]) {
                fail_msg("\"%.*s\" and route \"%.*s\", type %d",
                         (int) path.len, path.data, (int) route[j]->path.len,
                         route[j]->path.data, route[j]->type);
            }

            hits += unit_found.found[j];
        }
    }

    assert_true(hits > 100000);
}


/* "n" routes of all kinds below /shop and /SHOP */

static void
unit_add_many(void **state, ngx_uint_t n)
{
    u_char      buf[128];
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {

        switch (i % 5) {

        case 0:
            ngx_sprintf(buf, "/shop/exact/%ui/item%Z", i);
            unit_add(EXACT, (char *) buf);
            break;

        case 1:
            ngx_sprintf(buf, "/shop/prefix/%ui/%Z", i);
            unit_add(PREFIX, (char *) buf);
            break;

        case 2:
            ngx_sprintf(buf, "^/shop/regex/%ui/(\\w+)$%Z", i);
            unit_add(REGEX, (char *) buf);
            break;

        case 3:
            ngx_sprintf(buf, "^/Shop/nocase/%ui/(\\w+)$%Z", i);
            unit_add(REGEX_NOCASE, (char *) buf);
            break;

        default:
            ngx_sprintf(buf, "/%ui%Z", i);
            unit_add(EXACT, (char *) buf);
        }
    }

    unit_build(state);
}


static ngx_uint_t
unit_cost(void **state, ngx_uint_t n, ngx_str_t *path)
{
    unit_routes->nelts = 0;

    unit_add_many(state, n);

    assert_int_equal(unit_match(NGX_HTTP_GET, path), NGX_OK);
    assert_int_equal(unit_found.n, 0);
    assert_int_equal(unit_tries, 0);

    return unit_steps;
}


static void
test_ten_thousand_routes_cost_what_ten_cost(void **state)
{
    ngx_uint_t  few, many;

    few = unit_cost(state, 10, unit_str("/account/orders"));
    many = unit_cost(state, 10000, unit_str("/account/orders"));

    assert_int_equal(few, many);
    assert_true(many <= 2);

    /* as far as the tree fits: a step per digit, not per route */

    many = unit_cost(state, 10000, unit_str("/shop/exact/12345"));

    assert_true(many <= 2 * sizeof("/shop/exact/12345"));

    unit_match(NGX_HTTP_GET, unit_str("/shop/regex/7777/x"));

    assert_int_equal(unit_found.n, 1);
    assert_int_equal(unit_tries, 1);
}


static void
test_the_shared_index_is_this_one(void **state)
{
#undef ngx_http_klaviyo_index_create
#undef ngx_http_klaviyo_index_match

    ngx_http_klaviyo_index_t  *index;

    unit_add(PREFIX, "/a");

    index = ngx_http_klaviyo_index_create(*state, unit_routes);
    assert_non_null(index);

    ngx_memzero(&unit_found, sizeof(unit_found_t));

    assert_int_equal(ngx_http_klaviyo_index_match(index, NGX_HTTP_GET,
                                                  unit_str("/ab"),
                                                  unit_handler, &unit_found),
                     NGX_OK);
    assert_int_equal(unit_found.n, 1);
}


#define unit_route_test(f)                                                    \
    cmocka_unit_test_setup_teardown(f, unit_route_setup, unit_teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_route_test(test_an_index_without_routes_finds_nothing),
        unit_route_test(test_a_route_without_pattern_fits_every_path),
        unit_route_test(test_an_exact_path_fits_alone),
        unit_route_test(test_a_prefix_fits_what_begins_with_it),
        unit_route_test(test_regexes_are_tried_where_their_beginning_fits),
        unit_route_test(test_case_matters_but_for_caseless_regexes),
        unit_route_test(test_unicode_relatives_of_ascii_letters_are_found),
        unit_route_test(test_the_method_must_fit),
        unit_route_test(test_what_the_handler_returns_ends_the_search),
        unit_route_test(test_captures_are_offsets_into_the_path),
        unit_route_test(test_a_regex_at_its_limit_does_not_match),
        unit_route_test(test_a_slash_alone_is_no_literal_beginning),
        unit_route_test(test_any_bytes_may_stand_in_a_path),
        unit_route_test(test_the_index_finds_what_one_by_one_finds),
        unit_route_test(test_ten_thousand_routes_cost_what_ten_cost),
        unit_route_test(test_the_shared_index_is_this_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
