#include <criterion/criterion.h>

#include "proxy/http/body_writer.h"
#include "proxy/http/message.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

Fields fields(std::initializer_list<HeaderField> list) {
    Fields f;
    for (const HeaderField& h : list) f.add(h.name, h.value);
    return f;
}

}  // namespace

Test(http_message, names_compare_without_case_and_values_keep_order) {
    Fields f = fields({{"A", "1"}, {"b", "2"}, {"a", "3"}});
    cr_assert_eq(f.count("A"), 2u);
    cr_assert_eq(*f.find("B"), "2");
    cr_assert_null(f.find("c"));
    cr_assert_eq(f.all("a").size(), 2u);
    cr_assert_eq(f.all("a")[1], "3");
    f.set("A", "9");
    cr_assert_eq(f.items().size(), 2u);
    cr_assert_eq(f.items()[0].value, "9");
    f.set("new", "x");
    cr_assert_eq(f.items().back().name, "new");
    cr_assert_eq(f.remove("B"), 1u);
    cr_assert_eq(f.remove("B"), 0u);
}

Test(http_message, lists_split_at_commas_outside_quotes) {
    const Fields f = fields({{"X", " a ,, b\t"}, {"x", "\"c,d\" , \"e\\\",f\""}, {"Y", ""}});
    const std::vector<std::string> got = f.list("X");
    cr_assert_eq(got.size(), 4u);
    cr_assert_eq(got[0], "a");
    cr_assert_eq(got[1], "b");
    cr_assert_eq(got[2], "\"c,d\"");
    cr_assert_eq(got[3], "\"e\\\",f\"");
    cr_assert(f.list("Y").empty());
    cr_assert(f.list_has("x", "B"));
    cr_assert_not(f.list_has("x", "c"));
}

Test(http_message, hop_by_hop_fields_go_and_what_connection_names_but_no_end_to_end_field) {
    Fields f = fields({{"Connection", "close, X-Hop, Host, Cache-Control"},
                       {"Keep-Alive", "timeout=5"},
                       {"Proxy-Connection", "keep-alive"},
                       {"TE", "trailers"},
                       {"Trailer", "X"},
                       {"Transfer-Encoding", "chunked"},
                       {"Upgrade", "h2c"},
                       {"X-Hop", "1"},
                       {"Host", "a"},
                       {"Cache-Control", "private"},
                       {"X-End", "2"}});
    f.remove_hop_by_hop();
    cr_assert_eq(f.items().size(), 3u);
    cr_assert_eq(*f.find("Host"), "a");
    cr_assert_eq(*f.find("Cache-Control"), "private");
    cr_assert_eq(*f.find("X-End"), "2");
}

Test(http_message, serialized_framing_comes_from_the_body_alone) {
    RequestHead r;
    r.method = "POST";
    r.target = "/x?y";
    r.fields = fields({{"Host", "a"}, {"Content-Length", "99"}, {"Transfer-Encoding", "gzip"}, {"Connection", "close, X"}});
    r.body = BodyKind::length;
    r.length = 5;
    cr_assert_eq(serialize(r), "POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: X\r\n\r\n");
    r.body = BodyKind::chunked;
    r.keep_alive = false;
    r.fields.remove("Connection");
    cr_assert_eq(serialize(r), "POST /x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    r.body = BodyKind::none;
    r.keep_alive = true;
    cr_assert_eq(serialize(r), "POST /x?y HTTP/1.1\r\nHost: a\r\n\r\n");
}

Test(http_message, what_is_no_connection_option_is_not_passed_on_and_hides_none_behind_it) {
    RequestHead r;
    r.method = "GET";
    r.target = "/";
    r.minor = 0;
    r.fields = fields({{"Host", "a"}, {"Connection", "X, open \"quote"}, {"Connection", "Y, \xff"}});
    r.keep_alive = true;
    cr_assert_eq(serialize(r), "GET / HTTP/1.0\r\nHost: a\r\nConnection: X, Y, keep-alive\r\n\r\n");
}

Test(http_message, serialized_answers) {
    struct Row {
        const char* name;
        BodyKind body;
        std::uint8_t minor;
        bool keep_alive, keep_length;
        const char* expected;
    };
    const Row rows[] = {
        {"length", BodyKind::length, 1, true, false, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 7\r\n\r\n"},
        {"close", BodyKind::length, 1, false, false, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 7\r\nConnection: close\r\n\r\n"},
        {"until close", BodyKind::until_close, 1, true, false, "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"},
        {"1.0", BodyKind::length, 0, true, false, "HTTP/1.0 200 OK\r\nA: b\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n"},
        {"chunked is never 1.0", BodyKind::chunked, 0, true, false, "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"HEAD", BodyKind::none, 1, true, true, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1234\r\n\r\n"},
        {"none", BodyKind::none, 1, true, false, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"},
    };
    for (const Row& row : rows) {
        ResponseHead h;
        h.status = 200;
        h.reason = "OK";
        h.minor = row.minor;
        h.fields = fields({{"A", "b"}, {"Content-Length", "1234"}});
        h.body = row.body;
        h.length = 7;
        h.keep_alive = row.keep_alive;
        cr_assert_eq(serialize(h, row.keep_length), row.expected, "%s", row.name);
    }
}

Test(http_message, no_value_can_end_a_line_early) {
    ResponseHead h;
    h.status = 200;
    h.reason = "OK\r\nX: y";
    h.fields = fields({{"A", "b\r\nSet-Cookie: x"}, {"B ad", "c"}, {"", "d"}, {"C\r\nD", "e"}});
    cr_assert_eq(serialize(h), "HTTP/1.1 200 OK  X: y\r\nA: b  Set-Cookie: x\r\n\r\n");
}

Test(http_message, authorities) {
    struct Row {
        const char *text, *host;  // null: malformed
        unsigned port;
    };
    const Row rows[] = {
        {"A.Example", "a.example", 80},   {"a:8080", "a", 8080},         {"a:", "a", 80},
        {"[2001:DB8::1]", "[2001:db8::1]", 80}, {"[::1]:443", "[::1]", 443}, {"192.0.2.1:1", "192.0.2.1", 1},
        {"a_b", "a_b", 80},               {"a:65535", "a", 65535},
        {"", nullptr, 0},      {":80", nullptr, 0},    {"a:65536", nullptr, 0}, {"a:0", nullptr, 0},
        {"a:+1", nullptr, 0},  {"a b", nullptr, 0},    {"u@a", nullptr, 0},     {"a/b", nullptr, 0},
        {"a,b", nullptr, 0},   {"[::1", nullptr, 0},   {"[]", nullptr, 0},      {"[::1]x", nullptr, 0},
        {"a:1:2", nullptr, 0}, {"::1", nullptr, 0},    {"a%2e", nullptr, 0},    {"[1]", nullptr, 0},
        {"a:000080", nullptr, 0},
    };
    for (const Row& row : rows) {
        const Result<Authority> got = parse_authority(row.text, 80);
        cr_assert_eq(got.has_value(), row.host != nullptr, "%s", row.text);
        if (!got) continue;
        cr_assert_str_eq(got->host.c_str(), row.host);
        cr_assert_eq(got->port, row.port, "%s", row.text);
    }
}

Test(http_message, absolute_targets) {
    const Result<AbsoluteTarget> a = parse_absolute("HTTP://A.b:8080/p/q?r=s://t");
    cr_assert(a.has_value());
    cr_assert_eq(a->scheme, "http");
    cr_assert_eq(a->authority.host, "a.b");
    cr_assert_eq(a->authority.port, 8080);
    cr_assert_eq(a->target, "/p/q?r=s://t");
    cr_assert_eq(parse_absolute("https://a")->authority.port, 443);
    cr_assert_eq(parse_absolute("https://a")->target, "/");
    cr_assert_eq(parse_absolute("http://a?x")->target, "/?x");
    for (const char* bad : {"/x", "ftp://a/", "http:///x", "http://u:p@a/", "http://a/#f", "http://", "http://a b/"}) {
        cr_assert_eq(parse_absolute(bad).code(), Errc::malformed, "%s", bad);
    }
}

Test(http_message, dates_in_three_forms) {
    constexpr std::int64_t when = 784111777;
    for (const char* text : {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"}) {
        cr_assert_eq(parse_http_date(text).value_or(0), when, "%s", text);
    }
    cr_assert_eq(format_http_date(when), "Sun, 06 Nov 1994 08:49:37 GMT");
    for (std::int64_t t : {0LL, 951782400LL, 951868800LL, 4107542400LL, 253402300799LL}) {
        cr_assert_eq(parse_http_date(format_http_date(t)).value_or(-1), t);
    }
    for (const char* bad : {"", "Sun", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "Sun, 30 Feb 1994 08:49:37 GMT",
                            "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1994 08:49:37 CET",
                            "Sun Nov 06 08:49:37 94", "Foo, 06 Nov 1994 08:49:37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT"}) {
        cr_assert_not(parse_http_date(bad).has_value(), "%s", bad);
    }
}

Test(http_message, content_is_framed_as_the_head_says) {
    BodyWriter chunked(BodyKind::chunked, 0);
    cr_assert_eq(chunked.frame(0)->before, "");
    cr_assert_eq(chunked.frame(31)->before, "1f\r\n");
    cr_assert_eq(chunked.frame(31)->after, "\r\n");
    cr_assert_eq(*chunked.end(), "0\r\n\r\n");
    BodyWriter length(BodyKind::length, 5);
    cr_assert_eq(length.frame(6).code(), Errc::too_large);
    cr_assert_eq(length.frame(4)->before, "");
    cr_assert_eq(length.end().code(), Errc::truncated);
    cr_assert(length.frame(1).has_value());
    cr_assert_eq(*length.end(), "");
    BodyWriter none(BodyKind::none, 0);
    cr_assert_eq(none.frame(1).code(), Errc::unexpected);
    cr_assert_eq(*none.end(), "");
}
