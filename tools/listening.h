// Who listens on a TCP port of this host.
#pragma once

#include <cstdint>
#include <string_view>

namespace mssl::tools {

struct Listening {
    bool ipv4 = false;
    bool ipv6 = false;
};

// From the text of /proc/net/tcp and /proc/net/tcp6. A listener on [::] counts for both, which is so unless it was
// made IPV6_V6ONLY: the kernel does not tell here.
Listening listening_in(std::string_view tcp4, std::string_view tcp6, std::uint16_t port);
// The same of this host, now.
Listening listening_on(std::uint16_t port);

}  // namespace mssl::tools
