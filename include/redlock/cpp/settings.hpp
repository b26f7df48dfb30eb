// redlock/cpp/settings.hpp - part of redlock.hpp: options of a client, cancellers, requests.

#ifndef REDLOCK_CPP_SETTINGS_HPP
#define REDLOCK_CPP_SETTINGS_HPP

#include "error.hpp"

namespace redlock {

/// How a client behaves. The setters can be chained; the first one that fails is reported when a client is made with the
/// options. Move-only.
class options {
public:
    options() noexcept : raw_(redlock_options_new()), status_(raw_ ? REDLOCK_OK : REDLOCK_E_INTERNAL) {}

    options &node_timeout(milliseconds t) noexcept { return take(redlock_options_set_node_timeout_ms(get(), detail::life_ms(t))); }
    options &stall_timeout(milliseconds t) noexcept { return take(redlock_options_set_stall_timeout_ms(get(), detail::life_ms(t))); }
    options &connect_timeout(milliseconds t) noexcept { return take(redlock_options_set_connect_timeout_ms(get(), detail::life_ms(t))); }
    /// REDLOCK_NO_LIMIT: within the time that the caller is ready to wait.
    options &retry_count(std::int64_t count) noexcept { return take(redlock_options_set_retry_count(get(), count)); }
    options &retry_delay(milliseconds t) noexcept { return take(redlock_options_set_retry_delay_ms(get(), detail::life_ms(t))); }
    options &retry_jitter(milliseconds t) noexcept { return take(redlock_options_set_retry_jitter_ms(get(), detail::life_ms(t))); }
    options &drift_ppm(std::uint64_t ppm) noexcept { return take(redlock_options_set_drift_ppm(get(), ppm)); }
    options &key_prefix(bytes prefix) noexcept
    {
        return take(redlock_options_set_key_prefix_bytes(get(), prefix.data(), prefix.size()));
    }
    options &max_ttl(milliseconds t) noexcept { return take(redlock_options_set_max_ttl_ms(get(), detail::life_ms(t))); }
    /// One of the REDLOCK_GUARD_ values.
    options &restart_guard(std::int32_t guard) noexcept { return take(redlock_options_set_restart_guard(get(), guard)); }
    options &wake(bool on) noexcept { return take(redlock_options_set_wake(get(), on)); }
    options &spin(std::chrono::microseconds t) noexcept
    {
        const bool fits = t.count() >= 0 && t.count() <= std::numeric_limits<std::int32_t>::max();
        return take(fits ? redlock_options_set_spin_us(get(), static_cast<std::uint32_t>(t.count())) : REDLOCK_E_INVALID);
    }
    options &interruptible(bool on) noexcept { return take(redlock_options_set_interruptible(get(), on)); }
    options &tls_ca_file(const char *path) noexcept { return take(redlock_options_set_tls_ca_file(get(), path)); }
    options &tls_cert_file(const char *path) noexcept { return take(redlock_options_set_tls_cert_file(get(), path)); }
    options &tls_key_file(const char *path) noexcept { return take(redlock_options_set_tls_key_file(get(), path)); }
    options &tls_insecure(bool on) noexcept { return take(redlock_options_set_tls_insecure(get(), on)); }
    options &username(const char *name) noexcept { return take(redlock_options_set_username(get(), name)); }
    options &password(const char *secret) noexcept { return take(redlock_options_set_password(get(), secret)); }
    options &client_name(const char *name) noexcept { return take(redlock_options_set_client_name(get(), name)); }
    /// One of the REDLOCK_PROTOCOL_ values.
    options &protocol(std::int32_t version) noexcept { return take(redlock_options_set_protocol(get(), version)); }
    options &avoid_lua(bool on) noexcept { return take(redlock_options_set_avoid_lua(get(), on)); }

    redlock_options_t *get() const noexcept { return raw_.get(); }
    /// REDLOCK_OK, or what the first setter that failed returned.
    redlock_status_t status() const noexcept { return status_; }

private:
    options &take(redlock_status_t status) noexcept
    {
        if (status_ == REDLOCK_OK)
            status_ = status;
        return *this;
    }

    detail::owned<redlock_options_t, redlock_options_free> raw_;
    redlock_status_t status_;
};

/// Ends operations from outside, before they begin or while they run; sticky. Move-only; may be destroyed at any time.
class canceller {
public:
    canceller() noexcept : raw_(redlock_canceller_new()) {}

    /// Any thread; async-signal-safe.
    void cancel() const noexcept { (void)redlock_canceller_cancel(get()); }
    bool is_cancelled() const noexcept { return redlock_canceller_is_cancelled(get()) != 0; }
    redlock_canceller_t *get() const noexcept { return raw_.get(); }

private:
    detail::owned<redlock_canceller_t, redlock_canceller_free> raw_;
};

/// A description of a lock to be taken. The setters can be chained; the first one that fails is reported when the request
/// is used. Any number of threads may lock by it at once; setters need it alone. Move-only.
class request {
public:
    request(bytes resource, milliseconds ttl) noexcept
        : raw_(redlock_request_new()), status_(raw_ ? REDLOCK_OK : REDLOCK_E_INTERNAL)
    {
        take(redlock_request_set_resource_bytes(get(), resource.data(), resource.size()));
        take(redlock_request_set_ttl_ms(get(), detail::life_ms(ttl)));
    }

    /// How long to wait while another client holds the lock: `forever` without limit; 0, the default, for one attempt.
    request &wait(milliseconds t) noexcept { return take(redlock_request_set_wait_ms(get(), detail::wait_ms(t))); }
    /// REDLOCK_NO_LIMIT or REDLOCK_RETRIES_OF_HANDLE, too.
    request &retries(std::int64_t count) noexcept { return take(redlock_request_set_retries(get(), count)); }
    request &token(bytes own) noexcept { return take(redlock_request_set_token_bytes(get(), own.data(), own.size())); }
    request &fence(bool on = true) noexcept { return take(redlock_request_set_fence(get(), on)); }
    request &tag(std::uint64_t number) noexcept { return take(redlock_request_set_tag(get(), number)); }
    /// nullptr: none.
    request &ended_by(const canceller *ender) noexcept
    {
        return take(redlock_request_set_canceller(get(), ender == nullptr ? nullptr : ender->get()));
    }
    request &watch(bool on) noexcept { return take(redlock_request_set_watch(get(), on)); }
    request &report_remaining(bool on = true) noexcept { return take(redlock_request_set_report_remaining(get(), on)); }
    request &auto_extend(bool on = true) noexcept { return take(redlock_request_set_auto_extend(get(), on)); }
    request &max_hold(milliseconds t) noexcept { return take(redlock_request_set_max_hold_ms(get(), detail::life_ms(t))); }

    redlock_request_t *get() const noexcept { return raw_.get(); }
    /// REDLOCK_OK, or what the first setter that failed returned.
    redlock_status_t status() const noexcept { return raw_ ? status_ : REDLOCK_E_INVALID; }

private:
    request &take(redlock_status_t status) noexcept
    {
        if (status_ == REDLOCK_OK)
            status_ = status;
        return *this;
    }

    detail::owned<redlock_request_t, redlock_request_free> raw_;
    redlock_status_t status_;
};

} // namespace redlock

#endif // REDLOCK_CPP_SETTINGS_HPP
