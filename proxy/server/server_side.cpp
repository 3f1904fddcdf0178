#include "proxy/server/server_side.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "proxy/core/log.h"
#include "proxy/core/tls.h"
#include "proxy/server/cold_reads.h"
#include "proxy/server/front.h"
#include "proxy/server/member_session.h"
#include "proxy/server/origin_reader.h"
#include "proxy/server/resolve_ask.h"

namespace mssl::proxy {
namespace {

// How often a draining side looks whether its last connections have ended.
constexpr Duration kDrainLook = std::chrono::milliseconds(50);

// A value that a reload replaces and any thread reads.
template <class T>
class Current {
public:
    std::shared_ptr<T> get() const {
        const std::lock_guard lock(mutex_);
        return value_;
    }
    void set(std::shared_ptr<T> value) {
        const std::lock_guard lock(mutex_);
        std::swap(value_, value);
    }

private:
    mutable std::mutex mutex_;
    std::shared_ptr<T> value_;
};

}  // namespace

struct ServerSide::Impl : std::enable_shared_from_this<Impl> {
    Impl(Runtime& r, Times t) : runtime(r), times(std::move(t)) {}

    // A connection until its ALPN says who shall speak.
    class Port final : public Disposable, private StreamHandler {
    public:
        Port(Impl& impl, Loop& loop) : impl_(impl), loop_(loop) {}
        void begin(Fd fd, SSL_CTX* tls) {
            stream_ = Stream::accept(loop_, std::move(fd), tls, *this);
        }

    private:
        void on_open() override {
            const bool member = speaks_mssl(stream_->ssl());
            if (member) impl_.sessions->begin(loop_, std::move(stream_));
            else if (!impl_.draining) impl_.fronts[loop_.number()]->begin(std::move(stream_));
            end();
        }
        void on_readable() override {}
        void on_writable() override {}
        void on_error(const Error& error) override {
            log::debug("no connection", {{"peer", stream_->peer().to_string()}, {"why", error.to_string()}});
            end();
        }
        void end() {
            std::erase(impl_.ports[loop_.number()], this);
            loop_.release(this);
        }

        Impl& impl_;
        Loop& loop_;
        std::unique_ptr<Stream> stream_;
    };

    Runtime runtime;
    const Times times;
    std::shared_ptr<const Config> config;
    std::shared_ptr<OriginPools> pools;
    std::optional<CurrentRealm> realm;
    std::unique_ptr<Timer> realm_timer;  // loop 0
    std::unique_ptr<Timer> listen_timer;  // loop 0
    std::atomic<bool> renewing{false};
    std::shared_ptr<Store> spool;
    std::shared_ptr<Catalog> catalog;
    std::shared_ptr<Enrolment> enrolment;
    std::shared_ptr<Directory> directory;
    std::shared_ptr<Tickets> tickets;
    std::shared_ptr<ResolveAsks> asks = std::make_shared<ResolveAsks>();
    std::shared_ptr<ColdReads> cold_reads = ColdReads::create(runtime.buffers.limit());
    std::shared_ptr<Current<const Origins>> origins = std::make_shared<Current<const Origins>>();
    std::shared_ptr<Current<const FrontParts>> parts = std::make_shared<Current<const FrontParts>>();
    Current<SSL_CTX> tls;
    std::unique_ptr<MemberSessions> sessions;
    std::vector<std::unique_ptr<Front>> fronts;      // one a loop
    std::vector<std::vector<Port*>> ports;           // one list a loop, adopted by it
    std::vector<std::unique_ptr<Listener>> listeners;
    std::shared_ptr<Publisher> publisher;
    std::atomic<bool> draining{false};

    Status open(std::shared_ptr<const Config> c);
    Status take_over(const ServerConfig& server);
    void look_at_realm();
    void accepted(Loop& loop, Fd fd);
    void stop_listening();
    void look_drained(std::function<void()> done);
};

Status ServerSide::Impl::open(std::shared_ptr<const Config> c) {
    config = std::move(c);
    const ServerConfig& server = *config->server;
    runtime.buffers.share();
    Result<std::shared_ptr<Realm>> opened = Realm::open(server.state, times.wall());
    if (!opened) return opened.error();
    realm.emplace(*std::move(opened));
    spool = Store::open(server.state + "/spool", realm->get()->trust().id(), server.spool_max, runtime.workers, runtime.buffers);
    if (Status s = spool->health(); !s) log::warning("no spool: blocks are read from origins again", {{"why", s.error().to_string()}});
    pools = std::make_shared<OriginPools>(runtime);
    Result<std::shared_ptr<Enrolment>> enrol = Enrolment::open(server, *realm);
    if (!enrol) return enrol.error();
    enrolment = *std::move(enrol);
    directory = std::make_shared<Directory>();
    tickets = std::make_shared<Tickets>(server.ticket_lifetime);

    const auto make_reader = [current = origins, buffers = &runtime.buffers](std::shared_ptr<const SignedManifest> manifest) {
        return make_origin_reader([current] { return current->get(); }, *buffers, std::move(manifest));
    };
    Result<std::shared_ptr<Catalog>> found = Catalog::open(runtime, server.state, *realm, spool, make_reader);
    if (!found) return found.error();
    catalog = *std::move(found);

    if (Status s = take_over(server); !s) return s;
    publisher = std::make_shared<Publisher>(runtime, [current = parts] { return current->get(); });

    Result<std::shared_ptr<DialBack>> dial_back = DialBack::create();
    if (!dial_back) return dial_back.error();
    SessionParts session;
    session.runtime = &runtime;
    session.realm = [r = *realm] { return r.get(); };
    session.wall = times.wall;
    session.objects = catalog;
    session.enrolment = enrolment;
    session.tickets = tickets;
    session.directory = directory;
    session.dial_back = *dial_back;
    sessions = std::make_unique<MemberSessions>(std::move(session));

    realm_timer = std::make_unique<Timer>(runtime.loops.at(0), [this] { look_at_realm(); });
    look_at_realm();

    ports.resize(runtime.loops.size());
    for (unsigned i = 0; i < runtime.loops.size(); ++i)
        fronts.push_back(std::make_unique<Front>(runtime.loops.at(i), [current = parts] { return current->get(); }));
    for (const Address& at : server.listen) {
        Result<std::unique_ptr<Listener>> listener = Listener::open(
            runtime.loops, at, [this](Loop& loop, Fd fd, const Address&) { accepted(loop, std::move(fd)); });
        if (!listener) return listener.error();
        (*listener)->start();
        log::info("listening", {{"address", (*listener)->address().to_string()}, {"realm", realm->get()->trust().id().hex()}});
        listeners.push_back(*std::move(listener));
    }
    return {};
}

// By the wall clock, which may jump; a timer alone would be as good as the machine's sleep. In a worker: keys are made and written.
void ServerSide::Impl::look_at_realm() {
    if (renewing.exchange(true)) return;
    const WallTime now = times.wall();
    catalog->expire_withdrawn(now);
    runtime.workers.submit(
        runtime.loops.at(0),
        [state = config->server->state, current = realm->get(), now] { return current->renewed(state, now); },
        [weak = weak_from_this(), now](Result<std::shared_ptr<const Realm>> next) {
            const auto self = weak.lock();
            if (!self) return;
            self->renewing = false;
            if (self->realm_timer) self->realm_timer->start(self->times.look_at_realm);
            if (!next) {
                const std::int64_t left = self->realm->get()->signer().not_after().unix_seconds - now.unix_seconds;
                log::error("the realm's signer cannot be renewed: when it ends nobody can enrol or download any more",
                           {{"days_left", left / 86400}, {"why", next.error().to_string()}});
            } else if (*next) {
                log::info("new signer", {{"signer", (*next)->signer_id().hex()}});
                self->realm->set(*std::move(next));
            }
        });
}

// Checks all that can fail before anything is replaced.
Status ServerSide::Impl::take_over(const ServerConfig& server) {
    Result<SslCtxPtr> context = make_server_context(server.certificate, server.private_key);
    if (!context) return context.error();
    Result<std::shared_ptr<const Origins>> next = Origins::open(runtime, *pools, server.origins);
    if (!next) return next.error();
    if (Status s = enrolment->reload(server); !s) return s;

    auto snapshot = std::make_shared<FrontParts>();
    snapshot->runtime = &runtime;
    snapshot->origins = *next;
    snapshot->catalog = catalog;
    snapshot->realm = realm->get();
    snapshot->wall = times.wall;
    snapshot->tickets = tickets;
    snapshot->asks = asks;
    snapshot->cold_reads = cold_reads;
    snapshot->spool = spool;
    snapshot->spool_max = server.spool_max;
    tickets->set_lifetime(server.ticket_lifetime);
    directory->set_identities_cost(server.enrol != "open");
    origins->set(*next);
    parts->set(std::move(snapshot));
    tls.set(std::shared_ptr<SSL_CTX>(std::move(*context)));
    return {};
}

void ServerSide::Impl::accepted(Loop& loop, Fd fd) {
    auto port = std::make_unique<Port>(*this, loop);
    Port* raw = port.get();
    ports[loop.number()].push_back(raw);
    loop.adopt(std::move(port));
    raw->begin(std::move(fd), tls.get().get());
}

// A member that has just been told of an object connects to open it.
void ServerSide::Impl::stop_listening() {
    Loop& loop = runtime.loops.at(0);
    if (tickets->awaits_open(loop.now())) {
        if (!listen_timer) listen_timer = std::make_unique<Timer>(loop, [this] { stop_listening(); });
        return listen_timer->start(kDrainLook);
    }
    for (auto& listener : listeners) listener->stop();
}

// Fronts belong to their loops: each counts its own, the last to answer decides.
void ServerSide::Impl::look_drained(std::function<void()> done) {
    auto left = std::make_shared<std::atomic<unsigned>>(runtime.loops.size());
    auto open = std::make_shared<std::atomic<std::size_t>>(0);
    for (unsigned i = 0; i < runtime.loops.size(); ++i) {
        Loop& loop = runtime.loops.at(i);
        loop.post([self = shared_from_this(), i, left, open, done, &loop] {
            *open += self->fronts[i]->open();
            if (--*left != 0) return;
            if (*open == 0 && self->sessions->open() == 0 && !self->tickets->awaits_open(loop.now())) return done();
            auto timer = std::make_shared<std::unique_ptr<Timer>>();
            *timer = std::make_unique<Timer>(loop, [self, done, timer] {
                const auto hold = timer;
                self->look_drained(done);
                hold->reset();
            });
            (*timer)->start(kDrainLook);
        });
    }
}

// ── The half ──

ServerSide::ServerSide() = default;

Result<std::unique_ptr<ServerSide>> ServerSide::start(Runtime& runtime, std::shared_ptr<const Config> config, Times times) {
    std::unique_ptr<ServerSide> side(new ServerSide);
    side->impl_ = std::make_shared<Impl>(runtime, std::move(times));
    if (Status s = side->impl_->open(std::move(config)); !s) return s.error();
    return side;
}

ServerSide::~ServerSide() {
    Impl& s = *impl_;
    s.realm_timer.reset();
    s.listen_timer.reset();
    s.listeners.clear();
    for (unsigned i = 0; i < s.ports.size(); ++i) {
        for (Impl::Port* port : s.ports[i]) s.runtime.loops.at(i).release(port);
        s.ports[i].clear();
    }
    s.fronts.clear();
    s.sessions.reset();
    s.pools.reset();
}

Status ServerSide::reload(std::shared_ptr<const Config> config) {
    if (Status s = impl_->take_over(*config->server); !s) return s;
    impl_->config = std::move(config);
    impl_->look_at_realm();
    return {};
}

void ServerSide::drain(std::function<void()> done) {
    Impl& s = *impl_;
    s.draining = true;
    s.stop_listening();
    s.sessions->drain();
    for (unsigned i = 0; i < s.runtime.loops.size(); ++i)
        s.runtime.loops.at(i).post([self = impl_, i] { self->fronts[i]->drain(); });
    s.look_drained(std::move(done));
}

std::vector<HostedStatus> ServerSide::objects() const {
    static constexpr std::string_view names[] = {"opening", "hashing", "complete", "withdrawn"};
    std::vector<HostedStatus> out;
    for (const std::shared_ptr<HostedObject>& object : impl_->catalog->list()) {
        const Manifest& m = object->manifest()->body;
        out.push_back({object->id().hex(), log::redact(m.url), std::string(names[static_cast<std::size_t>(object->state())]), m.length,
                       object->hashed_bytes()});
    }
    return out;
}

std::vector<Address> ServerSide::addresses() const {
    std::vector<Address> out;
    for (const auto& listener : impl_->listeners) out.push_back(listener->address());
    return out;
}

std::shared_ptr<Publisher> ServerSide::publisher() const { return impl_->publisher; }

}  // namespace mssl::proxy
