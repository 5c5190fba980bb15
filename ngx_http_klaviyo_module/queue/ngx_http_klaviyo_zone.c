
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the zones in shared memory have in common: how they are created and
 * recognized again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_zone.h"


ngx_int_t
ngx_http_klaviyo_zone_attach(ngx_shm_zone_t *shm_zone,
    ngx_http_klaviyo_layout_t *layout, void **sh)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (*sh == NULL) {
        *sh = shpool->data;
    }

    if (*sh == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_memcmp(*sh, layout, sizeof(ngx_http_klaviyo_layout_t)) != 0) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "shared memory zone \"%V\" has another layout, "
                      "restart nginx", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void *
ngx_http_klaviyo_zone_alloc(ngx_shm_zone_t *shm_zone, size_t min, size_t *size)
{
    void             *p;
    size_t            len;
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    shpool->log_nomem = 0;

    len = sizeof(" in klaviyo zone \"\"") + shm_zone->shm.name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, len);
    if (shpool->log_ctx == NULL) {
        shpool->log_ctx = &shpool->zero;
        goto small;
    }

    ngx_sprintf(shpool->log_ctx, " in klaviyo zone \"%V\"%Z",
                &shm_zone->shm.name);

    *size = shpool->pfree * ngx_pagesize;

    if (*size < min) {
        goto small;
    }

    p = ngx_slab_alloc(shpool, *size);
    if (p) {
        return p;
    }

small:

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "shared memory zone \"%V\" is too small",
                  &shm_zone->shm.name);

    return NULL;
}
