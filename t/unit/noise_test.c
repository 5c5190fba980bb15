
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Noise: prefetches, robots and opt-outs are told from shoppers.
 */


#include "unit.h"
#include "ngx_http_klaviyo_noise.h"


#define BROWSER                                                               \
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 "       \
    "Firefox/127.0"

#define ALL  NGX_HTTP_KLAVIYO_IGNORE_ALL

#define assert_noise(r, ignore, expected)                                     \
    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, unit_str("")), expected)


static char  *unit_shoppers[] = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 "
        "Edg/126.0.2592.87",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
        "Safari/605.1.15",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 "
        "Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
        "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.108 "
        "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/323.0.647062479 "
        "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, "
        "like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 "
        "(KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile "
        "Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/98.0.4758.101 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; CUBOT_KINGKONG) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.0.0 Mobile "
        "Safari/537.36",
    "Mozilla/5.0 (Linux; Android 7.0; CUBOT_MANITO Build/NRD90M; wv) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/81.0.4044.117 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram "
        "337.0.2.24.92 (iPhone14,5; iOS 17_5_1; de_DE; de; scale=3.00; "
        "1170x2532; 614064327)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F90 "
        "[FBAN/FBIOS;FBAV/470.0.0.37.97;FBBV/614112233;FBDV/iPhone14,5;FBMD"
        "/iPhone;FBSN/iOS;FBSV/17.5.1;FBSS/3;FBCR/;FBID/phone;FBLC/en_US;FB"
        "OP/80]",
    "Mozilla/5.0 (Linux; Android 13; SM-A536B Build/TP1A.220624.014; "
        "wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/126.0.6478.71 Mobile Safari/537.36 "
        "[FB_IAB/FB4A;FBAV/470.0.0.43.71;]",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240605.024; "
        "wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/126.0.6478.72 Mobile Safari/537.36 Telegram-Android/11.3.3 "
        "(Google Pixel 8; Android 14; SDK 34; HIGH)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F90 "
        "[Pinterest/iOS]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
        "Mobile/15E148 Safari/604.1 [LinkedInApp]/9.29.8962",
    "Mozilla/5.0 (Linux; Android 13; 2201117TY; wv) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile "
        "Safari/537.36 trill_350304 BytedanceWebview/d8a21c6 "
        "musical_ly_2023503040 JsSdk/1.0 NetType/WIFI",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "Snapchat/12.89.0.44 (like Safari/8615.3.12.10.2, panda)",
    "Mozilla/5.0 (Linux; Android 13; M2101K6G) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Version/4.0 Chrome/114.0.5735.131 Mobile "
        "Safari/537.36 Line/13.10.0/IAB",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN",
    "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 "
        "(KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36",
    "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, "
        "like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager",
    "Mozilla/5.0 (Linux; Android 9; AFTKA Build/PS7633.3445N; wv) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/120.0.6099.230 Mobile Safari/537.36",
    "Mozilla/5.0 (PlayStation 5 5.10) AppleWebKit/605.1.15 (KHTML, "
        "like Gecko) Version/13.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux armv7l) AppleWebKit/537.36 (KHTML, like "
        "Gecko) QtWebEngine/5.15.2 Chrome/87.0.4280.144 Safari/537.36 "
        "CE-HTML/1.0 HbbTV/1.6.1",
    "Mozilla/5.0 (Linux; Android 13; CPH2357) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/118.0.0.0 Mobile Safari/537.36 "
        "OPR/79.0.4167.74005",
    "Mozilla/5.0 (Linux; U; Android 12; en-US; RMX3511 "
        "Build/SP1A.210812.016) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Version/4.0 Chrome/100.0.4896.58 UCBrowser/13.6.2.1316 Mobile "
        "Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 OPR/112.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like "
        "Gecko",
    "Opera/9.80 (Android; Opera Mini/36.2.2254/191.283; U; en) "
        "Presto/2.12.423 Version/12.16",
    "Mozilla/5.0 (Linux; Android 12; HarmonyOS; NOH-AN00; HMSCore "
        "6.13.0.302) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/99.0.4844.88 HuaweiBrowser/14.0.5.302 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; 23049PCD8G Build/TKQ1.221114.001) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/112.0.5615.136 Mobile Safari/537.36 "
        "XiaoMi/MiuiBrowser/14.5.0-gn",
    "Mozilla/5.0 (Linux; Android 11; Zebra TC52 Build/11-16-05) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Mobile "
        "Safari/537.36",
    "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 "
        "Firefox/127.0",
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like "
        "Gecko) Version/4.0 Chrome/126.0.6478.72 Mobile DuckDuckGo/5 "
        "Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 "
        "Safari/537.36 Vivaldi/6.7.3329.41",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/122.0.0.0 YaBrowser/24.4.0.0 "
        "Safari/537.36",
    "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B "
        "Build/TP1A.220624.014)",
    "MyShop/4.2.1 (com.example.shop; build:1021; iOS 17.5.1) "
        "Alamofire/5.9.1",
    "MyShop/1021 CFNetwork/1496.0.7 Darwin/23.5.0",
    "okhttp/4.12.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
        "Klarna/24.25",
    "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
    "Mozilla/5.0 (Nintendo Switch; WebApplet) AppleWebKit/609.4 "
        "(KHTML, like Gecko) NF/6.0.2.22.5 NintendoBrowser/5.1.0.23519",
    "Mozilla/5.0 (Linux; Android 13; Redmi Note 11) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126.0.6478.122 Mobile Safari/537.36 "
        "[Pinterest/Android]",
    "Perla/1.2 CFNetwork/1496.0.7 Darwin/23.5.0",
    "RubyLane/3.1 CFNetwork/1496.0.7 Darwin/23.5.0",
    "InsomniaCookies/5.0 (iPhone; iOS 17.5)",
    "Curly/2.0 (Android 14)"
};


static char  *unit_robots[] = {
    "Mozilla/5.0 (compatible; Googlebot/2.1; "
        "+http://www.google.com/bot.html)",
    "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.6422.175 "
        "Mobile Safari/537.36 (compatible; Googlebot/2.1; "
        "+http://www.google.com/bot.html)",
    "Googlebot-Image/1.0",
    "AdsBot-Google (+http://www.google.com/adsbot.html)",
    "Mediapartners-Google",
    "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
    "GoogleOther",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; "
        "bingbot/2.0; +http://www.bing.com/bingbot.htm) "
        "Chrome/116.0.1938.76 Safari/537.36",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like "
        "Gecko) BingPreview/1.0b",
    "Mozilla/5.0 (compatible; Yahoo! Slurp; "
        "http://help.yahoo.com/help/us/ysearch/slurp)",
    "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; "
        "+http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like "
        "Gecko) Mobile Safari/537.36 (compatible; Bytespider; "
        "spider-feedback@bytedance.com)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; "
        "GPTBot/1.2; +https://openai.com/gptbot",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; "
        "ChatGPT-User/1.0; +https://openai.com/bot",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; "
        "ClaudeBot/1.0; +claudebot@anthropic.com)",
    "Claude-Web/1.0",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; "
        "PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; "
        "+http://www.semrush.com/bot.html)",
    "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)",
    "Mozilla/5.0 (compatible; archive.org_bot "
        "+http://archive.org/details/archive.org_bot)",
    "ia_archiver",
    "Screaming Frog SEO Spider/20.1",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
        "Gecko) HeadlessChrome/126.0.6478.61 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 11; moto g power (2022)) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile "
        "Safari/537.36 Chrome-Lighthouse",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
        "Gecko) Chrome/126.0.0.0 Safari/537.36 PTST/240612.151438",
    "facebookexternalhit/1.1 "
        "(+http://www.facebook.com/externalhit_uatext.php)",
    "facebookexternalhit/1.1",
    "meta-externalagent/1.1",
    "WhatsApp/2.23.20.0",
    "TelegramBot (like TwitterBot)",
    "Twitterbot/1.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient "
        "+http://www.linkedin.com)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slack-ImgProxy (+https://api.slack.com/robots)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 "
        "skype-url-preview@microsoft.com",
    "Mozilla/5.0 (compatible; Pinterestbot/1.0; "
        "+https://www.pinterest.com/bot.html)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 "
        "Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    "Mozilla/5.0 (compatible; pingdom)",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; "
        "http://www.uptimerobot.com/)",
    "Better Uptime Bot Mozilla/5.0",
    "Site24x7",
    "Mozilla/5.0 (compatible; StatusCake)",
    "Datadog/Synthetics",
    "curl/8.5.0",
    "Wget/1.21.4",
    "python-requests/2.32.3",
    "Python-urllib/3.11",
    "Python/3.11 aiohttp/3.9.5",
    "python-httpx/0.27.0",
    "Java/17.0.11",
    "Go-http-client/2.0",
    "axios/1.7.2",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
    "node",
    "undici",
    "Apache-HttpClient/4.5.14 (Java/17.0.11)",
    "GuzzleHttp/7",
    "PHP/8.2.7",
    "Ruby",
    "libwww-perl/6.72",
    "Scrapy/2.11.2 (+https://scrapy.org)",
    "PostmanRuntime/7.39.0",
    "HTTPie/3.2.2",
    "got (https://github.com/sindresorhus/got)",
    "W3C_Validator/1.3",
    "Validator.nu/LV",
    "Mozilla/5.0 (compatible; Nmap Scripting Engine; "
        "https://nmap.org/book/nse.html)",
    "Mozilla/5.0 zgrab/0.x",
    "Mozilla/5.0 (compatible; CensysInspect/1.1; "
        "+https://about.censys.io/)",
    "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
    "Mozilla/5.0 (Windows; U; Windows NT 5.1; de; rv:1.9.0.7) "
        "Gecko/2009021910 Firefox/3.0.7 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN2874"
        "9.html",
    "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, "
        "like Gecko) PhantomJS/2.1.1 Safari/538.1",
    "Mozilla/5.0 (compatible; Google-Site-Verification/1.0)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126 Safari/537.36 Prerender "
        "(+https://github.com/prerender/prerender)",
    "Snap URL Preview Service; bot; snapchat; "
        "https://developers.snap.com/robots",
    "Mozilla/5.0 (compatible; Dataprovider.com)",
    "CCBot/2.0 (https://commoncrawl.org/faq/)",
    "Mozilla/5.0 (compatible; DataForSeoBot/1.0; "
        "+https://dataforseo.com/dataforseo-bot)",
    "Iframely/1.3.1 (+https://iframely.com/docs/about)",
    "Embedly/0.2",
    "k6/0.51.0 (https://k6.io/)",
    "ApacheBench/2.3",
    "-",
    "meta-externalfetcher/1.1",
    "OAI-SearchBot/1.0; +https://openai.com/searchbot",
    "Amazonbot/0.1",
    "Mozilla/5.0 (compatible; Qualys)",
    "GTmetrix",
    "NewRelicPinger/1.0 (1234567)"
};


static ngx_http_request_t *
unit_request(void **state)
{
    ngx_http_request_t  *r;

    assert_int_equal(ngx_http_klaviyo_noise_init(*state), NGX_OK);

    r = ngx_pcalloc(*state, sizeof(ngx_http_request_t));
    assert_non_null(r);

    /* of two headers per part, so that parts are crossed */

    assert_int_equal(ngx_list_init(&r->headers_in.headers, *state, 2,
                                   sizeof(ngx_table_elt_t)),
                     NGX_OK);
    return r;
}


static ngx_table_elt_t *
unit_header(void **state, ngx_http_request_t *r, char *name, char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    assert_non_null(h);

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    h->lowcase_key = ngx_pnalloc(*state, h->key.len);
    assert_non_null(h->lowcase_key);

    ngx_strlow(h->lowcase_key, h->key.data, h->key.len);

    return h;
}


static ngx_http_request_t *
unit_browser(void **state)
{
    ngx_http_request_t  *r;

    r = unit_request(state);

    (void) unit_header(state, r, "Host", "shop.dev");
    r->headers_in.user_agent = unit_header(state, r, "User-Agent", BROWSER);
    (void) unit_header(state, r, "Accept", "text/html");

    return r;
}


static ngx_int_t
unit_noise_of(void **state, char *name, char *value)
{
    ngx_http_request_t  *r;

    r = unit_browser(state);

    (void) unit_header(state, r, name, value);
    (void) unit_header(state, r, "Accept-Language", "ro");

    return ngx_http_klaviyo_noise(r, ALL, unit_str(""));
}


static ngx_uint_t
unit_robot(void **state, char *text)
{
    size_t      len;
    ngx_str_t   user_agent;

    assert_int_equal(ngx_http_klaviyo_noise_init(*state), NGX_OK);

    /* a copy, so that no byte behind it can be read */

    len = ngx_strlen(text);

    user_agent.len = len;
    user_agent.data = unit_fill(*state, 0, len)->data;
    ngx_memcpy(user_agent.data, text, len);

    return ngx_http_klaviyo_noise_robot(&user_agent);
}


/* the first of all: only here the pattern is compiled */

static void
test_the_pattern_outlives_a_configuration_that_is_refused(void **state)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE,
                           ((ngx_pool_t *) *state)->log);
    assert_non_null(pool);

    assert_int_equal(ngx_http_klaviyo_noise_init(pool), NGX_OK);

    ngx_destroy_pool(pool);

    assert_true(ngx_http_klaviyo_noise_robot(unit_str("curl/8.5.0")));
}


static void
test_a_shopper_is_no_noise(void **state)
{
    ngx_http_request_t  *r;

    r = unit_browser(state);

    assert_noise(r, ALL, NGX_DECLINED);
    assert_noise(r, 0, NGX_DECLINED);
}


static void
test_prefetches_are_told_by_their_headers(void **state)
{
    ngx_uint_t  i;

    static char  *headers[][2] = {
        { "Sec-Purpose", "prefetch" },
        { "Sec-Purpose", "prefetch;prerender" },
        { "Sec-Purpose", "prefetch;anonymous-client-ip" },
        { "sec-purpose", "Prefetch" },
        { "Purpose", "prefetch" },
        { "PURPOSE", "PREVIEW" },
        { "X-Purpose", "preview" },
        { "X-Purpose", ": preview" },
        { "X-Moz", "prefetch" },
        { "Purpose", "prerender" },
        { "Next-Router-Prefetch", "1" },
        { "Next-Router-Prefetch", "2" },
        { "Next-Router-Segment-Prefetch", "/_tree" },
        { "X-Middleware-Prefetch", "1" }
    };

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_int_equal(unit_noise_of(state, headers[i][0], headers[i][1]),
                         NGX_HTTP_KLAVIYO_SKIP_PREFETCH);
    }
}


static void
test_other_headers_say_nothing(void **state)
{
    ngx_uint_t  i;

    static char  *headers[][2] = {
        { "Sec-Purpose", "" },
        { "Purpose", "navigate" },
        { "Purpose", "prefetc" },
        { "X-Moz", "p" },
        { "Next-Router-Prefetch", "" },
        { "Next-Router-Prefetch", "0" },
        { "X-Middleware-Prefetch", "0" },
        { "Referer", "https://s.dev/prefetch" },
        { "X-Mo", "prefetch" },
        { "X-Mozz", "prefetch" },
        { "Sec-Fetch-Dest", "prefetch" },
        { "Sec-GPC", "0" },
        { "Sec-GPC", "" },
        { "Sec-GPC", "11" },
        { "Sec-GPC", "true" },
        { "DNT", "0" },
        { "DNT", "" },
        { "DNT", "null" },
        { "DNS", "1" },
        { "RSC", "1" },
        { "Cookie", "__kla_off=true" }
    };

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_int_equal(unit_noise_of(state, headers[i][0], headers[i][1]),
                         NGX_DECLINED);
    }
}


static void
test_privacy_signals_are_heard(void **state)
{
    assert_int_equal(unit_noise_of(state, "Sec-GPC", "1"),
                     NGX_HTTP_KLAVIYO_SKIP_GPC);
    assert_int_equal(unit_noise_of(state, "sec-gpc", "1"),
                     NGX_HTTP_KLAVIYO_SKIP_GPC);
    assert_int_equal(unit_noise_of(state, "DNT", "1"),
                     NGX_HTTP_KLAVIYO_SKIP_DNT);
}


static void
test_the_opt_out_is_the_text_true(void **state)
{
    ngx_http_request_t  *r;

    r = unit_browser(state);

    assert_int_equal(ngx_http_klaviyo_noise(r, ALL, unit_str("true")),
                     NGX_HTTP_KLAVIYO_SKIP_OPTOUT);
    assert_int_equal(ngx_http_klaviyo_noise(r, ALL, unit_str("false")),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_noise(r, ALL, unit_str("tru")),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_noise(r, ALL, unit_str("truer")),
                     NGX_DECLINED);
    assert_int_equal(ngx_http_klaviyo_noise(r, ALL, unit_str("1")),
                     NGX_DECLINED);
}


static void
test_reasons_come_in_order_and_may_be_switched_off(void **state)
{
    ngx_str_t           *on;
    ngx_uint_t           ignore;
    ngx_http_request_t  *r;

    r = unit_request(state);

    (void) unit_header(state, r, "DNT", "1");
    (void) unit_header(state, r, "Sec-GPC", "1");
    r->headers_in.user_agent = unit_header(state, r, "User-Agent", "curl/8");
    (void) unit_header(state, r, "Purpose", "prefetch");

    on = unit_str("true");
    ignore = ALL;

    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, on),
                     NGX_HTTP_KLAVIYO_SKIP_PREFETCH);

    ignore &= ~NGX_HTTP_KLAVIYO_IGNORE_PREFETCH;
    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, on),
                     NGX_HTTP_KLAVIYO_SKIP_BOTS);

    ignore &= ~NGX_HTTP_KLAVIYO_IGNORE_BOTS;
    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, on),
                     NGX_HTTP_KLAVIYO_SKIP_OPTOUT);

    ignore &= ~NGX_HTTP_KLAVIYO_IGNORE_OPTOUT;
    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, on),
                     NGX_HTTP_KLAVIYO_SKIP_GPC);

    ignore &= ~NGX_HTTP_KLAVIYO_IGNORE_GPC;
    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, on),
                     NGX_HTTP_KLAVIYO_SKIP_DNT);

    ignore &= ~NGX_HTTP_KLAVIYO_IGNORE_DNT;
    assert_int_equal(ngx_http_klaviyo_noise(r, ignore, on), NGX_DECLINED);
}


static void
test_who_does_not_say_is_a_robot(void **state)
{
    ngx_http_request_t  *r;

    r = unit_request(state);

    assert_noise(r, ALL, NGX_HTTP_KLAVIYO_SKIP_BOTS);

    r->headers_in.user_agent = unit_header(state, r, "User-Agent", "");

    assert_noise(r, ALL, NGX_HTTP_KLAVIYO_SKIP_BOTS);
}


static void
test_browsers_and_apps_are_shoppers(void **state)
{
    ngx_uint_t  i, wrong;

    wrong = 0;

    for (i = 0; i < sizeof(unit_shoppers) / sizeof(char *); i++) {

        if (unit_robot(state, unit_shoppers[i])) {
            print_error("no robot: %s\n", unit_shoppers[i]);
            wrong++;
        }
    }

    assert_int_equal(wrong, 0);
}


static void
test_robots_and_tools_are_robots(void **state)
{
    ngx_uint_t  i, wrong;

    wrong = 0;

    for (i = 0; i < sizeof(unit_robots) / sizeof(char *); i++) {

        if (!unit_robot(state, unit_robots[i])) {
            print_error("a robot: %s\n", unit_robots[i]);
            wrong++;
        }
    }

    assert_int_equal(wrong, 0);
}


static void
test_any_text_is_judged(void **state)
{
    size_t       n;
    ngx_str_t   *str;
    ngx_uint_t   i, seed;

    assert_int_equal(ngx_http_klaviyo_noise_init(*state), NGX_OK);

    seed = 1;

    for (i = 0; i < 2000; i++) {
        str = unit_fill(*state, 0, i % 97);

        for (n = 0; n < str->len; n++) {
            seed = seed * 1103515245 + 12345;
            str->data[n] = seed >> 16;
        }

        (void) ngx_http_klaviyo_noise_robot(str);
    }

    /* what is made to be slow ends too */

    str = unit_fill(*state, 'b', 32000);

    for (n = 0; n + 3 < str->len; n += 3) {
        ngx_memcpy(str->data + n, "bot", 3);
    }

    (void) ngx_http_klaviyo_noise_robot(str);

    /* no browser writes what is too long to be matched */

    str = unit_fill(*state, 'x', 100000);

    assert_true(ngx_http_klaviyo_noise_robot(str));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        unit_test(test_the_pattern_outlives_a_configuration_that_is_refused),
        unit_test(test_a_shopper_is_no_noise),
        unit_test(test_prefetches_are_told_by_their_headers),
        unit_test(test_other_headers_say_nothing),
        unit_test(test_privacy_signals_are_heard),
        unit_test(test_the_opt_out_is_the_text_true),
        unit_test(test_reasons_come_in_order_and_may_be_switched_off),
        unit_test(test_who_does_not_say_is_a_robot),
        unit_test(test_browsers_and_apps_are_shoppers),
        unit_test(test_robots_and_tools_are_robots),
        unit_test(test_any_text_is_judged)
    };

    return cmocka_run_group_tests_name("noise", tests, NULL, NULL);
}
