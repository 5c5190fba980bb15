
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A product's offers as one object that has a price: that of the only offer,
 * the lowest one of several in the same currency.  What was there stays.
 */


#include "ngx_http_klaviyo_decimal.h"
#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_jsonld.h"


/* offers in offers */
#define NGX_HTTP_KLAVIYO_JSONLD_OFFERS  4


typedef struct {
    json_t                      *first;
    json_t                      *low;
    json_t                      *high;
    json_t                      *availability;
    ngx_uint_t                   mixed;     /* more than one currency */
    ngx_uint_t                   nested;    /* a price is itself a lowest one */
    ngx_http_klaviyo_decimal_t   lowest;
    ngx_http_klaviyo_decimal_t   highest;
} ngx_http_klaviyo_jsonld_range_t;


static json_t *ngx_http_klaviyo_jsonld_offer(ngx_http_klaviyo_arena_t *arena,
    json_t *offers, ngx_uint_t depth);
static json_t *ngx_http_klaviyo_jsonld_aggregate(
    ngx_http_klaviyo_arena_t *arena, json_t *list);
static ngx_int_t ngx_http_klaviyo_jsonld_price(ngx_http_klaviyo_arena_t *arena,
    json_t *offer);
static json_t *ngx_http_klaviyo_jsonld_specification(json_t *list);
static ngx_int_t ngx_http_klaviyo_jsonld_summarize(
    ngx_http_klaviyo_arena_t *arena, json_t *offer, json_t *list,
    ngx_uint_t depth);
static ngx_int_t ngx_http_klaviyo_jsonld_complement(
    ngx_http_klaviyo_arena_t *arena, json_t *offer,
    ngx_http_klaviyo_jsonld_range_t *range);
static void ngx_http_klaviyo_jsonld_measure(
    ngx_http_klaviyo_jsonld_range_t *range, json_t *offer);
static ngx_int_t ngx_http_klaviyo_jsonld_decimal(
    ngx_http_klaviyo_decimal_t *d, json_t *price);
static ngx_int_t ngx_http_klaviyo_jsonld_fill(ngx_http_klaviyo_arena_t *arena,
    json_t *object, const char *name, json_t *from, const char *key);


ngx_int_t
ngx_http_klaviyo_jsonld_offers(ngx_http_klaviyo_arena_t *arena,
    json_t *product)
{
    json_t      *offers, *offer;
    ngx_uint_t   limits;

    offers = json_object_get(product, "offers");

    if (offers == NULL) {
        return NGX_OK;
    }

    limits = arena->limits;
    offer = ngx_http_klaviyo_jsonld_offer(arena, offers, 0);

    if (arena->limits != limits) {
        return NGX_ERROR;
    }

    if (offer == NULL || offer == offers) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_jsonld_set(arena, product, "offers",
                                       json_incref(offer), 0);
}


/* one object for an object or an array; NULL for others, or on a limit */

static json_t *
ngx_http_klaviyo_jsonld_offer(ngx_http_klaviyo_arena_t *arena, json_t *offers,
    ngx_uint_t depth)
{
    json_t  *offer, *list;

    if (depth == NGX_HTTP_KLAVIYO_JSONLD_OFFERS) {
        return NULL;
    }

    if (json_array_size(offers) == 1) {
        offers = json_array_get(offers, 0);
    }

    if (json_is_object(offers)) {
        offer = offers;
        list = json_object_get(offers, "offers");

    } else {
        offer = ngx_http_klaviyo_jsonld_aggregate(arena, offers);
        list = offers;
    }

    if (offer == NULL
        || ngx_http_klaviyo_jsonld_price(arena, offer) != NGX_OK
        || ngx_http_klaviyo_jsonld_summarize(arena, offer, list, depth + 1)
           != NGX_OK)
    {
        return NULL;
    }

    return offer;
}


static json_t *
ngx_http_klaviyo_jsonld_aggregate(ngx_http_klaviyo_arena_t *arena,
    json_t *list)
{
    json_t  *offer;

    if (json_array_size(list) == 0
        || ngx_http_klaviyo_arena_charge(arena, NGX_HTTP_KLAVIYO_OBJECT_COST)
           != NGX_OK)
    {
        return NULL;
    }

    offer = ngx_http_klaviyo_arena_keep(arena, json_object());

    if (offer == NULL
        || ngx_http_klaviyo_jsonld_set(arena, offer, "@type",
                                       json_string("AggregateOffer"),
                                       NGX_HTTP_KLAVIYO_VALUE_COST)
           != NGX_OK
        || ngx_http_klaviyo_jsonld_set(arena, offer, "offers",
                                       json_incref(list), 0)
           != NGX_OK)
    {
        return NULL;
    }

    return offer;
}


/* where an offer may have its price besides "price" */

static ngx_int_t
ngx_http_klaviyo_jsonld_price(ngx_http_klaviyo_arena_t *arena, json_t *offer)
{
    json_t  *spec;

    spec = json_object_get(offer, "priceSpecification");
    spec = ngx_http_klaviyo_jsonld_specification(spec);

    if (ngx_http_klaviyo_jsonld_fill(arena, offer, "price", offer, "lowPrice")
        != NGX_OK
        || ngx_http_klaviyo_jsonld_fill(arena, offer, "price", spec, "price")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_jsonld_fill(arena, offer, "priceCurrency", spec,
                                        "priceCurrency");
}


/* one with a "priceType" is a list price or the like */

static json_t *
ngx_http_klaviyo_jsonld_specification(json_t *list)
{
    size_t   i;
    json_t  *spec;

    if (json_is_object(list)) {
        return list;
    }

    json_array_foreach(list, i, spec) {

        if (json_object_get(spec, "price")
            && json_object_get(spec, "priceType") == NULL)
        {
            return spec;
        }
    }

    return json_array_get(list, 0);
}


static ngx_int_t
ngx_http_klaviyo_jsonld_summarize(ngx_http_klaviyo_arena_t *arena,
    json_t *offer, json_t *list, ngx_uint_t depth)
{
    size_t                            i;
    json_t                           *value;
    ngx_uint_t                        limits;
    ngx_http_klaviyo_jsonld_range_t   range;

    ngx_memzero(&range, sizeof(ngx_http_klaviyo_jsonld_range_t));
    limits = arena->limits;

    if (json_is_object(list)) {
        value = ngx_http_klaviyo_jsonld_offer(arena, list, depth);
        ngx_http_klaviyo_jsonld_measure(&range, value);
    }

    json_array_foreach(list, i, value) {
        value = ngx_http_klaviyo_jsonld_offer(arena, value, depth);
        ngx_http_klaviyo_jsonld_measure(&range, value);
    }

    if (arena->limits != limits) {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_jsonld_complement(arena, offer, &range);
}


static ngx_int_t
ngx_http_klaviyo_jsonld_complement(ngx_http_klaviyo_arena_t *arena,
    json_t *offer, ngx_http_klaviyo_jsonld_range_t *range)
{
    json_t  *low;

    /* amounts in different currencies can't be compared */

    low = (range->mixed || range->low == NULL) ? range->first : range->low;

    if (range->low && !range->mixed && !range->nested
        && (ngx_http_klaviyo_jsonld_fill(arena, offer, "lowPrice", low,
                                         "price")
            != NGX_OK
            || ngx_http_klaviyo_jsonld_fill(arena, offer, "highPrice",
                                            range->high, "price")
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (ngx_http_klaviyo_jsonld_fill(arena, offer, "price", low, "price")
        != NGX_OK
        || ngx_http_klaviyo_jsonld_fill(arena, offer, "priceCurrency", low,
                                        "priceCurrency")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_jsonld_fill(arena, offer, "availability",
                                        range->availability, "availability");
}


/* "availability" is that of one that is in stock, if any is */

static void
ngx_http_klaviyo_jsonld_measure(ngx_http_klaviyo_jsonld_range_t *range,
    json_t *offer)
{
    json_t                      *availability;
    ngx_http_klaviyo_decimal_t   d;

    if (offer == NULL) {
        return;
    }

    if (range->first == NULL) {
        range->first = offer;
    }

    if (!json_equal(json_object_get(offer, "priceCurrency"),
                    json_object_get(range->first, "priceCurrency"))
        && json_object_get(offer, "priceCurrency"))
    {
        range->mixed = 1;
    }

    if (json_object_get(offer, "lowPrice")) {
        range->nested = 1;
    }

    availability = json_object_get(offer, "availability");

    if (availability
        && (range->availability == NULL
            || (json_is_string(availability)
                && ngx_strcmp(json_string_value(availability), "InStock")
                   == 0)))
    {
        range->availability = offer;
    }

    if (ngx_http_klaviyo_jsonld_decimal(&d, json_object_get(offer, "price"))
        != NGX_OK)
    {
        return;
    }

    if (range->low == NULL
        || ngx_http_klaviyo_decimal_compare(&d, &range->lowest) < 0)
    {
        range->low = offer;
        range->lowest = d;
    }

    if (range->high == NULL
        || ngx_http_klaviyo_decimal_compare(&d, &range->highest) > 0)
    {
        range->high = offer;
        range->highest = d;
    }
}


static ngx_int_t
ngx_http_klaviyo_jsonld_decimal(ngx_http_klaviyo_decimal_t *d, json_t *price)
{
    u_char     buf[NGX_HTTP_KLAVIYO_REAL_LEN];
    ngx_str_t  text;

    if (json_is_number(price)) {
        text.data = buf;
        text.len = ngx_http_klaviyo_json_number(buf, price);

    } else {
        text.data = (u_char *) json_string_value(price);
        text.len = json_string_length(price);
    }

    if (text.len == 0) {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_decimal_parse(d, &text);
}


/* gives "object" a member that it lacks */

static ngx_int_t
ngx_http_klaviyo_jsonld_fill(ngx_http_klaviyo_arena_t *arena, json_t *object,
    const char *name, json_t *from, const char *key)
{
    json_t  *old;

    old = json_object_get(object, name);

    if (old && !json_is_null(old)) {
        return NGX_OK;
    }

    return ngx_http_klaviyo_jsonld_set(arena, object, name,
                                       json_incref(json_object_get(from, key)),
                                       0);
}
