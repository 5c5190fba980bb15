
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Between libFuzzer and a target: cuts inputs into parts, gives each an arena,
 * and looks what it has taken: memory and CPU time.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_decimal.h"

#include <sanitizer/allocator_interface.h>


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ngx_pool_t *fuzz_pool(void);
static void fuzz_malloc(const volatile void *p, size_t size);
static void fuzz_free(const volatile void *p);
static ngx_uint_t fuzz_cpu(void);


/* of what targets make before their first input; reachable for LSan */
static ngx_pool_t  *fuzz_init_pool;

/* bytes of malloc(), and the most that there were at once */
static ssize_t      fuzz_held;
static ssize_t      fuzz_peak;

static ngx_uint_t   fuzz_stretch;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    /* an assertion that fails ends in abort(), which libFuzzer reports */
    (void) setenv("CMOCKA_TEST_ABORT", "1", 1);

    ngx_pagesize = 4096;
    ngx_time_init();

    if (__sanitizer_install_malloc_and_free_hooks(fuzz_malloc, fuzz_free)
        == 0)
    {
        return 1;
    }

    fuzz_stretch = (getenv("FUZZ_STRETCH") != NULL);
    fuzz_init_pool = fuzz_pool();
    fuzz_init(fuzz_init_pool);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t      f;
    ssize_t     held;
    ngx_str_t   input;
    ngx_uint_t  cpu;

    f.pool = fuzz_pool();

    input.data = (u_char *) data;
    input.len = size;
    input = fuzz_copy(&f, &input);

    f.pos = input.data;
    f.last = input.data + size;

    ngx_http_klaviyo_arena_init(&f.arena, f.pool,
                                NGX_HTTP_KLAVIYO_ARENA_SIZE);

    held = fuzz_held;
    fuzz_peak = held;
    cpu = fuzz_cpu();

    fuzz_one(&f);

    cpu = fuzz_cpu() - cpu;

    if (cpu > FUZZ_CPU) {
        fail_msg("%lu ms of CPU time", (unsigned long) cpu);
    }

    assert_in_range(f.arena.left, 0, NGX_HTTP_KLAVIYO_ARENA_SIZE);
    assert_in_range(fuzz_peak - held, 0, FUZZ_MEMORY);

    ngx_http_klaviyo_arena_done(&f.arena);
    ngx_destroy_pool(f.pool);

    return 0;
}


/* small, for each allocation is a malloc() of its own anyway */

static ngx_pool_t *
fuzz_pool(void)
{
    ngx_pool_t        *pool;
    static ngx_log_t   log;

    pool = ngx_create_pool(1024, &log);
    assert_non_null(pool);

    return pool;
}


static void
fuzz_malloc(const volatile void *p, size_t size)
{
    fuzz_held += size;

    if (fuzz_held > fuzz_peak) {
        fuzz_peak = fuzz_held;
    }
}


static void
fuzz_free(const volatile void *p)
{
    if (p) {
        fuzz_held -= __sanitizer_get_allocated_size((const void *) p);
    }
}


static ngx_uint_t
fuzz_cpu(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


ngx_uint_t
fuzz_byte(fuzz_t *f)
{
    return (f->pos < f->last) ? *f->pos++ : 0;
}


ngx_str_t
fuzz_line(fuzz_t *f)
{
    u_char     *p;
    ngx_str_t   line;

    p = f->pos;
    line.data = p;

    while (p < f->last && *p != LF) {
        p++;
    }

    line.len = p - line.data;
    f->pos = (p < f->last) ? p + 1 : p;

    return fuzz_copy(f, &line);
}


ngx_str_t
fuzz_rest(fuzz_t *f)
{
    size_t      len, left;
    u_char     *p;
    ngx_str_t   rest;

    rest.data = f->pos;
    rest.len = f->last - f->pos;

    if (!fuzz_stretch || rest.len == 0 || rest.len >= FUZZ_LONG) {
        return fuzz_copy(f, &rest);
    }

    p = ngx_pnalloc(f->pool, FUZZ_LONG);
    assert_non_null(p);

    for (left = FUZZ_LONG; left > 0; left -= len) {
        len = ngx_min(left, rest.len);
        ngx_memcpy(p + FUZZ_LONG - left, rest.data, len);
    }

    rest.data = p;
    rest.len = FUZZ_LONG;

    return rest;
}


ngx_str_t
fuzz_copy(fuzz_t *f, ngx_str_t *src)
{
    ngx_str_t  dst;

    dst.len = src->len;
    dst.data = ngx_pnalloc(f->pool, src->len);
    assert_non_null(dst.data);

    /* nothing may have no address either */

    if (src->len) {
        ngx_memcpy(dst.data, src->data, src->len);
    }

    return dst;
}


void
fuzz_data(fuzz_t *f, ngx_http_klaviyo_data_t *data, ngx_str_t *text)
{
    size_t                       len;
    u_char                      *p, buf[NGX_HTTP_KLAVIYO_DECIMAL_LEN];
    ngx_str_t                    rest;
    ngx_http_klaviyo_decimal_t   d;

    ngx_memzero(data, sizeof(ngx_http_klaviyo_data_t));

    rest.data = text->data + 1;
    rest.len = text->len ? text->len - 1 : 0;

    switch (text->len ? text->data[0] : '\0') {

    case 's':
        ngx_http_klaviyo_data_set_string(data, rest.data, rest.len);
        return;

    case 'n':
        if (ngx_http_klaviyo_decimal_parse(&d, &rest) != NGX_OK) {
            return;
        }

        len = ngx_http_klaviyo_decimal_format(buf, &d);
        p = ngx_pnalloc(f->pool, len);
        assert_non_null(p);

        ngx_memcpy(p, buf, len);

        data->type = NGX_HTTP_KLAVIYO_NUMBER;
        data->text.data = p;
        data->text.len = len;
        return;

    case 't':
        data->type = NGX_HTTP_KLAVIYO_TRUE;
        return;

    case 'f':
        data->type = NGX_HTTP_KLAVIYO_FALSE;
        return;

    case 'u':
        data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
        return;
    }

    ngx_http_klaviyo_data_from_json(&f->arena, data,
                                    ngx_http_klaviyo_json_parse(&f->arena,
                                                                text));
}


void
fuzz_check_data(fuzz_t *f, ngx_http_klaviyo_data_t *data)
{
    u_char      *p;
    size_t       size;
    json_t      *json;
    ssize_t      peak;
    ngx_str_t    text;
    ngx_uint_t   limits, again;

    switch (data->type) {

    case NGX_HTTP_KLAVIYO_NUMBER:
        json_decref(fuzz_load(data->text.data, data->text.len));
        break;

    case NGX_HTTP_KLAVIYO_TREE:
        assert_non_null(data->json);
        assert_true(json_is_array(data->json) || json_is_object(data->json));
        break;

    default:
        assert_in_range(data->type, NGX_HTTP_KLAVIYO_MISSING,
                        NGX_HTTP_KLAVIYO_TRUE);
    }

    (void) ngx_http_klaviyo_data_text(data, &text);
    (void) ngx_http_klaviyo_data_truth(data);

    limits = 0;
    again = 0;
    size = ngx_http_klaviyo_json_write(NULL, data, 0, &limits);

    if (size == 0) {
        return;
    }

    p = ngx_pnalloc(f->pool, size);
    assert_non_null(p);

    assert_int_equal(ngx_http_klaviyo_json_write(p, data, 0, &again), size);
    assert_int_equal(again, limits);

    /* our own tree shares nothing, and is nobody's cost */

    peak = fuzz_peak;

    json = fuzz_load(p, size);
    assert_false(json_is_null(json));
    json_decref(json);

    fuzz_peak = peak;
}


json_t *
fuzz_load(u_char *p, size_t len)
{
    json_t        *json;
    json_error_t   error;

    json = json_loadb((char *) p, len, JSON_DECODE_ANY, &error);

    if (json == NULL) {
        fail_msg("%s: %.*s", error.text, (int) ngx_min(len, 200), p);
    }

    return json;
}


void
fuzz_check_utf8(ngx_str_t *text)
{
    json_t  *json;

    json = json_stringn((char *) text->data, text->len);
    assert_non_null(json);
    json_decref(json);
}


void
fuzz_assert_text(ngx_str_t *a, ngx_str_t *b, const char *file, int line)
{
    if (a->len == 0 && b->len == 0) {
        return;
    }

    if (a->len != b->len || ngx_memcmp(a->data, b->data, a->len) != 0) {
        unit_assert_text(a, b, file, line);
    }
}
