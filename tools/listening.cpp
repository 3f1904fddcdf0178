#include "tools/listening.h"

#include <cstdio>
#include <string>

#include "tools/files.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxTable = std::size_t{64} << 20;
constexpr std::string_view kStateListen = " 0A ";

std::string text_of(const char* path) {
    const Result<Bytes> bytes = read_small_file(path, kMaxTable);
    return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

// A line is "  0: 0100007F:0C39 00000000:0000 0A …": number, local address, remote address, state.
template <class Each>
void each_listener(std::string_view table, std::uint16_t port, Each each) {
    char wanted[8];
    std::snprintf(wanted, sizeof wanted, "%04X", unsigned{port});
    while (!table.empty()) {
        const std::string_view line = table.substr(0, table.find('\n'));
        table.remove_prefix(std::min(table.size(), line.size() + 1));
        const std::size_t begin = line.find(": ");
        const std::size_t colon = line.find(':', begin == std::string_view::npos ? begin : begin + 2);
        if (colon == std::string_view::npos || line.substr(colon + 1, 4) != wanted) continue;
        const std::size_t remote_end = line.find(' ', colon + 6);
        if (remote_end == std::string_view::npos || line.substr(remote_end, 4) != kStateListen) continue;
        each(line.substr(begin + 2, colon - begin - 2));
    }
}

}  // namespace

Listening listening_in(std::string_view tcp4, std::string_view tcp6, std::uint16_t port) {
    Listening out;
    each_listener(tcp4, port, [&](std::string_view) { out.ipv4 = true; });
    each_listener(tcp6, port, [&](std::string_view address) {
        out.ipv6 = true;
        if (address.find_first_not_of('0') == std::string_view::npos) out.ipv4 = true;
    });
    return out;
}

Listening listening_on(std::uint16_t port) {
    return listening_in(text_of("/proc/net/tcp"), text_of("/proc/net/tcp6"), port);
}

}  // namespace mssl::tools
