#include "proxy/http/chunked.h"

#include <algorithm>

#include "proxy/http/syntax.h"

namespace mssl::proxy {

namespace {

// 15 digits stay below 2^60: no overflow anywhere behind it.
constexpr unsigned kMaxSizeDigits = 15;

Error malformed(const char* why) { return fail(Errc::malformed, why); }

unsigned hex_value(char c) {
    if (is_digit(c)) return static_cast<unsigned>(c - '0');
    return static_cast<unsigned>(ascii_lower(c) - 'a') + 10;
}

}  // namespace

Result<ChunkedDecoder::Event> ChunkedDecoder::feed(View input, std::size_t& consumed, View& piece) {
    consumed = 0;
    while (consumed < input.size()) {
        if (state_ == State::data) {
            const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - consumed));
            piece = input.subspan(consumed, n);
            consumed += n;
            left_ -= n;
            if (left_ == 0) state_ = State::data_cr;
            return Event::data;
        }
        if (state_ == State::end) break;
        if (Status s = step(static_cast<char>(input[consumed])); !s) return s.error();
        ++consumed;
    }
    return state_ == State::end ? Event::end : Event::need_more;
}

Status ChunkedDecoder::end_of_size(char c) {
    if (c == '\r') {
        state_ = State::size_lf;
        return {};
    }
    if (c != ';') return malformed("chunk size");
    state_ = State::extension;
    return {};
}

Status ChunkedDecoder::step(char c) {
    switch (state_) {
    case State::size_first:
        if (!is_hex(c)) return malformed("chunk size");
        left_ = 0;
        digits_ = 0;
        state_ = State::size;
        [[fallthrough]];
    case State::size:
        if (!is_hex(c)) return end_of_size(c);
        if (++digits_ > kMaxSizeDigits) return fail(Errc::too_large, "chunk size");
        left_ = left_ * 16 + hex_value(c);
        return {};
    case State::extension:
        if (c == '\r') {
            state_ = State::size_lf;
            return {};
        }
        if (!is_text(c)) return malformed("control character in a chunk extension");
        if (++extension_bytes_ > kMaxExtensionBytes) return fail(Errc::too_large, "chunk extensions");
        return {};
    case State::size_lf:
        if (c != '\n') return malformed("CR without LF after a chunk size");
        state_ = left_ == 0 ? State::trailer_start : State::data;
        return {};
    case State::data_cr:
        if (c != '\r') return malformed("chunk longer than its size");
        state_ = State::data_lf;
        return {};
    case State::data_lf:
        if (c != '\n') return malformed("CR without LF after a chunk");
        state_ = State::size_first;
        return {};
    case State::trailer_start:
        if (c == '\r') {
            state_ = State::end_lf;
            return {};
        }
        if (c == ':') return malformed("trailer field name");
        state_ = State::trailer_name;
        [[fallthrough]];
    case State::trailer_name:
        if (++trailer_bytes_ > kMaxTrailerBytes) return fail(Errc::too_large, "trailers");
        if (c == ':') state_ = State::trailer_value;
        else if (!is_tchar(c)) return malformed("trailer field name");
        return {};
    case State::trailer_value:
        if (++trailer_bytes_ > kMaxTrailerBytes) return fail(Errc::too_large, "trailers");
        if (c == '\r') state_ = State::trailer_lf;
        else if (!is_text(c)) return malformed("control character in a trailer");
        return {};
    case State::trailer_lf:
        if (c != '\n') return malformed("CR without LF in a trailer");
        state_ = State::trailer_start;
        return {};
    case State::end_lf:
        if (c != '\n') return malformed("CR without LF after the last chunk");
        state_ = State::end;
        return {};
    case State::data:
    case State::end: break;
    }
    return fail(Errc::internal, "chunk state");
}

}  // namespace mssl::proxy
