// One transfer: readers that wait, blocks in memory, the store, the fetching, the serving. See transfer.h.
//
//   ┌──────────┐ last block, or no reader for kLinger ┌─────────┐ unused for kSeed, or nothing to serve ┌────────┐
//   │ fetching │◀────────────────────────────────────▶│ seeding │──────────────────────────────────────▶│ closed │
//   └──────────┘  a new reader, and a block is missing └─────────┘                                       └────────┘
//        └───────────── withdrawn, heads disagree, no source left ──────────▶ failed ──────────────────────▲
//
// Thread rules: the owner loop; shared_ptr held anywhere.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "proxy/client/fetch.h"
#include "proxy/client/transfer.h"
#include "proxy/client/upload_memory.h"

namespace mssl::proxy {

class Transfer final : public std::enable_shared_from_this<Transfer>, private FetchUser {
public:
    enum class State : std::uint8_t { fetching, seeding, failed, closed };
    using ReaderId = std::uint64_t;
    using ReadDone = std::function<void(Result<VerifiedBytes>)>;

    struct Parts {
        Loop* loop = nullptr;
        Runtime* runtime = nullptr;
        std::shared_ptr<Site> site;
        std::shared_ptr<const Membership> self;
        std::shared_ptr<ServerLink> server;
        std::shared_ptr<BannedPeers> banned;
        std::shared_ptr<RateLimit> limit;
        std::shared_ptr<UploadMemory> memory;
        std::shared_ptr<ObjectFile> file;  // null: memory only
    };
    Transfer(Parts parts, const Resolution& resolution);
    ~Transfer() override;
    // The owner calls it once, after construction. over: the transfer closed itself; let go of it.
    void start(std::function<void()> over);

    // A new reader can have everything: false when blocks were dropped that only memory held, or when this is about another
    // object or another realm's.
    bool can_join(const Resolution& resolution) const;
    ReaderId add_reader(const Resolution& resolution);
    void remove_reader(ReaderId id);
    void position(ReaderId id, std::uint64_t offset);
    // done runs in this loop.
    void read(ReaderId id, BlockIndex block, ReadDone done);

    std::shared_ptr<Uploads> uploads() { return uploads_; }
    State state() const { return state_; }
    const ObjectId& id() const { return manifest_->body.object; }
    Geometry geometry() const { return manifest_->body.geometry(); }
    TransferStatus status() const;

private:
    struct Reader {
        std::uint64_t offset = 0;
        std::multimap<BlockIndex, ReadDone> waiting;
    };
    void on_fetched(const VerifiedBlock& block, const Hash& node) override;
    void on_fetch_finished() override;
    void on_fetch_failed(const Error& why) override;
    void on_fetch_head(const SignedHead& head) override;

    void keep(BlockIndex block, VerifiedBytes bytes);
    void trim_memory();
    bool stored() const { return parts_.file && !store_failed_; }
    std::uint64_t memory_window() const;
    bool ahead_of_a_reader(std::uint64_t begin, std::uint64_t end) const;
    void write(BlockIndex block, VerifiedBytes bytes, const Hash& node);
    void lose_store(const Error& why);
    void read_for_taker(BlockIndex block, std::function<void(Result<BlockData>)> done);
    void later(std::function<void()> what);
    void read_file(BlockIndex block, std::function<void(Result<BlockData>)> done);
    void tell_readers();  // how many they are, too: each has its share of the memory
    void tell_positions();
    void stop_fetching();
    void go_on();
    void close();
    void log_end(std::string_view why);
    void housekeep();

    Parts parts_;
    std::shared_ptr<const SignedManifest> manifest_;
    Certificate signer_;
    Bytes head_der_;
    State state_ = State::fetching;
    std::shared_ptr<Uploads> uploads_;
    std::unique_ptr<Fetch> fetch_;
    std::function<void()> over_;
    std::map<ReaderId, Reader> readers_;
    ReaderId next_reader_ = 1;
    std::map<BlockIndex, VerifiedBytes> memory_;
    std::deque<BlockIndex> memory_order_;
    std::set<BlockIndex> writing_;
    std::uint64_t memory_bytes_ = 0;
    bool dropped_ = false;      // something verified is neither in memory nor in the store
    bool store_failed_ = false;
    std::optional<Error> failure_;
    std::uint64_t from_store_ = 0, restored_ = 0;
    Timer linger_;
    Timer housekeeping_;
    Timer again_;                                // for what waits for a buffer
    std::vector<std::function<void()>> waiting_;
    MonoTime idle_since_{};
    MonoTime last_read_{};  // an application asked for something, or got it
    MonoTime started_{};
};

}  // namespace mssl::proxy
