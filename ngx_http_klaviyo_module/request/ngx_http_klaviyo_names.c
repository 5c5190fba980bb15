
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The names of Klaviyo's guide for a shop without an integration of its own,
 * and of the integrations that Klaviyo maintains where the guide has none
 * (searches and categories).
 */


#include "ngx_http_klaviyo_names.h"


/* letters of a name that is compared; ours are shorter */
#define NGX_HTTP_KLAVIYO_NAMES_LEN       40

/* a documented name from this length on may be 2 letters away */
#define NGX_HTTP_KLAVIYO_NAMES_LONG      10

/* one up to this length none */
#define NGX_HTTP_KLAVIYO_NAMES_SHORT     3


#define NGX_HTTP_KLAVIYO_TEXT(name)      { ngx_string(name), 0 }
#define NGX_HTTP_KLAVIYO_NUMERIC(name)   { ngx_string(name), 1 }
#define NGX_HTTP_KLAVIYO_LAST            { ngx_null_string, 0 }


static size_t ngx_http_klaviyo_names_fold(u_char *dst, ngx_str_t *name);
static ngx_uint_t ngx_http_klaviyo_names_digits(u_char *a, size_t n,
    u_char *b, size_t m);


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_viewed_product[] = {
    NGX_HTTP_KLAVIYO_TEXT("ProductName"),
    NGX_HTTP_KLAVIYO_TEXT("ProductID"),
    NGX_HTTP_KLAVIYO_TEXT("SKU"),
    NGX_HTTP_KLAVIYO_TEXT("Categories"),
    NGX_HTTP_KLAVIYO_TEXT("ImageURL"),
    NGX_HTTP_KLAVIYO_TEXT("URL"),
    NGX_HTTP_KLAVIYO_TEXT("Brand"),
    NGX_HTTP_KLAVIYO_NUMERIC("Price"),
    NGX_HTTP_KLAVIYO_NUMERIC("CompareAtPrice"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_added_to_cart[] = {
    NGX_HTTP_KLAVIYO_TEXT("AddedItemProductName"),
    NGX_HTTP_KLAVIYO_TEXT("AddedItemProductID"),
    NGX_HTTP_KLAVIYO_TEXT("AddedItemSKU"),
    NGX_HTTP_KLAVIYO_TEXT("AddedItemCategories"),
    NGX_HTTP_KLAVIYO_TEXT("AddedItemImageURL"),
    NGX_HTTP_KLAVIYO_TEXT("AddedItemURL"),
    NGX_HTTP_KLAVIYO_NUMERIC("AddedItemPrice"),
    NGX_HTTP_KLAVIYO_NUMERIC("AddedItemQuantity"),
    NGX_HTTP_KLAVIYO_TEXT("ItemNames"),
    NGX_HTTP_KLAVIYO_TEXT("CheckoutURL"),
    NGX_HTTP_KLAVIYO_TEXT("Items"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_started_checkout[] = {
    NGX_HTTP_KLAVIYO_TEXT("ItemNames"),
    NGX_HTTP_KLAVIYO_TEXT("CheckoutURL"),
    NGX_HTTP_KLAVIYO_TEXT("Categories"),
    NGX_HTTP_KLAVIYO_TEXT("Items"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_order[] = {
    NGX_HTTP_KLAVIYO_TEXT("OrderId"),
    NGX_HTTP_KLAVIYO_TEXT("Categories"),
    NGX_HTTP_KLAVIYO_TEXT("ItemNames"),
    NGX_HTTP_KLAVIYO_TEXT("Brands"),
    NGX_HTTP_KLAVIYO_TEXT("DiscountCode"),
    NGX_HTTP_KLAVIYO_NUMERIC("DiscountValue"),
    NGX_HTTP_KLAVIYO_TEXT("Items"),
    NGX_HTTP_KLAVIYO_TEXT("BillingAddress"),
    NGX_HTTP_KLAVIYO_TEXT("ShippingAddress"),
    NGX_HTTP_KLAVIYO_LAST
};


/* fulfilled, canceled, refunded: the guide writes the discount both ways */

static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_order_after[] = {
    NGX_HTTP_KLAVIYO_TEXT("OrderId"),
    NGX_HTTP_KLAVIYO_TEXT("Reason"),
    NGX_HTTP_KLAVIYO_TEXT("Categories"),
    NGX_HTTP_KLAVIYO_TEXT("ItemNames"),
    NGX_HTTP_KLAVIYO_TEXT("Brands"),
    NGX_HTTP_KLAVIYO_TEXT("DiscountCode"),
    NGX_HTTP_KLAVIYO_TEXT("Discount Code"),
    NGX_HTTP_KLAVIYO_NUMERIC("DiscountValue"),
    NGX_HTTP_KLAVIYO_NUMERIC("Discount Value"),
    NGX_HTTP_KLAVIYO_TEXT("Items"),
    NGX_HTTP_KLAVIYO_TEXT("BillingAddress"),
    NGX_HTTP_KLAVIYO_TEXT("ShippingAddress"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_ordered_product[] = {
    NGX_HTTP_KLAVIYO_TEXT("OrderId"),
    NGX_HTTP_KLAVIYO_TEXT("ProductID"),
    NGX_HTTP_KLAVIYO_TEXT("SKU"),
    NGX_HTTP_KLAVIYO_TEXT("ProductName"),
    NGX_HTTP_KLAVIYO_NUMERIC("Quantity"),
    NGX_HTTP_KLAVIYO_TEXT("ProductURL"),
    NGX_HTTP_KLAVIYO_TEXT("ImageURL"),
    NGX_HTTP_KLAVIYO_TEXT("Categories"),
    NGX_HTTP_KLAVIYO_TEXT("ProductBrand"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_searched_site[] = {
    NGX_HTTP_KLAVIYO_TEXT("Search Term"),
    NGX_HTTP_KLAVIYO_NUMERIC("Search Results Count"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_viewed_category[] = {
    NGX_HTTP_KLAVIYO_TEXT("Viewed Category"),
    NGX_HTTP_KLAVIYO_LAST
};


static ngx_http_klaviyo_documented_t  ngx_http_klaviyo_nothing[] = {
    NGX_HTTP_KLAVIYO_LAST
};


/* both spellings of a canceled order are in use, and so are both searches */

static ngx_http_klaviyo_metric_t  ngx_http_klaviyo_metrics[] = {
    { ngx_string("Active on Site"), ngx_http_klaviyo_nothing },
    { ngx_string("Viewed Product"), ngx_http_klaviyo_viewed_product },
    { ngx_string("Added to Cart"), ngx_http_klaviyo_added_to_cart },
    { ngx_string("Started Checkout"), ngx_http_klaviyo_started_checkout },
    { ngx_string("Placed Order"), ngx_http_klaviyo_order },
    { ngx_string("Ordered Product"), ngx_http_klaviyo_ordered_product },
    { ngx_string("Fulfilled Order"), ngx_http_klaviyo_order_after },
    { ngx_string("Canceled Order"), ngx_http_klaviyo_order_after },
    { ngx_string("Cancelled Order"), ngx_http_klaviyo_order_after },
    { ngx_string("Refunded Order"), ngx_http_klaviyo_order_after },
    { ngx_string("Searched Site"), ngx_http_klaviyo_searched_site },
    { ngx_string("Submitted Search"), ngx_http_klaviyo_nothing },
    { ngx_string("Viewed Category"), ngx_http_klaviyo_viewed_category },
    { ngx_string("Viewed Collection"), ngx_http_klaviyo_nothing },
    { ngx_null_string, NULL }
};


/* of carts (ProductCategories) and of orders (Categories, Brand) */

ngx_http_klaviyo_documented_t  ngx_http_klaviyo_item_names[] = {
    NGX_HTTP_KLAVIYO_TEXT("ProductID"),
    NGX_HTTP_KLAVIYO_TEXT("SKU"),
    NGX_HTTP_KLAVIYO_TEXT("ProductName"),
    NGX_HTTP_KLAVIYO_NUMERIC("Quantity"),
    NGX_HTTP_KLAVIYO_NUMERIC("ItemPrice"),
    NGX_HTTP_KLAVIYO_NUMERIC("RowTotal"),
    NGX_HTTP_KLAVIYO_TEXT("ProductURL"),
    NGX_HTTP_KLAVIYO_TEXT("ImageURL"),
    NGX_HTTP_KLAVIYO_TEXT("ProductCategories"),
    NGX_HTTP_KLAVIYO_TEXT("Categories"),
    NGX_HTTP_KLAVIYO_TEXT("Brand"),
    NGX_HTTP_KLAVIYO_LAST
};


ngx_http_klaviyo_documented_t  ngx_http_klaviyo_address_names[] = {
    NGX_HTTP_KLAVIYO_TEXT("FirstName"),
    NGX_HTTP_KLAVIYO_TEXT("LastName"),
    NGX_HTTP_KLAVIYO_TEXT("Address1"),
    NGX_HTTP_KLAVIYO_TEXT("Address2"),
    NGX_HTTP_KLAVIYO_TEXT("City"),
    NGX_HTTP_KLAVIYO_TEXT("RegionCode"),
    NGX_HTTP_KLAVIYO_TEXT("CountryCode"),
    NGX_HTTP_KLAVIYO_TEXT("Zip"),
    NGX_HTTP_KLAVIYO_TEXT("Phone"),
    NGX_HTTP_KLAVIYO_LAST
};


ngx_http_klaviyo_documented_t  ngx_http_klaviyo_field_names[] = {
    NGX_HTTP_KLAVIYO_TEXT("email"),
    NGX_HTTP_KLAVIYO_TEXT("phone_number"),
    NGX_HTTP_KLAVIYO_TEXT("external_id"),
    NGX_HTTP_KLAVIYO_TEXT("anonymous_id"),
    NGX_HTTP_KLAVIYO_TEXT("first_name"),
    NGX_HTTP_KLAVIYO_TEXT("last_name"),
    NGX_HTTP_KLAVIYO_LAST
};


ngx_http_klaviyo_metric_t *
ngx_http_klaviyo_metric_find(ngx_str_t *name)
{
    ngx_http_klaviyo_metric_t  *metric;

    for (metric = ngx_http_klaviyo_metrics; metric->name.len; metric++) {

        if (metric->name.len == name->len
            && ngx_strncmp(metric->name.data, name->data, name->len) == 0)
        {
            return metric;
        }
    }

    return NULL;
}


ngx_http_klaviyo_metric_t *
ngx_http_klaviyo_metric_near(ngx_str_t *name)
{
    ngx_int_t                   distance, least;
    ngx_http_klaviyo_metric_t  *metric, *near;

    if (ngx_http_klaviyo_metric_find(name)) {
        return NULL;
    }

    near = NULL;
    least = NGX_MAX_INT_T_VALUE;

    for (metric = ngx_http_klaviyo_metrics; metric->name.len; metric++) {

        distance = ngx_http_klaviyo_names_distance(&metric->name, name);

        if (distance != NGX_DECLINED && distance < least) {
            least = distance;
            near = metric;
        }
    }

    return near;
}


ngx_http_klaviyo_documented_t *
ngx_http_klaviyo_names_find(ngx_http_klaviyo_documented_t *list,
    ngx_str_t *name)
{
    for ( /* void */ ; list->name.len; list++) {

        if (list->name.len == name->len
            && ngx_strncmp(list->name.data, name->data, name->len) == 0)
        {
            return list;
        }
    }

    return NULL;
}


ngx_http_klaviyo_documented_t *
ngx_http_klaviyo_names_near(ngx_http_klaviyo_documented_t *list,
    ngx_str_t *name)
{
    ngx_int_t                       distance, least;
    ngx_http_klaviyo_documented_t  *near;

    if (ngx_http_klaviyo_names_find(list, name)) {
        return NULL;
    }

    near = NULL;
    least = NGX_MAX_INT_T_VALUE;

    for ( /* void */ ; list->name.len; list++) {

        distance = ngx_http_klaviyo_names_distance(&list->name, name);

        if (distance != NGX_DECLINED && distance < least) {
            least = distance;
            near = list;
        }
    }

    return near;
}


/* Levenshtein's, of what is left without case and separators */

ngx_int_t
ngx_http_klaviyo_names_distance(ngx_str_t *documented, ngx_str_t *name)
{
    size_t      n, m;
    u_char      a[NGX_HTTP_KLAVIYO_NAMES_LEN], b[NGX_HTTP_KLAVIYO_NAMES_LEN];
    ngx_uint_t  i, j, most, diagonal, above;
    ngx_uint_t  row[NGX_HTTP_KLAVIYO_NAMES_LEN + 1];

    n = ngx_http_klaviyo_names_fold(a, documented);
    m = ngx_http_klaviyo_names_fold(b, name);

    /* who counts means another name: Address3, "Placed Order 2" */

    if (n == 0 || m == 0 || !ngx_http_klaviyo_names_digits(a, n, b, m)) {
        return NGX_DECLINED;
    }

    most = (n >= NGX_HTTP_KLAVIYO_NAMES_LONG)
           ? 2 : (ngx_min(n, m) > NGX_HTTP_KLAVIYO_NAMES_SHORT);

    for (j = 0; j <= m; j++) {
        row[j] = j;
    }

    for (i = 1; i <= n; i++) {
        diagonal = row[0];
        row[0] = i;

        for (j = 1; j <= m; j++) {
            above = row[j];
            row[j] = ngx_min(diagonal + (a[i - 1] != b[j - 1]),
                             ngx_min(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }

    return (row[m] <= most) ? (ngx_int_t) row[m] : NGX_DECLINED;
}


/* Returns the length, 0 if it is too long to resemble one of ours. */

static size_t
ngx_http_klaviyo_names_fold(u_char *dst, ngx_str_t *name)
{
    u_char  *p, *last;
    size_t   n;

    last = name->data + name->len;

    for (n = 0, p = name->data; p < last; p++) {

        if (*p == ' ' || *p == '_' || *p == '-') {
            continue;
        }

        if (n == NGX_HTTP_KLAVIYO_NAMES_LEN) {
            return 0;
        }

        dst[n++] = ngx_tolower(*p);
    }

    return n;
}


/* Whether both have the same digits, in the same order. */

static ngx_uint_t
ngx_http_klaviyo_names_digits(u_char *a, size_t n, u_char *b, size_t m)
{
    size_t  i, j;

    i = 0;
    j = 0;

    for ( ;; ) {

        while (i < n && (a[i] < '0' || a[i] > '9')) {
            i++;
        }

        while (j < m && (b[j] < '0' || b[j] > '9')) {
            j++;
        }

        if (i == n || j == m) {
            return i == n && j == m;
        }

        if (a[i++] != b[j++]) {
            return 0;
        }
    }
}
