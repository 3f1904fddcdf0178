#include "proxy/core/buffer_pool.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

namespace mssl::proxy {
namespace {

// The block sizes of DESIGN 2.
constexpr std::array<std::size_t, 3> kClasses = {64 * 1024, 128 * 1024, 256 * 1024};
// Idle buffers kept for the next block; what is beyond goes back to the system after a burst.
constexpr std::size_t kMaxIdle = std::size_t{16} << 20;
// What a large download adds to a process shall stay below 64 MiB, and there is more than its recent blocks.
constexpr std::size_t kMostCached = std::size_t{32} << 20;

}  // namespace

struct BufferPool::State {
    using Buffer = std::unique_ptr<std::uint8_t[]>;

    explicit State(std::size_t max) : limit(max) {}

    std::atomic<std::size_t>& used_by(Use use) { return by_use[static_cast<std::size_t>(use)]; }

    // Before anything is taken, so that threads that ask at once cannot pass a limit together.
    bool reserve(std::size_t bytes, Use use, std::size_t most) {
        const bool fits = in_use.fetch_add(bytes, std::memory_order_relaxed) + bytes <= limit;
        const bool own = used_by(use).fetch_add(bytes, std::memory_order_relaxed) + bytes <= most;
        if (fits && own) return true;
        give_up(bytes, use);
        return false;
    }
    void give_up(std::size_t bytes, Use use) {
        in_use.fetch_sub(bytes, std::memory_order_relaxed);
        used_by(use).fetch_sub(bytes, std::memory_order_relaxed);
    }

    void take_back(Buffer buffer, std::size_t size_class, Use use) {
        give_up(kClasses[size_class], use);
        const std::lock_guard lock(mutex);
        if (idle_bytes + kClasses[size_class] > kMaxIdle) return;
        idle_bytes += kClasses[size_class];
        idle[size_class].push_back(std::move(buffer));
    }

    const std::size_t limit;
    std::atomic<std::size_t> in_use{0};
    std::array<std::atomic<std::size_t>, 2> by_use{};
    std::mutex mutex;
    std::size_t idle_bytes = 0;
    std::array<std::vector<Buffer>, kClasses.size()> idle;
};

BufferPool::BufferPool(std::size_t limit) : state_(std::make_shared<State>(limit)), cache_(std::make_shared<BlockCache>(std::min(limit / 4, kMostCached))) {}

BufferPool::~BufferPool() = default;

std::shared_ptr<std::uint8_t[]> BufferPool::get(std::size_t bytes) { return get(bytes, Use::transfer); }

std::shared_ptr<std::uint8_t[]> BufferPool::get(std::size_t bytes, Use use) {
    std::size_t c = 0;
    while (c < kClasses.size() && bytes > kClasses[c]) ++c;
    if (c == kClasses.size()) return nullptr;

    const bool sharing = sharing_.load(std::memory_order_relaxed);
    const std::size_t most = sharing ? state_->limit - state_->limit / 4 : state_->limit;
    while (!state_->reserve(kClasses[c], use, most))
        if (!cache_->evict_one()) return nullptr;
    State::Buffer buffer;
    {
        const std::lock_guard lock(state_->mutex);
        if (auto& idle = state_->idle[c]; !idle.empty()) {
            buffer = std::move(idle.back());
            idle.pop_back();
            state_->idle_bytes -= kClasses[c];
        }
    }
    if (!buffer) buffer = std::make_unique_for_overwrite<std::uint8_t[]>(kClasses[c]);
    return {buffer.release(),
            [state = state_, c, use](std::uint8_t* p) { state->take_back(State::Buffer(p), c, use); }};
}

std::size_t BufferPool::limit() const { return state_->limit; }

std::size_t BufferPool::in_use() const { return state_->in_use.load(std::memory_order_relaxed); }

}  // namespace mssl::proxy
