
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * What the memory of a queue costs, by where it is: anonymous and shared, as
 * nginx's zones are; a file of a tmpfs, taken as a whole beforehand, as ours
 * are; a file of a disk, which we refuse.
 *
 *     memory MEGABYTES TMPFS FOLDER-ON-A-DISK
 *
 * For each kind: page faults and time of the first touch of each page, and the
 * time of copies of an event's size, all over the memory, while somebody else
 * writes back what is dirty.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define MEGA    (1024 * 1024)
#define EVENT   600
#define COPIES  2000000


static double
now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static long
faults(void)
{
    struct rusage  usage;

    (void) getrusage(RUSAGE_SELF, &usage);

    return usage.ru_minflt + usage.ru_majflt;
}


static int
open_file(const char *folder, size_t size, double *taken)
{
    int   fd;
    char  path[4096];

    (void) snprintf(path, sizeof(path), "%s/memory-XXXXXX", folder);

    fd = mkstemp(path);

    if (fd == -1) {
        perror(path);
        exit(1);
    }

    (void) unlink(path);

    *taken = now();

    errno = posix_fallocate(fd, 0, size);

    if (errno) {
        perror("posix_fallocate");
        exit(1);
    }

    *taken = now() - *taken;

    return fd;
}


static void
touch(volatile char *p, size_t size)
{
    size_t  i, page;

    page = sysconf(_SC_PAGESIZE);

    for (i = 0; i < size; i += page) {
        p[i] = 1;
    }
}


/* as the kernel does by itself every few seconds, but without a pause */

static pid_t
write_back(int fd)
{
    pid_t  pid;

    pid = fork();

    if (pid != 0) {
        return pid;
    }

    for ( ;; ) {
        if (fd == -1 || fdatasync(fd) == -1) {
            (void) usleep(1000);
        }
    }
}


static void
copy(char *p, size_t size, int fd)
{
    int       i, late;
    char      event[EVENT];
    pid_t     pid;
    double    begin, end, total, max;
    size_t    place;

    memset(event, 'x', sizeof(event));

    pid = write_back(fd);
    place = 0;
    late = 0;
    total = 0;
    max = 0;

    for (i = 0; i < COPIES; i++) {
        begin = now();
        memcpy(p + place, event, EVENT);
        end = now();

        total += end - begin;
        late += (end - begin > 0.001);
        max = (end - begin > max) ? end - begin : max;

        place += EVENT;

        if (place + EVENT > size) {
            place = 0;
        }
    }

    (void) kill(pid, SIGKILL);
    (void) waitpid(pid, NULL, 0);

    printf(" %8.0f %10d %10.2f\n", total / COPIES * 1e9, late, max * 1e3);
}


static void
measure(const char *name, const char *folder, size_t size)
{
    int      fd;
    char    *p;
    long     before;
    double   begin, taken;

    fd = -1;
    taken = 0;

    if (folder) {
        fd = open_file(folder, size, &taken);
    }

    p = mmap(NULL, size, PROT_READ|PROT_WRITE,
             MAP_SHARED | ((fd == -1) ? MAP_ANONYMOUS : 0), fd, 0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }

    before = faults();
    begin = now();

    touch(p, size);

    printf("%-22s %7.1f %8ld %9.0f", name, taken * 1e3, faults() - before,
           (now() - begin) / (size / sysconf(_SC_PAGESIZE)) * 1e9);
    (void) fflush(stdout);

    copy(p, size, fd);

    (void) munmap(p, size);
    (void) close(fd);
}


int
main(int argc, char *argv[])
{
    int     i;
    size_t  size;

    if (argc != 4) {
        fprintf(stderr, "usage: memory MEGABYTES TMPFS FOLDER\n");
        return 1;
    }

    size = (size_t) atoi(argv[1]) * MEGA;

    printf("%-22s %7s %8s %9s %8s %10s %10s\n", "", "take", "faults",
           "ns/page", "ns/copy", "over 1 ms", "longest");

    for (i = 0; i < 3; i++) {
        measure("anonymous", NULL, size);
        measure("file of a tmpfs", argv[2], size);
        measure("file of a disk", argv[3], size);
    }

    return 0;
}
