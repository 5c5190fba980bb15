
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * URLs as a visitor sees them, without what identifies the visitor.
 */


#include "ngx_http_klaviyo_url.h"


/* how many of the names below identify the visitor, and how many there are */
#define NGX_HTTP_KLAVIYO_URL_PERSONAL  3
#define NGX_HTTP_KLAVIYO_URL_NAMES     5

/* what jansson takes for a member of a container, and for a string */
#define NGX_HTTP_KLAVIYO_URL_COST      96


#define ngx_http_klaviyo_url_ends(path, s)                                    \
    ((path)->len >= sizeof(s) - 1                                             \
     && ngx_memcmp((path)->data + (path)->len - (sizeof(s) - 1), s,           \
                   sizeof(s) - 1)                                             \
        == 0)


static ngx_int_t ngx_http_klaviyo_url_cut(ngx_http_klaviyo_arena_t *arena,
    ngx_str_t *src, ngx_str_t *dst, size_t twin, ngx_uint_t names);
static u_char *ngx_http_klaviyo_url_path_end(ngx_str_t *url,
    u_char **fragment);
static u_char *ngx_http_klaviyo_url_find(u_char *p, u_char *last, u_char ch);
static ngx_uint_t ngx_http_klaviyo_url_arg(u_char **pos, u_char *last,
    ngx_str_t *arg, ngx_uint_t names);
static size_t ngx_http_klaviyo_url_twin(ngx_str_t *uri);
static ngx_uint_t ngx_http_klaviyo_url_is(ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_url_scrub_tree(
    ngx_http_klaviyo_arena_t *arena, ngx_http_klaviyo_data_t *data);
static ngx_int_t ngx_http_klaviyo_url_tree(ngx_http_klaviyo_arena_t *arena,
    json_t *json, json_t **clean);
static ngx_int_t ngx_http_klaviyo_url_string(ngx_http_klaviyo_arena_t *arena,
    json_t *json, json_t **clean);
static ngx_int_t ngx_http_klaviyo_url_array(ngx_http_klaviyo_arena_t *arena,
    json_t *json, json_t **clean);
static ngx_int_t ngx_http_klaviyo_url_object(ngx_http_klaviyo_arena_t *arena,
    json_t *json, json_t **clean);
static json_t *ngx_http_klaviyo_url_copy(ngx_http_klaviyo_arena_t *arena,
    json_t *json, size_t n);


static ngx_str_t  ngx_http_klaviyo_url_names[] = {
    ngx_string("_kx"),
    ngx_string("_ke"),
    ngx_string("utm_email"),
    ngx_string("_rsc"),
    ngx_string("_routes")
};


ngx_int_t
ngx_http_klaviyo_url_visible(ngx_http_klaviyo_arena_t *arena, ngx_str_t *uri,
    ngx_str_t *visible)
{
    return ngx_http_klaviyo_url_cut(arena, uri, visible,
                                    ngx_http_klaviyo_url_twin(uri),
                                    NGX_HTTP_KLAVIYO_URL_NAMES);
}


/*
 * Leaves out the last "twin" bytes of the path and the arguments of the first
 * "names" names.  "dst" may be "src".
 */

static ngx_int_t
ngx_http_klaviyo_url_cut(ngx_http_klaviyo_arena_t *arena, ngx_str_t *src,
    ngx_str_t *dst, size_t twin, ngx_uint_t names)
{
    u_char      ch, *p, *pos, *start, *query, *fragment;
    ngx_str_t   arg;
    ngx_uint_t  cut;

    query = ngx_http_klaviyo_url_path_end(src, &fragment);
    cut = 0;

    if (ngx_http_klaviyo_url_suspect(query, fragment)) {

        for (pos = query; pos < fragment; /* void */ ) {
            cut |= ngx_http_klaviyo_url_arg(&pos, fragment, &arg, names);
        }
    }

    if (!cut && twin == 0) {
        *dst = *src;
        return NGX_OK;
    }

    start = ngx_http_klaviyo_arena_alloc(arena, src->len);
    if (start == NULL) {
        return NGX_DECLINED;
    }

    p = ngx_cpymem(start, src->data, query - src->data - twin);
    ch = '?';

    for (pos = query; pos < fragment; /* void */ ) {

        if (ngx_http_klaviyo_url_arg(&pos, fragment, &arg, names)
            || arg.len == 0)
        {
            continue;
        }

        *p++ = ch;
        p = ngx_cpymem(p, arg.data, arg.len);
        ch = '&';
    }

    p = ngx_cpymem(p, fragment, src->data + src->len - fragment);

    dst->data = start;
    dst->len = p - start;

    return NGX_OK;
}


/* The "?", and the "#" of the fragment, or where they would be. */

static u_char *
ngx_http_klaviyo_url_path_end(ngx_str_t *url, u_char **fragment)
{
    *fragment = ngx_http_klaviyo_url_find(url->data, url->data + url->len, '#');

    return ngx_http_klaviyo_url_find(url->data, *fragment, '?');
}


/* memchr() looks at many bytes at once */

static u_char *
ngx_http_klaviyo_url_find(u_char *p, u_char *last, u_char ch)
{
    u_char  *found;

    found = (p < last) ? memchr(p, ch, last - p) : NULL;

    return found ? found : last;
}


/* Each of the names has an underscore, and "%" may be one. */

ngx_uint_t
ngx_http_klaviyo_url_suspect(u_char *p, u_char *last)
{
    return p < last
           && (memchr(p, '_', last - p) || memchr(p, '%', last - p));
}


/* The next argument; "*pos" is at the "?" or "&" before it. */

static ngx_uint_t
ngx_http_klaviyo_url_arg(u_char **pos, u_char *last, ngx_str_t *arg,
    ngx_uint_t names)
{
    u_char      ch;
    ngx_uint_t  i;

    arg->data = *pos + 1;

    *pos = ngx_http_klaviyo_url_find(arg->data, last, '&');

    arg->len = *pos - arg->data;

    /* so do all names begin, and "%" may be any letter */

    ch = arg->len ? ngx_tolower(arg->data[0]) : '\0';

    if (ch != '_' && ch != 'u' && ch != '%') {
        return 0;
    }

    for (i = 0; i < names; i++) {
        if (ngx_http_klaviyo_url_named(arg, &ngx_http_klaviyo_url_names[i])) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_klaviyo_url_named(ngx_str_t *arg, ngx_str_t *name)
{
    u_char     *p, *last, ch;
    size_t      i;
    ngx_int_t   code;

    p = arg->data;
    last = p + arg->len;

    for (i = 0; i < name->len; i++) {

        if (p == last) {
            return 0;
        }

        ch = *p++;

        if (ch == '%' && last - p >= 2) {
            code = ngx_hextoi(p, 2);

            if (code != NGX_ERROR) {
                ch = (u_char) code;
                p += 2;
            }
        }

        if (ngx_tolower(ch) != name->data[i]) {
            return 0;
        }
    }

    return p == last || *p == '=';
}


/* How many bytes at the end of the path belong to a framework's twin of it. */

static size_t
ngx_http_klaviyo_url_twin(ngx_str_t *uri)
{
    u_char     *fragment;
    ngx_str_t   path;

    if (uri->len == 0 || uri->data[0] != '/') {
        return 0;
    }

    path.data = uri->data;
    path.len = ngx_http_klaviyo_url_path_end(uri, &fragment) - uri->data;

    if (ngx_http_klaviyo_url_ends(&path, "/_root.data")) {
        return sizeof("_root.data") - 1;
    }

    if (ngx_http_klaviyo_url_ends(&path, "/_.data")) {
        return sizeof("_.data") - 1;
    }

    if (ngx_http_klaviyo_url_ends(&path, ".data")
        && !ngx_http_klaviyo_url_ends(&path, "/.data"))
    {
        return sizeof(".data") - 1;
    }

    return 0;
}


ngx_int_t
ngx_http_klaviyo_url_scrub(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data)
{
    ngx_int_t  rc;

    if (data->type == NGX_HTTP_KLAVIYO_STRING) {

        if (!ngx_http_klaviyo_url_is(&data->text)) {
            return NGX_OK;
        }

        rc = ngx_http_klaviyo_url_cut(arena, &data->text, &data->text, 0,
                                      NGX_HTTP_KLAVIYO_URL_PERSONAL);

    } else if (data->type == NGX_HTTP_KLAVIYO_TREE) {
        rc = ngx_http_klaviyo_url_scrub_tree(arena, data);

    } else {
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        data->type = NGX_HTTP_KLAVIYO_UNKNOWN;
    }

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_url_scrub_tree(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_data_t *data)
{
    json_t  *clean;

    if (ngx_http_klaviyo_url_tree(arena, data->json, &clean) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (clean) {
        data->json = ngx_http_klaviyo_arena_keep(arena, clean);
    }

    return data->json ? NGX_OK : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_klaviyo_url_is(ngx_str_t *text)
{
    u_char  *p, *last;

    p = text->data;
    last = p + text->len;

    while (p < last && *p <= ' ') {
        p++;
    }

    if (p == last) {
        return 0;
    }

    if (*p == '/') {
        return 1;
    }

    if ((*p | 0x20) != 'h'
        || last - p < (ssize_t) sizeof("http://") - 1
        || ngx_strncasecmp(p, (u_char *) "http", 4) != 0)
    {
        return 0;
    }

    p += 4;

    if (*p == 's' || *p == 'S') {
        p++;
    }

    return last - p >= 3 && ngx_strncmp(p, "://", 3) == 0;
}


/*
 * "*clean" is a new reference to a copy of "json", or NULL if nothing in it
 * has to go.  What is clean is shared with the original: trees are never
 * changed.
 */

static ngx_int_t
ngx_http_klaviyo_url_tree(ngx_http_klaviyo_arena_t *arena, json_t *json,
    json_t **clean)
{
    *clean = NULL;

    switch (json_typeof(json)) {

    case JSON_STRING:
        return ngx_http_klaviyo_url_string(arena, json, clean);

    case JSON_ARRAY:
        return ngx_http_klaviyo_url_array(arena, json, clean);

    case JSON_OBJECT:
        return ngx_http_klaviyo_url_object(arena, json, clean);

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_klaviyo_url_string(ngx_http_klaviyo_arena_t *arena, json_t *json,
    json_t **clean)
{
    ngx_str_t  text, cut;

    text.data = (u_char *) json_string_value(json);
    text.len = json_string_length(json);

    if (!ngx_http_klaviyo_url_is(&text)) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_url_cut(arena, &text, &cut, 0,
                                 NGX_HTTP_KLAVIYO_URL_PERSONAL)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (cut.data == text.data) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_arena_charge(arena,
                                      cut.len + NGX_HTTP_KLAVIYO_URL_COST)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *clean = json_stringn_nocheck((char *) cut.data, cut.len);

    return *clean ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_url_array(ngx_http_klaviyo_arena_t *arena, json_t *json,
    json_t **clean)
{
    json_t  *copy, *element;
    size_t   i, n;

    copy = NULL;
    n = json_array_size(json);

    for (i = 0; i < n; i++) {

        if (ngx_http_klaviyo_url_tree(arena, json_array_get(json, i), &element)
            != NGX_OK)
        {
            goto failed;
        }

        if (element == NULL) {
            continue;
        }

        if (copy == NULL) {
            copy = ngx_http_klaviyo_url_copy(arena, json, n);
        }

        /* takes "element" even if "copy" is NULL */

        if (json_array_set_new(copy, i, element) != 0) {
            goto failed;
        }
    }

    *clean = copy;

    return NGX_OK;

failed:

    json_decref(copy);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_klaviyo_url_object(ngx_http_klaviyo_arena_t *arena, json_t *json,
    json_t **clean)
{
    void        *iter;
    json_t      *copy, *member;
    const char  *key;

    copy = NULL;

    for (iter = json_object_iter(json);
         iter;
         iter = json_object_iter_next(json, iter))
    {
        if (ngx_http_klaviyo_url_tree(arena, json_object_iter_value(iter),
                                      &member)
            != NGX_OK)
        {
            goto failed;
        }

        if (member == NULL) {
            continue;
        }

        if (copy == NULL) {
            copy = ngx_http_klaviyo_url_copy(arena, json,
                                             json_object_size(json));
        }

        key = json_object_iter_key(iter);

        /* takes "member" even if "copy" is NULL */

        if (json_object_set_new_nocheck(copy, key, member) != 0) {
            goto failed;
        }
    }

    *clean = copy;

    return NGX_OK;

failed:

    json_decref(copy);

    return NGX_DECLINED;
}


static json_t *
ngx_http_klaviyo_url_copy(ngx_http_klaviyo_arena_t *arena, json_t *json,
    size_t n)
{
    if (ngx_http_klaviyo_arena_charge(arena,
                                      (n + 1) * NGX_HTTP_KLAVIYO_URL_COST)
        != NGX_OK)
    {
        return NULL;
    }

    return json_copy(json);
}
