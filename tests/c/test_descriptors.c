/* Descriptors: numbers beyond those that select() knows, none left at all, none for a program that is executed. */
#define _GNU_SOURCE
#include "support/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define OK(call) assert_int_equal(call, REDLOCK_OK)

enum { MANY = 1100, MOST = 2048 };

/* Opens /dev/null until `count` descriptors more are open, or no more can be had; returns how many. */
static size_t occupy(int *taken, size_t count)
{
    size_t opened = 0;

    while (opened < count && (taken[opened] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        opened++;
    return opened;
}

static void vacate(const int *taken, size_t count)
{
    while (count > 0)
        close(taken[--count]);
}

static rlim_t allow(rlim_t descriptors)
{
    struct rlimit limit;
    rlim_t before;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = descriptors;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void descriptors_beyond_1024_are_as_good_as_others(void **state)
{
    struct fixture *f = *state;
    rlim_t before = allow(MOST);
    int taken[MANY];
    redlock_t *rl;

    assert_int_equal(occupy(taken, MANY), MANY);
    rl = fixture_handle(f->cluster, NULL);
    vacate(taken, MANY);
    for (int i = 0; i < 10; i++)
        fixture_release(fixture_take(rl, cluster_resource("high"), 30000));
    redlock_free(rl);
    allow(before);
}

static void without_descriptors_calls_fail_and_later_they_work(void **state)
{
    struct fixture *f = *state;
    rlim_t before = allow(256);
    redlock_t *early = fixture_handle(f->cluster, NULL), *rl = NULL, *none = (redlock_t *)f;
    redlock_options_t *options = fixture_options();
    redlock_lease_t *lease = NULL;
    redlock_error_t *error = NULL;
    int taken[256];
    size_t count = occupy(taken, 256);

    assert_true(count < 256);
    assert_int_equal(errno, EMFILE);
    /* A handle that has its connections needs no more. */
    fixture_release(fixture_take(early, cluster_resource("early"), 30000));
    /* A new one says so at once, or has no connections. */
    if (redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &none, &error) != REDLOCK_OK) {
        assert_ptr_equal(none, f);
        assert_non_null(strstr(redlock_error_message(error), "descriptor"));
        redlock_error_free(error);
    } else {
        redlock_free(none);
    }
    /* One descriptor for the handle itself, and none for a connection. */
    close(taken[--count]);
    error = NULL;
    OK(redlock_new(cluster_urls(f->cluster), FIXTURE_NODES, options, &rl, &error));
    assert_int_equal(redlock_lock(rl, cluster_resource("none"), 30000, 0, &lease, &error), REDLOCK_E_NO_QUORUM);
    assert_null(lease);
    assert_int_equal(redlock_error_node_outcome(error, 0), REDLOCK_NODE_UNREACHABLE);
    assert_non_null(strstr(redlock_error_message(error), "open files"));
    redlock_error_free(error);
    error = NULL;
    vacate(taken, count);
    if (redlock_wait_ready(rl, (int64_t)(5000 * cluster_slowness()), &error) != REDLOCK_OK)
        fail_msg("%s", redlock_error_message(error));
    fixture_release(fixture_take(rl, cluster_resource("later"), 30000));
    redlock_options_free(options);
    redlock_free(rl);
    redlock_free(early);
    allow(before);
}

static void every_descriptor_of_a_handle_closes_on_exec(void **state)
{
    struct fixture *f = *state;
    redlock_lease_t *lease = fixture_take(f->rl, cluster_resource("exec"), 30000);
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    size_t sockets = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        int fd = atoi(entry->d_name);
        char path[300], target[100] = "";

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof target - 1) < 0)
            continue;
        if (strncmp(target, "socket:", 7) == 0 || strncmp(target, "anon_inode:", 11) == 0) {
            sockets++;
            /* What the test runner handed down is not the library's. */
            if (fd > 2)
                assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
    }
    closedir(directory);
    assert_true(sockets >= FIXTURE_NODES + 1);
    fixture_release(lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_beyond_1024_are_as_good_as_others),
        cmocka_unit_test(without_descriptors_calls_fail_and_later_they_work),
        cmocka_unit_test(every_descriptor_of_a_handle_closes_on_exec),
    };

    return cmocka_run_group_tests_name("descriptors", tests, fixture_set_up, fixture_tear_down);
}
