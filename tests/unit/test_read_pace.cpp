#include <criterion/criterion.h>

#include "proxy/server/read_pace.h"
#include "tests/unit/hosting_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

// A pace in its loop, and how many of those who asked to go on did.
struct Paced {
    Engine engine;
    Loop& loop = engine.loops.at(0);
    std::unique_ptr<ReadPace> pace = engine.run(loop, [this] { return std::make_unique<ReadPace>(loop, [this] { ++wanting; }); });
    unsigned went = 0, wanting = 0;

    ~Paced() {
        engine.run(loop, [this] { pace.reset(); });
    }
    void ask() {
        pace->when_near([this] { ++went; });
    }
    template <class F>
    void in(F f) {
        engine.run(loop, f);
    }
};

}  // namespace

Test(read_pace, waits_for_its_first_reader_a_moment_and_follows_it_when_it_comes) {
    Paced p;
    p.in([&] {
        p.pace->read_to(100 * ReadPace::kLead);
        p.ask();
    });
    cr_assert(p.engine.eventually(p.loop, [&] { return p.went == 1; }));
    p.in([&] {
        p.ask();
        cr_assert_eq(p.went, 2, "nobody reads");
        p.pace->given_to(1);
        p.ask();
        cr_assert_eq(p.went, 2);
        p.pace->given_to(99 * ReadPace::kLead);
        cr_assert_eq(p.went, 3);
    });
}

Test(read_pace, keeps_within_its_lead_of_a_reader) {
    Paced p;
    p.in([&] {
        p.pace->given_to(1);
        for (const auto& [read, held] : {std::pair(ReadPace::kLead, false), std::pair(ReadPace::kLead + 1, false),
                                         std::pair(ReadPace::kLead + 2, true)}) {
            const unsigned before = p.went;
            p.pace->read_to(read);
            p.ask();
            cr_assert_eq(p.went - before, held ? 0 : 1, "%lu", read);
        }
        cr_assert_eq(p.wanting, 1);
        // A reader behind the first changes nothing; the first, by going on, does.
        p.pace->given_to(1);
        cr_assert_eq(p.went, 2);
        p.pace->given_to(2);
        cr_assert_eq(p.went, 3);
    });
}

Test(read_pace, waits_for_a_slow_reader_once) {
    Paced p;
    p.in([&] {
        p.pace->given_to(1);
        p.pace->read_to(2 * ReadPace::kLead);
        p.ask();
        cr_assert_eq(p.went, 0);
    });
    cr_assert(p.engine.eventually(p.loop, [&] { return p.went == 1; }));
    p.in([&] {
        p.pace->given_to(ReadPace::kLead - 1);  // still too far behind
        p.ask();
        cr_assert_eq(p.went, 2);
        // It is fast now: it is followed again.
        p.pace->given_to(ReadPace::kLead);
        p.pace->given_to(ReadPace::kLead + ReadPace::kFast);
        p.pace->read_to(2 * ReadPace::kLead + ReadPace::kFast + 1);
        p.ask();
        cr_assert_eq(p.went, 2);
    });
}

Test(read_pace, is_not_kept_back_by_small_steps) {
    Paced p;
    std::uint64_t given = 0;
    cr_assert(p.engine.eventually(p.loop, [&] {
        p.pace->given_to(++given);
        p.pace->read_to(given + ReadPace::kLead);
        p.ask();
        p.pace->read_to(given + 2 * ReadPace::kLead);
        const unsigned before = p.went;
        p.ask();
        return p.went == before + 1;
    }));
}

Test(read_pace, holds_nothing_back_from_its_end_on) {
    Paced p;
    p.in([&] {
        p.pace->given_to(1);
        p.pace->read_to(2 * ReadPace::kLead);
        p.ask();
        p.pace->end();
        cr_assert_eq(p.went, 1);
        p.pace->given_to(ReadPace::kLead);
        p.pace->read_to(4 * ReadPace::kLead);
        p.ask();
        cr_assert_eq(p.went, 2);
    });
}
