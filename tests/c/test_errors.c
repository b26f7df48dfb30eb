/* What an error object tells: the sentence, each node's part, and no password. */
#include "support/fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void assert_nowhere(const redlock_error_t *error, const char *secret)
{
    assert_null(strstr(redlock_error_message(error), secret));
    for (size_t node = 0; node < redlock_error_node_count(error); node++) {
        assert_null(strstr(redlock_error_node_url(error, node), secret));
        assert_null(strstr(redlock_error_node_text(error, node), secret));
    }
}

static void a_refusal_names_the_nodes_and_the_time_the_holder_has_left(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("told");
    redlock_t *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *held = fixture_take(other, resource, 60000), *lease = NULL;
    redlock_request_t *request = redlock_request_new();
    redlock_error_t *error = NULL;
    size_t known = 0;

    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 1000));
    assert_int_equal(redlock_lock(f->rl, resource, 10000, 0, &lease, &error), REDLOCK_E_NOT_ACQUIRED);
    assert_contains(redlock_error_message(error), "not acquired: held on nodes ");
    redlock_error_free(error);
    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 10000));
    OK(redlock_request_set_report_remaining(request, 1));
    assert_int_equal(redlock_lock_request(f->rl, request, &lease, &error), REDLOCK_E_NOT_ACQUIRED);
    redlock_request_free(request);
    assert_contains(redlock_error_message(error), "not acquired: held on nodes ");
    /* 60.0 s at most, and not much less. */
    if (strstr(redlock_error_message(error), "(60.0 s left)") == NULL)
        assert_contains(redlock_error_message(error), "(5");
    assert_contains(redlock_error_message(error), " s left)");
    assert_int_equal(redlock_error_node_count(error), FIXTURE_NODES);
    for (size_t node = 0; node < FIXTURE_NODES; node++) {
        int32_t outcome = redlock_error_node_outcome(error, node);

        assert_true(outcome == REDLOCK_NODE_HELD || outcome == REDLOCK_NODE_NOT_AWAITED);
        assert_string_equal(redlock_error_node_url(error, node), redlock_node_url(f->rl, node));
        assert_string_equal(redlock_error_node_text(error, node), redlock_node_outcome_text(outcome));
        if (redlock_error_node_remaining_ms(error, node) >= 0) {
            assert_int_equal(outcome, REDLOCK_NODE_HELD);
            assert_in_range(redlock_error_node_remaining_ms(error, node), 50000, 60000);
            known++;
        }
    }
    assert_true(known >= 3);
    assert_null(redlock_error_node_url(error, FIXTURE_NODES));
    assert_null(redlock_error_node_text(error, SIZE_MAX));
    assert_int_equal(redlock_error_node_outcome(error, FIXTURE_NODES), REDLOCK_NODE_NONE);
    redlock_error_free(error);
    fixture_release(held);
    redlock_free(other);
}

static void nodes_that_are_gone_or_hang_are_told_apart(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("apart");
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    int32_t outcome;

    fixture_release(fixture_take(f->rl, resource, 60000));
    cluster_kill(f->cluster, 0);
    cluster_kill(f->cluster, 1);
    cluster_stop(f->cluster, 2);
    assert_int_equal(redlock_lock(f->rl, resource, 10000, 0, &lease, &error), REDLOCK_E_NO_QUORUM);
    assert_null(lease);
    assert_contains(redlock_error_message(error), "no quorum: ");
    assert_contains(redlock_error_message(error), "node 3: timeout after ");
    assert_int_equal(redlock_error_node_outcome(error, 0), REDLOCK_NODE_UNREACHABLE);
    assert_int_equal(redlock_error_node_outcome(error, 1), REDLOCK_NODE_UNREACHABLE);
    assert_int_equal(redlock_error_node_outcome(error, 2), REDLOCK_NODE_TIMEOUT);
    assert_true(redlock_error_node_elapsed_ms(error, 2) >= 300);
    assert_int_equal(redlock_error_node_remaining_ms(error, 2), -1);
    outcome = redlock_error_node_outcome(error, 3);
    assert_true(outcome == REDLOCK_NODE_DONE || outcome == REDLOCK_NODE_NOT_AWAITED);
    redlock_error_free(error);
    cluster_cont(f->cluster, 2);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 3000));
}

static void a_key_of_another_type_is_named_and_not_called_held(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("list");
    redlock_error_t *error = NULL;
    redlock_status_t status;
    size_t refusals = 0;

    for (size_t node = 0; node < FIXTURE_NODES; node++)
        free(cluster_cli(f->cluster, node, "RPUSH", resource, "x", NULL));
    status = redlock_unlock_token(f->rl, resource, "t", &error);
    assert_int_equal(status, REDLOCK_E_CONFIG);
    /* DELEX has words of its own. */
    if (strstr(redlock_error_message(error), "Key should be of string type") == NULL)
        assert_contains(redlock_error_message(error), "WRONGTYPE");
    /* The other two need not have answered by now. */
    for (size_t node = 0; node < FIXTURE_NODES; node++)
        refusals += redlock_error_node_outcome(error, node) == REDLOCK_NODE_PERMANENT;
    assert_in_range(refusals, 3, FIXTURE_NODES);
    redlock_error_free(error);
}

static void a_malformed_url_is_named_without_its_secret(void **state)
{
    const char *const urls[] = { "redis://127.0.0.1:7001", "redis://user:hunter2@:badport", "http://x:hunter2@h" };
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;

    (void)state;
    assert_int_equal(redlock_new(urls, 2, NULL, &rl, &error), REDLOCK_E_CONFIG);
    assert_contains(redlock_error_message(error), "node 2");
    assert_nowhere(error, "hunter2");
    redlock_error_free(error);
    assert_int_equal(redlock_new(urls + 2, 1, NULL, &rl, &error), REDLOCK_E_CONFIG);
    assert_nowhere(error, "hunter2");
    redlock_error_free(error);
    assert_null(rl);
}

static void the_same_server_twice_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *const *urls = cluster_urls(f->cluster);
    const char *twice[3] = { urls[0], urls[1], urls[0] };
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;

    assert_int_equal(redlock_new(twice, 3, NULL, &rl, &error), REDLOCK_E_CONFIG);
    assert_contains(redlock_error_message(error), "same server as node 1");
    redlock_error_free(error);
    assert_null(rl);
}

/* A wrong password, asked for in every way in which a text may come out. */
static void expect_wrong_password(const cluster_t *cluster, const char *const *urls, redlock_options_t *options,
                                  const char *secret)
{
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;
    redlock_lease_t *lease = NULL;
    redlock_inspection_t *inspect = NULL;
    redlock_stats_t *stats = NULL;
    size_t permanent = 0;

    OK(redlock_new(urls, cluster_size(cluster), options, &rl, NULL));
    assert_int_equal(redlock_wait_ready(rl, (int64_t)(5000 * cluster_slowness()), &error), REDLOCK_E_CONFIG);
    assert_nowhere(error, secret);
    redlock_error_free(error);
    error = NULL;
    assert_int_equal(redlock_lock(rl, "r", 10000, 5000, &lease, &error), REDLOCK_E_CONFIG);
    for (size_t node = 0; node < cluster_size(cluster); node++)
        permanent += redlock_error_node_outcome(error, node) == REDLOCK_NODE_PERMANENT;
    assert_true(permanent >= 2);
    assert_nowhere(error, secret);
    redlock_error_free(error);
    error = NULL;
    assert_int_not_equal(redlock_inspect(rl, "r", &inspect, &error), REDLOCK_OK);
    assert_nowhere(error, secret);
    redlock_error_free(error);
    OK(redlock_stats(rl, &stats, NULL));
    for (size_t node = 0; node < cluster_size(cluster); node++) {
        assert_null(strstr(redlock_node_url(rl, node), secret));
        assert_null(strstr(redlock_stats_node_url(stats, node), secret));
    }
    redlock_stats_free(stats);
    redlock_free(rl);
}

static void a_password_appears_in_no_text(void **state)
{
    static const char *const plain[] = { "--requirepass", "right-one", NULL };
    static const char *const renamed[] = { "--requirepass", "right-one", "--rename-command", "HELLO", "", NULL };
    static const char *const *const servers[] = { plain, renamed };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        cluster_t *cluster = cluster_start_with(3, servers[i]);
        redlock_options_t *options = fixture_options();
        char texts[3][100];
        const char *urls[3], *bare[3];
        redlock_lease_t *lease = NULL;
        redlock_t *rl;

        /* As it should be. */
        rl = fixture_handle(cluster, NULL);
        fixture_release(fixture_take(rl, "with password", 10000));
        redlock_free(rl);
        /* Wrong in the URL. */
        for (size_t node = 0; node < 3; node++) {
            snprintf(texts[node], sizeof texts[node], "redis://:s3cr3t-w0rd@127.0.0.1:%u",
                     (unsigned)cluster_port(cluster, node));
            urls[node] = texts[node];
        }
        expect_wrong_password(cluster, urls, options, "s3cr3t-w0rd");
        /* Wrong in the options, with a user; then right, for URLs that have none. */
        for (size_t node = 0; node < 3; node++) {
            snprintf(texts[node], sizeof texts[node], "redis://127.0.0.1:%u", (unsigned)cluster_port(cluster, node));
            bare[node] = texts[node];
        }
        OK(redlock_options_set_username(options, "somebody"));
        OK(redlock_options_set_password(options, "s3cr3t-w0rd"));
        expect_wrong_password(cluster, bare, options, "s3cr3t-w0rd");
        OK(redlock_options_set_username(options, NULL));
        OK(redlock_options_set_password(options, "right-one"));
        OK(redlock_new(bare, 3, options, &rl, NULL));
        OK(redlock_lock(rl, "with password", 10000, 5000, &lease, NULL));
        fixture_release(lease);
        redlock_free(rl);
        redlock_options_free(options);
        cluster_end(cluster);
    }
}

static void a_peer_that_speaks_another_protocol_is_named(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;
    redlock_options_t *options = fixture_options();
    redlock_error_t *error = NULL;
    redlock_t *rl = NULL;
    char url[64];
    const char *urls[] = { url };

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 4), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    OK(redlock_new(urls, 1, options, &rl, NULL));
    accepted = accept(listener, NULL, NULL);
    assert_true(write(accepted, "SSH-2.0-OpenSSH_9.2\r\n", 21) == 21);
    assert_int_equal(redlock_wait_ready(rl, 10000, &error), REDLOCK_E_CONFIG);
    assert_contains(redlock_error_message(error), "node 1: the port speaks SSH: it is no Redis server's");
    redlock_error_free(error);
    close(accepted);
    close(listener);
    redlock_free(rl);
    redlock_options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_names_the_nodes_and_the_time_the_holder_has_left),
        cmocka_unit_test(a_key_of_another_type_is_named_and_not_called_held),
        cmocka_unit_test(a_malformed_url_is_named_without_its_secret),
        cmocka_unit_test(the_same_server_twice_is_refused),
        cmocka_unit_test(a_password_appears_in_no_text),
        cmocka_unit_test(a_peer_that_speaks_another_protocol_is_named),
        /* Last: it leaves two nodes dead. */
        cmocka_unit_test(nodes_that_are_gone_or_hang_are_told_apart),
    };

    return cmocka_run_group_tests_name("errors", tests, fixture_set_up, fixture_tear_down);
}
