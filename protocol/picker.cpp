#include "protocol/picker.h"

#include <algorithm>

namespace mssl {

namespace {

// Rarest of so many candidates, from a random place on: exact for small objects, and for large ones a sample tells
// rare from common just as well, at a cost that does not grow with the object.
constexpr int kSample = 64;
// Bound of one search over two interleaved sets; the next one starts elsewhere.
constexpr int kMaxSteps = 4096;

std::uint64_t first_wanted(const Picker::Query& q, std::uint64_t from, std::uint64_t end, int& steps) {
    while (from < end && steps-- > 0) {
        from = q.taken->next_clear(from);
        if (from >= end) return end;
        if (q.has != nullptr) {
            const std::uint64_t next = q.has->next_set(from);
            if (next != from) {
                from = next;
                continue;
            }
        }
        if (!q.may || q.may(BlockIndex{static_cast<std::uint32_t>(from)})) return from;
        ++from;
    }
    return end;
}

}  // namespace

// SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t Picker::random() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

std::optional<BlockIndex> Picker::pick(const Query& q) {
    int steps = kMaxSteps;
    const std::uint64_t window_end = std::min(q.window_end, q.end);
    if (const std::uint64_t i = first_wanted(q, q.window_begin, window_end, steps); i < window_end)
        return BlockIndex{static_cast<std::uint32_t>(i)};
    if (q.window_only || q.end <= q.begin) return std::nullopt;

    const std::uint64_t start = q.begin + random() % (q.end - q.begin);
    std::optional<BlockIndex> best;
    std::size_t fewest = 0;
    std::uint64_t ties = 0;
    int seen = 0;
    steps = kMaxSteps;
    const auto sweep = [&](std::uint64_t from, std::uint64_t end) {
        for (std::uint64_t i = first_wanted(q, from, end, steps); i < end && seen < kSample;
             i = first_wanted(q, i + 1, end, steps)) {
            ++seen;
            const BlockIndex b{static_cast<std::uint32_t>(i)};
            const std::size_t holders = q.holders ? q.holders(b) : 0;
            if (!best || holders < fewest) {
                best = b;
                fewest = holders;
                ties = 1;
            } else if (holders == fewest && random() % ++ties == 0) {
                best = b;
            }
        }
    };
    sweep(start, q.end);
    sweep(q.begin, start);
    return best;
}

}  // namespace mssl
