#include <criterion/criterion.h>

#include "proxy/client/forward.h"
#include "proxy/client/intercept.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

using List = std::vector<HeaderField>;

RequestHead request(const char* method, const char* target, const List& list = {}) {
    RequestHead r;
    r.method = method;
    r.target = target;
    for (const HeaderField& f : list) r.fields.add(f.name, f.value);
    return r;
}

Address at(const char* text) { return *Address::parse(text); }
Authority caught(const char* text) { return Destination(at(text)).authority; }

}  // namespace

Test(intercept, absolute_form_says_where_to_go_whatever_host_says) {
    const struct {
        const char *method, *target, *host, *path, *sent_host;
        std::uint16_t port;
    } cases[] = {
        {"GET", "http://A.example/x?y=1", "a.example", "/x?y=1", "a.example", 80},
        {"GET", "http://a.example", "a.example", "/", "a.example", 80},
        {"GET", "http://a.example?q", "a.example", "/?q", "a.example", 80},
        {"GET", "http://a.example:8080/", "a.example", "/", "a.example:8080", 8080},
        {"GET", "http://[2001:db8::1]:81/z", "[2001:db8::1]", "/z", "[2001:db8::1]:81", 81},
        {"OPTIONS", "http://a.example", "a.example", "*", "a.example", 80},
        {"OPTIONS", "http://a.example/", "a.example", "/", "a.example", 80},
    };
    for (const auto& c : cases) {
        RequestHead r = request(c.method, c.target, {{"Host", "other.example"}});
        const auto judged = judge_proxy_request(r);
        const Wish* w = std::get_if<Wish>(&judged);
        cr_assert(w != nullptr, "%s", c.target);
        cr_assert(w->kind == Wish::Kind::exchange);
        cr_assert_eq(w->to.authority.host, c.host);
        cr_assert_eq(w->to.authority.port, c.port);
        cr_assert_eq(w->target, c.path, "%s: %s", c.target, w->target.c_str());
        cr_assert_eq(w->host, c.sent_host);
    }
}

Test(intercept, what_is_no_request_to_a_proxy_is_refused) {
    const char* const targets[] = {"/x", "*", "a.example:80", "ftp://a.example/", "https://a.example/", "http:///x", "http://u@a.example/",
                                   "http://a.example:0/", "http://a.example:65536/"};
    for (const char* target : targets) {
        RequestHead r = request("GET", target);
        const auto judged = judge_proxy_request(r);
        cr_assert(std::holds_alternative<Refusal>(judged), "%s", target);
        cr_assert_eq(std::get<Refusal>(judged).status, 400);
    }
}

Test(intercept, connect_wants_host_and_port) {
    for (const char* good : {"a.example:443", "[::1]:8443", "192.0.2.1:1"}) {
        RequestHead r = request("CONNECT", good);
        const auto judged = judge_proxy_request(r);
        cr_assert(std::holds_alternative<Wish>(judged), "%s", good);
        cr_assert(std::get<Wish>(judged).kind == Wish::Kind::tunnel);
    }
    for (const char* bad : {"a.example", "a.example:", "a.example:0", "/x", "http://a.example/", ":443", ""}) {
        RequestHead r = request("CONNECT", bad);
        cr_assert(std::holds_alternative<Refusal>(judge_proxy_request(r)), "%s", bad);
    }
}

Test(intercept, max_forwards_counts_down_and_ends_here) {
    RequestHead r = request("TRACE", "http://a.example/", {{"Max-Forwards", "2"}});
    cr_assert(std::get<Wish>(judge_proxy_request(r)).kind == Wish::Kind::exchange);
    cr_assert_eq(*r.fields.find("Max-Forwards"), "1");
    r = request("OPTIONS", "http://a.example/", {{"Max-Forwards", "0"}});
    cr_assert(std::get<Wish>(judge_proxy_request(r)).kind == Wish::Kind::answer);
    r = request("OPTIONS", "http://a.example/", {{"Max-Forwards", "x"}});
    cr_assert(std::holds_alternative<Refusal>(judge_proxy_request(r)));
    // Of other methods the field says nothing (RFC 9110 §7.6.2).
    r = request("GET", "http://a.example/", {{"Max-Forwards", "0"}});
    cr_assert(std::get<Wish>(judge_proxy_request(r)).kind == Wish::Kind::exchange);
}

Test(intercept, redirected_requests_keep_their_host_and_target) {
    RequestHead r = request("GET", "/x", {{"Host", "A.example:81"}});
    const auto judged = judge_caught_request(r, caught("192.0.2.1:81"));
    const Wish& w = std::get<Wish>(judged);
    cr_assert_eq(w.to.authority.host, "a.example");
    cr_assert_eq(w.to.authority.port, 81);
    cr_assert_eq(w.target, "/x");
    cr_assert(w.host.empty());
}

Test(intercept, a_redirected_request_without_host_is_for_its_destination) {
    RequestHead r = request("GET", "/x");
    auto judged = judge_caught_request(r, caught("192.0.2.1:80"));
    cr_assert_eq(std::get<Wish>(judged).host, "192.0.2.1");
    judged = judge_caught_request(r, caught("[2001:db8::1]:81"));
    cr_assert_eq(std::get<Wish>(judged).host, "[2001:db8::1]:81");
}

Test(intercept, absolute_form_is_taken_on_a_caught_connection_and_says_what_must_lead_there) {
    RequestHead r = request("GET", "http://a.example/x", {{"Host", "b.example"}});
    const auto judged = judge_caught_request(r, caught("192.0.2.1:80"));
    const Wish& w = std::get<Wish>(judged);
    cr_assert_eq(w.to.authority.host, "a.example");
    cr_assert_eq(w.target, "/x");
    cr_assert_eq(w.host, "a.example");
}

Test(intercept, a_caught_connection_asks_for_no_tunnel) {
    RequestHead r = request("GET", "a.example:443", {{"Host", "a.example"}});
    cr_assert(std::holds_alternative<Refusal>(judge_caught_request(r, caught("192.0.2.1:80"))));
    r = request("CONNECT", "a.example:443", {{"Host", "a.example:443"}});
    cr_assert(std::holds_alternative<Refusal>(judge_caught_request(r, caught("192.0.2.1:443"))));
}

Test(intercept, a_secured_connection_is_asked_for_its_own_host) {
    const UrlRoot site{Scheme::https, {"a.example", 443}};
    const struct {
        const char *method, *target, *host;
        int status;  // 0: taken
        const char* path;
    } rows[] = {
        {"GET", "/x?y", "A.example", 0, "/x?y"},
        {"GET", "/x", "a.example:443", 0, "/x"},
        {"GET", "/x", nullptr, 0, "/x"},
        {"OPTIONS", "*", "a.example", 0, "*"},
        {"GET", "https://a.example/x", "a.example", 0, "/x"},
        {"GET", "https://a.example/x", "b.example", 0, "/x"},  // RFC 9112 §3.2.2: Host counts for nothing then
        {"GET", "/x", "b.example", 421, ""},
        {"GET", "/x", "a.example:80", 421, ""},
        {"GET", "/x", "x.a.example", 421, ""},
        {"GET", "http://a.example/x", "a.example", 421, ""},
        {"GET", "https://b.example/x", "b.example", 421, ""},
        {"GET", "/x", "a b", 400, ""},
        {"CONNECT", "a.example:443", "a.example:443", 400, ""},
    };
    for (const auto& row : rows) {
        RequestHead r = request(row.method, row.target);
        if (row.host != nullptr) r.fields.add("Host", row.host);
        const auto judged = judge_secured_request(r, site);
        if (const Refusal* refusal = std::get_if<Refusal>(&judged)) {
            cr_assert_eq(refusal->status, row.status, "%s %s: %s", row.target, row.host, refusal->text.c_str());
            continue;
        }
        const Wish& w = std::get<Wish>(judged);
        cr_assert_eq(row.status, 0, "%s %s", row.target, row.host);
        cr_assert(w.to == site);
        cr_assert_eq(w.target, row.path);
        if (row.host == nullptr || row.target[0] == 'h') cr_assert_eq(w.host, "a.example");
    }
}

Test(intercept, what_is_said_to_a_proxy_is_told_from_what_is_said_to_a_server) {
    cr_assert(is_said_to_a_proxy(request("GET", "http://a.example/")));
    cr_assert(is_said_to_a_proxy(request("CONNECT", "a.example:443")));
    cr_assert(!is_said_to_a_proxy(request("GET", "/")));
    cr_assert(!is_said_to_a_proxy(request("OPTIONS", "*")));
}

Test(intercept, a_destination_is_an_address_also_when_it_came_as_text) {
    cr_assert(Destination(Authority{"192.0.2.1", 80}).address == at("192.0.2.1:80"));
    cr_assert(Destination(Authority{"[2001:db8::1]", 81}).address == at("[2001:db8::1]:81"));
    cr_assert(!Destination(Authority{"a.example", 80}).address);
    cr_assert(Destination(at("[2001:db8::1]:81")).authority == (Authority{"[2001:db8::1]", 81}));
}

Test(intercept, a_host_leads_to_the_destination_only_by_address_and_port) {
    const std::vector<Address> resolved = {at("192.0.2.1:80"), at("[2001:db8::1]:80")};
    cr_assert(leads_to(resolved, at("192.0.2.1:80")));
    cr_assert(leads_to(resolved, at("[::ffff:192.0.2.1]:80")));
    cr_assert(leads_to(resolved, at("[2001:db8::1]:80")));
    cr_assert_not(leads_to(resolved, at("192.0.2.2:80")));
    cr_assert_not(leads_to(resolved, at("192.0.2.1:81")));
    cr_assert_not(leads_to({}, at("192.0.2.1:80")));
}

Test(intercept, own_sockets_are_known_as_often_as_they_are_added) {
    OwnSockets own;
    own.add(at("192.0.2.1:1000"));
    own.add(at("192.0.2.1:1000"));
    own.remove(at("192.0.2.1:1000"));
    cr_assert(own.contains(at("192.0.2.1:1000")));
    own.remove(at("192.0.2.1:1000"));
    cr_assert_not(own.contains(at("192.0.2.1:1000")));
    own.remove(at("192.0.2.1:1000"));
}

Test(forward, requests_lose_what_is_between_the_application_and_us) {
    RequestHead r = request("GET", "http://a.example/x", {{"Host", "wrong"}, {"Connection", "close, X-Mine"}, {"X-Mine", "1"}, {"TE", "trailers"},
                                                         {"Proxy-Authorization", "Basic eDp5"}, {"Proxy-Connection", "keep-alive"},
                                                         {"mssl-resolve", "v=1"}, {"Range", "bytes=0-1"}, {"X-Kept", "1"}, {"x-kept", "2"}});
    const RequestHead out = forward_request(r, "/x", "a.example", true);
    cr_assert_eq(out.target, "/x");
    const List wanted = {{"Host", "a.example"}, {"Range", "bytes=0-1"}, {"X-Kept", "1"}, {"x-kept", "2"}, {"Via", "1.1 msslproxy"}};
    cr_assert_eq(out.fields.items().size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        cr_assert_eq(out.fields.items()[i].name, wanted[i].name);
        cr_assert_eq(out.fields.items()[i].value, wanted[i].value);
    }
    cr_assert(out.keep_alive);
}

Test(forward, host_is_added_where_there_is_none_and_via_only_where_a_proxy_is_known) {
    RequestHead r = request("GET", "/x", {{"Accept", "*/*"}});
    r.minor = 0;
    const RequestHead out = forward_request(r, "/x", "a.example:81", false);
    cr_assert_eq(out.fields.items().front().name, "Host");
    cr_assert_eq(out.minor, 1);
    cr_assert_eq(out.fields.count("Via"), 0);
    cr_assert_eq(*forward_request(r, "/x", "", true).fields.find("Via"), "1.0 msslproxy");
}

Test(forward, upgrade_is_passed_on_where_it_was_asked_for) {
    RequestHead r = request("GET", "/x", {{"Connection", "keep-alive, Upgrade"}, {"Upgrade", "websocket"}});
    cr_assert_eq(forward_request(r, "/x", "", false).fields.count("Upgrade"), 0);
    r.upgrade = true;
    const RequestHead out = forward_request(r, "/x", "", false);
    cr_assert_eq(*out.fields.find("Upgrade"), "websocket");
    cr_assert_eq(*out.fields.find("Connection"), "Upgrade");
}

Test(forward, answers_lose_what_is_between_the_origin_and_us) {
    ResponseHead h;
    h.status = 200;
    h.minor = 0;
    for (const HeaderField& f : List{{"Connection", "X-Hop"}, {"X-Hop", "1"}, {"MSSL-Evil", "1"}, {"Keep-Alive", "timeout=5"}, {"Upgrade", "h2c"}, {"ETag", "\"a\""}})
        h.fields.add(f.name, f.value);
    const ResponseHead out = forward_response(h, true);
    cr_assert_eq(out.fields.items().size(), 2);
    cr_assert_eq(*out.fields.find("ETag"), "\"a\"");
    cr_assert_eq(*out.fields.find("Via"), "1.0 msslproxy");
    h.status = 101;
    cr_assert_eq(*forward_response(h, false).fields.find("Upgrade"), "h2c");
}

Test(forward, logged_urls_have_no_query) {
    cr_assert_eq(url_for_log({Scheme::http, {"a.example", 81}}, "/x?token=secret").find("secret"), std::string::npos);
}
