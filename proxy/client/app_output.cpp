#include "proxy/client/app_output.h"

namespace mssl::proxy {

bool AppOutput::put(Stream& stream, View bytes) {
    bool moved = false;
    while (empty() && !bytes.empty()) {
        const Result<std::size_t> n = stream.write(bytes);
        if (!n) break;
        moved = true;
        bytes = bytes.subspan(*n);
    }
    if (bytes.empty()) return moved;
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    stream.want_write(true);
    return moved;
}

bool AppOutput::flush(Stream& stream) {
    bool moved = false;
    while (!empty()) {
        const Result<std::size_t> n = stream.write(View(bytes_).subspan(at_));
        if (!n) return moved;
        moved = true;
        at_ += *n;
    }
    bytes_ = Bytes();  // a connection that waits holds no buffer
    at_ = 0;
    stream.want_write(false);
    return moved;
}

}  // namespace mssl::proxy
