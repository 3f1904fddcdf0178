// The providing side of one opened handle: member or server towards one downloader. Decides what may be sent, in which
// order; never touches payload: it names (block, length) and the owner reads and sends it.
//
// Requests are served first in, first out (rarest-first here wrecks playing in order: DESIGN 9). Bounded: at most
// kMaxQueued requests; more is `busy`.
//
// Thread rules: one owner, one thread.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "protocol/frame.h"

namespace mssl {

class Upload {
public:
    // 16 blocks of 256 KiB or 64 of 64 KiB is more than a second of most lines; more only hides a dead reader.
    static constexpr std::size_t kMaxQueued = 256;

    using NodeLookup = std::function<std::optional<Hash>(NodePosition)>;
    // head_blocks: what this side's newest head covers. node: complete nodes this side holds, verified.
    Upload(Geometry geometry, NodeLookup node) : geometry_(geometry), node_(std::move(node)) {}

    void set_head_blocks(std::uint64_t blocks) { head_blocks_ = blocks; }
    std::uint64_t head_blocks() const { return head_blocks_; }

    // Checks a request against what is held. nullopt: queued. A Refuse: send it. An Error: the downloader broke the
    // protocol (block or nodes out of bounds, twice the same): cut.
    Result<std::optional<Refuse>> on_request(const Request& request, const Bitmap& have);
    // A block given for a token (server only): queued behind what is there; with_path as in Any.
    void give(BlockIndex block, bool with_path);
    void on_cancel(BlockIndex block);

    struct Job {
        BlockFrame frame;  // handle is filled in by the owner
    };
    // The next block to send: its frame, then frame.length bytes of DATA. Refused requests (nodes vanished) come out as
    // Refuse. nullopt: nothing queued.
    std::optional<std::variant<Job, Refuse>> next();
    std::size_t queued() const { return queue_.size(); }
    std::uint64_t queued_bytes() const;

private:
    struct Item {
        BlockIndex block;
        std::uint64_t head_blocks = 0;
        std::uint64_t nodes = 0;
        bool nodes_only = false;
        bool given = false;
    };
    Geometry geometry_;
    NodeLookup node_;
    std::uint64_t head_blocks_ = 0;
    std::deque<Item> queue_;
};

}  // namespace mssl
