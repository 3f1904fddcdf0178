#include "proxy/client/resolver.h"

#include "protocol/resolve.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

// Where a fallback waits too. Two lost SYNs cost 3 s (RFC 6298 section 2.1 and 5.5). A server that is there, and slow with its
// handshakes, has more time: who turns away from a crowd's server makes the crowd the origin's.
constexpr Duration kConnectTime = std::chrono::seconds(4);

// What an application may not say for us.
void strip_own_fields(Fields& fields) {
    std::vector<std::string> names;
    for (const HeaderField& f : fields.items())
        if (f.name.size() > 5 && iequals(std::string_view(f.name).substr(0, 5), "MSSL-")) names.push_back(f.name);
    for (const std::string& name : names) fields.remove(name);
}

// Nobody was there, rather than somebody who said no.
bool is_no_answer(Errc code) {
    return code == Errc::timed_out || code == Errc::unreachable || code == Errc::reset || code == Errc::closed;
}

}  // namespace

Result<Resolution> check_resolved(View body, const Membership& self, const std::string& url, WallTime now) {
    Result<Resolved> resolved = decode_resolved(body);
    if (!resolved) return resolved.error();
    Result<Certificate> signer = Certificate::from_der(resolved->signer_der);
    if (!signer) return signer.error();
    if (Status s = self.trust.check_signer(*signer, now); !s) return s.error();
    Result<SignedManifest> manifest = parse_manifest(resolved->manifest_der, signer->public_key());
    if (!manifest) return manifest.error();
    Result<SignedTicket> ticket = parse_ticket(resolved->ticket_der, signer->public_key());
    if (!ticket) return ticket.error();
    Result<SignedHead> head = parse_head(resolved->head_der, signer->public_key());
    if (!head) return head.error();

    const Manifest& m = manifest->body;
    if (m.url != url) return fail(Errc::wrong_object, "the manifest is for another URL");
    if (before(m.not_before, now) || past(m.not_after, now)) return fail(Errc::expired, "the manifest");
    if (Status s = check_ticket(ticket->body, self.id, m.object, now); !s) return s.error();
    if (head->body.object != m.object || head->body.length != m.length || head->body.block_bytes != m.block_bytes)
        return fail(Errc::wrong_object, "the head is of another object");
    if (ticket->body.exchange != Exchange::plain) return fail(Errc::unsupported, "an exchange other than plain");

    Resolution out{self.trust.id(), std::make_shared<SignedManifest>(std::move(*manifest)), std::make_shared<SignedTicket>(std::move(*ticket)),
                   std::make_shared<SignedHead>(std::move(*head)), std::move(*signer), std::move(resolved->fields), std::nullopt};
    return out;
}

struct Resolver::Impl final : HttpClientHandler, std::enable_shared_from_this<Resolver::Impl> {
    enum class State : std::uint8_t { preparing, asking, collecting, relaying, over };

    HttpPool* pool = nullptr;
    std::shared_ptr<Site> site;
    std::shared_ptr<const Membership> self;
    RequestHead head;
    std::string url;
    ResolverHandler* handler = nullptr;
    std::unique_ptr<HttpClient> client;
    State state = State::preparing;
    Bytes early_body;  // content that came before the connection
    bool early_end = false;
    bool paused = false;
    Bytes collected;
    MonoTime begun;

    ~Impl() override {
        if (client) pool->loop().dispose(std::move(client));
    }

    void failed(const Error& why) {
        if (state == State::over) return;
        if (state < State::collecting && is_no_answer(why.code)) site->breaker().failed(begun, pool->loop().now());
        state = State::over;
        handler->on_error(why);
    }

    void prepare() {
        begun = pool->loop().now();
        // Without a fallback there is nothing better to do than to wait.
        if (site->config().fallback_origin && !site->breaker().admit(begun)) {
            pool->loop().post([weak = weak_from_this()] {
                if (const auto impl = weak.lock()) impl->refused();
            });
            return;
        }
        site->membership(pool->loop(), [weak = weak_from_this()](Result<std::shared_ptr<const Membership>> m) {
            const auto impl = weak.lock();
            if (!impl || impl->state == State::over) return;
            if (!m) return impl->failed(m.error());
            impl->self = *m;
            impl->site->addresses(impl->pool->loop(), [weak](Result<std::vector<Address>> to) {
                const auto i = weak.lock();
                if (!i || i->state == State::over) return;
                if (!to) return i->failed(to.error());
                i->ask(std::move(*to));
            });
        });
    }

    void refused() {
        if (state == State::over) return;
        state = State::over;
        handler->on_error(fail(Errc::unreachable, "it did not answer a moment ago"));
    }

    void ask(std::vector<Address> to) {
        state = State::asking;
        HttpEndpoint endpoint;
        endpoint.addresses = std::move(to);
        endpoint.host = site->server_name();
        endpoint.tls = self->server_context.get();
        endpoint.tls_name = site->server_name();
        HttpTimeouts timeouts;
        if (site->config().fallback_origin) timeouts.connect = kConnectTime;
        client = HttpClient::start(*pool, endpoint, head, *this, timeouts);
        if (paused) client->pause_reading(true);
        bool room = true;
        if (!early_body.empty()) room = client->write_body(early_body);
        early_body = {};
        if (early_end)
            client->end_body();
        else if (room && head.body != BodyKind::none)
            handler->on_writable();
    }

    void on_connection(Stream& stream, bool reused, RequestHead& h) override {
        handler->on_connection(stream, reused, h);
        h.fields.remove(kResolveField);
        if (reused) {
            h.fields.add(std::string(kResolveField), short_resolve_field());
            return;
        }
        site->breaker().succeeded(pool->loop().now());  // slow its origin may be, but it is there
        Result<Hash> exporter = stream.exporter(kResolveExporter);
        // Without it the server takes the request for a browser's and relays: slower, never wrong.
        if (!exporter) return;
        Result<std::string> field = make_resolve_field(*self->key, self->member, self->signer, exporter->view());
        if (field) h.fields.add(std::string(kResolveField), std::move(*field));
    }

    void on_response_head(ResponseHead response) override {
        site->breaker().succeeded(pool->loop().now());
        const std::string* type = response.fields.find("Content-Type");
        if (response.status == 200 && type != nullptr && *type == kResolvedType) {
            state = State::collecting;
            return;
        }
        if (response.status >= 200 || response.status == 101) state = State::relaying;
        handler->on_response_head(std::move(response));
    }

    void on_body(View piece) override {
        if (state != State::collecting) return handler->on_body(piece);
        if (collected.size() + piece.size() > kMaxResolvedBytes) return failed(fail(Errc::too_large, "resolved answer"));
        collected.insert(collected.end(), piece.begin(), piece.end());
    }

    void on_complete() override {
        if (state != State::collecting) {
            if (state == State::over) return;
            state = State::over;
            return handler->on_complete();
        }
        Result<Resolution> resolution = check_resolved(collected, *self, url, wall_now());
        if (!resolution) {
            log::error("the server's answer does not check",
                       {{"site", site->config().host}, {"error", resolution.error().to_string()}});
            return failed(resolution.error());
        }
        state = State::over;
        handler->on_resolved(std::move(*resolution));
    }

    void on_error(const Error& error) override { failed(error); }
    void on_writable() override { handler->on_writable(); }
    void on_upgraded() override { handler->on_upgraded(); }
};

Resolver::Resolver() = default;

std::unique_ptr<Resolver> Resolver::start(HttpPool& pool, std::shared_ptr<Site> site, const UrlRoot& asked, RequestHead head,
                                          ResolverHandler& handler) {
    std::unique_ptr<Resolver> out(new Resolver);
    out->impl_ = std::make_shared<Impl>();
    Impl& i = *out->impl_;
    i.pool = &pool;
    i.site = std::move(site);
    i.url = asked.url_of(head.target);
    i.head = std::move(head);
    // In origin-form a member's request is one by http (mssl-protocol(7)).
    if (asked.scheme == Scheme::https && i.head.target.starts_with('/')) i.head.target = asked.short_url_of(i.head.target);
    strip_own_fields(i.head.fields);
    i.handler = &handler;
    i.prepare();
    return out;
}

Resolver::~Resolver() {
    if (!impl_) return;
    impl_->state = Impl::State::over;
    impl_->client.reset();  // now: nothing of it may call into Impl, or outlive the pool
}

bool Resolver::write_body(View piece) {
    if (impl_->client) return impl_->client->write_body(piece);
    impl_->early_body.insert(impl_->early_body.end(), piece.begin(), piece.end());
    return false;
}

void Resolver::end_body() {
    if (impl_->client)
        impl_->client->end_body();
    else
        impl_->early_end = true;
}

void Resolver::pause_reading(bool paused) {
    impl_->paused = paused;
    if (impl_->client) impl_->client->pause_reading(paused);
}

}  // namespace mssl::proxy
