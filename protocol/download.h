// The receiving side of one object: which block from whom, now? (DESIGN 3 "plan", 9), and: nothing unverified goes
// further (invariants 1–3). Sans I/O: the owner feeds what happened and the time, and carries out the actions.
//
//   a block of one source:
//
//   missing ──request──▶ requested ──BLOCK──▶ arriving ──last DATA──▶ complete ──verify──▶ verified ──▶ HAVE
//      ▲                     │                    │                       │ nodes still in flight elsewhere
//      │◀── refused, timeout, source gone ────────┘                       ▼
//      │◀── bad proof: source cut and reported ◀──────────────── waiting (asks nodes_only when those got lost)
//
// The planner: while the server has not given everything out it is asked for *any* block (tokens); from peers the
// lowest index within a soft window ahead of the readers, else rarest first; requests in flight a source sized by
// rate × RTT; a bounded end game of at most kEndGameSources with cancel; a source that stalls is passed over within
// kStallTime while another could serve; the server is always a source (fallback).
//
// Thread rules: one owner, one thread.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "protocol/frame.h"

namespace mssl {

// Names a connected source within one Download: given by the owner, never reused.
using SourceId = Strong<struct SourceIdTag, std::uint32_t>;

enum class SourceKind : std::uint8_t { server, peer };

// ── Actions: what the owner shall do, in order. ──
struct SendRequest { SourceId source; Request request; };       // handle is filled in by the owner
struct SendCancel { SourceId source; BlockIndex block; };
struct SendAny { SourceId source; std::uint8_t tokens; std::uint8_t level; bool with_path; };
struct BlockReady { BlockIndex block; SourceId source; };       // verified: take it with take_block(), store, tell peers
struct CutSource { SourceId source; Errc why; std::string detail; };  // lied: close, name in the log, report to the server
struct Finished {};                                            // every block is verified
struct Failed { Error error; };                                // conflicting heads, withdrawn: the transfer ends
using DownloadAction = std::variant<SendRequest, SendCancel, SendAny, BlockReady, CutSource, Finished, Failed>;

struct SourceStats {  // for status and the log line
    SourceKind kind = SourceKind::peer;
    std::uint64_t bytes_verified = 0;
    std::uint64_t bytes_wasted = 0;    // duplicates and rejected
    std::uint64_t blocks_rejected = 0;
    double rate = 0;                   // bytes a second, smoothed
    Duration rtt{};
    std::uint32_t outstanding = 0;
    std::uint32_t stalls = 0;          // how often it was passed over for being silent or far too slow
};

// Gives buffers for blocks in arrival. The pool of the daemon implements it; tests use the heap.
class BlockBuffers {
public:
    virtual ~BlockBuffers() = default;
    // At least bytes large; shared so that store, readers and uploads can hold it. Null when memory is short: the
    // Download then requests less.
    virtual std::shared_ptr<std::uint8_t[]> get(std::size_t bytes) = 0;
};

struct VerifiedBlock {  // only Download makes one, and only from a valid proof
    BlockIndex index;
    std::shared_ptr<const std::uint8_t[]> data;
    std::uint32_t length = 0;
    View view() const { return {data.get(), length}; }
private:
    friend class Download;
    VerifiedBlock() = default;
};

struct DownloadLimits {
    std::uint64_t window_bytes = 4 << 20;      // soft in-order window (findings: 4 MiB)
    std::uint64_t max_memory = 32 << 20;       // blocks arriving and waiting
    std::uint8_t max_any_tokens = 32;
    Duration stall_time = std::chrono::milliseconds(1000);
    Duration request_timeout = std::chrono::seconds(30);
    std::uint8_t end_game_sources = 3;
    // 0: no bound. Else no block outside [a reader's position, that + this) is requested, for any of the readers
    // (memory-only transfers, whose blocks cannot go to a store).
    std::uint64_t hard_window_bytes = 0;
    // Mixed with the object id: members must not break ties between equally rare blocks in the same way.
    std::uint64_t seed = 0;
};

class Download {
public:
    Download(Geometry geometry, ObjectId object, BlockBuffers& buffers, DownloadLimits limits = {});
    ~Download();
    Download(const Download&) = delete;
    Download& operator=(const Download&) = delete;

    // ── What happened ──
    // A head whose signature the owner has checked (parse_head). conflicting_head ends the transfer.
    void on_head(MonoTime now, const Head& head);
    // Blocks that the store vouches for (resume), with the nodes it kept (those of blocks suffice); before the first
    // source, and before or after the first head.
    void restore(const Bitmap& have, const std::vector<std::pair<NodePosition, Hash>>& nodes);
    void add_source(MonoTime now, SourceId id, SourceKind kind);
    // With a SendCancel for all that it owes, for an owner that stays connected to it.
    void remove_source(MonoTime now, SourceId id);
    void on_have(MonoTime now, SourceId id, const Bitmap& all);            // OPENED
    void on_have(MonoTime now, SourceId id, const std::vector<BlockRange>& more);
    void on_all_out(MonoTime now);                                        // server: everything was given once
    void on_block(MonoTime now, SourceId id, const BlockFrame& frame);
    // Where the payload goes, with a hold on the buffer: the source may be removed before on_data. Empty = discard
    // (cancelled, duplicate, not asked for within tolerance). An Error means the source broke the protocol: it was cut.
    Result<Slot> slot(MonoTime now, SourceId id, const DataHeader& h, std::size_t payload_bytes);
    // The payload that slot() was asked about is there; payload_bytes may be 0 where it was discarded.
    void on_data(MonoTime now, SourceId id, const DataHeader& h, std::size_t payload_bytes);
    void on_refuse(MonoTime now, SourceId id, const Refuse& refuse);
    void on_rtt(SourceId id, Duration rtt);
    // Positions readers wait at, in bytes; each has a window. None: no reader (prefetch).
    void set_readers(MonoTime now, const std::vector<std::uint64_t>& offsets);
    // Whether this member's upload queue is dry (3) … full (0).
    void set_upload_level(MonoTime now, std::uint8_t level);
    // The owner lost the bytes of a verified block (the store failed): it is missing again; its node stays known.
    void forget(MonoTime now, BlockIndex block);
    // Changes DownloadLimits::hard_window_bytes: the store failed in mid-transfer, blocks have nowhere to go but to readers.
    void set_hard_window(MonoTime now, std::uint64_t bytes);
    // So many verified blocks are still held by the owner (on their way to the disk): they count as memory in use.
    void set_held(MonoTime now, std::size_t blocks);
    // Time passes: stalls, timeouts, replanning. Call at next_deadline() or sooner.
    void tick(MonoTime now);
    MonoTime next_deadline() const;

    // ── What to do ── Drained after every call above; empty when there is nothing.
    std::vector<DownloadAction> take_actions();
    // Once for each BlockReady.
    VerifiedBlock take_block(BlockIndex block);

    // ── State ──
    const Bitmap& have() const;
    const NodeCache& nodes() const;
    Geometry geometry() const;
    bool complete() const;
    const SourceStats* stats(SourceId id) const;
    // Why the last source in line was passed over, for status ("peer … stalled").
    std::uint64_t bytes_from(SourceKind kind) const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace mssl
