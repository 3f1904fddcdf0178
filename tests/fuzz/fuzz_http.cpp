// Heads, chunks and bodies from anybody. The first byte says which direction and how the rest is cut into pieces.
//
// Promises: whole or in pieces, the events are the same; a head that parses, serializes to one that parses to the same;
// what it says of ranges and of freshness stays within bounds.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "proxy/http/freshness.h"
#include "proxy/http/message.h"
#include "proxy/http/parser.h"
#include "proxy/http/semantics.h"

namespace {

using namespace mssl;
using namespace mssl::proxy;
using Kind = HttpParser::Kind;

void require(bool holds) {
    if (!holds) std::abort();
}

// One parser fed in pieces; what it said, as text.
struct Run {
    HttpParser parser;
    Kind kind;
    std::string said, content;
    bool over = false;
    explicit Run(Kind k) : parser(k), kind(k) {}

    void head() {
        if (kind == Kind::request) {
            said += serialize(parser.request());
        } else {
            said += serialize(parser.response(), true);
        }
    }
    // Whether to go on.
    bool event(const Result<HttpEvent>& e) {
        if (!e) {
            said += "E" + std::to_string(static_cast<int>(e.error().code));
            over = true;
            return false;
        }
        switch (*e) {
        case HttpEvent::need_more: return false;
        case HttpEvent::head: head(); return true;
        case HttpEvent::body: content.append(reinterpret_cast<const char*>(parser.body().data()), parser.body().size()); return true;
        case HttpEvent::complete: said += "."; return true;
        case HttpEvent::upgraded:
            said += "U";
            over = true;
            return false;
        }
        return false;
    }
    void feed(View in) {
        std::size_t used = 0;
        while (!over && event(parser.feed(in, used))) {
            require(used <= in.size());
            in = in.subspan(used);
            used = 0;
        }
    }
    void end() {
        if (!over) (void)event(parser.end());
    }
};

// All but what serialize() writes anew.
std::vector<HeaderField> end_to_end(const Fields& fields) {
    std::vector<HeaderField> out;
    for (const HeaderField& f : fields.items()) {
        const bool framing = iequals(f.name, "Connection") || iequals(f.name, "Content-Length") || iequals(f.name, "Transfer-Encoding");
        if (!framing) out.push_back(f);
    }
    return out;
}

void round_trip(View in) {
    HttpParser p(Kind::request);
    std::size_t used = 0;
    const Result<HttpEvent> first = p.feed(in, used);
    if (!first || *first != HttpEvent::head) return;
    const RequestHead& a = p.request();
    HttpParser q(Kind::request);
    const std::string text = serialize(a);
    const Result<HttpEvent> second = q.feed(as_view(text), used);
    // One field more than came may be written (Connection, a limit of either kind): too_large is then right.
    if (!second && second.error().code == Errc::too_large) return;
    require(second && *second == HttpEvent::head && used == text.size());
    const RequestHead& b = q.request();
    require(a.method == b.method && a.target == b.target && a.minor == b.minor && a.body == b.body && a.length == b.length &&
            a.keep_alive == b.keep_alive && a.upgrade == b.upgrade && a.expect_continue == b.expect_continue);
    require(end_to_end(a.fields) == end_to_end(b.fields));
    const RangeAnswer range = answer_range(a.fields, {"\"a\"", 0}, 1000);
    require(range.first + range.count <= 1000);
    const RangeAnswer alone = answer_range_alone(a.fields, {"\"a\"", 0}, 1000);
    require(alone.first + alone.count <= 1000 && (alone.status != 206 || alone.count != 0));
    // Taken for the fields of the object too: what can be answered without the origin is no error.
    if (can_answer_range(a.fields, a.fields, {"\"a\"", 0}, 1000) && !a.fields.list_has("Accept-Ranges", "none"))
        require(answer_range_alone(a.fields, {"\"a\"", 0}, 1000, strong_date(a.fields)).status != 416);
}

// What a head says of its freshness, whichever direction it is of.
void look_at_freshness(View in, Kind kind) {
    constexpr std::int64_t most = std::int64_t{1} << 31, now = 784111777;
    HttpParser p(kind);
    std::size_t used = 0;
    const Result<HttpEvent> first = p.feed(in, used);
    if (!first || *first != HttpEvent::head) return;
    const Fields& f = kind == Kind::request ? p.request().fields : p.response().fields;
    const std::int64_t lifetime = freshness_lifetime(f), age = age_on_arrival(f, now);
    require(lifetime >= 0 && lifetime <= most && age >= 0);
    const StoredWish wish = stored_wish(f);
    require(!is_fresh(wish, age, lifetime) || (age < lifetime && !wish.ask));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const Kind kind = (data[0] & 1) != 0 ? Kind::response : Kind::request;
    const std::size_t step = 1 + (data[0] >> 1);
    const View in(data + 1, size - 1);
    Run whole(kind), pieces(kind);
    whole.feed(in);
    whole.end();
    for (std::size_t at = 0; at < in.size(); at += step) pieces.feed(in.subspan(at, std::min(step, in.size() - at)));
    pieces.end();
    require(whole.said == pieces.said && whole.content == pieces.content);
    if (kind == Kind::request) round_trip(in);
    look_at_freshness(in, kind);
    return 0;
}
