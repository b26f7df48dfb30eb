/* Every system call that the library makes fails once: for each scenario, kind of call and error, the first call fails,
 * then the second, and so on until the scenario ends before it comes to it. After each run
 *
 *   - every call has returned a status in time, and none REDLOCK_E_INTERNAL;
 *   - the next lock on the same handle works, and no key is left;
 *   - when all is freed, the process has the descriptors, threads and blocks that it had before.
 *
 *     torture [--short] [--allocations] [--scenario NAME] [--kind NAME] [--verbose]
 *
 * TORTURE_CERTIFICATES names a directory with ca.pem, server.pem and server.key; without it there is no TLS. */
#define _GNU_SOURCE
#include "shim.h"
#include "redlock.h"
#include "support/cluster.h"
#include "support/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>

enum {
    NODES = 3, NODE_TIMEOUT_MS = 50, HANG_MS = 10000, CALL_MS = 3000, NEXT_CALL_MS = 2000, GONE_MS = 2000,
    TTL_MS = 60000, ERRORS_MAX = 8, REPETITIONS = 3
};

struct run {
    redlock_t *rl;
    char resource[64];
    char path[32];
    const char *what; /* the first thing that went wrong */
    redlock_status_t status;
    bool is_short_lived; /* no next call: the scenario ends the handle itself, or it never works */
    uint64_t longest_ms;
    uint64_t began_ms;
};

struct scenario {
    const char *name;
    void (*play)(struct run *);
};

/* Shared with the parent, which sees how far a child that crashed or hangs had come. */
static struct progress {
    unsigned long runs, struck, failed, survived, aborted, statuses[12];
    char now[160];
    uint64_t moved_ms;
} *progress;

static cluster_t *servers[NODES];
static char tcp_urls[NODES][64], name_urls[NODES][64], unix_urls[NODES][128], tls_urls[NODES][64];
static char directory[] = "/tmp/redlock-torture.XXXXXX", ca_file[256];
static struct shim_plan wanted;

/* What a scenario is made of */

static const char *const *urls_of(char (*urls)[64])
{
    static const char *list[NODES];

    for (int i = 0; i < NODES; i++)
        list[i] = urls[i];
    return list;
}

static void wrong(struct run *run, const char *what)
{
    if (run->what == NULL)
        run->what = what;
}

static redlock_status_t note(struct run *run, const char *call, redlock_status_t status)
{
    uint64_t took = cluster_now_ms() - run->began_ms;

    if (took > run->longest_ms)
        run->longest_ms = took;
    if (took > CALL_MS * cluster_slowness())
        wrong(run, "a call took too long");
    bool may_be_internal = wanted.kind == SHIM_EVENTFD || wanted.kind == SHIM_EPOLL_CREATE || wanted.kind == SHIM_EPOLL_CTL ||
                           wanted.kind == SHIM_TIMERFD_CREATE || wanted.kind == SHIM_THREAD;
    /* The header: REDLOCK_E_INTERNAL also says that the process has no descriptor or thread to spare. */
    if (status > 0 || status < REDLOCK_E_INTERNAL || (status == REDLOCK_E_INTERNAL && !may_be_internal) ||
        status == REDLOCK_E_FORKED) {
        fprintf(stderr, "%s returned %d\n", call, status);
        wrong(run, "a status that may not be");
    }
    if (status <= 0 && status > -12)
        progress->statuses[-status]++;
    run->status = status;
    return status;
}
#define CALL(function, ...) \
    (run->began_ms = cluster_now_ms(), note(run, #function, function(__VA_ARGS__)))
/* The same for functions that offer an error object. */
#define TRY(function, ...) \
    ({ \
        redlock_error_t *error_ = NULL; \
        redlock_status_t status_ = CALL(function, __VA_ARGS__, &error_); \
        if ((status_ != REDLOCK_OK) != (error_ != NULL)) \
            wrong(run, "a failure without details, or details without a failure"); \
        redlock_error_free(error_); \
        status_; \
    })

static void arm(void) { shim_arm(&wanted); }

static redlock_options_t *options(void)
{
    redlock_options_t *made = redlock_options_new();

    redlock_options_set_node_timeout_ms(made, NODE_TIMEOUT_MS * cluster_slowness());
    redlock_options_set_stall_timeout_ms(made, 300);
    redlock_options_set_retry_delay_ms(made, 10);
    redlock_options_set_retry_jitter_ms(made, 5);
    redlock_options_set_tls_ca_file(made, ca_file[0] != '\0' ? ca_file : NULL);
    return made;
}

static void open_with(struct run *run, const char *const *urls, redlock_options_t *made)
{
    TRY(redlock_new, urls, NODES, made, &run->rl);
    redlock_options_free(made);
}

/* A handle that is connected before anything fails. */
static void ready_with(struct run *run, redlock_options_t *made)
{
    open_with(run, urls_of(tcp_urls), made);
    for (int i = 0; i < 20; i++) {
        redlock_stats_t *stats = NULL;
        size_t up = 0;

        redlock_wait_ready(run->rl, 1000, NULL);
        redlock_stats(run->rl, &stats, NULL);
        for (size_t node = 0; node < NODES; node++)
            up += redlock_stats_node_is_up(stats, node) != 0;
        redlock_stats_free(stats);
        if (up == NODES)
            break;
        cluster_sleep_ms(2);
    }
    arm();
}
static void ready(struct run *run) { ready_with(run, options()); }

static redlock_lease_t *take(struct run *run, uint64_t ttl_ms, int64_t wait_ms)
{
    redlock_lease_t *lease = NULL;

    TRY(redlock_lock, run->rl, run->resource, ttl_ms, wait_ms, &lease);
    if ((lease != NULL) != (run->status == REDLOCK_OK))
        wrong(run, "a lease without success, or success without a lease");
    return lease;
}

static void give_back(struct run *run, redlock_lease_t *lease)
{
    if (lease != NULL)
        TRY(redlock_unlock, lease);
    redlock_lease_free(lease);
}

static redlock_request_t *request(struct run *run, uint64_t ttl_ms, int64_t wait_ms)
{
    redlock_request_t *made = redlock_request_new();

    redlock_request_set_resource(made, run->resource);
    redlock_request_set_ttl_ms(made, ttl_ms);
    redlock_request_set_wait_ms(made, wait_ms);
    return made;
}

static redlock_lease_t *take_by(struct run *run, redlock_request_t *made)
{
    redlock_lease_t *lease = NULL;

    TRY(redlock_lock_request, run->rl, made, &lease);
    redlock_request_free(made);
    return lease;
}

/* The key of another holder, or its end, at every node, without the library. */
static void strangers(struct run *run, bool hold, const char *ttl_ms)
{
    for (int i = 0; i < NODES; i++)
        free(hold ? cluster_cli(servers[i], 0, "SET", run->resource, "stranger", "PX", ttl_ms, NULL)
                  : cluster_cli(servers[i], 0, "DEL", run->resource, NULL));
}

struct helper {
    struct run *run;
    pthread_t thread;
    const redlock_canceller_t *canceller;
    redlock_lease_t *lease;
    int after_ms;
};

static void start(struct helper *helper, void *(*work)(void *))
{
    if (pthread_create(&helper->thread, NULL, work, helper) != 0)
        abort();
}

static void *delete_later(void *argument)
{
    struct helper *helper = argument;

    cluster_sleep_ms(helper->after_ms);
    strangers(helper->run, false, NULL);
    return NULL;
}

static void *cancel_later(void *argument)
{
    struct helper *helper = argument;

    cluster_sleep_ms(helper->after_ms);
    if (helper->canceller != NULL)
        redlock_canceller_cancel(helper->canceller);
    else
        redlock_cancel(helper->run->rl, 7);
    return NULL;
}

static void *unlock_later(void *argument)
{
    struct helper *helper = argument;

    cluster_sleep_ms(helper->after_ms);
    redlock_unlock(helper->lease, NULL);
    return NULL;
}

static void *lock_beside(void *argument)
{
    struct helper *helper = argument;
    redlock_lease_t *lease = NULL;

    for (int i = 0; i < 3; i++) {
        lease = NULL;
        redlock_status_t status = redlock_lock(helper->run->rl, helper->run->resource, TTL_MS, 500, &lease, NULL);
        if (status == REDLOCK_E_INTERNAL)
            wrong(helper->run, "REDLOCK_E_INTERNAL in a thread");
        if (lease != NULL)
            redlock_unlock(lease, NULL);
        redlock_lease_free(lease);
    }
    return NULL;
}

/* Drives the loop until `done` operations have ended or time is over; extensions and losses are counted. */
static int drive(struct run *run, int done, uint64_t for_ms, redlock_lease_t **lease)
{
    uint64_t end = cluster_now_ms() + for_ms;
    int ended = 0;

    while (ended < done && cluster_now_ms() < end) {
        int64_t timeout = redlock_timeout_ms(run->rl);
        int fd = redlock_fd(run->rl);
        redlock_event_t *event;

        /* Without a descriptor (REDLOCK_E_INTERNAL: none to spare) a loop may poll by itself. */
        if (fd >= 0)
            poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, timeout < 0 || timeout > 20 ? 20 : (int)timeout);
        else
            cluster_sleep_ms(1);
        CALL(redlock_process, run->rl);
        while ((event = redlock_next_event(run->rl)) != NULL) {
            if (redlock_event_kind(event) == REDLOCK_EVENT_DONE) {
                note(run, "an operation", redlock_event_status(event));
                ended++;
            }
            redlock_lease_t *taken = redlock_event_take_lease(event);
            if (taken != NULL && lease != NULL)
                *lease = taken;
            redlock_inspection_free(redlock_event_take_inspection(event));
            redlock_event_free(event);
        }
    }
    return ended;
}

static void must_end(struct run *run, int done, redlock_lease_t **lease)
{
    run->began_ms = cluster_now_ms();
    if (drive(run, done, CALL_MS, lease) < done)
        wrong(run, "a submitted operation has no end");
}

/* The scenarios: from the first call on */

static void connect_and_wait(struct run *run)
{
    arm();
    open_with(run, urls_of(tcp_urls), options());
    if (run->rl != NULL)
        TRY(redlock_wait_ready, run->rl, 1000);
}

static void connect_and_lock(struct run *run)
{
    arm();
    open_with(run, urls_of(tcp_urls), options());
    if (run->rl != NULL)
        give_back(run, take(run, TTL_MS, 500));
}

static void connect_by_name(struct run *run)
{
    arm();
    open_with(run, urls_of(name_urls), options());
    if (run->rl != NULL)
        give_back(run, take(run, TTL_MS, 500));
}

static void connect_by_unix_socket(struct run *run)
{
    const char *list[NODES];

    for (int i = 0; i < NODES; i++)
        list[i] = unix_urls[i];
    arm();
    open_with(run, list, options());
    if (run->rl != NULL)
        give_back(run, take(run, TTL_MS, 500));
}

static void connect_by_tls(struct run *run)
{
    arm();
    open_with(run, urls_of(tls_urls), options());
    if (run->rl != NULL)
        give_back(run, take(run, TTL_MS, 500));
}

static void tls_with_the_roots_of_the_system(struct run *run)
{
    redlock_options_t *made = options();

    redlock_options_set_tls_ca_file(made, NULL);
    arm();
    open_with(run, urls_of(tls_urls), made);
    if (run->rl != NULL && TRY(redlock_wait_ready, run->rl, 200) == REDLOCK_OK)
        wrong(run, "an unknown authority was trusted");
    run->is_short_lived = true;
}

static void event_loop_from_the_start(struct run *run)
{
    redlock_lease_t *lease = NULL;
    redlock_request_t *made = request(run, TTL_MS, 500);

    arm();
    open_with(run, urls_of(tcp_urls), options());
    if (run->rl != NULL && redlock_fd(run->rl) != -1 && TRY(redlock_submit_lock, run->rl, made) == REDLOCK_OK) {
        must_end(run, 1, &lease);
        if (lease != NULL && TRY(redlock_submit_unlock, lease, 1) == REDLOCK_OK)
            must_end(run, 1, NULL);
    }
    redlock_lease_free(lease);
    redlock_request_free(made);
}

static void a_wrong_url(struct run *run)
{
    const char *list[NODES] = { tcp_urls[0], "redis://[", tcp_urls[2] };

    arm();
    open_with(run, list, options());
    if (run->rl != NULL)
        wrong(run, "a wrong URL was taken");
    run->is_short_lived = true;
}

static void one_node_is_down(struct run *run)
{
    const char *list[NODES] = { tcp_urls[0], "redis://127.0.0.1:9", tcp_urls[2] };

    arm();
    open_with(run, list, options());
    if (run->rl != NULL)
        give_back(run, take(run, TTL_MS, 500));
}

/* The scenarios: on a connected handle */

static void lock_and_unlock(struct run *run) { ready(run); give_back(run, take(run, TTL_MS, 0)); }

static void lock_that_is_held(struct run *run)
{
    strangers(run, true, "300");
    ready(run);
    give_back(run, take(run, TTL_MS, 0));
    strangers(run, false, NULL);
}

static void wait_in_vain(struct run *run)
{
    strangers(run, true, "5000");
    ready(run);
    give_back(run, take(run, TTL_MS, 60));
    strangers(run, false, NULL);
}

static void wait_until_it_is_free(struct run *run)
{
    struct helper helper = { .run = run, .after_ms = 15 };

    strangers(run, true, "5000");
    ready(run);
    start(&helper, delete_later);
    give_back(run, take(run, TTL_MS, 1000));
    pthread_join(helper.thread, NULL);
}

static void wait_behind_a_thread(struct run *run)
{
    struct helper helper = { .run = run, .after_ms = 10 };

    ready(run);
    helper.lease = take(run, TTL_MS, 0);
    if (helper.lease != NULL) {
        start(&helper, unlock_later);
        give_back(run, take(run, TTL_MS, 1000));
        pthread_join(helper.thread, NULL);
    }
    redlock_lease_free(helper.lease);
}

static void four_threads(struct run *run)
{
    struct helper helpers[4] = { 0 };

    ready(run);
    for (int i = 0; i < 4; i++) {
        helpers[i].run = run;
        start(&helpers[i], lock_beside);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(helpers[i].thread, NULL);
}

static void extend_twice(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, 30000, 0);
    if (lease != NULL) {
        TRY(redlock_extend, lease, TTL_MS);
        TRY(redlock_extend, lease, TTL_MS);
    }
    give_back(run, lease);
}

static void extend_what_is_lost(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    strangers(run, false, NULL);
    if (lease != NULL && TRY(redlock_extend, lease, TTL_MS) == REDLOCK_OK)
        wrong(run, "a lost lease was extended");
    give_back(run, lease);
}

static void unlock_without_waiting(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    if (lease != NULL)
        CALL(redlock_unlock_nowait, lease);
    redlock_lease_free(lease);
}

static void fenced(struct run *run)
{
    redlock_request_t *made = request(run, TTL_MS, 300);
    redlock_lease_t *lease;

    redlock_request_set_fence(made, 1);
    ready(run);
    lease = take_by(run, made);
    if (lease != NULL && redlock_lease_fence(lease) == 0)
        wrong(run, "no fencing token");
    if (lease != NULL)
        TRY(redlock_extend, lease, TTL_MS);
    give_back(run, lease);
}

static void extends_itself(struct run *run)
{
    redlock_request_t *made = request(run, 150, 300);
    redlock_lease_t *lease;

    redlock_request_set_auto_extend(made, 1);
    ready(run);
    lease = take_by(run, made);
    cluster_sleep_ms(130);
    give_back(run, lease);
}

static void event_loop(struct run *run)
{
    redlock_request_t *made = request(run, TTL_MS, 300);
    redlock_lease_t *lease = NULL;

    ready(run);
    if (TRY(redlock_submit_lock, run->rl, made) == REDLOCK_OK)
        must_end(run, 1, &lease);
    if (lease != NULL && TRY(redlock_submit_extend, lease, TTL_MS + 1000, 2) == REDLOCK_OK)
        must_end(run, 1, NULL);
    if (TRY(redlock_submit_inspect, run->rl, run->resource, 3) == REDLOCK_OK)
        must_end(run, 1, NULL);
    if (lease != NULL && TRY(redlock_submit_unlock, lease, 4) == REDLOCK_OK)
        must_end(run, 1, NULL);
    redlock_lease_free(lease);
    redlock_request_free(made);
}

static void event_loop_extends(struct run *run)
{
    redlock_request_t *made = request(run, 150, 300);
    redlock_lease_t *lease = NULL;

    redlock_request_set_auto_extend(made, 1);
    ready(run);
    if (TRY(redlock_submit_lock, run->rl, made) == REDLOCK_OK)
        must_end(run, 1, &lease);
    drive(run, 1, 130, NULL);
    if (lease != NULL && TRY(redlock_submit_unlock, lease, 4) == REDLOCK_OK)
        must_end(run, 1, NULL);
    redlock_lease_free(lease);
    redlock_request_free(made);
}

static void event_loop_is_told_of_a_loss(struct run *run)
{
    redlock_request_t *made = request(run, TTL_MS, 300);
    redlock_lease_t *lease = NULL;

    ready(run);
    if (TRY(redlock_submit_lock, run->rl, made) == REDLOCK_OK)
        must_end(run, 1, &lease);
    drive(run, 1, 30, NULL);
    strangers(run, false, NULL);
    drive(run, 1, 60, NULL);
    if (lease != NULL && TRY(redlock_submit_unlock, lease, 4) == REDLOCK_OK)
        must_end(run, 1, NULL);
    redlock_lease_free(lease);
    redlock_request_free(made);
}

static void events_that_nobody_fetches(struct run *run)
{
    redlock_request_t *made = request(run, TTL_MS, 300);

    ready(run);
    TRY(redlock_submit_lock, run->rl, made);
    for (int i = 0; i < 10; i++) {
        CALL(redlock_process, run->rl);
        cluster_sleep_ms(2);
    }
    redlock_request_free(made);
    TRY(redlock_close, run->rl, 1, 500);
    run->is_short_lived = true;
}

static void inspect(struct run *run)
{
    redlock_inspection_t *inspection = NULL;
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    TRY(redlock_inspect, run->rl, run->resource, &inspection);
    redlock_inspection_free(inspection);
    give_back(run, lease);
}

static void by_token(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    if (lease != NULL) {
        TRY(redlock_extend_token, run->rl, run->resource, redlock_lease_token(lease, NULL), TTL_MS);
        TRY(redlock_unlock_token, run->rl, run->resource, redlock_lease_token(lease, NULL));
    }
    redlock_lease_free(lease);
}

static void by_token_without_waiting(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    if (lease != NULL)
        CALL(redlock_unlock_token_nowait, run->rl, run->resource, redlock_lease_token(lease, NULL));
    redlock_lease_free(lease);
}

static void canceller(struct run *run)
{
    struct helper helper = { .run = run, .after_ms = 10 };
    redlock_canceller_t *made = redlock_canceller_new();
    redlock_request_t *wish = request(run, TTL_MS, 1000);

    helper.canceller = made;
    strangers(run, true, "5000");
    ready(run);
    start(&helper, cancel_later);
    redlock_request_set_canceller(wish, made);
    give_back(run, take_by(run, wish));
    pthread_join(helper.thread, NULL);
    redlock_canceller_free(made);
    strangers(run, false, NULL);
}

static void cancel_by_tag(struct run *run)
{
    struct helper helper = { .run = run, .after_ms = 10 };
    redlock_request_t *wish = request(run, TTL_MS, 1000);

    strangers(run, true, "5000");
    ready(run);
    start(&helper, cancel_later);
    redlock_request_set_tag(wish, 7);
    give_back(run, take_by(run, wish));
    pthread_join(helper.thread, NULL);
    strangers(run, false, NULL);
}

static void wait_for_a_loss(struct run *run)
{
    struct helper helper = { .run = run, .after_ms = 10 };
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    start(&helper, delete_later);
    if (lease != NULL)
        CALL(redlock_lease_wait_lost, lease, 100);
    pthread_join(helper.thread, NULL);
    give_back(run, lease);
}

static void outlive_the_ttl(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, 40, 0);
    if (lease != NULL && CALL(redlock_lease_wait_lost, lease, 500) == REDLOCK_OK)
        wrong(run, "a lease outlives its ttl");
    give_back(run, lease);
}

static void close_and_wait(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, 500, 0);
    TRY(redlock_close, run->rl, 1, 500);
    redlock_lease_free(lease);
    run->is_short_lived = true;
}

static void close_at_once(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, 500, 0);
    TRY(redlock_close, run->rl, 1, 0);
    redlock_lease_free(lease);
    run->is_short_lived = true;
}

static void free_with_a_lease(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, 500, 0);
    redlock_free(run->rl);
    run->rl = NULL;
    redlock_lease_free(lease);
    run->is_short_lived = true;
}

static void a_token_of_ones_own(struct run *run)
{
    redlock_request_t *made = request(run, TTL_MS, 300);

    redlock_request_set_token_bytes(made, "my\0token", 8);
    ready(run);
    give_back(run, take_by(run, made));
}

static void tell_how_long_others_hold_it(struct run *run)
{
    redlock_request_t *made = request(run, TTL_MS, 0);

    redlock_request_set_report_remaining(made, 1);
    strangers(run, true, "5000");
    ready(run);
    give_back(run, take_by(run, made));
    strangers(run, false, NULL);
}

static void resp2_and_scripts(struct run *run)
{
    redlock_options_t *made = options();

    redlock_options_set_protocol(made, REDLOCK_PROTOCOL_RESP2);
    redlock_options_set_avoid_lua(made, 0);
    ready_with(run, made);
    give_back(run, take(run, TTL_MS, 0));
}

static void strict_guard(struct run *run)
{
    redlock_options_t *made = options();

    redlock_options_set_max_ttl_ms(made, 60000);
    redlock_options_set_restart_guard(made, REDLOCK_GUARD_STRICT);
    ready_with(run, made);
    give_back(run, take(run, 1000, 0));
}

static void connections_are_cut(struct run *run)
{
    redlock_lease_t *lease;

    ready(run);
    lease = take(run, TTL_MS, 0);
    for (int i = 0; i < NODES; i++)
        free(cluster_cli(servers[i], 0, "CLIENT", "KILL", "TYPE", "normal", NULL));
    if (lease != NULL)
        TRY(redlock_extend, lease, TTL_MS);
    give_back(run, lease);
}

static void counters(struct run *run)
{
    redlock_stats_t *stats = NULL;

    ready(run);
    give_back(run, take(run, TTL_MS, 0));
    TRY(redlock_stats, run->rl, &stats);
    redlock_stats_free(stats);
}

#define SCENARIO(name) { #name, name }
static const struct scenario scenarios[] = {
    SCENARIO(connect_and_wait), SCENARIO(connect_and_lock), SCENARIO(connect_by_name), SCENARIO(connect_by_unix_socket),
    SCENARIO(connect_by_tls), SCENARIO(tls_with_the_roots_of_the_system), SCENARIO(event_loop_from_the_start),
    SCENARIO(a_wrong_url), SCENARIO(one_node_is_down), SCENARIO(lock_and_unlock), SCENARIO(lock_that_is_held),
    SCENARIO(wait_in_vain), SCENARIO(wait_until_it_is_free), SCENARIO(wait_behind_a_thread), SCENARIO(four_threads),
    SCENARIO(extend_twice), SCENARIO(extend_what_is_lost), SCENARIO(unlock_without_waiting), SCENARIO(fenced),
    SCENARIO(extends_itself), SCENARIO(event_loop), SCENARIO(event_loop_extends),
    SCENARIO(event_loop_is_told_of_a_loss), SCENARIO(events_that_nobody_fetches), SCENARIO(inspect), SCENARIO(by_token),
    SCENARIO(by_token_without_waiting), SCENARIO(canceller), SCENARIO(cancel_by_tag), SCENARIO(wait_for_a_loss),
    SCENARIO(outlive_the_ttl), SCENARIO(close_and_wait), SCENARIO(close_at_once), SCENARIO(free_with_a_lease),
    SCENARIO(a_token_of_ones_own), SCENARIO(tell_how_long_others_hold_it), SCENARIO(resp2_and_scripts),
    SCENARIO(strict_guard), SCENARIO(connections_are_cut), SCENARIO(counters),
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* What fails, and how. timerfd_settime, clock_gettime and pthread_sigmask are not among it: with the arguments that the
 * library gives them the kernel has no way to fail. */
static const struct fault {
    const char *name;
    enum shim_kind kind;
    int errors[ERRORS_MAX];
} faults[] = {
    { "socket", SHIM_SOCKET, { EMFILE, ENOMEM } },
    { "connect", SHIM_CONNECT, { ECONNREFUSED, EADDRNOTAVAIL, EINTR, EAGAIN } },
    { "recv", SHIM_RECV, { EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, SHIM_SHORT, SHIM_END } },
    { "send", SHIM_SEND, { EINTR, EAGAIN, EPIPE, ECONNRESET, ENOMEM, SHIM_SHORT } },
    { "shutdown", SHIM_SHUTDOWN, { ENOTCONN } },
    { "setsockopt", SHIM_SETSOCKOPT, { ENOPROTOOPT } },
    { "getsockopt", SHIM_GETSOCKOPT, { ENOMEM } },
    { "getsockname", SHIM_GETNAME, { ENOBUFS } },
    { "ppoll", SHIM_PPOLL, { EINTR, ENOMEM } },
    { "epoll_create1", SHIM_EPOLL_CREATE, { EMFILE, ENOMEM } },
    { "epoll_ctl", SHIM_EPOLL_CTL, { ENOMEM, ENOSPC } },
    { "eventfd", SHIM_EVENTFD, { EMFILE, ENOMEM } },
    { "timerfd_create", SHIM_TIMERFD_CREATE, { EMFILE, ENOMEM } },
    { "read", SHIM_READ, { EINTR, EAGAIN } },
    { "write", SHIM_WRITE, { EAGAIN } },
    { "close", SHIM_CLOSE, { EINTR } },
    { "futex", SHIM_FUTEX, { EINTR, EAGAIN } },
    { "getaddrinfo", SHIM_GETADDRINFO, { EAI_AGAIN, EAI_MEMORY, EAI_NONAME, EMFILE } },
    { "pthread_create", SHIM_THREAD, { EAGAIN } },
    { "open", SHIM_OPEN, { EMFILE, ENOENT, EACCES } },
    { "file", SHIM_FILE, { EIO } },
    { "mmap", SHIM_MMAP, { ENOMEM } },
    { "getrandom", SHIM_GETRANDOM, { EINTR } },
};
enum { FAULTS = sizeof faults / sizeof *faults };

static const char *error_name(int error)
{
    return error == SHIM_SHORT ? "short" : error == SHIM_END ? "end" : error < 0 ? gai_strerror(error) : strerrorname_np(error);
}

/* One run */

static bool no_key_is_left(struct run *run)
{
    uint64_t end = cluster_now_ms() + GONE_MS * cluster_slowness();

    for (;;) {
        size_t keys = 0;

        for (int i = 0; i < NODES; i++)
            keys += cluster_has(servers[i], 0, run->resource);
        if (keys == 0)
            return true;
        if (cluster_now_ms() > end)
            return false;
        redlock_wait_ready(run->rl, 20, NULL);
        cluster_sleep_ms(5);
    }
}

/* Releases that are owed go with the next connection; blocking calls drive that. */
static void the_next_call_works(struct run *run)
{
    char resource[80];
    redlock_lease_t *lease = NULL;
    redlock_status_t status;

    snprintf(resource, sizeof resource, "%s-next", run->resource);
    redlock_wait_ready(run->rl, 1000, NULL);
    status = redlock_lock(run->rl, resource, 1000, NEXT_CALL_MS, &lease, NULL);
    if (status != REDLOCK_OK)
        wrong(run, "the next lock on the same handle fails");
    if (lease != NULL)
        redlock_unlock(lease, NULL);
    redlock_lease_free(lease);
    if (!no_key_is_left(run))
        wrong(run, "a key is left");
}

static void play(const struct scenario *scenario, struct run *run)
{
    static unsigned serial;

    memset(run, 0, sizeof *run);
    snprintf(run->resource, sizeof run->resource, "torture-%d-%u", (int)getpid(), serial++);
    scenario->play(run);
    progress->struck += shim_disarm() != 0;
    if (run->rl != NULL && !run->is_short_lived)
        the_next_call_works(run);
    redlock_free(run->rl);
}

static size_t settled(const char *of, size_t most)
{
    size_t count = fixture_entries(of);

    for (int i = 0; i < 400 && count > most; i++) {
        cluster_sleep_ms(5);
        count = fixture_entries(of);
    }
    return count;
}

static void move(void) { progress->moved_ms = cluster_now_ms(); }

/* A child's whole work: every number of call for one kind and error. Blocks that stay after a first run are caches; what
 * every repetition leaves more of is a leak. */
static void all_of(const struct scenario *scenario, const struct fault *fault, unsigned long step, bool verbose)
{
    struct run run;

    wanted = (struct shim_plan){ .kind = SHIM_KINDS };
    play(scenario, &run);
    size_t fds = fixture_entries("/proc/self/fd"), threads = settled("/proc/self/task", 1);
    for (int e = 0; e < ERRORS_MAX && fault->errors[e] != 0; e++) {
        for (unsigned long number = 1;; number += step) {
            wanted = (struct shim_plan){ .kind = fault->kind, .first = number, .count = 1, .error = fault->errors[e] };
            snprintf(progress->now, sizeof progress->now, "%s, %s %lu: %s", scenario->name, fault->name, number,
                     error_name(fault->errors[e]));
            size_t before = shim_live_blocks(), grew = 0, was = progress->struck;
            for (int i = 0; i < REPETITIONS; i++) {
                move();
                play(scenario, &run);
                if (run.what != NULL)
                    break;
                if (settled("/proc/self/fd", fds) > fds)
                    wrong(&run, "a descriptor is left");
                if (settled("/proc/self/task", threads) > threads)
                    wrong(&run, "a thread is left");
                if (run.what != NULL || shim_live_blocks() <= before)
                    break;
                grew++;
                before = shim_live_blocks();
            }
            if (grew == REPETITIONS)
                wrong(&run, "memory is left");
            progress->runs++;
            if (run.what != NULL) {
                progress->failed++;
                printf("FAILED: %s: %s (status %d)\n", progress->now, run.what, run.status);
                fds = fixture_entries("/proc/self/fd");
            } else if (verbose) {
                printf("%s -> %d in %lu ms\n", progress->now, run.status, (unsigned long)run.longest_ms);
            }
            fflush(stdout);
            if (progress->struck == was)
                break; /* the scenario ends before its n-th call of the kind */
        }
    }
}

/* Allocation failure: Rust's collections end the process (std::alloc::handle_alloc_error). What is demanded: an end by
 * SIGABRT behind that message or none at all, never a wild pointer, never a hang. */
static void allocation(const struct scenario *scenario, unsigned long number)
{
    struct run run;

    wanted = (struct shim_plan){ .kind = SHIM_ALLOCATION, .first = number, .count = 1, .error = ENOMEM };
    play(scenario, &run);
    _exit(run.what != NULL ? 1 : progress->struck == 0 ? 2 : 0);
}

static int in_child(void (*work)(void *), void *argument, const char **end)
{
    pid_t child;
    int status;

    fflush(stdout);
    move();
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(argument);
        fflush(stdout);
        _exit(0);
    }
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (cluster_now_ms() - progress->moved_ms > HANG_MS * cluster_slowness()) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            *end = "hangs";
            return -1;
        }
        cluster_sleep_ms(1);
    }
    *end = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : NULL;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

struct job { const struct scenario *scenario; const struct fault *fault; unsigned long step; bool verbose; };
static void job(void *argument)
{
    struct job *job = argument;
    all_of(job->scenario, job->fault, job->step, job->verbose);
}
static void allocation_job(void *argument)
{
    struct job *job = argument;

    /* The message of every abort. */
    if (!job->verbose)
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    allocation(job->scenario, job->step);
}

static void allocations(const struct scenario *scenario, unsigned long step, bool verbose)
{
    const char *end = NULL;

    for (unsigned long number = 1;; number += step) {
        progress->struck = 0;
        snprintf(progress->now, sizeof progress->now, "%s, allocation %lu", scenario->name, number);
        int code = in_child(allocation_job, &(struct job){ scenario, NULL, number, verbose }, &end);
        progress->runs++;
        if (code == 2)
            return;
        if (code == 0)
            progress->survived++;
        else if (code == 1000 + SIGABRT)
            progress->aborted++;
        else {
            progress->failed++;
            printf("FAILED: %s: %s (%d)\n", progress->now, end != NULL ? end : "wrong", code);
        }
    }
}

static void start_servers(void)
{
    const char *certificates = getenv("TORTURE_CERTIFICATES");

    if (mkdtemp(directory) == NULL)
        abort();
    if (certificates != NULL)
        snprintf(ca_file, sizeof ca_file, "%s/ca.pem", certificates);
    for (int i = 0; i < NODES; i++) {
        char socket_path[64], port[8], certificate[256], key[256];
        const char *arguments[16] = { "--unixsocket", socket_path, NULL };

        snprintf(socket_path, sizeof socket_path, "%s/%d", directory, i);
        if (certificates != NULL) {
            const char *tls[] = { "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
                                  "--tls-ca-cert-file", ca_file, "--tls-auth-clients", "no", NULL };
            snprintf(port, sizeof port, "%d", 32100 + ((int)getpid() * 3 + i) % 600);
            snprintf(certificate, sizeof certificate, "%s/server.pem", certificates);
            snprintf(key, sizeof key, "%s/server.key", certificates);
            memcpy(arguments + 2, tls, sizeof tls);
            snprintf(tls_urls[i], sizeof tls_urls[i], "rediss://127.0.0.1:%s", port);
        }
        servers[i] = cluster_start_with(1, arguments);
        snprintf(tcp_urls[i], sizeof tcp_urls[i], "%s", cluster_urls(servers[i])[0]);
        snprintf(name_urls[i], sizeof name_urls[i], "redis://localhost:%d", cluster_port(servers[i], 0));
        snprintf(unix_urls[i], sizeof unix_urls[i], "unix://%s", socket_path);
    }
}

static void end_servers(void)
{
    for (int i = 0; i < NODES; i++) {
        char path[64];

        cluster_end(servers[i]);
        snprintf(path, sizeof path, "%s/%d", directory, i);
        unlink(path);
    }
    rmdir(directory);
}

int main(int count, char **arguments)
{
    bool is_short = false, memory = false, verbose = false;
    const char *only_scenario = NULL, *only_kind = NULL;
    uint64_t began = cluster_now_ms();
    unsigned long pairs = 0;

    for (int i = 1; i < count; i++) {
        is_short |= strcmp(arguments[i], "--short") == 0;
        memory |= strcmp(arguments[i], "--allocations") == 0;
        verbose |= strcmp(arguments[i], "--verbose") == 0;
        if (strcmp(arguments[i], "--scenario") == 0 && i + 1 < count)
            only_scenario = arguments[++i];
        else if (strcmp(arguments[i], "--kind") == 0 && i + 1 < count)
            only_kind = arguments[++i];
    }
    unsetenv("LD_PRELOAD"); /* the servers go without the shim */
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    start_servers();
    for (int s = 0; s < SCENARIOS; s++) {
        if (only_scenario != NULL && strcmp(only_scenario, scenarios[s].name) != 0)
            continue;
        if (tls_urls[0][0] == '\0' && strstr(scenarios[s].name, "tls") != NULL) {
            printf("missing: openssl or a server with TLS, for %s\n", scenarios[s].name);
            continue;
        }
        if (memory) {
            allocations(&scenarios[s], is_short ? 97 : 1, verbose);
            continue;
        }
        for (int f = 0; f < FAULTS; f++) {
            const char *end = NULL;

            if (only_kind != NULL && strcmp(only_kind, faults[f].name) != 0)
                continue;
            /* The short form tries every kind of call with one scenario. */
            if (is_short && (s * FAULTS + f) % 40 != 0)
                continue;
            pairs++;
            struct job work = { &scenarios[s], &faults[f], is_short ? 13 : 1, verbose };
            if (in_child(job, &work, &end) != 0) {
                progress->failed++;
                printf("FAILED: %s: %s\n", progress->now, end != NULL ? end : "the program ended");
            }
        }
    }
    end_servers();
    if (memory)
        printf("%lu allocations failed: the process survived %lu and was aborted by %lu\n",
               progress->survived + progress->aborted, progress->survived, progress->aborted);
    else {
        printf("%d scenarios, %lu pairs of scenario and call, %lu faults; statuses:", SCENARIOS, pairs, progress->struck);
        for (int i = 0; i < 12; i++)
            if (progress->statuses[i] != 0)
                printf(" %s %lu", redlock_status_text(-i), progress->statuses[i]);
        printf("; %lu s\n", (unsigned long)(cluster_now_ms() - began) / 1000);
    }
    printf("%lu passed, %lu failed\n", progress->runs - progress->failed, progress->failed);
    return progress->failed != 0;
}
