// HKDF-SHA256 (RFC 5869), AES-256-GCM under keys that are used once, and SHA-256, as the handshake's key shares and tokens
// use them. The algorithms are fetched once, because OpenSSL 3.0 takes locks at every fetch; and HKDF is made of HMAC here,
// because EVP's HKDF fetches HMAC and SHA-256 anew at every derivation (a fifth of a member's handshake).
#pragma once

#include <openssl/crypto.h>

#include <initializer_list>

#include "protocol/openssl.h"
#include "protocol/types.h"

namespace mssl {

// 32 secret bytes, cleared when they go.
struct Secret {
    static constexpr std::size_t size = 32;
    std::array<std::uint8_t, size> bytes{};
    Secret() = default;
    Secret(const Secret&) = default;
    Secret& operator=(const Secret&) = default;
    ~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    View view() const { return bytes; }
};

// Bytes that a seal adds: the tag of GCM.
inline constexpr std::size_t kSealBytes = 16;

// Thread rules: immutable once fetched; any thread.
class Sealing {
public:
    // The algorithms of library (null: the default one), which outlives this. crypto where one is missing.
    static Result<Sealing> fetch(OSSL_LIB_CTX* library);

    // HKDF without salt, info = label ‖ 0x00 ‖ context. Errors: crypto.
    Result<Secret> derive(View secret, std::string_view label, View context) const;

    // AES-256-GCM with an IV of zeros and no associated data: ciphertext ‖ tag. The key seals nothing else, ever.
    Result<Bytes> seal(const Secret& key, View plain) const;
    // bad_signature when it was not sealed under this key, or is shorter than a tag.
    Result<Bytes> open(const Secret& key, View sealed) const;

    // SHA-256 of the parts, one behind the other.
    Result<Hash> hash(std::initializer_list<View> parts) const;

private:
    Sealing() = default;
    // HMAC(key, text), in parts.
    Result<Secret> hmac(View key, std::initializer_list<View> text) const;

    MacCtxPtr hmac_;  // with its digest and without a key: to be copied
    CipherPtr gcm_;
    MdPtr sha256_;
};

}  // namespace mssl
