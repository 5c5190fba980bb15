
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Who the visitor is.  The first line is the account's company, or empty; the
 * first byte after it says what the rest is: Klaviyo's cookie as it comes
 * (c) or before it was encoded (C), a query (q), or one field's value (0 to 8).
 */


#include "fuzz.h"
#include "ngx_http_klaviyo_identity.h"


static void fuzz_cookie(fuzz_t *f, ngx_str_t *company, ngx_str_t *cookie);
static void fuzz_query(fuzz_t *f, ngx_str_t *company, ngx_str_t *args);
static void fuzz_field(fuzz_t *f, ngx_str_t *company,
    ngx_http_klaviyo_field_e field, ngx_str_t *text);
static void fuzz_valid(fuzz_t *f, ngx_str_t *company,
    ngx_http_klaviyo_field_e field, ngx_http_klaviyo_data_t *data);


void
fuzz_init(ngx_pool_t *pool)
{
}


void
fuzz_one(fuzz_t *f)
{
    ngx_str_t   company, text, cookie;
    ngx_uint_t  what;

    company = fuzz_line(f);
    what = fuzz_byte(f);
    text = fuzz_rest(f);

    switch (what) {

    case 'c':
        fuzz_cookie(f, &company, &text);
        break;

    case 'C':
        cookie.data = ngx_pnalloc(f->pool,
                                  ngx_base64_encoded_length(text.len));
        assert_non_null(cookie.data);

        ngx_encode_base64(&cookie, &text);
        cookie = fuzz_copy(f, &cookie);

        fuzz_cookie(f, &company, &cookie);
        break;

    case 'q':
        fuzz_query(f, &company, &text);
        break;

    default:
        fuzz_field(f, &company,
                   what % (NGX_HTTP_KLAVIYO_PROFILE_PROPERTY + 1), &text);
    }
}


static void
fuzz_cookie(fuzz_t *f, ngx_str_t *company, ngx_str_t *cookie)
{
    ngx_http_klaviyo_data_t   data;
    ngx_http_klaviyo_field_e  field;

    ngx_http_klaviyo_data_missing(&data);
    ngx_http_klaviyo_identity_cookie(&f->arena, cookie, company, &field, &data);

    if (!ngx_http_klaviyo_data_is_missing(&data)) {
        fuzz_valid(f, company, field, &data);
    }
}


static void
fuzz_query(fuzz_t *f, ngx_str_t *company, ngx_str_t *args)
{
    ngx_uint_t                    i, n;
    ngx_http_klaviyo_member_t     found[NGX_HTTP_KLAVIYO_IDENTIFIERS];
    ngx_http_klaviyo_identity_t   identity;

    ngx_memzero(&identity, sizeof(ngx_http_klaviyo_identity_t));

    identity.rungs = NGX_HTTP_KLAVIYO_IDENTITY_ALL;
    identity.args = *args;
    identity.cookie = *args;
    identity.company = *company;

    n = ngx_http_klaviyo_identity_stated(&f->arena, &identity, found);

    if (n == 0) {
        n = ngx_http_klaviyo_identity_implied(&f->arena, &identity, found);
    }

    assert_in_range(n, 0, NGX_HTTP_KLAVIYO_IDENTIFIERS);

    for (i = 0; i < n; i++) {
        fuzz_valid(f, company, found[i].field, &found[i].data);
    }
}


static void
fuzz_field(fuzz_t *f, ngx_str_t *company, ngx_http_klaviyo_field_e field,
    ngx_str_t *text)
{
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_data_set_string(&data, text->data, text->len);
    ngx_http_klaviyo_identity_check(&data, field, company);

    if (!ngx_http_klaviyo_data_is_missing(&data)) {
        fuzz_valid(f, company, field, &data);
    }
}


/* what was found valid is UTF-8, not empty, and stays as it is */

static void
fuzz_valid(fuzz_t *f, ngx_str_t *company, ngx_http_klaviyo_field_e field,
    ngx_http_klaviyo_data_t *data)
{
    ngx_str_t                text;
    ngx_http_klaviyo_data_t  again;

    assert_int_equal(ngx_http_klaviyo_data_text(data, &text), NGX_OK);
    assert_in_range(text.len, 1,
                    (field == NGX_HTTP_KLAVIYO_EMAIL)
                    ? NGX_HTTP_KLAVIYO_MAX_EMAIL
                    : NGX_HTTP_KLAVIYO_MAX_IDENTIFIER);
    fuzz_check_utf8(&text);

    again = *data;
    ngx_http_klaviyo_identity_check(&again, field, company);

    assert_int_equal(again.type, data->type);
    fuzz_assert_same(&again.text, &text);

    fuzz_check_data(f, data);
}
