
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Ranges that fail without a word about their events (5xx, no answer) while
 * others of the account are accepted: the fault may be in what they hold.  Such
 * a range is set aside, so that it doesn't hold up the others, and tried again
 * beside them; it is halved when it has failed often enough, and one event that
 * is left of it is given up when it alone fails on and on.
 *
 * If nothing is accepted it is an outage: nothing is halved, nothing dies.
 */


#ifndef _NGX_HTTP_KLAVIYO_TROUBLE_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_TROUBLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_sender.h"


/*
 * So many failures, with a request accepted between each two of them and the
 * next: then it is halved.  A single event dies after more, if no other range
 * began to fail meanwhile.
 */
#define NGX_HTTP_KLAVIYO_TROUBLE_HALVE   3
#define NGX_HTTP_KLAVIYO_TROUBLE_DIES    10

/*
 * A range that has failed so often lets the others go first, also if nothing is
 * accepted; but no more than so many: in an outage the rest goes to the spool.
 */
#define NGX_HTTP_KLAVIYO_TROUBLE_ASIDE   3
#define NGX_HTTP_KLAVIYO_TROUBLE_MAX     4

/* the longest pause of one that is aside, milliseconds */
#define NGX_HTTP_KLAVIYO_TROUBLE_PAUSE   60000


typedef enum {
    NGX_HTTP_KLAVIYO_TROUBLE_WAITS = 0,  /* as the account does */
    NGX_HTTP_KLAVIYO_TROUBLE_KEPT,       /* aside; the slot stays ours */
    NGX_HTTP_KLAVIYO_TROUBLE_HALVED,     /* its halves wait */
    NGX_HTTP_KLAVIYO_TROUBLE_DEAD        /* the event is to die */
} ngx_http_klaviyo_trouble_e;


/*
 * The range of the flight has failed; "wait" is the account's pause.  "alone"
 * is set if others were accepted since it failed last: then the account isn't
 * to blame.
 */
ngx_http_klaviyo_trouble_e ngx_http_klaviyo_trouble_failed(
    ngx_http_klaviyo_flight_t *flight, ngx_msec_t wait, ngx_uint_t *alone);

/* A request was accepted, so the range of the flight is no trouble. */
void ngx_http_klaviyo_trouble_over(ngx_http_klaviyo_flight_t *flight);

/* The range of the slot is another one now. */
void ngx_http_klaviyo_trouble_forget(ngx_http_klaviyo_sender_t *s,
    ngx_int_t slot);

/* The account is well again: what failed with it is tried at once. */
void ngx_http_klaviyo_trouble_back(ngx_http_klaviyo_sender_t *s);

/*
 * The slot of a range that was aside and is to be tried now, or NGX_DECLINED;
 * then "wait" tells after how many milliseconds to ask again, or
 * NGX_TIMER_INFINITE.  One at a time is tried.
 */
ngx_int_t ngx_http_klaviyo_trouble_due(ngx_http_klaviyo_sender_t *s,
    ngx_msec_t *wait);

/* How many events are aside. */
ngx_uint_t ngx_http_klaviyo_trouble_events(ngx_http_klaviyo_sender_t *s);

/* The slot of any that is aside, for the spool, or NGX_DECLINED. */
ngx_int_t ngx_http_klaviyo_trouble_take(ngx_http_klaviyo_sender_t *s);

/* Gives back all that are aside, as when another process is to send them. */
void ngx_http_klaviyo_trouble_release(ngx_http_klaviyo_sender_t *s);


#endif /* _NGX_HTTP_KLAVIYO_TROUBLE_H_INCLUDED_ */
