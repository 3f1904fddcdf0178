#include "protocol/possession.h"

#include <algorithm>

namespace mssl {

namespace {

// 512 KiB: half of what may wait in a session for somebody who reads slowly (Session::kMaxControlQueue).
constexpr std::size_t kMaxFrames = 64;

bool fits(std::uint64_t blocks) { return blocks / 8 + (blocks % 8 != 0 ? 1 : 0) <= kMaxBitfieldBytes; }

}  // namespace

Bytes wire_bitfield(const Bitmap& have) { return fits(have.size()) ? have.to_wire() : Bytes{}; }

Result<Bitmap> parse_bitfield(View bits, std::uint64_t blocks) {
    if (bits.empty()) return Bitmap(blocks);
    return Bitmap::from_wire(bits, blocks);
}

std::vector<ControlFrame> opened_frames(Handle handle, const Bitmap& have) {
    std::vector<ControlFrame> out;
    out.emplace_back(Opened{handle, have.size(), wire_bitfield(have)});
    if (fits(have.size())) return out;
    const std::vector<BlockRange> ranges = have.ranges(kMaxFrames * kMaxHaveRanges);
    for (std::size_t at = 0; at < ranges.size(); at += kMaxHaveRanges) {
        const auto first = ranges.begin() + static_cast<std::ptrdiff_t>(at);
        const auto n = static_cast<std::ptrdiff_t>(std::min(kMaxHaveRanges, ranges.size() - at));
        out.emplace_back(Have{handle, std::vector<BlockRange>(first, first + n)});
    }
    return out;
}

}  // namespace mssl
