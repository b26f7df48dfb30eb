/* Waits for a lock as long as it takes, until Ctrl-C: a signal handler that runs ends the wait, and no key is left.
 *
 *     cc -std=c99 interruptible_wait.c -o interruptible_wait $(pkg-config --cflags --libs redlock)
 *     ./interruptible_wait redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <signal.h>

static volatile sig_atomic_t is_interrupted;

/* No function of the library may be called in here, and none needs to be. */
static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_signal };
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    redlock_status_t status;
    int result = 1;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    printf("waiting\n");
    fflush(stdout);
    do
        status = redlock_lock(rl, "examples/interruptible_wait", 10000, -1, &lease, NULL);
    while (status == REDLOCK_E_INTERRUPTED && !is_interrupted);
    if (status == REDLOCK_OK) {
        printf("ours\n");
        result = 0;
        if (redlock_unlock(lease, &error) != REDLOCK_OK)
            example_complain("unlock", error);
        redlock_lease_free(lease);
    } else if (is_interrupted) {
        printf("given up\n");
        result = 130;
    } else {
        fprintf(stderr, "lock: %s\n", redlock_status_text(status));
    }
    redlock_free(rl);
    return result;
}
