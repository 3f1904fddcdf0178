#include "proxy/client/site.h"

#include <openssl/crypto.h>

#include <mutex>

#include "proxy/client/enroller.h"
#include "proxy/core/files.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

constexpr std::size_t kMaxStateFile = 16 * 1024;
// Renewed in the last third of its life; days long, so there is time for a server that is away.
constexpr std::int64_t kRenewBeforePart = 3;
// After a failed enrolment the next try waits, so that a dead server is not asked by every request.
constexpr Duration kRetryAfter = std::chrono::seconds(2);
constexpr Duration kRenewEvery = std::chrono::minutes(1);

struct Identity {
    std::shared_ptr<const KeyPair> key;
    EnrolledIdentity certificates;
};

Result<std::shared_ptr<const Membership>> make_membership(const std::string& ca, Identity identity) {
    auto out = std::make_shared<Membership>(Membership{identity.certificates.trust, identity.certificates.member,
                                                       identity.certificates.signer, identity.key, MemberId{}, {}, {}, {}});
    out->id = out->member.member_id();
    const MemberCredentials credentials{out->member, out->signer, out->key.get()};
    Result<SslCtxPtr> server = make_client_context(ca, &credentials);
    if (!server) return server.error();
    Result<SslCtxPtr> connect = make_peer_context(credentials, false);
    if (!connect) return connect.error();
    Result<SslCtxPtr> accept = make_peer_context(credentials, true);
    if (!accept) return accept.error();
    out->server_context = std::shared_ptr<SSL_CTX>(std::move(server).value());
    out->peer_connect_context = std::shared_ptr<SSL_CTX>(std::move(connect).value());
    out->peer_accept_context = std::shared_ptr<SSL_CTX>(std::move(accept).value());
    return std::shared_ptr<const Membership>(std::move(out));
}

Result<Certificate> read_certificate(const std::string& path) {
    Result<std::string> pem = read_text_file(path, kMaxStateFile);
    if (!pem) return pem.error();
    return Certificate::from_pem(*pem);
}

class SiteImpl final : public Site, public std::enable_shared_from_this<SiteImpl> {
public:
    SiteImpl(Runtime& runtime, const ClientConfig& client, const SiteConfig& config)
        : runtime_(runtime),
          config_(config),
          directory_(client.state + "/sites/" + config.host + "_" + std::to_string(config.port)) {}

    const SiteConfig& config() const override { return config_; }
    std::string server_name() const override { return config_.server_name.empty() ? config_.host : config_.server_name; }

    std::shared_ptr<SSL_CTX> origin_context() const override { return origin_context_; }

    // Blocking: at start.
    Status load() {
        if (Status s = make_directories(directory_, 0700); !s) return s;
        Result<SslCtxPtr> plain = make_client_context(config_.ca, nullptr);
        if (!plain) return plain.error();
        plain_context_ = std::shared_ptr<SSL_CTX>(std::move(plain).value());
        Result<SslCtxPtr> origin = make_origin_context(config_.ca);
        if (!origin) return origin.error();
        origin_context_ = std::shared_ptr<SSL_CTX>(std::move(origin).value());
        if (Status s = load_key(); !s) return s;
        Result<Certificate> realm = read_certificate(directory_ + "/realm.pem");
        Result<Certificate> signer = read_certificate(directory_ + "/signer.pem");
        Result<Certificate> member = read_certificate(directory_ + "/member.pem");
        if (!realm || !signer || !member) return {};
        Identity identity{key_, {RealmTrust{*realm}, *signer, *member}};
        const WallTime now = wall_now();
        if (!identity.certificates.trust.check_signer(*signer, now) ||
            !identity.certificates.trust.check_member(*member, *signer, now) || member->public_key() != key_->public_key())
            return {};
        Result<std::shared_ptr<const Membership>> m = make_membership(config_.ca, std::move(identity));
        if (!m) return m.error();
        current_ = *m;
        return {};
    }

    std::shared_ptr<const Membership> current() const override {
        const std::lock_guard lock(mutex_);
        return current_;
    }

    void membership(Loop& loop, std::function<void(Result<std::shared_ptr<const Membership>>)> done) override {
        std::shared_ptr<const Membership> usable;
        std::optional<Error> recent_failure;
        bool begin = false;
        {
            const std::lock_guard lock(mutex_);
            const WallTime now = wall_now();
            if (current_ && now < current_->member.not_after() && now < current_->signer.not_after()) usable = current_;
            const bool due = !usable || renewal_due(*usable, now);
            if (due && !enrolling_) {
                if (failure_ && mono_now() < failure_until_)
                    recent_failure = failure_;
                else
                    begin = enrolling_ = true;
            }
            if (!usable && !recent_failure) waiting_.push_back({&loop, done});
        }
        if (usable)
            loop.post([done = std::move(done), usable] { done(usable); });
        else if (recent_failure)
            loop.post([done = std::move(done), e = *recent_failure] { done(e); });
        if (begin) enrol(loop);
    }

    void renew_membership(Loop& loop) override {
        {
            const std::lock_guard lock(mutex_);
            if (enrolling_ || mono_now() < renew_after_) return;
            renew_after_ = mono_now() + kRenewEvery;
            enrolling_ = true;
        }
        enrol(loop);
    }

    void addresses(Loop& loop, std::function<void(Result<std::vector<Address>>)> done) override {
        const std::size_t colon = config_.server.rfind(':');
        std::string host = config_.server.substr(0, colon);
        if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
        // The configuration checked the port.
        const auto port = static_cast<std::uint16_t>(std::stoul(config_.server.substr(colon + 1)));
        resolve_name(runtime_.names, loop, host, port, std::move(done));
    }

private:
    struct Waiter {
        Loop* loop;
        std::function<void(Result<std::shared_ptr<const Membership>>)> done;
    };

    static bool renewal_due(const Membership& m, WallTime now) {
        const std::int64_t end = std::min(m.member.not_after().unix_seconds, m.signer.not_after().unix_seconds);
        const std::int64_t life = end - m.member.not_before().unix_seconds;
        return now.unix_seconds > end - life / kRenewBeforePart;
    }

    Status load_key() {
        const std::string path = directory_ + "/member.key";
        Result<std::string> pem = read_text_file(path, kMaxStateFile);
        if (pem) {
            Result<KeyPair> key = KeyPair::from_pem(*pem);
            OPENSSL_cleanse(pem->data(), pem->size());
            if (!key) return key.error();
            key_ = std::make_shared<KeyPair>(std::move(key).value());
            return {};
        }
        if (pem.code() != Errc::no_such_object) return pem.error();
        Result<KeyPair> key = KeyPair::generate();
        if (!key) return key.error();
        Result<std::string> fresh = key->to_pem();
        if (!fresh) return fresh.error();
        Status written = write_file_durably(path, as_view(*fresh), 0600);
        OPENSSL_cleanse(fresh->data(), fresh->size());
        if (!written) return written;
        key_ = std::make_shared<KeyPair>(std::move(key).value());
        return {};
    }

    Result<std::string> token() const {
        if (config_.enrol_token_file.empty()) return std::string{};
        Result<std::string> text = read_text_file(config_.enrol_token_file, kMaxTokenBytes + 2);
        if (!text) return text;
        while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
        return text;
    }

    void enrol(Loop& loop) {
        addresses(loop, [self = shared_from_this(), &loop](Result<std::vector<Address>> to) {
            if (!to) return self->enrolled(loop, to.error());
            Result<std::string> token = self->token();
            if (!token) return self->enrolled(loop, token.error());
            const TlsClient tls{self->plain_context_.get(), self->server_name(), std::string(kAlpnMember)};
            Enroller::start(loop, std::move(*to), tls, self->plain_context_, self->key_, std::move(token).value(),
                            [self, &loop](Result<EnrolledIdentity> r) { self->enrolled(loop, std::move(r)); });
        });
    }

    void enrolled(Loop& loop, Result<EnrolledIdentity> result) {
        if (!result) return finish(result.error());
        runtime_.workers.submit(
            loop,
            [self = shared_from_this(), identity = std::move(result).value()]() mutable
            -> Result<std::shared_ptr<const Membership>> {
                Result<std::shared_ptr<const Membership>> m =
                    make_membership(self->config_.ca, Identity{self->key_, identity});
                if (!m) return m;
                const std::pair<const char*, const Certificate*> files[] = {{"/realm.pem", &identity.trust.realm},
                                                                            {"/signer.pem", &identity.signer},
                                                                            {"/member.pem", &identity.member}};
                for (const auto& [name, certificate] : files)
                    if (Status s = write_file_durably(self->directory_ + name, as_view(certificate->to_pem()), 0644); !s)
                        log::warning("membership not stored", {{"site", self->config_.host}, {"error", s.error().to_string()}});
                return m;
            },
            [self = shared_from_this()](Result<std::shared_ptr<const Membership>> m) { self->finish(std::move(m)); });
    }

    void finish(Result<std::shared_ptr<const Membership>> result) {
        std::vector<Waiter> waiting;
        {
            const std::lock_guard lock(mutex_);
            enrolling_ = false;
            waiting.swap(waiting_);
            if (result) {
                if (current_ && current_->trust.id() != (*result)->trust.id())
                    log::warning("the realm's key changed, over verified TLS",
                                 {{"site", config_.host}, {"realm", (*result)->trust.id().hex()}});
                current_ = *result;
                failure_.reset();
            } else {
                failure_ = result.error();
                failure_until_ = mono_now() + kRetryAfter;
            }
        }
        if (result)
            log::info("enrolled", {{"site", config_.host}, {"member", (*result)->id.hex()}});
        else
            log::warning("enrolment failed", {{"site", config_.host}, {"error", result.error().to_string()}});
        for (Waiter& w : waiting) w.loop->post([done = std::move(w.done), result] { done(result); });
    }

    Runtime& runtime_;
    const SiteConfig config_;
    const std::string directory_;
    std::shared_ptr<SSL_CTX> plain_context_, origin_context_;
    std::shared_ptr<const KeyPair> key_;

    mutable std::mutex mutex_;
    std::shared_ptr<const Membership> current_;
    bool enrolling_ = false;
    std::vector<Waiter> waiting_;
    std::optional<Error> failure_;
    MonoTime failure_until_{}, renew_after_{};
};

}  // namespace

Result<std::shared_ptr<Site>> Site::open(Runtime& runtime, const ClientConfig& client, const SiteConfig& site) {
    auto out = std::make_shared<SiteImpl>(runtime, client, site);
    if (Status s = out->load(); !s) return s.error();
    return std::shared_ptr<Site>(std::move(out));
}

}  // namespace mssl::proxy
