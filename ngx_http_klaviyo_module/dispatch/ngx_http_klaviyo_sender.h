
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The sender of one account: which range of its ring goes out, when, and what
 * becomes of it.  Knows no timer: whoever calls it is told when to call again.
 */


#ifndef _NGX_HTTP_KLAVIYO_SENDER_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_SENDER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_http_klaviyo_account.h"
#include "ngx_http_klaviyo_batch.h"
#include "ngx_http_klaviyo_budget.h"
#include "ngx_http_klaviyo_deadletter.h"
#include "ngx_http_klaviyo_rate.h"
#include "ngx_http_klaviyo_rescue.h"
#include "ngx_http_klaviyo_spool.h"
#include "ngx_http_klaviyo_transport.h"


#define NGX_HTTP_KLAVIYO_IN_FLIGHT       4

/* how soon a ring with events in it is looked at again: while a batch may
 * become full, and while nothing can be sent anyway */
#define NGX_HTTP_KLAVIYO_TICK            100
#define NGX_HTTP_KLAVIYO_TICK_BLOCKED    250

/* there is more to move to the spool; the ring is more than a quarter full */
#define NGX_HTTP_KLAVIYO_TICK_OVERFLOW   2
#define NGX_HTTP_KLAVIYO_TICK_FILLS      20

/* the next try after Klaviyo refused the account, not an event */
#define NGX_HTTP_KLAVIYO_STOPPED         60000

/* the longest pause between two tries while the process is about to leave,
 * and the longest that an answer can ask for */
#define NGX_HTTP_KLAVIYO_HURRY           500
#define NGX_HTTP_KLAVIYO_MAX_PAUSE       3600000

/* if more events were to die, in a row or in a minute, the fault is ours */
#define NGX_HTTP_KLAVIYO_DEATHS_ROW      20
#define NGX_HTTP_KLAVIYO_DEATHS_MINUTE   60


/* ranges that fail, as many as are remembered */
#define NGX_HTTP_KLAVIYO_TROUBLES        16


/* whether the entry that an error points at is the one that is refused */
typedef enum {
    NGX_HTTP_KLAVIYO_POINTERS_UNKNOWN = 0,
    NGX_HTTP_KLAVIYO_POINTERS_RIGHT,
    NGX_HTTP_KLAVIYO_POINTERS_WRONG
} ngx_http_klaviyo_pointers_e;


typedef struct ngx_http_klaviyo_sender_s  ngx_http_klaviyo_sender_t;

/* a request of the sender has ended: time to look at it again */
typedef void (*ngx_http_klaviyo_sender_pt)(void *data);


/* the batch first: libcurl's reader takes it for what the call's data is */
typedef struct {
    ngx_http_klaviyo_batch_t             batch;
    ngx_http_klaviyo_sender_t           *sender;
    ngx_http_klaviyo_call_t             *call;     /* NULL: free */
    ngx_uint_t                           round;    /* when it was sent */
    uint32_t                             queued;   /* its first event, low bits
                                                      of ngx_current_msec */
    ngx_msec_t                           since;
} ngx_http_klaviyo_flight_t;


/* a range that has failed without a word about its events */
typedef struct {
    ngx_http_klaviyo_record_t           *record;   /* its first, NULL: free */
    uint32_t                             id;       /* of that, since another */
    uint32_t                             msec;     /* one may be there later */

    ngx_uint_t                           tries;
    ngx_uint_t                           failures;  /* with an event accepted
                                                       since the one before */
    ngx_uint_t                           accepted;  /* requests until then */
    ngx_uint_t                           others;   /* that had failed then */

    /* aside: the slot is ours, and waits until "next"; or NGX_DECLINED */
    ngx_int_t                            slot;
    ngx_uint_t                           events;
    ngx_msec_t                           next;
} ngx_http_klaviyo_trouble_t;


struct ngx_http_klaviyo_sender_s {
    ngx_http_klaviyo_account_t          *account;
    ngx_http_klaviyo_account_state_t    *state;    /* in the control zone */
    ngx_http_klaviyo_budget_t           *budget;   /* in it */
    ngx_http_klaviyo_rate_t              rate;
    ngx_http_klaviyo_transport_t        *transport;
    ngx_log_t                           *log;

    ngx_http_klaviyo_sender_pt           ended;
    void                                *data;

    ngx_http_klaviyo_journal_t           dead;
    ngx_http_klaviyo_journal_t           dry_run;
    ngx_http_klaviyo_spool_t             spool;
    ngx_http_klaviyo_rescue_t            rescue;

    ngx_http_klaviyo_flight_t            flights[NGX_HTTP_KLAVIYO_IN_FLIGHT];
    ngx_uint_t                           in_flight;

    /* adopted, but the budget said no; or NGX_DECLINED */
    ngx_int_t                            held;

    ngx_http_klaviyo_sender_e            mode;
    ngx_msec_t                           since;    /* it is away */

    /* A round ends with a failure: answers to requests of an earlier one
     * neither prolong nor end what that failure began. */
    ngx_uint_t                           round;
    ngx_uint_t                           failures;  /* rounds in a row */
    ngx_msec_t                           next;     /* ngx_current_msec */

    /* deaths with nothing accepted in between; of the minute that began */
    ngx_uint_t                           row;
    ngx_uint_t                           deaths;
    ngx_msec_t                           minute;

    /* the event that was pointed at and is sent alone: it proves which */
    ngx_http_klaviyo_pointers_e          pointers;
    ngx_http_klaviyo_record_t           *suspect;

    /* what fails while others don't; requests that were accepted, ranges that
     * have failed a first time */
    ngx_http_klaviyo_trouble_t           troubles[NGX_HTTP_KLAVIYO_TROUBLES];
    ngx_uint_t                           accepted;
    ngx_uint_t                           others;

    /* for the log: since the account was well, or since they were told */
    ngx_uint_t                           failed;
    ngx_uint_t                           died;
    ngx_uint_t                           died_status;
    ngx_uint_t                           unkept;   /* since one was kept */
    ngx_uint_t                           unwritten;

    /* what was told last, and when a failure was */
    ngx_http_klaviyo_sender_e            told;
    char                                *told_reason;
    time_t                               told_failed;

    /* where the probes of a fault are among what waits */
    uint64_t                             place;

    unsigned                             homeless:1;  /* "state" is ours: the
                                                         zone has none free */
    unsigned                             owner:1;
    unsigned                             claim:1;
    unsigned                             hurry:1;
    unsigned                             waiting:1;  /* slots may wait */
    unsigned                             blocked:1;  /* until "next" */
    unsigned                             probe:1;  /* one request at a time */
    unsigned                             fault:1;  /* nothing may die */
    unsigned                             fresh:1;  /* in a fault the probes take
                                                      turns: new events are
                                                      next */
};


/* NGX_OK or NGX_ERROR (no memory). */
ngx_int_t ngx_http_klaviyo_sender_init(ngx_http_klaviyo_sender_t *s,
    ngx_pool_t *pool, ngx_http_klaviyo_directory_t *directory);

/*
 * Takes the ring over if it may, looks for slots that others left, tells in
 * the log what waits to be told.  At the start and each second.
 */
void ngx_http_klaviyo_sender_second(ngx_http_klaviyo_sender_t *s);

/*
 * Sends what is due.  Returns the milliseconds after which to call again, or
 * NGX_TIMER_INFINITE: nothing to do before the next event or answer.
 */
ngx_msec_t ngx_http_klaviyo_sender_run(ngx_http_klaviyo_sender_t *s);

/* See ngx_http_klaviyo_dispatcher_drain(). */
void ngx_http_klaviyo_sender_drain(ngx_http_klaviyo_sender_t *s,
    ngx_uint_t claim);

/*
 * Cancels the requests and moves what is left to the spool.  Returns how many
 * events stay in the ring; none if another process owns it.
 */
ngx_uint_t ngx_http_klaviyo_sender_stop(ngx_http_klaviyo_sender_t *s);

/* Milliseconds of the clock that all processes share: the budget's. */
uint64_t ngx_http_klaviyo_sender_clock(void);


#endif /* _NGX_HTTP_KLAVIYO_SENDER_H_INCLUDED_ */
