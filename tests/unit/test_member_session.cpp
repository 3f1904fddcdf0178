// Members' connections at the server, over real TLS on loopback: who may do what, and that what one does wrong is his alone.
#include <criterion/criterion.h>

#include <csignal>

#include "protocol/resolve.h"
#include "proxy/core/tls.h"
#include "proxy/core/wire.h"
#include "proxy/server/member_session.h"
#include "tests/unit/hosting_fixture.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr std::uint64_t kBlocks = 12;
constexpr auto kTicketLife = std::chrono::minutes(10);

struct Finder final : ObjectFinder {
    std::shared_ptr<HostedObject> object;
    std::shared_ptr<HostedObject> find(const ObjectId& id) override { return object && id == object->id() ? object : nullptr; }
};

struct Identity {
    KeyPair key = KeyPair::generate().value();
    std::optional<Certificate> certificate, signer;
    MemberId id() const { return member_id_of(key.public_key()); }
    static std::shared_ptr<Identity> in(const Realm& realm) {
        auto me = std::make_shared<Identity>();
        me->certificate = realm.enrol(me->key.public_key(), wall_now(), 7).value();
        me->signer = realm.signer();
        return me;
    }
};

// A member's side of a connection. Lives in the loop; asked through Port::in().
class Member final : public WireHandler {
public:
    Member(Loop& loop, const Address& to, const std::string& ca, std::shared_ptr<Identity> who, const RealmId& realm)
        : loop_(&loop), identity(std::move(who)) {
        std::optional<MemberCredentials> shown;
        if (identity->certificate) shown = MemberCredentials{*identity->certificate, *identity->signer, &identity->key};
        context_ = make_client_context(ca, shown ? &*shown : nullptr).value();
        Hello hello;
        hello.abilities = kAbilityPlain;
        hello.realm = realm;
        wire = std::make_unique<Wire>(loop, SessionRole::member_to_server, hello, *this);
        const TlsClient tls{context_.get(), "localhost", std::string(kAlpnMember)};
        wire->begin(Stream::connect(loop, {to}, &tls, wire->as_stream_handler()));
    }
    ~Member() override {
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
        bytes += payload.size();
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
    Loop* loop_;
    std::shared_ptr<Identity> identity;
    std::unique_ptr<Wire> wire;
    bool ready = false;
    std::optional<Errc> closed;
    std::vector<ControlFrame> log;
    std::map<std::uint32_t, Bytes> blocks;
    std::uint64_t bytes = 0;

private:
    SslCtxPtr context_;
    Bytes place_;
};

// Takes a connection until its handshake is done, then gives it to the sessions: as the server's front does.
class Door final : public Disposable, public StreamHandler {
public:
    Door(Loop& loop, Fd fd, SSL_CTX* tls, MemberSessions& sessions) : loop_(&loop), sessions_(&sessions) {
        stream_ = Stream::accept(loop, std::move(fd), tls, *this);
    }
    void on_open() override {
        sessions_->begin(*loop_, std::move(stream_));
        loop_->release(this);
    }
    void on_readable() override {}
    void on_writable() override {}
    void on_error(const Error&) override {
        loop_->dispose(std::move(stream_));
        loop_->release(this);
    }

private:
    Loop* loop_;
    MemberSessions* sessions_;
    std::unique_ptr<Stream> stream_;
};

struct Port {
    template <class F>
    auto in(F f) {
        return hosts.engine.run(hosts.engine.loops.at(0), std::move(f));
    }
    explicit Port(unsigned loops = 1, Duration silence = std::chrono::minutes(10)) : hosts(kBlocks * kMinBlockBytes, loops) {
        std::signal(SIGPIPE, SIG_IGN);
        finder->object = hosts.known(nodes_of(hosts.geometry)).value();
        ServerConfig config;
        config.state = hosts.directory.path;
        SessionParts parts;
        parts.runtime = &hosts.engine.runtime;
        parts.realm = [realm = hosts.realm] { return realm; };
        parts.objects = finder;
        parts.enrolment = Enrolment::open(config, hosts.realm).value();
        parts.tickets = tickets;
        parts.directory = directory;
        parts.dial_back = DialBack::create().value();
        parts.silence = silence;
        sessions = std::make_unique<MemberSessions>(parts);
        context = make_server_context(certificate.certificate_file, certificate.key_file).value();
        listener = Listener::open(hosts.engine.loops, Address::parse("127.0.0.1:0").value(),
                                  [this](Loop& loop, Fd fd, const Address&) {
                                      auto door = std::make_unique<Door>(loop, std::move(fd), context.get(), *sessions);
                                      loop.adopt(std::move(door));
                                  })
                       .value();
        in([this] { listener->start(); });
    }
    ~Port() {
        in([this] {
            members.clear();
            listener.reset();
        });
        sessions->drain();
        (void)eventually([this] { return sessions->open() == 0; });
    }
    bool eventually(std::function<bool()> f) { return hosts.engine.eventually(hosts.engine.loops.at(0), std::move(f)); }
    Member& connect(std::shared_ptr<Identity> who) {
        return *in([&] {
            members.push_back(std::make_unique<Member>(hosts.engine.loops.at(0), listener->address(),
                                                       certificate.certificate_file, std::move(who), hosts.realm->trust().id()));
            return members.back().get();
        });
    }
    Member& member() {
        Member& m = connect(Identity::in(*hosts.realm));
        cr_assert(eventually([&] { return m.ready; }));
        return m;
    }
    Bytes ticket(const MemberId& for_whom) {
        return tickets->issue(*hosts.realm, for_whom, hosts.manifest, wall_now()).value().der;
    }
    Open open(const Member& m, std::uint32_t handle = 1) {
        return {Handle{handle}, hosts.manifest.object, ticket(m.identity->id()), hosts.realm->signer().to_der()};
    }
    void send(Member& m, const ControlFrame& f) {
        in([&] { m.wire->send(f); });
    }
    // What an OPEN is answered with: ok, or the code of the CLOSE or of the connection's end.
    Errc answer(Member& m, const Open& open) {
        send(m, open);
        Errc out = Errc::internal;
        cr_assert(eventually([&] {
            if (m.closed) out = *m.closed;
            else if (const auto* c = m.last<Close>(); c != nullptr && c->handle == open.handle) out = c->code;
            else if (const auto* o = m.last<Opened>(); o != nullptr && o->handle == open.handle) out = Errc::ok;
            else return false;
            return true;
        }));
        return out;
    }
    // Fetches a block and checks it: that this member is served as ever.
    bool served(Member& m, std::uint32_t handle, std::uint32_t block) {
        in([&] { m.blocks.erase(block); });  // asked for again it comes again
        send(m, Request{Handle{handle}, BlockIndex{block}, kBlocks, 0, false});
        return eventually([&] {
            const auto it = m.blocks.find(block);
            return it != m.blocks.end() && it->second.size() == kMinBlockBytes &&
                   hash_block(it->second) == node_of(hosts.geometry, BlockIndex{block});
        });
    }

    mssl::test::TempDir files;
    mssl::test::TestCertificate certificate{files, "localhost", "DNS:localhost,IP:127.0.0.1"};
    Hosts hosts;
    std::shared_ptr<Finder> finder = std::make_shared<Finder>();
    std::shared_ptr<Directory> directory = std::make_shared<Directory>();
    std::shared_ptr<Tickets> tickets = std::make_shared<Tickets>(kTicketLife);
    std::unique_ptr<MemberSessions> sessions;
    SslCtxPtr context;
    std::unique_ptr<Listener> listener;
    std::vector<std::unique_ptr<Member>> members;
};

// Whether PEERS named this member, as there or as gone.
bool told(const Member& m, const MemberId& about, bool gone) {
    for (const ControlFrame& f : m.log)
        if (const auto* peers = std::get_if<Peers>(&f))
            for (const PeerEntry& e : peers->peers)
                if (e.member == about && e.gone == gone) return true;
    return false;
}

}  // namespace

Test(member_session, serves_a_member_with_a_ticket) {
    for (const unsigned loops : {1U, 4U}) {
        Port p(loops);
        Member& m = p.member();
        cr_assert_eq(p.answer(m, p.open(m)), Errc::ok);
        for (std::uint32_t i = 0; i < kBlocks; ++i) cr_assert(p.served(m, 1, i));
        cr_assert(p.in([&] { return m.last<HeadFrame>() != nullptr; }));
    }
}

Test(member_session, enrols_who_proves_its_key_and_then_takes_its_certificate) {
    Port p;
    const auto me = std::make_shared<Identity>();
    Member& stranger = p.connect(me);
    cr_assert(p.eventually([&] { return stranger.ready; }));
    p.in([&] {
        const Hash exporter = stranger.wire->stream().exporter(kEnrolExporter).value();
        stranger.wire->send(Enrol{me->key.public_key(), sign_possession(me->key, "mssl/1 enrol", exporter.view()).value(), ""});
    });
    cr_assert(p.eventually([&] { return stranger.last<Enrolled>() != nullptr; }));
    const Enrolled enrolled = p.in([&] { return *stranger.last<Enrolled>(); });
    me->certificate = Certificate::from_der(enrolled.member_der).value();
    me->signer = Certificate::from_der(enrolled.signer_der).value();
    Member& m = p.connect(me);
    cr_assert(p.eventually([&] { return m.ready; }));
    cr_assert_eq(p.answer(m, p.open(m)), Errc::ok);
}

Test(member_session, does_not_enrol_a_key_that_was_not_proved) {
    Port p;
    Member& m = p.connect(std::make_shared<Identity>());
    cr_assert(p.eventually([&] { return m.ready; }));
    p.send(m, Enrol{m.identity->key.public_key(), Signature{}, ""});
    cr_assert(p.eventually([&] { return m.closed.has_value(); }));
    cr_assert_eq(*m.closed, Errc::bad_signature);
}

Test(member_session, lets_who_has_no_certificate_do_nothing_but_enrol) {
    Port p;
    Member& bystander = p.member();
    for (const ControlFrame& frame : std::vector<ControlFrame>{Announce{4434}, Request{}, Any{}, Progress{}, Renew{}, Report{}}) {
        Member& m = p.connect(std::make_shared<Identity>());
        cr_assert(p.eventually([&] { return m.ready; }));
        p.send(m, frame);
        cr_assert(p.eventually([&] { return m.closed.has_value(); }));
        cr_assert_eq(*m.closed, Errc::not_member);
    }
    Member& m = p.connect(std::make_shared<Identity>());
    cr_assert(p.eventually([&] { return m.ready; }));
    cr_assert_eq(p.answer(m, p.open(m)), Errc::not_member);
    cr_assert_eq(p.answer(bystander, p.open(bystander)), Errc::ok);
}

Test(member_session, refuses_a_certificate_of_another_realm) {
    Port p;
    ScratchDirectory elsewhere;
    const auto other = Realm::open(elsewhere.path, wall_now()).value();
    Member& m = p.connect(Identity::in(*other));
    cr_assert(p.eventually([&] { return m.closed.has_value(); }));
    cr_assert_eq(*m.closed, Errc::not_member);
}

Test(member_session, closes_the_handle_of_a_bad_ticket_and_nothing_else) {
    Port p;
    ScratchDirectory elsewhere;
    const auto other = Realm::open(elsewhere.path, wall_now()).value();
    Member& m = p.member();
    Member& bystander = p.member();
    cr_assert_eq(p.answer(m, p.open(m, 1)), Errc::ok);
    cr_assert_eq(p.answer(bystander, p.open(bystander, 1)), Errc::ok);

    const MemberId me = m.identity->id();
    const WallTime long_ago{wall_now().unix_seconds - 3600};
    Open expired = p.open(m, 2);
    expired.ticket_der = p.tickets->issue(*p.hosts.realm, me, p.hosts.manifest, long_ago).value().der;
    cr_assert_eq(p.answer(m, expired), Errc::expired);

    Open stolen = p.open(m, 3);
    stolen.ticket_der = p.ticket(bystander.identity->id());
    cr_assert_eq(p.answer(m, stolen), Errc::wrong_holder);

    Open widened = p.open(m, 4);
    widened.object.bytes[0] ^= 1;
    cr_assert_eq(p.answer(m, widened), Errc::wrong_object);

    Open foreign = p.open(m, 5);
    foreign.ticket_der = p.tickets->issue(*other, me, p.hosts.manifest, wall_now()).value().der;
    foreign.signer_der = other->signer().to_der();
    cr_assert_eq(p.answer(m, foreign), Errc::wrong_realm);

    Open flipped = p.open(m, 6);
    flipped.ticket_der.back() ^= 1;
    cr_assert_eq(p.answer(m, flipped), Errc::bad_signature);

    Open unknown = p.open(m, 7);
    Manifest gone = p.hosts.manifest;
    gone.object.bytes[0] ^= 1;
    unknown.object = gone.object;
    unknown.ticket_der = p.tickets->issue(*p.hosts.realm, me, gone, wall_now()).value().der;
    cr_assert_eq(p.answer(m, unknown), Errc::no_such_object);

    cr_assert(p.served(m, 1, 3), "the good handle of the same session");
    cr_assert(p.served(bystander, 1, 4));
}

Test(member_session, ends_the_session_that_asks_out_of_bounds_and_no_other) {
    Port p;
    Member& bad = p.member();
    Member& good = p.member();
    cr_assert_eq(p.answer(bad, p.open(bad)), Errc::ok);
    cr_assert_eq(p.answer(good, p.open(good)), Errc::ok);
    p.send(bad, Request{Handle{1}, BlockIndex{kBlocks}, kBlocks, 0, false});
    cr_assert(p.eventually([&] { return bad.closed.has_value(); }));
    cr_assert_eq(*bad.closed, Errc::malformed);
    cr_assert(p.served(good, 1, 0));
}

Test(member_session, ends_the_session_that_opens_a_handle_twice) {
    Port p;
    Member& m = p.member();
    cr_assert_eq(p.answer(m, p.open(m)), Errc::ok);
    p.send(m, p.open(m));
    cr_assert(p.eventually([&] { return m.closed.has_value(); }));
    cr_assert_eq(*m.closed, Errc::unexpected);
}

Test(member_session, has_a_limit_of_handles) {
    Port p;
    Member& m = p.member();
    Open open = p.open(m);
    for (std::uint32_t i = 1; i <= MemberSessions::kMaxHandles; ++i) {
        open.handle = Handle{i};
        cr_assert_eq(p.answer(m, open), Errc::ok);
    }
    open.handle = Handle{MemberSessions::kMaxHandles + 1};
    cr_assert_eq(p.answer(m, open), Errc::busy);
    p.send(m, Close{Handle{1}, false, Errc::ok});
    cr_assert_eq(p.answer(m, {Handle{5000}, open.object, open.ticket_der, open.signer_der}), Errc::ok);
}

Test(member_session, serves_nothing_after_the_end_of_the_ticket) {
    Port p;
    Member& m = p.member();
    // Over already, but for the tolerance: OPEN passes, and the ticket ends a moment later. On a machine that is slower
    // than that moment it is tried again.
    std::uint32_t handle = 0;
    std::int64_t end = 0;
    Errc opened = Errc::expired;
    while (opened == Errc::expired && ++handle < 10) {
        end = wall_now().unix_seconds + 3;
        Open open = p.open(m, handle);
        const WallTime begun{end - kClockToleranceSeconds - std::chrono::seconds(kTicketLife).count()};
        open.ticket_der = p.tickets->issue(*p.hosts.realm, m.identity->id(), p.hosts.manifest, begun).value().der;
        opened = p.answer(m, open);
    }
    cr_assert_eq(opened, Errc::ok);
    cr_assert(p.eventually([&] { return wall_now().unix_seconds > end; }));
    p.send(m, Request{Handle{handle}, BlockIndex{1}, kBlocks, 0, false});
    cr_assert(p.eventually([&] { return m.last<Close>() != nullptr && m.last<Close>()->handle == Handle{handle}; }));
    cr_assert_eq(m.last<Close>()->code, Errc::expired);
    cr_assert(m.blocks.empty());
    cr_assert_eq(p.answer(m, p.open(m, handle + 1)), Errc::ok);
    cr_assert(p.served(m, handle + 1, 1));
}

Test(member_session, renews_a_ticket_under_its_grant) {
    Port p;
    Member& m = p.member();
    const Open open = p.open(m);
    cr_assert_eq(p.answer(m, open), Errc::ok);
    p.send(m, Renew{Handle{1}});
    cr_assert(p.eventually([&] { return m.last<TicketFrame>() != nullptr; }));
    const PublicKey signer = p.hosts.realm->signer().public_key();
    const Ticket renewed = parse_ticket(p.in([&] { return m.last<TicketFrame>()->ticket_der; }), signer).value().body;
    cr_assert(renewed.grant == parse_ticket(open.ticket_der, signer).value().body.grant);
    cr_assert(renewed.member == m.identity->id());
}

Test(member_session, a_report_is_the_reporters_own_affair) {
    Port p;
    Member& accused = p.member();
    Member& a = p.member();
    Member& b = p.member();
    Member& bystander = p.member();
    for (Member* m : {&accused, &a, &b, &bystander}) cr_assert_eq(p.answer(*m, p.open(*m)), Errc::ok);
    const MemberId id = accused.identity->id();
    for (Member* m : {&a, &b}) {
        cr_assert(p.eventually([&] { return told(*m, id, false); }));
        p.send(*m, Report{Handle{1}, id, Errc::bad_proof});
    }
    cr_assert(p.eventually([&] { return told(a, id, true) && told(b, id, true); }), "who reports is not told of it any more");
    p.send(accused, Renew{Handle{1}});
    cr_assert(p.eventually([&] { return accused.last<TicketFrame>() != nullptr; }), "and it loses nothing");
    cr_assert(p.served(accused, 1, 0));
    cr_assert(p.eventually([&] { return told(bystander, id, false); }));
    cr_assert(p.in([&] { return !told(bystander, id, true); }));
    // Nor when it comes again.
    Member& again = p.connect(a.identity);
    cr_assert(p.eventually([&] { return again.ready; }));
    cr_assert_eq(p.answer(again, p.open(again)), Errc::ok);
    cr_assert(p.eventually([&] { return told(again, bystander.identity->id(), false); }));
    cr_assert(p.in([&] { return !told(again, id, false); }));
}

Test(member_session, reports_about_strangers_count_for_nothing) {
    Port p;
    Member& a = p.member();
    Member& b = p.member();
    for (Member* m : {&a, &b}) {
        cr_assert_eq(p.answer(*m, p.open(*m)), Errc::ok);
        p.send(*m, Report{Handle{1}, member_number(77), Errc::bad_proof});
        cr_assert(p.served(*m, 1, 0), "the report has been worked off");
    }
    cr_assert(!p.directory->convicted(member_number(77), mono_now()));
}

Test(member_session, dials_back_before_it_says_that_a_member_can_be_reached) {
    Port p;
    Member& m = p.member();
    // Where that very member listens, where another does, and where nobody does.
    const auto listen_as = [&](const std::shared_ptr<Identity>& who) {
        const auto ctx = std::make_shared<SslCtxPtr>(
            make_peer_context({*who->certificate, *who->signer, &who->key}, true).value());
        return Listener::open(p.hosts.engine.loops, Address::parse("127.0.0.1:0").value(), [ctx, &p](Loop& loop, Fd fd, const Address&) {
                   loop.adopt(std::make_unique<Door>(loop, std::move(fd), ctx->get(), *p.sessions));
               }).value();
    };
    auto own = listen_as(m.identity);
    auto another = listen_as(Identity::in(*p.hosts.realm));
    p.in([&] {
        own->start();
        another->start();
    });
    const auto announced = [&](std::uint16_t port) {
        p.in([&] { m.log.clear(); });
        p.send(m, Announce{port});
        cr_assert(p.eventually([&] { return m.last<Announced>() != nullptr; }));
        return p.in([&] { return m.last<Announced>()->reachable; });
    };
    cr_assert(!announced(another->address().port()), "another member answers there");
    cr_assert_eq(p.directory->entry(m.identity->id(), mono_now()).port, 0);
    cr_assert(announced(own->address().port()));
    cr_assert_eq(p.directory->entry(m.identity->id(), mono_now()).port, own->address().port());
    p.in([&] {
        own.reset();
        another.reset();
    });
}

// What a member cancels is not sent, and not counted as sent.
Test(member_session, counts_the_bytes_that_left) {
    Port p;
    Member& m = p.member();
    cr_assert_eq(p.answer(m, p.open(m)), Errc::ok);
    for (std::uint32_t i = 0; i < kBlocks; ++i) p.send(m, Request{Handle{1}, BlockIndex{i}, kBlocks, 0, false});
    for (std::uint32_t i = 1; i < kBlocks; ++i) p.send(m, Cancel{Handle{1}, BlockIndex{i}});
    p.in([&] { m.blocks.clear(); });
    cr_assert_eq(p.answer(m, p.open(m, 2)), Errc::ok);
    cr_assert(p.served(m, 2, 11));
    cr_assert(p.eventually([&] {
        std::uint64_t counted = 0;
        for (unsigned i = 0; i < p.hosts.engine.loops.size(); ++i) counted += p.hosts.engine.loops.at(i).counters().bytes_to_members;
        return counted == m.bytes && m.bytes < (kBlocks + 1) * kMinBlockBytes;
    }));
}

// What it asked for lies in buffers that others wait for, however busily it says that it is there.
Test(member_session, ends_with_who_asks_and_does_not_read) {
    Port p(1, std::chrono::milliseconds(200));
    Member& m = p.member();
    cr_assert_eq(p.answer(m, p.open(m)), Errc::ok);
    p.in([&] { m.wire->stream().want_read(false); });
    for (std::uint32_t i = 0; i < kBlocks; ++i) p.send(m, Request{Handle{1}, BlockIndex{i}, kBlocks, 0, false});
    cr_assert(p.eventually([&] {
        m.wire->ping();
        return p.sessions->open() == 0;
    }));
    cr_assert_lt(m.blocks.size(), kBlocks);
}

Test(member_session, says_that_the_server_goes_down) {
    Port p;
    Member& m = p.member();
    p.sessions->drain();
    cr_assert(p.eventually([&] { return m.closed.has_value(); }));
    cr_assert_eq(*m.closed, Errc::shutting_down);
}

// Whoever was told of an object a moment ago is about to open it, over the connection it has or a new one.
Test(member_session, serves_what_was_resolved_before_the_server_goes_down) {
    Port p;
    Member& m = p.member();
    const Open resolved = p.open(m);
    const auto late = Identity::in(*p.hosts.realm);
    p.sessions->drain();
    Member& other = p.connect(late);
    cr_assert_eq(p.answer(m, resolved), Errc::ok);
    for (std::uint32_t i = 0; i < kBlocks; ++i) cr_assert(p.served(m, 1, i));
    cr_assert_eq(p.answer(other, p.open(other)), Errc::ok);
    cr_assert(p.served(other, 1, 0));
    cr_assert(p.eventually([&] { return m.closed.has_value() && other.closed.has_value(); }));
    cr_assert_eq(*m.closed, Errc::shutting_down);
}

Test(member_session, lets_a_download_run_to_its_end_when_the_server_goes_down) {
    Port p;
    Member& m = p.member();
    cr_assert_eq(p.answer(m, p.open(m)), Errc::ok);
    p.send(m, Any{Handle{1}, 1, 3, false});
    cr_assert(p.eventually([&] { return m.blocks.size() == 1 && m.blocks.begin()->second.size() == kMinBlockBytes; }));
    p.sessions->drain();
    for (std::uint32_t i = 0; i < kBlocks; ++i) cr_assert(p.served(m, 1, i));
    cr_assert(p.in([&] { return !m.closed.has_value(); }));
    p.send(m, Any{Handle{1}, 0, 3, false});
    cr_assert(p.eventually([&] { return m.closed.has_value(); }));
    cr_assert_eq(*m.closed, Errc::shutting_down);
}
