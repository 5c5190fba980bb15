
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What libcurl alone can do: sends bodies of one size, some at a time, and
 * nothing else: HTTP/1.1, or with https HTTP/2.  For the part delivery, which
 * takes the time where they arrive.  Each body is in memory of its own, as the
 * events in a ring are.  Prints the microseconds of CPU that the sending took.
 *
 *     plain URL BODIES BYTES PARALLEL
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <curl/curl.h>


typedef struct {
    CURLM  *multi;
    char   *body;       /* the next one */
    long    bytes;
    long    left;       /* bodies */
} plain_t;


static double plain_cpu(void);
static int plain_run(plain_t *plain);
static int plain_send(plain_t *plain, CURL *easy);
static CURL *plain_request(const char *url, long bytes);
static size_t plain_discard(char *data, size_t size, size_t n, void *context);


int
main(int argc, char *argv[])
{
    int      rc;
    long     parallel;
    CURL    *easy;
    double   before;
    plain_t  plain;

    if (argc != 5) {
        fprintf(stderr, "usage: plain URL BODIES BYTES PARALLEL\n");
        return 2;
    }

    plain.left = atol(argv[2]);
    plain.bytes = atol(argv[3]);
    plain.multi = curl_multi_init();
    plain.body = malloc(plain.left * plain.bytes);

    if (plain.multi == NULL || plain.body == NULL) {
        return 1;
    }

    memset(plain.body, 'x', plain.left * plain.bytes);

    before = plain_cpu();

    for (parallel = atol(argv[4]); parallel && plain.left; parallel--) {
        easy = plain_request(argv[1], plain.bytes);

        if (easy == NULL || plain_send(&plain, easy) != 0) {
            return 1;
        }
    }

    rc = plain_run(&plain);

    printf("%.0f\n", plain_cpu() - before);

    return rc;
}


static double
plain_cpu(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}


static int
plain_run(plain_t *plain)
{
    int       n, running;
    CURLMsg  *msg;

    do {
        if (curl_multi_perform(plain->multi, &running) != CURLM_OK) {
            return 1;
        }

        while ((msg = curl_multi_info_read(plain->multi, &n)) != NULL) {

            if (msg->data.result != CURLE_OK) {
                fprintf(stderr, "%s\n", curl_easy_strerror(msg->data.result));
                return 1;
            }

            if (plain->left) {
                curl_multi_remove_handle(plain->multi, msg->easy_handle);

                if (plain_send(plain, msg->easy_handle) != 0) {
                    return 1;
                }

                running++;
            }
        }

        if (running
            && curl_multi_poll(plain->multi, NULL, 0, 1000, NULL) != CURLM_OK)
        {
            return 1;
        }

    } while (running);

    return 0;
}


static int
plain_send(plain_t *plain, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, plain->body);

    plain->body += plain->bytes;
    plain->left--;

    return curl_multi_add_handle(plain->multi, easy) != CURLM_OK;
}


static CURL *
plain_request(const char *url, long bytes)
{
    CURL               *easy;
    struct curl_slist  *headers;

    easy = curl_easy_init();
    headers = curl_slist_append(NULL, "Expect:");

    if (easy == NULL || headers == NULL) {
        return NULL;
    }

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long) (strncmp(url, "https:", 6) == 0)
                     ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
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
