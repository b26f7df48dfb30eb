// redlock/cpp/mutex.hpp - part of redlock.hpp: mutexes for std::lock_guard, std::unique_lock and std::scoped_lock.

#ifndef REDLOCK_CPP_MUTEX_HPP
#define REDLOCK_CPP_MUTEX_HPP

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "client.hpp"

namespace redlock {

/// A mutex among all threads of all processes that lock the same resource: Lockable and TimedLockable. Threads of this
/// process that share the object queue here, and only one of them asks the nodes.
///
/// A lock ends by itself when its TTL is over, unless the request extends it: ask held() in long work. lock() throws what
/// try_lock() reports by false, and try_lock() throws every other failure; without exceptions only the overloads with
/// std::error_code and the try_lock() functions exist, and these are false for every failure. unlock() never throws.
/// The client must outlive the mutex.
class mutex {
public:
    mutex(const client &nodes, bytes resource, milliseconds ttl) noexcept : mutex(nodes, request(resource, ttl)) {}
    /// Its wait and its canceller are replaced.
    mutex(const client &nodes, request how) noexcept : nodes_(nodes), how_(std::move(how)) {}
    mutex(const mutex &) = delete;
    mutex &operator=(const mutex &) = delete;
    ~mutex() = default;

    void lock(std::error_code &code) noexcept { detail::store(code, acquire(forever, nullptr)); }
    bool try_lock(std::error_code &code) noexcept { return try_lock_for(milliseconds::zero(), code); }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &wait, std::error_code &code) noexcept
    {
        detail::store(code, acquire(detail::rounded_up(wait), nullptr));
        return !code;
    }
    template <class Clock, class Duration>
    bool try_lock_until(const std::chrono::time_point<Clock, Duration> &deadline, std::error_code &code) noexcept
    {
        return try_lock_for(deadline - Clock::now(), code);
    }

#if REDLOCK_HPP_EXCEPTIONS
    void lock()
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = acquire(forever, &error);
        detail::check(status, error);
    }
    bool try_lock() { return try_lock_for(milliseconds::zero()); }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &wait)
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = acquire(detail::rounded_up(wait), &error);
        if (status == REDLOCK_E_NOT_ACQUIRED) {
            redlock_error_free(error);
            return false;
        }
        detail::check(status, error);
        return true;
    }
#else
    bool try_lock() noexcept { return try_lock_for(milliseconds::zero()); }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &wait) noexcept
    {
        std::error_code code;
        return try_lock_for(wait, code);
    }
#endif
    template <class Clock, class Duration>
    bool try_lock_until(const std::chrono::time_point<Clock, Duration> &deadline)
    {
        return try_lock_for(deadline - Clock::now());
    }

#if defined(__cpp_lib_jthread)
    /// A stop request ends the wait with errc::cancelled.
    void lock(const std::stop_token &stop, std::error_code &code) noexcept
    {
        const canceller ender;
        const std::stop_callback on_stop(stop, [this, &ender]() noexcept {
            ender.cancel();
            { const std::lock_guard<std::mutex> hold(gate_); }
            turn_.notify_all();
        });
        detail::store(code, acquire(forever, nullptr, &ender));
    }
#if REDLOCK_HPP_EXCEPTIONS
    void lock(const std::stop_token &stop)
    {
        std::error_code code;
        lock(stop, code);
        detail::check(code.value(), nullptr);
    }
#endif
#endif

    /// Waits for a quorum of nodes, at most for a node timeout. The lock has ended whatever comes of that; the overload
    /// with a code tells: errc::lost where it had ended before.
    void unlock() noexcept
    {
        std::error_code ignored;
        unlock(ignored);
    }
    void unlock(std::error_code &code) noexcept
    {
        const lease ending(std::move(lease_));
        ending.unlock(code);
        leave();
    }

    /// The lease that the mutex is locked by. For the thread that locked it, until it unlocks.
    const lease &current() const noexcept { return lease_; }
    /// current().held(): whether what is locked is still protected.
    bool held() const noexcept { return lease_.held(); }

private:
    redlock_status_t acquire(milliseconds wait, redlock_error_t **error, const canceller *ender = nullptr) noexcept
    {
        using clock = std::chrono::steady_clock;
        const clock::time_point deadline = wait == forever ? clock::time_point::max() : clock::now() + wait;
        {
            std::unique_lock<std::mutex> hold(gate_);
            const auto may_go_on = [&]() noexcept { return !is_taken_ || (ender != nullptr && ender->is_cancelled()); };
            if (wait == forever)
                turn_.wait(hold, may_go_on);
            else if (!turn_.wait_until(hold, deadline, may_go_on))
                return REDLOCK_E_NOT_ACQUIRED;
            if (is_taken_)
                return REDLOCK_E_CANCELLED;
            is_taken_ = true;
        }
        how_.wait(wait == forever ? forever : detail::rounded_up(deadline - clock::now())).ended_by(ender);
        redlock_lease_t *taken = nullptr;
        redlock_status_t status = how_.status();
        if (status == REDLOCK_OK)
            status = redlock_lock_request(nodes_.get(), how_.get(), &taken, error);
        how_.ended_by(nullptr);
        lease_ = lease(taken);
        if (status != REDLOCK_OK)
            leave();
        return status;
    }

    void leave() noexcept
    {
        {
            const std::lock_guard<std::mutex> hold(gate_);
            is_taken_ = false;
        }
        turn_.notify_one();
    }

    const client &nodes_;
    std::mutex gate_;
    std::condition_variable turn_;
    bool is_taken_ = false; // under gate_; whoever set it owns what follows
    request how_;
    lease lease_;
};

/// A mutex that the thread which holds it may lock again: the nodes see the first lock and the last unlock.
class recursive_mutex {
public:
    recursive_mutex(const client &nodes, bytes resource, milliseconds ttl) noexcept : inner_(nodes, resource, ttl) {}
    recursive_mutex(const client &nodes, request how) noexcept : inner_(nodes, std::move(how)) {}

    void lock(std::error_code &code) noexcept
    {
        code.clear();
        if (is_mine())
            ++depth_;
        else if (inner_.lock(code), !code)
            begin();
    }
    bool try_lock(std::error_code &code) noexcept { return try_lock_for(milliseconds::zero(), code); }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &wait, std::error_code &code) noexcept
    {
        code.clear();
        if (is_mine())
            ++depth_;
        else if (inner_.try_lock_for(wait, code))
            begin();
        return !code;
    }

#if REDLOCK_HPP_EXCEPTIONS
    void lock()
    {
        if (is_mine()) {
            ++depth_;
            return;
        }
        inner_.lock();
        begin();
    }
#endif
    bool try_lock() { return try_lock_for(milliseconds::zero()); }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &wait)
    {
        if (is_mine()) {
            ++depth_;
            return true;
        }
        if (!inner_.try_lock_for(wait))
            return false;
        begin();
        return true;
    }
    template <class Clock, class Duration>
    bool try_lock_until(const std::chrono::time_point<Clock, Duration> &deadline)
    {
        return try_lock_for(deadline - Clock::now());
    }

    void unlock() noexcept
    {
        std::error_code ignored;
        unlock(ignored);
    }
    /// Only the last unlock can fail.
    void unlock(std::error_code &code) noexcept
    {
        code.clear();
        if (--depth_ > 0)
            return;
        owner_.store(std::thread::id(), std::memory_order_relaxed);
        inner_.unlock(code);
    }

    const lease &current() const noexcept { return inner_.current(); }
    bool held() const noexcept { return inner_.held(); }

private:
    bool is_mine() const noexcept { return owner_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
    void begin() noexcept
    {
        owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
        depth_ = 1;
    }

    mutex inner_;
    std::atomic<std::thread::id> owner_{ std::thread::id() };
    std::size_t depth_ = 0; // the owner's
};

} // namespace redlock

#endif // REDLOCK_CPP_MUTEX_HPP
