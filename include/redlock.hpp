// redlock.hpp - redlock.h for C++11 and later. Header only; link libredlock.
//
//     redlock::client nodes({ "redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3" });
//     redlock::mutex mutex(nodes, "orders/42", std::chrono::seconds(10));
//     {
//         const std::lock_guard<redlock::mutex> guard(mutex);   // throws redlock::error
//         ship_order(42);                                       // check mutex.held() in long work
//     }
//
// Or with a lease of its own and a deadline:
//
//     if (redlock::lease lease = nodes.try_lock("orders/42", 10s, 500ms))   // ttl, wait
//         ship_order(42, lease.fence());                                    // released at the end of the block
//
// What a lock promises, and what the statuses mean, is told in redlock.h.
//
// Every operation that can fail comes in three forms: one that throws redlock::error; one with a std::error_code, and one
// with a redlock::failure, which knows what each node contributed. The latter two are noexcept, except where they copy a
// std::vector. With -fno-exceptions only these are declared. No RTTI is needed. Objects are move-only and may be destroyed
// in any order, unless a comment says otherwise; destructors never throw and never wait.
//
// With C++17 resources may be std::string_view; with C++20 a std::stop_token ends waits, and redlock::event_loop has
// awaitables for coroutines; with C++23 client::lock_expected() returns std::expected.

#ifndef REDLOCK_HPP
#define REDLOCK_HPP

#include "redlock/cpp/client.hpp"
#include "redlock/cpp/coroutine.hpp"
#include "redlock/cpp/mutex.hpp"

#endif // REDLOCK_HPP
