// Frames content on the wire: by length, chunked, or until close (RFC 9112 §6, §7.1).
#pragma once

#include <array>

#include "protocol/result.h"
#include "protocol/types.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

// What goes around one piece: write before, the piece itself, after. No copy of the piece.
class BodyWriter {
public:
    struct Frame {
        std::string_view before;  // valid until the next call
        std::string_view after;   // static
    };
    BodyWriter() = default;
    BodyWriter(BodyKind kind, std::uint64_t length) : kind_(kind), left_(length) {}

    // too_large when piece goes beyond the length; unexpected for BodyKind::none. An empty piece frames to nothing.
    Result<Frame> frame(std::size_t piece_bytes);
    // The last chunk, or nothing. truncated when bytes of the length are missing.
    Result<std::string_view> end() const;
    BodyKind kind() const { return kind_; }
    std::uint64_t left() const { return left_; }  // of a length

private:
    BodyKind kind_ = BodyKind::none;
    std::uint64_t left_ = 0;
    std::array<char, 20> prefix_{};
};

}  // namespace mssl::proxy
