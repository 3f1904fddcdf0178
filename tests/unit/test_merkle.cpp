#include "protocol/merkle.h"

#include <criterion/criterion.h>

#include <csignal>

#include "tests/unit/naive_merkle.h"

using namespace mssl;

namespace {

MerkleTree tree_over(View data, std::uint32_t block_bytes) {
    MerkleTree tree;
    for (std::size_t at = 0; at < data.size(); at += block_bytes)
        tree.append(hash_block(data.subspan(at, std::min<std::size_t>(block_bytes, data.size() - at))));
    return tree;
}

Hash numbered(std::uint32_t n) {
    return naive::sha256({1, 2, static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)});
}

MerkleTree numbered_tree(std::uint32_t blocks) {
    MerkleTree tree;
    for (std::uint32_t i = 0; i < blocks; ++i) tree.append(numbered(i));
    return tree;
}

}  // namespace

Test(merkle, a_block_is_the_rfc_tree_over_its_leaves) {
    const Bytes data = naive::data(kMaxBlockBytes);
    for (std::size_t leaves = 1; leaves <= kMaxBlockBytes / kLeafBytes; ++leaves)
        for (const std::size_t length :
             {(leaves - 1) * kLeafBytes + 1, leaves * kLeafBytes - 1, leaves * kLeafBytes})
            cr_assert(hash_block(View(data).first(length)) == naive::root(View(data).first(length)),
                      "%zu bytes", length);
}

Test(merkle, the_tree_over_blocks_is_the_rfc_tree_over_leaves_whatever_the_block_size) {
    const std::vector<std::size_t> lengths = naive::lengths();
    const Bytes data = naive::data(lengths.back());
    for (const std::size_t length : lengths) {
        const View part = View(data).first(length);
        const Hash root = naive::root(part);
        for (const std::uint32_t block_bytes : {64U * 1024, 128U * 1024, 256U * 1024}) {
            const MerkleTree tree = tree_over(part, block_bytes);
            cr_assert_eq(tree.block_count(), Geometry(length, block_bytes).block_count());
            cr_assert(tree.root() == root, "%zu bytes in blocks of %u", length, block_bytes);
        }
    }
}

Test(merkle, an_empty_block_ends_the_program, .signal = SIGABRT) { (void)hash_block({}); }
Test(merkle, a_block_over_the_limit_ends_the_program, .signal = SIGABRT) {
    (void)hash_block(Bytes(kMaxBlockBytes + 1));
}

Test(merkle, peaks_are_the_set_bits_largest_first) {
    cr_assert(peak_positions(0).empty());
    cr_assert(peak_positions(1) == (std::vector<NodePosition>{{0, 0}}));
    cr_assert(peak_positions(7) == (std::vector<NodePosition>{{2, 0}, {1, 2}, {0, 6}}));
    cr_assert(peak_positions(8) == (std::vector<NodePosition>{{3, 0}}));
    cr_assert(peak_positions(std::uint64_t{1} << 30) == (std::vector<NodePosition>{{30, 0}}));
    cr_assert_eq(peak_positions((std::uint64_t{1} << 32) - 1).size(), 32U);
}

Test(merkle, every_block_lies_under_its_peak_and_peaks_tile_the_tree) {
    for (std::uint64_t blocks = 1; blocks < 200; ++blocks) {
        std::uint64_t next = 0;
        for (const NodePosition p : peak_positions(blocks)) {
            cr_assert_eq(std::uint64_t{p.index} << p.level, next);
            for (const std::uint64_t end = next + (std::uint64_t{1} << p.level); next < end; ++next)
                cr_assert(peak_of(BlockIndex{static_cast<std::uint32_t>(next)}, blocks) == p);
        }
        cr_assert_eq(next, blocks);
    }
}

Test(merkle, a_block_beyond_the_tree_has_no_peak, .signal = SIGABRT) { (void)peak_of(BlockIndex{3}, 3); }

Test(merkle, peaks_of_any_beginning_fold_into_its_rfc_root) {
    const MerkleTree tree = numbered_tree(70);
    std::vector<Hash> nodes;
    for (std::uint32_t blocks = 1; blocks <= 70; ++blocks) {
        nodes.push_back(numbered(blocks - 1));
        const std::vector<Hash> peaks = tree.peaks(blocks);
        cr_assert_eq(peaks.size(), peak_positions(blocks).size());
        cr_assert(fold_peaks(peaks) == naive::mth(nodes), "%u blocks", blocks);
    }
}

Test(merkle, only_complete_nodes_exist) {
    const MerkleTree tree = numbered_tree(7);
    for (std::uint8_t level = 0; level < 6; ++level)
        for (std::uint32_t index = 0; index < 9; ++index) {
            const bool complete = (std::uint64_t{index} + 1) << level <= 7;
            const auto node = tree.node({level, index});
            cr_assert_eq(node.has_value(), complete, "(%u,%u)", level, index);
            if (!node) continue;
            std::vector<Hash> under;
            for (std::uint32_t i = index << level; i < (index + 1) << level; ++i)
                under.push_back(numbered(i));
            cr_assert(*node == naive::mth(under), "(%u,%u)", level, index);
        }
}

Test(merkle, an_empty_tree_has_the_empty_root_and_no_nodes) {
    const MerkleTree tree;
    cr_assert(tree.root() == naive::sha256({}));
    cr_assert_eq(tree.block_count(), 0U);
    cr_assert(tree.block_nodes().empty());
    cr_assert(tree.peaks(0).empty());
    cr_assert(not tree.node({0, 0}));
}

Test(merkle, peaks_beyond_the_tree_end_the_program, .signal = SIGABRT) { (void)numbered_tree(3).peaks(4); }
Test(merkle, no_peaks_fold_into_nothing, .signal = SIGABRT) { (void)fold_peaks({}); }

Test(merkle, the_block_nodes_are_enough_to_build_the_tree_again) {
    const MerkleTree tree = numbered_tree(37);
    MerkleTree again;
    for (const Hash& node : tree.block_nodes()) again.append(node);
    cr_assert(again.root() == tree.root());
}

Test(merkle, a_provider_gives_exactly_the_nodes_of_the_mask) {
    const MerkleTree tree = numbered_tree(7);
    const auto lookup = [&](NodePosition p) { return tree.node(p); };
    const auto path = collect_nodes(BlockIndex{2}, 0b11, 7, lookup);
    cr_assert(*path == (std::vector<Hash>{*tree.node({0, 3}), *tree.node({1, 0})}));
    cr_assert(*collect_nodes(BlockIndex{2}, 0b10, 7, lookup) == std::vector<Hash>{*tree.node({1, 0})});
    cr_assert(collect_nodes(BlockIndex{6}, 0, 7, lookup)->empty());
}

Test(merkle, a_provider_refuses_what_lies_off_the_path) {
    const MerkleTree tree = numbered_tree(7);
    const auto lookup = [&](NodePosition p) { return tree.node(p); };
    cr_assert(collect_nodes(BlockIndex{7}, 0, 7, lookup).code() == Errc::no_such_block);
    cr_assert(collect_nodes(BlockIndex{2}, 0b100, 7, lookup).code() == Errc::malformed);
    cr_assert(collect_nodes(BlockIndex{6}, 1, 7, lookup).code() == Errc::malformed);
    cr_assert(collect_nodes(BlockIndex{2}, std::uint64_t{1} << 63, 7, lookup).code() == Errc::malformed);
    const auto nothing = [](NodePosition) { return std::optional<Hash>(); };
    cr_assert(collect_nodes(BlockIndex{2}, 1, 7, nothing).code() == Errc::no_such_block);
}
