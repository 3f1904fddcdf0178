// What blocks on their way to other members may hold of the buffer pool, for the whole host: who takes and does not read must not
// take the buffers of those that download here.
//
// Thread rules: any thread.
#pragma once

#include <atomic>
#include <memory>

namespace mssl::proxy {

class UploadMemory final : public std::enable_shared_from_this<UploadMemory> {
public:
    explicit UploadMemory(std::size_t limit) : limit_(limit) {}
    // Room until the last copy goes; null: there is none now.
    std::shared_ptr<void> take(std::size_t bytes) {
        if (used_.fetch_add(bytes) + bytes > limit_) {
            used_.fetch_sub(bytes);
            return nullptr;
        }
        return {this, [self = shared_from_this(), bytes](void*) { self->used_.fetch_sub(bytes); }};
    }
    std::size_t used() const { return used_; }

private:
    const std::size_t limit_;
    std::atomic<std::size_t> used_{0};
};

}  // namespace mssl::proxy
