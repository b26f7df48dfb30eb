/* Forked children: what belongs to the parent is refused, never touched, and never waited for.
 *
 * valgrind-options: --leak-check=no: a child must not free what its parent's threads may have been changing */
#define _GNU_SOURCE
#include "support/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

/* In a child: cmocka's assertions would run the parent's tests on. The exit code is the line that failed. */
#define CHILD_EXPECTS(condition)              \
    do {                                      \
        if (!(condition))                     \
            _exit(1 + __LINE__ % 250);        \
    } while (0)

/* A child that hangs is ended by this. */
static pid_t fork_with_alarm(void)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        alarm((unsigned)(10 * cluster_slowness()));
    return child;
}

static void expect_forked_everywhere(const struct fixture *f, redlock_lease_t *lease, const char *resource)
{
    redlock_error_t *error = NULL;
    redlock_lease_t *other = NULL;
    redlock_inspection_t *inspect = NULL;
    redlock_stats_t *stats = NULL;

    CHILD_EXPECTS(redlock_unlock(lease, &error) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_error_code(error) == REDLOCK_E_FORKED);
    redlock_error_free(error);
    CHILD_EXPECTS(redlock_extend(lease, 60000, NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_lock(f->rl, "other", 1000, -1, &other, NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_unlock_token(f->rl, resource, redlock_lease_token(lease, NULL), NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_extend_token(f->rl, resource, "t", 1000, NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_inspect(f->rl, resource, &inspect, NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_stats(f->rl, &stats, NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_wait_ready(f->rl, -1, NULL) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_cancel(f->rl, 1) == REDLOCK_E_FORKED);
    CHILD_EXPECTS(redlock_node_count(f->rl) == FIXTURE_NODES);
    CHILD_EXPECTS(other == NULL && inspect == NULL && stats == NULL);
}

static void the_child_of_a_holder_cannot_release_what_its_parent_holds(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("holder");
    redlock_lease_t *lease = fixture_take(f->rl, resource, 60000);
    pid_t child = fork_with_alarm();

    if (child == 0) {
        expect_forked_everywhere(f, lease, resource);
        redlock_lease_free(lease);
        redlock_free(f->rl);
        _exit(0);
    }
    assert_int_equal(fixture_exit_code(child), 0);
    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 1000));
    assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_HELD);
    OK(redlock_extend(lease, 70000, NULL));
    fixture_release(lease);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
}

static void freeing_in_the_child_closes_its_descriptors_and_tells_no_server(void **state)
{
    struct fixture *f = *state;
    size_t before = fixture_entries("/proc/self/fd"), ours;
    redlock_options_t *options = fixture_options();
    redlock_lease_t *lease;
    redlock_t *rl;
    pid_t child;

    redlock_options_set_client_name(options, "forker");
    rl = fixture_handle(f->cluster, options);
    lease = fixture_take(rl, cluster_resource("close"), 60000);
    ours = fixture_entries("/proc/self/fd");
    assert_true(ours > before);
    child = fork_with_alarm();
    if (child == 0) {
        size_t inherited = fixture_entries("/proc/self/fd");

        redlock_free(rl);
        redlock_lease_free(lease);
        CHILD_EXPECTS(inherited - fixture_entries("/proc/self/fd") == ours - before);
        _exit(0);
    }
    assert_int_equal(fixture_exit_code(child), 0);
    for (size_t node = 0; node < FIXTURE_NODES; node++)
        assert_int_equal(fixture_connections(f->cluster, node, "forker"), 1);
    fixture_release(lease);
    redlock_free(rl);
}

static void a_new_handle_in_the_child_works_beside_the_parents(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("fresh");
    redlock_lease_t *lease = fixture_take(f->rl, resource, 60000), *refused = NULL;
    char token[64];
    int pipe_fds[2];
    pid_t child;

    assert_int_equal(pipe(pipe_fds), 0);
    child = fork_with_alarm();
    if (child == 0) {
        redlock_t *rl = NULL;
        redlock_lease_t *own = NULL;
        redlock_options_t *options = fixture_options();
        const char *text;

        redlock_free(f->rl);
        CHILD_EXPECTS(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &rl, NULL) == REDLOCK_OK);
        CHILD_EXPECTS(redlock_lock(rl, resource, 60000, 0, &own, NULL) == REDLOCK_E_NOT_ACQUIRED);
        CHILD_EXPECTS(redlock_lock(rl, "of the child", 60000, 0, &own, NULL) == REDLOCK_OK);
        text = redlock_lease_token(own, NULL);
        CHILD_EXPECTS(write(pipe_fds[1], text, strlen(text)) == (ssize_t)strlen(text));
        CHILD_EXPECTS(redlock_unlock(own, NULL) == REDLOCK_OK);
        redlock_lease_free(own);
        redlock_lease_free(lease);
        redlock_free(rl);
        _exit(0);
    }
    assert_int_equal(fixture_exit_code(child), 0);
    memset(token, 0, sizeof token);
    assert_true(read(pipe_fds[0], token, sizeof token - 1) > 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    /* Randomness that was copied by the fork would give the parent the child's token now. */
    for (int i = 0; i < 3; i++) {
        refused = fixture_take(f->rl, cluster_resource("random"), 60000);
        assert_string_not_equal(redlock_lease_token(refused, NULL), token);
        fixture_release(refused);
    }
    fixture_release(lease);
}

struct churn {
    redlock_t *rl;
    atomic_bool is_over;
    atomic_int failures;
    char resource[160];
};

static void *take_and_give_back(void *argument)
{
    struct churn *churn = argument;

    while (!atomic_load(&churn->is_over)) {
        redlock_lease_t *lease = NULL;

        if (redlock_lock(churn->rl, churn->resource, 60000, -1, &lease, NULL) != REDLOCK_OK ||
            redlock_unlock(lease, NULL) != REDLOCK_OK)
            atomic_fetch_add(&churn->failures, 1);
        redlock_lease_free(lease);
    }
    return NULL;
}

static void a_child_never_hangs_whatever_the_parents_threads_were_doing(void **state)
{
    enum { THREADS = 6, FORKS = 200 };
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    struct churn churns[THREADS];
    int forks = cluster_slowness() > 1 ? FORKS / 10 : FORKS;

    for (int i = 0; i < THREADS; i++) {
        churns[i].rl = f->rl;
        atomic_init(&churns[i].is_over, false);
        atomic_init(&churns[i].failures, 0);
        /* Some contend with each other, some do not. */
        snprintf(churns[i].resource, sizeof churns[i].resource, "churn-%d", i / 2);
        pthread_create(&threads[i], NULL, take_and_give_back, &churns[i]);
    }
    for (int i = 0; i < forks; i++) {
        redlock_lease_t *lease = fixture_take(f->rl, "held across the fork", 60000);
        pid_t child = fork_with_alarm();

        if (child == 0) {
            redlock_t *rl = NULL;
            redlock_lease_t *own = NULL;

            expect_forked_everywhere(f, lease, "held across the fork");
            redlock_lease_free(lease);
            redlock_free(f->rl);
            if (i % 4 == 0) {
                redlock_options_t *options = fixture_options();

                CHILD_EXPECTS(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &rl, NULL) == REDLOCK_OK);
                CHILD_EXPECTS(redlock_lock(rl, "of the child", 60000, 5000, &own, NULL) == REDLOCK_OK);
                CHILD_EXPECTS(redlock_unlock(own, NULL) == REDLOCK_OK);
                redlock_free(rl);
                redlock_lease_free(own);
            }
            _exit(0);
        }
        assert_int_equal(fixture_exit_code(child), 0);
        fixture_release(lease);
    }
    for (int i = 0; i < THREADS; i++)
        atomic_store(&churns[i].is_over, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(churns[i].failures, 0);
    }
}

static void freeing_in_the_child_of_a_waiter_closes_the_descriptors_too(void **state)
{
    struct fixture *f = *state;
    size_t before = fixture_entries("/proc/self/fd"), ours;
    const char *resource = cluster_resource("waiter");
    redlock_lease_t *held = fixture_take(f->rl, resource, 60000);
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    struct churn churn = { .rl = rl };
    pthread_t thread;
    pid_t child;

    strcpy(churn.resource, resource);
    pthread_create(&thread, NULL, take_and_give_back, &churn);
    cluster_sleep_ms(50 * cluster_slowness());
    ours = fixture_entries("/proc/self/fd");
    child = fork_with_alarm();
    if (child == 0) {
        size_t inherited = fixture_entries("/proc/self/fd");

        redlock_free(rl);
        CHILD_EXPECTS(inherited - fixture_entries("/proc/self/fd") == ours - before);
        _exit(0);
    }
    assert_int_equal(fixture_exit_code(child), 0);
    atomic_store(&churn.is_over, true);
    fixture_release(held);
    pthread_join(thread, NULL);
    assert_int_equal(churn.failures, 0);
    redlock_free(rl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_child_of_a_holder_cannot_release_what_its_parent_holds),
        cmocka_unit_test(freeing_in_the_child_closes_its_descriptors_and_tells_no_server),
        cmocka_unit_test(a_new_handle_in_the_child_works_beside_the_parents),
        cmocka_unit_test(a_child_never_hangs_whatever_the_parents_threads_were_doing),
        cmocka_unit_test(freeing_in_the_child_of_a_waiter_closes_the_descriptors_too),
    };

    return cmocka_run_group_tests_name("fork", tests, fixture_set_up, fixture_tear_down);
}
