// mssl_x25519mlkem768 as libssl drives it, without libssl: a KEM by EVP. Only with an OpenSSL that has X25519MLKEM768.
#include <criterion/criterion.h>
#include <openssl/ssl.h>

#include <fstream>

#include "protocol/key_share.h"
#include "provider/hybrid.h"
#include "tests/unit/provider_sides.h"
#include "tests/unit/token_samples.h"

namespace mssl::test {
namespace {

constexpr const char* kName = "mssl_x25519mlkem768";

// A host of the provider, or the end of the test with the reason.
bool there(const ProviderHost& host) {
    if (provider::hybrid_there(host.library())) return true;
    cr_skip_test("this OpenSSL has no X25519MLKEM768");
    return false;
}

PkeyPtr client_key(const ProviderHost& host) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(host.library(), kName, nullptr));
    cr_assert(context != nullptr);
    PkeyPtr key = generated(context.get());
    cr_assert(key != nullptr, "%s", openssl_error(Errc::crypto, "generate").detail.c_str());
    return key;
}

// The client's key at the server; null where it was refused.
PkeyPtr taken(const ProviderHost& host, View share) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(host.library(), kName, nullptr));
    EVP_PKEY* shell = nullptr;
    cr_assert(EVP_PKEY_paramgen_init(context.get()) == 1 && EVP_PKEY_paramgen(context.get(), &shell) == 1);
    PkeyPtr key(shell);
    ERR_clear_error();
    return EVP_PKEY_set1_encoded_public_key(shell, share.data(), share.size()) == 1 ? std::move(key) : nullptr;
}

struct Answered {
    Bytes share, secret;
};
Answered answered(const ProviderHost& host, EVP_PKEY* peer) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(host.library(), peer, nullptr));
    std::size_t length = 0;
    std::size_t secret_length = 0;
    cr_assert(EVP_PKEY_encapsulate_init(context.get(), nullptr) == 1 &&
              EVP_PKEY_encapsulate(context.get(), nullptr, &length, nullptr, &secret_length) == 1);
    Answered out{Bytes(length), Bytes(secret_length)};
    cr_assert_eq(EVP_PKEY_encapsulate(context.get(), out.share.data(), &length, out.secret.data(), &secret_length), 1);
    cr_assert(length == out.share.size() && secret_length == out.secret.size());
    return out;
}

// Empty where it was refused.
Bytes secret_at_client(const ProviderHost& host, EVP_PKEY* own, View share) {
    const PkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(host.library(), own, nullptr));
    std::size_t length = 0;
    ERR_clear_error();
    if (EVP_PKEY_decapsulate_init(context.get(), nullptr) != 1 ||
        EVP_PKEY_decapsulate(context.get(), nullptr, &length, share.data(), share.size()) != 1)
        return {};
    Bytes out(length);
    if (EVP_PKEY_decapsulate(context.get(), out.data(), &length, share.data(), share.size()) != 1) return {};
    out.resize(length);
    return out;
}

}  // namespace

// It is offered where it works, and nowhere else: a name in a list that OpenSSL 3.0 does not know voids the list.
Test(provider_hybrid, is_offered_exactly_where_openssl_has_it) {
    const ProviderHost host;
    const SslCtxPtr context(SSL_CTX_new_ex(host.library(), nullptr, TLS_client_method()));
    cr_assert_eq(SSL_CTX_set1_groups_list(context.get(), kName) == 1, provider::hybrid_there(host.library()));
    cr_assert_eq(SSL_CTX_set1_groups_list(context.get(), "mssl_x25519"), 1);
}

Test(provider_hybrid, both_sides_share_a_secret_and_read_each_others_hello) {
    const std::string realm(64, '2');
    const ProviderHost at_client;
    const ProviderHost at_server("realm = " + realm + "\n");
    if (!there(at_client)) return;
    const PkeyPtr own = client_key(at_client);
    const Bytes offer = share_of(own.get());
    cr_assert_eq(offer.size(), kX25519MlKem768.client_public + 4 + kHelloBytes);
    const PkeyPtr peer = taken(at_server, offer);
    cr_assert(peer != nullptr, "%s", openssl_error(Errc::crypto, "take").detail.c_str());
    const Answered answer = answered(at_server, peer.get());
    cr_assert_eq(answer.share.size(), kX25519MlKem768.server_public + 4 + kHelloBytes + 4 + 1 + kSealBytes);
    cr_assert_eq(answer.secret.size(), 64);
    cr_assert(secret_at_client(at_client, own.get(), answer.share) == answer.secret);
    cr_assert(to_hex(octets(peer.get(), "mssl-hello")).ends_with(std::string(64, '0')));
    cr_assert(to_hex(octets(own.get(), "mssl-hello")).ends_with(realm), "the server's hello, from the client's own key");
    // Somebody else's.
    const PkeyPtr other = client_key(at_client);
    cr_assert(secret_at_client(at_client, other.get(), answer.share).empty());
    cr_assert(refused_as(Reason::mismatch));
}

Test(provider_hybrid, a_changed_share_ends_the_handshake) {
    const ProviderHost host;
    if (!there(host)) return;
    const PkeyPtr own = client_key(host);
    const Bytes offer = share_of(own.get());
    const Answered answer = answered(host, taken(host, offer).get());
    for (std::size_t i = 0; i < 8 * answer.share.size(); i += 37) {
        Bytes flipped = answer.share;
        flipped[i / 8] = static_cast<std::uint8_t>(flipped[i / 8] ^ 1U << i % 8);
        cr_assert(secret_at_client(host, own.get(), flipped).empty(), "bit %zu of the answer", i);
    }
    for (std::size_t i = 0; i < 8 * offer.size(); i += 97) {
        Bytes flipped = offer;
        flipped[i / 8] = static_cast<std::uint8_t>(flipped[i / 8] ^ 1U << i % 8);
        const PkeyPtr peer = taken(host, flipped);
        if (peer) cr_assert(secret_at_client(host, own.get(), answered(host, peer.get()).share).empty(), "bit %zu of the offer", i);
    }
    for (const std::size_t n : {std::size_t{1}, std::size_t{32}, kX25519MlKem768.client_public - 1, kX25519MlKem768.client_public, offer.size() - 1})
        cr_assert(taken(host, View(offer).first(n)) == nullptr, "%zu bytes", n);
    for (const std::size_t n : {std::size_t{1}, kX25519MlKem768.server_public, answer.share.size() - 1})
        cr_assert(secret_at_client(host, own.get(), View(answer.share).first(n)).empty(), "%zu bytes", n);
    // No encoding of ML-KEM's: a coefficient beyond its modulus; and a point of small order behind it.
    for (const std::size_t at : {std::size_t{0}, kX25519MlKem768.client_public - kX25519Bytes}) {
        Bytes none = offer;
        std::fill_n(none.begin() + static_cast<std::ptrdiff_t>(at), kX25519Bytes, at == 0 ? std::uint8_t{0xff} : std::uint8_t{0});
        cr_assert(taken(host, none) == nullptr, "from byte %zu", at);
        cr_assert(refused_as(Reason::malformed));
    }
}

Test(provider_hybrid, a_member_is_known_and_its_secret_is_in_the_key) {
    char path[] = "/tmp/mssl-hybrid-XXXXXX";
    cr_assert(mkdtemp(path) != nullptr);
    const std::string directory = path;
    const Bytes tokens = token_file_bytes(1);
    std::ofstream(directory + "/tokens").write(reinterpret_cast<const char*>(tokens.data()), static_cast<std::streamsize>(tokens.size()));
    std::ofstream(directory + "/key") << auth_key_text();
    const ProviderHost member("token-file = " + directory + "/tokens\n");
    const ProviderHost admits("auth-key-file = " + directory + "/key\nrequire = yes\n");
    if (there(member)) {
        const PkeyPtr own = client_key(member);
        const PkeyPtr peer = taken(admits, share_of(own.get()));
        cr_assert(peer != nullptr);
        const Answered answer = answered(admits, peer.get());
        cr_assert(octets(peer.get(), "mssl-member") == Bytes(16, kSerialByte));
        cr_assert_eq(answer.secret.size(), 32, "a secret of both, by HKDF");
        cr_assert(secret_at_client(member, own.get(), answer.share) == answer.secret);
        const PkeyPtr without = client_key(member);
        cr_assert(taken(admits, share_of(without.get())) == nullptr);
        cr_assert(refused_as(Reason::not_member));
    }
    for (const char* name : {"/tokens", "/key"}) unlink((directory + name).c_str());
    rmdir(path);
}

}  // namespace mssl::test
