
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * JSON text: written by ourselves, straight into the event; read by jansson,
 * within bounds.
 */


#include "ngx_http_klaviyo_json.h"
#include "ngx_http_klaviyo_decimal.h"


/* levels that a text may nest: what bounds every recursion over a tree */
#define NGX_HTTP_KLAVIYO_JSON_DEPTH  64

/* integers below it are doubles of their own */
#define NGX_HTTP_KLAVIYO_JSON_EXACT  9007199254740992.0

/* the same bit of each of eight bytes */
#define NGX_HTTP_KLAVIYO_LOWS        0x0101010101010101ULL
#define NGX_HTTP_KLAVIYO_HIGHS       0x8080808080808080ULL


#define ngx_http_klaviyo_json_plain(ch)                                       \
    ((ch) < 0x80 && ngx_http_klaviyo_json_escapes[ch] == 1)


/* compared all at once where the processor can, else one by one */
typedef signed char
    ngx_http_klaviyo_bytes_t __attribute__((vector_size(16)));


static size_t ngx_http_klaviyo_json_escape_rest(u_char *dst, u_char *src,
    size_t len);
static size_t ngx_http_klaviyo_json_escape_size(u_char *src, size_t len);
static ngx_inline ngx_uint_t ngx_http_klaviyo_json_plain8(u_char *p);
static ngx_inline ngx_uint_t ngx_http_klaviyo_json_plain16(u_char *p);
static u_char *ngx_http_klaviyo_json_escape_ascii(u_char *dst, u_char ch);
static ngx_int_t ngx_http_klaviyo_utf8_sequence(u_char *p, u_char *last);
static size_t ngx_http_klaviyo_utf8_copy(u_char *dst, ngx_str_t *src,
    ngx_uint_t *replaced);
static size_t ngx_http_klaviyo_json_write_string(u_char *dst, u_char *src,
    size_t len, ngx_uint_t *limits);
static ngx_uint_t ngx_http_klaviyo_json_too_long(u_char *src, size_t len);
static size_t ngx_http_klaviyo_json_write_text(u_char *dst, u_char *src,
    size_t len);
static size_t ngx_http_klaviyo_json_write_tree(u_char *dst, json_t *json,
    ngx_uint_t depth, ngx_uint_t *limits);
static size_t ngx_http_klaviyo_json_write_array(u_char *dst, json_t *json,
    ngx_uint_t depth, ngx_uint_t *limits);
static size_t ngx_http_klaviyo_json_write_object(u_char *dst, json_t *json,
    ngx_uint_t depth, ngx_uint_t *limits);
static ngx_uint_t ngx_http_klaviyo_json_too_deep(ngx_uint_t depth,
    ngx_uint_t *limits);
static size_t ngx_http_klaviyo_json_write_member(u_char *dst, u_char sep,
    void *iter, ngx_uint_t depth, ngx_uint_t *limits);
static ngx_uint_t ngx_http_klaviyo_json_inexact(json_t *json);
static ngx_int_t ngx_http_klaviyo_json_bound(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text);
static size_t ngx_http_klaviyo_json_skip_string(ngx_str_t *text, size_t i);
static ngx_int_t ngx_http_klaviyo_json_mend(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *text);
static size_t ngx_http_klaviyo_json_mend_escape(u_char *p, u_char *last);
static ngx_int_t ngx_http_klaviyo_json_unit(u_char *p, u_char *last);


/* 1: as it is, 0: left out, 'u': \u00XX, else the letter after "\" */

static const u_char  ngx_http_klaviyo_json_escapes[128] = {
      0, 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    'b', 't', 'n', 'u', 'f', 'r', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
      1,   1, '"',   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1, '\\',  1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1
};


size_t
ngx_http_klaviyo_json_escape(u_char *dst, u_char *src, size_t len)
{
    size_t  n;

    /* an empty text may be no address at all */

    if (len == 0) {
        return 0;
    }

    if (dst == NULL) {
        return ngx_http_klaviyo_json_escape_size(src, len);
    }

    /* nearly all texts are plain */

    for (n = 0; len - n >= 16; n += 16) {

        if (!ngx_http_klaviyo_json_plain16(src + n)) {
            return n + ngx_http_klaviyo_json_escape_rest(dst + n, src + n,
                                                         len - n);
        }

        ngx_memcpy(dst + n, src + n, 16);
    }

    /* the last sixteen overlap with those before */

    if (len >= 16 && ngx_http_klaviyo_json_plain16(src + len - 16)) {
        ngx_memcpy(dst + len - 16, src + len - 16, 16);
        return len;
    }

    if (len - n >= 8 && ngx_http_klaviyo_json_plain8(src + n)) {
        ngx_memcpy(dst + n, src + n, 8);
        n += 8;
    }

    while (n < len && ngx_http_klaviyo_json_plain(src[n])) {
        dst[n] = src[n];
        n++;
    }

    return n + ngx_http_klaviyo_json_escape_rest(dst + n, src + n, len - n);
}


static size_t
ngx_http_klaviyo_json_escape_rest(u_char *dst, u_char *src, size_t len)
{
    u_char     *start, *last, *stop;
    ngx_int_t   n;

    start = dst;
    last = src + len;

    while (src < last) {

        if (last - src >= 8 && ngx_http_klaviyo_json_plain8(src)) {
            dst = ngx_cpymem(dst, src, 8);
            src += 8;
            continue;
        }

        stop = (last - src >= 8) ? src + 8 : last;

        while (src < stop) {

            if (*src < 0x80) {
                dst = ngx_http_klaviyo_json_escape_ascii(dst, *src++);
                continue;
            }

            n = ngx_http_klaviyo_utf8_sequence(src, last);

            dst = (n > 0) ? ngx_cpymem(dst, src, n)
                          : ngx_cpymem(dst, "\xEF\xBF\xBD", 3);
            src += ngx_abs(n);
        }
    }

    return dst - start;
}


static size_t
ngx_http_klaviyo_json_escape_size(u_char *src, size_t len)
{
    size_t      size;
    u_char      ch, *last;
    ngx_int_t   n;

    size = 0;
    last = src + len;

    while (src < last) {

        if (last - src >= 8 && ngx_http_klaviyo_json_plain8(src)) {
            size += 8;
            src += 8;
            continue;
        }

        if (*src < 0x80) {
            ch = ngx_http_klaviyo_json_escapes[*src++];
            size += (ch < 2) ? ch : (ch == 'u') ? 6 : 2;
            continue;
        }

        n = ngx_http_klaviyo_utf8_sequence(src, last);

        size += (n > 0) ? n : 3;
        src += ngx_abs(n);
    }

    return size;
}


/*
 * Whether eight bytes stand for themselves.  A borrow may run into the next
 * byte, but only out of a byte that is not plain itself, so that the answer is
 * exact.
 */

static ngx_inline ngx_uint_t
ngx_http_klaviyo_json_plain8(u_char *p)
{
    uint64_t  w, bad;

    ngx_memcpy(&w, p, sizeof(uint64_t));

    bad = w
          | (w - NGX_HTTP_KLAVIYO_LOWS * 0x20)
          | ((w ^ NGX_HTTP_KLAVIYO_LOWS * '"') - NGX_HTTP_KLAVIYO_LOWS)
          | ((w ^ NGX_HTTP_KLAVIYO_LOWS * '\\') - NGX_HTTP_KLAVIYO_LOWS);

    return (bad & NGX_HTTP_KLAVIYO_HIGHS) == 0;
}


/* As signed bytes, those that are not ASCII are less than a blank, too. */

static ngx_inline ngx_uint_t
ngx_http_klaviyo_json_plain16(u_char *p)
{
    uint64_t                  w[2];
    ngx_http_klaviyo_bytes_t  bytes, bad;

    ngx_memcpy(&bytes, p, sizeof(ngx_http_klaviyo_bytes_t));

    bad = (bytes < ' ') | (bytes == '"') | (bytes == '\\');

    ngx_memcpy(w, &bad, sizeof(w));

    return (w[0] | w[1]) == 0;
}


static u_char *
ngx_http_klaviyo_json_escape_ascii(u_char *dst, u_char ch)
{
    u_char  escape;

    static const u_char  hex[] = "0123456789abcdef";

    escape = ngx_http_klaviyo_json_escapes[ch];

    switch (escape) {

    case 1:
        *dst++ = ch;
        break;

    case 0:
        break;

    case 'u':
        dst = ngx_cpymem(dst, "\\u00", 4);
        *dst++ = hex[ch >> 4];
        *dst++ = hex[ch & 0xf];
        break;

    default:
        *dst++ = '\\';
        *dst++ = escape;
    }

    return dst;
}


/*
 * The length of the valid sequence at "p", which is not ASCII; or, negative,
 * how many bytes one U+FFFD stands for: the longest part of a sequence that
 * could have become valid (table 3-7 of the Unicode Standard).
 */

static ngx_int_t
ngx_http_klaviyo_utf8_sequence(u_char *p, u_char *last)
{
    u_char     low, high;
    ngx_int_t  i, n;

    low = 0x80;
    high = 0xbf;

    if (*p >= 0xc2 && *p <= 0xdf) {
        n = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        n = 3;
        low = (*p == 0xe0) ? 0xa0 : 0x80;
        high = (*p == 0xed) ? 0x9f : 0xbf;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        n = 4;
        low = (*p == 0xf0) ? 0x90 : 0x80;
        high = (*p == 0xf4) ? 0x8f : 0xbf;

    } else {
        return -1;
    }

    for (i = 1; i < n; i++) {

        if (last - p == i || p[i] < low || p[i] > high) {
            return -i;
        }

        low = 0x80;
        high = 0xbf;
    }

    return n;
}


ngx_int_t
ngx_http_klaviyo_utf8(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src,
    ngx_str_t *dst)
{
    size_t       size;
    u_char      *p;
    ngx_uint_t   replaced;

    size = ngx_http_klaviyo_utf8_copy(NULL, src, &replaced);

    if (!replaced) {
        *dst = *src;
        return NGX_OK;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, size);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    (void) ngx_http_klaviyo_utf8_copy(p, src, &replaced);

    dst->len = size;
    dst->data = p;

    return NGX_OK;
}


size_t
ngx_http_klaviyo_utf8_length(ngx_str_t *text)
{
    u_char     *p, *last;
    size_t      n;
    ngx_int_t   len;

    p = text->data;
    last = p + text->len;

    for (n = 0; p < last; n++) {

        if (*p < 0x80) {
            if (*p < 0x20 || *p == 0x7f) {
                return 0;
            }

            p++;
            continue;
        }

        len = ngx_http_klaviyo_utf8_sequence(p, last);

        if (len < 0) {
            return 0;
        }

        p += len;
    }

    return n;
}


/* with "dst" NULL nothing is written, the size is the same */

static size_t
ngx_http_klaviyo_utf8_copy(u_char *dst, ngx_str_t *src, ngx_uint_t *replaced)
{
    size_t      n, size;
    u_char     *p, *q, *last;
    uint64_t    w;
    ngx_int_t   rc;

    size = 0;
    *replaced = 0;
    p = src->data;
    last = p + src->len;

    while (p < last) {
        q = p;
        n = 1;
        rc = 1;

        if (last - p >= 8) {
            ngx_memcpy(&w, p, sizeof(uint64_t));
            n = (w & NGX_HTTP_KLAVIYO_HIGHS) ? 1 : 8;
        }

        if (*p >= 0x80) {
            rc = ngx_http_klaviyo_utf8_sequence(p, last);
            n = ngx_abs(rc);
        }

        p += n;

        if (rc < 0) {
            q = (u_char *) "\xEF\xBF\xBD";
            n = 3;
            *replaced = 1;
        }

        if (dst) {
            dst = ngx_cpymem(dst, q, n);
        }

        size += n;
    }

    return size;
}


size_t
ngx_http_klaviyo_json_write(u_char *dst, ngx_http_klaviyo_data_t *data,
    ngx_uint_t depth, ngx_uint_t *limits)
{
    switch (data->type) {

    case NGX_HTTP_KLAVIYO_STRING:
        return ngx_http_klaviyo_json_write_string(dst, data->text.data,
                                                  data->text.len, limits);

    case NGX_HTTP_KLAVIYO_NUMBER:
        return ngx_http_klaviyo_json_write_text(dst, data->text.data,
                                                data->text.len);

    case NGX_HTTP_KLAVIYO_FALSE:
        return ngx_http_klaviyo_json_write_text(dst, (u_char *) "false", 5);

    case NGX_HTTP_KLAVIYO_TRUE:
        return ngx_http_klaviyo_json_write_text(dst, (u_char *) "true", 4);

    case NGX_HTTP_KLAVIYO_TREE:
        return ngx_http_klaviyo_json_write_tree(dst, data->json, depth,
                                                limits);

    default: /* NGX_HTTP_KLAVIYO_MISSING, NGX_HTTP_KLAVIYO_UNKNOWN */
        return 0;
    }
}


static size_t
ngx_http_klaviyo_json_write_string(u_char *dst, u_char *src, size_t len,
    ngx_uint_t *limits)
{
    size_t  size;

    if (ngx_http_klaviyo_json_too_long(src, len)) {

        if (limits) {
            (*limits)++;
        }

        return 0;
    }

    /* a text of nothing but NUL is empty too: no quote before it is known */

    size = ngx_http_klaviyo_json_escape(dst ? dst + 1 : NULL, src, len);

    if (size == 0) {
        return 0;
    }

    if (dst) {
        dst[0] = '"';
        dst[size + 1] = '"';
    }

    return size + 2;
}


/* what counts is the text that Klaviyo reads: one bad byte becomes three */

static ngx_uint_t
ngx_http_klaviyo_json_too_long(u_char *src, size_t len)
{
    ngx_str_t   text;
    ngx_uint_t  replaced;

    if (len <= NGX_HTTP_KLAVIYO_MAX_STRING / 3) {
        return 0;
    }

    if (len > NGX_HTTP_KLAVIYO_MAX_STRING) {
        return 1;
    }

    text.data = src;
    text.len = len;

    return ngx_http_klaviyo_utf8_copy(NULL, &text, &replaced)
           > NGX_HTTP_KLAVIYO_MAX_STRING;
}


static size_t
ngx_http_klaviyo_json_write_text(u_char *dst, u_char *src, size_t len)
{
    if (dst) {
        ngx_memcpy(dst, src, len);
    }

    return len;
}


/*
 * Each of these writes nothing at all when it returns 0, so that a value may
 * be tried at its place before what stands in front of it is written.
 */

static size_t
ngx_http_klaviyo_json_write_tree(u_char *dst, json_t *json, ngx_uint_t depth,
    ngx_uint_t *limits)
{
    size_t  len;
    u_char  buf[NGX_HTTP_KLAVIYO_REAL_LEN];

    switch (json_typeof(json)) {

    case JSON_STRING:
        return ngx_http_klaviyo_json_write_string(dst,
                                            (u_char *) json_string_value(json),
                                            json_string_length(json), limits);

    case JSON_INTEGER:
    case JSON_REAL:
        len = ngx_http_klaviyo_json_number(buf, json);
        return ngx_http_klaviyo_json_write_text(dst, buf, len);

    case JSON_FALSE:
        return ngx_http_klaviyo_json_write_text(dst, (u_char *) "false", 5);

    case JSON_TRUE:
        return ngx_http_klaviyo_json_write_text(dst, (u_char *) "true", 4);

    case JSON_ARRAY:
        return ngx_http_klaviyo_json_write_array(dst, json, depth, limits);

    case JSON_OBJECT:
        return ngx_http_klaviyo_json_write_object(dst, json, depth, limits);

    default: /* JSON_NULL */
        return 0;
    }
}


static size_t
ngx_http_klaviyo_json_write_array(u_char *dst, json_t *json, ngx_uint_t depth,
    ngx_uint_t *limits)
{
    size_t      n, size, i, last;
    ngx_uint_t  items;

    if (ngx_http_klaviyo_json_too_deep(depth, limits)) {
        return 0;
    }

    size = 0;
    items = 0;
    last = json_array_size(json);

    for (i = 0; i < last; i++) {

        if (items == NGX_HTTP_KLAVIYO_MAX_ITEMS) {

            if (limits) {
                *limits += last - i;
            }

            break;
        }

        n = ngx_http_klaviyo_json_write_tree(dst ? dst + size + 1 : NULL,
                                             json_array_get(json, i),
                                             depth + 1, limits);
        if (n == 0) {
            continue;
        }

        if (dst) {
            dst[size] = size ? ',' : '[';
        }

        size += 1 + n;
        items++;
    }

    if (size == 0) {
        return 0;
    }

    if (dst) {
        dst[size] = ']';
    }

    return size + 1;
}


static size_t
ngx_http_klaviyo_json_write_object(u_char *dst, json_t *json, ngx_uint_t depth,
    ngx_uint_t *limits)
{
    void    *iter;
    size_t   size;

    if (ngx_http_klaviyo_json_too_deep(depth, limits)) {
        return 0;
    }

    size = 0;

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        size += ngx_http_klaviyo_json_write_member(dst ? dst + size : NULL,
                                                   size ? ',' : '{', iter,
                                                   depth + 1, limits);
    }

    if (size == 0) {
        return 0;
    }

    if (dst) {
        dst[size] = '}';
    }

    return size + 1;
}


/* Klaviyo counts objects only, "currently" */

static ngx_uint_t
ngx_http_klaviyo_json_too_deep(ngx_uint_t depth, ngx_uint_t *limits)
{
    if (depth < NGX_HTTP_KLAVIYO_MAX_DEPTH) {
        return 0;
    }

    if (limits) {
        (*limits)++;
    }

    return 1;
}


static size_t
ngx_http_klaviyo_json_write_member(u_char *dst, u_char sep, void *iter,
    ngx_uint_t depth, ngx_uint_t *limits)
{
    size_t   n, len, size;
    u_char  *key;

    key = (u_char *) json_object_iter_key(iter);
    len = ngx_strlen(key);

    if (len == 0) {

        if (limits) {
            (*limits)++;
        }

        return 0;
    }

    /* 4 is {"": */

    size = 4 + ngx_http_klaviyo_json_escape(NULL, key, len);

    n = ngx_http_klaviyo_json_write_tree(dst ? dst + size : NULL,
                                         json_object_iter_value(iter), depth,
                                         limits);
    if (n == 0) {
        return 0;
    }

    if (dst) {
        *dst++ = sep;
        *dst++ = '"';
        dst += ngx_http_klaviyo_json_escape(dst, key, len);
        *dst++ = '"';
        *dst = ':';
    }

    return size + n;
}


json_t *
ngx_http_klaviyo_json_parse(ngx_http_klaviyo_arena_t *arena, ngx_str_t *text)
{
    json_t      *json;
    ngx_str_t    utf8;
    ngx_uint_t   reals;

    if (ngx_http_klaviyo_utf8(arena, text, &utf8) != NGX_OK) {
        return NULL;
    }

    if (ngx_http_klaviyo_json_bound(arena, &utf8) != NGX_OK) {
        return NULL;
    }

    json = ngx_http_klaviyo_json_load(&utf8, &reals);

    if (json == NULL && ngx_http_klaviyo_json_mend(arena, &utf8) == NGX_OK) {
        json = ngx_http_klaviyo_json_load(&utf8, &reals);
    }

    if (reals && json && ngx_http_klaviyo_json_inexact(json)) {
        json_decref(json);
        return NULL;
    }

    return ngx_http_klaviyo_arena_keep(arena, json);
}


/*
 * jansson reads all integers of a text as reals, or none: those that a real
 * can't hold exactly are better missing.  Returns 1 if it is such a one itself.
 */

static ngx_uint_t
ngx_http_klaviyo_json_inexact(json_t *json)
{
    void        *tmp;
    double       real;
    json_t      *value;
    size_t       i;
    const char  *key;

    if (json_is_real(json)) {
        real = json_real_value(json);

        return real <= -NGX_HTTP_KLAVIYO_JSON_EXACT
               || real >= NGX_HTTP_KLAVIYO_JSON_EXACT;
    }

    json_array_foreach(json, i, value) {

        if (ngx_http_klaviyo_json_inexact(value)) {
            (void) json_array_set_new(json, i, json_null());
        }
    }

    json_object_foreach_safe(json, tmp, key, value) {

        if (ngx_http_klaviyo_json_inexact(value)) {
            (void) json_object_set_new(json, key, json_null());
        }
    }

    return 0;
}


/*
 * Looks at a text before jansson does: how deep it is, and about what its tree
 * will take.  Its grammar is jansson's concern.
 */

static ngx_int_t
ngx_http_klaviyo_json_bound(ngx_http_klaviyo_arena_t *arena, ngx_str_t *text)
{
    size_t      i, cost;
    ngx_uint_t  depth;

    depth = 0;
    cost = text->len + NGX_HTTP_KLAVIYO_VALUE_COST;

    for (i = 0; i < text->len; i++) {

        switch (text->data[i]) {

        case '"':
            i = ngx_http_klaviyo_json_skip_string(text, i);
            break;

        case ',':
            cost += NGX_HTTP_KLAVIYO_VALUE_COST;
            break;

        case ':':
            cost += NGX_HTTP_KLAVIYO_MEMBER_COST;
            break;

        case '[':
        case '{':
            cost += (text->data[i] == '[') ? NGX_HTTP_KLAVIYO_ARRAY_COST
                                           : NGX_HTTP_KLAVIYO_OBJECT_COST;

            if (++depth > NGX_HTTP_KLAVIYO_JSON_DEPTH) {
                arena->limits++;
                return NGX_DECLINED;
            }

            break;

        case ']':
        case '}':
            depth -= (depth > 0);
        }
    }

    return ngx_http_klaviyo_arena_charge(arena, cost);
}


/* returns where the closing quote is, or a place behind the text */

static size_t
ngx_http_klaviyo_json_skip_string(ngx_str_t *text, size_t i)
{
    for (i++; i < text->len && text->data[i] != '"'; i++) {

        if (text->data[i] == '\\') {
            i++;
        }
    }

    return i;
}


/*
 * What careless programs write and browsers don't mind: half of a surrogate
 * pair where a text was cut, which becomes U+FFFD, and control characters in a
 * string, which become blanks.  The size stays.  Returns NGX_DECLINED if there
 * is none of it.
 */

static ngx_int_t
ngx_http_klaviyo_json_mend(ngx_http_klaviyo_arena_t *arena, ngx_str_t *text)
{
    u_char      *p, *last;
    size_t       n;
    ngx_uint_t   changed, string;

    if (text->len == 0) {
        return NGX_DECLINED;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, text->len);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    last = ngx_cpymem(p, text->data, text->len);
    text->data = p;

    changed = 0;
    string = 0;

    while (p < last) {

        if (*p == '"') {
            string = !string;

        } else if (string && *p < ' ' && *p != '\0') {
            *p = ' ';
            changed = 1;

        } else if (string && *p == '\\') {
            n = ngx_http_klaviyo_json_mend_escape(p, last);

            if (n == 0) {
                ngx_memcpy(p + 2, "fffd", 4);
                changed = 1;
                n = 6;
            }

            p += n;
            continue;
        }

        p++;
    }

    return changed ? NGX_OK : NGX_DECLINED;
}


/* The length of the escape at "p", 0 if it is half of a pair. */

static size_t
ngx_http_klaviyo_json_mend_escape(u_char *p, u_char *last)
{
    ngx_int_t  high, low;

    high = ngx_http_klaviyo_json_unit(p, last);

    if (high < 0xd800 || high > 0xdfff) {
        return ngx_min(2, last - p);
    }

    if (high > 0xdbff) {
        return 0;
    }

    low = ngx_http_klaviyo_json_unit(p + 6, last);

    return (low >= 0xdc00 && low <= 0xdfff) ? 12 : 0;
}


/* The code unit of the escape at "p", or NGX_ERROR */

static ngx_int_t
ngx_http_klaviyo_json_unit(u_char *p, u_char *last)
{
    if (last - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return NGX_ERROR;
    }

    return ngx_hextoi(p + 2, 4);
}


json_t *
ngx_http_klaviyo_json_load(ngx_str_t *text, ngx_uint_t *reals)
{
    json_t        *json;
    size_t         flags;
    json_error_t   error;

    flags = JSON_DECODE_ANY|JSON_ALLOW_NUL;

    json = json_loadb((char *) text->data, text->len, flags, &error);

    *reals = (json == NULL
              && json_error_code(&error) == json_error_numeric_overflow);

    if (*reals) {
        json = json_loadb((char *) text->data, text->len,
                          flags|JSON_DECODE_INT_AS_REAL, &error);
    }

    return json;
}


/* 17 digits and an exponent of three always fit */

size_t
ngx_http_klaviyo_json_real(u_char *buf, double value)
{
    int                          precision;
    char                         text[NGX_HTTP_KLAVIYO_REAL_LEN];
    ngx_str_t                    str;
    ngx_http_klaviyo_decimal_t   d;

    for (precision = 14; precision < 17; precision++) {

        (void) snprintf(text, sizeof(text), "%.*e", precision, value);

        if (strtod(text, NULL) == value) {
            break;
        }
    }

    str.data = (u_char *) text;
    str.len = ngx_strlen(text);

    /* "inf" and "nan" are no decimals */

    if (ngx_http_klaviyo_decimal_parse(&d, &str) != NGX_OK) {
        return 0;
    }

    return ngx_http_klaviyo_decimal_format(buf, &d);
}


size_t
ngx_http_klaviyo_json_number(u_char *buf, json_t *json)
{
    if (json_is_real(json)) {
        return ngx_http_klaviyo_json_real(buf, json_real_value(json));
    }

    return ngx_http_klaviyo_json_integer(buf, json_integer_value(json));
}


/* Not by %L: nginx negates the least integer there, which is not defined. */

size_t
ngx_http_klaviyo_json_integer(u_char *buf, int64_t value)
{
    u_char    *p;
    uint64_t   n;

    p = buf;
    n = (uint64_t) value;

    if (value < 0) {
        *p++ = '-';
        n = 0 - n;
    }

    return ngx_sprintf(p, "%uL", n) - buf;
}
