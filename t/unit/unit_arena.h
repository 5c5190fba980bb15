
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The fixture of tests that work on values: an arena per test.
 */


#ifndef _UNIT_ARENA_H_INCLUDED_
#define _UNIT_ARENA_H_INCLUDED_


#include "unit.h"
#include "ngx_http_klaviyo_data.h"
#include "ngx_http_klaviyo_json.h"


/* a test that has an arena of its own in "*state" */
#define unit_arena_test(f)                                                    \
    cmocka_unit_test_setup_teardown(f, unit_arena_setup, unit_arena_teardown)

#define assert_json(json, s)                                                  \
    unit_assert_json((json), unit_str(s), __FILE__, __LINE__)


static ngx_inline int
unit_arena_setup(void **state)
{
    void                      *pool;
    ngx_http_klaviyo_arena_t  *arena;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    arena = ngx_palloc(pool, sizeof(ngx_http_klaviyo_arena_t));
    if (arena == NULL) {
        return -1;
    }

    ngx_http_klaviyo_arena_init(arena, pool, NGX_HTTP_KLAVIYO_ARENA_SIZE);

    *state = arena;

    return 0;
}


static ngx_inline int
unit_arena_teardown(void **state)
{
    void                      *pool;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    pool = arena->pool;

    ngx_http_klaviyo_arena_done(arena);

    return unit_teardown(&pool);
}


/* compares with the text that jansson writes: compact, in document order */
static ngx_inline void
unit_assert_json(json_t *json, ngx_str_t *expected, const char *file, int line)
{
    char       *dump;
    ngx_str_t   text;

    dump = json_dumps(json, JSON_COMPACT|JSON_ENCODE_ANY);

    text.data = (u_char *) (dump ? dump : "(null)");
    text.len = ngx_strlen(text.data);

    unit_assert_text(&text, expected, file, line);

    free(dump);
}


#endif /* _UNIT_ARENA_H_INCLUDED_ */
