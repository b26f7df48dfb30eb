/* What all examples share: where the nodes come from, and errors told in full.
 *
 * Nodes: URLs on the command line, else REDLOCK_NODES (separated by commas), else three local ports. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redlock.h"

#define EXAMPLE_NODES_MAX 15

typedef struct {
    const char *urls[EXAMPLE_NODES_MAX];
    size_t count;
} example_nodes_t;

static inline void example_add_node(example_nodes_t *nodes, const char *url)
{
    if (nodes->count == EXAMPLE_NODES_MAX) {
        fprintf(stderr, "more than %d nodes\n", EXAMPLE_NODES_MAX);
        exit(2);
    }
    nodes->urls[nodes->count++] = url;
}

/* The first of the given arguments is arguments[0]; the list ends with NULL, as argv does. */
static inline example_nodes_t example_nodes(char **arguments)
{
    static char from_environment[4096];
    example_nodes_t nodes = { { NULL }, 0 };
    const char *list = getenv("REDLOCK_NODES");

    for (; *arguments != NULL; arguments++)
        example_add_node(&nodes, *arguments);
    if (nodes.count > 0)
        return nodes;
    if (list == NULL)
        list = "redis://127.0.0.1:7001,redis://127.0.0.1:7002,redis://127.0.0.1:7003";
    if (strlen(list) >= sizeof from_environment) {
        fprintf(stderr, "REDLOCK_NODES is too long\n");
        exit(2);
    }
    strcpy(from_environment, list);
    for (char *url = strtok(from_environment, ","); url != NULL; url = strtok(NULL, ","))
        example_add_node(&nodes, url);
    return nodes;
}

/* Prints an error with what each node contributed, and frees it. */
static inline void example_complain(const char *what, redlock_error_t *error)
{
    fprintf(stderr, "%s: %s\n", what, redlock_error_message(error));
    for (size_t node = 0; node < redlock_error_node_count(error); node++) {
        uint64_t elapsed_ms = redlock_error_node_elapsed_ms(error, node);

        fprintf(stderr, "  %s: %s", redlock_error_node_url(error, node), redlock_error_node_text(error, node));
        /* The words for a timeout say how long it was. */
        if (elapsed_ms > 0 && redlock_error_node_outcome(error, node) != REDLOCK_NODE_TIMEOUT)
            fprintf(stderr, ", after %" PRIu64 " ms", elapsed_ms);
        fputc('\n', stderr);
    }
    redlock_error_free(error);
}

/* A handle for these nodes with the default options; ends the program if it cannot be made. */
static inline redlock_t *example_connect(example_nodes_t nodes)
{
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;

    if (redlock_new(nodes.urls, nodes.count, NULL, &rl, &error) != REDLOCK_OK) {
        example_complain("no handle", error);
        exit(1);
    }
    return rl;
}

#endif
