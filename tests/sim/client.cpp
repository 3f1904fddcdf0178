// A client of the simulated swarm, honest or not.
#include <algorithm>

#include "tests/sim/swarm.h"

namespace mssl::sim {

struct Client::Peer final : SessionHandler {
    Peer(Client& c, SourceId i, Client* o, SourceKind k)
        : self(&c),
          id(i),
          other(o),
          kind(k),
          upload(c.swarm_->truth.geometry, [&c](NodePosition p) {
              // Liars claim to have everything, and know enough to look as if they had.
              return c.lie_ == Lie::none ? c.download_.nodes().node(p) : c.swarm_->truth.tree.node(p);
          }) {}

    void on_ready(const Hello&) override {
        Open open;
        open.handle = Handle{1};
        open.object = self->swarm_->truth.object;
        end->session().send(open);
        end->session().ping(self->now());
        if (kind == SourceKind::server) self->download_.add_source(self->now(), id, kind);
        self->drain();
    }
    void on_rtt(Duration rtt) override { self->download_.on_rtt(id, rtt); }

    Status on_frame(ControlFrame frame) override {
        const MonoTime now = self->now();
        Download& d = self->download_;
        if (std::holds_alternative<Open>(frame)) {
            opened = true;
            const Bitmap have = self->shown();
            if (self->head_) send_head();
            end->session().send(Opened{Handle{1}, have.size(), have.to_wire()});
        } else if (const auto* o = std::get_if<Opened>(&frame)) {
            if (kind == SourceKind::peer) {
                const auto have = Bitmap::from_wire(o->bitfield, o->blocks);
                if (!have) return have.error();
                d.add_source(now, id, kind);
                d.on_have(now, id, *have);
            }
        } else if (const auto* h = std::get_if<HeadFrame>(&frame)) {
            auto head = parse_head(h->head_der, self->swarm_->truth.signer.public_key());
            if (!head) return head.error();
            if (!self->head_ || head->body.leaves > self->head_->body.leaves) {
                self->head_ = *head;
                for (const auto& p : self->peers_)
                    if (p->opened) p->send_head();
            }
            d.on_head(now, head->body);
        } else if (const auto* have = std::get_if<Have>(&frame)) {
            d.on_have(now, id, have->ranges);
        } else if (const auto* b = std::get_if<BlockFrame>(&frame)) {
            d.on_block(now, id, *b);
        } else if (const auto* r = std::get_if<Refuse>(&frame)) {
            d.on_refuse(now, id, *r);
        } else if (std::holds_alternative<AllOut>(frame)) {
            d.on_all_out(now);
        } else if (const auto* q = std::get_if<Request>(&frame)) {
            if (Status s = self->on_request(*this, *q); !s) return s;
        } else if (const auto* c = std::get_if<Cancel>(&frame)) {
            upload.on_cancel(c->block);
            end->session().drop_block(Handle{1}, c->block);
        }
        self->drain();
        return still_welcome();
    }
    Result<Slot> slot(const DataHeader& h, std::size_t n) override {
        auto place = self->download_.slot(self->now(), id, h, n);
        self->drain();
        return place;
    }
    Status on_data(const DataHeader& h, View payload) override {
        self->download_.on_data(self->now(), id, h, payload.size());
        self->drain();
        return still_welcome();
    }
    Status still_welcome() const { return end->open() ? Status{} : fail(Errc::cancelled, "cut"); }
    void send_head() {
        end->session().send(HeadFrame{Handle{1}, self->head_->der});
        upload.set_head_blocks(self->head_->body.blocks());
    }

    Client* self;
    SourceId id;
    Client* other;  // null: the server
    SourceKind kind;
    Upload upload;
    End* end = nullptr;
    bool opened = false;
    bool trickling = false;
};

Client::Client(Swarm& swarm, std::size_t number, double up, Lie lie, DownloadLimits limits)
    : Host(swarm.clock, up),
      swarm_(&swarm),
      number_(number),
      lie_(lie),
      download_(swarm.truth.geometry, swarm.truth.object, heap_, limits) {}

Client::~Client() = default;

Client::Peer& Client::add_peer(SessionRole role, Client* other, SourceKind kind) {
    peers_.push_back(std::make_unique<Peer>(*this, SourceId{static_cast<std::uint32_t>(peers_.size() + 1)}, other, kind));
    Peer* p = peers_.back().get();
    ends_.push_back(std::make_unique<End>(*this, role, *p));
    p->end = ends_.back().get();
    p->end->on_closed = [this, p] {
        p->opened = false;
        if (p->end->broken() && p->other != nullptr) blamed_[p->other->number()] = p->end->broken()->to_string();
        if (p->end->broken() && p->other == nullptr) blamed_[kServer] = p->end->broken()->to_string();
        download_.remove_source(now(), p->id);
        drain();
    };
    return *p;
}

void Client::join() {
    joined_ = true;
    joined_at_ = now();
    download_.set_readers(now(), {0});
    if (!swarm_->server->dead()) {
        Peer& p = add_peer(SessionRole::member_to_server, nullptr, SourceKind::server);
        connect(clock(), *p.end, swarm_->server->accept(), swarm_->some_latency());
    }
    tick();
}

void Client::meet(Client& other) {
    Peer& mine = add_peer(SessionRole::member_to_member, &other, SourceKind::peer);
    Peer& theirs = other.add_peer(SessionRole::member_to_member, this, SourceKind::peer);
    connect(clock(), *mine.end, *theirs.end, swarm_->some_latency());
}

Bitmap Client::shown() const {
    if (lie_ == Lie::none) return download_.have();
    Bitmap all(download_.have().size());
    all.set_all();
    return all;
}

std::uint8_t Client::level() const {
    const double low = 2.0 * swarm_->truth.geometry.block_bytes() + 0.2 * up();
    double waiting = static_cast<double>(queued());
    for (const auto& p : peers_) waiting += static_cast<double>(p->upload.queued_bytes());
    return waiting <= low ? 3 : waiting <= 2 * low ? 2 : waiting <= 3 * low ? 1 : 0;
}

void Client::tick() {
    if (dead()) return;
    download_.set_upload_level(now(), level());
    download_.tick(now());
    for (const auto& p : peers_)
        if (const SourceStats* s = download_.stats(p->id); s != nullptr && s->stalls > 0 && p->other != nullptr)
            passed_over_.insert(p->other->number());
    report();
    drain();
    clock().after(std::chrono::milliseconds(100), [this] { tick(); });
}

void Client::report() {
    if (peers_.empty() || peers_[0]->kind != SourceKind::server || !peers_[0]->end->open()) return;
    if (peers_[0]->end->session().state() != Session::State::ready) return;
    if (now() < next_report_ || download_.have().count() == reported_) return;
    next_report_ = now() + std::chrono::seconds(1);
    reported_ = download_.have().count();
    peers_[0]->end->session().send(Progress{Handle{1}, reported_, {}});
}

void Client::drain() {
    if (draining_ || dead()) return;
    draining_ = true;
    for (auto actions = download_.take_actions(); !actions.empty(); actions = download_.take_actions())
        for (auto& a : actions) act(a);
    draining_ = false;
    pump();
}

void Client::act(DownloadAction& action) {
    const auto peer = [&](SourceId id) -> Peer& { return *peers_[id.v - 1]; };
    if (auto* r = std::get_if<SendRequest>(&action)) {
        r->request.handle = Handle{1};
        peer(r->source).end->session().send(r->request);
    } else if (const auto* c = std::get_if<SendCancel>(&action)) {
        peer(c->source).end->session().send(Cancel{Handle{1}, c->block});
    } else if (const auto* any = std::get_if<SendAny>(&action)) {
        peer(any->source).end->session().send(Any{Handle{1}, any->tokens, any->level, any->with_path});
    } else if (const auto* ready = std::get_if<BlockReady>(&action)) {
        const VerifiedBlock block = download_.take_block(ready->block);
        const Truth& truth = swarm_->truth;
        wrong_bytes_ = wrong_bytes_ || block.length != truth.geometry.block_length(block.index) ||
                       std::memcmp(block.data.get(), truth.block(block.index).get(), block.length) != 0;
        for (const auto& p : peers_)
            if (p->opened && p->other != nullptr && p->end->open())
                p->end->session().send(Have{Handle{1}, {BlockRange{block.index.v, 1}}});
        reader_ = download_.have().next_clear(reader_);
        if (reader_ < download_.have().size())
            download_.set_readers(now(), {reader_ * truth.geometry.block_bytes()});
    } else if (const auto* cut = std::get_if<CutSource>(&action)) {
        Peer& p = peer(cut->source);
        blamed_[p.other == nullptr ? kServer : p.other->number()] = std::string(errc_name(cut->why)) + ": " + cut->detail;
        p.end->close();
    } else if (std::holds_alternative<Finished>(action)) {
        finished_ = now();
    } else {
        failed_ = true;
    }
}

// FIFO over all that ask, a block or two on the uplink at a time.
void Client::refill() {
    const auto serve_one = [&] {
        for (std::size_t i = 0; i < peers_.size(); ++i) {
            turn_ = (turn_ + 1) % peers_.size();
            Peer& p = *peers_[turn_];
            if (!p.opened || !p.end->open()) continue;
            const auto job = p.upload.next();
            if (!job) continue;
            if (const auto* j = std::get_if<Upload::Job>(&*job)) serve(p, *j);
            else p.end->session().send(std::get<Refuse>(*job));
            return true;
        }
        return false;
    };
    while (queued() < swarm_->truth.geometry.block_bytes() && serve_one()) {
    }
}

Status Client::on_request(Peer& peer, const Request& request) {
    if (lie_ == Lie::nothing) {
        lied_to_.insert(peer.other->number());
        return {};
    }
    const auto refuse = peer.upload.on_request(request, shown());
    if (!refuse) return refuse.error();
    if (*refuse) peer.end->session().send(**refuse);
    return {};
}

void Client::serve(Peer& peer, const Upload::Job& job) {
    const Truth& truth = swarm_->truth;
    BlockFrame frame = job.frame;
    frame.handle = Handle{1};
    Payload payload = truth.block(frame.block);
    const auto lied = [&] { lied_to_.insert(peer.other->number()); };
    const auto raw_data = [&](DataHeader at, std::size_t n) {
        const auto header = encode_data_header(at, n);
        Bytes out(header.begin(), header.end());
        out.resize(out.size() + n, 0x5a);
        return out;
    };
    switch (lie_) {
    case Lie::none:
    case Lie::nothing: break;
    case Lie::flipped_bit:
        if (frame.length > 0) {
            lied();
            std::shared_ptr<std::uint8_t[]> copy(new std::uint8_t[frame.length]);
            std::memcpy(copy.get(), payload.get(), frame.length);
            copy[frame.length / 2] ^= 0x10;
            payload = copy;
        }
        break;
    case Lie::wrong_node:
        if (!frame.nodes.empty()) {
            lied();
            frame.nodes.back().bytes[7] ^= 1;
        }
        break;
    case Lie::other_block:
        if (frame.length == truth.geometry.block_bytes()) {
            lied();
            payload = truth.block(BlockIndex{frame.block.v == 0 ? 1 : frame.block.v - 1});
        }
        break;
    case Lie::too_much:
        if (frame.length > 0) {
            lied();
            peer.end->inject(encode_frame(frame));
            for (std::uint32_t at = 0; at <= frame.length;) {
                const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(kMaxDataPayload, frame.length + 1 - at));
                peer.end->inject(raw_data({frame.handle, frame.block, at}, n));
                at += n;
            }
            return;
        }
        break;
    case Lie::byte_a_second:
        if (frame.length > 0) {
            lied();
            // One block for ever: a second one begun inside it would be cut by the session, for another reason.
            if (std::exchange(peer.trickling, true)) return;
            peer.end->inject(encode_frame(frame));
            return trickle(peer, {frame.handle, frame.block, 0});
        }
        break;
    case Lie::garbage:
        lied();
        Bytes noise(997);
        for (auto& b : noise) b = static_cast<std::uint8_t>(swarm_->random());
        noise[0] = 0xee;  // no such frame: random bytes might be the head of a long one
        return peer.end->inject(std::move(noise));
    }
    if (frame.length == 0) return peer.end->session().send(frame);
    uploaded_ += frame.length;
    peer.end->session().send_block(frame, {frame.handle, frame.block, payload, frame.length});
}

void Client::trickle(Peer& peer, DataHeader at) {
    if (!peer.end->open() || dead() || at.offset >= swarm_->truth.geometry.block_length(at.block)) return;
    const auto header = encode_data_header(at, 1);
    Bytes out(header.begin(), header.end());
    out.push_back(swarm_->truth.block(at.block)[at.offset]);
    peer.end->inject(std::move(out));
    pump();
    ++at.offset;
    clock().after(std::chrono::seconds(1), [this, &peer, at] { trickle(peer, at); });
}

std::uint64_t Client::from(std::size_t number) const {
    for (const auto& p : peers_)
        if (p->other != nullptr && p->other->number() == number)
            if (const SourceStats* s = download_.stats(p->id)) return s->bytes_verified;
    return 0;
}

// ── The swarm ──

Swarm::Swarm(const Setup& s)
    : setup(s), truth(s.length, s.seed), random(s.seed), server(std::make_unique<Server>(*this, s.server_up, s.origin_rate)) {}

Client& Swarm::add(Lie lie) {
    DownloadLimits limits = setup.limits;
    limits.seed = random();
    clients.push_back(std::make_unique<Client>(*this, clients.size(), setup.client_up * jitter(), lie, limits));
    return *clients.back();
}

double Swarm::jitter() { return 0.75 + static_cast<double>(random() % 1024) / 2048; }

Duration Swarm::some_latency() {
    return Duration{static_cast<Duration::rep>(static_cast<double>(setup.latency.count()) * jitter())};
}

void Swarm::join_at(Client& c, Duration when) {
    when += Duration{static_cast<Duration::rep>(random() % 5000)};  // nobody is that exact
    clock.at(MonoTime{when}, [this, &c] {
        std::vector<Client*> others;
        for (const auto& o : clients)
            if (o.get() != &c && o->joined() && !o->dead()) others.push_back(o.get());
        std::shuffle(others.begin(), others.end(), random);
        // Those who come later meet those who were here: half the degree each way.
        const std::size_t most = clients.size() <= setup.degree ? others.size() : setup.degree / 2;
        if (others.size() > most) others.resize(most);
        c.join();
        for (Client* o : others) c.meet(*o);
    });
}

bool Swarm::run(Duration limit, const std::function<bool()>& done) {
    while (!done())
        if (clock.now() > MonoTime{limit} || !clock.step()) return false;
    return true;
}

bool Swarm::honest_complete() const {
    return std::all_of(clients.begin(), clients.end(), [](const auto& c) {
        return c->dead() || c->lie() != Lie::none || c->download().complete();
    });
}

}  // namespace mssl::sim
