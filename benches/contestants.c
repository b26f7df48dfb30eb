#define _GNU_SOURCE
#include "contestants.h"

#include <stdio.h>
#include <stdlib.h>

#include "floor.h"

void contestant_key(char key[32], char letter, unsigned task)
{
    snprintf(key, 32, "bench/%c/%04u", letter, task % 10000);
}

static void crowd_close(struct contestant *self)
{
    floor_t **floor = self->state;
    for (unsigned i = 0; floor != NULL && i < self->tasks; i++)
        floor_close(floor[i]);
    free(floor);
    self->state = NULL;
}

static int crowd_open(struct contestant *self, const struct node_set *nodes)
{
    floor_t **floor = self->state = calloc(self->tasks, sizeof *floor);
    for (unsigned i = 0; floor != NULL && i < self->tasks; i++) {
        char key[32];
        contestant_key(key, self->letter, i);
        if ((floor[i] = floor_open(nodes, key, TTL_MS)) == NULL) {
            crowd_close(self);
            return -1;
        }
    }
    return floor == NULL ? -1 : 0;
}

static int crowd_lock(void *state, unsigned worker)
{
    return floor_lock(((floor_t **)state)[worker]);
}

static int crowd_unlock(void *state, unsigned worker)
{
    return floor_unlock(((floor_t **)state)[worker]);
}

static int crowd_run(struct contestant *self, double seconds, struct round *out)
{
    floor_t **floor = self->state;
    int result = run_workers(floor, self->tasks, crowd_lock, crowd_unlock, seconds, out);
    for (unsigned i = 0; i < self->tasks; i++)
        result |= floor_drain(floor[i]);
    return result;
}

struct contestant contestant_floor(const char *name, char letter, unsigned tasks)
{
    return (struct contestant){
        .name = name, .letter = letter, .tasks = tasks, .open = crowd_open, .run = crowd_run, .close = crowd_close};
}

static int tasks_open(struct contestant *self, const struct node_set *nodes)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "bench/%c/", self->letter);
    self->state = floor_tasks_open(nodes, self->tasks, prefix, TTL_MS);
    return self->state == NULL ? -1 : 0;
}

static int tasks_run(struct contestant *self, double seconds, struct round *out)
{
    return floor_tasks_run(self->state, seconds, out);
}

static void tasks_close(struct contestant *self)
{
    floor_tasks_close(self->state);
    self->state = NULL;
}

struct contestant contestant_floor_tasks(const char *name, char letter, unsigned tasks)
{
    return (struct contestant){
        .name = name, .letter = letter, .tasks = tasks, .open = tasks_open, .run = tasks_run, .close = tasks_close};
}
