#include "provider/x25519.h"

namespace mssl::provider {

Result<PkeyPtr> x25519_generate(OSSL_LIB_CTX* library) {
    PkeyPtr pair(EVP_PKEY_Q_keygen(library, nullptr, "X25519"));
    if (!pair) return openssl_error(Errc::crypto, "an X25519 key");
    return pair;
}

Result<std::array<std::uint8_t, 32>> x25519_public(EVP_PKEY* pair) {
    std::array<std::uint8_t, 32> out{};
    std::size_t length = out.size();
    if (EVP_PKEY_get_raw_public_key(pair, out.data(), &length) != 1 || length != out.size())
        return openssl_error(Errc::crypto, "an X25519 public key");
    return out;
}

Result<Secret> x25519_agree(OSSL_LIB_CTX* library, EVP_PKEY* pair, View peer) {
    const PkeyPtr other(EVP_PKEY_new_raw_public_key_ex(library, "X25519", nullptr, peer.data(), peer.size()));
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, pair, nullptr));
    Secret out;
    std::size_t length = out.bytes.size();
    if (!other || !context || EVP_PKEY_derive_init(context.get()) != 1 ||
        EVP_PKEY_derive_set_peer_ex(context.get(), other.get(), 0) != 1)
        return openssl_error(Errc::crypto, "X25519");
    if (EVP_PKEY_derive(context.get(), out.bytes.data(), &length) != 1 || length != out.bytes.size())
        return openssl_error(Errc::malformed, "X25519");
    return out;
}

}  // namespace mssl::provider
