// Members that come to download from this host, over real TLS on loopback: nothing is served without a ticket that is good for
// this object, this member, this realm and now (invariant 4).
#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <csignal>

#include "proxy/client/peer_link.h"
#include "proxy/client/peer_server.h"
#include "proxy/core/log.h"
#include "proxy/core/wire.h"
#include "tests/unit/hosting_fixture.h"
#include "tests/unit/member_fixture.h"
#include "tests/unit/somewhere_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint32_t kBlocks = 5;
constexpr std::int64_t kTicketSeconds = 600;
// What asks for more than this is late beyond what clocks may differ by.
constexpr std::int64_t kBeyondTolerance = kClockToleranceSeconds + 60;

struct Other {
    ScratchDirectory directory;
    std::shared_ptr<Realm> realm = Realm::open(directory.path, wall_now()).value();
};

// One object, all of it here, served from memory as a transfer would.
class OneObject final : public Transfers {
public:
    OneObject(Loop& loop, const Geometry& geometry, const ObjectId& object, Bytes head_der)
        : geometry_(geometry), object_(object), loop_(&loop), have_(kBlocks) {
        for (const Hash& n : nodes_of(geometry_)) tree_.append(n);
        for (std::uint32_t i = 0; i < kBlocks; ++i) have_.set(BlockIndex{i});
        uploads_ = std::make_shared<Uploads>(
            loop, geometry_, std::make_shared<RateLimit>(0), [this](NodePosition p) { return tree_.node(p); },
            [this]() -> const Bitmap& { return have_; },
            [this](BlockIndex block, std::function<void(Result<BlockData>)> done) { done(content(geometry_, block)); });
        uploads_->set_head(std::move(head_der), kBlocks);
    }
    void join(std::shared_ptr<Site>, Resolution, Loop&, std::function<void(Result<std::unique_ptr<TransferReader>>)>) override {}
    bool holds(const Resolution&) const override { return false; }
    Loop& owner_of(const ObjectId&) override { return *loop_; }
    void attach_upload(const RealmId& realm, const ObjectId& object, std::shared_ptr<UploadTaker> taker, Handle handle,
                       WallTime ticket_end, Loop& loop, std::function<void(Result<std::shared_ptr<UploadPlace>>)> done) override {
        ++attached;
        asked_in = realm;
        if (object != object_) return loop.post([done] { done(fail(Errc::no_such_object, "not here")); });
        auto place = std::make_shared<UploadPlace>(*loop_, uploads_, uploads_->attach(std::move(taker), handle, ticket_end));
        if (slow) return held.push_back([&loop, done, place] { loop.post([done, place] { done(place); }); });
        loop.post([done, place] { done(place); });
    }
    void status(Loop&, std::function<void(std::vector<TransferStatus>)>) override {}
    const BannedPeers& banned() const override { return ban_list; }
    RateLimit& upload_limit() override { return limit_; }

    BannedPeers ban_list;
    RealmId asked_in;       // of the last of them
    unsigned attached = 0;  // tickets that passed
    bool slow = false;      // the object's loop has much to do: answers wait in held
    std::vector<std::function<void()>> held;
    void answer() {
        for (const auto& f : std::exchange(held, {})) f();
    }
    std::size_t takers() const { return uploads_->takers(); }
    void end() { uploads_.reset(); }

private:
    Geometry geometry_;
    ObjectId object_;
    Loop* loop_;
    Bitmap have_;
    MerkleTree tree_;
    RateLimit limit_{0};
    std::shared_ptr<Uploads> uploads_;
};

// A downloader, good or bad. Lives in loop 0; asked through Here::in().
class Guest final : public WireHandler {
public:
    Guest(Loop& loop, const Address& to, std::shared_ptr<SSL_CTX> context, const RealmId& realm, const std::string& sni = {})
        : loop_(&loop), context_(std::move(context)) {
        Hello hello;
        hello.abilities = kAbilityPlain;
        hello.realm = realm;
        wire = std::make_unique<Wire>(loop, SessionRole::member_to_member, hello, *this);
        TlsClient tls{context_.get(), {}, std::string(kAlpnMember)};
        tls.sni = sni;
        wire->begin(Stream::connect(loop, {to}, &tls, wire->as_stream_handler()));
    }
    ~Guest() override {
        wire->abandon();
        loop_->dispose(std::move(wire));
    }
    void on_ready(const Hello&) override { ready = true; }
    Status on_frame(ControlFrame frame) override {
        log.push_back(std::move(frame));
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t n) override {
        place_.assign(n, 0);
        return Slot(place_);
    }
    Status on_data(const DataHeader& h, View payload) override {
        Bytes& b = blocks[h.block.v];
        b.insert(b.end(), payload.begin(), payload.end());
        return {};
    }
    void on_rtt(Duration) override {}
    void on_drained() override {}
    void on_closed(const Error& why) override { closed = why.code; }
    template <class F>
    const F* last() const {
        for (auto it = log.rbegin(); it != log.rend(); ++it)
            if (const F* f = std::get_if<F>(&*it)) return f;
        return nullptr;
    }

    std::unique_ptr<Wire> wire;
    bool ready = false;
    std::optional<Errc> closed;
    std::vector<ControlFrame> log;
    std::map<std::uint32_t, Bytes> blocks;

private:
    Loop* loop_;
    std::shared_ptr<SSL_CTX> context_;
    Bytes place_;
};

// This host: a member that has the object.
struct Here {
    template <class F>
    auto in(F f) {
        return hosts.engine.run(hosts.engine.loops.at(0), std::move(f));
    }
    Here() : hosts(std::uint64_t{kBlocks} * kMinBlockBytes), self(*hosts.realm), guest_id(*hosts.realm) {
        std::signal(SIGPIPE, SIG_IGN);
        (void)mssl::proxy::log::configure(mssl::proxy::log::Level::warning, {});
        membership = membership_of(*hosts.realm, self);
        in([&] {
            object = std::make_shared<OneObject>(hosts.engine.loops.at(0), hosts.geometry, hosts.manifest.object,
                                                 sign_head(hosts.final_head(), hosts.realm->signer_key()).value().der);
        });
        door = PeerServer::open(hosts.engine.runtime, Address::parse("127.0.0.1:0").value(),
                                {std::make_shared<EnrolledSite>(membership)}, object)
                   .value();
        in([&] { door->start(); });
    }
    ~Here() {
        in([&] {
            guests.clear();
            door->stop();
        });
        (void)eventually([&] { return object->takers() == 0; });
        in([&] {
            object->end();
            door.reset();
        });
    }
    bool eventually(std::function<bool()> f) { return hosts.engine.eventually(hosts.engine.loops.at(0), std::move(f)); }

    Guest& connect(std::shared_ptr<SSL_CTX> context, const std::string& sni = {}) {
        return *in([&] {
            guests.push_back(std::make_unique<Guest>(hosts.engine.loops.at(0), door->address(), std::move(context),
                                                     hosts.realm->trust().id(), sni));
            return guests.back().get();
        });
    }
    Guest& connect(const Identity& who) {
        return connect(std::shared_ptr<SSL_CTX>(make_peer_context(who.credentials(), false).value()));
    }
    Guest& guest() {
        Guest& g = connect(guest_id);
        cr_assert(eventually([&] { return g.ready; }));
        return g;
    }

    Ticket ticket() const {
        Ticket t;
        t.grant.bytes.fill(7);
        t.member = guest_id.id();
        t.object = hosts.manifest.object;
        t.not_before = wall_now();
        t.not_after = {wall_now().unix_seconds + kTicketSeconds};
        return t;
    }
    Open open(const Ticket& t, std::uint32_t handle = 1) const {
        return {Handle{handle}, hosts.manifest.object, sign_ticket(t, hosts.realm->signer_key()).value().der,
                hosts.realm->signer().to_der()};
    }
    // What an OPEN is answered with: ok, or the code of the CLOSE or of the connection's end.
    Errc answer(Guest& g, const Open& open) {
        in([&] {
            g.log.clear();
            g.wire->send(open);
        });
        Errc out = Errc::internal;
        cr_assert(eventually([&] {
            if (g.closed) out = *g.closed;
            else if (const auto* c = g.last<Close>(); c != nullptr && c->handle == open.handle) out = c->code;
            else if (const auto* o = g.last<Opened>(); o != nullptr && o->handle == open.handle) out = Errc::ok;
            else return false;
            return true;
        }));
        return out;
    }
    // Fetches a block: what it was refused with, or ok and the right bytes.
    Errc fetch(Guest& g, std::uint32_t handle, std::uint32_t block) {
        in([&] {
            g.log.clear();
            g.blocks.erase(block);
            g.wire->send(Request{Handle{handle}, BlockIndex{block}, kBlocks, 0, false});
        });
        Errc out = Errc::internal;
        cr_assert(eventually([&] {
            const auto it = g.blocks.find(block);
            if (g.closed) out = *g.closed;
            else if (const auto* r = g.last<Refuse>(); r != nullptr) out = r->code;
            else if (it != g.blocks.end() && it->second.size() == kMinBlockBytes) out = Errc::ok;
            else return false;
            return true;
        }));
        if (out == Errc::ok) cr_assert(hash_block(g.blocks[block]) == node_of(hosts.geometry, BlockIndex{block}));
        return out;
    }
    // Refused with this code, nothing behind it was reached, and the handle gives nothing.
    void refuses(const Open& open, Errc code, const char* what) {
        Guest& g = guest();
        const unsigned before = in([&] { return object->attached; });
        cr_expect_eq(answer(g, open), code, "%s", what);
        cr_expect_eq(fetch(g, open.handle.v, 0), Errc::no_such_object, "%s: asked for a block all the same", what);
        cr_expect_eq(in([&] { return object->attached; }), before, "%s", what);
    }

    Hosts hosts;
    Identity self, guest_id;
    std::shared_ptr<const Membership> membership;
    std::shared_ptr<OneObject> object;
    std::unique_ptr<PeerServer> door;
    std::vector<std::unique_ptr<Guest>> guests;
};

}  // namespace

Test(peer_session, serves_every_block_to_who_shows_a_ticket) {
    Here h;
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket())), Errc::ok);
    cr_assert(h.in([&] { return g.last<HeadFrame>() != nullptr; }), "the head comes with OPENED");
    for (std::uint32_t i = 0; i < kBlocks; ++i) cr_assert_eq(h.fetch(g, 1, i), Errc::ok);
    cr_assert(h.in([&] { return h.object->asked_in == h.membership->trust.id(); }), "looked for where the ticket is good");
}

Test(peer_session, refuses_an_expired_ticket) {
    Here h;
    Ticket t = h.ticket();
    t.not_before = {wall_now().unix_seconds - 3600};
    t.not_after = {wall_now().unix_seconds - kBeyondTolerance};
    h.refuses(h.open(t), Errc::expired, "ended");
    t.not_before = {wall_now().unix_seconds + kBeyondTolerance};
    t.not_after = {wall_now().unix_seconds + 3600};
    h.refuses(h.open(t), Errc::expired, "not begun");
}

Test(peer_session, refuses_a_ticket_for_another_object) {
    Here h;
    Ticket t = h.ticket();
    t.object.bytes[0] ^= 1;
    h.refuses(h.open(t), Errc::wrong_object, "another object");
}

Test(peer_session, refuses_a_ticket_of_another_member) {
    Here h;
    Ticket t = h.ticket();
    t.member = Identity(*h.hosts.realm).id();
    h.refuses(h.open(t), Errc::wrong_holder, "another member");
    t.member = h.self.id();
    h.refuses(h.open(t), Errc::wrong_holder, "the one that serves");
}

Test(peer_session, refuses_a_ticket_of_another_realm) {
    Here h;
    const Other other;
    Open open = h.open(h.ticket());
    open.ticket_der = sign_ticket(h.ticket(), other.realm->signer_key()).value().der;
    h.refuses(open, Errc::wrong_realm, "signed elsewhere, with this realm's signer shown");
    open.signer_der = other.realm->signer().to_der();
    h.refuses(open, Errc::wrong_realm, "signed elsewhere");
    open.signer_der = h.guest_id.certificate.to_der();
    open.ticket_der = sign_ticket(h.ticket(), *h.guest_id.key).value().der;
    h.refuses(open, Errc::wrong_realm, "signed by the member itself");
}

Test(peer_session, refuses_a_ticket_with_any_byte_changed) {
    Here h;
    const Open good = h.open(h.ticket());
    Guest& g = h.guest();
    for (std::size_t i = 0; i < good.ticket_der.size(); i += i < 32 ? 1 : 7) {
        Open bad = good;
        bad.ticket_der[i] ^= 0x10;
        const Errc code = h.answer(g, bad);
        cr_assert(code == Errc::malformed || code == Errc::bad_signature || code == Errc::wrong_realm || code == Errc::unsupported,
                  "byte %zu: %s", i, errc_name(code).data());
    }
    Open bad = good;
    bad.ticket_der.back() ^= 1;
    cr_assert_eq(h.answer(g, bad), Errc::bad_signature);
    bad = good;
    bad.signer_der.back() ^= 1;
    cr_assert_eq(h.answer(g, bad), Errc::wrong_realm);
    cr_assert_eq(h.in([&] { return h.object->attached; }), 0U);
    cr_assert_eq(h.answer(g, good), Errc::ok);
}

Test(peer_session, refuses_a_ticket_for_an_exchange_that_it_does_not_speak) {
    Here h;
    Ticket t = h.ticket();
    t.exchange = Exchange::purchase;
    t.price = 1;
    h.refuses(h.open(t), Errc::unsupported, "purchase");
}

Test(peer_session, a_refused_ticket_costs_the_good_handles_nothing) {
    Here h;
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket(), 1)), Errc::ok);
    Ticket t = h.ticket();
    t.member.bytes[0] ^= 1;
    cr_assert_eq(h.answer(g, h.open(t, 2)), Errc::wrong_holder);
    cr_assert_eq(h.fetch(g, 1, 3), Errc::ok);
}

Test(peer_session, serves_nothing_after_the_end_of_the_ticket_until_it_is_renewed) {
    Here h;
    Guest& g = h.guest();
    // Over already, but for the tolerance: the check passes, and ends a moment later.
    Ticket t = h.ticket();
    t.not_before = {wall_now().unix_seconds - 3600};
    t.not_after = {wall_now().unix_seconds - kClockToleranceSeconds + 4};
    cr_assert_eq(h.answer(g, h.open(t)), Errc::ok);
    cr_assert(h.eventually([&] { return wall_now().unix_seconds > t.not_after.unix_seconds + kClockToleranceSeconds; }));
    cr_assert_eq(h.fetch(g, 1, 0), Errc::expired);
    cr_assert_eq(h.answer(g, h.open(t)), Errc::expired);
    cr_assert_eq(h.answer(g, h.open(h.ticket())), Errc::ok);
    cr_assert_eq(h.fetch(g, 1, 0), Errc::ok);
}

Test(peer_session, refuses_who_has_no_membership_of_this_realm) {
    Here h;
    const Other other;
    Guest& stranger = h.connect(Identity(*other.realm));
    cr_assert(h.eventually([&] { return stranger.closed.has_value(); }));
    cr_assert_eq(*stranger.closed, Errc::not_member);

    // A chain that says this realm's signer, with a certificate that another made.
    Identity forger(*other.realm);
    forger.signer = h.hosts.realm->signer();
    Guest& forged = h.connect(forger);
    cr_assert(h.eventually([&] { return forged.closed.has_value(); }));
    cr_assert_eq(*forged.closed, Errc::not_member);

    const std::shared_ptr<SSL_CTX> bare{SslCtxPtr{SSL_CTX_new(TLS_client_method())}};
    Guest& nobody = h.connect(bare);
    cr_assert(h.eventually([&] { return nobody.closed.has_value(); }));
    cr_assert_eq(h.in([&] { return h.object->attached; }), 0U);
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket())), Errc::ok);
}

Test(peer_session, shows_each_peer_the_membership_of_its_realm) {
    Here here;
    const Somewhere other(1);
    const auto others = membership_of(*other.realm, other.self);
    here.door->set_sites({std::make_shared<EnrolledSite>(others), std::make_shared<EnrolledSite>(here.membership)});
    const RealmId mine = here.hosts.realm->trust().id(), theirs = other.realm->trust().id();
    const struct {
        const char* what;
        std::string name;
        MemberId shown;
    } rows[] = {{"its own realm", realm_server_name(mine), here.self.id()},
                {"the other realm", realm_server_name(theirs), other.self.id()},
                {"no name", "", other.self.id()},
                {"a realm that nobody knows", realm_server_name(RealmId{}), other.self.id()}};
    for (const auto& row : rows) {
        Guest& g = here.connect(std::shared_ptr<SSL_CTX>(make_peer_context(here.guest_id.credentials(), false).value()), row.name);
        cr_assert(here.eventually([&] { return g.wire->has_stream() && (g.ready || g.closed); }), "%s", row.what);
        const auto as_member = here.in([&] {
            const bool is_mine = row.shown == here.self.id();
            const auto who = member_of(g.wire->stream().ssl(), (is_mine ? *here.hosts.realm : *other.realm).trust(), wall_now());
            return who.has_value() && who->id == row.shown;
        });
        cr_assert(as_member, "%s", row.what);
    }
    Guest& g = here.connect(std::shared_ptr<SSL_CTX>(make_peer_context(here.guest_id.credentials(), false).value()), realm_server_name(mine));
    cr_assert(here.eventually([&] { return g.ready; }));
    cr_assert_eq(here.answer(g, here.open(here.ticket())), Errc::ok);
    cr_assert_eq(here.fetch(g, 1, 0), Errc::ok);
}

// Who connects and says nothing takes a place at the door, and of these there are so many.
Test(peer_session, turns_away_a_crowd_that_says_nothing) {
    Here here;
    const auto connected = [at = here.door->address()] {
        Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const timeval limit{60, 0};
        setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        cr_assert_eq(connect(fd.get(), at.sa(), at.length()), 0);
        return fd;
    };
    const auto ended = [](const Fd& fd) {
        char byte = 0;
        return recv(fd.get(), &byte, 1, 0) <= 0;
    };
    constexpr int kDoors = 256;
    std::vector<Fd> crowd;
    for (int i = 0; i < kDoors; ++i) crowd.push_back(connected());
    cr_assert(ended(connected()));
    crowd.clear();
    bool ready = false;
    for (int tries = 0; !ready && tries < 1000; ++tries) {
        Guest& g = here.connect(here.guest_id);
        cr_assert(here.eventually([&] { return g.ready || g.closed; }));
        ready = here.in([&] { return g.ready; });
    }
    cr_assert(ready, "a member comes in once they have gone");
}

Test(peer_session, does_nothing_for_a_stranger_that_asks_at_once) {
    Here h;
    const Other other;
    const Identity stranger(*other.realm);
    Guest& g = h.connect(stranger);
    Ticket t = h.ticket();
    t.member = stranger.id();
    const Open open = h.open(t);  // signed by the realm, for this very key: a membership is wanted all the same
    h.in([&] {
        g.wire->send(open);
        g.wire->send(Request{Handle{1}, BlockIndex{0}, kBlocks, 0, false});
    });
    cr_assert(h.eventually([&] { return g.closed.has_value(); }));
    cr_assert(h.in([&] { return g.blocks.empty() && g.last<Opened>() == nullptr && h.object->attached == 0; }));
}

Test(peer_session, turns_a_member_away_that_lied) {
    Here h;
    h.object->ban_list.ban(h.guest_id.id(), Errc::bad_proof, "block 3", mono_now());
    Guest& g = h.connect(h.guest_id);
    cr_assert(h.eventually([&] { return g.closed.has_value(); }));
    cr_assert_eq(*g.closed, Errc::denied);
}

Test(peer_session, ends_the_session_that_asks_for_nodes_above_the_peak_and_no_other) {
    Here h;
    Guest& bad = h.guest();
    Guest& good = h.guest();
    cr_assert_eq(h.answer(bad, h.open(h.ticket())), Errc::ok);
    cr_assert_eq(h.answer(good, h.open(h.ticket())), Errc::ok);
    h.in([&] { bad.wire->send(Request{Handle{1}, BlockIndex{kBlocks - 1}, kBlocks, 1, false}); });
    cr_assert(h.eventually([&] { return bad.closed.has_value(); }));
    cr_assert_eq(*bad.closed, Errc::malformed);
    cr_assert_eq(h.fetch(good, 1, 4), Errc::ok);
}

Test(peer_session, ends_the_session_that_sends_what_a_downloader_does_not) {
    Here h;
    for (const ControlFrame& frame : std::vector<ControlFrame>{Have{Handle{1}, {{0, 1}}}, Opened{Handle{1}, kBlocks, {0}}}) {
        Guest& g = h.guest();
        h.in([&] { g.wire->send(frame); });
        cr_assert(h.eventually([&] { return g.closed.has_value(); }));
        cr_assert_eq(*g.closed, Errc::unexpected);
    }
}

Test(peer_session, ends_the_session_that_opens_a_handle_for_a_second_object) {
    Here h;
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket())), Errc::ok);
    Ticket t = h.ticket();
    t.object.bytes[0] ^= 1;
    Open other = h.open(t);
    other.object = t.object;
    cr_assert_eq(h.answer(g, other), Errc::wrong_object);
    cr_assert(h.eventually([&] { return g.closed.has_value(); }));
}

Test(peer_session, one_object_has_one_handle_in_a_session) {
    Here h;
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket(), 1)), Errc::ok);
    cr_assert_eq(h.answer(g, h.open(h.ticket(), 2)), Errc::busy);
    cr_assert_eq(h.in([&] { return h.object->attached; }), 1U);
    cr_assert_eq(h.fetch(g, 1, 0), Errc::ok);
    h.in([&] { g.wire->send(Close{Handle{1}, false, Errc::ok}); });
    cr_assert_eq(h.answer(g, h.open(h.ticket(), 2)), Errc::ok, "closed under its first handle");
    cr_assert_eq(h.fetch(g, 2, 0), Errc::ok);
}

Test(peer_session, lets_go_of_who_is_gone) {
    Here h;
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket())), Errc::ok);
    cr_assert_eq(h.in([&] { return h.object->takers(); }), 1U);
    h.in([&] { h.guests.clear(); });
    cr_assert(h.eventually([&] { return h.object->takers() == 0; }));
}

// The object's loop may be another, and answer an OPEN when the session has gone on.
Test(peer_session, a_handle_that_is_closed_before_its_object_answers_leaves_nothing_behind) {
    Here h;
    Guest& g = h.guest();
    h.in([&] { h.object->slow = true; });
    h.in([&] {
        g.wire->send(h.open(h.ticket(), 1));
        g.wire->send(Close{Handle{1}, false, Errc::ok});
        g.wire->send(h.open(h.ticket(), 1));
        g.wire->send(Close{Handle{1}, false, Errc::ok});
        g.wire->send(h.open(h.ticket(), 1));
    });
    cr_assert(h.eventually([&] { return h.object->attached == 3; }));
    h.in([&] { h.object->answer(); });
    cr_assert(h.eventually([&] { return h.object->takers() == 1; }), "what was opened last remains");
    cr_assert_eq(h.fetch(g, 1, 2), Errc::ok);
}

Test(peer_session, a_session_that_ends_before_its_object_answers_leaves_nothing_behind) {
    Here h;
    Guest& g = h.guest();
    h.in([&] {
        h.object->slow = true;
        g.wire->send(h.open(h.ticket()));
    });
    cr_assert(h.eventually([&] { return h.object->attached == 1; }));
    h.in([&] { g.wire->fail(Errc::unexpected, "gone"); });
    cr_assert(h.eventually([&] { return g.closed.has_value(); }));
    h.in([&] { h.object->answer(); });
    cr_assert(h.eventually([&] { return h.object->takers() == 0; }));
}

namespace {

struct LinkUser final : PeerLinkUser {
    void on_peer_open(PeerLink&, const Bitmap& have) override { opened = have.count(); }
    Status on_peer_frame(PeerLink&, ControlFrame) override { return {}; }
    Result<Slot> on_peer_slot(PeerLink&, const DataHeader&, std::size_t) override { return Slot{}; }
    Status on_peer_data(PeerLink&, const DataHeader&, View) override { return {}; }
    void on_peer_rtt(PeerLink&, Duration) override {}
    void on_peer_closed(PeerLink&, const Error& why) override { closed = why.code; }
    std::optional<std::uint64_t> opened;
    std::optional<Errc> closed;
};

}  // namespace

// DESIGN 6: the peer's id must be the one the directory named.
Test(peer_link, takes_nothing_from_a_member_that_is_not_the_one_named) {
    Here h;
    const auto me = membership_of(*h.hosts.realm, h.guest_id);
    const Open open = h.open(h.ticket());
    const auto dial = [&](const MemberId& named, LinkUser& user) {
        PeerEntry entry;
        entry.member = named;
        entry.address = h.door->address().ip_bytes();
        entry.port = h.door->address().port();
        auto link = h.in([&] {
            auto l = std::make_unique<PeerLink>(h.hosts.engine.loops.at(0), me, entry, h.hosts.manifest.object, kBlocks,
                                                SourceId{1}, user);
            l->connect(open.ticket_der, open.signer_der);
            return l;
        });
        cr_assert(h.eventually([&] { return user.opened || user.closed; }));
        h.in([&] { h.hosts.engine.loops.at(0).dispose(std::move(link)); });
    };
    LinkUser right, wrong;
    dial(h.self.id(), right);
    cr_assert(right.opened && *right.opened == kBlocks);
    dial(Identity(*h.hosts.realm).id(), wrong);
    cr_assert(!wrong.opened);
    cr_assert_eq(wrong.closed.value(), Errc::not_member, "%s", errc_name(*wrong.closed).data());
}

Test(peer_session, a_member_has_so_many_sessions_and_others_have_theirs) {
    Here h;
    for (unsigned i = 0; i < PeerLimits{}.sessions; ++i) (void)h.guest();
    cr_assert(h.in([&] { return std::none_of(h.guests.begin(), h.guests.end(), [](const auto& g) { return g->closed; }); }));
    Guest& many = h.connect(h.guest_id);
    cr_assert(h.eventually([&] { return many.closed.has_value(); }));
    cr_assert_eq(*many.closed, Errc::busy, "%s", errc_name(*many.closed).data());
    Guest& other = h.connect(Identity(*h.hosts.realm));
    cr_assert(h.eventually([&] { return other.ready; }));
    // One that ends makes room.
    h.in([&] { h.guests.erase(h.guests.begin()); });
    cr_assert(h.eventually([&] {
        if (h.guests.back()->ready && !h.guests.back()->closed) return true;
        return false;
    }));
    Guest* again = nullptr;
    for (int tries = 0; tries < 100; ++tries) {
        again = &h.connect(h.guest_id);
        const Errc code = h.answer(*again, h.open(h.ticket()));
        if (code == Errc::ok) return;
        cr_assert_eq(code, Errc::busy);
    }
    cr_assert_fail("no room was made");
}

Test(peer_session, ends_with_a_member_that_was_found_lying_meanwhile) {
    Here h;
    Guest& g = h.guest();
    cr_assert_eq(h.answer(g, h.open(h.ticket())), Errc::ok);
    cr_assert_eq(h.fetch(g, 1, 0), Errc::ok);
    h.in([&] { h.object->ban_list.ban(h.guest_id.id(), Errc::bad_proof, "in another transfer", h.hosts.engine.loops.at(0).now()); });
    cr_assert_eq(h.fetch(g, 1, 1), Errc::denied);
    cr_assert(h.eventually([&] { return h.object->takers() == 0; }));
}
