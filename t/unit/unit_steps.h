
/*
 * Copyright (C) ngx_http_klaviyo_module contributors
 */

/*
 * The death of a process at any instruction: it is run step by step, and after
 * each step that changed a zone it is as if it had been killed there.  Its lock
 * is freed, another looks at what it left, and all is put back for the next
 * step.
 */


#ifndef _UNIT_STEPS_H_INCLUDED_
#define _UNIT_STEPS_H_INCLUDED_


#include "unit_shm.h"

#if (__linux__ && (__x86_64__ || __i386__))
#include <sys/ptrace.h>
#define UNIT_HAVE_STEPS  1
#endif


#if (UNIT_HAVE_STEPS)

typedef struct {
    ngx_shm_zone_t  *zone;
    void            *data;
    void           (*run)(void *data);     /* there, step by step */
    void           (*check)(void *data,    /* here, after each change, and */
                            ngx_uint_t end);  /* when it got to its end */
    u_char          *copy;                 /* as it was before the last step */
    ngx_uint_t       changes;
} unit_steps_t;


static ngx_inline void
unit_steps_check(unit_steps_t *s, ngx_pid_t pid, ngx_uint_t end)
{
    ngx_memcpy(s->copy, s->zone->shm.addr, s->zone->shm.size);

    unit_shm_unlock(s->zone, pid);

    s->check(s->data, end);

    ngx_memcpy(s->zone->shm.addr, s->copy, s->zone->shm.size);
}


/* a child that has stopped before it runs; it has the pid of a dead one */

static ngx_inline ngx_pid_t
unit_steps_start(unit_steps_t *s, ngx_pid_t dead)
{
    int        status;
    ngx_pid_t  pid;

    pid = unit_fork();

    if (pid == 0) {
        ngx_pid = dead;

        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1) {
            _exit(1);
        }

        raise(SIGSTOP);
        s->run(s->data);
        raise(SIGSTOP);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);

    return WIFSTOPPED(status) ? pid : -1;
}


/* skips the test where ptrace() is not allowed */

static ngx_inline void
unit_steps(unit_steps_t *s)
{
    int         status;
    ngx_pid_t   pid, dead;
    ngx_uint_t  i;

    dead = unit_dead_pid();

    pid = unit_steps_start(s, dead);

    if (pid == -1) {
        print_message("ptrace() is not allowed here\n");
        skip();
    }

    s->changes = 0;
    s->copy = malloc(s->zone->shm.size);
    assert_non_null(s->copy);

    ngx_memcpy(s->copy, s->zone->shm.addr, s->zone->shm.size);

    for (i = 0; /* void */ ; i++) {
        assert_in_range(i, 0, 10000000);
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSTOPPED(status));

        if (WSTOPSIG(status) == SIGSTOP) {
            break;
        }

        if (ngx_memcmp(s->copy, s->zone->shm.addr, s->zone->shm.size) != 0) {
            s->changes++;
            unit_steps_check(s, dead, 0);
        }
    }

    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), -1);

    unit_steps_check(s, dead, 1);

    free(s->copy);

    /* the lock, at least, was taken and freed */

    assert_true(s->changes > 2);
}

#endif


#endif /* _UNIT_STEPS_H_INCLUDED_ */
