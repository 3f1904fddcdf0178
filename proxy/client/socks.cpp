#include "proxy/client/socks.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "protocol/bytes.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {
namespace {

// RFC 1928 §3, §4, §5.
constexpr std::uint8_t kVersion = 5;
constexpr std::uint8_t kNoAuthentication = 0;
constexpr std::uint8_t kNoAcceptableMethod = 0xff;
constexpr std::uint8_t kConnect = 1;
constexpr std::uint8_t kIpv4 = 1, kName = 3, kIpv6 = 4;

// "Request rejected or failed", as SOCKS 4 says it.
constexpr std::array<std::uint8_t, 8> kSocks4Rejected = {0, 0x5b};

void append(Bytes& out, View bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

template <std::size_t N>
std::string ip_text(int family, View bytes) {
    std::array<char, N> text{};
    inet_ntop(family, bytes.data(), text.data(), text.size());
    return text.data();
}

}  // namespace

Bytes socks_reply(SocksReply code) {
    return {kVersion, static_cast<std::uint8_t>(code), 0, kIpv4, 0, 0, 0, 0, 0, 0};
}

std::size_t SocksHandshake::take(View input, Bytes& out) {
    switch (state_) {
    case State::greeting: return take_greeting(input, out);
    case State::request: return take_request(input, out);
    case State::asked:
    case State::refused: return 0;
    }
    return 0;
}

std::size_t SocksHandshake::take_greeting(View input, Bytes& out) {
    if (input.empty()) return 0;
    if (input[0] != kVersion) {
        // Silence would be a riddle: SOCKS 4 has a reply of its own ("rejected"), and an HTTP client reads text.
        if (input[0] == 4) append(out, kSocks4Rejected);
        if (input[0] >= 'A' && input[0] <= 'Z')
            append(out, as_view("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
                                "mSSL: this port speaks SOCKS 5, and is no HTTP proxy.\n"));
        refuse("no SOCKS 5 greeting");
        return 0;
    }
    if (input.size() < 2 || input.size() < 2U + input[1]) return 0;
    const std::size_t length = 2U + input[1];
    const View methods = input.subspan(2, input[1]);
    if (std::ranges::find(methods, kNoAuthentication) == methods.end()) {
        out.push_back(kVersion);
        out.push_back(kNoAcceptableMethod);
        refuse("the application insists on authentication, and there is none");
        return length;
    }
    out.push_back(kVersion);
    out.push_back(kNoAuthentication);
    state_ = State::request;
    return length;
}

std::size_t SocksHandshake::take_request(View input, Bytes& out) {
    if (input.size() < 5) return 0;
    const std::uint8_t type = input[3];
    if (input[0] != kVersion || (type != kIpv4 && type != kName && type != kIpv6)) {
        append(out, socks_reply(SocksReply::address_type_not_supported));
        refuse("no SOCKS 5 request");
        return 0;
    }
    const std::size_t host_bytes = type == kIpv4 ? 4U : type == kIpv6 ? 16U : 1U + input[4];
    const std::size_t length = 4 + host_bytes + 2;
    if (input.size() < length) return 0;
    if (input[1] != kConnect) {
        append(out, socks_reply(SocksReply::command_not_supported));
        refuse("a SOCKS command other than CONNECT");
        return length;
    }
    Reader reader(input.subspan(4, length - 4));
    std::string host;
    if (type == kIpv4) host = ip_text<INET_ADDRSTRLEN>(AF_INET, reader.raw(4));
    if (type == kIpv6) host = "[" + ip_text<INET6_ADDRSTRLEN>(AF_INET6, reader.raw(16)) + "]";
    if (type == kName) {
        const View name = reader.var8(255);
        host.assign(name.begin(), name.end());
        // Some applications put an address where a name belongs.
        in6_addr parsed{};
        if (inet_pton(AF_INET6, host.c_str(), &parsed) == 1) host = "[" + host + "]";
    }
    const std::uint16_t port = reader.u16();
    // By the rules of Host: what could not stand there is no name of anything.
    Result<Authority> authority = parse_authority(host + ":" + std::to_string(port), 0);
    if (!authority || port == 0) {
        append(out, socks_reply(SocksReply::host_unreachable));
        refuse("a destination that is no host and port");
        return length;
    }
    destination_ = std::move(*authority);
    state_ = State::asked;
    return length;
}

}  // namespace mssl::proxy
