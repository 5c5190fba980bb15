
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Requests by libcurl: one easy handle per call, which lives in a pool of its
 * own from post() until its done() has returned.  All of it in the process that
 * hosts the dispatcher.
 */


#include "ngx_http_klaviyo_transport.h"
#include "ngx_http_klaviyo_loop.h"
#include "ngx_http_klaviyo_version.h"


/* head, trailer and body of an answer: beyond this the transfer is ended */
#define NGX_HTTP_KLAVIYO_TRANSPORT_MAX_ANSWER   (1024 * 1024)

#define NGX_HTTP_KLAVIYO_TRANSPORT_UPLOAD       (128 * 1024)

/* that are kept when they are idle: what the lanes of an account may use */
#define NGX_HTTP_KLAVIYO_TRANSPORT_CONNECTIONS  12

/* to one host, which is that of all accounts, and to all */
#define NGX_HTTP_KLAVIYO_TRANSPORT_MAX_TOTAL    32

#define NGX_HTTP_KLAVIYO_TRANSPORT_POOL         4096

#define NGX_HTTP_KLAVIYO_TRANSPORT_AGENT                                      \
    "ngx_http_klaviyo_module/" NGX_HTTP_KLAVIYO_VERSION

/* seconds: idle, less than servers keep it; at all, for a name that moves */
#define NGX_HTTP_KLAVIYO_TRANSPORT_IDLE         60
#define NGX_HTTP_KLAVIYO_TRANSPORT_AGE          600


typedef struct {
    CURLoption                           name;     /* 0: the last one */
    long                                 value;
} ngx_http_klaviyo_option_t;


typedef struct {
    CURLoption                           name;     /* 0: the last one */
    void                                *value;
} ngx_http_klaviyo_pointer_t;


struct ngx_http_klaviyo_transport_s {
    ngx_http_klaviyo_loop_t              loop;
    ngx_queue_t                          calls;    /* in the multi handle */
    ngx_queue_t                          ended;    /* wait for their done() */
    ngx_log_t                           *log;
    ngx_uint_t                           busy;     /* done() may be running */
    unsigned                             destroyed:1;
};


struct ngx_http_klaviyo_call_s {
    ngx_queue_t                          queue;
    ngx_http_klaviyo_transport_t        *transport;
    ngx_http_klaviyo_post_t              post;
    ngx_http_klaviyo_answer_t            answer;
    ngx_pool_t                          *pool;

    CURL                                *easy;
    struct curl_slist                   *headers;
    size_t                               received;
    CURLcode                             code;
    unsigned                             ended:1;
    unsigned                             finished:1;

    char                                 error[CURL_ERROR_SIZE];
};


static ngx_int_t ngx_http_klaviyo_transport_init_call(
    ngx_http_klaviyo_call_t *call);
static ngx_int_t ngx_http_klaviyo_transport_set_headers(
    ngx_http_klaviyo_call_t *call);
static ngx_int_t ngx_http_klaviyo_transport_add_header(
    ngx_http_klaviyo_call_t *call, const char *name, ngx_str_t *value);
static CURLcode ngx_http_klaviyo_transport_set_options(
    ngx_http_klaviyo_call_t *call);
static CURLcode ngx_http_klaviyo_transport_set_pointers(
    ngx_http_klaviyo_call_t *call, char *url);
static CURLcode ngx_http_klaviyo_transport_set_functions(
    ngx_http_klaviyo_call_t *call);
static CURLcode ngx_http_klaviyo_transport_apply(
    ngx_http_klaviyo_call_t *call, const ngx_http_klaviyo_option_t *option);
static int ngx_http_klaviyo_transport_socket(void *data, curl_socket_t fd,
    curlsocktype purpose);
static size_t ngx_http_klaviyo_transport_read(char *buf, size_t one, size_t n,
    void *data);
static int ngx_http_klaviyo_transport_seek(void *data, curl_off_t offset,
    int origin);
static size_t ngx_http_klaviyo_transport_header(char *buf, size_t one,
    size_t n, void *data);
static size_t ngx_http_klaviyo_transport_write(char *buf, size_t one, size_t n,
    void *data);
static void ngx_http_klaviyo_transport_handler(void *data);
static void ngx_http_klaviyo_transport_end(
    ngx_http_klaviyo_transport_t *transport, CURLMsg *message);
static void ngx_http_klaviyo_transport_finish(ngx_http_klaviyo_call_t *call);
static void ngx_http_klaviyo_transport_failure(ngx_http_klaviyo_call_t *call);
static void ngx_http_klaviyo_transport_free(ngx_http_klaviyo_call_t *call);


static const ngx_http_klaviyo_option_t  ngx_http_klaviyo_options[] = {

    /* SIGALRM and SIGPIPE are nginx's */
    { CURLOPT_NOSIGNAL, 1 },

    { CURLOPT_POST, 1 },
    { CURLOPT_FOLLOWLOCATION, 0 },
    { CURLOPT_UPLOAD_BUFFERSIZE, NGX_HTTP_KLAVIYO_TRANSPORT_UPLOAD },

    { CURLOPT_TCP_KEEPALIVE, 1 },
    { CURLOPT_MAXAGE_CONN, NGX_HTTP_KLAVIYO_TRANSPORT_IDLE },
    { CURLOPT_MAXLIFETIME_CONN, NGX_HTTP_KLAVIYO_TRANSPORT_AGE },

    { CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },

    /* neither does a proxy see the key, nor do we take its answer to CONNECT
     * for Klaviyo's */
    { CURLOPT_HEADEROPT, CURLHEADER_SEPARATE },
    { CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },

    /* or the end of a call joined the thread that resolves its name */
    { CURLOPT_QUICK_EXIT, 1 },

    { 0, 0 }
};


ngx_http_klaviyo_transport_t *
ngx_http_klaviyo_transport_create(ngx_log_t *log)
{
    CURLM                         *multi;
    ngx_http_klaviyo_transport_t  *transport;

    /* never undone: libcurl and nginx share OpenSSL */

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "klaviyo: curl_global_init() failed");
        return NULL;
    }

    transport = ngx_calloc(sizeof(ngx_http_klaviyo_transport_t), log);
    if (transport == NULL) {
        return NULL;
    }

    ngx_queue_init(&transport->calls);
    ngx_queue_init(&transport->ended);

    transport->log = log;

    transport->loop.handler = ngx_http_klaviyo_transport_handler;
    transport->loop.data = transport;
    transport->loop.log = log;

    if (ngx_http_klaviyo_loop_init(&transport->loop) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "klaviyo: curl_multi_init() failed");
        ngx_free(transport);
        return NULL;
    }

    multi = transport->loop.multi;

    (void) curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                             (long) NGX_HTTP_KLAVIYO_TRANSPORT_MAX_TOTAL);
    (void) curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                             (long) NGX_HTTP_KLAVIYO_TRANSPORT_MAX_TOTAL);
    (void) curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS,
                             (long) NGX_HTTP_KLAVIYO_TRANSPORT_CONNECTIONS);

    return transport;
}


ngx_http_klaviyo_call_t *
ngx_http_klaviyo_transport_post(ngx_http_klaviyo_transport_t *transport,
    ngx_http_klaviyo_post_t *post)
{
    CURLMcode                 rc;
    ngx_pool_t               *pool;
    ngx_http_klaviyo_call_t  *call;

    if (transport->destroyed) {
        return NULL;
    }

    pool = ngx_create_pool(NGX_HTTP_KLAVIYO_TRANSPORT_POOL, transport->log);
    if (pool == NULL) {
        return NULL;
    }

    call = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_call_t));
    if (call == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    call->transport = transport;
    call->post = *post;
    call->pool = pool;

    if (ngx_http_klaviyo_transport_init_call(call) != NGX_OK) {
        ngx_http_klaviyo_transport_free(call);
        return NULL;
    }

    rc = curl_multi_add_handle(transport->loop.multi, call->easy);

    if (rc != CURLM_OK) {
        ngx_log_error(NGX_LOG_ERR, transport->log, 0,
                      "klaviyo: curl_multi_add_handle() failed (%s)",
                      curl_multi_strerror(rc));
        ngx_http_klaviyo_transport_free(call);
        return NULL;
    }

    ngx_queue_insert_tail(&transport->calls, &call->queue);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, transport->log, 0,
                   "klaviyo call %p: %uz bytes", call, post->length);

    return call;
}


static ngx_int_t
ngx_http_klaviyo_transport_init_call(ngx_http_klaviyo_call_t *call)
{
    u_char    *url;
    CURLcode   rc;

    ngx_http_klaviyo_api_init(&call->answer);

    url = ngx_pnalloc(call->pool, call->post.account->endpoint.len
                                  + ngx_strlen(call->post.path) + 1);
    if (url == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(url, "%V%s%Z", &call->post.account->endpoint,
                call->post.path);

    call->easy = curl_easy_init();

    if (call->easy == NULL
        || ngx_http_klaviyo_transport_set_headers(call) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, call->pool->log, 0,
                      "klaviyo: libcurl has no memory for a request");
        return NGX_ERROR;
    }

    rc = ngx_http_klaviyo_transport_set_options(call);

    if (rc == CURLE_OK) {
        rc = ngx_http_klaviyo_transport_set_pointers(call, (char *) url);
    }

    if (rc == CURLE_OK) {
        rc = ngx_http_klaviyo_transport_set_functions(call);
    }

    if (rc != CURLE_OK) {
        ngx_log_error(NGX_LOG_ERR, call->pool->log, 0,
                      "klaviyo: curl_easy_setopt() failed (%s)",
                      curl_easy_strerror(rc));
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_klaviyo_transport_set_headers(ngx_http_klaviyo_call_t *call)
{
    ngx_http_klaviyo_account_t  *account;

    static ngx_str_t  json = ngx_string("application/vnd.api+json");
    static ngx_str_t  one = ngx_string("1");
    static ngx_str_t  none = ngx_null_string;

    account = call->post.account;

    if (ngx_http_klaviyo_transport_add_header(call,
                                        "Authorization: Klaviyo-API-Key ",
                                        &account->api_key)
        != NGX_OK
        || ngx_http_klaviyo_transport_add_header(call, "revision: ",
                                                 &account->revision)
           != NGX_OK
        || ngx_http_klaviyo_transport_add_header(call, "Accept: ", &json)
           != NGX_OK
        || ngx_http_klaviyo_transport_add_header(call, "Content-Type: ", &json)
           != NGX_OK
        || ngx_http_klaviyo_transport_add_header(call,
                                "X-Klaviyo-Revision-Fall-Forward-Opt-Out: ",
                                &one)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* libcurl would wait a second for "100 Continue" */

    return ngx_http_klaviyo_transport_add_header(call, "Expect:", &none);
}


static ngx_int_t
ngx_http_klaviyo_transport_add_header(ngx_http_klaviyo_call_t *call,
    const char *name, ngx_str_t *value)
{
    u_char             *line;
    struct curl_slist  *headers;

    line = ngx_pnalloc(call->pool, ngx_strlen(name) + value->len + 1);
    if (line == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(line, "%s%V%Z", name, value);

    headers = curl_slist_append(call->headers, (char *) line);
    if (headers == NULL) {
        return NGX_ERROR;
    }

    call->headers = headers;

    return NGX_OK;
}


static CURLcode
ngx_http_klaviyo_transport_set_options(ngx_http_klaviyo_call_t *call)
{
    CURLcode                     rc;
    ngx_http_klaviyo_account_t  *account = call->post.account;
    ngx_http_klaviyo_option_t    options[] = {
        { CURLOPT_TIMEOUT_MS, (long) account->timeout },
        { CURLOPT_CONNECTTIMEOUT_MS, (long) account->connect_timeout },

        { CURLOPT_SSL_VERIFYPEER, account->verify ? 1 : 0 },
        { CURLOPT_SSL_VERIFYHOST, account->verify ? 2 : 0 },

        { CURLOPT_HTTP_VERSION, account->http2 ? CURL_HTTP_VERSION_2TLS
                                               : CURL_HTTP_VERSION_1_1 },
        { 0, 0 }
    };

    rc = ngx_http_klaviyo_transport_apply(call, ngx_http_klaviyo_options);

    if (rc == CURLE_OK) {
        rc = ngx_http_klaviyo_transport_apply(call, options);
    }

    if (rc != CURLE_OK) {
        return rc;
    }

    return curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                            (curl_off_t) call->post.length);
}


static CURLcode
ngx_http_klaviyo_transport_apply(ngx_http_klaviyo_call_t *call,
    const ngx_http_klaviyo_option_t *option)
{
    CURLcode  rc;

    for ( /* void */ ; option->name; option++) {

        rc = curl_easy_setopt(call->easy, option->name, option->value);

        if (rc != CURLE_OK) {
            return rc;
        }
    }

    return CURLE_OK;
}


/*
 * nginx strips the environment, but "env" may keep some of it: the proxy is
 * what the account says, the key travels nowhere else.  A certificate given
 * replaces the system's.
 */

static CURLcode
ngx_http_klaviyo_transport_set_pointers(ngx_http_klaviyo_call_t *call,
    char *url)
{
    CURLcode                     rc;
    ngx_http_klaviyo_account_t  *account = call->post.account;
    ngx_http_klaviyo_pointer_t  *pointer, pointers[] = {
        { CURLOPT_URL, url },
        { CURLOPT_PROTOCOLS_STR,
          ngx_strncmp(url, "http:", 5) == 0 ? "http" : "https" },
        { CURLOPT_USERAGENT, NGX_HTTP_KLAVIYO_TRANSPORT_AGENT },
        { CURLOPT_HTTPHEADER, call->headers },

        { CURLOPT_PROXY, account->proxy.len ? account->proxy.data
                                            : (u_char *) "" },
        { CURLOPT_NOPROXY, "" },
        { CURLOPT_UNIX_SOCKET_PATH,
          account->unix_socket.len ? account->unix_socket.data : NULL },

        { CURLOPT_ERRORBUFFER, call->error },
        { CURLOPT_PRIVATE, call },
        { CURLOPT_READDATA, call },
        { CURLOPT_SEEKDATA, call },
        { CURLOPT_HEADERDATA, call },
        { CURLOPT_WRITEDATA, call },

        { 0, NULL }
    };

    for (pointer = pointers; pointer->name; pointer++) {

        rc = curl_easy_setopt(call->easy, pointer->name, pointer->value);

        if (rc != CURLE_OK) {
            return rc;
        }
    }

    if (account->trusted_certificate.len == 0) {
        return CURLE_OK;
    }

    rc = curl_easy_setopt(call->easy, CURLOPT_CAINFO,
                          (char *) account->trusted_certificate.data);
    if (rc != CURLE_OK) {
        return rc;
    }

    return curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL);
}


static CURLcode
ngx_http_klaviyo_transport_set_functions(ngx_http_klaviyo_call_t *call)
{
    CURL      *easy;
    CURLcode   rc;

    easy = call->easy;

    rc = curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION,
                          ngx_http_klaviyo_transport_socket);

    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(easy, CURLOPT_READFUNCTION,
                              ngx_http_klaviyo_transport_read);
    }

    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION,
                              ngx_http_klaviyo_transport_seek);
    }

    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION,
                              ngx_http_klaviyo_transport_header);
    }

    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION,
                              ngx_http_klaviyo_transport_write);
    }

    return rc;
}


/* What follows is called by libcurl, and must not call it. */

static int
ngx_http_klaviyo_transport_socket(void *data, curl_socket_t fd,
    curlsocktype purpose)
{
    /* a new binary must not inherit it */

    return (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) ? CURL_SOCKOPT_ERROR
                                                  : CURL_SOCKOPT_OK;
}


static size_t
ngx_http_klaviyo_transport_read(char *buf, size_t one, size_t n, void *data)
{
    ngx_http_klaviyo_call_t  *call = data;

    return call->post.read(call->post.data, (u_char *) buf, one * n);
}


static int
ngx_http_klaviyo_transport_seek(void *data, curl_off_t offset, int origin)
{
    ngx_http_klaviyo_call_t  *call = data;

    if (offset != 0 || origin != SEEK_SET) {
        return CURL_SEEKFUNC_FAIL;
    }

    call->post.rewind(call->post.data);

    return CURL_SEEKFUNC_OK;
}


static size_t
ngx_http_klaviyo_transport_header(char *buf, size_t one, size_t n, void *data)
{
    ngx_http_klaviyo_call_t  *call = data;

    ngx_str_t  line, body;

    call->received += n;

    if (call->received > NGX_HTTP_KLAVIYO_TRANSPORT_MAX_ANSWER) {
        return 0;
    }

    line.data = (u_char *) buf;
    line.len = n;

    if (n > 5 && ngx_strncmp(buf, "HTTP/", 5) == 0) {

        /* what came before was of an interim answer */

        body = call->answer.body;
        ngx_http_klaviyo_api_init(&call->answer);
        call->answer.body = body;

        return n;
    }

    ngx_http_klaviyo_api_header(&call->answer, &line, ngx_time());

    return n;
}


static size_t
ngx_http_klaviyo_transport_write(char *buf, size_t one, size_t n, void *data)
{
    ngx_http_klaviyo_call_t  *call = data;

    size_t      size;
    ngx_str_t  *body;

    call->received += n;

    if (call->received > NGX_HTTP_KLAVIYO_TRANSPORT_MAX_ANSWER) {
        return 0;
    }

    body = &call->answer.body;

    if (body->data == NULL) {
        body->data = ngx_pnalloc(call->pool, NGX_HTTP_KLAVIYO_API_MAX_ANSWER);

        if (body->data == NULL) {
            return 0;
        }
    }

    size = ngx_min(n, NGX_HTTP_KLAVIYO_API_MAX_ANSWER - body->len);

    ngx_memcpy(body->data + body->len, buf, size);
    body->len += size;

    return n;
}


/*
 * Called by the loop.  A call leaves libcurl before any done() runs, for that
 * may post, cancel others that have ended too, and destroy the transport.
 */

static void
ngx_http_klaviyo_transport_handler(void *data)
{
    ngx_http_klaviyo_transport_t  *transport = data;

    int           left;
    CURLMsg      *message;
    ngx_queue_t  *q;

    for ( ;; ) {
        message = curl_multi_info_read(transport->loop.multi, &left);

        if (message == NULL) {
            break;
        }

        if (message->msg == CURLMSG_DONE) {
            ngx_http_klaviyo_transport_end(transport, message);
        }
    }

    transport->busy++;

    while (!ngx_queue_empty(&transport->ended)) {
        q = ngx_queue_head(&transport->ended);
        ngx_queue_remove(q);

        ngx_http_klaviyo_transport_finish(
                            ngx_queue_data(q, ngx_http_klaviyo_call_t, queue));
    }

    transport->busy--;

    if (transport->destroyed && transport->busy == 0) {
        ngx_free(transport);
    }
}


static void
ngx_http_klaviyo_transport_end(ngx_http_klaviyo_transport_t *transport,
    CURLMsg *message)
{
    char                     *data;
    CURL                     *easy;
    CURLcode                  code;
    ngx_http_klaviyo_call_t  *call;

    easy = message->easy_handle;
    code = message->data.result;

    (void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &data);
    call = (ngx_http_klaviyo_call_t *) data;

    /* "message" is gone after this */

    (void) curl_multi_remove_handle(transport->loop.multi, easy);

    call->code = code;
    call->ended = 1;

    ngx_queue_remove(&call->queue);
    ngx_queue_insert_tail(&transport->ended, &call->queue);
}


/*
 * The status counts as soon as it was received, even if the rest broke: 2xx
 * means accepted.  libcurl fails so after an answer that came before the whole
 * body was read (HTTP/2), or one that was too long.
 */

static void
ngx_http_klaviyo_transport_finish(ngx_http_klaviyo_call_t *call)
{
    long                        status;
    curl_off_t                  usec;
    ngx_http_klaviyo_answer_t  *answer;

    answer = &call->answer;

    status = 0;
    (void) curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);

    if (status >= 200) {
        answer->status = status;

    } else {
        /* at most an interim answer */
        ngx_http_klaviyo_api_init(answer);
    }

    usec = 0;
    (void) curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &usec);

    answer->duration = usec / 1000;

    if (call->code != CURLE_OK) {
        ngx_http_klaviyo_transport_failure(call);
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, call->pool->log, 0,
                   "klaviyo call %p: %ui in %M ms \"%V\"",
                   call, answer->status, answer->duration, &answer->failure);

    call->finished = 1;

    call->post.done(call->post.data, answer, call->pool);

    ngx_http_klaviyo_transport_free(call);
}


/* It may quote a peer's certificate, and is for the log. */

static void
ngx_http_klaviyo_transport_failure(ngx_http_klaviyo_call_t *call)
{
    char       *text;
    size_t      i;
    ngx_str_t  *failure;

    failure = &call->answer.failure;

    if (call->error[0] == '\0') {
        text = (char *) curl_easy_strerror(call->code);
        (void) ngx_cpystrn((u_char *) call->error, (u_char *) text,
                           CURL_ERROR_SIZE);
    }

    failure->data = (u_char *) call->error;
    failure->len = ngx_strlen(call->error);

    for (i = 0; i < failure->len; i++) {
        if (failure->data[i] < ' ' || failure->data[i] > '~') {
            failure->data[i] = '?';
        }
    }
}


void
ngx_http_klaviyo_transport_cancel(ngx_http_klaviyo_call_t *call)
{
    if (call->finished) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, call->pool->log, 0,
                   "klaviyo call %p: cancel", call);

    ngx_queue_remove(&call->queue);

    if (!call->ended) {
        (void) curl_multi_remove_handle(call->transport->loop.multi,
                                        call->easy);
    }

    ngx_http_klaviyo_transport_free(call);
}


static void
ngx_http_klaviyo_transport_free(ngx_http_klaviyo_call_t *call)
{
    if (call->easy) {
        curl_easy_cleanup(call->easy);
    }

    curl_slist_free_all(call->headers);

    ngx_destroy_pool(call->pool);
}


void
ngx_http_klaviyo_transport_destroy(ngx_http_klaviyo_transport_t *transport)
{
    ngx_uint_t    i;
    ngx_queue_t  *q, *queues[] = { &transport->calls, &transport->ended };

    if (transport->destroyed) {
        return;
    }

    transport->destroyed = 1;

    for (i = 0; i < 2; i++) {
        while (!ngx_queue_empty(queues[i])) {
            q = ngx_queue_head(queues[i]);

            ngx_http_klaviyo_transport_cancel(
                            ngx_queue_data(q, ngx_http_klaviyo_call_t, queue));
        }
    }

    ngx_http_klaviyo_loop_destroy(&transport->loop);

    if (transport->busy == 0) {
        ngx_free(transport);
    }
}
