/* How long a contended lock lies free between its holders. */
#ifndef BENCH_HANDOVER_H
#define BENCH_HANDOVER_H

#include "nodes.h"

struct handover {
    double p50_us, p99_us, per_s, attempts_per_handover;
};

/*
 * `clients` handles, each with connections of its own as processes would have, want the same lock again and again and
 * hold it for no time. Between two different holders the time from the call of unlock to the return of lock is taken.
 * `wake` 0: clients that poll, every `retry_ms`. 0, or -1 after a message on stderr.
 */
int handover_measure(const struct node_set *nodes, unsigned clients, int wake, unsigned retry_ms, double seconds,
                     struct handover *out);

#endif
