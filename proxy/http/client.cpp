#include "proxy/http/client.h"

#include <algorithm>
#include <array>

#include "proxy/http/body_writer.h"
#include "proxy/http/connection.h"
#include "proxy/http/parser.h"

namespace mssl::proxy {

namespace {

// A TLS record's worth, and of a socket what keeps the calls few.
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kWriteBytes = 16 * 1024;
// A socket that waits for more than this would keep the server from sending on.
constexpr std::size_t kLowWater = 128 * 1024;
// Output waiting over this: write_body says stop.
constexpr std::size_t kBacklogBytes = 64 * 1024;
// Interim heads of one exchange, all together. They are passed on without being asked for, and wait where nobody reads: a reader's queue
// is not to grow with them. As many as one 102 a second for two hours.
constexpr std::size_t kMaxInterimBytes = 256 * 1024;
// Reads in one callback, so that one fast server does not starve the loop's other connections.
constexpr int kReadsAtOnce = 16;

enum class State : std::uint8_t { looking_up, connecting, exchanging, tunnel, over };

bool is_idempotent(std::string_view method) {  // RFC 9110 §9.2.2
    constexpr std::array<std::string_view, 6> methods = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    return std::ranges::find(methods, method) != methods.end();
}

}  // namespace

struct HttpClient::Impl final : ConnectionOwner, std::enable_shared_from_this<HttpClient::Impl> {
    Impl(HttpPool::Impl& p, HttpEndpoint e, RequestHead h, HttpClientHandler& hd, HttpTimeouts t)
        : pool(p), to(std::move(e)), head(std::move(h)), handler(&hd), timeouts(t), timer(p.loop, [this] { on_timer(); }),
          writer(head.body, head.length), body_ended(head.body == BodyKind::none) {}

    HttpPool::Impl& pool;
    const HttpEndpoint to;
    const RequestHead head;
    HttpClientHandler* handler;  // null once nobody wants to hear
    const HttpTimeouts timeouts;
    State state = State::looking_up;
    std::unique_ptr<HttpConnection> connection;
    bool reused = false;
    Address peer;

    Timer timer;
    MonoTime progress;

    BodyWriter writer;
    std::string out;              // not yet taken by the socket
    std::size_t out_begin = 0;
    bool body_ended;
    bool write_broken = false;    // the server reads no more; it may have answered all the same
    bool finish_sent = false;
    bool told_to_wait = false;

    HttpParser parser{HttpParser::Kind::response};
    std::vector<std::uint8_t> in;
    View unread;                  // of what was read: in `in`, or in the handler's room
    std::uint64_t content_left = 0;  // of content that a length frames
    bool received = false;
    bool interim = false;
    std::size_t interim_bytes = 0;
    bool paused = false;
    bool event_waits = false;     // the parser may have more to say without more input
    bool read_ended = false;

    // ── Beginning ──

    void begin(bool may_reuse) {
        progress = pool.loop.now();
        if (may_reuse) {
            connection = pool.take(HttpPool::Impl::key_of(to));
            if (connection) {
                reused = true;
                connection->set_owner(this);
                exchange();
                return;
            }
        }
        if (!to.addresses.empty()) return connect(to.addresses);
        state = State::looking_up;
        timer.start(timeouts.connect);
        resolve_name(pool.workers, pool.loop, to.host, to.port,
                     [weak = weak_from_this()](Result<std::vector<Address>> found) {
                         const auto self = weak.lock();
                         if (!self || self->state != State::looking_up) return;
                         if (!found) self->fail(found.error());
                         else if (found->empty()) self->fail(mssl::fail(Errc::unreachable, "name has no address"));
                         else self->connect(*found);
                     });
    }

    void connect(const std::vector<Address>& addresses) {
        state = State::connecting;
        timer.stop();  // the stream times each address
        connection = std::make_unique<HttpConnection>(pool.loop, HttpPool::Impl::key_of(to));
        connection->set_owner(this);
        connection->connect(to, addresses, timeouts);
    }

    void exchange() {
        state = State::exchanging;
        peer = connection->stream().peer();
        parser.expect_response_to(head.method);
        RequestHead asked = head;
        if (handler != nullptr) handler->on_connection(connection->stream(), reused, asked);
        out.insert(0, serialize(asked));
        progress = pool.loop.now();
        timer.start(std::min(timeouts.first_byte, timeouts.between));  // on_timer() knows which of them counts
        connection->stream().want_read(!paused);
        connection->stream().want_write(true);
    }

    // ── Events of the connection ──

    void on_connected() override {
        const auto self = shared_from_this();
        exchange();
    }

    void on_readable() override {
        const auto self = shared_from_this();
        pump();
    }

    void on_writable() override {
        const auto self = shared_from_this();
        flush();
        // Refused input usually means an answer that is already here; the stream's own error would overtake it.
        if (write_broken && state == State::exchanging) pump();
        if (told_to_wait && handler != nullptr && backlog() == 0 && !write_broken) {
            told_to_wait = false;
            handler->on_writable();
        }
    }

    void on_broken(const Error& error) override {
        const auto self = shared_from_this();
        // What the server said before it broke off still counts, such as a 413 to a body it did not want.
        if (state == State::exchanging && !paused) pump();
        if (state != State::over) give_up(error);
    }

    void on_timer() {
        const auto self = shared_from_this();
        if (state == State::looking_up) return fail(mssl::fail(Errc::timed_out, "name look-up"));
        if (state != State::exchanging || paused) return;
        const bool uploading = !body_ended && backlog() == 0;  // the owner's turn, not the server's
        const Duration limit = received || backlog() != 0 ? timeouts.between : timeouts.first_byte;
        Duration passed = pool.loop.now() - progress;
        if (passed >= limit && connection->stream().set_read_low(1)) {
            // What trickles in, too little to be told of, is progress.
            pump();
            if (state != State::exchanging || paused) return;
            passed = pool.loop.now() - progress;
        }
        if (uploading || passed < limit) {
            timer.start(uploading ? limit : limit - passed);
            return;
        }
        give_up(mssl::fail(Errc::timed_out, received ? "server stopped answering" : "server did not answer"));
    }

    // ── Sending ──

    std::size_t backlog() const { return out.size() - out_begin; }

    void flush() {
        while (connection && backlog() != 0 && !write_broken) {
            const View rest = as_view(out).subspan(out_begin);
            const Result<std::size_t> n = connection->stream().write(rest.first(std::min(rest.size(), kWriteBytes)));
            if (!n) {
                write_broken = n.code() != Errc::again;
                break;
            }
            out_begin += *n;
            progress = pool.loop.now();
        }
        if (backlog() == 0 || write_broken) {
            out.clear();
            out_begin = 0;
        }
        if (!connection) return;
        connection->stream().want_write(backlog() != 0 || (told_to_wait && !write_broken));
        if (state == State::tunnel && body_ended && backlog() == 0 && !std::exchange(finish_sent, true)) {
            connection->stream().finish();
        }
    }

    // Straight to the socket where nothing waits before it; the rest is kept.
    void put(View bytes) {
        const bool running = state == State::exchanging || state == State::tunnel;
        while (running && connection && backlog() == 0 && !bytes.empty() && !write_broken) {
            const Result<std::size_t> n = connection->stream().write(bytes.first(std::min(bytes.size(), kWriteBytes)));
            if (!n) {
                write_broken = n.code() != Errc::again;
                break;
            }
            bytes = bytes.subspan(*n);
            progress = pool.loop.now();
        }
        if (write_broken) return;
        compact();
        out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (running && connection && backlog() != 0) connection->stream().want_write(true);
    }

    void compact() {
        if (out_begin < kBacklogBytes) return;
        out.erase(0, out_begin);
        out_begin = 0;
    }

    bool write_body(View piece) {
        if (state == State::over || body_ended) return true;
        if (state == State::tunnel) {
            put(piece);
        } else {
            const Result<BodyWriter::Frame> frame = writer.frame(piece.size());
            if (!frame) {
                fail_later(frame.error());
                return true;
            }
            if (writer.kind() == BodyKind::chunked) {
                // One buffer, one record: three writes a piece cost more than the copy.
                if (!write_broken) {
                    compact();
                    out.append(frame->before);
                    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
                    out.append(frame->after);
                    if (state == State::exchanging) connection->stream().want_write(true);
                }
            } else {
                put(piece);
            }
        }
        told_to_wait = backlog() >= kBacklogBytes;
        return !told_to_wait;
    }

    void end_body() {
        if (state == State::over || body_ended) return;
        if (state == State::tunnel) {
            body_ended = true;
            flush();
            return;
        }
        const Result<std::string_view> last = writer.end();
        if (!last) return fail_later(last.error());
        body_ended = true;
        progress = pool.loop.now();
        if (!last->empty()) put(as_view(*last));
    }

    // ── Receiving ──

    void set_paused(bool on) {
        if (paused == on) return;
        paused = on;
        if (!connection || (state != State::exchanging && state != State::tunnel)) return;
        if (!read_ended) connection->stream().want_read(!on);
        if (on) return;
        progress = pool.loop.now();
        timer.start(timeouts.between);
        if (unread.empty() && !event_waits) return;
        pool.loop.post([weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->pump();
        });
    }

    void pump() {
        for (int reads = 0; !paused && !read_ended;) {
            if (state != State::exchanging && state != State::tunnel) return;
            if (!unread.empty() || event_waits) {
                take_input();
                continue;
            }
            // Only with nothing left to hand on: on_readable comes again for what the socket holds, not for what we do.
            if (reads++ == kReadsAtOnce) return;
            MutableView room;
            if (state == State::exchanging && content_left != 0) room = handler->body_room();
            room = room.first(static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), content_left)));
            if (room.empty() && in.empty()) in.resize(kReadBytes);
            const MutableView into = room.empty() ? MutableView(in) : room;
            const Result<std::size_t> n = connection->stream().read(into);
            if (n) {
                // What was waited for is here. Whatever is left in the socket wakes the loop from now on, be it the end.
                (void)connection->stream().set_read_low(1);
                unread = into.first(*n);
                received = true;
                progress = pool.loop.now();
            } else if (n.code() == Errc::again) {
                (void)connection->stream().set_read_low(std::clamp<std::size_t>(room.size(), 1, kLowWater));
                return;
            } else if (n.code() == Errc::closed) {
                return input_ended();
            } else {
                return give_up(n.error());
            }
        }
    }

    void take_input() {
        if (state == State::tunnel) {
            event_waits = false;
            if (unread.empty()) return;
            handler->on_body(std::exchange(unread, {}));
            return;
        }
        // Until the parser wants more, the exchange is over, or the owner wants no more.
        while (state == State::exchanging) {
            event_waits = paused;
            if (paused) return;
            std::size_t used = 0;
            const Result<HttpEvent> event = parser.feed(unread, used);
            unread = unread.subspan(used);
            if (!event) return fail(event.error());
            if (!on_event(*event)) return;
        }
    }

    // Whether to go on feeding.
    bool on_event(HttpEvent event) {
        switch (event) {
        case HttpEvent::need_more: return false;
        case HttpEvent::head: {
            const ResponseHead& response = parser.response();
            interim = response.status < 200 && response.status != 101;
            if (response.status == 101 && !head.upgrade) {
                fail(mssl::fail(Errc::malformed, "101 without being asked"));
                return false;
            }
            if (interim) interim_bytes += serialize(response).size();
            if (interim_bytes > kMaxInterimBytes) {
                fail(mssl::fail(Errc::too_large, "interim answers without an end"));
                return false;
            }
            content_left = response.body == BodyKind::length ? response.length : 0;
            handler->on_response_head(response);
            return true;
        }
        case HttpEvent::body:
            content_left -= std::min<std::uint64_t>(content_left, parser.body().size());
            handler->on_body(parser.body());
            return true;
        case HttpEvent::complete:
            if (interim) return true;
            complete();
            return false;
        case HttpEvent::upgraded:
            state = State::tunnel;
            body_ended = false;
            timer.stop();
            connection->stream().set_idle_timeout(Duration(0));
            handler->on_upgraded();
            return false;
        }
        return false;
    }

    void input_ended() {
        read_ended = true;
        if (state == State::tunnel) {
            connection->stream().want_read(false);
            handler->on_complete();
            return;
        }
        const Result<HttpEvent> event = parser.end();
        if (!event) return fail(event.error());
        if (*event == HttpEvent::complete && !interim) return complete();
        give_up(mssl::fail(Errc::reset, "server closed without an answer"));
    }

    // ── Ending ──

    void complete() {
        const ResponseHead& response = parser.response();
        const bool reusable = response.keep_alive && head.keep_alive && body_ended && backlog() == 0 && !write_broken &&
                              unread.empty() && !read_ended && connection->stream().is_open();
        HttpClientHandler* const h = handler;
        if (reusable) {
            state = State::over;
            timer.stop();
            pool.give_back(std::move(connection));
        } else {
            stop();
        }
        handler = nullptr;
        if (h != nullptr) h->on_complete();
    }

    // Broken off: once more, where nothing can have happened yet, else the error.
    void give_up(const Error& error) {
        const bool again = reused && !received && state == State::exchanging && head.body == BodyKind::none &&
                           !head.upgrade && is_idempotent(head.method) && error.code != Errc::timed_out;
        if (!again) return fail(error);
        release();
        reused = false;
        read_ended = write_broken = false;
        out.clear();
        out_begin = 0;
        begin(false);
    }

    void fail(const Error& error) {
        if (state == State::over) return;
        stop();
        HttpClientHandler* const h = std::exchange(handler, nullptr);
        if (h != nullptr) h->on_error(error);
    }

    void fail_later(const Error& error) {
        write_broken = true;
        pool.loop.post([weak = weak_from_this(), error] {
            if (const auto self = weak.lock()) self->fail(error);
        });
    }

    void release() {
        if (!connection) return;
        connection->set_owner(nullptr);
        pool.loop.dispose(std::move(connection));
    }

    void stop() {
        state = State::over;
        timer.stop();
        release();
    }
};

std::unique_ptr<HttpClient> HttpClient::start(HttpPool& pool, const HttpEndpoint& to, RequestHead head,
                                              HttpClientHandler& handler, HttpTimeouts timeouts) {
    std::unique_ptr<HttpClient> client(new HttpClient);
    client->impl_ = std::make_shared<Impl>(*pool.impl_, to, std::move(head), handler, timeouts);
    client->impl_->begin(true);
    return client;
}

HttpClient::~HttpClient() { abort(); }

bool HttpClient::write_body(View piece) { return impl_->write_body(piece); }
void HttpClient::end_body() { impl_->end_body(); }
void HttpClient::pause_reading(bool paused) { impl_->set_paused(paused); }
void HttpClient::abort() {
    impl_->handler = nullptr;
    impl_->stop();
}
bool HttpClient::reused_connection() const { return impl_->reused; }
Address HttpClient::peer() const { return impl_->peer; }

}  // namespace mssl::proxy
