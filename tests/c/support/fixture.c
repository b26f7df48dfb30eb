#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

int fixture_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->cluster = cluster_start(FIXTURE_NODES);
    f->rl = fixture_handle(f->cluster, NULL);
    *state = f;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *f = *state;

    redlock_free(f->rl);
    cluster_end(f->cluster);
    free(f);
    return 0;
}

redlock_options_t *fixture_options(void)
{
    redlock_options_t *options = redlock_options_new();

    /* A full machine may let a healthy server wait for longer than the default of 100 ms. */
    redlock_options_set_node_timeout_ms(options, 400 * cluster_slowness());
    redlock_options_set_stall_timeout_ms(options, 2000 * cluster_slowness());
    redlock_options_set_connect_timeout_ms(options, 1000 * cluster_slowness());
    return options;
}

/* A quorum is ready when this is asked; tests that count keys want all. */
static bool are_all_connected(const redlock_t *rl)
{
    redlock_stats_t *stats = NULL;
    size_t up = 0;

    if (redlock_stats(rl, &stats, NULL) != REDLOCK_OK)
        return false;
    for (size_t node = 0; node < redlock_stats_node_count(stats); node++)
        up += (size_t)redlock_stats_node_is_up(stats, node);
    redlock_stats_free(stats);
    return up == redlock_node_count(rl);
}

redlock_t *fixture_handle(const cluster_t *cluster, redlock_options_t *options)
{
    uint64_t end = cluster_now_ms() + 5000 * cluster_slowness();
    redlock_t *rl = NULL;
    redlock_error_t *error = NULL;

    if (options == NULL)
        options = fixture_options();
    if (redlock_new(cluster_urls(cluster), cluster_size(cluster), options, &rl, &error) != REDLOCK_OK)
        fail_msg("new: %s", redlock_error_message(error));
    if (redlock_wait_ready(rl, (int64_t)(5000 * cluster_slowness()), &error) != REDLOCK_OK)
        fail_msg("wait_ready: %s", redlock_error_message(error));
    while (!are_all_connected(rl)) {
        redlock_inspection_t *inspect = NULL;

        assert_true(cluster_now_ms() < end);
        /* Connections advance while somebody is inside. */
        redlock_inspect(rl, "connections", &inspect, NULL);
        redlock_inspection_free(inspect);
        cluster_sleep_ms(2);
    }
    redlock_options_free(options);
    return rl;
}

redlock_lease_t *fixture_take(const redlock_t *rl, const char *resource, uint64_t ttl_ms)
{
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;

    if (redlock_lock(rl, resource, ttl_ms, (int64_t)(5000 * cluster_slowness()), &lease, &error) != REDLOCK_OK)
        fail_msg("lock: %s", redlock_error_message(error));
    assert_non_null(lease);
    return lease;
}

void fixture_release(redlock_lease_t *lease)
{
    redlock_error_t *error = NULL;

    if (redlock_unlock(lease, &error) != REDLOCK_OK)
        fail_msg("unlock: %s", redlock_error_message(error));
    redlock_lease_free(lease);
}

size_t fixture_entries(const char *directory)
{
    size_t count = 0;
    DIR *open = opendir(directory);

    assert_non_null(open);
    while (readdir(open) != NULL)
        count++;
    closedir(open);
    return count;
}

size_t fixture_connections(const cluster_t *cluster, size_t node, const char *name)
{
    char *list = cluster_cli(cluster, node, "CLIENT", "LIST", NULL), wanted[80];
    size_t count = 0;

    snprintf(wanted, sizeof wanted, " name=%s ", name);
    for (const char *at = list; (at = strstr(at, wanted)) != NULL; at++)
        count++;
    free(list);
    return count;
}

int fixture_exit_code(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
