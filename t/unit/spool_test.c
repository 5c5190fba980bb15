
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The spool of an account: in and back, its bounds, and what a crash, a full
 * disk or a stranger leaves in its directory.
 */


#include "unit_folder.h"
#include "unit_queue.h"
#include "ngx_http_klaviyo_spool.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>


#define OURS    0x1122334455667788ULL
#define THEIRS  0xaabbccddeeff0011ULL

#define FILE_1  "shop.1122334455667788-00000001.spool"

#define EVENTS  1000


typedef struct {
    ngx_pool_t                        *pool;
    char                               folder[64];
    ngx_http_klaviyo_directory_t       directory;
    ngx_http_klaviyo_account_state_t  *state;
    ngx_http_klaviyo_ring_t           *ring;
    ngx_http_klaviyo_counters_t       *counters;
    ngx_http_klaviyo_spool_t           spool;
    ngx_uint_t                         next;   /* event's number */
} fixture_t;


/* another process removes the file just before it is locked */
static char  *unit_removed;


int
flock(int fd, int operation)
{
    if (unit_removed) {
        (void) unlink(unit_removed);
        unit_removed = NULL;
    }

    return syscall(SYS_flock, fd, operation);
}


/* as a process has it when it begins */

static void
start(fixture_t *f)
{
    ngx_http_klaviyo_spool_t  *spool;

    spool = &f->spool;

    ngx_memzero(spool, sizeof(ngx_http_klaviyo_spool_t));

    spool->directory = &f->directory;
    spool->ring = f->ring;
    spool->state = f->state;
    spool->name = *unit_str("shop");
    spool->max = 1000000;
    spool->log = f->pool->log;

    assert_int_equal(ngx_http_klaviyo_spool_init(spool, f->pool), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_ring_own(f->ring), NGX_OK);

    ngx_http_klaviyo_spool_own(spool);
    ngx_http_klaviyo_spool_scan(spool);
}


/* nothing is closed in good order, but the locks are gone */

static void
killed(fixture_t *f)
{
    if (f->spool.in != NGX_INVALID_FILE) {
        (void) close(f->spool.in);
    }

    if (f->spool.out != NGX_INVALID_FILE) {
        (void) close(f->spool.out);
    }

    ngx_free(f->spool.buf);

    start(f);
}


static int
setup(void **state)
{
    u_char      key[NGX_HTTP_KLAVIYO_KEY_LEN];
    void       *pool;
    fixture_t  *f;

    if (unit_setup(&pool) != 0) {
        return -1;
    }

    f = ngx_pcalloc(pool, sizeof(fixture_t));
    f->pool = pool;

    strcpy(f->folder, P_tmpdir "/klaviyo-unit-XXXXXX");

    if (mkdtemp(f->folder) == NULL) {
        return -1;
    }

    f->directory.path.data = (u_char *) f->folder;
    f->directory.path.len = strlen(f->folder);
    f->directory.instance = OURS;
    f->directory.user = (ngx_uid_t) NGX_CONF_UNSET_UINT;
    f->directory.group = (ngx_gid_t) NGX_CONF_UNSET_UINT;
    f->directory.log = f->pool->log;

    f->ring = unit_ring(pool);

    ngx_memset(key, 7, NGX_HTTP_KLAVIYO_KEY_LEN);

    f->state = ngx_http_klaviyo_control_account(f->ring->control, key);

    if (ngx_http_klaviyo_control_slot(f->ring->control, key) != UNIT_RULE) {
        return -1;
    }

    f->counters = unit_counters(f->ring);

    start(f);

    *state = f;

    return 0;
}


static int
teardown(void **state)
{
    void       *pool;
    fixture_t  *f;

    f = *state;
    pool = f->pool;

    ngx_http_klaviyo_spool_close(&f->spool, 0);

    unit_folder_remove(f->folder);

    return unit_teardown(&pool);
}


static void
put(fixture_t *f, ngx_uint_t n)
{
    while (n--) {
        unit_put(f->ring, f->next++);
    }
}


static ngx_int_t
claim(fixture_t *f)
{
    return ngx_http_klaviyo_ring_claim(f->ring, EVENTS, 1 << 30, NULL);
}


static void
spool(fixture_t *f, ngx_uint_t n)
{
    put(f, n);

    assert_int_equal(ngx_http_klaviyo_spool_write(&f->spool, claim(f)),
                     NGX_OK);
}


static ngx_uint_t
read_back(fixture_t *f)
{
    return ngx_http_klaviyo_spool_read(&f->spool, EVENTS);
}


static void
read_all(fixture_t *f)
{
    ngx_uint_t  i;

    for (i = 0; read_back(f); i++) {
        assert_in_range(i, 0, 1000);
    }
}


/* sends what is in the ring: these numbers, in this order */

static void
sent(fixture_t *f, ngx_uint_t from, ngx_uint_t to)
{
    ngx_int_t                   slot;
    ngx_http_klaviyo_record_t  *record;

    while (from <= to) {
        slot = claim(f);
        assert_int_not_equal(slot, NGX_DECLINED);

        for (record = ngx_http_klaviyo_ring_first(f->ring, slot);
             record;
             record = ngx_http_klaviyo_ring_next(f->ring, slot, record))
        {
            assert_int_equal(atoi((char *) ngx_http_klaviyo_record_text(record)
                                  + 5),
                             from);
            from++;
        }

        ngx_http_klaviyo_ring_finish(f->ring, slot);
    }

    assert_int_equal(from, to + 1);
    assert_int_equal(claim(f), NGX_DECLINED);
}


static void
counted(fixture_t *f, ngx_uint_t queued, ngx_uint_t spooled, ngx_uint_t gone)
{
    ngx_http_klaviyo_counters_t  sum;

    assert_int_equal(f->counters->queued, queued);
    assert_int_equal(f->counters->spooled, spooled);
    assert_int_equal(f->counters->sent, gone);

    ngx_http_klaviyo_control_total(f->ring->control, &sum);

    assert_int_equal(sum.seen + sum.restored,
                     sum.sent + sum.queued + sum.spooled + sum.damaged
                     + sum.dropped[NGX_HTTP_KLAVIYO_DROP_FULL]);
}


static ngx_uint_t
segments(fixture_t *f)
{
    return unit_folder_find(f->folder, ".spool", NULL);
}


/* "n" events as another instance has left them, number "from" first */

static ngx_str_t *
foreign(fixture_t *f, ngx_uint_t from, ngx_uint_t n)
{
    u_char                    event[64], *p;
    ngx_str_t                *text;
    ngx_http_klaviyo_line_t   line;

    text = unit_fill(f->pool, '\0', n * (NGX_HTTP_KLAVIYO_LINE_HEAD + 64));
    p = text->data;

    ngx_memset(line.key, 7, NGX_HTTP_KLAVIYO_KEY_LEN);
    line.time = 0;
    line.backfill = 0;
    line.aged = 0;

    while (n--) {
        line.id = ++from;
        line.event.data = event;
        line.event.len = sprintf((char *) event, "{\"n\":%u,}",
                                 (unsigned) from - 1);
        p = ngx_http_klaviyo_line_write(p, &line, NULL);
    }

    text->len = p - text->data;

    return text;
}


static void
store(fixture_t *f, char *name, ngx_str_t *text)
{
    unit_folder_write(f->folder, name, text->data, text->len);
}


static void
what_goes_in_is_in_a_segment_of_its_own(void **state)
{
    fixture_t *f = *state;

    char         path[256];
    struct stat  st;

    spool(f, 3);

    assert_int_equal(segments(f), 1);

    sprintf(path, "%s/" FILE_1, f->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, f->state->spool_bytes);
    assert_int_equal(f->state->spool_segments, 1);

    counted(f, 0, 3, 0);
    assert_int_equal(claim(f), NGX_DECLINED);
}


static void
it_comes_back_in_order_and_the_segment_is_gone(void **state)
{
    fixture_t *f = *state;

    spool(f, 5);
    spool(f, 5);
    assert_int_equal(segments(f), 1);

    read_all(f);

    assert_int_equal(segments(f), 0);
    assert_int_equal(f->state->spool_bytes, 0);
    counted(f, 10, 0, 0);

    sent(f, 0, 9);
    counted(f, 0, 0, 10);
}


static void
it_comes_back_the_same_to_the_byte_and_decided(void **state)
{
    fixture_t *f = *state;

    ngx_int_t                   slot;
    ngx_http_klaviyo_record_t   before, *record;

    put(f, 1);
    slot = claim(f);
    ngx_http_klaviyo_ring_backfill(f->ring, slot, ngx_time() + 10);

    record = ngx_http_klaviyo_ring_first(f->ring, slot);
    before = *record;

    assert_int_equal(ngx_http_klaviyo_spool_write(&f->spool, slot), NGX_OK);
    read_all(f);

    slot = claim(f);
    record = ngx_http_klaviyo_ring_first(f->ring, slot);

    assert_memory_equal(ngx_http_klaviyo_record_text(record),
                        "{\"n\":0,\"backfill\":true }", before.len);
    assert_int_equal(record->len, before.len);
    assert_int_equal(record->id, before.id);
    assert_int_equal(record->time, before.time);
    assert_int_equal(record->rule, before.rule);
    assert_int_equal(record->backfill, before.backfill);
    assert_int_equal(record->flags, NGX_HTTP_KLAVIYO_RECORD_AGED);
}


static void
a_turn_brings_no_more_than_was_asked_for(void **state)
{
    fixture_t *f = *state;

    spool(f, 10);

    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 4), 4);
    counted(f, 4, 6, 0);
    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 4), 4);
    counted(f, 8, 2, 0);

    sent(f, 0, 7);
    read_all(f);
    sent(f, 8, 9);
    counted(f, 0, 0, 10);
}


static void
half_of_the_ring_is_for_new_events(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t                    i;
    ngx_http_klaviyo_ring_stat_t  stat;

    for (i = 0; i < 4; i++) {
        spool(f, 900);
    }

    read_all(f);

    ngx_http_klaviyo_ring_stat(f->ring, &stat);
    assert_in_range(stat.used, stat.size / 4, stat.size / 2);
    assert_true(f->counters->spooled > 0);
    counted(f, stat.events, 3600 - stat.events, 0);
}


static void
a_segment_is_followed_by_the_next_one(void **state)
{
    fixture_t *f = *state;

    ngx_uint_t  i;

    f->spool.max = 400000;

    for (i = 0; i < 10; i++) {
        spool(f, 100);
    }

    assert_in_range(segments(f), 2, 4);
    assert_int_equal(f->state->spool_segments, segments(f));

    read_all(f);
    sent(f, 0, 999);
    assert_int_equal(segments(f), 0);
}


static void
a_new_process_goes_on_where_the_old_one_was(void **state)
{
    fixture_t *f = *state;

    spool(f, 10);
    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 3), 3);

    killed(f);

    read_all(f);
    sent(f, 0, 9);
    counted(f, 0, 0, 10);
}


static void
an_end_in_good_order_keeps_the_place_in_the_name(void **state)
{
    fixture_t *f = *state;

    char  name[256];

    spool(f, 10);
    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 3), 3);
    ngx_http_klaviyo_spool_close(&f->spool, 0);

    assert_int_equal(f->state->spool_reading, 0);
    assert_int_equal(unit_folder_find(f->folder, ".spool", name), 1);
    assert_non_null(strchr(name, '@'));

    /* and once more */

    start(f);
    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 3), 3);
    ngx_http_klaviyo_spool_close(&f->spool, 0);
    assert_int_equal(unit_folder_find(f->folder, ".spool", name), 1);
    assert_ptr_equal(strchr(name, '@'), strrchr(name, '@'));

    start(f);
    read_all(f);
    sent(f, 0, 9);
    counted(f, 0, 0, 10);
}


static void
the_master_keeps_the_place_of_a_dead_process(void **state)
{
    fixture_t *f = *state;

    spool(f, 10);
    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 3), 3);
    killed(f);
    ngx_http_klaviyo_spool_close(&f->spool, 1);
    f->state->spool_offset = 0;

    start(f);
    read_all(f);
    sent(f, 0, 9);
}


static void
what_was_written_but_not_finished_is_cut_off(void **state)
{
    fixture_t *f = *state;

    int                          fd;
    char                         path[256];
    ngx_http_klaviyo_counters_t  sum;

    spool(f, 3);

    /* written by one who died before he finished the slot */

    sprintf(path, "%s/" FILE_1, f->folder);
    fd = open(path, O_WRONLY|O_APPEND);
    assert_int_equal(write(fd, "{\"crc\":\"cut", 11), 11);
    (void) close(fd);

    killed(f);

    read_all(f);
    sent(f, 0, 2);
    counted(f, 0, 0, 3);

    ngx_http_klaviyo_control_total(f->ring->control, &sum);
    assert_int_equal(sum.damaged, 0);
}


static void
a_dead_instances_segment_is_restored(void **state)
{
    fixture_t *f = *state;

    store(f, "shop.aabbccddeeff0011-00000009.spool", foreign(f, 0, 5));

    read_all(f);

    assert_int_equal(f->counters->restored, 5);
    sent(f, 0, 4);
    counted(f, 0, 0, 5);
    assert_int_equal(segments(f), 0);
}


/* the process that reads is killed, while another instance lives */

static void
a_dead_instances_segment_is_ours_once_it_is_read(void **state)
{
    fixture_t *f = *state;

    int    fd;
    off_t  offset;
    char   path[256];

    store(f, "shop.aabbccddeeff0011-00000009.spool", foreign(f, 0, 5));

    sprintf(path, "%s/1122334455667788.lock", f->folder);
    fd = open(path, O_RDWR|O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX|LOCK_NB), 0);

    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 2), 2);

    sprintf(path, "%s/shop.1122334455667788-00000001+@0.spool", f->folder);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(segments(f), 1);

    killed(f);

    f->directory.instance = THEIRS;
    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 0);

    f->directory.instance = OURS;
    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 1);
    offset = f->state->spool_offset;
    assert_true(offset > 0);

    assert_int_equal(ngx_http_klaviyo_spool_read(&f->spool, 1), 1);
    assert_true((off_t) f->state->spool_offset > offset);

    /* an end in good order, and the next one reads on */

    ngx_http_klaviyo_spool_close(&f->spool, 0);
    killed(f);
    read_all(f);

    (void) close(fd);

    sprintf(path, "%s/1122334455667788.lock", f->folder);
    (void) unlink(path);

    assert_int_equal(f->counters->restored, 5);
    sent(f, 0, 4);
    counted(f, 0, 0, 5);
    assert_int_equal(segments(f), 0);
}


static void
a_living_instances_segment_is_left_alone(void **state)
{
    fixture_t *f = *state;

    int   fd;
    char  path[256];

    store(f, "shop.aabbccddeeff0011-00000009.spool", foreign(f, 0, 5));

    sprintf(path, "%s/aabbccddeeff0011.lock", f->folder);
    fd = open(path, O_RDWR|O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX|LOCK_NB), 0);

    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 0);
    assert_int_equal(read_back(f), 0);
    assert_int_equal(segments(f), 1);

    /* it dies */

    (void) close(fd);
    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 1);
    assert_int_equal(access(path, F_OK), -1);

    read_all(f);
    sent(f, 0, 4);
}


static void
a_segment_that_is_written_is_left_alone(void **state)
{
    fixture_t *f = *state;

    int   fd;
    char  path[256];

    store(f, "shop.aabbccddeeff0011-00000009.spool", foreign(f, 0, 5));
    sprintf(path, "%s/shop.aabbccddeeff0011-00000009.spool", f->folder);

    fd = open(path, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX|LOCK_NB), 0);

    assert_int_equal(read_back(f), 0);

    /* others are not held up by it */

    store(f, "shop.again.spool", foreign(f, 5, 2));
    ngx_http_klaviyo_spool_scan(&f->spool);
    read_all(f);
    sent(f, 5, 6);

    (void) close(fd);
    ngx_http_klaviyo_spool_scan(&f->spool);
    read_all(f);
    sent(f, 0, 4);
}


static void
another_accounts_segment_is_left_alone(void **state)
{
    fixture_t *f = *state;

    store(f, "shop.eu.again.spool", foreign(f, 0, 5));
    store(f, "shopping.again.spool", foreign(f, 0, 5));

    assert_int_equal(read_back(f), 0);
    assert_int_equal(segments(f), 2);
}


static void
an_instance_is_locked_by_all_of_its_processes(void **state)
{
    fixture_t *f = *state;

    int        go[2];
    char       ch;
    ngx_pid_t  pid;

    assert_int_equal(ngx_http_klaviyo_directory_lock(&f->directory),
                     NGX_OK);

    store(f, "shop.1122334455667788-00000009.spool", foreign(f, 0, 5));
    assert_int_equal(pipe(go), 0);

    pid = unit_fork();

    if (pid == 0) {
        (void) close(go[1]);
        (void) !read(go[0], &ch, 1);
        _exit(0);
    }

    (void) close(go[0]);
    ngx_http_klaviyo_directory_release();

    f->directory.instance = THEIRS;

    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 0);

    (void) close(go[1]);
    (void) unit_wait(pid);

    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 1);
}


static void
a_segment_that_is_cut_anywhere_gives_what_is_whole(void **state)
{
    fixture_t *f = *state;

    size_t                        len;
    ngx_str_t                     text;
    ngx_uint_t                    i, whole, cut, damaged;
    ngx_http_klaviyo_counters_t   sum;

    text = *foreign(f, 0, 3);
    len = text.len;

    damaged = 0;

    for (text.len = 0; text.len <= len; text.len++) {

        whole = 0;
        cut = text.len;

        for (i = 0; i < text.len; i++) {
            if (text.data[i] == LF) {
                whole++;
                cut = text.len - i - 1;
            }
        }

        /* a line without its LF may be whole */

        if (cut && text.len < len && text.data[text.len] == LF) {
            whole++;
            cut = 0;
        }

        damaged += cut ? 1 : 0;

        store(f, "shop.aabbccddeeff0011-00000009.spool", &text);
        ngx_http_klaviyo_spool_scan(&f->spool);
        read_all(f);
        assert_int_equal(segments(f), 0);

        if (whole) {
            sent(f, 0, whole - 1);
        }

        ngx_http_klaviyo_control_total(f->ring->control, &sum);
        assert_int_equal(sum.damaged, damaged);
        assert_int_equal(sum.seen + sum.restored, sum.sent + sum.damaged);
    }

    /* and the rest is set aside */

    assert_in_range(damaged, 1, len);
    assert_in_range(unit_folder_read(f->pool, f->folder, "shop.damaged")->len,
                    damaged, len * damaged);
}


static void
damaged_lines_are_set_aside_and_the_others_delivered(void **state)
{
    fixture_t *f = *state;

    ngx_str_t                    *text;
    ngx_http_klaviyo_counters_t   sum;

    text = foreign(f, 0, 3);

    /* a byte of the second event */
    *(u_char *) strstr((char *) text->data, "{\"n\":1") = '[';

    store(f, "shop.x.spool", text);
    read_all(f);

    assert_int_equal(f->counters->damaged, 1);
    assert_int_equal(f->counters->restored, 3);
    counted(f, 2, 0, 0);

    store(f, "shop.y.spool", unit_str("\n\n\nnonsense\n{\"crc\":\"\n\xff\0\n"));
    read_all(f);

    ngx_http_klaviyo_control_total(f->ring->control, &sum);
    assert_int_equal(sum.damaged, 4);
    counted(f, 2, 0, 0);

    text = unit_folder_read(f->pool, f->folder, "shop.damaged");
    assert_non_null(strstr((char *) text->data, "[\"n\":1,}"));
    assert_non_null(strstr((char *) text->data, "nonsense\n"));
}


static void
a_line_without_end_takes_bounded_memory(void **state)
{
    fixture_t *f = *state;

    int                           fd;
    char                          path[256];
    ngx_http_klaviyo_counters_t   sum;

    sprintf(path, "%s/shop.zeros.spool", f->folder);
    fd = open(path, O_WRONLY|O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, 20 * 1024 * 1024), 0);
    (void) close(fd);

    read_all(f);

    assert_int_equal(segments(f), 0);
    assert_null(f->spool.buf);

    ngx_http_klaviyo_control_total(f->ring->control, &sum);
    assert_int_equal(sum.damaged, 3);

    sprintf(path, "%s/shop.damaged", f->folder);
    fd = open(path, O_RDONLY);
    assert_in_range(lseek(fd, 0, SEEK_END), 0, NGX_HTTP_KLAVIYO_DAMAGED_MAX);
    (void) close(fd);
}


static void
an_event_that_never_fits_is_damaged(void **state)
{
    fixture_t *f = *state;

    u_char                   *p;
    ngx_str_t                *event, *text;
    ngx_http_klaviyo_line_t   line;

    event = unit_fill(f->pool, 'x', UNIT_RING_SIZE);
    event->data[0] = '{';
    event->data[event->len - 1] = '}';

    ngx_memset(&line, 7, sizeof(line));
    line.event = *event;

    text = unit_fill(f->pool, '\0', event->len + 300);
    p = ngx_http_klaviyo_line_write(text->data, &line, NULL);
    text->len = p - text->data;

    store(f, "shop.x.spool", text);
    read_all(f);

    assert_int_equal(f->counters->damaged, 1);
    assert_int_equal(f->counters->restored, 1);
    assert_int_equal(segments(f), 0);
}


static void
what_is_no_file_is_left_alone(void **state)
{
    fixture_t *f = *state;

    char  path[256], target[256];

    sprintf(path, "%s/shop.pipe.spool", f->folder);
    assert_int_equal(mkfifo(path, 0600), 0);

    sprintf(path, "%s/shop.folder.spool", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);

    store(f, "secret", foreign(f, 0, 1));
    sprintf(target, "%s/secret", f->folder);
    sprintf(path, "%s/shop.link.spool", f->folder);
    assert_int_equal(symlink(target, path), 0);

    ngx_http_klaviyo_spool_scan(&f->spool);
    assert_int_equal(f->spool.segments, 0);
    assert_int_equal(read_back(f), 0);
    assert_int_equal(segments(f), 3);
}


static void
an_offset_in_a_name_counts_where_a_line_begins(void **state)
{
    fixture_t *f = *state;

    char        name[64];
    ngx_str_t  *text;

    text = foreign(f, 0, 2);

    store(f, "shop.x@1.spool", text);
    read_all(f);
    sent(f, 0, 1);

    store(f, "shop.x@999999.spool", text);
    read_all(f);
    sent(f, 0, 1);

    sprintf(name, "shop.x@%u.spool", (unsigned)
            (strchr((char *) text->data, LF) - (char *) text->data + 1));
    store(f, name, text);
    read_all(f);
    sent(f, 1, 1);

    sprintf(name, "shop.x@%u.spool", (unsigned) text->len);
    store(f, name, text);
    read_all(f);
    assert_int_equal(claim(f), NGX_DECLINED);
    assert_int_equal(segments(f), 0);
}


static void
a_full_spool_drops_its_oldest_events(void **state)
{
    fixture_t *f = *state;

    ngx_int_t   rc;
    ngx_uint_t  i, dropped;

    f->spool.max = 100000;

    for (i = 0; i < 20; i++) {
        put(f, 50);

        do {
            rc = ngx_http_klaviyo_ring_adopt(f->ring);
            rc = ngx_http_klaviyo_spool_write(&f->spool,
                                              rc == NGX_DECLINED ? claim(f)
                                                                 : rc);
            if (rc == NGX_AGAIN) {
                assert_int_equal(ngx_http_klaviyo_spool_drop(&f->spool),
                                 NGX_OK);
            }

        } while (rc == NGX_AGAIN);

        assert_int_equal(rc, NGX_OK);
        assert_in_range(f->state->spool_bytes, 1, 100000);
    }

    dropped = f->counters->dropped[NGX_HTTP_KLAVIYO_DROP_FULL];

    assert_in_range(dropped, 300, 900);
    counted(f, 0, 1000 - dropped, 0);

    read_all(f);
    sent(f, dropped, 999);
    counted(f, 0, 0, 1000 - dropped);
}


static void
or_takes_no_more(void **state)
{
    fixture_t *f = *state;

    f->spool.max = 15000;
    f->spool.drop_new = 1;

    spool(f, 50);
    put(f, 50);

    assert_int_equal(ngx_http_klaviyo_spool_write(&f->spool, claim(f)),
                     NGX_DECLINED);
    counted(f, 50, 50, 0);
    assert_int_equal(f->counters->dropped[NGX_HTTP_KLAVIYO_DROP_FULL], 0);

    /* what could not be moved waits in the ring */

    ngx_http_klaviyo_ring_finish(f->ring,
                                 ngx_http_klaviyo_ring_adopt(f->ring));
    read_all(f);
    sent(f, 0, 49);
    counted(f, 0, 0, 100);
}


static void
without_a_directory_all_stays_in_the_ring(void **state)
{
    fixture_t *f = *state;

    ngx_str_t  path;

    path = f->directory.path;
    f->directory.path = *unit_str("/nonexistent");

    put(f, 5);
    assert_int_equal(ngx_http_klaviyo_spool_ready(&f->spool), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_spool_write(&f->spool, claim(f)),
                     NGX_ERROR);
    assert_int_equal(ngx_http_klaviyo_spool_ready(&f->spool), NGX_ERROR);
    assert_int_equal(read_back(f), 0);
    counted(f, 5, 0, 0);

    /* it is tried again after a while */

    f->directory.path = path;
    ngx_current_msec += 1000;
    assert_int_equal(ngx_http_klaviyo_spool_ready(&f->spool), NGX_OK);
    assert_int_equal(ngx_http_klaviyo_spool_write(&f->spool,
                                         ngx_http_klaviyo_ring_adopt(f->ring)),
                     NGX_OK);
    counted(f, 0, 5, 0);
}


static void
what_a_full_disk_cuts_off_is_in_the_ring_and_not_in_the_segment(void **state)
{
    fixture_t *f = *state;

    char           name[256];
    off_t          size;
    ngx_int_t      slot;
    struct rlimit  old, limit;

    spool(f, 3);
    size = f->spool.size;

    put(f, 10);
    slot = claim(f);

    (void) signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = size + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    assert_int_equal(ngx_http_klaviyo_spool_write(&f->spool, slot), NGX_ERROR);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);

    assert_int_equal(unit_folder_find(f->folder, ".spool", name), 1);
    assert_int_equal(unit_folder_read(f->pool, f->folder, name)->len, size);
    counted(f, 10, 3, 0);

    /* and is neither lost nor sent twice */

    ngx_http_klaviyo_ring_finish(f->ring,
                                 ngx_http_klaviyo_ring_adopt(f->ring));
    read_all(f);
    sent(f, 0, 2);
    counted(f, 0, 0, 13);
}


static void
at_the_end_all_goes_in_what_was_sent_in_part_too(void **state)
{
    fixture_t *f = *state;

    ngx_int_t  slot;

    put(f, 10);
    slot = ngx_http_klaviyo_ring_claim(f->ring, 4, 1 << 30, NULL);
    ngx_http_klaviyo_ring_take(f->ring,
                               ngx_http_klaviyo_ring_first(f->ring, slot), 0);
    ngx_http_klaviyo_ring_release(f->ring, slot);

    assert_int_equal(ngx_http_klaviyo_spool_all(&f->spool), 0);
    ngx_http_klaviyo_spool_close(&f->spool, 1);
    counted(f, 0, 9, 1);

    start(f);
    read_all(f);
    sent(f, 1, 9);
}


static void
at_the_end_the_number_of_what_is_lost_is_known(void **state)
{
    fixture_t *f = *state;

    ngx_str_t  path;

    put(f, 10);

    path = f->directory.path;
    f->directory.path = *unit_str("/nonexistent");
    assert_int_equal(ngx_http_klaviyo_spool_all(&f->spool), 10);
    f->directory.path = path;
}


static void
a_segment_that_is_removed_before_it_is_locked_is_not_written(void **state)
{
    fixture_t *f = *state;

    char  path[256];

    sprintf(path, "%s/" FILE_1, f->folder);

    unit_removed = path;
    spool(f, 5);

    assert_null(unit_removed);
    assert_int_equal(segments(f), 1);
    assert_int_equal(access(path, F_OK), -1);

    read_all(f);
    sent(f, 0, 4);
    counted(f, 0, 0, 5);
}


static void
a_gauge_that_lost_its_count_is_not_negative(void **state)
{
    fixture_t *f = *state;

    spool(f, 5);
    f->counters->spooled = 3;
    f->counters->seen = 3;

    read_all(f);

    assert_int_equal(f->counters->spooled, 0);
    assert_int_equal(f->counters->restored, 2);
    counted(f, 5, 0, 0);
}


#define spool_test(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        spool_test(what_goes_in_is_in_a_segment_of_its_own),
        spool_test(it_comes_back_in_order_and_the_segment_is_gone),
        spool_test(it_comes_back_the_same_to_the_byte_and_decided),
        spool_test(a_turn_brings_no_more_than_was_asked_for),
        spool_test(half_of_the_ring_is_for_new_events),
        spool_test(a_segment_is_followed_by_the_next_one),
        spool_test(a_new_process_goes_on_where_the_old_one_was),
        spool_test(an_end_in_good_order_keeps_the_place_in_the_name),
        spool_test(the_master_keeps_the_place_of_a_dead_process),
        spool_test(what_was_written_but_not_finished_is_cut_off),
        spool_test(a_dead_instances_segment_is_restored),
        spool_test(a_dead_instances_segment_is_ours_once_it_is_read),
        spool_test(a_living_instances_segment_is_left_alone),
        spool_test(a_segment_that_is_written_is_left_alone),
        spool_test(another_accounts_segment_is_left_alone),
        spool_test(an_instance_is_locked_by_all_of_its_processes),
        spool_test(a_segment_that_is_cut_anywhere_gives_what_is_whole),
        spool_test(damaged_lines_are_set_aside_and_the_others_delivered),
        spool_test(a_line_without_end_takes_bounded_memory),
        spool_test(an_event_that_never_fits_is_damaged),
        spool_test(what_is_no_file_is_left_alone),
        spool_test(an_offset_in_a_name_counts_where_a_line_begins),
        spool_test(a_full_spool_drops_its_oldest_events),
        spool_test(or_takes_no_more),
        spool_test(without_a_directory_all_stays_in_the_ring),
        spool_test(
               what_a_full_disk_cuts_off_is_in_the_ring_and_not_in_the_segment),
        spool_test(at_the_end_all_goes_in_what_was_sent_in_part_too),
        spool_test(at_the_end_the_number_of_what_is_lost_is_known),
        spool_test(
                  a_segment_that_is_removed_before_it_is_locked_is_not_written),
        spool_test(a_gauge_that_lost_its_count_is_not_negative),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
