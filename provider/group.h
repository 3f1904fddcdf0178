// The TLS groups of this provider, as libssl learns of them (provider-base(7), CAPABILITIES).
#pragma once

#include <openssl/core.h>

namespace mssl::provider {

inline constexpr const char* kX25519Group = "mssl_x25519";
// ecdhe_private_use of RFC 8446 §4.2.7: 0xFE00 … 0xFEFF.
inline constexpr unsigned kX25519GroupId = 0xFE4D;
inline constexpr int kX25519Bits = 253;
inline constexpr int kX25519SecurityBits = 128;

// As OSSL_FUNC_provider_get_capabilities.
int get_capabilities(void* provider, const char* capability, OSSL_CALLBACK* callback, void* argument) noexcept;

}  // namespace mssl::provider
