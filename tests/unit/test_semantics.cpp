#include <criterion/criterion.h>

#include <cstdint>

#include "proxy/http/semantics.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

using List = std::vector<HeaderField>;

Fields fields(const List& list) {
    Fields f;
    for (const HeaderField& h : list) f.add(h.name, h.value);
    return f;
}

const char* const kModified = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr std::int64_t kModifiedUnix = 784111777;
const char* const kEarlier = "Sun, 06 Nov 1994 08:49:36 GMT";
const char* const kLater = "Sun, 06 Nov 1994 08:49:38 GMT";

RequestHead get(const List& list = {}) {
    RequestHead r;
    r.method = "GET";
    r.fields = fields(list);
    return r;
}

ResponseHead ok(const List& list = {{"ETag", "\"a\""}}) {
    ResponseHead r;
    r.status = 200;
    r.body = BodyKind::length;
    r.length = 1000;
    r.fields = fields(list);
    return r;
}

}  // namespace

Test(semantics, entity_tags) {
    const struct {
        List fields;
        int count;  // -1: wrong syntax
    } rows[] = {
        {{}, 0},
        {{{"ETag", "\"a\""}}, 1},
        {{{"ETag", "W/\"a\""}}, 1},
        {{{"ETag", "*"}}, 1},
        {{{"ETag", "\"\""}}, 1},
        {{{"ETag", " \"a\" , W/\"b,c\",\"d\\\" ,"}}, 3},
        {{{"ETag", "\"a\""}, {"etag", "\"b\""}}, 2},
        {{{"ETag", "a"}}, -1},
        {{{"ETag", "\"a"}}, -1},
        {{{"ETag", "w/\"a\""}}, -1},
        {{{"ETag", "W/ \"a\""}}, -1},
        {{{"ETag", "\"a b\""}}, -1},
        {{{"ETag", "\"a\"\"b\""}}, -1},
        {{{"ETag", "\"a\", *"}}, -1},
    };
    for (const auto& row : rows) {
        const auto got = parse_entity_tags(fields(row.fields), "ETag");
        const std::string name = row.fields.empty() ? "none" : row.fields[0].value;
        cr_assert_eq(got ? static_cast<int>(got->size()) : -1, row.count, "%s", name.c_str());
    }
    const auto tags = parse_entity_tags(fields({{"ETag", "\"a\", W/\"b\""}}), "ETag");
    cr_assert_eq((*tags)[0].tag, "\"a\"");
    cr_assert_not((*tags)[0].weak);
    cr_assert_eq((*tags)[1].tag, "\"b\"");
    cr_assert((*tags)[1].weak);
}

Test(semantics, only_strong_validators_make_objects) {
    const struct {
        const char* name;
        List fields;
        const char* etag;  // null: none
        std::int64_t modified;
    } rows[] = {
        {"strong tag", {{"ETag", "\"a\""}}, "\"a\"", 0},
        {"tag before date", {{"ETag", "\"a\""}, {"Last-Modified", kModified}, {"Date", kModified}}, "\"a\"", 0},
        {"weak tag", {{"ETag", "W/\"a\""}}, nullptr, 0},
        {"weak tag and old date", {{"ETag", "W/\"a\""}, {"Last-Modified", kModified}, {"Date", "Sun, 06 Nov 1995 08:49:37 GMT"}}, nullptr, 0},
        {"broken tag", {{"ETag", "a"}, {"Last-Modified", kModified}, {"Date", "Sun, 06 Nov 1995 08:49:37 GMT"}}, nullptr, 0},
        {"two tags", {{"ETag", "\"a\""}, {"ETag", "\"b\""}}, nullptr, 0},
        {"star", {{"ETag", "*"}}, nullptr, 0},
        {"nothing", {}, nullptr, 0},
        {"60 s old", {{"Last-Modified", kModified}, {"Date", "Sun, 06 Nov 1994 08:50:37 GMT"}}, "", kModifiedUnix},
        {"59 s old", {{"Last-Modified", kModified}, {"Date", "Sun, 06 Nov 1994 08:50:36 GMT"}}, nullptr, 0},
        {"from the future", {{"Last-Modified", kModified}, {"Date", kEarlier}}, nullptr, 0},
        {"no Date", {{"Last-Modified", kModified}}, nullptr, 0},
        {"broken date", {{"Last-Modified", "yesterday"}, {"Date", kModified}}, nullptr, 0},
        {"two dates", {{"Last-Modified", kModified}, {"Last-Modified", kModified}, {"Date", "Sun, 06 Nov 1995 08:49:37 GMT"}}, nullptr, 0},
    };
    for (const auto& row : rows) {
        const std::optional<Validator> v = strong_validator(ok(row.fields));
        cr_assert_eq(v.has_value(), row.etag != nullptr, "%s", row.name);
        if (!v) continue;
        cr_assert_eq(v->etag, row.etag, "%s", row.name);
        cr_assert_eq(v->last_modified, row.modified, "%s", row.name);
    }
}

Test(semantics, what_is_shared_and_why_not) {
    const HeaderField tag{"ETag", "\"a\""};
    const struct {
        RequestHead request;
        ResponseHead response;
        Access access;
        const char* why;  // null: shared
    } rows[] = {
        {get(), ok(), Access::open, nullptr},
        {get({{"Range", "bytes=0-1"}}), ok(), Access::open, nullptr},
        {get({{"Cookie", "a=b"}}), ok(), Access::open, nullptr},
        {get({{"Cache-Control", "no-cache"}}), ok(), Access::open, nullptr},
        {get({{"Cache-Control", "no-store"}}), ok(), Access::open, "the request says no-store"},
        {get(), ok({tag, {"Vary", "accept-encoding"}}), Access::open, nullptr},
        {get(), ok({tag, {"Vary", "Accept-Encoding, Accept"}}), Access::open, "Vary: Accept"},
        {get(), ok({tag, {"Vary", "Accept-Encoding"}, {"Vary", "Cookie"}}), Access::open, "Vary: Cookie"},
        {get(), ok({tag, {"Vary", "*"}}), Access::open, "Vary: *"},
        {get(), ok({tag, {"Content-Encoding", "gzip"}}), Access::open, "Content-Encoding"},
        {get(), ok({tag, {"Set-Cookie", "a=b"}}), Access::open, "Set-Cookie"},
        {get(), ok({tag, {"Cache-Control", "max-age=5, Private"}}), Access::open, "Cache-Control: private"},
        {get(), ok({tag, {"Cache-Control", "private=\"x, y\""}}), Access::open, "Cache-Control: private"},
        {get(), ok({tag, {"Cache-Control", "public"}, {"Cache-Control", "no-store"}}), Access::open, "Cache-Control: no-store"},
        {get(), ok({tag, {"Cache-Control", "no-cache=\"Set-Cookie\""}}), Access::restricted, "Cache-Control: no-cache"},
        {get(), ok({tag, {"Cache-Control", "x=\"private\""}}), Access::open, nullptr},
        {get({{"Authorization", "Basic x"}}), ok(), Access::open, "Authorization without leave to share (RFC 9111 3.5)"},
        {get({{"Authorization", "Basic x"}}), ok(), Access::restricted, nullptr},
        {get({{"Authorization", "Basic x"}}), ok({tag, {"Cache-Control", "public"}}), Access::open, nullptr},
        {get({{"Authorization", "Basic x"}}), ok({tag, {"Cache-Control", "must-revalidate"}}), Access::open, nullptr},
        {get({{"Authorization", "Basic x"}}), ok({tag, {"Cache-Control", "s-maxage=0"}}), Access::open, nullptr},
        {get({{"Authorization", "Basic x"}}), ok({tag, {"Cache-Control", "max-age=9"}}), Access::open, "Authorization without leave to share (RFC 9111 3.5)"},
        {get(), ok({{"ETag", "W/\"a\""}}), Access::open, "no strong validator"},
        {get(), ok({}), Access::restricted, "no strong validator"},
    };
    for (const auto& row : rows) {
        const std::optional<std::string> why = why_not_shared(row.request, row.response, row.access);
        cr_assert_eq(why.value_or("shared"), row.why ? row.why : "shared", "expected %s, got %s", row.why ? row.why : "shared",
                     why.value_or("shared").c_str());
    }
    for (const char* method : {"HEAD", "POST", "get"}) {
        RequestHead r = get();
        r.method = method;
        cr_assert_eq(*why_not_shared(r, ok(), Access::open), "method is not GET");
    }
    for (std::uint16_t status : {206, 203, 304, 404}) {
        ResponseHead r = ok();
        r.status = status;
        cr_assert_eq(*why_not_shared(get(), r, Access::open), "status is not 200");
    }
    for (BodyKind kind : {BodyKind::none, BodyKind::chunked, BodyKind::until_close}) {
        ResponseHead r = ok();
        r.body = kind;
        cr_assert_eq(*why_not_shared(get(), r, Access::open), "length is not known");
    }
    ResponseHead large = ok();
    large.length = kMaxObjectBytes;
    cr_assert_not(why_not_shared(get(), large, Access::open).has_value());
    ++large.length;
    cr_assert(why_not_shared(get(), large, Access::open).has_value());
}

Test(semantics, ranges) {
    const struct {
        const char* range;
        std::uint64_t length;
        std::uint16_t status;
        std::uint64_t first, count;
    } rows[] = {
        {"bytes=0-0", 1000, 206, 0, 1},
        {"bytes=0-", 1000, 206, 0, 1000},
        {"bytes=0-999", 1000, 206, 0, 1000},
        {"bytes=0-1000", 1000, 206, 0, 1000},
        {"bytes=999-", 1000, 206, 999, 1},
        {"bytes=999-999", 1000, 206, 999, 1},
        {"bytes=1000-", 1000, 416, 0, 0},
        {"bytes=1000-2000", 1000, 416, 0, 0},
        {"bytes=500-599", 1000, 206, 500, 100},
        {"bytes=-1", 1000, 206, 999, 1},
        {"bytes=-1000", 1000, 206, 0, 1000},
        {"bytes=-1001", 1000, 206, 0, 1000},
        {"bytes=-0", 1000, 416, 0, 0},
        {"BYTES=1-1", 1000, 206, 1, 1},
        {"bytes=0-99999999999999999999999", 1000, 206, 0, 1000},
        {"bytes=99999999999999999999999-", 1000, 416, 0, 0},
        {"bytes=-99999999999999999999999", 1000, 206, 0, 1000},
        {"bytes=000000000000000000000000001-1", 1000, 206, 1, 1},
        {"bytes=0-0", 1, 206, 0, 1},
        {"bytes=1-", 1, 416, 0, 0},
        {"bytes=0-", 0, 416, 0, 0},
        {"bytes=-5", 0, 200, 0, 0},
        {"bytes=0-1,5-6", 1000, 200, 0, 1000},
        {"bytes=0-1,", 1000, 206, 0, 2},
        {"bytes=", 1000, 200, 0, 1000},
        {"bytes=-", 1000, 200, 0, 1000},
        {"bytes=5-4", 1000, 200, 0, 1000},
        {"bytes=a-b", 1000, 200, 0, 1000},
        {"bytes=+1-2", 1000, 200, 0, 1000},
        {"bytes=1 -2", 1000, 200, 0, 1000},
        {"bytes=1--2", 1000, 200, 0, 1000},
        {"bytes 0-1", 1000, 200, 0, 1000},
        {"items=0-1", 1000, 200, 0, 1000},
        {"", 1000, 200, 0, 1000},
    };
    for (const auto& row : rows) {
        const RangeAnswer a = answer_range(fields({{"Range", row.range}}), {"\"a\"", 0}, row.length);
        cr_assert_eq(a.status, row.status, "%s of %lu: %u", row.range, row.length, a.status);
        cr_assert_eq(a.first, row.first, "%s of %lu", row.range, row.length);
        cr_assert_eq(a.count, row.count, "%s of %lu", row.range, row.length);
    }
    const RangeAnswer none = answer_range({}, {"\"a\"", 0}, 7);
    cr_assert_eq(none.status, 200);
    cr_assert_eq(none.count, 7u);
    cr_assert_eq(answer_range(fields({{"Range", "bytes=0-0"}, {"Range", "bytes=1-1"}}), {"\"a\"", 0}, 7).status, 200);
}

Test(semantics, preconditions_in_their_order) {
    const Validator tag{"\"a\"", 0};
    const Validator date{"", kModifiedUnix};
    const struct {
        const char* name;
        Validator validator;
        List fields;
        std::uint16_t status;
    } rows[] = {
        {"If-Match", tag, {{"If-Match", "\"b\", \"a\""}}, 200},
        {"If-Match other", tag, {{"If-Match", "\"b\""}}, 412},
        {"If-Match weak", tag, {{"If-Match", "W/\"a\""}}, 412},
        {"If-Match *", tag, {{"If-Match", "*"}}, 200},
        {"If-Match broken", tag, {{"If-Match", "a"}}, 412},
        {"If-Match without tag", date, {{"If-Match", "\"a\""}}, 412},
        {"If-None-Match", tag, {{"If-None-Match", "\"b\", \"a\""}}, 304},
        {"If-None-Match weak", tag, {{"If-None-Match", "W/\"a\""}}, 304},
        {"If-None-Match other", tag, {{"If-None-Match", "\"b\""}}, 200},
        {"If-None-Match *", tag, {{"If-None-Match", "*"}}, 304},
        {"If-None-Match broken", tag, {{"If-None-Match", "a"}}, 200},
        {"If-None-Match two fields", tag, {{"If-None-Match", "\"b\""}, {"If-None-Match", "\"a\""}}, 304},
        {"If-Match before If-None-Match", tag, {{"If-None-Match", "\"a\""}, {"If-Match", "\"b\""}}, 412},
        {"both match", tag, {{"If-None-Match", "\"a\""}, {"If-Match", "\"a\""}}, 304},
        {"If-Modified-Since same", date, {{"If-Modified-Since", kModified}}, 304},
        {"If-Modified-Since later", date, {{"If-Modified-Since", kLater}}, 304},
        {"If-Modified-Since earlier", date, {{"If-Modified-Since", kEarlier}}, 200},
        {"If-Modified-Since broken", date, {{"If-Modified-Since", "x"}}, 200},
        {"If-Modified-Since without date", tag, {{"If-Modified-Since", kLater}}, 200},
        {"If-None-Match hides If-Modified-Since", date, {{"If-None-Match", "\"b\""}, {"If-Modified-Since", kLater}}, 200},
        {"If-Unmodified-Since same", date, {{"If-Unmodified-Since", kModified}}, 200},
        {"If-Unmodified-Since earlier", date, {{"If-Unmodified-Since", kEarlier}}, 412},
        {"If-Match hides If-Unmodified-Since", date, {{"If-Match", "*"}, {"If-Unmodified-Since", kEarlier}}, 200},
        {"If-Unmodified-Since before If-Modified-Since", date, {{"If-Unmodified-Since", kEarlier}, {"If-Modified-Since", kLater}}, 412},
        {"a match hides Range", tag, {{"If-None-Match", "\"a\""}, {"Range", "bytes=9999-"}}, 304},
        {"a failure hides Range", tag, {{"If-Match", "\"b\""}, {"Range", "bytes=0-1"}}, 412},
        {"If-Range", tag, {{"If-Range", "\"a\""}, {"Range", "bytes=0-1"}}, 206},
        {"If-Range other", tag, {{"If-Range", "\"b\""}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range other, beyond", tag, {{"If-Range", "\"b\""}, {"Range", "bytes=9999-"}}, 200},
        {"If-Range weak", tag, {{"If-Range", "W/\"a\""}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range list", tag, {{"If-Range", "\"a\", \"b\""}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range star", tag, {{"If-Range", "*"}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range date of a tagged one", tag, {{"If-Range", kModified}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range date", date, {{"If-Range", kModified}, {"Range", "bytes=0-1"}}, 206},
        {"If-Range later date", date, {{"If-Range", kLater}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range tag of a dated one", date, {{"If-Range", "\"a\""}, {"Range", "bytes=0-1"}}, 200},
        {"If-Range without Range", tag, {{"If-Range", "\"a\""}}, 200},
    };
    for (const auto& row : rows) {
        const RangeAnswer a = answer_range(fields(row.fields), row.validator, 1000);
        cr_assert_eq(a.status, row.status, "%s: %u", row.name, a.status);
        cr_assert_eq(a.count, row.status == 200 ? 1000u : row.status == 206 ? 2u : 0u, "%s", row.name);
    }
}

Test(semantics, a_tagged_representation_has_a_date_for_if_range_too_where_that_is_strong) {
    const Validator tag{"\"a\"", 0};
    const Fields asked = fields({{"If-Range", "Sun, 06 Nov 1994 08:49:37 GMT"}, {"Range", "bytes=0-1"}});
    const auto status = [&](const char* modified, const char* date) {
        return answer_range(asked, tag, 1000, strong_date(fields({{"Last-Modified", modified}, {"Date", date}}))).status;
    };
    cr_assert_eq(status("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT"), 206);
    cr_assert_eq(status("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:36 GMT"), 200);
    cr_assert_eq(status("Sun, 06 Nov 1994 08:49:38 GMT", "Mon, 07 Nov 1994 08:50:37 GMT"), 200);
    // No date makes a precondition of a tagged one fail or hold.
    cr_assert_eq(answer_range(fields({{"If-Modified-Since", "Mon, 07 Nov 1994 00:00:00 GMT"}}), tag, 1000, 784111777).status, 200);
}

Test(semantics, a_range_alone_leaves_preconditions_to_who_decided_them) {
    const Fields asked = fields({{"If-Match", "\"b\""}, {"If-None-Match", "*"}, {"Range", "bytes=0-1"}});
    cr_assert_eq(answer_range_alone(asked, {"\"a\"", 0}, 1000).status, 206);
}

Test(semantics, one_range_in_its_plainest_form) {
    for (const char* one : {"bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=123456789012345-123456789012346"})
        cr_assert(asks_for_one_range(fields({{"Range", one}})), "%s", one);
    for (const char* other : {"bytes=0-0,2-3", "bytes=0-0,", "bytes= 0-0", "Bytes=0-0", "lines=0-0", "bytes=0-1234567890123456789", "bytes=5-4", "bytes=", "bytes=-", "bytes=a-", ""})
        cr_assert_not(asks_for_one_range(fields({{"Range", other}})), "%s", other);
    cr_assert_not(asks_for_one_range({}));
    cr_assert_not(asks_for_one_range(fields({{"Range", "bytes=0-0"}, {"Range", "bytes=0-0"}})));
}

// apt resumes by If-Range with a date, also what was published a moment ago: nginx goes on with it, Apache begins anew.
Test(semantics, a_date_of_what_is_too_young_is_the_origins_affair) {
    const std::string date = "Sun, 06 Nov 1994 08:49:37 GMT", other = "Sun, 06 Nov 1994 08:49:36 GMT";
    const std::string young = "Sun, 06 Nov 1994 08:50:36 GMT", old = "Sun, 06 Nov 1994 08:50:37 GMT";
    const struct {
        std::string if_range, now;
        Validator validator;
        bool can;
    } rows[] = {
        {date, young, {"\"a\"", 0}, false}, {date, old, {"\"a\"", 0}, true},      {other, young, {"\"a\"", 0}, true},
        {"x", young, {"\"a\"", 0}, true},   {"\"a\"", young, {"\"a\"", 0}, true}, {date, young, {"", 784111777}, true},
    };
    for (std::size_t i = 0; i < std::size(rows); ++i) {
        const Fields request = fields({{"Range", "bytes=0-9"}, {"If-Range", rows[i].if_range}});
        const Fields whole = fields({{"Accept-Ranges", "bytes"}, {"Last-Modified", date}, {"Date", rows[i].now}});
        cr_assert_eq(can_answer_range(request, whole, rows[i].validator, 1000), rows[i].can, "%zu", i);
    }
}

Test(semantics, content_ranges) {
    const Result<ContentRange> good = parse_content_range("bytes 0-499/1234");
    cr_assert(good.has_value());
    cr_assert_eq(good->first, 0u);
    cr_assert_eq(good->last, 499u);
    cr_assert_eq(good->length, 1234u);
    cr_assert(parse_content_range("Bytes 0-0/1").has_value());
    for (const char* bad : {"", "bytes", "bytes */1234", "bytes 0-499/*", "bytes 5-4/10", "bytes 0-10/10", "items 0-1/2",
                            "bytes=0-1/2", "bytes 0-1", "bytes -1/2", "bytes 0-/2", "bytes 0-1/2x", "bytes 0/1-2",
                            "bytes 0-99999999999999999999/99999999999999999999"}) {
        cr_assert_eq(parse_content_range(bad).code(), Errc::malformed, "%s", bad);
    }
}
