// redlock/cpp/error.hpp - part of redlock.hpp: statuses as std::error_code, failures in detail, the exception.

#ifndef REDLOCK_CPP_ERROR_HPP
#define REDLOCK_CPP_ERROR_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#if __cplusplus >= 201703L
#include <string_view>
#endif
#if __cplusplus >= 202002L
#include <version>
#endif
#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif
#if defined(__cpp_lib_expected)
#include <expected>
#endif

#include "../../redlock.h"

// Without exceptions only the overloads with std::error_code or redlock::failure are declared.
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define REDLOCK_HPP_EXCEPTIONS 1
#else
#define REDLOCK_HPP_EXCEPTIONS 0
#endif

#if __cplusplus >= 201703L
#define REDLOCK_HPP_NODISCARD [[nodiscard]]
#else
#define REDLOCK_HPP_NODISCARD
#endif

namespace redlock {

using std::chrono::milliseconds;

/// A wait without limit.
constexpr milliseconds forever = milliseconds::max();

/// The REDLOCK_E_ values. Compares equal to the std::error_code of a failed call.
enum class errc : int {
    not_acquired = REDLOCK_E_NOT_ACQUIRED, ///< another client holds the lock
    no_quorum = REDLOCK_E_NO_QUORUM,       ///< too few nodes answered
    lost = REDLOCK_E_LOST,                 ///< the lease has ended: stop the work that it protected
    cancelled = REDLOCK_E_CANCELLED,       ///< a canceller or std::stop_token ended the operation
    interrupted = REDLOCK_E_INTERRUPTED,   ///< a signal handler ended the wait
    invalid = REDLOCK_E_INVALID,           ///< an argument is out of its range, or an object is empty
    config = REDLOCK_E_CONFIG,             ///< requires operator intervention: URL, password, permissions
    forked = REDLOCK_E_FORKED,             ///< the client belongs to the parent process
    unknown = REDLOCK_E_UNKNOWN,           ///< the request may or may not have been applied
    closed = REDLOCK_E_CLOSED,             ///< the client was closed or destroyed
    internal = REDLOCK_E_INTERNAL          ///< a bug in libredlock
};

namespace detail {

class status_category final : public std::error_category {
public:
    const char *name() const noexcept override { return "redlock"; }

    std::string message(int status) const override { return redlock_status_text(status); }

    std::error_condition default_error_condition(int status) const noexcept override
    {
        switch (status) {
        case REDLOCK_E_NOT_ACQUIRED:
            return std::errc::resource_unavailable_try_again;
        case REDLOCK_E_CANCELLED:
            return std::errc::operation_canceled;
        case REDLOCK_E_INTERRUPTED:
            return std::errc::interrupted;
        case REDLOCK_E_INVALID:
            return std::errc::invalid_argument;
        default:
            return std::error_condition(status, *this);
        }
    }
};

} // namespace detail

/// The category of all codes of this library.
inline const std::error_category &category() noexcept
{
    static const detail::status_category instance{};
    return instance;
}

inline std::error_code make_error_code(errc code) noexcept
{
    return std::error_code(static_cast<int>(code), category());
}

/// What one node contributed to a failure or an inspection. The texts are borrowed from the object that was asked.
struct node_report {
    const char *url;        ///< without user name and password
    std::int32_t outcome;   ///< one of the REDLOCK_NODE_ values
    const char *text;       ///< the node's message, or the text of the outcome
    milliseconds elapsed;   ///< from the request to the outcome
    milliseconds remaining; ///< how long the other holder's key still lives; negative: not known
};

/// Why a call failed, with the outcome of each node. Empty (false) where it did not fail. Move-only.
class failure {
public:
    failure() noexcept = default;
    explicit failure(redlock_status_t status, redlock_error_t *owned = nullptr) noexcept : status_(status), error_(owned) {}

    explicit operator bool() const noexcept { return status_ != REDLOCK_OK; }
    redlock_status_t status() const noexcept { return status_; }
    std::error_code code() const noexcept { return std::error_code(status_, category()); }

    /// One line, such as "not acquired: held on nodes 1,2,4 (7.3 s left); node 3: timeout after 100 ms".
    const char *message() const noexcept
    {
        return error_ ? redlock_error_message(error_.get()) : redlock_status_text(status_);
    }

    std::size_t node_count() const noexcept { return redlock_error_node_count(error_.get()); }

    node_report node(std::size_t index) const noexcept
    {
        const redlock_error_t *error = error_.get();
        return node_report{ redlock_error_node_url(error, index), redlock_error_node_outcome(error, index),
                            redlock_error_node_text(error, index),
                            milliseconds(static_cast<milliseconds::rep>(redlock_error_node_elapsed_ms(error, index))),
                            milliseconds(redlock_error_node_remaining_ms(error, index)) };
    }

private:
    struct free_error {
        void operator()(redlock_error_t *error) const noexcept { redlock_error_free(error); }
    };

    redlock_status_t status_ = REDLOCK_OK;
    std::unique_ptr<redlock_error_t, free_error> error_;
};

/// What the overloads without std::error_code throw. code() compares with redlock::errc.
class error : public std::system_error {
public:
    explicit error(failure why) : std::system_error(why.code()), details_(std::make_shared<failure>(std::move(why))) {}

    const char *what() const noexcept override { return details_->message(); }
    const failure &details() const noexcept { return *details_; }

private:
    // Shared, because copying an exception must not fail.
    std::shared_ptr<const failure> details_;
};

/// Borrowed bytes: resources and tokens may contain any. Made implicitly of strings; nullptr makes no bytes.
class bytes {
public:
    bytes() noexcept = default;
    bytes(const void *data, std::size_t size) noexcept : data_(data), size_(size) {}
    bytes(const char *text) noexcept : data_(text), size_(text == nullptr ? 0 : std::strlen(text)) {}
    bytes(const std::string &text) noexcept : data_(text.data()), size_(text.size()) {}
#if __cplusplus >= 201703L
    bytes(std::string_view text) noexcept : data_(text.data()), size_(text.size()) {}
    operator std::string_view() const noexcept { return { static_cast<const char *>(data_), size_ }; }
#endif

    const void *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::string str() const { return size_ == 0 ? std::string() : std::string(static_cast<const char *>(data_), size_); }

private:
    const void *data_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

/// A time to wait, as the C functions count it: `forever` is -1, what is over is 0.
inline std::int64_t wait_ms(milliseconds wait) noexcept
{
    return wait == forever ? static_cast<std::int64_t>(REDLOCK_NO_LIMIT) : wait.count() < 0 ? 0 : static_cast<std::int64_t>(wait.count());
}

/// A life or timeout. Negative ones become 0, which the C functions reject or take for "none".
inline std::uint64_t life_ms(milliseconds life) noexcept
{
    return life.count() < 0 ? 0 : static_cast<std::uint64_t>(life.count());
}

/// Rounded up to milliseconds; `forever` where a century is not enough, so that no later sum overflows.
template <class Rep, class Period>
milliseconds rounded_up(const std::chrono::duration<Rep, Period> &time)
{
    using exact = std::chrono::duration<double, std::milli>;
    if (exact(time).count() > 3.2e12)
        return forever;
    const milliseconds whole = std::chrono::duration_cast<milliseconds>(time);
    return whole < time ? whole + milliseconds(1) : whole;
}

inline void store(std::error_code &code, redlock_status_t status) noexcept
{
    code = status == REDLOCK_OK ? std::error_code() : std::error_code(status, category());
}

#if REDLOCK_HPP_EXCEPTIONS
inline void check(redlock_status_t status, redlock_error_t *owned)
{
    if (status != REDLOCK_OK)
        throw error(failure(status, owned));
}
#endif

template <class T, void (*Free)(T *)>
struct free_by {
    void operator()(T *object) const noexcept { Free(object); }
};

template <class T, void (*Free)(T *)>
using owned = std::unique_ptr<T, free_by<T, Free>>;

} // namespace detail
} // namespace redlock

namespace std {
template <>
struct is_error_code_enum<redlock::errc> : true_type {};
} // namespace std

#endif // REDLOCK_CPP_ERROR_HPP
