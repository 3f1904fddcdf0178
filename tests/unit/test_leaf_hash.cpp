#include <criterion/criterion.h>

#include <csignal>
#include <thread>

#include "protocol/leaf_hash.h"
#include "tests/unit/naive_merkle.h"

using namespace mssl;

Test(leaf_hash, leaves_nodes_and_nothing_as_rfc_9162_has_them) {
    // The test vectors of RFC 6962 implementations: the empty tree, the empty leaf.
    cr_assert_eq(empty_root().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert_eq(hash_leaf({}).hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    const Bytes data = naive::data(64);
    const Hash left = Hash::from(View(data).first(32));
    const Hash right = Hash::from(View(data).last(32));
    Bytes message{0x01};
    message.insert(message.end(), data.begin(), data.end());
    cr_assert(hash_node(left, right) == naive::sha256(message));
    cr_assert(hash_node(right, left) != hash_node(left, right));
}

Test(leaf_hash, many_leaves_at_once_are_the_same_as_each_alone) {
    const Bytes data = naive::data(20 * kLeafBytes);
    for (std::size_t leaves = 1; leaves <= 20; ++leaves) {
        for (const std::size_t last :
             {std::size_t{1}, std::size_t{54}, std::size_t{55}, std::size_t{56}, std::size_t{63},
              std::size_t{64}, std::size_t{kLeafBytes - 1}, std::size_t{kLeafBytes}}) {
            const View part = View(data).first((leaves - 1) * kLeafBytes + last);
            std::vector<Hash> many(leaves);
            std::vector<Hash> single(leaves);
            hash_leaves(part, many);
            hash_leaves_one_by_one(part, single);
            const std::vector<Hash> twin = naive::leaf_hashes(part);
            cr_assert(many == twin, "%zu leaves, the last of %zu bytes", leaves, last);
            cr_assert(single == twin, "%zu leaves, the last of %zu bytes", leaves, last);
        }
    }
}

Test(leaf_hash, data_at_any_address_hashes_alike) {
    Bytes data = naive::data(4 * kLeafBytes + 64);
    for (std::size_t shift = 0; shift < 64; shift += 7) {
        const View part = View(data).subspan(shift, 4 * kLeafBytes);
        std::vector<Hash> many(4);
        hash_leaves(part, many);
        cr_assert(many == naive::leaf_hashes(part), "shifted by %zu", shift);
    }
}

Test(leaf_hash, no_data_has_no_leaves) {
    hash_leaves({}, {});
    hash_leaves_one_by_one({}, {});
}

Test(leaf_hash, every_thread_has_its_own_lanes) {
    const Bytes data = naive::data(8 * kLeafBytes);
    const std::vector<Hash> twin = naive::leaf_hashes(data);
    std::array<bool, 4> same{};
    {
        std::vector<std::jthread> threads;
        for (bool& s : same)
            threads.emplace_back([&] {
                s = true;
                for (int i = 0; i < 20; ++i) {
                    std::vector<Hash> many(8);
                    hash_leaves(data, many);
                    s = s && many == twin;
                }
            });
    }
    for (const bool s : same) cr_assert(s);
}

Test(leaf_hash, a_wrong_count_of_leaves_ends_the_program, .signal = SIGABRT) {
    const Bytes data(kLeafBytes + 1);
    std::vector<Hash> one(1);
    hash_leaves(data, one);
}
