/* The fixture itself: a test that relies on it should fail for its own reasons only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/cluster.h"

static void servers_start_answer_and_are_independent(void **state)
{
    cluster_t *cluster = cluster_start(3);
    char *reply;

    (void)state;
    assert_int_equal(cluster_size(cluster), 3);
    assert_int_equal(strncmp(cluster_urls(cluster)[2], "redis://127.0.0.1:", 18), 0);
    reply = cluster_cli(cluster, 0, "SET", "k", "v", NULL);
    assert_string_equal(reply, "OK");
    free(reply);
    reply = cluster_cli(cluster, 0, "GET", "none", NULL);
    assert_string_equal(reply, "");
    free(reply);
    reply = cluster_cli(cluster, 0, "MGET", "k", "none", "k", NULL);
    assert_string_equal(reply, "v\n\nv");
    free(reply);
    assert_true(cluster_has(cluster, 0, "k"));
    assert_false(cluster_has(cluster, 1, "k"));
    assert_int_equal(cluster_holding(cluster, "k"), 1);
    assert_true(cluster_wait_holding(cluster, "k", 1, 0));
    cluster_end(cluster);
}

static void a_stopped_server_goes_on_and_a_killed_one_comes_back_empty(void **state)
{
    cluster_t *cluster = cluster_start(2);
    uint16_t port = cluster_port(cluster, 0);

    (void)state;
    free(cluster_cli(cluster, 0, "SET", "k", "v", NULL));
    cluster_stop(cluster, 0);
    assert_int_equal(cluster_holding(cluster, "k"), 0);
    cluster_cont(cluster, 0);
    assert_int_equal(cluster_holding(cluster, "k"), 1);
    cluster_kill(cluster, 0);
    assert_int_equal(cluster_pid(cluster, 0), 0);
    assert_int_equal(cluster_holding(cluster, "k"), 0);
    cluster_restart(cluster, 0);
    assert_int_equal(cluster_port(cluster, 0), port);
    assert_false(cluster_has(cluster, 0, "k"));
    cluster_end(cluster);
}

static void arguments_and_a_password_reach_the_server(void **state)
{
    const char *const arguments[] = { "--requirepass", "x", "--databases", "3", NULL };
    cluster_t *cluster = cluster_start_with(1, arguments);
    char *reply = cluster_cli(cluster, 0, "CONFIG", "GET", "databases", NULL);

    (void)state;
    assert_string_equal(reply, "databases\n3");
    assert_int_equal(strncmp(cluster_urls(cluster)[0], "redis://:x@127.0.0.1:", 21), 0);
    free(reply);
    cluster_end(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_start_answer_and_are_independent),
        cmocka_unit_test(a_stopped_server_goes_on_and_a_killed_one_comes_back_empty),
        cmocka_unit_test(arguments_and_a_password_reach_the_server),
    };

    return cmocka_run_group_tests_name("support", tests, NULL, NULL);
}
