// Explicit freshness (RFC 9111 §4.2, §5.2): what answers again without the origin being asked, and what never does.
#include <criterion/criterion.h>

#include "proxy/client/fresh_answers.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

using List = std::vector<std::pair<std::string, std::string>>;

constexpr std::int64_t kNow = 784111777;
const std::string kDate = "Sun, 06 Nov 1994 08:49:37 GMT", kMinuteLater = "Sun, 06 Nov 1994 08:50:37 GMT";
const std::string kUrl = "http://a:80/x";

Fields fields(const List& list) {
    Fields out;
    for (const auto& [name, value] : list) out.add(name, value);
    return out;
}

RequestHead get(const List& list = {}, const std::string& method = "GET") {
    RequestHead r;
    r.method = method;
    r.target = "/x";
    r.fields = fields(list);
    return r;
}

Resolution answer(const List& list, Access access = Access::open, std::int64_t ticket_end = kNow + 3600) {
    SignedManifest m;
    m.body.length = 1000;
    m.body.validator = {"\"a\"", 0};
    m.body.access = access;
    SignedTicket t;
    t.body.not_after = {ticket_end};
    Resolution out;
    out.manifest = std::make_shared<SignedManifest>(std::move(m));
    out.ticket = std::make_shared<SignedTicket>(std::move(t));
    out.fields = fields(list).items();
    return out;
}

FreshAnswers::Moment at(std::int64_t seconds) { return {{kNow + seconds}, MonoTime{std::chrono::seconds(seconds)}}; }

// Whether what was kept at second 0 answers at second later.
std::optional<std::int64_t> age_at(const Resolution& kept, std::int64_t later, const List& asked = {}, const List& before = {}) {
    FreshAnswers f;
    f.keep(kUrl, get(before), kept, at(0));
    const std::optional<Resolution> found = f.find(kUrl, {}, get(asked), at(later));
    return found ? found->age : std::nullopt;
}

}  // namespace

Test(freshness, lifetimes) {
    const struct {
        List fields;
        std::int64_t seconds;
    } rows[] = {
        {{}, 0},
        {{{"Cache-Control", "max-age=60"}}, 60},
        {{{"Cache-Control", "Max-Age=\"60\""}}, 60},
        {{{"Cache-Control", "public, max-age=60, s-maxage=5"}}, 5},
        {{{"Cache-Control", "max-age=60"}, {"Cache-Control", "s-maxage=0"}}, 0},
        {{{"Cache-Control", "max-age=60, max-age=60"}}, 0},
        {{{"Cache-Control", "max-age"}}, 0},
        {{{"Cache-Control", "max-age=-1"}}, 0},
        {{{"Cache-Control", "max-age=1.5"}}, 0},
        {{{"Cache-Control", "max-age=99999999999999999999"}}, std::int64_t{1} << 31},
        {{{"Cache-Control", "max-age=60, no-cache"}}, 0},
        {{{"Cache-Control", "max-age=60, private=\"x\""}}, 0},
        {{{"Date", kDate}, {"Expires", kMinuteLater}}, 60},
        {{{"Date", kMinuteLater}, {"Expires", kDate}}, 0},
        {{{"Date", kDate}, {"Expires", "0"}}, 0},
        {{{"Expires", kMinuteLater}}, 0},
        {{{"Date", kDate}, {"Expires", kMinuteLater}, {"Cache-Control", "max-age=5"}}, 5},
        {{{"Date", kDate}, {"Last-Modified", "Sun, 06 Nov 1984 08:49:37 GMT"}}, 0},
    };
    for (std::size_t i = 0; i < std::size(rows); ++i) cr_assert_eq(freshness_lifetime(fields(rows[i].fields)), rows[i].seconds, "%zu", i);
}

Test(freshness, an_answer_is_as_old_as_it_says_or_as_its_date) {
    cr_assert_eq(age_on_arrival(fields({}), kNow), 0);
    cr_assert_eq(age_on_arrival(fields({{"Date", kDate}}), kNow + 7), 7);
    cr_assert_eq(age_on_arrival(fields({{"Date", kMinuteLater}}), kNow), 0);
    cr_assert_eq(age_on_arrival(fields({{"Date", kDate}, {"Age", "9"}}), kNow + 7), 9);
    cr_assert_eq(age_on_arrival(fields({{"Age", "x"}}), kNow), std::int64_t{1} << 31);
}

Test(freshness, answers_to_the_last_second_and_says_its_age) {
    const List said{{"Cache-Control", "max-age=60"}, {"Date", kDate}};
    cr_assert_eq(age_at(answer(said), 0), 0);
    cr_assert_eq(age_at(answer(said), 59), 59);
    cr_assert_not(age_at(answer(said), 60).has_value());
    cr_assert_eq(age_at(answer({{"Cache-Control", "max-age=60"}, {"Age", "50"}}), 9), 59);
    cr_assert_not(age_at(answer({{"Cache-Control", "max-age=60"}, {"Age", "50"}}), 10).has_value());
    cr_assert_not(age_at(answer({{"Date", kDate}}), 0).has_value(), "nothing is guessed");
    // The ticket's end is the end.
    cr_assert_eq(age_at(answer(said, Access::open, kNow + 10), 9), 9);
    cr_assert_not(age_at(answer(said, Access::open, kNow + 10), 10).has_value());
}

Test(freshness, what_the_request_says_counts) {
    const Resolution kept = answer({{"Cache-Control", "max-age=60"}, {"Accept-Ranges", "bytes"}});
    for (const List& passes : {List{{"Cache-Control", "max-age=31"}}, List{{"Cache-Control", "min-fresh=29"}}, List{{"Cache-Control", "only-if-cached"}},
                               List{{"Cache-Control", "max-stale"}}, List{{"Range", "bytes=0-9"}}, List{{"Cache-Control", "x"}, {"Pragma", "no-cache"}}})
        cr_assert_eq(age_at(kept, 30, passes), 30, "%s: %s", passes[0].first.c_str(), passes[0].second.c_str());
    for (const List& asks : {List{{"Cache-Control", "no-cache"}}, List{{"Cache-Control", "max-age=0"}}, List{{"Cache-Control", "max-age=30"}},
                             List{{"Cache-Control", "min-fresh=30"}}, List{{"Cache-Control", "max-age=x"}}, List{{"Cache-Control", "no-store"}},
                             List{{"Pragma", "no-cache"}}, List{{"Authorization", "x"}}, List{{"Cookie", "a=b"}}, List{{"If-None-Match", "\"a\""}},
                             List{{"If-Match", "*"}}, List{{"If-Modified-Since", kDate}}, List{{"If-Unmodified-Since", kDate}},
                             List{{"Accept-Encoding", "gzip"}}, List{{"Range", "bytes=0-1,3-4"}}, List{{"Range", "bytes=1000-"}}})
        cr_assert_not(age_at(kept, 30, asks).has_value(), "%s: %s", asks[0].first.c_str(), asks[0].second.c_str());
    cr_assert_eq(age_at(kept, 1, {{"Accept-Encoding", "gzip,  br"}}, {{"Accept-Encoding", "gzip, br"}}), 1);
    cr_assert_not(age_at(answer({{"Cache-Control", "max-age=60"}}), 1, {{"Range", "bytes=0-9"}}).has_value(), "has the origin ranges?");
}

Test(freshness, private_things_are_never_kept) {
    const List said{{"Cache-Control", "max-age=60"}};
    cr_assert_not(age_at(answer(said, Access::restricted), 0).has_value());
    cr_assert_not(age_at(answer(said), 0, {}, {{"Authorization", "x"}}).has_value());
    cr_assert_not(age_at(answer(said), 0, {}, {{"Cookie", "a=b"}}).has_value());
    cr_assert_not(age_at(answer(said), 0, {}, {{"Cache-Control", "no-store"}}).has_value());
}

Test(freshness, the_newest_word_of_the_origin_counts) {
    FreshAnswers f;
    f.keep(kUrl, get(), answer({{"Cache-Control", "max-age=60"}}), at(0));
    f.keep("http://a:80/y", get(), answer({{"Cache-Control", "max-age=60"}}), at(0));
    f.keep(kUrl, get(), answer({}), at(1));
    cr_assert_not(f.find(kUrl, {}, get(), at(1)).has_value());
    cr_assert(f.find("http://a:80/y", {}, get(), at(1)).has_value());
    f.forget("http://a:80/y", at(1).mono);
    cr_assert_not(f.find("http://a:80/y", {}, get(), at(1)).has_value());
}

Test(freshness, only_so_many_are_kept) {
    FreshAnswers f;
    for (std::size_t i = 0; i <= FreshAnswers::kMaxAnswers; ++i)
        f.keep("http://a:80/" + std::to_string(i), get(), answer({{"Cache-Control", "max-age=60"}}), at(0));
    cr_assert_not(f.find("http://a:80/0", {}, get(), at(0)).has_value(), "the oldest goes");
    cr_assert(f.find("http://a:80/1", {}, get(), at(0)).has_value());
}

Test(freshness, another_realm_has_answers_of_its_own) {
    FreshAnswers f;
    f.keep(kUrl, get(), answer({{"Cache-Control", "max-age=60"}}), at(0));
    RealmId other;
    other.bytes[0] = 1;
    cr_assert_not(f.find(kUrl, other, get(), at(0)).has_value());
    cr_assert_not(f.find(kUrl, {}, get(), at(0)).has_value(), "the site has left that realm");
}

Test(freshness, nothing_outlives_a_reload) {
    FreshAnswers f;
    f.keep(kUrl, get(), answer({{"Cache-Control", "max-age=60"}}), at(0));
    f.forget_all(at(1).mono);
    cr_assert_not(f.find(kUrl, {}, get(), at(1)).has_value());
    f.keep(kUrl, get(), answer({{"Cache-Control", "max-age=60"}}), at(2));
    cr_assert(f.find(kUrl, {}, get(), at(2)).has_value());
}

Test(freshness, an_answer_that_was_overtaken_is_not_kept) {
    const auto sixty = answer({{"Cache-Control", "max-age=60"}}), thirty = answer({{"Cache-Control", "max-age=30"}});
    FreshAnswers changed;
    changed.forget("http://a:80/y", at(5).mono);
    changed.keep("http://a:80/y", get(), sixty, at(5));
    cr_assert_not(changed.find("http://a:80/y", {}, get(), at(6)).has_value(), "asked before what changed it was over");
    changed.keep("http://a:80/y", get(), sixty, at(6));
    cr_assert(changed.find("http://a:80/y", {}, get(), at(6)).has_value());

    FreshAnswers two;
    two.keep(kUrl, get(), thirty, at(5));
    two.keep(kUrl, get(), sixty, at(4));
    cr_assert_not(two.find(kUrl, {}, get(), at(40)).has_value(), "the one that was asked for later counts");
    two.keep(kUrl, get(), thirty, at(5));
    two.keep(kUrl, get(), answer({}), at(4));
    cr_assert(two.find(kUrl, {}, get(), at(6)).has_value(), "nor does an earlier one take it away");
}

// A machine that slept, a clock that was set back.
Test(freshness, the_clock_that_went_further_counts) {
    const struct {
        std::int64_t wall, mono;
        bool fresh;
    } rows[] = {{59, 0, true}, {60, 0, false}, {0, 59, true}, {0, 60, false}, {-1000, 59, true}, {-1000, 60, false}};
    for (const auto& row : rows) {
        FreshAnswers f;
        f.keep(kUrl, get(), answer({{"Cache-Control", "max-age=60"}}), at(0));
        const FreshAnswers::Moment now{{kNow + row.wall}, MonoTime{std::chrono::seconds(row.mono)}};
        cr_assert_eq(f.find(kUrl, {}, get(), now).has_value(), row.fresh, "%ld %ld", row.wall, row.mono);
    }
}
