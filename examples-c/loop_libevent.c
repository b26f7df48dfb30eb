/* Locks in a libevent loop.
 *
 *     cc -std=c99 loop_libevent.c -o loop_libevent $(pkg-config --cflags --libs redlock libevent)
 *     ./loop_libevent redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "redlock/event.h"
#include "loop_demo.h"

static void stop(void *base)
{
    event_base_loopbreak(base);
}

int main(int argc, char **argv)
{
    redlock_libevent_t watch;
    struct event_base *base = event_base_new();
    demo_t demo = { .rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv)), .stop = stop, .loop = base };

    if (redlock_libevent_start(&watch, base, demo.rl, demo_on_event, &demo) != 0)
        return 1;
    demo_begin(&demo);
    event_base_dispatch(base);

    redlock_libevent_stop(&watch);
    redlock_free(demo.rl);
    event_base_free(base);
    return demo.failures > 0;
}
