/* What all that measure the library share. Without BENCH_WITH_LIBRARY there is nothing. */
#ifndef BENCH_LIBRARY_H
#define BENCH_LIBRARY_H

#ifdef BENCH_WITH_LIBRARY
#include <redlock.h>

#include "nodes.h"

/* Says on stderr what failed, and why where an error tells, which it frees. -1. */
int complain_of(const char *what, redlock_error_t *error);

/* A handle on these nodes that has connected, or has had the time to. NULL after a message. */
redlock_t *handle_on(const struct node_set *nodes, const redlock_options_t *options);

#endif

#endif
