
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The control zone: what must outlive a ring that a reload resizes or removes.
 * Its name and size never change.  Generations, worker pids, counters per rule
 * and account, the state of each account's sender, the crash throttle and the
 * wake-up of the background process.
 */


#ifndef _NGX_HTTP_KLAVIYO_CONTROL_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_CONTROL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_counters.h"
#include "ngx_http_klaviyo_history.h"


#define NGX_HTTP_KLAVIYO_CONTROL_NAME    "klaviyo_control"
#define NGX_HTTP_KLAVIYO_CONTROL_SIZE    (16 * 1024 * 1024)

#define NGX_HTTP_KLAVIYO_MAX_ACCOUNTS    64
#define NGX_HTTP_KLAVIYO_MAX_PROCESSES   1024

#define NGX_HTTP_KLAVIYO_KEY_LEN         16

/* milliseconds: the first pause of who died soon after its start */
#define NGX_HTTP_KLAVIYO_CONTROL_FROM    100

/* the slot that counts for all when no other is free */
#define NGX_HTTP_KLAVIYO_OTHER           0


typedef enum {
    NGX_HTTP_KLAVIYO_SENDER_OK = 0,
    NGX_HTTP_KLAVIYO_SENDER_THROTTLED,   /* 429, or the budget is used up */
    NGX_HTTP_KLAVIYO_SENDER_BACKOFF,     /* Klaviyo is away */
    NGX_HTTP_KLAVIYO_SENDER_STOPPED      /* refused: key, scope, revision */
} ngx_http_klaviyo_sender_e;


/* a request took at most so many milliseconds; the last one: all others */
#define NGX_HTTP_KLAVIYO_DURATIONS                                            \
    { 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000 }

#define NGX_HTTP_KLAVIYO_NDURATIONS      11


/* what Klaviyo said no with, as far as it may be shown; how often */
typedef struct {
    ngx_atomic_t                         writing;  /* 1: not to be read */
    ngx_atomic_t                         count;    /* 0: none */
    ngx_atomic_t                         order;    /* greater: later */
    ngx_atomic_t                         first;    /* epoch seconds */
    ngx_atomic_t                         last;
    ngx_atomic_t                         status;   /* 0: no answer */
    u_char                               code[32];
    u_char                               title[64];
    u_char                               detail[192];
    u_char                               pointer[128];
} ngx_http_klaviyo_refusal_t;

#define NGX_HTTP_KLAVIYO_REFUSALS        8


/* one account; written by the background process alone, but "budget" never
 * by two at once: the owner of the account's ring writes it */
typedef struct {
    u_char                               key[NGX_HTTP_KLAVIYO_KEY_LEN];
    ngx_atomic_t                         used;
    ngx_atomic_t                         generation;  /* last that has it */

    ngx_atomic_t                         state;    /* _sender_e */
    ngx_atomic_t                         since;    /* epoch seconds */
    ngx_atomic_t                         in_flight;
    ngx_atomic_t                         requests;
    ngx_atomic_t                         retries;
    ngx_atomic_t                         answers[6];  /* [0]: no answer;
                                                         [2]: 2xx ... */
    ngx_atomic_t                         bytes;    /* bodies answered by 2xx */
    ngx_atomic_t                         last_status;
    ngx_atomic_t                         last_sent;   /* epoch seconds */
    ngx_atomic_t                         last_failed;
    ngx_atomic_t                         retry_at;    /* epoch seconds, or 0 */
    ngx_atomic_t                         quota_left;  /* RateLimit-Remaining
                                                         + 1, 0: unknown */
    /* request duration, milliseconds: sum and count, and how many each took */
    ngx_atomic_t                         duration;
    ngx_atomic_t                         durations;
    ngx_atomic_t                         took[NGX_HTTP_KLAVIYO_NDURATIONS];

    /* milliseconds from the queue to Klaviyo of the oldest event in the batch
     * that was delivered last */
    ngx_atomic_t                         delay;

    /* Klaviyo's error code ("invalid"); the last different errors */
    u_char                               last_code[32];
    ngx_atomic_t                         order;    /* of the last one */
    ngx_http_klaviyo_refusal_t           refusals[NGX_HTTP_KLAVIYO_REFUSALS];

    ngx_http_klaviyo_history_t           history;

    /* the spool: what lies there, counted by the owner of the account's ring;
     * the segment that is read and how far (0: none), the last number of one */
    ngx_atomic_t                         spool_bytes;
    ngx_atomic_t                         spool_segments;
    ngx_atomic_t                         spool_oldest;   /* epoch seconds */
    ngx_atomic_t                         spool_failed;   /* it, or a letter,
                                                            could not be written
                                                            the last time */
    ngx_atomic_t                         spool_seq;
    volatile uint64_t                    spool_reading;
    volatile uint64_t                    spool_offset;

    /* opaque to the queue: the rate windows */
    uint64_t                             budget[96];
} ngx_http_klaviyo_account_state_t;


typedef struct ngx_http_klaviyo_control_sh_s  ngx_http_klaviyo_control_sh_t;

/* one per cycle, in the cycle's pool */
typedef struct {
    ngx_slab_pool_t                     *shpool;
    ngx_http_klaviyo_control_sh_t       *sh;
    ngx_log_t                           *log;

    /* of the cycle that made this handle; set by ..._commit() */
    ngx_uint_t                           generation;
} ngx_http_klaviyo_control_t;


/*
 * The zone's init: attaches or creates, nothing else (it may run under -t, in
 * the master while old workers write, before a reload that fails).
 * shm_zone->data is a ngx_http_klaviyo_control_t.  A zone of another layout
 * is an [emerg].
 */
ngx_int_t ngx_http_klaviyo_control_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);

/*
 * In init_module, not under -t: the configuration is accepted.  Makes the
 * next generation, on the first one the instance's nonce and the eventfd
 * (nowhere else).  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_klaviyo_control_commit(ngx_http_klaviyo_control_t *control);

/* The generation that was committed last: above our own after a reload. */
ngx_uint_t ngx_http_klaviyo_control_newest(
    ngx_http_klaviyo_control_t *control);

/* Random, the same as long as the zone lives (until nginx restarts). */
uint64_t ngx_http_klaviyo_control_nonce(ngx_http_klaviyo_control_t *control);


/*
 * In init_process of a worker: enters its pid under its generation.  Returns
 * a number that no other process of this instance ever had.
 */
ngx_uint_t ngx_http_klaviyo_control_enter(ngx_http_klaviyo_control_t *control);

/* The same in the background process, which isn't counted as a worker. */
void ngx_http_klaviyo_control_attend(ngx_http_klaviyo_control_t *control);

/* At the end of either. */
void ngx_http_klaviyo_control_leave(ngx_http_klaviyo_control_t *control);

/*
 * How many workers of generations up to "generation" live; forgets those that
 * died without leaving.  In the background process.
 */
ngx_uint_t ngx_http_klaviyo_control_workers(
    ngx_http_klaviyo_control_t *control, ngx_uint_t generation);


/*
 * The slot of counters of "key" (16 bytes: hash of account, metric, patterns),
 * found or made, and marked as in use by this generation.  A full table gives
 * up slots of generations that have no worker and no event left, at last
 * NGX_HTTP_KLAVIYO_OTHER.  Takes the zone's lock: the caller keeps the number.
 */
ngx_uint_t ngx_http_klaviyo_control_slot(ngx_http_klaviyo_control_t *control,
    u_char *key);

/* The key of a slot; all zeros, as of NGX_HTTP_KLAVIYO_OTHER, is its key. */
u_char *ngx_http_klaviyo_control_key(ngx_http_klaviyo_control_t *control,
    ngx_uint_t slot);

/* Always valid, whatever the number. */
ngx_http_klaviyo_counters_t *ngx_http_klaviyo_control_counters(
    ngx_http_klaviyo_control_t *control, ngx_uint_t slot);

/*
 * Adds up the counters of all slots into "sum" (for totals that hold also for
 * rules that a reload removed).  In a worker, for the status page.
 */
void ngx_http_klaviyo_control_total(ngx_http_klaviyo_control_t *control,
    ngx_http_klaviyo_counters_t *sum);

/*
 * The state of the account with that key, found or made, and marked as in use
 * by this generation.  A full table gives up what no generation that lives has,
 * if no segment is left in the middle there; at last NULL.
 */
ngx_http_klaviyo_account_state_t *ngx_http_klaviyo_control_account(
    ngx_http_klaviyo_control_t *control, u_char *key);

/*
 * Marks it, if it is there.  In the master, for all accounts, before there is a
 * process that makes one.
 */
void ngx_http_klaviyo_control_mark(ngx_http_klaviyo_control_t *control,
    u_char *key);

/*
 * "from", which is in no table, goes on in "to", which is new; nobody else
 * writes either.
 */
void ngx_http_klaviyo_control_move(ngx_http_klaviyo_account_state_t *to,
    ngx_http_klaviyo_account_state_t *from);


/*
 * Whether a line may be logged about something that happens per event: 1 once
 * a second for all workers together.
 */
ngx_uint_t ngx_http_klaviyo_control_tell(ngx_http_klaviyo_control_t *control);

/* The eventfd, or -1. */
ngx_fd_t ngx_http_klaviyo_control_fd(ngx_http_klaviyo_control_t *control);

/*
 * In a worker, after an event was published: writes to the eventfd if the
 * background process sleeps, else costs a load.
 */
void ngx_http_klaviyo_control_wake(ngx_http_klaviyo_control_t *control);

/*
 * In the background process, before it waits: from now on the next event
 * wakes it.  It must look at its rings once more after the call.
 */
void ngx_http_klaviyo_control_sleep(ngx_http_klaviyo_control_t *control);

/* In the background process: awake, no more wake-ups wanted; drains the fd. */
void ngx_http_klaviyo_control_awake(ngx_http_klaviyo_control_t *control);


/*
 * The background process begins: returns how many milliseconds it must wait
 * first, because those before it died soon after their start (0, then from
 * NGX_HTTP_KLAVIYO_CONTROL_FROM doubling to 60 s).  Sets its pid and heartbeat.
 */
ngx_msec_t ngx_http_klaviyo_control_start(ngx_http_klaviyo_control_t *control);

/*
 * It has lived long enough, or ends in good order: the throttle is reset.  One
 * that is gone after a later ..._beat() has crashed.
 */
void ngx_http_klaviyo_control_settle(ngx_http_klaviyo_control_t *control);

/* Every second: "the background process lives".  Epoch seconds in status. */
void ngx_http_klaviyo_control_beat(ngx_http_klaviyo_control_t *control);

/* Pid (0: none yet), last heartbeat (epoch seconds), starts and crashes. */
void ngx_http_klaviyo_control_health(ngx_http_klaviyo_control_t *control,
    ngx_pid_t *pid, time_t *beat, ngx_uint_t *starts, ngx_uint_t *crashes);


#endif /* _NGX_HTTP_KLAVIYO_CONTROL_H_INCLUDED_ */
