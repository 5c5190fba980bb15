
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The dispatcher: one sender per account, and what tells them when to look at
 * their rings: the eventfd, one timer for all, and answers.
 *
 * A worker writes to the eventfd only when the process sleeps, and it sleeps
 * only when all rings are empty but for what is on its way.  As long as events
 * are there the timer looks, so that a worker writes once per linger at most.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_http_klaviyo_dispatcher.h"
#include "ngx_http_klaviyo_overflow.h"
#include "ngx_http_klaviyo_ring_file.h"
#include "ngx_http_klaviyo_sender.h"


#define NGX_HTTP_KLAVIYO_SECOND  1000


/* accounts that are only in the spool, as many as are told */
#define NGX_HTTP_KLAVIYO_STRANGERS  8

#define NGX_HTTP_KLAVIYO_STRANGER   (NGX_HTTP_KLAVIYO_LANE_NAME_MAX + 1)

typedef struct {
    ngx_array_t                         *accounts;
    ngx_uint_t                           n;
    u_char                               names[NGX_HTTP_KLAVIYO_STRANGERS]
                                              [NGX_HTTP_KLAVIYO_STRANGER];
} ngx_http_klaviyo_strangers_t;


struct ngx_http_klaviyo_dispatcher_s {
    ngx_http_klaviyo_control_t          *control;
    ngx_http_klaviyo_transport_t        *transport;
    ngx_http_klaviyo_sender_t           *senders;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                            ident;

    ngx_pool_t                          *pool;
    ngx_log_t                           *log;

    ngx_http_klaviyo_directory_t        *spool;

    ngx_uint_t                           nsenders;

    ngx_http_klaviyo_second_pt           each;     /* second; or NULL */
    void                                *data;

    ngx_event_t                          look;
    ngx_event_t                          second;
    ngx_connection_t                    *wake;     /* NULL: the timer looks */

    unsigned                             waits:1;  /* for the lock */
    unsigned                             asleep:1;
    unsigned                             stopped:1;
};


static ngx_int_t ngx_http_klaviyo_dispatcher_senders(
    ngx_http_klaviyo_dispatcher_t *d,
    ngx_http_klaviyo_dispatcher_conf_t *conf);
static void ngx_http_klaviyo_dispatcher_lock(
    ngx_http_klaviyo_dispatcher_t *d);
static void ngx_http_klaviyo_dispatcher_unknown(
    ngx_http_klaviyo_dispatcher_conf_t *conf);
static void ngx_http_klaviyo_dispatcher_found(void *data,
    ngx_http_klaviyo_found_t *found);
static void ngx_http_klaviyo_dispatcher_timer(
    ngx_http_klaviyo_dispatcher_t *d, ngx_event_t *ev,
    ngx_event_handler_pt handler);
static void ngx_http_klaviyo_dispatcher_listen(
    ngx_http_klaviyo_dispatcher_t *d);
static void ngx_http_klaviyo_dispatcher_deafen(
    ngx_http_klaviyo_dispatcher_t *d);
static ngx_uint_t ngx_http_klaviyo_dispatcher_superseded(
    ngx_http_klaviyo_dispatcher_t *d);
static void ngx_http_klaviyo_dispatcher_wake_handler(ngx_event_t *ev);
static void ngx_http_klaviyo_dispatcher_look_handler(ngx_event_t *ev);
static void ngx_http_klaviyo_dispatcher_second_handler(ngx_event_t *ev);
static void ngx_http_klaviyo_dispatcher_look(void *data);
static void ngx_http_klaviyo_dispatcher_save_account(
    ngx_http_klaviyo_dispatcher_conf_t *conf,
    ngx_http_klaviyo_account_t *account, ngx_pool_t *pool);
static ngx_msec_t ngx_http_klaviyo_dispatcher_run(
    ngx_http_klaviyo_dispatcher_t *d);


ngx_http_klaviyo_dispatcher_t *
ngx_http_klaviyo_dispatcher_start(ngx_http_klaviyo_dispatcher_conf_t *conf)
{
    ngx_pool_t                     *pool;
    ngx_http_klaviyo_dispatcher_t  *d;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, conf->log);
    if (pool == NULL) {
        return NULL;
    }

    d = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_dispatcher_t));
    if (d == NULL) {
        goto failed;
    }

    d->ident = -1;
    d->control = conf->control;
    d->each = conf->second;
    d->data = conf->data;
    d->pool = pool;
    d->log = conf->log;
    d->spool = &conf->spool;

    d->transport = ngx_http_klaviyo_transport_create(conf->log);
    if (d->transport == NULL) {
        goto failed;
    }

    if (ngx_http_klaviyo_dispatcher_senders(d, conf) != NGX_OK) {
        ngx_http_klaviyo_transport_destroy(d->transport);
        goto failed;
    }

    ngx_http_klaviyo_dispatcher_timer(d, &d->look,
                                    ngx_http_klaviyo_dispatcher_look_handler);
    ngx_http_klaviyo_dispatcher_timer(d, &d->second,
                                  ngx_http_klaviyo_dispatcher_second_handler);

    ngx_http_klaviyo_dispatcher_listen(d);

    ngx_log_error(NGX_LOG_NOTICE, d->log, 0,
                  "klaviyo dispatcher started, generation %ui",
                  d->control->generation);

    ngx_http_klaviyo_dispatcher_lock(d);
    ngx_http_klaviyo_dispatcher_unknown(conf);

    ngx_http_klaviyo_dispatcher_second_handler(&d->second);

    return d;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


static ngx_int_t
ngx_http_klaviyo_dispatcher_senders(ngx_http_klaviyo_dispatcher_t *d,
    ngx_http_klaviyo_dispatcher_conf_t *conf)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_boot_t       boot;
    ngx_http_klaviyo_sender_t    *s;
    ngx_http_klaviyo_account_t  **accounts;

    ngx_http_klaviyo_rate_boot(&boot);

    accounts = conf->accounts->elts;

    d->nsenders = conf->accounts->nelts;

    d->senders = ngx_pcalloc(d->pool,
                             d->nsenders * sizeof(ngx_http_klaviyo_sender_t));
    if (d->senders == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < d->nsenders; i++) {
        s = &d->senders[i];

        s->account = accounts[i];
        s->transport = d->transport;
        s->log = d->log;
        s->rate.boot = boot;
        s->ended = ngx_http_klaviyo_dispatcher_look;
        s->data = d;

        if (ngx_http_klaviyo_sender_init(s, d->pool, &conf->spool) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Where the master could not take the lock, the directory may be there now, or
 * be the user's alone.  The dispatcher before us may have it, until it leaves.
 * A directory that comes while we run is left to the master's next reload.
 */

static void
ngx_http_klaviyo_dispatcher_lock(ngx_http_klaviyo_dispatcher_t *d)
{
    d->waits = ngx_http_klaviyo_directory_lock(d->spool) == NGX_AGAIN;
}


static void
ngx_http_klaviyo_dispatcher_unknown(ngx_http_klaviyo_dispatcher_conf_t *conf)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_strangers_t  strangers;

    strangers.accounts = conf->accounts;
    strangers.n = 0;

    (void) ngx_http_klaviyo_directory_walk(&conf->spool, NULL,
                                           ngx_http_klaviyo_dispatcher_found,
                                           &strangers);

    for (i = 0; i < strangers.n; i++) {
        ngx_log_error(NGX_LOG_WARN, conf->log, 0,
                      "there is no klaviyo account \"%s\" for what is in the "
                      "spool, it is kept", strangers.names[i]);
    }

    strangers.n = 0;

    ngx_http_klaviyo_ring_file_walk(&conf->spool, 0,
                                    ngx_http_klaviyo_dispatcher_found,
                                    &strangers);

    for (i = 0; i < strangers.n; i++) {
        ngx_log_error(NGX_LOG_WARN, conf->log, 0,
                      "there is no klaviyo account \"%s\" for a queue in "
                      "\"%V\", it is kept", strangers.names[i],
                      &conf->spool.rings);
    }
}


/* A name is told once, however many segments it has */

static void
ngx_http_klaviyo_dispatcher_found(void *data, ngx_http_klaviyo_found_t *found)
{
    ngx_http_klaviyo_strangers_t *strangers = data;

    ngx_str_t   *account;
    ngx_uint_t   i;

    account = &found->name.account;

    if (ngx_http_klaviyo_account_find(strangers->accounts, account)
        || account->len >= NGX_HTTP_KLAVIYO_STRANGER
        || strangers->n == NGX_HTTP_KLAVIYO_STRANGERS)
    {
        return;
    }

    for (i = 0; i < strangers->n; i++) {
        if (ngx_strncmp(strangers->names[i], account->data, account->len) == 0
            && strangers->names[i][account->len] == '\0')
        {
            return;
        }
    }

    ngx_cpystrn(strangers->names[strangers->n++], account->data,
                account->len + 1);
}


static void
ngx_http_klaviyo_dispatcher_timer(ngx_http_klaviyo_dispatcher_t *d,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = d;
    ev->log = d->log;
    ev->cancelable = 1;
}


/*
 * Level-triggered: the old and the new process share the eventfd during a
 * reload, and the one that must not read it leaves it readable.
 */

static void
ngx_http_klaviyo_dispatcher_listen(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_fd_t           fd;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    fd = ngx_http_klaviyo_control_fd(d->control);

    if (fd == NGX_INVALID_FILE || ngx_http_klaviyo_dispatcher_superseded(d)) {
        return;
    }

    c = ngx_get_connection(fd, d->log);
    if (c == NULL) {
        return;
    }

    c->data = d;

    rev = c->read;
    rev->handler = ngx_http_klaviyo_dispatcher_wake_handler;
    rev->log = d->log;

    if (ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        return;
    }

    d->wake = c;
}


static void
ngx_http_klaviyo_dispatcher_deafen(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_connection_t  *c;

    c = d->wake;

    if (c == NULL) {
        return;
    }

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }

    /* the descriptor belongs to the control zone: it stays open */

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    d->wake = NULL;
    d->asleep = 0;
}


static ngx_uint_t
ngx_http_klaviyo_dispatcher_superseded(ngx_http_klaviyo_dispatcher_t *d)
{
    return ngx_http_klaviyo_control_newest(d->control)
           > d->control->generation;
}


static void
ngx_http_klaviyo_dispatcher_wake_handler(ngx_event_t *ev)
{
    ngx_connection_t               *c;
    ngx_http_klaviyo_dispatcher_t  *d;

    c = ev->data;
    d = c->data;

    ngx_log_debug0(NGX_LOG_DEBUG_CORE, ev->log, 0, "klaviyo wake-up");

    if (ngx_http_klaviyo_dispatcher_superseded(d)) {
        ngx_http_klaviyo_dispatcher_deafen(d);

    } else {
        ngx_http_klaviyo_control_awake(d->control);
        d->asleep = 0;
    }

    ngx_http_klaviyo_dispatcher_look(d);
}


static void
ngx_http_klaviyo_dispatcher_look_handler(ngx_event_t *ev)
{
    ngx_http_klaviyo_dispatcher_look(ev->data);
}


/* Also the truth, should a wake-up ever be lost between two processes */

static void
ngx_http_klaviyo_dispatcher_second_handler(ngx_event_t *ev)
{
    ngx_uint_t                      i, superseded;
    ngx_http_klaviyo_dispatcher_t  *d;

    d = ev->data;

    superseded = ngx_http_klaviyo_dispatcher_superseded(d);

    if (d->wake && superseded) {
        ngx_http_klaviyo_dispatcher_deafen(d);
    }

    if (d->waits && !superseded) {
        ngx_http_klaviyo_dispatcher_lock(d);
    }

    if (d->each && !superseded) {
        d->each(d->data);
    }

    for (i = 0; i < d->nsenders; i++) {
        ngx_http_klaviyo_sender_second(&d->senders[i]);
    }

    ngx_http_klaviyo_dispatcher_look(d);

    ngx_add_timer(ev, NGX_HTTP_KLAVIYO_SECOND);
}


static void
ngx_http_klaviyo_dispatcher_look(void *data)
{
    ngx_http_klaviyo_dispatcher_t *d = data;

    ngx_msec_t  next;

    if (d->stopped) {
        return;
    }

    next = ngx_http_klaviyo_dispatcher_run(d);

    if (next == NGX_TIMER_INFINITE && d->wake && !d->asleep) {

        /* an event may have come before the workers could see that we sleep */

        ngx_http_klaviyo_control_sleep(d->control);
        d->asleep = 1;

        next = ngx_http_klaviyo_dispatcher_run(d);
    }

    if (next != NGX_TIMER_INFINITE && d->asleep) {
        ngx_http_klaviyo_control_awake(d->control);
        d->asleep = 0;
    }

    if (d->wake == NULL) {
        next = ngx_min(next, NGX_HTTP_KLAVIYO_TICK);
    }

    /* without the deletion a change of less than 300 ms would be ignored */

    if (d->look.timer_set) {
        ngx_del_timer(&d->look);
    }

    if (next != NGX_TIMER_INFINITE) {
        ngx_add_timer(&d->look, ngx_min(next, NGX_HTTP_KLAVIYO_TICK_BLOCKED));
    }
}


static ngx_msec_t
ngx_http_klaviyo_dispatcher_run(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_uint_t  i;
    ngx_msec_t  next, wait;

    next = NGX_TIMER_INFINITE;

    for (i = 0; i < d->nsenders; i++) {
        wait = ngx_http_klaviyo_sender_run(&d->senders[i]);
        next = ngx_min(next, wait);
    }

    return next;
}


void
ngx_http_klaviyo_dispatcher_drain(ngx_http_klaviyo_dispatcher_t *d,
    ngx_uint_t claim)
{
    ngx_uint_t  i;

    for (i = 0; i < d->nsenders; i++) {
        ngx_http_klaviyo_sender_drain(&d->senders[i], claim);
    }

    ngx_http_klaviyo_dispatcher_look(d);
}


ngx_uint_t
ngx_http_klaviyo_dispatcher_in_flight(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < d->nsenders; i++) {
        n += d->senders[i].in_flight;
    }

    return n;
}


ngx_uint_t
ngx_http_klaviyo_dispatcher_left(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_uint_t                     i, n;
    ngx_http_klaviyo_ring_t       *ring;
    ngx_http_klaviyo_ring_stat_t   stat;

    n = 0;

    for (i = 0; i < d->nsenders; i++) {
        ring = d->senders[i].account->ring;

        if (ngx_http_klaviyo_ring_owned(ring)) {
            ngx_http_klaviyo_ring_stat(ring, &stat);
            n += stat.events;
        }
    }

    return n;
}


ngx_uint_t
ngx_http_klaviyo_dispatcher_owner(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_uint_t  i;

    for (i = 0; i < d->nsenders; i++) {
        if (ngx_http_klaviyo_ring_owned(d->senders[i].account->ring)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_klaviyo_dispatcher_stuck(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_ring_t       *ring;
    ngx_http_klaviyo_ring_stat_t   stat;

    for (i = 0; i < d->nsenders; i++) {
        ring = d->senders[i].account->ring;

        if (!ngx_http_klaviyo_ring_owned(ring)) {
            continue;
        }

        ngx_http_klaviyo_ring_stat(ring, &stat);

        if (stat.events && !ngx_http_klaviyo_overflow_away(&d->senders[i])) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_http_klaviyo_dispatcher_stop(ngx_http_klaviyo_dispatcher_t *d)
{
    ngx_uint_t  i, left;

    d->stopped = 1;
    left = 0;

    for (i = 0; i < d->nsenders; i++) {
        left += ngx_http_klaviyo_sender_stop(&d->senders[i]);
    }

    ngx_http_klaviyo_dispatcher_deafen(d);

    if (d->look.timer_set) {
        ngx_del_timer(&d->look);
    }

    if (d->second.timer_set) {
        ngx_del_timer(&d->second);
    }

    ngx_http_klaviyo_transport_destroy(d->transport);

    ngx_destroy_pool(d->pool);

    return left;
}


void
ngx_http_klaviyo_dispatcher_save(ngx_http_klaviyo_dispatcher_conf_t *conf)
{
    ngx_uint_t                    i;
    ngx_pool_t                   *pool;
    ngx_http_klaviyo_account_t  **account;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, conf->log);
    if (pool == NULL) {
        return;
    }

    account = conf->accounts->elts;

    for (i = 0; i < conf->accounts->nelts; i++) {
        ngx_http_klaviyo_dispatcher_save_account(conf, account[i], pool);
    }

    if (conf->spool.rings.len) {
        (void) ngx_delete_dir(conf->spool.rings.data);
    }

    ngx_http_klaviyo_directory_unlock(&conf->spool);

    ngx_destroy_pool(pool);
}


static void
ngx_http_klaviyo_dispatcher_save_account(
    ngx_http_klaviyo_dispatcher_conf_t *conf,
    ngx_http_klaviyo_account_t *account, ngx_pool_t *pool)
{
    ngx_uint_t                 left;
    ngx_http_klaviyo_spool_t   spool;
    ngx_http_klaviyo_rescue_t  rescue;

    ngx_memzero(&spool, sizeof(ngx_http_klaviyo_spool_t));
    ngx_memzero(&rescue, sizeof(ngx_http_klaviyo_rescue_t));

    if (ngx_http_klaviyo_overflow_init(account, NULL, &conf->spool, pool,
                                       conf->log, &spool)
        != NGX_OK
        || ngx_http_klaviyo_ring_own(account->ring) != NGX_OK)
    {
        return;
    }

    ngx_http_klaviyo_spool_own(&spool);

    left = ngx_http_klaviyo_spool_all(&spool);

    /* what was killed before, and rings that a reload did without */

    ngx_http_klaviyo_rescue_init(&rescue, &spool);
    rescue.last = 1;

    while (left == 0 && ngx_http_klaviyo_rescue_scan(&rescue)) {
        (void) ngx_http_klaviyo_rescue_read(&rescue,
                                            NGX_HTTP_KLAVIYO_SPOOL_EVENTS);

        left = ngx_http_klaviyo_spool_all(&spool);
    }

    ngx_http_klaviyo_rescue_close(&rescue);
    ngx_http_klaviyo_spool_close(&spool, 1);

    if (left == 0) {
        ngx_http_klaviyo_ring_file_forget(&conf->spool, account->ring,
                                          &account->name);

    } else if (ngx_http_klaviyo_ring_kept(account->ring)) {
        ngx_log_error(NGX_LOG_WARN, conf->log, 0,
                      "klaviyo account \"%V\": %ui events stay in \"%V\" "
                      "until nginx starts again",
                      &account->name, left, &conf->spool.rings);

    } else {
        ngx_log_error(NGX_LOG_ALERT, conf->log, 0,
                      "klaviyo account \"%V\": %ui events are lost",
                      &account->name, left);
    }
}
