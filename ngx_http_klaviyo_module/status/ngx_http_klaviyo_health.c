
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * How it goes, in one sentence: what is wrong, since when, what it means for
 * the events, and what happens next.
 */


#include "ngx_http_klaviyo_collect.h"


static ngx_uint_t ngx_http_klaviyo_health_weight(
    ngx_http_klaviyo_account_view_t *av);
static ngx_int_t ngx_http_klaviyo_health_account(ngx_pool_t *pool,
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_account_view_t *av);
static u_char *ngx_http_klaviyo_health_away(u_char *p, u_char *last,
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_account_view_t *av);
static u_char *ngx_http_klaviyo_health_well(u_char *p, u_char *last,
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_account_view_t *av);
static u_char *ngx_http_klaviyo_health_waits(u_char *p, u_char *last,
    ngx_http_klaviyo_account_view_t *av);
static u_char *ngx_http_klaviyo_health_number(u_char *p, u_char *last,
    ngx_uint_t n);
static u_char *ngx_http_klaviyo_health_since(u_char *p, u_char *last,
    time_t now, time_t sec);
static u_char *ngx_http_klaviyo_health_span(u_char *p, u_char *last,
    time_t sec);
static ngx_uint_t ngx_http_klaviyo_health_waiting(
    ngx_http_klaviyo_account_view_t *av);


ngx_int_t
ngx_http_klaviyo_health(ngx_pool_t *pool, ngx_http_klaviyo_view_t *view)
{
    u_char                           *p, *last;
    ngx_uint_t                        i;
    ngx_http_klaviyo_health_t        *health;
    ngx_http_klaviyo_account_view_t  *av, *worst;

    av = view->accounts.elts;
    worst = NULL;

    for (i = 0; i < view->accounts.nelts; i++) {

        if (ngx_http_klaviyo_health_account(pool, view, &av[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        if (worst == NULL
            || ngx_http_klaviyo_health_weight(&av[i])
               > ngx_http_klaviyo_health_weight(worst))
        {
            worst = &av[i];
        }
    }

    health = &view->health;

    p = ngx_pnalloc(pool, NGX_HTTP_KLAVIYO_SENTENCE);
    if (p == NULL) {
        return NGX_ERROR;
    }

    health->text.data = p;
    last = p + NGX_HTTP_KLAVIYO_SENTENCE;

    if (worst == NULL) {
        health->level = NGX_HTTP_KLAVIYO_HEALTH_WARNING;
        p = ngx_slprintf(p, last, "Nothing to do: there is no "
                         "klaviyo_account in the configuration.");

    } else if (!view->alive) {
        health->level = NGX_HTTP_KLAVIYO_HEALTH_ERROR;
        p = ngx_slprintf(p, last, "The background process ");

        if (view->beat) {
            p = ngx_slprintf(p, last, "has not been seen since ");
            p = ngx_http_klaviyo_health_since(p, last, view->now, view->beat);

        } else {
            p = ngx_slprintf(p, last, "has not started yet");
        }

        p = ngx_slprintf(p, last, ": nothing is sent, events wait; see the "
                         "error log.");

    } else {
        health->level = worst->health.level;

        if (view->accounts.nelts > 1) {
            p = ngx_slprintf(p, last, "%V: ", &worst->account->name);
        }

        p = ngx_slprintf(p, last, "%V", &worst->health.text);
    }

    health->text.len = p - health->text.data;

    return NGX_OK;
}


/* which account speaks for all: a dry run is meant, where others are real */

static ngx_uint_t
ngx_http_klaviyo_health_weight(ngx_http_klaviyo_account_view_t *av)
{
    if (!av->account->dry_run) {
        return 2 * av->health.level + 1;
    }

    return (av->health.level == NGX_HTTP_KLAVIYO_HEALTH_ERROR)
           ? 2 * av->health.level : 0;
}


static ngx_int_t
ngx_http_klaviyo_health_account(ngx_pool_t *pool,
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_account_view_t *av)
{
    u_char                     *p, *last;
    ngx_http_klaviyo_health_t  *health;

    health = &av->health;

    p = ngx_pnalloc(pool, NGX_HTTP_KLAVIYO_SENTENCE);
    if (p == NULL) {
        return NGX_ERROR;
    }

    health->text.data = p;
    last = p + NGX_HTTP_KLAVIYO_SENTENCE;

    if (av->minute.dropped) {
        health->level = NGX_HTTP_KLAVIYO_HEALTH_ERROR;
        p = ngx_http_klaviyo_health_number(p, last, av->minute.dropped);
        p = ngx_slprintf(p, last, " event%s dropped in the last minute. ",
                         av->minute.dropped == 1 ? " was" : "s were");
    }

    if (av->minute.dead) {
        health->level = ngx_max(health->level,
                                NGX_HTTP_KLAVIYO_HEALTH_WARNING);
        p = ngx_http_klaviyo_health_number(p, last, av->minute.dead);
        p = ngx_slprintf(p, last, " event%s refused by Klaviyo in the last "
                         "minute. ", av->minute.dead == 1 ? " was" : "s were");
    }

    if (av->state == NULL) {
        health->level = NGX_HTTP_KLAVIYO_HEALTH_ERROR;
        p = ngx_slprintf(p, last, "Too many accounts: this one has no state.");

    } else if (av->state->state == NGX_HTTP_KLAVIYO_SENDER_OK) {
        p = ngx_http_klaviyo_health_well(p, last, view, av);

        if (av->account->dry_run) {
            health->level = ngx_max(health->level,
                                    NGX_HTTP_KLAVIYO_HEALTH_WARNING);
        }

    } else {
        health->level = ngx_max(health->level,
                                NGX_HTTP_KLAVIYO_HEALTH_WARNING);

        if (av->state->state != NGX_HTTP_KLAVIYO_SENDER_THROTTLED) {
            health->level = NGX_HTTP_KLAVIYO_HEALTH_ERROR;
        }

        p = ngx_http_klaviyo_health_away(p, last, view, av);
    }

    health->text.len = p - health->text.data;

    return NGX_OK;
}


static u_char *
ngx_http_klaviyo_health_away(u_char *p, u_char *last,
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_account_view_t *av)
{
    time_t                             left;
    ngx_http_klaviyo_account_state_t  *state;

    state = av->state;

    switch (state->state) {

    case NGX_HTTP_KLAVIYO_SENDER_STOPPED:
        p = ngx_slprintf(p, last, "Klaviyo has refused %s since ",
                         (state->last_status == 401) ? "the key"
                                                     : "what is sent");
        break;

    case NGX_HTTP_KLAVIYO_SENDER_BACKOFF:
        p = ngx_slprintf(p, last, "Klaviyo has not been available since ");
        break;

    default: /* NGX_HTTP_KLAVIYO_SENDER_THROTTLED */
        p = ngx_slprintf(p, last, "Klaviyo's quota has been used up since ");
        break;
    }

    p = ngx_http_klaviyo_health_since(p, last, view->now, state->since);

    if (state->state != NGX_HTTP_KLAVIYO_SENDER_THROTTLED) {
        p = state->last_status
            ? ngx_slprintf(p, last, " (%uA)", state->last_status)
            : ngx_slprintf(p, last, " (no answer)");
    }

    p = ngx_slprintf(p, last, "%s",
                     state->spool_failed ? ": the spool can't be written, see "
                                           "the error log, "
                     : av->minute.dropped ? ": " : ": nothing is lost, ");
    p = ngx_http_klaviyo_health_waits(p, last, av);

    left = (time_t) state->retry_at - view->now;

    if (state->retry_at && left > 0) {
        p = ngx_slprintf(p, last, "; next try in ");
        p = ngx_http_klaviyo_health_span(p, last, left);
    }

    return ngx_slprintf(p, last, ".");
}


static u_char *
ngx_http_klaviyo_health_well(u_char *p, u_char *last,
    ngx_http_klaviyo_view_t *view, ngx_http_klaviyo_account_view_t *av)
{
    ngx_uint_t                         sent, tenths;
    ngx_http_klaviyo_account_state_t  *state;

    state = av->state;
    sent = av->minute.sent;

    p = ngx_slprintf(p, last, "%s", av->account->dry_run
                     ? "Dry run, Klaviyo gets nothing: "
                     : (av->minute.dropped || av->minute.dead
                        || (state->last_sent == 0 && av->events.seen)) ? ""
                     : "All well: ");

    if (sent == 0) {

        if (ngx_http_klaviyo_health_waiting(av)) {
            p = ngx_http_klaviyo_health_waits(p, last, av);

        } else if (state->last_sent == 0) {
            p = ngx_slprintf(p, last, "%s",
                             (av->events.seen && !av->account->dry_run)
                             ? "No event yet" : "no event yet");

            if (av->events.seen) {
                p = ngx_slprintf(p, last, " of ");
                p = ngx_http_klaviyo_health_number(p, last, av->events.seen);
                p = ngx_slprintf(p, last, " seen, the rules tell why");
            }

        } else {
            p = ngx_slprintf(p, last, "nothing waits, the last event left at ");
            p = ngx_http_klaviyo_health_since(p, last, view->now,
                                              state->last_sent);
        }

        return ngx_slprintf(p, last, ".");
    }

    if (sent >= av->seconds) {
        tenths = sent * 10 / av->seconds;

        if (tenths < 100) {
            p = ngx_slprintf(p, last, "%ui.%ui", tenths / 10, tenths % 10);

        } else {
            p = ngx_http_klaviyo_health_number(p, last, tenths / 10);
        }

        p = ngx_slprintf(p, last, " events/s");

    } else {
        p = ngx_slprintf(p, last, "%ui event%s in the last minute", sent,
                         sent == 1 ? "" : "s");
    }

    tenths = (state->delay + 99) / 100;

    return ngx_slprintf(p, last, ", %s within %ui.%ui s.",
                        av->account->dry_run ? "written" : "delivered",
                        tenths / 10, tenths % 10);
}


static u_char *
ngx_http_klaviyo_health_waits(u_char *p, u_char *last,
    ngx_http_klaviyo_account_view_t *av)
{
    ngx_uint_t  n;

    n = ngx_http_klaviyo_health_waiting(av);

    if (n == 0) {
        return ngx_slprintf(p, last, "no event waits");
    }

    p = ngx_http_klaviyo_health_number(p, last, n);

    return ngx_slprintf(p, last, " event%s", n == 1 ? " waits" : "s wait");
}


static ngx_uint_t
ngx_http_klaviyo_health_waiting(ngx_http_klaviyo_account_view_t *av)
{
    ngx_atomic_int_t  n;

    n = (ngx_atomic_int_t) (av->events.queued + av->events.spooled);

    return (n > 0) ? (ngx_uint_t) n : 0;
}


/* 12,304 */

static u_char *
ngx_http_klaviyo_health_number(u_char *p, u_char *last, ngx_uint_t n)
{
    ngx_uint_t  unit;

    for (unit = 1; n / unit >= 1000; unit *= 1000) { /* void */ }

    p = ngx_slprintf(p, last, "%ui", n / unit);

    while (unit > 1) {
        unit /= 1000;
        p = ngx_slprintf(p, last, ",%03ui", n / unit % 1000);
    }

    return p;
}


/* the hour as in the error log, with the day if that isn't today */

static u_char *
ngx_http_klaviyo_health_since(u_char *p, u_char *last, time_t now, time_t sec)
{
    ngx_tm_t  tm, today;

    ngx_localtime(now, &today);
    ngx_localtime(sec, &tm);

    if (tm.ngx_tm_mday != today.ngx_tm_mday || now - sec > 24 * 3600) {
        p = ngx_slprintf(p, last, "%4d-%02d-%02d ", tm.ngx_tm_year,
                         tm.ngx_tm_mon, tm.ngx_tm_mday);
    }

    return ngx_slprintf(p, last, "%02d:%02d", tm.ngx_tm_hour, tm.ngx_tm_min);
}


static u_char *
ngx_http_klaviyo_health_span(u_char *p, u_char *last, time_t sec)
{
    if (sec < 120) {
        return ngx_slprintf(p, last, "%T s", sec);
    }

    return ngx_slprintf(p, last, "%T min", sec / 60);
}
