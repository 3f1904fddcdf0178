#include "proxy/http/parser.h"

#include <algorithm>

#include "proxy/http/chunked.h"
#include "proxy/http/head_grammar.h"
#include "proxy/http/head_scan.h"

namespace mssl::proxy {

namespace {

//   head ──▶ decided ──▶ length ──────┐
//    ▲          ├──────▶ chunked ─────┤
//    │          ├──────▶ until_close ─┼─ (end of stream)
//    │          ├──────▶ (no body) ───┤
//    │          └──────▶ upgraded     │
//    └──────────── complete ◀─────────┘        any ──▶ failed
enum class State : std::uint8_t { head, decided, length, chunked, until_close, upgraded, failed };

bool wants_keep_alive(const Fields& fields, std::uint8_t minor) {  // RFC 9112 §9.3
    if (fields.list_has("Connection", "close")) return false;
    return minor >= 1 || fields.list_has("Connection", "keep-alive");
}

}  // namespace

struct HttpParser::Impl {
    HeadKind kind;
    State state = State::head;
    std::string buffer;             // of the head
    bool skipped_empty_line = false;
    RequestHead request;
    ResponseHead response;
    std::string asked;              // method of the request that the next response answers
    bool tunnel = false;
    BodyKind body_kind = BodyKind::none;
    std::uint64_t left = 0;
    ChunkedDecoder chunks;
    View piece;
    Error error;

    explicit Impl(HeadKind k) : kind(k) {}

    Error failed(Error e) {
        state = State::failed;
        error = e;
        return e;
    }

    Result<HttpEvent> feed(View input, std::size_t& consumed) {
        consumed = 0;
        piece = {};
        switch (state) {
        case State::head: return feed_head(input, consumed);
        case State::decided: return begin_body(input, consumed);
        case State::length: return feed_length(input, consumed);
        case State::chunked: return feed_chunked(input, consumed);
        case State::until_close:
            piece = input;
            consumed = input.size();
            return input.empty() ? HttpEvent::need_more : HttpEvent::body;
        case State::upgraded: return HttpEvent::upgraded;
        case State::failed: return error;
        }
        return fail(Errc::internal, "parser state");
    }

    Result<HttpEvent> feed_head(View input, std::size_t& consumed) {
        while (consumed < input.size()) {
            const char c = static_cast<char>(input[consumed++]);
            const char prev = buffer.empty() ? '\0' : buffer.back();
            if (auto why = forbidden_in_head(prev, c)) return failed(fail(Errc::malformed, std::string(*why)));
            buffer.push_back(c);
            if (c != '\n') {
                if (buffer.size() >= kMaxHeadBytes) return failed(fail(Errc::too_large, "head over 64 KiB"));
                continue;
            }
            if (buffer == "\r\n") {
                // One empty line may come before a request (RFC 9112 §2.2).
                if (kind == HeadKind::response || skipped_empty_line) {
                    return failed(fail(Errc::malformed, "empty line before a message"));
                }
                skipped_empty_line = true;
                buffer.clear();
            } else if (buffer.ends_with("\r\n\r\n")) {
                return head_complete();
            }
        }
        return HttpEvent::need_more;
    }

    Result<HttpEvent> head_complete() {
        const Result<HeadFacts> facts = scan_head(buffer, kind);
        if (!facts) return failed(facts.error());
        Result<RawHead> raw = parse_head_grammar(buffer, kind);
        if (!raw) return failed(raw.error());
        // Two readings of one head: an attack on whoever comes next, or a bug of ours.
        if (raw->fields.items().size() != facts->fields) {
            return failed(fail(Errc::malformed, "ambiguous fields"));
        }
        buffer.clear();
        skipped_empty_line = false;
        tunnel = false;
        if (kind == HeadKind::request) take_request(std::move(*raw), *facts);
        else take_response(std::move(*raw), *facts);
        state = State::decided;
        return HttpEvent::head;
    }

    void take_request(RawHead raw, const HeadFacts& facts) {
        RequestHead h;
        h.method = std::move(raw.method);
        h.target = std::move(raw.target);
        h.minor = facts.minor;
        h.fields = std::move(raw.fields);
        h.body = facts.chunked ? BodyKind::chunked : facts.content_length ? BodyKind::length : BodyKind::none;
        h.length = facts.content_length.value_or(0);
        h.keep_alive = wants_keep_alive(h.fields, h.minor);
        // Both are of HTTP/1.1 (RFC 9110 §7.8, §10.1.1).
        h.upgrade = h.minor >= 1 && h.fields.list_has("Connection", "upgrade") && h.fields.count("Upgrade") > 0;
        h.expect_continue = h.minor >= 1 && h.fields.list_has("Expect", "100-continue");
        tunnel = h.method == "CONNECT";
        body_kind = tunnel ? BodyKind::none : h.body;
        left = h.length;
        request = std::move(h);
    }

    // RFC 9112 §6.3, in its order.
    void take_response(RawHead raw, const HeadFacts& facts) {
        ResponseHead h;
        h.status = raw.status;
        h.reason = std::move(raw.reason);
        h.minor = facts.minor;
        h.fields = std::move(raw.fields);
        h.keep_alive = wants_keep_alive(h.fields, h.minor);
        const bool interim = h.status < 200;
        tunnel = h.status == 101 || (asked == "CONNECT" && h.status >= 200 && h.status < 300);
        if (tunnel || interim || h.status == 204 || h.status == 304 || asked == "HEAD") {
            h.body = BodyKind::none;
        } else if (facts.chunked) {
            h.body = BodyKind::chunked;
        } else if (facts.content_length) {
            h.body = BodyKind::length;
            h.length = *facts.content_length;
        } else {
            h.body = BodyKind::until_close;
            h.keep_alive = false;
        }
        if (!interim || tunnel) asked.clear();
        body_kind = h.body;
        left = h.length;
        response = std::move(h);
    }

    Result<HttpEvent> complete() {
        state = State::head;
        return HttpEvent::complete;
    }

    Result<HttpEvent> begin_body(View input, std::size_t& consumed) {
        if (tunnel) {
            state = State::upgraded;
            return HttpEvent::upgraded;
        }
        switch (body_kind) {
        case BodyKind::none: return complete();
        case BodyKind::length:
            if (left == 0) return complete();
            state = State::length;
            break;
        case BodyKind::chunked:
            chunks = ChunkedDecoder();
            state = State::chunked;
            break;
        case BodyKind::until_close: state = State::until_close; break;
        }
        return feed(input, consumed);
    }

    Result<HttpEvent> feed_length(View input, std::size_t& consumed) {
        if (left == 0) return complete();
        if (input.empty()) return HttpEvent::need_more;
        consumed = static_cast<std::size_t>(std::min<std::uint64_t>(left, input.size()));
        piece = input.first(consumed);
        left -= consumed;
        return HttpEvent::body;
    }

    Result<HttpEvent> feed_chunked(View input, std::size_t& consumed) {
        const Result<ChunkedDecoder::Event> event = chunks.feed(input, consumed, piece);
        if (!event) return failed(event.error());
        switch (*event) {
        case ChunkedDecoder::Event::need_more: return HttpEvent::need_more;
        case ChunkedDecoder::Event::data: return HttpEvent::body;
        case ChunkedDecoder::Event::end: return complete();
        }
        return fail(Errc::internal, "chunk event");
    }

    Result<HttpEvent> end() {
        switch (state) {
        case State::head:
            if (buffer.empty()) return HttpEvent::need_more;
            return failed(fail(Errc::truncated, "stream ended inside a head"));
        case State::decided:
            if (tunnel) return HttpEvent::need_more;
            if (body_kind == BodyKind::none || body_kind == BodyKind::until_close ||
                (body_kind == BodyKind::length && left == 0)) {
                return complete();
            }
            break;
        case State::length:
            if (left == 0) return complete();
            break;
        case State::chunked: break;
        case State::until_close: return complete();
        case State::upgraded: return HttpEvent::need_more;
        case State::failed: return error;
        }
        return failed(fail(Errc::truncated, "stream ended inside a body"));
    }
};

HttpParser::HttpParser(Kind kind)
    : impl_(std::make_unique<Impl>(kind == Kind::request ? HeadKind::request : HeadKind::response)) {}
HttpParser::~HttpParser() = default;
HttpParser::HttpParser(HttpParser&&) noexcept = default;

Result<HttpEvent> HttpParser::feed(View input, std::size_t& consumed) { return impl_->feed(input, consumed); }
Result<HttpEvent> HttpParser::end() { return impl_->end(); }
const RequestHead& HttpParser::request() const { return impl_->request; }
const ResponseHead& HttpParser::response() const { return impl_->response; }
View HttpParser::body() const { return impl_->piece; }
void HttpParser::expect_response_to(std::string_view method) { impl_->asked = method; }

bool HttpParser::mid_message() const {
    switch (impl_->state) {
    case State::head: return !impl_->buffer.empty();
    case State::decided:
    case State::length:
    case State::chunked:
    case State::until_close: return true;
    case State::upgraded:
    case State::failed: return false;
    }
    return false;
}

}  // namespace mssl::proxy
