// redlock/uv.h - a redlock handle in a libuv loop. Header only; link libuv beside libredlock.
//
//     static void on_event(redlock_event_t *event, void *context) { ... }
//     redlock_uv_t watch;
//     redlock_uv_start(&watch, uv_default_loop(), rl, on_event, NULL);
//     redlock_submit_lock(rl, request, NULL);
//     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
//
// All in the loop's thread, except redlock_submit_* and redlock_cancel(), which any thread may call.

#ifndef REDLOCK_UV_H
#define REDLOCK_UV_H

#include <uv.h>

#include <string.h>

#include "../redlock.h"

/// Gets each event, and must not free it: redlock_event_take_lease() takes out what it wants to keep. It may submit, and
/// call redlock_uv_stop(), but not redlock_free(). A NULL event: the handle can be used no more and is watched no more.
typedef void (*redlock_uv_event_cb)(redlock_event_t *event, void *context);

/// Where the adapter keeps what it needs: the caller's, in place until it has been closed. Its fields are not for use.
typedef struct redlock_uv_t {
    uv_poll_t poll;
    redlock_t *rl;
    redlock_uv_event_cb on_event;
    void *context;
} redlock_uv_t;

static inline void redlock_uv_on_ready(uv_poll_t *poll, int status, int events)
{
    redlock_uv_t *watch;
    redlock_event_t *event;

    (void)status;
    (void)events;
    // Without a cast, which C++ would want in a form that C does not have.
    memcpy(&watch, &poll->data, sizeof watch);
    if (redlock_process(watch->rl) != REDLOCK_OK) {
        uv_poll_stop(poll);
        watch->on_event(NULL, watch->context);
        return;
    }
    while ((event = redlock_next_event(watch->rl)) != NULL) {
        watch->on_event(event, watch->context);
        redlock_event_free(event);
    }
}

/// Begins to watch; on_event is called from the loop from now on. 0, or an error code of libuv.
static inline int redlock_uv_start(redlock_uv_t *watch, uv_loop_t *loop, redlock_t *rl, redlock_uv_event_cb on_event,
                                   void *context)
{
    int fd = redlock_fd(rl);
    int failed = fd < 0 ? UV_EBADF : uv_poll_init(loop, &watch->poll, fd);

    if (failed != 0)
        return failed;
    watch->rl = rl;
    watch->on_event = on_event;
    watch->context = context;
    watch->poll.data = watch;
    return uv_poll_start(&watch->poll, UV_READABLE, redlock_uv_on_ready);
}

/// Stops watching, to be called before redlock_free(). on_closed: called when *watch is libuv's no more; NULL if nobody
/// wants to know.
static inline void redlock_uv_stop(redlock_uv_t *watch, uv_close_cb on_closed)
{
    uv_poll_t *poll = &watch->poll;
    uv_handle_t *handle;

    uv_poll_stop(poll);
    memcpy(&handle, &poll, sizeof handle);
    uv_close(handle, on_closed);
}

#endif // REDLOCK_UV_H
