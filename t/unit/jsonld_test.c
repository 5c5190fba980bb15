
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * JSON-LD in pages: scripts are found however the page is cut and nothing else
 * is taken for one; the page's product is told from all others.
 */


#include "unit_arena.h"
#include "ngx_http_klaviyo_document.h"


#define SCRIPT(text)                                                          \
    "<script type=\"application/ld+json\">" text "</script>"

#define CONTEXT  "'@context':'https://schema.org/',"

/* pages as C texts in which "'" is a quote, unless they begin with it */
#define assert_page(page, expected)                                           \
    unit_assert_page(state, unit_quotes(state, unit_str(page)),               \
                     unit_quotes(state, unit_str(expected)), __FILE__,        \
                     __LINE__)

#define assert_nothing(page)  assert_page(page, "(null)")

/* the same for what is in one script */
#define assert_tree(text, expected)  assert_page(SCRIPT(text), expected)

/* the product's part of it */
#define assert_product(text, expected)                                        \
    assert_json(unit_product(state, SCRIPT(text)), expected)


static ngx_str_t *
unit_quotes(void **state, ngx_str_t *text)
{
    size_t                     i;
    ngx_str_t                 *copy;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    copy = unit_exact(arena->pool, text);

    for (i = 0; i < copy->len; i++) {

        if (copy->data[i] == '\'') {
            copy->data[i] = '"';
        }
    }

    return copy;
}


/* feeds the page in pieces of that size, each a copy of its own */

static json_t *
unit_page(void **state, ngx_str_t *page, size_t size, size_t limit,
    ngx_uint_t *limited)
{
    size_t                      i;
    ngx_int_t                   rc;
    ngx_str_t                   piece, *copy;
    ngx_http_klaviyo_arena_t   *arena;
    ngx_http_klaviyo_jsonld_t  *jsonld;

    arena = *state;

    jsonld = ngx_http_klaviyo_jsonld_create(arena->pool, limit);
    assert_non_null(jsonld);

    for (i = 0; i < page->len; i += size) {
        piece.data = page->data + i;
        piece.len = ngx_min(size, page->len - i);

        copy = unit_exact(arena->pool, &piece);
        rc = ngx_http_klaviyo_jsonld_feed(jsonld, copy->data,
                                          copy->data + copy->len);
        if (rc != NGX_OK) {
            assert_int_equal(rc, NGX_DECLINED);
            break;
        }
    }

    return ngx_http_klaviyo_jsonld_tree(jsonld, arena, limited);
}


/* however it is cut */

static void
unit_assert_page(void **state, ngx_str_t *page, ngx_str_t *expected,
    const char *file, int line)
{
    size_t       size;
    json_t      *json;
    ngx_uint_t   limited;

    for (size = 1; size < 8; size++) {
        json = unit_page(state, page, (size == 7) ? 100000 : size, 65536,
                         &limited);

        unit_assert_json(json, expected, file, line);
        assert_int_equal(limited, 0);
    }
}


static json_t *
unit_product(void **state, char *page)
{
    json_t                    *json;
    ngx_str_t                  text;
    ngx_uint_t                 limited;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;
    arena->left = NGX_HTTP_KLAVIYO_ARENA_SIZE;

    text.data = (u_char *) page;
    text.len = ngx_strlen(page);

    json = unit_page(state, unit_quotes(state, &text), 1000, 65536, &limited);
    assert_int_equal(limited, 0);

    return json_object_get(json, "Product");
}


static void
test_a_script_is_found(void **state)
{
    assert_page("<!DOCTYPE html><html><head><title>x</title>"
                SCRIPT("{'@type':'A'}") "</head><body></body></html>",
                "{'A':{'@type':'A'}}");
    assert_page("<SCRIPT\n id=x TYPE = Application/LD+JSON defer >"
                "{'@type':'A'}</Script >", "{'A':{'@type':'A'}}");
    assert_page("<script type=application/ld+json>{'@type':'A'}</script>",
                "{'A':{'@type':'A'}}");
    assert_page("<script type='application/ld+json; charset=utf-8'/>"
                "{'@type':'A'}</script>", "{'A':{'@type':'A'}}");
    assert_page("<script data-x=\">\" id type=\" application/ld&#x2B;json \">"
                "{'@type':'A'}</script/x='>'>"
                SCRIPT("{'@type':'B'}"),
                "{'A':{'@type':'A'},'B':{'@type':'B'}}");
    assert_page("<script type='application/ld+json'type=text/plain>"
                "{'@type':'A'}</script>", "{'A':{'@type':'A'}}");
    assert_page("a < b <3 <<p><script/type='application/ld+json'>"
                "{'@type':'A</scrip </ script><!-- <','x':'</scripts>'}"
                "</script>",
                "{'A</scrip </ script><!-- <':{'@type':"
                "'A</scrip </ script><!-- <','x':'</scripts>'}}");
}


static void
test_other_elements_are_no_scripts(void **state)
{
    assert_nothing("");
    assert_nothing("<script>{'@type':'A'}</script>");
    assert_nothing("<script type=text/javascript>{'@type':'A'}</script>");
    assert_nothing("<script type=application/json>{'@type':'A'}</script>");
    assert_nothing("<script type=application/ld+jsonx>{'@type':'A'}</script>");
    assert_nothing("<script type>{'@type':'A'}</script>");
    assert_nothing("<script type=>{'@type':'A'}</script>");
    assert_nothing("<script data-type='application/ld+json'>{'@type':'A'}"
                   "</script>");
    assert_nothing("<scripts type='application/ld+json'>{'@type':'A'}"
                   "</scripts>");
    assert_nothing("<div type='application/ld+json'>{'@type':'A'}</div>");
    assert_nothing("</script type='application/ld+json'>{'@type':'A'}"
                   "</script>");
    assert_nothing("< script type='application/ld+json'>{'@type':'A'}"
                   "</script>");
    assert_nothing("<script type='application/ld+json'>{'@type':'A'}");
    assert_nothing("<script type='application/ld+json'>{'@type':'A'}</script");
    assert_nothing("<script type='application/ld+json");
}


static void
test_scripts_in_texts_are_no_scripts(void **state)
{
    assert_nothing("<!-- " SCRIPT("{'@type':'A'}") " -->");
    assert_nothing("<!-- > -- > ->" SCRIPT("{'@type':'A'}"));
    assert_nothing("<script>var a = '<!--" "<script type=application/ld+json>"
                   "{}';");
    assert_nothing("<style>" SCRIPT("{'@type':'A'}") "</style>");
    assert_nothing("<title>" SCRIPT("{'@type':'A'}") "</title>");
    assert_nothing("<TextArea rows=2>" SCRIPT("{'@type':'A'}")
                   "</textarea>");
    assert_nothing("<iframe>" SCRIPT("{'@type':'A'}") "</iframe>");
    assert_nothing("<p title='" "<script type=application/ld+json>"
                   "{}</script>'>");
    assert_nothing("<![CDATA[<script type=application/ld+json");
}


static void
test_what_follows_a_text_is_read(void **state)
{
    assert_page("<!-- x -->" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<!-->" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<!--->" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<!-- x --!>" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<!--!-->" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<!--[if !IE]><!-->" SCRIPT("{'@type':'A'}") "<!--<![endif]-->",
                "{'A':{'@type':'A'}}");
    assert_page("<!----->" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<!-x>" SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<?xml x?></ x></>" SCRIPT("{'@type':'A'}"),
                "{'A':{'@type':'A'}}");
    assert_page("<style></styl></style\t>" SCRIPT("{'@type':'A'}"),
                "{'A':{'@type':'A'}}");
    assert_page("<svg><title/><style a=b /></svg>" SCRIPT("{'@type':'A'}"),
                "{'A':{'@type':'A'}}");
    assert_page("<averyveryverylongname averyveryverylongname=x>"
                SCRIPT("{'@type':'A'}"), "{'A':{'@type':'A'}}");
    assert_page("<p a=b/><p =x><p a = 'x'b='y'>" SCRIPT("{'@type':'A'}"),
                "{'A':{'@type':'A'}}");
}


static void
test_wrappers_are_taken_off(void **state)
{
    assert_tree("\n//<![CDATA[\n{'@type':'A'}\n//]]>\n", "{'A':{'@type':'A'}}");
    assert_tree("/*<![CDATA[*/[{'@type':'A'}]/*]]>*/", "{'A':{'@type':'A'}}");
    assert_tree("<![CDATA[{'@type':'A'};]]>", "{'A':{'@type':'A'}}");
    assert_tree("<!-- {'@type':'A'} -->", "{'A':{'@type':'A'}}");
    assert_tree("\xEF\xBB\xBF{'@type':'A'}", "{'A':{'@type':'A'}}");
    assert_nothing(SCRIPT("") SCRIPT(";") SCRIPT("//") SCRIPT("'@type'")
                   SCRIPT("{'@type':'A'") SCRIPT("[]") SCRIPT("{}"));
    assert_page(SCRIPT("{'@type':'A'") SCRIPT("{'@type':'B'}"),
                "{'B':{'@type':'B'}}");
}


static void
test_names_become_short(void **state)
{
    assert_tree("{'@context':{'schema':'http://schema.org/'},"
                "'@type':'schema:A','schema:name':'x',"
                "'http://schema.org/url':'https://schema.org/a/b',"
                "'https://www.schema.org/is':'http://schema.org/InStock',"
                "'name':'y','b':{'@value':'z','@language':'en'},"
                "'c':[{'@value':1}],'schema:':1,'http://schema.org/':2,"
                "'https://x/':'schema:a b'}",
                "{'A':{'@context':{'schema':'http://schema.org/'},"
                "'@type':'A','name':'y','b':'z','c':[1],'schema:':1,"
                "'http://schema.org/':2,'https://x/':'schema:a b',"
                "'url':'https://schema.org/a/b','is':'InStock'}}");
    assert_tree("{'@type':['http://schema.org/A','B','A',1,'']}",
                "{'A':{'@type':['A','B','A',1,'']},"
                "'B':{'@type':['A','B','A',1,'']}}");
}


static void
test_the_first_of_each_type_counts(void **state)
{
    assert_tree("{" CONTEXT "'@graph':[{'@type':'A','n':1},"
                "[{'@type':'A','n':2}],{'@type':'B'},{'n':3},4]}",
                "{'A':{'@type':'A','n':1},'B':{'@type':'B'}}");
    assert_page(SCRIPT("[{'@type':'A','n':1},{'@type':'A','n':2}]")
                SCRIPT("{'@type':'A','n':3}") SCRIPT("{'@type':'C'}"),
                "{'A':{'@type':'A','n':1},'C':{'@type':'C'}}");
    assert_tree("{'@type':'WebPage','@graph':{'@type':'A'}}",
                "{'A':{'@type':'A'},'WebPage':{'@type':'WebPage'}}");
}


static void
test_references_are_resolved(void **state)
{
    assert_tree("{'@graph':[{'@type':'A','@id':'#a','b':{'@id':'#b'}},"
                "{'@type':'B','@id':'#b','c':[{'@id':'#c','@type':'C'},"
                "{'@id':'#x'}]},{'@type':'C','@id':'#c','n':1}]}",
                "{'A':{'@type':'A','@id':'#a','b':{'@type':'B','@id':'#b',"
                "'c':[{'@type':'C','@id':'#c','n':1},{'@id':'#x'}]}},"
                "'B':{'@type':'B','@id':'#b','c':[{'@type':'C','@id':'#c',"
                "'n':1},{'@id':'#x'}]},"
                "'C':{'@type':'C','@id':'#c','n':1}}");
}


static void
test_cycles_are_cut(void **state)
{
    assert_tree("{'@graph':[{'@type':'A','@id':'#a','a':{'@id':'#a'},"
                "'b':{'@id':'#b'}},{'@type':'B','@id':'#b',"
                "'x':[{'a':{'@id':'#a'}}]}]}",
                "{'A':{'@type':'A','@id':'#a','a':{'@id':'#a'},"
                "'b':{'@type':'B','@id':'#b','x':[{'a':{'@id':'#a'}}]}},"
                "'B':{'@type':'B','@id':'#b','x':[{'a':{'@id':'#a'}}]}}");

    /* nor is what is too far away */

    assert_tree("{'@type':'A','mainEntity':{'@type':'B','mainEntity':"
                "[{'@type':'C','mainEntity':{'@type':'D','mainEntity':"
                "{'@type':'E'}}},{'@type':'F'}]}}",
                "{'A':{'@type':'A','mainEntity':{'@type':'B','mainEntity':"
                "[{'@type':'C','mainEntity':{'@type':'D','mainEntity':"
                "{'@type':'E'}}},{'@type':'F'}]}},"
                "'B':{'@type':'B','mainEntity':"
                "[{'@type':'C','mainEntity':{'@type':'D','mainEntity':"
                "{'@type':'E'}}},{'@type':'F'}]},"
                "'C':{'@type':'C','mainEntity':{'@type':'D','mainEntity':"
                "{'@type':'E'}}},"
                "'D':{'@type':'D','mainEntity':{'@type':'E'}}}");

    /* what is not there is not about the page either */

    assert_tree("{'@type':'A','mainEntity':{'@type':'B','@id':'#b'}}",
                "{'A':{'@type':'A','mainEntity':{'@type':'B','@id':'#b'}}}");
}


static void
test_a_product_is_found(void **state)
{
    assert_product("{'@type':'Product','name':'x'}",
                   "{\"@type\":\"Product\",\"name\":\"x\"}");
    assert_product("{'@type':['Product','Vehicle'],'name':'x'}",
                   "{\"@type\":[\"Product\",\"Vehicle\"],\"name\":\"x\"}");
    assert_product("{'@type':'ItemPage','mainEntity':{'@type':'Product',"
                   "'name':'x'}}",
                   "{\"@type\":\"Product\",\"name\":\"x\"}");
    assert_product("{'@type':'Review','itemReviewed':{'@type':'Product',"
                   "'name':'x'}}",
                   "{\"@type\":\"Product\",\"name\":\"x\"}");
    assert_product("[{'@type':'Product','name':'y','sku':'2'},"
                   "{'@type':'WebPage','mainEntity':{'@id':'#p'}},"
                   "{'@type':'Product','@id':'#p','name':'x'}]",
                   "{\"@type\":\"Product\",\"@id\":\"#p\",\"name\":\"x\"}");
    assert_product("[{'@type':'Product','name':'x','sku':'1','n':1},"
                   "{'@type':'Product','name':'X','sku':'1','n':2}]",
                   "{\"@type\":\"Product\",\"name\":\"x\",\"sku\":\"1\","
                   "\"n\":1}");
}


static void
test_products_of_lists_are_not_the_page_s(void **state)
{
    assert_null(unit_product(state, SCRIPT("{'@type':'ItemList',"
                             "'itemListElement':[{'@type':'ListItem','item':"
                             "{'@type':'Product','name':'x'}}]}")));
    assert_null(unit_product(state, SCRIPT("[{'@type':'ItemList',"
                             "'itemListElement':[{'@type':'ListItem','item':"
                             "{'@id':'#x'}}]},{'@type':'Product','@id':'#x'}"
                             "]")));
    assert_null(unit_product(state, SCRIPT("{'@type':'CollectionPage',"
                             "'mainEntity':{'@type':'ItemList',"
                             "'itemListElement':{'@type':'Product'}},"
                             "'mentions':{'@type':'Product'}}")));
    assert_null(unit_product(state, SCRIPT("[{'@type':'Product','name':'x'},"
                             "{'@type':'Product','name':'y'}]")));
    assert_product("[{'@type':'Product','@id':'#r','name':'y'},"
                   "{'@type':'Product','name':'x','isRelatedTo':"
                   "[{'@id':'#r'},{'@type':'Product','name':'z'}]}]",
                   "{\"@type\":\"Product\",\"name\":\"x\",\"isRelatedTo\":"
                   "[{\"@type\":\"Product\",\"@id\":\"#r\",\"name\":\"y\"},"
                   "{\"@type\":\"Product\",\"name\":\"z\"}]}");
    assert_product("[{'@type':'Product','name':'x'},{'@type':'BreadcrumbList',"
                   "'itemListElement':[{'@type':'ListItem','item':"
                   "{'@type':'Product','name':'y'}}]}]",
                   "{\"@type\":\"Product\",\"name\":\"x\"}");
}


static void
test_offers_become_one(void **state)
{
    assert_product("{'@type':'Product','offers':{'@type':'Offer',"
                   "'price':'19.99','priceCurrency':'EUR',"
                   "'availability':'https://schema.org/InStock'}}",
                   "{\"@type\":\"Product\",\"offers\":{\"@type\":\"Offer\","
                   "\"price\":\"19.99\",\"priceCurrency\":\"EUR\","
                   "\"availability\":\"InStock\"}}");
    assert_product("{'@type':'Product','offers':[{'price':5}]}",
                   "{\"@type\":\"Product\",\"offers\":{\"price\":5}}");
    assert_product("{'@type':'Product','offers':{'@type':'AggregateOffer',"
                   "'lowPrice':5,'highPrice':9,'priceCurrency':'USD'}}",
                   "{\"@type\":\"Product\",\"offers\":"
                   "{\"@type\":\"AggregateOffer\",\"lowPrice\":5,"
                   "\"highPrice\":9,\"priceCurrency\":\"USD\",\"price\":5}}");
    assert_product("{'@type':'Product','offers':{'@type':'AggregateOffer',"
                   "'offers':[{'price':'9','priceCurrency':'USD'},"
                   "{'price':'10','priceCurrency':'USD',"
                   "'availability':'InStock'}]}}",
                   "{\"@type\":\"Product\",\"offers\":"
                   "{\"@type\":\"AggregateOffer\",\"offers\":["
                   "{\"price\":\"9\",\"priceCurrency\":\"USD\"},"
                   "{\"price\":\"10\",\"priceCurrency\":\"USD\","
                   "\"availability\":\"InStock\"}],\"lowPrice\":\"9\","
                   "\"highPrice\":\"10\",\"price\":\"9\","
                   "\"priceCurrency\":\"USD\",\"availability\":\"InStock\"}}");
    assert_product("{'@type':'Product','offers':[{'price':30,'sku':'a',"
                   "'availability':'OutOfStock'},{'price':29.5,'sku':'b',"
                   "'availability':'InStock'}]}",
                   "{\"@type\":\"Product\",\"offers\":"
                   "{\"@type\":\"AggregateOffer\",\"offers\":["
                   "{\"price\":30,\"sku\":\"a\","
                   "\"availability\":\"OutOfStock\"},"
                   "{\"price\":29.5,\"sku\":\"b\","
                   "\"availability\":\"InStock\"}],\"lowPrice\":29.5,"
                   "\"highPrice\":30,\"price\":29.5,"
                   "\"availability\":\"InStock\"}}");
    assert_product("{'@type':'Product','offers':{'priceSpecification':["
                   "{'price':9,'priceType':'ListPrice'},"
                   "{'price':7,'priceCurrency':'EUR'}]}}",
                   "{\"@type\":\"Product\",\"offers\":{"
                   "\"priceSpecification\":[{\"price\":9,"
                   "\"priceType\":\"ListPrice\"},{\"price\":7,"
                   "\"priceCurrency\":\"EUR\"}],\"price\":7,"
                   "\"priceCurrency\":\"EUR\"}}");
}


static void
test_odd_offers_do_no_harm(void **state)
{
    assert_product("{'@type':'Product','offers':'x'}",
                   "{\"@type\":\"Product\",\"offers\":\"x\"}");
    assert_product("{'@type':'Product','offers':[]}",
                   "{\"@type\":\"Product\",\"offers\":[]}");
    assert_product("{'@type':'Product','offers':[[[[{'price':1}]]]]}",
                   "{\"@type\":\"Product\",\"offers\":"
                   "{\"@type\":\"AggregateOffer\",\"offers\":"
                   "[[[{\"price\":1}]]],\"price\":1}}");
    assert_product("{'@type':'Product','offers':[{'price':'1,5'},"
                   "{'price':[]},{}]}",
                   "{\"@type\":\"Product\",\"offers\":"
                   "{\"@type\":\"AggregateOffer\",\"offers\":"
                   "[{\"price\":\"1,5\"},{\"price\":[]},{}],"
                   "\"price\":\"1,5\"}}");
    assert_product("{'@type':'Product','offers':["
                   "{'price':9,'priceCurrency':'USD'},"
                   "{'price':8,'priceCurrency':'EUR'}]}",
                   "{\"@type\":\"Product\",\"offers\":"
                   "{\"@type\":\"AggregateOffer\",\"offers\":["
                   "{\"price\":9,\"priceCurrency\":\"USD\"},"
                   "{\"price\":8,\"priceCurrency\":\"EUR\"}],"
                   "\"price\":9,\"priceCurrency\":\"USD\"}}");
}


static void
test_a_group_shows_its_variants(void **state)
{
    /* the only one is selected */

    assert_product("{'@type':'ProductGroup','name':'g','brand':'b',"
                   "'hasVariant':[{'@type':'Product','name':'v','sku':'1',"
                   "'offers':[{'price':5}]}]}",
                   "{\"@type\":\"Product\",\"name\":\"v\",\"brand\":\"b\","
                   "\"hasVariant\":[{\"@type\":\"Product\",\"name\":\"v\","
                   "\"sku\":\"1\",\"offers\":{\"price\":5}}],"
                   "\"sku\":\"1\",\"offers\":{\"price\":5}}");
    assert_product("[{'@type':'Product','sku':'1','isVariantOf':"
                   "{'@id':'#g'}},{'@type':'ProductGroup','@id':'#g',"
                   "'name':'g'}]",
                   "{\"@type\":\"Product\",\"@id\":\"#g\",\"name\":\"g\","
                   "\"sku\":\"1\"}");

    /* of several none is */

    assert_product("[{'@type':'Product','@id':'#1','sku':'1','isVariantOf':"
                   "{'@id':'#g'},'offers':{'price':6}},"
                   "{'@type':'ProductGroup','@id':'#g',"
                   "'name':'g','hasVariant':[{'@id':'#1'},{'@type':'Product',"
                   "'sku':'2','offers':{'price':5}}]}]",
                   "{\"@type\":\"Product\",\"@id\":\"#g\",\"name\":\"g\","
                   "\"hasVariant\":[{\"@type\":\"Product\",\"@id\":\"#1\","
                   "\"sku\":\"1\",\"isVariantOf\":{\"@id\":\"#g\"},"
                   "\"offers\":{\"price\":6}},{\"@type\":\"Product\","
                   "\"sku\":\"2\",\"offers\":{\"price\":5}}],"
                   "\"offers\":{\"@type\":\"AggregateOffer\",\"offers\":["
                   "{\"price\":6},{\"price\":5}],\"lowPrice\":5,"
                   "\"highPrice\":6,\"price\":5}}");
    assert_product("[{'@type':'ProductGroup','productGroupID':'7','name':'g'},"
                   "{'@type':'Product','sku':'1','inProductGroupWithID':'7'},"
                   "{'@type':'Product','sku':'2','inProductGroupWithID':'7'}]",
                   "{\"@type\":\"Product\",\"productGroupID\":\"7\","
                   "\"name\":\"g\",\"offers\":[],\"hasVariant\":["
                   "{\"@type\":\"Product\",\"sku\":\"1\","
                   "\"inProductGroupWithID\":\"7\"},{\"@type\":\"Product\","
                   "\"sku\":\"2\",\"inProductGroupWithID\":\"7\"}]}");
    assert_product("{'@type':'ProductGroup','name':'g','hasVariant':'x'}",
                   "{\"@type\":\"Product\",\"name\":\"g\","
                   "\"hasVariant\":\"x\"}");
    assert_product("{'@type':'Product','sku':'1','isVariantOf':{'@type':"
                   "'ProductGroup','name':'g'}}",
                   "{\"@type\":\"Product\",\"name\":\"g\",\"sku\":\"1\"}");
}


/* "head", "n" times "part" in which "%" is the number and "^" one more */

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

    return unit_quotes(state, str);
}


static void
test_references_can_not_be_multiplied(void **state)
{
    char        *dump;
    json_t      *json;
    ngx_str_t   *page;
    ngx_uint_t   i, limited;

    for (i = 0; i < 2; i++) {

        /* each refers to the next one, or to the one before */

        page = unit_many(state, "<script type=application/ld+json>"
                         "[{'@type':'A','@id':'#0','n':1},",
                         i ? "{'@type':'A%','@id':'#%','x':[{'@id':'#^'},"
                             "{'@id':'#^'},{'@id':'#^'}]},"
                           : "{'@type':'A%','@id':'#^','x':[{'@id':'#%'},"
                             "{'@id':'#%'},{'@id':'#%'}]},",
                         40, "{'@type':'A'}]</script>");

        json = unit_page(state, page, 1000, 65536, &limited);
        assert_non_null(json);
        assert_int_equal(limited, 1);

        dump = json_dumps(json, JSON_COMPACT);
        assert_true(ngx_strlen(dump) < 1024 * 1024);
        free(dump);
    }
}


static void
test_limits_are_told(void **state)
{
    size_t                     left;
    json_t                    *json;
    ngx_str_t                 *page;
    ngx_uint_t                 limited;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    page = unit_quotes(state, unit_str(SCRIPT("{'@type':'A'}")
                                       SCRIPT("{'@type':'B'}")));

    json = unit_page(state, page, 1, 40, &limited);
    assert_json(json, "{\"A\":{\"@type\":\"A\"},\"B\":{\"@type\":\"B\"}}");
    assert_int_equal(limited, 0);

    json = unit_page(state, page, 1, 25, &limited);
    assert_json(json, "{\"A\":{\"@type\":\"A\"}}");
    assert_int_equal(limited, 1);

    assert_null(unit_page(state, page, 1000, 0, &limited));
    assert_int_equal(limited, 1);

    page = unit_many(state, "", SCRIPT("{'@type':'A%'}"), 128, "");
    json = unit_page(state, page, 1000, 65536, &limited);
    assert_int_equal(json_object_size(json), 128);
    assert_int_equal(limited, 0);

    page = unit_many(state, "", SCRIPT("{'@type':'A%'}"), 129, "");
    json = unit_page(state, page, 1000, 65536, &limited);
    assert_int_equal(json_object_size(json), 128);
    assert_int_equal(limited, 1);

    page = unit_many(state, "<script type=application/ld+json>[",
                     "{'@type':'A%'},", 513, "1]</script>");
    json = unit_page(state, page, 1000, 65536, &limited);
    assert_int_equal(json_object_size(json), 512);
    assert_int_equal(limited, 1);

    page = unit_many(state, "<script type=application/ld+json>[",
                     "{'@type':'Product','name':'x','n':%},", 128,
                     "1]</script>");
    json = unit_page(state, page, 1000, 65536, &limited);
    assert_json(json, "{\"Product\":{\"@type\":\"Product\","
                      "\"name\":\"x\",\"n\":0}}");
    assert_int_equal(limited, 0);

    page = unit_many(state, "<script type=application/ld+json>[",
                     "{'@type':'Product','name':'x','n':%},", 129,
                     "1]</script>");
    json = unit_page(state, page, 1000, 65536, &limited);
    assert_int_equal(limited, 1);

    page = unit_many(state, "<script type=application/ld+json>{'@type':[",
                     "'A%',", 17, "'A']}</script>");
    json = unit_page(state, page, 1000, 65536, &limited);
    assert_int_equal(json_object_size(json), 16);
    assert_int_equal(limited, 0);

    page = unit_quotes(state, unit_str(SCRIPT("[{'@type':'Product',"
                       "'@id':'#p','offers':[{'price':1},{'price':2}],"
                       "'isVariantOf':{'@type':'ProductGroup','hasVariant':"
                       "[{'@id':'#p'}]}},{'@type':'A','mainEntity':"
                       "{'@id':'#p'}}]")));

    for (left = 0; left < 60000; left += 24) {
        arena->left = left;
        arena->limits = 0;

        (void) unit_page(state, page, 1000, 65536, &limited);

        assert_true(limited == (arena->limits > 0));
    }

    assert_int_equal(limited, 0);
}


static void
test_hostile_scripts_do_no_harm(void **state)
{
    size_t                     i;
    u_char                    *p;
    ngx_str_t                 *page;
    ngx_uint_t                 limited;
    ngx_http_klaviyo_arena_t  *arena;

    arena = *state;

    assert_nothing(SCRIPT("{'@type':1,'@id':[],'@graph':'x'}"));
    assert_nothing(SCRIPT("{'@type':{'@value':{}}}"));
    assert_nothing(SCRIPT("{'@type':'\\u0000','@graph':[[[[[[{"
                          "'@type':'A'}]]]]]]}") "\0<\0>");
    assert_tree("{'@type':'A','@id':'#\\u0000','x':{'@id':'#\\u0000'}}",
                "{'A':{'@type':'A','@id':'#\\u0000','x':{'@id':'#\\u0000'}}}");
    assert_tree("{'@type':'A\xFF','@type':'B'}", "{'B':{'@type':'B'}}");

    page = unit_fill(arena->pool, '[', 20000);
    p = ngx_cpymem(page->data, "<script type=application/ld+json>", 33);
    ngx_memcpy(page->data + page->len - 9, "</script>", 9);
    assert_null(unit_page(state, page, 100, 65536, &limited));
    assert_int_equal(limited, 1);

    for (i = 0; p < page->data + page->len - 9; i++) {
        *p++ = "<!-/ 'script=>\""[(i * 7 + i / 15) % 15];
    }

    (void) unit_page(state, page, 100, 65536, &limited);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_arena_test(test_a_script_is_found),
        unit_arena_test(test_other_elements_are_no_scripts),
        unit_arena_test(test_scripts_in_texts_are_no_scripts),
        unit_arena_test(test_what_follows_a_text_is_read),
        unit_arena_test(test_wrappers_are_taken_off),
        unit_arena_test(test_names_become_short),
        unit_arena_test(test_the_first_of_each_type_counts),
        unit_arena_test(test_references_are_resolved),
        unit_arena_test(test_cycles_are_cut),
        unit_arena_test(test_a_product_is_found),
        unit_arena_test(test_products_of_lists_are_not_the_page_s),
        unit_arena_test(test_offers_become_one),
        unit_arena_test(test_odd_offers_do_no_harm),
        unit_arena_test(test_a_group_shows_its_variants),
        unit_arena_test(test_references_can_not_be_multiplied),
        unit_arena_test(test_limits_are_told),
        unit_arena_test(test_hostile_scripts_do_no_harm)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
