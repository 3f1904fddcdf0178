#include "protocol/tree_builder.h"

#include <algorithm>
#include <bit>
#include <exception>

namespace mssl {

TreeBuilder::TreeBuilder(std::uint32_t block_bytes) : block_bytes_(block_bytes) {
    if (!std::has_single_bit(block_bytes) || block_bytes < kMinBlockBytes || block_bytes > kMaxBlockBytes)
        std::terminate();
}

void TreeBuilder::feed(View bytes) {
    if (finished_) std::terminate();
    length_ += bytes.size();
    while (!bytes.empty()) {
        if (partial_.empty() && bytes.size() >= block_bytes_) {
            tree_.append(hash_block(bytes.first(block_bytes_)));
            bytes = bytes.subspan(block_bytes_);
            continue;
        }
        const std::size_t n = std::min(bytes.size(), block_bytes_ - partial_.size());
        partial_.insert(partial_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        bytes = bytes.subspan(n);
        if (partial_.size() == block_bytes_) {
            tree_.append(hash_block(partial_));
            partial_.clear();
        }
    }
}

void TreeBuilder::finish() {
    if (finished_) std::terminate();
    finished_ = true;
    if (!partial_.empty()) tree_.append(hash_block(partial_));
    partial_ = {};
}

}  // namespace mssl
