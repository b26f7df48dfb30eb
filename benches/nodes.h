/* The Redis servers that a benchmark run talks to, as they come in REDLOCK_NODES and REDLOCK_TEST_PIDS. */
#ifndef BENCH_NODES_H
#define BENCH_NODES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { NODES_MAX = 15 };

struct node {
    char host[64];
    uint16_t port;
    char url[96];
    pid_t pid; /* 0 where unknown: faults cannot be injected then */
};

struct node_set {
    size_t count;
    struct node node[NODES_MAX];
};

/* `urls` is a list of redis://host:port separated by commas or blanks, `pids` the matching process ids or NULL.
 * Literal IPv4 addresses and "localhost" only. 0, or -1 with a message on stderr. */
int nodes_parse(struct node_set *set, const char *urls, const char *pids);
void nodes_set_port(struct node *node, uint16_t port);

/* A connected non-blocking TCP_NODELAY socket, or -1 with a message on stderr. */
int node_connect(const struct node *node);
/* How many clients CLIENT LIST shows at this server, the asking connection not counted; -1 on error. */
long node_client_count(const struct node *node);

#endif
