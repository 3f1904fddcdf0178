// What a transfer makes of its server and of the peers that this names: over a real TLS connection to a server played by hand.
#include <criterion/criterion.h>

#include <csignal>

#include "protocol/possession.h"
#include "proxy/client/fetch.h"
#include "proxy/core/log.h"
#include "proxy/core/tls.h"
#include "tests/unit/somewhere_fixture.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint32_t kBlocks = 4;
constexpr std::int64_t kLongAgo = 60 * 86400;  // a signer of then is renewed when the server starts

// Lets a member in and does nothing by itself.
class PlayedServer final : public StreamHandler, public WireHandler {
public:
    PlayedServer(Loop& loop, Fd fd, SSL_CTX* tls, SessionRole role = SessionRole::server_to_member) : loop_(&loop), role_(role) {
        stream_ = Stream::accept(loop, std::move(fd), tls, *this);
    }
    ~PlayedServer() override {
        if (stream_) loop_->dispose(std::move(stream_));
        if (!wire) return;
        wire->abandon();
        loop_->dispose(std::move(wire));
    }
    void on_open() override {
        Hello hello;
        hello.abilities = kAbilityPlain;
        WireHandler& handler = *this;
        wire = std::make_unique<Wire>(*loop_, role_, hello, handler);
        wire->begin(std::move(stream_));
    }
    void on_readable() override {}
    void on_writable() override {}
    void on_error(const Error& why) override { closed = why; }
    void on_ready(const Hello&) override {}
    Status on_frame(ControlFrame frame) override {
        log.push_back(std::move(frame));
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t) override { return fail(Errc::unexpected, "DATA at a server"); }
    Status on_data(const DataHeader&, View) override { return {}; }
    void on_rtt(Duration) override {}
    void on_drained() override {}
    void on_closed(const Error& why) override { closed = why; }
    template <class F>
    std::vector<F> all() const { return frames_of<F>(log); }

    std::unique_ptr<Wire> wire;
    std::vector<ControlFrame> log;
    std::optional<Error> closed;

private:
    Loop* loop_;
    SessionRole role_;
    std::unique_ptr<Stream> stream_;
};

class PlayedSite final : public Site {
public:
    const SiteConfig& config() const override { return config_; }
    void membership(Loop& loop, std::function<void(Result<std::shared_ptr<const Membership>>)> done) override {
        loop.post([done, m = member] { done(m); });
    }
    std::shared_ptr<const Membership> current() const override { return member; }
    void renew_membership(Loop&) override {
        ++renewals;
        if (renewed) member = renewed;
    }
    void addresses(Loop& loop, std::function<void(Result<std::vector<Address>>)> done) override {
        loop.post([done, at = server] { done(std::vector<Address>{at}); });
    }
    std::shared_ptr<SSL_CTX> origin_context() const override { return {}; }
    std::string server_name() const override { return "localhost"; }

    std::shared_ptr<const Membership> member, renewed;
    unsigned renewals = 0;
    Address server;

private:
    SiteConfig config_;
};

struct User final : FetchUser {
    void on_fetched(const VerifiedBlock&, const Hash&) override {}
    void on_fetch_finished() override {}
    void on_fetch_failed(const Error& why) override { failed = why; }
    void on_fetch_head(const SignedHead& head) override { heads.push_back(head.der); }
    std::optional<Error> failed;
    std::vector<Bytes> heads;
};

struct Play {
    template <class F>
    auto in(F f) {
        return engine.run(loop(), std::move(f));
    }
    explicit Play(WallTime founded = wall_now()) : where(0, founded) {
        std::signal(SIGPIPE, SIG_IGN);
        (void)mssl::proxy::log::configure(mssl::proxy::log::Level::error, {});
        context = make_server_context(certificate.certificate_file, certificate.key_file).value();
        door = Listener::open(engine.loops, Address::parse("127.0.0.1:0").value(),
                              [this](Loop& l, Fd fd, const Address&) {
                                  servers.push_back(std::make_unique<PlayedServer>(l, std::move(fd), context.get()));
                              })
                   .value();
        peers = Listener::open(engine.loops, Address::parse("127.0.0.1:0").value(),
                               [this](Loop& l, Fd fd, const Address&) {
                                   if (!peer_context) return callers.push_back(std::move(fd));
                                   peer = std::make_unique<PlayedServer>(l, std::move(fd), peer_context.get(),
                                                                         SessionRole::member_to_member);
                               })
                    .value();
        site->server = door->address();
        site->member = member();
        in([&] {
            door->start();
            peers->start();
            link = std::make_unique<ServerLink>(loop(), site, std::uint16_t{0});
        });
    }
    ~Play() {
        in([&] {
            fetches.clear();
            users.clear();
            link.reset();
            servers.clear();
            peer.reset();
            door.reset();
            peers.reset();
        });
    }
    Loop& loop() { return engine.loops.at(0); }
    bool eventually(std::function<bool()> f) { return engine.eventually(loop(), std::move(f)); }
    // As of now: enrolled by the signer that the realm has.
    std::shared_ptr<const Membership> member() const {
        Membership m = *membership_of(*where.realm, where.self);
        m.signer = where.realm->signer();
        const MemberCredentials shown = where.self.credentials();
        m.server_context = std::shared_ptr<SSL_CTX>(make_client_context(certificate.certificate_file, &shown).value());
        return std::make_shared<const Membership>(std::move(m));
    }
    Fetch& fetch() {
        return *in([&] {
            users.push_back(std::make_unique<User>());
            fetches.push_back(std::make_unique<Fetch>(loop(), site->member, link, banned, engine.buffers,
                                                      where.resolution(object, geometry), DownloadLimits{}, *users.back()));
            fetches.back()->start(Bitmap(kBlocks), {});
            return fetches.back().get();
        });
    }
    PlayedServer& server() { return *servers.back(); }
    // The handle of the n-th OPEN, once it came; answered.
    Handle opened(std::size_t n) {
        cr_assert(eventually([&] { return !servers.empty() && server().all<Open>().size() > n; }));
        return in([&] {
            const Handle h = server().all<Open>()[n].handle;
            server().wire->send(Opened{h, kBlocks, wire_bitfield(Bitmap(kBlocks))});
            return h;
        });
    }
    void send(const ControlFrame& f) {
        in([&] { server().wire->send(f); });
    }
    // Of the same grant, good for longer, by the signer of now.
    SignedTicket ticket() const {
        Ticket t = where.resolution(object, geometry).ticket->body;
        t.not_after = {t.not_after.unix_seconds + 600};
        return sign_ticket(t, where.realm->signer_key()).value();
    }

    Somewhere where;
    mssl::test::TempDir files;
    mssl::test::TestCertificate certificate{files, "localhost", "DNS:localhost,IP:127.0.0.1"};
    Geometry geometry{std::uint64_t{kBlocks} * kMinBlockBytes, kMinBlockBytes};
    ObjectId object;
    Engine engine;
    SslCtxPtr context;
    std::shared_ptr<PlayedSite> site = std::make_shared<PlayedSite>();
    std::shared_ptr<BannedPeers> banned = std::make_shared<BannedPeers>();
    std::vector<std::unique_ptr<PlayedServer>> servers;
    std::vector<Fd> callers;
    SslCtxPtr peer_context;  // with it a caller is answered
    std::unique_ptr<PlayedServer> peer;
    std::unique_ptr<Listener> door, peers;
    std::shared_ptr<ServerLink> link;
    std::vector<std::unique_ptr<User>> users;
    std::vector<std::unique_ptr<Fetch>> fetches;
};

}  // namespace

// The ticket comes once: the membership is renewed to learn the signer, and then it counts.
Test(fetch, a_ticket_of_a_signer_not_met_yet_is_not_lost) {
    Play p({wall_now().unix_seconds - kLongAgo});
    p.fetch();
    const Handle h = p.opened(0);
    p.where.renew_signer();
    p.in([&] { p.site->renewed = p.member(); });
    const SignedTicket fresh = p.ticket();
    p.send(TicketFrame{h, fresh.der});
    cr_assert(p.eventually([&] { return p.site->renewals == 1; }));
    // It shows in what an OPEN carries after the server was started anew.
    cr_assert(p.eventually([&] {
        PlayedServer& now = p.server();
        const auto opens = now.all<Open>();
        if (opens.empty() || now.closed) return false;
        if (opens.back().ticket_der != fresh.der) {
            now.wire->fail(Errc::shutting_down, "a restart");
            return false;
        }
        cr_assert(opens.back().signer_der == p.where.realm->signer().to_der(), "with who signed it");
        return true;
    }));
    cr_assert(p.in([&] { return !p.users[0]->failed; }));
    cr_assert_eq(p.in([&] { return p.site->renewals; }), 1u);
}

Test(fetch, a_head_of_a_signer_not_met_yet_is_taken_once_the_signer_is_known) {
    Play p({wall_now().unix_seconds - kLongAgo});
    // What it has is not the final head.
    Fetch& f = p.fetch();
    const Handle h = p.opened(0);
    p.where.renew_signer();
    p.send(HeadFrame{h, p.where.resolution(p.object, p.geometry).head->der});
    cr_assert(p.eventually([&] { return p.site->renewals >= 1; }));
    cr_assert(p.in([&] { return !p.users[0]->failed && f.rejected() == 0; }), "nobody is blamed");
    p.in([&] { p.site->renewed = p.member(); });
    cr_assert(p.eventually([&] { return p.site->member == p.site->renewed; }), "asked again while it is not known");
    const unsigned before = p.in([&] { return p.site->renewals; });
    p.send(HeadFrame{h, p.where.resolution(p.object, p.geometry).head->der});
    cr_assert(p.in([&] { return p.site->renewals; }) == before && !p.in([&] { return p.users[0]->failed.has_value(); }));
    cr_assert_eq(p.in([&] { return p.servers.size(); }), 1u);
}

Test(fetch, an_error_in_one_handle_closes_that_handle_alone) {
    Play p;
    Fetch& bad = p.fetch();
    const Handle first = p.opened(0);
    p.fetch();
    const Handle second = p.opened(1);
    cr_assert(first != second);
    p.send(HeadFrame{first, Bytes(40, 0x30)});
    cr_assert(p.eventually([&] { return bad.rejected() == 1; }));
    // It is opened again, on the same connection, and the other was never touched.
    const Handle again = p.opened(2);
    cr_assert(again != first && again != second);
    p.in([&] {
        cr_assert_eq(p.servers.size(), 1u);
        cr_assert(!p.server().closed);
        const auto closed = p.server().all<Close>();
        cr_assert_eq(closed.size(), 1u);
        cr_assert_eq(closed[0].handle, first);
        cr_assert(!p.users[0]->failed && !p.users[1]->failed);
    });
    // What cannot be right from the start ends its transfer, and no other.
    p.fetch();
    cr_assert(p.eventually([&] { return p.server().all<Open>().size() == 4; }));
    p.send(Opened{p.in([&] { return p.server().all<Open>()[3].handle; }), kBlocks + 1, {}});
    cr_assert(p.eventually([&] { return p.users[2]->failed.has_value(); }));
    cr_assert(p.in([&] { return !p.users[0]->failed && !p.users[1]->failed && p.servers.size() == 1 && !p.server().closed; }));
}

// A newer resolution while OPENED is on its way: a second OPEN of the handle would end the connection, for every transfer.
Test(fetch, a_handle_is_opened_once) {
    Play p;
    Fetch& f = p.fetch();
    cr_assert(p.eventually([&] { return !p.servers.empty() && !p.server().all<Open>().empty(); }));
    p.in([&] {
        Resolution newer = p.where.resolution(p.object, p.geometry);
        newer.ticket = std::make_shared<const SignedTicket>(p.ticket());
        f.update(newer);
    });
    // A frame that is sent after it has arrived: so had an OPEN.
    p.in([&] { f.set_readers({0}); });
    p.opened(0);
    cr_assert(p.eventually([&] { return !p.server().all<Any>().empty(); }));
    cr_assert_eq(p.in([&] { return p.server().all<Open>().size(); }), 1u);
}

// DESIGN 6: a convicted member is out because the directory does not name it any more.
Test(fetch, a_peer_that_is_gone_is_let_go_of) {
    Play p;
    Fetch& f = p.fetch();
    const Handle h = p.opened(0);
    PeerEntry peer;
    peer.member = member_number(9);
    peer.address = p.peers->address().ip_bytes();
    peer.port = p.peers->address().port();
    p.send(Peers{h, {peer}});
    cr_assert(p.eventually([&] { return p.callers.size() == 1 && f.peers().size() == 1; }));
    peer.gone = true;
    p.send(Peers{h, {peer}});
    cr_assert(p.eventually([&] { return f.peers().empty(); }));
    // The connection itself ends.
    char bytes[4096];
    ssize_t n = 1;
    cr_assert(p.eventually([&] {
        while ((n = ::recv(p.callers[0].get(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {}
        return n == 0 || errno == ECONNRESET;
    }));
    cr_assert(p.in([&] { return f.peers().empty() && p.callers.size() == 1; }), "not called again");
}

// SESSIONS: a side that connected and serves nothing on that connection says so, and goes on downloading.
Test(peer_link, an_open_on_an_outgoing_connection_is_closed_as_unsupported) {
    Play p;
    const Identity other(*p.where.realm);
    p.peer_context = make_peer_context(other.credentials(), true).value();
    Fetch& f = p.fetch();
    const Handle h = p.opened(0);
    PeerEntry entry;
    entry.member = other.id();
    entry.address = p.peers->address().ip_bytes();
    entry.port = p.peers->address().port();
    p.send(Peers{h, {entry}});
    cr_assert(p.eventually([&] { return p.peer && !p.peer->all<Open>().empty(); }));
    Bitmap all(kBlocks);
    all.set_all();
    p.in([&] {
        const Open theirs = p.peer->all<Open>().front();
        p.peer->wire->send(Open{Handle{77}, theirs.object, theirs.ticket_der, theirs.signer_der});
        p.peer->wire->send(Opened{theirs.handle, kBlocks, wire_bitfield(all)});
    });
    cr_assert(p.eventually([&] { return p.peer->closed || !p.peer->all<Request>().empty(); }));
    p.in([&] {
        cr_assert(!p.peer->closed, "%s", p.peer->closed->to_string().c_str());
        const auto closes = p.peer->all<Close>();
        cr_assert_eq(closes.size(), 1u);
        cr_assert(closes[0].handle == Handle{77} && closes[0].by_provider && closes[0].code == Errc::unsupported);
        cr_assert(f.cut().empty());
    });
}

// No fault of who passes it on, server or peer.
Test(fetch, a_head_of_another_length_is_the_realm_contradicting_itself) {
    Play p;
    Fetch& f = p.fetch();
    const Handle h = p.opened(0);
    p.send(HeadFrame{h, p.where.resolution(p.object, Geometry(std::uint64_t{kBlocks - 1} * kMinBlockBytes, kMinBlockBytes)).head->der});
    cr_assert(p.eventually([&] { return p.users[0]->failed.has_value(); }));
    cr_assert_eq(p.users[0]->failed->code, Errc::conflicting_head);
    cr_assert_eq(f.rejected(), 0u);
}
