
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What there is to see, collected at one moment.
 */


#include "ngx_http_klaviyo_collect.h"


/* a heartbeat is due each second */
#define NGX_HTTP_KLAVIYO_ALIVE           5

/* events in the last so many seconds */
#define NGX_HTTP_KLAVIYO_MINUTE          60


static ngx_int_t ngx_http_klaviyo_collect_account(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_account_t *account,
    ngx_http_klaviyo_view_t *view);
static void ngx_http_klaviyo_collect_state(
    ngx_http_klaviyo_account_state_t *state);
static ngx_int_t ngx_http_klaviyo_collect_newer(const void *one,
    const void *two);
static ngx_int_t ngx_http_klaviyo_collect_rules(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_account_view_t *av);
static ngx_uint_t ngx_http_klaviyo_collect_meets(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_account_t *account);
static void ngx_http_klaviyo_collect_add(ngx_http_klaviyo_counters_t *sum,
    ngx_http_klaviyo_counters_t *counters);


ngx_str_t  ngx_http_klaviyo_states[] = {
    ngx_string("ok"),
    ngx_string("throttled"),
    ngx_string("backoff"),
    ngx_string("stopped")
};


ngx_str_t  ngx_http_klaviyo_answers[] = {
    ngx_string("none"),
    ngx_string("1xx"),
    ngx_string("2xx"),
    ngx_string("3xx"),
    ngx_string("4xx"),
    ngx_string("5xx")
};


ngx_str_t  ngx_http_klaviyo_levels[] = {
    ngx_string("ok"),
    ngx_string("warning"),
    ngx_string("error")
};


ngx_http_klaviyo_view_t *
ngx_http_klaviyo_collect(ngx_pool_t *pool, ngx_http_klaviyo_main_conf_t *kmcf)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_view_t      *view;
    ngx_http_klaviyo_control_t   *control;
    ngx_http_klaviyo_account_t  **account;

    view = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_view_t));
    if (view == NULL) {
        return NULL;
    }

    if (ngx_array_init(&view->accounts, pool, kmcf->lanes.nelts + 1,
                       sizeof(ngx_http_klaviyo_account_view_t))
        != NGX_OK)
    {
        return NULL;
    }

    view->now = ngx_time();
    view->tail = kmcf->tail;

    if (kmcf->memory) {
        view->memory = ngx_palloc(pool,
                                  sizeof(ngx_http_klaviyo_memory_stat_t));
        if (view->memory == NULL) {
            return NULL;
        }

        ngx_http_klaviyo_memory_stat(kmcf->memory, view->memory);
    }

    control = kmcf->control;

    if (control) {
        view->generation = control->generation;

        ngx_http_klaviyo_control_health(control, &view->pid, &view->beat,
                                        &view->starts, &view->crashes);

        view->alive = view->pid
                      && view->now - view->beat <= NGX_HTTP_KLAVIYO_ALIVE;

        account = kmcf->lanes.elts;

        for (i = 0; i < kmcf->lanes.nelts; i++) {
            if (ngx_http_klaviyo_collect_account(pool, kmcf, account[i], view)
                != NGX_OK)
            {
                return NULL;
            }
        }

        ngx_http_klaviyo_control_total(control, &view->total);
    }

    if (ngx_http_klaviyo_health(pool, view) != NGX_OK) {
        return NULL;
    }

    return view;
}


static ngx_int_t
ngx_http_klaviyo_collect_account(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_account_t *account,
    ngx_http_klaviyo_view_t *view)
{
    ngx_http_klaviyo_account_view_t   *av;
    ngx_http_klaviyo_account_state_t  *state;

    av = ngx_array_push(&view->accounts);
    if (av == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(av, sizeof(ngx_http_klaviyo_account_view_t));

    av->account = account;

    ngx_http_klaviyo_ring_stat(account->ring, &av->queue);

    state = ngx_http_klaviyo_control_account(kmcf->control, account->key);

    if (state) {
        av->state = ngx_palloc(pool, sizeof(ngx_http_klaviyo_account_state_t));
        if (av->state == NULL) {
            return NGX_ERROR;
        }

        *av->state = *state;

        state = av->state;

        ngx_http_klaviyo_collect_state(state);

        av->seconds = ngx_http_klaviyo_history_last(&state->history, view->now,
                                                    NGX_HTTP_KLAVIYO_MINUTE,
                                                    &av->minute);
    }

    return ngx_http_klaviyo_collect_rules(pool, kmcf, av);
}


/* A copy: the background process may have been writing meanwhile */

static void
ngx_http_klaviyo_collect_state(ngx_http_klaviyo_account_state_t *state)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_refusal_t  *t;

    state->state = ngx_min(state->state, NGX_HTTP_KLAVIYO_NSTATES - 1);
    state->last_code[sizeof(state->last_code) - 1] = '\0';

    for (i = 0; i < NGX_HTTP_KLAVIYO_REFUSALS; i++) {
        t = &state->refusals[i];

        if (t->writing || t->count == 0) {
            t->count = 0;
            t->order = 0;
        }

        t->code[sizeof(t->code) - 1] = '\0';
        t->title[sizeof(t->title) - 1] = '\0';
        t->detail[sizeof(t->detail) - 1] = '\0';
        t->pointer[sizeof(t->pointer) - 1] = '\0';
    }

    ngx_sort(state->refusals, NGX_HTTP_KLAVIYO_REFUSALS,
             sizeof(ngx_http_klaviyo_refusal_t),
             ngx_http_klaviyo_collect_newer);
}


/* the last one first, those that are not there at the end */

static ngx_int_t
ngx_http_klaviyo_collect_newer(const void *one, const void *two)
{
    const ngx_http_klaviyo_refusal_t  *first, *second;

    first = one;
    second = two;

    return (first->order < second->order) ? 1 : 0;
}


static ngx_int_t
ngx_http_klaviyo_collect_rules(ngx_pool_t *pool,
    ngx_http_klaviyo_main_conf_t *kmcf, ngx_http_klaviyo_account_view_t *av)
{
    ngx_uint_t                      i, slot;
    ngx_http_klaviyo_rule_t       **rule;
    ngx_http_klaviyo_rule_view_t   *rv;

    if (ngx_array_init(&av->rules, pool, kmcf->rules.nelts + 1,
                       sizeof(ngx_http_klaviyo_rule_view_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rule = kmcf->rules.elts;

    for (i = 0; i < kmcf->rules.nelts; i++) {

        if (!ngx_http_klaviyo_collect_meets(rule[i], av->account)) {
            continue;
        }

        rv = ngx_array_push(&av->rules);
        if (rv == NULL) {
            return NGX_ERROR;
        }

        slot = ngx_http_klaviyo_rule_slot(kmcf->control, rule[i], av->account);

        rv->rule = rule[i];
        rv->own = (rule[i]->account || av->account->index == 0);
        rv->events = *ngx_http_klaviyo_control_counters(kmcf->control, slot);

        ngx_http_klaviyo_collect_add(&av->events, &rv->events);
    }

    return NGX_OK;
}


/* whether what the rule makes may go by this lane of an account */

static ngx_uint_t
ngx_http_klaviyo_collect_meets(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_account_t *account)
{
    return !rule->remember
           && rule->lane == account->lane
           && (rule->account == NULL
               || rule->account->lanes[account->lane] == account);
}


static void
ngx_http_klaviyo_collect_add(ngx_http_klaviyo_counters_t *sum,
    ngx_http_klaviyo_counters_t *counters)
{
    ngx_uint_t     i;
    ngx_atomic_t  *to, *from;

    /* nothing but counters is in it */

    to = (ngx_atomic_t *) sum;
    from = (ngx_atomic_t *) counters;

    for (i = 0; i < sizeof(*sum) / sizeof(ngx_atomic_t); i++) {
        to[i] += from[i];
    }
}


void
ngx_http_klaviyo_collect_second(void *data)
{
    ngx_http_klaviyo_main_conf_t *kmcf = data;

    ngx_uint_t                         i, k, slot;
    ngx_http_klaviyo_rule_t          **rule;
    ngx_http_klaviyo_account_t       **account;
    ngx_http_klaviyo_counters_t        sum;
    ngx_http_klaviyo_account_state_t  *state;

    rule = kmcf->rules.elts;
    account = kmcf->lanes.elts;

    for (i = 0; i < kmcf->lanes.nelts; i++) {

        state = ngx_http_klaviyo_control_account(kmcf->control,
                                                 account[i]->key);
        if (state == NULL) {
            continue;
        }

        ngx_memzero(&sum, sizeof(ngx_http_klaviyo_counters_t));

        for (k = 0; k < kmcf->rules.nelts; k++) {

            if (!ngx_http_klaviyo_collect_meets(rule[k], account[i])) {
                continue;
            }

            slot = ngx_http_klaviyo_rule_slot(kmcf->control, rule[k],
                                              account[i]);
            ngx_http_klaviyo_collect_add(&sum,
                 ngx_http_klaviyo_control_counters(kmcf->control, slot));
        }

        ngx_http_klaviyo_history_add(&state->history, ngx_time(), &sum);
    }
}
