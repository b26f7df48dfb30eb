// What the C++ tests share: the nodes of `tools/servers run`, fresh names, a small loop.
#ifndef TEST_SUPPORT_HPP
#define TEST_SUPPORT_HPP

#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "redlock.hpp"

namespace test {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline std::vector<std::string> nodes()
{
    const char *list = std::getenv("REDLOCK_NODES");
    std::istringstream in(list == nullptr ? "" : list);
    std::vector<std::string> result;
    for (std::string url; std::getline(in, url, ',');)
        result.push_back(url);
    return result;
}

inline std::string fresh(const char *purpose)
{
    static int count = 0;
    return std::string("cpp/") + purpose + "/" + std::to_string(getpid()) + "/" + std::to_string(++count);
}

inline std::string mutex_name()
{
    return fresh("elsewhere");
}

#if defined(__cpp_lib_coroutine)
/// Drives the loop until the condition holds, at most for half a minute.
template <class Condition>
void run(redlock::event_loop &loop, Condition is_over)
{
    const auto deadline = std::chrono::steady_clock::now() + seconds(30);
    while (!is_over() && std::chrono::steady_clock::now() < deadline) {
        pollfd ready = { loop.fd(), POLLIN, 0 };
        (void)poll(&ready, 1, 100);
        REQUIRE_FALSE(loop.dispatch());
    }
    CHECK(is_over());
}
#endif

} // namespace test

#endif
