#include <criterion/criterion.h>

#include <filesystem>

#include "protocol/interception_ca.h"
#include "proxy/core/config.h"
#include "proxy/core/config_reader.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

struct Files {
    Files() {
        dir.write("token", "secret\n");
        dir.write("garbage.pem", "no certificate\n");
        std::filesystem::create_directory(dir.path("www"));
        dir.write("open-token", "secret\n");
        std::filesystem::permissions(dir.path("open-token"), std::filesystem::perms(0644));
        std::filesystem::copy_file(dir.path("tls.key"), dir.path("open.key"));
        std::filesystem::permissions(dir.path("open.key"), std::filesystem::perms(0644));
    }
    Result<std::shared_ptr<const Config>> load(const std::string& text) const {
        return load_config(dir.write("test.toml", text));
    }
    TempDir dir;
    TestCertificate certificate{dir, "tls", "DNS:localhost"};
};

constexpr char kServer[] = "[server]\ncertificate = \"tls.pem\"\nprivate-key = \"tls.key\"\n";

}  // namespace

Test(config, a_server_needs_little) {
    const Files files;
    const auto config = files.load(kServer);
    cr_assert(config.has_value(), "%s", config.error().detail.c_str());
    const Config& c = **config;
    cr_assert(c.server && !c.client);
    cr_assert(c.server->listen == std::vector{*Address::parse("[::]:443")});
    cr_assert(c.server->certificate == files.dir.path("tls.pem"));
    cr_assert(c.server->private_key == files.dir.path("tls.key"));
    cr_assert(c.server->state == "/var/lib/mssl");
    cr_assert(c.server->enrol == "open");
    cr_assert_eq(c.server->member_days, 7U);
    cr_assert(c.server->ticket_lifetime == minutes(10));
    cr_assert_eq(c.workers, 4U);
    cr_assert(c.log_level == log::Level::info);
    cr_assert(c.drain_timeout == seconds(30));
}

Test(config, lets_a_group_read_the_servers_key) {
    const Files files;
    std::filesystem::permissions(files.dir.path("tls.key"), std::filesystem::perms(0640));
    const auto config = files.load(kServer);
    cr_assert(config.has_value(), "%s", config.error().detail.c_str());
    std::filesystem::permissions(files.dir.path("tls.key"), std::filesystem::perms(0660));
    cr_assert(!files.load(kServer).has_value(), "who may write it chooses it");
}

Test(config, takes_every_directive_of_a_server) {
    const Files files;
    const auto config = files.load(R"([server]
listen = ["192.0.2.1:443", "[2001:db8::1]:8443"]
certificate = "tls.pem"
private-key = "tls.key"
state = "state"
enrol = "token"
token-file = "token"
member-days = 30
ticket-lifetime = "5min"
spool-size = "1GiB"
[[origin]]
host = "Files.Example.org"
url = "http://127.0.0.1:8080/"
timeout = "10s"
[[origin.share]]
path = ["/pool/*", "*.iso"]
min-size = "2MiB"
access = "restricted"
exchange = "plain"
price = 0
[[origin.share]]
path = "/one"
[[origin]]
host = "other.example.org:8080"
root = "www"
[status]
listen = "127.0.0.1:9440"
[process]
threads = 2
workers = 3
buffer-memory = "64MiB"
log-level = "debug"
log-file = "log"
drain-timeout = "1min"
)");
    cr_assert(config.has_value(), "%s", config.error().detail.c_str());
    const Config& c = **config;
    const ServerConfig& s = *c.server;
    cr_assert(s.listen == (std::vector{*Address::parse("192.0.2.1:443"), *Address::parse("[2001:db8::1]:8443")}));
    cr_assert(s.state == files.dir.path("state") && s.enrol == "token" && s.token_file == files.dir.path("token"));
    cr_assert(s.member_days == 30 && s.ticket_lifetime == minutes(5) && s.spool_max == 1U << 30);
    cr_assert_eq(s.origins.size(), 2U);
    const OriginConfig& o = s.origins[0];
    cr_assert(o.host == "files.example.org" && o.port == 80 && o.url == "http://127.0.0.1:8080" && o.root.empty());
    cr_assert(o.timeout == seconds(10));
    cr_assert_eq(o.share.size(), 2U);
    cr_assert(o.share[0].paths == (std::vector<std::string>{"/pool/*", "*.iso"}));
    cr_assert(o.share[0].min_size == 2U << 20 && o.share[0].access == Access::restricted);
    cr_assert(o.share[0].exchange == Exchange::plain && o.share[0].price == 0);
    cr_assert(o.share[1].paths == std::vector<std::string>{"/one"} && o.share[1].min_size == 1U << 20);
    cr_assert(s.origins[1].host == "other.example.org" && s.origins[1].port == 8080);
    cr_assert(s.origins[1].root == files.dir.path("www") && s.origins[1].url.empty() && s.origins[1].share.empty());
    cr_assert(*c.status_listen == *Address::parse("127.0.0.1:9440"));
    cr_assert(c.threads == 2 && c.workers == 3 && c.buffer_memory == 64U << 20 && c.log_level == log::Level::debug);
    cr_assert(c.log_file == files.dir.path("log") && c.drain_timeout == minutes(1));
}

Test(config, takes_every_directive_of_a_client) {
    const Files files;
    const auto config = files.load(R"([client]
state = "/srv/state"
[[intercept]]
mode = "http-proxy"
listen = "127.0.0.1:3128"
[[intercept]]
mode = "redirect"
listen = "127.0.0.1:3129"
[peer]
listen = "[::]:4434"
upload-limit = "20Mbit"
upload = false
[store]
max-size = "5GB"
[[site]]
host = "files.example.org"
[[site]]
host = "other.example.org:8080"
server = "192.0.2.1:8443"
server-name = "server.example.org"
ca = "tls.pem"
fallback = "none"
token-file = "token"
[[site]]
host = "v6.example.org"
server = "[2001:db8::1]:443"
)");
    cr_assert(config.has_value(), "%s", config.error().detail.c_str());
    const ClientConfig& c = *(*config)->client;
    cr_assert(c.state == "/srv/state");
    cr_assert_eq(c.intercept.size(), 2U);
    cr_assert(c.intercept[0].mode == InterceptConfig::Mode::http_proxy && c.intercept[0].listen == *Address::parse("127.0.0.1:3128"));
    cr_assert(c.intercept[1].mode == InterceptConfig::Mode::redirect);
    cr_assert(*c.peer_listen == *Address::parse("[::]:4434") && c.upload_limit == 2'500'000 && !c.upload);
    cr_assert_eq(c.store_max, 5'000'000'000U);
    cr_assert_eq(c.sites.size(), 3U);
    const SiteConfig& plain = c.sites[0];
    cr_assert(plain.host == "files.example.org" && plain.port == 80 && plain.server == "files.example.org:443");
    cr_assert(plain.server_name == "files.example.org" && plain.ca.empty() && plain.fallback_origin);
    const SiteConfig& full = c.sites[1];
    cr_assert(full.host == "other.example.org" && full.port == 8080 && full.server == "192.0.2.1:8443");
    cr_assert(full.server_name == "server.example.org" && full.ca == files.dir.path("tls.pem") && !full.fallback_origin);
    cr_assert(full.enrol_token_file == files.dir.path("token"));
    cr_assert(c.sites[2].server == "[2001:db8::1]:443");
}

// ── what is wrong, and where ──

namespace {

struct Bad {
    const char* text;
    const char* where;  // line:column
    const char* says;
};

const Bad kBad[] = {
    {"", "1:1", "neither [server] nor [client]"},
    {"[client\n", "1:8", ""},
    {"[client]\nstate = \n", "2:9", ""},
    {"[clinet]\n", "1:2", "unknown key clinet in the top level, did you mean client?"},
    {"[client]\nstat = \"x\"\n", "2:1", "unknown key stat in [client], did you mean state?"},
    {"[client]\nquite-different = 1\n", "2:1", "unknown key quite-different in [client], expected one of: interception-ca, state"},
    {"client = 1\n", "1:10", "found integer 1, expected [client] to be a table"},
    {"[client]\nstate = 1\n", "2:9", "state: found integer 1, expected a string"},
    {"[client]\nstate = \"\"\n", "2:9", "expected a string that is not empty"},
    {"[client]\nstate = \"a\\nb\"\n", "2:9", "control character"},
    {"[client]\n[peer]\nupload = \"yes\"\n", "3:10", "upload: found string \"yes\", expected true or false"},
    {"[client]\n[peer]\nupload-limit = 20\n", "3:16", "found integer 20, expected a rate with a unit"},
    {"[client]\n[peer]\nupload-limit = \"20\"\n", "3:16", "expected a unit"},
    {"[client]\n[peer]\nlisten = \"4434\"\n", "3:10", "expected an IP address and port"},
    {"[client]\n[peer]\nlisten = \"localhost:4434\"\n", "3:10", "not an IP address"},
    {"[client]\n[store]\nmax-size = \"10 gigs\"\n", "3:12", "expected a unit"},
    {"[client]\n[store]\nmax-size = 1.5\n", "3:12", "found a floating-point number"},
    {"[client]\n[intercept]\nmode = \"redirect\"\n", "2:1", "found a table, expected an array of tables: write [[intercept]]"},
    {"[client]\n[[intercept]]\nmode = \"forward\"\nlisten = \"127.0.0.1:1\"\n", "2:1", "[[intercept]] needs the key to"},
    {"[client]\n[[intercept]]\nmode = \"forward\"\nlisten = \"127.0.0.1:1\"\nto = \"files.example.org\"\n", "5:6",
     "to: found \"files.example.org\", expected https://host or https://host:port without user, path or query"},
    {"[client]\n[[intercept]]\nmode = \"forward\"\nlisten = \"127.0.0.1:1\"\nto = \"https://a/simple/\"\n", "5:6", "without user, path or query"},
    {"[client]\n[[intercept]]\nmode = \"forward\"\nlisten = \"127.0.0.1:1\"\nto = \"https://u@a\"\n", "5:6", "without user, path or query"},
    {"[client]\n[[intercept]]\nmode = \"redirect\"\nlisten = \"127.0.0.1:1\"\nto = \"https://a\"\n", "5:1", "to"},
    {"[client]\n[[intercept]]\nmode = \"magic\"\n", "3:8", "found string \"magic\", expected \"http-proxy\", \"redirect\", \"tproxy\", \"socks5\" or \"forward\""},
    {"[client]\n[[intercept]]\nmode = \"redirect\"\n", "2:1", "[[intercept]] needs the key listen"},
    {"[client]\n[[site]]\nserver = \"192.0.2.1\"\n", "2:1", "[[site]] needs the key host"},
    {"[client]\n[[site]]\nhost = \"a/b\"\n", "3:8", "expected a host name"},
    {"[client]\n[[site]]\nhost = \"a:0\"\n", "3:8", "expected a host name"},
    {"[client]\n[[site]]\nhost = \"a\"\n[[site]]\nhost = \"A:80\"\n", "5:8", "a second [[site]] for a:80"},
    {"[client]\n[[site]]\nhost = \"a\"\nca = \"none.pem\"\n", "4:6", "none.pem: No such file or directory"},
    {"[client]\n[[site]]\nhost = \"a\"\nca = \"garbage.pem\"\n", "4:6", "expected PEM certificates"},
    {"[client]\n[[site]]\nhost = \"a\"\nca = \"www\"\n", "4:6", "found a directory, expected a file"},
    {"[client]\n[[site]]\nhost = \"a\"\nfallback = \"maybe\"\n", "4:12", "expected \"origin\" or \"none\""},
    {"[client]\n[[site]]\nhost = \"a\"\ntoken-file = \"open-token\"\n", "4:14", "expected mode 0600"},
    {"[[site]]\nhost = \"a\"\n", "1:1", "without [client]"},
    {"[client]\n[process]\nthreads = 65\n", "3:11", "found integer 65, expected a whole number from 0 to 64"},
    {"[client]\n[process]\nworkers = 0\n", "3:11", "from 1 to 64"},
    {"[client]\n[process]\nworkers = -1\n", "3:11", "from 1 to 64"},
    {"[client]\n[process]\nbuffer-memory = \"1MiB\"\n", "3:17", "expected at least"},
    {"[client]\n[process]\nlog-level = \"loud\"\n", "3:13", "expected \"debug\", \"info\", \"warning\" or \"error\""},
    {"[client]\n[process]\ndrain-timeout = \"2d\"\n", "3:17", "expected from"},
    {"[client]\n[status]\nlisten = []\n", "3:10", "found an array, expected a string"},
    {"[[origin]]\nhost = \"a\"\n", "1:1", "without [server]"},
    {"[server]\nprivate-key = \"tls.key\"\n", "1:1", "[server] needs the key certificate"},
    {"[server]\ncertificate = \"none.pem\"\nprivate-key = \"tls.key\"\n", "2:15", "No such file"},
    {"[server]\ncertificate = \"garbage.pem\"\nprivate-key = \"tls.key\"\n", "2:15", "garbage.pem"},
    {"[server]\ncertificate = \"tls.pem\"\nprivate-key = \"open.key\"\n", "3:15", "expected mode 0600 or 0640"},
    {"S\nenrol = \"token\"\ntoken-file = \"open-token\"\n", "6:14", "expected mode 0600 or 0640"},
    {"S\nlisten = []\n", "5:10", "expected at least one string"},
    {"S\nlisten = [\"[::]:443\", 5]\n", "5:23", "listen: found integer 5, expected a string"},
    {"S\nenrol = \"token\"\n", "1:1", "[server] needs the key token-file"},
    {"S\nmember-days = 91\n", "5:15", "from 1 to 90"},
    {"S\nticket-lifetime = \"1s\"\n", "5:19", "expected from"},
    {"S\n[[origin]]\nhost = \"a\"\n", "6:8", "needs the key url or root"},
    {"S\n[[origin]]\nhost = \"a\"\nurl = \"https://b\"\n", "7:7", "expected http://host:port"},
    {"S\n[[origin]]\nhost = \"a\"\nurl = \"http://b/path\"\n", "7:7", "without user, path or query"},
    {"S\n[[origin]]\nhost = \"a\"\nurl = \"http://u@b\"\n", "7:7", "without user, path or query"},
    {"S\n[[origin]]\nhost = \"a\"\nurl = \"http://b\"\nroot = \"www\"\n", "8:8", "found url and root, expected one"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"tls.pem\"\n", "7:8", "found a file, expected a directory"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"www\"\n[[origin.share]]\n", "8:1", "[[origin.share]] needs the key path"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"www\"\n[[origin.share]]\npath = \"pool\"\n", "9:8", "begins with / or *"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"www\"\n[[origin.share]]\npath = \"*\"\nexchange = \"purchase\"\n", "10:12",
     "exchange: \"purchase\" is not available in this version"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"www\"\n[[origin.share]]\npath = \"*\"\nexchange = \"proof-of-service\"\n", "10:12",
     "not available in this version"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"www\"\n[[origin.share]]\npath = \"*\"\nprice = 3\n", "10:9", "price: found integer 3"},
    {"S\n[[origin]]\nhost = \"a\"\nroot = \"www\"\n[[origin.share]]\npath = \"*\"\nminsize = \"1MiB\"\n", "10:1",
     "unknown key minsize in [[origin.share]], did you mean min-size?"},
};

}  // namespace

Test(config, says_where_a_file_is_wrong_what_was_found_and_what_is_expected) {
    const Files files;
    for (const Bad& bad : kBad) {
        std::string text = bad.text;
        if (text.starts_with("S\n")) text.replace(0, 1, kServer);
        const auto config = files.load(text);
        cr_expect(config.code() == Errc::config, "%s", text.c_str());
        if (config) continue;
        const std::string& detail = config.error().detail;
        const std::string where = files.dir.path("test.toml") + ":" + bad.where + ": ";
        cr_expect(detail.starts_with(where), "%s\n   gave %s\n   expected at %s", text.c_str(), detail.c_str(), bad.where);
        cr_expect(detail.find(bad.says) != std::string::npos, "%s\n   gave %s\n   expected %s", text.c_str(), detail.c_str(), bad.says);
    }
}

Test(config, a_site_is_intercepted_only_with_a_ca_that_is_for_it) {
    const Files files;
    const std::string text = "[client]\ninterception-ca = \"ca\"\n[[site]]\nhost = \"files.example.org\"\nintercept-tls = true\n";
    const std::string where = files.dir.path("test.toml") + ":5:17: intercept-tls: ";
    const auto refused = [&](const char* says) {
        const auto config = files.load(text);
        cr_assert(config.code() == Errc::config, "%s", says);
        const std::string& detail = config.error().detail;
        cr_assert(detail.starts_with(where) && detail.find(says) != std::string::npos, "%s", detail.c_str());
    };
    refused("mssl ca create");
    const auto ca_for = [&](const char* host) {
        files.dir.write("ca/ca.key", *InterceptionCa::make({host}, WallTime{1'800'000'000}, 30)->to_pem());
    };
    ca_for("other.example.org");
    refused("is not for files.example.org");
    files.dir.write("ca/ca.key", "garbage");
    refused("no private key");
    ca_for("files.example.org");
    const auto config = files.load(text);
    cr_assert(config.has_value(), "%s", config.error().detail.c_str());
    cr_assert((*config)->client->sites[0].intercept_tls && (*config)->client->interception_ca == files.dir.path("ca"));
    std::filesystem::permissions(files.dir.path("ca/ca.key"), std::filesystem::perms(0640));
    const auto open = files.load(text);
    cr_assert(open.code() == Errc::config && open.error().detail.find("expected mode 0600") != std::string::npos);
}

Test(config, says_that_a_file_is_missing) {
    const Files files;
    const auto config = load_config(files.dir.path("none.toml"));
    cr_assert(config.code() == Errc::config);
    cr_assert(config.error().detail == files.dir.path("none.toml") + ": No such file or directory");
}

Test(config, adds_the_fragments_of_conf_d_in_the_order_of_their_names) {
    const Files files;
    files.dir.write("conf.d/20-b.toml", "[[site]]\nhost = \"c\"\n[store]\nmax-size = \"3GiB\"\n");
    files.dir.write("conf.d/10-a.toml", "[[site]]\nhost = \"b\"\n[store]\nmax-size = \"2GiB\"\n[peer]\nupload = false\n");
    files.dir.write("conf.d/30-ignored.toml.old", "nonsense");
    files.dir.write("conf.d/.hidden.toml", "nonsense");
    const auto config = files.load("[client]\n[[site]]\nhost = \"a\"\n[peer]\nupload-limit = \"8bit\"\n");
    cr_assert(config.has_value(), "%s", config.error().detail.c_str());
    const ClientConfig& c = *(*config)->client;
    cr_assert(c.sites.size() == 3 && c.sites[0].host == "a" && c.sites[1].host == "b" && c.sites[2].host == "c");
    cr_assert(c.store_max == std::uint64_t{3} << 30 && !c.upload && c.upload_limit == 1);
}

Test(config, names_the_fragment_that_is_wrong) {
    const Files files;
    const std::string fragment = files.dir.write("conf.d/10-a.toml", "\n[store]\nmax-sise = \"2GiB\"\n");
    const auto config = files.load("[client]\n");
    cr_assert(config.code() == Errc::config);
    cr_assert(config.error().detail.starts_with(fragment + ":3:1: unknown key max-sise"), "%s", config.error().detail.c_str());
}

// ── units and globs ──

Test(units, sizes) {
    struct Row {
        const char* text;
        std::uint64_t bytes;
    };
    for (const Row& r : {Row{"0", 0}, Row{"1B", 1}, Row{"100kB", 100'000}, Row{"1KiB", 1024}, Row{"10MiB", 10U << 20}, Row{"1 GiB", 1U << 30},
                         Row{"2TB", 2'000'000'000'000}}) {
        const auto size = parse_size(r.text);
        cr_assert(size && *size == r.bytes, "%s", r.text);
    }
    for (const char* text : {"", "1", "-1B", "1.5MiB", "MiB", "1mib", "1MiBB", "99999999999999999999B", "18446744073709551615B", "9000000TiB", "0x1B", " 1B"})
        cr_assert_not(parse_size(text).has_value(), "%s", text);
}

Test(units, rates) {
    struct Row {
        const char* text;
        std::uint64_t bytes;
    };
    for (const Row& r : {Row{"0", 0}, Row{"8bit", 1}, Row{"1bit", 1}, Row{"20Mbit", 2'500'000}, Row{"20Mbit/s", 2'500'000}, Row{"1MiB/s", 1U << 20},
                         Row{"1kB", 1000}}) {
        const auto rate = parse_rate(r.text);
        cr_assert(rate && *rate == r.bytes, "%s", r.text);
    }
    for (const char* text : {"", "20", "20Mbps", "20 Mbit/m", "/s"}) cr_assert_not(parse_rate(text).has_value(), "%s", text);
}

Test(units, durations) {
    struct Row {
        const char* text;
        std::int64_t ms;
    };
    for (const Row& r : {Row{"0", 0}, Row{"250ms", 250}, Row{"30s", 30'000}, Row{"5min", 300'000}, Row{"1h", 3'600'000}, Row{"1d", 86'400'000}}) {
        const auto duration = parse_duration(r.text);
        cr_assert(duration && *duration == milliseconds(r.ms), "%s", r.text);
    }
    for (const char* text : {"", "30", "30 sec", "-1s", "9999999999999d"}) cr_assert_not(parse_duration(text).has_value(), "%s", text);
}

Test(glob, matches_as_people_expect) {
    struct Row {
        const char *glob, *path;
        bool matches;
    };
    for (const Row& r : {Row{"*", "", true}, Row{"*", "/a/b", true}, Row{"", "", true}, Row{"", "/", false}, Row{"/pool/*", "/pool/a/b.deb", true},
                         Row{"/pool/*", "/pool", false}, Row{"/pool/*", "/pool/", true}, Row{"*.iso", "/x/y.iso", true}, Row{"*.iso", "/x/y.iso.txt", false},
                         Row{"/a?c", "/abc", true}, Row{"/a?c", "/ac", false}, Row{"/a?c", "/a/c", true}, Row{"*a*b*c", "xxaxxbxxc", true},
                         Row{"*a*b*c", "xxaxxcxxb", false}, Row{"/A", "/a", false}, Row{"**", "/", true}, Row{"?", "", false}, Row{"/[a]", "/a", false}})
        cr_assert_eq(glob_match(r.glob, r.path), r.matches, "%s %s", r.glob, r.path);
}

// Exponential backtracking would not come back within the age of the universe.
Test(glob, takes_no_longer_for_many_stars) {
    std::string glob, path(100'000, 'a');
    for (int i = 0; i < 50; ++i) glob += "*a";
    cr_assert(glob_match(glob, path));
    cr_assert_not(glob_match(glob + "b", path));
}

Test(nearest, finds_what_was_meant_and_nothing_far_away) {
    const std::set<std::string, std::less<>> words = {"listen", "state", "certificate"};
    cr_assert(nearest("lisen", words) == "listen");
    cr_assert(nearest("certifcate", words) == "certificate");
    cr_assert(nearest("upload", words).empty());
    cr_assert(nearest("x", words).empty());
}
