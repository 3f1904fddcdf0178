// Which block next? Lowest index inside the window of the readers, else the rarest of a sample (DESIGN 9).
//
// Thread rules: a value of its Download.
#pragma once

#include <functional>
#include <optional>

#include "protocol/bitmap.h"

namespace mssl {

class Picker {
public:
    // The same seed makes the same choices; members of one swarm must not share one, or they all ask for the same.
    explicit Picker(std::uint64_t seed) : state_(seed) {}

    struct Query {
        const Bitmap* taken = nullptr;            // not these
        const Bitmap* has = nullptr;              // of these; null: all
        std::uint64_t window_begin = 0;           // [begin, end): lowest index first
        std::uint64_t window_end = 0;
        std::uint64_t begin = 0;                  // no block before, and
        std::uint64_t end = 0;                    // none at or beyond
        bool window_only = false;                 // nothing outside the window
        std::function<bool(BlockIndex)> may;      // not refused by this source lately
        std::function<std::size_t(BlockIndex)> holders;  // how many sources have it
    };
    std::optional<BlockIndex> pick(const Query& q);

private:
    std::uint64_t random();
    std::uint64_t state_;
};

}  // namespace mssl
