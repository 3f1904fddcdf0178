#include "proxy/client/peer_session.h"

#include <algorithm>

#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

// One object a connection is what our own clients do; other implementations may share one.
constexpr std::size_t kMaxHandles = 64;

}  // namespace

// Carries what the object's loop sends to the session's loop. Outlives the session harmlessly.
class PeerSession::Taker final : public UploadTaker {
public:
    Taker(std::weak_ptr<PeerSession> session, Loop& home, Loop& owner, MemberId member)
        : session_(std::move(session)), home_(&home), owner_(&owner), member_(member) {}
    void send_control(ControlFrame frame) override {
        home_->post([session = session_, self = this, frame = std::move(frame)] {
            const auto s = session.lock();
            if (!s || !s->wire_) return;
            s->wire_->send(frame);
            // The object ended: its handle is free, and it may be opened again under another.
            const auto* close = std::get_if<Close>(&frame);
            const auto it = close == nullptr ? s->opened_.end() : s->opened_.find(close->handle);
            if (it != s->opened_.end() && it->second.taker.get() == self) s->opened_.erase(it);
        });
    }
    void send_block(BlockFrame frame, BlockData data, std::function<void()> sent) override {
        home_->post([session = session_, owner = owner_, frame = std::move(frame), data = std::move(data),
                     sent = std::move(sent)]() mutable {
            const auto s = session.lock();
            if (s && s->wire_) return s->send_block(frame, std::move(data), *owner, std::move(sent));
            owner->post(std::move(sent));
        });
    }
    void fail(const Error& why) override {
        home_->post([session = session_, why] {
            if (const auto s = session.lock(); s && s->wire_) s->wire_->fail(why.code, why.detail);
        });
    }
    MemberId member() const override { return member_; }

private:
    std::weak_ptr<PeerSession> session_;
    Loop* home_;
    Loop* owner_;
    MemberId member_;
};

void PeerSession::start(Loop& loop, std::unique_ptr<Stream> stream, std::shared_ptr<const Membership> self, std::shared_ptr<Transfers> transfers,
                        std::shared_ptr<PeerCount> count, const PeerLimits& limits) {
    auto session = std::make_shared<PeerSession>(loop, std::move(self), std::move(transfers), std::move(count), limits);
    session->self_hold_ = session;
    session->wire_->begin(std::move(stream));
}

PeerSession::PeerSession(Loop& loop, std::shared_ptr<const Membership> self, std::shared_ptr<Transfers> transfers,
                         std::shared_ptr<PeerCount> count, const PeerLimits& limits)
    : loop_(&loop),
      self_(std::move(self)),
      transfers_(std::move(transfers)),
      count_(std::move(count)),
      limits_(limits) {
    Hello hello;
    hello.abilities = kAbilityPlain;
    hello.realm = self_->trust.id();
    WireHandler& handler = *this;
    wire_ = std::make_unique<Wire>(loop, SessionRole::member_to_member, hello, handler);
    output_.emplace(*wire_, limits_.silence);
}

PeerSession::~PeerSession() {
    if (wire_) {
        wire_->abandon();
        loop_->dispose(std::move(wire_));
    }
}

void PeerSession::on_ready(const Hello&) {
    Result<PeerMembership> who = member_of(wire_->stream().ssl(), self_->trust, wall_now());
    if (!who) return wire_->fail(Errc::not_member, who.error().detail);
    if (transfers_->banned().contains(who->id, loop_->now())) return wire_->fail(Errc::denied, "this member lied");
    place_ = count_->enter(who->id, limits_.sessions);
    if (!place_) return wire_->fail(Errc::busy, "this member has many sessions here");
    peer_ = who->id;
    judged_ = true;
}

Status PeerSession::on_frame(ControlFrame frame) {
    if (!judged_) return {};  // fail() is on its way out
    // It may have been found out since: as a source of some transfer of this host.
    if (transfers_->banned().contains(peer_, loop_->now())) return fail(Errc::denied, "this member lied");
    if (const auto* open = std::get_if<Open>(&frame)) return on_open(*open);
    const auto place_of = [this](Handle handle) {
        const auto it = opened_.find(handle);
        return it == opened_.end() ? nullptr : it->second.place.get();
    };
    if (const auto* request = std::get_if<Request>(&frame)) {
        if (UploadPlace* place = place_of(request->handle))
            place->request(*request);
        else
            wire_->send(Refuse{request->handle, request->block, Errc::no_such_object});
        return {};
    }
    if (const auto* cancel = std::get_if<Cancel>(&frame)) {
        wire_->drop_block(cancel->handle, cancel->block);
        if (UploadPlace* place = place_of(cancel->handle)) place->cancel(cancel->block);
        return {};
    }
    if (const auto* close = std::get_if<Close>(&frame)) {
        opened_.erase(close->handle);
        return {};
    }
    return fail(Errc::unexpected, "a frame that a downloader does not send");
}

Status PeerSession::on_open(const Open& open) {
    const WallTime now = wall_now();
    const auto refuse = [&](Errc code) {
        add(loop_->counters().tickets_refused);
        log::info("ticket refused", {{"peer", peer_.hex()}, {"object", open.object.hex()}, {"code", errc_name(code)}});
        wire_->send(Close{open.handle, true, code});
        return Status{};
    };
    Result<Certificate> signer = Certificate::from_der(open.signer_der);
    if (!signer) return refuse(signer.code());
    if (Status s = self_->trust.check_signer(*signer, now); !s) return refuse(s.error().code);
    Result<SignedTicket> ticket = parse_ticket(open.ticket_der, signer->public_key());
    if (!ticket) return refuse(ticket.code());
    if (Status s = check_ticket(ticket->body, peer_, open.object, now); !s) return refuse(s.error().code);
    // This side only has plain exchange; the ticket decides (DESIGN 5).
    if (ticket->body.exchange != Exchange::plain) return refuse(Errc::unsupported);

    const WallTime end = ticket->body.not_after;
    if (const auto it = opened_.find(open.handle); it != opened_.end()) {
        if (it->second.object != open.object) return fail(Errc::wrong_object, "OPEN of a handle in use");
        if (it->second.place) it->second.place->renew(end);
        return {};
    }
    // Each handle holds blocks between store and socket: who has many for one object only takes memory.
    const bool twice = std::any_of(opened_.begin(), opened_.end(), [&](const auto& o) { return o.second.object == open.object; });
    if (twice || opened_.size() >= kMaxHandles) return refuse(Errc::busy);
    Opened& opened = opened_[open.handle];
    opened.object = open.object;
    opened.taker = std::make_shared<Taker>(weak_from_this(), *loop_, transfers_->owner_of(open.object), peer_);
    transfers_->attach_upload(self_->trust.id(), open.object, opened.taker, open.handle, end, *loop_,
                              [self = weak_from_this(), handle = open.handle,
                               taker = std::weak_ptr(opened.taker)](Result<std::shared_ptr<UploadPlace>> place) {
                                  const auto s = self.lock();
                                  if (!s || !s->wire_) return;
                                  // Closed meanwhile, or closed and opened again: the place goes with its last holder.
                                  const auto it = s->opened_.find(handle);
                                  if (it == s->opened_.end() || it->second.taker != taker.lock()) return;
                                  if (!place) {
                                      s->opened_.erase(it);
                                      s->wire_->send(Close{handle, true, place.code()});
                                      return;
                                  }
                                  it->second.place = std::move(*place);
                              });
    return {};
}

void PeerSession::send_block(const BlockFrame& frame, BlockData data, Loop& owner, std::function<void()> sent) {
    wire_->send_block(frame, PayloadRef{frame.handle, frame.block, std::move(data), frame.length});
    sending_.emplace_back(&owner, std::move(sent));
    output_->queued();
}

void PeerSession::on_drained() {
    for (auto& [owner, sent] : std::exchange(sending_, {})) owner->post(std::move(sent));
}

Result<Slot> PeerSession::slot(const DataHeader&, std::size_t) {
    return fail(Errc::unexpected, "DATA from a downloader");
}
Status PeerSession::on_data(const DataHeader&, View) { return fail(Errc::unexpected, "DATA from a downloader"); }

void PeerSession::on_closed(const Error& why) {
    log::debug("peer session ended", {{"peer", peer_.hex()}, {"error", why.to_string()}});
    opened_.clear();
    sending_.clear();
    place_.reset();
    output_->stop();
    loop_->dispose(std::move(wire_));
    loop_->post([hold = std::move(self_hold_)] {});
}

}  // namespace mssl::proxy
