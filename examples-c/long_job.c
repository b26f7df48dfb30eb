/* A job of unknown length under a short lock: the lock extends itself, and the job stops as soon as it is lost.
 *
 *     cc -std=c99 -pthread long_job.c -o long_job $(pkg-config --cflags --libs redlock)
 *     ./long_job redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3
 *
 * Try `redis-cli DEL examples/long_job` on all servers meanwhile: it stops at once, with exit code 3. */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <pthread.h>
#include <time.h>

#define TTL_MS 1000
/* Longer than this is a defect of the job: the lock is not kept for ever. */
#define MAX_HOLD_MS 60000
#define STEPS 300

typedef struct {
    const redlock_lease_t *lease;
    pthread_mutex_t mutex;
    int is_lost;
} guard_t;

/* Sleeps until the lease is over, by whatever cause: also when the job gives it back. */
static void *watch(void *argument)
{
    guard_t *guard = argument;
    redlock_status_t status;

    do
        status = redlock_lease_wait_lost(guard->lease, -1);
    while (status == REDLOCK_OK || status == REDLOCK_E_INTERRUPTED);
    pthread_mutex_lock(&guard->mutex);
    guard->is_lost = redlock_lease_state(guard->lease) != REDLOCK_LEASE_RELEASED;
    pthread_mutex_unlock(&guard->mutex);
    return NULL;
}

static int is_lost(guard_t *guard)
{
    int result;

    pthread_mutex_lock(&guard->mutex);
    result = guard->is_lost;
    pthread_mutex_unlock(&guard->mutex);
    return result;
}

static int work(guard_t *guard)
{
    struct timespec step = { 0, 10 * 1000 * 1000 };
    int done = 0;

    for (; done < STEPS && !is_lost(guard); done++)
        nanosleep(&step, NULL);
    return done;
}

int main(int argc, char **argv)
{
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    int done = 0, result = 1;

    redlock_request_set_resource(request, "examples/long_job");
    redlock_request_set_ttl_ms(request, TTL_MS);
    redlock_request_set_wait_ms(request, 5000);
    redlock_request_set_auto_extend(request, 1);
    redlock_request_set_max_hold_ms(request, MAX_HOLD_MS);
    if (redlock_lock_request(rl, request, &lease, &error) == REDLOCK_OK) {
        guard_t guard = { .lease = lease, .mutex = PTHREAD_MUTEX_INITIALIZER };
        pthread_t thread;

        printf("ours for %" PRId64 " ms at a time\n", redlock_lease_remaining_ms(lease));
        fflush(stdout);
        if (pthread_create(&thread, NULL, watch, &guard) == 0) {
            done = work(&guard);
            result = done == STEPS ? 0 : 3;
            if (redlock_unlock(lease, &error) != REDLOCK_OK)
                example_complain("unlock", error);
            pthread_join(thread, NULL);
        }
        printf(result == 0 ? "done: %d steps\n" : "stopped after %d steps: the lock is lost\n", done);
        redlock_lease_free(lease);
    } else {
        example_complain("lock", error);
    }
    redlock_request_free(request);
    redlock_free(rl);
    return result;
}
