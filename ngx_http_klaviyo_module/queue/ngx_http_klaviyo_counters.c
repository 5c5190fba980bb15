
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The names of what is counted, as status and $klaviyo_result show them.
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
    ngx_string("unidentified")
};


ngx_str_t  ngx_http_klaviyo_drop_names[] = {
    ngx_string("full"),
    ngx_string("too_large"),
    ngx_string("error")
};
