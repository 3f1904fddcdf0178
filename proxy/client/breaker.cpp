#include "proxy/client/breaker.h"

#include <algorithm>
#include <chrono>

namespace mssl::proxy {
namespace {

constexpr Duration kFirstPause = std::chrono::seconds(5);
constexpr Duration kCheap = std::chrono::seconds(1);
constexpr unsigned kMostDoublings = 3;  // 40 s

Duration pause_after(unsigned failures) { return kFirstPause * (1U << std::min(failures - 1, kMostDoublings)); }

}  // namespace

bool Breaker::admit(MonoTime now) {
    const std::lock_guard lock(mutex_);
    if (failures_ == 0) return true;
    if (now < retry_at_) return false;
    // One that never reports, because its application went away, must not keep the way shut: the next follows a pause later.
    retry_at_ = now + pause_after(failures_);
    return true;
}

void Breaker::succeeded(MonoTime now) {
    const std::lock_guard lock(mutex_);
    failures_ = 0;
    failed_at_.reset();
    last_success_ = now;
}

void Breaker::failed(MonoTime begun, MonoTime now) {
    const std::lock_guard lock(mutex_);
    if (last_success_ && *last_success_ >= begun) return;
    // Who is refused at once lost nothing, and may find a server that was only started anew.
    if (now - begun < kCheap) return;
    // Requests that were all under way when the server went are one failure.
    if (failed_at_ && begun < *failed_at_) return;
    ++failures_;
    failed_at_ = now;
    retry_at_ = now + pause_after(failures_);
}

}  // namespace mssl::proxy
