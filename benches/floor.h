/* The floors: what a lock over N Redis masters costs when written by hand for one purpose only.
 *
 * They have no options, no deadlines, no reconnecting, no validity: whatever a library adds must be measured
 * against this. Each keeps to the protocol where it counts: SET key token NX PX ttl to all nodes at once, a fresh token each time,
 * success at a quorum of OK; EVAL compare-and-delete to all nodes, success at a quorum of deletions; late replies are
 * counted, never confused with those of the next command. */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "measure.h"
#include "nodes.h"

/* One task over its own N sockets. Not to be shared between threads. */
typedef struct floor floor_t;

/* Commands are encoded here, once, for this key. NULL with a message on stderr. */
floor_t *floor_open(const struct node_set *nodes, const char *key, uint64_t ttl_ms);
/* 0, or -1 with a message on stderr. A node that closes or does not drain its socket is left out from then on. */
int floor_lock(floor_t *floor);
int floor_unlock(floor_t *floor);
/* Waits for the late replies, so that the next round starts clean. */
int floor_drain(floor_t *floor);
void floor_close(floor_t *floor);

/* Many tasks, one thread, N sockets: all that becomes sendable in one turn leaves as one segment per node.
 * The ideal that many threads on one shared connection per node can come near to. */
typedef struct floor_tasks floor_tasks_t;

/* Task i locks the key `<prefix><i as four digits>`. */
floor_tasks_t *floor_tasks_open(const struct node_set *nodes, unsigned tasks, const char *prefix, uint64_t ttl_ms);
/* All tasks lock and unlock for `seconds`. 0, or -1 with a message on stderr. */
int floor_tasks_run(floor_tasks_t *tasks, double seconds, struct round *out);
void floor_tasks_close(floor_tasks_t *tasks);

#endif
