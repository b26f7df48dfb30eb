/* The smallest program of the README on the nodes named as arguments, and then what it weighs: VmRSS in kB. */
#include <redlock.h>
#include <stdio.h>
#include <string.h>

static long status_kb(const char *field)
{
    char line[256];
    long kb = -1;
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL)
        return -1;
    while (kb < 0 && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0)
            sscanf(line + strlen(field), ": %ld", &kb);
    }
    fclose(status);
    return kb;
}

int main(int argc, char **argv)
{
    redlock_t *redlock = NULL;
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    if (redlock_new((const char *const *)(argv + 1), (size_t)argc - 1, NULL, &redlock, &error) != REDLOCK_OK ||
        redlock_lock(redlock, "bench/quickstart", 10000, 5000, &lease, &error) != REDLOCK_OK ||
        redlock_unlock(lease, &error) != REDLOCK_OK) {
        fprintf(stderr, "rss_quickstart: %s\n", redlock_error_message(error));
        return 1;
    }
    printf("%ld %ld\n", status_kb("VmRSS"), status_kb("RssAnon"));
    redlock_lease_free(lease);
    redlock_free(redlock);
    return 0;
}
