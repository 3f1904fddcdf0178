// Which connections of applications are TLS for a site that is intercepted here, by their first bytes; all others go on untouched.
//
// Thread rules: any thread.
#pragma once

#include "proxy/client/intercept.h"
#include "proxy/client/site_table.h"

namespace mssl::proxy {

class TlsGate {
public:
    explicit TlsGate(std::shared_ptr<const SiteTable> sites) : sites_(std::move(sites)) {}

    // Whether what goes to there may be one, so that its first bytes are worth a look: a site of that name, or an address, whose name
    // the ClientHello will tell.
    bool may_be_intercepted(const Destination& to) const;

    struct Judgement {
        enum class Kind : std::uint8_t {
            undecided,  // more bytes must come
            plain,      // no TLS
            pass,       // TLS, but not for a site that is intercepted, or for a protocol that is not HTTP/1.1: not ours to look into
            terminate,  // for site, with context
        };
        Kind kind = Kind::undecided;
        std::shared_ptr<Site> site;
        std::string host;
        std::shared_ptr<SSL_CTX> context;
    };
    // first: all that came so far; no_more: nothing will be added to it. port: where the connection was going.
    Judgement judge(View first, bool no_more, std::uint16_t port, WallTime now) const;

private:
    std::shared_ptr<const SiteTable> sites_;
};

}  // namespace mssl::proxy
