/* Signals: a handler that runs ends a wait, or does not, as the options say; nothing raises SIGPIPE. */
#define _GNU_SOURCE
#include "support/fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

static atomic_int handled;

static void count(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static void handle_alarms(int flags)
{
    struct sigaction action = { .sa_handler = count, .sa_flags = flags };

    atomic_store(&handled, 0);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
}

static void alarm_in_ms(uint64_t ms, uint64_t again_ms)
{
    struct itimerval timer = { { (time_t)(again_ms / 1000), (suseconds_t)(again_ms % 1000) * 1000 },
                               { (time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000 } };

    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* A wait for a lock that somebody else holds, ended by a signal. */
static void expect_interruption(struct fixture *f, int flags)
{
    const char *resource = cluster_resource("interrupted");
    redlock_t *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *held = fixture_take(other, resource, 60000), *lease = NULL;
    redlock_error_t *error = NULL;
    uint64_t begin = cluster_now_ms();

    handle_alarms(flags);
    alarm_in_ms(100 * cluster_slowness(), 0);
    assert_int_equal(redlock_lock(f->rl, resource, 60000, -1, &lease, &error), REDLOCK_E_INTERRUPTED);
    assert_null(lease);
    assert_int_equal(redlock_error_code(error), REDLOCK_E_INTERRUPTED);
    redlock_error_free(error);
    assert_true(handled >= 1);
    assert_true(cluster_now_ms() - begin < 2000 * cluster_slowness());
    fixture_release(held);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    redlock_free(other);
}

static void a_signal_handler_ends_a_wait_and_no_key_is_left(void **state)
{
    expect_interruption(*state, 0);
}

static void a_signal_handler_ends_a_wait_also_where_system_calls_are_restarted(void **state)
{
    expect_interruption(*state, SA_RESTART);
}

static void a_signal_handler_ends_the_wait_for_the_nodes(void **state)
{
    const char *const nowhere[] = { "redis://127.0.0.1:1", "redis://127.0.0.1:2", "redis://127.0.0.1:3" };
    redlock_t *rl = NULL;

    (void)state;
    OK(redlock_new(nowhere, 3, NULL, &rl, NULL));
    handle_alarms(0);
    alarm_in_ms(100, 0);
    assert_int_equal(redlock_wait_ready(rl, -1, NULL), REDLOCK_E_INTERRUPTED);
    redlock_free(rl);
}

static void where_waits_are_not_interruptible_they_go_on(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("steady");
    redlock_lease_t *held = fixture_take(f->rl, resource, 60000), *lease = NULL;
    redlock_options_t *options = fixture_options();
    redlock_error_t *error = NULL;
    uint64_t begin;
    redlock_t *rl;

    redlock_options_set_interruptible(options, 0);
    rl = fixture_handle(f->cluster, options);
    handle_alarms(0);
    alarm_in_ms(20, 20);
    begin = cluster_now_ms();
    assert_int_equal(redlock_lock(rl, resource, 60000, 500, &lease, &error), REDLOCK_E_NOT_ACQUIRED);
    assert_true(cluster_now_ms() - begin >= 490);
    alarm_in_ms(0, 0);
    assert_true(handled >= 2);
    redlock_error_free(error);
    fixture_release(held);
    redlock_free(rl);
}

struct follower {
    redlock_t *rl;
    const char *resource;
    redlock_status_t status;
    atomic_bool is_back;
};

static void *wait_without_limit(void *argument)
{
    struct follower *follower = argument;
    redlock_lease_t *lease = NULL;

    follower->status = redlock_lock(follower->rl, follower->resource, 60000, -1, &lease, NULL);
    redlock_lease_free(lease);
    atomic_store(&follower->is_back, true);
    return NULL;
}

static void a_signal_ends_the_wait_of_the_thread_it_hits_and_of_no_other(void **state)
{
    enum { FOLLOWERS = 4 };
    struct fixture *f = *state;
    const char *resource = cluster_resource("aimed");
    redlock_lease_t *held = fixture_take(f->rl, resource, 60000);
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    struct follower followers[FOLLOWERS];
    pthread_t threads[FOLLOWERS];

    handle_alarms(SA_RESTART);
    for (int i = 0; i < FOLLOWERS; i++) {
        followers[i] = (struct follower){ .rl = rl, .resource = resource };
        pthread_create(&threads[i], NULL, wait_without_limit, &followers[i]);
        cluster_sleep_ms(20 * cluster_slowness());
    }
    /* The first leads, the others sleep on words of their own; hit each in turn, the leader in the middle. */
    for (int turn = 0; turn < FOLLOWERS; turn++) {
        int hit = (turn + 2) % FOLLOWERS;

        pthread_kill(threads[hit], SIGALRM);
        pthread_join(threads[hit], NULL);
        assert_int_equal(followers[hit].status, REDLOCK_E_INTERRUPTED);
        cluster_sleep_ms(50);
        for (int later = turn + 1; later < FOLLOWERS; later++)
            assert_false(atomic_load(&followers[(later + 2) % FOLLOWERS].is_back));
    }
    fixture_release(held);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    redlock_free(rl);
}

static void steps_that_do_not_wait_for_others_finish_under_a_rain_of_signals(void **state)
{
    struct fixture *f = *state;

    handle_alarms(0);
    alarm_in_ms(1, cluster_slowness() > 1 ? 20 : 1);
    for (int i = 0; i < 200; i++) {
        const char *resource = cluster_resource("rain");
        redlock_lease_t *lease = NULL;
        redlock_error_t *error = NULL;
        redlock_status_t status = redlock_lock(f->rl, resource, 60000, 1000, &lease, &error);

        if (status == REDLOCK_E_INTERRUPTED) {
            redlock_error_free(error);
            continue;
        }
        OK(status);
        OK(redlock_extend(lease, 70000, NULL));
        OK(redlock_unlock(lease, NULL));
        redlock_lease_free(lease);
    }
    alarm_in_ms(0, 0);
}

static void a_killed_server_raises_no_sigpipe(void **state)
{
    /* A cluster of its own, also for the child: servers end with whoever started them. */
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        cluster_t *cluster = cluster_start(5);
        redlock_t *rl = fixture_handle(cluster, NULL);

        signal(SIGPIPE, SIG_DFL);
        for (int round = 0; round < 10; round++) {
            redlock_lease_t *lease = NULL;

            if (redlock_lock(rl, cluster_resource("pipe"), 60000, 2000, &lease, NULL) != REDLOCK_OK)
                _exit(1);
            cluster_kill(cluster, 0);
            cluster_kill(cluster, 1);
            /* The first write finds the end of the connection, one after it would raise the signal. */
            if (redlock_extend(lease, 70000, NULL) != REDLOCK_OK || redlock_unlock(lease, NULL) != REDLOCK_OK)
                _exit(2);
            redlock_lease_free(lease);
            cluster_restart(cluster, 0);
            cluster_restart(cluster, 1);
        }
        for (size_t node = 0; node < 5; node++)
            cluster_kill(cluster, node);
        redlock_unlock_token(rl, "r", "t", NULL);
        redlock_free(rl);
        cluster_end(cluster);
        _exit(0);
    }
    assert_int_equal(fixture_exit_code(child), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_handler_ends_a_wait_and_no_key_is_left),
        cmocka_unit_test(a_signal_handler_ends_a_wait_also_where_system_calls_are_restarted),
        cmocka_unit_test(a_signal_handler_ends_the_wait_for_the_nodes),
        cmocka_unit_test(where_waits_are_not_interruptible_they_go_on),
        cmocka_unit_test(a_signal_ends_the_wait_of_the_thread_it_hits_and_of_no_other),
        cmocka_unit_test(steps_that_do_not_wait_for_others_finish_under_a_rain_of_signals),
        cmocka_unit_test(a_killed_server_raises_no_sigpipe),
    };

    return cmocka_run_group_tests_name("signals", tests, fixture_set_up, fixture_tear_down);
}
