// The same by the C++ layer.
#include <redlock.hpp>

#include <cstdlib>
#include <iostream>
#include <sstream>

int main(int argc, char **argv)
{
    std::vector<std::string> nodes;
    std::istringstream list(std::getenv("REDLOCK_NODES"));
    for (std::string url; std::getline(list, url, ',');)
        nodes.push_back(url);
    const std::string resource = argc > 1 ? argv[1] : "install";

    redlock::client client(nodes);
    redlock::lease lease = client.try_lock(resource.c_str(), std::chrono::seconds(30), std::chrono::seconds(5));
    if (!lease || !lease.held() || client.try_lock(resource.c_str(), std::chrono::seconds(30))) {
        std::cout << "FAILED: no lock, or one that does not exclude\n";
        return 1;
    }
    lease.unlock();
    std::cout << "works " << redlock_version() << "\n";
}
