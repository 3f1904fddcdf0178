// The Merkle tree of RFC 9162 §2.1 at block level and above.
//
// Leaves are hashed H(0x00 ‖ leaf), inner nodes H(0x01 ‖ left ‖ right); nothing is padded. Blocks are aligned
// subtrees, so a tree over n leaves, looked at from block level up, is the RFC's tree over the block nodes:
//
//     level 2            (2,0)                 a *complete* node (l, i) covers blocks [i·2^l, (i+1)·2^l)
//     level 1      (1,0)       (1,1)           peaks of 7 blocks: (2,0) (1,2) (0,6)
//     level 0   (0,0) (0,1) (0,2) (0,3) …      root = fold of the peaks, from the right
//
// Only complete nodes have positions here, are ever cached, or cross the wire (DESIGN 3): every path ends at a
// peak, so incomplete nodes never occur. The last block of an object may be shorter than a block: its node is
// the tree over its own leaves, and from there on it is a block node like any other, at (0, block_count − 1).
//
// Thread rules: everything here is a value or immutable once built.
#pragma once

#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/leaf_hash.h"
#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl {

// The node of one block: RFC 9162 MTH over its leaves. 1 ≤ block.size() ≤ kMaxBlockBytes. Leaves of a block are
// hashed side by side where the machine can (leaf_hash.h).
Hash hash_block(View block);

struct NodePosition {
    std::uint8_t level = 0;   // 0 = block
    std::uint32_t index = 0;  // covers blocks [index << level, (index + 1) << level)
    auto operator<=>(const NodePosition&) const = default;
    NodePosition parent() const { return {static_cast<std::uint8_t>(level + 1), index >> 1}; }
    NodePosition sibling() const { return {level, index ^ 1U}; }
};

// Peaks of the first `blocks` blocks, largest (leftmost) first. The positions only.
std::vector<NodePosition> peak_positions(std::uint64_t blocks);

// Position of the peak that covers block among the first `blocks` blocks. block < blocks.
NodePosition peak_of(BlockIndex block, std::uint64_t blocks);

// Folds peaks into the root (RFC 9162 §2.1.1: the bagging of the complete subtrees, from the right).
// peaks not empty.
Hash fold_peaks(const std::vector<Hash>& peaks);

// A tree that grows at the right: the owner's (server's) tree, and what a complete store keeps. Holds every
// complete node at block level and above; 64 bytes a block.
class MerkleTree {
public:
    MerkleTree() = default;
    // Appends block nodes in order.
    void append(const Hash& block_node);
    std::uint64_t block_count() const { return levels_.empty() ? 0 : levels_[0].size(); }
    // The node, or nothing where it is not complete yet.
    std::optional<Hash> node(NodePosition p) const;
    // Peaks of the first `blocks` blocks; blocks ≤ block_count().
    std::vector<Hash> peaks(std::uint64_t blocks) const;
    // Fold of all peaks; empty_root() when there is no block.
    Hash root() const;
    // Level 0, for persisting. 32 bytes a block.
    const std::vector<Hash>& block_nodes() const;

private:
    std::vector<std::vector<Hash>> levels_;
};

// What a receiver knows to be true: nodes verified against a signed head (DESIGN 5, invariants 1 and 2).
// Bounded: at most 2 nodes a block of the object; positions beyond the head are refused.
class NodeCache {
public:
    NodeCache() = default;

    // The peaks of a head that covers the first `blocks` blocks. Heads only grow: smaller ones change nothing.
    // conflicting_head when a peak contradicts what is cached or computable from it. peaks.size() must equal
    // peak_positions(blocks).size(), else malformed.
    Status add_peaks(std::uint64_t blocks, const std::vector<Hash>& peaks);

    // Blocks that the newest head covers.
    std::uint64_t covered_blocks() const { return covered_; }

    bool knows(NodePosition p) const;
    std::optional<Hash> node(NodePosition p) const;

    // Siblings that are needed to verify block from here: bit l set = sibling of the block's ancestor at level l.
    // Stops at the first known ancestor (DESIGN 5: path − known − computable). `expected` are positions that
    // requests in flight will bring; they count as held, and so do ancestors that will be known then. Only valid
    // when block < covered_blocks().
    struct Expected {
        // Positions in flight with how many requests bring them.
        std::map<NodePosition, int> nodes;
    };
    std::uint64_t need(BlockIndex block, const Expected* expected = nullptr) const;

    // The positions that a need mask of this block names, lowest level first. They are also all that a request in
    // flight has to put into Expected: whatever path verifying the block makes known, nobody asks for a node of
    // it, because the sibling of each such node is known or expected and paths stop there.
    static std::vector<NodePosition> need_positions(BlockIndex block, std::uint64_t mask);

    // Verifies block_node against the newest head with the nodes given for mask (lowest level first; as many as
    // mask has bits). On success every node on the way is cached; given nodes above an ancestor that is known
    // already are compared, or verified where the path to the next known one is closed, else ignored. Errors, none
    // of which changes anything: bad_proof (a hash differs from what is known), malformed (count, or a level above
    // the peak), no_such_block (beyond the head), truncated (a sibling is neither known nor given yet).
    Status verify(BlockIndex block, const Hash& block_node, std::uint64_t mask, const std::vector<Hash>& nodes);

    // The children of a known node. False, and nothing changes, when they do not hash to it.
    bool split(NodePosition parent, const Hash& left, const Hash& right);

    std::size_t size() const { return nodes_.size(); }

private:
    struct PosHash {
        std::size_t operator()(const NodePosition& p) const noexcept {
            return std::hash<std::uint64_t>{}((std::uint64_t{p.level} << 32) | p.index);
        }
    };
    std::unordered_map<NodePosition, Hash, PosHash> nodes_;
    std::uint64_t covered_ = 0;
};

// The provider's side: the nodes that mask names for block, lowest level first, from what `node` gives.
// no_such_block when one is not complete under a head of head_blocks or not at hand; malformed when mask names a
// level at or above the block's peak (node bounds: a provider never sends nodes beyond the path).
template <class Lookup>  // std::optional<Hash>(NodePosition)
Result<std::vector<Hash>> collect_nodes(BlockIndex block, std::uint64_t mask, std::uint64_t head_blocks, Lookup node) {
    if (block.v >= head_blocks) return fail(Errc::no_such_block, "block beyond the head");
    const NodePosition peak = peak_of(block, head_blocks);
    if (mask >> peak.level != 0) return fail(Errc::malformed, "nodes above the peak asked for");
    std::vector<Hash> out;
    for (const NodePosition& p : NodeCache::need_positions(block, mask)) {
        std::optional<Hash> h = node(p);
        if (!h) return fail(Errc::no_such_block, "a node of the path is not held");
        out.push_back(*h);
    }
    return out;
}

}  // namespace mssl
