#define _GNU_SOURCE
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_NODES = 15,
    MAX_ARGUMENTS = 32,
    START_TIMEOUT_MS = 10000,
    START_TRIES = 10,
    REPLY_TIMEOUT_S = 5
};

struct node {
    uint16_t port;
    pid_t pid;
    bool is_stopped;
    char url[160];
};

struct cluster {
    size_t size;
    struct node nodes[MAX_NODES];
    const char *urls[MAX_NODES];
    char *arguments[MAX_ARGUMENTS + 1];
    const char *password;
    char directory[64];
    cluster_t *next;
};

/* For the end of a program whose test failed before cluster_end(). */
static cluster_t *all_clusters;
static pid_t owner;

static void fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    fputs("cluster: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(99);
}

uint64_t cluster_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void cluster_sleep_ms(uint64_t ms)
{
    struct timespec rest = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

uint64_t cluster_slowness(void)
{
    const char *text = getenv("REDLOCK_TEST_SLOWNESS");
    uint64_t slowness = text != NULL ? strtoull(text, NULL, 10) : 1;

    return slowness > 0 ? slowness : 1;
}

const char *cluster_resource(const char *name)
{
    static char names[16][128];
    static unsigned serial;
    char *chosen = names[serial % 16];

    snprintf(chosen, sizeof names[0], "%s-%ld-%u", name, (long)getpid(), serial);
    serial++;
    return chosen;
}

static const char *server_binary(void)
{
    const char *named = getenv("REDIS_SERVER");

    return named != NULL && *named != '\0' ? named : "redis-server";
}

/* A port below the kernel's range for outgoing connections: inside that range some other connection may take the port
 * of a killed node, and a connection to it may even meet itself. */
static uint16_t free_port(void)
{
    static unsigned step;

    for (int tries = 0; tries < 5000; tries++) {
        unsigned begin = (unsigned)getpid() * 7919u;
        uint16_t port = (uint16_t)(11000 + (begin + step++) % 21000);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), taken;

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        taken = bind(fd, (struct sockaddr *)&address, sizeof address);
        close(fd);
        if (taken == 0)
            return port;
    }
    fail("no free port");
    return 0;
}

static int dial(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval timeout = { REPLY_TIMEOUT_S, 0 };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static bool send_command(int fd, const char *const *words)
{
    char *text = NULL;
    size_t length = 0, count = 0;
    FILE *out = open_memstream(&text, &length);
    bool is_sent;

    while (words[count] != NULL)
        count++;
    fprintf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    fclose(out);
    is_sent = send(fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
    free(text);
    return is_sent;
}

/* Prints one reply; false when the connection ended or the bytes are no reply. */
static bool print_reply(FILE *in, FILE *out)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length = getline(&line, &room, in);
    bool is_good = length >= 3;
    long count = is_good ? strtol(line + 1, NULL, 10) : 0;

    if (is_good)
        line[length - 2] = '\0';
    switch (is_good ? line[0] : '\0') {
    case '+': case '-': case ':':
        fputs(line + 1, out);
        break;
    case '$':
        for (long i = 0; i < count; i++)
            fputc(getc(in), out);
        if (count >= 0)
            is_good = getc(in) == '\r' && getc(in) == '\n';
        break;
    case '*':
        for (long i = 0; i < count && is_good; i++) {
            if (i > 0)
                fputc('\n', out);
            is_good = print_reply(in, out);
        }
        break;
    default:
        is_good = false;
    }
    free(line);
    return is_good;
}

/* The reply's text, or NULL when there was none. */
static char *ask(const cluster_t *cluster, uint16_t port, const char *const *words)
{
    const char *login[] = { "AUTH", cluster->password, NULL };
    char *text = NULL;
    size_t length = 0;
    int fd = dial(port);
    FILE *in, *out, *ignored;
    bool is_good = true;

    if (fd < 0)
        return NULL;
    in = fdopen(fd, "r");
    out = open_memstream(&text, &length);
    ignored = fopen("/dev/null", "w");
    if (cluster->password != NULL)
        is_good = send_command(fd, login) && print_reply(in, ignored);
    is_good = is_good && send_command(fd, words) && print_reply(in, out);
    fclose(ignored);
    fclose(out);
    fclose(in);
    if (!is_good) {
        free(text);
        return NULL;
    }
    return text;
}

static void end_node(struct node *node)
{
    if (node->pid == 0)
        return;
    kill(node->pid, SIGKILL);
    while (waitpid(node->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    node->pid = 0;
    node->is_stopped = false;
}

static void log_path(const cluster_t *cluster, const struct node *node, char *path, size_t room)
{
    snprintf(path, room, "%s/%u.log", cluster->directory, (unsigned)node->port);
}

/* It must be our process that answers: on a port that somebody else took, another server may. */
static bool answers(const cluster_t *cluster, const struct node *node)
{
    const char *words[] = { "INFO", "server", NULL };
    char *text = ask(cluster, node->port, words), expected[40];
    bool is_ours;

    snprintf(expected, sizeof expected, "process_id:%ld\r", (long)node->pid);
    is_ours = text != NULL && (strstr(text, expected) != NULL || strncmp(text, "NO", 2) == 0);
    free(text);
    return is_ours;
}

static bool launch(cluster_t *cluster, struct node *node)
{
    char port[8], log[96];
    const char *words[MAX_ARGUMENTS + 24];
    size_t count = 0;
    pid_t parent = getpid();
    uint64_t end = cluster_now_ms() + START_TIMEOUT_MS;

    snprintf(port, sizeof port, "%u", (unsigned)node->port);
    log_path(cluster, node, log, sizeof log);
    unlink(log);
    words[count++] = server_binary();
    words[count++] = "--port", words[count++] = port;
    words[count++] = "--bind", words[count++] = "127.0.0.1";
    words[count++] = "--daemonize", words[count++] = "no";
    words[count++] = "--save", words[count++] = "";
    words[count++] = "--appendonly", words[count++] = "no";
    words[count++] = "--dir", words[count++] = cluster->directory;
    words[count++] = "--logfile", words[count++] = log;
    for (char **argument = cluster->arguments; *argument != NULL; argument++)
        words[count++] = *argument;
    words[count] = NULL;

    node->pid = fork();
    if (node->pid == 0) {
        int nowhere = open("/dev/null", O_RDWR);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        dup2(nowhere, 0), dup2(nowhere, 1), dup2(nowhere, 2);
        execvp(words[0], (char *const *)words);
        _exit(127);
    }
    while (cluster_now_ms() < end) {
        int status;

        if (waitpid(node->pid, &status, WNOHANG) == node->pid) {
            node->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                fail("cannot run %s (`tools/setup` installs it)", server_binary());
            return false;
        }
        if (answers(cluster, node))
            return true;
        cluster_sleep_ms(5);
    }
    end_node(node);
    return false;
}

static void explain_failed_start(const cluster_t *cluster, const struct node *node)
{
    char path[96], line[256];
    bool is_taken = false;
    FILE *log;

    log_path(cluster, node, path, sizeof path);
    log = fopen(path, "r");
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        is_taken = is_taken || strstr(line, "in use") != NULL;
        if (!is_taken)
            fputs(line, stderr);
    }
    if (log != NULL)
        fclose(log);
    if (!is_taken)
        fail("%s does not start", server_binary());
}

static void forget(cluster_t *cluster)
{
    char path[96];

    for (size_t i = 0; i < cluster->size; i++) {
        end_node(&cluster->nodes[i]);
        log_path(cluster, &cluster->nodes[i], path, sizeof path);
        unlink(path);
    }
    rmdir(cluster->directory);
    for (char **argument = cluster->arguments; *argument != NULL; argument++)
        free(*argument);
}

/* A forked child of a test leaves the servers to its parent. */
static void end_all(void)
{
    if (getpid() != owner)
        return;
    while (all_clusters != NULL)
        cluster_end(all_clusters);
}

cluster_t *cluster_start(size_t count)
{
    return cluster_start_with(count, NULL);
}

cluster_t *cluster_start_with(size_t count, const char *const *arguments)
{
    cluster_t *cluster = calloc(1, sizeof *cluster);

    if (count == 0 || count > MAX_NODES)
        fail("%zu nodes asked for", count);
    if (owner == 0) {
        owner = getpid();
        atexit(end_all);
    }
    for (size_t i = 0; arguments != NULL && arguments[i] != NULL; i++) {
        if (i == MAX_ARGUMENTS)
            fail("more than %d arguments", MAX_ARGUMENTS);
        cluster->arguments[i] = strdup(arguments[i]);
        if (strcmp(arguments[i], "--requirepass") == 0)
            cluster->password = arguments[i + 1];
    }
    if (cluster->password != NULL)
        for (size_t i = 0; cluster->arguments[i] != NULL; i++)
            if (strcmp(cluster->arguments[i], "--requirepass") == 0)
                cluster->password = cluster->arguments[i + 1];
    strcpy(cluster->directory, "/tmp/redlock-c.XXXXXX");
    if (mkdtemp(cluster->directory) == NULL)
        fail("mkdtemp: %s", strerror(errno));
    cluster->next = all_clusters;
    all_clusters = cluster;

    for (size_t i = 0; i < count; i++) {
        struct node *node = &cluster->nodes[i];
        int tries = 0;

        cluster->size = i + 1;
        for (node->port = free_port(); !launch(cluster, node); node->port = free_port()) {
            explain_failed_start(cluster, node);
            if (++tries == START_TRIES)
                fail("no port was free %d times in a row", START_TRIES);
        }
        snprintf(node->url, sizeof node->url, "redis://%s%s%s127.0.0.1:%u", cluster->password ? ":" : "",
                 cluster->password ? cluster->password : "", cluster->password ? "@" : "", (unsigned)node->port);
        cluster->urls[i] = node->url;
    }
    return cluster;
}

void cluster_end(cluster_t *cluster)
{
    cluster_t **link = &all_clusters;

    if (cluster == NULL)
        return;
    while (*link != NULL && *link != cluster)
        link = &(*link)->next;
    if (*link == cluster)
        *link = cluster->next;
    forget(cluster);
    free(cluster);
}

size_t cluster_size(const cluster_t *cluster)
{
    return cluster->size;
}

const char *const *cluster_urls(const cluster_t *cluster)
{
    return cluster->urls;
}

static struct node *node_at(const cluster_t *cluster, size_t node)
{
    if (node >= cluster->size)
        fail("there is no node %zu of %zu", node, cluster->size);
    return (struct node *)&cluster->nodes[node];
}

uint16_t cluster_port(const cluster_t *cluster, size_t node)
{
    return node_at(cluster, node)->port;
}

pid_t cluster_pid(const cluster_t *cluster, size_t node)
{
    return node_at(cluster, node)->pid;
}

static void send_signal(const cluster_t *cluster, size_t node, int number, int option, bool is_stopped)
{
    struct node *chosen = node_at(cluster, node);

    if (chosen->pid == 0 || kill(chosen->pid, number) != 0)
        fail("node %zu does not run", node);
    while (waitpid(chosen->pid, NULL, option) < 0 && errno == EINTR)
        ;
    chosen->is_stopped = is_stopped;
}

void cluster_stop(cluster_t *cluster, size_t node)
{
    send_signal(cluster, node, SIGSTOP, WUNTRACED, true);
}

void cluster_cont(cluster_t *cluster, size_t node)
{
    send_signal(cluster, node, SIGCONT, WCONTINUED, false);
}

void cluster_kill(cluster_t *cluster, size_t node)
{
    end_node(node_at(cluster, node));
}

void cluster_restart(cluster_t *cluster, size_t node)
{
    struct node *chosen = node_at(cluster, node);

    end_node(chosen);
    for (int tries = 0; !launch(cluster, chosen); tries++) {
        if (tries == START_TRIES)
            fail("port %u cannot be had again", (unsigned)chosen->port);
        cluster_sleep_ms(50);
    }
}

char *cluster_cli(const cluster_t *cluster, size_t node, const char *command, ...)
{
    const char *words[MAX_ARGUMENTS + 1] = { command };
    size_t count = 1;
    char *text;
    va_list list;

    va_start(list, command);
    while (count < MAX_ARGUMENTS && (words[count] = va_arg(list, const char *)) != NULL)
        count++;
    va_end(list);
    words[count] = NULL;
    text = ask(cluster, node_at(cluster, node)->port, words);
    if (text == NULL)
        fail("node %zu does not answer %s", node, command);
    return text;
}

bool cluster_has(const cluster_t *cluster, size_t node, const char *key)
{
    char *text = cluster_cli(cluster, node, "EXISTS", key, NULL);
    bool has = strcmp(text, "1") == 0;

    free(text);
    return has;
}

size_t cluster_holding(const cluster_t *cluster, const char *key)
{
    size_t count = 0;

    for (size_t i = 0; i < cluster->size; i++)
        if (cluster->nodes[i].pid != 0 && !cluster->nodes[i].is_stopped && cluster_has(cluster, i, key))
            count++;
    return count;
}

bool cluster_wait_holding(const cluster_t *cluster, const char *key, size_t count, uint64_t timeout_ms)
{
    uint64_t end = cluster_now_ms() + timeout_ms * cluster_slowness();

    for (;;) {
        if (cluster_holding(cluster, key) == count)
            return true;
        if (cluster_now_ms() >= end)
            return false;
        cluster_sleep_ms(2);
    }
}
