// A member's file of tokens, from which each handshake takes one: safely between threads and processes, because the
// file itself says which are left, and is locked meanwhile.
#pragma once

#include <optional>
#include <string>

#include "protocol/token.h"

namespace mssl::provider {

struct TakenToken {
    Token token;
    Secret secret;
    RealmId realm;
};

// The next token of the file, which nobody gets again, not after the machine went down either. Nothing where there is none: no file, not ours to read and write,
// all taken, expired at now, or damaged. A handshake without a token is one of who is no member, and servers that do not
// require membership take it. Blocks while another process takes one: microseconds, and where a
// batch is reserved as long as the disk needs.
std::optional<TakenToken> take_token(const std::string& path, WallTime now);

}  // namespace mssl::provider
