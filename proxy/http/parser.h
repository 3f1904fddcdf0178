// A strict HTTP/1 parser for one direction of a connection: llhttp for the grammar, and before it a scan of each head that
// refuses what llhttp 8.1 lets through (findings): CR without LF, LF without CR, obs-fold, a second Host, Transfer-Encoding on
// HTTP/1.0, Content-Length together with Transfer-Encoding, two differing Content-Lengths, white space before a colon.
//
// Pull style, so that back-pressure is the caller's: feed() consumes up to the next event and says which. Feed what is left,
// also when nothing is left, until it says need_more. A 1xx is a message of its own: head, complete, then the next head.
//
// Thread rules: one owner.
#pragma once

#include <memory>

#include "proxy/http/message.h"

namespace mssl::proxy {

enum class HttpEvent : std::uint8_t {
    need_more,   // everything was consumed
    head,        // request()/response() is valid
    body,        // body() is a piece of content, chunk framing removed: a part of the input, and gone with it
    complete,    // the message is over; the next bytes begin the next one (an event of its own, also without more input)
    upgraded,    // after CONNECT or 101: what follows is not HTTP; nothing more will be consumed
};

class HttpParser {
public:
    enum class Kind : std::uint8_t { request, response };
    explicit HttpParser(Kind kind);
    ~HttpParser();
    HttpParser(HttpParser&&) noexcept;

    // Consumes a prefix of input (consumed: how much). Errors: malformed, too_large (head). After an error nothing more.
    Result<HttpEvent> feed(View input, std::size_t& consumed);
    // The stream ended. complete for a body that lasts until close; need_more between messages; else truncated.
    Result<HttpEvent> end();

    const RequestHead& request() const;
    const ResponseHead& response() const;
    View body() const;
    // Before the response to it is parsed: a HEAD answer has no body, a 2xx to CONNECT is a tunnel.
    void expect_response_to(std::string_view method);
    // A head was begun (so a timeout is a 408, not silence).
    bool mid_message() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
