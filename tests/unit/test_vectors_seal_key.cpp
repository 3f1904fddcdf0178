// The C++, MSSL-KDF of the provider, and tests/vectors, which another implementation wrote, agree: keys of sealed blocks.
#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <set>

#include "protocol/seal_key.h"
#include "provider/reason.h"
#include "tests/unit/provider_fixture.h"
#include "tests/unit/vectors.h"

namespace mssl::test {
namespace {

std::string answer(const Sealing& sealing, const Vector& v) {
    Secret key;
    std::ranges::copy(v.bytes("key"), key.bytes.begin());
    if (v.operation == "seal-secret")
        return "ok secret=" +
               to_hex(seal_secret(sealing, key, v.fixed<MemberId>("member"), v.fixed<MemberSerial>("serial"))->view());
    if (v.operation != "block-key") return "unknown operation";
    const SealedBlock of{v.fixed<MemberId>("member"), v.fixed<GrantId>("grant"), v.fixed<ObjectId>("object"),
                         BlockIndex{static_cast<std::uint32_t>(v.number("block"))}};
    return "ok key=" + to_hex(block_key(sealing, key, of)->view());
}

// The parameters of a derivation, and what it gives. Empty: it was refused.
struct Kdf {
    explicit Kdf(const ProviderHost& host)
        : kdf(EVP_KDF_fetch(host.library(), "MSSL-KDF", nullptr)), context(EVP_KDF_CTX_new(kdf.get())) {}
    Bytes derive(const char* mode, const std::map<std::string, Bytes>& octets, const std::uint32_t* block,
                 std::size_t length = Secret::size) {
        std::vector<OSSL_PARAM> params;
        if (mode != nullptr) params.push_back(OSSL_PARAM_construct_utf8_string("mode", const_cast<char*>(mode), 0));
        for (const auto& [name, bytes] : octets)
            params.push_back(OSSL_PARAM_construct_octet_string(name.c_str(), const_cast<std::uint8_t*>(bytes.data()), bytes.size()));
        if (block != nullptr) params.push_back(OSSL_PARAM_construct_uint32("block", const_cast<std::uint32_t*>(block)));
        params.push_back(OSSL_PARAM_construct_end());
        Bytes out(length);
        if (EVP_KDF_derive(context.get(), out.data(), out.size(), params.data()) != 1) return {};
        return out;
    }
    KdfPtr kdf;
    KdfCtxPtr context;
};

std::string answer_of_evp(Kdf& kdf, const Vector& v) {
    std::map<std::string, Bytes> octets;
    for (const char* name : {"key", "member", "serial", "grant", "object"})
        if (v.in.contains(name)) octets[name] = v.bytes(name);
    const std::uint32_t block = v.in.contains("block") ? static_cast<std::uint32_t>(v.number("block")) : 0;
    const Bytes out = kdf.derive(v.operation.c_str(), octets, v.in.contains("block") ? &block : nullptr);
    return std::string(v.operation == "block-key" ? "ok key=" : "ok secret=") + to_hex(out);
}

}  // namespace

Test(vectors, keys_of_sealed_blocks) {
    const Sealing sealing = *Sealing::fetch(nullptr);
    hold_vectors("seal_key", 20, [&](const Vector& v) { return answer(sealing, v); });
    // No two of different inputs are the same.
    std::set<std::string> keys;
    const std::vector<Vector> all = read_vectors("seal_key");
    for (const Vector& v : all) keys.insert(v.expected.substr(v.expected.find('=')));
    cr_assert_eq(keys.size(), all.size(), "one case stands there by two names");
}

Test(provider_kdf, gives_what_the_protocol_says) {
    const ProviderHost host;
    Kdf kdf(host);
    hold_vectors("seal_key", 20, [&](const Vector& v) {
        EVP_KDF_CTX_reset(kdf.context.get());
        return answer_of_evp(kdf, v);
    });
    cr_assert_eq(EVP_KDF_CTX_get_kdf_size(kdf.context.get()), Secret::size);
}

Test(provider_kdf, refuses_what_is_missing_or_of_another_length) {
    const ProviderHost host;
    const std::map<std::string, Bytes> all{{"key", Bytes(32, 1)}, {"member", Bytes(32, 2)}, {"serial", Bytes(16, 3)},
                                           {"grant", Bytes(16, 4)}, {"object", Bytes(32, 5)}};
    const std::uint32_t block = 1;
    const auto refused = [&](const char* what, const char* mode, const std::map<std::string, Bytes>& octets,
                             const std::uint32_t* index, std::size_t length) {
        ERR_clear_error();
        Kdf kdf(host);
        cr_assert(kdf.derive(mode, octets, index, length).empty(), "%s", what);
        cr_assert_eq(ERR_GET_REASON(ERR_peek_error()), static_cast<int>(provider::Reason::bad_parameter), "%s", what);
    };
    refused("no mode", nullptr, all, &block, 32);
    refused("another mode", "block", all, &block, 32);
    refused("no block", "block-key", all, nullptr, 32);
    refused("31 bytes", "block-key", all, &block, 31);
    refused("33 bytes", "block-key", all, &block, 33);
    for (const auto& [name, bytes] : all) {
        const char* mode = name == "serial" ? "seal-secret" : "block-key";
        std::map<std::string, Bytes> other = all;
        other.erase(name);
        refused(name.c_str(), mode, other, &block, 32);
        for (const int more : {-1, 1}) {
            other[name] = Bytes(static_cast<std::size_t>(static_cast<int>(bytes.size()) + more), 1);
            refused(name.c_str(), mode, other, &block, 32);
        }
    }
    Kdf kdf(host);
    const Bytes key = kdf.derive("block-key", all, &block);
    cr_assert_eq(key.size(), 32);
    // A copy goes on with what was set; after a reset nothing is.
    const KdfCtxPtr copy(EVP_KDF_CTX_dup(kdf.context.get()));
    Bytes again(32);
    cr_assert(EVP_KDF_derive(copy.get(), again.data(), again.size(), nullptr) == 1 && again == key);
    EVP_KDF_CTX_reset(kdf.context.get());
    cr_assert(kdf.derive(nullptr, {}, nullptr).empty());
}

}  // namespace mssl::test
