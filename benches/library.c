/* The library as a contestant: only what any program would write. Without BENCH_WITH_LIBRARY it stays away. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "library.h"

#include "contestants.h"

#ifdef BENCH_WITH_LIBRARY

struct seat {
    redlock_lease_t *lease;
    char key[32];
};

struct library {
    redlock_t *redlock;
    struct seat seat[];
};

int complain_of(const char *what, redlock_error_t *error)
{
    fprintf(stderr, "bench: %s: %s\n", what, error != NULL ? redlock_error_message(error) : "failed");
    redlock_error_free(error);
    return -1;
}

redlock_t *handle_on(const struct node_set *nodes, const redlock_options_t *options)
{
    const char *urls[NODES_MAX];
    redlock_error_t *error = NULL;
    redlock_t *redlock = NULL;
    for (size_t i = 0; i < nodes->count; i++)
        urls[i] = nodes->node[i].url;
    if (redlock_new(urls, nodes->count, options, &redlock, &error) != REDLOCK_OK)
        complain_of("redlock_new", error);
    else
        redlock_wait_ready(redlock, 2000, NULL);
    return redlock;
}

static int library_open(struct contestant *self, const struct node_set *nodes)
{
    struct library *library = calloc(1, sizeof *library + self->tasks * sizeof library->seat[0]);
    if (library == NULL)
        return -1;
    for (unsigned i = 0; i < self->tasks; i++)
        contestant_key(library->seat[i].key, self->letter, i);
    if ((library->redlock = handle_on(nodes, NULL)) == NULL) {
        free(library);
        return -1;
    }
    self->state = library;
    return 0;
}

static int library_lock(void *state, unsigned worker)
{
    struct library *library = state;
    struct seat *seat = &library->seat[worker];
    redlock_error_t *error = NULL;
    if (redlock_lock(library->redlock, seat->key, TTL_MS, WAIT_MS, &seat->lease, &error) != REDLOCK_OK)
        return complain_of("redlock_lock", error);
    return 0;
}

static int library_unlock(void *state, unsigned worker)
{
    struct seat *seat = &((struct library *)state)->seat[worker];
    redlock_error_t *error = NULL;
    int status = redlock_unlock(seat->lease, &error);
    redlock_lease_free(seat->lease);
    seat->lease = NULL;
    return status == REDLOCK_OK ? 0 : complain_of("redlock_unlock", error);
}

static int library_run(struct contestant *self, double seconds, struct round *out)
{
    return run_workers(self->state, self->tasks, library_lock, library_unlock, seconds, out);
}

static void library_close(struct contestant *self)
{
    struct library *library = self->state;
    if (library == NULL)
        return;
    for (unsigned i = 0; i < self->tasks; i++)
        redlock_lease_free(library->seat[i].lease);
    redlock_free(library->redlock);
    free(library);
    self->state = NULL;
}

struct contestant contestant_library(const char *name, char letter, unsigned tasks)
{
    return (struct contestant){
        .name = name, .letter = letter, .tasks = tasks, .open = library_open, .run = library_run, .close = library_close};
}
#else
struct contestant contestant_library(const char *name, char letter, unsigned tasks)
{
    return (struct contestant){.name = name, .letter = letter, .tasks = tasks};
}
#endif
