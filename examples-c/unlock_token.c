/* One process takes a lock, another releases it: all it needs is the resource and the token.
 *
 *     cc -std=c99 unlock_token.c -o unlock_token $(pkg-config --cflags --libs redlock)
 *     token=$(./unlock_token lock)
 *     ./unlock_token unlock "$token"
 *
 * URLs of the nodes may follow. */
#include "example.h"

#define RESOURCE "examples/unlock_token"

static int lock(redlock_t *rl)
{
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;

    if (redlock_lock(rl, RESOURCE, 60000, 0, &lease, &error) != REDLOCK_OK) {
        example_complain("lock", error);
        return 1;
    }
    printf("%s\n", redlock_lease_token(lease, NULL));
    /* Tells no server: the lock stays until it is released by its token, or its time is over. */
    redlock_lease_free(lease);
    return 0;
}

static int unlock(redlock_t *rl, const char *token)
{
    redlock_error_t *error = NULL;

    if (redlock_unlock_token(rl, RESOURCE, token, &error) != REDLOCK_OK) {
        example_complain("unlock", error);
        return 1;
    }
    printf("released\n");
    return 0;
}

int main(int argc, char **argv)
{
    int is_lock = argc >= 2 && strcmp(argv[1], "lock") == 0;
    int is_unlock = argc >= 3 && strcmp(argv[1], "unlock") == 0;
    redlock_t *rl;
    int result;

    if (!is_lock && !is_unlock) {
        fprintf(stderr, "usage: unlock_token lock [URL...]\n       unlock_token unlock TOKEN [URL...]\n");
        return 2;
    }
    rl = example_connect(example_nodes(argv + (is_lock ? 2 : 3)));
    result = is_lock ? lock(rl) : unlock(rl, argv[2]);
    redlock_free(rl);
    return result;
}
