/* How soon a holder learns that its keys were deleted. */
#ifndef BENCH_LOSS_H
#define BENCH_LOSS_H

#include "nodes.h"

enum face { FACE_BLOCKING, FACE_LOOP };

struct loss {
    double p50_us, p99_us;
};

/*
 * `rounds` times: one handle holds a lock and waits for its loss; another connection sends DEL to a quorum of the nodes.
 * Taken is the time from just before the first DEL to the return of redlock_lease_wait_lost (FACE_BLOCKING) or until
 * REDLOCK_EVENT_LEASE_LOST is in hand (FACE_LOOP). 0, or -1 after a message on stderr.
 */
int loss_measure(const struct node_set *nodes, enum face face, unsigned rounds, struct loss *out);

#endif
