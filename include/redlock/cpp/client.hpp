// redlock/cpp/client.hpp - part of redlock.hpp: the client, inspections, counters.

#ifndef REDLOCK_CPP_CLIENT_HPP
#define REDLOCK_CPP_CLIENT_HPP

#include <initializer_list>
#include <vector>

#include "lease.hpp"

namespace redlock {

/// What the nodes said about one resource. Move-only.
class inspection {
public:
    inspection() noexcept = default;
    explicit inspection(redlock_inspection_t *owned) noexcept : raw_(owned) {}

    explicit operator bool() const noexcept { return static_cast<bool>(raw_); }
    bool is_held() const noexcept { return redlock_inspection_is_held(get()) != 0; }
    /// Borrowed from the inspection.
    bytes token() const noexcept
    {
        std::size_t size = 0;
        const char *const data = redlock_inspection_token(get(), &size);
        return bytes(data, size);
    }
    /// Negative: the key never expires, and was not set by this library.
    milliseconds remaining() const noexcept { return milliseconds(redlock_inspection_remaining_ms(get())); }
    std::size_t node_count_held() const noexcept { return redlock_inspection_node_count_held(get()); }
    std::size_t node_count() const noexcept { return redlock_inspection_node_count(get()); }
    node_report node(std::size_t index) const noexcept
    {
        const redlock_inspection_t *said = get();
        return node_report{ redlock_inspection_node_url(said, index), redlock_inspection_node_outcome(said, index),
                            redlock_inspection_node_text(said, index), milliseconds::zero(),
                            milliseconds(redlock_inspection_node_remaining_ms(said, index)) };
    }
    redlock_inspection_t *get() const noexcept { return raw_.get(); }

private:
    detail::owned<redlock_inspection_t, redlock_inspection_free> raw_;
};

/// The counters of a client at one moment; get() is for the redlock_stats_ functions of single nodes. Move-only.
class stats {
public:
    stats() noexcept = default;
    explicit stats(redlock_stats_t *owned) noexcept : raw_(owned) {}

    explicit operator bool() const noexcept { return static_cast<bool>(raw_); }
    std::uint64_t attempts() const noexcept { return redlock_stats_attempts(get()); }
    std::uint64_t acquired() const noexcept { return redlock_stats_acquired(get()); }
    std::uint64_t contended() const noexcept { return redlock_stats_contended(get()); }
    std::uint64_t no_quorum() const noexcept { return redlock_stats_no_quorum(get()); }
    std::uint64_t released() const noexcept { return redlock_stats_released(get()); }
    std::uint64_t extended() const noexcept { return redlock_stats_extended(get()); }
    std::uint64_t lost() const noexcept { return redlock_stats_lost(get()); }
    std::size_t node_count() const noexcept { return redlock_stats_node_count(get()); }
    redlock_stats_t *get() const noexcept { return raw_.get(); }

private:
    detail::owned<redlock_stats_t, redlock_stats_free> raw_;
};

/// The connections to a set of nodes. Made once per process and used by all threads at once. Move-only; leases may
/// outlive it, and then answer errc::closed. All calls on an empty object fail with errc::invalid.
class client {
public:
    client() noexcept = default;
    explicit client(redlock_t *owned) noexcept : raw_(owned) {}

    /// Returns at once, and connects in the background. Empty on failure.
    client(const char *const *urls, std::size_t count, const options &how, failure &why) noexcept
    {
        redlock_error_t *error = nullptr;
        redlock_t *made = nullptr;
        redlock_status_t status = how.status();
        if (status == REDLOCK_OK)
            status = redlock_new(urls, count, how.get(), &made, &error);
        raw_.reset(made);
        why = failure(status, error);
    }
    client(std::initializer_list<const char *> urls, const options &how, failure &why) noexcept
        : client(urls.begin(), urls.size(), how, why)
    {
    }
    client(const std::vector<std::string> &urls, const options &how, failure &why)
        : client(pointers(urls).data(), urls.size(), how, why)
    {
    }

    explicit operator bool() const noexcept { return static_cast<bool>(raw_); }

    /// Waits until a quorum of nodes is connected and ready. Optional: tells whether the configuration works.
    void wait_ready(milliseconds timeout, failure &why, const canceller *ender = nullptr) const noexcept
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_wait_ready_cancellable(
            get(), detail::wait_ms(timeout), ender == nullptr ? nullptr : ender->get(), &error);
        why = failure(status, error);
    }

    /// Takes a lock. Empty on failure, errc::not_acquired where another client held it to the end.
    lease lock(const request &what, std::error_code &code) const noexcept
    {
        redlock_lease_t *taken = nullptr;
        detail::store(code, acquire(what, &taken, nullptr));
        return lease(taken);
    }
    lease lock(const request &what, failure &why) const noexcept
    {
        redlock_lease_t *taken = nullptr;
        redlock_error_t *error = nullptr;
        const redlock_status_t status = acquire(what, &taken, &error);
        why = failure(status, error);
        return lease(taken);
    }
    lease lock(bytes resource, milliseconds ttl, milliseconds wait, std::error_code &code) const noexcept
    {
        redlock_lease_t *taken = nullptr;
        detail::store(code, acquire(resource, ttl, wait, &taken, nullptr));
        return lease(taken);
    }
    lease lock(bytes resource, milliseconds ttl, milliseconds wait, failure &why) const noexcept
    {
        redlock_lease_t *taken = nullptr;
        redlock_error_t *error = nullptr;
        const redlock_status_t status = acquire(resource, ttl, wait, &taken, &error);
        why = failure(status, error);
        return lease(taken);
    }

    /// What another process can do that was told the resource and the token of a lease.
    void unlock_token(bytes resource, bytes token, failure &why) const noexcept
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_unlock_token_bytes(get(), resource.data(), resource.size(), token.data(),
                                                                   token.size(), &error);
        why = failure(status, error);
    }
    void extend_token(bytes resource, bytes token, milliseconds ttl, failure &why) const noexcept
    {
        redlock_error_t *error = nullptr;
        const redlock_status_t status = redlock_extend_token_bytes(get(), resource.data(), resource.size(), token.data(),
                                                                   token.size(), detail::life_ms(ttl), &error);
        why = failure(status, error);
    }

    /// Who holds a lock, as the nodes say. Never act on it in place of a lock.
    inspection inspect(bytes resource, failure &why) const noexcept
    {
        redlock_error_t *error = nullptr;
        redlock_inspection_t *said = nullptr;
        const redlock_status_t status = redlock_inspect_bytes(get(), resource.data(), resource.size(), &said, &error);
        why = failure(status, error);
        return inspection(said);
    }

    /// Empty after a failure, which only an empty client, a forked process or a bug has.
    stats counters() const noexcept
    {
        redlock_stats_t *copied = nullptr;
        (void)redlock_stats(get(), &copied, nullptr);
        return stats(copied);
    }

    /// Ends the calls in progress and all later ones with errc::closed, and waits for confirmations of releases.
    void close(bool release_leases, milliseconds timeout, std::error_code &code) const noexcept
    {
        detail::store(code, redlock_close(get(), release_leases, detail::wait_ms(timeout), nullptr));
    }

#if REDLOCK_HPP_EXCEPTIONS
    client(const char *const *urls, std::size_t count, const options &how = options())
    {
        failure why;
        *this = client(urls, count, how, why);
        raise(why);
    }
    explicit client(std::initializer_list<const char *> urls, const options &how = options())
        : client(urls.begin(), urls.size(), how)
    {
    }
    explicit client(const std::vector<std::string> &urls, const options &how = options())
        : client(pointers(urls).data(), urls.size(), how)
    {
    }

    void wait_ready(milliseconds timeout, const canceller *ender = nullptr) const
    {
        failure why;
        wait_ready(timeout, why, ender);
        raise(why);
    }

    REDLOCK_HPP_NODISCARD lease lock(const request &what) const
    {
        failure why;
        lease taken = lock(what, why);
        raise(why);
        return taken;
    }
    REDLOCK_HPP_NODISCARD lease lock(bytes resource, milliseconds ttl, milliseconds wait = forever) const
    {
        failure why;
        lease taken = lock(resource, ttl, wait, why);
        raise(why);
        return taken;
    }
    /// Empty where another client held the lock to the end; every other failure is thrown.
    REDLOCK_HPP_NODISCARD lease try_lock(bytes resource, milliseconds ttl, milliseconds wait = milliseconds::zero()) const
    {
        failure why;
        lease taken = lock(resource, ttl, wait, why);
        if (why.status() != REDLOCK_E_NOT_ACQUIRED)
            raise(why);
        return taken;
    }
    REDLOCK_HPP_NODISCARD lease try_lock(const request &what) const
    {
        failure why;
        lease taken = lock(what, why);
        if (why.status() != REDLOCK_E_NOT_ACQUIRED)
            raise(why);
        return taken;
    }

    void unlock_token(bytes resource, bytes token) const
    {
        failure why;
        unlock_token(resource, token, why);
        raise(why);
    }
    void extend_token(bytes resource, bytes token, milliseconds ttl) const
    {
        failure why;
        extend_token(resource, token, ttl, why);
        raise(why);
    }
    inspection inspect(bytes resource) const
    {
        failure why;
        inspection said = inspect(resource, why);
        raise(why);
        return said;
    }
#endif
#if defined(__cpp_lib_jthread)
    /// A stop request ends the wait with errc::cancelled. The request's own canceller is replaced, and then unset.
    lease lock(request &what, const std::stop_token &stop, failure &why) const noexcept
    {
        const canceller ender;
        const std::stop_callback on_stop(stop, [&ender]() noexcept { ender.cancel(); });
        what.ended_by(&ender);
        lease taken = lock(what, why);
        what.ended_by(nullptr);
        return taken;
    }
    lease lock(bytes resource, milliseconds ttl, milliseconds wait, const std::stop_token &stop, failure &why) const noexcept
    {
        request what(resource, ttl);
        what.wait(wait);
        return lock(what, stop, why);
    }
#if REDLOCK_HPP_EXCEPTIONS
    REDLOCK_HPP_NODISCARD lease lock(request &what, const std::stop_token &stop) const
    {
        failure why;
        lease taken = lock(what, stop, why);
        raise(why);
        return taken;
    }
    REDLOCK_HPP_NODISCARD lease lock(bytes resource, milliseconds ttl, milliseconds wait, const std::stop_token &stop) const
    {
        request what(resource, ttl);
        what.wait(wait);
        return lock(what, stop);
    }
#endif
#endif
#if defined(__cpp_lib_expected)
    std::expected<lease, failure> lock_expected(const request &what) const noexcept
    {
        failure why;
        lease taken = lock(what, why);
        if (why)
            return std::unexpected(std::move(why));
        return taken;
    }
    std::expected<lease, failure> lock_expected(bytes resource, milliseconds ttl, milliseconds wait) const noexcept
    {
        failure why;
        lease taken = lock(resource, ttl, wait, why);
        if (why)
            return std::unexpected(std::move(why));
        return taken;
    }
#endif

    std::size_t node_count() const noexcept { return redlock_node_count(get()); }
    const char *node_url(std::size_t index) const noexcept { return redlock_node_url(get(), index); }
    redlock_t *get() const noexcept { return raw_.get(); }
    redlock_t *release() noexcept { return raw_.release(); }

private:
    redlock_status_t acquire(const request &what, redlock_lease_t **taken, redlock_error_t **error) const noexcept
    {
        return what.status() != REDLOCK_OK ? what.status() : redlock_lock_request(get(), what.get(), taken, error);
    }
    redlock_status_t acquire(bytes resource, milliseconds ttl, milliseconds wait, redlock_lease_t **taken,
                             redlock_error_t **error) const noexcept
    {
        return redlock_lock_bytes(get(), resource.data(), resource.size(), detail::life_ms(ttl), detail::wait_ms(wait), taken,
                                  error);
    }

    static std::vector<const char *> pointers(const std::vector<std::string> &urls)
    {
        std::vector<const char *> result;
        result.reserve(urls.size());
        for (const std::string &url : urls)
            result.push_back(url.c_str());
        return result;
    }

#if REDLOCK_HPP_EXCEPTIONS
    static void raise(failure &why)
    {
        if (why)
            throw error(std::move(why));
    }
#endif

    detail::owned<redlock_t, redlock_free> raw_;
};

/// The version of the library that the program runs with.
inline const char *version() noexcept { return redlock_version(); }

} // namespace redlock

#endif // REDLOCK_CPP_CLIENT_HPP
