// redlock/sd_event.h - a redlock handle in an sd-event loop. Header only; link libsystemd beside libredlock.
//
//     static void on_event(redlock_event_t *event, void *context) { ... }
//     redlock_sd_event_t watch;
//     redlock_sd_event_start(&watch, loop, rl, on_event, NULL);
//     redlock_submit_lock(rl, request, NULL);
//     sd_event_loop(loop);
//
// All in the loop's thread, except redlock_submit_* and redlock_cancel(), which any thread may call.

#ifndef REDLOCK_SD_EVENT_H
#define REDLOCK_SD_EVENT_H

#include <errno.h>
#include <sys/epoll.h>

#include <systemd/sd-event.h>

#include <string.h>

#include "../redlock.h"

/// Gets each event, and must not free it: redlock_event_take_lease() takes out what it wants to keep. It may submit, and
/// call redlock_sd_event_stop(), but not redlock_free(). A NULL event: the handle can be used no more and is watched no
/// more.
typedef void (*redlock_sd_event_cb)(redlock_event_t *event, void *context);

/// Where the adapter keeps what it needs: the caller's, in place until it was stopped. Its fields are not for use.
typedef struct redlock_sd_event_t {
    sd_event_source *source;
    redlock_t *rl;
    redlock_sd_event_cb on_event;
    void *context;
} redlock_sd_event_t;

static inline int redlock_sd_event_on_ready(sd_event_source *source, int fd, uint32_t events, void *argument)
{
    redlock_sd_event_t watch;
    redlock_event_t *event;

    (void)fd;
    (void)events;
    // Without a cast, which C++ would want in a form that C does not have.
    memcpy(&watch, argument, sizeof watch);
    if (redlock_process(watch.rl) != REDLOCK_OK) {
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        watch.on_event(NULL, watch.context);
        return 0;
    }
    while ((event = redlock_next_event(watch.rl)) != NULL) {
        watch.on_event(event, watch.context);
        redlock_event_free(event);
    }
    return 0;
}

/// Begins to watch; on_event is called from the loop from now on. 0 or more, or a negative error number.
static inline int redlock_sd_event_start(redlock_sd_event_t *watch, sd_event *loop, redlock_t *rl,
                                         redlock_sd_event_cb on_event, void *context)
{
    int fd = redlock_fd(rl);

    watch->rl = rl;
    watch->on_event = on_event;
    watch->context = context;
    if (fd < 0)
        return -EBADF;
    return sd_event_add_io(loop, &watch->source, fd, EPOLLIN, redlock_sd_event_on_ready, watch);
}

/// Stops watching, to be called before redlock_free().
static inline void redlock_sd_event_stop(redlock_sd_event_t *watch)
{
    sd_event_source_set_enabled(watch->source, SD_EVENT_OFF);
    sd_event_source_unref(watch->source);
}

#endif // REDLOCK_SD_EVENT_H
