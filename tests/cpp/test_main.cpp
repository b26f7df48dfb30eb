// The C++ layer on real servers: tools/servers run 3 -- test_cpp. Compiled once per standard and compiler.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support.hpp"

#include <atomic>
#include <cstdio>
#include <thread>
#include <type_traits>

using namespace test;

TEST_CASE("versions are named")
{
    std::printf("C++ %ld, redlock %s\n", static_cast<long>(__cplusplus), redlock::version());
    CHECK(redlock_version_number() == REDLOCK_VERSION_NUMBER);
}

static_assert(!std::is_copy_constructible<redlock::lease>::value, "leases are move-only");
static_assert(std::is_nothrow_move_constructible<redlock::client>::value, "clients move without failure");
static_assert(std::is_nothrow_move_assignable<redlock::lease>::value, "leases move without failure");
static_assert(noexcept(std::declval<redlock::mutex &>().unlock()), "unlock() of a mutex never throws");

TEST_CASE("a lease releases its lock at the end of its block")
{
    const redlock::client c(nodes());
    const std::string name = fresh("scope");
    {
        const redlock::lease lease = c.lock(name, seconds(30), milliseconds(0));
        CHECK(lease.held());
        CHECK(lease.resource().str() == name);
        CHECK(lease.remaining() > seconds(20));
        CHECK(lease.node_count_held() >= 2);
        CHECK_FALSE(c.try_lock(name, seconds(30)));
    }
    CHECK(c.try_lock(name, seconds(30), seconds(10)));
}

TEST_CASE("leases move, and are over once")
{
    const redlock::client c(nodes());
    const std::string name = fresh("move");
    redlock::lease first = c.lock(name, seconds(30));
    redlock::lease second = std::move(first);
    CHECK_FALSE(first);
    CHECK(first.state() == redlock::lease_state::none);
    std::error_code code;
    first.unlock(code);
    CHECK(code == redlock::errc::invalid);
    second = c.lock(fresh("other"), seconds(30));
    CHECK(c.lock(name, seconds(30), seconds(10)).held());
    second.unlock(code);
    CHECK_FALSE(code);
    CHECK(second.state() == redlock::lease_state::released);
    second.unlock(code);
    CHECK(code == redlock::errc::lost);
}

TEST_CASE("a failure tells its code, its message and the nodes")
{
    const redlock::client c(nodes());
    const std::string name = fresh("busy");
    const redlock::lease holder = c.lock(name, seconds(30));
    try {
        (void)c.lock(name, seconds(30), milliseconds(0));
        FAIL("two holders");
    } catch (const redlock::error &e) {
        CHECK(e.code() == redlock::errc::not_acquired);
        CHECK(e.code() == std::errc::resource_unavailable_try_again);
        CHECK(std::string(e.what()).find("not acquired") == 0);
        CHECK(e.details().node_count() == nodes().size());
        CHECK(e.details().node(0).url != nullptr);
        const redlock::error copy = e; // NOLINT: exceptions are copied
        CHECK(std::string(copy.what()) == e.what());
    }
    std::error_code code;
    CHECK_FALSE(c.lock(name, seconds(30), milliseconds(0), code));
    CHECK(code == redlock::errc::not_acquired);
    redlock::failure why;
    CHECK_FALSE(c.lock(redlock::request("", seconds(1)), why));
    CHECK(why.status() == REDLOCK_E_INVALID);
    CHECK_THROWS_AS(redlock::client({ "gopher://x" }), redlock::error);
    CHECK_THROWS_AS(redlock::client(nodes(), redlock::options().node_timeout(milliseconds(-1))), redlock::error);
}

TEST_CASE("requests fence, extend themselves and name their token")
{
    const redlock::client c(nodes());
    const std::string name = fresh("request");
    redlock::request what(name, seconds(1));
    what.fence().wait(seconds(5)).auto_extend();
    std::uint64_t before = 0;
    {
        const redlock::lease lease = c.lock(what);
        before = lease.fence();
        CHECK(before > 0);
        std::this_thread::sleep_for(milliseconds(1500));
        CHECK(lease.held());
        const redlock::inspection seen = c.inspect(name);
        CHECK(seen.is_held());
        CHECK(seen.token().str() == lease.token().str());
        c.unlock_token(name, lease.token());
        CHECK(lease.wait_lost(seconds(10)));
        CHECK_FALSE(lease.held());
    }
    CHECK(c.lock(what).fence() > before);
    CHECK(c.counters().acquired() == 2);
}

TEST_CASE("extend lengthens, and says when there is nothing to extend")
{
    const redlock::client c(nodes());
    const redlock::lease lease = c.lock(fresh("extend"), seconds(5));
    lease.extend(seconds(60));
    CHECK(lease.remaining() > seconds(50));
    lease.unlock();
    std::error_code code;
    lease.extend(seconds(60), code);
    CHECK(code == redlock::errc::lost);
    CHECK_THROWS_AS(lease.unlock(), redlock::error);
}

TEST_CASE("a client may go before its leases")
{
    redlock::lease lease;
    {
        const redlock::client c(nodes());
        lease = c.lock(fresh("orphan"), seconds(5));
    }
    std::error_code code;
    lease.extend(seconds(5), code);
    CHECK(code == redlock::errc::closed);
}

TEST_CASE("the standard's guards take the mutex, and threads exclude each other")
{
    const redlock::client c(nodes());
    redlock::mutex mutex(c, fresh("mutex"), seconds(30));
    redlock::mutex elsewhere(c, redlock::request(redlock::bytes(mutex_name()), seconds(30)));
    int inside = 0;
    int total = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&] {
            for (int i = 0; i < 25; i++) {
                const std::lock_guard<redlock::mutex> guard(mutex);
                total += ++inside == 1;
                --inside;
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    CHECK(total == 100);
    std::unique_lock<redlock::mutex> one(mutex, std::defer_lock);
    std::unique_lock<redlock::mutex> two(elsewhere, std::defer_lock);
    std::lock(one, two);
    CHECK(mutex.held());
    CHECK(elsewhere.current().held());
#if __cplusplus >= 201703L
    one.unlock();
    two.unlock();
    const std::scoped_lock both(mutex, elsewhere);
    CHECK(mutex.held());
#endif
}

TEST_CASE("timed locks give up, here and among processes")
{
    const redlock::client c(nodes());
    const std::string name = fresh("timed");
    redlock::mutex mutex(c, name, seconds(30));
    redlock::mutex other(c, name, seconds(30));
    std::unique_lock<redlock::mutex> held(mutex);
    CHECK_FALSE(other.try_lock());
    CHECK_FALSE(other.try_lock_for(std::chrono::microseconds(50500)));
    CHECK_FALSE(other.try_lock_until(std::chrono::system_clock::now() + milliseconds(50)));
    std::thread([&] { CHECK_FALSE(mutex.try_lock_for(milliseconds(50))); }).join();
    std::thread waiter([&] {
        CHECK(other.try_lock_for(std::chrono::hours(24 * 365 * 200)));
        other.unlock();
    });
    held.unlock();
    waiter.join();
    std::error_code code;
    mutex.lock(code);
    REQUIRE_FALSE(code);
    c.unlock_token(name, mutex.current().token());
    mutex.unlock(code);
    CHECK(code == redlock::errc::lost);
}

TEST_CASE("a recursive mutex is unlocked as often as it was locked")
{
    const redlock::client c(nodes());
    redlock::recursive_mutex mutex(c, fresh("recursive"), seconds(30));
    mutex.lock();
    CHECK(mutex.try_lock());
    mutex.unlock();
    CHECK(mutex.held());
    std::thread([&] { CHECK_FALSE(mutex.try_lock()); }).join();
    mutex.unlock();
    std::thread([&] {
        CHECK(mutex.try_lock());
        mutex.unlock();
    }).join();
}

TEST_CASE("a canceller ends waits, now and later")
{
    const redlock::client c(nodes());
    const std::string name = fresh("cancel");
    const redlock::lease holder = c.lock(name, seconds(30));
    const redlock::canceller ender;
    redlock::request what(name, seconds(30));
    what.wait(redlock::forever).ended_by(&ender);
    std::error_code code;
    std::thread canceller([&] {
        std::this_thread::sleep_for(milliseconds(50));
        ender.cancel();
    });
    (void)c.lock(what, code);
    canceller.join();
    CHECK(code == redlock::errc::cancelled);
    CHECK(code == std::errc::operation_canceled);
    CHECK_FALSE(holder.wait_lost(seconds(30), code, &ender));
    CHECK(code == redlock::errc::cancelled);
}

TEST_CASE("closing ends waits and releases leases")
{
    const redlock::client c(nodes());
    const redlock::client other(nodes());
    const std::string name = fresh("close");
    const redlock::lease lease = c.lock(name, seconds(60));
    std::error_code code;
    c.close(true, seconds(10), code);
    CHECK_FALSE(code);
    CHECK(other.try_lock(name, seconds(5), seconds(5)));
    (void)c.lock(name, seconds(1), milliseconds(0), code);
    CHECK(code == redlock::errc::closed);
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a stop request ends waits")
{
    const redlock::client c(nodes());
    const std::string name = fresh("stop");
    const redlock::lease holder = c.lock(name, seconds(30));
    redlock::mutex mutex(c, name, seconds(30));
    std::error_code remote;
    std::error_code local;
    redlock::failure leased;
    {
        std::jthread first([&](std::stop_token stop) { mutex.lock(stop, remote); });
        std::jthread second([&](std::stop_token stop) { mutex.lock(stop, local); });
        std::jthread third([&](std::stop_token stop) { (void)c.lock(name, seconds(30), redlock::forever, stop, leased); });
        std::this_thread::sleep_for(milliseconds(50));
    }
    CHECK(remote == redlock::errc::cancelled);
    CHECK(local == redlock::errc::cancelled);
    CHECK(leased.status() == REDLOCK_E_CANCELLED);
}
#endif

#if defined(__cpp_lib_expected)
TEST_CASE("expected holds the lease or the failure")
{
    const redlock::client c(nodes());
    const std::string name = fresh("expected");
    const auto lease = c.lock_expected(name, seconds(30), milliseconds(0));
    REQUIRE(lease.has_value());
    const auto second = c.lock_expected(name, seconds(30), milliseconds(0));
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().status() == REDLOCK_E_NOT_ACQUIRED);
}
#endif

#if defined(__cpp_lib_coroutine)
namespace {

struct task {
    struct promise_type {
        task get_return_object() { return task{ std::coroutine_handle<promise_type>::from_promise(*this) }; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { failed = std::current_exception(); }
        std::exception_ptr failed;
    };
    std::coroutine_handle<promise_type> frame;
};

task cycle(redlock::event_loop &loop, std::string name, int &done)
{
    redlock::request what(name, seconds(30));
    what.wait(seconds(30));
    const redlock::lease lease = co_await loop.lock(what);
    co_await loop.extend(lease, seconds(40));
    CHECK(lease.held());
    co_await loop.unlock(lease);
    done++;
}

task watch(redlock::event_loop &loop, std::string name, std::string &token, int &lost)
{
    redlock::request what(name, seconds(30));
    const redlock::lease lease = co_await loop.lock(what);
    token = lease.token().str();
    lost = co_await loop.lost(lease) ? 1 : 2;
}

task refuse(redlock::event_loop &loop, std::error_code &code, int &thrown)
{
    redlock::request what("", seconds(30));
    (void)co_await loop.lock(what, code);
    try {
        (void)co_await loop.lock(what);
    } catch (const redlock::error &e) {
        thrown = e.code() == redlock::errc::invalid;
    }
}

} // namespace

TEST_CASE("coroutines lock, extend, unlock and see a loss")
{
    const redlock::client c(nodes());
    redlock::event_loop loop(c);
    const std::string name = fresh("coroutine");
    const std::string watched = fresh("watched");
    int done = 0;
    int lost = 0;
    int thrown = 0;
    std::string token;
    std::error_code code;
    std::vector<task> tasks;
    for (int i = 0; i < 3; i++)
        tasks.push_back(cycle(loop, name, done));
    tasks.push_back(watch(loop, watched, token, lost));
    tasks.push_back(refuse(loop, code, thrown));
    CHECK(code == redlock::errc::invalid);
    CHECK(thrown == 1);
    run(loop, [&] { return done == 3 && !token.empty(); });
    const redlock::client other(nodes());
    std::this_thread::sleep_for(milliseconds(100));
    other.unlock_token(watched, token);
    run(loop, [&] { return lost != 0; });
    CHECK(lost == 1);

    // A coroutine that is destroyed while it waits leaves no lock behind.
    const redlock::lease holder = other.lock(name, seconds(30));
    tasks.push_back(cycle(loop, name, done));
    CHECK_FALSE(loop.is_idle());
    for (task &t : tasks) {
        CHECK_FALSE(t.frame.promise().failed);
        t.frame.destroy();
    }
    CHECK(loop.is_idle());
    CHECK_FALSE(loop.dispatch());
}
#endif
