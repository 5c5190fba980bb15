
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The status as Prometheus' text, version 0.0.4: seconds and bytes, counters
 * with _total, all series of a metric together.
 */


#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_version.h"


#define NGX_HTTP_KLAVIYO_COUNTER         "counter"
#define NGX_HTTP_KLAVIYO_GAUGE           "gauge"


typedef enum {
    NGX_HTTP_KLAVIYO_UNIT_ONE = 0,
    NGX_HTTP_KLAVIYO_UNIT_MSEC,          /* shown as seconds */
    NGX_HTTP_KLAVIYO_UNIT_TIME           /* 0: not shown */
} ngx_http_klaviyo_unit_e;


/* a number of an account's state, of its queue, or of a rule's counters */
typedef struct {
    char                                *name;
    char                                *type;
    char                                *help;
    size_t                               offset;
    ngx_http_klaviyo_unit_e              unit;
} ngx_http_klaviyo_series_t;


static void ngx_http_klaviyo_prom_instance(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
static void ngx_http_klaviyo_prom_states(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
static void ngx_http_klaviyo_prom_answers(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
static void ngx_http_klaviyo_prom_durations(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
static void ngx_http_klaviyo_prom_queues(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out);
static void ngx_http_klaviyo_prom_rules(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out, ngx_http_klaviyo_series_t *series);
static void ngx_http_klaviyo_prom_reasons(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out, ngx_http_klaviyo_series_t *series,
    ngx_str_t *names, ngx_uint_t n);
static void ngx_http_klaviyo_prom_family(ngx_http_klaviyo_output_t *out,
    char *name, char *type, char *help);
static void ngx_http_klaviyo_prom_account(ngx_http_klaviyo_output_t *out,
    char *name, ngx_http_klaviyo_account_view_t *av);
static void ngx_http_klaviyo_prom_rule(ngx_http_klaviyo_output_t *out,
    char *name, ngx_http_klaviyo_account_view_t *av,
    ngx_http_klaviyo_rule_t *rule);
static void ngx_http_klaviyo_prom_label(ngx_http_klaviyo_output_t *out,
    char *name, ngx_str_t *value);
static void ngx_http_klaviyo_prom_value(ngx_http_klaviyo_output_t *out,
    ngx_atomic_uint_t n, ngx_http_klaviyo_unit_e unit);


#define ngx_http_klaviyo_prom_at(p, series)                                   \
    (*(ngx_atomic_t *) ((u_char *) (p) + (series)->offset))

#define ngx_http_klaviyo_prom_state(name, type, help, member, unit)           \
    { name, type, help, offsetof(ngx_http_klaviyo_account_state_t, member),   \
      unit }

#define ngx_http_klaviyo_prom_counter(name, type, help, member)               \
    { name, type, help, offsetof(ngx_http_klaviyo_counters_t, member),        \
      NGX_HTTP_KLAVIYO_UNIT_ONE }


static ngx_http_klaviyo_series_t  ngx_http_klaviyo_state_series[] = {

    ngx_http_klaviyo_prom_state("klaviyo_account_state_since_timestamp_seconds",
        NGX_HTTP_KLAVIYO_GAUGE,
        "When the account came into its state, in Unix time.",
        since, NGX_HTTP_KLAVIYO_UNIT_TIME),

    ngx_http_klaviyo_prom_state("klaviyo_requests_in_flight",
        NGX_HTTP_KLAVIYO_GAUGE,
        "Requests to Klaviyo that wait for their answer.",
        in_flight, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_state("klaviyo_requests_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Requests to Klaviyo.",
        requests, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_state("klaviyo_retries_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Requests to Klaviyo with events that were sent before.",
        retries, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_state("klaviyo_delivered_bytes_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Bytes of the bodies that Klaviyo accepted.",
        bytes, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_state("klaviyo_delivery_delay_seconds",
        NGX_HTTP_KLAVIYO_GAUGE,
        "How long the oldest event of the last delivered batch had waited.",
        delay, NGX_HTTP_KLAVIYO_UNIT_MSEC),

    ngx_http_klaviyo_prom_state("klaviyo_last_sent_timestamp_seconds",
        NGX_HTTP_KLAVIYO_GAUGE,
        "When a batch was delivered last, in Unix time.",
        last_sent, NGX_HTTP_KLAVIYO_UNIT_TIME),

    ngx_http_klaviyo_prom_state("klaviyo_last_failed_timestamp_seconds",
        NGX_HTTP_KLAVIYO_GAUGE,
        "When a request failed last, in Unix time.",
        last_failed, NGX_HTTP_KLAVIYO_UNIT_TIME),

    ngx_http_klaviyo_prom_state("klaviyo_spool_bytes",
        NGX_HTTP_KLAVIYO_GAUGE,
        "Bytes of the account's segments on disk.",
        spool_bytes, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_state("klaviyo_spool_segments",
        NGX_HTTP_KLAVIYO_GAUGE,
        "The account's segments on disk.",
        spool_segments, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_state("klaviyo_spool_oldest_timestamp_seconds",
        NGX_HTTP_KLAVIYO_GAUGE,
        "When the oldest segment was written last, in Unix time.",
        spool_oldest, NGX_HTTP_KLAVIYO_UNIT_TIME),

    ngx_http_klaviyo_prom_state("klaviyo_spool_failed",
        NGX_HTTP_KLAVIYO_GAUGE,
        "Whether a segment or a dead letter could not be written the last "
        "time.",
        spool_failed, NGX_HTTP_KLAVIYO_UNIT_ONE),

    { NULL, NULL, NULL, 0, NGX_HTTP_KLAVIYO_UNIT_ONE }
};


#define ngx_http_klaviyo_prom_queue(name, help, member, unit)                 \
    { name, NGX_HTTP_KLAVIYO_GAUGE, help,                                     \
      offsetof(ngx_http_klaviyo_ring_stat_t, member), unit }

static ngx_http_klaviyo_series_t  ngx_http_klaviyo_queue_series[] = {

    ngx_http_klaviyo_prom_queue("klaviyo_queue_size_bytes",
        "Bytes that the queue has room for.",
        size, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_queue("klaviyo_queue_used_bytes",
        "Bytes of the queue that are in use.",
        used, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_queue("klaviyo_queue_events",
        "Events in the queue, those on their way too.",
        events, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_queue("klaviyo_queue_unclaimed_events",
        "Events in the queue that are not on their way.",
        unclaimed, NGX_HTTP_KLAVIYO_UNIT_ONE),

    ngx_http_klaviyo_prom_queue("klaviyo_queue_oldest_seconds",
        "The age of the oldest event that is not on its way.",
        oldest, NGX_HTTP_KLAVIYO_UNIT_MSEC),

    { NULL, NULL, NULL, 0, NGX_HTTP_KLAVIYO_UNIT_ONE }
};


static ngx_http_klaviyo_series_t  ngx_http_klaviyo_rule_series[] = {

    ngx_http_klaviyo_prom_counter("klaviyo_events_seen_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events of requests that matched the rule's method and path.",
        seen),

    ngx_http_klaviyo_prom_counter("klaviyo_events_restored_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events that an earlier run, or an operator, put into the spool.",
        restored),

    ngx_http_klaviyo_prom_counter("klaviyo_events_sent_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events that Klaviyo accepted.",
        sent),

    ngx_http_klaviyo_prom_counter("klaviyo_events_dead_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events that Klaviyo refused for good.",
        dead),

    ngx_http_klaviyo_prom_counter("klaviyo_events_damaged_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events of the spool that could not be read.",
        damaged),

    ngx_http_klaviyo_prom_counter("klaviyo_events_queued",
        NGX_HTTP_KLAVIYO_GAUGE,
        "Events in the queue, those on their way too.",
        queued),

    ngx_http_klaviyo_prom_counter("klaviyo_events_spooled",
        NGX_HTTP_KLAVIYO_GAUGE,
        "Events that this run put into the spool.",
        spooled),

    ngx_http_klaviyo_prom_counter("klaviyo_fields_limited_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Fields that were left out because of a limit.",
        limited),

    ngx_http_klaviyo_prom_counter("klaviyo_bad_ids_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Configured values of unique_id that gave way to the default.",
        bad_ids),

    { NULL, NULL, NULL, 0, NGX_HTTP_KLAVIYO_UNIT_ONE }
};


static ngx_http_klaviyo_series_t  ngx_http_klaviyo_skipped_series =

    ngx_http_klaviyo_prom_counter("klaviyo_events_skipped_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events that were not to be sent, by reason.",
        skipped);

static ngx_http_klaviyo_series_t  ngx_http_klaviyo_dropped_series =

    ngx_http_klaviyo_prom_counter("klaviyo_events_dropped_total",
        NGX_HTTP_KLAVIYO_COUNTER,
        "Events that are lost, by reason.",
        dropped);


ngx_int_t
ngx_http_klaviyo_status_prometheus(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_http_klaviyo_prom_instance(view, out);

    if (view->accounts.nelts == 0) {
        return NGX_OK;
    }

    ngx_http_klaviyo_prom_states(view, out);
    ngx_http_klaviyo_prom_answers(view, out);
    ngx_http_klaviyo_prom_durations(view, out);
    ngx_http_klaviyo_prom_queues(view, out);

    ngx_http_klaviyo_prom_rules(view, out, ngx_http_klaviyo_rule_series);
    ngx_http_klaviyo_prom_reasons(view, out, &ngx_http_klaviyo_skipped_series,
                                  ngx_http_klaviyo_skip_names,
                                  NGX_HTTP_KLAVIYO_SKIP_N);
    ngx_http_klaviyo_prom_reasons(view, out, &ngx_http_klaviyo_dropped_series,
                                  ngx_http_klaviyo_drop_names,
                                  NGX_HTTP_KLAVIYO_DROP_N);

    return NGX_OK;
}


static void
ngx_http_klaviyo_prom_instance(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_http_klaviyo_prom_family(out, "klaviyo_build_info",
                                 NGX_HTTP_KLAVIYO_GAUGE,
                                 "The versions of the module and of nginx.");
    ngx_http_klaviyo_output_text(out, "klaviyo_build_info{version=\""
                                 NGX_HTTP_KLAVIYO_VERSION "\",nginx=\""
                                 NGINX_VERSION "\"} 1\n");

    ngx_http_klaviyo_prom_family(out, "klaviyo_config_generation",
                                 NGX_HTTP_KLAVIYO_GAUGE,
                                 "Grows by one with each reload.");
    ngx_http_klaviyo_output_printf(out, "klaviyo_config_generation %ui\n",
                                   view->generation);

    ngx_http_klaviyo_prom_family(out, "klaviyo_dispatcher_up",
                                 NGX_HTTP_KLAVIYO_GAUGE,
                                 "Whether the background process lives.");
    ngx_http_klaviyo_output_printf(out, "klaviyo_dispatcher_up %ui\n",
                                   view->alive);

    if (view->beat) {
        ngx_http_klaviyo_prom_family(out,
                          "klaviyo_dispatcher_heartbeat_timestamp_seconds",
                          NGX_HTTP_KLAVIYO_GAUGE,
                          "When it was seen last, in Unix time.");
        ngx_http_klaviyo_output_printf(out,
                    "klaviyo_dispatcher_heartbeat_timestamp_seconds %T\n",
                    view->beat);
    }

    ngx_http_klaviyo_prom_family(out, "klaviyo_dispatcher_starts_total",
                                 NGX_HTTP_KLAVIYO_COUNTER,
                                 "Starts of the background process.");
    ngx_http_klaviyo_output_printf(out, "klaviyo_dispatcher_starts_total %ui\n",
                                   view->starts);

    ngx_http_klaviyo_prom_family(out, "klaviyo_dispatcher_crashes_total",
                                 NGX_HTTP_KLAVIYO_COUNTER,
                                 "Background processes that crashed.");
    ngx_http_klaviyo_output_printf(out,
                                   "klaviyo_dispatcher_crashes_total %ui\n",
                                   view->crashes);
}


static void
ngx_http_klaviyo_prom_states(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_uint_t                        i, k;
    ngx_http_klaviyo_series_t        *series;
    ngx_http_klaviyo_account_view_t  *av;

    av = view->accounts.elts;

    ngx_http_klaviyo_prom_family(out, "klaviyo_account_state",
                                 NGX_HTTP_KLAVIYO_GAUGE,
                                 "1 for the state that the account is in.");

    for (i = 0; i < view->accounts.nelts; i++) {
        for (k = 0; av[i].state && k < NGX_HTTP_KLAVIYO_NSTATES; k++) {
            ngx_http_klaviyo_prom_account(out, "klaviyo_account_state",
                                          &av[i]);
            ngx_http_klaviyo_prom_label(out, "state",
                                        &ngx_http_klaviyo_states[k]);
            ngx_http_klaviyo_prom_value(out, av[i].state->state == k,
                                        NGX_HTTP_KLAVIYO_UNIT_ONE);
        }
    }

    ngx_http_klaviyo_prom_family(out, "klaviyo_account_dry_run",
                                 NGX_HTTP_KLAVIYO_GAUGE,
                                 "1 where nothing is sent to Klaviyo.");

    for (i = 0; i < view->accounts.nelts; i++) {
        ngx_http_klaviyo_prom_account(out, "klaviyo_account_dry_run", &av[i]);
        ngx_http_klaviyo_prom_value(out, av[i].account->dry_run == 1,
                                    NGX_HTTP_KLAVIYO_UNIT_ONE);
    }

    for (series = ngx_http_klaviyo_state_series; series->name; series++) {

        ngx_http_klaviyo_prom_family(out, series->name, series->type,
                                     series->help);

        for (i = 0; i < view->accounts.nelts; i++) {

            if (av[i].state == NULL
                || (series->unit == NGX_HTTP_KLAVIYO_UNIT_TIME
                    && ngx_http_klaviyo_prom_at(av[i].state, series) == 0))
            {
                continue;
            }

            ngx_http_klaviyo_prom_account(out, series->name, &av[i]);
            ngx_http_klaviyo_prom_value(out,
                             ngx_http_klaviyo_prom_at(av[i].state, series),
                             series->unit);
        }
    }
}


static void
ngx_http_klaviyo_prom_answers(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_uint_t                        i, k;
    ngx_http_klaviyo_account_view_t  *av;

    av = view->accounts.elts;

    ngx_http_klaviyo_prom_family(out, "klaviyo_answers_total",
                                 NGX_HTTP_KLAVIYO_COUNTER,
                                 "Requests to Klaviyo by their answer's class, "
                                 "none without one.");

    for (i = 0; i < view->accounts.nelts; i++) {
        for (k = 0; av[i].state && k < NGX_HTTP_KLAVIYO_NANSWERS; k++) {
            ngx_http_klaviyo_prom_account(out, "klaviyo_answers_total",
                                          &av[i]);
            ngx_http_klaviyo_prom_label(out, "class",
                                        &ngx_http_klaviyo_answers[k]);
            ngx_http_klaviyo_prom_value(out, av[i].state->answers[k],
                                        NGX_HTTP_KLAVIYO_UNIT_ONE);
        }
    }

    ngx_http_klaviyo_prom_family(out, "klaviyo_quota_left_requests",
                                 NGX_HTTP_KLAVIYO_GAUGE,
                                 "Requests of this minute that Klaviyo's "
                                 "headers said are left.");

    for (i = 0; i < view->accounts.nelts; i++) {
        if (av[i].state && av[i].state->quota_left) {
            ngx_http_klaviyo_prom_account(out, "klaviyo_quota_left_requests",
                                          &av[i]);
            ngx_http_klaviyo_prom_value(out, av[i].state->quota_left - 1,
                                        NGX_HTTP_KLAVIYO_UNIT_ONE);
        }
    }
}


/* the sum of all buckets is the count, whatever was counted meanwhile */

static void
ngx_http_klaviyo_prom_durations(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    u_char                           *p, buf[NGX_INT_T_LEN + sizeof(".000")];
    ngx_str_t                         le;
    ngx_uint_t                        i, k;
    ngx_atomic_uint_t                 count;
    ngx_http_klaviyo_account_view_t  *av;

    static ngx_msec_t  most[] = NGX_HTTP_KLAVIYO_DURATIONS;

    av = view->accounts.elts;

    ngx_http_klaviyo_prom_family(out, "klaviyo_request_duration_seconds",
                                 "histogram",
                                 "How long Klaviyo's answers took.");

    for (i = 0; i < view->accounts.nelts; i++) {

        if (av[i].state == NULL) {
            continue;
        }

        count = 0;

        for (k = 0; k < NGX_HTTP_KLAVIYO_NDURATIONS; k++) {
            count += av[i].state->took[k];

            p = (k < NGX_HTTP_KLAVIYO_NDURATIONS - 1)
                ? ngx_sprintf(buf, "%M.%03M", most[k] / 1000, most[k] % 1000)
                : ngx_sprintf(buf, "+Inf");

            /* 0.25, 1.0 */

            while (p[-1] == '0' && p[-2] != '.') {
                p--;
            }

            le.data = buf;
            le.len = p - buf;

            ngx_http_klaviyo_prom_account(out,
                                    "klaviyo_request_duration_seconds_bucket",
                                    &av[i]);
            ngx_http_klaviyo_prom_label(out, "le", &le);
            ngx_http_klaviyo_prom_value(out, count, NGX_HTTP_KLAVIYO_UNIT_ONE);
        }

        ngx_http_klaviyo_prom_account(out,
                                      "klaviyo_request_duration_seconds_sum",
                                      &av[i]);
        ngx_http_klaviyo_prom_value(out, av[i].state->duration,
                                    NGX_HTTP_KLAVIYO_UNIT_MSEC);
        ngx_http_klaviyo_prom_account(out,
                                      "klaviyo_request_duration_seconds_count",
                                      &av[i]);
        ngx_http_klaviyo_prom_value(out, count, NGX_HTTP_KLAVIYO_UNIT_ONE);
    }
}


static void
ngx_http_klaviyo_prom_queues(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_uint_t                        i;
    ngx_http_klaviyo_series_t        *series;
    ngx_http_klaviyo_account_view_t  *av;

    av = view->accounts.elts;

    for (series = ngx_http_klaviyo_queue_series; series->name; series++) {

        ngx_http_klaviyo_prom_family(out, series->name, series->type,
                                     series->help);

        for (i = 0; i < view->accounts.nelts; i++) {
            ngx_http_klaviyo_prom_account(out, series->name, &av[i]);
            ngx_http_klaviyo_prom_value(out,
                              ngx_http_klaviyo_prom_at(&av[i].queue, series),
                              series->unit);
        }
    }
}


static void
ngx_http_klaviyo_prom_rules(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out, ngx_http_klaviyo_series_t *series)
{
    ngx_uint_t                        i, k;
    ngx_http_klaviyo_rule_view_t     *rv;
    ngx_http_klaviyo_account_view_t  *av;

    av = view->accounts.elts;

    for ( /* void */ ; series->name; series++) {

        ngx_http_klaviyo_prom_family(out, series->name, series->type,
                                     series->help);

        for (i = 0; i < view->accounts.nelts; i++) {
            rv = av[i].rules.elts;

            for (k = 0; k < av[i].rules.nelts; k++) {
                ngx_http_klaviyo_prom_rule(out, series->name, &av[i],
                                           rv[k].rule);
                ngx_http_klaviyo_prom_value(out,
                               ngx_http_klaviyo_prom_at(&rv[k].events, series),
                               NGX_HTTP_KLAVIYO_UNIT_ONE);
            }
        }
    }
}


static void
ngx_http_klaviyo_prom_reasons(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out, ngx_http_klaviyo_series_t *series,
    ngx_str_t *names, ngx_uint_t n)
{
    ngx_uint_t                        i, k, m;
    ngx_atomic_t                     *counts;
    ngx_http_klaviyo_rule_view_t     *rv;
    ngx_http_klaviyo_account_view_t  *av;

    av = view->accounts.elts;

    ngx_http_klaviyo_prom_family(out, series->name, series->type, series->help);

    for (i = 0; i < view->accounts.nelts; i++) {
        rv = av[i].rules.elts;

        for (k = 0; k < av[i].rules.nelts; k++) {
            counts = &ngx_http_klaviyo_prom_at(&rv[k].events, series);

            for (m = 0; m < n; m++) {
                ngx_http_klaviyo_prom_rule(out, series->name, &av[i],
                                           rv[k].rule);
                ngx_http_klaviyo_prom_label(out, "reason", &names[m]);
                ngx_http_klaviyo_prom_value(out, counts[m],
                                            NGX_HTTP_KLAVIYO_UNIT_ONE);
            }
        }
    }
}


static void
ngx_http_klaviyo_prom_family(ngx_http_klaviyo_output_t *out, char *name,
    char *type, char *help)
{
    ngx_http_klaviyo_output_printf(out, "# HELP %s %s\n# TYPE %s %s\n",
                                   name, help, name, type);
}


/* name{account="...", the value closes the braces */

static void
ngx_http_klaviyo_prom_account(ngx_http_klaviyo_output_t *out, char *name,
    ngx_http_klaviyo_account_view_t *av)
{
    ngx_http_klaviyo_output_text(out, name);
    ngx_http_klaviyo_output_printf(out, "{account=\"%V\"", &av->account->name);
}


/*
 * Metric and routes stay the same when a rule moves in the file; only rules
 * that have both in common are told apart by a number.
 */

static void
ngx_http_klaviyo_prom_rule(ngx_http_klaviyo_output_t *out, char *name,
    ngx_http_klaviyo_account_view_t *av, ngx_http_klaviyo_rule_t *rule)
{
    ngx_http_klaviyo_prom_account(out, name, av);
    ngx_http_klaviyo_prom_label(out, "metric", &rule->metric);
    ngx_http_klaviyo_prom_label(out, "routes", &rule->text);

    if (rule->twin) {
        ngx_http_klaviyo_output_printf(out, ",twin=\"%ui\"", rule->twin);
    }
}


static void
ngx_http_klaviyo_prom_label(ngx_http_klaviyo_output_t *out, char *name,
    ngx_str_t *value)
{
    u_char  *p, *s, *last;

    ngx_http_klaviyo_output_printf(out, ",%s=\"", name);

    p = value->data;
    last = p + value->len;

    /* what is not UTF-8 would make all of it invalid */

    for (s = p; s < last; /* void */ ) {

        if (*s < 0x80) {
            s++;

        } else if (ngx_utf8_decode(&s, last - s) > 0x10ffff) {
            ngx_http_klaviyo_output_text(out, "(not UTF-8)\"");
            return;
        }
    }

    for (s = p; s < last; s++) {

        if (*s != '\\' && *s != '"' && *s != LF) {
            continue;
        }

        ngx_http_klaviyo_output(out, p, s - p);
        ngx_http_klaviyo_output_text(out, *s == LF ? "\\n"
                                          : *s == '"' ? "\\\"" : "\\\\");
        p = s + 1;
    }

    ngx_http_klaviyo_output(out, p, last - p);
    ngx_http_klaviyo_output_text(out, "\"");
}


/* a gauge may be below zero for a moment: counters move one by one */

static void
ngx_http_klaviyo_prom_value(ngx_http_klaviyo_output_t *out,
    ngx_atomic_uint_t n, ngx_http_klaviyo_unit_e unit)
{
    if (unit == NGX_HTTP_KLAVIYO_UNIT_MSEC) {
        ngx_http_klaviyo_output_printf(out, "} %uA.%03uA\n", n / 1000,
                                       n % 1000);
        return;
    }

    ngx_http_klaviyo_output_printf(out, "} %A\n", (ngx_atomic_int_t) n);
}
