// X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem) by the providers that the application activated, where one has it: OpenSSL 3.5.
#pragma once

#include "protocol/key_share.h"

namespace mssl::provider {

// Whether the running libcrypto is one that may have it.
bool hybrid_possible() noexcept;
// Whether library does.
bool hybrid_there(OSSL_LIB_CTX* library) noexcept;

// A fresh pair. Errors: crypto.
Result<PkeyPtr> hybrid_generate(OSSL_LIB_CTX* library);
// The public half, kX25519MlKem768.client_public bytes. Errors: crypto.
Result<Bytes> hybrid_public(EVP_PKEY* pair);
// A key of who sent so many bytes. Errors: malformed (of another length, or not an encoding of ML-KEM).
Result<PkeyPtr> hybrid_import(OSSL_LIB_CTX* library, View public_key);

struct Encapsulated {
    Bytes ciphertext;       // kX25519MlKem768.server_public bytes
    ExchangeSecret secret;  // 64
};
// A secret for who has the private half of peer. Errors: crypto.
Result<Encapsulated> hybrid_encapsulate(OSSL_LIB_CTX* library, EVP_PKEY* peer);
// The same secret at who has it; of ciphertext that was changed another, for ML-KEM rejects implicitly. Errors: malformed.
Result<ExchangeSecret> hybrid_decapsulate(OSSL_LIB_CTX* library, EVP_PKEY* own, View ciphertext);

}  // namespace mssl::provider
