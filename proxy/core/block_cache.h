// Blocks that may be wanted again soon, of all objects together: a cache, never a reservation. Whoever needs its memory takes it
// (BufferPool::get), the longest unused first.
//
// Thread rules: any thread. Buffers are let go of outside the lock: giving one back may run anything.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "protocol/types.h"

namespace mssl::proxy {

class BlockCache {
public:
    using Data = std::shared_ptr<const std::uint8_t[]>;
    // budget: bytes kept at most.
    explicit BlockCache(std::size_t budget) : budget_(budget) {}

    void put(const ObjectId& object, BlockIndex block, Data data, std::size_t bytes);
    // Null: not here (any more). What is found is used.
    Data find(const ObjectId& object, BlockIndex block);
    // All blocks of an object.
    void drop(const ObjectId& object);
    // Lets go of the longest unused block; false: there is none.
    bool evict_one();
    std::size_t bytes() const;

private:
    struct Entry {
        ObjectId object;
        BlockIndex block;
        Data data;
        std::size_t bytes;
    };
    using Order = std::list<Entry>;
    void take_out(Order::iterator at, Order& out);

    const std::size_t budget_;
    mutable std::mutex mutex_;
    Order order_;  // longest unused first
    std::unordered_map<ObjectId, std::unordered_map<std::uint32_t, Order::iterator>, FixedBytesHash> objects_;
    std::size_t bytes_ = 0;
};

}  // namespace mssl::proxy
