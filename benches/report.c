#define _GNU_SOURCE
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct report {
    unsigned rounds, goals, met;
    const char *scenario;
    FILE *contestants, *values; /* the inside of two JSON arrays */
    char *contestants_text, *values_text;
    size_t contestants_size, values_size;
    double seconds;
    size_t nodes;
};

struct report *report_open(unsigned rounds, double seconds, size_t nodes)
{
    struct report *report = calloc(1, sizeof *report);
    if (report == NULL)
        exit(2);
    report->rounds = rounds;
    report->seconds = seconds;
    report->nodes = nodes;
    report->contestants = open_memstream(&report->contestants_text, &report->contestants_size);
    report->values = open_memstream(&report->values_text, &report->values_size);
    printf("Redlock over %zu nodes: %u interleaved rounds of %g s per contestant; medians over rounds.\n", nodes, rounds,
           seconds);
    return report;
}

void report_scenario(struct report *report, const char *name, const char *title)
{
    report->scenario = name;
    printf("\n%s: %s\n", name, title);
    fflush(stdout);
}

static double pick(const struct round *round, enum metric metric)
{
    switch (metric) {
    case METRIC_LATENCY:
        return round->p50_us;
    case METRIC_P99:
        return round->p99_us;
    case METRIC_CPU:
        return round->cpu_us_per_pair;
    case METRIC_THROUGHPUT:
        return round->pairs_per_s;
    }
    return 0;
}

static const char *metric_name(enum metric metric)
{
    static const char *const name[] = {"latency p50", "latency p99", "client CPU per pair", "pairs/s"};
    return name[metric];
}

static double median_of(const struct report *report, const struct contestant *contestant, enum metric metric)
{
    double value[ROUNDS_MAX];
    for (unsigned i = 0; i < report->rounds; i++)
        value[i] = pick(&contestant->round[i], metric);
    return median(value, report->rounds);
}

void report_contestant(struct report *report, const struct contestant *contestant)
{
    double lock[ROUNDS_MAX];
    for (unsigned i = 0; i < report->rounds; i++)
        lock[i] = contestant->round[i].lock_p50_us;
    double rate = median_of(report, contestant, METRIC_THROUGHPUT), p50 = median_of(report, contestant, METRIC_LATENCY);
    double p99 = median_of(report, contestant, METRIC_P99), cpu = median_of(report, contestant, METRIC_CPU);
    double lock_p50 = median(lock, report->rounds);

    printf("  %-28s %9.0f pairs/s   p50 %9.1f us   p99 %9.1f us   (lock p50 %9.1f)   CPU %6.1f us/pair   %ld connections\n",
           contestant->name, rate, p50, p99, lock_p50, cpu, contestant->connections);
    fflush(stdout);
    fprintf(report->contestants,
            "%s\n    {\"scenario\": \"%s\", \"contestant\": \"%s\", \"tasks\": %u, \"pairs_per_s\": %.1f, \"p50_us\": %.2f, "
            "\"p99_us\": %.2f, \"lock_p50_us\": %.2f, \"cpu_us_per_pair\": %.2f, \"connections\": %ld}",
            ftell(report->contestants) > 0 ? "," : "", report->scenario, contestant->name, contestant->tasks, rate, p50, p99,
            lock_p50, cpu, contestant->connections);
}

static void judge(struct report *report, const char *what, double value, double low, double high, const char *unit,
                  enum goal goal, double limit)
{
    static const char *const sign[] = {"", "<=", ">=", "="};
    static const char *const sense[] = {"none", "at_most", "at_least", "exactly"};
    int met = goal == GOAL_AT_MOST ? value <= limit : goal == GOAL_AT_LEAST ? value >= limit : fabs(value - limit) < 1e-9;

    int column = printf("  %-58s %10.*f%s", what, goal == GOAL_EXACTLY ? 0 : 2, value, unit);
    if (low != high)
        column += printf("  [%.2f .. %.2f]", low, high);
    if (goal != GOAL_NONE)
        printf("%*sgoal %s %g%s  %s", column < 92 ? 92 - column : 1, "", sign[goal], limit, unit, met ? "OK" : "MISSED");
    printf("\n");
    fflush(stdout);

    fprintf(report->values,
            "%s\n    {\"scenario\": \"%s\", \"what\": \"%s\", \"value\": %.4f, \"quartiles\": [%.4f, %.4f], \"goal\": \"%s\"",
            ftell(report->values) > 0 ? "," : "", report->scenario, what, value, low, high, sense[goal]);
    if (goal != GOAL_NONE) {
        fprintf(report->values, ", \"limit\": %g, \"met\": %s", limit, met ? "true" : "false");
        report->goals++;
        report->met += (unsigned)met;
    }
    fprintf(report->values, "}");
}

void report_ratio(struct report *report, const struct contestant *of, const struct contestant *to, enum metric metric,
                  enum goal goal, double limit)
{
    double ratio[ROUNDS_MAX];
    char what[160];
    unsigned n = 0;
    for (unsigned i = 0; i < report->rounds; i++) {
        if (pick(&to->round[i], metric) > 0)
            ratio[n++] = pick(&of->round[i], metric) / pick(&to->round[i], metric);
    }
    snprintf(what, sizeof what, "%s, %s / %s", metric_name(metric), of->name, to->name);
    judge(report, what, median(ratio, n), quantile(ratio, n, 0.25), quantile(ratio, n, 0.75), " x", goal, limit);
}

void report_value(struct report *report, const char *what, double value, const char *unit, enum goal goal, double limit)
{
    judge(report, what, value, value, value, unit, goal, limit);
}

void report_note(struct report *report, const char *note)
{
    (void)report;
    printf("  %s\n", note);
    fflush(stdout);
}

int report_close(struct report *report, const char *path)
{
    int result = 0;
    fclose(report->contestants);
    fclose(report->values);
    if (report->goals > 0)
        printf("\n%u of %u goals met.\n", report->met, report->goals);
    if (path != NULL) {
        FILE *file = fopen(path, "w");
        if (file == NULL) {
            perror(path);
            result = -1;
        } else {
            fprintf(file,
                    "{\n  \"nodes\": %zu,\n  \"rounds\": %u,\n  \"seconds\": %g,\n  \"contestants\": [%s\n  ],\n"
                    "  \"ratios_and_values\": [%s\n  ]\n}\n",
                    report->nodes, report->rounds, report->seconds, report->contestants_text, report->values_text);
            result = fclose(file) == 0 ? 0 : -1;
        }
    }
    free(report->contestants_text);
    free(report->values_text);
    free(report);
    return result;
}
