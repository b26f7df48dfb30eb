// redlock/cpp/lease.hpp - part of redlock.hpp: a lock that was taken.

#ifndef REDLOCK_CPP_LEASE_HPP
#define REDLOCK_CPP_LEASE_HPP

#include "settings.hpp"

namespace redlock {

/// redlock_lease_state(); `none` for an empty object.
enum class lease_state : std::int32_t {
    none = 0,
    held = REDLOCK_LEASE_HELD,
    lost = REDLOCK_LEASE_LOST,
    released = REDLOCK_LEASE_RELEASED
};

/// A lock that was taken. The destructor releases it without waiting and never throws; unlock() waits and tells what
/// became of it. Move-only; what is const may be called by all threads at once. All calls on an empty object fail with
/// errc::invalid.
class lease {
public:
    lease() noexcept = default;
    /// Takes over what the C functions handed out.
    explicit lease(redlock_lease_t *owned, std::uint64_t tag = 0) noexcept : raw_(owned), tag_(tag) {}
    lease(lease &&) noexcept = default;
    lease &operator=(lease &&other) noexcept
    {
        if (this != &other) {
            reset();
            raw_ = std::move(other.raw_);
            tag_ = other.tag_;
        }
        return *this;
    }
    ~lease() { reset(); }

    /// Whether this is a lease at all. Whether it is still valid: held().
    explicit operator bool() const noexcept { return static_cast<bool>(raw_); }

    /// Whether the lock is ours and its time is not over. No server is asked. Ask before each step of long work.
    bool held() const noexcept { return state() == lease_state::held && remaining() > milliseconds::zero(); }
    lease_state state() const noexcept { return static_cast<lease_state>(redlock_lease_state(get())); }
    /// For how much longer the lock is ours; 0 or less when it is over.
    milliseconds remaining() const noexcept { return milliseconds(redlock_lease_remaining_ms(get())); }
    /// When the lease is over, on CLOCK_BOOTTIME.
    std::chrono::nanoseconds valid_until() const noexcept
    {
        return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(redlock_lease_valid_until_ns(get())));
    }
    /// The fencing token; 0 where none was asked for.
    std::uint64_t fence() const noexcept { return redlock_lease_fence(get()); }
    std::size_t node_count_held() const noexcept { return redlock_lease_node_count_held(get()); }
    /// Both are borrowed from the lease.
    bytes token() const noexcept { return asked(redlock_lease_token); }
    bytes resource() const noexcept { return asked(redlock_lease_resource); }

    /// Ends the lease, and waits for a quorum of nodes. A failure: errc::lost if it had ended before; else the key goes
    /// as soon as the nodes answer, at the latest with its TTL.
    void unlock(std::error_code &code) const noexcept { detail::store(code, redlock_unlock(get(), nullptr)); }
    void unlock(failure &why) const noexcept
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_unlock(get(), &error);
        why = failure(status, error);
    }
    /// Ends the lease and never waits.
    void unlock_nowait() const noexcept { (void)redlock_unlock_nowait(get()); }

    /// Makes the lock last `ttl` from now on; never shortens it.
    void extend(milliseconds ttl, std::error_code &code) const noexcept
    {
        detail::store(code, redlock_extend(get(), detail::life_ms(ttl), nullptr));
    }
    void extend(milliseconds ttl, failure &why) const noexcept
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_extend(get(), detail::life_ms(ttl), &error);
        why = failure(status, error);
    }

    /// Waits until the lease is over, however that comes about. True as soon as it is; false if it is still held after
    /// that time, or with a code that says why the wait ended.
    bool wait_lost(milliseconds timeout, std::error_code &code, const canceller *ender = nullptr) const noexcept
    {
        const redlock_status_t status = redlock_lease_wait_lost_cancellable(
            get(), detail::wait_ms(timeout), ender == nullptr ? nullptr : ender->get());
        detail::store(code, status == REDLOCK_E_LOST ? REDLOCK_OK : status);
        return status == REDLOCK_E_LOST;
    }

#if REDLOCK_HPP_EXCEPTIONS
    void unlock() const
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_unlock(get(), &error);
        detail::check(status, error);
    }
    void extend(milliseconds ttl) const
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_extend(get(), detail::life_ms(ttl), &error);
        detail::check(status, error);
    }
    bool wait_lost(milliseconds timeout, const canceller *ender = nullptr) const
    {
        std::error_code code;
        const bool is_over = wait_lost(timeout, code, ender);
        detail::check(code.value(), nullptr);
        return is_over;
    }
#endif
#if defined(__cpp_lib_jthread)
    /// Ended by a stop request, too: then false with errc::cancelled.
    bool wait_lost(milliseconds timeout, const std::stop_token &stop, std::error_code &code) const noexcept
    {
        const canceller ender;
        const std::stop_callback on_stop(stop, [&ender]() noexcept { ender.cancel(); });
        return wait_lost(timeout, code, &ender);
    }
#endif

    /// Releases the lock without waiting, unless that was done, and becomes empty.
    void reset() noexcept
    {
        if (raw_ && state() != lease_state::released)
            unlock_nowait();
        raw_.reset();
    }
    /// Becomes empty and leaves the lock as it is, until its TTL ends or someone releases it by its token.
    void abandon() noexcept { raw_.reset(); }
    /// Hands the C object to the caller.
    redlock_lease_t *release() noexcept { return raw_.release(); }
    redlock_lease_t *get() const noexcept { return raw_.get(); }
    /// The tag of the request, for leases of the event loop.
    std::uint64_t tag() const noexcept { return tag_; }

private:
    bytes asked(const char *(*getter)(const redlock_lease_t *, std::size_t *)) const noexcept
    {
        std::size_t size = 0;
        const char *const data = getter(get(), &size);
        return bytes(data, size);
    }

    detail::owned<redlock_lease_t, redlock_lease_free> raw_;
    std::uint64_t tag_ = 0;
};

} // namespace redlock

#endif // REDLOCK_CPP_LEASE_HPP
