/* What most C tests begin with: cmocka, five servers, a handle.
 *
 * As a group's set-up and tear-down it is shared by tests that leave the servers as they were; tests that kill or stop
 * some use it each for themselves. */
#ifndef REDLOCK_TEST_FIXTURE_H
#define REDLOCK_TEST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redlock.h"
#include "support/cluster.h"

#define FIXTURE_NODES 5

struct fixture {
    cluster_t *cluster;
    redlock_t *rl;
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* Options with timeouts that a healthy node keeps however slow the program runs (cluster_slowness()). */
redlock_options_t *fixture_options(void);

/* Another handle for the same nodes, all connected; it consumes the options, NULL stands for fixture_options(). */
redlock_t *fixture_handle(const cluster_t *cluster, redlock_options_t *options);

/* A lock that must be had. */
redlock_lease_t *fixture_take(const redlock_t *rl, const char *resource, uint64_t ttl_ms);

/* Unlocks, which must succeed, and frees. */
void fixture_release(redlock_lease_t *lease);

/* How many entries a directory such as /proc/self/fd has. */
size_t fixture_entries(const char *directory);

/* How many connections whose name is `name` a node lists. */
size_t fixture_connections(const cluster_t *cluster, size_t node, const char *name);

/* The exit code of a child; one that a signal ended is 1000 and the number of the signal. */
int fixture_exit_code(pid_t child);

#endif
