// SOCKS 5 as RFC 1928 has it, byte by byte: what is asked comes out, and everything else is refused in the words of the protocol.
#include <criterion/criterion.h>

#include <algorithm>

#include "proxy/client/socks.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

using State = SocksHandshake::State;

const Bytes kGreeting = {5, 1, 0};

Bytes connect_to(std::uint8_t type, const Bytes& host, std::uint16_t port, std::uint8_t command = 1) {
    Bytes out = {5, command, 0, type};
    out.insert(out.end(), host.begin(), host.end());
    out.push_back(static_cast<std::uint8_t>(port >> 8));
    out.push_back(static_cast<std::uint8_t>(port));
    return out;
}

Bytes name(std::string_view text) {
    Bytes out(1 + text.size());
    out[0] = static_cast<std::uint8_t>(text.size());
    std::copy(text.begin(), text.end(), out.begin() + 1);
    return out;
}

// What a handshake that is fed piece bytes at a time says, and where it stands.
struct Talk {
    explicit Talk(const Bytes& input, std::size_t piece = SIZE_MAX) {
        std::size_t have = 0;
        while (true) {
            const std::size_t used = handshake.take(View(input).subspan(taken, have - taken), said);
            taken += used;
            if (used != 0) continue;
            if (have == input.size()) break;
            have += std::min(piece, input.size() - have);
        }
    }
    SocksHandshake handshake;
    Bytes said;
    std::size_t taken = 0;
};

Bytes both(const Bytes& a, const Bytes& b) {
    Bytes out = a;
    out.insert(out.end(), b.begin(), b.end());
    return out;
}

}  // namespace

Test(socks, names_and_addresses_come_out_as_authorities_however_the_bytes_arrive) {
    const struct {
        Bytes request;
        const char* host;
        std::uint16_t port;
    } rows[] = {
        {connect_to(1, {192, 0, 2, 1}, 80), "192.0.2.1", 80},
        {connect_to(4, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 8080), "[2001:db8::1]", 8080},
        {connect_to(3, name("Files.Example.org"), 443), "files.example.org", 443},
        {connect_to(3, name("192.0.2.7"), 65535), "192.0.2.7", 65535},
        {connect_to(3, name("2001:db8::2"), 1), "[2001:db8::2]", 1},
    };
    for (const auto& row : rows)
        for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, SIZE_MAX}) {
            const Bytes pipelined = both(both(kGreeting, row.request), Bytes{'G', 'E', 'T'});
            const Talk t(pipelined, piece);
            cr_assert(t.handshake.state() == State::asked, "%s", row.host);
            cr_assert_eq(t.handshake.destination().host, row.host, "%s", t.handshake.destination().host.c_str());
            cr_assert_eq(t.handshake.destination().port, row.port);
            cr_assert(t.said == (Bytes{5, 0}), "the reply is due, not given");
            cr_assert_eq(t.taken, pipelined.size() - 3, "what follows is not SOCKS any more");
        }
}

Test(socks, what_cannot_be_served_is_refused_with_its_reply) {
    const auto code = [](SocksReply r) { return both({5, 0}, socks_reply(r)); };
    const struct {
        const char* what;
        Bytes input, said;
    } rows[] = {
        {"no method that we have", {5, 2, 1, 2}, {5, 0xff}},
        {"no method at all", {5, 0}, {5, 0xff}},
        {"SOCKS 4", {4, 1, 0, 80, 192, 0, 2, 1, 0}, {0, 0x5b, 0, 0, 0, 0, 0, 0}},
        {"something else", {0x16, 3, 1}, {}},
        {"BIND", both(kGreeting, connect_to(1, {192, 0, 2, 1}, 80, 2)), code(SocksReply::command_not_supported)},
        {"UDP ASSOCIATE", both(kGreeting, connect_to(1, {192, 0, 2, 1}, 80, 3)), code(SocksReply::command_not_supported)},
        {"address type 2", both(kGreeting, connect_to(2, {1, 2, 3, 4}, 80)), code(SocksReply::address_type_not_supported)},
        {"empty name", both(kGreeting, connect_to(3, name(""), 80)), code(SocksReply::host_unreachable)},
        {"a name with a path", both(kGreeting, connect_to(3, name("a/b"), 80)), code(SocksReply::host_unreachable)},
        {"a name with a port", both(kGreeting, connect_to(3, name("a:1"), 80)), code(SocksReply::host_unreachable)},
        {"a name with a NUL", both(kGreeting, connect_to(3, name(std::string_view("a\0b", 3)), 80)), code(SocksReply::host_unreachable)},
        {"port 0", both(kGreeting, connect_to(3, name("a.example"), 0)), code(SocksReply::host_unreachable)},
    };
    for (const auto& row : rows) {
        const Talk t(row.input, 1);
        cr_assert(t.handshake.state() == State::refused, "%s", row.what);
        cr_assert(t.said == row.said, "%s", row.what);
        cr_assert(!t.handshake.why().empty());
    }
}

Test(socks, who_speaks_http_to_it_is_told_in_http) {
    const Talk t({'G', 'E', 'T', ' '}, 1);
    cr_assert(t.handshake.state() == State::refused);
    const std::string said(t.said.begin(), t.said.end());
    cr_assert(said.starts_with("HTTP/1.1 400 "), "%s", said.c_str());
}

Test(socks, half_a_message_is_waited_for) {
    const Bytes whole = both(kGreeting, connect_to(3, name("a.example"), 80));
    for (std::size_t n = 0; n < whole.size(); ++n) {
        const Talk t(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)), 1);
        const State wanted = n < kGreeting.size() ? State::greeting : State::request;
        cr_assert(t.handshake.state() == wanted, "%zu bytes", n);
    }
}
