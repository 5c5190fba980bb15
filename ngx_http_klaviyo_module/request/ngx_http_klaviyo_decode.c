
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The decoders that documents and filters share: texts into texts or trees.
 */


#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_entities.h"
#include "ngx_http_klaviyo_form.h"
#include "ngx_http_klaviyo_json.h"


/* what may stand between "&" and ";" */
#define NGX_HTTP_KLAVIYO_ENTITY_TEXT   10


#define ngx_http_klaviyo_is_blank(ch)                                         \
    ((ch) == ' ' || (ch) == '\t' || (ch) == CR || (ch) == LF)


static ngx_int_t ngx_http_klaviyo_decode_strict(ngx_str_t *dst,
    ngx_str_t *src);
static ngx_int_t ngx_http_klaviyo_decode_clean(ngx_str_t *dst,
    ngx_str_t *src);
static size_t ngx_http_klaviyo_decode_entity(u_char *p, u_char *last,
    uint32_t *code);
static ngx_int_t ngx_http_klaviyo_decode_number(u_char *p, size_t len,
    uint32_t *code);
static ngx_int_t ngx_http_klaviyo_decode_name(u_char *p, size_t len,
    uint32_t *code);
static int ngx_libc_cdecl ngx_http_klaviyo_decode_cmp(const void *one,
    const void *two);
static ngx_int_t ngx_http_klaviyo_decode_pair(ngx_http_klaviyo_form_t *form,
    ngx_str_t *pair);
static ngx_int_t ngx_http_klaviyo_decode_kv_pair(ngx_http_klaviyo_form_t *form,
    ngx_str_t *pair, ngx_str_t *kvsep);
static u_char *ngx_http_klaviyo_decode_find(u_char *p, u_char *last,
    ngx_str_t *sep);
static void ngx_http_klaviyo_decode_trim(ngx_str_t *text);


ngx_int_t
ngx_http_klaviyo_decode_url(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src,
    ngx_str_t *dst, ngx_uint_t flags)
{
    u_char      *p, *s, *last;
    ngx_int_t    ch;
    ngx_uint_t   form;

    s = src->data;
    last = s + src->len;
    form = flags & NGX_HTTP_KLAVIYO_DECODE_FORM;

    /* nearly all texts are plain, and memchr() looks at many bytes at once */

    if (src->len == 0
        || (memchr(s, '%', src->len) == NULL
            && (!form || memchr(s, '+', src->len) == NULL)))
    {
        *dst = *src;
        return NGX_OK;
    }

    p = ngx_http_klaviyo_arena_alloc(arena, src->len);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    dst->data = p;

    while (s < last) {
        ch = (*s == '%' && last - s > 2) ? ngx_hextoi(s + 1, 2) : NGX_ERROR;

        if (ch != NGX_ERROR) {
            *p++ = (u_char) ch;
            s += 3;

        } else {
            *p++ = (*s == '+' && form) ? ' ' : *s;
            s++;
        }
    }

    dst->len = p - dst->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_decode_base64(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src,
    ngx_str_t *dst)
{
    ngx_str_t  clean, plain;

    clean.data = ngx_http_klaviyo_arena_alloc(arena, src->len);
    plain.data = ngx_http_klaviyo_arena_alloc(arena,
                                         ngx_base64_decoded_length(src->len));

    if (clean.data == NULL || plain.data == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_http_klaviyo_decode_strict(&plain, src) != NGX_OK
        && (ngx_http_klaviyo_decode_clean(&clean, src) != NGX_OK
            || ngx_decode_base64(&plain, &clean) != NGX_OK))
    {
        return NGX_DECLINED;
    }

    *dst = plain;

    return NGX_OK;
}


/* Nearly all texts are as they should be; nginx stops at the first "=". */

static ngx_int_t
ngx_http_klaviyo_decode_strict(ngx_str_t *dst, ngx_str_t *src)
{
    size_t  len;

    for (len = src->len; len && src->data[len - 1] == '='; len--) {
        /* void */
    }

    if (len == 0 || memchr(src->data, '=', len) != NULL) {
        return NGX_DECLINED;
    }

    return ngx_decode_base64(dst, src);
}


/* one alphabet, without blanks, quotes and padding: nothing may follow that */

static ngx_int_t
ngx_http_klaviyo_decode_clean(ngx_str_t *dst, ngx_str_t *src)
{
    size_t       i;
    u_char       ch, *p;
    ngx_uint_t   padding;

    padding = 0;
    p = dst->data;

    for (i = 0; i < src->len; i++) {
        ch = src->data[i];

        if (ngx_http_klaviyo_is_blank(ch) || ch == '"' || ch == '\'') {
            continue;
        }

        if (ch == '=') {
            padding = 1;
            continue;
        }

        if (padding) {
            return NGX_DECLINED;
        }

        *p++ = (ch == '-') ? '+' : (ch == '_') ? '/' : ch;
    }

    dst->len = p - dst->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_klaviyo_decode_entities(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst)
{
    size_t     n;
    u_char    *p, *s, *last;
    uint32_t   code;

    s = src->data;
    last = s + src->len;

    if (ngx_strlchr(s, last, '&') == NULL) {
        *dst = *src;
        return NGX_OK;
    }

    /* no reference is shorter than the character it stands for */

    p = ngx_http_klaviyo_arena_alloc(arena, src->len);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    dst->data = p;

    while (s < last) {
        n = (*s == '&') ? ngx_http_klaviyo_decode_entity(s + 1, last, &code)
                        : 0;

        if (n == 0) {
            *p++ = *s++;
            continue;
        }

        p = ngx_http_klaviyo_decode_utf8(p, code);
        s += 1 + n;
    }

    dst->len = p - dst->data;

    return NGX_OK;
}


/* "p" is behind the "&"; returns how many bytes are taken, with the ";" */

static size_t
ngx_http_klaviyo_decode_entity(u_char *p, u_char *last, uint32_t *code)
{
    size_t      len;
    u_char     *end;
    ngx_int_t   rc;

    if (last - p > NGX_HTTP_KLAVIYO_ENTITY_TEXT) {
        last = p + NGX_HTTP_KLAVIYO_ENTITY_TEXT + 1;
    }

    end = ngx_strlchr(p, last, ';');

    if (end == NULL || end == p) {
        return 0;
    }

    len = end - p;

    if (*p == '#') {
        rc = ngx_http_klaviyo_decode_number(p + 1, len - 1, code);

    } else {
        rc = ngx_http_klaviyo_decode_name(p, len, code);
    }

    return (rc == NGX_OK) ? len + 1 : 0;
}


static ngx_int_t
ngx_http_klaviyo_decode_number(u_char *p, size_t len, uint32_t *code)
{
    ngx_int_t  n;

    if (len > 0 && (*p == 'x' || *p == 'X')) {
        n = ngx_hextoi(p + 1, len - 1);

    } else {
        n = ngx_atoi(p, len);
    }

    if (n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    if (n == 0 || n > 0x10ffff || (n >= 0xd800 && n <= 0xdfff)) {
        n = 0xfffd;
    }

    *code = (uint32_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_decode_name(u_char *p, size_t len, uint32_t *code)
{
    u_char                            name[NGX_HTTP_KLAVIYO_ENTITY_LEN + 1];
    const ngx_http_klaviyo_entity_t  *entity;

    if (len > NGX_HTTP_KLAVIYO_ENTITY_LEN) {
        return NGX_DECLINED;
    }

    (void) ngx_cpystrn(name, p, len + 1);

    entity = bsearch(name, ngx_http_klaviyo_entities,
                     sizeof(ngx_http_klaviyo_entities)
                     / sizeof(ngx_http_klaviyo_entity_t),
                     sizeof(ngx_http_klaviyo_entity_t),
                     ngx_http_klaviyo_decode_cmp);

    if (entity == NULL) {
        return NGX_DECLINED;
    }

    *code = entity->code;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_klaviyo_decode_cmp(const void *one, const void *two)
{
    const ngx_http_klaviyo_entity_t  *entity = two;

    return ngx_strcmp(one, entity->name);
}


u_char *
ngx_http_klaviyo_decode_utf8(u_char *p, uint32_t code)
{
    if (code < 0x80) {
        *p++ = (u_char) code;
        return p;
    }

    if (code < 0x800) {
        *p++ = (u_char) (0xc0 | (code >> 6));

    } else {

        if (code < 0x10000) {
            *p++ = (u_char) (0xe0 | (code >> 12));

        } else {
            *p++ = (u_char) (0xf0 | (code >> 18));
            *p++ = (u_char) (0x80 | ((code >> 12) & 0x3f));
        }

        *p++ = (u_char) (0x80 | ((code >> 6) & 0x3f));
    }

    *p++ = (u_char) (0x80 | (code & 0x3f));

    return p;
}


json_t *
ngx_http_klaviyo_decode_jwt(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src)
{
    json_t     *json;
    u_char     *p, *last;
    ngx_str_t   token, part;

    token = *src;

    ngx_http_klaviyo_decode_trim(&token);

    last = token.data + token.len;

    p = ngx_strlchr(token.data, last, ' ');
    p = ngx_strlchr(p ? p : token.data, last, '.');

    if (p == NULL) {
        return NULL;
    }

    part.data = p + 1;
    p = ngx_strlchr(part.data, last, '.');

    /* five parts are an encrypted token: nothing to read */

    if (p && ngx_strlchr(p + 1, last, '.')) {
        return NULL;
    }

    part.len = (p ? p : last) - part.data;

    if (ngx_http_klaviyo_decode_base64(arena, &part, &part) != NGX_OK) {
        return NULL;
    }

    json = ngx_http_klaviyo_json_parse(arena, &part);

    return json_is_object(json) ? json : NULL;
}


json_t *
ngx_http_klaviyo_decode_form(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src,
    ngx_uint_t repeat)
{
    u_char                   *p, *last;
    ngx_str_t                 pair;
    ngx_http_klaviyo_form_t   form;

    if (ngx_http_klaviyo_form_init(&form, arena,
                                   repeat ? NGX_HTTP_KLAVIYO_FORM_REPEAT : 0)
        != NGX_OK)
    {
        return NULL;
    }

    pair.data = src->data;
    last = src->data + src->len;

    while (pair.data < last) {
        p = ngx_strlchr(pair.data, last, '&');
        pair.len = (p ? p : last) - pair.data;

        if (ngx_http_klaviyo_decode_pair(&form, &pair) == NGX_ERROR) {
            return NULL;
        }

        pair.data = p ? p + 1 : last;
    }

    return ngx_http_klaviyo_form_done(&form);
}


static ngx_int_t
ngx_http_klaviyo_decode_pair(ngx_http_klaviyo_form_t *form, ngx_str_t *pair)
{
    u_char     *p, *last;
    ngx_str_t   name, value;

    last = pair->data + pair->len;
    p = ngx_strlchr(pair->data, last, '=');

    name.data = pair->data;
    name.len = (p ? p : last) - name.data;

    value.data = p ? p + 1 : last;
    value.len = last - value.data;

    if (ngx_http_klaviyo_decode_url(form->arena, &name, &name,
                                    NGX_HTTP_KLAVIYO_DECODE_FORM)
        != NGX_OK
        || ngx_http_klaviyo_decode_url(form->arena, &value, &value,
                                       NGX_HTTP_KLAVIYO_DECODE_FORM)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_klaviyo_form_add(form, &name, &value);
}


json_t *
ngx_http_klaviyo_decode_kv(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src,
    ngx_str_t *pairsep, ngx_str_t *kvsep)
{
    u_char                   *p, *last;
    ngx_str_t                 pair;
    ngx_http_klaviyo_form_t   form;

    if (pairsep->len == 0 || kvsep->len == 0
        || ngx_http_klaviyo_form_init(&form, arena,
                                      NGX_HTTP_KLAVIYO_FORM_FLAT)
           != NGX_OK)
    {
        return NULL;
    }

    pair.data = src->data;
    last = src->data + src->len;

    while (pair.data < last) {
        p = ngx_http_klaviyo_decode_find(pair.data, last, pairsep);
        pair.len = (p ? p : last) - pair.data;

        if (ngx_http_klaviyo_decode_kv_pair(&form, &pair, kvsep)
            == NGX_ERROR)
        {
            return NULL;
        }

        pair.data = p ? p + pairsep->len : last;
    }

    return ngx_http_klaviyo_form_done(&form);
}


static ngx_int_t
ngx_http_klaviyo_decode_kv_pair(ngx_http_klaviyo_form_t *form, ngx_str_t *pair,
    ngx_str_t *kvsep)
{
    u_char     *p, *last;
    ngx_str_t   name, value;

    last = pair->data + pair->len;
    p = ngx_http_klaviyo_decode_find(pair->data, last, kvsep);

    if (p == NULL) {
        return NGX_DECLINED;
    }

    name.data = pair->data;
    name.len = p - name.data;

    value.data = p + kvsep->len;
    value.len = last - value.data;

    ngx_http_klaviyo_decode_trim(&name);
    ngx_http_klaviyo_decode_trim(&value);

    return ngx_http_klaviyo_form_add(form, &name, &value);
}


static u_char *
ngx_http_klaviyo_decode_find(u_char *p, u_char *last, ngx_str_t *sep)
{
    for ( /* void */ ; (size_t) (last - p) >= sep->len; p++) {

        if (ngx_memcmp(p, sep->data, sep->len) == 0) {
            return p;
        }
    }

    return NULL;
}


static void
ngx_http_klaviyo_decode_trim(ngx_str_t *text)
{
    u_char  *p;

    for (p = text->data; text->len && ngx_http_klaviyo_is_blank(*p); p++) {
        text->len--;
    }

    text->data = p;

    while (text->len && ngx_http_klaviyo_is_blank(p[text->len - 1])) {
        text->len--;
    }
}
