// Takes the chunked coding off (RFC 9112 §7.1), strictly: CRLF and nothing else ends a line, sizes are plain hexadecimal,
// extensions and trailers are bounded, checked and dropped.
//
//     size ──▶ (extension) ──▶ LF ──▶ data ──▶ CR, LF ──▶ size …
//                               └─ size 0 ──▶ trailer lines ──▶ empty line: end
#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/result.h"
#include "protocol/types.h"

namespace mssl::proxy {

// Over a whole message: nobody sends them for a reason that would need more, and a chunk of one byte with a long extension
// is a cheap attack on a reader's time.
inline constexpr std::size_t kMaxExtensionBytes = 16 * 1024;
inline constexpr std::size_t kMaxTrailerBytes = 16 * 1024;

class ChunkedDecoder {
public:
    enum class Event : std::uint8_t { need_more, data, end };
    // Consumes a prefix of input. data: piece is a non-empty part of input. Errors: malformed, too_large; then no more.
    Result<Event> feed(View input, std::size_t& consumed, View& piece);

private:
    enum class State : std::uint8_t { size_first, size, extension, size_lf, data, data_cr, data_lf,
                                      trailer_start, trailer_name, trailer_value, trailer_lf, end_lf, end };
    Status step(char c);
    Status end_of_size(char c);

    State state_ = State::size_first;
    unsigned digits_ = 0;
    std::uint64_t left_ = 0;
    std::size_t extension_bytes_ = 0;
    std::size_t trailer_bytes_ = 0;
};

}  // namespace mssl::proxy
