/* What somebody's first program does, in the common part of C99 and C++11: takes a lock on the servers of REDLOCK_NODES,
 * sees that it excludes a second request, releases it. Prints "works" and the version of the library it runs with. */
#include <redlock.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what, redlock_error_t *err)
{
    printf("FAILED: %s: %s\n", what, redlock_error_message(err));
    redlock_error_free(err);
    return 1;
}

int main(int argc, char **argv)
{
    const char *nodes[15], *list = getenv("REDLOCK_NODES"), *resource = argc > 1 ? argv[1] : "install";
    char urls[1000];
    size_t count = 0;
    char *url;
    redlock_t *rl = NULL;
    redlock_lease_t *lease = NULL, *second = NULL;
    redlock_error_t *err = NULL;

    if (list == NULL || strlen(list) >= sizeof urls || redlock_version_number() != REDLOCK_VERSION_NUMBER) {
        puts("FAILED: no servers, or the header of another version");
        return 1;
    }
    strcpy(urls, list);
    for (url = strtok(urls, ","); url != NULL && count < 15; url = strtok(NULL, ","))
        nodes[count++] = url;

    if (redlock_new(nodes, count, NULL, &rl, &err) != REDLOCK_OK)
        return failed("redlock_new", err);
    if (redlock_lock(rl, resource, 30000, 5000, &lease, &err) != REDLOCK_OK)
        return failed("redlock_lock", err);
    if (redlock_lock(rl, resource, 30000, 0, &second, NULL) != REDLOCK_E_NOT_ACQUIRED) {
        puts("FAILED: the lock does not exclude a second holder");
        return 1;
    }
    if (redlock_lease_remaining_ms(lease) <= 0)
        return failed("redlock_lease_remaining_ms", NULL);
    if (redlock_unlock(lease, &err) != REDLOCK_OK)
        return failed("redlock_unlock", err);
    redlock_lease_free(lease);
    redlock_free(rl);
    printf("works %s\n", redlock_version());
    return 0;
}
