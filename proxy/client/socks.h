// The server's side of SOCKS 5 (RFC 1928) up to its reply, without I/O: no authentication, CONNECT alone.
//
//     greeting ──methods──▶ request ──CONNECT──▶ asked (socks_reply() is due)
//        └──────────────────────┴──▶ refused (what take() left to send, then the end)
//
// Thread rules: one owner.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/result.h"
#include "protocol/types.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

enum class SocksReply : std::uint8_t {  // those of RFC 1928 §6 that are given
    succeeded = 0,
    general_failure = 1,
    host_unreachable = 4,
    command_not_supported = 7,
    address_type_not_supported = 8,
};

class SocksHandshake {
public:
    enum class State : std::uint8_t { greeting, request, asked, refused };

    // Takes a prefix of input (its length comes back) and appends to out what is to be sent. Less than a message: 0 bytes are
    // taken, and take() wants to be called with more. No message is longer than 262 bytes (a request with a name of 255).
    std::size_t take(View input, Bytes& out);
    State state() const { return state_; }
    // Once asked: where to. The host is lower-case; an IPv6 address in brackets, as in an Authority everywhere.
    const Authority& destination() const { return destination_; }
    // Why it was refused, for the log.
    const std::string& why() const { return why_; }

private:
    std::size_t take_greeting(View input, Bytes& out);
    std::size_t take_request(View input, Bytes& out);
    void refuse(std::string why) {
        state_ = State::refused;
        why_ = std::move(why);
    }

    State state_ = State::greeting;
    Authority destination_;
    std::string why_;
};

// The reply to a request. The bound address is given as 0.0.0.0:0: no application of CONNECT has a use for it.
Bytes socks_reply(SocksReply code);

}  // namespace mssl::proxy
