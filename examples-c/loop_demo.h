/* What the examples of the event loops share: three locks are taken, extended and given back at the same time, in a
 * program that waits nowhere but in its loop. */
#ifndef LOOP_DEMO_H
#define LOOP_DEMO_H

#include "example.h"

#define DEMO_LOCKS 3

typedef struct {
    redlock_t *rl;
    redlock_lease_t *leases[DEMO_LOCKS];
    int running;
    int failures;
    /* Stops the loop. */
    void (*stop)(void *loop);
    void *loop;
} demo_t;

/* The tag of a lock's operations is its number, counted from 1. */
static inline void demo_begin(demo_t *demo)
{
    for (uint64_t tag = 1; tag <= DEMO_LOCKS; tag++) {
        redlock_request_t *request = redlock_request_new();
        redlock_error_t *error = NULL;
        char resource[64];

        snprintf(resource, sizeof resource, "examples/loop/%" PRIu64, tag);
        redlock_request_set_resource(request, resource);
        redlock_request_set_ttl_ms(request, 10000);
        redlock_request_set_wait_ms(request, 15000);
        redlock_request_set_tag(request, tag);
        if (redlock_submit_lock(demo->rl, request, &error) == REDLOCK_OK) {
            demo->running++;
        } else {
            example_complain("submit", error);
            demo->failures++;
        }
        redlock_request_free(request);
    }
}

static inline void demo_on_done(demo_t *demo, redlock_event_t *event)
{
    uint64_t tag = redlock_event_tag(event);
    redlock_lease_t **lease = &demo->leases[tag - 1];
    int32_t work = redlock_event_operation(event);

    if (redlock_event_status(event) != REDLOCK_OK) {
        fprintf(stderr, "lock %" PRIu64 ": %s\n", tag, redlock_error_message(redlock_event_error(event)));
        demo->failures++;
    }
    switch (work) {
    case REDLOCK_OPERATION_LOCK:
        *lease = redlock_event_take_lease(event);
        if (*lease != NULL && redlock_submit_extend(*lease, 20000, tag, NULL) == REDLOCK_OK)
            return;
        break;
    case REDLOCK_OPERATION_EXTEND:
        printf("lock %" PRIu64 ": ours for %" PRId64 " ms\n", tag, redlock_lease_remaining_ms(*lease));
        if (redlock_submit_unlock(*lease, tag, NULL) == REDLOCK_OK)
            return;
        break;
    case REDLOCK_OPERATION_UNLOCK:
        printf("lock %" PRIu64 ": released\n", tag);
        break;
    default:
        return;
    }
    redlock_lease_free(*lease);
    *lease = NULL;
    if (--demo->running == 0)
        demo->stop(demo->loop);
}

/* The callback of the adapters. */
static inline void demo_on_event(redlock_event_t *event, void *context)
{
    demo_t *demo = context;

    if (event == NULL) {
        fprintf(stderr, "the handle can be used no more\n");
        demo->failures++;
        demo->stop(demo->loop);
        return;
    }
    switch (redlock_event_kind(event)) {
    case REDLOCK_EVENT_DONE:
        demo_on_done(demo, event);
        break;
    case REDLOCK_EVENT_LEASE_LOST:
        fprintf(stderr, "lock %" PRIu64 " is lost\n", redlock_event_tag(event));
        demo->failures++;
        break;
    case REDLOCK_EVENT_NODE:
        printf("node %" PRId32 " is %s\n", redlock_event_node(event) + 1,
               redlock_event_node_is_up(event) ? "up" : "down");
        break;
    }
}

#endif
