// What a side can do (DESIGN 6): the first frame of a connection, or part of a key share (mssl-protocol(7), HELLO).
#pragma once

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace mssl {

inline constexpr std::uint16_t kProtocolVersion = 1;

struct Hello {
    std::uint16_t version = kProtocolVersion;
    std::uint32_t abilities = 0;  // bits kAbility*
    HashKind hash = HashKind::sha256;
    std::uint8_t max_block_log2 = 18;  // largest block this side takes: 16 … 18
    RealmId realm;                     // all zero from a client that is not enrolled yet
    bool operator==(const Hello&) const = default;
};
inline constexpr std::uint32_t kAbilityPlain = 1U << 0;

inline constexpr std::size_t kHelloBytes = 2 + 4 + 1 + 1 + RealmId::size;

// kHelloBytes. Terminates when max_block_log2 is out of range.
void put_hello(Writer& w, const Hello& hello);
// Reads as many; rejects with unsupported (another version or hash) or malformed.
Hello get_hello(Reader& r);

}  // namespace mssl
