
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Requests that no shopper made, or that a shopper does not want counted.
 * Nothing of this allocates memory while requests are served.
 */


#include "ngx_http_klaviyo_noise.h"
#include "ngx_http_klaviyo_regex.h"


#define NGX_HTTP_KLAVIYO_IGNORE_HEADERS                                       \
    (NGX_HTTP_KLAVIYO_IGNORE_PREFETCH|NGX_HTTP_KLAVIYO_IGNORE_GPC             \
     |NGX_HTTP_KLAVIYO_IGNORE_DNT)


/*
 * What a shop's own apps send (okhttp, Dalvik, CFNetwork) and browsers inside
 * of apps (Telegram-Android, [Pinterest/iOS]) are shoppers.
 *
 * Nearly every letter of a browser's text may begin a word of the pattern,
 * which is what it costs, hence three parts: anywhere only what ends robots'
 * names, such as Googlebot (but not Cubot, which makes telephones); names
 * where no letter stands before them, grouped by initials; libraries and tools
 * at the very beginning.
 */

#define NGX_HTTP_KLAVIYO_NOISE_ENDINGS                                        \
    "bot(?<!cubot)s?(?![a-z])|crawl|spider"

#define NGX_HTTP_KLAVIYO_NOISE_NAMES                                          \
    "archiver|bingpreview|c(?:ensys|hatgpt|laude-)|data(?:dog|provider)"      \
    "|f(?:acebook(?:catalog|external)|avicon)|g(?:oogle(?:imageproxy|other"   \
    "|-(?:extended|inspection|read|safety|site))|tmetrix)|headless"           \
    "|im(?:age|g)[ -]?proxy|li(?:ghthouse|nk[ _-]?(?:check|scan))"            \
    "|m(?:ail[ _-]?(?:check|proxy|scan)|e(?:diapartners|ta-external)|onitor)" \
    "|n(?:ewrelic|ikto|map|uclei)|p(?:erplexity|hantomjs|ingdom|laywright"    \
    "|ort[ _-]?scan|re(?:render|view)|tst/|uppeteer)|qualys"                  \
    "|s(?:creaming frog|ecurity[ _-]?scan|elenium|ite(?:24|[ _-]?(?:check"    \
    "|monitor|scan))|lurp|qlmap|tatuscake)|u(?:ptime|rl[ _-]?(?:check|scan))" \
    "|v(?:alidator|ulnerability)|web[ _-]?(?:check|monitor|scan)|zgrab"       \
    "|\\+https?:"

#define NGX_HTTP_KLAVIYO_NOISE_TOOLS                                          \
    "a(?:iohttp|nthropic|pache-httpclient|pachebench|xios)|bun|c(?:olly|url)" \
    "|deno|embedly|f(?:asthttp|araday|eedly)"                                 \
    "|g(?:o-http-client|o-resty|ot|uzzle(?:http)?)"                           \
    "|h(?:ttp(?:client|ie|rb|unit|x)|ttrack|yper)|i(?:framely|nsomnia)"       \
    "|ja(?:karta|va)|k6|l(?:ib(?:curl|www)|ua|wp)|mechanize|n(?:ode|utch)"    \
    "|p(?:erl|hp|ostmanruntime|ycurl|ython)"                                  \
    "|r(?:eqwest|est-client|estsharp|uby)|s(?:crapy|iege|uperagent|ymfony)"   \
    "|typhoeus|undici|w(?:get|hatsapp|inhttp|rk)"

#define NGX_HTTP_KLAVIYO_NOISE_PATTERN                                        \
    NGX_HTTP_KLAVIYO_NOISE_ENDINGS                                            \
    "|(?<![a-z])(?:" NGX_HTTP_KLAVIYO_NOISE_NAMES                             \
    "|^(?:-$|(?:" NGX_HTTP_KLAVIYO_NOISE_TOOLS ")(?:[/:-]| [(-]|$)))"


/*
 * Most of what the browsers themselves write, and nothing that the pattern
 * above could find: what fits need not be searched, which costs as much as all
 * else that is done for an event.  What does not fit may be a browser too.
 */

#define NGX_HTTP_KLAVIYO_NOISE_SYSTEMS                                        \
    "Windows NT [\\d.]+; (?:Win64; x64|WOW64)"                                \
    "|Macintosh; Intel Mac OS X [\\d._]+"                                     \
    "|X11; (?:Ubuntu; )?Linux x86_64|X11; CrOS x86_64 [\\d.]+"                \
    "|Linux; Android [\\d.]+; K|Android [\\d.]+; Mobile"                      \
    "|(?:iPhone; CPU iPhone|iPad; CPU) OS [\\d_]+ like Mac OS X"

#define NGX_HTTP_KLAVIYO_NOISE_PRODUCTS                                       \
    "Chrome|CriOS|Edg|EdgA|EdgiOS|Firefox|FxiOS|Mobile|OPR|Safari"            \
    "|SamsungBrowser|Version"

#define NGX_HTTP_KLAVIYO_NOISE_BROWSER                                        \
    "^Mozilla/5\\.0 \\((?:" NGX_HTTP_KLAVIYO_NOISE_SYSTEMS ")"                \
    "(?:; rv:[\\d.]+)?\\) "                                                   \
    "(?:AppleWebKit/[\\d.]+ \\(KHTML, like Gecko\\)|Gecko/[\\d.]+)"           \
    "(?: (?:" NGX_HTTP_KLAVIYO_NOISE_PRODUCTS ")(?:/[\\d.E]+)?)*\\z"


typedef struct {
    ngx_str_t     name;
    ngx_uint_t    ignore;
    ngx_uint_t  (*says)(ngx_str_t *value);
} ngx_http_klaviyo_noise_header_t;


static ngx_http_klaviyo_regex_t *ngx_http_klaviyo_noise_compile(
    ngx_pool_t *pool, ngx_str_t *pattern, ngx_uint_t flags);
static ngx_uint_t ngx_http_klaviyo_noise_headers(ngx_list_part_t *part);
static ngx_uint_t ngx_http_klaviyo_noise_header(ngx_table_elt_t *h);
static ngx_uint_t ngx_http_klaviyo_noise_purpose(ngx_str_t *value);
static ngx_uint_t ngx_http_klaviyo_noise_present(ngx_str_t *value);
static ngx_uint_t ngx_http_klaviyo_noise_one(ngx_str_t *value);


static ngx_str_t  ngx_http_klaviyo_noise_pattern =
    ngx_string(NGX_HTTP_KLAVIYO_NOISE_PATTERN);

static ngx_str_t  ngx_http_klaviyo_noise_browser =
    ngx_string(NGX_HTTP_KLAVIYO_NOISE_BROWSER);

static ngx_str_t  ngx_http_klaviyo_noise_purposes[] = {
    ngx_string("prefetch"),
    ngx_string("prerender"),
    ngx_string("preview"),
    ngx_null_string
};


static ngx_http_klaviyo_noise_header_t  ngx_http_klaviyo_noise_known[] = {

    { ngx_string("sec-purpose"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_purpose },

    { ngx_string("purpose"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_purpose },

    { ngx_string("x-purpose"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_purpose },

    { ngx_string("x-moz"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_purpose },

    { ngx_string("next-router-prefetch"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_present },

    { ngx_string("next-router-segment-prefetch"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_present },

    { ngx_string("x-middleware-prefetch"),
      NGX_HTTP_KLAVIYO_IGNORE_PREFETCH, ngx_http_klaviyo_noise_present },

    { ngx_string("sec-gpc"),
      NGX_HTTP_KLAVIYO_IGNORE_GPC, ngx_http_klaviyo_noise_one },

    { ngx_string("dnt"),
      NGX_HTTP_KLAVIYO_IGNORE_DNT, ngx_http_klaviyo_noise_one },

    { ngx_null_string, 0, NULL }
};


/*
 * Of no configuration: when a new one is refused, its pool is destroyed, but
 * the master goes on to fork workers with the old one.
 */

static ngx_pool_t                *ngx_http_klaviyo_noise_pool;
static ngx_http_klaviyo_regex_t  *ngx_http_klaviyo_noise_robots;
static ngx_http_klaviyo_regex_t  *ngx_http_klaviyo_noise_browsers;


ngx_int_t
ngx_http_klaviyo_noise_init(ngx_pool_t *pool)
{
    if (ngx_http_klaviyo_noise_robots) {
        return NGX_OK;
    }

    if (ngx_http_klaviyo_noise_pool == NULL) {
        ngx_http_klaviyo_noise_pool = ngx_create_pool(NGX_MIN_POOL_SIZE,
                                                      pool->log);
        if (ngx_http_klaviyo_noise_pool == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_http_klaviyo_noise_browsers =
        ngx_http_klaviyo_noise_compile(pool, &ngx_http_klaviyo_noise_browser,
                                       0);
    if (ngx_http_klaviyo_noise_browsers == NULL) {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_noise_robots =
        ngx_http_klaviyo_noise_compile(pool, &ngx_http_klaviyo_noise_pattern,
                                       NGX_HTTP_KLAVIYO_REGEX_CASELESS);

    return ngx_http_klaviyo_noise_robots ? NGX_OK : NGX_ERROR;
}


static ngx_http_klaviyo_regex_t *
ngx_http_klaviyo_noise_compile(ngx_pool_t *pool, ngx_str_t *pattern,
    ngx_uint_t flags)
{
    u_char                     text[NGX_MAX_CONF_ERRSTR];
    ngx_str_t                  err;
    ngx_http_klaviyo_regex_t  *regex;

    err.len = sizeof(text);
    err.data = text;

    regex = ngx_http_klaviyo_regex_compile(ngx_http_klaviyo_noise_pool,
                                           pattern, flags, &err);
    if (regex == NULL) {
        ngx_log_error(NGX_LOG_EMERG, pool->log, 0,
                      "the pattern of robots' names failed: %V", &err);
    }

    return regex;
}


ngx_int_t
ngx_http_klaviyo_noise(ngx_http_request_t *r, ngx_uint_t ignore,
    ngx_str_t *optout)
{
    ngx_str_t   user_agent;
    ngx_uint_t  said;

    said = 0;

    if (ignore & NGX_HTTP_KLAVIYO_IGNORE_HEADERS) {
        said = ignore
               & ngx_http_klaviyo_noise_headers(&r->headers_in.headers.part);
    }

    if (said & NGX_HTTP_KLAVIYO_IGNORE_PREFETCH) {
        return NGX_HTTP_KLAVIYO_SKIP_PREFETCH;
    }

    if (ignore & NGX_HTTP_KLAVIYO_IGNORE_BOTS) {
        ngx_str_null(&user_agent);

        if (r->headers_in.user_agent) {
            user_agent = r->headers_in.user_agent->value;
        }

        if (ngx_http_klaviyo_noise_robot(&user_agent)) {
            return NGX_HTTP_KLAVIYO_SKIP_BOTS;
        }
    }

    if ((ignore & NGX_HTTP_KLAVIYO_IGNORE_OPTOUT)
        && optout->len == 4
        && ngx_strncmp(optout->data, "true", 4) == 0)
    {
        return NGX_HTTP_KLAVIYO_SKIP_OPTOUT;
    }

    if (said & NGX_HTTP_KLAVIYO_IGNORE_GPC) {
        return NGX_HTTP_KLAVIYO_SKIP_GPC;
    }

    if (said & NGX_HTTP_KLAVIYO_IGNORE_DNT) {
        return NGX_HTTP_KLAVIYO_SKIP_DNT;
    }

    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_klaviyo_noise_signal(ngx_uint_t reason)
{
    switch (reason) {

    case NGX_HTTP_KLAVIYO_SKIP_OPTOUT:
        return NGX_HTTP_KLAVIYO_IGNORE_OPTOUT;

    case NGX_HTTP_KLAVIYO_SKIP_GPC:
        return NGX_HTTP_KLAVIYO_IGNORE_GPC;

    default: /* NGX_HTTP_KLAVIYO_SKIP_DNT */
        return NGX_HTTP_KLAVIYO_IGNORE_DNT;
    }
}


ngx_int_t
ngx_http_klaviyo_noise_reason(ngx_uint_t signals)
{
    if (signals & NGX_HTTP_KLAVIYO_IGNORE_OPTOUT) {
        return NGX_HTTP_KLAVIYO_SKIP_OPTOUT;
    }

    return (signals & NGX_HTTP_KLAVIYO_IGNORE_GPC)
           ? NGX_HTTP_KLAVIYO_SKIP_GPC : NGX_HTTP_KLAVIYO_SKIP_DNT;
}


ngx_uint_t
ngx_http_klaviyo_noise_robot(ngx_str_t *user_agent)
{
    if (user_agent->len == 0) {
        return 1;
    }

    if (ngx_http_klaviyo_regex_exec(ngx_http_klaviyo_noise_browsers,
                                    user_agent, NULL, 0)
        == NGX_OK)
    {
        return 0;
    }

    /* what the limit of matching stops was not written by a browser */

    return ngx_http_klaviyo_regex_exec(ngx_http_klaviyo_noise_robots,
                                       user_agent, NULL, 0)
           != NGX_DECLINED;
}


static ngx_uint_t
ngx_http_klaviyo_noise_headers(ngx_list_part_t *part)
{
    ngx_uint_t        i, said;
    ngx_table_elt_t  *h;

    said = 0;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {

            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        said |= ngx_http_klaviyo_noise_header(&h[i]);
    }

    return said;
}


/* What the header says, as a bit of "ignore", or 0. */

static ngx_uint_t
ngx_http_klaviyo_noise_header(ngx_table_elt_t *h)
{
    ngx_http_klaviyo_noise_header_t  *header;

    for (header = ngx_http_klaviyo_noise_known; header->name.len; header++) {

        if (h->key.len == header->name.len
            && ngx_memcmp(h->lowcase_key, header->name.data,
                          header->name.len)
               == 0)
        {
            return header->says(&h->value) ? header->ignore : 0;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_klaviyo_noise_purpose(ngx_str_t *value)
{
    ngx_str_t  *word;

    for (word = ngx_http_klaviyo_noise_purposes; word->len; word++) {

        if (value->len >= word->len
            && ngx_strlcasestrn(value->data, value->data + value->len,
                                word->data, word->len - 1))
        {
            return 1;
        }
    }

    return 0;
}


/* a number or a path */

static ngx_uint_t
ngx_http_klaviyo_noise_present(ngx_str_t *value)
{
    return value->len && (value->len > 1 || value->data[0] != '0');
}


static ngx_uint_t
ngx_http_klaviyo_noise_one(ngx_str_t *value)
{
    return value->len == 1 && value->data[0] == '1';
}
