// mssl: URIs, what a client keeps of a site, for OSSL_STORE_open(3) and whoever uses it (provider-mssl(7), STORE).
#pragma once

#include <openssl/core.h>

namespace mssl::provider {

// For OSSL_OP_STORE; static.
const OSSL_ALGORITHM* stores() noexcept;

}  // namespace mssl::provider
