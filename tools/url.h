// http:// URLs and host:port, as people type them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace mssl::tools {

struct Endpoint {
    std::string host;  // a name or an address; IPv6 in brackets
    std::uint16_t port = 0;
    bool operator==(const Endpoint&) const = default;
    std::string text() const { return host + ":" + std::to_string(port); }
};

// "host", "host:port", "[::1]:port"; also with http:// before and / behind, as $http_proxy has it. malformed otherwise,
// and without a port when default_port is 0.
Result<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port);

struct Url {
    Endpoint at;         // port 80 unless written
    std::string target;  // path?query, begins with '/'

    std::string host_field() const { return at.port == 80 ? at.host : at.text(); }
    std::string text() const { return "http://" + host_field() + target; }
    std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
};

// An absolute http:// URL without user and password; a fragment is dropped. malformed, or unsupported for https:// and
// other schemes, with a sentence for the user.
Result<Url> parse_url(std::string_view text);

// Where a Location field leads from base (RFC 3986 §5 without dot segments, which servers do not send there).
Result<Url> follow_location(const Url& base, std::string_view location);

// The last segment of the path as a name for a file here: never empty, "." or "..", never hidden by a leading dot, no
// control characters.
std::string file_name_of(const Url& url);

}  // namespace mssl::tools
