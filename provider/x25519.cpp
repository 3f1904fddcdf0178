#include "provider/x25519.h"

#include <algorithm>

namespace mssl::provider {
namespace {

using Point = std::array<std::uint8_t, 32>;  // a u-coordinate, least significant byte first

// p = 2^255 - 19 plus so much, which is from -1 to 18.
constexpr Point beside_p(int more) {
    Point out;
    out.fill(0xff);
    out[0] = static_cast<std::uint8_t>(0xed + more);
    out[31] = 0x7f;
    return out;
}

constexpr Point kSmallOrder[] = {
    {0},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
     0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
     0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    beside_p(-1),
    beside_p(0),
    beside_p(1),
};

}  // namespace

bool x25519_has_small_order(View peer) {
    if (peer.size() != Point().size()) return false;
    Point u;
    std::ranges::copy(peer, u.begin());
    u[31] &= 0x7f;
    return std::ranges::find(kSmallOrder, u) != std::end(kSmallOrder);
}

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
