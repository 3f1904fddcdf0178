#include "proxy/core/config.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

#include "protocol/interception_ca.h"
#include "proxy/core/config_reader.h"
#include "proxy/core/files.h"
#include "proxy/core/tls.h"

namespace mssl::proxy {
namespace {

using PathKind = ConfigSection::PathKind;

constexpr char kDefaultState[] = "/var/lib/mssl";
constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kHttpsPort = 443;
// A block of the largest size for each of 64 transfers.
constexpr std::uint64_t kLeastBufferMemory = 16 << 20;
constexpr Duration kDay = std::chrono::hours(24);

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

bool host_characters(std::string_view host) {
    return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
    });
}

struct HostPort {
    std::string host;  // lower case; an IPv6 address keeps its brackets
    std::uint16_t port = 0;
};

// "host", "host:port", "[2001:db8::1]:port".
std::optional<HostPort> parse_host(std::string_view text, std::uint16_t default_port) {
    HostPort out;
    out.port = default_port;
    std::string_view host = text;
    const std::size_t bracket = text.rfind(']');
    const std::size_t colon = text.rfind(':');
    if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
        unsigned port = 0;
        const std::string_view digits = text.substr(colon + 1);
        if (digits.empty() || digits.size() > 5) return std::nullopt;
        for (const char c : digits) {
            if (c < '0' || c > '9') return std::nullopt;
            port = port * 10 + static_cast<unsigned>(c - '0');
        }
        if (port == 0 || port > 65535) return std::nullopt;
        out.port = static_cast<std::uint16_t>(port);
        host = text.substr(0, colon);
    }
    out.host = lower(std::string(host));
    if (host.starts_with('[')) {
        const Result<Address> v6 = Address::parse(out.host + ":0");
        if (!v6) return std::nullopt;
        return out;
    }
    if (!host_characters(out.host)) return std::nullopt;
    return out;
}

void read_host(ConfigSection& s, std::string& host, std::uint16_t& port) {
    std::string text;
    s.require("host");
    s.string("host", text);
    if (text.empty()) return;
    const auto parsed = parse_host(text, kHttpPort);
    if (!parsed) return s.error("host", "host: found \"" + text + "\", expected a host name, or host:port");
    host = parsed->host;
    port = parsed->port;
}

// A file whose content must stay its owner's. group: its group may read it (as Debian's ssl-cert reads keys).
void check_secret(ConfigSection& s, const std::string& key, const std::string& file, bool group) {
    struct stat st {};
    if (file.empty() || stat(file.c_str(), &st) != 0) return;
    if ((st.st_mode & (S_IRWXO | S_IWGRP | (group ? 0U : unsigned{S_IRWXG}))) != 0)
        s.error(key, key + ": " + file + " is open to others, expected mode 0600" + (group ? " or 0640" : ""));
}

// ── [server], [[origin]] ──

void read_share(ConfigSection& s, OriginConfig& origin) {
    ShareRule rule;
    s.require("path");
    s.strings("path", rule.paths);
    for (const std::string& path : rule.paths)
        if (path.front() != '/' && path.front() != '*')
            s.error("path", "path: found \"" + path + "\", expected a glob that begins with / or *");
    s.size("min-size", 0, rule.min_size);
    std::size_t choice = static_cast<std::size_t>(rule.access);
    s.choice("access", {"open", "restricted"}, {}, choice);
    rule.access = choice == 0 ? Access::open : Access::restricted;
    choice = 0;
    s.choice("exchange", {"plain"}, {"proof-of-service", "purchase"}, choice);
    s.integer("price", 0, 0, rule.price);
    origin.share.push_back(std::move(rule));
}

void read_url(ConfigSection& s, OriginConfig& origin) {
    std::string url;
    s.string("url", url);
    if (url.empty()) return;
    constexpr std::string_view kScheme = "http://";
    if (!lower(url).starts_with(kScheme))
        return s.error("url", "url: found \"" + url + "\", expected http://host:port (an origin is reached without TLS)");
    std::string authority = url.substr(kScheme.size());
    if (authority.ends_with('/')) authority.pop_back();
    const auto parsed = parse_host(authority, kHttpPort);
    if (!parsed)
        return s.error("url", "url: found \"" + url + "\", expected http://host:port without user, path or query");
    origin.url = std::string(kScheme) + parsed->host + ":" + std::to_string(parsed->port);
}

void read_origin(ConfigSection& s, ServerConfig& server) {
    OriginConfig origin;
    read_host(s, origin.host, origin.port);
    read_url(s, origin);
    s.path("root", PathKind::directory, origin.root);
    if (s.has("url") && s.has("root")) s.error("root", "found url and root, expected one of them");
    if (!s.has("url") && !s.has("root")) s.error("host", "[[origin]] needs the key url or root");
    s.duration("timeout", std::chrono::milliseconds(100), kDay, origin.timeout);
    s.tables("share", "[[origin.share]]", [&](ConfigSection& share) { read_share(share, origin); });
    for (const OriginConfig& other : server.origins)
        if (other.host == origin.host && other.port == origin.port)
            s.error("host", "host: a second [[origin]] for " + origin.host + ":" + std::to_string(origin.port));
    server.origins.push_back(std::move(origin));
}

void read_server(ConfigSection& s, ConfigSection& root, FirstError& errors, Config& config) {
    if (!s.present()) {
        if (root.has("origin")) root.error("origin", "found [[origin]] without [server], expected both");
        root.table("origin");
        return;
    }
    ServerConfig server;
    server.listen = {*Address::parse("[::]:443")};
    server.state = kDefaultState;
    s.addresses("listen", server.listen);
    s.require("certificate");
    s.require("private-key");
    s.path("certificate", PathKind::file, server.certificate);
    s.path("private-key", PathKind::file, server.private_key);
    check_secret(s, "private-key", server.private_key, true);
    s.path("state", PathKind::any, server.state);
    std::size_t enrol = 0;
    s.choice("enrol", {"open", "token"}, {}, enrol);
    server.enrol = enrol == 0 ? "open" : "token";
    s.path("token-file", PathKind::file, server.token_file);
    check_secret(s, "token-file", server.token_file, true);
    if (enrol == 1) s.require("token-file");
    s.size("spool-size", 0, server.spool_max);
    std::uint64_t days = server.member_days;
    s.integer("member-days", 1, 90, days);
    server.member_days = static_cast<unsigned>(days);
    s.duration("ticket-lifetime", std::chrono::minutes(1), kDay, server.ticket_lifetime);
    s.finish();
    root.tables("origin", "[[origin]]", [&](ConfigSection& origin) { read_origin(origin, server); });
    if (!errors.failed())
        if (const Result<SslCtxPtr> ctx = make_server_context(server.certificate, server.private_key); !ctx)
            s.error("certificate", ctx.error().detail);
    config.server = std::move(server);
}

// ── [client], [[intercept]], [peer], [store], [[site]] ──

void check_ca(ConfigSection& s, const std::string& file) {
    const X509StorePtr store(X509_STORE_new());
    if (!file.empty() && (!store || X509_STORE_load_file(store.get(), file.c_str()) != 1))
        s.error("ca", openssl_error(Errc::config, "ca: " + file + ": expected PEM certificates").detail);
}

// What cannot be intercepted is an error now and not a surprise to applications.
void check_interception(ConfigSection& s, const SiteConfig& site, const std::string& directory) {
    const std::string file = directory + "/" + InterceptionCa::kKeyFile;
    const std::string help = "expected what 'mssl ca create' makes, or 'mssl ca renew' for other hosts, with " + site.host + " among them";
    Result<std::string> pem = read_text_file(file, InterceptionCa::kMaxPemBytes);
    if (!pem) return s.error("intercept-tls", "intercept-tls: " + pem.error().detail + ", " + help);
    const Result<InterceptionCa> ca = InterceptionCa::from_pem(*pem);
    OPENSSL_cleanse(pem->data(), pem->size());
    if (!ca) return s.error("intercept-tls", "intercept-tls: " + file + ": " + ca.error().detail + ", " + help);
    if (!ca->is_for(site.host)) return s.error("intercept-tls", "intercept-tls: " + file + " is not for " + site.host + ", " + help);
    check_secret(s, "intercept-tls", file, false);
}

void read_site(ConfigSection& s, ClientConfig& client) {
    SiteConfig site;
    read_host(s, site.host, site.port);
    std::string server = site.host;
    s.string("server", server);
    if (const auto parsed = parse_host(server, kHttpsPort))
        site.server = parsed->host + ":" + std::to_string(parsed->port);
    else if (!server.empty())
        s.error("server", "server: found \"" + server + "\", expected an address or name, or name:port");
    site.server_name = site.host;
    s.string("server-name", site.server_name);
    s.path("ca", PathKind::file, site.ca);
    check_ca(s, site.ca);
    std::size_t fallback = 0;
    s.choice("fallback", {"origin", "none"}, {}, fallback);
    site.fallback_origin = fallback == 0;
    s.path("token-file", PathKind::file, site.enrol_token_file);
    check_secret(s, "token-file", site.enrol_token_file, false);
    s.boolean("intercept-tls", site.intercept_tls);
    if (site.intercept_tls) check_interception(s, site, client.interception_ca);
    for (const SiteConfig& other : client.sites)
        if (other.host == site.host && other.port == site.port)
            s.error("host", "host: a second [[site]] for " + site.host + ":" + std::to_string(site.port));
    client.sites.push_back(std::move(site));
}

void read_forward(ConfigSection& s, InterceptConfig& intercept) {
    std::string to;
    s.require("to");
    s.string("to", to);
    s.path("ca", PathKind::file, intercept.ca);
    check_ca(s, intercept.ca);
    if (to.empty()) return;
    constexpr std::string_view kHttps = "https://", kHttp = "http://";
    const std::string lowered = lower(to);
    intercept.to_https = lowered.starts_with(kHttps);
    const bool url = intercept.to_https || lowered.starts_with(kHttp);
    std::string authority = url ? to.substr(intercept.to_https ? kHttps.size() : kHttp.size()) : std::string{};
    if (authority.ends_with('/')) authority.pop_back();
    const auto parsed = parse_host(authority, intercept.to_https ? kHttpsPort : kHttpPort);
    if (!url || !parsed)
        return s.error("to", "to: found \"" + to + "\", expected https://host or https://host:port without user, path or query");
    intercept.to_host = parsed->host;
    intercept.to_port = parsed->port;
}

void read_intercept(ConfigSection& s, ClientConfig& client) {
    InterceptConfig intercept;
    s.require("mode");
    s.require("listen");
    using Mode = InterceptConfig::Mode;
    constexpr std::array modes = {Mode::http_proxy, Mode::redirect, Mode::tproxy, Mode::socks5, Mode::forward};
    std::size_t mode = 0;
    s.choice("mode", {"http-proxy", "redirect", "tproxy", "socks5", "forward"}, {}, mode);
    intercept.mode = modes.at(mode);
    std::optional<Address> listen;
    s.address("listen", listen);
    if (listen) intercept.listen = *listen;
    if (intercept.mode == Mode::forward) read_forward(s, intercept);
    client.intercept.push_back(intercept);
}

void read_client(ConfigSection& s, ConfigSection& root, FirstError& errors, const std::string& directory, Config& config) {
    const TomlValue* peer_table = root.table("peer");
    const TomlValue* store_table = root.table("store");
    if (!s.present()) {
        for (const char* key : {"intercept", "peer", "store", "site"}) {
            root.table(key);
            if (root.has(key)) root.error(key, std::string("found [") + key + "] without [client], expected both");
        }
        return;
    }
    ClientConfig client;
    client.state = kDefaultState;
    s.path("state", PathKind::any, client.state);
    client.interception_ca = client.state + "/interception-ca";
    s.path("interception-ca", PathKind::any, client.interception_ca);
    s.finish();
    root.tables("intercept", "[[intercept]]", [&](ConfigSection& i) { read_intercept(i, client); });

    ConfigSection peer("[peer]", peer_table, errors, directory);
    peer.address("listen", client.peer_listen);
    peer.rate("upload-limit", client.upload_limit);
    peer.boolean("upload", client.upload);
    peer.finish();

    ConfigSection store("[store]", store_table, errors, directory);
    store.size("max-size", 0, client.store_max);
    store.finish();

    root.tables("site", "[[site]]", [&](ConfigSection& site) { read_site(site, client); });
    config.client = std::move(client);
}

void read_process(ConfigSection& s, Config& config) {
    std::uint64_t number = config.threads;
    s.integer("threads", 0, 64, number);
    config.threads = static_cast<unsigned>(number);
    number = config.workers;
    s.integer("workers", 1, 64, number);
    config.workers = static_cast<unsigned>(number);
    s.size("buffer-memory", kLeastBufferMemory, config.buffer_memory);
    std::size_t level = static_cast<std::size_t>(config.log_level);
    s.choice("log-level", {"debug", "info", "warning", "error"}, {}, level);
    config.log_level = static_cast<log::Level>(level);
    s.path("log-file", PathKind::any, config.log_file);
    s.duration("drain-timeout", Duration::zero(), kDay, config.drain_timeout);
    s.finish();
}

// ── files ──

// A later file's tables and arrays of tables add to the earlier ones'; any other key replaces the earlier.
void merge(TomlValue& into, TomlValue&& from) {
    for (TomlMember& member : from.members) {
        TomlMember* have = into.find(member.key);
        const auto is_tables = [](const TomlValue& v) {
            return v.kind == TomlValue::Kind::array && !v.items.empty() && v.items[0].kind == TomlValue::Kind::table;
        };
        if (have == nullptr) {
            into.members.push_back(std::move(member));
        } else if (have->value.kind == TomlValue::Kind::table && member.value.kind == TomlValue::Kind::table) {
            merge(have->value, std::move(member.value));
        } else if (is_tables(have->value) && is_tables(member.value)) {
            for (TomlValue& item : member.value.items) have->value.items.push_back(std::move(item));
        } else {
            *have = std::move(member);
        }
    }
}

Result<std::vector<std::string>> fragments(const std::filesystem::path& directory) {
    std::error_code ec;
    std::vector<std::string> out;
    if (!std::filesystem::exists(directory, ec)) return out;
    std::filesystem::directory_iterator it(directory, ec);
    for (; !ec && it != std::filesystem::directory_iterator(); it.increment(ec))
        if (it->path().extension() == ".toml" && !it->path().filename().string().starts_with('.'))
            out.push_back(it->path().string());
    if (ec) return fail(Errc::config, directory.string() + ": " + ec.message());
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace

Result<std::shared_ptr<const Config>> load_config(const std::string& path) {
    std::error_code ec;
    const std::filesystem::path absolute = std::filesystem::absolute(path, ec);
    if (ec) return fail(Errc::config, path + ": " + ec.message());
    const std::string directory = absolute.parent_path().string();

    Result<TomlValue> tree = parse_toml_file(path);
    if (!tree) return tree.error();
    const Result<std::vector<std::string>> more = fragments(std::filesystem::path(path).parent_path() / "conf.d");
    if (!more) return more.error();
    for (const std::string& file : *more) {
        Result<TomlValue> fragment = parse_toml_file(file);
        if (!fragment) return fragment.error();
        merge(*tree, std::move(*fragment));
    }

    FirstError errors;
    auto config = std::make_shared<Config>();
    config->path = absolute.string();
    ConfigSection root("the top level", &*tree, errors, directory);
    ConfigSection process("[process]", root.table("process"), errors, directory);
    read_process(process, *config);
    ConfigSection status("[status]", root.table("status"), errors, directory);
    status.address("listen", config->status_listen);
    status.finish();
    ConfigSection server("[server]", root.table("server"), errors, directory);
    read_server(server, root, errors, *config);
    ConfigSection client("[client]", root.table("client"), errors, directory);
    read_client(client, root, errors, directory, *config);
    root.finish();
    if (!errors.failed() && !config->server && !config->client)
        errors.set({path, 1, 1}, "found neither [server] nor [client], expected at least one");
    if (errors.failed()) return errors.get();
    return std::shared_ptr<const Config>(std::move(config));
}

}  // namespace mssl::proxy
