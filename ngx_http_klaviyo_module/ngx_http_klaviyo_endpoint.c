
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The URLs of an account's endpoint and proxy.
 */


#include "ngx_http_klaviyo_endpoint.h"


#define ngx_http_klaviyo_url_has(text, scheme)                                \
    ((text)->len > sizeof(scheme) - 1                                         \
     && ngx_strncasecmp((text)->data, (u_char *) scheme,                      \
                        sizeof(scheme) - 1) == 0)


static char *ngx_http_klaviyo_endpoint_unix(ngx_conf_t *cf, ngx_url_t *u,
    ngx_http_klaviyo_account_t *account);
static ngx_uint_t ngx_http_klaviyo_endpoint_local(ngx_url_t *u);
static char *ngx_http_klaviyo_url_parse(ngx_conf_t *cf, ngx_url_t *u);
static char *ngx_http_klaviyo_url_error(ngx_conf_t *cf, char *fault);
static ngx_int_t ngx_http_klaviyo_url_copy(ngx_conf_t *cf, ngx_str_t *dst,
    u_char *data, size_t len);


char *
ngx_http_klaviyo_endpoint_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    char        *fault;
    ngx_str_t   *value;
    ngx_url_t    u;
    ngx_uint_t   clear;

    if (account->endpoint.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    clear = ngx_http_klaviyo_url_has(&value[1], "http://");

    if (!clear && !ngx_http_klaviyo_url_has(&value[1], "https://")) {
        return ngx_http_klaviyo_url_error(cf,
                                          "it must begin with \"https://\"");
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.data = value[1].data + (clear ? 7 : 8);
    u.url.len = value[1].len - (clear ? 7 : 8);
    u.default_port = clear ? 80 : 443;

    fault = ngx_http_klaviyo_url_parse(cf, &u);

    if (fault == NULL && clear && !ngx_http_klaviyo_endpoint_local(&u)) {
        fault = "the key would travel in clear text";
    }

    if (fault == NULL && !clear && u.family == AF_UNIX) {
        fault = "no host";
    }

    if (fault) {
        return ngx_http_klaviyo_url_error(cf, fault);
    }

    if (u.family == AF_UNIX) {
        return ngx_http_klaviyo_endpoint_unix(cf, &u, account);
    }

    if (ngx_http_klaviyo_url_copy(cf, &account->endpoint, value[1].data,
                                  value[1].len - u.uri.len)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_klaviyo_endpoint_unix(ngx_conf_t *cf, ngx_url_t *u,
    ngx_http_klaviyo_account_t *account)
{
    if (u->host.data[0] != '/') {
        return ngx_http_klaviyo_url_error(cf, "the path is not absolute");
    }

    if (ngx_http_klaviyo_url_copy(cf, &account->unix_socket, u->host.data,
                                  u->host.len)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&account->endpoint, "http://localhost");

    return NGX_CONF_OK;
}


/*
 * Only spellings that can be read in one way: to libcurl "0127.0.0.1" is an
 * octal number and elsewhere.
 */

static ngx_uint_t
ngx_http_klaviyo_endpoint_local(ngx_url_t *u)
{
    ngx_str_t  *name;

    if (u->family == AF_UNIX) {
        return 1;
    }

    if (u->host.len == sizeof("localhost") - 1
        && ngx_strncasecmp(u->host.data, (u_char *) "localhost", u->host.len)
           == 0)
    {
        return 1;
    }

    if (u->host.len == sizeof("[::1]") - 1
        && ngx_strncmp(u->host.data, "[::1]", u->host.len) == 0)
    {
        return 1;
    }

    if (u->naddrs == 0 || ngx_strncmp(u->host.data, "127.", 4) != 0) {
        return 0;
    }

    /* "127.0.0.1:80", as the core would write it */

    name = &u->addrs[0].name;

    return name->len > u->host.len
           && name->data[u->host.len] == ':'
           && ngx_strncmp(name->data, u->host.data, u->host.len) == 0;
}


char *
ngx_http_klaviyo_proxy_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    char       *fault;
    u_char     *p, *last;
    ngx_str_t  *value;
    ngx_url_t   u;

    if (account->proxy.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "none") == 0) {
        ngx_str_set(&account->proxy, "");
        return NGX_CONF_OK;
    }

    if (!ngx_http_klaviyo_url_has(&value[1], "http://")
        && !ngx_http_klaviyo_url_has(&value[1], "https://")
        && !ngx_http_klaviyo_url_has(&value[1], "socks5h://"))
    {
        return ngx_http_klaviyo_url_error(cf,
                                          "it must begin with \"http://\", "
                                          "\"https://\" or \"socks5h://\"");
    }

    last = value[1].data + value[1].len;
    p = ngx_strlchr(value[1].data, last, ':') + sizeof("://") - 1;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.data = ngx_strlchr(p, last, '@');
    u.url.data = u.url.data ? u.url.data + 1 : p;
    u.url.len = last - u.url.data;

    fault = ngx_http_klaviyo_url_parse(cf, &u);

    if (fault == NULL && u.family == AF_UNIX) {
        fault = "no host";
    }

    for ( /* void */ ; fault == NULL && p < u.url.data; p++) {
        if (*p <= 0x20 || *p >= 0x7f || *p == '/' || *p == '?' || *p == '#') {
            fault = "invalid user or password";
        }
    }

    if (fault) {
        return ngx_http_klaviyo_url_error(cf, fault);
    }

    if (ngx_http_klaviyo_url_copy(cf, &account->proxy, value[1].data,
                                  value[1].len - u.uri.len)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* HOST[:PORT][/] or unix:PATH[:][/]; returns what is wrong, or NULL */

static char *
ngx_http_klaviyo_url_parse(ngx_conf_t *cf, ngx_url_t *u)
{
    u_char      c;
    ngx_uint_t  i;

    u->uri_part = 1;
    u->no_resolve = 1;

    if (ngx_parse_url(cf->temp_pool, u) != NGX_OK) {
        return u->err ? u->err : "no memory";
    }

    if (u->uri.len > 1 || (u->uri.len == 1 && u->uri.data[0] != '/')) {
        return "only a host and a port are allowed";
    }

    if (u->family != AF_INET) {
        return NULL;
    }

    for (i = 0; i < u->host.len; i++) {
        c = u->host.data[i];

        if ((c >= '0' && c <= '9')
            || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
            || (i && (c == '-' || c == '.' || c == '_')))
        {
            continue;
        }

        return "invalid host";
    }

    return NULL;
}


static char *
ngx_http_klaviyo_url_error(ngx_conf_t *cf, char *fault)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strlchr(value[1].data, value[1].data + value[1].len, '@')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value in \"%V\": %s", &value[0], fault);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\": %s",
                           &value[1], &value[0], fault);
    }

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_klaviyo_url_copy(ngx_conf_t *cf, ngx_str_t *dst, u_char *data,
    size_t len)
{
    dst->data = ngx_pnalloc(cf->pool, len + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, data, len);
    dst->data[len] = '\0';
    dst->len = len;

    return NGX_OK;
}
