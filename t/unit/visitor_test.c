
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The record of a visitor: what may replace what, and that any bytes can stand
 * where a record should.
 */


#include "unit.h"
#include "ngx_http_klaviyo_visitor.h"


#define YES   NGX_HTTP_KLAVIYO_CONSENT_YES
#define NO    NGX_HTTP_KLAVIYO_CONSENT_NO
#define MAIL  NGX_HTTP_KLAVIYO_EMAIL
#define KX    NGX_HTTP_KLAVIYO_KX


typedef ngx_http_klaviyo_visitor_t  visitor_t;
typedef ngx_http_klaviyo_change_t   change_t;


/* an identifier that is learned */

static ngx_uint_t
learn(visitor_t *visitor, const char *id, ngx_uint_t field, ngx_uint_t stated,
    ngx_uint_t unconfirmed)
{
    change_t  change;

    ngx_memzero(&change, sizeof(change_t));

    change.id.data = (u_char *) id;
    change.id.len = ngx_strlen(id);
    change.field = field;
    change.stated = stated;
    change.unconfirmed = unconfirmed;

    return ngx_http_klaviyo_visitor_apply(visitor, &change);
}


static void
is(visitor_t *visitor, const char *id)
{
    assert_int_equal(visitor->id.len, ngx_strlen(id));
    assert_memory_equal(visitor->id.data, id, visitor->id.len);
}


static void
test_latest(void **state)
{
    visitor_t  visitor;

    ngx_memzero(&visitor, sizeof(visitor_t));

    assert_int_equal(learn(&visitor, "a.b", KX, 0, 0), 1);
    assert_int_equal(learn(&visitor, "a.b", KX, 0, 0), 0);
    assert_int_equal(learn(&visitor, "c.b", KX, 0, 0), 1);
    is(&visitor, "c.b");

    /* what the shop states, then a link, then what the shop states again */

    assert_int_equal(learn(&visitor, "a@b.de", MAIL, 1, 0), 1);
    assert_int_equal(learn(&visitor, "d.b", KX, 0, 0), 0);
    is(&visitor, "a@b.de");
    assert_int_equal(learn(&visitor, "c@b.de", MAIL, 1, 0), 1);
    is(&visitor, "c@b.de");
}


static void
test_unconfirmed(void **state)
{
    change_t   change;
    visitor_t  visitor;

    ngx_memzero(&visitor, sizeof(visitor_t));

    assert_int_equal(learn(&visitor, "a.b", KX, 0, 1), 1);
    assert_int_equal(visitor.unconfirmed, 1);

    ngx_memzero(&change, sizeof(change_t));
    change.confirm = 1;

    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    assert_int_equal(visitor.unconfirmed, 0);
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 0);

    /* neither the same nor another one makes it doubtful again */

    assert_int_equal(learn(&visitor, "a.b", KX, 0, 1), 0);
    assert_int_equal(learn(&visitor, "c.b", KX, 0, 1), 0);
    assert_int_equal(visitor.unconfirmed, 0);
    is(&visitor, "a.b");
}


static void
test_consent(void **state)
{
    change_t   change;
    visitor_t  visitor;

    ngx_memzero(&visitor, sizeof(visitor_t));
    ngx_memzero(&change, sizeof(change_t));

    learn(&visitor, "a@b.de", MAIL, 1, 0);

    change.hold = 1;
    change.consent = YES;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    assert_int_equal(visitor.held, 1);
    is(&visitor, "a@b.de");

    /* a refusal forgets all, and learns nothing */

    change.consent = NO;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    assert_int_equal(visitor.id.len, 0);
    assert_int_equal(visitor.held, 0);
    assert_int_equal(visitor.consent, NO);
    assert_int_equal(learn(&visitor, "a@b.de", MAIL, 1, 0), 0);
    assert_int_equal(visitor.id.len, 0);

    change.hold = 0;
    change.consent = YES;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    assert_int_equal(learn(&visitor, "a@b.de", MAIL, 1, 0), 1);
}


static void
test_optout(void **state)
{
    change_t   change;
    visitor_t  visitor;

    ngx_memzero(&visitor, sizeof(visitor_t));
    ngx_memzero(&change, sizeof(change_t));

    change.optout = 4;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    change.optout = 8;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    assert_int_equal(visitor.optout, 12);

    change.optout = 0;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 0);
    change.silent = 1;
    assert_int_equal(ngx_http_klaviyo_visitor_apply(&visitor, &change), 1);
    assert_int_equal(visitor.optout, 0);
}


static void
test_record(void **state)
{
    u_char     buf[NGX_HTTP_KLAVIYO_VISITOR_LEN];
    u_char     id[NGX_HTTP_KLAVIYO_MAX_IDENTIFIER];
    ngx_str_t  text;
    visitor_t  visitor, read;

    ngx_memset(id, 'x', sizeof(id));
    ngx_memzero(&visitor, sizeof(visitor_t));

    visitor.id.data = id;
    visitor.id.len = sizeof(id);
    visitor.field = NGX_HTTP_KLAVIYO_PHONE_NUMBER;
    visitor.consent = YES;
    visitor.optout = 0x1c;
    visitor.stated = 1;
    visitor.held = 1;

    text.data = buf;
    text.len = ngx_http_klaviyo_visitor_format(buf, &visitor);

    assert_int_equal(text.len, NGX_HTTP_KLAVIYO_VISITOR_LEN);
    assert_int_equal(ngx_http_klaviyo_visitor_parse(&text, &read), NGX_OK);

    assert_int_equal(read.id.len, sizeof(id));
    assert_memory_equal(read.id.data, id, sizeof(id));
    assert_int_equal(read.field, visitor.field);
    assert_int_equal(read.consent, YES);
    assert_int_equal(read.optout, 0x1c);
    assert_int_equal(read.stated, 1);
    assert_int_equal(read.unconfirmed, 0);
    assert_int_equal(read.held, 1);

    ngx_memzero(&visitor, sizeof(visitor_t));
    text.len = ngx_http_klaviyo_visitor_format(buf, &visitor);
    assert_int_equal(text.len, NGX_HTTP_KLAVIYO_VISITOR_HEAD);
    assert_int_equal(ngx_http_klaviyo_visitor_parse(&text, &read), NGX_OK);
    assert_int_equal(read.id.len, 0);
}


static void
test_garbage(void **state)
{
    u_char      *buf;
    ngx_str_t    text;
    visitor_t    read;
    ngx_uint_t   i, n;

    srandom(20260715);

    for (i = 0; i < 20000; i++) {
        text.len = random() % (NGX_HTTP_KLAVIYO_VISITOR_LEN + 8);
        buf = malloc(text.len + 1);
        text.data = buf;

        for (n = 0; n < text.len; n++) {
            buf[n] = (u_char) random();
        }

        if (text.len && i % 2) {
            buf[0] = '1';
        }

        if (ngx_http_klaviyo_visitor_parse(&text, &read) == NGX_OK) {
            assert_in_range(read.field, 0, KX);
            assert_true(read.id.len <= NGX_HTTP_KLAVIYO_MAX_IDENTIFIER);

        } else {
            assert_int_equal(read.id.len, 0);
        }

        free(buf);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_latest),
        cmocka_unit_test(test_unconfirmed),
        cmocka_unit_test(test_consent),
        cmocka_unit_test(test_optout),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_garbage)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
