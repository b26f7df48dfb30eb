/* Many threads on one handle: exclusion, one connection per node, one lease in many hands. */
#include "support/fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

enum { CROWD = 64, TURNS = 20 };

/* cmocka's assertions belong to the main thread: threads count their failures. */
struct crowd {
    redlock_t *rl;
    const char *resource;
    pthread_barrier_t barrier;
    atomic_int inside, violations, failures, successes, losses;
    /* Written under the lock only, in two steps that another holder would tear apart. */
    long counter;
    redlock_lease_t *lease;
};

static void run(size_t count, void *(*work)(void *), struct crowd *crowd)
{
    pthread_t threads[CROWD];

    pthread_barrier_init(&crowd->barrier, NULL, (unsigned)count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, crowd), 0);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crowd->barrier);
}

static void *count_under_lock(void *argument)
{
    struct crowd *crowd = argument;

    for (int turn = 0; turn < TURNS; turn++) {
        redlock_lease_t *lease = NULL;
        redlock_error_t *error = NULL;
        long seen;

        if (redlock_lock(crowd->rl, crowd->resource, 60000, -1, &lease, &error) != REDLOCK_OK) {
            fprintf(stderr, "lock: %s\n", redlock_error_message(error));
            redlock_error_free(error);
            atomic_fetch_add(&crowd->failures, 1);
            continue;
        }
        if (atomic_fetch_add(&crowd->inside, 1) != 0)
            atomic_fetch_add(&crowd->violations, 1);
        seen = crowd->counter;
        sched_yield();
        crowd->counter = seen + 1;
        atomic_fetch_sub(&crowd->inside, 1);
        if (redlock_unlock(lease, &error) != REDLOCK_OK) {
            fprintf(stderr, "unlock: %s\n", redlock_error_message(error));
            redlock_error_free(error);
            atomic_fetch_add(&crowd->failures, 1);
        }
        redlock_lease_free(lease);
    }
    return NULL;
}

static void sixty_four_threads_exclude_each_other_over_one_connection_per_node(void **state)
{
    struct fixture *f = *state;
    redlock_options_t *options = fixture_options();
    struct crowd crowd = { .resource = cluster_resource("crowd") };

    redlock_options_set_client_name(options, "crowd");
    crowd.rl = fixture_handle(f->cluster, options);
    run(CROWD, count_under_lock, &crowd);
    assert_int_equal(crowd.violations, 0);
    assert_int_equal(crowd.failures, 0);
    assert_int_equal(crowd.counter, CROWD * TURNS);
    for (size_t node = 0; node < FIXTURE_NODES; node++)
        assert_int_equal(fixture_connections(f->cluster, node, "crowd"), 1);
    assert_true(cluster_wait_holding(f->cluster, crowd.resource, 0, 1000));
    redlock_free(crowd.rl);
}

static void *take_resources_of_their_own(void *argument)
{
    static atomic_int serial;
    struct crowd *crowd = argument;
    char resource[160];

    for (int turn = 0; turn < TURNS; turn++) {
        redlock_lease_t *lease = NULL;
        redlock_error_t *error = NULL;

        snprintf(resource, sizeof resource, "%s-%d", crowd->resource, atomic_fetch_add(&serial, 1));
        if (redlock_lock(crowd->rl, resource, 60000, 0, &lease, &error) != REDLOCK_OK ||
            redlock_extend(lease, 70000, &error) != REDLOCK_OK || redlock_unlock(lease, &error) != REDLOCK_OK) {
            fprintf(stderr, "%s\n", redlock_error_message(error));
            redlock_error_free(error);
            atomic_fetch_add(&crowd->failures, 1);
        }
        redlock_lease_free(lease);
    }
    return NULL;
}

static void sixty_four_threads_with_resources_of_their_own_never_wait_for_each_other(void **state)
{
    struct fixture *f = *state;
    struct crowd crowd = { .rl = f->rl, .resource = cluster_resource("own") };

    run(CROWD, take_resources_of_their_own, &crowd);
    assert_int_equal(crowd.failures, 0);
}

static void *unlock_the_lease(void *argument)
{
    struct crowd *crowd = argument;
    redlock_status_t status;

    pthread_barrier_wait(&crowd->barrier);
    status = redlock_unlock(crowd->lease, NULL);
    atomic_fetch_add(status == REDLOCK_OK ? &crowd->successes
                     : status == REDLOCK_E_LOST ? &crowd->losses : &crowd->failures, 1);
    return NULL;
}

static void of_eight_threads_that_unlock_one_lease_exactly_one_succeeds(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 20; round++) {
        const char *resource = cluster_resource("shared");
        struct crowd crowd = { .rl = f->rl, .lease = fixture_take(f->rl, resource, 60000) };

        run(8, unlock_the_lease, &crowd);
        assert_int_equal(crowd.successes, 1);
        assert_int_equal(crowd.losses, 7);
        assert_int_equal(crowd.failures, 0);
        assert_int_equal(redlock_lease_state(crowd.lease), REDLOCK_LEASE_RELEASED);
        assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
        redlock_lease_free(crowd.lease);
    }
}

static void *do_everything(void *argument)
{
    struct crowd *crowd = argument;
    redlock_inspection_t *inspect = NULL;
    redlock_stats_t *stats = NULL;
    redlock_lease_t *lease = NULL;
    size_t length = 0;

    pthread_barrier_wait(&crowd->barrier);
    for (int turn = 0; turn < TURNS; turn++) {
        if (redlock_extend(crowd->lease, 60000, NULL) != REDLOCK_OK || redlock_lease_remaining_ms(crowd->lease) <= 0 ||
            redlock_lease_state(crowd->lease) != REDLOCK_LEASE_HELD || redlock_lease_valid_until_ns(crowd->lease) == 0 ||
            redlock_lease_token(crowd->lease, &length) == NULL || length == 0 ||
            redlock_lease_resource(crowd->lease, NULL) == NULL || redlock_lease_node_count_held(crowd->lease) < 3)
            atomic_fetch_add(&crowd->failures, 1);
        if (redlock_lock(crowd->rl, crowd->resource, 1000, 0, &lease, NULL) != REDLOCK_E_NOT_ACQUIRED)
            atomic_fetch_add(&crowd->violations, 1);
        if (redlock_inspect(crowd->rl, crowd->resource, &inspect, NULL) != REDLOCK_OK)
            atomic_fetch_add(&crowd->failures, 1);
        redlock_inspection_free(inspect);
        inspect = NULL;
        if (redlock_stats(crowd->rl, &stats, NULL) != REDLOCK_OK)
            atomic_fetch_add(&crowd->failures, 1);
        redlock_stats_free(stats);
        stats = NULL;
    }
    return NULL;
}

static void one_lease_may_be_asked_and_extended_by_many_threads(void **state)
{
    struct fixture *f = *state;
    struct crowd crowd = { .rl = f->rl, .resource = cluster_resource("busy") };

    crowd.lease = fixture_take(f->rl, crowd.resource, 60000);
    run(16, do_everything, &crowd);
    assert_int_equal(crowd.failures, 0);
    assert_int_equal(crowd.violations, 0);
    fixture_release(crowd.lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_four_threads_exclude_each_other_over_one_connection_per_node),
        cmocka_unit_test(sixty_four_threads_with_resources_of_their_own_never_wait_for_each_other),
        cmocka_unit_test(of_eight_threads_that_unlock_one_lease_exactly_one_succeeds),
        cmocka_unit_test(one_lease_may_be_asked_and_extended_by_many_threads),
    };

    return cmocka_run_group_tests_name("threads", tests, fixture_set_up, fixture_tear_down);
}
