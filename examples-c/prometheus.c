/* What an operator sees: one thread holds a lock that extends itself, serves its counters in the text format of Prometheus, and
 * logs what happens, with levels. Nothing is called from a thread of the library: the log comes from the event queue.
 *
 *     cc -std=c99 prometheus.c -o prometheus $(pkg-config --cflags --libs redlock)
 *     PORT=9187 LOG_LEVEL=debug SECONDS_HELD=60 ./prometheus redis://10.0.0.1 redis://10.0.0.2 redis://10.0.0.3
 *     curl http://127.0.0.1:9187/metrics */
#define _POSIX_C_SOURCE 200809L
#include "example.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define TTL_MS 3000
#define LOCK_TAG 1
#define PAGE_BYTES 16384
#define SCRAPER_TIMEOUT_MS 400

/* == A log with levels, fed by events */

typedef enum { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG } log_level_t;

static const char *const LEVELS[] = { "error", "warning", "info", "debug" };
static log_level_t log_level = LOG_INFO;

static void log_line(log_level_t level, const char *format, ...)
{
    va_list arguments;

    if (level > log_level)
        return;
    fprintf(stderr, "%s: ", LEVELS[level]);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static void log_event(redlock_t *rl, const redlock_event_t *event)
{
    const redlock_error_t *error = redlock_event_error(event);
    int32_t node = redlock_event_node(event);

    switch (redlock_event_kind(event)) {
    case REDLOCK_EVENT_LEASE_LOST:
        log_line(LOG_ERROR, "the lock is lost: what it protected must stop");
        break;
    case REDLOCK_EVENT_LEASE_EXTENDED:
        if (error != NULL)
            log_line(LOG_WARNING, "not extended: %s", redlock_error_message(error));
        else
            log_line(LOG_DEBUG, "extended");
        break;
    case REDLOCK_EVENT_NODE:
        if (redlock_event_node_is_up(event))
            log_line(LOG_INFO, "%s is connected", redlock_node_url(rl, (size_t)node));
        else
            log_line(LOG_WARNING, "%s is disconnected", redlock_node_url(rl, (size_t)node));
        break;
    case REDLOCK_EVENT_DONE:
        if (error != NULL)
            log_line(LOG_ERROR, "%s", redlock_error_message(error));
        else
            log_line(LOG_INFO, redlock_event_operation(event) == REDLOCK_OPERATION_LOCK ? "locked" : "unlocked");
        break;
    }
}

/* == The page */

typedef struct {
    char text[PAGE_BYTES];
    size_t length;
} page_t;

static void print(page_t *page, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(page->text + page->length, sizeof page->text - page->length, format, arguments);
    va_end(arguments);
    /* What does not fit is left out as a whole: a scraper refuses half a line. */
    if (length > 0 && (size_t)length < sizeof page->text - page->length)
        page->length += (size_t)length;
    page->text[page->length] = '\0';
}

static void counter(page_t *page, const char *name, const char *help, uint64_t value)
{
    print(page, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", name, help, name, name, value);
}

typedef uint64_t node_counter_t(const redlock_stats_t *stats, size_t node);

static void node_counter(page_t *page, const redlock_stats_t *stats, const char *name, const char *help, node_counter_t *of)
{
    print(page, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    for (size_t node = 0; node < redlock_stats_node_count(stats); node++)
        print(page, "%s{node=\"%s\"} %" PRIu64 "\n", name, redlock_stats_node_url(stats, node), of(stats, node));
}

static void make_page(page_t *page, redlock_t *rl, const redlock_lease_t *lease)
{
    redlock_stats_t *stats = NULL;
    int64_t left_ms = lease != NULL ? redlock_lease_remaining_ms(lease) : 0;

    page->length = 0;
    if (redlock_stats(rl, &stats, NULL) != REDLOCK_OK)
        return;
    print(page, "# HELP redlock_lease_remaining_seconds How long the lock is valid without an extension\n");
    print(page, "# TYPE redlock_lease_remaining_seconds gauge\n");
    print(page, "redlock_lease_remaining_seconds %" PRId64 ".%03d\n", left_ms / 1000, (int)(left_ms % 1000));
    counter(page, "redlock_acquired_total", "Locks acquired", redlock_stats_acquired(stats));
    counter(page, "redlock_contended_total", "Attempts that failed because another client held the lock",
            redlock_stats_contended(stats));
    counter(page, "redlock_no_quorum_total", "Operations that failed because too few nodes answered",
            redlock_stats_no_quorum(stats));
    counter(page, "redlock_extended_total", "Successful extensions", redlock_stats_extended(stats));
    counter(page, "redlock_lost_total", "Leases that ended before they were released", redlock_stats_lost(stats));
    print(page, "# HELP redlock_node_up 1 while the node is connected and answers in time\n# TYPE redlock_node_up gauge\n");
    for (size_t node = 0; node < redlock_stats_node_count(stats); node++)
        print(page, "redlock_node_up{node=\"%s\"} %d\n", redlock_stats_node_url(stats, node),
              (int)redlock_stats_node_is_up(stats, node));
    node_counter(page, stats, "redlock_node_requests_total", "Requests sent", redlock_stats_node_requests);
    node_counter(page, stats, "redlock_node_timeouts_total", "Requests not answered in time", redlock_stats_node_timeouts);
    node_counter(page, stats, "redlock_node_errors_total", "Error replies", redlock_stats_node_errors);
    redlock_stats_free(stats);
}

/* == The server: one scraper at a time, and less than a third of the TTL for each, because nothing is extended meanwhile. */

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
        perror("listen");
        exit(1);
    }
    return listener;
}

static void send_all(int scraper, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(scraper, bytes, length, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void serve(int listener, const page_t *page)
{
    struct timeval timeout = { 0, SCRAPER_TIMEOUT_MS * 1000 };
    int scraper = accept(listener, NULL, NULL);
    char request[1024], head[160];

    if (scraper < 0)
        return;
    setsockopt(scraper, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(scraper, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    /* Whatever is asked gets the same answer. */
    if (recv(scraper, request, sizeof request, 0) > 0) {
        int length = snprintf(head, sizeof head,
                              "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                              "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                              page->length);

        send_all(scraper, head, (size_t)length);
        send_all(scraper, page->text, page->length);
    }
    close(scraper);
}

static int begin(redlock_t *rl)
{
    redlock_request_t *request = redlock_request_new();
    redlock_status_t status;

    redlock_request_set_resource(request, "examples/prometheus");
    redlock_request_set_ttl_ms(request, TTL_MS);
    redlock_request_set_wait_ms(request, 10000);
    redlock_request_set_auto_extend(request, 1);
    redlock_request_set_tag(request, LOCK_TAG);
    status = redlock_submit_lock(rl, request, NULL);
    redlock_request_free(request);
    return status == REDLOCK_OK;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    const char *port = getenv("PORT"), *held = getenv("SECONDS_HELD"), *level = getenv("LOG_LEVEL");
    int64_t end = now_ms() + 1000 * (held != NULL ? atoi(held) : 10);
    redlock_t *rl = example_connect(example_nodes(argc > 0 ? argv + 1 : argv));
    redlock_lease_t *lease = NULL;
    int is_over = 0, result = 1;
    static page_t page;
    struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };

    for (int i = LOG_ERROR; level != NULL && i <= LOG_DEBUG; i++)
        if (strcmp(level, LEVELS[i]) == 0)
            log_level = (log_level_t)i;
    fds[0].fd = redlock_fd(rl);
    fds[1].fd = listen_on((uint16_t)(port != NULL ? atoi(port) : 9187));
    if (!begin(rl))
        return 1;
    while (!is_over) {
        int64_t left_ms = end - now_ms();
        redlock_event_t *event;

        if (left_ms <= 0)
            break;
        if (poll(fds, 2, (int)left_ms) < 0)
            continue;
        redlock_process(rl);
        while ((event = redlock_next_event(rl)) != NULL) {
            log_event(rl, event);
            if (redlock_event_kind(event) == REDLOCK_EVENT_DONE && (lease = redlock_event_take_lease(event)) == NULL)
                is_over = 1;
            if (redlock_event_kind(event) == REDLOCK_EVENT_LEASE_LOST)
                is_over = 1;
            redlock_event_free(event);
        }
        if (fds[1].revents & POLLIN) {
            make_page(&page, rl, lease);
            serve(fds[1].fd, &page);
        }
    }
    if (lease != NULL && !is_over)
        result = redlock_unlock(lease, NULL) != REDLOCK_OK;
    redlock_lease_free(lease);
    redlock_free(rl);
    close(fds[1].fd);
    return result;
}
