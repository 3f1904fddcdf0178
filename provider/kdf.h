// MSSL-KDF: the keys under which blocks are sealed (protocol/seal_key.h), as a key derivation (EVP_KDF(3)).
#pragma once

#include <openssl/core.h>

namespace mssl::provider {

// For OSSL_OP_KDF; static.
const OSSL_ALGORITHM* key_derivations() noexcept;

}  // namespace mssl::provider
