#include "proxy/server/tickets.h"

#include <openssl/rand.h>

#include <algorithm>
#include <chrono>

namespace mssl::proxy {

Result<SignedTicket> Tickets::sign(const Realm& realm, Ticket ticket, WallTime now) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Duration(lifetime_.load(std::memory_order_relaxed)));
    ticket.not_before = now;
    ticket.not_after = {now.unix_seconds + std::max<std::int64_t>(1, seconds.count())};
    return sign_ticket(ticket, realm.signer_key());
}

Result<SignedTicket> Tickets::issue(const Realm& realm, const MemberId& member, const Manifest& manifest, WallTime now) const {
    Ticket ticket;
    if (RAND_bytes(ticket.grant.bytes.data(), static_cast<int>(ticket.grant.bytes.size())) != 1)
        return openssl_error(Errc::crypto, "a grant's number");
    ticket.member = member;
    ticket.object = manifest.object;
    ticket.exchange = manifest.exchange;
    ticket.price = manifest.price;
    awaited_until_.store((mono_now().since_start + open_time_).count(), std::memory_order_relaxed);
    return sign(realm, ticket, now);
}

Result<SignedTicket> Tickets::renew(const Realm& realm, const Ticket& old, WallTime now) const { return sign(realm, old, now); }

Result<Ticket> Tickets::check(const Realm& realm, View ticket_der, View signer_der, const MemberId& holder,
                              const ObjectId& object, WallTime now) const {
    Result<Certificate> signer = Certificate::from_der(signer_der);
    if (!signer) return fail(Errc::malformed, "signer: " + signer.error().detail);
    if (Status s = realm.trust().check_signer(*signer, now); !s)
        return fail(s.code() == Errc::expired ? Errc::expired : Errc::wrong_realm, "signer: " + s.error().detail);
    Result<SignedTicket> ticket = parse_ticket(ticket_der, signer->public_key());
    if (!ticket) return ticket.error();
    if (Status s = check_ticket(ticket->body, holder, object, now); !s) return s.error();
    return ticket->body;
}

}  // namespace mssl::proxy
