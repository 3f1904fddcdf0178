// MSSL-MERKLE-SHA256: what EVP gives is the root of the object's tree, however the bytes come.
#include <criterion/criterion.h>

#include <algorithm>

#include "protocol/tree_builder.h"
#include "tests/unit/provider_fixture.h"

namespace mssl::test {
namespace {

Bytes some_bytes(std::size_t length) {
    Bytes data(length);
    for (std::size_t i = 0; i < length; ++i) data[i] = static_cast<std::uint8_t>(i * 31 + (i >> 13));
    return data;
}

Hash root_of(View data) {
    TreeBuilder builder(kMinBlockBytes);
    builder.feed(data);
    builder.finish();
    return builder.tree().root();
}

struct Hashing {
    explicit Hashing(OSSL_LIB_CTX* library)
        : md(EVP_MD_fetch(library, "MSSL-MERKLE-SHA256", nullptr)), context(EVP_MD_CTX_new()) {
        cr_assert(md != nullptr);
        begin();
    }
    void begin() { cr_assert_eq(EVP_DigestInit_ex2(context.get(), md.get(), nullptr), 1); }
    void feed(View data) { cr_assert_eq(EVP_DigestUpdate(context.get(), data.data(), data.size()), 1); }
    static Hash end(EVP_MD_CTX* of) {
        Hash out;
        unsigned length = 0;
        cr_assert_eq(EVP_DigestFinal_ex(of, out.bytes.data(), &length), 1);
        cr_assert_eq(length, Hash::size);
        return out;
    }
    MdPtr md;
    MdCtxPtr context;
};

// Around leaves, around the blocks in which it hashes, and odd.
const std::size_t kSizes[] = {0, 1, kLeafBytes - 1, kLeafBytes, kLeafBytes + 1, 2 * kLeafBytes, kMaxBlockBytes - 1,
                              kMaxBlockBytes, kMaxBlockBytes + 1, 3 * kMaxBlockBytes + 5 * kLeafBytes + 77};

}  // namespace

Test(provider_digest, is_the_root_of_the_tree_in_pieces_of_any_size) {
    const ProviderHost host;
    Hashing hashing(host.library());
    for (const std::size_t size : kSizes) {
        const Bytes data = some_bytes(size);
        const Hash wanted = root_of(data);
        for (const std::size_t piece : {std::size_t{1021}, std::size_t{kLeafBytes}, std::size_t{kMaxBlockBytes}, size + 1}) {
            hashing.begin();
            for (View left = data; !left.empty(); left = left.subspan(std::min(piece, left.size())))
                hashing.feed(left.first(std::min(piece, left.size())));
            cr_assert(Hashing::end(hashing.context.get()) == wanted, "%zu bytes in pieces of %zu", size, piece);
        }
    }
}

Test(provider_digest, a_copy_goes_its_own_way) {
    const ProviderHost host;
    const Bytes data = some_bytes(kMaxBlockBytes + 12345);
    const View all = data;
    Hashing first(host.library());
    first.feed(all.first(kMaxBlockBytes + 1));
    const MdCtxPtr copy(EVP_MD_CTX_new());
    cr_assert_eq(EVP_MD_CTX_copy_ex(copy.get(), first.context.get()), 1);
    first.feed(some_bytes(70000));
    cr_assert_eq(EVP_DigestUpdate(copy.get(), all.data() + kMaxBlockBytes + 1, all.size() - kMaxBlockBytes - 1), 1);
    cr_assert(Hashing::end(copy.get()) == root_of(data));
    cr_assert(Hashing::end(first.context.get()) != root_of(data));
}

Test(provider_digest, says_its_sizes_and_refuses_what_comes_after_the_end) {
    const ProviderHost host;
    Hashing hashing(host.library());
    cr_assert_eq(EVP_MD_get_size(hashing.md.get()), static_cast<int>(Hash::size));
    cr_assert_eq(EVP_MD_get_block_size(hashing.md.get()), 64);
    cr_assert(EVP_MD_is_a(hashing.md.get(), "mssl-merkle"));
    (void)Hashing::end(hashing.context.get());
    const std::uint8_t byte = 1;
    cr_assert_neq(EVP_DigestUpdate(hashing.context.get(), &byte, 1), 1);
}

// The same process may load and unload it again and again, in contexts that know nothing of each other.
Test(provider_digest, works_after_unloading_and_in_several_contexts) {
    const Bytes data = some_bytes(kLeafBytes + 1);
    const Hash wanted = root_of(data);
    const ProviderHost stays;
    for (int i = 0; i < 20; ++i) {
        const ProviderHost host;
        for (const ProviderHost* of : {&host, &stays}) {
            Hashing hashing(of->library());
            hashing.feed(data);
            cr_assert(Hashing::end(hashing.context.get()) == wanted);
        }
    }
}

}  // namespace mssl::test
