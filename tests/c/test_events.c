/* The event loop's functions: NULL for every pointer, a fork, and one round of everything that can be submitted. */
#include "support/fixture.h"

#include <poll.h>
#include <unistd.h>

#define INVALID(call) assert_int_equal(call, REDLOCK_E_INVALID)
#define OK(call) assert_int_equal(call, REDLOCK_OK)

/* Refused with details, and in the same way without. */
#define REFUSES(function, ...)                                              \
    do {                                                                    \
        redlock_error_t *error = NULL;                                      \
        INVALID(function(__VA_ARGS__, &error));                             \
        assert_int_equal(redlock_error_code(error), REDLOCK_E_INVALID);     \
        redlock_error_free(error);                                          \
        INVALID(function(__VA_ARGS__, NULL));                               \
    } while (0)

static void null_is_refused_by_what_submits_and_by_what_processes(void **state)
{
    struct fixture *f = *state;
    redlock_request_t *request = redlock_request_new();

    INVALID(redlock_fd(NULL));
    assert_int_equal(redlock_timeout_ms(NULL), -1);
    INVALID(redlock_process(NULL));
    assert_null(redlock_next_event(NULL));
    REFUSES(redlock_submit_lock, NULL, request);
    REFUSES(redlock_submit_lock, f->rl, NULL);
    /* No resource, no ttl. */
    REFUSES(redlock_submit_lock, f->rl, request);
    REFUSES(redlock_submit_unlock, NULL, 1);
    REFUSES(redlock_submit_extend, NULL, 1000, 1);
    REFUSES(redlock_submit_unlock_token, NULL, "r", "t", 1);
    REFUSES(redlock_submit_unlock_token, f->rl, NULL, "t", 1);
    REFUSES(redlock_submit_unlock_token, f->rl, "r", NULL, 1);
    REFUSES(redlock_submit_unlock_token_bytes, NULL, "r", 1, "t", 1, 1);
    REFUSES(redlock_submit_unlock_token_bytes, f->rl, NULL, 1, "t", 1, 1);
    REFUSES(redlock_submit_unlock_token_bytes, f->rl, "r", 1, NULL, 1, 1);
    REFUSES(redlock_submit_extend_token, NULL, "r", "t", 1000, 1);
    REFUSES(redlock_submit_extend_token, f->rl, NULL, "t", 1000, 1);
    REFUSES(redlock_submit_extend_token, f->rl, "r", NULL, 1000, 1);
    REFUSES(redlock_submit_extend_token, f->rl, "r", "t", 0, 1);
    REFUSES(redlock_submit_extend_token_bytes, NULL, "r", 1, "t", 1, 1000, 1);
    REFUSES(redlock_submit_extend_token_bytes, f->rl, NULL, 0, "t", 1, 1000, 1);
    REFUSES(redlock_submit_extend_token_bytes, f->rl, "r", 1, NULL, 1, 1000, 1);
    REFUSES(redlock_submit_inspect, NULL, "r", 1);
    REFUSES(redlock_submit_inspect, f->rl, NULL, 1);
    REFUSES(redlock_submit_inspect_bytes, NULL, "r", 1, 1);
    REFUSES(redlock_submit_inspect_bytes, f->rl, NULL, 1, 1);
    redlock_request_free(request);
}

static void an_event_that_is_null_is_no_event(void **state)
{
    (void)state;
    redlock_event_free(NULL);
    assert_int_equal(redlock_event_kind(NULL), 0);
    assert_int_equal(redlock_event_tag(NULL), 0);
    assert_int_equal(redlock_event_status(NULL), REDLOCK_OK);
    assert_int_equal(redlock_event_operation(NULL), 0);
    assert_null(redlock_event_error(NULL));
    assert_null(redlock_event_take_lease(NULL));
    assert_null(redlock_event_take_inspection(NULL));
    assert_int_equal(redlock_event_node(NULL), -1);
    assert_int_equal(redlock_event_node_is_up(NULL), 0);
}

static void the_parts_of_a_lease_that_came_with_events_know_null_too(void **state)
{
    redlock_request_t *request = redlock_request_new();

    (void)state;
    assert_int_equal(redlock_lease_fence(NULL), 0);
    INVALID(redlock_lease_wait_lost(NULL, 0));
    INVALID(redlock_request_set_fence(NULL, 1));
    INVALID(redlock_request_set_fence(request, 2));
    INVALID(redlock_request_set_auto_extend(NULL, 1));
    INVALID(redlock_request_set_auto_extend(request, -1));
    INVALID(redlock_request_set_max_hold_ms(NULL, 1));
    redlock_request_free(request);
}

/* The next DONE, as a loop gets it; node events are passed over. */
static redlock_event_t *next_done(const redlock_t *rl)
{
    uint64_t end = cluster_now_ms() + 5000 * cluster_slowness();

    while (cluster_now_ms() < end) {
        struct pollfd watched = { redlock_fd(rl), POLLIN, 0 };
        redlock_event_t *event;

        assert_true(poll(&watched, 1, 1000) >= 0);
        OK(redlock_process(rl));
        while ((event = redlock_next_event(rl)) != NULL) {
            if (redlock_event_kind(event) == REDLOCK_EVENT_DONE)
                return event;
            redlock_event_free(event);
        }
    }
    fail_msg("no event");
    return NULL;
}

static void expect_done(const redlock_t *rl, uint64_t tag, redlock_status_t status)
{
    redlock_event_t *event = next_done(rl);

    assert_int_equal(redlock_event_tag(event), tag);
    assert_int_equal(redlock_event_status(event), status);
    assert_true((redlock_event_error(event) != NULL) == (status != REDLOCK_OK));
    redlock_event_free(event);
}

static void what_is_submitted_ends_in_one_event_each(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("submitted");
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_request_t *request = redlock_request_new();
    redlock_event_t *event;
    redlock_lease_t *lease;
    redlock_inspection_t *inspect;

    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 30000));
    OK(redlock_request_set_tag(request, 42));
    OK(redlock_submit_lock(rl, request, NULL));
    event = next_done(rl);
    assert_int_equal(redlock_event_operation(event), REDLOCK_OPERATION_LOCK);
    assert_int_equal(redlock_event_tag(event), 42);
    lease = redlock_event_take_lease(event);
    assert_non_null(lease);
    assert_null(redlock_event_take_lease(event));
    assert_null(redlock_event_take_inspection(event));
    redlock_event_free(event);

    OK(redlock_submit_inspect(rl, resource, 43, NULL));
    event = next_done(rl);
    inspect = redlock_event_take_inspection(event);
    assert_string_equal(redlock_inspection_token(inspect, NULL), redlock_lease_token(lease, NULL));
    redlock_inspection_free(inspect);
    redlock_event_free(event);

    OK(redlock_submit_lock(rl, request, NULL));
    expect_done(rl, 42, REDLOCK_E_NOT_ACQUIRED);
    OK(redlock_submit_extend(lease, 40000, 44, NULL));
    expect_done(rl, 44, REDLOCK_OK);
    OK(redlock_submit_extend_token(rl, resource, "wrong", 40000, 45, NULL));
    expect_done(rl, 45, REDLOCK_E_LOST);
    OK(redlock_submit_unlock_token(rl, resource, "wrong", 46, NULL));
    expect_done(rl, 46, REDLOCK_E_LOST);
    OK(redlock_submit_unlock(lease, 47, NULL));
    expect_done(rl, 47, REDLOCK_OK);
    redlock_lease_free(lease);
    redlock_request_free(request);
    redlock_free(rl);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
}

static void a_lease_that_nobody_fetched_is_released_with_the_handle(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("unfetched");
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_request_t *request = redlock_request_new();
    uint64_t end = cluster_now_ms() + 5000 * cluster_slowness();

    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 60000));
    OK(redlock_submit_lock(rl, request, NULL));
    while (cluster_holding(f->cluster, resource) < FIXTURE_NODES) {
        OK(redlock_process(rl));
        assert_true(cluster_now_ms() < end);
    }
    redlock_request_free(request);
    redlock_free(rl);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000));
}

static void in_a_child_the_loop_of_the_parent_is_refused(void **state)
{
    struct fixture *f = *state;
    pid_t child;

    assert_true(redlock_fd(f->rl) >= 0);
    child = fork();
    if (child == 0) {
        alarm((unsigned)(10 * cluster_slowness()));
        _exit(redlock_fd(f->rl) == REDLOCK_E_FORKED && redlock_process(f->rl) == REDLOCK_E_FORKED &&
                      redlock_next_event(f->rl) == NULL && redlock_timeout_ms(f->rl) == -1 &&
                      redlock_submit_inspect(f->rl, "r", 1, NULL) == REDLOCK_E_FORKED
                  ? 0
                  : 1);
    }
    assert_int_equal(fixture_exit_code(child), 0);
    OK(redlock_process(f->rl));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_is_refused_by_what_submits_and_by_what_processes),
        cmocka_unit_test(an_event_that_is_null_is_no_event),
        cmocka_unit_test(the_parts_of_a_lease_that_came_with_events_know_null_too),
        cmocka_unit_test(what_is_submitted_ends_in_one_event_each),
        cmocka_unit_test(a_lease_that_nobody_fetched_is_released_with_the_handle),
        cmocka_unit_test(in_a_child_the_loop_of_the_parent_is_refused),
    };

    return cmocka_run_group_tests_name("events", tests, fixture_set_up, fixture_tear_down);
}
