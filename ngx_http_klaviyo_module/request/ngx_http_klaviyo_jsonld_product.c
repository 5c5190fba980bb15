
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The page's product: which one it is, its group and variants.
 *
 * Some pages describe a product twice, some each product of a list.  Those
 * that have no more than a group, an id, a URL, a number or a name in common
 * are the same, of which the first counts; if there are others, nobody can
 * tell which one the page shows, and there is none.
 */


#include "ngx_http_klaviyo_jsonld.h"


static ngx_uint_t ngx_http_klaviyo_jsonld_same(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *a, json_t *b);
static json_t *ngx_http_klaviyo_jsonld_group(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *product);
static json_t *ngx_http_klaviyo_jsonld_group_id(json_t *product);
static ngx_uint_t ngx_http_klaviyo_jsonld_is_variant(json_t *product);
static json_t *ngx_http_klaviyo_jsonld_copy(ngx_http_klaviyo_arena_t *arena,
    json_t *json);
static json_t *ngx_http_klaviyo_jsonld_variants(
    ngx_http_klaviyo_jsonld_page_t *page, json_t *list, json_t *group);
static json_t *ngx_http_klaviyo_jsonld_merge(ngx_http_klaviyo_arena_t *arena,
    json_t *group, json_t *variants);
static ngx_int_t ngx_http_klaviyo_jsonld_collect_offers(
    ngx_http_klaviyo_arena_t *arena, json_t *product, json_t *variants);


/* what tells one product from another */

static const char  *ngx_http_klaviyo_jsonld_identities[] = {
    "@id",
    "url",
    "sku",
    "productID",
    "name",
    NULL
};


json_t *
ngx_http_klaviyo_jsonld_product(ngx_http_klaviyo_jsonld_page_t *page)
{
    size_t   i;
    json_t  *list, *first, *group, *product, *variants, *value;

    list = json_array_size(page->first) ? page->first : page->found;
    first = json_array_get(list, 0);

    if (first == NULL) {
        return NULL;
    }

    product = first;
    group = NULL;

    json_array_foreach(list, i, value) {

        if (!ngx_http_klaviyo_jsonld_same(page, first, value)) {
            return NULL;
        }

        if (group == NULL) {
            group = ngx_http_klaviyo_jsonld_group(page, value);
        }
    }

    if (group) {
        variants = ngx_http_klaviyo_jsonld_variants(page, list, group);
        product = ngx_http_klaviyo_jsonld_merge(page->arena, group, variants);
    }

    if (product == NULL
        || ngx_http_klaviyo_jsonld_offers(page->arena, product) != NGX_OK)
    {
        return NULL;
    }

    return product;
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_same(ngx_http_klaviyo_jsonld_page_t *page, json_t *a,
    json_t *b)
{
    json_t       *one, *two;
    ngx_uint_t    i;
    const char   *name;

    if (a == b) {
        return 1;
    }

    one = ngx_http_klaviyo_jsonld_group(page, a);
    two = ngx_http_klaviyo_jsonld_group(page, b);

    if (one && one == two) {
        return 1;
    }

    one = ngx_http_klaviyo_jsonld_group_id(a);
    two = ngx_http_klaviyo_jsonld_group_id(b);

    if (one && two && json_equal(one, two)) {
        return 1;
    }

    for (i = 0; ngx_http_klaviyo_jsonld_identities[i]; i++) {
        name = ngx_http_klaviyo_jsonld_identities[i];

        one = json_object_get(a, name);
        two = json_object_get(b, name);

        if (json_is_string(one) && json_equal(one, two)) {
            return 1;
        }
    }

    return 0;
}


/* itself, if it is one; else the one that it is a variant of, or NULL */

static json_t *
ngx_http_klaviyo_jsonld_group(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *product)
{
    json_t                          *group;
    ngx_http_klaviyo_jsonld_node_t  *node;

    if (ngx_http_klaviyo_jsonld_is(product, "ProductGroup")) {
        return product;
    }

    group = json_object_get(product, "isVariantOf");
    node = ngx_http_klaviyo_jsonld_find(page, group);

    if (node) {
        return node->json;
    }

    return ngx_http_klaviyo_jsonld_is(group, "ProductGroup") ? group : NULL;
}


static json_t *
ngx_http_klaviyo_jsonld_group_id(json_t *product)
{
    json_t  *id;

    id = json_object_get(product, "inProductGroupWithID");

    return id ? id : json_object_get(product, "productGroupID");
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_is_variant(json_t *product)
{
    if (ngx_http_klaviyo_jsonld_is(product, "ProductGroup")) {
        return 0;
    }

    return json_object_get(product, "isVariantOf")
           || json_object_get(product, "inProductGroupWithID");
}


/* one level of it is new, what is below is shared */

static json_t *
ngx_http_klaviyo_jsonld_copy(ngx_http_klaviyo_arena_t *arena, json_t *json)
{
    size_t  cost;

    cost = NGX_HTTP_KLAVIYO_OBJECT_COST
           + json_object_size(json) * NGX_HTTP_KLAVIYO_MEMBER_COST;

    if (ngx_http_klaviyo_arena_charge(arena, cost) != NGX_OK) {
        return NULL;
    }

    return ngx_http_klaviyo_arena_keep(arena, json_copy(json));
}


/* those that stand for themselves, else those of the group; an array */

static json_t *
ngx_http_klaviyo_jsonld_variants(ngx_http_klaviyo_jsonld_page_t *page,
    json_t *list, json_t *group)
{
    size_t   i, cost;
    json_t  *variants, *value;

    value = json_object_get(group, "hasVariant");

    cost = NGX_HTTP_KLAVIYO_ARRAY_COST
           + (json_array_size(list) + json_array_size(value) + 1)
             * NGX_HTTP_KLAVIYO_ELEMENT_COST;

    if (ngx_http_klaviyo_arena_charge(page->arena, cost) != NGX_OK) {
        return NULL;
    }

    variants = ngx_http_klaviyo_arena_keep(page->arena, json_array());

    json_array_foreach(list, i, value) {

        if (ngx_http_klaviyo_jsonld_is_variant(value)) {
            (void) json_array_append(variants, value);
        }
    }

    if (json_array_size(variants)) {
        return variants;
    }

    value = json_object_get(group, "hasVariant");

    if (json_is_object(value)) {
        (void) json_array_append(variants, value);

    } else if (json_is_array(value)) {
        (void) json_array_extend(variants, value);
    }

    return variants;
}


/* the group's facts, and those of the variant if there is but one */

static json_t *
ngx_http_klaviyo_jsonld_merge(ngx_http_klaviyo_arena_t *arena, json_t *group,
    json_t *variants)
{
    size_t   i, cost;
    json_t  *product, *variant;

    product = ngx_http_klaviyo_jsonld_copy(arena, group);

    if (product == NULL || variants == NULL) {
        return NULL;
    }

    json_array_foreach(variants, i, variant) {

        if (ngx_http_klaviyo_jsonld_offers(arena, variant) != NGX_OK) {
            return NULL;
        }
    }

    variant = json_array_get(variants, 0);

    if (json_array_size(variants) == 1 && json_is_object(variant)) {
        cost = json_object_size(variant) * NGX_HTTP_KLAVIYO_MEMBER_COST;

        if (ngx_http_klaviyo_arena_charge(arena, cost) != NGX_OK) {
            return NULL;
        }

        (void) json_object_update(product, variant);
        (void) json_object_del(product, "isVariantOf");

    } else if (variant) {

        if (ngx_http_klaviyo_jsonld_collect_offers(arena, product, variants)
            != NGX_OK
            || ngx_http_klaviyo_jsonld_set(arena, product, "hasVariant",
                                           json_incref(variants), 0)
               != NGX_OK)
        {
            return NULL;
        }
    }

    if (ngx_http_klaviyo_jsonld_set(arena, product, "@type",
                                    json_string("Product"),
                                    NGX_HTTP_KLAVIYO_VALUE_COST)
        != NGX_OK)
    {
        return NULL;
    }

    return product;
}


/* what a group without offers of its own has */

static ngx_int_t
ngx_http_klaviyo_jsonld_collect_offers(ngx_http_klaviyo_arena_t *arena,
    json_t *product, json_t *variants)
{
    size_t   i, cost;
    json_t  *offers, *offer, *variant;

    if (json_object_get(product, "offers")) {
        return NGX_OK;
    }

    cost = NGX_HTTP_KLAVIYO_ARRAY_COST
           + json_array_size(variants) * NGX_HTTP_KLAVIYO_ELEMENT_COST;

    offers = json_array();

    json_array_foreach(variants, i, variant) {
        offer = json_object_get(variant, "offers");

        if (offer) {
            (void) json_array_append(offers, offer);
        }
    }

    return ngx_http_klaviyo_jsonld_set(arena, product, "offers", offers, cost);
}
