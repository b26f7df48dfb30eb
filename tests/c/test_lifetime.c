/* Objects freed in every order, handles freed while others are inside, and what is left afterwards. */
#include "support/fixture.h"

#include <pthread.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

static void copies_outlive_what_they_were_made_from(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("copies");
    redlock_options_t *options = fixture_options();
    redlock_request_t *request = redlock_request_new();
    char prefix[] = "p:", name[128];
    redlock_t *rl = NULL;
    redlock_lease_t *lease = NULL, *refused = NULL;
    redlock_error_t *error = NULL;
    redlock_inspection_t *inspect = NULL;
    redlock_stats_t *stats = NULL;

    OK(redlock_options_set_key_prefix(options, prefix));
    memset(prefix, 'x', 2);
    OK(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &rl, NULL));
    redlock_options_free(options);
    strcpy(name, resource);
    OK(redlock_request_set_resource(request, name));
    memset(name, 'x', 3);
    OK(redlock_request_set_ttl_ms(request, 30000));
    OK(redlock_request_set_wait_ms(request, 5000));
    OK(redlock_lock_request(rl, request, &lease, NULL));
    OK(redlock_request_set_wait_ms(request, 0));
    assert_int_equal(redlock_lock_request(rl, request, &refused, &error), REDLOCK_E_NOT_ACQUIRED);
    redlock_request_free(request);
    OK(redlock_inspect(rl, resource, &inspect, NULL));
    OK(redlock_stats(rl, &stats, NULL));
    redlock_free(rl);

    assert_non_null(strstr(redlock_error_message(error), "held"));
    assert_non_null(redlock_error_node_url(error, 0));
    assert_string_equal(redlock_inspection_token(inspect, NULL), redlock_lease_token(lease, NULL));
    assert_int_equal(redlock_stats_acquired(stats), 1);
    assert_string_equal(redlock_lease_resource(lease, NULL), resource);
    redlock_lease_free(lease);
    redlock_error_free(error);
    redlock_inspection_free(inspect);
    redlock_stats_free(stats);
}

static void a_lease_of_a_freed_handle_answers_closed_and_stays_locked(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("orphan");
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_lease_t *lease = fixture_take(rl, resource, 30000);
    redlock_error_t *error = NULL;

    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 1000));
    redlock_free(rl);
    assert_int_equal(redlock_extend(lease, 60000, NULL), REDLOCK_E_CLOSED);
    assert_int_equal(redlock_unlock(lease, &error), REDLOCK_E_CLOSED);
    assert_int_equal(redlock_error_code(error), REDLOCK_E_CLOSED);
    redlock_error_free(error);
    assert_true(redlock_lease_remaining_ms(lease) > 0);
    assert_int_equal(cluster_holding(f->cluster, resource), FIXTURE_NODES);
    OK(redlock_unlock_token(f->rl, resource, redlock_lease_token(lease, NULL), NULL));
    redlock_lease_free(lease);
}

static void a_lease_may_go_before_or_after_its_handle(void **state)
{
    struct fixture *f = *state;

    for (int order = 0; order < 6; order++) {
        redlock_t *rl = fixture_handle(f->cluster, NULL);
        redlock_lease_t *first = fixture_take(rl, cluster_resource("order"), 1000);
        redlock_lease_t *second = fixture_take(rl, cluster_resource("order"), 1000);

        if (order % 2 == 0)
            OK(redlock_unlock(first, NULL));
        if (order < 2) {
            redlock_free(rl);
            redlock_lease_free(first);
            redlock_lease_free(second);
        } else if (order < 4) {
            redlock_lease_free(second);
            redlock_free(rl);
            redlock_lease_free(first);
        } else {
            redlock_lease_free(first);
            redlock_lease_free(second);
            redlock_free(rl);
        }
    }
}

struct waiter {
    redlock_t *rl;
    const char *resource;
    int64_t wait_ms;
    uint64_t tag;
    redlock_status_t status;
    pthread_t thread;
};

static void *wait_for_lock(void *argument)
{
    struct waiter *waiter = argument;
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *lease = NULL;

    redlock_request_set_resource(request, waiter->resource);
    redlock_request_set_ttl_ms(request, 30000);
    redlock_request_set_wait_ms(request, waiter->wait_ms);
    redlock_request_set_tag(request, waiter->tag);
    waiter->status = redlock_lock_request(waiter->rl, request, &lease, NULL);
    redlock_lease_free(lease);
    redlock_request_free(request);
    return NULL;
}

static void start(struct waiter *waiter)
{
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_for_lock, waiter), 0);
}

static void a_handle_may_be_freed_while_others_wait_inside(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("closing");
    redlock_lease_t *lease = fixture_take(f->rl, resource, 60000);

    for (int round = 0; round < 10; round++) {
        redlock_t *rl = fixture_handle(f->cluster, NULL);
        struct waiter waiters[8];
        uint64_t begin;

        for (size_t i = 0; i < 8; i++) {
            /* One waits for the nodes, the others behind it in the queue of their own handle. */
            waiters[i] = (struct waiter){ .rl = rl, .resource = resource, .wait_ms = -1 };
            start(&waiters[i]);
        }
        /* No call may be begun while the handle is freed: all of them must be inside. */
        cluster_sleep_ms((60 + (uint64_t)round * 37) * cluster_slowness());
        begin = cluster_now_ms();
        redlock_free(rl);
        for (size_t i = 0; i < 8; i++) {
            pthread_join(waiters[i].thread, NULL);
            assert_int_equal(waiters[i].status, REDLOCK_E_CLOSED);
        }
        assert_true(cluster_now_ms() - begin < 1000 * cluster_slowness());
    }
    fixture_release(lease);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
}

static void a_handle_without_any_node_can_be_freed_while_somebody_waits_for_it(void **state)
{
    const char *const nowhere[] = { "redis://127.0.0.1:1", "redis://127.0.0.1:2", "redis://127.0.0.1:3" };
    struct waiter waiter = { .resource = "r", .wait_ms = -1 };

    (void)state;
    OK(redlock_new(nowhere, 3, NULL, &waiter.rl, NULL));
    assert_int_equal(redlock_wait_ready(waiter.rl, 100, NULL), REDLOCK_E_NO_QUORUM);
    start(&waiter);
    cluster_sleep_ms(100 * cluster_slowness());
    redlock_free(waiter.rl);
    pthread_join(waiter.thread, NULL);
    assert_int_equal(waiter.status, REDLOCK_E_CLOSED);
}

static void a_handle_made_and_freed_at_once_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    size_t descriptors = fixture_entries("/proc/self/fd"), threads = fixture_entries("/proc/self/task");

    for (int i = 0; i < 100; i++) {
        redlock_t *rl = NULL;

        OK(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, NULL, &rl, NULL));
        redlock_free(rl);
    }
    assert_int_equal(fixture_entries("/proc/self/fd"), descriptors);
    assert_int_equal(fixture_entries("/proc/self/task"), threads);
}

static void a_tag_ends_the_waits_that_carry_it_and_no_other(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("tagged");
    redlock_lease_t *lease = fixture_take(f->rl, resource, 60000);
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    struct waiter waiters[6];
    uint64_t begin;

    for (size_t i = 0; i < 6; i++) {
        waiters[i] = (struct waiter){ .rl = rl, .resource = resource, .wait_ms = -1, .tag = i % 2 == 0 ? 7 : 8 };
        start(&waiters[i]);
    }
    cluster_sleep_ms(100 * cluster_slowness());
    begin = cluster_now_ms();
    OK(redlock_cancel(rl, 7));
    for (size_t i = 0; i < 6; i += 2) {
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].status, REDLOCK_E_CANCELLED);
    }
    assert_true(cluster_now_ms() - begin < 1000 * cluster_slowness());
    assert_int_equal(cluster_holding(f->cluster, resource), FIXTURE_NODES);
    OK(redlock_cancel(rl, 8));
    for (size_t i = 1; i < 6; i += 2) {
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].status, REDLOCK_E_CANCELLED);
    }
    fixture_release(lease);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
    redlock_free(rl);
}

static void a_wait_without_limit_ends_when_the_lock_is_free(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("patient");
    redlock_lease_t *lease = fixture_take(f->rl, resource, 60000);
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    struct waiter waiter = { .rl = rl, .resource = resource, .wait_ms = -1 };

    start(&waiter);
    cluster_sleep_ms(300 * cluster_slowness());
    fixture_release(lease);
    pthread_join(waiter.thread, NULL);
    OK(waiter.status);
    redlock_free(rl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_outlive_what_they_were_made_from),
        cmocka_unit_test(a_lease_of_a_freed_handle_answers_closed_and_stays_locked),
        cmocka_unit_test(a_lease_may_go_before_or_after_its_handle),
        cmocka_unit_test(a_handle_may_be_freed_while_others_wait_inside),
        cmocka_unit_test(a_handle_without_any_node_can_be_freed_while_somebody_waits_for_it),
        cmocka_unit_test(a_handle_made_and_freed_at_once_leaves_nothing),
        cmocka_unit_test(a_tag_ends_the_waits_that_carry_it_and_no_other),
        cmocka_unit_test(a_wait_without_limit_ends_when_the_lock_is_free),
    };

    return cmocka_run_group_tests_name("lifetime", tests, fixture_set_up, fixture_tear_down);
}
