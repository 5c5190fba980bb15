
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What becomes of a range that was sent: finished, halved, kept for later, or
 * one event taken out of it for good.
 */


#ifndef _NGX_HTTP_KLAVIYO_OUTCOME_H_INCLUDED_
#define _NGX_HTTP_KLAVIYO_OUTCOME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_klaviyo_sender.h"


/* Acts on the verdict; the flight's slot is no longer this process's then. */
void ngx_http_klaviyo_outcome(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer, ngx_http_klaviyo_verdict_t *verdict);

/* No answer: the range waits, and so does the account. */
void ngx_http_klaviyo_outcome_failed(ngx_http_klaviyo_flight_t *flight,
    ngx_http_klaviyo_answer_t *answer);

/* Writes the body to the file instead of sending it. */
void ngx_http_klaviyo_outcome_dry_run(ngx_http_klaviyo_flight_t *flight);


#endif /* _NGX_HTTP_KLAVIYO_OUTCOME_H_INCLUDED_ */
