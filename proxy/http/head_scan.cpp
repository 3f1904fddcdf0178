#include "proxy/http/head_scan.h"

#include "proxy/http/syntax.h"

namespace mssl::proxy {

std::optional<std::string_view> forbidden_in_head(char prev, char c) {
    if (c == '\n') return prev == '\r' ? std::nullopt : std::optional<std::string_view>("LF without CR");
    if (prev == '\r') return "CR without LF";
    if (c == '\r' || is_text(c)) return std::nullopt;
    return c == '\0' ? "NUL in a head" : "control character in a head";
}

namespace {

Error malformed(std::string why) { return fail(Errc::malformed, std::move(why)); }

bool is_version(std::string_view s) { return s == "HTTP/1.1" || s == "HTTP/1.0"; }

// No DEL, no space, no control; bytes over 0x7f pass, browsers send them.
bool is_target(std::string_view s) {
    for (char c : s) {
        if (!is_text(c) || c == ' ' || c == '\t') return false;
    }
    return !s.empty() && s.find('#') == std::string_view::npos;
}

struct RequestLine {
    std::string_view method, target;
};

// method SP target SP version: single spaces (RFC 9112 §3 allows more; programs disagree on what they then mean).
Result<RequestLine> scan_request_line(std::string_view line, HeadFacts& facts) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return malformed("request line has not three parts");
    const RequestLine out{line.substr(0, first), line.substr(first + 1, last - first - 1)};
    const std::string_view version = line.substr(last + 1);
    if (!is_token(out.method)) return malformed("method is no token");
    if (!is_version(version)) return malformed("version is neither HTTP/1.1 nor HTTP/1.0");
    if (!is_target(out.target)) return malformed("space or fragment in the request target");
    facts.minor = version.back() == '1' ? 1 : 0;
    return out;
}

Status scan_status_line(std::string_view line, HeadFacts& facts) {
    if (line.size() < 12 || !is_version(line.substr(0, 8)) || line[8] != ' ') return malformed("status line");
    for (char c : line.substr(9, 3)) {
        if (!is_digit(c)) return malformed("status is not three digits");
    }
    if (line[9] == '0') return malformed("status below 100");
    if (line.size() > 12 && line[12] != ' ') return malformed("status is not three digits");
    facts.minor = line[7] == '1' ? 1 : 0;
    return {};
}

// What the fields say that matters to framing and routing.
struct Seen {
    std::size_t hosts = 0;
    std::string_view host;
    std::size_t encodings = 0;
};

Status scan_field(std::string_view line, HeadFacts& facts, Seen& seen) {
    if (line.front() == ' ' || line.front() == '\t') return malformed("folded field (obs-fold)");
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return malformed("field without a colon");
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    if (!name.empty() && (name.back() == ' ' || name.back() == '\t')) return malformed("white space before a colon");
    if (!is_token(name)) return malformed("field name is no token");
    if (++facts.fields > kMaxFields) return fail(Errc::too_large, "more than 128 fields");

    if (iequals(name, "Host")) {
        ++seen.hosts;
        seen.host = value;
    } else if (iequals(name, "Transfer-Encoding")) {
        ++seen.encodings;
        if (!iequals(value, "chunked")) return malformed("Transfer-Encoding other than chunked");
        facts.chunked = true;
    } else if (iequals(name, "Content-Length")) {
        if (facts.content_length) return malformed("Content-Length twice");
        facts.content_length = parse_digits(value);
        if (!facts.content_length || *facts.content_length > INT64_MAX) return malformed("Content-Length is no number");
    }
    return {};
}

Status check_framing(const HeadFacts& facts, const Seen& seen) {
    if (seen.encodings > 1) return malformed("Transfer-Encoding twice");
    if (facts.chunked && facts.minor == 0) return malformed("Transfer-Encoding on HTTP/1.0");
    if (facts.chunked && facts.content_length) return malformed("Transfer-Encoding and Content-Length");
    return {};
}

// RFC 9112 §3.2: the form of the target fits the method, and Host names one host. Not the target's, maybe: whoever acts on an
// absolute-form goes by it alone, and writes Host anew (§3.2.2).
Status check_routing(const RequestLine& line, const HeadFacts& facts, const Seen& seen) {
    if (seen.hosts > 1) return malformed("Host twice");
    if (seen.hosts == 0 && facts.minor == 1) return malformed("no Host");
    std::uint16_t port = 80;
    if (line.method == "CONNECT") {
        const std::optional<std::uint64_t> length = facts.content_length;
        if (facts.chunked || (length && *length != 0)) return malformed("CONNECT with content");
        // Without a port there is nothing to connect to (RFC 9110 §9.3.6): 0 stands for "none".
        const Result<Authority> to = parse_authority(line.target, 0);
        if (!to || to->port == 0) return malformed("CONNECT target is not host:port");
    } else if (line.target.front() != '/') {
        if (line.target == "*") {
            if (line.method != "OPTIONS") return malformed("target * without OPTIONS");
        } else {
            const Result<AbsoluteTarget> parsed = parse_absolute(line.target);
            if (!parsed) return malformed("request target: " + parsed.error().detail);
            if (parsed->scheme == "https") port = 443;
        }
    }
    if (seen.hosts == 0) return {};
    const Result<Authority> host = parse_authority(seen.host, port);
    if (!host) return malformed("Host: " + host.error().detail);
    return {};
}

}  // namespace

Result<HeadFacts> scan_head(std::string_view head, HeadKind kind) {
    char prev = '\0';
    for (char c : head) {
        if (auto why = forbidden_in_head(prev, c)) return malformed(std::string(*why));
        prev = c;
    }
    if (!head.ends_with("\r\n\r\n")) return malformed("head without its end");

    HeadFacts facts;
    Seen seen;
    RequestLine request;
    bool first = true;
    while (head.size() > 2) {  // the empty line
        const std::size_t end = head.find("\r\n");
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(end + 2);
        if (line.empty()) return malformed("empty line inside a head");
        if (!first) {
            if (Status s = scan_field(line, facts, seen); !s) return s.error();
        } else if (kind == HeadKind::request) {
            Result<RequestLine> r = scan_request_line(line, facts);
            if (!r) return r.error();
            request = *r;
        } else if (Status s = scan_status_line(line, facts); !s) {
            return s.error();
        }
        first = false;
    }
    if (first) return malformed("head without a start line");
    if (Status s = check_framing(facts, seen); !s) return s.error();
    if (kind == HeadKind::request) {
        if (Status s = check_routing(request, facts, seen); !s) return s.error();
    }
    return facts;
}

}  // namespace mssl::proxy
