#include "protocol/source.h"

#include <algorithm>
#include <cmath>

namespace mssl {

namespace {

// Per source; a cancel that nothing ever answers stays here until newer ones push it out.
constexpr std::size_t kMaxCancelled = 1024;

double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

}  // namespace

void RateMeter::busy(MonoTime now) {
    if (busy_) return;
    busy_ = true;
    began_ = now;
}

void RateMeter::idle(MonoTime now) {
    tick(now);
    spent_ = spent(now);
    busy_ = false;
}

void RateMeter::add(MonoTime now, std::uint64_t bytes) {
    bytes_ += bytes;
    tick(now);
}

void RateMeter::tick(MonoTime now) {
    const Duration took = spent(now);
    if (took < kWindow) return;
    const double sample = static_cast<double>(bytes_) / seconds(took);
    // A sample counts by the time that it saw: half after five windows.
    const double weight = 1 - std::pow(0.5, seconds(took) / seconds(5 * kWindow));
    rate_ = known_ ? rate_ + weight * (sample - rate_) : sample;
    known_ = true;
    spent_ = Duration{0};
    began_ = now;
    bytes_ = 0;
}

bool Source::forgive_cancelled(BlockIndex block) {
    const auto it = std::find(cancelled.begin(), cancelled.end(), block.v);
    if (it == cancelled.end()) return false;
    cancelled.erase(it);
    return true;
}

void Source::remember_cancelled(BlockIndex block) {
    cancelled.push_back(block.v);
    if (cancelled.size() > kMaxCancelled) cancelled.pop_front();
}

bool Source::refuses(BlockIndex block, MonoTime now) const {
    const auto it = refused.find(block.v);
    return it != refused.end() && now < it->second;
}

void Source::discard(BlockIndex block) {
    const auto it = incoming.find(block.v);
    if (it == incoming.end()) return;
    it->second.discard = true;
    it->second.nodes.clear();
    it->second.buffer.reset();
}

std::size_t Source::pipeline(std::uint32_t block_bytes, Duration slack, std::size_t limit) const {
    const double ahead = std::ceil(meter.rate() * seconds(min_rtt + slack) / block_bytes);
    const auto wanted = static_cast<std::size_t>(std::min(ahead, 1e6)) + 1;
    return std::clamp<std::size_t>(wanted, 2, std::max<std::size_t>(limit, 2));
}

}  // namespace mssl
