#include <criterion/criterion.h>

#include <algorithm>
#include <bit>
#include <random>

#include "protocol/merkle.h"
#include "tests/unit/naive_merkle.h"

using namespace mssl;

namespace {

MerkleTree random_tree(std::uint32_t blocks, std::uint32_t seed) {
    MerkleTree tree;
    for (std::uint32_t i = 0; i < blocks; ++i) {
        Bytes b(8);
        std::memcpy(b.data(), &i, 4);
        std::memcpy(b.data() + 4, &seed, 4);
        tree.append(naive::sha256(b));
    }
    return tree;
}

Hash flipped(Hash h, unsigned bit = 0) {
    h.bytes[bit / 8] = static_cast<std::uint8_t>(h.bytes[bit / 8] ^ 1U << bit % 8);
    return h;
}

// What an honest provider sends.
std::vector<Hash> nodes_of(const MerkleTree& tree, BlockIndex block, std::uint64_t mask) {
    std::vector<Hash> out;
    for (const NodePosition p : NodeCache::need_positions(block, mask)) out.push_back(*tree.node(p));
    return out;
}

NodeCache cache_of(const MerkleTree& tree, std::uint64_t blocks) {
    NodeCache cache;
    cr_assert(cache.add_peaks(blocks, tree.peaks(blocks)));
    return cache;
}

std::vector<NodePosition> positions(std::uint64_t blocks) {
    std::vector<NodePosition> out;
    for (std::uint8_t level = 0; blocks >> level != 0; ++level)
        for (std::uint32_t i = 0; i < blocks >> level; ++i) out.push_back({level, i});
    return out;
}

bool same(const NodeCache& a, const NodeCache& b, std::uint64_t blocks) {
    if (a.size() != b.size() || a.covered_blocks() != b.covered_blocks()) return false;
    return std::ranges::all_of(positions(blocks), [&](NodePosition p) { return a.node(p) == b.node(p); });
}

Errc give(NodeCache& cache, const MerkleTree& tree, std::uint32_t block, std::uint64_t mask) {
    return cache
        .verify(BlockIndex{block}, *tree.node({0, block}), mask, nodes_of(tree, BlockIndex{block}, mask))
        .code();
}

}  // namespace

Test(node_cache, the_first_block_needs_its_whole_path_and_its_neighbour_nothing) {
    const MerkleTree tree = random_tree(8, 1);
    NodeCache cache = cache_of(tree, 8);
    cr_assert_eq(cache.need(BlockIndex{2}), 0b111U);
    cr_assert(NodeCache::need_positions(BlockIndex{2}, 0b111) ==
              (std::vector<NodePosition>{{0, 3}, {1, 0}, {2, 1}}));
    cr_assert(give(cache, tree, 2, 0b111) == Errc::ok);
    cr_assert_eq(cache.need(BlockIndex{2}), 0U);
    cr_assert_eq(cache.need(BlockIndex{3}), 0U);
    cr_assert_eq(cache.need(BlockIndex{0}), 0b001U, "the path stops at (1,0)");
    cr_assert_eq(cache.need(BlockIndex{5}), 0b011U, "and here at (2,1)");
    cr_assert(cache.knows({1, 1}) && cache.knows({2, 0}), "the path itself is known too");
}

Test(node_cache, a_block_that_is_a_peak_needs_nothing) {
    const MerkleTree tree = random_tree(7, 1);
    NodeCache cache = cache_of(tree, 7);
    cr_assert_eq(cache.need(BlockIndex{6}), 0U);
    cr_assert(give(cache, tree, 6, 0) == Errc::ok);
    cr_assert(cache.verify(BlockIndex{6}, flipped(*tree.node({0, 6})), 0, {}).code() == Errc::bad_proof);
}

Test(node_cache, what_requests_in_flight_will_bring_is_not_asked_for) {
    const MerkleTree tree = random_tree(8, 2);
    NodeCache cache = cache_of(tree, 8);
    NodeCache::Expected expected;
    for (const NodePosition p : NodeCache::need_positions(BlockIndex{0}, cache.need(BlockIndex{0})))
        ++expected.nodes[p];
    cr_assert_eq(cache.need(BlockIndex{1}, &expected), 0U);
    cr_assert_eq(cache.need(BlockIndex{3}, &expected), 0b001U);
    cr_assert_eq(cache.need(BlockIndex{7}, &expected), 0b011U);

    // They may come in another order: then the later one waits, and nothing is cached.
    const NodeCache before = cache;
    cr_assert(give(cache, tree, 3, 0b001) == Errc::truncated);
    cr_assert(same(cache, before, 8));
    cr_assert(give(cache, tree, 0, 0b111) == Errc::ok);
    cr_assert(give(cache, tree, 3, 0b001) == Errc::ok);
}

Test(node_cache, a_block_again_must_be_the_same) {
    const MerkleTree tree = random_tree(5, 3);
    NodeCache cache = cache_of(tree, 5);
    cr_assert(give(cache, tree, 1, 0b11) == Errc::ok);
    cr_assert(give(cache, tree, 1, 0) == Errc::ok);
    cr_assert(give(cache, tree, 1, 0b11) == Errc::ok);
    const NodeCache before = cache;
    cr_assert(cache.verify(BlockIndex{1}, flipped(*tree.node({0, 1})), 0, {}).code() == Errc::bad_proof);
    cr_assert(same(cache, before, 5));
}

Test(node_cache, a_given_node_that_is_known_must_be_the_known_one) {
    const MerkleTree tree = random_tree(8, 4);
    NodeCache cache = cache_of(tree, 8);
    cr_assert(give(cache, tree, 0, 0b111) == Errc::ok);
    const NodeCache before = cache;
    for (std::size_t i = 0; i < 3; ++i) {
        std::vector<Hash> nodes = nodes_of(tree, BlockIndex{1}, 0b111);
        cr_assert(cache.verify(BlockIndex{1}, *tree.node({0, 1}), 0b111, nodes));
        nodes[i] = flipped(nodes[i]);
        cr_assert(cache.verify(BlockIndex{1}, *tree.node({0, 1}), 0b111, nodes).code() == Errc::bad_proof,
                  "%zu", i);
    }
    cr_assert(same(cache, before, 8));
}

// Known above a gap that stays open, and known where the path below is still to come.
Test(node_cache, a_given_node_is_compared_even_where_the_path_does_not_reach_it) {
    const MerkleTree tree = random_tree(8, 12);
    NodeCache cache = cache_of(tree, 1);
    cr_assert(cache.add_peaks(8, tree.peaks(8)));
    cr_assert(give(cache, tree, 4, 0b111) == Errc::ok);
    const NodeCache before = cache;
    const Hash right = *tree.node({2, 1});
    cr_assert(cache.verify(BlockIndex{0}, *tree.node({0, 0}), 0b100, {right}));
    cr_assert(cache.verify(BlockIndex{0}, *tree.node({0, 0}), 0b100, {flipped(right)}).code() ==
              Errc::bad_proof);
    cr_assert(cache.verify(BlockIndex{2}, *tree.node({0, 2}), 0b100, {right}).code() == Errc::truncated);
    cr_assert(cache.verify(BlockIndex{2}, *tree.node({0, 2}), 0b100, {flipped(right)}).code() ==
              Errc::bad_proof);
    cr_assert(same(cache, before, 8));
}

Test(node_cache, a_wrong_count_or_a_level_above_the_peak_is_malformed) {
    const MerkleTree tree = random_tree(7, 5);
    NodeCache cache = cache_of(tree, 7);
    const NodeCache before = cache;
    const Hash node = *tree.node({0, 0});
    std::vector<Hash> path = nodes_of(tree, BlockIndex{0}, 0b11);
    path.pop_back();
    cr_assert(cache.verify(BlockIndex{0}, node, 0b11, path).code() == Errc::malformed);
    path.resize(3);
    cr_assert(cache.verify(BlockIndex{0}, node, 0b11, path).code() == Errc::malformed);
    cr_assert(cache.verify(BlockIndex{0}, node, 0b111, path).code() == Errc::malformed);
    path.resize(1);
    cr_assert(cache.verify(BlockIndex{0}, node, std::uint64_t{1} << 63, path).code() == Errc::malformed);
    cr_assert(cache.verify(BlockIndex{6}, *tree.node({0, 6}), 1, path).code() == Errc::malformed);
    cr_assert(same(cache, before, 7));
}

Test(node_cache, nothing_is_known_beyond_the_head) {
    const MerkleTree tree = random_tree(8, 6);
    NodeCache cache;
    cr_assert_eq(cache.covered_blocks(), 0U);
    cr_assert_eq(cache.need(BlockIndex{0}), 0U);
    cr_assert(give(cache, tree, 0, 0) == Errc::no_such_block);
    cr_assert(cache.add_peaks(5, tree.peaks(5)));
    cr_assert(give(cache, tree, 5, 0) == Errc::no_such_block);
    cr_assert_eq(cache.need(BlockIndex{5}), 0U);
}

Test(node_cache, heads_only_grow) {
    const MerkleTree tree = random_tree(20, 7);
    NodeCache cache;
    cr_assert(cache.add_peaks(0, {}));
    cr_assert(cache.add_peaks(13, tree.peaks(13)));
    const NodeCache before = cache;
    cr_assert(cache.add_peaks(13, tree.peaks(13)));
    cr_assert(cache.add_peaks(5, tree.peaks(5)), "an earlier one that came late");
    cr_assert(same(cache, before, 20));
    cr_assert(cache.add_peaks(20, tree.peaks(20)));
    cr_assert_eq(cache.covered_blocks(), 20U);
}

Test(node_cache, heads_that_disagree_are_found_where_both_can_be_known) {
    const MerkleTree tree = random_tree(16, 8);
    const MerkleTree other = random_tree(16, 9);
    NodeCache cache = cache_of(tree, 12);
    const NodeCache before = cache;
    const auto conflicts = [&](std::uint64_t blocks, std::vector<Hash> peaks) {
        return cache.add_peaks(blocks, std::move(peaks)).code() == Errc::conflicting_head &&
               same(cache, before, 16);
    };
    cr_assert(conflicts(12, other.peaks(12)), "of the same size");
    std::vector<Hash> peaks = tree.peaks(12);
    peaks[1] = flipped(peaks[1]);
    cr_assert(conflicts(12, peaks), "in one peak");
    cr_assert(conflicts(13, other.peaks(13)), "a larger one that keeps a peak");
    cr_assert(conflicts(8, other.peaks(8)), "a smaller one, at a peak that is known");

    cr_assert(give(cache, tree, 0, 0b111) == Errc::ok);
    peaks = other.peaks(2);
    const NodeCache verified = cache;
    cr_assert(cache.add_peaks(2, peaks).code() == Errc::conflicting_head,
              "a smaller one, at a node that was verified");
    cr_assert(same(cache, verified, 16));
}

Test(node_cache, a_head_with_a_wrong_number_of_peaks_is_malformed) {
    const MerkleTree tree = random_tree(7, 10);
    NodeCache cache;
    cr_assert(cache.add_peaks(7, tree.peaks(6)).code() == Errc::malformed);
    cr_assert(cache.add_peaks(7, {}).code() == Errc::malformed);
    cr_assert(cache.add_peaks(0, tree.peaks(1)).code() == Errc::malformed);
    cr_assert(cache.add_peaks((std::uint64_t{1} << 32) + 1, tree.peaks(6)).code() == Errc::malformed);
    cr_assert_eq(cache.size(), 0U);
}

// After heads of 1 and 4 blocks (0,0) and (2,0) are known and (1,0) between them is not.
Test(node_cache, nodes_above_a_known_ancestor_count_when_the_path_can_be_closed) {
    const MerkleTree tree = random_tree(4, 11);
    NodeCache cache = cache_of(tree, 1);
    cr_assert(cache.add_peaks(4, tree.peaks(4)));
    cr_assert_eq(cache.need(BlockIndex{0}), 0U);
    const NodeCache before = cache;

    std::vector<Hash> path = nodes_of(tree, BlockIndex{0}, 0b11);
    for (std::size_t i = 0; i < 2; ++i) {
        std::vector<Hash> wrong = path;
        wrong[i] = flipped(wrong[i]);
        cr_assert(cache.verify(BlockIndex{0}, *tree.node({0, 0}), 0b11, wrong).code() == Errc::bad_proof);
        cr_assert(same(cache, before, 4));
    }
    NodeCache open = cache;
    cr_assert(give(open, tree, 0, 0b10) == Errc::ok, "the block verifies; the rest of the path stays open");
    cr_assert(same(open, before, 4));
    cr_assert(give(open, tree, 0, 0b01) == Errc::ok);
    cr_assert(same(open, before, 4));
    cr_assert(give(cache, tree, 0, 0b11) == Errc::ok);
    cr_assert_eq(cache.size(), 5U);
    cr_assert(cache.knows({1, 0}) && cache.knows({1, 1}) && cache.knows({0, 1}));
}

namespace {

// A whole object, fetched in a random order from several providers at once, with heads that grow meanwhile.
class Transfer {
public:
    explicit Transfer(std::uint32_t seed)
        : random_(seed),
          blocks_(1 + random_() % (seed % 8 == 0 ? 300 : 40)),
          tree_(random_tree(blocks_, seed)),
          grow_(seed % 4 != 0) {}

    void run() {
        grow(grow_ ? 1 + random_() % blocks_ : blocks_);
        while (have_.size() < blocks_) {
            const unsigned what = static_cast<unsigned>(random_() % 10);
            if (what == 0)
                grow(cache_.covered_blocks() + random_() % (blocks_ - cache_.covered_blocks() + 1));
            const bool asked = what < 6 && ask();
            if (!asked && !flight_.empty())
                arrive();
            else if (!asked)
                grow(std::min<std::uint64_t>(blocks_, cache_.covered_blocks() + 1));
        }
        cr_assert(expected_.nodes.empty());
        cr_assert(cache_.size() <= 2 * blocks_);
    }

private:
    struct Request {
        std::uint32_t block;
        std::uint64_t mask;
        std::uint64_t head;
    };

    void grow(std::uint64_t to) {
        if (to < cache_.covered_blocks()) return;
        cr_assert(cache_.add_peaks(to, tree_.peaks(to)));
        check();
    }

    bool ask() {
        std::vector<std::uint32_t> open;
        for (std::uint32_t b = 0; b < cache_.covered_blocks(); ++b)
            if (!have_.contains(b) && !asked_.contains(b)) open.push_back(b);
        if (open.empty() || flight_.size() >= 1 + random_() % 12) return false;
        const std::uint32_t b = open[random_() % open.size()];
        cr_assert_eq(cache_.need(BlockIndex{b}), naive_need(b));
        const Request r{b, cache_.need(BlockIndex{b}, &expected_), cache_.covered_blocks()};
        for (const NodePosition p : NodeCache::need_positions(BlockIndex{b}, r.mask)) {
            cr_assert(not cache_.knows(p));
            cr_assert_eq(++expected_.nodes[p], 1, "nobody else asked for it");
            cr_assert_eq(++crossed_[p], 1, "(%u,%u) crosses twice", p.level, p.index);
        }
        asked_.insert({b, true});
        flight_.push_back(r);
        return true;
    }

    // path − known − computable, with computable as a fixed point over everything that is known.
    std::uint64_t naive_need(std::uint32_t block) const {
        std::map<NodePosition, bool> known;
        for (const NodePosition p : positions(blocks_))  // lowest level first
            known[p] = cache_.knows(p) ||
                       (p.level > 0 && known[{static_cast<std::uint8_t>(p.level - 1), 2 * p.index}] &&
                        known[{static_cast<std::uint8_t>(p.level - 1), 2 * p.index + 1}]);
        std::uint64_t mask = 0;
        for (NodePosition p{0, block}; !known[p]; p = p.parent())
            if (!known[p.sibling()]) mask |= std::uint64_t{1} << p.level;
        return mask;
    }

    // One of the requests in flight is answered, maybe by a liar first.
    void arrive() {
        const std::size_t i = random_() % flight_.size();
        const Request r = flight_[i];
        const auto collected =
            collect_nodes(BlockIndex{r.block}, r.mask, r.head, [&](NodePosition p) { return tree_.node(p); });
        cr_assert(collected);
        const Hash node = *tree_.node({0, r.block});
        NodeCache probe = cache_;
        const Errc honest = probe.verify(BlockIndex{r.block}, node, r.mask, *collected).code();
        lie(r, node, *collected, honest);
        if (honest == Errc::truncated) {
            cr_assert(same(probe, cache_, blocks_));
            cr_assert_gt(flight_.size(), 1U, "what it waits for is in flight");
            return;
        }
        cr_assert(honest == Errc::ok);
        cache_ = probe;
        flight_.erase(flight_.begin() + static_cast<std::ptrdiff_t>(i));
        asked_.erase(r.block);
        have_.insert({r.block, true});
        for (const NodePosition p : NodeCache::need_positions(BlockIndex{r.block}, r.mask)) {
            cr_assert(cache_.knows(p));
            expected_.nodes.erase(p);
        }
        check();
    }

    void lie(const Request& r, Hash node, std::vector<Hash> nodes, Errc honest) {
        const unsigned bit = random_() % 256;
        const std::size_t n = nodes.size();
        switch (random_() % 5) {
        case 0:
            node = flipped(node, bit);
            break;
        case 1:
            if (n == 0) return;
            nodes[random_() % n] = flipped(nodes[random_() % n], bit);
            break;
        case 2:
            if (n < 2) return;
            std::swap(nodes[0], nodes[n - 1]);
            break;
        case 3:
            if (blocks_ < 2) return;
            node = *tree_.node({0, (r.block + 1) % static_cast<std::uint32_t>(blocks_)});
            break;
        case 4:
            return;
        }
        const NodeCache before = cache_;
        const Errc got = cache_.verify(BlockIndex{r.block}, node, r.mask, nodes).code();
        cr_assert(got == (honest == Errc::ok ? Errc::bad_proof : got), "block %u: a lie was taken", r.block);
        cr_assert(got == Errc::bad_proof || got == Errc::truncated);
        cr_assert(same(cache_, before, blocks_), "a lie changed what is known");
    }

    void check() const {
        for (const NodePosition p : positions(blocks_)) {
            const auto known = cache_.node(p);
            if (known) cr_assert(known == tree_.node(p), "(%u,%u) is known wrongly", p.level, p.index);
            if (known && cache_.knows(p.sibling())) cr_assert(cache_.knows(p.parent()));
        }
    }

    std::mt19937 random_;
    std::uint64_t blocks_;
    MerkleTree tree_;
    bool grow_;
    NodeCache cache_;
    NodeCache::Expected expected_;
    std::map<NodePosition, int> crossed_;
    std::map<std::uint32_t, bool> have_;
    std::map<std::uint32_t, bool> asked_;
    std::vector<Request> flight_;
};

}  // namespace

Test(node_cache, no_node_crosses_twice_and_no_lie_is_taken_in_any_order_under_any_heads) {
    for (std::uint32_t seed = 0; seed < 240; ++seed) Transfer(seed).run();
}
