
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What a sender lets people know: the account's state in the control zone, for
 * the status page, and lines in the error log.  Never the key, never what an
 * event or an answer holds but Klaviyo's error code and known words of it.
 */


#ifndef _NGX_HTTP_KLAVIYO_REPORT_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_REPORT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_sender.h"


/* The mode, when the next try is and what is in flight, as the sender says. */
void ngx_http_klaviyo_report_mode(ngx_http_klaviyo_sender_t *s);
void ngx_http_klaviyo_report_in_flight(ngx_http_klaviyo_sender_t *s);

/* The budget says to wait. */
void ngx_http_klaviyo_report_throttled(ngx_http_klaviyo_sender_t *s,
    ngx_msec_t wait);

/* Counts a request that has ended. */
void ngx_http_klaviyo_report_answer(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);

/* A batch is delivered. */
void ngx_http_klaviyo_report_sent(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer);

/* The account waits from now on, or is refused; Klaviyo takes it again. */
void ngx_http_klaviyo_report_failed(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer);
void ngx_http_klaviyo_report_stopped(ngx_http_klaviyo_sender_t *s,
    ngx_http_klaviyo_answer_t *answer, char *reason);
void ngx_http_klaviyo_report_back(ngx_http_klaviyo_sender_t *s);

/* An event became a dead letter, or ("kept" is 0) there is no room for it; the
 * dry run's file is full. */
void ngx_http_klaviyo_report_died(ngx_http_klaviyo_sender_t *s,
    ngx_uint_t status, ngx_uint_t kept);
void ngx_http_klaviyo_report_unwritten(ngx_http_klaviyo_sender_t *s);

/* Tells how many died since it was told; once a second. */
void ngx_http_klaviyo_report_deaths(ngx_http_klaviyo_sender_t *s);

/* The sender stops: what else there is to tell. */
void ngx_http_klaviyo_report_stop(ngx_http_klaviyo_sender_t *s);


#endif /* _NGX_HTTP_KLAVIYO_REPORT_H_INCLUDED_ */
