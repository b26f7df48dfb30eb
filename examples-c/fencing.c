/* A holder that is paused for longer than its lock lasts, and what its late write comes to: the resource remembers
 * the largest fencing token it has seen and rejects smaller ones.
 *
 *     cc -std=c99 fencing.c -o fencing $(pkg-config --cflags --libs redlock)
 *     ./fencing redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _DEFAULT_SOURCE
#include "example.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TTL_MS 1000

/* What the lock protects: a store that two processes write to. A real one compares and writes in one step, as in
 * `UPDATE balance SET value = $1, fence = $2 WHERE fence < $2`. */
typedef struct {
    uint64_t largest_fence;
    int value;
} store_t;

static int store_write(store_t *store, int value, uint64_t fence)
{
    if (fence < store->largest_fence)
        return 0;
    store->largest_fence = fence;
    store->value = value;
    return 1;
}

static redlock_lease_t *lock_with_fence(redlock_t *rl, int64_t wait_ms)
{
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;

    redlock_request_set_resource(request, "examples/fencing");
    redlock_request_set_ttl_ms(request, TTL_MS);
    redlock_request_set_wait_ms(request, wait_ms);
    redlock_request_set_fence(request, 1);
    if (redlock_lock_request(rl, request, &lease, &error) != REDLOCK_OK)
        example_complain("lock", error);
    redlock_request_free(request);
    return lease;
}

/* Takes the lock, is stopped between the look at the clock and the write, and writes when it goes on. */
static int slow_holder(example_nodes_t nodes, store_t *store)
{
    redlock_t *rl = example_connect(nodes);
    redlock_lease_t *lease = lock_with_fence(rl, 5000);
    int was_accepted = -1;

    if (lease != NULL) {
        printf("slow holder:  fence %" PRIu64 ", %" PRId64 " ms left, stopped\n", redlock_lease_fence(lease),
               redlock_lease_remaining_ms(lease));
        fflush(stdout);
        raise(SIGSTOP);
        was_accepted = store_write(store, 1, redlock_lease_fence(lease));
        printf("slow holder:  goes on, its write is %s\n", was_accepted ? "ACCEPTED" : "rejected");
        fflush(stdout);
        redlock_lease_free(lease);
    }
    redlock_free(rl);
    return was_accepted == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    example_nodes_t nodes = example_nodes(argc > 0 ? argv + 1 : argv);
    store_t *store = mmap(NULL, sizeof *store, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    redlock_lease_t *lease;
    redlock_t *rl;
    pid_t slow;
    int status = 1;
    int is_right = 0;

    if (store == MAP_FAILED)
        return 1;
    slow = fork();
    if (slow < 0)
        return 1;
    if (slow == 0)
        _exit(slow_holder(nodes, store));
    if (waitpid(slow, &status, WUNTRACED) != slow || !WIFSTOPPED(status))
        return 1;

    rl = example_connect(nodes);
    lease = lock_with_fence(rl, 10000);
    if (lease != NULL) {
        is_right = store_write(store, 2, redlock_lease_fence(lease));
        printf("other holder: fence %" PRIu64 ", its write is %s\n", redlock_lease_fence(lease),
               is_right ? "accepted" : "REJECTED");
        redlock_unlock(lease, NULL);
        redlock_lease_free(lease);
    }
    redlock_free(rl);
    fflush(stdout);

    kill(slow, SIGCONT);
    if (waitpid(slow, &status, 0) != slow || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        is_right = 0;
    printf("the store holds the value of the %s holder\n", store->value == 2 ? "other" : "SLOW");
    return is_right && store->value == 2 ? 0 : 1;
}
