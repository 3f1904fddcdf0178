// Whose TLS ends here: the table of ClientHellos and sites.
#include <criterion/criterion.h>

#include "protocol/bytes.h"
#include "proxy/client/tls_gate.h"
#include "tests/unit/member_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::proxy::test;

namespace {

using Kind = TlsGate::Judgement::Kind;
constexpr WallTime kNow{1'800'000'000};

std::pair<std::pair<std::string, std::uint16_t>, std::shared_ptr<Site>> site(const char* host, std::uint16_t port, bool intercepted) {
    SiteConfig config;
    config.host = host;
    config.port = port;
    config.intercept_tls = intercepted;
    return {{host, port}, std::make_shared<EnrolledSite>(nullptr, config)};
}

// Sites, and a CA that is not for "denied.example".
TlsGate gate(bool with_ca = true) {
    auto table = std::make_shared<SiteTable>();
    SiteTable::Map sites = {site("files.example.org", 80, true), site("plain.example", 80, false), site("odd.example", 8443, true),
                            site("denied.example", 80, true)};
    table->replace(std::move(sites),
                   with_ca ? std::make_shared<LeafCache>(std::move(*InterceptionCa::make({"files.example.org", "odd.example", "plain.example"}, kNow, 1))) : nullptr);
    return TlsGate(table);
}

Bytes hello(std::string_view name, std::initializer_list<std::string_view> alpn = {}) {
    Writer extensions;
    if (!name.empty()) {
        Writer entry, list;
        entry.u8(0);
        entry.string16(name);
        list.var16(entry.view());
        extensions.u16(0);
        extensions.var16(list.view());
    }
    if (alpn.size() != 0) {
        Writer names, list;
        for (const std::string_view a : alpn) names.var8(View(reinterpret_cast<const std::uint8_t*>(a.data()), a.size()));
        list.var16(names.view());
        extensions.u16(16);
        extensions.var16(list.view());
    }
    Writer body, message, record;
    body.u16(0x0303);
    body.raw(Bytes(32));
    body.u8(0);
    body.var16(Bytes{0x13, 1});
    body.var8(Bytes{0});
    body.var16(extensions.view());
    message.u8(1);
    message.var24(body.view());
    record.u8(22);
    record.u16(0x0301);
    record.var16(message.view());
    return record.take();
}

}  // namespace

Test(tls_gate, ends_tls_for_the_sites_that_say_so_and_for_no_other) {
    const struct {
        const char* what;
        Bytes first;
        std::uint16_t port;
        Kind kind;
    } rows[] = {
        {"the site", hello("files.example.org"), 443, Kind::terminate},
        {"with HTTP/1.1 among its protocols", hello("FILES.example.org", {"h2", "http/1.1"}), 443, Kind::terminate},
        {"a site with a port of its own", hello("odd.example"), 8443, Kind::terminate},
        {"at another port", hello("files.example.org"), 8443, Kind::pass},
        {"at the port that it is not written with", hello("odd.example"), 443, Kind::pass},
        {"a site that does not say so", hello("plain.example"), 443, Kind::pass},
        {"another name", hello("example.org"), 443, Kind::pass},
        {"a name below it", hello("x.files.example.org"), 443, Kind::pass},
        {"no name", hello(""), 443, Kind::pass},
        {"a site that the CA may not vouch for", hello("denied.example"), 443, Kind::pass},
        {"HTTP/2 alone", hello("files.example.org", {"h2"}), 443, Kind::pass},
        {"a member of ours", hello("files.example.org", {"mssl/1"}), 443, Kind::pass},
        {"no TLS", {'G', 'E', 'T', ' '}, 443, Kind::plain},
        {"TLS that makes no sense", {22, 3, 1, 0, 4, 2, 0, 0, 0}, 443, Kind::pass},
        {"half of one", {22, 3, 1}, 443, Kind::undecided},
        {"nothing", {}, 443, Kind::undecided},
    };
    const TlsGate g = gate();
    for (const auto& row : rows) {
        const TlsGate::Judgement j = g.judge(row.first, false, row.port, kNow);
        cr_assert(j.kind == row.kind, "%s", row.what);
        cr_assert_eq(j.context != nullptr, row.kind == Kind::terminate, "%s", row.what);
        cr_assert_eq(j.site != nullptr, row.kind == Kind::terminate, "%s", row.what);
    }
    cr_assert(gate(false).judge(hello("files.example.org"), false, 443, kNow).kind == Kind::pass, "without a CA");
    cr_assert(g.judge(hello("files.example.org"), false, 443, WallTime{kNow.unix_seconds + 86400}).kind == Kind::pass, "with one that has expired");
}

Test(tls_gate, decides_when_nothing_more_will_come) {
    const TlsGate g = gate();
    cr_assert(g.judge({}, true, 443, kNow).kind == Kind::plain);
    cr_assert(g.judge(Bytes{22, 3, 1}, true, 443, kNow).kind == Kind::pass);
    cr_assert(g.judge(hello("files.example.org"), true, 443, kNow).kind == Kind::pass, "who ended has gone");
}

Test(tls_gate, looks_into_tunnels_that_may_lead_to_a_site) {
    const struct {
        const char* to;
        bool looks;
    } rows[] = {{"files.example.org:443", true}, {"files.example.org:8443", false}, {"odd.example:8443", true}, {"odd.example:443", false},
                {"plain.example:443", false},    {"other.example:443", false},      {"192.0.2.1:443", true},    {"[2001:db8::1]:443", true},
                {"192.0.2.1:8443", false}};
    const TlsGate g = gate();
    for (const auto& row : rows) cr_assert_eq(g.may_be_intercepted(Destination(*parse_authority(row.to, 0))), row.looks, "%s", row.to);
    for (const auto& row : rows) cr_assert_not(gate(false).may_be_intercepted(Destination(*parse_authority(row.to, 0))), "%s", row.to);
}
