#include <criterion/criterion.h>

#include <openssl/sha.h>

#include <set>

#include "proxy/server/neighbours.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

PeerEntry entry(unsigned n, std::uint16_t port = 4434) {
    PeerEntry e;
    SHA256(reinterpret_cast<const unsigned char*>(&n), sizeof n, e.member.bytes.data());
    e.port = port;
    return e;
}

}  // namespace

Test(neighbours, everybody_knows_everybody_while_they_are_few) {
    Neighbours all;
    for (unsigned n = 0; n <= Neighbours::kAll; ++n) all.set(TakerId{n}, entry(n));
    for (unsigned n = 0; n <= Neighbours::kAll; ++n) {
        cr_assert_eq(all.changes(TakerId{n}).size(), Neighbours::kAll);
        cr_assert(all.changes(TakerId{n}).empty(), "told once");
        cr_assert(!all.named(TakerId{n}, entry(n).member), "nobody is its own neighbour");
    }
}

Test(neighbours, of_many_each_knows_some_and_together_they_are_one_graph) {
    constexpr unsigned kMembers = 300;
    Neighbours all;
    for (unsigned n = 0; n < kMembers; ++n) all.set(TakerId{n}, entry(n));
    std::set<MemberId> reached{entry(0).member};
    std::vector<unsigned> queue{0};
    std::map<MemberId, unsigned> number;
    for (unsigned n = 0; n < kMembers; ++n) number[entry(n).member] = n;
    while (!queue.empty()) {
        const unsigned n = queue.back();
        queue.pop_back();
        const auto told = all.changes(TakerId{n});
        cr_assert_eq(told.size(), Neighbours::kSome);
        for (const PeerEntry& e : told)
            if (reached.insert(e.member).second) queue.push_back(number.at(e.member));
    }
    cr_assert_eq(reached.size(), kMembers);
}

Test(neighbours, one_more_member_changes_little_for_the_others) {
    Neighbours all;
    for (unsigned n = 0; n < 100; ++n) all.set(TakerId{n}, entry(n));
    for (unsigned n = 0; n < 100; ++n) (void)all.changes(TakerId{n});
    all.set(TakerId{100}, entry(100));
    std::size_t changed = 0;
    for (unsigned n = 0; n < 100; ++n) changed += all.changes(TakerId{n}).size();
    cr_assert_leq(changed, 2 * 50, "about 16 take it in, each for another one");
    cr_assert_geq(changed, 1);
}

Test(neighbours, a_change_of_address_and_a_departure_are_told) {
    Neighbours all;
    all.set(TakerId{1}, entry(1));
    all.set(TakerId{2}, entry(2, 0));
    cr_assert_eq(all.changes(TakerId{1})[0].port, 0);
    all.set(TakerId{2}, entry(2, 4434));
    const auto moved = all.changes(TakerId{1});
    cr_assert_eq(moved.size(), 1);
    cr_assert_eq(moved[0].port, 4434);
    all.remove(TakerId{2});
    const auto left = all.changes(TakerId{1});
    cr_assert_eq(left.size(), 1);
    cr_assert(left[0].gone);
    cr_assert(all.named(TakerId{1}, entry(2).member));
}

Test(neighbours, a_member_with_two_sessions_is_one_neighbour_and_not_its_own) {
    Neighbours all;
    all.set(TakerId{1}, entry(1, 0));
    all.set(TakerId{2}, entry(1, 4434));
    all.set(TakerId{3}, entry(3));
    cr_assert_eq(all.changes(TakerId{1}).size(), 1);
    const auto told = all.changes(TakerId{3});
    cr_assert_eq(told.size(), 1);
    cr_assert_eq(told[0].port, 4434, "the way in counts");
}
