/* Locks by token, inspection, requests, waiting for the nodes, counters. */
#include "support/fixture.h"

#include <limits.h>
#include <time.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

/* The shortest life that the key has on any node. */
static long shortest_life_ms(const struct fixture *f, const char *resource)
{
    long shortest = LONG_MAX;

    for (size_t node = 0; node < FIXTURE_NODES; node++) {
        char *left = cluster_cli(f->cluster, node, "PTTL", resource, NULL);

        shortest = atol(left) < shortest ? atol(left) : shortest;
        free(left);
    }
    return shortest;
}

static void another_process_can_extend_and_release_by_token(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("handed-over");
    redlock_t *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *lease = fixture_take(f->rl, resource, 10000);
    const char *token = redlock_lease_token(lease, NULL);
    redlock_error_t *error = NULL;

    assert_int_equal(redlock_extend_token(other, resource, "wrong", 60000, &error), REDLOCK_E_LOST);
    assert_int_equal(redlock_error_code(error), REDLOCK_E_LOST);
    redlock_error_free(error);
    assert_int_equal(redlock_unlock_token(other, resource, "wrong", NULL), REDLOCK_E_LOST);
    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 1000));
    OK(redlock_extend_token(other, resource, token, 60000, NULL));
    for (int i = 0; i < 200 && shortest_life_ms(f, resource) <= 50000; i++)
        cluster_sleep_ms(10);
    /* It says how long the lock lasts at least: the holder may count on more. */
    OK(redlock_extend_token(other, resource, token, 1000, NULL));
    cluster_sleep_ms(100);
    assert_in_range(shortest_life_ms(f, resource), 50000, 60000);
    OK(redlock_unlock_token(other, resource, token, NULL));
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    assert_int_equal(redlock_unlock_token(other, resource, token, NULL), REDLOCK_E_LOST);
    assert_int_equal(redlock_extend_token(other, resource, token, 60000, NULL), REDLOCK_E_LOST);
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_E_LOST);
    redlock_lease_free(lease);
    redlock_free(other);
}

static void resources_and_tokens_may_hold_any_bytes(void **state)
{
    static const char resource[] = "a\0b\r\n\xff", token[] = "t\0\r\n\xfe";
    struct fixture *f = *state;
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *lease = NULL;
    redlock_inspection_t *inspect = NULL;
    size_t length = 0;

    OK(redlock_request_set_resource_bytes(request, resource, sizeof resource));
    OK(redlock_request_set_token_bytes(request, token, sizeof token));
    OK(redlock_request_set_ttl_ms(request, 30000));
    OK(redlock_lock_request(f->rl, request, &lease, NULL));
    assert_memory_equal(redlock_lease_resource(lease, &length), resource, sizeof resource);
    assert_int_equal(length, sizeof resource);
    assert_memory_equal(redlock_lease_token(lease, &length), token, sizeof token);
    assert_int_equal(length, sizeof token);
    assert_int_equal(redlock_lease_token(lease, NULL)[length], '\0');

    OK(redlock_inspect_bytes(f->rl, resource, sizeof resource, &inspect, NULL));
    assert_int_equal(redlock_inspection_is_held(inspect), 1);
    assert_memory_equal(redlock_inspection_token(inspect, &length), token, sizeof token);
    assert_int_equal(length, sizeof token);
    redlock_inspection_free(inspect);
    /* What ends at the first NUL is another lock. */
    OK(redlock_inspect(f->rl, resource, &inspect, NULL));
    assert_int_equal(redlock_inspection_is_held(inspect), 0);
    redlock_inspection_free(inspect);
    assert_int_equal(redlock_unlock_token_bytes(f->rl, resource, sizeof resource, token, 1, NULL), REDLOCK_E_LOST);
    OK(redlock_extend_token_bytes(f->rl, resource, sizeof resource, token, sizeof token, 40000, NULL));
    OK(redlock_unlock_token_bytes(f->rl, resource, sizeof resource, token, sizeof token, NULL));
    redlock_lease_free(lease);
    redlock_request_free(request);
}

static void a_resource_of_a_mebibyte_can_be_locked(void **state)
{
    struct fixture *f = *state;
    size_t size = 1 << 20;
    char *resource = malloc(size);
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;

    memset(resource, 'r', size);
    OK(redlock_request_set_resource_bytes(request, resource, size));
    OK(redlock_request_set_ttl_ms(request, 30000));
    if (redlock_lock_request(f->rl, request, &lease, &error) != REDLOCK_OK)
        fail_msg("%s", redlock_error_message(error));
    OK(redlock_extend(lease, 40000, NULL));
    fixture_release(lease);
    redlock_request_free(request);
    free(resource);
}

static void a_request_is_reusable_and_makes_a_new_token_each_time(void **state)
{
    struct fixture *f = *state;
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *first = NULL, *second = NULL, *refused = NULL;

    OK(redlock_request_set_resource(request, cluster_resource("reused")));
    OK(redlock_request_set_ttl_ms(request, 30000));
    OK(redlock_lock_request(f->rl, request, &first, NULL));
    assert_int_equal(redlock_lock_request(f->rl, request, &refused, NULL), REDLOCK_E_NOT_ACQUIRED);
    OK(redlock_unlock(first, NULL));
    OK(redlock_lock_request(f->rl, request, &second, NULL));
    assert_string_not_equal(redlock_lease_token(first, NULL), redlock_lease_token(second, NULL));
    redlock_lease_free(first);
    fixture_release(second);
    redlock_request_free(request);
}

static void retries_end_a_wait_before_its_time(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("retries");
    redlock_lease_t *held = fixture_take(f->rl, resource, 60000), *lease = NULL;
    redlock_request_t *request = redlock_request_new();
    redlock_options_t *options = fixture_options();
    redlock_stats_t *stats = NULL;
    redlock_t *rl;

    /* Where servers wake the waiters, the second attempt comes when the lock is free. */
    OK(redlock_options_set_wake(options, 0));
    OK(redlock_options_set_retry_delay_ms(options, 20));
    rl = fixture_handle(f->cluster, options);
    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 30000));
    OK(redlock_request_set_wait_ms(request, 600000));
    OK(redlock_request_set_retries(request, 2));
    assert_int_equal(redlock_lock_request(rl, request, &lease, NULL), REDLOCK_E_NOT_ACQUIRED);
    OK(redlock_stats(rl, &stats, NULL));
    assert_int_equal(redlock_stats_attempts(stats), 3);
    redlock_stats_free(stats);
    OK(redlock_request_set_retries(request, REDLOCK_RETRIES_OF_HANDLE));
    OK(redlock_request_set_wait_ms(request, 50));
    assert_int_equal(redlock_lock_request(rl, request, &lease, NULL), REDLOCK_E_NOT_ACQUIRED);
    fixture_release(held);
    redlock_request_free(request);
    redlock_free(rl);
}

static void an_inspection_shows_the_holder_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("seen");
    redlock_lease_t *lease = fixture_take(f->rl, resource, 30000);
    redlock_inspection_t *inspect = NULL;
    size_t length = 0;

    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 1000));
    OK(redlock_inspect(f->rl, resource, &inspect, NULL));
    assert_int_equal(redlock_inspection_is_held(inspect), 1);
    assert_string_equal(redlock_inspection_token(inspect, &length), redlock_lease_token(lease, NULL));
    assert_int_equal(length, strlen(redlock_lease_token(lease, NULL)));
    assert_in_range(redlock_inspection_remaining_ms(inspect), 20000, 30000);
    assert_true(redlock_inspection_node_count_held(inspect) >= 3);
    assert_int_equal(redlock_inspection_node_count(inspect), FIXTURE_NODES);
    for (size_t node = 0; node < FIXTURE_NODES; node++) {
        assert_string_equal(redlock_inspection_node_url(inspect, node), redlock_node_url(f->rl, node));
        assert_true(strlen(redlock_inspection_node_text(inspect, node)) > 0);
        if (redlock_inspection_node_outcome(inspect, node) == REDLOCK_NODE_DONE) {
            assert_string_equal(redlock_inspection_node_token(inspect, node, NULL), redlock_lease_token(lease, NULL));
            assert_in_range(redlock_inspection_node_remaining_ms(inspect, node), 20000, 30000);
        }
    }
    assert_int_equal(redlock_inspection_node_outcome(inspect, FIXTURE_NODES), REDLOCK_NODE_NONE);
    assert_null(redlock_inspection_node_token(inspect, FIXTURE_NODES, &length));
    redlock_inspection_free(inspect);
    assert_int_equal(cluster_holding(f->cluster, resource), FIXTURE_NODES);
    fixture_release(lease);

    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    inspect = NULL;
    OK(redlock_inspect(f->rl, resource, &inspect, NULL));
    assert_int_equal(redlock_inspection_is_held(inspect), 0);
    assert_null(redlock_inspection_token(inspect, NULL));
    assert_int_equal(redlock_inspection_remaining_ms(inspect), 0);
    assert_int_equal(redlock_inspection_node_count_held(inspect), 0);
    redlock_inspection_free(inspect);
}

static void a_key_without_end_is_seen_as_such(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("endless");
    redlock_inspection_t *inspect = NULL;

    for (size_t node = 0; node < FIXTURE_NODES; node++)
        free(cluster_cli(f->cluster, node, "SET", resource, "somebody", NULL));
    OK(redlock_inspect(f->rl, resource, &inspect, NULL));
    assert_int_equal(redlock_inspection_is_held(inspect), 1);
    assert_string_equal(redlock_inspection_token(inspect, NULL), "somebody");
    assert_int_equal(redlock_inspection_remaining_ms(inspect), -1);
    redlock_inspection_free(inspect);
    OK(redlock_unlock_token(f->rl, resource, "somebody", NULL));
}

static void valid_until_is_a_moment_on_the_boot_clock(void **state)
{
    struct fixture *f = *state;
    redlock_lease_t *lease = fixture_take(f->rl, cluster_resource("until"), 30000);
    struct timespec now;
    int64_t left_ms, told_ms;

    clock_gettime(CLOCK_BOOTTIME, &now);
    left_ms = (int64_t)redlock_lease_valid_until_ns(lease) / 1000000 -
              ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    told_ms = redlock_lease_remaining_ms(lease);
    assert_in_range(left_ms, 20000, 30000);
    assert_true(llabs(left_ms - told_ms) < 200 * (int64_t)cluster_slowness());
    fixture_release(lease);
}

static void a_lease_whose_time_is_over_is_lost_for_good(void **state)
{
    struct fixture *f = *state;
    uint64_t ttl_ms = 150 * cluster_slowness();
    redlock_lease_t *lease = fixture_take(f->rl, cluster_resource("over"), ttl_ms);

    cluster_sleep_ms(ttl_ms + 50);
    assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_LOST);
    assert_true(redlock_lease_remaining_ms(lease) <= 0);
    assert_int_equal(redlock_lease_valid_until_ns(lease), 0);
    assert_int_equal(redlock_lease_node_count_held(lease), 0);
    assert_int_equal(redlock_extend(lease, 60000, NULL), REDLOCK_E_LOST);
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_E_LOST);
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_E_LOST);
    redlock_lease_free(lease);
}

static void counters_tell_what_was_done(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("counted");
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_lease_t *lease, *refused = NULL;
    redlock_stats_t *stats = NULL;

    for (int i = 0; i < 10; i++) {
        lease = fixture_take(rl, resource, 30000);
        OK(redlock_extend(lease, 40000, NULL));
        assert_int_equal(redlock_lock(rl, resource, 30000, 0, &refused, NULL), REDLOCK_E_NOT_ACQUIRED);
        fixture_release(lease);
    }
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    OK(redlock_stats(rl, &stats, NULL));
    assert_int_equal(redlock_stats_attempts(stats), 20);
    assert_int_equal(redlock_stats_acquired(stats), 10);
    assert_int_equal(redlock_stats_contended(stats), 10);
    assert_int_equal(redlock_stats_no_quorum(stats), 0);
    assert_int_equal(redlock_stats_released(stats), 10);
    assert_int_equal(redlock_stats_extended(stats), 10);
    assert_int_equal(redlock_stats_lost(stats), 0);
    assert_true(redlock_stats_acquire_ns_sum(stats) > 0);
    assert_true(redlock_stats_acquire_ns_sum(stats) < 10ull * 1000000000 * cluster_slowness());
    assert_int_equal(redlock_stats_node_count(stats), FIXTURE_NODES);
    for (size_t node = 0; node < FIXTURE_NODES; node++) {
        assert_string_equal(redlock_stats_node_url(stats, node), redlock_node_url(rl, node));
        assert_int_equal(redlock_stats_node_is_up(stats, node), 1);
        assert_true(redlock_stats_node_requests(stats, node) >= 40);
        assert_true(redlock_stats_node_replies(stats, node) <= redlock_stats_node_requests(stats, node));
        assert_true(redlock_stats_node_replies(stats, node) >= 10);
        assert_int_equal(redlock_stats_node_timeouts(stats, node), 0);
        assert_int_equal(redlock_stats_node_errors(stats, node), 0);
        assert_int_equal(redlock_stats_node_reconnects(stats, node), 0);
        assert_true(redlock_stats_node_latency_ns_sum(stats, node) > 0);
    }
    redlock_stats_free(stats);
    redlock_free(rl);
}

static void waiting_for_the_nodes_tells_which_are_missing(void **state)
{
    struct fixture *f = *state;
    const char *const *urls = cluster_urls(f->cluster);
    const char *some[3] = { urls[0], "redis://127.0.0.1:1", "redis://127.0.0.1:2" };
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;

    OK(redlock_wait_ready(f->rl, 0, NULL));
    OK(redlock_new(some, 3, NULL, &rl, NULL));
    assert_int_equal(redlock_wait_ready(rl, (int64_t)(200 * cluster_slowness()), &error), REDLOCK_E_NO_QUORUM);
    assert_int_equal(redlock_error_node_count(error), 3);
    assert_int_equal(redlock_error_node_outcome(error, 0), REDLOCK_NODE_DONE);
    assert_int_equal(redlock_error_node_outcome(error, 1), REDLOCK_NODE_UNREACHABLE);
    assert_non_null(strstr(redlock_error_message(error), "connection refused"));
    redlock_error_free(error);
    redlock_free(rl);
}

static void connections_and_scripts_that_the_server_drops_are_not_missed(void **state)
{
    struct fixture *f = *state;
    redlock_error_t *error = NULL;

    for (int i = 0; i < 5; i++) {
        redlock_lease_t *lease = fixture_take(f->rl, cluster_resource("dropped"), 30000);

        for (size_t node = 0; node < FIXTURE_NODES; node++) {
            free(cluster_cli(f->cluster, node, "SCRIPT", "FLUSH", NULL));
            free(cluster_cli(f->cluster, node, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
        }
        fixture_release(lease);
        for (size_t node = 0; node < FIXTURE_NODES; node++)
            free(cluster_cli(f->cluster, node, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
        /* Whether a connection has ended is looked at again after a millisecond. */
        cluster_sleep_ms(2);
        lease = NULL;
        if (redlock_lock(f->rl, cluster_resource("dropped"), 30000, 0, &lease, &error) != REDLOCK_OK)
            fail_msg("lock %d: %s", i, redlock_error_message(error));
        fixture_release(lease);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_process_can_extend_and_release_by_token),
        cmocka_unit_test(resources_and_tokens_may_hold_any_bytes),
        cmocka_unit_test(a_resource_of_a_mebibyte_can_be_locked),
        cmocka_unit_test(a_request_is_reusable_and_makes_a_new_token_each_time),
        cmocka_unit_test(retries_end_a_wait_before_its_time),
        cmocka_unit_test(an_inspection_shows_the_holder_and_changes_nothing),
        cmocka_unit_test(a_key_without_end_is_seen_as_such),
        cmocka_unit_test(valid_until_is_a_moment_on_the_boot_clock),
        cmocka_unit_test(a_lease_whose_time_is_over_is_lost_for_good),
        cmocka_unit_test(counters_tell_what_was_done),
        cmocka_unit_test(waiting_for_the_nodes_tells_which_are_missing),
        cmocka_unit_test(connections_and_scripts_that_the_server_drops_are_not_missed),
    };

    return cmocka_run_group_tests_name("tokens", tests, fixture_set_up, fixture_tear_down);
}
