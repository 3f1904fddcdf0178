#include <criterion/criterion.h>

#include "proxy/core/json_text.h"
#include "proxy/status_page.h"

using namespace mssl;
using namespace mssl::proxy;

namespace {

RequestHead request(const char* host, const char* origin = nullptr) {
    RequestHead r;
    r.method = "GET";
    r.target = "/";
    if (host != nullptr) r.fields.add("Host", host);
    if (origin != nullptr) r.fields.add("Origin", origin);
    return r;
}

}  // namespace

Test(status_page, on_loopback_only_loopback_names_are_answered) {
    for (const char* good : {"localhost", "LOCALHOST:9440", "127.0.0.1:9440", "127.1.2.3", "[::1]:9440", "a.localhost"})
        cr_assert(why_status_refused(request(good), true).empty(), "%s", good);
    for (const char* bad : {"evil.example", "192.0.2.1", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "[2001:db8::1]", "", "a b"})
        cr_assert_not(why_status_refused(request(bad), true).empty(), "%s", bad);
    cr_assert(why_status_refused(request("status.example"), false).empty());
    cr_assert(why_status_refused(request(nullptr), true).empty());
}

Test(status_page, pages_of_other_sites_are_refused) {
    cr_assert(why_status_refused(request("localhost:9440", "http://localhost:9440"), true).empty());
    for (const char* bad : {"http://localhost", "https://localhost:9440", "http://evil.example", "null"})
        cr_assert_not(why_status_refused(request("localhost:9440", bad), true).empty(), "%s", bad);
    cr_assert_not(why_status_refused(request("status.example", "http://evil.example"), false).empty());
}

Test(status_page, queries_are_decoded_or_refused) {
    cr_assert_eq(*query_value("url=http%3A%2F%2Fa%2f%3Fx%3D1&b=2", "url"), "http://a/?x=1");
    cr_assert_eq(*query_value("a=1&url=x+y", "url"), "x y");
    cr_assert_eq(*query_value("url=", "url"), "");
    for (const char* none : {"", "url", "urls=1", "a=url=1", "&&", "url=%", "url=%2", "url=%zz"})
        cr_assert_not(query_value(none, "url").has_value(), "%s", none);
}

Test(status_page, metrics_sum_the_loops_and_name_counters_total) {
    LoopGroup loops(2);
    add(loops.at(0).counters().requests, 2);
    add(loops.at(1).counters().requests, 3);
    add(loops.at(1).counters().connections_open, 7);
    const std::string text = metrics_text(loops);
    for (const char* line : {"\n# TYPE mssl_requests_total counter\nmssl_requests_total 5\n", "\n# TYPE mssl_connections_open gauge\nmssl_connections_open 7\n",
                             "# HELP mssl_requests_total requests of applications\n"})
        cr_assert_neq(text.find(line), std::string::npos, "%s", line);
    cr_assert_neq(counters_json(loops).find("\"requests\":5"), std::string::npos);
}

Test(status_page, sources_are_gathered_whole_now_or_later) {
    LoopGroup loops(1);
    StatusSources sources;
    std::function<void(std::string)> later;
    sources.add("now", [](Loop&, std::function<void(std::string)> done) { done("1"); });
    sources.add("later", [&](Loop&, std::function<void(std::string)> done) { later = std::move(done); });
    std::string got;
    sources.collect(loops.at(0), "\"head\":0", [&](std::string json) { got = std::move(json); });
    cr_assert(got.empty());
    later("[2]");
    cr_assert_eq(got, "{\"head\":0,\"now\":1,\"later\":[2]}\n");
    StatusSources none;
    none.collect(loops.at(0), "", [&](std::string json) { got = std::move(json); });
    cr_assert_eq(got, "{}\n");
}

Test(status_page, json_cannot_be_broken_out_of) {
    JsonText json;
    json.put("a\"b", "x\"\\\n\x01\xff").put("n", std::uint64_t{18446744073709551615U}).put("t", true).raw("l", JsonText().item("1").item("2").array());
    cr_assert_eq(json.object(), "{\"a\\\"b\":\"x\\\"\\\\\\n??\",\"n\":18446744073709551615,\"t\":true,\"l\":[1,2]}");
}
