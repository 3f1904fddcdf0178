// Tickets at the server (DESIGN 5): who may fetch what, from whom it likes. A grant is a random 128-bit number; nothing is remembered
// of it while the exchange is plain: a ticket is renewed by showing the one before.
//
// Thread rules: any thread.
#pragma once

#include <atomic>
#include <memory>

#include "protocol/objects.h"
#include "proxy/core/loop.h"
#include "proxy/server/realm.h"

namespace mssl::proxy {

class Tickets {
public:
    // Who gets a ticket opens the object within open_time: a handshake, if it had no connection yet.
    explicit Tickets(Duration lifetime, Duration open_time = std::chrono::seconds(2))
        : lifetime_(lifetime.count()), open_time_(open_time) {}

    // Under a new grant; realm = the object's (HostedObject::realm). Errors: crypto.
    Result<SignedTicket> issue(const Realm& realm, const MemberId& member, const Manifest& manifest, WallTime now) const;
    // The same grant, exchange and price for another lifetime. The caller has checked old. Errors as of issue.
    Result<SignedTicket> renew(const Realm& realm, const Ticket& old, WallTime now) const;
    // A ticket went out whose holder may still be on its way to open.
    bool awaits_open(MonoTime now) const { return now.since_start < Duration(awaited_until_.load(std::memory_order_relaxed)); }
    void set_lifetime(Duration lifetime) { lifetime_.store(lifetime.count(), std::memory_order_relaxed); }

    // What a member shows in OPEN: signer issued by this realm, signature, holder, object, times.
    // Errors: too_large, malformed, wrong_realm, bad_signature, wrong_holder, wrong_object, expired.
    Result<Ticket> check(const Realm& realm, View ticket_der, View signer_der, const MemberId& holder, const ObjectId& object,
                         WallTime now) const;

private:
    Result<SignedTicket> sign(const Realm& realm, Ticket ticket, WallTime now) const;
    std::atomic<Duration::rep> lifetime_;
    const Duration open_time_;
    mutable std::atomic<Duration::rep> awaited_until_{0};  // since_start of MonoTime
};

}  // namespace mssl::proxy
