// MSSL-MERKLE-SHA256: the root of the tree that an object's final head signs, as a message digest (EVP_MD-common(7)).
// 32 bytes; equal to `mssl hash`. For messages up to kMaxObjectBytes.
#pragma once

#include <openssl/core.h>

namespace mssl::provider {

// For OSSL_OP_DIGEST; static.
const OSSL_ALGORITHM* digests() noexcept;

}  // namespace mssl::provider
