#include "proxy/http/message.h"

#include <algorithm>

#include "proxy/http/syntax.h"

namespace mssl::proxy {

bool iequals(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

// ── Fields ──

void Fields::set(std::string_view name, std::string value) {
    auto same = [&](const HeaderField& f) { return iequals(f.name, name); };
    auto first = std::ranges::find_if(list_, same);
    if (first == list_.end()) {
        add(std::string(name), std::move(value));
        return;
    }
    first->value = std::move(value);
    list_.erase(std::remove_if(first + 1, list_.end(), same), list_.end());
}

std::size_t Fields::remove(std::string_view name) {
    return std::erase_if(list_, [&](const HeaderField& f) { return iequals(f.name, name); });
}

const std::string* Fields::find(std::string_view name) const {
    for (const HeaderField& f : list_) {
        if (iequals(f.name, name)) return &f.value;
    }
    return nullptr;
}

std::vector<std::string_view> Fields::all(std::string_view name) const {
    std::vector<std::string_view> out;
    for (const HeaderField& f : list_) {
        if (iequals(f.name, name)) out.emplace_back(f.value);
    }
    return out;
}

std::size_t Fields::count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(list_, [&](const HeaderField& f) { return iequals(f.name, name); }));
}

std::vector<std::string> Fields::list(std::string_view name) const {
    std::vector<std::string> out;
    for (std::string_view value : all(name)) {
        for (std::string_view element : split_list(value)) out.emplace_back(element);
    }
    return out;
}

bool Fields::list_has(std::string_view name, std::string_view token) const {
    for (std::string_view value : all(name)) {
        for (std::string_view element : split_list(value)) {
            if (iequals(element, token)) return true;
        }
    }
    return false;
}

namespace {

constexpr std::string_view kHopByHop[] = {"Connection", "Keep-Alive",        "Proxy-Connection", "TE",
                                          "Trailer",    "Transfer-Encoding", "Upgrade"};

// Fields that are end-to-end by their definition: a sender must not name them in Connection (RFC 9110 §7.6.1), and one who
// does so wants a proxy to lose what the next recipient would have acted on.
constexpr std::string_view kNeverHopByHop[] = {"Host",    "Authorization", "Cache-Control",    "Content-Encoding",
                                               "Content-Length", "Content-Range", "Content-Type", "Cookie",
                                               "Date",    "ETag",          "Last-Modified",    "Range",
                                               "Set-Cookie", "Vary"};

bool among(std::string_view name, auto& names) {
    return std::ranges::any_of(names, [&](std::string_view n) { return iequals(n, name); });
}

}  // namespace

void Fields::remove_hop_by_hop() {
    for (const std::string& named : list("Connection")) {
        if (!among(named, kNeverHopByHop)) remove(named);
    }
    for (std::string_view name : kHopByHop) remove(name);
}

// ── Serializing ──

namespace {

// What could end a line early never leaves this program, whoever put it into a value.
void append_text(std::string& out, std::string_view text) {
    for (char c : text) out.push_back(is_text(c) ? c : ' ');
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    if (!is_token(name)) return;
    out.append(name).append(": ");
    append_text(out, value);
    out.append("\r\n");
}

// Connection without close and keep-alive, which the head's keep_alive decides, and without what is no token: an open quote
// that ended with its own line would swallow the options behind it once all are in one (RFC 9110 §7.6.1: tokens alone).
std::string connection_options(const Fields& fields, bool keep_alive, std::uint8_t minor) {
    std::string out;
    auto add = [&](std::string_view option) { out.append(out.empty() ? "" : ", ").append(option); };
    for (const std::string& option : fields.list("Connection")) {
        if (is_token(option) && !iequals(option, "close") && !iequals(option, "keep-alive")) add(option);
    }
    if (!keep_alive) add("close");
    else if (minor == 0) add("keep-alive");
    return out;
}

void append_fields(std::string& out, const Fields& fields, BodyKind body, std::uint64_t length, bool keep_alive,
                   std::uint8_t minor, bool keep_content_length) {
    for (const HeaderField& f : fields.items()) {
        if (iequals(f.name, "Transfer-Encoding") || iequals(f.name, "Connection")) continue;
        if (iequals(f.name, "Content-Length") && !(keep_content_length && body == BodyKind::none)) continue;
        append_field(out, f.name, f.value);
    }
    switch (body) {
    case BodyKind::none:
    case BodyKind::until_close: break;
    case BodyKind::length: append_field(out, "Content-Length", std::to_string(length)); break;
    case BodyKind::chunked: append_field(out, "Transfer-Encoding", "chunked"); break;
    }
    const std::string options = connection_options(fields, keep_alive, minor);
    if (!options.empty()) append_field(out, "Connection", options);
    out.append("\r\n");
}

// There is no chunked before HTTP/1.1 (RFC 9112 §7.1).
std::uint8_t version_for(std::uint8_t minor, BodyKind body) { return minor == 0 && body != BodyKind::chunked ? 0 : 1; }

}  // namespace

std::string serialize(const RequestHead& head) {
    const std::uint8_t minor = version_for(head.minor, head.body);
    std::string out;
    out.reserve(512);
    append_text(out, head.method);
    out.push_back(' ');
    append_text(out, head.target);
    out.append(minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    append_fields(out, head.fields, head.body, head.length, head.keep_alive, minor, false);
    return out;
}

std::string serialize(const ResponseHead& head, bool keep_content_length) {
    const std::uint8_t minor = version_for(head.minor, head.body);
    const bool keep_alive = head.keep_alive && head.body != BodyKind::until_close;
    std::string out;
    out.reserve(512);
    out.append(minor == 0 ? "HTTP/1.0 " : "HTTP/1.1 ").append(std::to_string(head.status)).append(" ");
    append_text(out, head.reason);
    out.append("\r\n");
    append_fields(out, head.fields, head.body, head.length, keep_alive, minor, keep_content_length);
    return out;
}

// ── Targets ──

namespace {

bool is_ipv6_literal(std::string_view inner) {
    return !inner.empty() && std::ranges::all_of(inner, [](char c) { return is_hex(c) || c == ':' || c == '.'; }) &&
           inner.find(':') != std::string_view::npos;
}

// reg-name and IPv4 of RFC 3986 §3.2.2, less what no host name has: percent escapes and sub-delims only blur which host is
// meant. '_' occurs in practice.
bool is_host_name(std::string_view s) {
    return !s.empty() && s.size() <= 255 &&
           std::ranges::all_of(s, [](char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_'; });
}

}  // namespace

Result<Authority> parse_authority(std::string_view text, std::uint16_t default_port) {
    std::string_view host = text, port;
    bool has_port = false;
    if (text.starts_with('[')) {
        const std::size_t close = text.find(']');
        if (close == std::string_view::npos || !is_ipv6_literal(text.substr(1, close - 1))) {
            return fail(Errc::malformed, "address in brackets");
        }
        host = text.substr(0, close + 1);
        std::string_view rest = text.substr(close + 1);
        if (!rest.empty() && rest[0] != ':') return fail(Errc::malformed, "text after an address in brackets");
        has_port = !rest.empty();
        if (has_port) port = rest.substr(1);
    } else {
        const std::size_t colon = text.find(':');
        if (colon != std::string_view::npos) {
            host = text.substr(0, colon);
            port = text.substr(colon + 1);
            has_port = true;
        }
        if (!is_host_name(host)) return fail(Errc::malformed, "host name");
    }
    Authority out{ascii_lower(host), default_port};
    if (has_port && !port.empty()) {  // "host:" means the default port (RFC 3986 §3.2.3)
        const std::optional<std::uint64_t> number = parse_digits(port);
        if (!number || *number == 0 || *number > 65535 || port.size() > 5) return fail(Errc::malformed, "port");
        out.port = static_cast<std::uint16_t>(*number);
    }
    return out;
}

std::uint16_t default_port(Scheme scheme) {
    switch (scheme) {
    case Scheme::http: return 80;
    case Scheme::https: return 443;
    }
    return 0;
}

namespace {

std::string_view prefix_of(Scheme scheme) { return scheme == Scheme::https ? "https://" : "http://"; }

}  // namespace

std::string UrlRoot::url_of(std::string_view target) const {
    return std::string(prefix_of(scheme)) + authority.host + ":" + std::to_string(authority.port) + std::string(target);
}

std::string UrlRoot::host_field() const {
    return authority.port == default_port(scheme) ? authority.host : authority.host + ":" + std::to_string(authority.port);
}

std::string UrlRoot::short_url_of(std::string_view target) const {
    return std::string(prefix_of(scheme)) + host_field() + std::string(target);
}

Result<AbsoluteTarget> parse_absolute(std::string_view target) {
    const std::size_t colon = target.find("://");
    if (colon == std::string_view::npos) return fail(Errc::malformed, "not an absolute target");
    AbsoluteTarget out;
    out.scheme = ascii_lower(target.substr(0, colon));
    if (out.scheme != "http" && out.scheme != "https") return fail(Errc::malformed, "scheme is neither http nor https");
    std::string_view rest = target.substr(colon + 3);
    const std::size_t end = rest.find_first_of("/?#");
    const std::string_view authority = rest.substr(0, end);
    // User info in a target only serves to mislead (RFC 9110 §4.2.4): '@' is in no host name, so it is refused here.
    Result<Authority> parsed = parse_authority(authority, out.scheme == "https" ? 443 : 80);
    if (!parsed) return std::move(parsed).error();
    out.authority = std::move(parsed).value();
    std::string_view path = end == std::string_view::npos ? std::string_view{} : rest.substr(end);
    if (path.find('#') != std::string_view::npos) return fail(Errc::malformed, "fragment in a target");
    if (!path.starts_with('/')) out.target = "/";
    out.target += path;
    return out;
}

}  // namespace mssl::proxy
