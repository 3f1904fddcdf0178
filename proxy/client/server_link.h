// One mSSL session with a site's server, for all transfers of one loop (DESIGN 4, 6): connects when somebody uses it, again with
// jittered backoff while somebody does, and routes frames by handle.
//
//     down ──attach──▶ connecting ──HELLO──▶ up ──broken──▶ waiting ──backoff──▶ connecting
//                                            └─ unused for kIdle ──▶ down
//
// Thread rules: one loop.
#pragma once

#include <map>
#include <memory>
#include <random>

#include "proxy/client/site.h"
#include "proxy/core/wire.h"

namespace mssl::proxy {

// A transfer, as the link sees it. Calls come from the loop.
class ServerLinkUser {
public:
    virtual ~ServerLinkUser() = default;
    virtual void on_link_up() = 0;                    // (again): open the handle
    virtual void on_link_down(const Error& why) = 0;  // the handle is void until on_link_up
    virtual Status on_link_frame(ControlFrame frame) = 0;
    virtual Result<Slot> on_link_slot(const DataHeader& h, std::size_t payload_bytes) = 0;
    virtual Status on_link_data(const DataHeader& h, View payload) = 0;
    virtual void on_link_rtt(Duration rtt) = 0;
};

class ServerLink final : public Disposable, private WireHandler {
public:
    // peer_port: announced to the server; 0: this member takes no connections.
    ServerLink(Loop& loop, std::shared_ptr<Site> site, std::uint16_t peer_port);
    ~ServerLink() override;

    // user outlives its handle. on_link_up follows through the loop when the link is up (already).
    Handle attach(ServerLinkUser& user);
    void detach(Handle handle);
    bool up() const { return state_ == State::up; }
    void send(const ControlFrame& frame);  // nothing while not up
    // Of its site, now.
    std::shared_ptr<const Membership> membership() const { return site_->current(); }
    void renew_membership() { site_->renew_membership(*loop_); }
    bool unused() const { return users_.empty(); }
    // This host as the server saw it, "" before it said.
    const std::string& announced_address() const { return announced_; }

private:
    enum class State : std::uint8_t { down, connecting, up, waiting };
    void on_ready(const Hello& peer) override;
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_data(const DataHeader& h, View payload) override;
    void on_rtt(Duration rtt) override;
    void on_drained() override {}
    void on_closed(const Error& why) override;
    void connect();
    void failed(const Error& why);
    void drop_wire();
    void tick();
    ServerLinkUser* user(Handle handle);

    Loop* loop_;
    std::shared_ptr<Site> site_;
    std::uint16_t peer_port_;
    State state_ = State::down;
    std::shared_ptr<const Membership> membership_;
    std::unique_ptr<Wire> wire_;
    std::map<Handle, ServerLinkUser*> users_;
    std::uint32_t next_handle_ = 1;
    Timer timer_;
    Duration backoff_;
    std::minstd_rand random_;
    std::string announced_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mssl::proxy
