// redlock/glib.h - a redlock handle in a GLib main loop, of GTK for instance. Header only; link glib-2.0 beside
// libredlock.
//
//     static void on_event(redlock_event_t *event, void *context) { ... }
//     redlock_glib_t watch;
//     redlock_glib_start(&watch, NULL, rl, on_event, NULL);
//     redlock_submit_lock(rl, request, NULL);
//     g_main_loop_run(loop);
//
// All in the loop's thread, except redlock_submit_* and redlock_cancel(), which any thread may call.

#ifndef REDLOCK_GLIB_H
#define REDLOCK_GLIB_H

#include <glib-unix.h>

#include <string.h>

#include "../redlock.h"

/// Gets each event, and must not free it: redlock_event_take_lease() takes out what it wants to keep. It may submit, and
/// call redlock_glib_stop(), but not redlock_free(). A NULL event: the handle can be used no more and is watched no
/// more.
typedef void (*redlock_glib_event_cb)(redlock_event_t *event, void *context);

/// Where the adapter keeps what it needs: the caller's, in place until it was stopped. Its fields are not for use.
typedef struct redlock_glib_t {
    GSource *source;
    redlock_t *rl;
    redlock_glib_event_cb on_event;
    void *context;
} redlock_glib_t;

static inline gboolean redlock_glib_on_ready(gint fd, GIOCondition condition, gpointer argument)
{
    redlock_glib_t watch;
    redlock_event_t *event;

    (void)fd;
    (void)condition;
    // Without a cast, which C++ would want in a form that C does not have.
    memcpy(&watch, argument, sizeof watch);
    if (redlock_process(watch.rl) != REDLOCK_OK) {
        watch.on_event(NULL, watch.context);
        return G_SOURCE_REMOVE;
    }
    while ((event = redlock_next_event(watch.rl)) != NULL) {
        watch.on_event(event, watch.context);
        redlock_event_free(event);
    }
    return G_SOURCE_CONTINUE;
}

/// Begins to watch; on_event is called from the loop from now on. context_of_loop: NULL for the default one. 0, or -1
/// where redlock_fd() has no descriptor.
static inline int redlock_glib_start(redlock_glib_t *watch, GMainContext *context_of_loop, redlock_t *rl,
                                     redlock_glib_event_cb on_event, void *context)
{
    int fd = redlock_fd(rl);

    if (fd < 0)
        return -1;
    watch->rl = rl;
    watch->on_event = on_event;
    watch->context = context;
    watch->source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(watch->source, G_SOURCE_FUNC(redlock_glib_on_ready), watch, NULL);
    g_source_attach(watch->source, context_of_loop);
    return 0;
}

/// Stops watching, to be called before redlock_free().
static inline void redlock_glib_stop(redlock_glib_t *watch)
{
    g_source_destroy(watch->source);
    g_source_unref(watch->source);
}

#endif // REDLOCK_GLIB_H
