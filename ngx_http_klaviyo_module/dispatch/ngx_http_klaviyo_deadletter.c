
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The lines of dead letters and of what "dry_run" would have sent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_klaviyo_deadletter.h"


static char *ngx_http_klaviyo_deadletter_error(ngx_uint_t status,
    ngx_http_klaviyo_error_t *error);
static void ngx_http_klaviyo_deadletter_set(json_t *object, const char *name,
    ngx_str_t *text);
static u_char *ngx_http_klaviyo_deadletter_time(u_char *p);


ngx_int_t
ngx_http_klaviyo_deadletter_write(ngx_http_klaviyo_journal_t *file,
    ngx_uint_t status, ngx_http_klaviyo_error_t *error,
    ngx_http_klaviyo_line_t *letter)
{
    char       *words;
    size_t      size;
    u_char     *line, *p;
    ngx_int_t   rc;
    ngx_str_t   more;

    words = ngx_http_klaviyo_deadletter_error(status, error);
    if (words == NULL) {
        return NGX_ERROR;
    }

    size = sizeof("\"at\":\"1970-09-28T12:00:00Z\",\"error\":,")
           + ngx_strlen(words);

    line = ngx_alloc(size + NGX_HTTP_KLAVIYO_LINE_HEAD + size
                     + letter->event.len, file->log);
    if (line == NULL) {
        free(words);
        return NGX_ERROR;
    }

    /* "more" first, the line behind it */

    p = ngx_cpymem(line, "\"at\":\"", sizeof("\"at\":\"") - 1);
    p = ngx_http_klaviyo_deadletter_time(p);
    p = ngx_sprintf(p, "\",\"error\":%s,", words);

    free(words);

    more.data = line;
    more.len = p - line;

    rc = ngx_http_klaviyo_journal_append(file, p,
                      ngx_http_klaviyo_line_write(p, letter, &more) - p);

    ngx_free(line);

    return rc;
}


ngx_int_t
ngx_http_klaviyo_deadletter_body(ngx_http_klaviyo_journal_t *file,
    ngx_http_klaviyo_batch_t *batch)
{
    size_t      n;
    u_char     *line;
    ngx_int_t   rc;

    line = ngx_alloc(batch->length + 1, file->log);
    if (line == NULL) {
        return NGX_ERROR;
    }

    n = ngx_http_klaviyo_batch_read(batch, line, batch->length);
    line[n++] = LF;

    rc = ngx_http_klaviyo_journal_append(file, line, n);

    ngx_free(line);

    return rc;
}


static char *
ngx_http_klaviyo_deadletter_error(ngx_uint_t status,
    ngx_http_klaviyo_error_t *error)
{
    char    *words;
    json_t  *object;

    object = json_pack("{s:I}", "status", (json_int_t) status);
    if (object == NULL) {
        return NULL;
    }

    if (error) {
        ngx_http_klaviyo_deadletter_set(object, "code", &error->code);
        ngx_http_klaviyo_deadletter_set(object, "title", &error->title);
        ngx_http_klaviyo_deadletter_set(object, "detail", &error->detail);
        ngx_http_klaviyo_deadletter_set(object, "pointer", &error->pointer);
    }

    words = json_dumps(object, JSON_COMPACT);

    json_decref(object);

    return words;
}


/* What isn't UTF-8 is left out: the line must stay JSON */

static void
ngx_http_klaviyo_deadletter_set(json_t *object, const char *name,
    ngx_str_t *text)
{
    json_t  *string;

    if (text->len == 0) {
        return;
    }

    string = json_stringn((char *) text->data, text->len);

    if (string) {
        (void) json_object_set_new(object, name, string);
    }
}


static u_char *
ngx_http_klaviyo_deadletter_time(u_char *p)
{
    ngx_tm_t  tm;

    ngx_gmtime(ngx_time(), &tm);

    return ngx_sprintf(p, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                       tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                       tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
}
