/* NULL for every pointer of every function, numbers out of their range; what is written on failure, and what is not.
 * Those of options and of the event loop are in test_options.c and test_events.c; tests/c/check-header sees to it that no
 * function is left out. */
#include "support/fixture.h"

/* What outputs hold before a call that must not write them. */
#define UNTOUCHED(type) ((type *)&untouched)

static char untouched;

/* A call that takes an error object last: refused with details, and in the same way without. */
#define REFUSES(call_with)                                                  \
    do {                                                                    \
        redlock_error_t *error = NULL;                                      \
        assert_int_equal(call_with(&error), REDLOCK_E_INVALID);             \
        assert_int_equal(redlock_error_code(error), REDLOCK_E_INVALID);     \
        assert_true(strlen(redlock_error_message(error)) > 0);              \
        assert_int_equal(redlock_error_node_count(error), 0);               \
        redlock_error_free(error);                                          \
        assert_int_equal(call_with(NULL), REDLOCK_E_INVALID);               \
    } while (0)

#define INVALID(call) assert_int_equal(call, REDLOCK_E_INVALID)
#define OK(call) assert_int_equal(call, REDLOCK_OK)

static void a_handle_cannot_be_made_of_nothing(void **state)
{
    struct fixture *f = *state;
    const char *const *urls = cluster_urls(f->cluster);
    const char *with_null[3] = { urls[0], NULL, urls[2] }, *many[16], *not_utf8[1] = { "redis://\xff/" };
    redlock_t *rl = UNTOUCHED(redlock_t);

    for (size_t i = 0; i < 16; i++)
        many[i] = urls[0];
#define CALL(error) redlock_new(NULL, 3, NULL, &rl, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_new(urls, 0, NULL, &rl, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_new(many, 16, NULL, &rl, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_new(urls, SIZE_MAX, NULL, &rl, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_new(with_null, 3, NULL, &rl, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_new(not_utf8, 1, NULL, &rl, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_new(urls, 3, NULL, NULL, error)
    REFUSES(CALL);
#undef CALL
    assert_ptr_equal(rl, &untouched);
    redlock_free(NULL);
}

static void a_handle_that_is_null_answers_nothing(void **state)
{
    redlock_lease_t *lease = UNTOUCHED(redlock_lease_t);
    redlock_inspection_t *inspect = UNTOUCHED(redlock_inspection_t);
    redlock_stats_t *stats = UNTOUCHED(redlock_stats_t);
    redlock_request_t *request = redlock_request_new();

    (void)state;
    OK(redlock_request_set_resource(request, "r"));
    OK(redlock_request_set_ttl_ms(request, 1000));
    INVALID(redlock_wait_ready(NULL, 0, NULL));
#define CALL(error) redlock_wait_ready(NULL, 0, error)
    REFUSES(CALL);
#undef CALL
    assert_int_equal(redlock_node_count(NULL), 0);
    assert_null(redlock_node_url(NULL, 0));
#define CALL(error) redlock_lock(NULL, "r", 1000, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock_request(NULL, request, &lease, error)
    REFUSES(CALL);
#undef CALL
    INVALID(redlock_cancel(NULL, 1));
#define CALL(error) redlock_unlock_token(NULL, "r", "t", error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token_bytes(NULL, "r", 1, "t", 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token(NULL, "r", "t", 1000, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token_bytes(NULL, "r", 1, "t", 1, 1000, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect(NULL, "r", &inspect, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect_bytes(NULL, "r", 1, &inspect, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_stats(NULL, &stats, error)
    REFUSES(CALL);
#undef CALL
    assert_ptr_equal(lease, &untouched);
    assert_ptr_equal(inspect, &untouched);
    assert_ptr_equal(stats, &untouched);
    redlock_request_free(request);
}

static void a_lock_needs_a_resource_a_time_and_a_place_for_the_lease(void **state)
{
    struct fixture *f = *state;
    redlock_lease_t *lease = UNTOUCHED(redlock_lease_t);
    redlock_request_t *request = redlock_request_new();

#define CALL(error) redlock_lock(f->rl, NULL, 1000, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock(f->rl, "", 1000, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock(f->rl, "r", 0, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock(f->rl, "r", UINT64_MAX, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock(f->rl, "r", 1000, -2, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock(f->rl, "r", 1000, INT64_MIN, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock(f->rl, "r", 1000, 0, NULL, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock_request(f->rl, NULL, &lease, error)
    REFUSES(CALL);
#undef CALL
    /* Neither resource nor ttl, then only one of them. */
#define CALL(error) redlock_lock_request(f->rl, request, &lease, error)
    REFUSES(CALL);
    OK(redlock_request_set_resource(request, "r"));
    REFUSES(CALL);
#undef CALL
    OK(redlock_request_set_ttl_ms(request, 1000));
#define CALL(error) redlock_lock_request(f->rl, request, NULL, error)
    REFUSES(CALL);
#undef CALL
    assert_ptr_equal(lease, &untouched);
    assert_int_equal(cluster_holding(f->cluster, "r"), 0);
    INVALID(redlock_wait_ready(f->rl, -2, NULL));
    INVALID(redlock_cancel(f->rl, 0));
    OK(redlock_cancel(f->rl, 77));
    assert_null(redlock_node_url(f->rl, FIXTURE_NODES));
    assert_null(redlock_node_url(f->rl, SIZE_MAX));
    redlock_request_free(request);
}

static void a_lease_that_is_null_is_over(void **state)
{
    size_t length = 4711;

    (void)state;
#define CALL(error) redlock_unlock(NULL, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend(NULL, 1000, error)
    REFUSES(CALL);
#undef CALL
    assert_null(redlock_lease_token(NULL, &length));
    assert_null(redlock_lease_resource(NULL, &length));
    assert_null(redlock_lease_token(NULL, NULL));
    assert_null(redlock_lease_resource(NULL, NULL));
    assert_int_equal(length, 4711);
    assert_true(redlock_lease_remaining_ms(NULL) <= 0);
    assert_int_equal(redlock_lease_valid_until_ns(NULL), 0);
    assert_int_equal(redlock_lease_state(NULL), 0);
    assert_int_equal(redlock_lease_node_count_held(NULL), 0);
    redlock_lease_free(NULL);
}

static void the_functions_by_token_need_both_names(void **state)
{
    struct fixture *f = *state;
    char long_token[300];

    memset(long_token, 'x', sizeof long_token - 1);
    long_token[sizeof long_token - 1] = '\0';
#define CALL(error) redlock_unlock_token(f->rl, NULL, "t", error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token(f->rl, "r", NULL, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token(f->rl, "", "t", error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token(f->rl, "r", "", error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token(f->rl, "r", long_token, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token_bytes(f->rl, NULL, 1, "t", 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token_bytes(f->rl, "r", 1, NULL, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_unlock_token_bytes(f->rl, "r", SIZE_MAX, "t", 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token(f->rl, NULL, "t", 1000, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token(f->rl, "r", NULL, 1000, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token(f->rl, "r", "t", 0, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token_bytes(f->rl, NULL, 0, "t", 1, 1000, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token_bytes(f->rl, "r", 1, NULL, 0, 1000, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_extend_token_bytes(f->rl, "r", 1, "t", 1, UINT64_MAX, error)
    REFUSES(CALL);
#undef CALL
}

static void a_request_keeps_what_it_had_when_a_setter_refuses(void **state)
{
    struct fixture *f = *state;
    redlock_request_t *request = redlock_request_new();
    redlock_lease_t *lease = NULL;
    const char *resource = cluster_resource("kept");

    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 10000));
    OK(redlock_request_set_token(request, "mine"));
    INVALID(redlock_request_set_resource(request, NULL));
    INVALID(redlock_request_set_resource_bytes(request, NULL, 3));
    INVALID(redlock_request_set_ttl_ms(request, 0));
    INVALID(redlock_request_set_wait_ms(request, -2));
    INVALID(redlock_request_set_retries(request, -3));
    INVALID(redlock_request_set_token(request, ""));
    INVALID(redlock_request_set_token_bytes(request, "x", 0));
    INVALID(redlock_request_set_token_bytes(request, NULL, 2));
    OK(redlock_lock_request(f->rl, request, &lease, NULL));
    assert_string_equal(redlock_lease_resource(lease, NULL), resource);
    assert_string_equal(redlock_lease_token(lease, NULL), "mine");
    fixture_release(lease);
    redlock_request_free(request);

    INVALID(redlock_request_set_resource(NULL, "r"));
    INVALID(redlock_request_set_resource_bytes(NULL, "r", 1));
    INVALID(redlock_request_set_ttl_ms(NULL, 1));
    INVALID(redlock_request_set_wait_ms(NULL, 1));
    INVALID(redlock_request_set_retries(NULL, 1));
    INVALID(redlock_request_set_token(NULL, "t"));
    INVALID(redlock_request_set_token_bytes(NULL, "t", 1));
    INVALID(redlock_request_set_tag(NULL, 1));
    redlock_request_free(NULL);
}

static void an_error_that_is_null_says_nothing(void **state)
{
    (void)state;
    redlock_error_free(NULL);
    assert_int_equal(redlock_error_code(NULL), REDLOCK_OK);
    assert_string_equal(redlock_error_message(NULL), "");
    assert_int_equal(redlock_error_node_count(NULL), 0);
    assert_null(redlock_error_node_url(NULL, 0));
    assert_int_equal(redlock_error_node_outcome(NULL, 0), REDLOCK_NODE_NONE);
    assert_null(redlock_error_node_text(NULL, 0));
    assert_int_equal(redlock_error_node_elapsed_ms(NULL, 0), 0);
    assert_int_equal(redlock_error_node_remaining_ms(NULL, 0), -1);
}

static void an_inspection_needs_a_resource_and_a_place(void **state)
{
    struct fixture *f = *state;
    redlock_inspection_t *inspect = UNTOUCHED(redlock_inspection_t);
    size_t length = 4711;

#define CALL(error) redlock_inspect(f->rl, NULL, &inspect, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect(f->rl, "", &inspect, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect(f->rl, "r", NULL, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect_bytes(f->rl, NULL, 1, &inspect, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect_bytes(f->rl, NULL, 0, &inspect, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_inspect_bytes(f->rl, "r", 1, NULL, error)
    REFUSES(CALL);
#undef CALL
    assert_ptr_equal(inspect, &untouched);

    redlock_inspection_free(NULL);
    assert_int_equal(redlock_inspection_is_held(NULL), 0);
    assert_null(redlock_inspection_token(NULL, &length));
    assert_int_equal(redlock_inspection_remaining_ms(NULL), 0);
    assert_int_equal(redlock_inspection_node_count_held(NULL), 0);
    assert_int_equal(redlock_inspection_node_count(NULL), 0);
    assert_null(redlock_inspection_node_url(NULL, 0));
    assert_int_equal(redlock_inspection_node_outcome(NULL, 0), REDLOCK_NODE_NONE);
    assert_null(redlock_inspection_node_text(NULL, 0));
    assert_null(redlock_inspection_node_token(NULL, 0, &length));
    assert_int_equal(redlock_inspection_node_remaining_ms(NULL, 0), 0);
    assert_int_equal(length, 4711);
}

static void the_event_loop_needs_a_handle(void **state)
{
    struct fixture *f = *state;
    redlock_request_t *request = redlock_request_new();

    assert_int_equal(redlock_fd(NULL), REDLOCK_E_INVALID);
    assert_int_equal(redlock_timeout_ms(NULL), -1);
    INVALID(redlock_process(NULL));
    assert_null(redlock_next_event(NULL));
#define CALL(error) redlock_submit_lock(NULL, request, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_lock(f->rl, NULL, error)
    REFUSES(CALL);
#undef CALL
    /* Neither resource nor ttl. */
#define CALL(error) redlock_submit_lock(f->rl, request, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_unlock(NULL, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_extend(NULL, 1000, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_unlock_token(NULL, "r", "t", 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_unlock_token(f->rl, NULL, "t", 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_unlock_token(f->rl, "r", "", 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_unlock_token_bytes(f->rl, "r", 1, NULL, 1, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_extend_token(f->rl, "r", NULL, 1000, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_extend_token(f->rl, "r", "t", 0, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_extend_token_bytes(f->rl, NULL, 1, "t", 1, 1000, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_inspect(f->rl, NULL, 1, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_submit_inspect_bytes(f->rl, NULL, 0, 1, error)
    REFUSES(CALL);
#undef CALL
    INVALID(redlock_request_set_auto_extend(NULL, 1));
    INVALID(redlock_request_set_auto_extend(request, 2));
    INVALID(redlock_request_set_max_hold_ms(NULL, 1));
    OK(redlock_request_set_max_hold_ms(request, 0));
    INVALID(redlock_lease_wait_lost(NULL, 0));
    redlock_request_free(request);
}

static void an_event_that_is_null_says_nothing(void **state)
{
    (void)state;
    assert_int_equal(redlock_event_kind(NULL), 0);
    assert_int_equal(redlock_event_tag(NULL), 0);
    assert_int_equal(redlock_event_status(NULL), REDLOCK_OK);
    assert_int_equal(redlock_event_operation(NULL), 0);
    assert_null(redlock_event_error(NULL));
    assert_null(redlock_event_take_lease(NULL));
    assert_null(redlock_event_take_inspection(NULL));
    assert_int_equal(redlock_event_node(NULL), -1);
    assert_int_equal(redlock_event_node_is_up(NULL), 0);
    redlock_event_free(NULL);
}

static void counters_that_are_null_are_zero(void **state)
{
    static uint64_t (*const of_handle[])(const redlock_stats_t *) = {
        redlock_stats_attempts, redlock_stats_acquired, redlock_stats_contended, redlock_stats_no_quorum,
        redlock_stats_released, redlock_stats_extended, redlock_stats_lost, redlock_stats_acquire_ns_sum,
    };
    static uint64_t (*const of_node[])(const redlock_stats_t *, size_t) = {
        redlock_stats_node_requests, redlock_stats_node_replies, redlock_stats_node_timeouts,
        redlock_stats_node_errors, redlock_stats_node_reconnects, redlock_stats_node_latency_ns_sum,
        redlock_stats_node_pending_releases,
    };
    struct fixture *f = *state;
    redlock_stats_t *stats = NULL;

#define CALL(error) redlock_stats(f->rl, NULL, error)
    REFUSES(CALL);
#undef CALL
    redlock_stats_free(NULL);
    for (size_t i = 0; i < sizeof of_handle / sizeof *of_handle; i++)
        assert_int_equal(of_handle[i](NULL), 0);
    for (size_t i = 0; i < sizeof of_node / sizeof *of_node; i++)
        assert_int_equal(of_node[i](NULL, 0), 0);
    assert_int_equal(redlock_stats_node_count(NULL), 0);
    assert_null(redlock_stats_node_url(NULL, 0));
    assert_null(redlock_stats_node_note(NULL, 0));
    assert_int_equal(redlock_stats_node_is_up(NULL, 0), 0);

    OK(redlock_stats(f->rl, &stats, NULL));
    for (size_t i = 0; i < sizeof of_node / sizeof *of_node; i++) {
        assert_int_equal(of_node[i](stats, FIXTURE_NODES), 0);
        assert_int_equal(of_node[i](stats, SIZE_MAX), 0);
    }
    assert_null(redlock_stats_node_url(stats, SIZE_MAX));
    assert_int_equal(redlock_stats_node_is_up(stats, SIZE_MAX), 0);
    redlock_stats_free(stats);
}

static void every_text_is_there_also_for_numbers_that_mean_nothing(void **state)
{
    (void)state;
    assert_string_equal(redlock_status_text(1), "unknown status");
    assert_string_equal(redlock_status_text(REDLOCK_E_INTERNAL - 1), "unknown status");
    assert_string_equal(redlock_status_text(INT32_MIN), "unknown status");
    assert_string_equal(redlock_node_outcome_text(REDLOCK_NODE_PROTOCOL + 1), "unknown outcome");
    assert_string_equal(redlock_node_outcome_text(INT32_MAX), "unknown outcome");
    for (int32_t outcome = REDLOCK_NODE_NONE; outcome <= REDLOCK_NODE_PROTOCOL; outcome++)
        assert_string_not_equal(redlock_node_outcome_text(outcome), "unknown outcome");
    assert_string_equal(redlock_version(), REDLOCK_VERSION_STRING);
    assert_int_equal(redlock_version_number(), REDLOCK_VERSION_NUMBER);
    assert_int_equal(REDLOCK_VERSION_NUMBER, REDLOCK_VERSION_MAJOR * 1000000 + REDLOCK_VERSION_MINOR * 1000 +
                                                 REDLOCK_VERSION_PATCH);
}

static void on_success_no_error_object_is_written(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("success");
    redlock_error_t *error = UNTOUCHED(redlock_error_t);
    redlock_lease_t *lease = NULL;
    redlock_inspection_t *inspect = NULL;
    redlock_stats_t *stats = NULL;
    redlock_t *rl = NULL;

    OK(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, NULL, &rl, &error));
    OK(redlock_wait_ready(f->rl, 1000, &error));
    OK(redlock_lock(f->rl, resource, 10000, 1000, &lease, &error));
    OK(redlock_extend(lease, 20000, &error));
    OK(redlock_extend_token(f->rl, resource, redlock_lease_token(lease, NULL), 20000, &error));
    OK(redlock_inspect(f->rl, resource, &inspect, &error));
    OK(redlock_stats(f->rl, &stats, &error));
    OK(redlock_unlock(lease, &error));
    assert_ptr_equal(error, &untouched);
    redlock_stats_free(stats);
    redlock_inspection_free(inspect);
    redlock_lease_free(lease);
    redlock_free(rl);
}

static void cancellers_and_ends_refuse_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    redlock_lease_t *lease = UNTOUCHED(redlock_lease_t);
    redlock_canceller_t *canceller = redlock_canceller_new();
    redlock_event_t *events[1];
    size_t count = 77;

    assert_non_null(canceller);
    INVALID(redlock_canceller_cancel(NULL));
    assert_int_equal(redlock_canceller_is_cancelled(NULL), 0);
    assert_int_equal(redlock_canceller_is_cancelled(canceller), 0);
    INVALID(redlock_request_set_canceller(NULL, canceller));
    INVALID(redlock_request_set_watch(NULL, 0));
    INVALID(redlock_request_set_report_remaining(NULL, 0));
    INVALID(redlock_unlock_nowait(NULL));
    INVALID(redlock_unlock_token_nowait(NULL, "r", "t"));
    INVALID(redlock_unlock_token_nowait(f->rl, "r", NULL));
    INVALID(redlock_unlock_token_nowait_bytes(f->rl, NULL, 1, "t", 1));
    INVALID(redlock_unlock_token_nowait_bytes(f->rl, "r", 1, "t", 0));
    INVALID(redlock_lease_wait_lost_cancellable(NULL, 0, canceller));
    INVALID(redlock_cancel_count(NULL, 1, &count));
    INVALID(redlock_cancel_count(f->rl, 0, &count));
    assert_int_equal(count, 77);
    OK(redlock_cancel_count(f->rl, 1, NULL));
#define CALL(error) redlock_wait_ready_cancellable(NULL, 0, canceller, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_wait_ready_cancellable(f->rl, -2, NULL, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_close(NULL, 0, 0, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_close(f->rl, 2, 0, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_close(f->rl, 0, -2, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock_bytes(NULL, "r", 1, 1000, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock_bytes(f->rl, "r", 0, 1000, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock_bytes(f->rl, NULL, 1, 1000, 0, &lease, error)
    REFUSES(CALL);
#undef CALL
#define CALL(error) redlock_lock_bytes(f->rl, "r", 1, 1000, 0, NULL, error)
    REFUSES(CALL);
#undef CALL
    assert_ptr_equal(lease, UNTOUCHED(redlock_lease_t));
    assert_int_equal(redlock_next_events(NULL, events, 1), 0);
    assert_int_equal(redlock_next_events(f->rl, NULL, 1), 0);
    assert_int_equal(redlock_next_events(f->rl, NULL, 0), 0);
    assert_null(redlock_event_take_error(NULL));
    assert_in_range(redlock_has_tls(), 0, 1);
    redlock_canceller_free(canceller);
    redlock_canceller_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_cannot_be_made_of_nothing),
        cmocka_unit_test(a_handle_that_is_null_answers_nothing),
        cmocka_unit_test(a_lock_needs_a_resource_a_time_and_a_place_for_the_lease),
        cmocka_unit_test(a_lease_that_is_null_is_over),
        cmocka_unit_test(the_functions_by_token_need_both_names),
        cmocka_unit_test(a_request_keeps_what_it_had_when_a_setter_refuses),
        cmocka_unit_test(an_error_that_is_null_says_nothing),
        cmocka_unit_test(an_inspection_needs_a_resource_and_a_place),
        cmocka_unit_test(cancellers_and_ends_refuse_what_makes_no_sense),
        cmocka_unit_test(the_event_loop_needs_a_handle),
        cmocka_unit_test(an_event_that_is_null_says_nothing),
        cmocka_unit_test(counters_that_are_null_are_zero),
        cmocka_unit_test(every_text_is_there_also_for_numbers_that_mean_nothing),
        cmocka_unit_test(on_success_no_error_object_is_written),
    };

    return cmocka_run_group_tests_name("arguments", tests, fixture_set_up, fixture_tear_down);
}
