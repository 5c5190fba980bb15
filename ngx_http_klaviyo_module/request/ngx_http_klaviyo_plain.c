
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Members of a JSON object whose text is so plain that nothing needs a tree:
 * what JSON.stringify() makes of strings, natural numbers and objects.  What is
 * found here a parser would find, too; all else is left to it.
 */


#include "ngx_http_klaviyo_plain.h"


/* objects in objects; Klaviyo's cookie has two levels */
#define NGX_HTTP_KLAVIYO_PLAIN_DEPTH   4

/* up to this many digits every integer has 64 bits */
#define NGX_HTTP_KLAVIYO_PLAIN_DIGITS  18


typedef struct {
    ngx_str_t                           *names;
    ngx_str_t                           *values;
    ngx_uint_t                           n;
} ngx_http_klaviyo_plain_t;


static u_char *ngx_http_klaviyo_plain_object(ngx_http_klaviyo_plain_t *plain,
    u_char *p, u_char *last, ngx_uint_t depth);
static u_char *ngx_http_klaviyo_plain_string(u_char *p, u_char *last,
    ngx_str_t *string);
static u_char *ngx_http_klaviyo_plain_number(u_char *p, u_char *last);
static void ngx_http_klaviyo_plain_found(ngx_http_klaviyo_plain_t *plain,
    ngx_str_t *name, ngx_str_t *value);


ngx_int_t
ngx_http_klaviyo_plain_members(ngx_str_t *text, ngx_str_t *names,
    ngx_str_t *values, ngx_uint_t n)
{
    u_char                    *last;
    ngx_uint_t                 i;
    ngx_http_klaviyo_plain_t   plain;

    plain.names = names;
    plain.values = values;
    plain.n = n;

    for (i = 0; i < n; i++) {
        ngx_str_set(&values[i], "");
    }

    if (text->len == 0 || text->data[0] != '{') {
        return NGX_DECLINED;
    }

    last = text->data + text->len;

    return (ngx_http_klaviyo_plain_object(&plain, text->data, last, 0) == last)
           ? NGX_OK : NGX_DECLINED;
}


/*
 * Each of these returns what is behind the value at "p", or NULL if it isn't
 * plain.  Only the outermost object's members are looked for.
 */

static u_char *
ngx_http_klaviyo_plain_object(ngx_http_klaviyo_plain_t *plain, u_char *p,
    u_char *last, ngx_uint_t depth)
{
    ngx_str_t  name, value;

    if (depth == NGX_HTTP_KLAVIYO_PLAIN_DEPTH) {
        return NULL;
    }

    if (last - p >= 2 && p[1] == '}') {
        return p + 2;
    }

    /* a comma, or the brace, is before each member */

    do {
        p = ngx_http_klaviyo_plain_string(p + 1, last, &name);

        if (p == NULL || last - p < 2 || *p++ != ':') {
            return NULL;
        }

        ngx_str_set(&value, "");

        if (*p == '"') {
            p = ngx_http_klaviyo_plain_string(p, last, &value);

        } else if (*p == '{') {
            p = ngx_http_klaviyo_plain_object(plain, p, last, depth + 1);

        } else {
            p = ngx_http_klaviyo_plain_number(p, last);
        }

        if (p == NULL || p == last) {
            return NULL;
        }

        if (depth == 0) {
            ngx_http_klaviyo_plain_found(plain, &name, &value);
        }

    } while (*p == ',');

    return (*p == '}') ? p + 1 : NULL;
}


static u_char *
ngx_http_klaviyo_plain_string(u_char *p, u_char *last, ngx_str_t *string)
{
    if (p == last || *p != '"') {
        return NULL;
    }

    string->data = ++p;

    while (p < last && *p != '"') {

        if (*p < ' ' || *p > '~' || *p == '\\') {
            return NULL;
        }

        p++;
    }

    string->len = p - string->data;

    return (p < last) ? p + 1 : NULL;
}


static u_char *
ngx_http_klaviyo_plain_number(u_char *p, u_char *last)
{
    u_char  *start;

    start = p;

    while (p < last && *p >= '0' && *p <= '9') {
        p++;
    }

    return (p > start
            && p - start <= NGX_HTTP_KLAVIYO_PLAIN_DIGITS
            && (*start != '0' || p - start == 1))
           ? p : NULL;
}


static void
ngx_http_klaviyo_plain_found(ngx_http_klaviyo_plain_t *plain,
    ngx_str_t *name, ngx_str_t *value)
{
    ngx_uint_t  i;

    for (i = 0; i < plain->n; i++) {

        if (plain->names[i].len == name->len
            && ngx_memcmp(plain->names[i].data, name->data, name->len) == 0)
        {
            plain->values[i] = *value;
            return;
        }
    }
}
