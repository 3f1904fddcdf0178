// A member of a realm, and a site where it is enrolled.
#pragma once

#include "proxy/client/site.h"
#include "proxy/server/realm.h"

namespace mssl::proxy::test {

struct Identity {
    explicit Identity(const Realm& realm)
        : certificate(realm.enrol(key->public_key(), wall_now(), 7).value()), signer(realm.signer()) {}
    std::shared_ptr<const KeyPair> key = std::make_shared<const KeyPair>(KeyPair::generate().value());
    Certificate certificate, signer;
    MemberId id() const { return member_id_of(key->public_key()); }
    MemberCredentials credentials() const { return {certificate, signer, key.get()}; }
};

class EnrolledSite final : public Site {
public:
    explicit EnrolledSite(std::shared_ptr<const Membership> m, SiteConfig config = {}) : config_(std::move(config)), membership_(std::move(m)) {}
    const SiteConfig& config() const override { return config_; }
    void membership(Loop&, std::function<void(Result<std::shared_ptr<const Membership>>)>) override {}
    std::shared_ptr<const Membership> current() const override { return membership_; }
    void renew_membership(Loop&) override {}
    void addresses(Loop&, std::function<void(Result<std::vector<Address>>)>) override {}
    std::shared_ptr<SSL_CTX> origin_context() const override { return {}; }
    std::string server_name() const override { return "localhost"; }

private:
    const SiteConfig config_;
    std::shared_ptr<const Membership> membership_;
};

inline std::shared_ptr<const Membership> membership_of(const Realm& realm, const Identity& who) {
    const MemberCredentials shown = who.credentials();
    return std::make_shared<const Membership>(Membership{realm.trust(), who.certificate, who.signer, who.key, who.id(), nullptr,
                                                         std::shared_ptr<SSL_CTX>(make_peer_context(shown, false).value()),
                                                         std::shared_ptr<SSL_CTX>(make_peer_context(shown, true).value())});
}

}  // namespace mssl::proxy::test
