// A small blocking HTTP/1.1 client for a daemon on this host: one exchange, one connection.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/result.h"
#include "protocol/types.h"
#include "tools/files.h"
#include "tools/url.h"

namespace mssl::tools {

// What happens while something is waited for.
struct Waiting {
    // A descriptor whose becoming readable ends the wait with cancelled; -1: none.
    int cancel = -1;
    // Called a few times a second, also while bytes flow.
    std::function<void()> tick;
    // Without a byte for so long: timed_out.
    std::chrono::milliseconds patience{std::chrono::minutes(2)};
};

// A connection, non-blocking. Errors: unreachable, timed_out, cancelled.
Result<Fd> connect_to(const Endpoint& at, const Waiting& waiting);
// Until fd can be read or written (events of poll(2)). Errors: timed_out, cancelled, io.
Status wait_for(int fd, short events, const Waiting& waiting);

struct HttpRequest {
    std::string method = "GET";
    std::string target;  // origin-form, or absolute-form for a proxy
    std::string host;    // the Host field
    std::vector<std::pair<std::string, std::string>> fields;
};

struct HttpResponse {
    unsigned status = 0;
    std::vector<std::pair<std::string, std::string>> fields;
    // The first field of that name, in any case; empty when there is none.
    std::string_view field(std::string_view name) const;
};

// Framing of the body (RFC 9112 §6.3).
struct BodyFraming {
    enum class How : std::uint8_t { length, chunked, until_close } how = How::until_close;
    std::uint64_t length = 0;
};

// Parses a head without its last empty line. malformed when it is none. Pure.
Result<HttpResponse> parse_response_head(std::string_view head);
// malformed for fields that contradict each other: nothing after them can be trusted. Pure.
Result<BodyFraming> framing_of(const HttpResponse& response, std::string_view method);

class HttpExchange {
public:
    // Connects, sends, reads the head of the final response (1xx are skipped). Errors: unreachable, timed_out, reset,
    // malformed, cancelled.
    static Result<HttpExchange> start(const Endpoint& at, const HttpRequest& request, Waiting waiting);

    const HttpResponse& response() const { return response_; }
    const BodyFraming& framing() const { return framing_; }
    // Next bytes of the body, 0 at its end. truncated when the connection ends before the body does.
    Result<std::size_t> read(MutableView into);
    // The rest of the body, too_large beyond max.
    Result<std::string> read_all(std::size_t max);

private:
    HttpExchange(Fd socket, Waiting waiting) : socket_(std::move(socket)), waiting_(std::move(waiting)) {}
    Status wait(short events);
    Status send(std::string_view bytes);
    Status read_head(std::string_view method);
    Result<std::size_t> receive(MutableView into);  // 0: the connection ended
    Result<std::size_t> take(MutableView into);     // from what is buffered, else receive()
    Result<std::string> line();                     // of chunked framing
    Status next_chunk();

    Fd socket_;
    Waiting waiting_;
    HttpResponse response_;
    BodyFraming framing_;
    std::string buffered_;        // received behind the head
    std::size_t buffered_at_ = 0;
    std::uint64_t left_ = 0;      // of the body, or of the chunk
    bool first_chunk_ = true;
    bool ended_ = false;
};

}  // namespace mssl::tools
