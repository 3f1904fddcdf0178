// A Session on a Stream: the one place where mSSL frames meet a socket. Reads payload straight into the handler's slot; packs
// waiting control frames and one data chunk into each TLS record; tells when more data should be queued.
//
// Thread rules: the loop's thread only. Handler calls come from the loop, never from inside a call into the Wire; a handler may
// dispose of the Wire in any of them,
// after abandon().
#pragma once

#include <memory>

#include "protocol/session.h"
#include "proxy/core/stream.h"

namespace mssl::proxy {

class WireHandler {
public:
    virtual ~WireHandler() = default;
    virtual void on_ready(const Hello& peer) = 0;
    virtual Status on_frame(ControlFrame frame) = 0;
    virtual Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) = 0;
    virtual Status on_data(const DataHeader& h, View payload) = 0;
    virtual void on_rtt(Duration rtt) = 0;
    // Data queued in the session fell below low_mark: queue more now. Also after on_ready.
    virtual void on_drained() = 0;
    // The connection is over: broken, ended by either side, or a protocol error (then also sent to the peer). Called once.
    virtual void on_closed(const Error& why) = 0;
};

class Wire final : public Disposable, private StreamHandler, private SessionHandler {
public:
    // Takes an open or connecting Stream; becomes its handler. HELLO goes out as soon as the stream is open.
    Wire(Loop& loop, SessionRole role, const Hello& own, WireHandler& handler);
    ~Wire() override;
    void begin(std::unique_ptr<Stream> stream);
    // For Stream::connect, which wants its handler at birth.
    StreamHandler& as_stream_handler() { return *this; }

    void send(const ControlFrame& frame);
    void send_block(const BlockFrame& frame, PayloadRef payload);
    bool drop_block(Handle handle, BlockIndex block);
    void ping();
    // Sends ERROR, writes what is queued, closes; on_closed follows.
    void fail(Errc code, std::string_view text);
    // No handler call comes after this: before the handler goes, or gives the Wire to Loop::dispose.
    void abandon();
    // Writes what is queued, then an orderly end; on_closed follows with `closed`.
    void finish();

    std::size_t queued_data() const { return session_.queued_data(); }
    // Of blocks: what left, which is not what was cancelled in the queue.
    std::uint64_t payload_sent() const { return payload_sent_; }
    void set_low_mark(std::size_t bytes) { low_mark_ = bytes; }
    const Session& session() const { return session_; }
    Stream& stream() { return *stream_; }
    bool has_stream() const { return stream_ != nullptr; }
    Loop& loop() { return *loop_; }

private:
    // StreamHandler
    void on_open() override;
    void on_readable() override;
    void on_writable() override;
    void on_error(const Error& error) override;
    // SessionHandler
    void on_ready(const Hello& peer) override;
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_data(const DataHeader& h, View payload) override;
    void on_rtt(Duration rtt) override;

    void arm_write();
    void end(const Error& why);
    void protocol_error(const Error& why);
    bool fill_record(Bytes& record);

    Loop* loop_;
    WireHandler* handler_;
    Session session_;
    std::unique_ptr<Stream> stream_;
    Timer linger_;
    Bytes pending_;             // a record the socket did not take yet
    std::optional<OutChunk> next_;  // begun: did not fit the last record
    std::uint64_t payload_sent_ = 0;
    std::size_t low_mark_ = 64 * 1024;
    std::optional<Error> ending_;  // why, once decided; reported after the output went out
    bool finishing_ = false;
    bool closed_ = false;
};

}  // namespace mssl::proxy
