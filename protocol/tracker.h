// The request tracker of one Download: which blocks are on the way or here but not yet verified, from whom, and which
// nodes of the tree they will bring (so that nobody else is asked for the same).
//
// Thread rules: a value of its Download.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/bitmap.h"
#include "protocol/download.h"
#include "protocol/merkle.h"

namespace mssl {

// Unverified nodes that somebody sent for a block.
struct Proof {
    SourceId from;
    std::uint64_t mask = 0;
    std::vector<Hash> nodes;
    std::uint64_t head_blocks = 0;  // waits for this head
};

// A block's data, complete and not verified.
struct Held {
    SourceId from;
    std::shared_ptr<std::uint8_t[]> buffer;
    std::uint32_t length = 0;
    Hash hash;
    MonoTime since{};
    bool alone = false;  // must verify with nodes of its own source, or that source lied
};

struct Pending {
    std::vector<SourceId> sources;             // asked for the data by number, or giving it
    std::optional<Held> held;
    std::optional<Proof> proof;
    std::optional<SourceId> nodes_from;        // nodes_only is outstanding there
    std::vector<SourceId> nodes_tried;
    std::vector<NodePosition> brings;          // nodes that verifying it will make known
};

class Tracker {
public:
    explicit Tracker(std::uint64_t blocks) : taken_(blocks) {}

    Pending* find(BlockIndex block);
    const std::map<std::uint32_t, Pending>& all() const { return pending_; }
    // Makes the entry if there is none; the block is taken from now on.
    Pending& open(BlockIndex block);
    // Verified: stays taken.
    void done(BlockIndex block);
    // Nobody will bring it: may be asked for again.
    void release(BlockIndex block);
    // Blocks that nobody has to be asked for: verified, held, or on the way.
    const Bitmap& taken() const { return taken_; }
    void mark_done(BlockIndex block) { taken_.set(block); }
    std::map<std::uint32_t, Pending>& all() { return pending_; }

    // The mask to ask for with block, given what all other pending blocks bring; remembers what it brings itself.
    std::uint64_t plan_nodes(BlockIndex block, const NodeCache& cache);
    // The block brings these nodes without having been asked for them (given with its path).
    void set_brought(BlockIndex block, const NodeCache& cache, std::uint64_t mask);
    // What is still missing to verify block with its proof: a position that is neither cached, nor in the proof.
    static std::optional<NodePosition> missing(BlockIndex block, const NodeCache& cache, std::uint64_t mask);
    // Whether another pending block will bring it.
    bool expected_from_other(NodePosition p, BlockIndex block) const;

    // True once after nodes that others rely on were lost or verified.
    bool take_changed() { return std::exchange(changed_, false); }
    void touch() { changed_ = true; }

private:
    void forget_brought(Pending& p);
    NodeCache::Expected expected_;
    std::map<std::uint32_t, Pending> pending_;
    Bitmap taken_;
    bool changed_ = false;
};

}  // namespace mssl
