
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Patterns: what they match, within which limits, and with which literal text
 * their matches begin.
 */


#include "unit.h"
#include "ngx_http_klaviyo_regex.h"


#define assert_prefix(pattern, expected)                                      \
    unit_assert_text(unit_prefix(state, unit_str(pattern)),                   \
                     unit_str(expected), __FILE__, __LINE__)

#define assert_match(re, text)                                                \
    assert_int_equal(unit_exec(re, unit_str(text)), NGX_OK)

#define assert_no_match(re, text)                                             \
    assert_int_equal(unit_exec(re, unit_str(text)), NGX_DECLINED)

#define unit_error(pattern, flags)                                            \
    unit_error_text(state, unit_str(pattern), flags)


static ngx_http_klaviyo_regex_t *
unit_regex(void **state, char *pattern, ngx_uint_t flags)
{
    u_char                     buf[128];
    ngx_str_t                  err, text;
    ngx_http_klaviyo_regex_t  *re;

    text.data = (u_char *) pattern;
    text.len = ngx_strlen(pattern);

    err.data = buf;
    err.len = sizeof(buf);

    re = ngx_http_klaviyo_regex_compile(*state, &text, flags, &err);
    assert_non_null(re);

    return re;
}


static ngx_str_t *
unit_error_text(void **state, ngx_str_t *pattern, ngx_uint_t flags)
{
    ngx_str_t  *err;

    /* a buffer of just that size, so that a sanitizer sees the end of it */

    err = unit_fill(*state, 0, 128);

    assert_null(ngx_http_klaviyo_regex_compile(*state, pattern, flags, err));

    return err;
}


static ngx_int_t
unit_exec(ngx_http_klaviyo_regex_t *re, ngx_str_t *text)
{
    return ngx_http_klaviyo_regex_exec(re, text, NULL, 0);
}


static ngx_str_t *
unit_prefix(void **state, ngx_str_t *pattern)
{
    ngx_str_t  *prefix;

    prefix = unit_fill(*state, 0, 1);

    assert_int_equal(ngx_http_klaviyo_regex_prefix(*state, pattern, prefix),
                     NGX_OK);

    return prefix;
}


static void
test_captures_are_offsets_and_unused_groups_are_none(void **state)
{
    size_t                     captures[10];
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "/(a)?(b)(c)?", 0);

    assert_int_equal(ngx_http_klaviyo_regex_groups(re), 3);

    ngx_memset(captures, 0x55, sizeof(captures));

    assert_int_equal(ngx_http_klaviyo_regex_exec(re, unit_str("x/bz"),
                                                 captures, 5),
                     NGX_OK);

    assert_int_equal(captures[0], 1);
    assert_int_equal(captures[1], 3);
    assert_true(captures[2] == (size_t) -1);
    assert_int_equal(captures[4], 2);
    assert_int_equal(captures[5], 3);
    assert_true(captures[6] == (size_t) -1);
    assert_true(captures[8] == (size_t) -1);
    assert_true(captures[9] == (size_t) -1);
}


static void
test_no_more_captures_are_written_than_there_is_room_for(void **state)
{
    size_t                     captures[4];
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "(a)(b)(c)", 0);
    captures[2] = 7;

    assert_int_equal(ngx_http_klaviyo_regex_exec(re, unit_str("abc"),
                                                 captures, 1),
                     NGX_OK);

    assert_int_equal(captures[1], 3);
    assert_int_equal(captures[2], 7);
}


static void
test_an_empty_text_is_matched(void **state)
{
    ngx_str_t                  text;
    ngx_http_klaviyo_regex_t  *re;

    ngx_str_null(&text);

    re = unit_regex(state, "^$", 0);
    assert_int_equal(unit_exec(re, &text), NGX_OK);

    re = unit_regex(state, ".", 0);
    assert_int_equal(unit_exec(re, &text), NGX_DECLINED);
}


static void
test_nul_bytes_are_text(void **state)
{
    assert_match(unit_regex(state, "a.b$", 0), "a\0b");
}


static void
test_caseless_folds_ascii_only_without_utf(void **state)
{
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "^/caf\xc3\xa9$", NGX_HTTP_KLAVIYO_REGEX_CASELESS);

    assert_match(re, "/CAF\xc3\xa9");
    assert_no_match(re, "/CAF\xc3\x89");

    re = unit_regex(state, "^\xe9$", NGX_HTTP_KLAVIYO_REGEX_CASELESS);

    assert_no_match(re, "\xc9");
}


static void
test_utf_matches_characters(void **state)
{
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "^.$", NGX_HTTP_KLAVIYO_REGEX_UTF);

    assert_match(re, "\xc3\xa9");
    assert_int_equal(ngx_http_klaviyo_regex_utf(re), 1);

    re = unit_regex(state, "^.$", 0);

    assert_no_match(re, "\xc3\xa9");
    assert_int_equal(ngx_http_klaviyo_regex_utf(re), 0);

    re = unit_regex(state, "(*UTF)^.$", 0);

    assert_int_equal(ngx_http_klaviyo_regex_utf(re), 1);
}


static void
test_invalid_utf_8_is_no_obstacle(void **state)
{
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "id=(\\d+)", NGX_HTTP_KLAVIYO_REGEX_UTF);

    assert_match(re, "\xff\xfeid=12\xc3");

    re = unit_regex(state, "^id", NGX_HTTP_KLAVIYO_REGEX_UTF);

    assert_no_match(re, "\xffid");
}


static void
test_the_match_limit_ends_a_catastrophic_pattern(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "^(a+)+$", 0);

    /* 2^18 ways: more than our limit, less than that of PCRE2 */

    text = unit_fill(*state, 'a', 19);
    text->data[18] = 'b';

    assert_int_equal(unit_exec(re, text), NGX_ABORT);

    text->len = 5;

    assert_int_equal(unit_exec(re, text), NGX_OK);

    re = unit_regex(state, "^(a|aa)+$", NGX_HTTP_KLAVIYO_REGEX_UTF);

    text = unit_fill(*state, 'a', 40);
    text->data[39] = 'b';

    assert_int_equal(unit_exec(re, text), NGX_ABORT);
}


static void
test_a_pattern_cannot_raise_the_match_limit(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "(*LIMIT_MATCH=4000000000)^(a+)+$", 0);

    text = unit_fill(*state, 'a', 40);
    text->data[39] = 'b';

    assert_int_equal(unit_exec(re, text), NGX_ABORT);
}


static void
test_the_match_limit_holds_without_jit(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "(*NO_JIT)^(a|b)*c", 0);

    text = unit_fill(*state, 'a', NGX_HTTP_KLAVIYO_MAX_SUBJECT);

    assert_int_equal(unit_exec(re, text), NGX_ABORT);
}


static void
test_a_text_that_is_too_long_is_not_looked_at(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "^a", 0);

    text = unit_fill(*state, 'a', NGX_HTTP_KLAVIYO_MAX_SUBJECT + 1);

    assert_int_equal(unit_exec(re, text), NGX_ABORT);

    text->len--;

    assert_int_equal(unit_exec(re, text), NGX_OK);
}


static void
test_an_error_says_what_and_where(void **state)
{
    assert_text(unit_error("^/(x", 0), "missing closing parenthesis");
    assert_text(unit_error("a**", 0),
                "quantifier does not follow a repeatable item at \"*\"");
}


static void
test_an_error_does_not_exceed_its_buffer(void **state)
{
    ngx_str_t  *pattern;

    pattern = unit_fill(*state, 'b', 500);
    ngx_memcpy(pattern->data, "a**", 3);

    assert_int_equal(unit_error_text(state, pattern, 0)->len, 128);
}


static void
test_too_many_groups_are_refused(void **state)
{
    u_char      buf[4 * (NGX_HTTP_KLAVIYO_MAX_GROUPS + 1)];
    ngx_str_t   pattern;
    ngx_uint_t  i;

    for (i = 0; i < sizeof(buf) / 3; i++) {
        ngx_memcpy(&buf[3 * i], "(a)", 3);
    }

    pattern.data = buf;
    pattern.len = 3 * (NGX_HTTP_KLAVIYO_MAX_GROUPS + 1);

    assert_text(unit_error_text(state, &pattern, 0), "more than 32 groups");

    pattern.len -= 3;

    assert_non_null(ngx_http_klaviyo_regex_compile(*state, &pattern, 0,
                                                   unit_fill(*state, 0, 128)));
}


static void
test_named_groups_are_listed_with_their_numbers(void **state)
{
    ngx_array_t               *names;
    ngx_http_klaviyo_group_t  *group;

    names = ngx_http_klaviyo_regex_names(
                 unit_regex(state, "(x)(?<handle>.)(?:y)(?P<id>.)", 0),
                 *state);

    assert_non_null(names);
    assert_int_equal(names->nelts, 2);

    group = names->elts;

    assert_text(&group[0].name, "handle");
    assert_int_equal(group[0].group, 2);
    assert_text(&group[1].name, "id");
    assert_int_equal(group[1].group, 3);

    names = ngx_http_klaviyo_regex_names(unit_regex(state, "a", 0), *state);

    assert_non_null(names);
    assert_int_equal(names->nelts, 0);
}


static void
test_a_glob_matches_the_whole_text_and_any_of_it(void **state)
{
    ngx_uint_t                 flags;
    ngx_http_klaviyo_regex_t  *re;

    flags = NGX_HTTP_KLAVIYO_REGEX_GLOB|NGX_HTTP_KLAVIYO_REGEX_UTF;

    re = unit_regex(state, "checkoutId-*", flags);

    assert_match(re, "checkoutId-");
    assert_match(re, "checkoutId-a/b.c\nd");
    assert_match(re, "checkoutId-.hidden");
    assert_no_match(re, "xcheckoutId-1");
    assert_no_match(re, "checkoutID-1");

    re = unit_regex(state, "*_auth_*_token", flags);

    assert_match(re, "saleor_auth_access_token");
    assert_no_match(re, "saleor_auth_access_token2");

    re = unit_regex(state, "a?c", flags);

    assert_match(re, "a/c");
    assert_match(re, "a\xc3\xa9" "c");
    assert_no_match(re, "ac");

    assert_match(unit_regex(state, "*", flags), "");
    assert_match(unit_regex(state, "**", flags), "a/b");
    assert_match(unit_regex(state, "a**b", flags), "axb");
    assert_match(unit_regex(state, "a/**/b", flags), "a/x/b");
    assert_no_match(unit_regex(state, "a/**/b", flags), "a/b");
    assert_no_match(unit_regex(state, "a", flags), "ab");
}


static void
test_nothing_else_is_special_in_a_glob(void **state)
{
    ngx_uint_t                 flags;
    ngx_http_klaviyo_regex_t  *re;

    flags = NGX_HTTP_KLAVIYO_REGEX_GLOB|NGX_HTTP_KLAVIYO_REGEX_UTF;

    re = unit_regex(state, "attributes[a.(b)|{c}^$+\\]*", flags);

    assert_match(re, "attributes[a.(b)|{c}^$+\\]1");
    assert_no_match(re, "attributesa");
    assert_match(unit_regex(state, "a\\*", flags), "a\\b");
    assert_match(unit_regex(state, "[", flags), "[");
    assert_match(unit_regex(state, "!", flags), "!");
}


static void
test_a_glob_does_not_backtrack_without_end(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_regex_t  *re;

    re = unit_regex(state, "*a*a*a*a*a*a*a*a*b",
                    NGX_HTTP_KLAVIYO_REGEX_GLOB|NGX_HTTP_KLAVIYO_REGEX_UTF);

    text = unit_fill(*state, 'a', 10000);

    assert_int_not_equal(unit_exec(re, text), NGX_OK);
}


static void
test_the_prefix_is_what_follows_the_anchor(void **state)
{
    assert_prefix("^/products/(?<h>..)", "/products/");
    assert_prefix("^/products/(?<h>..)$", "/products/");
    assert_prefix("^/a/b$", "/a/b");
    assert_prefix("^/a", "/a");
    assert_prefix("^/caf\xc3\xa9/.", "/caf\xc3\xa9/");
    assert_prefix("^/a]}#, ", "/a]}#, ");
}


static void
test_without_anchor_there_is_no_prefix(void **state)
{
    assert_prefix("", "");
    assert_prefix("^", "");
    assert_prefix("/a", "");
    assert_prefix("(^/a)", "");
    assert_prefix("(*UTF)^/a", "");
    assert_prefix("(?i)^/a", "");
    assert_prefix("\\^/a", "");
    assert_prefix("^(?i)/a", "");
    assert_prefix("^^/a", "");
}


static void
test_the_prefix_ends_before_what_is_not_literal(void **state)
{
    assert_prefix("^/a.b", "/a");
    assert_prefix("^/[a]", "/");
    assert_prefix("^/a$", "/a");
    assert_prefix("^/a(?i)b", "/a");
    assert_prefix("^/a)b", "/a");
    assert_prefix("^/a\\d", "/a");
    assert_prefix("^/a\\x41", "/a");
    assert_prefix("^/a\\", "/a");
    assert_prefix("^/a\\\xc3\xa9", "/a");
}


static void
test_what_may_be_absent_or_repeated_is_not_in_the_prefix(void **state)
{
    assert_prefix("^/ab?c", "/a");
    assert_prefix("^/ab*c", "/a");
    assert_prefix("^/ab+c", "/ab");
    assert_prefix("^/a{2}", "/");
    assert_prefix("^/a{0,2}", "/");
    assert_prefix("^/a{x", "/");
    assert_prefix("^/a+", "/a");
    assert_prefix("^/a\\.?", "/a");
    assert_prefix("^?/a", "");
    assert_prefix("^/caf\xc3\xa9?", "/caf");
    assert_prefix("^/ab(?#comment)?c", "/a");
    assert_prefix("^/ab\\E?c", "/a");
    assert_prefix("^/ab\\Q\\E?c", "/a");
}


static void
test_escaped_punctuation_is_literal(void **state)
{
    assert_prefix("^/a\\.b", "/a.b");
    assert_prefix("^/a\\+\\(b\\)\\|c\\\\d", "/a+(b)|c\\d");
    assert_prefix("^\\/a\\-b/", "/a-b/");
    assert_prefix("^\\Q/a\\E", "");
}


static void
test_an_alternative_at_the_top_leaves_no_prefix(void **state)
{
    assert_prefix("^/a|^/b", "");
    assert_prefix("^/a(b)|c", "");
    assert_prefix("^/a[(]b|c", "");
    assert_prefix("^/a[^]]b|c", "");
    assert_prefix("^/a[](]b|c", "");
    assert_prefix("^/a\\(b|c", "");
    assert_prefix("^/a\\Q(\\Eb|c", "");
    assert_prefix("^/a(?#(()b|c", "");
    assert_prefix("^/a(?x) # (\nb|c", "");
    assert_prefix("^/a(?x) # (\nb|c # )\n", "");
    assert_prefix("^/a[[:alpha:](]b|c[[:alpha:])]", "");
    assert_prefix("^/a[[:alpha:](]b|c", "");
    assert_prefix("^/a[\\Q](]\\E]|c", "");
    assert_prefix("^/a[\\](]b|c", "");
    assert_prefix("^/a(b))|c", "");
    assert_prefix("^/a\\c(b|c", "");
    assert_prefix("^/a(*ACCEPT)|c", "");
}


static void
test_an_alternative_in_a_group_keeps_the_prefix(void **state)
{
    assert_prefix("^/a/(b|c)", "/a/");
    assert_prefix("^/a/(?:b|(?<n>c|d))", "/a/");
    assert_prefix("^/a/(?|b|c)[|]", "/a/");
    assert_prefix("^/a\\|b", "/a|b");
}


/*
 * The promise itself: whatever matches begins with the prefix.  Pieces that
 * are put together in all orders make the patterns and the texts.
 */

static void
test_every_match_begins_with_the_prefix(void **state)
{
    u_char                     buf[128], subject[16];
    ngx_str_t                  pattern, text, err, *prefix;
    ngx_uint_t                 i, j, n, matches;
    ngx_http_klaviyo_regex_t  *re;

    static char  *pieces[] = {
        "a", "b", "?", "*", "+", "|", "(", ")", "(?:", "[a", "]", "{0}",
        "\\Q", "\\E", "(?#", "\\.", ".", "(?x)", "#\n", " ", "^", "$", "\\b",
        "(?i)", "{,1}"
    };

    static char  *subjects[] = {
        "a", "b", "ab", "ba", "", "aa", "bb", "aab", "A", "B", "aB", ".",
        "a.", "|", "aaa"
    };

    n = sizeof(pieces) / sizeof(char *);
    matches = 0;

    for (i = 0; i < n * n * n * n; i++) {

        pattern.data = buf;
        pattern.len = ngx_sprintf(buf, "^%s%s%s%s", pieces[i % n],
                                  pieces[i / n % n], pieces[i / n / n % n],
                                  pieces[i / n / n / n])
                      - buf;

        prefix = unit_prefix(state, &pattern);

        if (prefix->len == 0) {
            continue;
        }

        err.data = buf + 64;
        err.len = 64;

        re = ngx_http_klaviyo_regex_compile(*state, &pattern, 0, &err);

        for (j = 0; re && j < sizeof(subjects) / sizeof(char *); j++) {

            text.len = ngx_strlen(subjects[j]);
            text.data = subject;
            ngx_memcpy(subject, subjects[j], text.len);

            if (unit_exec(re, &text) != NGX_OK) {
                continue;
            }

            matches++;

            if (text.len < prefix->len
                || ngx_memcmp(text.data, prefix->data, prefix->len) != 0)
            {
                fail_msg("\"%.*s\" matches \"%s\", not its prefix \"%.*s\"",
                         (int) pattern.len, pattern.data, subjects[j],
                         (int) prefix->len, prefix->data);
            }
        }

        if (i % 1024 == 0) {
            assert_int_equal(unit_teardown(state), 0);
            assert_int_equal(unit_setup(state), 0);
        }
    }

    assert_true(matches > 1000);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(test_captures_are_offsets_and_unused_groups_are_none),
        unit_test(test_no_more_captures_are_written_than_there_is_room_for),
        unit_test(test_an_empty_text_is_matched),
        unit_test(test_nul_bytes_are_text),
        unit_test(test_caseless_folds_ascii_only_without_utf),
        unit_test(test_utf_matches_characters),
        unit_test(test_invalid_utf_8_is_no_obstacle),
        unit_test(test_the_match_limit_ends_a_catastrophic_pattern),
        unit_test(test_a_pattern_cannot_raise_the_match_limit),
        unit_test(test_the_match_limit_holds_without_jit),
        unit_test(test_a_text_that_is_too_long_is_not_looked_at),
        unit_test(test_an_error_says_what_and_where),
        unit_test(test_an_error_does_not_exceed_its_buffer),
        unit_test(test_too_many_groups_are_refused),
        unit_test(test_named_groups_are_listed_with_their_numbers),
        unit_test(test_a_glob_matches_the_whole_text_and_any_of_it),
        unit_test(test_nothing_else_is_special_in_a_glob),
        unit_test(test_a_glob_does_not_backtrack_without_end),
        unit_test(test_the_prefix_is_what_follows_the_anchor),
        unit_test(test_without_anchor_there_is_no_prefix),
        unit_test(test_the_prefix_ends_before_what_is_not_literal),
        unit_test(test_what_may_be_absent_or_repeated_is_not_in_the_prefix),
        unit_test(test_escaped_punctuation_is_literal),
        unit_test(test_an_alternative_at_the_top_leaves_no_prefix),
        unit_test(test_an_alternative_in_a_group_keeps_the_prefix),
        unit_test(test_every_match_begins_with_the_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
