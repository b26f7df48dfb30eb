#define _GNU_SOURCE
#include "handover.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "library.h"
#include "measure.h"

#ifdef BENCH_WITH_LIBRARY

enum { CLIENTS_MAX = 64, HANDOVER_TTL_MS = 10000, PATIENCE_MS = 20000 };

struct arena {
    uint64_t until_ns;
    /* Written by the holder alone. */
    _Atomic uint64_t released_ns;
    _Atomic unsigned last_holder;
};

struct client {
    struct arena *arena;
    redlock_t *redlock;
    struct samples samples;
    unsigned number;
    int failed;
};

static void *compete(void *argument)
{
    struct client *self = argument;
    struct arena *arena = self->arena;
    while (now_ns() < arena->until_ns && !self->failed) {
        redlock_lease_t *lease = NULL;
        redlock_error_t *error = NULL;
        if (redlock_lock(self->redlock, "bench:handover", HANDOVER_TTL_MS, PATIENCE_MS, &lease, &error) != REDLOCK_OK) {
            self->failed = complain_of("redlock_lock", error) != 0;
            break;
        }
        uint64_t released_ns = atomic_load(&arena->released_ns);
        atomic_store(&arena->last_holder, self->number);
        if (released_ns != 0) {
            uint64_t took_ns = now_ns() - released_ns;
            samples_add(&self->samples, took_ns, took_ns);
        }
        atomic_store(&arena->released_ns, now_ns());
        self->failed = redlock_unlock(lease, &error) != REDLOCK_OK && complain_of("redlock_unlock", error) != 0;
        redlock_lease_free(lease);
        /* Whoever had it lets another have it, so that every release is a hand-over. */
        while (atomic_load(&arena->last_holder) == self->number && now_ns() < arena->until_ns)
            usleep(50);
    }
    return NULL;
}

static redlock_t *connect_client(const struct node_set *nodes, int wake, unsigned retry_ms)
{
    redlock_options_t *options = redlock_options_new();
    redlock_options_set_wake(options, wake);
    redlock_options_set_retry_delay_ms(options, retry_ms);
    redlock_options_set_retry_jitter_ms(options, retry_ms / 2);
    /* Many clients on few cores: a late answer is no fault here. */
    redlock_options_set_node_timeout_ms(options, 1000);
    redlock_t *redlock = handle_on(nodes, options);
    redlock_options_free(options);
    return redlock;
}

static uint64_t attempts_of(const redlock_t *redlock)
{
    redlock_stats_t *stats = NULL;
    if (redlock_stats(redlock, &stats, NULL) != REDLOCK_OK)
        return 0;
    uint64_t attempts = redlock_stats_attempts(stats);
    redlock_stats_free(stats);
    return attempts;
}

int handover_measure(const struct node_set *nodes, unsigned clients, int wake, unsigned retry_ms, double seconds,
                     struct handover *out)
{
    static struct client client[CLIENTS_MAX];
    pthread_t thread[CLIENTS_MAX];
    struct arena arena = {.until_ns = 0};
    struct samples all;
    uint64_t attempts = 0;
    int failed = 0;

    if (clients > CLIENTS_MAX)
        return -1;
    for (unsigned i = 0; i < clients; i++) {
        client[i] = (struct client){.arena = &arena, .number = i + 1};
        samples_init(&client[i].samples);
        if ((client[i].redlock = connect_client(nodes, wake, retry_ms)) == NULL)
            failed = 1;
    }
    uint64_t began_ns = now_ns();
    arena.until_ns = failed ? 0 : began_ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < clients; i++)
        pthread_create(&thread[i], NULL, compete, &client[i]);
    samples_init(&all);
    for (unsigned i = 0; i < clients; i++)
        pthread_join(thread[i], NULL);
    uint64_t wall_ns = now_ns() - began_ns;
    for (unsigned i = 0; i < clients; i++) {
        failed |= client[i].failed;
        samples_append(&all, &client[i].samples);
        samples_free(&client[i].samples);
        attempts += client[i].redlock != NULL ? attempts_of(client[i].redlock) : 0;
        redlock_free(client[i].redlock);
    }
    struct round round = samples_summarize(&all, wall_ns, 0);
    *out = (struct handover){.p50_us = round.p50_us,
                             .p99_us = round.p99_us,
                             .per_s = round.pairs_per_s,
                             .attempts_per_handover = all.count != 0 ? (double)attempts / (double)all.count : 0};
    samples_free(&all);
    return failed ? -1 : 0;
}

#else

int handover_measure(const struct node_set *nodes, unsigned clients, int wake, unsigned retry_ms, double seconds,
                     struct handover *out)
{
    (void)nodes, (void)clients, (void)wake, (void)retry_ms, (void)seconds;
    *out = (struct handover){0};
    return 0;
}

#endif
