// What `mssl intercept` takes away from its destination, and the one nftables table that does it: written, and read
// back from the kernel. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/json.h"

namespace mssl::tools {

// The mark of connections that were taken for tproxy, the number of the routing table that brings them in, and the
// preference of the rule that leads there: "ms" in ASCII, for being nobody else's.
inline constexpr std::uint32_t kCaptureNumber = 0x6d73;

struct Capture {
    bool tproxy = false;     // else REDIRECT
    bool forwarded = false;  // also what this host routes for others
    std::uint16_t port = 0;  // msslproxy's
    std::uint32_t exempt_uid = 0;
    std::vector<std::uint16_t> destination_ports;
    bool everywhere = true;  // else only these destinations:
    std::vector<std::string> hosts4;  // addresses and prefixes
    std::vector<std::string> hosts6;
    bool ipv6 = true;
    std::uint64_t connections = 0;  // taken so far; only read

    // Whether UDP to port 443 of the same destinations is refused: who speaks QUIC there (HTTP/3) then takes TCP.
    bool refuses_quic() const;
};

// For `nft -f -`, one transaction: afterwards the table is this one, whatever it was before. When any of it is refused
// nothing has changed.
std::string ruleset_on(const Capture& capture);
// The table is gone, whether it was there or not.
std::string ruleset_off();

// From `nft -j list table inet mssl`. malformed: a table of that name which this did not make.
Result<Capture> read_table(const Json& listed);

}  // namespace mssl::tools
