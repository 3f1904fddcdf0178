// The upload limit of one host: a token bucket that all loops share (DESIGN 9: limit and off are the user's).
//
// Thread rules: any thread.
#pragma once

#include <algorithm>
#include <mutex>

#include "protocol/types.h"

namespace mssl::proxy {

class RateLimit {
public:
    // Bytes a second; 0 = no limit.
    explicit RateLimit(std::uint64_t rate) : rate_(rate) {}
    void set_rate(std::uint64_t rate) {
        const std::lock_guard lock(mutex_);
        rate_ = rate;
    }
    // Takes bytes: zero when they may go now; else nothing was taken, and the wait after which to ask again.
    Duration take(std::uint64_t bytes, MonoTime now) {
        const std::lock_guard lock(mutex_);
        if (rate_ == 0) return Duration::zero();
        const double elapsed = std::chrono::duration<double>(now - last_).count();
        last_ = now;
        const double rate = static_cast<double>(rate_);
        // One largest block of burst, or the bucket could never hold it; else 50 ms.
        const double burst = std::max(double{kMaxBlockBytes}, rate / 20);
        level_ = std::min(burst, level_ + elapsed * rate);
        const double want = static_cast<double>(bytes);
        if (level_ >= want) {
            level_ -= want;
            return Duration::zero();
        }
        return std::chrono::duration_cast<Duration>(std::chrono::duration<double>((want - level_) / rate)) + Duration(1);
    }

private:
    std::mutex mutex_;
    std::uint64_t rate_;
    double level_ = 0;
    MonoTime last_{};
};

}  // namespace mssl::proxy
