// What a forward port takes for its own name, and how the names of port and site become each other's.
#include <criterion/criterion.h>

#include "proxy/client/forwarded_site.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

const UrlRoot kSite{Scheme::https, {"files.example.org", 443}};

RequestHead asking(const char* method, const char* target, const char* host) {
    RequestHead r;
    r.method = method;
    r.target = target;
    if (host != nullptr) r.fields.add("Host", host);
    return r;
}

std::variant<ForwardedSite, Refusal> of(const char* host, const char* local = "127.0.0.1:8001") {
    return ForwardedSite::of(asking("GET", "/", host), kSite, *Address::parse(local));
}

std::string answered(const char* name, const char* value, const UrlRoot& site = kSite, const char* host = "127.0.0.1:8001") {
    const auto forwarded = ForwardedSite::of(asking("GET", "/", host), site, *Address::parse("127.0.0.1:8001"));
    Fields fields;
    fields.add(name, value);
    std::get<ForwardedSite>(forwarded).to_application(fields);
    return fields.items().front().value;
}

}  // namespace

Test(forwarded_site, is_asked_for_by_an_address_of_this_host_or_a_name_of_this_host_alone) {
    const struct {
        const char *host, *local;
    } good[] = {
        {"127.0.0.1:8001", "127.0.0.1:8001"}, {"127.0.0.1", "127.0.0.1:8001"},          {"127.0.0.2:8001", "127.0.0.1:8001"},
        {"localhost:8001", "127.0.0.1:8001"}, {"LocalHost:8001", "[::1]:8001"},         {"pip.localhost:8001", "127.0.0.1:8001"},
        {"[::1]:8001", "[::1]:8001"},         {"192.0.2.1:8001", "192.0.2.1:8001"},     {"localhost:9000", "127.0.0.1:8001"},
        {nullptr, "127.0.0.1:8001"},          {"[2001:db8::1]:1", "[2001:db8::1]:8001"},
    };
    for (const auto& g : good) cr_assert(std::holds_alternative<ForwardedSite>(of(g.host, g.local)), "%s", g.host ? g.host : "none");
    for (const char* bad : {"attacker.example:8001", "attacker.example", "files.example.org", "192.0.2.7:8001", "localhost.attacker.example",
                            "notlocalhost", "127.0.0.1.attacker.example", "0x7f.1", "localhost."}) {
        const auto judged = of(bad);
        const Refusal* refusal = std::get_if<Refusal>(&judged);
        cr_assert(refusal != nullptr && refusal->status == 421, "%s", bad);
        cr_assert(refusal->text.find("http://127.0.0.1:8001/") != std::string::npos, "it says how to ask: %s", refusal->text.c_str());
    }
}

Test(forwarded_site, requests_go_to_the_site_under_its_own_name) {
    const struct {
        const char *method, *target, *path;
    } rows[] = {{"GET", "/a?b", "/a?b"}, {"OPTIONS", "*", "*"}, {"GET", "http://127.0.0.1:8001/a?b", "/a?b"}};
    for (const auto& row : rows) {
        RequestHead r = asking(row.method, row.target, "127.0.0.1:8001");
        const auto site = std::get<ForwardedSite>(ForwardedSite::of(r, kSite, *Address::parse("127.0.0.1:8001")));
        const auto judged = site.judge(r);
        const Wish* w = std::get_if<Wish>(&judged);
        cr_assert(w != nullptr && w->kind == Wish::Kind::exchange, "%s", row.target);
        cr_assert(w->to == kSite);
        cr_assert_eq(w->target, row.path);
        cr_assert_eq(w->host, "files.example.org");
    }
}

Test(forwarded_site, is_no_proxy) {
    for (const auto& [method, target] : {std::pair{"CONNECT", "files.example.org:443"}, {"GET", "http://other.example/"},
                                         {"GET", "https://127.0.0.1:8001/"}, {"GET", "http://127.0.0.1:8002/"}}) {
        RequestHead r = asking(method, target, "127.0.0.1:8001");
        const auto site = std::get<ForwardedSite>(ForwardedSite::of(r, kSite, *Address::parse("127.0.0.1:8001")));
        cr_assert(std::holds_alternative<Refusal>(site.judge(r)), "%s %s", method, target);
    }
}

Test(forwarded_site, what_names_this_port_names_the_site_when_it_goes_there) {
    RequestHead r = asking("POST", "/", "localhost:8001");
    const struct {
        const char *name, *value, *wanted;
    } rows[] = {
        {"Origin", "http://localhost:8001", "https://files.example.org"},
        {"Referer", "http://localhost:8001/a?b", "https://files.example.org/a?b"},
        {"Origin", "http://other.example", "http://other.example"},
        {"Origin", "null", "null"},
        {"Referer", "http://127.0.0.1:8001/a", "http://127.0.0.1:8001/a"},
        {"X-Other", "http://localhost:8001/a", "http://localhost:8001/a"},
    };
    for (const auto& row : rows) r.fields.add(row.name, row.value);
    std::get<ForwardedSite>(ForwardedSite::of(r, kSite, *Address::parse("127.0.0.1:8001"))).to_site(r.fields);
    for (std::size_t i = 0; i < std::size(rows); ++i)
        cr_assert_eq(r.fields.items()[i + 1].value, rows[i].wanted, "%s", r.fields.items()[i + 1].value.c_str());
}

Test(forwarded_site, where_the_site_leads_to_itself_it_leads_back_here) {
    const struct {
        const char *value, *wanted;
    } rows[] = {
        {"https://files.example.org/x?y#z", "http://127.0.0.1:8001/x?y#z"},
        {"HTTPS://Files.Example.ORG:443/x", "http://127.0.0.1:8001/x"},
        {"https://files.example.org", "http://127.0.0.1:8001"},
        {"https://files.example.org?y", "http://127.0.0.1:8001?y"},
        {"//files.example.org/x", "http://127.0.0.1:8001/x"},
        // Another place, or none.
        {"/x", "/x"},
        {"x", "x"},
        {"", ""},
        {"http://files.example.org/x", "http://files.example.org/x"},
        {"https://files.example.org:8443/x", "https://files.example.org:8443/x"},
        {"https://files.example.org.attacker.example/", "https://files.example.org.attacker.example/"},
        {"https://u@files.example.org/", "https://u@files.example.org/"},
        {"//other.example/https://files.example.org/", "//other.example/https://files.example.org/"},
        {"/go?to=https://files.example.org/", "/go?to=https://files.example.org/"},
        {"/go://files.example.org/", "/go://files.example.org/"},
    };
    for (const auto& row : rows)
        for (const char* name : {"Location", "content-location"})
            cr_assert_eq(answered(name, row.value), row.wanted, "%s: %s", row.value, answered(name, row.value).c_str());
    cr_assert_eq(answered("Link", "<https://files.example.org/x>; rel=next"), "<https://files.example.org/x>; rel=next");
    cr_assert_eq(answered("Location", "https://files.example.org/x", kSite, "pip.localhost:9"), "http://pip.localhost:9/x", "the name that was used");
    const UrlRoot plain{Scheme::http, {"files.example.org", 8080}};
    cr_assert_eq(answered("Location", "http://files.example.org:8080/x", plain), "http://127.0.0.1:8001/x");
    cr_assert_eq(answered("Location", "https://files.example.org:8080/x", plain), "https://files.example.org:8080/x");
}

Test(forwarded_site, its_cookies_are_for_the_port_that_the_application_knows) {
    const struct {
        const char *value, *wanted;
    } rows[] = {
        {"a=b", "a=b"},
        {"a=b; Secure", "a=b"},
        {"a=b; Domain=files.example.org; Path=/; secure;HttpOnly", "a=b; Path=/;HttpOnly"},
        {"a=b;domain=.example.org ; Max-Age=1", "a=b; Max-Age=1"},
        {"Secure=1; Path=/", "Secure=1; Path=/"},
        {"Domain=x", "Domain=x"},
        {"a=b; SecureX; Path=/Secure", "a=b; SecureX; Path=/Secure"},
        {"a=b;", "a=b;"},
        {"", ""},
    };
    for (const auto& row : rows) cr_assert_eq(answered("Set-Cookie", row.value), row.wanted, "%s: %s", row.value, answered("Set-Cookie", row.value).c_str());
}
