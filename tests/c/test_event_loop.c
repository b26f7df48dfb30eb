/* The event loop from C: what events hand out and what becomes of what nobody takes; waits that end at any moment. */
#define _GNU_SOURCE
#include "support/fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

/* Ends a child by another program, which valgrind does not look into: what the child keeps of its parent's memory, on
 * purpose, is no leak. */
static void leave(int code)
{
    char command[16];

    snprintf(command, sizeof command, "exit %d", code);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(99);
}

/* Turns the loop until an operation is done; what else happens is passed over. */
static redlock_event_t *next_done(const redlock_t *rl)
{
    struct pollfd polled = { .fd = redlock_fd(rl), .events = POLLIN };

    assert_true(polled.fd >= 0);
    for (;;) {
        redlock_event_t *event;

        while ((event = redlock_next_event(rl)) != NULL) {
            if (redlock_event_kind(event) == REDLOCK_EVENT_DONE)
                return event;
            redlock_event_free(event);
        }
        assert_int_equal(poll(&polled, 1, (int)(20000 * cluster_slowness())), 1);
        OK(redlock_process(rl));
    }
}

static redlock_request_t *new_request(const char *resource, uint64_t tag)
{
    redlock_request_t *request = redlock_request_new();

    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 60000));
    OK(redlock_request_set_tag(request, tag));
    return request;
}

static void submit_lock(const redlock_t *rl, const char *resource, uint64_t tag)
{
    redlock_request_t *request = new_request(resource, tag);

    OK(redlock_submit_lock(rl, request, NULL));
    redlock_request_free(request);
}

static void expect_done(const redlock_t *rl, int32_t work, uint64_t tag, redlock_status_t status)
{
    redlock_event_t *event = next_done(rl);

    assert_int_equal(redlock_event_operation(event), work);
    assert_int_equal(redlock_event_tag(event), tag);
    assert_int_equal(redlock_event_status(event), status);
    assert_true((redlock_event_error(event) != NULL) == (status != REDLOCK_OK));
    redlock_event_free(event);
}

static void every_operation_can_be_submitted(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("submitted"), *other = cluster_resource("other");
    redlock_event_t *event;
    redlock_lease_t *lease;
    redlock_inspection_t *inspect;

    submit_lock(f->rl, resource, 1);
    event = next_done(f->rl);
    assert_int_equal(redlock_event_operation(event), REDLOCK_OPERATION_LOCK);
    assert_int_equal(redlock_event_tag(event), 1);
    assert_int_equal(redlock_event_status(event), REDLOCK_OK);
    assert_null(redlock_event_error(event));
    assert_null(redlock_event_take_inspection(event));
    assert_int_equal(redlock_event_node(event), -1);
    lease = redlock_event_take_lease(event);
    assert_non_null(lease);
    assert_null(redlock_event_take_lease(event));
    redlock_event_free(event);
    assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_HELD);
    assert_string_equal(redlock_lease_resource(lease, NULL), resource);

    submit_lock(f->rl, resource, 2);
    event = next_done(f->rl);
    assert_int_equal(redlock_event_status(event), REDLOCK_E_NOT_ACQUIRED);
    assert_null(redlock_event_take_lease(event));
    assert_int_equal(redlock_error_code(redlock_event_error(event)), REDLOCK_E_NOT_ACQUIRED);
    assert_int_equal(redlock_error_node_count(redlock_event_error(event)), FIXTURE_NODES);
    redlock_event_free(event);

    OK(redlock_submit_extend(lease, 90000, 3, NULL));
    expect_done(f->rl, REDLOCK_OPERATION_EXTEND, 3, REDLOCK_OK);
    OK(redlock_submit_inspect(f->rl, resource, 4, NULL));
    event = next_done(f->rl);
    assert_int_equal(redlock_event_operation(event), REDLOCK_OPERATION_INSPECT);
    inspect = redlock_event_take_inspection(event);
    assert_null(redlock_event_take_inspection(event));
    redlock_event_free(event);
    assert_string_equal(redlock_inspection_token(inspect, NULL), redlock_lease_token(lease, NULL));
    redlock_inspection_free(inspect);

    OK(redlock_submit_extend_token(f->rl, resource, redlock_lease_token(lease, NULL), 95000, 5, NULL));
    expect_done(f->rl, REDLOCK_OPERATION_EXTEND, 5, REDLOCK_OK);
    OK(redlock_submit_unlock(lease, 6, NULL));
    redlock_lease_free(lease);
    expect_done(f->rl, REDLOCK_OPERATION_UNLOCK, 6, REDLOCK_OK);

    lease = fixture_take(f->rl, other, 60000);
    OK(redlock_submit_extend_token_bytes(f->rl, other, strlen(other), redlock_lease_token(lease, NULL),
                                         strlen(redlock_lease_token(lease, NULL)), 95000, 7, NULL));
    expect_done(f->rl, REDLOCK_OPERATION_EXTEND, 7, REDLOCK_OK);
    OK(redlock_submit_inspect_bytes(f->rl, other, strlen(other), 8, NULL));
    expect_done(f->rl, REDLOCK_OPERATION_INSPECT, 8, REDLOCK_OK);
    OK(redlock_submit_unlock_token_bytes(f->rl, other, strlen(other), redlock_lease_token(lease, NULL),
                                         strlen(redlock_lease_token(lease, NULL)), 9, NULL));
    expect_done(f->rl, REDLOCK_OPERATION_UNLOCK, 9, REDLOCK_OK);
    OK(redlock_submit_unlock_token(f->rl, other, redlock_lease_token(lease, NULL), 10, NULL));
    expect_done(f->rl, REDLOCK_OPERATION_UNLOCK, 10, REDLOCK_E_LOST);
    redlock_lease_free(lease);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 2000 * cluster_slowness()));
    assert_true(cluster_wait_holding(f->cluster, other, 0, 2000 * cluster_slowness()));
}

static void a_lease_that_nobody_takes_is_released_with_its_event_or_its_handle(void **state)
{
    struct fixture *f = *state;
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    char with_event[128], with_handle[128];

    strcpy(with_event, cluster_resource("event"));
    strcpy(with_handle, cluster_resource("handle"));
    submit_lock(rl, with_event, 1);
    redlock_event_free(next_done(rl));
    OK(redlock_process(rl));
    assert_true(cluster_wait_holding(f->cluster, with_event, 0, 2000 * cluster_slowness()));

    submit_lock(rl, with_handle, 2);
    OK(redlock_process(rl));
    assert_true(cluster_wait_holding(f->cluster, with_handle, FIXTURE_NODES, 2000 * cluster_slowness()));
    OK(redlock_process(rl));
    redlock_free(rl);
    assert_true(cluster_wait_holding(f->cluster, with_handle, 0, 2000 * cluster_slowness()));
}

static void a_deletion_is_an_event_and_ends_a_wait_for_loss(void **state)
{
    struct fixture *f = *state;
    char resource[128];
    struct pollfd polled = { .fd = redlock_fd(f->rl), .events = POLLIN };
    redlock_event_t *event;
    redlock_lease_t *lease;
    uint64_t begun;
    int is_lost = 0;

    strcpy(resource, cluster_resource("deleted"));
    submit_lock(f->rl, resource, 42);
    event = next_done(f->rl);
    lease = redlock_event_take_lease(event);
    redlock_event_free(event);
    OK(redlock_lease_wait_lost(lease, 0));
    OK(redlock_lease_wait_lost(lease, 100));
    assert_int_equal(redlock_lease_wait_lost(lease, -2), REDLOCK_E_INVALID);
    assert_true(cluster_wait_holding(f->cluster, resource, FIXTURE_NODES, 2000 * cluster_slowness()));
    begun = cluster_now_ms();
    for (size_t node = 0; node < 3; node++)
        free(cluster_cli(f->cluster, node, "DEL", resource, NULL));
    while (!is_lost) {
        assert_int_equal(poll(&polled, 1, (int)(5000 * cluster_slowness())), 1);
        OK(redlock_process(f->rl));
        while ((event = redlock_next_event(f->rl)) != NULL) {
            is_lost |= redlock_event_kind(event) == REDLOCK_EVENT_LEASE_LOST && redlock_event_tag(event) == 42 &&
                       redlock_event_status(event) == REDLOCK_E_LOST;
            redlock_event_free(event);
        }
    }
    assert_true(cluster_now_ms() - begun < 1000 * cluster_slowness());
    assert_int_equal(redlock_lease_state(lease), REDLOCK_LEASE_LOST);
    assert_int_equal(redlock_lease_wait_lost(lease, -1), REDLOCK_E_LOST);
    redlock_lease_free(lease);
    free(cluster_cli(f->cluster, 3, "DEL", resource, NULL));
    free(cluster_cli(f->cluster, 4, "DEL", resource, NULL));
}

static void a_child_has_no_loop_and_closes_all_descriptors(void **state)
{
    struct fixture *f = *state;
    size_t before = fixture_entries("/proc/self/fd");
    redlock_t *rl = fixture_handle(f->cluster, NULL);
    redlock_request_t *request = new_request(cluster_resource("forked"), 1);
    redlock_lease_t *lease = NULL;
    size_t made;
    pid_t child;

    assert_true(redlock_fd(rl) >= 0);
    OK(redlock_request_set_auto_extend(request, 1));
    OK(redlock_lock_request(rl, request, &lease, NULL));
    made = fixture_entries("/proc/self/fd") - before;
    child = fork();
    if (child == 0) {
        size_t inherited = fixture_entries("/proc/self/fd");
        int is_good = redlock_fd(rl) == REDLOCK_E_FORKED && redlock_process(rl) == REDLOCK_E_FORKED &&
                      redlock_timeout_ms(rl) == -1 && redlock_next_event(rl) == NULL &&
                      redlock_submit_lock(rl, request, NULL) == REDLOCK_E_FORKED &&
                      redlock_submit_unlock(lease, 1, NULL) == REDLOCK_E_FORKED &&
                      redlock_lease_wait_lost(lease, -1) == REDLOCK_E_FORKED;

        alarm((unsigned)(10 * cluster_slowness()));
        redlock_free(rl);
        redlock_lease_free(lease);
        leave(is_good ? inherited - fixture_entries("/proc/self/fd") == made ? 0 : 2 : 1);
    }
    assert_int_equal(fixture_exit_code(child), 0);
    fixture_release(lease);
    redlock_request_free(request);
    redlock_free(rl);
    assert_int_equal(fixture_entries("/proc/self/fd"), before);
}

/* The waits of the next test end at any moment: by cancellation, by a signal, with their handle. */

enum { WAITERS = 6 };

struct waiter {
    pthread_t thread;
    redlock_t *rl;
    const char *resource;
    atomic_bool is_over;
    atomic_int ends[5];
};

static void ignore(int number)
{
    (void)number;
}

static void *wait_again_and_again(void *argument)
{
    struct waiter *waiter = argument;
    redlock_request_t *request = redlock_request_new();

    redlock_request_set_resource(request, waiter->resource);
    redlock_request_set_ttl_ms(request, 2000);
    redlock_request_set_wait_ms(request, REDLOCK_NO_LIMIT);
    redlock_request_set_tag(request, 1);
    while (!atomic_load(&waiter->is_over)) {
        redlock_lease_t *lease = NULL;

        switch (redlock_lock_request(waiter->rl, request, &lease, NULL)) {
        case REDLOCK_OK:
            redlock_unlock(lease, NULL);
            redlock_lease_free(lease);
            atomic_fetch_add(&waiter->ends[0], 1);
            break;
        case REDLOCK_E_CANCELLED:
            atomic_fetch_add(&waiter->ends[1], 1);
            break;
        case REDLOCK_E_INTERRUPTED:
            atomic_fetch_add(&waiter->ends[2], 1);
            break;
        default:
            atomic_fetch_add(&waiter->ends[4], 1);
        }
    }
    redlock_request_free(request);
    return NULL;
}

static void waits_that_end_at_any_moment_leave_nothing(void **state)
{
    struct fixture *f = *state;
    int rounds = cluster_slowness() > 1 ? 300 : 6000;
    struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
    char resource[128];
    size_t descriptors = fixture_entries("/proc/self/fd"), threads = fixture_entries("/proc/self/task");
    redlock_t *handles[2] = { fixture_handle(f->cluster, NULL), fixture_handle(f->cluster, NULL) };
    struct waiter waiters[WAITERS];
    unsigned seed = 4711;
    int ends[5] = { 0 };

    strcpy(resource, cluster_resource("chaos"));
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter) { .rl = handles[i % 2], .resource = resource };
        pthread_create(&waiters[i].thread, NULL, wait_again_and_again, &waiters[i]);
    }
    for (int round = 0; round < rounds; round++) {
        int what = rand_r(&seed) % 16;

        if (what < 7) {
            OK(redlock_cancel(handles[what % 2], 1));
        } else if (what < 14) {
            pthread_kill(waiters[rand_r(&seed) % WAITERS].thread, SIGUSR1);
        } else if (what == 14) {
            /* A handle that is freed in the middle of its own submitted waits. */
            redlock_t *rl = fixture_handle(f->cluster, NULL);

            submit_lock(rl, resource, 1);
            if (round % 2)
                OK(redlock_process(rl));
            redlock_free(rl);
        } else if (round % 8 == 0) {
            pid_t child = fork();

            if (child == 0) {
                redlock_free(handles[0]);
                leave(0);
            }
            assert_int_equal(fixture_exit_code(child), 0);
        }
        usleep((useconds_t)(rand_r(&seed) % 700));
    }
    for (int i = 0; i < WAITERS; i++)
        atomic_store(&waiters[i].is_over, true);
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(waiters[i].thread, NULL);
        for (int end = 0; end < 5; end++)
            ends[end] += atomic_load(&waiters[i].ends[end]);
    }
    print_message("%d had it, %d cancelled, %d interrupted\n", ends[0], ends[1], ends[2]);
    assert_true(ends[0] > 0 && ends[1] > 0 && ends[2] > 0);
    assert_int_equal(ends[4], 0);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 1000 * cluster_slowness()));
    redlock_free(handles[0]);
    redlock_free(handles[1]);
    assert_int_equal(fixture_entries("/proc/self/fd"), descriptors);
    for (int tries = 0; fixture_entries("/proc/self/task") > threads && tries < 100; tries++)
        cluster_sleep_ms(20);
    assert_int_equal(fixture_entries("/proc/self/task"), threads);
    sigaction(SIGUSR1, &(struct sigaction) { .sa_handler = SIG_DFL }, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_can_be_submitted),
        cmocka_unit_test(a_lease_that_nobody_takes_is_released_with_its_event_or_its_handle),
        cmocka_unit_test(a_deletion_is_an_event_and_ends_a_wait_for_loss),
        cmocka_unit_test(a_child_has_no_loop_and_closes_all_descriptors),
        cmocka_unit_test(waits_that_end_at_any_moment_leave_nothing),
    };

    return cmocka_run_group_tests_name("event loop", tests, fixture_set_up, fixture_tear_down);
}
