// Both sides of a handshake over mssl_x25519 as libssl drives them, without libssl: keys by EVP.
#pragma once

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "provider/reason.h"
#include "tests/unit/provider_fixture.h"

namespace mssl::test {

using provider::Reason;

inline PkeyPtr generated(EVP_PKEY_CTX* context, View further = {}) {
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string("mssl-tlvs", const_cast<std::uint8_t*>(further.data()), further.size()),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY* key = nullptr;
    if (EVP_PKEY_keygen_init(context) != 1 || (!further.empty() && EVP_PKEY_CTX_set_params(context, params) != 1) ||
        EVP_PKEY_keygen(context, &key) != 1)
        return nullptr;
    return PkeyPtr(key);
}

inline Bytes share_of(EVP_PKEY* key) {
    unsigned char* bytes = nullptr;
    const std::size_t length = EVP_PKEY_get1_encoded_public_key(key, &bytes);
    Bytes out(bytes, bytes + length);
    OPENSSL_free(bytes);
    return out;
}

// A client's key, and what it does with the server's share.
struct Client {
    explicit Client(const ProviderHost& host, View further = {}) : library(host.library()) {
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(library, "mssl_x25519", nullptr));
        cr_assert(context != nullptr);
        cr_assert_eq(EVP_PKEY_keygen_init(context.get()), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_group_name(context.get(), "mssl_x25519"), 1);
        own = generated(context.get(), further);
        cr_assert(own != nullptr, "%s", openssl_error(Errc::crypto, "generate").detail.c_str());
    }
    // As tls_parse_stoc_key_share: a copy of the own parameters, then the share.
    bool take(View share) {
        peer.reset(EVP_PKEY_new());
        return EVP_PKEY_copy_parameters(peer.get(), own.get()) == 1 &&
               EVP_PKEY_set1_encoded_public_key(peer.get(), share.data(), share.size()) == 1;
    }
    OSSL_LIB_CTX* library;
    PkeyPtr own;
    PkeyPtr peer;
};

// As tls_parse_ctos_key_share and tls_construct_stoc_key_share.
struct Server {
    explicit Server(const ProviderHost& host) : library(host.library()) {}
    bool take(View share) {
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(library, "mssl_x25519", nullptr));
        EVP_PKEY* shell = nullptr;
        cr_assert(EVP_PKEY_paramgen_init(context.get()) == 1 && EVP_PKEY_paramgen(context.get(), &shell) == 1);
        peer.reset(shell);
        return EVP_PKEY_set1_encoded_public_key(shell, share.data(), share.size()) == 1;
    }
    bool answer(View further = {}) {
        const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, peer.get(), nullptr));
        own = generated(context.get(), further);
        return own != nullptr;
    }
    OSSL_LIB_CTX* library;
    PkeyPtr peer;
    PkeyPtr own;
};

// Empty where they share nothing.
inline Bytes secret_of(OSSL_LIB_CTX* library, EVP_PKEY* own, EVP_PKEY* peer) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(library, own, nullptr));
    std::size_t length = 0;
    if (EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer) != 1 ||
        EVP_PKEY_derive(context.get(), nullptr, &length) != 1)
        return {};
    Bytes out(length);
    if (EVP_PKEY_derive(context.get(), out.data(), &length) != 1) return {};
    return out;
}
template <class Side>
Bytes secret_of(const Side& side) {
    return secret_of(side.library, side.own.get(), side.peer.get());
}

inline Bytes octets(EVP_PKEY* key, const char* name) {
    Bytes out(64);
    std::size_t length = 0;
    if (EVP_PKEY_get_octet_string_param(key, name, out.data(), out.size(), &length) != 1) return {};
    out.resize(length);
    return out;
}

// The reason of the newest error that is the provider's own.
inline bool refused_as(Reason reason) {
    bool found = false;
    while (const unsigned long error = ERR_get_error())
        found = found || ERR_GET_REASON(error) == static_cast<int>(reason);
    return found;
}

}  // namespace mssl::test
