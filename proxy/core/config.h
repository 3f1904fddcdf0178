// The configuration (DESIGN 12, msslproxy.toml(5)): one immutable value, validated as a whole, swapped on HUP.
//
// Every directive says here whether a reload takes it over (R) or a restart is needed (S); msslproxy.toml(5) repeats it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/objects.h"
#include "proxy/core/log.h"
#include "proxy/core/net.h"

namespace mssl::proxy {

struct ShareRule {                      // [[origin.share]], R
    std::vector<std::string> paths;     // globs on the path alone; * does match '/'
    std::uint64_t min_size = 1 << 20;
    Access access = Access::open;
    Exchange exchange = Exchange::plain;
    std::uint64_t price = 0;
};

struct OriginConfig {                   // [[origin]], R
    std::string host;                   // lower case
    std::uint16_t port = 80;            // of Host as applications ask for it
    std::string url;                    // http://host:port of the real origin; or
    std::string root;                   // a directory
    std::vector<ShareRule> share;       // first match wins; none: nothing is shared
    Duration timeout = std::chrono::seconds(30);  // connect, and between bytes: then 504
};

struct ServerConfig {
    std::vector<Address> listen;        // S
    std::string certificate;            // R (new handshakes)
    std::string private_key;            // R
    std::string state;                  // S
    std::vector<OriginConfig> origins;  // R
    std::string enrol = "open";         // R: "open" | "token"
    std::string token_file;             // R: one token a line, each good once … see msslproxy.toml(5)
    std::uint64_t spool_max = std::uint64_t{10} << 30;  // S: verified bytes kept of origins' objects
    unsigned member_days = 7;           // R
    Duration ticket_lifetime = std::chrono::minutes(10);  // R
};

struct InterceptConfig {                // [[intercept]], S
    enum class Mode : std::uint8_t { http_proxy, redirect, tproxy, socks5, forward };
    Mode mode = Mode::http_proxy;
    Address listen;
    // Of forward: the site that the port stands for.
    bool to_https = true;
    std::string to_host;                // lower case
    std::uint16_t to_port = 443;
    std::string ca;                     // PEM file, where it is no [[site]]; empty: system trust store
};

struct SiteConfig {                     // [[site]], R
    std::string host;                   // lower case
    std::uint16_t port = 80;            // port applications ask for
    std::string server;                 // "address-or-name:port"
    std::string ca;                     // PEM file; empty: system trust store
    std::string server_name;            // name in the server's certificate; default: host
    bool fallback_origin = true;
    std::string enrol_token_file;       // secret: 0600
    bool intercept_tls = false;         // its https is answered here, by a certificate of this host's own CA
};

struct ClientConfig {
    std::string state;                  // S
    std::string interception_ca;        // R: directory that `mssl ca` made
    std::vector<InterceptConfig> intercept;
    std::optional<Address> peer_listen; // S; none: connects out only
    std::uint64_t upload_limit = 0;     // R: bytes a second; 0 = none
    bool upload = true;                 // S: false = never serves
    std::uint64_t store_max = std::uint64_t{10} << 30;  // R
    std::vector<SiteConfig> sites;
};

struct Config {
    std::optional<ServerConfig> server; // at least one of both
    std::optional<ClientConfig> client;
    std::optional<Address> status_listen;  // S
    unsigned threads = 0;               // S: event loops; 0 = one a core, at most 4
    unsigned workers = 4;               // S
    std::uint64_t buffer_memory = std::uint64_t{256} << 20;  // S
    log::Level log_level = log::Level::info;  // R
    std::string log_file;               // R
    Duration drain_timeout = std::chrono::seconds(30);  // R
    std::string path;                   // the file it came from
};

// Reads the file and FILE's sibling conf.d/*.toml in name order. Relative paths are relative to the file's directory.
// Errors: config, detail "file:line:column: what was found, what is expected". Checks that files named exist and parse.
Result<std::shared_ptr<const Config>> load_config(const std::string& path);

// "20Mbit", "10MiB", "100kB" → bytes; "30s", "5min", "250ms". Units are required but for 0.
Result<std::uint64_t> parse_size(std::string_view text);
Result<std::uint64_t> parse_rate(std::string_view text);   // bytes a second
Result<Duration> parse_duration(std::string_view text);
bool glob_match(std::string_view glob, std::string_view path);  // '*' any run, '?' one character; linear time

}  // namespace mssl::proxy
