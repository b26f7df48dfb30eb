/* Cancellers: before an operation begins, while it runs, after it has ended; from threads and from signal handlers. */
#include "support/fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

enum { RACES = 10000, THREADS = 16 };

static redlock_request_t *request_for(const char *resource, int64_t wait_ms, const redlock_canceller_t *canceller)
{
    redlock_request_t *request = redlock_request_new();

    OK(redlock_request_set_resource(request, resource));
    OK(redlock_request_set_ttl_ms(request, 60000));
    OK(redlock_request_set_wait_ms(request, wait_ms));
    OK(redlock_request_set_canceller(request, canceller));
    return request;
}

struct waiter {
    const redlock_t *rl;
    redlock_request_t *request;
    atomic_int has_begun;
    redlock_status_t status;
};

static void *wait_for_lock(void *argument)
{
    struct waiter *self = argument;
    redlock_lease_t *lease = NULL;

    self->has_begun = 1;
    self->status = redlock_lock_request(self->rl, self->request, &lease, NULL);
    redlock_lease_free(lease);
    return NULL;
}

static void a_canceller_ends_its_operation_whenever_it_is_used(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("race");
    redlock_t *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *held = fixture_take(other, resource, 600000);
    unsigned rounds = cluster_slowness() > 1 ? RACES / 50 : RACES;

    for (unsigned round = 0; round < rounds; round++) {
        redlock_canceller_t *canceller = redlock_canceller_new();
        struct waiter waiter = { .rl = f->rl, .request = request_for(resource, -1, canceller) };
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, &waiter), 0);
        while (!waiter.has_begun)
            ;
        for (volatile unsigned spin = (unsigned)rand() % 20000; spin > 0; spin--)
            ;
        OK(redlock_canceller_cancel(canceller));
        /* It may go at once: the operation keeps what it needs. */
        redlock_canceller_free(canceller);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(waiter.status, REDLOCK_E_CANCELLED);
        redlock_request_free(waiter.request);
    }
    fixture_release(held);
    assert_true(cluster_wait_holding(f->cluster, resource, 0, 5000));
    redlock_free(other);
}

static void a_used_canceller_lets_nothing_begin(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("sticky");
    redlock_canceller_t *canceller = redlock_canceller_new();
    redlock_request_t *request = request_for(resource, 0, canceller);
    redlock_lease_t *held = fixture_take(f->rl, cluster_resource("other"), 60000), *lease = NULL;
    redlock_event_t *event;

    assert_int_equal(redlock_canceller_is_cancelled(canceller), 0);
    OK(redlock_canceller_cancel(canceller));
    OK(redlock_canceller_cancel(canceller));
    assert_int_equal(redlock_canceller_is_cancelled(canceller), 1);
    assert_int_equal(redlock_lock_request(f->rl, request, &lease, NULL), REDLOCK_E_CANCELLED);
    assert_int_equal(redlock_wait_ready_cancellable(f->rl, -1, canceller, NULL), REDLOCK_E_CANCELLED);
    assert_int_equal(redlock_lease_wait_lost_cancellable(held, -1, canceller), REDLOCK_E_CANCELLED);
    OK(redlock_submit_lock(f->rl, request, NULL));
    OK(redlock_process(f->rl));
    while ((event = redlock_next_event(f->rl)) != NULL && redlock_event_kind(event) != REDLOCK_EVENT_DONE)
        redlock_event_free(event);
    assert_non_null(event);
    assert_int_equal(redlock_event_status(event), REDLOCK_E_CANCELLED);
    redlock_event_free(event);
    assert_int_equal(cluster_holding(f->cluster, resource), 0);
    /* Without the canceller the same request works. */
    OK(redlock_request_set_canceller(request, NULL));
    OK(redlock_lock_request(f->rl, request, &lease, NULL));
    fixture_release(lease);
    fixture_release(held);
    redlock_request_free(request);
    redlock_canceller_free(canceller);
    redlock_canceller_free(NULL);
    assert_int_equal(redlock_canceller_cancel(NULL), REDLOCK_E_INVALID);
    assert_int_equal(redlock_canceller_is_cancelled(NULL), 0);
}

static void one_canceller_ends_all_that_carry_it_and_nobody_else(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("crowd");
    redlock_t *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *held = fixture_take(other, resource, 600000);
    redlock_canceller_t *canceller = redlock_canceller_new();
    struct waiter waiter[THREADS + 1];
    pthread_t thread[THREADS + 1];

    for (size_t i = 0; i <= THREADS; i++) {
        /* Two handles; the last one does not carry it. */
        waiter[i] = (struct waiter){ .rl = i % 2 == 0 ? f->rl : other };
        waiter[i].request = request_for(resource, -1, i < THREADS ? canceller : NULL);
        assert_int_equal(pthread_create(&thread[i], NULL, wait_for_lock, &waiter[i]), 0);
    }
    usleep(50000);
    OK(redlock_canceller_cancel(canceller));
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(waiter[i].status, REDLOCK_E_CANCELLED);
        redlock_request_free(waiter[i].request);
    }
    fixture_release(held);
    assert_int_equal(pthread_join(thread[THREADS], NULL), 0);
    assert_int_equal(waiter[THREADS].status, REDLOCK_OK);
    redlock_request_free(waiter[THREADS].request);
    redlock_canceller_free(canceller);
    redlock_free(other);
}

static void submitted_operations_end_by_the_descriptor_alone(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("loop");
    redlock_t *other = fixture_handle(f->cluster, NULL);
    redlock_lease_t *held = fixture_take(other, resource, 600000);
    redlock_canceller_t *canceller = redlock_canceller_new();
    redlock_request_t *request = request_for(resource, -1, canceller);
    struct pollfd fd = { .fd = redlock_fd(f->rl), .events = POLLIN };
    size_t ended = 0, count;
    redlock_event_t *events[8];
    int was_cancelled = 0;

    for (uint64_t tag = 1; tag <= 100; tag++) {
        OK(redlock_request_set_tag(request, tag));
        OK(redlock_submit_lock(f->rl, request, NULL));
    }
    for (int turns = 0; ended < 100 && turns < 10000; turns++) {
        assert_true(poll(&fd, 1, 20000) >= 0);
        OK(redlock_process(f->rl));
        while ((count = redlock_next_events(f->rl, events, 8)) > 0) {
            for (size_t i = 0; i < count; i++) {
                if (redlock_event_kind(events[i]) == REDLOCK_EVENT_DONE) {
                    redlock_error_t *error = redlock_event_take_error(events[i]);

                    assert_int_equal(redlock_event_status(events[i]), REDLOCK_E_CANCELLED);
                    assert_int_equal(redlock_error_code(error), REDLOCK_E_CANCELLED);
                    assert_null(redlock_event_take_error(events[i]));
                    assert_null(redlock_event_error(events[i]));
                    redlock_error_free(error);
                    ended++;
                }
                redlock_event_free(events[i]);
            }
        }
        if (!was_cancelled)
            OK(redlock_canceller_cancel(canceller));
        was_cancelled = 1;
    }
    assert_int_equal(ended, 100);
    assert_int_equal(redlock_next_events(NULL, events, 8), 0);
    assert_int_equal(redlock_next_events(f->rl, NULL, 8), 0);
    redlock_request_free(request);
    redlock_canceller_free(canceller);
    fixture_release(held);
    redlock_free(other);
}

static redlock_canceller_t *of_handler;

static void on_signal(int signal)
{
    (void)signal;
    errno = 4711;
    redlock_canceller_cancel(of_handler);
    if (errno != 4711)
        abort();
}

static void a_signal_handler_may_cancel(void **state)
{
    struct fixture *f = *state;
    const char *resource = cluster_resource("handler");
    redlock_options_t *options = fixture_options();
    struct sigaction action = { .sa_handler = on_signal }, before;
    redlock_t *rl;
    redlock_lease_t *held = fixture_take(f->rl, resource, 600000);
    unsigned rounds = cluster_slowness() > 1 ? 5 : 200;

    /* The wait itself does not end by signals. */
    OK(redlock_options_set_interruptible(options, 0));
    rl = fixture_handle(f->cluster, options);
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    for (unsigned round = 0; round < rounds; round++) {
        struct waiter waiter = { .rl = rl };
        pthread_t thread;

        of_handler = redlock_canceller_new();
        waiter.request = request_for(resource, -1, of_handler);
        assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, &waiter), 0);
        while (!waiter.has_begun)
            ;
        usleep((unsigned)rand() % 2000);
        assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(waiter.status, REDLOCK_E_CANCELLED);
        redlock_request_free(waiter.request);
        redlock_canceller_free(of_handler);
    }
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    fixture_release(held);
    redlock_free(rl);
}

static void a_canceller_outlives_its_handles(void **state)
{
    struct fixture *f = *state;
    redlock_canceller_t *canceller = redlock_canceller_new();
    size_t descriptors;

    redlock_free(fixture_handle(f->cluster, NULL));
    descriptors = fixture_entries("/proc/self/fd");
    for (int i = 0; i < 20; i++) {
        redlock_t *rl = fixture_handle(f->cluster, NULL);

        OK(redlock_wait_ready_cancellable(rl, 0, canceller, NULL));
        assert_true(redlock_fd(rl) >= 0);
        redlock_free(rl);
    }
    assert_int_equal(fixture_entries("/proc/self/fd"), descriptors);
    OK(redlock_canceller_cancel(canceller));
    redlock_canceller_free(canceller);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_canceller_ends_its_operation_whenever_it_is_used),
        cmocka_unit_test(a_used_canceller_lets_nothing_begin),
        cmocka_unit_test(one_canceller_ends_all_that_carry_it_and_nobody_else),
        cmocka_unit_test(submitted_operations_end_by_the_descriptor_alone),
        cmocka_unit_test(a_signal_handler_may_cancel),
        cmocka_unit_test(a_canceller_outlives_its_handles),
    };

    return cmocka_run_group_tests_name("cancellers", tests, fixture_set_up, fixture_tear_down);
}
