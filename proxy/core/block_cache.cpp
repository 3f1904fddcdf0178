#include "proxy/core/block_cache.h"

#include <iterator>
#include <utility>

namespace mssl::proxy {

void BlockCache::take_out(Order::iterator at, Order& out) {
    bytes_ -= at->bytes;
    const auto object = objects_.find(at->object);
    object->second.erase(at->block.v);
    if (object->second.empty()) objects_.erase(object);
    out.splice(out.end(), order_, at);
}

void BlockCache::put(const ObjectId& object, BlockIndex block, Data data, std::size_t bytes) {
    Order gone;
    const std::lock_guard lock(mutex_);
    if (bytes > budget_) return;
    auto& blocks = objects_[object];
    if (blocks.contains(block.v)) return;
    order_.push_back({object, block, std::move(data), bytes});
    blocks.emplace(block.v, std::prev(order_.end()));
    bytes_ += bytes;
    while (bytes_ > budget_) take_out(order_.begin(), gone);
}

BlockCache::Data BlockCache::find(const ObjectId& object, BlockIndex block) {
    const std::lock_guard lock(mutex_);
    const auto blocks = objects_.find(object);
    if (blocks == objects_.end()) return nullptr;
    const auto at = blocks->second.find(block.v);
    if (at == blocks->second.end()) return nullptr;
    order_.splice(order_.end(), order_, at->second);
    return at->second->data;
}

void BlockCache::drop(const ObjectId& object) {
    Order gone;
    const std::lock_guard lock(mutex_);
    const auto blocks = objects_.find(object);
    if (blocks == objects_.end()) return;
    for (const auto& [_, at] : blocks->second) {
        bytes_ -= at->bytes;
        gone.splice(gone.end(), order_, at);
    }
    objects_.erase(blocks);
}

bool BlockCache::evict_one() {
    Order gone;
    const std::lock_guard lock(mutex_);
    if (order_.empty()) return false;
    take_out(order_.begin(), gone);
    return true;
}

std::size_t BlockCache::bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
}

}  // namespace mssl::proxy
