// What an application sends on its connection: a bounded buffer of bytes, and the parser that takes requests out of it. What
// comes behind the request that is being answered waits here unread, and then in the socket.
//
// Thread rules: the connection's loop.
#pragma once

#include <optional>

#include "proxy/core/stream.h"
#include "proxy/http/parser.h"

namespace mssl::proxy {

class AppInput {
public:
    enum class Came : std::uint8_t { nothing, bytes, end };
    // At most one read, and none while the buffer is full. An error of the stream is nothing: its handler hears of it.
    Came read(Stream& stream);

    // What the parser makes of what is here next. Of the end, once nothing is left before it.
    Result<HttpEvent> next();
    // After a head that announces no content: whether the request is over with it.
    bool ends_without_content();
    // What is here and not yet taken, for what comes before HTTP; and a prefix of it taken.
    View rest() const { return View(bytes_).subspan(begin_, end_ - begin_); }
    void skip(std::size_t n) { begin_ += n; }
    // Everything that is here, past the parser: of a tunnel. Valid until the next read.
    View take_all();

    // What comes from here on is another conversation: the first request of one.
    void restart() { parser_.emplace(HttpParser::Kind::request); }

    const HttpParser& parser() const { return *parser_; }
    bool empty() const { return begin_ == end_; }
    bool full() const { return !bytes_.empty() && end_ - begin_ == bytes_.size(); }
    bool ended() const { return ended_; }           // no more will come
    bool at_end() const { return ended_ && empty(); }
    void release();                                 // the buffer, if nothing is in it: an idle connection holds none

private:
    std::optional<HttpParser> parser_{HttpParser::Kind::request};  // never empty
    Bytes bytes_;
    std::size_t begin_ = 0, end_ = 0;
    bool ended_ = false;
};

}  // namespace mssl::proxy
