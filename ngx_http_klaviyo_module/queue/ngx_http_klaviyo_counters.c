
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The names of what is counted, as status and $klaviyo_result show them, and
 * the one count that depends on another.
 */


#include "ngx_http_klaviyo_counters.h"


ngx_str_t  ngx_http_klaviyo_skip_names[] = {
    ngx_string("condition"),
    ngx_string("limit"),
    ngx_string("empty"),
    ngx_string("status"),
    ngx_string("prefetch"),
    ngx_string("bots"),
    ngx_string("optout"),
    ngx_string("gpc"),
    ngx_string("dnt"),
    ngx_string("consent"),
    ngx_string("unidentified"),
    ngx_string("unconfirmed"),
    ngx_string("repeated"),
    ngx_string("held")
};


ngx_str_t  ngx_http_klaviyo_drop_names[] = {
    ngx_string("full"),
    ngx_string("too_large"),
    ngx_string("error")
};


void
ngx_http_klaviyo_count_seen(ngx_http_klaviyo_counters_t *counters,
    ngx_uint_t held)
{
    ngx_atomic_t  *skipped;

    skipped = &counters->skipped[NGX_HTTP_KLAVIYO_SKIP_HELD];

    if (held && (ngx_atomic_int_t) *skipped > 0) {
        (void) ngx_atomic_fetch_add(skipped, -1);

    } else {
        ngx_http_klaviyo_count(counters, seen);
    }
}


void
ngx_http_klaviyo_count_restored(ngx_http_klaviyo_counters_t *counters,
    ngx_uint_t counted)
{
    if (counted && (ngx_atomic_int_t) counters->spooled > 0) {
        ngx_http_klaviyo_count_n(counters, spooled, -1);

    } else {
        ngx_http_klaviyo_count(counters, restored);
    }
}
