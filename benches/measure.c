#define _GNU_SOURCE
#include "measure.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t process_cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
                  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return us * 1000;
}

static void *must(void *memory)
{
    if (memory == NULL) {
        perror("bench");
        exit(2);
    }
    return memory;
}

static void samples_reserve(struct samples *samples, size_t capacity)
{
    if (capacity <= samples->capacity)
        return;
    samples->pair_ns = must(realloc(samples->pair_ns, capacity * sizeof *samples->pair_ns));
    samples->lock_ns = must(realloc(samples->lock_ns, capacity * sizeof *samples->lock_ns));
    samples->capacity = capacity;
}

void samples_init(struct samples *samples)
{
    memset(samples, 0, sizeof *samples);
    samples_reserve(samples, 4096);
}

static uint32_t saturated(uint64_t ns)
{
    return ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

void samples_add(struct samples *samples, uint64_t pair_ns, uint64_t lock_ns)
{
    if (samples->count == samples->capacity)
        samples_reserve(samples, samples->capacity * 2);
    samples->pair_ns[samples->count] = saturated(pair_ns);
    samples->lock_ns[samples->count] = saturated(lock_ns);
    samples->count++;
}

void samples_append(struct samples *samples, const struct samples *more)
{
    samples_reserve(samples, samples->count + more->count);
    memcpy(samples->pair_ns + samples->count, more->pair_ns, more->count * sizeof *more->pair_ns);
    memcpy(samples->lock_ns + samples->count, more->lock_ns, more->count * sizeof *more->lock_ns);
    samples->count += more->count;
}

void samples_free(struct samples *samples)
{
    free(samples->pair_ns);
    free(samples->lock_ns);
    memset(samples, 0, sizeof *samples);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct round samples_summarize(struct samples *samples, uint64_t wall_ns, uint64_t cpu_ns)
{
    struct round round = {0};
    size_t n = samples->count;
    if (n == 0 || wall_ns == 0)
        return round;
    qsort(samples->pair_ns, n, sizeof *samples->pair_ns, compare_u32);
    qsort(samples->lock_ns, n, sizeof *samples->lock_ns, compare_u32);
    round.pairs_per_s = (double)n * 1e9 / (double)wall_ns;
    round.p50_us = samples->pair_ns[n / 2] / 1e3;
    round.p99_us = samples->pair_ns[n - 1 - (n - 1) / 100] / 1e3;
    round.lock_p50_us = samples->lock_ns[n / 2] / 1e3;
    round.cpu_us_per_pair = (double)cpu_ns / 1e3 / (double)n;
    return round;
}

double quantile(const double *values, size_t count, double part)
{
    if (count == 0)
        return 0;
    double *sorted = must(malloc(count * sizeof *sorted));
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_double);
    double position = part * (double)(count - 1);
    size_t below = (size_t)position;
    double value = sorted[below];
    if (below + 1 < count)
        value += (position - (double)below) * (sorted[below + 1] - value);
    free(sorted);
    return value;
}

double median(const double *values, size_t count)
{
    return quantile(values, count, 0.5);
}

struct crew {
    void *state;
    step_fn *lock, *unlock;
    uint64_t seconds_ns;
    pthread_barrier_t start, finish;
};

struct worker {
    struct crew *crew;
    unsigned number;
    int result;
    struct samples samples;
};

static void work(struct worker *worker)
{
    const struct crew *crew = worker->crew;
    uint64_t t0 = now_ns(), deadline = t0 + crew->seconds_ns;
    while (t0 < deadline) {
        if (crew->lock(crew->state, worker->number) != 0)
            break;
        uint64_t locked = now_ns();
        if (crew->unlock(crew->state, worker->number) != 0)
            break;
        uint64_t t1 = now_ns();
        samples_add(&worker->samples, t1 - t0, locked - t0);
        t0 = t1;
    }
    worker->result = t0 < deadline ? -1 : 0;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    pthread_barrier_wait(&worker->crew->start);
    work(worker);
    pthread_barrier_wait(&worker->crew->finish);
    return NULL;
}

int run_workers(void *state, unsigned workers, step_fn *lock, step_fn *unlock, double seconds, struct round *out)
{
    struct crew crew = {.state = state, .lock = lock, .unlock = unlock, .seconds_ns = (uint64_t)(seconds * 1e9)};
    struct worker *worker = must(calloc(workers, sizeof *worker));
    pthread_t *thread = must(calloc(workers, sizeof *thread));
    for (unsigned i = 0; i < workers; i++) {
        worker[i].crew = &crew;
        worker[i].number = i;
        samples_init(&worker[i].samples);
    }

    uint64_t wall, cpu;
    if (workers == 1) {
        wall = now_ns(), cpu = process_cpu_ns();
        work(&worker[0]);
        wall = now_ns() - wall, cpu = process_cpu_ns() - cpu;
    } else {
        pthread_barrier_init(&crew.start, NULL, workers + 1);
        pthread_barrier_init(&crew.finish, NULL, workers + 1);
        for (unsigned i = 0; i < workers; i++) {
            if (pthread_create(&thread[i], NULL, worker_main, &worker[i]) != 0)
                must(NULL);
        }
        wall = now_ns(), cpu = process_cpu_ns();
        pthread_barrier_wait(&crew.start);
        pthread_barrier_wait(&crew.finish);
        wall = now_ns() - wall, cpu = process_cpu_ns() - cpu;
        for (unsigned i = 0; i < workers; i++)
            pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&crew.start);
        pthread_barrier_destroy(&crew.finish);
    }

    int result = 0;
    struct samples all;
    samples_init(&all);
    for (unsigned i = 0; i < workers; i++) {
        samples_append(&all, &worker[i].samples);
        samples_free(&worker[i].samples);
        result |= worker[i].result;
    }
    *out = samples_summarize(&all, wall, cpu);
    samples_free(&all);
    free(worker);
    free(thread);
    return result;
}
