/* Options: every setter's range, and that what was set is what happens. */
#include "support/fixture.h"

#include <stdio.h>

#define INVALID(call) assert_int_equal(call, REDLOCK_E_INVALID)
#define OK(call) assert_int_equal(call, REDLOCK_OK)

static void options_that_are_null_are_refused(void **state)
{
    (void)state;
    redlock_options_free(NULL);
    INVALID(redlock_options_set_node_timeout_ms(NULL, 100));
    INVALID(redlock_options_set_stall_timeout_ms(NULL, 100));
    INVALID(redlock_options_set_connect_timeout_ms(NULL, 100));
    INVALID(redlock_options_set_retry_count(NULL, 1));
    INVALID(redlock_options_set_retry_delay_ms(NULL, 1));
    INVALID(redlock_options_set_retry_jitter_ms(NULL, 1));
    INVALID(redlock_options_set_drift_ppm(NULL, 1));
    INVALID(redlock_options_set_key_prefix(NULL, "p"));
    INVALID(redlock_options_set_key_prefix_bytes(NULL, "p", 1));
    INVALID(redlock_options_set_max_ttl_ms(NULL, 1));
    INVALID(redlock_options_set_restart_guard(NULL, REDLOCK_GUARD_OFF));
    INVALID(redlock_options_set_wake(NULL, 1));
    INVALID(redlock_options_set_spin_us(NULL, 1));
    INVALID(redlock_options_set_interruptible(NULL, 1));
    INVALID(redlock_options_set_tls_ca_file(NULL, "f"));
    INVALID(redlock_options_set_tls_cert_file(NULL, "f"));
    INVALID(redlock_options_set_tls_key_file(NULL, "f"));
    INVALID(redlock_options_set_tls_insecure(NULL, 0));
    INVALID(redlock_options_set_username(NULL, "u"));
    INVALID(redlock_options_set_password(NULL, "p"));
    INVALID(redlock_options_set_client_name(NULL, "n"));
    INVALID(redlock_options_set_protocol(NULL, REDLOCK_PROTOCOL_AUTO));
    INVALID(redlock_options_set_avoid_lua(NULL, 1));
}

static void numbers_out_of_range_are_refused_by_their_setter(void **state)
{
    redlock_options_t *options = redlock_options_new();

    (void)state;
    INVALID(redlock_options_set_node_timeout_ms(options, 0));
    INVALID(redlock_options_set_node_timeout_ms(options, UINT64_MAX));
    INVALID(redlock_options_set_stall_timeout_ms(options, 0));
    INVALID(redlock_options_set_stall_timeout_ms(options, UINT64_MAX));
    INVALID(redlock_options_set_connect_timeout_ms(options, 0));
    INVALID(redlock_options_set_connect_timeout_ms(options, UINT64_MAX));
    INVALID(redlock_options_set_retry_count(options, -2));
    INVALID(redlock_options_set_retry_count(options, INT64_MIN));
    INVALID(redlock_options_set_retry_delay_ms(options, UINT64_MAX));
    INVALID(redlock_options_set_retry_jitter_ms(options, UINT64_MAX));
    INVALID(redlock_options_set_drift_ppm(options, 1000000));
    INVALID(redlock_options_set_key_prefix_bytes(options, NULL, 1));
    INVALID(redlock_options_set_max_ttl_ms(options, UINT64_MAX));
    INVALID(redlock_options_set_restart_guard(options, 3));
    INVALID(redlock_options_set_restart_guard(options, -1));
    INVALID(redlock_options_set_wake(options, 2));
    INVALID(redlock_options_set_spin_us(options, UINT32_MAX));
    INVALID(redlock_options_set_interruptible(options, -1));
    INVALID(redlock_options_set_tls_insecure(options, 2));
    INVALID(redlock_options_set_protocol(options, 1));
    INVALID(redlock_options_set_protocol(options, 4));
    INVALID(redlock_options_set_avoid_lua(options, 2));
    INVALID(redlock_options_set_username(options, "\xff"));
    INVALID(redlock_options_set_password(options, "\xff"));
    INVALID(redlock_options_set_client_name(options, "\xff"));
    redlock_options_free(options);
}

static void limits_and_null_strings_are_accepted(void **state)
{
    redlock_options_t *options = redlock_options_new();

    (void)state;
    OK(redlock_options_set_node_timeout_ms(options, 1));
    OK(redlock_options_set_stall_timeout_ms(options, 1));
    OK(redlock_options_set_connect_timeout_ms(options, 1));
    OK(redlock_options_set_retry_count(options, REDLOCK_NO_LIMIT));
    OK(redlock_options_set_retry_count(options, 0));
    OK(redlock_options_set_retry_count(options, INT64_MAX));
    OK(redlock_options_set_retry_delay_ms(options, 0));
    OK(redlock_options_set_retry_jitter_ms(options, 0));
    OK(redlock_options_set_drift_ppm(options, 0));
    OK(redlock_options_set_key_prefix(options, NULL));
    OK(redlock_options_set_key_prefix_bytes(options, NULL, 0));
    OK(redlock_options_set_max_ttl_ms(options, 0));
    OK(redlock_options_set_spin_us(options, 0));
    OK(redlock_options_set_tls_ca_file(options, NULL));
    OK(redlock_options_set_tls_cert_file(options, NULL));
    OK(redlock_options_set_tls_key_file(options, NULL));
    OK(redlock_options_set_username(options, NULL));
    OK(redlock_options_set_password(options, NULL));
    OK(redlock_options_set_client_name(options, NULL));
    redlock_options_free(options);
}

static void what_does_not_go_together_is_refused_by_the_handle(void **state)
{
    struct fixture *f = *state;
    redlock_options_t *options = redlock_options_new();
    redlock_t *rl = (redlock_t *)f;
    redlock_error_t *error = NULL;

    OK(redlock_options_set_tls_cert_file(options, "/nowhere/cert.pem"));
    INVALID(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &rl, &error));
    assert_non_null(strstr(redlock_error_message(error), "tls_key_file"));
    redlock_error_free(error);
    OK(redlock_options_set_tls_cert_file(options, NULL));
    OK(redlock_options_set_node_timeout_ms(options, 3000));
    INVALID(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &rl, &error));
    assert_non_null(strstr(redlock_error_message(error), "stall_timeout_ms"));
    redlock_error_free(error);
    assert_ptr_equal(rl, f);
    redlock_options_free(options);
}

static void the_prefix_stands_before_the_key_and_not_in_the_resource(void **state)
{
    struct fixture *f = *state;
    redlock_options_t *options = fixture_options();
    const char *resource = cluster_resource("prefixed");
    char key[200] = "app:";
    redlock_t *rl;
    redlock_lease_t *lease, *plain;

    OK(redlock_options_set_key_prefix(options, "app:"));
    rl = fixture_handle(f->cluster, options);
    lease = fixture_take(rl, resource, 30000);
    assert_true(cluster_wait_holding(f->cluster, strcat(key, resource), FIXTURE_NODES, 1000));
    assert_int_equal(cluster_holding(f->cluster, resource), 0);
    assert_string_equal(redlock_lease_resource(lease, NULL), resource);
    /* Another name, another lock. */
    plain = fixture_take(f->rl, resource, 30000);
    fixture_release(plain);
    OK(redlock_extend_token(rl, resource, redlock_lease_token(lease, NULL), 40000, NULL));
    assert_int_equal(redlock_unlock_token(f->rl, resource, redlock_lease_token(lease, NULL), NULL), REDLOCK_E_LOST);
    OK(redlock_unlock_token(rl, resource, redlock_lease_token(lease, NULL), NULL));
    assert_true(cluster_wait_holding(f->cluster, key, 0, 1000));
    redlock_lease_free(lease);
    redlock_free(rl);
}

static void a_ttl_beyond_the_longest_is_refused(void **state)
{
    struct fixture *f = *state;
    redlock_options_t *options = fixture_options();
    redlock_lease_t *lease = NULL;
    redlock_t *rl;

    OK(redlock_options_set_max_ttl_ms(options, 20000));
    rl = fixture_handle(f->cluster, options);
    INVALID(redlock_lock(rl, cluster_resource("longer"), 20001, 0, &lease, NULL));
    assert_null(lease);
    lease = fixture_take(rl, cluster_resource("longest"), 20000);
    INVALID(redlock_extend(lease, 20001, NULL));
    OK(redlock_extend(lease, 20000, NULL));
    fixture_release(lease);
    redlock_free(rl);
}

static void the_client_name_is_what_the_servers_list(void **state)
{
    struct fixture *f = *state;
    redlock_options_t *options = fixture_options();
    redlock_t *rl;

    OK(redlock_options_set_client_name(options, "billing"));
    rl = fixture_handle(f->cluster, options);
    fixture_release(fixture_take(rl, cluster_resource("named"), 30000));
    for (size_t node = 0; node < FIXTURE_NODES; node++)
        assert_int_equal(fixture_connections(f->cluster, node, "billing"), 1);
    redlock_free(rl);
}

static void every_protocol_and_both_ways_to_release_work(void **state)
{
    static const int32_t protocols[] = { REDLOCK_PROTOCOL_AUTO, REDLOCK_PROTOCOL_RESP2, REDLOCK_PROTOCOL_RESP3 };
    struct fixture *f = *state;

    for (size_t i = 0; i < 6; i++) {
        redlock_options_t *options = fixture_options();
        const char *resource = cluster_resource("spoken");
        redlock_lease_t *lease;
        redlock_t *rl;

        OK(redlock_options_set_protocol(options, protocols[i / 2]));
        OK(redlock_options_set_avoid_lua(options, i % 2));
        rl = fixture_handle(f->cluster, options);
        lease = fixture_take(rl, resource, 10000);
        OK(redlock_extend(lease, 30000, NULL));
        assert_true(redlock_lease_remaining_ms(lease) > 20000);
        /* Never shorter. */
        OK(redlock_extend(lease, 1000, NULL));
        assert_true(redlock_lease_remaining_ms(lease) > 20000);
        assert_int_equal(redlock_unlock_token(rl, resource, "wrong", NULL), REDLOCK_E_LOST);
        assert_int_equal(redlock_extend_token(rl, resource, "wrong", 60000, NULL), REDLOCK_E_LOST);
        assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 1000));
        fixture_release(lease);
        assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
        redlock_free(rl);
    }
}

/* How often a command was called on a node, as INFO tells it. */
static unsigned long calls(const struct fixture *f, size_t node, const char *command)
{
    char *info = cluster_cli(f->cluster, node, "INFO", "commandstats", NULL), wanted[64];
    const char *line;
    unsigned long count = 0;

    snprintf(wanted, sizeof wanted, "cmdstat_%s:calls=", command);
    line = strstr(info, wanted);
    if (line != NULL)
        count = strtoul(line + strlen(wanted), NULL, 10);
    free(info);
    return count;
}

static void scripts_are_used_only_where_the_server_cannot_compare_and_delete(void **state)
{
    struct fixture *f = *state;
    char *delex = cluster_cli(f->cluster, 0, "COMMAND", "INFO", "DELEX", NULL);
    char *delifeq = cluster_cli(f->cluster, 0, "COMMAND", "INFO", "DELIFEQ", NULL);
    bool has_delex = *delex != '\0', has_delifeq = *delifeq != '\0';

    free(delex);
    free(delifeq);
    for (int32_t avoid_lua = 0; avoid_lua <= 1; avoid_lua++) {
        redlock_options_t *options = fixture_options();
        redlock_lease_t *lease;
        redlock_t *rl;

        OK(redlock_options_set_avoid_lua(options, avoid_lua));
        rl = fixture_handle(f->cluster, options);
        for (size_t node = 0; node < FIXTURE_NODES; node++)
            free(cluster_cli(f->cluster, node, "CONFIG", "RESETSTAT", NULL));
        lease = fixture_take(rl, cluster_resource("lua"), 30000);
        OK(redlock_extend(lease, 40000, NULL));
        fixture_release(lease);
        /* Waits for what the slower nodes still have to confirm. */
        redlock_free(rl);
        for (size_t node = 0; node < FIXTURE_NODES; node++) {
            bool is_lua_free = avoid_lua == 1 && (has_delex || has_delifeq);

            assert_true((calls(f, node, "delex") + calls(f, node, "delifeq") > 0) == is_lua_free);
            /* Extension is by script everywhere, so that it takes part in any case. */
            assert_true(calls(f, node, "eval") > (is_lua_free ? 0u : 1u));
        }
    }
}

static void a_busy_wait_changes_nothing_but_the_time(void **state)
{
    struct fixture *f = *state;
    redlock_options_t *options = fixture_options();
    redlock_t *rl;

    OK(redlock_options_set_spin_us(options, 100));
    rl = fixture_handle(f->cluster, options);
    for (int i = 0; i < 20; i++)
        fixture_release(fixture_take(rl, cluster_resource("spun"), 30000));
    redlock_free(rl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_are_null_are_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused_by_their_setter),
        cmocka_unit_test(limits_and_null_strings_are_accepted),
        cmocka_unit_test(what_does_not_go_together_is_refused_by_the_handle),
        cmocka_unit_test(the_prefix_stands_before_the_key_and_not_in_the_resource),
        cmocka_unit_test(a_ttl_beyond_the_longest_is_refused),
        cmocka_unit_test(the_client_name_is_what_the_servers_list),
        cmocka_unit_test(every_protocol_and_both_ways_to_release_work),
        cmocka_unit_test(scripts_are_used_only_where_the_server_cannot_compare_and_delete),
        cmocka_unit_test(a_busy_wait_changes_nothing_but_the_time),
    };

    return cmocka_run_group_tests_name("options", tests, fixture_set_up, fixture_tear_down);
}
