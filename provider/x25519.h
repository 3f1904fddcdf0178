// X25519 (RFC 7748) by the providers that the application activated.
#pragma once

#include "protocol/sealing.h"

namespace mssl::provider {

// A fresh pair. Errors: crypto. library: where the algorithm comes from.
Result<PkeyPtr> x25519_generate(OSSL_LIB_CTX* library);
// The public half, 32 bytes.
Result<std::array<std::uint8_t, 32>> x25519_public(EVP_PKEY* pair);
// The common secret with who has the private half of peer, 32 bytes. malformed where the result is all zeros (RFC 7748 §6.1:
// peer chose a point of small order).
Result<Secret> x25519_agree(OSSL_LIB_CTX* library, EVP_PKEY* pair, View peer);

}  // namespace mssl::provider
