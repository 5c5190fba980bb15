
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Klaviyo's API: the endpoint of a lane, the envelope around a batch, and what
 * an answer means for the batch.  Knows neither nginx's loop nor libcurl.
 */


#ifndef _NGX_HTTP_KLAVIYO_API_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_API_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_account.h"


/* more than the envelope of any lane takes */
#define NGX_HTTP_KLAVIYO_API_ENVELOPE    128

/* an answer's body is read up to this, the rest is discarded */
#define NGX_HTTP_KLAVIYO_API_MAX_ANSWER  (64 * 1024)

/* entries of a batch that one answer may name */
#define NGX_HTTP_KLAVIYO_API_MAX_ERRORS  1000


/* requests of a lane: what stands around the entries, which have commas
 * between them */
typedef struct {
    char                                *path;
    ngx_str_t                            head;
    ngx_str_t                            tail;
} ngx_http_klaviyo_api_t;


typedef struct {
    ngx_uint_t                           status;   /* 0: no answer */
    ngx_str_t                            body;     /* maybe cut */
    ngx_str_t                            failure;  /* libcurl's words */

    /* (ngx_msec_t) -1: the header was not there, or not a number */
    ngx_msec_t                           retry_after;
    ngx_msec_t                           reset;
    ngx_uint_t                           remaining;  /* (ngx_uint_t) -1 */
    ngx_uint_t                           limit;      /* (ngx_uint_t) -1 */
    ngx_msec_t                           duration;
} ngx_http_klaviyo_answer_t;


typedef enum {
    NGX_HTTP_KLAVIYO_VERDICT_DONE = 0,   /* the whole batch is delivered */
    NGX_HTTP_KLAVIYO_VERDICT_WAIT,       /* 429, 503: not before "wait" */
    NGX_HTTP_KLAVIYO_VERDICT_BACKOFF,    /* again, later */
    NGX_HTTP_KLAVIYO_VERDICT_STOP,       /* keep everything, alert, look again
                                            each minute */
    NGX_HTTP_KLAVIYO_VERDICT_HALVE,      /* too large, or an error that names
                                            no entry */
    NGX_HTTP_KLAVIYO_VERDICT_ENTRIES     /* "entries" are named, send the
                                            rest again */
} ngx_http_klaviyo_verdict_e;


/* one error of Klaviyo that names an entry of the batch */
typedef struct {
    ngx_uint_t                           index;
    ngx_uint_t                           repeated;   /* its unique_id is known
                                                        to Klaviyo already */
    ngx_uint_t                           error;      /* in "errors" */
} ngx_http_klaviyo_entry_t;


/* one error in Klaviyo's words; personal data possible: dead letters only */
typedef struct {
    ngx_str_t                            code;
    ngx_str_t                            title;
    ngx_str_t                            detail;
    ngx_str_t                            pointer;
} ngx_http_klaviyo_error_t;


typedef struct {
    ngx_http_klaviyo_verdict_e           verdict;
    ngx_msec_t                           wait;     /* 0: as backoff says */

    /* HALVE, one of both: with one entry left, that one is bad, or it is
     * delivered already */
    ngx_uint_t                           single;
    ngx_uint_t                           repeated;

    ngx_array_t                         *entries;  /* _entry_t, by index,
                                                      each index once; NULL
                                                      unless ENTRIES */
    ngx_array_t                         *errors;   /* _error_t; NULL if there
                                                      were none to read */
} ngx_http_klaviyo_verdict_t;


/* by lane */
extern ngx_http_klaviyo_api_t  ngx_http_klaviyo_apis[];


/*
 * What "answer" means for a batch of "events" entries of a lane, first line
 * that fits: 2xx, 409 of events: done.  429, 503: wait.  413: halve.  Not of
 * events, 400 and 409 in JSON, and 404 whose one error is about the profile's
 * id: halve.  401, 404, 405, 410, 415, 3xx, and 403 in JSON: stop.  400 in
 * JSON: the entries that its errors point at (only if all its errors do and the
 * indexes are in range), else halve.  All else: backoff.  "In JSON" is an
 * object with an array "errors", or a text that begins so and can't be read.
 * Texts are copied to "pool".
 */
void ngx_http_klaviyo_api_judge(ngx_http_klaviyo_answer_t *answer,
    ngx_http_klaviyo_lane_e lane, ngx_uint_t events, ngx_pool_t *pool,
    ngx_http_klaviyo_verdict_t *verdict);

/*
 * Reads one header line ("Name: value", any case, with or without CRLF) into
 * the answer: Retry-After (seconds or an HTTP date, relative to "now"),
 * RateLimit-Limit ("150" or "10, 10;w=1, 150;w=60": the window of a minute),
 * RateLimit-Remaining, RateLimit-Reset.  Others are ignored.
 */
void ngx_http_klaviyo_api_header(ngx_http_klaviyo_answer_t *answer,
    ngx_str_t *line, time_t now);

/* Sets all fields to "not there". */
void ngx_http_klaviyo_api_init(ngx_http_klaviyo_answer_t *answer);


#endif /* _NGX_HTTP_KLAVIYO_API_H_INCLUDED_ */
