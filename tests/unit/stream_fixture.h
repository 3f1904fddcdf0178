// Two Streams over loopback in one Loop, turned by hand until something is so.
#pragma once

#include <sys/socket.h>
#include <csignal>

#include <functional>
#include <optional>
#include <string>

#include "proxy/core/stream.h"
#include "proxy/core/tls.h"
#include "tests/unit/tls_fixture.h"

namespace mssl::test {

using namespace mssl::proxy;

// Turns the loop until done; false when that takes longer than anything in these tests may.
inline bool turn_until(Loop& loop, const std::function<bool()>& done, Duration limit = std::chrono::seconds(20)) {
    Timer wake(loop, [] {});
    wake.start(limit);
    const MonoTime end = mono_now() + limit;
    while (!done()) {
        if (mono_now() >= end) return false;
        event_base_loop(loop.base(), EVLOOP_ONCE);
    }
    return true;
}

// Does what the test tells it at each callback, and keeps what came.
struct Side : StreamHandler {
    std::unique_ptr<Stream> stream;
    bool open = false;
    std::string received;
    std::string to_send;
    std::size_t sent = 0;
    std::size_t write_size = 16384, read_size = 16384;
    bool finish_when_sent = false;
    std::optional<Error> error;     // on_error
    std::optional<Error> read_end;  // what read() said last, but again
    std::function<void()> when_open, when_readable, when_writable, when_error;

    void on_open() override {
        open = true;
        if (when_open) return when_open();
        stream->want_read(true);
        if (!to_send.empty() || finish_when_sent) stream->want_write(true);
    }
    void on_readable() override {
        if (when_readable) return when_readable();
        drain();
    }
    void drain() {
        std::string buffer(read_size, '\0');
        for (;;) {
            const auto n = stream->read({reinterpret_cast<std::uint8_t*>(buffer.data()), buffer.size()});
            if (n) {
                received.append(buffer, 0, *n);
                continue;
            }
            if (n.code() != Errc::again) read_end = n.error();
            return;
        }
    }
    void on_writable() override {
        if (when_writable) return when_writable();
        pump();
    }
    void pump() {
        while (sent < to_send.size()) {
            const auto n = stream->write(as_view(std::string_view(to_send).substr(sent, write_size)));
            if (!n) return;
            sent += *n;
        }
        stream->want_write(false);
        if (finish_when_sent) stream->finish();
    }
    void on_error(const Error& e) override {
        error = e;
        if (when_error) when_error();
    }
};

struct Pair {
    explicit Pair(bool with_tls, StreamTimeouts t = {}) : timeouts(t) {
        std::signal(SIGPIPE, SIG_IGN);
        if (with_tls) {
            server_ctx = std::move(*make_server_context(certificate.certificate_file, certificate.key_file));
            client_ctx = std::move(*make_client_context(certificate.certificate_file, nullptr));
            tls = TlsClient{client_ctx.get(), "localhost", "http/1.1"};
        }
        listening = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        at = *Address::parse("127.0.0.1:0");
        if (bind(listening.get(), at.sa(), at.length()) != 0 || listen(listening.get(), 8) != 0) std::abort();
        at = *local_address(listening.get());
    }
    void connect(std::vector<Address> to = {}) {
        if (to.empty()) to = {at};
        client.stream = Stream::connect(loop, std::move(to), tls ? &*tls : nullptr, client, timeouts);
    }
    Fd take() { return Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
    void accept() { server.stream = Stream::accept(loop, take(), server_ctx.get(), server, timeouts); }
    bool both_open() {
        connect();
        accept();
        return turn_until(loop, [&] { return client.open && server.open; });
    }

    TempDir dir;
    TestCertificate certificate{dir, "localhost", "DNS:localhost,IP:127.0.0.1"};
    SslCtxPtr server_ctx, client_ctx;
    std::optional<TlsClient> tls;
    StreamTimeouts timeouts;
    Fd listening;
    Address at;
    Loop loop{0};
    Side client, server;
};

}  // namespace mssl::test
