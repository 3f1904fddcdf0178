// One member's connection to this host, to download from it.
//
//     accepted ──TLS, HELLO, membership──▶ ready ──OPEN, ticket──▶ handles ──▶ closed
//          └─────────────────────────────────┴────────────────────────────────────▲
//
// Thread rules: the loop that accepted it. Holds itself until the connection is over.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "proxy/client/site.h"
#include "proxy/client/transfer.h"
#include "proxy/core/output_watch.h"

namespace mssl::proxy {

// What one member may take of this host.
struct PeerLimits {
    unsigned sessions = 32;  // a link an object is what our own clients make
    Duration silence = std::chrono::seconds(30);  // with blocks queued that it does not read
};

// How many sessions each member has here. Thread rules: any thread.
class PeerCount final : public std::enable_shared_from_this<PeerCount> {
public:
    // A place until it is let go; null: the member has as many as it may.
    std::shared_ptr<void> enter(const MemberId& member, unsigned most) {
        const std::lock_guard lock(mutex_);
        unsigned& n = sessions_[member];
        if (n >= most) return nullptr;
        ++n;
        return {this, [self = shared_from_this(), member](void*) { self->leave(member); }};
    }

private:
    void leave(const MemberId& member) {
        const std::lock_guard lock(mutex_);
        const auto it = sessions_.find(member);
        if (--it->second == 0) sessions_.erase(it);
    }
    std::mutex mutex_;
    std::map<MemberId, unsigned> sessions_;
};

class PeerSession final : public std::enable_shared_from_this<PeerSession>, private WireHandler {
public:
    // stream: accepted, with self's certificate; its handshake may be under way.
    static void start(Loop& loop, std::unique_ptr<Stream> stream, std::shared_ptr<const Membership> self, std::shared_ptr<Transfers> transfers,
                      std::shared_ptr<PeerCount> count, const PeerLimits& limits);
    PeerSession(Loop& loop, std::shared_ptr<const Membership> self, std::shared_ptr<Transfers> transfers,
                std::shared_ptr<PeerCount> count, const PeerLimits& limits);
    ~PeerSession() override;

private:
    class Taker;
    struct Opened {
        ObjectId object;
        std::shared_ptr<Taker> taker;
        std::shared_ptr<UploadPlace> place;  // null until the object's loop has answered
    };
    void on_ready(const Hello& peer) override;
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_data(const DataHeader& h, View payload) override;
    void on_rtt(Duration) override {}
    void on_drained() override;
    void on_closed(const Error& why) override;
    Status on_open(const Open& open);
    void send_block(const BlockFrame& frame, BlockData data, Loop& owner, std::function<void()> sent);

    Loop* loop_;
    std::shared_ptr<const Membership> self_;
    std::shared_ptr<Transfers> transfers_;
    std::shared_ptr<PeerCount> count_;
    PeerLimits limits_;
    std::shared_ptr<void> place_;  // among the member's sessions
    std::shared_ptr<PeerSession> self_hold_;
    std::unique_ptr<Wire> wire_;
    std::optional<OutputWatch> output_;
    MemberId peer_;
    bool judged_ = false;
    std::map<Handle, Opened> opened_;
    std::vector<std::pair<Loop*, std::function<void()>>> sending_;  // told when the session's data runs low
};

}  // namespace mssl::proxy
