/* Work that takes longer than the lock lasts: it is extended between steps, and the work stops if the lock is lost.
 *
 *     cc -std=c99 extend.c -o extend $(pkg-config --cflags --libs redlock)
 *     ./extend redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <time.h>

#define TTL_MS 1000
#define STEPS 10
/* A step must be over well before the lock is: this is what it needs at most. */
#define STEP_MS 300

static void step(int number, const redlock_lease_t *lease)
{
    struct timespec pause = { 0, STEP_MS * 1000L * 1000L };

    printf("step %d, %" PRId64 " ms left\n", number, redlock_lease_remaining_ms(lease));
    nanosleep(&pause, NULL);
}

/* Whether there is time for one more step, after an extension if need be. */
static int has_time(const redlock_lease_t *lease)
{
    redlock_error_t *error = NULL;

    if (redlock_lease_remaining_ms(lease) > 2 * STEP_MS)
        return 1;
    if (redlock_extend(lease, TTL_MS, &error) != REDLOCK_OK)
        example_complain("extend", error);
    /* A failed extension takes nothing away: what is left may do. */
    return redlock_lease_remaining_ms(lease) > STEP_MS;
}

int main(int argc, char **argv)
{
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    int done = 0;

    if (redlock_lock(rl, "examples/extend", TTL_MS, 5000, &lease, &error) == REDLOCK_OK) {
        while (done < STEPS && has_time(lease))
            step(++done, lease);
        printf(done == STEPS ? "done\n" : "given up: the lock is not ours for long enough\n");
        if (redlock_unlock(lease, &error) != REDLOCK_OK)
            example_complain("unlock", error);
        redlock_lease_free(lease);
    } else {
        example_complain("lock", error);
    }
    redlock_free(rl);
    return done == STEPS ? 0 : 1;
}
