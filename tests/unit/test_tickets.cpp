#include <criterion/criterion.h>

#include "proxy/server/tickets.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

const MemberId kAlice = member_number(2), kBob = member_number(3);

struct Office {
    ScratchDirectory here, elsewhere;
    WallTime now = wall_now();
    std::shared_ptr<Realm> realm = Realm::open(here.path, now).value();
    std::shared_ptr<Realm> other = Realm::open(elsewhere.path, now).value();
    Tickets tickets{std::chrono::minutes(10)};
    Manifest manifest;
    Office() {
        manifest.object.bytes.fill(0x5a);
        manifest.exchange = Exchange::plain;
    }
    Errc check(View ticket, View signer, const MemberId& holder, const ObjectId& object, std::int64_t later = 0) {
        return tickets.check(*realm, ticket, signer, holder, object, {now.unix_seconds + later}).code();
    }
};

}  // namespace

Test(tickets, are_good_for_their_holder_and_object_until_they_end) {
    Office o;
    const SignedTicket t = o.tickets.issue(*o.realm, kAlice, o.manifest, o.now).value();
    const Bytes signer = o.realm->signer().to_der();
    ObjectId another = o.manifest.object;
    another.bytes[31] ^= 1;
    cr_assert_eq(o.check(t.der, signer, kAlice, o.manifest.object), Errc::ok);
    cr_assert_eq(o.check(t.der, signer, kBob, o.manifest.object), Errc::wrong_holder);
    cr_assert_eq(o.check(t.der, signer, kAlice, another), Errc::wrong_object);
    cr_assert_eq(o.check(t.der, signer, kAlice, o.manifest.object, 600 + kClockToleranceSeconds), Errc::ok);
    cr_assert_eq(o.check(t.der, signer, kAlice, o.manifest.object, 601 + kClockToleranceSeconds), Errc::expired);
    cr_assert_eq(o.check(t.der, signer, kAlice, o.manifest.object, -1 - kClockToleranceSeconds), Errc::expired);
}

Test(tickets, with_any_bit_flipped_are_refused) {
    Office o;
    const SignedTicket t = o.tickets.issue(*o.realm, kAlice, o.manifest, o.now).value();
    const Bytes signer = o.realm->signer().to_der();
    for (std::size_t i = 0; i < t.der.size() * 8; ++i) {
        Bytes der = t.der;
        der[i / 8] ^= static_cast<std::uint8_t>(1U << (i % 8));
        cr_assert_neq(o.check(der, signer, kAlice, o.manifest.object), Errc::ok, "bit %zu", i);
    }
}

Test(tickets, of_another_realm_are_refused_whatever_signer_is_shown) {
    Office o;
    const SignedTicket t = o.tickets.issue(*o.other, kAlice, o.manifest, o.now).value();
    cr_assert_eq(o.check(t.der, o.other->signer().to_der(), kAlice, o.manifest.object), Errc::wrong_realm);
    cr_assert_eq(o.check(t.der, o.realm->signer().to_der(), kAlice, o.manifest.object), Errc::wrong_realm);
    cr_assert_eq(o.check(t.der, {}, kAlice, o.manifest.object), Errc::malformed);
}

Test(tickets, signed_by_a_member_are_refused) {
    Office o;
    const KeyPair key = KeyPair::generate().value();
    const Certificate member = o.realm->enrol(key.public_key(), o.now, 7).value();
    Ticket forged;
    forged.member = member.member_id();
    forged.object = o.manifest.object;
    forged.not_before = o.now;
    forged.not_after = {o.now.unix_seconds + 600};
    const SignedTicket t = sign_ticket(forged, key).value();
    cr_assert_neq(o.check(t.der, member.to_der(), member.member_id(), o.manifest.object), Errc::ok);
}

Test(tickets, have_a_grant_of_their_own_and_keep_it_when_renewed) {
    Office o;
    const Ticket a = o.tickets.issue(*o.realm, kAlice, o.manifest, o.now).value().body;
    const Ticket b = o.tickets.issue(*o.realm, kAlice, o.manifest, o.now).value().body;
    cr_assert(a.grant != b.grant);
    o.tickets.set_lifetime(std::chrono::minutes(5));
    const WallTime later{o.now.unix_seconds + 500};
    const Ticket renewed = o.tickets.renew(*o.realm, a, later).value().body;
    cr_assert(renewed.grant == a.grant && renewed.member == a.member && renewed.object == a.object);
    cr_assert_eq(renewed.not_after.unix_seconds, later.unix_seconds + 300);
}
