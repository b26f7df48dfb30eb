/* A hundred thousand cycles leave no descriptor, no thread and no memory behind.
 *
 * no-checker: what the allocator keeps is what is measured, and the cycles would take half an hour */
#include "support/fixture.h"

#include <stdio.h>
#include <unistd.h>

enum { WARM_UP = 10000, CYCLES = 100000, RSS_NOISE_KB = 256 };

static size_t resident_kb(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* One in a hundred is refused, extended, inspected or goes by token, so that no way around is left out. */
static void cycle(struct fixture *f, int number)
{
    char resource[64];
    redlock_lease_t *lease = NULL, *refused = NULL;
    redlock_error_t *error = NULL;
    redlock_inspection_t *inspect = NULL;

    snprintf(resource, sizeof resource, "endurance-%d", number);
    assert_int_equal(redlock_lock(f->rl, resource, 60000, 1000, &lease, &error), REDLOCK_OK);
    switch (number % 100) {
    case 0:
        assert_int_equal(redlock_lock(f->rl, resource, 60000, 0, &refused, &error), REDLOCK_E_NOT_ACQUIRED);
        redlock_error_free(error);
        break;
    case 1:
        assert_int_equal(redlock_extend(lease, 70000, NULL), REDLOCK_OK);
        break;
    case 2:
        assert_int_equal(redlock_inspect(f->rl, resource, &inspect, NULL), REDLOCK_OK);
        redlock_inspection_free(inspect);
        break;
    case 3:
        assert_int_equal(redlock_unlock_token(f->rl, resource, redlock_lease_token(lease, NULL), NULL), REDLOCK_OK);
        assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_E_LOST);
        redlock_lease_free(lease);
        return;
    }
    assert_int_equal(redlock_unlock(lease, NULL), REDLOCK_OK);
    redlock_lease_free(lease);
}

static void nothing_is_left_of_a_hundred_thousand_cycles(void **state)
{
    struct fixture *f = *state;
    size_t descriptors, threads, memory_kb;

    for (int number = 0; number < WARM_UP; number++)
        cycle(f, number);
    descriptors = fixture_entries("/proc/self/fd");
    threads = fixture_entries("/proc/self/task");
    memory_kb = resident_kb();
    for (int number = 0; number < CYCLES; number++)
        cycle(f, number);
    assert_int_equal(fixture_entries("/proc/self/fd"), descriptors);
    assert_int_equal(fixture_entries("/proc/self/task"), threads);
    assert_in_range(resident_kb(), 0, memory_kb + RSS_NOISE_KB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_a_hundred_thousand_cycles),
    };

    return cmocka_run_group_tests_name("endurance", tests, fixture_set_up, fixture_tear_down);
}
