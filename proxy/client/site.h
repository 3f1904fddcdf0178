// One [[site]] at run time: who its server is, this member's credentials in its realm, and the TLS contexts that follow from them.
//
//   not enrolled ──first use──▶ enrolling ──▶ member ──near the certificate's end──▶ enrolling (the old one stays in use)
//
// Thread rules: shared_ptr held anywhere; methods from any thread; callbacks in the loop given.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "protocol/identity.h"
#include "proxy/client/breaker.h"
#include "proxy/client/fresh_answers.h"
#include "proxy/core/config.h"
#include "proxy/core/runtime.h"
#include "proxy/core/tls.h"

namespace mssl::proxy {

// What membership gives; immutable.
struct Membership {
    RealmTrust trust;
    Certificate member;
    Certificate signer;
    std::shared_ptr<const KeyPair> key;
    MemberId id;
    std::shared_ptr<SSL_CTX> server_context;       // client → server, both ALPNs
    std::shared_ptr<SSL_CTX> peer_connect_context;
    std::shared_ptr<SSL_CTX> peer_accept_context;
};

class Site {
public:
    virtual ~Site() = default;
    virtual const SiteConfig& config() const = 0;
    // The membership, enrolling first when there is none (over TLS verified in the usual way; many callers, one enrolment).
    // Errors: unreachable, timed_out, bad_certificate (wrong, not unreachable: 502 always), denied, …
    virtual void membership(Loop& loop, std::function<void(Result<std::shared_ptr<const Membership>>)> done) = 0;
    // The membership when there is one, at once.
    virtual std::shared_ptr<const Membership> current() const = 0;
    // Enrols again before it is due, at most once a minute: the server signs by a signer that came after this membership.
    virtual void renew_membership(Loop& loop) = 0;
    // Addresses of the server (name look-up in workers; tried in order).
    virtual void addresses(Loop& loop, std::function<void(Result<std::vector<Address>>)> done) = 0;
    // For its https where the server is not asked (fallback). Outlives this.
    virtual std::shared_ptr<SSL_CTX> origin_context() const = 0;
    // Name in the server's certificate.
    virtual std::string server_name() const = 0;
    // What requests found out about the server.
    Breaker& breaker() { return breaker_; }
    // What answers without it, for a time.
    FreshAnswers& fresh_answers() { return fresh_answers_; }
    // Keys and certificates live in state/sites/HOST_PORT/, keys 0600.
    static Result<std::shared_ptr<Site>> open(Runtime& runtime, const ClientConfig& client, const SiteConfig& site);

private:
    Breaker breaker_;
    FreshAnswers fresh_answers_;
};

}  // namespace mssl::proxy
