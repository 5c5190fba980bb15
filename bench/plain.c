
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What libcurl alone can do: sends bodies of one size, some at a time, and
 * nothing else.  For bench/run, which takes the time where they arrive.
 *
 *     plain URL BODIES BYTES PARALLEL
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <curl/curl.h>


static int plain_run(CURLM *multi, long bodies);
static CURL *plain_request(const char *url, const char *body, long bytes);
static size_t plain_discard(char *data, size_t size, size_t n, void *context);


int
main(int argc, char *argv[])
{
    char   *body;
    long    i, bodies, bytes, parallel;
    CURL   *easy;
    CURLM  *multi;

    if (argc != 5) {
        fprintf(stderr, "usage: plain URL BODIES BYTES PARALLEL\n");
        return 2;
    }

    bodies = atol(argv[2]);
    bytes = atol(argv[3]);
    parallel = atol(argv[4]);

    multi = curl_multi_init();
    body = malloc(bytes);

    if (multi == NULL || body == NULL) {
        return 1;
    }

    memset(body, 'x', bytes);

    for (i = 0; i < parallel && i < bodies; i++) {
        easy = plain_request(argv[1], body, bytes);

        if (easy == NULL || curl_multi_add_handle(multi, easy) != CURLM_OK) {
            return 1;
        }
    }

    return plain_run(multi, bodies - i);
}


/* "bodies" are those that wait for one of the handles */

static int
plain_run(CURLM *multi, long bodies)
{
    int       n, running;
    CURL     *easy;
    CURLMsg  *msg;

    do {
        if (curl_multi_perform(multi, &running) != CURLM_OK) {
            return 1;
        }

        while ((msg = curl_multi_info_read(multi, &n)) != NULL) {

            if (msg->data.result != CURLE_OK) {
                fprintf(stderr, "%s\n", curl_easy_strerror(msg->data.result));
                return 1;
            }

            if (bodies-- > 0) {
                easy = msg->easy_handle;
                curl_multi_remove_handle(multi, easy);
                curl_multi_add_handle(multi, easy);
                running++;
            }
        }

        if (running
            && curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK)
        {
            return 1;
        }

    } while (running);

    return 0;
}


static CURL *
plain_request(const char *url, const char *body, long bytes)
{
    CURL               *easy;
    struct curl_slist  *headers;

    easy = curl_easy_init();
    headers = curl_slist_append(NULL, "Expect:");

    if (easy == NULL || headers == NULL) {
        return NULL;
    }

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, plain_discard);

    return easy;
}


static size_t
plain_discard(char *data, size_t size, size_t n, void *context)
{
    (void) data;
    (void) context;

    return size * n;
}
