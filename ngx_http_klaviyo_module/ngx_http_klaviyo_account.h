
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_account NAME { ... }: what the request side and the background
 * process must know of an account of Klaviyo.
 *
 * Klaviyo takes events, profile updates and subscriptions by different
 * endpoints, with different bodies and limits.  So an account has up to three
 * lanes, and to queue and dispatch each is an account of its own: a ring, a
 * state, files in the spool, a sender.  What events need is the account itself.
 */


#ifndef _NGX_HTTP_KLAVIYO_ACCOUNT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_ACCOUNT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_ring.h"


#define NGX_HTTP_KLAVIYO_BACKFILL_OFF    0
#define NGX_HTTP_KLAVIYO_BACKFILL_ON     1
#define NGX_HTTP_KLAVIYO_BACKFILL_AFTER  2

#define NGX_HTTP_KLAVIYO_FULL_DROP_OLDEST  0
#define NGX_HTTP_KLAVIYO_FULL_DROP_NEW     1


/* "+profiles", "+subscriptions": no account's name has a "+" */
#define NGX_HTTP_KLAVIYO_LANE_SUFFIX     14

/* the longest name of an account or a lane */
#define NGX_HTTP_KLAVIYO_NAME_MAX        64
#define NGX_HTTP_KLAVIYO_LANE_NAME_MAX                                        \
    (NGX_HTTP_KLAVIYO_NAME_MAX + NGX_HTTP_KLAVIYO_LANE_SUFFIX)


typedef enum {
    NGX_HTTP_KLAVIYO_EVENTS = 0,
    NGX_HTTP_KLAVIYO_PROFILES,
    NGX_HTTP_KLAVIYO_SUBSCRIPTIONS,
    NGX_HTTP_KLAVIYO_LANES
} ngx_http_klaviyo_lane_e;


typedef struct ngx_http_klaviyo_account_s  ngx_http_klaviyo_account_t;

struct ngx_http_klaviyo_account_s {
    ngx_str_t                            name;     /* of the lane: it is in
                                                      the names of files */
    ngx_uint_t                           index;    /* in the array; of all
                                                      lanes the same */
    u_char                               key[NGX_HTTP_KLAVIYO_KEY_LEN];
                                                   /* hash of the name */

    ngx_http_klaviyo_lane_e              lane;

    /* those that there are, else NULL; of events, the account itself */
    ngx_http_klaviyo_account_t          *lanes[NGX_HTTP_KLAVIYO_LANES];

    ngx_str_t                            api_key;  /* secret; NUL-terminated */
    ngx_str_t                            env;      /* that the key is from */
    ngx_str_t                            company_id;
    ngx_str_t                            revision;
    ngx_str_t                            service;

    /* scheme, host and port without a trailing slash; for http://unix:PATH
     * "http://localhost" and the path apart; NUL-terminated both */
    ngx_str_t                            endpoint;
    ngx_str_t                            unix_socket;

    size_t                               queue;    /* at least twice
                                                      batch_bytes */
    ngx_uint_t                           batch_events;
    size_t                               batch_bytes;  /* the whole body */
    ngx_msec_t                           linger;

    ngx_uint_t                           burst;    /* per second */
    ngx_uint_t                           steady;   /* per minute */
    ngx_uint_t                           share;    /* percent */

    ngx_msec_t                           retry_min;
    ngx_msec_t                           retry_max;

    off_t                                spool_max;
    ngx_uint_t                           spool_full;

    ngx_uint_t                           backfill;
    time_t                               backfill_after;

    ngx_msec_t                           timeout;
    ngx_msec_t                           connect_timeout;
    ngx_str_t                            trusted_certificate;  /* "": the
                                                                  system's */
    ngx_str_t                            proxy;    /* "": none */
    ngx_flag_t                           verify;
    ngx_flag_t                           http2;
    ngx_flag_t                           dry_run;

    ngx_http_klaviyo_ring_t             *ring;
};


/* what users see: "events", "profiles", "subscriptions" */
extern ngx_str_t  ngx_http_klaviyo_lane_names[];


/*
 * Reads klaviyo_account NAME { ... } that "cf" stands at: checks the name and
 * the key against "accounts" (array of ngx_http_klaviyo_account_t *) and adds
 * the new one with all defaults set.  Everything wrong is an [emerg] with the
 * offending words, never with the key.  At configuration time.
 */
char *ngx_http_klaviyo_account_block(ngx_conf_t *cf, ngx_array_t *accounts);

/* Returns the account of that name, or NULL. */
ngx_http_klaviyo_account_t *ngx_http_klaviyo_account_find(
    ngx_array_t *accounts, ngx_str_t *name);

/*
 * Returns the lane of an account, which is made at the first call: all that is
 * said in klaviyo_account, but the limits of that endpoint and a part of the
 * memory and disk.  NULL: no memory.  At configuration time, when the account's
 * block was read and before its zones are made.
 */
ngx_http_klaviyo_account_t *ngx_http_klaviyo_account_lane(ngx_pool_t *pool,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_lane_e lane);

/* The name that the lane of "account" has, from "pool".  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_klaviyo_account_lane_name(ngx_pool_t *pool,
    ngx_http_klaviyo_account_t *account, ngx_http_klaviyo_lane_e lane,
    ngx_str_t *name);

/*
 * Warns of keys from the environment that nginx's "env" does not keep, which
 * may stand behind the accounts.  When all of the configuration is read.
 */
void ngx_http_klaviyo_account_check_env(ngx_cycle_t *cycle,
    ngx_array_t *accounts);

/* The directives inside of the block. */
char *ngx_http_klaviyo_account_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_KLAVIYO_ACCOUNT_H_INCLUDED_ */
