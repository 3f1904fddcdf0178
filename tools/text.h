// What people read and type: sizes, times, words. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/types.h"

namespace mssl::tools {

// "512 B", "1.5 KiB", "32.0 MiB".
std::string size_text(std::uint64_t bytes);
// "1.5 MiB/s"; less than a byte a second is "0 B/s".
std::string rate_text(double bytes_a_second);
// "7 s", "3:05", "2:03:04", "5 days". Negative or more than a year: "?".
std::string duration_text(double seconds);
// "2026-11-23T12:00:00Z" (ISO 8601, UTC).
std::string iso_time(WallTime time);
// The inverse of iso_time, of exactly that form.
std::optional<WallTime> parse_iso_time(std::string_view text);

// Text of strangers for a terminal: control characters, DEL and bytes that are not UTF-8 become \xNN. Whoever names a
// file or sends a header field moves no cursor of ours.
std::string printable(std::string_view text);

// The word that text is most likely a slip of the pen of; empty when none is near.
std::string_view nearest_word(std::string_view text, const std::vector<std::string_view>& words);

}  // namespace mssl::tools
