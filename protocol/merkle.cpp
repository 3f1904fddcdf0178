#include "protocol/merkle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <exception>

namespace mssl {

namespace {

// Indices of blocks are 32 bits wide.
constexpr std::uint64_t kMaxBlocks = std::uint64_t{1} << 32;

NodePosition ancestor(BlockIndex block, unsigned level) {
    return {static_cast<std::uint8_t>(level), static_cast<std::uint32_t>(std::uint64_t{block.v} >> level)};
}

}  // namespace

Hash hash_block(View block) {
    if (block.empty() || block.size() > kMaxBlockBytes) std::terminate();
    std::array<Hash, kMaxBlockBytes / kLeafBytes> row;
    std::size_t n = (block.size() + kLeafBytes - 1) / kLeafBytes;
    hash_leaves(block, std::span(row).first(n));
    // Pairing neighbours and carrying the odd one up splits every row at the largest power of two below its
    // length, which is RFC 9162 §2.1.1.
    while (n > 1) {
        for (std::size_t i = 0; i + 1 < n; i += 2) row[i / 2] = hash_node(row[i], row[i + 1]);
        if (n % 2 != 0) row[n / 2] = row[n - 1];
        n = (n + 1) / 2;
    }
    return row[0];
}

std::vector<NodePosition> peak_positions(std::uint64_t blocks) {
    std::vector<NodePosition> out;
    std::uint64_t first = 0;
    while (first < blocks) {
        const auto level = static_cast<unsigned>(std::bit_width(blocks - first) - 1);
        out.push_back({static_cast<std::uint8_t>(level), static_cast<std::uint32_t>(first >> level)});
        first += std::uint64_t{1} << level;
    }
    return out;
}

NodePosition peak_of(BlockIndex block, std::uint64_t blocks) {
    if (block.v >= blocks) std::terminate();
    // The peaks are the set bits of `blocks`; the block lies under that of the highest bit in which they differ.
    return ancestor(block, static_cast<unsigned>(std::bit_width(block.v ^ blocks) - 1));
}

Hash fold_peaks(const std::vector<Hash>& peaks) {
    if (peaks.empty()) std::terminate();
    Hash out = peaks.back();
    for (auto peak = peaks.rbegin() + 1; peak != peaks.rend(); ++peak) out = hash_node(*peak, out);
    return out;
}

void MerkleTree::append(const Hash& block_node) {
    Hash node = block_node;
    for (std::size_t level = 0;; ++level) {
        if (level == levels_.size()) levels_.emplace_back();
        std::vector<Hash>& row = levels_[level];
        row.push_back(node);
        if (row.size() % 2 != 0) return;
        node = hash_node(row[row.size() - 2], row.back());
    }
}

std::optional<Hash> MerkleTree::node(NodePosition p) const {
    if (p.level >= levels_.size() || p.index >= levels_[p.level].size()) return std::nullopt;
    return levels_[p.level][p.index];
}

std::vector<Hash> MerkleTree::peaks(std::uint64_t blocks) const {
    if (blocks > block_count()) std::terminate();
    std::vector<Hash> out;
    for (const NodePosition p : peak_positions(blocks)) out.push_back(levels_[p.level][p.index]);
    return out;
}

Hash MerkleTree::root() const { return levels_.empty() ? empty_root() : fold_peaks(peaks(block_count())); }

const std::vector<Hash>& MerkleTree::block_nodes() const {
    static const std::vector<Hash> none;
    return levels_.empty() ? none : levels_[0];
}

// Two known siblings always have a known parent: a right one is never a peak, so it came with a verified path, and
// that path holds the parent. Hence what can be computed from known nodes is known, and comparing is enough.
Status NodeCache::add_peaks(std::uint64_t blocks, const std::vector<Hash>& peaks) {
    if (blocks > kMaxBlocks) return fail(Errc::malformed, "a head of more blocks than there are indices");
    const std::vector<NodePosition> positions = peak_positions(blocks);
    if (peaks.size() != positions.size()) return fail(Errc::malformed, "a head with a wrong number of peaks");
    for (std::size_t i = 0; i < peaks.size(); ++i) {
        const std::optional<Hash> known = node(positions[i]);
        if (known && *known != peaks[i])
            return fail(Errc::conflicting_head,
                        "a head of " + std::to_string(blocks) + " blocks contradicts an earlier one");
    }
    if (blocks <= covered_) return {};
    for (std::size_t i = 0; i < peaks.size(); ++i) nodes_.emplace(positions[i], peaks[i]);
    covered_ = blocks;
    return {};
}

bool NodeCache::knows(NodePosition p) const { return nodes_.contains(p); }

std::optional<Hash> NodeCache::node(NodePosition p) const {
    const auto found = nodes_.find(p);
    if (found == nodes_.end()) return std::nullopt;
    return found->second;
}

std::uint64_t NodeCache::need(BlockIndex block, const Expected* expected) const {
    if (block.v >= covered_) return 0;
    const auto held = [&](NodePosition p) {
        return knows(p) || (expected != nullptr && expected->nodes.contains(p));
    };
    std::uint64_t mask = 0;
    // Ends at the peak at the latest, which is known.
    for (unsigned level = 0; !held(ancestor(block, level)); ++level)
        if (!held(ancestor(block, level).sibling())) mask |= std::uint64_t{1} << level;
    return mask;
}

std::vector<NodePosition> NodeCache::need_positions(BlockIndex block, std::uint64_t mask) {
    std::vector<NodePosition> out;
    for (; mask != 0; mask &= mask - 1)
        out.push_back(ancestor(block, static_cast<unsigned>(std::countr_zero(mask))).sibling());
    return out;
}

Status NodeCache::verify(BlockIndex block, const Hash& block_node, std::uint64_t mask,
                         const std::vector<Hash>& nodes) {
    if (block.v >= covered_) return fail(Errc::no_such_block, "block beyond the head");
    const auto wrong = [&](const char* what) {
        return fail(Errc::bad_proof, "block " + std::to_string(block.v) + ": " + what);
    };
    const unsigned peak_level = peak_of(block, covered_).level;
    if (mask >> peak_level != 0) return fail(Errc::malformed, "nodes above the peak");
    const std::vector<NodePosition> positions = need_positions(block, mask);
    if (nodes.size() != positions.size()) return fail(Errc::malformed, "a wrong number of nodes");
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const std::optional<Hash> known = node(positions[i]);
        if (known && *known != nodes[i]) return wrong("a node differs from the known one");
    }

    // Up the path. What is computed is vouched for only once the path meets a known node that equals it.
    std::vector<std::pair<NodePosition, Hash>> computed;
    std::size_t vouched = 0;
    bool met = false;
    Hash here = block_node;
    std::size_t given = 0;
    for (unsigned level = 0;; ++level) {
        const NodePosition p = ancestor(block, level);
        if (const std::optional<Hash> known = node(p)) {
            if (*known != here) return wrong("the path does not lead to the head");
            met = true;
            vouched = computed.size();
        } else {
            computed.emplace_back(p, here);
        }
        if (met && vouched == computed.size() && mask >> level == 0) break;
        const NodePosition beside = p.sibling();
        std::optional<Hash> sibling = node(beside);
        if ((mask >> level & 1) != 0) {
            if (!sibling) computed.emplace_back(beside, nodes[given]);
            sibling = nodes[given++];
        }
        if (!sibling) {
            if (!met) return fail(Errc::truncated, "nodes of the path are still to come");
            break;
        }
        here = beside.index < p.index ? hash_node(*sibling, here) : hash_node(here, *sibling);
    }
    nodes_.insert(computed.begin(), computed.begin() + static_cast<std::ptrdiff_t>(vouched));
    return {};
}

bool NodeCache::split(NodePosition parent, const Hash& left, const Hash& right) {
    const std::optional<Hash> known = node(parent);
    if (parent.level == 0 || !known || *known != hash_node(left, right)) return false;
    const NodePosition first{static_cast<std::uint8_t>(parent.level - 1), parent.index * 2};
    nodes_.emplace(first, left);
    nodes_.emplace(first.sibling(), right);
    return true;
}

}  // namespace mssl
