
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The story of one request.
 */


#include "ngx_http_klaviyo_explain.h"
#include "ngx_http_klaviyo_mask.h"
#include "ngx_http_klaviyo_story.h"
#include <openssl/rand.h>


/* of the story's bytes: for the values of all rules, for one event; an event
 * that is larger is not shown */
#define NGX_HTTP_KLAVIYO_EXPLAIN_SIZE    (NGX_HTTP_KLAVIYO_STORY_LEN - 4096)
#define NGX_HTTP_KLAVIYO_EXPLAIN_VALUES  (28 * 1024)
#define NGX_HTTP_KLAVIYO_EXPLAIN_EVENT   (4 * 1024)
#define NGX_HTTP_KLAVIYO_EXPLAIN_LARGE   (256 * 1024)

/* memory for texts that had to be mended */
#define NGX_HTTP_KLAVIYO_EXPLAIN_ARENA   (512 * 1024)


struct ngx_http_klaviyo_explain_s {
    ngx_http_klaviyo_ctx_t              *ctx;
    ngx_http_klaviyo_main_conf_t        *conf;
    ngx_http_klaviyo_arena_t             arena;
    ngx_http_klaviyo_writer_t            writer;

    uint64_t                             id;
    json_t                              *story;
    json_t                             **rules;    /* by number; NULL: not
                                                      met, or no room */
    u_char                              *paths;    /* by number: the path is
                                                      one of its routes' */

    /* the one that is being judged */
    ngx_http_klaviyo_rule_t             *rule;
    json_t                              *entry;    /* its own in "rules" */
    json_t                              *event;    /* without its outcome */
    ngx_uint_t                           limits;
};


static void ngx_http_klaviyo_explain_cleanup(void *data);
static ngx_int_t ngx_http_klaviyo_explain_header(
    ngx_http_klaviyo_explain_t *explain);
static json_t *ngx_http_klaviyo_explain_entry(
    ngx_http_klaviyo_explain_t *explain, ngx_http_klaviyo_rule_t *rule);
static json_t *ngx_http_klaviyo_explain_list(
    ngx_http_klaviyo_explain_t *explain, const char *name);
static void ngx_http_klaviyo_explain_captures(
    ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_candidate_t *candidate);
static const char *ngx_http_klaviyo_explain_for(
    ngx_http_klaviyo_explain_t *explain, ngx_http_klaviyo_value_t *value,
    ngx_str_t *name);
static ngx_uint_t ngx_http_klaviyo_explain_node(ngx_array_t *nodes,
    ngx_http_klaviyo_value_t *value, ngx_str_t *name);
static ngx_uint_t ngx_http_klaviyo_explain_profile(ngx_array_t *profiles,
    ngx_http_klaviyo_value_t *value, ngx_str_t *name);
static ngx_uint_t ngx_http_klaviyo_explain_asked(ngx_array_t *conditions,
    ngx_http_klaviyo_value_t *value);
static ngx_uint_t ngx_http_klaviyo_explain_within(ngx_array_t *conditions,
    ngx_http_klaviyo_condition_t *c);
static void ngx_http_klaviyo_explain_compare(
    ngx_http_klaviyo_explain_t *explain, json_t *entry,
    ngx_http_klaviyo_condition_t *c);
static const char *ngx_http_klaviyo_explain_source(
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *member);
static ngx_int_t ngx_http_klaviyo_explain_route(void *data,
    ngx_http_klaviyo_route_t *route, size_t *captures, ngx_uint_t ncaptures);
static void ngx_http_klaviyo_explain_others(
    ngx_http_klaviyo_explain_t *explain);
static const char *ngx_http_klaviyo_explain_why(
    ngx_http_klaviyo_explain_t *explain, ngx_http_klaviyo_rule_t *rule);
static void ngx_http_klaviyo_explain_request(
    ngx_http_klaviyo_explain_t *explain);


/* of the fields that may be identifiers, by their number */
static const char  *ngx_http_klaviyo_explain_fields[] = {
    "email", "phone_number", "id", "_kx", "external_id", "anonymous_id"
};


void
ngx_http_klaviyo_explain_begin(ngx_http_klaviyo_ctx_t *ctx, ngx_uint_t full)
{
    ngx_pool_t                    *pool;
    ngx_pool_cleanup_t            *cln;
    ngx_http_klaviyo_explain_t    *explain;
    ngx_http_klaviyo_main_conf_t  *kmcf;

    kmcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_klaviyo_module);
    pool = ctx->request->pool;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_klaviyo_explain_t));
    if (cln == NULL) {
        return;
    }

    explain = cln->data;

    ngx_memzero(explain, sizeof(ngx_http_klaviyo_explain_t));

    ngx_http_klaviyo_arena_init(&explain->arena, pool,
                                NGX_HTTP_KLAVIYO_EXPLAIN_ARENA);

    cln->handler = ngx_http_klaviyo_explain_cleanup;

    explain->ctx = ctx;
    explain->conf = kmcf;
    explain->writer.arena = &explain->arena;
    explain->writer.left = NGX_HTTP_KLAVIYO_EXPLAIN_SIZE;
    explain->writer.full = full;

    explain->rules = ngx_pcalloc(pool, kmcf->rules.nelts * sizeof(json_t *));
    explain->paths = ngx_pcalloc(pool, kmcf->rules.nelts);
    explain->story = json_object();

    if (explain->rules == NULL || explain->paths == NULL
        || explain->story == NULL
        || ngx_http_klaviyo_explain_header(explain) != NGX_OK)
    {
        return;
    }

    ctx->explain = explain;
}


static void
ngx_http_klaviyo_explain_cleanup(void *data)
{
    ngx_http_klaviyo_explain_t *explain = data;

    ngx_uint_t  i;

    for (i = 0; explain->rules && i < explain->conf->rules.nelts; i++) {
        json_decref(explain->rules[i]);
    }

    json_decref(explain->event);
    json_decref(explain->story);

    ngx_http_klaviyo_arena_done(&explain->arena);
}


static ngx_int_t
ngx_http_klaviyo_explain_header(ngx_http_klaviyo_explain_t *explain)
{
    ngx_table_elt_t  *h;

    if (RAND_bytes((u_char *) &explain->id, sizeof(uint64_t)) != 1) {
        return NGX_ERROR;
    }

    /* each half is read by ngx_hextoi(), which may have 31 bits for it */

    explain->id &= 0x7fffffff7fffffffULL;

    h = ngx_list_push(&explain->ctx->request->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    ngx_str_set(&h->key, "X-Klaviyo-Explain-Id");
    h->value.data = ngx_pnalloc(explain->ctx->request->pool, 16);

    if (h->value.data == NULL) {
        return NGX_ERROR;
    }

    h->value.len = 16;
    h->hash = 1;

    ngx_sprintf(h->value.data, "%016xL", explain->id);

    return NGX_OK;
}


/* A rule's entry is in the story when the story ends, in the rules' order. */

static json_t *
ngx_http_klaviyo_explain_entry(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_rule_t *rule)
{
    json_t                     *entry;
    ngx_http_klaviyo_writer_t  *w;

    if (explain->rules[rule->number]) {
        return explain->rules[rule->number];
    }

    entry = json_object();
    w = &explain->writer;

    ngx_http_klaviyo_story_text(w, entry, "metric", &rule->metric);
    ngx_http_klaviyo_story_text(w, entry, "file", &rule->file);
    ngx_http_klaviyo_story_number(w, entry, "line", rule->line);
    ngx_http_klaviyo_story_text(w, entry, "routes", &rule->text);

    explain->rules[rule->number] = entry;

    return entry;
}


static json_t *
ngx_http_klaviyo_explain_list(ngx_http_klaviyo_explain_t *explain,
    const char *name)
{
    json_t  *list;

    list = json_object_get(explain->entry, name);

    return list ? list
                : ngx_http_klaviyo_story_array(&explain->writer,
                                               explain->entry, name);
}


void
ngx_http_klaviyo_explain_rule(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_candidate_t *candidate,
    ngx_http_klaviyo_account_t *account)
{
    ngx_http_klaviyo_writer_t  *w;

    w = &explain->writer;
    w->floor = 0;

    json_decref(explain->event);
    explain->event = NULL;

    explain->rule = candidate->rule;
    explain->entry = ngx_http_klaviyo_explain_entry(explain, candidate->rule);

    if (json_object_get(explain->entry, "account")) {
        return;
    }

    ngx_http_klaviyo_story_flag(w, explain->entry, "met", 1);
    ngx_http_klaviyo_story_text(w, explain->entry, "account", &account->name);
    ngx_http_klaviyo_story_flag(w, explain->entry, "dry_run",
                                account->dry_run);

    ngx_http_klaviyo_explain_captures(explain, candidate);
}


static void
ngx_http_klaviyo_explain_captures(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_candidate_t *candidate)
{
    u_char                      *key;
    json_t                      *captures;
    size_t                      *offset;
    ngx_str_t                   *name;
    ngx_uint_t                   i;
    ngx_http_klaviyo_data_t      data;
    ngx_http_klaviyo_capture_t  *capture;

    if (candidate->ncaptures == 0) {
        return;
    }

    captures = ngx_http_klaviyo_story_object(&explain->writer, explain->entry,
                                             "captures");
    capture = candidate->rule->captures.elts;

    for (i = 0; i < candidate->rule->captures.nelts; i++) {

        if (capture[i].route != candidate->route->number
            || capture[i].group >= candidate->ncaptures)
        {
            continue;
        }

        offset = &candidate->captures[2 * capture[i].group];

        if (offset[0] >= offset[1] || offset[1] > explain->ctx->uri.len) {
            continue;
        }

        name = &capture[i].variable->name;

        ngx_http_klaviyo_data_set_string(&data,
                                         explain->ctx->uri.data + offset[0],
                                         offset[1] - offset[0]);

        key = ngx_http_klaviyo_arena_alloc(&explain->arena, name->len + 1);
        if (key == NULL) {
            explain->writer.cut = 1;
            return;
        }

        ngx_cpystrn(key, name->data, name->len + 1);

        ngx_http_klaviyo_story_data(&explain->writer, captures, (char *) key,
                                    &data, ngx_http_klaviyo_mask_name(name));
    }
}


json_t *
ngx_http_klaviyo_explain_value(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_value_t *value, ngx_http_klaviyo_data_t *data)
{
    json_t                     *entry;
    ngx_str_t                   name;
    const char                 *word;
    ngx_uint_t                  personal;
    ngx_http_klaviyo_writer_t  *w;

    w = &explain->writer;
    w->floor = NGX_HTTP_KLAVIYO_EXPLAIN_VALUES;

    entry = ngx_http_klaviyo_story_object(w,
                       ngx_http_klaviyo_explain_list(explain, "values"), NULL);

    ngx_str_null(&name);

    word = ngx_http_klaviyo_explain_for(explain, value, &name);

    personal = (ngx_strcmp(word, "profile") == 0
                || ngx_http_klaviyo_mask_name(&value->place->text)
                || (name.len && ngx_http_klaviyo_mask_name(&name)));

    ngx_http_klaviyo_story_word(w, entry, "for", word);

    if (name.len) {
        ngx_http_klaviyo_story_text(w, entry, "name", &name);
    }

    ngx_http_klaviyo_story_number(w, entry, "line", value->place->line);
    ngx_http_klaviyo_story_text(w, entry, "value", &value->place->text);
    ngx_http_klaviyo_story_data(w, entry, "term", data, personal);

    if (data->type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        ngx_http_klaviyo_story_flag(w, entry, "unknown", 1);
    }

    if (value->steps == NULL) {
        return NULL;
    }

    if (personal) {
        ngx_http_klaviyo_story_flag(w, entry, "personal", 1);
    }

    return ngx_http_klaviyo_story_array(w, entry, "steps") ? entry : NULL;
}


void
ngx_http_klaviyo_explain_step(ngx_http_klaviyo_explain_t *explain,
    json_t *entry, ngx_http_klaviyo_filter_t *filter,
    ngx_http_klaviyo_data_t *data)
{
    json_t                     *step;
    ngx_http_klaviyo_writer_t  *w;

    w = &explain->writer;
    w->floor = NGX_HTTP_KLAVIYO_EXPLAIN_VALUES;

    step = ngx_http_klaviyo_story_object(w, json_object_get(entry, "steps"),
                                         NULL);

    ngx_http_klaviyo_story_text(w, step, "filter", &filter->name);
    ngx_http_klaviyo_story_data(w, step, "gives", data,
                                json_object_get(entry, "personal") != NULL);

    if (data->type == NGX_HTTP_KLAVIYO_UNKNOWN) {
        ngx_http_klaviyo_story_flag(w, step, "unknown", 1);
    }
}


/* What a value is for; nobody but a story asks, so it is searched. */

static const char *
ngx_http_klaviyo_explain_for(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_value_t *value, ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_http_klaviyo_name_t      *let;
    ngx_http_klaviyo_rule_t      *rule;
    ngx_http_klaviyo_value_t     *each;
    ngx_http_klaviyo_loc_conf_t  *klcf;

    rule = explain->rule;
    klcf = explain->ctx->conf;

    if (ngx_http_klaviyo_explain_node(&rule->nodes, value, name)
        || ngx_http_klaviyo_explain_node(klcf->properties, value, name))
    {
        return "property";
    }

    if (ngx_http_klaviyo_explain_profile(&rule->profile, value, name)
        || ngx_http_klaviyo_explain_profile(klcf->profiles, value, name))
    {
        return "profile";
    }

    let = rule->names.elts;

    for (i = 0; i < rule->names.nelts; i++) {

        if (let[i].value == value) {
            *name = let[i].name;
            return "let";
        }
    }

    each = rule->each.elts;

    for (i = 0; i < rule->each.nelts; i++) {

        if (&each[i] == value) {
            return "each";
        }
    }

    return (rule->value == value) ? "value"
           : (rule->currency == value) ? "currency"
           : (rule->time == value) ? "time"
           : (rule->unique_id == value) ? "unique_id"
           : ngx_http_klaviyo_explain_asked(klcf->consent, value) ? "consent"
           : ngx_http_klaviyo_explain_asked(&rule->conditions, value) ? "when"
           : "other";
}


static ngx_uint_t
ngx_http_klaviyo_explain_node(ngx_array_t *nodes,
    ngx_http_klaviyo_value_t *value, ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_http_klaviyo_node_t  *node;

    node = nodes ? nodes->elts : NULL;

    for (i = 0; nodes && i < nodes->nelts; i++) {

        if (&node[i].value == value) {
            *name = node[i].name;
            return 1;
        }

        if (node[i].nodes
            && ngx_http_klaviyo_explain_node(node[i].nodes, value, name))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_klaviyo_explain_profile(ngx_array_t *profiles,
    ngx_http_klaviyo_value_t *value, ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_profile_t  *profile;

    profile = profiles ? profiles->elts : NULL;

    for (i = 0; profiles && i < profiles->nelts; i++) {

        if (&profile[i].value == value) {
            *name = profile[i].name;
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_klaviyo_explain_asked(ngx_array_t *conditions,
    ngx_http_klaviyo_value_t *value)
{
    ngx_uint_t                     i;
    ngx_http_klaviyo_condition_t  *c;

    c = conditions ? conditions->elts : NULL;

    for (i = 0; conditions && i < conditions->nelts; i++) {

        if (&c[i].value == value
            || (c[i].any && ngx_http_klaviyo_explain_asked(c[i].any, value)))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_klaviyo_explain_condition(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_condition_t *c, ngx_int_t rc)
{
    json_t                     *entry;
    ngx_http_klaviyo_writer_t  *w;

    w = &explain->writer;
    w->floor = NGX_HTTP_KLAVIYO_EXPLAIN_EVENT;

    entry = ngx_http_klaviyo_story_object(w,
                   ngx_http_klaviyo_explain_list(explain, "conditions"), NULL);

    ngx_http_klaviyo_story_word(w, entry, "of",
                       ngx_http_klaviyo_explain_within(explain->ctx->conf
                                                              ->consent, c)
                       ? "klaviyo_consent" : "when");

    if (c->any) {
        ngx_http_klaviyo_story_word(w, entry, "condition", "any");

    } else {
        ngx_http_klaviyo_explain_compare(explain, entry, c);
        ngx_http_klaviyo_story_number(w, entry, "line", c->value.place->line);
    }

    ngx_http_klaviyo_story_word(w, entry, "verdict",
                                (rc == NGX_OK) ? "holds"
                                : (rc == NGX_ABORT) ? "unknown" : "fails");
}


static ngx_uint_t
ngx_http_klaviyo_explain_within(ngx_array_t *conditions,
    ngx_http_klaviyo_condition_t *c)
{
    ngx_http_klaviyo_condition_t  *first;

    if (conditions == NULL) {
        return 0;
    }

    first = conditions->elts;

    return c >= first && c < first + conditions->nelts;
}


/* [not] VALUE [OP TEXT], as it was written */

static void
ngx_http_klaviyo_explain_compare(ngx_http_klaviyo_explain_t *explain,
    json_t *entry, ngx_http_klaviyo_condition_t *c)
{
    u_char     *p;
    size_t      len;
    ngx_str_t   text;

    static const char  *operators[] = {
        "", " = ", " != ", " < ", " <= ", " > ", " >= ", " ~ ", " !~ "
    };

    len = sizeof("not  !~ ") + c->value.place->text.len + c->text.len;

    p = ngx_http_klaviyo_arena_alloc(&explain->arena, len);
    if (p == NULL) {
        explain->writer.cut = 1;
        return;
    }

    text.data = p;
    text.len = ngx_snprintf(p, len, "%s%V%s%V", c->negate ? "not " : "",
                            &c->value.place->text, operators[c->op], &c->text)
               - p;

    ngx_http_klaviyo_story_text(&explain->writer, entry, "condition", &text);
}


void
ngx_http_klaviyo_explain_verdict(ngx_http_klaviyo_explain_t *explain,
    ngx_int_t verdict)
{
    json_t                     *entry;
    ngx_uint_t                  status;
    ngx_http_request_t         *r;
    ngx_http_klaviyo_writer_t  *w;

    if (json_object_get(explain->entry, "verdicts")) {
        return;
    }

    r = explain->ctx->request;
    status = r->err_status ? r->err_status : r->headers_out.status;

    w = &explain->writer;
    w->floor = 0;

    entry = ngx_http_klaviyo_story_object(w, explain->entry, "verdicts");

    ngx_http_klaviyo_story_number(w, entry, "status", status);
    ngx_http_klaviyo_story_flag(w, entry, "status_counts",
                                verdict != NGX_HTTP_KLAVIYO_SKIP_STATUS);

    if (verdict == NGX_HTTP_KLAVIYO_SKIP_STATUS) {
        return;
    }

    if (verdict != NGX_DECLINED && verdict != NGX_HTTP_KLAVIYO_SKIP_CONSENT) {
        ngx_http_klaviyo_story_text(w, entry, "noise",
                                    &ngx_http_klaviyo_skip_names[verdict]);
        return;
    }

    ngx_http_klaviyo_story_word(w, entry, "noise", "none");
    ngx_http_klaviyo_story_word(w, entry, "consent",
                                (verdict == NGX_HTTP_KLAVIYO_SKIP_CONSENT)
                                ? "missing"
                                : (explain->ctx->conf->consent
                                   && explain->ctx->conf->consent->nelts)
                                ? "given" : "not asked for");
}


void
ngx_http_klaviyo_explain_identity(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_identity_t *identity, ngx_http_klaviyo_member_t *member,
    ngx_uint_t n)
{
    json_t                     *list, *entry;
    ngx_uint_t                  i;
    ngx_http_klaviyo_writer_t  *w;

    w = &explain->writer;
    w->floor = NGX_HTTP_KLAVIYO_EXPLAIN_EVENT;

    list = ngx_http_klaviyo_explain_list(explain, "identity");

    for (i = 0; i < n && json_array_size(list) < 10; i++) {
        entry = ngx_http_klaviyo_story_object(w, list, NULL);

        ngx_http_klaviyo_story_word(w, entry, "field",
                            ngx_http_klaviyo_explain_fields[member[i].field]);
        ngx_http_klaviyo_story_word(w, entry, "from",
                                    ngx_http_klaviyo_explain_source(identity,
                                                                &member[i]));
        ngx_http_klaviyo_story_data(w, entry, "value", &member[i].data, 1);
    }
}


static const char *
ngx_http_klaviyo_explain_source(ngx_http_klaviyo_identity_t *identity,
    ngx_http_klaviyo_member_t *member)
{
    ngx_str_t                  *text;
    ngx_uint_t                  i;
    ngx_http_klaviyo_member_t  *own;

    switch (identity->source) {

    case NGX_HTTP_KLAVIYO_SOURCE_LINK:
        return "_kx in the query";

    case NGX_HTTP_KLAVIYO_SOURCE_COOKIE:
        return "cookie __kla_id";

    case NGX_HTTP_KLAVIYO_SOURCE_VISITOR:
        return "what is remembered";

    default: /* configured */
        break;
    }

    own = identity->configured;

    for (i = 0; i < identity->nrule; i++) {
        text = &own[i].data.text;

        /* it may have been trimmed */

        if (own[i].field == member->field
            && !ngx_http_klaviyo_data_is_missing(&own[i].data)
            && member->data.text.data >= text->data
            && member->data.text.data <= text->data + text->len)
        {
            return "profile";
        }
    }

    return "klaviyo_profile";
}


void
ngx_http_klaviyo_explain_event(ngx_http_klaviyo_explain_t *explain,
    ngx_str_t *text)
{
    json_decref(explain->event);
    explain->event = NULL;

    if (text->len > NGX_HTTP_KLAVIYO_EXPLAIN_LARGE) {
        explain->writer.cut = 1;
        return;
    }

    explain->event = json_loadb((char *) text->data, text->len, 0, NULL);
}


void
ngx_http_klaviyo_explain_outcome(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_watch_t *watch)
{
    json_t                     *entry;
    ngx_http_klaviyo_writer_t  *w;

    w = &explain->writer;
    w->floor = 0;

    entry = ngx_http_klaviyo_story_object(w,
                     ngx_http_klaviyo_explain_list(explain, "outcomes"), NULL);

    ngx_http_klaviyo_story_word(w, entry, "outcome", watch->outcome);

    if (watch->reason) {
        ngx_http_klaviyo_story_text(w, entry, "reason", watch->reason);
    }

    if (watch->event) {
        ngx_http_klaviyo_story_text(w, entry, "unique_id",
                                    &watch->event->unique_id);
    }

    if (explain->event) {
        w->floor = NGX_HTTP_KLAVIYO_EXPLAIN_EVENT;
        ngx_http_klaviyo_story_json(w, entry, "event", explain->event,
                                    watch->rule->lane
                                    != NGX_HTTP_KLAVIYO_EVENTS);

        json_decref(explain->event);
        explain->event = NULL;
    }
}


void
ngx_http_klaviyo_explain_limits(ngx_http_klaviyo_explain_t *explain,
    ngx_uint_t limits)
{
    if (limits == 0) {
        return;
    }

    limits += json_integer_value(json_object_get(explain->entry, "limited"));

    explain->writer.floor = 0;
    ngx_http_klaviyo_story_number(&explain->writer, explain->entry, "limited",
                                  limits);
}


void
ngx_http_klaviyo_explain_end(ngx_http_klaviyo_explain_t *explain)
{
    char        *text;
    json_t      *rules;
    ngx_str_t    story;
    ngx_uint_t   i;

    explain->writer.floor = 0;

    ngx_http_klaviyo_explain_request(explain);
    ngx_http_klaviyo_explain_others(explain);

    rules = json_array();

    for (i = 0; i < explain->conf->rules.nelts; i++) {

        if (explain->rules[i]) {
            (void) json_array_append(rules, explain->rules[i]);
        }
    }

    (void) json_object_set_new(explain->story, "rules", rules);
    (void) json_object_set_new(explain->story, "cut",
                               json_boolean(explain->writer.cut));

    text = json_dumps(explain->story, JSON_COMPACT|JSON_REAL_PRECISION(15));

    if (text == NULL) {
        return;
    }

    story.data = (u_char *) text;
    story.len = ngx_strlen(text);

    if (story.len <= NGX_HTTP_KLAVIYO_STORY_LEN) {
        ngx_http_klaviyo_stories_add(explain->conf->stories, explain->id,
                                     &story);
    } else {
        ngx_log_error(NGX_LOG_WARN, explain->ctx->request->connection->log, 0,
                      "klaviyo: a story is too long to be kept");
    }

    free(text);
}


static void
ngx_http_klaviyo_explain_request(ngx_http_klaviyo_explain_t *explain)
{
    u_char                     *p;
    json_t                     *request;
    ngx_str_t                   path;
    ngx_http_klaviyo_ctx_t     *ctx;
    ngx_http_klaviyo_writer_t  *w;

    ctx = explain->ctx;
    w = &explain->writer;

    ngx_http_klaviyo_story_number(w, explain->story, "version", 1);
    ngx_http_klaviyo_story_flag(w, explain->story, "masked", !w->full);

    request = ngx_http_klaviyo_story_object(w, explain->story, "request");

    ngx_http_klaviyo_story_text(w, request, "method", &ctx->method_name);

    path = ctx->uri;

    if (!w->full) {
        p = ngx_http_klaviyo_arena_alloc(&explain->arena, path.len);
        if (p == NULL) {
            return;
        }

        path.len = ngx_http_klaviyo_watch_path(p, &path);
        path.data = p;
    }

    ngx_http_klaviyo_story_text(w, request, "path", &path);

    if (w->full && ctx->query.len) {
        ngx_http_klaviyo_story_text(w, request, "query", &ctx->query);
    }

    ngx_http_klaviyo_story_number(w, request, "status",
                                  ctx->request->headers_out.status);
}


static ngx_int_t
ngx_http_klaviyo_explain_route(void *data, ngx_http_klaviyo_route_t *route,
    size_t *captures, ngx_uint_t ncaptures)
{
    ngx_http_klaviyo_explain_t *explain = data;

    ngx_http_klaviyo_rule_t  *rule;

    rule = route->rule;
    explain->paths[rule->number] = 1;

    return NGX_OK;
}


/* The rules of this server that were not judged, and why not. */

static void
ngx_http_klaviyo_explain_others(ngx_http_klaviyo_explain_t *explain)
{
    json_t                        *entry;
    ngx_uint_t                     i;
    ngx_http_klaviyo_rule_t      **rule;
    ngx_http_klaviyo_loc_conf_t   *server, *level;

    server = explain->ctx->conf->server;

    if (server->index) {
        (void) ngx_http_klaviyo_index_match(server->index, NGX_MAX_UINT32_VALUE,
                                            &explain->ctx->uri,
                                            ngx_http_klaviyo_explain_route,
                                            explain);
    }

    rule = explain->conf->rules.elts;

    for (i = 0; i < explain->conf->rules.nelts; i++) {
        level = rule[i]->level;

        if ((explain->rules[i]
             && json_object_get(explain->rules[i], "met"))
            || (level != explain->conf->http && level->server != server))
        {
            continue;
        }

        if (explain->writer.left < NGX_HTTP_KLAVIYO_EXPLAIN_EVENT) {
            explain->writer.cut = 1;
            return;
        }

        entry = ngx_http_klaviyo_explain_entry(explain, rule[i]);

        ngx_http_klaviyo_story_flag(&explain->writer, entry, "met", 0);
        ngx_http_klaviyo_story_word(&explain->writer, entry, "why",
                              ngx_http_klaviyo_explain_why(explain, rule[i]));
    }
}


static const char *
ngx_http_klaviyo_explain_why(ngx_http_klaviyo_explain_t *explain,
    ngx_http_klaviyo_rule_t *rule)
{
    ngx_http_klaviyo_loc_conf_t   *conf, *level;
    ngx_http_klaviyo_candidate_t  *candidate;

    for (candidate = explain->ctx->candidates;
         candidate && candidate->rule != rule;
         candidate = candidate->next)
    {
        /* void */
    }

    if (candidate == NULL) {
        return explain->paths[rule->number] ? "method" : "path";
    }

    conf = explain->ctx->conf;
    level = rule->level;

    if (!conf->enable) {
        return "klaviyo off";
    }

    return (conf->enter < level->enter || conf->enter > level->leave)
           ? "another location" : "klaviyo_except";
}
