// Whether the other side of a Wire reads what it asked for: who does not holds block buffers that others wait for. PINGs that it
// sends meanwhile are no reading.
//
// Thread rules: the Wire's loop.
#pragma once

#include "proxy/core/wire.h"

namespace mssl::proxy {

class OutputWatch {
public:
    // wire outlives it, or stop() comes before its end. limit: with blocks queued and none of their bytes taken.
    OutputWatch(Wire& wire, Duration limit) : wire_(&wire), limit_(limit), timer_(wire.loop(), [this] { look(); }) {}
    // A block was queued.
    void queued() {
        if (timer_.running()) return;
        output_ = wire_->stream().bytes_out();
        moved_ = wire_->loop().now();
        timer_.start(limit_ / 4);
    }
    void stop() { timer_.stop(); }

private:
    void look() {
        if (wire_->queued_data() == 0) return;
        const std::uint64_t output = wire_->stream().bytes_out();
        if (output != output_) {
            output_ = output;
            moved_ = wire_->loop().now();
        } else if (wire_->loop().now() - moved_ >= limit_) {
            return wire_->fail(Errc::timed_out, "nothing is read");
        }
        timer_.start(limit_ / 4);
    }
    Wire* wire_;
    Duration limit_;
    Timer timer_;
    std::uint64_t output_ = 0;
    MonoTime moved_{};
};

}  // namespace mssl::proxy
