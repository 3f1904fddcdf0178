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
    // How long an object whose block could not be spooled is not spooled.
    static constexpr Duration kSpoolRetry = std::chrono::minutes(1);
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
    };
    explicit BlockSource(Parts parts)
        : parts_(std::move(parts)),
          cache_(parts_.runtime.buffers.cache()),
          spool_state_(parts_.spool ? Spool::opening : Spool::none) {}
    ~BlockSource() { cache_->drop(parts_.object); }

    // Finds or makes the spool file, in a worker; until then what is kept waits. A file whose nodes are not the tree's own is removed.
    // nodes: level 0 of what the object knows; empty for a new one.
    void open_spool(std::vector<Hash> nodes);
    // A block of the cold read, or one that verified: to memory and the spool.
    void keep(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node);
    // Bytes that wait for the spool.
    std::size_t backlog() const { return backlog_; }
    // Calls go when backlog() < kMaxSpoolBacklog: at once, or later.
    void when_room(std::function<void()> go);
    // The cold read is over: as soon as the backlog is written, the spool may evict the object, and what it has leaves the memory.
    // Without a spool the cache alone decides.
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
    void write(Write w);
    // The spool's file, held no longer than the caller needs it: what is held cannot be evicted. Null: evicted, or none.
    std::shared_ptr<ObjectFile> file() const;
    void spool_is(std::shared_ptr<ObjectFile> file);
    void give_up_spool(const Error& why);
    void wrote(BlockIndex block, std::uint32_t length);
    void read_again(BlockIndex block);
    void start_rereads();
    void verify_run(BlockIndex first, std::vector<BlockData> data);
    void answer(BlockIndex block, const Result<BlockData>& result);

    enum class Spool : std::uint8_t { none, opening, open };
    Parts parts_;
    const std::shared_ptr<BlockCache> cache_;  // an object may outlive the pool by the end of its loop
    Spool spool_state_;
    std::shared_ptr<ObjectFile> pinned_;  // while the cold read runs: what it wrote is not evicted for what it writes
    MonoTime no_spool_until_{};
    std::deque<Write> unopened_;  // writes that came before the file was there
    std::size_t backlog_ = 0;
    std::vector<std::function<void()>> room_;
    std::unordered_map<std::uint32_t, BlockData> unwritten_;  // the backlog, which no disk can give yet
    bool settling_ = false;
    std::unordered_map<std::uint32_t, std::vector<Done>> waiting_;
    std::deque<std::uint32_t> rereads_;
    unsigned rereading_ = 0;
    bool closed_ = false;
};

}  // namespace mssl::proxy
