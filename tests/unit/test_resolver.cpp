// What the server's answer to a request must hold before a byte of it is used (mssl-protocol(7), RESOLVE).
#include <criterion/criterion.h>

#include "protocol/resolve.h"
#include "proxy/client/resolver.h"
#include "tests/unit/somewhere_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

Test(resolver, a_manifest_counts_while_it_is_valid) {
    const Somewhere here(0);
    const Geometry geometry(2 * std::uint64_t{kMinBlockBytes}, kMinBlockBytes);
    const Resolution good = here.resolution(ObjectId{}, geometry);
    const Membership self = *membership_of(*here.realm, here.self);
    const std::int64_t now = wall_now().unix_seconds;
    const auto answer = [&](std::int64_t from, std::int64_t to) {
        Manifest m = good.manifest->body;
        m.not_before = {from};
        m.not_after = {to};
        Resolved r;
        r.manifest_der = sign_manifest(m, here.realm->signer_key()).value().der;
        r.ticket_der = good.ticket->der;
        r.head_der = good.head->der;
        r.signer_der = here.realm->signer().to_der();
        return check_resolved(encode_resolved(r), self, m.url, {now}).code();
    };
    cr_assert_eq(answer(now - 100, now + 100), Errc::ok);
    // Clocks may differ by so much.
    cr_assert_eq(answer(now - 1000, now - kClockToleranceSeconds), Errc::ok);
    cr_assert_eq(answer(now + kClockToleranceSeconds, now + 1000), Errc::ok);
    cr_assert_eq(answer(now - 1000, now - kClockToleranceSeconds - 1), Errc::expired);
    cr_assert_eq(answer(now + kClockToleranceSeconds + 1, now + 1000), Errc::expired);
}
