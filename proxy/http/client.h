// A client of one HTTP/1.1 server: what both sides need to ask origins and servers (DESIGN 3: relay, fall back, resolve).
// One HttpClient is one request and its answer; HttpPool keeps the connections that may serve another.
//
//     looking up ──▶ connecting ──▶ exchanging ──▶ done (the connection goes back to the pool, or is closed)
//         └──────────────┴─────────────┼────────▶ failed (on_error)
//                                      └────────▶ tunnel (101, or 2xx to CONNECT) ──▶ done
//
// A request without a body and with an idempotent method (RFC 9110 §9.2.2) is repeated once, on a new connection, when a
// reused connection died before the first byte of an answer (RFC 9112 §9.3.1). Nothing else is ever repeated.
//
// Thread rules: one loop. Handler calls come from the loop, never from inside a call into the client.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/core/stream.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

struct HttpEndpoint {
    std::vector<Address> addresses;  // tried in order; empty: host and port are looked up
    std::string host;                // without brackets
    std::uint16_t port = 80;
    SSL_CTX* tls = nullptr;          // null: plain TCP. Outlives the request
    std::string tls_name;            // SNI and verified name; empty with tls: host
    std::string alpn = "http/1.1";   // with tls
    bool alpn_optional = false;      // the server may know no ALPN (RFC 7301): then it is taken to speak HTTP/1.1
};

struct HttpTimeouts {
    Duration connect = std::chrono::seconds(10);  // TCP, each address; and the name's look-up
    Duration first_byte = std::chrono::seconds(60);  // from the end of the request to the head of the answer
    Duration between = std::chrono::seconds(60);  // without progress in either direction, once begun; not while paused
    Duration handshake = std::chrono::seconds(10);  // TLS
};

class HttpClientHandler {
public:
    virtual ~HttpClientHandler() = default;
    // A connection is there and the head is about to be written (again, when the request is repeated on a new one): the last
    // chance to add what depends on the connection, such as a proof over its TLS exporter. reused: it carried requests before;
    // then this comes inside start().
    virtual void on_connection(Stream& /*stream*/, bool /*reused*/, RequestHead& /*head*/) {}
    // status 100 … 199 (but 101): interim, another head follows. `body` and `length` say how the content is framed.
    virtual void on_response_head(ResponseHead head) = 0;
    // A piece of content (never empty), valid during the call. After on_upgraded: bytes of the tunnel.
    virtual void on_body(View piece) = 0;
    // Where content that a length frames is to be read to, straight from the socket: the piece that on_body brings next then is its
    // beginning. It stays until then. The socket wakes its loop for as much as fits only, or for 128 KiB: in such a place a part is of
    // no use before the rest. Empty: a buffer of the client's.
    virtual MutableView body_room() { return {}; }
    // The answer is over; of a tunnel: the other side ended its direction.
    virtual void on_complete() = 0;
    // timed_out, unreachable, bad_certificate, reset, truncated (ended before its framing said so), malformed, too_large, …
    // Nothing comes after it.
    virtual void on_error(const Error& error) = 0;
    // write_body() returned false before; now there is room again.
    virtual void on_writable() {}
    // After on_response_head of a 101, or a 2xx to CONNECT: from here on_body and write_body carry raw bytes, end_body()
    // ends our direction, and on_complete() follows the peer's end.
    virtual void on_upgraded() {}
};

class HttpPool;

class HttpClient final : public Disposable {
public:
    // Begins at once; the first callback comes later, from the loop. head.body/length frame the request's content:
    // none, length or chunked (until_close is not possible for requests). With Expect: 100-continue in head the owner waits
    // for the 100 (or does not) before write_body, as it likes. Pool and handler outlive the client.
    static std::unique_ptr<HttpClient> start(HttpPool& pool, const HttpEndpoint& to, RequestHead head,
                                             HttpClientHandler& handler, HttpTimeouts timeouts = {});
    // At any time, also inside its own callbacks; no callback comes after. An unfinished exchange closes its connection.
    ~HttpClient() override;

    // Takes all of piece (copied only as far as the socket does not take it at once). false: stop until on_writable().
    // Framed by head.body; more than head.length bytes: ignored beyond it, and the exchange fails.
    bool write_body(View piece);
    // No more content. With fewer bytes than head.length the exchange fails.
    void end_body();
    // Stops reading the answer (back-pressure): at most one more piece of what was read already may come.
    void pause_reading(bool paused);
    // No callback comes after; the connection is closed.
    void abort();

    bool reused_connection() const;
    // Of the connection, once there is one (after the first callback but on_error); else empty.
    Address peer() const;

private:
    HttpClient() = default;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

// Idle connections of one loop, by endpoint (addresses or host and port, TLS context, name, ALPN).
class HttpPool {
public:
    struct Limits {
        std::size_t idle_total = 64;
        std::size_t idle_an_endpoint = 8;
        Duration idle = std::chrono::seconds(15);  // below what common servers keep (nginx 75 s, Apache 5 s: hence the repeat)
    };
    HttpPool(Loop& loop, Workers& workers, Limits limits);
    HttpPool(Loop& loop, Workers& workers);
    ~HttpPool();
    HttpPool(const HttpPool&) = delete;
    HttpPool& operator=(const HttpPool&) = delete;

    Loop& loop();
    std::size_t idle() const;
    void close_idle();  // reload, shutdown

private:
    friend class HttpClient;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
