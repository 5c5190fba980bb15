
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The tokens of GraphQL: "Lexical Tokens" of its specification of October
 * 2021, and what its two kinds of strings mean.
 */


#include "ngx_http_klaviyo_decode.h"
#include "ngx_http_klaviyo_graphql.h"


#define ngx_http_klaviyo_is_digit(ch)  ((ch) >= '0' && (ch) <= '9')

#define ngx_http_klaviyo_is_name_start(ch)                                    \
    (((ch) | 0x20) >= 'a' && ((ch) | 0x20) <= 'z')

#define ngx_http_klaviyo_is_name(ch)                                          \
    (ngx_http_klaviyo_is_name_start(ch) || ngx_http_klaviyo_is_digit(ch)      \
     || (ch) == '_')


static void ngx_http_klaviyo_graphql_blanks(
    ngx_http_klaviyo_graphql_lexer_t *lexer);
static void ngx_http_klaviyo_graphql_name(
    ngx_http_klaviyo_graphql_lexer_t *lexer);
static void ngx_http_klaviyo_graphql_number(
    ngx_http_klaviyo_graphql_lexer_t *lexer);
static void ngx_http_klaviyo_graphql_quoted(
    ngx_http_klaviyo_graphql_lexer_t *lexer);
static void ngx_http_klaviyo_graphql_block(
    ngx_http_klaviyo_graphql_lexer_t *lexer);
static size_t ngx_http_klaviyo_graphql_escape(u_char *p, u_char *last,
    uint32_t *code);
static size_t ngx_http_klaviyo_graphql_unicode(u_char *p, u_char *last,
    uint32_t *code);
static size_t ngx_http_klaviyo_graphql_hex(u_char *p, u_char *last,
    uint32_t *code);
static void ngx_http_klaviyo_graphql_dedent(ngx_str_t *text);
static u_char *ngx_http_klaviyo_graphql_line(u_char *p, u_char *last,
    u_char **next);


void
ngx_http_klaviyo_graphql_next(ngx_http_klaviyo_graphql_lexer_t *lexer)
{
    u_char  *p, *last;

    if (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_WRONG) {
        return;
    }

    ngx_http_klaviyo_graphql_blanks(lexer);

    p = lexer->pos;
    last = lexer->last;

    lexer->text.data = p;
    lexer->text.len = 1;

    if (p == last) {
        lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_END;
        lexer->text.len = 0;
        return;
    }

    if (ngx_http_klaviyo_is_name_start(*p) || *p == '_') {

        ngx_http_klaviyo_graphql_name(lexer);
        return;
    }

    if (*p == '-' || ngx_http_klaviyo_is_digit(*p)) {
        ngx_http_klaviyo_graphql_number(lexer);
        return;
    }

    if (*p == '"') {
        ngx_http_klaviyo_graphql_quoted(lexer);
        return;
    }

    if (*p == '.') {

        if (last - p < 3 || p[1] != '.' || p[2] != '.') {
            lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_WRONG;
            return;
        }

        lexer->text.len = 3;

    } else if (*p == '\0' || ngx_strchr("!$&():=@[]{|}", *p) == NULL) {
        lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_WRONG;
        return;
    }

    lexer->type = *p;
    lexer->pos += lexer->text.len;
}


/* commas are blanks, too */

static void
ngx_http_klaviyo_graphql_blanks(ngx_http_klaviyo_graphql_lexer_t *lexer)
{
    u_char  *p, *last;

    last = lexer->last;

    for (p = lexer->pos; p < last; p++) {

        if (*p == '#') {

            while (p < last && *p != LF && *p != CR) {
                p++;
            }

            if (p == last) {
                break;
            }
        }

        if (last - p >= 3 && ngx_memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
            p += 2;
            continue;
        }

        if (*p != ' ' && *p != '\t' && *p != CR && *p != LF && *p != ',') {
            break;
        }
    }

    lexer->pos = p;
}


static void
ngx_http_klaviyo_graphql_name(ngx_http_klaviyo_graphql_lexer_t *lexer)
{
    u_char  *p;

    p = lexer->pos;

    while (p < lexer->last && ngx_http_klaviyo_is_name(*p)) {
        p++;
    }

    lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_NAME;
    lexer->text.len = p - lexer->pos;
    lexer->pos = p;
}


/* the grammar of numbers is JSON's: who reads the text finds what is wrong */

static void
ngx_http_klaviyo_graphql_number(ngx_http_klaviyo_graphql_lexer_t *lexer)
{
    u_char  *p;

    for (p = lexer->pos; p < lexer->last; p++) {

        if (!ngx_http_klaviyo_is_name(*p)
            && *p != '.' && *p != '+' && *p != '-')
        {
            break;
        }
    }

    lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_NUMBER;
    lexer->text.len = p - lexer->pos;
    lexer->pos = p;
}


static void
ngx_http_klaviyo_graphql_quoted(ngx_http_klaviyo_graphql_lexer_t *lexer)
{
    u_char  *p, *last;

    p = lexer->pos;
    last = lexer->last;

    if (last - p >= 3 && p[1] == '"' && p[2] == '"') {
        ngx_http_klaviyo_graphql_block(lexer);
        return;
    }

    for (p++; p < last && *p != '"' && *p != LF && *p != CR; p++) {

        if (*p == '\\' && last - p > 1) {
            p++;
        }
    }

    if (p == last || *p != '"') {
        lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_WRONG;
        return;
    }

    lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_STRING;
    lexer->text.data = lexer->pos + 1;
    lexer->text.len = p - lexer->text.data;
    lexer->pos = p + 1;
}


/* the only escape in it is one of its own end */

static void
ngx_http_klaviyo_graphql_block(ngx_http_klaviyo_graphql_lexer_t *lexer)
{
    u_char  *p, *last;

    last = lexer->last;

    for (p = lexer->pos + 3; last - p >= 3; p++) {

        if (*p == '\\' && last - p >= 4 && ngx_memcmp(p + 1, "\"\"\"", 3) == 0)
        {
            p += 3;
            continue;
        }

        if (ngx_memcmp(p, "\"\"\"", 3) == 0) {
            lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_BLOCK;
            lexer->text.data = lexer->pos + 3;
            lexer->text.len = p - lexer->text.data;
            lexer->pos = p + 3;
            return;
        }
    }

    lexer->type = NGX_HTTP_KLAVIYO_GRAPHQL_WRONG;
}


ngx_int_t
ngx_http_klaviyo_graphql_string(ngx_http_klaviyo_arena_t *arena,
    ngx_http_klaviyo_graphql_lexer_t *lexer, ngx_str_t *dst)
{
    size_t      n;
    u_char     *p, *s, *last;
    uint32_t    code;
    ngx_uint_t  block;

    /* no escape is shorter than the character it stands for */

    p = ngx_http_klaviyo_arena_alloc(arena, lexer->text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    dst->data = p;
    s = lexer->text.data;
    last = s + lexer->text.len;
    block = (lexer->type == NGX_HTTP_KLAVIYO_GRAPHQL_BLOCK);

    while (s < last) {

        if (*s != '\\') {
            *p++ = *s++;

        } else if (!block) {
            n = ngx_http_klaviyo_graphql_escape(s, last, &code);
            if (n == 0) {
                return NGX_DECLINED;
            }

            p = ngx_http_klaviyo_decode_utf8(p, code);
            s += n;

        } else if (last - s >= 4 && ngx_memcmp(s + 1, "\"\"\"", 3) == 0) {
            p = ngx_cpymem(p, "\"\"\"", 3);
            s += 4;

        } else {
            *p++ = *s++;
        }
    }

    dst->len = p - dst->data;

    if (block) {
        ngx_http_klaviyo_graphql_dedent(dst);
    }

    return NGX_OK;
}


/* "p" is at the backslash; returns how many bytes are taken, 0 if wrong */

static size_t
ngx_http_klaviyo_graphql_escape(u_char *p, u_char *last, uint32_t *code)
{
    size_t    n;
    uint32_t  low;

    if (last - p < 2) {
        return 0;
    }

    switch (p[1]) {

    case '"':
    case '\\':
    case '/':
        *code = p[1];
        return 2;

    case 'b':
        *code = '\b';
        return 2;

    case 'f':
        *code = '\f';
        return 2;

    case 'n':
        *code = LF;
        return 2;

    case 'r':
        *code = CR;
        return 2;

    case 't':
        *code = '\t';
        return 2;

    case 'u':
        break;

    default:
        return 0;
    }

    n = ngx_http_klaviyo_graphql_unicode(p, last, code);

    if (n == 0 || *code < 0xd800 || *code > 0xdfff) {
        return n;
    }

    /* a surrogate alone is no character */

    if (*code < 0xdc00 && last - p > (ssize_t) n + 1
        && p[n] == '\\' && p[n + 1] == 'u'
        && ngx_http_klaviyo_graphql_unicode(p + n, last, &low) == 6
        && low >= 0xdc00 && low <= 0xdfff)
    {
        *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
        return n + 6;
    }

    *code = 0xfffd;

    return n;
}


/* \uXXXX or \u{X...} */

static size_t
ngx_http_klaviyo_graphql_unicode(u_char *p, u_char *last, uint32_t *code)
{
    size_t   n;
    u_char  *end;

    if (last - p < 3) {
        return 0;
    }

    if (p[2] != '{') {
        end = (last - p > 6) ? p + 6 : last;
        return (ngx_http_klaviyo_graphql_hex(p + 2, end, code) == 4) ? 6 : 0;
    }

    end = (last - p > 11) ? p + 11 : last;

    n = ngx_http_klaviyo_graphql_hex(p + 3, end, code);

    if (n == 0 || p + 3 + n == last || p[3 + n] != '}' || *code > 0x10ffff) {
        return 0;
    }

    return 3 + n + 1;
}


static size_t
ngx_http_klaviyo_graphql_hex(u_char *p, u_char *last, uint32_t *code)
{
    size_t   n;
    u_char   ch;

    *code = 0;

    for (n = 0; p + n < last; n++) {
        ch = p[n];

        if (ngx_http_klaviyo_is_digit(ch)) {
            *code = *code * 16 + (ch - '0');
            continue;
        }

        ch |= 0x20;

        if (ch < 'a' || ch > 'f') {
            break;
        }

        *code = *code * 16 + (ch - 'a' + 10);
    }

    return n;
}


/*
 * Takes the indentation that all lines but the first have in common, and blank
 * lines at both ends, out of a block; in place.
 */

static void
ngx_http_klaviyo_graphql_dedent(ngx_str_t *text)
{
    size_t   n, indent;
    u_char  *p, *q, *end, *last, *next, *dst, *tail;

    last = text->data + text->len;
    indent = text->len;

    (void) ngx_http_klaviyo_graphql_line(text->data, last, &next);

    for (p = next; p; p = next) {
        end = ngx_http_klaviyo_graphql_line(p, last, &next);

        for (q = p; q < end && (*q == ' ' || *q == '\t'); q++) { /* void */ }

        if (q < end) {
            indent = ngx_min(indent, (size_t) (q - p));
        }
    }

    /* "tail" is where the last line that is not blank ends */

    dst = text->data;
    tail = dst;

    for (p = text->data; p; p = next) {
        end = ngx_http_klaviyo_graphql_line(p, last, &next);

        for (q = p; q < end && (*q == ' ' || *q == '\t'); q++) { /* void */ }

        n = (p == text->data) ? 0 : ngx_min(indent, (size_t) (end - p));

        if (q == end && tail == text->data) {
            continue;
        }

        if (tail != text->data) {
            *dst++ = LF;
        }

        dst = ngx_movemem(dst, p + n, end - p - n);

        if (q < end) {
            tail = dst;
        }
    }

    text->len = tail - text->data;
}


/* returns the end of a line; "*next" is the one after it, NULL if none */

static u_char *
ngx_http_klaviyo_graphql_line(u_char *p, u_char *last, u_char **next)
{
    while (p < last && *p != LF && *p != CR) {
        p++;
    }

    if (p == last) {
        *next = NULL;
        return p;
    }

    *next = (last - p > 1 && p[0] == CR && p[1] == LF) ? p + 2 : p + 1;

    return p;
}
