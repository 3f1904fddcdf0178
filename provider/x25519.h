// X25519 (RFC 7748) by the providers that the application activated.
#pragma once

#include "protocol/sealing.h"

namespace mssl::provider {

// A fresh pair. Errors: crypto. library: where the algorithm comes from.
Result<PkeyPtr> x25519_generate(OSSL_LIB_CTX* library);
// The public half, 32 bytes.
Result<std::array<std::uint8_t, 32>> x25519_public(EVP_PKEY* pair);
// Whether every secret with this public key, 32 bytes, is zero: it has one of the seven encodings of a point of order 1, 2, 4
// or 8 (RFC 7748 §6.1), whose top bit counts for nothing (§5). libssl's server makes its key and the secret where
// no failure is the client's, so who answers a share asks before.
bool x25519_has_small_order(View peer);
// The common secret with who has the private half of peer, 32 bytes. malformed where the result is all zeros (RFC 7748 §6.1:
// peer chose a point of small order).
Result<Secret> x25519_agree(OSSL_LIB_CTX* library, EVP_PKEY* pair, View peer);

}  // namespace mssl::provider
