// Handshake tokens: how a member shows in a key share that it is one, to who has the realm's authentication key and to
// nobody else (mssl-protocol(7), HANDSHAKE TOKENS; DESIGN 6).
//
//     token = 16 random bytes ‖ AES-256-GCM of {serial, expiry}, under a key from the authentication key and the random
//
// Neither side keeps a list: the server opens a token and computes the member's secret from what it finds inside.
// A token without that secret is worth nothing, so replaying it is too; it is used once because a second use is what an
// observer could link.
#pragma once

#include <optional>

#include "protocol/bytes.h"
#include "protocol/sealing.h"

namespace mssl {

using MemberSerial = FixedBytes<struct MemberSerialTag, 16>;  // random; one membership
inline constexpr std::size_t kTokenBytes = 16 + MemberSerial::size + 8 + kSealBytes;
using Token = FixedBytes<struct TokenTag, kTokenBytes>;

struct Membership {
    MemberSerial serial;
    WallTime expiry;
    bool operator==(const Membership&) const = default;
};

// Makes and opens the tokens of one realm.
// Thread rules: immutable; any thread. sealing outlives it.
class TokenKey {
public:
    // auth_key: the realm's authentication key.
    TokenKey(const Sealing& sealing, const Secret& auth_key) : sealing_(&sealing), auth_key_(auth_key) {}
    // random: 16 bytes that this realm's tokens never had before. Errors: crypto.
    Result<Token> make(const Membership& membership, View random) const;
    // bad_signature: of another realm, or changed. Whether it has expired is for the caller to say.
    Result<Membership> open(const Token& token) const;
    // What the member has and goes into the key: HKDF(auth key, serial ‖ expiry).
    Result<Secret> member_secret(const Membership& membership) const;

private:
    const Sealing* sealing_;
    Secret auth_key_;
};

using BootId = FixedBytes<struct BootIdTag, 16>;  // of a running kernel; zeros: unknown

// A member's tokens in one file: a header of kTokenFileHeader bytes, then the tokens. Who takes one advances `next` in
// its place, under a lock on the file (mssl-protocol(7), HANDSHAKE TOKENS, says the bytes).
struct TokenFile {
    RealmId realm;
    Membership membership;
    Secret secret;
    std::uint32_t count = 0;  // tokens in the file, at most kMaxTokens
    std::uint32_t next = 0;      // the first that nobody took, 0 … reserved; as of boot
    std::uint32_t reserved = 0;  // on the disk since before any below it was used, 0 … count
    BootId boot;                 // in which next was written
};
inline constexpr std::size_t kTokenFileHeader = 8 + 32 + 16 + 8 + 32 + 4 + 4 + 4 + BootId::size;
// Where `next`, `reserved` and `boot` stand, one behind the other.
inline constexpr std::size_t kTokenFileState = kTokenFileHeader - 4 - 4 - BootId::size;
inline constexpr std::uint32_t kMaxTokens = 1'000'000;              // 56 MB; more is a mistake
// Where token i begins.
constexpr std::size_t token_offset(std::uint32_t i) { return kTokenFileHeader + std::size_t{i} * kTokenBytes; }

// Secret: the caller clears it.
Bytes encode_token_file_header(const TokenFile& file);
// From kTokenFileHeader bytes. Errors: malformed, unsupported (another version), too_large.
Result<TokenFile> decode_token_file_header(View header);

// So many tokens are reserved with one wait for the disk, and so many at most are lost to a machine that goes down: few for who
// takes few in a boot, more after these were taken.
inline constexpr std::uint32_t kFirstBatch = 32;
inline constexpr std::uint32_t kBatch = 128;

// The next token of the file, for who runs under boot (zeros: unknown), advancing next, and reserved where another batch has to
// be set apart. Nothing where all are taken.
struct Taking {
    std::uint32_t index;
    bool sync;  // the state has to be on the disk before the token is used
};
std::optional<Taking> take_next(TokenFile& file, const BootId& boot);
// next, reserved, boot, as they stand at kTokenFileState.
Bytes encode_token_file_state(const TokenFile& file);

// An authentication key in its file: 64 hexadecimal digits and maybe a newline. Errors: malformed.
Result<Secret> read_auth_key(View text);

}  // namespace mssl
