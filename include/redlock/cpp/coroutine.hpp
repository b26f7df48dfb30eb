// redlock/cpp/coroutine.hpp - part of redlock.hpp: coroutines on the event-loop API (C++20).

#ifndef REDLOCK_CPP_COROUTINE_HPP
#define REDLOCK_CPP_COROUTINE_HPP

#include "client.hpp"

#if defined(__cpp_lib_coroutine)
#include <coroutine>
#include <unordered_map>

namespace redlock {

/// Awaitable operations of a client. All in one thread, that of a loop which watches fd() for reading and calls
/// dispatch() whenever it is readable; coroutines are resumed from there.
///
///     redlock::lease lease = co_await loop.lock(what);
///     ...
///     co_await loop.unlock(lease);
///
/// The client must outlive the loop, and the loop the coroutines that wait in it. A coroutine that is destroyed while it
/// waits cancels its operation. Each operation has an overload with std::error_code, which must live in the coroutine;
/// that without throws redlock::error. Leases that come and are not taken are released.
class event_loop {
    class waiter;

public:
    explicit event_loop(const client &nodes) noexcept : nodes_(nodes) {}
    event_loop(const event_loop &) = delete;
    event_loop &operator=(const event_loop &) = delete;
    ~event_loop() = default;

    /// Negative (a REDLOCK_E_ value) where there is none.
    int fd() const noexcept { return redlock_fd(nodes_.get()); }
    bool is_idle() const noexcept { return waiters_.empty(); }

    /// Does what is due, never waits, and resumes the coroutines whose operations have ended. After a failure
    /// (errc::forked, errc::internal) every operation has ended with it: stop watching the descriptor.
    std::error_code dispatch()
    {
        std::error_code code;
        const redlock_status_t status = redlock_process(nodes_.get());
        detail::store(code, status);
        if (status != REDLOCK_OK) {
            end_all(status);
            return code;
        }
        while (redlock_event_t *event = redlock_next_event(nodes_.get()))
            deliver(owned_event(event));
        return code;
    }

    class lock_operation;
    class unlock_operation;
    class extend_operation;
    class lost_operation;

    /// The tag of the request is replaced. The request may end after the operation has begun.
    lock_operation lock(request &what, std::error_code &code) { return lock_operation(*this, what, &code); }
    unlock_operation unlock(const lease &held, std::error_code &code) { return unlock_operation(*this, held, &code); }
    extend_operation extend(const lease &held, milliseconds ttl, std::error_code &code)
    {
        return extend_operation(*this, held, ttl, &code);
    }
#if REDLOCK_HPP_EXCEPTIONS
    lock_operation lock(request &what) { return lock_operation(*this, what, nullptr); }
    unlock_operation unlock(const lease &held) { return unlock_operation(*this, held, nullptr); }
    extend_operation extend(const lease &held, milliseconds ttl) { return extend_operation(*this, held, ttl, nullptr); }
#endif

    /// Waits until a lease of this loop is over. True: lost. False: unlock() of this loop released it. One coroutine per
    /// lease may wait so.
    lost_operation lost(const lease &held) { return lost_operation(*this, held); }

private:
    using owned_event = detail::owned<redlock_event_t, redlock_event_free>;

    /// What a suspended coroutine waits with. Lives in its frame.
    class waiter {
    public:
        waiter(const waiter &) = delete;
        waiter &operator=(const waiter &) = delete;
        bool await_ready() const noexcept { return false; }

    protected:
        explicit waiter(event_loop &loop) noexcept : loop_(&loop) {}
        ~waiter()
        {
            if (!is_waiting_)
                return;
            loop_->waiters_.erase(tag_);
            (void)redlock_cancel(loop_->nodes_.get(), tag_);
        }

        /// Suspends if something was submitted.
        bool wait(std::coroutine_handle<> coroutine, redlock_status_t submitted, redlock_error_t *error)
        {
            if (submitted != REDLOCK_OK) {
                why_ = failure(submitted, error);
                return false;
            }
            coroutine_ = coroutine;
            loop_->waiters_.emplace(tag_, this);
            is_waiting_ = true;
            return true;
        }

        void finish(std::error_code *code)
        {
            if (event_ && redlock_event_status(event_.get()) != REDLOCK_OK)
                why_ = failure(redlock_event_status(event_.get()), redlock_event_take_error(event_.get()));
            if (code != nullptr)
                detail::store(*code, why_.status());
#if REDLOCK_HPP_EXCEPTIONS
            else if (why_)
                throw error(std::move(why_));
#endif
        }

        redlock_event_t *event() const noexcept { return event_.get(); }
        event_loop &loop() const noexcept { return *loop_; }
        std::uint64_t new_tag() noexcept { return tag_ = ++loop_->last_tag_; }
        std::uint64_t tag() const noexcept { return tag_; }

    private:
        friend class event_loop;

        void resume(owned_event event, redlock_status_t status)
        {
            is_waiting_ = false;
            event_ = std::move(event);
            why_ = failure(status);
            coroutine_.resume(); // may end the life of *this
        }

        event_loop *loop_;
        std::uint64_t tag_ = 0;
        bool is_waiting_ = false;
        std::coroutine_handle<> coroutine_;
        owned_event event_;
        failure why_;
    };

public:
    class lock_operation : public waiter {
    public:
        bool await_suspend(std::coroutine_handle<> coroutine)
        {
            redlock_error_t *error = nullptr;
            what_.tag(new_tag());
            redlock_status_t status = what_.status();
            if (status == REDLOCK_OK)
                status = redlock_submit_lock(loop().nodes_.get(), what_.get(), &error);
            return wait(coroutine, status, error);
        }
        lease await_resume()
        {
            finish(code_);
            return lease(redlock_event_take_lease(event()), tag());
        }

    private:
        friend class event_loop;
        lock_operation(event_loop &loop, request &what, std::error_code *code) noexcept
            : waiter(loop), what_(what), code_(code)
        {
        }
        request &what_;
        std::error_code *code_;
    };

    class unlock_operation : public waiter {
    public:
        bool await_suspend(std::coroutine_handle<> coroutine)
        {
            redlock_error_t *error = nullptr;
            const redlock_status_t status = redlock_submit_unlock(held_.get(), new_tag(), &error);
            return wait(coroutine, status, error);
        }
        void await_resume()
        {
            loop().end_watch(held_.tag(), owned_event(), REDLOCK_OK);
            finish(code_);
        }

    private:
        friend class event_loop;
        unlock_operation(event_loop &loop, const lease &held, std::error_code *code) noexcept
            : waiter(loop), held_(held), code_(code)
        {
        }
        const lease &held_;
        std::error_code *code_;
    };

    class extend_operation : public waiter {
    public:
        bool await_suspend(std::coroutine_handle<> coroutine)
        {
            redlock_error_t *error = nullptr;
            const redlock_status_t status = redlock_submit_extend(held_.get(), detail::life_ms(ttl_), new_tag(), &error);
            return wait(coroutine, status, error);
        }
        void await_resume() { finish(code_); }

    private:
        friend class event_loop;
        extend_operation(event_loop &loop, const lease &held, milliseconds ttl, std::error_code *code) noexcept
            : waiter(loop), held_(held), ttl_(ttl), code_(code)
        {
        }
        const lease &held_;
        milliseconds ttl_;
        std::error_code *code_;
    };

    class lost_operation : public waiter {
    public:
        bool await_ready() const noexcept { return held_.state() != lease_state::held; }
        bool await_suspend(std::coroutine_handle<> coroutine)
        {
            new_tag();
            loop().watches_[held_.tag()] = tag();
            return wait(coroutine, REDLOCK_OK, nullptr);
        }
        bool await_resume() const noexcept { return held_.state() != lease_state::released; }

    private:
        friend class event_loop;
        lost_operation(event_loop &loop, const lease &held) noexcept : waiter(loop), held_(held) {}
        const lease &held_;
    };

private:
    void deliver(owned_event event)
    {
        const std::uint64_t tag = redlock_event_tag(event.get());
        switch (redlock_event_kind(event.get())) {
        case REDLOCK_EVENT_DONE:
            end(tag, std::move(event), REDLOCK_OK);
            break;
        case REDLOCK_EVENT_LEASE_LOST:
            end_watch(tag, std::move(event), REDLOCK_E_LOST);
            break;
        default:
            break;
        }
    }

    void end(std::uint64_t tag, owned_event event, redlock_status_t status)
    {
        const auto found = waiters_.find(tag);
        if (found == waiters_.end())
            return;
        waiter &waiting = *found->second;
        waiters_.erase(found);
        waiting.resume(std::move(event), status);
    }

    void end_watch(std::uint64_t lease_tag, owned_event event, redlock_status_t status)
    {
        const auto found = watches_.find(lease_tag);
        if (found == watches_.end())
            return;
        const std::uint64_t tag = found->second;
        watches_.erase(found);
        end(tag, std::move(event), status);
    }

    void end_all(redlock_status_t status)
    {
        while (!waiters_.empty())
            end(waiters_.begin()->first, owned_event(), status);
    }

    const client &nodes_;
    std::uint64_t last_tag_ = 0;
    std::unordered_map<std::uint64_t, waiter *> waiters_;
    std::unordered_map<std::uint64_t, std::uint64_t> watches_; // tag of a lease -> tag of what waits for its loss
};

} // namespace redlock
#endif

#endif // REDLOCK_CPP_COROUTINE_HPP
