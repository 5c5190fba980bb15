
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The secret of klaviyo_explain.
 */


#include "ngx_http_klaviyo_secret.h"
#include <openssl/crypto.h>


static ngx_int_t ngx_http_klaviyo_secret_file(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *text);
static ngx_int_t ngx_http_klaviyo_secret_read(ngx_conf_t *cf, ngx_fd_t fd,
    u_char *path, ngx_str_t *text);
static char *ngx_http_klaviyo_secret_fault(ngx_str_t *text);


static ngx_str_t  ngx_http_klaviyo_secret_header =
    ngx_string("x-klaviyo-explain");


char *
ngx_http_klaviyo_secret_parse(ngx_conf_t *cf,
    ngx_http_klaviyo_secret_t **secret)
{
    char                       *fault;
    ngx_str_t                  *value, text;
    ngx_http_klaviyo_secret_t  *s;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        *secret = NULL;
        return NGX_CONF_OK;
    }

    s = ngx_pcalloc(cf->pool, sizeof(ngx_http_klaviyo_secret_t));
    if (s == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 3) {

        if (ngx_strcmp(value[2].data, "full") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\", it can be "
                               "\"full\" only", &value[2], &value[0]);
            return NGX_CONF_ERROR;
        }

        s->full = 1;
    }

    text.data = value[1].data + 5;
    text.len = value[1].len - ngx_min(value[1].len, 5);

    if (ngx_strncmp(value[1].data, "data:", 5) == 0) {
        s->text = text;

    } else if (ngx_strncmp(value[1].data, "file:", 5) == 0) {

        if (ngx_http_klaviyo_secret_file(cf, &text, &s->text) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

    } else {

        /* maybe the bare secret: it must not be shown */

        return "must be \"file:PATH\", \"data:TEXT\" or \"off\"";
    }

    fault = ngx_http_klaviyo_secret_fault(&s->text);

    if (fault) {
        return fault;
    }

    *secret = s;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_klaviyo_secret_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *text)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

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

    rc = ngx_http_klaviyo_secret_read(cf, fd, path->data, text);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%s\" failed", path->data);
    }

    return rc;
}


static ngx_int_t
ngx_http_klaviyo_secret_read(ngx_conf_t *cf, ngx_fd_t fd, u_char *path,
    ngx_str_t *text)
{
    u_char           buf[NGX_HTTP_KLAVIYO_SECRET_MAX + 16];
    ssize_t          n;
    ngx_file_info_t  fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" is not a regular file", path);
        return NGX_ERROR;
    }

    if (ngx_file_access(&fi) & S_IROTH) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the secret in \"%s\" is readable by everyone",
                           path);
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%s\" failed", path);
        return NGX_ERROR;
    }

    while (n && (buf[n - 1] == LF || buf[n - 1] == CR || buf[n - 1] == ' ')) {
        n--;
    }

    text->len = n;
    text->data = ngx_pnalloc(cf->pool, n + 1);

    if (text->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text->data, buf, n);
    ngx_explicit_memzero(buf, sizeof(buf));

    return NGX_OK;
}


static char *
ngx_http_klaviyo_secret_fault(ngx_str_t *text)
{
    ngx_uint_t  i;

    if (text->len < NGX_HTTP_KLAVIYO_SECRET_MIN
        || text->len > NGX_HTTP_KLAVIYO_SECRET_MAX)
    {
        return "needs a secret of 16 to 256 bytes";
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= 0x20 || text->data[i] >= 0x7f) {
            return "has a secret with blanks, control or non-ASCII characters";
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_klaviyo_secret_check(ngx_http_request_t *r,
    ngx_http_klaviyo_secret_t *secret)
{
    ngx_uint_t        i, same;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    same = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (header[i].key.len != ngx_http_klaviyo_secret_header.len
                || ngx_strncasecmp(header[i].key.data,
                                   ngx_http_klaviyo_secret_header.data,
                                   header[i].key.len)
                   != 0)
            {
                continue;
            }

            if (header[i].value.len == secret->text.len
                && CRYPTO_memcmp(header[i].value.data, secret->text.data,
                                 secret->text.len)
                   == 0)
            {
                same = 1;
                ngx_str_set(&header[i].value, "on");
            }
        }
    }

    return same;
}
