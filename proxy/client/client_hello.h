// The first message of a TLS connection, as far as it says where the connection wants to go (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301).
//
// Thread rules: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl::proxy {

// Over it nobody is waited for. With post-quantum key shares a hello takes 2 KiB, with a ticket and early data's binder seldom
// over 16; servers take 16 to 128 KiB.
inline constexpr std::size_t kMaxClientHelloBytes = 32 * 1024;

struct ClientHello {
    std::string server_name;         // lower case; empty: none, or none that a host could have
    bool has_alpn = false;
    std::vector<std::string> alpn;   // as offered
    bool offers(std::string_view protocol) const;
};

// Whether bytes begin as TLS does: with a handshake record.
bool is_tls(View bytes);

// bytes: what came on the connection so far, in TLS records; the message may be spread over any number of them, and more may follow it.
// Errors: truncated (the beginning of one: more may come), malformed (anything else, from the first byte on that tells), too_large.
Result<ClientHello> read_client_hello(View bytes);

}  // namespace mssl::proxy
