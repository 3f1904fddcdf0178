#include "proxy/client/peer_link.h"

#include "protocol/possession.h"

namespace mssl::proxy {
namespace {

constexpr Handle kOnlyHandle{1};  // one object a link
constexpr Duration kPingEvery = std::chrono::seconds(2);
constexpr Duration kDeadAfter = std::chrono::seconds(10);
constexpr Duration kConnectTime = std::chrono::seconds(4);  // a peer that is away must not be waited for

struct SetHandle {
    template <class F>
    void operator()(F& f) const {
        if constexpr (requires { f.handle; }) f.handle = kOnlyHandle;
    }
};

}  // namespace

PeerLink::PeerLink(Loop& loop, std::shared_ptr<const Membership> self, const PeerEntry& peer, const ObjectId& object,
                   std::uint64_t blocks, SourceId source, PeerLinkUser& user)
    : loop_(&loop),
      self_(std::move(self)),
      peer_(peer),
      object_(object),
      blocks_(blocks),
      source_(source),
      user_(&user),
      ping_(loop, [this] {
          wire_->ping();
          ping_.start(kPingEvery);
      }) {}

PeerLink::~PeerLink() {
    if (wire_) {
        wire_->abandon();
        loop_->dispose(std::move(wire_));
    }
}

void PeerLink::connect(Bytes ticket_der, Bytes signer_der) {
    ticket_ = std::move(ticket_der);
    signer_ = std::move(signer_der);
    Hello hello;
    hello.abilities = kAbilityPlain;
    hello.realm = self_->trust.id();
    WireHandler& handler = *this;
    wire_ = std::make_unique<Wire>(*loop_, SessionRole::member_to_member, hello, handler);
    // The name says for which realm this comes. Who the peer is follows from its membership certificate alone.
    TlsClient tls{self_->peer_connect_context.get(), {}, std::string(kAlpnMember)};
    tls.sni = realm_server_name(self_->trust.id());
    StreamTimeouts timeouts;
    timeouts.connect = kConnectTime;
    timeouts.idle = kDeadAfter;
    wire_->begin(Stream::connect(*loop_, {Address::from_bytes(peer_.address, peer_.port)}, &tls,
                                 wire_->as_stream_handler(), timeouts));
}

void PeerLink::renew(Bytes ticket_der, Bytes signer_der) {
    ticket_ = std::move(ticket_der);
    signer_ = std::move(signer_der);
    if (state_ == State::opening || state_ == State::open) wire_->send(Open{kOnlyHandle, object_, ticket_, signer_});
}

void PeerLink::send(ControlFrame frame) {
    if (state_ != State::open) return;
    std::visit(SetHandle{}, frame);
    wire_->send(frame);
}

void PeerLink::on_ready(const Hello&) {
    Result<PeerMembership> who = member_of(wire_->stream().ssl(), self_->trust, wall_now());
    if (!who || who->id != peer_.member) {
        wire_->fail(Errc::not_member, who ? "not the member that the directory named" : who.error().detail);
        return;
    }
    state_ = State::opening;
    wire_->send(Open{kOnlyHandle, object_, ticket_, signer_});
    wire_->ping();
    ping_.start(kPingEvery);
}

Status PeerLink::on_frame(ControlFrame frame) {
    if (const auto* opened = std::get_if<Opened>(&frame)) {
        if (opened->handle != kOnlyHandle || opened->blocks != blocks_) return fail(Errc::malformed, "OPENED of another size");
        Result<Bitmap> have = parse_bitfield(opened->bitfield, blocks_);
        if (!have) return have.error();
        // A renewed OPEN is answered as well.
        state_ = State::open;
        user_->on_peer_open(*this, *have);
        return {};
    }
    if (std::holds_alternative<Close>(frame)) return fail(Errc::closed, "the peer closed the object");
    // Peers that want to download from here come on a connection of their own; this one goes on.
    if (const auto* open = std::get_if<Open>(&frame)) {
        wire_->send(Close{open->handle, true, Errc::unsupported});
        return {};
    }
    if (state_ != State::open) return fail(Errc::unexpected, "before OPENED");
    return user_->on_peer_frame(*this, std::move(frame));
}

Result<Slot> PeerLink::slot(const DataHeader& h, std::size_t payload_bytes) {
    if (state_ != State::open || h.handle != kOnlyHandle) return fail(Errc::unexpected, "DATA for no open handle");
    return user_->on_peer_slot(*this, h, payload_bytes);
}

Status PeerLink::on_data(const DataHeader& h, View payload) { return user_->on_peer_data(*this, h, payload); }

void PeerLink::on_rtt(Duration rtt) { user_->on_peer_rtt(*this, rtt); }

void PeerLink::on_closed(const Error& why) {
    state_ = State::closed;
    ping_.stop();
    // What the peer says of us is no fault of its own.
    const bool said = wire_->session().peer_error().has_value();
    user_->on_peer_closed(*this, said ? fail(Errc::closed, why.detail) : why);
}

}  // namespace mssl::proxy
