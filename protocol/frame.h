// What crosses a connection between mSSL parties after the TLS handshake (mssl-protocol(7), FRAMES).
//
//     frame = type u8 ‖ length u24 ‖ body[length]
//
// Control frames are at most kMaxControlBody bytes. DATA is the only frame with payload: a fixed header of 12
// bytes, then payload up to the frame's end; header and payload fit one TLS record together (DESIGN 4), so a
// receiver can read the payload straight into its place.
//
// Encode and decode of a message stand side by side in frame.cpp and read like the schema. Decoders accept
// exactly what encoders make: unknown types are `unexpected`, trailing bytes `malformed`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/bitmap.h"
#include "protocol/bytes.h"
#include "protocol/hello.h"
#include "protocol/merkle.h"
#include "protocol/objects.h"

namespace mssl {

inline constexpr std::size_t kFrameHeaderBytes = 4;
inline constexpr std::size_t kDataHeaderBytes = 12;                 // handle u32 ‖ block u32 ‖ offset u32
inline constexpr std::size_t kMaxRecordBytes = 16 * 1024;           // one TLS record
inline constexpr std::size_t kMaxDataPayload = kMaxRecordBytes - kFrameHeaderBytes - kDataHeaderBytes;
// A manifest (kMaxObjectDer) and a bitmap of 2^20 blocks both fit.
inline constexpr std::size_t kMaxControlBody = 256 * 1024;
inline constexpr std::size_t kMaxHaveRanges = 1024;
// 2^20 blocks: 256 GiB. Of larger objects a side says what it has by HAVE alone, with an empty bitfield.
inline constexpr std::size_t kMaxBitfieldBytes = 128 * 1024;
// An index has 32 bits; so no count of blocks is more, and no tree has a level ≥ 32.
inline constexpr std::uint64_t kMaxBlocks = std::uint64_t{1} << 32;
inline constexpr std::uint8_t kMaxTreeLevels = 32;
inline constexpr std::size_t kMaxPeersPerFrame = 128;
inline constexpr std::size_t kMaxTextBytes = 512;
inline constexpr std::size_t kMaxTokenBytes = 256;
inline constexpr std::uint8_t kMaxAnyTokens = 64;
inline constexpr std::uint8_t kMaxAnyLevel = 3;

enum class FrameType : std::uint8_t {
    hello = 0x01,
    error = 0x02,   // the connection ends after it
    ping = 0x03,
    pong = 0x04,
    enrol = 0x08,   // member → server, without client certificate
    enrolled = 0x09,
    announce = 0x0a,  // member → server: where peers reach me
    announced = 0x0b, // server → member: dialled back or not
    open = 0x10,    // downloader → provider (member or server): ticket; begins a handle
    opened = 0x11,  // provider → downloader: accepted, with what it has
    close = 0x12,   // either: the handle ends
    have = 0x13,    // provider → downloader
    head = 0x14,    // provider → downloader: a newer signed head
    request = 0x15, // downloader → provider
    cancel = 0x16,
    block = 0x17,   // provider → downloader: nodes; the block's DATA follows
    data = 0x18,
    refuse = 0x19,  // provider → downloader: this request will not be served
    any = 0x20,     // member → server: tokens for any block (DESIGN 9)
    all_out = 0x21, // server → member: every block was given out once
    peers = 0x22,   // server → member: directory entries
    progress = 0x23,  // member → server: what it has; at most one a second
    renew = 0x24,   // member → server: a new ticket, same grant
    ticket = 0x25,  // server → member
    report = 0x26,  // member → server: a peer that lied
};

struct ErrorFrame { Errc code = Errc::internal; std::string text; bool operator==(const ErrorFrame&) const = default; };
struct Ping { std::uint64_t cookie = 0; bool operator==(const Ping&) const = default; };
struct Pong { std::uint64_t cookie = 0; bool operator==(const Pong&) const = default; };
// proof = Ed25519 by the key over "mssl/1 enrol" ‖ 0x00 ‖ 32 bytes of TLS exporter "EXPORTER-mssl-enrol" (RFC 8446 §7.5)
struct Enrol { PublicKey key; Signature proof; std::string token; bool operator==(const Enrol&) const = default; };
struct Enrolled { Bytes realm_der, signer_der, member_der; bool operator==(const Enrolled&) const = default; };
struct Announce { std::uint16_t port = 0; bool operator==(const Announce&) const = default; };
struct Announced { bool reachable = false; std::string address; bool operator==(const Announced&) const = default; };

// The signer certificate travels so that a provider can check tickets of a signer it has not met.
struct Open { Handle handle; ObjectId object; Bytes ticket_der; Bytes signer_der; bool operator==(const Open&) const = default; };
struct Opened { Handle handle; std::uint64_t blocks = 0; Bytes bitfield; bool operator==(const Opened&) const = default; };
struct Close { Handle handle; bool by_provider = false; Errc code = Errc::ok; bool operator==(const Close&) const = default; };
struct Have { Handle handle; std::vector<BlockRange> ranges; bool operator==(const Have&) const = default; };
struct HeadFrame { Handle handle; Bytes head_der; bool operator==(const HeadFrame&) const = default; };
// nodes: bit l set = the sibling at level l is needed (DESIGN 5). head_blocks: blocks covered by the head that the
// path ends under. nodes_only: the block's data is already here, its nodes got lost with another request.
struct Request {
    Handle handle; BlockIndex block; std::uint64_t head_blocks = 0; std::uint64_t nodes = 0; bool nodes_only = false;
    bool operator==(const Request&) const = default;
};
struct Cancel { Handle handle; BlockIndex block; bool operator==(const Cancel&) const = default; };
// length = bytes of DATA that follow for this block: the block's length, or 0 for nodes_only.
// mask repeats which siblings these are, since the server gives blocks that were not asked for by number (ANY).
struct BlockFrame {
    Handle handle; BlockIndex block; std::uint32_t length = 0; std::uint64_t head_blocks = 0; std::uint64_t mask = 0;
    std::vector<Hash> nodes;
    bool operator==(const BlockFrame&) const = default;
};
struct DataHeader { Handle handle; BlockIndex block; std::uint32_t offset = 0; bool operator==(const DataHeader&) const = default; };
struct Refuse { Handle handle; BlockIndex block; Errc code = Errc::internal; bool operator==(const Refuse&) const = default; };
// tokens: how many more blocks the member is ready to take (absolute, not a delta; replaces the last). level: how
// dry its upload queue is, 3 = nearly empty (DESIGN 9). Blocks given for a token come without nodes (mask 0): on the
// BLOCK frame the member asks for those it still needs with nodes_only. with_path: the first block given after this
// frame brings its whole path, because the member knows nothing but the head's peaks yet (first byte at once).
struct Any { Handle handle; std::uint8_t tokens = 0; std::uint8_t level = 3; bool with_path = false; bool operator==(const Any&) const = default; };
struct AllOut { Handle handle; bool operator==(const AllOut&) const = default; };
struct PeerEntry {
    MemberId member; std::array<std::uint8_t, 16> address{};  // IPv6, or IPv4-mapped (RFC 4291 §2.5.5.2)
    std::uint16_t port = 0;  // 0 = not reachable: it connects out
    bool gone = false;
    bool operator==(const PeerEntry&) const = default;
};
struct Peers { Handle handle; std::vector<PeerEntry> peers; bool operator==(const Peers&) const = default; };
struct Progress { Handle handle; std::uint64_t have_count = 0; Bytes bitfield;  // empty, or the whole bitmap (after reconnecting)
    bool operator==(const Progress&) const = default; };
struct Renew { Handle handle; bool operator==(const Renew&) const = default; };
struct TicketFrame { Handle handle; Bytes ticket_der; bool operator==(const TicketFrame&) const = default; };
struct Report { Handle handle; MemberId member; Errc code = Errc::internal; bool operator==(const Report&) const = default; };

using ControlFrame = std::variant<Hello, ErrorFrame, Ping, Pong, Enrol, Enrolled, Announce, Announced, Open, Opened, Close,
                                  Have, HeadFrame, Request, Cancel, BlockFrame, Refuse, Any, AllOut, Peers, Progress,
                                  Renew, TicketFrame, Report>;

FrameType type_of(const ControlFrame& frame);
// "HELLO", …; "unknown" for a value that is no enumerator.
std::string_view frame_name(FrameType type);
// The type that a byte on the wire names, if any.
std::optional<FrameType> frame_type(std::uint8_t type);
// Bytes that a body of this type can have at most (DATA: header and payload): checked before memory is taken.
std::size_t max_frame_body(FrameType type);
// What a failure is called on the wire: codes below 0x40 by their own name, `truncated` malformed, and what is
// nobody else's business (and `ok`, which is no failure) busy.
Errc wire_code(Errc code);

// Header and body. Total: every value within the limits above encodes; codes as wire_code says, control characters
// in texts become '?'. Beyond the limits, or with another number of nodes than bits in the mask: terminates.
Bytes encode_frame(const ControlFrame& frame);
// Body of a frame of a known type. Errors: malformed, too_large, unexpected (unknown type, or data).
Result<ControlFrame> decode_frame(std::uint8_t type, View body);

// The 16 bytes before a payload of 1 ≤ payload_bytes ≤ kMaxDataPayload.
std::array<std::uint8_t, kFrameHeaderBytes + kDataHeaderBytes> encode_data_header(const DataHeader& h,
                                                                                  std::size_t payload_bytes);

// Where a payload goes, and a hold on what it lies in: whoever fills the slot may outlive whoever gave it.
struct Slot {
    Slot() = default;  // discard
    explicit Slot(MutableView v, std::shared_ptr<const void> k = nullptr) : view(v), keep(std::move(k)) {}
    bool empty() const { return view.empty(); }
    std::size_t size() const { return view.size(); }
    auto begin() const { return view.begin(); }
    auto end() const { return view.end(); }
    MutableView view;
    std::shared_ptr<const void> keep;  // null: the sink keeps the place until on_data or its own end
};

class FrameSink {
public:
    virtual ~FrameSink() = default;
    virtual Status on_frame(ControlFrame frame) = 0;
    // Where payload_bytes for this header go, exactly so many; held until on_data or the parser's end. An empty slot
    // (payload_bytes > 0) discards the payload: it is read and thrown away, and on_data comes with an empty view.
    virtual Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) = 0;
    virtual Status on_data(const DataHeader& h, View payload) = 0;
};

// Splits a byte stream into frames without copying payload: ask where the next bytes belong, read at most that
// many there, say how many came.
//
//         ┌────────┐ 4 bytes ┌──────────┐ length bytes
//     ──▶ │ header │────────▶│ control  │───▶ on_frame ──▶ header
//         └────────┘         └──────────┘
//              │ type data  ┌────────────┐ 12 bytes ┌─────────┐ slot()
//              └───────────▶│ dataheader │─────────▶│ payload │───▶ on_data ──▶ header
//                           └────────────┘          └─────────┘
//
// After an error the parser stays failed. Memory: one control body at most.
class FrameParser {
public:
    explicit FrameParser(FrameSink& sink) : sink_(&sink) {}
    // Never empty while ok; empty after an error.
    MutableView prepare();
    // n ≤ prepare().size() bytes were placed there.
    Status commit(std::size_t n);
    // True between frames: the stream may end here.
    bool at_boundary() const { return state_ == State::header && filled_ == 0; }
    // Copies from input through prepare/commit; for tests, fuzzers and the simulator.
    Status feed(View input);

private:
    enum class State { header, control, data_header, payload, failed };
    Status advance();
    Status begin_frame();
    Status begin_payload();
    void expect(State state, std::size_t bytes);

    FrameSink* sink_;
    State state_ = State::header;
    std::size_t filled_ = 0;
    std::size_t expected_ = kFrameHeaderBytes;
    std::uint8_t type_ = 0;
    std::size_t length_ = 0;
    std::array<std::uint8_t, kDataHeaderBytes> fixed_{};
    Bytes body_;
    DataHeader data_{};
    Slot slot_;
    bool discarding_ = false;
    Bytes discard_;
};

}  // namespace mssl
