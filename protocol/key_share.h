// What a key share of the groups mssl_* carries behind its public key, and what is derived from both shares
// (mssl-protocol(7), THE HELLO IN THE KEY SHARE; DESIGN 6).
//
//     client's share = X25519 public, 32 bytes ‖ TLVs in the clear
//     server's share = X25519 public, 32 bytes ‖ TLVs, sealed under the fresh secret
//     TLV            = type u16 ‖ var16
//
// Thread rules: functions of their arguments.
#pragma once

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

inline constexpr const char* kX25519Group = "mssl_x25519";
// ecdhe_private_use of RFC 8446 §4.2.7: 0xFE00 … 0xFEFF.
inline constexpr std::uint16_t kX25519GroupId = 0xFE4D;

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

// Under which the server's TLVs are sealed. dh: the X25519 secret. server_public: kX25519Bytes.
Result<Secret> answer_key(const Sealing& sealing, const Secret& dh, View client_share, View server_public);
// What TLS takes as the shared secret: dh itself, or with an accepted token that and the member's secret.
Result<Secret> shared_secret(const Sealing& sealing, const Secret& dh, const Secret* member, View client_share,
                             View server_share);

}  // namespace mssl
