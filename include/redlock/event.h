// redlock/event.h - a redlock handle in a libevent loop. Header only; link libevent_core beside libredlock.
//
//     static void on_event(redlock_event_t *event, void *context) { ... }
//     redlock_libevent_t watch;
//     redlock_libevent_start(&watch, base, rl, on_event, NULL);
//     redlock_submit_lock(rl, request, NULL);
//     event_base_dispatch(base);
//
// All in the loop's thread, except redlock_submit_* and redlock_cancel(), which any thread may call.

#ifndef REDLOCK_LIBEVENT_H
#define REDLOCK_LIBEVENT_H

#include <event2/event.h>

#include <string.h>

#include "../redlock.h"

/// Gets each event, and must not free it: redlock_event_take_lease() takes out what it wants to keep. It may submit, and
/// call redlock_libevent_stop(), but not redlock_free(). A NULL event: the handle can be used no more and is watched no
/// more.
typedef void (*redlock_libevent_event_cb)(redlock_event_t *event, void *context);

/// Where the adapter keeps what it needs: the caller's, in place until it was stopped. Its fields are not for use.
typedef struct redlock_libevent_t {
    struct event *ready;
    redlock_t *rl;
    redlock_libevent_event_cb on_event;
    void *context;
} redlock_libevent_t;

static inline void redlock_libevent_on_ready(evutil_socket_t fd, short events, void *argument)
{
    redlock_libevent_t watch;
    redlock_event_t *event;

    (void)fd;
    (void)events;
    // Without a cast, which C++ would want in a form that C does not have.
    memcpy(&watch, argument, sizeof watch);
    if (redlock_process(watch.rl) != REDLOCK_OK) {
        event_del(watch.ready);
        watch.on_event(NULL, watch.context);
        return;
    }
    while ((event = redlock_next_event(watch.rl)) != NULL) {
        watch.on_event(event, watch.context);
        redlock_event_free(event);
    }
}

/// Begins to watch; on_event is called from the loop from now on. 0, or -1.
static inline int redlock_libevent_start(redlock_libevent_t *watch, struct event_base *base, redlock_t *rl,
                                         redlock_libevent_event_cb on_event, void *context)
{
    int fd = redlock_fd(rl);

    watch->rl = rl;
    watch->on_event = on_event;
    watch->context = context;
    watch->ready = fd < 0 ? NULL : event_new(base, fd, EV_READ | EV_PERSIST, redlock_libevent_on_ready, watch);
    return watch->ready == NULL ? -1 : event_add(watch->ready, NULL);
}

/// Stops watching, to be called before redlock_free().
static inline void redlock_libevent_stop(redlock_libevent_t *watch)
{
    event_free(watch->ready);
}

#endif // REDLOCK_LIBEVENT_H
