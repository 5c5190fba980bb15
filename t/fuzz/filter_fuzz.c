
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Every filter of the table: its name and constant arguments in the first line,
 * one value for each TERM in a line of its own, the value itself in the rest.
 * A name that is none stands for one of the table; an argument that is missing
 * is one of those below.
 */


#include "fuzz.h"

/* for the table */
#include "../../ngx_http_klaviyo_module/request/ngx_http_klaviyo_filter.c"


#define FUZZ_WORDS  (NGX_HTTP_KLAVIYO_FILTER_ARGS + 1)


static ngx_http_klaviyo_filter_t *fuzz_filter(ngx_str_t *name);
static ngx_uint_t fuzz_words(ngx_str_t *line, ngx_str_t *words);
static ngx_uint_t fuzz_args(fuzz_t *f, ngx_http_klaviyo_filter_t *filter,
    ngx_str_t *words, ngx_uint_t nwords, ngx_http_klaviyo_arg_t *args);
static void fuzz_stays_missing(fuzz_t *f, ngx_http_klaviyo_filter_t *filter,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs);


/* by kind */
static ngx_str_t  fuzz_constants[] = {
    ngx_null_string,
    ngx_string("a.b[0]"),
    ngx_string("(\\w+)-(\\d+)"),
    ngx_string("a*b?"),
    ngx_string(","),
    ngx_string(""),
    ngx_string("-1"),
    ngx_string("DE"),
    ngx_string("cart"),
    ngx_null_string
};


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t                   line, text, words[FUZZ_WORDS];
    ngx_uint_t                  n, nargs;
    ngx_http_klaviyo_arg_t      args[NGX_HTTP_KLAVIYO_FILTER_ARGS];
    ngx_http_klaviyo_data_t     data;
    ngx_http_klaviyo_filter_t  *filter;

    line = fuzz_line(f);
    n = fuzz_words(&line, words);

    filter = fuzz_filter(&words[0]);
    nargs = fuzz_args(f, filter, words + 1, n - 1, args);

    if (nargs < filter->mandatory) {
        return;
    }

    text = fuzz_rest(f);
    fuzz_data(f, &data, &text);

    ngx_http_klaviyo_filter_run(&f->arena, filter, &data, args, nargs);

    fuzz_check_data(f, &data);

    if (!filter->total) {
        fuzz_stays_missing(f, filter, args, nargs);
    }
}


static ngx_http_klaviyo_filter_t *
fuzz_filter(ngx_str_t *name)
{
    ngx_http_klaviyo_filter_t  *filter;

    filter = ngx_http_klaviyo_filter_find(name);
    if (filter) {
        return filter;
    }

    return &ngx_http_klaviyo_filters[ngx_crc32_short(name->data, name->len)
                                     % NGX_HTTP_KLAVIYO_FILTERS];
}


static ngx_uint_t
fuzz_words(ngx_str_t *line, ngx_str_t *words)
{
    u_char      *p, *last;
    ngx_uint_t   n;

    p = line->data;
    last = p + line->len;

    for (n = 0; n < FUZZ_WORDS; n++) {
        words[n].data = p;

        while (p < last && (*p != ' ' || n == FUZZ_WORDS - 1)) {
            p++;
        }

        words[n].len = p - words[n].data;

        if (p++ == last) {
            return n + 1;
        }
    }

    return n;
}


static ngx_uint_t
fuzz_args(fuzz_t *f, ngx_http_klaviyo_filter_t *filter, ngx_str_t *words,
    ngx_uint_t nwords, ngx_http_klaviyo_arg_t *args)
{
    u_char                  *buf;
    ngx_str_t                text, err;
    ngx_uint_t               n, word;
    ngx_http_klaviyo_arg_e   kind;

    ngx_memzero(args, NGX_HTTP_KLAVIYO_FILTER_ARGS
                      * sizeof(ngx_http_klaviyo_arg_t));
    word = 0;

    for (n = 0; n < NGX_HTTP_KLAVIYO_FILTER_ARGS; n++) {
        kind = filter->args[n];

        if (kind == NGX_HTTP_KLAVIYO_ARG_NONE) {
            break;
        }

        if (kind == NGX_HTTP_KLAVIYO_ARG_TERM) {
            text = fuzz_line(f);
            fuzz_data(f, &args[n].data, &text);
            continue;
        }

        if (word < nwords && words[word].len) {
            text = words[word++];

        } else if (n < filter->mandatory) {
            text = fuzz_constants[kind];

        } else {
            break;
        }

        buf = ngx_pnalloc(f->pool, NGX_HTTP_KLAVIYO_FILTER_ERROR);
        assert_non_null(buf);

        err.data = buf;
        err.len = 0;
        text = fuzz_copy(f, &text);

        if (ngx_http_klaviyo_filter_arg(f->pool, kind, &text, &args[n], &err)
            != NGX_OK)
        {
            assert_in_range(err.len, 1, NGX_HTTP_KLAVIYO_FILTER_ERROR);
            return 0;
        }
    }

    return n;
}


static void
fuzz_stays_missing(fuzz_t *f, ngx_http_klaviyo_filter_t *filter,
    ngx_http_klaviyo_arg_t *args, ngx_uint_t nargs)
{
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_data_missing(&data);
    ngx_http_klaviyo_filter_run(&f->arena, filter, &data, args, nargs);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_MISSING);

    data.type = NGX_HTTP_KLAVIYO_UNKNOWN;
    ngx_http_klaviyo_filter_run(&f->arena, filter, &data, args, nargs);
    assert_int_equal(data.type, NGX_HTTP_KLAVIYO_UNKNOWN);
}
