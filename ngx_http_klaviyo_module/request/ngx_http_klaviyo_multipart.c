
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * multipart/form-data (RFC 7578), part by part.
 */


#include "ngx_http_klaviyo_multipart.h"


/*
 * RFC 2046 allows 70 bytes; some clients don't count.  It bounds what a byte of
 * the body may cost.
 */
#define NGX_HTTP_KLAVIYO_MULTIPART_BOUNDARY  128

/* parts of a body, files too */
#define NGX_HTTP_KLAVIYO_MULTIPART_PARTS     4000


#define ngx_http_klaviyo_is_lwsp(ch)  ((ch) == ' ' || (ch) == '\t')


static ngx_int_t ngx_http_klaviyo_multipart_param(u_char **pos, u_char *last,
    ngx_str_t *name, ngx_str_t *value);
static u_char *ngx_http_klaviyo_multipart_quoted(u_char *p, u_char *last);
static u_char *ngx_http_klaviyo_multipart_find(
    ngx_http_klaviyo_multipart_t *mp, u_char *p, u_char **next);
static u_char *ngx_http_klaviyo_multipart_delimiter(
    ngx_http_klaviyo_multipart_t *mp, u_char *p);
static ngx_int_t ngx_http_klaviyo_multipart_header(
    ngx_http_klaviyo_multipart_t *mp, u_char **pos, u_char *last,
    ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_multipart_disposition(
    ngx_http_klaviyo_multipart_t *mp, u_char *p, u_char *last,
    ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_multipart_name(
    ngx_http_klaviyo_multipart_t *mp, ngx_str_t *name);
static size_t ngx_http_klaviyo_multipart_escape(u_char *p, u_char *last,
    u_char *ch);


ngx_int_t
ngx_http_klaviyo_multipart_init(ngx_http_klaviyo_multipart_t *mp,
    ngx_http_klaviyo_arena_t *arena, ngx_str_t *type, ngx_str_t *body)
{
    u_char     *p, *last;
    ngx_str_t   name, value;

    mp->arena = arena;
    mp->pos = body->data;
    mp->last = body->data + body->len;
    mp->parts = 0;

    ngx_str_null(&mp->boundary);

    last = type->data + type->len;
    p = ngx_strlchr(type->data, last, ';');

    while (p && ngx_http_klaviyo_multipart_param(&p, last, &name, &value)
                == NGX_OK)
    {
        if (name.len == sizeof("boundary") - 1
            && ngx_strncasecmp(name.data, (u_char *) "boundary", name.len)
               == 0)
        {
            mp->boundary = value;
            break;
        }
    }

    if (mp->boundary.len == 0
        || mp->boundary.len > NGX_HTTP_KLAVIYO_MULTIPART_BOUNDARY)
    {
        return NGX_DECLINED;
    }

    /* what stands before the first delimiter is a preamble */

    p = ngx_http_klaviyo_multipart_delimiter(mp, mp->pos);

    if (p == NULL
        && ngx_http_klaviyo_multipart_find(mp, mp->pos, &p) == NULL)
    {
        return NGX_DECLINED;
    }

    mp->pos = p;

    return NGX_OK;
}


/*
 * One of "; name=value" or "; name="value"", from "*pos" at a semicolon on; a
 * quoted value keeps its escapes.  NGX_DECLINED at the end.
 */

static ngx_int_t
ngx_http_klaviyo_multipart_param(u_char **pos, u_char *last, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char  *p;

    p = *pos;

    while (p < last && (*p == ';' || ngx_http_klaviyo_is_lwsp(*p))) {
        p++;
    }

    name->data = p;

    while (p < last && *p != '=' && *p != ';') {
        p++;
    }

    name->len = p - name->data;

    while (name->len
           && ngx_http_klaviyo_is_lwsp(name->data[name->len - 1]))
    {
        name->len--;
    }

    if (p < last && *p == '=') {
        p++;
    }

    while (p < last && ngx_http_klaviyo_is_lwsp(*p)) {
        p++;
    }

    if (p < last && *p == '"') {
        value->data = p + 1;
        p = ngx_http_klaviyo_multipart_quoted(p + 1, last);
        value->len = p - value->data;

        while (p < last && *p != ';') {
            p++;
        }

    } else {
        value->data = p;

        while (p < last && *p != ';') {
            p++;
        }

        value->len = p - value->data;

        while (value->len
               && ngx_http_klaviyo_is_lwsp(value->data[value->len - 1]))
        {
            value->len--;
        }
    }

    *pos = p;

    return name->len ? NGX_OK : NGX_DECLINED;
}


/* returns where the closing quote is, or "last" */

static u_char *
ngx_http_klaviyo_multipart_quoted(u_char *p, u_char *last)
{
    for ( /* void */ ; p < last && *p != '"'; p++) {

        if (*p == '\\' && last - p > 1) {
            p++;
        }
    }

    return p;
}


ngx_int_t
ngx_http_klaviyo_multipart_next(ngx_http_klaviyo_multipart_t *mp,
    ngx_str_t *name, ngx_str_t *value)
{
    u_char     *p, *end, *next;
    ngx_int_t   rc;

    for ( ;; ) {
        p = mp->pos;

        /* right behind a delimiter: the closing one has two more dashes */

        if (mp->last - p >= 2 && p[0] == '-' && p[1] == '-') {
            return NGX_DONE;
        }

        if (mp->parts++ == NGX_HTTP_KLAVIYO_MULTIPART_PARTS) {
            mp->arena->limits++;
            return NGX_ERROR;
        }

        end = ngx_http_klaviyo_multipart_find(mp, p, &next);

        if (end == NULL) {
            return NGX_DECLINED;
        }

        mp->pos = next;

        rc = ngx_http_klaviyo_multipart_header(mp, &p, end, name);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK) {
            value->data = p;
            value->len = end - p;

            return NGX_OK;
        }
    }
}


/*
 * The end of the part that begins at "p", which may be empty: the line break
 * there belongs to the delimiter.  "*next" is behind that.
 */

static u_char *
ngx_http_klaviyo_multipart_find(ngx_http_klaviyo_multipart_t *mp, u_char *p,
    u_char **next)
{
    for ( /* void */ ; p < mp->last; p++) {

        p = ngx_strlchr(p, mp->last, CR);
        if (p == NULL) {
            return NULL;
        }

        if (mp->last - p < 2 || p[1] != LF) {
            continue;
        }

        *next = ngx_http_klaviyo_multipart_delimiter(mp, p + 2);

        if (*next) {
            return p;
        }
    }

    return NULL;
}


/*
 * Whether "p" is at a delimiter; returns what is behind it, blanks skipped: a
 * line break, which the header begins with, or "--".
 */

static u_char *
ngx_http_klaviyo_multipart_delimiter(ngx_http_klaviyo_multipart_t *mp,
    u_char *p)
{
    size_t  len;

    len = mp->boundary.len;

    if ((size_t) (mp->last - p) < len + 4
        || p[0] != '-' || p[1] != '-'
        || ngx_memcmp(p + 2, mp->boundary.data, len) != 0)
    {
        return NULL;
    }

    p += 2 + len;

    if (p[0] == '-' && p[1] == '-') {
        return p;
    }

    while (p < mp->last && ngx_http_klaviyo_is_lwsp(*p)) {
        p++;
    }

    return (mp->last - p >= 2 && p[0] == CR && p[1] == LF) ? p : NULL;
}


/*
 * Lines of a header from a line break at "*pos" on, up to an empty one, behind
 * which "*pos" is then.  NGX_DECLINED if it is no text with a name.
 */

static ngx_int_t
ngx_http_klaviyo_multipart_header(ngx_http_klaviyo_multipart_t *mp,
    u_char **pos, u_char *last, ngx_str_t *name)
{
    size_t      len;
    u_char     *p, *end;
    ngx_int_t   rc;

    static const u_char  field[] = "content-disposition:";

    rc = NGX_DECLINED;
    len = sizeof(field) - 1;

    for (p = *pos; last - p >= 2 && p[0] == CR && p[1] == LF; p = end) {

        p += 2;

        if (last - p >= 2 && p[0] == CR && p[1] == LF) {
            *pos = p + 2;
            return rc;
        }

        for (end = p; end < last; end++) {

            if (end[0] == CR && last - end > 1 && end[1] == LF) {
                break;
            }
        }

        if ((size_t) (end - p) >= len
            && ngx_strncasecmp(p, (u_char *) field, len) == 0)
        {
            rc = ngx_http_klaviyo_multipart_disposition(mp, p + len, end,
                                                        name);
            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_multipart_disposition(ngx_http_klaviyo_multipart_t *mp,
    u_char *p, u_char *last, ngx_str_t *name)
{
    ngx_str_t   param, value;
    ngx_uint_t  file;

    file = 0;
    ngx_str_null(name);

    p = ngx_strlchr(p, last, ';');

    while (p
           && ngx_http_klaviyo_multipart_param(&p, last, &param, &value)
              == NGX_OK)
    {
        if (param.len == 4 && name->len == 0
            && ngx_strncasecmp(param.data, (u_char *) "name", 4) == 0)
        {
            *name = value;
        }

        /* "filename*" too */

        if (param.len >= 8
            && ngx_strncasecmp(param.data, (u_char *) "filename", 8) == 0)
        {
            file = 1;
        }
    }

    if (file || name->len == 0
        || (name->len == sizeof("_charset_") - 1
            && ngx_strncmp(name->data, "_charset_", name->len) == 0))
    {
        return NGX_DECLINED;
    }

    return ngx_http_klaviyo_multipart_name(mp, name);
}


/*
 * Browsers write %22, %0D and %0A and no other escape, a backslash comes from
 * others.  A name without any is not copied.
 */

static ngx_int_t
ngx_http_klaviyo_multipart_name(ngx_http_klaviyo_multipart_t *mp,
    ngx_str_t *name)
{
    u_char  *p, *s, *last;

    s = name->data;
    last = s + name->len;

    if (ngx_strlchr(s, last, '%') == NULL && ngx_strlchr(s, last, '\\') == NULL)
    {
        return NGX_OK;
    }

    p = ngx_http_klaviyo_arena_alloc(mp->arena, name->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->data = p;

    while (s < last) {
        s += ngx_http_klaviyo_multipart_escape(s, last, p++);
    }

    name->len = p - name->data;

    return NGX_OK;
}


/* the character at "p", and how many bytes it takes there */

static size_t
ngx_http_klaviyo_multipart_escape(u_char *p, u_char *last, u_char *ch)
{
    *ch = *p;

    if (*p == '\\' && last - p > 1 && (p[1] == '"' || p[1] == '\\')) {
        *ch = p[1];
        return 2;
    }

    if (*p != '%' || last - p < 3) {
        return 1;
    }

    if (p[1] == '2' && p[2] == '2') {
        *ch = '"';
        return 3;
    }

    if (p[1] == '0' && (p[2] == 'D' || p[2] == 'd')) {
        *ch = CR;
        return 3;
    }

    if (p[1] == '0' && (p[2] == 'A' || p[2] == 'a')) {
        *ch = LF;
        return 3;
    }

    return 1;
}
