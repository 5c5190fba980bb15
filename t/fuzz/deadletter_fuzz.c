
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Dead letters: Klaviyo's words in lines (code, title, detail, pointer), the
 * event in the rest.  The letter is JSON, and read by the spool as the event.
 */


#include "fuzz.h"
#include "unit_folder.h"
#include "ngx_http_klaviyo_deadletter.h"


static void fuzz_cleanup(void);


static char                        fuzz_folder[64];
static ngx_http_klaviyo_journal_t  fuzz_file;


void
fuzz_init(ngx_pool_t *pool)
{
    ngx_str_t  folder;

    strcpy(fuzz_folder, access("/dev/shm", W_OK) == 0
                        ? "/dev/shm/klaviyo-fuzz-XXXXXX"
                        : P_tmpdir "/klaviyo-fuzz-XXXXXX");

    assert_non_null(mkdtemp(fuzz_folder));
    (void) atexit(fuzz_cleanup);

    folder.data = (u_char *) fuzz_folder;
    folder.len = strlen(fuzz_folder);

    assert_int_equal(ngx_http_klaviyo_journal_init(&fuzz_file, pool, &folder,
                                                   unit_str("shop"), ".dead",
                                                   1 << 30, pool->log),
                     NGX_OK);
}


static void
fuzz_cleanup(void)
{
    unit_folder_remove(fuzz_folder);
}


void
fuzz_one(fuzz_t *f)
{
    json_t                    *json;
    ngx_str_t                  src, *line, event;
    ngx_http_klaviyo_line_t    letter, read;
    ngx_http_klaviyo_data_t    data;
    ngx_http_klaviyo_error_t   error;

    error.code = fuzz_line(f);
    error.title = fuzz_line(f);
    error.detail = fuzz_line(f);
    error.pointer = fuzz_line(f);
    src = fuzz_rest(f);

    /* an event is an object, as we write it */

    fuzz_data(f, &data, &src);

    ngx_str_set(&event, "{}");

    if (data.type == NGX_HTTP_KLAVIYO_TREE && json_is_object(data.json)) {
        src.len = ngx_http_klaviyo_json_write(NULL, &data, 0, NULL);

        if (src.len) {
            event.len = src.len;
            event.data = ngx_pnalloc(f->pool, event.len);
            assert_non_null(event.data);

            (void) ngx_http_klaviyo_json_write(event.data, &data, 0, NULL);
        }
    }

    ngx_memzero(&letter, sizeof(ngx_http_klaviyo_line_t));
    letter.event = event;

    assert_int_equal(ngx_http_klaviyo_deadletter_write(&fuzz_file, 400, &error,
                                                       &letter),
                     NGX_OK);

    line = unit_folder_read(f->pool, fuzz_folder, "shop.dead");
    assert_int_equal(unlink((char *) fuzz_file.path.data), 0);

    assert_int_equal(line->data[line->len - 1], LF);
    line->len--;
    assert_null(memchr(line->data, LF, line->len));

    json = json_loadb((char *) line->data, line->len, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    assert_true(json_is_object(json_object_get(json, "error")));
    assert_true(json_is_object(json_object_get(json, "event")));
    json_decref(json);

    assert_int_equal(ngx_http_klaviyo_line_parse(&read, line->data, line->len),
                     NGX_OK);
    fuzz_assert_same(&read.event, &event);
}
