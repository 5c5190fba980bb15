
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The status as a page for people: the document with the status as JSON in it,
 * which its script shows and then asks for again, and as tables for browsers
 * without scripts.
 */


#include "ngx_http_klaviyo_status.h"
#include "ngx_http_klaviyo_page.h"


static void ngx_http_klaviyo_page_account(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_account_view_t *av);
static void ngx_http_klaviyo_page_rule(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_rule_view_t *rv);
static void ngx_http_klaviyo_page_reasons(ngx_http_klaviyo_output_t *out,
    ngx_str_t *names, ngx_atomic_t *counts, ngx_uint_t n);
static void ngx_http_klaviyo_page_errors(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_account_view_t *av);
static void ngx_http_klaviyo_page_health(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_health_t *health);
static void ngx_http_klaviyo_page_text(ngx_http_klaviyo_output_t *out,
    ngx_str_t *text);


ngx_int_t
ngx_http_klaviyo_status_page(ngx_http_klaviyo_view_t *view,
    ngx_http_klaviyo_output_t *out)
{
    ngx_str_t                        *parts;
    ngx_uint_t                        i;
    ngx_http_klaviyo_account_view_t  *av;

    parts = ngx_http_klaviyo_page_parts;

    ngx_http_klaviyo_output_static(out, parts[0].data, parts[0].len);

    ngx_http_klaviyo_page_health(out, &view->health);

    av = view->accounts.elts;

    for (i = 0; i < view->accounts.nelts; i++) {
        ngx_http_klaviyo_page_account(out, &av[i]);
    }

    ngx_http_klaviyo_output_static(out, parts[1].data, parts[1].len);

    if (ngx_http_klaviyo_status_json(view, out) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_klaviyo_output_static(out, parts[2].data, parts[2].len);

    return NGX_OK;
}


static void
ngx_http_klaviyo_page_account(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_account_view_t *av)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_rule_view_t  *rv;

    ngx_http_klaviyo_output_text(out, "<section class=\"account\"><h2>");
    ngx_http_klaviyo_page_text(out, &av->account->name);
    ngx_http_klaviyo_output_text(out, "</h2>\n");

    ngx_http_klaviyo_page_health(out, &av->health);

    ngx_http_klaviyo_output_text(out, "<div class=\"scroll\"><table><thead>"
        "<tr><th class=\"t\">Rule</th><th>Seen</th><th>Sent</th>"
        "<th>Skipped</th><th>Dropped</th><th>Queued</th><th>Spooled</th>"
        "<th>Dead</th></tr></thead><tbody>\n");

    rv = av->rules.elts;

    for (i = 0; i < av->rules.nelts; i++) {
        if (rv[i].own || rv[i].events.seen || rv[i].events.restored) {
            ngx_http_klaviyo_page_rule(out, &rv[i]);
        }
    }

    ngx_http_klaviyo_output_text(out, "</tbody></table></div>\n");

    ngx_http_klaviyo_page_errors(out, av);

    ngx_http_klaviyo_output_printf(out, "<p>Queue: %uz of %uz bytes.",
                                   av->queue.used, av->queue.size);

    if (av->state) {
        ngx_http_klaviyo_output_printf(out, " Spool: %uA bytes.",
                                       av->state->spool_bytes);

        if (av->state->quota_left) {
            ngx_http_klaviyo_output_printf(out, " Quota left: %uA requests.",
                                           av->state->quota_left - 1);
        }
    }

    ngx_http_klaviyo_output_text(out, "</p></section>\n");
}


static void
ngx_http_klaviyo_page_rule(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_rule_view_t *rv)
{
    ngx_http_klaviyo_output_text(out, "<tr><th class=\"t\">");
    ngx_http_klaviyo_page_text(out, &rv->rule->metric);
    ngx_http_klaviyo_output_text(out, "<small>");
    ngx_http_klaviyo_page_text(out, &rv->rule->text);
    ngx_http_klaviyo_output_text(out, "</small></th>");

    ngx_http_klaviyo_output_printf(out, "<td>%uA</td><td>%uA</td><td>",
                                   rv->events.seen, rv->events.sent);
    ngx_http_klaviyo_page_reasons(out, ngx_http_klaviyo_skip_names,
                                  rv->events.skipped, NGX_HTTP_KLAVIYO_SKIP_N);
    ngx_http_klaviyo_output_text(out, "</td><td>");
    ngx_http_klaviyo_page_reasons(out, ngx_http_klaviyo_drop_names,
                                  rv->events.dropped, NGX_HTTP_KLAVIYO_DROP_N);

    ngx_http_klaviyo_output_printf(out, "</td><td>%A</td><td>%A</td>"
                                   "<td>%uA</td></tr>\n",
                                   (ngx_atomic_int_t) rv->events.queued,
                                   (ngx_atomic_int_t) rv->events.spooled,
                                   rv->events.dead);
}


static void
ngx_http_klaviyo_page_reasons(ngx_http_klaviyo_output_t *out,
    ngx_str_t *names, ngx_atomic_t *counts, ngx_uint_t n)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  sum;

    sum = 0;

    for (i = 0; i < n; i++) {
        sum += counts[i];
    }

    ngx_http_klaviyo_output_printf(out, "%uA", sum);

    for (i = 0; i < n; i++) {
        if (counts[i]) {
            ngx_http_klaviyo_output_printf(out, "<small>%V %uA</small>",
                                           &names[i], counts[i]);
        }
    }
}


static void
ngx_http_klaviyo_page_errors(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_account_view_t *av)
{
    ngx_str_t                    text;
    ngx_uint_t                   i;
    ngx_http_klaviyo_refusal_t  *t;

    if (av->state == NULL) {
        return;
    }

    t = av->state->refusals;

    for (i = 0; i < NGX_HTTP_KLAVIYO_REFUSALS && t[i].count; i++) {
        ngx_http_klaviyo_output_printf(out, "<p>%uA times status %uA: ",
                                       t[i].count, t[i].status);

        text.data = t[i].title;
        text.len = ngx_strlen(t[i].title);
        ngx_http_klaviyo_page_text(out, &text);
        ngx_http_klaviyo_output_text(out, " ");

        text.data = t[i].detail;
        text.len = ngx_strlen(t[i].detail);
        ngx_http_klaviyo_page_text(out, &text);
        ngx_http_klaviyo_output_text(out, "</p>\n");
    }
}


static void
ngx_http_klaviyo_page_health(ngx_http_klaviyo_output_t *out,
    ngx_http_klaviyo_health_t *health)
{
    ngx_http_klaviyo_output_printf(out, "<p class=\"health %V\">",
                                   &ngx_http_klaviyo_levels[health->level]);
    ngx_http_klaviyo_page_text(out, &health->text);
    ngx_http_klaviyo_output_text(out, "</p>\n");
}


static void
ngx_http_klaviyo_page_text(ngx_http_klaviyo_output_t *out, ngx_str_t *text)
{
    u_char     *p;
    uintptr_t   more;

    more = ngx_escape_html(NULL, text->data, text->len);

    if (more == 0) {
        ngx_http_klaviyo_output(out, text->data, text->len);
        return;
    }

    p = ngx_pnalloc(out->pool, text->len + more);
    if (p == NULL) {
        out->failed = 1;
        return;
    }

    (void) ngx_escape_html(p, text->data, text->len);

    ngx_http_klaviyo_output(out, p, text->len + more);
}
