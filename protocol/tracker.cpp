#include "protocol/tracker.h"

#include <algorithm>

namespace mssl {

Pending* Tracker::find(BlockIndex block) {
    const auto it = pending_.find(block.v);
    return it == pending_.end() ? nullptr : &it->second;
}

Pending& Tracker::open(BlockIndex block) {
    taken_.set(block);
    return pending_[block.v];
}

void Tracker::done(BlockIndex block) {
    const auto it = pending_.find(block.v);
    if (it == pending_.end()) return;
    forget_brought(it->second);
    pending_.erase(it);
}

void Tracker::release(BlockIndex block) {
    done(block);
    taken_.clear(block);
}

void Tracker::forget_brought(Pending& p) {
    for (const NodePosition& at : p.brings) {
        const auto it = expected_.nodes.find(at);
        if (it != expected_.nodes.end() && --it->second == 0) expected_.nodes.erase(it);
    }
    if (!p.brings.empty()) changed_ = true;
    p.brings.clear();
}

std::uint64_t Tracker::plan_nodes(BlockIndex block, const NodeCache& cache) {
    Pending& p = open(block);
    forget_brought(p);
    const std::uint64_t mask = cache.need(block, &expected_);
    set_brought(block, cache, mask);
    return mask;
}

void Tracker::set_brought(BlockIndex block, const NodeCache& cache, std::uint64_t mask) {
    Pending& p = open(block);
    forget_brought(p);
    if (block.v >= cache.covered_blocks()) return;
    const NodePosition peak = peak_of(block, cache.covered_blocks());
    for (NodePosition at{0, block.v}; at.level <= peak.level; at = at.parent()) {
        if (cache.knows(at) || expected_.nodes.contains(at)) break;
        p.brings.push_back(at);
        if (at.level < peak.level && ((mask >> at.level) & 1) != 0) p.brings.push_back(at.sibling());
    }
    for (const NodePosition& at : p.brings) ++expected_.nodes[at];
}

std::optional<NodePosition> Tracker::missing(BlockIndex block, const NodeCache& cache, std::uint64_t mask) {
    const std::uint64_t need = cache.need(block) & ~mask;
    if (need == 0) return std::nullopt;
    for (NodePosition at{0, block.v};; at = at.parent())
        if (((need >> at.level) & 1) != 0) return at.sibling();
}

bool Tracker::expected_from_other(NodePosition at, BlockIndex block) const {
    const auto it = expected_.nodes.find(at);
    if (it == expected_.nodes.end()) return false;
    const auto own = pending_.find(block.v);
    const long mine = own == pending_.end() ? 0 : std::count(own->second.brings.begin(), own->second.brings.end(), at);
    return it->second > mine;
}

}  // namespace mssl
