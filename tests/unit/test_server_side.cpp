// Resolving at the whole server, over real TLS: a directory is the origin, the test is a member's proxy or a browser.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <future>
#include <set>
#include <thread>

#include "protocol/resolve.h"
#include "proxy/core/files.h"
#include "proxy/core/tls.h"
#include "proxy/server/server_side.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using mssl::test::TempDir;
using mssl::test::TestCertificate;

namespace {

const std::string kBig(3'000'000, 'b');
const std::string kSmall(1000, 's');

struct Answer {
    std::string head, body;
    int status() const { return std::stoi(head.substr(9, 3)); }
    bool has(const std::string& text) const { return head.find(text) != std::string::npos; }
};

// A blocking client of one TLS connection.
class Connection {
public:
    Connection(const Address& to, const std::string& ca) : context_(make_client_context(ca, nullptr).value()) {
        fd_ = Fd(::socket(AF_INET, SOCK_STREAM, 0));
        cr_assert_eq(::connect(fd_.get(), to.sa(), to.length()), 0);
        const timeval limit{60, 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ssl_.reset(SSL_new(context_.get()));
        const unsigned char alpn[] = "\x08http/1.1";
        SSL_set_alpn_protos(ssl_.get(), alpn, 9);
        SSL_set1_host(ssl_.get(), "localhost");
        SSL_set_fd(ssl_.get(), fd_.get());
        cr_assert_eq(SSL_connect(ssl_.get()), 1);
    }
    Bytes exporter() {
        Bytes out(32);
        SSL_export_keying_material(ssl_.get(), out.data(), out.size(), kResolveExporter.data(), kResolveExporter.size(), nullptr, 0, 0);
        return out;
    }
    void ask(const std::string& path, const std::string& fields = {}) {
        const std::string text = "GET " + path + " HTTP/1.1\r\nHost: files.test\r\n" + fields + "\r\n";
        cr_assert_eq(SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
    }
    // And what came with it.
    std::string head() {
        std::string in;
        while (in.find("\r\n\r\n") == std::string::npos) more(in);
        return in;
    }
    Answer get(const std::string& path, const std::string& fields = {}) {
        ask(path, fields);
        std::string in = head();
        const std::size_t end = in.find("\r\n\r\n") + 4;
        Answer out{in.substr(0, end), in.substr(end)};
        const std::size_t at = out.head.find("Content-Length: ");
        const std::size_t length = at == std::string::npos ? 0 : std::stoul(out.head.substr(at + 16));
        while (out.body.size() < length) more(out.body);
        cr_assert_eq(out.body.size(), length);
        return out;
    }

private:
    void more(std::string& in) {
        char piece[16384];
        const int n = SSL_read(ssl_.get(), piece, sizeof piece);
        cr_assert_gt(n, 0, "the server ended the connection");
        in.append(piece, static_cast<std::size_t>(n));
    }
    SslCtxPtr context_;
    Fd fd_;
    SslPtr ssl_;
};

// A server that runs; again after restart().
struct Server {
    TempDir dir;
    TestCertificate tls{dir, "tls", "DNS:localhost"};
    std::shared_ptr<Config> config = std::make_shared<Config>();
    std::shared_ptr<Realm> realm;

    BufferPool buffers;
    std::unique_ptr<LoopGroup> loops;
    std::unique_ptr<Workers> workers;
    std::unique_ptr<Runtime> runtime;
    std::unique_ptr<ServerSide> side;
    std::thread thread;
    std::atomic<std::int64_t> days{0};  // since it was made, by its clock
    Duration look_at_realm = std::chrono::hours(1);

    explicit Server(std::size_t memory = std::size_t{64} << 20, std::uint64_t spool = std::uint64_t{10} << 30) : buffers(memory) {
        std::signal(SIGPIPE, SIG_IGN);
        dir.write("www/big.iso", kBig);
        dir.write("www/small.iso", kSmall);
        dir.write("www/other.txt", kBig);
        ServerConfig s;
        s.listen = {Address::parse("127.0.0.1:0").value()};
        s.certificate = tls.certificate_file;
        s.private_key = tls.key_file;
        s.state = dir.path("state");
        s.spool_max = spool;
        OriginConfig o;
        o.host = "files.test";
        o.root = dir.path("www");
        ShareRule rule;
        rule.paths = {"*.iso"};
        o.share = {rule};
        s.origins = {o};
        config->server = s;
        start();
        realm = Realm::open(s.state, wall_now()).value();
    }
    ~Server() { stop(); }
    void start() {
        loops = std::make_unique<LoopGroup>(2);
        workers = std::make_unique<Workers>(2);
        runtime = std::make_unique<Runtime>(Runtime{*loops, *workers, buffers});
        side = ServerSide::start(*runtime, config, {[this] { return now(); }, look_at_realm}).value();
        thread = std::thread([this] { loops->run(); });
    }
    void stop() {
        loops->stop_all();
        thread.join();
        // As the daemon ends: a worker that still had a job would post its result to a loop that is gone.
        workers->stop();
        side.reset();
        loops->empty();
        loops.reset();
    }
    WallTime now() const { return {wall_now().unix_seconds + days * 86400}; }
    std::string signer_file() { return read_text_file(dir.path("state/signer.pem"), 16384).value(); }
    void restart() {
        stop();
        start();
    }
    Connection connect() { return {side->addresses().at(0), tls.certificate_file}; }
    void wait_complete() {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
        const auto complete = [&] {
            for (const HostedStatus& o : side->objects()) {
                if (o.state != "complete") return false;
            }
            return true;
        };
        while (!complete()) {
            cr_assert(std::chrono::steady_clock::now() < deadline, "not hashed in a minute");
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
};

struct Member {
    KeyPair key = KeyPair::generate().value();
    Certificate certificate;
    const Realm& realm;
    explicit Member(const Realm& r, WallTime now = wall_now()) : certificate(r.enrol(key.public_key(), now, 7).value()), realm(r) {}
    std::string field(Connection& c) const {
        return "MSSL-Resolve: " + make_resolve_field(key, certificate, realm.signer(), c.exporter()).value() + "\r\n";
    }
};
const std::string kShort = "MSSL-Resolve: " + short_resolve_field() + "\r\n";

Resolved resolved(const Answer& a) {
    cr_assert_eq(a.status(), 200);
    cr_assert(a.has(std::string(kResolvedType)), "%s", a.head.c_str());
    return decode_resolved(as_view(a.body)).value();
}
Manifest manifest_of(const Realm& realm, const Resolved& r) {
    return parse_manifest(r.manifest_der, realm.signer().public_key()).value().body;
}

}  // namespace

Test(server_side, answers_a_member_with_manifest_ticket_and_head_that_verify) {
    Server s;
    const Member me(*s.realm);
    Connection c = s.connect();
    const Resolved r = resolved(c.get("/big.iso", me.field(c)));
    const Manifest m = manifest_of(*s.realm, r);
    cr_assert_eq(m.url, "http://files.test:80/big.iso");
    cr_assert_eq(m.length, kBig.size());
    const Ticket t = parse_ticket(r.ticket_der, s.realm->signer().public_key()).value().body;
    cr_assert(check_ticket(t, me.certificate.member_id(), m.object, wall_now()).has_value());
    const Head h = parse_head(r.head_der, s.realm->signer().public_key()).value().body;
    cr_assert(h.object == m.object && h.leaves > 0);
    cr_assert(s.realm->trust().check_signer(Certificate::from_der(r.signer_der).value(), wall_now()).has_value());
    cr_assert_eq(s.loops->at(0).counters().tickets_issued + s.loops->at(1).counters().tickets_issued, 1U);
    // Later requests of the connection need no proof.
    cr_assert(manifest_of(*s.realm, resolved(c.get("/big.iso", kShort))).object == m.object);
}

Test(server_side, gives_a_browser_and_whoever_proves_nothing_the_bytes_themselves) {
    Server s;
    const Member me(*s.realm);
    Connection other = s.connect();
    const std::string of_another_connection = me.field(other);
    Connection c = s.connect();
    cr_assert_eq(c.get("/big.iso").body, kBig);
    cr_assert_eq(c.get("/big.iso", kShort).body, kBig);
    cr_assert_eq(c.get("/big.iso", of_another_connection).body, kBig);
    cr_assert_eq(c.get("/big.iso", "MSSL-Resolve: nonsense\r\n").body, kBig);
    const TempDir elsewhere;
    const auto foreign = Realm::open(elsewhere.path("state"), wall_now()).value();
    const Member stranger(*foreign);
    cr_assert_eq(c.get("/big.iso", stranger.field(c)).body, kBig);
    cr_assert_eq(s.side->objects().size(), 0U);
}

Test(server_side, relays_to_members_what_is_not_shared) {
    Server s;
    const Member me(*s.realm);
    Connection c = s.connect();
    const Answer small = c.get("/small.iso", me.field(c));
    cr_assert_eq(small.body, kSmall);
    cr_assert_eq(c.get("/other.txt", kShort).body, kBig);
    cr_assert_eq(s.loops->at(0).counters().bytes_from_origin + s.loops->at(1).counters().bytes_from_origin, kSmall.size() + kBig.size());
    cr_assert_eq(c.get("/absent.iso", kShort).status(), 404);
    const Answer part = c.get("/small.iso", kShort + "Range: bytes=10-19\r\n");
    cr_assert_eq(part.status(), 206);
    cr_assert_eq(part.body.size(), 10U);
    cr_assert_eq(s.side->objects().size(), 0U);
}

Test(server_side, lets_the_origin_decide_about_the_applications_own_condition) {
    Server s;
    const Member me(*s.realm);
    Connection c = s.connect();
    const Manifest m = manifest_of(*s.realm, resolved(c.get("/big.iso", me.field(c))));
    cr_assert_eq(c.get("/big.iso", kShort + "If-None-Match: " + m.validator.etag + "\r\n").status(), 304);
    cr_assert(manifest_of(*s.realm, resolved(c.get("/big.iso", kShort + "If-None-Match: \"other\"\r\n"))).object == m.object);
    cr_assert(manifest_of(*s.realm, resolved(c.get("/big.iso", kShort + "Range: bytes=0-9\r\n"))).object == m.object);
    cr_assert_eq(c.get("/big.iso", kShort + "If-Match: \"other\"\r\n").status(), 412);
}

Test(server_side, makes_one_object_of_many_who_ask_at_once) {
    Server s;
    std::vector<std::thread> threads;
    std::array<ObjectId, 16> ids;
    for (ObjectId& id : ids) {
        threads.emplace_back([&s, &id] {
            const Member me(*s.realm);
            Connection c = s.connect();
            id = manifest_of(*s.realm, resolved(c.get("/big.iso", me.field(c)))).object;
        });
    }
    for (std::thread& t : threads) t.join();
    cr_assert_eq(std::set<ObjectId>(ids.begin(), ids.end()).size(), 1U);
    s.wait_complete();
    cr_assert_eq(s.side->objects().at(0).hashed, kBig.size());
}

Test(server_side, has_the_same_object_after_a_restart_and_another_for_other_bytes) {
    Server s;
    const Member me(*s.realm);
    const auto ask = [&] {
        Connection c = s.connect();
        return resolved(c.get("/big.iso", me.field(c)));
    };
    const ObjectId before = manifest_of(*s.realm, ask()).object;
    s.wait_complete();
    s.restart();
    const Resolved after = ask();
    cr_assert(manifest_of(*s.realm, after).object == before);
    cr_assert(parse_head(after.head_der, s.realm->signer().public_key()).value().body.final_head);
    s.dir.write("www/big.iso", std::string(kBig.size(), 'B'));
    const timespec times[2] = {{1, 1}, {2, 2}};
    cr_assert_eq(::utimensat(AT_FDCWD, s.dir.path("www/big.iso").c_str(), times, 0), 0);
    cr_assert(manifest_of(*s.realm, ask()).object != before);
}

Test(server_side, publishes_ahead_and_says_why_not) {
    Server s;
    const auto last = [&](const std::string& url) {
        auto promise = std::make_shared<std::promise<Publisher::Progress>>();
        s.side->publisher()->publish(url, s.loops->at(0), [promise](const Publisher::Progress& p) {
            if (p.state != Publisher::Progress::State::hashing) promise->set_value(p);
        });
        auto f = promise->get_future();
        cr_assert(f.wait_for(std::chrono::minutes(1)) == std::future_status::ready);
        return f.get();
    };
    const Publisher::Progress done = last("http://files.test/big.iso");
    cr_assert(done.state == Publisher::Progress::State::complete, "%s", done.why.c_str());
    cr_assert_eq(done.hashed, kBig.size());
    const Member me(*s.realm);
    Connection c = s.connect();
    cr_assert_eq(manifest_of(*s.realm, resolved(c.get("/big.iso", me.field(c)))).object.hex(), done.object);
    cr_assert_eq(last("http://files.test/big.iso").object, done.object);
    for (const char* url : {"http://files.test/small.iso", "http://files.test/absent.iso", "http://files.test/other.txt",
                            "http://elsewhere.test/big.iso", "nonsense"}) {
        const Publisher::Progress p = last(url);
        cr_assert(p.state == Publisher::Progress::State::failed && !p.why.empty(), "%s", url);
    }
}

// ── Memory ──

namespace {

constexpr std::size_t kLeastMemory = std::size_t{16} << 20;
constexpr std::uint64_t kTwice = 2 * kLeastMemory;

void add_large_files(Server& s, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
        const std::string name = "www/large" + std::to_string(i) + ".iso";
        s.dir.write(name, "begins");
        cr_assert_eq(::truncate(s.dir.path(name).c_str(), kTwice), 0);
    }
}

// All at once; whether each became complete.
void publish_all(Server& s, unsigned count) {
    std::vector<std::future<Publisher::Progress>> ends;
    for (unsigned i = 0; i < count; ++i) {
        auto promise = std::make_shared<std::promise<Publisher::Progress>>();
        ends.push_back(promise->get_future());
        s.side->publisher()->publish("http://files.test/large" + std::to_string(i) + ".iso", s.loops->at(i % 2),
                                     [promise](const Publisher::Progress& p) {
                                         if (p.state != Publisher::Progress::State::hashing) promise->set_value(p);
                                     });
    }
    for (auto& end : ends) {
        cr_assert(end.wait_for(std::chrono::minutes(2)) == std::future_status::ready, "an object stopped");
        const Publisher::Progress p = end.get();
        cr_assert(p.state == Publisher::Progress::State::complete, "%s", p.why.c_str());
    }
}

}  // namespace

// The origin is read whatever other objects hold of the memory: at first all at once, then one more after them.
Test(server_side, reads_objects_larger_than_its_memory_many_at_once, .timeout = 240) {
    // With a spool, with one that holds two of them, and without.
    for (const std::uint64_t spool : {std::uint64_t{10} << 30, 2 * kTwice + (std::uint64_t{8} << 20), std::uint64_t{0}}) {
        Server s(kLeastMemory, spool);
        add_large_files(s, 7);
        publish_all(s, 6);
        const Member me(*s.realm);
        Connection c = s.connect();
        cr_assert_eq(manifest_of(*s.realm, resolved(c.get("/large6.iso", me.field(c)))).length, kTwice);
        s.wait_complete();
        cr_assert_eq(s.side->objects().size(), 7U);
        s.restart();
        publish_all(s, 6);
    }
}

Test(server_side, one_members_many_questions_take_the_origin_from_nobody, .timeout = 240) {
    Server s(kLeastMemory, 0);
    add_large_files(s, 2);
    const Member greedy(*s.realm), innocent(*s.realm);
    for (unsigned v = 0; v < 20; ++v) {
        Connection c = s.connect();
        c.ask("/large0.iso?v=" + std::to_string(v), greedy.field(c));
        (void)c.head();
    }
    Connection c = s.connect();
    cr_assert_eq(manifest_of(*s.realm, resolved(c.get("/large1.iso", innocent.field(c)))).length, kTwice);
}

// ── Years ──

namespace {

// The server's clock says so; look makes it look. Until it has another signer.
std::shared_ptr<Realm> signer_of_day(Server& s, std::int64_t day, const std::function<void()>& look) {
    const std::string before = s.signer_file();
    s.days = day;
    look();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    std::shared_ptr<Realm> realm;
    while (!realm) {
        cr_assert(std::chrono::steady_clock::now() < deadline, "no new signer on day %ld", static_cast<long>(day));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        // Key and certificate are two files: read as one pair or not at all, for Realm::open would make a third.
        const auto certificate = Certificate::from_pem(s.signer_file());
        if (!certificate || s.signer_file() == before) continue;
        const auto key = KeyPair::from_pem(read_text_file(s.dir.path("state/signer.key"), 16384).value());
        if (key && key->public_key() == certificate->public_key()) realm = Realm::open(s.config->server->state, s.now()).value();
    }
    return realm;
}

// What a member of that day is told of the URL, all of it good on that day. Asked again while the server still takes it over.
Manifest good_on(Server& s, const Realm& realm, const std::string& path) {
    const Member me(realm, s.now());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    for (;;) {
        Connection c = s.connect();
        const Resolved r = resolved(c.get(path, me.field(c)));
        const WallTime now = s.now();  // read after what the server signed by it: a second may have begun in between
        const Certificate signer = Certificate::from_der(r.signer_der).value();
        if (signer.public_key() != realm.signer().public_key()) {
            cr_assert(std::chrono::steady_clock::now() < deadline, "still the old signer");
            continue;
        }
        cr_assert(realm.trust().check_signer(signer, now).has_value());
        const SignedManifest m = parse_manifest(r.manifest_der, signer.public_key()).value();
        cr_assert(m.body.not_before.unix_seconds <= now.unix_seconds && now.unix_seconds < m.body.not_after.unix_seconds);
        cr_assert(parse_head(r.head_der, signer.public_key()).value().body.object == m.body.object);
        const Ticket t = parse_ticket(r.ticket_der, signer.public_key()).value().body;
        cr_assert(check_ticket(t, me.certificate.member_id(), m.body.object, now).has_value());
        return m.body;
    }
}

}  // namespace

Test(server_side, renews_its_signer_and_what_that_signed_while_it_runs) {
    Server s;
    s.dir.write("www/later.iso", kBig);
    const ObjectId before = good_on(s, *s.realm, "/big.iso").object;
    s.wait_complete();
    for (const std::int64_t day : {91, 366}) {
        const auto realm = signer_of_day(s, day, [&] { cr_assert(s.side->reload(s.config).has_value()); });
        cr_assert(realm->trust().id() == s.realm->trust().id());
        cr_assert(good_on(s, *realm, "/big.iso").object == before, "the same object on day %ld", static_cast<long>(day));
        (void)good_on(s, *realm, "/later.iso");
        s.wait_complete();
    }
    s.restart();
    cr_assert_eq(s.side->objects().size(), 2U);
}

Test(server_side, looks_by_itself_whether_its_signer_must_be_renewed) {
    Server s;
    s.look_at_realm = std::chrono::milliseconds(5);
    s.restart();
    const auto realm = signer_of_day(s, 46, [] {});
    (void)good_on(s, *realm, "/big.iso");
}
