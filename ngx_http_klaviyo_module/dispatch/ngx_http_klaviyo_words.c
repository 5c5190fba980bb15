
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What of Klaviyo's words may be shown.
 */


#include "ngx_http_klaviyo_words.h"


/* no word of the vocabulary is so long */
#define NGX_HTTP_KLAVIYO_WORD_LEN        32

/* a number of more is a visitor's; an index may have more */
#define NGX_HTTP_KLAVIYO_WORD_DIGITS     3
#define NGX_HTTP_KLAVIYO_INDEX_DIGITS    5

#define NGX_HTTP_KLAVIYO_MASK            "***"


typedef enum {
    NGX_HTTP_KLAVIYO_WORD_UNKNOWN = 0,
    NGX_HTTP_KLAVIYO_WORD_NUMBER,
    NGX_HTTP_KLAVIYO_WORD_KNOWN
} ngx_http_klaviyo_word_e;


static u_char *ngx_http_klaviyo_words_add(u_char *p, u_char *last,
    ngx_str_t *part);
static u_char *ngx_http_klaviyo_words_next(u_char *s, u_char *end,
    ngx_str_t *part);
static ngx_http_klaviyo_word_e ngx_http_klaviyo_words_kind(ngx_str_t *part);
static ngx_uint_t ngx_http_klaviyo_words_find(ngx_str_t *word);
static int ngx_libc_cdecl ngx_http_klaviyo_words_compare(const void *one,
    const void *two);
static ngx_uint_t ngx_http_klaviyo_words_index(ngx_str_t *part);


#define ngx_http_klaviyo_words_letter(ch)                                     \
    (((ch) >= 'a' && (ch) <= 'z') || ((ch) >= 'A' && (ch) <= 'Z')             \
     || ((ch) >= '0' && (ch) <= '9') || (ch) == '_')


/* in the order of strcmp() */
static char  *ngx_http_klaviyo_vocabulary[] = {
    "_kx", "a", "about", "accepted", "access", "account", "accounts",
    "action", "active", "additional", "address", "address1", "address2",
    "after", "again", "all", "allowed", "already", "also", "an", "and",
    "anonymous_id", "another", "any", "api", "are", "aren", "array", "as",
    "at", "attempt", "attributes", "authenticate", "authenticated",
    "authentication", "authorization", "authorized", "available", "backfill",
    "bad", "be", "because", "been", "before", "being", "below", "between",
    "blank", "blocked", "body", "boolean", "both", "bulk", "but", "by", "can",
    "cannot", "character", "characters", "check", "city", "code", "company",
    "conflict", "contact", "contain", "contained", "contains", "content",
    "correct", "could", "country", "create", "created", "creation",
    "credentials", "currency", "data", "date", "dates", "datetime", "day",
    "days", "deleted", "denied", "deprecated", "detail", "detected",
    "disabled", "does", "doesn", "domain", "don", "due", "duplicate",
    "duplicated", "duplicates", "e", "each", "either", "eligible", "email",
    "emails", "empty", "enabled", "encoding", "endpoint", "enough", "ensure",
    "entity", "error", "errors", "event", "events", "exceed", "exceeded",
    "exceeds", "exist", "existing", "exists", "expected", "expired",
    "external_id", "failed", "false", "field", "fields", "first",
    "first_name", "for", "forbidden", "format", "formatted", "found", "from",
    "future", "gateway", "get", "given", "gone", "greater", "group", "had",
    "has", "have", "header", "headers", "hour", "hours", "however", "http",
    "https", "id", "identifier", "identifiers", "if", "image", "in",
    "include", "included", "includes", "incorrect", "ineligible", "input",
    "inside", "instead", "integer", "internal", "invalid", "ip", "is", "isn",
    "iso", "it", "item", "items", "its", "job", "jobs", "json", "kb", "key",
    "keys", "klaviyo", "known", "large", "larger", "last", "last_name",
    "latitude", "length", "less", "letters", "limit", "limits", "list",
    "locale", "location", "long", "longer", "longitude", "malformed", "many",
    "matches", "max", "maximum", "may", "mb", "media", "megabytes", "message",
    "meta", "method", "metric", "metrics", "min", "minimum", "minute",
    "minutes", "missing", "more", "most", "must", "name", "names", "need",
    "needs", "new", "no", "non", "not", "not_authenticated", "null", "number",
    "numbers", "numeric", "object", "objects", "of", "on", "once", "one",
    "only", "open", "or", "organization", "other", "out", "over", "parameter",
    "parameters", "parse", "parsed", "past", "patch_properties", "path",
    "payload", "per", "period", "permission", "permissions", "phone",
    "phone_number", "plan", "please", "pointer", "post", "present", "private",
    "processed", "profile", "profiles", "properties", "property", "provide",
    "provided", "public", "put", "queued", "quota", "range", "rate",
    "reached", "read", "receive", "received", "refused", "region", "rejected",
    "repeated", "request", "requested", "requests", "require", "required",
    "requires", "resource", "resources", "response", "retry", "revision",
    "rfc", "route", "s", "same", "scope", "scopes", "second", "seconds",
    "see", "sent", "server", "service", "short", "should", "size", "sms",
    "some", "source", "state", "status", "string", "strings", "subscribed",
    "subscription", "such", "support", "supported", "t", "test", "text",
    "than", "that", "the", "their", "them", "then", "there", "these", "this",
    "throttled", "time", "timeout", "times", "timestamp", "timestamps",
    "timezone", "title", "to", "token", "too", "too_large", "true", "try",
    "type", "types", "unable", "unauthorized", "unavailable", "unexpected",
    "unique", "unique_id", "unknown", "unprocessable", "unrecognized",
    "unsupported", "up", "url", "use", "used", "user", "using", "utc", "utf",
    "valid", "validation", "value", "value_currency", "values", "version",
    "was", "wasn", "we", "were", "when", "where", "which", "while", "will",
    "window", "with", "within", "without", "would", "write", "wrong", "year",
    "years", "you", "your", "zip"
};


void
ngx_http_klaviyo_words(u_char *buf, size_t size, ngx_str_t *text)
{
    u_char                   *p, *last, *s, *end;
    ngx_str_t                 part, next;
    ngx_uint_t                masked;
    ngx_http_klaviyo_word_e   before, kind, after;

    p = buf;
    last = buf + size - 1;
    end = text->data + text->len;

    s = ngx_http_klaviyo_words_next(text->data, end, &next);

    before = NGX_HTTP_KLAVIYO_WORD_KNOWN;
    after = ngx_http_klaviyo_words_kind(&next);
    masked = 0;

    while (next.len) {
        part = next;
        kind = after;

        s = ngx_http_klaviyo_words_next(s, end, &next);
        after = ngx_http_klaviyo_words_kind(&next);

        if (kind == NGX_HTTP_KLAVIYO_WORD_UNKNOWN
            || (kind == NGX_HTTP_KLAVIYO_WORD_NUMBER
                && (before != NGX_HTTP_KLAVIYO_WORD_KNOWN
                    || after != NGX_HTTP_KLAVIYO_WORD_KNOWN)))
        {
            before = kind;

            if (masked) {
                continue;
            }

            ngx_str_set(&part, NGX_HTTP_KLAVIYO_MASK);
            masked = 1;

        } else {
            before = kind;
            masked = 0;
        }

        if ((size_t) (last - p) < part.len + (p != buf)) {
            break;
        }

        if (p != buf) {
            *p++ = ' ';
        }

        p = ngx_http_klaviyo_words_add(p, last, &part);
    }

    *p = '\0';
}


/* what stands before the next blank; empty at the end */

static u_char *
ngx_http_klaviyo_words_next(u_char *s, u_char *end, ngx_str_t *part)
{
    while (s < end && *s <= ' ') {
        s++;
    }

    part->data = s;

    while (s < end && *s > ' ') {
        s++;
    }

    part->len = s - part->data;

    return s;
}


void
ngx_http_klaviyo_words_pointer(u_char *buf, size_t size, ngx_str_t *pointer)
{
    u_char     *p, *last, *s, *end;
    ngx_str_t   part;

    p = buf;
    last = buf + size - 1;

    s = pointer->data;
    end = s + pointer->len;

    while (s < end && p < last) {

        if (*s == '/') {
            *p++ = *s++;
        }

        part.data = s;

        while (s < end && *s != '/') {
            s++;
        }

        part.len = s - part.data;

        if (!ngx_http_klaviyo_words_index(&part)
            && ngx_http_klaviyo_words_kind(&part)
               == NGX_HTTP_KLAVIYO_WORD_UNKNOWN)
        {
            ngx_str_set(&part, NGX_HTTP_KLAVIYO_MASK);
        }

        p = ngx_http_klaviyo_words_add(p, last, &part);
    }

    *p = '\0';
}


static u_char *
ngx_http_klaviyo_words_add(u_char *p, u_char *last, ngx_str_t *part)
{
    return ngx_cpymem(p, part->data, ngx_min(part->len, (size_t) (last - p)));
}


/* of all of its words; what stands between them is printable */

static ngx_http_klaviyo_word_e
ngx_http_klaviyo_words_kind(ngx_str_t *part)
{
    u_char                   *p, *last;
    ngx_str_t                 word;
    ngx_http_klaviyo_word_e   kind;

    kind = NGX_HTTP_KLAVIYO_WORD_KNOWN;

    p = part->data;
    last = p + part->len;

    while (p < last) {

        if (!ngx_http_klaviyo_words_letter(*p)) {

            if (*p < ' ' || *p > '~' || *p == '@' || *p == '+') {
                return NGX_HTTP_KLAVIYO_WORD_UNKNOWN;
            }

            p++;
            continue;
        }

        word.data = p;

        while (p < last && ngx_http_klaviyo_words_letter(*p)) {
            p++;
        }

        word.len = p - word.data;

        if (word.len <= NGX_HTTP_KLAVIYO_WORD_DIGITS
            && ngx_http_klaviyo_words_index(&word))
        {
            kind = NGX_HTTP_KLAVIYO_WORD_NUMBER;

        } else if (!ngx_http_klaviyo_words_find(&word)) {
            return NGX_HTTP_KLAVIYO_WORD_UNKNOWN;
        }
    }

    return kind;
}


static ngx_uint_t
ngx_http_klaviyo_words_find(ngx_str_t *word)
{
    u_char  lowcase[NGX_HTTP_KLAVIYO_WORD_LEN];

    if (word->len >= NGX_HTTP_KLAVIYO_WORD_LEN) {
        return 0;
    }

    ngx_strlow(lowcase, word->data, word->len);
    lowcase[word->len] = '\0';

    return bsearch(lowcase, ngx_http_klaviyo_vocabulary,
                   sizeof(ngx_http_klaviyo_vocabulary) / sizeof(char *),
                   sizeof(char *), ngx_http_klaviyo_words_compare)
           != NULL;
}


static int ngx_libc_cdecl
ngx_http_klaviyo_words_compare(const void *one, const void *two)
{
    return ngx_strcmp((const char *) one, *(char * const *) two);
}


static ngx_uint_t
ngx_http_klaviyo_words_index(ngx_str_t *part)
{
    size_t  i;

    if (part->len == 0 || part->len > NGX_HTTP_KLAVIYO_INDEX_DIGITS) {
        return 0;
    }

    for (i = 0; i < part->len; i++) {
        if (part->data[i] < '0' || part->data[i] > '9') {
            return 0;
        }
    }

    return 1;
}
