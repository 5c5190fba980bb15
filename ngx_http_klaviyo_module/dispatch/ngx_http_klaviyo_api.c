
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What an answer of Klaviyo means for a batch.  The content type is not
 * trusted: Klaviyo's own errors are a JSON object with an array "errors", what
 * stands in front of it (Cloudflare) says the same codes in HTML.
 */


#include "ngx_http_klaviyo_api.h"

#include <jansson.h>


#define NGX_HTTP_KLAVIYO_API_ENTRY       "events-bulk-create/data/"

/* where a request that has one profile says which it is */
#define NGX_HTTP_KLAVIYO_API_PROFILE     "/data/id"
#define NGX_HTTP_KLAVIYO_API_SUBSCRIBER  "/data/attributes/profiles/data/"

#define NGX_HTTP_KLAVIYO_API_ID          "/unique_id"

#define NGX_HTTP_KLAVIYO_API_MAX_TIME    86400   /* seconds */


/* whose answer it is */
typedef enum {
    NGX_HTTP_KLAVIYO_API_OTHERS = 0,     /* a proxy's, Cloudflare's, nobody's */
    NGX_HTTP_KLAVIYO_API_KLAVIYO,
    NGX_HTTP_KLAVIYO_API_PART            /* Klaviyo's, but not all errors */
} ngx_http_klaviyo_api_source_e;


typedef struct {
    ngx_str_t                            name;
    void                               (*handler)(
                                             ngx_http_klaviyo_answer_t *answer,
                                             ngx_str_t *value, time_t now);
} ngx_http_klaviyo_api_header_t;


static ngx_http_klaviyo_api_source_e ngx_http_klaviyo_api_read(
    ngx_http_klaviyo_answer_t *answer, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict);
static ngx_uint_t ngx_http_klaviyo_api_begins(ngx_str_t *body);
static ngx_http_klaviyo_api_source_e ngx_http_klaviyo_api_copy_errors(
    json_t *errors, ngx_pool_t *pool, ngx_http_klaviyo_verdict_t *verdict);
static ngx_int_t ngx_http_klaviyo_api_copy(json_t *object, const char *name,
    ngx_pool_t *pool, ngx_str_t *text);
static ngx_uint_t ngx_http_klaviyo_api_unknown_profile(
    ngx_http_klaviyo_lane_e lane, ngx_http_klaviyo_verdict_t *verdict);
static ngx_uint_t ngx_http_klaviyo_api_starts(ngx_str_t *pointer, char *text);
static void ngx_http_klaviyo_api_bad_request(
    ngx_http_klaviyo_api_source_e source, ngx_uint_t events, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict);
static ngx_int_t ngx_http_klaviyo_api_entries(ngx_uint_t events,
    ngx_pool_t *pool, ngx_http_klaviyo_verdict_t *verdict);
static void ngx_http_klaviyo_api_merge(ngx_array_t *entries);
static int ngx_libc_cdecl ngx_http_klaviyo_api_cmp_entries(const void *one,
    const void *two);
static ngx_int_t ngx_http_klaviyo_api_index(ngx_str_t *pointer);
static ngx_uint_t ngx_http_klaviyo_api_all_repeated(ngx_array_t *errors);
static ngx_uint_t ngx_http_klaviyo_api_repeated(
    ngx_http_klaviyo_error_t *error);
static ngx_uint_t ngx_http_klaviyo_api_says(ngx_http_klaviyo_error_t *error,
    ngx_str_t *words);
static ngx_uint_t ngx_http_klaviyo_api_contains(ngx_str_t *text,
    ngx_str_t *words);
static ngx_str_t ngx_http_klaviyo_api_cut(ngx_str_t *text, u_char separator);
static ngx_str_t ngx_http_klaviyo_api_trim(u_char *p, u_char *last);
static void ngx_http_klaviyo_api_retry_after(
    ngx_http_klaviyo_answer_t *answer, ngx_str_t *value, time_t now);
static void ngx_http_klaviyo_api_limit(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *value, time_t now);
static ngx_int_t ngx_http_klaviyo_api_window(ngx_str_t *item);
static void ngx_http_klaviyo_api_remaining(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *value, time_t now);
static void ngx_http_klaviyo_api_reset(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *value, time_t now);


ngx_http_klaviyo_api_t  ngx_http_klaviyo_apis[] = {

    { "/api/event-bulk-create-jobs",
      ngx_string("{\"data\":{\"type\":\"event-bulk-create-job\","
                 "\"attributes\":{\"events-bulk-create\":{\"data\":["),
      ngx_string("]}}}}") },

    { "/api/profile-import",
      ngx_string("{\"data\":"),
      ngx_string("}") },

    { "/api/profile-subscription-bulk-create-jobs",
      ngx_string("{\"data\":"),
      ngx_string("}") }
};


static ngx_http_klaviyo_api_header_t  ngx_http_klaviyo_api_headers[] = {
    { ngx_string("Retry-After"), ngx_http_klaviyo_api_retry_after },
    { ngx_string("RateLimit-Limit"), ngx_http_klaviyo_api_limit },
    { ngx_string("RateLimit-Remaining"), ngx_http_klaviyo_api_remaining },
    { ngx_string("RateLimit-Reset"), ngx_http_klaviyo_api_reset },
    { ngx_null_string, NULL }
};


/* a blank in these stands for any of " ", "_", "-" */

static ngx_str_t  ngx_http_klaviyo_api_ids[] = {
    ngx_string("unique id"),
    ngx_null_string
};


/*
 * An event that is taken for a repetition is dropped as delivered, and one that
 * is not becomes a dead letter that can be sent again: hence only words that
 * can't well mean anything else.
 */

static ngx_str_t  ngx_http_klaviyo_api_repetitions[] = {
    ngx_string("duplicate"),
    ngx_string("repeated"),
    ngx_string("more than once"),
    ngx_string("not unique"),
    ngx_string("already exist"),
    ngx_string("already been"),
    ngx_string("already use"),
    ngx_string("already in use"),
    ngx_string("already taken"),
    ngx_string("already process"),
    ngx_string("already receive"),
    ngx_string("already record"),
    ngx_null_string
};


/* the rule of the field, told to who broke any part of it: a repetition only
 * if nothing of its form is in the same sentence */

static ngx_str_t  ngx_http_klaviyo_api_rules[] = {
    ngx_string("must be unique"),
    ngx_string("should be unique"),
    ngx_null_string
};


static ngx_str_t  ngx_http_klaviyo_api_forms[] = {
    ngx_string("character"),
    ngx_string("length"),
    ngx_string("long"),
    ngx_string("short"),
    ngx_string("empty"),
    ngx_string("blank"),
    ngx_string("null"),
    ngx_string("required"),
    ngx_string("string"),
    ngx_string("type"),
    ngx_string("format"),
    ngx_null_string
};


void
ngx_http_klaviyo_api_judge(ngx_http_klaviyo_answer_t *answer,
    ngx_http_klaviyo_lane_e lane, ngx_uint_t events, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_uint_t                     status;
    ngx_http_klaviyo_api_source_e  source;

    ngx_memzero(verdict, sizeof(ngx_http_klaviyo_verdict_t));

    status = answer->status;

    if ((status >= 200 && status < 300)
        || (status == 409 && lane == NGX_HTTP_KLAVIYO_EVENTS))
    {
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_DONE;
        return;
    }

    source = ngx_http_klaviyo_api_read(answer, pool, verdict);

    if (status == 429 || status == 503) {
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_WAIT;
        verdict->wait = (answer->retry_after == (ngx_msec_t) -1)
                        ? 0 : answer->retry_after;

    } else if (status == 413
               || (lane != NGX_HTTP_KLAVIYO_EVENTS && source
                   && (status == 400 || status == 409))
               || (status == 404
                   && ngx_http_klaviyo_api_unknown_profile(lane, verdict)))
    {
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_HALVE;
        verdict->single = 1;

    } else if (status == 401 || status == 404 || status == 405
               || status == 410 || status == 415
               || (status >= 300 && status < 400)
               || (status == 403 && source))
    {
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_STOP;

    } else if (status == 400 && source) {
        ngx_http_klaviyo_api_bad_request(source, events, pool, verdict);

    } else {
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_BACKOFF;
    }
}


/*
 * Reads the errors, whatever the status: a code is for the status page, the
 * texts are for the dead letters.  Numbers are read as real ones, for an error
 * may quote an integer that jansson takes for too big.
 */

static ngx_http_klaviyo_api_source_e
ngx_http_klaviyo_api_read(ngx_http_klaviyo_answer_t *answer, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict)
{
    json_t                         *root, *errors;
    json_error_t                    error;
    ngx_http_klaviyo_api_source_e   source;

    root = json_loadb((char *) answer->body.data, answer->body.len,
                      JSON_ALLOW_NUL|JSON_DECODE_INT_AS_REAL, &error);

    if (root == NULL) {
        return ngx_http_klaviyo_api_begins(&answer->body)
               ? NGX_HTTP_KLAVIYO_API_PART : NGX_HTTP_KLAVIYO_API_OTHERS;
    }

    errors = json_object_get(root, "errors");

    source = json_is_array(errors)
             ? ngx_http_klaviyo_api_copy_errors(errors, pool, verdict)
             : NGX_HTTP_KLAVIYO_API_OTHERS;

    json_decref(root);

    return source;
}


/*
 * A body that was cut, or that jansson refuses for what it quotes of an event,
 * is still Klaviyo's: were it not, its batch would come back for ever.
 */

static ngx_uint_t
ngx_http_klaviyo_api_begins(ngx_str_t *body)
{
    u_char   ch;
    size_t   i, n;

    static ngx_str_t  begin = ngx_string("{\"errors\"");

    n = 0;

    for (i = 0; i < body->len && n < begin.len; i++) {
        ch = body->data[i];

        if (n < 2 && (ch == ' ' || ch == '\t' || ch == CR || ch == LF)) {
            continue;
        }

        if (ch != begin.data[n++]) {
            return 0;
        }
    }

    return n == begin.len;
}


static ngx_http_klaviyo_api_source_e
ngx_http_klaviyo_api_copy_errors(json_t *errors, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict)
{
    size_t                     i, n;
    json_t                    *json, *source;
    ngx_array_t               *array;
    ngx_http_klaviyo_error_t  *error;

    n = ngx_min(json_array_size(errors), NGX_HTTP_KLAVIYO_API_MAX_ERRORS);

    array = ngx_array_create(pool, ngx_max(n, 1),
                             sizeof(ngx_http_klaviyo_error_t));
    if (array == NULL) {
        return NGX_HTTP_KLAVIYO_API_OTHERS;
    }

    error = array->elts;
    array->nelts = n;

    for (i = 0; i < n; i++) {
        json = json_array_get(errors, i);
        source = json_object_get(json, "source");

        if (ngx_http_klaviyo_api_copy(json, "code", pool, &error[i].code)
            != NGX_OK
            || ngx_http_klaviyo_api_copy(json, "title", pool, &error[i].title)
               != NGX_OK
            || ngx_http_klaviyo_api_copy(json, "detail", pool,
                                         &error[i].detail)
               != NGX_OK
            || ngx_http_klaviyo_api_copy(source, "pointer", pool,
                                         &error[i].pointer)
               != NGX_OK)
        {
            return NGX_HTTP_KLAVIYO_API_OTHERS;
        }
    }

    verdict->errors = array;

    return (n < json_array_size(errors)) ? NGX_HTTP_KLAVIYO_API_PART
                                         : NGX_HTTP_KLAVIYO_API_KLAVIYO;
}


static ngx_int_t
ngx_http_klaviyo_api_copy(json_t *object, const char *name, ngx_pool_t *pool,
    ngx_str_t *text)
{
    json_t  *json;

    ngx_str_null(text);

    json = json_object_get(object, name);

    if (!json_is_string(json) || json_string_length(json) == 0) {
        return NGX_OK;
    }

    text->len = json_string_length(json);

    text->data = ngx_pnalloc(pool, text->len);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text->data, json_string_value(json), text->len);

    return NGX_OK;
}


/*
 * A wrong path or revision is not found either, and a list that is gone is a
 * fault of all that ask for it: only a profile dies of it.
 */

static ngx_uint_t
ngx_http_klaviyo_api_unknown_profile(ngx_http_klaviyo_lane_e lane,
    ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_http_klaviyo_error_t  *error;

    if (verdict->errors == NULL || verdict->errors->nelts != 1) {
        return 0;
    }

    error = verdict->errors->elts;

    switch (lane) {

    case NGX_HTTP_KLAVIYO_PROFILES:
        return ngx_http_klaviyo_api_starts(&error->pointer,
                                           NGX_HTTP_KLAVIYO_API_PROFILE);

    case NGX_HTTP_KLAVIYO_SUBSCRIPTIONS:
        return ngx_http_klaviyo_api_starts(&error->pointer,
                                           NGX_HTTP_KLAVIYO_API_SUBSCRIBER);

    default:
        return 0;
    }
}


static ngx_uint_t
ngx_http_klaviyo_api_starts(ngx_str_t *pointer, char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return pointer->len >= len && ngx_memcmp(pointer->data, text, len) == 0;
}


static void
ngx_http_klaviyo_api_bad_request(ngx_http_klaviyo_api_source_e source,
    ngx_uint_t events, ngx_pool_t *pool, ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_int_t  rc;

    rc = NGX_DECLINED;

    if (source == NGX_HTTP_KLAVIYO_API_KLAVIYO && verdict->errors->nelts) {
        rc = ngx_http_klaviyo_api_entries(events, pool, verdict);

        verdict->repeated = ngx_http_klaviyo_api_all_repeated(verdict->errors);
    }

    switch (rc) {

    case NGX_OK:
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_ENTRIES;
        verdict->repeated = 0;
        break;

    case NGX_DECLINED:
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_HALVE;
        verdict->single = !verdict->repeated;
        break;

    default: /* NGX_ERROR */
        verdict->verdict = NGX_HTTP_KLAVIYO_VERDICT_BACKOFF;
        verdict->repeated = 0;
        break;
    }
}


static ngx_int_t
ngx_http_klaviyo_api_entries(ngx_uint_t events, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict)
{
    ngx_int_t                  index;
    ngx_uint_t                 i;
    ngx_array_t               *entries;
    ngx_http_klaviyo_entry_t  *entry;
    ngx_http_klaviyo_error_t  *error;

    entries = ngx_array_create(pool, verdict->errors->nelts,
                               sizeof(ngx_http_klaviyo_entry_t));
    if (entries == NULL) {
        return NGX_ERROR;
    }

    entry = entries->elts;
    entries->nelts = verdict->errors->nelts;

    error = verdict->errors->elts;

    for (i = 0; i < verdict->errors->nelts; i++) {
        index = ngx_http_klaviyo_api_index(&error[i].pointer);

        if (index == NGX_ERROR || (ngx_uint_t) index >= events) {
            return NGX_DECLINED;
        }

        entry[i].index = index;
        entry[i].repeated = ngx_http_klaviyo_api_repeated(&error[i]);
        entry[i].error = i;
    }

    ngx_http_klaviyo_api_merge(entries);

    verdict->entries = entries;

    return NGX_OK;
}


static void
ngx_http_klaviyo_api_merge(ngx_array_t *entries)
{
    ngx_uint_t                 i, n;
    ngx_http_klaviyo_entry_t  *entry;

    entry = entries->elts;

    ngx_qsort(entry, entries->nelts, sizeof(ngx_http_klaviyo_entry_t),
              ngx_http_klaviyo_api_cmp_entries);

    n = 0;

    for (i = 0; i < entries->nelts; i++) {
        if (n == 0 || entry[n - 1].index != entry[i].index) {
            entry[n++] = entry[i];
        }
    }

    entries->nelts = n;
}


/* Of an entry's errors, one that is no repetition comes first, and stays. */

static int ngx_libc_cdecl
ngx_http_klaviyo_api_cmp_entries(const void *one, const void *two)
{
    const ngx_http_klaviyo_entry_t  *a, *b;

    a = one;
    b = two;

    if (a->index != b->index) {
        return (a->index < b->index) ? -1 : 1;
    }

    if (a->repeated != b->repeated) {
        return a->repeated ? 1 : -1;
    }

    return (a->error < b->error) ? -1 : 1;
}


static ngx_int_t
ngx_http_klaviyo_api_index(ngx_str_t *pointer)
{
    u_char  *p, *last, *end;

    if (pointer->len < sizeof(NGX_HTTP_KLAVIYO_API_ENTRY)) {
        return NGX_ERROR;
    }

    last = pointer->data + pointer->len;

    p = ngx_strlcasestrn(pointer->data, last,
                         (u_char *) NGX_HTTP_KLAVIYO_API_ENTRY,
                         sizeof(NGX_HTTP_KLAVIYO_API_ENTRY) - 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p += sizeof(NGX_HTTP_KLAVIYO_API_ENTRY) - 1;

    end = ngx_strlchr(p, last, '/');

    return ngx_atoi(p, (end ? end : last) - p);
}


static ngx_uint_t
ngx_http_klaviyo_api_all_repeated(ngx_array_t *errors)
{
    ngx_uint_t                 i;
    ngx_http_klaviyo_error_t  *error;

    error = errors->elts;

    for (i = 0; i < errors->nelts; i++) {
        if (!ngx_http_klaviyo_api_repeated(&error[i])) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_klaviyo_api_repeated(ngx_http_klaviyo_error_t *error)
{
    size_t      len;
    ngx_str_t  *pointer;

    pointer = &error->pointer;
    len = sizeof(NGX_HTTP_KLAVIYO_API_ID) - 1;

    if ((pointer->len < len
         || ngx_strncmp(pointer->data + pointer->len - len,
                        NGX_HTTP_KLAVIYO_API_ID, len)
            != 0)
        && !ngx_http_klaviyo_api_says(error, ngx_http_klaviyo_api_ids))
    {
        return 0;
    }

    if (ngx_http_klaviyo_api_says(error, ngx_http_klaviyo_api_repetitions)) {
        return 1;
    }

    return ngx_http_klaviyo_api_says(error, ngx_http_klaviyo_api_rules)
           && !ngx_http_klaviyo_api_says(error, ngx_http_klaviyo_api_forms);
}


static ngx_uint_t
ngx_http_klaviyo_api_says(ngx_http_klaviyo_error_t *error, ngx_str_t *words)
{
    for ( /* void */ ; words->len; words++) {

        if (ngx_http_klaviyo_api_contains(&error->code, words)
            || ngx_http_klaviyo_api_contains(&error->title, words)
            || ngx_http_klaviyo_api_contains(&error->detail, words))
        {
            return 1;
        }
    }

    return 0;
}


/* Words begin where a word begins; they may go on ("duplicates"). */

static ngx_uint_t
ngx_http_klaviyo_api_contains(ngx_str_t *text, ngx_str_t *words)
{
    u_char   ch;
    size_t   i, k;

    for (i = 0; i + words->len <= text->len; i++) {

        if (i) {
            ch = text->data[i - 1];

            if ((ch >= '0' && ch <= '9')
                || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z'))
            {
                continue;
            }
        }

        for (k = 0; k < words->len; k++) {
            ch = ngx_tolower(text->data[i + k]);

            if (ch == '_' || ch == '-') {
                ch = ' ';
            }

            if (ch != words->data[k]) {
                break;
            }
        }

        if (k == words->len) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_klaviyo_api_header(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *line, time_t now)
{
    ngx_str_t                       name, value;
    ngx_http_klaviyo_api_header_t  *header;

    value = *line;
    name = ngx_http_klaviyo_api_cut(&value, ':');

    for (header = ngx_http_klaviyo_api_headers; header->name.len; header++) {

        if (name.len == header->name.len
            && ngx_strncasecmp(name.data, header->name.data, name.len) == 0)
        {
            value = ngx_http_klaviyo_api_trim(value.data,
                                              value.data + value.len);
            header->handler(answer, &value, now);
            return;
        }
    }
}


/* Returns what is before the separator; "text" is left with what follows. */

static ngx_str_t
ngx_http_klaviyo_api_cut(ngx_str_t *text, u_char separator)
{
    u_char     *p, *last;
    ngx_str_t   part;

    last = text->data + text->len;

    p = ngx_strlchr(text->data, last, separator);
    if (p == NULL) {
        p = last;
    }

    part = ngx_http_klaviyo_api_trim(text->data, p);

    text->data = (p < last) ? p + 1 : last;
    text->len = last - text->data;

    return part;
}


static ngx_str_t
ngx_http_klaviyo_api_trim(u_char *p, u_char *last)
{
    ngx_str_t  text;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last
           && (last[-1] == ' ' || last[-1] == '\t'
               || last[-1] == CR || last[-1] == LF))
    {
        last--;
    }

    text.data = p;
    text.len = last - p;

    return text;
}


static void
ngx_http_klaviyo_api_retry_after(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *value, time_t now)
{
    time_t     date;
    ngx_int_t  seconds;

    seconds = ngx_atoi(value->data, value->len);

    if (seconds == NGX_ERROR) {
        date = ngx_parse_http_time(value->data, value->len);

        if (date == NGX_ERROR) {
            return;
        }

        seconds = (date > now) ? date - now : 0;
    }

    answer->retry_after = 1000 * ngx_min(seconds,
                                         NGX_HTTP_KLAVIYO_API_MAX_TIME);
}


/* The window of a minute, or a number that stands alone. */

static void
ngx_http_klaviyo_api_limit(ngx_http_klaviyo_answer_t *answer, ngx_str_t *value,
    time_t now)
{
    ngx_int_t   limit, window;
    ngx_str_t   item, number;
    ngx_uint_t  alone;

    alone = (ngx_strlchr(value->data, value->data + value->len, ',') == NULL);

    while (value->len) {
        item = ngx_http_klaviyo_api_cut(value, ',');
        number = ngx_http_klaviyo_api_cut(&item, ';');

        limit = ngx_atoi(number.data, number.len);
        window = ngx_http_klaviyo_api_window(&item);

        if (limit != NGX_ERROR && (window == 60 || (alone && window == 0))) {
            answer->limit = limit;
            return;
        }
    }
}


/* Returns "w" of an item's parameters in seconds, 0 if there is none. */

static ngx_int_t
ngx_http_klaviyo_api_window(ngx_str_t *item)
{
    ngx_str_t  parameter, name;

    while (item->len) {
        parameter = ngx_http_klaviyo_api_cut(item, ';');
        name = ngx_http_klaviyo_api_cut(&parameter, '=');

        if (name.len == 1 && (name.data[0] | 0x20) == 'w') {
            parameter = ngx_http_klaviyo_api_trim(parameter.data,
                                            parameter.data + parameter.len);
            return ngx_atoi(parameter.data, parameter.len);
        }
    }

    return 0;
}


static void
ngx_http_klaviyo_api_remaining(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *value, time_t now)
{
    ngx_int_t  remaining;

    remaining = ngx_atoi(value->data, value->len);

    if (remaining != NGX_ERROR) {
        answer->remaining = remaining;
    }
}


static void
ngx_http_klaviyo_api_reset(ngx_http_klaviyo_answer_t *answer, ngx_str_t *value,
    time_t now)
{
    ngx_int_t  seconds;

    seconds = ngx_atoi(value->data, value->len);

    if (seconds != NGX_ERROR) {
        answer->reset = 1000 * ngx_min(seconds, NGX_HTTP_KLAVIYO_API_MAX_TIME);
    }
}


void
ngx_http_klaviyo_api_init(ngx_http_klaviyo_answer_t *answer)
{
    ngx_memzero(answer, sizeof(ngx_http_klaviyo_answer_t));

    answer->retry_after = (ngx_msec_t) -1;
    answer->reset = (ngx_msec_t) -1;
    answer->remaining = (ngx_uint_t) -1;
    answer->limit = (ngx_uint_t) -1;
}
