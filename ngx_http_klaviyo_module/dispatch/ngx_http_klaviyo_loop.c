
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * A multi handle of libcurl on nginx's event loop.  The functions that libcurl
 * calls touch nginx's events only and never call libcurl, but for
 * curl_multi_assign().
 */


#include "ngx_http_klaviyo_loop.h"


/*
 * libcurl (7.88 at least) asks for writability as long as the peer's HTTP/2
 * window is closed, and spins.  So many writes without a read between them are
 * followed by a pause, milliseconds, and each pause by a few more; a plain
 * upload hardly meets it.
 */
#define NGX_HTTP_KLAVIYO_LOOP_WRITES     64
#define NGX_HTTP_KLAVIYO_LOOP_MORE       8
#define NGX_HTTP_KLAVIYO_LOOP_PAUSE      5


typedef struct {
    ngx_http_klaviyo_loop_t             *loop;
    ngx_file_uniq_t                      uniq;
    ngx_uint_t                           writes;   /* since the last read */
} ngx_http_klaviyo_socket_t;


static int ngx_http_klaviyo_loop_socket(CURL *easy, curl_socket_t fd, int what,
    void *data, void *socket);
static ngx_connection_t *ngx_http_klaviyo_loop_open(
    ngx_http_klaviyo_loop_t *loop, curl_socket_t fd);
static ngx_uint_t ngx_http_klaviyo_loop_closed(ngx_connection_t *c);
static void ngx_http_klaviyo_loop_watch(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t wanted);
static void ngx_http_klaviyo_loop_unwatch(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t flags);
static void ngx_http_klaviyo_loop_remove(ngx_connection_t *c,
    ngx_uint_t closed);
static int ngx_http_klaviyo_loop_timer(CURLM *multi, long msec, void *data);
static void ngx_http_klaviyo_loop_socket_handler(ngx_event_t *ev);
static void ngx_http_klaviyo_loop_timer_handler(ngx_event_t *ev);
static void ngx_http_klaviyo_loop_action(ngx_http_klaviyo_loop_t *loop,
    curl_socket_t fd, int mask);


ngx_int_t
ngx_http_klaviyo_loop_init(ngx_http_klaviyo_loop_t *loop)
{
    loop->ident = -1;

    loop->timer.handler = ngx_http_klaviyo_loop_timer_handler;
    loop->timer.data = loop;
    loop->timer.log = loop->log;

    loop->posted.handler = ngx_http_klaviyo_loop_timer_handler;
    loop->posted.data = loop;
    loop->posted.log = loop->log;

    loop->multi = curl_multi_init();
    if (loop->multi == NULL) {
        return NGX_ERROR;
    }

    if (curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION,
                          ngx_http_klaviyo_loop_socket)
        != CURLM_OK
        || curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop)
           != CURLM_OK
        || curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION,
                             ngx_http_klaviyo_loop_timer)
           != CURLM_OK
        || curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop)
           != CURLM_OK)
    {
        (void) curl_multi_cleanup(loop->multi);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_klaviyo_loop_destroy(ngx_http_klaviyo_loop_t *loop)
{
    (void) curl_multi_cleanup(loop->multi);

    /* only now: the cleanup may still set them */

    if (loop->timer.timer_set) {
        ngx_del_timer(&loop->timer);
    }

    if (loop->posted.posted) {
        ngx_delete_posted_event(&loop->posted);
    }
}


/*
 * Called by libcurl.  The connection is known by "socket", not by its number:
 * libcurl may close 12 and open 12 again within one turn.
 */

static int
ngx_http_klaviyo_loop_socket(CURL *easy, curl_socket_t fd, int what,
    void *data, void *socket)
{
    ngx_connection_t         *c = socket;
    ngx_http_klaviyo_loop_t  *loop = data;

    ngx_uint_t  closed;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, loop->log, 0,
                   "klaviyo socket %p fd:%d what:%d", c, fd, what);

    if (c) {
        closed = ngx_http_klaviyo_loop_closed(c);

        if (closed || what == CURL_POLL_REMOVE) {
            ngx_http_klaviyo_loop_remove(c, closed);
            c = NULL;
        }
    }

    if (what == CURL_POLL_REMOVE) {
        return 0;
    }

    if (c == NULL) {
        c = ngx_http_klaviyo_loop_open(loop, fd);

        if (c == NULL) {
            /* one transfer times out; -1 would end them all */
            return 0;
        }

        (void) curl_multi_assign(loop->multi, fd, c);
    }

    ngx_http_klaviyo_loop_watch(c->read, NGX_READ_EVENT,
                                what & CURL_POLL_IN);
    ngx_http_klaviyo_loop_watch(c->write, NGX_WRITE_EVENT,
                                what & CURL_POLL_OUT);

    return 0;
}


static ngx_connection_t *
ngx_http_klaviyo_loop_open(ngx_http_klaviyo_loop_t *loop, curl_socket_t fd)
{
    ngx_connection_t           *c;
    ngx_file_info_t             info;
    ngx_http_klaviyo_socket_t  *s;

    if (ngx_fd_info(fd, &info) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, loop->log, ngx_errno,
                      ngx_fd_info_n " %d failed", fd);
        return NULL;
    }

    s = ngx_alloc(sizeof(ngx_http_klaviyo_socket_t), loop->log);
    if (s == NULL) {
        return NULL;
    }

    c = ngx_get_connection(fd, loop->log);
    if (c == NULL) {
        ngx_free(s);
        return NULL;
    }

    s->loop = loop;
    s->uniq = ngx_file_uniq(&info);
    s->writes = 0;

    c->data = s;
    c->log = loop->log;

    c->read->handler = ngx_http_klaviyo_loop_socket_handler;
    c->read->log = loop->log;

    c->write->handler = ngx_http_klaviyo_loop_socket_handler;
    c->write->log = loop->log;

    return c;
}


/*
 * libcurl (7.88) tells of a socket that was still connecting when it has closed
 * it already: the system has dropped its events then, and its number may be
 * another socket's.
 */

static ngx_uint_t
ngx_http_klaviyo_loop_closed(ngx_connection_t *c)
{
    ngx_file_info_t             info;
    ngx_http_klaviyo_socket_t  *s;

    s = c->data;

    return ngx_fd_info(c->fd, &info) == NGX_FILE_ERROR
           || ngx_file_uniq(&info) != s->uniq;
}


/*
 * Level-triggered, whatever the method of the cycle: libcurl doesn't read until
 * there is nothing left.  A write event in its pause comes back by its timer.
 */

static void
ngx_http_klaviyo_loop_watch(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t wanted)
{
    if (!wanted) {
        ngx_http_klaviyo_loop_unwatch(ev, event, 0);

    } else if (!ev->active && !ev->timer_set) {
        (void) ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }
}


static void
ngx_http_klaviyo_loop_unwatch(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t flags)
{
    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (ev->active) {
        (void) ngx_del_event(ev, event, flags);
    }
}


static void
ngx_http_klaviyo_loop_remove(ngx_connection_t *c, ngx_uint_t closed)
{
    ngx_uint_t  flags;

    flags = closed ? NGX_CLOSE_EVENT : 0;

    ngx_http_klaviyo_loop_unwatch(c->read, NGX_READ_EVENT, flags);
    ngx_http_klaviyo_loop_unwatch(c->write, NGX_WRITE_EVENT, flags);

    ngx_free(c->data);
    ngx_free_connection(c);

    /* the descriptor is libcurl's; an event of this turn finds it gone */
    c->fd = (ngx_socket_t) -1;
}


/*
 * Called by libcurl, which wants to be called back after "msec".  An armed
 * timer would ignore a small change; "at once" is in the next turn of the event
 * loop, so that sockets get theirs whatever libcurl asks for.
 */

static int
ngx_http_klaviyo_loop_timer(CURLM *multi, long msec, void *data)
{
    ngx_http_klaviyo_loop_t  *loop = data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, loop->log, 0,
                   "klaviyo timer: %l", msec);

    if (loop->timer.timer_set) {
        ngx_del_timer(&loop->timer);
    }

    if (loop->posted.posted) {
        ngx_delete_posted_event(&loop->posted);
    }

    if (msec == 0) {
        ngx_post_event(&loop->posted, &ngx_posted_next_events);

    } else if (msec > 0) {
        ngx_add_timer(&loop->timer, (ngx_msec_t) msec);
    }

    return 0;
}


static void
ngx_http_klaviyo_loop_socket_handler(ngx_event_t *ev)
{
    ngx_connection_t           *c;
    ngx_http_klaviyo_socket_t  *s;

    c = ev->data;
    s = c->data;

    if (!ev->write) {
        s->writes = 0;

    } else if (ev->timedout) {
        ev->timedout = 0;
        s->writes -= NGX_HTTP_KLAVIYO_LOOP_MORE;

        (void) ngx_add_event(ev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);

    } else if (++s->writes > NGX_HTTP_KLAVIYO_LOOP_WRITES) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, s->loop->log, 0,
                       "klaviyo socket fd:%d pause", c->fd);

        (void) ngx_del_event(ev, NGX_WRITE_EVENT, 0);
        ngx_add_timer(ev, NGX_HTTP_KLAVIYO_LOOP_PAUSE);

        return;
    }

    ngx_http_klaviyo_loop_action(s->loop, c->fd,
                                 ev->write ? CURL_CSELECT_OUT
                                           : CURL_CSELECT_IN);
}


static void
ngx_http_klaviyo_loop_timer_handler(ngx_event_t *ev)
{
    ngx_http_klaviyo_loop_action(ev->data, CURL_SOCKET_TIMEOUT, 0);
}


static void
ngx_http_klaviyo_loop_action(ngx_http_klaviyo_loop_t *loop, curl_socket_t fd,
    int mask)
{
    int        running;
    CURLMcode  rc;

    rc = curl_multi_socket_action(loop->multi, fd, mask, &running);

    if (rc != CURLM_OK) {
        ngx_log_error(NGX_LOG_ERR, loop->log, 0,
                      "klaviyo: curl_multi_socket_action() failed (%s)",
                      curl_multi_strerror(rc));
    }

    loop->handler(loop->data);
}
