/* Ends that do not wait and ends that do: redlock_close, redlock_free, the releases of destructors. */
#include "support/fixture.h"

#include <pthread.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

static void *wait_without_limit(void *argument)
{
    redlock_t *rl = ((void **)argument)[0];
    const char *resource = ((void **)argument)[1];
    redlock_lease_t *lease = NULL;

    return (void *)(intptr_t)redlock_lock(rl, resource, 60000, -1, &lease, NULL);
}

static void close_ends_calls_in_progress_and_refuses_later_ones(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("closed");
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_lease_t *kept = fixture_take(rl, resource, 60000), *lease = NULL;
    redlock_request_t *request = redlock_request_new();
    redlock_stats_t *stats = NULL;
    redlock_error_t *error = NULL;
    redlock_event_t *event;
    void *argument[] = { rl, (void *)(uintptr_t)resource }, *status = NULL;
    pthread_t thread;

    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 60000));
    OK(redlock_request_set_wait_ms(request, -1));
    OK(redlock_request_set_tag(request, 7));
    OK(redlock_submit_lock(rl, request, NULL));
    assert_int_equal(pthread_create(&thread, NULL, wait_without_limit, argument), 0);
    usleep(50000);
    OK(redlock_close(rl, 0, 5000, NULL));
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((intptr_t)status, REDLOCK_E_CLOSED);
    OK(redlock_close(rl, 1, -1, NULL));
    assert_int_equal(redlock_lock(rl, resource, 1000, 0, &lease, &error), REDLOCK_E_CLOSED);
    assert_string_equal(redlock_error_message(error), "handle is closed");
    redlock_error_free(error);
    assert_int_equal(redlock_submit_lock(rl, request, NULL), REDLOCK_E_CLOSED);
    assert_int_equal(redlock_unlock(kept, NULL), REDLOCK_E_CLOSED);
    assert_int_equal(redlock_unlock_nowait(kept), REDLOCK_E_CLOSED);
    assert_int_equal(redlock_unlock_token_nowait(rl, resource, "token"), REDLOCK_E_CLOSED);
    /* The submitted lock has ended, and its event is still there. */
    while ((event = redlock_next_event(rl)) != NULL && redlock_event_kind(event) != REDLOCK_EVENT_DONE)
        redlock_event_free(event);
    assert_non_null(event);
    assert_int_equal(redlock_event_tag(event), 7);
    assert_int_equal(redlock_event_status(event), REDLOCK_E_CLOSED);
    redlock_event_free(event);
    OK(redlock_process(rl));
    OK(redlock_stats(rl, &stats, NULL));
    redlock_stats_free(stats);
    assert_int_equal(cluster_holding(f->cluster, resource), FIXTURE_NODES);
    redlock_free(rl);
    OK(redlock_unlock_token(f->rl, resource, redlock_lease_token(kept, NULL), NULL));
    redlock_lease_free(kept);
    redlock_request_free(request);
}

static void close_releases_what_is_held_if_it_is_asked_to(void **state)
{
    struct fixture *f = *state;
    const char *resource[] = { cluster_resource("one"), cluster_resource("two") };
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_lease_t *one = fixture_take(rl, resource[0], 60000), *two = fixture_take(rl, resource[1], 60000);

    OK(redlock_close(rl, 1, 5000, NULL));
    assert_int_equal(cluster_holding(f->cluster, resource[0]) + cluster_holding(f->cluster, resource[1]), 0);
    redlock_free(rl);
    redlock_lease_free(one);
    redlock_lease_free(two);
}

static void a_release_that_does_not_wait_is_on_its_way(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("nowait");

    for (int round = 0; round < 100; round++) {
        redlock_lease_t *lease = fixture_take(f->rl, resource, 60000);

        OK(redlock_unlock_nowait(lease));
        assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_RELEASED);
        assert_int_equal(redlock_lease_remaining_ms(lease), 0);
        /* Once more is harmless. */
        OK(redlock_unlock_nowait(lease));
        redlock_lease_free(lease);
        /* Nobody else needs to call anything. */
        if (round % 10 == 0)
            assert_true(cluster_wait_holding(f->cluster, resource, 0, 5000));
    }
    for (int round = 0; round < 10; round++) {
        redlock_lease_t *lease = NULL;

        OK(redlock_lock_bytes(f->rl, resource, strlen(resource), 60000, 5000, &lease, NULL));
        OK(redlock_unlock_token_nowait_bytes(f->rl, resource, strlen(resource), redlock_lease_token(lease, NULL),
                                             strlen(redlock_lease_token(lease, NULL))));
        redlock_lease_free(lease);
        assert_true(cluster_wait_holding(f->cluster, resource, 0, 5000));
    }
    assert_int_equal(redlock_unlock_nowait(NULL), REDLOCK_E_INVALID);
    assert_int_equal(redlock_unlock_token_nowait(f->rl, NULL, "x"), REDLOCK_E_INVALID);
}

static void cancel_says_how_many_it_met(void **state)
{
    struct fixture *f = *state;
    redlock_request_t *request = redlock_request_new();
    const char *resource = cluster_resource("counted");
    redlock_lease_t *held = fixture_take(f->rl, resource, 60000);
    size_t count = 77;

    OK(redlock_cancel_count(f->rl, 4711, &count));
    assert_int_equal(count, 0);
    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 60000));
    OK(redlock_request_set_wait_ms(request, -1));
    OK(redlock_request_set_tag(request, 4711));
    for (int i = 0; i < 3; i++)
        OK(redlock_submit_lock(f->rl, request, NULL));
    OK(redlock_cancel_count(f->rl, 4711, &count));
    assert_int_equal(count, 3);
    count = 77;
    assert_int_equal(redlock_cancel_count(f->rl, 0, &count), REDLOCK_E_INVALID);
    assert_int_equal(count, 77);
    redlock_request_free(request);
    fixture_release(held);
}

/* A node is stopped: its releases are confirmed by nobody. */
static void free_never_waits_and_close_no_longer_than_it_may(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("stopped");
    redlock_options_t *options = fixture_options();
    redlock_t *rl, *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *lease, *second;
    uint64_t begun;

    OK(redlock_options_set_stall_timeout_ms(options, 60000));
    OK(redlock_options_set_node_timeout_ms(options, 20000));
    rl = fixture_handle(f->cluster, options);
    lease = fixture_take(rl, resource, 60000);
    second = fixture_take(other, cluster_resource("second"), 60000);
    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 5000));
    cluster_stop(f->cluster, 0);
    OK(redlock_unlock_nowait(lease));
    begun = cluster_now_ms();
    assert_int_equal(redlock_close(rl, 0, 200, NULL), REDLOCK_E_UNKNOWN);
    assert_true(cluster_now_ms() - begun >= 200);
    begun = cluster_now_ms();
    redlock_free(rl);
    OK(redlock_unlock_nowait(second));
    redlock_free(other);
    assert_true(cluster_now_ms() - begun < 10000);
    redlock_lease_free(lease);
    redlock_lease_free(second);
    cluster_cont(f->cluster, 0);
    /* What was sent is executed when the node goes on. */
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 5000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_ends_calls_in_progress_and_refuses_later_ones),
        cmocka_unit_test(close_releases_what_is_held_if_it_is_asked_to),
        cmocka_unit_test(a_release_that_does_not_wait_is_on_its_way),
        cmocka_unit_test(cancel_says_how_many_it_met),
        cmocka_unit_test(free_never_waits_and_close_no_longer_than_it_may),
    };

    return cmocka_run_group_tests_name("close", tests, fixture_set_up, fixture_tear_down);
}
