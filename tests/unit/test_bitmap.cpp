#include <criterion/criterion.h>

#include <random>
#include <set>

#include "protocol/bitmap.h"

using namespace mssl;

namespace {

constexpr std::uint64_t kSizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000};

BlockIndex at(std::uint64_t i) { return BlockIndex{static_cast<std::uint32_t>(i)}; }

}  // namespace

Test(bitmap, a_bit_is_set_once_and_counted_once) {
    for (const std::uint64_t n : kSizes) {
        Bitmap b(n);
        cr_assert(b.none());
        for (std::uint64_t i = 0; i < n; ++i) {
            cr_assert(not b.test(at(i)));
            cr_assert(b.set(at(i)));
            cr_assert(not b.set(at(i)));
            cr_assert(b.test(at(i)));
            cr_assert_eq(b.count(), i + 1);
        }
        cr_assert(b.all());
        for (std::uint64_t i = 0; i < n; ++i) {
            b.clear(at(i));
            b.clear(at(i));
            cr_assert_eq(b.count(), n - i - 1);
        }
        cr_assert(b.none());
    }
}

Test(bitmap, what_lies_out_of_range_is_clear_and_stays_so) {
    for (const std::uint64_t n : kSizes) {
        Bitmap b(n);
        for (const std::uint64_t i : {n, n + 1, n + 64, std::uint64_t{0xffffffff}}) {
            cr_assert(not b.set(at(i)));
            cr_assert(not b.test(at(i)));
            b.clear(at(i));
        }
        b.set_range({static_cast<std::uint32_t>(n), 5});
        b.set_range({0xffffffff, 0xffffffff});
        cr_assert(b.none());
        cr_assert_eq(b.next_set(0), n);
        cr_assert_eq(b.next_set(n + 100), n);
        cr_assert_eq(b.next_clear(n + 100), n);
    }
}

Test(bitmap, all_bits_at_once_are_as_many_as_there_are) {
    for (const std::uint64_t n : kSizes) {
        Bitmap b(n);
        b.set_all();
        cr_assert(b.all());
        cr_assert_eq(b.next_clear(0), n);
        cr_assert_eq(b.to_wire().size(), (n + 7) / 8);
        cr_assert_eq(Bitmap::from_wire(b.to_wire(), n)->count(), n);
        Bitmap ranged(n);
        ranged.set_range({0, 0xffffffff});
        cr_assert_eq(ranged.count(), n);
    }
}

Test(bitmap, the_first_block_is_the_first_bit_on_the_wire) {
    Bitmap b(10);
    b.set(at(0));
    b.set(at(9));
    cr_assert(b.to_wire() == (Bytes{0x80, 0x40}));
}

Test(bitmap, a_wire_form_of_a_wrong_length_is_malformed) {
    for (const std::uint64_t n : kSizes) {
        const std::size_t right = (n + 7) / 8;
        for (std::size_t length = 0; length < right + 3; ++length)
            cr_assert_eq(Bitmap::from_wire(Bytes(length), n).has_value(), length == right, "%zu bytes",
                         length);
    }
    cr_assert(Bitmap::from_wire(Bytes(1), ~std::uint64_t{0}).code() == Errc::malformed,
              "and nothing is allocated");
}

Test(bitmap, a_spare_bit_that_is_set_is_malformed) {
    for (std::uint64_t n = 1; n < 8; ++n)
        for (unsigned bit = 0; bit < 8; ++bit) {
            const Bytes wire{static_cast<std::uint8_t>(0x80 >> bit)};
            const auto r = Bitmap::from_wire(wire, n);
            cr_assert_eq(r.has_value(), bit < n);
            if (bit >= n) cr_assert(r.code() == Errc::malformed);
        }
}

Test(bitmap, ranges_are_maximal_and_no_more_than_asked_for) {
    Bitmap b(200);
    b.set_range({0, 1});
    b.set_range({60, 10});
    b.set_range({70, 5});
    b.set_range({199, 1});
    const std::vector<BlockRange> expected{{0, 1}, {60, 15}, {199, 1}};
    cr_assert(b.ranges() == expected);
    cr_assert(b.ranges(2) == (std::vector<BlockRange>{{0, 1}, {60, 15}}));
    cr_assert(b.ranges(0).empty());
}

Test(bitmap, a_plain_set_gives_the_same_answers) {
    std::mt19937 random(1);
    for (int round = 0; round < 60; ++round) {
        const std::uint64_t n = random() % 300;
        Bitmap b(n);
        std::set<std::uint64_t> twin;
        for (int step = 0; step < 200; ++step) {
            const std::uint64_t i = random() % (n + 5);
            if (random() % 3 == 0) {
                b.clear(at(i));
                twin.erase(i);
            } else if (random() % 8 == 0) {
                const std::uint32_t count = random() % 40;
                b.set_range({static_cast<std::uint32_t>(i), count});
                for (std::uint64_t j = i; j < n && j < i + count; ++j) twin.insert(j);
            } else {
                cr_assert_eq(b.set(at(i)), i < n && twin.insert(i).second);
            }
            cr_assert_eq(b.count(), twin.size());
            const std::uint64_t from = random() % (n + 3);
            const auto next = twin.lower_bound(from);
            cr_assert_eq(b.next_set(from), next == twin.end() ? n : *next);
            std::uint64_t clear = std::min(from, n);
            while (clear < n && twin.contains(clear)) ++clear;
            cr_assert_eq(b.next_clear(from), clear);
        }
        const auto again = Bitmap::from_wire(b.to_wire(), n);
        for (std::uint64_t i = 0; i < n; ++i) cr_assert_eq(again->test(at(i)), twin.contains(i));
        std::uint64_t covered = 0;
        for (const BlockRange r : b.ranges()) covered += r.count;
        cr_assert_eq(covered, twin.size());
    }
}
