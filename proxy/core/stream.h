// One connection, plain TCP or TLS, non-blocking, on raw libevent events and SSL_read/SSL_write (findings: not
// bufferevent). It never buffers application data itself beyond one pending TLS record.
//
//     connecting ──▶ handshaking (TLS) ──▶ open ──▶ draining (close_notify, FIN) ──▶ closed
//          └──────────────┴───────────────┴──────────────────────────────────────────▶ closed (error)
//
// Thread rules: the loop's thread only. Handler calls come from the loop, never from inside a call into the Stream
// (errors found there are delivered later, through the loop). A handler may dispose of the Stream in any callback.
#pragma once

#include <memory>
#include <string>

#include "protocol/openssl.h"
#include "proxy/core/loop.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

class StreamHandler {
public:
    virtual ~StreamHandler() = default;
    virtual void on_open() = 0;          // connected, and for TLS: handshake done and verified
    virtual void on_readable() = 0;      // read() until again
    virtual void on_writable() = 0;      // after want_write(true): write() until again or nothing is left
    // Broken or timed out; nothing comes after it. An orderly end is not this: read() says `closed`.
    virtual void on_error(const Error& error) = 0;
};

struct StreamTimeouts {
    Duration connect = std::chrono::seconds(10);    // TCP, each address; and the TLS handshake, where it has no time of its own
    Duration handshake = Duration::zero();          // TLS; 0: as connect
    Duration idle = std::chrono::seconds(120);      // neither direction moved; 0 = never
    Duration drain = std::chrono::seconds(5);
};

struct TlsClient {
    SSL_CTX* ctx = nullptr;   // the Stream takes a reference
    std::string host;         // SNI and verified name (RFC 6125); an IP address is verified as such. Empty: neither
    std::string alpn;         // one protocol, e.g. "mssl/1"; the peer must select it or the handshake fails
    bool alpn_optional = false;  // the peer may select none (an old HTTP server)
    std::string sni{};        // where host is empty: a server name that is sent, and not verified
};

class Stream final : public Disposable {
public:
    static std::unique_ptr<Stream> accept(Loop& loop, Fd fd, SSL_CTX* tls_or_null, StreamHandler& handler,
                                          StreamTimeouts timeouts = {});
    // Connects to one of the addresses, as Dialer does (each with the connect timeout); what TLS then says is final.
    // on_error: unreachable (names every address with its reason), bad_certificate (names the reason), unsupported (ALPN),
    // timed_out, reset, truncated, crypto.
    static std::unique_ptr<Stream> connect(Loop& loop, std::vector<Address> to, const TlsClient* tls_or_null,
                                           StreamHandler& handler, StreamTimeouts timeouts = {});
    // After finish() the socket lingers in the loop until the peer ends or the drain timeout is over, because a close with
    // unread input would destroy what is on its way (RFC 9112 §9.6). Without finish() it closes at once: abort() when that
    // must not look complete.
    ~Stream() override;

    // > 0 bytes; Errors: again, closed (orderly: FIN, and for TLS close_notify), reset, truncated (FIN without
    // close_notify). All but the first two come to on_error as well. After a write that failed, also inside on_error, what
    // came before can still be read: who refuses input has often answered it (RFC 9112 §9.5).
    Result<std::size_t> read(MutableView into);
    // > 0 bytes taken (all of them or a prefix); Error again: want_write(true) is set, and on_writable comes once it may
    // go on, with the same bytes first (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER is set). For TLS pass at most 16,384 bytes to make one record.
    Result<std::size_t> write(View from);
    void want_read(bool on);   // level: on_readable comes while data is there (also data that TLS already decrypted)
    void want_write(bool on);
    // on_readable comes when so many bytes are there, or the end, and not before (socket(7), SO_RCVLOWAT). 1 as in the beginning. True:
    // that changes something. Without effect on TLS, which reads records.
    bool set_read_low(std::size_t bytes);
    // While on, the kernel sends whole segments only: for a run of writes that follow one another at once. Off sends the rest.
    void cork(bool on);
    // No more writes: close_notify and FIN after what was written; reading may go on until the peer ends. While a write that
    // said again was not repeated, it is abort(): the peer has half a record.
    void finish();
    // RST (plain) or an abrupt close: the peer must not take what it has for complete.
    void abort();

    // From here it is the accepting side of TLS, on a plain stream that is open. received: what was read of it already, and belongs to
    // the handshake. on_open comes again; until then nothing is read or written. Errors: as accept()'s, to on_error.
    void start_tls(SSL_CTX* tls, Bytes received);

    // Later callbacks go to handler: for a port that learns from ALPN who shall speak. Never from a destroyed handler's callback.
    void set_handler(StreamHandler& handler);
    bool is_open() const;
    bool is_tls() const;
    Loop& loop();
    int fd() const;
    Address peer() const;
    Address local() const;
    std::string alpn() const;            // selected, or empty
    SSL* ssl() const;                    // null for TCP
    // RFC 8446 §7.5 exporter, 32 bytes.
    Result<Hash> exporter(std::string_view label) const;
    void set_idle_timeout(Duration d);
    // Small unsent backlog in the kernel: max(16 KiB, 10 ms of the rate) (DESIGN 4).
    void set_low_latency(std::uint64_t bytes_per_second);
    std::uint64_t bytes_in() const;
    std::uint64_t bytes_out() const;

private:
    Stream();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
