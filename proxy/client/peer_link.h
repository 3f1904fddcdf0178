// An outgoing connection to one peer, to download one object from it (DESIGN 6): TLS 1.3, both sides show membership, the peer must
// be the member that the directory named; then OPEN with the ticket.
//
//     connecting ──TLS, member checked──▶ opening ──OPENED──▶ open ──▶ closed
//          └──────────────────────────────────┴──────────────────────────▲
//
// Thread rules: one loop.
#pragma once

#include <memory>

#include "protocol/download.h"
#include "proxy/client/site.h"
#include "proxy/core/wire.h"

namespace mssl::proxy {

class PeerLink;

class PeerLinkUser {
public:
    virtual ~PeerLinkUser() = default;
    virtual void on_peer_open(PeerLink& peer, const Bitmap& have) = 0;
    virtual Status on_peer_frame(PeerLink& peer, ControlFrame frame) = 0;
    virtual Result<Slot> on_peer_slot(PeerLink& peer, const DataHeader& h, std::size_t payload_bytes) = 0;
    virtual Status on_peer_data(PeerLink& peer, const DataHeader& h, View payload) = 0;
    virtual void on_peer_rtt(PeerLink& peer, Duration rtt) = 0;
    // Nothing comes after it; the user disposes of the link.
    virtual void on_peer_closed(PeerLink& peer, const Error& why) = 0;
};

class PeerLink final : public Disposable, private WireHandler {
public:
    PeerLink(Loop& loop, std::shared_ptr<const Membership> self, const PeerEntry& peer, const ObjectId& object,
             std::uint64_t blocks, SourceId source, PeerLinkUser& user);
    ~PeerLink() override;
    void connect(Bytes ticket_der, Bytes signer_der);
    // The same grant, a later end: the provider goes on past the old one's.
    void renew(Bytes ticket_der, Bytes signer_der);
    void send(ControlFrame frame);  // its handle is set here
    SourceId source() const { return source_; }
    const PeerEntry& entry() const { return peer_; }
    bool open() const { return state_ == State::open; }

private:
    enum class State : std::uint8_t { connecting, opening, open, closed };
    void on_ready(const Hello& peer) override;
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_data(const DataHeader& h, View payload) override;
    void on_rtt(Duration rtt) override;
    void on_drained() override {}
    void on_closed(const Error& why) override;

    Loop* loop_;
    std::shared_ptr<const Membership> self_;
    PeerEntry peer_;
    ObjectId object_;
    std::uint64_t blocks_;
    SourceId source_;
    PeerLinkUser* user_;
    State state_ = State::connecting;
    Bytes ticket_, signer_;
    std::unique_ptr<Wire> wire_;
    Timer ping_;
};

}  // namespace mssl::proxy
