// A realm's authentication key, and what one of its members has.
#pragma once

#include <string>

#include "protocol/token.h"

namespace mssl::test {

inline constexpr std::uint8_t kAuthKeyByte = 0x33;            // all bytes of the authentication key
inline constexpr std::uint8_t kSerialByte = 0x44;             // and of the membership's serial
inline constexpr std::int64_t kFarAway = 4'000'000'000;       // a time in 2096

inline std::string auth_key_text(std::uint8_t byte = kAuthKeyByte) {
    return to_hex(Bytes(Secret::size, byte)) + "\n";
}

// A token file of a realm's member; key_byte is of the authentication key.
inline Bytes token_file_bytes(std::uint32_t count, std::int64_t expiry = kFarAway, std::uint8_t key_byte = kAuthKeyByte) {
    const Sealing sealing = *Sealing::fetch(nullptr);
    Secret auth;
    auth.bytes.fill(key_byte);
    const TokenKey key(sealing, auth);
    TokenFile file;
    file.realm.bytes.fill(0x21);
    file.membership.serial.bytes.fill(kSerialByte);
    file.membership.expiry.unix_seconds = expiry;
    file.secret = *key.member_secret(file.membership);
    file.count = count;
    Bytes bytes = encode_token_file_header(file);
    bytes.reserve(token_offset(count));
    for (std::uint32_t i = 0; i < count; ++i) {
        Writer random;
        random.u64(i);
        random.u64(0x6d73);
        const Token token = *key.make(file.membership, random.view());
        bytes.insert(bytes.end(), token.bytes.begin(), token.bytes.end());
    }
    return bytes;
}

}  // namespace mssl::test
