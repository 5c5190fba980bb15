
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The nodes of a page's JSON-LD: parsed, in schema.org's short names, their
 * references resolved, the ones that are about the page by type.
 *
 * The trees are changed in place: nobody else has them.  A reference shares
 * the node that it stands for.  Only objects that no other one contains may be
 * referred to, and one whose references are just being looked at may not, so
 * that nothing ever contains itself.
 */


#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_jsonld.h"


/* nodes of a page, references in each other, what the page may point at */
#define NGX_HTTP_KLAVIYO_JSONLD_NODES   512
#define NGX_HTTP_KLAVIYO_JSONLD_JUMPS   8
#define NGX_HTTP_KLAVIYO_JSONLD_FOLLOW  4

/* types of a node that are looked at, and products that may be the page's */
#define NGX_HTTP_KLAVIYO_JSONLD_TYPES     16
#define NGX_HTTP_KLAVIYO_JSONLD_PRODUCTS  128

/*
 * values that references stand for, all together: they share the nodes, but
 * who writes or searches them goes through each
 */
#define NGX_HTTP_KLAVIYO_JSONLD_WEIGHT  32768


static void ngx_http_klaviyo_jsonld_scripts(
    ngx_http_klaviyo_jsonld_page_t *page, ngx_http_klaviyo_jsonld_t *jsonld);
static void ngx_http_klaviyo_jsonld_unwrap(ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_jsonld_cut(ngx_str_t *text,
    const char *wrap, ngx_uint_t end);
static void ngx_http_klaviyo_jsonld_collect(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *json, ngx_uint_t depth);
static void ngx_http_klaviyo_jsonld_normalize(json_t *json);
static void ngx_http_klaviyo_jsonld_rename(json_t *json);
static size_t ngx_http_klaviyo_jsonld_prefix(const char *name);
static void ngx_http_klaviyo_jsonld_identify(
    ngx_http_klaviyo_jsonld_page_t *page);
static void ngx_http_klaviyo_jsonld_open(ngx_http_klaviyo_jsonld_page_t *page,
    ngx_http_klaviyo_jsonld_node_t *node);
static size_t ngx_http_klaviyo_jsonld_resolve(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *json, const char *name);
static json_t *ngx_http_klaviyo_jsonld_refer(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *json, const char *name,
    size_t *weight);
static ngx_uint_t ngx_http_klaviyo_jsonld_relates(const char *name);
static void ngx_http_klaviyo_jsonld_follow(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *json, ngx_uint_t about,
    ngx_uint_t depth);
static const char *ngx_http_klaviyo_jsonld_type(json_t *json, size_t i);
static ngx_uint_t ngx_http_klaviyo_jsonld_is_product(json_t *json);
static void ngx_http_klaviyo_jsonld_add(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *list, json_t *json);


/* in whose value an object is not what the page is about */

static const char  *ngx_http_klaviyo_jsonld_relations[] = {
    "itemListElement",
    "item",
    "hasVariant",
    "isRelatedTo",
    "isSimilarTo",
    "isAccessoryOrSparePartFor",
    "isConsumableFor",
    NULL
};


json_t *
ngx_http_klaviyo_jsonld_tree(ngx_http_klaviyo_jsonld_t *jsonld,
    ngx_http_klaviyo_arena_t *arena, ngx_uint_t *limited)
{
    json_t                          *json;
    ngx_uint_t                       i, limits;
    ngx_http_klaviyo_jsonld_node_t  *node;
    ngx_http_klaviyo_jsonld_page_t   page;

    limits = arena->limits;
    *limited = 1;

    ngx_memzero(&page, sizeof(ngx_http_klaviyo_jsonld_page_t));

    page.arena = arena;
    page.weight = NGX_HTTP_KLAVIYO_JSONLD_WEIGHT;

    page.nodes = ngx_http_klaviyo_arena_alloc(arena,
                                     NGX_HTTP_KLAVIYO_JSONLD_NODES
                                     * sizeof(ngx_http_klaviyo_jsonld_node_t));

    if (page.nodes == NULL
        || ngx_http_klaviyo_arena_charge(arena,
                                         2 * NGX_HTTP_KLAVIYO_OBJECT_COST
                                         + 2 * NGX_HTTP_KLAVIYO_ARRAY_COST)
           != NGX_OK)
    {
        return NULL;
    }

    page.ids = ngx_http_klaviyo_arena_keep(arena, json_object());
    page.types = ngx_http_klaviyo_arena_keep(arena, json_object());
    page.found = ngx_http_klaviyo_arena_keep(arena, json_array());
    page.first = ngx_http_klaviyo_arena_keep(arena, json_array());

    if (page.ids == NULL || page.types == NULL || page.found == NULL
        || page.first == NULL)
    {
        return NULL;
    }

    ngx_http_klaviyo_jsonld_scripts(&page, jsonld);
    ngx_http_klaviyo_jsonld_identify(&page);

    for (i = 0; i < page.nnodes; i++) {
        ngx_http_klaviyo_jsonld_open(&page, &page.nodes[i]);
    }

    for (i = 0; i < page.nnodes; i++) {
        node = &page.nodes[i];

        if (!node->listed || !ngx_http_klaviyo_jsonld_is_product(node->json)) {
            ngx_http_klaviyo_jsonld_follow(&page, node->json, 0, 0);
        }
    }

    json = ngx_http_klaviyo_jsonld_product(&page);

    (void) ngx_http_klaviyo_jsonld_set(arena, page.types, "Product",
                                       json_incref(json), 0);

    *limited = (jsonld->limited || arena->limits != limits);

    return json_object_size(page.types) ? page.types : NULL;
}


/* a script that is wrong is as good as none */

static void
ngx_http_klaviyo_jsonld_scripts(ngx_http_klaviyo_jsonld_page_t *page,
    ngx_http_klaviyo_jsonld_t *jsonld)
{
    size_t      *ends, start;
    json_t      *json;
    ngx_str_t    text;
    ngx_uint_t   i;

    start = 0;
    ends = jsonld->scripts.elts;

    for (i = 0; i < jsonld->scripts.nelts; i++) {
        text.data = jsonld->buf + start;
        text.len = ends[i] - start;
        start = ends[i];

        ngx_http_klaviyo_jsonld_unwrap(&text);

        if (text.len == 0 || (text.data[0] != '{' && text.data[0] != '[')) {
            continue;
        }

        json = ngx_http_klaviyo_json_parse(page->arena, &text);

        if (json) {
            ngx_http_klaviyo_jsonld_normalize(json);
            ngx_http_klaviyo_jsonld_collect(page, json, 0);
        }
    }
}


/* what hides scripts from old parsers, and blanks; JSON has none of these */

static void
ngx_http_klaviyo_jsonld_unwrap(ngx_str_t *text)
{
    ngx_uint_t  cut;

    do {
        cut = ngx_http_klaviyo_jsonld_cut(text, "<![CDATA[", 0)
              || ngx_http_klaviyo_jsonld_cut(text, "<!--", 0)
              || ngx_http_klaviyo_jsonld_cut(text, "//", 0)
              || ngx_http_klaviyo_jsonld_cut(text, "/*", 0)
              || ngx_http_klaviyo_jsonld_cut(text, "*/", 0)
              || ngx_http_klaviyo_jsonld_cut(text, "\xEF\xBB\xBF", 0)
              || ngx_http_klaviyo_jsonld_cut(text, "]]>", 1)
              || ngx_http_klaviyo_jsonld_cut(text, "-->", 1)
              || ngx_http_klaviyo_jsonld_cut(text, "//", 1)
              || ngx_http_klaviyo_jsonld_cut(text, "/*", 1)
              || ngx_http_klaviyo_jsonld_cut(text, "*/", 1)
              || ngx_http_klaviyo_jsonld_cut(text, ";", 1);
    } while (cut);
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_cut(ngx_str_t *text, const char *wrap, ngx_uint_t end)
{
    u_char  *p;
    size_t   len;

    while (text->len && text->data[0] <= ' ') {
        text->data++;
        text->len--;
    }

    while (text->len && text->data[text->len - 1] <= ' ') {
        text->len--;
    }

    len = ngx_strlen(wrap);

    if (text->len < len) {
        return 0;
    }

    p = text->data + (end ? text->len - len : 0);

    if (ngx_memcmp(p, wrap, len) != 0) {
        return 0;
    }

    text->data += end ? 0 : len;
    text->len -= len;

    return 1;
}


/* short names in place of schema.org's, plain values in place of JSON-LD's */

static void
ngx_http_klaviyo_jsonld_normalize(json_t *json)
{
    void    *iter;
    size_t   i, n;
    json_t  *value;

    if (json_is_string(json)) {
        n = ngx_http_klaviyo_jsonld_prefix(json_string_value(json));

        if (n) {
            (void) json_string_setn_nocheck(json, json_string_value(json) + n,
                                            json_string_length(json) - n);
        }

        return;
    }

    json_array_foreach(json, i, value) {
        ngx_http_klaviyo_jsonld_normalize(value);

        value = json_object_get(value, "@value");

        if (value) {
            (void) json_array_set(json, i, value);
        }
    }

    ngx_http_klaviyo_jsonld_rename(json);

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        value = json_object_iter_value(iter);
        ngx_http_klaviyo_jsonld_normalize(value);

        value = json_object_get(value, "@value");

        if (value) {
            (void) json_object_iter_set(json, iter, value);
        }
    }
}


static void
ngx_http_klaviyo_jsonld_rename(json_t *json)
{
    void        *tmp;
    size_t       n;
    json_t      *value;
    const char  *name;

    json_object_foreach_safe(json, tmp, name, value) {
        n = ngx_http_klaviyo_jsonld_prefix(name);

        if (n == 0) {
            continue;
        }

        if (json_object_get(json, name + n) == NULL) {
            (void) json_object_set_nocheck(json, name + n, value);
        }

        (void) json_object_del(json, name);
    }
}


/* how long schema.org's prefix is if one word follows it, else 0 */

static size_t
ngx_http_klaviyo_jsonld_prefix(const char *name)
{
    const char  *p;

    p = name;

    if (ngx_strncmp(p, "schema:", 7) == 0) {
        p += 7;

    } else {

        if (ngx_strncmp(p, "http", 4) != 0) {
            return 0;
        }

        p += (p[4] == 's') ? 5 : 4;

        if (ngx_strncmp(p, "://", 3) != 0) {
            return 0;
        }

        p += (ngx_strncmp(p + 3, "www.", 4) == 0) ? 7 : 3;

        if (ngx_strncmp(p, "schema.org/", 11) != 0) {
            return 0;
        }

        p += 11;
    }

    if (*p == '\0' || p[strspn(p, "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")])
    {
        return 0;
    }

    return p - name;
}


static void
ngx_http_klaviyo_jsonld_collect(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *json, ngx_uint_t depth)
{
    size_t                           i;
    json_t                          *graph, *value;
    ngx_http_klaviyo_jsonld_node_t  *node;

    if (depth > NGX_HTTP_KLAVIYO_JSONLD_FOLLOW) {
        return;
    }

    json_array_foreach(json, i, value) {
        ngx_http_klaviyo_jsonld_collect(page, value, depth + 1);
    }

    if (!json_is_object(json)) {
        return;
    }

    graph = json_object_get(json, "@graph");

    if (graph) {
        graph = ngx_http_klaviyo_arena_keep(page->arena, json_incref(graph));
        (void) json_object_del(json, "@graph");

        ngx_http_klaviyo_jsonld_collect(page, graph, depth + 1);
    }

    if (json_object_get(json, "@type") == NULL) {
        return;
    }

    if (page->nnodes == NGX_HTTP_KLAVIYO_JSONLD_NODES) {
        page->arena->limits++;
        return;
    }

    node = &page->nodes[page->nnodes++];

    ngx_memzero(node, sizeof(ngx_http_klaviyo_jsonld_node_t));
    node->json = json;
}


/* of equal ids the first counts */

static void
ngx_http_klaviyo_jsonld_identify(ngx_http_klaviyo_jsonld_page_t *page)
{
    json_t      *id;
    ngx_uint_t   i;
    const char  *name;

    for (i = 0; i < page->nnodes; i++) {
        id = json_object_get(page->nodes[i].json, "@id");
        name = json_string_value(id);

        if (name == NULL || json_object_get(page->ids, name)) {
            continue;
        }

        (void) ngx_http_klaviyo_jsonld_set(page->arena, page->ids, name,
                                           json_integer(i + 1),
                                           NGX_HTTP_KLAVIYO_VALUE_COST);
    }
}


ngx_http_klaviyo_jsonld_node_t *
ngx_http_klaviyo_jsonld_find(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *json)
{
    json_t      *id, *number;
    const char  *name;

    id = json_object_get(json, "@id");
    name = json_string_value(id);

    if (name == NULL) {
        return NULL;
    }

    number = json_object_get(page->ids, name);

    return number ? &page->nodes[json_integer_value(number) - 1] : NULL;
}


static void
ngx_http_klaviyo_jsonld_open(ngx_http_klaviyo_jsonld_page_t *page,
    ngx_http_klaviyo_jsonld_node_t *node)
{
    if (node->done) {
        return;
    }

    node->open = 1;
    node->weight = ngx_http_klaviyo_jsonld_resolve(page, node->json, NULL);
    node->open = 0;
    node->done = 1;
}


/* returns how many values there are, "name" is whose value they are */

static size_t
ngx_http_klaviyo_jsonld_resolve(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *json, const char *name)
{
    void    *iter;
    size_t   i, n, weight;
    json_t  *value, *target;

    weight = 1 + json_string_length(json) / 16;

    json_array_foreach(json, i, value) {
        target = ngx_http_klaviyo_jsonld_refer(page, value, name, &n);

        if (target) {
            (void) json_array_set(json, i, target);

        } else {
            n = ngx_http_klaviyo_jsonld_resolve(page, value, name);
        }

        weight += n;
    }

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        name = json_object_iter_key(iter);
        value = json_object_iter_value(iter);
        target = ngx_http_klaviyo_jsonld_refer(page, value, name, &n);

        if (target) {
            (void) json_object_iter_set(json, iter, target);

        } else {
            n = ngx_http_klaviyo_jsonld_resolve(page, value, name);
        }

        weight += n;
    }

    return weight;
}


/*
 * What "json" refers to, if it is nothing but a reference.  A variant doesn't
 * get its group: the group has its variants.
 */

static json_t *
ngx_http_klaviyo_jsonld_refer(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *json, const char *name, size_t *weight)
{
    size_t                           size;
    ngx_http_klaviyo_jsonld_node_t  *node;

    size = json_object_size(json);

    if (size == 0 || size > 2
        || (size == 2 && json_object_get(json, "@type") == NULL))
    {
        return NULL;
    }

    node = ngx_http_klaviyo_jsonld_find(page, json);

    if (node == NULL || name == NULL) {
        return NULL;
    }

    node->listed |= ngx_http_klaviyo_jsonld_relates(name);

    if (ngx_strcmp(name, "isVariantOf") == 0) {
        return NULL;
    }

    if (!node->done) {

        if (node->open || page->jumps == NGX_HTTP_KLAVIYO_JSONLD_JUMPS) {
            return NULL;
        }

        page->jumps++;
        ngx_http_klaviyo_jsonld_open(page, node);
        page->jumps--;
    }

    if (node->weight > page->weight) {
        page->arena->limits++;
        return NULL;
    }

    page->weight -= node->weight;
    *weight = node->weight;

    return node->json;
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_relates(const char *name)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_klaviyo_jsonld_relations[i]; i++) {

        if (ngx_strcmp(name, ngx_http_klaviyo_jsonld_relations[i]) == 0) {
            return 1;
        }
    }

    return 0;
}


/*
 * "json" is about the page; "about" tells that somebody said so.  Of an array
 * only the first element is followed, which keeps the cost small.
 */

static void
ngx_http_klaviyo_jsonld_follow(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *json, ngx_uint_t about, ngx_uint_t depth)
{
    size_t       i;
    const char  *name;

    if (json_is_array(json)) {
        json = json_array_get(json, 0);
    }

    if (json_object_get(json, "@type") == NULL
        || depth == NGX_HTTP_KLAVIYO_JSONLD_FOLLOW)
    {
        return;
    }

    /* a reference that was not resolved has nothing else */

    if (json_object_size(json) == 2 && json_object_get(json, "@id")) {
        return;
    }

    if (ngx_http_klaviyo_jsonld_is_product(json)) {
        ngx_http_klaviyo_jsonld_add(page, page->found, json);

        if (about || json_object_get(json, "mainEntityOfPage")) {
            ngx_http_klaviyo_jsonld_add(page, page->first, json);
        }
    }

    for (i = 0; i < NGX_HTTP_KLAVIYO_JSONLD_TYPES; i++) {
        name = ngx_http_klaviyo_jsonld_type(json, i);

        /* there is but one product, and it is looked for at the end */

        if (name && *name && ngx_strcmp(name, "Product") != 0
            && json_object_get(page->types, name) == NULL)
        {
            (void) ngx_http_klaviyo_jsonld_set(page->arena, page->types, name,
                                               json_incref(json), 0);
        }
    }

    depth++;

    ngx_http_klaviyo_jsonld_follow(page, json_object_get(json, "mainEntity"),
                                   1, depth);
    ngx_http_klaviyo_jsonld_follow(page,
                                   json_object_get(json, "mainEntityOfPage"),
                                   0, depth);
    ngx_http_klaviyo_jsonld_follow(page, json_object_get(json, "breadcrumb"),
                                   0, depth);
    ngx_http_klaviyo_jsonld_follow(page, json_object_get(json, "itemReviewed"),
                                   0, depth);
}


/* the type of that number, or NULL */

static const char *
ngx_http_klaviyo_jsonld_type(json_t *json, size_t i)
{
    json_t  *types;

    types = json_object_get(json, "@type");

    if (json_is_array(types)) {
        return json_string_value(json_array_get(types, i));
    }

    return (i == 0) ? json_string_value(types) : NULL;
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_is_product(json_t *json)
{
    return ngx_http_klaviyo_jsonld_is(json, "Product")
           || ngx_http_klaviyo_jsonld_is(json, "ProductGroup")
           || ngx_http_klaviyo_jsonld_is(json, "IndividualProduct")
           || ngx_http_klaviyo_jsonld_is(json, "ProductModel")
           || ngx_http_klaviyo_jsonld_is(json, "SomeProducts");
}


static void
ngx_http_klaviyo_jsonld_add(ngx_http_klaviyo_jsonld_page_t *page, json_t *list,
    json_t *json)
{
    size_t   i;
    json_t  *value;

    json_array_foreach(list, i, value) {

        if (value == json) {
            return;
        }
    }

    if (json_array_size(list) == NGX_HTTP_KLAVIYO_JSONLD_PRODUCTS) {
        page->arena->limits++;

    } else if (ngx_http_klaviyo_arena_charge(page->arena,
                                             NGX_HTTP_KLAVIYO_ELEMENT_COST)
               == NGX_OK)
    {
        (void) json_array_append(list, json);
    }
}


ngx_uint_t
ngx_http_klaviyo_jsonld_is(json_t *json, const char *type)
{
    size_t       i;
    const char  *name;

    for (i = 0; i < NGX_HTTP_KLAVIYO_JSONLD_TYPES; i++) {
        name = ngx_http_klaviyo_jsonld_type(json, i);

        if (name && ngx_strcmp(name, type) == 0) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_klaviyo_jsonld_set(ngx_http_klaviyo_arena_t *arena, json_t *object,
    const char *name, json_t *json, size_t cost)
{
    if (json == NULL) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_arena_charge(arena,
                                      NGX_HTTP_KLAVIYO_MEMBER_COST
                                      + ngx_strlen(name) + cost)
        != NGX_OK)
    {
        json_decref(json);
        return NGX_ERROR;
    }

    if (json_object_set_new_nocheck(object, name, json) != 0) {
        arena->limits++;
        return NGX_ERROR;
    }

    return NGX_OK;
}
