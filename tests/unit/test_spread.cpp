#include <criterion/criterion.h>

#include <map>

#include "protocol/spread.h"

using namespace mssl;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t kBlocks = 8;
const Geometry kGeometry{kBlocks * std::uint64_t{kMinBlockBytes}, kMinBlockBytes};
constexpr TakerId a{1}, b{2};
MonoTime at(Duration d) { return MonoTime{d}; }

struct Fixture {
    explicit Fixture(std::uint64_t available = kBlocks) {
        spread.set_available(available);
        spread.add_taker(a, at(0s));
        spread.add_taker(b, at(0s));
    }
    Spread::Give next(Duration when = 0s) {
        const auto give = spread.next(at(when));
        cr_assert(give.has_value());
        return *give;
    }
    Spread spread{kGeometry};
};

}  // namespace

Test(spread, blocks_go_out_once_in_order) {
    Fixture f;
    f.spread.on_tokens(a, 32, 3, at(0s));
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
        cr_assert(!f.spread.all_out());
        cr_assert_eq(f.next().block.v, i);
        cr_assert_eq(f.spread.given(), i + 1);
    }
    cr_assert(f.spread.all_out());
    cr_assert(!f.spread.next(at(0s)).has_value());
}

Test(spread, nothing_goes_out_before_it_is_available_or_without_a_token) {
    Fixture f(1);
    cr_assert(!f.spread.next(at(0s)).has_value());
    f.spread.on_tokens(a, 2, 3, at(0s));
    cr_assert_eq(f.next().block.v, 0U);
    cr_assert(!f.spread.next(at(0s)).has_value());
    f.spread.set_available(kBlocks);
    cr_assert_eq(f.next().block.v, 1U);
    cr_assert(!f.spread.next(at(0s)).has_value());
}

Test(spread, tokens_replace_the_number_before) {
    Fixture f;
    f.spread.on_tokens(a, 5, 3, at(0s));
    f.spread.on_tokens(a, 1, 3, at(0s));
    f.next();
    cr_assert(!f.spread.next(at(0s)).has_value());
}

Test(spread, the_driest_uplink_is_served_first) {
    Fixture f;
    f.spread.on_tokens(a, 2, 1, at(0s));
    f.spread.on_tokens(b, 2, 3, at(0s));
    cr_assert(f.next().taker == b);
    cr_assert(f.next().taker == b);
    cr_assert(f.next().taker == a);
}

Test(spread, equals_take_turns) {
    Fixture f;
    f.spread.on_tokens(a, 8, 3, at(0s));
    f.spread.on_tokens(b, 8, 3, at(0s));
    std::map<std::uint64_t, int> got;
    for (std::uint32_t i = 0; i < kBlocks; ++i) ++got[f.next().taker.v];
    cr_assert_eq(got[a.v], 4);
    cr_assert_eq(got[b.v], 4);
}

Test(spread, a_block_whose_only_holder_left_is_fresh_again) {
    Fixture f;
    f.spread.on_tokens(a, 32, 3, at(0s));
    for (std::uint32_t i = 0; i < kBlocks; ++i) f.next();
    f.spread.on_sent(b, BlockIndex{5}, at(0s));
    f.spread.remove_taker(a, at(1s));
    cr_assert(!f.spread.all_out());
    f.spread.on_tokens(b, 32, 3, at(1s));
    for (const std::uint32_t i : {0U, 1U, 2U, 3U, 4U, 6U, 7U}) cr_assert_eq(f.next(1s).block.v, i);
    cr_assert(f.spread.all_out());
}

Test(spread, what_progress_says_somebody_else_has_is_not_lost) {
    Fixture f;
    f.spread.on_tokens(a, 3, 3, at(0s));
    for (int i = 0; i < 3; ++i) f.next();
    f.spread.on_count(b, 3, at(1s));
    f.spread.remove_taker(a, at(1s));
    cr_assert_eq(f.spread.given(), 3U);
}

Test(spread, what_a_member_already_has_counts_as_out) {
    Fixture f;
    Bitmap have(kBlocks);
    have.set_range({0, 6});
    f.spread.on_bitmap(a, have, at(0s));
    cr_assert_eq(f.spread.given(), 6U);
    f.spread.on_tokens(b, 32, 3, at(0s));
    cr_assert_eq(f.next().block.v, 6U);
}

Test(spread, a_block_that_nobody_reports_is_given_again_to_another) {
    Fixture f;
    f.spread.on_tokens(a, 1, 3, at(0s));
    cr_assert_eq(f.next().block.v, 0U);
    f.spread.on_tokens(a, 8, 3, at(0s));
    f.spread.on_tokens(b, 8, 3, at(0s));
    const auto again = f.next(60s);
    cr_assert_eq(again.block.v, 0U);
    cr_assert(again.taker == b);
}

Test(spread, a_block_that_was_reported_is_not_given_again) {
    Fixture f;
    f.spread.on_tokens(a, 1, 3, at(0s));
    f.next();
    f.spread.on_count(a, 1, at(1s));
    f.spread.on_tokens(b, 8, 3, at(0s));
    cr_assert_eq(f.next(60s).block.v, 1U);
}

Test(spread, an_empty_object_is_out) {
    Spread spread(Geometry{0, kMinBlockBytes});
    cr_assert(spread.all_out());
}

Test(spread, strangers_change_nothing) {
    Fixture f;
    const TakerId stranger{9};
    f.spread.on_tokens(stranger, 8, 3, at(0s));
    f.spread.on_count(stranger, 8, at(0s));
    f.spread.remove_taker(stranger, at(0s));
    cr_assert(!f.spread.next(at(0s)).has_value());
}
