#include "proxy/server/server_status.h"

#include "proxy/core/json_text.h"

namespace mssl::proxy {
namespace {

// msslproxy(8): {"url", "state", "hashed", "length", "object"?, "error"?}.
std::string publish_line(const std::string& url, const Publisher::Progress& p) {
    JsonText json;
    json.put("url", url);
    switch (p.state) {
    case Publisher::Progress::State::hashing: json.put("state", "hashing"); break;
    case Publisher::Progress::State::complete: json.put("state", "published"); break;
    case Publisher::Progress::State::failed: json.put("state", "failed"); break;
    }
    json.put("hashed", p.hashed).put("length", p.length);
    if (!p.object.empty()) json.put("object", p.object);
    if (!p.why.empty()) json.put("error", p.why);
    return json.object();
}

}  // namespace

void report_server(StatusSources& to, const ServerSide& side) {
    to.add("objects", [&side](Loop&, std::function<void(std::string)> done) {
        JsonText list;
        for (const HostedStatus& o : side.objects()) {
            JsonText json;
            json.put("object", o.id).put("url", o.url).put("state", o.state).put("bytes", o.bytes).put("hashed", o.hashed);
            list.item(json.object());
        }
        done(list.array());
    });
    to.set_publish([publisher = side.publisher()](const std::string& url, Loop& loop, StatusSources::Line line) {
        publisher->publish(url, loop, [url, line = std::move(line)](const Publisher::Progress& p) {
            line(publish_line(url, p), p.state != Publisher::Progress::State::hashing);
        });
    });
}

}  // namespace mssl::proxy
