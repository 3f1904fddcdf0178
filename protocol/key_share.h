// What a key share of the groups mssl_* carries behind its public key, and what is derived from both shares
// (mssl-protocol(7), THE HELLO IN THE KEY SHARE; DESIGN 6).
//
//     client's share = public key ‖ TLVs in the clear
//     server's share = public key, or ciphertext of a KEM ‖ TLVs, sealed under the fresh secret
//     TLV            = type u16 ‖ var16
//
// Thread rules: functions of their arguments.
#pragma once

#include <algorithm>
#include <optional>

#include "protocol/hello.h"
#include "protocol/sealing.h"
#include "protocol/token.h"

namespace mssl {

// A type with this bit says something that nobody may ignore.
inline constexpr std::uint16_t kCriticalTlv = 0x8000;
// All TLVs of a share. A ClientHello with a share of this size still is one that servers take, and what we say is 104 bytes.
inline constexpr std::size_t kMaxTlvBytes = 16 * 1024;
// Of them an application may add so much: what we say ourselves is below 256 bytes.
inline constexpr std::size_t kMaxFurtherTlvBytes = kMaxTlvBytes - 256;
inline constexpr std::size_t kX25519Bytes = 32;  // RFC 7748 §5

struct ShareGroup {
    const char* name;
    std::uint16_t id;           // ecdhe_private_use of RFC 8446 §4.2.7: 0xFE00 … 0xFEFF
    std::size_t client_public;  // bytes of a share before its TLVs
    std::size_t server_public;
};
inline constexpr ShareGroup kX25519{"mssl_x25519", 0xFE4D, kX25519Bytes, kX25519Bytes};
// FIPS 203, table 3, and X25519 behind it.
inline constexpr ShareGroup kX25519MlKem768{"mssl_x25519mlkem768", 0xFE4E, 1184 + kX25519Bytes, 1088 + kX25519Bytes};

// What a key exchange yields, 32 bytes or a hybrid's 64; cleared when they go.
struct ExchangeSecret {
    static constexpr std::size_t kMax = 64;
    std::array<std::uint8_t, kMax> bytes{};
    std::size_t length = 0;
    ExchangeSecret() = default;
    ExchangeSecret(const Secret& from) : length(Secret::size) { std::ranges::copy(from.bytes, bytes.begin()); }
    ExchangeSecret(const ExchangeSecret&) = default;
    ExchangeSecret& operator=(const ExchangeSecret&) = default;
    ~ExchangeSecret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    View view() const { return View(bytes).first(length); }
};

enum class TlvType : std::uint16_t {
    hello = 1,     // either side, once: kHelloBytes; of another version more or less
    token = 2,     // client: kTokenBytes
    accepted = 3,  // server, once: u8; 1: the token was good, and its secret goes into the key; 0: not, or there was none
};

enum class ShareSide : std::uint8_t { client, server };

struct ShareTlvs {
    // Nothing where the other side speaks another version or hash: what follows for it is the business of who uses the
    // connection, and no reason to refuse it.
    std::optional<Hello> hello;
    std::optional<Token> token;
    std::optional<bool> accepted;  // of the server, and of no client
    bool operator==(const ShareTlvs&) const = default;
};

// further: TLVs of types that this version does not know, written as they are. Terminates when there is no hello, or both token and accepted.
Bytes encode_tlvs(const ShareTlvs& tlvs, View further = {});
// Unknown types are ignored. Errors: too_large (kMaxTlvBytes), unsupported (an unknown critical type), malformed (no hello,
// a server's without accepted, a type twice or of the wrong side or length, a TLV that does not end).
Result<ShareTlvs> decode_tlvs(View bytes, ShareSide from);

// Under which the server's TLVs are sealed. dh: what the group's key exchange yields. server_public: what stands before them.
Result<Secret> answer_key(const Sealing& sealing, const ExchangeSecret& dh, View client_share, View server_public);
// What TLS takes as the shared secret: dh itself, or with an accepted token a secret of that and the member's.
Result<ExchangeSecret> shared_secret(const Sealing& sealing, const ExchangeSecret& dh, const Secret* member,
                                     View client_share, View server_share);

}  // namespace mssl
