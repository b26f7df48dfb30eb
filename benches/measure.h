/* Clocks, samples and the loop that every contestant runs in. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Latencies of one round: whole pairs (lock and unlock), and the lock alone. */
struct samples {
    uint32_t *pair_ns, *lock_ns;
    size_t count, capacity;
};

void samples_init(struct samples *samples);
void samples_add(struct samples *samples, uint64_t pair_ns, uint64_t lock_ns);
void samples_append(struct samples *samples, const struct samples *more);
void samples_free(struct samples *samples);

/* What one round of one contestant came to. */
struct round {
    double pairs_per_s, p50_us, p99_us, lock_p50_us, cpu_us_per_pair;
};

uint64_t now_ns(void);
/* User and system time of the whole process. */
uint64_t process_cpu_ns(void);

/* Sorts the samples. `wall_ns` and `cpu_ns` are what the round took. */
struct round samples_summarize(struct samples *samples, uint64_t wall_ns, uint64_t cpu_ns);

double median(const double *values, size_t count);
/* The value below which `part` (0 … 1) of the values lie. */
double quantile(const double *values, size_t count, double part);

/* One half of a pair, done by worker number `worker`: 0, or -1 after a message on stderr. */
typedef int step_fn(void *state, unsigned worker);

/* Runs lock and unlock in `workers` threads (in the calling thread if it is one) for `seconds`. 0 or -1. */
int run_workers(void *state, unsigned workers, step_fn *lock, step_fn *unlock, double seconds, struct round *out);

#endif
