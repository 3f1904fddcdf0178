// Where a hosted object's blocks come from when they are to be given: memory while they are fresh, the spool, and the origin again,
// whose bytes leave here only when they verify against the object's own tree (DESIGN 3).
//
//   read ──▶ recent? ──▶ spool? ──▶ origin (Range, runs of neighbours, kMaxRereads at once) ──▶ node right? ──▶ given, kept, spooled
//                                                                                               └── no: withdrawn
//
// Thread rules: the owner loop of the object, but for the constructor. Callbacks run there, maybe inside the call.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/merkle.h"
#include "proxy/core/runtime.h"
#include "proxy/server/range_reader.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

class BlockSource : public std::enable_shared_from_this<BlockSource> {
public:
    // Fresh blocks in memory, so that they are given without a disk read. They are buffers of the common pool.
    static constexpr std::size_t kRecentBytes = 16 * 1024 * 1024;
    // Connections to the origin that one object takes for reading again.
    static constexpr unsigned kMaxRereads = 4;

    struct Parts {
        Runtime runtime;
        Loop* loop;
        ObjectId object;
        Geometry geometry;
        std::shared_ptr<Store> spool;
        std::shared_ptr<RangeReader> origin;
        // The block's node; every block that is read has one.
        std::function<std::optional<Hash>(BlockIndex)> node;
        std::size_t recent_bytes = kRecentBytes;
    };
    explicit BlockSource(Parts parts)
        : parts_(std::move(parts)), spool_state_(parts_.spool ? Spool::opening : Spool::none) {}

    // Finds or makes the spool file, in a worker; until then what is kept waits. A file whose nodes are not the tree's own is removed.
    // nodes: level 0 of what the object knows; empty for a new one.
    void open_spool(std::vector<Hash> nodes);
    // A block of the cold read, or one that verified: to memory and the spool.
    void keep(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node);
    // Bytes that wait for the spool.
    std::size_t backlog() const { return backlog_; }
    // Calls go when backlog() < kMaxSpoolBacklog: at once, or later.
    void when_room(std::function<void()> go);
    // Everything is in the spool as soon as the backlog is written: memory is given back. Without a spool it stays.
    void settle();

    // Errors: withdrawn (the origin changed, or its bytes do not verify); anything else is passing.
    using Done = std::function<void(Result<BlockData>)>;
    void read(BlockIndex block, Done done);
    // Answers everybody who waits with why, and lets go of everything.
    void close(const Error& why);

private:
    struct Write {
        BlockIndex block;
        BlockData data;
        std::uint32_t length;
        Hash node;
    };
    void remember(BlockIndex block, const BlockData& data, std::uint32_t length);
    void write(Write w);
    void spool_is(std::shared_ptr<ObjectFile> file);
    void give_up_spool(const Error& why);
    void wrote(std::uint32_t length);
    void read_again(BlockIndex block);
    void start_rereads();
    void verify_run(BlockIndex first, std::vector<BlockData> data);
    void answer(BlockIndex block, const Result<BlockData>& result);

    enum class Spool : std::uint8_t { none, opening, open };
    Parts parts_;
    Spool spool_state_;
    std::shared_ptr<ObjectFile> file_;
    std::deque<Write> unopened_;  // writes that came before the file was there
    std::size_t backlog_ = 0;
    std::vector<std::function<void()>> room_;
    std::deque<std::pair<std::uint32_t, std::uint32_t>> recent_order_;  // block, length
    std::unordered_map<std::uint32_t, BlockData> recent_;
    std::size_t recent_bytes_ = 0;
    bool settling_ = false;
    std::unordered_map<std::uint32_t, std::vector<Done>> waiting_;
    std::deque<std::uint32_t> rereads_;
    unsigned rereading_ = 0;
    bool closed_ = false;
};

}  // namespace mssl::proxy
