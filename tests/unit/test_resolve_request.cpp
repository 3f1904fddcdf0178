// The decisions of a resolve: what is asked of the origin, what its answer means (DESIGN 3).
#include <criterion/criterion.h>

#include "proxy/http/semantics.h"
#include "proxy/server/encodings.h"
#include "proxy/server/origin_reader.h"
#include "proxy/server/proxy_exchange.h"
#include "proxy/server/resolve_request.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

using List = std::vector<std::pair<std::string, std::string>>;
const Validator kKnown{"\"k\"", 0};

RequestHead request(const List& fields = {}) {
    RequestHead r;
    r.method = "GET";
    r.target = "/a.iso";
    for (const auto& [name, value] : fields) r.fields.add(name, value);
    return r;
}

ResponseHead answer(std::uint16_t status, const List& fields = {}, std::uint64_t length = 2 << 20) {
    ResponseHead r;
    r.status = status;
    if (status == 200) {
        r.body = BodyKind::length;
        r.length = length;
    }
    for (const auto& [name, value] : fields) r.fields.add(name, value);
    return r;
}

std::string field(const RequestHead& r, std::string_view name) {
    const std::string* v = r.fields.find(name);
    return v == nullptr ? "" : *v;
}

Verdict verdict(const List& asked, const std::optional<Validator>& known, const ResponseHead& said, std::uint64_t room = 0) {
    const RequestHead r = request(asked);
    return judge(r, plan_resolve(r, known), said, ShareRule{}, room).verdict;
}

}  // namespace

Test(resolve_plan, strips_ranges_and_adds_our_validator_where_that_says_something) {
    struct Case {
        List asked;
        std::optional<Validator> known;
        std::string none_match, modified_since;
        bool ours, stripped;
    };
    const Validator dated{"", 1'700'000'000};
    const Case cases[] = {
        {{}, std::nullopt, "", "", false, false},
        {{}, kKnown, "\"k\"", "", true, false},
        {{}, dated, "", format_http_date(1'700'000'000), true, false},
        {{{"Range", "bytes=0-"}, {"If-Range", "\"k\""}}, kKnown, "\"k\"", "", true, true},
        {{{"If-None-Match", "\"a\", W/\"b\""}}, kKnown, "\"a\", W/\"b\", \"k\"", "", true, false},
        {{{"If-None-Match", "\"a\", \"k\""}}, kKnown, "\"a\", \"k\"", "", false, false},
        {{{"If-None-Match", "*"}}, kKnown, "*", "", false, false},
        {{{"If-None-Match", "broken"}}, kKnown, "broken", "", false, false},
        {{{"If-None-Match", "\"a\""}}, dated, "\"a\"", "", false, false},
        {{{"If-Modified-Since", "x"}}, kKnown, "", "x", false, false},
        {{{"If-Match", "\"a\""}}, kKnown, "", "", false, false},
    };
    for (std::size_t i = 0; i < std::size(cases); ++i) {
        const Case& c = cases[i];
        const ResolvePlan plan = plan_resolve(request(c.asked), c.known);
        cr_assert_eq(field(plan.ask, "If-None-Match"), c.none_match, "%zu", i);
        cr_assert_eq(field(plan.ask, "If-Modified-Since"), c.modified_since, "%zu", i);
        cr_assert_eq(plan.ours.has_value(), c.ours, "%zu", i);
        cr_assert_eq(plan.stripped_range, c.stripped, "%zu", i);
        cr_assert(plan.ask.fields.count("Range") == 0 && plan.ask.fields.count("If-Range") == 0);
    }
}

Test(resolve_judge, tells_whose_304_it_is) {
    cr_assert(verdict({}, kKnown, answer(304, {{"ETag", "\"k\""}})) == Verdict::unmodified);
    cr_assert(verdict({}, kKnown, answer(304)) == Verdict::unmodified);
    cr_assert(verdict({}, kKnown, answer(304, {{"ETag", "\"other\""}})) == Verdict::again);
    cr_assert(verdict({}, kKnown, answer(304, {{"ETag", "W/\"k\""}})) == Verdict::again);
    const List theirs{{"If-None-Match", "\"a\""}};
    cr_assert(verdict(theirs, kKnown, answer(304, {{"ETag", "\"k\""}})) == Verdict::unmodified);
    cr_assert(verdict(theirs, kKnown, answer(304, {{"ETag", "\"a\""}})) == Verdict::relay);
    cr_assert(verdict(theirs, kKnown, answer(304)) == Verdict::again);
    cr_assert(verdict({{"If-None-Match", "\"k\""}}, kKnown, answer(304, {{"ETag", "\"k\""}})) == Verdict::relay);
    cr_assert(verdict({}, std::nullopt, answer(304)) == Verdict::relay);
}

Test(resolve_judge, takes_a_304_for_a_date_only_when_it_repeats_that_date) {
    const Validator dated{{}, 784111777};
    cr_assert(verdict({}, dated, answer(304, {{"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"}})) == Verdict::unmodified);
    // An older file that was put back is "not modified since" as well.
    cr_assert(verdict({}, dated, answer(304, {{"Last-Modified", "Sat, 05 Nov 1994 08:49:37 GMT"}})) == Verdict::again);
    cr_assert(verdict({}, dated, answer(304)) == Verdict::again);
}

Test(resolve_judge, stops_sharing_when_a_304_says_private) {
    for (const char* said : {"private", "no-store", "no-cache"})
        cr_assert(verdict({}, kKnown, answer(304, {{"ETag", "\"k\""}, {"Cache-Control", said}})) == Verdict::again, "%s", said);
    cr_assert(verdict({}, kKnown, answer(304, {{"Set-Cookie", "a=b"}})) == Verdict::again);
    cr_assert(verdict({{"Authorization", "x"}}, kKnown, answer(304)) == Verdict::again);
}

Test(resolve_judge, shares_a_200_only_with_validator_size_and_ranges_or_room) {
    const List good{{"ETag", "\"n\""}, {"Accept-Ranges", "bytes"}};
    const List range{{"Range", "bytes=0-9"}};
    cr_assert(verdict({}, std::nullopt, answer(200, good)) == Verdict::sharable);
    cr_assert(verdict(range, std::nullopt, answer(200, good)) == Verdict::sharable);
    // The least size that is shared, and one less.
    cr_assert(verdict({}, std::nullopt, answer(200, good, 1 << 20)) == Verdict::sharable);
    cr_assert(verdict({}, std::nullopt, answer(200, good, (1 << 20) - 1)) == Verdict::relay);
    cr_assert(verdict(range, std::nullopt, answer(200, good, (1 << 20) - 1)) == Verdict::again);
    const List weak{{"ETag", "W/\"n\""}, {"Accept-Ranges", "bytes"}};
    cr_assert(verdict({}, std::nullopt, answer(200, weak)) == Verdict::relay);
    const List rangeless{{"ETag", "\"n\""}};
    cr_assert(verdict({}, std::nullopt, answer(200, rangeless), (2 << 20) - 1) == Verdict::relay);
    cr_assert(verdict({}, std::nullopt, answer(200, rangeless), 2 << 20) == Verdict::sharable);
}

Test(resolve_judge, relays_what_is_no_200) {
    for (std::uint16_t status : {204, 206, 301, 404, 412, 500})
        cr_assert(verdict({{"Range", "bytes=0-9"}}, kKnown, answer(status)) == Verdict::relay, "%u", status);
}

Test(resolve_fields, replays_end_to_end_fields_alone) {
    const auto fields = replayed_fields(answer(200, {{"Content-Type", "a/b"}, {"Connection", "x-hop"}, {"X-Hop", "1"}, {"MSSL-X", "1"},
                                                     {"Content-Length", "5"}, {"Content-Range", "x"}, {"Trailer", "x"}, {"X-Y", "z"}}));
    cr_assert_eq(fields.size(), 2U);
    cr_assert_eq(fields[0].name, "Content-Type");
    cr_assert_eq(fields[1].name, "X-Y");
}

Test(coalescing, joins_identical_heads_of_one_origin_only) {
    const auto key = [](const List& f) { return coalescing_key("http://a:80/", request(f), {}); };
    cr_assert_eq(key({{"Accept", "x"}}), key({{"Accept", "x"}}));
    cr_assert_neq(key({{"Accept", "x"}}), key({{"Accept", "y"}}));
    cr_assert_neq(key({{"Authorization", "x"}}), key({}));
    cr_assert_neq(coalescing_key("http://a:80/", request(), {}), coalescing_key("http://b:80/", request(), {}));
    cr_assert_neq(coalescing_key("http://a:80/", request(), "192.0.2.1"), coalescing_key("http://a:80/", request(), "192.0.2.2"));
}

Test(forwarding, says_for_whom_and_never_an_mssl_field) {
    const Address client = Address::parse("192.0.2.9:1000").value();
    const RequestHead out = forward_request(request({{"Connection", "x-hop"}, {"X-Hop", "1"}, {"mssl-resolve", "v=1"}, {"MSSL-A", "1"},
                                                     {"X-Forwarded-For", "198.51.100.1"}, {"X-Forwarded-Proto", "http"}}),
                                            client, Scheme::https);
    cr_assert_eq(field(out, "X-Forwarded-For"), "198.51.100.1, 192.0.2.9");
    cr_assert_eq(field(out, "X-Forwarded-Proto"), "https");
    cr_assert_eq(out.fields.items().size(), 2U);
}

Test(forwarding, is_by_http_for_a_members_application_and_shows_no_proxy_of_ours) {
    const Address client = Address::parse("192.0.2.9:1000").value();
    const RequestHead out = forward_request(request({{"Via", "1.1 other"}, {"Via", "1.1 msslproxy"}, {"Max-Forwards", "0"}}), client, Scheme::http);
    cr_assert_eq(field(out, "X-Forwarded-Proto"), "http");
    cr_assert_eq(out.fields.count("Via"), 1);
    cr_assert_eq(field(out, "Via"), "1.1 other");
    cr_assert_eq(field(out, "Max-Forwards"), "0", "of GET it says nothing");
}

Test(forwarding, counts_the_hops_that_are_left) {
    RequestHead r = request({{"Max-Forwards", "2"}});
    r.method = "OPTIONS";
    const RequestHead out = forward_request(r, Address::parse("192.0.2.9:1000").value(), Scheme::http);
    cr_assert_eq(field(out, "Max-Forwards"), "1");
    cr_assert_eq(hops_left(out).value(), 1U);
    r.method = "GET";
    cr_assert(!hops_left(r));
    r.method = "TRACE";
    r.fields.set("Max-Forwards", "2x");
    cr_assert(!hops_left(r));
}

Test(range_answer, is_the_range_of_that_representation_or_the_end_of_it) {
    Manifest m;
    m.url = "http://files.example:80/a?b";
    m.validator.etag = "\"v\"";
    m.length = 1000;
    const RequestHead r = range_request(m, "/a?b", 100, 199);
    cr_assert_eq(field(r, "Host"), "files.example");
    cr_assert_eq(field(r, "Range"), "bytes=100-199");
    cr_assert_eq(field(r, "If-Range"), "\"v\"");
    cr_assert_eq(field(r, "X-Forwarded-Proto"), "http");
    for (const auto& [url, host] : {std::pair{"https://files.example:443/a", "files.example"}, {"https://files.example:80/a", "files.example:80"},
                                    {"http://files.example:443/a", "files.example:443"}, {"https://[2001:db8::1]:443/a", "[2001:db8::1]"}}) {
        m.url = url;
        cr_assert_eq(field(range_request(m, "/a", 0, 0), "Host"), host, "%s", url);
        cr_assert_eq(field(range_request(m, "/a", 0, 0), "X-Forwarded-Proto"), std::string_view(url).substr(0, std::string_view(url).find(':')));
    }
    m.url = "http://files.example:80/a?b";
    struct Case {
        std::uint16_t status;
        List fields;
        Errc code;
    };
    const Case cases[] = {
        {206, {{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"v\""}}, Errc::ok},
        {206, {{"Content-Range", "bytes 100-199/1000"}}, Errc::ok},
        {206, {{"Content-Range", "bytes 100-199/1000"}, {"ETag", "\"w\""}}, Errc::withdrawn},
        {206, {{"Content-Range", "bytes 100-199/1001"}}, Errc::withdrawn},
        {206, {{"Content-Range", "bytes 100-198/1000"}}, Errc::withdrawn},
        {206, {{"Content-Range", "bytes 100-199/*"}}, Errc::withdrawn},
        {206, {}, Errc::withdrawn},
        {200, {}, Errc::withdrawn},
        {404, {}, Errc::withdrawn},
        {416, {}, Errc::withdrawn},
        {401, {}, Errc::withdrawn},
        {403, {}, Errc::withdrawn},
        {429, {}, Errc::io},
        {503, {}, Errc::io},
    };
    for (const Case& c : cases)
        cr_assert_eq(check_range_answer(m, answer(c.status, c.fields, 100), 100, 199).code(), c.code, "%u", c.status);
}

Test(resolve_judge, a_range_is_answered_only_where_the_origin_would_say_the_same) {
    const Validator known{"\"n\"", 0};
    const struct {
        const char *accepts, *range, *if_range;
        bool can;
    } rows[] = {
        {"bytes", nullptr, nullptr, true},      {nullptr, nullptr, nullptr, true},
        {"bytes", "bytes=0-9", nullptr, true},  {"bytes", "bytes=1000-", nullptr, false},
        {"bytes", "bytes=-0", nullptr, false},  {"bytes", "bytes=1000-", "\"other\"", true},
        {"bytes", "bytes=0-1,3-4", nullptr, false}, {"bytes", "lines=1-2", nullptr, false},
        {nullptr, "bytes=0-9", nullptr, false}, {"none", "bytes=0-9", nullptr, true},
    };
    for (std::size_t i = 0; i < std::size(rows); ++i) {
        RequestHead r = request();
        if (rows[i].range != nullptr) r.fields.add("Range", rows[i].range);
        if (rows[i].if_range != nullptr) r.fields.add("If-Range", rows[i].if_range);
        Fields said;
        if (rows[i].accepts != nullptr) said.add("Accept-Ranges", rows[i].accepts);
        cr_assert_eq(can_answer_range(r.fields, said, known, 1000), rows[i].can, "%zu", i);
    }
    cr_assert(verdict({{"Range", "bytes=9999999-"}}, std::nullopt, answer(200, {{"ETag", "\"n\""}, {"Accept-Ranges", "bytes"}})) ==
              Verdict::again);
}

Test(resolve_fields, a_304_replaces_what_it_names_and_the_old_age_goes) {
    const std::vector<HeaderField> stored{{"Age", "7"}, {"Date", "a"}, {"X-Two", "1"}, {"x-two", "2"}, {"Content-Type", "t"}};
    const std::vector<HeaderField> of_304{{"date", "b"}, {"X-Two", "3"}};
    const std::vector<HeaderField> want{{"Content-Type", "t"}, {"date", "b"}, {"X-Two", "3"}};
    cr_assert(updated_fields(stored, of_304) == want);
}

Test(resolve_encodings, our_validator_goes_only_where_the_same_encodings_led_to_the_object) {
    Encodings e;
    ObjectId a, b;
    a.bytes[0] = 1;
    const RequestHead gzip = request({{"Accept-Encoding", "gzip, br"}}), same = request({{"Accept-Encoding", "gzip"}, {"accept-encoding", "br"}});
    cr_assert(e.leads(a, request().fields) && e.leads(a, request({{"Accept-Encoding", "Identity"}}).fields));
    cr_assert_not(e.leads(a, gzip.fields));
    e.learn(a, gzip.fields);
    cr_assert(e.leads(a, gzip.fields) && e.leads(a, same.fields));
    cr_assert_not(e.leads(b, gzip.fields));
    cr_assert_not(e.leads(a, request({{"Accept-Encoding", "gzip"}}).fields));
    const RequestHead huge = request({{"Accept-Encoding", std::string(Encodings::kMaxValueBytes + 1, 'x')}});
    e.learn(a, huge.fields);
    cr_assert_not(e.leads(a, huge.fields));
    for (std::size_t i = 0; i < Encodings::kMaxPairs; ++i) e.learn(b, request({{"Accept-Encoding", std::to_string(i)}}).fields);
    cr_assert_not(e.leads(a, gzip.fields), "the oldest is forgotten");
}
