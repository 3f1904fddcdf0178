// One connection back to where a member says that peers reach it (DESIGN 6): TCP, then the TLS handshake, in which the far end must
// show that very member's certificate and, by it, its key. The server has no membership of its own, so the far end refuses it after
// that: by then it has said who it is.
#pragma once

#include <functional>
#include <memory>

#include "protocol/identity.h"
#include "protocol/openssl.h"
#include "proxy/core/loop.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

class DialBack {
public:
    // Connect and handshake each. Longer than any round trip that would make a useful peer.
    static constexpr Duration kTimeout = std::chrono::seconds(3);

    static Result<std::shared_ptr<DialBack>> create();
    // done runs in loop, once: Ok, or why not (unreachable, timed_out, not_member, wrong_holder, bad_certificate, expired). From the
    // loop's thread.
    void dial(Loop& loop, const Address& at, const MemberId& member, const RealmTrust& trust,
              std::function<void(Status)> done) const;

private:
    struct Private {};

public:
    DialBack(Private, SslCtxPtr context) : context_(std::move(context)) {}

private:
    SslCtxPtr context_;
};

}  // namespace mssl::proxy
