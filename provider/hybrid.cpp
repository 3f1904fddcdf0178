#include "provider/hybrid.h"

#include <openssl/err.h>

#include <algorithm>

#include "provider/x25519.h"

namespace mssl::provider {
namespace {

constexpr const char* kName = "X25519MLKEM768";
constexpr unsigned long kSince = 0x30500000UL;  // OpenSSL 3.5.0

using KemPtr = std::unique_ptr<EVP_KEM, Freer<EVP_KEM_free>>;

}  // namespace

bool hybrid_possible() noexcept { return OpenSSL_version_num() >= kSince; }

bool hybrid_there(OSSL_LIB_CTX* library) noexcept {
    if (!hybrid_possible()) return false;
    ERR_set_mark();
    const bool there = KemPtr(EVP_KEM_fetch(library, kName, nullptr)) != nullptr;
    ERR_pop_to_mark();
    return there;
}

Result<PkeyPtr> hybrid_generate(OSSL_LIB_CTX* library) {
    PkeyPtr pair(EVP_PKEY_Q_keygen(library, nullptr, kName));
    if (!pair) return openssl_error(Errc::crypto, "an X25519MLKEM768 key");
    return pair;
}

Result<Bytes> hybrid_public(EVP_PKEY* pair) {
    unsigned char* bytes = nullptr;
    const std::size_t length = EVP_PKEY_get1_encoded_public_key(pair, &bytes);
    if (length != kX25519MlKem768.client_public) {
        OPENSSL_free(bytes);
        return openssl_error(Errc::crypto, "an X25519MLKEM768 public key");
    }
    Bytes out(bytes, bytes + length);
    OPENSSL_free(bytes);
    return out;
}

Result<PkeyPtr> hybrid_import(OSSL_LIB_CTX* library, View public_key) {
    // Behind the key of ML-KEM stands that of X25519.
    if (public_key.size() != kX25519MlKem768.client_public || x25519_has_small_order(public_key.last(kX25519.client_public)))
        return fail(Errc::malformed, "an X25519MLKEM768 public key");
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(library, kName, nullptr));
    EVP_PKEY* shell = nullptr;
    if (!context || EVP_PKEY_paramgen_init(context.get()) != 1 || EVP_PKEY_paramgen(context.get(), &shell) != 1)
        return openssl_error(Errc::crypto, "an X25519MLKEM768 key");
    PkeyPtr key(shell);
    if (EVP_PKEY_set1_encoded_public_key(shell, public_key.data(), public_key.size()) != 1)
        return openssl_error(Errc::malformed, "an X25519MLKEM768 public key");
    return key;
}

Result<Encapsulated> hybrid_encapsulate(OSSL_LIB_CTX* library, EVP_PKEY* peer) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, peer, nullptr));
    Encapsulated out;
    out.ciphertext.resize(kX25519MlKem768.server_public);
    std::size_t length = out.ciphertext.size();
    out.secret.length = ExchangeSecret::kMax;
    if (!context || EVP_PKEY_encapsulate_init(context.get(), nullptr) != 1 ||
        EVP_PKEY_encapsulate(context.get(), out.ciphertext.data(), &length, out.secret.bytes.data(), &out.secret.length) != 1 ||
        length != out.ciphertext.size() || out.secret.length != ExchangeSecret::kMax)
        return openssl_error(Errc::crypto, "X25519MLKEM768");
    return out;
}

Result<ExchangeSecret> hybrid_decapsulate(OSSL_LIB_CTX* library, EVP_PKEY* own, View ciphertext) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, own, nullptr));
    if (!context || EVP_PKEY_decapsulate_init(context.get(), nullptr) != 1) return openssl_error(Errc::crypto, "X25519MLKEM768");
    ExchangeSecret out;
    out.length = ExchangeSecret::kMax;
    if (EVP_PKEY_decapsulate(context.get(), out.bytes.data(), &out.length, ciphertext.data(), ciphertext.size()) != 1 ||
        out.length != ExchangeSecret::kMax)
        return openssl_error(Errc::malformed, "X25519MLKEM768");
    return out;
}

}  // namespace mssl::provider
