
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What every unit test needs: cmocka, nginx's core types, a pool per test.
 */


#ifndef _UNIT_H_INCLUDED_
#define _UNIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <setjmp.h>
#include <cmocka.h>


/*
 * A test that has a pool of its own in "*state"; cmocka's macro of that name
 * belongs to its old interface.
 */
#undef unit_test
#define unit_test(f)                                                          \
    cmocka_unit_test_setup_teardown(f, unit_setup, unit_teardown)

/*
 * ngx_str_t * of a literal, NUL bytes inside included; it lives as long as the
 * block it stands in
 */
#define unit_str(s)                                                           \
    (&(ngx_str_t) { sizeof(s) - 1, (u_char *) (s) })

#define assert_text(str, s)                                                   \
    unit_assert_text((str), unit_str(s), __FILE__, __LINE__)


int unit_setup(void **state);
int unit_teardown(void **state);

/* "len" bytes "ch" in the pool */
ngx_str_t *unit_fill(ngx_pool_t *pool, u_char ch, size_t len);

/* a copy with nothing behind it, so that a sanitizer sees its end */
ngx_str_t *unit_exact(ngx_pool_t *pool, ngx_str_t *text);

void unit_assert_text(ngx_str_t *str, ngx_str_t *expected, const char *file,
    int line);


#endif /* _UNIT_H_INCLUDED_ */
