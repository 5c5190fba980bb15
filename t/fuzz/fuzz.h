
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What every fuzz target needs: an input that is cut into parts, and an arena.
 * A target is a file NAME_fuzz.c with fuzz_init() and fuzz_one(); a property
 * that does not hold is one of cmocka's assertions.
 *
 * An input is text, so that a person can write one: what a target wants to
 * know first stands in lines, the rest is what a stranger sends.  With
 * FUZZ_STRETCH=1 in the environment the rest is repeated up to FUZZ_LONG
 * bytes: so an input of a few bytes shows what costs more than its length.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include "unit.h"
#include "ngx_http_klaviyo_json.h"


#define FUZZ_LONG    65536

/* CPU time that one input may take with sanitizers, milliseconds */
#define FUZZ_CPU     500

/* memory that one input may take, with what the target makes of it */
#define FUZZ_MEMORY  (16 * 1024 * 1024)

#define fuzz_assert_same(a, b)                                                \
    fuzz_assert_text((a), (b), __FILE__, __LINE__)


typedef struct {
    ngx_pool_t                *pool;     /* of this input */
    u_char                    *pos;
    u_char                    *last;
    ngx_http_klaviyo_arena_t   arena;
} fuzz_t;


/* Before the first input; what it makes lives as long as "pool", for good. */
void fuzz_init(ngx_pool_t *pool);

/* One input.  Afterwards the arena and the pool are gone. */
void fuzz_one(fuzz_t *f);


/* Parts of the input, in memory of their own so that ASan sees their end. */

/* the next byte, 0 at the end */
ngx_uint_t fuzz_byte(fuzz_t *f);

/* up to the next LF, which is left out */
ngx_str_t fuzz_line(fuzz_t *f);

/* all that is left, repeated if that was asked for */
ngx_str_t fuzz_rest(fuzz_t *f);

/* a text in memory of its own */
ngx_str_t fuzz_copy(fuzz_t *f, ngx_str_t *src);


/*
 * A value of any type: "s" and a string, "n" and a number that is one, "t",
 * "f", "u" (unknown), all else JSON text; missing if it is none.
 */
void fuzz_data(fuzz_t *f, ngx_http_klaviyo_data_t *data, ngx_str_t *text);

/* What ngx_http_klaviyo_data_t promises, whatever it came from. */
void fuzz_check_data(fuzz_t *f, ngx_http_klaviyo_data_t *data);

/* The text is JSON; a new reference. */
json_t *fuzz_load(u_char *p, size_t len);

/* The text is UTF-8. */
void fuzz_check_utf8(ngx_str_t *text);

void fuzz_assert_text(ngx_str_t *a, ngx_str_t *b, const char *file, int line);


#endif /* _FUZZ_H_INCLUDED_ */
