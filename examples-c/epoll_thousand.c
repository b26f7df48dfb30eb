/* A thousand locks in one thread: one epoll loop takes them, has them extend themselves, and gives them back.
 *
 *     cc -std=c99 epoll_thousand.c -o epoll_thousand $(pkg-config --cflags --libs redlock)
 *     SECONDS_HELD=60 ./epoll_thousand redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3
 *
 * Try `redis-cli DEL examples/thousand/7` on all servers meanwhile: the loss is told at once. */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define LOCKS 1000
#define TTL_MS 6000

/* The tag of lock i is i + 1. */
static redlock_lease_t *leases[LOCKS];
static int answered, taken, extended, lost, released, failed;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void begin(redlock_t *rl)
{
    redlock_request_t *request = redlock_request_new();

    redlock_request_set_ttl_ms(request, TTL_MS);
    redlock_request_set_wait_ms(request, 10000);
    redlock_request_set_auto_extend(request, 1);
    for (uint64_t i = 0; i < LOCKS; i++) {
        char resource[64];

        snprintf(resource, sizeof resource, "examples/thousand/%" PRIu64, i);
        redlock_request_set_resource(request, resource);
        redlock_request_set_tag(request, i + 1);
        if (redlock_submit_lock(rl, request, NULL) != REDLOCK_OK)
            failed++;
    }
    redlock_request_free(request);
}

static void give_back(void)
{
    for (uint64_t i = 0; i < LOCKS; i++)
        if (leases[i] != NULL && redlock_submit_unlock(leases[i], i + 1, NULL) != REDLOCK_OK)
            failed++;
}

static void react(redlock_event_t *event)
{
    uint64_t tag = redlock_event_tag(event);
    int is_good = redlock_event_status(event) == REDLOCK_OK;

    switch (redlock_event_kind(event)) {
    case REDLOCK_EVENT_LEASE_EXTENDED:
        extended += is_good;
        break;
    case REDLOCK_EVENT_LEASE_LOST:
        printf("lock %" PRIu64 " is lost: whatever it protected must stop\n", tag - 1);
        fflush(stdout);
        lost++;
        break;
    case REDLOCK_EVENT_DONE:
        if (redlock_event_operation(event) == REDLOCK_OPERATION_LOCK) {
            leases[tag - 1] = redlock_event_take_lease(event);
            answered++;
            taken += is_good;
        } else {
            released += is_good;
            redlock_lease_free(leases[tag - 1]);
            leases[tag - 1] = NULL;
        }
        /* Unlocking what is lost is bound to say so. */
        if (!is_good && redlock_event_status(event) != REDLOCK_E_LOST) {
            fprintf(stderr, "lock %" PRIu64 ": %s\n", tag - 1, redlock_error_message(redlock_event_error(event)));
            failed++;
        }
        break;
    }
}

int main(int argc, char **argv)
{
    const char *held = getenv("SECONDS_HELD");
    int64_t held_ms = 1000 * (held != NULL ? atoi(held) : 3), end = INT64_MAX;
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    struct epoll_event readable = { .events = EPOLLIN };
    int loop = epoll_create1(EPOLL_CLOEXEC), is_ending = 0;

    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, redlock_fd(rl), &readable) != 0) {
        perror("epoll");
        return 1;
    }
    begin(rl);
    while (failed == 0 && !(is_ending && released + lost >= taken)) {
        int64_t left = end - now_ms();
        redlock_event_t *event;

        if (answered == LOCKS && end == INT64_MAX) {
            end = now_ms() + held_ms;
        } else if (left <= 0 && !is_ending) {
            printf("%d locks were taken, and extended %d times\n", taken, extended);
            give_back();
            is_ending = 1;
        }
        if (epoll_wait(loop, &readable, 1, left > 0 && left < 1000 ? (int)left : 1000) > 0)
            redlock_process(rl);
        while ((event = redlock_next_event(rl)) != NULL) {
            react(event);
            redlock_event_free(event);
        }
    }
    printf("%d released, %d lost, %d failed\n", released, lost, failed);
    for (int i = 0; i < LOCKS; i++)
        redlock_lease_free(leases[i]);
    close(loop);
    redlock_free(rl);
    return taken != LOCKS || failed > 0;
}
