/* This library, over its C ABI, as a program that `run` talks to. Arguments: the URLs of the nodes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "redlock.h"

static redlock_t *rl;
static redlock_lease_t *taken;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_1_ms(void)
{
    struct timespec ms = { 0, 1000000 };

    nanosleep(&ms, NULL);
}

/* One attempt. Anything but "held by somebody else" is a mistake of the test or of the library. */
static int lock(const char *resource, uint64_t ttl_ms)
{
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    redlock_status_t status = redlock_lock(rl, resource, ttl_ms, 0, &lease, &error);

    if (status == REDLOCK_OK) {
        redlock_lease_free(taken);
        taken = lease;
        return 1;
    }
    if (status != REDLOCK_E_NOT_ACQUIRED) {
        fprintf(stderr, "holder: %s\n", redlock_error_message(error));
        exit(1);
    }
    redlock_error_free(error);
    return 0;
}

static void contend(const char *resource, uint64_t duration_ms, const char *directory)
{
    char inside[512];
    unsigned long locks = 0, violations = 0;
    uint64_t end = now_ms() + duration_ms;

    snprintf(inside, sizeof inside, "%s/inside", directory);
    while (now_ms() < end) {
        int file;

        if (!lock(resource, 5000)) {
            sleep_1_ms();
            continue;
        }
        locks++;
        file = open(inside, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (file < 0) {
            violations++;
        } else {
            close(file);
            sleep_1_ms();
            if (unlink(inside) != 0)
                violations++;
        }
        redlock_unlock(taken, NULL);
        sleep_1_ms();
    }
    printf("done %lu %lu\n", locks, violations);
}

int main(int argc, char **argv)
{
    redlock_options_t *options = redlock_options_new();
    redlock_error_t *error = NULL;
    char line[1024], resource[256], directory[256];
    unsigned long long ms;

    /* The default of 100 ms is little for five servers and three clients on a machine with two cores. */
    redlock_options_set_node_timeout_ms(options, 1000);
    if (redlock_new((const char *const *)(argv + 1), (size_t)argc - 1, options, &rl, &error) != REDLOCK_OK) {
        fprintf(stderr, "holder: %s\n", redlock_error_message(error));
        return 1;
    }
    redlock_options_free(options);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "lock %255s %llu", resource, &ms) == 2) {
            puts(lock(resource, ms) ? "held" : "busy");
        } else if (strcmp(line, "unlock\n") == 0) {
            if (taken != NULL)
                redlock_unlock(taken, NULL);
            puts("released");
        } else if (sscanf(line, "contend %255s %llu %255s", resource, &ms, directory) == 3) {
            contend(resource, ms, directory);
        } else {
            puts("unknown command");
        }
    }
    redlock_lease_free(taken);
    redlock_free(rl);
    return 0;
}
