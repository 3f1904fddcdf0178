// The TLS groups of this provider, as libssl learns of them (provider-base(7), CAPABILITIES).
#pragma once

#include <openssl/core.h>

#include "protocol/key_share.h"

namespace mssl::provider {

inline constexpr int kX25519Bits = 253;
inline constexpr int kX25519SecurityBits = 128;

// As OSSL_FUNC_provider_get_capabilities.
int get_capabilities(void* provider, const char* capability, OSSL_CALLBACK* callback, void* argument) noexcept;

}  // namespace mssl::provider
