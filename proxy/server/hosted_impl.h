// HostedObject as the server runs it; only hosted_object.cpp (tree, heads, life) and hosted_giving.cpp (takers) include this.
//
//   append ─▶ tree ─▶ head signed ─▶ Spread: which block to whom ─┐
//                                    Upload: what each asked for ─┴▶ pump ─▶ BlockSource ─▶ ObjectTaker::send_block ─▶ sent ─▶ pump
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "protocol/merkle.h"
#include "protocol/upload.h"
#include "proxy/server/block_source.h"
#include "proxy/server/hosting.h"
#include "proxy/server/neighbours.h"
#include "proxy/server/read_pace.h"

namespace mssl::proxy {

class Hosted final : public HostedObject, public std::enable_shared_from_this<Hosted> {
public:
    // DESIGN 3: a growing head every 100 ms or 16 MiB.
    static constexpr Duration kHeadEvery = std::chrono::milliseconds(100);
    static constexpr std::uint64_t kHeadBytes = 16 * 1024 * 1024;
    // Of one taker in its session at once: two blocks, or, where they leave at once, up to this. What waits here instead can
    // still go to somebody else.
    static constexpr std::size_t kMaxInSession = 512 * 1024;
    // Then who waits is sent away, and for a while requests are answered as if the object were not shared.
    static constexpr unsigned kMaxFailedTries = 3;
    static constexpr Duration kUnreadable = std::chrono::seconds(30);
    static constexpr Duration kLeavesAtOnce = std::chrono::milliseconds(20);

    explicit Hosted(Hosting hosting);
    ~Hosted() override;
    // Once, before anything else; the first in any thread before the object is known to others.
    void begin_new();
    void begin_known(std::shared_ptr<const SignedHead> final_head, MerkleTree tree);

    const ObjectId& id() const override { return id_; }
    Loop& loop() override { return loop_; }
    State state() const override { return state_.load(std::memory_order_acquire); }
    std::shared_ptr<const SignedManifest> manifest() const override;
    std::shared_ptr<const SignedHead> head() const override;
    std::shared_ptr<const Realm> realm() const override;
    Vouched vouched(WallTime now) override;
    void shown_to(const std::optional<MemberId>& member, std::vector<HeaderField> credentials) override;
    void when_open(Loop& where, std::function<void(Status)> ready) override;
    std::uint64_t hashed_bytes() const override { return hashed_.load(std::memory_order_relaxed); }

    TakerId attach(std::shared_ptr<ObjectTaker> taker, Handle handle) override;
    void detach(TakerId taker) override;
    Status on_request(TakerId taker, const Request& request) override;
    void on_cancel(TakerId taker, const Cancel& cancel) override;
    void on_any(TakerId taker, const Any& any) override;
    Status on_progress(TakerId taker, const Progress& progress) override;
    void on_entry_changed(TakerId taker) override;
    bool named(TakerId taker, const MemberId& member) const override { return neighbours_.named(taker, member); }
    void leave_out(TakerId taker, const MemberId& member) override;

    void append(BlockIndex block, BlockData data, std::uint32_t length, const Hash& node) override;
    void when_room(std::function<void()> go) override;
    void withdraw(const Error& why) override;

private:
    struct Taker {
        Taker(TakerId i, Geometry g, Upload::NodeLookup node, std::shared_ptr<ObjectTaker> o, Handle h)
            : id(i), out(std::move(o)), handle(h), upload(g, std::move(node)), window(2 * std::size_t{g.block_bytes()}) {}
        TakerId id;
        std::shared_ptr<ObjectTaker> out;
        Handle handle;
        Upload upload;
        std::size_t in_session = 0;  // bytes being read for it, or in its session
        std::size_t window;
        std::uint8_t tokens = 0;     // of its last ANY, less what it was given since
        std::uint8_t level = 3;
        bool with_path = false;
        bool in_turn = false;
        bool knows_all_out = false;
        unsigned failed_tries = 0;                    // in a row, to read anything for it from the origin
        std::uint64_t next_try = 0;                   // reads before it belong to the try that was counted last
        MonoTime failing_since{};
        bool gone = false;  // detached, or the object withdrawn
        std::size_t nodes_waiting = 0;                // nodes_only requests at the front of upload, at most
        std::unordered_set<std::uint32_t> requested;  // by number, not yet sent
        std::unordered_map<std::uint32_t, std::uint64_t> reading;  // taken from upload, data not here yet; by which read
    };
    using TakerPtr = std::shared_ptr<Taker>;

    // ── tree and heads: hosted_object.cpp ──
    Result<SignedHead> sign(std::uint64_t blocks, bool final_head) const;
    void grow();
    void finish();
    void publish(std::shared_ptr<const SignedHead> head);
    void tell_open(const Status& status);
    void log_complete() const;
    void look_whether_wanted();

    // ── takers: hosted_giving.cpp ──
    TakerPtr find(TakerId id) const;
    void offer(Taker& t);
    void queue(const TakerPtr& t);
    void pump();
    bool serve(const TakerPtr& t);
    void send(const TakerPtr& t, std::uint64_t read, const BlockFrame& frame, Result<BlockData> data);
    bool give_up(const TakerPtr& t, std::uint64_t read, const Error& why);
    void on_sent(const TakerPtr& t, std::uint32_t length, MonoTime since);
    void tell_all_out();
    void tell_peers();
    void peers_changed();

    const Hosting hosting_;
    const ObjectId id_;
    const Geometry geometry_;
    Loop& loop_;
    std::atomic<State> state_{State::opening};
    std::atomic<std::uint64_t> hashed_{0};
    mutable std::mutex mutex_;                     // of vouched_
    Vouched vouched_;
    MonoTime begun_;

    // Owner loop.
    MerkleTree tree_;
    std::shared_ptr<BlockSource> source_;
    std::uint64_t shown_blocks_ = 0;               // that the newest head covers
    MonoTime head_at_{};
    std::unique_ptr<Timer> head_timer_;
    std::unique_ptr<ReadPace> pace_;               // null before the loop has begun with it: no read waits yet
    bool finishing_ = false;
    std::optional<MonoTime> unreadable_until_;
    std::unique_ptr<Timer> unwanted_timer_;        // runs while it is being read for nobody
    std::optional<MemberId> known_to_;
    bool wanted_ = false;                          // by more than one, or by the operator: read to its end whatever happens
    Bitmap have_;                                  // [0, shown_blocks_)
    std::vector<std::pair<Loop*, std::function<void(Status)>>> waiting_open_;
    Spread spread_;
    Neighbours neighbours_;
    std::unordered_map<std::uint64_t, TakerPtr> takers_;
    std::deque<TakerPtr> turn_;
    std::uint64_t next_taker_ = 1;
    std::uint64_t next_read_ = 1;
    bool all_told_ = false;                        // that all is out
    bool pumping_ = false;
    bool pump_again_ = false;
    std::unique_ptr<Timer> peers_timer_;
    std::uint64_t bytes_given_ = 0;
};

}  // namespace mssl::proxy
