#include <criterion/criterion.h>

#include "proxy/http/head_scan.h"
#include "proxy/http/parser.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

using Kind = HttpParser::Kind;

// What a parser says of a stream, as text: "head GET / | body 5 | complete | malformed".
struct Transcript {
    std::string events;
    std::string content;
    Errc error = Errc::ok;
    std::string why;
};

struct Feeder {
    HttpParser parser;
    Transcript out;
    Kind kind;
    explicit Feeder(Kind k) : parser(k), kind(k) {}

    void note(std::string_view what) { out.events.append(out.events.empty() ? "" : " ").append(what); }
    bool event(Result<HttpEvent> e) {  // more may follow?
        if (!e) {
            out.error = e.error().code;
            out.why = e.error().detail;
            note(errc_name(out.error));
            return false;
        }
        switch (*e) {
        case HttpEvent::need_more: return false;
        case HttpEvent::head:
            note(kind == Kind::request ? parser.request().method + ":" + parser.request().target
                                       : std::to_string(parser.response().status));
            return true;
        case HttpEvent::body: {
            const View b = parser.body();
            out.content.append(reinterpret_cast<const char*>(b.data()), b.size());
            return true;
        }
        case HttpEvent::complete: note("."); return true;
        case HttpEvent::upgraded: note("upgraded"); return false;
        }
        return false;
    }
    void feed(std::string_view text) {
        View in = as_view(text);
        std::size_t n = 0;
        while (out.error == Errc::ok && event(parser.feed(in, n))) in = in.subspan(n);
    }
};

Transcript whole(Kind kind, std::string_view text, bool end = false, std::string_view asked = "") {
    Feeder f(kind);
    if (!asked.empty()) f.parser.expect_response_to(asked);
    f.feed(text);
    if (end && f.out.error == Errc::ok) f.event(f.parser.end());
    return f.out;
}

Transcript bytewise(Kind kind, std::string_view text, bool end = false, std::string_view asked = "") {
    Feeder f(kind);
    if (!asked.empty()) f.parser.expect_response_to(asked);
    for (char c : text) f.feed({&c, 1});
    if (end && f.out.error == Errc::ok) f.event(f.parser.end());
    return f.out;
}

std::string_view operator""_b(const char* s, std::size_t n) { return {s, n}; }

}  // namespace

// llhttp behind it would refuse most of these too; what it refuses differs from version to version, and is not relied upon.
Test(http_parser, the_scan_alone_refuses_two_ways_to_frame) {
    const std::string begin = "POST / HTTP/1.1\r\nHost: a\r\n";
    cr_assert(scan_head(begin + "Content-Length: 4\r\n\r\n", HeadKind::request));
    for (const char* fields : {"X: a\rb\r\n", "X:\rTransfer-Encoding: chunked\r\n", "X: a\r\r\n", "X: a\n",
                               "Content-Length: 4\r\nContent-Length: 5\r\n", "Content-Length: 4\r\nContent-Length: 4\r\n",
                               "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                               "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"})
        cr_assert_eq(scan_head(begin + fields + "\r\n", HeadKind::request).code(), Errc::malformed, "%s", fields);
}

Test(http_parser, refuses_what_two_readers_could_read_in_two_ways) {
    const struct {
        std::string_view name, bytes;
    } probes[] = {
        {"TE and CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"_b},
        {"CL and TE", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"_b},
        {"two CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n"_b},
        {"same CL twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n"_b},
        {"CL list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\n"_b},
        {"CL plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n"_b},
        {"CL minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\n"_b},
        {"CL hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\n"_b},
        {"CL empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"_b},
        {"CL space inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\n"_b},
        {"CL over 63 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n"_b},
        {"CL over 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n"_b},
        {"space before colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\n"_b},
        {"tab before colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n"_b},
        {"TE gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"_b},
        {"TE chunked, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"_b},
        {"TE twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"_b},
        {"TE identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"_b},
        {"TE xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"_b},
        {"TE quoted", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"_b},
        {"TE vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b" "chunked\r\n\r\n"_b},
        {"TE empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"_b},
        {"TE on 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"_b},
        {"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"_b},
        {"obs-fold of TE", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"_b},
        {"fold at once", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"_b},
        {"bare LF", "GET / HTTP/1.1\nHost: a\n\n"_b},
        {"one bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"_b},
        {"bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n"_b},
        {"CR without LF (CVE-2023-30589)", "GET / HTTP/1.1\r\nHost: a\r\nX-Abc:\rxTransfer-Encoding: chunked\r\n\r\n"_b},
        {"CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"_b},
        {"CR X ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\rXGET /2 HTTP/1.1\r\n\r\n"_b},
        {"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"_b},
        {"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"_b},
        {"NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: ab\r\n\r\n"_b},
        {"control in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01" "b\r\n\r\n"_b},
        {"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f" "b\r\n\r\n"_b},
        {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"_b},
        {"same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"_b},
        {"no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n"_b},
        {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"_b},
        {"Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"_b},
        {"Host with user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"_b},
        {"Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"_b},
        {"user info in target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"target without slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"star without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"tab as space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"space after version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"_b},
        {"leading space", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"lone LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"0.9", "GET /\r\n\r\n"_b},
        {"0.9 with version", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"_b},
        {"1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"_b},
        {"1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"_b},
        {"01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n"_b},
        {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n"_b},
        {"2.0 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"_b},
        {"method no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"_b},
        {"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"_b},
        {"name no token", "GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n"_b},
        {"name not ASCII", "GET / HTTP/1.1\r\nHost: a\r\nX\xe4: b\r\n\r\n"_b},
        {"CONNECT with content", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\nx"_b},
        {"CONNECT to a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"CONNECT without port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"_b},
        {"TLS on the plain port", "\x16\x03\x01\x02\x00\x01"_b},
        {"chunk 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"_b},
        {"chunk plus", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n"_b},
        {"chunk minus", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"_b},
        {"chunk space", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n"_b},
        {"space after chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n"_b},
        {"chunk without size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n"_b},
        {"extension without size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n;x\r\n\r\n"_b},
        {"LF after size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"_b},
        {"LF in extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\nabc\r\n0\r\n\r\n"_b},
        {"CR in extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\rabc\r\n0\r\n\r\n"_b},
        {"LF after chunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n"_b},
        {"chunk too long", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"_b},
        {"two bytes for CRLF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n"_b},
        {"LF ends trailers", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n"_b},
        {"CR X ends trailers", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rX"_b},
        {"folded trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n"_b},
        {"trailer without name", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n: b\r\n\r\n"_b},
        {"trailer without colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n"_b},
    };
    for (const auto& p : probes) {
        const Transcript a = whole(Kind::request, p.bytes);
        cr_assert_eq(a.error, Errc::malformed, "%s: %s", p.name.data(), a.events.c_str());
        cr_assert_not(a.why.empty(), "%s", p.name.data());
        const Transcript b = bytewise(Kind::request, p.bytes);
        cr_assert_eq(b.error, Errc::malformed, "%s byte by byte: %s", p.name.data(), b.events.c_str());
        cr_assert_eq(a.why, b.why, "%s: %s / %s", p.name.data(), a.why.c_str(), b.why.c_str());
    }
}

Test(http_parser, refuses_answers_that_frame_themselves_in_two_ways) {
    const struct {
        std::string_view name, bytes;
    } probes[] = {
        {"TE and CL", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"_b},
        {"two CL", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n"_b},
        {"TE on 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"_b},
        {"TE gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"_b},
        {"obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"_b},
        {"bare LF", "HTTP/1.1 200 OK\nA: b\n\n"_b},
        {"empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n"_b},
        {"status of two digits", "HTTP/1.1 20 OK\r\n\r\n"_b},
        {"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"_b},
        {"status below 100", "HTTP/1.1 099 OK\r\n\r\n"_b},
        {"version 2", "HTTP/2.0 200 OK\r\n\r\n"_b},
        {"shoutcast", "ICY 200 OK\r\n\r\n"_b},
        {"no HTTP at all", "SSH-2.0-OpenSSH\r\n\r\n"_b},
        {"NUL", "HTTP/1.1 200 O\0K\r\n\r\n"_b},
    };
    for (const auto& p : probes) {
        cr_assert_eq(whole(Kind::response, p.bytes).error, Errc::malformed, "%s", p.name.data());
        cr_assert_eq(bytewise(Kind::response, p.bytes).error, Errc::malformed, "%s", p.name.data());
    }
}

Test(http_parser, good_streams_whole_and_byte_by_byte) {
    const struct {
        Kind kind;
        std::string_view bytes, events, content, asked;
        bool end = false;
    } rows[] = {
        {Kind::request, "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET:/a?b .", "", ""},
        {Kind::request, "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET:/ .", "", ""},
        {Kind::request, "GET / HTTP/1.0\r\n\r\n", "GET:/ .", "", ""},
        {Kind::request, "GET http://X:80/y HTTP/1.1\r\nHost: x\r\n\r\n", "GET:http://X:80/y .", "", ""},
        {Kind::request, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS:* .", "", ""},
        {Kind::request, "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", "GET:/\xc3\xa4 .", "", ""},
        {Kind::request, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST:/ .", "hello", ""},
        {Kind::request, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "POST:/ .", "", ""},
        {Kind::request, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00A;e=\"v\"\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
         "POST:/ .", "abc0123456789", ""},
        {Kind::request, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
         "GET:/1 . POST:/2 . GET:/3 .", "hi", ""},
        {Kind::request, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT:a:443 upgraded", "", ""},
        {Kind::request, "", "", "", "", true},
        {Kind::request, "GET / HT", "truncated", "", "", true},
        {Kind::request, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell", "POST:/ truncated", "hell", "", true},
        {Kind::response, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 .", "hi", "GET"},
        {Kind::response, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", "200 .", "hi", "GET"},
        {Kind::response, "HTTP/1.1 200 OK\r\n\r\nhi\r\nHTTP/1.1", "200 .", "hi\r\nHTTP/1.1", "GET", true},
        {Kind::response, "HTTP/1.1 200 OK\r\n\r\n", "200 .", "", "GET", true},
        {Kind::response, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "200 truncated", "x", "GET", true},
        {Kind::response, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", "200 . malformed", "HTTP/1.1 ", "GET"},
        {Kind::response, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", "200 . 404 .", "", "HEAD"},
        {Kind::response, "HTTP/1.1 204 N\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 N\r\nContent-Length: 0\r\n\r\n", "204 . 200 .", "", "GET"},
        {Kind::response, "HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 N\r\nContent-Length: 0\r\n\r\n", "304 . 200 .", "", "GET"},
        {Kind::response, "HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n", "304 .", "", "GET"},
        {Kind::response, "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "100 . 103 . 200 .", "x", "POST"},
        {Kind::response, "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "100 . 200 .", "", "HEAD"},
        {Kind::response, "HTTP/1.1 101 S\r\nUpgrade: w\r\nConnection: upgrade\r\n\r\n", "101 upgraded", "", "GET"},
        {Kind::response, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "200 upgraded", "", "CONNECT"},
        {Kind::response, "HTTP/1.1 407 P\r\nContent-Length: 1\r\n\r\nx", "407 .", "x", "CONNECT"},
        {Kind::response, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "200 .", "x", "GET"},
    };
    for (const auto& row : rows) {
        const Transcript a = whole(row.kind, row.bytes, row.end, row.asked);
        cr_assert_eq(a.events, row.events, "%s\n got: %s (%s)", row.bytes.data(), a.events.c_str(), a.why.c_str());
        cr_assert_eq(a.content, row.content, "%s", row.bytes.data());
        const Transcript b = bytewise(row.kind, row.bytes, row.end, row.asked);
        cr_assert_eq(b.events, row.events, "%s\n byte by byte: %s", row.bytes.data(), b.events.c_str());
        cr_assert_eq(b.content, row.content, "%s", row.bytes.data());
    }
}

Test(http_parser, the_head_says_how_the_connection_goes_on) {
    const struct {
        std::string_view fields;
        const char* version;
        bool keep_alive, upgrade, expect;
    } rows[] = {
        {"", "1.1", true, false, false},
        {"Connection: close\r\n", "1.1", false, false, false},
        {"Connection: Keep-Alive, Close\r\n", "1.1", false, false, false},
        {"", "1.0", false, false, false},
        {"Connection: keep-alive\r\n", "1.0", true, false, false},
        {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "1.1", true, true, false},
        {"Upgrade: websocket\r\n", "1.1", true, false, false},
        {"Connection: upgrade\r\nUpgrade: websocket\r\n", "1.0", false, false, false},
        {"Expect: 100-Continue\r\n", "1.1", true, false, true},
        {"Expect: 100-continue\r\n", "1.0", false, false, false},
    };
    for (const auto& row : rows) {
        Feeder f(Kind::request);
        f.feed(std::string("GET / HTTP/") + row.version + "\r\nHost: a\r\n" + std::string(row.fields) + "\r\n");
        const RequestHead& h = f.parser.request();
        cr_assert_eq(f.out.events, "GET:/ .");
        cr_assert_eq(h.keep_alive, row.keep_alive, "%s %s", row.fields.data(), row.version);
        cr_assert_eq(h.upgrade, row.upgrade, "%s %s", row.fields.data(), row.version);
        cr_assert_eq(h.expect_continue, row.expect, "%s %s", row.fields.data(), row.version);
    }
}

Test(http_parser, limits_of_the_head) {
    const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
    std::string many = start;
    for (std::size_t i = 1; i < kMaxFields; ++i) many += "X: y\r\n";
    cr_assert_eq(whole(Kind::request, many + "\r\n").events, "GET:/ .");
    cr_assert_eq(whole(Kind::request, many + "X: y\r\n\r\n").error, Errc::too_large);

    const std::size_t room = kMaxHeadBytes - start.size() - std::string("X: \r\n\r\n").size();
    cr_assert_eq(whole(Kind::request, start + "X: " + std::string(room, 'y') + "\r\n\r\n").events, "GET:/ .");
    cr_assert_eq(whole(Kind::request, start + "X: " + std::string(room + 1, 'y') + "\r\n\r\n").error, Errc::too_large);
    // Without ever an end: refused when the limit is reached, not buffered on.
    cr_assert_eq(whole(Kind::request, std::string(kMaxHeadBytes, 'G')).error, Errc::too_large);
}

Test(http_parser, limits_of_chunks) {
    const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    cr_assert_eq(whole(Kind::request, head + "fffffffffffffff\r\n").error, Errc::ok);
    cr_assert_eq(whole(Kind::request, head + "0fffffffffffffff\r\n").error, Errc::too_large);
    cr_assert_eq(whole(Kind::request, head + "1;" + std::string(16 * 1024, 'e') + "\r\n").error, Errc::ok);
    cr_assert_eq(whole(Kind::request, head + "1;" + std::string(16 * 1024 + 1, 'e')).error, Errc::too_large);
    std::string many = head;  // the bound is on all extensions of a message together
    for (int i = 0; i < 17 * 1024; ++i) many += "1;e\r\nx\r\n";
    cr_assert_eq(whole(Kind::request, many).error, Errc::too_large);
    cr_assert_eq(whole(Kind::request, head + "0\r\nA:" + std::string(16 * 1024, 't')).error, Errc::too_large);
}

Test(http_parser, nothing_comes_after_an_error) {
    Feeder f(Kind::request);
    f.feed("bad\n");
    cr_assert_eq(f.out.error, Errc::malformed);
    std::size_t n = 7;
    const Result<HttpEvent> again = f.parser.feed(as_view("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), n);
    cr_assert_eq(again.code(), Errc::malformed);
    cr_assert_eq(n, 0u);
    cr_assert_eq(f.parser.end().code(), Errc::malformed);
}

Test(http_parser, says_whether_a_message_has_begun) {
    Feeder f(Kind::request);
    cr_assert_not(f.parser.mid_message());
    f.feed("\r\n");
    cr_assert_not(f.parser.mid_message());
    f.feed("G");
    cr_assert(f.parser.mid_message());
    f.feed("ET / HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert_not(f.parser.mid_message());
    f.feed("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    cr_assert(f.parser.mid_message());
}

Test(http_parser, what_follows_an_upgrade_is_left_alone) {
    HttpParser p(Kind::request);
    const std::string text = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET\0";
    View in = as_view(text);
    std::size_t n = 0;
    cr_assert_eq(*p.feed(in, n), HttpEvent::head);
    in = in.subspan(n);
    cr_assert_eq(in.size(), 3u);
    for (int i = 0; i < 2; ++i) {
        cr_assert_eq(*p.feed(in, n), HttpEvent::upgraded);
        cr_assert_eq(n, 0u);
    }
}

Test(http_parser, serialized_heads_parse_to_themselves) {
    const char* heads[] = {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                           "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
                           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"};
    for (const char* text : heads) {
        HttpParser p(Kind::request);
        std::size_t n = 0;
        cr_assert_eq(*p.feed(as_view(text), n), HttpEvent::head);
        cr_assert_eq(serialize(p.request()), text);
    }
}

Test(http_parser, any_token_is_a_method) {
    for (const char* method : {"FROBNICATE", "GETX", "G", "get", "PRI", "DESCRIBE", "SOURCE", "PURGE", "!#$%&'*+-.^_`|~09"}) {
        const Transcript t = whole(Kind::request, std::string(method) + " /a HTTP/1.1\r\nHost: a\r\nX: b\r\nContent-Length: 2\r\n\r\nxy");
        cr_assert_eq(t.error, Errc::ok, "%s: %s", method, t.why.c_str());
        cr_assert_eq(t.content, "xy", "%s", method);
        cr_assert(t.events.find(std::string(method) + ":/a") != std::string::npos, "%s: %s", method, t.events.c_str());
    }
}

// RFC 9112 §3.2.2: the target prevails, so that a Host which differs misleads nobody.
Test(http_parser, takes_an_absolute_target_with_another_host) {
    for (const char* head : {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"})
        cr_assert_eq(whole(Kind::request, head).error, Errc::ok, "%s", head);
}
