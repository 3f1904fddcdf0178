// Bytes of a hosted object from its origin again: Range and If-Range under the original Host (DESIGN 3: "later reads").
//
// What comes out is what the origin says now and is verified by nobody here: the caller checks every block against its own tree
// before it goes anywhere.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "protocol/objects.h"
#include "proxy/core/loop.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

class RangeReader {
public:
    virtual ~RangeReader() = default;
    // At most this many blocks a call: 4 MiB of the largest.
    static constexpr std::uint32_t kMaxRun = 16;

    // Fields that go with every request from now on. Any thread.
    virtual void authorize(std::vector<HeaderField> fields) = 0;

    // Blocks [first, first + count), 1 ≤ count ≤ kMaxRun, within the object. done runs once, in loop, with one buffer a block
    // (block_length bytes each). Errors: withdrawn — the origin no longer has this representation (200 instead of 206, another
    // validator, another length; or does not give it to this server): withdraw the object; busy (no buffers), unreachable, timed_out, reset, … — try again later.
    // Any thread; loop may be any of the group's.
    virtual void read(BlockIndex first, std::uint32_t count, Loop& loop,
                      std::function<void(Result<std::vector<BlockData>>)> done) = 0;
};

}  // namespace mssl::proxy
