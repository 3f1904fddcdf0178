// What waits to be written to an application: nothing, as long as its socket takes all.
//
// Thread rules: the connection's loop.
#pragma once

#include "proxy/core/stream.h"

namespace mssl::proxy {

class AppOutput {
public:
    // Straight to the socket where nothing waits before it; the rest is kept, and the stream asked for on_writable. True: some
    // of it left.
    bool put(Stream& stream, View bytes);
    // Writes what waits. True: some of it left. An error is the stream's handler's to hear.
    bool flush(Stream& stream);
    std::size_t waiting() const { return bytes_.size() - at_; }
    bool empty() const { return waiting() == 0; }

private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace mssl::proxy
