// What every part of the daemon runs on; owned by main, outlives the parts.
#pragma once

#include "proxy/core/buffer_pool.h"
#include "proxy/core/loop.h"
#include "proxy/core/workers.h"

namespace mssl::proxy {

struct Runtime {
    LoopGroup& loops;
    Workers& workers;
    BufferPool& buffers;
};

}  // namespace mssl::proxy
