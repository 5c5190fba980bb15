
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * klaviyo_identify and klaviyo_subscribe.
 *
 * Both write to a profile without an event, so only whom the configuration
 * names is written to, never whom a cookie or a link tells of: anybody can
 * write these.  And Klaviyo refuses an invalid entry at once, and many of them
 * stop the lane, so what it would refuse is missing here.
 */


#include "ngx_http_klaviyo_identify.h"


/* Klaviyo documents none */
#define NGX_HTTP_KLAVIYO_MAX_LIST        64
#define NGX_HTTP_KLAVIYO_MAX_SOURCE      255

/* Klaviyo takes times after 1990 */
#define NGX_HTTP_KLAVIYO_MIN_CONSENT     662688000


static ngx_uint_t ngx_http_klaviyo_identify_has(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_field_e first, ngx_http_klaviyo_field_e last);
static ngx_int_t ngx_http_klaviyo_subscribe_finish(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule);
static ngx_int_t ngx_http_klaviyo_subscribe_address(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_field_e field,
    ngx_uint_t subscribed);
static void ngx_http_klaviyo_subscribe_date(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_str_t *date);


/* the channel whose address it is, by field */

static struct {
    char  *field;
    char  *channel;
} ngx_http_klaviyo_subscribe_addresses[] = {
    { "email", "email" },
    { "phone_number", "sms" }
};


ngx_http_klaviyo_subscribe_t *
ngx_http_klaviyo_subscribe_create(ngx_pool_t *pool)
{
    ngx_http_klaviyo_subscribe_t  *subscribe;

    subscribe = ngx_pcalloc(pool, sizeof(ngx_http_klaviyo_subscribe_t));

    if (subscribe == NULL
        || ngx_array_init(&subscribe->consent, pool, 1,
                          sizeof(ngx_http_klaviyo_condition_t))
           != NGX_OK)
    {
        return NULL;
    }

    return subscribe;
}


char *
ngx_http_klaviyo_subscribe_list(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_subscribe_t *subscribe)
{
    u_char      c;
    size_t      i;
    ngx_str_t  *list;

    list = compile->token;

    if (subscribe->subscription.list.len) {
        return "is duplicate";
    }

    for (i = 0; i < list->len; i++) {
        c = list->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9')))
        {
            break;
        }
    }

    if (list->len == 0 || list->len > NGX_HTTP_KLAVIYO_MAX_LIST
        || i < list->len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid list \"%V\", it must be the id of one: "
                           "letters and digits, as in its URL at Klaviyo",
                           list);
        return NGX_CONF_ERROR;
    }

    subscribe->subscription.list = *list;

    return NGX_CONF_OK;
}


char *
ngx_http_klaviyo_subscribe_channels(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_subscribe_t *subscribe)
{
    ngx_str_t                        *channel;
    ngx_http_klaviyo_subscription_t  *subscription;

    subscription = &subscribe->subscription;

    if (subscription->email || subscription->sms) {
        return "is duplicate";
    }

    for (channel = compile->token; channel < compile->last; channel++) {

        if (ngx_strcmp(channel->data, "email") == 0) {
            subscription->email = 1;

        } else if (ngx_strcmp(channel->data, "sms") == 0) {
            subscription->sms = 1;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                               "invalid channel \"%V\", it must be \"email\" "
                               "or \"sms\"", channel);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_klaviyo_subscribe_source(ngx_http_klaviyo_compile_t *compile,
    ngx_http_klaviyo_subscribe_t *subscribe)
{
    size_t      len;
    ngx_str_t  *source;

    source = compile->token;

    if (subscribe->subscription.source.len) {
        return "is duplicate";
    }

    len = ngx_http_klaviyo_utf8_length(source);

    if (len == 0 || len > NGX_HTTP_KLAVIYO_MAX_SOURCE
        || ngx_strlchr(source->data, source->data + source->len, '$'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, compile->cf, 0,
                           "invalid source \"%V\", it must be a text of 1 to "
                           "%d characters without variables", source,
                           NGX_HTTP_KLAVIYO_MAX_SOURCE);
        return NGX_CONF_ERROR;
    }

    subscribe->subscription.source = *source;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_klaviyo_identify_field(ngx_conf_t *cf, ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_profile_t *profile)
{
    switch (rule->lane) {

    case NGX_HTTP_KLAVIYO_PROFILES:

        if (profile->field != NGX_HTTP_KLAVIYO_ANONYMOUS_ID) {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid field \"%V\" in \"%V\", Klaviyo's profile "
                           "updates have none", &profile->name, &rule->metric);
        return NGX_ERROR;

    case NGX_HTTP_KLAVIYO_SUBSCRIPTIONS:

        if (profile->field == NGX_HTTP_KLAVIYO_EMAIL
            || profile->field == NGX_HTTP_KLAVIYO_PHONE_NUMBER)
        {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid field \"%V\" in \"%V\", it must be "
                           "\"email\" or \"phone_number\"", &profile->name,
                           &rule->metric);
        return NGX_ERROR;

    default: /* NGX_HTTP_KLAVIYO_EVENTS */
        return NGX_OK;
    }
}


ngx_int_t
ngx_http_klaviyo_identify_finish(ngx_conf_t *cf, ngx_http_klaviyo_rule_t *rule)
{
    switch (rule->lane) {

    case NGX_HTTP_KLAVIYO_PROFILES:

        if (ngx_http_klaviyo_identify_has(rule, NGX_HTTP_KLAVIYO_EMAIL,
                                          NGX_HTTP_KLAVIYO_EXTERNAL_ID))
        {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"profile\" with email, phone_number, id, _kx or "
                      "external_id in \"%V\" in %V:%ui", &rule->metric,
                      &rule->file, rule->line);
        return NGX_ERROR;

    case NGX_HTTP_KLAVIYO_SUBSCRIPTIONS:
        return ngx_http_klaviyo_subscribe_finish(cf, rule);

    default: /* NGX_HTTP_KLAVIYO_EVENTS */
        return NGX_OK;
    }
}


static ngx_uint_t
ngx_http_klaviyo_identify_has(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_field_e first, ngx_http_klaviyo_field_e last)
{
    ngx_uint_t                   i;
    ngx_http_klaviyo_profile_t  *profile;

    profile = rule->profile.elts;

    for (i = 0; i < rule->profile.nelts; i++) {
        if (profile[i].field >= first && profile[i].field <= last) {
            return 1;
        }
    }

    return 0;
}


/* Nothing of a subscription has a default: it lifts suppressions. */

static ngx_int_t
ngx_http_klaviyo_subscribe_finish(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule)
{
    char                             *missing;
    ngx_http_klaviyo_subscription_t  *subscription;

    subscription = &rule->subscribe->subscription;
    missing = NULL;

    if (subscription->list.len == 0) {
        missing = "list";

    } else if (!subscription->email && !subscription->sms) {
        missing = "channels";

    } else if (rule->subscribe->consent.nelts == 0) {
        missing = "consent";
    }

    if (missing) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"%s\" in \"%V\" in %V:%ui", missing, &rule->metric,
                      &rule->file, rule->line);
        return NGX_ERROR;
    }

    return (ngx_http_klaviyo_subscribe_address(cf, rule,
                                               NGX_HTTP_KLAVIYO_EMAIL,
                                               subscription->email)
            == NGX_OK
            && ngx_http_klaviyo_subscribe_address(cf, rule,
                                               NGX_HTTP_KLAVIYO_PHONE_NUMBER,
                                               subscription->sms)
               == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


/* A channel has its address, and there is none without its channel. */

static ngx_int_t
ngx_http_klaviyo_subscribe_address(ngx_conf_t *cf,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_field_e field,
    ngx_uint_t subscribed)
{
    char        *name, *channel;
    ngx_uint_t   has;

    has = ngx_http_klaviyo_identify_has(rule, field, field);

    if (has == subscribed) {
        return NGX_OK;
    }

    name = ngx_http_klaviyo_subscribe_addresses[field].field;
    channel = ngx_http_klaviyo_subscribe_addresses[field].channel;

    if (has) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"profile %s\" without the channel \"%s\" in \"%V\" in "
                      "%V:%ui", name, channel, &rule->metric, &rule->file,
                      rule->line);

    } else {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"profile %s\" for the channel \"%s\" in \"%V\" in "
                      "%V:%ui", name, channel, &rule->metric, &rule->file,
                      rule->line);
    }

    return NGX_ERROR;
}


void
ngx_http_klaviyo_identify_limit(ngx_http_klaviyo_rule_t *rule,
    ngx_http_klaviyo_identity_t *identity)
{
    if (rule->lane == NGX_HTTP_KLAVIYO_EVENTS) {
        return;
    }

    identity->update = 1;
    identity->rungs = 0;

    /* each channel has an address of its own, which the rule has */

    if (rule->lane == NGX_HTTP_KLAVIYO_SUBSCRIPTIONS) {
        identity->all = 1;
        identity->nconfigured = identity->nrule;
    }
}


ngx_int_t
ngx_http_klaviyo_identify_render(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_rule_t *rule, ngx_http_klaviyo_member_t *members,
    ngx_uint_t n, ngx_str_t *json, ngx_uint_t *limits)
{
    u_char                           date[NGX_HTTP_KLAVIYO_DATE_LEN];
    ngx_http_klaviyo_subscription_t  subscription;

    if (n == 0) {
        return NGX_DECLINED;
    }

    if (rule->lane == NGX_HTTP_KLAVIYO_PROFILES) {
        return ngx_http_klaviyo_profile_render(eval->arena, members, n, json,
                                               limits);
    }

    subscription = rule->subscribe->subscription;
    subscription.consented_at.data = date;

    if (rule->subscribe->consented_at) {
        ngx_http_klaviyo_subscribe_date(eval, rule->subscribe->consented_at,
                                        &subscription.consented_at);
    }

    return ngx_http_klaviyo_profile_subscribe(eval->arena, &subscription,
                                              members, n, json, limits);
}


/* What is no time in the past is missing: then consent is given now. */

static void
ngx_http_klaviyo_subscribe_date(ngx_http_klaviyo_eval_t *eval,
    ngx_http_klaviyo_value_t *value, ngx_str_t *date)
{
    int64_t                  sec;
    ngx_str_t                text;
    ngx_uint_t               msec;
    ngx_http_klaviyo_data_t  data;

    ngx_http_klaviyo_value_eval(eval, value, &data);

    if (ngx_http_klaviyo_data_text(&data, &text) != NGX_OK
        || ngx_http_klaviyo_date_parse(&text, &sec, &msec) != NGX_OK
        || sec < NGX_HTTP_KLAVIYO_MIN_CONSENT
        || sec >= ngx_time())
    {
        return;
    }

    date->len = ngx_http_klaviyo_date_format(date->data, sec, 0);
}
