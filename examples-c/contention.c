/* Several processes want the same lock; each says when it has it. They take turns, in no promised order.
 *
 *     cc -std=c99 contention.c -o contention $(pkg-config --cflags --libs redlock)
 *     ./contention redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 5

static void work(void)
{
    struct timespec pause = { 0, 200 * 1000 * 1000 };

    nanosleep(&pause, NULL);
}

static int contend(int number, example_nodes_t nodes)
{
    /* Made after fork(): the handles of a parent are of no use to its children. */
    redlock_t *rl = example_connect(nodes);
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    int result = 1;

    if (redlock_lock(rl, "examples/contention", 2000, 20000, &lease, &error) == REDLOCK_OK) {
        printf("process %d has it\n", number);
        fflush(stdout);
        work();
        printf("process %d is done\n", number);
        fflush(stdout);
        if (redlock_unlock(lease, &error) == REDLOCK_OK)
            result = 0;
        else
            example_complain("unlock", error);
        redlock_lease_free(lease);
    } else {
        example_complain("lock", error);
    }
    redlock_free(rl);
    return result;
}

int main(int argc, char **argv)
{
    example_nodes_t nodes = example_nodes(argc > 0 ? argv + 1 : argv);
    int failures = 0;

    for (int number = 1; number <= PROCESSES; number++) {
        pid_t child = fork();

        if (child == 0)
            return contend(number, nodes);
        if (child < 0) {
            perror("fork");
            failures++;
        }
    }
    for (int status; wait(&status) > 0;)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            failures++;
    return failures > 0;
}
