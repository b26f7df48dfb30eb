/* Extensions that race with releases, a hundred thousand times: whichever comes first, no key comes back. */
#include "support/fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

enum { PAIRS = 24, TTL_MS = 60000, LOSS_EVERY = 7, HEAD_STARTS = 8 };

/* cmocka's assertions belong to the main thread: threads count. */
struct course {
    const redlock_t *rl;
    /* The same nodes, one at a time: its release by token is a loss of the key on that node alone. */
    const redlock_t *one_node[FIXTURE_NODES];
    int rounds;
    atomic_int extended, too_late, released, lost, failures;
};

struct pair {
    struct course *course;
    int number;
    redlock_lease_t *lease;
    /* The rounds that have begun, and those in which the extension has ended. */
    atomic_int begun, ended;
};

static void wait_until(atomic_int *count, int wanted)
{
    while (atomic_load(count) < wanted)
        sched_yield();
}

static void *extend(void *argument)
{
    struct pair *pair = argument;
    struct course *course = pair->course;

    for (int round = 1; round <= course->rounds; round++) {
        redlock_status_t status;

        wait_until(&pair->begun, round);
        status = redlock_extend(pair->lease, 2 * TTL_MS, NULL);
        atomic_fetch_add(status == REDLOCK_OK ? &course->extended
                         : status == REDLOCK_E_LOST ? &course->too_late : &course->failures, 1);
        atomic_store(&pair->ended, round);
    }
    return NULL;
}

/* An extension sets the key again on a node that has lost it. */
static void lose_on_one_node(struct pair *pair, const char *resource, int round)
{
    const redlock_t *rl = pair->course->one_node[round / LOSS_EVERY % FIXTURE_NODES];
    redlock_status_t status = redlock_unlock_token(rl, resource, redlock_lease_token(pair->lease, NULL), NULL);

    /* The vote of this node may still have been on its way. */
    if (status != REDLOCK_OK && status != REDLOCK_E_LOST)
        atomic_fetch_add(&pair->course->failures, 1);
}

static void *release(void *argument)
{
    struct pair *pair = argument;
    struct course *course = pair->course;
    char resource[64];

    for (int round = 1; round <= course->rounds; round++) {
        redlock_status_t status;

        snprintf(resource, sizeof resource, "race-%d-%d", pair->number, round);
        pair->lease = NULL;
        if (redlock_lock(course->rl, resource, TTL_MS, 5000, &pair->lease, NULL) != REDLOCK_OK)
            atomic_fetch_add(&course->failures, 1);
        if (round % LOSS_EVERY == 0)
            lose_on_one_node(pair, resource, round);
        atomic_store(&pair->begun, round);
        /* From far ahead of the extension to far behind it. */
        for (int yields = round % HEAD_STARTS; yields > 0; yields--)
            sched_yield();
        status = redlock_unlock(pair->lease, NULL);
        atomic_fetch_add(status == REDLOCK_OK ? &course->released
                         : status == REDLOCK_E_LOST ? &course->lost : &course->failures, 1);
        wait_until(&pair->ended, round);
        if (redlock_lease_state(pair->lease) == REDLOCK_LEASE_HELD)
            atomic_fetch_add(&course->failures, 1);
        redlock_lease_free(pair->lease);
    }
    return NULL;
}

static size_t keys(const cluster_t *cluster)
{
    size_t sum = 0;

    for (size_t node = 0; node < cluster_size(cluster); node++) {
        char *text = cluster_cli(cluster, node, "DBSIZE", NULL);

        sum += strtoul(text, NULL, 10);
        free(text);
    }
    return sum;
}

/* Other servers than the usual one get a tenth, and slow programs less. */
static int races(void)
{
    return (getenv("REDIS_SERVER") == NULL ? 100000 : 10000) / (int)(cluster_slowness() * cluster_slowness());
}

static void an_extension_that_races_with_a_release_resurrects_no_key(void **state)
{
    struct fixture *f = *state;
    struct course course = { .rl = f->rl, .rounds = races() / PAIRS + 1 };
    redlock_t *one_node[FIXTURE_NODES];
    static struct pair pairs[PAIRS];
    pthread_t threads[2 * PAIRS];
    uint64_t begun = cluster_now_ms(), end;

    for (size_t node = 0; node < FIXTURE_NODES; node++) {
        redlock_options_t *options = fixture_options();

        assert_int_equal(redlock_new(cluster_urls(f->cluster) + node, 1, options, &one_node[node], NULL), REDLOCK_OK);
        redlock_options_free(options);
        course.one_node[node] = one_node[node];
    }
    for (int i = 0; i < PAIRS; i++) {
        pairs[i] = (struct pair) { .course = &course, .number = i };
        assert_int_equal(pthread_create(&threads[2 * i], NULL, extend, &pairs[i]), 0);
        assert_int_equal(pthread_create(&threads[2 * i + 1], NULL, release, &pairs[i]), 0);
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        pthread_join(threads[i], NULL);
    print_message("%d extended first, %d too late; %d released, %d lost; %.1f s\n", course.extended, course.too_late,
                  course.released, course.lost, (double)(cluster_now_ms() - begun) / 1000);
    assert_int_equal(course.failures, 0);
    assert_int_equal(course.extended + course.too_late, PAIRS * course.rounds);
    /* A lease that lost one of its keys while the vote of another was on its way is over. */
    assert_true(course.lost <= PAIRS * (course.rounds / LOSS_EVERY));
    /* Without both of them there was no race. */
    assert_true(course.extended > 0 && course.too_late > 0);

    end = cluster_now_ms() + 2000 * cluster_slowness();
    while (keys(f->cluster) > 0 && cluster_now_ms() < end)
        cluster_sleep_ms(10);
    assert_int_equal(keys(f->cluster), 0);
    cluster_sleep_ms(300);
    assert_int_equal(keys(f->cluster), 0);
    for (size_t node = 0; node < FIXTURE_NODES; node++)
        redlock_free(one_node[node]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_extension_that_races_with_a_release_resurrects_no_key),
    };

    return cmocka_run_group_tests_name("races", tests, fixture_set_up, fixture_tear_down);
}
