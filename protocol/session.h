// One mSSL connection after its TLS handshake: hello first, then only the frames that role and state allow, control
// ahead of data. Sans I/O: bytes in through prepare/commit, chunks out through next_chunk.
//
//     ┌───────┐ own HELLO queued, peer's HELLO read  ┌───────┐ ERROR sent or read, bad frame ┌────────┐
//     │ hello │─────────────────────────────────────▶│ ready │──────────────────────────────▶│ closed │
//     └───────┘                                      └───────┘                               └────────┘
//
// Legal frames by role (mssl-protocol(7), SESSIONS): a server never takes OPENED from a member, a peer never takes ANY,
// and so on; anything else is `unexpected` and ends the session: a forgotten case fails closed. Blocks come one after
// the other, the DATA of each from its start to its end; control frames, and answers without data, may go between.
//
// Thread rules: one owner, one thread.
#pragma once

#include <list>
#include <memory>
#include <variant>

#include "protocol/frame.h"

namespace mssl {

enum class SessionRole : std::uint8_t {
    member_to_server,  // this side is the member
    server_to_member,  // this side is the server
    member_to_member,
};

class SessionHandler {
public:
    virtual ~SessionHandler() = default;
    virtual void on_ready(const Hello& peer) = 0;
    // Only frames that are legal here; HELLO, PING, PONG and ERROR are handled by the session itself. An Error returned
    // ends the session and is sent to the peer (its code; never the detail of a local failure).
    virtual Status on_frame(ControlFrame frame) = 0;
    virtual Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) = 0;
    virtual Status on_data(const DataHeader& h, View payload) = 0;
    // A PONG came: the round trip.
    virtual void on_rtt(Duration rtt) = 0;
};

// Payload by reference: the owner of the bytes keeps them alive through data.
struct PayloadRef {
    Handle handle;
    BlockIndex block;
    std::shared_ptr<const std::uint8_t[]> data;
    std::uint32_t length = 0;
};

// One piece for the wire: header bytes, then payload (may be empty), together at most kMaxRecordBytes when payload is
// not empty. The header holds whole frames: waiting control frames share a chunk, a BLOCK goes with its first DATA.
struct OutChunk {
    Bytes header;
    std::shared_ptr<const std::uint8_t[]> keep;  // owns payload
    View payload;
};

class Session final : private FrameSink {
public:
    enum class State : std::uint8_t { hello, ready, closed };

    // What may wait in control frames. The largest bitmap fits six times; a peer that lets more pile up does not
    // read, and its session ends with `busy`.
    static constexpr std::size_t kMaxControlQueue = 1024 * 1024;

    // The handler outlives the session and does not destroy it from inside a call.
    Session(SessionRole role, const Hello& own, SessionHandler& handler);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // ── Input ──
    MutableView prepare() { return parser_.prepare(); }
    // Errors: the session is closed; what is queued (an ERROR frame) should still be written, then the connection ends.
    Status commit(std::size_t n, MonoTime now);
    // The stream ended: truncated when inside a frame.
    Status end() const;

    // ── Output ──
    // Control frames leave before any data that is not already a chunk. Terminates when a frame of this type is not
    // legal to send in this role, or a BLOCK announces data (a bug). May be called before the peer's HELLO; after the
    // end all output is silently dropped. May end the session (kMaxControlQueue): look at state().
    void send(const ControlFrame& frame);
    // Queues a block: its BLOCK frame, then its DATA, cut into chunks. payload.length == frame.length. One without
    // data (nodes_only) goes with the control frames, before blocks queued earlier.
    void send_block(const BlockFrame& frame, PayloadRef payload);
    // Drops what is queued of a block and not begun. Returns true if the block was queued and nothing of it has left.
    bool drop_block(Handle handle, BlockIndex block);
    // Nothing while another PING is unanswered or the session is not ready.
    void ping(MonoTime now);
    // Queues ERROR and closes.
    void fail(Errc code, std::string_view text);
    // The next chunk, nothing when there is none. After it was written whole, call again.
    std::optional<OutChunk> next_chunk();
    bool has_output() const { return !control_.empty() || !data_.empty(); }
    // Data bytes queued and not yet handed out: the owner feeds more when this falls below its low mark.
    std::size_t queued_data() const { return queued_data_; }

    State state() const { return state_; }
    const Hello& peer_hello() const { return peer_; }
    // What the peer said in ERROR, when it did.
    const std::optional<ErrorFrame>& peer_error() const { return peer_error_; }
    // Blocks larger than this are refused with `unsupported`: the smaller of both hellos.
    std::uint32_t max_block_bytes() const;

private:
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_data(const DataHeader& h, View payload) override;
    Status on_hello(const ControlFrame& frame);
    Status on_pong(const Pong& pong);
    Status on_block(const BlockFrame& block);
    Status still_open() const;
    void queue_control(Bytes frame);
    void close_quietly();

    // The block that is coming in.
    struct InBlock {
        Handle handle;
        BlockIndex block;
        std::uint32_t length = 0;
        std::uint32_t received = 0;
    };
    struct OutBlock {
        BlockFrame frame;
        PayloadRef payload;
        bool begun = false;
        std::uint32_t sent = 0;
    };
    SessionRole role_;
    Hello own_;
    SessionHandler* handler_;
    FrameParser parser_;
    State state_ = State::hello;
    Hello peer_;
    std::optional<ErrorFrame> peer_error_;
    std::optional<InBlock> incoming_;
    // Lists: an idle session holds nothing, a deque 600 bytes before its first entry.
    std::list<Bytes> control_;
    std::size_t control_bytes_ = 0;  // with what each entry costs besides
    std::list<OutBlock> data_;
    std::size_t queued_data_ = 0;
    MonoTime now_{};
    std::optional<MonoTime> ping_sent_;
    std::uint64_t ping_cookie_ = 0;
};

}  // namespace mssl
