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
    Workers& names = workers;  // looks names up: a DNS that does not answer keeps a thread for half a minute
};

}  // namespace mssl::proxy
