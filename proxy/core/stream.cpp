#include "proxy/core/stream.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "proxy/core/dialer.h"
#include "proxy/core/stream_tls.h"

namespace mssl::proxy {
namespace {

// RFC 8446 §5.1: plaintext of one record.
constexpr std::size_t kMaxRecordPlaintext = 16384;
// DESIGN 4: below this a socket would starve between two rounds of the loop.
constexpr std::uint64_t kMinUnsent = 16 * 1024;
constexpr std::uint64_t kUnsentPerSecond = 100;  // 10 ms of the rate
// What one readiness of a lingering socket may throw away.
constexpr std::size_t kLingerScratch = 4096;

Error socket_error(int error) {
    return fail(error == ETIMEDOUT ? Errc::timed_out : Errc::reset, std::strerror(error));
}

void set_option(int fd, int level, int name, int value) { (void)setsockopt(fd, level, name, &value, sizeof value); }

void reset_on_close(int fd) {
    const linger hard{1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

}  // namespace

// Each event of the loop leads to at most one call of the handler, and nothing is touched after it unless this is still
// alive: the handler may have destroyed the Stream.
struct Stream::Impl final : Disposable {
    enum class State : std::uint8_t { connecting, handshaking, opening, open, lingering, closed };
    enum class Out : std::uint8_t { open, draining, finished };  // draining: close_notify waits for the socket

    Impl(Loop& l, StreamHandler& h, StreamTimeouts t)
        : loop(l),
          handler(&h),
          timeouts(t),
          kick(evtimer_new(
              l.base(), [](evutil_socket_t, short, void* self) { static_cast<Impl*>(self)->kicked(); }, this)) {
        if (!kick) std::terminate();
    }
    ~Impl() override {
        if (gone != nullptr) *gone = true;
        if (counted) sub(loop.counters().connections_open);
    }

    // ── the loop calls in ──

    void attach(Fd socket) {
        readable.reset();
        writable.reset();
        read_armed = write_armed = false;
        fd = std::move(socket);
        set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
        readable.reset(event_new(
            loop.base(), fd.get(), EV_READ | EV_PERSIST,
            [](evutil_socket_t, short, void* self) { static_cast<Impl*>(self)->on_read_event(); }, this));
        writable.reset(event_new(
            loop.base(), fd.get(), EV_WRITE | EV_PERSIST,
            [](evutil_socket_t, short, void* self) { static_cast<Impl*>(self)->on_write_event(); }, this));
        if (!readable || !writable) std::terminate();
    }

    void on_read_event() {
        switch (state) {
        case State::handshaking: handshake(); return;
        case State::lingering: discard(); return;
        case State::open:
            need_socket = false;
            if (write_wants_read) {
                write_wants_read = false;
                update();
                if (want_write && out == Out::open) {
                    if (call(&StreamHandler::on_writable)) after_call();
                    return;
                }
            }
            tell_readable();
            return;
        case State::connecting:
        case State::opening:
        case State::closed: return;
        }
    }

    void on_write_event() {
        switch (state) {
        case State::handshaking: handshake(); return;
        case State::lingering: continue_finish(); return;
        case State::open:
            if (out == Out::draining) {
                continue_finish();
            } else if (read_wants_write) {
                read_wants_write = false;
                update();
                tell_readable();
            } else if (want_write && call(&StreamHandler::on_writable)) {
                after_call();
            }
            return;
        case State::connecting:
        case State::opening:
        case State::closed: return;
        }
    }

    void kicked() {
        if (state == State::closed) return;
        if (error) {
            report();
        } else if (state == State::opening) {
            opened();
        } else if (state == State::handshaking) {
            handshake();
        } else if (state == State::open && decrypted_waits()) {
            tell_readable();
        }
    }

    void on_deadline() {
        switch (state) {
        case State::handshaking:
            add(loop.counters().tls_failures);
            fail_now(fail(Errc::timed_out, "TLS handshake"));
            return;
        case State::open: fail_now(fail(Errc::timed_out, "end of the connection")); return;
        case State::lingering: loop.release(this); return;
        case State::connecting:
        case State::opening:
        case State::closed: return;
        }
    }

    void on_idle() {
        if (state != State::open || timeouts.idle <= Duration::zero()) return;
        const Duration still = loop.now() - last_move;
        if (still < timeouts.idle)
            idle.start(timeouts.idle - still);
        else
            fail_now(fail(Errc::timed_out, "nothing moved for " +
                                               std::to_string(timeouts.idle.count() / 1'000'000) + " s"));
    }

    // ── calls of the handler ──

    // False: the handler destroyed this.
    bool call(void (StreamHandler::*what)()) {
        bool destroyed = false;
        gone = &destroyed;
        (handler->*what)();
        if (destroyed) return false;
        gone = nullptr;
        return true;
    }

    void tell_readable() {
        if (state == State::open && want_read && !eof && !error && call(&StreamHandler::on_readable)) after_call();
    }

    void after_call() {
        if (decrypted_waits()) schedule();
    }

    void report() {
        const Error why = *error;  // the handler may destroy this
        shut();
        handler->on_error(why);
    }

    void fail_now(Error why) {
        error = std::move(why);
        report();
    }

    // Found inside a call: told later.
    Error broken(Error why) {
        if (!error && state != State::closed) {
            error = why;
            update();
            schedule();
        }
        return why;
    }

    // A round of the loop later, behind what is ready now: a stream with much to say does not starve the others.
    void schedule() {
        const timeval at_once{0, 0};
        evtimer_add(kick.get(), &at_once);
    }

    // ── connecting ──

    void dial(std::vector<Address> to) {
        dialer = std::make_unique<Dialer>(loop, std::move(to), timeouts.connect, [this](Result<Fd> socket) { dialled(std::move(socket)); });
        if (Status s = dialer->start(); !s) (void)broken(s.error());
    }

    void dialled(Result<Fd> socket) {
        const std::unique_ptr<Dialer> over = std::move(dialer);  // its callback runs
        if (state != State::connecting || error) return;
        if (!socket) return fail_now(socket.error());
        attach(std::move(*socket));
        if (!tls_client) {
            opened();
            return;
        }
        Result<SslPtr> made = make_connecting_ssl(*tls_client, fd.get());
        if (!made) {
            fail_now(std::move(made).error());
            return;
        }
        ssl = std::move(*made);
        state = State::handshaking;
        deadline.start(handshake_time());
        handshake();
    }

    void handshake() {
        ERR_clear_error();
        errno = 0;
        const int rc = SSL_do_handshake(ssl.get());
        const int saved_errno = errno;
        if (rc == 1) {
            if (tls_client && !alpn_is_good(*tls_client)) {
                add(loop.counters().tls_failures);
                fail_now(fail(Errc::unsupported, "the other side does not speak " + tls_client->alpn));
                return;
            }
            add(loop.counters().tls_handshakes);
            opened();
            return;
        }
        const int why = SSL_get_error(ssl.get(), rc);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            handshake_wants_write = why == SSL_ERROR_WANT_WRITE;
            update();
            return;
        }
        add(loop.counters().tls_failures);
        fail_now(tls_error(ssl.get(), why, saved_errno));
    }

    bool alpn_is_good(const TlsClient& wanted) const {
        const std::string selected = selected_alpn();
        return wanted.alpn.empty() || selected == wanted.alpn || (wanted.alpn_optional && selected.empty());
    }

    void opened() {
        state = State::open;
        tls_client.reset();
        context.reset();
        deadline.stop();
        last_move = loop.now();
        if (timeouts.idle > Duration::zero()) idle.start(timeouts.idle);
        update();
        if (call(&StreamHandler::on_open)) after_call();
    }

    Duration handshake_time() const { return timeouts.handshake > Duration::zero() ? timeouts.handshake : timeouts.connect; }

    void start_tls(SSL_CTX* tls, Bytes received) {
        if (state != State::open || ssl || error || eof || out != Out::open) {
            (void)broken(fail(Errc::internal, "TLS on a stream that is not open and plain"));
            return;
        }
        Result<SslPtr> made = make_accepting_ssl(tls, fd.get(), std::move(received));
        if (!made) {
            (void)broken(std::move(made).error());
            return;
        }
        ssl = std::move(*made);
        state = State::handshaking;
        idle.stop();
        deadline.start(handshake_time());
        update();
        schedule();  // what was received waits for no event of the socket
    }

    // ── reading and writing ──

    Result<std::size_t> read(MutableView into) {
        const bool readable_still = state == State::open || (state == State::closed && write_failed && fd);
        if (!readable_still) return error ? *error : fail(state == State::closed ? Errc::closed : Errc::again);
        if (eof) return error ? *error : fail(Errc::closed);
        if (into.empty()) return fail(Errc::again);
        return ssl ? read_tls(into) : read_tcp(into);
    }

    Result<std::size_t> read_tcp(MutableView into) {
        for (;;) {
            const ssize_t n = recv(fd.get(), into.data(), into.size(), 0);
            if (n > 0) return moved_in(static_cast<std::size_t>(n));
            if (n == 0) return ended(fail(Errc::closed));
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return fail(Errc::again);
            return broken(socket_error(errno));
        }
    }

    Result<std::size_t> read_tls(MutableView into) {
        ERR_clear_error();
        errno = 0;
        std::size_t n = 0;
        const int rc = SSL_read_ex(ssl.get(), into.data(), into.size(), &n);
        const int saved_errno = errno;
        if (rc == 1) {
            read_wants_write = need_socket = false;
            return moved_in(n);
        }
        const int why = SSL_get_error(ssl.get(), rc);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            read_wants_write = why == SSL_ERROR_WANT_WRITE;
            need_socket = true;
            update();
            return fail(Errc::again);
        }
        Error e = tls_error(ssl.get(), why, saved_errno);
        if (e.code == Errc::closed) return ended(std::move(e));
        return broken(std::move(e));
    }

    Error ended(Error how) {
        eof = true;
        update();
        return how;
    }

    std::size_t moved_in(std::size_t n) {
        in += n;
        last_move = loop.now();
        return n;
    }

    Result<std::size_t> write(View from) {
        if (error) return *error;
        if (state != State::open) return fail(state == State::closed ? Errc::closed : Errc::again);
        if (out != Out::open) return fail(Errc::closed, "after finish()");
        if (from.empty()) return std::size_t{0};
        Result<std::size_t> n = ssl ? write_tls(from) : write_tcp(from);
        if (n) {
            bytes_out += *n;
            last_move = loop.now();
        } else if (n.code() == Errc::again) {
            want_write = true;
            update();
        } else {
            write_failed = true;
        }
        return n;
    }

    Result<std::size_t> write_tcp(View from) {
        for (;;) {
            const ssize_t n = send(fd.get(), from.data(), from.size(), MSG_NOSIGNAL);
            if (n >= 0) return static_cast<std::size_t>(n);
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return fail(Errc::again);
            return broken(socket_error(errno));
        }
    }

    Result<std::size_t> write_tls(View from) {
        // The record that waits inside OpenSSL has a length already; a retry must be for exactly that.
        const std::size_t size = unfinished != 0 ? unfinished : std::min(from.size(), kMaxRecordPlaintext);
        if (size > from.size()) return broken(fail(Errc::internal, "a write was repeated with fewer bytes"));
        ERR_clear_error();
        errno = 0;
        std::size_t n = 0;
        const int rc = SSL_write_ex(ssl.get(), from.data(), size, &n);
        const int saved_errno = errno;
        if (rc == 1) {
            unfinished = 0;
            write_wants_read = false;
            return n;
        }
        const int why = SSL_get_error(ssl.get(), rc);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            unfinished = size;
            write_wants_read = why == SSL_ERROR_WANT_READ;
            return fail(Errc::again);
        }
        return broken(tls_error(ssl.get(), why, saved_errno));
    }

    // ── ending ──

    void finish() {
        if (state != State::open || out != Out::open || error) return;
        if (unfinished != 0) {
            abort();
            return;
        }
        out = Out::draining;
        continue_finish();
    }

    void continue_finish() {
        if (ssl) {
            ERR_clear_error();
            const int rc = SSL_shutdown(ssl.get());
            if (rc < 0 && SSL_get_error(ssl.get(), rc) == SSL_ERROR_WANT_WRITE) {
                if (state == State::open && !deadline.running()) deadline.start(timeouts.drain);
                update();
                return;
            }
            ERR_clear_error();
            // Other failures: the peer is gone, and reading says so.
        }
        shutdown(fd.get(), SHUT_WR);
        out = Out::finished;
        if (state == State::open) deadline.stop();
        update();
    }

    void abort() {
        if (fd) reset_on_close(fd.get());
        if (!error) error = fail(Errc::cancelled, "aborted");
        shut();
        ssl.reset();
        readable.reset();
        writable.reset();
        fd = Fd();
    }

    // No event comes any more. The socket stays until this goes: abort() may still want it.
    void shut() {
        state = State::closed;
        dialer.reset();
        idle.stop();
        deadline.stop();
        evtimer_del(kick.get());
        update();
    }

    bool must_linger() const { return state == State::open && out != Out::open && !eof && !error; }

    void linger() {
        state = State::lingering;
        handler = nullptr;
        idle.stop();
        deadline.start(timeouts.drain);
        update();
    }

    void discard() {
        std::array<char, kLingerScratch> scratch;
        const ssize_t n = recv(fd.get(), scratch.data(), scratch.size(), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
            eof = true;
            update();
            loop.release(this);
        }
    }

    // ── what to wait for ──

    // OpenSSL reads ahead: it may hold whole records, which no event of the socket will tell of, or the beginning of one.
    bool decrypted_waits() const {
        return state == State::open && want_read && !eof && !error && ssl && !need_socket && SSL_has_pending(ssl.get()) == 1;
    }

    bool needs_read() const {
        switch (state) {
        case State::handshaking: return !error && !handshake_wants_write;
        case State::lingering: return !eof;
        case State::open:
            if (error || eof) return false;
            return (want_read && !read_wants_write) || (want_write && write_wants_read && out == Out::open);
        case State::connecting:
        case State::opening:
        case State::closed: return false;
        }
        return false;
    }

    bool needs_write() const {
        switch (state) {
        case State::handshaking: return !error && handshake_wants_write;
        case State::lingering: return out == Out::draining;
        case State::open:
            if (error) return false;
            if (out == Out::draining) return true;
            return (want_write && !write_wants_read && out == Out::open) || (want_read && read_wants_write && !eof);
        case State::connecting:
        case State::opening:
        case State::closed: return false;
        }
        return false;
    }

    void update() {
        arm(readable.get(), read_armed, needs_read());
        arm(writable.get(), write_armed, needs_write());
    }

    static void arm(event* e, bool& armed, bool needed) {
        if (e == nullptr || armed == needed) return;
        if (needed)
            event_add(e, nullptr);
        else
            event_del(e);
        armed = needed;
    }

    std::string selected_alpn() const {
        const unsigned char* name = nullptr;
        unsigned len = 0;
        if (ssl) SSL_get0_alpn_selected(ssl.get(), &name, &len);
        return {reinterpret_cast<const char*>(name), len};
    }

    Loop& loop;
    StreamHandler* handler;
    StreamTimeouts timeouts;
    Fd fd;
    SslPtr ssl;
    std::optional<TlsClient> tls_client;  // while connecting
    SslCtxPtr context;                    // while connecting
    std::unique_ptr<Dialer> dialer;       // while connecting
    EventPtr readable, writable, kick;
    Timer deadline{loop, [this] { on_deadline(); }};
    Timer idle{loop, [this] { on_idle(); }};
    std::optional<Error> error;
    bool* gone = nullptr;
    MonoTime last_move;
    std::uint64_t in = 0, bytes_out = 0;
    std::size_t read_low = 1;
    std::size_t unfinished = 0;  // length of the record that OpenSSL has half written
    State state = State::connecting;
    Out out = Out::open;
    bool counted = false;
    bool read_armed = false, write_armed = false;
    bool want_read = false, want_write = false;
    bool need_socket = false;  // the last read took all that OpenSSL holds but a beginning
    bool read_wants_write = false, write_wants_read = false, handshake_wants_write = false;
    bool eof = false;
    bool write_failed = false;
};

Stream::Stream() = default;

Stream::~Stream() {
    if (!impl_ || !impl_->must_linger()) return;
    if (impl_->gone != nullptr) *impl_->gone = true;  // gone, for the callback that runs
    impl_->gone = nullptr;
    impl_->linger();
    Loop& loop = impl_->loop;
    loop.adopt(std::move(impl_));
}

std::unique_ptr<Stream> Stream::accept(Loop& loop, Fd fd, SSL_CTX* tls_or_null, StreamHandler& handler,
                                       StreamTimeouts timeouts) {
    std::unique_ptr<Stream> out(new Stream);
    out->impl_ = std::make_unique<Impl>(loop, handler, timeouts);
    Impl& s = *out->impl_;
    evutil_make_socket_nonblocking(fd.get());
    s.attach(std::move(fd));
    add(loop.counters().connections_open);
    s.counted = true;
    s.state = Impl::State::opening;
    if (tls_or_null == nullptr) {
        s.schedule();
        return out;
    }
    Result<SslPtr> ssl = make_accepting_ssl(tls_or_null, s.fd.get());
    if (!ssl) {
        (void)s.broken(std::move(ssl).error());
        return out;
    }
    s.ssl = std::move(*ssl);
    s.state = Impl::State::handshaking;
    s.deadline.start(s.handshake_time());
    s.update();
    return out;
}

std::unique_ptr<Stream> Stream::connect(Loop& loop, std::vector<Address> to, const TlsClient* tls_or_null,
                                        StreamHandler& handler, StreamTimeouts timeouts) {
    std::unique_ptr<Stream> out(new Stream);
    out->impl_ = std::make_unique<Impl>(loop, handler, timeouts);
    Impl& s = *out->impl_;
    if (tls_or_null != nullptr) {
        s.tls_client = *tls_or_null;
        SSL_CTX_up_ref(tls_or_null->ctx);  // a reload may swap it while the connection is being made
        s.context.reset(tls_or_null->ctx);
    }
    s.dial(std::move(to));
    return out;
}

void Stream::start_tls(SSL_CTX* tls, Bytes received) { impl_->start_tls(tls, std::move(received)); }

Result<std::size_t> Stream::read(MutableView into) { return impl_->read(into); }

Result<std::size_t> Stream::write(View from) { return impl_->write(from); }

void Stream::want_read(bool on) {
    impl_->want_read = on;
    impl_->update();
    impl_->after_call();
}

void Stream::want_write(bool on) {
    impl_->want_write = on;
    impl_->update();
}

void Stream::finish() { impl_->finish(); }

void Stream::abort() { impl_->abort(); }

void Stream::set_handler(StreamHandler& handler) { impl_->handler = &handler; }

bool Stream::set_read_low(std::size_t bytes) {
    if (is_tls() || !impl_->fd || impl_->read_low == bytes) return false;
    impl_->read_low = bytes;
    set_option(impl_->fd.get(), SOL_SOCKET, SO_RCVLOWAT, static_cast<int>(bytes));
    return true;
}

void Stream::cork(bool on) {
    if (impl_->fd) set_option(impl_->fd.get(), IPPROTO_TCP, TCP_CORK, on ? 1 : 0);
}

bool Stream::is_open() const { return impl_->state == Impl::State::open && !impl_->error; }

bool Stream::is_tls() const { return impl_->ssl != nullptr || impl_->tls_client.has_value(); }

Loop& Stream::loop() { return impl_->loop; }

int Stream::fd() const { return impl_->fd.get(); }

Address Stream::peer() const {
    const Result<Address> a = peer_address(impl_->fd.get());
    return a ? *a : Address();
}

Address Stream::local() const {
    const Result<Address> a = local_address(impl_->fd.get());
    return a ? *a : Address();
}

std::string Stream::alpn() const { return impl_->selected_alpn(); }

SSL* Stream::ssl() const { return impl_->ssl.get(); }

Result<Hash> Stream::exporter(std::string_view label) const {
    if (!impl_->ssl) return fail(Errc::unsupported, "no TLS, no exporter");
    Hash out;
    ERR_clear_error();
    if (SSL_export_keying_material(impl_->ssl.get(), out.bytes.data(), out.bytes.size(), label.data(), label.size(),
                                   nullptr, 0, 0) != 1)
        return openssl_error(Errc::crypto, "exporter");
    return out;
}

void Stream::set_idle_timeout(Duration d) {
    impl_->timeouts.idle = d;
    impl_->last_move = impl_->loop.now();
    if (d > Duration::zero() && impl_->state == Impl::State::open)
        impl_->idle.start(d);
    else
        impl_->idle.stop();
}

void Stream::set_low_latency(std::uint64_t bytes_per_second) {
    const std::uint64_t unsent = std::clamp<std::uint64_t>(bytes_per_second / kUnsentPerSecond, kMinUnsent, 1U << 30);
    set_option(impl_->fd.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(unsent));
}

std::uint64_t Stream::bytes_in() const { return impl_->in; }

std::uint64_t Stream::bytes_out() const { return impl_->bytes_out; }

}  // namespace mssl::proxy
