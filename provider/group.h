// The TLS groups of this provider, as libssl learns of them (provider-base(7), CAPABILITIES).
#pragma once

#include <openssl/core.h>

#include "protocol/key_share.h"

namespace mssl::provider {

struct Group {
    const ShareGroup* share;
    int bits;           // as a key says of itself
    int security_bits;
    int secret_bytes;   // at most
    bool is_kem;        // libssl's server encapsulates (kem.cpp), else both sides derive (exchange.cpp)
};
inline constexpr Group kX25519Keys{&kX25519, 253, 128, 32, false};
// Where OpenSSL has X25519MLKEM768 (hybrid.h). Its bits are those of its public key, as OpenSSL counts them there.
inline constexpr Group kHybridKeys{&kX25519MlKem768, 8 * 1216, 192, 64, true};

// As OSSL_FUNC_provider_get_capabilities.
int get_capabilities(void* provider, const char* capability, OSSL_CALLBACK* callback, void* argument) noexcept;

}  // namespace mssl::provider
