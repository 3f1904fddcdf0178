// One member's connection to this host, to download from it.
//
//     accepted ──TLS, HELLO, membership──▶ ready ──OPEN, ticket──▶ handles ──▶ closed
//          └─────────────────────────────────┴────────────────────────────────────▲
//
// Thread rules: the loop that accepted it. Holds itself until the connection is over.
#pragma once

#include <map>
#include <memory>

#include "proxy/client/site.h"
#include "proxy/client/transfer.h"
#include "proxy/core/wire.h"

namespace mssl::proxy {

class PeerSession final : public std::enable_shared_from_this<PeerSession>, private WireHandler {
public:
    static void start(Loop& loop, Fd fd, std::shared_ptr<const Membership> self, std::shared_ptr<Transfers> transfers);
    PeerSession(Loop& loop, std::shared_ptr<const Membership> self, std::shared_ptr<Transfers> transfers);
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
    std::shared_ptr<PeerSession> self_hold_;
    std::unique_ptr<Wire> wire_;
    MemberId peer_;
    bool judged_ = false;
    std::map<Handle, Opened> opened_;
    std::vector<std::pair<Loop*, std::function<void()>>> sending_;  // told when the session's data runs low
};

}  // namespace mssl::proxy
