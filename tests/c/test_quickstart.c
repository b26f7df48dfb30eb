/* The everyday calls, as a program that knows only redlock.h makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redlock.h"
#include "support/cluster.h"

struct fixture {
    cluster_t *cluster;
    redlock_t *rl;
};

/* A handle gives locks out as soon as a majority is connected; most tests here mean all nodes. In the blocking API
 * connections are made while somebody is inside a call. */
static bool reaches_all_nodes(redlock_t *rl, uint64_t timeout_ms)
{
    uint64_t end = cluster_now_ms() + timeout_ms * cluster_slowness();
    size_t nodes = redlock_node_count(rl), up = 0;

    while (up < nodes && cluster_now_ms() < end) {
        redlock_lease_t *lease = NULL;
        redlock_stats_t *stats = NULL;

        if (redlock_lock(rl, cluster_resource("warm-up"), 1000, 0, &lease, NULL) == REDLOCK_OK)
            redlock_unlock(lease, NULL);
        redlock_lease_free(lease);
        if (redlock_stats(rl, &stats, NULL) == REDLOCK_OK)
            for (size_t node = up = 0; node < nodes; node++)
                up += redlock_stats_node_is_up(stats, node) == 1;
        redlock_stats_free(stats);
    }
    return up == nodes;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    redlock_options_t *options = redlock_options_new();

    /* Under valgrind a healthy node may take longer than the default node timeout. */
    redlock_options_set_node_timeout_ms(options, 100 * cluster_slowness());
    f->cluster = cluster_start(5);
    if (redlock_new(cluster_urls(f->cluster), 5, options, &f->rl, NULL) != REDLOCK_OK)
        return -1;
    redlock_options_free(options);
    *state = f;
    return reaches_all_nodes(f->rl, 5000) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    redlock_free(f->rl);
    cluster_end(f->cluster);
    free(f);
    return 0;
}

static redlock_lease_t *take(struct fixture *f, const char *resource, uint64_t ttl_ms)
{
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;

    if (redlock_lock(f->rl, resource, ttl_ms, 5000, &lease, &error) != REDLOCK_OK)
        fail_msg("lock: %s", redlock_error_message(error));
    assert_non_null(lease);
    return lease;
}

static void a_lock_is_a_key_on_every_node_until_it_is_unlocked(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("orders/42");
    redlock_lease_t *lease = take(f, resource, 30000);
    size_t length = 0;
    const char *token = redlock_lease_token(lease, &length);
    char *value;

    assert_true(cluster_wait_holding(f->cluster, resource, 5, 1000));
    value = cluster_cli(f->cluster, 0, "GET", resource, NULL);
    assert_int_equal(strlen(value), length);
    assert_memory_equal(value, token, length);
    free(value);
    assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_HELD);
    assert_true(redlock_lease_node_count_held(lease) >= 3);
    assert_true(redlock_lease_remaining_ms(lease) > 0);
    assert_true(redlock_lease_remaining_ms(lease) < 30000);

    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_OK);
    assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_RELEASED);
    assert_true(redlock_lease_remaining_ms(lease) <= 0);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    redlock_lease_free(lease);
}

static void a_second_client_is_told_that_the_lock_is_held(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("held");
    redlock_lease_t *lease = take(f, resource, 30000), *untouched = (redlock_lease_t *)f;
    redlock_error_t *error = NULL;
    redlock_t *second = NULL;

    assert_int_equal(redlock_new(cluster_urls(f->cluster), 5, NULL, &second, NULL), REDLOCK_OK);
    assert_int_equal(redlock_wait_ready(second, 5000, NULL), REDLOCK_OK);
    assert_true(reaches_all_nodes(second, 5000));
    assert_int_equal(redlock_lock(second, resource, 30000, 0, &untouched, &error), REDLOCK_E_NOT_ACQUIRED);
    assert_ptr_equal(untouched, f);
    assert_int_equal(redlock_error_code(error), REDLOCK_E_NOT_ACQUIRED);
    assert_non_null(strstr(redlock_error_message(error), "held"));
    assert_int_equal(redlock_error_node_count(error), 5);
    assert_non_null(strstr(redlock_error_node_url(error, 4), "redis://127.0.0.1:"));
    redlock_error_free(error);

    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_OK);
    redlock_lease_free(lease);
    lease = NULL;
    assert_int_equal(redlock_lock(second, resource, 30000, 5000, &lease, NULL), REDLOCK_OK);
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_OK);
    redlock_lease_free(lease);
    redlock_free(second);
}

static void a_killed_and_a_stopped_node_of_five_do_not_matter(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("minority");
    redlock_lease_t *lease = take(f, resource, 30000);

    assert_true(cluster_wait_holding(f->cluster, resource, 5, 1000));
    cluster_kill(f->cluster, 0);
    cluster_stop(f->cluster, 1);
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_OK);
    redlock_lease_free(lease);
    lease = take(f, resource, 30000);
    assert_int_equal(redlock_lease_node_count_held(lease), 3);
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_OK);
    redlock_lease_free(lease);
    cluster_cont(f->cluster, 1);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
}

static void too_few_nodes_are_not_reported_as_held(void **state)
{
    struct fixture *f = *state;
    redlock_lease_t *lease = take(f, cluster_resource("before"), 30000);
    redlock_error_t *error = NULL;

    redlock_unlock(lease, NULL);
    redlock_lease_free(lease);
    for (size_t node = 0; node < 3; node++)
        cluster_kill(f->cluster, node);
    lease = NULL;
    assert_int_equal(redlock_lock(f->rl, cluster_resource("too-few"), 30000, 0, &lease, &error), REDLOCK_E_NO_QUORUM);
    assert_null(lease);
    assert_non_null(redlock_error_message(error));
    redlock_error_free(error);
}

static void unlocking_twice_harms_nobody(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("twice");
    redlock_lease_t *first = take(f, resource, 30000), *second;

    assert_int_equal(redlock_unlock(first, NULL), REDLOCK_OK);
    second = take(f, resource, 30000);
    redlock_unlock(first, NULL);
    assert_true(cluster_wait_holding(f->cluster, resource, 5, 1000));
    assert_int_equal(redlock_lease_state(second), REDLOCK_LEASE_HELD);
    assert_int_equal(redlock_unlock(second, NULL), REDLOCK_OK);
    redlock_lease_free(first);
    redlock_lease_free(second);
}

static void every_status_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (redlock_status_t one = REDLOCK_E_INTERNAL; one <= REDLOCK_OK; one++) {
        assert_true(strlen(redlock_status_text(one)) > 0);
        for (redlock_status_t other = REDLOCK_E_INTERNAL; other < one; other++)
            assert_string_not_equal(redlock_status_text(one), redlock_status_text(other));
    }
}

static void the_header_is_that_of_the_library(void **state)
{
    (void)state;
    assert_int_equal(redlock_version_number(), REDLOCK_VERSION_NUMBER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lock_is_a_key_on_every_node_until_it_is_unlocked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_client_is_told_that_the_lock_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_and_a_stopped_node_of_five_do_not_matter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_few_nodes_are_not_reported_as_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unlocking_twice_harms_nobody, set_up, tear_down),
        cmocka_unit_test(every_status_has_a_text_of_its_own),
        cmocka_unit_test(the_header_is_that_of_the_library),
    };

    return cmocka_run_group_tests_name("quickstart", tests, NULL, NULL);
}
