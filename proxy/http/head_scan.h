// What a head must be before any grammar looks at it: each rule here is a way in which two programs on one path were once
// made to see two different messages in the same bytes (request smuggling, RFC 9112 §11.2). Nothing is repaired: what is
// not exactly right is malformed, with the reason.
//
// Pure functions.
#pragma once

#include <optional>
#include <string_view>

#include "protocol/result.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

enum class HeadKind : std::uint8_t { request, response };

// What the scan learns on its way, and what alone decides the framing.
struct HeadFacts {
    std::uint8_t minor = 1;
    std::size_t fields = 0;
    bool chunked = false;
    std::optional<std::uint64_t> content_length;
};

// Why c may not follow prev in a head (CR without LF, LF without CR, NUL and other controls), or nothing. Said byte by byte,
// so that a connection that will never send a proper end of its head is refused at once.
std::optional<std::string_view> forbidden_in_head(char prev, char c);

// head: start line, fields and the empty line, complete, with no empty line before it. Errors: malformed; too_large for more
// than kMaxFields fields.
Result<HeadFacts> scan_head(std::string_view head, HeadKind kind);

}  // namespace mssl::proxy
