// The server of the simulated swarm.
#include "tests/sim/swarm.h"

namespace mssl::sim {

const char* lie_name(Lie lie) {
    switch (lie) {
    case Lie::none: return "none";
    case Lie::flipped_bit: return "flipped bit";
    case Lie::wrong_node: return "wrong node";
    case Lie::other_block: return "another block";
    case Lie::too_much: return "too much data";
    case Lie::nothing: return "nothing";
    case Lie::byte_a_second: return "one byte a second";
    case Lie::garbage: return "garbage frames";
    }
    return "?";
}

Truth::Truth(std::uint64_t length, std::uint64_t seed)
    : geometry(Geometry::for_length(length)), signer(KeyPair::generate().value()) {
    std::mt19937_64 random(seed);
    for (auto& b : object.bytes) b = static_cast<std::uint8_t>(random());
    std::shared_ptr<std::uint8_t[]> all(new std::uint8_t[length + 8]);
    for (std::uint64_t i = 0; i < length; i += 8) {
        const std::uint64_t v = random();
        std::memcpy(all.get() + i, &v, 8);
    }
    bytes = all;
    for (std::uint64_t i = 0; i < geometry.block_count(); ++i) {
        const BlockIndex b{static_cast<std::uint32_t>(i)};
        nodes.push_back(hash_block({block(b).get(), geometry.block_length(b)}));
        tree.append(nodes.back());
    }
}

struct Server::Member final : SessionHandler {
    Member(Server& s, TakerId i)
        : server(&s), id(i), upload(s.swarm_->truth.geometry, [&s](NodePosition p) { return s.tree_.node(p); }) {}

    void on_ready(const Hello&) override {}
    void on_rtt(Duration) override {}
    Result<Slot> slot(const DataHeader&, std::size_t) override { return fail(Errc::unexpected, "data"); }
    Status on_data(const DataHeader&, View) override { return fail(Errc::unexpected, "data"); }
    Status on_frame(ControlFrame frame) override {
        const MonoTime now = server->now();
        if (std::holds_alternative<Open>(frame)) {
            opened = true;
            Opened reply;
            reply.handle = Handle{1};
            reply.blocks = server->swarm_->truth.geometry.block_count();
            reply.bitfield = Bitmap(reply.blocks).to_wire();
            end->session().send(reply);
            server->spread_.add_taker(id, now);
            if (server->head_) send_head();
            if (server->all_out()) end->session().send(AllOut{Handle{1}});
            told_all_out = server->all_out();
        } else if (const auto* r = std::get_if<Request>(&frame)) {
            const auto refuse = upload.on_request(*r, server->held_);
            if (!refuse) return refuse.error();
            if (*refuse) end->session().send(**refuse);
        } else if (const auto* c = std::get_if<Cancel>(&frame)) {
            upload.on_cancel(c->block);
            end->session().drop_block(Handle{1}, c->block);
        } else if (const auto* a = std::get_if<Any>(&frame)) {
            server->spread_.on_tokens(id, a->tokens, a->level, now);
            with_path = with_path || a->with_path;
        } else if (const auto* p = std::get_if<Progress>(&frame)) {
            server->spread_.on_count(id, p->have_count, now);
        }
        return {};
    }
    void send_head() {
        end->session().send(HeadFrame{Handle{1}, server->head_->der});
        upload.set_head_blocks(server->head_->body.blocks());
    }

    Server* server;
    TakerId id;
    Upload upload;
    End* end = nullptr;
    bool opened = false;
    bool with_path = false;
    bool told_all_out = false;
};

Server::Server(Swarm& swarm, double up, double origin_rate)
    : Host(swarm.clock, up),
      swarm_(&swarm),
      origin_rate_(origin_rate),
      held_(swarm.truth.geometry.block_count()),
      spread_(swarm.truth.geometry) {}

Server::~Server() = default;

End& Server::accept() {
    auto member = std::make_unique<Member>(*this, TakerId{members_.size() + 1});
    Member* m = member.get();
    members_.push_back(std::move(member));
    ends_.push_back(std::make_unique<End>(*this, SessionRole::server_to_member, *m));
    m->end = ends_.back().get();
    m->end->on_closed = [this, m] {
        m->opened = false;
        spread_.remove_taker(m->id, now());
    };
    // The first who asks starts the one read of the origin.
    if (members_.size() == 1) read_origin();
    return *m->end;
}

// A head every 100 ms or 16 MiB (DESIGN 3), whichever comes first.
void Server::read_origin() {
    const Geometry g = swarm_->truth.geometry;
    const double bytes = std::min(16.0 * (1 << 20), origin_rate_ * 0.1);
    const auto blocks = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(bytes / g.block_bytes()));
    const Duration takes{static_cast<Duration::rep>(static_cast<double>(blocks * g.block_bytes()) / origin_rate_ * 1e6)};
    clock().after(takes, [this, g, blocks] {
        for (std::uint64_t i = 0; i < blocks && tree_.block_count() < g.block_count(); ++i) {
            held_.set(BlockIndex{static_cast<std::uint32_t>(tree_.block_count())});
            tree_.append(swarm_->truth.nodes[tree_.block_count()]);
            ++origin_reads_;
        }
        Head head;
        head.object = swarm_->truth.object;
        head.length = g.length();
        head.block_bytes = g.block_bytes();
        head.final_head = tree_.block_count() == g.block_count();
        head.leaves = head.final_head ? g.leaf_count() : tree_.block_count() * g.leaves_per_block();
        head.peaks = tree_.peaks(tree_.block_count());
        head_ = sign_head(head, swarm_->truth.signer).value();
        spread_.set_available(tree_.block_count());
        for (const auto& m : members_)
            if (m->opened) m->send_head();
        if (!head.final_head) read_origin();
        pump();
    });
}

void Server::send(Member& m, const Upload::Job& job) {
    BlockFrame frame = job.frame;
    frame.handle = Handle{1};
    if (frame.length == 0) return m.end->session().send(frame);
    sent_ += frame.length;
    m.end->session().send_block(frame, {Handle{1}, frame.block, swarm_->truth.block(frame.block), frame.length});
}

bool Server::give_fresh() {
    const auto give = spread_.next(now());
    if (!give) return false;
    Member& m = *members_[give->taker.v - 1];
    m.upload.give(give->block, std::exchange(m.with_path, false));
    while (const auto job = m.upload.next())
        if (const auto* j = std::get_if<Upload::Job>(&*job)) send(m, *j);
    tell_all_out();
    return true;
}

void Server::tell_all_out() {
    if (!all_out()) return;
    for (const auto& m : members_)
        if (m->opened && !std::exchange(m->told_all_out, true)) m->end->session().send(AllOut{Handle{1}});
}

bool Server::serve_request() {
    for (std::size_t i = 0; i < members_.size(); ++i) {
        turn_ = (turn_ + 1) % members_.size();
        Member& m = *members_[turn_];
        if (!m.opened) continue;
        const auto job = m.upload.next();
        if (!job) continue;
        if (const auto* j = std::get_if<Upload::Job>(&*job)) {
            spread_.on_sent(m.id, j->frame.block, now());
            send(m, *j);
        } else {
            m.end->session().send(std::get<Refuse>(*job));
        }
        return true;
    }
    return false;
}

// One or two blocks an uplink at a time: what is queued deeper only waits.
void Server::refill() {
    while (queued() < swarm_->truth.geometry.block_bytes() && (give_fresh() || serve_request())) {
    }
}

}  // namespace mssl::sim
