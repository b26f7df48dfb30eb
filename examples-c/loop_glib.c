/* Locks in a GLib main loop.
 *
 *     cc -std=c99 loop_glib.c -o loop_glib $(pkg-config --cflags --libs redlock glib-2.0)
 *     ./loop_glib redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "redlock/glib.h"
#include "loop_demo.h"

static void stop(void *loop)
{
    g_main_loop_quit(loop);
}

int main(int argc, char **argv)
{
    redlock_glib_t watch;
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    demo_t demo = { .rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv)), .stop = stop, .loop = loop };

    if (redlock_glib_start(&watch, NULL, demo.rl, demo_on_event, &demo) != 0)
        return 1;
    demo_begin(&demo);
    g_main_loop_run(loop);

    redlock_glib_stop(&watch);
    redlock_free(demo.rl);
    g_main_loop_unref(loop);
    return demo.failures > 0;
}
