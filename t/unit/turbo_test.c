
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * turbo-stream: what React Router's client would see, as far as JSON can say
 * it; nothing that refers to itself or to too much.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_document.h"


/* in which "'" is a quote */
#define assert_turbo(text, expected)                                          \
    assert_json(unit_turbo(state, unit_str(text)), expected)

#define assert_nothing(text)                                                  \
    assert_null(unit_turbo(state, unit_str(text)))


static json_t *
unit_turbo(void **state, ngx_str_t *text)
{
    size_t                     i;
    ngx_str_t                 *copy, type;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    copy = unit_exact(arena->pool, text);

    for (i = 0; i < copy->len; i++) {

        if (copy->data[i] == '\'') {
            copy->data[i] = '"';
        }
    }

    ngx_str_set(&type, "text/x-script; charset=utf-8");

    return ngx_http_klaviyo_document_body(arena, &type, copy, NULL, 0);
}


static void
test_references_are_resolved(void **state)
{
    assert_turbo("[{'_1':2},'routes/products.$handle',{'_3':4},'data',"
                 "{'_5':6,'_7':8},'title','Linen Shirt','variants',[9,11],"
                 "{'_10':12},'id',{'_10':13},'v1',43]\n",
                 "{\"routes/products.$handle\":{\"data\":{"
                 "\"title\":\"Linen Shirt\",\"variants\":["
                 "{\"id\":\"v1\"},{\"id\":43}]}}}");
    assert_turbo("[[1,1,2],'a',{}]", "[\"a\",\"a\",{}]");
    assert_turbo("[[]]", "[]");
    assert_turbo("\n[[1],true]\r\n\n", "[true]");
}


static void
test_types_are_told(void **state)
{
    assert_turbo("[[1,2,3,4,5,6,7,8,9],['D',1784801730123],['D',-1],"
                 "['D',1784801730000],['U','https://x/'],['B','12'],"
                 "['S',10,11],['M',10,11,11,10,5,1],['N',{'_10':11}],"
                 "['Z',10],'a',7]",
                 "[\"2026-07-23T10:15:30.123Z\","
                 "\"1969-12-31T23:59:59.999Z\",\"2026-07-23T10:15:30Z\","
                 "\"https://x/\",12,[\"a\",7],{\"a\":7,\"7\":\"a\","
                 "\"12\":\"2026-07-23T10:15:30.123Z\"},{\"a\":7},\"a\"]");
    assert_turbo("[{'_1':2},'r',['SingleFetchRedirect',3],{'_4':5},"
                 "'redirect','/cart']",
                 "{\"r\":{\"redirect\":\"/cart\"}}");
    assert_turbo("[[1],['SingleFetchClassInstance',2],{'_3':3},'a']",
                 "[{\"a\":\"a\"}]");
}


static void
test_what_json_can_not_say_is_missing(void **state)
{
    assert_turbo("[[-1,-2,-3,-4,-5,-6,-7,-8,99,1.5,'x',null]]",
                 "[null,null,null,0,null,null,null,null,null,null,null,null]");
    assert_turbo("[{'_1':-7,'_2':-5,'_3':-2,'_4':4,'4':4,'_x':4,'_99':4,"
                 "'_':4,'_5':4,'_6':4},'a','b','c','d',[],['D',1]]",
                 "{\"b\":null,\"d\":\"d\"}");
    assert_turbo("[[1,2,3,4,5,6,7,8,9,10,11,12],['E','x'],['R','a','g'],"
                 "['Y','a'],['D','invalid'],['D',9e99],"
                 "['D',9223372036854775807],['B','x'],"
                 "['B','9223372036854775808'],['U',1],['N',1],[''],"
                 "['SanitizedError',1]]",
                 "[null,null,null,null,null,null,null,null,null,null,null,"
                 "null]");
}


static void
test_promises_are_what_later_lines_say(void **state)
{
    assert_turbo("[{'_1':2,'_3':4,'_5':6},'a',['P',2],'b',['P',4],'c',"
                 "['P',6]]\nP2:[{'_8':1},'x']\nP4:-5\nP6:[['Z',1]]\n",
                 "{\"a\":{\"x\":\"a\"},\"b\":null,\"c\":\"a\"}");
    assert_turbo("[[1,2],['P',1],['P',2]]\nP1:[['P',3]]\n"
                 "E2:[['E','x']]\nP3:['y']\n",
                 "[\"y\",null]");

    /* a number may refer to what comes later, too */

    assert_turbo("[[1,2],['P',1],5]\nP1:[[2,4],7]\n", "[[5,7],5]");
}


static void
test_cut_streams_give_less(void **state)
{
    assert_turbo("[[1],['P',1]]", "[null]");
    assert_turbo("[[1],['P',1]]\nP1:[1", "[null]");
    assert_turbo("[[1,2],['P',1],['P',2]]\nP1:[1]\nx\nP2:[1]", "[1,null]");
    assert_turbo("[[1,2],['P',99],['P',-1]]\nP99:[1]\nP:[1]\nP-1:[1]",
                 "[null,null]");
    assert_turbo("[[1,2],['P'],['P','1']]\nP1:[1]", "[null,null]");
    assert_nothing("");
    assert_nothing("\n");
    assert_nothing("[");
    assert_nothing("[]");
    assert_nothing("-5\n");
    assert_nothing("['a']");
    assert_nothing("{'_1':2}");
    assert_nothing("P1:[1]\n");
}


static void
test_cycles_are_cut(void **state)
{
    assert_turbo("[{'_1':0,'_2':3},'self','list',[0,3,4],{'_1':3}]",
                 "{\"list\":[null,null,{}]}");
    assert_turbo("[[1,2],['Z',2],['Z',1]]", "[null,null]");
    assert_turbo("[[1],['P',1]]\nP1:[['P',1]]", "[null]");
    assert_turbo("[[1],['P',1]]\nP1:1", "[null]");
}


/* "head", then "n" times "part", "%" the number and "^" the next one */

static ngx_str_t *
unit_many(void **state, char *head, char *part, ngx_uint_t n, char *tail)
{
    char                      *s;
    u_char                    *p;
    ngx_str_t                 *str;
    ngx_uint_t                 i;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    str = unit_fill(arena->pool, 0, ngx_strlen(head) + ngx_strlen(tail)
                                    + n * (ngx_strlen(part) + 32));
    p = ngx_sprintf(str->data, "%s", head);

    for (i = 0; i < n; i++) {
        for (s = part; *s; s++) {

            if (*s == '%' || *s == '^') {
                p = ngx_sprintf(p, "%ui", (*s == '%') ? i : i + 1);

            } else {
                *p++ = *s;
            }
        }
    }

    p = ngx_sprintf(p, "%s", tail);
    str->len = p - str->data;

    return str;
}


static void
test_references_can_not_be_multiplied(void **state)
{
    ngx_str_t                 *text;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    text = unit_many(state, "[", "[^,^],", 12, "1]");
    assert_non_null(unit_turbo(state, text));
    assert_int_equal(arena->limits, 0);

    text = unit_many(state, "[", "[^,^],", 40, "1]");
    assert_null(unit_turbo(state, text));
    assert_true(arena->limits > 0);
}


static void
test_streams_are_bounded(void **state)
{
    size_t                     left;
    json_t                    *json;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_non_null(unit_turbo(state, unit_many(state, "[", "[^],", 63,
                                                "1]")));
    assert_int_equal(arena->limits, 0);
    assert_null(unit_turbo(state, unit_many(state, "[", "[^],", 64, "1]")));
    assert_int_equal(arena->limits, 1);

    assert_non_null(unit_turbo(state, unit_many(state, "[[]]\n", "P%:[1]\n",
                                                255, "")));
    assert_int_equal(arena->limits, 1);
    assert_null(unit_turbo(state, unit_many(state, "[[]]\n", "P%:[1]\n",
                                            256, "")));
    assert_int_equal(arena->limits, 2);

    /* all or nothing, however much is left */

    for (left = 0; left < 16000; left += 24) {
        arena->left = left;
        arena->limits = 0;

        json = unit_turbo(state, unit_str("[{'_1':2,'_3':4},'a',['D',1],'b',"
                                          "['M',1,5],[['P',5],['B','1']]]\n"
                                          "P5:[1]\n"));

        assert_true((json == NULL) == (arena->limits > 0));
    }

    assert_non_null(json);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_references_are_resolved),
        unit_arena_test(test_types_are_told),
        unit_arena_test(test_what_json_can_not_say_is_missing),
        unit_arena_test(test_promises_are_what_later_lines_say),
        unit_arena_test(test_cut_streams_give_less),
        unit_arena_test(test_cycles_are_cut),
        unit_arena_test(test_references_can_not_be_multiplied),
        unit_arena_test(test_streams_are_bounded)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
