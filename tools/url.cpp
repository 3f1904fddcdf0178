#include "tools/url.h"

#include <algorithm>
#include <cctype>

namespace mssl::tools {
namespace {

constexpr std::string_view kScheme = "http://";
constexpr std::uint16_t kHttpPort = 80;
constexpr std::size_t kMaxUrlBytes = 8192;  // what a manifest takes
constexpr std::size_t kMaxHostBytes = 255;

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

bool starts_with_scheme(std::string_view text) { return lower(text.substr(0, kScheme.size())) == kScheme; }

bool good_host(std::string_view host) {
    if (host.empty() || host.size() > kMaxHostBytes) return false;
    const bool v6 = host.front() == '[';
    if (v6 != (host.back() == ']') || (v6 && host.size() < 4)) return false;
    if (v6) host = host.substr(1, host.size() - 2);
    return std::all_of(host.begin(), host.end(), [v6](unsigned char c) {
        return v6 ? std::isxdigit(c) != 0 || c == ':' || c == '.'
                  : std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
    });
}

std::optional<std::uint16_t> parse_port(std::string_view digits) {
    if (digits.empty() || digits.size() > 5) return std::nullopt;
    unsigned port = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9') return std::nullopt;
        port = port * 10 + static_cast<unsigned>(c - '0');
    }
    if (port == 0 || port > 65535) return std::nullopt;
    return static_cast<std::uint16_t>(port);
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port) {
    const std::string given(text);
    if (starts_with_scheme(text)) {
        text.remove_prefix(kScheme.size());
        if (text.ends_with('/')) text.remove_suffix(1);
    }
    Endpoint out;
    out.port = default_port;
    const std::size_t bracket = text.rfind(']');
    const std::size_t colon = text.rfind(':');
    std::string_view host = text;
    if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
        host = text.substr(0, colon);
        const auto port = parse_port(text.substr(colon + 1));
        if (!port) return fail(Errc::malformed, "'" + given + "': expected host:port");
        out.port = *port;
    }
    if (!good_host(host) || out.port == 0) return fail(Errc::malformed, "'" + given + "': expected host:port");
    out.host = lower(host);
    return out;
}

Result<Url> parse_url(std::string_view text) {
    const std::string given(text.substr(0, text.find('?')));  // what follows may be a secret
    if (text.size() > kMaxUrlBytes) return fail(Errc::too_large, "a URL of more than 8192 bytes");
    if (!starts_with_scheme(text)) {
        if (lower(text.substr(0, 8)) == "https://")
            return fail(Errc::unsupported, "'" + given + "': write http://; the way to an mSSL server is TLS all the same "
                                           "(https:// from end to end is what a proxy cannot look into)");
        return fail(Errc::unsupported, "'" + given + "': expected http://host[:port]/path");
    }
    text.remove_prefix(kScheme.size());
    text = text.substr(0, text.find('#'));
    if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= 0x20 || c >= 0x7F; }))
        return fail(Errc::malformed, "'" + given + "': a space, control character or non-ASCII byte; write it as %XX");
    const std::size_t end = text.find_first_of("/?");
    const std::string_view authority = text.substr(0, end);
    if (authority.find('@') != std::string_view::npos)
        return fail(Errc::unsupported, "a URL with user or password");
    const Result<Endpoint> at = parse_endpoint(authority, kHttpPort);
    if (!at) return at.error();
    Url out{*at, end == std::string_view::npos ? "/" : std::string(text.substr(end))};
    if (out.target.front() == '?') out.target.insert(0, "/");
    return out;
}

Result<Url> follow_location(const Url& base, std::string_view location) {
    if (location.find("://") != std::string_view::npos &&
        location.find("://") < location.find_first_of("/?#"))
        return parse_url(location);
    if (location.starts_with("//")) return parse_url("http:" + std::string(location));
    const std::string root = "http://" + base.host_field();
    if (location.starts_with('/')) return parse_url(root + std::string(location));
    const std::string_view path = base.path();
    return parse_url(root + std::string(path.substr(0, path.rfind('/') + 1)) + std::string(location));
}

std::string file_name_of(const Url& url) {
    const std::string_view path = url.path();
    std::string name(path.substr(path.rfind('/') + 1));
    while (name.starts_with('.')) name.erase(0, 1);
    return name.empty() ? "index.html" : name;
}

}  // namespace mssl::tools
