#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TOKEN_LEN = 36, /* as long as the text form of a UUID */
    FRAME_MAX = 512,
    INPUT_MAX = 16384,
    PATIENCE_MS = 2000,
    LAG_MAX = 256, /* late replies of one node that a task puts up with: its commands must fit into the socket */
};

static const char COMPARE_AND_DELETE[] =
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) else return 0 end";

static int complain(const char *what)
{
    fprintf(stderr, "bench: floor: %s\n", what);
    return -1;
}

static _Noreturn void refuse(const char *what)
{
    complain(what);
    exit(2);
}

/* ---- commands, encoded once ------------------------------------------------------------------------------------ */

struct frame {
    size_t length, token_at;
    char bytes[FRAME_MAX];
};

/* The two commands of one task. */
struct commands {
    struct frame set, erase;
    char token[TOKEN_LEN];
    uint64_t serial;
};

static void frame_add(struct frame *frame, const char *bytes, size_t length)
{
    int head = snprintf(frame->bytes + frame->length, FRAME_MAX - frame->length, "$%zu\r\n", length);
    frame->length += (size_t)head;
    if (frame->length + length + 2 >= FRAME_MAX)
        refuse("the key is too long");
    memcpy(frame->bytes + frame->length, bytes, length);
    memcpy(frame->bytes + frame->length + length, "\r\n", 2);
    frame->length += length + 2;
}

static void frame_begin(struct frame *frame, int elements)
{
    frame->length = (size_t)snprintf(frame->bytes, FRAME_MAX, "*%d\r\n", elements);
}

static void frame_add_token(struct frame *frame, const char *token)
{
    frame_add(frame, token, TOKEN_LEN);
    frame->token_at = frame->length - TOKEN_LEN - 2;
}

static void commands_encode(struct commands *commands, const char *key, uint64_t ttl_ms)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char noise[TOKEN_LEN];
    char ttl[24];

    if (getrandom(noise, sizeof noise, 0) != (ssize_t)sizeof noise)
        refuse("no entropy");
    for (int i = 0; i < TOKEN_LEN; i++)
        commands->token[i] = digits[noise[i] & 15];
    commands->serial = 0;

    frame_begin(&commands->set, 6);
    frame_add(&commands->set, "SET", 3);
    frame_add(&commands->set, key, strlen(key));
    frame_add_token(&commands->set, commands->token);
    frame_add(&commands->set, "NX", 2);
    frame_add(&commands->set, "PX", 2);
    frame_add(&commands->set, ttl, (size_t)snprintf(ttl, sizeof ttl, "%llu", (unsigned long long)ttl_ms));

    frame_begin(&commands->erase, 5);
    frame_add(&commands->erase, "EVAL", 4);
    frame_add(&commands->erase, COMPARE_AND_DELETE, sizeof COMPARE_AND_DELETE - 1);
    frame_add(&commands->erase, "1", 1);
    frame_add(&commands->erase, key, strlen(key));
    frame_add_token(&commands->erase, commands->token);
}

/* A token no other lock ever has: random at the start, a serial number in the last 16 digits. */
static void commands_renew_token(struct commands *commands)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t serial = ++commands->serial;
    for (int i = TOKEN_LEN - 1; i >= TOKEN_LEN - 16; i--, serial >>= 4)
        commands->token[i] = digits[serial & 15];
    memcpy(commands->set.bytes + commands->set.token_at, commands->token, TOKEN_LEN);
    memcpy(commands->erase.bytes + commands->erase.token_at, commands->token, TOKEN_LEN);
}

/* ---- one socket ------------------------------------------------------------------------------------------------ */

struct input {
    size_t used;
    char bytes[INPUT_MAX];
};

/* Called for each reply with its first line; every reply to the two commands is one line. */
typedef void reply_fn(void *owner, size_t node, const char *line);

/* Reads what is there. 0, or -1 when the connection is over. */
static int input_read(struct input *input, int fd, reply_fn *on_reply, void *owner, size_t node)
{
    ssize_t got = recv(fd, input->bytes + input->used, INPUT_MAX - input->used, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    input->used += (size_t)got;

    char *line = input->bytes, *end = input->bytes + input->used, *feed;
    while ((feed = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        on_reply(owner, node, line);
        line = feed + 1;
    }
    input->used = (size_t)(end - line);
    if (line != input->bytes)
        memmove(input->bytes, line, input->used);
    return input->used == INPUT_MAX ? -1 : 0;
}

/* ---- one task -------------------------------------------------------------------------------------------------- */

struct floor {
    size_t nodes, quorum, yes, in_play; /* in_play: nodes that said yes or still may */
    /* Commands sent and replies seen, per node: a reply belongs to the newest command only when the two are equal. */
    uint64_t sent[NODES_MAX], answered[NODES_MAX];
    struct pollfd poll[NODES_MAX]; /* fd is -1 for a node that was given up */
    int asked[NODES_MAX]; /* the node got this lock's SET, so it gets its EVAL too */
    struct commands commands;
    char yes_begins, last_error[128];
    struct input input[NODES_MAX];
};

floor_t *floor_open(const struct node_set *nodes, const char *key, uint64_t ttl_ms)
{
    floor_t *floor = calloc(1, sizeof *floor);
    if (floor == NULL)
        return NULL;
    commands_encode(&floor->commands, key, ttl_ms);
    floor->nodes = nodes->count;
    floor->quorum = nodes->count / 2 + 1;
    for (size_t i = 0; i < nodes->count; i++)
        floor->poll[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    for (size_t i = 0; i < nodes->count; i++) {
        if ((floor->poll[i].fd = node_connect(&nodes->node[i])) < 0) {
            floor_close(floor);
            return NULL;
        }
    }
    return floor;
}

static void floor_give_up(floor_t *floor, size_t node)
{
    close(floor->poll[node].fd);
    floor->poll[node].fd = -1;
    floor->in_play -= floor->asked[node] && floor->sent[node] != floor->answered[node];
    floor->sent[node] = floor->answered[node];
    snprintf(floor->last_error, sizeof floor->last_error, "node %zu closed its connection", node + 1);
}

static void floor_on_reply(void *owner, size_t node, const char *line)
{
    floor_t *floor = owner;
    /* A node that was left out of this lock may just have caught up with an older one. */
    if (++floor->answered[node] != floor->sent[node] || !floor->asked[node])
        return;
    if (line[0] == floor->yes_begins && line[1] != '0') {
        floor->yes++;
        return;
    }
    floor->in_play--;
    snprintf(floor->last_error, sizeof floor->last_error, "node %zu says %.*s", node + 1, (int)strcspn(line, "\r\n"), line);
}

static int floor_poll(floor_t *floor)
{
    int ready = poll(floor->poll, floor->nodes, PATIENCE_MS);
    if (ready <= 0)
        return ready < 0 && errno == EINTR ? 0 : complain("no quorum answered in time");
    for (size_t i = 0; i < floor->nodes; i++) {
        if (floor->poll[i].fd >= 0 && floor->poll[i].revents != 0 &&
            input_read(&floor->input[i], floor->poll[i].fd, floor_on_reply, floor, i) != 0)
            floor_give_up(floor, i);
    }
    return 0;
}

static int floor_ask(floor_t *floor, const struct frame *frame, char yes_begins)
{
    floor->yes = floor->in_play = 0;
    floor->yes_begins = yes_begins;
    for (size_t i = 0; i < floor->nodes; i++) {
        if (floor->poll[i].fd < 0 || !floor->asked[i])
            continue;
        floor->sent[i]++;
        floor->in_play++;
        if (send(floor->poll[i].fd, frame->bytes, frame->length, MSG_NOSIGNAL) != (ssize_t)frame->length)
            floor_give_up(floor, i);
    }
    while (floor->yes < floor->quorum) {
        if (floor->in_play < floor->quorum)
            return complain(floor->last_error);
        if (floor_poll(floor) != 0)
            return -1;
    }
    return 0;
}

int floor_lock(floor_t *floor)
{
    for (size_t i = 0; i < floor->nodes; i++)
        floor->asked[i] = floor->sent[i] - floor->answered[i] < LAG_MAX;
    commands_renew_token(&floor->commands);
    return floor_ask(floor, &floor->commands.set, '+');
}

int floor_unlock(floor_t *floor)
{
    return floor_ask(floor, &floor->commands.erase, ':');
}

int floor_drain(floor_t *floor)
{
    uint64_t deadline = now_ns() + 200 * 1000000ull;
    for (;;) {
        size_t owed = 0;
        for (size_t i = 0; i < floor->nodes; i++)
            owed += floor->poll[i].fd >= 0 && floor->answered[i] != floor->sent[i];
        /* A stopped node owes for ever. */
        if (owed == 0 || now_ns() > deadline)
            return 0;
        if (poll(floor->poll, floor->nodes, 20) > 0 && floor_poll(floor) != 0)
            return -1;
    }
}

void floor_close(floor_t *floor)
{
    if (floor == NULL)
        return;
    for (size_t i = 0; i < floor->nodes; i++) {
        if (floor->poll[i].fd >= 0)
            close(floor->poll[i].fd);
    }
    free(floor);
}

/* ---- many tasks ------------------------------------------------------------------------------------------------ */

enum {
    TASKS_MAX = 1024,
    OWED_MAX = 8 * TASKS_MAX, /* replies outstanding at one node; a power of two */
    OWED_ENOUGH = 2 * TASKS_MAX,
    OUTPUT_MAX = 1 << 20,
};

struct task {
    struct commands commands;
    uint32_t command; /* grows with each command, so that late replies are known by their number */
    unsigned yes, no;
    int unlocking, resting;
    uint64_t began_ns, locked_ns;
};

struct owed {
    uint32_t task, command;
};

struct lane {
    uint32_t asked, answered; /* positions in `owed`, modulo its size */
    size_t output_used;
    struct owed owed[OWED_MAX];
    struct input input;
    char output[OUTPUT_MAX];
};

struct floor_tasks {
    size_t nodes, quorum;
    unsigned tasks, resting;
    int failed;
    uint64_t deadline_ns;
    struct samples *samples;
    struct pollfd poll[NODES_MAX];
    struct lane *lane[NODES_MAX];
    struct task task[];
};

floor_tasks_t *floor_tasks_open(const struct node_set *nodes, unsigned tasks, const char *prefix, uint64_t ttl_ms)
{
    floor_tasks_t *all = tasks > TASKS_MAX ? NULL : calloc(1, sizeof *all + tasks * sizeof all->task[0]);
    if (all == NULL)
        return NULL;
    all->nodes = nodes->count;
    all->quorum = nodes->count / 2 + 1;
    all->tasks = tasks;
    for (unsigned i = 0; i < tasks; i++) {
        char key[128];
        snprintf(key, sizeof key, "%s%04u", prefix, i);
        commands_encode(&all->task[i].commands, key, ttl_ms);
    }
    for (size_t i = 0; i < nodes->count; i++)
        all->poll[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    for (size_t i = 0; i < nodes->count; i++) {
        all->lane[i] = calloc(1, sizeof *all->lane[i]);
        all->poll[i].fd = node_connect(&nodes->node[i]);
        if (all->lane[i] == NULL || all->poll[i].fd < 0) {
            floor_tasks_close(all);
            return NULL;
        }
    }
    return all;
}

static size_t lane_owes(const struct lane *lane)
{
    return lane->asked - lane->answered;
}

static void tasks_fail(floor_tasks_t *all, const char *what)
{
    if (all->failed == 0)
        all->failed = complain(what);
}

static void task_ask(floor_tasks_t *all, uint32_t number, const struct frame *frame)
{
    struct task *task = &all->task[number];
    task->command++;
    task->yes = task->no = 0;
    for (size_t i = 0; i < all->nodes; i++) {
        struct lane *lane = all->lane[i];
        if (lane->output_used + frame->length > OUTPUT_MAX || lane_owes(lane) == OWED_MAX) {
            tasks_fail(all, "a node does not keep up");
            return;
        }
        memcpy(lane->output + lane->output_used, frame->bytes, frame->length);
        lane->output_used += frame->length;
        lane->owed[lane->asked++ % OWED_MAX] = (struct owed){number, task->command};
    }
}

static void task_lock(floor_tasks_t *all, uint32_t number, uint64_t now)
{
    struct task *task = &all->task[number];
    task->resting = now >= all->deadline_ns;
    all->resting += (unsigned)task->resting;
    if (task->resting)
        return;
    task->unlocking = 0;
    task->began_ns = now;
    commands_renew_token(&task->commands);
    task_ask(all, number, &task->commands.set);
}

static void tasks_on_reply(void *owner, size_t node, const char *line)
{
    floor_tasks_t *all = owner;
    struct lane *lane = all->lane[node];
    struct owed owed = lane->owed[lane->answered++ % OWED_MAX];
    struct task *task = &all->task[owed.task];
    if (owed.command != task->command || task->resting)
        return;
    if (line[0] != (task->unlocking ? ':' : '+') || line[1] == '0') {
        if (all->nodes - ++task->no < all->quorum)
            tasks_fail(all, line[0] == '-' ? "a quorum answers with errors" : "a lock is held by somebody else");
        return;
    }
    if (++task->yes != all->quorum)
        return;

    uint64_t now = now_ns();
    if (!task->unlocking) {
        task->unlocking = 1;
        task->locked_ns = now;
        task_ask(all, owed.task, &task->commands.erase);
        return;
    }
    samples_add(all->samples, now - task->began_ns, task->locked_ns - task->began_ns);
    task_lock(all, owed.task, now);
}

static void lane_flush(floor_tasks_t *all, size_t node)
{
    struct lane *lane = all->lane[node];
    if (lane->output_used == 0)
        return;
    ssize_t sent = send(all->poll[node].fd, lane->output, lane->output_used, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        tasks_fail(all, "a node closed its connection");
        return;
    }
    if (sent > 0) {
        lane->output_used -= (size_t)sent;
        memmove(lane->output, lane->output + sent, lane->output_used);
    }
}

/* A quorum of quick nodes would leave a slow one ever further behind: then only the slow ones are listened to. */
static void tasks_await(floor_tasks_t *all)
{
    int lagging = 0;
    for (size_t i = 0; i < all->nodes; i++)
        lagging |= lane_owes(all->lane[i]) > OWED_ENOUGH;
    for (size_t i = 0; i < all->nodes; i++) {
        int listen = !lagging || lane_owes(all->lane[i]) > OWED_ENOUGH;
        all->poll[i].events = (short)((listen ? POLLIN : 0) | (all->lane[i]->output_used > 0 ? POLLOUT : 0));
    }
}

static int tasks_turn(floor_tasks_t *all)
{
    for (size_t i = 0; i < all->nodes; i++)
        lane_flush(all, i);
    tasks_await(all);
    int ready = poll(all->poll, all->nodes, PATIENCE_MS);
    if (ready <= 0)
        return ready < 0 && errno == EINTR ? 0 : complain("no node answered in time");
    for (size_t i = 0; i < all->nodes; i++) {
        if (all->poll[i].revents != 0 &&
            input_read(&all->lane[i]->input, all->poll[i].fd, tasks_on_reply, all, i) != 0)
            return complain("a node closed its connection");
    }
    return all->failed;
}

static int tasks_drained(const floor_tasks_t *all)
{
    for (size_t i = 0; i < all->nodes; i++) {
        if (lane_owes(all->lane[i]) != 0)
            return 0;
    }
    return 1;
}

int floor_tasks_run(floor_tasks_t *all, double seconds, struct round *out)
{
    struct samples samples;
    samples_init(&samples);
    uint64_t cpu = process_cpu_ns(), began = now_ns();
    all->samples = &samples;
    all->deadline_ns = began + (uint64_t)(seconds * 1e9);
    all->resting = 0;
    for (uint32_t i = 0; i < all->tasks; i++)
        task_lock(all, i, now_ns());
    int result = 0;
    while (result == 0 && all->resting < all->tasks)
        result = tasks_turn(all);
    *out = samples_summarize(&samples, now_ns() - began, process_cpu_ns() - cpu);
    while (result == 0 && !tasks_drained(all))
        result = tasks_turn(all);
    samples_free(&samples);
    return result;
}

void floor_tasks_close(floor_tasks_t *all)
{
    if (all == NULL)
        return;
    for (size_t i = 0; i < all->nodes; i++) {
        if (all->poll[i].fd >= 0)
            close(all->poll[i].fd);
        free(all->lane[i]);
    }
    free(all);
}
