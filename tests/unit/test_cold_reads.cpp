// Nobody makes the server read any number of origins at once.
#include <criterion/criterion.h>

#include <vector>

#include "proxy/server/cold_reads.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

MemberId member(std::uint8_t n) {
    MemberId id;
    id.bytes.fill(n);
    return id;
}

}  // namespace

Test(cold_reads, one_member_takes_its_part_and_all_take_no_more_than_there_is) {
    const auto reads = ColdReads::create(std::size_t{256} << 20);
    cr_assert_eq(reads->most(), 64U);
    std::vector<ColdReads::Place> all;
    while (auto place = reads->take(member(1))) all.push_back(std::move(place));
    cr_assert_eq(all.size(), 16U);
    for (std::uint8_t n = 2; n < 20; ++n)
        while (auto place = reads->take(member(n))) all.push_back(std::move(place));
    cr_assert_eq(all.size(), 64U);
    all.erase(all.begin());
    cr_assert(reads->take(member(2)) == nullptr, "that place is not for who has its part");
    cr_assert(reads->take(member(1)) != nullptr);
}

Test(cold_reads, little_memory_means_few_and_never_none) {
    const auto reads = ColdReads::create(std::size_t{16} << 20);
    cr_assert_eq(reads->most(), 4U);
    const auto first = reads->take(member(1)), second = reads->take(member(1));
    cr_assert(first && second && !reads->take(member(1)));
    cr_assert(reads->take(member(2)) != nullptr);
    cr_assert_eq(ColdReads::create(0)->most(), 4U);
}
