/* What the reader sees: one table per scenario, ratios with their goals, and the same numbers as JSON. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "contestants.h"

enum goal { GOAL_NONE, GOAL_AT_MOST, GOAL_AT_LEAST, GOAL_EXACTLY };
enum metric { METRIC_LATENCY, METRIC_P99, METRIC_CPU, METRIC_THROUGHPUT };

struct report;

struct report *report_open(unsigned rounds, double seconds, size_t nodes);
void report_scenario(struct report *report, const char *name, const char *title);
void report_contestant(struct report *report, const struct contestant *contestant);
/* `of` / `to`, round by round; printed is the median with the quartiles. */
void report_ratio(struct report *report, const struct contestant *of, const struct contestant *to, enum metric metric,
                  enum goal goal, double limit);
/* A number that is not a ratio. */
void report_value(struct report *report, const char *what, double value, const char *unit, enum goal goal, double limit);
void report_note(struct report *report, const char *note);
/* Writes the JSON to `path` unless it is NULL. 0, or -1 with a message on stderr. */
int report_close(struct report *report, const char *path);

#endif
