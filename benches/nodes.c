#define _GNU_SOURCE
#include "nodes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char SEPARATORS[] = ", \t\n";

void nodes_set_port(struct node *node, uint16_t port)
{
    char url[sizeof node->url];
    snprintf(url, sizeof url, "redis://%s:%u", node->host, (unsigned)port);
    memcpy(node->url, url, sizeof url);
    node->port = port;
}

static int parse_node(struct node *node, const char *text)
{
    static const char scheme[] = "redis://";
    if (strncmp(text, scheme, sizeof scheme - 1) == 0)
        text += sizeof scheme - 1;
    const char *colon = strchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof node->host)
        return -1;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || (*end != '\0' && *end != '/') || port == 0 || port > 65535)
        return -1;
    snprintf(node->host, sizeof node->host, "%.*s", (int)(colon - text), text);
    if (strcmp(node->host, "localhost") == 0)
        strcpy(node->host, "127.0.0.1");
    nodes_set_port(node, (uint16_t)port);
    return 0;
}

int nodes_parse(struct node_set *set, const char *urls, const char *pids)
{
    char *copy = strdup(urls), *rest = NULL;
    memset(set, 0, sizeof *set);
    for (char *word = strtok_r(copy, SEPARATORS, &rest); word != NULL; word = strtok_r(NULL, SEPARATORS, &rest)) {
        if (set->count == NODES_MAX || parse_node(&set->node[set->count], word) != 0) {
            fprintf(stderr, "bench: cannot use node \"%s\" (at most %d of redis://a.b.c.d:port)\n", word, NODES_MAX);
            free(copy);
            return -1;
        }
        set->count++;
    }
    free(copy);

    copy = strdup(pids != NULL ? pids : "");
    size_t at = 0;
    for (char *word = strtok_r(copy, SEPARATORS, &rest); word != NULL && at < set->count;
         word = strtok_r(NULL, SEPARATORS, &rest))
        set->node[at++].pid = (pid_t)strtol(word, NULL, 10);
    free(copy);
    return 0;
}

int node_connect(const struct node *node)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(node->port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && inet_pton(AF_INET, node->host, &address.sin_addr) == 1 &&
        connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    fprintf(stderr, "bench: %s: %s\n", node->url, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Reads the `$length\r\n…\r\n` reply and counts its lines. */
static long count_bulk_lines(int fd)
{
    char chunk[16384];
    long lines = 0;
    size_t head = 0, length = 0;
    char header[32];
    for (;;) {
        ssize_t got = recv(fd, chunk, sizeof chunk, 0);
        if (got <= 0)
            return -1;
        for (ssize_t i = 0; i < got; i++) {
            if (length == 0) {
                if (head + 1 == sizeof header)
                    return -1;
                header[head++] = chunk[i];
                if (chunk[i] == '\n') {
                    header[head] = '\0';
                    if (header[0] != '$' || (length = strtoul(header + 1, NULL, 10)) == 0)
                        return -1;
                }
                continue;
            }
            lines += chunk[i] == '\n';
            if (--length == 0)
                return lines;
        }
    }
}

long node_client_count(const struct node *node)
{
    static const char question[] = "CLIENT LIST TYPE normal\r\n";
    struct timeval patience = {.tv_sec = 2};
    int fd = node_connect(node);
    if (fd < 0)
        return -1;
    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    long lines = -1;
    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) == (ssize_t)sizeof question - 1)
        lines = count_bulk_lines(fd);
    close(fd);
    return lines < 0 ? -1 : lines - 1;
}
