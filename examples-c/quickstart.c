/* The smallest program: take a lock, work, release it.
 *
 *     cc -std=c99 quickstart.c -o quickstart $(pkg-config --cflags --libs redlock)
 *     ./quickstart redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3 */
#include "example.h"

static void ship_order(int number)
{
    printf("order %d is shipped by nobody else\n", number);
}

int main(int argc, char **argv)
{
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    int result = 1;

    if (redlock_lock(rl, "orders/42", 10000 /* ttl_ms */, 5000 /* wait_ms */, &lease, &error) == REDLOCK_OK) {
        printf("ours for %" PRId64 " ms, on %zu of %zu nodes\n", redlock_lease_remaining_ms(lease),
               redlock_lease_node_count_held(lease), redlock_node_count(rl));
        ship_order(42);
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
