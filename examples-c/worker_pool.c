/* Threads that share one handle. Each has resources of its own, and all of them share one.
 *
 *     cc -std=c99 -pthread worker_pool.c -o worker_pool $(pkg-config --cflags --libs redlock)
 *     ./worker_pool redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <pthread.h>

#define WORKERS 8
#define JOBS 20

/* Written only by who holds the lock on "examples/report". */
static int report;

typedef struct {
    redlock_t *rl;
    int number;
    int failures;
} worker_t;

/* Does the work while the lock on the resource is held; counts a failure if it cannot be had. */
static void locked(worker_t *worker, const char *resource, void (*work)(void))
{
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;

    if (redlock_lock(worker->rl, resource, 5000, 30000, &lease, &error) != REDLOCK_OK) {
        example_complain(resource, error);
        worker->failures++;
        return;
    }
    work();
    if (redlock_unlock(lease, &error) != REDLOCK_OK) {
        example_complain(resource, error);
        worker->failures++;
    }
    redlock_lease_free(lease);
}

static void do_job(void)
{
}

static void add_to_report(void)
{
    report++;
}

static void *run(void *argument)
{
    worker_t *worker = argument;

    for (int job = 0; job < JOBS; job++) {
        char resource[64];

        snprintf(resource, sizeof resource, "examples/jobs/%d/%d", worker->number, job);
        locked(worker, resource, do_job);
        locked(worker, "examples/report", add_to_report);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    pthread_t threads[WORKERS];
    worker_t workers[WORKERS];
    int started = 0;
    int failures = 0;

    for (; started < WORKERS; started++) {
        worker_t worker = { rl, started, 0 };

        workers[started] = worker;
        if (pthread_create(&threads[started], NULL, run, &workers[started]) != 0) {
            fprintf(stderr, "no more threads\n");
            break;
        }
    }
    for (int number = 0; number < started; number++) {
        pthread_join(threads[number], NULL);
        failures += workers[number].failures;
    }
    printf("%d jobs by %d workers, %d in the report, %d failures\n", started * JOBS, started, report, failures);
    redlock_free(rl);
    return failures > 0 || started < WORKERS || report != WORKERS * JOBS;
}
