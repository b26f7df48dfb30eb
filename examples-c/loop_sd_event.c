/* Locks in an sd-event loop.
 *
 *     cc -std=c99 loop_sd_event.c -o loop_sd_event $(pkg-config --cflags --libs redlock libsystemd)
 *     ./loop_sd_event redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "redlock/sd_event.h"
#include "loop_demo.h"

static void stop(void *loop)
{
    sd_event_exit(loop, 0);
}

int main(int argc, char **argv)
{
    redlock_sd_event_t watch;
    sd_event *loop = NULL;
    demo_t demo = { .rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv)), .stop = stop };

    if (sd_event_new(&loop) < 0 || redlock_sd_event_start(&watch, loop, demo.rl, demo_on_event, &demo) < 0)
        return 1;
    demo.loop = loop;
    demo_begin(&demo);
    sd_event_loop(loop);

    redlock_sd_event_stop(&watch);
    redlock_free(demo.rl);
    sd_event_unref(loop);
    return demo.failures > 0;
}
