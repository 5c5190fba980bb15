
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What Klaviyo's answers mean for a batch, and what its headers say.
 */


#include "unit.h"
#include "ngx_http_klaviyo_api.h"


#define ENTRY(n)    "/data/attributes/events-bulk-create/data/" n
#define IN_ENTRY(n)                                                           \
    ENTRY(n) "/attributes/events/data/0/attributes/"

#define ERROR(pointer, detail)                                                \
    "{\"id\":\"1\",\"status\":400,\"code\":\"invalid\","                      \
    "\"title\":\"Invalid input.\",\"detail\":\"" detail "\","                 \
    "\"source\":{\"pointer\":\"" pointer "\"}}"

#define ERRORS(list)  "{\"errors\":[" list "]}"

#define judged(status, text, events)                                          \
    judge(*state, status, unit_str(text), events)


static ngx_http_klaviyo_verdict_t *
judge_lane(ngx_pool_t *pool, ngx_http_klaviyo_lane_e lane, ngx_uint_t status,
    ngx_str_t *body, ngx_uint_t events)
{
    ngx_http_klaviyo_answer_t    answer;
    ngx_http_klaviyo_verdict_t  *verdict;

    verdict = ngx_palloc(pool, sizeof(ngx_http_klaviyo_verdict_t));
    assert_non_null(verdict);
    ngx_memset(verdict, 0xa5, sizeof(ngx_http_klaviyo_verdict_t));

    ngx_http_klaviyo_api_init(&answer);

    answer.status = status;
    answer.body.len = body->len;

    /* so that a sanitizer sees a byte read too much */
    answer.body.data = ngx_pnalloc(pool, body->len);
    ngx_memcpy(answer.body.data, body->data, body->len);

    ngx_http_klaviyo_api_judge(&answer, lane, events, pool, verdict);

    return verdict;
}


static ngx_http_klaviyo_verdict_t *
judge(ngx_pool_t *pool, ngx_uint_t status, ngx_str_t *body, ngx_uint_t events)
{
    return judge_lane(pool, NGX_HTTP_KLAVIYO_EVENTS, status, body, events);
}


static ngx_str_t *
text_of(ngx_pool_t *pool, char *s)
{
    ngx_str_t  *text;

    text = ngx_palloc(pool, sizeof(ngx_str_t));
    assert_non_null(text);

    text->data = (u_char *) s;
    text->len = ngx_strlen(s);

    return text;
}


static ngx_http_klaviyo_answer_t *
read_header(ngx_pool_t *pool, ngx_str_t *line, time_t now)
{
    ngx_str_t                   copy;
    ngx_http_klaviyo_answer_t  *answer;

    answer = ngx_palloc(pool, sizeof(ngx_http_klaviyo_answer_t));
    assert_non_null(answer);

    copy.len = line->len;
    copy.data = ngx_pnalloc(pool, line->len);
    ngx_memcpy(copy.data, line->data, line->len);

    ngx_http_klaviyo_api_init(answer);
    ngx_http_klaviyo_api_header(answer, &copy, now);

    return answer;
}


static void
assert_untouched(ngx_http_klaviyo_answer_t *answer)
{
    ngx_http_klaviyo_answer_t  init;

    ngx_http_klaviyo_api_init(&init);

    assert_memory_equal(answer, &init, sizeof(ngx_http_klaviyo_answer_t));
}


static void
a_repeated_id_of_one_entry(void **state, ngx_str_t *body, ngx_uint_t repeated)
{
    ngx_http_klaviyo_entry_t    *entry;
    ngx_http_klaviyo_verdict_t  *v;

    v = judge(*state, 400, body, 10);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_ENTRIES);
    assert_int_equal(v->entries->nelts, 1);

    entry = v->entries->elts;

    if (entry[0].repeated != repeated) {
        print_error("%.*s\n", (int) body->len, body->data);
    }

    assert_int_equal(entry[0].repeated, repeated);
}


static void
success_and_conflict_are_done(void **state)
{
    ngx_uint_t  status;

    for (status = 200; status < 300; status++) {
        assert_int_equal(judged(status, "<junk>", 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_DONE);
    }

    assert_int_equal(judged(409, ERRORS(""), 5)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_DONE);
}


/* an update that met a conflict was not taken, so nobody may call it done */

static void
what_klaviyo_says_of_one_profile_is_about_that_one(void **state)
{
    ngx_uint_t                   i, lane;
    ngx_http_klaviyo_verdict_t  *v;

    static struct {
        ngx_uint_t                  status;
        char                       *body;
        ngx_http_klaviyo_verdict_e  verdicts[2];   /* profiles, subscriptions */
    } cases[] = {
        { 200, "", { NGX_HTTP_KLAVIYO_VERDICT_DONE,
                     NGX_HTTP_KLAVIYO_VERDICT_DONE } },
        { 201, "{\"data\":{\"type\":\"profile\"}}",
          { NGX_HTTP_KLAVIYO_VERDICT_DONE, NGX_HTTP_KLAVIYO_VERDICT_DONE } },
        { 202, "", { NGX_HTTP_KLAVIYO_VERDICT_DONE,
                     NGX_HTTP_KLAVIYO_VERDICT_DONE } },
        { 409, ERRORS(ERROR("/data/", "duplicate_profile")),
          { NGX_HTTP_KLAVIYO_VERDICT_HALVE, NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 409, "<html>", { NGX_HTTP_KLAVIYO_VERDICT_BACKOFF,
                           NGX_HTTP_KLAVIYO_VERDICT_BACKOFF } },
        { 400, ERRORS(ERROR("/data/attributes/email", "Invalid email.")),
          { NGX_HTTP_KLAVIYO_VERDICT_HALVE, NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 400, ERRORS(ERROR("/data/attributes/profiles/data/0/attributes/email",
                            "Invalid email.")),
          { NGX_HTTP_KLAVIYO_VERDICT_HALVE, NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 400, ERRORS(ERROR("/data/", "The unique_id is a duplicate.")),
          { NGX_HTTP_KLAVIYO_VERDICT_HALVE, NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 400, ERRORS(ERROR(IN_ENTRY("0") "unique_id", "It is a duplicate.")),
          { NGX_HTTP_KLAVIYO_VERDICT_HALVE, NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 413, "", { NGX_HTTP_KLAVIYO_VERDICT_HALVE,
                     NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 404, ERRORS(ERROR("/data/id", "No such profile.")),
          { NGX_HTTP_KLAVIYO_VERDICT_HALVE, NGX_HTTP_KLAVIYO_VERDICT_STOP } },
        { 404, ERRORS(ERROR("/data/attributes/profiles/data/0/id",
                            "No such profile.")),
          { NGX_HTTP_KLAVIYO_VERDICT_STOP, NGX_HTTP_KLAVIYO_VERDICT_HALVE } },
        { 404, ERRORS(ERROR("/data/relationships/list/data/id", "No list.")),
          { NGX_HTTP_KLAVIYO_VERDICT_STOP, NGX_HTTP_KLAVIYO_VERDICT_STOP } },
        { 404, ERRORS(ERROR("/data/id", "x") "," ERROR("/data/", "x")),
          { NGX_HTTP_KLAVIYO_VERDICT_STOP, NGX_HTTP_KLAVIYO_VERDICT_STOP } },
        { 404, "<html>", { NGX_HTTP_KLAVIYO_VERDICT_STOP,
                           NGX_HTTP_KLAVIYO_VERDICT_STOP } },
        { 403, ERRORS(""), { NGX_HTTP_KLAVIYO_VERDICT_STOP,
                             NGX_HTTP_KLAVIYO_VERDICT_STOP } },
        { 403, "<html>", { NGX_HTTP_KLAVIYO_VERDICT_BACKOFF,
                           NGX_HTTP_KLAVIYO_VERDICT_BACKOFF } },
        { 429, "", { NGX_HTTP_KLAVIYO_VERDICT_WAIT,
                     NGX_HTTP_KLAVIYO_VERDICT_WAIT } },
        { 500, "", { NGX_HTTP_KLAVIYO_VERDICT_BACKOFF,
                     NGX_HTTP_KLAVIYO_VERDICT_BACKOFF } }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (lane = NGX_HTTP_KLAVIYO_PROFILES;
             lane < NGX_HTTP_KLAVIYO_LANES;
             lane++)
        {
            v = judge_lane(*state, lane, cases[i].status,
                           text_of(*state, cases[i].body), 1);

            if (v->verdict != cases[i].verdicts[lane - 1]) {
                print_error("%d %s\n", (int) cases[i].status, cases[i].body);
            }

            assert_int_equal(v->verdict, cases[i].verdicts[lane - 1]);

            if (v->verdict == NGX_HTTP_KLAVIYO_VERDICT_HALVE) {
                assert_int_equal(v->single, 1);
                assert_int_equal(v->repeated, 0);
            }
        }
    }

    /* events have none of this */

    assert_int_equal(judged(404, ERRORS(ERROR("/data/id", "x")), 1)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_STOP);
}


static void
wrong_key_path_or_revision_stops_whatever_the_body(void **state)
{
    ngx_uint_t  i, statuses[] = { 401, 404, 405, 410, 415, 300, 301, 302, 304,
                                  307, 308, 399 };

    for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        assert_int_equal(judged(statuses[i], "<html>", 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_STOP);
        assert_int_equal(judged(statuses[i], ERRORS(""), 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_STOP);
    }
}


static void
forbidden_stops_only_in_json(void **state)
{
    assert_int_equal(judged(403, ERRORS(ERROR("", "no scope")), 5)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_STOP);
    assert_int_equal(judged(403, "<!DOCTYPE html><title>Just a moment", 5)
                     ->verdict, NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
    assert_int_equal(judged(403, "", 5)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
}


static void
too_large_halves_whatever_the_body(void **state)
{
    ngx_http_klaviyo_verdict_t  *v;

    v = judged(413, "<html>", 5);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_HALVE);
    assert_int_equal(v->single, 1);
    assert_int_equal(v->repeated, 0);

    v = judged(413, ERRORS(ERROR(IN_ENTRY("0") "unique_id", "duplicate")), 5);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_HALVE);
    assert_int_equal(v->single, 1);
    assert_int_equal(v->repeated, 0);
}


static void
all_else_is_tried_again(void **state)
{
    ngx_uint_t  i, statuses[] = { 0, 100, 199, 402, 406, 408, 418, 422, 425,
                                  500, 502, 504, 520, 527, 599, 999 };

    for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        assert_int_equal(judged(statuses[i], ERRORS(""), 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
        assert_int_equal(judged(statuses[i], "", 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
    }
}


static void
too_many_requests_wait_as_long_as_they_were_told(void **state)
{
    ngx_uint_t                  i, statuses[] = { 429, 503 };
    ngx_http_klaviyo_answer_t   answer;
    ngx_http_klaviyo_verdict_t  v;

    for (i = 0; i < 2; i++) {
        ngx_http_klaviyo_api_init(&answer);
        answer.status = statuses[i];

        ngx_http_klaviyo_api_judge(&answer, NGX_HTTP_KLAVIYO_EVENTS, 5, *state,
                                   &v);

        assert_int_equal(v.verdict, NGX_HTTP_KLAVIYO_VERDICT_WAIT);
        assert_int_equal(v.wait, 0);

        answer.retry_after = 12000;

        ngx_http_klaviyo_api_judge(&answer, NGX_HTTP_KLAVIYO_EVENTS, 5, *state,
                                   &v);

        assert_int_equal(v.verdict, NGX_HTTP_KLAVIYO_VERDICT_WAIT);
        assert_int_equal(v.wait, 12000);
    }
}


static void
pointed_errors_name_their_entries_in_order_and_once(void **state)
{
    ngx_http_klaviyo_entry_t    *entry;
    ngx_http_klaviyo_error_t    *error;
    ngx_http_klaviyo_verdict_t  *v;

    v = judged(400, ERRORS(ERROR(IN_ENTRY("7") "time", "bad time") ","
                           ERROR(IN_ENTRY("0") "value", "bad value") ","
                           ERROR(ENTRY("7"), "bad too") ","
                           ERROR(ENTRY("99") "/attributes/profile", "bad")),
               100);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_ENTRIES);
    assert_int_equal(v->entries->nelts, 3);
    assert_int_equal(v->errors->nelts, 4);

    entry = v->entries->elts;
    error = v->errors->elts;

    assert_int_equal(entry[0].index, 0);
    assert_text(&error[entry[0].error].detail, "bad value");
    assert_int_equal(entry[0].repeated, 0);

    assert_int_equal(entry[1].index, 7);
    assert_text(&error[entry[1].error].detail, "bad time");

    assert_int_equal(entry[2].index, 99);
    assert_text(&error[entry[2].error].pointer,
                ENTRY("99") "/attributes/profile");
}


static void
an_error_keeps_klaviyos_words(void **state)
{
    ngx_http_klaviyo_error_t    *error;
    ngx_http_klaviyo_verdict_t  *v;

    v = judged(401, ERRORS(ERROR("/data/", "wr\\u00f6ng \\u0000 key")), 5);

    assert_int_equal(v->errors->nelts, 1);

    error = v->errors->elts;

    assert_text(&error->code, "invalid");
    assert_text(&error->title, "Invalid input.");
    assert_text(&error->detail, "wr\xc3\xb6ng \0 key");
    assert_text(&error->pointer, "/data/");
    assert_null(v->entries);
}


static void
an_error_that_names_no_entry_halves(void **state)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_verdict_t  *v;

    ngx_str_t  bodies[] = {
        ngx_string(ERRORS("")),
        ngx_string(ERRORS("{}")),
        ngx_string(ERRORS("null,1,\"x\",[]")),
        ngx_string(ERRORS("{\"source\":1,\"code\":2,\"detail\":{}}")),
        ngx_string(ERRORS("{\"source\":{\"pointer\":3}}")),
        ngx_string(ERRORS(ERROR("", "bad"))),
        ngx_string(ERRORS(ERROR("/data/", "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY(""), "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("/0"), "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("-1"), "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("1x"), "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("5"), "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("18446744073709551616"), "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("9223372036854775807"), "bad"))),
        ngx_string(ERRORS(ERROR("/data/attributes/profiles/data/0", "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("0"), "bad") "," ERROR("/data", "bad"))),
        ngx_string(ERRORS(ERROR(ENTRY("0"), "bad") ","
                          ERROR(ENTRY("5"), "bad")))
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        v = judge(*state, 400, &bodies[i], 5);

        if (v->verdict != NGX_HTTP_KLAVIYO_VERDICT_HALVE) {
            print_error("%.*s\n", (int) bodies[i].len, bodies[i].data);
        }

        assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_HALVE);
        assert_int_equal(v->single, 1);
        assert_int_equal(v->repeated, 0);
        assert_null(v->entries);
    }
}


static void
a_bad_request_that_is_not_klaviyos_is_tried_again(void **state)
{
    ngx_uint_t  i;

    ngx_str_t  bodies[] = {
        ngx_string(""),
        ngx_string("<html>\r\n<head><title>400 Bad Request</title></head>"),
        ngx_string("{"),
        ngx_string("{}"),
        ngx_string("[]"),
        ngx_string("null"),
        ngx_string("{\"errors\":{}}"),
        ngx_string("{\"errors\":null}"),
        ngx_string("{\"success\":false,\"errors\":[{\"code\":10000}"),
        ngx_string("{\"error"),
        ngx_string("\"errors\":["),
        ngx_string("\xff\xfe{\"errors\":[]}"),
        ngx_string("\0\0\0\0")
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(judge(*state, 400, &bodies[i], 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
        assert_int_equal(judge(*state, 403, &bodies[i], 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);
    }
}


/* were it taken for Cloudflare's, the same batch would come back for ever */

static void
an_answer_of_klaviyos_that_can_not_be_read_halves(void **state)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_verdict_t  *v;

    ngx_str_t  bodies[] = {
        ngx_string("{\"errors\""),
        ngx_string("{\"errors\":[{\"id\":\"1\",\"detail\":\"cut he"),
        ngx_string(" {\r\n\t\"errors\": [{\"source\":{\"pointer\":\""
                   ENTRY("0") "\"}},{"),
        ngx_string("{\"errors\":[{\"detail\":\"\xff\"}]}"),
        ngx_string("{\"errors\":[{\"meta\":1e999999}]}")
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        v = judge(*state, 400, &bodies[i], 5);

        assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_HALVE);
        assert_int_equal(v->single, 1);

        assert_int_equal(judge(*state, 403, &bodies[i], 5)->verdict,
                         NGX_HTTP_KLAVIYO_VERDICT_STOP);
    }
}


static void
a_quoted_number_of_any_size_can_be_read(void **state)
{
    assert_int_equal(judged(400, ERRORS("{\"meta\":{\"value\":"
                                        "99999999999999999999999999},"
                                        "\"source\":{\"pointer\":\""
                                        ENTRY("3") "\"}}"), 5)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_ENTRIES);
}


static void
more_errors_than_a_batch_has_entries_halve(void **state)
{
    u_char                      *p;
    ngx_uint_t                   i, n;
    ngx_str_t                    body;
    ngx_http_klaviyo_verdict_t  *v;

    for (n = NGX_HTTP_KLAVIYO_API_MAX_ERRORS;
         n <= NGX_HTTP_KLAVIYO_API_MAX_ERRORS + 1;
         n++)
    {
        body.data = ngx_pnalloc(*state, n * 100 + 20);
        p = ngx_cpymem(body.data, "{\"errors\":[", 11);

        for (i = 0; i < n; i++) {
            p = ngx_cpymem(p, "{\"source\":{\"pointer\":\"" ENTRY("0") "\"}},",
                           sizeof("{\"source\":{\"pointer\":\"" ENTRY("0")
                                  "\"}},") - 1);
        }

        p = ngx_cpymem(p - 1, "]}", 2);
        body.len = p - body.data;

        v = judge(*state, 400, &body, 5);

        assert_int_equal(v->verdict,
                         (n == NGX_HTTP_KLAVIYO_API_MAX_ERRORS)
                         ? NGX_HTTP_KLAVIYO_VERDICT_ENTRIES
                         : NGX_HTTP_KLAVIYO_VERDICT_HALVE);
        assert_int_equal(v->errors->nelts, NGX_HTTP_KLAVIYO_API_MAX_ERRORS);
    }
}


static void
deep_nesting_does_no_harm(void **state)
{
    ngx_str_t  *body;

    body = unit_fill(*state, '[', NGX_HTTP_KLAVIYO_API_MAX_ANSWER);

    assert_int_equal(judge(*state, 400, body, 5)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_BACKOFF);

    ngx_memcpy(body->data, "{\"errors\":", 10);

    assert_int_equal(judge(*state, 400, body, 5)->verdict,
                     NGX_HTTP_KLAVIYO_VERDICT_HALVE);
}


#define ID(detail)  ngx_string(ERRORS(ERROR(IN_ENTRY("3") "unique_id", detail)))

static void
an_id_that_is_known_already_is_a_repetition(void **state)
{
    ngx_uint_t  i;

    ngx_str_t  bodies[] = {
        ID("Duplicate value."),
        ID("Duplicated ids are not allowed."),
        ID("An event with this id already exists."),
        ID("This event has already been received."),
        ID("unique_id 'a' is used more than once in this request."),
        ID("The value is not unique."),
        ID("unique_id is repeated"),
        ID("This id is already in use."),
        ID("The unique_id must be unique for each event."),
        ngx_string(ERRORS("{\"code\":\"duplicate_unique_id\",\"source\":"
                          "{\"pointer\":\"" ENTRY("3") "\"}}")),
        ngx_string(ERRORS("{\"code\":\"ALREADY_EXISTS\",\"source\":"
                          "{\"pointer\":\"" IN_ENTRY("3") "unique_id\"}}")),
        ngx_string(ERRORS("{\"title\":\"Duplicate unique_id.\",\"source\":"
                          "{\"pointer\":\"" ENTRY("3") "/attributes\"}}")),
        ngx_string(ERRORS("{\"title\":\"Duplicate.\",\"detail\":\"Unique ID\""
                          ",\"source\":{\"pointer\":\"" ENTRY("3") "\"}}"))
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        a_repeated_id_of_one_entry(state, &bodies[i], 1);
    }
}


static void
an_id_that_is_wrong_is_no_repetition(void **state)
{
    ngx_uint_t  i;

    ngx_str_t  bodies[] = {
        ID("Invalid unique_id length."),
        ID("unique_id must be at most 255 characters."),
        ID("Ensure this field has no more than 255 characters."),
        ID("A unique identifier is required."),
        ID("unique_id must be a string."),
        ID("'unique_id' is not a valid field for the resource 'event'."),
        ID("The unique_id must be unique and 1 to 255 characters long."),
        ID("This field may not be blank."),
        ID("unique_id is invalid"),
        ID(""),
        ngx_string(ERRORS(ERROR(IN_ENTRY("3") "time", "Duplicate value."))),
        ngx_string(ERRORS(ERROR(IN_ENTRY("3") "not_unique_id",
                                "Duplicate value."))),
        ngx_string(ERRORS(ERROR(IN_ENTRY("3") "unique_id/x",
                                "Duplicate value."))),
        ngx_string(ERRORS(ERROR(IN_ENTRY("3") "email",
                                "This email already exists.")))
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        a_repeated_id_of_one_entry(state, &bodies[i], 0);
    }
}


static void
a_repetition_with_another_error_is_bad(void **state)
{
    ngx_http_klaviyo_entry_t    *entry;
    ngx_http_klaviyo_verdict_t  *v;

    v = judged(400, ERRORS(ERROR(IN_ENTRY("2") "unique_id", "duplicate") ","
                           ERROR(IN_ENTRY("4") "unique_id", "duplicate") ","
                           ERROR(IN_ENTRY("2") "value", "bad value")), 5);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_ENTRIES);
    assert_int_equal(v->entries->nelts, 2);
    assert_int_equal(v->repeated, 0);

    entry = v->entries->elts;

    assert_int_equal(entry[0].index, 2);
    assert_int_equal(entry[0].repeated, 0);
    assert_int_equal(entry[0].error, 2);

    assert_int_equal(entry[1].index, 4);
    assert_int_equal(entry[1].repeated, 1);
}


static void
a_repetition_that_names_no_entry_halves_down_to_a_delivered_one(void **state)
{
    ngx_http_klaviyo_verdict_t  *v;

    v = judged(400, ERRORS(ERROR("/data/", "Duplicate unique_id.")), 5);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_HALVE);
    assert_int_equal(v->repeated, 1);
    assert_int_equal(v->single, 0);

    v = judged(400, ERRORS(ERROR("/data/", "Duplicate unique_id.") ","
                           ERROR("/data/", "Bad value.")), 5);

    assert_int_equal(v->verdict, NGX_HTTP_KLAVIYO_VERDICT_HALVE);
    assert_int_equal(v->repeated, 0);
    assert_int_equal(v->single, 1);

    v = judged(400, ERRORS(ERROR("/data/", "Duplicate request.")), 5);

    assert_int_equal(v->repeated, 0);
    assert_int_equal(v->single, 1);
}


/* 2026-07-15 10:00:00 UTC */
#define NOW  1784109600

#define header(line)  read_header(*state, unit_str(line), NOW)


static void
retry_after_is_read_in_seconds_or_as_a_date(void **state)
{
    assert_int_equal(header("Retry-After: 7\r\n")->retry_after, 7000);
    assert_int_equal(header("retry-after:7")->retry_after, 7000);
    assert_int_equal(header("RETRY-AFTER: \t 0 \t\r\n")->retry_after, 0);
    assert_int_equal(header("Retry-After: 99999999\r\n")->retry_after,
                     86400000);
    assert_int_equal(header("Retry-After: Wed, 15 Jul 2026 10:00:30 GMT\r\n")
                     ->retry_after, 30000);
    assert_int_equal(header("Retry-After: Wed, 15 Jul 2026 09:59:00 GMT\r\n")
                     ->retry_after, 0);
    assert_int_equal(header("Retry-After: Fri, 15 Jul 2033 09:59:00 GMT\r\n")
                     ->retry_after, 86400000);
}


static void
the_limit_of_a_minute_is_read_in_both_shapes(void **state)
{
    assert_int_equal(header("RateLimit-Limit: 150\r\n")->limit, 150);
    assert_int_equal(header("ratelimit-limit: 10, 10;w=1, 150;w=60\r\n")
                     ->limit, 150);
    assert_int_equal(header("RateLimit-Limit:350,350;w=1,3500;w=60")->limit,
                     3500);
    assert_int_equal(header("RateLimit-Limit: 150 ; q=a ; W = 60 , 10;w=1")
                     ->limit, 150);
    assert_int_equal(header("RateLimit-Limit: 150;burst=10")->limit, 150);
}


static void
what_is_left_and_when_it_ends_is_read(void **state)
{
    assert_int_equal(header("RateLimit-Remaining: 149\r\n")->remaining, 149);
    assert_int_equal(header("ratelimit-remaining:0")->remaining, 0);
    assert_int_equal(header("RateLimit-Reset: 42\r\n")->reset, 42000);
    assert_int_equal(header("ratelimit-reset: 999999999999\r\n")->reset,
                     86400000);
}


static void
a_header_that_is_no_number_is_not_there(void **state)
{
    ngx_uint_t  i;

    ngx_str_t  lines[] = {
        ngx_string(""),
        ngx_string("\r\n"),
        ngx_string(":"),
        ngx_string(": 1"),
        ngx_string("Retry-After"),
        ngx_string("Retry-After:"),
        ngx_string("Retry-After: \r\n"),
        ngx_string("Retry-After: -1"),
        ngx_string("Retry-After: 1.5"),
        ngx_string("Retry-After: soon"),
        ngx_string("Retry-After: Wed, 99 Foo 2026 10:00:30 GMT"),
        ngx_string("Retry-After: Wed,"),
        ngx_string("Retry-After: 99999999999999999999999"),
        ngx_string("X-Retry-After: 1"),
        ngx_string("Retry-Afte: 1"),
        ngx_string("RateLimit-Limit: ,,,;;;=,"),
        ngx_string("RateLimit-Limit: 10, 10;w=1"),
        ngx_string("RateLimit-Limit: 10;w=1"),
        ngx_string("RateLimit-Limit: x;w=60"),
        ngx_string("RateLimit-Limit: 10;w=99999999999999999999999"),
        ngx_string("RateLimit-Limit: \xff\0\x01"),
        ngx_string("RateLimit-Remaining: 0x10"),
        ngx_string("RateLimit-Remaining: 99999999999999999999999"),
        ngx_string("RateLimit-Remaining: 1\0"),
        ngx_string("RateLimit-Reset: 1 2"),
        ngx_string("RateLimit-Reset: \"1\""),
        ngx_string("HTTP/1.1 200 OK"),
        ngx_string("Content-Length: 12")
    };

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_untouched(read_header(*state, &lines[i], NOW));
    }
}


static void
random_bytes_do_no_harm(void **state)
{
    u_char       buf[200];
    ngx_str_t    text;
    ngx_uint_t   i, n;

    static u_char  likely[] = "{}[]\":,;=wW610 \r\nerrosdata/\\u\0\xff";
    static char    begin[] = "RateLimit-Limit:";

    srandom(20260715);

    for (n = 0; n < 20000; n++) {
        text.len = ngx_random() % sizeof(buf);
        text.data = buf;

        for (i = 0; i < text.len; i++) {
            buf[i] = likely[ngx_random() % (sizeof(likely) - 1)];
        }

        if (n % 2) {
            ngx_memcpy(buf, (n % 4 == 1) ? begin : "{\"errors\":[{\"a\":",
                       ngx_min(text.len, 16));
        }

        (void) judge(*state, 400, &text, 5);
        (void) read_header(*state, &text, NOW);

        if (n % 1000 == 0) {
            ngx_reset_pool(*state);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(success_and_conflict_are_done),
        unit_test(what_klaviyo_says_of_one_profile_is_about_that_one),
        unit_test(wrong_key_path_or_revision_stops_whatever_the_body),
        unit_test(forbidden_stops_only_in_json),
        unit_test(too_large_halves_whatever_the_body),
        unit_test(all_else_is_tried_again),
        unit_test(too_many_requests_wait_as_long_as_they_were_told),
        unit_test(pointed_errors_name_their_entries_in_order_and_once),
        unit_test(an_error_keeps_klaviyos_words),
        unit_test(an_error_that_names_no_entry_halves),
        unit_test(a_bad_request_that_is_not_klaviyos_is_tried_again),
        unit_test(an_answer_of_klaviyos_that_can_not_be_read_halves),
        unit_test(a_quoted_number_of_any_size_can_be_read),
        unit_test(more_errors_than_a_batch_has_entries_halve),
        unit_test(deep_nesting_does_no_harm),
        unit_test(an_id_that_is_known_already_is_a_repetition),
        unit_test(an_id_that_is_wrong_is_no_repetition),
        unit_test(a_repetition_with_another_error_is_bad),
        unit_test(
            a_repetition_that_names_no_entry_halves_down_to_a_delivered_one),
        unit_test(retry_after_is_read_in_seconds_or_as_a_date),
        unit_test(the_limit_of_a_minute_is_read_in_both_shapes),
        unit_test(what_is_left_and_when_it_ends_is_read),
        unit_test(a_header_that_is_no_number_is_not_there),
        unit_test(random_bytes_do_no_harm)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
