/* Who takes part: each contestant opens its connections once and then runs round after round. */
#ifndef BENCH_CONTESTANTS_H
#define BENCH_CONTESTANTS_H

#include "measure.h"
#include "nodes.h"

enum {
    ROUNDS_MAX = 99,
    TTL_MS = 30000,
    WAIT_MS = 5000,
};

struct contestant {
    const char *name;
    unsigned tasks;
    char letter; /* part of its keys, so that contestants never meet on a key; all keys are equally long */
    int (*open)(struct contestant *self, const struct node_set *nodes);
    int (*run)(struct contestant *self, double seconds, struct round *out);
    void (*close)(struct contestant *self);

    const struct node_set *nodes; /* where it runs, when not on the nodes of the whole scenario */
    void *state;
    long connections; /* at all servers together, as the servers count */
    struct round round[ROUNDS_MAX];
};

/* `tasks` threads, each with its own sockets: what most libraries come to. With one task: the floor. */
struct contestant contestant_floor(const char *name, char letter, unsigned tasks);
/* One thread that multiplexes `tasks` tasks over one socket per node. */
struct contestant contestant_floor_tasks(const char *name, char letter, unsigned tasks);
/* `tasks` threads on one handle of this library. `open` is NULL when the benchmark was built without it. */
struct contestant contestant_library(const char *name, char letter, unsigned tasks);
/* One thread that keeps `tasks` operations in flight on the event loop of this library; likewise. */
struct contestant contestant_loop(const char *name, char letter, unsigned tasks);

/* The key of one task: the same length for every contestant. */
void contestant_key(char key[32], char letter, unsigned task);

#endif
