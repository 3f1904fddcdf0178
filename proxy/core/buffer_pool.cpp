#include "proxy/core/buffer_pool.h"

#include <array>
#include <mutex>
#include <vector>

namespace mssl::proxy {
namespace {

// The block sizes of DESIGN 2.
constexpr std::array<std::size_t, 3> kClasses = {64 * 1024, 128 * 1024, 256 * 1024};
// Idle buffers kept for the next block; what is beyond goes back to the system after a burst.
constexpr std::size_t kMaxIdle = std::size_t{16} << 20;

}  // namespace

struct BufferPool::State {
    using Buffer = std::unique_ptr<std::uint8_t[]>;

    explicit State(std::size_t max) : limit(max) {}

    void take_back(Buffer buffer, std::size_t size_class) {
        in_use.fetch_sub(kClasses[size_class], std::memory_order_relaxed);
        const std::lock_guard lock(mutex);
        if (idle_bytes + kClasses[size_class] > kMaxIdle) return;
        idle_bytes += kClasses[size_class];
        idle[size_class].push_back(std::move(buffer));
    }

    const std::size_t limit;
    std::atomic<std::size_t> in_use{0};
    std::mutex mutex;
    std::size_t idle_bytes = 0;
    std::array<std::vector<Buffer>, kClasses.size()> idle;
};

BufferPool::BufferPool(std::size_t limit) : state_(std::make_shared<State>(limit)) {}

BufferPool::~BufferPool() = default;

std::shared_ptr<std::uint8_t[]> BufferPool::get(std::size_t bytes) {
    std::size_t c = 0;
    while (c < kClasses.size() && bytes > kClasses[c]) ++c;
    if (c == kClasses.size()) return nullptr;

    // Reserved first, so that threads that ask at once cannot pass the limit together.
    const std::size_t before = state_->in_use.fetch_add(kClasses[c], std::memory_order_relaxed);
    if (before + kClasses[c] > state_->limit) {
        state_->in_use.fetch_sub(kClasses[c], std::memory_order_relaxed);
        return nullptr;
    }
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
            [state = state_, c](std::uint8_t* p) { state->take_back(State::Buffer(p), c); }};
}

std::size_t BufferPool::in_use() const { return state_->in_use.load(std::memory_order_relaxed); }

}  // namespace mssl::proxy
