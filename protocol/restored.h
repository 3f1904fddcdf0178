// What a store says of an object's tree, not believed yet. Stores keep the nodes of blocks and nothing above; the inner
// ones are computed here, once, and become known as soon as one of them meets a node that is: disks rot.
//
// Thread rules: a value of its Download.
#pragma once

#include <map>
#include <vector>

#include "protocol/merkle.h"

namespace mssl {

class RestoredNodes {
public:
    // Adds what the store has, and every inner node whose children are there.
    void add(const std::vector<std::pair<NodePosition, Hash>>& nodes);
    // Looks at every node: after add().
    void confirm(NodeCache& cache);
    // Looks at the peaks alone: after a new head.
    void confirm_peaks(NodeCache& cache);
    // Looks at what a block that verified made known: its path and the nodes beside it.
    void confirm_path(BlockIndex block, NodeCache& cache);

private:
    // What lies under p becomes known where p itself is, and equals. Done with either way: where it differs, something
    // under it is wrong, and smaller parts are looked at when they are known.
    void descend(NodePosition p, NodeCache& cache);
    std::map<NodePosition, Hash> nodes_;
};

}  // namespace mssl
