
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The private key of an account.
 */


#include "ngx_http_klaviyo_key.h"


static ngx_int_t ngx_http_klaviyo_key_file(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account, ngx_str_t *path);
static ngx_int_t ngx_http_klaviyo_key_read(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account, ngx_fd_t fd, u_char *path);
static ngx_int_t ngx_http_klaviyo_key_env(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account, ngx_str_t *name);
static ngx_uint_t ngx_http_klaviyo_key_env_name(ngx_str_t *name);
static ngx_int_t ngx_http_klaviyo_key_copy(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account, u_char *data, size_t len);
static ngx_int_t ngx_http_klaviyo_key_check(ngx_conf_t *cf,
    ngx_http_klaviyo_account_t *account);
static ngx_uint_t ngx_http_klaviyo_key_words(ngx_str_t *key);


char *
ngx_http_klaviyo_key_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_klaviyo_account_t  *account = conf;

    ngx_int_t   rc;
    ngx_str_t  *value, text;

    if (account->api_key.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    text = value[1];

    if (ngx_strncmp(text.data, "data:", 5) == 0) {
        rc = ngx_http_klaviyo_key_copy(cf, account, text.data + 5,
                                       text.len - 5);

    } else if (ngx_strncmp(text.data, "file:", 5) == 0
               && ngx_strncmp(text.data + 5, "pk_", 3) != 0)
    {
        text.data += 5;
        text.len -= 5;

        rc = ngx_http_klaviyo_key_file(cf, account, &text);

    } else if (ngx_strncmp(text.data, "env:", 4) == 0
               && ngx_strncmp(text.data + 4, "pk_", 3) != 0)
    {
        text.data += 4;
        text.len -= 4;

        rc = ngx_http_klaviyo_key_env(cf, account, &text);

    } else {

        /* maybe the bare key: it must not be shown */

        return "must be \"file:PATH\", \"env:NAME\" or \"data:TEXT\"";
    }

    if (rc != NGX_OK || ngx_http_klaviyo_key_check(cf, account) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_key_file(ngx_conf_t *cf, ngx_http_klaviyo_account_t *account,
    ngx_str_t *path)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    if (path->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "no path in \"api_key\"");
        return NGX_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a pipe must not block nginx */

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%s\" failed", path->data);
        return NGX_ERROR;
    }

    rc = ngx_http_klaviyo_key_read(cf, account, fd, path->data);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%s\" failed", path->data);
    }

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_key_read(ngx_conf_t *cf, ngx_http_klaviyo_account_t *account,
    ngx_fd_t fd, u_char *path)
{
    u_char           buf[NGX_HTTP_KLAVIYO_API_KEY_FILE + 1];
    ssize_t          n;
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%s\" failed", path);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" is not a regular file", path);
        return NGX_ERROR;
    }

    if (ngx_file_access(&fi) & S_IROTH) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the key in \"%s\" is readable by everyone", path);
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%s\" failed", path);
        return NGX_ERROR;
    }

    if (n > NGX_HTTP_KLAVIYO_API_KEY_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" is too large for a key", path);
        rc = NGX_ERROR;

    } else {

        while (n && (buf[n - 1] == LF || buf[n - 1] == CR
                     || buf[n - 1] == ' ' || buf[n - 1] == '\t'))
        {
            n--;
        }

        rc = ngx_http_klaviyo_key_copy(cf, account, buf, n);
    }

    ngx_explicit_memzero(buf, sizeof(buf));

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_key_env(ngx_conf_t *cf, ngx_http_klaviyo_account_t *account,
    ngx_str_t *name)
{
    char  *text;

    if (!ngx_http_klaviyo_key_env_name(name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name of the environment variable "
                           "in \"api_key\"");
        return NGX_ERROR;
    }

    text = getenv((char *) name->data);

    if (text == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "environment variable \"%V\" of \"api_key\" "
                           "is not set", name);
        return NGX_ERROR;
    }

    account->env = *name;

    return ngx_http_klaviyo_key_copy(cf, account, (u_char *) text,
                                     ngx_strlen(text));
}


static ngx_uint_t
ngx_http_klaviyo_key_env_name(ngx_str_t *name)
{
    if (name->len == 0 || (name->data[0] >= '0' && name->data[0] <= '9')) {
        return 0;
    }

    return ngx_http_klaviyo_key_words(name);
}


static ngx_int_t
ngx_http_klaviyo_key_copy(ngx_conf_t *cf, ngx_http_klaviyo_account_t *account,
    u_char *data, size_t len)
{
    account->api_key.data = ngx_pnalloc(cf->pool, len + 1);
    if (account->api_key.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(account->api_key.data, data, len);
    account->api_key.data[len] = '\0';
    account->api_key.len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_key_check(ngx_conf_t *cf, ngx_http_klaviyo_account_t *account)
{
    char        *fault;
    ngx_str_t   *key;
    ngx_uint_t   i;

    key = &account->api_key;
    fault = NULL;

    if (key->len == 0) {
        fault = "is empty";

    } else if (key->len > NGX_HTTP_KLAVIYO_API_KEY_MAX) {
        fault = "is too long";

    } else if (key->len == 6 && ngx_http_klaviyo_key_words(key)
               && ngx_strncmp(key->data, "pk_", 3) != 0)
    {
        fault = "looks like the public company id, "
                "the private key begins with \"pk_\"";
    }

    /* what no header may have, a line feed above all */

    for (i = 0; fault == NULL && i < key->len; i++) {
        if (key->data[i] <= 0x20 || key->data[i] >= 0x7f) {
            fault = "has blanks, control or non-ASCII characters";
        }
    }

    if (fault) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the \"api_key\" of klaviyo_account \"%V\" %s",
                           &account->name, fault);
        return NGX_ERROR;
    }

    if (key->len < sizeof("pk_") - 1 + 8
        || ngx_strncmp(key->data, "pk_", 3) != 0
        || !ngx_http_klaviyo_key_words(key))
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the \"api_key\" of klaviyo_account \"%V\" does "
                           "not look like a private key of Klaviyo, which "
                           "begins with \"pk_\"", &account->name);
    }

    return NGX_OK;
}


/* whether there are letters, digits and "_" only */

static ngx_uint_t
ngx_http_klaviyo_key_words(ngx_str_t *key)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < key->len; i++) {
        c = (u_char) (key->data[i] | 0x20);

        if ((c < 'a' || c > 'z')
            && (key->data[i] < '0' || key->data[i] > '9')
            && key->data[i] != '_')
        {
            return 0;
        }
    }

    return 1;
}
