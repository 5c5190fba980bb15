
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Patterns as shops and preset files have them, bad ones too, and any text.
 * The first byte says which.
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_regex.h"


#define FUZZ_PAIRS  8


typedef struct {
    char                      *pattern;
    ngx_uint_t                 flags;
    ngx_http_klaviyo_regex_t  *regex;
} fuzz_pattern_t;


static fuzz_pattern_t  fuzz_patterns[] = {
    { "^/products/(?<handle>[\\w-]+)$", 0, NULL },
    { "^/(?:[a-z]{2}(?:-[a-z]{2})?/)?(?:product|p)/(?<id>\\d+)(?:-[^/]*)?/?$",
      NGX_HTTP_KLAVIYO_REGEX_CASELESS, NULL },
    { "(\\d+)(?:[.,](\\d{2}))?\\s*(?:EUR|\xE2\x82\xAC)",
      NGX_HTTP_KLAVIYO_REGEX_UTF, NULL },
    { "\\bsku[-_:]?(\\w+)",
      NGX_HTTP_KLAVIYO_REGEX_UTF|NGX_HTTP_KLAVIYO_REGEX_CASELESS, NULL },
    { "^(?:(?:a|b)+|(?:b|c)+)*$", 0, NULL },
    { "(x+x+)+y", NGX_HTTP_KLAVIYO_REGEX_UTF, NULL },
    { "(.*)(.*)(.*)(.*)(.*)[^ ]$", 0, NULL },
    { "utm_*", NGX_HTTP_KLAVIYO_REGEX_GLOB, NULL },
    { "*a*b?c*", NGX_HTTP_KLAVIYO_REGEX_GLOB|NGX_HTTP_KLAVIYO_REGEX_UTF, NULL },
};

#define FUZZ_PATTERNS  (sizeof(fuzz_patterns) / sizeof(fuzz_pattern_t))


void
fuzz_init(ngx_pool_t *pool)
{
    u_char      buf[128];
    ngx_str_t   text, err;
    ngx_uint_t  i;

    for (i = 0; i < FUZZ_PATTERNS; i++) {
        text.data = (u_char *) fuzz_patterns[i].pattern;
        text.len = ngx_strlen(text.data);

        err.data = buf;
        err.len = sizeof(buf);

        fuzz_patterns[i].regex = ngx_http_klaviyo_regex_compile(pool, &text,
                                                 fuzz_patterns[i].flags, &err);
        assert_non_null(fuzz_patterns[i].regex);
    }
}


void
fuzz_one(fuzz_t *f)
{
    size_t                     captures[2 * FUZZ_PAIRS];
    ngx_int_t                  rc;
    ngx_str_t                  text;
    ngx_uint_t                 i;
    ngx_http_klaviyo_regex_t  *regex;

    regex = fuzz_patterns[fuzz_byte(f) % FUZZ_PATTERNS].regex;
    text = fuzz_rest(f);

    ngx_memset(captures, 0xa5, sizeof(captures));

    rc = ngx_http_klaviyo_regex_exec(regex, &text, captures, FUZZ_PAIRS);

    if (rc == NGX_ABORT) {
        return;
    }

    assert_int_equal(ngx_http_klaviyo_regex_exec(regex, &text, NULL, 0), rc);

    if (rc == NGX_DECLINED) {
        return;
    }

    assert_int_equal(rc, NGX_OK);
    assert_int_not_equal(captures[0], (size_t) -1);

    for (i = 0; i <= ngx_http_klaviyo_regex_groups(regex); i++) {

        if (captures[2 * i] == (size_t) -1) {
            assert_int_equal(captures[2 * i + 1], (size_t) -1);
            continue;
        }

        assert_in_range(captures[2 * i + 1], captures[2 * i], text.len);
    }
}
