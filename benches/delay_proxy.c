/* A TCP proxy that holds every byte back for a fixed time in each direction: a far-away server without tc.
 *
 *   delay_proxy DELAY_US host:port...
 *
 * Listens on a free loopback port per upstream, prints the ports on one line, and ends when its standard input does.
 * What arrives is stamped and queued, so that pipelined traffic is late but never slower: no sleep per chunk. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    UPSTREAMS_MAX = 15,
    LINKS_MAX = 1024,
    CHUNK_MAX = 65536,
    QUEUE_BYTES_MAX = 1 << 20, /* a direction that holds more is not read until it has drained */
};

struct chunk {
    struct chunk *next;
    uint64_t due_ns;
    size_t length, sent;
    char bytes[];
};

/* One direction of one connection. */
struct pipe {
    struct chunk *first, **last;
    size_t queued;
    int blocked; /* the receiver's socket is full */
};

struct link {
    int fd[2];           /* client, server */
    struct pipe pipe[2]; /* pipe[i] carries what fd[i] sent */
};

static uint64_t delay_ns;
static struct link *links[LINKS_MAX];
static size_t link_count;
static int listener[UPSTREAMS_MAX];
static struct sockaddr_in upstream[UPSTREAMS_MAX];
static int upstream_count;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "delay_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void prepare(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void listen_for(const char *target)
{
    char host[64];
    unsigned port;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    struct sockaddr_in *there = &upstream[upstream_count];

    if (sscanf(target, "%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &there->sin_addr) != 1)
        errno = EINVAL, fail(target);
    there->sin_family = AF_INET;
    there->sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) != 0 || listen(fd, 512) != 0 ||
        getsockname(fd, (struct sockaddr *)&here, &length) != 0)
        fail("listen");
    listener[upstream_count++] = fd;
    printf("%u ", (unsigned)ntohs(here.sin_port));
}

static void open_link(int number)
{
    int client = accept4(listener[number], NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct link *link = link_count < LINKS_MAX ? calloc(1, sizeof *link) : NULL;
    if (link == NULL || server < 0 || connect(server, (struct sockaddr *)&upstream[number], sizeof upstream[number]) != 0) {
        close(client);
        if (server >= 0)
            close(server);
        free(link);
        return;
    }
    prepare(client);
    prepare(server);
    *link = (struct link){.fd = {client, server}};
    for (int side = 0; side < 2; side++)
        link->pipe[side].last = &link->pipe[side].first;
    links[link_count++] = link;
}

static void close_link(size_t at)
{
    struct link *link = links[at];
    for (int side = 0; side < 2; side++) {
        for (struct chunk *chunk = link->pipe[side].first, *next; chunk != NULL; chunk = next) {
            next = chunk->next;
            free(chunk);
        }
        close(link->fd[side]);
    }
    free(link);
    links[at] = links[--link_count];
}

static int take_in(struct link *link, int side)
{
    static char bytes[CHUNK_MAX];
    struct pipe *pipe = &link->pipe[side];
    ssize_t got = recv(link->fd[side], bytes, sizeof bytes, 0);
    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    struct chunk *chunk = malloc(sizeof *chunk + (size_t)got);
    if (chunk == NULL)
        return -1;
    *chunk = (struct chunk){.due_ns = now_ns() + delay_ns, .length = (size_t)got};
    memcpy(chunk->bytes, bytes, (size_t)got);
    *pipe->last = chunk;
    pipe->last = &chunk->next;
    pipe->queued += chunk->length;
    return 0;
}

static int give_out(struct link *link, int side, uint64_t now)
{
    struct pipe *pipe = &link->pipe[side];
    for (struct chunk *chunk; (chunk = pipe->first) != NULL && chunk->due_ns <= now;) {
        ssize_t sent = send(link->fd[1 - side], chunk->bytes + chunk->sent, chunk->length - chunk->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (sent > 0)
            chunk->sent += (size_t)sent;
        pipe->blocked = chunk->sent < chunk->length;
        if (pipe->blocked)
            return 0;
        pipe->queued -= chunk->length;
        if ((pipe->first = chunk->next) == NULL)
            pipe->last = &pipe->first;
        free(chunk);
    }
    return 0;
}

/* Sends what is due on all links; returns when the next chunk is due, or UINT64_MAX. */
static uint64_t give_out_all(void)
{
    uint64_t now = now_ns(), next = UINT64_MAX;
    for (size_t i = link_count; i-- > 0;) {
        struct link *link = links[i];
        if (give_out(link, 0, now) != 0 || give_out(link, 1, now) != 0) {
            close_link(i);
            continue;
        }
        for (int side = 0; side < 2; side++) {
            const struct chunk *first = link->pipe[side].first;
            if (first != NULL && !link->pipe[side].blocked && first->due_ns < next)
                next = first->due_ns;
        }
    }
    return next;
}

int main(int argc, char **argv)
{
    static struct pollfd set[1 + UPSTREAMS_MAX + 2 * LINKS_MAX];
    if (argc < 3 || argc - 2 > UPSTREAMS_MAX)
        return fprintf(stderr, "usage: delay_proxy DELAY_US host:port...\n"), 2;
    delay_ns = strtoull(argv[1], NULL, 10) * 1000;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    for (int i = 2; i < argc; i++)
        listen_for(argv[i]);
    printf("\n");
    fflush(stdout);

    for (;;) {
        uint64_t next = give_out_all(), now = now_ns();
        set[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        for (int i = 0; i < upstream_count; i++)
            set[1 + i] = (struct pollfd){.fd = listener[i], .events = POLLIN};
        size_t at = 1 + (size_t)upstream_count, polled = link_count;
        for (size_t i = 0; i < polled; i++) {
            for (int side = 0; side < 2; side++) {
                const struct link *link = links[i];
                short in = link->pipe[side].queued < QUEUE_BYTES_MAX ? POLLIN : 0;
                short out = link->pipe[1 - side].blocked ? POLLOUT : 0;
                set[at++] = (struct pollfd){.fd = link->fd[side], .events = (short)(in | out)};
            }
        }
        uint64_t wait = next <= now ? 0 : next - now;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        if (ppoll(set, at, next == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR)
            fail("poll");
        if (set[0].revents != 0)
            return 0;

        /* Backwards: closing a link moves the last one into its place. */
        for (size_t i = polled; i-- > 0;) {
            for (int side = 0; side < 2; side++) {
                short happened = set[1 + (size_t)upstream_count + 2 * i + (size_t)side].revents;
                if ((happened & (POLLIN | POLLHUP | POLLERR)) != 0 && take_in(links[i], side) != 0) {
                    close_link(i);
                    break;
                }
            }
        }
        for (int i = 0; i < upstream_count; i++) {
            if (set[1 + i].revents != 0)
                open_link(i);
        }
    }
}
