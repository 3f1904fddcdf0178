#include "proxy/client/fetch.h"

#include "protocol/possession.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

constexpr std::size_t kMaxLinks = 24;  // findings: a full mesh up to here
constexpr Duration kPeerBackoff = std::chrono::seconds(1);
constexpr Duration kMaxPeerBackoff = std::chrono::seconds(30);
constexpr Duration kHousekeeping = std::chrono::milliseconds(500);
constexpr Duration kProgressEvery = std::chrono::seconds(1);
// Without any source for so long a transfer gives up: long enough for a server's restart, short of most clients' patience.
constexpr Duration kAloneTime = std::chrono::seconds(30);
// A server whose bytes do not verify so often is not asked again.
constexpr unsigned kMaxServerCuts = 3;
constexpr std::size_t kMaxSigners = 4;

// Members that break ties alike all ask the same peer for the same block.
DownloadLimits seeded(DownloadLimits limits, const MemberId& self) {
    limits.seed = FixedBytesHash{}(self);
    return limits;
}

}  // namespace

Fetch::Fetch(Loop& loop, std::shared_ptr<const Membership> self, std::shared_ptr<ServerLink> server,
             std::shared_ptr<BannedPeers> banned, BlockBuffers& buffers, const Resolution& resolution, DownloadLimits limits, FetchUser& user)
    : loop_(&loop),
      self_(std::move(self)),
      server_(std::move(server)),
      banned_(std::move(banned)),
      user_(&user),
      manifest_(resolution.manifest),
      ticket_(resolution.ticket),
      head_(resolution.head),
      ticket_signer_(resolution.signer),
      download_(resolution.manifest->body.geometry(), resolution.manifest->body.object, buffers, seeded(limits, self_->id)),
      timer_(loop, [this] { tick(); }),
      housekeeping_(loop, [this] {
          const MonoTime now = loop_->now();
          drop_banned();
          look_at_unproven();
          dial();
          log_stalls();
          if (download_.have().count() != progress_sent_) send_progress(false);
          if (now >= renew_at_ && server_source_) {
              server_->send(Renew{handle_});
              renew_at_ = now + std::chrono::seconds(10);
          }
          if (alone_ && !stopped_ && now - alone_since_ >= kAloneTime)
              return fail(no_source());
          housekeeping_.start(stopped_ ? kProgressEvery : kHousekeeping);
      }) {
    signers_.push_back(resolution.signer);
}

Fetch::~Fetch() {
    for (auto& [_, known] : known_) close_link(known);
    if (started_) server_->detach(handle_);
}

void Fetch::start(const Bitmap& have, const std::vector<std::pair<NodePosition, Hash>>& nodes) {
    const MonoTime now = loop_->now();
    started_ = true;
    alone_since_ = now;
    renew_at_ = now + std::chrono::seconds(
                          std::max<std::int64_t>(1, (ticket_->body.not_after.unix_seconds - wall_now().unix_seconds) * 2 / 3));
    download_.on_head(now, head_->body);
    if (have.count() != 0) download_.restore(have, nodes);
    handle_ = server_->attach(*this);
    housekeeping_.start(kHousekeeping);
    act();
}

void Fetch::know_signer(const Certificate& signer) {
    const PublicKey key = signer.public_key();
    const auto same = [&](const Certificate& known) { return known.public_key() == key; };
    if (std::any_of(signers_.begin(), signers_.end(), same) || !self_->trust.check_signer(signer, wall_now())) return;
    if (signers_.size() == kMaxSigners) signers_.erase(signers_.begin());
    signers_.push_back(signer);
}

template <class Parse>
auto Fetch::parse_signed(const Bytes& der, Parse parse) {
    // A renewed membership shows who signs now.
    if (const auto member = server_->membership(); member && member->trust.id() == self_->trust.id()) know_signer(member->signer);
    auto parsed = std::make_pair(parse(der, signers_.back().public_key()), signers_.back());
    for (std::size_t i = signers_.size() - 1; i > 0 && parsed.first.code() == Errc::wrong_realm; --i)
        parsed = std::make_pair(parse(der, signers_[i - 1].public_key()), signers_[i - 1]);
    return parsed;
}

void Fetch::update(const Resolution& resolution) {
    know_signer(resolution.signer);
    if (resolution.ticket->body.not_after > ticket_->body.not_after) {
        ticket_ = resolution.ticket;
        ticket_signer_ = resolution.signer;
        for (auto& [_, known] : known_)
            if (known.link) known.link->renew(ticket_->der, ticket_signer_.to_der());
        // The server may have closed the handle over the old one.
        if (!server_source_ && server_->up()) on_link_up();
    }
    if (Status s = take_head(resolution.head->der, false); !s) fail(s.error());
    look_at_unproven();
}

void Fetch::stop() {
    if (stopped_) return;
    stopped_ = true;
    for (auto& [_, known] : known_) close_link(known);
    by_source_.clear();
    if (server_source_) {
        // No token stays with the server; the handle does, for the directory.
        server_->send(Any{handle_, 0, 3, false});
        download_.remove_source(loop_->now(), *server_source_);
        send_progress(false);
    }
    act();
}

void Fetch::resume() {
    if (!stopped_ || failed_) return;
    stopped_ = false;
    alone_since_ = loop_->now();
    // What was under way when it stopped belongs to the old handle.
    fresh_handle();
    housekeeping_.start(kHousekeeping);
    dial();
    act();
}

void Fetch::set_readers(const std::vector<std::uint64_t>& offsets) {
    download_.set_readers(loop_->now(), offsets);
    act();
}

void Fetch::set_upload_level(std::uint8_t level) {
    download_.set_upload_level(loop_->now(), level);
    act();
}

void Fetch::set_hard_window(std::uint64_t bytes) {
    download_.set_hard_window(loop_->now(), bytes);
    act();
}

void Fetch::set_writing(std::size_t blocks) {
    download_.set_held(loop_->now(), blocks);
    act();
}

void Fetch::forget(BlockIndex block) {
    download_.forget(loop_->now(), block);
    act();
}

// ── the server ──

void Fetch::on_link_up() {
    server_wrong_ = false;
    if (std::exchange(opening_, true)) return;
    server_->send(Open{handle_, manifest_->body.object, ticket_->der, ticket_signer_.to_der()});
    if (download_.have().count() != 0) send_progress(true);
}

void Fetch::on_link_down(const Error& why) {
    opening_ = false;
    last_error_ = "server: " + why.to_string();
    server_wrong_ = server_wrong_ || why.code == Errc::bad_certificate;
    if (server_source_) {
        download_.remove_source(loop_->now(), *server_source_);
        server_source_.reset();
    }
    act();
    // Peers may still have what is missing: that verifies. With none there is nobody to wait for.
    if (server_wrong_ && known_.empty() && !stopped_) fail(no_source());
}

// DESIGN 3: a server that is wrong is told from one that is gone, or an attacker chooses what the fallback brings.
Error Fetch::no_source() const {
    return mssl::fail(server_wrong_ ? Errc::bad_certificate : Errc::unreachable, "no source left: " + last_error_);
}

void Fetch::send_progress(bool bitmap) {
    progress_sent_ = download_.have().count();
    server_->send(Progress{handle_, progress_sent_, bitmap ? wire_bitfield(download_.have()) : Bytes{}});
}

// The link is every transfer's: what is wrong with this handle ends it alone.
Status Fetch::on_link_frame(ControlFrame frame) {
    const Status s = on_server_frame(std::move(frame));
    if (!s) blame_server(s.error());
    return {};
}

void Fetch::blame_server(const Error& why) {
    if (failed_) return;
    if (!server_source_) return fail(why);
    cut({*server_source_, why.code, why.detail});
    act();
}

Status Fetch::on_server_frame(ControlFrame frame) {
    if (const auto* opened = std::get_if<Opened>(&frame)) {
        if (opened->blocks != manifest_->body.geometry().block_count())
            return mssl::fail(Errc::malformed, "OPENED of another size");
        opening_ = false;
        if (server_source_) return {};
        server_source_ = SourceId{next_source_++};
        if (!stopped_) {
            download_.add_source(loop_->now(), *server_source_, SourceKind::server);
            act();
        }
        return {};
    }
    if (const auto* peers = std::get_if<Peers>(&frame)) {
        on_peers(*peers);
        return {};
    }
    if (std::holds_alternative<AllOut>(frame)) {
        download_.on_all_out(loop_->now());
        act();
        return {};
    }
    if (const auto* fresh = std::get_if<TicketFrame>(&frame)) {
        take_ticket(fresh->ticket_der);
        return {};
    }
    if (const auto* close = std::get_if<Close>(&frame)) {
        const Error why = mssl::fail(close->code, "the server closed the object");
        // The server forgot it (restart) or drains: what peers have goes on. Withdrawn: nobody may go on.
        if (close->code == Errc::withdrawn || close->code == Errc::conflicting_head)
            fail(why);
        else if (close->code == Errc::no_such_block)
            fail(mssl::fail(Errc::unreachable, "the server cannot read the object from its origin"));
        else
            on_link_down(why);
        return {};
    }
    if (!server_source_) return {};
    if (stopped_ && !std::holds_alternative<HeadFrame>(frame)) return {};
    return on_source_frame(*server_source_, std::move(frame));
}

Result<Slot> Fetch::on_link_slot(const DataHeader& h, std::size_t payload_bytes) {
    if (!server_source_ || stopped_) return Slot{};
    Result<Slot> r = download_.slot(loop_->now(), *server_source_, h, payload_bytes);
    act();
    return r;
}

Status Fetch::on_link_data(const DataHeader& h, View payload) {
    if (!server_source_ || stopped_) return {};
    download_.on_data(loop_->now(), *server_source_, h, payload.size());
    act();
    return {};
}

void Fetch::on_link_rtt(Duration rtt) {
    if (server_source_) download_.on_rtt(*server_source_, rtt);
}

// ── peers ──

void Fetch::on_peers(const Peers& peers) {
    for (const PeerEntry& entry : peers.peers) {
        if (entry.member == self_->id) continue;
        const auto it = known_.find(entry.member);
        if (entry.gone) {
            // Only who the directory names lately is a source: that is how one that was convicted is out (DESIGN 6).
            if (it != known_.end()) {
                close_link(it->second);
                known_.erase(it);
            }
            continue;
        }
        Known& known = known_[entry.member];
        known.entry = entry;
    }
    dial();
    act();
}

// Another transfer of this host may have found one out.
void Fetch::drop_banned() {
    const MonoTime now = loop_->now();
    bool dropped = false;
    for (auto& [member, known] : known_) {
        if (!known.link || !banned_->contains(member, now)) continue;
        close_link(known);
        dropped = true;
    }
    if (dropped) act();
}

void Fetch::dial() {
    if (stopped_ || failed_ || download_.complete()) return;
    const MonoTime now = loop_->now();
    std::size_t links = 0;
    for (const auto& [_, known] : known_) links += known.link ? 1 : 0;
    for (auto& [member, known] : known_) {
        if (links >= kMaxLinks) return;
        if (known.link || known.entry.port == 0 || now < known.retry_at || banned_->contains(member, now)) continue;
        const SourceId source{next_source_++};
        PeerLinkUser& user = *this;
        known.link = std::make_unique<PeerLink>(*loop_, self_, known.entry, manifest_->body.object,
                                                manifest_->body.geometry().block_count(), source, user);
        by_source_[source] = member;
        known.link->connect(ticket_->der, ticket_signer_.to_der());
        ++links;
    }
}

// Who is passed over stays connected and is asked again later; the log names it all the same.
void Fetch::log_stalls() {
    for (auto& [member, known] : known_) {
        if (!known.link) continue;
        const SourceStats* s = download_.stats(known.link->source());
        if (s == nullptr || s->stalls <= known.stalls) continue;
        known.stalls = s->stalls;
        log::info("peer stalled", {{"peer", member.hex()}, {"why", "passed over: silent, or far slower than others"}});
    }
}

void Fetch::close_link(Known& known) {
    if (!known.link) return;
    known.stalls = 0;
    download_.remove_source(loop_->now(), known.link->source());
    by_source_.erase(known.link->source());
    loop_->dispose(std::move(known.link));
}

Fetch::Known* Fetch::known_of(SourceId source) {
    const auto it = by_source_.find(source);
    if (it == by_source_.end()) return nullptr;
    const auto k = known_.find(it->second);
    return k == known_.end() ? nullptr : &k->second;
}

void Fetch::on_peer_open(PeerLink& peer, const Bitmap& have) {
    if (Known* known = known_of(peer.source())) known->backoff = Duration::zero();
    const MonoTime now = loop_->now();
    if (download_.stats(peer.source()) == nullptr) download_.add_source(now, peer.source(), SourceKind::peer);
    download_.on_have(now, peer.source(), have);
    act();
}

Status Fetch::on_peer_frame(PeerLink& peer, ControlFrame frame) { return on_source_frame(peer.source(), std::move(frame)); }

Result<Slot> Fetch::on_peer_slot(PeerLink& peer, const DataHeader& h, std::size_t payload_bytes) {
    Result<Slot> r = download_.slot(loop_->now(), peer.source(), h, payload_bytes);
    if (!r) act();
    return r;
}

Status Fetch::on_peer_data(PeerLink& peer, const DataHeader& h, View payload) {
    download_.on_data(loop_->now(), peer.source(), h, payload.size());
    act();
    return {};
}

void Fetch::on_peer_rtt(PeerLink& peer, Duration rtt) { download_.on_rtt(peer.source(), rtt); }

void Fetch::on_peer_closed(PeerLink& peer, const Error& why) {
    Known* known = known_of(peer.source());
    if (known == nullptr) return;
    log::info("peer link ended", {{"peer", known->entry.member.hex()}, {"error", why.to_string()}});
    // A peer that broke the protocol by frames (the session says so) is cut like one that lied.
    if (why.code == Errc::malformed || why.code == Errc::unexpected || why.code == Errc::too_large)
        cut({peer.source(), why.code, why.detail});
    else {
        known->backoff = std::clamp(known->backoff * 2, kPeerBackoff, kMaxPeerBackoff);
        known->retry_at = loop_->now() + known->backoff;
        close_link(*known);
    }
    act();
}

// ── both ──

Status Fetch::on_source_frame(SourceId source, ControlFrame frame) {
    const MonoTime now = loop_->now();
    Status status;
    if (const auto* have = std::get_if<Have>(&frame)) {
        download_.on_have(now, source, have->ranges);
    } else if (const auto* block = std::get_if<BlockFrame>(&frame)) {
        download_.on_block(now, source, *block);
    } else if (const auto* refuse = std::get_if<Refuse>(&frame)) {
        download_.on_refuse(now, source, *refuse);
    } else if (const auto* head = std::get_if<HeadFrame>(&frame)) {
        status = take_head(head->head_der, server_source_ == source);
    } else {
        status = mssl::fail(Errc::unexpected, "a frame that a provider does not send");
    }
    act();
    return status;
}

void Fetch::take_ticket(const Bytes& der) {
    auto [ticket, signer] = parse_signed(der, parse_ticket);
    if (ticket.code() == Errc::wrong_realm) {
        unproven_ticket_ = der;
        return server_->renew_membership();
    }
    if (!ticket || ticket->body.grant != ticket_->body.grant || ticket->body.not_after <= ticket_->body.not_after) return;
    ticket_ = std::make_shared<SignedTicket>(std::move(*ticket));
    ticket_signer_ = signer;
    renew_at_ = loop_->now() + std::chrono::seconds(std::max<std::int64_t>(
                                   1, (ticket_->body.not_after.unix_seconds - wall_now().unix_seconds) * 2 / 3));
    for (auto& [_, known] : known_)
        if (known.link) known.link->renew(ticket_->der, ticket_signer_.to_der());
}

// Who enrols is shown the signer of now: the membership is renewed for that, and what waited is looked at again.
void Fetch::look_at_unproven() {
    if (const Bytes ticket = std::exchange(unproven_ticket_, {}); !ticket.empty()) take_ticket(ticket);
    if (const Bytes head = std::exchange(unproven_head_, {}); !head.empty())
        if (const Status s = take_head(head, true); !s) blame_server(s.error());
}

Status Fetch::take_head(const Bytes& der, bool by_server) {
    if (der == head_->der) return {};
    auto [head, signer] = parse_signed(der, parse_head);
    // By a signer that this member has not heard of yet, or by a stranger: nothing is believed, and nobody blamed.
    if (head.code() == Errc::wrong_realm) {
        if (by_server) {
            unproven_head_ = der;
            server_->renew_membership();
        }
        return {};
    }
    if (!head) return head.error();
    const Manifest& m = manifest_->body;
    if (head->body.object != m.object) return mssl::fail(Errc::wrong_object, "a head of another object");
    // A signer of the realm said two things of one object: no fault of who passed it on, and nothing to go on with.
    if (head->body.length != m.length || head->body.block_bytes != m.block_bytes) {
        fail(mssl::fail(Errc::conflicting_head, "a head of another length or block size"));
        return {};
    }
    download_.on_head(loop_->now(), head->body);
    if (head->body.leaves > head_->body.leaves || (head->body.final_head && !head_->body.final_head)) {
        head_ = std::make_shared<SignedHead>(std::move(*head));
        user_->on_fetch_head(*head_);
    }
    return {};
}

void Fetch::act() {
    if (acting_ || failed_) return;
    acting_ = true;
    for (;;) {
        std::vector<DownloadAction> actions = download_.take_actions();
        if (actions.empty()) break;
        for (DownloadAction& action : actions) {
            if (failed_) break;
            perform(action);
        }
        if (failed_) break;
    }
    acting_ = false;
    const bool alone = !server_source_ && std::none_of(known_.begin(), known_.end(), [](const auto& k) {
        return k.second.link && k.second.link->open();
    });
    if (alone && !alone_) alone_since_ = loop_->now();
    alone_ = alone;
    if (!failed_) schedule();
}

void Fetch::perform(DownloadAction& action) {
    if (auto* r = std::get_if<SendRequest>(&action)) {
        if (server_source_ == r->source) {
            r->request.handle = handle_;
            server_->send(r->request);
        } else if (Known* known = known_of(r->source)) {
            known->link->send(r->request);
        }
    } else if (const auto* c = std::get_if<SendCancel>(&action)) {
        if (server_source_ == c->source)
            server_->send(Cancel{handle_, c->block});
        else if (Known* known = known_of(c->source))
            known->link->send(Cancel{{}, c->block});
    } else if (const auto* a = std::get_if<SendAny>(&action)) {
        if (server_source_ == a->source) server_->send(Any{handle_, a->tokens, a->level, a->with_path});
    } else if (const auto* b = std::get_if<BlockReady>(&action)) {
        const VerifiedBlock block = download_.take_block(b->block);
        const std::optional<Hash> node = download_.nodes().node({0, b->block.v});
        add(server_source_ == b->source ? loop_->counters().bytes_from_server : loop_->counters().bytes_from_peers,
            block.length);
        user_->on_fetched(block, node ? *node : hash_block(block.view()));
    } else if (const auto* bad = std::get_if<CutSource>(&action)) {
        cut(*bad);
    } else if (std::holds_alternative<Finished>(action)) {
        send_progress(false);
        user_->on_fetch_finished();
    } else if (const auto* f = std::get_if<Failed>(&action)) {
        fail(f->error);
    }
}

void Fetch::cut(const CutSource& cut) {
    // Slow is no lie: others serve meanwhile, and it is asked again later.
    if (cut.why == Errc::stalled) {
        last_error_ = "a source stalled: " + cut.detail;
        if (server_source_ == cut.source) return reopen_server();
        if (Known* slow = known_of(cut.source)) {
            log::info("peer stalled", {{"peer", slow->entry.member.hex()}, {"why", cut.detail}});
            slow->retry_at = loop_->now() + kMaxPeerBackoff;
            close_link(*slow);
        }
        return;
    }
    ++rejected_;
    add(loop_->counters().blocks_rejected);
    if (server_source_ == cut.source) {
        log::error("the server's bytes do not verify", {{"object", manifest_->body.object.hex()}, {"why", cut.detail}});
        if (++server_cuts_ >= kMaxServerCuts) return fail(mssl::fail(cut.why, "the server's bytes do not verify"));
        return reopen_server();
    }
    Known* known = known_of(cut.source);
    if (known == nullptr) return;
    const MemberId member = known->entry.member;
    const std::string address = Address::from_bytes(known->entry.address, known->entry.port).to_string();
    log::warning("peer cut", {{"object", manifest_->body.object.hex()},
                              {"peer", member.hex()},
                              {"address", address},
                              {"code", errc_name(cut.why)},
                              {"why", cut.detail}});
    add(loop_->counters().peers_cut);
    cut_.push_back(member.hex() + " " + address + ": " + std::string(errc_name(cut.why)) + ": " + cut.detail);
    banned_->ban(member, cut.why, cut.detail, loop_->now());
    server_->send(Report{handle_, member, cut.why});
    close_link(*known);
}

// The server stays in line, under a handle without history.
void Fetch::reopen_server() {
    download_.remove_source(loop_->now(), *server_source_);
    fresh_handle();
}

void Fetch::fresh_handle() {
    server_source_.reset();
    opening_ = false;
    server_->detach(handle_);
    handle_ = server_->attach(*this);
}

void Fetch::fail(const Error& why) {
    if (failed_) return;
    failed_ = true;
    last_error_ = why.to_string();
    user_->on_fetch_failed(why);
}

void Fetch::schedule() {
    const MonoTime next = download_.next_deadline();
    const MonoTime now = loop_->now();
    if (stopped_ || download_.complete()) return timer_.stop();
    timer_.start(std::clamp(next - now, Duration(1000), Duration(1000000)));
}

void Fetch::tick() {
    download_.tick(loop_->now());
    act();
}

std::vector<PeerStatus> Fetch::peers() const {
    std::vector<PeerStatus> out;
    for (const auto& [member, known] : known_) {
        if (!known.link) continue;
        PeerStatus p;
        p.member = member;
        p.address = Address::from_bytes(known.entry.address, known.entry.port).to_string();
        if (const SourceStats* s = download_.stats(known.link->source())) {
            p.bytes = s->bytes_verified;
            p.rate = s->rate;
            p.rejected = s->blocks_rejected;
            p.stalls = s->stalls;
        }
        out.push_back(std::move(p));
    }
    return out;
}

}  // namespace mssl::proxy
