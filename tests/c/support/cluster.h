/* Real redis-servers for the C tests: start, stop, kill and ask them.
 *
 *     cluster_t *cluster = cluster_start(5);
 *     redlock_new(cluster_urls(cluster), cluster_size(cluster), NULL, &rl, &err);
 *     cluster_stop(cluster, 0);
 *     ...
 *     cluster_end(cluster);
 *
 * A function that cannot do its work says why on stderr and ends the program with status 99. Servers that a failed
 * test leaves behind end with the program, also when it is killed. Use it from the main thread.
 * REDIS_SERVER names another server binary. */
#ifndef REDLOCK_TEST_CLUSTER_H
#define REDLOCK_TEST_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct cluster cluster_t;

/* Starts `count` servers (at most 15) on free loopback ports, without persistence; they answer when this returns. */
cluster_t *cluster_start(size_t count);

/* The same with further server arguments, which come last and so win. The array ends with NULL. */
cluster_t *cluster_start_with(size_t count, const char *const *arguments);

/* Ends the servers and frees everything. NULL is a no-op. */
void cluster_end(cluster_t *cluster);

size_t cluster_size(const cluster_t *cluster);
/* "redis://127.0.0.1:PORT", with ":password@" where the servers were started with --requirepass; lives as long as the
 * cluster. */
const char *const *cluster_urls(const cluster_t *cluster);
uint16_t cluster_port(const cluster_t *cluster, size_t node);
/* 0 for a killed one. */
pid_t cluster_pid(const cluster_t *cluster, size_t node);

/* SIGSTOP: the kernel still accepts connections, nobody answers. cluster_cont() ends it. */
void cluster_stop(cluster_t *cluster, size_t node);
void cluster_cont(cluster_t *cluster, size_t node);
/* SIGKILL and wait: the port refuses connections when this returns. */
void cluster_kill(cluster_t *cluster, size_t node);
/* A new, empty server on the same port, with the same arguments. */
void cluster_restart(cluster_t *cluster, size_t node);

/* One command, its arguments ended by NULL. Returns the reply as redis-cli would print it: nil is "", an error is its
 * text, an array has one element per line. The caller frees it. */
char *cluster_cli(const cluster_t *cluster, size_t node, const char *command, ...);

/* Whether the node has the key. */
bool cluster_has(const cluster_t *cluster, size_t node, const char *key);
/* How many nodes that run (not stopped, not killed) have the key. */
size_t cluster_holding(const cluster_t *cluster, const char *key);
/* Waits until `count` running nodes have the key; false when that took longer than `timeout_ms`. */
bool cluster_wait_holding(const cluster_t *cluster, const char *key, size_t count, uint64_t timeout_ms);

/* A resource name that no other test uses; a static buffer, good until the next call but 15. */
const char *cluster_resource(const char *name);

/* CLOCK_MONOTONIC. */
uint64_t cluster_now_ms(void);
void cluster_sleep_ms(uint64_t ms);

/* How much slower than usual the program runs: 1, or what REDLOCK_TEST_SLOWNESS says (under valgrind). Upper bounds
 * on time are to be multiplied by it. */
uint64_t cluster_slowness(void);

#endif
