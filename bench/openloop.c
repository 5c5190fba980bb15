
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * Requests at a fixed rate, whatever the answers do: each has its time, and
 * its latency counts from that time on, also if it had to wait for one of the
 * connections.  A server that stands still for a while is thus not asked less.
 *
 *     openloop PORT RATE SECONDS CONNECTIONS FILE
 *
 * FILE has the request.  The answer must have a Content-Length.  Prints, in
 * microseconds, the median, the 99th and the 99.9th percentile and the
 * maximum, and how many answers there were.
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define EVENTS  64
#define ANSWER  65536


typedef struct {
    int       fd;
    int       busy;
    size_t    len;           /* of the answer, so far */
    size_t    need;          /* 0: its head isn't complete */
    uint64_t  due;           /* of the request on its way */
    char      answer[ANSWER];
} connection_t;


typedef struct {
    int            epoll;
    char           request[ANSWER];
    size_t         request_len;

    connection_t  *connections;
    connection_t **idle;     /* a stack */
    long           nidle;

    uint64_t       begin;
    double         interval; /* nanoseconds */
    long           total;
    long           sent;
    long           answered;
    uint32_t      *latencies;
} load_t;


static uint64_t
now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


static void
fail(const char *what)
{
    perror(what);
    exit(1);
}


static void
connect_to(load_t *load, connection_t *c, int port)
{
    int                 one;
    struct epoll_event  event;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (c->fd == -1
        || connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        fail("connect");
    }

    one = 1;
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    event.events = EPOLLIN;
    event.data.ptr = c;

    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) == -1) {
        fail("epoll_ctl");
    }

    load->idle[load->nidle++] = c;
}


static void
prepare(load_t *load, int port, long connections, const char *file)
{
    long   i;
    FILE  *in;

    in = fopen(file, "r");

    if (in == NULL) {
        fail(file);
    }

    load->request_len = fread(load->request, 1, sizeof(load->request), in);
    (void) fclose(in);

    load->epoll = epoll_create1(0);
    load->connections = calloc(connections, sizeof(connection_t));
    load->idle = calloc(connections, sizeof(connection_t *));
    load->latencies = calloc(load->total, sizeof(uint32_t));

    if (load->epoll == -1 || load->connections == NULL || load->idle == NULL
        || load->latencies == NULL)
    {
        fail("no memory");
    }

    for (i = 0; i < connections; i++) {
        connect_to(load, &load->connections[i], port);
    }
}


/* the time of the n-th request */

static uint64_t
due(load_t *load, long n)
{
    return load->begin + (uint64_t) (n * load->interval);
}


static void
send_due(load_t *load)
{
    uint64_t       time;
    connection_t  *c;

    time = now();

    while (load->sent < load->total && load->nidle
           && due(load, load->sent) <= time)
    {
        c = load->idle[--load->nidle];

        c->due = due(load, load->sent++);
        c->busy = 1;
        c->len = 0;
        c->need = 0;

        /* a request is far smaller than the socket's buffer */

        if (send(c->fd, load->request, load->request_len, MSG_NOSIGNAL)
            != (ssize_t) load->request_len)
        {
            fail("send");
        }
    }
}


static void
read_head(connection_t *c)
{
    char  *end, *length;

    c->answer[c->len] = '\0';

    end = strstr(c->answer, "\r\n\r\n");

    if (end == NULL) {
        return;
    }

    length = strcasestr(c->answer, "\r\nContent-Length:");

    if (strncmp(c->answer, "HTTP/1.1 2", 10) != 0
        || length == NULL || length > end)
    {
        fprintf(stderr, "an answer that isn't expected:\n%s\n", c->answer);
        exit(1);
    }

    c->need = end + 4 - c->answer + atol(length + 17);
}


static void
receive(load_t *load, connection_t *c)
{
    ssize_t  n;

    n = recv(c->fd, c->answer + c->len, ANSWER - 1 - c->len, 0);

    if (n <= 0 || !c->busy) {
        fprintf(stderr, "a connection was closed\n");
        exit(1);
    }

    c->len += n;

    if (c->need == 0) {
        read_head(c);
    }

    if (c->need == 0 || c->len < c->need) {
        return;
    }

    load->latencies[load->answered++] = (uint32_t) ((now() - c->due) / 1000);

    c->busy = 0;
    load->idle[load->nidle++] = c;
}


/* until the next request is due, if a connection is free for it */

static void
wait_for(load_t *load)
{
    int                 i, n;
    uint64_t            time, next;
    struct timespec     left, *timeout;
    struct epoll_event  events[EVENTS];

    timeout = NULL;

    if (load->nidle && load->sent < load->total) {
        time = now();
        next = due(load, load->sent);
        next = (next > time) ? next - time : 0;

        left.tv_sec = next / 1000000000;
        left.tv_nsec = next % 1000000000;
        timeout = &left;
    }

    n = epoll_pwait2(load->epoll, events, EVENTS, timeout, NULL);

    if (n == -1 && errno != EINTR) {
        fail("epoll_pwait2");
    }

    for (i = 0; i < n; i++) {
        receive(load, events[i].data.ptr);
    }
}


static int
compare(const void *one, const void *two)
{
    uint32_t  a, b;

    a = *(const uint32_t *) one;
    b = *(const uint32_t *) two;

    return (a > b) - (a < b);
}


int
main(int argc, char *argv[])
{
    long    rate, n;
    load_t  load;

    if (argc != 6) {
        fprintf(stderr,
                "usage: openloop PORT RATE SECONDS CONNECTIONS FILE\n");
        return 2;
    }

    memset(&load, 0, sizeof(load));

    rate = atol(argv[2]);
    load.interval = 1e9 / rate;
    load.total = rate * atol(argv[3]);

    prepare(&load, atoi(argv[1]), atol(argv[4]), argv[5]);

    /* the kernel delays a sleeper by 50 us otherwise */

    (void) prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);

    load.begin = now() + 1000000;

    while (load.answered < load.total) {
        send_due(&load);
        wait_for(&load);
    }

    n = load.answered;
    qsort(load.latencies, n, sizeof(uint32_t), compare);

    printf("%u %u %u %u %ld\n", load.latencies[n / 2],
           load.latencies[n * 99 / 100], load.latencies[n * 999 / 1000],
           load.latencies[n - 1], n);

    return 0;
}
