
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The file of dead letters and the one of the dry run.
 */


#include "unit_queue.h"
#include "ngx_http_klaviyo_deadletter.h"

#include <sys/resource.h>
#include <sys/stat.h>


#define EVENT  "{\"type\":\"event-bulk-create\",\"name\":\"\\u00e9\"}"


typedef struct {
    ngx_pool_t                     *pool;
    char                            folder[64];
    char                            path[128];
    ngx_http_klaviyo_journal_t      file;
} fixture_t;


static int
setup(void **state)
{
    void       *pool;
    ngx_str_t   folder;
    fixture_t  *f;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    ngx_time_init();

    f = ngx_pcalloc(pool, sizeof(fixture_t));
    f->pool = pool;

    strcpy(f->folder, P_tmpdir "/klaviyo-unit-XXXXXX");

    if (mkdtemp(f->folder) == NULL) {
        return -1;
    }

    sprintf(f->path, "%s/shop.dead", f->folder);

    folder.data = (u_char *) f->folder;
    folder.len = strlen(f->folder);

    *state = f;

    return ngx_http_klaviyo_journal_init(&f->file, pool, &folder,
                                         unit_str("shop"), ".dead", 10000,
                                         f->pool->log);
}


static int
teardown(void **state)
{
    void       *pool;
    fixture_t  *f;

    f = *state;
    pool = f->pool;

    (void) unlink(f->path);
    (void) rmdir(f->folder);

    return unit_teardown(&pool);
}


static ngx_str_t *
content(fixture_t *f)
{
    int         fd;
    ssize_t     n;
    ngx_str_t  *text;

    text = unit_fill(f->pool, '\0', 20000);

    fd = open(f->path, O_RDONLY);
    assert_true(fd != -1);

    n = read(fd, text->data, text->len);
    assert_true(n >= 0);

    text->len = n;

    (void) close(fd);

    return text;
}


static ngx_int_t
bury(fixture_t *f, ngx_http_klaviyo_error_t *error)
{
    ngx_http_klaviyo_line_t  letter;

    ngx_memset(letter.key, 0xab, NGX_HTTP_KLAVIYO_KEY_LEN);
    letter.id = 42;
    letter.time = 1784073600;
    letter.backfill = 7;
    letter.aged = 1;
    letter.event = *unit_str(EVENT);

    return ngx_http_klaviyo_deadletter_write(&f->file, 400, error, &letter);
}


static void
append(fixture_t *f, char *text)
{
    int  fd;

    fd = open(f->path, O_WRONLY|O_APPEND|O_CREAT, 0600);
    assert_true(fd != -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void) close(fd);
}


static void
a_letter_is_a_line_with_checksum_time_error_and_event(void **state)
{
    fixture_t *f = *state;

    u_char                    *p;
    ngx_str_t                 *text;
    ngx_http_klaviyo_error_t   error;

    error.code = *unit_str("invalid");
    error.title = *unit_str("Invalid input.");
    error.detail = *unit_str("\"no\nway\"");
    error.pointer = *unit_str("/data/0");

    assert_int_equal(bury(f, &error), NGX_OK);

    text = content(f);

    /* the checksum is what gzip writes */

    p = (u_char *) strstr((char *) text->data, "\"at\":\"");
    assert_non_null(p);
    p += sizeof("\"at\":\"") - 1;
    assert_int_equal(p[10], 'T');
    assert_int_equal(p[19], 'Z');
    ngx_memset(p, 'x', 20);

    assert_text(text,
                "{\"crc\":\"f0ce2e40\",\"len\":44,"
                "\"key\":\"abababababababababababababababab\","
                "\"id\":\"0000002a\",\"time\":1784073600,"
                "\"backfill\":7,\"decided\":true,"
                "\"at\":\"xxxxxxxxxxxxxxxxxxxx\","
                "\"error\":{\"status\":400,\"code\":\"invalid\","
                "\"title\":\"Invalid input.\","
                "\"detail\":\"\\\"no\\nway\\\"\",\"pointer\":\"/data/0\"},"
                "\"event\":" EVENT "}\n");
}


static void
an_error_without_words_leaves_them_out(void **state)
{
    fixture_t *f = *state;

    ngx_http_klaviyo_error_t  error;

    ngx_memzero(&error, sizeof(ngx_http_klaviyo_error_t));
    error.code = *unit_str("\xff");

    assert_int_equal(bury(f, NULL), NGX_OK);
    assert_non_null(strstr((char *) content(f)->data,
                           "\"error\":{\"status\":400},"));

    assert_int_equal(bury(f, &error), NGX_OK);
    assert_null(strstr((char *) content(f)->data, "code"));
}


static void
only_its_owner_can_read_the_file(void **state)
{
    fixture_t *f = *state;

    struct stat  st;

    assert_int_equal(bury(f, NULL), NGX_OK);

    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}


static void
letters_are_appended(void **state)
{
    fixture_t *f = *state;

    size_t  len;

    assert_int_equal(bury(f, NULL), NGX_OK);
    len = content(f)->len;

    assert_int_equal(bury(f, NULL), NGX_OK);
    assert_int_equal(content(f)->len, 2 * len);
}


static void
a_letter_after_a_torn_line_has_a_line_of_its_own(void **state)
{
    fixture_t *f = *state;

    append(f, "{\"crc\":\"0");

    assert_int_equal(bury(f, NULL), NGX_OK);
    assert_non_null(strstr((char *) content(f)->data,
                           "{\"crc\":\"0\n{\"crc\":\""));
}


static void
a_full_file_stays_as_it_is(void **state)
{
    fixture_t *f = *state;

    size_t  len;

    assert_int_equal(bury(f, NULL), NGX_OK);
    len = content(f)->len;

    f->file.max = 2 * len;
    assert_int_equal(bury(f, NULL), NGX_OK);
    assert_int_equal(bury(f, NULL), NGX_DECLINED);
    assert_int_equal(content(f)->len, 2 * len);
}


static void
a_file_that_was_moved_away_is_made_anew(void **state)
{
    fixture_t *f = *state;

    size_t  len;

    assert_int_equal(bury(f, NULL), NGX_OK);
    len = content(f)->len;

    assert_int_equal(unlink(f->path), 0);

    assert_int_equal(bury(f, NULL), NGX_OK);
    assert_int_equal(content(f)->len, len);
}


static void
a_symbolic_link_is_not_followed(void **state)
{
    fixture_t *f = *state;

    char         target[128];
    struct stat  st;

    sprintf(target, "%s/target", f->folder);
    assert_int_equal(symlink(target, f->path), 0);

    assert_int_equal(bury(f, NULL), NGX_ERROR);
    assert_int_equal(stat(target, &st), -1);
}


static void
a_pipe_is_an_error_and_does_not_block(void **state)
{
    fixture_t *f = *state;

    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(bury(f, NULL), NGX_ERROR);
}


static void
no_folder_is_an_error(void **state)
{
    fixture_t *f = *state;

    ngx_str_set(&f->file.path, "/nonexistent/shop.dead");
    assert_int_equal(bury(f, NULL), NGX_ERROR);
}


static void
what_a_full_disk_cuts_off_is_an_error_and_the_next_line_whole(void **state)
{
    fixture_t *f = *state;

    size_t         len;
    struct rlimit  limit, old;

    assert_int_equal(bury(f, NULL), NGX_OK);
    len = content(f)->len;

    (void) signal(SIGXFSZ, SIG_IGN);

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = len + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    assert_int_equal(bury(f, NULL), NGX_ERROR);
    assert_int_equal(content(f)->len, len + 10);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);

    assert_int_equal(bury(f, NULL), NGX_OK);
    assert_int_equal(content(f)->len, len + 10 + 1 + len);
    assert_int_equal(content(f)->data[len + 10], LF);
}


static void
the_dry_run_is_the_body_and_a_newline(void **state)
{
    fixture_t *f = *state;

    ngx_int_t                  slot;
    ngx_http_klaviyo_ring_t   *ring;
    ngx_http_klaviyo_batch_t   batch;

    ring = unit_ring(f->pool);
    unit_put(ring, 0);
    (void) ngx_http_klaviyo_ring_own(ring);
    slot = ngx_http_klaviyo_ring_claim(ring, 10, 1000, NULL);

    (void) ngx_http_klaviyo_batch_open(&batch, NGX_HTTP_KLAVIYO_EVENTS, ring,
                                       slot);

    assert_int_equal(ngx_http_klaviyo_deadletter_body(&f->file, &batch),
                     NGX_OK);

    assert_text(content(f),
                "{\"data\":{\"type\":\"event-bulk-create-job\","
                "\"attributes\":{\"events-bulk-create\":{\"data\":["
                "{\"n\":0,\"backfill\":false}]}}}}\n");
}


#define test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(a_letter_is_a_line_with_checksum_time_error_and_event),
        test(an_error_without_words_leaves_them_out),
        test(only_its_owner_can_read_the_file),
        test(letters_are_appended),
        test(a_letter_after_a_torn_line_has_a_line_of_its_own),
        test(a_full_file_stays_as_it_is),
        test(a_file_that_was_moved_away_is_made_anew),
        test(a_symbolic_link_is_not_followed),
        test(a_pipe_is_an_error_and_does_not_block),
        test(no_folder_is_an_error),
        test(what_a_full_disk_cuts_off_is_an_error_and_the_next_line_whole),
        test(the_dry_run_is_the_body_and_a_newline),
    };

    return cmocka_run_group_tests_name("deadletter", tests, NULL, NULL);
}
