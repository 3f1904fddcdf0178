#include "protocol/restored.h"

namespace mssl {

void RestoredNodes::add(const std::vector<std::pair<NodePosition, Hash>>& nodes) {
    nodes_.insert(nodes.begin(), nodes.end());
    // In the map's order: level by level, so parents come after the pair that makes them.
    for (auto left = nodes_.begin(); left != nodes_.end(); ++left) {
        if (left->first.index % 2 != 0) continue;
        const auto right = std::next(left);
        if (right == nodes_.end() || right->first != left->first.sibling()) continue;
        if (!nodes_.contains(left->first.parent()))
            nodes_.emplace(left->first.parent(), hash_node(left->second, right->second));
    }
}

void RestoredNodes::confirm(NodeCache& cache) {
    // From the top: most are done with at the first, a peak.
    std::vector<NodePosition> known;
    for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it)
        if (cache.knows(it->first)) known.push_back(it->first);
    for (const NodePosition p : known) descend(p, cache);
}

void RestoredNodes::confirm_peaks(NodeCache& cache) {
    if (nodes_.empty()) return;
    for (const NodePosition p : peak_positions(cache.covered_blocks())) descend(p, cache);
}

void RestoredNodes::confirm_path(BlockIndex block, NodeCache& cache) {
    if (nodes_.empty() || block.v >= cache.covered_blocks()) return;
    const NodePosition peak = peak_of(block, cache.covered_blocks());
    for (NodePosition p{0, block.v}; p.level < peak.level; p = p.parent()) {
        descend(p, cache);
        descend(p.sibling(), cache);
    }
}

void RestoredNodes::descend(NodePosition from, NodeCache& cache) {
    std::vector<NodePosition> open;
    open.push_back(from);
    while (!open.empty()) {
        const NodePosition p = open.back();
        open.pop_back();
        const auto claim = nodes_.find(p);
        if (claim == nodes_.end() || !cache.knows(p)) continue;
        const bool equal = cache.node(p) == claim->second;
        nodes_.erase(claim);
        if (!equal || p.level == 0) continue;
        const NodePosition left{static_cast<std::uint8_t>(p.level - 1), p.index * 2};
        // A child may be known, and done with, already: as a peak of a smaller head.
        const auto child = [&](NodePosition at) {
            const auto it = nodes_.find(at);
            return it == nodes_.end() ? cache.node(at) : std::optional(it->second);
        };
        const std::optional<Hash> l = child(left), r = child(left.sibling());
        if (!l || !r || !cache.split(p, *l, *r)) continue;
        open.push_back(left);
        open.push_back(left.sibling());
    }
}

}  // namespace mssl
