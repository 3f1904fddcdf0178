// HTTP/1.1 heads as values (RFC 9110, 9112). Order, case and repetition of fields are kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/objects.h"
#include "protocol/result.h"

namespace mssl::proxy {

// A head of 64 KiB and 128 fields: what common servers take at most, doubled.
inline constexpr std::size_t kMaxHeadBytes = 64 * 1024;
inline constexpr std::size_t kMaxFields = 128;

bool iequals(std::string_view a, std::string_view b);  // ASCII case-insensitive

class Fields {
public:
    void add(std::string name, std::string value) { list_.push_back({std::move(name), std::move(value)}); }
    void set(std::string_view name, std::string value);  // replaces all of that name, at the first one's place
    std::size_t remove(std::string_view name);           // how many
    // First value, or null.
    const std::string* find(std::string_view name) const;
    std::vector<std::string_view> all(std::string_view name) const;
    std::size_t count(std::string_view name) const;
    // All values of the name as one comma-separated list, split into trimmed non-empty elements (RFC 9110 §5.6.1).
    std::vector<std::string> list(std::string_view name) const;
    bool list_has(std::string_view name, std::string_view token) const;  // case-insensitive
    // Connection, what Connection names, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade, Trailer's hop-by-hop kin
    // (RFC 9110 §7.6.1).
    void remove_hop_by_hop();
    const std::vector<HeaderField>& items() const { return list_; }
    std::vector<HeaderField>& items() { return list_; }

private:
    std::vector<HeaderField> list_;
};

// How a message's body is framed on the wire (RFC 9112 §6.3).
enum class BodyKind : std::uint8_t { none, length, chunked, until_close };

struct RequestHead {
    std::string method;
    std::string target;      // as it came: origin-form, absolute-form, authority-form (CONNECT) or *
    std::uint8_t minor = 1;  // HTTP/1.minor
    Fields fields;
    BodyKind body = BodyKind::none;
    std::uint64_t length = 0;
    bool keep_alive = true;
    bool upgrade = false;    // asks for another protocol
    bool expect_continue = false;
};
struct ResponseHead {
    std::uint16_t status = 0;
    std::string reason;
    std::uint8_t minor = 1;
    Fields fields;
    BodyKind body = BodyKind::none;
    std::uint64_t length = 0;
    bool keep_alive = true;
};

// Start line and fields, ending in the empty line. Framing fields are written from body/length alone, whatever fields holds
// (re-serialised, never passed through): Content-Length or Transfer-Encoding: chunked; Connection: close when !keep_alive.
// keep_content_length: for answers to HEAD and 304, whose Content-Length describes a body that is not sent.
std::string serialize(const RequestHead& head);
std::string serialize(const ResponseHead& head, bool keep_content_length = false);

// "Host: a.example:8080" → lower-case host and port. default_port when it has none. malformed otherwise.
struct Authority {
    std::string host;  // lower case; IPv6 with brackets
    std::uint16_t port = 80;
    bool operator==(const Authority&) const = default;
};
Result<Authority> parse_authority(std::string_view text, std::uint16_t default_port);

enum class Scheme : std::uint8_t { http, https };
std::uint16_t default_port(Scheme scheme);  // RFC 9110 §4.2.1, §4.2.2

// What the URLs of one server begin with: with the target it names a resource.
struct UrlRoot {
    Scheme scheme = Scheme::http;
    Authority authority;
    bool operator==(const UrlRoot&) const = default;
    // "https://a.example:443" + target: the port always written, so that one resource has one name (DESIGN 3, object key).
    std::string url_of(std::string_view target) const;
    // As Host is written: "a.example", with the port where it is not the scheme's.
    std::string host_field() const;
    // As people write it: "https://a.example/path".
    std::string short_url_of(std::string_view target) const;
};

// absolute-form: http://host:port/path?query → authority and origin-form target ("/" when the path is empty).
struct AbsoluteTarget {
    std::string scheme;
    Authority authority;
    std::string target;
    UrlRoot root() const { return {scheme == "https" ? Scheme::https : Scheme::http, authority}; }
};
Result<AbsoluteTarget> parse_absolute(std::string_view target);

std::optional<std::int64_t> parse_http_date(std::string_view text);  // unix seconds; the three forms of RFC 9110 §5.6.7
std::string format_http_date(std::int64_t unix_seconds);             // IMF-fixdate

}  // namespace mssl::proxy
