/* Locks in a libuv loop.
 *
 *     cc -std=c99 loop_uv.c -o loop_uv $(pkg-config --cflags --libs redlock libuv)
 *     ./loop_uv redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "redlock/uv.h"
#include "loop_demo.h"

static void stop(void *loop)
{
    uv_stop(loop);
}

int main(int argc, char **argv)
{
    redlock_uv_t watch;
    uv_loop_t *loop = uv_default_loop();
    demo_t demo = { .rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv)), .stop = stop, .loop = loop };

    if (redlock_uv_start(&watch, loop, demo.rl, demo_on_event, &demo) != 0)
        return 1;
    demo_begin(&demo);
    uv_run(loop, UV_RUN_DEFAULT);

    redlock_uv_stop(&watch, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    redlock_free(demo.rl);
    return demo.failures > 0;
}
