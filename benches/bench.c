/* This library against hand-written floors on the same servers: interleaved rounds, medians, ratios, goals.
 *
 * Servers come in REDLOCK_NODES and REDLOCK_TEST_PIDS: five, and a sixth that is stopped and killed. `benches/run`
 * starts them. A missed goal never fails the run; a lock operation that errs does. */
#define _GNU_SOURCE
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contestants.h"
#include "handover.h"
#include "loss.h"
#include "report.h"

enum { QUORUM_NODES = 5 };

struct bench {
    struct node_set nodes;     /* the five everybody uses */
    struct node_set with_spare; /* the spare in place of the fifth */
    pid_t spare;               /* 0: there is none */
    unsigned rounds;
    double seconds;
    int floor_only;
    const char *tools; /* where delay_proxy and rss_quickstart are */
    const char *library_file, *plain_library_file;
    struct report *report;
};

/* ---- rounds ---------------------------------------------------------------------------------------------------- */

static long connections(const struct bench *bench)
{
    long sum = 0;
    for (size_t i = 0; i < bench->nodes.count; i++)
        sum += node_client_count(&bench->nodes.node[i]);
    if (bench->spare != 0)
        sum += node_client_count(&bench->with_spare.node[bench->with_spare.count - 1]);
    return sum;
}

static int take_part(const struct bench *bench, const struct contestant *contestant)
{
    return contestant->open != NULL && !(bench->floor_only && contestant->letter == 'L');
}

/* Opens and warms up everybody, one after the other, so that the servers can tell whose connections are whose. */
static int contest_open(struct bench *bench, struct contestant *contestant, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct contestant *c = &contestant[i];
        if (!take_part(bench, c))
            continue;
        long before = connections(bench);
        if (c->open(c, c->nodes != NULL ? c->nodes : &bench->nodes) != 0 || c->run(c, 0.1, &c->round[0]) != 0)
            return -1;
        c->connections = connections(bench) - before;
    }
    return 0;
}

/* A B C A B C …, beginning anywhere. */
static int contest_run(struct bench *bench, struct contestant *contestant, size_t count)
{
    size_t start = (size_t)random() % count;
    for (unsigned round = 0; round < bench->rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            struct contestant *c = &contestant[(start + i) % count];
            if (take_part(bench, c) && c->run(c, bench->seconds, &c->round[round]) != 0)
                return -1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (take_part(bench, &contestant[i]))
            report_contestant(bench->report, &contestant[i]);
    }
    return 0;
}

static void contest_close(struct bench *bench, struct contestant *contestant, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (take_part(bench, &contestant[i]))
            contestant[i].close(&contestant[i]);
    }
}

static int contest(struct bench *bench, struct contestant *contestant, size_t count)
{
    int result = contest_open(bench, contestant, count);
    if (result == 0)
        result = contest_run(bench, contestant, count);
    contest_close(bench, contestant, count);
    return result;
}

static void ratio(struct bench *bench, const struct contestant *of, const struct contestant *to, enum metric metric,
                  enum goal goal, double limit)
{
    if (take_part(bench, of) && take_part(bench, to))
        report_ratio(bench->report, of, to, metric, goal, limit);
}

/* ---- scenarios ------------------------------------------------------------------------------------------------- */

static int scenario_self(struct bench *bench)
{
    struct contestant c[] = {contestant_floor("floor", 'f', 1), contestant_floor("floor again", 'g', 1)};
    if (contest(bench, c, 2) != 0)
        return -1;
    ratio(bench, &c[1], &c[0], METRIC_LATENCY, GOAL_NONE, 0);
    ratio(bench, &c[1], &c[0], METRIC_CPU, GOAL_NONE, 0);
    return 0;
}

static int scenario_one(struct bench *bench)
{
    struct contestant c[] = {contestant_floor("floor", 'f', 1), contestant_library("library", 'L', 1)};
    if (contest(bench, c, 2) != 0)
        return -1;
    ratio(bench, &c[1], &c[0], METRIC_LATENCY, GOAL_AT_MOST, 1.10);
    ratio(bench, &c[1], &c[0], METRIC_P99, GOAL_NONE, 0);
    ratio(bench, &c[1], &c[0], METRIC_CPU, GOAL_AT_MOST, 1.20);
    return 0;
}

/* The floor stays on five healthy nodes; the others have the spare for a fifth, and something happens to it. */
static int with_fault(struct bench *bench, int fault, int mend)
{
    struct contestant c[] = {contestant_floor("floor, healthy", 'f', 1), contestant_library("library", 'L', 1),
                             contestant_floor("floor, same fault", 'g', 1)};
    if (bench->spare == 0) {
        report_note(bench->report, "left out: needs a sixth node in REDLOCK_NODES and its pid in REDLOCK_TEST_PIDS");
        return 0;
    }
    c[1].nodes = c[2].nodes = &bench->with_spare;
    int result = contest_open(bench, c, 3);
    if (result == 0) {
        kill(bench->spare, fault);
        result = contest_run(bench, c, 3);
    }
    if (mend != 0)
        kill(bench->spare, mend);
    else
        bench->spare = 0;
    contest_close(bench, c, 3);
    if (result != 0)
        return -1;
    ratio(bench, &c[1], &c[0], METRIC_LATENCY, GOAL_AT_MOST, 1.15);
    ratio(bench, &c[1], &c[0], METRIC_P99, GOAL_NONE, 0);
    ratio(bench, &c[1], &c[2], METRIC_LATENCY, GOAL_NONE, 0);
    ratio(bench, &c[2], &c[0], METRIC_LATENCY, GOAL_NONE, 0);
    return 0;
}

static int scenario_stopped(struct bench *bench)
{
    return with_fault(bench, SIGSTOP, SIGCONT);
}

static int scenario_killed(struct bench *bench)
{
    return with_fault(bench, SIGKILL, 0);
}

/* Starts a program of ours; `input` keeps it alive where it reads its standard input, `output` is what it prints. */
static pid_t start_tool(char *const argv[], FILE **output, int *input)
{
    int in[2], out[2];
    if (pipe(in) != 0 || pipe(out) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execv(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    *input = in[1];
    *output = fdopen(out[0], "r");
    return pid;
}

static int end_tool(pid_t pid, FILE *output, int input)
{
    int status = 0;
    close(input);
    fclose(output);
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int scenario_far(struct bench *bench)
{
    char program[PATH_MAX], target[NODES_MAX][96], *argv[NODES_MAX + 3] = {program, "5000"};
    struct contestant c[] = {contestant_floor("floor", 'f', 1), contestant_library("library", 'L', 1)};
    struct node_set far = bench->nodes;
    FILE *ports;
    int keep;

    snprintf(program, sizeof program, "%s/delay_proxy", bench->tools);
    for (size_t i = 0; i < far.count; i++) {
        snprintf(target[i], sizeof target[i], "%s:%u", far.node[i].host, (unsigned)far.node[i].port);
        argv[2 + i] = target[i];
    }
    pid_t proxy = start_tool(argv, &ports, &keep);
    int result = proxy < 0 ? -1 : 0;
    for (size_t i = 0; i < far.count && result == 0; i++) {
        unsigned port;
        result = fscanf(ports, "%u", &port) == 1 ? 0 : -1;
        if (result == 0) {
            strcpy(far.node[i].host, "127.0.0.1");
            nodes_set_port(&far.node[i], (uint16_t)port);
        }
    }
    c[0].nodes = c[1].nodes = &far;
    if (result == 0)
        result = contest(bench, c, 2);
    if (proxy > 0)
        end_tool(proxy, ports, keep);
    if (result != 0)
        return -1;
    ratio(bench, &c[1], &c[0], METRIC_LATENCY, GOAL_AT_MOST, 1.02);
    ratio(bench, &c[1], &c[0], METRIC_P99, GOAL_NONE, 0);
    return 0;
}

static int many(struct bench *bench, unsigned threads, double goal)
{
    struct contestant c[] = {contestant_floor("own sockets per thread", 'f', threads),
                             contestant_library("library, one handle", 'L', threads),
                             contestant_floor_tasks("one thread, multiplexed", 'm', threads)};
    if (contest(bench, c, 3) != 0)
        return -1;
    ratio(bench, &c[1], &c[0], METRIC_THROUGHPUT, GOAL_AT_LEAST, goal);
    ratio(bench, &c[1], &c[2], METRIC_THROUGHPUT, GOAL_NONE, 0);
    ratio(bench, &c[2], &c[0], METRIC_THROUGHPUT, GOAL_NONE, 0);
    if (take_part(bench, &c[1]))
        report_value(bench->report, "connections of the library", (double)c[1].connections, "", GOAL_EXACTLY,
                     (double)bench->nodes.count);
    return 0;
}

static int scenario_threads8(struct bench *bench)
{
    return many(bench, 8, 2.0);
}

static int scenario_threads64(struct bench *bench)
{
    return many(bench, 64, 5.0);
}

static int on_event_loop(struct bench *bench, unsigned tasks)
{
    struct contestant c[] = {contestant_floor_tasks("one thread, multiplexed", 'm', tasks),
                             contestant_loop("library, event loop", 'L', tasks)};
    if (contest(bench, c, 2) != 0)
        return -1;
    ratio(bench, &c[1], &c[0], METRIC_THROUGHPUT, GOAL_AT_LEAST, 0.9);
    ratio(bench, &c[1], &c[0], METRIC_CPU, GOAL_AT_MOST, 2.0);
    ratio(bench, &c[1], &c[0], METRIC_P99, GOAL_AT_MOST, 2.0);
    return 0;
}

static int scenario_loop8(struct bench *bench)
{
    return on_event_loop(bench, 8);
}

static int scenario_loop64(struct bench *bench)
{
    return on_event_loop(bench, 64);
}

static int scenario_loop1000(struct bench *bench)
{
    return on_event_loop(bench, 1000);
}

static void report_size(struct bench *bench, const char *what, const char *file, double limit_kb)
{
    struct stat info;
    if (file != NULL && stat(file, &info) == 0)
        report_value(bench->report, what, (double)info.st_size / 1000.0, " kB", GOAL_AT_MOST, limit_kb);
}

/* Beside clients of the same library that only poll, as other libraries do: most of them every 200 ms. */
static int scenario_handover(struct bench *bench)
{
    static const unsigned clients[] = {2, 8, 64};
    static const struct {
        const char *name;
        int wake;
        unsigned retry_ms;
    } ways[] = {{"woken by push", 1, 200}, {"polling every 10 ms", 0, 10}, {"polling every 200 ms", 0, 200}};
    if (bench->floor_only || contestant_library("", 'L', 1).open == NULL) {
        report_note(bench->report, "left out: needs the library");
        return 0;
    }
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
            struct handover measured;
            if (handover_measure(&bench->nodes, clients[i], ways[way].wake, ways[way].retry_ms, bench->seconds * 3,
                                 &measured) != 0)
                return -1;
            const struct {
                const char *what, *unit;
                double value;
            } rows[] = {
                {"p50", " us", measured.p50_us},
                {"p99", " us", measured.p99_us},
                {"hand-overs", " /s", measured.per_s},
                {"attempts each", "", measured.attempts_per_handover},
            };
            for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
                char what[80];
                snprintf(what, sizeof what, "%2u clients %s: %s", clients[i], ways[way].name, rows[row].what);
                report_value(bench->report, what, rows[row].value, rows[row].unit, GOAL_NONE, 0);
            }
        }
    }
    return 0;
}

static int scenario_loss(struct bench *bench)
{
    static const char *const names[] = {[FACE_BLOCKING] = "wait_lost", [FACE_LOOP] = "event loop"};
    if (bench->floor_only || contestant_library("", 'L', 1).open == NULL) {
        report_note(bench->report, "left out: needs the library");
        return 0;
    }
    for (enum face face = FACE_BLOCKING; face <= FACE_LOOP; face++) {
        struct loss loss;
        char what[80];
        if (loss_measure(&bench->nodes, face, 400, &loss) != 0)
            return -1;
        snprintf(what, sizeof what, "from DEL at a quorum to its loss, %s: p50", names[face]);
        report_value(bench->report, what, loss.p50_us, " us", GOAL_NONE, 0);
        snprintf(what, sizeof what, "from DEL at a quorum to its loss, %s: p99", names[face]);
        report_value(bench->report, what, loss.p99_us, " us", GOAL_AT_MOST, 100e3);
    }
    return 0;
}

static int scenario_memory(struct bench *bench)
{
    char program[PATH_MAX], *argv[NODES_MAX + 2] = {program};
    long rss = 0, anonymous = 0;
    FILE *answer;
    int keep;

    if (bench->floor_only || contestant_library("", 'L', 1).open == NULL) {
        report_note(bench->report, "left out: needs the library");
        return 0;
    }
    snprintf(program, sizeof program, "%s/rss_quickstart", bench->tools);
    for (size_t i = 0; i < bench->nodes.count; i++)
        argv[1 + i] = bench->nodes.node[i].url;
    pid_t pid = start_tool(argv, &answer, &keep);
    if (pid < 0)
        return -1;
    int read = fscanf(answer, "%ld %ld", &rss, &anonymous);
    if (end_tool(pid, answer, keep) != 0 || read != 2)
        return -1;
    report_value(bench->report, "VmRSS of the C quickstart", (double)rss * 1.024e-3, " MB", GOAL_AT_MOST, 3);
    report_value(bench->report, "of it anonymous", (double)anonymous * 1.024e-3, " MB", GOAL_NONE, 0);
    report_size(bench, "libredlock.so stripped, with TLS", bench->library_file, 2200);
    report_size(bench, "libredlock.so stripped, without TLS", bench->plain_library_file, 800);
    return 0;
}

static const struct scenario {
    const char *name, *title;
    int (*run)(struct bench *bench);
} SCENARIOS[] = {
    {"self", "floor against floor: what this machine's noise looks like", scenario_self},
    {"one", "one thread, five nodes", scenario_one},
    {"stopped", "one of five nodes does not answer (SIGSTOP)", scenario_stopped},
    {"killed", "one of five nodes is dead", scenario_killed},
    {"far", "10 ms round trip", scenario_far},
    {"threads8", "8 threads, distinct resources", scenario_threads8},
    {"threads64", "64 threads, distinct resources", scenario_threads64},
    {"loop8", "event loop, 8 operations in flight", scenario_loop8},
    {"loop64", "event loop, 64 operations in flight", scenario_loop64},
    {"loop1000", "event loop, 1000 operations in flight", scenario_loop1000},
    {"handover", "one lock that all want and nobody holds for long", scenario_handover},
    {"loss", "a lock's keys are deleted on three of five nodes", scenario_loss},
    {"memory", "memory and size", scenario_memory},
};
enum { SCENARIO_COUNT = sizeof SCENARIOS / sizeof SCENARIOS[0] };

/* ---- the command line ------------------------------------------------------------------------------------------ */

static int usage(void)
{
    fprintf(stderr, "usage: bench [--rounds N] [--seconds S] [--scenario NAME]... [--floor-only] [--json FILE]\n"
                    "             [--library FILE] [--plain-library FILE]\n"
                    "  --seconds        length of one contestant's round (default 0.5)\n"
                    "  --library        stripped libredlock.so, --plain-library the one without TLS: sizes to report\n"
                    "scenarios:");
    for (size_t i = 0; i < SCENARIO_COUNT; i++)
        fprintf(stderr, " %s", SCENARIOS[i].name);
    fprintf(stderr, "\n");
    return 2;
}

static int take_nodes(struct bench *bench)
{
    struct node_set all;
    const char *urls = getenv("REDLOCK_NODES");
    if (urls == NULL || nodes_parse(&all, urls, getenv("REDLOCK_TEST_PIDS")) != 0 || all.count < 3) {
        fprintf(stderr, "bench: REDLOCK_NODES must name at least three servers; benches/run starts some\n");
        return -1;
    }
    bench->nodes = all;
    if (all.count > QUORUM_NODES) {
        bench->nodes.count = QUORUM_NODES;
        bench->with_spare = bench->nodes;
        bench->with_spare.node[QUORUM_NODES - 1] = all.node[QUORUM_NODES];
        bench->spare = all.node[QUORUM_NODES].pid;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"rounds", required_argument, NULL, 'r'},  {"seconds", required_argument, NULL, 's'},
        {"scenario", required_argument, NULL, 'c'}, {"floor-only", no_argument, NULL, 'f'},
        {"json", required_argument, NULL, 'j'},    {"library", required_argument, NULL, 'l'},
        {"plain-library", required_argument, NULL, 'p'}, {0}};
    struct bench bench = {.rounds = 9, .seconds = 0.5};
    const char *json = NULL;
    char wanted[SCENARIO_COUNT] = {0}, all = 1, self[PATH_MAX];
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        size_t at = 0;
        switch (letter) {
        case 'r': bench.rounds = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': bench.seconds = strtod(optarg, NULL); break;
        case 'f': bench.floor_only = 1; break;
        case 'j': json = optarg; break;
        case 'l': bench.library_file = optarg; break;
        case 'p': bench.plain_library_file = optarg; break;
        case 'c':
            while (at < SCENARIO_COUNT && strcmp(SCENARIOS[at].name, optarg) != 0)
                at++;
            if (at == SCENARIO_COUNT)
                return usage();
            wanted[at] = 1, all = 0;
            break;
        default: return usage();
        }
    }
    if (optind != argc || bench.rounds < 1 || bench.rounds > ROUNDS_MAX || !(bench.seconds > 0 && bench.seconds <= 60))
        return usage();
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length < 0 ? 0 : length] = '\0';
    bench.tools = dirname(self);
    signal(SIGPIPE, SIG_IGN);
    srandom((unsigned)now_ns());
    if (take_nodes(&bench) != 0)
        return 2;

    int result = 0;
    bench.report = report_open(bench.rounds, bench.seconds, bench.nodes.count);
    for (size_t i = 0; i < SCENARIO_COUNT && result == 0; i++) {
        if (!all && !wanted[i])
            continue;
        report_scenario(bench.report, SCENARIOS[i].name, SCENARIOS[i].title);
        if ((result = SCENARIOS[i].run(&bench)) != 0)
            fprintf(stderr, "bench: scenario %s failed\n", SCENARIOS[i].name);
    }
    return report_close(bench.report, json) != 0 || result != 0;
}
