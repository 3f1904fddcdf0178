#include <criterion/criterion.h>

#include "proxy/server/directory.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

constexpr MonoTime at(Duration d) { return MonoTime{std::chrono::hours(1) + d}; }
constexpr MonoTime kStart = at(Duration{0});
const Address kAddress = Address::parse("192.0.2.7:4434").value();
const Address kHere = Address::parse("198.51.100.1:1").value(), kThere = Address::parse("203.0.113.1:1").value();
const MemberId kLiar = member_number(1), kAlice = member_number(2), kBob = member_number(3);

}  // namespace

Test(directory, lists_an_address_only_after_the_dial_back) {
    Engine engine;
    Directory d;
    const auto watch = d.watch(kAlice, engine.loops.at(0), [] {});
    cr_assert_eq(d.entry(kAlice, kStart).port, 0);
    cr_assert(d.may_dial(kAlice, kAddress, kStart));
    cr_assert_eq(d.entry(kAlice, kStart).port, 0);
    d.set_reachable(kAlice, kAddress);
    const PeerEntry e = d.entry(kAlice, kStart);
    cr_assert(Address::from_bytes(e.address, e.port) == kAddress);
    cr_assert(!d.may_dial(kAlice, kAddress, kStart), "it answered there already");
    d.unwatch(kAlice, watch);
    cr_assert_eq(d.entry(kAlice, kStart).port, 0);
}

Test(directory, dials_nobody_who_has_no_session) {
    Directory d;
    cr_assert(!d.may_dial(kAlice, kAddress, kStart));
    d.set_reachable(kAlice, kAddress);
    cr_assert_eq(d.entry(kAlice, kStart).port, 0);
}

Test(directory, is_no_reflector_even_for_who_reconnects) {
    Engine engine;
    Directory d;
    unsigned dials = 0;
    for (int i = 0; i < 100; ++i) {
        const auto watch = d.watch(kAlice, engine.loops.at(0), [] {});
        Address port = kAddress;
        port.set_port(static_cast<std::uint16_t>(1000 + i));
        if (d.may_dial(kAlice, port, at(std::chrono::milliseconds(i)))) ++dials;
        d.unwatch(kAlice, watch);
    }
    cr_assert_eq(dials, Directory::kDialsPerMinute);
    (void)d.watch(kAlice, engine.loops.at(0), [] {});
    cr_assert(d.may_dial(kAlice, kAddress, at(std::chrono::minutes(1))));
}

Test(directory, tells_every_session_of_a_member_when_its_entry_changes) {
    Engine engine;
    Directory d;
    int told = 0;
    (void)d.watch(kAlice, engine.loops.at(0), [&] { ++told; });
    (void)d.watch(kAlice, engine.loops.at(0), [&] { ++told; });
    (void)d.watch(kBob, engine.loops.at(0), [&] { told += 100; });
    d.set_reachable(kAlice, kAddress);
    d.set_reachable(kAlice, kAddress);  // no change
    engine.run(engine.loops.at(0), [] {});
    cr_assert_eq(told, 2);
    d.set_unreachable(kAlice);
    engine.run(engine.loops.at(0), [] {});
    cr_assert_eq(told, 4);
}

Test(directory, convicts_whom_two_members_report_and_not_one) {
    Directory d;
    d.set_identities_cost(true);
    for (int i = 0; i < 5; ++i) cr_assert(!d.report(kAlice, kHere, kLiar, Errc::bad_proof, kStart), "one alone may be the liar");
    cr_assert(!d.convicted(kLiar, kStart));
    cr_assert(d.report(kBob, kThere, kLiar, Errc::bad_proof, kStart));
    cr_assert(d.convicted(kLiar, kStart));
    cr_assert(d.entry(kLiar, kStart).gone);
    cr_assert(!d.convicted(kLiar, kStart + Directory::kConvictionTime));
}

Test(directory, counts_no_reports_of_weakness_of_oneself_of_long_ago_or_of_the_convicted) {
    Directory d;
    d.set_identities_cost(true);
    for (const Errc code : {Errc::stalled, Errc::timed_out, Errc::busy, Errc::no_such_block, Errc::expired, Errc::ok}) {
        cr_assert(!d.report(kAlice, kHere, kLiar, code, kStart));
        cr_assert(!d.report(kBob, kThere, kLiar, code, kStart));
    }
    cr_assert(!d.report(kLiar, kThere, kLiar, Errc::bad_proof, kStart));
    cr_assert(!d.report(kAlice, kHere, kLiar, Errc::bad_proof, kStart));
    cr_assert(!d.report(kBob, kThere, kLiar, Errc::bad_proof, kStart + Directory::kReportMemory));

    cr_assert(d.report(kAlice, kHere, kLiar, Errc::bad_proof, kStart + Directory::kReportMemory));
    const MonoTime later = kStart + Directory::kReportMemory;
    cr_assert(!d.report(kLiar, kThere, kBob, Errc::bad_proof, later));
    cr_assert(!d.report(kAlice, kHere, kBob, Errc::bad_proof, later));
    cr_assert(!d.convicted(kBob, later), "the convicted one's word was no second one");
}

Test(directory, remembers_a_bounded_number_of_accused_and_the_convicted_longest) {
    Directory d;
    d.set_identities_cost(true);
    (void)d.report(kAlice, kHere, kLiar, Errc::bad_proof, kStart);
    cr_assert(d.report(kBob, kThere, kLiar, Errc::bad_proof, kStart));
    for (std::uint32_t i = 0; i < Directory::kMaxAccused + 100; ++i) {
        MemberId id;
        id.bytes.fill(0x77);
        std::memcpy(id.bytes.data(), &i, sizeof i);
        (void)d.report(kAlice, kHere, id, Errc::bad_proof, at(std::chrono::milliseconds(i + 1)));
    }
    cr_assert(d.convicted(kLiar, kStart));
}

Test(directory, two_who_may_be_one_convict_nobody) {
    Directory free;
    cr_assert(!free.report(kAlice, kHere, kLiar, Errc::bad_proof, kStart));
    cr_assert(!free.report(kBob, kThere, kLiar, Errc::bad_proof, kStart), "an identity costs nothing");
    Directory near;
    near.set_identities_cost(true);
    for (const char* at : {"198.51.100.1:1", "198.51.100.200:7", "[::ffff:198.51.100.9]:1"})
        cr_assert(!near.report(member_number(static_cast<std::uint8_t>(at[12])), Address::parse(at).value(), kLiar, Errc::bad_proof, kStart));
    cr_assert(!near.convicted(kLiar, kStart), "one network");
    cr_assert(near.report(kBob, Address::parse("[2001:db8:1::1]:1").value(), kLiar, Errc::bad_proof, kStart));
    cr_assert(near.convicted(kLiar, kStart));
}
