
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The process that hosts the dispatcher.
 *
 * nginx's cache manager runs one loop: if it is told to quit or to terminate,
 * it exits at once; else it processes events.  The command is read within the
 * latter, so whoever stands behind the reading can put the flag aside until
 * what is in flight is answered.  That is why the event method's
 * process_events() is wrapped, in this process only.  The first command may be
 * read before the dispatcher is started, by the first timer.  A signal that
 * comes while other timers run is seen by nginx first: then the process dies as
 * if it were killed, which loses nothing either; the master's commands never
 * come there.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_http_klaviyo_host.h"


#define NGX_HTTP_KLAVIYO_HOST_HOUR       3600000
#define NGX_HTTP_KLAVIYO_HOST_SECOND     1000

/* how often it is looked whether it is time to leave */
#define NGX_HTTP_KLAVIYO_HOST_TICK       20
#define NGX_HTTP_KLAVIYO_HOST_SLOW_TICK  200

/* what is in flight when it must end; nginx kills after 1.5 seconds */
#define NGX_HTTP_KLAVIYO_HOST_GRACE      500

/* a process that lived so long didn't die of its start */
#define NGX_HTTP_KLAVIYO_HOST_SETTLED    10000

/* without a master and without workers, but with events */
#define NGX_HTTP_KLAVIYO_HOST_ORPHANED   600000

/* the dispatcher could not be started */
#define NGX_HTTP_KLAVIYO_HOST_RETRY      60000


typedef enum {
    NGX_HTTP_KLAVIYO_HOST_RUNS = 0,
    NGX_HTTP_KLAVIYO_HOST_ORPHAN,        /* the master died, and all workers */
    NGX_HTTP_KLAVIYO_HOST_FOLLOWED,      /* a reload: another one takes over */
    NGX_HTTP_KLAVIYO_HOST_DRAINS,        /* nginx ends: deliver what is there */
    NGX_HTTP_KLAVIYO_HOST_LEAVES         /* only what is in flight */
} ngx_http_klaviyo_host_phase_e;


typedef struct {
    ngx_http_klaviyo_host_conf_t        *conf;
    ngx_http_klaviyo_control_t          *control;
    ngx_http_klaviyo_dispatcher_t       *dispatcher;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                            ident;

    ngx_log_t                           *log;

    ngx_int_t                          (*process_events)(ngx_cycle_t *cycle,
                                             ngx_msec_t timer,
                                             ngx_uint_t flags);

    ngx_event_t                          timer;

    ngx_http_klaviyo_host_phase_e        phase;
    ngx_msec_t                           since;    /* the phase began */
    ngx_msec_t                           started;
    ngx_msec_t                           company;  /* a worker was seen */
    time_t                               beat;

    unsigned                             settled:1;
    unsigned                             terminate:1;
} ngx_http_klaviyo_host_t;


static void ngx_http_klaviyo_host_begin(ngx_http_klaviyo_host_conf_t *conf);
static void ngx_http_klaviyo_host_start(ngx_http_klaviyo_host_t *host);
static ngx_int_t ngx_http_klaviyo_host_process_events(ngx_cycle_t *cycle,
    ngx_msec_t timer, ngx_uint_t flags);
static void ngx_http_klaviyo_host_told(ngx_http_klaviyo_host_t *host);
static void ngx_http_klaviyo_host_enter(ngx_http_klaviyo_host_t *host,
    ngx_http_klaviyo_host_phase_e phase);
static void ngx_http_klaviyo_host_timer(ngx_http_klaviyo_host_t *host,
    ngx_msec_t msec);
static void ngx_http_klaviyo_host_handler(ngx_event_t *ev);
static void ngx_http_klaviyo_host_second(ngx_http_klaviyo_host_t *host);
static ngx_uint_t ngx_http_klaviyo_host_alone(ngx_http_klaviyo_host_t *host);
static ngx_uint_t ngx_http_klaviyo_host_delivered(
    ngx_http_klaviyo_host_t *host);
static ngx_uint_t ngx_http_klaviyo_host_done(ngx_http_klaviyo_host_t *host);
static void ngx_http_klaviyo_host_leave(ngx_http_klaviyo_host_t *host);


/* of this process, which hosts one dispatcher */
static ngx_http_klaviyo_host_t  ngx_http_klaviyo_host;


ngx_msec_t
ngx_http_klaviyo_host_manager(void *data)
{
    if (ngx_http_klaviyo_host.conf == NULL) {
        ngx_http_klaviyo_host_begin(data);
    }

    return NGX_HTTP_KLAVIYO_HOST_HOUR;
}


ngx_int_t
ngx_http_klaviyo_host_init_process(ngx_http_klaviyo_host_conf_t *conf)
{
    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_http_klaviyo_host_begin(conf);
    }

    return NGX_OK;
}


void
ngx_http_klaviyo_host_exit_process(void)
{
    ngx_http_klaviyo_host_t  *host;

    host = &ngx_http_klaviyo_host;

    if (host->dispatcher == NULL) {
        return;
    }

    /* the signal came while nginx was not waiting: it saw it before us */

    ngx_http_klaviyo_host_told(host);

    while (host->dispatcher) {
        ngx_process_events_and_timers((ngx_cycle_t *) ngx_cycle);
    }
}


void
ngx_http_klaviyo_host_exit_master(ngx_http_klaviyo_host_conf_t *conf)
{
    ngx_http_klaviyo_dispatcher_save(&conf->dispatcher);
}


static void
ngx_http_klaviyo_host_begin(ngx_http_klaviyo_host_conf_t *conf)
{
    ngx_msec_t                delay;
    ngx_uint_t                level;
    ngx_http_klaviyo_host_t  *host;

    host = &ngx_http_klaviyo_host;

    host->ident = -1;
    host->conf = conf;
    host->control = conf->dispatcher.control;
    host->log = conf->dispatcher.log;

    host->timer.handler = ngx_http_klaviyo_host_handler;
    host->timer.data = host;
    host->timer.log = host->log;
    host->timer.cancelable = 1;

    host->process_events = ngx_event_actions.process_events;
    ngx_event_actions.process_events = ngx_http_klaviyo_host_process_events;

    /* the single process has entered as a worker */

    if (ngx_process != NGX_PROCESS_SINGLE) {
        ngx_http_klaviyo_control_attend(host->control);
    }

    delay = ngx_http_klaviyo_control_start(host->control);

    if (delay) {

        /* the first of a row is news */

        level = (delay == NGX_HTTP_KLAVIYO_CONTROL_FROM) ? NGX_LOG_WARN
                                                         : NGX_LOG_INFO;

        ngx_log_error(level, host->log, 0,
                      "klaviyo dispatcher died soon after its start, "
                      "the next one starts in %Mms", delay);

        ngx_http_klaviyo_host_timer(host, delay);
        return;
    }

    ngx_http_klaviyo_host_start(host);
}


static void
ngx_http_klaviyo_host_start(ngx_http_klaviyo_host_t *host)
{
    host->dispatcher = ngx_http_klaviyo_dispatcher_start(
                                                     &host->conf->dispatcher);

    if (host->dispatcher == NULL) {
        ngx_log_error(NGX_LOG_ALERT, host->log, 0,
                      "klaviyo dispatcher could not be started, "
                      "next try in %ds", NGX_HTTP_KLAVIYO_HOST_RETRY / 1000);

        ngx_http_klaviyo_host_timer(host, NGX_HTTP_KLAVIYO_HOST_RETRY);
        return;
    }

    host->started = ngx_current_msec;
    host->company = ngx_current_msec;

    ngx_http_klaviyo_host_timer(host, NGX_HTTP_KLAVIYO_HOST_SECOND);

    /* told to quit before it was there */

    if (ngx_quit || ngx_terminate) {
        ngx_http_klaviyo_host_told(host);
    }
}


static ngx_int_t
ngx_http_klaviyo_host_process_events(ngx_cycle_t *cycle, ngx_msec_t timer,
    ngx_uint_t flags)
{
    ngx_int_t                 rc;
    ngx_http_klaviyo_host_t  *host;

    host = &ngx_http_klaviyo_host;

    rc = host->process_events(cycle, timer, flags);

    if ((ngx_quit || ngx_terminate) && host->dispatcher) {
        ngx_http_klaviyo_host_told(host);
    }

    return rc;
}


static void
ngx_http_klaviyo_host_told(ngx_http_klaviyo_host_t *host)
{
    ngx_http_klaviyo_host_phase_e  phase;

    if (ngx_terminate) {
        host->terminate = 1;
        phase = NGX_HTTP_KLAVIYO_HOST_LEAVES;

    } else if (host->phase < NGX_HTTP_KLAVIYO_HOST_FOLLOWED
               && ngx_http_klaviyo_control_newest(host->control)
                  > host->control->generation)
    {
        phase = NGX_HTTP_KLAVIYO_HOST_FOLLOWED;

    } else {
        phase = NGX_HTTP_KLAVIYO_HOST_DRAINS;
    }

    ngx_quit = 0;
    ngx_terminate = 0;

    if (phase > host->phase) {
        ngx_http_klaviyo_host_enter(host, phase);
    }
}


static void
ngx_http_klaviyo_host_enter(ngx_http_klaviyo_host_t *host,
    ngx_http_klaviyo_host_phase_e phase)
{
    ngx_log_debug2(NGX_LOG_DEBUG_CORE, host->log, 0,
                   "klaviyo host: phase %d, %ui in flight", (int) phase,
                   ngx_http_klaviyo_dispatcher_in_flight(host->dispatcher));

    host->phase = phase;
    host->since = ngx_current_msec;
    host->company = ngx_current_msec;

    /* who is followed goes on as before: it may take as long as its workers */

    if (phase >= NGX_HTTP_KLAVIYO_HOST_DRAINS) {
        ngx_http_klaviyo_dispatcher_drain(host->dispatcher,
                                      phase == NGX_HTTP_KLAVIYO_HOST_DRAINS);
    }

    ngx_http_klaviyo_host_timer(host, NGX_HTTP_KLAVIYO_HOST_TICK);
}


static void
ngx_http_klaviyo_host_timer(ngx_http_klaviyo_host_t *host, ngx_msec_t msec)
{
    /* without the deletion a change of less than 300 ms would be ignored */

    if (host->timer.timer_set) {
        ngx_del_timer(&host->timer);
    }

    ngx_add_timer(&host->timer, msec);
}


static void
ngx_http_klaviyo_host_handler(ngx_event_t *ev)
{
    ngx_msec_t                tick;
    ngx_http_klaviyo_host_t  *host;

    host = ev->data;

    if (host->dispatcher == NULL) {
        ngx_http_klaviyo_host_start(host);
        return;
    }

    if (host->beat != ngx_time()) {
        host->beat = ngx_time();
        ngx_http_klaviyo_host_second(host);
    }

    if (ngx_http_klaviyo_host_done(host)) {
        ngx_http_klaviyo_host_leave(host);
        return;
    }

    switch (host->phase) {

    case NGX_HTTP_KLAVIYO_HOST_RUNS:
    case NGX_HTTP_KLAVIYO_HOST_ORPHAN:
        tick = NGX_HTTP_KLAVIYO_HOST_SECOND;
        break;

    case NGX_HTTP_KLAVIYO_HOST_FOLLOWED:
        tick = ngx_http_klaviyo_dispatcher_owner(host->dispatcher)
               ? NGX_HTTP_KLAVIYO_HOST_SLOW_TICK : NGX_HTTP_KLAVIYO_HOST_TICK;
        break;

    default:
        tick = NGX_HTTP_KLAVIYO_HOST_TICK;
    }

    ngx_http_klaviyo_host_timer(host, tick);
}


static void
ngx_http_klaviyo_host_second(ngx_http_klaviyo_host_t *host)
{
    ngx_http_klaviyo_control_beat(host->control);

    if (!host->settled
        && ngx_current_msec - host->started >= NGX_HTTP_KLAVIYO_HOST_SETTLED)
    {
        host->settled = 1;
        ngx_http_klaviyo_control_settle(host->control);
    }

    /* nginx's own helper would stay for ever */

    if (host->phase == NGX_HTTP_KLAVIYO_HOST_RUNS
        && ngx_process != NGX_PROCESS_SINGLE
        && ngx_getppid() != ngx_parent
        && ngx_http_klaviyo_host_alone(host))
    {
        ngx_log_error(NGX_LOG_WARN, host->log, 0,
                      "klaviyo dispatcher has neither master nor workers "
                      "any more");

        ngx_http_klaviyo_host_enter(host, NGX_HTTP_KLAVIYO_HOST_ORPHAN);
    }
}


/* No worker of any generation for so long that there won't be one again */

static ngx_uint_t
ngx_http_klaviyo_host_alone(ngx_http_klaviyo_host_t *host)
{
    ngx_uint_t  newest;

    newest = ngx_http_klaviyo_control_newest(host->control);

    if (ngx_http_klaviyo_control_workers(host->control, newest)) {
        host->company = ngx_current_msec;
        return 0;
    }

    return ngx_current_msec - host->company >= host->conf->drain_timeout;
}


/* In the single process requests come as long as it lives */

static ngx_uint_t
ngx_http_klaviyo_host_delivered(ngx_http_klaviyo_host_t *host)
{
    ngx_uint_t  generation;

    generation = host->control->generation;

    return ngx_http_klaviyo_dispatcher_in_flight(host->dispatcher) == 0
           && ngx_http_klaviyo_dispatcher_left(host->dispatcher) == 0
           && (ngx_process == NGX_PROCESS_SINGLE
               || ngx_http_klaviyo_control_workers(host->control, generation)
                  == 0);
}


static ngx_uint_t
ngx_http_klaviyo_host_done(ngx_http_klaviyo_host_t *host)
{
    ngx_msec_t  elapsed;

    elapsed = ngx_current_msec - host->since;

    switch (host->phase) {

    case NGX_HTTP_KLAVIYO_HOST_RUNS:
        return 0;

    case NGX_HTTP_KLAVIYO_HOST_ORPHAN:
        return elapsed >= NGX_HTTP_KLAVIYO_HOST_ORPHANED
               || ngx_http_klaviyo_host_delivered(host);

    case NGX_HTTP_KLAVIYO_HOST_FOLLOWED:

        /* the master doesn't tell us a second time when nginx ends */

        if (ngx_http_klaviyo_host_alone(host)) {
            ngx_http_klaviyo_host_enter(host, NGX_HTTP_KLAVIYO_HOST_LEAVES);
            return 0;
        }

        if (!ngx_http_klaviyo_dispatcher_owner(host->dispatcher)) {
            return ngx_http_klaviyo_dispatcher_in_flight(host->dispatcher)
                   == 0;
        }

        /* what it owns is nobody else's: the spool keeps it */

        if (ngx_http_klaviyo_control_workers(host->control,
                                             host->control->generation)
            == 0
            && ngx_http_klaviyo_dispatcher_stuck(host->dispatcher))
        {
            ngx_http_klaviyo_host_enter(host, NGX_HTTP_KLAVIYO_HOST_LEAVES);
            return 0;
        }

        return ngx_http_klaviyo_host_delivered(host);

    case NGX_HTTP_KLAVIYO_HOST_DRAINS:

        /* nginx stays as long as its workers do, so there is time */

        if (elapsed >= host->conf->drain_timeout
            && (ngx_process == NGX_PROCESS_SINGLE
                || ngx_http_klaviyo_control_workers(host->control,
                                                    host->control->generation)
                   == 0))
        {
            ngx_http_klaviyo_host_enter(host, NGX_HTTP_KLAVIYO_HOST_LEAVES);
            return 0;
        }

        return ngx_http_klaviyo_host_delivered(host);

    default: /* NGX_HTTP_KLAVIYO_HOST_LEAVES */

        return elapsed >= NGX_HTTP_KLAVIYO_HOST_GRACE
               || ngx_http_klaviyo_dispatcher_in_flight(host->dispatcher)
                  == 0;
    }
}


/* nginx finds the flag again, and exits at the end of this turn of its loop */

static void
ngx_http_klaviyo_host_leave(ngx_http_klaviyo_host_t *host)
{
    ngx_uint_t  left;

    left = ngx_http_klaviyo_dispatcher_stop(host->dispatcher);
    host->dispatcher = NULL;

    ngx_log_error(NGX_LOG_NOTICE, host->log, 0,
                  "klaviyo dispatcher stopped, generation %ui, "
                  "%ui events are left",
                  host->control->generation, left);

    ngx_http_klaviyo_control_settle(host->control);
    ngx_http_klaviyo_control_leave(host->control);

    if (host->timer.timer_set) {
        ngx_del_timer(&host->timer);
    }

    ngx_event_actions.process_events = host->process_events;

    if (host->terminate) {
        ngx_terminate = 1;

    } else {
        ngx_quit = 1;
    }
}
