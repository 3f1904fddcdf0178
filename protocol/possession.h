// What a side has, in frames: a bitfield where one fits, else an empty one with HAVEs behind it. The one place that knows
// that objects of more than 2^20 blocks have no bitfield.
//
// Thread rules: functions.
#pragma once

#include <vector>

#include "protocol/bitmap.h"
#include "protocol/frame.h"

namespace mssl {

// The whole bitmap, or empty where it is longer than a frame may have.
Bytes wire_bitfield(const Bitmap& have);
// Empty means: none yet. Else as Bitmap::from_wire.
Result<Bitmap> parse_bitfield(View bits, std::uint64_t blocks);
// OPENED, and what it cannot say. Of an object in very many pieces not all is told: HAVEs have to fit a session's queue.
std::vector<ControlFrame> opened_frames(Handle handle, const Bitmap& have);

}  // namespace mssl
