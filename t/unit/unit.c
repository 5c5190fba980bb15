
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The globals that nginx's core objects want when no nginx is around them,
 * and the fixture of the unit tests.
 */


#include "unit.h"


volatile ngx_cycle_t  *ngx_cycle;

static ngx_log_t       unit_log;


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


int
unit_setup(void **state)
{
    ngx_pagesize = 4096;

    *state = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, &unit_log);

    return (*state == NULL) ? -1 : 0;
}


int
unit_teardown(void **state)
{
    ngx_destroy_pool(*state);

    return 0;
}


ngx_str_t *
unit_fill(ngx_pool_t *pool, u_char ch, size_t len)
{
    ngx_str_t  *str;

    str = ngx_palloc(pool, sizeof(ngx_str_t));
    assert_non_null(str);

    str->len = len;
    str->data = ngx_pnalloc(pool, len);
    assert_non_null(str->data);

    ngx_memset(str->data, ch, len);

    return str;
}


ngx_str_t *
unit_exact(ngx_pool_t *pool, ngx_str_t *text)
{
    ngx_str_t  *copy;

    copy = unit_fill(pool, 0, text->len);
    ngx_memcpy(copy->data, text->data, text->len);

    return copy;
}


void
unit_assert_text(ngx_str_t *str, ngx_str_t *expected, const char *file,
    int line)
{
    if (str->len == expected->len
        && ngx_memcmp(str->data, expected->data, str->len) == 0)
    {
        return;
    }

    print_error("\"%.*s\" is not \"%.*s\"\n", (int) str->len, str->data,
                (int) expected->len, expected->data);
    _fail(file, line);
}
