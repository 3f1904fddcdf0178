#include <criterion/criterion.h>

#include <csignal>
#include <memory>
#include <set>
#include <string>

#include "protocol/result.h"

using namespace mssl;

namespace {

constexpr auto kLastOnWire = static_cast<std::uint16_t>(Errc::shutting_down);
constexpr auto kFirstLocal = static_cast<std::uint16_t>(Errc::truncated);
constexpr auto kLastLocal = static_cast<std::uint16_t>(Errc::internal);

std::set<std::uint16_t> every_code() {
    std::set<std::uint16_t> out;
    for (std::uint16_t c = 0; c <= kLastOnWire; ++c) out.insert(c);
    for (std::uint16_t c = kFirstLocal; c <= kLastLocal; ++c) out.insert(c);
    return out;
}

}  // namespace

Test(result, every_code_has_a_name_and_a_sentence_of_its_own) {
    std::set<std::string_view> names{"unknown"};
    std::set<std::string_view> texts{errc_text(Errc{0x3f})};
    for (const std::uint16_t c : every_code()) {
        const Errc code{c};
        cr_assert(names.insert(errc_name(code)).second, "code %u has no name of its own", c);
        cr_assert(texts.insert(errc_text(code)).second, "code %u has no text of its own", c);
        cr_assert(errc_text(code).ends_with('.'), "code %u: not a sentence", c);
    }
}

Test(result, a_number_that_is_no_code_still_has_a_name_and_a_text) {
    for (const int c : {19, 0x3f, static_cast<int>(kLastLocal) + 1, 0xffff}) {
        const Errc code{static_cast<std::uint16_t>(c)};
        cr_assert_eq(errc_name(code), "unknown");
        cr_assert(not errc_text(code).empty());
    }
}

Test(result, numbers_that_cross_the_wire_never_change) {
    cr_assert_eq(static_cast<int>(Errc::malformed), 1);
    cr_assert_eq(static_cast<int>(Errc::bad_proof), 10);
    cr_assert_eq(static_cast<int>(Errc::conflicting_head), 16);
    cr_assert_eq(static_cast<int>(Errc::shutting_down), 18);
    cr_assert_eq(kFirstLocal, 0x40);
}

Test(result, an_error_prints_its_name_and_its_detail) {
    cr_assert_eq(fail(Errc::bad_proof, "block 12").to_string(), "bad_proof: block 12");
    cr_assert_eq(fail(Errc::again).to_string(), "again");
}

Test(result, a_result_holds_the_value_or_the_error) {
    Result<int> good = 7;
    cr_assert(good.has_value() && good);
    cr_assert_eq(*good, 7);
    cr_assert(good.code() == Errc::ok);
    Result<int> bad = fail(Errc::io, "disk");
    cr_assert(not bad.has_value());
    cr_assert(bad.code() == Errc::io);
    cr_assert_eq(bad.error().detail, "disk");
}

Test(result, a_result_gives_up_what_can_only_be_moved) {
    Result<std::unique_ptr<int>> r = std::make_unique<int>(3);
    const std::unique_ptr<int> taken = std::move(r).value();
    cr_assert_eq(*taken, 3);
}

Test(result, a_status_is_ok_or_an_error) {
    const Status good;
    cr_assert(good && good.code() == Errc::ok);
    const Status bad = fail(Errc::busy);
    cr_assert(not bad && bad.code() == Errc::busy);
}

Test(result, the_value_of_an_error_ends_the_program, .signal = SIGABRT) {
    const Result<int> bad = fail(Errc::io);
    (void)bad.value();
}

Test(result, the_error_of_a_value_ends_the_program, .signal = SIGABRT) {
    const Result<int> good = 1;
    (void)good.error();
}

Test(result, the_error_of_a_good_status_ends_the_program, .signal = SIGABRT) {
    const Status good;
    (void)good.error();
}
