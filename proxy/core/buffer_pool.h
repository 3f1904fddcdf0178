// One pool of block buffers for the whole program: bounded, reused, shared by reference (DESIGN 4).
#pragma once

#include <atomic>
#include <memory>

#include "protocol/download.h"

namespace mssl::proxy {

// Thread rules: any thread; the last reference may be dropped in any thread.
class BufferPool final : public BlockBuffers {
public:
    // limit: bytes out at once, over which get() returns null.
    explicit BufferPool(std::size_t limit);
    ~BufferPool() override;
    // A buffer of the size class (64, 128, 256 KiB) that holds bytes; null over the limit.
    std::shared_ptr<std::uint8_t[]> get(std::size_t bytes) override;
    std::size_t in_use() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace mssl::proxy
