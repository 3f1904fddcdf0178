#include "proxy/client/app_input.h"

#include <algorithm>

namespace mssl::proxy {
namespace {

// Read ahead of what is taken: a piece of content, or pipelined requests that wait unread.
constexpr std::size_t kInputBytes = 64 * 1024;

}  // namespace

AppInput::Came AppInput::read(Stream& stream) {
    if (ended_) return Came::nothing;
    if (bytes_.empty()) bytes_.resize(kInputBytes);
    if (begin_ != 0) {
        std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(begin_), bytes_.begin() + static_cast<std::ptrdiff_t>(end_),
                  bytes_.begin());
        end_ -= begin_;
        begin_ = 0;
    }
    if (full()) return Came::nothing;
    const Result<std::size_t> n = stream.read(MutableView(bytes_).subspan(end_));
    if (n) {
        end_ += *n;
        return Came::bytes;
    }
    if (n.code() != Errc::closed) return Came::nothing;
    ended_ = true;
    return Came::end;
}

Result<HttpEvent> AppInput::next() {
    if (at_end()) return parser_->end();
    std::size_t used = 0;
    Result<HttpEvent> event = parser_->feed(rest(), used);
    begin_ += used;
    return event;
}

bool AppInput::ends_without_content() {
    std::size_t used = 0;
    const Result<HttpEvent> event = parser_->feed({}, used);
    return event && *event == HttpEvent::complete;
}

View AppInput::take_all() {
    const View all = rest();
    begin_ = end_;
    return all;
}

void AppInput::release() {
    if (!empty()) return;
    bytes_ = Bytes();  // not "= {}": that assigns an empty list and keeps the capacity
    begin_ = end_ = 0;
}

}  // namespace mssl::proxy
