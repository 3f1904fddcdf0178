#include "proxy/client/tls_gate.h"

#include "proxy/client/client_hello.h"
#include "proxy/client/leaf_cache.h"
#include "proxy/core/log.h"
#include "proxy/core/tls.h"

namespace mssl::proxy {

bool TlsGate::may_be_intercepted(const Destination& to) const {
    if (!sites_->leaves()) return false;
    if (to.address) return to.authority.port == default_port(Scheme::https);
    const std::shared_ptr<Site> site = sites_->find(UrlRoot{Scheme::https, to.authority});
    return site && site->config().intercept_tls;
}

TlsGate::Judgement TlsGate::judge(View first, bool no_more, std::uint16_t port, WallTime now) const {
    using Kind = Judgement::Kind;
    const Result<ClientHello> hello = read_client_hello(first);
    if (!hello) {
        if (hello.code() == Errc::truncated && !no_more) return {};
        const bool tls = hello.code() == Errc::truncated ? !first.empty() : is_tls(first);
        return {tls ? Kind::pass : Kind::plain, {}, {}, {}};
    }
    const Judgement pass{Kind::pass, {}, {}, {}};
    // Members and servers of ours ("mssl/1"), gRPC ("h2" alone), mail: we speak none of it.
    if (no_more || hello->server_name.empty() || (hello->has_alpn && !hello->offers(kAlpnHttp))) return pass;
    std::shared_ptr<Site> site = sites_->find(UrlRoot{Scheme::https, {hello->server_name, port}});
    const std::shared_ptr<LeafCache> leaves = sites_->leaves();
    if (!site || !site->config().intercept_tls || !leaves) return pass;
    Result<std::shared_ptr<SSL_CTX>> context = leaves->context_for(hello->server_name, now);
    leaves->warn_of_its_end(now);
    if (!context) {
        if (context.code() != Errc::expired) log::warning("not intercepted", {{"host", hello->server_name}, {"why", context.error().to_string()}});
        return pass;
    }
    return {Kind::terminate, std::move(site), hello->server_name, std::move(*context)};
}

}  // namespace mssl::proxy
