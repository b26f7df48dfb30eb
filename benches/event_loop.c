/* The event loop of the library as a contestant: one thread keeps an operation in flight for each of its tasks. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "library.h"

#include "contestants.h"

#ifdef BENCH_WITH_LIBRARY

struct task {
    char key[32];
    uint64_t begun_ns, locked_ns;
    redlock_lease_t *lease;
};

struct event_loop {
    redlock_t *redlock;
    redlock_request_t *request;
    struct samples *samples;
    uint64_t deadline_ns;
    unsigned tasks, resting;
    struct task task[];
};

static void loop_close(struct contestant *self)
{
    struct event_loop *loop = self->state;
    if (loop == NULL)
        return;
    for (unsigned i = 0; i < loop->tasks; i++)
        redlock_lease_free(loop->task[i].lease);
    redlock_request_free(loop->request);
    redlock_free(loop->redlock);
    free(loop);
    self->state = NULL;
}

static int loop_open(struct contestant *self, const struct node_set *nodes)
{
    struct event_loop *loop = self->state = calloc(1, sizeof *loop + self->tasks * sizeof loop->task[0]);
    if (loop == NULL)
        return -1;
    loop->tasks = self->tasks;
    for (unsigned i = 0; i < self->tasks; i++)
        contestant_key(loop->task[i].key, self->letter, i);
    loop->request = redlock_request_new();
    redlock_request_set_ttl_ms(loop->request, TTL_MS);
    redlock_request_set_wait_ms(loop->request, WAIT_MS);
    if ((loop->redlock = handle_on(nodes, NULL)) == NULL) {
        loop_close(self);
        return -1;
    }
    return 0;
}

static int submit_lock(struct event_loop *loop, unsigned number)
{
    redlock_error_t *error = NULL;
    struct task *task = &loop->task[number];
    task->begun_ns = now_ns();
    redlock_request_set_tag(loop->request, number + 1);
    redlock_request_set_resource(loop->request, task->key);
    if (redlock_submit_lock(loop->redlock, loop->request, &error) != REDLOCK_OK)
        return complain_of("redlock_submit_lock", error);
    return 0;
}

static int on_locked(struct task *task, uint64_t tag, redlock_event_t *event)
{
    redlock_error_t *error = NULL;
    task->lease = redlock_event_take_lease(event);
    task->locked_ns = now_ns();
    if (task->lease == NULL)
        return complain_of("redlock_submit_lock", redlock_event_take_error(event));
    if (redlock_submit_unlock(task->lease, tag, &error) != REDLOCK_OK)
        return complain_of("redlock_submit_unlock", error);
    return 0;
}

static int on_unlocked(struct event_loop *loop, struct task *task, redlock_event_t *event)
{
    uint64_t now = now_ns();
    if (redlock_event_status(event) != REDLOCK_OK)
        return complain_of("redlock_submit_unlock", redlock_event_take_error(event));
    redlock_lease_free(task->lease);
    task->lease = NULL;
    samples_add(loop->samples, now - task->begun_ns, task->locked_ns - task->begun_ns);
    if (now < loop->deadline_ns)
        return submit_lock(loop, (unsigned)(task - loop->task));
    loop->resting++;
    return 0;
}

static int take_events(struct event_loop *loop)
{
    redlock_event_t *event;
    int result = 0;
    while (result == 0 && (event = redlock_next_event(loop->redlock)) != NULL) {
        uint64_t tag = redlock_event_tag(event);
        if (redlock_event_kind(event) == REDLOCK_EVENT_DONE) {
            struct task *task = &loop->task[tag - 1];
            result = redlock_event_operation(event) == REDLOCK_OPERATION_LOCK ? on_locked(task, tag, event)
                                                                              : on_unlocked(loop, task, event);
        }
        redlock_event_free(event);
    }
    return result;
}

static int loop_run(struct contestant *self, double seconds, struct round *out)
{
    struct event_loop *loop = self->state;
    struct pollfd polled = {.fd = redlock_fd(loop->redlock), .events = POLLIN};
    struct samples samples;
    samples_init(&samples);
    uint64_t cpu = process_cpu_ns(), began = now_ns();
    int result = 0;
    loop->samples = &samples;
    loop->deadline_ns = began + (uint64_t)(seconds * 1e9);
    loop->resting = 0;
    for (unsigned i = 0; i < loop->tasks && result == 0; i++)
        result = submit_lock(loop, i);
    while (result == 0 && loop->resting < loop->tasks) {
        poll(&polled, 1, -1);
        redlock_process(loop->redlock);
        result = take_events(loop);
    }
    *out = samples_summarize(&samples, now_ns() - began, process_cpu_ns() - cpu);
    samples_free(&samples);
    return result;
}

struct contestant contestant_loop(const char *name, char letter, unsigned tasks)
{
    return (struct contestant){
        .name = name, .letter = letter, .tasks = tasks, .open = loop_open, .run = loop_run, .close = loop_close};
}
#else
struct contestant contestant_loop(const char *name, char letter, unsigned tasks)
{
    return (struct contestant){.name = name, .letter = letter, .tasks = tasks};
}
#endif
