
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Finds <script type="application/ld+json"> in a page that streams by: HTML's
 * own tokenizer, as far as it takes to tell a tag from what looks like one in
 * comments, attributes and elements whose content is text.  It keeps where it
 * is and nothing of the page but those scripts.
 */


#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_jsonld.h"


/* scripts of a page */
#define NGX_HTTP_KLAVIYO_JSONLD_SCRIPTS  128

/* bytes of attributes that are decoded, all together */
#define NGX_HTTP_KLAVIYO_JSONLD_ENTITIES  4096

#define NGX_HTTP_KLAVIYO_JSONLD_BUFFER   4096


typedef enum {
    ngx_http_klaviyo_jsonld_text = 0,
    ngx_http_klaviyo_jsonld_lt,
    ngx_http_klaviyo_jsonld_end,
    ngx_http_klaviyo_jsonld_bogus,
    ngx_http_klaviyo_jsonld_markup,
    ngx_http_klaviyo_jsonld_dash,
    ngx_http_klaviyo_jsonld_comment,
    ngx_http_klaviyo_jsonld_bang,
    ngx_http_klaviyo_jsonld_element,
    ngx_http_klaviyo_jsonld_before,
    ngx_http_klaviyo_jsonld_attribute,
    ngx_http_klaviyo_jsonld_after,
    ngx_http_klaviyo_jsonld_equal,
    ngx_http_klaviyo_jsonld_double,
    ngx_http_klaviyo_jsonld_single,
    ngx_http_klaviyo_jsonld_unquoted,
    ngx_http_klaviyo_jsonld_raw,
    ngx_http_klaviyo_jsonld_raw_lt,
    ngx_http_klaviyo_jsonld_raw_end
} ngx_http_klaviyo_jsonld_state_e;


#define ngx_http_klaviyo_is_space(ch)                                         \
    ((ch) == ' ' || (ch) == '\t' || (ch) == CR || (ch) == LF || (ch) == '\f')

#define ngx_http_klaviyo_is_letter(ch)                                        \
    (((ch) | 0x20) >= 'a' && ((ch) | 0x20) <= 'z')


static u_char *ngx_http_klaviyo_jsonld_skip(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char *p, u_char *last);
static ngx_uint_t ngx_http_klaviyo_jsonld_text_byte(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static ngx_uint_t ngx_http_klaviyo_jsonld_comment_byte(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static ngx_uint_t ngx_http_klaviyo_jsonld_tag_byte(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static ngx_uint_t ngx_http_klaviyo_jsonld_value_byte(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static ngx_uint_t ngx_http_klaviyo_jsonld_raw_byte(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static void ngx_http_klaviyo_jsonld_begin(ngx_http_klaviyo_jsonld_t *jsonld,
    ngx_uint_t end);
static void ngx_http_klaviyo_jsonld_named(ngx_http_klaviyo_jsonld_t *jsonld);
static void ngx_http_klaviyo_jsonld_keep_name(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static void ngx_http_klaviyo_jsonld_keep_value(
    ngx_http_klaviyo_jsonld_t *jsonld, u_char ch);
static void ngx_http_klaviyo_jsonld_valued(ngx_http_klaviyo_jsonld_t *jsonld);
static void ngx_http_klaviyo_jsonld_close(ngx_http_klaviyo_jsonld_t *jsonld);
static void ngx_http_klaviyo_jsonld_append(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char *p, size_t len);
static void ngx_http_klaviyo_jsonld_complete(
    ngx_http_klaviyo_jsonld_t *jsonld);


/* elements whose content is text; the first is "script" */

static ngx_str_t  ngx_http_klaviyo_jsonld_raws[] = {
    ngx_string("script"),
    ngx_string("style"),
    ngx_string("title"),
    ngx_string("textarea"),
    ngx_string("xmp"),
    ngx_string("iframe"),
    ngx_string("noembed"),
    ngx_string("noframes"),
    ngx_null_string
};


ngx_http_klaviyo_jsonld_t *
ngx_http_klaviyo_jsonld_create(ngx_pool_t *pool, size_t limit)
{
    ngx_http_klaviyo_jsonld_t  *jsonld;

    jsonld = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_jsonld_t));
    if (jsonld == NULL) {
        return NULL;
    }

    if (ngx_array_init(&jsonld->scripts, pool, 4, sizeof(size_t)) != NGX_OK) {
        return NULL;
    }

    jsonld->pool = pool;
    jsonld->limit = limit;

    ngx_http_klaviyo_arena_init(&jsonld->arena, pool,
                                NGX_HTTP_KLAVIYO_JSONLD_ENTITIES);
    return jsonld;
}


ngx_int_t
ngx_http_klaviyo_jsonld_feed(ngx_http_klaviyo_jsonld_t *jsonld, u_char *p,
    u_char *last)
{
    ngx_uint_t  taken;

    while (p < last && !jsonld->limited) {

        p = ngx_http_klaviyo_jsonld_skip(jsonld, p, last);

        if (p == last) {
            break;
        }

        if (jsonld->state < ngx_http_klaviyo_jsonld_markup) {
            taken = ngx_http_klaviyo_jsonld_text_byte(jsonld, *p);

        } else if (jsonld->state < ngx_http_klaviyo_jsonld_element) {
            taken = ngx_http_klaviyo_jsonld_comment_byte(jsonld, *p);

        } else if (jsonld->state < ngx_http_klaviyo_jsonld_double) {
            taken = ngx_http_klaviyo_jsonld_tag_byte(jsonld, *p);

        } else if (jsonld->state < ngx_http_klaviyo_jsonld_raw) {
            taken = ngx_http_klaviyo_jsonld_value_byte(jsonld, *p);

        } else {
            taken = ngx_http_klaviyo_jsonld_raw_byte(jsonld, *p);
        }

        p += taken;
    }

    return jsonld->limited ? NGX_DECLINED : NGX_OK;
}


/* what a page mostly is: texts up to the next "<" */

static u_char *
ngx_http_klaviyo_jsonld_skip(ngx_http_klaviyo_jsonld_t *jsonld, u_char *p,
    u_char *last)
{
    u_char  *next;

    if (jsonld->state != ngx_http_klaviyo_jsonld_text
        && jsonld->state != ngx_http_klaviyo_jsonld_raw)
    {
        return p;
    }

    next = ngx_strlchr(p, last, '<');

    if (next == NULL) {
        next = last;
    }

    if (jsonld->open) {
        ngx_http_klaviyo_jsonld_append(jsonld, p, next - p);
    }

    return next;
}


/*
 * These return 1 if the byte is taken, 0 if it is to be looked at once more in
 * the state that was set.
 */

static ngx_uint_t
ngx_http_klaviyo_jsonld_text_byte(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char ch)
{
    switch (jsonld->state) {

    case ngx_http_klaviyo_jsonld_text:
        jsonld->state = ngx_http_klaviyo_jsonld_lt;
        return 1;

    case ngx_http_klaviyo_jsonld_lt:

        if (ngx_http_klaviyo_is_letter(ch)) {
            ngx_http_klaviyo_jsonld_begin(jsonld, 0);
            return 0;
        }

        if (ch == '!' || ch == '/' || ch == '?') {
            jsonld->state = (ch == '!') ? ngx_http_klaviyo_jsonld_markup
                            : (ch == '/') ? ngx_http_klaviyo_jsonld_end
                                          : ngx_http_klaviyo_jsonld_bogus;
            return 1;
        }

        jsonld->state = ngx_http_klaviyo_jsonld_text;
        return 0;

    case ngx_http_klaviyo_jsonld_end:

        if (ngx_http_klaviyo_is_letter(ch)) {
            ngx_http_klaviyo_jsonld_begin(jsonld, 1);

        } else {
            jsonld->state = ngx_http_klaviyo_jsonld_bogus;
        }

        return 0;

    default: /* ngx_http_klaviyo_jsonld_bogus */

        if (ch == '>') {
            jsonld->state = ngx_http_klaviyo_jsonld_text;
        }

        return 1;
    }
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_comment_byte(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char ch)
{
    switch (jsonld->state) {

    case ngx_http_klaviyo_jsonld_markup:

        if (ch == '-') {
            jsonld->state = ngx_http_klaviyo_jsonld_dash;
            return 1;
        }

        jsonld->state = ngx_http_klaviyo_jsonld_bogus;
        return 0;

    case ngx_http_klaviyo_jsonld_dash:

        if (ch == '-') {

            /* "<!-->" is a comment */

            jsonld->dashes = 2;
            jsonld->state = ngx_http_klaviyo_jsonld_comment;
            return 1;
        }

        jsonld->state = ngx_http_klaviyo_jsonld_bogus;
        return 0;

    case ngx_http_klaviyo_jsonld_comment:

        if (ch == '-') {
            jsonld->dashes++;
            return 1;
        }

        if (jsonld->dashes >= 2 && (ch == '>' || ch == '!')) {
            jsonld->state = (ch == '>') ? ngx_http_klaviyo_jsonld_text
                                        : ngx_http_klaviyo_jsonld_bang;
        }

        jsonld->dashes = 0;
        return 1;

    default: /* ngx_http_klaviyo_jsonld_bang */

        if (ch == '>') {
            jsonld->state = ngx_http_klaviyo_jsonld_text;
            return 1;
        }

        jsonld->state = ngx_http_klaviyo_jsonld_comment;
        return 0;
    }
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_tag_byte(ngx_http_klaviyo_jsonld_t *jsonld, u_char ch)
{
    switch (jsonld->state) {

    case ngx_http_klaviyo_jsonld_element:

        if (ngx_http_klaviyo_is_space(ch) || ch == '/' || ch == '>') {
            ngx_http_klaviyo_jsonld_named(jsonld);
            jsonld->state = ngx_http_klaviyo_jsonld_before;
            return 0;
        }

        ngx_http_klaviyo_jsonld_keep_name(jsonld, ch);
        return 1;

    case ngx_http_klaviyo_jsonld_before:

        if (ch == '>') {
            ngx_http_klaviyo_jsonld_close(jsonld);
            return 1;
        }

        jsonld->slash = (ch == '/');

        if (ngx_http_klaviyo_is_space(ch) || ch == '/') {
            return 1;
        }

        /* whatever it is, it belongs to the name */

        jsonld->nname = 0;
        ngx_http_klaviyo_jsonld_keep_name(jsonld, ch);
        jsonld->state = ngx_http_klaviyo_jsonld_attribute;
        return 1;

    case ngx_http_klaviyo_jsonld_attribute:

        if (ngx_http_klaviyo_is_space(ch) || ch == '/' || ch == '>'
            || ch == '=')
        {
            jsonld->state = ngx_http_klaviyo_jsonld_after;
            return 0;
        }

        ngx_http_klaviyo_jsonld_keep_name(jsonld, ch);
        return 1;

    case ngx_http_klaviyo_jsonld_after:

        if (ngx_http_klaviyo_is_space(ch)) {
            return 1;
        }

        if (ch == '=') {
            jsonld->state = ngx_http_klaviyo_jsonld_equal;
            return 1;
        }

        jsonld->state = ngx_http_klaviyo_jsonld_before;
        return 0;

    default: /* ngx_http_klaviyo_jsonld_equal */

        if (ngx_http_klaviyo_is_space(ch)) {
            return 1;
        }

        if (ch == '>') {
            jsonld->state = ngx_http_klaviyo_jsonld_before;
            return 0;
        }

        jsonld->nvalue = 0;

        if (ch == '"' || ch == '\'') {
            jsonld->state = (ch == '"') ? ngx_http_klaviyo_jsonld_double
                                        : ngx_http_klaviyo_jsonld_single;
            return 1;
        }

        jsonld->state = ngx_http_klaviyo_jsonld_unquoted;
        return 0;
    }
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_value_byte(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char ch)
{
    ngx_uint_t  end;

    switch (jsonld->state) {

    case ngx_http_klaviyo_jsonld_double:
        end = (ch == '"');
        break;

    case ngx_http_klaviyo_jsonld_single:
        end = (ch == '\'');
        break;

    default: /* ngx_http_klaviyo_jsonld_unquoted */
        end = (ngx_http_klaviyo_is_space(ch) || ch == '>');
    }

    if (!end) {
        ngx_http_klaviyo_jsonld_keep_value(jsonld, ch);
        return 1;
    }

    ngx_http_klaviyo_jsonld_valued(jsonld);
    jsonld->state = ngx_http_klaviyo_jsonld_before;

    return ch != '>';
}


static ngx_uint_t
ngx_http_klaviyo_jsonld_raw_byte(ngx_http_klaviyo_jsonld_t *jsonld, u_char ch)
{
    if (jsonld->state == ngx_http_klaviyo_jsonld_raw_end
        && jsonld->matched == jsonld->raw.len
        && (ngx_http_klaviyo_is_space(ch) || ch == '/' || ch == '>'))
    {
        ngx_http_klaviyo_jsonld_complete(jsonld);
        ngx_http_klaviyo_jsonld_begin(jsonld, 1);
        jsonld->state = ngx_http_klaviyo_jsonld_before;

        return 0;
    }

    switch (jsonld->state) {

    case ngx_http_klaviyo_jsonld_raw:
        jsonld->state = ngx_http_klaviyo_jsonld_raw_lt;
        break;

    case ngx_http_klaviyo_jsonld_raw_lt:

        if (ch != '/') {
            jsonld->state = ngx_http_klaviyo_jsonld_raw;
            return 0;
        }

        jsonld->matched = 0;
        jsonld->state = ngx_http_klaviyo_jsonld_raw_end;
        break;

    default: /* ngx_http_klaviyo_jsonld_raw_end */

        if (jsonld->matched == jsonld->raw.len
            || ngx_tolower(ch) != jsonld->raw.data[jsonld->matched])
        {
            jsonld->state = ngx_http_klaviyo_jsonld_raw;
            return 0;
        }

        jsonld->matched++;
    }

    if (jsonld->open) {
        ngx_http_klaviyo_jsonld_append(jsonld, &ch, 1);
    }

    return 1;
}


static void
ngx_http_klaviyo_jsonld_begin(ngx_http_klaviyo_jsonld_t *jsonld,
    ngx_uint_t end)
{
    jsonld->end = end;
    jsonld->slash = 0;
    jsonld->script = 0;
    jsonld->typed = 0;
    jsonld->jsonld = 0;
    jsonld->nname = 0;
    jsonld->state = ngx_http_klaviyo_jsonld_element;

    ngx_str_null(&jsonld->raw);
}


static void
ngx_http_klaviyo_jsonld_named(ngx_http_klaviyo_jsonld_t *jsonld)
{
    ngx_uint_t  i;
    ngx_str_t  *raw;

    raw = ngx_http_klaviyo_jsonld_raws;

    for (i = 0; raw[i].len; i++) {

        if (raw[i].len == jsonld->nname
            && ngx_memcmp(raw[i].data, jsonld->name, jsonld->nname) == 0)
        {
            jsonld->raw = raw[i];
            jsonld->script = (i == 0);
            return;
        }
    }
}


/* a name that is too long is none of ours: it stays one byte too long */

static void
ngx_http_klaviyo_jsonld_keep_name(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char ch)
{
    if (jsonld->nname < NGX_HTTP_KLAVIYO_JSONLD_NAME) {
        jsonld->name[jsonld->nname++] = ngx_tolower(ch);
    }
}


static void
ngx_http_klaviyo_jsonld_keep_value(ngx_http_klaviyo_jsonld_t *jsonld,
    u_char ch)
{
    if (jsonld->nvalue < NGX_HTTP_KLAVIYO_JSONLD_VALUE) {
        jsonld->value[jsonld->nvalue++] = ch;
    }
}


/* of equal attributes the first counts; some servers write "ld&#x2B;json" */

static void
ngx_http_klaviyo_jsonld_valued(ngx_http_klaviyo_jsonld_t *jsonld)
{
    u_char     *p;
    size_t      len;
    ngx_str_t   value;

    static const u_char  type[] = "application/ld+json";

    if (!jsonld->script || jsonld->typed || jsonld->nname != 4
        || ngx_memcmp(jsonld->name, "type", 4) != 0)
    {
        return;
    }

    jsonld->typed = 1;

    value.data = jsonld->value;
    value.len = jsonld->nvalue;

    if (ngx_http_klaviyo_decode_entities(&jsonld->arena, &value, &value)
        != NGX_OK)
    {
        return;
    }

    p = value.data;
    len = sizeof(type) - 1;

    while (value.len && ngx_http_klaviyo_is_space(*p)) {
        p++;
        value.len--;
    }

    jsonld->jsonld = (value.len >= len
                      && ngx_strncasecmp(p, (u_char *) type, len) == 0
                      && (value.len == len || p[len] == ';'
                          || ngx_http_klaviyo_is_space(p[len])));
}


/*
 * Behind a tag.  Only in SVG an element like "title" may end where it begins;
 * there HTML's rules for its content don't hold.
 */

static void
ngx_http_klaviyo_jsonld_close(ngx_http_klaviyo_jsonld_t *jsonld)
{
    jsonld->state = ngx_http_klaviyo_jsonld_text;

    if (jsonld->end || jsonld->raw.len == 0
        || (jsonld->slash && !jsonld->script))
    {
        return;
    }

    jsonld->state = ngx_http_klaviyo_jsonld_raw;

    if (jsonld->jsonld) {
        jsonld->open = 1;
        jsonld->start = jsonld->len;
    }
}


static void
ngx_http_klaviyo_jsonld_append(ngx_http_klaviyo_jsonld_t *jsonld, u_char *p,
    size_t len)
{
    size_t   size;
    u_char  *buf;

    if (len == 0) {
        return;
    }

    if (len > jsonld->limit - jsonld->len) {
        jsonld->limited = 1;
        return;
    }

    if (len > jsonld->size - jsonld->len) {
        size = ngx_max(jsonld->size * 2, NGX_HTTP_KLAVIYO_JSONLD_BUFFER);
        size = ngx_min(ngx_max(size, jsonld->len + len), jsonld->limit);

        buf = ngx_pnalloc(jsonld->pool, size);
        if (buf == NULL) {
            jsonld->limited = 1;
            return;
        }

        if (jsonld->buf) {
            ngx_memcpy(buf, jsonld->buf, jsonld->len);
            (void) ngx_pfree(jsonld->pool, jsonld->buf);
        }

        jsonld->buf = buf;
        jsonld->size = size;
    }

    ngx_memcpy(jsonld->buf + jsonld->len, p, len);
    jsonld->len += len;
}


/* the end tag, as far as it was seen, is not of the script */

static void
ngx_http_klaviyo_jsonld_complete(ngx_http_klaviyo_jsonld_t *jsonld)
{
    size_t  *end;

    if (!jsonld->open) {
        return;
    }

    jsonld->open = 0;
    jsonld->len -= 2 + jsonld->raw.len;

    if (jsonld->scripts.nelts == NGX_HTTP_KLAVIYO_JSONLD_SCRIPTS) {
        jsonld->limited = 1;
        return;
    }

    end = ngx_array_push(&jsonld->scripts);

    if (end == NULL) {
        jsonld->limited = 1;
        return;
    }

    *end = jsonld->len;
}
