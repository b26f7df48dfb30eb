#define _GNU_SOURCE
#include "loss.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library.h"
#include "measure.h"

#ifdef BENCH_WITH_LIBRARY

enum { LOSS_TTL_MS = 10000, ARMING_MS = 5 };

/* Holder and administrator in one program, so that they share a clock. */
struct scene {
    redlock_t *redlock;
    const redlock_lease_t *lease;
    uint64_t lost_ns;
    int admin[NODES_MAX];
    size_t quorum;
};

static int scene_open(struct scene *scene, const struct node_set *nodes)
{
    if ((scene->redlock = handle_on(nodes, NULL)) == NULL)
        return -1;
    if (redlock_wait_ready(scene->redlock, 2000, NULL) != REDLOCK_OK)
        return complain_of("redlock_wait_ready", NULL);
    for (scene->quorum = 0; scene->quorum < nodes->count / 2 + 1; scene->quorum++) {
        int fd = node_connect(&nodes->node[scene->quorum]);
        if (fd < 0)
            return -1;
        fcntl(fd, F_SETFL, 0);
        scene->admin[scene->quorum] = fd;
    }
    return 0;
}

static void scene_close(struct scene *scene)
{
    redlock_free(scene->redlock);
    while (scene->quorum > 0)
        close(scene->admin[--scene->quorum]);
}

/* When it began. */
static uint64_t delete_at_quorum(const struct scene *scene, const char *resource)
{
    char command[80];
    int length = snprintf(command, sizeof command, "DEL %s\r\n", resource);
    uint64_t begun_ns = now_ns();
    for (size_t i = 0; i < scene->quorum; i++)
        send(scene->admin[i], command, (size_t)length, MSG_NOSIGNAL);
    return begun_ns;
}

static int all_were_deleted(const struct scene *scene)
{
    char reply[4];
    for (size_t i = 0; i < scene->quorum; i++) {
        if (recv(scene->admin[i], reply, sizeof reply, MSG_WAITALL) != sizeof reply || memcmp(reply, ":1\r\n", 4) != 0)
            return complain_of("DEL", NULL);
    }
    return 0;
}

static void *wait_lost(void *argument)
{
    struct scene *scene = argument;
    if (redlock_lease_wait_lost(scene->lease, LOSS_TTL_MS / 2) == REDLOCK_E_LOST)
        scene->lost_ns = now_ns();
    return NULL;
}

static int round_blocking(struct scene *scene, const char *resource, uint64_t *took_ns)
{
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    pthread_t thread;
    if (redlock_lock(scene->redlock, resource, LOSS_TTL_MS, 0, &lease, &error) != REDLOCK_OK)
        return complain_of("redlock_lock", error);
    scene->lease = lease;
    scene->lost_ns = 0;
    pthread_create(&thread, NULL, wait_lost, scene);
    usleep(ARMING_MS * 1000);
    uint64_t begun_ns = delete_at_quorum(scene, resource);
    pthread_join(thread, NULL);
    *took_ns = scene->lost_ns - begun_ns;
    int result = scene->lost_ns != 0 ? all_were_deleted(scene) : complain_of("no loss before the deadline", NULL);
    redlock_unlock(lease, NULL);
    redlock_lease_free(lease);
    return result;
}

/* Turns the loop until an event of this kind comes, or time is over. */
static redlock_event_t *turn(const redlock_t *redlock, int32_t kind, int timeout_ms)
{
    struct pollfd polled = {.fd = redlock_fd(redlock), .events = POLLIN};
    uint64_t until_ns = now_ns() + (uint64_t)timeout_ms * 1000000;
    while (now_ns() < until_ns) {
        redlock_event_t *event;
        redlock_process(redlock);
        while ((event = redlock_next_event(redlock)) != NULL) {
            if (redlock_event_kind(event) == kind)
                return event;
            redlock_event_free(event);
        }
        poll(&polled, 1, (int)((until_ns - now_ns()) / 1000000) + 1);
    }
    return NULL;
}

static int round_loop(struct scene *scene, const char *resource, uint64_t *took_ns)
{
    redlock_request_t *request = redlock_request_new();
    redlock_request_set_resource(request, resource);
    redlock_request_set_ttl_ms(request, LOSS_TTL_MS);
    redlock_submit_lock(scene->redlock, request, NULL);
    redlock_request_free(request);
    redlock_event_t *event = turn(scene->redlock, REDLOCK_EVENT_DONE, LOSS_TTL_MS / 2);
    redlock_lease_t *lease = redlock_event_take_lease(event);
    redlock_event_free(event);
    if (lease == NULL)
        return complain_of("redlock_submit_lock", NULL);
    redlock_event_free(turn(scene->redlock, REDLOCK_EVENT_LEASE_LOST, ARMING_MS));
    uint64_t begun_ns = delete_at_quorum(scene, resource);
    event = turn(scene->redlock, REDLOCK_EVENT_LEASE_LOST, LOSS_TTL_MS / 2);
    *took_ns = now_ns() - begun_ns;
    int result = event != NULL ? all_were_deleted(scene) : complain_of("no loss before the deadline", NULL);
    redlock_event_free(event);
    redlock_unlock(lease, NULL);
    redlock_lease_free(lease);
    return result;
}

int loss_measure(const struct node_set *nodes, enum face face, unsigned rounds, struct loss *out)
{
    struct scene scene = {0};
    struct samples samples;
    int result = scene_open(&scene, nodes);
    samples_init(&samples);
    for (unsigned round = 0; round < rounds && result == 0; round++) {
        char resource[64];
        uint64_t took_ns = 0;
        snprintf(resource, sizeof resource, "bench:loss:%d:%u", (int)face, round);
        result = (face == FACE_LOOP ? round_loop : round_blocking)(&scene, resource, &took_ns);
        samples_add(&samples, took_ns, took_ns);
    }
    struct round all = samples_summarize(&samples, 1, 0);
    *out = (struct loss){.p50_us = all.p50_us, .p99_us = all.p99_us};
    samples_free(&samples);
    scene_close(&scene);
    return result;
}

#else

int loss_measure(const struct node_set *nodes, enum face face, unsigned rounds, struct loss *out)
{
    (void)nodes, (void)face, (void)rounds;
    *out = (struct loss){0};
    return 0;
}

#endif
