// Any bytes to the SOCKS port. The first byte says how they are cut into pieces.
//
// Promises: whole or in pieces, the answers and the destination are the same; a message is never longer than the limit that
// the header names; where to connect is a host that a Host field could name.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "proxy/client/socks.h"

namespace {

using namespace mssl;
using namespace mssl::proxy;

constexpr std::size_t kLongestMessage = 262;

void require(bool holds) {
    if (!holds) std::abort();
}

struct Run {
    SocksHandshake handshake;
    Bytes said;
    std::size_t taken = 0;

    // What is there of the input, as far as it is taken.
    void feed(View all) {
        for (;;) {
            const SocksHandshake::State before = handshake.state();
            const std::size_t n = handshake.take(all.subspan(taken), said);
            require(n <= all.size() - taken && n <= kLongestMessage);
            taken += n;
            if (n == 0 || handshake.state() == before) break;
        }
        const bool waits = handshake.state() == SocksHandshake::State::greeting || handshake.state() == SocksHandshake::State::request;
        require(!waits || all.size() - taken < kLongestMessage);
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::size_t step = 1 + data[0];
    const View in(data + 1, size - 1);
    Run whole, pieces;
    whole.feed(in);
    for (std::size_t end = 0; end < in.size();) {
        end = std::min(in.size(), end + step);
        pieces.feed(in.first(end));
    }
    require(whole.handshake.state() == pieces.handshake.state() && whole.said == pieces.said && whole.taken == pieces.taken);
    require(whole.handshake.why() == pieces.handshake.why());
    switch (whole.handshake.state()) {
    case SocksHandshake::State::greeting:
    case SocksHandshake::State::request: break;
    case SocksHandshake::State::refused: require(!whole.handshake.why().empty()); break;
    case SocksHandshake::State::asked: {
        const Authority& at = whole.handshake.destination();
        require(at.port != 0 && at.host == pieces.handshake.destination().host && at.port == pieces.handshake.destination().port);
        const Result<Authority> again = parse_authority(at.host + ":" + std::to_string(at.port), 0);
        require(again && again->host == at.host && again->port == at.port);
        break;
    }
    }
    return 0;
}
