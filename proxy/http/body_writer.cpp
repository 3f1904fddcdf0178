#include "proxy/http/body_writer.h"

#include <charconv>

namespace mssl::proxy {

Result<BodyWriter::Frame> BodyWriter::frame(std::size_t piece_bytes) {
    if (piece_bytes == 0) return Frame{};
    switch (kind_) {
    case BodyKind::none: return fail(Errc::unexpected, "content where there is none");
    case BodyKind::until_close: return Frame{};
    case BodyKind::length:
        if (piece_bytes > left_) return fail(Errc::too_large, "content beyond Content-Length");
        left_ -= piece_bytes;
        return Frame{};
    case BodyKind::chunked: {
        char* end = std::to_chars(prefix_.data(), prefix_.data() + prefix_.size() - 2, piece_bytes, 16).ptr;
        *end++ = '\r';
        *end++ = '\n';
        return Frame{{prefix_.data(), static_cast<std::size_t>(end - prefix_.data())}, "\r\n"};
    }
    }
    return fail(Errc::internal, "body kind");
}

Result<std::string_view> BodyWriter::end() const {
    if (kind_ == BodyKind::length && left_ != 0) return fail(Errc::truncated, "content shorter than Content-Length");
    return std::string_view(kind_ == BodyKind::chunked ? "0\r\n\r\n" : "");
}

}  // namespace mssl::proxy
