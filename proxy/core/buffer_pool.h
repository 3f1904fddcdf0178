// One pool of block buffers for the whole program: bounded, reused, shared by reference (DESIGN 4).
#pragma once

#include <atomic>
#include <memory>

#include "protocol/download.h"
#include "proxy/core/block_cache.h"

namespace mssl::proxy {

// Thread rules: any thread; the last reference may be dropped in any thread.
// Where the program reads origins for new objects, those reads and all else share the pool: neither gets more than three quarters,
// so that the other always goes on. What the cache holds belongs to whoever asks.
class BufferPool final : public BlockBuffers {
public:
    enum class Use : std::uint8_t { transfer, cold_read };
    // limit: bytes out at once, over which get() returns null.
    explicit BufferPool(std::size_t limit);
    ~BufferPool() override;
    // A buffer of the size class (64, 128, 256 KiB) that holds bytes; null over the limit.
    std::shared_ptr<std::uint8_t[]> get(std::size_t bytes) override;
    std::shared_ptr<std::uint8_t[]> get(std::size_t bytes, Use use);
    // From here on a quarter is kept for each use.
    void share() { sharing_.store(true, std::memory_order_relaxed); }
    // At most a quarter of the pool, or 32 MiB.
    const std::shared_ptr<BlockCache>& cache() { return cache_; }
    std::size_t limit() const;
    std::size_t in_use() const;

private:
    struct State;
    std::shared_ptr<State> state_;
    std::atomic<bool> sharing_{false};
    std::shared_ptr<BlockCache> cache_;  // not in State, which its buffers hold
};

}  // namespace mssl::proxy
