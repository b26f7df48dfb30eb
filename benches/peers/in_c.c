/* The library and the floor in the peers' comparison: `in_c library [threads]` or `in_c floor`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../contestants.h"

int main(int argc, char **argv)
{
    const char *urls = getenv("REDLOCK_NODES"), *seconds = getenv("PEER_SECONDS");
    struct contestant peer = contestant_floor("floor (C)", 'f', 1);
    struct node_set nodes;
    struct round round;

    if (argc >= 2 && strcmp(argv[1], "library") == 0)
        peer = contestant_library("this library (C)", 'L', argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1);
    if (urls == NULL || seconds == NULL || nodes_parse(&nodes, urls, NULL) != 0 || peer.open == NULL ||
        peer.open(&peer, &nodes) != 0 || peer.run(&peer, 0.05, &round) != 0 ||
        peer.run(&peer, strtod(seconds, NULL), &round) != 0)
        return 1;
    printf("%s\t%.1f\t%.1f\t%.1f\n", peer.name, round.pairs_per_s, round.p50_us, round.p99_us);
    peer.close(&peer);
    return 0;
}
